"""Adam and its relatives: a running mean of the gradient over the root of a running mean of its square.

Both means start at 0 and are too small at first; dividing by 1 - beta^t takes that bias out. Here the divisors go into
the scalars: m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + eps) equals c m / (sqrt(v) + eps q), with
q = sqrt(1 - beta_2^t) and c = q / (1 - beta_1^t), which saves a pass over the vector.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, nonnegative
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule


class _Moments(Optimizer):
    """What Adam and its relatives share: two running means and their bias."""

    slots: ClassVar[tuple[str, ...]] = ("m", "v")

    beta_1: float
    beta_2: float
    eps: float

    def _set(self, learning_rate: float | Schedule, beta_1: float, beta_2: float, eps: float, decay: float) -> None:
        who = type(self).__name__
        Optimizer.__init__(self, learning_rate)
        self.beta_1, self.beta_2 = fraction(beta_1, who, "beta_1"), fraction(beta_2, who, "beta_2")
        self.eps = nonnegative(eps, who, "eps")
        self.weight_decay = nonnegative(decay, who, "weight_decay")

    def _prepare(self, params: Array, grads: Array) -> None:
        Optimizer._prepare(self, params, grads)
        self._b1, self._b2 = np.array(self.beta_1, params.dtype), np.array(self.beta_2, params.dtype)

    def begin_step(self) -> None:
        self._bias_1 = 1 - self.beta_1**self.steps
        self._bias_2 = 1 - self.beta_2**self.steps
        self._root = math.sqrt(self._bias_2)

    def _first(self, g: Array, m: Array) -> None:
        np.multiply(m, self._b1, out=m)
        self._add_scaled(g, m, 1 - self.beta_1)  # m <- beta_1 m + (1 - beta_1) g

    def _second(self, g: Array, v: Array, work: Array) -> None:
        np.multiply(g, g, out=work)
        np.multiply(v, self._b2, out=v)
        self._add_scaled(work, v, 1 - self.beta_2)  # v <- beta_2 v + (1 - beta_2) g^2


class _Adam(_Moments):
    amsgrad: bool

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v = state["m"], state["v"]
        self._first(g, m)
        self._second(g, v, work)
        if self.amsgrad:
            v = np.maximum(state["largest"], v, out=state["largest"])
        np.sqrt(v, out=work)
        np.add(work, self.eps * self._root, out=work)
        np.divide(m, work, out=work)  # u = m / (sqrt(v) + eps q)
        return work, alpha * self._root / self._bias_1


class Adam(_Adam):
    """Adaptive moments.

    ::

        m <- beta_1 m + (1 - beta_1) g        v <- beta_2 v + (1 - beta_2) g^2
        w <- w - alpha m' / (sqrt(v') + eps)        m' = m / (1 - beta_1^t), v' = v / (1 - beta_2^t)

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0
        lambda, in g <- g + lambda w (see `AdamW` for the decoupled form).
    amsgrad : bool, default False
        Whether v is replaced by its largest value so far.

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    .. [2] Reddi, Kale, Kumar, "On the convergence of Adam and beyond" (2018) (amsgrad).

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
        self.amsgrad = bool(amsgrad)
        self.slots = ("m", "v", "largest") if self.amsgrad else ("m", "v")  # type: ignore[misc]


class AdamW(_Adam):
    """Adam with decoupled weight decay: w <- w - alpha (m' / (sqrt(v') + eps) + lambda w).

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.01
        lambda.
    amsgrad : bool, default False

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
        self.amsgrad = bool(amsgrad)
        self.slots = ("m", "v", "largest") if self.amsgrad else ("m", "v")  # type: ignore[misc]


class Adamax(_Moments):
    """Adam with the largest past gradient in place of the root mean square.

    ::

        m <- beta_1 m + (1 - beta_1) g        s <- max(beta_2 s, |g| + eps)
        w <- w - alpha / (1 - beta_1^t) m / s

    Parameters
    ----------
    learning_rate : float or Schedule, default 2e-3
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0

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

    slots: ClassVar[tuple[str, ...]] = ("m", "s")

    def __init__(
        self,
        learning_rate: float | Schedule = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._set(learning_rate, beta_1, beta_2, eps, weight_decay)

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, s = state["m"], state["s"]
        self._first(g, m)
        np.abs(g, out=work)
        np.add(work, self.eps, out=work)
        np.multiply(s, self._b2, out=s)
        np.maximum(s, work, out=s)  # s <- max(beta_2 s, |g| + eps)
        return np.divide(m, s, out=work), alpha / self._bias_1  # u = m / s


class NAdam(_Moments):
    """Adam with Nesterov's look ahead.

    ::

        mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2)        P_t = mu_1 mu_2 ... mu_t
        w <- w - alpha ((1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m) / (sqrt(v') + eps)

    with m and v as in `Adam`.

    Parameters
    ----------
    learning_rate : float or Schedule, default 2e-3
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0
    momentum_decay : float, default 4e-3

    References
    ----------
    .. [1] Dozat, "Incorporating Nesterov momentum into Adam" (2016), algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w = np.array([1.0])
    >>> dn.NAdam(learning_rate=0.1).step(w, np.array([3.0]))
    >>> bool(w[0] < 1)
    True
    """

    numbers: ClassVar[tuple[str, ...]] = ("mu_product",)

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
        self.mu_product = 1.0

    def begin_step(self) -> None:
        _Moments.begin_step(self)
        t, decay = self.steps, self.momentum_decay
        self._mu = self.beta_1 * (1 - 0.5 * 0.96 ** (t * decay))
        self._mu_next = self.beta_1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
        self.mu_product *= self._mu

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v = state["m"], state["v"]
        self._first(g, m)
        self._second(g, v, work)
        u = self._ahead[: g.size]
        np.multiply(g, (1 - self._mu) / (1 - self.mu_product), out=u)
        self._add_scaled(m, u, self._mu_next / (1 - self.mu_product * self._mu_next))
        np.sqrt(v, out=work)
        np.multiply(work, 1 / self._root, out=work)
        np.add(work, self.eps, out=work)
        return np.divide(u, work, out=work), alpha

    def _prepare(self, params: Array, grads: Array) -> None:
        _Moments._prepare(self, params, grads)
        self._ahead = np.empty_like(self._decayed)


class RAdam(_Moments):
    """Adam that waits with adapting until the variance of its rates is tractable.

    ::

        rho = 2 / (1 - beta_2) - 1        rho_t = rho - 2 t beta_2^t / (1 - beta_2^t)
        rho_t > 5:  w <- w - alpha r m' / (sqrt(v') + eps')        else:  w <- w - alpha m'
        r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))

    with m' and v' as in `Adam`, and eps' = eps / sqrt(1 - beta_2^t).

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    eps : float, default 1e-8
    weight_decay : float, default 0.0

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

    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        m, v = state["m"], state["v"]
        self._first(g, m)
        self._second(g, v, work)
        rho = 2 / (1 - self.beta_2) - 1
        rho_t = rho - 2 * self.steps * self.beta_2**self.steps / self._bias_2
        if rho_t <= 5:
            return m, alpha / self._bias_1
        r = math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        np.sqrt(v, out=work)
        np.add(work, self.eps, out=work)
        return np.divide(m, work, out=work), alpha * r * self._root / self._bias_1
