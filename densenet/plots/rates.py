"""The error of a range test over the learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from densenet.plots._style import COLOURS, axes, quiet

if TYPE_CHECKING:  # other pictures do without this room
    from densenet.health.rates import LearningRates


def learning_rates(found: LearningRates, *, ax: Any = None) -> Any:
    """The error after each step over its rate, the suggestion, and the lowest error.

    Parameters
    ----------
    found : LearningRates
        What `find_learning_rate` returns.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is anything else.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", "sgd")
    >>> dn.plots.learning_rates(dn.find_learning_rate(trainer, x, y)).get_xscale()
    'log'
    """
    from densenet.health.rates import LearningRates

    if not isinstance(found, LearningRates):
        raise TypeError(f"learning_rates expects what find_learning_rate returns, got {type(found).__name__}.")
    ax = axes(ax)
    ax.plot(found.rates, found.errors, color=COLOURS[0], linewidth=1.6, label="_error")
    if not math.isnan(found.suggestion):
        marks = (
            ("falls fastest (suggestion)", found.suggestion, "o", COLOURS[2]),
            ("lowest", found.edge, "s", COLOURS[1]),
        )
        for name, rate, marker, colour in marks:
            at = int((found.rates == rate).argmax())
            label = f"{name}: {rate:.2g}"
            ax.plot(rate, found.errors[at], marker, color=colour, markeredgecolor="black", markersize=8, label=label)
            ax.axvline(rate, color=colour, linestyle="--" if marker == "o" else ":", linewidth=1.2, zorder=1)
        ax.legend(frameon=False, fontsize="small", loc="lower left")
    low, high = float(found.errors.min()), float(found.errors[0])
    room = max(high - low, 1e-3 * abs(high))
    ax.set_xscale("log")
    ax.set_ylim(low - 0.25 * room, high + 0.5 * room)
    ax.set(xlabel="learning rate", ylabel="error")
    return quiet(ax)
