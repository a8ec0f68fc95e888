"""A backward pass in plain loops, row by row and neuron by neuron, with any of the usual mistakes in it.

It shares nothing with the package: no layer, no loss, no chain. What it gives is what students hand in. `MISTAKES` is
the table of what can be made wrong; `drawn` draws a network on which a mistake can be made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Network:
    """Arrays of a network, its data and what else its gradients depend on.

    A dense layer is followed by batch normalization (where `norms` says so), its function, and dropout (with `masks`).
    `loss` is "half" (sum of squares / 2, mean over rows), "mean" (of squares over all entries), "softmax" or "binary"
    (cross-entropies of the last layer's probabilities; binary is a mean over all entries).
    """

    W: list[np.ndarray]
    b: list[np.ndarray]
    x: np.ndarray
    y: np.ndarray
    kinds: list[str]
    loss: str
    decay: float = 0.0
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    rate: float = 0.5
    norms: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.W)

    @property
    def fused(self) -> bool:
        """Whether dE/dz at the output is p - y."""
        return self.loss in ("softmax", "binary")


@dataclass(frozen=True)
class Made:
    """A mistake: its name in `MISTAKES`, the layers where it is made, from 1, and a number that it may need."""

    name: str
    layers: tuple[int, ...]
    value: float = 1.0


# -- forward -------------------------------------------------------------------------------------------------------


def f(kind: str, z: list[float]) -> list[float]:
    """The activation of one layer for one row."""
    if kind == "sigmoid":
        return [1 / (1 + math.exp(-v)) for v in z]
    if kind == "tanh":
        return [math.tanh(v) for v in z]
    if kind == "relu":
        return [max(v, 0.0) for v in z]
    if kind == "leaky":
        return [v if v > 0 else 0.01 * v for v in z]
    if kind == "softmax":
        e = [math.exp(v - max(z)) for v in z]
        return [v / sum(e) for v in e]
    return list(z)


def slope(kind: str, v: float) -> float:
    """f'(v) of a function of one number."""
    if kind == "sigmoid":
        a = 1 / (1 + math.exp(-v))
        return a * (1 - a)
    if kind == "tanh":
        return 1 - math.tanh(v) ** 2
    if kind == "relu":
        return 1.0 if v > 0 else 0.0
    if kind == "leaky":
        return 1.0 if v > 0 else 0.01
    return 1.0


@dataclass
class Layer:
    """What one layer computed, row by row: dense sums, what its function takes, gives, and what goes on."""

    enters: np.ndarray
    sums: np.ndarray
    z: np.ndarray
    a: np.ndarray
    out: np.ndarray


EPS = 1e-5


def forward(net: Network) -> list[Layer]:
    found = []
    h = net.x.astype(float)
    for i, (W, b) in enumerate(zip(net.W, net.b, strict=True)):
        sums = np.array([[sum(row[p] * W[p, q] for p in range(len(row))) + b[q] for q in range(len(b))] for row in h])
        z = sums.copy()
        if i + 1 in net.norms:
            for q in range(len(b)):
                mean, variance = sum(sums[:, q]) / len(sums), float(np.var(sums[:, q]))
                z[:, q] = [(v - mean) / math.sqrt(variance + EPS) for v in sums[:, q]]
        a = np.array([f(net.kinds[i], list(row)) for row in z])
        out = a * net.masks[i + 1] / (1 - net.rate) if i + 1 in net.masks else a
        found.append(Layer(h, sums, z, a, out))
        h = out
    return found


# -- mistakes at the output: dE/dz where it is fused, else dE/dy^ ----------------------------------------------------


def rolled(y: np.ndarray, by: int, lost: bool) -> np.ndarray:
    made = np.zeros_like(y)
    k = y.shape[1]
    for s, j in np.argwhere(y == 1):
        if 0 <= j + by < k or not lost:
            made[s, (j + by) % k] = 1
    return made


def over_samples(z: np.ndarray) -> np.ndarray:
    return np.array(
        [[math.exp(z[s, j]) / sum(math.exp(v) for v in z[:, j]) for j in range(z.shape[1])] for s in range(len(z))]
    )


def over_all(z: np.ndarray) -> np.ndarray:
    total = sum(math.exp(v) for v in z.ravel())
    return np.array([[math.exp(v) / total for v in row] for row in z])


def column(y: np.ndarray) -> np.ndarray:
    return np.array([[float(list(row).index(1))] * len(row) for row in y])


Top = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
TOPS: dict[str, Top] = {
    # the sum over rows and entries of what is given here, before 1/n: z, output or p, target
    "p alone": lambda z, p, y, value: p,
    "-y": lambda z, p, y, value: -y,
    "only the true class": lambda z, p, y, value: np.where(y == 1, p - 1, 0.0),
    "-y/p": lambda z, p, y, value: -y / p,
    "dE/dp": lambda z, p, y, value: (p - y) / (p * (1 - p)),
    "softmax twice": lambda z, p, y, value: np.array(
        [
            [sum(q[i] * ((i == j) - q[j]) * (q[i] - t[i]) for i in range(len(q))) for j in range(len(q))]
            for q, t in zip(p, y, strict=True)
        ]
    ),
    "only the diagonal": lambda z, p, y, value: (p - y) * p * (1 - p),
    "sigmoid twice": lambda z, p, y, value: (p - y) * p * (1 - p),
    "shifted": lambda z, p, y, value: p - rolled(y, int(value), False),
    "shifted, lost": lambda z, p, y, value: p - rolled(y, int(value), True),
    "over the samples": lambda z, p, y, value: over_samples(z) - y,
    "over all entries": lambda z, p, y, value: over_all(z) - y,
    "a column of labels": lambda z, p, y, value: p - column(y),
    "second term left out": lambda z, p, y, value: -y / p * p * (1 - p),
    "second term's sign": lambda z, p, y, value: (-y / p - (1 - y) / (1 - p)) * p * (1 - p),
    "swapped": lambda z, p, y, value: y - p,
    "against (n,)": lambda z, p, y, value: p - y.reshape(1, -1),
    "against (n,), summed": lambda z, p, y, value: (p - y.reshape(1, -1)).sum(axis=1, keepdims=True),
    "(n,) against": lambda z, p, y, value: p.reshape(1, -1) - y,
    "(n,) against, summed": lambda z, p, y, value: (p.reshape(1, -1) - y).sum(axis=1, keepdims=True),
}

# -- wrong slopes ----------------------------------------------------------------------------------------------------

SLOPES: dict[str, Callable[[str, float, float], float]] = {
    "no slope": lambda kind, z, a: 1.0,
    "f'(a)": lambda kind, z, a: slope(kind, a),
    "a >= 0": lambda kind, z, a: 1.0 if a >= 0 else 0.0,
    "1 - a": lambda kind, z, a: 1 - a,
    "a": lambda kind, z, a: a,
    "z (1 - z)": lambda kind, z, a: z * (1 - z),
    "-a^2": lambda kind, z, a: -a * a,
    "1 + a^2": lambda kind, z, a: 1 + a * a,
    "1 - z^2": lambda kind, z, a: 1 - z * z,
    "a (1 - a)": lambda kind, z, a: a * (1 - a),
    "1 - a^2": lambda kind, z, a: 1 - a * a,
    "slope twice": lambda kind, z, a: slope(kind, z) ** 2,
    "relu's": lambda kind, z, a: slope("relu", z),
    "tanh's": lambda kind, z, a: slope("tanh", z),
    "sigmoid's": lambda kind, z, a: slope("sigmoid", z),
    "leaky's": lambda kind, z, a: slope("leaky", z),
    "its constant": lambda kind, z, a: 0.01,
}


class Pass:
    """One backward pass with its mistakes."""

    def __init__(self, net: Network, mistakes: tuple[Made, ...]) -> None:
        self.net, self.made, self.layers = net, mistakes, forward(net)

    def at(self, name: str, layer: int) -> Made | None:
        """The mistake of this name, where it is made in this layer."""
        return next((made for made in self.made if made.name == name and layer in made.layers), None)

    def run(self) -> list[tuple[Any, Any]]:
        net, found = self.net, []
        E = self.output()
        for layer in range(len(net), 0, -1):
            D = self.through(E, layer)
            dW, db = self.arrays(E, D, layer)
            found.append((dW, db))
            if layer > 1:
                E = self.down(E, D, dW, layer)
        pairs = found[::-1]
        if any(made.name == "backward order" for made in self.made):
            return found
        step = next((made.value for made in self.made if made.name in ("everything times", "the step")), 1.0)
        return [(step * dW, step * db) for dW, db in pairs]

    def output(self) -> np.ndarray:
        net, last = self.net, self.layers[-1]
        n, k = net.y.shape
        share = {"half": 1 / n, "mean": 2 / (n * k), "softmax": 1 / n, "binary": 1 / (n * k)}[net.loss]
        for made in self.made:
            if made.name in TOPS:
                return np.array(TOPS[made.name](last.z, last.a, net.y, made.value)) * share
        return np.array([[(last.a[s, j] - net.y[s, j]) * share for j in range(k)] for s in range(n)])

    def through(self, E: np.ndarray, layer: int) -> np.ndarray:
        """D from E, entry by entry."""
        net = self.net
        D = np.array(E)
        if layer in net.masks:
            mask, kept = net.masks[layer], 1 - net.rate
            if self.at("mask left out", layer):
                D = D / kept
            elif self.at("scale left out", layer):
                D = D * mask
            elif not self.at("mask and scale left out", layer):
                D = D * mask / kept
        if not (layer == len(net) and net.fused) and not self.at("p - y beside squares", layer):
            for s, j in np.ndindex(D.shape):
                D[s, j] = self.slope_times(D, s, j, layer)
        if layer in net.norms:
            D = self.normalized(D, layer)
        factor = self.at("delta times", layer) or self.at("1/n a layer", layer)
        return D * factor.value if factor else D

    def slope_times(self, D: np.ndarray, s: int, j: int, layer: int) -> float:
        net, own = self.net, self.layers[layer - 1]
        kind = net.kinds[layer - 1]
        if D.shape == own.z.shape:
            at = (s, j)
        else:  # (n, n): the slopes stand in a column, or in a row where the outputs do
            at = (j if self.at("(n,) against", layer) else s, 0)
        z, a = own.z[at], own.a[at]
        if kind == "softmax":  # D is read for all j; the caller writes from E, which stays
            E = self.output()
            if self.at("the diagonal alone", layer):
                return E[s, j] * a * (1 - a)
            return sum(E[s, i] * own.a[s, i] * ((i == j) - a) for i in range(len(own.a[s])))
        for name, wrong in SLOPES.items():
            if self.at(name, layer):
                return D[s, j] * wrong(kind, z, a)
        if self.at("f'(z(l-1))", layer):
            return D[s, j] * slope(kind, self.layers[layer - 2].z[s, j])
        if self.at("f'(z(l+1))", layer):
            return D[s, j] * slope(kind, self.layers[layer].z[s, j])
        if self.at("f'(a(l-1))", layer):
            return D[s, j] * slope(kind, own.enters[s, j])
        if self.at("relu of the delta", layer):
            return D[s, j] if D[s, j] > 0 else 0.0
        return D[s, j] * slope(kind, z)

    def normalized(self, D: np.ndarray, layer: int) -> np.ndarray:
        own, n = self.layers[layer - 1], len(D)
        made = np.zeros_like(D)
        for q in range(D.shape[1]):
            root = math.sqrt(float(np.var(own.sums[:, q])) + EPS)
            mean = sum(D[:, q]) / n
            product = sum(D[s, q] * own.z[s, q] for s in range(n)) / n
            if self.at("mean and variance left out", layer) or self.at("the mean left out", layer):
                mean = 0.0
            if self.at("mean and variance left out", layer) or self.at("the variance left out", layer):
                product = 0.0
            made[:, q] = [(D[s, q] - mean - own.z[s, q] * product) / root for s in range(n)]
        return made

    def arrays(self, E: np.ndarray, D: np.ndarray, layer: int) -> tuple[Any, Any]:
        net, own, at = self.net, self.layers[layer - 1], self.at
        n, width = D.shape
        enters = own.enters
        if at("own a", layer):
            enters = own.out
        if at("z entering", layer):
            enters = self.layers[layer - 2].z
        both = at("last row", layer)
        rows_W = [n - 1] if both or at("last row in dW", layer) else range(n)
        rows_b = [n - 1] if both or at("last row in db", layer) else range(n)
        dW: Any = np.array(
            [[sum(enters[s, p] * D[s, q] for s in rows_W) for q in range(width)] for p in range(enters.shape[1])]
        )
        db: Any = np.array([sum(D[s, q] for s in rows_b) for q in range(width)])
        if at("db from dW", layer):
            db = np.array([sum(dW[p, q] for p in range(len(dW))) for q in range(width)])
        if at("one number", layer):
            db = np.float64(sum(D.ravel()))
        if at("one number for all", layer):
            db = np.full(width, sum(D.ravel()))
        if at("db not summed", layer):
            db = D.copy()
        if at("db's mean", layer):
            db = db / n
        if at("first row in db", layer):
            db = D[0].copy()
        if at("dW transposed", layer):
            dW = np.array([[dW[q, p] for q in range(len(dW))] for p in range(width)])
        penalty = 2 * net.decay
        if at("penalty left out", layer):
            penalty = 0.0
        if at("penalty without its 2", layer):
            penalty = net.decay
        dW = dW + penalty * net.W[layer - 1] if penalty else dW
        if at("penalty on the biases", layer):
            db = db + 2 * net.decay * net.b[layer - 1]
        if made := at("dW times", layer):
            dW = made.value * dW
        if made := at("db times", layer):
            db = made.value * db
        return dW, db

    def down(self, E: np.ndarray, D: np.ndarray, dW: np.ndarray, layer: int) -> np.ndarray:
        W = self.net.W[layer - 1]
        passing = D
        if self.at("undifferentiated", layer) or self.at("undifferentiated, updated", layer):
            passing = E
        made = self.at("updated", layer) or self.at("undifferentiated, updated", layer)
        W = W - made.value * dW if made else W
        rows, width = passing.shape
        if self.at("no weights", layer):
            return np.array([[sum(passing[s])] * len(W) for s in range(rows)])
        if self.at("W for W^T", layer):
            W = np.array([[W[q, p] for q in range(width)] for p in range(len(W))])
        return np.array(
            [[sum(passing[s, q] * W[p, q] for q in range(width)) for p in range(len(W))] for s in range(rows)]
        )


def backward(net: Network, mistakes: tuple[Made, ...] = ()) -> list[tuple[Any, Any]]:
    """(dW, db) by layer, with these mistakes."""
    return Pass(net, mistakes).run()


# -- what can be made wrong, and where --------------------------------------------------------------------------------

ONE, HIDDEN, EVERY = "one", "hidden", "every"
HIDDEN_KINDS = ("sigmoid", "tanh", "relu")


@dataclass(frozen=True)
class Mistake:
    """One way to be wrong.

    Attributes
    ----------
    line : str
        What of the usual mistakes it is an example of.
    names : set of str
        What the diagnosis may call it.
    where : tuple of str
        "one" layer, the "hidden" ones, "every" one.
    kinds : tuple of str
        Functions of the layers that it concerns; empty for any.
    losses : str
    needs : str
        "square" weights, "same" widths below or above, "batch", "mask", "norm", "decay", "column" for one output.
    first : int
        The lowest layer where it can be made.
    values : callable
        From a generator and the network its number.
    """

    line: str
    names: frozenset[str]
    where: tuple[str, ...] = (ONE, HIDDEN, EVERY)
    kinds: tuple[str, ...] = ()
    losses: str = "half mean softmax binary"
    needs: str = ""
    first: int = 1
    values: Callable[[np.random.Generator, Network], float] = lambda rng, net: 1.0


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


def _one_of(*numbers: float) -> Callable[[np.random.Generator, Network], float]:
    return lambda rng, net: float(rng.choice(numbers))


def _rate(rng: np.random.Generator, net: Network) -> float:
    return float(np.exp(rng.uniform(np.log(0.01), np.log(1.0))))


def _odd(rng: np.random.Generator, net: Network) -> float:
    return float(rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(0.02), np.log(50.0))))


