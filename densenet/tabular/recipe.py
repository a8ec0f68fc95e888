"""RealMLP of Holzmueller, Grinsztajn and Steinwart: a recipe for tables that is strong without tuning.

"tabular" is the paper's RealMLP-TD, "tabular-small" its RealMLP-TD-S: the same network without embeddings, parametric
activations, dropout, decay, and data-dependent first weights.

One stage of "tabular" is not the paper's: up to 2,500 training rows the hidden layers of a network that is no member of
an ensemble are 8 paths of half the widths. Each trains on an eighth of every mini-batch; the network answers with their
mean (`densenet.layers.Mixture`).

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
from dataclasses import dataclass

from densenet.layers import Dropout
from densenet.optimizers.schedules import Schedule
from densenet.persistence.codec import register
from densenet.training.hooks import Callback
from densenet.training.run import Run


@dataclass(frozen=True)
class Recipe:
    """What differs between the recipes, and between the tasks.

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
        Whether the loss, not accuracy or R^2, says which epoch is best. For classes it is the loss of logits at their
        best temperature (`densenet.tabular.calibrate`).
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

    def rest(self, run: Run) -> float:
        """Steps until the factor changes."""
        return max(1, self.steps // 2 + 1 - run.step)

    def on_batch_begin(self, run: Run) -> None:
        factor = flat_cosine(run.step / self.steps)
        for layer, rate in self._rates:
            layer.rate = rate * factor
        run.trainer.optimizer.weight_decay = self._decay * factor

    def on_fit_end(self, run: Run) -> None:
        for layer, rate in self._rates:
            layer.rate = rate
        run.trainer.optimizer.weight_decay = self._decay
