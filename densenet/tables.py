"""Tables as people keep them, columns of numbers and of words with gaps, turned into the matrix that a network takes.

A `Table` is columns by name. A `TablePreparation` learns from the training rows what it takes to make numbers of them
(means, scales, the words that occur) and does the same to every later table, so that a model and its preparation
together answer in the user's own units. It is kept as plain data beside the model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import compress, pairwise
from numbers import Real
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet._validation import as_labels, as_numbers, check_finite

Task: TypeAlias = Literal["auto", "classification", "regression"]

_FEW_CATEGORIES = 50
_MOST_CATEGORIES = 1000
_MOST_NUMBERED_CLASSES = 20
_LARGEST_CLASS = 2**53


class Table:
    """Columns of equal length by name: numbers (float64, NaN where missing) or text (str objects, None where missing).

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
        If `data` is neither mapping nor data frame, or a column holds dates, complex numbers, bytes or other objects.
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
        if not isinstance(data, Mapping) and not (hasattr(data, "columns") and hasattr(data, "to_numpy")):
            raise TypeError(f"Table expects a mapping of columns or a data frame, got {type(data).__name__}.")
        labels = list(getattr(data, "columns", data))
        names = [str(label) for label in labels]
        if not names:
            raise ValueError("Table expects at least one column, got none.")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"Table expects every column to have a name of its own, got twice: {listed(twice)}.")
        self.columns: dict[str, Array] = {
            name: _as_column(name, data[label]) for name, label in zip(names, labels, strict=True)
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

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Array:
        return self.columns[self.require(name, "Table")]

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name} {'numeric' if _is_numeric(c) else 'text'}" for name, c in self.columns.items())
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
        return Table({name: column[rows] for name, column in self.columns.items()}, self.target)

    def numbers(self) -> NDArray[np.float64]:
        """All columns side by side (n, columns), for a model that was trained on plain numbers.

        Raises
        ------
        ValueError
            Naming the first column with text, or the row and column of the first missing value.
        """
        for name, column in self.columns.items():
            if not _is_numeric(column):
                raise ValueError(f"Table.numbers expects numeric columns, but {name!r} holds text.")
            absent = np.flatnonzero(np.isnan(column))
            if len(absent):
                raise ValueError(f"Table.numbers expects a number everywhere, got none in row {absent[0]} of {name!r}.")
        return np.column_stack(list(self.columns.values()))


