"""Hooks into training: what is called around fit, epochs and mini-batches, and between backward and update.

A callback sees the `Run`: the trainer, its model and optimizer, the position, and the epoch's figures. It may look at
anything, change the rate or the gradients, and ask the run to stop.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from densenet._config import Configured
from densenet._files import CheckpointError
from densenet._schema import anything, flag, maybe, plain, record, table, text
from densenet.training.run import OTHER_ARGUMENTS, Run

_PLAIN = (type(None), bool, int, float, str)


class Callback(Configured):
    """Base of callbacks: every hook does nothing; override those you need.

    Examples
    --------
    >>> import densenet as dn
    >>> class Largest(dn.Callback):
    ...     def on_gradients(self, run):
    ...         self.largest = abs(run.model.grads).max()
    """

    observes: ClassVar[bool] = False
    """Whether it leaves the run as it is: a resumed run may do without it, and of several ranks rank 0 calls it."""
    collective: ClassVar[bool] = False
    """Whether every rank of a communicator calls it although it only observes: a checkpoint inside an epoch needs the
    sums of all ranks."""

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, by name, as far as they are kept under their names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters if hasattr(self, name)}

    def plan(self) -> dict[str, Any]:
        """The arguments that must be the same when a run resumes: numbers and strings; none if it only observes."""
        if self.observes:
            return {}
        return {name: value for name, value in self.config().items() if isinstance(value, _PLAIN)}

    def on_fit_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_fit_end(self, run: Run) -> None:
        """After the last epoch, also when the fit ends by an exception."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before an epoch's first batch."""

    def on_epoch_end(self, run: Run) -> None:
        """After validation, with the epoch's figures in ``run.figures``."""

    def on_batch_begin(self, run: Run) -> None:
        """Before the forward pass of a mini-batch."""

    def on_batch_end(self, run: Run) -> None:
        """After the update."""

    def on_gradients(self, run: Run) -> None:
        """Between backward and update: ``run.model.grads`` holds dE/dw before clipping, and may be changed."""

    def rest(self, run: Run) -> float:
        """After how many more updates `on_batch_begin` and `on_batch_end` have to be called again, with kernels.

        0, the default, is for a callback that looks at every mini-batch and its arrays: the NumPy lines make them then.
        A callback that says more finds parameters, statistics, optimizer and position as they are after so many
        updates or fewer, and neither ``run.batch`` nor what layers and loss keep of a mini-batch. What it sets counts
        from the next mini-batch that follows a call on; 1 is for a callback that sets something for each.
        """
        return 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep: numbers, strings, arrays."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""

    def check_state(self, state: Any, run: Run) -> None:
        """Complain unless `state` is what `state_dict` gives: a checkpoint may say anything.

        Raises
        ------
        CheckpointError
            If it is not; by default if it holds anything but text, finite numbers and arrays.
        """
        table(plain)(state, state_of(self))


def state_of(callback: Callback) -> str:
    """What a checkpoint keeps of a callback, in a message."""
    return f"its state of {type(callback).__name__}"


HOOKS: tuple[str, ...] = (
    "on_fit_begin",
    "on_fit_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_batch_begin",
    "on_batch_end",
    "on_gradients",
)


def as_callbacks(callbacks: Sequence[Callback] | Callback) -> list[Callback]:
    """The callbacks as a list; a single callback becomes a list of one.

    Raises
    ------
    TypeError
        If an entry is no `Callback`.
    """
    made = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in made:
        if not isinstance(callback, Callback):
            raise TypeError(f"fit expects callbacks to be Callback objects, got {callback!r}.")
    return made


