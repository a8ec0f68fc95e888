"""A rate for every weight, from the size of its past gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, nonnegative, positive
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square.

    ::

        v <- rho v + (1 - rho) g^2        w <- w - alpha g / (sqrt(v) + eps)

    With `centered` the variance takes the place of the mean square, v - a^2 with a <- rho a + (1 - rho) g; with
    `momentum` mu the quotient goes through b <- mu b + g / (sqrt(v) + eps), w <- w - alpha b.

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-2
    rho : float in [0, 1), default 0.99
    eps : float, default 1e-8
    momentum : float in [0, 1), default 0.0
    centered : bool, default False
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    References
    ----------
    .. [1] Hinton, "Neural networks for machine learning", lecture 6e (2012).
    .. [2] Graves, "Generating sequences with recurrent neural networks" (2013), equations 38 to 41 (centered).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0, 2.0])
    >>> dn.RMSprop(learning_rate=0.1).step(w, np.array([3.0, -0.001]))
    >>> w.round(4)
    array([0.    , 2.9999])
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        self.rho = fraction(rho, "RMSprop", "rho")
        self.eps = nonnegative(eps, "RMSprop", "eps")
        self.momentum = fraction(momentum, "RMSprop", "momentum")
        self.centered = bool(centered)
        self.weight_decay = nonnegative(weight_decay, "RMSprop", "weight_decay")
        self.slots = ("v", *(["a"] if self.centered else []), *(["b"] if self.momentum else []))  # type: ignore[misc]

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        v = state["v"]
        np.multiply(g, g, out=work)
        np.multiply(v, self.rho, out=v)
        self._add_scaled(work, v, 1 - self.rho)  # v <- rho v + (1 - rho) g^2
        if self.centered:
            a = state["a"]
            np.multiply(a, self.rho, out=a)
            self._add_scaled(g, a, 1 - self.rho)  # a <- rho a + (1 - rho) g
            np.multiply(a, a, out=work)
            np.subtract(v, work, out=work)  # v - a^2
            np.maximum(work, 0, out=work)
            np.sqrt(work, out=work)
        else:
            np.sqrt(v, out=work)
        np.add(work, self.eps, out=work)
        np.divide(g, work, out=work)  # u = g / (sqrt(v) + eps)
        if not self.momentum:
            return work, alpha
        b = state["b"]
        np.multiply(b, self.momentum, out=b)
        return np.add(b, work, out=b), alpha  # b <- mu b + u


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares.

    ::

        s <- s + g^2        w <- w - alpha / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-2
    lr_decay : float, default 0.0
    initial_accumulator_value : float, default 0.0
        Where s starts.
    eps : float, default 1e-10
    weight_decay : float, default 0.0

    References
    ----------
    .. [1] Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0])
    >>> dn.Adagrad(learning_rate=0.1).step(w, np.array([7.0]))
    >>> w
    array([0.9])
    """

    slots: ClassVar[tuple[str, ...]] = ("s",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        self.lr_decay = nonnegative(lr_decay, "Adagrad", "lr_decay")
        self.initial_accumulator_value = nonnegative(initial_accumulator_value, "Adagrad", "initial_accumulator_value")
        self.eps = nonnegative(eps, "Adagrad", "eps")
        self.weight_decay = nonnegative(weight_decay, "Adagrad", "weight_decay")

    def start_state(self) -> None:
        self.state["s"].fill(self.initial_accumulator_value)

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        s = state["s"]
        np.multiply(g, g, out=work)
        np.add(s, work, out=s)  # s <- s + g^2
        np.sqrt(s, out=work)
        np.add(work, self.eps, out=work)
        np.divide(g, work, out=work)  # u = g / (sqrt(s) + eps)
        return work, alpha / (1 + (self.steps - 1) * self.lr_decay)


class Adadelta(Optimizer):
    """Gradients scaled by the ratio of past updates to past gradients.

    ::

        s <- rho s + (1 - rho) g^2        u = g sqrt(d + eps) / sqrt(s + eps)
        d <- rho d + (1 - rho) u^2        w <- w - alpha u

    Parameters
    ----------
    learning_rate : float or Schedule, default 1.0
    rho : float in [0, 1), default 0.9
    eps : float, default 1e-6
    weight_decay : float, default 0.0

    References
    ----------
    .. [1] Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0])
    >>> dn.Adadelta().step(w, np.array([7.0]))
    >>> w.round(6)
    array([0.996838])
    """

    slots: ClassVar[tuple[str, ...]] = ("s", "d")

    def __init__(
        self,
        learning_rate: float | Schedule = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        self.rho = fraction(rho, "Adadelta", "rho")
        self.eps = positive(eps, "Adadelta", "eps")
        self.weight_decay = nonnegative(weight_decay, "Adadelta", "weight_decay")

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        s, d = state["s"], state["d"]
        np.multiply(g, g, out=work)
        np.multiply(s, self.rho, out=s)
        self._add_scaled(work, s, 1 - self.rho)  # s <- rho s + (1 - rho) g^2
        u = self._update[: g.size]
        np.add(d, self.eps, out=u)
        np.add(s, self.eps, out=work)
        np.divide(u, work, out=u)
        np.sqrt(u, out=u)
        np.multiply(u, g, out=u)  # u = g sqrt(d + eps) / sqrt(s + eps)
        np.multiply(u, u, out=work)
        np.multiply(d, self.rho, out=d)
        self._add_scaled(work, d, 1 - self.rho)  # d <- rho d + (1 - rho) u^2
        return u, alpha

    def _prepare(self, params: Array, grads: Array) -> None:
        Optimizer._prepare(self, params, grads)
        self._update = np.empty_like(self._decayed)
