"""Which batch size? Time a step of each, measure how much gradients differ, and predict steps, samples and seconds."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet import optimizers
from densenet._display import html_table, text_table
from densenet._types import Array
from densenet._validation import check_finite, finite, nonnegative_int, same_rows
from densenet.batch_size.gradient_noise import Rows, measure
from densenet.training.data import rows_of
from densenet.training.full_batch import FullBatchSolver
from densenet.training.hooks import Callback
from densenet.training.run import Run
from densenet.training.slices import Choice
from densenet.training.trainer import Trainer

_WHO = "find_batch_size"
REFERENCE = 32
NEAR = 1.2
"""Batch sizes count as good as the fastest up to so many times its seconds."""
_STEPS = 640  # of the short run
_EPOCHS = 10
_PATIENCE = 20  # epochs without a lower error after which `reach` counts as missed
_MOST_EPOCHS = 500
_MOMENTS = 4
_KEPT = 16  # places on the way that are kept, before it is known which are needed
_WORK = 1.5e7  # rows times parameters that the noise is measured with: on 5,000 parameters a single block of rows
_PROBES = 16
_TIMED, _ROUNDS = 10, 2  # steps of a fit that is timed, and how often
_LONG = 0.2  # seconds after which fewer steps will do
_CHECKED = 2048  # rows that the error is taken on
_CLEAR = 4.0  # how far from B_crit the first and the last regime are


@dataclass(frozen=True)
class BatchSizes:
    """What `find_batch_size` found, an entry a batch size.

    Attributes
    ----------
    sizes : tuple of int
    steps, samples, seconds : tuple of float
        To the same error. With `reach` they are counts and seconds; without, multiples of what batch 32 (`reference`)
        takes. nan for batch sizes above a quarter of the rows: nothing can be said of them.
    step_seconds : tuple of float
        Time of a step on this machine by the NumPy lines.
    compiled_step_seconds : tuple of float or None
        By kernels; None where there are none, or the trainer is not to take them.
    compiled : bool
        Whether `seconds`, `fastest` and `good` are for kernels: they are wherever kernels were timed.
    rates : tuple of float or None
        For plain SGD the learning rate for each; None for other rules, whose rates have to be searched.
    critical : float
        The critical batch size, in samples: the mean of B_noise over the run.
    moments : tuple of (int, float)
        Steps done and B_noise there.
    rows, reference : int
    reach : float or None
    fastest : int
        The batch size with the fewest seconds.
    good : (int, int)
        The smallest and the largest batch size within 20 % of it.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.1))
    >>> found = dn.find_batch_size(trainer, x, y)
    >>> found.good[0] <= found.fastest <= found.good[1], found.critical > 1
    (True, True)
    """

    sizes: tuple[int, ...]
    steps: tuple[float, ...]
    samples: tuple[float, ...]
    seconds: tuple[float, ...]
    step_seconds: tuple[float, ...]
    compiled_step_seconds: tuple[float, ...] | None
    compiled: bool
    rates: tuple[float, ...] | None
    critical: float
    moments: tuple[tuple[int, float], ...]
    rows: int
    reference: int
    reach: float | None
    fastest: int
    good: tuple[int, int]

    @property
    def measurable(self) -> bool:
        """Whether the critical batch size is at most a quarter of the rows: beyond, rows of an epoch run out."""
        return self.critical <= self.rows / 4

    def regime(self, size: int) -> str:
        """What more samples a step do at this batch size.

        ::

            S / S_min = 1 + B_crit / B        E / E_min = 1 + B / B_crit

        "perfect scaling" while the samples are within 25 % of the fewest, "no more gain" where the steps are, and
        "diminishing returns" between.
        """
        if size > max(self.rows // 4, 1):
            return "not measurable"
        if size * _CLEAR <= self.critical:
            return "perfect scaling"
        return "no more gain" if size >= _CLEAR * self.critical else "diminishing returns"

    @property
    def sentence(self) -> str:
        """What it comes to, in plain words."""
        at = self.sizes.index(self.fastest)
        took = (
            f"takes about {_short(self.seconds[at])} s to an error of {self.reach:g}"
            if self.reach is not None
            else f"takes {_short(self.seconds[at])} of the time of batch {self.reference}"
        )
        how = " by kernels, Trainer(compiled=True)," if self.compiled else ""
        low, high = self.good
        beside = f"sizes from {low} to {high} are within 20 %" if low < high else "no other size is within 20 %"
        where = (
            f"the critical batch size is about {_short(self.critical)}"
            if self.measurable
            else f"the critical batch size is not measurable with {self.rows} rows: it is above {self.rows // 4}"
        )
        return f"Batch size {self.fastest} is the fastest here{how} and {took}; {beside}; {where}.{self._without()}"

    def _without(self) -> str:
        """Which size is the fastest by the NumPy lines, where kernels were judged."""
        if not self.compiled:
            return ""
        slow = np.array(self.steps) * self.step_seconds
        return f" By the NumPy lines, {self.sizes[int(np.nanargmin(slow))]} is."

    _ALIGN = ">>>>>>><"

    def _table(self) -> list[tuple[str, ...]]:
        absolute = self.reach is not None
        x = "" if absolute else " x"
        head = ("batch size", "steps", "samples", "seconds", "us a step", "compiled", "rate", "regime")
        kernels = self.compiled_step_seconds or (math.nan,) * len(self.sizes)
        made: list[tuple[str, ...]] = [head]
        for i, size in enumerate(self.sizes):
            figures = (self.steps[i], self.samples[i], self.seconds[i])
            rate = "searched" if self.rates is None else _short(self.rates[i])
            made.append(
                (
                    f"{size}{'*' if size == self.fastest else ''}",
                    *("" if math.isnan(value) else f"{_short(value)}{x}" for value in figures),
                    _short(1e6 * self.step_seconds[i]),
                    "" if math.isnan(kernels[i]) else _short(1e6 * kernels[i]),
                    "" if math.isnan(figures[0]) else rate,
                    self.regime(size),
                )
            )
        return made

    def __str__(self) -> str:
        return f"{text_table(self._table(), self._ALIGN)}\n{self.sentence}"

    def __repr__(self) -> str:
        return f"<BatchSizes: {self.sentence}>"

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        return f"{html_table(head, rows, self._ALIGN)}<p>{self.sentence}</p>"

    def plot(self, *, axes: Any = None) -> Any:
        """Draw steps, samples and seconds over the batch size; see `plots.batch_sizes`."""
        from densenet.plots.batches import batch_sizes

        return batch_sizes(self, axes=axes)


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def find_batch_size(trainer: Trainer, x: Any, y: Any, *, reach: float | None = None, seed: int = 0) -> BatchSizes:
    """Predict for every batch size the steps, samples and seconds to go as far as batch 32 goes.

    With t(B) the time of a step, measured on this machine with kernels and without, and B_crit the mean of the gradient
    noise scale B_noise over the steps that all rows would take [1]_::

        S(B) = S_min (1 + B_crit (1/B - 1/n))        E(B) = B S(B)        seconds(B) = S(B) t(B)
        B_crit = sum_k s_k B_noise_k / sum_k s_k        s_k = 1 / (1 + B_noise_k (1/32 - 1/n))

    where 1/B - 1/n stands for 1/B because rows are drawn without replacement. B_noise_k is taken at a few moments of a
    run of batch 32, evenly over its steps, and s_k is what a step of batch 32 is worth there in steps of all rows.
    S_min is what makes S(32) the steps of the run. For plain SGD the rate that suits each batch size follows from the
    trainer's own, which counts as batch 32's::

        alpha(B) = alpha_max / (1 + B_crit / B)

    Parameters
    ----------
    trainer : Trainer
        Its model, loss and optimizer as they are: set a good rate first (`find_learning_rate`). Kernels are timed
        where there are any, unless it is a ``Trainer(compiled=False)``. Everything happens on copies: weights,
        statistics, the optimizer and generators stay as they are.
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    reach : float, optional
        An error to reach (the loss on up to 2048 of the rows): one run to it makes steps, samples and seconds
        absolute. Without, a run of up to 10 epochs or 640 steps says how noisy gradients are, and figures are
        multiples of batch 32's.
    seed : int, default 0
        Sets the order of the rows.

    Returns
    -------
    BatchSizes
        Print it, or draw it: ``found.plot()``.

    Raises
    ------
    ValueError
        If x or y does not fit, there are fewer than 8 rows, a layer takes statistics over the batch, the model is at a
        minimum, `reach` is not reached, or the trainer asks for kernels that there are not.
    TypeError
        If the trainer is none, or works with a `FullBatchSolver`.
    DivergenceError
        If the trainer's rate is too high for batch 32.

    References
    ----------
    .. [1] McCandlish, Kaplan, Amodei and OpenAI Dota Team, "An empirical model of large-batch training" (2018),
       arXiv 1812.06162, equations 2.6 and 2.11.
    .. [2] Shallue and others, "Measuring the effects of data parallelism on neural network training" (2019),
       arXiv 1811.03600: the three regimes.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.1))
    >>> found = dn.find_batch_size(trainer, x, y, reach=0.5)
    >>> bool(found.steps[0] > found.steps[5]), found.rates[0] < found.rates[5] == trainer.optimizer.rate
    (True, True)
    """
    reach = None if reach is None else finite(reach, _WHO, "reach")
    rng = np.random.default_rng(nonnegative_int(seed, _WHO, "seed"))
    rows, target = _checked(trainer, x, y)
    n = len(rows)
    sizes = tuple(2**k for k in range(int(math.log2(n)) + 1))
    reference = min(REFERENCE, max(size for size in sizes if size <= n // 4))
    places, steps = _run(trainer, rows, target, reference, reach, rng)
    moments = tuple((at, _noise(trainer, kept, rows, target, rng)) for at, kept in places)
    critical = _mean_noise(np.array([b for _, b in moments]), 1 / reference - 1 / n)
    if math.isnan(critical):
        raise ValueError(
            f"{_WHO}: every sample's gradient is 0 wherever it was taken, so that no batch moves the model: it is at a "
            "minimum. Start from weights that are not trained yet."
        )
    plain, kernels = _step_seconds(trainer, rows, target, sizes)
    times = np.array(plain if kernels is None else kernels)
    counts = np.array([_relative_steps(size, reference, critical, n) for size in sizes])
    counts[[size > max(n // 4, 1) for size in sizes]] = math.nan
    samples, seconds = counts * sizes, counts * times
    if reach is None:
        samples, seconds = samples / reference, seconds / times[sizes.index(reference)]
    else:
        counts, samples, seconds = steps * counts, steps * samples, steps * seconds
    best = int(np.nanargmin(seconds))
    near = [size for size, took in zip(sizes, seconds, strict=True) if took <= NEAR * seconds[best]]
    return BatchSizes(
        sizes=sizes,
        steps=tuple(counts.tolist()),
        samples=tuple(samples.tolist()),
        seconds=tuple(seconds.tolist()),
        step_seconds=plain,
        compiled_step_seconds=kernels,
        compiled=kernels is not None,
        rates=_rates(trainer, sizes, reference, critical),
        critical=critical,
        moments=moments,
        rows=n,
        reference=reference,
        reach=reach,
        fastest=sizes[best],
        good=(near[0], near[-1]),
    )


def _checked(trainer: Trainer, x: Any, y: Any) -> tuple[Array, Array]:
    """x and y as the trainer's model and loss take them."""
    if not isinstance(trainer, Trainer):
        raise TypeError(f"{_WHO} expects a Trainer, got {trainer!r}.")
    if isinstance(trainer.optimizer, FullBatchSolver):
        raise TypeError(f"{_WHO} is for optimizers: {trainer.optimizer!r} takes all rows at every step.")
    model = trainer.model
    rows = rows_of(x, model.n_in, model.dtype, _WHO)
    target = trainer.loss.prepare(y, model.output_width(rows.shape[1]), model.dtype)
    same_rows(rows, target, _WHO)
    check_finite(rows, _WHO, "x")
    if len(rows) < 8:
        raise ValueError(f"{_WHO} expects at least 8 rows to compare batch sizes, got {len(rows)}.")
    Rows(model, trainer.loss, rows[:2], target[:2], _WHO)  # refuses layers that couple samples
    return rows, target


