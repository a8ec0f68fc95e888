"""A step on one row: every number of every neuron on a line of its own."""

from __future__ import annotations

import numpy as np

from densenet._types import Array
from densenet.explain.notation import Line, Section, digits, signed
from densenet.explain.quantities import Quantities
from densenet.layers.softmax import LogSoftmax, Softmax
from densenet.losses.binary import BinaryCrossEntropy, SigmoidCrossEntropy
from densenet.losses.crossentropy import CategoricalCrossEntropy, SoftmaxCrossEntropy
from densenet.losses.regression import HalfSquaredError, MeanSquaredError

_Sides = tuple[str, str]
"""A formula with names, and the same with numbers."""


def sections(step: Quantities, error: float) -> list[Section]:
    """Forward pass, error and backward pass."""
    forward = [_forward(step, number) for number in range(1, step.count + 1)]
    backward = [_backward(step, number) for number in range(step.count, 0, -1)]
    return [*forward, Section("The error", *_error(step, error)), *backward]


def _neurons(name: str, count: int) -> list[str]:
    return [f"{name}_{j + 1}" for j in range(count)]


def _sum(names: list[str], factors: list[str], values: Array, others: Array) -> _Sides:
    """A sum of products by name, and with its numbers."""
    formula = " + ".join(f"{a} x {b}" for a, b in zip(names, factors, strict=True))
    return formula, " + ".join(f"{signed(a)} x {signed(b)}" for a, b in zip(values, others, strict=True))


# -- forward -------------------------------------------------------------------------------------------------------


def _forward(step: Quantities, number: int) -> Section:
    (W, b), z, a = step.old[number - 1], step.z[number - 1][0], step.a[number - 1][0]
    before, into = (step.a0, "a(0)") if number == 1 else (step.a[number - 2], f"a({number - 1})")
    lines = []
    for j in range(W.shape[1]):
        weights = [f"w({number})_{{{i + 1},{j + 1}}}" for i in range(len(W))]
        names, numbers = _sum(weights, _neurons(into, len(W)), W[:, j], before[0])
        if b is not None:
            names, numbers = f"{names} + b({number})_{j + 1}", f"{numbers} + {signed(b[j])}"
        lines.append(Line(f"z({number})_{j + 1}", names, numbers, float(z[j])))
    out = step.output(number)
    if number < step.count or not step.logits:
        lines += [Line(f"{out}_{j + 1}", *_activation(step, number, j), float(a[j])) for j in range(len(a))]
    last = " (the output layer)" if number == step.count else ""
    return Section(f"Forward pass: dense layer {number}{last}", step.sentence(number), tuple(lines))


def _activation(step: Quantities, number: int, j: int) -> _Sides:
    z, layers = step.z[number - 1][0], step.layers(number)
    zs = _neurons(f"z({number})", len(z))
    if layers and isinstance(layers[0], (Softmax, LogSoftmax)):
        formula, numbers = _softmax(zs, z, j)
        return (formula, numbers) if isinstance(layers[0], Softmax) else (f"log({formula})", f"log({numbers})")
    if layers and step.between[number - 1][0].kind == "mixing":
        return f"neuron {j + 1} of {type(layers[0]).__name__}(z({number}))", ""
    formula = step.applied(number, zs[j])
    return formula, formula.replace(zs[j], digits(z[j])) if layers else ""


def _softmax(names: list[str], values: Array, j: int) -> _Sides:
    formula = f"exp({names[j]}) / ({' + '.join(f'exp({name})' for name in names)})"
    return formula, f"exp({digits(values[j])}) / ({' + '.join(f'exp({digits(v)})' for v in values)})"


# -- the error -----------------------------------------------------------------------------------------------------


def _error(step: Quantities, error: float) -> tuple[tuple[str, ...], tuple[Line, ...]]:
    """Sentences and lines of the error."""
    loss, target = step.subject.loss, step.subject.target[0]
    if isinstance(loss, (HalfSquaredError, MeanSquaredError)):
        return (), (Line("E", *_squares(step, isinstance(loss, HalfSquaredError)), error),)
    lines = []
    if step.subject.target.ndim == 1:
        lines.append(Line("y", f"class {target}", remark=f"classes count from 0: output {target + 1}"))
    else:
        lines += [Line(f"y_{j + 1}", value=float(t)) for j, t in enumerate(target)]
    sentences: tuple[str, ...] = ()
    if step.logits and step.meets:
        one = "softmax" if isinstance(loss, SoftmaxCrossEntropy) else "the sigmoid"
        sentences = (f"p is the prediction: {one} makes probabilities of the last sums z({step.count}), the logits.",)
        lines += _probabilities(step)
    formula, numbers = _entropy(step)
    out = step.output(step.count)
    lines.append(Line("E", formula or f"{type(loss).__name__} of {out} and y", numbers, error))
    return sentences, tuple(lines)


