"""The gradient of a mini-batch and the update as instructions: kernels in order, each with its arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from densenet._types import Array
from densenet.compiled.blas import address as blas_address
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.elementwise import Identity
from densenet.layers.noise import Dropout
from densenet.layers.normalization import BatchNorm
from densenet.layers.rectifiers import LeakyReLU, ReLU, SiLU
from densenet.layers.sigmoids import Sigmoid, Tanh
from densenet.layers.softmax import Softmax
from densenet.losses.base import Loss
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.crossentropy import SoftmaxCrossEntropy
from densenet.losses.regression import HalfSquaredError, Huber, MeanAbsoluteError, MeanSquaredError
from densenet.optimizers.adam import Adam, AdamW
from densenet.optimizers.adaptive import RMSprop
from densenet.optimizers.base import SWEEP, Optimizer, stretches
from densenet.optimizers.sgd import SGD
from densenet.sequential import Sequential

LAYERS = (Dense, Identity, ReLU, LeakyReLU, Tanh, Sigmoid, SiLU, Softmax, Dropout, BatchNorm)
LOSSES = (SoftmaxCrossEntropy, SigmoidCrossEntropy, MeanSquaredError, HalfSquaredError, MeanAbsoluteError, Huber)
OPTIMIZERS = (SGD, Adam, AdamW, RMSprop)
SMALL = 1 << 18
"""Multiplications of a product up to which the loops of `products` take less time than BLAS."""


class Late(NamedTuple):
    """An array whose address is filled in later, by name."""

    name: str


class Instruction(NamedTuple):
    """A kernel, its arguments (arrays stand for their addresses), and its constants."""

    kernel: str
    words: tuple[Any, ...]
    constants: tuple[float, ...] = ()


class Shape(NamedTuple):
    """Shape and kind of a plan's data.

    Attributes
    ----------
    rows : int
        Of an epoch.
    batch : int
        Rows of a mini-batch.
    columns : int
        Of x.
    classes : bool
        Whether targets are class numbers (n,); else they are a matrix.
    weighted, ordered : bool
        Whether rows have weights; whether they are read in a shuffled order.
    """

    rows: int
    batch: int
    columns: int
    classes: bool
    weighted: bool
    ordered: bool


class Gradient:
    """The instructions of a mini-batch's gradient: data, forward pass, error, backward pass."""

    def __init__(self, model: Sequential, loss: Loss, shape: Shape, keeps: bool) -> None:
        self.model, self.dtype, self.batch = model, model.dtype, shape.batch
        self.instructions: list[Instruction] = []
        self.noise: list[tuple[Dropout, int]] = []
        self.gemm, self.gemv = (blas_address(name, model.dtype) for name in ("gemm", "gemv"))
        self.ones = np.ones(shape.batch, model.dtype)
        width, size = shape.columns, model.dtype.itemsize
        x = self._data("x", width, size * width, shape.ordered)
        first = next(i for i, layer in enumerate(model.layers) if layer.n_params)
        backwards: list[list[Instruction]] = []
        for i, layer in enumerate(model.layers):
            x, width, gradients, delta = self._layer(layer, x, width)
            backwards.append([] if i < first else gradients if i == first else [*gradients, *delta])
        self.width = width
        target_bytes = 8 if shape.classes else size * width
        y = self._data("y", 0 if shape.classes else width, target_bytes, shape.ordered)
        w: Any = self._data("w", 1, size, shape.ordered) if shape.weighted else 0
        if keeps:
            self._add("losses.keep", x, Late("predictions"), width)
        self._loss(loss, x, y, w, width, shape.classes)
        self._delta: Any = self._last_delta
        for layer_backward in reversed(backwards):
            self.instructions += [
                Instruction(step.kernel, tuple(self._moved(word) for word in step.words), step.constants)
                for step in layer_backward
            ]

    def _moved(self, word: Any) -> Any:
        """The delta that stands there when a layer's turn comes; `_NewDelta` names a layer's own, for those below."""
        if isinstance(word, _NewDelta):
            self._delta = word.array
            return word.array
        return self._delta if word is _DELTA else word

    def _add(self, kernel: str, *words: Any, constants: tuple[float, ...] = ()) -> None:
        self.instructions.append(Instruction(kernel, words, constants))

    def _array(self, *shape: int) -> Array:
        return np.empty(shape, self.dtype)

    def _data(self, name: str, columns: int, row_bytes: int, ordered: bool) -> Any:
        """The mini-batch's rows: gathered into an array where they have an order, else where they stand."""
        source = Late(f"source {name}")
        if not ordered:
            self._add("layers.point", source, row_bytes, Late(name))
            return Late(name)
        if not columns:
            labels = np.empty(self.batch, np.int64)
            self._add("layers.gather_labels", source, 0, Late("order"), labels)
            return labels
        rows = self._array(self.batch, columns)
        self._add("layers.gather", source, columns, Late("order"), rows)
        return rows

    def _layer(self, layer: Layer, x: Any, k: int) -> tuple[Any, int, list[Instruction], list[Instruction]]:
        """Add a layer's forward pass; its output and width, and what its backward pass does, dE/dw and dE/dX."""
        if isinstance(layer, Dense):
            return self._dense(layer, x)
        if isinstance(layer, BatchNorm):
            return self._batch_norm(layer, x, k)
        if isinstance(layer, Identity) or (isinstance(layer, Dropout) and not layer.rate):
            return x, k, [], []
        y = self._array(self.batch, k)
        if isinstance(layer, Dropout):
            factor = Late(f"noise {len(self.noise)}")
            self.noise.append((layer, k))
            self._add("layers.dropout", x, y, k, factor)
            return y, k, [], [Instruction("layers.dropout_delta", (_DELTA, 0, k, factor))]
        name = _ACTIVATIONS[type(layer)]
        seen = x if isinstance(layer, LeakyReLU) else y  # what the slope is written in
        more = (self._array(self.batch, k),) if isinstance(layer, SiLU) else ()
        constants = (layer.negative_slope,) if isinstance(layer, LeakyReLU) else ()
        self._add(f"layers.{name}", x, y, k, *more, constants=constants)
        delta = Instruction(f"layers.{name.rstrip('_')}_delta", (seen, _DELTA, k, *more), constants)
        return y, k, [], [delta]

    def _dense(self, layer: Dense, x: Any) -> tuple[Any, int, list[Instruction], list[Instruction]]:
        n_in, n_out = layer.n_in, layer.n_out
        b, db = (layer.b, layer.db) if layer.use_bias else (0, 0)
        z, dx = self._array(self.batch, n_out), self._array(self.batch, n_in)
        small = self.batch * n_in * n_out <= SMALL
        gemm, transposed = (0, self._array(n_out, n_in)) if small else (self.gemm, 0)
        self._add("layers.dense", gemm, x, layer.W, b, z, n_in, n_out)
        gradients = (gemm, x, _DELTA, layer.dW, db, n_in, n_out, self.gemv, self.ones)
        delta = (gemm, layer.W, _DELTA, _NewDelta(dx), n_in, n_out, transposed)
        return (
            z,
            n_out,
            [Instruction("layers.dense_gradients", gradients)],
            [Instruction("layers.dense_delta", delta)],
        )

    def _batch_norm(self, layer: BatchNorm, x: Any, k: int) -> tuple[Any, int, list[Instruction], list[Instruction]]:
        y, xhat, work = (self._array(self.batch, k) for _ in range(3))
        mean, var, inv = (self._array(k) for _ in range(3))
        running = layer.running_mean, layer.running_var
        words = (x, y, k, xhat, mean, var, inv, layer.gamma, layer.beta, *running, self.gemv, self.ones)
        self._add("layers.batch_norm", *words, constants=(layer.eps, layer.momentum))
        gradients = (_DELTA, work, k, xhat, layer.dgamma, layer.dbeta, self.gemv, self.ones)
        delta = (_DELTA, 0, k, xhat, layer.dgamma, layer.dbeta, layer.gamma, inv)
        return (
            y,
            k,
            [Instruction("layers.batch_norm_gradients", gradients)],
            [Instruction("layers.batch_norm_delta", delta)],
        )

    def _loss(self, loss: Loss, x: Any, y: Any, w: Any, k: int, classes: bool) -> None:
        rows, delta = self._array(self.batch), self._array(self.batch, k)
        last: Any = self._array(self.batch, k)
        constants: tuple[float, ...] = ()
        if isinstance(loss, SoftmaxCrossEntropy):
            name, last, constants = "softmax_cross_entropy", int(classes), (loss.label_smoothing,)
        elif isinstance(loss, SigmoidCrossEntropy):
            name, constants = "sigmoid_cross_entropy", (loss.label_smoothing,)
        elif isinstance(loss, (MeanSquaredError, HalfSquaredError)):
            name, constants = "squared_error", (loss.factor(k),)
        elif isinstance(loss, Huber):
            name, constants = "huber", (loss.threshold,)
        else:
            name = "absolute_error"
        self._add(f"losses.{name}", x, y, k, rows, delta, last, constants=constants)
        self._add("losses.mean", rows, w, k, delta)
        self._last_delta = delta


