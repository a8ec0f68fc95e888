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
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range, or nesterov is asked for without momentum.

    References
    ----------
    .. [1] Robbins and Monro, "A stochastic approximation method" (1951).
    .. [2] Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0, 2.0])
    >>> dn.SGD(learning_rate=0.1).step(w, np.array([1.0, -1.0]))
    >>> w
    array([0.9, 2.1])
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        self.momentum = fraction(momentum, "SGD", "momentum")
        self.nesterov = bool(nesterov)
        self.weight_decay = nonnegative(weight_decay, "SGD", "weight_decay")
        if self.nesterov and not self.momentum:
            raise ValueError("SGD expects a momentum above 0 with nesterov=True, got 0.0.")
        self.slots = ("v",) if self.momentum else ()  # type: ignore[misc]  # plain descent keeps nothing

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        if not self.momentum:
            return g, alpha
        v = state["v"]
        np.multiply(v, self.momentum, out=v)
        np.add(v, g, out=v)  # v <- mu v + g
        if not self.nesterov:
            return v, alpha
        np.multiply(v, self.momentum, out=work)
        return np.add(work, g, out=work), alpha  # u = g + mu v


class Lion(Optimizer):
    """Sign of an interpolated momentum: every weight moves by alpha.

    ::

        u = sign(beta_1 m + (1 - beta_1) g)        m <- beta_2 m + (1 - beta_2) g
        w <- w - alpha (u + lambda w)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-4
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.99
    weight_decay : float, default 0.0
        lambda, decoupled from the gradient.

    References
    ----------
    .. [1] Chen et al., "Symbolic discovery of optimization algorithms" (2023), algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0, 2.0])
    >>> dn.Lion(learning_rate=0.1).step(w, np.array([0.003, -7.0]))
    >>> w
    array([0.9, 2.1])
    """

    slots: ClassVar[tuple[str, ...]] = ("m",)
    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-4,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        self.beta_1, self.beta_2 = fraction(beta_1, "Lion", "beta_1"), fraction(beta_2, "Lion", "beta_2")
        self.weight_decay = nonnegative(weight_decay, "Lion", "weight_decay")

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m = state["m"]
        np.multiply(m, self.beta_1, out=work)
        self._add_scaled(g, work, 1 - self.beta_1)
        np.sign(work, out=work)  # u = sign(beta_1 m + (1 - beta_1) g)
        np.multiply(m, self.beta_2, out=m)
        self._add_scaled(g, m, 1 - self.beta_2)  # m <- beta_2 m + (1 - beta_2) g
        return work, alpha


class Rprop(Optimizer):
    """Resilient propagation: each weight has a step of its own, that grows while the gradient's sign stays; full batches.

    ::

        s <- clip(s eta_plus)  where g g_before > 0        s <- clip(s eta_minus), g <- 0  where g g_before < 0
        w <- w - s sign(g)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-2
        The first step s of every weight.
    etas : (float, float), default (0.5, 1.2)
        eta_minus in (0, 1) and eta_plus above 1.
    step_sizes : (float, float), default (1e-6, 50.0)
        Smallest and largest s.

    References
    ----------
    .. [1] Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning" (1993).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w, optimizer = np.array([1.0]), dn.Rprop(learning_rate=0.1)
    >>> for _ in range(2):
    ...     optimizer.step(w, np.array([3.0]))
    >>> w
    array([0.78])
    """

    slots: ClassVar[tuple[str, ...]] = ("before", "s")

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
    ) -> None:
        Optimizer.__init__(self, learning_rate)
        minus, plus = map(float, etas)
        low, high = map(float, step_sizes)
        if not 0 < minus < 1 < plus:
            raise ValueError(f"Rprop expects etas as 0 < eta_minus < 1 < eta_plus, got {etas!r}.")
        if not 0 < low <= high:
            raise ValueError(f"Rprop expects step_sizes as 0 < smallest <= largest, got {step_sizes!r}.")
        self.etas, self.step_sizes = (minus, plus), (low, high)

    def start_state(self) -> None:
        self.state["s"].fill(self.rate)

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        before, s = state["before"], state["s"]
        minus, plus = self.etas
        np.multiply(g, before, out=work)
        np.copyto(before, g)
        turned, stayed = work < 0, work > 0
        np.multiply(s, plus, out=s, where=stayed)
        np.multiply(s, minus, out=s, where=turned)
        np.clip(s, *self.step_sizes, out=s)
        before[turned] = 0  # g <- 0: no step, and no memory of the turn
        np.sign(before, out=work)
        return np.multiply(work, s, out=work), 1.0  # w <- w - s sign(g)
