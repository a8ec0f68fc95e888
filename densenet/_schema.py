"""What a value that comes from a file must be: checks that are put together like the values themselves.

Each function makes a check, ``check(value, where)``, which raises a `CheckpointError` that names the place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from densenet._files import CheckpointError

Check: TypeAlias = Callable[[Any, str], None]

_LARGEST = sys.float_info.max


def refuse(where: str, expected: str, value: Any) -> CheckpointError:
    """The error for a value that is not as expected, with no more of it than a line holds."""
    got = f"an array of {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    return CheckpointError(f"{where} must be {expected}, got {got if len(got) < 80 else got[:76] + '...'}.")


def anything(value: Any, where: str) -> None:
    """Any value that a file can hold."""


def flag(value: Any, where: str) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise refuse(where, "true or false", value)


def whole(low: int = 0, high: int = 2**53) -> Check:
    """A whole number in [low, high]."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise refuse(where, f"a whole number from {low} to {high}", value)

    return check


def real(low: float = -math.inf, *, finite: bool = True) -> Check:
    """A number of at least `low`; NaN and infinity where it need not be finite."""

    def check(value: Any, where: str) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # compared, because a whole number may be too large for a float; of NaN and infinity only floats are allowed
        fits = number and (-_LARGEST <= value <= _LARGEST or (not finite and isinstance(value, float)))
        if not fits or value < low:
            raise refuse(where, f"a {'finite ' * finite}number" + f" of at least {low}" * math.isfinite(low), value)

    return check


def text(*choices: str) -> Check:
    """A string, one of the choices where there are any."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or (choices and value not in choices):
            raise refuse(where, f"one of {choices}" if choices else "text", value)

    return check


def array(shape: tuple[int | None, ...], dtype: Any = np.float64, *, finite: bool = True) -> Check:
    """An array of that dtype and shape, None for any length."""
    wanted = np.dtype(dtype)

    def check(value: Any, where: str) -> None:
        fits = isinstance(value, np.ndarray) and value.dtype == wanted and value.ndim == len(shape)
        if not fits or any(n not in (None, m) for n, m in zip(shape, value.shape, strict=True)):
            lengths = ", ".join("n" if n is None else str(n) for n in shape)
            raise refuse(where, f"an array of {wanted} ({lengths})", value)
        if finite and not np.isfinite(value).all():
            raise CheckpointError(f"{where} must hold finite numbers.")

    return check


def maybe(check: Check) -> Check:
    """None, or what `check` allows."""

    def either(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return either


def many(check: Check) -> Check:
    """A list of what `check` allows."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise refuse(where, "a list", value)
        for i, entry in enumerate(value):
            check(entry, f"{where}[{i}]")

    return each


def row(*checks: Check, kind: type[tuple[Any, ...]] | type[list[Any]] = tuple) -> Check:
    """A tuple, or a list, with one entry for each check."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, kind) or len(value) != len(checks):
            raise refuse(where, f"{len(checks)} values", value)
        for i, (check, entry) in enumerate(zip(checks, value, strict=True)):
            check(entry, f"{where}[{i}]")

    return each


def table(check: Check) -> Check:
    """A dict from text to what `check` allows."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise refuse(where, "a table with names", value)
        for name, entry in value.items():
            check(entry, f"{where}.{name}")

    return each


def record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A dict with just these fields; the optional ones may be missing."""
    known = {**fields, **(optional or {})}

    def each(value: Any, where: str) -> None:
        if not isinstance(value, dict) or not set(fields) <= set(value) <= set(known):
            raise refuse(where, f"a record of {', '.join(known)}", value)
        for name, entry in value.items():
            known[name](entry, f"{where}.{name}")

    return each


def like(template: Any) -> Check:
    """A value of the template's form, finite wherever it holds numbers: for states whose names alone are known."""
    if isinstance(template, dict):
        return record({name: like(value) for name, value in template.items()})
    if isinstance(template, bool):
        return flag
    if isinstance(template, (int, float)):
        return real()
    return plain


def plain(value: Any, where: str) -> None:
    """Text, flags, finite numbers and arrays, or lists and tables of these."""
    if isinstance(value, dict):
        for name, entry in value.items():
            plain(entry, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            plain(entry, f"{where}[{i}]")
    elif isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise CheckpointError(f"{where} must hold finite numbers.")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        real()(value, where)
    elif not isinstance(value, (str, bool, type(None), np.generic)):
        raise refuse(where, "a plain value", value)
