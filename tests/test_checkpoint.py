"""Checkpoints: a run that was cut anywhere ends bit for bit where the unbroken one ends."""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest

import densenet as dn
from densenet._files import replacing
from densenet.persistence import checkpoints

ENDINGS = (".npz", ".safetensors")
OPTIMIZERS = {
    "sgd": lambda: dn.SGD(dn.OneCycle(0.1, 30), momentum=0.9, nesterov=True, weight_decay=1e-3),
    "rmsprop": lambda: dn.RMSprop(dn.StepDecay(0.01, 4)),
    "adagrad": lambda: dn.Adagrad(dn.InverseTimeDecay(0.1, 0.2)),
    "adadelta": lambda: dn.Adadelta(dn.PolynomialDecay(1.0, 20)),
    "adam": lambda: dn.Adam(dn.Warmup(dn.CosineDecay(0.01, 20), 5)),
    "amsgrad": lambda: dn.Adam(0.01, amsgrad=True),
    "adamw": lambda: dn.AdamW(dn.CosineRestarts(0.01, 4), weight_decay=0.1),
    "adamax": lambda: dn.Adamax(dn.ExponentialDecay(0.01, 0.9)),
    "nadam": lambda: dn.NAdam(0.01),
    "radam": lambda: dn.RAdam(0.01),
    "lion": lambda: dn.Lion(0.001),
    "rprop": lambda: dn.Rprop(),
}

X = np.random.default_rng(0).standard_normal((42, 5), dtype=np.float32)
Y = np.random.default_rng(1).integers(0, 3, 42)
FIT = {"epochs": 4, "batch_size": 8, "validation_split": 0.2, "class_weight": "balanced"}


def new_trainer(optimizer="adam", **options):
    layers = [
        dn.Dense(5, 6, kernel_l2=1e-3, max_norm=2.0),
        dn.BatchNorm(6),
        dn.PReLU(),
        dn.Dropout(0.3),
        dn.Residual([dn.Dense(6, 6).freeze("b"), dn.GaussianNoise(0.1)]),
        dn.Dense(6, 3).set_rate(0.5, "W"),
    ]
    options = {"metrics": ["accuracy", "roc_auc", "f1"]} | options
    return dn.Trainer(dn.Sequential(layers, seed=0), "softmax_cross_entropy", OPTIMIZERS[optimizer](), **options)


def callbacks(*first):
    return [*first, dn.EarlyStopping(patience=2, restore_best_weights=True), dn.WeightAverage(0.9)]


def everything(trainer, history):
    """All that two runs have to have in common."""
    figures = history.to_dict()
    figures.pop("seconds", None)
    state = [array.copy() for array in (trainer.model.params, trainer.model.grads)]
    for layer in (inner for top in trainer.model.layers for inner in top.walk()):
        state += layer.state.values()
    kept = trainer.optimizer.state_dict()
    noise = [layer.generator.bit_generator.state for layer in trainer.model.every_layer if layer.draws]
    kept = {name: value.tobytes() if isinstance(value, np.ndarray) else repr(value) for name, value in kept.items()}
    return figures, history.stopped, [array.tobytes() for array in state], kept, noise


class SaveEverywhere(dn.Callback):
    """A checkpoint at every boundary where one may be written, each a file of its own."""

    def __init__(self, folder, ending=".npz"):
        self.folder, self.ending, self.paths = folder, ending, []

    def save(self, run):
        self.paths.append(self.folder / f"{len(self.paths)}{self.ending}")
        run.trainer.save_checkpoint(self.paths[-1])

    on_batch_end = save
    on_epoch_end = save


