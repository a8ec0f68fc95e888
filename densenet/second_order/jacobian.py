"""Jacobians: the derivatives of every output, and of every sample's loss, by parameters and inputs.

A backward pass sums the derivatives of all samples. The Jacobian matrix keeps them apart: it solves least squares,
carries errors from weights to predictions, and shows the gradient of single samples. For a dense layer a sample's part
is the outer product of its activation and its delta, so that the matrix costs one backward pass for each output.

The model counts as it predicts: with running statistics, without noise. All functions work on a copy of it.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np

from densenet import losses
from densenet._blas import one_pool
from densenet._types import Array
from densenet._validation import as_matrix, as_numbers, cast, check_finite, same_rows
from densenet.layers.containers import chain_norms, chain_samples, chain_tangent
from densenet.losses.base import Loss
from densenet.sequential import Sequential


def jacobian_rows(model: Sequential, scale: Array | None, out: Array) -> None:
    """out[s, j] = scale_s dy_sj / dw after the model's forward pass; out (n, k, parameters), scale (n,)."""
    n, k, _ = out.shape
    for j in range(k):
        delta = np.zeros((n, k), model.dtype)
        delta[:, j] = 1 if scale is None else scale  # the delta of output j alone
        chain_samples(model.layers, delta, out[:, j])


def jacobian(model: Sequential, x: Any, *, wrt: Literal["params", "inputs"] = "params") -> Array:
    """The derivative of every output by every parameter, or by every input.

    ::

        J[s, j, i] = dy_sj / dw_i        or        J[s, j, i] = dy_sj / dx_si

    Parameters
    ----------
    model : Sequential
        Taken as it predicts: running statistics, no noise.
    x : array_like (n, n_in)
    wrt : {"params", "inputs"}, default "params"

    Returns
    -------
    ndarray (n, n_out, n_params) or (n, n_out, n_in)
        In the model's dtype; parameters in the order of ``model.params``.

    Raises
    ------
    ValueError, TypeError
        If x does not fit the model, or `wrt` is neither.

    Notes
    -----
    A layer of your own with parameters works as it is, with one backward pass a sample; its method
    `backward_samples` makes it fast.

    References
    ----------
    .. [1] Bishop, "Pattern Recognition and Machine Learning" (2006), section 5.3.4.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(2, 1)], dtype="float64", seed=0)
    >>> model.layers[0].W = [[5.0], [7.0]]
    >>> dn.jacobian(model, [[3.0, 4.0]])
    array([[[3., 4., 1.]]])
    >>> dn.jacobian(model, [[3.0, 4.0]], wrt="inputs")
    array([[[5., 7.]]])
    """
    if wrt not in ("params", "inputs"):
        raise ValueError(f'jacobian expects wrt to be "params" or "inputs", got {wrt!r}.')
    model, x, y = passed(model, x, "jacobian")
    n, k = y.shape
    with one_pool():
        if wrt == "params":
            out = np.empty((n, k, model.params.size), model.dtype)
            jacobian_rows(model, None, out)
            return out
        out = np.empty((n, k, x.shape[1]), model.dtype)
        for j in range(k):
            delta = np.zeros((n, k), model.dtype)
            delta[:, j] = 1
            for layer in reversed(model.layers):
                delta = layer.backward(delta)
            out[:, j] = delta
        return out


def jacobian_product(model: Sequential, x: Any, v: Any) -> Array:
    """J v: how the outputs move when the parameters move along v, without J.

    ::

        (J v)_sj = sum_i dy_sj / dw_i v_i = d/dt y_sj(w + t v) at t = 0

    Parameters
    ----------
    model : Sequential
        Taken as it predicts.
    x : array_like (n, n_in)
    v : array_like (n_params,)

    Returns
    -------
    ndarray (n, n_out)

    Raises
    ------
    ValueError, TypeError
        If x or v does not fit the model.
    TypeError
        If a layer of your own has no method `tangent`.

    References
    ----------
    .. [1] Pearlmutter, "Fast exact multiplication by the Hessian" (1994), equation 5.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(2, 1)], dtype="float64")
    >>> dn.jacobian_product(model, [[3.0, 4.0]], [1.0, 10.0, 100.0])
    array([[143.]])
    """
    model, x, _ = passed(model, x, "jacobian_product")
    with one_pool():
        return chain_tangent(model.layers, np.zeros_like(x), direction(v, model, "jacobian_product"))


