"""What a network sees of one column: numbers, elapsed days and circles of a date, one-hot columns of categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet.tables.cells import is_boolean
from densenet.tables.messages import shown_cell
from densenet.tables.numbers import parse_numbers
from densenet.tables.states import check_sorted, check_standard, fields_of
from densenet.tables.table import as_texts, is_absent, is_date, is_numeric


@dataclass(frozen=True)
class NumericInput:
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
        numbers = as_numeric(self.name, values)
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
        numbers = as_numeric(self.name, values)
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
        return standard_state("numeric", self)


@dataclass(frozen=True)
class DateInput:
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
        days = days_of(self.name, values)
        width = self.high - self.low
        beyond = np.flatnonzero((days < self.low - width) | (days > self.high + width))
        if not len(beyond):
            return []
        low, high = (str(np.datetime64(int(day), "D")) for day in (self.low, self.high))
        such = f"such as {values[beyond[0]].astype('datetime64[D]')}"
        return [f"{len(beyond):,} of {len(values):,} dates are far outside of training's {low} to {high}, {such}"]

    def fill(self, values: Array, out: NDArray[np.float32]) -> None:
        days = days_of(self.name, values)
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
        return standard_state("date", self)


@dataclass(frozen=True)
class CategoryInput:
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
        return spelled(texts, self.categories) if is_boolean(self.categories) else texts

    def state(self) -> dict[str, Any]:
        return {
            "kind": "categorical",
            "name": self.name,
            "categories": self.categories.copy(),
            "missing": self.missing,
        }


Input: TypeAlias = NumericInput | DateInput | CategoryInput


def input_from_state(state: Any) -> Input:
    """A column's input from plain data."""
    kind = state.get("kind") if isinstance(state, dict) else None
    if kind in ("numeric", "date"):
        ranged = {"low": float, "high": float} if "low" in state or kind == "date" else {}
        types = {"kind": str, "name": str, "mean": float, "scale": float, "missing": bool} | ranged
        fields = fields_of(state, types, f"a {kind} column")
        check_standard(fields, f"column {fields['name']!r}")
        low, high = fields.get("low", -math.inf), fields.get("high", math.inf)
        if math.isnan(low) or math.isnan(high) or low > high or (kind == "date" and max(-low, high) > 4e6):
            raise ValueError(f"TablePreparation state: the range of column {fields['name']!r} is not one.")
        made = NumericInput if kind == "numeric" else DateInput
        return made(fields["name"], fields["mean"], fields["scale"], fields["missing"], low, high)
    if kind == "categorical":
        fields = fields_of(
            state, {"kind": str, "name": str, "categories": list, "missing": bool}, "a categorical column"
        )
        check_sorted(fields["categories"], (str,), f"column {fields['name']!r}")
        return CategoryInput(fields["name"], fields["categories"].copy(), fields["missing"])
    raise ValueError("TablePreparation state: a column is neither numeric nor categorical.")


def standard_state(kind: str, column: NumericInput | DateInput) -> dict[str, Any]:
    """A column that is standardised as plain data; the range where it is known."""
    names = ["name", "mean", "scale", "missing"] + ["low", "high"] * math.isfinite(column.high - column.low)
    return {"kind": kind} | {name: getattr(column, name) for name in names}


def spelled(texts: Sequence[str | None], words: Sequence[str]) -> list[str | None]:
    """Words for true and false as they are spelled among these; others as they are."""
    spelling = {word.lower(): word for word in words}
    return [text if text is None else spelling.get(text.lower(), text) for text in texts]


def days_of(name: str, column: Array) -> NDArray[np.float64]:
    """Days since 1970-01-01, NaN where there is no date."""
    if is_date(column):
        seconds = column.astype("datetime64[s]")
        return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64) / 86400.0)
    if is_absent(column).all():
        return np.full(len(column), np.nan)
    row = int(np.flatnonzero(~is_absent(column))[0])
    raise ValueError(f"TablePreparation expects dates in column {name!r}, got {column[row]!r} in row {row}.")


def as_numeric(name: str, column: Array) -> NDArray[np.float64]:
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