# -- resuming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_after_every_step_a_run_ends_bit_for_bit_where_the_unbroken_one_does(optimizer, tmp_path):
    reference = new_trainer(optimizer, accumulate=2)
    history = reference.fit(X, Y, seed=3, callbacks=callbacks(), **FIT)
    expected = everything(reference, history)
    saver = SaveEverywhere(tmp_path)
    watched = new_trainer(optimizer, accumulate=2)
    assert everything(watched, watched.fit(X, Y, seed=3, callbacks=callbacks(saver), **FIT)) == expected
    assert len(saver.paths) >= 4 * 3
    for path in saver.paths:
        resumed = new_trainer(optimizer, accumulate=2)
        resumed.model.params += 1
        again = resumed.fit(X, Y, callbacks=callbacks(), resume=path, **FIT)
        assert everything(resumed, again) == expected, path.name
        np.testing.assert_array_equal(again.train_indices, history.train_indices)
        np.testing.assert_array_equal(again.validation_indices, history.validation_indices)


@pytest.mark.parametrize("first", [True, False], ids=["saver first", "saver last"])
def test_callbacks_whose_turn_was_still_to_come_get_it_when_the_run_is_resumed(first, tmp_path):
    def seen_by(resume=None):
        seen = []
        note = dn.LambdaCallback(
            on_batch_end=lambda run: seen.append(("batch", run.epoch, run.step, run.batch_error)),
            on_epoch_end=lambda run: seen.append(("epoch", run.epoch, run.figures["loss"])),
        )
        saver = SaveEverywhere(tmp_path)
        if resume is not None:
            saver.save = saver.on_batch_end = saver.on_epoch_end = lambda run: None
        new_trainer().fit(X, Y, seed=3, callbacks=[saver, note] if first else [note, saver], resume=resume, **FIT)
        return seen, saver.paths

    whole, paths = seen_by()
    assert len(whole) == len(paths)
    for done, path in enumerate(paths):
        assert seen_by(path)[0] == whole[done if first else done + 1 :]


@pytest.mark.parametrize("ending", ENDINGS)
def test_float64_no_shuffle_and_clipping(ending, tmp_path):
    def run(callbacks=(), resume=None):
        model = dn.mlp([5, 4, 3], dropout=0.5, seed=0, dtype="float64")
        trainer = dn.Trainer(model, "softmax_cross_entropy", "adam", clip_norm=0.1)
        history = trainer.fit(X, Y, epochs=2, batch_size=20, shuffle=False, callbacks=callbacks, resume=resume)
        return everything(trainer, history)

    saver = SaveEverywhere(tmp_path, ending)
    expected = run([saver])
    for path in saver.paths:
        assert run(resume=path) == expected


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_every_kind_of_generator_travels(bits, tmp_path):
    def run(seed, callbacks=(), resume=None):
        trainer = dn.Trainer(dn.mlp([5, 4, 3], seed=0), "softmax_cross_entropy", "sgd")
        history = trainer.fit(X, Y, epochs=3, batch_size=20, seed=seed, callbacks=callbacks, resume=resume)
        return everything(trainer, history)

    saver = SaveEverywhere(tmp_path)
    expected = run(np.random.Generator(bits(5)), [saver])
    assert run(None, resume=saver.paths[4]) == expected


def test_a_memory_map_resumes_too(tmp_path):
    np.save(tmp_path / "x.npy", X.astype(np.float64))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    saver = SaveEverywhere(tmp_path)
    plain, resumed = new_trainer(), new_trainer()
    expected = everything(plain, plain.fit(mapped, Y, epochs=2, batch_size=9, seed=0, callbacks=[saver]))
    assert everything(resumed, resumed.fit(mapped, Y, epochs=2, batch_size=9, resume=saver.paths[3])) == expected


def test_epochs_counts_the_whole_run(tmp_path):
    unbroken, first, second = new_trainer(), new_trainer(), new_trainer()
    expected = everything(unbroken, unbroken.fit(X, Y, epochs=5, seed=2))
    first.fit(X, Y, epochs=2, seed=2)
    first.save_checkpoint(tmp_path / "two.npz")
    history = second.fit(X, Y, epochs=5, resume=tmp_path / "two.npz")
    assert len(history) == 5
    assert everything(second, history) == expected
    assert history["seconds"] == sorted(history["seconds"])


