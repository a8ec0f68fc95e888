"""What a full-batch solver is: it takes the optimizer's place in a `Trainer`, and leads.

An optimizer is handed one gradient after another. A solver needs more: the error at points of its own choice, the
Jacobian, products with it. So it gets the model, the loss and all the data, and reports after every iteration; an
iteration is what an epoch is to an optimizer.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from densenet._types import Array
from densenet.losses.base import Loss
from densenet.sequential import Sequential

Report: TypeAlias = Callable[[dict[str, float], str], bool]
"""report(figures, ended): takes an iteration's figures and why it is the last ("" if it is not); False to stop."""


class FullBatchSolver(ABC):
    """A solver that takes the optimizer's place: ``Trainer(model, loss, solver)``; `fit`'s epochs are its iterations.

    One of one's own gives `solve`::

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

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters
        shown = [f"{name}={value!r}" for name, value in self.config().items() if value != parameters[name].default]
        return f"{type(self).__name__}({', '.join(shown)})"


def solvable_copy(model: Sequential, who: str) -> Sequential:
    """A float64 copy of a model whose error is a function of its parameters alone.

    Raises
    ------
    ValueError
        If a layer draws noise, couples samples or is constrained.
    """
    for layer in (inner for top in model.layers for inner in top.walk()):
        if layer.couples_samples:
            raise ValueError(
                f"{who} needs samples that do not depend on one another, but {layer!r} takes statistics over the "
                "batch: use LayerNorm, or leave it out."
            )
        if layer.draws:
            raise ValueError(
                f"{who} needs the same error at the same weights, but {layer!r} draws noise: leave it out."
            )
        if layer.constrained:
            raise ValueError(f"{who} cannot keep {layer!r} within its max_norm: leave it out.")
    return model.astype(np.float64)


def free_parameters(model: Sequential) -> Any:
    """The indices of the parameters that are not frozen, or a slice where all are free."""
    rate = model.marks.rate
    return slice(None) if rate is None or rate.all() else np.flatnonzero(rate)
