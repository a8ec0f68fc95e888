"""The training loop: epochs of mini-batches, for each the gradient and the update.

It also leaves the model in a consistent state after a failure, a Ctrl-C or an exception of a callback.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from densenet.training.data import ArrayBatches, Batch, StreamBatches
from densenet.training.evaluate import measure, validate
from densenet.training.full_batch import FullBatchSolver, solve
from densenet.training.hooks import Hooks
from densenet.training.run import Run
from densenet.training.slices import Slices
from densenet.training.step import DivergenceError, Step


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
        step.ranks.agree(run)
        if isinstance(data, StreamBatches) and run.inside and not data.numbered:  # it goes on at its epoch's start
            _rewind(run, step)
        if isinstance(step.optimizer, FullBatchSolver) and isinstance(data, ArrayBatches) and run.epochs:
            solve(step.optimizer, step, run, hooks, data, validation)
        while run.inside or (run.epoch < run.epochs and not run.ends):
            if not run.inside:
                _begin_epoch(run, hooks)
            before = step.snapshot(), run.step
            try:
                run.start_clock()
                if compiled is not None and (x := compiled.mini_batches(run, hooks)) is not None:
                    raise step.diverged(f"the error is {run.batch_error}", run, x)
                begun = compiled is not None and compiled.begun
                with closing(step.batches(data, run, batch_size)) as batches:  # a stream may read ahead in a thread
                    mini_batches(step, run, hooks, batches, begun)
                _meet(step, run)
                if not all(np.isfinite(array).all() for array in run.model.state_arrays()):
                    raise step.diverged("the weights or running statistics are not finite", run)
            except DivergenceError:
                step.restore(before[0])
                run.step = before[1]
                raise
            run.stop_clock()
            if run.ends and run.stopped == "interrupted":
                break
            _end_epoch(step, run, hooks, validation)
            step.ranks.agree(run)
        run.ended = True


def mini_batches(step: Step, run: Run, hooks: Hooks, batches: Iterator[Batch], begun: bool = False) -> None:
    """For every mini-batch the gradient dE/dw, then the update w_new = w_old - alpha dE/dw.

    With `begun`, `on_batch_begin` of the first has been called.
    """
    loss, metrics, penalty, infinity = step.loss, run.metrics, step.model.penalty, math.inf
    begin, end, penalised = hooks["on_batch_begin"], hooks["on_batch_end"], step.model.penalised
    on_gradients = partial(hooks.call, "on_gradients", run) if hooks["on_gradients"] else None
    if run.ends:
        return
    for batch in batches:
        if begin and not begun:
            hooks.call("on_batch_begin", run)
        begun = False
        run.batch = x, y, weight = batch
        error = step.gradient(x, y, weight)
        if not error < infinity and step.reducer is None:  # else it is found, by all ranks, in the mean
            raise step.diverged(f"the error is {error}", run, x)
        run.batch_error, w = error, loss.total_weight
        run.total += error * w
        run.weights += w
        if metrics:
            measure(metrics, loss, y, weight)
        if penalised:
            run.penalties += penalty() * w
        run.stepped = False
        if step.is_due(run, w):
            step.update(on_gradients)
            run.step += 1
            run.stepped = True
        elif on_gradients is not None and not w and step.accumulate == 1:
            on_gradients()  # of a mini-batch that weighs nothing: dE/dw = 0, and no update
        run.batches += 1
        if end:
            hooks.call("on_batch_end", run)
        if run.stopped is not None and run.agreed:
            return
    if step.is_left(run):  # what is left over steps at the epoch's end
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
        figures |= validate(run, step.loss, validation, step.ranks)
    run.end_epoch(figures | {"learning_rate": step.optimizer.rate, "seconds": run.seconds})
    hooks.call("on_epoch_end", run)


def _meet(step: Step, run: Run) -> None:
    """Let the ranks exchange the sums of an epoch that is over, or that ends here."""
    if step.reducer is None:
        return
    if run.ends and run.stopped == "interrupted":
        step.reducer.collect(run)
    else:
        step.reducer.end_epoch(run, step.optimizer)


def _rewind(run: Run, step: Step) -> None:
    run.inside = False
    run.epoch -= 1
    if step.gathered is not None:
        step.gathered.reset()


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