FORGOTTEN = _names(
    *(f"slope forgotten {where}" for where in ("everywhere", "at the output only", "in the hidden layers")),
    "slope forgotten in one layer",
    "slope forgotten in several layers",
)
FORMULA, OTHER = _names("slope by a wrong formula"), _names("slope of another activation")
ELSEWHERE, ONE_ROW = _names("slope of another layer"), _names("only one row counts")
DB, NUMBER = _names("db not summed"), _names("one number for every bias")
TOP, INCOMPLETE = (EVERY,), _names("p - y incomplete")
SQUARES, SOFTMAX, BINARY = "half mean", "softmax", "binary"
FACTORS = {
    "2": (2.0, "2/n beside 1/n"),
    "1/2": (0.5, "2/n beside 1/n"),
    "-1": (-1.0, "sign or prediction and target swapped"),
    "4": (4.0, "a constant factor"),
    "n": (None, "sum in place of mean"),
    "1/n": (None, "1/n twice"),
}


def _factor(name: str) -> Callable[[np.random.Generator, Network], float]:
    value = FACTORS[name][0]
    return lambda rng, net: value or (float(len(net.x)) if name == "n" else 1 / len(net.x))


MISTAKES: dict[str, Mistake] = {
    "undifferentiated": Mistake(
        "e(l-1) = e(l) W^T", _names("error passed on without its slope"), (ONE, EVERY), first=2
    ),
    "undifferentiated, updated": Mistake(
        "e(l-1) = e(l) W^T, W updated",
        _names("error passed on without its slope, through updated weights"),
        (EVERY, ONE),
        first=2,
        values=_rate,
    ),
    "updated": Mistake(
        "W updated first", _names("weights updated before the delta passed on"), (EVERY, ONE), first=2, values=_rate
    ),
    **{
        f"{array} {c}": Mistake(
            f"one array times {c}",
            _names(name),
            (ONE,),
            needs="batch" if "n" in c else "",
            values=_factor(c),
        )
        for array in ("dW times", "db times", "delta times")
        for c, (_, name) in FACTORS.items()
    },
    **{
        f"everything times {c}": Mistake(
            f"everything times {c}", _names(name), TOP, needs="batch" if "n" in c else "", values=_factor(c)
        )
        for c, (_, name) in FACTORS.items()
    },
    "everything times c": Mistake("a free factor", _names("a constant factor"), TOP, values=_odd),
    "dW times c": Mistake("a free factor", _names("a constant factor"), (ONE, EVERY), needs="three", values=_odd),
    "db times c": Mistake("a free factor", _names("a constant factor"), (ONE,), needs="three", values=_odd),
    "delta times c": Mistake("a free factor", _names("a constant factor"), (ONE,), needs="three", values=_odd),
    "the step": Mistake("learning_rate=", _names("the step in place of the gradient"), TOP, values=_rate),
    "no slope": Mistake("no slope", FORGOTTEN),
    "f'(a)": Mistake("f'(a)", _names("slope taken at a instead of z")),
    "1 - a": Mistake("sigmoid 1-a, tanh 1-a", FORMULA, kinds=("sigmoid", "tanh")),
    "a": Mistake("sigmoid a", FORMULA, kinds=("sigmoid",)),
    "z (1 - z)": Mistake("sigmoid z(1-z)", FORMULA, kinds=("sigmoid",)),
    "1 - a^2": Mistake("sigmoid with tanh's", FORMULA | OTHER, kinds=("sigmoid",)),
    "tanh's": Mistake("another activation's", OTHER, kinds=("sigmoid", "relu")),
    "-a^2": Mistake("tanh -a^2", FORMULA, kinds=("tanh",)),
    "1 + a^2": Mistake("tanh 1+a^2", FORMULA, kinds=("tanh",)),
    "1 - z^2": Mistake("tanh 1-z^2", FORMULA, kinds=("tanh",)),
    "a (1 - a)": Mistake("tanh a(1-a)", FORMULA, kinds=("tanh",)),
    "relu of the delta": Mistake("relu to the delta", _names("slope by the delta's sign"), kinds=("relu",)),
    "a >= 0": Mistake("relu a >= 0", FORGOTTEN, kinds=("relu",)),
    "its constant": Mistake("leaky's constant", OTHER, kinds=("leaky",)),
    "relu's": Mistake("another activation's", OTHER, kinds=("sigmoid", "tanh", "leaky")),
    "sigmoid's": Mistake("another activation's", OTHER, kinds=("tanh", "relu")),
    "leaky's": Mistake("another activation's", OTHER, kinds=("sigmoid", "tanh", "relu")),
    "f'(z(l-1))": Mistake("f'(z(l-1))", ELSEWHERE, (ONE, EVERY), HIDDEN_KINDS, needs="same", first=2),
    "f'(z(l+1))": Mistake("f'(z(l+1))", ELSEWHERE, (ONE, HIDDEN), HIDDEN_KINDS, needs="same"),
    "f'(a(l-1))": Mistake("f'(a(l-1))", ELSEWHERE, kinds=HIDDEN_KINDS, needs="same"),
    "slope twice": Mistake("slope twice", _names("slope taken twice")),
    "sigmoid twice": Mistake(
        "slope twice, sigmoid with cross-entropy",
        _names("slope taken twice", "sigmoid's derivative applied twice"),
        TOP,
        losses=BINARY,
    ),
    "the diagonal alone": Mistake(
        "softmax's diagonal, squares", _names("softmax's diagonal alone"), TOP, ("softmax",), SQUARES
    ),
    "only the diagonal": Mistake(
        "softmax's diagonal, cross-entropy", _names("softmax's derivative applied twice"), TOP, losses=SOFTMAX
    ),
    "softmax twice": Mistake("softmax twice", _names("softmax's derivative applied twice"), TOP, losses=SOFTMAX),
    "p - y beside squares": Mistake("p - y beside squares", FORGOTTEN, TOP, ("softmax",), SQUARES),
    "-y/p": Mistake("-y/p as dE/dz", _names("dE/dp taken as dE/dz"), TOP, losses=SOFTMAX),
    "dE/dp": Mistake("dE/dp as dE/dz", FORGOTTEN | _names("dE/dp taken as dE/dz"), TOP, losses=BINARY),
    "p alone": Mistake("delta = p", INCOMPLETE, TOP, losses=SOFTMAX),
    "-y": Mistake("delta = -y", INCOMPLETE, TOP, losses=SOFTMAX),
    "only the true class": Mistake("only at the true class", INCOMPLETE, TOP, losses=SOFTMAX),
    "shifted": Mistake("labels shifted", _names("labels shifted by one"), TOP, losses=SOFTMAX, values=_one_of(1, -1)),
    "shifted, lost": Mistake(
        "labels shifted", _names("labels shifted by one"), TOP, losses=SOFTMAX, values=_one_of(1, -1)
    ),
    "over the samples": Mistake("wrong axis", _names("softmax over the wrong axis"), TOP, losses=SOFTMAX),
    "over all entries": Mistake(
        "wrong axis", _names("softmax over the wrong axis"), TOP, losses=SOFTMAX, needs="batch"
    ),
    "second term left out": Mistake(
        "second term left out", _names("binary cross-entropy's second term"), TOP, losses=BINARY
    ),
    "second term's sign": Mistake(
        "second term's sign", _names("binary cross-entropy's second term"), TOP, losses=BINARY
    ),
    "swapped": Mistake("y - p", _names("sign or prediction and target swapped"), TOP),
    "db from dW": Mistake("db = dW summed over inputs", _names("db made from dW")),
    "one number": Mistake("one number for all", NUMBER),
    "one number for all": Mistake("one number for all", NUMBER),
    "db not summed": Mistake("db not summed", DB, needs="batch"),
    "db's mean": Mistake("db's mean", DB, needs="batch"),
    "first row in db": Mistake("db not summed", DB | ONE_ROW, needs="batch"),
    "no weights": Mistake("W missing", _names("weights left out on the way back"), (ONE, EVERY), first=2),
    "W for W^T": Mistake(
        "W for W^T", _names("transposed weights in the backward pass"), (ONE, EVERY), needs="square", first=2
    ),
    "1/n a layer": Mistake("1/n at every layer", _names("1/n twice"), needs="batch", values=_factor("1/n")),
    "last row": Mistake("last row only", ONE_ROW, needs="batch"),
    "last row in dW": Mistake("last row only", ONE_ROW, needs="batch"),
    "last row in db": Mistake("last row only", ONE_ROW, needs="batch"),
    **{
        name: Mistake(
            "(n, n) by broadcasting",
            _names("(n, 1) against (n,) broadcast to (n, n)"),
            TOP,
            losses="half mean binary",
            needs="batch column",
        )
        for name in ("against (n,)", "against (n,), summed", "(n,) against", "(n,) against, summed")
    },
    "a column of labels": Mistake(
        "p minus a column of labels", _names("class numbers in place of one-hot rows"), TOP, losses=SOFTMAX
    ),
    "dW transposed": Mistake("dW transposed", _names("dW transposed"), (ONE,), needs="square several"),
    "backward order": Mistake("backward order", _names("the list in backward order"), TOP, needs="several"),
    "own a": Mistake("a(l) enters", _names("a of the wrong layer"), needs="square"),
    "z entering": Mistake("z(l-1) enters", _names("a of the wrong layer"), (ONE, EVERY), first=2),
    "penalty on the biases": Mistake("L2 on the biases", _names("penalty on the biases"), needs="decay"),
    "penalty without its 2": Mistake("L2 without its 2", _names("the penalty's derivative"), needs="decay"),
    "penalty left out": Mistake("L2 left out", _names("the penalty's derivative"), needs="decay"),
    **{
        name: Mistake(f"dropout: {name}", _names("dropout in the backward pass"), (ONE, HIDDEN), needs="mask several")
        for name in ("mask left out", "scale left out", "mask and scale left out")
    },
    **{
        name: Mistake(
            f"normalization: {name}",
            _names("batch normalization's own statistics"),
            (ONE, HIDDEN),
            needs="norm batch several",
        )
        for name in ("mean and variance left out", "the mean left out", "the variance left out")
    },
}
"""By its key in the loops; keys that begin with an array's or "everything times" hold the factor's name behind it."""


