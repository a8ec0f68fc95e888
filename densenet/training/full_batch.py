"""Full-batch solvers: they take the optimizer's place in a `Trainer`, and call the training loop's hooks themselves.

An optimizer is handed one gradient after another. A solver needs more: the error at points of its own choice, the
Jacobian, products with it. So it gets the model, the loss and all the data, and reports after every iteration; an
iteration is what an epoch is to an optimizer.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

from densenet._config import Configured
from densenet._types import Array
from densenet.gradient import error_and_gradient
from densenet.losses.base import Loss
from densenet.sequential import Sequential
from densenet.training.data import ArrayBatches, StreamBatches
from densenet.training.evaluate import evaluate, validate
from densenet.training.hooks import Hooks
from densenet.training.run import Run
from densenet.training.step import DivergenceError, Step

Report: TypeAlias = Callable[[dict[str, float], str], bool]
"""report(figures, ended): takes an iteration's figures and why it is the last ("" if it is not); False to stop."""


class FullBatchSolver(Configured, ABC):
    """A solver that takes the optimizer's place: ``Trainer(model, loss, solver)``; `fit`'s epochs are its iterations.

    A solver of your own gives `solve`::

        class Newton(dn.FullBatchSolver):
            def solve(self, model, loss, x, y, weight, report):
                ...                                        # move model.params
                report({"loss": error}, "")                # after every iteration; False: stop

    Attributes
    ----------
    max_fail : int or None
        With validation data: iterations without a better validation loss after which `fit` ends. The model keeps the
        weights of the best iteration in any case; None keeps the last.
    """

    max_fail: int | None = None

    @abstractmethod
    def solve(self, model: Sequential, loss: Loss, x: Array, y: Array, weight: Array | None, report: Report) -> str:
        """Move ``model.params`` until there is nothing to gain, or `report` says stop.

        Parameters
        ----------
        model : Sequential
            Its `params` hold the best point whenever `report` is called.
        loss : Loss
        x : ndarray (n, n_in)
        y : ndarray
            Prepared targets.
        weight : ndarray (n,) or None
        report : callable
            ``report(figures, ended)`` with at least "loss" among the figures; returns whether to go on.

        Returns
        -------
        str
            Why it ended; "" where `report` stopped it.

        Raises
        ------
        ValueError
            If the model or the loss is not one it can solve.
        FloatingPointError
            If the error is not finite at the start.
        """


def solve(
    solver: FullBatchSolver,
    step: Step,
    run: Run,
    hooks: Hooks,
    data: ArrayBatches,
    validation: ArrayBatches | StreamBatches | None,
) -> None:
    """All epochs of a solver, which reports after every iteration.

    Raises
    ------
    DivergenceError
        If the error is not finite at the start.
    """
    model, loss = step.model, step.loss
    x, y, weight = next(data.epoch(len(data)))

    def begin() -> None:
        run.begin_epoch()
        hooks.call("on_epoch_begin", run)
        hooks.call("on_batch_begin", run)
        run.start_clock()

    def report(figures: dict[str, float], ended: str) -> bool:
        run.stop_clock()
        if ended:
            run.stop(ended)
        run.step, run.stepped, run.batch_error = run.step + 1, True, figures["loss"]
        hooks.call("on_batch_end", run)
        run.end_epoch(figures | _measured(step, run, data, validation) | {"seconds": run.seconds})
        hooks.call("on_epoch_end", run)
        if run.stopped is not None or run.epoch >= run.epochs:
            return False
        begin()
        return True

    begin()
    try:
        ended = solver.solve(model, loss, x, y, weight, report)
    except FloatingPointError as error:
        raise DivergenceError(f"fit: {error}{step.first_not_finite(x)}.") from None
    if run.inside:  # it ended without another iteration
        run.inside, run.clock = False, math.nan
        run.epoch -= 1
    if ended:
        run.stop(ended)
    error_and_gradient(model, loss, x, y, weight, training=False)
    model.add_penalty_gradients()


def _measured(
    step: Step, run: Run, data: ArrayBatches, validation: ArrayBatches | StreamBatches | None
) -> dict[str, float]:
    """The metrics after an iteration, and all figures of the validation rows."""
    figures = evaluate(step.model, step.loss, run.metrics, data) if run.metrics else {}
    figures.pop("loss", None)  # the solver's own
    return figures | ({} if validation is None else validate(run, step.loss, validation))
