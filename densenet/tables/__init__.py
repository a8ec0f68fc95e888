"""Tables as people keep them, columns of numbers and of words with gaps, turned into the matrix that a network takes.

A `Table` is columns by name. A `TablePreparation` learns from the training rows what it takes to make numbers of them
(means, scales, the words that occur) and does the same to every later table, so that a model and its preparation
together answer in the user's own units. It is kept as plain data beside the model.

A file goes through four modules, each with one question: `files` (which rows and cells does it hold?), `cells` and
`columns` (what do they mean?), `suspicions` (which columns name rows, or give the target away?), `preparation` (what
does the network see?).
"""

from __future__ import annotations

from densenet.tables.cells import parse_numbers
from densenet.tables.columns import named_columns, read_columns
from densenet.tables.files import Cells, is_parquet, read_cells
from densenet.tables.messages import TableError, listed, shown_cell
from densenet.tables.preparation import TablePreparation, Task
from densenet.tables.table import Reading, Table

__all__ = [
    "Cells",
    "Reading",
    "Table",
    "TableError",
    "TablePreparation",
    "Task",
    "is_parquet",
    "listed",
    "named_columns",
    "parse_numbers",
    "read_cells",
    "read_columns",
    "shown_cell",
]
