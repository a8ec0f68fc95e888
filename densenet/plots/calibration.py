"""Whether probabilities are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet.plots._style import COLOURS, axes, quiet


def calibration(true: Any, probabilities: Any, *, bins: int = 10, ax: Any = None) -> Any:
    """How often the most probable class is right, over how probable it is said to be; on the diagonal they agree.

    ::

        accuracy_m = mean of [argmax p = y]        confidence_m = mean of max p        over the rows with max p in bin m
        error = sum_m n_m / n |accuracy_m - confidence_m|

    Parameters
    ----------
    true : array_like (n,)
        Class numbers.
    probabilities : array_like (n, k)
    bins : int, default 10
        Of equal width between 0 and 1; those without a row are left out. A point is as large as its bin has rows.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the lengths differ or there is no row.

    References
    ----------
    .. [1] Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017), section 2.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.plots.calibration([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]).get_title()
    'calibration error 0.4'
    """
    y, p = np.asarray(true), np.asarray(probabilities, float)
    if p.ndim != 2 or y.shape != (len(p),) or not len(p):
        raise ValueError(f"calibration expects true (n,) and probabilities (n, k), got {y.shape} and {p.shape}.")
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(number, minlength=bins)
    there = counts > 0
    mean = np.bincount(number, confidence, bins)[there] / counts[there]
    accuracy = np.bincount(number, right, bins)[there] / counts[there]
    error = float((counts[there] * np.abs(accuracy - mean)).sum() / len(y))
    ax = axes(ax)
    ax.plot([0, 1], [0, 1], "--", color="0.6", linewidth=1)
    ax.plot(mean, accuracy, color=COLOURS[0], linewidth=1.2)
    ax.scatter(mean, accuracy, s=20 + 180 * counts[there] / counts.max(), color=COLOURS[0], zorder=3)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability of the most probable class", ylabel="share right")
    ax.set_title(f"calibration error {error:.3g}", fontsize="medium")
    return quiet(ax)
