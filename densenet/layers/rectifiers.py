"""Functions that pass positive numbers on and hold negative ones back.

Where x is positive the slope is 1 or near it, so that a delta passes many layers without fading. `ReLU` cuts the
other side off; the rest leave something there, so that no neuron goes silent for good, or round the corner off.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet._validation import finite, positive
from densenet.layers.base import Parameter
from densenet.layers.elementwise import Activation
from densenet.layers.sigmoids import exp_bounded

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717

_ZERO = {np.dtype(kind): np.zeros((), kind) for kind in (np.float16, np.float32, np.float64, np.longdouble)}
"""0 by dtype: ufuncs take a 0-d array in half the time of a number."""


class ReLU(Activation):
    """f(x) = max(x, 0), with f'(x) = 1 for x > 0, else 0.

    References
    ----------
    .. [1] Nair, Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> relu = dn.ReLU()
    >>> relu.forward(np.array([[-1.0, 0.0, 2.0]]))
    array([[0., 0., 2.]])
    >>> relu.slopes()
    array([[0., 0., 1.]])
    """

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.maximum(x, _ZERO[x.dtype], out=out)  # y = max(x, 0)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out[...] = x > _ZERO[x.dtype]  # f' = 1 where x > 0

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out.fill(0)  # f'' = 0


def _leaky(x: Array, slope: float, out: Array) -> None:
    np.multiply(x, slope, out=out)
    join = np.maximum if slope <= 1 else np.minimum
    join(x, out, out=out)  # y = x where x > 0, else slope x


def _leaky_slope(x: Array, slope: float, out: Array) -> None:
    out[...] = x > 0
    out *= 1 - slope
    out += slope  # f' = 1 where x > 0, else slope


class LeakyReLU(Activation):
    """f(x) = x for x > 0, else s x, with f'(x) = 1 for x > 0, else s.

    Parameters
    ----------
    negative_slope : float, default 0.01
        s.

    Raises
    ------
    ValueError
        If `negative_slope` is not a finite number.

    References
    ----------
    .. [1] Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.LeakyReLU(0.1).infer(np.array([[-1.0, 0.0, 2.0]]))
    array([[-0.1,  0. ,  2. ]])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = finite(negative_slope, "LeakyReLU", "negative_slope")

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        _leaky(x, self.negative_slope, out)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        _leaky_slope(x, self.negative_slope, out)

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out.fill(0)  # f'' = 0


