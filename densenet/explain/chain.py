"""A plain chain of dense layers with what stands between them, and its right backward pass, layer by layer.

With A(l-1) what enters dense layer l, Z(l) = A(l-1) W(l) + 1 b(l)^T and D(l) = dE/dZ(l)::

    E(L) = dE/dY^            D(l) = E(l) * f'(Z(l))            E(l-1) = D(l) W(l)^T
    dE/dW(l) = A(l-1)^T D(l)                                  dE/db(l) = D(l)^T 1

Every array may have further axes in front: many versions of one delta go through a layer at once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from densenet._types import Array
from densenet.explain.subject import Subject
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.elementwise import Activation
from densenet.layers.noise import Dropout
from densenet.layers.normalization import BatchNorm
from densenet.sequential import Sequential

Gradients = list[tuple[Array, Array | None]]
"""(dW, db) by dense layer."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer without weights of its own in the chain, between two dense layers or after the last.

    Attributes
    ----------
    layer : Layer
    x, y : ndarray (n, columns)
        What entered and what came out.
    slope : ndarray (n, columns) or None
        dy/dx entry by entry; None where entries depend on one another.
    factor : ndarray (n, columns) or None
        For dropout with a given mask: the mask times 1 / (1 - rate).
    """

    layer: Layer
    x: Array
    y: Array
    slope: Array | None = None
    factor: Array | None = None

    def back(self, delta: Array) -> Array:
        """dE/dx from dE/dy, (..., n, columns)."""
        if self.slope is not None:
            return delta * self.slope
        flat = delta.reshape(-1, *self.y.shape)
        return np.stack([self.layer.backward(d.copy()).copy() for d in flat]).reshape(*delta.shape[:-1], -1)

    @property
    def activation(self) -> Activation | None:
        """The layer where it is a function of one number."""
        return self.layer if isinstance(self.layer, Activation) else None

    def slope_at(self, values: Array) -> Array:
        """f' at other numbers than x, for an activation."""
        layer = copy.deepcopy(self.layer)
        assert isinstance(layer, Activation)
        layer.forward(np.ascontiguousarray(values), False)
        return layer.backward(np.ones_like(values)).copy()


class Chain:
    """Forward and backward pass of a model for given data, in float64, on a copy.

    Attributes
    ----------
    into, z, out : list of ndarray (n, columns)
        By dense layer, from 0: A(l-1), Z(l), and what the stages after it give.
    weights : list of ndarray (n_in, n_out)
    biases : list of ndarray (n_out,) or None
    stages : list of list of Stage
        By dense layer: what follows it.
    penalties : list of ndarray (n_in, n_out) or None
        Derivatives of the layers' penalties; None without one.
    decays : list of float
        The layers' `kernel_l2`.
    error_out : ndarray (n, k)
        dE/dY^.
    target : ndarray
    """

    def __init__(self, subject: Subject, *, masks: Sequence[Array] = (), batch: bool = False) -> None:
        model: Sequential = subject.model.astype("float64")
        loss = copy.deepcopy(subject.loss)
        self.loss, self.target, self.x = loss, subject.target, subject.x
        self.into: list[Array] = []
        self.z: list[Array] = []
        self.weights: list[Array] = []
        self.biases: list[Array | None] = []
        self.stages: list[list[Stage]] = []
        self.penalties: list[Array | None] = []
        self.decays: list[float] = []
        given = iter(masks)
        h = subject.x
        for layer in model.layers:
            if isinstance(layer, Dense):
                self._dense(layer, h)
                h = self.z[-1]
                continue
            stage = (
                _dropped(layer, h, next(given)) if masks and isinstance(layer, Dropout) else _passed(layer, h, batch)
            )
            if self.stages:
                self.stages[-1].append(stage)
            h = stage.y
        self.out = [*self.into[1:], h]
        loss.error(h, self.target)
        self.error_out = loss.delta().copy()

    def _dense(self, layer: Dense, x: Array) -> None:
        self.into.append(x)
        self.z.append(layer.forward(x, False).copy())
        self.weights.append(layer.W.copy())
        self.biases.append(layer.b.copy() if layer.use_bias else None)
        self.stages.append([])
        layer.dW = np.zeros_like(layer.W)
        layer.add_penalty_gradients()
        self.penalties.append(layer.dW.copy() if layer.penalised else None)
        self.decays.append(layer.kernel_l2)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def rows(self) -> int:
        """Samples."""
        return len(self.x)

    def back(self, place: int, error: Array, start: int = 0) -> Array:
        """D(l) from E(l): through the stages after a dense layer, from the last to number `start`."""
        for stage in reversed(self.stages[place][start:]):
            error = stage.back(error)
        return error

    @cached_property
    def errors(self) -> list[Array]:
        """E(l) = dE/dA(l) by dense layer."""
        found = [self.error_out]
        for place in range(len(self) - 1, 0, -1):
            found.append(self.back(place, found[-1]) @ self.weights[place].T)
        return found[::-1]

    @cached_property
    def deltas(self) -> list[Array]:
        """D(l) = dE/dZ(l) by dense layer."""
        return [self.back(place, error) for place, error in enumerate(self.errors)]

    @cached_property
    def unpenalised(self) -> Gradients:
        """The right gradients of the loss alone."""
        found: Gradients = []
        for A, D, b in zip(self.into, self.deltas, self.biases, strict=True):
            found.append((A.T @ D, None if b is None else D.sum(axis=0)))  # dE/dW = A^T D, dE/db = D^T 1
        return found

    def gradients(self, penalty: bool) -> Gradients:
        """The right gradients, with the penalties' or without."""
        if not penalty:
            return self.unpenalised
        pairs = zip(self.unpenalised, self.penalties, strict=True)
        return [(dW if P is None else dW + P, db) for (dW, db), P in pairs]

    @cached_property
    def rounding(self) -> list[tuple[Array, Array]]:
        """What float32 may round off in dW and db, entry by entry: 2e-6 times the sums of absolute values.

        Where a sum's terms cancel, its error is relative to the terms and not to the sum.
        """
        size: Array = np.abs(self.error_out)
        numbers = self.loss.task == "regression" and self.target.shape == self.out[-1].shape
        size = size + (np.abs(self.out[-1]) + np.abs(self.target) if numbers else 1.0) / self.rows
        found = []
        for place in range(len(self) - 1, -1, -1):
            for stage in reversed(self.stages[place]):
                if stage.slope is not None:
                    size = size * (np.abs(stage.slope) + 0.05)  # 1 - a^2 is rounded to 1e-7 of 1, however small it is
            found.append((2e-6 * np.abs(self.into[place]).T @ size, 2e-6 * size.sum(axis=0)))
            size = size @ np.abs(self.weights[place]).T
        return found[::-1]


def _passed(layer: Layer, x: Array, batch: bool) -> Stage:
    """A layer as in prediction; batch normalization with the batch's statistics where `batch` says so."""
    training = batch and isinstance(layer, BatchNorm)
    y = layer.forward(x, training).copy()
    apart = not layer.mixes and not training and y.shape == x.shape
    return Stage(layer, x, y, layer.backward(np.ones_like(y)).copy() if apart else None)


def _dropped(layer: Dropout, x: Array, mask: Array) -> Stage:
    """Dropout with a given mask: Y = F * X, F = mask / (1 - rate); a mask above 1 holds the factor already."""
    factor = mask.astype(np.float64)
    if factor.max(initial=0.0) <= 1:
        factor = factor / (1 - layer.rate)
    return Stage(layer, x, x * factor, factor, factor)
