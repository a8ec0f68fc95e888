"""The built-in callbacks: when to stop, what to keep, what to log."""

from __future__ import annotations

from densenet.training.callbacks.csv_logger import CSVLogger
from densenet.training.callbacks.functions import LambdaCallback
from densenet.training.callbacks.model_checkpoint import ModelCheckpoint
from densenet.training.callbacks.monitors import Best, EarlyStopping, ReduceLROnPlateau, StopAt, TimeLimit
from densenet.training.callbacks.weight_average import WeightAverage

__all__ = [
    "Best",
    "CSVLogger",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "StopAt",
    "TimeLimit",
    "WeightAverage",
]
