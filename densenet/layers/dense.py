"""The fully connected layer: every output is a weighted sum of every input."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np

from densenet import initializers
from densenet._blas import ADDED, ANEW, AS_IS, IN_PLACE, ONCE, TRANSPOSED, products
from densenet._types import Array
from densenet._validation import nonnegative, positive_int
from densenet.initializers import Initializer
from densenet.layers.base import Layer, Parameter


class Dense(Layer):
    """Affine map of every row: Z = X W + 1 b^T.

    With D = dE/dZ the chain rule gives::

        dE/dW = X^T D        dE/db = D^T 1        dE/dX = D W^T

    Parameters
    ----------
    n_in, n_out : int
        Columns of X and of Z.
    use_bias : bool, default True
        Whether 1 b^T is added.
    kernel_initializer : str or Initializer, default "glorot_uniform"
        Fills W; see `densenet.initializers`.
    bias_initializer : str or Initializer, default "zeros"
        Fills b.
    kernel_l1, kernel_l2 : float, default 0.0
        Adds kernel_l1 sum |W| + kernel_l2 sum W^2 to the error; reported apart from the loss.
    max_norm : float, optional
        After each update, a column of W (the weights into one neuron) that is longer is scaled down to this length.

    Attributes
    ----------
    W, dW : ndarray (n_in, n_out)
    b, db : ndarray (n_out,)
        Views of the model's `params` and `grads`. Assigning copies the values in.

    Raises
    ------
    ValueError
        If a width is not a positive whole number or a penalty is negative; by `forward` if x has any shape but
        (n, n_in); by `backward` if delta has not the shape of the output.
    RuntimeError
        By `backward` without a `forward` before it.

    References
    ----------
    .. [1] Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986),
       equations 1, 5, 6 and 7.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(2, 1)], dtype="float64")
    >>> model.layers[0].W = [[3.0], [4.0]]
    >>> model.layers[0].b = [0.5]
    >>> model.forward([[1.0, 2.0]])
    array([[11.5]])
    >>> model.backward([[1.0]])
    array([[3., 4.]])
    >>> model.layers[0].dW
    array([[1.],
           [2.]])
    """

    W, dW = Parameter(), Parameter()
    b, db = Parameter(), Parameter()
    undecayed: ClassVar[tuple[str, ...]] = ("b",)
    n_in: int
    n_out: int

    _x: Any
    _xT: Array
    _sparse: Any
    _W: Array
    _dW: Array
    _b: Array
    _db: Array

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_l1: float = 0.0,
        kernel_l2: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        self.n_in = positive_int(n_in, "Dense", "n_in")
        self.n_out = positive_int(n_out, "Dense", "n_out")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_l1 = nonnegative(kernel_l1, "Dense", "kernel_l1")
        self.kernel_l2 = nonnegative(kernel_l2, "Dense", "kernel_l2")
        self.max_norm = None if max_norm is None else nonnegative(max_norm, "Dense", "max_norm")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"W": (self.n_in, self.n_out)}
        if self.use_bias:
            shapes["b"] = (self.n_out,)
        return shapes

    def initialize(self, rng: np.random.Generator) -> None:
        self.kernel_initializer(self.W, rng)
        if self.use_bias:
            self.bias_initializer(self.b, rng)

    def bind(self, params: Array, grads: Array) -> None:
        Layer.bind(self, params, grads)
        blas = products(params.dtype)
        self._nn, self._tn, self._nt, self._column_sums = blas.nn, blas.tn, blas.nt, blas.column_sums
        self._gemm, self._gemv = blas.gemm, blas.gemv
        # BLAS thinks in columns: it is handed transposes, which are views, and kept, for making them takes time
        self._WT, self._dWT = self._W.T, self._dW.T
        self._kept_z = ADDED if self.use_bias else ANEW
        self._x = self._sparse = None

    def _resize(self, x: Array) -> None:
        self._check_input(x)
        dtype = self.W.dtype
        self._shape, self._out_shape = x.shape, (len(x), self.n_out)
        self._z = self._buffer("z", self._out_shape, dtype)
        self._dx = self._buffer("dx", self._shape, dtype)
        self._zT, self._dxT = self._z.T, self._dx.T
        self._ones = self._buffer("ones", (len(x),), dtype)
        self._ones[...] = 1

    def forward(self, x: Array, training: bool = True) -> Array:
        if x is not self._x:
            if not isinstance(x, np.ndarray):
                return self._forward_sparse(x)
            if x.shape != self._shape:
                self._resize(x)
            self._x, self._xT, self._sparse = x, x.T, None
        if self.use_bias:
            self._z[...] = self._b
        self._gemm(ONCE, self._WT, self._xT, self._kept_z, self._zT, AS_IS, AS_IS, IN_PLACE)  # Z = X W + 1 b^T
        return self._z

    def _forward_sparse(self, x: Any) -> Array:
        """The same for the rows of a SciPy sparse matrix, which the estimators pass to the first layer."""
        self._check_input(x)
        self._shape, self._out_shape = (), (x.shape[0], self.n_out)
        self._ones = self._buffer("ones", (x.shape[0],), self.W.dtype)
        self._ones[...] = 1
        self._x, self._sparse, z = None, x, x @ self._W
        if self.use_bias:
            z += self._b  # Z = X W + 1 b^T
        return cast(Array, z)

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        dT = delta.T
        if self._sparse is None:
            self._gemm(ONCE, dT, self._xT, ANEW, self._dWT, AS_IS, TRANSPOSED, IN_PLACE)  # dE/dW = X^T D
        else:
            self._dW[...] = self._sparse.T @ delta
        if self.use_bias:
            self._gemv(ONCE, dT, self._ones, ANEW, self._db, 0, 1, 0, 1, AS_IS, IN_PLACE)  # dE/db = D^T 1

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        self._gemm(ONCE, self._WT, delta.T, ANEW, self._dxT, TRANSPOSED, AS_IS, IN_PLACE)  # dE/dX = D W^T
        return self._dx

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        z = np.empty((x.shape[0], self.n_out), self.W.dtype) if out is None else out
        z[...] = self._b if self.use_bias else 0.0
        if isinstance(x, np.ndarray):
            self._nn(x, self._W, z, ADDED)  # Z = X W + 1 b^T
        else:
            z += x @ self._W
        return z

    @property
    def penalised(self) -> bool:
        return self.kernel_l1 > 0 or self.kernel_l2 > 0

    def penalty(self) -> float:
        W = self.W
        return float(self.kernel_l1 * np.abs(W).sum() + self.kernel_l2 * np.square(W).sum())

    def add_penalty_gradients(self) -> None:
        if self.kernel_l1:
            self._dW += self.kernel_l1 * np.sign(self._W)  # d|w|/dw = sign w
        if self.kernel_l2:
            self._dW += (2 * self.kernel_l2) * self._W  # d(w^2)/dw = 2 w

    @property
    def constrained(self) -> bool:
        return self.max_norm is not None

    def constrain(self) -> None:
        if self.max_norm is not None:
            norms = np.sqrt(np.square(self._W).sum(axis=0))
            long = norms > self.max_norm
            self._W[:, long] *= self.max_norm / norms[long]

    def _split(self, v: Array) -> tuple[Array, Array]:
        """The parts of a vector that belong to W and to b."""
        weights = self.n_in * self.n_out
        return v[:weights].reshape(self.n_in, self.n_out), v[weights:]

    def backward_samples(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        n, weights = len(delta), self.n_in * self.n_out
        by_weight = out[:, :weights].reshape(n, self.n_in, self.n_out)
        np.multiply(self._x[:, :, None], delta[:, None, :], out=by_weight)  # dE_s/dW = x_s d_s^T
        if self.use_bias:
            out[:, weights:] = delta  # dE_s/db = d_s
        self._nt(delta, self._W, self._dx, ANEW)  # dE/dX = D W^T
        return self._dx

    def backward_norms(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        x_squared = np.einsum("si,si->s", self._x, self._x)
        if self.use_bias:
            x_squared += 1
        out += x_squared * np.einsum("sj,sj->s", delta, delta)  # |x_s d_s^T|^2 + |d_s|^2 = (|x_s|^2 + 1) |d_s|^2
        self._nt(delta, self._W, self._dx, ANEW)
        return self._dx

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._x_dot, (self._V, c) = x_dot, self._split(v)
        z_dot = np.empty(self._out_shape, self._W.dtype)
        z_dot[...] = c if self.use_bias else 0.0
        self._nn(x_dot, self._W, z_dot, ADDED)
        self._nn(self._x, self._V, z_dot, ADDED)  # Z' = X' W + X V + 1 c^T
        return z_dot

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        by_weight, by_bias = self._split(out)
        self._tn(self._x_dot, delta, by_weight, ANEW)
        self._tn(self._x, delta_dot, by_weight, ADDED)  # (X^T D)' = X'^T D + X^T D'
        if self.use_bias:
            self._column_sums(delta_dot, self._ones, by_bias)  # (D^T 1)' = D'^T 1
        dx, dx_dot = np.empty((2, *self._shape), self._W.dtype)
        self._nt(delta, self._W, dx, ANEW)
        self._nt(delta_dot, self._W, dx_dot, ANEW)
        self._nt(delta, self._V, dx_dot, ADDED)  # (D W^T)' = D' W^T + D V^T
        return dx, dx_dot
