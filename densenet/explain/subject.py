"""What is explained: a model, a loss and data, copied in float64, so that explaining them changes nothing.

Everything in this folder works on such copies: parameters, gradients, caches, running statistics and random state of
the model that trains stay as they are. Noise layers are held still: they repeat what they drew in the last training
pass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet import losses
from densenet._types import Array
from densenet._validation import as_matrix, check_finite, same_rows
from densenet.gradient import error_and_gradient
from densenet.layers.base import Layer
from densenet.layers.containers import Concatenate, Residual
from densenet.layers.dense import Dense
from densenet.layers.mixture import Mixture
from densenet.layers.noise import Draw, Noise
from densenet.losses.base import Loss
from densenet.sequential import Sequential


class Subject:
    """Copies of a model and a loss, with checked data.

    Attributes
    ----------
    model : Sequential
        In float64.
    loss : Loss
    x : ndarray (n, n_in)
    target : ndarray
        As the loss prepares it.
    rows : slice
        The sample, or all of them.
    """

    def __init__(
        self, who: str, model: Any, loss: Any, x: Any, y: Any, *, sample: int | None = None, training: bool = False
    ) -> None:
        if not isinstance(model, Sequential):
            raise TypeError(f"{who} expects a Sequential as its model, got {model!r}.")
        self.who, self.training, self.dtype = who, training, model.dtype
        self.loss: Loss = copy.deepcopy(losses.get(loss))
        self.model = model.astype("float64")
        self.x = as_matrix(x, model.n_in, np.float64, who, copy=True)
        check_finite(self.x, who, "x")
        self.target = self._as_float64(self.loss.prepare(y, model.output_width(self.x.shape[1]), np.float64))
        same_rows(self.x, self.target, who)
        for layer in self.model.every_layer:
            for name in (*layer.parameter_shapes(), *layer.state_names):
                check_finite(getattr(layer, name), who, f"{name} of {layer!r}")
        self.rows = self._rows(sample)
        self._noise = self._drawn_noise(model) if training else []
        self._own_dtype = self.model if model.dtype == np.float64 else model.astype(model.dtype)

    @staticmethod
    def _as_float64(target: Array) -> Array:
        return target.astype(np.float64) if target.dtype.kind == "f" else target.copy()

    def _rows(self, sample: Any) -> slice:
        n = len(self.x)
        if sample is None:
            return slice(0, n)
        if isinstance(sample, bool) or not isinstance(sample, (int, np.integer)) or not 0 <= sample < n:
            rows = f"from 0 to {n - 1}" if n > 1 else "0, the only one"
            raise ValueError(
                f"{self.who} expects sample to be a row of x, {rows}, or None for the batch, got {sample!r}."
            )
        return slice(int(sample), int(sample) + 1)

    def _drawn_noise(self, model: Sequential) -> list[tuple[int, Draw]]:
        """What every noise layer drew last, in float64, with the layer's place in the walk."""
        found: list[tuple[int, Draw]] = []
        for place, layer in enumerate(model.every_layer):
            if layer.couples_samples:
                raise ValueError(
                    f"{self.who}: {layer!r} takes its statistics from the batch in training: samples are coupled, "
                    "and one sample has no paths of its own: leave training=False, which uses the running statistics."
                )
            if layer.by_place:
                raise ValueError(
                    f"{self.who}: what {layer!r} does to a sample in training depends on its place in the mini-batch: "
                    "leave training=False."
                )
            if not layer.draws:
                continue
            if not isinstance(layer, Noise):
                raise ValueError(f"{self.who} cannot repeat what {layer!r} drew: leave training=False.")
            if layer.strength == 0:
                continue
            drawn = layer.last_draw
            if drawn is None or drawn.shape[0] != len(self.x):
                made = "was never made" if drawn is None else f"had {drawn.shape[0]} rows"
                raise ValueError(
                    f"{self.who}(training=True) repeats the last training pass of {layer!r}, which {made}; "
                    f"x has {len(self.x)}. Call model.forward(x) first, with this x."
                )
            found.append((place, _cut(drawn, slice(None), np.float64)))
        return found

    def hold_noise(self, model: Sequential, rows: slice) -> None:
        """Let the noise layers of a copy draw what the model drew last, for these rows."""
        layers = model.every_layer
        for place, drawn in self._noise:
            layer = layers[place]
            assert isinstance(layer, Noise)
            layer.hold(_cut(drawn, rows, model.dtype))

    def forward_backward(self, model: Sequential, rows: slice) -> tuple[float, Array]:
        """E of these rows and dE/d(output), as training computes them; fills the copy's `grads`."""
        self.hold_noise(model, rows)
        target = self.target[rows]
        target = target.astype(model.dtype) if target.dtype.kind == "f" else target
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            x = self.x[rows].astype(model.dtype)
            error = error_and_gradient(model, self.loss, x, target, training=self.training)
        if not np.isfinite(error):
            raise ValueError(f"{self.who}: the error is {error} here, so that it has no derivative.")
        return error, self.loss.delta().copy()

    def error(self) -> float:
        """E of the chosen rows, without gradients."""
        self.hold_noise(self.model, self.rows)
        return self.loss.error(self.model.run_forward(self.x[self.rows], self.training), self.target[self.rows])

    def gradients(self) -> tuple[float, Array]:
        """E of the chosen rows and dE/d(output), after a float64 pass that fills ``model.grads``."""
        return self.forward_backward(self.model, self.rows)

    def own_dtype_model(self) -> Sequential:
        """A copy in the model's own dtype, its `grads` filled by one pass of the chosen rows."""
        self.forward_backward(self._own_dtype, self.rows)
        return self._own_dtype


