"""Losses for the side of a boundary: the model gives a score, the target a sign, and a margin of 1 costs nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from densenet._types import Array, IntArray
from densenet._validation import as_target_matrix
from densenet.losses.base import ElementwiseLoss, Task


class MarginLoss(ElementwiseLoss):
    """What the hinges share: targets -1 and 1, and the missing margin m = max(0, 1 - t p)."""

    task: ClassVar[Task] = "binary"

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        who = type(self).__name__
        t = as_target_matrix(target, n_outputs, dtype, who)
        zero = t == 0
        bad = np.argwhere(~(zero | (np.abs(t) == 1)))
        if len(bad):
            i, j = bad[0]
            raise ValueError(f"{who} expects targets of -1 and 1, or of 0 and 1, got y[{i}, {j}] = {t[i, j]}.")
        if zero.any() and (t == -1).any():
            raise ValueError(f"{who} expects targets of -1 and 1, or of 0 and 1, got both -1 and 0.")
        return np.where(zero, np.array(-1, t.dtype), t)

    def classes(self, prediction: Array) -> IntArray:
        return self._above(prediction, 0)

    def last_probabilities(self) -> Array:
        """The prediction squeezed into (0, 1), 1/2 where it is 0: an order for metrics of classes, no probabilities."""
        p: Array = self._prediction
        return np.asarray((p / (1 + np.abs(p)) + 1) / 2)

    def _missing(self, prediction: Array, target: Array) -> Array:
        """m = max(0, 1 - t p), kept for the slope."""
        m = self._buffer("m", prediction.shape, prediction.dtype)
        np.multiply(target, prediction, out=m)
        np.subtract(1, m, out=m)
        return np.maximum(m, 0, out=m)


class Hinge(MarginLoss):
    """Mean over the outputs of the missing margin::

        l = max(0, 1 - t p)        dl/dp = -t where t p < 1, else 0

    Targets are -1 and 1; 0 and 1 are converted.

    Raises
    ------
    ValueError
        If a target is none of them.

    References
    ----------
    .. [1] Cortes and Vapnik, "Support-Vector Networks" (1995), equations 12 and 13.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.Hinge()
    >>> loss.forward([[0.5], [2.0]], [0, 1])
    0.75
    >>> loss.backward()
    array([[0.5],
           [0. ]])
    """

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        np.copyto(out, self._missing(prediction, target))

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        missing = self._buffer("missing", prediction.shape, np.bool_)
        np.greater(self._buffer("m", prediction.shape, prediction.dtype), 0, out=missing)
        np.multiply(missing, target, out=out)
        np.subtract(0, out, out=out)  # dl/dp = -t [m > 0]

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        out.fill(0)


class SquaredHinge(MarginLoss):
    """Mean over the outputs of the squared missing margin::

        l = max(0, 1 - t p)^2        dl/dp = -2 t max(0, 1 - t p)

    Targets are -1 and 1; 0 and 1 are converted.

    Raises
    ------
    ValueError
        If a target is none of them.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.SquaredHinge()
    >>> loss.forward([[0.5], [0.5]], [0, 1])
    1.25
    >>> loss.backward()
    array([[ 1.5],
           [-0.5]])
    """

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        m = self._missing(prediction, target)
        np.multiply(m, m, out=out)  # l = m^2

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        np.multiply(self._buffer("m", prediction.shape, prediction.dtype), target, out=out)
        np.multiply(out, -2, out=out)  # dl/dp = -2 t m

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        out[...] = self._buffer("m", prediction.shape, prediction.dtype) > 0
        out *= 2  # d^2 l / dp^2 = 2 [m > 0]
