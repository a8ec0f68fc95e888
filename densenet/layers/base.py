"""What a layer is: a function of a matrix with its derivative written out.

A layer maps every row of X to a row of Y. Going forward it keeps what its derivative will need; going backward it is
given delta = dE/dY and applies the chain rule once: it fills dE/d(its parameters) and returns dE/dX, which is the
delta of the layer before it. For one weight w that feeds several outputs y_k, dE/dw = sum_k dE/dy_k dy_k/dw; matrices
only write that sum for all weights at once.

Inside training, layers pass working buffers on: an array returned by `forward` or `backward` is valid until the next
call, and `backward` may overwrite the delta it is given. `forward` never writes to its input. `Sequential` hands
fresh arrays to its callers.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, overload

import numpy as np

from densenet import initializers
from densenet._config import Configured
from densenet._memory import Buffers, without_caches
from densenet._types import Array
from densenet.initializers import Initializer
from densenet.losses.base import Output


@dataclass
class Mark:
    """How the optimizer treats one parameter array."""

    trainable: bool = True
    decayed: bool | float = True
    rate: float = 1.0


class Parameter:
    """A named view of the model's flat vectors: reading gives the view, assigning copies values in.

    Declared in a layer's class body, next to its gradient::

        W, dW = Parameter(), Parameter()

    The view itself stands in the instance as ``_W``, where the layer's own equations read it without a detour. A
    parameter that this layer was made without, such as b of ``Dense(2, 3, use_bias=False)``, is None.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, layer: None, owner: type) -> Self: ...
    @overload
    def __get__(self, layer: Layer, owner: type) -> Array: ...
    def __get__(self, layer: Layer | None, owner: type) -> Any:
        if layer is None:
            return self
        view = layer.__dict__.get("_" + self.name)
        if view is None:
            if self.name not in (shapes := layer.parameter_shapes()) and self.name[1:] not in shapes:
                return None  # b and db of a layer without a bias
            raise RuntimeError(
                f"{layer!r} has no {self.name} yet: its arrays are views of a model's flat vectors. "
                "Put the layer into Sequential([...]) first."
            )
        return view

    def __set__(self, layer: Layer, value: Any) -> None:
        view = self.__get__(layer, type(layer))
        if view is None:
            raise AttributeError(f"{layer!r} has no {self.name}: it was made without.")
        copy_into(view, value, f"{type(layer).__name__}.{self.name}")


