"""Dense neural networks in NumPy: every derivative written out, at the speed of the matrix products.

(Not the convolutional DenseNet: *dense* as in fully connected.) Layers have explicit `forward` and `backward` matrix
methods, `Sequential` chains them, and a `Trainer` applies w_new = w_old - alpha dE/dw over mini-batches.

Start here:

- a network: `Sequential` of `Dense` and an activation such as `ReLU`, or `mlp`;
- training: `Trainer` with a loss and an optimizer such as `SGD` or `Adam`; its `fit` returns a `History`;
- seeing: `route` for one weight's gradient path by path, `explain_step` for every number of one step, `gradcheck` for a
  layer of your own, `diagnose_gradients` for a backward pass of your own;
- tables and scikit-learn: `DenseClassifier`, `DenseRegressor`;
- files: `Sequential.save`, `load`, `ModelCheckpoint`.

Examples
--------
>>> import densenet as dn
>>> x, y = dn.datasets.load_digits()
>>> model = dn.Sequential([dn.Dense(64, 128), dn.ReLU(), dn.Dense(128, 10)], seed=0)
>>> trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.SGD(learning_rate=0.1), metrics=[dn.Accuracy()])
>>> history = trainer.fit(x, y, epochs=30, batch_size=32, validation_split=0.2, seed=0)
>>> history["val_accuracy"][-1] > 0.95
True
"""

from __future__ import annotations

import importlib.util
import sys
import typing

from densenet import initializers, losses, metrics, optimizers
from densenet._blas import threads
from densenet.ensemble import Ensemble
from densenet.explore import Explorer, Recorder, explore
from densenet.initializers import Initializer
from densenet.layers import (
    CELU,
    ELU,
    GELU,
    SELU,
    Activation,
    AlphaDropout,
    BatchNorm,
    Concatenate,
    Dense,
    Dropout,
    Exp,
    Gaussian,
    GaussianNoise,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    Mish,
    Parameter,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    Scale,
    Sigmoid,
    SiLU,
    Sine,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from densenet.losses import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    ElementwiseLoss,
    FocalLoss,
    GaussianNLL,
    HalfSquaredError,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonNLL,
    Quantile,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredHinge,
)
from densenet.metrics import F1, MAE, R2, RMSE, ROCAUC, Accuracy, Metric, Precision, Recall, TopKAccuracy
from densenet.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    Lion,
    NAdam,
    OneCycle,
    Optimizer,
    PolynomialDecay,
    RAdam,
    RMSprop,
    Rprop,
    Schedule,
    StepDecay,
    Warmup,
)
from densenet.perceptron import mlp
from densenet.sequential import Sequential
from densenet.training.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    StopAt,
    TimeLimit,
    WeightAverage,
)
from densenet.training.full_batch import FullBatchSolver
from densenet.training.history import History
from densenet.training.hooks import Callback
from densenet.training.run import Run
from densenet.training.step import DivergenceError
from densenet.training.trainer import Trainer

