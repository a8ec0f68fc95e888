"""A backward pass in plain loops, sample by sample and neuron by neuron, with any of the usual mistakes.

It shares nothing with the package: no layer, no loss, no chain. What it gives is what students hand in.
"""

from __future__ import annotations

import math

import numpy as np


def f(kind, z):
    """The activation of one layer for one row."""
    if kind == "sigmoid":
        return [1 / (1 + math.exp(-v)) for v in z]
    if kind == "tanh":
        return [math.tanh(v) for v in z]
    if kind == "relu":
        return [max(v, 0.0) for v in z]
    if kind == "softmax":
        e = [math.exp(v) for v in z]
        return [v / sum(e) for v in e]
    return list(z)


def slope(kind, v):
    """f'(v) of a function of one number."""
    if kind == "sigmoid":
        return f("sigmoid", [v])[0] * (1 - f("sigmoid", [v])[0])
    if kind == "tanh":
        return 1 - math.tanh(v) ** 2
    if kind == "relu":
        return 1.0 if v > 0 else 0.0
    return 1.0


WRONG_SLOPES = {
    "no slope": lambda kind, z, a: 1.0,
    "slope at a": lambda kind, z, a: slope(kind, a),
    "a>=0": lambda kind, z, a: 1.0 if a >= 0 else 0.0,
    "1-a": lambda kind, z, a: 1 - a,
    "a": lambda kind, z, a: a,
    "z(1-z)": lambda kind, z, a: z * (1 - z),
    "-a^2": lambda kind, z, a: -a * a,
    "1+a^2": lambda kind, z, a: 1 + a * a,
    "1-z^2": lambda kind, z, a: 1 - z * z,
    "a(1-a)": lambda kind, z, a: a * (1 - a),
    "1-a^2": lambda kind, z, a: 1 - a * a,
    "slope twice": lambda kind, z, a: slope(kind, z) ** 2,
    "relu's": lambda kind, z, a: slope("relu", z),
    "tanh's": lambda kind, z, a: slope("tanh", z),
    "sigmoid's": lambda kind, z, a: slope("sigmoid", z),
}


