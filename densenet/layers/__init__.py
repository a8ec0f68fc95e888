"""The layers: functions of a matrix with their derivatives written out."""

from __future__ import annotations

from densenet.layers.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    Activation,
    Exp,
    Gaussian,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    activation,
)
from densenet.layers.base import Layer, Parameter
from densenet.layers.containers import Concatenate, Residual
from densenet.layers.dense import Dense
from densenet.layers.mixture import Mixture
from densenet.layers.noise import AlphaDropout, Dropout, GaussianNoise
from densenet.layers.normalization import BatchNorm, LayerNorm, RMSNorm, Scale
from densenet.layers.tabular import Average, Blend, Clip, Columns, Embedding, Periodic, RobustScale

__all__ = [  # noqa: RUF022  in the order that sorted() gives
    "Activation",
    "AlphaDropout",
    "Average",
    "BatchNorm",
    "Blend",
    "CELU",
    "Clip",
    "Columns",
    "Concatenate",
    "Dense",
    "Dropout",
    "ELU",
    "Embedding",
    "Exp",
    "GELU",
    "Gaussian",
    "GaussianNoise",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "Mixture",
    "PReLU",
    "Parameter",
    "Periodic",
    "RMSNorm",
    "ReLU",
    "Residual",
    "RobustScale",
    "SELU",
    "Scale",
    "SiLU",
    "Sigmoid",
    "Sine",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "activation",
]
