"""Steps against samples: S = S_min + E_min / B, from runs to one target at many batch sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import as_numbers, is_number

_SPAN = 14.0  # how far ln(B_crit) may lie from the batch sizes that were measured
_FLOOR = 0.01  # least standard deviation of ln S


@dataclass(frozen=True)
class Tradeoff:
    """What `fit_tradeoff` found.

    Attributes
    ----------
    least_steps, least_samples : float
        S_min and E_min.
    critical : float
        E_min / S_min, in samples: the batch size that takes twice the least steps and twice the least samples.
    critical_interval : (float, float)
        At that `level`; from 0 or to inf where the runs set no limit.
    spread : float
        Standard deviation of ln S around the curve.
    level : float
    runs, censored : int
        How many runs it is fitted to, and how many of them missed the target.

    Examples
    --------
    >>> import densenet as dn
    >>> found = dn.batch_size.fit_tradeoff([1, 4, 16, 64, 256], [1610, 410, 110, 35, 16.25])
    >>> round(found.least_steps), round(found.least_samples), round(found.critical)
    (10, 1600, 160)
    """

    least_steps: float
    least_samples: float
    critical: float
    critical_interval: tuple[float, float]
    spread: float
    level: float
    runs: int
    censored: int

    def steps(self, batch_size: Any) -> Any:
        """S = S_min + E_min / B."""
        return self.least_steps + self.least_samples / np.asarray(batch_size, dtype=float)


def fit_tradeoff(batch_sizes: Any, steps: Any, *, missed: Any = None, level: float = 0.95) -> Tradeoff:
    """Fit S = S_min + E_min / B to the steps that runs took to one target, on log S.

    In samples E = S B this is (S / S_min - 1) (E / E_min - 1) = 1 [1]_. With sigma the spread of ln S around the
    curve, a run that reached the target after S steps, and one that had not after S steps, add to the log likelihood::

        -ln(sigma) - (ln S - ln S(B))^2 / (2 sigma^2)        ln Phi((ln S(B) - ln S) / sigma)

    Without missed runs this is least squares. The interval of B_crit = E_min / S_min is the set of those whose best
    likelihood is near the best of all (profile likelihood).

    Parameters
    ----------
    batch_sizes : array_like (k,)
        At least two different ones.
    steps : array_like (k,)
        Steps to the target; of a run that missed it, the steps that it made.
    missed : array_like (k,) of bool, optional
        Which runs missed the target (are censored).
    level : float in (0, 1), default 0.95

    Returns
    -------
    Tradeoff

    Raises
    ------
    ValueError
        If the arrays do not fit each other, a number is not above 0, or fewer than two batch sizes reached the target.

    References
    ----------
    .. [1] McCandlish, Kaplan, Amodei and OpenAI Dota Team, "An empirical model of large-batch training" (2018),
       arXiv 1812.06162, equation 2.11.

    Examples
    --------
    A run with batch 1024 that was stopped after 9 steps says little, but nothing false:

    >>> import densenet as dn
    >>> sizes, steps = [1, 4, 16, 64, 256, 1024], [1610, 410, 110, 35, 16.25, 9]
    >>> round(dn.batch_size.fit_tradeoff(sizes, steps, missed=[False] * 5 + [True]).critical)
    160
    """
    who = "fit_tradeoff"
    B = np.atleast_1d(as_numbers(batch_sizes, who, "batch_sizes").astype(float))
    S = np.atleast_1d(as_numbers(steps, who, "steps").astype(float))
    late = np.zeros(B.shape, bool) if missed is None else np.atleast_1d(np.asarray(missed, bool))
    if B.ndim != 1 or not B.shape == S.shape == late.shape:
        raise ValueError(
            f"{who} expects as many steps and missed as batch_sizes, got {S.shape}, {late.shape} and {B.shape}."
        )
    for name, values in (("batch_sizes", B), ("steps", S)):
        if not ((values > 0) & np.isfinite(values)).all():
            raise ValueError(f"{who} expects {name} above 0, got {values[~((values > 0) & np.isfinite(values))][0]:g}.")
    if not is_number(level) or not 0 < level < 1:
        raise ValueError(f"{who} expects level in (0, 1), got {level!r}.")
    if len(set(B[~late])) < 2:
        raise ValueError(
            f"{who} expects runs that reached the target at two batch sizes or more, got {len(set(B[~late]))}: let "
            "runs go on for longer, or set a target that is easier to reach."
        )
    from scipy import optimize, special  # pictures and commands that fit nothing start without them

    grid = np.linspace(math.log(B.min()) - _SPAN, math.log(B.max()) + _SPAN, 281)
    profile = np.array([_least(at, B, S, late)[0] for at in grid])
    start = int(profile.argmin())
    around = grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)]
    best = optimize.minimize_scalar(
        lambda at: _least(at, B, S, late)[0], bounds=around, method="bounded", options={"xatol": 1e-10}
    )
    at, lowest = (float(best.x), float(best.fun)) if best.fun <= profile[start] else (grid[start], profile[start])
    _, log_steps, spread = _least(at, B, S, late)
    n = len(B)
    quantile = float(special.stdtrit(max(n - 3, 1), 0.5 + level / 2)) ** 2 / 2  # F in place of chi^2, as n is small
    limit = lowest + n / 2 * math.log1p(2 * quantile / max(n - 3, 1))
    low, high = (_cross(at, end, limit, B, S, late) for end in (float(grid[0]), float(grid[-1])))
    S_min = math.exp(log_steps)
    return Tradeoff(
        S_min, S_min * math.exp(at), math.exp(at), (low, high), spread, float(level), n, int(late.sum())
    )  # fmt: skip


def _least(log_critical: float, B: Array, S: Array, late: Array) -> tuple[float, float, float]:
    """The least negative log likelihood at B_crit, with ln S_min and sigma there."""
    residuals = np.log(S) - np.log1p(math.exp(log_critical) / B)  # ln S - ln(1 + B_crit / B) = ln S_min + noise
    there = residuals[~late]
    mean = float(there.mean())
    spread = max(float(np.sqrt(np.mean((there - mean) ** 2))), _FLOOR)
    if not late.any():
        return _negative(mean, spread, there, residuals[late]), mean, spread

    from scipy import optimize

    def objective(p: Array) -> float:
        return _negative(float(p[0]), max(math.exp(float(p[1])), _FLOOR), there, residuals[late])

    found = optimize.minimize(
        objective, [mean, math.log(spread)], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}
    )
    return float(found.fun), float(found.x[0]), max(math.exp(float(found.x[1])), _FLOOR)


def _negative(mean: float, spread: float, there: Array, late: Array) -> float:
    reached = len(there) * math.log(spread) + float(np.square(there - mean).sum()) / (2 * spread**2)
    if not late.size:
        return reached
    from scipy import special

    return reached - float(special.log_ndtr((mean - late) / spread).sum())


def _cross(inside: float, outside: float, limit: float, B: Array, S: Array, late: Array) -> float:
    """Where between the best B_crit and an end the likelihood leaves the interval: 0 or inf where it does not."""
    if _least(outside, B, S, late)[0] <= limit:
        return 0.0 if outside < inside else math.inf
    if _least(inside, B, S, late)[0] >= limit:
        return math.exp(inside)
    from scipy import optimize

    return math.exp(optimize.brentq(lambda at: _least(at, B, S, late)[0] - limit, inside, outside, xtol=1e-4))
