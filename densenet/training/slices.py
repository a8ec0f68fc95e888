"""Mini-batches by compiled kernels, several at a time.

A fit asks once, before its first epoch, whether it may run there. Between two slices of at most 50 ms the state
is as the NumPy lines leave it after the same mini-batch: then Ctrl-C, callbacks and checkpoints have their turn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from densenet._types import Array, IntArray
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.mixture import Mixture
from densenet.layers.tabular import Blend, Columns, Periodic
from densenet.metrics import F1, Accuracy, Metric, Precision, Recall, TopKAccuracy
from densenet.optimizers.base import Optimizer
from densenet.sequential import Sequential
from densenet.training.data import ArrayBatches, StreamBatches
from densenet.training.full_batch import FullBatchSolver
from densenet.training.hooks import Hooks, overrides
from densenet.training.run import Run
from densenet.training.step import Step

if TYPE_CHECKING:
    from densenet.compiled.plan import Plan

Choice: TypeAlias = bool | Literal["auto"]

WORTHWHILE = 5.0
"""Seconds that a fit has to save, by `saving`, before "auto" takes the kernels."""
SLICE_SECONDS = 0.02
"""What a slice is to take: well below the 50 ms after which a Ctrl-C has to be seen."""

_BY_BATCH = ("on_batch_begin", "on_batch_end")


def saving(model: Sequential, optimizer: Optimizer, steps: int, batch: int) -> float:
    """Seconds that kernels save in so many steps: estimated from steps, rows, widths and the optimizer's vectors alone.

    A step of the NumPy lines makes some calls whatever its size, and some for every layer. Activations and losses go
    more than once over what they touch, and so does an update over the vectors that it keeps.
    """
    entries, _ = _entries(model.layers, model.n_in or 1)
    calls = 6e-6 + 2.4e-6 * len(model.every_layer)
    return steps * (calls + 4e-10 * batch * entries + 5e-10 * model.params.size * len(optimizer.slots))


def _entries(layers: Sequence[Layer], width: int) -> tuple[float, int]:
    """Entries that the NumPy lines go over for a row of so many columns, a few times each, and columns of the result.

    `Blend` goes over them some ten times as often, with the function in it; so do the cosines of `Periodic`. Of the
    chains of a `Mixture` one takes the row.
    """
    entries = 0.0
    for layer in layers:
        given = layer.output_width(width) or width
        if isinstance(layer, Columns):
            entries += sum(_entries(*part)[0] for part in zip(layer.branches, layer.widths, strict=True))
        elif isinstance(layer, Mixture):
            entries += _entries(layer.branches[0], width)[0]
        elif isinstance(layer, Periodic):
            entries += 4 * layer.n * layer.frequencies
        elif not isinstance(layer, Dense):
            entries += given * (10 if isinstance(layer, Blend) else 1)
        width = given
    return entries, width


def slices(
    choice: Choice,
    step: Step,
    run: Run,
    hooks: Hooks,
    data: ArrayBatches | StreamBatches,
    batch_size: int,
    before: bool | None = None,
    plan: Plan | None = None,
) -> tuple[Slices | None, str | None]:
    """The kernels' `Slices` for a fit; or None, and the reason why the NumPy lines run it.

    Parameters
    ----------
    choice : True, False or "auto"
    step, run, hooks, data, batch_size
        Of the fit.
    before : bool, optional
        Of a resumed run: whether kernels made it so far, which "auto" follows.
    plan : Plan, optional
        One written before, which is used again where it serves.

    Raises
    ------
    ValueError
        If `choice` is True and there is a reason.
    """
    if choice is False:
        return None, "Trainer(compiled=False)"
    reason = _refusal(choice, step, run, hooks, data, batch_size, before)
    made = None
    if reason is None and isinstance(data, ArrayBatches):
        from densenet.compiled.machine import CompilationError

        try:
            made = Slices(step, run, data, batch_size, plan)
        except CompilationError as error:
            reason = str(error)
    if reason is not None and choice is True:
        raise ValueError(
            f"Trainer(compiled=True): this fit has to run in the NumPy lines, since {reason}. "
            'compiled="auto" takes them where it must.'
        )
    return made, reason


def _refusal(
    choice: Choice,
    step: Step,
    run: Run,
    hooks: Hooks,
    data: ArrayBatches | StreamBatches,
    batch_size: int,
    before: bool | None,
) -> str | None:
    if isinstance(step.optimizer, FullBatchSolver):
        return f"{step.optimizer!r} makes its own steps"
    if step.ranks.size > 1:
        return f"{step.ranks.size} ranks share the mini-batches, and meet in each"
    if isinstance(data, StreamBatches):
        return "batches come from an iterable"
    if not isinstance(data.x, np.ndarray) or not data.direct:
        return f"x is {data.x.dtype}, and converted batch by batch"
    if data.y.dtype != (np.int64 if data.y.ndim == 1 else step.model.dtype):
        return f"targets are {data.y.dtype}"
    if data.weight is not None and data.weight.dtype != step.model.dtype:
        return f"weights are {data.weight.dtype}"
    for callback in hooks.callbacks:
        if reason := _what_it_needs(callback, run):
            return reason
    for metric in run.metrics:
        if metric.wants_probabilities and step.loss.task == "regression":
            return f"{metric!r} wants probabilities"
    if choice == "auto" and before is False:
        return "the NumPy lines made the run so far"
    if choice == "auto" and before is None:
        steps, batch = run.epochs * math.ceil(len(data) / batch_size), min(batch_size, len(data))
        if (saved := saving(step.model, step.optimizer, steps, batch)) < WORTHWHILE:
            return f"the fit is short: kernels would save about {saved:.2g} s, and are taken from {WORTHWHILE:g} s on"
    from densenet.compiled.offer import refusal

    return refusal(step.model, step.loss, step.optimizer)


def _what_it_needs(callback: Any, run: Run) -> str | None:
    """What a callback needs and kernels do not provide."""
    if overrides(callback, "on_gradients"):
        return f"{callback!r} has on_gradients"
    for hook in _BY_BATCH:
        if overrides(callback, hook) and not callback.rest(run):
            return f"{callback!r} has {hook}, and no `rest`"
    return None


def _at_most(step: Step, batch: int) -> float:
    """Seconds that a mini-batch takes on a slow machine: 2 GFLOP/s, 20 ns an entry, 3 us a layer."""
    model, width, entries = step.model, step.model.n_in or 1, 0
    for layer in model.layers:
        width = layer.output_width(width) or width
        entries += width
    return 3e-9 * (batch + 1) * model.params.size + 2e-8 * batch * entries + 3e-6 * len(model.layers)


class Slices:
    """The mini-batches of a fit, made by kernels.

    Parameters
    ----------
    step : Step
    run : Run
    data : ArrayBatches
    batch_size : int
    plan : Plan, optional
        One written before.

    Raises
    ------
    CompilationError
        If a kernel does not compile here.

    Attributes
    ----------
    plan : Plan
        The plan in use.
    reason : str or None
        Why the NumPy lines have taken over, if a callback has set something without a kernel.
    begun : bool
        Whether `on_batch_begin` of the next mini-batch has been called already when they do.
    """

    reason: str | None = None
    begun: bool = False

    def __init__(self, step: Step, run: Run, data: ArrayBatches, batch_size: int, plan: Plan | None = None) -> None:
        self.step, self.data, self.batch = step, data, min(batch_size, len(data))
        self.y = np.ascontiguousarray(data.y)
        self.weight = None if data.weight is None else np.ascontiguousarray(data.weight)
        self._at_a_time = max(1, int(SLICE_SECONDS / _at_most(step, self.batch)))
        self.plan = self._write(run, plan)

    def _write(self, run: Run, plan: Plan | None) -> Plan:
        data, ordered = (self.data.x, self.y, self.weight), run.order is not None or self.data.rows is not None
        return written(plan, self.step, len(self.data), self.batch, data, ordered, bool(run.metrics))

    def mini_batches(self, run: Run, hooks: Hooks) -> Array | None:
        """Make the mini-batches of the epoch that are still to come, until the run is to stop.

        Returns
        -------
        ndarray or None
            x of the mini-batch whose error, in ``run.batch_error``, is not finite.
        """
        self.begun, order = False, self._take(run)
        if self.reason is not None:
            return None
        end, gathered = math.ceil(len(self.data) / self.batch), self.step.gathered
        while run.batches < end and run.stopped is None:
            if hooks["on_batch_begin"]:
                hooks.call("on_batch_begin", run)
            if any(hooks[hook] for hook in _BY_BATCH):
                self._renew(run)
                if self.reason is not None:
                    self.begun = bool(hooks["on_batch_begin"])
                    return None
                self.plan.take(self.data.x, self.y, self.weight, order)
            plan, first = self.plan, run.batches
            last = first + 1 if run.stopped is not None else min(end, first + self._length(run, hooks))
            began = time.perf_counter()
            seen, waiting = (0, 0.0) if gathered is None else (gathered.seen, gathered.weight)
            done = plan.advance(first, last, run.total, run.weights, seen, waiting)
            run.batches += done.batches
            run.step += done.updates
            run.total, run.weights, run.stepped = done.total, done.weights, done.stepped
            run.batch_error = done.error
            if gathered is not None:
                gathered.seen, gathered.weight = done.seen, done.gathered
            self._pace(done.batches, time.perf_counter() - began)
            self._measure(run, order, first)
            if done.diverged:
                return next(self.data.epoch(self.batch, run.order, run.batches * self.batch))[0]
            if hooks["on_batch_end"]:
                hooks.call("on_batch_end", run)
        return None

    def _take(self, run: Run) -> IntArray | None:
        """Take the epoch's order; write the plan again if a callback has changed what it stands for."""
        self._renew(run)
        if self.reason is not None:
            return None
        order, rows = run.order, self.data.rows
        if rows is not None:
            order = rows if order is None else rows[order]
        order = None if order is None else np.ascontiguousarray(order, np.int64)
        self.plan.take(self.data.x, self.y, self.weight, order)
        return order

    def _renew(self, run: Run) -> None:
        """Write the plan again, or say why the NumPy lines take over, if it no longer stands."""
        if not self.plan.stands():
            from densenet.compiled.offer import refusal

            self.reason = refusal(self.step.model, self.step.loss, self.step.optimizer)
            if self.reason is None:
                self.plan = self._write(run, None)

    def _length(self, run: Run, hooks: Hooks) -> int:
        """Mini-batches of the next slice: as long as it is short, no callback waits, and memory suffices."""
        updates = min(
            (
                callback.rest(run)
                for callback in hooks.callbacks
                if any(overrides(callback, hook) for hook in _BY_BATCH)
            ),
            default=math.inf,
        )
        gathered, most = self.step.gathered, min(self._at_a_time, self.plan.most_batches)
        if math.isinf(updates):
            return most
        count, seen = (1, 0) if gathered is None else (gathered.count, gathered.seen)
        return min(most, max(1, int(updates) * count - seen))

    def _pace(self, batches: int, seconds: float) -> None:
        """Results do not depend on where slices end: the clock may set it."""
        if seconds > SLICE_SECONDS:
            self._at_a_time = max(1, int(batches * SLICE_SECONDS / seconds))
        elif batches >= self._at_a_time:
            self._at_a_time = min(4 * batches, 1 << 40)

    def _measure(self, run: Run, order: IntArray | None, first: int) -> None:
        """Hand the slice to the metrics: as a whole where they count, else batch by batch, as the NumPy lines do."""
        if not run.metrics or run.batches == first:
            return
        loss = self.step.loss
        rows = slice(first * self.batch, min(run.batches * self.batch, len(self.data)))
        y, weight = (
            None if array is None else array[rows] if order is None else array[order[rows]]
            for array in (self.y, self.weight)
        )
        made = self.plan.predictions[: rows.stop - rows.start]
        for metric in run.metrics:
            seen = (
                loss.probabilities(made)
                if metric.wants_probabilities and loss.expects == "logits"
                else loss.estimate(made)
            )
            size = len(seen) if weight is None and _counts(metric, seen) else self.batch
            for a in range(0, len(seen), size):
                part = slice(a, a + size)
                metric.update(seen[part], y[part], None if weight is None else weight[part])  # type: ignore[index]


