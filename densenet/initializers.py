"""Where training starts: random weights whose size keeps signals and deltas from growing or dying layer by layer.

An initializer fills an array in place, `init(W, rng)`. W has shape (n_in, n_out): n_in is the fan-in, n_out the
fan-out. Numbers are drawn in float64 and rounded to W's dtype, so that a seed sets the same network in both dtypes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from densenet._config import Configured
from densenet._names import Names
from densenet._types import Array
from densenet._validation import finite, nonnegative, positive, positive_int

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "NguyenWidrow",
    "Normal",
    "Ones",
    "Orthogonal",
    "Uniform",
    "Zeros",
    "get",
]


class Initializer(Configured, ABC):
    """Fills an array in place.

    An initializer of your own gives `__call__`::

        class Sparse(dn.Initializer):
            def __call__(self, W, rng):
                W[...] = rng.normal(size=W.shape) * (rng.random(W.shape) < 0.1)
    """

    _shown_always: ClassVar[tuple[str, ...] | None] = None

    @abstractmethod
    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        """Fill W (n_in, n_out), or a vector, with draws of `rng`."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Initializer) and other.config() == self.config()

    def __hash__(self) -> int:
        return hash((type(self), *self.config().values()))


class Zeros(Initializer):
    """W = 0.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.Sequential([dn.Dense(2, 1, kernel_initializer="zeros")]).params
    array([0., 0., 0.], dtype=float32)
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W.fill(0)


class Ones(Initializer):
    """W = 1.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.Sequential([dn.Dense(2, 1, kernel_initializer="ones")]).params
    array([1., 1., 0.], dtype=float32)
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W.fill(1)


class Constant(Initializer):
    """W = value.

    Parameters
    ----------
    value : float, default 0.0

    Examples
    --------
    >>> import densenet as dn
    >>> dn.initializers.Constant(0.5)
    Constant(value=0.5)
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = finite(value, "Constant", "value")

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W.fill(self.value)


class Uniform(Initializer):
    """W ~ U(low, high).

    Parameters
    ----------
    low, high : float, default -0.05 and 0.05

    Raises
    ------
    ValueError
        If low is not below high.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.initializers.Uniform(-1, 1)
    Uniform(low=-1.0, high=1.0)
    """

    def __init__(self, low: float = -0.05, high: float = 0.05) -> None:
        self.low, self.high = finite(low, "Uniform", "low"), finite(high, "Uniform", "high")
        if self.low >= self.high:
            raise ValueError(f"Uniform expects low < high, got {low!r} and {high!r}.")

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.uniform(self.low, self.high, W.shape)


class Normal(Initializer):
    """W ~ N(mean, stddev^2), not truncated.

    Parameters
    ----------
    mean : float, default 0.0
    stddev : float, default 0.05

    Raises
    ------
    ValueError
        If stddev is negative.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.initializers.Normal(stddev=0.1)
    Normal(mean=0.0, stddev=0.1)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        self.mean, self.stddev = finite(mean, "Normal", "mean"), nonnegative(stddev, "Normal", "stddev")

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(self.mean, self.stddev, W.shape)


def _fans(W: Array) -> tuple[int, int]:
    """Fan-in and fan-out; a vector has one of each like a row of weights."""
    return (W.shape[0], W.shape[1]) if W.ndim == 2 else (1, W.size)


def _uniform(W: Array, variance: float, rng: np.random.Generator) -> None:
    limit = math.sqrt(3 * variance)  # Var U(-a, a) = a^2 / 3
    W[...] = rng.uniform(-limit, limit, W.shape)


class GlorotUniform(Initializer):
    """W ~ U(-a, a), a = sqrt(6 / (n_in + n_out)): Var W = 2 / (n_in + n_out), for tanh and sigmoid.

    References
    ----------
    .. [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010),
       equation 16.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(4, 2, kernel_initializer="glorot_uniform")], seed=0)
    >>> bool(abs(model.layers[0].W).max() <= 1)
    True
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        n_in, n_out = _fans(W)
        _uniform(W, 2 / (n_in + n_out), rng)  # Var W = 2 / (n_in + n_out)


class GlorotNormal(Initializer):
    """W ~ N(0, 2 / (n_in + n_out)), not truncated.

    References
    ----------
    .. [1] Glorot and Bengio (2010), equation 12.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([4, 2], kernel_initializer="glorot_normal")
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        n_in, n_out = _fans(W)
        W[...] = rng.normal(0, math.sqrt(2 / (n_in + n_out)), W.shape)  # Var W = 2 / (n_in + n_out)


