"""What goes through a network: how large activations and gradients are, layer by layer.

Going forward, numbers should neither fade nor grow from layer to layer, nor end where an activation is flat. Going
backward, the delta of a sample should arrive at the first layer about as long as it left the last.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from densenet._blas import one_pool
from densenet._types import Array
from densenet.layers.activations import Activation, HardSigmoid, HardTanh, Sigmoid, Softsign, Tanh
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.losses.base import Loss
from densenet.sequential import Sequential

_STEEPEST: dict[type, float] = {Sigmoid: 1 / 4, HardSigmoid: 1 / 6, Tanh: 1.0, HardTanh: 1.0, Softsign: 1.0}
_FLAT = 0.05
_NO_SLOPE = 1e-6


@dataclass(frozen=True)
class LayerSignals:
    """What one layer passes on.

    Attributes
    ----------
    name : str
        Kind and number of the layer: "dense 2", and "ReLU 2" for the one after it.
    mean, spread : float
        Mean and standard deviation of the outputs, over samples and units.
    dead : float
        Share of units whose slope is 0 for every sample; NaN where the layer is no activation.
    saturated : float
        Share of outputs where the slope is below 5 % of the steepest; NaN where the function is not S-shaped.
    gradient : float
        Root mean square, over the samples, of |dl_s/dy|, y being the layer's output.
    """

    name: str
    mean: float
    spread: float
    dead: float
    saturated: float
    gradient: float


FIGURES = tuple(field.name for field in fields(LayerSignals) if field.name != "name")


def layer_names(model: Sequential) -> list[str]:
    """Names of the layers that are no containers, in order: the dense ones numbered, the others with their number."""
    names, number = [], 0
    for layer in _leaves(model):
        number += isinstance(layer, Dense)
        names.append(f"{'dense' if isinstance(layer, Dense) else type(layer).__name__} {number}")
    return names


def signals(model: Sequential, loss: Loss, x: Array, target: Array) -> list[LayerSignals]:
    """One forward and one backward pass as in training, on a copy, and what every layer passes on in it.

    Parameters
    ----------
    model : Sequential
    loss : Loss
    x : ndarray (n, n_in)
        In the model's dtype.
    target : ndarray
        As the loss prepares it.
    """
    model, loss = copy.deepcopy(model), copy.copy(loss)
    taps = [_Tap(layer) for layer in _leaves(model)]
    with one_pool(), np.errstate(all="ignore"):
        prediction = x
        for layer in model.layers:
            prediction = layer.forward(prediction, True)
        loss.error(prediction, target)
        delta = loss.delta() * len(x)  # the delta of every sample's own loss
        for layer in reversed(model.layers):
            delta = layer.backward(delta)
    return [tap.signals(name) for tap, name in zip(taps, layer_names(model), strict=True)]


def update_ratios(model: Sequential, before: Array) -> list[float]:
    """|W_new - W_old| / |W_old| of every dense layer; NaN where W is frozen or was 0.

    Parameters
    ----------
    model : Sequential
        After the step.
    before : ndarray (n_params,)
        ``model.params`` before it.
    """
    ratios, offset = [], 0
    for layer in _leaves(model):
        if isinstance(layer, Dense):
            old = before[offset : offset + layer.W.size].reshape(layer.W.shape)
            size, mark = float(np.linalg.norm(old)), layer.marks["W"]
            moves = size > 0 and mark.trainable and mark.rate > 0
            ratios.append(float(np.linalg.norm(layer.W - old)) / size if moves else math.nan)
        offset += layer.n_params
    return ratios


class SignalRecord:
    """Signals of every layer, and update ratios, over a training run.

    Attributes
    ----------
    layers : list of str
        Names of the layers.
    steps : list of int
        Optimizer steps done at each moment of the record.
    dense : list of str
        Names of the dense layers.
    update_steps : list of int
        Steps whose updates were measured.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> doctor = dn.GradientDoctor()
    >>> trainer = dn.Trainer(dn.mlp([64, 16, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.1))
    >>> history = trainer.fit(x, y, epochs=3, seed=0, callbacks=[doctor])
    >>> doctor.record.layers
    ['dense 1', 'ReLU 1', 'dense 2']
    >>> doctor.record["spread"].shape, doctor.record.update_ratios.shape
    ((3, 3), (3, 2))
    """

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.steps: list[int] = []
        self.dense: list[str] = []
        self.update_steps: list[int] = []
        self._moments: list[list[LayerSignals]] = []
        self._ratios: list[list[float]] = []

    def add(self, step: int, moment: list[LayerSignals]) -> None:
        """Take in the signals after that many steps."""
        self.layers = [layer.name for layer in moment]
        self.steps.append(step)
        self._moments.append(moment)

    def add_update(self, step: int, names: list[str], ratios: list[float]) -> None:
        """Take in the update ratios of a step."""
        self.dense = [name for name in names if name.startswith("dense ")]
        self.update_steps.append(step)
        self._ratios.append(ratios)

    def __len__(self) -> int:
        """Number of moments."""
        return len(self.steps)

    def __getitem__(self, figure: str) -> Array:
        if figure not in FIGURES:
            raise KeyError(f"no figure {figure!r} in the record; there are {', '.join(FIGURES)}.")
        return np.array([[getattr(layer, figure) for layer in moment] for moment in self._moments])

    @property
    def last(self) -> list[LayerSignals]:
        """The signals of the last moment."""
        return self._moments[-1]

    @property
    def update_ratios(self) -> Array:
        """|W_new - W_old| / |W_old|: a row for every measured step, a column for every dense layer."""
        return np.array(self._ratios).reshape(len(self._ratios), len(self.dense))

    def __repr__(self) -> str:
        return f"<SignalRecord of {len(self.layers)} layers at {len(self)} moments>"


class _Tap:
    """Listens to what goes in and out of one layer of a copied model."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.mean = self.spread = self.gradient = math.nan
        self.forward: Callable[[Array, bool], Array] = layer.forward
        self.backward: Callable[[Array], Array] = layer.backward
        layer.__dict__.update(forward=self._forward, backward=self._backward)

    def _forward(self, x: Array, training: bool = True) -> Array:
        y = self.forward(x, training)
        self.mean, self.spread = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
        return y

    def _backward(self, delta: Array) -> Array:
        self.gradient = math.sqrt(np.square(delta, dtype=np.float64).sum() / len(delta))
        return self.backward(delta)

    def signals(self, name: str) -> LayerSignals:
        dead = saturated = math.nan
        layer: Any = self.layer
        if isinstance(layer, Activation):
            slopes = np.abs(layer.slopes())
            dead = float((slopes.max(axis=0) < _NO_SLOPE).mean())
            if type(layer) in _STEEPEST:
                saturated = float((slopes < _FLAT * _STEEPEST[type(layer)]).mean())
        return LayerSignals(name, self.mean, self.spread, dead, saturated, self.gradient)


def _leaves(model: Sequential) -> list[Layer]:
    return [layer for layer in model.every_layer if not layer.children]
