"""What a loss is: one number for a batch, its derivative by the prediction, and its link to probabilities.

A loss gives every sample a value l_i. A batch's error is their weighted mean, E = sum(w_i l_i) / sum(w_i), and the
delta that starts the backward pass is dE/dprediction = w_i / sum(w) dl_i/dprediction. The 1/n of the mean is taken
here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from densenet._blas import products
from densenet._config import Configured
from densenet._memory import Buffers, without_caches
from densenet._types import Array, IntArray
from densenet._validation import as_matrix, as_target_matrix, as_weights

Task: TypeAlias = Literal["regression", "classification", "binary"]
Output: TypeAlias = Literal["values", "logits", "probabilities", "log-probabilities"]


class Loss(Configured, ABC):
    """Error of a batch, its delta, and its link to probabilities.

    A loss of your own gives two methods, `values` and `slopes`; the base class applies the weights and the mean::

        class Quartic(dn.Loss):                                    # l = sum_j (p_j - t_j)^4
            def values(self, prediction, target, out):
                np.sum((prediction - target) ** 4, axis=1, out=out)

            def slopes(self, prediction, target, out):
                out[...] = 4 * (prediction - target) ** 3          # dl/dp = 4 (p - t)^3
    """

    task: ClassVar[Task] = "regression"
    """What targets are: numbers, one class of k a row, or 0/1 in every column."""
    expects: ClassVar[Output] = "values"
    """What the model's last layer has to give."""

    _shape: tuple[int, ...] = ()
    _rows = 0
    _l: Array
    _delta: Array
    _weight: Array | None = None
    _total = 0.0
    _prediction: Any = None
    _target: Array

    # -- what each loss defines --------------------------------------------------------------------------------

    @abstractmethod
    def values(self, prediction: Array, target: Array, out: Array) -> None:
        """out[i] = l_i.

        Parameters
        ----------
        prediction : ndarray (n, k)
        target : ndarray
            As `prepare` gives it.
        out : ndarray (n,)
        """

    @abstractmethod
    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        """out[i, j] = dl_i / dprediction[i, j], right after `values` for the same arrays."""

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        """How the slopes move along a direction u: out[i, j] = sum_m d^2 l_i / dp_ij dp_im u_im, right after `slopes`.

        Parameters
        ----------
        prediction, target
            As in `slopes`.
        direction, out : ndarray (n, k)

        Raises
        ------
        TypeError
            If the loss has none.
        """
        raise TypeError(
            f"{type(self).__name__} has no slopes_along(prediction, target, direction, out): Hessian products need it."
        )

    def prepare(self, target: Any, n_outputs: int, dtype: Any) -> Array:
        """Targets as the loop gathers them: checked once, in the model's dtype.

        Raises
        ------
        ValueError, TypeError
            If the targets are not of the kind or width that this loss takes.
        """
        return as_target_matrix(target, n_outputs, dtype, type(self).__name__)

    def probabilities(self, prediction: Array) -> Array:
        """Probabilities from what the model gives: a fresh array (n, k).

        Raises
        ------
        TypeError
            By a loss that has no link to probabilities.
        """
        raise TypeError(
            f"{type(self).__name__} has no link to probabilities: SoftmaxCrossEntropy and SigmoidCrossEntropy have one."
        )

    def estimate(self, prediction: Array) -> Array:
        """What the prediction says the target is, in the target's units: a view or a fresh array (n, target columns).

        The prediction itself, unless the model gives parameters of a distribution. Metrics of regression compare
        it with the target.
        """
        return prediction

    def target_width(self, n_outputs: int) -> int:
        """Columns of the target for `n_outputs` columns of the prediction."""
        return n_outputs

    # -- classes -----------------------------------------------------------------------------------------------

    def classes(self, prediction: Array) -> IntArray:
        """Classes from what the model gives.

        Parameters
        ----------
        prediction : ndarray (n, k)

        Returns
        -------
        ndarray of int
            (n,) the most probable class; for 0/1 outputs whether p > 1/2: (n,) for one column, (n, k) for more.

        Raises
        ------
        TypeError
            By a loss that is not for classes.
        """
        if self.task == "classification":
            most: IntArray = prediction.argmax(axis=1)
            return most
        if self.task == "binary":
            return self._above(self.probabilities(prediction), 0.5)
        raise TypeError(f"{type(self).__name__} is a loss for numbers: its predictions have no classes.")

    def labels(self, target: Array) -> IntArray:
        """Class numbers (n,) of prepared targets; the most probable class where they are probabilities.

        Raises
        ------
        TypeError
            By a loss that is not for classes, and for several 0/1 columns.
        """
        if self.task == "classification":
            return target if target.ndim == 1 else target.argmax(axis=1)
        if self.task == "binary" and target.shape[1] == 1:
            return self._above(target, 0.5)
        raise TypeError(
            f"{type(self).__name__} has no class number for a row of {target.shape[1]} "
            f"{'0/1 columns' if self.task == 'binary' else 'numbers'}."
        )

    @staticmethod
    def _above(values: Array, threshold: float) -> IntArray:
        above = (values > threshold).astype(np.intp)
        return above[:, 0] if above.shape[1] == 1 else above

    # -- the batch ---------------------------------------------------------------------------------------------

    def error(self, prediction: Array, target: Array, weight: Array | None = None) -> float:
        """E = sum(w l) / sum(w) of arrays that have been prepared; 0 where all weights are 0."""
        if prediction is not self._prediction:
            if prediction.shape != self._shape or prediction.dtype is not self._l.dtype:
                self.resize(prediction)
            self._prediction = prediction
        self._target, self._weight = target, weight
        self.values(prediction, target, self._l)
        if weight is None:
            self._total = float(self._rows)
            return self._dot(self._l, self._ones) / self._total  # E = 1/n sum l
        self._total = self._dot(weight, self._ones)
        return self._dot(weight, self._l) / self._total if self._total else 0.0  # E = sum(w l) / sum(w)

    def delta(self) -> Array:
        """dE/dprediction of the last `error`, in a working buffer."""
        delta, weight = self._delta, self._weight
        self.slopes(self._prediction, self._target, delta)
        if weight is None:
            np.multiply(delta, self._one_nth, out=delta)  # dE/dp = 1/n dl/dp
        else:
            shares = self._shares_of_rows
            np.divide(weight, self._total or 1.0, out=self._share_of_row)
            np.copyto(shares, self._share_of_row[:, None])  # faster than letting the product spread the column
            np.multiply(delta, shares, out=delta)  # dE/dp = w / sum(w) dl/dp
        return delta

    @property
    def total_weight(self) -> float:
        """sum(w) of the last `error`; n without weights."""
        return self._total

    def last_probabilities(self) -> Array:
        """Probabilities of the last `error`, possibly in a working buffer: what metrics of classes see."""
        return self._prediction if self.expects == "probabilities" else self.probabilities(self._prediction)

    def last_prediction(self) -> Array:
        """The `estimate` of the last `error`, possibly in a working buffer: what metrics of regression see."""
        return self.estimate(self._prediction)

    def resize(self, prediction: Array) -> None:
        """Make what depends on the shape and dtype of the prediction; `error` calls it when they change."""
        rows, dtype = len(prediction), prediction.dtype
        self._shape, self._rows = prediction.shape, rows
        self._dot = products(dtype).dot
        self._l = self._buffer("l", (rows,), dtype)
        self._ones = self._buffer("ones", (rows,), dtype)
        self._ones[...] = 1
        self._one_nth = np.array(1.0 / rows, dtype)
        self._delta = self._buffer("delta", prediction.shape, dtype)
        self._share_of_row = self._buffer("share_of_row", (rows,), dtype)
        self._shares_of_rows = self._buffer("shares_of_rows", prediction.shape, dtype)

    # -- by hand -----------------------------------------------------------------------------------------------

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        """The error of a batch.

        Parameters
        ----------
        prediction : array_like (n, k)
            What the model gives.
        target : array_like
            (n, k), or (n,) where k is 1, or class numbers where the loss takes them.
        sample_weight : array_like (n,), optional
            Weights of at least 0.

        Returns
        -------
        float
            sum(w l) / sum(w).

        Raises
        ------
        ValueError, TypeError
            If shapes or values are not what this loss takes.
        """
        prediction, target, weight = self.prepare_batch(prediction, target, sample_weight)
        return self.error(prediction, target, weight)

    def backward(self) -> Array:
        """dE/dprediction of the last `forward`: a fresh array (n, k).

        Raises
        ------
        RuntimeError
            Without a `forward` before it.
        """
        if not self._rows:
            raise RuntimeError(f"{type(self).__name__}.backward needs forward(prediction, target) before it.")
        return self.delta().copy()

    def per_sample(self, prediction: Any, target: Any) -> Array:
        """l_i of every sample: a fresh array (n,)."""
        prediction, target, _ = self.prepare_batch(prediction, target, None)
        self.error(prediction, target)
        return self._l.copy()

    def prepare_batch(self, prediction: Any, target: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        """What `error` takes, from what people pass: fresh arrays of one dtype, checked."""
        who = f"{type(self).__name__}.forward"
        p = as_matrix(prediction, None, None, who, name="prediction", copy=True)
        t = self.prepare(target, p.shape[1], p.dtype)
        if len(t) != len(p):
            raise ValueError(f"{who} expects as many targets as predictions, got {len(t)} and {len(p)}.")
        return p, t.copy(), as_weights(sample_weight, len(p), p.dtype, who)

    # -- the same for all --------------------------------------------------------------------------------------

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        buffers: Buffers | None = self.__dict__.get("_buffers")
        if buffers is None:
            buffers = self._buffers = Buffers()
        return buffers(name, shape, dtype)

    def __getstate__(self) -> dict[str, Any]:
        return without_caches(self.__dict__)


class ElementwiseLoss(Loss):
    """A loss that treats every entry alike: l_i is the mean over j of l(p_ij, t_ij).

    A loss of your own gives `value` and `slope`::

        class Quartic(dn.ElementwiseLoss):
            def value(self, prediction, target, out):
                out[...] = (prediction - target) ** 4

            def slope(self, prediction, target, out):
                out[...] = 4 * (prediction - target) ** 3
    """

    sums_outputs: ClassVar[bool] = False
    """Whether l_i is the sum over the outputs instead of their mean."""

    @abstractmethod
    def value(self, prediction: Array, target: Array, out: Array) -> None:
        """out = l(prediction, target), entry by entry, all (n, k)."""

    @abstractmethod
    def slope(self, prediction: Array, target: Array, out: Array) -> None:
        """out = dl/dprediction, entry by entry, all (n, k)."""

    def curvature(self, prediction: Array, target: Array, out: Array) -> None:
        """out = d^2 l / dprediction^2, entry by entry, all (n, k), right after `slope`: what Hessian products need.

        Raises
        ------
        TypeError
            If the loss has none.
        """
        raise TypeError(f"{type(self).__name__} has no curvature(prediction, target, out): Hessian products need it.")

    def values(self, prediction: Array, target: Array, out: Array) -> None:
        self.value(prediction, target, self._each)
        self._row_sums(self._each, self._shares, out)  # l_i = 1/k sum_j l_ij

    def slopes(self, prediction: Array, target: Array, out: Array) -> None:
        self.slope(prediction, target, out)
        if self._one_kth is not None:
            np.multiply(out, self._one_kth, out=out)

    def resize(self, prediction: Array) -> None:
        Loss.resize(self, prediction)
        k, dtype = prediction.shape[1], prediction.dtype
        self._row_sums = products(dtype).row_sums
        self._each = self._buffer("each", prediction.shape, dtype)
        share = 1.0 if self.sums_outputs else 1 / k
        self._shares = np.full(k, share, dtype)
        self._one_kth = None if share == 1 else np.array(share, dtype)

    def slopes_along(self, prediction: Array, target: Array, direction: Array, out: Array) -> None:
        self.curvature(prediction, target, out)
        np.multiply(out, direction, out=out)
        if self._one_kth is not None:
            np.multiply(out, self._one_kth, out=out)