class _NewDelta(NamedTuple):
    array: Array


_DELTA = object()
"""The delta that a layer is given."""
_ACTIVATIONS: dict[type[Layer], str] = {
    ReLU: "relu",
    LeakyReLU: "leaky_relu",
    Tanh: "tanh_",
    Sigmoid: "sigmoid",
    SiLU: "silu",
    Softmax: "softmax",
}


class Update:
    """The instructions of an update: decay and the rule for every stretch of parameters that are not frozen."""

    def __init__(self, model: Sequential, optimizer: Optimizer, kept: dict[str, Array]) -> None:
        self.instructions: list[Instruction] = []
        self._before: list[Instruction] = []
        self.optimizer = optimizer
        marks, params = model.marks, model.params
        floor = 1e8 * float(np.finfo(model.dtype).tiny)
        self._work: Array = np.empty(0 if not optimizer.weight_decay else params.size, model.dtype)
        for part in stretches(params.size, marks.rate):
            rate, decay = (0 if v is None or (v[part] == 1).all() else v[part] for v in (marks.rate, marks.decay))
            vectors = {name: array[part] for name, array in kept.items()}
            self._stretch(params[part], model.grads[part], vectors, rate, decay)
        for part in stretches(params.size, marks.rate):
            for name in optimizer.fading:
                if name in kept:
                    vector = kept[name][part]
                    self._add("updates.sweep", vector, 0, vector.size, constants=(floor,))
        assert SWEEP == 128  # as the kernel has it

    def before(self, kernel: str, words: tuple[Any, ...], constants: tuple[float, ...] = ()) -> None:
        """Add what comes before the rule, after what came so far."""
        self.instructions.insert(len(self._before), step := Instruction(kernel, words, constants))
        self._before.append(step)

    def _add(self, kernel: str, *words: Any, constants: tuple[float, ...] = ()) -> None:
        self.instructions.append(Instruction(kernel, words, constants))

    def _stretch(self, p: Array, g: Array, vectors: dict[str, Array], rate: Any, decay: Any) -> None:
        optimizer, n = self.optimizer, p.size
        if optimizer.weight_decay and (isinstance(decay, int) or decay.any()):
            if optimizer.decoupled:
                self._add("updates.shrink", p, 0, n, rate, decay, np.array([optimizer.weight_decay]))
            else:
                out = self._work[:n]
                self._add("updates.decay", p, g, n, decay, out, constants=(optimizer.weight_decay,))
                g = out
        if isinstance(optimizer, SGD):
            if optimizer.momentum:
                words = (p, g, n, rate, vectors["v"], int(optimizer.nesterov))
                self._add("updates.momentum", *words, constants=(optimizer.momentum,))
            else:
                self._add("updates.descend", p, g, n, rate, blas_address("axpy", p.dtype))
        elif isinstance(optimizer, RMSprop):
            more = vectors["v"], vectors.get("a", 0), vectors.get("b", 0)
            constants = (optimizer.rho, 1 - optimizer.rho, optimizer.eps, optimizer.momentum)
            self._add("updates.rmsprop", p, g, n, rate, *more, constants=constants)
        elif isinstance(optimizer, (Adam, AdamW)):
            b1, b2 = optimizer.beta_1, optimizer.beta_2
            self._add("updates.adam", p, g, n, rate, vectors["m"], vectors["v"], constants=(b1, 1 - b1, b2, 1 - b2))
