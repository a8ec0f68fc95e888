"""Error and gradient of one batch: the forward pass, the error, and the backward pass.

Everything that needs a gradient calls this one function: training, the solvers, the checks and the explanations.
"""

from __future__ import annotations

from densenet._types import Array
from densenet.losses.base import Loss
from densenet.sequential import Sequential


def error_and_gradient(
    model: Sequential, loss: Loss, x: Array, y: Array, weight: Array | None = None, training: bool = True
) -> float:
    """The error E of a batch; the model's `grads` are filled with dE/d(params).

    ::

        Y = f_L(... f_1(X))        E = loss(Y, T)        D_L = dE/dY        D_(l-1) = (df_l/dX)^T D_l

    Penalties are no part of E here: `Sequential.add_penalty_gradients` adds their derivatives.

    Parameters
    ----------
    model : Sequential
    loss : Loss
        Keeps what its derivative needs.
    x : ndarray (n, n_in)
        Of the model's dtype.
    y : ndarray (n, ...)
        Targets as `Loss.prepare` gives them.
    weight : ndarray (n,), optional
        A weight for each row.
    training : bool, default True
        Whether layers behave as in training (batch statistics, noise).

    Returns
    -------
    float
        E. It is not checked: a caller decides what NaN or infinity means.

    References
    ----------
    .. [1] Nielsen, "Neural Networks and Deep Learning" (2015), chapter 2, equations BP1 to BP4.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> from densenet.gradient import error_and_gradient
    >>> model = dn.Sequential([dn.Dense(2, 1, kernel_initializer="ones")], dtype="float64")
    >>> error_and_gradient(model, dn.HalfSquaredError(), np.array([[1.0, 2.0]]), np.array([[1.0]]))
    2.0
    >>> model.grads
    array([2., 4., 2.])
    """
    prediction = model.run_forward(x, training)  # 1. forward pass: y' = f_L(... f_1(x))
    error = loss.error(prediction, y, weight)  # 2. the error E(y', y)
    model.run_backward(loss.delta())  # 3. backward pass: dE/dw of every weight
    return error
