"""A rate for every weight, from the size of its past gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, nonnegative, positive
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule


class RMSprop(Optimizer):
    """Gradients divided by the root of their running mean square.

    ::

        v <- rho v + (1 - rho) g^2        w <- w - alpha g / (sqrt(v) + eps)

    With `centered` the running variance v - a^2, a <- rho a + (1 - rho) g, takes the place of v; with `momentum` mu the
    quotient goes through b <- mu b + g / (sqrt(v) + eps), w <- w - alpha b.

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-2
        alpha.
    rho : float in [0, 1), default 0.99
        The share of v that stays.
    eps : float, default 1e-8
    momentum : float in [0, 1), default 0.0
        mu.
    centered : bool, default False
        Whether to divide by the root of the variance.
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range.

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

    fading: ClassVar[tuple[str, ...]] = ("v", "a", "b")

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.rho = fraction(rho, "RMSprop", "rho")
        self.eps = positive(eps, "RMSprop", "eps")
        self.momentum = fraction(momentum, "RMSprop", "momentum")
        self.centered = bool(centered)
        self.weight_decay = nonnegative(weight_decay, "RMSprop", "weight_decay")
        self.slots = ("v", *(("a",) if self.centered else ()), *(("b",) if self.momentum else ()))

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        v = vectors["v"]
        np.multiply(g, g, out=work)
        self._mix(work, v, 1 - self.rho, self.rho)  # v <- rho v + (1 - rho) g^2
        if self.centered:
            a = vectors["a"]
            self._mix(g, a, 1 - self.rho, self.rho)  # a <- rho a + (1 - rho) g
            np.multiply(a, a, out=work)
            np.subtract(v, work, out=work)
            v = np.maximum(work, self._scalar("zero", 0.0), out=work)  # v - a^2, which rounding may bring below 0
        np.sqrt(v, out=work)
        np.add(work, self._scalar("eps", self.eps), out=work)
        np.divide(g, work, out=work)
        if not self.momentum:
            return work, alpha  # u = g / (sqrt(v) + eps)
        b = vectors["b"]
        self._mix(work, b, 1.0, self.momentum)  # b <- mu b + u
        return b, alpha


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares.

    ::

        s <- s + g^2        w <- w - alpha / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-2
        alpha.
    lr_decay : float, default 0.0
        Per step.
    initial_accumulator_value : float, default 0.0
        Where s starts.
    eps : float, default 1e-10
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range.

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

    slots = ("s",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.lr_decay = nonnegative(lr_decay, "Adagrad", "lr_decay")
        self.initial_accumulator_value = nonnegative(initial_accumulator_value, "Adagrad", "initial_accumulator_value")
        self.eps = positive(eps, "Adagrad", "eps")
        self.weight_decay = nonnegative(weight_decay, "Adagrad", "weight_decay")

    def start(self, vectors: dict[str, Array]) -> None:
        vectors["s"].fill(self.initial_accumulator_value)

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        s = vectors["s"]
        np.multiply(g, g, out=work)
        np.add(s, work, out=s)  # s <- s + g^2
        np.sqrt(s, out=work)
        np.add(work, self._scalar("eps", self.eps), out=work)
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
        alpha.
    rho : float in [0, 1), default 0.9
        The share of s and d that stays.
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range.

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

    slots = ("s", "d")
    fading: ClassVar[tuple[str, ...]] = ("s", "d")
    scratch: ClassVar[tuple[str, ...]] = ("u",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.rho = fraction(rho, "Adadelta", "rho")
        self.eps = positive(eps, "Adadelta", "eps")
        self.weight_decay = nonnegative(weight_decay, "Adadelta", "weight_decay")

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        s, d, u = vectors["s"], vectors["d"], vectors["u"]
        eps = self._scalar("eps", self.eps)
        np.multiply(g, g, out=work)
        self._mix(work, s, 1 - self.rho, self.rho)  # s <- rho s + (1 - rho) g^2
        np.add(d, eps, out=u)
        np.add(s, eps, out=work)
        np.divide(u, work, out=u)
        np.sqrt(u, out=u)
        np.multiply(u, g, out=u)  # u = g sqrt(d + eps) / sqrt(s + eps)
        np.multiply(u, u, out=work)
        self._mix(work, d, 1 - self.rho, self.rho)  # d <- rho d + (1 - rho) u^2
        return u, alpha
