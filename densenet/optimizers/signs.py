"""Rules that take the gradient's sign for the direction and their step's length from elsewhere."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, is_number, nonnegative
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule


class Lion(Optimizer):
    """Sign of an interpolated momentum: every weight moves by alpha.

    ::

        u = sign(beta_1 m + (1 - beta_1) g)        m <- beta_2 m + (1 - beta_2) g
        w <- w - alpha (u + lambda w)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-4
        alpha.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.99
    weight_decay : float, default 0.0
        lambda, decoupled from the gradient.

    Raises
    ------
    ValueError
        If an argument is out of range.

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

    slots = ("m",)
    fading: ClassVar[tuple[str, ...]] = ("m",)
    scratch: ClassVar[tuple[str, ...]] = ("u",)
    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-4,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.beta_1, self.beta_2 = fraction(beta_1, "Lion", "beta_1"), fraction(beta_2, "Lion", "beta_2")
        self.weight_decay = nonnegative(weight_decay, "Lion", "weight_decay")

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, u = vectors["m"], vectors["u"]
        np.multiply(m, self._scalar("beta_1", self.beta_1), out=work)
        self._add_scaled(g, work, 1 - self.beta_1)
        np.sign(work, out=u)  # u = sign(beta_1 m + (1 - beta_1) g); in place it takes five times as long
        self._mix(g, m, 1 - self.beta_2, self.beta_2)  # m <- beta_2 m + (1 - beta_2) g
        return u, alpha

    def sweep(self, vector: Array, floor: Array, work: Array) -> None:
        faded = (np.abs(vector, out=work) < floor) & (work > 0)
        vector[faded] = np.copysign(floor, vector[faded])  # its sign counts, however small it is


class Rprop(Optimizer):
    """Resilient propagation for full batches: every weight has a step of its own that grows while g keeps its sign.

    ::

        g g_before > 0:  s <- min(eta_plus s, largest)
        g g_before < 0:  s <- max(eta_minus s, smallest), g <- 0
        w <- w - s sign(g)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-2
        The first s of every weight, and nothing else: later rates have no effect.
    etas : (float, float), default (0.5, 1.2)
        eta_minus in (0, 1) and eta_plus above 1.
    step_sizes : (float, float), default (1e-6, 50.0)
        Smallest and largest s.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm"
       (1993), equations 4 to 6.
    .. [2] Igel and Husken, "Improving the Rprop learning algorithm" (2000), for g <- 0 without a step back (Rprop-).

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

    slots = ("before", "s")
    scratch: ClassVar[tuple[str, ...]] = ("masks",)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
    ) -> None:
        self.learning_rate = learning_rate
        self.etas, self.step_sizes = _pair(etas, "etas"), _pair(step_sizes, "step_sizes")
        if not 0 < self.etas[0] < 1 < self.etas[1]:
            raise ValueError(f"Rprop expects etas as 0 < eta_minus < 1 < eta_plus, got {etas!r}.")
        if not 0 < self.step_sizes[0] <= self.step_sizes[1]:
            raise ValueError(f"Rprop expects step_sizes as 0 < smallest <= largest, got {step_sizes!r}.")

    def start(self, vectors: dict[str, Array]) -> None:
        vectors["s"].fill(self.rate)

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        before, s = vectors["before"], vectors["s"]
        masks, n = vectors["masks"].view(np.bool_), g.size
        stayed, turned = masks[:n], masks[n : 2 * n]
        np.sign(g, out=work)
        np.multiply(work, before, out=before)  # of signs, as a product of two gradients may underflow
        np.greater(before, self._scalar("zero", 0.0), out=stayed)
        np.less(before, self._scalar("zero", 0.0), out=turned)
        np.multiply(s, self.etas[1], out=s, where=stayed)  # s <- eta_plus s
        np.multiply(s, self.etas[0], out=s, where=turned)  # s <- eta_minus s
        np.maximum(s, self._scalar("smallest", self.step_sizes[0]), out=s)
        np.minimum(s, self._scalar("largest", self.step_sizes[1]), out=s)
        np.copyto(before, work)
        np.copyto(before, 0.0, where=turned)  # g <- 0
        return np.multiply(before, s, out=work), 1.0  # u = s sign(g)


def _pair(values: tuple[float, float], name: str) -> tuple[float, float]:
    if not isinstance(values, (tuple, list)) or len(values) != 2 or not all(map(is_number, values)):
        raise ValueError(f"Rprop expects {name} as two numbers, got {values!r}.")
    return float(values[0]), float(values[1])
