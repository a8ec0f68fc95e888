"""What the neurons of the first layer look for, where the inputs are pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from densenet._validation import positive_int
from densenet.plots._style import axes, bare
from densenet.sequential import Sequential


def features(model: Sequential, shape: tuple[int, int] | None = None, *, count: int = 64, ax: Any = None) -> Any:
    """The weights of each neuron of the first dense layer as an image, the longest weight vectors first.

    Light pixels raise the neuron's value, dark ones lower it, the middle grey does neither. Every image is scaled to
    its own largest weight.

    Parameters
    ----------
    model : Sequential
    shape : (rows, columns), optional
        Of an image; by default a square where the number of inputs is one.
    count : int, default 64
        Neurons shown at most.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a Sequential.
    ValueError
        If it has no dense layer, or the inputs do not make an image of that shape.

    Examples
    --------
    >>> import densenet as dn
    >>> ax = dn.plots.features(dn.mlp([64, 16, 10], seed=0), (8, 8))
    >>> len(ax.images)
    1
    """
    who = "features"
    if not isinstance(model, Sequential):
        raise TypeError(f"{who} expects a Sequential, got {type(model).__name__}.")
    if not model.dense_layers:
        raise ValueError(f"{who} expects a model with dense layers, got {model!r}.")
    W, count = model.dense_layers[0].W, positive_int(count, who, "count")
    n_in = len(W)
    if shape is None:
        side = math.isqrt(n_in)
        if side * side != n_in:
            raise ValueError(f"{who} expects shape=(rows, columns) of an image, as {n_in} inputs make no square.")
        shape = side, side
    if len(shape) != 2 or shape[0] * shape[1] != n_in:
        raise ValueError(f"{who} expects a shape of {n_in} pixels, the inputs of the first layer, got {shape}.")
    h, w = shape
    order = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:count]
    across = math.ceil(math.sqrt(len(order) * h / w * 1.4))
    down = math.ceil(len(order) / across)
    sheet = np.full((down * (h + 1) + 1, across * (w + 1) + 1), np.nan)
    for place, neuron in enumerate(order):
        row, column = divmod(place, across)
        weights = W[:, neuron].reshape(h, w)
        top, left = row * (h + 1) + 1, column * (w + 1) + 1
        sheet[top : top + h, left : left + w] = weights / (float(np.abs(weights).max()) or 1.0)
    width = 6.0
    ax = axes(ax, size=(width, min(7.0, 0.35 + width * sheet.shape[0] / sheet.shape[1])))
    ax.imshow(np.ma.masked_invalid(sheet), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    bare(ax)
    which = "all" if len(order) == W.shape[1] else f"{len(order)} of"
    ax.set_title(f"first dense layer, {which} {W.shape[1]} neurons (white +, black -)", fontsize="medium")
    return ax