def key(name: str) -> str:
    """The name that the loops know: "dW times 2" is "dW times" with a value."""
    return next((start for start in ("dW times", "db times", "delta times", "everything times") if start in name), name)


def places(net: Network, name: str, where: str, rng: np.random.Generator) -> tuple[int, ...]:
    """The layers where a mistake is made; empty where it cannot be."""
    mistake = MISTAKES[name]
    count, loss = len(net), net.loss
    if loss not in mistake.losses.split() or ("column" in mistake.needs and net.y.shape[1] != 1):
        return ()
    if name in ("against (n,)", "(n,) against") and count > 1:  # (n, n) fits no weights below
        return ()
    if ("several" in mistake.needs and count == 1) or ("batch" in mistake.needs and len(net.x) == 1):
        return ()
    if key(name) in ("backward order", "everything times", "the step"):
        return tuple(range(1, count + 1))
    if key(name) in TOPS or name in ("the diagonal alone", "p - y beside squares"):
        return (count,) if not mistake.kinds or net.kinds[-1] in mistake.kinds else ()
    layers = [layer for layer in range(mistake.first, count + 1) if _possible(net, name, layer)]
    if where == HIDDEN:
        layers = [layer for layer in layers if layer < count or mistake.first == 2]
    if where == ONE and layers:
        layers = [int(rng.choice(layers))]
    return tuple(layers)