def test_weights_that_an_ending_callback_replaced_are_resumed_as_they_were(tmp_path):
    unbroken, first, second = new_trainer(), new_trainer(), new_trainer()
    expected = everything(unbroken, unbroken.fit(X, Y, epochs=4, seed=2, callbacks=[dn.WeightAverage()]))
    average = dn.WeightAverage()
    first.fit(X, Y, epochs=2, seed=2, callbacks=[average])
    first.save_checkpoint(tmp_path / "two.npz")
    np.testing.assert_array_equal(dn.load(tmp_path / "two.npz").params, average.average)
    assert (
        everything(second, second.fit(X, Y, epochs=4, resume=tmp_path / "two.npz", callbacks=[dn.WeightAverage()]))
        == expected
    )


@pytest.mark.parametrize("stop", [1, 2, 5, 8, 13])
def test_interrupted_saved_and_resumed(stop, tmp_path):
    unbroken, first, second = (new_trainer(accumulate=2) for _ in range(3))
    expected = everything(unbroken, unbroken.fit(X, Y, seed=3, callbacks=callbacks(), **FIT))
    count = iter(range(1, 1000))

    def interrupt(run):
        if next(count) == stop:
            os.kill(os.getpid(), signal.SIGINT)

    history = first.fit(X, Y, seed=3, callbacks=callbacks(dn.LambdaCallback(on_batch_begin=interrupt)), **FIT)
    assert history.stopped == "interrupted"
    first.save_checkpoint(tmp_path / "cut.npz")
    assert everything(second, second.fit(X, Y, callbacks=callbacks(), resume=tmp_path / "cut.npz", **FIT)) == expected


def test_a_stop_that_lasts_stays_and_a_time_limit_does_not(tmp_path):
    path = tmp_path / "stopped.npz"
    for callback, stops in ((dn.StopAt("loss", 100.0), True), (dn.TimeLimit(1e-9), False)):
        trainer = new_trainer()
        assert trainer.fit(X, Y, epochs=3, batch_size=42, callbacks=[callback]).stopped != "finished"
        trainer.save_checkpoint(path)
        resumed = new_trainer().fit(X, Y, epochs=3, batch_size=42, resume=path)
        assert (len(resumed), resumed.stopped == "finished") == ((1, False) if stops else (3, True))


def test_a_lasting_reason_takes_the_place_of_one_that_is_not():
    run = dn.Run(new_trainer(), dn.History(), 1)
    run.stop("interrupted", lasting=False)
    run.stop("early stopping")
    run.stop("another")
    assert (run.stopped, run.lasting) == ("early stopping", True)


def test_a_stream_goes_on_at_the_start_of_its_epoch(tmp_path):
    one, two = (X[:20], Y[:20]), (X[20:], Y[20:])
    saver = SaveEverywhere(tmp_path)
    new_trainer().fit([one, two], epochs=2, callbacks=[saver])
    resumed, by_hand = new_trainer(), new_trainer()
    history = resumed.fit([one, two], epochs=1, resume=saver.paths[0])  # written after the first mini-batch
    _, *errors = (by_hand.step(*batch) for batch in (one, one, two))
    np.testing.assert_array_equal(resumed.model.params, by_hand.model.params)
    assert history["loss"] == [pytest.approx((20 * errors[0] + 22 * errors[1]) / 42, rel=1e-12)]


def test_divergence_after_a_resume_returns_to_where_it_was_resumed(tmp_path):
    trainer = new_trainer()
    trainer.fit(X, Y, epochs=1, seed=0)
    trainer.save_checkpoint(tmp_path / "one.npz")
    resumed = new_trainer()

    def spoil(run):
        run.model.params[0] = np.nan

    with pytest.raises(dn.DivergenceError, match=r"back at the start of the epoch \(or where it was resumed\)"):
        resumed.fit(X, Y, epochs=2, resume=tmp_path / "one.npz", callbacks=[dn.LambdaCallback(on_batch_begin=spoil)])
    np.testing.assert_array_equal(resumed.model.params, trainer.model.params)
    resumed.save_checkpoint(tmp_path / "again.npz")
    unbroken, last = new_trainer(), new_trainer()
    expected = unbroken.fit(X, Y, epochs=2, seed=0)
    assert last.fit(X, Y, epochs=2, resume=tmp_path / "again.npz")["loss"] == expected["loss"]


