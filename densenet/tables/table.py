"""A table: columns of numbers, text and dates by name, from mappings, files and data frames."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal as DecimalNumber
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet.tables.frames import as_word, frame_columns
from densenet.tables.messages import listed
from densenet.tables.numbers import Decimal


@dataclass(frozen=True)
class Reading:
    """How a file's columns were read, where that is not plain: what makes a later file mean the same.

    Attributes
    ----------
    columns : dict of str to dict
        By name: ``kind`` ("number", "text" or "date") and, where they matter, ``decimal``, ``mark``, ``forced``,
        ``dayfirst``.
    decimal : {".", ","} or None
        What the file shows of its decimal sign.
    header : bool
        Whether it has a header line.
    """

    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    decimal: Decimal | None = None
    header: bool = True

    def state(self) -> dict[str, Any]:
        """Plain data, as a file keeps it."""
        plain: dict[str, Any] = {"columns": {name: dict(how) for name, how in self.columns.items()}}
        return plain | ({"decimal": self.decimal} if self.decimal else {}) | ({} if self.header else {"header": False})


class Table:
    """Columns of equal length by name: numbers (float64, NaN where missing), text (str objects, None where missing) or
    dates (datetime64[s], NaT where missing).

    Parameters
    ----------
    data : mapping of str to array-like (n,), or data frame
        Numbers of any width become float64. Booleans become the text ``"True"`` and ``"False"``, as CSV files have
        them. A column of objects is numeric if everything in it is a number, else text. None, NaN and a data frame's
        own marks are missing values; words such as "NA" are words here (`densenet.datasets.read_csv` knows them).
    target : str, optional
        The column to be predicted.

    Attributes
    ----------
    columns : dict of str to ndarray (n,)
        float64 or object, in the order given.
    target : str or None

    Raises
    ------
    TypeError
        If `data` is neither mapping nor data frame, or a column holds durations, complex numbers or bytes.
    ValueError
        If there is no column or no row, two columns have one name, lengths differ, a column is not one-dimensional or
        masked, a number is infinite, or there is no column `target`.

    Examples
    --------
    >>> from densenet.tables import Table
    >>> table = Table({"area": [50, None, 80], "city": ["Bonn", "Trier", None], "rent": [600, 700, 990]}, target="rent")
    >>> table
    Table(3 rows: area numeric, city text, rent numeric; target 'rent')
    >>> table["area"]
    array([50., nan, 80.])
    >>> table.take([0, 2])["city"].tolist()
    ['Bonn', None]
    """

    def __init__(self, data: Any, target: str | None = None) -> None:
        columns = data if isinstance(data, Mapping) else frame_columns(data)
        if columns is None:
            raise TypeError(f"Table expects a mapping of columns or a data frame, got {type(data).__name__}.")
        labels = list(columns)
        names = [str(label) for label in labels]
        if not names:
            raise ValueError("Table expects at least one column, got none.")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"Table expects every column to have a name of its own, got twice: {listed(twice)}.")
        self.columns: dict[str, Array] = {
            name: _as_column(name, columns[label]) for name, label in zip(names, labels, strict=True)
        }
        rows = len(self)
        for name, column in self.columns.items():
            if len(column) != rows:
                raise ValueError(
                    f"Table expects columns of equal length, got {rows} rows in {names[0]!r} and {len(column)} in "
                    f"{name!r}."
                )
        if not rows:
            raise ValueError("Table expects at least one row, got none.")
        self.target = None if target is None else self.require(target, "Table")
        self.reading = Reading()
        self.said: list[str] = []

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Array:
        return self.columns[self.require(name, "Table")]

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name} {kind_of(column)}" for name, column in self.columns.items())
        return f"Table({len(self)} rows: {kinds}" + (f"; target {self.target!r})" if self.target is not None else ")")

    def require(self, name: str, who: str) -> str:
        """The name, if there is such a column.

        Raises
        ------
        ValueError
            Listing the columns there are.
        """
        if name not in self.columns:
            raise ValueError(f"{who} finds no column {name!r}; the columns are {listed(self.columns)}.")
        return name

    def take(self, rows: Any) -> Table:
        """A table of these rows: row numbers, a mask or a slice, such as the training part of a split."""
        taken = Table({name: column[rows] for name, column in self.columns.items()}, self.target)
        taken.reading = self.reading
        return taken

    def without(self, names: Collection[str]) -> Table:
        """A table without these columns."""
        left = Table({name: c for name, c in self.columns.items() if name not in names}, self.target)
        left.reading, left.said = self.reading, self.said
        return left

    def numbers(self) -> NDArray[np.float64]:
        """All columns side by side (n, columns), for a model that was trained on plain numbers.

        Raises
        ------
        ValueError
            Naming the first column with text, or the row and column of the first missing value.
        """
        for name, column in self.columns.items():
            if not is_numeric(column):
                raise ValueError(
                    f"Table.numbers expects numeric columns, but {name!r} holds {kind_of(column)}s.".replace(
                        "texts", "text"
                    )
                )
            absent = np.flatnonzero(np.isnan(column))
            if len(absent):
                raise ValueError(f"Table.numbers expects a number everywhere, got none in row {absent[0]} of {name!r}.")
        return np.column_stack(list(self.columns.values()))


# -- what people pass as a column -----------------------------------------------------------------------------------


def is_numeric(column: Array) -> bool:
    """Whether a table's column holds numbers."""
    return column.dtype.kind == "f"


