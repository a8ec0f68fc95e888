"""The layers' equations as kernels, each beside the lines of ``densenet/layers`` that it mirrors.

Matrices are rows after rows; BLAS, which thinks in columns, sees their transposes, as in ``densenet/_blas.py``.
Every docstring names what stands in `a` (addresses, sizes) and `c` (constants).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from densenet.compiled.functions import exp, expm1, sine_and_cosine, tanh
from densenet.compiled.primitives import frame, gemm, gemv, integers, number, root, vector
from densenet.compiled.products import column_sums, product, transpose
from densenet.compiled.slots import FIRST, RELATIVE, ROWS, SIZE, SLICE, WHOLE

N, T = ord("N"), ord("T")


def point(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/data.py `epoch`, rows as they stand. a: source, bytes a row, count, addresses that are to hold x."""
    a, c, s, r = frame(a, c, s, r)
    for j in range(a[2]):
        integers(a[3 + j], 1)[0] = a[0] + s[FIRST] * a[1]


def gather(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/data.py `epoch`: rows in order. a: source, columns, order, x."""
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[1]
    order = integers(a[2] + 8 * s[FIRST], n)
    for i in range(n):
        row, out = vector(c, a[0] + order[i] * k * c.itemsize, k), vector(c, a[3] + i * k * c.itemsize, k)
        for j in range(len(row)):
            out[j] = row[j]


def gather_labels(a: Any, c: Any, s: Any, r: Any) -> None:
    """training/data.py `epoch`: class numbers in order. a: source, -, order, y."""
    a, c, s, r = frame(a, c, s, r)
    n = s[ROWS]
    order, out = integers(a[2] + 8 * s[FIRST], n), integers(a[3], n)
    for i in range(n):
        out[i] = integers(a[0] + 8 * order[i], 1)[0]


def dense(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/dense.py `forward`, Z = X W + 1 b^T. a: gemm (0: own loops), X, W, b (0: none), Z, n_in, n_out."""
    a, c, s, r = frame(a, c, s, r)
    n, n_in, n_out, keep = s[ROWS], a[5], a[6], number(c, 0.0)
    if a[0] == 0:
        product(c, a[1], n_in, 1, a[2], a[3], a[4], n, n_in, n_out)
        return
    if a[3] != 0:
        b = vector(c, a[3], n_out)
        for i in range(n):
            z = vector(c, a[4] + i * n_out * c.itemsize, n_out)
            for j in range(len(z)):
                z[j] = b[j]
        keep = number(c, 1.0)
    gemm(c, a[0], N, N, n_out, n, n_in, a[2], n_out, a[1], n_in, keep, a[4], n_out)


def dense_gradients(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/dense.py `backward_parameters`: dE/dW = X^T D, dE/db = D^T 1.

    a: gemm (0: own loops), X, D, dW, db (0: none), n_in, n_out, gemv, ones.
    """
    a, c, s, r = frame(a, c, s, r)
    n, n_in, n_out = s[ROWS], a[5], a[6]
    if a[0] == 0 or n == 0:  # BLAS leaves what it is to fill with sums of nothing
        product(c, a[1], 1, n_in, a[2], 0, a[3], n_in, n, n_out)
        if a[4] != 0:
            column_sums(c, a[2], a[4], n, n_out)
        return
    gemm(c, a[0], N, T, n_out, n_in, n, a[2], n_out, a[1], n_in, number(c, 0.0), a[3], n_out)
    if a[4] != 0:
        gemv(c, a[7], N, n_out, n, a[2], n_out, a[8], a[4])


def dense_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/dense.py `backward`: dE/dX = D W^T. a: gemm (0: own loops), W, D, dX, n_in, n_out, place for W^T."""
    a, c, s, r = frame(a, c, s, r)
    n, n_in, n_out = s[ROWS], a[4], a[5]
    if a[0] == 0:
        transpose(c, a[1], a[6], n_in, n_out)
        product(c, a[2], n_out, 1, a[6], 0, a[3], n, n_out, n_in)
        return
    gemm(c, a[0], T, N, n_in, n, n_out, a[1], n_out, a[2], n_out, number(c, 0.0), a[3], n_in)


def relu(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `ReLU.value`: y = max(x, 0). a: x, y, columns."""
    a, c, s, r = frame(a, c, s, r)
    x, y = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    zero = number(c, 0.0)
    for i in range(len(x)):
        y[i] = zero if x[i] < zero else x[i]  # NaN stays NaN


def relu_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `ReLU.slope`: dE/dx = d where x > 0, which is where y > 0, else 0. a: y, d, columns."""
    a, c, s, r = frame(a, c, s, r)
    y, d = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    zero = number(c, 0.0)
    for i in range(len(y)):
        d[i] = d[i] if y[i] > zero else zero


def leaky_relu(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `LeakyReLU.value`: y = x where x > 0, else slope x. a: x, y, columns; c: slope."""
    a, c, s, r = frame(a, c, s, r)
    x, y = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    zero, slope = number(c, 0.0), c[0]
    for i in range(len(x)):
        y[i] = x[i] if x[i] > zero else slope * x[i]


def leaky_relu_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `LeakyReLU.slope`: d times 1 where x > 0, else slope. a: x, d, columns; c: slope."""
    a, c, s, r = frame(a, c, s, r)
    x, d = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    zero, one, slope = number(c, 0.0), number(c, 1.0), c[0]
    for i in range(len(x)):
        d[i] = d[i] * (one if x[i] > zero else slope)


def tanh_(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/sigmoids.py `Tanh.value`: y = tanh x. a: x, y, columns."""
    a, c, s, r = frame(a, c, s, r)
    x, y = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    for i in range(len(x)):
        y[i] = tanh(x[i])


def tanh_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/sigmoids.py `Tanh.slope`: d (1 - y^2). a: y, d, columns."""
    a, c, s, r = frame(a, c, s, r)
    y, d = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    one = number(c, 1.0)
    for i in range(len(y)):
        d[i] = d[i] * (one - y[i] * y[i])


def sigmoid(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/sigmoids.py `Sigmoid.value`: y = e^x / (1 + e^x), x up to 40. a: x, y, columns."""
    a, c, s, r = frame(a, c, s, r)
    x, y = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    one, high = number(c, 1.0), number(c, 40.0)
    for i in range(len(x)):
        e = exp(high if x[i] > high else x[i])
        y[i] = e / (e + one)


def sigmoid_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/sigmoids.py `Sigmoid.slope`: d y (1 - y). a: y, d, columns."""
    a, c, s, r = frame(a, c, s, r)
    y, d = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    one = number(c, 1.0)
    for i in range(len(y)):
        d[i] = d[i] * ((one - y[i]) * y[i])


def silu(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `SiLU.value`: y = x s, s = e^x / (1 + e^x). a: x, y, columns, s."""
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    x, y, share = vector(c, a[0], size), vector(c, a[1], size), vector(c, a[3], size)
    one, high = number(c, 1.0), number(c, 40.0)
    for i in range(len(x)):
        e = exp(high if x[i] > high else x[i])
        share[i] = e / (e + one)
        y[i] = x[i] * share[i]


def silu_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `SiLU.slope`: d (s + y (1 - s)). a: y, d, columns, s."""
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    y, d, share = vector(c, a[0], size), vector(c, a[1], size), vector(c, a[3], size)
    one = number(c, 1.0)
    for i in range(len(y)):
        d[i] = d[i] * ((one - share[i]) * y[i] + share[i])


def selu(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `SELU.value`: y = lambda x where x > 0, else lambda alpha (e^x - 1). a: x, y, columns.

    c: lambda, lambda alpha, the largest x.
    """
    a, c, s, r = frame(a, c, s, r)
    x, y = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    zero, right, left, most = number(c, 0.0), c[0], c[1], c[2]
    for i in range(len(x)):
        above = most if x[i] > most else x[i]
        below = left * expm1(zero if x[i] > zero else x[i])
        y[i] = right * above if x[i] > zero else below


def selu_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `SELU.slope`: d lambda where y > 0, else d (y + lambda alpha). a: y, d, columns.

    c: lambda, lambda alpha.
    """
    a, c, s, r = frame(a, c, s, r)
    y, d = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    zero, right, left = number(c, 0.0), c[0], c[1]
    for i in range(len(y)):
        d[i] = d[i] * (right if y[i] > zero else y[i] + left)


def mish(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `Mish.value`: y = x t, t = e (e + 2) / (e (e + 2) + 2), s = e / (1 + e), e = e^x.

    x counts as 40 above it. a: x, y, columns, s, t.
    """
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    x, y, share, bent = vector(c, a[0], size), vector(c, a[1], size), vector(c, a[3], size), vector(c, a[4], size)
    one, two, high = number(c, 1.0), number(c, 2.0), number(c, 40.0)
    for i in range(len(x)):
        e = exp(high if x[i] > high else x[i])
        product = (e + two) * e
        bent[i] = product / (product + two)
        share[i] = e / (e + one)
        y[i] = x[i] * bent[i]


def mish_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/rectifiers.py `Mish.slope`: d (t + (x - y t) s). a: y, d, columns, s, t, x."""
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    y, d, x = vector(c, a[0], size), vector(c, a[1], size), vector(c, a[5], size)
    share, bent = vector(c, a[3], size), vector(c, a[4], size)
    for i in range(len(y)):
        d[i] = d[i] * ((x[i] - y[i] * bent[i]) * share[i] + bent[i])


def blend(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Blend.forward`: Y = X + (f(X) - X) diag(a). a: X, Y, columns, f(X), f(X) - X, a."""
    a, c, s, r = frame(a, c, s, r)
    k, factor = a[2], vector(c, a[5], a[2])
    for i in range(s[ROWS]):
        at = i * k * c.itemsize
        x, y, f, bend = (
            vector(c, a[0] + at, k),
            vector(c, a[1] + at, k),
            vector(c, a[3] + at, k),
            vector(c, a[4] + at, k),
        )
        for j in range(len(factor)):
            bend[j] = f[j] - x[j]
            y[j] = bend[j] * factor[j] + x[j]


def blend_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Blend.backward`: dE/da = sum_r D_r (f(x_r) - x_r), then E = D a and D <- D - E.

    a: f(X) - X, D, columns, E, a, da.
    """
    a, c, s, r = frame(a, c, s, r)
    k, factor, total = a[2], vector(c, a[4], a[2]), vector(c, a[5], a[2])
    for j in range(len(total)):
        total[j] = number(c, 0.0)
    for i in range(s[ROWS]):
        at = i * k * c.itemsize
        bend, d, bent = vector(c, a[0] + at, k), vector(c, a[1] + at, k), vector(c, a[3] + at, k)
        for j in range(len(factor)):
            total[j] = total[j] + d[j] * bend[j]
            bent[j] = d[j] * factor[j]
            d[j] = d[j] - bent[j]


def add(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Blend.backward`: dE/dX = D (1 - a) + D a f'(X). a: what is added, the sum, columns."""
    a, c, s, r = frame(a, c, s, r)
    x, total = vector(c, a[0], s[ROWS] * a[2]), vector(c, a[1], s[ROWS] * a[2])
    for i in range(len(x)):
        total[i] = total[i] + x[i]


def scale(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/normalization.py `Scale.forward`: Y = X diag(s). a: X, Y, columns, s."""
    a, c, s, r = frame(a, c, s, r)
    k, factor = a[2], vector(c, a[3], a[2])
    for i in range(s[ROWS]):
        x, y = vector(c, a[0] + i * k * c.itemsize, k), vector(c, a[1] + i * k * c.itemsize, k)
        for j in range(len(factor)):
            y[j] = x[j] * factor[j]


def scale_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/normalization.py `Scale.backward`: dE/ds = sum_r D_r x_r, dE/dX = D diag(s). a: X, D, columns, s, ds."""
    a, c, s, r = frame(a, c, s, r)
    k, factor, total = a[2], vector(c, a[3], a[2]), vector(c, a[4], a[2])
    for j in range(len(total)):
        total[j] = number(c, 0.0)
    for i in range(s[ROWS]):
        x, d = vector(c, a[0] + i * k * c.itemsize, k), vector(c, a[1] + i * k * c.itemsize, k)
        for j in range(len(factor)):
            total[j] = total[j] + d[j] * x[j]
            d[j] = d[j] * factor[j]


def robust_scale(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `RobustScale.forward`: z = (x - center) factor, y = z / q, q = sqrt(1 + (z / 3)^2).

    a: x, y, columns, center, factor, q.
    """
    a, c, s, r = frame(a, c, s, r)
    k, center, factor = a[2], vector(c, a[3], a[2]), vector(c, a[4], a[2])
    one, three, far = number(c, 1.0), number(c, 3.0), number(c, 1e9)
    for i in range(s[ROWS]):
        at = i * k * c.itemsize
        x, y, q = vector(c, a[0] + at, k), vector(c, a[1] + at, k), vector(c, a[5] + at, k)
        for j in range(len(center)):
            z = (x[j] - center[j]) * factor[j]
            third = abs(z / three)
            q[j] = third if third > far else root(one + third * third)  # beyond, 1 is lost in rounding
            y[j] = z / q[j]


def robust_scale_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `RobustScale.backward`: dE/dx = dE/dy factor q^-3. a: q, d, columns, factor."""
    a, c, s, r = frame(a, c, s, r)
    k, factor = a[2], vector(c, a[3], a[2])
    for i in range(s[ROWS]):
        q, d = vector(c, a[0] + i * k * c.itemsize, k), vector(c, a[1] + i * k * c.itemsize, k)
        for j in range(len(factor)):
            d[j] = d[j] * factor[j] / (q[j] * q[j] * q[j])


def columns(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Columns`: X_i of X, or Y_i into Y. a: source, its columns, the first of them; target, its
    columns, the first of them; how many.
    """
    a, c, s, r = frame(a, c, s, r)
    width = c.itemsize
    for i in range(s[ROWS]):
        x = vector(c, a[0] + (i * a[1] + a[2]) * width, a[6])
        y = vector(c, a[3] + (i * a[4] + a[5]) * width, a[6])
        for j in range(len(x)):
            y[j] = x[j]


def deal(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/mixture.py `Mixture`: the rows r of X with r mod m = i, to which the kernels that follow keep.

    a: X, those rows, columns, i, m.
    """
    a, c, s, r = frame(a, c, s, r)
    k, i, m = a[2], a[3], a[4]
    n = (s[WHOLE] - i + m - 1) // m
    s[RELATIVE] = (s[FIRST] - s[SLICE]) // s[SIZE] * ((s[SIZE] - i + m - 1) // m)
    s[ROWS] = n
    for q in range(n):
        x, y = vector(c, a[0] + (q * m + i) * k * c.itemsize, k), vector(c, a[1] + q * k * c.itemsize, k)
        for j in range(len(x)):
            y[j] = x[j]


def collect(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/mixture.py `Mixture`: Y_r = f_i(x_r) where r mod m = i; the kernels that follow see all rows again.

    a: the chain's rows, Y, columns (0: nothing is written), i, m.
    """
    a, c, s, r = frame(a, c, s, r)
    k, i, m = a[2], a[3], a[4]
    for q in range(s[ROWS]):
        x, y = vector(c, a[0] + q * k * c.itemsize, k), vector(c, a[1] + (q * m + i) * k * c.itemsize, k)
        for j in range(len(x)):
            y[j] = x[j]
    s[ROWS], s[RELATIVE] = s[WHOLE], s[FIRST] - s[SLICE]


def embedding(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Embedding.forward`: Y_i = E_i[x_i], a number outside its range counts as 0.

    a: X, Y, columns, sizes, first rows of the columns in E, E, length of a vector, rows of E that were read.
    """
    a, c, s, r = frame(a, c, s, r)
    k, width = a[2], a[6]
    sizes, starts = integers(a[3], k), integers(a[4], k)
    for i in range(s[ROWS]):
        x, at = vector(c, a[0] + i * k * c.itemsize, k), integers(a[7] + 8 * i * k, k)
        for j in range(k):
            category = np.rint(x[j])
            known = category > 0 and category < sizes[j]
            at[j] = starts[j] + (np.int64(category) if known else 0)
            e = vector(c, a[5] + at[j] * width * c.itemsize, width)
            y = vector(c, a[1] + (i * k + j) * width * c.itemsize, width)
            for q in range(len(e)):
                y[q] = e[q]


def embedding_gradients(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Embedding.backward_parameters`: dE/dE_i[k] = sum of D_ri where x_ri = k.

    a: D, dE, columns, rows of E, length of a vector, rows of E that were read.
    """
    a, c, s, r = frame(a, c, s, r)
    width = a[4]
    every, at = vector(c, a[1], a[3] * width), integers(a[5], s[ROWS] * a[2])
    for i in range(len(every)):
        every[i] = number(c, 0.0)
    for i in range(len(at)):
        d, e = vector(c, a[0] + i * width * c.itemsize, width), vector(c, a[1] + at[i] * width * c.itemsize, width)
        for j in range(len(e)):
            e[j] = e[j] + d[j]


def periodic(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Periodic.forward`: P_i = 2 pi x_i f_i + c_i, U_i = cos P_i, Y_i = [U_i W_i + b_i, x_i].

    a: X, Y, columns, f, c, W, b, frequencies, numbers of Y_i, U and sin P (columns, rows, frequencies); c: the largest
    |P| of `sine_and_cosine`.
    """
    a, c, s, r = frame(a, c, s, r)
    n, columns, k, d, size = s[ROWS], a[2], a[7], a[8] - 1, c.itemsize
    x, turn, far = vector(c, a[0], n * columns), number(c, 2 * math.pi), c[0]
    for i in range(columns):
        f, phase = vector(c, a[3] + i * k * size, k), vector(c, a[4] + i * k * size, k)
        W, b = vector(c, a[5] + i * k * d * size, k * d), vector(c, a[6] + i * d * size, d)
        for row in range(n):
            at = (i * n + row) * k * size
            u, sine = vector(c, a[9] + at, k), vector(c, a[10] + at, k)
            most, number_of = number(c, 0.0), x[row * columns + i]
            for q in range(len(f)):
                u[q] = number_of * (turn * f[q]) + phase[q]
                most = most if abs(u[q]) <= most else abs(u[q])
            if most < far:
                for q in range(len(f)):
                    sine[q], u[q] = sine_and_cosine(u[q])
            else:
                for q in range(len(f)):
                    sine[q], u[q] = math.sin(u[q]), math.cos(u[q])
            y = vector(c, a[1] + (row * columns + i) * (d + 1) * size, d + 1)
            for j in range(d):
                total = b[j]
                for q in range(len(f)):
                    total += u[q] * W[q * d + j]
                y[j] = total
            y[d] = number_of


def periodic_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/tabular.py `Periodic.backward`: dE/dW_i = U_i^T G_i, dE/db_i = G_i^T 1, H_i = -sin P_i * (G_i W_i^T),
    dE/df_i = 2 pi x_i^T H_i, dE/dc_i = H_i^T 1, dE/dx_i = 2 pi H_i f_i^T + g_i.

    a: X, D, columns, f, W, frequencies, numbers of Y_i, U, sin P, df, dc, dW, db, dE/dX (0: not wanted).
    """
    a, c, s, r = frame(a, c, s, r)
    n, columns, k, d, size = s[ROWS], a[2], a[5], a[6] - 1, c.itemsize
    x, turn, zero = vector(c, a[0], n * columns), number(c, 2 * math.pi), number(c, 0.0)
    dx = vector(c, a[13] if a[13] != 0 else a[0], n * columns)
    for i in range(columns):
        f, W = vector(c, a[3] + i * k * size, k), vector(c, a[4] + i * k * d * size, k * d)
        df, dc = vector(c, a[9] + i * k * size, k), vector(c, a[10] + i * k * size, k)
        dW, db = vector(c, a[11] + i * k * d * size, k * d), vector(c, a[12] + i * d * size, d)
        for q in range(len(f)):
            df[q], dc[q] = zero, zero
        for q in range(len(dW)):
            dW[q] = zero
        for j in range(len(db)):
            db[j] = zero
        for row in range(n):
            at = (i * n + row) * k * size
            u, h = vector(c, a[7] + at, k), vector(c, a[8] + at, k)
            g, number_of = vector(c, a[1] + (row * columns + i) * (d + 1) * size, d + 1), x[row * columns + i]
            back = zero
            for j in range(d):
                db[j] = db[j] + g[j]
            for q in range(len(f)):
                total = zero
                for j in range(d):
                    total += g[j] * W[q * d + j]
                    dW[q * d + j] = dW[q * d + j] + u[q] * g[j]
                h[q] = -h[q] * total
                dc[q] = dc[q] + h[q]
                df[q] = df[q] + number_of * h[q]
                back += h[q] * (turn * f[q])
            if a[13] != 0:
                dx[row * columns + i] = back + g[d]
        for q in range(len(f)):
            df[q] = df[q] * turn


def softmax(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/softmax.py `Softmax`: y_j = e^(x_j - max x) / sum_k e^(x_k - max x). a: x, y, columns."""
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[2]
    for i in range(n):
        x, y = vector(c, a[0] + i * k * c.itemsize, k), vector(c, a[1] + i * k * c.itemsize, k)
        largest = x[0]
        for j in range(len(x)):
            largest = x[j] if x[j] > largest else largest
        for j in range(len(x)):
            y[j] = x[j] - largest
    every = vector(c, a[1], n * k)
    for j in range(len(every)):
        every[j] = exp(every[j])
    for i in range(n):
        y = vector(c, a[1] + i * k * c.itemsize, k)
        total = number(c, 0.0)
        for j in range(len(y)):
            total += y[j]
        for j in range(len(y)):
            y[j] = y[j] / total


def softmax_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/softmax.py `Softmax.backward`: dE/dx_j = y_j (d_j - sum_k d_k y_k). a: y, d, columns."""
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[2]
    for i in range(n):
        y, d = vector(c, a[0] + i * k * c.itemsize, k), vector(c, a[1] + i * k * c.itemsize, k)
        total = number(c, 0.0)
        for j in range(len(y)):
            total += d[j] * y[j]
        for j in range(len(y)):
            d[j] = (d[j] - total) * y[j]


def dropout(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/noise.py `Dropout`, Y = F * X, with F as the layer has drawn it for the slice. a: x, y, columns, F."""
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    x, y = vector(c, a[0], size), vector(c, a[1], size)
    factor = vector(c, a[3] + s[RELATIVE] * a[2] * c.itemsize, size)
    for i in range(len(x)):
        y[i] = factor[i] * x[i]


def dropout_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/noise.py `backward`: dE/dX = D * F. a: d, -, columns, F."""
    a, c, s, r = frame(a, c, s, r)
    size = s[ROWS] * a[2]
    d, factor = vector(c, a[0], size), vector(c, a[3] + s[RELATIVE] * a[2] * c.itemsize, size)
    for i in range(len(d)):
        d[i] = d[i] * factor[i]


def batch_norm(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/normalization.py `BatchNorm.forward`, in training.

    a: x, y, columns, xhat, mean, var, inv, gamma, beta, running mean, running var, gemv, ones; c: eps, momentum.
    """
    a, c, s, r = frame(a, c, s, r)
    n, k, width = s[ROWS], a[2], c.itemsize
    mean, var, inv = vector(c, a[4], k), vector(c, a[5], k), vector(c, a[6], k)
    gamma, beta = vector(c, a[7], k), vector(c, a[8], k)
    running_mean, running_var = vector(c, a[9], k), vector(c, a[10], k)
    rows, one, eps, momentum = number(c, n), number(c, 1.0), c[0], c[1]
    gemv(c, a[11], N, k, n, a[0], k, a[12], a[4])
    for j in range(len(mean)):
        mean[j] = mean[j] / rows  # m = 1/n sum_s x_s
    for i in range(n):
        x, y, xhat = (
            vector(c, a[0] + i * k * width, k),
            vector(c, a[1] + i * k * width, k),
            vector(c, a[3] + i * k * width, k),
        )
        for j in range(len(x)):
            xhat[j] = x[j] - mean[j]
            y[j] = xhat[j] * xhat[j]
    gemv(c, a[11], N, k, n, a[1], k, a[12], a[5])
    unbiased = momentum * rows / (rows - one) if n > 1 else momentum
    for j in range(len(var)):
        var[j] = var[j] / rows  # v = 1/n sum_s (x_s - m)^2
        inv[j] = one / root(var[j] + eps)
        running_mean[j] = running_mean[j] * (one - momentum) + mean[j] * momentum
        if n > 1:
            running_var[j] = running_var[j] * (one - momentum) + var[j] * unbiased
    for i in range(n):
        y, xhat = vector(c, a[1] + i * k * width, k), vector(c, a[3] + i * k * width, k)
        for j in range(len(y)):
            xhat[j] = xhat[j] * inv[j]  # xhat = (x - m) / sqrt(v + eps)
            y[j] = xhat[j] * gamma[j] + beta[j]  # y = gamma xhat + beta


def batch_norm_gradients(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/normalization.py `backward_parameters`: dE/dgamma = sum_s D_s xhat_s, dE/dbeta = sum_s D_s.

    a: d, work, columns, xhat, dgamma, dbeta, gemv, ones.
    """
    a, c, s, r = frame(a, c, s, r)
    n, k = s[ROWS], a[2]
    d, work, xhat = vector(c, a[0], n * k), vector(c, a[1], n * k), vector(c, a[3], n * k)
    for i in range(len(d)):
        work[i] = d[i] * xhat[i]
    gemv(c, a[6], N, k, n, a[1], k, a[7], a[4])
    gemv(c, a[6], N, k, n, a[0], k, a[7], a[5])


def batch_norm_delta(a: Any, c: Any, s: Any, r: Any) -> None:
    """layers/normalization.py `backward`: dE/dX = gamma / sqrt(v + eps) (D - dE/dbeta / n - xhat dE/dgamma / n).

    a: d, -, columns, xhat, dgamma, dbeta, gamma, inv.
    """
    a, c, s, r = frame(a, c, s, r)
    n, k, width, rows = s[ROWS], a[2], c.itemsize, number(c, s[ROWS])
    dgamma, dbeta = vector(c, a[4], k), vector(c, a[5], k)
    gamma, inv = vector(c, a[6], k), vector(c, a[7], k)
    for i in range(n):
        d, xhat = vector(c, a[0] + i * k * width, k), vector(c, a[3] + i * k * width, k)
        for j in range(len(d)):
            d[j] = (d[j] - dbeta[j] / rows - xhat[j] * (dgamma[j] / rows)) * (gamma[j] * inv[j])
