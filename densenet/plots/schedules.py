"""How the learning rate changes with the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._validation import positive_int
from densenet.optimizers.schedules import Schedule
from densenet.plots._style import COLOURS, axes, quiet


def schedule(schedule: Schedule, steps: int, *, ax: Any = None) -> Any:
    """alpha(t) for t = 0 ... steps - 1, t being the optimizer steps done.

    Parameters
    ----------
    schedule : Schedule
    steps : int
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a Schedule.
    ValueError
        If `steps` is no whole number of at least 1.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.plots.schedule(dn.CosineDecay(0.1, steps=100), 120).get_xlabel()
    'optimizer steps done'
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(f"plots.schedule expects a Schedule such as dn.CosineDecay(0.1, steps=100), got {schedule!r}.")
    t = np.arange(positive_int(steps, "plots.schedule", "steps"))
    rates = np.array([schedule(int(step)) for step in t])
    ax = axes(ax)
    ax.plot(t, rates, color=COLOURS[0], linewidth=1.6, marker="o" if len(t) == 1 else None)
    ax.set(xlabel="optimizer steps done", ylabel="learning rate")
    ax.set_ylim(bottom=0)
    ax.set_title(type(schedule).__name__, fontsize="medium")
    return quiet(ax)