def test_an_exception_in_a_callback_leaves_a_trainer_that_can_be_saved_and_resumed(tmp_path):
    unbroken, first, second = (new_trainer() for _ in range(3))
    expected = everything(unbroken, unbroken.fit(X, Y, epochs=2, batch_size=10, seed=0))

    def fail(run):
        if run.step == 3:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        first.fit(X, Y, epochs=2, batch_size=10, seed=0, callbacks=[dn.LambdaCallback(on_batch_end=fail)])
    first.save_checkpoint(tmp_path / "cut.npz")
    assert everything(second, second.fit(X, Y, epochs=2, batch_size=10, resume=tmp_path / "cut.npz")) == expected


def test_csv_files_are_cut_back_to_the_checkpoint(tmp_path):
    def rows(path):
        return [",".join(line.split(",")[:-1]) for line in path.read_text().splitlines()]  # seconds stand last

    whole, broken = tmp_path / "whole.csv", tmp_path / "broken.csv"
    saver = SaveEverywhere(tmp_path)
    new_trainer().fit(X, Y, epochs=3, seed=0, callbacks=[dn.CSVLogger(whole)])
    new_trainer().fit(X, Y, epochs=3, seed=0, callbacks=[dn.CSVLogger(broken), saver])
    assert rows(broken) == rows(whole)
    for path in saver.paths:
        new_trainer().fit(X, Y, epochs=3, resume=path, callbacks=[dn.CSVLogger(broken)])
        assert rows(broken) == rows(whole)
    before = "what stood there\n"
    broken.write_text(before)
    new_trainer().fit(X, Y, epochs=2, seed=0, callbacks=[dn.CSVLogger(broken, append=True), SaveEverywhere(tmp_path)])
    once = broken.read_text()
    new_trainer().fit(X, Y, epochs=2, resume=saver.paths[2], callbacks=[dn.CSVLogger(broken, append=True)])
    assert broken.read_text().startswith(before)
    assert len(broken.read_text().splitlines()) == len(once.splitlines()) == 3


# -- what does not fit ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "run.npz"
    trainer = new_trainer()
    trainer.fit(X, Y, seed=3, callbacks=callbacks(), **FIT)
    trainer.save_checkpoint(path)
    return path


def test_a_resumed_fit_has_to_be_the_same_fit(checkpoint):
    def resume(trainer=None, x=X, y=Y, given=None, **options):
        trainer = trainer or new_trainer()
        before = trainer.model.params.copy()
        try:
            trainer.fit(x, y, resume=checkpoint, callbacks=callbacks() if given is None else given, **FIT | options)
        finally:
            np.testing.assert_array_equal(trainer.model.params, before)

    other_model = dn.Trainer(dn.mlp([5, 3], seed=0), "softmax_cross_entropy", "adam")
    other_loss = dn.Trainer(new_trainer().model, dn.SoftmaxCrossEntropy(label_smoothing=0.1), "adam")
    with pytest.raises(
        ValueError, match=r"expects the checkpoint's model, Sequential\(\[Dense\(5, 6, .*, got Sequential"
    ):
        resume(other_model)
    with pytest.raises(
        ValueError, match=r"the checkpoint's loss, SoftmaxCrossEntropy\(\), got SoftmaxCrossEntropy\(label"
    ):
        resume(other_loss)
    with pytest.raises(ValueError, match=r"the checkpoint's optimizer, Adam\(learning_rate=Warmup\(.*, got Lion"):
        resume(new_trainer("lion"))
    with pytest.raises(ValueError, match="expects batch_size as in the checkpoint, 8, got 7"):
        resume(batch_size=7)
    with pytest.raises(ValueError, match="expects accumulate as in the checkpoint, 1, got 2"):
        resume(new_trainer(accumulate=2))
    with pytest.raises(
        ValueError, match=r"expects metrics as in the checkpoint, '\[Accuracy\(\), ROCAUC\(\), F1\(\)\]'"
    ):
        resume(new_trainer(metrics=()))
    with pytest.raises(ValueError, match="expects shuffle as in the checkpoint, True, got False"):
        resume(shuffle=False)
    with pytest.raises(ValueError, match="expects the 42 rows of the checkpoint's run, got 41"):
        resume(x=X[:41], y=Y[:41])
    with pytest.raises(ValueError, match="expects rows as in the checkpoint, 34, got 42"):
        resume(validation_split=0.0)
    with pytest.raises(ValueError, match="expects the checkpoint's EarlyStopping among its callbacks"):
        resume(given=[dn.WeightAverage(0.9)])


