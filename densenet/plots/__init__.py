"""Every picture: functions that take `ax=` and return axes."""

from __future__ import annotations

from densenet.plots.confusion import confusion_matrix
from densenet.plots.curves import learning_curves
from densenet.plots.decision import decision_regions
from densenet.plots.direction import loss_along
from densenet.plots.first_layer import features
from densenet.plots.histograms import gradient_histograms, weight_histograms
from densenet.plots.network import network_diagram
from densenet.plots.regression import predicted_against_true, residual_histogram
from densenet.plots.schedules import schedule

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "features",
    "gradient_histograms",
    "learning_curves",
    "loss_along",
    "network_diagram",
    "predicted_against_true",
    "residual_histogram",
    "schedule",
    "weight_histograms",
]
