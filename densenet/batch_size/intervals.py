"""Confidence intervals of tr(M Sigma) / (G^T M G), both of them estimated from the same rows.

Both are U-statistics of the rows' gradients. Their ratio is skewed, and its denominator may not differ from 0: the set
of ratios B for which tr(M Sigma) - B G^T M G does not differ from 0 is an interval with or without an upper end
(Fieller, "Some problems in interval estimation", 1954).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from densenet._types import Array

DRAWS = 399
"""Resamples of the rows that the quantiles are taken from."""
SPAN, FARTHEST = 8.0, 1000.0  # how far below its estimate, in ln B, and how many times above n an end is looked for


@dataclass
class Deviations:
    """How m rows differ in their gradients, as far as an interval needs to know.

    Attributes
    ----------
    products : ndarray (m, m)
        c_i^T M c_j with c_i = g_i - G.
    along : ndarray (m,)
        c_i^T M G.
    square : float
        G^T M G.
    trace_too, square_too : ndarray (m,)
        What row i adds to tr(M Sigma) and to G^T M G by its part in M; each with mean 0.
    """

    products: Array
    along: Array
    square: float
    trace_too: Array
    square_too: Array

    def with_square(self, square: float) -> Array:
        """g_i^T M g_j (m, m) after G has been made longer or shorter, so that G^T M G becomes `square`."""
        factor = math.sqrt(max(square, 0.0) / self.square) if self.square > 0 else 0.0
        along = factor * self.along
        made: Array = self.products + along[:, None] + along + factor**2 * self.square
        return made


def estimates(products: Array, counts: Array, trace_too: Array, square_too: Array, n: int) -> tuple[Array, Array]:
    """tr(M Sigma) and G^T M G from rows that were drawn so many times, and the covariance of both.

    ::

        tr(M Sigma) = 1/(N-1) sum_i (g_i - G)^T M (g_i - G)        G^T M G = 1/(N (N-1)) sum_(i != j) g_i^T M g_j

    Parameters
    ----------
    products : ndarray (m, m)
        g_i^T M g_j.
    counts : ndarray (k, m)
        k samples of N rows each: how often every row is in them.
    trace_too, square_too : ndarray (m,)
        As in `Deviations`.
    n : int
        Rows that the covariance is for.

    Returns
    -------
    both : ndarray (2, k)
    spread : ndarray (k, 2, 2)
        The variance of U-statistics [1]_, with the pairs' own part tr((M Sigma)^2) / n^2 in it.

    References
    ----------
    .. [1] Hoeffding, "A class of statistics with asymptotically normal distribution" (1948), equation 5.13.
    """
    N = float(counts[0].sum())
    squares = products.diagonal()
    along = counts @ products / N  # g_i^T M G
    second, square = counts @ squares / N, np.einsum("km,km->k", counts, along) / N
    trace = (second - square) * N / (N - 1)
    both = np.stack([trace + counts @ trace_too / N, square - trace / N + counts @ square_too / N])
    q = (N * along - squares) / (N - 1)  # mean over j != i of g_i^T M g_j
    s = (squares + (N * second[:, None] - squares) / (N - 1)) / 2 - q  # of (g_i - g_j)^T M (g_i - g_j) / 2
    rows = np.stack([2 * s + trace_too, 2 * q + square_too])
    rows -= (np.einsum("akm,km->ak", rows, counts) / N)[:, :, None]
    spread = np.einsum("akm,bkm,km->kab", rows, rows, counts, optimize=True) / ((N - 1) * n)
    own = squares - 2 * along + square[:, None]  # c_i^T M c_i
    pairs = np.einsum("km,km->k", counts @ np.square(products), counts)
    pairs += N**2 * square**2 - 2 * N * np.einsum("km,km->k", counts, np.square(along))
    pairs = np.maximum(pairs - np.einsum("km,km->k", counts, np.square(own)), 0) / (N * (N - 1))  # tr((M Sigma)^2)
    # pairs give 2 tr((M Sigma)^2) / n^2; the rows' means over their pairs hold 4 / (N n)
    spread += (pairs * (2 / (n * (n - 1)) - 4 / (N * n)))[:, None, None] * np.array([[1.0, -1.0], [-1.0, 1.0]])
    for i in range(2):
        spread[:, i, i] = np.maximum(spread[:, i, i], 2 * pairs / (n * (n - 1)))
    return both, spread


def ratio_interval(
    rows: Deviations, top: float, bottom: float, n: int, level: float, rng: np.random.Generator, error: float = 0.0
) -> tuple[float, float]:
    """Interval for the ratio of what `top` and `bottom` estimate: the B that the samples do not speak against.

    How far top - B bottom may be from 0, in its own standard deviations, is seen by drawing rows again after G has been
    made as long as B says: where G is hardly known, that depends on B (the grid bootstrap [1]_).

    Parameters
    ----------
    rows : Deviations
        All n rows, or some of them.
    top, bottom : float
        Estimates of tr(M Sigma) and of G^T M G from n rows.
    n : int
    level : float
    rng : Generator
        Draws the rows again.
    error : float, default 0.0
        Standard error of `top` that the rows do not know of.

    Returns
    -------
    low, high : float
        high is inf where `bottom` cannot be told from 0.

    References
    ----------
    .. [1] Hansen, "The grid bootstrap and the autoregressive model" (1999).
    """
    if top <= 0:
        return 0.0, math.inf
    m = len(rows.along)
    once = np.ones((1, m))
    spread = estimates(rows.with_square(rows.square), once, rows.trace_too, rows.square_too, n)[1][0]
    spread[0, 0] += error**2
    drawn = rng.multinomial(n, np.full(m, 1 / m), size=DRAWS).astype(np.float64)

    def beyond(log_ratio: float, share: float) -> float:
        """(top - B bottom) / sd, less the quantile that it has where B is the ratio."""
        B = math.exp(log_ratio)
        found = top - B * bottom
        sd = math.sqrt(max(spread[0, 0] - 2 * B * spread[0, 1] + B * B * spread[1, 1], 0.0))
        return (found / sd if sd else math.copysign(math.inf, found)) - quantile(rows, top / B, n, share, drawn)

    far = math.log(FARTHEST * n)
    middle = min(math.log(top / bottom), far) if bottom > 0 else far
    low = _crossing(lambda at: beyond(at, 0.5 + level / 2), middle - SPAN, middle)
    high = _crossing(lambda at: beyond(at, 0.5 - level / 2), middle, far) if bottom > 0 else math.inf
    return math.exp(min(low, middle)), math.exp(max(high, middle))


def quantile(rows: Deviations, square: float, n: int, share: float, drawn: Array) -> float:
    """Below which value so many of (top - B bottom) / sd lie, in samples drawn from rows whose G^T M G is `square`.

    Where it is nearer to 0 than the normal quantile, it is moved half of the way there: few rows lack the population's
    farthest ones, so that samples drawn from them make intervals too narrow.

    Parameters
    ----------
    rows : Deviations
    square : float
    n : int
    share : float
    drawn : ndarray (k, m)
        k samples of n rows: how often every row is in them.

    References
    ----------
    .. [1] Hall, "Theoretical comparison of bootstrap confidence intervals" (1988), section 2: percentile-t.
    """
    true = np.array([square, -float(rows.products.diagonal().mean())])
    both, spread = estimates(rows.with_square(square), drawn, rows.trace_too, rows.square_too, n)
    variance = np.einsum("a,kab,b->k", true, spread, true)
    seen = variance > 0
    normal = NormalDist().inv_cdf(share)
    if not seen.any():
        return normal
    found = float(np.quantile((true @ both)[seen] / np.sqrt(variance[seen]), share))
    return (found + normal) / 2 if (found - normal) * normal < 0 else found


def _crossing(beyond: Callable[[float], float], low: float, high: float) -> float:
    """Where between its ends a decreasing function is 0; -inf or inf where that is below or above."""
    from scipy import optimize

    if beyond(low) <= 0:
        return -math.inf
    if beyond(high) >= 0:
        return math.inf
    return float(optimize.brentq(beyond, low, high, xtol=0.02))
