"""Which rows each member of an ensemble holds out, and the intervals that follow from its errors on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densenet._types import Array
from densenet._validation import is_number

FEWEST_ROWS = 60
"""Below, and where classes are too rare, members hold out random fifths instead of folds."""
FEWEST_FOR_INTERVALS = 50
"""Below, residuals are too few for an interval."""

Fold = tuple[Array, Array]
"""Row numbers to train on and to hold out."""


def folds(
    n: int, k: int, rng: np.random.Generator, labels: Array | None = None, groups: Array | None = None
) -> list[Fold]:
    """k folds: every row is held out once, in shuffled order.

    With `labels`, classes are spread evenly over the folds; no fold holds out rows of a class of fewer than k,
    so that every training part has every class. With `groups`, rows of one group stay together, and the largest groups
    go first to the fold that has fewest rows.

    Parameters
    ----------
    n : int
        Rows.
    k : int
    rng : Generator
    labels, groups : ndarray (n,), optional

    Raises
    ------
    ValueError
        If k is not 2 to n, or there are fewer groups than folds.

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.tabular import folds
    >>> made = folds(6, 3, np.random.default_rng(0), labels=np.array([0, 0, 0, 1, 1, 1]))
    >>> [sorted(np.array([0, 0, 0, 1, 1, 1])[held_out].tolist()) for _, held_out in made]
    [[0, 1], [0, 1], [0, 1]]
    """
    if not 2 <= k <= n:
        raise ValueError(f"folds expects 2 to {n} folds of {n} rows, got {k}.")
    number = np.full(n, -1)
    if groups is not None:
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if len(sizes) < k:
            raise ValueError(f"folds expects at least as many groups as folds, {k}, got {len(sizes)}.")
        filled, fold_of = np.zeros(k), np.empty(len(sizes), np.intp)
        shuffled = rng.permutation(len(sizes))
        for g in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
            fold_of[g] = filled.argmin()
            filled[fold_of[g]] += sizes[g]
        number = fold_of[group]
    else:
        kinds = [np.arange(n)] if labels is None else [np.flatnonzero(labels == c) for c in np.unique(labels)]
        start = 0
        for rows in kinds:
            if labels is None or len(rows) >= k:
                number[rng.permutation(rows)] = (start + np.arange(len(rows))) % k
                start += len(rows)
    return [(np.flatnonzero(number != j), np.flatnonzero(number == j)) for j in range(k)]


def splits(
    n: int, k: int, rng: np.random.Generator, labels: Array | None = None, groups: Array | None = None
) -> list[Fold]:
    """What k members hold out: `folds`, or `random_fifths` where folds say little.

    That is with one member, below 60 rows, where a class has a single row, and where most rows are of classes of fewer
    than k rows, which no fold holds out. Groups are always held out by folds.

    Parameters
    ----------
    n, k, rng, labels, groups
        As in `folds`; k may be 1.

    Raises
    ------
    ValueError
        If there is a single row, or as in `folds`.
    """
    if n < 2:
        raise ValueError(f"splits expects at least 2 rows, one to train on and one to hold out, got {n}.")
    if groups is None and (k == 1 or n < FEWEST_ROWS or (labels is not None and _too_rare(labels, k))):
        return random_fifths(n, k, rng, labels)
    return folds(n, k, rng, labels, groups)


def _too_rare(labels: Array, k: int) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.min() < 2 or 2 * counts[counts >= k].sum() < len(labels))


def random_fifths(n: int, k: int, rng: np.random.Generator, labels: Array | None = None) -> list[Fold]:
    """k random splits, each of which holds a fifth of the rows out; of every class at least one row is trained on."""
    made = []
    for _ in range(k):
        order = rng.permutation(n)
        if labels is not None:
            _, first = np.unique(labels[order], return_index=True)
            order = np.concatenate([np.delete(order, first), order[first]])  # one row of each class goes last
        count = max(1, min(n // 5, n - (0 if labels is None else len(first))))
        made.append((np.sort(order[count:]), np.sort(order[:count])))
    return made


def intervals(predictions: Array, residuals: Sequence[Array], coverage: float = 0.9) -> tuple[Array, Array]:
    """CV+ intervals: with mu_k the prediction without fold k, and R_i = |y_i - mu_k(i)(x_i)|::

        low  = the floor((1 - coverage)(n + 1))-th smallest of mu_k(i)(x) - R_i
        high = the ceil(coverage (n + 1))-th smallest of mu_k(i)(x) + R_i

    They hold for at least 2 coverage - 1 of new rows whatever the distribution, and in practice for about `coverage`.

    Parameters
    ----------
    predictions : ndarray (folds, rows)
        mu_k of new rows.
    residuals : sequence of ndarray
        R_i of the rows that each fold held out.
    coverage : float in (0, 1), default 0.9

    Returns
    -------
    low, high : ndarray (rows,)

    Raises
    ------
    ValueError
        If `coverage` is out of range, or there are fewer than 50 residuals.

    References
    ----------
    .. [1] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+" (2021), Annals of
       Statistics 49(1), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.tabular import intervals
    >>> low, high = intervals(np.array([[10.0], [10.0]]), [np.arange(50) / 100, np.arange(50) / 100])
    >>> low, high
    (array([9.55]), array([10.45]))
    """
    n = sum(len(part) for part in residuals)
    if not is_number(coverage) or not 0 < coverage < 1:
        raise ValueError(f"intervals expects coverage between 0 and 1, got {coverage!r}.")
    if n < FEWEST_FOR_INTERVALS:
        raise ValueError(f"intervals expects at least {FEWEST_FOR_INTERVALS} residuals, got {n}.")
    of_row = np.repeat(np.arange(len(residuals)), [len(part) for part in residuals])
    spread = np.concatenate(residuals)
    tail = (1 - coverage) * (n + 1)
    at = min(max(int(np.floor(tail + 1e-9)) - 1, 0), n - 1)
    rows = predictions.shape[1]
    low, high, step = np.empty(rows), np.empty(rows), max(1, 2_000_000 // n)
    for start in range(0, rows, step):
        part = predictions[:, start : start + step].T[:, of_row]
        low[start : start + step] = np.partition(part - spread, at, axis=1)[:, at]
        high[start : start + step] = np.partition(part + spread, n - 1 - at, axis=1)[:, n - 1 - at]
    return low, high
