"""Kernels in a fit: what stops, interrupts or refuses them, and the cache that keeps their machine code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import densenet as dn
from densenet.training import slices

pytest.importorskip("numba", reason="kernels need the extra [fast]")

from densenet.compiled import blas, cache, machine

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)


def trainer(compiled=True, optimizer=None, layers=None, loss="softmax_cross_entropy", **options):
    model = dn.Sequential(layers or [dn.Dense(4, 6), dn.Tanh(), dn.Dense(6, 3)], seed=0)
    return dn.Trainer(model, loss, optimizer or dn.SGD(0.1), compiled=compiled, **options)


def layers_of_all_kinds():
    return [dn.Dense(4, 6, use_bias=False), dn.BatchNorm(6), dn.SiLU(), dn.Dropout(0.2), dn.Dense(6, 3)]


# -- faults of a fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [{}, {"clip_value": 1e30}])
def test_divergence_is_told_as_the_lines_tell_it_and_the_epoch_is_undone(clip):
    told = []
    for compiled in (False, True):
        made = trainer(compiled, dn.SGD(1e3, momentum=0.9), [*layers_of_all_kinds()[:3], dn.Dense(6, 3)], "mse", **clip)
        y = np.eye(3)[Y]
        made.fit(X, y, epochs=1, batch_size=90, seed=0)
        made.optimizer.learning_rate = 1e30
        before = [array.copy() for array in made.model.state_arrays()]
        with pytest.raises(dn.DivergenceError) as caught:
            made.fit(X, y, epochs=5, batch_size=10, seed=0)
        for array, kept in zip(made.model.state_arrays(), before, strict=True):
            assert_array_equal(array, kept)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "in epoch 1, step 2" in told[0]


def test_a_schedule_that_gives_no_rate_stops_where_it_does_in_the_lines():
    class Short(dn.optimizers.Schedule):
        def __call__(self, step):
            return 0.1 if step < 13 else float("nan")

    ends = []
    for compiled in (False, True):
        made = trainer(compiled, dn.SGD(Short()))
        with pytest.raises(ValueError, match="gives nan after 13 steps") as caught:
            made.fit(X, Y, epochs=4, batch_size=10, seed=0)
        ends.append((str(caught.value), made.optimizer.steps, made.model.params))
    assert ends[0][:2] == ends[1][:2]
    np.testing.assert_allclose(ends[1][2], ends[0][2], atol=1e-6)


def interrupt_soon():
    """A callback that sends one Ctrl-C, a little after the first epoch has begun."""

    def begin(run):
        if run.epoch == 1:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    return dn.LambdaCallback(on_epoch_begin=begin)


def test_an_interrupt_ends_the_fit_between_slices_and_a_later_fit_goes_on():
    made = trainer()
    history = made.fit(X, Y, epochs=10**7, batch_size=10, seed=0, callbacks=[interrupt_soon()])
    assert history.stopped == "interrupted"
    assert history.compiled
    assert made.optimizer.steps > 9
    assert made.fit(X, Y, epochs=2).stopped == "finished"


def test_an_interrupt_is_seen_in_the_middle_of_an_epoch():
    x, y = np.repeat(X, 20_000, axis=0), np.repeat(Y, 20_000)
    made = trainer()
    history = made.fit(x, y, epochs=50, batch_size=1, shuffle=False, callbacks=[interrupt_soon()])
    assert history.stopped == "interrupted"
    assert made.optimizer.steps % len(x)


def test_a_time_limit_ends_the_fit():
    history = trainer().fit(X, Y, epochs=10**7, batch_size=10, callbacks=[dn.TimeLimit(0.1)])
    assert history.stopped == "time limit of 0.1 s"


@pytest.mark.parametrize("accumulate", [1, 4])
def test_where_slices_end_changes_no_bit(accumulate, monkeypatch):
    ends = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(slices, "SLICE_SECONDS", seconds)
        made = trainer(
            optimizer=dn.Adam(dn.CosineDecay(0.05, 100)),
            layers=layers_of_all_kinds(),
            accumulate=accumulate,
            metrics=["accuracy", "precision"],
        )
        weight = None if accumulate == 1 else np.random.default_rng(0).integers(0, 3, 90)
        history = made.fit(X, Y, epochs=6, batch_size=7, seed=0, validation_split=0.2, sample_weight=weight)
        ends.append((made.model.params, history))
    assert_array_equal(ends[0][0], ends[1][0])
    for name in set(ends[0][1].keys()) - {"seconds"}:
        assert ends[0][1][name] == ends[1][1][name]


def test_a_checkpoint_after_every_step_and_a_resumed_run_ends_on_the_same_bits(tmp_path):
    def new():
        return trainer(optimizer=dn.RMSprop(0.01), layers=layers_of_all_kinds(), accumulate=2, metrics=["accuracy"])

    whole = new()
    path = tmp_path / "{step}.npz"
    history = whole.fit(X, Y, epochs=3, batch_size=8, seed=0, callbacks=[dn.ModelCheckpoint(path, every_steps=1)])
    assert len(list(tmp_path.iterdir())) == whole.optimizer.steps == 18
    for step in (1, 6, 7, 11):
        again = new()
        resumed = again.fit(X, Y, epochs=3, batch_size=8, resume=tmp_path / f"{step}.npz")
        assert_array_equal(again.model.params, whole.model.params)
        assert_array_equal(again.model.grads, whole.model.grads)
        assert resumed["loss"] == history["loss"]
        assert resumed["accuracy"] == history["accuracy"]


def test_a_callback_that_changes_settings_between_epochs_is_heeded():
    def change(run):
        if run.epoch == 2:
            run.model.layers[0].freeze("W")
            run.trainer.optimizer.momentum = 0.5
            run.trainer.optimizer.learning_rate = 0.01

    ends = []
    for compiled in (False, True):
        made = trainer(compiled, dn.SGD(0.1, momentum=0.9))
        made.fit(X, Y, epochs=4, seed=0, callbacks=[dn.LambdaCallback(on_epoch_end=change)])
        ends.append(made.model.params)
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-5)


def test_fits_in_threads_give_what_they_give_one_after_another():
    def fit(seed, ends):
        made = trainer(optimizer=dn.Adam(0.01), layers=layers_of_all_kinds())
        made.fit(X, Y, epochs=30, batch_size=8, seed=seed)
        ends[seed] = made.model.params

    alone, beside = {}, {}
    with dn.threads(1):
        for seed in range(4):
            fit(seed, alone)
        threads = [threading.Thread(target=fit, args=(seed, beside)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed in range(4):
        assert_array_equal(alone[seed], beside[seed])


def test_the_lock_of_python_is_free_while_kernels_run(monkeypatch):
    """A slice of a second lets another thread count on; with the lock held it would stand still."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 1e9)
    made, counted, going = trainer(), [0], threading.Event()
    made.fit(X, Y, epochs=1)

    def count():
        going.wait()
        while going.is_set():
            counted[0] += 1

    from densenet.compiled.plan import Plan

    advance, during = Plan.advance, []

    def watched(self, first, last, *sums):
        before = counted[0]
        done = advance(self, first, last, *sums)
        during.append((last - first, counted[0] - before))
        return done

    monkeypatch.setattr(Plan, "advance", watched)
    thread = threading.Thread(target=count)
    thread.start()
    going.set()
    x = np.repeat(X, 10_000, axis=0)
    made.fit(x, np.repeat(Y, 10_000), epochs=1, batch_size=1, shuffle=False)
    going.clear()
    thread.join()
    assert max(during)[1] > 1000