def _cut(draw: Draw, rows: slice, dtype: Any) -> Draw:
    """These rows of a draw, in this dtype: fresh arrays."""
    factor, offset = (None if a is None else a[rows].astype(dtype) for a in (draw.factor, draw.offset))
    return Draw(draw.shape, factor, offset)


def dense_layer(model: Sequential, number: Any, who: str) -> Dense:
    """The dense layer of that number, from 1."""
    dense = model.dense_layers
    if not dense:
        raise ValueError(f"{who} explains weights of dense layers, and the model has none.")
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= len(dense):
        numbers = f"numbered 1 to {len(dense)}" if len(dense) > 1 else "number 1"
        raise ValueError(
            f"{who} expects layer to be the number of a dense layer; this model has {len(dense)}, {numbers} "
            f"(layers count from 1, and only dense ones), got layer={number!r}."
        )
    return dense[int(number) - 1]


def weight_index(layer: Dense, number: int, source: Any, target: Any, who: str) -> tuple[str, tuple[int, ...]]:
    """The array ("W" or "b") and the index in it of w(layer)_{source,target}."""
    j = _neuron(target, layer.n_out, f"dense layer {number} has {layer.n_out} outputs", who, "target")
    if isinstance(source, str) and source == "bias":
        if not layer.use_bias:
            raise ValueError(f"{who}: dense layer {number}, {layer!r}, has no bias.")
        return "b", (j,)
    i = _neuron(source, layer.n_in, f"dense layer {number} has {layer.n_in} inputs", who, "source")
    return "W", (i, j)


def _neuron(value: Any, count: int, there: str, who: str, name: str) -> int:
    whole = not isinstance(value, bool) and isinstance(value, (int, np.integer))
    if whole and 1 <= value <= count:
        return int(value) - 1
    or_bias = ' or "bias"' if name == "source" else ""
    counting = f"neurons count from 1 to {count}" if whole else f"it is a whole number from 1 to {count}{or_bias}"
    raise ValueError(f"{who}: {there}, and there is no {name} {value!r}: {counting}.")


def layer_place(model: Sequential, wanted: Layer) -> str:
    """Where a layer stands, as one writes it: ``model.layers[2].layers[0]``."""

    def search(layers: Sequence[Layer], prefix: str) -> str | None:
        for i, layer in enumerate(layers):
            here = f"{prefix}[{i}]"
            if layer is wanted:
                return here
            inner = None
            if isinstance(layer, Residual):
                inner = search(layer.layers, f"{here}.layers")
            elif isinstance(layer, (Concatenate, Mixture)):
                places = (search(branch, f"{here}.branches[{b}]") for b, branch in enumerate(layer.branches))
                inner = next((place for place in places if place), None)
            elif layer.children:
                inner = search(list(layer.children), f"{here}.children")
            if inner:
                return inner
        return None

    return search(model.layers, "model.layers") or "model.layers[?]"
