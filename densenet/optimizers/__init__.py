"""First-order optimizers on the flat `(params, grads)`, and the schedules of their rates."""

from __future__ import annotations

from collections.abc import Callable

from densenet._validation import choose
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

_NAMES: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": NAdam,
    "radam": RAdam,
    "lion": Lion,
    "rprop": Rprop,
}


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
    made: Optimizer = choose(value, _NAMES, "densenet", Optimizer)
    return made
