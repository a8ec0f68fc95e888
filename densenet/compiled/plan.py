"""A plan of one mini-batch: the kernels and their arrays, in order, for the gradient and the update.

A plan is written once for a model, a loss and an optimizer. What changes between epochs (data and order) and
between slices (the noise of `Dropout`, the rates) is filled in; everything else stays.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from densenet._types import Array, IntArray
from densenet.compiled import slots
from densenet.compiled.instructions import Gradient, Instruction, Late, Noise, Shape, Update
from densenet.compiled.machine import addresses
from densenet.layers.noise import Dropout
from densenet.layers.tabular import Blend
from densenet.losses.base import Loss
from densenet.optimizers.adam import Adam, AdamW
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.sequential import Sequential

SLICE_BYTES = 1 << 23
"""Of what a slice keeps at a time: noise, and predictions for the metrics."""

_Driver = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 6)


class Done(NamedTuple):
    """The result of a slice.

    Attributes
    ----------
    batches, updates : int
    total, weights : float
        The epoch's sums after it.
    seen, gathered : int, float
        Mini-batches that wait for their update, and their weight.
    error : float
        Of the last mini-batch.
    stepped : bool
        Whether it ended with an update.
    diverged : bool
        Whether the error of the next mini-batch is not finite; that one is not counted.
    """

    batches: int
    updates: int
    total: float
    weights: float
    seen: int
    gathered: float
    error: float
    stepped: bool
    diverged: bool


class Subject(NamedTuple):
    """The model, loss, optimizer and settings of a plan.

    Attributes
    ----------
    model : Sequential
    loss : Loss
    optimizer : Optimizer
    shape : Shape
    clip_norm, clip_value : float or None
    gathered : ndarray (n_params,) or None
        The sum of the gradients of several mini-batches.
    accumulate : int
        Mini-batches of an update.
    keeps : bool
        Whether predictions are kept for the metrics.
    """

    model: Sequential
    loss: Loss
    optimizer: Optimizer
    shape: Shape
    clip_norm: float | None = None
    clip_value: float | None = None
    gathered: Array | None = None
    accumulate: int = 1
    keeps: bool = False


_NUMBERS = ("shape", "clip_norm", "clip_value", "accumulate", "keeps")


class Plan:
    """The instructions for one model, loss and optimizer, and for data of one shape.

    Parameters
    ----------
    subject : Subject

    Raises
    ------
    CompilationError, BlasError
        If this machine cannot compile a kernel, or SciPy's BLAS cannot be called.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        model, loss, optimizer, shape, clip_norm, clip_value, gathered, count, keeps = subject
        self.model, self.loss, self.optimizer, self.shape, self.count = model, loss, optimizer, shape, count
        self.marks = model.marks
        self.kept = optimizer.vectors(model.params, model.grads, model.marks)
        self._keeps = keeps
        writer = Gradient(model, loss, shape, keeps)
        update = Update(model, optimizer, self.kept)
        gradient = writer.instructions
        if gathered is not None:
            size = model.params.size
            gradient.append(Instruction("updates.gather_gradient", (gathered, model.grads, size)))
            update.before("updates.mean_gradient", (gathered, model.grads, size))
        if clip_value is not None:
            update.before("updates.clip_value", (0, model.grads, model.grads.size), (clip_value,))
        if clip_norm is not None:
            bound = np.array([clip_norm])
            rate = 0 if self.marks.rate is None else self.marks.rate
            update.before("updates.clip_norm", (0, model.grads, model.grads.size, rate, bound))
        instructions = [*gradient, *update.instructions]
        self._noise, self._decay = writer.noise, update.decay
        self._settings = self._read_settings()
        self._width = writer.width
        self._data: tuple[Array | None, ...] = ()
        self._held_noise: Any = None
        self.predictions: Array = np.empty((0, writer.width), model.dtype)
        self._row_bytes = model.dtype.itemsize * (sum(noise.columns for noise in self._noise) + keeps * self._width)
        self._assemble(instructions, len(gradient))

    def _assemble(self, instructions: list[Instruction], n_gradient: int) -> None:
        """Write the instructions as 64-bit words, with addresses for arrays; note what is filled in later."""
        dtype = self.model.dtype
        at = addresses([*(step.kernel for step in instructions), "updates.drive"], dtype.name)
        self._words = words = np.zeros((len(instructions), slots.WIDTH), np.int64)
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._held: list[Any] = []  # what the words are addresses of
        points = []
        for i, step in enumerate(instructions):
            constants = np.array([*step.constants, 0.0], dtype)
            self._held.append(constants)
            words[i, :2] = at[step.kernel], constants.ctypes.data
            for j, word in enumerate(step.words, 2):
                if isinstance(word, Late):
                    self._places.setdefault(word.name, []).append((i, j))
                elif isinstance(word, np.ndarray):
                    self._held.append(word)
                    words[i, j] = word.ctypes.data
                else:
                    words[i, j] = word
            if step.kernel == "layers.point":
                points.append((i, step.words[2].name))
        for i, name in points:  # where the kernel is to put the address of the mini-batch
            places = [words.ctypes.data + 8 * (slots.WIDTH * k + j) for k, j in self._places[name] if k != i]
            words[i, 4], words[i, 5 : 5 + len(places)] = len(places), places
        self._integers, self._floats = np.zeros(32, np.int64), np.zeros(16)
        self._integers[[slots.CODE, slots.N_GRADIENT, slots.N_UPDATE]] = (
            words.ctypes.data,
            n_gradient,
            len(instructions) - n_gradient,
        )
        self._integers[[slots.SIZE, slots.TOTAL_ROWS, slots.COUNT]] = self.shape.batch, self.shape.rows, self.count
        self._unused = np.zeros(2, np.int64)
        frame = np.array([self._integers.ctypes.data, self._floats.ctypes.data], np.int64)
        constants = np.zeros(1, dtype)
        self._held += [frame, constants]
        arrays = (frame, constants, self._integers, self._floats)
        unused = self._unused.ctypes.data
        driver = _Driver(at["updates.drive"])
        handed = (unused, unused + 8, *(array.ctypes.data for array in arrays))
        self._drive: Callable[[], int] = lambda: int(driver(*handed))

    def serves(self, subject: Subject) -> bool:
        """Whether it was written for this subject in its present state."""
        mine = self.subject
        same = all(getattr(subject, name) is getattr(mine, name) for name in ("model", "loss", "optimizer", "gathered"))
        equal = all(getattr(subject, name) == getattr(mine, name) for name in _NUMBERS)
        return same and equal and self.stands()

    def stands(self) -> bool:
        """Whether model and optimizer still have the arrays that it was written for."""
        kept = self.optimizer.vectors(self.model.params, self.model.grads, self.model.marks)
        return (
            self.model.marks is self.marks
            and all(kept[name] is array for name, array in self.kept.items())
            and list(map(id, self._read_settings())) == list(map(id, self._settings))
        )

    def _read_settings(self) -> list[Any]:
        """All public attributes of layers, loss and optimizer; of what every slice reads again, whether it is 0."""
        layers = list(self.model.every_layer)
        functions = [layer.function for layer in layers if isinstance(layer, Blend)]
        found = [
            bool(value) if name in ("rate", "weight_decay") and isinstance(value, float) else value
            for thing in (self.optimizer, self.loss, *layers, *functions)
            for name, value in vars(thing).items()
            if name[0] != "_" and name != "steps"
        ]
        return found + [layer.held for layer in layers if isinstance(layer, Dropout)]

    @property
    def most_batches(self) -> int:
        """The most mini-batches of a slice, which memory limits."""
        return max(1, SLICE_BYTES // max(1, self._row_bytes * self.shape.batch))

    def take(self, x: Array, y: Array, weight: Array | None, order: IntArray | None) -> None:
        """Take the data of an epoch: C-ordered, of the model's dtype (class numbers: int64), and the rows' order."""
        self._data = (x, y, weight, order)
        for name, array in (("source x", x), ("source y", y), ("source w", weight), ("order", order)):
            if array is not None:
                self._put(name, array.ctypes.data)

    def release(self) -> None:
        """Release data, noise and predictions; call `take` before the next slice."""
        self._data, self._held_noise, self.predictions = (), None, self.predictions[:0].copy()

    def _put(self, name: str, address: int) -> None:
        for i, j in self._places.get(name, ()):
            self._words[i, j] = address

    def advance(
        self, first: int, last: int, total: float, weights: float, seen: int = 0, gathered: float = 0.0
    ) -> Done:
        """Run the steps of mini-batches `first` to `last` - 1, or fewer if a schedule gives no rate.

        Parameters
        ----------
        first, last : int
        total, weights : float
            The epoch's sums so far.
        seen, gathered : int, float
            Mini-batches that wait for their update, and their weight.

        Raises
        ------
        ValueError
            If the schedule gives no rate for the next update.
        """
        s, r, batch = self._integers, self._floats, self.shape.batch
        table = _rates(self.optimizer, (last - first + seen) // self.count)
        last = min(last, first + (len(table) + 1) * self.count - seen - 1)
        start = first * batch
        rows = min(last * batch, self.shape.rows) - start
        self._held_noise = []
        for number, noise in enumerate(self._noise):
            factor = self._draw(noise, rows)
            self._held_noise.append(factor)
            self._put(f"noise {number}", factor.ctypes.data)
        self._decay[0] = self.optimizer.weight_decay
        if self._keeps:
            self.predictions = np.empty((rows, self._width), self.model.dtype)
            self._put("predictions", self.predictions.ctypes.data)
        s[slots.BATCH], s[slots.LAST], s[slots.SLICE] = first, last, start
        s[slots.SEEN], s[slots.UPDATES], s[slots.STEPPED], s[slots.DIVERGED] = seen, 0, 0, 0
        s[slots.STEPS], s[slots.TABLE] = self.optimizer.steps, table.ctypes.data
        r[slots.TOTAL], r[slots.WEIGHTS], r[slots.GATHERED] = total, weights, gathered
        self._drive()
        self.optimizer.steps = int(s[slots.STEPS])
        return Done(
            int(s[slots.BATCH]) - first,
            int(s[slots.UPDATES]),
            float(r[slots.TOTAL]),
            float(r[slots.WEIGHTS]),
            int(s[slots.SEEN]),
            float(r[slots.GATHERED]),
            float(r[slots.ERROR]),
            bool(s[slots.STEPPED]),
            bool(s[slots.DIVERGED]),
        )

    def _draw(self, noise: Noise, rows: int) -> Array:
        """A layer's factors for the slice, one mini-batch of its rows after the other."""
        layer, width, i, m = noise
        whole, rest = divmod(rows, self.shape.batch)
        share = whole * len(range(i, self.shape.batch, m)) + len(range(i, rest, m))
        assert layer.generator is not None
        factor, _ = layer.draw(layer.generator, (share, width), self.model.dtype)
        assert factor is not None
        return factor


def _rates(optimizer: Optimizer, updates: int) -> Array:
    """Rate, factor of the update and eps for each update, (updates, 3); fewer rows if a schedule ends.

    Raises
    ------
    ValueError
        If the schedule gives no rate for the first one.
    """
    alpha, steps = optimizer.learning_rate, optimizer.steps
    table = np.empty((updates, 3))
    if isinstance(alpha, Schedule):
        rates = []
        for i in range(updates):
            try:
                rate = alpha(steps + i)
            except Exception:
                break
            if not 0 <= rate < math.inf:
                break
            rates.append(rate)
        if updates and not rates:
            raise ValueError(optimizer.rate)  # asking for it raises, and says what is wrong
        table = table[: len(rates)]
        table[:, 0] = rates
    else:
        table[:, 0] = alpha
    table[:, 1], table[:, 2] = table[:, 0], 0.0
    if isinstance(optimizer, (Adam, AdamW)):
        t = np.arange(steps + 1, steps + 1 + len(table), dtype=np.float64)
        q = np.sqrt(1 - optimizer.beta_2**t)  # sqrt(1 - beta_2^t)
        table[:, 1] *= q / (1 - optimizer.beta_1**t)
        table[:, 2] = optimizer.eps * q
    return table