def _squares(step: Quantities, half: bool) -> _Sides:
    out, target = step.a[-1][0], step.subject.target[0]
    share = "1/2" if half else f"1/{len(out)}"
    names = " + ".join(f"(y^_{j + 1} - y_{j + 1})^2" for j in range(len(out)))
    numbers = " + ".join(f"({digits(a)} - {signed(y)})^2" for a, y in zip(out, target, strict=True))
    return f"{share} ({names})", f"{share} ({numbers})"


def _probabilities(step: Quantities) -> list[Line]:
    logits = step.z[-1][0]
    zs = _neurons(f"z({step.count})", len(logits))
    lines = []
    for j, name in enumerate(zs):
        formula, numbers = f"1 / (1 + exp(-{name}))", f"1 / (1 + exp({digits(-logits[j])}))"
        if not isinstance(step.subject.loss, SigmoidCrossEntropy):
            formula, numbers = _softmax(zs, logits, j)
        lines.append(Line(f"p_{j + 1}", formula, numbers, float(step.p[0, j]), "probability"))
    return lines


def _entropy(step: Quantities) -> _Sides:
    """E from probabilities and targets, without the terms in which a target is 0; empty for another loss."""
    loss = step.subject.loss
    binary = isinstance(loss, (BinaryCrossEntropy, SigmoidCrossEntropy))
    if step.meets and isinstance(loss, (SoftmaxCrossEntropy, CategoricalCrossEntropy, SigmoidCrossEntropy)):
        p, y = step.p[0], step.y[0]
    elif isinstance(loss, BinaryCrossEntropy) and not loss.label_smoothing:
        p, y = step.a[-1][0], step.subject.target[0]
    else:
        return "", ""
    names, numbers = [], []
    for name, p_j, y_j, y_name in zip(_neurons(step.probability, len(p)), p, y, _neurons("y", len(p)), strict=True):
        terms = [(y_j, y_name, name, p_j)]
        terms += [(1 - y_j, f"(1 - {y_name})", f"1 - {name}", 1 - p_j)] if binary else []
        for share, share_name, of, value in terms:
            if share:
                names.append(f"log({of})" if share == 1 else f"{share_name} x log({of})")
                numbers.append(f"log({digits(value)})" if share == 1 else f"{digits(share)} x log({digits(value)})")
    mean = f"1/{len(p)} " if binary and len(p) > 1 else ""
    bracket = len(names) > 1 or bool(mean)
    formula, shown = (f"-{mean}({' + '.join(side)})" if bracket else f"-{side[0]}" for side in (names, numbers))
    return formula, shown


# -- backward ------------------------------------------------------------------------------------------------------


def _backward(step: Quantities, number: int) -> Section:
    lines = _deltas(step, number)
    dW, db = step.gradients[number - 1]
    before, dz = (step.a0 if number == 1 else step.a[number - 2])[0], step.dz[number - 1][0]
    for i, j in np.ndindex(dW.shape):
        name = f"a({number - 1})_{i + 1} x dE/dz({number})_{j + 1}"
        numbers = f"{signed(before[i])} x {signed(dz[j])}"
        lines.append(Line(f"dE/dw({number})_{{{i + 1},{j + 1}}}", name, numbers, float(dW[i, j])))
    for j in range(dW.shape[1] if db is not None else 0):
        lines.append(Line(f"dE/db({number})_{j + 1}", f"dE/dz({number})_{j + 1}", value=float(dz[j])))
    return Section(backward_title(step, number), (), tuple(lines))


def backward_title(step: Quantities, number: int) -> str:
    """Which layer the backward pass has reached."""
    hidden = "a hidden layer" if number < step.count - 1 else "the last hidden layer"
    which = "the output layer" if number == step.count else "the hidden layer" if step.count == 2 else hidden
    return f"Backward pass: dense layer {number}, {which}" + (", which the input enters" if number == 1 else "")


