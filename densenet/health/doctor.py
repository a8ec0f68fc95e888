"""Why a network does not learn: each problem with its evidence, its cause, and its remedy.

Most failures of training show in few numbers: units that never answer, activations that are flat where the data are,
deltas that fade or swell on their way to the first layer, steps that are too large or too small for the weights,
inputs of unlike sizes, and single samples that pull much harder than all others.
"""

from __future__ import annotations

import copy
import html
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from densenet import losses, optimizers
from densenet._display import html_table, text_table
from densenet._types import Array
from densenet._validation import as_matrix, check_finite, positive_int
from densenet.gradient import error_and_gradient
from densenet.health.signals import LayerSignals, SignalRecord, layer_names, signals, update_ratios
from densenet.layers.normalization import BatchNorm, LayerNorm
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.second_order.jacobian import per_sample_gradient_norms
from densenet.sequential import Sequential
from densenet.training.data import Batch
from densenet.training.hooks import Callback
from densenet.training.run import Run

_DEAD = 0.2
_SATURATED = 0.5
_VANISHING = 1e-3
_EXPLODING = 1e2
_TOO_HIGH = 0.3
_TOO_LOW = 5e-5
_LARGE, _SMALL = 10.0, 1e-3
_OUTLIER, _FEW = 5.0, 0.1
_SURE = 0.9
_ROWS = 2048
_SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes
    ----------
    problem : str
        "dead units", "saturation", "vanishing gradients", "exploding gradients", "rate too high", "rate too low",
        "unscaled inputs", "suspicious labels" or "numbers that are not finite".
    where : str
        The layer or layers, or what else it is about.
    evidence, cause, remedy : str
    indices : tuple of int
        The rows or columns it is about, worst first; none for layers.

    Examples
    --------
    >>> import densenet as dn
    >>> x = [[0.0, 1000.0], [1.0, 3000.0], [0.5, 2000.0]]
    >>> finding = dn.examine(dn.mlp([2, 1], seed=0), "mse", x, [0.0, 1.0, 0.5]).findings[0]
    >>> finding.problem, finding.indices, finding.evidence
    ('unscaled inputs', (1,), 'column 1: mean 2e+03, standard deviation 816.')
    """

    problem: str
    where: str
    evidence: str
    cause: str
    remedy: str
    indices: tuple[int, ...] = ()

    @property
    def illness(self) -> str:
        """`problem`, by its name in version 0.1."""
        return self.problem


@dataclass(frozen=True)
class Examination:
    """What the doctor found: true when there is no problem.

    Attributes
    ----------
    findings : tuple of Finding
    layers : tuple of LayerSignals
        What every layer passed on.
    update_ratios : dict of str to float
        |W_new - W_old| / |W_old| by dense layer, the largest seen; empty where no step was seen.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(2, 8), dn.ReLU(), dn.Dense(8, 1)], seed=0)
    >>> model.layers[0].b = [-100.0] * 8
    >>> report = dn.examine(model, "mse", [[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0])
    >>> bool(report), report.findings[0].problem, report.findings[0].where
    (False, 'dead units', 'ReLU 1')
    """

    findings: tuple[Finding, ...]
    layers: tuple[LayerSignals, ...]
    update_ratios: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    _HEAD = ("layer", "mean", "spread", "dead", "saturated", "|dE/dy|", "update / weight")
    _ALIGN = "<>>>>>>"

    def _table(self) -> list[tuple[str, ...]]:
        def number(value: float, form: str) -> str:
            return "" if math.isnan(value) else format(value, form)

        return [
            (
                layer.name,
                f"{layer.mean if abs(layer.mean) > 1e-9 * layer.spread else 0.0:.3g}",
                f"{layer.spread:.3g}",
                number(layer.dead, ".0%"),
                number(layer.saturated, ".0%"),
                f"{layer.gradient:.2g}",
                number(self.update_ratios.get(layer.name, math.nan), ".1e"),
            )
            for layer in self.layers
        ]

    def __str__(self) -> str:
        lines = [text_table([self._HEAD, *self._table()], self._ALIGN)] if self.layers else []
        lines.append("healthy: nothing found" if self.ok else "")
        for i, finding in enumerate(self.findings, start=1):
            lines += [
                f"{i}. {finding.problem} ({finding.where})",
                f"   evidence: {finding.evidence}",
                f"   cause:    {finding.cause}",
                f"   to do:    {finding.remedy}",
            ]
        return "\n".join(lines)

    __repr__ = __str__

    def to_html(self) -> str:
        """The table of the layers and the findings as HTML."""
        made = html_table(self._HEAD, self._table(), self._ALIGN)
        if self.ok:
            return made + "<p>healthy: nothing found</p>"
        items = "".join(
            f"<li><b>{html.escape(f.problem)}</b> ({html.escape(f.where)})<br>"
            f"<i>evidence:</i> {html.escape(f.evidence)}<br><i>cause:</i> {html.escape(f.cause)}<br>"
            f"<i>to do:</i> {html.escape(f.remedy)}</li>"
            for f in self.findings
        )
        return f"{made}<ol>{items}</ol>"

    _repr_html_ = to_html


def examine(
    model: Sequential, loss: Loss | str, x: Any, y: Any, *, optimizer: Optimizer | str | None = None
) -> Examination:
    """Look for what keeps a network from learning, and say what to do.

    It makes one pass forward and backward over up to 2048 rows as in training, on a copy: nothing of the model
    changes. Samples whose labels look wrong are those whose own gradient is much longer than the others'; the lengths
    come from activations and deltas, without the gradients::

        |dl_s/dW|^2 + |dl_s/db|^2 = (|x_s|^2 + 1) |d_s|^2

    Parameters
    ----------
    model : Sequential
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    optimizer : Optimizer or str, optional
        With it, a copy takes one step on a copy of the model, and the size of the step is judged, too.

    Returns
    -------
    Examination
        True when healthy; text when printed, a table in a notebook.

    Raises
    ------
    ValueError, TypeError
        If x or y does not fit the model and the loss.

    Notes
    -----
    Limits: a fifth of the units dead; half of the outputs of an S-shaped hidden layer where the slope is below 5 % of
    the steepest; |dE/dy| at the first dense layer below 1/1000 or above 100 times that at the last; an update above
    0.3 or below 0.00005 of the weights; input columns beyond 10 or within 0.001; a sample's gradient above 5 times
    the 90th percentile, in classification with the model more than 90 % sure of another class (of another class at
    all, where the loss gives no probabilities).

    References
    ----------
    .. [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    .. [2] Goodfellow, "Efficient per-example gradient computations" (2015).

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> print(dn.examine(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", x, y))
    layer      mean  spread  dead  saturated  |dE/dy|  update / weight
    ...
    healthy: nothing found
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"examine expects a Sequential as its model, got {model!r}.")
    loss = copy.copy(losses.get(loss))
    x = as_matrix(x, model.n_in, model.dtype, "examine")
    check_finite(x, "examine", "x")
    target = loss.prepare(y, model.output_width(x.shape[1]), model.dtype)
    if len(target) != len(x):
        raise ValueError(f"examine expects as many targets as rows, got x {x.shape} and y {np.shape(target)}.")
    rows = np.linspace(0, len(x) - 1, min(len(x), _ROWS)).astype(int)
    layers = signals(model, loss, x[rows], target[rows])
    ratios: dict[str, float] = {}
    if optimizer is not None:
        ratios = _step(model, loss, x[rows], target[rows], optimizers.get(optimizer))
    return _judge(model, loss, x, target, layers, ratios, rows_known=True)


class GradientDoctor(Callback):
    """Watch activations, gradients and updates of every layer in training, and examine the network at the end.

    It keeps up to 512 rows of the first epoch's mini-batches and passes them through a copy of the model at the end of
    every epoch; training goes on bit for bit as without it. The first update of an epoch is measured.

    Parameters
    ----------
    every : int, optional
        Steps between two looks; by default an epoch.

    Attributes
    ----------
    record : SignalRecord
        What was seen; `plots.signals` and `plots.update_ratios` draw it.
    report : Examination or None
        After fit.

    Raises
    ------
    ValueError
        If `every` is no whole number of at least 1.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> model = dn.mlp([64, 32, 10], seed=0)
    >>> doctor = dn.GradientDoctor()
    >>> trainer = dn.Trainer(model, "softmax_cross_entropy", dn.SGD(1e-6))
    >>> history = trainer.fit(x, y, epochs=2, seed=0, callbacks=[doctor])
    >>> [finding.problem for finding in doctor.report.findings]
    ['rate too low']
    """

    observes: ClassVar[bool] = True
    _KEPT = 512

    def __init__(self, every: int | None = None) -> None:
        self.every = None if every is None else positive_int(every, "GradientDoctor", "every")
        self.record = SignalRecord()
        self.report: Examination | None = None
        self._rows: list[Batch] = []
        self._count = self._began = 0
        self._due = False
        self._before: Array | None = None

    def on_fit_begin(self, run: Run) -> None:
        self.record, self.report = SignalRecord(), None
        self._rows, self._count, self._began, self._due, self._before = [], 0, len(run.history), False, None

    def on_epoch_begin(self, run: Run) -> None:
        self._due = True

    def on_gradients(self, run: Run) -> None:
        if self._due if self.every is None else (run.step + 1) % self.every == 0:
            self._due, self._before = False, run.model.params.copy()

    def on_batch_end(self, run: Run) -> None:
        if self._count < self._KEPT and len(run.history) == self._began:
            self._keep(run.batch)
        if self._before is not None and run.stepped:
            self.record.add_update(run.step, layer_names(run.model), update_ratios(run.model, self._before))
            self._before = None
            if self.every is not None:
                self._look(run)

    def on_epoch_end(self, run: Run) -> None:
        if self.every is None:
            self._look(run)

    def on_fit_end(self, run: Run) -> None:
        if not self._count:
            self._keep(run.batch)
        if not self._count:
            return
        x, target = self._data()
        loss, ratios = copy.copy(run.trainer.loss), self.record.update_ratios
        seen = np.where(np.isnan(ratios), -1, ratios).max(axis=0, initial=-1)
        largest = {name: float(r) for name, r in zip(self.record.dense, seen, strict=True) if r >= 0}
        layers = signals(run.model, loss, x, target)
        self.report = _judge(run.model, loss, x, target, layers, largest, rows_known=False)

    def _keep(self, batch: Batch | None) -> None:
        if batch is not None:
            rows = slice(self._KEPT - self._count)
            self._rows.append((batch[0][rows].copy(), batch[1][rows].copy(), None))
            self._count += len(self._rows[-1][0])

    def _data(self) -> tuple[Array, Array]:
        if len(self._rows) > 1:
            x, target = (np.concatenate(parts) for parts in zip(*((x, y) for x, y, _ in self._rows), strict=True))
            self._rows = [(x, target, None)]
        return self._rows[0][0], self._rows[0][1]

    def _look(self, run: Run) -> None:
        self.record.add(run.step, signals(run.model, run.trainer.loss, *self._data()))

    def __str__(self) -> str:
        return "GradientDoctor: no fit yet" if self.report is None else str(self.report)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>" if self.report is None else self.report.to_html()


def _step(model: Sequential, loss: Loss, x: Array, target: Array, optimizer: Optimizer) -> dict[str, float]:
    """Update ratios of one step that a copy of the optimizer takes on a copy of the model."""
    model, optimizer, loss = copy.deepcopy(model), copy.deepcopy(optimizer), copy.copy(loss)
    before = model.params.copy()
    with np.errstate(all="ignore"):
        error_and_gradient(model, loss, x, target)
        model.add_penalty_gradients()
        optimizer.step(model.params, model.grads, model.marks)
    names = [name for name in layer_names(model) if name.startswith("dense ")]
    return {n: r for n, r in zip(names, update_ratios(model, before), strict=True) if not math.isnan(r)}


def _judge(
    model: Sequential,
    loss: Loss,
    x: Array,
    target: Array,
    layers: list[LayerSignals],
    ratios: dict[str, float],
    *,
    rows_known: bool,
) -> Examination:
    findings = _columns(model, x)
    broken = _not_finite(layers)
    if broken:
        findings += broken
    else:
        dead = _dead(layers)
        fading = [finding for finding in _fading(layers) if not dead or finding.problem != "vanishing gradients"]
        findings += [*dead, *_saturated(layers), *fading, *_rate(ratios)]  # dead units explain a gradient of 0
        findings += _labels(model, loss, x, target, rows_known)
    return Examination(tuple(findings), tuple(layers), ratios)


def _not_finite(layers: list[LayerSignals]) -> list[Finding]:
    for layer in layers:
        if not math.isfinite(layer.spread):
            return [
                Finding(
                    "numbers that are not finite",
                    layer.name,
                    "its output holds infinity or NaN.",
                    "Weights have grown without bound, mostly by a learning rate that is too high, or inputs are huge.",
                    "Make the model anew, with a smaller learning rate, scaled inputs or clip_norm.",
                )
            ]
    return []


def _dead(layers: list[LayerSignals]) -> list[Finding]:
    return _of_layers(
        "dead units",
        # a flat S-shaped function is saturated, not dead
        {layer.name: layer.dead for layer in layers if layer.dead > _DEAD and math.isnan(layer.saturated)},
        "units",
        "have slope 0 for every sample, so that no gradient passes them.",
        "Their inputs are far below 0 for all data: a step that was too large, large negative biases, or inputs "
        "that are not scaled.",
        'Lower the learning rate, start with kernel_initializer="he_normal" and zero biases, put BatchNorm before '
        "the activation, or use LeakyReLU, whose slope is never 0.",
    )


def _saturated(layers: list[LayerSignals]) -> list[Finding]:
    return _of_layers(
        "saturation",
        # the last layer is left out: an output that is sure of its answer is no problem
        {layer.name: layer.saturated for layer in layers[:-1] if layer.saturated > _SATURATED},
        "outputs",
        "lie where the slope is below 5 % of the steepest.",
        "The activation's inputs are too large: large weights, or inputs that are not scaled.",
        'Scale the inputs, start with smaller weights (kernel_initializer="glorot_uniform"), put BatchNorm before '
        "the activation, or use ReLU.",
    )


def _of_layers(problem: str, shares: dict[str, float], what: str, have: str, cause: str, remedy: str) -> list[Finding]:
    """One finding for all layers with the same problem, with the share of each."""
    if not shares:
        return []
    if len(shares) == 1:
        evidence = f"{next(iter(shares.values())):.0%} of its {what} {have}"
    else:
        evidence = f"Of their {what}, {', '.join(f'{s:.0%} in {name}' for name, s in shares.items())} {have}"
    return [Finding(problem, ", ".join(shares), evidence, cause, remedy)]


def _fading(layers: list[LayerSignals]) -> list[Finding]:
    dense = [layer for layer in layers if layer.name.startswith("dense ")]
    if len(dense) < 2 or not dense[-1].gradient > 0:
        return []
    first, last = dense[0], dense[-1]
    ratio = first.gradient / last.gradient
    each = ratio ** (1 / (len(dense) - 1))
    profile = ", ".join(f"{layer.gradient:.1e}" for layer in reversed(dense))
    evidence = (
        f"|dE/dz| from {last.name} back to {first.name} is {profile}: a factor of {each:.2g} a layer, "
        f"{ratio:.1e} in all."
    )
    if ratio < _VANISHING:
        return [
            Finding(
                "vanishing gradients",
                f"{first.name} to {last.name}",
                evidence,
                "On its way back the delta is multiplied by slopes and weights whose product is below 1 in each layer.",
                "Use ReLU with he_normal weights, or tanh with glorot_uniform ones, instead of sigmoid; BatchNorm "
                "before the activations; Residual around pairs of layers; or fewer layers.",
            )
        ]
    if ratio > _EXPLODING:
        return [
            Finding(
                "exploding gradients",
                f"{first.name} to {last.name}",
                evidence,
                "On its way back the delta is multiplied by weights that are too large, in every layer.",
                'Start with smaller weights (kernel_initializer="he_normal" or "glorot_uniform"), put BatchNorm '
                "before the activations, and use clip_norm.",
            )
        ]
    return []


def _rate(ratios: dict[str, float]) -> list[Finding]:
    if not ratios:
        return []
    name = max(ratios, key=lambda name: ratios[name])
    largest = ratios[name]
    if not largest <= _TOO_HIGH:
        return [
            Finding(
                "rate too high",
                name,
                f"one step moved its weights by {largest:.2g} of their length; about 0.001 to 0.01 is usual.",
                "The learning rate is too high for these gradients, so that steps jump over what they aim at.",
                "Divide the learning rate by 3 to 10 (find_learning_rate shows where), warm it up, or use clip_norm.",
            )
        ]
    if largest < _TOO_LOW:
        return [
            Finding(
                "rate too low",
                name,
                f"no step moved its weights by more than {largest:.1e} of their length, and the other layers' by less; "
                "about 0.001 to 0.01 is usual.",
                "The learning rate is too low for these gradients, unless the error has come to rest already.",
                "Multiply the learning rate by 10 or more: find_learning_rate shows how far.",
            )
        ]
    return []


def _columns(model: Sequential, x: Array) -> list[Finding]:
    if isinstance(model.layers[0], (BatchNorm, LayerNorm)):
        return []
    mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    size, reach = np.hypot(mean, spread), np.maximum(x.max(axis=0) - mean, mean - x.min(axis=0))
    bad = (size > _LARGE) | ((reach < _SMALL) & (reach > 0))
    if not bad.any():
        return []
    order = np.argsort(-np.abs(np.log(np.maximum(size, 1e-300))), kind="stable")
    columns = [int(j) for j in order if bad[j]]
    shown = "; ".join(f"column {j}: mean {mean[j]:.3g}, standard deviation {spread[j]:.3g}" for j in columns[:_SHOWN])
    return [
        Finding(
            "unscaled inputs",
            f"{len(columns)} of {x.shape[1]} columns of x",
            shown + ("; ..." if len(columns) > _SHOWN else "") + ".",
            "dE/dW = X^T D: a column's weights get gradients in proportion to its size, and no one rate fits them all.",
            "Bring every column to mean 0 and standard deviation 1, (x - x.mean(0)) / x.std(0) with the training "
            "data's figures, or start the model with BatchNorm.",
            tuple(columns),
        )
    ]


def _labels(model: Sequential, loss: Loss, x: Array, target: Array, rows_known: bool) -> list[Finding]:
    norms = np.concatenate(
        [
            per_sample_gradient_norms(model, loss, x[a : a + _ROWS], target[a : a + _ROWS])
            for a in range(0, len(x), _ROWS)
        ]
    )
    usual = float(np.quantile(norms, 0.9))
    suspicious = norms > _OUTLIER * usual
    said = ""
    if loss.task != "regression" and suspicious.any():
        rows = np.flatnonzero(suspicious)
        suspicious[rows] = _sure_of_another(loss, model.predict(x[rows]), target[rows])
        said = ", and the model is sure of another class"
    rows = np.flatnonzero(suspicious)
    if not len(rows) or len(rows) > _FEW * len(x):
        return []
    rows = rows[np.argsort(-norms[rows], kind="stable")]
    listed = ", ".join(f"{row} ({norms[row]:.2g})" for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
    where = f"{len(rows)} of {len(x)} rows" + ("" if rows_known else " looked at")
    examples = f" Rows and lengths: {listed}." if rows_known else ""
    return [
        Finding(
            "suspicious labels",
            where,
            f"their own gradients are longer than {_OUTLIER:.0f} times the 90th percentile, {usual:.2g}{said}."
            + examples,
            "The target contradicts what the network has learned from the other samples: it may be wrong, or the "
            "sample is rare.",
            ("Look at these rows" if rows_known else "Call examine(model, loss, x, y), which names the rows")
            + "; correct or drop wrong ones, or use a loss that bounds their pull (Huber, label_smoothing).",
            tuple(map(int, rows)) if rows_known else (),
        )
    ]


def _sure_of_another(loss: Loss, prediction: Array, target: Array) -> Array:
    """Whether the model gives another class than the target's more than 90 %; without probabilities, at all."""
    try:
        p = loss.probabilities(prediction)
    except TypeError:
        other: Array = loss.classes(prediction) != loss.labels(target)
        return other
    if loss.task == "binary":
        away: Array = (np.abs(p - target) > _SURE).any(axis=1)
        return away
    labels = loss.labels(target)
    p[np.arange(len(p)), labels] = 0
    sure: Array = p.max(axis=1) > _SURE
    return sure