def _possible(net: Network, name: str, layer: int) -> bool:
    mistake, W, kind = MISTAKES[name], net.W[layer - 1], net.kinds[layer - 1]
    fused = layer == len(net) and net.fused
    own = mistake.kinds or ("sigmoid", "tanh", "relu", "leaky")
    if (name in SLOPES or mistake.kinds) and (fused or kind not in own):
        return False
    if name.startswith("one number") and W.shape[1] == 1:  # one bias is one number
        return False
    if "square" in mistake.needs and W.shape[0] != W.shape[1]:
        return False
    if "same" in mistake.needs:
        if name == "f'(z(l+1))":
            return layer < len(net) and net.W[layer].shape[1] == W.shape[1]
        return W.shape[0] == W.shape[1]
    if "three" in mistake.needs:
        return W.size >= 3 if key(name) != "db times" else W.shape[1] >= 3
    if "mask" in mistake.needs:
        return layer in net.masks
    return "norm" not in mistake.needs or layer in net.norms


def drawn(rng: np.random.Generator, name: str) -> Network:
    """A network of 1 to 4 layers for a mistake; whether it can be made there says `places`."""
    mistake = MISTAKES[name]
    count, n = int(rng.integers(1, 5)), int(rng.choice([1, 3, 5, 6]))
    widths = [int(w) for w in rng.integers(2, 8, count + 1)]
    if rng.random() < 0.5 or "same" in mistake.needs or "square" in mistake.needs:
        widths = [widths[0]] * (count + 1)
    loss = str(rng.choice(mistake.losses.split()))
    if "column" in mistake.needs or (loss != "softmax" and "softmax" not in mistake.kinds and rng.random() < 0.3):
        widths[-1] = 1
    pool = [kind for kind in mistake.kinds if kind != "softmax"] or list(HIDDEN_KINDS)
    kinds = [str(rng.choice(pool))] * count if rng.random() < 0.7 else [str(kind) for kind in rng.choice(pool, count)]
    if loss in ("softmax", "binary"):
        kinds[-1] = {"softmax": "softmax", "binary": "sigmoid"}[loss]
    elif "softmax" in mistake.kinds:
        kinds[-1] = "softmax"
    elif rng.random() < 0.3:
        kinds[-1] = "identity"
    return _filled(rng, mistake, widths, n, kinds, loss)


def _filled(
    rng: np.random.Generator, mistake: Mistake, widths: list[int], n: int, kinds: list[str], loss: str
) -> Network:
    pairs = list(itertools.pairwise(widths))
    k, count = widths[-1], len(pairs)
    y = rng.normal(size=(n, k))
    if loss == "softmax":
        y = np.eye(k)[rng.integers(0, k, n)]
    elif loss == "binary":
        y = rng.integers(0, 2, (n, k)).astype(float)
    net = Network(
        [rng.normal(size=shape) / np.sqrt(shape[0]) for shape in pairs],
        [rng.normal(size=width) * 0.5 for width in widths[1:]],
        rng.normal(size=(n, widths[0])),
        y,
        kinds,
        loss,
    )
    hidden = range(1, count)
    if "decay" in mistake.needs:
        net = replace(net, decay=float(rng.uniform(0.05, 0.5)))
    if "mask" in mistake.needs:
        rate = float(rng.choice([0.2, 0.5]))
        masks = {i: (rng.random((n, widths[i])) >= rate).astype(float) for i in hidden}
        net = replace(net, rate=rate, masks=masks)
    if "norm" in mistake.needs:
        net = replace(net, norms=tuple(hidden))
    return net
