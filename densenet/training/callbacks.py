"""The built-in callbacks: when to stop, what to keep, what to log."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import shutil
import time
from collections.abc import Callable
from string import Formatter
from typing import Any, ClassVar

import numpy as np

from densenet._files import CheckpointError, append, check_place, naming, replacing
from densenet._schema import Check, array, many, real, record, row, text, whole
from densenet._types import Array
from densenet._validation import finite, fraction, nonnegative, nonnegative_int, positive, positive_int
from densenet.optimizers.schedules import Schedule
from densenet.training.history import History
from densenet.training.hooks import HOOKS, Callback
from densenet.training.run import Run

Hook = Callable[[Run], Any]


def _place(callback: Callback) -> str:
    """Where a checkpoint keeps the callback's state, in a message."""
    return f"its state of {type(callback).__name__}"


class Best:
    """The best value so far of the figure that a callback monitors.

    Parameters
    ----------
    who : str
        The callback, for messages.
    monitor : str
        The figure's name.
    mode : {"auto", "min", "max"}, default "auto"
        "auto" asks the metric whether more is better; of every other figure less is.
    min_delta : float, default 0.0
        Smallest change that counts.
    """

    def __init__(self, who: str, monitor: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("min", "max", "auto"):
            raise ValueError(f'{who} expects mode "min", "max" or "auto", got {mode!r}.')
        self.who, self.monitor, self.mode, self.min_delta = who, monitor, mode, min_delta
        self.sign, self.value = 1.0, math.inf

    def begin(self, run: Run) -> None:
        """Reset; the sign is -1 where a larger figure is better."""
        name = self.monitor.removeprefix("val_")
        of_itself = any(metric.name == name and metric.higher_is_better for metric in run.metrics)
        self.sign = -1.0 if self.mode == "max" or (self.mode == "auto" and of_itself) else 1.0
        self.value = math.inf

    def improves(self, run: Run) -> bool:
        """Whether the epoch's figure is the best so far; if so it is kept, times the sign."""
        signed = self.sign * run.figure(self.monitor, self.who)
        if signed < self.value - self.min_delta or (math.isinf(self.value) and signed < self.value):
            self.value = signed
            return True
        return False


class EarlyStopping(Callback):
    """Stop when a figure has not improved for `patience` epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
    min_delta : float, default 0.0
        Smallest change that counts.
    patience : int, default 10
        Epochs without improvement after which the run ends.
    mode : {"auto", "min", "max"}, default "auto"
        "auto" maximises metrics of which more is better.
    restore_best_weights : bool, default False
        Whether the model ends with the weights and statistics of the best epoch.

    Attributes
    ----------
    best : float
    best_epoch : int
        From 1.

    Raises
    ------
    ValueError
        If an argument is out of range, or the figure does not exist.

    References
    ----------
    .. [1] Prechelt, "Early Stopping - But When?" (1998).

    Examples
    --------
    >>> import densenet as dn
    >>> stop = dn.EarlyStopping("val_accuracy", patience=5, restore_best_weights=True)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        min_delta: float = 0.0,
        patience: int = 10,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        self.monitor, self.mode = monitor, mode
        self.min_delta = nonnegative(min_delta, "EarlyStopping", "min_delta")
        self.patience = nonnegative_int(patience, "EarlyStopping", "patience")
        self.restore_best_weights = bool(restore_best_weights)
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self._best = Best("EarlyStopping", monitor, mode, self.min_delta)
        self._kept: list[Array] | None = None

    def on_fit_begin(self, run: Run) -> None:
        self._best.begin(run)
        self.best, self.best_epoch, self.waited, self._kept = math.nan, 0, 0, None

    def on_epoch_end(self, run: Run) -> None:
        if self._best.improves(run):
            self.best, self.best_epoch, self.waited = run.figures[self.monitor], run.epoch, 0
            if self.restore_best_weights:
                self._kept = [array.copy() for array in run.model.state_arrays()]
            return
        self.waited += 1
        if self.waited >= max(1, self.patience):
            run.stop(f"early stopping: {self.monitor} has not improved for {self.waited} epochs")

    def on_fit_end(self, run: Run) -> None:
        if self._kept is not None:
            run.model.load_state_arrays(self._kept)

    def state_dict(self) -> dict[str, Any]:
        state = {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "value": self._best.value}
        return state | {f"kept{i}": array for i, array in enumerate(self._kept or [])}

    def check_state(self, state: Any, run: Run) -> None:
        arrays = enumerate(run.model.state_arrays())
        kept: dict[str, Check] = {f"kept{i}": array(a.shape, a.dtype) for i, a in arrays}
        number = real(finite=False)
        record({"best": number, "best_epoch": whole(), "waited": whole(), "value": number}, kept)(state, _place(self))
        if sum(name.startswith("kept") for name in state) not in (0, len(kept)):
            raise CheckpointError(f"{_place(self)} must hold all of the kept weights, or none.")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = float(state["best"]), int(state["best_epoch"])
        self.waited, self._best.value = int(state["waited"]), float(state["value"])
        kept = [np.array(state[f"kept{i}"]) for i in range(sum(name.startswith("kept") for name in state))]
        self._kept = kept or None


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by `factor` when a figure has not improved for `patience` epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
    factor : float in (0, 1), default 0.1
    patience : int, default 10
        Epochs without improvement that are waited for, as in PyTorch.
    min_delta : float, default 1e-4
    cooldown : int, default 0
        Epochs after a reduction in which nothing is counted.
    min_lr : float, default 0.0
    mode : {"auto", "min", "max"}, default "auto"

    Raises
    ------
    ValueError
        If an argument is out of range, the figure does not exist, or the optimizer has a schedule.

    Examples
    --------
    >>> import densenet as dn
    >>> plateau = dn.ReduceLROnPlateau("loss", factor=0.5, patience=3)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        mode: str = "auto",
    ) -> None:
        who = "ReduceLROnPlateau"
        self.monitor = monitor
        self.factor = positive(factor, who, "factor")
        if self.factor >= 1:
            raise ValueError(f"{who} expects factor in (0, 1), got {factor!r}.")
        self.patience = nonnegative_int(patience, who, "patience")
        self.min_delta = nonnegative(min_delta, who, "min_delta")
        self.cooldown = nonnegative_int(cooldown, who, "cooldown")
        self.min_lr = nonnegative(min_lr, who, "min_lr")
        self.mode = mode
        self.waited = self.resting = 0
        self._best = Best(who, monitor, mode, self.min_delta)

    def on_fit_begin(self, run: Run) -> None:
        rate = getattr(run.trainer.optimizer, "learning_rate", None)
        if rate is None:
            raise ValueError(
                f"ReduceLROnPlateau needs an optimizer with a learning rate, got {run.trainer.optimizer!r}."
            )
        if isinstance(rate, Schedule):
            raise ValueError(
                f"ReduceLROnPlateau needs an optimizer with a plain learning_rate, got {rate!r}: "
                "two masters of one rate."
            )
        self._best.begin(run)
        self.waited = self.resting = 0

    def on_epoch_end(self, run: Run) -> None:
        if self._best.improves(run):
            self.waited = 0
        elif self.resting == 0:
            self.waited += 1
        if self.resting > 0:
            self.resting -= 1
            self.waited = 0
        if self.waited > self.patience:
            optimizer = run.trainer.optimizer
            reduced = max(optimizer.rate * self.factor, self.min_lr)
            if 0 < reduced < optimizer.rate:
                optimizer.learning_rate = reduced
            self.waited, self.resting = 0, self.cooldown

    def state_dict(self) -> dict[str, Any]:
        return {"waited": self.waited, "resting": self.resting, "value": self._best.value}

    def check_state(self, state: Any, run: Run) -> None:
        record({"waited": whole(), "resting": whole(), "value": real(finite=False)})(state, _place(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.waited, self.resting = int(state["waited"]), int(state["resting"])
        self._best.value = float(state["value"])


class StopAt(Callback):
    """Stop when a figure is good enough: repeat until the error is small.

    Parameters
    ----------
    monitor : str
        For example "loss" or "val_accuracy".
    value : float
        The run ends when the figure is at most this (at least, for metrics of which more is better).
    mode : {"auto", "min", "max"}, default "auto"

    Examples
    --------
    >>> import densenet as dn
    >>> target = dn.StopAt("loss", 1e-3)
    """

    def __init__(self, monitor: str, value: float, *, mode: str = "auto") -> None:
        self.monitor, self.value, self.mode = monitor, finite(value, "StopAt", "value"), mode
        self._best = Best("StopAt", monitor, mode)

    def on_fit_begin(self, run: Run) -> None:
        self._best.begin(run)

    def on_epoch_end(self, run: Run) -> None:
        sign = self._best.sign
        if sign * run.figure(self.monitor, "StopAt") <= sign * self.value:
            run.stop(f"{self.monitor} has reached {self.value:g}")


class TimeLimit(Callback):
    """Stop after a number of seconds, at the next step boundary.

    Parameters
    ----------
    seconds : float

    Examples
    --------
    >>> import densenet as dn
    >>> limit = dn.TimeLimit(60)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = positive(seconds, "TimeLimit", "seconds")
        self._end = math.inf

    def plan(self) -> dict[str, Any]:
        """Nothing: a resumed run may have another limit."""
        return {}

    def on_fit_begin(self, run: Run) -> None:
        self._end = time.perf_counter() + self.seconds

    def rest(self, run: Run) -> float:
        return math.inf

    def on_batch_end(self, run: Run) -> None:
        if time.perf_counter() >= self._end:
            run.stop(f"time limit of {self.seconds:g} s", lasting=False)


class CSVLogger(Callback):
    """Write the epoch's figures to a CSV file as they come, one row an epoch.

    Parameters
    ----------
    path : path-like
    append : bool, default False
        Whether an existing file is continued.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import densenet as dn
    >>> log = dn.CSVLogger("training.csv")
    """

    observes: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        self.path, self.append = os.fspath(path), bool(append)
        self.start = self._written = 0
        self._history = History()

    def on_fit_begin(self, run: Run) -> None:
        self._history, self._written = run.history, 0
        self.start = os.path.getsize(self.path) if self.append and os.path.exists(self.path) else 0
        if not run.resumed:
            self._cut()

    def _cut(self) -> None:
        """Cut the file back to its content before the fit."""
        with naming(self.path), open(self.path, "ab") as file:
            file.truncate(self.start)

    def on_epoch_end(self, run: Run) -> None:
        append(self.path, _csv_rows({run.epoch: run.figures}, header=not self._size()))
        self._written = run.epoch

    def _size(self) -> int:
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def _rows(self, history: History, epochs: int, start: int) -> bytes:
        """The file's content from `start` on, as it was after so many epochs."""
        columns = history.to_dict()
        rows = {i + 1: {name: column[i] for name, column in columns.items()} for i in range(epochs)}
        return _csv_rows(rows, header=not start).encode("utf-8") if rows else b""

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "epochs": self._written}  # a checkpoint may be written before the epoch's row

    def check_state(self, state: Any, run: Run) -> None:
        record({"start": whole(), "epochs": whole(0, len(run.history))})(state, _place(self))
        start, epochs = min(state["start"], self._size()), state["epochs"]
        if self.append and os.path.exists(self.path):
            with open(self.path, "rb") as file:
                file.seek(start)
                tail = file.read()
            if not _continues(tail, self._rows(run.history, epochs, start), epochs):
                raise CheckpointError(
                    f"{_place(self)} begins at byte {start} of {self.path}, where other rows stand than this run's: "
                    "resuming would remove them. Move the file away, or give CSVLogger another path."
                )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the file as of the checkpoint: its content before the fit, and the epochs so far."""
        self.start, self._written = min(state["start"], self._size()), state["epochs"]
        before = b""
        if self.start:
            with open(self.path, "rb") as old:
                before = old.read(self.start)
        with replacing(self.path) as file:
            file.write(before + self._rows(self._history, state["epochs"], self.start))


def _csv_rows(rows: dict[int, dict[str, float]], *, header: bool) -> str:
    """The lines of a log for figures by epoch."""
    lines = io.StringIO(newline="")
    table = csv.writer(lines)
    for epoch, figures in rows.items():
        if header:
            table.writerow(["epoch", *figures])
            header = False
        table.writerow([epoch, *(repr(float(value)) for value in figures.values())])
    return lines.getvalue()


def _continues(tail: bytes, own: bytes, epochs: int) -> bool:
    """Whether a log's end is its own rows of so many epochs, or part of them, and then those of the next epochs."""
    if not tail.startswith(own):
        return own.startswith(tail)
    lines = tail[len(own) :].splitlines()
    if not own and lines and lines[0].startswith(b"epoch,"):
        del lines[0]
    places = [line.partition(b",")[0] for line in lines]
    return all(place == str(epochs + i).encode() for i, place in enumerate(places, start=1))


