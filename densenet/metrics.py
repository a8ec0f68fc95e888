"""Figures that say how good a model is, gathered batch by batch over a whole set.

A loss is what training makes small; a metric is what people read. Metrics of classes get probabilities through the
loss's link, so that accuracy means the same on logits and on probabilities; metrics of numbers get the loss's estimate
of the target.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from densenet._config import Configured
from densenet._names import Names
from densenet._types import Array
from densenet._validation import positive_int

Floats = NDArray[np.float64]


class Metric(Configured, ABC):
    """A figure of a whole set: `reset`, then `update` for every batch, then `result`.

    A metric of your own names itself and keeps its sums; `merge` is for runs on several processes::

        class Bias(dn.Metric):                                     # mean of p - t
            name, wants_probabilities, higher_is_better = "bias", False, False

            def reset(self):
                self.sum = self.total = 0.0

            def update(self, prediction, target, weight=None):
                w = np.ones(len(target)) if weight is None else weight
                self.sum += float(w @ (prediction - target).mean(axis=1))
                self.total += float(w.sum())

            def merge(self, other):
                self.sum += other.sum
                self.total += other.total

            def result(self):
                return self.sum / self.total
    """

    name: str
    """Its key in the history."""
    wants_probabilities: ClassVar[bool] = True
    """Whether `update` gets probabilities, through the loss's link, or estimates of the target."""
    higher_is_better: ClassVar[bool] = True
    """What early stopping and the like aim at."""
    task: Literal["regression", "classification", "binary"] | None = None
    """The loss's: "binary" says that the columns of a matrix are yes-or-no answers of their own, not one class of k."""

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget all batches."""

    @abstractmethod
    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        """Take a batch in.

        Parameters
        ----------
        prediction : ndarray (n, k)
            Probabilities, or estimates of the target.
        target : ndarray (n,) or (n, k)
            As the loss prepares it: class numbers (n,), or a matrix.
        weight : ndarray (n,), optional
            At least 0.
        """

    @abstractmethod
    def result(self) -> float:
        """The figure of all batches since `reset`; NaN where it is not defined, as without any batch."""

    def merge(self, other: Metric) -> None:
        """Take in what another metric of this kind and task has gathered, as if its batches had come here.

        Parameters
        ----------
        other : Metric
            It is not written.

        Raises
        ------
        TypeError
            If the metric has none.
        """
        raise TypeError(f"{type(self).__name__} has no merge(other): a run on several processes needs it.")

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered since `reset`, for checkpoints in the middle of an epoch."""
        arguments = inspect.signature(type(self)).parameters
        return {name: value for name, value in vars(self).items() if name not in arguments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""
        vars(self).update(state)

    def _matrices(self, prediction: Any, target: Any) -> tuple[Array, Array]:
        """The prediction as (n, k), and a target of as many rows."""
        p, t = np.asarray(prediction), np.asarray(target)
        if p.ndim == 1:
            p = p[:, None]
        if p.ndim != 2 or t.ndim not in (1, 2) or len(t) != len(p) or (t.ndim == 2 and t.shape[1] != p.shape[1]):
            raise ValueError(
                f"{type(self).__name__} expects prediction (n, k) and target (n,) or (n, k), "
                f"got {p.shape} and {t.shape}."
            )
        return p, t

    def _answers(self, p: Array, t: Array) -> tuple[Array, Array]:
        """What is predicted and what is true: class numbers (n,), or for yes-or-no columns booleans (n, k)."""
        if p.shape[1] == 1 or self.task == "binary":
            return p > 0.5, t.reshape(p.shape) > 0.5
        return p.argmax(axis=1), t if t.ndim == 1 else t.argmax(axis=1)


# -- shares of right answers ---------------------------------------------------------------------------------------


class _ShareOfRight(Metric):
    """sum(w right) / sum(w)."""

    def reset(self) -> None:
        self._right = self._total = 0.0

    def merge(self, other: Metric) -> None:
        kept = other.state_dict()
        self._right += kept["_right"]
        self._total += kept["_total"]

    def _add(self, right: Array, weight: Array | None) -> None:
        """Take in what is right, (n,), or (n, k) of which each column counts 1/k."""
        n = len(right)
        if weight is None:
            self._right += int(np.count_nonzero(right)) * n / right.size
            self._total += n
        else:
            share = right.mean(axis=1) if right.ndim == 2 else right
            self._right += float(np.add.reduce(weight * share))
            self._total += float(np.add.reduce(weight))

    def result(self) -> float:
        return self._right / self._total if self._total else math.nan


class Accuracy(_ShareOfRight):
    """Share of right answers: sum(w [predicted = true]) / sum(w).

    The predicted class is the most probable one (of equals the first); with one column, class 1 where p > 1/2; with
    columns that are yes-or-no answers of their own (`task`), every entry is an answer.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> accuracy = dn.Accuracy()
    >>> accuracy.update(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    >>> accuracy.result()
    0.5
    """

    name = "accuracy"

    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        predicted, true = self._answers(*self._matrices(prediction, target))
        self._add(predicted == true, weight)


class TopKAccuracy(_ShareOfRight):
    """Share of samples whose true class is among the k most probable ones; of equals the first count.

    Parameters
    ----------
    k : int, default 5
        At least 1, which is the accuracy.

    Raises
    ------
    ValueError
        If k is not a whole number of at least 1; by `update`, for yes-or-no columns.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> top = dn.TopKAccuracy(k=2)
    >>> top.update(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([1, 0]))
    >>> top.name, top.result()
    ('top_2_accuracy', 0.5)
    """

    def __init__(self, k: int = 5) -> None:
        self.k = positive_int(k, "TopKAccuracy", "k")
        self.name = f"top_{self.k}_accuracy"
        self.reset()

    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        p, t = self._matrices(prediction, target)
        if p.shape[1] == 1 or self.task == "binary":
            raise ValueError(f"TopKAccuracy expects probabilities of several classes, got yes-or-no columns {p.shape}.")
        true = self._answers(p, t)[1]
        top = np.argsort(-p, axis=1, kind="stable")[:, : self.k]
        self._add((top == true[:, None]).any(axis=1), weight)


# -- precision, recall, F1 -----------------------------------------------------------------------------------------


class _OfCounts(Metric):
    """What is computed from three counts of every class: right, predicted, and true ones.

    With one column or two classes it is the figure of class 1. With more classes it is the mean over the classes that
    occur, and for yes-or-no columns the mean over the columns.
    """

    def reset(self) -> None:
        self._counts: Floats | None = None
        self._columns = False

    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        p, t = self._matrices(prediction, target)
        predicted, true = self._answers(p, t)
        k = p.shape[1]
        self._columns = predicted.ndim == 2
        if self._columns:
            w = np.ones(len(p)) if weight is None else weight.astype(np.float64)
            counts = np.array([(w[:, None] * answer).sum(axis=0) for answer in (predicted & true, predicted, true)])
        else:
            right = predicted == true
            rows = [(true, right if weight is None else right * weight), (predicted, weight), (true, weight)]
            counts = np.array([np.bincount(classes, w, k) for classes, w in rows], np.float64)
        self._counts = counts if self._counts is None else self._counts + counts

    def merge(self, other: Metric) -> None:
        kept = other.state_dict()
        if kept["_counts"] is not None:
            self._counts = kept["_counts"] if self._counts is None else self._counts + kept["_counts"]
            self._columns = kept["_columns"]

    def result(self) -> float:
        if self._counts is None or not self._counts.any():
            return math.nan if self._counts is None else 0.0
        right, predicted, true = self._counts
        scores = self.scores(right, predicted, true)
        if self._columns:
            return float(scores.mean())
        return float(scores[1]) if len(scores) == 2 else float(scores[predicted + true > 0].mean())

    @abstractmethod
    def scores(self, right: Floats, predicted: Floats, true: Floats) -> Floats:
        """The figure of every class (k,) from how often it was predicted rightly, predicted, and true."""


def _ratio(a: Floats, b: Floats) -> Floats:
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


class Precision(_OfCounts):
    """Share of the predicted ones that are true, of the whole set: right / predicted; 0 where none is predicted.

    Of class 1 for two classes, else the mean over the classes that occur; for yes-or-no columns over the columns.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> precision = dn.Precision()
    >>> precision.update(np.array([0.9, 0.8, 0.3]), np.array([1, 0, 1]))
    >>> precision.result()
    0.5
    """

    name = "precision"

    def scores(self, right: Floats, predicted: Floats, true: Floats) -> Floats:
        return _ratio(right, predicted)


class Recall(_OfCounts):
    """Share of the true ones that are predicted, of the whole set: right / true; 0 where none is true.

    Of class 1 for two classes, else the mean over the classes that occur; for yes-or-no columns over the columns.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> recall = dn.Recall()
    >>> recall.update(np.array([0.9, 0.8, 0.3, 0.7]), np.array([1, 0, 1, 0]))
    >>> recall.result()
    0.5
    """

    name = "recall"

    def scores(self, right: Floats, predicted: Floats, true: Floats) -> Floats:
        return _ratio(right, true)


class F1(_OfCounts):
    """Harmonic mean of precision and recall, of the whole set: 2 right / (predicted + true).

    Of class 1 for two classes, else the mean over the classes that occur; for yes-or-no columns over the columns.

    References
    ----------
    .. [1] van Rijsbergen, "Information Retrieval" (1979), chapter 7.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> f1 = dn.F1()
    >>> f1.update(np.array([0.9, 0.8, 0.3, 0.7]), np.array([1, 0, 1, 0]))
    >>> f1.result()
    0.4
    """

    name = "f1"

    def scores(self, right: Floats, predicted: Floats, true: Floats) -> Floats:
        return _ratio(2 * right, predicted + true)


class ROCAUC(Metric):
    """Area under the receiver operating characteristic: the probability that a positive scores above a negative.

    With equal scores counting one half::

        AUC = sum_(i positive, j negative) w_i w_j ([p_i > p_j] + 1/2 [p_i = p_j]) / sum_(i, j) w_i w_j

    It is exact over the whole set, whose probabilities are kept until `reset`. With several classes it is the mean
    over them of one against the rest, with yes-or-no columns the mean over the columns; those without both positives
    and negatives are left out.

    References
    ----------
    .. [1] Hanley and McNeil, "The Meaning and Use of the Area under a Receiver Operating Characteristic Curve" (1982).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> auc = dn.ROCAUC()
    >>> auc.update(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    >>> auc.result()
    0.75
    """

    name = "roc_auc"

    def reset(self) -> None:
        self._kept: list[tuple[Array, Array, Floats]] = []

    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        p, t = self._matrices(prediction, target)
        true = self._answers(p, t)[1]
        w = np.ones(len(p)) if weight is None else np.array(weight, np.float64)
        self._kept.append((p.copy(), true.copy(), w))

    def merge(self, other: Metric) -> None:
        self._kept.extend(other.state_dict()["_kept"])

    def state_dict(self) -> dict[str, Any]:
        if len(self._kept) > 1:
            p, true, w = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
            self._kept = [(p, true, w)]
        return Metric.state_dict(self)

    def result(self) -> float:
        if not self._kept:
            return math.nan
        p, true, w = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        if true.ndim == 2:
            areas = [_area(p[:, j], true[:, j], w) for j in range(p.shape[1])]
        elif p.shape[1] == 2:
            areas = [_area(p[:, 1], true == 1, w)]
        else:
            areas = [_area(p[:, j], true == j, w) for j in range(p.shape[1])]
        defined = [area for area in areas if not math.isnan(area)]
        return sum(defined) / len(defined) if defined else math.nan


def _area(score: Array, positive: NDArray[np.bool_], w: Floats) -> float:
    order = np.argsort(score)
    score, positive, w = score[order], positive[order], w[order]
    groups = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))  # equal scores are one group
    above = np.add.reduceat(w * positive, groups)
    below = np.add.reduceat(w * ~positive, groups)
    pairs = float(above.sum() * below.sum())
    return float(above @ (np.cumsum(below) - below / 2)) / pairs if pairs else math.nan


