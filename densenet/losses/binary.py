"""Losses for yes and no: every output is a probability of its own that the target is 1.

From logits the link to probabilities and the logarithm are one stable function; from probabilities the logarithm is
bounded, and its derivative with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import as_target_matrix, fraction, nonnegative
from densenet.losses.base import ElementwiseLoss, Output, Task

SMALLEST_LOG = -100
"""No logarithm of a probability goes below this, as in PyTorch's BCELoss."""
SMALLEST_DIVISOR = float(np.float32(1e-12))
"""Nor does a derivative divide by less than this; in PyTorch it is a float32 constant."""


class BinaryLoss(ElementwiseLoss):
    """What losses for 0/1 targets share: targets in [0, 1], smoothed towards 1/2."""

    task: ClassVar[Task] = "binary"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = fraction(label_smoothing, type(self).__name__, "label_smoothing")

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        who = type(self).__name__
        t = as_target_matrix(target, n_outputs, dtype, who)
        bad = np.argwhere((t < 0) | (t > 1))
        if len(bad):
            i, j = bad[0]
            raise ValueError(f"{who} expects targets from 0 to 1, got y[{i}, {j}] = {t[i, j]}.")
        return t

    def _smoothed(self, target: Array) -> Array:
        smoothing = self.label_smoothing
        if not smoothing:
            return target
        t = self._buffer("t", target.shape, target.dtype)
        np.multiply(target, 1 - smoothing, out=t)
        np.add(t, smoothing / 2, out=t)  # t <- (1 - s) t + s / 2
        return t


class SigmoidCrossEntropy(BinaryLoss):
    """Cross-entropy of independent yes-or-no outputs from logits, the mean over the outputs.

    With p = 1 / (1 + exp(-z))::

        l = -t log p - (1 - t) log(1 - p) = max(z, 0) - t z + log(1 + exp(-|z|))
        dl/dz = p - t

    With weights q_j of the positive class of every output, as `torch.nn.BCEWithLogitsLoss` has them::

        l = -q t log p - (1 - t) log(1 - p) = (1 - t) z + (1 + (q - 1) t) (max(-z, 0) + log(1 + exp(-|z|)))
        dl/dz = (1 - t) p - q t (1 - p)

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0.0
        Mixes the targets with 1/2: t <- (1 - s) t + s / 2.
    pos_weight : float or sequence of float, optional
        q, one for all outputs or one each.

    Raises
    ------
    ValueError
        If a target is not in [0, 1], a weight negative or not finite, or their number not that of the outputs.

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), equations 4.90 and 4.91.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.SigmoidCrossEntropy()
    >>> round(loss.forward([[0.0], [2.0]], [0, 1]), 6)
    0.410038
    >>> loss.backward().round(6)
    array([[ 0.25    ],
           [-0.059601]])
    """

    expects: ClassVar[Output] = "logits"

    def __init__(self, *, label_smoothing: float = 0.0, pos_weight: float | Sequence[float] | None = None) -> None:
        BinaryLoss.__init__(self, label_smoothing=label_smoothing)
        who, weights = type(self).__name__, pos_weight
        self.pos_weight: float | tuple[float, ...] | None
        if weights is None or isinstance(weights, (int, float, np.number)):
            self.pos_weight = None if weights is None else nonnegative(weights, who, "pos_weight")
        else:
            self.pos_weight = tuple(nonnegative(w, who, f"pos_weight[{j}]") for j, w in enumerate(weights))

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        if isinstance(self.pos_weight, tuple) and len(self.pos_weight) != n_outputs:
            raise ValueError(
                f"{type(self).__name__} expects pos_weight for each of {n_outputs} outputs, got {len(self.pos_weight)}."
            )
        return BinaryLoss.prepare(self, target, n_outputs, dtype)

    def resize(self, prediction: Array) -> None:
        ElementwiseLoss.resize(self, prediction)
        if self.pos_weight is not None:
            self._q = np.asarray(self.pos_weight, prediction.dtype)
        shape, dtype = prediction.shape, prediction.dtype
        self._e = self._buffer("e", shape, dtype)
        self._p = self._buffer("p", shape, dtype)
        self._zero, self._one = np.zeros((), dtype), np.ones((), dtype)

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        z, e, p = prediction, self._e, self._p
        self._smooth = t = self._smoothed(target)
        np.multiply(t, z, out=p)
        np.maximum(z, self._zero, out=out)
        np.subtract(out, p, out=out)
        np.abs(z, out=e)
        np.negative(e, out=e)
        np.exp(e, out=e)
        np.log1p(e, out=p)
        np.add(out, p, out=out)  # l = max(z, 0) - t z + log(1 + exp(-|z|))
        np.greater_equal(z, self._zero, out=p)
        np.maximum(p, e, out=p)
        np.add(e, self._one, out=e)
        np.divide(p, e, out=p)  # p = (1 or exp z) / (1 + exp(-|z|))
        if self.pos_weight is not None:
            self._weigh(z, t, out)

    def _weigh(self, z: Array, t: Array, out: Array) -> None:
        """Add what the weights add: (q - 1) t (-log p), with -log p = max(-z, 0) + log(1 + exp(-|z|))."""
        surprise = np.log1p(np.exp(-np.abs(z))) - np.minimum(z, self._zero)
        out += (self._q - self._one) * t * surprise

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        np.subtract(self._p, self._smooth, out=out)  # dl/dz = p - t
        if self.pos_weight is not None:
            out -= (self._q - self._one) * self._smooth * (self._one - self._p)  # ... - (q - 1) t (1 - p)

    def probabilities(self, prediction: Array) -> Array:
        return sigmoid(prediction)

    def last_probabilities(self) -> Array:
        return self._p

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        np.subtract(1, self._p, out=out)
        np.multiply(out, self._p, out=out)  # d^2 l / dz^2 = p (1 - p)


