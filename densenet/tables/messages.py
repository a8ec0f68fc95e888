"""What readers of tables say: names and cells of bounded length, and refusals that carry their remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST = 60


class TableError(ValueError):
    """A table cannot be read in one way only; `remedy` holds the arguments that settle it.

    Parameters
    ----------
    reason : str
        What is wrong and where.
    remedy : mapping of str to value, optional
        Arguments of `densenet.datasets.read_csv` in place of those that were given: a list of columns, a word, a bool,
        or None for the default.
    before : str, default ""
        A shell command that first makes the file `remedy` names as `path`.

    Examples
    --------
    >>> from densenet.tables import TableError
    >>> print(TableError("'age' holds '85+' in line 3", {"numeric": ["age"]}))
    'age' holds '85+' in line 3: read_csv(..., numeric=['age'])
    >>> print(TableError("two files", {"path": "unpacked/a.csv"}, "unzip -d unpacked ab.zip a.csv"))
    two files: unzip -d unpacked ab.zip a.csv, then read_csv('unpacked/a.csv')
    """

    def __init__(self, reason: str, remedy: Mapping[str, Any] | None = None, before: str = "") -> None:
        self.reason, self.remedy, self.before = reason, dict(remedy or {}), before

    def __str__(self) -> str:
        options = dict(self.remedy)
        path = repr(options.pop("path")) if "path" in options else "..."
        told = ", ".join([path, *(f"{name}={value!r}" for name, value in options.items())])
        first = f"{self.before}, then " if self.before else ""
        return f"{self.reason}: {first}read_csv({told})" if self.remedy else f"{self.reason}."


def counted(count: int, what: str) -> str:
    """A count and its noun, such as 1 row, 2,000 rows."""
    return f"{count:,} {what}{'s' if count > 1 else ''}"


def listed(names: Iterable[Any]) -> str:
    """Up to twenty names for a message."""
    shown = [shown_cell(name) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that is nearest to another, if one is near: first one that differs by case and blanks alone.

    Examples
    --------
    >>> from densenet.tables.messages import nearest
    >>> nearest("Body mass", ["body_mass", "bodymass index"]), nearest("sexe", ["age", "sex"]), nearest("y", ["a", "b"])
    ('body_mass', 'sex', None)
    """
    every = list(names)
    same = [other for other in every if bare_name(other) == bare_name(name)]
    return next(iter(same or difflib.get_close_matches(name, every, 1, 0.7)), None)


def bare_name(name: str) -> str:
    """A column's name without case, blanks, and what stands for them."""
    return re.sub(r"[\W_]+", "", name).casefold() or name


def shown_cell(value: Any) -> str:
    """A value for a message: its repr, or the beginning of it and its length."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]!r}... ({len(value):,} characters)"
    return repr(value)
