"""Bayesian regularization: the data determine the weight decay, without a validation set.

Small weights make smooth functions. The data also tell how small they should be: if targets have noise of one
variance and weights a prior of another, one pair of variances makes the data most probable. The method also gives
gamma, the number of parameters that the data determine. A larger network is of no use if its gamma is not larger.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from densenet._types import Array
from densenet._validation import nonnegative, positive
from densenet.losses.base import Loss
from densenet.second_order.least_squares import Bowl, MeanSquares
from densenet.sequential import Sequential
from densenet.training.full_batch import FullBatchSolver, Report

_TINY = float(np.finfo(np.float64).tiny)
_FIRST_GAMMA = 0.01  # of p: a stronger prior would shrink the weights to 0 before they have learned anything


class BayesianRegularization(FullBatchSolver):
    """Levenberg-Marquardt on beta E_D + alpha E_W, alpha and beta re-estimated at every step.

    E_D is the sum of the squared errors over samples and outputs, E_W the sum of the squared parameters. With J the
    Jacobian of the errors e, N their number and p the number of parameters::

        (beta J^T J + (alpha + mu) 1) step = -(beta J^T e + alpha w)
        gamma = p - alpha tr (beta J^T J + alpha 1)^-1          the effective number of parameters
        alpha = gamma / (2 E_W)        beta = (N - gamma) / (2 E_D)

    The noise of a target has the variance 1 / (2 beta), and the weights' prior 1 / (2 alpha). They start at
    beta = N / (2 E_D) and alpha = p / (200 E_W).

    It takes the optimizer's place in a `Trainer`; `fit`'s epochs are its iterations, each on all the data. The
    computations are in float64, for a float32 model, too. Inputs and targets of about unit size suit the prior.

    Parameters
    ----------
    mu : float, default 0.005
        Damping at the start.
    mu_dec, mu_inc : float, default 0.1 and 10.0
        Its factors after a step that is taken, and one that is not.
    mu_max : float, default 1e10
        More damping ends the run.
    min_grad : float, default 1e-7
        A gradient of E_D / N + alpha / (beta N) E_W that is nowhere larger ends the run.
    goal : float, default 0.0
        A mean squared error this small ends the run.
    max_memory : float, default 1e9
        Bytes that Jacobians and the work on them may take; beyond them J^T J is summed over parts of the rows.

    Raises
    ------
    ValueError
        If an argument is out of range; by `fit` if the loss is no squared error, the model draws noise, couples
        samples, is penalised or constrained, or J^T J is larger than `max_memory`.

    Notes
    -----
    `fit`'s History has ``mu``, ``gradient_norm``, ``alpha``, ``beta`` and ``gamma`` beside the figures of any fit.
    Validation data are measured and never end the run. Sample weights, scaled to mean 1, are factors in E_D.

    References
    ----------
    .. [1] MacKay, "Bayesian interpolation" (1992), equations 4.6 to 4.8.
    .. [2] Foresee and Hagan, "Gauss-Newton approximation to Bayesian learning" (1997).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> y = np.sin(3 * x) + np.random.default_rng(0).normal(0, 0.1, x.shape)
    >>> trainer = dn.Trainer(dn.mlp([1, 20, 1], activation="tanh", seed=0), "mse", dn.BayesianRegularization())
    >>> history = trainer.fit(x, y, epochs=100)
    >>> history["gamma"][-1] < 10 < trainer.model.params.size
    True
    """

    def __init__(
        self,
        mu: float = 0.005,
        *,
        mu_dec: float = 0.1,
        mu_inc: float = 10.0,
        mu_max: float = 1e10,
        min_grad: float = 1e-7,
        goal: float = 0.0,
        max_memory: float = 1e9,
    ) -> None:
        who = "BayesianRegularization"
        self.mu = positive(mu, who, "mu")
        self.mu_dec = positive(mu_dec, who, "mu_dec")
        self.mu_inc = positive(mu_inc, who, "mu_inc")
        if not self.mu_dec < 1 < self.mu_inc:
            raise ValueError(f"{who} expects mu_dec < 1 < mu_inc, got {mu_dec!r} and {mu_inc!r}.")
        self.mu_max = positive(mu_max, who, "mu_max")
        self.min_grad = nonnegative(min_grad, who, "min_grad")
        self.goal = nonnegative(goal, who, "goal")
        self.max_memory = positive(max_memory, who, "max_memory")

    def solve(self, model: Sequential, loss: Loss, x: Array, y: Array, weight: Array | None, report: Report) -> str:
        at = MeanSquares(model, loss, x, y, weight, self.max_memory, type(self).__name__)
        N, w, mu = float(y.size), at.w, self.mu
        r = at.residuals(w)
        if not np.isfinite(r).all():
            raise FloatingPointError(f"the mean squared error is {float(r @ r)} at the start")
        bowl = at.bowl(r)
        alpha = _FIRST_GAMMA * w.size / max(2 * float(w @ w), _TINY)
        beta = N / max(2 * N * float(r @ r), _TINY)
        values, vectors = _spectrum(bowl, N)
        while True:
            g = beta * N * bowl.g + alpha * w  # beta J^T e + alpha w
            turned = g @ vectors
            error = beta * N * float(r @ r) + alpha * float(w @ w)
            while True:
                new = w - vectors @ (turned / (beta * values + alpha + mu))
                r_new = at.residuals(new)
                if beta * N * float(r_new @ r_new) + alpha * float(new @ new) < error:
                    bowl_new = at.bowl(r_new)
                    if np.isfinite(bowl_new.g).all():
                        break
                mu *= self.mu_inc
                if mu > self.mu_max:
                    return "mu above mu_max"
            w, r, bowl, mu = new, r_new, bowl_new, max(mu * self.mu_dec, 1e-20)
            model.params[at.free] = w
            values, vectors = _spectrum(bowl, N)
            gamma = float(np.sum(beta * values / (beta * values + alpha)))
            mean_square = float(r @ r)
            alpha = gamma / max(2 * float(w @ w), _TINY)
            beta = max(N - gamma, 1e-9 * N) / max(2 * N * mean_square, _TINY)
            gradient = 2 * float(np.abs(bowl.g + alpha / (beta * N) * w).max())
            ended = "goal reached" if mean_square <= self.goal else ""
            if gradient <= self.min_grad:
                ended = "gradient below min_grad"
            figures = {"loss": at.factor * mean_square, "mu": mu, "gradient_norm": gradient}
            if not report(figures | {"alpha": alpha, "beta": beta, "gamma": gamma}, ended) or ended:
                return ended


def _spectrum(bowl: Bowl, N: float) -> tuple[Array, Array]:
    """Eigenvalues, at least 0, and eigenvectors of J^T J for the errors themselves."""
    values, vectors = linalg.eigh(bowl.A)
    return N * np.maximum(values, 0.0), vectors
