"""Model files: what is saved comes back exactly, nothing is ever half written, and older files keep loading."""

from __future__ import annotations

import copy
import errno
import inspect
import json
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import densenet as dn
from densenet import _files as atomic
from densenet import persistence
from densenet._files import replacing
from densenet.persistence import codec, files

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"
ENDINGS = (".npz", ".safetensors")
X = np.random.default_rng(0).standard_normal((7, 6))

LAYERS = [
    lambda: dn.Dense(6, 4, use_bias=False, kernel_initializer=dn.initializers.Normal(0.1, 0.2), kernel_l1=0.1),
    lambda: dn.Dense(6, 4, bias_initializer=dn.initializers.Constant(0.5), kernel_l2=0.01, max_norm=1.5),
    lambda: dn.BatchNorm(6, momentum=0.3, eps=1e-3),
    lambda: dn.LayerNorm(6, eps=1e-3),
    lambda: dn.RMSNorm(6),
    lambda: dn.Scale(6),
    lambda: dn.Dropout(0.4),
    lambda: dn.AlphaDropout(0.2),
    lambda: dn.GaussianNoise(0.7),
    lambda: dn.Residual([dn.Dense(6, 6), dn.Residual([dn.BatchNorm(6), dn.Dropout(0.1)])]),
    lambda: dn.Concatenate([[], [dn.Dense(6, 2), dn.Tanh()], [dn.PReLU()]]),
    lambda: dn.LeakyReLU(0.2),
    lambda: dn.ELU(0.5),
    lambda: dn.CELU(2.0),
]  # fmt: skip
PLAIN = """Identity ReLU PReLU SELU GELU SiLU Mish Softplus Softsign Sigmoid Tanh HardTanh HardSigmoid HardSwish Exp
           Sine Gaussian Softmax LogSoftmax""".split()
LAYERS += [getattr(dn, name) for name in PLAIN]


def whole(model):
    """Everything of a model that a file has to bring back."""
    every = [layer for top in model.layers for layer in top.walk()]
    arrays = [model.params, *(array for layer in every for array in layer.state.values())]
    marks = [{} if layer.children else layer.marks for layer in every]
    noise = [layer.generator.bit_generator.state for layer in every if layer.draws]
    return repr(model), [(a.dtype, a.tobytes()) for a in arrays], marks, noise


# -- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_comes_back_exactly(dtype, ending, tmp_path):
    kinds = set()
    for make in LAYERS:
        model = dn.Sequential([make()], seed=3, dtype=dtype)
        model.params += np.random.default_rng(1).normal(size=model.params.shape)
        model.forward(X)  # moves running statistics and generators
        model.save(tmp_path / f"model{ending}")
        loaded = dn.load(tmp_path / f"model{ending}")
        assert whole(loaded) == whole(model)
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        np.testing.assert_array_equal(loaded.forward(X), model.forward(X))
        assert all(
            np.shares_memory(getattr(layer, n), loaded.params)
            for layer in loaded.layers
            for n in layer.parameter_shapes()
        )
        kinds |= {type(layer) for top in model.layers for layer in top.walk()}
    public = {
        v for v in vars(dn).values() if isinstance(v, type) and issubclass(v, dn.Layer) and not inspect.isabstract(v)
    }
    assert kinds == public


def test_marks_come_back_and_act(tmp_path):
    model = dn.mlp([6, 5, 4, 2], seed=0)
    model.layers[0].freeze("b")
    model.layers[2].set_rate(0.25).set_decay(True)
    model.layers[4].set_decay(False, "W")
    model.save(tmp_path / "marked.npz")
    loaded = dn.load(tmp_path / "marked.npz")
    assert whole(loaded) == whole(model)
    np.testing.assert_array_equal(loaded.marks.rate, model.marks.rate)
    np.testing.assert_array_equal(loaded.marks.decay, model.marks.decay)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_loaded_model_trains_like_the_one_that_was_saved(ending, tmp_path):
    model = dn.Sequential([dn.Dense(6, 8), dn.BatchNorm(8), dn.ReLU(), dn.Dropout(0.5), dn.Dense(8, 1)], seed=0)
    model.save(tmp_path / f"model{ending}")
    loaded = dn.load(tmp_path / f"model{ending}")
    losses = [dn.Trainer(m, "mse", "adam").fit(X, X[:, 0], epochs=3, seed=0)["loss"] for m in (model, loaded)]
    assert losses[0] == losses[1]


