"""Adam and its relatives: a running mean of the gradient over the root of a running mean of its square.

Both means start at 0 and are too small at first; dividing by 1 - beta^t takes that bias out. Here the divisors go into
the scalars: m' / (sqrt(v') + eps) with m' = m / (1 - beta_1^t) and v' = v / q^2, q = sqrt(1 - beta_2^t), is
q / (1 - beta_1^t) times m / (sqrt(v) + eps q), which saves two passes over the vectors.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, nonnegative, positive
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule


class _Moments(Optimizer):
    """What Adam and its relatives share: two running means and their bias."""

    slots: tuple[str, ...] = ("m", "v")
    fading: ClassVar[tuple[str, ...]] = ("m", "v")

    beta_1: float
    beta_2: float
    eps: float

    def _set(self, learning_rate: float | Schedule, beta_1: float, beta_2: float, eps: float, decay: float) -> None:
        who = type(self).__name__
        self.learning_rate = learning_rate
        self.beta_1, self.beta_2 = fraction(beta_1, who, "beta_1"), fraction(beta_2, who, "beta_2")
        self.eps = positive(eps, who, "eps")
        self.weight_decay = nonnegative(decay, who, "weight_decay")

    def begin_step(self) -> None:
        self._bias_1 = 1 - self.beta_1**self.steps  # 1 - beta_1^t
        self._bias_2 = 1 - self.beta_2**self.steps  # 1 - beta_2^t
        self._q = math.sqrt(self._bias_2)
        self._eps_q = self._scalar("eps q", self.eps * self._q)

    def _mean_square(self, g: Array, v: Array, work: Array) -> None:
        np.multiply(g, g, out=work)
        self._mix(work, v, 1 - self.beta_2, self.beta_2)  # v <- beta_2 v + (1 - beta_2) g^2

    def _over_root(self, m: Array, v: Array, work: Array) -> Array:
        np.sqrt(v, out=work)
        np.add(work, self._eps_q, out=work)
        return np.divide(m, work, out=work)  # m / (sqrt(v) + eps q)


class _Adam(_Moments):
    """What Adam and AdamW share: all but the kind of decay and its default."""

    amsgrad: bool

    def _set_amsgrad(self, amsgrad: bool) -> None:
        self.amsgrad = bool(amsgrad)
        self.slots = ("m", "v", "largest") if self.amsgrad else ("m", "v")

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v = vectors["m"], vectors["v"]
        self._mix(g, m, 1 - self.beta_1, self.beta_1)  # m <- beta_1 m + (1 - beta_1) g
        self._mean_square(g, v, work)  # v <- beta_2 v + (1 - beta_2) g^2
        if self.amsgrad:
            v = np.maximum(vectors["largest"], v, out=vectors["largest"])
        return self._over_root(m, v, work), alpha * self._q / self._bias_1  # alpha m' / (sqrt(v') + eps)


class Adam(_Adam):
    """Adaptive moments.

    ::

        m <- beta_1 m + (1 - beta_1) g        v <- beta_2 v + (1 - beta_2) g^2
        m' = m / (1 - beta_1^t)               v' = v / (1 - beta_2^t)
        w <- w - alpha m' / (sqrt(v') + eps)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        alpha.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w (see `AdamW` for the decoupled form).
    amsgrad : bool, default False
        Whether the largest v so far takes the place of v.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    .. [2] Reddi, Kale, Kumar, "On the convergence of Adam and beyond" (2018), algorithm 2 (amsgrad).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0, 2.0])
    >>> dn.Adam(learning_rate=0.1).step(w, np.array([3.0, -0.001]))
    >>> w.round(5)
    array([0.9, 2.1])
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        self._set(learning_rate, beta_1, beta_2, eps, weight_decay)
        self._set_amsgrad(amsgrad)


class AdamW(_Adam):
    """Adam with decoupled weight decay: w <- w - alpha (m' / (sqrt(v') + eps) + lambda w), m' and v' as in `Adam`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        alpha.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.01
        lambda.
    amsgrad : bool, default False
        Whether the largest v so far takes the place of v.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0])
    >>> dn.AdamW(learning_rate=0.1, weight_decay=0.5).step(w, np.array([0.0]))
    >>> w
    array([0.95])
    """

    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
    ) -> None:
        self._set(learning_rate, beta_1, beta_2, eps, weight_decay)
        self._set_amsgrad(amsgrad)


