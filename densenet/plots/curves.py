"""How training went: error and metrics over the epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet.history import History
from densenet.plots._style import COLOURS, axes, quiet


def learning_curves(history: History, *, figure: str = "loss", ax: Any = None) -> Any:
    """One figure over the epochs: training, and validation where there is one, its best epoch marked.

    The axis is logarithmic where all values are positive and the largest is more than twenty times the smallest.

    Parameters
    ----------
    history : History
    figure : str, default "loss"
        A training figure's name, such as "accuracy".
    ax : matplotlib Axes, optional
        A new one by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the history is empty or has no such figure.

    Examples
    --------
    >>> import densenet as dn
    >>> from densenet import plots
    >>> history = dn.History()
    >>> for loss in (1.0, 0.5, 0.4):
    ...     history.append({"loss": loss})
    >>> plots.learning_curves(history).get_xlabel()
    'epoch'
    """
    if not len(history):
        raise ValueError("learning_curves expects a history of at least one epoch, got an empty one.")
    if figure not in history:
        raise ValueError(f"learning_curves expects one of {', '.join(history)}, got {figure!r}.")
    ax = axes(ax)
    epochs = np.arange(1, len(history) + 1)
    marker = "o" if len(history) == 1 else None
    shown = [("training", figure, COLOURS[0], "-"), ("validation", f"val_{figure}", COLOURS[1], "--")]
    everything: list[float] = []
    for label, name, colour, line in shown:
        if name in history:
            values = np.array(history[name])
            everything += list(values[np.isfinite(values)])
            ax.plot(epochs, values, line, color=colour, label=label, marker=marker, linewidth=1.6)
    if f"val_{figure}" in history and np.isfinite(history[f"val_{figure}"]).any():
        values = np.array(history[f"val_{figure}"])
        lowest = figure.split("_")[-1] in ("loss", "mae", "rmse")
        best = int(np.nanargmin(values) if lowest else np.nanargmax(values))
        ax.plot(best + 1, values[best], "o", color=COLOURS[1], label=f"best: {values[best]:.4g} in epoch {best + 1}")
    if everything and min(everything) > 0 and max(everything) > 20 * min(everything):
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel(figure)
    ax.legend(frameon=False)
    return quiet(ax)
