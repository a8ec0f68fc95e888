"""The state of a fit: its position, the sums of its epoch, its record. Hooks see it and checkpoints keep it."""

from __future__ import annotations

import copy
import difflib
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from densenet._files import CheckpointError
from densenet._schema import Check, array, flag, like, many, maybe, plain, real, record, refuse, row, table, text, whole
from densenet._types import Array, IntArray
from densenet.metrics import NAMES, Metric
from densenet.sequential import Sequential
from densenet.training.data import ArrayBatches, Batch, StreamBatches
from densenet.training.history import History

OTHER_ARGUMENTS = "With other arguments densenet.load the checkpoint's model, and start a new fit."


@dataclass(eq=False, repr=False)
class Run:
    """The state of a `fit`; every hook gets it.

    Attributes
    ----------
    trainer : Trainer
    model : Sequential
    history : History
        Of this fit, so far.
    epochs : int
        How many epochs are asked for.
    metrics : sequence of Metric
        They gather over the epoch.
    epoch : int
        Number of the epoch, from 1.
    step : int
        Optimizer steps done in this fit.
    stepped : bool
        Whether the last mini-batch ended with an update (not every one does where gradients accumulate).
    batch_error : float
        Error of the last mini-batch.
    data : ArrayBatches, StreamBatches or None
        What the fit trains on; its `epoch` gives mini-batches.
    batch : tuple (x, y, sample_weight) or None
        The last mini-batch, y as the loss prepares it. These are working arrays: copy them to keep them.
    figures : dict
        In `on_epoch_end`: the epoch's figures, as they go into the History.
    keeps_outputs : bool
        Whether validation keeps the model's outputs. A callback sets it in `on_fit_begin`.
    outputs : ndarray (n, n_out) or None
        In `on_epoch_end`: these outputs for the n validation rows. With a communicator they are of this rank's rows.
    stopped : str or None
        The reason for which the run is to end, once there is one.
    lasting : bool
        Whether that reason holds for a resumed run, too.
    resumed : bool
        Whether the run goes on from a checkpoint.
    inside : bool
        Whether an epoch has begun and not ended.
    batches : int
        Mini-batches done in it.
    total, weights, penalties : float
        Its sums so far: of weighted errors, of weights, of weighted penalties. With a communicator they are this
        rank's own until the epoch ends.
    rank : int
        Number of this process among those of a communicator; 0, which writes the files, without one.
    agreed : bool
        Whether all ranks know that the run is to end.

    Examples
    --------
    >>> import densenet as dn
    >>> def report(run):
    ...     print(run.epoch, run.step)
    >>> trainer = dn.Trainer(dn.mlp([1, 1], seed=0), "mse", "sgd")
    >>> history = trainer.fit([[1.0], [2.0]], [1.0, 2.0], epochs=2, callbacks=[dn.LambdaCallback(on_epoch_end=report)])
    1 1
    2 2
    """

    trainer: Any
    history: History
    epochs: int
    metrics: Sequence[Metric] = ()
    plan: dict[str, Any] = field(default_factory=dict)  # arguments that must be the same when a run resumes
    generator: np.random.Generator | None = None  # draws the order of the rows; None leaves it
    order: IntArray | None = None
    fingerprints: dict[str, str | None] = field(default_factory=dict)  # of the arrays, by name

    epoch: int = 0
    step: int = 0
    stepped: bool = False
    batch_error: float = math.nan
    data: ArrayBatches | StreamBatches | None = None
    batch: Batch | None = None
    figures: dict[str, float] = field(default_factory=dict)
    keeps_outputs: bool = False
    outputs: Array | None = None
    stopped: str | None = None
    lasting: bool = True
    resumed: bool = False

    inside: bool = False
    batches: int = 0
    total: float = 0.0
    weights: float = 0.0
    penalties: float = 0.0
    shuffled_from: Any = None  # the generator's state at the epoch's start
    seconds_before: float = 0.0
    clock: float = math.nan  # when the time that counts went on
    ended: bool = False  # every epoch is over
    rank: int = 0
    agreed: bool = True

    def __post_init__(self) -> None:
        self.model: Sequential = self.trainer.model

    def stop(self, reason: str, *, lasting: bool = True) -> None:
        """Ask the run to end after the current step; the first reason counts.

        One that is not lasting, such as a time limit, does not hold for a run that is resumed, and gives way to one
        that is.
        """
        if self.stopped is None or (lasting and not self.lasting):
            self.stopped, self.lasting = reason, lasting

    @property
    def ends(self) -> bool:
        """Whether the run is to end now: a reason is there, and every rank knows it."""
        return self.stopped is not None and self.agreed

    def figure(self, name: str, who: str) -> float:
        """One of the epoch's figures by name.

        Raises
        ------
        ValueError
            If there is no such figure, naming those that there are.
        """
        if name not in self.figures:
            raise ValueError(
                f"{who} monitors {name!r}, but the epoch has only {', '.join(self.figures)}.{self._hint(name)}"
            )
        return self.figures[name]

    def _hint(self, name: str) -> str:
        """What the caller may have meant by a figure that does not exist."""
        held_out, plain = name.startswith("val_"), name.removeprefix("val_")
        if held_out and "val_loss" not in self.figures:
            return " Give fit validation_data or validation_split."
        metric = NAMES.known(plain)
        meant = plain if metric is None else metric().name
        near = difflib.get_close_matches(f"val_{meant}" if held_out else meant, self.figures, 1)
        if near:
            return f" Did you mean {near[0]!r}?"
        return "" if metric is None else f" Give the Trainer metrics=[{plain!r}]."

    # -- epochs ------------------------------------------------------------------------------------------------

    def begin_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.figures = {}
        self.inside, self.batches = True, 0
        self.total = self.weights = self.penalties = 0.0
        if self.generator is not None:
            self.shuffled_from = self.generator.bit_generator.state

    def shuffle(self) -> None:
        """Draw the epoch's order of the rows."""
        if self.order is not None and self.generator is not None:
            self.order = np.arange(len(self.order))
            self.generator.shuffle(self.order)

    def end_epoch(self, figures: dict[str, float]) -> None:
        """Record the epoch's figures."""
        self.figures = figures
        self.history.append(figures)
        self.inside = False

    @property
    def seconds(self) -> float:
        """Time spent on training so far, validation and hooks between epochs left out."""
        return self.seconds_before + (0.0 if math.isnan(self.clock) else time.perf_counter() - self.clock)

    def start_clock(self) -> None:
        """Start the clock of the training time."""
        self.clock = time.perf_counter()

    def stop_clock(self) -> None:
        """Stop the clock of the training time."""
        self.seconds_before, self.clock = self.seconds, math.nan

    # -- the position, for checkpoints -------------------------------------------------------------------------

    def state_dict(self, hooks: dict[str, Any], gathered: dict[str, Any] | None) -> dict[str, Any]:
        """The position at the last step boundary; after a failure inside a step, the start of its epoch.

        Parameters
        ----------
        hooks : dict
            As `Hooks.state_dict` gives it.
        gathered : dict or None
            The gradients of mini-batches that wait for their update.
        """
        settled = self.ended or hooks["settled"]
        inside = self.inside and settled
        generator = None if self.generator is None else _copied(self.generator)
        if generator is not None and self.inside:
            generator.bit_generator.state = self.shuffled_from
        rows, size = self.plan["rows"], self.plan["batch_size"]
        whole = rows is not None and self.batches * size >= rows
        return {
            "plan": self.plan,
            "fingerprints": self.fingerprints,
            "epoch": self.epoch - (self.inside and not inside),
            "inside": inside,
            "batch": self.batches,
            "sums": (self.total, self.weights, self.penalties),
            "step": self.step,
            "stepped": self.stepped,
            "batch_error": self.batch_error,
            "stopped": self.stopped if self.lasting else None,
            "seconds": self.seconds,
            "metrics": [metric.state_dict() for metric in self.metrics] if inside else [],
            "gathered": gathered if inside else None,
            "generator": generator,
            "gradients": whole or not inside,  # whether no step need follow, which would write them anew
            "arrays": None,  # weights and statistics, where they are not the model's any more
            "history": self.history.state_dict(),
            "hook": hooks["hook"] if settled else "",
            "callbacks": hooks["callbacks"],
        }

    def _schema(self, callback: Check) -> Check:
        """Type, shape and range of every field of `state_dict`."""
        params = self.model.params
        vector = array(params.shape, params.dtype)
        gathered = record({"seen": whole(), "weight": real(0), "sum": maybe(vector)})
        figures = table(array((None,), finite=False))
        indices = maybe(array((None,), np.intp))
        return record(
            {
                "plan": table(plain),
                "fingerprints": maybe(table(maybe(text()))),
                "epoch": whole(),
                "inside": flag,
                "batch": whole(),
                "sums": row(real(), real(0), real()),
                "step": whole(),
                "stepped": flag,
                "batch_error": real(finite=False),
                "stopped": maybe(text()),
                "seconds": real(0),
                "metrics": many(table(plain)),
                "gathered": maybe(gathered),
                "generator": maybe(_generator),
                "gradients": flag,
                "arrays": maybe(row(*(array(a.shape, a.dtype) for a in self.model.state_arrays()), kind=list)),
                "history": record({"figures": figures, "train_indices": indices, "validation_indices": indices}),
                "hook": text("", "on_batch_end", "on_epoch_end"),
                "callbacks": many(callback),
            }
        )

    def check_state(self, state: Any, callback: Check, changed_data: bool = False) -> None:
        """Complain unless `state` is what `state_dict` gives for a fit like this one; `callback` checks their entries.

        Raises
        ------
        CheckpointError
            Naming the field and what it must be; also if this fit has other arguments, or, unless `changed_data`, other
            arrays.

        Warns
        -----
        UserWarning
            If `state` was written by version 0.1 and cannot tell.
        """
        self._schema(callback)(state, "its position")
        rows = self.plan["rows"]
        for name, value in self.plan.items():
            if name == "learning_rate":  # the optimizer's state decides
                continue
            if name in state["plan"] and value != (kept := state["plan"][name]):
                raise CheckpointError(
                    f"fit, to resume, expects {name} as in the checkpoint, {kept!r}, got {value!r}. {OTHER_ARGUMENTS}"
                )
        if rows is not None:
            whole(0, math.ceil(rows / self.plan["batch_size"]))(state["batch"], "its position.batch")
        done = state["epoch"] - state["inside"]
        if state["hook"] and state["inside"] != (state["hook"] == "on_batch_end"):
            raise CheckpointError(
                f"its position must not be in {state['hook']} {'inside' if state['inside'] else 'between'} epochs."
            )
        missing = self._always() - set(state["history"]["figures"]) if done else set()
        if missing:
            raise CheckpointError(f"its history must have the figures {', '.join(sorted(missing))}.")
        for name, column in state["history"]["figures"].items():
            if len(column) != done:
                raise CheckpointError(f"its history has {len(column)} epochs of {name}, and its position {done}.")
        if state["inside"]:
            _check_metrics(self.metrics, state["metrics"])
        if (state["generator"] is None) != (self.generator is None):
            raise CheckpointError("its position must have a generator where rows are shuffled, and only there.")
        if not changed_data:
            self._check_data(state["fingerprints"])

    def _always(self) -> set[str]:
        """Names of the figures that every epoch of this run has."""
        names = {"loss", *(metric.name for metric in self.metrics)}
        held_out = {f"val_{name}" for name in names} if self.plan["validation"] else set()
        return names | held_out | {"learning_rate", "seconds"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to the position that `state_dict` gave, once `check_state` has passed it."""
        self.inside, self.batches = state["inside"], state["batch"]
        self.total, self.weights, self.penalties = state["sums"]
        self.seconds_before, self.generator = state["seconds"], state["generator"]
        self.epoch, self.step, self.stepped = state["epoch"], state["step"], state["stepped"]
        self.batch_error, self.stopped, self.resumed = state["batch_error"], state["stopped"], True
        self.figures = {} if self.inside else self.history.last
        if self.inside:
            for metric, kept in zip(self.metrics, state["metrics"], strict=True):
                metric.load_state_dict(kept)
            if self.generator is not None:
                self.shuffled_from = self.generator.bit_generator.state
            self.shuffle()

    def _check_data(self, kept: dict[str, str | None] | None) -> None:
        if kept is None:
            warnings.warn(
                "the checkpoint was written by version 0.1, without fingerprints of its data: whether x, y and "
                "weights are the same is not checked. changed_data=True silences this.",
                stacklevel=5,
            )
            return
        other = [name for name in {**kept, **self.fingerprints} if kept.get(name) != self.fingerprints.get(name)]
        if other:
            raise CheckpointError(
                f"fit, to resume, expects the arrays of the checkpoint's run, got another {', another '.join(other)}. "
                "changed_data=True goes on with these all the same."
            )


def _copied(generator: np.random.Generator) -> np.random.Generator:
    """A generator that draws the same numbers; a deep copy takes three times as long, in every `fit`."""
    if type(generator.bit_generator).__module__.split(".")[0] != "numpy":
        return copy.deepcopy(generator)
    made = type(generator.bit_generator)(0)
    made.state = generator.bit_generator.state
    return np.random.Generator(made)


def _generator(value: Any, where: str) -> None:
    if not isinstance(value, np.random.Generator):
        raise refuse(where, "a random generator", value)


def _check_metrics(metrics: Sequence[Metric], kept: list[dict[str, Any]]) -> None:
    """Complain unless each metric can go on from its state; a copy of it tries."""
    if len(kept) != len(metrics):
        raise CheckpointError(f"its position has {len(kept)} metrics, and the fit {len(metrics)}.")
    for i, (metric, state) in enumerate(zip(metrics, kept, strict=True)):
        trial = copy.deepcopy(metric)
        trial.reset()
        like(trial.state_dict())(state, f"its state of {metric!r}")
        try:
            trial.load_state_dict(copy.deepcopy(state))
            trial.result()
        except Exception as error:
            raise CheckpointError(f"its state of {metric!r}, metric {i}, is impossible: {error!r}") from None
