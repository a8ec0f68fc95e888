"""What several ranks check together; `test_mpi.py` starts it under mpiexec: python mpi_ranks.py RESULT CHECK...

Every rank runs every check. A check that fails on any rank ends up in the result's file, which rank 0 writes.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import pickle
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI

import densenet as dn
from densenet.training.ranks import Ranks
from densenet.training.run import Run
from densenet.training.step import Step

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size
RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((61, 5)), RNG.integers(0, 3, 61), RNG.random(61)
W[7:17] = 0


def network(dtype="float64"):
    layers = [dn.Dense(5, 8), dn.Tanh(), dn.Dropout(0.3), dn.LayerNorm(8), dn.Dense(8, 3, kernel_l2=1e-3)]
    return dn.Sequential(layers, seed=0, dtype=dtype)


def trainer(communicator=COMM, optimizer=None, model=None, **more):
    optimizer = optimizer or dn.SGD(0.05, momentum=0.9)
    return dn.Trainer(model or network(), "softmax_cross_entropy", optimizer, communicator=communicator, **more)


def same_on_all(value):
    """Complain unless every rank has the same bits."""
    first, *others = COMM.allgather(value)
    for other in others:
        assert first == other, f"{first!r} and {other!r}"


def close(a, b, tolerance):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape, f"{a.shape} and {b.shape}"
    scale = max(np.abs(b).max(), 1e-300)
    assert np.abs(a - b).max() <= tolerance * scale, f"differ by {np.abs(a - b).max() / scale:.3g}"


def raises(kind, call, *words):
    """The text of the exception that every rank must raise."""
    try:
        call()
    except kind as error:
        text = str(error)
    else:
        raise AssertionError(f"rank {RANK} raised nothing")
    for word in words:
        assert word in text, text
    return text


@contextlib.contextmanager
def folder():
    """One for all ranks."""
    path = COMM.bcast(tempfile.mkdtemp(prefix="mpi-") if RANK == 0 else None)
    yield Path(path)
    COMM.Barrier()
    if RANK == 0:
        for file in Path(path).iterdir():
            file.unlink()
        os.rmdir(path)


# -- the gradient ------------------------------------------------------------------------------------------------------


def every_layer():
    """A layer of every kind but BatchNorm, between two dense ones."""
    plain = "Identity ReLU LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Sigmoid Tanh HardTanh"
    plain += " HardSigmoid HardSwish Exp Sine Gaussian Softmax LogSoftmax"
    yield from ((name, getattr(dn, name)()) for name in plain.split())
    for layer in (dn.LayerNorm(6), dn.RMSNorm(6), dn.Scale(6), dn.Dropout(0.4), dn.AlphaDropout(0.2)):
        yield type(layer).__name__, layer
    yield "GaussianNoise", dn.GaussianNoise(0.3)
    yield "Residual", dn.Residual([dn.Dense(6, 6), dn.Dropout(0.5)])
    yield "Concatenate", dn.Concatenate([[dn.Dense(6, 3)], [dn.Dense(6, 3), dn.Tanh()]])
    yield "Average", dn.layers.Average([[dn.Dense(6, 6)], [dn.GaussianNoise(0.1), dn.Sine()]])
    yield "Blend", dn.layers.Blend(6)
    yield "Clip", dn.layers.Clip([-1.0] * 6, [1.0] * 6)


def reduced(model, loss, groups, communicator, clip):
    """Gradient, error and weight of these mini-batches of an update, each a slice of the rows."""
    step = Step(
        model, loss, dn.SGD(1e-3), clip_norm=clip, accumulate=len(groups), ranks=communicator and Ranks(communicator)
    )
    run = Run(SimpleNamespace(model=model), dn.History(), 1)
    size = len(groups[0])
    data = dn.training.data.ArrayBatches(
        X.astype(model.dtype),
        loss.prepare(Y, 3, model.dtype),
        W.astype(model.dtype),
        model.dtype,
        np.concatenate(groups),
    )
    total = weight = 0.0
    for batch in step.batches(data, run, size):
        run.batch, run.batch_error = batch, step.gradient(*batch)
        total, weight = total + run.batch_error * loss.total_weight, weight + loss.total_weight
        due = step.is_due(run, loss.total_weight)
    due = due or step.is_left(run)
    assert due
    if step.reducer is not None:
        total, weight = step.ranks.sum([total, weight])
        step.reducer.leave()
    step.update()
    return model.grads.copy(), total / weight, weight


def gradients_of_every_layer():
    for (name, layer), dtype in itertools.product(list(every_layer()), ("float64", "float32")):
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        for groups, clip in (([np.arange(30)], None), ([np.arange(7)], 0.01), (np.arange(48).reshape(3, 16), None)):
            made = []
            for communicator in (COMM, None):
                layers = [dn.Dense(5, 6, kernel_l2=1e-3), copy.deepcopy(layer), dn.Dense(6, 3)]
                model = dn.Sequential(layers, seed=1, dtype=dtype)
                made.append(reduced(model, dn.SoftmaxCrossEntropy(), list(groups), communicator, clip))
            (g, e, w), (g1, e1, w1) = made
            try:
                close(g, g1, tolerance)
                close(e, e1, tolerance)
                close(w, w1, tolerance)
            except AssertionError as error:
                raise AssertionError(f"{name}, {dtype}: {error}") from None


def steps_by_hand():
    """`Trainer.step`, each rank with rows of its own, beside one process with all of them."""
    ours, alone = trainer(), trainer(None)
    mine = np.array_split(np.arange(40), SIZE)[RANK]
    for _ in range(5):
        error = ours.step(X[mine], Y[mine], W[mine])
        close(error, alone.step(X[:40], Y[:40], W[:40]), 1e-12)
        close(ours.model.params, alone.model.params, 1e-12)


# -- runs --------------------------------------------------------------------------------------------------------------


def fit(communicator, optimizer, accumulate=1, **more):
    made = trainer(communicator, optimizer, metrics=["accuracy", "f1", "roc_auc"], accumulate=accumulate, clip_norm=2.0)
    given = {"epochs": 25, "batch_size": 8, "validation_split": 0.2, "seed": 1, "sample_weight": W} | more
    return made, made.fit(X, Y, **given)


def long_runs():
    for optimizer, accumulate in ((dn.SGD(0.05), 1), (dn.SGD(0.02, momentum=0.9), 1), (dn.SGD(0.05, momentum=0.9), 3)):
        epochs = 29 * accumulate
        ours, history = fit(COMM, copy.deepcopy(optimizer), accumulate, epochs=epochs)
        alone, before = fit(None, copy.deepcopy(optimizer), accumulate, epochs=epochs)
        assert ours.optimizer.steps == alone.optimizer.steps >= 190
        close(ours.model.params, alone.model.params, 1e-10)
        for name in set(history) - {"seconds"}:
            close(history[name], before[name], 1e-10)
        same_on_all((ours.model.params.tobytes(), dict(history)))


def early_stopping():
    ends = []
    for communicator in (COMM, None):
        stop = dn.EarlyStopping("val_loss", min_delta=1e-3, patience=3, restore_best_weights=True)
        _, history = fit(communicator, dn.SGD(0.2, momentum=0.9), epochs=300, callbacks=[stop])
        assert history.stopped.startswith("early stopping")
        ends.append((len(history), stop.best_epoch))
    assert ends[0] == ends[1], ends
    same_on_all(ends[0])


def the_same_bits_twice():
    first, second = (fit(COMM, dn.Adam(1e-2))[0].model.params.tobytes() for _ in range(2))
    assert first == second


def one_rank():
    """A communicator of one rank is the plain run, bit for bit, kernels allowed."""
    ours, history = fit(COMM, dn.Adam(1e-2), accumulate=2)
    alone, before = fit(None, dn.Adam(1e-2), accumulate=2)
    assert ours.model.params.tobytes() == alone.model.params.tobytes()
    assert all(history[name] == before[name] for name in history if name != "seconds")
    assert ours.compiled_reason == alone.compiled_reason


def batch_norm():
    layers = [dn.Dense(5, 8), dn.BatchNorm(8), dn.ReLU(), dn.Dense(8, 3)]
    made = trainer(model=dn.Sequential(layers, seed=RANK, dtype="float64"), optimizer=dn.SGD(0.1))
    seen = []
    look = dn.LambdaCallback(on_batch_end=lambda run: seen.append(layers[1].running_mean.tobytes()))
    made.fit(X, Y, epochs=3, batch_size=SIZE + 1, seed=0, callbacks=[look])  # 61 % (SIZE + 1) rows are left over
    same_on_all((seen, made.model.params.tobytes(), layers[1].running_var.tobytes()))
    weight = np.ones(61)
    weight[-5:] = 0  # the last mini-batch moves the statistics, and makes no step
    gathers = trainer(model=dn.Sequential(copy.deepcopy(layers), dtype="float64"), accumulate=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gathers.fit(X, Y, epochs=2, batch_size=14, shuffle=False, sample_weight=weight)
    same_on_all(gathers.model[1].running_mean.tobytes())
    one = trainer(model=dn.Sequential([dn.BatchNorm(5), dn.Dense(5, 3)], seed=0, dtype="float64"))
    one.fit(X[: 4 * SIZE], Y[: 4 * SIZE], epochs=1, batch_size=4 * SIZE, shuffle=False)
    means = X[: 4 * SIZE].reshape(SIZE, 4, 5).mean(axis=1)
    close(one.model[0].running_mean, 0.1 * means.mean(axis=0), 1e-12)  # r <- 0.9 r + 0.1 mean over ranks of m


def without_a_seed():
    made = trainer(model=dn.mlp([5, 8, 3], dropout=0.2))  # weights of the system's entropy, others on every rank
    history = made.fit(X, Y, epochs=2, batch_size=8, validation_split=0.2)
    same_on_all((made.model.params.tobytes(), history.validation_indices.tobytes()))


def streams():
    """Shards of different lengths: every rank's batches together are the mini-batches of one process."""
    rows = [np.arange(i, 61, SIZE + 1) for i in range(SIZE + 1)]  # rank 0 has two shards' rows
    mine = [*np.array_split(rows[RANK], 4)] + ([*np.array_split(rows[SIZE], 2)] if RANK == 0 else [])
    batches = [(X[r], Y[r], W[r]) for r in mine]
    every = COMM.allgather(mine)
    rounds = [np.concatenate([r for r in part if r is not None]) for part in itertools.zip_longest(*every)]
    for accumulate in (1, 4):
        ours = trainer(accumulate=accumulate, metrics=["accuracy"])
        history = ours.fit(batches, epochs=4)
        alone = trainer(None, accumulate=accumulate, metrics=["accuracy"])
        before = alone.fit([(X[r], Y[r], W[r]) for r in rounds], epochs=4)
        close(ours.model.params, alone.model.params, 1e-12)
        close(history["accuracy"], before["accuracy"], 1e-12)
        assert ours.optimizer.steps == alone.optimizer.steps