if typing.TYPE_CHECKING:
    from densenet import (
        batch_size,
        checks,
        course,
        datasets,
        explain,
        health,
        persistence,
        plots,
        second_order,
        tables,
        training,
    )
    from densenet.batch_size import GradientNoise, NoiseScale, noise_scale
    from densenet.checks import GradCheck, gradcheck
    from densenet.course.exercise import exercise
    from densenet.course.grade import grade
    from densenet.estimators import DenseClassifier as DenseClassifier
    from densenet.estimators import DenseRegressor as DenseRegressor
    from densenet.explain.diagnose import diagnose_gradients
    from densenet.explain.explain_step import explain_step
    from densenet.explain.route import route
    from densenet.explain.sensitivity import sensitivity
    from densenet.health.batches import BatchSizes, find_batch_size
    from densenet.health.doctor import Examination, Finding, GradientDoctor, examine
    from densenet.health.rates import LearningRates, find_learning_rate
    from densenet.persistence import (
        CheckpointError,
        from_sklearn,
        from_torch,
        load,
        register,
        to_onnx,
        to_torch,
    )
    from densenet.plots import LivePlot
    from densenet.second_order import (
        LBFGS,
        BayesianRegularization,
        ConjugateGradient,
        LevenbergMarquardt,
        Uncertainty,
        gauss_newton_product,
        hessian_product,
        jacobian,
        jacobian_product,
        jacobian_transpose_product,
        per_sample_gradient_norms,
        per_sample_gradients,
        uncertainty,
    )
    from densenet.tables import Table, TablePreparation

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022  in the order that sorted() gives
    "Accuracy",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AlphaDropout",
    "BatchNorm",
    "BatchSizes",
    "BayesianRegularization",
    "BinaryCrossEntropy",
    "CELU",
    "CSVLogger",
    "Callback",
    "CategoricalCrossEntropy",
    "CheckpointError",
    "Concatenate",
    "ConjugateGradient",
    "CosineDecay",
    "CosineRestarts",
    "Dense",
    "DivergenceError",
    "Dropout",
    "ELU",
    "EarlyStopping",
    "ElementwiseLoss",
    "Ensemble",
    "Examination",
    "Exp",
    "Explorer",
    "ExponentialDecay",
    "F1",
    "Finding",
    "FocalLoss",
    "FullBatchSolver",
    "GELU",
    "Gaussian",
    "GaussianNLL",
    "GaussianNoise",
    "GradCheck",
    "GradientDoctor",
    "GradientNoise",
    "HalfSquaredError",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Hinge",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "InverseTimeDecay",
    "KLDivergence",
    "LBFGS",
    "LambdaCallback",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LearningRates",
    "LevenbergMarquardt",
    "Lion",
    "LivePlot",
    "LogCosh",
    "LogSoftmax",
    "Loss",
    "MAE",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Mish",
    "ModelCheckpoint",
    "NAdam",
    "NoiseScale",
    "OneCycle",
    "Optimizer",
    "PReLU",
    "Parameter",
    "PoissonNLL",
    "PolynomialDecay",
    "Precision",
    "Quantile",
    "R2",
    "RAdam",
    "RMSE",
    "RMSNorm",
    "RMSprop",
    "ROCAUC",
    "ReLU",
    "Recall",
    "Recorder",
    "ReduceLROnPlateau",
    "Residual",
    "Rprop",
    "Run",
    "SELU",
    "SGD",
    "Scale",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Sine",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Softsign",
    "SquaredHinge",
    "StepDecay",
    "StopAt",
    "Table",
    "TablePreparation",
    "Tanh",
    "TimeLimit",
    "TopKAccuracy",
    "Trainer",
    "Uncertainty",
    "Warmup",
    "WeightAverage",
    "batch_size",
    "checks",
    "course",
    "datasets",
    "diagnose_gradients",
    "examine",
    "exercise",
    "explain",
    "explain_step",
    "explore",
    "find_batch_size",
    "find_learning_rate",
    "from_sklearn",
    "from_torch",
    "gauss_newton_product",
    "gradcheck",
    "grade",
    "health",
    "hessian_product",
    "initializers",
    "jacobian",
    "jacobian_product",
    "jacobian_transpose_product",
    "layers",
    "load",
    "losses",
    "metrics",
    "mlp",
    "noise_scale",
    "optimizers",
    "per_sample_gradient_norms",
    "per_sample_gradients",
    "persistence",
    "plots",
    "register",
    "route",
    "second_order",
    "sensitivity",
    "tables",
    "threads",
    "to_onnx",
    "to_torch",
    "training",
    "uncertainty",
]

_LATER = {
    "batch_size": "GradientNoise NoiseScale noise_scale".split(),
    "datasets": [],
    "training": [],
    "checks": ["GradCheck", "gradcheck"],
    "course": ["exercise", "grade"],
    "explain": "diagnose_gradients explain_step route sensitivity".split(),
    "health": """
        BatchSizes Examination Finding GradientDoctor LearningRates examine find_batch_size find_learning_rate
    """.split(),
    "persistence": "CheckpointError from_sklearn from_torch load register to_onnx to_torch".split(),
    "second_order": """
        LBFGS BayesianRegularization ConjugateGradient LevenbergMarquardt Uncertainty
        gauss_newton_product hessian_product jacobian jacobian_product jacobian_transpose_product
        per_sample_gradient_norms per_sample_gradients uncertainty
    """.split(),
    "tables": ["Table", "TablePreparation"],
    "plots": ["LivePlot"],
}
"""Names by the module that brings them when they are first asked for: not every run explains or saves."""
_MODULES = {name: module for module, names in _LATER.items() for name in (module, *names)}

_ESTIMATORS = ("DenseClassifier", "DenseRegressor")
if importlib.util.find_spec("sklearn") is not None:  # without it, `from densenet import *` must not ask for them
    __all__ += _ESTIMATORS
    __all__.sort()

_BEFORE = {"batches": "data", "callbacks": "callbacks", "history": "history", "loop": "loop", "trainer": "trainer"}
for _name, _now in _BEFORE.items():  # pickles name the modules of version 0.1
    sys.modules[f"densenet.{_name}"] = sys.modules[f"densenet.training.{_now}"]


def _later(name: str) -> object:
    if name in _MODULES:
        module = importlib.import_module(f"densenet.{_MODULES[name]}")
        found: object = module if name == _MODULES[name] else getattr(module, name)
    elif name in _ESTIMATORS:
        try:
            from densenet import estimators
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "sklearn":
                raise
            raise ImportError(f"densenet.{name} needs scikit-learn: pip install '.[sklearn]'") from error
        found = getattr(estimators, name)
    else:
        raise AttributeError(f"module 'densenet' has no attribute {name!r}")
    globals()[name] = found
    return found


if not typing.TYPE_CHECKING:  # to a type checker a misspelt name is an error
    __getattr__ = _later


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
