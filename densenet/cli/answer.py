"""What ``densenet train`` says of a table's answer: held-out figures with intervals, beside the linear model."""

from __future__ import annotations

import numpy as np

from densenet._types import Array
from densenet.tabular.linear import LinearBaseline, with_interval


def beside_linear(x: Array, y: Array, training: Array, held_out: Array, answers: Array, classes: int) -> str:
    """Lines on the held-out rows: the network's figure, the linear model's, and which is ahead.

    Parameters
    ----------
    x : ndarray (n, n_in)
        The network's inputs; the linear model takes the same.
    y : ndarray (n,)
        Class numbers, or numbers in the user's units.
    training, held_out : ndarray of int
        Row numbers.
    answers : ndarray (held-out rows, classes) or (held-out rows,)
        The network's probabilities, or its predictions in the user's units.
    classes : int
        0 for numbers.
    """
    said = LinearBaseline(x[training], y[training], classes).predict(x[held_out])
    truth = y[held_out]
    if classes:
        name, ours, theirs = "accuracy", answers.argmax(axis=1) == truth, said.argmax(axis=1) == truth
        gains = ours.astype(float) - theirs
    else:
        name, ours, theirs = "mean absolute error", np.abs(answers - truth), np.abs(said[:, 0] - truth)
        gains = theirs - ours
    lines = []
    for who, each in (("network", ours), ("linear model", theirs)):
        mean, low, high = with_interval(np.asarray(each, float))
        lines.append(f"held out, {who}: {name} {mean:.4g} (90 % interval {low:.4g} to {high:.4g})")
    _, low, high = with_interval(gains)
    if high < 0:
        lines.append("the linear model is ahead: it is simpler and answers better here")
    elif low <= 0:
        lines.append("network and linear model cannot be told apart on these rows")
    return "\n".join(lines)
