"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet.plots._style import axes, bare

_MOST_NUMBERS = 20


def confusion_matrix(true: Any, predicted: Any, *, labels: Sequence[str] | None = None, ax: Any = None) -> Any:
    """How often class j was predicted where class i is true: counts, shaded by their share of the row.

    ::

        C_ij = number of samples with true class i and predicted class j

    Parameters
    ----------
    true, predicted : array_like (n,)
        Classes: numbers or names.
    labels : sequence of str, optional
        What to write for the classes, in their sorted order.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the lengths differ, there is no sample, or `labels` has not one for each class.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.plots.confusion_matrix([0, 0, 1], [0, 1, 1]).get_ylabel()
    'true class'
    """
    t, p = np.asarray(true), np.asarray(predicted)
    if t.ndim != 1 or t.shape != p.shape or not len(t):
        raise ValueError(
            f"confusion_matrix expects true and predicted classes of shape (n,), got {t.shape} and {p.shape}."
        )
    classes, codes = np.unique(np.concatenate([t, p]), return_inverse=True)
    k, rows, columns = len(classes), codes[: len(t)], codes[len(t) :]
    names = [str(c) for c in classes] if labels is None else [str(label) for label in labels]
    if len(names) != k:
        raise ValueError(f"confusion_matrix expects one label for each of {k} classes, got {len(names)}.")
    counts = np.bincount(rows * k + columns, minlength=k * k).reshape(k, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(7.0, 2.8 + 0.42 * k)
    ax = axes(ax, size=(side + 0.8, side))
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if k <= _MOST_NUMBERS:
        size = 10 if k <= 12 else 7
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[i, j] > 0.55 else "black"
            ax.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour, fontsize=size)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    bare(ax)
    ax.set(xlabel="predicted class", ylabel="true class")
    turned = 45 if max(map(len, names)) > 4 else 0
    ax.set_xticks(
        range(k),
        names,
        rotation=turned,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    ax.set_yticks(range(k), names)
    ax.tick_params(length=0)
    ax.set_title(f"{np.trace(counts)} of {len(t)} right ({np.trace(counts) / len(t):.1%})", fontsize="medium")
    return ax
