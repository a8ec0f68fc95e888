"""Confidence intervals of tr(M Sigma) / (G^T M G), both of them estimated from the same rows.

Both are U-statistics of the rows' gradients. Their ratio is skewed, and its denominator may not differ from 0: the set
of ratios B for which tr(M Sigma) - B G^T M G does not differ from 0 is an interval with or without an upper end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from densenet._types import Array

DRAWS = 599
"""Resamples of the rows that the quantiles are taken from."""
_AT_ONCE = 100


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


def quantiles(rows: Deviations, square: float, n: int, level: float, rng: np.random.Generator) -> tuple[float, float]:
    """Between which values (top - B bottom) / sd lies at that level, B the true ratio, in samples drawn from the rows.

    Parameters
    ----------
    rows : Deviations
    square : float
        The best estimate of G^T M G: the rows' own is too long by their noise. Where it is not positive, B is infinite.
    n : int
    level : float
    rng : Generator

    Returns
    -------
    low, high : float

    References
    ----------
    .. [1] Hall, "Theoretical comparison of bootstrap confidence intervals" (1988), section 2: percentile-t.
    """
    m = len(rows.along)
    true = np.array([square, -float(rows.products.diagonal().mean())]) if square > 0 else np.array([0.0, -1.0])
    found = []
    for start in range(0, DRAWS, _AT_ONCE):
        counts = rng.multinomial(n, np.full(m, 1 / m), size=min(_AT_ONCE, DRAWS - start)).astype(np.float64)
        both, spread = estimates(rows.with_square(square), counts, rows.trace_too, rows.square_too, n)
        variance = np.einsum("a,kab,b->k", true, spread, true)
        seen = variance > 0
        found.append((true @ both)[seen] / np.sqrt(variance[seen]))
    t = np.concatenate(found)
    if not len(t):
        return 0.0, 0.0
    low, high = np.quantile(t, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def ratio_interval(
    rows: Deviations, top: float, bottom: float, n: int, level: float, rng: np.random.Generator, error: float = 0.0
) -> tuple[float, float]:
    """Interval for the ratio of what `top` and `bottom` estimate.

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
    """
    once = np.ones((1, len(rows.along)))
    spread = estimates(rows.with_square(rows.square), once, rows.trace_too, rows.square_too, n)[1][0]
    spread[0, 0] += error**2
    low, high = quantiles(rows, bottom, n, level, rng)
    if bottom <= 0:  # rows drawn again hardly ever cancel as these do
        from scipy import special

        high = max(high, float(special.ndtri(0.5 + level / 2)))
    return fieller(top, bottom, spread, max(high, 0.0))[0], fieller(top, bottom, spread, max(-low, 0.0))[1]


def fieller(top: float, bottom: float, spread: Array, z: float) -> tuple[float, float]:
    """The B at least 0 with |top - B bottom| <= z sd(top - B bottom): an interval for the ratio of what they estimate.

    Parameters
    ----------
    top, bottom : float
        Estimates.
    spread : ndarray (2, 2)
        Their covariance.
    z : float
        Quantile of the standard normal distribution.

    Returns
    -------
    low, high : float
        high is inf where `bottom` cannot be told from 0.

    References
    ----------
    .. [1] Fieller, "Some problems in interval estimation" (1954), section 3.
    """
    a = bottom**2 - z**2 * float(spread[1, 1])
    b = top * bottom - z**2 * float(spread[0, 1])
    c = top**2 - z**2 * float(spread[0, 0])
    root = b * b - a * c
    if a > 0:  # a B^2 - 2 b B + c <= 0
        half = math.sqrt(max(root, 0.0))
        ends = ((b - half) / a, (b + half) / a) if bottom > 0 else (0.0, math.inf)
        return max(ends[0], 0.0), max(ends[1], 0.0)
    if c <= 0 or root < 0 or top <= 0:
        return 0.0, math.inf
    if a == 0:
        return (max(c / (2 * b), 0.0) if b > 0 else 0.0), math.inf
    return max((b - math.sqrt(root)) / a, (b + math.sqrt(root)) / a, 0.0), math.inf
