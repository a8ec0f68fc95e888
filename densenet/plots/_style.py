"""One quiet style for all pictures: colours that the colour-blind can tell apart, few lines, no frames."""

from __future__ import annotations

from typing import Any

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
"""P. Tol's bright scheme (2021); told apart by the colour-blind, and by their greys in print."""


def axes(ax: Any = None) -> Any:
    """The given axes, or those of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    _, made = plt.subplots(figsize=(6, 3.6), layout="constrained")
    return made


def quiet(ax: Any) -> Any:
    """Take away the frame's upper and right side, and lighten the rest."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax
