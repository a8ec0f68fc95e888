"""Explaining a network: is the derivative right, and by which routes does the error reach a weight?"""

from __future__ import annotations

from densenet.explain.gradcheck import GradCheck, GradCheckRow, gradcheck
from densenet.explain.paths import Factor, Passage, Path
from densenet.explain.route import Route, Stage, route

__all__ = [
    "Factor",
    "GradCheck",
    "GradCheckRow",
    "Passage",
    "Path",
    "Route",
    "Stage",
    "gradcheck",
    "route",
]
