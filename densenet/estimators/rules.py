"""scikit-learn's formulas where they differ from the project's: batch order, updates, losses, penalty and stopping.

What one epoch of `MLPClassifier.fit` does is laid over the `Trainer`'s loop: the batches come in scikit-learn's order,
its optimizers are two more rules, and a callback adds the penalty, keeps the figures and says when to stop.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from densenet._blas import products
from densenet._types import Array
from densenet.gradient import error_and_gradient
from densenet.optimizers.adam import Adam, AdamW
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.persistence.codec import register
from densenet.sequential import Sequential
from densenet.tabular import Calibration
from densenet.training.data import Batch, StreamBatches
from densenet.training.hooks import Callback
from densenet.training.run import Run


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


class Rows:
    """Mini-batches of arrays or sparse rows in scikit-learn's order: each epoch permutes the one before it.

    Parameters
    ----------
    x : ndarray or CSR matrix (n, n_in)
    y : ndarray (n, ...)
    weight : ndarray (n,) or None
    batch_size : int
    random_state : RandomState or None
        Draws the permutations; None takes the rows as they stand.
    drop_last : bool
        Whether a last batch that is not full is left out.

    Attributes
    ----------
    count : int
        Rows in the batch that was given last.
    """

    def __init__(
        self,
        x: Any,
        y: Array,
        weight: Array | None,
        batch_size: int,
        random_state: Any = None,
        drop_last: bool = False,
    ) -> None:
        self.x, self.y, self.weight, self.random_state = x, y, weight, random_state
        self.batch_size, self.count = batch_size, 0
        n = x.shape[0]
        self.end = n - n % batch_size if drop_last else n
        self.order = np.arange(n)
        self.dense = isinstance(x, np.ndarray)

    def __iter__(self) -> Iterator[Batch]:
        if self.random_state is None:
            for start in range(0, self.end, self.batch_size):
                rows = slice(start, min(start + self.batch_size, self.end))
                self.count = rows.stop - start
                yield self.x[rows], self.y[rows], None if self.weight is None else self.weight[rows]
            return
        permutation = np.arange(len(self.order))
        self.random_state.shuffle(permutation)
        self.order = self.order[permutation]
        size, weight = self.batch_size, self.weight
        x = np.empty((size, *self.x.shape[1:]), self.x.dtype) if self.dense else self.x
        y = np.empty((size, *self.y.shape[1:]), self.y.dtype)
        w = None if weight is None else np.empty(size, weight.dtype)
        for start in range(0, self.end, size):
            index = self.order[start : start + size]
            self.count = count = len(index)
            if count < size and self.dense:
                x = x[:count]
            y, w = y[:count], None if w is None else w[:count]
            if weight is not None:
                weight.take(index, 0, w, "clip")
            self.y.take(index, 0, y, "clip")
            yield self.x.take(index, 0, x, "clip") if self.dense else self.x[index], y, w

    def stream(self) -> StreamBatches:
        """What `Trainer.fit` takes: these batches need no check."""
        return StreamBatches(self, None, None, None, "fit")


@dataclass
class HeldOut:
    """Rows that are held out, and what the estimator makes of them.

    Attributes
    ----------
    rows : Rows
    outputs : callable
        Gives the model's outputs for these rows as it is.
    score : callable
        Gives accuracy or R^2 of outputs; NaN where they are not finite.
    calibration : callable or None
        Gives the temperature that suits these rows, and their loss with it, of outputs.
    """

    rows: Rows
    outputs: Callable[[], Array]
    score: Callable[[Array], float]
    calibration: Callable[[Array], Calibration] | None

    def judge(self, plain: float) -> tuple[float, float]:
        """The score, and the loss that says which epoch is best, given the plain one."""
        outputs = self.outputs()
        if self.calibration is None or not np.isfinite(outputs).all():
            return self.score(outputs), plain
        return self.score(outputs), self.calibration(outputs).error


@dataclass
class Patience:
    """Epochs without a better figure, and the best figure so far; an estimator keeps it between its fits."""

    count: int = 0
    best: float = -math.inf


class Penalty:
    """alpha / 2 sum W^2 / sum(w) over a batch of weights w, for every dense layer's W."""

    def __init__(self, model: Sequential, alpha: float) -> None:
        self.alpha = alpha
        self.pairs = [(layer.W.reshape(-1), layer.dW.reshape(-1)) for layer in model.dense_layers] if alpha else []
        self.add_scaled, self.dot = products(model.dtype).add_scaled, products(model.dtype).dot

    def add(self, total: float) -> float:
        """Add the derivative alpha W / sum(w) to the gradients; the penalty itself."""
        c, square = self.alpha / total, 0.0
        for w, dw in self.pairs:
            self.add_scaled(w, dw, c)
            square += self.dot(w, w)
        return 0.5 * c * square


