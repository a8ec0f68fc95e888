"""The recipe for tables: what makes a network's inputs of columns, the network itself, and how it is trained.

RealMLP of Holzmueller, Grinsztajn and Steinwart (2024). Everything here is NumPy; the estimators stand above it.
"""

from __future__ import annotations

from densenet.tabular.calibration import Calibration, calibrate
from densenet.tabular.folds import folds, intervals, random_fifths, splits
from densenet.tabular.linear import LinearBaseline, with_interval
from densenet.tabular.network import Body, fit_to_data, front, learn_scales, mark
from densenet.tabular.preparation import Block, Layout, Preparation, layout_of
from densenet.tabular.recipe import RECIPES, CosineLog4, FlatCosine, Recipe, flat_cosine
from densenet.tabular.training import Choices, Member, members

__all__ = [
    "RECIPES",
    "Block",
    "Body",
    "Calibration",
    "Choices",
    "CosineLog4",
    "FlatCosine",
    "Layout",
    "LinearBaseline",
    "Member",
    "Preparation",
    "Recipe",
    "calibrate",
    "fit_to_data",
    "flat_cosine",
    "folds",
    "front",
    "intervals",
    "layout_of",
    "learn_scales",
    "mark",
    "members",
    "random_fifths",
    "splits",
    "with_interval",
]
