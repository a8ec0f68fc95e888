"""Learning rates that change with the steps: functions from optimizer steps done (from 0) to a rate of at least 0."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from densenet._config import Configured
from densenet._validation import fraction, nonnegative, positive, positive_int


class Schedule(Configured, ABC):
    """alpha as a function of the steps done.

    A schedule of your own gives `__call__`::

        class Sawtooth(dn.Schedule):
            def __call__(self, step):
                return 0.1 * (1 - (step % 100) / 100)
    """

    _shown_always: ClassVar[tuple[str, ...] | None] = None

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The rate of the step that follows `step` steps, at least 0."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Schedule) and other.config() == self.config()

    def __hash__(self) -> int:
        return hash((type(self), *map(repr, self.config().values())))


class StepDecay(Schedule):
    """alpha = initial factor^floor(t / every).

    Parameters
    ----------
    initial : float
    every : int
        Steps between two drops.
    factor : float, default 0.1

    Examples
    --------
    >>> import densenet as dn
    >>> schedule = dn.StepDecay(0.1, every=100)
    >>> schedule(99), round(schedule(100), 6)
    (0.1, 0.01)
    """

    def __init__(self, initial: float, every: int, factor: float = 0.1) -> None:
        self.initial = positive(initial, "StepDecay", "initial")
        self.every = positive_int(every, "StepDecay", "every")
        self.factor = positive(factor, "StepDecay", "factor")

    def __call__(self, step: int) -> float:
        return self.initial * self.factor ** (step // self.every)


class ExponentialDecay(Schedule):
    """alpha = initial factor^t.

    Parameters
    ----------
    initial : float
    factor : float
        Of every step.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.ExponentialDecay(0.1, 0.5)(2)
    0.025
    """

    def __init__(self, initial: float, factor: float) -> None:
        self.initial = positive(initial, "ExponentialDecay", "initial")
        self.factor = positive(factor, "ExponentialDecay", "factor")

    def __call__(self, step: int) -> float:
        return self.initial * self.factor**step


class PolynomialDecay(Schedule):
    """alpha = (initial - final) (1 - t / steps)^power + final, and final afterwards.

    Parameters
    ----------
    initial : float
    steps : int
    final : float, default 0.0
    power : float, default 1.0

    Examples
    --------
    >>> import densenet as dn
    >>> dn.PolynomialDecay(0.1, steps=10)(5)
    0.05
    """

    def __init__(self, initial: float, steps: int, final: float = 0.0, power: float = 1.0) -> None:
        self.initial = positive(initial, "PolynomialDecay", "initial")
        self.steps = positive_int(steps, "PolynomialDecay", "steps")
        self.final = nonnegative(final, "PolynomialDecay", "final")
        self.power = positive(power, "PolynomialDecay", "power")

    def __call__(self, step: int) -> float:
        left = 1 - min(step, self.steps) / self.steps
        return (self.initial - self.final) * math.pow(left, self.power) + self.final


class InverseTimeDecay(Schedule):
    """alpha = initial / (1 + decay t).

    Parameters
    ----------
    initial : float
    decay : float
        Per step.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.InverseTimeDecay(0.1, decay=0.01)(100)
    0.05
    """

    def __init__(self, initial: float, decay: float) -> None:
        self.initial = positive(initial, "InverseTimeDecay", "initial")
        self.decay = nonnegative(decay, "InverseTimeDecay", "decay")

    def __call__(self, step: int) -> float:
        return self.initial / (1 + self.decay * step)


def _cosine(high: float, low: float, share: float) -> float:
    """From `high` at share 0 to `low` at share 1, along half a cosine."""
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


class CosineDecay(Schedule):
    """alpha = final + (initial - final) (1 + cos(pi t / steps)) / 2, and final afterwards.

    Parameters
    ----------
    initial : float
    steps : int
    final : float, default 0.0

    References
    ----------
    .. [1] Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5.

    Examples
    --------
    >>> import densenet as dn
    >>> round(dn.CosineDecay(0.1, steps=100)(50), 6)
    0.05
    """

    def __init__(self, initial: float, steps: int, final: float = 0.0) -> None:
        self.initial = positive(initial, "CosineDecay", "initial")
        self.steps = positive_int(steps, "CosineDecay", "steps")
        self.final = nonnegative(final, "CosineDecay", "final")

    def __call__(self, step: int) -> float:
        return _cosine(self.initial, self.final, min(step, self.steps) / self.steps)


class CosineRestarts(Schedule):
    """`CosineDecay` that starts again after `steps` steps, each time `growth` times as long.

    Parameters
    ----------
    initial : float
    steps : int
        Length of the first period.
    growth : int, default 1
    final : float, default 0.0

    References
    ----------
    .. [1] Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> schedule = dn.CosineRestarts(0.1, steps=10, growth=2)
    >>> schedule(0), schedule(10), schedule(30)
    (0.1, 0.1, 0.1)
    """

    def __init__(self, initial: float, steps: int, growth: int = 1, final: float = 0.0) -> None:
        self.initial = positive(initial, "CosineRestarts", "initial")
        self.steps = positive_int(steps, "CosineRestarts", "steps")
        self.growth = positive_int(growth, "CosineRestarts", "growth")
        self.final = nonnegative(final, "CosineRestarts", "final")

    def __call__(self, step: int) -> float:
        length = self.steps
        if self.growth == 1:
            step %= length
        while step >= length:
            step -= length
            length *= self.growth
        return _cosine(self.initial, self.final, step / length)


class Warmup(Schedule):
    """A straight rise over the first `steps` steps, then another schedule from its start.

    ::

        alpha = (t + 1) / (steps + 1) after(0)        for t < steps, then after(t - steps)

    Parameters
    ----------
    after : float or Schedule
    steps : int

    References
    ----------
    .. [1] Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.

    Examples
    --------
    >>> import densenet as dn
    >>> [round(dn.Warmup(0.1, steps=4)(t), 3) for t in range(6)]
    [0.02, 0.04, 0.06, 0.08, 0.1, 0.1]
    """

    def __init__(self, after: float | Schedule, steps: int) -> None:
        self.after = after if isinstance(after, Schedule) else positive(after, "Warmup", "after")
        self.steps = positive_int(steps, "Warmup", "steps")

    def __call__(self, step: int) -> float:
        done = max(0, step - self.steps)
        rate: float = self.after(done) if isinstance(self.after, Schedule) else self.after
        return rate * min(1.0, (step + 1) / (self.steps + 1))


class OneCycle(Schedule):
    """Up along half a cosine from peak / start_factor to the peak, then down to nearly nothing.

    ::

        peak / start_factor -> peak -> peak / start_factor / end_factor

    Parameters
    ----------
    peak : float
    steps : int
        Length of the whole cycle; step ``steps - 1`` has the last rate, which holds afterwards.
    rise : float in (0, 1), default 0.3
        Share of the steps that go up.
    start_factor : float, default 25.0
    end_factor : float, default 1e4

    References
    ----------
    .. [1] Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
       rates" (2018).

    Examples
    --------
    >>> import densenet as dn
    >>> schedule = dn.OneCycle(0.1, steps=10, rise=0.3)
    >>> [round(schedule(t), 4) for t in (0, 2, 9)]
    [0.004, 0.1, 0.0]
    """

    def __init__(
        self, peak: float, steps: int, rise: float = 0.3, start_factor: float = 25.0, end_factor: float = 1e4
    ) -> None:
        self.peak = positive(peak, "OneCycle", "peak")
        self.steps = positive_int(steps, "OneCycle", "steps")
        self.rise = fraction(rise, "OneCycle", "rise")
        self.start_factor = positive(start_factor, "OneCycle", "start_factor")
        self.end_factor = positive(end_factor, "OneCycle", "end_factor")

    def __call__(self, step: int) -> float:
        step, low = min(step, self.steps - 1), self.peak / self.start_factor
        top = self.rise * self.steps - 1
        if step <= top:
            return _cosine(low, self.peak, step / top) if top > 0 else self.peak
        return _cosine(self.peak, low / self.end_factor, (step - top) / (self.steps - 1 - top))
