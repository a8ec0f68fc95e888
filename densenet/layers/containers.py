"""Layers made of layers: a shortcut around a chain, and branches side by side.

Both apply the chain rule where a value is used more than once: the derivatives of all its uses add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from densenet._types import Array
from densenet.layers.base import Layer, chain_input, chain_width, check_layers


def _forward(layers: Sequence[Layer], x: Array, training: bool) -> Array:
    for layer in layers:
        x = layer.forward(x, training)
    return x


def _backward(layers: Sequence[Layer], delta: Array) -> Array:
    for layer in reversed(layers):
        delta = layer.backward(delta)
    return delta


def _infer(layers: Sequence[Layer], x: Array) -> Array:
    for layer in layers:
        x = layer.infer(x)
    return x


def chain_samples(layers: Sequence[Layer], delta: Array, out: Array) -> Array:
    """`Layer.backward_samples` of a chain."""
    end = out.shape[1]
    for layer in reversed(layers):
        start = end - layer.n_params_inside
        delta = layer.backward_samples(delta, out[:, start:end])
        end = start
    return delta


def chain_norms(layers: Sequence[Layer], delta: Array, out: Array) -> Array:
    """`Layer.backward_norms` of a chain."""
    for layer in reversed(layers):
        delta = layer.backward_norms(delta, out)
    return delta


def chain_tangent(layers: Sequence[Layer], x_dot: Array, v: Array) -> Array:
    """`Layer.tangent` of a chain."""
    start = 0
    for layer in layers:
        end = start + layer.n_params_inside
        x_dot = layer.tangent(x_dot, v[start:end])
        start = end
    return x_dot


def chain_tangent_backward(layers: Sequence[Layer], delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
    """`Layer.tangent_backward` of a chain."""
    end = len(out)
    for layer in reversed(layers):
        start = end - layer.n_params_inside
        delta, delta_dot = layer.tangent_backward(delta, delta_dot, out[start:end])
        end = start
    return delta, delta_dot


def chain_spans(branches: Sequence[Sequence[Layer]]) -> list[slice]:
    """Where each branch's parameters stand in the container's part of the flat vectors."""
    ends = np.cumsum([sum(layer.n_params_inside for layer in branch) for branch in branches]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class Container(Layer):
    """Base of layers made of layers, whose chains never change."""

    mixes: ClassVar[bool] = True
    _chains: ClassVar[str]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == self._chains and name in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.{name} cannot be replaced: {REPLACE}")
        object.__setattr__(self, name, value)


REPLACE = (
    "make a new model, and pass copies of the layers that shall keep their weights: "
    "Sequential([*copy.deepcopy(model.layers[:-1]), new_layer])."
)
"""What to do where layers were to be exchanged in place."""


class Residual(Container):
    """A chain f with a shortcut around it: Y = X + f(X).

    With D = dE/dY::

        dE/dX = D + (df/dX)^T D

    Parameters
    ----------
    layers : list of Layer
        The chain f; it gives as many columns as it takes.

    Raises
    ------
    ValueError
        If widths inside do not fit, or f gives another number of columns than it takes.

    References
    ----------
    .. [1] He et al., "Deep Residual Learning for Image Recognition" (2016), equation 1.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Residual([dn.Tanh()])], dtype="float64")
    >>> model.forward([[0.0, 1.0]]).round(4)
    array([[0.    , 1.7616]])
    """

    _chains = "layers"
    layers: tuple[Layer, ...]

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = check_layers(layers, "Residual")
        self.n_in = chain_input(self.layers)
        self.n_out = chain_width(self.layers, self.n_in, "Residual")
        if self.n_in != self.n_out:
            raise ValueError(
                f"Residual expects f to give as many columns as it takes, got {self.n_in} to {self.n_out}."
            )

    @property
    def children(self) -> Sequence[Layer]:
        return self.layers

    def config(self) -> dict[str, Any]:
        return {"layers": list(self.layers)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Layer.__setstate__(self, state | {"layers": tuple(state["layers"])})  # a list in pickles of densenet 0.1

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape = self._out_shape = x.shape
            self._y = self._buffer("y", x.shape, x.dtype)
            self._d = self._buffer("d", x.shape, x.dtype)
        return np.add(x, _forward(self.layers, x, training), out=self._y)  # Y = X + f(X)

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._d[...] = delta  # the chain may overwrite its own
        delta += _backward(self.layers, self._d)  # dE/dX = D + (df/dX)^T D
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        return np.add(x, _infer(self.layers, x), out=out)  # Y = X + f(X)

    def backward_samples(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._d[...] = delta
        delta += chain_samples(self.layers, self._d, out)
        return delta

    def backward_norms(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._d[...] = delta
        delta += chain_norms(self.layers, self._d, out)
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        return x_dot + chain_tangent(self.layers, x_dot, v)  # Y' = X' + (f(X))'

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        dx, dx_dot = chain_tangent_backward(self.layers, delta, delta_dot, out)
        return delta + dx, delta_dot + dx_dot


class Concatenate(Container):
    """Branches of one X side by side: Y = [f_1(X), f_2(X), ...].

    With D = [D_1, D_2, ...] = dE/dY::

        dE/dX = sum_i (df_i/dX)^T D_i

    Parameters
    ----------
    branches : list of lists of Layer
        The chains f_i; an empty one passes X.

    Raises
    ------
    ValueError
        If widths inside do not fit or the branches take different numbers of columns.

    References
    ----------
    .. [1] Huang et al., "Densely Connected Convolutional Networks" (2017), equation 2, for the use of joined inputs.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Concatenate([[], [dn.Tanh()]])], dtype="float64")
    >>> model.forward([[0.0, 1.0]]).round(4)
    array([[0.    , 1.    , 0.    , 0.7616]])
    """

    _chains = "branches"
    branches: tuple[tuple[Layer, ...], ...]

    def __init__(self, branches: Sequence[Sequence[Layer]]) -> None:
        if isinstance(branches, Layer) or not isinstance(branches, (list, tuple)) or not branches:
            raise TypeError(f"Concatenate expects a list of branches, each a list of layers, got {branches!r}.")
        self.branches = tuple(check_layers(branch, "Concatenate") for branch in branches)
        widths = sorted({width for branch in self.branches if (width := chain_input(branch)) is not None})
        if len(widths) > 1:
            raise ValueError(f"Concatenate expects branches that take the same columns, got {widths}.")
        self.n_in = widths[0] if widths else None
        self.n_out = self.output_width(self.n_in)
        kinds = {branch[-1].gives if branch else "values" for branch in self.branches}
        if len(kinds) == 1:  # a shortcut changes what a chain gives, so Residual gives values
            self.gives = kinds.pop()

    @property
    def children(self) -> Sequence[Layer]:
        return [layer for branch in self.branches for layer in branch]

    def config(self) -> dict[str, Any]:
        return {"branches": [list(branch) for branch in self.branches]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Layer.__setstate__(self, state | {"branches": tuple(tuple(branch) for branch in state["branches"])})

    def output_width(self, n_in: int | None) -> int | None:
        widths = [chain_width(branch, n_in, f"Concatenate, branch {i}") for i, branch in enumerate(self.branches)]
        return None if None in widths else sum(w for w in widths if w is not None)

    def forward(self, x: Array, training: bool = True) -> Array:
        parts = [_forward(branch, x, training) for branch in self.branches]
        if x.shape != self._shape:
            self._check_input(x)
            ends = np.cumsum([part.shape[1] for part in parts])
            self._columns = [slice(int(end) - part.shape[1], int(end)) for end, part in zip(ends, parts, strict=True)]
            self._shape, self._out_shape = x.shape, (len(x), int(ends[-1]))
            self._y = self._buffer("y", self._out_shape, x.dtype)
            self._dx = self._buffer("dx", x.shape, x.dtype)
            self._parts = [self._buffer(f"d{i}", part.shape, x.dtype) for i, part in enumerate(parts)]
        for columns, part in zip(self._columns, parts, strict=True):
            self._y[:, columns] = part  # Y = [f_1(X), f_2(X), ...]
        return self._y

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._dx.fill(0)
        for branch, columns, part in zip(self.branches, self._columns, self._parts, strict=True):
            part[...] = delta[:, columns]
            self._dx += _backward(branch, part)  # dE/dX = sum_i (df_i/dX)^T D_i
        return self._dx

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y: Any = np.concatenate([_infer(branch, x) for branch in self.branches], axis=1, out=out)
        return np.asarray(y)

    def backward_samples(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._dx.fill(0)
        spans = chain_spans(self.branches)
        for branch, columns, part, span in zip(self.branches, self._columns, self._parts, spans, strict=True):
            part[...] = delta[:, columns]
            self._dx += chain_samples(branch, part, out[:, span])
        return self._dx

    def backward_norms(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._dx.fill(0)
        for branch, columns, part in zip(self.branches, self._columns, self._parts, strict=True):
            part[...] = delta[:, columns]
            self._dx += chain_norms(branch, part, out)
        return self._dx

    def tangent(self, x_dot: Array, v: Array) -> Array:
        spans = chain_spans(self.branches)
        parts = [chain_tangent(branch, x_dot, v[span]) for branch, span in zip(self.branches, spans, strict=True)]
        return np.concatenate(parts, axis=1)  # Y' = [(f_1(X))', (f_2(X))', ...]

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        dx, dx_dot = np.zeros((2, *self._shape), delta.dtype)
        for branch, columns, span in zip(self.branches, self._columns, chain_spans(self.branches), strict=True):
            part, part_dot = np.ascontiguousarray(delta[:, columns]), np.ascontiguousarray(delta_dot[:, columns])
            of_branch, of_branch_dot = chain_tangent_backward(branch, part, part_dot, out[span])
            dx += of_branch
            dx_dot += of_branch_dot
        return dx, dx_dot
