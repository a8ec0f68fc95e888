"""Models for second-order methods: float64 copies whose error is a function of the parameters alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet.sequential import Sequential


def solvable_copy(model: Sequential, who: str) -> Sequential:
    """A float64 copy of a model whose error is a function of its parameters alone.

    Raises
    ------
    ValueError
        If a layer draws noise, couples samples or is constrained.
    """
    for layer in model.every_layer:
        if layer.couples_samples:
            raise ValueError(
                f"{who} needs samples that do not depend on one another, but {layer!r} takes statistics over the "
                "batch: use LayerNorm, or leave it out."
            )
        if layer.draws:
            raise ValueError(
                f"{who} needs the same error at the same weights, but {layer!r} draws noise: leave it out."
            )
        if layer.constrained:
            raise ValueError(f"{who} cannot keep {layer!r} within its max_norm: leave it out.")
    return model.astype(np.float64)


def free_parameters(model: Sequential) -> Any:
    """Indices of the parameters that are not frozen; a slice if none is."""
    rate = model.marks.rate
    return slice(None) if rate is None or rate.all() else np.flatnonzero(rate)