def _counts(metric: Metric, seen: Array) -> bool:
    """Whether a metric's sums are whole numbers, which are the same in any grouping."""
    whole = (Accuracy, TopKAccuracy, Precision, Recall, F1)
    return type(metric) in whole and not (metric.task == "binary" and seen.shape[1] > 1)


def written(
    plan: Plan | None,
    step: Step,
    rows: int,
    batch: int,
    data: tuple[Array, Array, Array | None],
    ordered: bool = False,
    keeps: bool = False,
) -> Plan:
    """The plan for these mini-batches of `data`, x, y and weights: the one written before, where it serves."""
    from densenet.compiled.instructions import Shape
    from densenet.compiled.plan import Plan, Subject

    (x, y, weight), gathered = data, step.gathered
    subject = Subject(
        step.model,
        step.loss,
        step.optimizer,
        Shape(rows, batch, x.shape[1], y.ndim == 1, weight is not None, ordered),
        step.clip_norm,
        step.clip_value,
        None if gathered is None else gathered.sum,
        1 if gathered is None else gathered.count,
        keeps,
    )
    return plan if plan is not None and plan.serves(subject) else Plan(subject)


def one_step(step: Step, x: Array, y: Array, weight: Array | None, plan: Plan | None) -> tuple[float, Plan]:
    """One mini-batch by kernels, for `Trainer.step`: the error before the update, and the plan for the next one.

    There is no update where the error is not finite or the weights are all zero.

    Raises
    ------
    ValueError
        If the NumPy lines have to make it, with the reason.
    """
    from densenet.compiled.machine import CompilationError
    from densenet.compiled.offer import refusal

    reason = refusal(step.model, step.loss, step.optimizer)
    try:
        if reason is None:
            plan = written(plan, step, len(x), len(x), (x, y, weight))
    except CompilationError as error:
        reason = str(error)
    if reason is not None or plan is None:
        raise ValueError(f"Trainer(compiled=True): step has to run in the NumPy lines, since {reason}.")
    plan.take(x, np.ascontiguousarray(y), weight, None)
    return plan.advance(0, 1, 0.0, 0.0).error, plan
