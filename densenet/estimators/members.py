"""Members of an estimator: which rows each holds out, how they are trained, what they say of the rows they held out."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from densenet._blas import one_thread
from densenet._types import Array
from densenet.tabular.folds import Fold, splits


def held_out_by_members(
    cv: Any, n_members: int, y: Array, labels: Array | None, groups: Any, rng: np.random.Generator
) -> list[Fold]:
    """The rows that members train on and hold out: those of `cv`, or `tabular.splits`.

    Raises
    ------
    ValueError
        If there are fewer members than folds.
    """
    if groups is not None:
        groups = np.asarray(groups)
        check_consistent_length(y, groups)
    if cv is None or isinstance(cv, Integral):
        parts = splits(len(y), int(cv or n_members), rng, labels, groups)
    else:
        pairs = cv.split(np.zeros(len(y)), y, groups) if hasattr(cv, "split") else cv
        parts = [(np.asarray(train), np.asarray(test)) for train, test in pairs]
    if 1 < n_members < len(parts):
        raise ValueError(f"n_members={n_members} leaves some of the {len(parts)} folds of cv without a member.")
    return parts


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
