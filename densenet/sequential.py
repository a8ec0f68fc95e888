"""The chain of layers, and the two flat vectors that all its parameters and gradients live in.

Layers hold views of the vectors: equations see matrices, optimizers see one vector. The forward pass goes through the
layers in order; the backward pass takes dE/d(output) through them in reverse, each layer applying the chain rule once.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np

from densenet._memory import Buffers
from densenet._types import Array
from densenet._validation import as_generator, as_matrix, as_numbers, cast, check_finite, check_matrix, positive_int
from densenet.layers.base import Layer, chain_input, chain_width, check_layers, copy_into, every_layer
from densenet.layers.containers import REPLACE
from densenet.layers.dense import Dense
from densenet.optimizers.base import Marks
from densenet.summary import Summary, summarize

if TYPE_CHECKING:
    from densenet.losses.base import Loss
    from densenet.tables import TablePreparation

_CHUNK_BYTES = 1 << 20


class Sequential:
    """Layers in a chain: Y = f_L(... f_2(f_1(X))).

    Backward, with D_L = dE/dY::

        D_(l-1) = (df_l/dX)^T D_l        for l = L ... 1

    Parameters
    ----------
    layers : list of Layer
        Each belongs to this model alone.
    seed : int, numpy.random.Generator or None, default None
        Sets the initial weights and the draws of noise layers.
    dtype : {"float32", "float64"}, default "float32"

    ``len(model)``, ``model[i]`` and iteration go over `layers`; `every_layer` has those inside containers too.

    To reuse trained layers, pass copies: a copy keeps its parameters, statistics and marks, others are drawn anew. This
    gives a model a new head::

        dn.Sequential([*copy.deepcopy(model.layers[:-1]), dn.Dense(128, 3)], seed=0)

    Attributes
    ----------
    layers : tuple of Layer
        As they were passed; a model keeps them for its life.
    params, grads : ndarray (n_params,)
        The flat vectors; assigning copies values in.
    n_in, n_out : int or None
        Columns taken and given.
    preparation : TablePreparation or None
        What makes x of a table, where it was saved with the model.
    loss : Loss or None
        What the model was trained with, where it was saved with it.

    Raises
    ------
    TypeError
        If an entry is not a layer.
    ValueError
        If there is none, widths do not fit together, or a layer is used twice or in another model.

    References
    ----------
    .. [1] Nielsen, "Neural Networks and Deep Learning" (2015), chapter 2, equations BP1 to BP4.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(64, 128), dn.ReLU(), dn.Dense(128, 10)], seed=0)
    >>> x, y = dn.datasets.load_digits()
    >>> model.predict(x).shape
    (1797, 10)
    >>> model.params.shape
    (9610,)
    """

    preparation: TablePreparation | None = None
    loss: Loss | None = None

    def __init__(self, layers: Sequence[Layer], *, seed: Any = None, dtype: Any = "float32") -> None:
        self._layers = check_layers(layers, "Sequential")
        if not self.layers:
            raise ValueError("Sequential expects at least one layer, got an empty list.")
        self.dtype = _dtype(dtype)
        every = every_layer(self.layers)
        for i, layer in enumerate(every):
            if any(layer is other for other in every[:i]):
                raise ValueError(f"{layer!r} stands twice in the model: it belongs to one place. Make a second one.")
            if layer.owned:
                raise ValueError(
                    f"{layer!r} belongs to another model: pass copy.deepcopy(layer), which keeps its weights."
                )
        chain_width(self.layers, None, "Sequential")
        rng = as_generator(seed, "Sequential")
        self._connect(_joined(every, self.dtype))
        for layer in every:
            if layer.trained:
                layer.take_over(self.dtype)
            else:
                layer.reset_state(self.dtype)
                layer.initialize(rng)
                _warn_of_unnamed(layer)
            if layer.draws:
                layer.generator = rng.spawn(1)[0]

    def _connect(self, params: Array) -> None:
        """Make every layer's arrays views of the flat vectors, and the chain of bound methods that training runs."""
        self._params, self._grads = params, np.zeros(params.size, params.dtype)
        self._every = every_layer(self.layers)
        self._marks: Marks | None = None
        offset = 0
        for layer in self._every:
            end = offset + layer.n_params
            layer.bind(params[offset:end], self._grads[offset:end])
            layer.join(self.forget_marks)
            offset = end
        self.n_in = chain_input(self.layers)
        self.n_out = chain_width(self.layers, self.n_in, "Sequential")
        self._forwards = [layer.forward for layer in self.layers]
        first = next((i for i, top in enumerate(self.layers) if any(layer.n_params for layer in top.walk())), None)
        self._backwards: list[Callable[[Array], Array]] = []
        self._backward_first: Callable[[Array], None] | None = None
        if first is not None:
            self._backwards = [layer.backward for layer in reversed(self.layers[first + 1 :])]
            self._backward_first = self.layers[first].backward_parameters
        self._penalised = [layer for layer in self._every if layer.penalised]
        self._constrained = [layer for layer in self._every if layer.constrained]

    # -- the flat vectors --------------------------------------------------------------------------------------

    @property
    def params(self) -> Array:
        """All parameters as one vector, layer by layer; assigning copies values in."""
        return self._params

    @params.setter
    def params(self, values: Any) -> None:
        copy_into(self._params, values, "Sequential.params")

    @property
    def grads(self) -> Array:
        """dE/d(params) of the last backward pass, in the same order; assigning copies values in."""
        return self._grads

    @grads.setter
    def grads(self, values: Any) -> None:
        copy_into(self._grads, values, "Sequential.grads")

    @property
    def dense_layers(self) -> list[Dense]:
        """The dense layers by number: depth-first, in order of construction; number 1 is the first entry."""
        return [layer for layer in self._every if isinstance(layer, Dense)]

    @property
    def marks(self) -> Marks:
        """The layers' marks as flat vectors; None where all are 1."""
        if self._marks is None:
            rate, decay = np.ones_like(self._params), np.ones_like(self._params)
            offset = 0
            for layer in self._every:
                for name, shape in layer.parameter_shapes().items():
                    mark, end = layer.marks[name], offset + math.prod(shape)
                    rate[offset:end] = mark.rate if mark.trainable else 0.0
                    decay[offset:end] = mark.decayed
                    offset = end
            self._marks = Marks(
                rate=None if (rate == 1).all() else rate,
                decay=None if (decay == 1).all() else decay,
            )
        return self._marks

    def forget_marks(self) -> None:
        """Read the layers' marks anew at the next use; layers call it when theirs change."""
        self._marks = None

    # -- the layers --------------------------------------------------------------------------------------------

    @property
    def every_layer(self) -> tuple[Layer, ...]:
        """Every layer, depth-first in order of construction, a container before the layers inside it."""
        return self._every

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers as they were passed, each of its own class."""
        return self._layers

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(f"Sequential.layers cannot be replaced: {REPLACE}")

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, i: slice) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, i: SupportsIndex) -> Any: ...
    def __getitem__(self, i: slice | SupportsIndex) -> Any:
        return self.layers[i]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    @property
    def penalised(self) -> bool:
        """Whether a layer adds a penalty to the error, so that `penalty` can be anything but 0."""
        return bool(self._penalised)

    @property
    def constrained(self) -> bool:
        """Whether `constrain` does anything."""
        return bool(self._constrained)

    def state_arrays(self) -> list[Array]:
        """All that training changes: the parameters and the layers' running statistics, not copied."""
        return [self._params, *(array for layer in self._every for array in layer.state.values())]

    def load_state_arrays(self, kept: Sequence[Array]) -> None:
        """Copy values back into what `state_arrays` gives."""
        for array, values in zip(self.state_arrays(), kept, strict=True):
            array[...] = values

    # -- inside the training loop: working buffers, no checks --------------------------------------------------

    def run_forward(self, x: Array, training: bool = True) -> Array:
        """The forward pass on an array of the model's dtype; returns a working buffer."""
        for forward in self._forwards:
            x = forward(x, training)
        return x

    def run_backward(self, delta: Array) -> None:
        """The backward pass that training needs: fills `grads`, may overwrite delta, leaves dE/dx out."""
        for backward in self._backwards:
            delta = backward(delta)  # D_(l-1) = (df_l/dX)^T D_l
        if self._backward_first is not None:
            self._backward_first(delta)

    def run_infer(self, x: Array, work: Buffers, out: Array | None = None) -> Array:
        """The output, without changing any state; two working arrays take turns. The last layer writes to `out`."""
        last, width = len(self.layers) - 1, x.shape[1]
        for i, layer in enumerate(self.layers):
            width = layer.output_width(width) or width
            if i < last or out is None:
                x = layer.infer(x, work("ab"[i % 2], (x.shape[0], width), self.dtype))
            else:
                x = layer.infer(x, out)
        if out is not None and x is not out:  # the layer has ignored `out`
            out[...] = x
            return out
        return x

    def penalty(self) -> float:
        """The sum of the layers' penalties (`kernel_l1`, `kernel_l2`), which training adds to the error."""
        return sum((layer.penalty() for layer in self._penalised), 0.0)

    def add_penalty_gradients(self) -> None:
        """Add d(penalty)/d(params) to `grads`."""
        for layer in self._penalised:
            layer.add_penalty_gradients()

    def constrain(self) -> None:
        """Bring the parameters back into their allowed sets (`max_norm`)."""
        for layer in self._constrained:
            layer.constrain()

    # -- by hand -----------------------------------------------------------------------------------------------

    def forward(self, x: Any, training: bool = True) -> Array:
        """The output, keeping what `backward` needs.

        Parameters
        ----------
        x : array_like (n, n_in)
        training : bool, default True
            False uses running statistics and no noise.

        Returns
        -------
        ndarray (n, n_out)
            Fresh.

        Raises
        ------
        ValueError, TypeError
            If x has another shape or does not hold real numbers.
        """
        x = as_matrix(x, self.n_in, self.dtype, self._who, copy=True)
        return self.run_forward(x, training).copy()

    def backward(self, delta: Any) -> Array:
        """dE/dx from delta = dE/d(output of the last `forward`); fills `grads`.

        Parameters
        ----------
        delta : array_like (n, n_out)

        Returns
        -------
        ndarray (n, n_in)
            Fresh.

        Raises
        ------
        RuntimeError
            Without a `forward` before it.
        ValueError
            If delta has not the output's shape.
        """
        who = type(self.layers[-1]).__name__ + ".backward"
        d = as_matrix(delta, None, self.dtype, who, name="delta", copy=True)
        for layer in reversed(self.layers):
            d = layer.backward(d)
        return d.copy()

    def activations(self, x: Any) -> list[Array]:
        """Every layer's output for x (n, n_in), in order: fresh arrays; no state is written."""
        x = self._checked(x)
        outputs = []
        for layer in self.layers:
            x = layer.infer(x)
            outputs.append(x)
        return outputs

    def predict(self, x: Any, *, batch_size: int | None = None) -> Array:
        """The raw outputs of the last layer.

        Works through x batch by batch and writes no state, so that any number of threads may predict with one model;
        a memory map is never copied whole.

        Parameters
        ----------
        x : array_like (n, n_in)
        batch_size : int, optional
            Rows at a time; by default as many as keep the working arrays in the cache.

        Returns
        -------
        ndarray (n, n_out)
            Fresh.

        Raises
        ------
        ValueError, TypeError
            If x has another shape, is not numbers, or holds NaN or infinity (naming row and column).

        Examples
        --------
        >>> import densenet as dn
        >>> dn.Sequential([dn.Dense(3, 2, kernel_initializer="ones")]).predict([[1, 2, 3]])
        array([[6., 6.]], dtype=float32)
        """
        array = as_numbers(x, self._who, "x")
        check_matrix(array, self.n_in, self._who)
        rows = self.predict_rows if batch_size is None else positive_int(batch_size, "predict", "batch_size")
        out = np.empty((len(array), self.output_width(array.shape[1])), self.dtype)
        work = Buffers()
        for start in range(0, len(array), rows):
            part = cast(array[start : start + rows], self.dtype)
            check_finite(part, "predict", "x", first_row=start, source=array[start : start + rows])
            self.run_infer(part, work, out[start : start + rows])
        return out

    def output_width(self, n_in: int) -> int:
        """Columns given for `n_in` columns taken."""
        width = self.n_out or chain_width(self.layers, n_in, "Sequential")
        return n_in if width is None else width

    @property
    def predict_rows(self) -> int:
        """Rows at a time that keep the working arrays of `predict` in the cache."""
        widths = [w for layer in self._every for w in (layer.n_in, layer.n_out) if w is not None]
        return max(64, min(8192, _CHUNK_BYTES // (self.dtype.itemsize * max(widths, default=64))))

    @property
    def _who(self) -> str:
        return type(self.layers[0]).__name__

    def _checked(self, x: Any) -> Array:
        made = as_matrix(x, self.n_in, self.dtype, self._who)
        check_finite(made, self._who, "x", source=x)
        return made

    def astype(self, dtype: Any) -> Sequential:
        """A copy that computes in another dtype: weights, statistics, marks and generators travel.

        Examples
        --------
        >>> import densenet as dn
        >>> dn.mlp([2, 1]).astype("float64").params.dtype
        dtype('float64')
        """
        state = copy.deepcopy(self.__getstate__())
        made = Sequential.__new__(Sequential)
        made.__setstate__(state | {"dtype": _dtype(dtype)})
        for layer in made.every_layer:
            layer.take_over(made.dtype)
        return made

    # -- copies ------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: self.__dict__[name] for name in ("preparation", "loss") if name in self.__dict__}
        return kept | {"layers": self.layers, "dtype": self.dtype}  # the layers carry their parameters

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: value for name, value in state.items() if name not in ("params", "layers")})
        self._layers = tuple(state["layers"])
        params = state.get("params")  # of a file, and of pickles of densenet 0.1
        self._connect(_joined(every_layer(self.layers), self.dtype) if params is None else params)

    # -- files -------------------------------------------------------------------------------------------------

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        preparation: TablePreparation | None = None,
        loss: Loss | str | None = None,
    ) -> None:
        """Write the model to a file: ``.npz``, or ``.safetensors`` with the extra ``[io]``; `densenet.load` reads it.

        Parameters
        ----------
        path : path-like
        preparation : TablePreparation, optional
            What makes x of a table; by default the one the model came with.
        loss : Loss or str, optional
            What it was trained with; by default the one the model came with.

        Raises
        ------
        ValueError
            If the name ends in anything else.
        TypeError
            If a layer is of a class that is not registered (`densenet.register`).
        OSError
            If the file cannot be written; an old one is as it was.

        Examples
        --------
        >>> import densenet as dn
        >>> model = dn.mlp([2, 1], seed=0)
        >>> model.save(getfixture("tmp_path") / "model.npz")
        >>> dn.load(getfixture("tmp_path") / "model.npz")
        Sequential([Dense(2, 1)], dtype='float32')
        """
        from densenet.persistence import save_model

        save_model(self, path, preparation=preparation, loss=loss)

    # -- display -----------------------------------------------------------------------------------------------

    def plot(self, *, max_neurons: int = 10, ax: Any = None) -> Any:
        """Draw neurons and weights; see `plots.network_diagram`.

        Parameters
        ----------
        max_neurons : int, default 10
            Drawn of a layer.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            If no layer fixes the number of inputs, or `max_neurons` is no whole number of at least 1.
        """
        from densenet.plots import network_diagram

        return network_diagram(self, max_neurons=max_neurons, ax=ax)

    def summary(self) -> Summary:
        """The layers with their shapes, parameter counts and the dense layers' numbers; HTML in a notebook.

        Examples
        --------
        >>> import densenet as dn
        >>> print(dn.mlp([64, 128, 10]).summary())
        layer             dense  output     params
        Dense(64, 128)        1  (n, 128)    8,320
        ReLU()                   (n, 128)        0
        Dense(128, 10)        2  (n, 10)     1,290
        9,610 parameters, 9,610 trainable, float32 (38.4 kB)
        """
        rate = self.marks.rate
        trainable = self._params.size if rate is None else int(np.count_nonzero(rate))
        return summarize(self.layers, self.n_in, self._params, trainable)

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], dtype={str(self.dtype)!r})"


def _warn_of_unnamed(layer: Layer) -> None:
    """Warn of arrays that look like parameters but are not named."""
    if layer.parameter_shapes() or layer.state_names:
        return
    given = layer.config()
    arrays = [
        name
        for name, value in vars(layer).items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in given
    ]
    if arrays:
        warnings.warn(
            f"{layer!r} holds {', '.join(arrays)} but names no parameters: training leaves such arrays as they are, "
            "and files do not keep them. Name what is trained in parameter_shapes(), and what is kept beside it in "
            "state_names.",
            stacklevel=3,
        )


def _joined(every: Sequence[Layer], dtype: Any) -> Array:
    """One vector with the parameters that copied layers brought along, and 0 for the parameters of new layers."""
    values = np.zeros(sum(layer.n_params for layer in every), dtype)
    offset = 0
    for layer in every:
        for name, shape in layer.parameter_shapes().items():
            end = offset + math.prod(shape)
            if layer.trained:
                values[offset:end] = getattr(layer, name).ravel()
            offset = end
    return values


def _dtype(dtype: Any) -> np.dtype[Any]:
    try:
        made: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        made = np.dtype(object)
    if made not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f'Sequential expects dtype "float32" or "float64", got {dtype!r}.')
    return made.newbyteorder("=")
