"""What is known of batch sizes: predicted steps, samples and seconds, and the noise scale through training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet.plots._style import COLOURS, quiet
from densenet.plots._style import axes as made_axes

if TYPE_CHECKING:  # other pictures do without these rooms
    from densenet.batch_size.callback import NoiseScale
    from densenet.health.batches import BatchSizes

_SHADES = {"perfect scaling": "#ddeedd", "diminishing returns": "#fff4d0", "no more gain": "#f6dddd"}


def batch_sizes(found: BatchSizes, *, axes: Any = None) -> Any:
    """Steps, samples and seconds to the same error over the batch size, with the three regimes and the best range.

    Parameters
    ----------
    found : BatchSizes
        What `find_batch_size` returns.
    axes : sequence of three matplotlib Axes, optional

    Returns
    -------
    ndarray of three matplotlib Axes

    Raises
    ------
    TypeError
        If it is anything else.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.1))
    >>> len(dn.plots.batch_sizes(dn.find_batch_size(trainer, x, y)))
    3
    """
    from densenet.health.batches import BatchSizes

    if not isinstance(found, BatchSizes):
        raise TypeError(f"batch_sizes expects what find_batch_size returns, got {type(found).__name__}.")
    if axes is None:
        from matplotlib import pyplot as plt

        _, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    axes = np.array([made_axes(ax) for ax in np.ravel(axes)], dtype=object)
    if len(axes) != 3:
        raise TypeError(f"batch_sizes expects three axes, got {len(axes)}.")
    unit = f", multiples of batch {found.reference}'s" if found.reach is None else f" to an error of {found.reach:g}"
    sizes = np.array(found.sizes, float)
    there = np.isfinite(found.seconds)
    for ax, name, values in zip(
        axes, ("steps", "samples", "seconds"), (found.steps, found.samples, found.seconds), strict=True
    ):
        ax.set(xscale="log", yscale="log", xlabel="batch size", title=name + unit)
        ax.title.set_fontsize("medium")
        regimes(ax, found.critical, (float(sizes[0]), float(sizes[there][-1])))
        ax.plot(sizes[there], np.array(values)[there], "o-", color=COLOURS[0], markersize=4, linewidth=1.6)
        ticks(ax, [size for size, known in zip(found.sizes, there, strict=True) if known])
        quiet(ax)
    low, high = found.good
    at = found.sizes.index(found.fastest)
    axes[2].plot(
        found.fastest, found.seconds[at], "*", color=COLOURS[1], markersize=14, markeredgecolor="black",
        label=f"fastest: {found.fastest}",
    )  # fmt: skip
    within = [(s, t) for s, t in zip(found.sizes, found.seconds, strict=True) if low <= s <= high and t == t]
    axes[2].plot(*zip(*within, strict=True), color=COLOURS[1], linewidth=5, alpha=0.35, label="within 20 %", zorder=1)
    for ax, handles in ((axes[0], axes[0].patches), (axes[2], axes[2].get_lines())):
        shown = [handle for handle in handles if not handle.get_label().startswith("_")]
        ax.legend(handles=shown, frameon=False, fontsize="small")
    return axes


def regimes(ax: Any, critical: float, span: tuple[float, float]) -> None:
    """Shade the three regimes over the batch sizes from `span`, and mark the critical batch size."""
    low, high = span[0] / 1.4, span[1] * 1.4
    edges = [low, min(max(critical / 4, low), high), min(max(4 * critical, low), high), high]
    for (name, shade), left, right in zip(_SHADES.items(), edges, edges[1:], strict=False):
        if right > left:
            ax.axvspan(left, right, color=shade, zorder=0, label=name)
    if low < critical < high:
        ax.axvline(critical, color=COLOURS[6], linestyle="--", linewidth=1.2, zorder=1)
    ax.set_xlim(low, high)


def ticks(ax: Any, sizes: Any) -> None:
    """The batch sizes themselves below the axis, every second where there are many."""
    shown = list(sizes)[:: 2 if len(sizes) > 8 else 1]
    ax.set_xticks(shown, [str(size) for size in shown], fontsize="small")
    ax.set_xticks([], minor=True)


def noise_scales(found: NoiseScale, *, ax: Any = None) -> Any:
    """Both noise scales over epochs.

    Parameters
    ----------
    found : NoiseScale
        The callback, after a fit.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If it has not looked yet.

    Examples
    --------
    >>> import densenet as dn
    >>> noise = dn.NoiseScale(every=10)
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.2))
    >>> history = trainer.fit(x, y, epochs=2, batch_size=64, callbacks=[noise])
    >>> dn.plots.noise_scales(noise).get_xlabel()
    'epoch'
    """
    from densenet.batch_size.callback import NoiseScale

    if not isinstance(found, NoiseScale):
        raise TypeError(f"noise_scales expects the callback NoiseScale, got {type(found).__name__}.")
    if not found.steps:
        raise ValueError("noise_scales expects a callback that has looked at least once: fit for more steps first.")
    ax = made_axes(ax)
    lines = (("B_simple", found.b_simple, "o", "--"), ("B_noise", found.b_noise, "s", "-"))
    for (name, values, marker, style), colour in zip(lines, COLOURS, strict=False):
        shown = [value if math.isfinite(value) and value > 0 else math.nan for value in values]
        ax.plot(found.epochs, shown, style, marker=marker, markersize=4, color=colour, linewidth=1.6, label=name)
    ax.set(xlabel="epoch", ylabel="noise scale, in samples", yscale="log")
    ax.legend(frameon=False, fontsize="small")
    return quiet(ax)