def numbered_streams():
    """Parquet files: each rank its own, a run resumed in the middle of an epoch; the same files are refused."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow, of the extra [arrow], is not installed")
    from pyarrow import parquet

    with folder() as path:
        rows = 40 - 20 * RANK if RANK < 2 else 8
        columns = {**{f"x{j}": X[:rows, j] for j in range(5)}, "y": Y[:rows].astype(float)}
        parquet.write_table(pyarrow.table(columns), path / f"{RANK}.parquet", row_group_size=10)
        COMM.Barrier()

        def new(name=f"{RANK}.parquet"):
            made = dn.Trainer(dn.mlp([5, 4, 1], seed=0, dtype="float64"), "mse", dn.SGD(0.05), communicator=COMM)
            features = [f"x{j}" for j in range(5)]
            return made, dn.datasets.ParquetBatches(path / name, features, "y", 8, seed=1, dtype="float64")

        keep = dn.ModelCheckpoint(path / "s{step}.npz", every_steps=1)
        whole, data = new()
        history = whole.fit(data, epochs=3, callbacks=keep)
        COMM.Barrier()
        again, data = new()
        after = again.fit(data, epochs=3, resume=path / "s9.npz", callbacks=keep)
        assert again.model.params.tobytes() == whole.model.params.tobytes()
        assert after["loss"] == history["loss"]
        mixed, _ = new()  # arrays to train on; each rank has validation rows of its own, which a checkpoint knows
        given = {"epochs": 2, "batch_size": 8, "seed": 0, "validation_data": data}
        history = mixed.fit(X, X[:, 0], callbacks=keep, **given)
        COMM.Barrier()
        again, _ = new()
        after = again.fit(X, X[:, 0], resume=path / "s8.npz", callbacks=keep, **given)
        assert after["val_loss"] == history["val_loss"]
        if SIZE > 1:
            same, data = new("0.parquet")
            raises(ValueError, lambda: same.fit(data, epochs=1), "each rank's own", "ParquetBatches(files[rank::size]")


def memory_maps():
    with folder() as path:
        if RANK == 0:
            np.save(path / "x.npy", X)
        COMM.Barrier()
        ours, alone = trainer(), trainer(None)
        ours.fit(np.load(path / "x.npy", mmap_mode="r"), Y, epochs=2, batch_size=9, validation_split=0.1, seed=0)
        alone.fit(X, Y, epochs=2, batch_size=9, validation_split=0.1, seed=0)
        close(ours.model.params, alone.model.params, 1e-12)


def weights_that_are_zero():
    """A mini-batch that weighs nothing makes no step, and does not count where gradients accumulate."""
    weight = np.ones(48)
    weight[8:24] = 0
    seen = []
    look = dn.LambdaCallback(on_gradients=lambda run: seen.append(float(abs(run.model.grads).max())))
    for accumulate in (1, 2):
        seen.clear()
        ours, alone = trainer(accumulate=accumulate), trainer(None, accumulate=accumulate)
        given = {"epochs": 1, "batch_size": 8, "sample_weight": weight, "shuffle": False}
        ours.fit(X[:48], Y[:48], callbacks=[look], **given)
        count = len(seen)
        alone.fit(X[:48], Y[:48], callbacks=[look], **given)
        assert ours.optimizer.steps == alone.optimizer.steps == 4 // accumulate
        assert count == len(seen) - count
        close(ours.model.params, alone.model.params, 1e-12)


# -- how it ends -------------------------------------------------------------------------------------------------------


def stops():
    """What one rank asks for ends all, after the next update, with one reason."""
    ask = dn.LambdaCallback(
        on_batch_end=lambda run: run.stop("enough", lasting=False) if (RANK, run.step) == (SIZE - 1, 9) else None
    )
    made = trainer()
    history = made.fit(X, Y, epochs=50, batch_size=8, seed=0, callbacks=[ask])
    same_on_all((history.stopped, len(history), made.optimizer.steps))
    assert (history.stopped, made.optimizer.steps) == ("enough", 10)
    last = dn.LambdaCallback(on_epoch_end=lambda run: run.stop("over") if RANK == 0 and run.epoch == 3 else None)
    history = trainer().fit(X, Y, epochs=50, batch_size=8, seed=0, callbacks=[last])
    assert (history.stopped, len(history)) == ("over", 3)
    limited = trainer().fit(X, Y, epochs=10**6, batch_size=8, seed=0, callbacks=[dn.TimeLimit(0.2 + 10 * RANK)])
    assert limited.stopped == "time limit of 0.2 s"
    same_on_all(len(limited))


def interrupts():
    """Ctrl-C on one rank ends all of them at the same step, and the run goes on from there to the same end."""

    def once(run):
        if RANK == SIZE - 1 and run.step == 11 and run.stepped:
            os.kill(os.getpid(), signal.SIGINT)

    strike = dn.LambdaCallback(on_batch_end=once)
    with folder() as path:
        made = trainer(metrics=["accuracy"], accumulate=2)
        history = made.fit(X, Y, epochs=5, batch_size=8, seed=0, callbacks=[strike])
        same_on_all((history.stopped, made.optimizer.steps, len(history)))
        assert (history.stopped, made.optimizer.steps) == ("interrupted", 12)
        made.save_checkpoint(path / "run.npz")
        COMM.Barrier()
        again = trainer(metrics=["accuracy"], accumulate=2)
        whole = again.fit(X, Y, epochs=5, batch_size=8, resume=path / "run.npz")
        unbroken = trainer(metrics=["accuracy"], accumulate=2)
        before = unbroken.fit(X, Y, epochs=5, batch_size=8, seed=0)
        assert again.model.params.tobytes() == unbroken.model.params.tobytes()
        close(whole["loss"], before["loss"], 1e-14)
        close(whole["accuracy"], before["accuracy"], 1e-14)


def divergence():
    """The error of one rank's rows is infinite: all say the same, and have the epoch's beginning again."""
    x = X.copy()
    x[41] = 1e300
    made = dn.Trainer(dn.mlp([5, 1], seed=0, dtype="float64"), "mse", dn.SGD(1e-3), communicator=COMM, accumulate=2)
    start = made.model.params.copy()
    text = raises(dn.DivergenceError, lambda: made.fit(x, X[:, 0], epochs=3, batch_size=8, seed=0), "the error is")
    same_on_all(text)
    assert (made.model.params == start).all()
    history = made.fit(X, X[:, 0], epochs=1, batch_size=8, seed=0)  # and all of them can go on
    assert len(history) == 1


def drift():
    """Other last bits on one rank are found at the epoch's end, and rank 0's weights are taken."""

    def push(run):
        if RANK == SIZE - 1 and run.step == 3:
            run.model.params[0] = np.nextafter(run.model.params[0], 9)

    made = trainer(optimizer=dn.Adam(1e-2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.fit(X, Y, epochs=2, batch_size=8, seed=0, callbacks=[dn.LambdaCallback(on_batch_end=push)])
    words = [str(warning.message) for warning in caught]
    assert len(words) == (RANK == 0), words
    assert all(f"rank {SIZE - 1} are not bit for bit" in text for text in words)
    same_on_all(made.model.params.tobytes())


def exceptions_of_all():
    """An exception that every rank has is an ordinary one."""
    stop = dn.EarlyStopping("val_loss")
    raises(ValueError, lambda: trainer().fit(X, Y, epochs=3, seed=0, callbacks=[stop]), "monitors 'val_loss'")
    assert len(trainer().fit(X, Y, epochs=1)) == 1


# -- callbacks and checkpoints -----------------------------------------------------------------------------------------


def observers():
    with folder() as path:
        log, plain = [], []

        class Watch(dn.Callback):
            observes = True

            def on_epoch_end(self, run):
                log.append(run.epoch)

        watching = [Watch(), dn.CSVLogger(path / "log.csv"), dn.ModelCheckpoint(path / "e{epoch}.npz", keep=2)]
        both = dn.LambdaCallback(on_epoch_end=lambda run: plain.append(run.epoch))
        trainer().fit(X, Y, epochs=4, batch_size=16, seed=0, callbacks=[*watching, both])
        assert (log, plain) == ([1, 2, 3, 4] if RANK == 0 else [], [1, 2, 3, 4])
        COMM.Barrier()
        assert sorted(file.name for file in path.iterdir()) == ["e3.npz", "e4.npz", "log.csv"]
        assert len((path / "log.csv").read_text().splitlines()) == 5


def checkpoints():
    """A run goes on from the middle of an epoch, on as many ranks to the same bits, and on one process."""
    with folder() as path:

        def new(communicator=COMM, *extra):
            made = trainer(communicator, dn.SGD(0.05, momentum=0.9), metrics=["accuracy", "roc_auc"], accumulate=2)
            return made, [dn.ModelCheckpoint(path / "s{step}.npz", every_steps=3), dn.WeightAverage(0.9), *extra]

        given = {"epochs": 6, "batch_size": 8, "validation_split": 0.2, "sample_weight": W}
        whole, calls = new()
        history = whole.fit(X, Y, seed=3, callbacks=calls, **given)
        COMM.Barrier()
        again, calls = new()
        after = again.fit(X, Y, resume=path / "s6.npz", callbacks=calls, **given)
        assert again.model.params.tobytes() == whole.model.params.tobytes()
        assert all(after[name] == history[name] for name in history if name != "seconds")
        one, calls = new(None)
        if RANK == 0:
            alone = one.fit(X, Y, resume=path / "s6.npz", callbacks=calls[1:], **given)
            close(one.model.params, whole.model.params, 1e-12)
            close(alone["roc_auc"], history["roc_auc"], 1e-12)
            one, calls = new(None)
            one.fit(X, Y, epochs=1, batch_size=8, validation_split=0.2, sample_weight=W, seed=3)
            one.save_checkpoint(path / "one.npz")
        COMM.Barrier()

        def save(run):
            run.trainer.save_checkpoint(path / f"b{run.epoch}-{run.batches}.npz")

        whole, calls = new(COMM, dn.LambdaCallback(on_batch_end=save))
        whole.fit(X, Y, seed=3, callbacks=calls[1:], **given)
        COMM.Barrier()
        for name in ("b2-6.npz", "b2-7.npz"):  # of 49 rows; the last waits for its update
            again, calls = new(COMM, dn.LambdaCallback(on_batch_end=save))
            again.fit(X, Y, resume=path / name, callbacks=calls[1:], **given)
            assert again.model.params.tobytes() == whole.model.params.tobytes(), name
        many, _ = new()
        many.fit(X, Y, resume=path / "one.npz", **given)
        straight, _ = new(None)
        straight.fit(X, Y, seed=3, **given)
        close(many.model.params, straight.model.params, 1e-12)


# -- bad input ---------------------------------------------------------------------------------------------------------


def bad_input():
    last = SIZE - 1
    before = network().params
    made = trainer()

    def differs(words, ours=None, fit=None):
        one = ours or trainer()
        x, y, given = fit or (X, Y, {"epochs": 1, "seed": 0})
        start = one.model.params.copy()
        text = raises(ValueError, lambda: one.fit(x, y, **given), *words)
        assert (one.model.params == start).all()
        return text

    odd = last == RANK
    differs(["expects x of shape (n, 5), got (61, 4)"], fit=(X[:, :4] if odd else X, Y, {"epochs": 1}))
    wide = dn.mlp([4 if odd else 5, 3], seed=0, dtype="float64")
    x = X[:, :4] if odd else X
    text = differs(
        ["the same columns of x on every rank, got 5 on rank 0", f"4 on rank {last}"],
        trainer(model=wide),
        (x, Y, {"epochs": 1}),
    )
    same_on_all(text)
    differs(["the same layer 0 on every rank", "Dense(5, 9"], trainer(model=dn.mlp([5, 9 if odd else 8, 3], seed=0)))
    differs(["the same optimizer", "learning_rate=0.3"], trainer(optimizer=dn.SGD(0.3 if odd else 0.2)))
    differs(["the same seed"], fit=(X, Y, {"epochs": 1, "seed": RANK}))
    differs(["the same batch_size", "got 32 on rank 0"], fit=(X, Y, {"epochs": 1, "batch_size": 31 if odd else 32}))
    differs(["the same epochs"], fit=(X, Y, {"epochs": 2 if odd else 1}))
    differs(["the same x on every rank"], fit=(X + odd, Y, {"epochs": 1}))
    held_out = (X + odd, Y)
    for x, y in ((X, Y), ([(X, Y)], None)):
        differs(["the same validation x on every rank"], fit=(x, y, {"epochs": 1, "validation_data": held_out}))
    differs(["the same callbacks", "patience"], fit=(X, Y, {"epochs": 1, "callbacks": dn.EarlyStopping(patience=RANK)}))
    differs(["NaN at row 0, column 2"], fit=(np.where(np.arange(5) == 2, np.nan, X) if odd else X, Y, {"epochs": 1}))
    if SIZE > 1:
        differs([f"a row for every rank in a mini-batch of all {SIZE}"], fit=(X, Y, {"epochs": 1, "batch_size": 1}))
        raises(ValueError, lambda: made.fit([] if odd else [(X, Y)], epochs=1), f"got none from rank {last}")
        assert (made.model.params == before).all()
        raises(ValueError, lambda: trainer(compiled=True), "kernels")
    raises(TypeError, lambda: trainer(communicator="world"), "MPI communicator", "'world'")
    raises(ValueError, lambda: trainer(communicator=MPI.COMM_NULL), "COMM_NULL")
    raises(ValueError, lambda: trainer(optimizer=dn.LevenbergMarquardt()), "LevenbergMarquardt", "communicator")

    class Bias(dn.Metric):
        name = "bias"

        def reset(self):
            self.sum = 0.0

        def update(self, prediction, target, weight=None):
            self.sum += 1

        def result(self):
            return self.sum

    raises(TypeError, lambda: trainer(metrics=[Bias()]), "merge", "Bias")


def copies_train_alone():
    made = trainer()
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again.communicator is None
    if RANK == 0:
        assert len(copy.deepcopy(made).fit(X, Y, epochs=1)) == 1


def noise_after_a_fit():
    """Layers draw for what they are given again."""
    made = trainer()
    made.fit(X, Y, epochs=1, batch_size=8, seed=0)
    assert made.model.forward(X).shape == (61, 3)


CHECKS = {name: value for name, value in list(globals().items()) if callable(value) and not name.startswith("_")}


def main(result, *names):
    dn.threads(1)
    said = {}
    for name in names:
        try:
            CHECKS[name]()
            problem = None
        except Exception:
            problem = traceback.format_exc()
        said[name] = [f"rank {i}: {text}" for i, text in enumerate(COMM.allgather(problem)) if text]
        if said[name]:
            break  # ranks may not be at the same place any more
    if RANK == 0:
        Path(result).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
