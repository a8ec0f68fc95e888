"""The classes that a string can name: those that a package lists in `__all__`, and a user's own once registered."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any


class Names:
    """The string shorthands of one kind of class: "he_normal" is ``HeNormal()``.

    A class goes by its own name in snake case. Capitals, underscores and hyphens make no difference.

    Parameters
    ----------
    kind : type
        Base of the classes.
    listed : iterable
        What the package exports; abstract classes and all that is not of this kind are passed over.
    other : mapping of str to class
        Names that do not follow from a class's own.
    """

    def __init__(self, kind: type, listed: Iterable[Any], other: Mapping[str, type]) -> None:
        self.kind = kind
        self.classes: dict[str, type] = {}
        self._spellings: dict[str, str] = {}
        for cls in listed:
            if isinstance(cls, type) and issubclass(cls, kind) and cls is not kind and not inspect.isabstract(cls):
                self.add(cls)
        for name, cls in other.items():
            self._add(name, cls)

    def add(self, cls: type) -> None:
        """Let a class be named by its own name."""
        self._add(_snake(cls.__name__), cls)

    def _add(self, name: str, cls: type) -> None:
        self.classes[_plain(name)] = cls
        self._spellings[_plain(name)] = name

    def known(self, name: str) -> type | None:
        """The class that goes by this name."""
        return self.classes.get(_plain(name))

    def choose(self, value: Any, who: str) -> Any:
        """An object from its string shorthand, its class, or itself.

        Raises
        ------
        ValueError
            If the name is unknown, listing the names that there are.
        TypeError
            If `value` is of another kind, or its class cannot be made without arguments.
        """
        if isinstance(value, str):
            made = self.known(value)
            if made is None:
                names = ", ".join(sorted(self._spellings.values()))
                raise ValueError(f"{who} knows no {self.kind.__name__.lower()} {value!r}; it knows {names}.")
            return made()
        if isinstance(value, type) and issubclass(value, self.kind):
            return value()
        if isinstance(value, self.kind):
            return value
        raise TypeError(f"{who} expects a {self.kind.__name__} or its name, got {value!r}.")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _snake(name: str) -> str:
    return re.sub(
        r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z]{2})(?=[A-Z][a-z])|(?<=[a-z]{2})(?=[A-Z]{2})", "_", name
    ).lower()
