"""The rows of an estimator's fit: mini-batches in scikit-learn's order, rows that are held out, columns of frames."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array

from densenet._types import Array, IntArray
from densenet.tables import Table
from densenet.tabular import Calibration
from densenet.training.data import ArrayBatches, Batch, StreamBatches


class Rows(NamedTuple):
    """Rows of a fit, in the model's dtype.

    Attributes
    ----------
    x : ndarray or CSR matrix (n, n_in)
    target : ndarray (n, ...)
        As the loss has prepared them.
    truth : ndarray (n, ...)
        As a score compares them.
    weight : ndarray (n,) or None
    """

    x: Any
    target: Array
    truth: Array
    weight: Array | None

    def __len__(self) -> int:
        n: int = self.x.shape[0]
        return n

    def take(self, rows: IntArray) -> Rows:
        """Some of them, by number."""
        weight = None if self.weight is None else self.weight[rows]
        return Rows(self.x[rows], self.target[rows], self.truth[rows], weight)


def check_rows(rows: Rows, held_out: Rows | None) -> None:
    """ValueError where there are no rows to hold out, or all that are trained on, or held out, weigh 0."""
    if held_out is not None and not len(held_out):
        raise ValueError("fit expects at least one validation row, got none.")
    for part, what in ((rows, "training row: there is nothing to learn from"), (held_out, "validation row")):
        if part is not None and part.weight is not None and not part.weight.any():
            raise ValueError(f"fit got weights of zero for every {what}.")


class SklearnBatches:
    """Mini-batches in scikit-learn's order, in which each epoch permutes the one before; x may be sparse.

    They are ready for the trainer, without the checks and fingerprints of arrays, which would take up much of a
    `partial_fit` of a few rows.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    random_state : RandomState or None, default None
        Draws the permutations; None takes the rows as they stand.
    """

    def __init__(self, rows: Rows, batch_size: int, random_state: Any = None) -> None:
        self.rows, self.batch_size, self.random_state = rows, batch_size, random_state
        self.order = np.arange(len(rows))

    def __iter__(self) -> Iterator[Batch]:
        x, target, _, weight = self.rows
        if self.random_state is not None:
            self.random_state.shuffle(self.order)
        order = None if self.random_state is None else self.order
        if isinstance(x, np.ndarray):
            yield from ArrayBatches(x, target, weight, x.dtype).epoch(self.batch_size, order)
            return
        for start in range(0, len(self.order), self.batch_size):
            part = self.order[start : start + self.batch_size]
            yield x[part], target[part], None if weight is None else weight[part]

    def stream(self) -> StreamBatches:
        """What `Trainer.fit` takes: these batches need no check."""
        return StreamBatches(self, None, None, None, "fit")


@dataclass
class HeldOut:
    """Rows that are held out, and what the estimator makes of them.

    Attributes
    ----------
    rows : Rows
    score : callable
        Gives accuracy or R^2 of outputs; NaN where they are not finite.
    calibration : callable or None
        Gives the temperature that suits these rows, and their loss with it, of outputs.
    """

    rows: Rows
    score: Callable[[Array], float]
    calibration: Callable[..., Calibration] | None

    def judge(self, outputs: Array, plain: float) -> tuple[float, float]:
        """The score of the model's outputs, and the loss that says which epoch is best, given the plain one."""
        if self.calibration is None or not np.isfinite(outputs).all():
            return self.score(outputs), plain
        return self.score(outputs), self.calibration(outputs, self.rows.target, self.rows.weight).error


def weighted(scorer: Callable[..., Any], weight: Array | None) -> Callable[[Any, Any, Any], float]:
    """A scorer that gives a float, and takes these weights along.

    Raises
    ------
    ValueError
        If there are weights, which it does not take; when it is called, if it gives no number.
    """
    known = inspect.signature(scorer).parameters
    takes = "sample_weight" in known or any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if weight is not None and not takes:
        raise ValueError(f"the rows have weights: scoring expects a function that takes sample_weight, got {scorer!r}.")

    def score(estimator: Any, X: Any, y: Any) -> float:
        made = scorer(estimator, X, y) if weight is None else scorer(estimator, X, y, sample_weight=weight)
        if not isinstance(made, Real):
            raise ValueError(f"scoring expects a function that gives a number, got {made!r} from {scorer!r}.")
        return float(made)

    return score