def _mean_noise(noise: Array, share: float) -> float:
    """sum s B / sum s with s = 1 / (1 + B (1/32 - 1/n)): the mean over steps of all rows, seen from batch 32.

    nan where no B is known.
    """
    seen = noise[~np.isnan(noise)]
    if not len(seen):
        return math.nan
    with np.errstate(divide="ignore"):
        top, bottom = (1 / (1 / seen + share)).sum(), (1 / (1 + seen * share)).sum()
    return float(top / bottom) if bottom else math.inf


def _relative_steps(size: int, reference: int, critical: float, n: int) -> float:
    """S(B) / S(reference)."""
    if math.isinf(critical):
        return (1 / size - 1 / n) / (1 / reference - 1 / n)
    return (1 + critical * (1 / size - 1 / n)) / (1 + critical * (1 / reference - 1 / n))


def _rates(trainer: Trainer, sizes: tuple[int, ...], reference: int, critical: float) -> tuple[float, ...] | None:
    """alpha(B) = alpha_max / (1 + B_crit / B), with the trainer's rate at the reference."""
    rule = trainer.optimizer
    if not isinstance(rule, optimizers.SGD) or rule.momentum:
        return None
    if math.isinf(critical):
        return tuple(rule.rate * size / reference for size in sizes)
    largest = rule.rate * (1 + critical / reference)
    return tuple(largest / (1 + critical / size) for size in sizes)