class TablePreparation:
    """What turns a table's columns into a network's inputs and targets, and predictions back into the user's units.

    With mean m and standard deviation s of the values that the fitted column has::

        numeric        z = (v - m) / s       missing: z = 0 (v = m);  s = 1 where a column does not vary
        ... is missing u = 1 if missing else 0, a column of its own where the fitted column had missing values
        categorical    u_k = 1 if v is category k else 0, categories in sorted order;
                       missing is a category where the fitted column had missing values; all 0 for anything else
        regression     t = (y - m) / s                      y = m + s t
        classification t = k for class k, in sorted order   y = classes[t]

    Columns without any value, and text with so many different values that it rather names rows than describes them
    (more than 50 and more than half the rows, or more than 1000), are left out; `dropped` says which and why.

    `fit` settles the task. Text and booleans are classes. Numbers are classes if they are whole, the target has 2 to 20
    different values in at least twice as many rows, and those are either two (0 and 1, -1 and 1) or an unbroken run
    that begins at 0 or 1. All else is regression. ``task=`` overrules this.

    References
    ----------
    .. [1] LeCun, Bottou, Orr and Mueller, "Efficient BackProp" (1998), section 4.3, on centred and scaled inputs.
    .. [2] Little and Rubin, "Statistical Analysis with Missing Data" (2002), section 4.2, on mean imputation.

    Examples
    --------
    >>> from densenet.tables import Table, TablePreparation
    >>> rows = {"area": [50, None, 80], "city": ["Bonn", "Trier", "Bonn"], "rent": [600.5, 700, 1100]}
    >>> preparation = TablePreparation().fit(Table(rows, target="rent"))
    >>> preparation.feature_names
    ['area', 'area is missing', 'city=Bonn', 'city=Trier']
    >>> preparation.transform(rows)
    array([[-1.,  0.,  1.,  0.],
           [ 0.,  1.,  0.,  1.],
           [ 1.,  0.,  1.,  0.]], dtype=float32)
    >>> preparation.task
    'regression'
    >>> preparation.inverse_target(preparation.transform_target(rows)).round(3)
    array([ 600.5,  700. , 1100. ])
    """

    def __init__(self) -> None:
        self._columns: tuple[_Numeric | _Categorical, ...] = ()
        self._dropped: dict[str, str] = {}
        self._target: _Target | None = None

    def __repr__(self) -> str:
        if self._target is None:
            return "TablePreparation()"
        return f"TablePreparation({self.task} of {self.target!r}, {len(self.feature_names)} features)"

    # -- learning --------------------------------------------------------------------------------------------------

    def fit(self, table: Any, target: str | None = None, *, task: Task = "auto", rows: Any = None) -> TablePreparation:
        """Learn means, scales, categories and classes.

        Parameters
        ----------
        table : Table, mapping of columns, or data frame
        target : str, optional
            The column to be predicted; the table's own target if None.
        task : {"auto", "classification", "regression"}, default "auto"
        rows : array-like, optional
            The training rows (row numbers or a mask) where the table holds others, too. Only they are learned from, but
            for the task and the classes: a class that is rare may have all its rows in the other part.

        Returns
        -------
        TablePreparation
            Itself.

        Raises
        ------
        ValueError
            If there is no such target, it has a missing value, it does not suit the task, no input column is left, or a
            column's numbers are too large to have a standard deviation.
        """
        who = "TablePreparation.fit"
        if task not in ("auto", "classification", "regression"):
            raise ValueError(f"{who} expects task to be 'auto', 'classification' or 'regression', got {task!r}.")
        table = _as_table(table)
        name = table.target if target is None else target
        if name is None:
            raise ValueError(f"{who} expects the name of the target column, and the table does not name one either.")
        table.require(name, who)
        training = table if rows is None else table.take(rows)
        learned_target = _learn_target(name, table[name], training[name], task, who)
        learned = {
            other: _learn_column(other, values, who) for other, values in training.columns.items() if other != name
        }
        columns = tuple(found for found in learned.values() if not isinstance(found, str))
        dropped = {other: reason for other, reason in learned.items() if isinstance(reason, str)}
        if not columns:
            raise ValueError(f"{who} finds no input column beside the target {name!r}{_reasons(dropped)}.")
        return self._take(columns, dropped, learned_target)

    def _take(
        self, columns: tuple[_Numeric | _Categorical, ...], dropped: dict[str, str], target: _Target
    ) -> TablePreparation:
        self._columns, self._dropped, self._target = columns, dropped, target
        return self

    # -- what was learned ------------------------------------------------------------------------------------------

    @property
    def target(self) -> str:
        """Name of the target column."""
        return self._fitted().name

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What the target is."""
        return "regression" if self._fitted().classes is None else "classification"

    @property
    def classes(self) -> list[str] | list[int] | None:
        """Labels in the order of their class numbers; None for regression."""
        known = self._fitted().classes
        return None if known is None else known.copy()

    @property
    def input_columns(self) -> list[str]:
        """Columns that `transform` wants, found by name."""
        self._fitted()
        return [column.name for column in self._columns]

    @property
    def categories(self) -> dict[str, list[str]]:
        """The categories of every column of text, by the column's name."""
        self._fitted()
        return {column.name: column.categories.copy() for column in self._columns if isinstance(column, _Categorical)}

    @property
    def features_by_column(self) -> dict[str, list[str]]:
        """The names of the features that every input column becomes, in order."""
        self._fitted()
        return {column.name: column.features for column in self._columns}

    @property
    def text_columns(self) -> list[str]:
        """Those of them that are categorical: `read_csv(path, text=...)` keeps "007" as it is."""
        self._fitted()
        return [column.name for column in self._columns if isinstance(column, _Categorical)]

    @property
    def feature_names(self) -> list[str]:
        """One name for each column of x."""
        self._fitted()
        return [feature for column in self._columns for feature in column.features]

    @property
    def dropped(self) -> dict[str, str]:
        """Columns that `fit` left out, and why."""
        self._fitted()
        return self._dropped.copy()

    def describe(self) -> str:
        """One line on what goes in, what is predicted and what was left out.

        Examples
        --------
        >>> from densenet.tables import TablePreparation
        >>> TablePreparation().fit({"x": [0.1, 0.7], "gap": [None, None], "y": ["no", "yes"]}, "y").describe()
        "1 columns as 1 inputs, target 'y' (2 classes); left out: 'gap' has no values"
        """
        goal = "regression" if self.classes is None else f"{len(self.classes)} classes"
        line = f"{len(self._columns)} columns as {len(self.feature_names)} inputs, target {self.target!r} ({goal})"
        return line + _reasons(self._dropped)

    # -- from the table to the network and back --------------------------------------------------------------------

    def transform(self, table: Any) -> NDArray[np.float32]:
        """The network's inputs.

        Parameters
        ----------
        table : Table, mapping of columns, or data frame (n rows)
            Columns are found by name; others than `input_columns` are ignored.

        Returns
        -------
        ndarray (n, len(feature_names)), float32
            All finite.

        Raises
        ------
        RuntimeError
            Before `fit`.
        ValueError
            If columns are missing, a numeric column holds text, or a number is beyond float32 when standardised.
        """
        self._fitted()
        table = _as_table(table)
        absent = [name for name in self.input_columns if name not in table.columns]
        if absent:
            raise ValueError(
                f"TablePreparation expects the columns that it was fitted on, but there is no {listed(absent)}; "
                f"the columns are {listed(table.columns)}."
            )
        x = np.zeros((len(table), len(self.feature_names)), np.float32)
        start = 0
        for column in self._columns:
            stop = start + len(column.features)
            column.fill(table[column.name], x[:, start:stop])
            start = stop
        return x

    def transform_target(self, table: Any) -> Array:
        """The network's targets.

        Parameters
        ----------
        table : Table, mapping of columns, or data frame (n rows)

        Returns
        -------
        ndarray (n,)
            Class numbers, int64, or standardised values, float32.

        Raises
        ------
        RuntimeError
            Before `fit`.
        ValueError
            If the target column is not there, or holds a missing value, an unknown class or, in regression, text.
        """
        known = self._fitted()
        table = _as_table(table)
        values = table[table.require(known.name, "TablePreparation")]
        _check_complete(known.name, values, "TablePreparation")
        if known.classes is None:
            standard = np.empty((len(table), 1), np.float32)
            _Numeric(known.name, known.mean, known.scale, missing=False).fill(values, standard)
            return standard[:, 0]
        numbered = isinstance(known.classes[0], int)
        labels = _as_numeric(known.name, values).tolist() if numbered else _as_text(values)
        number = {label: k for k, label in enumerate(known.classes)}
        for row, label in enumerate(labels):
            if label not in number:
                raise ValueError(
                    f"TablePreparation knows the classes {listed(known.classes)} of {known.name!r}, got "
                    f"{values[row]!r} in row {row}."
                )
        return np.array([number[label] for label in labels], np.int64)

    def inverse_target(self, prediction: Any) -> Array:
        """Predictions in the user's units.

        Parameters
        ----------
        prediction : array-like
            Classification: class numbers (n,), such as `Trainer.predict_classes` gives, or outputs (n, classes), of
            which the largest counts. Regression: standardised values (n,), (n, 1) or, for several quantiles, (n, k).

        Returns
        -------
        ndarray (n,), or (n, k)
            Class labels (str objects, as in a `Table`, or int64), or float64 values.

        Raises
        ------
        RuntimeError
            Before `fit`.
        ValueError
            If class numbers are out of range or not whole, values are not finite, or the shape is another.
        """
        known, who = self._fitted(), "TablePreparation.inverse_target"
        if known.classes is not None:
            numbers = as_labels(prediction, len(known.classes), who)
            if numbers is None:
                outputs = as_numbers(prediction, who, "prediction")
                check_finite(outputs, who, "prediction")
                numbers = outputs.argmax(axis=1)
            return np.array(known.classes, np.int64 if isinstance(known.classes[0], int) else object)[numbers]
        values = as_numbers(prediction, who, "prediction").astype(np.float64)
        if values.ndim not in (1, 2):
            raise ValueError(f"{who} expects shape (n,), (n, 1) or (n, k), got {values.shape}.")
        check_finite(values, who, "prediction")
        if values.shape[1:] == (1,):
            values = values[:, 0]
        return np.asarray(known.mean + known.scale * values)  # y = m + s t

    # -- plain data ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything learned as dicts, lists, str, int, float and bool: JSON gives back the very same numbers.

        Raises
        ------
        RuntimeError
            Before `fit`.
        """
        known = self._fitted()
        return {"columns": [c.state() for c in self._columns], "dropped": self.dropped, "target": known.state()}

    @staticmethod
    def from_state(state: Any) -> TablePreparation:
        """The preparation that `state` was taken from.

        Raises
        ------
        ValueError
            If anything in `state` is not as `state()` writes it.

        Examples
        --------
        >>> import json
        >>> from densenet.tables import TablePreparation
        >>> preparation = TablePreparation().fit({"x": [0.1, 0.7], "y": ["no", "yes"]}, "y")
        >>> text = json.dumps(preparation.state())
        >>> TablePreparation.from_state(json.loads(text)).state() == preparation.state()
        True
        """
        top = _fields(state, {"columns": list, "dropped": dict, "target": dict}, "the state")
        columns = tuple(_column_from_state(entry) for entry in top["columns"])
        dropped, target = dict(top["dropped"]), _Target.from_state(top["target"])
        if not columns:
            raise ValueError("TablePreparation state: there are no columns.")
        for name, reason in dropped.items():
            if not isinstance(name, str) or not isinstance(reason, str):
                raise ValueError("TablePreparation state: 'dropped' is not a dict of str to str.")
        names = [*(column.name for column in columns), *dropped, target.name]
        if len(set(names)) != len(names):
            raise ValueError("TablePreparation state: a column is named twice.")
        return TablePreparation()._take(columns, dropped, target)

    def _fitted(self) -> _Target:
        if self._target is None:
            raise RuntimeError("TablePreparation has learned nothing yet: call fit(table, target) first.")
        return self._target


# -- one column -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numeric:
    """z = (v - mean) / scale, 0 where v is missing; u = 1 there, a second column if the fitted one missed values."""

    name: str
    mean: float
    scale: float
    missing: bool

    @property
    def features(self) -> list[str]:
        return [self.name, f"{self.name} is missing"] if self.missing else [self.name]

    def fill(self, values: Array, out: NDArray[np.float32]) -> None:
        numbers = _as_numeric(self.name, values)
        absent = np.isnan(numbers)
        with np.errstate(over="ignore", under="ignore"):
            out[:, 0] = np.where(absent, 0.0, (numbers - self.mean) / self.scale)  # z = (v - m) / s
        beyond = np.flatnonzero(~np.isfinite(out[:, 0]))
        if len(beyond):
            raise ValueError(
                f"TablePreparation cannot standardise {numbers[beyond[0]]} in row {beyond[0]} of column {self.name!r}: "
                f"it is beyond float32 with mean {self.mean:.6g} and standard deviation {self.scale:.6g}."
            )
        if self.missing:
            out[:, 1] = absent

    def state(self) -> dict[str, Any]:
        return {
            "kind": "numeric",
            "name": self.name,
            "mean": self.mean,
            "scale": self.scale,
            "missing": self.missing,
        }


@dataclass(frozen=True)
class _Categorical:
    """u_k = 1 if v is category k else 0; the last column marks missing values if the fitted column missed some."""

    name: str
    categories: list[str]
    missing: bool

    @property
    def features(self) -> list[str]:
        named = [f"{self.name}={category}" for category in self.categories]
        return [*named, f"{self.name} is missing"] if self.missing else named

    def fill(self, values: Array, out: NDArray[np.float32]) -> None:
        number: dict[str | None, int] = {category: k for k, category in enumerate(self.categories)}
        if self.missing:
            number[None] = len(self.categories)
        # Text is Python objects: one hash look-up a row is cheaper than any comparison by numpy.
        codes = np.array([number.get(text, -1) for text in _as_text(values)], np.intp)
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = 1  # u_k = 1

    def state(self) -> dict[str, Any]:
        return {
            "kind": "categorical",
            "name": self.name,
            "categories": self.categories.copy(),
            "missing": self.missing,
        }


@dataclass(frozen=True)
class _Target:
    """Classes, or the mean and the scale of a regression's values (then `classes` is None)."""

    name: str
    classes: list[str] | list[int] | None
    mean: float = 0.0
    scale: float = 1.0

    def state(self) -> dict[str, Any]:
        if self.classes is None:
            return {"name": self.name, "mean": self.mean, "scale": self.scale}
        return {"name": self.name, "classes": self.classes.copy()}

    @staticmethod
    def from_state(state: dict[str, Any]) -> _Target:
        if "classes" not in state:
            fields = _fields(state, {"name": str, "mean": float, "scale": float}, "the target")
            _check_standard(fields, "the target")
            return _Target(fields["name"], None, fields["mean"], fields["scale"])
        fields = _fields(state, {"name": str, "classes": list}, "the target")
        classes = fields["classes"]
        _check_sorted(classes, (str, int), "the target")
        if isinstance(classes[0], int) and max(abs(classes[0]), abs(classes[-1])) > _LARGEST_CLASS:
            raise ValueError("TablePreparation state: a class of the target is too large.")
        return _Target(fields["name"], classes.copy())


