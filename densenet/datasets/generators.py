"""Small made-up problems whose shape is known: what a network has to learn can be drawn on paper.

Rows of the two classes alternate, and a `seed` makes the noise repeatable. Sums are in float64; x comes out as float32.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densenet._validation import fraction, nonnegative, positive, positive_int

Points: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]


def xor(n: int = 200, *, noise: float = 0.0, seed: Any = None) -> Points:
    """Exclusive or: y = a XOR b at the corners (a, b) of the unit square, which no straight line separates.

    Parameters
    ----------
    n : int, default 200
        Rows; row i lies at corner i mod 4 of (0, 0), (0, 1), (1, 0), (1, 1). ``xor(4)`` is the truth table.
    noise : float, default 0.0
        Standard deviation of normal noise on both coordinates; a row has the class of its corner.
    seed : int, numpy.random.Generator or None, default None

    Returns
    -------
    x : ndarray (n, 2), float32
    y : ndarray (n,), int64
        0 or 1.

    Raises
    ------
    ValueError
        If `n` is below 1 or `noise` below 0.

    References
    ----------
    .. [1] Minsky and Papert, "Perceptrons" (1969).
    .. [2] Rumelhart, Hinton and Williams, "Learning internal representations by error propagation" (1986), section 2.

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.xor(4)
    >>> x.tolist(), y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    corner = np.arange(positive_int(n, "xor", "n")) % 4
    a, b = corner // 2, corner % 2
    x = _jitter(np.column_stack([a, b]), noise, seed, "xor")
    return x, (a ^ b).astype(np.int64)  # y = a XOR b


def two_spirals(n: int = 200, *, noise: float = 0.0, turns: float = 1.5, seed: Any = None) -> Points:
    """Two spirals, each the other's image through the origin.

    With u from 0 to 1 along the arm, phi = 2 pi turns u and r = 1 - (12/13) u::

        class 0: (r sin phi, r cos phi)        class 1: (-r sin phi, -r cos phi)

    Parameters
    ----------
    n : int, default 200
        Rows, half of them on each arm.
    noise : float, default 0.0
        Standard deviation of normal noise on both coordinates.
    turns : float, default 1.5
        How often an arm goes around the origin. ``two_spirals(194, turns=3)`` is the benchmark of [1]_, in units of
        6.5; three turns are hard to learn for a plain network.
    seed : int, numpy.random.Generator or None, default None

    Returns
    -------
    x : ndarray (n, 2), float32
        Within the unit circle, but for noise.
    y : ndarray (n,), int64
        0, 1, 0, 1, ...

    Raises
    ------
    ValueError
        If `n` is below 1, `noise` below 0 or `turns` not above 0.

    References
    ----------
    .. [1] Lang and Witbrock, "Learning to tell two spirals apart", Proc. 1988 Connectionist Models Summer School.

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.two_spirals(4)
    >>> x.round(2).tolist()[:2], y.tolist()
    ([[0.0, 1.0], [0.0, -1.0]], [0, 1, 0, 1])
    """
    turns = positive(turns, "two_spirals", "turns")

    def arm(points: int) -> NDArray[np.float64]:
        u = np.linspace(0, 1, points)
        phi = 2 * np.pi * turns * u
        r = 1 - 12 / 13 * u
        return np.column_stack([r * np.sin(phi), r * np.cos(phi)])

    first, second = _halves(n, "two_spirals")
    return _alternate(arm(first), -arm(second), noise, seed, "two_spirals")


def moons(n: int = 200, *, noise: float = 0.1, seed: Any = None) -> Points:
    """Two half circles that reach into one another.

    With t from 0 to pi::

        class 0: (cos t, sin t)        class 1: (1 - cos t, 1/2 - sin t)

    Parameters
    ----------
    n : int, default 200
        Rows, half of them on each half circle.
    noise : float, default 0.1
        Standard deviation of normal noise on both coordinates.
    seed : int, numpy.random.Generator or None, default None

    Returns
    -------
    x : ndarray (n, 2), float32
    y : ndarray (n,), int64
        0, 1, 0, 1, ...

    Raises
    ------
    ValueError
        If `n` is below 1 or `noise` below 0.

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.moons(4, noise=0)
    >>> x.round(2).tolist(), y.tolist()
    ([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.0], [2.0, 0.5]], [0, 1, 0, 1])
    """
    first, second = _halves(n, "moons")
    t, s = np.linspace(0, np.pi, first), np.linspace(0, np.pi, second)
    upper = np.column_stack([np.cos(t), np.sin(t)])
    lower = np.column_stack([1 - np.cos(s), 0.5 - np.sin(s)])
    return _alternate(upper, lower, noise, seed, "moons")


