"""Is the derivative right? The analytic gradient beside a numeric one, entry by entry; and the layers' contract.

A derivative is a limit of quotients, so a quotient with a small step must come close to it. Two steps of different
size, combined so that their leading errors cancel (Richardson), come so close that an error of a tenth of a percent
in a formula stands out.
"""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet import losses
from densenet._display import html_table, text_table
from densenet._types import Array
from densenet._validation import as_matrix, as_weights, check_finite, positive, same_rows
from densenet.layers.base import Layer
from densenet.losses.base import Loss
from densenet.sequential import Sequential


@dataclass(frozen=True)
class GradCheckRow:
    """One array of derivatives: where it belongs, and its worst entry.

    Attributes
    ----------
    layer : int or None
        Number of the layer in ``model.layers``, from 0; None for x.
    layer_name, parameter : str
    error : float
        Largest |analytic - numeric|, relative to the array's largest entry.
    worst : tuple of int
        Index of that entry.
    analytic, numeric : float
        Its two values.
    kinks : int
        Entries where E has a corner: the analytic value only has to lie between the two one-sided slopes.
    """

    layer: int | None
    layer_name: str
    parameter: str
    error: float
    worst: tuple[int, ...]
    analytic: float
    numeric: float
    kinks: int


@dataclass(frozen=True)
class GradCheck:
    """What `gradcheck` found: true when every derivative is right.

    Attributes
    ----------
    rows : tuple of GradCheckRow
        From the first layer to the last, x at the end; none where a layer breaks the contract.
    tolerance : float
    broken : tuple of str
        What layers do otherwise than `Layer` says, a sentence each.

    Examples
    --------
    >>> import densenet as dn
    >>> report = dn.gradcheck(dn.mlp([2, 1], seed=0), "mse", [[1.0, 2.0]], [3.0])
    >>> report.ok, [row.parameter for row in report.rows]
    (True, ['W', 'b', 'x'])
    """

    rows: tuple[GradCheckRow, ...]
    tolerance: float
    broken: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every derivative agrees, and every layer keeps to the contract."""
        return self.first_wrong is None and not self.broken

    @property
    def first_wrong(self) -> GradCheckRow | None:
        """The wrong derivative closest to the error, where the mistake is; None when all are right.

        The delta travels from the output to the input and carries a mistake along, so of several wrong layers the
        last one made it.
        """
        wrong = [row for row in self.rows if not row.error <= self.tolerance]
        return max(wrong, key=lambda row: -1 if row.layer is None else row.layer) if wrong else None

    @property
    def max_error(self) -> float:
        """The largest relative error of all."""
        return max((row.error for row in self.rows), default=float("nan"))

    def __bool__(self) -> bool:
        return self.ok

    def _verdict(self) -> str:
        row = self.first_wrong
        if self.broken:
            return "\n".join(f"WRONG: {sentence}" for sentence in self.broken)
        if row is None:
            largest = f"{self.max_error:.1e} of the numeric one ({self.tolerance:.0e} allowed)"
            return f"correct: every derivative within {largest}"
        where = "dE/dx" if row.layer is None else f"dE/d{row.parameter} of layer {row.layer}, {row.layer_name},"
        return (
            f"WRONG: {where} at entry {list(row.worst)} is {row.analytic:.8g}, numerically {row.numeric:.8g} "
            f"(relative error {row.error:.1e}, tolerance {self.tolerance:.0e})"
        )

    def _table(self) -> list[tuple[str, ...]]:
        return [
            (
                "x" if row.layer is None else f"{row.layer} {row.layer_name}",
                f"d{row.parameter}",
                f"{row.error:.1e}",
                f"{row.analytic:.6g}",
                f"{row.numeric:.6g}",
                str(row.kinks) if row.kinks else "",
                "ok" if row.error <= self.tolerance else "WRONG",
            )
            for row in self.rows
        ]

    _HEAD = ("layer", "array", "error", "analytic", "numeric", "kinks", "")
    _ALIGN = "<<<<<<<"

    def __str__(self) -> str:
        return f"{text_table([self._HEAD, *self._table()], self._ALIGN)}\n{self._verdict()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{html_table(self._HEAD, self._table(), self._ALIGN)}<p>{html.escape(self._verdict())}</p>"


def gradcheck(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    training: bool = True,
    tolerance: float = 1e-6,
) -> GradCheck:
    """Compare the backward pass with central differences, for every parameter and for x; check the layers' contract.

    The numeric derivative combines two steps, so that the error is of the order h^4::

        D(h) = (E(w + h) - E(w - h)) / 2h        dE/dw ~ (4 D(h/2) - D(h)) / 3

    It works on a float64 copy: nothing of the model changes. Noise layers are held still: each evaluation draws the
    same mask. Where E has a corner within the step (ReLU at 0) the step shrinks, and where the corner is at the point
    itself the analytic value has to lie between the one-sided slopes. Penalties (`kernel_l2`, ...) are part of E.

    The contract of `Layer`: `infer` equals ``forward(training=False)``, writes no state and writes to `out` where it is
    given; x is never written; `backward` returns a delta of the input's shape.

    Parameters
    ----------
    model : Sequential
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
    sample_weight : array_like (n,), optional
    training : bool, default True
        Whether layers behave as in training (batch statistics, noise).
    tolerance : float, default 1e-6
        Allowed error, relative to an array's largest entry.

    Returns
    -------
    GradCheck
        True when every derivative is right; printed, it names the first layer and parameter that is wrong.

    Raises
    ------
    ValueError, TypeError
        If x or y does not fit the model or the loss.

    References
    ----------
    .. [1] Richardson, "The approximate arithmetical solution by finite differences" (1911).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([3, 4, 2], activation="tanh", seed=0)
    >>> bool(dn.gradcheck(model, "mse", [[0.1, 0.2, 0.3]], [[1.0, 0.0]]))
    True
    """
    tolerance = positive(tolerance, "gradcheck", "tolerance")
    model, loss = model.astype("float64"), copy.copy(losses.get(loss))
    x = as_matrix(x, model.n_in, np.float64, "gradcheck", copy=True)
    check_finite(x, "gradcheck", "x")
    target = loss.prepare(y, model.output_width(x.shape[1]), np.float64)
    same_rows(x, target, "gradcheck")
    weight = as_weights(sample_weight, len(x), np.float64, "gradcheck")
    evaluate = _Error(model, loss, x, target, weight, training)
    if broken := _broken(model, x):
        return GradCheck((), tolerance, broken)
    here = evaluate()
    dx = model.backward(loss.delta())
    model.add_penalty_gradients()
    analytic = model.grads.copy()
    largest = max(abs(here), float(np.abs(analytic).max(initial=0.0)), float(np.abs(dx).max()))
    floor = _ROUNDING * largest / tolerance
    rows = []
    for number, top in enumerate(model.layers):
        for layer in top.walk():
            for name in layer.parameter_shapes():
                view, gradient = getattr(layer, name), getattr(layer, "d" + name)
                rows.append(_check(evaluate, view, gradient.copy(), floor, number, repr(layer), name))
    model.grads = analytic
    rows.append(_check(evaluate, x, dx, floor, None, "x", "x"))
    return GradCheck(tuple(rows), tolerance)


def _broken(model: Sequential, x: Array) -> tuple[str, ...]:
    """What the layers do otherwise than the contract says, each on the input that it gets in the model."""
    inputs: dict[int, Array] = {}

    def keep(layer: Layer, forward: Callable[..., Array]) -> Callable[..., Array]:
        def kept(x: Array, training: bool = True) -> Array:
            inputs[id(layer)] = x.copy()
            return forward(x, training)

        return kept

    model = copy.deepcopy(model)
    for layer in model.every_layer:
        vars(layer)["forward"] = keep(layer, layer.forward)  # containers call it, too
    y = x
    for layer in model.layers:
        y = layer.forward(y, False)
    for layer in model.every_layer:
        del vars(layer)["forward"]
    return tuple(
        f"{layer!r}: {sentence}." for layer in model.every_layer for sentence in _broken_by(layer, inputs[id(layer)])
    )


def _broken_by(layer: Layer, x: Array) -> Iterator[str]:
    given, state = x.copy(), {name: array.copy() for name, array in layer.state.items()}
    y = layer.forward(given, False).copy()
    if not np.array_equal(given, x):
        yield "forward writes to x, which belongs to the layer before"
    given, out = x.copy(), np.full_like(y, np.nan)
    if not _close(layer.infer(given), y):
        yield "infer(x) differs from forward(x, training=False), so that predict answers otherwise than training saw"
    try:
        layer.infer(given, out)
    except TypeError as error:
        yield f"infer(x, out) fails: {error}"
    else:
        if not _close(out, y):
            yield "infer(x, out) does not write its result to out"
    if not np.array_equal(given, x):
        yield "infer writes to x"
    if any(not np.array_equal(array, state[name]) for name, array in layer.state.items()):
        yield "infer changes the layer's statistics"
    layer.forward(given, True)
    dx = layer.backward(np.ones_like(y))
    if getattr(dx, "shape", None) != x.shape:
        got = f"shape {dx.shape}" if isinstance(dx, np.ndarray) else repr(dx)
        yield f"backward(delta) returns {got} in place of dE/dX of shape {x.shape}"


def _close(a: Any, b: Array) -> bool:
    return np.shape(a) == b.shape and bool(np.allclose(a, b, rtol=0, atol=1e-9 * float(np.abs(b).max(initial=1.0))))


class _Error:
    """E for the arrays as they are now, with the same noise every time."""

    def __init__(
        self, model: Sequential, loss: Loss, x: Array, target: Array, weight: Array | None, training: bool
    ) -> None:
        self.model, self.loss, self.x, self.target, self.weight = model, loss, x, target, weight
        self.training = training
        generators = [layer.generator for layer in model.every_layer if layer.generator is not None]
        self.start = [(generator, generator.bit_generator.state) for generator in generators]

    def __call__(self) -> float:
        for generator, state in self.start:
            generator.bit_generator.state = state
        prediction = self.model.run_forward(self.x, self.training)
        return self.loss.error(prediction, self.target, self.weight) + self.model.penalty()


_STEPS = (1e-3, 1e-4, 1e-5)
_AGREE = 1e-7
_ROUNDING = 1e-11
"""What the quotients' rounding leaves, relative to E; an array of derivatives below it counts as 0."""


