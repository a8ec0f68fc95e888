"""What a preset puts in the place of an estimator's parameters, and how X becomes columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sklearn.utils import check_array

from densenet.losses import MeanSquaredError, SoftmaxCrossEntropy
from densenet.tables import Table
from densenet.tabular import RECIPES

SHARED: dict[str, Any] = {
    "hidden_layer_sizes": (256, 256, 256),
    "max_iter": 256,
    "batch_size": 256,
    "alpha": 0.0,
    "beta_2": 0.95,
    "early_stopping": True,
    "validation_fraction": 0.2,
    "n_iter_no_change": math.inf,
}
"""What all recipes put in the place of parameters that are at their defaults."""


def parameters(preset: str, task: str) -> dict[str, Any]:
    """What a recipe puts in the place of parameters that are at their defaults."""
    recipe = RECIPES[preset, task]
    smoothing = recipe.label_smoothing
    loss = SoftmaxCrossEntropy(label_smoothing=smoothing) if task == "classification" else MeanSquaredError()
    return SHARED | {
        "activation": recipe.activation,
        "learning_rate_init": recipe.learning_rate,
        "dropout": recipe.dropout,
        "loss": loss,
    }


def columns_of(X: Any) -> dict[str, Any]:
    """The columns of a data frame, a mapping of columns, or an array (n, columns) of numbers and words."""
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        return Table(X).columns
    array = check_array(X, dtype=None, ensure_all_finite=False, estimator="a preset")
    return {f"x{i}": array[:, i] for i in range(array.shape[1])}
