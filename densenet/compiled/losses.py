"""The losses' errors and deltas as kernels, each beside the lines of ``densenet/losses`` that it mirrors.

A loss writes l_i of every row and dl/dp of every entry. `mean` and `delta` then weigh them, as ``losses/base.py`` does.
`a` begins alike for all: prediction, target, k, l, delta; a[5] is a working array, where nothing else is said.
"""

from __future__ import annotations

import math
from typing import Any

from numba.extending import register_jitable

from densenet.compiled.functions import exp, log1p
from densenet.compiled.primitives import OPTIONS, frame, integers, number, vector
from densenet.compiled.slots import ERROR, RELATIVE, ROWS, WEIGHT


@register_jitable(**OPTIONS)
def _row_sums(c: Any, source: Any, out: Any, n: Any, k: Any, factor: Any) -> None:
    """l_i = factor sum_j l_ij."""
    row_error = vector(c, out, n)
    for i in range(n):
        each, total = vector(c, source + i * k * c.itemsize, k), number(c, 0.0)
        for j in range(len(each)):
            total += each[j]
        row_error[i] = total * factor


def keep(a: Any, c: Any, s: Any, r: Any) -> None:
    """The prediction of every row of the slice, for the metrics. a: prediction, all of them, k."""
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    p, kept = vector(c, a[0], size), vector(c, a[1] + s[RELATIVE] * a[2] * c.itemsize, size)
    for i in range(len(p)):
        kept[i] = p[i]


def softmax_cross_entropy(a: Any, c: Any, s: Any, r: Any) -> None:
    """losses/crossentropy.py `SoftmaxCrossEntropy`: l = log(sum_j exp z_j) - sum_j t_j z_j, dl/dz = p - t.

    a[5]: 1 where targets are class numbers; c: smoothing s, in t <- (1 - s) t + s / k.
    """
    a, c, s, r = frame(a, c, s, r)
    n, k, width = s[ROWS], a[2], c.itemsize
    row_error, p = vector(c, a[3], n), vector(c, a[4], n * k)
    one, smoothing = number(c, 1.0), c[0]
    share = smoothing / number(c, k)
    for i in range(n):
        z, shifted = vector(c, a[0] + i * k * width, k), vector(c, a[4] + i * k * width, k)
        largest = z[0]
        for j in range(len(z)):
            largest = z[j] if z[j] > largest else largest
        for j in range(len(z)):
            shifted[j] = z[j] - largest  # z - max z: the same softmax, no overflow
        inner = number(c, 0.0)
        if a[5] == 1:
            inner = shifted[integers(a[1], n)[i]] * (one - smoothing)
        else:
            t = vector(c, a[1] + i * k * width, k)
            for j in range(len(t)):
                inner += t[j] * (one - smoothing) * shifted[j]
        if smoothing > 0:
            for j in range(len(shifted)):
                inner += share * shifted[j]
        row_error[i] = inner  # sum_j t_j z_j
    for j in range(len(p)):
        p[j] = exp(p[j])
    for i in range(n):
        row = vector(c, a[4] + i * k * width, k)
        total = number(c, 0.0)
        for j in range(len(row)):
            total += row[j]
        row_error[i] = math.log(total) - row_error[i]
        for j in range(len(row)):
            row[j] = row[j] / total
        if a[5] == 1:
            row[integers(a[1], n)[i]] -= one - smoothing
        else:
            t = vector(c, a[1] + i * k * width, k)
            for j in range(len(row)):
                row[j] = row[j] - t[j] * (one - smoothing)
        if smoothing > 0:
            for j in range(len(row)):
                row[j] = row[j] - share


