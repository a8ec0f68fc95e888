"""Callbacks that watch a figure of the epoch, or the clock: when to stop, when to take smaller steps."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from densenet._files import CheckpointError
from densenet._schema import Check, array, real, record, whole
from densenet._types import Array
from densenet._validation import finite, nonnegative, nonnegative_int, positive
from densenet.optimizers.schedules import Schedule
from densenet.training.hooks import Callback, state_of
from densenet.training.run import Run


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
        record({"best": number, "best_epoch": whole(), "waited": whole(), "value": number}, kept)(state, state_of(self))
        if sum(name.startswith("kept") for name in state) not in (0, len(kept)):
            raise CheckpointError(f"{state_of(self)} must hold all of the kept weights, or none.")

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
        record({"waited": whole(), "resting": whole(), "value": real(finite=False)})(state, state_of(self))

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
