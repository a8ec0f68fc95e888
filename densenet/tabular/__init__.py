"""The recipe for tables: what makes a network's inputs of columns, the network itself, and how it is trained.

RealMLP of Holzmueller, Grinsztajn and Steinwart (2024). Everything here is NumPy; the estimators stand above it.
"""

from __future__ import annotations

from densenet.tabular.calibration import Calibration, calibrate
from densenet.tabular.folds import folds, intervals, random_fifths
from densenet.tabular.linear import LinearBaseline, with_interval
from densenet.tabular.preparation import Layout, Preparation
from densenet.tabular.recipe import (
    RECIPES,
    CosineLog4,
    FlatCosine,
    Recipe,
    fit_to_data,
    flat_cosine,
    front,
    learn_scales,
    mark,
)

__all__ = [
    "RECIPES",
    "Calibration",
    "CosineLog4",
    "FlatCosine",
    "Layout",
    "LinearBaseline",
    "Preparation",
    "Recipe",
    "calibrate",
    "fit_to_data",
    "flat_cosine",
    "folds",
    "front",
    "intervals",
    "learn_scales",
    "mark",
    "random_fifths",
    "with_interval",
]