# -- what kernels are not for ----------------------------------------------------------------------------------------


class Watches(dn.Callback):
    def on_batch_end(self, run):
        assert run.batch is not None


REASONS = {
    "has no kernel": {"layers": [dn.Dense(4, 3), dn.GELU()]},
    "penalty": {"layers": [dn.Dense(4, 3, kernel_l2=0.1)]},
    "largest norm": {"layers": [dn.Dense(4, 3, max_norm=1.0)]},
    "Residual": {"layers": [dn.Residual([dn.Dense(4, 4)]), dn.Dense(4, 3)]},
    "no parameters": {"layers": [dn.ReLU()], "loss": "mse"},
    "LogCosh": {"loss": dn.LogCosh()},
    "NAdam": {"optimizer": dn.NAdam()},
    "amsgrad": {"optimizer": dn.Adam(amsgrad=True)},
    "weighs its classes": {"loss": dn.SigmoidCrossEntropy(pos_weight=2.0)},
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_has_no_kernel_runs_in_the_lines_with_a_reason(reason, monkeypatch):
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)
    options = {"loss": "softmax_cross_entropy"} | REASONS[reason]
    y = Y if "softmax" in str(options["loss"]) else np.eye(4 if reason == "no parameters" else 3)[Y]
    made = dn.Trainer(
        dn.Sequential(options.get("layers") or [dn.Dense(4, 3)], seed=0).astype("float32"),
        options["loss"],
        options.get("optimizer") or dn.SGD(0.1),
    )
    history = made.fit(X, y, epochs=1)
    assert reason in made.compiled_reason
    assert not history.compiled
    made.compiled = True
    with pytest.raises(ValueError, match="this fit has to run in the NumPy lines, since"):
        made.fit(X, y, epochs=1)
    with pytest.raises(ValueError, match="step has to run in the NumPy lines, since"):
        made.step(X, y)