def test_every_loss_optimizer_schedule_initializer_and_metric_has_a_plain_form():
    bases = (dn.Loss, dn.Optimizer, dn.Schedule, dn.Initializer, dn.Metric)
    modules = (dn.losses, dn.optimizers, dn.initializers, dn.metrics)
    arguments = {"initial": 0.1, "steps": 10, "factor": 0.9, "decay": 0.1, "peak": 0.2, "every": 3, "after": 0.3}
    seen = 0
    for cls in {v for m in modules for v in vars(m).values() if isinstance(v, type) and issubclass(v, bases)}:
        if inspect.isabstract(cls) or cls.__name__.startswith("_"):
            continue
        needed = [n for n, p in inspect.signature(cls).parameters.items() if p.default is inspect.Parameter.empty]
        made = cls(**{name: arguments[name] for name in needed})
        encoder = codec.Encoder()
        text = json.dumps(encoder.encode(made, "it"), allow_nan=False)
        back = codec.Decoder(encoder.arrays).decode(json.loads(text))
        assert (type(back), repr(back)) == (cls, repr(made))
        seen += 1
    assert seen > 45


def test_plain_values_of_every_kind_come_back():
    value = {
        "none": None, "yes": True, "int": -(2**200), "floats": [0.1, -0.0, float("inf"), float("-inf"), 5e-324],
        "text": "ä\u2028\U0001f40d", "tuple": (1, (2.5, "x")), 7: {"deep": [{}]}, (1, "a"): None,
        "array": np.arange(6, dtype=np.int64).reshape(2, 3), "empty": np.zeros((0, 3), np.float32),
        "mask": np.array([True, False]), "scalar": np.float32(0.1), "nothing": np.array(3.0),
    }  # fmt: skip
    encoder = codec.Encoder()
    back = codec.Decoder(encoder.arrays).decode(json.loads(json.dumps(encoder.encode(value, "v"), allow_nan=False)))
    assert list(back) == list(value)
    for key, expected in value.items():
        if isinstance(expected, np.ndarray | np.generic):
            assert type(back[key]) is type(expected)
            assert (back[key].dtype, back[key].shape, back[key].tobytes()) == (
                expected.dtype,
                expected.shape,
                expected.tobytes(),
            )
        else:
            assert repr(back[key]) == repr(expected)
    (nan,) = codec.Decoder({}).decode(codec.Encoder().encode([float("nan")], "v"))
    assert nan != nan
    with pytest.raises(TypeError, match="v is of dtype complex64, which a file cannot hold"):
        files._plain(np.zeros(2, np.complex64), "v")
    with pytest.raises(TypeError, match=r"v: a file cannot hold the bit generator Mine; it can hold PCG64, "):
        codec.Encoder().encode(np.random.Generator(type("Mine", (np.random.PCG64,), {})()), "v")
    with pytest.raises(TypeError, match=r"settings\.on: a file cannot hold a function"):
        codec.Encoder().encode({"on": lambda: None}, "settings")


