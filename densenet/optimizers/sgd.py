"""Gradient descent, with and without momentum."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, nonnegative
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule


class SGD(Optimizer):
    """Gradient descent: w <- w - alpha g, g = dE/dw.

    With momentum mu, and with Nesterov's look ahead::

        v <- mu v + g        w <- w - alpha v        (Nesterov: w <- w - alpha (g + mu v))

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        alpha.
    momentum : float in [0, 1), default 0.0
        mu.
    nesterov : bool, default False
        Whether to look ahead; needs momentum.
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range, or nesterov is asked for without momentum.

    References
    ----------
    .. [1] Robbins and Monro, "A stochastic approximation method" (1951).
    .. [2] Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013),
       equations 1 to 4.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0, 2.0])
    >>> dn.SGD(learning_rate=0.1).step(w, np.array([1.0, -1.0]))
    >>> w
    array([0.9, 2.1])
    """

    fading: ClassVar[tuple[str, ...]] = ("v",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.momentum = fraction(momentum, "SGD", "momentum")
        self.nesterov = bool(nesterov)
        self.weight_decay = nonnegative(weight_decay, "SGD", "weight_decay")
        if self.nesterov and not self.momentum:
            raise ValueError("SGD expects a momentum above 0 with nesterov=True, got 0.0.")
        self.slots = ("v",) if self.momentum else ()  # plain descent keeps nothing

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        if not self.slots:
            return g, alpha  # u = g
        v = vectors["v"]
        self._mix(g, v, 1.0, self.momentum)  # v <- mu v + g
        if not self.nesterov:
            return v, alpha  # u = v
        np.multiply(v, self._scalar("mu", self.momentum), out=work)
        self._add_scaled(g, work, 1.0)
        return work, alpha  # u = g + mu v