def jacobian_transpose_product(model: Sequential, x: Any, u: Any) -> Array:
    """J^T u: the derivatives by the parameters for a delta u at the outputs, without J; one backward pass.

    ::

        (J^T u)_i = sum_sj u_sj dy_sj / dw_i

    Parameters
    ----------
    model : Sequential
        Taken as it predicts.
    x : array_like (n, n_in)
    u : array_like (n, n_out)

    Returns
    -------
    ndarray (n_params,)

    Raises
    ------
    ValueError, TypeError
        If x or u does not fit the model.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(2, 1)], dtype="float64")
    >>> dn.jacobian_transpose_product(model, [[3.0, 4.0], [1.0, 1.0]], [[1.0], [10.0]])
    array([13., 14., 11.])
    """
    model, _, y = passed(model, x, "jacobian_transpose_product")
    delta = as_matrix(u, y.shape[1], model.dtype, "jacobian_transpose_product", name="u", copy=True)
    if len(delta) != len(y):
        raise ValueError(f"jacobian_transpose_product expects u of shape {y.shape}, the output's, got {delta.shape}.")
    with one_pool():
        model.run_backward(delta)
    return model.grads


def per_sample_gradients(model: Sequential, loss: Loss | str, x: Any, y: Any) -> Array:
    """The gradient of every sample's own loss.

    ::

        G[s, i] = dl_s / dw_i        dE/dw = sum_s w_s G_s / sum_s w_s

    Parameters
    ----------
    model : Sequential
        Taken as it predicts: running statistics, no noise.
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.

    Returns
    -------
    ndarray (n, n_params)
        In the model's dtype; without penalties.

    Raises
    ------
    ValueError, TypeError
        If x or y does not fit the model and the loss.

    References
    ----------
    .. [1] Goodfellow, "Efficient per-example gradient computations" (2015).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(1, 1, kernel_initializer="ones")], dtype="float64")
    >>> dn.per_sample_gradients(model, "mse", [[1.0], [2.0]], [0.0, 0.0])
    array([[2., 2.],
           [8., 4.]])
    """
    model, delta = slopes_at(model, loss, x, y, "per_sample_gradients")
    out = np.empty((len(delta), model.params.size), model.dtype)
    with one_pool():
        chain_samples(model.layers, delta, out)
    return out


def per_sample_gradient_norms(model: Sequential, loss: Loss | str, x: Any, y: Any) -> Array:
    """The length of every sample's gradient, without the gradients: for a dense layer::

        |dl_s/dW|^2 + |dl_s/db|^2 = (|x_s|^2 + 1) |d_s|^2

    Parameters
    ----------
    model, loss, x, y
        As in `per_sample_gradients`.

    Returns
    -------
    ndarray (n,)

    Raises
    ------
    ValueError, TypeError
        If x or y does not fit the model and the loss.

    References
    ----------
    .. [1] Goodfellow, "Efficient per-example gradient computations" (2015).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(1, 1, kernel_initializer="ones", use_bias=False)], dtype="float64")
    >>> dn.per_sample_gradient_norms(model, "mse", [[1.0], [2.0]], [0.0, 0.0])
    array([2., 8.])
    """
    model, delta = slopes_at(model, loss, x, y, "per_sample_gradient_norms")
    squares = np.zeros(len(delta), model.dtype)
    with one_pool():
        chain_norms(model.layers, delta, squares)
    return np.sqrt(squares)


def passed(model: Sequential, x: Any, who: str) -> tuple[Sequential, Array, Array]:
    """A copy of the model after a forward pass over x, x as a checked array, and the output."""
    if not isinstance(model, Sequential):
        raise TypeError(f"{who} expects a Sequential as its model, got {model!r}.")
    x = as_matrix(x, model.n_in, model.dtype, who)
    check_finite(x, who, "x")
    model = copy.deepcopy(model)
    return model, x, model.run_forward(x, False)


def direction(v: Any, model: Sequential, who: str) -> Array:
    """v as a vector of the parameters' shape and dtype."""
    vector = cast(as_numbers(v, who, "v"), model.dtype)
    if vector.shape != model.params.shape:
        raise ValueError(f"{who} expects v of shape {model.params.shape}, the parameters', got {vector.shape}.")
    check_finite(vector, who, "v")
    return vector


def slopes_at(model: Sequential, loss: Loss | str, x: Any, y: Any, who: str) -> tuple[Sequential, Array]:
    """A copy of the model after a forward pass, and dl_s/dy_s of every sample."""
    model, x, prediction = passed(model, x, who)
    loss = copy.copy(losses.get(loss))
    target = loss.prepare(y, prediction.shape[1], model.dtype)
    same_rows(x, target, who)
    loss.error(prediction, target)
    delta = np.empty_like(prediction)
    loss.slopes(prediction, target, delta)
    return model, delta
