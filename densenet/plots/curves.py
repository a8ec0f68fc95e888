"""How training went: error and metrics over the epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet.plots._style import COLOURS, axes, quiet, whole_ticks
from densenet.training.history import History

_SMALLER_IS_BETTER = ("loss", "mae", "rmse", "penalty")


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
    >>> history = dn.History()
    >>> for loss in (1.0, 0.5, 0.4):
    ...     history.append({"loss": loss})
    >>> dn.plots.learning_curves(history).get_xlabel()
    'epoch'
    """
    if not isinstance(history, History):
        raise TypeError(f"learning_curves expects the History that fit returns, got {type(history).__name__}.")
    if not len(history):
        raise ValueError("learning_curves expects a history of at least one epoch, got an empty one.")
    if figure not in history:
        raise ValueError(f"learning_curves expects one of {', '.join(history)}, got {figure!r}.")
    ax = axes(ax)
    epochs = np.arange(1, len(history) + 1)
    everything: list[float] = []
    for label, name, colour, line, marker in (
        ("training", figure, COLOURS[0], "-", "o"),
        ("validation", f"val_{figure}", COLOURS[1], "--", "s"),
    ):
        if name in history:
            values = np.array(history[name])
            everything += list(values[np.isfinite(values)])
            alone = marker if np.isfinite(values).sum() == 1 else None
            ax.plot(epochs, values, line, color=colour, label=label, marker=alone, linewidth=1.6)
    if len(history) > 1 and f"val_{figure}" in history and np.isfinite(history[f"val_{figure}"]).any():
        values = np.array(history[f"val_{figure}"])
        best = int(np.nanargmin(values) if figure in _SMALLER_IS_BETTER else np.nanargmax(values))
        label = f"best: {values[best]:.4g} in epoch {best + 1}"
        ax.plot(best + 1, values[best], "o", color=COLOURS[1], markeredgecolor="black", label=label)
    if everything and min(everything) > 0 and max(everything) > 20 * min(everything):
        ax.set_yscale("log")
    whole_ticks(ax.xaxis)
    ax.set_xlabel("epoch")
    ax.set_ylabel(figure.replace("_", " "))
    if f"val_{figure}" in history:
        ax.legend(frameon=False)
    return quiet(ax)
