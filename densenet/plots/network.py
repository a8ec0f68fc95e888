"""A network as neurons and lines: sign and size of every weight at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import positive_int
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.plots._style import COLOURS, axes, bare
from densenet.sequential import Sequential

_MOST_NUMBERS = 24


def network_diagram(model: Sequential, *, max_neurons: int = 10, ax: Any = None) -> Any:
    """Neurons as circles, weights as lines: full and blue where positive, dashed and red where negative.

    Lines are the wider, the larger the weight is beside the largest of its layer; small networks show the numbers, and
    the biases b beside their neurons. Of layers with more than `max_neurons` the first ones are drawn. A container
    (`Residual`, `Concatenate`) is a box.

    Parameters
    ----------
    model : Sequential
    max_neurons : int, default 10
        Drawn in a column.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a Sequential.
    ValueError
        If no layer fixes the number of inputs, or `max_neurons` is no whole number of at least 1.

    Examples
    --------
    >>> import densenet as dn
    >>> ax = dn.plots.network_diagram(dn.mlp([2, 3, 1], seed=0))
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"network_diagram expects a Sequential, got {type(model).__name__}.")
    most = positive_int(max_neurons, "network_diagram", "max_neurons")
    if model.n_in is None:
        raise ValueError("network_diagram expects a model whose first layers fix the number of inputs, such as Dense.")
    widths, steps, below = _columns(model)
    tallest = min(max(widths), most)
    numbers = sum(step.W.size for step in steps if isinstance(step, Dense)) <= _MOST_NUMBERS and tallest <= 6
    ax = axes(ax, size=(min(8.0, 1.6 + 1.9 * len(steps)), min(6.0, 1.6 + (0.8 if numbers else 0.55) * tallest)))
    bare(ax)
    places = [_heights(width, most) for width in widths]
    for i, step in enumerate(steps):
        if not isinstance(step, Dense):
            _box(ax, type(step).__name__, places[i], places[i + 1], i)
            continue
        _weights(ax, step.W, places[i], places[i + 1], i, numbers)
        if numbers and step.use_bias:
            for y, b in zip(places[i + 1], step.b, strict=False):  # biases of neurons that are drawn
                ax.text(i + 1, y + 0.21, f"b {b:.2f}", ha="center", va="bottom", fontsize="x-small", color="#333333")
    bottom = min(ys[-1] for ys in places) - 0.3 - 0.4 * (max(widths) > most)
    circle = {"markersize": 15, "color": "white", "markeredgecolor": "#333333", "zorder": 3}
    for i, (width, ys) in enumerate(zip(widths, places, strict=True)):
        ax.plot([i] * len(ys), ys, "o", label="_neurons", **circle)
        if width > len(ys):
            ax.text(i, ys[-1] - 0.28, "⋮", ha="center", va="top", fontsize="large")
        kind = {0: " input", len(steps): " output"}.get(i, "")
        name = f"{width}{kind}{'s' * (kind != '' and width > 1)}"
        ax.text(i, bottom, "\n".join([name, *below[i]]), ha="center", va="top", fontsize="small")
    floor = bottom - 0.45 - 0.3 * max(map(len, below))
    ax.set(xlim=(-0.55, len(steps) + 0.55), ylim=(floor, max(ys[0] for ys in places) + 0.55))
    return ax


def _columns(model: Sequential) -> tuple[list[int], list[Layer], list[list[str]]]:
    """Widths of the columns of neurons, what stands between them, and what acts on each column alone."""
    width = model.n_in or 0
    widths, steps = [width], []
    below: list[list[str]] = [[]]
    for layer in model.layers:
        width = layer.output_width(width) or width
        if isinstance(layer, Dense) or layer.children:
            widths.append(width)
            steps.append(layer)
            below.append([])
        else:
            below[-1].append(type(layer).__name__)
    return widths, steps, below


def _box(ax: Any, name: str, left: Array, right: Array, column: int) -> None:
    low, high = min(left[-1], right[-1]) - 0.25, max(left[0], right[0]) + 0.3
    x = np.array([0.25, 0.75, 0.75, 0.25]) + column
    ax.fill(x, [low, low, high, high], facecolor="#eeeeee", edgecolor="#777777", zorder=1)
    ax.text(column + 0.5, (low + high) / 2, name, rotation=90, ha="center", va="center")


def _heights(width: int, most: int) -> Array:
    shown = min(width, most)
    return (shown - 1) / 2 - np.arange(shown, dtype=float)


def _weights(ax: Any, W: Array, left: Array, right: Array, column: int, numbers: bool) -> None:
    from matplotlib.collections import LineCollection

    shown = W[: len(left), : len(right)]
    i, j = np.indices(shown.shape).reshape(2, -1)
    w = shown.ravel()
    size = np.abs(w) / (float(np.abs(shown).max()) or 1.0)
    ends = np.stack(
        [np.stack([np.full(len(w), column), left[i]], 1), np.stack([np.full(len(w), column + 1), right[j]], 1)], 1
    )
    lines = LineCollection(
        list(ends),
        colors=[COLOURS[0] if value >= 0 else COLOURS[1] for value in w],
        linestyles=["-" if value >= 0 else (0, (4, 2)) for value in w],
        linewidths=0.3 + 2.7 * size,
        alpha=0.35 + 0.65 * size,
        zorder=1,
    )
    ax.add_collection(lines)
    if numbers:
        for (start, end), value in zip(ends, w, strict=True):
            x, y = start + 0.2 * (end - start)  # near the source, before lines cross
            angle = np.degrees(np.arctan2(end[1] - start[1], end[0] - start[0]))
            turned = {"rotation": angle, "rotation_mode": "anchor", "transform_rotates_text": True}
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
            ax.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize="x-small", bbox=box, zorder=2, **turned)
