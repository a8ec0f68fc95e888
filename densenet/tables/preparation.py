"""What a network sees of a table, and what its answers mean: learned from the training rows, kept as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet._validation import as_labels, as_numbers, check_finite
from densenet.tables.cells import is_boolean, nearly_numbers, parse_numbers
from densenet.tables.messages import listed, shown_cell
from densenet.tables.summary import MOST_DIFFERENT, Summary
from densenet.tables.table import Reading, Table, as_texts, is_absent, is_date, is_numeric

Task: TypeAlias = Literal["auto", "classification", "regression"]

_FEW_CATEGORIES = 50
_MOST_NUMBERED_CLASSES = 20
_FEW_CLASSES = 10
_LARGEST_CLASS = 2**53


class TablePreparation:
    """What turns a table's columns into a network's inputs and targets, and predictions back into the user's units.

    With mean m and standard deviation s of the values that the fitted column has::

        numeric        z = (v - m) / s       missing: z = 0 (v = m);  s = 1 where a column does not vary
        ... is missing u = 1 if missing else 0, a column of its own where the fitted column had missing values
        date           z of the days since 1970, unclipped; sine and cosine of 2 pi weekday / 7 and of
                       2 pi month / 12; missing as in numbers
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
        self._columns: tuple[_Column, ...] = ()
        self._dropped: dict[str, str] = {}
        self._target: _Target | None = None
        self._reading = Reading()

    def __repr__(self) -> str:
        if self._target is None:
            return "TablePreparation()"
        return f"TablePreparation({self.task} of {self.target!r}, {len(self.feature_names)} features)"

    # -- learning --------------------------------------------------------------------------------------------------

    def fit(self, table: Any, target: str | None = None, *, task: Task = "auto", rows: Any = None) -> TablePreparation:
        """Learn means, scales, categories and classes.

        Parameters
        ----------
        table : Table, mapping of columns, data frame, or ParquetBatches
            `datasets.ParquetBatches` are read once, row group by row group: counts and extremes are exact, mean and
            standard deviation are merged without loss of digits. No quantile is learned. Its row groups that `split`
            held out say which classes there are, and no more.
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
        if hasattr(table, "parts"):
            every, learned = _of_parts(table, target, task, who)
            name, reading, training = table.target, Reading(), every
        else:
            table = _as_table(table)
            name, reading = _target_of(table, target, who), table.reading
            known = table if rows is None else table.take(rows)
            every = _target_summary(name, table[name], task, who)
            training = every if rows is None else _target_summary(name, known[name], task, who)
            learned = {other: _summary(other, values) for other, values in known.columns.items() if other != name}
        learned_target = _learn_target(name, every, training, task, who)
        found = {other: _learn_column(other, summary, who) for other, summary in learned.items()}
        columns = tuple(column for column in found.values() if not isinstance(column, str))
        dropped = {other: reason for other, reason in found.items() if isinstance(reason, str)}
        if not columns:
            raise ValueError(f"{who} finds no input column beside the target {name!r}{_reasons(dropped)}.")
        wanted = {name, *(column.name for column in columns)}
        hows = {other: how for other, how in reading.columns.items() if other in wanted}
        return self._take(columns, dropped, learned_target, Reading(hows, reading.decimal, reading.header))

    def _take(
        self, columns: tuple[_Column, ...], dropped: dict[str, str], target: _Target, reading: Reading
    ) -> TablePreparation:
        self._columns, self._dropped, self._target, self._reading = columns, dropped, target, reading
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
    def reading(self) -> Reading:
        """How to read a file of later rows as the training rows were read: ``read_csv(path, like=...)``."""
        known = self._fitted()
        kinds = {column.name: {"kind": column.kind} for column in self._columns}
        if known.classes is None:
            kinds[known.name] = {"kind": "number"}
        elif isinstance(known.classes[0], str):
            kinds[known.name] = {"kind": "text"}
        every = {name: kind | self._reading.columns.get(name, {}) for name, kind in kinds.items()}
        return Reading(every, self._reading.decimal, self._reading.header)

    @property
    def elapsed_features(self) -> list[int]:
        """Where x holds elapsed time, which goes on beyond the training rows: not to be clipped."""
        starts = np.cumsum([0, *(len(column.features) for column in self._columns)])
        return [int(k) for k, column in zip(starts, self._columns, strict=False) if isinstance(column, _Date)]

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

    def unseen(self, table: Any) -> list[str]:
        """What a table holds that the training rows did not, one line for each column.

        Words that are no category, missing values where there were none, columns without any value, and numbers or
        dates farther outside of the training rows' range than this range is wide.

        Parameters
        ----------
        table : Table, mapping of columns, or data frame (n rows)

        Examples
        --------
        >>> from densenet.tables import TablePreparation
        >>> rows = {"sex": ["male", "female", "male"], "age": [22, 38, 26], "y": [0.5, 1, 2]}
        >>> TablePreparation().fit(rows, "y").unseen({"sex": ["Male", "male"], "age": [None, 400]})
        ["'sex': 1 of 2 values were not in training, such as 'Male'",
         "'age': 1 of 2 values are missing, none was in training",
         "'age': 1 of 1 values are far outside of training's 22 to 38, such as 400"]
        """
        self._fitted()
        table = _as_table(table)
        lines: list[str] = []
        for column in self._columns:
            values = table[column.name]
            absent = is_absent(values)
            if absent.all():
                lines.append(f"{shown_cell(column.name)}: empty, no value in {len(values):,} rows")
                continue
            if absent.any() and not column.missing:
                count = f"{absent.sum():,} of {len(values):,} values are"
                lines.append(f"{shown_cell(column.name)}: {count} missing, none was in training")
            lines += [f"{shown_cell(column.name)}: {line}" for line in column.unseen(values[~absent])]
        return lines

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
            _Numeric(known.name, known.mean, known.scale, False).fill(values, standard)
            return standard[:, 0]
        numbered = isinstance(known.classes[0], int)
        labels = _as_numeric(known.name, values).tolist() if numbered else as_texts(values)
        number: dict[Any, int] = {label: k for k, label in enumerate(known.classes)}
        words = [label for label in known.classes if isinstance(label, str)]
        if words and is_boolean(words):
            labels = _spelled(labels, words)
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
        state = {"columns": [c.state() for c in self._columns], "dropped": self.dropped, "target": known.state()}
        return state if self._reading == Reading() else state | {"reading": self._reading.state()}

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
        plain = isinstance(state, dict) and "reading" not in state
        top = _fields(
            state | {"reading": {}} if plain else state,
            {"columns": list, "dropped": dict, "target": dict, "reading": dict},
            "the state",
        )
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
        return TablePreparation()._take(columns, dropped, target, _reading_from_state(top["reading"], names))

    def _fitted(self) -> _Target:
        if self._target is None:
            raise RuntimeError("TablePreparation has learned nothing yet: call fit(table, target) first.")
        return self._target


# -- one column -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numeric:
    """z = (v - mean) / scale, 0 where v is missing; u = 1 there, a second column if the fitted one missed values.

    Values were between `low` and `high`, where that is known.
    """

    name: str
    mean: float
    scale: float
    missing: bool
    low: float = -math.inf
    high: float = math.inf
    kind = "number"

    @property
    def features(self) -> list[str]:
        return [self.name, f"{self.name} is missing"] if self.missing else [self.name]

    def unseen(self, values: Array) -> list[str]:
        numbers = _as_numeric(self.name, values)
        width = self.high - self.low
        if not math.isfinite(width):
            return []
        beyond = np.flatnonzero((numbers < self.low - width) | (numbers > self.high + width))
        if not len(beyond):
            return []
        span = f"training's {self.low:.6g} to {self.high:.6g}" if width else f"training, always {self.low:.6g}"
        return [
            f"{len(beyond):,} of {len(values):,} values are far outside of {span}, such as {numbers[beyond[0]]:.6g}"
        ]

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
        return _standard_state("numeric", self)


@dataclass(frozen=True)
class _Date:
    """Elapsed days, standardised and unclipped; weekday and month on circles; u = 1 where the date is missing."""

    name: str
    mean: float
    scale: float
    missing: bool
    low: float
    high: float
    kind = "date"

    @property
    def features(self) -> list[str]:
        circles = [f"{self.name} {part} {wave}" for part in ("weekday", "month") for wave in ("sin", "cos")]
        return [self.name, *circles, *([f"{self.name} is missing"] if self.missing else [])]

    def unseen(self, values: Array) -> list[str]:
        days = _days(self.name, values)
        width = self.high - self.low
        beyond = np.flatnonzero((days < self.low - width) | (days > self.high + width))
        if not len(beyond):
            return []
        low, high = (str(np.datetime64(int(day), "D")) for day in (self.low, self.high))
        such = f"such as {values[beyond[0]].astype('datetime64[D]')}"
        return [f"{len(beyond):,} of {len(values):,} dates are far outside of training's {low} to {high}, {such}"]

    def fill(self, values: Array, out: NDArray[np.float32]) -> None:
        days = _days(self.name, values)
        absent = np.isnan(days)
        known = np.where(absent, 0.0, days)
        out[:, 0] = np.where(absent, 0.0, (days - self.mean) / self.scale)  # z = (v - m) / s
        dates = np.floor(known).astype("datetime64[D]")
        weekday = (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        month = dates.astype("datetime64[M]").astype(np.int64) % 12
        for k, turns in enumerate((weekday / 7, month / 12)):
            out[:, 1 + 2 * k] = np.where(absent, 0.0, np.sin(2 * np.pi * turns))
            out[:, 2 + 2 * k] = np.where(absent, 0.0, np.cos(2 * np.pi * turns))
        if self.missing:
            out[:, 5] = absent

    def state(self) -> dict[str, Any]:
        return _standard_state("date", self)


@dataclass(frozen=True)
class _Categorical:
    """u_k = 1 if v is category k else 0; the last column marks missing values if the fitted column missed some."""

    name: str
    categories: list[str]
    missing: bool
    kind = "text"

    @property
    def features(self) -> list[str]:
        named = [f"{self.name}={category}" for category in self.categories]
        return [*named, f"{self.name} is missing"] if self.missing else named

    def fill(self, values: Array, out: NDArray[np.float32]) -> None:
        number: dict[str | None, int] = {category: k for k, category in enumerate(self.categories)}
        if self.missing:
            number[None] = len(self.categories)
        # Text is Python objects: one hash look-up a row is cheaper than any comparison by numpy.
        codes = np.array([number.get(text, -1) for text in self._texts(values)], np.intp)
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = 1  # u_k = 1

    def unseen(self, values: Array) -> list[str]:
        known = set(self.categories)
        new = [text for text in self._texts(values) if text not in known]
        if not new:
            return []
        return [f"{len(new):,} of {len(values):,} values were not in training, such as {shown_cell(new[0])}"]

    def _texts(self, values: Array) -> list[str | None]:
        texts = as_texts(values)
        return _spelled(texts, self.categories) if is_boolean(self.categories) else texts

    def state(self) -> dict[str, Any]:
        return {
            "kind": "categorical",
            "name": self.name,
            "categories": self.categories.copy(),
            "missing": self.missing,
        }


_Column: TypeAlias = _Numeric | _Date | _Categorical


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


def _target_of(table: Table, target: str | None, who: str) -> str:
    name = table.target if target is None else target
    if name is None:
        raise ValueError(f"{who} expects the name of the target column, and the table does not name one either.")
    return table.require(name, who)


def _summary(name: str, values: Array) -> Summary:
    """What is learned of an input column's values."""
    if is_date(values):
        return Summary.of_numbers(_days(name, values), "date")
    return Summary.of_numbers(values) if is_numeric(values) else Summary.of_texts(values)


