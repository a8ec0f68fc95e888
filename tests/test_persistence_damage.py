"""Files that are damaged or hostile: refused with CheckpointError, quickly, before anything large is allocated."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import safetensors.numpy

import densenet as dn
from densenet.persistence import codec, files

X = np.random.default_rng(0).standard_normal((6, 2), dtype=np.float32)


def refused(path, match=None):
    """The file is refused, in memory of its size and 64 MiB."""
    size = path.stat().st_size
    tracemalloc.start()
    try:
        with pytest.raises(dn.CheckpointError, match=match) as caught:
            dn.load(path)
        assert tracemalloc.get_traced_memory()[1] < size + (64 << 20)
    finally:
        tracemalloc.stop()
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 2000


def honest(ending, folder, kind="model"):
    """A small file and its bytes."""
    model = dn.Sequential([dn.Dense(2, 1), dn.Dropout(0.1)], seed=0)
    path = folder / f"honest{ending}"
    trainer = dn.Trainer(model, "mse", dn.SGD(0.1, momentum=0.9))
    trainer.fit(X, X[:, 0], epochs=1)
    if kind == "model":
        model.save(path)
    else:
        trainer.save_checkpoint(path)
    return path, path.read_bytes(), model.predict(X)


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_every_truncation_and_every_flipped_byte_is_detected(ending, kind, tmp_path):
    path, data, expected = honest(ending, tmp_path, kind)
    harmless = 0
    with open(path, "r+b") as file:
        for length in range(len(data) - 1, -1, -1):
            file.truncate(length)
            with pytest.raises(dn.CheckpointError):
                files.read_file(path)
        for at, byte in enumerate(data):
            for bits in (0xFF, 0x01, 0x20)[at % 3 :][:1] if kind == "checkpoint" else (0xFF, 0x01, 0x20):
                file.seek(0)
                file.write(data[:at] + bytes([byte ^ bits]) + data[at + 1 :])
                file.flush()
                try:
                    files.read_file(path)
                except dn.CheckpointError:
                    continue
                harmless += 1
                np.testing.assert_array_equal(dn.load(path).predict(X), expected)
    assert harmless < 10


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_bytes_before_behind_and_between(ending, tmp_path):
    path, data, _ = honest(ending, tmp_path)
    middle = len(data) // 2
    for damaged in (
        b"\0" + data,
        data + b"\0",
        data[:middle] + b"\0" + data[middle:],
        data + data,
        data[1:],
        b"",
        b"PK\x03\x04",
    ):
        path.write_bytes(damaged)
        refused(path)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_large_file_is_refused_in_memory_of_its_size(ending, tmp_path):
    path = tmp_path / f"large{ending}"
    dn.Sequential([dn.Dense(5000, 5000, kernel_initializer="zeros")]).save(path)
    with open(path, "r+b") as file:
        file.seek(-1000, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1000, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    assert path.stat().st_size > 100_000_000
    refused(path)


def test_two_whole_files_do_not_mix(tmp_path):
    for seed in (0, 1):
        dn.Sequential([dn.Dense(2, 1)], seed=seed).save(tmp_path / f"{seed}.npz")
    data, other = ((tmp_path / f"{seed}.npz").read_bytes() for seed in (0, 1))
    assert len(other) == len(data)
    different = [at for at in range(len(data)) if data[at] != other[at]]
    for cut in different[1:]:
        (tmp_path / "mixed.npz").write_bytes(data[:cut] + other[cut:])
        refused(tmp_path / "mixed.npz")


# -- files that were never densenet's ------------------------------------------------------------------------------


class Bomb:
    """A pickle that would leave a trace."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (os.fspath(self.folder / "exploded"),))


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pkl"])
def test_pickles_are_never_opened(ending, tmp_path):
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(pickle.dumps(Bomb(tmp_path)))
    refused(path)
    objects = np.empty(1, object)
    objects[0] = Bomb(tmp_path)
    np.savez(tmp_path / "objects.npz", densenet=objects)
    refused(tmp_path / "objects.npz")
    np.save(tmp_path / "objects.npy", objects)
    refused(tmp_path / "objects.npy", "neither an .npz nor a .safetensors file")
    assert not (tmp_path / "exploded").exists()