class ModelCheckpoint(Callback):
    """Write checkpoints while training, so that a crash loses nothing that was written.

    The file is replaced at once: at any moment the old or the new one is there, whole. ``fit(..., resume=path)`` goes
    on from it, and `densenet.load` gives its model. Of several ranks, rank 0 writes.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz`` or ``.safetensors``. It may hold ``{epoch}``, ``{step}`` and the names of the epoch's figures,
        as in ``"run-{epoch:03d}-{val_loss:.3f}.npz"``; then every checkpoint is a file of its own.
    every_steps : int, optional
        Write after every so many updates.
    every_epochs : int, optional
        Write after every so many epochs; 1 unless `every_steps` is given.
    monitor : str, optional
        A figure such as "val_loss": write only when it is better than ever before in this run.
    keep : int, optional
        How many checkpoints stay, the newest of them. With a plain path (the default is 1) the newest is there, the one
        before beside it as ``name-1.npz``, and so on; else older files are removed (by default none).

    Attributes
    ----------
    best : float
        The monitored figure of the last checkpoint.

    Raises
    ------
    ValueError
        If an argument is out of range, both intervals are given, or `monitor` comes with `every_steps`.
    OSError
        From `fit`, if a file cannot be written; model, trainer and the files so far are unharmed.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 16, 10], seed=0), "softmax_cross_entropy", "adam")
    >>> path = getfixture("tmp_path") / "run.npz"
    >>> history = trainer.fit(x, y, epochs=2, seed=0, callbacks=[dn.ModelCheckpoint(path, every_steps=50)])
    >>> history = trainer.fit(x, y, epochs=3, resume=path, callbacks=[dn.ModelCheckpoint(path, every_steps=50)])
    >>> len(history)
    3
    """

    observes: ClassVar[bool] = True
    collective: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        every_epochs: int | None = None,
        monitor: str | None = None,
        keep: int | None = None,
    ) -> None:
        who = "ModelCheckpoint"
        self.path = os.fspath(path)
        if every_steps is not None and every_epochs is not None:
            raise ValueError(f"{who} expects every_steps or every_epochs, got both.")
        if every_steps is not None and monitor is not None:
            raise ValueError(f"{who} can monitor a figure at an epoch's end only: give every_epochs, not every_steps.")
        self.every_steps = None if every_steps is None else positive_int(every_steps, who, "every_steps")
        every_epochs = 1 if every_epochs is None and every_steps is None else every_epochs
        self.every_epochs = None if every_epochs is None else positive_int(every_epochs, who, "every_epochs")
        self.monitor = monitor
        self._best = None if monitor is None else Best(who, monitor)
        self.keep = None if keep is None else positive_int(keep, who, "keep")
        if os.path.splitext(self.path)[1].lower() not in (".npz", ".safetensors"):
            raise ValueError(f"{who} expects a path that ends in .npz or .safetensors, got {self.path!r}.")
        try:
            fields = {field for _, field, _, _ in Formatter().parse(self.path) if field is not None}
        except ValueError as error:
            raise ValueError(f"{who} cannot read the braces in {self.path!r}: {error}.") from None
        self._numbered = bool(fields)
        self.best = float("nan")
        self.written: list[str] = []
        self._places: list[tuple[int, int]] = []  # epoch and step of each; a file holds these, never a path
        self._history = History()

    def plan(self) -> dict[str, Any]:
        """The figure that it monitors: the best so far is a value of it."""
        return {"monitor": self.monitor}

    def on_fit_begin(self, run: Run) -> None:
        self.best, self.written, self._places = float("nan"), [], []
        self._history = run.history
        if self._best is not None:
            self._best.begin(run)

    def rest(self, run: Run) -> float:
        return math.inf if self.every_steps is None else self.every_steps - run.step % self.every_steps

    def on_batch_end(self, run: Run) -> None:
        if self.every_steps is not None and run.stepped and run.step % self.every_steps == 0:
            self._write(run)

    def on_epoch_end(self, run: Run) -> None:
        if self.every_epochs is None or run.epoch % self.every_epochs:
            return
        if self._best is not None:
            if not self._best.improves(run):
                return
            self.best = run.figures[self._best.monitor]
        self._write(run)

    def _write(self, run: Run) -> None:
        if not self._numbered:
            if run.rank == 0:
                self._put_aside()
            run.trainer.save_checkpoint(self.path)
            return
        try:
            path = self._fill_in(run.epoch, run.step, run.figures)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(["epoch", "step", *run.figures])
            raise ValueError(f"ModelCheckpoint cannot fill in {self.path!r}: {error!r}; it knows {known}.") from None
        before = self.written, self._places
        files = dict(zip(*before, strict=True))
        files.pop(path, None)
        files[path] = run.epoch, run.step
        surplus = [] if self.keep is None else list(files)[: -self.keep]
        kept = {name: place for name, place in files.items() if name not in surplus}
        self.written, self._places = list(kept), list(kept.values())
        try:
            run.trainer.save_checkpoint(path)
        except BaseException:
            self.written, self._places = before
            raise
        for old in surplus if run.rank == 0 else ():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)

    def _fill_in(self, epoch: int, step: int, figures: dict[str, float]) -> str:
        """The path of a checkpoint; a figure that is called epoch or step does not count."""
        return self.path.format_map({**figures, "epoch": epoch, "step": step})

    def _put_aside(self) -> None:
        """Keep the newest file as ``name-1``, too, and move older ones one place on; the newest never goes missing."""
        stem, ending = os.path.splitext(self.path)
        aside = [f"{stem}-{age}{ending}" for age in range(1, self.keep or 1)]
        for place in (self.path, *aside):
            check_place(place)
        for newer, older in zip(aside[-2::-1], aside[:0:-1], strict=True):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
        if not aside or not os.path.exists(self.path):
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside[0])
            os.link(self.path, aside[0])
        except OSError:  # a file system without links
            with open(self.path, "rb") as old, replacing(aside[0]) as file:
                shutil.copyfileobj(old, file)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "written": list(self._places)}

    def check_state(self, state: Any, run: Run) -> None:
        before = text()  # the paths of version 0.1
        place = row(whole(), whole())  # epoch and step
        written = many(lambda entry, where: (before if isinstance(entry, str) else place)(entry, where))
        record({"best": real(finite=False), "written": written})(state, _place(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values of `state_dict`; names of files come from this callback's path, never from a checkpoint.

        The paths that files of version 0.1 hold are passed over: those checkpoints stay.
        """
        places = [place for place in state["written"] if not isinstance(place, str)]
        columns = self._history.to_dict()
        files = {}
        for epoch, step in places:
            figures = {name: column[epoch - 1] for name, column in columns.items() if 1 <= epoch <= len(column)}
            with contextlib.suppress(KeyError, IndexError, ValueError):
                files[self._fill_in(epoch, step, figures)] = epoch, step
        self.written, self._places = list(files), list(files.values())
        self.best = float(state["best"])
        if self._best is not None and not math.isnan(self.best):
            self._best.value = self._best.sign * self.best


class WeightAverage(Callback):
    """Average the weights over the steps, and give the model the average when the fit ends.

    With `decay` the exponential moving average, else the plain mean of the weights after every step::

        a <- decay a + (1 - decay) w          a <- a + (w - a) / t

    Running statistics of normalization layers are not averaged: they stay as after the last step.

    Parameters
    ----------
    decay : float in [0, 1), optional
        None, the default, is the plain mean.
    start_epoch : int, default 1
        First epoch whose steps count.

    Attributes
    ----------
    average : ndarray (n_params,)
        The average so far.

    References
    ----------
    .. [1] Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    .. [2] Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018).

    Examples
    --------
    >>> import densenet as dn
    >>> average = dn.WeightAverage(0.99)
    """

    def __init__(self, decay: float | None = None, *, start_epoch: int = 1) -> None:
        self.decay = None if decay is None else fraction(decay, "WeightAverage", "decay")
        self.start_epoch = positive_int(start_epoch, "WeightAverage", "start_epoch")
        self.average: Array | None = None
        self.count = 0

    def on_fit_begin(self, run: Run) -> None:
        self.average, self.count = None, 0

    def on_batch_end(self, run: Run) -> None:
        if run.epoch < self.start_epoch or not run.stepped:
            return
        w = run.model.params
        self.count += 1
        if self.average is None:
            self.average = w.copy()
            self._change = np.empty_like(w)
            return
        part = 1 / self.count if self.decay is None else 1 - self.decay
        np.subtract(w, self.average, out=self._change)
        np.multiply(self._change, part, out=self._change)
        np.add(self.average, self._change, out=self.average)  # a <- a + (w - a) / t, or a + (1 - decay) (w - a)

    def on_fit_end(self, run: Run) -> None:
        if self.average is not None:
            run.model.params = self.average

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count} | ({} if self.average is None else {"average": self.average})

    def check_state(self, state: Any, run: Run) -> None:
        average = array(run.model.params.shape, run.model.dtype)
        record({"count": whole()}, {"average": average})(state, _place(self))
        if bool(state["count"]) != ("average" in state):
            raise CheckpointError(f"{_place(self)} must hold an average once it counts steps, and only then.")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = int(state["count"])
        if "average" in state:
            self.average = np.array(state["average"])
            self._change = np.empty_like(self.average)


class LambdaCallback(Callback):
    """Hooks from plain functions, each called with the `Run`.

    Parameters
    ----------
    on_fit_begin, on_fit_end, on_epoch_begin, on_epoch_end : callable, optional
    on_batch_begin, on_batch_end, on_gradients : callable, optional

    Raises
    ------
    TypeError
        If an argument is not callable, or names no hook.

    Examples
    --------
    >>> import densenet as dn
    >>> show = dn.LambdaCallback(on_epoch_end=lambda run: print(run.epoch, run.figures["loss"]))
    """

    def __init__(
        self,
        *,
        on_fit_begin: Hook | None = None,
        on_fit_end: Hook | None = None,
        on_epoch_begin: Hook | None = None,
        on_epoch_end: Hook | None = None,
        on_batch_begin: Hook | None = None,
        on_batch_end: Hook | None = None,
        on_gradients: Hook | None = None,
    ) -> None:
        given = (on_fit_begin, on_fit_end, on_epoch_begin, on_epoch_end, on_batch_begin, on_batch_end, on_gradients)
        for name, hook in zip(HOOKS, given, strict=True):
            if hook is None:
                continue
            if not callable(hook):
                raise TypeError(f"LambdaCallback expects {name} to be callable, got {hook!r}.")
            setattr(self, name, hook)

    def config(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in HOOKS if name in vars(self)}
