"""Why a network does not learn: its layers' signals, what they tell, and which learning rate and batch size fit."""

from __future__ import annotations

from densenet.health.batches import BatchSizes, find_batch_size
from densenet.health.doctor import Examination, Finding, GradientDoctor, examine
from densenet.health.rates import LearningRates, find_learning_rate
from densenet.health.signals import LayerSignals, SignalRecord

__all__ = [
    "BatchSizes",
    "Examination",
    "Finding",
    "GradientDoctor",
    "LayerSignals",
    "LearningRates",
    "SignalRecord",
    "examine",
    "find_batch_size",
    "find_learning_rate",
]