def test_data_and_callbacks_that_need_the_lines_are_named(monkeypatch):
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)
    made = trainer("auto")
    for told, arguments in {
        "iterable": {"x": [(X, Y)]},
        "Watches": {"x": X, "y": Y, "callbacks": [Watches()]},
        "on_gradients": {"x": X, "y": Y, "callbacks": [dn.LambdaCallback(on_gradients=lambda run: None)]},
        "WeightAverage": {"x": X, "y": Y, "callbacks": [dn.WeightAverage()]},
    }.items():
        assert not made.fit(**arguments, epochs=1).compiled
        assert told in made.compiled_reason
    assert made.fit(X, Y, epochs=1).compiled
    assert made.compiled_reason is None


def test_short_fits_run_in_the_lines_and_long_ones_in_kernels_by_one_formula():
    short = trainer("auto")
    assert not short.fit(X, Y, epochs=1).compiled
    assert "the fit is short" in short.compiled_reason
    stop = dn.LambdaCallback(on_epoch_end=lambda run: run.stop("enough"))
    long = trainer("auto")
    assert long.fit(X, Y, epochs=10**6, callbacks=[stop]).compiled
    assert "compiled" in repr(long.fit(X, Y, epochs=10**6, callbacks=[stop]))
    model = dn.mlp([64, 32, 10])
    plain, kept = (slices.saving(model, optimizer, 1000, 32) for optimizer in (dn.SGD(), dn.Adam()))
    assert 0.005 < plain < kept < 0.1
    assert slices.saving(model, dn.SGD(), 2000, 32) == 2 * plain


def test_compiled_is_true_false_or_auto():
    with pytest.raises(ValueError, match='compiled to be "auto", True or False, got 1'):
        trainer(compiled=1)
    off = trainer(compiled=False)
    off.fit(X, Y, epochs=1)
    assert off.compiled_reason == "Trainer(compiled=False)"
    assert "compiled=False" in repr(off)


def test_an_unequal_blas_is_refused(monkeypatch):
    long = "void (char *, int64_t *, int64_t *, s *, s *, int64_t *, s *, int64_t *, s *, s *, int64_t *)"
    with pytest.raises(blas.BlasError, match="other arguments than 32-bit integers"):
        blas.check_signature("sgemv", long)
    with pytest.raises(blas.BlasError):
        blas.check_signature("dgemv", "void (char *, int *, int *, s *, s *, int *, s *, int *, s *, s *, int *)")

    def refuse(routine, dtype):
        raise blas.BlasError("SciPy's sgemm takes other arguments")

    monkeypatch.setattr("densenet.compiled.offer.address", refuse)
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)
    made = trainer("auto")
    made.fit(X, Y, epochs=1)
    assert made.compiled_reason == "SciPy's sgemm takes other arguments"