def test_zip_files_of_others(tmp_path):
    path = tmp_path / "others.npz"
    np.savez(path, W=np.ones((2, 2)))
    refused(path, "is not as densenet writes it")
    np.savez_compressed(path, densenet=np.zeros(100_000_000, np.uint8))  # a bomb: 100 kB that unfold to 100 MB
    refused(path, "is not as densenet writes it")
    for name in ("../../densenet.npy", "/etc/densenet.npy", "C:\\densenet.npy", "densenet.npy\0", "densenet.npy/"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
        refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(2_000):
            archive.writestr(f"{i}.npy", b"")
    refused(path)
    real, _, _ = honest(".npz", tmp_path)
    with zipfile.ZipFile(real) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    refused(path, "is not as densenet writes it")
    with zipfile.ZipFile(real, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("layers.0.W.npy", b"twice")
    refused(real)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 13 << 20, 1000, 0])
def test_safetensors_headers_that_lie_about_their_length(length, tmp_path):
    path = tmp_path / "header.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    refused(path)


def test_headers_that_are_huge(tmp_path):
    path = tmp_path / "huge.safetensors"
    for header in (
        b" " * (30 << 20),
        b"[" * (2 << 20),
        b'{"a":' * 100_000,
        b"[1" + b",1" * 5_000_000 + b"]",
        b"9" * 3_000_000,
    ):
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        refused(path)


def test_safetensors_of_others(tmp_path):
    path = tmp_path / "others.safetensors"
    safetensors.numpy.save_file({"W": np.ones((2, 2))}, path)
    refused(path, "NoneType")
    safetensors.numpy.save_file({"W": np.ones((2, 2))}, path, {"densenet": "{}"})
    refused(path)
    _, data, _ = honest(".safetensors", tmp_path)
    (length,) = struct.unpack_from("<Q", data)
    header, body = data[8 : 8 + length], data[8 + length :]
    tensor = b'"layers.0.b":'
    start = header.index(tensor)
    entry = header[start : header.index(b"}", start) + 1]
    assert json.loads(b"{" + entry + b"}")["layers.0.b"]["shape"] == [1]
    for other in (
        header.replace(entry, entry + b"," + entry),
        header.replace(entry, entry.replace(b"[1]", b"[1125899906842624,1024]")),
        header.replace(entry, entry.replace(b"F32", b"F64")),
        header.replace(entry, entry.replace(b"layers.0.b", b"../../evil")),
        header.replace(entry + b",", b"").replace(b"," + entry, b""),
    ):
        assert other != header
        padded = other + b" " * (-len(other) % 8)
        path.write_bytes(struct.pack("<Q", len(padded)) + padded + body)
        refused(path)


# -- lies with a right checksum ------------------------------------------------------------------------------------