# -- numbers -------------------------------------------------------------------------------------------------------


class _OfDeviations(Metric):
    """What is computed from the deviations of an estimate from the target."""

    wants_probabilities = False

    def _deviations(self, prediction: Any, target: Any, weight: Array | None) -> tuple[Floats, Floats, Floats]:
        """The deviations p - t and the target, (n, k), and the weights as a column."""
        p, t = self._matrices(prediction, target)
        if t.ndim == 1:
            t = t[:, None]
        if t.shape != p.shape:
            raise ValueError(
                f"{type(self).__name__} expects a target for every output, "
                f"got prediction {p.shape} and target {t.shape}."
            )
        t = t.astype(np.float64)
        return p - t, t, np.ones((len(p), 1)) if weight is None else np.array(weight, np.float64)[:, None]


class R2(_OfDeviations):
    """Coefficient of determination, the mean over the outputs of::

        R2 = 1 - sum(w (p - t)^2) / sum(w (t - mean t)^2)

    An output whose target is constant counts 1 where the prediction is exact, else 0. Of a single row it is nan.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> r2 = dn.R2()
    >>> r2.update(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    >>> r2.result()
    0.5
    """

    name = "r2"

    def reset(self) -> None:
        self._total, self._rows = 0.0, 0
        self._origin: Floats | None = None
        self._mean = self._scatter = self._residual = np.zeros(0)

    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        d, t, w = self._deviations(prediction, target, weight)
        total = float(w.sum())
        if not total:
            return
        self._rows += int(np.count_nonzero(w))
        if self._origin is None:
            self._origin = t[0]  # sums about a value of the data: a constant target has a variance of exactly 0
            self._mean, self._scatter, self._residual = np.zeros((3, t.shape[1]))
        u = t - self._origin
        mean = (w * u).sum(axis=0) / total
        self._add(total, mean, (w * (u - mean) ** 2).sum(axis=0), (w * d**2).sum(axis=0))

    def _add(self, total: float, mean: Floats, scatter: Floats, residual: Floats) -> None:
        """Take in a group of rows: their weight, the mean and scatter of their targets, their squared deviations."""
        step, both = mean - self._mean, self._total + total
        self._scatter += scatter + step**2 * (self._total * total / both)
        self._mean += step * (total / both)
        self._residual += residual
        self._total = both

    def merge(self, other: Metric) -> None:
        kept = other.state_dict()
        if kept["_origin"] is None:
            return
        if self._origin is None:
            self._origin = kept["_origin"]
            self._mean, self._scatter, self._residual = np.zeros((3, len(kept["_origin"])))
        self._rows += kept["_rows"]
        mean = kept["_mean"] + (kept["_origin"] - self._origin)
        self._add(kept["_total"], mean, kept["_scatter"], kept["_residual"])

    def result(self) -> float:
        if self._origin is None or self._rows < 2:
            return math.nan
        varies = self._scatter > 0
        unexplained = np.divide(self._residual, self._scatter, out=np.zeros_like(self._scatter), where=varies)
        return float(np.where(varies, 1 - unexplained, self._residual == 0).mean())