_Place = tuple[int, list[Array]]


def _run(
    trainer: Trainer, x: Array, y: Array, size: int, reach: float | None, rng: np.random.Generator
) -> tuple[list[_Place], int]:
    """A run of a copy: weights and statistics at a few places on its way, evenly over its steps, and its length."""
    trial = copy.deepcopy(trainer)
    an_epoch = math.ceil(len(x) / size)
    fixed = rng.permutation(len(x))[:_CHECKED]
    limit = min(_STEPS, _EPOCHS * an_epoch) if reach is None else _MOST_EPOCHS * an_epoch
    places: list[_Place] = [(0, [array.copy() for array in trial.model.state_arrays()])]
    every, check = 1, max(1, an_epoch // 4)
    step, lowest, lowest_at = 0, math.inf, 0
    for rows in _batches(len(x), size, rng):
        with np.errstate(all="ignore"):  # a rate that is too high is a DivergenceError
            trial.step(x[rows], y[rows])
        step += 1
        if step % every == 0:
            places.append((step, [array.copy() for array in trial.model.state_arrays()]))
            if len(places) > _KEPT:  # every second is enough
                places, every = places[::2], 2 * every
        if reach is not None and step % check == 0:
            error = trial.evaluate(x[fixed], y[fixed])["loss"]
            if error <= reach:
                break
            if error < lowest:
                lowest, lowest_at = error, step
            if step - lowest_at > _PATIENCE * an_epoch or step >= limit:
                raise ValueError(
                    f"find_batch_size: batch {size} does not reach an error of {reach:g} in {step} steps; the lowest "
                    f"is {lowest:.4g} after {lowest_at}. Choose a reach above it, or another learning rate."
                )
        if step >= limit:
            break
    wanted = (np.arange(_MOMENTS) + 0.5) / _MOMENTS * step
    chosen = sorted({int(np.abs([at - want for at, _ in places]).argmin()) for want in wanted})
    return [places[i] for i in chosen], step


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[Any]:
    while True:
        order = rng.permutation(n)
        for start in range(0, n, size):
            yield order[start : start + size]


def _noise(trainer: Trainer, kept: list[Array], x: Array, y: Array, rng: np.random.Generator) -> float:
    """B_noise of the error at these weights, with the Gauss-Newton matrix, which is never negative.

    All rows where there are not too many of them for the network; else it is corrected for being estimated from some.
    """
    model = copy.deepcopy(trainer.model)
    model.load_state_arrays(kept)
    count = int(np.clip(_WORK / max(model.params.size, 1), 512, 16384))
    at = np.sort(rng.permutation(len(x))[:count])
    rows = Rows(model, trainer.loss, x[at], y[at], "find_batch_size")
    _, curved, _, _, _ = measure(rows, count < len(x), True, _PROBES, rng, exact=False)
    return curved.ratio(True)


def _step_seconds(
    trainer: Trainer, x: Array, y: Array, sizes: tuple[int, ...]
) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    """Seconds of a step inside `fit` for every size: by the NumPy lines, and by kernels where they may be had.

    Rounds go over all sizes, so that what disturbs the machine for a while does not single one out; and a step is no
    slower than one with more rows.
    """
    trial = copy.deepcopy(trainer)
    trial.metrics = []
    trial.optimizer.reset()
    trial.optimizer.learning_rate = 1e-12
    took: list[tuple[float, ...]] = []
    choices: tuple[Choice, ...] = (False,) if trainer.compiled is False else (False, trainer.compiled)
    for choice in choices:
        timers = [_StepTimer() for _ in sizes]
        trial.compiled = choice
        for _ in range(_ROUNDS):
            for size, timer in zip(sizes, timers, strict=True):
                full = slice(len(x) - len(x) % size)  # every mini-batch of that size
                made = trial.fit(
                    x[full], y[full], epochs=10**9, batch_size=size, seed=0, callbacks=[timer], progress=False
                )
                if choice and not made.compiled:
                    return took[0], None
        call = _call(timers)
        seconds = np.array([timer.a_step(call) for timer in timers])
        took.append(tuple(np.minimum.accumulate(seconds[::-1])[::-1].tolist()))
    return took[0], took[1] if len(took) > 1 else None


class _StepTimer(Callback):
    """Stop after 10 steps, or fewer long ones; the shortest times of 1 step, or of 8 that kernels make at once.

    Kernels are called for many steps at a time in a long fit, so that the call itself is taken off. It takes as long as
    some five small steps: what is wrong in its time must be shared by many.
    """

    observes = True

    def __init__(self) -> None:
        self.shortest: dict[int, float] = {}

    def rest(self, run: Run) -> float:
        return 1 if run.step < 2 or self.shortest.get(1, 0.0) > _LONG / 10 else max(_TIMED - run.step, 1)

    def on_fit_begin(self, run: Run) -> None:
        self.at, self.before = 0, 0.0

    def on_batch_end(self, run: Run) -> None:
        now, made = time.perf_counter(), run.step - self.at
        if self.at:
            self.shortest[made] = min(now - self.before, self.shortest.get(made, math.inf))
        else:
            self.began = now
        if run.step >= _TIMED or now - self.began > _LONG:
            run.stop("timed")
        self.at, self.before = run.step, time.perf_counter()

    @property
    def call(self) -> float | None:
        """Seconds of a call without its steps, from t_1 = call + step and t_k = call + k steps."""
        most = max(self.shortest)
        return None if most == 1 else (most * self.shortest[1] - self.shortest[most]) / (most - 1)

    def a_step(self, call: float) -> float:
        """Seconds of a step, where a call takes so many."""
        most = max(self.shortest)
        return (self.shortest[most] - call) / most


def _call(timers: list[_StepTimer]) -> float:
    """Seconds of a call without its steps: the median over the quicker half of the batch sizes, the others hide it."""
    quick = sorted(timers, key=lambda timer: timer.shortest[1])[: max(1, len(timers) // 2)]
    call = float(np.median([timer.call for timer in quick if timer.call is not None] or [0.0]))
    return min(max(call, 0.0), 0.9 * min(min(timer.shortest.values()) for timer in timers))