def split(n: int, share: float, classes: Array | None, random_state: Any) -> tuple[IntArray, IntArray]:
    """Row numbers to train on and to hold out: at least 2 of these, and one for each class kept in proportion."""
    least = 2 if classes is None else max(2, len(np.unique(classes)))
    count = max(math.ceil(share * n), least)
    if n - count < least - 1:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset "
            f"(n_samples={n})."
        )
    train, test = train_test_split(np.arange(n), random_state=random_state, test_size=count, stratify=classes)
    return train, test


def validation_of(validation_data: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> Any:
    """`validation_data`, or the same that was given one by one.

    Raises
    ------
    ValueError
        If both are given, or a part is missing.
    """
    given = [X_val is not None, y_val is not None]
    if validation_data is not None and (any(given) or sample_weight_val is not None):
        raise ValueError("fit expects validation_data or X_val and y_val, got both.")
    if any(given) != all(given) or (sample_weight_val is not None and not any(given)):
        raise ValueError("fit expects X_val and y_val together.")
    if not all(given):
        return validation_data
    return (X_val, y_val) if sample_weight_val is None else (X_val, y_val, sample_weight_val)


def columns_of(X: Any) -> dict[str, Any]:
    """The columns of a data frame, a mapping of columns, or an array (n, columns) of numbers and words."""
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        return Table(X).columns
    array = check_array(X, dtype=None, ensure_all_finite=False, estimator="a preset")
    return {f"x{i}": array[:, i] for i in range(array.shape[1])}


def labels_of(y: Any) -> Any:
    """Labels that pandas keeps in a dtype of its own, as NumPy has them: whole numbers and booleans stay what they are.

    Raises
    ------
    ValueError
        If labels are missing.
    """
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        refuse_gaps(np.asarray(y))
    if isinstance(dtype, np.dtype) or dtype is None or not hasattr(y, "isna"):
        return y
    objects = np.asarray(y, object)
    refuse_gaps(objects)
    if hasattr(dtype, "categories"):
        return labels_of(y.astype(dtype.categories.dtype))
    return objects.astype(dtype.numpy_dtype) if hasattr(dtype, "numpy_dtype") else np.asarray(y)


def refuse_gaps(values: Array, what: str = "y has no label") -> None:
    """ValueError for labels or groups that are missing, TypeError for words among other things."""
    if values.dtype.kind not in "Of" or values.ndim > 1:
        return
    if values.dtype == object:
        gaps = [row for row, value in enumerate(values) if value is None or not _equals_itself(value)]
    else:
        gaps = np.flatnonzero(np.isnan(values)).tolist()
    if gaps:
        raise ValueError(f"{what} in {len(gaps)} of {len(values)} rows, the first in row {gaps[0]}: leave them out.")
    kinds = set(map(type, values)) if values.dtype == object else set()
    words = [kind for kind in kinds if issubclass(kind, str)]
    if words and len(words) < len(kinds):
        named = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"{what.split()[0]} holds words beside other things ({named}): make words of them all.")


def _equals_itself(value: Any) -> bool:
    """Whether a value is one: NaN, NaT and pandas' NA are not equal to themselves."""
    same = value == value
    return isinstance(same, (bool, np.bool_)) and bool(same)


def refuse_masks(*arrays: Any) -> None:
    """ValueError for masked arrays, whose mask would be ignored."""
    if any(isinstance(array, np.ma.MaskedArray) for array in arrays):
        raise ValueError("got a masked array: the mask would be ignored. Fill or drop those rows.")