def _target_summary(name: str, values: Array, task: Task, who: str) -> Summary:
    """What is learned of the target's values, which must all be there and suit the task."""
    _check_complete(name, values, who)
    if is_date(values):
        raise ValueError(f"{who} expects the target {name!r} to be numbers or classes, got dates.")
    if task == "regression":
        return Summary.of_numbers(_as_numeric(name, values))
    if not is_numeric(values):
        return Summary.of_texts(values)
    broken = np.flatnonzero((values != np.floor(values)) | (np.abs(values) > _LARGEST_CLASS))
    if task == "classification" and len(broken):
        raise ValueError(
            f"{who} expects classes to be text or whole numbers, got {values[broken[0]]} in row {broken[0]} of "
            f"{name!r}: use task='regression'."
        )
    return Summary.of_numbers(values, distinct=True)


def _of_parts(data: Any, target: str | None, task: Task, who: str) -> tuple[Summary, dict[str, Summary]]:
    """One pass over a table that comes in parts: its target's summary, and those of its other columns."""
    if target not in (None, data.target):
        raise ValueError(f"{who} expects the target that the parts were opened with, {data.target!r}, got {target!r}.")
    if not isinstance(data.target, str):
        raise ValueError(f"{who} expects one target column, got {data.target!r}.")
    every, learned = Summary(), dict[str, Summary]()
    for where, part, is_learned in data.parts():
        every = every.merged(_target_summary(data.target, part[data.target], task, f"{who}, {where},"), data.target)
        for name, values in part.columns.items() if is_learned else ():
            if name != data.target:
                learned[name] = learned.get(name, Summary()).merged(_summary(name, values), name)
    return every, learned


