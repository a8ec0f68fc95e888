"""Which class a network gives at every point of a plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import as_numbers, check_finite
from densenet.plots._style import COLOURS, MARKERS, axes, quiet
from densenet.sequential import Sequential

_STEPS = 240


def decision_regions(classifier: Any, x: Any, y: Any = None, *, ax: Any = None) -> Any:
    """The plane coloured by predicted class, the boundary between classes, and the samples.

    A sample stands in the colour and shape of its true class; one that is predicted wrongly has a black ring.

    Parameters
    ----------
    classifier : Trainer, estimator, or callable
        What has `predict_classes` or `predict`, or a function from points (m, 2) to classes (m,).
    x : array_like (n, 2)
    y : array_like (n,), optional
        The true classes; without them the samples are shown in grey.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If `classifier` cannot give classes; a model alone does not know what its outputs mean.
    ValueError
        If x has not two columns, y has another length, or there are more than 7 classes.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.moons(100, seed=0)
    >>> trainer = dn.Trainer(dn.mlp([2, 16, 2], seed=0), "softmax_cross_entropy", dn.Adam(0.02))
    >>> history = trainer.fit(x, y, epochs=20, seed=0)
    >>> dn.plots.decision_regions(trainer, x, y).get_xlabel()
    'x1'
    """
    who = "decision_regions"
    points = as_numbers(x, who, "x")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            f"{who} draws a plane and expects x of shape (n, 2), got {points.shape}: choose two columns and a "
            "classifier that was trained on them."
        )
    check_finite(points, who, "x")
    true = None if y is None else np.asarray(y).reshape(-1)
    if true is not None and len(true) != len(points):
        raise ValueError(f"{who} expects a class for every row, got x {points.shape} and y {np.shape(y)}.")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1.0)
    columns = [np.linspace(a, b, _STEPS) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*columns), axis=-1)
    predicted = _classes(classifier, np.concatenate([grid.reshape(-1, 2), points]))
    labels = np.unique(predicted if true is None else np.concatenate([predicted, true]))
    if len(labels) > len(COLOURS):
        raise ValueError(f"{who} has colours for up to {len(COLOURS)} classes, got {len(labels)}.")
    ax = axes(ax, size=(6, 4.4))
    regions = np.searchsorted(labels, predicted[: _STEPS * _STEPS]).reshape(_STEPS, _STEPS)
    levels = np.arange(len(labels) + 1) - 0.5
    ax.contourf(*columns, regions, levels=levels, colors=COLOURS[: len(labels)], alpha=0.25)
    for c in range(len(labels) if len(labels) > 2 else len(labels) - 1):
        ax.contour(*columns, (regions == c).astype(float), levels=[0.5], colors="#333333", linewidths=1.0)
    if true is None:
        ax.plot(points[:, 0], points[:, 1], "o", color=COLOURS[6], markersize=4)
    else:
        _samples(ax, points, true, predicted[_STEPS * _STEPS :], labels)
    ax.set(xlabel="x1", ylabel="x2", xlim=columns[0][[0, -1]], ylim=columns[1][[0, -1]])
    quiet(ax).grid(False)
    return ax


def _samples(ax: Any, points: Array, true: Array, predicted: Array, labels: Array) -> None:
    for c, label in enumerate(labels):
        of_class = points[true == label]
        style = {"color": COLOURS[c], "markeredgecolor": "white", "markeredgewidth": 0.5, "markersize": 5}
        ax.plot(of_class[:, 0], of_class[:, 1], MARKERS[c], label=f"class {label}", linestyle="", **style)
    wrong = points[true != predicted]
    if len(wrong):
        name = f"{len(wrong)} wrong"
        style = {"markerfacecolor": "none", "markeredgecolor": "black", "markersize": 9, "linestyle": ""}
        ax.plot(wrong[:, 0], wrong[:, 1], "o", label=name, **style)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _classes(classifier: Any, points: Array) -> Array:
    if isinstance(classifier, Sequential):
        raise TypeError(
            "decision_regions expects what gives classes, got a Sequential: pass the Trainer, whose loss says what the "
            "outputs mean, or a function such as lambda x: model.predict(x).argmax(axis=1)."
        )
    for name in ("predict_classes", "predict"):
        if hasattr(classifier, name):
            classifier = getattr(classifier, name)
            break
    if not callable(classifier):
        raise TypeError(f"decision_regions expects a Trainer, an estimator or a function, got {classifier!r}.")
    classes = np.asarray(classifier(points))
    if classes.shape != (len(points),):
        raise ValueError(
            f"decision_regions expects one class a point, shape ({len(points)},), but the classifier gives "
            f"{classes.shape}."
        )
    return classes