class HeUniform(Initializer):
    """W ~ U(-a, a), a = sqrt(6 / n_in): Var W = 2 / n_in, for rectifiers.

    References
    ----------
    .. [1] He et al., "Delving deep into rectifiers" (2015), equation 10.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([4, 2], kernel_initializer="he_uniform")
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        _uniform(W, 2 / _fans(W)[0], rng)  # Var W = 2 / n_in


class HeNormal(Initializer):
    """W ~ N(0, 2 / n_in), not truncated, for rectifiers.

    References
    ----------
    .. [1] He et al., "Delving deep into rectifiers" (2015), equation 10.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([4, 2], kernel_initializer="he_normal")
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(0, math.sqrt(2 / _fans(W)[0]), W.shape)  # Var W = 2 / n_in


class LecunUniform(Initializer):
    """W ~ U(-a, a), a = sqrt(3 / n_in): Var W = 1 / n_in, for SELU and standardised inputs.

    References
    ----------
    .. [1] LeCun et al., "Efficient BackProp" (1998), equation 16.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([4, 2], kernel_initializer="lecun_uniform")
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        _uniform(W, 1 / _fans(W)[0], rng)  # Var W = 1 / n_in


class LecunNormal(Initializer):
    """W ~ N(0, 1 / n_in), not truncated.

    References
    ----------
    .. [1] LeCun et al., "Efficient BackProp" (1998), equation 16.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.mlp([4, 2], kernel_initializer="lecun_normal")
    """

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(0, math.sqrt(1 / _fans(W)[0]), W.shape)  # Var W = 1 / n_in


class Orthogonal(Initializer):
    """W = gain Q with orthonormal rows or columns, whichever are fewer, drawn uniformly.

    Parameters
    ----------
    gain : float, default 1.0

    References
    ----------
    .. [1] Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
       networks" (2014).
    .. [2] Mezzadri, "How to generate random matrices from the classical compact groups" (2007), for the signs.

    Examples
    --------
    >>> import densenet as dn
    >>> W = dn.mlp([3, 2], kernel_initializer="orthogonal", seed=0, dtype="float64").layers[0].W
    >>> abs(W.T @ W).round(12)
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = positive(gain, "Orthogonal", "gain")

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        n_in, n_out = _fans(W)
        tall = rng.normal(size=(max(n_in, n_out), min(n_in, n_out)))
        q, r = np.linalg.qr(tall)
        q *= np.sign(np.diagonal(r))  # without this, Q is not uniform
        W[...] = (self.gain * (q if n_in >= n_out else q.T)).reshape(W.shape)


class NguyenWidrow(Initializer):
    """Weights that spread the active regions of sigmoid neurons evenly over inputs in [-1, 1].

    The weights into neuron j get a random direction and the length beta = 0.7 n_out^(1 / n_in); a vector (the biases)
    is spread evenly over [-beta, beta] with beta = 0.7 n^(1 / fan_in), in random order.

    Parameters
    ----------
    fan_in : int, default 1
        For biases: the number of columns that their layer takes.

    References
    ----------
    .. [1] Nguyen and Widrow, "Improving the learning speed of 2-layer neural networks by choosing initial values of the
       adaptive weights" (1990).

    Examples
    --------
    >>> import densenet as dn
    >>> start = dn.initializers.NguyenWidrow
    >>> layer = dn.Dense(2, 9, kernel_initializer=start(), bias_initializer=start(fan_in=2))
    >>> model = dn.Sequential([layer], dtype="float64", seed=0)
    >>> (layer.W**2).sum(axis=0).round(6)
    array([4.41, 4.41, 4.41, 4.41, 4.41, 4.41, 4.41, 4.41, 4.41])
    """

    def __init__(self, fan_in: int = 1) -> None:
        self.fan_in = positive_int(fan_in, "NguyenWidrow", "fan_in")

    def __call__(self, W: Array, rng: np.random.Generator) -> None:
        if W.ndim == 1:
            beta = 0.7 * W.size ** (1 / self.fan_in)
            W[...] = rng.permutation(np.linspace(-beta, beta, W.size) if W.size > 1 else np.zeros(1))
            return
        n_in, n_out = W.shape
        beta = 0.7 * n_out ** (1 / n_in)
        directions = rng.uniform(-1, 1, W.shape)
        W[...] = beta * directions / np.linalg.norm(directions, axis=0)  # |w_j| = beta


NAMES = Names(Initializer, [globals()[name] for name in __all__ if name != "get"], {})
"""The string shorthands."""


def get(value: str | type[Initializer] | Initializer) -> Initializer:
    """An initializer from its name, its class, or itself.

    Raises
    ------
    ValueError
        If the name is unknown, listing the names that there are.
    TypeError
        If `value` is neither.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.initializers.get("he_normal")
    HeNormal()
    """
    made: Initializer = NAMES.choose(value, "densenet")
    return made