def _learn_column(name: str, summary: Summary, who: str) -> _Column | str:
    """The column's preparation, or the reason to leave it out."""
    if summary.kind is None:
        return "has no values"
    missing = summary.present < summary.rows
    if summary.kind == "text":
        if _names_rows(summary.different, summary.rows):
            return f"has {_count(summary.different)} different texts in {summary.rows} rows"
        return _Categorical(name, sorted(summary.different or ()), missing)
    made = _Date if summary.kind == "date" else _Numeric
    return made(name, *_standard(name, summary, who), missing, summary.low, summary.high)


def _learn_target(name: str, every: Summary, training: Summary, task: Task, who: str) -> _Target:
    """Task and classes from all values, mean and scale from those of the training rows."""
    numeric, different = every.kind == "number", every.different
    if task == "regression" or (task == "auto" and numeric and not _are_numbered_classes(every)):
        return _Target(name, None, *_standard(name, training, who))
    classes: Any = sorted(different or ())
    numbers_as_words = not numeric and task == "auto" and 2 * len(classes) > every.rows and nearly_numbers(classes)
    if _names_rows(different, every.rows) or (numbers_as_words and len(classes) > _FEW_CLASSES):
        first = f", the first {classes[0]!r}" if classes else ""
        raise ValueError(
            f"{who} finds {_count(different)} classes of {name!r} in {every.rows} rows{first}: classes should repeat, "
            "and a target for regression should be numbers only."
        )
    return _Target(name, [int(value) for value in classes] if numeric else classes)