class PReLU(Activation):
    """f(x) = x for x > 0, else a x, with one learned a for all columns that starts at 0.25.

    With D = dE/dY the chain rule gives::

        dE/da = sum over x_ij <= 0 of D_ij x_ij        dE/dx_ij = D_ij for x_ij > 0, else a D_ij

    Attributes
    ----------
    a, da : ndarray (1,)
        Views of the model's `params` and `grads`. Weight decay leaves a alone.

    References
    ----------
    .. [1] He et al., "Delving deep into rectifiers" (2015), equation 1.

    Examples
    --------
    >>> import densenet as dn
    >>> model = dn.Sequential([dn.PReLU()], dtype="float64")
    >>> model.forward([[-1.0, 0.0, 2.0]])
    array([[-0.25,  0.  ,  2.  ]])
    >>> model.backward([[1.0, 1.0, 1.0]])
    array([[0.25, 0.25, 1.  ]])
    >>> model.layers[0].da
    array([-1.])
    """

    a, da = Parameter(), Parameter()
    undecayed: ClassVar[tuple[str, ...]] = ("a",)

    _a: Array
    _da: Array

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"a": (1,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.a[...] = 0.25

    def bind(self, params: Array, grads: Array) -> None:
        Activation.bind(self, params, grads)
        self._dot = products(params.dtype).dot

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        _leaky(x, float(self.a[0]), out)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        _leaky_slope(x, float(self._a[0]), out)

    def backward_parameters(self, delta: Array) -> None:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        left = np.minimum(self._x, 0, out=self._buffer("left", delta.shape, self._y.dtype))
        self._da[0] = self._dot(delta.ravel(), left.ravel())  # dE/da = sum D min(x, 0)

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        return Activation.backward(self, delta)

    def backward_samples(self, delta: Array, out: Array) -> Array:
        if delta.shape != self._out_shape:
            self._check_delta(delta)
        left = np.minimum(self._x, 0, out=self._buffer("left", delta.shape, self._y.dtype))
        np.einsum("sj,sj->s", delta, left, out=out[:, 0])  # dE_s/da = sum_j D_sj min(x_sj, 0)
        return Activation.backward(self, delta)

    def tangent(self, x_dot: Array, v: Array) -> Array:
        self._x_dot, self._v = x_dot, v[0]
        y_dot: Array = self.slopes() * x_dot + v[0] * np.minimum(self._x, 0)
        return y_dot  # Y' = f'(X) * X' + v min(X, 0)

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        slopes, left = self.slopes(), self._x <= 0
        out[0] = (delta_dot * np.minimum(self._x, 0) + delta * left * self._x_dot).sum()
        return delta * slopes, delta_dot * slopes + delta * left * self._v  # f'' = 0, and (a)' = v


def _exponential_side(x: Array, alpha: float, out: Array, spare: Array) -> None:
    """alpha (e^x - 1) where x <= 0, else 0."""
    np.minimum(x, 0, out=out)
    if x.dtype != np.float32:
        np.expm1(out, out=out)
        out *= alpha  # alpha (e^x - 1)
        return
    out *= 0.5  # NumPy's expm1 takes 2.7 times as long in float32
    np.tanh(out, out=out)
    np.subtract(1, out, out=spare)
    out /= spare
    out *= 2 * alpha  # alpha (e^x - 1) = 2 alpha t / (1 - t) with t = tanh(x / 2)


def _two_sided_slope(x: Array, left: float, right: float, w: Array, out: Array) -> None:
    out[...] = x > 0
    out *= right - left
    out += left
    out += w  # right where x > 0, else left + w


class ELU(Activation):
    """f(x) = x for x > 0, else alpha (e^x - 1), with f'(x) = 1 for x > 0, else y + alpha.

    Parameters
    ----------
    alpha : float, default 1.0
        The lower bound of y is -alpha.

    Raises
    ------
    ValueError
        If `alpha` is not a finite number above 0.

    References
    ----------
    .. [1] Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units"
       (2016).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.ELU().infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.6321,  0.    ,  2.    ]])
    """

    n_work: ClassVar[int] = 1

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = positive(alpha, "ELU", "alpha")

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        _exponential_side(x, self.alpha, work[0], out)
        np.maximum(x, 0, out=out)
        out += work[0]  # y = max(x, 0) + alpha (e^min(x, 0) - 1)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        _two_sided_slope(x, self.alpha, 1.0, work[0], out)  # f' = 1 where x > 0, else y + alpha

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.add(work[0], self.alpha, out=out)
        out *= x <= 0  # f'' = y + alpha where x <= 0, else 0


class SELU(Activation):
    """f(x) = lambda x for x > 0, else lambda alpha (e^x - 1), with f'(x) = lambda for x > 0, else y + lambda alpha.

    lambda = 1.0507 and alpha = 1.6733 keep mean 0 and variance 1 from layer to layer, given LeCun-normal weights.

    References
    ----------
    .. [1] Klambauer et al., "Self-normalizing neural networks" (2017), equation 2.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.SELU().infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-1.1113,  0.    ,  2.1014]])
    """

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        _exponential_side(x, SELU_SCALE * SELU_ALPHA, work[0], out)
        np.clip(x, 0, np.finfo(x.dtype).max / SELU_SCALE / 1.000001, out=out)  # lambda x stays finite
        out *= SELU_SCALE
        out += work[0]  # y = lambda (max(x, 0) + alpha (e^min(x, 0) - 1))

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        left = SELU_SCALE * SELU_ALPHA
        _two_sided_slope(x, left, SELU_SCALE, work[0], out)  # f' = lambda where x > 0, else y + lambda alpha

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.add(work[0], SELU_SCALE * SELU_ALPHA, out=out)
        out *= x <= 0  # f'' = y + lambda alpha where x <= 0, else 0


class CELU(Activation):
    """f(x) = x for x > 0, else alpha (e^(x / alpha) - 1), with f'(x) = 1 for x > 0, else y / alpha + 1.

    Parameters
    ----------
    alpha : float, default 1.0
        The lower bound of y is -alpha; the slope at 0 is 1 for every alpha.

    Raises
    ------
    ValueError
        If `alpha` is not a finite number above 0.

    References
    ----------
    .. [1] Barron, "Continuously differentiable exponential linear units" (2017).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.CELU(2.0).infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.7869,  0.    ,  2.    ]])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = positive(alpha, "CELU", "alpha")

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.clip(x, -100 * self.alpha, 0, out=out)  # below, e^(x / alpha) - 1 is -1 and x / alpha may overflow
        out /= self.alpha
        np.expm1(out, out=out)
        out *= self.alpha
        np.maximum(x, out, out=out)  # y = max(x, alpha (e^(min(x, 0) / alpha) - 1))

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.minimum(y, 0, out=out)
        out /= self.alpha
        out += 1  # f' = min(y, 0) / alpha + 1

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.minimum(y, 0, out=out)
        out /= self.alpha
        out += 1
        out /= self.alpha
        out *= x <= 0  # f'' = (y / alpha + 1) / alpha where x <= 0, else 0


class GELU(Activation):
    """f(x) = x Phi(x), with f'(x) = Phi(x) + x phi(x): the exact form.

    Phi(x) = (1 + erf(x / sqrt 2)) / 2 is the standard normal distribution, phi(x) = e^(-x^2 / 2) / sqrt(2 pi) its
    density.

    References
    ----------
    .. [1] Hendrycks, Gimpel, "Gaussian error linear units" (2016).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.GELU().infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.1587,  0.    ,  1.9545]])
    """

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        from scipy import special  # takes as long to import as half of this package

        special.ndtr(x, out=work[0])
        np.multiply(x, work[0], out=out)  # y = x Phi(x)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.clip(x, -40, 40, out=out)  # beyond 40, phi is 0 and x^2 may overflow
        np.square(out, out=out)
        out *= -0.5
        np.exp(out, out=out)
        out *= x
        out *= 1 / math.sqrt(2 * math.pi)
        out += work[0]  # f' = Phi(x) + x phi(x)

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        bounded = np.clip(x, -40, 40)
        np.square(bounded, out=bounded)
        np.exp(-0.5 * bounded, out=out)
        out *= 2 - bounded
        out *= 1 / math.sqrt(2 * math.pi)  # f'' = (2 - x^2) phi(x)


class SiLU(Activation):
    """f(x) = x s, with f'(x) = s + y (1 - s), s = 1 / (1 + e^-x); also called Swish.

    References
    ----------
    .. [1] Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units for neural network function approximation in
       reinforcement learning" (2018).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.SiLU().infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.2689,  0.    ,  1.7616]])
    """

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        (s,) = work
        exp_bounded(x, out)
        np.add(out, 1, out=s)
        np.divide(out, s, out=s)  # s = e^x / (1 + e^x)
        np.multiply(x, s, out=out)  # y = x s

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        (s,) = work
        np.subtract(1, s, out=out)
        out *= y
        out += s  # f' = s + y (1 - s)

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        (s,) = work
        np.subtract(1, 2 * s, out=out)
        out *= x
        out += 2
        out *= s
        out *= 1 - s  # f'' = s (1 - s) (2 + x (1 - 2 s))


class Mish(Activation):
    """f(x) = x t, with f'(x) = t + x (1 - t^2) s, t = tanh(log(1 + e^x)), s = 1 / (1 + e^-x).

    With e = e^x, t is e (e + 2) / (e (e + 2) + 2): one exponential in place of three functions.

    References
    ----------
    .. [1] Misra, "Mish: a self regularized non-monotonic activation function" (2020).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Mish().infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.3034,  0.    ,  1.944 ]])
    """

    n_work: ClassVar[int] = 2

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        s, t = work
        exp_bounded(x, out)
        np.add(out, 2, out=t)
        t *= out
        np.add(t, 2, out=s)
        t /= s  # t = e (e + 2) / (e (e + 2) + 2)
        np.add(out, 1, out=s)
        np.divide(out, s, out=s)  # s = e / (1 + e)
        np.multiply(x, t, out=out)  # y = x t

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        s, t = work
        np.multiply(y, t, out=out)
        np.subtract(x, out, out=out)
        out *= s
        out += t  # f' = t + (x - y t) s = t + x (1 - t^2) s

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        s, t = work
        np.multiply(s, t, out=out)
        out *= -2
        out += 1 - s
        out *= x
        out += 2
        out *= s
        out *= 1 - t * t  # f'' = (1 - t^2) s (2 + x (1 - s - 2 s t))


class Softplus(Activation):
    """f(x) = log(1 + e^x), with f'(x) = e^x / (1 + e^x).

    References
    ----------
    .. [1] Dugas et al., "Incorporating second-order functional knowledge for better option pricing" (2001).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Softplus().infer(np.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[0.3133, 0.6931, 2.1269]])
    """

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        (e,) = work
        exp_bounded(x, e)
        np.log1p(e, out=out)
        np.maximum(x, out, out=out)  # y = log(1 + e^x), which is x where e^x is bounded

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        (e,) = work
        np.add(e, 1, out=out)
        np.divide(e, out, out=out)  # f' = e^x / (1 + e^x)

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        (e,) = work
        np.add(e, 1, out=out)
        np.square(out, out=out)
        np.divide(e, out, out=out)  # f'' = e^x / (1 + e^x)^2


class HardSwish(Activation):
    """f(x) = x h, h = min(max(x / 6 + 1/2, 0), 1), with f'(x) = h + x / 6 for |x| < 3, else h.

    References
    ----------
    .. [1] Howard et al., "Searching for MobileNetV3" (2019), section 5.2.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.HardSwish().infer(np.array([[-4.0, -1.5, 4.0]]))
    array([[-0.   , -0.375,  4.   ]])
    """

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        (h,) = work
        np.divide(x, 6, out=h)
        h += 0.5
        np.clip(h, 0, 1, out=h)
        np.multiply(x, h, out=out)  # y = x h

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.absolute(x, out=out)
        out[...] = out < 3
        out *= x
        out /= 6
        out += work[0]  # f' = h + x / 6 where |x| < 3, else h

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.absolute(x, out=out)
        out[...] = out < 3
        out /= 3  # f'' = 1/3 where |x| < 3
