"""Bringing numbers to mean 0 and variance 1 between layers, and giving each column back a scale of its own.

Weights learn fastest where their inputs are of one size. `BatchNorm` takes mean and variance over the rows of a batch,
column by column; `LayerNorm` and `RMSNorm` over the columns of a row, sample by sample. The learned gamma and beta let
the network undo what it does not want. `Scale` is that last step alone.

Mean and variance depend on every number they were taken over, so that each number has three ways to the error: its
own, and one through either statistic. The backward equations are the sums of the three.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet._validation import is_number, positive, positive_int
from densenet.layers.base import Layer, Parameter


def _inverse_root(v: Array, eps: float, out: Array) -> None:
    np.add(v, eps, out=out)
    np.sqrt(out, out=out)
    np.reciprocal(out, out=out)  # 1 / sqrt(v + eps)


class _Columns(Layer):
    """Base of normalizations: as many columns out as in, a gamma for each that starts at 1, and sums made by BLAS."""

    gamma, dgamma = Parameter(), Parameter()
    undecayed: ClassVar[tuple[str, ...]] = ("gamma", "beta")

    n: int
    _gamma: Array
    _dgamma: Array
    _y: Array
    _xhat: Array
    _w: Array
    _ones: Array

    def _set_width(self, n: Any) -> None:
        self.n = self.n_in = self.n_out = positive_int(n, type(self).__name__, "n")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"gamma": (self.n,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.gamma[...] = 1

    def bind(self, params: Array, grads: Array) -> None:
        Layer.bind(self, params, grads)
        sums = products(params.dtype)
        self._column_sums, self._row_sums = sums.column_sums, sums.row_sums

    def resize(self, x: Array) -> None:
        """Make the arrays that depend on the shape of x; `forward` calls it when the shape changes."""
        self._check_input(x)
        dtype = self.gamma.dtype
        self._shape = self._out_shape = x.shape
        self._y = self._buffer("y", x.shape, dtype)
        self._xhat = self._buffer("xhat", x.shape, dtype)
        self._w = self._buffer("w", x.shape, dtype)
        self._ones = self._buffer("ones", (max(x.shape),), dtype)
        self._ones[...] = 1

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        np.multiply(delta, self._xhat, out=self._w)
        self._column_sums(self._w, self._ones[: len(delta)], self._dgamma)  # dE/dgamma = sum_s D_s xhat_s

    def backward_samples(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        np.multiply(delta, self._xhat, out=out[:, : self.n])  # dE_s/dgamma = D_s xhat_s
        if out.shape[1] > self.n:
            out[:, self.n :] = delta  # dE_s/dbeta = D_s
        return self.backward(delta)

    def _moved(self, xhat_dot: Array, v: Array) -> Array:
        """(gamma xhat + beta)' for xhat' and v = [gamma', beta']."""
        self._xhat_dot, self._v = xhat_dot, v[: self.n]
        y_dot: Array = xhat_dot * self._gamma + self._xhat * self._v
        if len(v) > self.n:
            y_dot += v[self.n :]
        return y_dot

    def _moved_gradients(self, delta: Array, delta_dot: Array, out: Array) -> None:
        out[: self.n] = (delta_dot * self._xhat + delta * self._xhat_dot).sum(axis=0)
        if len(out) > self.n:
            out[self.n :] = delta_dot.sum(axis=0)


class BatchNorm(_Columns):
    """Every column to mean 0 and variance 1 over the batch: y = gamma xhat + beta, xhat = (x - m) / sqrt(v + eps).

    In training, m and v are the batch's own mean and (biased) variance, column by column; otherwise the running ones,
    which each training pass over n rows moves::

        running_mean <- (1 - momentum) running_mean + momentum m
        running_var  <- (1 - momentum) running_var  + momentum v n / (n - 1)

    One row has no unbiased variance and leaves the running variance alone. Of several ranks (`Trainer(communicator=)`)
    each takes m and v of its own rows, and the running ones are means over the ranks, so that the run is not quite that
    of one process. With D = dE/dY, over rows s::

        dE/dgamma = sum_s D_s xhat_s        dE/dbeta = sum_s D_s
        dE/dX = gamma / sqrt(v + eps) (D - dE/dbeta / n - xhat dE/dgamma / n)    with the batch's own m and v
        dE/dX = gamma / sqrt(v + eps) D                                          with the running ones

    Parameters
    ----------
    n : int
        Columns.
    momentum : float in [0, 1], default 0.1
        Share of the batch in the running statistics.
    eps : float, default 1e-5
        Added to the variance.

    Attributes
    ----------
    gamma, dgamma, beta, dbeta : ndarray (n,)
        Views of the model's `params` and `grads`. They start at 1 and 0; weight decay leaves them alone.
    running_mean, running_var : ndarray (n,)
        They start at 0 and 1.

    Raises
    ------
    ValueError
        If `n` is not a positive whole number, `momentum` is outside [0, 1] or `eps` is not above 0; by `forward` if x
        has any shape but (n, columns).

    References
    ----------
    .. [1] Ioffe, Szegedy, "Batch normalization" (2015), algorithm 1 and section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.BatchNorm(1)], dtype="float64")
    >>> model.forward([[1.0], [3.0]]).round(4)
    array([[-1.],
           [ 1.]])
    >>> model.layers[0].running_mean, model.layers[0].running_var
    (array([0.2]), array([1.1]))
    """

    beta, dbeta = Parameter(), Parameter()
    state_names: ClassVar[tuple[str, ...]] = ("running_mean", "running_var")
    couples_samples: ClassVar[bool] = True

    running_mean: Array
    running_var: Array
    _beta: Array
    _dbeta: Array

    def __init__(self, n: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self._set_width(n)
        if not is_number(momentum) or not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm expects momentum in [0, 1], got {momentum!r}.")
        self.momentum = float(momentum)
        self.eps = positive(eps, "BatchNorm", "eps")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"gamma": (self.n,), "beta": (self.n,)}

    def reset_state(self, dtype: Any) -> None:
        self.running_mean = np.zeros(self.n, dtype)
        self.running_var = np.ones(self.n, dtype)

    def initialize(self, rng: np.random.Generator) -> None:
        self.gamma[...] = 1
        self.beta[...] = 0

    def resize(self, x: Array) -> None:
        _Columns.resize(self, x)
        self._mean, self._var, self._inv, self._row = (
            self._buffer(name, (self.n,), self._y.dtype) for name in ("mean", "var", "inv", "row")
        )

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self.resize(x)
        xhat, y = self._xhat, self._y
        self._own_statistics = training
        if training:
            n, ones = len(x), self._ones[: len(x)]
            self._column_sums(x, ones, self._mean)
            self._mean /= n  # m = 1/n sum_s x_s
            np.subtract(x, self._mean, out=xhat)
            np.multiply(xhat, xhat, out=y)
            self._column_sums(y, ones, self._var)
            self._var /= n  # v = 1/n sum_s (x_s - m)^2
            _inverse_root(self._var, self.eps, self._inv)
            self._move_running_statistics(n)
        else:
            np.subtract(x, self.running_mean, out=xhat)
            _inverse_root(self.running_var, self.eps, self._inv)
        xhat *= self._inv  # xhat = (x - m) / sqrt(v + eps)
        np.multiply(xhat, self._gamma, out=y)
        y += self._beta  # y = gamma xhat + beta
        return y

    def _move_running_statistics(self, n: int) -> None:
        self._mean *= self.momentum
        self.running_mean *= 1 - self.momentum
        self.running_mean += self._mean  # r <- (1 - momentum) r + momentum m
        if n > 1:
            self._var *= self.momentum * n / (n - 1)
            self.running_var *= 1 - self.momentum
            self.running_var += self._var  # r <- (1 - momentum) r + momentum v n / (n - 1)

    def backward_parameters(self, delta: Array) -> None:
        _Columns.backward_parameters(self, delta)
        self._column_sums(delta, self._ones[: len(delta)], self._dbeta)  # dE/dbeta = sum_s D_s

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        if self._own_statistics:
            np.divide(self._dbeta, len(delta), out=self._row)
            delta -= self._row  # D - dE/dbeta / n
            np.divide(self._dgamma, len(delta), out=self._row)
            np.multiply(self._xhat, self._row, out=self._w)
            delta -= self._w  # D - dE/dbeta / n - xhat dE/dgamma / n
        np.multiply(self._gamma, self._inv, out=self._row)
        delta *= self._row  # dE/dX = gamma / sqrt(v + eps) (D - dE/dbeta / n - xhat dE/dgamma / n)
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        gamma, inv = self.gamma, np.empty_like(self.running_var)
        _inverse_root(self.running_var, self.eps, inv)
        y = np.subtract(x, self.running_mean, out=out)
        y *= inv
        y *= gamma
        y += self._beta  # y = gamma (x - m) / sqrt(v + eps) + beta
        return y

    def backward_samples(self, delta: Array, out: Array) -> Array:
        self._refuse_own_statistics()
        return _Columns.backward_samples(self, delta, out)

    def _refuse_own_statistics(self) -> None:
        if self._own_statistics:
            raise ValueError(
                "BatchNorm with the batch's own statistics couples samples, so that a sample has no derivative of its "
                "own: call forward(x, training=False)."
            )

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._refuse_own_statistics()
        return self._moved(x_dot * self._inv, v)  # xhat' = x' / sqrt(v + eps)

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        self._moved_gradients(delta, delta_dot, out)
        dx_dot = self._inv * (delta_dot * self._gamma + delta * self._v)
        return delta * (self._gamma * self._inv), dx_dot


class _Rows(_Columns):
    """What normalizations over a row share: with u = C x (C takes the row's mean away, or is 1), xhat = u r."""

    mixes: ClassVar[bool] = True

    _inv: Array

    @staticmethod
    @abstractmethod
    def _centred(x: Array) -> Array:
        """C x."""

    def tangent(self, x_dot: Array, v: Array) -> Array:
        xhat, u_dot = self._xhat, self._centred(x_dot)
        self._shrinkage = -self._inv * _row_means(xhat * u_dot)  # r' / r = -r mean(xhat u')
        return self._moved(u_dot * self._inv + xhat * self._shrinkage, v)  # xhat' = u' r + u r'

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        self._moved_gradients(delta, delta_dot, out)
        xhat, xhat_dot = self._xhat, self._xhat_dot
        g, g_dot = delta * self._gamma, delta_dot * self._gamma + delta * self._v
        dx = self._inv * (self._centred(g) - xhat * _row_means(g * xhat))
        dx_dot = self._centred(g_dot) - xhat_dot * _row_means(g * xhat) - xhat * _row_means(g_dot * xhat + g * xhat_dot)
        dx_dot *= self._inv
        dx_dot += dx * self._shrinkage
        return dx, dx_dot


def _row_means(x: Array) -> Array:
    means: Array = x.mean(axis=1, keepdims=True)
    return means


class LayerNorm(_Rows):
    """Every row to mean 0 and variance 1: y = gamma xhat + beta, xhat = (x - m) / sqrt(v + eps).

    m and v are the row's own mean and (biased) variance. With D = dE/dY and G = gamma D, over rows s::

        dE/dgamma = sum_s D_s xhat_s        dE/dbeta = sum_s D_s
        dE/dX = (G - mean(G) - xhat mean(G xhat)) / sqrt(v + eps)        means over the row

    Parameters
    ----------
    n : int
        Columns.
    eps : float, default 1e-5
        Added to the variance.

    Attributes
    ----------
    gamma, dgamma, beta, dbeta : ndarray (n,)
        Views of the model's `params` and `grads`. They start at 1 and 0; weight decay leaves them alone.

    Raises
    ------
    ValueError
        If `n` is not a positive whole number or `eps` is not above 0; by `forward` if x has any shape but (n, columns).

    References
    ----------
    .. [1] Ba, Kiros, Hinton, "Layer normalization" (2016), section 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.LayerNorm(3)], dtype="float64")
    >>> model.forward([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]).round(4)
    array([[-1.2247,  0.    ,  1.2247],
           [-1.2247,  0.    ,  1.2247]])
    """

    beta, dbeta = Parameter(), Parameter()

    _beta: Array
    _dbeta: Array

    def __init__(self, n: int, *, eps: float = 1e-5) -> None:
        self._set_width(n)
        self.eps = positive(eps, "LayerNorm", "eps")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"gamma": (self.n,), "beta": (self.n,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.gamma[...] = 1
        self.beta[...] = 0

    def resize(self, x: Array) -> None:
        _Columns.resize(self, x)
        self._mean = self._buffer("mean", (len(x), 1), self._y.dtype)
        self._inv = self._buffer("inv", (len(x), 1), self._y.dtype)

    def _values(self, x: Array, y: Array, xhat: Array, mean: Array, inv: Array, ones: Array) -> None:
        self._row_sums(x, ones, mean[:, 0])
        mean /= self.n  # m = mean(x)
        np.subtract(x, mean, out=xhat)
        np.multiply(xhat, xhat, out=y)
        self._row_sums(y, ones, inv[:, 0])
        inv /= self.n  # v = mean((x - m)^2)
        _inverse_root(inv, self.eps, inv)
        xhat *= inv  # xhat = (x - m) / sqrt(v + eps)
        np.multiply(xhat, self._gamma, out=y)
        y += self._beta  # y = gamma xhat + beta

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self.resize(x)
        self._values(x, self._y, self._xhat, self._mean, self._inv, self._ones[: self.n])
        return self._y

    def backward_parameters(self, delta: Array) -> None:
        _Columns.backward_parameters(self, delta)
        self._column_sums(delta, self._ones[: len(delta)], self._dbeta)  # dE/dbeta = sum_s D_s

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        mean, ones = self._mean, self._ones[: self.n]
        delta *= self._gamma  # G = gamma D
        np.multiply(delta, self._xhat, out=self._w)
        self._row_sums(delta, ones, mean[:, 0])
        mean /= self.n
        delta -= mean  # G - mean(G)
        self._row_sums(self._w, ones, mean[:, 0])
        mean /= self.n
        np.multiply(self._xhat, mean, out=self._w)
        delta -= self._w  # G - mean(G) - xhat mean(G xhat)
        delta *= self._inv  # dE/dX = (G - mean(G) - xhat mean(G xhat)) / sqrt(v + eps)
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        dtype = self.gamma.dtype
        y = np.empty(x.shape, dtype) if out is None else out
        mean, inv = np.empty((2, len(x), 1), dtype)
        self._values(x, y, np.empty(x.shape, dtype), mean, inv, np.ones(self.n, dtype))
        return y

    @staticmethod
    def _centred(x: Array) -> Array:
        centred: Array = x - _row_means(x)
        return centred


class RMSNorm(_Rows):
    """Every row to mean square 1: y = gamma xhat, xhat = x / sqrt(q + eps).

    q = mean(x^2) over the row. With D = dE/dY and G = gamma D, over rows s::

        dE/dgamma = sum_s D_s xhat_s
        dE/dX = (G - xhat mean(G xhat)) / sqrt(q + eps)        mean over the row

    Parameters
    ----------
    n : int
        Columns.
    eps : float, optional
        Added to the mean square; by default the gap between 1 and the next float of the model's dtype.

    Attributes
    ----------
    gamma, dgamma : ndarray (n,)
        Views of the model's `params` and `grads`. gamma starts at 1; weight decay leaves it alone.

    Raises
    ------
    ValueError
        If `n` is not a positive whole number or `eps` is not above 0; by `forward` if x has any shape but (n, columns).

    References
    ----------
    .. [1] Zhang, Sennrich, "Root mean square layer normalization" (2019), equation 4.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.RMSNorm(2)], dtype="float64")
    >>> model.forward([[1.0, 7.0], [0.0, 0.0]]).round(4)
    array([[0.2, 1.4],
           [0. , 0. ]])
    """

    def __init__(self, n: int, *, eps: float | None = None) -> None:
        self._set_width(n)
        self.eps = None if eps is None else positive(eps, "RMSNorm", "eps")

    def resize(self, x: Array) -> None:
        _Columns.resize(self, x)
        self._mean = self._buffer("mean", (len(x), 1), self._y.dtype)
        self._inv = self._buffer("inv", (len(x), 1), self._y.dtype)

    def _values(self, x: Array, y: Array, xhat: Array, inv: Array, ones: Array) -> None:
        eps = float(np.finfo(y.dtype).eps) if self.eps is None else self.eps
        np.multiply(x, x, out=y)
        self._row_sums(y, ones, inv[:, 0])
        inv /= self.n  # q = mean(x^2)
        _inverse_root(inv, eps, inv)
        np.multiply(x, inv, out=xhat)  # xhat = x / sqrt(q + eps)
        np.multiply(xhat, self._gamma, out=y)  # y = gamma xhat

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self.resize(x)
        self._values(x, self._y, self._xhat, self._inv, self._ones[: self.n])
        return self._y

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        delta *= self._gamma  # G = gamma D
        np.multiply(delta, self._xhat, out=self._w)
        self._row_sums(self._w, self._ones[: self.n], self._mean[:, 0])
        self._mean /= self.n
        np.multiply(self._xhat, self._mean, out=self._w)
        delta -= self._w  # G - xhat mean(G xhat)
        delta *= self._inv  # dE/dX = (G - xhat mean(G xhat)) / sqrt(q + eps)
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        dtype = self.gamma.dtype
        y = np.empty(x.shape, dtype) if out is None else out
        self._values(x, y, np.empty(x.shape, dtype), np.empty((len(x), 1), dtype), np.ones(self.n, dtype))
        return y

    @staticmethod
    def _centred(x: Array) -> Array:
        return x


class Scale(Layer):
    """Every column times a number of its own: Y = X diag(s).

    With D = dE/dY, over rows r::

        dE/ds = sum_r D_r x_r        dE/dX = D diag(s)

    Parameters
    ----------
    n : int
        Columns.

    Attributes
    ----------
    s, ds : ndarray (n,)
        Views of the model's `params` and `grads`. s starts at 1; weight decay leaves it alone.

    Raises
    ------
    ValueError
        If `n` is not a positive whole number; by `forward` if x has any shape but (n, columns).

    References
    ----------
    .. [1] Touvron et al., "Going deeper with image transformers" (2021), equation 3.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Scale(2)], dtype="float64")
    >>> model.layers[0].s = [10.0, 1.0]
    >>> model.forward([[1.0, 2.0]])
    array([[10.,  2.]])
    """

    s, ds = Parameter(), Parameter()
    undecayed: ClassVar[tuple[str, ...]] = ("s",)

    _x: Array
    _s: Array
    _ds: Array

    def __init__(self, n: int) -> None:
        self.n = self.n_in = self.n_out = positive_int(n, "Scale", "n")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"s": (self.n,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.s[...] = 1

    def bind(self, params: Array, grads: Array) -> None:
        Layer.bind(self, params, grads)
        self._column_sums = products(params.dtype).column_sums

    def forward(self, x: Array, training: bool = True) -> Array:
        if x.shape != self._shape:
            self._check_input(x)
            dtype = self.s.dtype
            self._shape = self._out_shape = x.shape
            self._y = self._buffer("y", x.shape, dtype)
            self._w = self._buffer("w", x.shape, dtype)
            self._ones = self._buffer("ones", (len(x),), dtype)
            self._ones[...] = 1
        self._x = x
        return np.multiply(x, self._s, out=self._y)  # Y = X diag(s)

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        np.multiply(delta, self._x, out=self._w)
        self._column_sums(self._w, self._ones, self._ds)  # dE/ds = sum_r D_r x_r

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        delta *= self._s  # dE/dX = D diag(s)
        return delta

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        return np.multiply(x, self.s, out=out)  # Y = X diag(s)

    def backward_samples(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        np.multiply(delta, self._x, out=out)  # dE_r/ds = D_r x_r
        delta *= self._s
        return delta

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._x_dot, self._v = x_dot, v
        y_dot: Array = x_dot * self._s + self._x * v
        return y_dot  # Y' = X' diag(s) + X diag(v)

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        out[...] = (delta_dot * self._x + delta * self._x_dot).sum(axis=0)
        return delta * self._s, delta_dot * self._s + delta * self._v