def _learn_column(name: str, values: Array, who: str) -> _Numeric | _Categorical | str:
    """The column's preparation, or the reason to leave it out."""
    if _is_numeric(values):
        absent = np.isnan(values)
        if absent.all():
            return "has no values"
        mean, scale = _mean_and_scale(name, values[~absent], who)
        return _Numeric(name, mean, scale, bool(absent.any()))
    categories = sorted({text for text in values if text is not None})
    if _names_rows(len(categories), len(values)):
        return f"has {len(categories)} different texts in {len(values)} rows"
    return _Categorical(name, categories, any(text is None for text in values))


def _learn_target(name: str, values: Array, training: Array, task: Task, who: str) -> _Target:
    """Task and classes from all values, mean and scale from those of the training rows."""
    _check_complete(name, values, who)
    numeric = _is_numeric(values)
    if task == "regression" or (task == "auto" and numeric and not _are_numbered_classes(values)):
        return _Target(name, None, *_mean_and_scale(name, _as_numeric(name, training), who))
    classes: Any
    if numeric:
        broken = np.flatnonzero((values != np.floor(values)) | (np.abs(values) > _LARGEST_CLASS))
        if len(broken):
            raise ValueError(
                f"{who} expects classes to be text or whole numbers, got {values[broken[0]]} in row {broken[0]} of "
                f"{name!r}: use task='regression'."
            )
        classes = [int(value) for value in np.unique(values)]
    else:
        classes = sorted(set(values))
    if _names_rows(len(classes), len(values)):
        raise ValueError(
            f"{who} finds {len(classes)} classes of {name!r} in {len(values)} rows, the first {values[0]!r}: classes "
            "should repeat, and a target for regression should be numbers only."
        )
    return _Target(name, classes)


