"""RealMLP of Holzmueller, Grinsztajn and Steinwart: a recipe for tables that is strong without tuning.

"tabular" is the paper's RealMLP-TD, "tabular-small" its RealMLP-TD-S: the same network without embeddings, parametric
activations, dropout, decay, and first weights that the data set.

The paper writes a layer as x W / sqrt(n_in) + b with W of unit variance. Adam moves every weight by about its rate,
whatever the gradient's size, so that this is the same as a plain dense layer with weights of variance 1 / n_in, the
rate factor 1 / sqrt(n_in) and the decay factor sqrt(n_in), which makes up for the rate in decoupled decay (but for
Adam's epsilon).

In the published code (pytabkit) a parameter's rate factor r acts twice on its decay: w <- w - r^2 alpha lambda w, which
for the scales (r = 6) is a strong pull to 0, and for embeddings of numbers and activations (r = 0.1) next to none.
The decay factors here say the same.

References
----------
.. [1] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
   data" (2024), arXiv:2407.04491, section 3 and appendix A; https://github.com/dholzmueller/pytabkit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.layers import Blend, Columns, Dense, Dropout, Embedding, Layer, Periodic, RobustScale, Scale
from densenet.optimizers.schedules import Schedule
from densenet.persistence.codec import register
from densenet.sequential import Sequential
from densenet.tabular.preparation import Layout
from densenet.training.hooks import Callback
from densenet.training.run import Run

_MOST_ROWS = 10_000


@dataclass(frozen=True)
class Recipe:
    """What two recipes and two tasks differ in.

    Attributes
    ----------
    activation : str
    learning_rate : float
        Its largest value, at the crests of `CosineLog4`.
    dropout, weight_decay : float
        Both stay for the first half of training and follow half a cosine to 0 in the second.
    label_smoothing : float
    whole : bool
        Whether inputs are embedded, activations parametric, first weights set by the data, outputs clipped.
    by_loss : bool
        Whether the loss, not accuracy or R^2, says which epoch is best: of classes that of logits at their best
        temperature (`densenet.tabular.calibrate`).
    """

    activation: str
    learning_rate: float
    dropout: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    whole: bool = False
    by_loss: bool = False


RECIPES = {
    ("tabular", "classification"): Recipe("selu", 0.04, dropout=0.15, weight_decay=0.02, whole=True, by_loss=True),
    ("tabular", "regression"): Recipe("mish", 0.2, dropout=0.15, weight_decay=0.02, whole=True, by_loss=True),
    ("tabular-small", "classification"): Recipe("selu", 0.04, label_smoothing=0.1),
    ("tabular-small", "regression"): Recipe("mish", 0.07),
}
"""By the preset's name and the task."""


@register
class CosineLog4(Schedule):
    """alpha = initial (1/2 - 1/2 cos(2 pi log2(1 + 15 t / steps))): four cosine waves, each twice as long as the last.

    Parameters
    ----------
    initial : float
        Its largest value.
    steps : int
    """

    def __init__(self, initial: float, steps: int) -> None:
        self.initial, self.steps = initial, steps

    def __call__(self, step: int) -> float:
        share = min(step / self.steps, 1.0)
        return self.initial * (0.5 - 0.5 * math.cos(2 * math.pi * math.log2(1 + 15 * share)))


def flat_cosine(share: float) -> float:
    """1 for the first half, then 1/2 + 1/2 cos(pi (2 share - 1)) down to 0.

    Examples
    --------
    >>> from densenet.tabular import flat_cosine
    >>> [round(flat_cosine(share), 3) for share in (0, 0.5, 0.75, 1)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return 1.0 if share <= 0.5 else 0.5 + 0.5 * math.cos(math.pi * (2 * min(share, 1.0) - 1))


class FlatCosine(Callback):
    """Dropout's rates and the optimizer's weight decay times `flat_cosine` of the share of steps done.

    Parameters
    ----------
    steps : int
        Steps of the whole run.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_fit_begin(self, run: Run) -> None:
        layers = [layer for layer in run.model.every_layer if isinstance(layer, Dropout)]
        self._rates = [(layer, layer.rate) for layer in layers]
        self._decay = run.trainer.optimizer.weight_decay

    def on_batch_begin(self, run: Run) -> None:
        factor = flat_cosine(run.step / self.steps)
        for layer, rate in self._rates:
            layer.rate = rate * factor
        run.trainer.optimizer.weight_decay = self._decay * factor

    def on_fit_end(self, run: Run) -> None:
        for layer, rate in self._rates:
            layer.rate = rate
        run.trainer.optimizer.weight_decay = self._decay


