"""Second-order methods: Jacobians and their products, full-batch solvers, and error bars."""

from __future__ import annotations

from densenet.second_order.bayesian import BayesianRegularization
from densenet.second_order.hessian import gauss_newton_product, hessian_product
from densenet.second_order.jacobian import (
    jacobian,
    jacobian_product,
    jacobian_transpose_product,
    per_sample_gradient_norms,
    per_sample_gradients,
)
from densenet.second_order.levenberg_marquardt import LevenbergMarquardt
from densenet.second_order.scipy_solvers import LBFGS, ConjugateGradient
from densenet.second_order.uncertainty import Uncertainty, uncertainty
from densenet.training.full_batch import FullBatchSolver

__all__ = [  # noqa: RUF022  in the order that sorted() gives
    "BayesianRegularization",
    "ConjugateGradient",
    "FullBatchSolver",
    "LBFGS",
    "LevenbergMarquardt",
    "Uncertainty",
    "gauss_newton_product",
    "hessian_product",
    "jacobian",
    "jacobian_product",
    "jacobian_transpose_product",
    "per_sample_gradient_norms",
    "per_sample_gradients",
    "uncertainty",
]
