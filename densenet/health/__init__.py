"""Why a network does not learn: its layers' signals, what they tell, and which learning rate fits."""

from __future__ import annotations

from densenet.health.doctor import Examination, Finding, GradientDoctor, examine
from densenet.health.rates import LearningRates, find_learning_rate
from densenet.health.signals import LayerSignals, SignalRecord

__all__ = [
    "Examination",
    "Finding",
    "GradientDoctor",
    "LayerSignals",
    "LearningRates",
    "SignalRecord",
    "examine",
    "find_learning_rate",
]
