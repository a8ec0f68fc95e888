"""Explaining a network: is the derivative right, and by which routes does the error reach a weight?"""

from __future__ import annotations

from densenet.explain.diagnose import Diagnosis, diagnose_gradients
from densenet.explain.doctor import Examination, Finding, GradientDoctor, examine
from densenet.explain.explain_step import ExplainedStep, explain_step
from densenet.explain.gradcheck import GradCheck, GradCheckRow, gradcheck
from densenet.explain.mistakes import Mistake
from densenet.explain.paths import Factor, Passage, Path
from densenet.explain.rates import LearningRates, find_learning_rate
from densenet.explain.route import Route, Stage, route
from densenet.explain.sensitivity import Sensitivity, sensitivity

__all__ = [
    "Diagnosis",
    "Examination",
    "ExplainedStep",
    "Factor",
    "Finding",
    "GradCheck",
    "GradCheckRow",
    "GradientDoctor",
    "LearningRates",
    "Mistake",
    "Passage",
    "Path",
    "Route",
    "Sensitivity",
    "Stage",
    "diagnose_gradients",
    "examine",
    "explain_step",
    "find_learning_rate",
    "gradcheck",
    "route",
    "sensitivity",
]
