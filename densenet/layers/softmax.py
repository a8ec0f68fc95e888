"""Functions of a row: every output depends on all entries of its row, since probabilities have to sum to 1.

A slope an entry is not enough here. The derivative of a row is a matrix, and what `backward` writes is that matrix
times delta without ever making it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet.layers.base import Layer
from densenet.losses.base import Output


class _RowFunction(Layer):
    """What both share: the largest entry of a row is taken out before e^x, so that no exponent is above 0."""

    mixes: ClassVar[bool] = True

    def _resize(self, x: Array) -> None:
        self._check_input(x)
        self._shape = self._out_shape = x.shape
        self._y = self._buffer("y", x.shape, x.dtype)
        self._w = self._buffer("w", x.shape, x.dtype)
        self._s = self._buffer("s", (len(x), 1), x.dtype)
        self._ones = self._buffer("ones", (x.shape[1],), x.dtype)
        self._ones[...] = 1
        self._row_sums = products(x.dtype).row_sums

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape or x.dtype != self._y.dtype:
            self._resize(x)
        self._values(x, self._y, self._w, self._s, self._ones)
        return self._y

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y = np.empty(x.shape, x.dtype) if out is None else out
        self._values(x, y, np.empty_like(y), np.empty((len(x), 1), x.dtype), np.ones(x.shape[1], x.dtype))
        return y

    @staticmethod
    @abstractmethod
    def _values(x: Array, y: Array, w: Array, s: Array, ones: Array) -> None:
        """Write Y, and the probabilities into w where Y is something else; s is a column, `ones` has x's columns."""


def _below_largest(x: Array, s: Array, out: Array) -> None:
    np.maximum.reduce(x, axis=1, keepdims=True, out=s)
    with np.errstate(over="ignore"):  # two entries of a row may be further apart than the largest float
        np.subtract(x, s, out=out)  # z_j - max_k z_k


class Softmax(_RowFunction):
    """Every row as probabilities: y_j = e^(x_j) / sum_k e^(x_k).

    With d = dE/dy the chain rule gives, row by row::

        dE/dx_j = y_j (d_j - sum_k d_k y_k)

    Before `SoftmaxCrossEntropy` it is out of place: that loss takes the logits and makes the probabilities itself.

    References
    ----------
    .. [1] Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Softmax().infer(np.array([[0.0, 1.0, 1.0]])).round(4)
    array([[0.1554, 0.4223, 0.4223]])
    """

    gives: Output = "probabilities"

    @staticmethod
    def _values(x: Array, y: Array, w: Array, s: Array, ones: Array) -> None:
        _below_largest(x, s, y)
        np.exp(y, out=y)
        products(x.dtype).row_sums(y, ones, s[:, 0])
        y /= s  # y_j = e^(x_j) / sum_k e^(x_k)

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        np.multiply(delta, self._y, out=self._w)
        self._row_sums(self._w, self._ones, self._s[:, 0])  # s = sum_k d_k y_k
        delta -= self._s
        delta *= self._y  # dE/dx_j = y_j (d_j - s)
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        y = self._y
        y_dot: Array = y * (x_dot - (y * x_dot).sum(axis=1, keepdims=True))  # y_j' = y_j (x_j' - sum_k y_k x_k')
        self._y_dot = y_dot
        return y_dot

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        y, y_dot = self._y, self._y_dot
        inner = delta - (delta * y).sum(axis=1, keepdims=True)
        inner_dot = delta_dot - (delta_dot * y + delta * y_dot).sum(axis=1, keepdims=True)
        return y * inner, y_dot * inner + y * inner_dot  # (y (d - s))' = y' (d - s) + y (d' - s')


class LogSoftmax(_RowFunction):
    """The logarithms of a row's probabilities: y_j = x_j - log sum_k e^(x_k).

    With d = dE/dy the chain rule gives, row by row::

        dE/dx_j = d_j - p_j sum_k d_k        p_j = e^(y_j)

    References
    ----------
    .. [1] Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.LogSoftmax().infer(np.array([[0.0, 1.0, 1.0]])).round(4)
    array([[-1.862, -0.862, -0.862]])
    """

    gives: Output = "log-probabilities"

    @staticmethod
    def _values(x: Array, y: Array, w: Array, s: Array, ones: Array) -> None:
        _below_largest(x, s, y)
        np.maximum(y, np.finfo(y.dtype).min, out=y)
        np.exp(y, out=w)
        products(x.dtype).row_sums(w, ones, s[:, 0])
        w /= s  # p_j = e^(x_j) / sum_k e^(x_k)
        np.log(s, out=s)
        y -= s  # y_j = x_j - log sum_k e^(x_k)

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        sp = self._buffer("sp", delta.shape, delta.dtype)
        self._row_sums(delta, self._ones, self._s[:, 0])  # s = sum_k d_k
        np.multiply(self._s, self._w, out=sp)
        delta -= sp  # dE/dx_j = d_j - s p_j
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        y_dot: Array = x_dot - (self._w * x_dot).sum(axis=1, keepdims=True)  # y_j' = x_j' - sum_k p_k x_k'
        self._p_dot = self._w * y_dot
        return y_dot

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        s, s_dot = delta.sum(axis=1, keepdims=True), delta_dot.sum(axis=1, keepdims=True)
        p = self._w
        return delta - s * p, delta_dot - s_dot * p - s * self._p_dot  # (d - s p)' = d' - s' p - s p'
