"""Columns that say nothing about later rows, and columns that give the target away.

What names rows is left out by the command, which says so; a leak is only reported, since a rule this good may be true.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet.tables.messages import shown_cell
from densenet.tables.preparation import TablePreparation
from densenet.tables.table import Table, is_absent, is_date, is_numeric

_FEWEST_ROWS = 8
_NAMES = frozenset(("id", "uuid", "guid", "index", "row", "rownames"))
_NAMELESS = re.compile(r"Unnamed: \d+|column 1")
_SPLIT_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LEAK = 0.99
_BINS = 64
_MOST_COLUMNS = 2000


def names_of_rows(table: Table, keep: Collection[str] = ()) -> dict[str, str]:
    """The columns that name rows rather than describe them, and why: text with all values different, whole numbers that
    run by 1 in file order, all-different whole numbers named id, uuid, index or row. None are found where no other
    column is left.

    Parameters
    ----------
    table : Table
    keep : collection of str, default ()
        Columns to use anyway. The target is never found.

    Examples
    --------
    >>> from densenet.tables import Table
    >>> from densenet.tables.suspicions import names_of_rows
    >>> names_of_rows(Table({"n": range(5, 15), "size": [3.5] * 10, "user_id": [7, 3, 9, 1, 4, 8, 2, 6, 5, 0]}))
    {'n': 'runs by 1 from row to row', 'user_id': 'is a different whole number in every row, as its name says'}
    """
    found = {}
    for name, values in table.columns.items():
        if name == table.target or name in keep or len(table) < _FEWEST_ROWS:
            continue
        if "mark" in table.reading.columns.get(name, {}):  # what has a unit describes
            continue
        if (reason := _names_rows(name, values)) is not None:
            found[name] = reason
    return found if len(found) < len(table.columns) - (table.target is not None) else {}


def _names_rows(name: str, values: Array) -> str | None:
    if is_date(values):
        return None
    if not is_numeric(values):
        texts = [text for text in values.tolist() if text is not None]
        different = len(texts) == len(values) and len(set(texts)) == len(texts)
        return "has another text in every row" if different else None
    if np.isnan(values).any() or (values != np.floor(values)).any():
        return None
    if (np.diff(values) == 1).all():
        return "runs by 1 from row to row"
    parts = [part.lower() for part in _SPLIT_NAME.findall(name)]
    named = _NAMELESS.fullmatch(name) or (parts and parts[-1] in _NAMES)
    if named and len(np.unique(values)) == len(values):
        return "is a different whole number in every row, as its name says"
    return None


@dataclass(frozen=True)
class Leak:
    """A column whose rule alone answers the held-out rows, and how well the other columns do."""

    column: str
    score: float
    rest: float
    figure: str

    def __str__(self) -> str:
        return (
            f"{shown_cell(self.column)} alone predicts the held-out rows with {self.figure} {self.score:.3f}, "
            f"the other columns with {self.rest:.3f}: if it is not known before the target is, drop it"
        )


def leaks(table: Table, preparation: TablePreparation, training: Array, held_out: Array) -> list[Leak]:
    """Columns by which a rule learned on the training rows scores .99 on held-out rows, where the rest does not.

    The rule is the commonest class (the mean) of the training rows in the same category or in the same of 64 bins of
    equal counts, or a straight line. The rest are all other columns in one linear model. The score is the accuracy, or
    R2.

    Parameters
    ----------
    table : Table
    preparation : TablePreparation
        Fitted on the training rows.
    training, held_out : ndarray of int
        Row numbers.
    """
    names = preparation.input_columns
    if len(held_out) < 10 or not 2 <= len(names) <= _MOST_COLUMNS:
        return []
    x = preparation.transform(table).astype(np.float64)
    y = _indicators(preparation, table)
    if _score(np.broadcast_to(y[training].mean(axis=0), y[held_out].shape), y[held_out]) >= _LEAK:
        return []
    starts = np.cumsum([0, *(len(features) for features in preparation.features_by_column.values())])
    found: dict[str, float] = {}
    suspects: set[int] = set()
    for name, start, stop in zip(names, starts[:-1], starts[1:], strict=True):
        score = max(
            _score(_binned(table[name], y, training, held_out), y[held_out]),
            _score(_linear(x[:, start:stop], y, training, held_out), y[held_out]),
        )
        if score >= _LEAK:
            found[name] = score
            suspects.update(range(start, stop))
    rest = [k for k in range(x.shape[1]) if k not in suspects]
    if not found or not rest:
        return []
    other = _score(_linear(x[:, rest], y, training, held_out), y[held_out])
    figure = "R2" if preparation.task == "regression" else "accuracy"
    return [] if other >= _LEAK else [Leak(name, score, other, figure) for name, score in found.items()]


def _indicators(preparation: TablePreparation, table: Table) -> NDArray[np.float64]:
    """Targets as columns: standardised values, or 1 for the row's class."""
    t = preparation.transform_target(table)
    classes = preparation.classes
    return t[:, None].astype(np.float64) if classes is None else np.eye(len(classes))[t]


def _score(predicted: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    if actual.shape[1] > 1:
        return float(np.mean(predicted.argmax(axis=1) == actual.argmax(axis=1)))
    spread = float(np.sum((actual - actual.mean()) ** 2))
    return 1 - float(np.sum((actual - predicted) ** 2)) / spread if spread > 0 else 0.0


def _binned(values: Array, y: NDArray[np.float64], training: Array, held_out: Array) -> NDArray[np.float64]:
    """The mean of the training targets in the row's category or bin; of all where the bin is new."""
    if is_numeric(values) or is_date(values):
        numbers = values.astype("datetime64[s]").astype(np.float64) if is_date(values) else values
        absent = is_absent(values)
        present = numbers[training][~absent[training]]
        if not len(present):
            return np.broadcast_to(y[training].mean(axis=0), (len(held_out), y.shape[1]))
        edges = np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)[1:-1]))
        codes = np.where(absent, len(edges) + 1, np.searchsorted(edges, np.where(absent, 0.0, numbers)))
    else:
        number: dict[str | None, int] = {}
        codes = np.array([number.setdefault(text, len(number)) for text in values.tolist()], np.intp)
    sums = np.zeros((int(codes.max()) + 1, y.shape[1]))
    counts = np.bincount(codes[training], minlength=len(sums))[:, None]
    np.add.at(sums, codes[training], y[training])
    means = np.where(counts > 0, sums / np.maximum(counts, 1), y[training].mean(axis=0))
    return np.asarray(means[codes[held_out]])


def _linear(x: NDArray[np.float64], y: NDArray[np.float64], training: Array, held_out: Array) -> NDArray[np.float64]:
    """Least squares with a little decay: (A^T A + 1e-6 n I) w = A^T y."""
    a = np.column_stack([np.ones(len(x)), x])
    part = a[training]
    gram = part.T @ part + 1e-6 * len(part) * np.eye(a.shape[1])
    return np.asarray(a[held_out] @ np.linalg.solve(gram, part.T @ y[training]))