def backward(W, b, x, y, kinds, loss, mistakes=()):
    """(dW, db) by layer; `mistakes` are (name, layers from 1). y has the output's shape; for softmax it is one-hot.

    Losses: "half" is sum (y^ - y)^2 / 2 over outputs, "softmax" and "binary" are cross-entropies of probabilities; each
    is a mean over the samples (binary over outputs, too).
    """
    made = dict(mistakes)

    def at(name, layer):
        return name in made and (made[name] is None or layer in made[name])

    n, count = len(x), len(W)
    sizes = [len(w[0]) for w in W]
    dW = [np.zeros(w.shape) for w in W]
    db = [np.zeros(len(v)) for v in b]
    rows = []
    for s in range(n):
        a, z = [list(x[s])], []
        for i in range(count):
            z.append([sum(a[-1][p] * W[i][p, q] for p in range(len(a[-1]))) + b[i][q] for q in range(sizes[i])])
            a.append(f(kinds[i], z[-1]))
        rows.append((a, z))
    everything = []
    for s, (a, z) in enumerate(rows):
        k = sizes[-1]
        out, target = a[-1], list(y[s])
        if "shifted labels" in made:
            target = target[-1:] + target[:-1]
        mean = n * k if loss == "binary" else n
        fused = loss in ("softmax", "binary")
        error = [(out[j] - target[j]) / mean for j in range(k)]
        if "wrong axis" in made:
            top = [math.exp(z[-1][j]) / sum(math.exp(rows[r][1][-1][j]) for r in range(n)) for j in range(k)]
            error = [(top[j] - target[j]) / n for j in range(k)]
        if "p alone" in made:
            error = [out[j] / mean for j in range(k)]
        if "true class" in made:
            error = [(out[j] - 1) / mean if target[j] == 1 else 0.0 for j in range(k)]
        if "-y/p" in made:
            error = [-target[j] / out[j] / mean for j in range(k)]
        if "label column" in made:
            error = [(out[j] - target.index(1)) / mean for j in range(k)]
        if "dE/dp" in made:
            error = [(out[j] - target[j]) / (out[j] * (1 - out[j])) / mean for j in range(k)]
        if "second term" in made:
            error = [-target[j] / out[j] * out[j] * (1 - out[j]) / mean for j in range(k)]
        if "second sign" in made:
            error = [
                (-target[j] / out[j] - (1 - target[j]) / (1 - out[j])) * out[j] * (1 - out[j]) / mean for j in range(k)
            ]
        if "swapped" in made:
            error = [-e for e in error]
        if "sum" in made:
            error = [e * n for e in error]
        if "four" in made:
            error = [e * 4 for e in error]
        if "odd factor" in made:
            error = [e * 0.0371 for e in error]
        deltas = [[] for _ in range(count)]
        for i in range(count - 1, -1, -1):
            layer = i + 1
            delta = []
            for j in range(sizes[i]):
                if i == count - 1 and fused:
                    s_ = 1.0
                    if "slope twice" in made and at("slope twice", layer):
                        s_ = slope("sigmoid", z[i][j])
                else:
                    s_ = slope(kinds[i], z[i][j])
                    for name, wrong in WRONG_SLOPES.items():
                        if at(name, layer):
                            s_ = wrong(kinds[i], z[i][j], a[i + 1][j])
                    if at("slope of the layer before", layer):
                        s_ = slope(kinds[i], z[i - 1][j])
                    if at("f'(a(l-1))", layer):
                        s_ = slope(kinds[i], a[i][j])
                    if at("relu of delta", layer):
                        s_ = 1.0 if error[j] > 0 else 0.0
                delta.append(error[j] * s_)
            if i == count - 1 and "softmax twice" in made:
                p = a[-1]
                delta = [sum(p[j] * ((j == q) - p[q]) * delta[q] for q in range(k)) for j in range(k)]
            if i == count - 1 and "diagonal" in made:
                delta = [delta[j] * a[-1][j] * (1 - a[-1][j]) for j in range(k)]
            if at("1/n a layer", layer) and i < count - 1:
                delta = [d / n for d in delta]
            deltas[i] = delta
            back = W[i]
            passing = error if at("undifferentiated", layer) else delta
            error = []
            for p in range(len(a[i])):
                if at("no weights", layer):
                    error.append(sum(passing))
                elif at("W for W^T", layer) and back.shape[0] == back.shape[1]:
                    error.append(sum(passing[q] * back[q, p] for q in range(sizes[i])))
                else:
                    error.append(sum(passing[q] * back[p, q] for q in range(sizes[i])))
        everything.append(deltas)
    for i in range(count):
        for s, (a, z) in enumerate(rows):
            enters = a[i]
            if at("own a", i + 1):
                enters = a[i + 1]
            if at("z entering", i + 1) and i:
                enters = z[i - 1]
            d = everything[s][i]
            if at("last row", i + 1) and s < n - 1:
                continue
            for q in range(sizes[i]):
                db[i][q] += d[q]
                for p in range(len(enters)):
                    dW[i][p, q] += enters[p] * d[q]
        if at("db from dW", i + 1):
            db[i] = np.array([sum(dW[i][p, q] for p in range(len(dW[i]))) for q in range(sizes[i])])
        if at("one number", i + 1):
            db[i] = np.float64(sum(db[i]))
        if at("db unsummed", i + 1):
            db[i] = np.array([everything[s][i] for s in range(n)])
        if at("db mean", i + 1):
            db[i] = db[i] / n
        if at("db first", i + 1):
            db[i] = np.array(everything[0][i])
        if at("dW transposed", i + 1) and dW[i].shape[0] == dW[i].shape[1]:
            dW[i] = np.array([[dW[i][q, p] for q in range(sizes[i])] for p in range(sizes[i])])
        if at("double dW", i + 1):
            dW[i] = 2 * dW[i]
        if at("odd array", i + 1):
            dW[i] = 0.0371 * dW[i]
    return list(zip(dW, db, strict=True))


def too_early(W, b, x, y, kinds, rate, *, undifferentiated=False):
    """Squared error's gradients where every layer's weights are updated before its delta passes on."""
    n, count = len(x), len(W)
    rows = []
    for s in range(n):
        a, z = [list(x[s])], []
        for i in range(count):
            z.append([sum(a[-1][p] * W[i][p, q] for p in range(len(a[-1]))) + b[i][q] for q in range(len(b[i]))])
            a.append(f(kinds[i], z[-1]))
        rows.append((a, z))
    errors = [[(rows[s][0][-1][j] - y[s][j]) / n for j in range(len(b[-1]))] for s in range(n)]
    found = []
    for i in range(count - 1, -1, -1):
        width = len(b[i])
        deltas = [[errors[s][j] * slope(kinds[i], rows[s][1][i][j]) for j in range(width)] for s in range(n)]
        dW = np.array(
            [[sum(rows[s][0][i][p] * deltas[s][q] for s in range(n)) for q in range(width)] for p in range(len(W[i]))]
        )
        found.append((dW, np.array([sum(deltas[s][q] for s in range(n)) for q in range(width)])))
        new = W[i] - rate * dW
        passing = errors if undifferentiated else deltas
        errors = [[sum(passing[s][q] * new[p, q] for q in range(width)) for p in range(len(new))] for s in range(n)]
    return found[::-1]