def test_a_solver_does_not_resume_an_optimizers_run(tmp_path):
    x, y = X, X[:, :1] ** 2
    first = dn.Trainer(dn.mlp([5, 3, 1], activation="tanh", seed=0), "mse", dn.SGD(0.1))
    first.fit(x, y, epochs=1)
    first.save_checkpoint(tmp_path / "run.npz")
    second = dn.Trainer(dn.mlp([5, 3, 1], activation="tanh", seed=0), "mse", dn.LevenbergMarquardt())
    with pytest.raises(ValueError, match=r"resume|SGD\(learning_rate=0\.1.*got LevenbergMarquardt"):
        second.fit(x, y, epochs=2, resume=tmp_path / "run.npz")


def test_a_reduced_rate_is_no_other_optimizer(tmp_path):
    def trainer():
        return dn.Trainer(dn.mlp([5, 3], seed=0), "softmax_cross_entropy", dn.SGD(0.5, momentum=0.5))

    def plateau():
        return dn.ReduceLROnPlateau("loss", patience=0, factor=0.5, min_delta=1e6)

    saver = SaveEverywhere(tmp_path)
    unbroken, resumed = trainer(), trainer()
    expected = everything(unbroken, unbroken.fit(X, Y, epochs=4, seed=0, callbacks=[plateau(), saver]))
    assert unbroken.optimizer.rate < 0.5
    for path in saver.paths:
        resumed = trainer()
        assert everything(resumed, resumed.fit(X, Y, epochs=4, resume=path, callbacks=[plateau()])) == expected


def test_what_is_no_checkpoint_is_not_resumed(tmp_path):
    trainer = new_trainer()
    trainer.model.save(tmp_path / "model.npz")
    with pytest.raises(dn.CheckpointError, match=r"model\.npz is a model file, not a checkpoint: densenet\.load it"):
        trainer.fit(X, Y, epochs=1, resume=tmp_path / "model.npz")
    trainer.save_checkpoint(tmp_path / "unused.npz")
    with pytest.raises(dn.CheckpointError, match=r"unused\.npz cannot be resumed: it was written before any fit"):
        trainer.fit(X, Y, epochs=1, resume=tmp_path / "unused.npz")
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        trainer.fit(X, Y, epochs=1, resume=tmp_path / "none.npz")


def test_a_full_batch_solver_says_that_it_cannot_be_resumed(tmp_path):
    x, y = X, X[:, :1] ** 2
    trainer = dn.Trainer(dn.mlp([5, 3, 1], activation="tanh", seed=0), "mse", dn.LevenbergMarquardt())
    with pytest.raises(TypeError, match=r"save_checkpoint is for runs with an optimizer, got LevenbergMarquardt\(\)"):
        trainer.fit(x, y, epochs=2, callbacks=[dn.ModelCheckpoint(tmp_path / "lm.npz")])
    assert not any(tmp_path.iterdir())


