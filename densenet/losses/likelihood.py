"""Losses that are negative log-likelihoods of a distribution whose parameters the model gives.

The model gives the logarithm of a parameter that must be positive (a rate, a variance), so that any output is allowed.
Terms that do not depend on the prediction are left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet._validation import as_target_matrix
from densenet.losses.base import ElementwiseLoss, Loss


def _largest_exponent(dtype: Any) -> float:
    """log of the largest number of that dtype."""
    return math.log(float(np.finfo(dtype).max))


class PoissonNLL(ElementwiseLoss):
    """Counts t of mean exp(p), the model giving the log rate p: the mean over the outputs of::

        l = exp(p) - t p        dl/dp = exp(p) - t

    The exponential of a log rate above 0.9 log(largest number) (79 in float32, 638 in float64) is taken at that bound,
    so that nothing overflows.

    Raises
    ------
    ValueError
        If a target is below 0.

    References
    ----------
    .. [1] McCullagh and Nelder, "Generalized Linear Models" (1989), section 6.2.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.PoissonNLL()
    >>> loss.forward([[0.0], [0.0]], [0, 3])
    1.0
    >>> loss.backward()
    array([[ 0.5],
           [-1. ]])
    """

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        t = as_target_matrix(target, n_outputs, dtype, "PoissonNLL")
        bad = np.argwhere(t < 0)
        if len(bad):
            i, j = bad[0]
            raise ValueError(f"PoissonNLL expects counts of at least 0, got y[{i}, {j}] = {t[i, j]}.")
        return t

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        rate = self._buffer("rate", prediction.shape, prediction.dtype)
        np.minimum(prediction, 0.9 * _largest_exponent(prediction.dtype), out=rate)
        np.exp(rate, out=rate)
        np.multiply(target, prediction, out=out)
        np.subtract(rate, out, out=out)  # l = exp(p) - t p

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        np.subtract(self._buffer("rate", prediction.shape, prediction.dtype), target, out=out)  # dl/dp = exp(p) - t

    def estimate(self, prediction: Array) -> Array:
        """The rates exp(p)."""
        rate: Array = np.minimum(prediction, 0.9 * _largest_exponent(prediction.dtype))
        return np.exp(rate, out=rate)

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        np.copyto(out, self._buffer("rate", prediction.shape, prediction.dtype))  # d^2 l / dp^2 = exp(p)


class GaussianNLL(Loss):
    """Numbers t of mean m and variance exp(s); 2k outputs, k means m and then k log-variances s.

    ::

        l = 1/k sum_j 1/2 (s_j + z_j^2)        z = (m - t) exp(-s / 2)
        dl/dm = 1/k z exp(-s / 2)              dl/ds = 1/2k (1 - z^2)

    In z a log-variance below -1/2 log(largest number) (-44 in float32, -354 in float64) is taken at that bound.

    Raises
    ------
    ValueError
        If the number of outputs is odd, or the target has other than half as many columns.

    References
    ----------
    .. [1] Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution" (1994),
       equation 4.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.GaussianNLL()
    >>> loss.forward([[3.0, 0.0]], [1.0])
    2.0
    >>> loss.backward()
    array([[ 2. , -1.5]])
    """

    def target_width(self, n_outputs: int) -> int:
        if n_outputs % 2:
            raise ValueError(
                f"GaussianNLL expects an even number of outputs, k means and then k log-variances, got {n_outputs}."
            )
        return n_outputs // 2

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        return as_target_matrix(target, self.target_width(n_outputs), dtype, "GaussianNLL")

    def estimate(self, prediction: Array) -> Array:
        """The means."""
        return prediction[:, : prediction.shape[1] // 2]

    def resize(self, prediction: Array) -> None:
        Loss.resize(self, prediction)
        n, k, dtype = len(prediction), prediction.shape[1] // 2, prediction.dtype
        self._row_sums = products(dtype).row_sums
        self._bound = -0.5 * _largest_exponent(dtype)
        self._u = self._buffer("u", (n, k), dtype)
        self._z = self._buffer("z", (n, k), dtype)
        self._square = self._buffer("square", (n, k), dtype)
        self._each = self._buffer("each", (n, k), dtype)
        self._shares = np.full(k, 0.5 / k, dtype)

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        k = target.shape[1]
        u, z = self._u, self._z
        np.maximum(prediction[:, k:], self._bound, out=u)
        np.multiply(u, -0.5, out=u)
        np.exp(u, out=u)  # u = exp(-s / 2)
        np.subtract(prediction[:, :k], target, out=z)
        np.multiply(z, u, out=z)  # z = (m - t) exp(-s / 2)
        np.multiply(z, z, out=self._square)
        np.add(prediction[:, k:], self._square, out=self._each)
        self._row_sums(self._each, self._shares, out)  # l = 1/2k sum_j (s_j + z_j^2)

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        k = target.shape[1]
        np.multiply(self._z, self._u, out=out[:, :k])
        out[:, :k] *= 1 / k  # dl/dm = 1/k z exp(-s / 2)
        np.subtract(1, self._square, out=out[:, k:])
        out[:, k:] *= 0.5 / k  # dl/ds = 1/2k (1 - z^2)

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        k, u, z = target.shape[1], self._u, self._z
        by_m, by_s = direction[:, :k], direction[:, k:]
        out[:, :k] = u * (u * by_m - z * by_s) / k  # 1/k (u^2 m' - z u s')
        out[:, k:] = z * (0.5 * z * by_s - u * by_m) / k  # 1/k (z^2 s' / 2 - z u m')
