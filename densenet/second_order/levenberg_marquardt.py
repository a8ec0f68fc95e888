"""Levenberg-Marquardt: damped Gauss-Newton steps, with damping that follows the success of each step.

For a sum of squares the Jacobian gives nearly all of the curvature. Far from a minimum that quadratic model holds only
nearby, so a damping term shortens the step and turns it towards the gradient. A success lowers the damping, a failure
raises it. Near the minimum the steps are Gauss-Newton's and converge within a few iterations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from densenet._types import Array
from densenet._validation import nonnegative, positive, positive_int
from densenet.losses.base import Loss
from densenet.second_order.least_squares import Bowl, MeanSquares
from densenet.sequential import Sequential
from densenet.training.full_batch import FullBatchSolver, Report

_H = 0.1
_BEND = 0.75
_LEAST_MU = 1e-20
_SLOWEST = 0.15
_GROWTH = 1.15
_DOUBTFUL = 20
_ROUNDING = "rounding: the error cannot get smaller"


class _Point(NamedTuple):
    """A point: parameters, mean squared error, its bowl, and whether the step to it promised more than rounding."""

    w: Array
    error: float
    bowl: Bowl
    promised: bool


@dataclass
class Damping:
    """mu, and how it moves: down by mu_dec^pace after a step that was good at once, up by mu_inc^pace after a failure.

    The pace is halved where mu turns, down to 0.15, and grows by 0.15 of itself where mu goes on, up to 1.

    Attributes
    ----------
    mu : float
    mu_dec, mu_inc : float
        The factors of mu, below and above 1.
    mu_max : float
        The most damping.
    """

    mu: float
    mu_dec: float
    mu_inc: float
    mu_max: float
    pace: float = 1.0
    rising: bool = False

    def grow(self) -> bool:
        """mu <- mu mu_inc^pace; whether that is still at most mu_max."""
        self._set_pace(rising=True)
        self.mu *= self.mu_inc**self.pace
        return self.mu <= self.mu_max

    def shrink(self) -> None:
        """mu <- mu mu_dec^pace."""
        self._set_pace(rising=False)
        self.mu = max(self.mu * self.mu_dec**self.pace, _LEAST_MU)

    def _set_pace(self, rising: bool) -> None:
        goes_on = rising == self.rising
        self.pace = min(1.0, _GROWTH * self.pace) if goes_on else max(_SLOWEST, self.pace / 2)
        self.rising = rising


class LevenbergMarquardt(FullBatchSolver):
    """Damped Gauss-Newton steps on the mean squared error: (J^T J + mu D) p = -J^T r, w <- w + p.

    With r the residuals and J their Jacobian, both scaled so that the mean squared error is |r|^2. A step that lowers
    the error is taken; otherwise mu <- mu mu_inc and another is tried. Where the first one was good, mu <- mu mu_dec.
    The factors get a power: halved where mu turns (down to 0.15), grown by 0.15 of it where mu goes on (up to 1). D is
    1, or the diagonal of J^T J. Where a step's promise is less than rounding can tell, a shorter gradient counts, too.

    It takes the optimizer's place in a `Trainer`; `fit`'s epochs are its iterations, each on all the data. The
    computations are in float64, a float32 model's weights are rounded after each iteration.

    Parameters
    ----------
    mu : float, default 1e-3
        Damping at the start.
    mu_dec, mu_inc : float, default 0.1 and 10.0
        Its factors.
    mu_max : float, default 1e10
        More damping ends the run.
    min_grad : float, default 1e-7
        A gradient of the mean squared error that is nowhere larger ends the run.
    goal : float, default 0.0
        A mean squared error this small ends the run.
    max_fail : int or None, default 6
        With validation data: iterations without a better validation loss that end the run. The model keeps the weights
        of the best iteration in any case; None keeps the last.
    scaling : {None, "marquardt"}, default None
        D: None is the unit matrix. "marquardt" is the diagonal of J^T J, falling no faster than by half an iteration:
        units do not matter then.
    acceleration : bool, default False
        Whether a step p is corrected for the bend of the residuals along it, r'' taken from one more evaluation at
        w + p / 10: p + a / 2 with (J^T J + mu D) a = -J^T r''. Where a is longer than 3/8 of p, damping grows instead.
        It pays for few parameters in curved valleys: of the 54 runs of NIST's problems in `benchmarks/second_order.py`
        all reach four digits with it, 51 without it. For networks it pays less.
    max_memory : float, default 1e9
        Bytes that Jacobians and the work on them may take; beyond them J^T J is summed over parts of the rows, without
        acceleration.

    Raises
    ------
    ValueError
        If an argument is out of range; by `fit` if the loss is no squared error, the model draws noise, couples
        samples, is penalised or constrained, or J^T J is larger than `max_memory`.

    Notes
    -----
    `fit`'s History has ``mu`` and ``gradient_norm`` (the largest entry, as `min_grad` sees it) beside the figures of
    any fit, all after the iteration's step. Frozen parameters stay; rate factors and decay marks play no part. What
    is singular is damped: of parameters that the data do not tell apart the shortest step is taken.

    References
    ----------
    .. [1] Marquardt, "An algorithm for least-squares estimation of nonlinear parameters" (1963).
    .. [2] Hagan and Menhaj, "Training feedforward networks with the Marquardt algorithm" (1994).
    .. [3] More, "The Levenberg-Marquardt algorithm: implementation and theory" (1978), for D.
    .. [4] Transtrum and Sethna, "Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares
       minimization" (2012), for the acceleration.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> model = dn.mlp([1, 5, 1], activation="tanh", seed=0, dtype="float64")
    >>> trainer = dn.Trainer(model, dn.MeanSquaredError(), dn.LevenbergMarquardt())
    >>> history = trainer.fit(x, np.sin(4 * x), epochs=100)
    >>> history["loss"][-1] < 1e-3
    True
    """

    def __init__(
        self,
        mu: float = 1e-3,
        *,
        mu_dec: float = 0.1,
        mu_inc: float = 10.0,
        mu_max: float = 1e10,
        min_grad: float = 1e-7,
        goal: float = 0.0,
        max_fail: int | None = 6,
        scaling: Literal["marquardt"] | None = None,
        acceleration: bool = False,
        max_memory: float = 1e9,
    ) -> None:
        who = "LevenbergMarquardt"
        self.mu = positive(mu, who, "mu")
        self.mu_dec = positive(mu_dec, who, "mu_dec")
        self.mu_inc = positive(mu_inc, who, "mu_inc")
        if not self.mu_dec < 1 < self.mu_inc:
            raise ValueError(f"{who} expects mu_dec < 1 < mu_inc, got {mu_dec!r} and {mu_inc!r}.")
        self.mu_max = positive(mu_max, who, "mu_max")
        self.min_grad = nonnegative(min_grad, who, "min_grad")
        self.goal = nonnegative(goal, who, "goal")
        self.max_fail = None if max_fail is None else positive_int(max_fail, who, "max_fail")
        if scaling not in (None, "marquardt"):
            raise ValueError(f'{who} expects scaling to be None or "marquardt", got {scaling!r}.')
        self.scaling = scaling
        self.acceleration = bool(acceleration)
        self.max_memory = positive(max_memory, who, "max_memory")

    def solve(self, model: Sequential, loss: Loss, x: Array, y: Array, weight: Array | None, report: Report) -> str:
        at = MeanSquares(model, loss, x, y, weight, self.max_memory, type(self).__name__)
        r = at.residuals(at.w)
        error = float(r @ r)
        if not np.isfinite(error):
            raise FloatingPointError(f"the mean squared error is {error} at the start")
        here = _Point(at.w, error, at.bowl(r), True)
        damping = Damping(self.mu, self.mu_dec, self.mu_inc, self.mu_max)
        doubtful, D, ended = 0, np.zeros_like(here.w), self._ended(here)
        while not ended:
            D = self._scales(D, here.bowl)
            found = self._next(at, here, D, damping)
            if isinstance(found, str):
                return found
            here, doubtful = found, 0 if found.promised else doubtful + 1
            model.params[at.free] = here.w
            ended = self._ended(here) or (_ROUNDING if doubtful == _DOUBTFUL else "")
            figures = {"loss": at.factor * here.error, "mu": damping.mu, "gradient_norm": _steepest(here.bowl)}
            if not report(figures, ended):
                return ""
        return ended

    def _next(self, at: MeanSquares, here: _Point, D: Array, damping: Damping) -> _Point | str:
        """The next point, by the first damping that leads to a better one; or why there is none."""
        noise, first = at.noise(here.bowl.r), True
        while True:
            p = here.bowl.step(damping.mu * D)  # (J^T J + mu D) p = -J^T r
            if p is not None:
                promises = -here.bowl.change(p) > noise
                found = self._better(at, here, p, D, promises, noise)
                if found is not None:
                    if first:
                        damping.shrink()
                    return found
                if not promises:
                    return _ROUNDING
            if not damping.grow():
                return "mu above mu_max"
            first = False

    def _better(self, at: MeanSquares, here: _Point, p: Array, D: Array, promises: bool, noise: float) -> _Point | None:
        """The point that the step p leads to; None unless it is better than this one.

        It is where the error is lower, or, of a step that promises less than rounding can tell, the gradient shorter.
        """
        step = self._corrected(p, at, here.bowl, here.w, D) if promises and self.acceleration else p
        if step is None:
            return None
        w = here.w + step
        r = at.residuals(w)
        error = float(r @ r)
        lower = error < here.error
        if not lower and (promises or not error <= here.error + noise):
            return None
        bowl = at.bowl(r)
        if not np.isfinite(bowl.g).all():
            return None
        return _Point(w, error, bowl, promises) if lower or _length(bowl, D) < _length(here.bowl, D) else None

    def _scales(self, D: Array, bowl: Bowl) -> Array:
        if self.scaling is None:
            return np.ones_like(D)
        D = np.maximum(0.5 * D, bowl.squares)
        return np.where(D > 0, D, 1.0)

    @staticmethod
    def _corrected(p: Array, at: MeanSquares, bowl: Bowl, w: Array, D: Array) -> Array | None:
        """The step p corrected for the bend of the residuals along it; None where the bend is too much for a bowl."""
        if bowl.J is None:
            return p
        bend = 2 / _H * ((at.residuals(w + _H * p) - bowl.r) / _H - bowl.J @ p)  # r'' along p
        if not np.isfinite(bend).all():
            return None
        a = bowl.correction(bend)
        if not 4 * (a @ (D * a)) <= _BEND**2 * (p @ (D * p)):
            return None
        return np.asarray(p + 0.5 * a)

    def _ended(self, here: _Point) -> str:
        if here.error <= self.goal:
            return "goal reached"
        return "gradient below min_grad" if _steepest(here.bowl) <= self.min_grad else ""


def _steepest(bowl: Bowl) -> float:
    """The largest entry of dE/dw = 2 J^T r."""
    return 2 * float(np.abs(bowl.g).max())


def _length(bowl: Bowl, D: Array) -> float:
    """The gradient's length in units of D."""
    return float(np.sum(bowl.g**2 / D))
