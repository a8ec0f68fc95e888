"""Plain data that a file keeps of a preparation, checked field by field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from densenet.tables.table import Reading

_HOW = {
    "decimal": (".", ","),
    "forced": (True,),
    "magnitudes": (True,),
    "dayfirst": (True, False),
    "kind": ("number", "date", "text"),
}


def fields_of(state: Any, types: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The dict, if it has exactly these keys with values of these types."""
    if not isinstance(state, dict) or set(state) != set(types):
        raise ValueError(f"TablePreparation state: {what} is not a dict of {', '.join(types)}.")
    for key, kind in types.items():
        if not isinstance(state[key], kind):
            raise ValueError(f"TablePreparation state: {key!r} of {what} is a {type(state[key]).__name__}.")
    return state


def reading_from_state(state: dict[str, Any], names: list[str]) -> Reading:
    """How a file was read, of these columns."""
    fields = {"columns": {}, "decimal": None, "header": True} | state
    if len(fields) != 3 or not isinstance(fields["columns"], dict) or not isinstance(fields["header"], bool):
        raise ValueError("TablePreparation state: the reading is not a dict of columns, decimal, header.")
    if fields["decimal"] not in (None, ".", ","):
        raise ValueError("TablePreparation state: the decimal sign is neither '.' nor ','.")
    for name, how in fields["columns"].items():
        if name not in names or not isinstance(how, dict):
            raise ValueError("TablePreparation state: the reading is of a column that is not there.")
        for key, value in how.items():
            if isinstance(value, str) and len(value) < 40 if key == "mark" else value in _HOW.get(key, ()):
                continue
            raise ValueError(f"TablePreparation state: {key!r} is no way to read a column.")
    return Reading({name: dict(how) for name, how in fields["columns"].items()}, fields["decimal"], fields["header"])


def check_standard(fields: Mapping[str, Any], what: str) -> None:
    """Refuse a mean that is not finite and a scale that is not positive."""
    if not math.isfinite(fields["mean"]) or not math.isfinite(fields["scale"]) or fields["scale"] <= 0:
        raise ValueError(f"TablePreparation state: {what} has no finite mean and positive scale.")


def check_sorted(values: Sequence[Any], kinds: tuple[type, ...], what: str) -> None:
    """Refuse values that are not different, sorted and of one of the types."""
    of_one_kind = any(all(type(value) is kind for value in values) for kind in kinds)
    if not values or not of_one_kind or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"TablePreparation state: the values of {what} are not different, sorted and of one type.")
