"""One `fit`: its epochs and steps, its position, and the state that an accident returns to.

The loop calls the trainer's step over mini-batches and keeps the sums of the epoch's figures. It knows where it stands
to the mini-batch, so that a checkpoint can be taken up there.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet.batches import ArrayBatches, Batch, StreamBatches
from densenet.callbacks import Callback, Hooks, Run, state_arrays
from densenet.losses.base import Loss
from densenet.metrics import Metric
from densenet.second_order.base import FullBatchSolver
from densenet.sequential import Sequential

if TYPE_CHECKING:
    from densenet.trainer import Trainer


class DivergenceError(FloatingPointError, ValueError):
    """The error turned NaN or infinite while training; the model is back at the start of the epoch.

    Examples
    --------
    >>> import densenet as dn
    >>> trainer = dn.Trainer(dn.mlp([1, 1], seed=0), "mse", dn.SGD(learning_rate=1e30))
    >>> try:
    ...     history = trainer.fit([[1.0], [2.0]], [2.0, 4.0], epochs=9)
    ... except dn.DivergenceError as error:
    ...     print(str(error)[:20])
    fit: the error is in
    """


REMEDY = "A smaller learning rate is the usual remedy; clip_norm and scaled inputs help too."


class Loop:
    """One `fit`: the epochs, and the state that an accident returns to."""

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        hooks: Hooks,
        source: ArrayBatches | StreamBatches,
        validation: ArrayBatches | StreamBatches | None,
        batch_size: int,
        rng: np.random.Generator | None,
    ) -> None:
        self.trainer, self.state, self.hooks = trainer, run, hooks
        self.source, self.validation, self.batch_size, self.rng = source, validation, batch_size, rng
        self.seconds, self.began = 0.0, math.nan
        self.interrupts = 0
        self.order = np.arange(len(source)) if rng is not None and isinstance(source, ArrayBatches) else None
        self.gathered = Accumulator(trainer.model, trainer.accumulate) if trainer.accumulate > 1 else None
        self.inside = self.ended = False  # inside an epoch; after the last one
        self.batch = 0  # mini-batches done in it
        self.sums = (0.0, 0.0, 0.0)  # of weighted errors, weights and weighted penalties in it
        self.shuffled_from: Any = None  # the generator's state at its start
        self.resumed: list[tuple[Callback, dict[str, Any], bool]] = []
        self.waiting_for = ""

    def run(self) -> None:
        run, hooks = self.state, self.hooks
        restore = self._catch_interrupts()
        self.trainer._loop = self
        try:
            hooks.call("on_fit_begin", run)
            self._take_up()
            if isinstance(self.trainer.optimizer, FullBatchSolver) and run.epochs:
                self._solve(self.trainer.optimizer)
            while self.inside or (run.epoch < run.epochs and run.stopped is None):
                if not self.inside:
                    self._begin_epoch()
                self._epoch()
                if run.stopped == "interrupted":
                    break
            self.ended = True
        except KeyboardInterrupt:
            if self.interrupts > 1:
                raise
            run.stop("interrupted", lasting=False)
        finally:
            restore()
            self._end()

    def _end(self) -> None:
        """Keep what a checkpoint after the fit will need; call the end hooks, which may change the weights."""
        trainer, arrays = self.trainer, state_arrays(self.trainer.model)
        progress = trainer._loop = trainer._progress = None
        try:
            progress = trainer._progress = self.state_dict()
            if self.hooks["on_fit_end"]:
                progress["arrays"] = [array.copy() for array in arrays]
        finally:
            try:
                self.hooks.end(self.state)
            finally:
                if progress is not None and all(map(np.array_equal, progress["arrays"] or arrays, arrays)):
                    progress["arrays"] = None

    def _catch_interrupts(self) -> Callable[[], None]:
        """Let the first Ctrl-C end the run at a step boundary; the second raises."""
        if threading.current_thread() is not threading.main_thread():
            return lambda: None
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler:
            return lambda: None

        def handler(number: int, frame: FrameType | None) -> None:
            self.interrupts += 1
            if self.interrupts > 1:
                raise KeyboardInterrupt
            self.state.stop("interrupted", lasting=False)

        signal.signal(signal.SIGINT, handler)

        def restore() -> None:
            signal.signal(signal.SIGINT, before)

        return restore

    def _begin_epoch(self) -> None:
        run = self.state
        run.epoch += 1
        run.figures = {}
        self.inside, self.batch, self.sums = True, 0, (0.0, 0.0, 0.0)
        if self.rng is not None:
            self.shuffled_from = self.rng.bit_generator.state
        self.hooks.call("on_epoch_begin", run)
        for metric in self.trainer.metrics:
            metric.reset()
        self._shuffle()

    def _shuffle(self) -> None:
        if self.order is not None and self.rng is not None:
            self.order = np.arange(len(self.order))
            self.rng.shuffle(self.order)

    def _epoch(self) -> None:
        """The rest of an epoch: its steps from `batch` on, and its figures."""
        trainer, run = self.trainer, self.state
        start = self._snapshot()
        self.began = time.perf_counter()
        try:
            self._steps()
            if not np.isfinite(trainer.model.params).all():
                raise DivergenceError(self._diverged("the weights are not finite", None))
        except DivergenceError:
            self._return_to(start)
            raise
        self.seconds, self.began = self._seconds(), math.nan
        if run.stopped == "interrupted":
            return
        total, weights, penalties = self.sums
        if not weights:
            raise ValueError("fit got an epoch without rows, or with weights of zero only.")
        run.figures = {"loss": total / weights}
        if trainer.model._penalised:
            run.figures["penalty"] = penalties / weights
        run.figures |= {metric.name: metric.result() for metric in trainer.metrics}
        if self.validation is not None:
            figures = trainer._evaluate(self.validation)
            run.figures |= {f"val_{name}": value for name, value in figures.items()}
        run.figures |= {"learning_rate": trainer.optimizer.rate, "seconds": self.seconds}
        run.history.append(run.figures)
        self.inside = False
        self.hooks.call("on_epoch_end", run)

    def _solve(self, solver: FullBatchSolver) -> None:
        """All epochs of a full-batch solver, which leads and reports after every iteration."""
        trainer, run, hooks = self.trainer, self.state, self.hooks
        x, y, weight = next(iter(self.source.epoch(len(self.source))))  # type: ignore[arg-type]

        def begin() -> None:
            self._begin_epoch()
            hooks.call("on_batch_begin", run)
            self.began = time.perf_counter()

        def report(figures: dict[str, float], ended: str) -> bool:
            self.seconds, self.began = self._seconds(), math.nan
            if ended:
                run.stop(ended)
            run.step, run.stepped, run.batch_error = run.step + 1, True, figures["loss"]
            hooks.call("on_batch_end", run)
            run.figures = dict(figures)
            if trainer.metrics:
                run.figures |= trainer._evaluate(self.source) | {"loss": figures["loss"]}
            if self.validation is not None:
                run.figures |= {f"val_{name}": value for name, value in trainer._evaluate(self.validation).items()}
            run.figures["seconds"] = self.seconds
            run.history.append(run.figures)
            self.inside = False
            hooks.call("on_epoch_end", run)
            if run.stopped is not None or run.epoch >= run.epochs:
                return False
            begin()
            return True

        begin()
        try:
            ended = solver.solve(trainer.model, trainer.loss, x, y, weight, report)
        except FloatingPointError as error:
            raise DivergenceError(f"fit: {error}{trainer._where(x)}.") from None
        if self.inside:  # it ended without another iteration
            self.inside, self.began = False, math.nan
            run.epoch -= 1
        if ended:
            run.stop(ended)
        trainer.loss.error(trainer.model.run_forward(x, False), y, weight)
        trainer.model.run_backward(trainer.loss.delta())
        trainer.model.add_penalty_gradients()

    def _seconds(self) -> float:
        return self.seconds if math.isnan(self.began) else self.seconds + time.perf_counter() - self.began

    def _steps(self) -> None:
        """The steps of an epoch, from `batch` on, up to where it is stopped."""
        trainer, run, hooks = self.trainer, self.state, self.hooks
        loss, model, gathered = trainer.loss, trainer.model, self.gathered
        error_and_gradients, measured = trainer._error_and_gradients, bool(trainer.metrics)
        begin, gradients, end = hooks["on_batch_begin"], hooks["on_gradients"], hooks["on_batch_end"]
        penalised, infinity, finish = bool(model._penalised), math.inf, self._finish_step
        total, weights, penalties = self.sums
        done = self.batch
        if run.stopped is not None:
            return
        try:
            for x, y, weight in self._batches():
                if begin:
                    hooks.call("on_batch_begin", run)
                run.batch = x, y, weight
                error = error_and_gradients(x, y, weight)
                if not error < infinity:
                    raise DivergenceError(self._diverged(f"the error is {error}", x))
                w = loss.total_weight
                run.batch_error, run.stepped = error, False
                total += error * w
                weights += w
                if measured:
                    measure(trainer.metrics, loss, None, y, weight)
                if penalised:
                    penalties += model.penalty() * w
                if w and (gathered is None or gathered.add(w)):
                    finish(penalised, gradients)
                done += 1
                if end:
                    self.batch, self.sums = done, (total, weights, penalties)
                    hooks.call("on_batch_end", run)
                if run.stopped is not None:
                    return
        finally:
            self.batch, self.sums = done, (total, weights, penalties)
        if gathered is not None and gathered.finish():
            finish(penalised, gradients)
            if end:
                hooks.call("on_batch_end", run)

    def _batches(self) -> Iterator[Batch]:
        source = self.source
        if isinstance(source, StreamBatches):
            return source.epoch()
        return source.epoch(self.batch_size, self.order, self.batch * min(self.batch_size, len(source)))

    def _finish_step(self, penalised: bool, gradients: Sequence[Callable[[Run], None]]) -> None:
        run = self.state
        if penalised:
            self.trainer.model.add_penalty_gradients()
        if gradients:
            self.hooks.call("on_gradients", run)
        self.trainer._update()
        run.step += 1
        run.stepped = True

    def _snapshot(self) -> tuple[list[Array], dict[str, Any], list[Any], int]:
        model = self.trainer.model
        arrays = [array.copy() for array in state_arrays(model)]
        draws = [(rng, rng.bit_generator.state) for layer in model._every if (rng := layer._rng) is not None]
        return arrays, self.trainer.optimizer.state_dict(), draws, self.state.step

    def _return_to(self, start: tuple[list[Array], dict[str, Any], list[Any], int]) -> None:
        arrays, optimizer, draws, self.state.step = start
        for array, kept in zip(state_arrays(self.trainer.model), arrays, strict=True):
            array[...] = kept
        self.trainer.optimizer.load_state_dict(optimizer)
        for rng, state in draws:
            rng.bit_generator.state = state

    # -- the position, for checkpoints -------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, at a step boundary; after an accident in the middle of a step, where its epoch began.

        Raises
        ------
        RuntimeError
            In the middle of a step of a run that goes on.
        """
        run, hooks = self.state, self.hooks
        settled = self.ended or hooks.now in ("on_batch_end", "on_epoch_end")
        if not settled and self.trainer._loop is self:
            raise RuntimeError(
                "save_checkpoint works at a step boundary: call it in a callback's on_batch_end, on_epoch_end or "
                "on_fit_end, or after fit."
            )
        inside = self.inside and settled
        waiting = hooks.waiting() if settled else []
        whole = isinstance(self.source, ArrayBatches) and self.batch * self.batch_size >= len(self.source)
        generator = copy.deepcopy(self.rng)
        if generator is not None and self.inside:
            generator.bit_generator.state = self.shuffled_from
        gathered = self.gathered
        return {
            "plan": self._plan(),
            "epoch": run.epoch - (self.inside and not inside),
            "inside": inside,
            "batch": self.batch,
            "sums": self.sums,
            "step": run.step,
            "stepped": run.stepped,
            "batch_error": run.batch_error,
            "stopped": run.stopped if run.lasting else None,
            "seconds": self._seconds(),
            "metrics": [metric.state_dict() for metric in self.trainer.metrics] if inside else [],
            "gathered": gathered.state_dict() if gathered is not None and inside else None,
            "generator": generator,
            "gradients": whole or not inside,  # whether no step need follow, which would write them anew
            "arrays": None,  # weights and statistics, where they are not the model's any more
            "history": run.history.state_dict(),
            "hook": hooks.now if waiting else "",
            "callbacks": [
                {
                    "class": type(callback).__name__,
                    "state": callback.state_dict(),
                    "observes": callback.observes,
                    "waiting": any(callback is other for other in waiting),
                }
                for callback in hooks.callbacks
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state` was taken; the callbacks' states are theirs once their `on_fit_begin` has run.

        Raises
        ------
        ValueError
            If this fit is another one than that of `state`.
        """
        for name, value in self._plan().items():
            if value != (kept := state["plan"].get(name)):
                raise ValueError(f"fit, to resume, expects {name} as in the checkpoint, {kept!r}, got {value!r}.")
        run, left = self.state, list(self.hooks.callbacks)
        for entry in state["callbacks"]:
            found = next((callback for callback in left if type(callback).__name__ == entry["class"]), None)
            if found is not None:
                left = [callback for callback in left if callback is not found]
                self.resumed.append((found, entry["state"], entry["waiting"]))
            elif entry["state"] and not entry["observes"]:
                raise ValueError(f"fit, to resume, expects the checkpoint's {entry['class']} among its callbacks.")
        self.waiting_for = state["hook"]
        self.inside, self.batch, self.sums = state["inside"], state["batch"], state["sums"]
        self.seconds, self.rng = state["seconds"], state["generator"]
        run.epoch, run.step, run.stepped = state["epoch"], state["step"], state["stepped"]
        run.batch_error, run.stopped, run.resumed = state["batch_error"], state["stopped"], True
        run.figures = {} if self.inside else run.history.last
        if self.inside:
            for metric, kept in zip(self.trainer.metrics, state["metrics"], strict=True):
                metric.load_state_dict(kept)
            if self.gathered is not None:
                self.gathered.load_state_dict(state["gathered"])
            if self.rng is not None:
                self.shuffled_from = self.rng.bit_generator.state
            self._shuffle()

    def _plan(self) -> dict[str, Any]:
        """What has to be the same for a run to go on."""
        trainer, source = self.trainer, self.source
        return {
            "rows": len(source) if isinstance(source, ArrayBatches) else None,
            "validation": self.validation is not None,
            "batch_size": self.batch_size,
            "shuffle": self.rng is not None,
            "accumulate": trainer.accumulate,
            "clip_norm": trainer.clip_norm,
            "clip_value": trainer.clip_value,
            "metrics": repr(trainer.metrics),
        }

    def _take_up(self) -> None:
        """Give resumed callbacks their states, and call the hooks that were still to come at the checkpoint."""
        run = self.state
        for callback, state, _ in self.resumed:
            try:
                callback.load_state_dict(state)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                name = type(callback).__name__
                raise ValueError(f"the checkpoint's state does not suit {name}: {error!r}") from error
        if self.waiting_for:
            self.hooks.call(self.waiting_for, run, [callback for callback, _, waiting in self.resumed if waiting])
        self.resumed = []
        if self.inside and isinstance(self.source, StreamBatches):  # a stream goes on at its epoch's start
            self.inside = False
            run.epoch -= 1
            if self.gathered is not None:
                self.gathered.reset()

    def _diverged(self, what: str, x: Array | None) -> str:
        run = self.state
        where = self.trainer._where(
            np.zeros((1, self.trainer.model.n_in or 1), self.trainer.model.dtype) if x is None else x
        )
        return (
            f"fit: {what} in epoch {run.epoch}, step {run.step + 1}{where}, at learning rate "
            f"{self.trainer.optimizer.rate:g}. The model is back at the start of the epoch"
            f"{' (or where it was resumed)' if run.resumed else ''}. {REMEDY}"
        )


class Accumulator:
    """Gradients of several mini-batches as one: sum(w_i g_i) / sum(w_i), w_i the weight of batch i."""

    def __init__(self, model: Sequential, count: int) -> None:
        self.model, self.count = model, count
        self.sum = np.zeros_like(model.grads)
        self.add_scaled = products(self.sum.dtype).add_scaled
        self.seen, self.weight = 0, 0.0

    def add(self, weight: float) -> bool:
        """Take the model's gradient in; True when it is time to step, with the mean in the model's `grads`."""
        self.add_scaled(self.model.grads, self.sum, weight)
        self.seen += 1
        self.weight += weight
        return self.seen == self.count and self.finish()

    def finish(self) -> bool:
        """Put the mean into the model's `grads`; False when there is nothing."""
        if not self.seen:
            return False
        np.multiply(self.sum, 1 / self.weight, out=self.model.grads)
        self.reset()
        return True

    def reset(self) -> None:
        """Forget what has been taken in."""
        self.sum.fill(0)
        self.seen, self.weight = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """What has been taken in."""
        return {"seen": self.seen, "weight": self.weight, "sum": self.sum.copy() if self.seen else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""
        self.seen, self.weight = state["seen"], state["weight"]
        self.sum[...] = 0 if state["sum"] is None else state["sum"]


def measure(meters: Sequence[Metric], loss: Loss, prediction: Array | None, y: Array, weight: Array | None) -> None:
    """Hand a batch's prediction, as each metric wants it, to the metrics."""
    for metric in meters:
        metric.update(loss.last_probabilities() if metric.wants_probabilities else loss.last_prediction(), y, weight)