class BinaryCrossEntropy(BinaryLoss):
    """Cross-entropy of independent yes-or-no outputs from probabilities, the mean over the outputs.

    ::

        l = -t log p - (1 - t) log(1 - p)        no logarithm below -100
        dl/dp = (p - t) / max(p (1 - p), 1e-12)

    Behind a Sigmoid layer it works, but `SigmoidCrossEntropy` on the logits is exact and faster.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0.0
        Mixes the targets with 1/2: t <- (1 - s) t + s / 2.

    Raises
    ------
    ValueError
        If a target or a prediction is not in [0, 1].

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.90.
    .. [2] PyTorch, documentation of ``torch.nn.BCELoss`` (the bound of -100).

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.BinaryCrossEntropy()
    >>> round(loss.forward([[0.5], [0.8]], [0, 1]), 6)
    0.458145
    >>> loss.backward()
    array([[ 1.   ],
           [-0.625]])
    """

    expects: ClassVar[Output] = "probabilities"

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        ElementwiseLoss.values(self, prediction, target, out)
        if math.isnan(self._dot(out, self._ones)):
            check_probabilities(prediction, "BinaryCrossEntropy", "SigmoidCrossEntropy")

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        not_p = self._buffer("not_p", prediction.shape, prediction.dtype)
        not_t = self._buffer("not_t", prediction.shape, prediction.dtype)
        t = self._smoothed(target)
        np.negative(prediction, out=not_p)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.log(prediction, out=out)
            np.log1p(not_p, out=not_p)
        np.maximum(out, SMALLEST_LOG, out=out)
        np.maximum(not_p, SMALLEST_LOG, out=not_p)
        np.multiply(t, out, out=out)
        np.subtract(t, 1, out=not_t)
        np.multiply(not_t, not_p, out=not_p)
        np.subtract(not_p, out, out=out)  # l = (t - 1) log(1 - p) - t log p

    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        variance = self._buffer("not_p", prediction.shape, prediction.dtype)
        np.subtract(1, prediction, out=variance)
        np.multiply(variance, prediction, out=variance)
        np.maximum(variance, SMALLEST_DIVISOR, out=variance)
        np.subtract(prediction, self._smoothed(target), out=out)
        np.divide(out, variance, out=out)  # dl/dp = (p - t) / (p (1 - p))

    def probabilities(self, prediction: Array) -> Array:
        return prediction.copy()

    def prepare_batch(self, prediction: Any, target: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        checked = ElementwiseLoss.prepare_batch(self, prediction, target, sample_weight)
        check_probabilities(checked[0], "BinaryCrossEntropy", "SigmoidCrossEntropy")
        return checked

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        p, d = prediction, prediction - self._smoothed(target)
        v = np.maximum(p * (1 - p), SMALLEST_DIVISOR)
        v_dot = (1 - 2 * p) * (v > SMALLEST_DIVISOR)
        out[...] = (1 - d * v_dot / v) / v  # ((p - t) / v)' = (1 - (p - t) v' / v) / v, v = p (1 - p)


def sigmoid(z: Array) -> Array:
    """p = 1 / (1 + exp(-z)); fresh."""
    e = np.exp(-np.abs(z))
    p: Array = np.maximum(z >= 0, e) / (1 + e)
    return p


def check_probabilities(p: Array, who: str, for_logits: str) -> None:
    """ValueError naming the first entry that is not in [0, 1] (NaN is for others to find)."""
    bad = np.argwhere((p < 0) | (p > 1))
    if len(bad):
        i, j = bad[0]
        raise ValueError(
            f"{who} expects probabilities from 0 to 1, got prediction[{i}, {j}] = {p[i, j]}: "
            f"for logits there is {for_logits}."
        )
