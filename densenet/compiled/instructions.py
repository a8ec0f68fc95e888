"""The gradient of a mini-batch and the update as instructions: kernels in order, each with its arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from densenet._types import Array
from densenet.compiled.blas import address as blas_address
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.elementwise import Identity
from densenet.layers.mixture import Mixture
from densenet.layers.noise import Dropout
from densenet.layers.normalization import BatchNorm, Scale
from densenet.layers.rectifiers import SELU, SELU_ALPHA, SELU_SCALE, LeakyReLU, Mish, ReLU, SiLU
from densenet.layers.sigmoids import Sigmoid, Tanh
from densenet.layers.softmax import Softmax
from densenet.layers.tabular import Blend, Clip, Columns, Embedding, Periodic, RobustScale
from densenet.losses.base import Loss
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.crossentropy import SoftmaxCrossEntropy
from densenet.losses.regression import HalfSquaredError, Huber, MeanAbsoluteError, MeanSquaredError
from densenet.optimizers.adam import Adam, AdamW
from densenet.optimizers.adaptive import RMSprop
from densenet.optimizers.base import SWEEP, Optimizer, stretches
from densenet.optimizers.sgd import SGD
from densenet.sequential import Sequential

ACTIVATIONS: dict[type[Layer], str] = {
    Identity: "",
    ReLU: "relu",
    LeakyReLU: "leaky_relu",
    Tanh: "tanh_",
    Sigmoid: "sigmoid",
    SiLU: "silu",
    SELU: "selu",
    Mish: "mish",
    Softmax: "softmax",
}
"""The kernels of activations: their deltas are called alike."""
LAYERS = (
    *ACTIVATIONS,
    *(Dense, Dropout, BatchNorm, Scale, Blend, Clip, RobustScale, Embedding, Periodic, Columns, Mixture),
)
LOSSES = (SoftmaxCrossEntropy, SigmoidCrossEntropy, MeanSquaredError, HalfSquaredError, MeanAbsoluteError, Huber)
OPTIMIZERS = (SGD, Adam, AdamW, RMSprop)
SMALL = 1 << 18
"""Multiplications of a product up to which the loops of `products` take less time than BLAS."""


FAR = {"float32": 4096.0, "float64": 1e6}
"""Up to where `functions.sine_and_cosine` holds."""

Backward: TypeAlias = Callable[[Any, bool], Any]
"""Adds a layer's backward pass from the array of dE/dY: dE/dw, and where it is wanted dE/dX, which it returns."""


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


class Noise(NamedTuple):
    """A `Dropout` layer: its columns, and the rows r of a mini-batch that it sees, r mod `m` = `i`."""

    layer: Dropout
    columns: int
    i: int
    m: int