def is_date(column: Array) -> bool:
    """Whether a table's column holds dates."""
    return column.dtype.kind == "M"


def is_absent(column: Array) -> NDArray[np.bool_]:
    """Where a table's column has no value."""
    if is_numeric(column):
        return np.isnan(column)
    if is_date(column):
        return np.isnat(column)
    return np.fromiter((value is None for value in column), np.bool_, len(column))


def kind_of(column: Array) -> str:
    """What a table's column holds, for people."""
    return "numeric" if is_numeric(column) else "date" if is_date(column) else "text"


def as_texts(column: Array) -> list[str | None]:
    """A text column; where a table happens to have nothing but numbers in it, those as people write them."""
    if is_date(column):
        return [None if value is None else str(value) for value in column.tolist()]
    if not is_numeric(column):
        return list(column)
    return [None if math.isnan(value) else as_word(value) for value in column.tolist()]


def _as_column(name: str, values: Any) -> Array:
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"Table got a masked array for column {name!r}: the mask would be ignored. Write NaN instead.")
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind not in "biufOUTM":
        raise TypeError(f"Table expects column {name!r} to be numbers or text, got dtype {values.dtype}.")
    if hasattr(values, "isna") and not (isinstance(values.dtype, np.dtype) and kind != "O"):
        column = _from_pandas(values)
    elif kind in "iuf":
        with np.errstate(over="ignore"):
            column = np.asarray(values, np.float64)
    elif kind == "M":
        column = np.asarray(values).astype("datetime64[s]")
    else:
        column = np.array(values, dtype=object)
    if column.ndim != 1:
        raise ValueError(f"Table expects column {name!r} to be one-dimensional, got shape {column.shape}.")
    if column.dtype == object:
        column = _from_objects(name, column.tolist())
    if is_numeric(column):
        infinite = np.flatnonzero(np.isinf(column))
        if len(infinite):
            raise ValueError(
                f"Table expects finite numbers, got {column[infinite[0]]} in row {infinite[0]} of {name!r}."
            )
    return column


def _from_pandas(values: Any) -> Array:
    """A column in a dtype of pandas' own as objects: None where missing, categories as words."""
    items = np.array(values, object)
    if hasattr(values.dtype, "categories"):
        items = np.array([as_word(item) for item in items], object)
    items[np.asarray(values.isna())] = None
    return items


def _moment(item: Any) -> Any:
    if isinstance(item, datetime.datetime) and item.tzinfo is not None:
        item = item.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64("NaT", "s") if item is None or item != item else np.datetime64(item, "s")


def _from_objects(name: str, items: list[Any]) -> Array:
    kinds = set(map(type, items))
    dates = [kind for kind in kinds if issubclass(kind, (datetime.date, np.datetime64))]
    if dates and all(kind in dates or kind is type(None) for kind in kinds):
        return np.array([_moment(item) for item in items], "datetime64[s]")
    for kind in kinds:
        if not issubclass(kind, (str, bool, np.bool_, Real, DecimalNumber, type(None))):
            row = next(row for row, item in enumerate(items) if type(item) is kind)
            raise TypeError(f"Table expects column {name!r} to be numbers or text, got a {kind.__name__} in row {row}.")
    present = [None if item != item else item for item in items]  # NaN alone is not itself
    try:
        if any(issubclass(kind, (str, bool, np.bool_)) for kind in kinds):
            column = np.empty(len(items), object)
            column[:] = [None if item is None else as_word(item) for item in present]
            return column
        return np.array([math.nan if item is None else float(item) for item in present], np.float64)
    except OverflowError:
        raise ValueError(f"Table expects finite numbers, got an integer beyond float64 in {name!r}.") from None
