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
from densenet.explain import one_row, whole_batch
from densenet.explain.graph import trace
from densenet.explain.notation import Line, Section, digits, signed, to_html, to_latex, to_text, whose_error
from densenet.explain.quantities import Pair, Quantities
from densenet.explain.subject import Subject
from densenet.explain.whole_batch import weights
from densenet.layers.dense import Dense
from densenet.losses.base import Loss
from densenet.sequential import Sequential

MOST_NUMBERS = 5_000
"""The most weights times rows that are written out."""


@dataclass(frozen=True, eq=False)
class ExplainedStep:
    """One step of plain gradient descent. `explain_step` makes it; printed, it is the derivation.

    One row is written out neuron by neuron; of a batch, every equation stands over its numbers as a matrix, which the
    HTML folds. Lists go by dense layer: entry 0 is dense layer 1. Rows are samples.

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
    old, gradients = (
        _kernels(dense),
        [(layer.dW.copy(), layer.db.copy() if layer.use_bias else None) for layer in dense],
    )
    graph = trace(subject, subject.rows, delta)
    step = Quantities(subject, graph, old, gradients)
    one = step.rows == 1
    sections = [_head(subject, learning_rate), *(one_row if one else whole_batch).sections(step, error)]
    subject.model.params = subject.model.params - rate * subject.model.grads  # w_new = w_old - alpha dE/dw
    new = _kernels(dense)
    sections.append(_update_of_each(learning_rate, dense, step, new) if one else _update_of_arrays(dense, new))
    return ExplainedStep(
        learning_rate,
        error,
        subject.x,
        step.z,
        step.a,
        step.da,
        step.dz,
        [dW for dW, _ in gradients],
        [db for _, db in gradients],
        [W for W, _ in new],
        [b for _, b in new],
        sections,
    )


def _kernels(dense: list[Dense]) -> list[Pair]:
    """Weights and biases as they are now, copied."""
    return [(layer.W.copy(), layer.b.copy() if layer.use_bias else None) for layer in dense]


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


def _head(subject: Subject, learning_rate: float) -> Section:
    n = len(subject.x)
    whose = whose_error(0 if n == 1 else None, n, row="x[:1], y[:1]")
    x = ", ".join(f"a(0)_{i + 1} = {digits(v)}" for i, v in enumerate(subject.x[0]))
    given = f"The input: {x}." if n == 1 else "Rows count from 0. Every equation is one between whole arrays."
    return Section(
        f"One step of gradient descent with alpha = {digits(learning_rate)}: E is the error of {whose}",
        (given,),
        loud="Dense layers and neurons count from 1: w(1)_{1,2} joins input 1 to neuron 2 of dense layer 1, "
        "which in the arrays, counted from 0, is W[0, 1].",
    )


_UPDATE = "Update: w_new = w_old - alpha dE/dw, all at once"


def _update_of_each(rate: float, dense: list[Dense], step: Quantities, new: list[Pair]) -> Section:
    """The update of every weight on a line of its own."""
    lines = []
    for number, layer in enumerate(dense, start=1):
        for array, letter in ((0, "w"), (1, "b")):
            before, gradient, after = (values[number - 1][array] for values in (step.old, step.gradients, new))
            if before is None or gradient is None or after is None:
                continue
            mark = layer.marks["W" if letter == "w" else "b"]
            scaled = rate * mark.rate if mark.trainable else 0.0
            for at in np.ndindex(before.shape):
                index = ",".join(str(i + 1) for i in at)
                name = f"{letter}({number})_" + (f"{{{index}}}" if len(at) == 2 else index)
                if not scaled:
                    lines.append(Line(f"new {name}", name, value=float(after[at]), remark="frozen"))
                    continue
                formula = f"{name} - alpha x dE/d{name}"
                numbers = f"{digits(before[at])} - {digits(scaled)} x {signed(float(gradient[at]))}"
                lines.append(Line(f"new {name}", formula, numbers, float(after[at])))
    return Section(_UPDATE, (), tuple(lines))


def _update_of_arrays(dense: list[Dense], new: list[Pair]) -> Section:
    """The update of every array as a matrix."""
    grids = []
    for number, (layer, (W, b)) in enumerate(zip(dense, new, strict=True), start=1):
        for name, letter, values in ((f"W({number})", "W", W), (f"b({number})", "b", b)):
            if values is None:
                continue
            mark = layer.marks[letter]
            rate = "alpha" if mark.rate == 1 else f"{digits(mark.rate)} x alpha"
            formula = f"{name} - {rate} x dE/d{name}" if mark.trainable and mark.rate else name
            grids.append(weights(f"new {name}", formula, values, "" if formula != name else "frozen"))
    return Section(_UPDATE, grids=tuple(grids))