def test_another_blas_or_thread_count_gives_a_warning(checkpoint, monkeypatch):
    here = checkpoints.blas_description()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new_trainer().fit(X, Y, resume=checkpoint, callbacks=callbacks(), **FIT)
    for other in ({"threads": here["threads"] + 1}, {"version": "0.0.1"}):
        monkeypatch.setattr(checkpoints, "blas_description", lambda other=other: here | other)
        with pytest.warns(UserWarning, match="the last bits may differ") as caught:
            new_trainer().fit(X, Y, resume=checkpoint, callbacks=callbacks(), **FIT)
        assert caught[0].filename == __file__
        assert str(next(iter(other.values()))) in str(caught[0].message)


def test_going_on_with_kernels_or_without_follows_the_checkpoint_or_warns(tmp_path):
    pytest.importorskip("numba", reason="kernels need the extra [fast]")

    def trainer(compiled):
        return dn.Trainer(dn.mlp([3, 4, 2], seed=0), "softmax_cross_entropy", "adam", compiled=compiled)

    ends = {}
    for first, compiled in (("kernels", True), ("lines", False)):
        begun, whole = trainer(compiled), trainer(compiled)
        begun.fit(X[:, :3], Y % 2, epochs=1, seed=1)
        begun.save_checkpoint(tmp_path / f"{first}.npz")
        whole.fit(X[:, :3], Y % 2, epochs=2, seed=1)
        ends[first] = whole.model.params
    for first, compiled in (("kernels", True), ("lines", False)):
        follows = trainer("auto")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            history = follows.fit(X[:, :3], Y % 2, epochs=2, resume=tmp_path / f"{first}.npz")
        assert history.compiled is compiled
        np.testing.assert_array_equal(follows.model.params, ends[first])
    with pytest.warns(UserWarning, match="threads, compiled kernels; this process has .*the last bits may differ"):
        trainer(False).fit(X[:, :3], Y % 2, epochs=2, resume=tmp_path / "kernels.npz")
    with pytest.warns(UserWarning, match="this process has .*, compiled kernels: the last bits may differ"):
        trainer(True).fit(X[:, :3], Y % 2, epochs=2, resume=tmp_path / "lines.npz")


def test_a_checkpoint_is_a_model_too(checkpoint):
    trainer = new_trainer()
    trainer.fit(X, Y, seed=3, callbacks=callbacks(), **FIT)
    model = dn.load(checkpoint)
    np.testing.assert_array_equal(model.predict(X), trainer.model.predict(X))
    assert repr(model.loss) == "SoftmaxCrossEntropy()"
    assert model.preparation is None


def test_in_the_middle_of_a_step_there_is_nothing_to_save(tmp_path):
    path = tmp_path / "run.npz"
    for hook in ("on_gradients", "on_batch_begin", "on_epoch_begin", "on_fit_begin"):
        callback = dn.LambdaCallback(**{hook: lambda run: run.trainer.save_checkpoint(path)})
        with pytest.raises(RuntimeError, match="save_checkpoint works at a step boundary"):
            new_trainer().fit(X, Y, epochs=1, callbacks=[callback])
    assert not path.exists()


def test_on_fit_end_a_checkpoint_can_be_written(tmp_path):
    path = tmp_path / "run.npz"
    trainer = new_trainer()
    trainer.fit(X, Y, epochs=1, callbacks=[dn.LambdaCallback(on_fit_end=lambda run: run.trainer.save_checkpoint(path))])
    assert len(new_trainer().fit(X, Y, epochs=2, resume=path)) == 2


# -- ModelCheckpoint -----------------------------------------------------------------------------------------------


def steps_in(folder, pattern="*"):
    return {
        path.name: dict(checkpoints.read_file(path).tree["progress"]["dict"])["step"] for path in folder.glob(pattern)
    }