def _are_numbered_classes(values: Array) -> bool:
    """Whether there are 2 to 20 whole numbers in at least twice as many rows, two or an unbroken run from 0 or 1."""
    kinds = np.unique(values)
    run = kinds[0] in (0, 1) and kinds[-1] - kinds[0] == len(kinds) - 1
    few = 2 <= len(kinds) <= _MOST_NUMBERED_CLASSES and 2 * len(kinds) <= len(values)
    return bool(few and (kinds == np.floor(kinds)).all() and (len(kinds) == 2 or run))


def _names_rows(different: int, rows: int) -> bool:
    """Whether so many different texts rather name rows than describe them."""
    return different > _FEW_CATEGORIES and (2 * different > rows or different > _MOST_CATEGORIES)


def _mean_and_scale(name: str, values: Array, who: str) -> tuple[float, float]:
    """Mean and standard deviation (division by n); 1 instead of 0."""
    low = float(values.min())
    if low == values.max():
        # The mean of equal numbers may be off by a rounding, which a scale of 1e-17 would turn into large numbers.
        return low, 1.0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not math.isfinite(mean) or not math.isfinite(scale):
        raise ValueError(f"{who} cannot standardise column {name!r}: numbers up to {abs(values).max()} are too large.")
    return mean, scale or 1.0


