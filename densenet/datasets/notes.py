"""The network of the notes on backpropagation that this project grew out of, with numbers to calculate with."""

from __future__ import annotations

import numpy as np

from densenet._types import Array
from densenet.layers import Dense, Sigmoid
from densenet.losses import HalfSquaredError
from densenet.losses.base import Loss
from densenet.sequential import Sequential

W1 = [[0.35, -0.42, 0.80], [-0.58, 0.73, 0.26]]
W2 = [[0.47, -0.31], [-0.65, 0.54], [0.38, 0.92]]
W3 = [[-0.49, 0.27], [0.61, 0.85]]
W4 = [[-0.74], [0.96]]
B1 = [0.10, -0.05, 0.15]
B2 = [-0.12, 0.08]
B3 = [0.05, -0.20]
B4 = [-0.10]
X = [[0.90, 0.40]]
Y = [[0.20]]


def notes_network() -> tuple[Sequential, Loss, Array, Array]:
    """The notes' network, 2-3-2-2-1: sigmoid throughout, half squared error, float64, one sample.

    It has the four layers of weights that the notes draw; their route is input 1 - hidden 3 - hidden 2 -
    hidden 2 - output 1, the largest of the four paths that w(1)_{1,3} has. All numbers have two decimals, so that
    everything can be followed by hand::

        W(1) = 0.35 -0.42 0.80    W(2) =  0.47 -0.31    W(3) = -0.49 0.27    W(4) = -0.74
              -0.58  0.73 0.26           -0.65  0.54            0.61 0.85            0.96
                                          0.38  0.92
        b(1) = 0.10 -0.05 0.15    b(2) = -0.12  0.08    b(3) = 0.05 -0.20    b(4) = -0.10
        x = 0.90 0.40             y = 0.20

    Returns
    -------
    model : Sequential
    loss : HalfSquaredError
    x : ndarray (1, 2)
    y : ndarray (1, 1)

    Examples
    --------
    >>> import densenet as dn
    >>> model, loss, x, y = dn.datasets.notes_network()
    >>> [layer.W.shape for layer in model.dense_layers]
    [(2, 3), (3, 2), (2, 2), (2, 1)]
    >>> model.predict(x).round(4)
    array([[0.5238]])
    """
    widths = [2, 3, 2, 2, 1]
    layers = [make for i in range(4) for make in (Dense(widths[i], widths[i + 1]), Sigmoid())]
    model = Sequential(layers, dtype="float64")
    for layer, W, b in zip(model.dense_layers, (W1, W2, W3, W4), (B1, B2, B3, B4), strict=True):
        layer.W, layer.b = W, b
    return model, HalfSquaredError(), np.array(X), np.array(Y)
