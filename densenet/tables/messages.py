"""What readers of tables say: names and cells of bounded length, and refusals that carry their remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST = 60


class TableError(ValueError):
    """A table cannot be read in one way only; `remedy` holds the options that settle it.

    Parameters
    ----------
    reason : str
        What is wrong and where.
    remedy : mapping of str to value, optional
        Arguments of `densenet.datasets.read_csv` that settle it: a list of columns, a word, or a bool.

    Examples
    --------
    >>> from densenet.tables import TableError
    >>> print(TableError("'age' holds '85+' in line 3", {"numeric": ["age"]}))
    'age' holds '85+' in line 3: read_csv(..., numeric=['age'])
    """

    def __init__(self, reason: str, remedy: Mapping[str, Any] | None = None) -> None:
        self.reason, self.remedy = reason, dict(remedy or {})

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.remedy.items())
        return f"{self.reason}: read_csv(..., {told})" if told else f"{self.reason}."


def listed(names: Iterable[Any]) -> str:
    """Up to twenty names for a message."""
    shown = [shown_cell(name) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def shown_cell(value: Any) -> str:
    """A value for a message: its repr, or the beginning of it and its length."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]!r}... ({len(value):,} characters)"
    return repr(value)
