"""The optimizers' rules as kernels, each beside the lines of ``densenet/optimizers`` that it mirrors; and the driver.

`a` begins alike for the rules: p, g, length of the stretch, rate factors (0: all 1), then the kept vectors. The factor
of the update and Adam's eps, with their bias corrections, are numbers of the step, in `r`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet.compiled.primitives import axpy, call, doubles, frame, integers, number, root, vector
from densenet.compiled.slots import (
    BATCH,
    CODE,
    COUNT,
    DIVERGED,
    EPSILON,
    ERROR,
    FACTOR,
    FIRST,
    GATHERED,
    LAST,
    N_GRADIENT,
    N_UPDATE,
    RATE,
    RELATIVE,
    ROWS,
    SEEN,
    SIZE,
    SLICE,
    STEPPED,
    STEPS,
    TABLE,
    TOTAL,
    TOTAL_ROWS,
    UPDATES,
    WEIGHT,
    WEIGHTS,
    WHOLE,
    WIDTH,
)

SWEEP = 128  # optimizers/base.py


def decay(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/base.py `step`: g + lambda w. a: p, g, length, decay factors (0: all 1), out, lambda."""
    a, c, s, r = frame(a, c, s, r)
    p, g, out = vector(c, a[0], a[2]), vector(c, a[1], a[2]), vector(c, a[4], a[2])
    rate = number(c, doubles(a[5], 1)[0])
    if a[3] == 0:
        for i in range(len(p)):
            out[i] = g[i] + p[i] * rate
    else:
        acts = vector(c, a[3], a[2])
        for i in range(len(p)):
            out[i] = g[i] + p[i] * rate * acts[i]