def test_preparation_and_loss_travel_with_the_model_and_its_copies(tmp_path):
    rows = {"size": [1.0, 2.0, None, 4.0], "kind": ["b", "ä", "b", "c"], "price": ["low", "low", "high", "high"]}
    preparation = dn.TablePreparation().fit(dn.Table(rows), "price")
    x, y = preparation.transform(rows), preparation.transform_target(rows)
    model = dn.mlp([x.shape[1], 4, 2], seed=0)
    loss = dn.SoftmaxCrossEntropy(label_smoothing=0.1)
    assert model.preparation is model.loss is None
    model.save(tmp_path / "a.npz", preparation=preparation, loss=loss)
    first = dn.load(tmp_path / "a.npz")
    first.save(tmp_path / "b.safetensors")
    for loaded in (first, dn.load(tmp_path / "b.safetensors"), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert loaded.preparation.state() == preparation.state()
        assert repr(loaded.loss) == repr(loss)
        np.testing.assert_array_equal(loaded.predict(loaded.preparation.transform(rows)), model.predict(x))
        assert loaded.preparation.inverse_target(loaded.loss.classes(loaded.predict(x))).shape == y.shape
    persistence.save_model(model, tmp_path / "c.npz")
    assert dn.load(tmp_path / "c.npz").preparation is None


def test_others_read_the_files(tmp_path):
    model = dn.Sequential([dn.Dense(6, 3), dn.Residual([dn.Dense(3, 3), dn.BatchNorm(3)])], seed=0)
    for ending in ENDINGS:
        model.save(tmp_path / f"m{ending}")
    assert zipfile.ZipFile(tmp_path / "m.npz").testzip() is None
    read = dict(np.load(tmp_path / "m.npz", allow_pickle=False))
    config = json.loads(read.pop("densenet").tobytes())
    assert (config["format"], config["version"], config["kind"]) == ("densenet", 1, "model")
    assert read.pop("sha256").shape == (32,)
    tensors = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    inner = model.layers[1].layers
    expected = {"layers.0.W": model.layers[0].W, "layers.0.b": model.layers[0].b, "layers.2.W": inner[0].W}
    expected |= {"layers.2.b": inner[0].b, "layers.3.gamma": inner[1].gamma, "layers.3.beta": inner[1].beta}
    expected |= {"layers.3.running_mean": inner[1].running_mean, "layers.3.running_var": inner[1].running_var}
    for found in (read, tensors):
        assert set(found) == set(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_model_gives_the_same_file(ending, tmp_path):
    for name in "ab":
        dn.mlp([6, 5, 2], seed=0).save(tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


# -- classes of one's own ------------------------------------------------------------------------------------------


class Tilted(dn.Layer):
    """A layer with an array for an argument and with a state, both in Fortran order."""

    t, dt = dn.Parameter(), dn.Parameter()
    state_names = ("seen",)

    def __init__(self, tilt):
        self.tilt = np.asarray(tilt)
        self.n_in = self.n_out = len(self.tilt)

    def parameter_shapes(self):
        return {"t": self.tilt.shape}

    def initialize(self, rng):
        self.t[...] = rng.normal(size=self.t.shape)

    def reset_state(self, dtype):
        self.seen = np.zeros((2, 3), np.int64, order="F")

    def forward(self, x, training=True):
        self.seen += np.arange(6).reshape(2, 3)
        return x @ (self.tilt + self.t)

    def infer(self, x, out=None):
        return np.matmul(x, self.tilt + self.t, out=out)

    def backward(self, delta):
        raise NotImplementedError


def tilted():
    return dn.Sequential([Tilted(np.asfortranarray(np.arange(36.0).reshape(6, 6)))], seed=0, dtype="float64")


@pytest.fixture
def registered():
    dn.register(Tilted)
    yield Tilted
    codec._registry.pop(("layer", "Tilted"), None)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_registered_layer_comes_back_whatever_the_order_of_its_arrays(ending, registered, tmp_path):
    model = tilted()
    model.forward(X)
    model.save(tmp_path / f"own{ending}")
    loaded = dn.load(tmp_path / f"own{ending}")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.layers[0].seen, [[0, 1, 2], [3, 4, 5]])


def test_a_class_that_is_not_registered_is_neither_written_nor_read(tmp_path):
    with pytest.raises(TypeError, match=r"the layer Tilted yet: call densenet\.register\(Tilted\) first"):
        tilted().save(tmp_path / "own.npz")
    assert not any(tmp_path.iterdir())
    dn.register(Tilted)
    tilted().save(tmp_path / "own.npz")
    codec._registry.pop(("layer", "Tilted"))
    with pytest.raises(
        dn.CheckpointError, match=r"own\.npz cannot be loaded: it needs the layer 'Tilted', which is not"
    ):
        dn.load(tmp_path / "own.npz")


def test_register_takes_complete_classes_under_names_of_their_own():
    for what in (int, "Tilted", dn.Layer, dn.Callback, dn.Dense(1, 1)):
        with pytest.raises(TypeError, match="register expects a complete class of one of Layer, Loss, Optimizer"):
            dn.register(what)
    with pytest.raises(
        ValueError, match=r"register: .*'densenet\.layers\.dense\.Dense'.* goes by the name 'Dense' already"
    ):
        dn.register(type("Dense", (Tilted,), {}))
    first, again = (type("Mine", (Tilted,), {"__module__": "__main__", "__qualname__": "Mine"}) for _ in range(2))
    try:
        assert dn.register(first) is first
        assert dn.register(again) is again  # a notebook's cell that was run twice
        with pytest.raises(ValueError, match="goes by the name 'Mine' already: give your layer another name"):
            dn.register(type("Mine", (Tilted,), {}))
    finally:
        codec._registry.pop(("layer", "Mine"), None)
    assert dn.register(dn.Dense) is dn.Dense


# -- where files go ------------------------------------------------------------------------------------------------


def test_names_that_end_in_something_else(tmp_path):
    for name in ("model.h5", "model", "model.npz.bak"):
        with pytest.raises(ValueError, match=rf"a model file's name ends in \.npz or \.safetensors, got .*{name}'"):
            dn.mlp([1, 1]).save(tmp_path / name)
    dn.mlp([1, 1]).save(os.fspath(tmp_path / "MODEL.NPZ"))
    assert dn.load(os.fspath(tmp_path / "MODEL.NPZ")).n_in == 1
    assert [path.name for path in tmp_path.iterdir()] == ["MODEL.NPZ"]


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    dn.mlp([1, 1]).save(tmp_path / "m.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (dn.mlp([1, 1]).save, dn.load):
        with pytest.raises(ImportError, match=r"need the safetensors library: pip install '\.\[io\]'"):
            call(tmp_path / "m.safetensors")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_folder_and_a_missing_file(ending, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        dn.mlp([1, 1]).save(tmp_path / "missing" / f"m{ending}")
    assert caught.value.filename == os.fspath(tmp_path / "missing" / f"m{ending}")
    with pytest.raises(FileNotFoundError) as caught:
        dn.load(tmp_path / f"none{ending}")
    assert caught.value.filename == os.fspath(tmp_path / f"none{ending}")


def test_a_read_only_file_stays_and_a_folder_is_no_file(tmp_path):
    path = tmp_path / "kept.npz"
    dn.mlp([1, 1], seed=0).save(path)
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"read-only.*kept\.npz"):
        dn.mlp([1, 1], seed=1).save(path)
    assert path.read_bytes() == before
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.npz"):
        dn.mlp([1, 1]).save(tmp_path / "folder.npz")
    with pytest.raises(IsADirectoryError, match=r"folder\.npz"):
        dn.load(tmp_path / "folder.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.npz", "kept.npz"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write into any folder")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=r"m\.npz"):
            dn.mlp([1, 1]).save(tmp_path / "m.npz")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_devices_and_pipes_are_left_alone(tmp_path):
    (tmp_path / "null.npz").symlink_to(os.devnull)
    with pytest.raises(OSError, match=r"not an ordinary file.*null\.npz"):
        dn.mlp([1, 1]).save(tmp_path / "null.npz")
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(dn.CheckpointError, match=r"pipe\.npz is no ordinary file"):
        dn.load(tmp_path / "pipe.npz")


def test_links_are_followed_and_permissions_kept(tmp_path):
    (tmp_path / "store").mkdir()
    target = tmp_path / "store" / "real.npz"
    (tmp_path / "link.npz").symlink_to(target)
    dn.mlp([1, 1], seed=0).save(tmp_path / "link.npz")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    target.chmod(0o640)
    dn.mlp([1, 1], seed=1).save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    np.testing.assert_array_equal(dn.load(target).params, dn.mlp([1, 1], seed=1).params)


# -- all of it or nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_no_other(moment, ending, tmp_path, monkeypatch):
    path = tmp_path / f"m{ending}"
    dn.mlp([1, 1], seed=0).save(path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    model = dn.mlp([1, 1], seed=1)
    weights = model.params.copy()
    with monkeypatch.context() as patched:
        patched.setattr(os, moment, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            model.save(path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, os.fspath(path))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {path.name: before}
    np.testing.assert_array_equal(model.params, weights)
    model.save(path)
    np.testing.assert_array_equal(dn.load(path).params, weights)


def test_an_interrupt_in_the_middle_of_a_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "note"
    path.write_bytes(b"old")

    def write():
        with replacing(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"note": b"old"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of file size")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_that_is_full(ending, tmp_path):
    """The limit of file size stands in for the disk's: a write comes back with an error after half of the file."""
    script = f"""
import resource, sys
import numpy as np
import densenet as dn
path = {os.fspath(tmp_path / f"m{ending}")!r}
dn.mlp([10, 10], seed=0).save(path)
model = dn.mlp([300, 300], seed=1)
weights = model.params.copy()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    model.save(path)
except OSError as error:
    print(type(error).__name__, error.filename == path)
print((model.params == weights).all(), (dn.load(path).params == dn.mlp([10, 10], seed=0).params).all())
"""
    environment = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["OSError", "True", "True", "True"]
    assert [path.name for path in tmp_path.iterdir()] == [f"m{ending}"]


def test_leftovers_of_killed_writers_are_removed_and_those_at_work_are_not(tmp_path):
    if atomic.fcntl is None:
        pytest.skip("no locks")
    dead = tmp_path / ".densenet-0123456789abcdef.tmp"
    dead.write_bytes(b"half a fi")
    (tmp_path / ".densenet-notes.txt").write_bytes(b"somebody's")
    with replacing(tmp_path / "first") as first:
        at_work = [path for path in tmp_path.glob(".densenet-*.tmp") if path != dead]
        assert len(at_work) == 1
        dead.write_bytes(b"half a fi")
        with replacing(tmp_path / "second") as second:
            assert not dead.exists()
            assert at_work[0].exists()
            second.write(b"2")
        first.write(b"1")
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"first": b"1", "second": b"2", ".densenet-notes.txt": b"somebody's"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_many_writers_and_readers_of_one_file(ending, tmp_path):
    path = tmp_path / f"shared{ending}"
    models = [dn.mlp([3, width, 2], seed=0) for width in range(4, 8)]
    models[0].save(path)
    known = {model.params.tobytes() for model in models}

    def write(model):
        for _ in range(15):
            model.save(path)

    with ThreadPoolExecutor(5) as pool:
        at_work = [pool.submit(write, model) for model in models]
        while not all(job.done() for job in at_work):
            assert dn.load(path).params.tobytes() in known
        for job in at_work:
            job.result()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_temporary_file_that_a_cleaner_took_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    if atomic.fcntl is None:
        pytest.skip("no locks")
    real, taken = atomic.fcntl.flock, []

    def lock(file, how):
        if not taken:
            taken.append(file.name)
            os.unlink(file.name)
        real(file, how)

    monkeypatch.setattr(atomic.fcntl, "flock", lock)
    with replacing(tmp_path / "note") as file:
        assert file.name != taken[0]
        file.write(b"whole")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"note": b"whole"}


def test_without_locks_files_are_written_and_cleaned_up_too(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "fcntl", None)
    (tmp_path / ".densenet-0123456789abcdef.tmp").write_bytes(b"half a fi")
    with replacing(tmp_path / "note") as file:
        file.write(b"whole")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"note": b"whole"}


def test_the_file_and_its_folder_are_flushed_in_order(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*args, name=name, real=real):
            folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            calls.append("folder" if folder else name)
            return real(*args)

        monkeypatch.setattr(os, name, noted)
    dn.mlp([1, 1]).save(tmp_path / "m.npz")
    assert calls == ["fsync", "replace", "folder"]


# -- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_newer_version_says_so(ending, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(files, "FORMAT_VERSION", 2)
        dn.mlp([1, 1]).save(tmp_path / f"new{ending}")
    with pytest.raises(
        dn.CheckpointError, match="format version 2, and this densenet reads versions up to 1: use a newer one"
    ):
        dn.load(tmp_path / f"new{ending}")


def test_a_configuration_that_is_too_long_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"a configuration of at most 4 MiB and 200,000 entries, got [\d,]+ bytes and"):
        files.write_file(tmp_path / "m.npz", files.Content("model", {"x": [0] * 300_000}, {}))
    assert not any(tmp_path.iterdir())


def version_1():
    """The model of tests/data/*_v1.*, as it was when they were written."""
    inner = dn.Residual([dn.Dense(4, 4, kernel_initializer="orthogonal"), dn.LayerNorm(4, eps=1e-3)])
    layers = [
        dn.Dense(3, 4, kernel_l2=0.01),
        dn.BatchNorm(4, momentum=0.2),
        dn.PReLU(),
        dn.Dropout(0.25),
        inner,
        dn.Concatenate([[], [dn.Dense(4, 2, use_bias=False), dn.Tanh()]]),
        dn.Dense(6, 2).freeze("b"),
    ]
    return dn.Sequential(layers, seed=0)


@pytest.mark.parametrize("name", ["model_v1.npz", "model_v1.safetensors", "checkpoint_v1.npz"])
def test_files_of_version_1_load_for_ever(name):
    model = dn.load(DATA / name)
    assert repr(model) == repr(version_1())
    assert repr(model.loss) == "SoftmaxCrossEntropy(label_smoothing=0.1)"
    expected = [[1.9397537, -1.1385008], [1.3349417, -1.9067245], [1.2907579, -0.7795873]]
    rows = {"a": [0.5, 2.0, None], "b": ["x", "y", "x"]}
    assert model.preparation.feature_names == ["a", "b=x", "b=y"]
    np.testing.assert_allclose(model.predict(model.preparation.transform(rows)), expected, rtol=1e-5)
    assert not model.layers[-1].marks["b"].trainable


def test_a_checkpoint_of_version_1_resumes_for_ever(recwarn):
    trainer = dn.Trainer(version_1(), dn.SoftmaxCrossEntropy(label_smoothing=0.1), dn.Adam(dn.CosineDecay(0.01, 100)))
    x, y = np.random.default_rng(0).standard_normal((8, 3)), [0, 1] * 4
    stopping = dn.EarlyStopping("loss", restore_best_weights=True)
    history = trainer.fit(
        x, np.array(y), epochs=3, batch_size=3, callbacks=[stopping], resume=DATA / "checkpoint_v1.npz"
    )
    assert len(history) == 3
    assert trainer.optimizer.steps == 9
