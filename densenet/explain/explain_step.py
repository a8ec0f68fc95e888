"""One step of gradient descent with every number written out, in the order in which it is done.

Forward pass, error, output layer, the hidden layers from the last to the first, update: small networks are understood
by following each number by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import positive
from densenet.explain.graph import Graph, Link, delta_parts, trace
from densenet.explain.notation import Line, Section, digits, signed, to_html, to_latex, to_text
from densenet.explain.slopes import slope
from densenet.explain.subject import Subject
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.losses.base import Loss
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.crossentropy import SoftmaxCrossEntropy
from densenet.losses.regression import HalfSquaredError, MeanSquaredError
from densenet.sequential import Sequential

MOST_NUMBERS = 5_000
"""As many weights times rows as are written out."""


@dataclass(frozen=True, eq=False)
class ExplainedStep:
    """One step of plain gradient descent. `explain_step` makes it; printed, it is the derivation.

    Lists go by dense layer: entry 0 is dense layer 1. Rows are samples.

    Attributes
    ----------
    learning_rate : float
    error : float
        E before the step.
    x : ndarray (n, n_in)
    z : list of ndarray (n, n_out)
        Weighted sums.
    a : list of ndarray (n, n_out)
        Activations: what the next dense layer takes, and the output at last.
    dE_da, dE_dz : list of ndarray (n, n_out)
    dE_dW : list of ndarray (n_in, n_out)
    dE_db : list of ndarray (n_out,), or None for a layer without a bias
    W_new : list of ndarray (n_in, n_out)
    b_new : list of ndarray (n_out,), or None for a layer without a bias
    """

    learning_rate: float
    error: float
    x: Array
    z: list[Array]
    a: list[Array]
    dE_da: list[Array]
    dE_dz: list[Array]
    dE_dW: list[Array]
    dE_db: list[Array | None]
    W_new: list[Array]
    b_new: list[Array | None]
    _sections: list[Section] = field(repr=False)

    def to_text(self) -> str:
        """The derivation as plain text."""
        return to_text(self._sections)

    def to_latex(self) -> str:
        """The derivation in LaTeX: an ``aligned`` block for display mathematics."""
        return to_latex(self._sections)

    def to_html(self) -> str:
        """The derivation as a self-contained block of HTML without scripts."""
        return to_html(self._sections)

    __str__ = to_text

    def __repr__(self) -> str:
        return (
            f"<ExplainedStep of {len(self.z)} dense layers: E = {self.error:.6g}, learning_rate={self.learning_rate}>"
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_latex_(self) -> str:
        return f"$$\n{self.to_latex()}\n$$"


def explain_step(model: Sequential, loss: Loss | str, x: Any, y: Any, *, learning_rate: float = 0.5) -> ExplainedStep:
    """One step of plain gradient descent, w_new = w_old - alpha dE/dw, with every quantity named and its number.

    It goes in the order of the notes::

        forward     z(l) = a(l-1) W(l) + b(l)        a(l) = f(z(l))
        error       E(y^, y)
        backward    dE/dz(L) = dE/dy^ f'(z(L))       dE/da(l) = W(l+1) dE/dz(l+1)       dE/dz(l) = dE/da(l) f'(z(l))
                    dE/dw(l)_{i,j} = a(l-1)_i dE/dz(l)_j        dE/db(l)_j = dE/dz(l)_j
        update      w_new = w_old - alpha dE/dw

    It works on a float64 copy and layers behave as in prediction: nothing of the model changes. Frozen weights stay.

    Parameters
    ----------
    model : Sequential
        Dense layers in a chain with activations between them.
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    learning_rate : float, default 0.5
        alpha.

    Returns
    -------
    ExplainedStep

    Raises
    ------
    ValueError, TypeError
        If the network is too large to be written out, has containers, penalties, or parameters outside dense layers, or
        if x or y do not fit.

    References
    ----------
    .. [1] Nielsen, "Neural Networks and Deep Learning" (2015), chapter 2.

    Examples
    --------
    >>> import densenet as dn
    >>> model, loss, x, y = dn.datasets.notes_network()
    >>> step = dn.explain_step(model, loss, x, y, learning_rate=0.5)
    >>> [z.round(3).tolist() for z in step.z[:2]]
    [[[0.183, -0.136, 0.974]], [[0.109, 0.83]]]
    >>> print(step.to_text().splitlines()[-1])
      new b(4)_1     = b(4)_1 - alpha x dE/db(4)_1 = -0.1 - 0.5 x 0.0807734 = -0.140387
    """
    learning_rate = positive(learning_rate, "explain_step", "learning_rate")
    subject = Subject("explain_step", model, loss, x, y)
    _check_small(subject)
    error, delta = subject.gradients()
    dense = subject.model.dense_layers
    rates = subject.model.marks.rate
    rate = learning_rate if rates is None else learning_rate * rates
    gradients = [(layer.dW.copy(), layer.db.copy() if layer.use_bias else None) for layer in dense]
    old = [(layer.W.copy(), layer.b.copy() if layer.use_bias else None) for layer in dense]
    graph = trace(subject, subject.rows, delta)
    chain = _Chain(subject, graph)
    subject.model.params = subject.model.params - rate * subject.model.grads  # w_new = w_old - alpha dE/dw
    new = [(layer.W.copy(), layer.b.copy() if layer.use_bias else None) for layer in dense]
    sections = [
        _head(subject, learning_rate),
        *chain.forward(old),
        chain.error(error),
        *chain.backward(old, gradients),
        _update(learning_rate, rates, dense, old, gradients, new),
    ]
    return ExplainedStep(
        learning_rate,
        error,
        subject.x,
        chain.z,
        chain.a,
        chain.da,
        chain.dz,
        [dW for dW, _ in gradients],
        [db for _, db in gradients],
        [W for W, _ in new],
        [b for _, b in new],
        sections,
    )


def _check_small(subject: Subject) -> None:
    model, n = subject.model, len(subject.x)
    if not model.dense_layers:
        raise ValueError("explain_step needs a dense layer, and the model has none.")
    for layer in model.layers:
        if layer.children or (layer.n_params and not isinstance(layer, Dense)):
            raise ValueError(
                f"explain_step writes out dense layers in a chain with activations between them; {layer!r} is neither."
            )
        if layer.penalised or layer.constrained:
            raise ValueError(
                f"explain_step writes out plain gradient descent, and {layer!r} has a penalty or a max_norm."
            )
    if model.params.size * n > MOST_NUMBERS:
        raise ValueError(
            f"explain_step writes out every number: {model.params.size:,} weights times {n:,} rows is more than "
            f"{MOST_NUMBERS:,}. Take a smaller network or fewer rows."
        )


class _Chain:
    """The quantities of a plain chain by dense layer, and the equations between them."""

    def __init__(self, subject: Subject, graph: Graph) -> None:
        self.subject, self.graph, self.n = subject, graph, len(subject.x)
        joined, deltas = graph.joined(), graph.backward()
        self.parts = delta_parts(subject, graph, joined) if joined.output == graph.dense[len(graph.dense)].end else ()
        self.meets = len(self.parts) == 2 and self.parts[0][0] == "p"
        one_output = len(self.parts) == 2 and self.parts[0][1].shape[1] == 1
        self.written_out = isinstance(subject.loss, SoftmaxCrossEntropy) or (
            isinstance(subject.loss, SigmoidCrossEntropy) and one_output
        )
        self.ends = [graph.dense[number].end for number in sorted(graph.dense)]
        self.outs = [*(graph.dense[number].start for number in sorted(graph.dense)[1:]), graph.output]
        columns = graph.columns
        self.a0 = columns[graph.dense[1].start].values
        self.z = [columns[end].values for end in self.ends]
        self.a = [columns[out].values for out in self.outs]
        self.da = [deltas[out] for out in self.outs]
        self.dz = [deltas[end] for end in self.ends]
        self.between: list[list[Link]] = [
            [link for link in graph.links if end <= link.start < out]
            for end, out in zip(self.ends, self.outs, strict=True)
        ]
        for number, links in enumerate(self.between, start=1):
            if len(links) > 1 and any(link.kind == "mixing" for link in links):
                names = ", ".join(link.symbol.split("'")[0] for link in links)
                raise ValueError(
                    f"explain_step writes out one layer that mixes neurons after dense layer {number}, not {names}."
                )

    def row(self, s: int) -> str:
        """What tells the rows of a batch apart."""
        return f" [row {s}]" if self.n > 1 else ""

    def forward(self, old: Any) -> list[Section]:
        sections = []
        before, into = self.a0, [f"a(0)_{i + 1}" for i in range(self.a0.shape[1])]
        for number, ((W, b), z, a, links) in enumerate(zip(old, self.z, self.a, self.between, strict=True), start=1):
            lines = []
            last = number == len(self.z)
            f = "f" if len(links) == 1 and links[0].symbol.startswith("f'") else ""
            for s in range(self.n):
                for j in range(W.shape[1]):
                    names = [f"w({number})_{{{i + 1},{j + 1}}} x {name}" for i, name in enumerate(into)]
                    numbers = [f"{signed(W[i, j])} x {signed(before[s, i])}" for i in range(len(W))]
                    if b is not None:
                        names.append(f"b({number})_{j + 1}")
                        numbers.append(signed(b[j]))
                    lines.append(
                        Line(
                            f"z({number})_{j + 1}{self.row(s)}", " + ".join(names), " + ".join(numbers), float(z[s, j])
                        )
                    )
                for j in range(a.shape[1]):
                    name = f"y^_{j + 1}" if last else f"a({number})_{j + 1}"
                    formula, shown = f"z({number})_{j + 1}", ""
                    if f:
                        formula, shown = f"f({formula})", f"f({digits(z[s, j])})"
                    elif links:
                        whole = f"z({number})" if links[0].kind == "mixing" else formula
                        formula = f"{self.after(links)} of {whole}"
                    lines.append(Line(name + self.row(s), formula, shown, float(a[s, j])))
            title = f"Forward pass: dense layer {number}" + (" (the output layer)" if last else "")
            sentence = f"f is {self.function(number)}." if f else ""
            sections.append(Section(title, (sentence,) if sentence else (), tuple(lines)))
            before, into = a, [f"a({number})_{i + 1}" for i in range(a.shape[1])]
        return sections

    def after(self, links: list[Link]) -> str:
        return " after ".join(link.symbol.split("'")[0] for link in reversed(links))

    def function(self, number: int) -> str:
        return type(self.activation(number)).__name__

    def activation(self, number: int) -> Layer:
        """The layer that follows a dense layer."""
        layers: tuple[Layer, ...] = self.subject.model.layers
        return layers[layers.index(self.subject.model.dense_layers[number - 1]) + 1]

    def slope(self, number: int, s: int, j: int) -> Line | None:
        """f'(z) written out, where one activation of the usual ones follows the dense layer."""
        links = self.between[number - 1]
        if len(links) != 1 or links[0].values is None or links[0].kind != "slopes":
            return None
        if not links[0].symbol.startswith("f'"):
            return None
        last = number == len(self.z)
        a_name = f"y^_{j + 1}" if last else f"a({number})_{j + 1}"
        z, a = float(self.z[number - 1][s, j]), float(self.a[number - 1][s, j])
        formula, numbers = slope(self.activation(number), f"z({number})_{j + 1}", a_name, z, a)
        if not formula:
            return None
        return Line(f"{links[0].slope_name(j)}{self.row(s)}", formula, numbers, float(links[0].values[s, j]))

    def probabilities(self, s: int) -> list[Line]:
        """p from logits: softmax or sigmoid of y^."""
        p, logits = self.parts[0][1][s], self.a[-1][s]
        k = len(p)
        lines = []
        for j in range(k):
            name = f"y^_{j + 1}"
            if isinstance(self.subject.loss, SigmoidCrossEntropy):
                formula, numbers = f"1 / (1 + exp(-{name}))", f"1 / (1 + exp({digits(-logits[j])}))"
            else:
                formula = f"exp({name}) / ({' + '.join(f'exp(y^_{i + 1})' for i in range(k))})"
                numbers = f"exp({digits(logits[j])}) / ({' + '.join(f'exp({digits(v)})' for v in logits)})"
            lines.append(Line(f"p_{j + 1}{self.row(s)}", formula, numbers, float(p[j]), "probability"))
        return lines

    def entropy(self, s: int) -> Line:
        """E of one row from p and y, without the terms in which y is 0."""
        (_, p), (_, y) = self.parts
        loss, row = self.subject.loss, slice(s, s + 1)
        names, numbers = [], []
        for j, (p_j, y_j) in enumerate(zip(p[s], y[s], strict=True)):
            if y_j:
                share = ("", "") if y_j == 1 else (f"y_{j + 1} x ", f"{digits(y_j)} x ")
                names.append(f"{share[0]}log(p_{j + 1})")
                numbers.append(f"{share[1]}log({digits(p_j)})")
            if isinstance(loss, SigmoidCrossEntropy) and y_j != 1:
                share = ("", "") if y_j == 0 else (f"(1 - y_{j + 1}) x ", f"{digits(1 - y_j)} x ")
                names.append(f"{share[0]}log(1 - p_{j + 1})")
                numbers.append(f"{share[1]}log({digits(1 - p_j)})")
        many = len(names) > 1
        formula, shown = (f"-({' + '.join(side)})" if many else f"-{side[0]}" for side in (names, numbers))
        value = float(loss.per_sample(self.a[-1][row], self.subject.target[row])[0])
        return Line(f"E{self.row(s)}", formula, shown, value)

    def error(self, error: float) -> Section:
        loss, out, target = self.subject.loss, self.a[-1], self.subject.target
        k = out.shape[1]
        lines: list[Line] = []
        logits = self.meets and not self.between[-1]
        sentences = ("y^ are logits here, of any size; p are the probabilities made of them.",) if logits else ()
        if isinstance(loss, (HalfSquaredError, MeanSquaredError)):
            share = "1/2" if isinstance(loss, HalfSquaredError) else f"1/{k}"
            for s in range(self.n):
                names = " + ".join(f"(y^_{j + 1} - y_{j + 1})^2" for j in range(k))
                numbers = " + ".join(f"({digits(out[s, j])} - {signed(target[s, j])})^2" for j in range(k))
                value = float(loss.per_sample(out[s : s + 1], target[s : s + 1])[0])
                left = f"E{self.row(s)}"
                lines.append(Line(left, f"{share} ({names})", f"{share} ({numbers})", value))
            if self.n > 1:
                lines.append(Line("E", "the mean over rows", value=error))
        else:
            for s in range(self.n):
                if target.ndim == 1:
                    lines.append(
                        Line(
                            f"y{self.row(s)}",
                            f"class {target[s]}",
                            remark=f"classes count from 0: output {target[s] + 1}",
                        )
                    )
                else:
                    lines += [Line(f"y_{j + 1}{self.row(s)}", value=float(t)) for j, t in enumerate(target[s])]
                if logits:
                    lines += self.probabilities(s)
                    if self.written_out:
                        lines.append(self.entropy(s))
                        continue
            if not (logits and self.written_out):
                lines.append(Line("E", f"{type(loss).__name__} of y^ and y", value=error))
            elif self.n > 1:
                lines.append(Line("E", "the mean over rows", value=error))
        return Section("The error", sentences, tuple(lines))

    def backward(self, old: Any, gradients: Any) -> list[Section]:
        sections = []
        count = len(self.z)
        for number in range(count, 0, -1):
            lines = self.deltas(number, old)
            dW, db = gradients[number - 1]
            before = self.a0 if number == 1 else self.a[number - 2]
            dz, rows = self.dz[number - 1], "sum over rows of " if self.n > 1 else ""
            for i, j in np.ndindex(dW.shape):
                formula = f"{rows}a({number - 1})_{i + 1} x dE/dz({number})_{j + 1}"
                numbers = " + ".join(f"{signed(before[s, i])} x {signed(dz[s, j])}" for s in range(self.n))
                lines.append(Line(f"dE/dw({number})_{{{i + 1},{j + 1}}}", formula, numbers, float(dW[i, j])))
            for j in range(dW.shape[1] if db is not None else 0):
                numbers = " + ".join(signed(dz[s, j]) for s in range(self.n)) if self.n > 1 else ""
                lines.append(Line(f"dE/db({number})_{j + 1}", f"{rows}dE/dz({number})_{j + 1}", numbers, float(db[j])))
            hidden = (
                "the hidden layer"
                if count == 2
                else "the last hidden layer"
                if number == count - 1
                else "a hidden layer"
            )
            which = "the output layer" if number == count else hidden
            entered = ", which the input enters" if number == 1 else ""
            sections.append(Section(f"Backward pass: dense layer {number}, {which}{entered}", (), tuple(lines)))
        return sections

    def deltas(self, number: int, old: Any) -> list[Line]:
        """dE/da and dE/dz of a layer, from those of the layer after it."""
        links, last = self.between[number - 1], number == len(self.z)
        da, dz = self.da[number - 1], self.dz[number - 1]
        lines = []
        squared = isinstance(self.subject.loss, (HalfSquaredError, MeanSquaredError))
        meets = last and self.meets
        share = 1 if isinstance(self.subject.loss, HalfSquaredError) else 2 / da.shape[1]
        for s in range(self.n):
            row = self.row(s)
            for j in range(da.shape[1] if not meets else 0):
                left = (f"dE/dy^_{j + 1}" if last else f"dE/da({number})_{j + 1}") + row
                if last and squared:
                    scale = share / self.n
                    formula = f"y^_{j + 1} - y_{j + 1}"
                    numbers = f"{digits(self.a[-1][s, j])} - {signed(self.subject.target[s, j])}"
                    if scale != 1:
                        formula, numbers = (f"{digits(scale)} x ({side})" for side in (formula, numbers))
                elif last:
                    formula = numbers = ""
                else:
                    W, following = old[number][0], self.dz[number]
                    ks = range(W.shape[1])
                    formula = " + ".join(
                        f"w({number + 1})_{{{j + 1},{k + 1}}} x dE/dz({number + 1})_{k + 1}" for k in ks
                    )
                    numbers = " + ".join(f"{signed(W[j, k])} x {signed(following[s, k])}" for k in ks)
                lines.append(Line(left, formula, numbers, float(da[s, j])))
            for j in range(dz.shape[1] if not meets else 0):
                written = self.slope(number, s, j)
                if written is not None:
                    lines.append(written)
            for j in range(dz.shape[1]):
                formula, numbers = self.through(links, number, s, j, meets)
                lines.append(Line(f"dE/dz({number})_{j + 1}{row}", formula, numbers, float(dz[s, j])))
        return lines

    def through(self, links: list[Link], number: int, s: int, j: int, meets: bool) -> tuple[str, str]:
        """dE/dz from dE/da: the formula and its numbers."""
        last = number == len(self.z)
        if meets:
            (_, p), (_, y) = self.parts
            nth = f" / {self.n}" if self.n > 1 else ""
            return f"(p_{j + 1} - y_{j + 1}){nth}", f"({digits(p[s, j])} - {signed(y[s, j])}){nth}"
        da = self.da[number - 1][s]
        names = [f"dE/dy^_{k + 1}" if last else f"dE/da({number})_{k + 1}" for k in range(len(da))]
        if links and links[0].kind == "mixing" and links[0].values is not None:
            J, symbol = links[0].values[s], links[0].symbol
            formula = " + ".join(f"{name} x {symbol}_{{{j + 1},{k + 1}}}" for k, name in enumerate(names))
            return formula, " + ".join(f"{signed(da[k])} x {signed(J[j, k])}" for k in range(len(da)))
        slopes = [link for link in links if link.values is not None]
        formula = " x ".join([names[j], *(link.slope_name(j) for link in slopes)])
        return formula, " x ".join([signed(da[j]), *(signed(float(link.values[s, j])) for link in slopes)])  # type: ignore[index]


