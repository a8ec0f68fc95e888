"""Explaining a network: by which routes does the error reach a weight, and what went wrong in a derivative?"""

from __future__ import annotations

import importlib

from densenet.explain.diagnose import Diagnosis, diagnose_gradients
from densenet.explain.explain_step import ExplainedStep, explain_step
from densenet.explain.mistakes import Mistake
from densenet.explain.paths import Factor, Passage, Path
from densenet.explain.route import Route, Stage, route
from densenet.explain.sensitivity import Sensitivity, sensitivity

__all__ = [
    "Diagnosis",
    "ExplainedStep",
    "Factor",
    "Mistake",
    "Passage",
    "Path",
    "Route",
    "Sensitivity",
    "Stage",
    "diagnose_gradients",
    "explain_step",
    "route",
    "sensitivity",
]

_MOVED = dict.fromkeys("Examination Finding GradientDoctor LearningRates examine find_learning_rate".split(), "health")
_MOVED |= dict.fromkeys(("GradCheck", "GradCheckRow", "gradcheck"), "checks")
"""What was imported from here before, by the module that has it now."""


def __getattr__(name: str) -> object:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"densenet.{_MOVED[name]}"), name)
    return found
