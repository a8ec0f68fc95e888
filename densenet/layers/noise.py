"""Noise in training, so that a network relies on no single neuron and does not memorise its samples.

Every training pass draws anew; otherwise these layers pass x on. What was drawn is kept until the next draw: `backward`
needs it, and `replay` is the function that the last training pass was.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from densenet._types import Array
from densenet._validation import fraction, nonnegative
from densenet.layers.base import Layer
from densenet.layers.rectifiers import SELU_ALPHA, SELU_SCALE


class Draw(NamedTuple):
    """What a training pass over x of this shape drew: Y = F * X + O.

    Attributes
    ----------
    shape : tuple of int
    factor, offset : ndarray or None
        F and O; None for all ones, or all zeros.
    """

    shape: tuple[int, ...]
    factor: Array | None
    offset: Array | None


class Noise(Layer):
    """Base of noise layers: in training Y = F * X + O with F and O drawn anew, entry by entry; otherwise Y = X.

    With D = dE/dY, dE/dX = D * F in training, otherwise D.

    The model's seed sets the draws. A layer without a model draws from a generator of its own, seeded by the system.
    """

    draws: ClassVar[bool] = True

    _part: tuple[slice, int] | None = None
    _noisy: bool = False
    _drawn: tuple[int, ...] = ()
    _held: Draw | None = None
    _factor: Array | None
    _offset: Array | None

    @property
    @abstractmethod
    def strength(self) -> float:
        """At 0 the layer is the identity in training too."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array | None, Array | None]:
        """F and O anew; None for all ones, or all zeros."""

    @property
    def last_draw(self) -> Draw | None:
        """What the last training pass drew; None before the first, and where nothing is drawn."""
        return Draw(self._drawn, self._factor, self._offset) if self._drawn else None

    def hold(self, draw: Draw) -> None:
        """Use this draw in every later training pass; copies draw anew."""
        self._held = draw

    def take_part(self, rows: slice | None, total: int = 0) -> None:
        """Draw for `total` rows in every later training pass, of which x is these; None is for x that is all of them.

        So processes that share a mini-batch draw what one process would; copies draw for the rows that they get.
        """
        self._part = None if rows is None else (rows, total)

    @property
    def held(self) -> bool:
        """Whether `hold` has fixed the draw."""
        return self._held is not None

    def _apply(self, x: Array, out: Array) -> Array:
        if self._factor is None:
            out[...] = x
        else:
            np.multiply(self._factor, x, out=out)
        if self._offset is not None:
            out += self._offset  # Y = F * X + O
        return out

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape = self._out_shape = x.shape
        self._noisy = training and self.strength > 0
        if not self._noisy:
            return x
        if self.generator is None:
            self.generator = np.random.default_rng()
        if self._held is not None:
            _, self._factor, self._offset = self._held
        elif self._part is None:
            self._factor, self._offset = self.draw(self.generator, x.shape, x.dtype)
        else:
            rows, total = self._part
            drawn = self.draw(self.generator, (total, x.shape[1]), x.dtype)
            self._factor, self._offset = (None if a is None else a[rows] for a in drawn)
        self._drawn = x.shape
        return self._apply(x, self._buffer("y", x.shape, x.dtype))

    def replay(self, x: Array) -> Array:
        """The function of the last training pass, applied to x without a new draw.

        Parameters
        ----------
        x : ndarray (n, columns)
            Of the shape of that pass.

        Returns
        -------
        ndarray (n, columns)
            Fresh.

        Raises
        ------
        RuntimeError
            Without a training pass before it.
        ValueError
            If x has another shape.

        Examples
        --------
        >>> import densenet as dn
        >>> import numpy as np
        >>> dropout, x = dn.Dropout(0.5), np.ones((4, 8))
        >>> y = dropout.forward(x).copy()
        >>> np.array_equal(dropout.replay(2 * x), 2 * y)
        True
        """
        name = type(self).__name__
        if self.strength == 0:
            return x.copy()
        if not self._drawn:
            raise RuntimeError(f"{name}.replay needs a training pass first: call forward(x, training=True).")
        if x.shape != self._drawn:
            raise ValueError(
                f"{name}.replay expects x of shape {self._drawn}, the last training pass's, got {x.shape}."
            )
        return self._apply(x, np.empty_like(x))

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        if self._noisy and self._factor is not None:
            delta *= self._factor  # dE/dX = D * F
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        if out is None:
            return x.copy()
        out[...] = x
        return out

    def _keep(self, rng: np.random.Generator, rate: float, shape: tuple[int, ...], dtype: Any) -> Array:
        """A buffer of draws that are 0 with probability `rate`, else 1."""
        u = self._buffer("u", shape, np.float32)
        rng.random(out=u, dtype=np.float32)
        keep = self._buffer("keep", shape, dtype)
        keep[...] = u >= rate
        return keep

    def tangent(self, x_dot: Array, v: Array) -> Array:
        return x_dot * self._factor if self._noisy and self._factor is not None else x_dot  # Y' = X' * F

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        if self._noisy and self._factor is not None:
            return delta * self._factor, delta_dot * self._factor
        return delta, delta_dot


