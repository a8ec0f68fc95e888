"""Every picture: functions that take `ax=` and return axes."""

from __future__ import annotations

from densenet.plots.curves import learning_curves

__all__ = ["learning_curves"]