def test_without_numba_the_lines_do_it_and_say_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)
    made = trainer("auto")
    assert not made.fit(X, Y, epochs=1).compiled
    assert made.compiled_reason == "numba is not installed: pip install '.[fast]'"


def test_with_numba_switched_off_the_lines_do_it(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)
    made = trainer("auto")
    assert not made.fit(X, Y, epochs=1).compiled
    assert made.compiled_reason == "NUMBA_DISABLE_JIT is set"


# -- the cache -------------------------------------------------------------------------------------------------------

KEPT = []
"""Engines of tests that are over: plans may still point into them."""
MADE = {}
"""Machine code by kernel and dtype."""


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A process that has compiled nothing, with a cache of its own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine, "_compile", compiled_once)
    restart(monkeypatch)
    yield tmp_path
    KEPT.append(machine._engine)


def compiled_once(name, dtype, compile_one=machine._compile):
    """What `machine._compile` gives; these tests are of what becomes of it."""
    if (name, dtype) in MADE:
        machine.compiled.append((name, dtype))
    else:
        MADE[name, dtype] = compile_one(name, dtype)
    return MADE[name, dtype]


def restart(monkeypatch):
    KEPT.append(machine._engine)
    for name, value in (("_engine", None), ("_place", None), ("_addresses", {}), ("compiled", [])):
        monkeypatch.setattr(machine, name, value)
    monkeypatch.setattr(cache, "_warned", set())


def fitted():
    """The parameters after a fit with kernels, checked against the lines."""
    ends = []
    for compiled in (False, True):
        made = trainer(compiled, layers=[dn.Dense(4, 3)], loss="mse")
        made.fit(X, np.eye(3)[Y], epochs=2, batch_size=16, shuffle=False)
        ends.append(made.model.params)
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-6)
    return ends[1]


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_compiled_is_found_again(empty, monkeypatch):
    first = fitted()
    count = len(machine.compiled)
    assert count == len(entries(empty)) > 5
    restart(monkeypatch)
    assert_array_equal(fitted(), first)
    assert machine.compiled == []


def test_another_process_finds_it_too_and_needs_no_numba(empty):
    fitted()
    code = f"""
import sys, numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
import densenet as dn
from densenet.compiled import machine
trainer = dn.Trainer(dn.Sequential([dn.Dense(4, 3)], seed=0), "mse", dn.SGD(0.1), compiled=True)
history = trainer.fit(np.ones((9, 4)), np.ones((9, 3)), epochs=1, shuffle=False)
print(machine.compiled, history.compiled, "numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True", "False"], done.stderr


def test_one_signature_a_dtype_serves_every_array(empty, tmp_path):
    fitted()
    count = len(machine.compiled)
    frozen = X.copy()
    frozen.flags.writeable = False
    mapped = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=X.shape)
    mapped[...] = X
    for x in (frozen, mapped, X[::-1], np.asfortranarray(X)):
        made = trainer(layers=[dn.Dense(4, 3)], loss="mse")
        made.fit(x, np.eye(3)[Y], epochs=1, batch_size=16, shuffle=False)
    assert len(machine.compiled) == len(set(machine.compiled)) == count


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\\x00" + path.read_bytes()[101:]),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.chmod(0o666),
    ],
    ids=["truncated", "empty", "altered", "no file", "open to all"],
)
def test_a_damaged_entry_is_compiled_anew_with_one_warning(empty, monkeypatch, damage):
    first = fitted()
    for path in entries(empty):
        damage(path)
    restart(monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_array_equal(fitted(), first)
    assert len(caught) == 1
    assert "cache of compiled kernels" in str(caught[0].message)
    assert len(machine.compiled) > 5


@pytest.mark.parametrize("place", ["tempfile.mkstemp", "os.replace"])
def test_a_full_or_read_only_disk_gives_one_warning_and_leaves_nothing(empty, monkeypatch, place):
    def fail(*args, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"densenet.compiled.cache.{place}", fail)
    with pytest.warns(UserWarning, match="No space left on device.*compiled in memory") as caught:
        fitted()
    assert len(caught) == 1
    assert entries(empty) == []


def test_a_folder_that_others_may_write_to_or_that_is_a_link_is_refused(empty, monkeypatch):
    fitted()
    folder = machine.folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    if os.name != "posix":
        pytest.skip("modes and owners are POSIX's")
    folder.chmod(0o770)
    restart(monkeypatch)
    with pytest.warns(UserWarning, match="others may write to"):
        fitted()
    assert machine.compiled
    folder.chmod(0o700)
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    folder.symlink_to(moved)
    restart(monkeypatch)
    with pytest.warns(UserWarning, match="is no folder"):
        fitted()
    folder.unlink()
    moved.rename(folder)
    restart(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.warns(UserWarning, match="belongs to another user"):
        fitted()


def test_an_interrupted_compilation_leaves_whole_entries(empty, monkeypatch):
    compile_one, count = machine._compile, []

    def interrupted(name, dtype):
        count.append(name)
        if len(count) == 3:
            raise KeyboardInterrupt
        return compile_one(name, dtype)

    monkeypatch.setattr(machine, "_compile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted()
    assert len(entries(empty)) == 2
    fitted()
    assert len(count) == len(entries(empty)) + 1


def test_two_processes_at_once_both_end_well(empty):
    code = """
