"""Losses for numbers: how much a deviation d = p - t of the prediction p from the target t costs.

Squares punish large deviations most and estimate the mean; absolute values estimate the median; Huber and log cosh are
squares near 0 and absolute values far out; tilted absolute values estimate quantiles.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet._validation import as_numbers, as_target_matrix, is_number, positive
from densenet.losses.base import ElementwiseLoss, Loss


class SquaredError(Loss):
    """What the squared errors share: l = c sum_j d_j^2 and dl/dp = 2 c d, d = p - t."""

    @abstractmethod
    def factor(self, k: int) -> float:
        """c for k outputs."""

    def resize(self, prediction: Array) -> None:
        Loss.resize(self, prediction)
        k, dtype = prediction.shape[1], prediction.dtype
        self._row_sums = products(dtype).row_sums
        self._d = self._buffer("d", prediction.shape, dtype)
        self._square = self._buffer("square", prediction.shape, dtype)
        self._factors = np.full(k, self.factor(k), dtype)
        self._slope_factor = np.array(2 * self.factor(k), dtype)

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        np.subtract(prediction, target, out=self._d)  # d = p - t
        np.multiply(self._d, self._d, out=self._square)
        self._row_sums(self._square, self._factors, out)  # l = c sum_j d_j^2

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        np.multiply(self._d, self._slope_factor, out=out)  # dl/dp = 2 c d

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        np.multiply(direction, self._slope_factor, out=out)  # d^2 l / dp^2 = 2 c


class MeanSquaredError(SquaredError):
    """Mean of the squared deviations: l = 1/k sum_j (p_j - t_j)^2.

    ::

        dl/dp = 2/k (p - t)

    References
    ----------
    .. [1] Goodfellow, Bengio and Courville, "Deep Learning" (2016), equation 5.4.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.MeanSquaredError()
    >>> loss.forward([[1.0, 2.0]], [[0.0, 4.0]])
    2.5
    >>> loss.backward()
    array([[ 1., -2.]])
    """

    def factor(self, k: int) -> float:
        return 1 / k


class HalfSquaredError(SquaredError):
    """The textbook's half sum of squares: l = 1/2 sum_j (p_j - t_j)^2.

    ::

        dl/dp = p - t

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), equation 5.11.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.HalfSquaredError()
    >>> loss.forward([[1.0, 2.0]], [[0.0, 4.0]])
    2.5
    >>> loss.backward()
    array([[ 1., -2.]])
    """

    def factor(self, k: int) -> float:
        return 0.5


class MeanAbsoluteError(ElementwiseLoss):
    """Mean of the absolute deviations: l = 1/k sum_j |p_j - t_j|; its minimum is the median.

    ::

        dl/dp = 1/k sign(p - t)        0 where p = t

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.MeanAbsoluteError()
    >>> loss.forward([[1.0, 2.0]], [[0.0, 4.0]])
    1.5
    >>> loss.backward()
    array([[ 0.5, -0.5]])
    """

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        d = self._buffer("d", prediction.shape, prediction.dtype)
        np.subtract(prediction, target, out=d)
        np.abs(d, out=out)  # l = |d|

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        np.sign(self._buffer("d", prediction.shape, prediction.dtype), out=out)  # dl/dp = sign d

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        out.fill(0)


class Huber(ElementwiseLoss):
    """Square near 0, absolute value far out: the mean over the outputs of::

        l = 1/2 d^2                        |d| <= delta
        l = delta (|d| - 1/2 delta)        |d| > delta           d = p - t

    With c = d clipped to [-delta, delta] both lines are l = c (d - c / 2), and::

        dl/dp = c

    Parameters
    ----------
    delta : float, default 1.0
        Where the square ends, in the target's units.

    Attributes
    ----------
    threshold : float
        The argument `delta` (`delta()` is a loss's derivative).

    Raises
    ------
    ValueError
        If `delta` is not a finite number above 0.

    References
    ----------
    .. [1] Huber, "Robust Estimation of a Location Parameter" (1964).

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.Huber(delta=1.0)
    >>> loss.forward([[0.5, 3.0]], [[0.0, 0.0]])
    1.3125
    >>> loss.backward()
    array([[0.25, 0.5 ]])
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.threshold = positive(delta, "Huber", "delta")

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        d = self._buffer("d", prediction.shape, prediction.dtype)
        c = self._buffer("c", prediction.shape, prediction.dtype)
        np.subtract(prediction, target, out=d)
        np.minimum(d, self.threshold, out=c)
        np.maximum(c, -self.threshold, out=c)
        np.multiply(c, 0.5, out=out)
        np.subtract(d, out, out=out)
        np.multiply(c, out, out=out)  # l = c (d - c / 2)

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        np.copyto(out, self._buffer("c", prediction.shape, prediction.dtype))  # dl/dp = c

    def config(self) -> dict[str, Any]:
        return {"delta": self.threshold}

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        np.subtract(prediction, target, out=out)
        np.abs(out, out=out)
        out[...] = out <= self.threshold  # d^2 l / dp^2 = 1 where |d| <= delta


class LogCosh(ElementwiseLoss):
    """Mean over the outputs of log cosh d, d = p - t: smooth, d^2 / 2 near 0 and |d| - log 2 far out.

    With m = exp(-2 |d|) - 1, which neither overflows nor cancels::

        l = |d| + log(1 + m / 2)        dl/dp = tanh d = -sign(d) m / (2 + m)

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.LogCosh()
    >>> round(loss.forward([[1.0]], [[0.0]]), 6)
    0.433781
    >>> loss.backward().round(6)
    array([[0.761594]])
    """

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        d = self._buffer("d", prediction.shape, prediction.dtype)
        m = self._buffer("m", prediction.shape, prediction.dtype)
        absolute = self._buffer("absolute", prediction.shape, prediction.dtype)
        np.subtract(prediction, target, out=d)
        np.abs(d, out=absolute)
        np.multiply(absolute, -2, out=m)
        np.expm1(m, out=m)
        np.multiply(m, 0.5, out=out)
        np.log1p(out, out=out)
        np.add(out, absolute, out=out)  # l = |d| + log(1 + m / 2)

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        d = self._buffer("d", prediction.shape, prediction.dtype)
        m = self._buffer("m", prediction.shape, prediction.dtype)
        np.add(m, 2, out=out)
        np.divide(m, out, out=out)
        np.copysign(out, d, out=out)  # dl/dp = tanh d

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        m = self._buffer("m", prediction.shape, prediction.dtype)
        np.add(m, 2, out=out)
        np.square(out, out=out)
        np.divide(m + 1, out, out=out)
        out *= 4  # d^2 l / dp^2 = 1 / cosh^2 d = 4 (m + 1) / (m + 2)^2


class Quantile(ElementwiseLoss):
    """Mean over the outputs of the tilted absolute value, whose minimum is the q-quantile::

        l = max((1 - q) d, -q d)           d = p - t
        dl/dp = 1 - q where d > 0, -q where d < 0, 0 where d = 0

    Parameters
    ----------
    q : float in (0, 1), or a sequence of them, default 0.5
        With several, column j of the prediction belongs to q[j], and the target is one column for all of them (or
        has as many columns).

    Raises
    ------
    ValueError
        If a q is not in (0, 1), or there are other than len(q) outputs for several.

    References
    ----------
    .. [1] Koenker and Bassett, "Regression Quantiles" (1978), equation 1.4.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.Quantile([0.1, 0.5, 0.9])
    >>> round(loss.forward([[1.0, 2.0, 3.0]], [2.0]), 6)
    0.066667
    >>> dn.Quantile(0.9).forward([[1.0], [3.0]], [2.0, 2.0])
    0.5
    """

    def __init__(self, q: float | Sequence[float] = 0.5) -> None:
        several = not is_number(q)
        every = np.atleast_1d(as_numbers(q, "Quantile", "q"))
        if every.ndim > 1 or every.dtype.kind != "f" or not every.size or not ((every > 0) & (every < 1)).all():
            raise ValueError(f"Quantile expects q in (0, 1), or several of them, got {q!r}.")
        self.q: float | tuple[float, ...] = tuple(every.tolist()) if several else float(every[0])

    @property
    def _every(self) -> tuple[float, ...]:
        return self.q if isinstance(self.q, tuple) else (self.q,)

    def target_width(self, n_outputs: int) -> int:
        return 1 if len(self._every) > 1 else n_outputs

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        several = len(self._every)
        array = as_numbers(target, "Quantile", "y")
        if several == 1:
            return as_target_matrix(array, n_outputs, dtype, "Quantile")
        if n_outputs != several:
            raise ValueError(
                f"Quantile expects one output for each of its {several} quantiles, got {n_outputs} outputs."
            )
        columns = several if array.ndim == 2 and array.shape[1] == several else 1
        return as_target_matrix(array, columns, dtype, "Quantile")

    def estimate(self, prediction: Array) -> Array:
        """The prediction; of several quantiles the one nearest to the median."""
        distances = [abs(q - 0.5) for q in self._every]
        if len(distances) == 1:
            return prediction
        middle = distances.index(min(distances))
        return prediction[:, middle : middle + 1]

    def resize(self, prediction: Array) -> None:
        ElementwiseLoss.resize(self, prediction)
        dtype = prediction.dtype
        self._q = np.array(self.q, dtype)
        self._not_q, self._minus_q = 1 - self._q, -self._q
        self._d = self._buffer("d", prediction.shape, dtype)
        self._side = self._buffer("side", prediction.shape, dtype)
        self._mask = self._buffer("mask", prediction.shape, np.bool_)

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        np.subtract(prediction, target, out=self._d)
        np.multiply(self._d, self._not_q, out=out)
        np.multiply(self._d, self._minus_q, out=self._side)
        np.maximum(out, self._side, out=out)  # l = max((1 - q) d, -q d)

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        np.greater(self._d, 0, out=self._mask)
        np.multiply(self._mask, self._not_q, out=out)
        np.less(self._d, 0, out=self._mask)
        np.multiply(self._mask, self._q, out=self._side)
        np.subtract(out, self._side, out=out)  # dl/dp = (1 - q) [d > 0] - q [d < 0]

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        out.fill(0)