class _MeanOfDeviations(_OfDeviations):
    higher_is_better = False

    def reset(self) -> None:
        self._sum = self._total = 0.0

    def update(self, prediction: Array, target: Array, weight: Array | None = None) -> None:
        d, _, w = self._deviations(prediction, target, weight)
        self._sum += float((w * self.cost(d)).sum()) / d.shape[1]
        self._total += float(w.sum())

    def merge(self, other: Metric) -> None:
        kept = other.state_dict()
        self._sum += kept["_sum"]
        self._total += kept["_total"]

    @abstractmethod
    def cost(self, d: Floats) -> Floats:
        """What every deviation counts."""

    def result(self) -> float:
        return self._sum / self._total if self._total else math.nan


class MAE(_MeanOfDeviations):
    """Mean absolute error: the mean over outputs and samples of |p - t|, in the target's units.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> mae = dn.MAE()
    >>> mae.update(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    >>> mae.result()
    1.5
    """

    name = "mae"

    def cost(self, d: Floats) -> Floats:
        return np.abs(d)


class RMSE(_MeanOfDeviations):
    """Root of the mean over outputs and samples of (p - t)^2, in the target's units.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> rmse = dn.RMSE()
    >>> rmse.update(np.array([[1.0, 2.0]]), np.array([[2.0, 9.0]]))
    >>> rmse.result()
    5.0
    """

    name = "rmse"

    def cost(self, d: Floats) -> Floats:
        return d**2

    def result(self) -> float:
        return math.sqrt(_MeanOfDeviations.result(self))


# -- by name -------------------------------------------------------------------------------------------------------

NAMES = Names(
    Metric,
    [Accuracy, TopKAccuracy, Precision, Recall, F1, ROCAUC, R2, MAE, RMSE],
    {
        "acc": Accuracy,
        "top_k_accuracy": TopKAccuracy,
        "top_5_accuracy": TopKAccuracy,
        "f1_score": F1,
        "roc_auc": ROCAUC,
        "auc": ROCAUC,
        "r2_score": R2,
        "mean_absolute_error": MAE,
        "root_mean_squared_error": RMSE,
    },
)
"""The string shorthands."""


def get(value: Any) -> Metric:
    """A metric from its name, its class, or itself.

    Parameters
    ----------
    value : str, Metric class or Metric

    Returns
    -------
    Metric

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    TypeError
        If it is none of the three.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.metrics.get("auc")
    ROCAUC()
    """
    return NAMES.choose(value, "metrics.get")  # type: ignore[no-any-return]
