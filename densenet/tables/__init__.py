"""Tables as people keep them, columns of numbers and of words with gaps, turned into the matrix that a network takes.

A `Table` is columns by name. A `TablePreparation` learns from the training rows what it takes to make numbers of them
(means, scales, the words that occur) and does the same to every later table, so that a model and its preparation
together answer in the user's own units. It is kept as plain data beside the model.

A file goes through four steps, each with one question: `files` (which rows and cells does it hold? with `packed`,
`encodings`, `scripts`, `records` and `header`), `cells` and `columns` (what do they mean? with `numbers` and `dates`),
`suspicions` (which columns name rows, or give the target away?), `preparation` (what does the network see? with
`summary`, `learning`, `inputs`, `target` and `states`).
"""

from __future__ import annotations

from densenet.tables.columns import dropped_target, named_columns, named_target, read_columns
from densenet.tables.files import Cells, is_parquet, read_cells
from densenet.tables.learning import Task
from densenet.tables.messages import TableError, bare_name, counted, listed, nearest, shown_cell
from densenet.tables.numbers import parse_numbers
from densenet.tables.preparation import TablePreparation
from densenet.tables.records import Skip
from densenet.tables.table import Reading, Table

__all__ = [
    "Cells",
    "Reading",
    "Skip",
    "Table",
    "TableError",
    "TablePreparation",
    "Task",
    "bare_name",
    "counted",
    "dropped_target",
    "is_parquet",
    "listed",
    "named_columns",
    "named_target",
    "nearest",
    "parse_numbers",
    "read_cells",
    "read_columns",
    "shown_cell",
]