class Gradient:
    """The instructions of a mini-batch's gradient: data, forward pass, error, backward pass."""

    def __init__(self, model: Sequential, loss: Loss, shape: Shape, keeps: bool) -> None:
        self.model, self.dtype, self.batch = model, model.dtype, shape.batch
        self.instructions: list[Instruction] = []
        self.noise: list[Noise] = []
        self._share = 0, 1
        self.gemm, self.gemv = (blas_address(name, model.dtype) for name in ("gemm", "gemv"))
        self.ones = np.ones(shape.batch, model.dtype)
        width, size = shape.columns, model.dtype.itemsize
        x = self._data("x", width, size * width, shape.ordered)
        branches = any(isinstance(layer, (Columns, Mixture)) for layer in model.layers)
        if branches and isinstance(x, Late):  # more instructions may read x than `layers.point` has room for
            x, source = self._array(self.batch, width), x
            self._add("layers.columns", source, width, 0, x, width, 0, width)
        x, width, backward = self._chain(model.layers, x, width)
        self.width = width
        target_bytes = 8 if shape.classes else size * width
        y = self._data("y", 0 if shape.classes else width, target_bytes, shape.ordered)
        w: Any = self._data("w", 1, size, shape.ordered) if shape.weighted else 0
        if keeps:
            self._add("losses.keep", x, Late("predictions"), width)
        backward(self._loss(loss, x, y, w, width, shape.classes), False)

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

    # -- layers: the forward pass is added at once, the backward pass when it is called --------------------------------

    def _chain(self, layers: Sequence[Layer], x: Any, k: int) -> tuple[Any, int, Backward]:
        """Add the layers' forward passes; output, width, and the backward pass from the last layer to the first."""
        passes: list[tuple[Layer, Backward]] = []
        for layer in layers:
            x, k, backward = self._layer(layer, x, k)
            passes.append((layer, backward))
        first = next((i for i, layer in enumerate(layers) if layer.n_params_inside), len(layers))

        def back(d: Any, wanted: bool) -> Any:
            for i, (_, backward) in reversed([*enumerate(passes)]):
                if wanted or i >= first:  # nothing is asked of the layers before the first that has parameters
                    d = backward(d, wanted or i > first)
            return d

        return x, k, back

    def _layer(self, layer: Layer, x: Any, k: int) -> tuple[Any, int, Backward]:
        if isinstance(layer, Dense):
            return self._dense(layer, x)
        if isinstance(layer, (Columns, Mixture)):
            return self._columns(layer, x) if isinstance(layer, Columns) else self._mixture(layer, x, k)
        if isinstance(layer, (Embedding, Periodic)):
            return self._embedding(layer, x) if isinstance(layer, Embedding) else self._periodic(layer, x)
        if isinstance(layer, Clip) or (isinstance(layer, Dropout) and not layer.rate):
            return x, k, lambda d, wanted: d
        if isinstance(layer, BatchNorm):
            return self._batch_norm(layer, x, k)
        if isinstance(layer, Blend):
            return self._blend(layer, x)
        if isinstance(layer, (Dropout, Scale, RobustScale)):
            return self._by_column(layer, x, k)
        return self._activation(layer, x, k)

    def _activation(self, layer: Layer, x: Any, k: int) -> tuple[Any, int, Backward]:
        name = ACTIVATIONS[type(layer)]
        if not name:
            return x, k, lambda d, wanted: d
        y = self._array(self.batch, k)
        more = [self._array(self.batch, k) for _ in range(layer.n_work if isinstance(layer, (SiLU, Mish)) else 0)]
        constants: tuple[float, ...] = ()
        if isinstance(layer, LeakyReLU):
            constants = (layer.negative_slope,)
        elif isinstance(layer, SELU):
            most = float(np.finfo(self.dtype).max) / SELU_SCALE / 1.000001
            constants = (SELU_SCALE, SELU_SCALE * SELU_ALPHA, most)
        self._add(f"layers.{name}", x, y, k, *more, constants=constants)
        seen = x if isinstance(layer, LeakyReLU) else y  # what the slope is written in
        more += [x] if isinstance(layer, Mish) else []

        def back(d: Any, wanted: bool) -> Any:
            self._add(f"layers.{name.rstrip('_')}_delta", seen, d, k, *more, constants=constants)
            return d

        return y, k, back

    def _blend(self, layer: Blend, x: Any) -> tuple[Any, int, Backward]:
        k = layer.n
        y, bend, bent = (self._array(self.batch, k) for _ in range(3))
        f, _, of_function = self._activation(layer.function, x, k)
        self._add("layers.blend", x, y, k, f, bend, layer.a)

        def back(d: Any, wanted: bool) -> Any:
            self._add("layers.blend_delta", bend, d, k, bent, layer.a, layer.da)
            if wanted:
                self._add("layers.add", of_function(bent, True), d, k)
            return d

        return y, k, back

    def _by_column(self, layer: Layer, x: Any, k: int) -> tuple[Any, int, Backward]:
        """Dropout, and scales of columns."""
        y = self._array(self.batch, k)
        if isinstance(layer, Dropout):
            words: tuple[Any, ...] = (Late(f"noise {len(self.noise)}"),)
            self.noise.append(Noise(layer, k, *self._share))
            name, of_delta = "dropout", (0, k, *words)
        elif isinstance(layer, Scale):
            words = (layer.s,)
            name, of_delta = "scale", (k, layer.s, layer.ds)
        else:
            assert isinstance(layer, RobustScale)
            words = (layer.center, layer.factor, self._array(self.batch, k))
            name, of_delta = "robust_scale", (k, layer.factor)
        self._add(f"layers.{name}", x, y, k, *words)

        def back(d: Any, wanted: bool) -> Any:
            seen = () if name == "dropout" else (x,) if name == "scale" else (words[-1],)
            self._add(f"layers.{name}_delta", *seen, d, *of_delta)
            return d

        return y, k, back

    def _columns(self, layer: Columns, x: Any) -> tuple[Any, int, Backward]:
        y, dx, size = self._array(self.batch, layer.n_out), self._array(self.batch, layer.n_in), self.batch
        parts, start, end = [], 0, 0
        for branch, width in zip(layer.branches, layer.widths, strict=True):
            part = self._array(size, width)
            self._add("layers.columns", x, layer.n_in, start, part, width, 0, width)
            said, given, backward = self._chain(branch, part, width)
            self._add("layers.columns", said, given, 0, y, layer.n_out, end, given)
            trained = any(inner.n_params_inside for inner in branch)
            parts.append((start, width, end, given, self._array(size, given), backward, trained))
            start, end = start + width, end + given

        def back(d: Any, wanted: bool) -> Any:
            for start, width, end, given, own, backward, trained in parts:
                if wanted or trained:
                    self._add("layers.columns", d, layer.n_out, end, own, given, 0, given)
                    of_part = backward(own, wanted)
                if wanted:
                    self._add("layers.columns", of_part, width, 0, dx, layer.n_in, start, width)
            return dx

        return y, layer.n_out, back

    def _mixture(self, layer: Mixture, x: Any, k: int) -> tuple[Any, int, Backward]:
        m, parts, whole = len(layer.branches), [], self.batch
        dx: Array = self._array(whole, k)
        out: list[Array] = []
        for i, branch in enumerate(layer.branches):
            self.batch, self._share = max(1, -(-(whole - i) // m)), (i, m)
            part = self._array(self.batch, k)
            self._add("layers.deal", x, part, k, i, m)
            said, given, backward = self._chain(branch, part, k)
            out += [] if out else [self._array(whole, given)]
            self._add("layers.collect", said, out[0], given, i, m)
            parts.append((i, given, self._array(self.batch, given), backward))
        self.batch, self._share = whole, (0, 1)

        def back(d: Any, wanted: bool) -> Any:
            for i, given, own, backward in parts:
                self._add("layers.deal", d, own, given, i, m)
                self._add("layers.collect", backward(own, wanted), dx, k if wanted else 0, i, m)
            return dx

        return out[0], parts[0][1], back

    def _embedding(self, layer: Embedding, x: Any) -> tuple[Any, int, Backward]:
        k, width, y, dx = (
            layer.n_in,
            layer.width,
            self._array(self.batch, layer.n_out),
            self._array(self.batch, layer.n_in),
        )
        at, sizes = np.empty((self.batch, k), np.int64), np.array(layer.sizes, np.int64)
        starts = np.cumsum([0, *layer.sizes[:-1]], dtype=np.int64)
        self._add("layers.embedding", x, y, k, sizes, starts, layer.E, width, at)
        dx.fill(0)  # the numbers have no derivative

        def back(d: Any, wanted: bool) -> Any:
            self._add("layers.embedding_gradients", d, layer.dE, k, len(layer.E), width, at)
            return dx

        return y, layer.n_out, back

    def _periodic(self, layer: Periodic, x: Any) -> tuple[Any, int, Backward]:
        n, k, width = layer.n, layer.frequencies, layer.width
        y, dx = self._array(self.batch, layer.n_out), self._array(self.batch, n)
        u, sine = self._array(n, self.batch, k), self._array(n, self.batch, k)
        words = (layer.f, layer.c, layer.W, layer.b, k, width, u, sine)
        self._add("layers.periodic", x, y, n, *words, constants=(FAR[self.dtype.name],))
        gradients = (layer.df, layer.dc, layer.dW, layer.db)

        def back(d: Any, wanted: bool) -> Any:
            more = (*gradients, dx if wanted else 0)
            self._add("layers.periodic_delta", x, d, n, layer.f, layer.W, k, width, u, sine, *more)
            return dx

        return y, layer.n_out, back

    def _dense(self, layer: Dense, x: Any) -> tuple[Any, int, Backward]:
        n_in, n_out = layer.n_in, layer.n_out
        b, db = (layer.b, layer.db) if layer.use_bias else (0, 0)
        z, dx = self._array(self.batch, n_out), self._array(self.batch, n_in)
        small = self.batch * n_in * n_out <= SMALL
        gemm, transposed = (0, self._array(n_out, n_in)) if small else (self.gemm, 0)
        self._add("layers.dense", gemm, x, layer.W, b, z, n_in, n_out)
        ones = self.ones[: self.batch]

        def back(d: Any, wanted: bool) -> Any:
            self._add("layers.dense_gradients", gemm, x, d, layer.dW, db, n_in, n_out, self.gemv, ones)
            if wanted:
                self._add("layers.dense_delta", gemm, layer.W, d, dx, n_in, n_out, transposed)
            return dx

        return z, n_out, back

    def _batch_norm(self, layer: BatchNorm, x: Any, k: int) -> tuple[Any, int, Backward]:
        y, xhat, work = (self._array(self.batch, k) for _ in range(3))
        mean, var, inv = (self._array(k) for _ in range(3))
        running = layer.running_mean, layer.running_var
        words = (x, y, k, xhat, mean, var, inv, layer.gamma, layer.beta, *running, self.gemv, self.ones)
        self._add("layers.batch_norm", *words, constants=(layer.eps, layer.momentum))

        def back(d: Any, wanted: bool) -> Any:
            gradients = (d, work, k, xhat, layer.dgamma, layer.dbeta, self.gemv, self.ones)
            self._add("layers.batch_norm_gradients", *gradients)
            if wanted:
                self._add("layers.batch_norm_delta", d, 0, k, xhat, layer.dgamma, layer.dbeta, layer.gamma, inv)
            return d

        return y, k, back

    def _loss(self, loss: Loss, x: Any, y: Any, w: Any, k: int, classes: bool) -> Array:
        """Add the error of the mini-batch; dE/dX."""
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
        return delta


class Update:
    """The instructions of an update: decay and the rule for every stretch of parameters that are not frozen."""

    def __init__(self, model: Sequential, optimizer: Optimizer, kept: dict[str, Array]) -> None:
        self.instructions: list[Instruction] = []
        self._before: list[Instruction] = []
        self.optimizer, self.decay = optimizer, np.zeros(1)  # lambda, which every slice reads again
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
                self._add("updates.shrink", p, 0, n, rate, decay, self.decay)
            else:
                out = self._work[:n]
                self._add("updates.decay", p, g, n, decay, out, self.decay)
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
