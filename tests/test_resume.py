"""A resumed fit knows what it resumes: other data, weights, arguments or callbacks are errors that say which."""

from __future__ import annotations

import hashlib
import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest

import densenet as dn
from densenet.training import data as data_module
from densenet.training.data import fingerprint

DATA = Path(__file__).parent / "data"
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), RNG.integers(0, 2, 40)
W = RNG.uniform(0.5, 2, 40)
HELD_OUT = X[:8] + 1, 1 - Y[:8], W[:8]
LATER = {"epochs": 4, "batch_size": 7}


def new_trainer(**options):
    return dn.Trainer(dn.mlp([3, 4, 2], seed=0), "softmax_cross_entropy", "adam", **options)


def saved(path, x=X, y=Y, **options):
    """The path of a checkpoint of the first two of four epochs."""
    trainer = new_trainer()
    trainer.fit(x, y, **{"epochs": 2, "batch_size": 7, "seed": 1} | options)
    trainer.save_checkpoint(path)
    return path


def resume(path, x=X, y=Y, **options):
    trainer = new_trainer()
    start = trainer.model.params.copy()
    state = trainer.optimizer.state_dict()
    try:
        trainer.fit(x, y, resume=path, **LATER | options)
    except ValueError:
        np.testing.assert_array_equal(trainer.model.params, start)
        assert repr(trainer.optimizer.state_dict()) == repr(state)
        raise
    return trainer.model.params


# -- data ----------------------------------------------------------------------------------------------------------


def changed(array, row=-1):
    array = array.copy()
    array[row] = 1 - array[row]
    return array


@pytest.mark.parametrize(("first", "second", "names"), [
    ({}, {"x": changed(X)}, ["x"]),
    ({}, {"x": X[::-1]}, ["x"]),
    ({}, {"x": X * np.float32(1 + 1e-6)}, ["x"]),
    ({}, {"y": changed(Y)}, ["y"]),
    ({}, {"x": X[::-1], "y": Y[::-1]}, ["x", "y"]),
    ({}, {"sample_weight": W}, ["sample_weight"]),
    ({"sample_weight": W}, {}, ["sample_weight"]),
    ({"sample_weight": W}, {"sample_weight": changed(W, W < 1)}, ["sample_weight"]),
    ({"sample_weight": W}, {"sample_weight": W**2}, ["sample_weight"]),
    ({"class_weight": "balanced"}, {"class_weight": "balanced", "sample_weight": W}, ["sample_weight"]),
    ({"validation_split": 0.2}, {"validation_split": 0.2, "x": changed(X)}, ["x"]),
    ({"validation_data": HELD_OUT}, {"validation_data": (X[:8], *HELD_OUT[1:])}, ["validation x"]),
    ({"validation_data": HELD_OUT}, {"validation_data": (HELD_OUT[0], Y[:8], W[:8])}, ["validation y"]),
    ({"validation_data": HELD_OUT}, {"validation_data": HELD_OUT[:2]}, ["validation sample_weight"]),
    ({"validation_data": HELD_OUT}, {"validation_data": [HELD_OUT]},
     ["validation x", "validation y", "validation sample_weight"]),
    ({"validation_data": HELD_OUT}, {"validation_data": tuple(part[:5] for part in HELD_OUT)},
     ["validation x", "validation y", "validation sample_weight"]),
])  # fmt: skip
def test_other_data_is_an_error_that_says_which_and_may_be_meant(first, second, names, tmp_path):
    path = saved(tmp_path / "run.npz", **first)
    other = ", another ".join(names)
    with pytest.raises(ValueError, match=rf"expects the arrays of the checkpoint's run, got another {other}\. changed"):
        resume(path, **second)
    meant = resume(path, changed_data=True, **second)
    same = resume(path, **first)
    if "validation_data" in first:  # it decides nothing here
        np.testing.assert_array_equal(meant, same)
    else:
        assert not np.array_equal(meant, same)


