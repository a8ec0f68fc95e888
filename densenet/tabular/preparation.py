"""Columns of numbers and words to the network's inputs: numbers, one-hot columns and numbers of categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from densenet._types import Array
from densenet.tables import Table, TablePreparation

MOST_ONE_HOT = 9
"""Categories, what is missing or unknown among them, up to which a column becomes one-hot columns."""
MOST_ENTRIES = 1 << 22
"""One-hot entries made at a time: what is embedded needs their positions alone."""


class Block(NamedTuple):
    """Inputs that stand side by side and go the same way.

    Attributes
    ----------
    kind : {"numbers", "scaled", "categories", "one-hot"}
        Numbers that are scaled and embedded; numbers and flags that are scaled; numbers of categories, which become
        vectors; the one-hot columns of one column, whose categories become vectors.
    width : int
        How many there are.
    sizes : tuple of int
        Of "categories", how many each column has.
    """

    kind: str
    width: int
    sizes: tuple[int, ...] = ()


Layout: TypeAlias = tuple[Block, ...]
"""What the inputs are, from left to right."""


def layout_of(preparation: TablePreparation, embeds: bool) -> Layout:
    """How `TablePreparation` lays columns out; with `embeds`, numbers and columns of many categories are embedded.

    Examples
    --------
    >>> from densenet.tables import TablePreparation
    >>> from densenet.tabular import layout_of
    >>> rows = {"area": [50, None, 80], "city": ["Bonn", "Trier", "Bonn"], "rent": [600.5, 700, 1100]}
    >>> layout_of(TablePreparation().fit(rows, "rent"), embeds=True)
    (Block(kind='numbers', width=1, sizes=()), Block(kind='scaled', width=3, sizes=()))
    """
    blocks: list[Block] = []
    for name, features in preparation.features_by_column.items():
        categories = preparation.categories.get(name)
        if categories is None:
            _add(blocks, "numbers" if embeds else "scaled", 1)
            _add(blocks, "scaled", len(features) - 1)
        elif embeds and is_embedded(categories):
            blocks.append(Block("one-hot", len(features)))
        else:
            _add(blocks, "scaled", len(features))
    return tuple(blocks)


def is_embedded(categories: Sequence[str]) -> bool:
    """Whether a column has so many categories that each gets a vector."""
    return len(categories) + 1 > MOST_ONE_HOT


def _add(blocks: list[Block], kind: str, width: int) -> None:
    """Append so many inputs, to the last block where it is of their kind."""
    if width and blocks and blocks[-1].kind == kind:
        blocks[-1] = Block(kind, blocks[-1].width + width)
    elif width:
        blocks.append(Block(kind, width))


class Preparation:
    """Learns columns from training rows, and turns rows into the network's inputs.

    `TablePreparation` finds out what the columns hold, fills in means for missing numbers, marks them, and makes
    one-hot columns; of two categories it takes the difference, -1 and 1. A column of more categories than
    `MOST_ONE_HOT` less one, which a network is to embed, becomes its category's number, from 1; what is missing or was
    never seen is 0. The network's first layer, `densenet.layers.RobustScale`, scales and clips the rest.

    Parameters
    ----------
    embeds : bool, default False
        Whether the network embeds: then columns of many categories become numbers; otherwise all become one-hot
        columns.

    Attributes
    ----------
    layout : Layout
    elapsed : list of int
        Which inputs are elapsed time.

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
    (Block(kind='scaled', width=2, sizes=()),)
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
            target += "_"  # TablePreparation needs a target column; this one is all zeros
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
            elif self.embeds and is_embedded(categories[name]):
                embedded.append(span[: len(categories[name])])
            elif len(categories[name]) == 2:
                self._pairs.append(span[0])
                flags += [span[0], *span[2:]]
            else:
                flags += span
        self._scaled, self._embedded = [*numbers, *flags], embedded
        self.elapsed = [numbers.index(at) for at in self.table.elapsed_features]
        blocks: list[Block] = []
        _add(blocks, "numbers" if self.embeds else "scaled", len(numbers))
        _add(blocks, "scaled", len(flags))
        if embedded:
            blocks.append(Block("categories", len(embedded), tuple(len(span) + 1 for span in embedded)))
        self.layout = tuple(blocks)
        return self

    def transform(self, columns: Mapping[str, Any] | Any) -> Array:
        """The network's inputs, float32 (n, columns of the layout)."""
        table = columns if isinstance(columns, Table) else Table(columns)
        out = np.zeros((len(table), sum(block.width for block in self.layout)), np.float32)
        scaled, rows = len(self._scaled), max(1, MOST_ENTRIES // len(self.table.feature_names))
        for start in range(0, max(1, len(table)), rows):  # in blocks: the one-hot columns are temporary
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