def _check_complete(name: str, values: Array, who: str) -> None:
    absent = np.flatnonzero(np.isnan(values) if _is_numeric(values) else [text is None for text in values])
    if len(absent):
        raise ValueError(
            f"{who} expects a value of the target {name!r} in every row, got none in row {absent[0]}: fill it in or "
            "drop such rows."
        )


# -- what people pass as a column -----------------------------------------------------------------------------------


def parse_numbers(texts: Sequence[str | None]) -> NDArray[np.float64] | None:
    """The numbers that the texts write, NaN for None; None if one of them is no number."""
    try:
        numbers = np.array([math.nan if text is None else float(text) for text in texts], np.float64)
    except ValueError:
        return None
    # "nan" and "1_000" are numbers to Python, but to nobody else.
    if "_" in "".join(filter(None, texts)) or any(compress(texts, np.isnan(numbers))):
        return None
    return numbers


def listed(names: Iterable[Any]) -> str:
    """Up to twenty names for a message."""
    shown = [repr(name) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _reasons(dropped: Mapping[str, str]) -> str:
    return "; left out: " + ", ".join(f"{name!r} {reason}" for name, reason in dropped.items()) if dropped else ""


def _is_numeric(column: Array) -> bool:
    return column.dtype.kind == "f"


def _as_table(value: Any) -> Table:
    return value if isinstance(value, Table) else Table(value)


def _as_numeric(name: str, column: Array) -> NDArray[np.float64]:
    """A numeric column, also from texts that write numbers, as a data frame of strings has them."""
    if _is_numeric(column):
        return column
    numbers = parse_numbers(column.tolist())
    if numbers is not None and not np.isinf(numbers).any():
        return numbers
    each = (parse_numbers([text]) for text in column)
    row = next(row for row, number in enumerate(each) if number is None or np.isinf(number[0]))
    raise ValueError(f"TablePreparation expects numbers in column {name!r}, got {column[row]!r} in row {row}.")


def _as_text(column: Array) -> list[str | None]:
    """A text column; where a table happens to have nothing but numbers in it, those as people write them."""
    if not _is_numeric(column):
        return list(column)
    return [None if math.isnan(value) else _text(value) for value in column.tolist()]


def _text(value: Any) -> str:
    if isinstance(value, (bool, np.bool_, str)):
        return str(value)
    return str(int(value)) if float(value).is_integer() else str(float(value))


def _as_column(name: str, values: Any) -> Array:
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"Table got a masked array for column {name!r}: the mask would be ignored. Write NaN instead.")
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind not in "biufOUT":
        raise TypeError(f"Table expects column {name!r} to be numbers or text, got dtype {values.dtype}.")
    frame_column = hasattr(values, "isna")
    if kind in "iuf" and frame_column:
        column = np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    elif kind in "iuf":
        with np.errstate(over="ignore"):
            column = np.asarray(values, np.float64)
    else:
        column = np.array(values, dtype=object)
        if frame_column:
            column[np.asarray(values.isna(), bool)] = None
    if column.ndim != 1:
        raise ValueError(f"Table expects column {name!r} to be one-dimensional, got shape {column.shape}.")
    if column.dtype == object:
        column = _from_objects(name, column.tolist())
    if _is_numeric(column):
        infinite = np.flatnonzero(np.isinf(column))
        if len(infinite):
            raise ValueError(
                f"Table expects finite numbers, got {column[infinite[0]]} in row {infinite[0]} of {name!r}."
            )
    return column


