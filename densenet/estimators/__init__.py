"""scikit-learn estimators over the same layers and the same Trainer: change the import, keep the pipeline."""

from __future__ import annotations

from densenet.estimators.classifier import DenseClassifier
from densenet.estimators.regressor import DenseRegressor

__all__ = ["DenseClassifier", "DenseRegressor"]
