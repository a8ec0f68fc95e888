"""Hooks into training: what is called around fit, epochs and batches, and between backward and update.

A callback sees the `Run`: the trainer, its model and optimizer, the position, and the epoch's figures. It may look at
anything, change the rate or the gradients, and ask the run to stop.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from densenet._types import Array
from densenet._validation import finite, fraction, nonnegative, nonnegative_int, positive, positive_int
from densenet.batches import Batch
from densenet.history import History
from densenet.optimizers.schedules import Schedule

if TYPE_CHECKING:
    from densenet.sequential import Sequential
    from densenet.trainer import Trainer


class Run:
    """Where a `fit` stands; every hook gets it.

    Attributes
    ----------
    trainer : Trainer
    model : Sequential
    history : History
        Of this fit, so far.
    epochs : int
        How many epochs are asked for.
    epoch : int
        Number of the epoch, from 1.
    step : int
        Optimizer steps done in this fit.
    stepped : bool
        Whether the last mini-batch ended with an update (not every one does where gradients accumulate).
    batch_error : float
        Error of the last mini-batch.
    batch : tuple (x, y, sample_weight) or None
        The last mini-batch, y as the loss prepares it: working arrays, to be copied by who wants to keep them.
    figures : dict
        In `on_epoch_end`: the epoch's figures, as they go into the History.
    stopped : str or None
        The reason for which the run is to end, once there is one.
    lasting : bool
        Whether that reason holds for a resumed run, too.
    resumed : bool
        Whether the run goes on from a checkpoint.

    Examples
    --------
    >>> import densenet as dn
    >>> def report(run):
    ...     print(run.epoch, run.step)
    >>> trainer = dn.Trainer(dn.mlp([1, 1], seed=0), "mse", "sgd")
    >>> history = trainer.fit([[1.0], [2.0]], [1.0, 2.0], epochs=2, callbacks=[dn.LambdaCallback(on_epoch_end=report)])
    1 1
    2 2
    """

    def __init__(self, trainer: Trainer, history: History, epochs: int) -> None:
        self.trainer, self.model, self.history, self.epochs = trainer, trainer.model, history, epochs
        self.epoch = 0
        self.step = 0
        self.stepped = False
        self.batch_error = math.nan
        self.batch: Batch | None = None
        self.figures: dict[str, float] = {}
        self.stopped: str | None = None
        self.lasting = True
        self.resumed = False

    def stop(self, reason: str, *, lasting: bool = True) -> None:
        """Ask the run to end after the current step; the first reason counts.

        One that is not lasting, such as a time limit, does not hold for a run that is resumed, and gives way to one
        that is.
        """
        if self.stopped is None or (lasting and not self.lasting):
            self.stopped, self.lasting = reason, lasting

    def figure(self, name: str, who: str) -> float:
        """One of the epoch's figures by name.

        Raises
        ------
        ValueError
            If there is no such figure, naming those that there are.
        """
        if name not in self.figures:
            hint = " Give fit validation_data or validation_split." if name.startswith("val_") else ""
            raise ValueError(f"{who} monitors {name!r}, but the epoch has only {', '.join(self.figures)}.{hint}")
        return self.figures[name]


class Callback:
    """Base of callbacks: every hook does nothing; override those you need.

    Examples
    --------
    >>> import densenet as dn
    >>> class Largest(dn.Callback):
    ...     def on_gradients(self, run):
    ...         self.largest = abs(run.model.grads).max()
    """

    observes: ClassVar[bool] = False
    """Whether it leaves the run as it is: a resumed run may do without it."""

    def on_fit_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_fit_end(self, run: Run) -> None:
        """After the last epoch, also when the fit ends by an exception."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before an epoch's first batch."""

    def on_epoch_end(self, run: Run) -> None:
        """After validation, with the epoch's figures in ``run.figures``."""

    def on_batch_begin(self, run: Run) -> None:
        """Before the forward pass of a mini-batch."""

    def on_batch_end(self, run: Run) -> None:
        """After the update."""

    def on_gradients(self, run: Run) -> None:
        """Between backward and update: ``run.model.grads`` holds dE/dw before clipping, and may be changed."""

    def state_dict(self) -> dict[str, Any]:
        """What has to survive in a checkpoint: numbers, strings, arrays."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""


class _Best:
    """The best value of a figure so far."""

    def __init__(self, mode: str, min_delta: float) -> None:
        self.sign = -1.0 if mode == "max" else 1.0
        self.min_delta = min_delta
        self.value = math.inf

    def improves(self, figure: float) -> bool:
        signed = self.sign * figure
        if signed < self.value - self.min_delta or (math.isinf(self.value) and signed < self.value):
            self.value = signed
            return True
        return False


def _mode(mode: str, who: str) -> Literal["min", "max", "auto"]:
    if mode not in ("min", "max", "auto"):
        raise ValueError(f'{who} expects mode "min", "max" or "auto", got {mode!r}.')
    return mode  # type: ignore[return-value]


def direction(run: Run, monitor: str, mode: str) -> Literal["min", "max"]:
    """Whether smaller or larger is better: what a metric says of itself, smaller for everything else."""
    if mode == "auto":
        for metric in run.trainer.metrics:
            if monitor.removeprefix("val_") == metric.name and metric.higher_is_better:
                return "max"
        return "min"
    return "max" if mode == "max" else "min"


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
        self.monitor = monitor
        self.min_delta = nonnegative(min_delta, "EarlyStopping", "min_delta")
        self.patience = nonnegative_int(patience, "EarlyStopping", "patience")
        self.mode = _mode(mode, "EarlyStopping")
        self.restore_best_weights = bool(restore_best_weights)
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self._best = _Best("min", 0.0)
        self._kept: list[Array] | None = None

    def on_fit_begin(self, run: Run) -> None:
        self._best = _Best(direction(run, self.monitor, self.mode), self.min_delta)
        self.best, self.best_epoch, self.waited, self._kept = math.nan, 0, 0, None

    def on_epoch_end(self, run: Run) -> None:
        figure = run.figure(self.monitor, "EarlyStopping")
        if self._best.improves(figure):
            self.best, self.best_epoch, self.waited = figure, run.epoch, 0
            if self.restore_best_weights:
                self._kept = [array.copy() for array in state_arrays(run.model)]
            return
        self.waited += 1
        if self.waited >= max(1, self.patience):
            run.stop(f"early stopping: {self.monitor} has not improved for {self.waited} epochs")

    def on_fit_end(self, run: Run) -> None:
        if self._kept is not None:
            for array, kept in zip(state_arrays(run.model), self._kept, strict=True):
                array[...] = kept

    def state_dict(self) -> dict[str, Any]:
        state = {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "value": self._best.value}
        return state | {f"kept{i}": array for i, array in enumerate(self._kept or [])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = float(state["best"]), int(state["best_epoch"])
        self.waited, self._best.value = int(state["waited"]), float(state["value"])
        kept = [np.array(state[f"kept{i}"]) for i in range(sum(name.startswith("kept") for name in state))]
        self._kept = kept or None


def state_arrays(model: Sequential) -> list[Array]:
    """Everything of a model that training changes: the parameters and the running statistics."""
    return [model.params, *(array for top in model.layers for layer in top.walk() for array in layer.state.values())]


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
        self.mode = _mode(mode, who)
        self.waited = self.resting = 0
        self._best = _Best("min", 0.0)

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
        self._best = _Best(direction(run, self.monitor, self.mode), self.min_delta)
        self.waited = self.resting = 0

    def on_epoch_end(self, run: Run) -> None:
        if self._best.improves(run.figure(self.monitor, "ReduceLROnPlateau")):
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
        self.monitor, self.value, self.mode = monitor, finite(value, "StopAt", "value"), _mode(mode, "StopAt")

    def on_epoch_end(self, run: Run) -> None:
        figure = run.figure(self.monitor, "StopAt")
        best = direction(run, self.monitor, self.mode)
        if figure <= self.value if best == "min" else figure >= self.value:
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

    def on_fit_begin(self, run: Run) -> None:
        self._end = time.perf_counter() + self.seconds

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
        self.start = 0
        self._history = History()

    def on_fit_begin(self, run: Run) -> None:
        self._history = run.history
        self.start = os.path.getsize(self.path) if self.append and os.path.exists(self.path) else 0
        if not run.resumed:
            self._cut()

    def _cut(self) -> None:
        """Leave of the file what stood there before the fit."""
        with open(self.path, "ab") as file:
            file.truncate(self.start)

    def on_epoch_end(self, run: Run) -> None:
        self._write(run.epoch, run.figures)

    def _write(self, epoch: int, figures: dict[str, float]) -> None:
        new = not os.path.exists(self.path) or os.path.getsize(self.path) == 0
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            if new:
                table.writerow(["epoch", *figures])
            table.writerow([epoch, *(repr(float(value)) for value in figures.values())])

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "epochs": len(self._history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring the file to where the checkpoint has it: what it held before the fit, and the epochs so far."""
        self.start = min(int(state["start"]), os.path.getsize(self.path) if os.path.exists(self.path) else 0)
        self._cut()
        columns = self._history.to_dict()
        for i in range(int(state["epochs"])):
            self._write(i + 1, {name: column[i] for name, column in columns.items()})