def test_model_checkpoint_writes_at_its_intervals(tmp_path):
    by_steps = dn.ModelCheckpoint(tmp_path / "step-{step}.npz", every_steps=4)
    by_epochs = dn.ModelCheckpoint(tmp_path / "epoch-{epoch:02d}-{loss:.1f}.npz", every_epochs=2)
    each = dn.ModelCheckpoint(os.fspath(tmp_path / "each-{epoch}.npz"))
    history = new_trainer().fit(X, Y, epochs=5, batch_size=14, callbacks=[by_steps, by_epochs, each])
    loss = history["loss"]
    expected = {f"step-{i}.npz": i for i in (4, 8, 12)} | {f"each-{i}.npz": 3 * i for i in range(1, 6)}
    expected |= {f"epoch-02-{loss[1]:.1f}.npz": 6, f"epoch-04-{loss[3]:.1f}.npz": 12}
    assert steps_in(tmp_path) == expected


def test_model_checkpoint_counts_updates_not_mini_batches(tmp_path):
    saver = dn.ModelCheckpoint(tmp_path / "{step}.npz", every_steps=1)
    new_trainer(accumulate=2).fit(X, Y, epochs=2, batch_size=14, callbacks=[saver])
    assert steps_in(tmp_path) == {f"{i}.npz": i for i in range(1, 5)}


def test_model_checkpoint_keeps_the_newest(tmp_path):
    plain = dn.ModelCheckpoint(tmp_path / "run.npz", every_steps=1, keep=3)
    named = dn.ModelCheckpoint(tmp_path / "at-{step}.npz", every_steps=1, keep=2)
    new_trainer().fit(X, Y, epochs=2, batch_size=14, callbacks=[plain, named])
    assert steps_in(tmp_path) == {"run.npz": 6, "run-1.npz": 5, "run-2.npz": 4, "at-6.npz": 6, "at-5.npz": 5}
    resumed = dn.ModelCheckpoint(tmp_path / "run.npz", every_steps=1, keep=3)
    named = dn.ModelCheckpoint(tmp_path / "at-{step}.npz", every_steps=1, keep=2)
    new_trainer().fit(X, Y, epochs=3, batch_size=14, callbacks=[resumed, named], resume=tmp_path / "at-6.npz")
    assert steps_in(tmp_path) == {"run.npz": 9, "run-1.npz": 8, "run-2.npz": 7, "at-9.npz": 9, "at-8.npz": 8}


def test_model_checkpoint_keeps_older_ones_where_files_cannot_be_linked(tmp_path, monkeypatch):
    def no_links(*args):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    saver = dn.ModelCheckpoint(tmp_path / "run.npz", every_steps=1, keep=2)
    new_trainer().fit(X, Y, epochs=1, batch_size=14, callbacks=[saver])
    assert steps_in(tmp_path) == {"run.npz": 3, "run-1.npz": 2}


@pytest.mark.parametrize(("monitor", "figures", "expected"), [
    ("val_loss", [3.0, 2.0, 2.5, 1.0], [1, 2, 4]),
    ("val_accuracy", [0.3, 0.2, 0.3, 0.5], [1, 4]),
    ("loss", [float("nan"), 2.0, float("nan"), 1.0], [2, 4]),
])  # fmt: skip
def test_model_checkpoint_monitors_a_figure(monitor, figures, expected, tmp_path):
    forge = dn.LambdaCallback(on_epoch_end=lambda run: run.figures.__setitem__(monitor, figures[run.epoch - 1]))
    saver = dn.ModelCheckpoint(tmp_path / "{epoch}.npz", monitor=monitor)
    new_trainer().fit(X, Y, epochs=4, batch_size=42, callbacks=[forge, saver])
    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == expected
    assert saver.best == figures[expected[-1] - 1]


