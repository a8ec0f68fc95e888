"""Second order: Jacobians, solvers that need the model and the loss, and error bars."""

from __future__ import annotations

from densenet.second_order.base import FullBatchSolver
from densenet.second_order.hessian import gauss_newton_product, hessian_product
from densenet.second_order.jacobian import (
    jacobian,
    jacobian_product,
    jacobian_transpose_product,
    per_sample_gradient_norms,
    per_sample_gradients,
)
from densenet.second_order.levenberg_marquardt import LevenbergMarquardt

__all__ = [
    "FullBatchSolver",
    "LevenbergMarquardt",
    "gauss_newton_product",
    "hessian_product",
    "jacobian",
    "jacobian_product",
    "jacobian_transpose_product",
    "per_sample_gradient_norms",
    "per_sample_gradients",
]
