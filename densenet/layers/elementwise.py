"""Functions of one number, applied to every entry of a matrix.

Between two affine maps stands a function f that bends: without one, a chain of affine maps would be a single affine
map. Since y_ij depends on x_ij alone, the chain rule is one product an entry: dE/dx_ij = dE/dy_ij f'(x_ij).
`Activation` is what all of them share; the ones here are neither S-shaped nor rectifiers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from densenet._types import Array
from densenet.layers.base import Layer
from densenet.losses.base import Output

BLOCK = 1 << 15
"""Entries worked on at a time, in whole rows: what f and f' touch stays in the cache."""


class Activation(Layer):
    """A function of one number, applied to every entry: Y = f(X).

    With D = dE/dY the chain rule gives, entry by entry::

        dE/dX = D * f'(X)

    To write one's own, give `value` and `slope`; both write into `out`. ``n_work = k`` asks for k arrays of x's shape:
    what `value` leaves in `work`, `slope` finds there. They hold zeros at first. `slope` writes to `out` alone.
    Both may be given some of the rows at a time. A third method, `curvature`, is needed for exact Hessian products
    alone.

    Attributes
    ----------
    n_work : int
        Number of working arrays, 0 by default; a class attribute.

    Raises
    ------
    ValueError
        By `forward` and `infer` if x is not a matrix; by `backward` if delta has not the shape of the output.
    RuntimeError
        By `backward` and `slopes` without a `forward` before it.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> class Cube(dn.Activation):
    ...     def value(self, x, out, work):
    ...         out[...] = x**3
    ...
    ...     def slope(self, x, y, out, work):
    ...         out[...] = 3 * x**2
    >>> cube = Cube()
    >>> cube.forward(np.array([[1.0, 2.0]]))
    array([[1., 8.]])
    >>> cube.backward(np.array([[1.0, 10.0]]))
    array([[  3., 120.]])
    """

    n_work: ClassVar[int] = 0

    _x: Any = None
    _delta: Any = None
    _y: Array
    _work: tuple[Array, ...]
    _rows: list[slice]
    _values: list[tuple[Array, Array, tuple[Array, ...]]]
    _slopes: list[tuple[Array, Array, Array, tuple[Array, ...], Array]]

    @abstractmethod
    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        """Write f(x) into `out`.

        Parameters
        ----------
        x : ndarray (n, columns)
            Not to be written.
        out : ndarray (n, columns)
        work : tuple of `n_work` ndarrays (n, columns)
            What `slope` is to find again.
        """

    @abstractmethod
    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        """Write f'(x) into `out`.

        Parameters
        ----------
        x, y : ndarray (n, columns)
            y = f(x); write to neither.
        out : ndarray (n, columns)
        work : tuple of `n_work` ndarrays (n, columns)
            What `value` left there; not to be written.
        """

    def _meet_input(self, x: Array) -> None:
        """Split a new input into blocks of rows."""
        if x.shape != self._shape or x.dtype != self._y.dtype:
            self._check_input(x)
            self._shape = self._out_shape = x.shape
            self._y = self._buffer("y", x.shape, x.dtype)
            self._work = tuple([self._buffer(f"work{i}", x.shape, x.dtype) for i in range(self.n_work)])
            for array in self._work:
                array.fill(0)
            step = max(1, BLOCK // max(1, x.shape[1]))
            self._rows = [slice(start, start + step) for start in range(0, len(x), step)]
        self._x, self._delta = x, None
        self._values = [(x[rows], self._y[rows], tuple([w[rows] for w in self._work])) for rows in self._rows]

    def _meet_delta(self, delta: Array) -> None:
        """The same for a delta."""
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        self._delta = delta
        slope = self._buffer("slope", (len(delta[self._rows[0]]), delta.shape[1]), self._y.dtype)
        self._slopes = [
            (x, y, slope[: len(x)], work, delta[rows])
            for (x, y, work), rows in zip(self._values, self._rows, strict=True)
        ]

    def forward(self, x: Array, training: bool = True) -> Array:
        if x is not self._x:
            self._meet_input(x)
        for x_rows, y, work in self._values:
            self.value(x_rows, y, work)  # Y = f(X)
        return self._y

    def backward(self, delta: Array) -> Array:
        if delta is not self._delta:
            self._meet_delta(delta)
        for x, y, slope, work, d in self._slopes:
            self.slope(x, y, slope, work)
            np.multiply(d, slope, out=d)  # dE/dX = D * f'(X)
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y = np.empty(x.shape, x.dtype) if out is None else out
        self.value(x, y, tuple(np.zeros((self.n_work, *x.shape), x.dtype)))  # Y = f(X)
        return y

    def slopes(self) -> Array:
        """f'(X) of the last `forward`, entry by entry.

        Returns
        -------
        ndarray (n, columns)
            Fresh.

        Raises
        ------
        RuntimeError
            Without a `forward` before it.

        Examples
        --------
        >>> import densenet as dn
        >>> import numpy as np
        >>> tanh = dn.Tanh()
        >>> y = tanh.forward(np.array([[0.0, 1.0]]))
        >>> tanh.slopes().round(4)
        array([[1.  , 0.42]])
        """
        if not self._shape:
            raise RuntimeError(f"{type(self).__name__}.slopes needs a forward pass first: call forward(x).")
        out = np.empty(self._shape, self._y.dtype)
        self.slope(self._x, self._y, out, self._work)
        return out

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        """Write f''(x) into `out`; only exact Hessian products need it.

        Parameters
        ----------
        x, y, out, work
            As in `slope`.

        Raises
        ------
        TypeError
            If the activation has none.
        """
        raise TypeError(f"{type(self).__name__} has no curvature(x, y, out, work), f'': Hessian products need it.")

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._x_dot = x_dot
        return self.slopes() * x_dot  # Y' = f'(X) * X'

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        slopes = self.slopes()
        bends = np.empty_like(slopes)
        self.curvature(self._x, self._y, bends, self._work)
        bends *= self._x_dot
        bends *= delta
        bends += delta_dot * slopes
        return delta * slopes, bends  # (D * f')' = D' * f' + D * f'' * X'


class Identity(Activation):
    """f(x) = x, with f'(x) = 1.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Identity().infer(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.]])
    """

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        out[...] = x

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out.fill(1)

    def forward(self, x: Array, training: bool = True) -> Array:
        self._check_input(x)
        self._x = self._y = x
        self._work = ()
        self._shape = self._out_shape = x.shape
        return x

    def backward(self, delta: Array) -> Array:
        self._check_delta(delta)
        return delta  # dE/dX = D

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out.fill(0)  # f'' = 0


class Exp(Activation):
    """f(x) = e^x, with f'(x) = y.

    x beyond the logarithm of the largest float (88.7 in float32, 709.7 in float64) counts as that, so that y stays
    finite.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Exp().infer(np.array([[0.0, 1.0]])).round(4)
    array([[1.    , 2.7183]])
    """

    _LARGEST: ClassVar[dict[np.dtype[np.floating], float]] = {
        np.dtype(kind): math.log(np.finfo(kind).max) * (1 - 1e-6) for kind in (np.float32, np.float64)
    }

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.minimum(x, self._LARGEST[x.dtype], out=out)
        np.exp(out, out=out)  # y = e^x

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out[...] = y  # f' = y

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out[...] = y  # f'' = y


class Sine(Activation):
    """f(x) = sin x, with f'(x) = cos x; x in radians.

    References
    ----------
    .. [1] Sitzmann et al., "Implicit neural representations with periodic activation functions" (2020).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Sine().infer(np.array([[0.0, np.pi / 2]]))
    array([[0., 1.]])
    """

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.sin(x, out=out)  # y = sin x

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.cos(x, out=out)  # f' = cos x

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.negative(y, out=out)  # f'' = -y


class Gaussian(Activation):
    """f(x) = e^(-x^2), with f'(x) = -2 x y.

    References
    ----------
    .. [1] Broomhead, Lowe, "Multivariable functional interpolation and adaptive networks" (1988).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Gaussian().infer(np.array([[0.0, 1.0]])).round(4)
    array([[1.    , 0.3679]])
    """

    gives: Output = "probabilities"

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.clip(x, -28, 28, out=out)  # beyond 28, e^(-x^2) is 0 and x^2 may overflow
        np.square(out, out=out)
        np.negative(out, out=out)
        np.exp(out, out=out)  # y = e^(-x^2)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.multiply(x, y, out=out)
        out *= -2  # f' = -2 x y

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.clip(x, -28, 28, out=out)
        np.square(out, out=out)
        out *= 4
        out -= 2
        out *= y  # f'' = (4 x^2 - 2) y
