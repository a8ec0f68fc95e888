"""What a preparation learns from the summaries of a table's columns: its inputs and its target."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from densenet._types import Array
from densenet.tables.inputs import CategoryInput, DateInput, Input, NumericInput, as_numeric, days_of
from densenet.tables.numbers import nearly_numbers
from densenet.tables.summary import MOST_DIFFERENT, Summary
from densenet.tables.table import Table, is_date, is_numeric
from densenet.tables.target import LARGEST_CLASS, Target, check_complete

Task: TypeAlias = Literal["auto", "classification", "regression"]

_FEW_CATEGORIES = 50
_MOST_NUMBERED_CLASSES = 20
_FEW_CLASSES = 10


def target_of(table: Table, target: str | None, who: str) -> str:
    """The name of the target: the one given, else the table's own."""
    name = table.target if target is None else target
    if name is None:
        raise ValueError(f"{who} expects the name of the target column, and the table does not name one either.")
    return table.require(name, who)


def summary_of(name: str, values: Array) -> Summary:
    """What is learned of an input column's values."""
    if is_date(values):
        return Summary.of_numbers(days_of(name, values), "date")
    return Summary.of_numbers(values) if is_numeric(values) else Summary.of_texts(values)


def target_summary(name: str, values: Array, task: Task, who: str) -> Summary:
    """What is learned of the target's values, which must all be there and suit the task."""
    check_complete(name, values, who)
    if is_date(values):
        raise ValueError(f"{who} expects the target {name!r} to be numbers or classes, got dates.")
    if task == "regression":
        return Summary.of_numbers(as_numeric(name, values))
    if not is_numeric(values):
        return Summary.of_texts(values)
    broken = np.flatnonzero((values != np.floor(values)) | (np.abs(values) > LARGEST_CLASS))
    if task == "classification" and len(broken):
        raise ValueError(
            f"{who} expects classes to be text or whole numbers, got {values[broken[0]]} in row {broken[0]} of "
            f"{name!r}: use task='regression'."
        )
    return Summary.of_numbers(values, distinct=True)


def summaries_of_parts(data: Any, target: str | None, task: Task, who: str) -> tuple[Summary, dict[str, Summary]]:
    """Summaries of the target and of the other columns of a table in parts, from one pass over it."""
    if target not in (None, data.target):
        raise ValueError(f"{who} expects the target that the parts were opened with, {data.target!r}, got {target!r}.")
    if not isinstance(data.target, str):
        raise ValueError(f"{who} expects one target column, got {data.target!r}.")
    every, learned = Summary(), dict[str, Summary]()
    for where, part, is_learned in data.parts():
        every = every.merged(target_summary(data.target, part[data.target], task, f"{who}, {where},"), data.target)
        for name, values in part.columns.items() if is_learned else ():
            if name != data.target:
                learned[name] = learned.get(name, Summary()).merged(summary_of(name, values), name)
    return every, learned


def learned_input(name: str, summary: Summary, who: str) -> Input | str:
    """The column's preparation, or the reason to leave it out."""
    if summary.kind is None:
        return "has no values"
    missing = summary.present < summary.rows
    if summary.kind == "text":
        if _names_rows(summary.different, summary.rows):
            return f"has {_count(summary.different)} different texts in {summary.rows} rows"
        return CategoryInput(name, sorted(summary.different or ()), missing)
    made = DateInput if summary.kind == "date" else NumericInput
    return made(name, *_standard(name, summary, who), missing, summary.low, summary.high)


def learned_target(name: str, every: Summary, training: Summary, task: Task, who: str) -> Target:
    """The target: task and classes from all rows, mean and scale from the training rows."""
    numeric, different = every.kind == "number", every.different
    if task == "regression" or (task == "auto" and numeric and not _are_numbered_classes(every)):
        return Target(name, None, *_standard(name, training, who))
    classes: Any = sorted(different or ())
    numbers_as_words = not numeric and task == "auto" and 2 * len(classes) > every.rows and nearly_numbers(classes)
    none_repeats = len(classes) == every.rows or numbers_as_words
    if _names_rows(different, every.rows) or (none_repeats and len(classes) > _FEW_CLASSES):
        first = f", the first {classes[0]!r}" if classes else ""
        raise ValueError(
            f"{who} finds {_count(different)} classes of {name!r} in {every.rows} rows{first}: classes should repeat, "
            "and a target for regression should be numbers only."
        )
    return Target(name, [int(value) for value in classes] if numeric else classes)


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
