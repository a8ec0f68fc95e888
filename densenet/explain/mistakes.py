"""The usual mistakes of a backward pass: a table.

With E(l) = dE/dA(l), D(l) = dE/dZ(l) and s = f'(Z(l)), a backward pass repeats three lines, and every mistake changes
one of them::

    D(l) = E(l) * s             LOSSES at the output, SLOPES everywhere
    dW(l) = A(l-1)^T D(l)       WEIGHTS
    db(l) = D(l)^T 1            BIASES
    E(l-1) = D(l) W(l)^T        PASSES, and RATES where weights were updated too early

A new mistake is one `Entry`: its name, what is right instead, and a function that makes the wrong array from what is
right up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from densenet._types import Array
from densenet.explain.chain import Chain, Stage
from densenet.layers.normalization import BatchNorm
from densenet.layers.rectifiers import LeakyReLU, ReLU
from densenet.layers.softmax import Softmax
from densenet.losses.binary import BinaryCrossEntropy, SigmoidCrossEntropy
from densenet.losses.crossentropy import SoftmaxCrossEntropy
from densenet.losses.regression import HalfSquaredError, MeanSquaredError


@dataclass(frozen=True, eq=False)
class Here:
    """Where a mistake is made: a dense layer, and the arrays that reach it.

    Attributes
    ----------
    chain : Chain
    place : int
        The dense layer, from 0.
    error, delta : ndarray (n, n_out)
        E and D of this layer; for PASSES and RATES E and D of the layer above.
    stage : Stage or None
        For SLOPES: the layer passed through; None where nothing follows the dense layer.
    """

    chain: Chain
    place: int
    error: Array
    delta: Array
    stage: Stage | None = None


Variants = Iterator[tuple[str, Array]]
"""How it was made wrong (empty where there is one way), and the wrong array."""


@dataclass(frozen=True)
class Entry:
    """One usual mistake.

    Attributes
    ----------
    name : str
    explanation : str
        What is right instead.
    make : callable
        From `Here` the wrong arrays.
    """

    name: str
    explanation: str
    make: Callable[[Here], Variants]


# -- the error at the output ---------------------------------------------------------------------------------------


def _classes(here: Here) -> tuple[Array, Array, Array] | None:
    """Logits, probabilities and one-hot rows, for a softmax at the output."""
    chain = here.chain
    last = chain.stages[-1][-1] if chain.stages[-1] else None
    if isinstance(chain.loss, SoftmaxCrossEntropy):
        z, p = chain.out[-1], chain.loss.probabilities(chain.out[-1])
    elif last is not None and isinstance(last.layer, Softmax):
        z, p = last.x, last.y
    else:
        return None
    target = chain.target
    t = np.eye(p.shape[1])[target.astype(int)] if target.ndim == 1 else target
    return (z, p, t.astype(np.float64)) if t.shape == p.shape else None


def _softmax_twice(here: Here) -> Variants:
    found, last = _classes(here), here.delta
    if found is not None:
        p = found[1]
        yield "the whole matrix", p * (last - (last * p).sum(axis=1, keepdims=True))
        yield "p (1 - p) alone", last * p * (1 - p)


def _sigmoid_twice(here: Here) -> Variants:
    if isinstance(here.chain.loss, SigmoidCrossEntropy):
        p = here.chain.loss.probabilities(here.chain.out[-1])
        yield "", here.delta * p * (1 - p)


def _by_log(here: Here) -> Variants:
    found = _classes(here)
    if found is not None:
        _, p, t = found
        yield "-y/p", -t / np.maximum(p, 1e-300) / len(p)
    if isinstance(here.chain.loss, SigmoidCrossEntropy):
        p = here.chain.loss.probabilities(here.chain.out[-1])
        yield "(p - y) / (p (1 - p))", here.delta / np.maximum(p * (1 - p), 1e-300)


def _without_labels(here: Here) -> Variants:
    found = _classes(here)
    if found is not None:
        _, p, t = found
        yield "p alone", p / len(p)
        yield "p - y at the true class alone", (p - t) * t / len(p)
        yield "-y", -t / len(p)


def _shifted(here: Here) -> Variants:
    found = _classes(here)
    if found is None:
        return
    _, p, t = found
    for by in (1, -1):
        rolled = np.roll(t, by, axis=1)
        yield f"by {by:+d}", (p - rolled) / len(p)
        cut = rolled.copy()
        cut[:, 0 if by > 0 else -1] = 0
        yield f"by {by:+d}, the one at the end lost", (p - cut) / len(p)


def _wrong_axis(here: Here) -> Variants:
    found = _classes(here)
    if found is not None:
        z, _, t = found
        e = np.exp(z - z.max(axis=0))
        yield "over the samples", (e / e.sum(axis=0) - t) / len(z)
        e = np.exp(z - z.max())
        yield "over all entries", (e / e.sum() - t) / len(z)


def _label_column(here: Here) -> Variants:
    found = _classes(here)
    if found is not None:
        _, p, t = found
        yield "", (p - t.argmax(axis=1)[:, None]) / len(p)


def _binary_terms(here: Here) -> Variants:
    chain, loss = here.chain, here.chain.loss
    if not isinstance(loss, (BinaryCrossEntropy, SigmoidCrossEntropy)) or chain.target.shape != chain.out[-1].shape:
        return
    y, out = chain.target, chain.out[-1]
    p = out if isinstance(loss, BinaryCrossEntropy) else loss.probabilities(out)
    first, second = -y / np.maximum(p, 1e-12) / p.size, (1 - y) / np.maximum(1 - p, 1e-12) / p.size
    ways = {"left out": first, "with the wrong sign": first - second, "alone, the first left out": second}
    for way, error in ways.items():
        slope = p * (1 - p) if isinstance(loss, SigmoidCrossEntropy) else 1.0
        yield way, chain.back(here.place, error * slope)


def _by_broadcasting(here: Here) -> Variants:
    chain, loss, rows = here.chain, here.chain.loss, here.chain.rows
    out = chain.out[-1]
    slopes = [stage.slope for stage in chain.stages[-1] if stage.slope is not None]
    if rows == 1 or out.shape != (rows, 1) or chain.target.size != rows or len(slopes) < len(chain.stages[-1]):
        return
    if isinstance(loss, (MeanSquaredError, HalfSquaredError)):
        scale, made = (2 if isinstance(loss, MeanSquaredError) else 1) / rows, out
    elif isinstance(loss, (SigmoidCrossEntropy, BinaryCrossEntropy)):
        fused = isinstance(loss, SigmoidCrossEntropy)
        scale, made, slopes = 1 / rows, loss.probabilities(out) if fused else out, []
    else:
        return
    slope = np.prod(slopes, axis=0) if slopes else np.ones_like(out)
    target = chain.target.reshape(rows, 1)
    for text, every in (("", scale * (made - target.T)), (", y^ as (n,)", scale * (made.T - target))):
        yield f"all of it{text}", every * (slope.T if text else slope)
        yield f"summed over its columns{text}", every.sum(axis=1, keepdims=True) * slope
        yield f"its mean over columns{text}", every.mean(axis=1, keepdims=True) * slope
        yield f"its mean over rows{text}", every.mean(axis=0)[:, None] * slope


LOSSES = (
    Entry(
        "softmax's derivative applied twice", "p - y is dE/dz already: softmax's derivative is in it.", _softmax_twice
    ),
    Entry(
        "sigmoid's derivative applied twice",
        "p - y is dE/dz already: the sigmoid's derivative is in it.",
        _sigmoid_twice,
    ),
    Entry("dE/dp taken as dE/dz", "dE/dp is not dE/dz: softmax or the sigmoid makes dE/dz = p - y of it.", _by_log),
    Entry(
        "p - y incomplete", "dE/dz = p - y in every class: p at the wrong ones, p - 1 at the true one.", _without_labels
    ),
    Entry("labels shifted by one", "The 1 of a one-hot row stands at its class, counted from 0.", _shifted),
    Entry("softmax over the wrong axis", "Softmax normalises every row: its sum runs over the classes.", _wrong_axis),
    Entry(
        "class numbers in place of one-hot rows",
        "y in p - y is one-hot: a row of 0 with a 1 at its class.",
        _label_column,
    ),
    Entry(
        "binary cross-entropy's second term",
        "dE/dp = -y/p + (1 - y)/(1 - p): both terms, with these signs; through the sigmoid p - y.",
        _binary_terms,
    ),
    Entry(
        "(n, 1) against (n,) broadcast to (n, n)",
        "(n, 1) minus (n,) is an (n, n) matrix of every pair: reshape y to (n, 1).",
        _by_broadcasting,
    ),
)

# -- slopes --------------------------------------------------------------------------------------------------------


def _sigmoid_slope(z: Array) -> Array:
    a = 1 / (1 + np.exp(-z))
    return a * (1 - a)


FORMULAS: tuple[tuple[str, Callable[[Array, Array], Array]], ...] = (
    ("1 - a", lambda z, a: 1 - a),
    ("a", lambda z, a: a),
    ("a (1 - a)", lambda z, a: a * (1 - a)),
    ("1 - a^2", lambda z, a: 1 - a**2),
    ("-a^2", lambda z, a: -(a**2)),
    ("1 + a^2", lambda z, a: 1 + a**2),
    ("1 + a", lambda z, a: 1 + a),
    ("a^2", lambda z, a: a**2),
    ("z (1 - z)", lambda z, a: z * (1 - z)),
    ("1 - z^2", lambda z, a: 1 - z**2),
    ("1 - z", lambda z, a: 1 - z),
    ("z", lambda z, a: z),
)
"""Slopes that people write from memory, of z and of a = f(z)."""

OTHERS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("the sigmoid's", _sigmoid_slope),
    ("tanh's", lambda z: 1 - np.tanh(z) ** 2),
    ("ReLU's", lambda z: (z > 0) * 1.0),
    ("LeakyReLU's (0.01)", lambda z: np.where(z > 0, 1.0, 0.01)),
)


def _forgotten(here: Here) -> Variants:
    if here.stage is not None and (here.stage.activation is not None or isinstance(here.stage.layer, Softmax)):
        yield "", here.error.copy()


def _at_activation(here: Here) -> Variants:
    stage = here.stage
    if stage is None:
        return
    if stage.activation is not None:
        yield "", here.error * stage.slope_at(stage.y)
    elif isinstance(stage.layer, Softmax):
        q = stage.layer.infer(stage.y)
        yield "", q * (here.error - (here.error * q).sum(axis=1, keepdims=True))


def _formulas(here: Here) -> Variants:
    stage = here.stage
    if stage is not None and stage.activation is None:
        return
    z = here.chain.z[here.place] if stage is None else stage.x
    a = z if stage is None else stage.y
    for text, formula in FORMULAS:
        yield text, here.error * formula(z, a)


def _others(here: Here) -> Variants:
    stage = here.stage
    if stage is not None and stage.activation is None:
        return
    z = here.chain.z[here.place] if stage is None else stage.x
    for text, slope in OTHERS[stage is None and isinstance(here.chain.loss, SigmoidCrossEntropy) :]:
        yield text, here.error * slope(z)
    if stage is not None and isinstance(stage.layer, LeakyReLU):
        yield "the constant slope of its negative side", here.error * stage.layer.negative_slope


def _by_delta(here: Here) -> Variants:
    stage = here.stage
    if stage is not None and isinstance(stage.layer, (ReLU, LeakyReLU)):
        yield "", here.error * stage.slope_at(here.error)


def _elsewhere(here: Here) -> Variants:
    stage, chain = here.stage, here.chain
    if stage is None or stage.activation is None:
        return
    width = stage.x.shape[1]
    for other, z in enumerate(chain.z):
        by = other - here.place
        if by and z.shape[1] == width:
            yield f"f' at z(l{by:+d})", here.error * stage.slope_at(z)
            f = chain.stages[other][0] if chain.stages[other] else None
            if f is not None and f.slope is not None and type(f.layer) is not type(stage.layer):
                yield f"the slope of layer l{by:+d}", here.error * f.slope
    if chain.into[here.place].shape[1] == width:
        yield "f' at a(l-1)", here.error * stage.slope_at(chain.into[here.place])
    if here.place + 1 < len(chain) and chain.out[here.place + 1].shape[1] == width:
        yield "f' at a(l+1)", here.error * stage.slope_at(chain.out[here.place + 1])


def _twice(here: Here) -> Variants:
    if here.stage is None:
        return
    if here.stage.activation is not None and here.stage.slope is not None:
        yield "", here.error * here.stage.slope**2
    elif isinstance(here.stage.layer, Softmax) and here.place + 1 < len(here.chain):
        yield "", here.stage.back(here.stage.back(here.error))


def _diagonal(here: Here) -> Variants:
    if here.stage is not None and isinstance(here.stage.layer, Softmax):
        p = here.stage.y
        yield "", here.error * p * (1 - p)


def _mask(here: Here) -> Variants:
    if here.stage is not None and here.stage.factor is not None:
        F = here.stage.factor
        scale = float(F.max())
        yield "the mask left out", here.error * scale
        yield "its 1 / (1 - rate) left out", here.error * (F > 0)
        yield "mask and scale left out", here.error


def _normalization(here: Here) -> Variants:
    if here.stage is None or not isinstance(here.stage.layer, BatchNorm):
        return
    layer, x, d = here.stage.layer, here.stage.x, here.error
    root = np.sqrt(x.var(axis=0) + layer.eps)
    xhat = (x - x.mean(axis=0)) / root
    mean, variance = d.mean(axis=0), xhat * (d * xhat).mean(axis=0)
    yield "the mean's and the variance's terms left out", layer.gamma / root * d
    yield "the mean's term left out", layer.gamma / root * (d - variance)
    yield "the variance's term left out", layer.gamma / root * (d - mean)


FORGOTTEN = Entry("slope forgotten", "dE/dz = dE/da f'(z): the factor f'(z) is missing.", _forgotten)

SLOPES = (
    FORGOTTEN,
    Entry(
        "slope taken at a instead of z",
        "The slope is f' at the weighted sum z; it was taken at the activation a = f(z).",
        _at_activation,
    ),
    Entry("slope taken twice", "dE/dz = dE/da f'(z): f'(z) once.", _twice),
    Entry(
        "slope by a wrong formula",
        "In a = f(z), the sigmoid's slope is a (1 - a), tanh's 1 - a^2, ReLU's 1 where z > 0 and else 0.",
        _formulas,
    ),
    Entry("slope of another activation", "Every layer takes the slope of its own activation.", _others),
    Entry(
        "slope by the delta's sign",
        "ReLU's slope is 1 where z > 0, whatever the sign of the error passed back.",
        _by_delta,
    ),
    Entry("slope of another layer", "dE/dz(l) = dE/da(l) f'(z(l)): the slope at this layer's own z.", _elsewhere),
    Entry("softmax's diagonal alone", "dE/dz_j = sum_k dE/dp_k dp_k/dz_j: k other than j counts too.", _diagonal),
    Entry(
        "dropout in the backward pass", "The delta goes through the same mask, times the same 1 / (1 - rate).", _mask
    ),
    Entry(
        "batch normalization's own statistics",
        "Mean and variance depend on x: dE/dx = gamma/sigma (D - mean D - x^ mean(D x^)), means over the batch.",
        _normalization,
    ),
)

# -- on the way back -----------------------------------------------------------------------------------------------


def _undifferentiated(here: Here) -> Variants:
    W = here.chain.weights[here.place + 1]
    if here.error.shape[1] == W.shape[1]:
        yield "", here.error @ W.T


def _transposed(here: Here) -> Variants:
    W = here.chain.weights[here.place + 1]
    if W.shape[0] == W.shape[1]:
        yield "", here.delta @ W


def _without_weights(here: Here) -> Variants:
    W, D = here.chain.weights[here.place + 1], here.delta
    total = D.sum(axis=1, keepdims=True)
    yield "the deltas' sum", np.repeat(total, W.shape[0], axis=1)
    if D.shape[1] == W.shape[0]:
        yield "the delta itself", D
    if D.shape[1] > 1:
        yield "the deltas' mean", np.repeat(total / D.shape[1], W.shape[0], axis=1)


def _other_weights(here: Here) -> Variants:
    chain, D = here.chain, here.delta
    own = chain.weights[here.place + 1]
    for place, W in enumerate(chain.weights):
        if place != here.place + 1 and W.shape == own.shape:
            yield f"w(l{place - here.place:+d})", D @ W.T
        if place != here.place + 1 and W.shape == own.shape[::-1] and own.shape[0] != own.shape[1]:
            yield f"w(l{place - here.place:+d}), not transposed", D @ W


PASSES = (
    Entry(
        "error passed on without its slope",
        "What passes on is dE/da(l-1) = dE/dz(l) W(l)^T; dE/da(l) W(l)^T was passed on, before its slope.",
        _undifferentiated,
    ),
    Entry(
        "transposed weights in the backward pass",
        "dE/da of the layer before is dE/dz W^T, with W (in, out); W was taken.",
        _transposed,
    ),
    Entry(
        "weights left out on the way back", "dE/da(l-1) = dE/dz(l) W(l)^T: every delta by its weight.", _without_weights
    ),
    Entry("weights of another layer", "dE/da(l-1) = dE/dz(l) W(l)^T takes the weights of layer l.", _other_weights),
)

_LATE = "The delta has to pass through the old weights: update afterwards."


def _delta_lost(here: Here) -> Variants:
    yield "delta", here.delta


def _error_lost(here: Here) -> Variants:
    if here.error.shape == here.delta.shape:
        yield "error", here.error


RATES = (
    Entry("weights updated before the delta passed on", _LATE, _delta_lost),
    Entry(
        "error passed on without its slope, through updated weights",
        "What passes on is dE/da(l-1) = dE/dz(l) W(l)^T, with the slope in dE/dz and W as it was before the update.",
        _error_lost,
    ),
)
"""What is passed on through W - alpha dW in place of D W^T."""

# -- arrays --------------------------------------------------------------------------------------------------------


def _wrong_input(here: Here) -> Variants:
    chain = here.chain
    for place in range(len(chain)):
        by = place - here.place
        if by:
            yield f"a(l{by - 1:+d})" if by != 1 else "a(l)", chain.into[place].T @ here.delta
        yield f"z(l{by:+d})" if by else "z(l)", chain.z[place].T @ here.delta
    by = len(chain) - 1 - here.place
    logits = chain.loss.task != "regression" and chain.loss.expects == "logits"
    last = chain.loss.probabilities(chain.out[-1]) if logits else chain.out[-1]
    yield f"a(l{by:+d})" if by else "a(l)", last.T @ here.delta


def _one_row(here: Here) -> Variants:
    n = here.chain.rows
    if n > 1:
        for text, row in (("last", slice(n - 1, n)), ("first", slice(0, 1))):
            made = here.chain.into[here.place][row].T @ here.delta[row]
            yield f"the {text} row's part of the mean", made
            yield f"the {text} row's own gradient", n * made


def _turned(here: Here) -> Variants:
    yield "", (here.chain.into[here.place].T @ here.delta).T


def _bare(here: Here) -> Variants:
    if here.error.shape == here.delta.shape:
        yield "", here.chain.into[here.place].T @ here.error


def _input_left_out(here: Here) -> Variants:
    A, D = here.chain.into[here.place], here.delta
    yield "the delta's sum in every row", np.repeat(D.sum(axis=0)[None, :], A.shape[1], axis=0)


def _no_weights(here: Here) -> Variants:
    yield "", np.zeros((here.chain.into[here.place].shape[1], here.delta.shape[1]))


_ONE_ROW = "only one row counts"
BARE = "slope missing in one array alone"
ZERO = "left at zero"

WEIGHTS = (
    Entry(
        "a of the wrong layer",
        "dE/dw(l) takes the activation that enters layer l: a(l-1), transposed, times dE/dz(l).",
        _wrong_input,
    ),
    Entry(_ONE_ROW, "A batch's gradient sums over its rows: add up, do not overwrite.", _one_row),
    Entry("dW transposed", "dE/dW = A^T D has the shape of W, (in, out); D^T A was taken.", _turned),
    Entry(BARE, "dE/dW = A^T dE/dz and dE/db = sum of dE/dz; dE/da was taken.", _bare),
    Entry(
        "the input left out of dW",
        "dE/dw_{i,j} = a_i dE/dz_j: the activation a_i that enters is a factor.",
        _input_left_out,
    ),
    Entry(ZERO, "The array holds nothing but 0: was it filled?", _no_weights),
)


def _summed_inputs(here: Here) -> Variants:
    dW = here.chain.into[here.place].T @ here.delta
    yield "its sum over inputs", dW.sum(axis=0)
    yield "its mean over inputs", dW.mean(axis=0)


def _one_number(here: Here) -> Variants:
    for text, value in (("the sum", here.delta.sum()), ("the mean", here.delta.mean())):
        for shape in ((), (1,), (1, 1), (here.delta.shape[1],)):
            yield f"{text} of all", np.full(shape, value)


def _unsummed(here: Here) -> Variants:
    D = here.delta
    if len(D) > 1:
        yield "the mean over rows was taken", D.mean(axis=0)
    yield "dE/dz itself, unsummed", D
    yield "dE/dz itself, unsummed", D.T
    yield "summed over the wrong axis", D.sum(axis=1)
    if len(D) > 1:
        yield "only the first row counts", D[0]
        yield "only the last row counts", D[-1]


def _one_row_bias(here: Here) -> Variants:
    n = here.chain.rows
    if n > 1:
        for text, row in (("last", -1), ("first", 0)):
            yield f"the {text} row's part of the mean", here.delta[row]
            yield f"the {text} row's own gradient", n * here.delta[row]


def _bare_bias(here: Here) -> Variants:
    if here.error.shape == here.delta.shape:
        yield "", here.error.sum(axis=0)


def _no_bias(here: Here) -> Variants:
    yield "", np.zeros(here.delta.shape[1])


def _decayed(here: Here) -> Variants:
    b, decay = here.chain.biases[here.place], here.chain.decays[here.place]
    if b is not None and decay:
        db = here.delta.sum(axis=0)
        yield "2 lambda b added", db + 2 * decay * b
        yield "lambda b added", db + decay * b


BIASES = (
    Entry("db not summed", "dE/db is the sum of dE/dz over the rows: every sample adds its part.", _unsummed),
    Entry("db made from dW", "dE/db_j is the sum of dE/dz_j over the rows; no input is a factor.", _summed_inputs),
    Entry(
        "one number for every bias",
        "dE/db_j = sum over rows of dE/dz_j: one number a neuron; sum over axis 0.",
        _one_number,
    ),
    Entry(_ONE_ROW, "A batch's gradient sums over its rows: add up, do not overwrite.", _one_row_bias),
    Entry(BARE, "dE/dW = A^T dE/dz and dE/db = sum of dE/dz; dE/da was taken.", _bare_bias),
    Entry(ZERO, "The array holds nothing but 0: was it filled?", _no_bias),
    Entry("penalty on the biases", "The penalty is lambda times the sum of w^2: it takes weights alone.", _decayed),
)

# -- factors, penalties, order -------------------------------------------------------------------------------------

SIGN, TWO, SUM, AGAIN = (
    "sign or prediction and target swapped",
    "2/n beside 1/n",
    "sum in place of mean",
    "1/n twice",
)
FACTOR, STEP, PENALTY, BACKWARD = (
    "a constant factor",
    "the step in place of the gradient",
    "the penalty's derivative",
    "the list in backward order",
)

PENALTIES = {"left out": 0.0, "without its 2": 0.5, "twice too large": 2.0, "with the wrong sign": -1.0}
"""What the penalty's derivative was multiplied by."""