def _deltas(step: Quantities, number: int) -> list[Line]:
    """dE/da and dE/dz of a layer, from dE/dz of the layer after it."""
    da, dz, last = step.da[number - 1][0], step.dz[number - 1][0], number == step.count
    lefts = _neurons(f"dE/dz({number})", len(dz))
    if last and step.meets:
        p, y = step.p[0], step.y[0]
        names = [f"{step.probability}_{j + 1} - y_{j + 1}" for j in range(len(dz))]
        numbers = [f"{digits(p_j)} - {signed(y_j)}" for p_j, y_j in zip(p, y, strict=True)]
        rows = zip(lefts, names, numbers, dz, strict=True)
        return [Line(left, name, number, float(v)) for left, name, number, v in rows]
    if last and step.logits:
        remark = f"the derivative of {type(step.subject.loss).__name__}"
        return [Line(left, value=float(v), remark=remark) for left, v in zip(lefts, dz, strict=True)]
    name = "dE/dy^" if last else f"dE/da({number})"
    sides = [_output_error(step, j) if last else _passed(step, number, j) for j in range(len(da))]
    lines = [Line(f"{name}_{j + 1}", *side, float(da[j])) for j, side in enumerate(sides)]
    links = step.between[number - 1]
    if links and links[0].kind == "mixing":
        return [*lines, *_mixed(step, number, name)]
    for j in range(len(dz)):
        lines += step.slopes(number, j)
    for j, left in enumerate(lefts):
        slopes = [link for link in links if link.values is not None]
        formula = " x ".join([f"{name}_{j + 1}", *(link.slope_name(j) for link in slopes)])
        factors = [float(link.values[0, j]) for link in slopes if link.values is not None]
        lines.append(Line(left, formula, " x ".join(map(signed, [da[j], *factors])), float(dz[j])))
    return lines


def _passed(step: Quantities, number: int, j: int) -> _Sides:
    """dE/da of a hidden neuron from dE/dz of the layer after it."""
    W, following = step.old[number][0], step.dz[number][0]
    weights = [f"w({number + 1})_{{{j + 1},{k + 1}}}" for k in range(W.shape[1])]
    return _sum(weights, _neurons(f"dE/dz({number + 1})", W.shape[1]), W[j], following)


def _output_error(step: Quantities, j: int) -> _Sides:
    """dE/dy^ of one output; empty where the loss is not written out."""
    loss, out, k = step.subject.loss, float(step.a[-1][0, j]), step.a[-1].shape[1]
    if isinstance(loss, BinaryCrossEntropy) and not loss.label_smoothing and 0 < out < 1:
        y = float(step.subject.target[0, j])
        mean = f" / {k}" if k > 1 else ""
        formula = f"(y^_{j + 1} - y_{j + 1}) / (y^_{j + 1} x (1 - y^_{j + 1})){mean}"
        return formula, f"({digits(out)} - {digits(y)}) / ({digits(out)} x {digits(1 - out)}){mean}"
    if not isinstance(loss, (HalfSquaredError, MeanSquaredError)):
        return "", ""
    scale = 1.0 if isinstance(loss, HalfSquaredError) else 2 / k
    formula, numbers = f"y^_{j + 1} - y_{j + 1}", f"{digits(out)} - {signed(float(step.subject.target[0, j]))}"
    return (formula, numbers) if scale == 1 else (f"{digits(scale)} x ({formula})", f"{digits(scale)} x ({numbers})")


def _mixed(step: Quantities, number: int, name: str) -> list[Line]:
    """dE/dz through a layer in which every neuron depends on every other."""
    link, layer = step.between[number - 1][0], step.layers(number)[0]
    assert link.values is not None
    J, a, da, dz = link.values[0], step.a[number - 1][0], step.da[number - 1][0], step.dz[number - 1][0]
    outs = _neurons(step.output(number), len(a))
    lines = []
    for j, k in np.ndindex(J.shape):
        formula, numbers = _row_slope(layer, outs, a, j, k)
        lines.append(Line(f"{link.symbol}_{{{j + 1},{k + 1}}}", formula, numbers, float(J[j, k])))
    for j in range(len(dz)):
        slopes = [f"{link.symbol}_{{{j + 1},{k + 1}}}" for k in range(len(da))]
        lines.append(Line(f"dE/dz({number})_{j + 1}", *_sum(_neurons(name, len(da)), slopes, da, J[j]), float(dz[j])))
    return lines


def _row_slope(layer: object, names: list[str], a: Array, j: int, k: int) -> _Sides:
    """da_k/dz_j of softmax, a_k (1 - a_k) and -a_j a_k, and of its logarithm; empty for another layer."""
    if isinstance(layer, Softmax):
        if j == k:
            return f"{names[k]} x (1 - {names[k]})", f"{digits(a[k])} x {digits(1 - a[k])}"
        return f"-{names[j]} x {names[k]}", f"-{digits(a[j])} x {digits(a[k])}"
    if isinstance(layer, LogSoftmax):
        one = "1 - " if j == k else "-"
        return f"{one}exp({names[j]})", f"{one}exp({digits(a[j])})"
    return "", ""