def front(layout: Layout, embeds: bool) -> list[Layer]:
    """What stands before the first dense layer: robust scales, embeddings where they are wanted, trained scales."""
    if not embeds or not (layout.numbers or layout.sizes):
        return [RobustScale(layout.columns), Scale(layout.columns).set_rate(6.0).set_decay(6.0)]
    parts: list[tuple[int, list[Layer]]] = []
    if layout.numbers:
        embedded = Periodic(layout.numbers).set_rate(0.1).set_decay(0.1)
        parts.append((layout.numbers, [RobustScale(layout.numbers), embedded]))
    if layout.flags:
        parts.append((layout.flags, [RobustScale(layout.flags)]))
    if layout.sizes:
        parts.append((len(layout.sizes), [Embedding(layout.sizes)]))
    columns = Columns([width for width, _ in parts], [chain for _, chain in parts])
    return [columns, Scale(columns.n_out).set_rate(6.0).set_decay(6.0)]


def learn_scales(model: Sequential, x: Array) -> None:
    """Medians and quartiles of the training rows, for the robust scales that `front` put at the model's start."""
    first = model[0]
    if isinstance(first, RobustScale):
        first.learn(x)
    elif isinstance(first, Columns):
        ends = np.cumsum(first.widths).tolist()
        for branch, width, end in zip(first.branches, first.widths, ends, strict=True):
            if isinstance(scale := branch[0], RobustScale):
                scale.learn(x[:, end - width : end])


def mark(layers: Sequence[Layer]) -> None:
    """Rate and decay factors: 1 / sqrt(n_in) and sqrt(n_in) for W, 0.1 and 0 for b, 0.1 and 0.1 for activations."""
    for layer in layers:
        if isinstance(layer, Dense):
            root = math.sqrt(layer.n_in)
            layer.set_rate(1 / root, "W").set_decay(root, "W").set_rate(0.1, "b")
        elif isinstance(layer, Blend):
            layer.set_rate(0.1).set_decay(0.1)


def draw(layers: Sequence[Dense], random_state: Any) -> None:
    """First weights of "tabular-small": W from N(0, 1/n_in), b from N(0, 1); the last layer starts at 0."""
    for layer in layers[:-1]:
        layer.W = random_state.normal(size=layer.W.shape) / math.sqrt(layer.n_in)
        layer.b = random_state.normal(size=layer.n_out)
    layers[-1].W[...] = 0
    layers[-1].b[...] = 0


def fit_to_data(model: Sequential, x: Array, random_state: Any) -> None:
    """First weights of "tabular", layer after layer, so that on the training rows every neuron has unit variance::

        W_j = V_j / std(X V_j)        b_j = -sum_i u_i (X W_j)_(r_i)        V from N(0, 1)

    The bias is minus a random point among five rows r_i of the neuron's own values (u from the simplex), which puts the
    bend of the activation where the data are. Of more than 10,000 rows, so many are drawn.

    Parameters
    ----------
    model : Sequential
    x : ndarray (n, n_in)
    random_state : numpy.random.RandomState

    References
    ----------
    .. [1] Steinwart, "A sober look at neural network initializations" (2019), arXiv:1903.11482 (he+5).
    """
    if len(x) > _MOST_ROWS:
        x = x[random_state.choice(len(x), _MOST_ROWS, replace=False)]
    for layer in model:
        if isinstance(layer, Dense):
            V = random_state.normal(size=layer.W.shape)
            z = x @ V.astype(x.dtype)
            deviation = z.std(axis=0)
            deviation[~(deviation > 1e-6)] = math.sqrt(layer.n_in)  # inputs that do not vary
            layer.W = V / deviation
            z /= deviation
            rows = random_state.randint(0, len(x), size=(5, layer.n_out))
            u = random_state.exponential(size=rows.shape)
            u /= u.sum(axis=0)
            layer.b = -(np.take_along_axis(z, rows, axis=0) * u).sum(axis=0)
        x = layer.infer(x)