class Follow(Callback):
    """What scikit-learn does in and after every epoch, written into the estimator's attributes.

    Parameters
    ----------
    estimator : DenseClassifier or DenseRegressor
    settings : namespace
        The parameters that hold for this fit.
    rows : Rows
    error_scale : float
        What the error is multiplied by in `loss_`.
    validation : HeldOut or None
        Rows whose score decides, with early stopping.
    patience : Patience
        Goes on from earlier fits.
    """

    def __init__(
        self,
        estimator: Any,
        settings: Any,
        rows: Rows,
        error_scale: float,
        validation: HeldOut | None,
        patience: Patience,
    ) -> None:
        self.estimator, self.settings, self.rows = estimator, settings, rows
        self.error_scale, self.validation, self.patience = error_scale, validation, patience
        self.total = 0.0
        self.best: list[Array] = []

    def on_fit_begin(self, run: Run) -> None:
        self.penalty = Penalty(run.model, self.settings.alpha)
        if self.validation is not None:
            self.keep(run.model)

    def keep(self, model: Sequential) -> None:
        """Keep the weights and statistics as the best."""
        self.best = [array.copy() for array in model.state_arrays()]

    def on_fit_end(self, run: Run) -> None:
        if self.validation is not None:
            run.model.load_state_arrays(self.best)

    def on_epoch_begin(self, run: Run) -> None:
        self.total = 0.0

    def on_gradients(self, run: Run) -> None:
        if not run.trainer.loss.total_weight:
            return
        penalty = self.penalty.add(run.trainer.loss.total_weight)
        self.total += (run.batch_error * self.error_scale + penalty) * self.rows.count

    def on_epoch_end(self, run: Run) -> None:
        estimator, settings = self.estimator, self.settings
        estimator.n_iter_ += 1
        estimator.t_ += self.rows.end
        self.record(self.total / self.rows.end, run.figures.get("val_loss"))
        if settings.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self.validation is not None:
            score, loss = self.validation.judge(run.figures["val_loss"])
            self.judge_score(score, -loss if settings.by_loss else score, run.model)
        else:
            self.judge_loss()
        optimizer = run.trainer.optimizer
        if settings.solver == "sgd" and settings.learning_rate == "invscaling":
            optimizer.learning_rate = settings.learning_rate_init / (estimator.t_ + 1) ** settings.power_t
        if self.patience.count > settings.n_iter_no_change:
            self.stop_or_slow_down(run, optimizer)

    def record(self, loss: float, validation_loss: float | None) -> None:
        """Write an epoch's errors down."""
        self.estimator.loss_ = loss
        self.estimator.loss_curve_.append(loss)
        if validation_loss is not None:
            self.estimator.validation_loss_curve_.append(validation_loss)

    def judge_score(self, score: float, figure: float, model: Sequential | None) -> None:
        """Count epochs whose figure is no better by `tol`, and keep the best weights.

        The figure is the score; where classes have weights, it is minus the held-out loss: a score made of few heavy
        rows goes in steps.
        """
        estimator, settings, patience = self.estimator, self.settings, self.patience
        estimator.validation_scores_.append(score)
        if settings.verbose:
            print(f"Validation score: {score:f}")
        patience.count = patience.count + 1 if figure < patience.best + settings.tol else 0
        if model is not None and (figure > patience.best or (settings.last_best and figure == patience.best)):
            patience.best, estimator.best_validation_score_ = figure, score
            self.keep(model)

    def judge_loss(self) -> None:
        """Count epochs whose loss is no lower by `tol`."""
        estimator, patience = self.estimator, self.patience
        behind = estimator.loss_ > estimator.best_loss_ - self.settings.tol
        patience.count = patience.count + 1 if behind else 0
        estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)

    def stop_or_slow_down(self, run: Run, optimizer: Optimizer) -> None:
        """End the run, or divide the rate by 5 where it adapts."""
        settings = self.settings
        what = "Training loss" if self.validation is None else "Validation score"
        message = (
            f"{what} did not improve more than tol={settings.tol:f} for {settings.n_iter_no_change} consecutive epochs."
        )
        if settings.solver == "sgd" and settings.learning_rate == "adaptive" and optimizer.rate > 1e-6:
            optimizer.learning_rate = optimizer.rate / 5
            self.patience.count = 0
            message += f" Setting learning rate to {optimizer.rate:f}"
        else:
            run.stop(message)
            message += " Learning rate too small. Stopping." if settings.learning_rate == "adaptive" else " Stopping."
        if settings.verbose:
            print(message)


def minimise(estimator: Any, settings: Any, x: Any, y: Array, weight: Array | None, error_scale: float) -> None:
    """Fit by L-BFGS on the flat parameter vector, all rows at once: sets `loss_` and `n_iter_`."""
    from scipy.optimize import minimize

    model, loss = estimator.model_, estimator.trainer_.loss
    penalty = Penalty(model, settings.alpha)
    done = 0

    def at_point(parameters: Array) -> tuple[float, Array]:
        model.params[...] = parameters
        error = error_and_gradient(model, loss, x, y, weight)
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
    estimator.loss_ = float(result.fun)
    estimator.n_iter_ = min(result.nit, settings.max_iter)
    if result.status != 0:
        message = f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) (status={result.status}):\n"
        message += f"{result.message}\n"
        if estimator.n_iter_ == settings.max_iter:
            message += f"\nIncrease max_iter (now {settings.max_iter}), or scale the data."
        warnings.warn(message, ConvergenceWarning, stacklevel=5)


def optimizer_of(settings: Any) -> Optimizer:
    """The rule that `solver` names."""
    rate = settings.learning_rate if isinstance(settings.learning_rate, Schedule) else settings.learning_rate_init
    if settings.solver == "sgd":
        return SklearnSGD(rate, settings.momentum, settings.nesterovs_momentum)
    if settings.recipe is not None and settings.recipe.weight_decay:
        decay = settings.recipe.weight_decay
        return AdamW(rate, settings.beta_1, settings.beta_2, settings.epsilon, weight_decay=decay)
    if settings.recipe is not None:
        return Adam(rate, settings.beta_1, settings.beta_2, settings.epsilon)
    return SklearnAdam(rate, settings.beta_1, settings.beta_2, settings.epsilon)
