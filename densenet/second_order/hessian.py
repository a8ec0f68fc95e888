"""Products with second derivatives: how the gradient changes when the parameters move, without the matrix.

The Hessian matrix of n parameters has n^2 entries. Its product with a vector costs two passes more than a gradient:
every line of the forward and the backward pass is differentiated along the vector. Without the network's own second
derivatives it becomes the Gauss-Newton matrix J^T H J, which is positive semidefinite for a convex loss.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from densenet import losses
from densenet._blas import one_pool
from densenet._types import Array
from densenet._validation import as_weights, same_rows
from densenet.layers.containers import chain_tangent, chain_tangent_backward
from densenet.losses.base import Loss
from densenet.second_order.jacobian import direction, passed
from densenet.sequential import Sequential


def gauss_newton_product(
    model: Sequential, loss: Loss | str, x: Any, y: Any, v: Any, *, sample_weight: Any = None
) -> Array:
    """G v with the Gauss-Newton matrix: the Hessian of the error as if the outputs were linear in the parameters.

    With J = dy/dw and H the loss's second derivative by the outputs::

        G v = J^T H J v

    Parameters
    ----------
    model : Sequential
        Taken as it predicts: running statistics, no noise.
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    v : array_like (n_params,)
    sample_weight : array_like (n,), optional

    Returns
    -------
    ndarray (n_params,)
        Of the error E = sum(w l) / sum(w), without penalties.

    Raises
    ------
    ValueError, TypeError
        If x, y or v does not fit the model and the loss.
    TypeError
        If a layer or loss of your own lacks a method that this needs (`tangent`; `slopes_along` or `curvature`).

    References
    ----------
    .. [1] Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent" (2002), section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(1, 1, use_bias=False)], dtype="float64")
    >>> dn.gauss_newton_product(model, "mse", [[1.0], [2.0]], [0.0, 0.0], [1.0])
    array([5.])
    """
    at = Curvature(model, loss, x, y, sample_weight, "gauss_newton_product")
    return at.gauss_newton(direction(v, at.model, "gauss_newton_product"))


def hessian_product(model: Sequential, loss: Loss | str, x: Any, y: Any, v: Any, *, sample_weight: Any = None) -> Array:
    """H v with the exact Hessian of the error: how the gradient moves when the parameters move along v.

    ::

        H v = d/dt dE/dw (w + t v) at t = 0

    Parameters
    ----------
    model, loss, x, y, v, sample_weight
        As in `gauss_newton_product`.

    Returns
    -------
    ndarray (n_params,)
        Of the error E = sum(w l) / sum(w), without penalties.

    Raises
    ------
    ValueError, TypeError
        If x, y or v does not fit the model and the loss.
    TypeError
        If a layer or loss of your own lacks a method that this needs (`tangent` and `tangent_backward`, for an
        `Activation` only `curvature`; `slopes_along` or `curvature` of the loss).

    References
    ----------
    .. [1] Pearlmutter, "Fast exact multiplication by the Hessian" (1994), section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(1, 1, use_bias=False), dn.Tanh()], dtype="float64", seed=0)
    >>> v, h = 1.0, 1e-5
    >>> def gradient(moved):
    ...     return dn.per_sample_gradients(moved, "mse", [[1.0]], [0.5])[0]
    >>> above, below = model.astype("float64"), model.astype("float64")
    >>> above.params += h; below.params -= h
    >>> difference = (gradient(above) - gradient(below)) / (2 * h)
    >>> bool(abs(difference - dn.hessian_product(model, "mse", [[1.0]], [0.5], [v])) < 1e-8)
    True
    """
    at = Curvature(model, loss, x, y, sample_weight, "hessian_product")
    return at.hessian(direction(v, at.model, "hessian_product"))


class Curvature:
    """Second derivatives of the error at one point: one forward pass, then products with any number of directions.

    Parameters
    ----------
    model, loss, x, y, sample_weight
        As in `gauss_newton_product`; it works on a copy of the model.
    who : str
        The caller, for error messages.

    Attributes
    ----------
    model : Sequential
        The copy, after the forward pass.
    prediction : ndarray (n, k)
    target : ndarray
        As the loss prepares it.
    delta : ndarray (n, k)
        D = dE/dY.
    shares : ndarray (n, 1)
        w / sum(w).
    """

    def __init__(self, model: Sequential, loss: Loss | str, x: Any, y: Any, sample_weight: Any, who: str) -> None:
        self.model, self.x, self.prediction = passed(model, x, who)
        self.loss, dtype = copy.copy(losses.get(loss)), self.model.dtype
        self.target = self.loss.prepare(y, self.prediction.shape[1], dtype)
        n = len(self.x)
        same_rows(self.x, self.target, who)
        weight = as_weights(sample_weight, n, dtype, who)
        with one_pool():
            self.loss.error(self.prediction, self.target, weight)
            self.delta = self.loss.delta().copy()
        self.shares = np.full((n, 1), 1 / n, dtype) if weight is None else weight[:, None] / weight.sum()

    def along(self, v: Array) -> Array:
        """J v (n, k): how the outputs move when the parameters move along v."""
        with one_pool():
            return chain_tangent(self.model.layers, np.zeros_like(self.x), v)

    def slopes_along(self, y_dot: Array) -> Array:
        """How every sample's dl/dy moves when the outputs move along `y_dot`: H_l y_dot (n, k)."""
        out = np.empty_like(y_dot)
        self.loss.slopes_along(self.prediction, self.target, y_dot, out)
        return out

    def gauss_newton(self, v: Array) -> Array:
        """J^T H J v."""
        delta_dot = self.slopes_along(self.along(v)) * self.shares
        with one_pool():
            self.model.run_backward(delta_dot)  # J^T (H J v)
        return self.model.grads.copy()

    def hessian(self, v: Array) -> Array:
        """H v."""
        delta_dot = self.slopes_along(self.along(v)) * self.shares  # D' = w / sum(w) H J v
        out = np.empty_like(self.model.params)
        with one_pool():
            chain_tangent_backward(self.model.layers, self.delta, delta_dot, out)
        return out
