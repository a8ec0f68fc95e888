"""S-shaped functions: they rise from one bound to another, so that an output never leaves a fixed range.

They read as soft switches. Far out on both sides their slope is almost 0, and a delta that has to pass many such
slopes fades; this is why hidden layers of deep networks mostly take rectifiers.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet.layers.elementwise import Activation
from densenet.losses.base import Output


def exp_bounded(x: Array, out: Array) -> None:
    """out = e^min(x, 40): beyond 40, 1 + e^x is e^x in every float, and e^2x still has room in float32."""
    np.minimum(x, 40, out=out)
    np.exp(out, out=out)


class Sigmoid(Activation):
    """f(x) = 1 / (1 + e^-x), with f'(x) = y (1 - y); y in (0, 1).

    References
    ----------
    .. [1] Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986),
       equation 2.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Sigmoid().infer(np.array([[-1.0, 0.0, 1.0]])).round(4)
    array([[0.2689, 0.5   , 0.7311]])
    """

    gives: Output = "probabilities"

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        (e,) = work
        exp_bounded(x, e)
        np.add(e, 1, out=out)
        np.divide(e, out, out=out)  # y = e^x / (1 + e^x), exact to the last digits on both sides

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.subtract(1, y, out=out)
        out *= y  # f' = y (1 - y)

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.subtract(1, y, out=out)
        out *= y
        out *= 1 - 2 * y  # f'' = y (1 - y) (1 - 2 y)


class Tanh(Activation):
    """f(x) = tanh x, with f'(x) = 1 - y^2; y in (-1, 1).

    References
    ----------
    .. [1] LeCun et al., "Efficient BackProp", in "Neural Networks: Tricks of the Trade" (1998), section 4.4.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Tanh().infer(np.array([[-1.0, 0.0, 1.0]])).round(4)
    array([[-0.7616,  0.    ,  0.7616]])
    """

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.tanh(x, out=out)  # y = tanh x

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.multiply(y, y, out=out)
        np.subtract(1, out, out=out)  # f' = 1 - y^2

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.multiply(y, y, out=out)
        np.subtract(1, out, out=out)
        out *= y
        out *= -2  # f'' = -2 y (1 - y^2)


class Softsign(Activation):
    """f(x) = x / (1 + |x|), with f'(x) = 1 / (1 + |x|)^2; y in (-1, 1).

    References
    ----------
    .. [1] Bergstra et al., "Quadratic polynomials learn better image features" (2009).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.Softsign().infer(np.array([[-1.0, 0.0, 3.0]]))
    array([[-0.5 ,  0.  ,  0.75]])
    """

    n_work: ClassVar[int] = 1

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        (w,) = work
        np.absolute(x, out=w)
        w += 1
        np.divide(x, w, out=out)  # y = x / (1 + |x|)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.reciprocal(work[0], out=out)
        np.square(out, out=out)  # f' = 1 / (1 + |x|)^2

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.power(work[0], -3, out=out)
        out *= np.sign(x)
        out *= -2  # f'' = -2 sign(x) / (1 + |x|)^3


class HardTanh(Activation):
    """f(x) = min(max(x, -1), 1), with f'(x) = 1 for |x| < 1, else 0.

    References
    ----------
    .. [1] Collobert, "Large scale machine learning" (2004).

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.HardTanh().infer(np.array([[-2.0, 0.5, 2.0]]))
    array([[-1. ,  0.5,  1. ]])
    """

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.clip(x, -1, 1, out=out)  # y = min(max(x, -1), 1)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.absolute(y, out=out)
        out[...] = out < 1  # f' = 1 where |x| < 1

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out.fill(0)  # f'' = 0


class HardSigmoid(Activation):
    """f(x) = min(max(x / 6 + 1/2, 0), 1), with f'(x) = 1/6 for |x| < 3, else 0.

    References
    ----------
    .. [1] Howard et al., "Searching for MobileNetV3" (2019), section 5.2.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> dn.HardSigmoid().infer(np.array([[-4.0, 0.0, 1.5]]))
    array([[0.  , 0.5 , 0.75]])
    """

    gives: Output = "probabilities"

    def value(self, x: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.divide(x, 6, out=out)
        out += 0.5
        np.clip(out, 0, 1, out=out)  # y = min(max(x / 6 + 1/2, 0), 1)

    def slope(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        np.absolute(x, out=out)
        out[...] = out < 3
        out /= 6  # f' = 1/6 where |x| < 3

    def curvature(self, x: Array, y: Array, out: Array, work: tuple[Array, ...]) -> None:
        out.fill(0)  # f'' = 0
