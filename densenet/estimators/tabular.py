"""A recipe for tables that is strong without tuning: RealMLP-TD-S of Holzmueller, Grinsztajn and Steinwart.

Numbers are scaled by their quartiles and clipped smoothly, words become one-hot columns, and a network of three hidden
layers with a trainable scale in front is trained for a fixed number of epochs on a rate that goes up and down four
times, of which the best epoch on held-out rows is kept.

The paper writes a layer as x W / sqrt(n_in) + b with W of unit variance. Adam moves every weight by about its rate,
whatever the gradient's size, so that this is the same as a plain dense layer with weights of variance 1 / n_in and the
rate factor 1 / sqrt(n_in) (but for Adam's epsilon).

References
----------
.. [1] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
   data" (2024), arXiv:2407.04491, section 3 and appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_array

from densenet._types import Array
from densenet.layers import Dense, Layer, Scale
from densenet.optimizers.schedules import Schedule
from densenet.tables import Table, TablePreparation

RECIPE: dict[str, Any] = {
    "hidden_layer_sizes": (256, 256, 256),
    "max_iter": 256,
    "batch_size": 256,
    "alpha": 0.0,
    "beta_2": 0.95,
    "early_stopping": True,
    "validation_fraction": 0.2,
    "n_iter_no_change": math.inf,
}
"""What the preset puts in the place of parameters that are at their defaults."""


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


class Preparation:
    """Columns of numbers and words to the network's inputs.

    `TablePreparation` finds out what the columns hold, fills in means for missing numbers, marks them, and makes
    one-hot columns; of two categories it takes the difference, -1 and 1. Each column v is then scaled and clipped::

        z = (v - median) / (third quartile - first quartile)        x = z / sqrt(1 + (z / 3)^2)

    Where the quartiles are equal, half the range stands in their place; a constant column is 0.
    """

    def fit(self, X: Any) -> Preparation:
        """Learn from the training rows: a data frame, a mapping of columns, or an array (n, columns)."""
        columns = self._columns(X)
        target = "target"
        while target in columns:
            target += "_"  # the preparation wants one; what is predicted is the estimator's affair
        table = Table(columns | {target: np.zeros(len(next(iter(columns.values()))))})
        self.table = TablePreparation().fit(table, target, task="regression")
        x = self._numbers(columns)
        low, self.median, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        spread = high - low
        spread = np.where(spread == 0, 0.5 * (x.max(axis=0) - x.min(axis=0)), spread)
        self.factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        return self

    def transform(self, X: Any) -> Array:
        """The network's inputs, float32."""
        z = (self._numbers(self._columns(X)) - self.median) * self.factor
        x: Array = (z / np.sqrt(1 + (z / 3) ** 2)).astype(np.float32)  # x = z / sqrt(1 + (z / 3)^2)
        return x

    def _numbers(self, columns: Mapping[str, Any]) -> Array:
        x = self.table.transform(columns).astype(np.float64)
        categories = self.table.categories
        keep, start = [], 0
        for name, features in self.table.features_by_column.items():
            width = len(features)
            if len(categories.get(name, ())) == 2:
                x[:, start] -= x[:, start + 1]
                keep += [start, *range(start + 2, start + width)]
            else:
                keep += range(start, start + width)
            start += width
        return x[:, keep]

    @staticmethod
    def _columns(X: Any) -> dict[str, Any]:
        if isinstance(X, Mapping) or hasattr(X, "columns"):
            return Table(X).columns
        array = check_array(X, dtype=None, ensure_all_finite=False, estimator="preset='tabular'")
        return {f"x{i}": array[:, i] for i in range(array.shape[1])}


def marked(layers: list[Layer], n_in: int) -> list[Layer]:
    """The layers behind a scaling layer, with the rate factors 6 for scales, 1 / sqrt(n_in) for W and 0.1 for b."""
    for layer in layers:
        if isinstance(layer, Dense):
            layer.set_rate(1 / math.sqrt(layer.n_in), "W").set_rate(0.1, "b")
    return [Scale(n_in).set_rate(6.0), *layers]


def draw(layers: list[Dense], random_state: Any) -> None:
    """W from N(0, 1/n_in) and b from N(0, 1); the last layer starts at 0."""
    for layer in layers[:-1]:
        layer.W = random_state.normal(size=layer.W.shape) / math.sqrt(layer.n_in)
        layer.b = random_state.normal(size=layer.n_out)
    layers[-1].W[...] = 0
    layers[-1].b[...] = 0
