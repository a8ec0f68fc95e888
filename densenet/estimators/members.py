"""Members of an estimator: which rows each holds out, how they are trained, what they say of the rows they held out."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from densenet._blas import one_thread
from densenet._types import Array
from densenet.estimators.data import refuse_gaps
from densenet.tabular.folds import Fold, splits


def held_out_by_members(
    cv: Any, n_members: int, y: Array, labels: Array | None, groups: Any, rng: np.random.Generator
) -> list[Fold]:
    """The rows that members train on and hold out: those of `cv`, or `tabular.splits`.

    Raises
    ------
    ValueError
        If there are fewer members than folds, or a fold is none of these rows.
    """
    if groups is not None:
        groups = np.asarray(groups)
        if groups.ndim != 1:
            raise ValueError(f"groups expects one entry for each row, got shape {groups.shape}.")
        check_consistent_length(y, groups)
        refuse_gaps(groups, "groups has no value")
    if cv is None or isinstance(cv, Integral):
        parts = splits(len(y), int(cv or n_members), rng, labels, groups)
    else:
        pairs = cv.split(np.zeros(len(y)), y, groups) if hasattr(cv, "split") else cv
        parts = [_fold_of(pair, len(y)) for pair in pairs]
        if not parts:
            raise ValueError("cv gives no fold: it expects pairs of rows to train on and rows to hold out.")
    if 1 < n_members < len(parts):
        raise ValueError(f"n_members={n_members} leaves some of the {len(parts)} folds of cv without a member.")
    return parts


def _fold_of(pair: Any, n: int) -> Fold:
    """The two parts of a fold that cv gives, as row numbers."""
    what = f"cv expects pairs (rows to train on, rows to hold out) of row numbers from 0 to {n - 1}"
    try:
        parts = [np.asarray(part) for part in pair]
    except TypeError:
        raise ValueError(f"{what}, got {pair!r}.") from None
    if len(parts) != 2:
        raise ValueError(f"{what}, got {len(parts)} parts.")
    made: list[Array] = []
    for part, name in zip(parts, ("train on", "hold out"), strict=True):
        rows = np.flatnonzero(part) if part.dtype == bool and part.shape == (n,) else part
        if rows.ndim != 1 or not len(rows):
            raise ValueError(f"{what}, got shape {part.shape} of rows to {name}.")
        if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n:
            raise ValueError(f"{what}, got {part.dtype} from {rows.min()} to {rows.max()} of rows to {name}.")
        made.append(rows)
    both = np.intersect1d(made[0], made[1])
    if len(both):
        raise ValueError(f"cv has {len(both)} rows to train on and to hold out at once, such as row {both[0]}.")
    return made[0], made[1]


def check_weights_of(parts: Sequence[Fold], weight: Array | None) -> None:
    """ValueError where all rows that a member trains on, or holds out, weigh 0."""
    if weight is not None and not all(weight[rows].any() for fold in parts for rows in fold):
        raise ValueError("the rows of a fold all weigh 0: use fewer members, or leave those rows out.")


def trained(member: Any, *arguments: Any) -> Any:
    """A member that has trained, at one BLAS thread wherever it runs, so that its bits are the same everywhere."""
    with one_thread():
        return member._train(*arguments)


def answers(members: Sequence[Any], X: Any) -> Array:
    """Every member's answers to prepared rows, (members, n, k)."""
    return np.array([member._said(X) for member in members])


def out_of_fold(parts: Sequence[Fold], said: Sequence[Array], n: int) -> Array:
    """The members' answers to the n rows: of a row, the mean over members that held it out, or NaN."""
    total, count = np.zeros((n, said[0].shape[1])), np.zeros(n)
    for (_, rows), answer in zip(parts, said, strict=True):
        total[rows] += answer
        count[rows] += 1
    with np.errstate(invalid="ignore"):
        mean: Array = total / count[:, None]
    return mean