def _check(
    evaluate: Callable[[], float],
    values: Array,
    analytic: Array,
    floor: float,
    layer: int | None,
    name: str,
    parameter: str,
) -> GradCheckRow:
    numeric = np.empty_like(analytic)
    scale = max(float(np.abs(analytic).max(initial=0.0)), floor, 1e-300)
    kinks = 0
    for at in np.ndindex(values.shape):
        numeric[at], kink = _derivative(evaluate, values, at, float(analytic[at]), scale)
        kinks += kink
    size = max(scale, float(np.abs(numeric).max(initial=0.0)))
    error = np.abs(analytic - numeric) / size
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape)) if error.size else ()
    return GradCheckRow(
        layer, name, parameter, float(error[worst]), worst, float(analytic[worst]), float(numeric[worst]), kinks
    )


def _derivative(
    evaluate: Callable[[], float], values: Array, at: tuple[int, ...], analytic: float, scale: float
) -> tuple[float, bool]:
    """The numeric derivative by one entry, and whether E has a corner there."""
    kept = float(values[at])

    def error(step: float) -> float:
        values[at] = kept + step
        result = evaluate()
        values[at] = kept
        return result

    def quotient(h: float) -> float:
        return (error(h) - error(-h)) / (2 * h)  # D(h) = (E(w + h) - E(w - h)) / 2h

    for step in _STEPS:
        h = step * max(1.0, abs(kept))
        wide, middle, narrow = quotient(h), quotient(h / 2), quotient(h / 4)
        coarse, fine = (4 * middle - wide) / 3, (4 * narrow - middle) / 3
        if abs(coarse - fine) <= _AGREE * max(scale, abs(fine)):  # no corner between the steps
            break
    if abs(analytic - fine) > _AGREE * max(scale, abs(fine)):
        here = error(0.0)
        right, left = (error(h) - here) / h, (here - error(-h)) / h
        low, high = min(right, left), max(right, left)
        if high - low > 1e-2 * scale:  # a corner at the point itself
            margin = 1e-3 * scale
            return (analytic if low - margin <= analytic <= high + margin else fine), True
    return fine, False
