"""Layers for tables: robust scales, periodic features, vectors for categories, columns that go different ways, means.

They are what RealMLP puts around a plain network: embeddings of its inputs, activations that learn how much they bend,
and outputs that keep to the range of the targets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import positive, positive_int
from densenet.layers.activations import activation
from densenet.layers.base import Layer, Parameter, chain_input, chain_width, check_layers
from densenet.layers.containers import Container, chain_spans, chain_tangent, chain_tangent_backward
from densenet.layers.elementwise import Activation


class RobustScale(Layer):
    """Columns about their median, in quartile ranges, smoothly kept within -3 and 3; nothing is trained.

    ::

        z = (x - center) factor        y = z / sqrt(1 + (z / 3)^2)        dE/dx = dE/dy factor (1 + (z / 3)^2)^(-3/2)

    Parameters
    ----------
    n : int
        Columns.

    Attributes
    ----------
    center, factor : ndarray (n,)
        0 and 1 until `learn` sets them; they are kept in files and copies.

    Raises
    ------
    ValueError
        If n is no positive integer; by `forward` if x has any shape but (rows, n).

    References
    ----------
    .. [1] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data" (2024), arXiv:2407.04491, section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.layers.RobustScale(1)], dtype="float64")
    >>> model.layers[0].learn([[0.0], [2.0], [4.0]])
    >>> model.forward([[0.0], [2.0], [1e9]]).round(3)
    array([[-0.949],
           [ 0.   ],
           [ 3.   ]])
    """

    state_names: ClassVar[tuple[str, ...]] = ("center", "factor")
    n_in: int
    n_out: int

    center: Array
    factor: Array

    def __init__(self, n: int) -> None:
        self.n = self.n_in = self.n_out = positive_int(n, "RobustScale", "n")

    def reset_state(self, dtype: Any) -> None:
        self.center, self.factor = np.zeros(self.n, dtype), np.ones(self.n, dtype)

    def learn(self, x: Any) -> None:
        """Set `center` to the medians and `factor` to 1 / (third quartile - first quartile) of training rows.

        Where the quartiles are equal, half the range stands in their place; a constant column becomes 0.

        Parameters
        ----------
        x : array_like (rows, n)
        """
        x = np.asarray(x)
        self._check_input(x)
        low, self.center[...], high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        spread = high - low
        spread = np.where(spread == 0, 0.5 * (x.max(axis=0) - x.min(axis=0)), spread)
        self.factor[...] = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)

    def _scaled(self, x: Array, z: Array, root: Array, y: Array) -> Array:
        np.subtract(x, self.center, out=z)
        np.multiply(z, self.factor, out=z)  # z = (x - center) factor
        np.divide(z, 3, out=root)
        np.hypot(root, 1, out=root)  # sqrt(1 + (z / 3)^2), which cannot overflow
        return np.divide(z, root, out=y)

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape = self._out_shape = x.shape
            self._z, self._root, self._y = (self._buffer(name, x.shape, x.dtype) for name in ("z", "root", "y"))
        return self._scaled(x, self._z, self._root, self._y)

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        delta *= self.factor
        delta /= self._root**3  # dE/dx = dE/dy factor (1 + (z / 3)^2)^(-3/2)
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._x_dot = x_dot
        y_dot: Array = x_dot * (self.factor / self._root**3)
        return y_dot  # Y' = X' factor (1 + (z / 3)^2)^(-3/2)

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        slopes = self.factor / self._root**3
        bends = -(self.factor**2) * self._z / (3 * self._root**5)  # f'' = -factor^2 z / 3 (1 + (z / 3)^2)^(-5/2)
        return delta * slopes, delta_dot * slopes + delta * bends * self._x_dot

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        z = np.empty_like(x)
        return self._scaled(x, z, np.empty_like(z), z if out is None else out)


class Periodic(Layer):
    """Every number x_i beside d learned combinations of k cosines of it: PBLD embeddings, periodic with bias.

    ::

        P_i = 2 pi x_i f_i + c_i        U_i = cos P_i        Y_i = [U_i W_i + b_i, x_i]

    Row r of Y is [Y_1, Y_2, ...]. With D_i = [G_i, g_i] = dE/dY_i, over rows::

        dE/dW_i = U_i^T G_i             dE/db_i = G_i^T 1        H_i = -sin P_i * (G_i W_i^T)
        dE/df_i = 2 pi x_i^T H_i        dE/dc_i = H_i^T 1        dE/dx_i = 2 pi H_i f_i^T + g_i

    Parameters
    ----------
    n : int
        Columns of X.
    frequencies : int, default 16
        k.
    width : int, default 4
        d + 1: columns of Y for each column of X, the number itself among them.
    sigma : float, default 0.1
        Standard deviation of the frequencies at the start.

    Attributes
    ----------
    f, c : ndarray (n, k)
        Frequencies from N(0, sigma^2), phases from U(-pi, pi).
    W : ndarray (n, k, d)
    b : ndarray (n, d)
        Both from U(-1, 1) / sqrt(k). df, dc, dW, db are their derivatives; all are views of the model's vectors.

    Raises
    ------
    ValueError
        If an argument is out of range; by `forward` if x has any shape but (rows, n).

    References
    ----------
    .. [1] Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning" (2022),
       equation 2.
    .. [2] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data" (2024), arXiv:2407.04491, section 3 (the phase and the shortcut).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.layers.Periodic(1, frequencies=1, width=2)], dtype="float64")
    >>> model.layers[0].f, model.layers[0].c = [[0.5]], [[0.0]]
    >>> model.layers[0].W, model.layers[0].b = [[[2.0]]], [[10.0]]
    >>> model.forward([[0.0], [1.0]])
    array([[12.,  0.],
           [ 8.,  1.]])
    """

    f, df = Parameter(), Parameter()
    c, dc = Parameter(), Parameter()
    W, dW = Parameter(), Parameter()
    b, db = Parameter(), Parameter()
    mixes: ClassVar[bool] = True
    n_in: int
    n_out: int

    _f: Array
    _c: Array
    _W: Array
    _b: Array
    _df: Array
    _dc: Array
    _dW: Array
    _db: Array

    def __init__(self, n: int, frequencies: int = 16, width: int = 4, sigma: float = 0.1) -> None:
        self.n = self.n_in = positive_int(n, "Periodic", "n")
        self.frequencies = positive_int(frequencies, "Periodic", "frequencies")
        self.width = positive_int(width, "Periodic", "width")
        if self.width < 2:
            raise ValueError(f"Periodic expects width to be at least 2, one of it the number itself, got {width!r}.")
        self.sigma = positive(sigma, "Periodic", "sigma")
        self.n_out = self.n * self.width

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        n, k, d = self.n, self.frequencies, self.width - 1
        return {"f": (n, k), "c": (n, k), "W": (n, k, d), "b": (n, d)}

    def initialize(self, rng: np.random.Generator) -> None:
        bound = 1 / math.sqrt(self.frequencies)
        self.f[...] = rng.normal(0.0, self.sigma, self._f.shape)
        self.c[...] = rng.uniform(-math.pi, math.pi, self._c.shape)
        self.W[...] = rng.uniform(-bound, bound, self._W.shape)
        self.b[...] = rng.uniform(-bound, bound, self._b.shape)

    def _cosines(self, x: Array, p: Array, u: Array) -> Array:
        """P and U, column by column of x: (n, rows, k)."""
        np.multiply(x.T[:, :, None], (2 * math.pi * self._f)[:, None, :], out=p)
        p += self._c[:, None, :]  # P_i = 2 pi x_i f_i + c_i
        return np.cos(p, out=u)  # U_i = cos P_i

    def _combine(self, x: Array, u: Array, y: Array) -> Array:
        parts = y.reshape(len(x), self.n, self.width)
        parts[:, :, :-1] = np.matmul(u, self._W).transpose(1, 0, 2)
        parts[:, :, :-1] += self._b
        parts[:, :, -1] = x  # Y_i = [U_i W_i + b_i, x_i]
        return y

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape, self._out_shape = x.shape, (len(x), self.n_out)
            dtype, wide = self._f.dtype, (self.n, len(x), self.frequencies)
            self._y = self._buffer("y", self._out_shape, dtype)
            self._p, self._u, self._h = (self._buffer(name, wide, dtype) for name in "puh")
            self._s = self._buffer("s", wide, dtype)
            self._dx = self._buffer("dx", x.shape, dtype)
        self._x = x
        return self._combine(x, self._cosines(x, self._p, self._u), self._y)

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        g = delta.reshape(len(delta), self.n, self.width)[:, :, :-1].transpose(1, 0, 2)
        np.matmul(self._u.transpose(0, 2, 1), g, out=self._dW)  # dE/dW_i = U_i^T G_i
        np.sum(g, axis=1, out=self._db)  # dE/db_i = G_i^T 1
        np.matmul(g, self._W.transpose(0, 2, 1), out=self._h)
        np.multiply(self._h, np.sin(self._p, out=self._s), out=self._h)
        np.negative(self._h, out=self._h)  # H_i = -sin P_i * (G_i W_i^T)
        np.sum(self._h, axis=1, out=self._dc)  # dE/dc_i = H_i^T 1
        np.matmul(self._x.T[:, None, :], self._h, out=self._df[:, None, :])
        self._df *= 2 * math.pi  # dE/df_i = 2 pi x_i^T H_i

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        np.matmul(self._h, (2 * math.pi * self._f)[:, :, None], out=self._dx.T[:, :, None])
        self._dx += delta.reshape(len(delta), self.n, self.width)[:, :, -1]  # dE/dx_i = 2 pi H_i f_i^T + g_i
        return self._dx

    def _split(self, v: Array) -> tuple[Array, ...]:
        """f, c, W and b of a vector of all parameters."""
        shapes = self.parameter_shapes().values()
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        return tuple(part.reshape(shape) for part, shape in zip(np.split(v, ends), shapes, strict=True))

    def tangent(self, x_dot: Array, v: Array) -> Array:
        f_dot, c_dot, self._W_dot, b_dot = self._split(v)
        self._x_dot, self._f_dot = x_dot, f_dot
        x, moved = self._x.T[:, :, None], x_dot.T[:, :, None]
        p_dot = 2 * math.pi * (moved * self._f[:, None, :] + x * f_dot[:, None, :]) + c_dot[:, None, :]
        self._p_dot = p_dot  # P_i' = 2 pi (x_i' f_i + x_i f_i') + c_i'
        self._u_dot = -np.sin(self._p) * p_dot  # U_i' = -sin P_i * P_i'
        y_dot = np.empty((len(x_dot), self.n, self.width), self._f.dtype)
        y_dot[:, :, :-1] = (self._u_dot @ self._W + self._u @ self._W_dot).transpose(1, 0, 2) + b_dot
        y_dot[:, :, -1] = x_dot  # Y_i' = [U_i' W_i + U_i W_i' + b_i', x_i']
        return y_dot.reshape(self._out_shape)

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        by_f, by_c, by_W, by_b = self._split(out)
        d, d_dot = (array.reshape(len(array), self.n, self.width) for array in (delta, delta_dot))
        g, g_dot = d[:, :, :-1].transpose(1, 0, 2), d_dot[:, :, :-1].transpose(1, 0, 2)
        W_t, W_dot_t, u_t = self._W.transpose(0, 2, 1), self._W_dot.transpose(0, 2, 1), self._u.transpose(0, 2, 1)
        by_W[...] = self._u_dot.transpose(0, 2, 1) @ g + u_t @ g_dot  # (U_i^T G_i)' = U_i'^T G_i + U_i^T G_i'
        by_b[...] = g_dot.sum(axis=1)  # (G_i^T 1)' = G_i'^T 1
        back = g @ W_t
        h = -np.sin(self._p) * back
        h_dot = -np.sin(self._p) * (g_dot @ W_t + g @ W_dot_t) - np.cos(self._p) * self._p_dot * back
        by_c[...] = h_dot.sum(axis=1)  # (H_i^T 1)' = H_i'^T 1
        by_f[...] = 2 * math.pi * (self._x_dot.T[:, None, :] @ h + self._x.T[:, None, :] @ h_dot)[:, 0]
        dx = 2 * math.pi * np.einsum("irk,ik->ri", h, self._f) + d[:, :, -1]
        dx_dot = np.einsum("irk,ik->ri", h_dot, self._f) + np.einsum("irk,ik->ri", h, self._f_dot)
        return dx, 2 * math.pi * dx_dot + d_dot[:, :, -1]  # (H_i f_i^T)' = H_i' f_i^T + H_i f_i'^T

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        p = np.empty((self.n, len(x), self.frequencies), self.f.dtype)
        y = np.empty((len(x), self.n_out), p.dtype) if out is None else out
        return self._combine(x, self._cosines(x, p, p), y)


class Embedding(Layer):
    """A vector for every category: column i of X holds numbers of categories, and Y_i = E_i[x_i], row by row.

    With D_i = dE/dY_i, a category's vector gets the sum over the rows that have it; the numbers have no derivative::

        dE/dE_i[k] = sum over rows r with x_ri = k of D_ri

    Parameters
    ----------
    sizes : sequence of int
        How many categories each column has; number 0 is kept for what is missing or was never seen.
    width : int, default 8
        Length of a vector.

    Attributes
    ----------
    E, dE : ndarray (sum of sizes, width)
        The vectors of all columns, one below the other, from N(0, 1); those of number 0 start at 0.

    Raises
    ------
    ValueError
        If an argument is out of range, or x has another shape. A number outside its column's range counts as 0.

    References
    ----------
    .. [1] Guo and Berkhahn, "Entity embeddings of categorical variables" (2016), section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.layers.Embedding([3], width=2)], dtype="float64")
    >>> model.layers[0].E = [[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]
    >>> model.forward([[2.0], [1.0]])
    array([[3., 4.],
           [1., 2.]])
    """

    E, dE = Parameter(), Parameter()
    mixes: ClassVar[bool] = True
    n_in: int
    n_out: int

    _E: Array
    _dE: Array

    def __init__(self, sizes: Sequence[int], width: int = 8) -> None:
        self.sizes = [positive_int(size, "Embedding", "every size") for size in sizes]
        self.width = positive_int(width, "Embedding", "width")
        if not self.sizes:
            raise ValueError("Embedding expects the number of categories of at least one column, got none.")
        self.n_in, self.n_out = len(self.sizes), len(self.sizes) * self.width

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"E": (sum(self.sizes), self.width)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.E[...] = rng.standard_normal(self._E.shape)
        self._E[self._starts()] = 0

    def _starts(self) -> Array:
        return np.cumsum([0, *self.sizes[:-1]])

    def _rows(self, x: Array) -> Array:
        """The rows of E that belong to x, (n, columns)."""
        numbers = np.rint(x)
        known = (numbers > 0) & (numbers < self.sizes)
        rows: Array = np.where(known, numbers, 0).astype(np.intp) + self._starts()
        return rows

    def forward(self, x: Array, training: bool = True) -> Array:
        self._check_input(x)
        self._shape, self._out_shape = x.shape, (len(x), self.n_out)
        self._at = self._rows(x)
        y = self._buffer("y", (*x.shape, self.width), self._E.dtype)
        return self._E.take(self._at, axis=0, out=y, mode="clip").reshape(self._out_shape)  # Y_i = E_i[x_i]

    def backward_parameters(self, delta: Array) -> None:
        self._check_delta(delta)
        d, at = delta.reshape(-1, self.width), self._at.ravel()
        for j in range(self.width):
            self._dE[:, j] = np.bincount(at, d[:, j], len(self._dE))  # dE/dE_i[k] = sum of D_ri where x_ri = k

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        dx = self._buffer("dx", self._shape, self._E.dtype)
        dx.fill(0)
        return dx

    def tangent(self, x_dot: Array, v: Array) -> Array:
        y_dot: Array = v.reshape(self._E.shape)[self._at].reshape(self._out_shape)
        return y_dot  # Y_i' = E_i'[x_i]

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        by_vector, at = out.reshape(self._E.shape), self._at.ravel()
        for j, column in enumerate(delta_dot.reshape(-1, self.width).T):
            by_vector[:, j] = np.bincount(at, column, len(by_vector))  # sum of D_ri' where x_ri = k
        dx, dx_dot = np.zeros((2, *self._shape), self._E.dtype)
        return dx, dx_dot

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y = self.E.take(self._rows(x), axis=0, mode="clip").reshape(len(x), self.n_out)
        if out is None:
            return y
        out[...] = y
        return out


class Columns(Container):
    """Chains side by side, each on columns of its own: Y = [f_1(X_1), f_2(X_2), ...] with X = [X_1, X_2, ...].

    With D = [D_1, D_2, ...] = dE/dY::

        dE/dX = [(df_1/dX_1)^T D_1, (df_2/dX_2)^T D_2, ...]

    Parameters
    ----------
    widths : sequence of int
        How many columns each chain takes, from left to right.
    branches : list of lists of Layer
        The chains f_i; an empty one passes its columns.

    Raises
    ------
    ValueError
        If there is not one chain for each width, or widths inside do not fit.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.layers.Columns([1, 1], [[], [dn.Tanh()]])], dtype="float64")
    >>> model.forward([[5.0, 1.0]]).round(4)
    array([[5.    , 0.7616]])
    """

    _chains = "branches"
    n_in: int
    n_out: int

    def __init__(self, widths: Sequence[int], branches: Sequence[Sequence[Layer]]) -> None:
        self.widths = [positive_int(width, "Columns", "every width") for width in widths]
        self.branches = tuple(check_layers(branch, "Columns") for branch in branches)
        if not self.widths or len(self.widths) != len(self.branches):
            raise ValueError(
                f"Columns expects a chain for each of its widths, got {len(self.widths)} widths and "
                f"{len(self.branches)} chains."
            )
        given = []
        for i, (width, branch) in enumerate(zip(self.widths, self.branches, strict=True)):
            if (wanted := chain_input(branch)) not in (None, width):
                raise ValueError(f"Columns, chain {i}, takes {wanted} columns, but its width is {width}.")
            given.append(chain_width(branch, width, f"Columns, chain {i}") or width)
        self.n_in, self.n_out = sum(self.widths), sum(given)
        self._from, self._to = _slices(self.widths), _slices(given)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Layer.__setstate__(self, state)
        given = [chain_width(b, w, "Columns") or w for w, b in zip(self.widths, self.branches, strict=True)]
        self._from, self._to = _slices(self.widths), _slices(given)

    @property
    def children(self) -> Sequence[Layer]:
        return [layer for branch in self.branches for layer in branch]

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape, self._out_shape = x.shape, (len(x), self.n_out)
            self._y = self._buffer("y", self._out_shape, x.dtype)
            self._dx = self._buffer("dx", x.shape, x.dtype)
            self._parts = [self._buffer(f"x{i}", (len(x), width), x.dtype) for i, width in enumerate(self.widths)]
            self._deltas = [
                self._buffer(f"d{i}", (len(x), to.stop - to.start), x.dtype) for i, to in enumerate(self._to)
            ]
        for branch, part, source, to in zip(self.branches, self._parts, self._from, self._to, strict=True):
            part[...] = x[:, source]
            y = part
            for layer in branch:
                y = layer.forward(y, training)
            self._y[:, to] = y  # Y_i = f_i(X_i)
        return self._y

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        for branch, d, to in zip(self.branches, self._deltas, self._to, strict=True):
            trained = [i for i, layer in enumerate(branch) if layer.n_params_inside]
            if trained:  # nothing is asked of the layers before the first that has parameters
                d[...] = delta[:, to]
                for layer in reversed(branch[trained[0] + 1 :]):
                    d = layer.backward(d)
                branch[trained[0]].backward_parameters(d)

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        for branch, d, source, to in zip(self.branches, self._deltas, self._from, self._to, strict=True):
            d[...] = delta[:, to]
            for layer in reversed(branch):
                d = layer.backward(d)
            self._dx[:, source] = d  # dE/dX_i = (df_i/dX_i)^T D_i
        return self._dx

    def tangent(self, x_dot: Array, v: Array) -> Array:
        y_dot = np.empty(self._out_shape, x_dot.dtype)
        for branch, source, to, span in zip(
            self.branches, self._from, self._to, chain_spans(self.branches), strict=True
        ):
            y_dot[:, to] = chain_tangent(branch, np.ascontiguousarray(x_dot[:, source]), v[span])  # Y_i' = (f_i(X_i))'
        return y_dot

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        dx, dx_dot = np.empty((2, *self._shape), delta.dtype)
        for branch, source, to, span in zip(
            self.branches, self._from, self._to, chain_spans(self.branches), strict=True
        ):
            part, part_dot = np.ascontiguousarray(delta[:, to]), np.ascontiguousarray(delta_dot[:, to])
            dx[:, source], dx_dot[:, source] = chain_tangent_backward(branch, part, part_dot, out[span])
        return dx, dx_dot

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y = np.empty((len(x), self.n_out), x.dtype) if out is None else out
        for branch, source, to in zip(self.branches, self._from, self._to, strict=True):
            part = np.ascontiguousarray(x[:, source])
            for layer in branch:
                part = layer.infer(part)
            y[:, to] = part
        return y


class Average(Container):
    """The mean of m chains on the same columns: Y = (f_1(X) + ... + f_m(X)) / m.

    With D = dE/dY::

        dE/dX = sum_i (df_i/dX)^T D / m

    Parameters
    ----------
    branches : list of lists of Layer
        The chains f_i.

    Raises
    ------
    ValueError
        If there is none, or they take or give different numbers of columns.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.layers.Average([[dn.Identity()], [dn.Tanh()]])], dtype="float64")
    >>> model.forward([[1.0]]).round(4)
    array([[0.8808]])
    """

    _chains = "branches"

    def __init__(self, branches: Sequence[Sequence[Layer]]) -> None:
        self.branches = tuple(check_layers(branch, "Average") for branch in branches)
        kinds = {branch[-1].gives if branch else "values" for branch in self.branches}
        if len(kinds) == 1 and kinds <= {"values", "probabilities"}:  # the mean of logarithms is none
            self.gives = kinds.pop()
        taken = {width for branch in self.branches if (width := chain_input(branch)) is not None}
        if not self.branches or len(taken) > 1:
            raise ValueError(f"Average expects chains that take as many columns, got {sorted(taken) or 'no chain'}.")
        self.n_in = taken.pop() if taken else None
        given = {chain_width(branch, self.n_in, f"Average, chain {i}") for i, branch in enumerate(self.branches)}
        if len(given) > 1:
            raise ValueError(f"Average expects chains that give as many columns, got {sorted(map(str, given))}.")
        self.n_out = given.pop()

    @property
    def children(self) -> Sequence[Layer]:
        return [layer for branch in self.branches for layer in branch]

    def forward(self, x: Array, training: bool = True) -> Array:
        self._check_input(x)
        self._shape, m = x.shape, len(self.branches)
        for i, branch in enumerate(self.branches):
            y = x
            for layer in branch:
                y = layer.forward(y, training)
            if i == 0:
                total = self._buffer("y", y.shape, y.dtype)
                total.fill(0)
            total += y
        total /= m  # Y = (f_1(X) + ... + f_m(X)) / m
        self._out_shape = total.shape
        return total

    def backward(self, delta: Array) -> Array:
        self._check_delta(delta)
        dx = self._buffer("dx", self._shape, delta.dtype)
        dx.fill(0)
        d = self._buffer("d", delta.shape, delta.dtype)
        for branch in self.branches:
            each = np.divide(delta, len(self.branches), out=d)
            for layer in reversed(branch):
                each = layer.backward(each)
            dx += each  # dE/dX = sum_i (df_i/dX)^T D / m
        return dx

    def tangent(self, x_dot: Array, v: Array) -> Array:
        parts = zip(self.branches, chain_spans(self.branches), strict=True)
        y_dot: Array = np.mean([chain_tangent(branch, x_dot, v[span]) for branch, span in parts], axis=0)
        return y_dot  # Y' = ((f_1(X))' + ... + (f_m(X))') / m

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        dx, dx_dot = np.zeros((2, *self._shape), delta.dtype)
        d, d_dot = delta / len(self.branches), delta_dot / len(self.branches)
        for branch, span in zip(self.branches, chain_spans(self.branches), strict=True):
            of_branch, of_branch_dot = chain_tangent_backward(branch, d, d_dot, out[span])
            dx += of_branch
            dx_dot += of_branch_dot
        return dx, dx_dot

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        total: Array | None = None
        for branch in self.branches:
            y = x
            for layer in branch:
                y = layer.infer(y)
            total = y.copy() if total is None else np.add(total, y, out=total)
        assert total is not None
        return np.divide(total, len(self.branches), out=total if out is None else out)


def _slices(widths: Sequence[int]) -> list[slice]:
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


class Blend(Layer):
    """An activation f that learns how much it bends, column by column: Y = X + (f(X) - X) diag(a).

    With D = dE/dY, over rows r::

        dE/da = sum_r D_r (f(x_r) - x_r)        dE/dX = D (1 - a) + D a f'(X)

    Parameters
    ----------
    n : int
        Columns.
    function : str or Activation, default "selu"
        f.

    Attributes
    ----------
    a, da : ndarray (n,)
        Views of the model's `params` and `grads`. a starts at 1, where Y = f(X).

    Raises
    ------
    TypeError
        If `function` is no `Activation`.

    References
    ----------
    .. [1] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data" (2024), arXiv:2407.04491, section 3 (parametric activations).

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.layers.Blend(2, "relu")], dtype="float64")
    >>> model.layers[0].a = [1.0, 0.5]
    >>> model.forward([[-2.0, -2.0]])
    array([[ 0., -1.]])
    """

    a, da = Parameter(), Parameter()
    n_in: int
    n_out: int

    _a: Array
    _da: Array

    def __init__(self, n: int, function: Any = "selu") -> None:
        self.n = self.n_in = self.n_out = positive_int(n, "Blend", "n")
        made = activation(function)
        if not isinstance(made, Activation):
            raise TypeError(f"Blend expects a function of one number, an Activation, got {function!r}.")
        self.function = made

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"a": (self.n,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.a[...] = 1

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape = self._out_shape = x.shape
            self._bend, self._y, self._d = (self._buffer(name, x.shape, self._a.dtype) for name in ("bend", "y", "d"))
        np.subtract(self.function.forward(x, training), x, out=self._bend)
        np.multiply(self._bend, self._a, out=self._y)
        return np.add(self._y, x, out=self._y)  # Y = X + (f(X) - X) diag(a)

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        np.einsum("ri,ri->i", delta, self._bend, out=self._da)  # dE/da = sum_r D_r (f(x_r) - x_r)

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        np.multiply(delta, self._a, out=self._d)
        delta -= self._d
        delta += self.function.backward(self._d)  # dE/dX = D (1 - a) + D a f'(X)
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._v, bent = v, self.function.tangent(x_dot, v[:0])
        self._bend_dot = bent - x_dot
        y_dot: Array = x_dot + self._bend_dot * self._a + self._bend * v
        return y_dot  # Y' = X' + (f(X) - X)' diag(a) + (f(X) - X) diag(a')

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        out[...] = (delta_dot * self._bend + delta * self._bend_dot).sum(axis=0)
        d, d_dot = delta * self._a, delta_dot * self._a + delta * self._v
        bent, bent_dot = self.function.tangent_backward(d, d_dot, out[:0])
        return delta - d + bent, delta_dot - d_dot + bent_dot

    def infer(self, x: Array, out: Array | None = None) -> Array:
        y = self.function.infer(x, out)
        y -= x
        y *= self.a
        y += x
        return y


class Clip(Layer):
    """Outputs that keep to a range, but for training: Y = X in training, otherwise Y = min(max(X, low), high).

    With D = dE/dY, dE/dX = D in training, otherwise D where low <= X <= high and 0 elsewhere.

    Parameters
    ----------
    low, high : sequence of float
        The range of every column.

    Raises
    ------
    ValueError
        If there are not as many upper as lower limits, or one is below.

    References
    ----------
    .. [1] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data" (2024), arXiv:2407.04491, section 3 (clamped outputs for regression).

    Examples
    --------
    >>> import densenet as dn
    >>> dn.Sequential([dn.layers.Clip([0.0], [1.0])]).predict([[-3.0], [0.5]])
    array([[0. ],
           [0.5]], dtype=float32)
    """

    n_in: int
    n_out: int

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        self.low, self.high = [float(value) for value in low], [float(value) for value in high]
        if not self.low or len(self.low) != len(self.high) or not all(map(float.__le__, self.low, self.high)):
            raise ValueError(f"Clip expects a range for each column, lower limits first, got {low!r} and {high!r}.")
        self.n_in = self.n_out = len(self.low)

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            self._shape = self._out_shape = x.shape
        self._inside = None
        if training:
            return x
        y = np.clip(x, self.low, self.high, out=self._buffer("y", x.shape, x.dtype), casting="same_kind")
        self._inside = x == y
        return y

    def backward(self, delta: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        if self._inside is not None:
            delta *= self._inside  # dE/dX = D where low <= X <= high
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        return x_dot.copy() if self._inside is None else x_dot * self._inside  # Y' = X' where low <= X <= high

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        inside = True if self._inside is None else self._inside
        return delta * inside, delta_dot * inside

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y = np.empty(x.shape, x.dtype) if out is None else out
        return np.clip(x, self.low, self.high, out=y, casting="same_kind")
