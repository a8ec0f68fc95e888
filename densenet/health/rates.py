"""Which learning rate? Train a copy for a while with a rate that grows, and see where the error falls fastest."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import nonnegative_int, positive, positive_int
from densenet.training.data import rows_of
from densenet.training.step import DivergenceError
from densenet.training.trainer import Trainer

_ROWS = 1024
_WINDOW = 5
_HOPELESS = 0.2


@dataclass(frozen=True)
class LearningRates:
    """What `find_learning_rate` saw.

    Attributes
    ----------
    rates : ndarray (steps,)
        The rate of every step made, growing.
    errors : ndarray (steps,)
        The error after it, on the same rows every time.
    suggestion : float
        The rate at which the error falls fastest, over log alpha; NaN where it never falls.
    edge : float
        The rate at which the error is lowest: beyond it training goes wrong.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", "sgd")
    >>> found = dn.find_learning_rate(trainer, x, y)
    >>> 0.01 < found.suggestion < found.edge < 10
    True
    """

    rates: Array
    errors: Array
    suggestion: float
    edge: float

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the error over the rate; see `plots.learning_rates`."""
        from densenet.plots.rates import learning_rates

        return learning_rates(self, ax=ax)

    def __repr__(self) -> str:
        if math.isnan(self.suggestion):
            return f"<LearningRates: the error never falls from {self.rates[0]:.2g} to {self.rates[-1]:.2g}>"
        return f"<LearningRates: suggestion {self.suggestion:.2g}, lowest error at {self.edge:.2g}>"


def find_learning_rate(
    trainer: Trainer,
    x: Any,
    y: Any,
    *,
    lowest: float = 1e-5,
    highest: float = 10.0,
    steps: int = 120,
    batch_size: int = 32,
    seed: int = 0,
) -> LearningRates:
    """Smith's range test: one mini-batch a step, at a rate that grows from `lowest` to `highest`.

    ::

        alpha_t = lowest (highest / lowest)^(t / (steps - 1))

    The error falls while the rate is fit, fastest at the suggestion, and rises again where it is too high; the test
    ends where it stands as far above its start as it has been below. It is taken on up to 1024 rows, the same after
    every step, as the error of single mini-batches jumps. Everything happens on a copy: nothing of the trainer changes.

    Parameters
    ----------
    trainer : Trainer
        Its model, loss and optimizer as they are; the optimizer's own rate or schedule does not matter.
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    lowest, highest : float, default 1e-5 and 10
    steps : int, default 120
    batch_size : int, default 32
        That of the training to come: the best rate depends on it.
    seed : int, default 0
        Sets the order of the rows.

    Returns
    -------
    LearningRates
        With the suggestion, and its picture: ``found.plot()``.

    Raises
    ------
    ValueError, TypeError
        If x or y does not fit the model, or the range is no range.

    References
    ----------
    .. [1] Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", "sgd")
    >>> trainer.optimizer.learning_rate = dn.find_learning_rate(trainer, x, y).suggestion
    """
    who = "find_learning_rate"
    if not isinstance(trainer, Trainer):
        raise TypeError(f"{who} expects a Trainer, got {trainer!r}.")
    lowest, highest = positive(lowest, who, "lowest"), positive(highest, who, "highest")
    if not lowest < highest:
        raise ValueError(f"{who} expects lowest below highest, got {lowest:g} and {highest:g}.")
    steps = positive_int(steps, who, "steps")
    if steps < 10:
        raise ValueError(f"{who} expects at least 10 steps to see a slope, got {steps}.")
    batch_size = positive_int(batch_size, who, "batch_size")
    rng = np.random.default_rng(nonnegative_int(seed, who, "seed"))
    model = trainer.model
    rows = rows_of(x, model.n_in, model.dtype, who)
    target = trainer.loss.prepare(y, model.output_width(rows.shape[1]), model.dtype)
    if len(target) != len(rows):
        raise ValueError(f"{who} expects as many targets as rows, got x {rows.shape} and y {np.shape(target)}.")
    trial = copy.deepcopy(trainer)
    optimizer: Any = trial.optimizer
    rates, errors = lowest * (highest / lowest) ** (np.arange(steps) / (steps - 1)), np.empty(steps)
    fixed = rng.permutation(len(rows))[:_ROWS]
    here = trainer.evaluate(rows[fixed], target[fixed])["loss"]
    order, made, best = rng.permutation(len(rows)), 0, here
    for t, rate in enumerate(rates):
        if len(order) < min(batch_size, len(rows)):
            order = np.concatenate([order, rng.permutation(len(rows))])
        drawn, order = order[:batch_size], order[batch_size:]
        optimizer.learning_rate = float(rate)
        with np.errstate(all="ignore"):
            try:
                trial.step(rows[drawn], target[drawn])
            except DivergenceError:
                break
            errors[t] = trial.evaluate(rows[fixed], target[fixed])["loss"]
        if not math.isfinite(errors[t]):
            break
        made, best = t + 1, min(best, errors[t])
        if errors[t] > here + max(here - best, _HOPELESS * abs(here)):
            break
    if made < _WINDOW:
        raise ValueError(
            f"{who}: the error is out of bounds after {made} steps from rate {lowest:g} on: choose a smaller lowest."
        )
    suggestion, edge = _suggest(rates[:made], errors[:made])
    return LearningRates(rates[:made], errors[:made], suggestion, edge)


def _suggest(rates: Array, errors: Array) -> tuple[float, float]:
    """Where the error, averaged over a few steps, falls fastest over log alpha before its lowest value, and that."""
    half = _WINDOW // 2
    means = np.convolve(errors, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
    low = int(np.argmin(means))
    if low <= half + 1:
        return math.nan, float(rates[low + half])
    slopes = np.gradient(means[: low + 1], np.log(rates[: low + 1]))
    return float(rates[int(np.argmin(slopes[: low - half])) + half]), float(rates[low + half])
