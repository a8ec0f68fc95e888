"""Drawn exercises: small networks with friendly numbers, with their whole solution.

From one seed one network: every student another seed, and a paper test is one line.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet import losses
from densenet._types import Array
from densenet._validation import as_generator
from densenet.explain.explain_step import explain_step
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.sigmoids import Sigmoid, Tanh
from densenet.losses.base import Loss
from densenet.sequential import Sequential


@dataclass(frozen=True)
class Kind:
    """A step of the ladder: widths, rows, and what is asked."""

    widths: tuple[int, ...]
    rows: int
    softmax: bool
    task: str


KINDS = {
    "neuron": Kind((3, 1), 1, False, "one neuron: y^ = sigmoid(x W(1) + b(1)), E = 1/2 (y^ - y)^2"),
    "layer": Kind((3, 2), 1, False, "one layer: y^ = sigmoid(x W(1) + b(1)), E = 1/2 sum (y^ - y)^2"),
    "layers": Kind(
        (3, 3, 2),
        1,
        False,
        "two layers: a(1) = tanh(x W(1) + b(1)), y^ = sigmoid(a(1) W(2) + b(2)), E = 1/2 sum (y^ - y)^2",
    ),
    "batch": Kind(
        (3, 3, 2),
        5,
        False,
        "two layers and a batch of 5 rows: a(1) = tanh(x W(1) + b(1)), y^ = sigmoid(a(1) W(2) + b(2)), "
        "E = 1/2 sum (y^ - y)^2, the mean over the rows",
    ),
    "softmax": Kind(
        (3, 5, 3),
        5,
        True,
        "softmax with cross-entropy and a batch of 5 rows: a(1) = tanh(x W(1) + b(1)), p = softmax(a(1) W(2) + b(2)), "
        "E = -sum y log p, the mean over the rows; y is one-hot",
    ),
}
"""The ladder, from one neuron to softmax with cross-entropy."""


@dataclass(frozen=True, eq=False)
class Exercise:
    """A drawn network with data, and what is asked of it. `exercise` makes it.

    Attributes
    ----------
    kind : str
    seed : int or None
    model : Sequential
    loss : Loss
    W : list of ndarray (n_in, n_out)
    b : list of ndarray (n_out,)
    x : ndarray (n, n_in)
    y : ndarray (n, n_out)
        One-hot rows for "softmax".
    """

    kind: str
    seed: Any
    model: Sequential
    loss: Loss
    W: list[Array]
    b: list[Array]
    x: Array
    y: Array

    def _question(self) -> list[str]:
        lines = [KINDS[self.kind].task[:1].upper() + KINDS[self.kind].task[1:] + "."]
        for number, (W, b) in enumerate(zip(self.W, self.b, strict=True), start=1):
            lines += [f"W({number}) = {_rows(W)}", f"b({number}) = {_rows(b)}"]
        lines += [f"x = {_rows(self.x)}", f"y = {_rows(self.y)}"]
        arrays = ", ".join(f"dE/dW({i}), dE/db({i})" for i in range(1, len(self.W) + 1))
        return [*lines, f"Find y^, E and {arrays}." if self.kind != "softmax" else f"Find p, E and {arrays}."]

    def to_text(self, answers: bool = True) -> str:
        """The question and, where wanted, the whole solution, as plain text."""
        solution = ["", "Solution", explain_step(self.model, self.loss, self.x, self.y).to_text()] if answers else []
        return "\n".join([*self._question(), *solution])

    def to_latex(self, answers: bool = True) -> str:
        """The same in LaTeX: a paragraph, matrices, and for the solution an ``aligned`` block."""
        lines = [_latex_text(self._question()[0]), r"\begin{align*}"]
        for number, (W, b) in enumerate(zip(self.W, self.b, strict=True), start=1):
            lines.append(rf"W^{{({number})}} &= {_matrix(W)} & b^{{({number})}} &= {_matrix(b[None, :])} \\")
        lines += [rf"x &= {_matrix(self.x)} & y &= {_matrix(self.y)}", r"\end{align*}"]
        lines.append(_latex_text(self._question()[-1]))
        if answers:
            lines += [r"\[", explain_step(self.model, self.loss, self.x, self.y).to_latex(), r"\]"]
        return "\n".join(lines)

    def to_html(self, answers: bool = True) -> str:
        """The same as a self-contained block of HTML without scripts."""
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self._question())
        return lines + (explain_step(self.model, self.loss, self.x, self.y).to_html() if answers else "")

    def __str__(self) -> str:
        return self.to_text(answers=False)

    def __repr__(self) -> str:
        return f"<Exercise {self.kind!r}, seed={self.seed}>"

    def _repr_html_(self) -> str:
        return self.to_html(answers=False)


def exercise(kind: str, *, seed: Any = None) -> Exercise:
    """Draw an exercise: a small network whose numbers have two decimals, and data for it.

    Weighted sums stay within -2 and 2: no unit is dead and none saturates.

    Parameters
    ----------
    kind : {"neuron", "layer", "layers", "batch", "softmax"}
        ::

            neuron, layer, layers    y^ = sigmoid(a W + b), hidden layers tanh, E = 1/2 sum (y^ - y)^2, one row
            batch                    the same for 5 rows, E the mean over the rows
            softmax                  p = softmax(a W + b), E = -sum y log p, the mean over 5 rows

    seed : int or Generator, optional
        The same seed gives the same exercise.

    Returns
    -------
    Exercise

    Raises
    ------
    ValueError
        For another kind, or a seed that is none.

    Examples
    --------
    >>> import densenet as dn
    >>> print(dn.exercise("neuron", seed=1))
    One neuron: y^ = sigmoid(x W(1) + b(1)), E = 1/2 (y^ - y)^2.
    W(1) = [[0.48], [-0.52], [-0.76]]
    b(1) = [0.83]
    x = [[-0.25, -0.32, 0.87]]
    y = [[0.26]]
    Find y^, E and dE/dW(1), dE/db(1).
    """
    if kind not in KINDS:
        raise ValueError(f"exercise expects kind to be one of {', '.join(KINDS)}, got {kind!r}.")
    chosen, rng = KINDS[kind], as_generator(seed, "exercise")
    while True:
        shapes = zip(chosen.widths[:-1], chosen.widths[1:], strict=True)
        arrays = [(_drawn(rng, shape), _drawn(rng, shape[1:])) for shape in shapes]
        x = _drawn(rng, (chosen.rows, chosen.widths[0]))
        model = _model(chosen, arrays)
        sums = [a for a, layer in zip(model.activations(x), model.layers, strict=False) if isinstance(layer, Dense)]
        if all(np.abs(z).min() > 0.05 and np.abs(z).max() < 2 for z in sums):
            break
    k = chosen.widths[-1]
    y = np.eye(k)[rng.integers(0, k, chosen.rows)] if chosen.softmax else np.abs(_drawn(rng, (chosen.rows, k)))
    loss = losses.get("softmax_cross_entropy" if chosen.softmax else "half_squared_error")
    return Exercise(kind, seed, model, loss, [W for W, _ in arrays], [b for _, b in arrays], x, y)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of two decimals from -1 to 1, none of them 0."""
    found: Array = rng.integers(1, 101, shape) * rng.choice([-1, 1], shape) / 100
    return found


def _model(kind: Kind, arrays: list[tuple[Array, Array]]) -> Sequential:
    layers: list[Layer] = []
    for number, (W, _) in enumerate(arrays, start=1):
        layers.append(Dense(*W.shape))
        if number < len(arrays):
            layers.append(Tanh())
        elif not kind.softmax:
            layers.append(Sigmoid())
    model = Sequential(layers, dtype="float64")
    for layer, (W, b) in zip(model.dense_layers, arrays, strict=True):
        layer.W, layer.b = W, b
    return model


def _rows(array: Array) -> str:
    return str(array.tolist())


def _matrix(array: Array) -> str:
    rows = r" \\ ".join(" & ".join(f"{value:g}" for value in row) for row in array)
    return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"


def _latex_text(text: str) -> str:
    return text.replace("^", r"\^{}").replace("_", r"\_")