def _head(subject: Subject, learning_rate: float) -> Section:
    x = ", ".join(f"a(0)_{i + 1} = {digits(v)}" for i, v in enumerate(subject.x[0]))
    given = (
        f"The input: {x}." if len(subject.x) == 1 else f"{len(subject.x)} rows of x are one batch; rows count from 0."
    )
    n = len(subject.x)
    whose = "one row" if n == 1 else f"the batch of {n} rows: E and its gradients are means over them"
    return Section(
        f"One step of gradient descent with alpha = {digits(learning_rate)} on {whose}",
        (given,),
        loud="Dense layers and neurons count from 1: w(1)_{1,2} joins input 1 to neuron 2 of dense layer 1, "
        "which in the arrays, counted from 0, is W[0, 1].",
    )


def _update(rate: float, marks: Array | None, dense: list[Dense], old: Any, gradients: Any, new: Any) -> Section:
    lines = []
    for number, layer in enumerate(dense, start=1):
        for array, letter in ((0, "w"), (1, "b")):
            before, gradient, after = (values[number - 1][array] for values in (old, gradients, new))
            if before is None:
                continue
            mark = layer.marks["W" if letter == "w" else "b"]
            step = rate * mark.rate if mark.trainable else 0.0
            for at in np.ndindex(before.shape):
                index = ",".join(str(i + 1) for i in at)
                name = f"{letter}({number})_" + (f"{{{index}}}" if len(at) == 2 else index)
                if not step:
                    lines.append(Line(f"new {name}", name, value=float(after[at]), remark="frozen"))
                    continue
                formula = f"{name} - alpha x dE/d{name}"
                numbers = f"{digits(before[at])} - {digits(step)} x {signed(float(gradient[at]))}"
                lines.append(Line(f"new {name}", formula, numbers, float(after[at])))
    return Section("Update: w_new = w_old - alpha dE/dw, all at once", (), tuple(lines))
