"""What a network sees of a table, and what its answers mean: learned from the training rows, kept as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet.tables.inputs import CategoryInput, DateInput, Input, input_from_state
from densenet.tables.learning import (
    Task,
    learned_input,
    learned_target,
    summaries_of_parts,
    summary_of,
    target_of,
    target_summary,
)
from densenet.tables.messages import counted, listed, shown_cell
from densenet.tables.states import fields_of, reading_from_state
from densenet.tables.table import Reading, Table, is_absent
from densenet.tables.target import Target


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
        self._columns: tuple[Input, ...] = ()
        self._dropped: dict[str, str] = {}
        self._target: Target | None = None
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
            every, learned = summaries_of_parts(table, target, task, who)
            name, reading, training = table.target, Reading(), every
        else:
            table = _as_table(table)
            name, reading = target_of(table, target, who), table.reading
            known = table if rows is None else table.take(rows)
            every = target_summary(name, table[name], task, who)
            training = every if rows is None else target_summary(name, known[name], task, who)
            learned = {other: summary_of(other, values) for other, values in known.columns.items() if other != name}
        goal = learned_target(name, every, training, task, who)
        found = {other: learned_input(other, summary, who) for other, summary in learned.items()}
        columns = tuple(column for column in found.values() if not isinstance(column, str))
        dropped = {other: reason for other, reason in found.items() if isinstance(reason, str)}
        if not columns:
            raise ValueError(f"{who} finds no input column beside the target {name!r}{_reasons(dropped)}.")
        wanted = {name, *(column.name for column in columns)}
        hows = {other: how for other, how in reading.columns.items() if other in wanted}
        return self._take(columns, dropped, goal, Reading(hows, reading.decimal, reading.header))

    def _take(
        self, columns: tuple[Input, ...], dropped: dict[str, str], target: Target, reading: Reading
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
        return {column.name: column.categories.copy() for column in self._columns if isinstance(column, CategoryInput)}

    @property
    def features_by_column(self) -> dict[str, list[str]]:
        """The names of the features that every input column becomes, in order."""
        self._fitted()
        return {column.name: column.features for column in self._columns}

    @property
    def text_columns(self) -> list[str]:
        """Those of them that are categorical: `read_csv(path, text=...)` keeps "007" as it is."""
        self._fitted()
        return [column.name for column in self._columns if isinstance(column, CategoryInput)]

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
        return [int(k) for k, column in zip(starts, self._columns, strict=False) if isinstance(column, DateInput)]

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
        "1 column as 1 input, target 'y' (2 classes); left out: 'gap' has no values"
        """
        goal = "regression" if self.classes is None else f"{len(self.classes)} classes"
        seen = f"{counted(len(self._columns), 'column')} as {counted(len(self.feature_names), 'input')}"
        return f"{seen}, target {self.target!r} ({goal})" + _reasons(self._dropped)

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
                lines.append(f"{shown_cell(column.name)}: empty, no value in {counted(len(values), 'row')}")
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
        return self._fitted().encoded(_as_table(table))

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
        return self._fitted().decoded(prediction)

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
        top = fields_of(
            state | {"reading": {}} if plain else state,
            {"columns": list, "dropped": dict, "target": dict, "reading": dict},
            "the state",
        )
        columns = tuple(input_from_state(entry) for entry in top["columns"])
        dropped, target = dict(top["dropped"]), Target.from_state(top["target"])
        if not columns:
            raise ValueError("TablePreparation state: there are no columns.")
        for name, reason in dropped.items():
            if not isinstance(name, str) or not isinstance(reason, str):
                raise ValueError("TablePreparation state: 'dropped' is not a dict of str to str.")
        names = [*(column.name for column in columns), *dropped, target.name]
        if len(set(names)) != len(names):
            raise ValueError("TablePreparation state: a column is named twice.")
        return TablePreparation()._take(columns, dropped, target, reading_from_state(top["reading"], names))

    def _fitted(self) -> Target:
        if self._target is None:
            raise RuntimeError("TablePreparation has learned nothing yet: call fit(table, target) first.")
        return self._target


def _reasons(dropped: Mapping[str, str]) -> str:
    return "; left out: " + ", ".join(f"{name!r} {reason}" for name, reason in dropped.items()) if dropped else ""


def _as_table(value: Any) -> Table:
    return value if isinstance(value, Table) else Table(value)