def _are_numbered_classes(target: Summary) -> bool:
    """Whether there are 2 to 20 whole numbers in at least twice as many rows, two or an unbroken run from 0 or 1."""
    kinds = sorted(target.different or ())
    if not 2 <= len(kinds) <= _MOST_NUMBERED_CLASSES or 2 * len(kinds) > target.rows:
        return False
    run = kinds[0] in (0, 1) and kinds[-1] - kinds[0] == len(kinds) - 1
    return all(kind == math.floor(kind) for kind in kinds) and (len(kinds) == 2 or run)


def _names_rows(different: frozenset[Any] | None, rows: int) -> bool:
    """Whether so many different texts rather name rows than describe them; None are more than are counted."""
    count = math.inf if different is None else len(different)
    return count > _FEW_CATEGORIES and (2 * count > rows or count > MOST_DIFFERENT)


def _count(different: frozenset[Any] | None) -> str:
    return f"more than {MOST_DIFFERENT}" if different is None else str(len(different))


def _standard(name: str, summary: Summary, who: str) -> tuple[float, float]:
    """Mean and standard deviation; 1 instead of 0."""
    if not math.isfinite(summary.mean) or not math.isfinite(summary.scale):
        largest = max(abs(summary.low), abs(summary.high))
        raise ValueError(f"{who} cannot standardise column {name!r}: numbers up to {largest} are too large.")
    return summary.mean, summary.scale or 1.0


def _check_complete(name: str, values: Array, who: str) -> None:
    absent = np.flatnonzero(is_absent(values))
    if len(absent):
        raise ValueError(
            f"{who} expects a value of the target {name!r} in every row, got none in row {absent[0]}: fill it in or "
            "drop such rows."
        )


# -- columns as the preparation wants them -----------------------------------------------------------------------


def _reasons(dropped: Mapping[str, str]) -> str:
    return "; left out: " + ", ".join(f"{name!r} {reason}" for name, reason in dropped.items()) if dropped else ""


def _as_table(value: Any) -> Table:
    return value if isinstance(value, Table) else Table(value)


