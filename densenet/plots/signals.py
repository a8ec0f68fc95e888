"""Activations, gradients and updates of every layer over a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from densenet.plots._style import axes, in_order, layer_legend, quiet

if TYPE_CHECKING:  # other pictures do without this room
    from densenet.health.signals import SignalRecord

_LABELS = {
    "mean": "mean of the outputs",
    "spread": "standard deviation of the outputs",
    "dead": "share of dead units",
    "saturated": "share of saturated outputs",
    "gradient": "|dE/dy| of a sample, root mean square",
}


def signals(record: SignalRecord, figure: str = "gradient", *, ax: Any = None) -> Any:
    """One figure of every layer over the optimizer steps, dark for the first layer, light for the last.

    Parameters
    ----------
    record : SignalRecord
        What `GradientDoctor` keeps.
    figure : {"gradient", "mean", "spread", "dead", "saturated"}, default "gradient"
        The length of the gradient by the layer's output; mean and standard deviation of its outputs; the share of
        units that pass no gradient; the share of outputs where an S-shaped function is flat.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a record.
    ValueError
        If the record is empty, there is no such figure, or no layer has it.

    Examples
    --------
    >>> import densenet as dn
    >>> doctor = dn.GradientDoctor()
    >>> trainer = dn.Trainer(dn.mlp([1, 4, 1], activation="tanh", seed=0), "mse", "sgd")
    >>> history = trainer.fit([[1.0], [2.0]], [1.0, 2.0], epochs=3, callbacks=[doctor])
    >>> dn.plots.signals(doctor.record, "spread").get_xlabel()
    'optimizer steps done'
    """
    _check(record, "signals")
    if figure not in _LABELS:
        raise ValueError(f"signals expects a figure of {', '.join(_LABELS)}, got {figure!r}.")
    if not len(record):
        raise ValueError(
            "signals expects a record of at least one moment, got an empty one: call fit with the doctor first."
        )
    values = record[figure]
    shown = [i for i in range(values.shape[1]) if np.isfinite(values[:, i]).any()]
    if not shown:
        raise ValueError(f"signals has nothing to draw: no layer of this model has {_LABELS[figure]}.")
    share = figure in ("dead", "saturated")
    positive = values[:, shown][values[:, shown] > 0]
    log = not share and figure != "mean" and positive.size > 0 and positive.max() > 20 * positive.min()
    names = [record.layers[i] for i in shown]
    ax = _lines(record.steps, values[:, shown], names, log, ax)
    ax.set_ylabel(_LABELS[figure])
    if share:
        from matplotlib.ticker import PercentFormatter

        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax


def update_ratios(record: SignalRecord, *, ax: Any = None) -> Any:
    """|W_new - W_old| / |W_old| of every dense layer over the steps; the band from 0.001 to 0.01 is usual.

    Parameters
    ----------
    record : SignalRecord
        What `GradientDoctor` keeps.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is not a record.
    ValueError
        If it holds no update.

    Examples
    --------
    >>> import densenet as dn
    >>> doctor = dn.GradientDoctor()
    >>> trainer = dn.Trainer(dn.mlp([1, 4, 1], activation="tanh", seed=0), "mse", "sgd")
    >>> history = trainer.fit([[1.0], [2.0]], [1.0, 2.0], epochs=3, callbacks=[doctor])
    >>> dn.plots.update_ratios(doctor.record).get_yscale()
    'log'
    """
    _check(record, "update_ratios")
    ratios = record.update_ratios
    if not np.isfinite(ratios).any():
        raise ValueError("update_ratios expects a record with at least one update of a trainable layer, got none.")
    ax = axes(ax)
    ax.axhspan(1e-3, 1e-2, color="#bbbbbb", alpha=0.35, linewidth=0, label="usual")
    shown = [i for i in range(ratios.shape[1]) if np.isfinite(ratios[:, i]).any()]
    _lines(record.update_steps, ratios[:, shown], [record.dense[i] for i in shown], True, ax)
    ax.set_ylabel("update / weight")
    return ax


def _check(record: Any, who: str) -> None:
    from densenet.health.signals import SignalRecord

    if not isinstance(record, SignalRecord):
        raise TypeError(f"{who} expects the record of a GradientDoctor (doctor.record), got {type(record).__name__}.")


def _lines(steps: list[int], values: Any, names: list[str], log: bool, ax: Any) -> Any:
    ax = axes(ax)
    alone = "o" if len(steps) == 1 else None
    for i, (name, colour) in enumerate(zip(names, in_order(len(names)), strict=True)):
        style = "-" if name.startswith("dense") else "--"
        ax.plot(steps, values[:, i], style, color=colour, label=name, marker=alone, linewidth=1.6)
    if log:
        ax.set_yscale("log")
    ax.set_xlabel("optimizer steps done")
    layer_legend(ax)
    return quiet(ax)