def shrink(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/base.py `_shrink`: w <- w - alpha lambda w. a: p, -, length, rate factors, decay factors, lambda.

    In the order of the lines: the product with both factors first, then the scaled sum.
    """
    a, c, s, r = frame(a, c, s, r)
    p, scale = vector(c, a[0], a[2]), number(c, -r[RATE] * np.float64(doubles(a[5], 1)[0]))
    if a[3] == 0 and a[4] == 0:
        for i in range(len(p)):
            p[i] = p[i] + scale * p[i]
    elif a[3] == 0:
        acts = vector(c, a[4], a[2])
        for i in range(len(p)):
            p[i] = p[i] + scale * (p[i] * acts[i])
    elif a[4] == 0:
        factor = vector(c, a[3], a[2])
        for i in range(len(p)):
            p[i] = p[i] + scale * (p[i] * factor[i])
    else:
        factor, acts = vector(c, a[3], a[2]), vector(c, a[4], a[2])
        for i in range(len(p)):
            p[i] = p[i] + scale * (p[i] * factor[i] * acts[i])


def descend(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/sgd.py, without momentum: w <- w - alpha g. a[4]: axpy."""
    a, c, s, r = frame(a, c, s, r)
    p, g, alpha = vector(c, a[0], a[2]), vector(c, a[1], a[2]), number(c, r[FACTOR])
    if a[3] == 0:
        axpy(c, a[4], a[2], -alpha, a[1], a[0])
    else:
        rate = vector(c, a[3], a[2])
        for i in range(len(p)):
            p[i] = p[i] - alpha * (g[i] * rate[i])


def momentum(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/sgd.py: v <- mu v + g, w <- w - alpha v; Nesterov w <- w - alpha (g + mu v). a[4]: v, a[5]: Nesterov.

    c: mu.
    """
    a, c, s, r = frame(a, c, s, r)
    p, g, v, mu, alpha = vector(c, a[0], a[2]), vector(c, a[1], a[2]), vector(c, a[4], a[2]), c[0], number(c, r[FACTOR])
    if a[3] == 0 and a[5] == 0:
        for i in range(len(p)):
            v[i] = mu * v[i] + g[i]
            p[i] = p[i] - alpha * v[i]
    elif a[3] == 0:
        for i in range(len(p)):
            v[i] = mu * v[i] + g[i]
            p[i] = p[i] - alpha * (g[i] + mu * v[i])
    else:
        rate = vector(c, a[3], a[2])
        for i in range(len(p)):
            v[i] = mu * v[i] + g[i]
            p[i] = p[i] - alpha * ((v[i] if a[5] == 0 else g[i] + mu * v[i]) * rate[i])


def adam(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/adam.py: m <- beta_1 m + (1 - beta_1) g, v <- beta_2 v + (1 - beta_2) g^2,
    w <- w - c m / (sqrt(v) + eps). a[4]: m, a[5]: v; c: beta_1, 1 - beta_1, beta_2, 1 - beta_2.
    """
    a, c, s, r = frame(a, c, s, r)
    p, g, m, v = vector(c, a[0], a[2]), vector(c, a[1], a[2]), vector(c, a[4], a[2]), vector(c, a[5], a[2])
    beta_1, rest_1, beta_2, rest_2 = c[0], c[1], c[2], c[3]
    factor, eps = number(c, r[FACTOR]), number(c, r[EPSILON])
    if a[3] == 0:
        for i in range(len(p)):
            m[i] = rest_1 * g[i] + beta_1 * m[i]
            v[i] = rest_2 * (g[i] * g[i]) + beta_2 * v[i]
            p[i] = p[i] - factor * (m[i] / (root(v[i]) + eps))
    else:
        rate = vector(c, a[3], a[2])
        for i in range(len(p)):
            m[i] = rest_1 * g[i] + beta_1 * m[i]
            v[i] = rest_2 * (g[i] * g[i]) + beta_2 * v[i]
            p[i] = p[i] - factor * (m[i] / (root(v[i]) + eps) * rate[i])


def rmsprop(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/adaptive.py `RMSprop`: v <- rho v + (1 - rho) g^2, w <- w - alpha g / (sqrt(v) + eps).

    a[4]: v, a[5]: a where centred (0: not), a[6]: b with momentum (0: without); c: rho, 1 - rho, eps, mu.
    """
    a, c, s, r = frame(a, c, s, r)
    p, g, v = vector(c, a[0], a[2]), vector(c, a[1], a[2]), vector(c, a[4], a[2])
    rho, rest, eps, mu, alpha = c[0], c[1], c[2], c[3], number(c, r[FACTOR])
    if a[3] == 0 and a[5] == 0 and a[6] == 0:
        for i in range(len(p)):
            v[i] = rest * (g[i] * g[i]) + rho * v[i]
            p[i] = p[i] - alpha * (g[i] / (root(v[i]) + eps))
        return
    zero, one = number(c, 0.0), number(c, 1.0)
    mean = vector(c, a[5] if a[5] != 0 else a[4], a[2])
    moved, rate = vector(c, a[6] if a[6] != 0 else a[4], a[2]), vector(c, a[3] if a[3] != 0 else a[4], a[2])
    for i in range(len(p)):
        v[i] = rest * (g[i] * g[i]) + rho * v[i]
        square = v[i]
        if a[5] != 0:
            mean[i] = rest * g[i] + rho * mean[i]
            square = v[i] - mean[i] * mean[i]
            square = zero if square < zero else square
        u = g[i] / (root(square) + eps)
        if a[6] != 0:
            moved[i] = mu * moved[i] + u  # b <- mu b + u
            u = moved[i]
        p[i] = p[i] - alpha * (u * (rate[i] if a[3] != 0 else one))


def sweep(a: Any, c: Any, s: Any, r: Any) -> None:
    """optimizers/base.py `sweep`, every SWEEP steps: what has faded becomes 0. a: vector, -, length; c: floor."""
    a, c, s, r = frame(a, c, s, r)
    if s[STEPS] % SWEEP == 0:
        v, floor, zero = vector(c, a[0], a[2]), c[0], number(c, 0.0)
        for i in range(len(v)):
            v[i] = zero if abs(v[i]) < floor else v[i]


def clip_value(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/step.py `_clip`: g within plus and minus c. a: -, g, length; c: bound."""
    a, c, s, r = frame(a, c, s, r)
    g, bound = vector(c, a[1], a[2]), c[0]
    for i in range(len(g)):
        cut = bound if g[i] > bound else g[i]
        g[i] = -bound if cut < -bound else cut


def clip_norm(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/step.py `_clip`: g <- g c / |g| where |g| > c, frozen entries left out of |g|. a: -, g, length, rates.

    a[4]: address of the bound, a float64.
    """
    a, c, s, r = frame(a, c, s, r)
    g, total, bound = vector(c, a[1], a[2]), 0.0, doubles(a[4], 1)[0]
    if a[3] == 0:
        for i in range(len(g)):
            total += np.float64(g[i]) * np.float64(g[i])
    else:
        rate, zero = vector(c, a[3], a[2]), number(c, 0.0)
        for i in range(len(g)):
            total += np.float64(g[i]) * np.float64(g[i]) if rate[i] > zero else 0.0
    norm = root(np.float64(number(c, total)))
    if norm > bound:
        factor = number(c, bound / (norm + 1e-6))
        for i in range(len(g)):
            g[i] = g[i] * factor


def gather_gradient(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/accumulator.py `Accumulator.add`: sum <- sum + w g. a: sum, g, length."""
    a, c, s, r = frame(a, c, s, r)
    total, g, w = vector(c, a[0], a[2]), vector(c, a[1], a[2]), number(c, r[WEIGHT])
    for i in range(len(g)):
        total[i] = total[i] + w * g[i]


def mean_gradient(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/accumulator.py `Accumulator.finish`: g <- sum / sum(w), sum <- 0. a: sum, g, length."""
    a, c, s, r = frame(a, c, s, r)
    total, g, share, zero = vector(c, a[0], a[2]), vector(c, a[1], a[2]), number(c, 1.0 / r[GATHERED]), number(c, 0.0)
    for i in range(len(g)):
        g[i] = total[i] * share
        total[i] = zero


def drive(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/loop.py `mini_batches`: for every mini-batch the gradient, then the update. a: addresses of s and r."""
    a, c, s, r = frame(a, c, s, r)
    state, figures = a[0], a[1]
    word = 8 * WIDTH
    gradient = s[CODE]
    update = gradient + word * s[N_GRADIENT]
    while s[BATCH] < s[LAST]:
        first = s[BATCH] * s[SIZE]
        s[FIRST], s[RELATIVE] = first, first - s[SLICE]
        s[ROWS] = s[WHOLE] = min(s[SIZE], s[TOTAL_ROWS] - first)
        for q in range(s[N_GRADIENT]):
            at = gradient + word * q
            kernel = integers(at, 2)
            call(kernel[0], at + 16, kernel[1], state, figures)
        if not r[ERROR] < np.inf:
            s[DIVERGED] = 1
            return
        r[TOTAL] += r[ERROR] * r[WEIGHT]
        r[WEIGHTS] += r[WEIGHT]
        s[BATCH] += 1
        s[STEPPED] = 0
        if r[WEIGHT] > 0:
            s[SEEN] += 1
            r[GATHERED] += r[WEIGHT]
            if s[SEEN] == s[COUNT]:
                numbers = doubles(s[TABLE] + 24 * s[UPDATES], 3)
                r[RATE], r[FACTOR], r[EPSILON] = numbers[0], numbers[1], numbers[2]
                s[STEPS] += 1
                for q in range(s[N_UPDATE]):
                    at = update + word * q
                    kernel = integers(at, 2)
                    call(kernel[0], at + 16, kernel[1], state, figures)
                s[UPDATES] += 1
                s[SEEN] = 0
                s[STEPPED] = 1
                r[GATHERED] = 0.0