@pytest.mark.parametrize("form", [
    lambda x: x.astype(np.float32),
    lambda x: np.asfortranarray(x),
    lambda x: x.tolist(),
    lambda x: x.astype(">f8"),
    lambda x: np.repeat(x, 2, axis=0)[::2],
    lambda x: pytest.importorskip("pandas").DataFrame(x),
], ids=["float32", "Fortran", "list", "swapped", "strided", "frame"])  # fmt: skip
def test_the_same_numbers_in_another_form_are_the_same_data(form, tmp_path):
    path = saved(tmp_path / "run.npz")
    np.testing.assert_array_equal(resume(path, form(X), Y.astype(np.int16)), resume(path))


def test_a_memory_map_is_the_same_data_as_its_array(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    path = saved(tmp_path / "run.npz")
    np.testing.assert_array_equal(resume(path, mapped), resume(path))
    np.testing.assert_array_equal(resume(saved(path, mapped)), resume(path, mapped))


def test_the_fingerprint_is_of_the_data_that_the_fit_began_with(tmp_path):
    x = X.astype(np.float32)  # of the model's dtype: not copied
    change = dn.LambdaCallback(on_epoch_begin=lambda run: x.__imul__(2) if run.epoch == 2 else None)
    path = saved(tmp_path / "run.npz", x, callbacks=[change])
    resume(path)
    with pytest.raises(ValueError, match="another x"):
        resume(path, x)


def test_a_stream_has_no_fingerprint(tmp_path):
    path = saved(tmp_path / "run.npz", [(X, Y)], None)
    resume(path, [(X[::-1], Y)], None)
    with pytest.raises(ValueError, match="expects rows as in the checkpoint, None, got 40"):
        resume(path)


def plain_fingerprint(array, dtype, rows=None, block=1 << 20):
    """Line by line and column by column, in whole numbers of Python."""
    array = np.asarray(array)
    numbers = array.astype(dtype) if rows is None else array[rows].astype(dtype)
    size = numbers.itemsize
    digest = hashlib.sha256(f"{array.shape} {dtype}".encode())
    step = max(1, block // (numbers[:1].nbytes))
    for start in range(0, len(numbers), step):
        data = numbers[start : start + step].tobytes()
        words = [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
        count = len(words) // 1024
        lines = [words[1024 * i : 1024 * (i + 1)] for i in range(count)]
        sums = [sum(column) for column in zip(*lines, strict=True)] or [0] * 1024
        for number in [*sums, *(sum(line) for line in lines)]:
            digest.update((number % 256**size).to_bytes(size, "little"))
        digest.update(data[1024 * count * size :])
    return digest.hexdigest()


@pytest.mark.parametrize("block", [1, 100, 20000, 1 << 20])
def test_a_fingerprint_takes_all_rows_or_4096_of_them(block, monkeypatch):
    def plain(array, dtype, rows=None):
        return plain_fingerprint(array, dtype, rows, block)

    monkeypatch.setattr(data_module, "_BLOCK", block)
    x = RNG.standard_normal((5000, 2))
    assert fingerprint(x, np.float32) == plain(x, "<f4")
    assert fingerprint(Y, np.intp) == plain(Y, "<i8")
    monkeypatch.setattr(data_module, "_WHOLE", 5000 * 8)
    assert fingerprint(x, np.float32) == plain(x, "<f4")
    monkeypatch.setattr(data_module, "_WHOLE", 5000 * 8 - 1)
    spread = [i * 4999 // 4095 for i in range(4096)]
    assert (spread[0], spread[-1], len(set(spread))) == (0, 4999, 4096)
    assert fingerprint(x, np.float32) == plain(x, "<f4", spread)
    monkeypatch.setattr(data_module, "_WHOLE", 1)
    assert fingerprint(x[:30], np.float32) == plain(x[:30], "<f4")
    assert fingerprint(x[:1], np.float32) == plain(x[:1], "<f4")


def test_any_changed_number_and_any_two_exchanged_change_the_fingerprint():
    labels = RNG.integers(0, 3, 3000)
    marks = {fingerprint(labels, np.intp)}
    for i in range(len(labels)):
        changed = labels.copy()
        changed[i] += 1
        marks.add(fingerprint(changed, np.intp))
    assert len(marks) == 3001
    mark = fingerprint(labels, np.intp)
    for _ in range(500):
        i, j = RNG.integers(0, 3000, 2)
        changed = labels.copy()
        changed[[i, j]] = changed[[j, i]]
        assert (fingerprint(changed, np.intp) == mark) == (labels[i] == labels[j])


def test_the_shape_belongs_to_the_fingerprint():
    marks = {fingerprint(np.zeros(shape), np.float64) for shape in ((12,), (12, 1), (4, 3), (3, 4))}
    assert len(marks) == 4


# -- arguments -----------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "validation_split": [{"validation_split": 0.25}, {"validation_split": 0.5}],
    "class_weight": [{"class_weight": {0: 2.0}}, {"class_weight": {0: 3.0}}, {"class_weight": "balanced"}, {}],
    "shuffle": [{"shuffle": True}, {"shuffle": False}],
    "batch_size": [{"batch_size": 7}, {"batch_size": 8}],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_other_arguments_are_refused_whatever_the_data(name, tmp_path):
    for first, second in itertools.permutations(ARGUMENTS[name], 2):
        path = saved(tmp_path / "run.npz", **first)
        resume(path, **first)
        for meant in (False, True):
            with pytest.raises(ValueError, match=rf"expects {name} as in the checkpoint, .* start a new fit"):
                resume(path, changed_data=meant, **second)


def test_class_weights_may_be_written_in_another_way(tmp_path):
    path = saved(tmp_path / "run.npz", class_weight={1: 2, 0: 1})
    expected = resume(path, class_weight={1: 2, 0: 1})
    for same in ([1, 2], np.array([1.0, 2.0]), {np.int64(1): 2.0}):
        np.testing.assert_array_equal(resume(path, class_weight=same), expected)


def test_another_learning_rate_is_named_for_the_checkpoints_holds(tmp_path):
    def trainer(rate):
        return dn.Trainer(dn.mlp([3, 4, 2], seed=0), "softmax_cross_entropy", dn.SGD(rate))

    def plateau():
        return dn.ReduceLROnPlateau("loss", patience=0, factor=0.5, min_delta=1e6)

    first = trainer(0.5)
    first.fit(X, Y, epochs=3, seed=0, callbacks=[plateau()])
    first.save_checkpoint(tmp_path / "run.npz")
    assert first.optimizer.rate < 0.5
    for rate in (0.5, first.optimizer.rate):  # as in the script, and as the run had come to
        trainer(rate).fit(X, Y, epochs=4, resume=tmp_path / "run.npz", callbacks=[plateau()])
    other = trainer(0.01)
    with pytest.warns(UserWarning, match=r"goes on at the checkpoint's learning rate, 0\.\d+, not at 0\.01") as caught:
        other.fit(X, Y, epochs=3, resume=tmp_path / "run.npz", callbacks=[plateau()])
    assert caught[0].filename == __file__
    assert other.optimizer.rate == first.optimizer.rate
    set_rate = dn.LambdaCallback(on_epoch_begin=lambda run: setattr(run.trainer.optimizer, "learning_rate", 0.01))
    again = trainer(0.5)
    again.fit(X, Y, epochs=4, resume=tmp_path / "run.npz", callbacks=[set_rate, plateau()])
    assert again.optimizer.rate <= 0.01


# -- callbacks -----------------------------------------------------------------------------------------------------


class Patient(dn.Callback):
    """One of a user's own, whose argument moves as it goes."""

    def __init__(self, patience=3, names=("loss",)):
        self.patience, self.names = patience, names

    def on_epoch_end(self, run):
        self.patience -= 1

    def state_dict(self):
        return {"patience": self.patience}

    def load_state_dict(self, state):
        self.patience = state["patience"]


SPLIT = {"validation_split": 0.25}
CALLBACKS = [
    (lambda: dn.EarlyStopping(), lambda: dn.EarlyStopping("loss"), "EarlyStopping's monitor .*'val_loss', got 'loss'"),
    (lambda: dn.EarlyStopping(), lambda: dn.EarlyStopping(patience=3), "EarlyStopping's patience .*10, got 3"),
    (lambda: dn.EarlyStopping(), lambda: dn.EarlyStopping(mode="max"), "EarlyStopping's mode"),
    (lambda: dn.EarlyStopping(), lambda: dn.EarlyStopping(min_delta=1.0), "EarlyStopping's min_delta"),
    (
        lambda: dn.EarlyStopping(),
        lambda: dn.EarlyStopping(restore_best_weights=True),
        "EarlyStopping's restore_best_weights",
    ),
    (lambda: dn.ReduceLROnPlateau(), lambda: dn.ReduceLROnPlateau(patience=2), "ReduceLROnPlateau's patience"),
    (lambda: dn.ReduceLROnPlateau(), lambda: dn.ReduceLROnPlateau(factor=0.5), "ReduceLROnPlateau's factor"),
    (lambda: dn.StopAt("loss", 0.0), lambda: dn.StopAt("loss", 1e-3), "StopAt's value"),
    (lambda: dn.WeightAverage(), lambda: dn.WeightAverage(0.9), "WeightAverage's decay .*None, got 0.9"),
    (lambda: Patient(), lambda: Patient(9), "Patient's patience as in the checkpoint, 3, got 9"),
]


@pytest.mark.parametrize(("first", "second", "match"), CALLBACKS)
def test_a_callback_with_other_arguments_is_refused(first, second, match, tmp_path):
    path = saved(tmp_path / "run.npz", callbacks=[first()], **SPLIT)
    resume(path, callbacks=[first()], **SPLIT)
    with pytest.raises(ValueError, match=f"expects {match}.* start a new fit"):
        resume(path, callbacks=[second()], **SPLIT)


def test_a_checkpoint_callback_that_monitors_another_figure_is_refused(tmp_path):
    def saver(name, monitor):
        return dn.ModelCheckpoint(tmp_path / name, monitor=monitor)

    path = saved(tmp_path / "run.npz", callbacks=[saver("best.npz", "loss")], **SPLIT)
    with pytest.raises(ValueError, match=r"ModelCheckpoint's monitor as in the checkpoint, 'loss', got 'val_loss'"):
        resume(path, callbacks=[saver("best.npz", "val_loss")], **SPLIT)
    resume(path, callbacks=[saver("elsewhere.npz", "loss")], **SPLIT)
    assert (tmp_path / "elsewhere.npz").exists()


def test_what_only_observes_and_limits_of_time_may_change(tmp_path):
    path = saved(tmp_path / "run.npz", callbacks=[dn.CSVLogger(tmp_path / "a.csv"), dn.TimeLimit(100)])
    expected = resume(path)
    changed = [dn.CSVLogger(tmp_path / "b.csv"), dn.TimeLimit(200)]
    np.testing.assert_array_equal(resume(path, callbacks=changed), expected)


def test_two_of_a_kind_find_their_states_by_their_arguments(tmp_path):
    def two():
        return [dn.EarlyStopping("loss", patience=7), dn.EarlyStopping("val_loss", patience=8)]

    path = saved(tmp_path / "run.npz", callbacks=two(), **SPLIT)
    for given in (two(), two()[::-1]):
        resume(path, callbacks=given, **SPLIT)
        for callback in given:
            assert callback.best_epoch >= 1
    by_monitor = {callback.monitor: callback.best for callback in given}
    assert len(set(by_monitor.values())) == 2


def test_a_checkpoint_of_a_resumed_run_knows_the_same(tmp_path):
    path = saved(tmp_path / "run.npz", callbacks=[dn.EarlyStopping("loss")])
    trainer = new_trainer()
    trainer.fit(X, Y, resume=path, epochs=3, batch_size=7, callbacks=[dn.EarlyStopping("loss")])
    trainer.save_checkpoint(path)
    resume(path, callbacks=[dn.EarlyStopping("loss")])
    with pytest.raises(ValueError, match="another y"):
        resume(path, y=changed(Y), callbacks=[dn.EarlyStopping("loss")])
    with pytest.raises(ValueError, match="EarlyStopping's patience"):
        resume(path, callbacks=[dn.EarlyStopping("loss", patience=3)])


# -- files of before -----------------------------------------------------------------------------------------------


def test_a_checkpoint_without_fingerprints_resumes_with_a_warning():
    from test_persistence import version_1

    def go_on(**options):
        trainer = dn.Trainer(
            version_1(), dn.SoftmaxCrossEntropy(label_smoothing=0.1), dn.Adam(dn.CosineDecay(0.01, 100))
        )
        x, y = np.random.default_rng(0).standard_normal((8, 3)), np.array([0, 1] * 4)
        stopping = dn.EarlyStopping("loss", restore_best_weights=True)
        path = DATA / "checkpoint_v1.npz"
        return trainer.fit(x, y, epochs=3, batch_size=3, callbacks=[stopping], resume=path, **options)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go_on()
        (mine,) = [one for one in caught if "without fingerprints" in str(one.message)]
        assert mine.filename == __file__
        caught.clear()
        go_on(changed_data=True)
    assert not [one for one in caught if "without fingerprints" in str(one.message)]


def test_steps_by_hand_after_a_fit_are_counted_in_a_checkpoint(tmp_path):
    unbroken, trainer, second = new_trainer(), new_trainer(), new_trainer()
    trainer.fit(X, Y, epochs=1, batch_size=20, seed=0)
    for _ in range(50):
        trainer.step(X, Y)
    trainer.save_checkpoint(tmp_path / "run.npz")
    seen = []
    second.fit(
        X, Y, epochs=2, batch_size=20, resume=tmp_path / "run.npz",
        callbacks=[dn.LambdaCallback(on_batch_end=lambda run: seen.append(run.step))],
    )  # fmt: skip
    assert seen == [53, 54]
    unbroken.fit(X, Y, epochs=1, batch_size=20, seed=(generator := np.random.default_rng(0)))
    for _ in range(50):
        unbroken.step(X, Y)
    unbroken.fit(X, Y, epochs=1, batch_size=20, seed=generator)
    np.testing.assert_array_equal(second.model.params, unbroken.model.params)


# -- streams and weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y", "layers"), [
    (X[:, :1], X[:, 1], [dn.Scale(1)]),
    (X[:, :1], X[:, 1], [dn.PReLU()]),
    (X[:, :1], X[:, 1:2], [dn.PReLU()]),
    (X, X[:, ::-1], [dn.PReLU()]),
], ids=["one fixed column", "1-D y", "one column", "three columns"])  # fmt: skip
def test_a_stream_takes_the_targets_that_arrays_take(x, y, layers):
    def run(*data, **options):
        trainer = dn.Trainer(dn.Sequential([type(layers[0])(**layers[0].config())], seed=0), "mse", "adam")
        history = trainer.fit(*data, epochs=3, batch_size=20, shuffle=False, **options)
        return history["loss"], trainer.model.params.tolist(), trainer.evaluate(*data)["loss"]

    batches = [(x[:20], y[:20]), (x[20:], y[20:])]
    assert run(batches)[:2] == run(x, y)[:2]
    assert run(batches)[2] == pytest.approx(run(x, y)[2], rel=1e-6)


@pytest.mark.parametrize("scale", [1e-44, 1e-40, 1e-37, 1e-32, 1e-30, 1e-10, 1e30, 1e36])
def test_the_scale_of_the_weights_leaves_the_loss_or_is_refused(scale):
    def loss(**options):
        model = dn.mlp([3, 4, 2], seed=0)
        return dn.Trainer(model, "softmax_cross_entropy", "sgd").fit(X, Y, epochs=1, shuffle=False, **options)["loss"]

    kinds = [
        ({"sample_weight": W * scale}, {"sample_weight": W}),
        ({"class_weight": {0: scale, 1: 2 * scale}}, {"class_weight": {0: 1.0, 1: 2.0}}),
        (
            {"class_weight": {0: scale * 1e10, 1: 2e10 * scale}, "sample_weight": W * 1e-10},
            {"class_weight": {0: 1.0, 1: 2.0}, "sample_weight": W},
        ),
    ]
    for given, plain in kinds:
        if not 1e-31 < scale < 1e34:
            with pytest.raises(ValueError, match=r"weight whose sum is too large for float32, or an entry of which is"):
                loss(**given)
        else:
            assert loss(**given) == pytest.approx(loss(**plain), rel=1e-6)