class Hooks:
    """The callbacks of a fit, by hook: only those that override it are called.

    Other ranks of a communicator than rank 0 leave out those that only observe.

    Attributes
    ----------
    callbacks : list of Callback
    now : str
        Name of the hook that is being called, or in which the last failure was; "" between hooks.
    """

    def __init__(self, callbacks: list[Callback], rank: int = 0) -> None:
        for callback in callbacks:
            _check_hooks(callback)
        if rank:
            callbacks = [callback for callback in callbacks if callback.collective or not callback.observes]
        self.callbacks = callbacks
        self._plans = [callback.plan() for callback in callbacks]  # as they are before anything moves
        self.now = ""
        self._at = 0
        self._resumed: list[tuple[Callback, dict[str, Any]]] = []
        self._waiting_for = ""
        self._owners = {name: tuple(c for c in callbacks if overrides(c, name)) for name in HOOKS}
        self._by_name = {name: tuple(getattr(c, name) for c in owners) for name, owners in self._owners.items()}

    def __getitem__(self, name: str) -> tuple[Callable[[Run], None], ...]:
        return self._by_name[name]

    def call(self, name: str, run: Run, only: list[Callback] | None = None) -> None:
        """Call every callback's hook of that name, in order; with `only`, no other callback's."""
        self.now = name
        for i, hook in enumerate(self._by_name[name]):
            self._at = i
            if only is None or any(self._owners[name][i] is callback for callback in only):
                hook(run)
        self.now = ""

    @property
    def settled(self) -> bool:
        """Whether the current hook runs at a step boundary."""
        return self.now in ("on_batch_end", "on_epoch_end")

    def state_dict(self) -> dict[str, Any]:
        """The callbacks' states, and the hook that some of them still wait for."""
        waiting = list(self._owners[self.now][self._at + 1 :]) if self.settled else []
        return {
            "settled": self.settled,
            "hook": self.now if waiting else "",
            "callbacks": [
                {
                    "class": type(callback).__name__,
                    "plan": plan,
                    "state": callback.state_dict(),
                    "observes": callback.observes,
                    "waiting": any(callback is other for other in waiting),
                }
                for callback, plan in zip(self.callbacks, self._plans, strict=True)
            ],
        }

    def check_state(self, entry: Any, where: str) -> None:
        """Complain unless an entry of `state_dict` has its form; `load_state_dict` checks the states."""
        fields = {"class": text(), "plan": maybe(table(plain)), "state": anything, "observes": flag, "waiting": flag}
        record(fields)(entry, where)

    def load_state_dict(self, hook: str, entries: list[dict[str, Any]], run: Run) -> None:
        """Match every entry with a callback and check its state; `take_up` restores the states after `on_fit_begin`.

        Raises
        ------
        CheckpointError
            If a callback that has a state is missing or has other arguments, or its state is not one.
        """
        left = list(zip(self.callbacks, self._plans, strict=True))
        for entry in entries:
            name, kept = entry["class"], entry["plan"]
            alike = [pair for pair in left if type(pair[0]).__name__ == name]
            found = next((pair for pair in alike if pair[1] == kept), alike[0] if alike else None)
            if found is not None:
                _check_plan(name, kept, found[1])
                left = [pair for pair in left if pair[0] is not found[0]]
                found[0].check_state(entry["state"], run)
                self._resumed.append((found[0], entry))
            elif entry["state"] and not entry["observes"]:
                raise CheckpointError(f"fit, to resume, expects the checkpoint's {name} among its callbacks.")
        self._waiting_for = hook

    def take_up(self, run: Run) -> None:
        """Restore the states of resumed callbacks, and call the hooks that the checkpoint interrupted."""
        for callback, entry in self._resumed:
            try:
                callback.load_state_dict(entry["state"])
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                name = type(callback).__name__
                raise CheckpointError(f"the checkpoint's state does not suit {name}: {error!r}") from error
        if self._waiting_for:
            self.call(self._waiting_for, run, [callback for callback, entry in self._resumed if entry["waiting"]])
        self._resumed, self._waiting_for = [], ""

    def end(self, run: Run) -> None:
        """Call every `on_fit_end`, even after a failure; then raise the first failure."""
        failure: BaseException | None = None
        for hook in self._by_name["on_fit_end"]:
            try:
                hook(run)
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _check_plan(who: str, kept: dict[str, Any] | None, given: dict[str, Any]) -> None:
    """CheckpointError where a callback has other arguments than in the checkpoint; version 0.1 kept none."""
    for name, value in given.items():
        if kept is not None and name in kept and kept[name] != value:
            raise CheckpointError(
                f"fit, to resume, expects {who}'s {name} as in the checkpoint, {kept[name]!r}, got {value!r}. "
                f"{OTHER_ARGUMENTS}"
            )


def _check_hooks(callback: Callback) -> None:
    """Refuse a hook that does not exist, or one that takes other arguments than the run.

    Raises
    ------
    TypeError
        Naming the callback, the hook, and the nearest one that exists.
    """
    who = type(callback).__name__
    names = {*vars(callback), *(name for kind in type(callback).__mro__ for name in vars(kind))}
    for name in sorted(name for name in names if name.startswith("on_") and callable(getattr(callback, name, None))):
        if name not in HOOKS:
            near = difflib.get_close_matches(_FOREIGN.get(name, name), HOOKS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise TypeError(f"{who} has a hook {name}, which is never called; the hooks are {', '.join(HOOKS)}.{hint}")
        try:
            inspect.signature(getattr(callback, name)).bind(None)
        except TypeError:
            raise TypeError(
                f"{who}.{name} expects other arguments than it gets: every hook is called as {name}(run), "
                "with the position and the figures in the run."
            ) from None
        except ValueError:  # a callable whose signature cannot be read
            continue
        parameters = list(inspect.signature(getattr(callback, name)).parameters.values())
        if parameters and parameters[0].name in ("epoch", "batch", "logs", "step"):
            raise TypeError(
                f"{who}.{name}({', '.join(parameter.name for parameter in parameters)}) looks like a hook of another "
                f"library: it is called as {name}(run), with run.epoch, run.step and run.figures."
            )


_FOREIGN = {
    "on_train_begin": "on_fit_begin",
    "on_train_end": "on_fit_end",
    "on_train_start": "on_fit_begin",
    "on_train_batch_begin": "on_batch_begin",
    "on_train_batch_start": "on_batch_begin",
    "on_train_batch_end": "on_batch_end",
    "on_train_epoch_start": "on_epoch_begin",
    "on_train_epoch_end": "on_epoch_end",
    "on_grad_computed": "on_gradients",
    "on_before_optimizer_step": "on_gradients",
}
"""Hooks of Keras, Lightning and skorch, and what they are called here."""


def overrides(callback: Callback, name: str) -> bool:
    """Whether a callback has a hook of its own."""
    return name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
