"""Every activation in one place, and the names they go by where a string will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densenet._names import Names
from densenet.layers.base import Layer
from densenet.layers.elementwise import Activation, Exp, Gaussian, Identity, Sine
from densenet.layers.rectifiers import (
    CELU,
    ELU,
    GELU,
    SELU,
    HardSwish,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    SiLU,
    Softplus,
)
from densenet.layers.sigmoids import HardSigmoid, HardTanh, Sigmoid, Softsign, Tanh
from densenet.layers.softmax import LogSoftmax, Softmax

__all__ = [  # noqa: RUF022  in the order that sorted() gives
    "Activation",
    "CELU",
    "ELU",
    "Exp",
    "GELU",
    "Gaussian",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Sine",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "activation",
]

NAMES = Names(
    Layer,
    [globals()[name] for name in __all__ if name not in ("Activation", "activation")],
    {"exponential": Exp, "linear": Identity, "logistic": Sigmoid, "swish": SiLU},
)
"""The string shorthands."""


def activation(value: str | Layer | type[Layer] | Callable[[], Layer]) -> Layer:
    """A layer from its name, its class, a function that makes it, or itself.

    Parameters
    ----------
    value : str, Layer, Layer class or callable
        A name as Keras and scikit-learn spell it, such as "relu", "leaky_relu", "logistic" or "linear"; or for example
        ``lambda: dn.LeakyReLU(0.2)``.

    Returns
    -------
    Layer
        New, unless `value` is a layer.

    Raises
    ------
    ValueError
        For a name it does not know; the message lists those it does.
    TypeError
        For anything else.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.layers.activation("leaky_relu")
    LeakyReLU()
    >>> dn.layers.activation(lambda: dn.LeakyReLU(0.2))
    LeakyReLU(negative_slope=0.2)
    """
    made: Any = value
    if callable(value) and not isinstance(value, (type, Layer)):
        made = value()
    layer: Layer = NAMES.choose(made, "activation")
    return layer