import numpy as np, densenet as dn
trainer = dn.Trainer(dn.Sequential([dn.Dense(4, 3)], seed=0), "mse", dn.SGD(0.1), compiled=True)
trainer.fit(np.ones((9, 4)), np.ones((9, 3)), epochs=1, shuffle=False)
print(trainer.model.params.tobytes().hex())
"""
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] != ""
    assert all(cache.load(path.parent, path.name) for path in entries(empty))


def test_the_folder_has_another_name_when_any_file_of_the_room_changes(tmp_path, monkeypatch):
    room = Path(cache.__file__).parent
    copied = shutil.copytree(room, tmp_path / "room")
    before = cache.texts()
    monkeypatch.setattr(cache, "__file__", str(copied / "cache.py"))
    assert cache.texts() == before
    helper = copied / "functions.py"
    helper.write_text(helper.read_text() + "# another\n")
    assert cache.texts() != before


def test_a_kernel_that_does_not_compile_leaves_the_lines(empty, monkeypatch):
    def fail(name, dtype):
        raise machine.CompilationError(f"the kernel {name} does not compile: out of luck")

    monkeypatch.setattr(machine, "_compile", fail)
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)
    made = trainer("auto")
    assert not made.fit(X, Y, epochs=1).compiled
    assert "does not compile: out of luck" in made.compiled_reason


def test_the_first_compilation_says_what_is_happening(empty, capsys):
    fitted()
    assert "densenet: compiling" in capsys.readouterr().err


def test_the_command_fills_the_cache(empty, monkeypatch, capsys):
    from densenet.cli import main

    monkeypatch.setattr(machine, "every_kernel", lambda: ["losses.mean", "layers.relu"])
    assert main(["compile", "--dtype", "float64"]) == 0
    assert "float64: 2 kernels, 2 of them compiled now" in capsys.readouterr().out
    assert main(["compile", "--dtype", "float64"]) == 0
    said = capsys.readouterr().out
    assert "0 of them compiled now" in said
    assert str(empty) in said
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert main(["compile"]) == 2


def test_every_kernel_is_found_by_name():
    names = machine.every_kernel()
    assert len(names) == len(set(names)) > 35
    assert {"layers.dense", "losses.mean", "updates.adam", "updates.drive"} <= set(names)
    assert {name.split(".")[1] for name in names} & {"frame", "vector", "call"} == set()