def _from_objects(name: str, items: list[Any]) -> Array:
    kinds = set(map(type, items))
    for kind in kinds:
        if not issubclass(kind, (str, bool, np.bool_, Real, Decimal, type(None))):
            row = next(row for row, item in enumerate(items) if type(item) is kind)
            raise TypeError(f"Table expects column {name!r} to be numbers or text, got a {kind.__name__} in row {row}.")
    present = [None if item != item else item for item in items]  # NaN alone is not itself
    try:
        if any(issubclass(kind, (str, bool, np.bool_)) for kind in kinds):
            column = np.empty(len(items), object)
            column[:] = [None if item is None else _text(item) for item in present]
            return column
        return np.array([math.nan if item is None else float(item) for item in present], np.float64)
    except OverflowError:
        raise ValueError(f"Table expects finite numbers, got an integer beyond float64 in {name!r}.") from None


# -- reading a state ------------------------------------------------------------------------------------------------


def _fields(state: Any, types: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The dict, if it has exactly these keys with values of these types."""
    if not isinstance(state, dict) or set(state) != set(types):
        raise ValueError(f"TablePreparation state: {what} is not a dict of {', '.join(types)}.")
    for key, kind in types.items():
        if not isinstance(state[key], kind):
            raise ValueError(f"TablePreparation state: {key!r} of {what} is a {type(state[key]).__name__}.")
    return state


def _column_from_state(state: Any) -> _Numeric | _Categorical:
    kind = state.get("kind") if isinstance(state, dict) else None
    if kind == "numeric":
        fields = _fields(
            state, {"kind": str, "name": str, "mean": float, "scale": float, "missing": bool}, "a numeric column"
        )
        _check_standard(fields, f"column {fields['name']!r}")
        return _Numeric(fields["name"], fields["mean"], fields["scale"], fields["missing"])
    if kind == "categorical":
        fields = _fields(state, {"kind": str, "name": str, "categories": list, "missing": bool}, "a categorical column")
        _check_sorted(fields["categories"], (str,), f"column {fields['name']!r}")
        return _Categorical(fields["name"], fields["categories"].copy(), fields["missing"])
    raise ValueError("TablePreparation state: a column is neither numeric nor categorical.")


def _check_standard(fields: Mapping[str, Any], what: str) -> None:
    if not math.isfinite(fields["mean"]) or not math.isfinite(fields["scale"]) or fields["scale"] <= 0:
        raise ValueError(f"TablePreparation state: {what} has no finite mean and positive scale.")


def _check_sorted(values: Sequence[Any], kinds: tuple[type, ...], what: str) -> None:
    of_one_kind = any(all(type(value) is kind for value in values) for kind in kinds)
    if not values or not of_one_kind or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"TablePreparation state: the values of {what} are not different, sorted and of one type.")
