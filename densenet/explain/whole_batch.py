"""A step on a batch: every equation once, between whole arrays, with its numbers as a matrix."""

from __future__ import annotations

import numpy as np

from densenet._types import Array
from densenet.explain.notation import Grid, Line, Section, digits
from densenet.explain.one_row import backward_title
from densenet.explain.quantities import Quantities
from densenet.layers.softmax import LogSoftmax, Softmax
from densenet.losses.binary import BinaryCrossEntropy, SigmoidCrossEntropy
from densenet.losses.crossentropy import CategoricalCrossEntropy, SoftmaxCrossEntropy
from densenet.losses.regression import HalfSquaredError, MeanSquaredError


def sections(step: Quantities, error: float) -> list[Section]:
    """Forward pass, error and backward pass."""
    forward = [_forward(step, number) for number in range(1, step.count + 1)]
    backward = [_backward(step, number) for number in range(step.count, 0, -1)]
    return [*forward, _error(step, error), *backward]


def _neurons(left: str, formula: str, values: Array, remark: str = "") -> Grid:
    """One row of numbers for each row of x."""
    return Grid(Line(left, formula, remark=remark), values)


def weights(left: str, formula: str, values: Array, remark: str = "") -> Grid:
    """One row of numbers for each neuron that weights leave; of biases, one row."""
    table = np.atleast_2d(values)
    return Grid(Line(left, formula, remark=remark), table, "from" if values.ndim == 2 else "", "to", 1)


def _forward(step: Quantities, number: int) -> Section:
    W, b = step.old[number - 1]
    grids = [_neurons("a(0)", "x", step.a0)] if number == 1 else []
    grids.append(weights(f"W({number})", "", W))
    if b is not None:
        grids.append(weights(f"b({number})", "", b))
    bias = "" if b is None else f" + b({number})"
    grids.append(_neurons(f"z({number})", f"a({number - 1}) W({number}){bias}", step.z[number - 1]))
    last = number == step.count
    if not (last and step.logits):
        grids.append(_neurons(step.output(number), step.applied(number, f"z({number})"), step.a[number - 1]))
    title = f"Forward pass: dense layer {number}" + (" (the output layer)" if last else "")
    return Section(title, step.sentence(number), grids=tuple(grids))


def _error(step: Quantities, error: float) -> Section:
    loss, target = step.subject.loss, step.subject.target
    classes = target.ndim == 1
    remark = "class numbers, from 0" if classes else ""
    grids = [
        Grid(Line("y", remark=remark), target[:, None] if classes else target, columns="" if classes else "output")
    ]
    sentences: tuple[str, ...] = ()
    if step.logits and step.meets:
        binary = isinstance(loss, SigmoidCrossEntropy)
        z = f"z({step.count})"
        formula = f"1 / (1 + exp(-{z}))" if binary else f"exp({z}) / (the sum of exp({z}) over each row)"
        one = "the sigmoid" if binary else "softmax"
        sentences = (f"p is the prediction: {one} makes probabilities of the last sums {z}, the logits.",)
        grids.append(Grid(Line("p", formula), step.p, columns="output"))
    each = loss.per_sample(step.a[-1], target)
    grids.append(Grid(Line("E of each row", _error_formula(step)), each[:, None], columns=""))
    line = Line("E", "the mean of E over the rows", value=error)
    return Section("The error", sentences, (line,), grids=tuple(grids))


def _error_formula(step: Quantities) -> str:
    loss, k = step.subject.loss, step.a[-1].shape[1]
    p, mean = step.probability, f"1/{k} x " if k > 1 else ""
    if isinstance(loss, HalfSquaredError):
        return "1/2 x the sum over outputs of (y^ - y)^2"
    if isinstance(loss, MeanSquaredError):
        return f"{mean}the sum over outputs of (y^ - y)^2"
    binary = isinstance(loss, SigmoidCrossEntropy) and step.meets
    if binary or (isinstance(loss, BinaryCrossEntropy) and not loss.label_smoothing):
        return f"-{mean}the sum over outputs of y log({p}) + (1 - y) log(1 - {p})"
    if step.meets and isinstance(loss, (SoftmaxCrossEntropy, CategoricalCrossEntropy)):
        return (
            f"-log({p}) at the true class" if step.subject.target.ndim == 1 else f"-the sum over outputs of y log({p})"
        )
    return f"{type(loss).__name__} of {step.output(step.count)} and y"


def _backward(step: Quantities, number: int) -> Section:
    dW, db = step.gradients[number - 1]
    grids = _deltas(step, number)
    grids.append(weights(f"dE/dW({number})", f"a({number - 1})^T dE/dz({number})", dW))
    if db is not None:
        grids.append(weights(f"dE/db({number})", f"the sum of dE/dz({number}) over the rows", db))
    return Section(backward_title(step, number), grids=tuple(grids))


def _deltas(step: Quantities, number: int) -> list[Grid]:
    """dE/da, f' and dE/dz of a layer."""
    last, left, dz = number == step.count, f"dE/dz({number})", step.dz[number - 1]
    if last and step.meets:
        mean = f" / {step.rows}, as E is the mean over {step.rows} rows"
        return [_neurons(left, f"({step.probability} - y){mean}", dz)]
    if last and step.logits:
        return [_neurons(left, "", dz, f"the derivative of {type(step.subject.loss).__name__}")]
    name = "dE/dy^" if last else f"dE/da({number})"
    formula = _output_error(step) if last else f"dE/dz({number + 1}) W({number + 1})^T"
    grids = [_neurons(name, formula, step.da[number - 1])]
    links = step.between[number - 1]
    if links and links[0].kind == "mixing":
        return [*grids, _neurons(left, _mixed(step, number, name), dz)]
    symbols = []
    for link, formula in step.slope_formulas(number):
        symbols.append(link.symbol + (")" if link.symbol.startswith("f'") else ""))
        assert link.values is not None
        grids.append(_neurons(symbols[-1], formula, link.values))
    entry = ", entry by entry" if symbols else ""
    return [*grids, _neurons(left, " x ".join([name, *symbols]) + entry, dz)]


def _mixed(step: Quantities, number: int, name: str) -> str:
    layer, a = step.layers(number)[0], step.output(number)
    if isinstance(layer, Softmax):
        return f"{a} x ({name} - the sum of {name} x {a} over each row), entry by entry"
    if isinstance(layer, LogSoftmax):
        return f"{name} - exp({a}) x the sum of {name} over each row, entry by entry"
    return f"{name} through the derivatives of {type(layer).__name__}"


def _output_error(step: Quantities) -> str:
    """dE/dy^ of all outputs; empty where the loss is not written out."""
    loss, k = step.subject.loss, step.a[-1].shape[1]
    if isinstance(loss, HalfSquaredError):
        return f"(y^ - y) / {step.rows}, as E is the mean over {step.rows} rows"
    if isinstance(loss, MeanSquaredError):
        return f"{digits(2 / k)} x (y^ - y) / {step.rows}, as E is the mean over {step.rows} rows"
    if isinstance(loss, BinaryCrossEntropy) and not loss.label_smoothing:
        return f"(y^ - y) / (y^ x (1 - y^)) / {step.rows * k}, as E is the mean over {step.rows} rows" + (
            f" and {k} outputs" if k > 1 else ""
        )
    return ""