class Dropout(Noise):
    """In training every entry is 0 with probability `rate` and grows by 1 / (1 - rate) otherwise: Y = F * X.

    So the mean stays what it is, and outside training Y = X. With D = dE/dY, dE/dX = D * F with the same F.

    Parameters
    ----------
    rate : float in [0, 1)
        0 makes it the identity.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1).

    References
    ----------
    .. [1] Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014),
       section 10 for the growth in training.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dropout(0.5)], seed=0)
    >>> sorted(set(model.forward([[1.0] * 50]).ravel().tolist()))
    [0.0, 2.0]
    >>> model.forward([[1.0] * 3], training=False)
    array([[1., 1., 1.]], dtype=float32)
    """

    def __init__(self, rate: float) -> None:
        self.rate = fraction(rate, "Dropout", "rate")

    @property
    def strength(self) -> float:
        return self.rate

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array | None, Array | None]:
        factor = self._keep(rng, self.rate, shape, dtype)
        factor *= 1 / (1 - self.rate)
        return factor, None


class AlphaDropout(Noise):
    """Dropout for `SELU`: in training Y = a (K * X + (1 - K) alpha') + b, K_ij = 0 with probability `rate`, else 1.

    alpha' = -1.7581 is the lower bound of SELU. Mean 0 and variance 1 stay what they are, given::

        a = ((1 - rate) (1 + rate alpha'^2))^(-1/2)        b = -a rate alpha'

    With D = dE/dY, dE/dX = a K * D. Outside training Y = X.

    Parameters
    ----------
    rate : float in [0, 1)
        0 makes it the identity.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1).

    References
    ----------
    .. [1] Klambauer et al., "Self-normalizing neural networks" (2017), section "New dropout technique".

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.AlphaDropout(0.5)], seed=0, dtype="float64")
    >>> sorted(set(model.forward([[0.0] * 50]).round(4).ravel().tolist()))
    [-0.7792, 0.7792]
    """

    def __init__(self, rate: float) -> None:
        self.rate = fraction(rate, "AlphaDropout", "rate")

    @property
    def strength(self) -> float:
        return self.rate

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array | None, Array | None]:
        low = -SELU_SCALE * SELU_ALPHA
        a = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * low**2))
        factor = self._keep(rng, self.rate, shape, dtype)
        offset = self._buffer("offset", shape, dtype)
        np.subtract(1, factor, out=offset)
        offset -= self.rate
        offset *= a * low  # O = a alpha' (1 - K) + b
        factor *= a  # F = a K
        return factor, offset


class GaussianNoise(Noise):
    """In training Y = X + stddev Z, with Z drawn from the standard normal distribution entry by entry.

    With D = dE/dY, dE/dX = D. Outside training Y = X.

    Parameters
    ----------
    stddev : float
        Standard deviation, in units of x; 0 makes it the identity.

    Raises
    ------
    ValueError
        If `stddev` is not a finite number of at least 0.

    References
    ----------
    .. [1] Bishop, "Training with noise is equivalent to Tikhonov regularization" (1995).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.GaussianNoise(0.1)], seed=0, dtype="float64")
    >>> float(model.forward([[0.0] * 1000]).std().round(1))
    0.1
    """

    def __init__(self, stddev: float) -> None:
        self.stddev = nonnegative(stddev, "GaussianNoise", "stddev")

    @property
    def strength(self) -> float:
        return self.stddev

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array | None, Array | None]:
        offset = self._buffer("offset", shape, dtype)
        rng.standard_normal(out=offset, dtype=dtype)
        offset *= self.stddev  # O = stddev Z
        return None, offset
