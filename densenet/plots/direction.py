"""The error along a straight line through the weights: the ground that a step of gradient descent walks on."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from densenet import losses
from densenet._blas import one_pool
from densenet._validation import as_matrix, as_numbers, cast, check_finite, positive, positive_int, same_rows
from densenet.gradient import error_and_gradient
from densenet.losses.base import Loss
from densenet.plots._style import COLOURS, axes, quiet
from densenet.sequential import Sequential


def loss_along(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    direction: Any = None,
    *,
    reach: float = 1.0,
    points: int = 61,
    ax: Any = None,
) -> Any:
    """The error over t on the line w + t d, with the tangent at t = 0 whose slope is the derivative.

    ::

        E(w + t d)        dE/dt at t = 0 is (dE/dw)^T d

    Along d = -dE/dw, the default, t is the learning rate of one step of gradient descent, and the slope is
    -|dE/dw|^2. The model is taken as it predicts, without penalties, and nothing of it changes.

    Parameters
    ----------
    model : Sequential
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    direction : array_like (n_params,), optional
        d; by default -dE/dw.
    reach : float, default 1.0
        t goes from -reach to reach.
    points : int, default 61
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError, TypeError
        If x, y or the direction does not fit, or the direction is the gradient and it is 0.

    References
    ----------
    .. [1] Goodfellow, Vinyals and Saxe, "Qualitatively characterizing neural network optimization problems" (2015).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([1, 1], seed=0)
    >>> dn.plots.loss_along(model, "mse", [[1.0], [2.0]], [1.0, 2.0], reach=0.5).get_ylabel()
    'error E'
    """
    who = "loss_along"
    if not isinstance(model, Sequential):
        raise TypeError(f"{who} expects a Sequential, got {type(model).__name__}.")
    reach, points = positive(reach, who, "reach"), positive_int(points, who, "points")
    model, loss = copy.deepcopy(model), copy.copy(losses.get(loss))
    x = as_matrix(x, model.n_in, model.dtype, who)
    check_finite(x, who, "x")
    target = loss.prepare(y, model.output_width(x.shape[1]), model.dtype)
    same_rows(x, target, who)
    t = np.linspace(-reach, reach, points)
    with one_pool(), np.errstate(all="ignore"):
        here = error_and_gradient(model, loss, x, target, training=False)
        start, gradient = model.params.copy(), model.grads.copy()
        d = -gradient if direction is None else cast(as_numbers(direction, who, "direction"), model.dtype)
        if d.shape != start.shape:
            raise ValueError(f"{who} expects direction of shape {start.shape}, the parameters', got {d.shape}.")
        if not d.any():
            what = "the gradient is 0 here: pass a direction" if direction is None else "direction is 0 everywhere"
            raise ValueError(f"{who} needs a direction to walk in, but {what}.")
        errors = np.empty(points)
        for i, step in enumerate(t):
            model.params = start + model.dtype.type(step) * d
            errors[i] = loss.error(model.run_forward(x, False), target)
    slope = float(gradient @ d)
    ax = axes(ax)
    ax.plot(t, errors, color=COLOURS[0], linewidth=1.6, label="E(w + t d)")
    ax.plot(0, here, "o", color="black", markersize=5, zorder=3)
    low, high = ax.get_ylim()
    ax.plot(t, here + slope * t, "--", color=COLOURS[1], linewidth=1.4, label=f"tangent at t = 0: slope {slope:.3g}")
    if high > low:
        ax.set_ylim(low, high)
    ax.set(xlabel="t" if direction is not None else "t: learning rate of one step along d = -dE/dw", ylabel="error E")
    ax.legend(frameon=False)
    return quiet(ax)