SCOPES = {
    "slope forgotten everywhere": "dE/dz = dE/da f'(z): no layer multiplied by f'(z).",
    "slope forgotten at the output only": "At the output, dE/dz = dE/dy^ f'(z): the factor f'(z) is missing there.",
    "slope forgotten in the hidden layers": "Below the output, dE/dz = dE/da f'(z): the factor f'(z) is missing there.",
    "slope forgotten in one layer": "dE/dz = dE/da f'(z): the factor f'(z) is missing in this layer.",
    "slope forgotten in several layers": "dE/dz = dE/da f'(z): the factor f'(z) is missing in these layers.",
}

EXPLAINED = SCOPES | {
    entry.name: entry.explanation
    for entry in (*LOSSES, *SLOPES, *PASSES, *RATES, *WEIGHTS, *BIASES)
    if entry is not FORGOTTEN
}
EXPLAINED |= {
    SIGN: "The sign is wrong: y - y^ in place of y^ - y, or the step's minus.",
    TWO: "A factor of 2 too much or too little: the 2 of a square's derivative, or the 1/2 before it.",
    SUM: "E is a mean, and the gradient of the sum was taken: divide by the number it is a mean of.",
    AGAIN: "The mean's 1/n was taken twice, in the loss and in the layers: it belongs in the loss, once.",
    FACTOR: "Every entry is the same number times the right one: look for a factor too much or too little.",
    STEP: "dE/dw was multiplied by the learning rate: that belongs in the update, w - alpha dE/dw.",
    PENALTY: "E = loss + lambda sum w^2 adds 2 lambda w to dE/dw.",
    BACKWARD: "The first pair belongs to layer 1: a backward pass finds the last layer's first, turn the list round.",
}


@dataclass(frozen=True)
class Mistake:
    """A mistake that gives exactly the given numbers.

    Attributes
    ----------
    name : str
    detail : str
        Where and how on this network.
    layers : tuple of int
        The dense layers, from 1, where it is made.
    """

    name: str
    detail: str = ""
    layers: tuple[int, ...] = ()

    @property
    def explanation(self) -> str:
        """What the mistake is, and what would be right."""
        return EXPLAINED[self.name]