def test_two_model_checkpoints_do_not_miss_a_turn_when_one_of_them_is_resumed(tmp_path):
    def savers(folder):
        return [
            dn.ModelCheckpoint(folder / "a-{epoch}.npz"),
            dn.ModelCheckpoint(folder / "b-{epoch}.npz", monitor="loss"),
        ]

    (tmp_path / "resumed").mkdir()
    new_trainer().fit(X, Y, epochs=3, seed=0, callbacks=savers(tmp_path))
    for name in ("a-1.npz", "b-1.npz"):
        made = savers(tmp_path / "resumed")
        new_trainer().fit(X, Y, epochs=3, resume=tmp_path / name, callbacks=made)
        written = {path.name for path in (tmp_path / "resumed").iterdir()}
        assert ("b-1.npz" in written) == (name == "a-1.npz")
        assert "a-1.npz" not in written
        assert {path.name for path in tmp_path.glob("*.npz")} - {"a-1.npz", "b-1.npz"} <= written
        for path in written:
            (tmp_path / "resumed" / path).unlink()


def test_model_checkpoint_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="ModelCheckpoint expects every_steps or every_epochs, got both"):
        dn.ModelCheckpoint("a.npz", every_steps=1, every_epochs=1)
    with pytest.raises(ValueError, match="can monitor a figure at an epoch's end only"):
        dn.ModelCheckpoint("a.npz", every_steps=1, monitor="loss")
    for name in ("every_steps", "every_epochs", "keep"):
        with pytest.raises(
            ValueError, match=f"ModelCheckpoint expects {name} to be a whole number of at least 1, got 0"
        ):
            dn.ModelCheckpoint("a.npz", **{name: 0})
    with pytest.raises(ValueError, match=r"expects a path that ends in \.npz or \.safetensors, got 'a\.h5'"):
        dn.ModelCheckpoint("a.h5")
    with pytest.raises(ValueError, match=r"cannot read the braces in 'a\{\.npz'"):
        dn.ModelCheckpoint("a{.npz")
    with pytest.raises(ValueError, match=r"cannot fill in .*KeyError\('val_loss'\); it knows epoch, step, loss"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[dn.ModelCheckpoint(tmp_path / "{val_loss}.npz")])
    with pytest.raises(ValueError, match="ModelCheckpoint monitors 'val_loss', but the epoch has only"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[dn.ModelCheckpoint(tmp_path / "a.npz", monitor="val_loss")])
    with pytest.raises(FileNotFoundError, match=r"missing.a\.npz"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[dn.ModelCheckpoint(tmp_path / "missing" / "a.npz")])


def test_a_checkpoint_that_cannot_be_written_harms_nothing(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    trainer, unbroken = new_trainer(), new_trainer()
    expected = everything(unbroken, unbroken.fit(X, Y, epochs=3, batch_size=14, seed=0))
    real, calls = os.fsync, iter(range(100))

    def full(descriptor):
        if next(calls) == 4:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*run\.npz"):
        trainer.fit(X, Y, epochs=3, batch_size=14, seed=0, callbacks=[dn.ModelCheckpoint(path, every_steps=1)])
    assert steps_in(tmp_path) == {"run.npz": 2}
    trainer.save_checkpoint(tmp_path / "after.npz")
    calls = iter(range(100))
    named = dn.ModelCheckpoint(tmp_path / "named-{step}.npz", every_steps=1, keep=1)
    with pytest.raises(OSError, match=r"No space left on device.*named-3\.npz"):
        new_trainer().fit(X, Y, epochs=3, batch_size=14, callbacks=[named])
    assert steps_in(tmp_path, "named-*") == {"named-2.npz": 2}
    assert named.written == [os.fspath(tmp_path / "named-2.npz")]
    for cut in ("run.npz", "after.npz"):
        resumed = new_trainer()
        assert everything(resumed, resumed.fit(X, Y, epochs=3, batch_size=14, resume=tmp_path / cut)) == expected


def test_copies_and_pickles_of_a_trainer_that_has_been_fitted():
    import copy
    import pickle

    trainer = new_trainer()
    trainer.fit(X, Y, epochs=1, callbacks=[dn.LambdaCallback(on_epoch_end=lambda run: None)])
    for other in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        np.testing.assert_array_equal(other.model.predict(X), trainer.model.predict(X))


def test_the_writer_of_this_file_uses_no_others_temporary_file(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "b") as second:
        first.write(b"1")
        second.write(b"2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"2"}
