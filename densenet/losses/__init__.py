"""Losses: the error of a batch, its derivative by the prediction, and the link to probabilities."""

from __future__ import annotations

from typing import Any

from densenet._names import Names
from densenet.losses.base import ElementwiseLoss, Loss
from densenet.losses.binary import BinaryCrossEntropy, SigmoidCrossEntropy
from densenet.losses.crossentropy import CategoricalCrossEntropy, FocalLoss, KLDivergence, SoftmaxCrossEntropy
from densenet.losses.hinge import Hinge, SquaredHinge
from densenet.losses.likelihood import GaussianNLL, PoissonNLL
from densenet.losses.regression import HalfSquaredError, Huber, LogCosh, MeanAbsoluteError, MeanSquaredError, Quantile
from densenet.losses.summed import HalfPoissonDeviance as HalfPoissonDeviance
from densenet.losses.summed import SummedSigmoidCrossEntropy as SummedSigmoidCrossEntropy

__all__ = [
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "ElementwiseLoss",
    "FocalLoss",
    "GaussianNLL",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "PoissonNLL",
    "Quantile",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
    "get",
]

NAMES = Names(
    Loss,
    [globals()[name] for name in __all__ if name != "get"],
    {
        "mse": MeanSquaredError,
        "mae": MeanAbsoluteError,
        "poisson": PoissonNLL,
        "focal": FocalLoss,
        "sparse_categorical_crossentropy": CategoricalCrossEntropy,
    },
)
"""The string shorthands."""


def get(value: Any) -> Loss:
    """A loss from its name, its class, or itself.

    Names are the classes' in snake case, and Keras's: "mse", "mean_squared_error", "mae", "huber", "log_cosh",
    "poisson", "kl_divergence", "hinge", "squared_hinge". As in Keras, "binary_crossentropy",
    "categorical_crossentropy" and "sparse_categorical_crossentropy" take probabilities; what takes logits is
    "sigmoid_cross_entropy" and "softmax_cross_entropy". Unlike Keras's, "poisson" takes the log rate and
    "kl_divergence" log-probabilities.

    Parameters
    ----------
    value : str, Loss class or Loss

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    TypeError
        If it is none of the three.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.losses.get("mse")
    MeanSquaredError()
    """
    return NAMES.choose(value, "losses.get")  # type: ignore[no-any-return]
