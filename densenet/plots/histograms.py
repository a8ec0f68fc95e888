"""How weights, and their gradients, are spread in every layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import positive_int
from densenet.plots._style import axes, in_order, quiet
from densenet.sequential import Sequential


def weight_histograms(model: Sequential, *, bins: int = 50, ax: Any = None) -> Any:
    """The weights W of every dense layer as a histogram, one above the other on one axis.

    Parameters
    ----------
    model : Sequential
    bins : int, default 50
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a Sequential.
    ValueError
        If it has no dense layer or holds NaN or infinity.

    Examples
    --------
    >>> import densenet as dn
    >>> ax = dn.plots.weight_histograms(dn.mlp([64, 32, 10], seed=0))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['dense 1', 'dense 2']
    """
    _check(model, "weight_histograms")
    return _ridges([layer.W.ravel() for layer in model.dense_layers], "w", bins, ax, "weight_histograms")


def gradient_histograms(model: Sequential, *, bins: int = 50, ax: Any = None) -> Any:
    """The gradients dE/dW of every dense layer, as the last backward pass left them, one above the other.

    Parameters
    ----------
    model : Sequential
    bins : int, default 50
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a Sequential.
    ValueError
        If it has no dense layer, or no gradient yet.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([1, 4, 1], seed=0)
    >>> error = dn.Trainer(model, "mse", "sgd").step([[1.0], [2.0]], [1.0, 2.0])
    >>> dn.plots.gradient_histograms(model).get_xlabel()
    'dE/dw'
    """
    _check(model, "gradient_histograms")
    if not model.grads.any():
        raise ValueError(
            "gradient_histograms expects a gradient that is not 0 everywhere: call trainer.step(x, y) or "
            "model.backward first."
        )
    return _ridges([layer.dW.ravel() for layer in model.dense_layers], "dE/dw", bins, ax, "gradient_histograms")


def _check(model: Any, who: str) -> None:
    if not isinstance(model, Sequential):
        raise TypeError(f"{who} expects a Sequential, got {type(model).__name__}.")
    if not model.dense_layers:
        raise ValueError(f"{who} expects a model with dense layers, got {model!r}.")


def _ridges(rows: list[Array], label: str, bins: int, ax: Any, who: str) -> Any:
    bins = positive_int(bins, who, "bins")
    if not all(np.isfinite(row).all() for row in rows):
        raise ValueError(f"{who} expects finite numbers, but the model holds NaN or infinity.")
    ax = axes(ax, size=(6, min(7.0, 1.8 + 0.6 * len(rows))))
    reach = max(float(np.abs(row).max()) for row in rows) or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    for i, (row, colour) in enumerate(zip(rows, in_order(len(rows)), strict=True)):
        counts, _ = np.histogram(row, edges)
        ax.stairs(i + 0.85 * counts / counts.max(), edges, baseline=i, fill=True, color=colour, alpha=0.75, zorder=3)
        spread = f"sd {row.std():.2g}"
        ax.text(reach, i + 0.12, spread, ha="right", va="bottom", fontsize="small", zorder=4)
    ax.axvline(0, color="#333333", linewidth=0.8, zorder=2)
    ax.set_yticks(range(len(rows)), [f"dense {i}" for i in range(1, len(rows) + 1)])
    ax.set(xlabel=label, xlim=(-reach, reach), ylim=(-0.05, len(rows)))
    quiet(ax)
    ax.tick_params(axis="y", length=0)
    return ax