def forged(path, config, arrays, *, declared=None, sha=None):
    """An .npz laid out as densenet lays it out, with this configuration, whatever it is, and a right SHA-256."""
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    digest = hashlib.sha256(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        digest.update(array.tobytes())
    everything = {"densenet": np.frombuffer(text, np.uint8), **arrays}
    everything["sha256"] = np.frombuffer(sha or digest.digest(), np.uint8)
    file, entries = io.BytesIO(), []
    for name, array in everything.items():
        header = files._npy_header(array.dtype, (declared or {}).get(name, array.shape))
        data = header + array.tobytes()
        entry = files._Entry(name, len(data), zlib.crc32(data), file.tell())
        file.write(entry.local() + data)
        entries.append(entry)
    file.write(files._directory(entries, file.tell()))
    path.write_bytes(file.getvalue())
    return path


def dense(n_in=2, n_out=1, **config):
    return {"layer": "Dense", "config": {"n_in": n_in, "n_out": n_out} | config}


def claim(layers, real=None, **changes):
    """A configuration and arrays as `save` makes them, but for `changes`."""
    arrays = {"layers.0.W": np.ones((2, 1), "<f4"), "layers.0.b": np.ones(1, "<f4")} if real is None else real
    table = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    content = {"dtype": "float32", "layers": layers, "loss": None, "preparation": None}
    inner = {name: changes.pop(name) for name in list(changes) if name in content}
    top = {"format": "densenet", "version": 1, "kind": "model", "arrays": table, "content": content | inner}
    return {k: v for k, v in (top | changes).items() if v is not ...}, arrays


def test_the_forger_of_these_tests_can_write_an_honest_file(tmp_path):
    model = dn.load(forged(tmp_path / "m.npz", *claim([dense()])))
    np.testing.assert_array_equal(model.predict([[1, 2]]), [[4]])
    refused(forged(tmp_path / "n.npz", *claim([dense()]), sha=bytes(32)), "its SHA-256 is not that of its content")


def state(n, size=None):
    arrays = {
        f"layers.0.{name}": np.ones(size or n, "<f4") for name in ("gamma", "beta", "running_mean", "running_var")
    }
    return [{"layer": "BatchNorm", "config": {"n": n}}], arrays


PCG64 = {
    "dict": [
        ["bit_generator", "PCG64"],
        ["state", {"dict": [["state", 1], ["inc", 2]]}],
        ["has_uint32", 0],
        ["uinteger", 0],
    ]
}
LIES = {
    "another format": (claim([dense()], format="keras"), "not one of densenet"),
    "no version": (claim([dense()], version=...), "not one of densenet"),
    "a version of text": (claim([dense()], version="1"), "not one of densenet"),
    "version 0": (claim([dense()], version=0), "not as densenet writes it"),
    "a newer version": (claim([dense()], version=7), "format version 7, and this densenet reads versions up to 1"),
    "another kind": (claim([dense()], kind="pickle"), "not as densenet writes it"),
    "something more": (claim([dense()], hook="os.system"), "not as densenet writes it"),
    "no layers": (claim([]), "not one of a model"),
    "layers that are none": (claim([1, None, "Dense"]), "not one of a model"),
    "another dtype": (claim([dense()], dtype="object"), "not one of a model"),
    "a function of Python": (
        claim([{"layer": "os.system", "config": {"command": "true"}}]),
        "needs the layer 'os.system'",
    ),
    "a built-in": (claim([{"layer": "eval", "config": {}}]), "needs the layer 'eval'"),
    "a module of ours": (claim([{"layer": "densenet.layers.Dense", "config": {}}]), "needs the layer"),
    "an abstract class": (claim([{"layer": "Layer", "config": {}}]), "needs the layer 'Layer'"),
    "a name that is none": (claim([{"layer": ["Dense"], "config": {}}]), "needs the layer"),
    "a loss for a layer": (claim([{"loss": "Hinge", "config": {}}]), "not one of a model"),
    "a layer for a loss": (claim([dense()], loss={"layer": "ReLU", "config": {}}), "not one of a model"),
    "unknown arguments": (claim([dense(__class__="x")]), "Dense cannot be made as it says"),
    "impossible arguments": (
        claim([dense(kernel_l1=-1.0)]),
        "Dense cannot be made as it says: Dense expects kernel_l1",
    ),
    "arguments of text": (claim([dense(n_in="2")]), "Dense cannot be made as it says"),
    "petabytes of weights": (claim([dense(10**8, 10**8)]), r"the model wants float32 \(100000000, 100000000\)"),
    "numbers beyond counting": (claim([dense(10**300, 10**300)]), "the model wants float32"),
    "terabytes of statistics": (claim(*state(10**12, size=4)), "the model wants"),
    "statistics of another size": (claim(*state(4, size=1)), "the model wants"),
    "widths that do not fit": (
        claim(
            [dense(), dense(3, 3)],
            {
                "layers.0.W": np.ones((2, 1), "<f4"),
                "layers.0.b": np.ones(1, "<f4"),
                "layers.1.W": np.ones((3, 3), "<f4"),
                "layers.1.b": np.ones(3, "<f4"),
            },
        ),
        "expects 3 columns",
    ),
    "an array that is missing": (
        claim([dense()], {"layers.0.W": np.ones((2, 1), "<f4")}),
        "there is no array 'layers.0.b'",
    ),
    "an array too many": (claim([dense(use_bias=False)]), "array 'layers.0.b' belongs to nothing"),
    "an array of another dtype": (
        claim([dense()], {"layers.0.W": np.ones((2, 1), "<f8"), "layers.0.b": np.ones(1, "<f4")}),
        r"array 'layers\.0\.W' is float64 \(2, 1\), and the model wants float32 \(2, 1\)",
    ),
    "a dtype of objects": (claim([dense()], arrays={"layers.0.W": ["object", [2, 1]]}), "declares array"),
    "a shape of petabytes": (
        claim([dense()], arrays={"layers.0.W": ["float32", [2**40, 2**10]]}),
        "what it declares takes",
    ),
    "a shape beyond counting": (claim([dense()], arrays={"layers.0.W": ["float32", [2**200]]}), "declares array"),
    "nothing, but wide": (claim([dense()], arrays={"layers.0.W": ["float32", [0, 2**62]]}), "declares array"),
    "a negative shape": (claim([dense()], arrays={"layers.0.W": ["float32", [-2, -1]]}), "declares array"),
    "many dimensions": (claim([dense()], arrays={"layers.0.W": ["float32", [1] * 1000]}), "declares array"),
    "a path for a name": (claim([dense()], arrays={"../../etc/passwd": ["float32", [2, 1]]}), "what it declares takes"),
    "a name that cannot be written": (claim([dense()], arrays={"\ud800": ["float32", [2, 1]]}), "declares array"),
    "a name of ours": (claim([dense()], arrays={"sha256": ["uint8", [32]]}), "declares array"),
    "a very long name": (claim([dense()], arrays={"x" * 70_000: ["float32", [1]]}), "declares array"),
    "marks for nothing": (claim([dense() | {"marks": {"Q": [True, True, 1.0]}}]), "marks parameters"),
    "marks of text": (claim([dense() | {"marks": {"W": ["yes", True, 1.0]}}]), "marks parameters"),
    "an infinite rate": (claim([dense() | {"marks": {"W": [True, True, 1e999]}}]), "cannot be read"),
    "noise without a generator": (
        claim([dense(), {"layer": "Dropout", "config": {"rate": 0.5}}]),
        "generator of layer 1",
    ),
    "an unknown generator": (
        claim(
            [dense(), {"layer": "Dropout", "config": {"rate": 0.5}, "generator": {"dict": [["bit_generator", "os"]]}}]
        ),
        "random generator that densenet does not know",
    ),
    "a generator without a state": (
        claim(
            [
                dense(),
                {"layer": "Dropout", "config": {"rate": 0.5}, "generator": {"dict": [["bit_generator", "PCG64"]]}},
            ]
        ),
        "random generator in an impossible state",
    ),
    "a generator's impossible state": (
        claim(
            [
                dense(),
                {"layer": "Dropout", "config": {"rate": 0.5}, "generator": {"dict": [*PCG64["dict"], ["state", "x"]]}},
            ]
        ),
        "random generator in an impossible state",
    ),
    "a preparation of nonsense": (
        claim([dense()], preparation={"dict": [["columns", 1]]}),
        "its parts do not fit together",
    ),
    "a value of no kind": (claim([dense(n_in={"object": "x"})]), "holds a value that densenet does not write"),
    "keys that cannot be keys": (
        claim([dense(n_in={"dict": [[[1], 2]]})]),
        "holds a value that densenet does not write",
    ),
    "a scalar of many numbers": (claim([dense(n_in={"scalar": "layers.0.W"})]), "is no single number"),
    "the same array twice": (claim([dense(n_in={"array": "layers.0.W"})]), "Dense cannot be made"),
}


@pytest.mark.parametrize("what", LIES)
def test_lies_are_refused(what, tmp_path):
    (config, arrays), match = LIES[what]
    refused(forged(tmp_path / "lie.npz", config, arrays), match)


class Statistic(dn.Scale):
    """A layer with a state and without parameters."""

    state_names = ("seen",)

    def parameter_shapes(self):
        return {}

    def reset_state(self, dtype):
        self.seen = np.zeros(self.n, dtype)


def test_states_that_would_need_terabytes(tmp_path):
    dn.register(Statistic)
    try:
        layers, arrays = [{"layer": "Statistic", "config": {"n": 10**12}}], {"layers.0.seen": np.ones(2, "<f4")}
        refused(forged(tmp_path / "lie.npz", *claim(layers, arrays)), "is larger than what the file holds of it")
    finally:
        codec._registry.pop(("layer", "Statistic"))


def test_an_array_whose_own_header_lies(tmp_path):
    config, arrays = claim([dense()])
    for shape in ((2**30, 2**30), (1, 2), (2,), ()):
        refused(forged(tmp_path / "lie.npz", config, arrays, declared={"layers.0.W": shape}))


def test_configurations_that_are_no_good_json(tmp_path):
    config, arrays = claim([dense()])
    text = json.dumps(config).encode()
    nested = text.replace(b'"loss": null', b'"loss": ' + b"[" * 100_000 + b"]" * 100_000)
    for other, match in (
        (text.replace(b'"version": 1', b'"version": 1, "version": 1'), "a key stands twice"),
        (text.replace(b'"n_in": 2', b'"n_in": 2, "n_in": 3'), "a key stands twice"),
        (text.replace(b'"n_in": 2', b'"n_in": NaN'), "NaN is no JSON number"),
        (text.replace(b'"n_in": 2', b'"n_in": ' + b"9" * 100_000), "cannot be read"),
        (text.replace(b"Dense", b"D\xffnse"), "cannot be read"),
        (text[:-1], "cannot be read"),
        (b"[]", "not one of densenet"),
        (b"null", "not one of densenet"),
        (nested, "cannot be read|holds a value|recursion"),
        (text.replace(b'"loss": null', b'"loss": [' + b"0," * 300_000 + b"0]"), "too long"),
        (text + b" " * (5 << 20), "too long"),
    ):
        assert other != text
        refused(forged(tmp_path / "lie.npz", other, arrays), match)


def test_containers_in_containers_without_end(tmp_path):
    inner = {"layer": "ReLU", "config": {}}
    for _ in range(300):
        inner = {"layer": "Residual", "config": {"layers": [inner]}}
    refused(forged(tmp_path / "deep.npz", *claim([inner], {})), "recursion|cannot be read")


def test_twice_the_layers_take_about_twice_the_calls(tmp_path):
    counts = []
    for layers in (500, 1000):
        path = forged(tmp_path / f"{layers}.npz", *claim([{"layer": "ReLU", "config": {}}] * layers, {}))
        calls = []
        sys.setprofile(lambda frame, event, argument, calls=calls: calls.append(event) if "call" in event else None)
        try:
            model = dn.load(path)
        finally:
            sys.setprofile(None)
        assert len(model.layers) == layers
        counts.append(len(calls))
    assert counts[1] < 2.2 * counts[0]


# -- lies in checkpoints -------------------------------------------------------------------------------------------


def resumable(folder):
    trainer = dn.Trainer(dn.Sequential([dn.Dense(2, 1)], seed=0), "mse", dn.SGD(0.1, momentum=0.9))
    trainer.fit(X, X[:, 0], epochs=1, callbacks=[dn.EarlyStopping("loss", restore_best_weights=True)])
    trainer.save_checkpoint(folder / "run.npz")
    return files.read_file(folder / "run.npz")


def resume(path):
    trainer = dn.Trainer(dn.Sequential([dn.Dense(2, 1)], seed=0), "mse", dn.SGD(0.1, momentum=0.9))
    before = trainer.model.params.copy()
    try:
        trainer.fit(X, X[:, 0], epochs=2, resume=path, callbacks=[dn.EarlyStopping("loss", restore_best_weights=True)])
    except ValueError:
        np.testing.assert_array_equal(trainer.model.params, before)
        raise


LIES_OF_RUNS = {
    "plan": [None, [1]],
    "fingerprints": [{"dict": []}, 3, {"dict": [["x", 1]]}],
    "epoch": [-1, "1", 1.5],
    "inside": [1, None],
    "batch": [-1],
    "sums": [{"tuple": [0.0]}, [0.0, 0.0, 0.0]],
    "step": [-1],
    "stepped": [0],
    "batch_error": ["x"],
    "stopped": [True],
    "seconds": [None],
    "metrics": [[1], None],
    "gathered": [{"dict": []}, []],
    "generator": [{"dict": []}, 0],
    "gradients": [None, 0],
    "arrays": [[0], [None]],
    "history": [{"dict": []}, None],
    "hook": ["on_fit_begin", "load_state_dict", None],
    "callbacks": [[{"dict": []}], [None], None],
}


@pytest.mark.parametrize("field", LIES_OF_RUNS)
def test_what_a_run_cannot_go_on_from_is_refused(field, tmp_path):
    honest = resumable(tmp_path)
    assert [pair[0] for pair in honest.tree["progress"]["dict"]] == list(LIES_OF_RUNS)
    resume(tmp_path / "run.npz")
    for value in LIES_OF_RUNS[field]:
        lie = copy.deepcopy(honest)
        dict_of_progress = lie.tree["progress"]["dict"]
        dict_of_progress[list(LIES_OF_RUNS).index(field)][1] = value
        left = json.dumps(lie.tree)
        lie.arrays = {name: a for name, a in lie.arrays.items() if name.startswith("layers") or f'"{name}"' in left}
        files.write_file(tmp_path / "lie.npz", lie)
        with pytest.raises(ValueError, match=r"lie\.npz cannot be resumed"):
            resume(tmp_path / "lie.npz")


def test_an_optimizer_state_that_does_not_fit(tmp_path):
    content = resumable(tmp_path)
    content.tree["optimizer_state"]["dict"].pop(0)
    files.write_file(tmp_path / "lie.npz", content)
    with pytest.raises(
        dn.CheckpointError, match=r"lie\.npz cannot be resumed: its optimizer's state must be a record of steps"
    ):
        resume(tmp_path / "lie.npz")


def test_a_callbacks_state_that_does_not_suit_it(tmp_path):
    content = resumable(tmp_path)
    (callback,) = dict(content.tree["progress"]["dict"])["callbacks"]
    dict(callback["dict"])["state"]["dict"][0][0] = "worst"
    files.write_file(tmp_path / "lie.npz", content)
    trainer = dn.Trainer(dn.Sequential([dn.Dense(2, 1)], seed=0), "mse", dn.SGD(0.1, momentum=0.9))
    with pytest.raises(
        ValueError, match=r"lie\.npz cannot be resumed: its state of EarlyStopping must be a record of best"
    ):
        trainer.fit(
            X,
            X[:, 0],
            epochs=2,
            resume=tmp_path / "lie.npz",
            callbacks=[dn.EarlyStopping("loss", restore_best_weights=True)],
        )


def test_an_environment_of_nonsense_is_another_environment(tmp_path):
    content = resumable(tmp_path)
    content.tree["environment"] = 3
    files.write_file(tmp_path / "lie.npz", content)
    with pytest.warns(UserWarning, match="written with an unknown BLAS"):
        resume(tmp_path / "lie.npz")


@pytest.mark.parametrize("part", ["optimizer", "optimizer_state", "progress", "gradients", "environment", "model"])
def test_a_part_that_is_missing(part, tmp_path):
    content = resumable(tmp_path)
    del content.tree[part]
    files.write_file(tmp_path / "lie.npz", content)
    with pytest.raises(dn.CheckpointError, match="not one of a checkpoint"):
        resume(tmp_path / "lie.npz")
