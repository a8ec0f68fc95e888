"""One quiet style for all pictures: colours that the colour-blind can tell apart, few lines, no frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import as_numbers, check_finite

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
"""P. Tol's bright scheme (2021); told apart by the colour-blind, and by their greys in print."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Beside the colours, so that a print in greys can be read, too."""


def axes(ax: Any = None, *, size: tuple[float, float] = (6, 3.6)) -> Any:
    """The given axes, or the axes of a new figure.

    Raises
    ------
    TypeError
        If `ax` is anything else, such as the array that `plt.subplots` gives for several.
    """
    if ax is None:
        from matplotlib import pyplot as plt

        _, made = plt.subplots(figsize=size, layout="constrained")
        return made
    if not hasattr(ax, "add_patch"):
        what = f"an array of {ax.size}: pass one of them" if isinstance(ax, np.ndarray) else f"{ax!r}"
        raise TypeError(f"A plot expects ax to be one matplotlib Axes, got {what}.")
    return ax


def quiet(ax: Any) -> Any:
    """Take away the frame's upper and right side, and lighten the rest."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def bare(ax: Any) -> Any:
    """Axes without a frame, ticks and grid: for what has no scale."""
    ax.spines[:].set_visible(False)
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    return ax


def in_order(count: int) -> list[Any]:
    """Colours for things that have an order, such as layers: from dark to light, told apart in greys."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.85 * i / max(1, count - 1)) for i in range(count)]


def whole_ticks(axis: Any) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def layer_legend(ax: Any) -> None:
    """A legend beside the picture, where lines cannot run into it."""
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")


def vector(values: Any, who: str, name: str) -> Array:
    """Finite numbers (n,), at least one; a column becomes a vector."""
    array = as_numbers(values, who, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{who} expects {name} of shape (n,) with at least one entry, got {array.shape}.")
    check_finite(array, who, name)
    made: Array = array.astype(np.float64)
    return made
