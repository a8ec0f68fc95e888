"""How far predicted numbers are from the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._types import Array
from densenet.plots._style import COLOURS, axes, quiet, vector


def predicted_against_true(true: Any, predicted: Any, *, ax: Any = None) -> Any:
    """Every sample as a point, the diagonal where predictions are right, and the straight line fitted to the points.

    ::

        p ~ a + b t  by least squares        R2 = 1 - sum (t - p)^2 / sum (t - mean t)^2

    Predictions that shrink towards the mean show as a fit flatter than the diagonal.

    Parameters
    ----------
    true, predicted : array_like (n,)
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError, TypeError
        If they are not vectors of finite numbers of one length.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.plots.predicted_against_true([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).get_ylabel()
    'predicted'
    """
    t, p = _pair(true, predicted, "predicted_against_true")
    ax = axes(ax, size=(5.2, 4.6))
    low, high = float(min(t.min(), p.min())), float(max(t.max(), p.max()))
    margin = 0.05 * ((high - low) or 1.0)
    ends = np.array([low - margin, high + margin])
    alpha = float(np.clip(30 / np.sqrt(len(t)) / 4, 0.15, 0.8))
    ax.plot(t, p, "o", color=COLOURS[0], alpha=alpha, markersize=4, markeredgewidth=0, label="_samples")
    ax.plot(ends, ends, "--", color="#333333", linewidth=1.2, label="predicted = true")
    spread = float(np.square(t - t.mean()).sum())
    if spread > 0:
        b = float((t - t.mean()) @ (p - p.mean())) / spread  # b = sum (t - mean t)(p - mean p) / sum (t - mean t)^2
        a = float(p.mean() - b * t.mean())
        ax.plot(
            ends,
            a + b * ends,
            "-",
            color=COLOURS[1],
            linewidth=1.6,
            label=f"fit: {a:.3g} {'+-'[b < 0]} {abs(b):.3g} true",
        )
        r2 = 1 - float(np.square(t - p).sum()) / spread
        ax.set_title(f"R2 = {r2:.3f}, n = {len(t)}", fontsize="medium")
    ax.set(xlabel="true", ylabel="predicted", xlim=ends, ylim=ends)
    ax.set_aspect("equal")
    ax.legend(frameon=False, loc="upper left")
    return quiet(ax)


def residual_histogram(true: Any, predicted: Any, *, bins: int = 30, ax: Any = None) -> Any:
    """How often the residual r = true - predicted falls into each interval, its mean marked.

    Parameters
    ----------
    true, predicted : array_like (n,)
    bins : int, default 30
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError, TypeError
        If they are not vectors of finite numbers of one length.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.plots.residual_histogram([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).get_ylabel()
    'samples'
    """
    t, p = _pair(true, predicted, "residual_histogram")
    residuals = t - p
    ax = axes(ax)
    ax.hist(residuals, bins=bins, color=COLOURS[0], edgecolor="white", linewidth=0.5)
    mean, spread = float(residuals.mean()), float(residuals.std())
    ax.axvline(0, color="#333333", linewidth=1.0)
    ax.axvline(mean, color=COLOURS[1], linestyle="--", linewidth=1.6)
    ax.set(xlabel="residual: true - predicted", ylabel="samples")
    ax.set_title(f"mean {mean:.3g} (dashed), standard deviation {spread:.3g}", fontsize="medium")
    return quiet(ax)


def _pair(true: Any, predicted: Any, who: str) -> tuple[Array, Array]:
    t, p = vector(true, who, "true"), vector(predicted, who, "predicted")
    if t.shape != p.shape:
        raise ValueError(f"{who} expects as many predicted as true values, got {len(p)} and {len(t)}.")
    return t, p
