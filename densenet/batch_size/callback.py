"""The noise scale followed through training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, positive_int
from densenet.batch_size.gradient_noise import Rows, measure
from densenet.training.data import ArrayBatches, StreamBatches
from densenet.training.hooks import Callback
from densenet.training.run import Run

_PROBES = 2
_KINDS = ("trace", "square", "curved_trace", "curved_square")


class NoiseScale(Callback):
    """Follow both gradient noise scales through training; see `noise_scale` for what they are.

    Before the first step, and then every `every` steps, it looks at `rows` training rows of its own: the four moments
    of these rows, corrected for what few rows add to them. Few rows tell little, so numerators and denominators are
    smoothed, each for itself, before they are divided::

        m_t = s m_(t-1) + (1 - s) x_t        x = tr(Sigma), |G|^2, tr(H Sigma), G^T H G
        B_simple = m[tr(Sigma)] / m[|G|^2]        B_noise = m[tr(H Sigma)] / m[G^T H G]

    Parameters
    ----------
    every : int, default 1000
        Steps from one look to the next.
    rows : int, default 256
        Rows that a look takes: drawn from the training rows, or all of these where there are fewer. A stream of batches
        cannot be drawn from: its first look comes after `every` steps, and takes rows that came after the look before.
    smoothing : float in [0, 1), default 0.8
        s. The average is taken over about 1 / (1 - s) looks; the start does not weigh on it.
    curvature : {"hessian", "gauss_newton"}, default "gauss_newton"
        What H is.

    Attributes
    ----------
    epochs : list of float
        When it looked, in epochs.
    steps : list of int
        Optimizer steps done by then.
    b_simple, b_noise : list of float
        Smoothed; inf or nan where the denominator is not positive yet.
    trace, square, curved_trace, curved_square : list of float
        The moments of every look, as measured.

    Raises
    ------
    ValueError
        In `fit`, if a layer takes statistics over the batch.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> noise = dn.NoiseScale(every=20)
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.2))
    >>> history = trainer.fit(x, y, epochs=8, batch_size=64, seed=0, callbacks=[noise])
    >>> noise.b_simple[-1] > noise.b_simple[0]
    True
    """

    observes: ClassVar[bool] = True

    def __init__(
        self, *, every: int = 1000, rows: int = 256, smoothing: float = 0.8, curvature: str = "gauss_newton"
    ) -> None:
        self.every = positive_int(every, "NoiseScale", "every")
        self.rows = positive_int(rows, "NoiseScale", "rows")
        if self.rows < 2:
            raise ValueError(f"NoiseScale expects at least 2 rows to see how samples differ, got {self.rows}.")
        self.smoothing = fraction(smoothing, "NoiseScale", "smoothing")
        if curvature not in ("hessian", "gauss_newton"):
            raise ValueError(f'NoiseScale expects curvature to be "hessian" or "gauss_newton", got {curvature!r}.')
        self.curvature = curvature
        self._clear()

    def _clear(self) -> None:
        self.epochs: list[float] = []
        self.steps: list[int] = []
        self.b_simple: list[float] = []
        self.b_noise: list[float] = []
        for name in _KINDS:
            setattr(self, name, [])
        self._means, self._weight = np.zeros(len(_KINDS)), 0.0
        self._gathered: list[tuple[Array, Array]] = []
        self._next = self.every
        self._rng = np.random.default_rng(0)

    def rest(self, run: Run) -> float:
        """Steps until the next look."""
        return max(self._next - run.step, 1)

    def on_fit_begin(self, run: Run) -> None:
        """Forget what has been seen, and look."""
        self._clear()
        self._next += run.step
        if isinstance(run.data, ArrayBatches):
            self._look(run, *self._drawn(run.data))

    def on_batch_end(self, run: Run) -> None:
        """Look when it is time; of a stream, gather rows for the next look."""
        if run.step >= self._next:
            self._next = run.step + self.every
            if isinstance(run.data, ArrayBatches):
                self._look(run, *self._drawn(run.data))
            elif self._gathered:
                self._look(run, *(np.concatenate([pair[i] for pair in self._gathered])[: self.rows] for i in (0, 1)))
                self._gathered = []
        elif run.batch is not None and isinstance(run.data, StreamBatches) and self._wanted:
            self._gathered.append((run.batch[0][: self.rows].copy(), run.batch[1][: self.rows].copy()))

    @property
    def _wanted(self) -> bool:
        return sum(len(part) for part, _ in self._gathered) < self.rows

    def _drawn(self, data: ArrayBatches) -> tuple[Array, Array]:
        n = len(data)
        order = self._rng.choice(n, min(self.rows, n), replace=False)
        x, y, _ = next(data.epoch(len(order), order))
        return x, y

    def _look(self, run: Run, x: Array, y: Array) -> None:
        if len(x) < 2:
            return
        rows = Rows(run.model, run.trainer.loss, x, y, "NoiseScale")
        flat, curved, _, _, _ = measure(
            rows, True, self.curvature == "gauss_newton", _PROBES, self._rng, exact=False
        )  # fmt: skip
        found = np.array([flat.trace, flat.square, curved.trace, curved.square])
        s = self.smoothing
        self._means, self._weight = s * self._means + (1 - s) * found, s * self._weight + (1 - s)
        for name, value in zip(_KINDS, found, strict=True):
            getattr(self, name).append(float(value))
        trace, square, curved_trace, curved_square = (self._means / self._weight).tolist()
        size = run.plan["batch_size"]
        an_epoch = math.ceil(run.plan["rows"] / size) if run.plan["rows"] else math.inf
        self.epochs.append(max(run.epoch - 1, 0) + run.batches / an_epoch)
        self.steps.append(run.step)
        self.b_simple.append(trace / square if square > 0 else math.inf)
        self.b_noise.append(curved_trace / curved_square if curved_square > 0 else math.nan)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw both noise scales over epochs; see `plots.noise_scales`."""
        from densenet.plots.batches import noise_scales

        return noise_scales(self, ax=ax)
