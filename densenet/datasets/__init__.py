"""Data to learn on: small real sets that ship with the package, generators of shapes, readers of your own files."""

from __future__ import annotations

from densenet.datasets.generators import circles, moons, noisy_curve, two_spirals, xor
from densenet.datasets.notes import notes_network
from densenet.datasets.parquet import ParquetBatches
from densenet.datasets.readers import read_csv, read_idx
from densenet.datasets.shipped import IRIS_CLASSES, IRIS_FEATURES, load_digits, load_iris

__all__ = [
    "IRIS_CLASSES",
    "IRIS_FEATURES",
    "ParquetBatches",
    "circles",
    "load_digits",
    "load_iris",
    "moons",
    "noisy_curve",
    "notes_network",
    "read_csv",
    "read_idx",
    "two_spirals",
    "xor",
]