def _spelled(texts: Sequence[str | None], words: Sequence[str]) -> list[str | None]:
    """Words for true and false as they are spelled among these; others as they are."""
    spelling = {word.lower(): word for word in words}
    return [text if text is None else spelling.get(text.lower(), text) for text in texts]


def _days(name: str, column: Array) -> NDArray[np.float64]:
    """Days since 1970-01-01, NaN where there is no date."""
    if is_date(column):
        seconds = column.astype("datetime64[s]")
        return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64) / 86400.0)
    if is_absent(column).all():
        return np.full(len(column), np.nan)
    row = int(np.flatnonzero(~is_absent(column))[0])
    raise ValueError(f"TablePreparation expects dates in column {name!r}, got {column[row]!r} in row {row}.")


def _as_numeric(name: str, column: Array) -> NDArray[np.float64]:
    """A numeric column, also from texts that write numbers, as a data frame of strings has them."""
    if is_numeric(column):
        return column
    if is_date(column):
        raise ValueError(f"TablePreparation expects numbers in column {name!r}, got dates.")
    numbers = parse_numbers(column.tolist())
    if numbers is not None and not np.isinf(numbers).any():
        return numbers
    each = (parse_numbers([text]) for text in column)
    row = next(row for row, number in enumerate(each) if number is None or np.isinf(number[0]))
    raise ValueError(
        f"TablePreparation expects numbers in column {name!r}, got {shown_cell(column[row])} in row {row}."
    )


# -- reading a state ------------------------------------------------------------------------------------------------


def _fields(state: Any, types: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The dict, if it has exactly these keys with values of these types."""
    if not isinstance(state, dict) or set(state) != set(types):
        raise ValueError(f"TablePreparation state: {what} is not a dict of {', '.join(types)}.")
    for key, kind in types.items():
        if not isinstance(state[key], kind):
            raise ValueError(f"TablePreparation state: {key!r} of {what} is a {type(state[key]).__name__}.")
    return state


_HOW = {"decimal": (".", ","), "forced": (True,), "dayfirst": (True, False), "kind": ("number", "date", "text")}


def _standard_state(kind: str, column: _Numeric | _Date) -> dict[str, Any]:
    """A column that is standardised as plain data; the range where it is known."""
    names = ["name", "mean", "scale", "missing"] + ["low", "high"] * math.isfinite(column.high - column.low)
    return {"kind": kind} | {name: getattr(column, name) for name in names}


def _reading_from_state(state: dict[str, Any], names: list[str]) -> Reading:
    fields = {"columns": {}, "decimal": None, "header": True} | state
    if len(fields) != 3 or not isinstance(fields["columns"], dict) or not isinstance(fields["header"], bool):
        raise ValueError("TablePreparation state: the reading is not a dict of columns, decimal, header.")
    if fields["decimal"] not in (None, ".", ","):
        raise ValueError("TablePreparation state: the decimal sign is neither '.' nor ','.")
    for name, how in fields["columns"].items():
        if name not in names or not isinstance(how, dict):
            raise ValueError("TablePreparation state: the reading is of a column that is not there.")
        for key, value in how.items():
            if isinstance(value, str) and len(value) < 20 if key == "mark" else value in _HOW.get(key, ()):
                continue
            raise ValueError(f"TablePreparation state: {key!r} is no way to read a column.")
    return Reading({name: dict(how) for name, how in fields["columns"].items()}, fields["decimal"], fields["header"])


def _column_from_state(state: Any) -> _Column:
    kind = state.get("kind") if isinstance(state, dict) else None
    if kind in ("numeric", "date"):
        ranged = {"low": float, "high": float} if "low" in state or kind == "date" else {}
        types = {"kind": str, "name": str, "mean": float, "scale": float, "missing": bool} | ranged
        fields = _fields(state, types, f"a {kind} column")
        _check_standard(fields, f"column {fields['name']!r}")
        low, high = fields.get("low", -math.inf), fields.get("high", math.inf)
        if math.isnan(low) or math.isnan(high) or low > high or (kind == "date" and max(-low, high) > 4e6):
            raise ValueError(f"TablePreparation state: the range of column {fields['name']!r} is none.")
        made = _Numeric if kind == "numeric" else _Date
        return made(fields["name"], fields["mean"], fields["scale"], fields["missing"], low, high)
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