def sigmoid_cross_entropy(a: Any, c: Any, s: Any, r: Any) -> None:
    """losses/binary.py `SigmoidCrossEntropy`: l = max(z, 0) - t z + log(1 + e^-|z|), dl/dz = p - t, means over k.

    c: smoothing s, in t <- (1 - s) t + s / 2.
    """
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[2]
    z, t, d, each = vector(c, a[0], n * k), vector(c, a[1], n * k), vector(c, a[4], n * k), vector(c, a[5], n * k)
    zero, one, half, smoothing = number(c, 0.0), number(c, 1.0), number(c, 0.5), c[0]
    share = one / number(c, k)
    for i in range(len(z)):
        target = t[i] * (one - smoothing) + smoothing * half
        e = exp(-abs(z[i]))
        each[i] = (zero if z[i] < zero else z[i]) - target * z[i] + log1p(e)
        d[i] = (one if z[i] >= zero else e) / (one + e)  # p
    for i in range(len(d)):
        d[i] = (d[i] - (t[i] * (one - smoothing) + smoothing * half)) * share
    _row_sums(c, a[5], a[3], n, k, share)


def squared_error(a: Any, c: Any, s: Any, r: Any) -> None:
    """losses/regression.py `SquaredError`: l = f sum_j d_j^2, dl/dp = 2 f d, d = p - t. c: f."""
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[2]
    p, t, d, factor = vector(c, a[0], n * k), vector(c, a[1], n * k), vector(c, a[4], n * k), c[0]
    each, twice = vector(c, a[5], n * k), c[0] + c[0]
    for i in range(len(d)):
        deviation = p[i] - t[i]
        each[i] = deviation * deviation
        d[i] = deviation * twice
    _row_sums(c, a[5], a[3], n, k, factor)


def absolute_error(a: Any, c: Any, s: Any, r: Any) -> None:
    """losses/regression.py `MeanAbsoluteError`: l = 1/k sum_j |d_j|, dl/dp = 1/k sign d, d = p - t."""
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[2]
    p, t, d, each = vector(c, a[0], n * k), vector(c, a[1], n * k), vector(c, a[4], n * k), vector(c, a[5], n * k)
    zero, share = number(c, 0.0), number(c, 1.0) / number(c, k)
    for i in range(len(d)):
        deviation = p[i] - t[i]
        each[i] = abs(deviation)
        d[i] = share if deviation > zero else (-share if deviation < zero else deviation)  # NaN stays NaN
    _row_sums(c, a[5], a[3], n, k, share)


def huber(a: Any, c: Any, s: Any, r: Any) -> None:
    """losses/regression.py `Huber`: l = c (d - c / 2), dl/dp = c, c = d within [-delta, delta]. c: delta."""
    a, c, s, r = frame(a, c, s, r)
    n, k, bound = s[ROWS], a[2], c[0]
    p, t, d, each = vector(c, a[0], n * k), vector(c, a[1], n * k), vector(c, a[4], n * k), vector(c, a[5], n * k)
    half, share = number(c, 0.5), number(c, 1.0) / number(c, k)
    for i in range(len(d)):
        deviation = p[i] - t[i]
        cut = bound if deviation > bound else deviation
        cut = -bound if cut < -bound else cut
        each[i] = cut * (deviation - cut * half)
        d[i] = cut * share
    _row_sums(c, a[5], a[3], n, k, share)


def mean(a: Any, c: Any, s: Any, r: Any) -> None:
    """losses/base.py `error` and `delta`: E = sum(w l) / sum(w), dE/dp = w / sum(w) dl/dp.

    a: l, weights (0: all 1), k, delta.
    """
    a, c, s, r = frame(a, c, s, r)
    n, k, width = s[ROWS], a[2], c.itemsize
    row_error, total = vector(c, a[0], n), 0.0
    if a[1] == 0:
        for i in range(n):
            total += row_error[i]
        r[ERROR], r[WEIGHT] = total / n, n
        d, share = vector(c, a[3], n * k), number(c, 1.0) / number(c, n)
        for j in range(len(d)):
            d[j] = d[j] * share
        return
    weight, weights = vector(c, a[1], n), 0.0
    for i in range(n):
        total += weight[i] * row_error[i]
        weights += weight[i]
    r[ERROR], r[WEIGHT] = (total / weights if weights > 0 else 0.0), weights
    for i in range(n):
        row = vector(c, a[3] + i * k * width, k)
        share = weight[i] / number(c, weights if weights > 0 else 1.0)
        for j in range(len(row)):
            row[j] = row[j] * share
