"""Columns of numbers and words to the network's inputs: numbers, one-hot columns and numbers of categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from densenet._types import Array
from densenet.tables import Table, TablePreparation

MOST_ONE_HOT = 9
"""Categories, what is missing or unknown among them, up to which a column becomes one-hot columns."""


MOST_ENTRIES = 1 << 22
"""One-hot entries made at a time: what is embedded needs their positions alone."""


class Layout(NamedTuple):
    """What the inputs are, from left to right: numbers, then flags and one-hot columns, then numbers of categories."""

    numbers: int
    flags: int
    sizes: tuple[int, ...] = ()

    @property
    def columns(self) -> int:
        """How many there are."""
        return self.numbers + self.flags + len(self.sizes)


class Preparation:
    """What the training rows teach about columns, and the inputs of every later row.

    `TablePreparation` finds out what the columns hold, fills in means for missing numbers, marks them, and makes
    one-hot columns; of two categories it takes the difference, -1 and 1. A column of more categories than
    `MOST_ONE_HOT` less one, which a network is to embed, becomes its category's number, from 1; what is missing or was
    never seen is 0. The network's first layer, `densenet.layers.RobustScale`, scales and clips the rest.

    Parameters
    ----------
    embeds : bool, default False
        Whether columns of many categories become numbers; otherwise all become one-hot columns.

    Attributes
    ----------
    layout : Layout

    References
    ----------
    .. [1] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data" (2024), arXiv:2407.04491, section 3.

    Examples
    --------
    >>> from densenet.tabular import Preparation
    >>> columns = {"area": [0.0, 2.0, 4.0], "city": ["Bonn", "Trier", "Bonn"]}
    >>> preparation = Preparation().fit(columns)
    >>> preparation.layout
    Layout(numbers=1, flags=1, sizes=())
    >>> preparation.transform(columns).round(2)
    array([[-1.22,  1.  ],
           [ 0.  , -1.  ],
           [ 1.22,  1.  ]], dtype=float32)
    """

    def __init__(self, embeds: bool = False) -> None:
        self.embeds = embeds

    def fit(self, columns: Any) -> Preparation:
        """Learn from the training rows: a mapping of columns, a data frame or a `Table`."""
        table = columns if isinstance(columns, Table) else Table(columns)
        target = "target"
        while target in table.columns:
            target += "_"  # the preparation wants one; what is predicted is the caller's affair
        rows = Table(table.columns | {target: np.zeros(len(table))})
        self.table = TablePreparation().fit(rows, target, task="regression")
        numbers: list[int] = []
        flags: list[int] = []
        embedded: list[range] = []
        categories, at = self.table.categories, 0
        self._pairs: list[int] = []
        for name, features in self.table.features_by_column.items():
            span = range(at, at + len(features))
            at = span.stop
            if name not in categories:
                numbers.append(span[0])
                flags += span[1:]
            elif self.embeds and len(categories[name]) + 1 > MOST_ONE_HOT:
                embedded.append(span[: len(categories[name])])
            elif len(categories[name]) == 2:
                self._pairs.append(span[0])
                flags += [span[0], *span[2:]]
            else:
                flags += span
        self._scaled, self._embedded = [*numbers, *flags], embedded
        self.layout = Layout(len(numbers), len(flags), tuple(len(span) + 1 for span in embedded))
        return self

    def transform(self, columns: Mapping[str, Any] | Any) -> Array:
        """The network's inputs, float32 (n, layout.columns)."""
        table = columns if isinstance(columns, Table) else Table(columns)
        out = np.zeros((len(table), self.layout.columns), np.float32)
        scaled, rows = len(self._scaled), max(1, MOST_ENTRIES // len(self.table.feature_names))
        for start in range(0, max(1, len(table)), rows):  # every category has a column for a moment
            block, plain = out[start : start + rows], self._plain(table.take(slice(start, start + rows)))
            block[:, :scaled] = plain[:, self._scaled]
            for j, span in enumerate(self._embedded):
                one_hot = plain[:, span.start : span.stop]
                block[:, scaled + j] = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1) + 1, 0)
        return out

    def _plain(self, columns: Table) -> Array:
        """The features of `TablePreparation`, of two categories the difference in place of the first."""
        x = self.table.transform(columns).astype(np.float64)
        for at in self._pairs:
            x[:, at] -= x[:, at + 1]
        return x