class Adamax(_Moments):
    """Adam with the largest past gradient in place of the root mean square.

    ::

        m <- beta_1 m + (1 - beta_1) g        s <- max(beta_2 s, |g| + eps)
        w <- w - alpha m' / s                 m' = m / (1 - beta_1^t)

    Parameters
    ----------
    learning_rate : float or Schedule, default 2e-3
        alpha.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
        Keeps s above 0.
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0])
    >>> dn.Adamax(learning_rate=0.1).step(w, np.array([3.0]))
    >>> w.round(6)
    array([0.9])
    """

    slots = ("m", "s")

    def __init__(
        self,
        learning_rate: float | Schedule = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._set(learning_rate, beta_1, beta_2, eps, weight_decay)

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, s = vectors["m"], vectors["s"]
        self._mix(g, m, 1 - self.beta_1, self.beta_1)  # m <- beta_1 m + (1 - beta_1) g
        np.abs(g, out=work)
        np.add(work, self._scalar("eps", self.eps), out=work)
        np.multiply(s, self._scalar("beta_2", self.beta_2), out=s)
        np.maximum(s, work, out=s)  # s <- max(beta_2 s, |g| + eps)
        return np.divide(m, s, out=work), alpha / self._bias_1  # alpha m' / s


class NAdam(_Moments):
    """Adam with Nesterov's look ahead.

    ::

        mu_t = beta_1 (1 - 0.96^(t psi) / 2)        P_t = mu_1 mu_2 ... mu_t
        w <- w - alpha ((1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m) / (sqrt(v') + eps)

    with m, v and v' as in `Adam`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 2e-3
        alpha.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.
    momentum_decay : float, default 4e-3
        psi.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Dozat, "Incorporating Nesterov momentum into Adam" (2016), algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w, optimizer = np.array([1.0]), dn.NAdam(learning_rate=0.1)
    >>> for _ in range(2):
    ...     optimizer.step(w, np.array([3.0]))
    >>> w.round(4)
    array([0.816])
    """

    scratch: ClassVar[tuple[str, ...]] = ("ahead",)
    numbers: ClassVar[tuple[str, ...]] = ("mu_product",)

    mu_product: float = 1.0

    def __init__(
        self,
        learning_rate: float | Schedule = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
    ) -> None:
        self._set(learning_rate, beta_1, beta_2, eps, weight_decay)
        self.momentum_decay = nonnegative(momentum_decay, "NAdam", "momentum_decay")

    def _mu(self, t: int) -> float:
        return self.beta_1 * (1 - 0.5 * math.pow(0.96, t * self.momentum_decay))  # mu_t

    def begin_step(self) -> None:
        _Moments.begin_step(self)
        mu, following = self._mu(self.steps), self._mu(self.steps + 1)
        self.mu_product *= mu  # P_t = P_(t-1) mu_t
        self._of_g = (1 - mu) / (1 - self.mu_product)
        self._of_m = following / (1 - self.mu_product * following)

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v, ahead = vectors["m"], vectors["v"], vectors["ahead"]
        self._mix(g, m, 1 - self.beta_1, self.beta_1)  # m <- beta_1 m + (1 - beta_1) g
        self._mean_square(g, v, work)  # v <- beta_2 v + (1 - beta_2) g^2
        np.multiply(g, self._scalar("of g", self._of_g), out=ahead)
        self._add_scaled(m, ahead, self._of_m)  # (1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m
        return self._over_root(ahead, v, work), alpha * self._q  # alpha ... / (sqrt(v') + eps)


class RAdam(_Moments):
    """Adam that adapts no rates before their variance is tractable.

    ::

        rho = 2 / (1 - beta_2) - 1        rho_t = rho - 2 t beta_2^t / (1 - beta_2^t)
        rho_t > 5:  w <- w - alpha r m' / (sqrt(v') + eps')        otherwise:  w <- w - alpha m'
        r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))

    with m, v, m' and v' as in `Adam`, and eps' = eps / sqrt(1 - beta_2^t).

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        alpha.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Liu et al., "On the variance of the adaptive learning rate and beyond" (2020), algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0])
    >>> dn.RAdam(learning_rate=0.1).step(w, np.array([3.0]))
    >>> w.round(6)
    array([0.7])
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._set(learning_rate, beta_1, beta_2, eps, weight_decay)

    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v = vectors["m"], vectors["v"]
        self._mix(g, m, 1 - self.beta_1, self.beta_1)  # m <- beta_1 m + (1 - beta_1) g
        self._mean_square(g, v, work)  # v <- beta_2 v + (1 - beta_2) g^2
        rho = 2 / (1 - self.beta_2) - 1
        rho_t = rho - 2 * self.steps * self.beta_2**self.steps / self._bias_2
        if rho_t <= 5:
            return m, alpha / self._bias_1  # alpha m'
        r = math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        np.sqrt(v, out=work)
        np.add(work, self._scalar("eps", self.eps), out=work)
        np.divide(m, work, out=work)
        return work, alpha * r * self._q / self._bias_1  # alpha r m' / (sqrt(v') + eps')