def circles(n: int = 200, *, noise: float = 0.05, factor: float = 0.5, seed: Any = None) -> Points:
    """A circle within a circle.

    With t from 0 to 2 pi::

        class 0: (cos t, sin t)        class 1: factor (cos t, sin t)

    Parameters
    ----------
    n : int, default 200
        Rows, half of them on each circle.
    noise : float, default 0.05
        Standard deviation of normal noise on both coordinates.
    factor : float, default 0.5
        Radius of the inner circle, in [0, 1).
    seed : int, numpy.random.Generator or None, default None

    Returns
    -------
    x : ndarray (n, 2), float32
    y : ndarray (n,), int64
        0, 1, 0, 1, ...

    Raises
    ------
    ValueError
        If `n` is below 1, `noise` below 0 or `factor` outside [0, 1).

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.circles(4, noise=0)
    >>> (x**2).sum(axis=1).round(3).tolist(), y.tolist()
    ([1.0, 0.25, 1.0, 0.25], [0, 1, 0, 1])
    """
    factor = fraction(factor, "circles", "factor")

    def circle(points: int) -> NDArray[np.float64]:
        t = np.linspace(0, 2 * np.pi, points, endpoint=False)
        return np.column_stack([np.cos(t), np.sin(t)])

    first, second = _halves(n, "circles")
    return _alternate(circle(first), factor * circle(second), noise, seed, "circles")


def noisy_curve(
    n: int = 200, *, noise: float = 0.2, periods: float = 1.0, seed: Any = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A curve to be found under noise: y = sin(pi periods x) + noise.

    Parameters
    ----------
    n : int, default 200
        Rows.
    noise : float, default 0.2
        Standard deviation of normal noise on y. No model's root mean squared error on new rows is lower.
    periods : float, default 1.0
        Periods of the sine between -1 and 1.
    seed : int, numpy.random.Generator or None, default None

    Returns
    -------
    x : ndarray (n, 1), float32
        Evenly spaced from -1 to 1.
    y : ndarray (n,), float32

    Raises
    ------
    ValueError
        If `n` is below 1, `noise` below 0 or `periods` not above 0.

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), section 1.1, with x from 0 to 1.

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.noisy_curve(5, noise=0)
    >>> x.ravel().tolist(), y.round(3).tolist()
    ([-1.0, -0.5, 0.0, 0.5, 1.0], [-0.0, -1.0, 0.0, 1.0, 0.0])
    """
    x = np.linspace(-1, 1, positive_int(n, "noisy_curve", "n"))
    periods = positive(periods, "noisy_curve", "periods")
    y = np.sin(np.pi * periods * x)  # y = sin(pi periods x)
    return x[:, None].astype(np.float32), _jitter(y, noise, seed, "noisy_curve")


def _halves(n: Any, who: str) -> tuple[int, int]:
    rows = positive_int(n, who, "n")
    return rows - rows // 2, rows // 2


def _alternate(zeros: NDArray[np.float64], ones: NDArray[np.float64], noise: Any, seed: Any, who: str) -> Points:
    y = np.arange(len(zeros) + len(ones), dtype=np.int64) % 2
    x = np.empty((len(y), 2))
    x[0::2], x[1::2] = zeros, ones
    return _jitter(x, noise, seed, who), y


def _jitter(values: NDArray[Any], noise: Any, seed: Any, who: str) -> NDArray[np.float32]:
    noise = nonnegative(noise, who, "noise")
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal(values.shape) if noise else 0.0
    return np.asarray(values + noise * drawn, np.float32)
