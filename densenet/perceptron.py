"""Multilayer perceptrons: dense layers with activations between them, from a list of widths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from densenet._validation import positive_int
from densenet.layers.activations import activation as activation_layer
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.noise import Dropout
from densenet.layers.normalization import BatchNorm
from densenet.sequential import Sequential


def mlp(
    widths: Sequence[int],
    *,
    activation: Any = "relu",
    output_activation: Any = None,
    dropout: float = 0.0,
    batch_norm: bool = False,
    kernel_initializer: Any = "glorot_uniform",
    seed: Any = None,
    dtype: Any = "float32",
) -> Sequential:
    """A multilayer perceptron: dense layers with an activation between them.

    Parameters
    ----------
    widths : sequence of int
        Columns of the input, of every hidden layer, and of the output.
    activation : str, Layer class or callable giving a Layer, or a list with one for each hidden layer; default "relu"
    output_activation : str or Layer class, optional
        After the last dense layer; by default nothing, as losses that take logits want it.
    dropout : float in [0, 1), default 0.0
        Rate of a `Dropout` after every hidden activation.
    batch_norm : bool, default False
        Whether `BatchNorm` stands before every hidden activation.
    kernel_initializer : str or Initializer, default "glorot_uniform"
    seed, dtype
        As in `Sequential`.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        If there are fewer than two widths, a width is not a positive whole number, or the list of activations has
        not one for each hidden layer.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.mlp([2, 3, 1], activation="tanh")
    Sequential([Dense(2, 3), Tanh(), Dense(3, 1)], dtype='float32')
    """
    sizes = [positive_int(width, "mlp", "every width") for width in widths]
    if len(sizes) < 2:
        raise ValueError(f"mlp expects at least two widths, input and output, got {list(widths)}.")
    hidden = len(sizes) - 2
    kinds = list(activation) if isinstance(activation, (list, tuple)) else [activation] * hidden
    if len(kinds) != hidden:
        raise ValueError(f"mlp expects one activation for each of {hidden} hidden layers, got {len(kinds)}.")
    if isinstance(activation, Layer) and hidden > 1:
        raise ValueError(f"mlp needs a new {activation!r} for each hidden layer: pass its class or its name.")
    layers: list[Layer] = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers.append(Dense(n_in, n_out, kernel_initializer=kernel_initializer))
        if i < hidden:
            if batch_norm:
                layers.append(BatchNorm(n_out))
            layers.append(activation_layer(kinds[i]))
            if dropout:
                layers.append(Dropout(dropout))
    if output_activation is not None:
        layers.append(activation_layer(output_activation))
    return Sequential(layers, seed=seed, dtype=dtype)