class WeightAverage(Callback):
    """Average the weights over the steps, and give the model the average when the fit ends.

    With `decay` the exponential moving average, else the plain mean of the weights after every step::

        a <- decay a + (1 - decay) w          a <- a + (w - a) / t

    Running statistics of normalization layers are those of the last step.

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

    def __init__(self, **hooks: Callable[[Run], Any]) -> None:
        for name, hook in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback knows no hook {name!r}; it knows {', '.join(HOOKS)}.")
            if not callable(hook):
                raise TypeError(f"LambdaCallback expects {name} to be callable, got {hook!r}.")
            setattr(self, name, hook)


HOOKS: tuple[str, ...] = (
    "on_fit_begin",
    "on_fit_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_batch_begin",
    "on_batch_end",
    "on_gradients",
)


class Hooks:
    """The callbacks of a fit, by hook: only those that override it are called.

    Attributes
    ----------
    callbacks : list of Callback
    now : str
        Name of the hook that is being called, or in which the last failure was; "" between hooks.
    """

    def __init__(self, callbacks: list[Callback]) -> None:
        self.callbacks = callbacks
        self.now = ""
        self._at = 0
        self._owners = {name: tuple(c for c in callbacks if _overrides(c, name)) for name in HOOKS}
        self._by_name = {name: tuple(getattr(c, name) for c in owners) for name, owners in self._owners.items()}

    def __getitem__(self, name: str) -> tuple[Callable[[Run], None], ...]:
        return self._by_name[name]

    def call(self, name: str, run: Run, only: list[Callback] | None = None) -> None:
        """Call every callback's hook of that name, in order; or those of the callbacks in `only`."""
        self.now = name
        for i, hook in enumerate(self._by_name[name]):
            self._at = i
            if only is None or any(self._owners[name][i] is callback for callback in only):
                hook(run)
        self.now = ""

    def waiting(self) -> list[Callback]:
        """The callbacks whose turn in the hook that is being called is still to come."""
        return list(self._owners[self.now][self._at + 1 :]) if self.now else []

    def end(self, run: Run) -> None:
        """Call every `on_fit_end`, also after one of them has failed; then raise the first failure."""
        failure: BaseException | None = None
        for hook in self._by_name["on_fit_end"]:
            try:
                hook(run)
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _overrides(callback: Callback, name: str) -> bool:
    return name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
