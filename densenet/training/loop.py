"""The training loop: epochs of mini-batches, for each the gradient and the update.

It also sees to it that the model is left in a state that makes sense whatever happens: after a failure, a Ctrl-C, an
exception of a callback.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.training.data import ArrayBatches, Batch, StreamBatches
from densenet.training.evaluate import evaluate, measure
from densenet.training.full_batch import FullBatchSolver, solve
from densenet.training.hooks import Hooks
from densenet.training.run import Run
from densenet.training.slices import Slices
from densenet.training.step import REMEDY, DivergenceError, Step


def train(
    step: Step,
    run: Run,
    hooks: Hooks,
    data: ArrayBatches | StreamBatches,
    validation: ArrayBatches | StreamBatches | None,
    batch_size: int,
    compiled: Slices | None = None,
) -> None:
    """Run epoch after epoch, until all are done or something asks to stop."""
    with _interrupts(run):
        hooks.call("on_fit_begin", run)
        hooks.take_up(run)
        if isinstance(data, StreamBatches) and run.inside and not data.numbered:  # it goes on at its epoch's start
            _rewind(run, step)
        if isinstance(step.optimizer, FullBatchSolver) and isinstance(data, ArrayBatches) and run.epochs:
            solve(step.optimizer, step, run, hooks, data, validation)
        while run.inside or (run.epoch < run.epochs and run.stopped is None):
            if not run.inside:
                _begin_epoch(run, hooks)
            before = step.snapshot(), run.step
            try:
                run.start_clock()
                if compiled is not None and (x := compiled.mini_batches(run, hooks)) is not None:
                    raise _diverged(f"the error is {run.batch_error}", x, step, run)
                with closing(_batches(data, run, batch_size)) as batches:  # a stream may read ahead in a thread
                    mini_batches(step, run, hooks, batches)
                if not all(np.isfinite(array).all() for array in run.model.state_arrays()):
                    raise _diverged("the weights or running statistics are not finite", None, step, run)
            except DivergenceError:
                step.restore(before[0])
                run.step = before[1]
                raise
            run.stop_clock()
            if run.stopped == "interrupted":
                break
            _end_epoch(step, run, hooks, validation)
        run.ended = True


def mini_batches(step: Step, run: Run, hooks: Hooks, batches: Iterator[Batch]) -> None:
    """For every mini-batch the gradient dE/dw, then the update w_new = w_old - alpha dE/dw."""
    loss, metrics, penalty, infinity = step.loss, run.metrics, step.model.penalty, math.inf
    begin, end, penalised = hooks["on_batch_begin"], hooks["on_batch_end"], step.model.penalised
    on_gradients = partial(hooks.call, "on_gradients", run) if hooks["on_gradients"] else None
    if run.stopped is not None:
        return
    for batch in batches:
        if begin:
            hooks.call("on_batch_begin", run)
        run.batch = x, y, weight = batch
        error = step.gradient(x, y, weight)
        if not error < infinity:
            raise _diverged(f"the error is {error}", x, step, run)
        run.batch_error, w = error, loss.total_weight
        run.total += error * w
        run.weights += w
        if metrics:
            measure(metrics, loss, y, weight)
        if penalised:
            run.penalties += penalty() * w
        run.stepped = False
        if step.is_due(w):
            step.update(on_gradients)
            run.step += 1
            run.stepped = True
        elif on_gradients is not None and not w and step.gathered is None:
            on_gradients()  # of a mini-batch that weighs nothing: dE/dw = 0, and no update
        run.batches += 1
        if end:
            hooks.call("on_batch_end", run)
        if run.stopped is not None:
            return
    if step.gathered is not None and step.gathered.finish():  # what is left over steps at the epoch's end
        step.update(on_gradients)
        run.step += 1
        run.stepped = True
        if end:
            hooks.call("on_batch_end", run)


def _begin_epoch(run: Run, hooks: Hooks) -> None:
    run.begin_epoch()
    hooks.call("on_epoch_begin", run)
    for metric in run.metrics:
        metric.reset()
    run.shuffle()


def _end_epoch(step: Step, run: Run, hooks: Hooks, validation: ArrayBatches | StreamBatches | None) -> None:
    if not run.weights:
        raise ValueError("fit got an epoch without rows, or with weights of zero only.")
    figures = {"loss": run.total / run.weights}
    if step.model.penalised:
        figures["penalty"] = run.penalties / run.weights
    figures |= {metric.name: metric.result() for metric in run.metrics}
    if validation is not None:
        held_out = evaluate(step.model, step.loss, run.metrics, validation)
        figures |= {f"val_{name}": value for name, value in held_out.items()}
    run.end_epoch(figures | {"learning_rate": step.optimizer.rate, "seconds": run.seconds})
    hooks.call("on_epoch_end", run)


def _batches(data: ArrayBatches | StreamBatches, run: Run, batch_size: int) -> Generator[Batch, None, None]:
    """The remaining mini-batches of an epoch."""
    if isinstance(data, StreamBatches):
        return data.epoch(start=run.batches, number=run.epoch)
    return data.epoch(batch_size, run.order, run.batches * min(batch_size, len(data)))


def _rewind(run: Run, step: Step) -> None:
    run.inside = False
    run.epoch -= 1
    if step.gathered is not None:
        step.gathered.reset()


def _diverged(what: str, x: Array | None, step: Step, run: Run) -> DivergenceError:
    return DivergenceError(
        f"fit: {what} in epoch {run.epoch}, step {run.step + 1}{step.first_not_finite(x)}, at learning rate "
        f"{step.optimizer.rate:g}. The model is back at the start of the epoch"
        f"{' (or where it was resumed)' if run.resumed else ''}. {REMEDY}"
    )


@contextmanager
def _interrupts(run: Run) -> Iterator[None]:
    """Let the first Ctrl-C end the run at a step boundary; the second raises."""
    count = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        run.stop("interrupted", lasting=False)

    before: Any = None
    if threading.current_thread() is threading.main_thread():
        before = signal.getsignal(signal.SIGINT)
    handled = before is signal.default_int_handler
    if handled:
        signal.signal(signal.SIGINT, handler)
    try:
        yield
    except KeyboardInterrupt:
        if count > 1:
            raise
        run.stop("interrupted", lasting=False)
    finally:
        if handled:
            signal.signal(signal.SIGINT, before)
