"""Objects that keep their constructor's arguments under their own names: files, copies and `repr` read them there."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class Configured:
    """What layers, losses, optimizers, schedules, initializers and metrics share: `config` and `repr`.

    `repr` shows the arguments that differ from their defaults, by name.
    """

    _shown_always: ClassVar[tuple[str, ...] | None] = ()
    """Arguments that `repr` shows at their defaults, too; None for all."""

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        parameters, always = inspect.signature(type(self)).parameters, self._shown_always
        shown = [
            self._argument(parameters[name], value)
            for name, value in self.config().items()
            if always is None or name in always or not self._is_default(parameters[name].default, value)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _is_default(self, default: Any, value: Any) -> bool:
        return value is default or bool(value == default)

    def _argument(self, parameter: inspect.Parameter, value: Any) -> str:
        """One argument as `repr` shows it."""
        return f"{parameter.name}={value!r}"
