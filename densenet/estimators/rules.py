"""scikit-learn's rules where they differ from the project's: its two optimizers, and L-BFGS with its penalty."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from densenet._types import Array
from densenet.estimators.data import Rows
from densenet.estimators.follow import Penalty
from densenet.estimators.parameters import Settings
from densenet.gradient import error_and_gradient
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.persistence.codec import register
from densenet.sequential import Sequential
from densenet.tabular.recipe import CosineLog4
from densenet.tabular.training import rule


@register
class SklearnSGD(Optimizer):
    """Gradient descent whose velocity has the rate inside, as scikit-learn's::

        v <- mu v + alpha g        w <- w - v        (Nesterov: w <- w - (mu v + alpha g))

    With a constant alpha the steps are `SGD`'s; when it changes, the velocity keeps the old one.
    """

    def __init__(self, learning_rate: float | Schedule, momentum: float = 0.9, nesterov: bool = True) -> None:
        Optimizer.__init__(self, learning_rate)
        self.momentum, self.nesterov = float(momentum), bool(nesterov)
        self.slots = ("v",) if self.momentum else ()  # plain descent keeps nothing

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        if not self.momentum:
            return g, alpha
        v = state["v"]
        np.multiply(v, self.momentum, out=v)
        self._add_scaled(g, v, alpha)  # v <- mu v + alpha g
        if not self.nesterov:
            return v, 1.0
        np.multiply(v, self.momentum, out=work)
        self._add_scaled(g, work, alpha)
        return work, 1.0  # u = mu v + alpha g


@register
class SklearnAdam(Optimizer):
    """Adam with epsilon beside the uncorrected root, as scikit-learn's::

        m <- beta_1 m + (1 - beta_1) g        v <- beta_2 v + (1 - beta_2) g^2
        w <- w - alpha sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + eps)

    It is the form at the end of section 2 of Kingma and Ba (2015).
    """

    slots = ("m", "v")

    def __init__(
        self, learning_rate: float | Schedule, beta_1: float = 0.9, beta_2: float = 0.999, eps: float = 1e-8
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        self.beta_1, self.beta_2, self.eps = float(beta_1), float(beta_2), float(eps)

    def begin_step(self) -> None:
        self._correction = (1 - self.beta_2**self.steps) ** 0.5 / (1 - self.beta_1**self.steps)

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v = state["m"], state["v"]
        np.multiply(m, self._scalar("beta_1", self.beta_1), out=m)
        self._add_scaled(g, m, 1 - self.beta_1)  # m <- beta_1 m + (1 - beta_1) g
        np.multiply(g, g, out=work)
        np.multiply(v, self._scalar("beta_2", self.beta_2), out=v)
        self._add_scaled(work, v, 1 - self.beta_2)  # v <- beta_2 v + (1 - beta_2) g^2
        np.sqrt(v, out=work)
        np.add(work, self._scalar("eps", self.eps), out=work)
        np.divide(m, work, out=work)  # u = m / (sqrt(v) + eps)
        return work, alpha * self._correction


def optimizer_of(settings: Settings, steps: int) -> Optimizer:
    """The rule that `solver` names, for a run of so many steps."""
    rate = settings.learning_rate if isinstance(settings.learning_rate, Schedule) else settings.learning_rate_init
    if settings.recipe is not None and not isinstance(rate, Schedule):
        rate = CosineLog4(rate, max(1, steps))
    betas = settings.beta_1, settings.beta_2
    if settings.solver == "sgd":
        return SklearnSGD(rate, settings.momentum, settings.nesterovs_momentum)
    if settings.recipe is not None:
        return rule(settings.recipe, steps, rate, betas=betas, epsilon=settings.epsilon)
    return SklearnAdam(rate, *betas, settings.epsilon)


def minimise(model: Sequential, loss: Loss, settings: Settings, rows: Rows, error_scale: float) -> tuple[float, int]:
    """Fit by L-BFGS on the flat parameter vector, all rows at once; the error with penalty, and the iterations.

    Unlike `second_order.LBFGS` it takes sparse rows, computes in the model's dtype, and has scikit-learn's penalty and
    tolerances, so that it ends where scikit-learn ends.

    Warns
    -----
    ConvergenceWarning
        If it ends without having converged.
    """
    from scipy.optimize import minimize

    penalty, done = Penalty(model, settings.alpha), 0

    def at_point(parameters: Array) -> tuple[float, Array]:
        model.params[...] = parameters
        error = error_and_gradient(model, loss, rows.x, rows.target, rows.weight)
        return error * error_scale + penalty.add(loss.total_weight), model.grads.astype(np.float64)

    def say(intermediate_result: Any) -> None:
        nonlocal done
        done += 1
        print(f"Iteration {done}, loss = {intermediate_result.fun:.8f}")

    with np.errstate(over="ignore", invalid="ignore"):
        result = minimize(
            at_point,
            model.params.astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            callback=say if settings.verbose else None,
            options={"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol},
        )
    model.params[...] = result.x
    iterations = min(result.nit, settings.max_iter or result.nit)
    if result.status != 0:
        message = f"lbfgs failed to converge after {iterations} iteration(s) (status={result.status}):\n"
        message += f"{result.message}\n"
        if iterations == settings.max_iter:
            message += f"\nIncrease max_iter (now {settings.max_iter}), or scale the data."
        warnings.warn(message, ConvergenceWarning, stacklevel=5)
    return float(result.fun), iterations
