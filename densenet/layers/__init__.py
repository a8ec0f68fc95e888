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
from densenet.layers.noise import AlphaDropout, Dropout, GaussianNoise
from densenet.layers.normalization import BatchNorm, LayerNorm, RMSNorm, Scale

__all__ = [  # noqa: RUF022  in the order that sorted() gives
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "CELU",
    "Concatenate",
    "Dense",
    "Dropout",
    "ELU",
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
    "PReLU",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Residual",
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
