"""One number that makes a network's probabilities as sure as they deserve to be."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from densenet._types import Array

DOUBT = 0.5
"""Standard deviation of log T before any row is seen: few rows say little about it."""
_STEPS = 12
_FARTHEST = math.log(10)


class Calibration(NamedTuple):
    """What logits are divided by, and the error of the rows that say so once they are."""

    temperature: float
    error: float


def calibrate(logits: Array, target: Array, weight: Array | None = None, separate: bool = False) -> Calibration:
    """The temperature T that gives rows which were held out the least cross-entropy.

    ::

        min over T  [sum_i w_i l(z_i / T, t_i) + (log T)^2 / (2 s^2)] / n        s = 0.5, mean w = 1

    T leaves the order of the classes alone. The second term is a prior around T = 1: without it a few rows that happen
    to be all right, or wrong, would set T. The least value is what an epoch is to be judged by: a network in training
    becomes too sure of itself long before it stops to tell the classes apart better, and T takes that away [2]_.

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


def _as_classes(z: Array, t: Array, weight: Array | None, separate: bool) -> tuple[Array, Array, Array]:
    """Logits and shares (rows, classes) and weights of mean 1; a yes-or-no answer is a row of two classes."""
    k = z.shape[1]
    w = np.ones(len(z)) if weight is None else np.asarray(weight, np.float64) * ((weight > 0).sum() / weight.sum())
    if separate or k == 1:
        yes = t.reshape(-1).astype(np.float64)
        z = np.column_stack([np.zeros(z.size), z.reshape(-1)])
        return z, np.column_stack([1 - yes, yes]), np.repeat(w, k)
    return z, np.eye(k)[t.astype(np.intp)] if t.ndim == 1 else t.astype(np.float64), w
