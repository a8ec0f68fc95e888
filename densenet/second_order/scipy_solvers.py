"""Quasi-Newton and conjugate-gradient solvers: curvature from gradients alone, for any loss.

The change of the gradient between steps tells the curvature. `LBFGS` keeps the last few changes, which is enough for
steps of about the right length and direction; `ConjugateGradient` keeps one direction. Both need all the data, so that
the error is the same function at every step, and a line search. The methods are SciPy's.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import nonnegative, positive_int
from densenet.gradient import error_and_gradient
from densenet.losses.base import Loss
from densenet.second_order.subjects import free_parameters, solvable_copy
from densenet.sequential import Sequential
from densenet.training.full_batch import FullBatchSolver, Report

_UNBOUNDED = 10**9


class _ScipySolver(FullBatchSolver):
    """Base of both: the error and its gradient as a function of one flat float64 vector."""

    @property
    @abstractmethod
    def _method(self) -> tuple[str, dict[str, Any]]:
        """SciPy's name of the method, and its options."""

    def solve(self, model: Sequential, loss: Loss, x: Array, y: Array, weight: Array | None, report: Report) -> str:
        from scipy.optimize import minimize

        who = type(self).__name__
        work, free, loss = solvable_copy(model, who), free_parameters(model), copy.copy(loss)
        x = x.astype(np.float64)
        y = y.astype(np.float64) if y.dtype.kind == "f" else y
        weight = None if weight is None else weight.astype(np.float64)
        at = np.full(0, np.nan)  # where `error` and the gradients stand
        error = 0.0

        def at_point(w: Array) -> tuple[float, Array]:
            nonlocal at, error
            work.params[free] = w
            error = error_and_gradient(work, loss, x, y, weight, training=False)
            work.add_penalty_gradients()
            at = w.copy()
            return error + work.penalty(), work.grads[free].copy()

        def after_iteration(intermediate_result: Any) -> None:
            w = intermediate_result.x
            if not np.array_equal(w, at):
                at_point(w)
            model.params[free] = w
            figures = {"loss": error} | ({"penalty": work.penalty()} if work.penalised else {})
            figures["gradient_norm"] = float(np.abs(work.grads[free]).max())
            if not report(figures, ""):
                raise StopIteration

        start = work.params[free].copy()
        if not start.size:
            raise ValueError(f"{who} got a model without free parameters: there is nothing to solve for.")
        if not np.isfinite(at_point(start)[0]):
            raise FloatingPointError(f"the error is {error} at the start")
        method, options = self._method
        result = minimize(at_point, start, jac=True, method=method, callback=after_iteration, options=options)
        if result.status == 99:  # `report` said stop
            return ""
        return "gradient below min_grad" if result.success else f"no better point on the line ({result.message})"


class LBFGS(_ScipySolver):
    """Steps -H g with H, an inverse Hessian, built from the last few changes of the gradient; any loss.

    With s and y the last steps and changes of the gradient, and rho = 1 / (y^T s), each pair refines H::

        H <- (1 - rho s y^T) H (1 - rho y s^T) + rho s s^T

    and a line search finds how far to go. It takes the optimizer's place in a `Trainer`; `fit`'s epochs are its
    iterations, each on all the data. The computations are in float64, for a float32 model, too.

    Parameters
    ----------
    memory : int, default 10
        Pairs that are kept.
    min_grad : float, default 1e-7
        A gradient that is nowhere larger ends the run.
    max_fail : int or None, default None
        With validation data: iterations without a better validation loss that end the run. The model keeps the weights
        of the best iteration in any case; None keeps the last.

    Raises
    ------
    ValueError
        If an argument is out of range; by `fit` if the model draws noise, couples samples or is constrained.

    Notes
    -----
    `fit`'s History has ``gradient_norm``, the largest entry, beside the figures of any fit, all after the iteration's
    step. Penalties of layers count; frozen parameters stay; rate factors and decay marks play no part.

    References
    ----------
    .. [1] Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989).

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 16, 10], seed=0), "softmax_cross_entropy", dn.LBFGS(), metrics=["accuracy"])
    >>> history = trainer.fit(x, y, epochs=50)
    >>> history["accuracy"][-1] > 0.95
    True
    """

    def __init__(self, memory: int = 10, *, min_grad: float = 1e-7, max_fail: int | None = None) -> None:
        self.memory = positive_int(memory, "LBFGS", "memory")
        self.min_grad = nonnegative(min_grad, "LBFGS", "min_grad")
        self.max_fail = None if max_fail is None else positive_int(max_fail, "LBFGS", "max_fail")

    @property
    def _method(self) -> tuple[str, dict[str, Any]]:
        options = {"maxcor": self.memory, "gtol": self.min_grad, "ftol": 0.0}
        return "L-BFGS-B", options | {"maxiter": _UNBOUNDED, "maxfun": _UNBOUNDED}


class ConjugateGradient(_ScipySolver):
    """Steps along conjugate directions, each made of the gradient and the direction before; any loss.

    ::

        d <- -g + beta d        beta = max(0, g^T (g - g_before) / |g_before|^2)

    and a line search finds how far to go. It takes the optimizer's place in a `Trainer`; `fit`'s epochs are its
    iterations, each on all the data. The computations are in float64, for a float32 model, too.

    Parameters
    ----------
    min_grad : float, default 1e-7
        A gradient that is nowhere larger ends the run.
    max_fail : int or None, default None
        With validation data: iterations without a better validation loss that end the run. The model keeps the weights
        of the best iteration in any case; None keeps the last.

    Raises
    ------
    ValueError
        If an argument is out of range; by `fit` if the model draws noise, couples samples or is constrained.

    Notes
    -----
    As for `LBFGS`.

    References
    ----------
    .. [1] Polak and Ribiere, "Note sur la convergence de methodes de directions conjuguees" (1969).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> trainer = dn.Trainer(dn.mlp([1, 4, 1], activation="tanh", seed=0), "mse", dn.ConjugateGradient())
    >>> history = trainer.fit(x, x**2, epochs=50)
    >>> history["loss"][-1] < 1e-2
    True
    """

    def __init__(self, *, min_grad: float = 1e-7, max_fail: int | None = None) -> None:
        self.min_grad = nonnegative(min_grad, "ConjugateGradient", "min_grad")
        self.max_fail = None if max_fail is None else positive_int(max_fail, "ConjugateGradient", "max_fail")

    @property
    def _method(self) -> tuple[str, dict[str, Any]]:
        return "CG", {"gtol": self.min_grad, "maxiter": _UNBOUNDED}
