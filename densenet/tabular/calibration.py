"""Temperature scaling: one number by which logits are divided, so that probabilities fit rows that were held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from densenet._types import Array
from densenet.layers import Dense, Scale
from densenet.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.sequential import Sequential

DOUBT = 0.5
"""Prior standard deviation of log T."""
_STEPS = 12
_FARTHEST = math.log(10)


class Calibration(NamedTuple):
    """The temperature, and the error of the held-out rows at it."""

    temperature: float
    error: float


def calibrate(logits: Array, target: Array, weight: Array | None = None, separate: bool = False) -> Calibration:
    """The temperature T with the least cross-entropy on rows that were held out.

    ::

        min over T  [sum_i w_i l(z_i / T, t_i) + (log T)^2 / (2 s^2)] / n        s = 0.5, mean w = 1

    T leaves the order of the classes alone. The second term is a prior around T = 1: without it, a few rows that happen
    to be all right, or all wrong, would set T. An epoch should be judged by the least value: in training, a network
    becomes overconfident long before it stops getting better at telling the classes apart, and T removes the
    overconfidence [2]_.

    Parameters
    ----------
    logits : ndarray (n, k)
        z, of rows that the network was not trained on; a single column is one for yes or no.
    target : ndarray (n,) or (n, k)
        t: class numbers, or shares of 1.
    weight : ndarray (n,), optional
        w, at least one of them positive.
    separate : bool, default False
        Whether the k columns are yes-or-no answers of their own.

    Returns
    -------
    Calibration
        T, 0.1 to 10, and the least value.

    References
    ----------
    .. [1] Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017), section 4.2.
    .. [2] Berta, Holzmueller, Jordan and Bach, "Rethinking early stopping: refine, then calibrate" (2025),
       arXiv:2501.19195.

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.tabular import calibrate
    >>> sure = np.tile([[8.0, 0.0]], (1000, 1))  # p = 0.9997, and right in nine of ten rows
    >>> T, _ = calibrate(sure, np.repeat([0, 1], [900, 100]))
    >>> round(float(1 / (1 + np.exp(-8 / T))), 2)
    0.9
    """
    z, t, w = _as_classes(np.asarray(logits, np.float64), np.asarray(target), weight, separate)
    z = z - z.max(axis=1, keepdims=True)
    n, known, u = w.sum(), float(w @ (t * z).sum(axis=1)), 0.0
    for _ in range(_STEPS):  # Newton's steps in u = -log T, where E is convex in e^u
        p = np.exp(math.exp(u) * z)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        slope = math.exp(u) * (float(w @ mean) - known)
        bend = math.exp(2 * u) * float(w @ ((p * z * z).sum(axis=1) - mean**2))
        step = (slope + u / DOUBT**2) / (max(slope + bend, 0.0) + 1 / DOUBT**2)
        u = min(max(u - min(max(step, -1.0), 1.0), -_FARTHEST), _FARTHEST)
        if abs(step) < 1e-6:
            break
    scaled = math.exp(u) * z
    each = np.log(np.exp(scaled).sum(axis=1)) - (t * scaled).sum(axis=1)
    return Calibration(math.exp(-u), (float(w @ each) + u**2 / (2 * DOUBT**2)) / n)


def calibration_of(loss: Loss) -> Callable[..., Calibration] | None:
    """`calibrate` for the logits of a cross-entropy that favours no class; None for every other loss."""
    cross_entropy = isinstance(loss, (SoftmaxCrossEntropy, SigmoidCrossEntropy))
    if not cross_entropy or getattr(loss, "pos_weight", None) is not None:
        return None
    return partial(calibrate, separate=loss.task == "binary")


def share_temperature(
    models: Sequence[Sequential], held_out: Sequence[tuple[Array, Array, Array | None]], loss: Loss
) -> float | None:
    """Divide the logits of all models by one temperature, which suits the rows that each of them held out.

    ::

        z / T = a (W / T) + b / T        W, b of the last dense layer, which takes a (no b behind a linear skip)
        z / T = a diag(s / T)            s of a `Scale` that stands behind all others, which takes a

    Parameters
    ----------
    models : sequence of Sequential
    held_out : sequence of (x, y, weight)
        Rows of each model, targets as the loss takes them; weights may be None.
    loss : Loss

    Returns
    -------
    float or None
        T; None, and nothing is divided, where outputs are no logits of a cross-entropy or are not finite.
    """
    calibration = calibration_of(loss)
    logits = [model.predict(x) for model, (x, _, _) in zip(models, held_out, strict=True)]
    if calibration is None or not all(np.isfinite(z).all() for z in logits):
        return None
    weights = [np.ones(len(y)) if weight is None else weight for _, y, weight in held_out]
    targets = [y for _, y, _ in held_out]
    T = calibration(np.concatenate(logits), np.concatenate(targets), np.concatenate(weights)).temperature
    for model in models:
        _divide_outputs(model, T)
    return T


def _divide_outputs(model: Sequential, T: float) -> None:
    """Divide the outputs by T, in the last layer that can: a dense one, or the factor behind a `Mixture`."""
    last = next(layer for layer in reversed(model.layers) if isinstance(layer, (Dense, Scale)))
    if isinstance(last, Scale):
        last.s = last.s / T
    else:
        last.W = last.W / T
        if last.use_bias:
            last.b = last.b / T


def _as_classes(z: Array, t: Array, weight: Array | None, separate: bool) -> tuple[Array, Array, Array]:
    """Logits and shares (rows, classes) and weights of mean 1; a yes-or-no answer is a row of two classes."""
    k = z.shape[1]
    w = np.ones(len(z)) if weight is None else np.asarray(weight, np.float64) * ((weight > 0).sum() / weight.sum())
    if separate or k == 1:
        yes = t.reshape(-1).astype(np.float64)
        z = np.column_stack([np.zeros(z.size), z.reshape(-1)])
        return z, np.column_stack([1 - yes, yes]), np.repeat(w, k)
    return z, np.eye(k)[t.astype(np.intp)] if t.ndim == 1 else t.astype(np.float64), w