def copy_into(view: Array, value: Any, name: str) -> None:
    """Copy `value` into `view` after checking its shape, so that no view is ever rebound."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} expects real numbers, got dtype {array.dtype}.")
    if array.shape != view.shape:
        raise ValueError(f"{name} expects shape {view.shape}, got {array.shape}.")
    view[...] = array


class Layer(Configured, ABC):
    """One function of a matrix, with `forward`, `backward` and `infer`.

    To write a layer of your own, give three methods and, if it has parameters, two more::

        class Shift(dn.Layer):                       # Y = X + 1 t^T
            t, dt = dn.Parameter(), dn.Parameter()   # views: t and dE/dt

            def __init__(self, n):
                self.n = self.n_in = self.n_out = n

            def parameter_shapes(self):
                return {"t": (self.n,)}

            def initialize(self, rng):
                self.t[...] = 0

            def forward(self, x, training=True):
                return x + self.t                    # Y = X + 1 t^T

            def infer(self, x, out=None):
                return np.add(x, self.t, out=out)

            def backward(self, delta):
                self.dt[...] = delta.sum(axis=0)     # dE/dt = D^T 1
                return delta                         # dE/dX = D

    Constructor arguments are kept under their own names: `repr`, copies and model files read them there.
    `densenet.gradcheck` tells whether the derivative is right.

    Three methods more are optional: `backward_samples` makes Jacobians and Levenberg-Marquardt fast, `tangent` gives
    products J v, and with `tangent_backward` Hessian products.

    Attributes
    ----------
    n_in, n_out : int or None
        Columns taken and given; None where the layer takes any width and keeps it.
    """

    n_in: int | None = None
    n_out: int | None = None
    mixes: ClassVar[bool] = False
    """Whether an output depends on other neurons' inputs (Softmax, normalization over a row, containers)."""
    undecayed: ClassVar[tuple[str, ...]] = ()
    """Parameters that weight decay leaves alone unless `set_decay` says otherwise."""
    state_names: ClassVar[tuple[str, ...]] = ()
    """Arrays kept beside the parameters, such as running statistics."""
    draws: ClassVar[bool] = False
    """Whether the layer draws random numbers in training."""
    gives: Output = "values"
    """What the outputs are, in the words of `Loss.expects`: "values", "probabilities" or "log-probabilities"."""
    couples_samples: ClassVar[bool] = False
    """Whether in training a row of the output depends on other rows (BatchNorm)."""
    by_place: ClassVar[bool] = False
    """Whether in training a row of the output depends on the row's place in the mini-batch (Mixture)."""

    _shape: tuple[int, ...] = ()
    _out_shape: tuple[int, ...] = ()
    generator: np.random.Generator | None = None
    """What a layer that draws takes its numbers from; its model gives it one."""
    trained: bool = False
    """Whether this is a copy of a model's layer: a model that is made of it keeps its parameters and statistics."""
    _marks_changed: Callable[[], None] | None = None

    # -- the function and its derivative -----------------------------------------------------------------------

    @abstractmethod
    def forward(self, x: Array, training: bool = True) -> Array:
        """Y = f(X), keeping what `backward` needs.

        Parameters
        ----------
        x : ndarray (n, n_in)
        training : bool, default True
            False uses running statistics and no noise.

        Returns
        -------
        ndarray (n, n_out)
            A working buffer, valid until the next call.
        """

    @abstractmethod
    def backward(self, delta: Array) -> Array:
        """dE/dX from delta = dE/dY; fills dE/d(parameters).

        Parameters
        ----------
        delta : ndarray (n, n_out)
            May be overwritten.

        Returns
        -------
        ndarray (n, n_in)
            A working buffer, valid until the next call.
        """

    @abstractmethod
    def infer(self, x: Array, out: Array | None = None) -> Array:
        """Y = f(X) without changing any state, so that many threads may call it at once.

        Parameters
        ----------
        x : ndarray (n, n_in)
        out : ndarray (n, n_out), optional
            Where to write Y; it never overlaps x. Fresh by default.
        """

    def backward_parameters(self, delta: Array) -> None:
        """Only dE/d(parameters): in training, the first layer of a chain needs no more."""
        self.backward(delta)

    # -- derivatives sample by sample, and along a direction ------------------------------------------------------

    def backward_samples(self, delta: Array, out: Array) -> Array:
        """As `backward`, with every sample's own derivative by the parameters in a row of `out` instead of their sum.

        Unless a layer says how, one sample's delta goes through `backward` at a time: n passes, right for every layer
        that does not couple samples.

        Parameters
        ----------
        delta : ndarray (n, n_out)
            May be overwritten.
        out : ndarray (n, parameters)
            Columns in the order of the model's flat vectors, the layers inside after the layer's own.

        Returns
        -------
        ndarray (n, n_in)
            A working buffer, valid until the next call.
        """
        if out.shape[1]:
            alone = np.zeros_like(delta)
            for s in range(len(delta)):
                alone.fill(0)
                alone[s] = delta[s]
                self.backward(alone)
                gradients = [getattr(a, "d" + name).ravel() for a in self.walk() for name in a.parameter_shapes()]
                np.concatenate(gradients, out=out[s])
        return self.backward(delta)

    def backward_norms(self, delta: Array, out: Array) -> Array:
        """As `backward`, with the squared length of every sample's own derivative by the parameters added to `out`.

        Parameters
        ----------
        delta : ndarray (n, n_out)
            May be overwritten.
        out : ndarray (n,)

        Returns
        -------
        ndarray (n, n_in)
            A working buffer, valid until the next call.
        """
        rows = np.empty((len(delta), self.n_params_inside), delta.dtype)
        dx = self.backward_samples(delta, rows)
        out += np.einsum("sp,sp->s", rows, rows)  # |g_s|^2
        return dx

    def tangent(self, x_dot: Array, v: Array) -> Array:
        """How Y moves when X and the parameters move: dY/dt for X + t X' and w + t v, at t = 0, after `forward`.

        Parameters
        ----------
        x_dot : ndarray (n, n_in)
            X'. Not to be written.
        v : ndarray (parameters,)
            Columns as in `backward_samples`.

        Returns
        -------
        ndarray (n, n_out)
            Y', fresh.

        Raises
        ------
        TypeError
            If the layer has none.
        """
        raise TypeError(f"{type(self).__name__} has no tangent(x_dot, v): products J v and Hessian products need it.")

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        """How `backward` moves along the direction of the last `tangent`, where delta moves by `delta_dot`.

        Parameters
        ----------
        delta, delta_dot : ndarray (n, n_out)
            D and D' = dD/dt. Not to be written.
        out : ndarray (parameters,)
            Gets d/dt of dE/d(parameters).

        Returns
        -------
        dx, dx_dot : ndarray (n, n_in)
            dE/dX and its derivative by t, fresh.

        Raises
        ------
        TypeError
            If the layer has none.
        """
        raise TypeError(
            f"{type(self).__name__} has no tangent_backward(delta, delta_dot, out): Hessian products need it."
        )

    # -- parameters --------------------------------------------------------------------------------------------

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by name; for each name the class declares `name` and `dname` as `Parameter`."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill the parameters in place."""

    def reset_state(self, dtype: Any) -> None:
        """Make the arrays of `state_names` anew."""

    @property
    def state(self) -> dict[str, Array]:
        """The arrays kept beside the parameters (running statistics), by name."""
        return {name: getattr(self, name) for name in self.state_names}

    def penalty(self) -> float:
        """The layer's share of the penalty that is added to the error."""
        return 0.0

    def add_penalty_gradients(self) -> None:
        """Add the penalty's derivative to the gradients."""

    def constrain(self) -> None:
        """Bring the parameters back into their allowed set after an update."""

    @property
    def penalised(self) -> bool:
        """Whether `penalty` can be anything but 0."""
        return False

    @property
    def constrained(self) -> bool:
        """Whether `constrain` does anything."""
        return False

    @property
    def marks(self) -> dict[str, Mark]:
        """How the optimizer treats each parameter: trainable, decayed, rate factor."""
        kept: dict[str, Mark] = self.__dict__.setdefault("_marks", {})
        for name in self.parameter_shapes():
            kept.setdefault(name, Mark(decayed=name not in self.undecayed))
        return kept

    def freeze(self, *names: str) -> Self:
        """Keep parameters as they are in training; all of them when none is named."""
        return self.mark(names, trainable=False)

    def unfreeze(self, *names: str) -> Self:
        """Train parameters again; all of them when none is named."""
        return self.mark(names, trainable=True)

    def set_decay(self, decayed: bool | float, *names: str) -> Self:
        """Let the optimizer's `weight_decay` act on parameters (all by default), or not, or times a factor."""
        if isinstance(decayed, (bool, np.bool_)):
            return self.mark(names, decayed=bool(decayed))
        return self.mark(names, decayed=_mark_factor(decayed, self, "set_decay"))

    def set_rate(self, factor: float, *names: str) -> Self:
        """Multiply the learning rate of parameters by `factor`; all of them when none is named."""
        return self.mark(names, rate=_mark_factor(factor, self, "set_rate"))

    def mark(self, names: Sequence[str], **values: Any) -> Self:
        """Set fields of the marks of these parameters, of all when none is named, here or inside a container."""
        if self.children:
            inner = [(layer, layer.marks) for layer in self.walk() if not layer.children]
            for name in names:
                if not any(name in marks for _, marks in inner):
                    raise ValueError(f"{self!r} holds no layer with a parameter {name!r}.")
            for layer, marks in inner:
                if wanted := [name for name in names or marks if name in marks]:
                    layer.mark(wanted, **values)
            return self
        marks = self.marks
        for name in names or marks:
            if name not in marks:
                raise ValueError(f"{self!r} has no parameter {name!r}; it has {list(marks)}.")
            for key, value in values.items():
                setattr(marks[name], key, value)
        if self._marks_changed is not None:
            self._marks_changed()
        return self

    @property
    def owned(self) -> bool:
        """Whether the layer belongs to a model."""
        return self._marks_changed is not None

    def join(self, marks_changed: Callable[[], None]) -> None:
        """Belong to a model, which is told when marks change."""
        self._marks_changed = marks_changed

    def bind(self, params: Array, grads: Array) -> None:
        """Make the parameters and gradients views of these two vectors, in the order of `parameter_shapes`."""
        offset = 0
        for name, shape in self.parameter_shapes().items():
            end = offset + math.prod(shape)
            self.__dict__["_" + name] = params[offset:end].reshape(shape)
            self.__dict__["_d" + name] = grads[offset:end].reshape(shape)
            offset = end

    @property
    def n_params(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def n_params_inside(self) -> int:
        """Number of parameters of this layer and of every layer inside it."""
        return sum(layer.n_params for layer in self.walk())

    # -- shape -------------------------------------------------------------------------------------------------

    @property
    def children(self) -> Sequence[Layer]:
        """The layers inside a container; none otherwise."""
        return ()

    def walk(self) -> Iterator[Layer]:
        """This layer and every layer inside it, depth-first."""
        yield self
        for layer in self.children:
            yield from layer.walk()

    def output_width(self, n_in: int | None) -> int | None:
        """Columns given for `n_in` columns taken; None where it is not known yet."""
        return n_in if self.n_out is None else self.n_out

    def _check_input(self, x: Array) -> None:
        if x.ndim != 2 or (self.n_in is not None and x.shape[1] != self.n_in):
            columns = "columns" if self.n_in is None else self.n_in
            raise ValueError(f"{type(self).__name__} expects x of shape (n, {columns}), got {x.shape}.")

    def _check_delta(self, delta: Array) -> None:
        """Complain unless delta has the shape of the last output."""
        if delta.shape != self._out_shape:
            name = type(self).__name__
            if not self._out_shape:
                raise RuntimeError(
                    f"{name}.backward needs a forward pass first: call forward(x) before backward(delta)."
                )
            raise ValueError(
                f"{name}.backward expects delta of shape {self._out_shape}, the output's, got {delta.shape}."
            )

    # -- working memory ----------------------------------------------------------------------------------------

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """A working array that is kept between calls."""
        buffers: Buffers | None = self.__dict__.get("_buffers")
        if buffers is None:
            buffers = self._buffers = Buffers()
        return buffers(name, shape, dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but caches: copies and pickles carry the configuration, parameters, state and generators."""
        kept = without_caches(self.__dict__, frozenset({"_marks"}))
        if self.owned or self.trained:
            kept["trained"] = True
            kept["_parameters"] = [np.array(getattr(self, name)) for name in self.parameter_shapes()]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        renamed = {"_rng": "generator"}  # as pickles of densenet 0.1 have it
        self.__dict__.update({renamed.get(name, name): value for name, value in state.items()})
        parameters = self.__dict__.pop("_parameters", [])
        if parameters:
            own = np.concatenate([array.ravel() for array in parameters])
            self.bind(own, np.zeros_like(own))

    def take_over(self, dtype: Any) -> None:
        """Join a new model with the parameters and statistics of the copied layer."""
        for name in self.state_names:
            setattr(self, name, getattr(self, name).astype(dtype))
        self.trained = False

    def _is_default(self, default: Any, value: Any) -> bool:
        if isinstance(value, Initializer) and isinstance(default, str):
            default = initializers.get(default)
        return value is default or bool(value == default)

    def _argument(self, parameter: inspect.Parameter, value: Any) -> str:
        return repr(value) if parameter.default is inspect.Parameter.empty else f"{parameter.name}={value!r}"


def _mark_factor(factor: float, layer: Layer, method: str) -> float:
    if not (isinstance(factor, (int, float)) and math.isfinite(factor) and factor >= 0):
        raise ValueError(f"{type(layer).__name__}.{method} expects a finite factor of at least 0, got {factor!r}.")
    return float(factor)


def every_layer(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """These layers and all inside them, depth-first, a container before the layers inside it."""
    return tuple(layer for top in layers for layer in top.walk())


def chain_width(layers: Sequence[Layer], n_in: int | None, where: str) -> int | None:
    """Columns a chain gives for `n_in` columns taken; ValueError naming both layers where widths don't fit."""
    width, giver = n_in, -1
    for i, layer in enumerate(layers):
        if layer.n_in is not None and width is not None and layer.n_in != width:
            given_by = "the input" if giver < 0 else f"layer {giver}, {layers[giver]!r},"
            raise ValueError(
                f"{where}: layer {i}, {layer!r}, expects {layer.n_in} columns, but {given_by} gives {width}."
            )
        width = layer.output_width(layer.n_in if layer.n_in is not None else width)
        if layer.n_in is not None or layer.n_out is not None:
            giver = i
    return width


def chain_input(layers: Sequence[Layer]) -> int | None:
    """Columns a chain takes: its first layer with a fixed number of columns decides."""
    for layer in layers:
        if layer.n_in is not None:
            return layer.n_in
        if layer.n_out is not None:
            return None
    return None


def check_layers(layers: Any, who: str) -> tuple[Layer, ...]:
    """The layers of a chain as a tuple, after a check of every entry."""
    if isinstance(layers, Layer) or not isinstance(layers, (list, tuple)):
        raise TypeError(f"{who} expects a list of layers, got {type(layers).__name__}: write {who}([...]).")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            hint = " (a class: add parentheses)" if isinstance(layer, type) else ""
            raise TypeError(f"{who}: entry {i} is {layer!r}{hint}, not a Layer.")
    return tuple(layers)
