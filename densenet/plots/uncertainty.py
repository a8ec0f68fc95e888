"""A curve with its error bars: where the mean lies, and where new targets will."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from densenet._validation import as_matrix
from densenet.plots._style import COLOURS, axes, quiet

if TYPE_CHECKING:  # other pictures do without this room
    from densenet.second_order.uncertainty import Uncertainty


def prediction_band(
    bars: Uncertainty, x: Any, y: Any = None, *, level: float = 0.95, output: int = 0, points: int = 200, ax: Any = None
) -> Any:
    """The prediction over one input, with the band of its mean and the wider band of new targets.

    Parameters
    ----------
    bars : Uncertainty
        Of a model with one input.
    x : array_like (n, 1)
        The data; the curve runs over their range.
    y : array_like (n,) or (n, k), optional
        Drawn as points.
    level : float in (0, 1), default 0.95
        Probability of the bands.
    output : int, default 0
        Column of the prediction.
    points : int, default 200
        Of the curve.
    ax : matplotlib Axes, optional
        A new one by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If x has other than one column.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> from densenet import plots
    >>> x = np.linspace(0, 1, 10)[:, None]
    >>> y = 2 * x + np.random.default_rng(0).normal(0, 0.1, x.shape)
    >>> model = dn.Sequential([dn.Dense(1, 1)], dtype="float64", seed=0)
    >>> _ = dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=20)
    >>> plots.prediction_band(dn.uncertainty(model, "mse", x, y), x, y).get_ylabel()
    'y'
    """
    x = as_matrix(x, 1, np.float64, "prediction_band")
    line = np.linspace(x.min(), x.max(), points)[:, None]
    ax = axes(ax)
    kinds: tuple[tuple[Literal["confidence", "prediction"], float, str], ...]
    kinds = (("prediction", 0.18, "of new targets"), ("confidence", 0.4, "for the mean"))
    for kind, alpha, label in kinds:
        low, high = bars.interval(line, level=level, kind=kind)
        shown = f"{100 * level:g} % {label}"
        ax.fill_between(
            line[:, 0], low[:, output], high[:, output], color=COLOURS[0], alpha=alpha, linewidth=0, label=shown
        )
    ax.plot(line[:, 0], bars.predict(line)[:, output], color=COLOURS[0], linewidth=1.6, label="prediction")
    if y is not None:
        targets = np.asarray(y).reshape(len(x), -1)[:, output]
        ax.plot(x[:, 0], targets, ".", color=COLOURS[6], markersize=4, label="data", zorder=3)
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    ax.legend(frameon=False)
    return quiet(ax)
