"""Every picture: functions that take `ax=` and return axes."""

from __future__ import annotations

from densenet.plots.batches import batch_sizes, noise_scales
from densenet.plots.calibration import calibration
from densenet.plots.confusion import confusion_matrix
from densenet.plots.curves import learning_curves
from densenet.plots.decision import decision_regions
from densenet.plots.direction import loss_along
from densenet.plots.first_layer import features
from densenet.plots.histograms import gradient_histograms, weight_histograms
from densenet.plots.live import LivePlot
from densenet.plots.network import network_diagram
from densenet.plots.rates import learning_rates
from densenet.plots.regression import predicted_against_true, residual_histogram
from densenet.plots.schedules import schedule
from densenet.plots.signals import signals, update_ratios
from densenet.plots.uncertainty import prediction_band

__all__ = [
    "LivePlot",
    "batch_sizes",
    "calibration",
    "confusion_matrix",
    "decision_regions",
    "features",
    "gradient_histograms",
    "learning_curves",
    "learning_rates",
    "loss_along",
    "network_diagram",
    "noise_scales",
    "predicted_against_true",
    "prediction_band",
    "residual_histogram",
    "schedule",
    "signals",
    "update_ratios",
    "weight_histograms",
]
