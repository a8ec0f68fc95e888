"""First-order optimizers on the flat `(params, grads)`, and the schedules of their rates."""

from __future__ import annotations

from densenet._names import Names
from densenet.optimizers.adam import Adam, Adamax, AdamW, NAdam, RAdam
from densenet.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from densenet.optimizers.base import Marks, Optimizer
from densenet.optimizers.schedules import (
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    Schedule,
    StepDecay,
    Warmup,
)
from densenet.optimizers.sgd import SGD
from densenet.optimizers.signs import Lion, Rprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "CosineDecay",
    "CosineRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "Lion",
    "Marks",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "PolynomialDecay",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Schedule",
    "StepDecay",
    "Warmup",
    "get",
]

NAMES = Names(Optimizer, [globals()[name] for name in __all__ if name != "get"], {"rmsprop": RMSprop})
"""The string shorthands."""


def get(value: str | type[Optimizer] | Optimizer) -> Optimizer:
    """An optimizer from its name, its class, or itself.

    Raises
    ------
    ValueError
        If the name is unknown, listing the names that there are.
    TypeError
        If `value` is neither.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.optimizers.get("adam")
    Adam(learning_rate=0.001)
    """
    made: Optimizer = NAMES.choose(value, "densenet")
    return made
