"""What dE/dw means: how much the error changes when one weight alone does.

E as a function of the weight alone is a curve. dE/dw is its slope at the weight's value: the tangent there, and what
the quotient of two small changes comes close to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from densenet._types import Array
from densenet._validation import positive, positive_int
from densenet.explain.notation import digits, html_text, whose_error
from densenet.explain.route import route
from densenet.explain.subject import Subject, dense_layer, weight_index
from densenet.losses.base import Loss
from densenet.sequential import Sequential


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """E as one weight moves. `sensitivity` makes it.

    Attributes
    ----------
    name, element : str
        The weight in the notes' notation, and as an array element.
    value : float
        Where the weight stands.
    error : float
        E there.
    weights, errors : ndarray (points,)
        The curve: E at every value of the weight.
    tangent : float
        dE/dw: the slope of the curve at `value`, as `route` has it.
    finite_difference : float
        (E(w + h) - E(w - h)) / 2h.
    step : float
        h.
    sample : int or None
        The row of x that E is of, from 0; None for the batch.
    rows : int
        Rows of x.
    """

    name: str
    element: str
    value: float
    error: float
    weights: Array
    errors: Array
    tangent: float
    finite_difference: float
    step: float
    sample: int | None = 0
    rows: int = 1

    def predicted(self, weight: Any) -> Any:
        """E on the tangent: E(w) + dE/dw (weight - w)."""
        return self.error + self.tangent * (np.asarray(weight) - self.value)

    def _lines(self) -> list[str]:
        there = int(np.argmin(np.abs(self.weights - (0.9 * self.value + 0.1 * self.weights[-1]))))
        weight, error = float(self.weights[there]), float(self.errors[there])
        return [
            f"What dE/d{self.name} means: E is the error of {whose_error(self.sample, self.rows)}",
            f"{self.name} is {self.element} = {digits(self.value)} (layers and neurons count from 1, arrays from 0): "
            f"E = {digits(self.error)}.",
            f"dE/d{self.name} = {digits(self.tangent)}: the slope of E as this weight alone moves.",
            f"(E(w + h) - E(w - h)) / 2h = {digits(self.finite_difference)} with h = {self.step:.0e}.",
            f"At {self.name} = {digits(weight)} the tangent says E = {digits(self.predicted(weight))}; "
            f"it is {digits(error)}.",
        ]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html_text(line)}</p>" for line in self._lines())

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the curve, the tangent and the point where the weight stands."""
        from densenet.plots.route import sensitivity as draw

        return draw(self, ax=ax)


def sensitivity(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    *,
    layer: int,
    source: int | Literal["bias"],
    target: int,
    sample: int | None = 0,
    span: float = 1.0,
    points: int = 101,
) -> Sensitivity:
    """What dE/dw means: E as w(layer)_{source,target} moves, the tangent, and the finite difference.

    The derivative is the limit of quotients::

        dE/dw = lim (E(w + h) - E(w - h)) / 2h    for h to 0

    It works on a float64 copy: nothing of the model changes.

    Parameters
    ----------
    model, loss, x, y, layer, source, target, sample
        As in `route`: layers and neurons count from 1.
    span : float, default 1.0
        The curve goes from w - span to w + span.
    points : int, default 101
        Values of the weight on the curve.

    Returns
    -------
    Sensitivity

    Raises
    ------
    ValueError, TypeError
        As `route`, and if `span` is not above 0.

    Examples
    --------
    >>> import densenet as dn
    >>> model, loss, x, y = dn.datasets.notes_network()
    >>> s = dn.sensitivity(model, loss, x, y, layer=4, source=2, target=1)
    >>> round(s.tangent, 6), round(s.finite_difference, 6)
    (0.050927, 0.050927)
    """
    span = positive(span, "sensitivity", "span")
    points = max(3, positive_int(points, "sensitivity", "points"))
    subject = Subject("sensitivity", model, loss, x, y, sample=sample)
    dense = dense_layer(subject.model, layer, "sensitivity")
    array, index = weight_index(dense, layer, source, target, "sensitivity")
    found = route(model, loss, x, y, layer=layer, source=source, target=target, sample=sample)
    view = getattr(dense, array)

    def error(weight: float) -> float:
        view[index] = weight
        return subject.error()

    w = found.value
    weights = np.linspace(w - span, w + span, points)
    h = float(np.cbrt(np.finfo(np.float64).eps)) * max(1.0, abs(w))
    difference = (error(w + h) - error(w - h)) / (2 * h)  # (E(w + h) - E(w - h)) / 2h
    errors = np.array([error(float(weight)) for weight in weights])
    return Sensitivity(
        found.name,
        found.element,
        w,
        found.error,
        weights,
        errors,
        found.gradient,
        difference,
        h,
        found.sample,
        len(subject.x),
    )
