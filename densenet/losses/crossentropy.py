"""Losses for one class of k: what the model's distribution over the classes costs, given the true class.

From logits the link to probabilities and the logarithm are one stable function; from probabilities the logarithm is
bounded, and its derivative with it.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from densenet._blas import ANEW, IN_PLACE, ONCE, TRANSPOSED, products
from densenet._types import Array
from densenet._validation import as_labels, as_target_matrix, fraction, nonnegative
from densenet.losses.base import Loss, Output, Task
from densenet.losses.binary import SMALLEST_DIVISOR, SMALLEST_LOG, check_probabilities


class ClassLoss(Loss):
    """What losses for one class of k share: targets as class numbers (n,) or as rows of probabilities (n, k)."""

    task: ClassVar[Task] = "classification"
    label_smoothing = 0.0

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        return prepare_classes(target, n_outputs, dtype, type(self).__name__)

    def resize(self, prediction: Array) -> None:
        Loss.resize(self, prediction)
        (n, k), dtype = prediction.shape, prediction.dtype
        self._row_sums = products(dtype).row_sums
        self._p = self._buffer("p", (n, k), dtype)
        self._t = self._buffer("t", (n, k), dtype)
        self._work = self._buffer("work", (n, k), dtype)
        self._column = self._buffer("column", (n, 1), dtype)
        self._s = self._buffer("s", (n,), dtype)
        # views that every step needs, kept because making them takes time
        self._entries, self._s_column, self._pT = self._column.reshape(-1), self._s[:, None], self._p.T
        self._flat_delta = self._delta.reshape(-1)
        self._ones_k = np.ones(k, dtype)
        self._one = np.ones((), dtype)
        self._gemv = products(dtype).gemv
        self._row_starts = np.arange(0, n * k, k)
        self._positions = self._buffer("positions", (n,), np.intp)

    def _distribution(self, target: Array) -> Array:
        """Targets as rows of probabilities, smoothed."""
        t, smoothing = self._t, self.label_smoothing
        k = t.shape[1]
        if target.ndim == 1:
            t.fill(smoothing / k)
            np.add(self._row_starts, target, out=self._positions)
            t.reshape(-1)[self._positions] = 1 - smoothing + smoothing / k
            return t
        if not smoothing:
            return target
        np.multiply(target, 1 - smoothing, out=t)
        np.add(t, smoothing / k, out=t)  # t <- (1 - s) t + s / k
        return t

    def _shift(self, prediction: Array) -> None:
        """p = z - max z: the same softmax, no overflow."""
        positions, column, p = self._positions, self._column, self._p
        prediction.argmax(1, positions)  # several times faster than the maximum along rows
        np.add(positions, self._row_starts, out=positions)
        prediction.take(positions, None, self._entries, "clip")
        p[...] = column  # faster than letting the difference spread the column
        np.subtract(prediction, p, out=p)

    def _normalise(self) -> None:
        """p = exp p / s with s = sum_j exp p_j."""
        p, s, work = self._p, self._s, self._work
        np.exp(p, out=p)
        self._gemv(ONCE, self._pT, self._ones_k, ANEW, s, 0, 1, 0, 1, TRANSPOSED, IN_PLACE)
        work[...] = self._s_column  # faster than letting the quotient spread the column
        np.divide(p, work, out=p)


class SoftmaxCrossEntropy(ClassLoss):
    """Cross-entropy of classes from logits: l = -sum_j t_j log p_j, p = softmax(z).

    In the logits it is l = log(sum_j exp z_j) - sum_j t_j z_j, and the two derivatives together are simply::

        dl/dz = p - t

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0.0
        Mixes the targets with the uniform distribution: t <- (1 - s) t + s / k.

    Raises
    ------
    ValueError
        If a label is out of range, float, or the rows of a target matrix do not sum to 1.

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), equations 4.108 and 4.109.
    .. [2] Szegedy et al., "Rethinking the Inception Architecture" (2016), section 7 (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> loss = dn.SoftmaxCrossEntropy()
    >>> round(loss.forward(np.log([[0.2, 0.3, 0.5]]), [2]), 6)
    0.693147
    >>> loss.backward().round(6)
    array([[ 0.2,  0.3, -0.5]])
    """

    expects: ClassVar[Output] = "logits"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = fraction(label_smoothing, "SoftmaxCrossEntropy", "label_smoothing")

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        self._shift(prediction)
        if target.ndim == 1 and not self.label_smoothing:
            self._distributed, positions = None, self._positions
            np.add(self._row_starts, target, out=positions)
            self._p.take(positions, None, out, "clip")  # z_t
        else:
            self._distributed = t = self._distribution(target)
            np.multiply(t, self._p, out=self._work)
            self._row_sums(self._work, self._ones_k, out)  # sum_j t_j z_j
        self._normalise()
        log_s = np.log(self._s, out=self._s)
        np.subtract(log_s, out, out=out)  # l = log(sum_j exp z_j) - sum_j t_j z_j

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        if self._distributed is None:
            out[...] = self._p
            flat = self._flat_delta if out is self._delta else out.reshape(-1)
            flat[self._positions] -= self._one  # dl/dz = p - t, where t is 1 at the class
        else:
            np.subtract(self._p, self._distributed, out=out)  # dl/dz = p - t

    def probabilities(self, prediction: Array) -> Array:
        return softmax(prediction)

    def last_probabilities(self) -> Array:
        return self._p

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        np.multiply(self._p, direction, out=out)
        np.subtract(direction, out.sum(axis=1, keepdims=True), out=out)
        np.multiply(out, self._p, out=out)  # p' = p (u - sum_j p_j u_j)


class CategoricalCrossEntropy(ClassLoss):
    """Cross-entropy of classes from probabilities: l = -sum_j t_j log p_j, no logarithm below -100.

    ::

        dl/dp = -t / max(p, 1e-12)

    The rows are taken as they are, not divided by their sum. Behind a Softmax layer it works, but
    `SoftmaxCrossEntropy` on the logits is exact and faster.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0.0
        Mixes the targets with the uniform distribution: t <- (1 - s) t + s / k.

    Raises
    ------
    ValueError
        If a label is out of range, float, the rows of a target matrix do not sum to 1, or a prediction is not in
        [0, 1].

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.108.

    Examples
    --------
    >>> import densenet as dn
    >>> loss = dn.CategoricalCrossEntropy()
    >>> round(loss.forward([[0.2, 0.3, 0.5]], [2]), 6)
    0.693147
    >>> loss.backward()
    array([[-0., -0., -2.]])
    """

    expects: ClassVar[Output] = "probabilities"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = fraction(label_smoothing, "CategoricalCrossEntropy", "label_smoothing")

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        self._distributed = t = self._distribution(target)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.log(prediction, out=self._work)
        np.maximum(self._work, SMALLEST_LOG, out=self._work)
        np.multiply(t, self._work, out=self._work)
        self._row_sums(self._work, self._ones_k, out)
        np.negative(out, out=out)  # l = -sum_j t_j log p_j
        if math.isnan(self._dot(out, self._ones)):
            check_probabilities(prediction, "CategoricalCrossEntropy", "SoftmaxCrossEntropy")

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        np.maximum(prediction, SMALLEST_DIVISOR, out=out)
        np.divide(self._distributed, out, out=out)
        np.negative(out, out=out)  # dl/dp = -t / p

    def probabilities(self, prediction: Array) -> Array:
        return prediction.copy()

    def prepare_batch(self, prediction: Any, target: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        checked = Loss.prepare_batch(self, prediction, target, sample_weight)
        check_probabilities(checked[0], "CategoricalCrossEntropy", "SoftmaxCrossEntropy")
        return checked

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        np.maximum(prediction, SMALLEST_DIVISOR, out=out)
        np.square(out, out=out)
        np.divide(self._distributed, out, out=out)
        out *= prediction > SMALLEST_DIVISOR
        np.multiply(out, direction, out=out)  # d^2 l / dp^2 = t / p^2


class FocalLoss(ClassLoss):
    """Cross-entropy of classes from logits that cares less for what is right already.

    With p = softmax(z) and q = 1 - p::

        l = -sum_j t_j q_j^gamma log p_j
        g_j = t_j q_j^gamma (1 - gamma p_j log(p_j) / q_j)
        dl/dz = p sum_j g_j - g

    Parameters
    ----------
    gamma : float, default 2.0
        At least 0, which is the cross-entropy.

    Raises
    ------
    ValueError
        If gamma is below 0, a label is out of range, float, or the rows of a target matrix do not sum to 1.

    References
    ----------
    .. [1] Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> loss = dn.FocalLoss(gamma=2.0)
    >>> round(loss.forward(np.log([[0.2, 0.3, 0.5]]), [2]), 6)
    0.173287
    >>> loss.backward().round(6)
    array([[ 0.119315,  0.178972, -0.298287]])
    """

    expects: ClassVar[Output] = "logits"

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = nonnegative(gamma, "FocalLoss", "gamma")

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        p, s = self._p, self._s
        self._log_p = log_p = self._buffer("log_p", p.shape, p.dtype)
        self._q = q = self._buffer("q", p.shape, p.dtype)
        self._focused = focused = self._buffer("focused", p.shape, p.dtype)
        t = self._distribution(target)
        self._shift(prediction)
        np.copyto(log_p, p)
        self._normalise()
        np.log(s, out=s)
        np.subtract(log_p, s[:, None], out=log_p)  # log p = z - log(sum_j exp z_j)
        np.subtract(1, p, out=q)
        if self.gamma == 2:
            np.multiply(q, q, out=focused)  # much faster than the power
        else:
            np.power(q, self.gamma, out=focused)
        np.multiply(focused, t, out=focused)
        np.multiply(focused, log_p, out=self._work)
        self._row_sums(self._work, self._ones_k, out)
        np.negative(out, out=out)  # l = -sum_j t_j q_j^gamma log p_j

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        p, g, s = self._p, self._work, self._s
        np.maximum(self._q, np.finfo(out.dtype).tiny, out=g)
        np.divide(self._log_p, g, out=g)
        np.multiply(g, p, out=g)
        np.multiply(g, -self.gamma, out=g)
        np.add(g, 1, out=g)
        np.multiply(g, self._focused, out=g)  # g = t q^gamma (1 - gamma p log(p) / q)
        self._row_sums(g, self._ones_k, s)
        np.multiply(p, s[:, None], out=out)
        np.subtract(out, g, out=out)  # dl/dz = p sum_j g_j - g

    def probabilities(self, prediction: Array) -> Array:
        return softmax(prediction)

    def last_probabilities(self) -> Array:
        return self._p

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        p, g, log_p, gamma = self._p, self._work, self._log_p, self.gamma
        q = np.maximum(self._q, np.finfo(out.dtype).eps)
        p_dot = p * (direction - (p * direction).sum(axis=1, keepdims=True))
        focused = self._distribution(target) * gamma * q ** (gamma - 2)
        g_dot = focused * ((gamma - 1) * p * log_p - q * (2 + log_p)) * p_dot
        total, total_dot = g.sum(axis=1, keepdims=True), g_dot.sum(axis=1, keepdims=True)
        out[...] = p_dot * total + p * total_dot - g_dot  # (p sum_j g_j - g)'


class KLDivergence(ClassLoss):
    """Kullback-Leibler divergence of the prediction from the target, KL(t || p), from log-probabilities log p.

    ::

        l = sum_j t_j (log t_j - log p_j)        0 log 0 = 0
        dl/d(log p) = -t

    The model ends with a LogSoftmax layer. Targets are rows of probabilities; class numbers are taken too.

    Raises
    ------
    ValueError
        If a label is out of range, float, or the rows of a target matrix do not sum to 1.

    References
    ----------
    .. [1] Kullback and Leibler, "On Information and Sufficiency" (1951).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> loss = dn.KLDivergence()
    >>> round(loss.forward(np.log([[0.5, 0.5]]), [[0.25, 0.75]]), 6)
    0.130812
    >>> loss.backward()
    array([[-0.25, -0.75]])
    """

    expects: ClassVar[Output] = "log-probabilities"

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        work = self._work
        self._distributed = t = self._distribution(target)
        np.maximum(t, np.finfo(t.dtype).tiny, out=work)
        np.log(work, out=work)
        np.subtract(work, prediction, out=work)
        np.copyto(work, 0, where=np.equal(t, 0))  # 0 log 0 is 0, also where p is 0
        np.multiply(work, t, out=work)
        self._row_sums(work, self._ones_k, out)  # l = sum_j t_j (log t_j - log p_j)

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        np.negative(self._distributed, out=out)  # dl/d(log p) = -t

    def probabilities(self, prediction: Array) -> Array:
        return np.exp(prediction)

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        out.fill(0)


def softmax(z: Array) -> Array:
    """p_j = exp z_j / sum_i exp z_i of every row; fresh."""
    p: Array = z - z.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    return p


def prepare_classes(target: Any, n_outputs: int, dtype: Any, who: str) -> Array:
    """Class numbers (n,), or rows of probabilities (n, k)."""
    labels = as_labels(target, n_outputs, who)
    if labels is not None:
        return labels
    t = as_target_matrix(target, n_outputs, dtype, who)
    bad = np.flatnonzero((t < 0).any(axis=1) | (np.abs(t.sum(axis=1) - 1) > 1e-3))
    if len(bad):
        raise ValueError(
            f"{who} expects every row of y to be probabilities that sum to 1, got row {bad[0]}: {t[bad[0]]}."
        )
    return t
