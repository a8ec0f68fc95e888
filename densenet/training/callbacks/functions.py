"""A callback made of plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densenet.training.hooks import HOOKS, Callback
from densenet.training.run import Run

Hook = Callable[[Run], Any]


class LambdaCallback(Callback):
    """Hooks from plain functions, each called with the `Run`.

    Parameters
    ----------
    on_fit_begin, on_fit_end, on_epoch_begin, on_epoch_end : callable, optional
    on_batch_begin, on_batch_end, on_gradients : callable, optional

    Raises
    ------
    TypeError
        If an argument is not callable, or names no hook.

    Examples
    --------
    >>> import densenet as dn
    >>> show = dn.LambdaCallback(on_epoch_end=lambda run: print(run.epoch, run.figures["loss"]))
    """

    def __init__(
        self,
        *,
        on_fit_begin: Hook | None = None,
        on_fit_end: Hook | None = None,
        on_epoch_begin: Hook | None = None,
        on_epoch_end: Hook | None = None,
        on_batch_begin: Hook | None = None,
        on_batch_end: Hook | None = None,
        on_gradients: Hook | None = None,
    ) -> None:
        given = (on_fit_begin, on_fit_end, on_epoch_begin, on_epoch_end, on_batch_begin, on_batch_end, on_gradients)
        for name, hook in zip(HOOKS, given, strict=True):
            if hook is None:
                continue
            if not callable(hook):
                raise TypeError(f"LambdaCallback expects {name} to be callable, got {hook!r}.")
            setattr(self, name, hook)

    def config(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in HOOKS if name in vars(self)}
