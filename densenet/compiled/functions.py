"""exp, tanh, log(1 + x), sine and cosine in a form that compilers vectorize, to 2 units in the last place.

The exponential is Cody and Waite's: x = k log 2 + r, k whole, |r| <= log(2) / 2, and e^x = 2^k e^r with e^r from its
Taylor series, cut where the rest is below half a unit in the last place. The logarithms are twice the series of
artanh(f) = f + f^3/3 + f^5/5 ..., log y = 2 artanh((y - 1) / (y + 1)). Sine and cosine are those of x = k pi/2 + r,
|r| <= pi/4, from their Taylor series: of r the one or the other, by the quarter k.

References
----------
.. [1] Cody, Waite, "Software manual for the elementary functions" (1980), chapters 5, 6 and 13.
"""

from __future__ import annotations

import math
from typing import Any

from numba import types
from numba.extending import overload, register_jitable

from densenet.compiled.primitives import OPTIONS, nearest, number, scaled, series, with_sign

_LN2_HI = 0.693145751953125  # 16 bits, so that k _LN2_HI is exact
_LN2_LO = 1.4286068203094172e-06  # log 2 - _LN2_HI

_exp_rest = series("exp_rest", lambda t: [1 / math.factorial(j) for j in range(2, 9 if t == "float32" else 15)])
_PI_2 = {  # pi / 2 in three parts, of which k times the first two is exact
    "float32": (1.5703125, 4.837512969970703e-04, 7.549789948768648e-08),
    "float64": (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21),
}

_sine_rest = series(
    "sine_rest", lambda t: [(-1) ** j / math.factorial(2 * j + 1) for j in range(1, 6 if t == "float32" else 10)]
)
_cosine_rest = series(
    "cosine_rest", lambda t: [(-1) ** j / math.factorial(2 * j) for j in range(1, 6 if t == "float32" else 10)]
)
_artanh_rest = series("artanh_rest", lambda t: [1 / (2 * j + 1) for j in range(1, 9 if t == "float32" else 19)])


@register_jitable(**OPTIONS)
def _not_below(x: Any, bound: Any) -> Any:
    return bound if x < bound else x  # NaN stays NaN


@register_jitable(**OPTIONS)
def _not_above(x: Any, bound: Any) -> Any:
    return bound if x > bound else x


def exp(x: Any) -> Any:
    """e^x; 0 far below, infinity far above, NaN for NaN."""
    return math.exp(x)


@overload(exp, jit_options=OPTIONS)
def _(x: Any) -> Any:
    low, high = (-104.0, 89.0) if x == types.float32 else (-746.0, 710.0)

    def of_float(x: Any) -> Any:
        x = _not_above(_not_below(x, number(x, low)), number(x, high))
        k = nearest(x * number(x, 1.4426950408889634))
        r = (x - k * number(x, _LN2_HI)) - k * number(x, _LN2_LO)
        return scaled(number(x, 1.0) + (r + r * r * _exp_rest(r)), k)  # 2^k (1 + r + r^2/2 + r^3/6 ...)

    return of_float


def expm1(x: Any) -> Any:
    """e^x - 1 for x up to 20 in float32, 44 in float64; -1 far below, NaN for NaN."""
    return math.expm1(x)


@overload(expm1, jit_options=OPTIONS)
def _(x: Any) -> Any:
    low = -20.0 if x == types.float32 else -44.0  # below, e^x - 1 is -1

    def of_float(x: Any) -> Any:
        x = _not_below(x, number(x, low))
        k = nearest(x * number(x, 1.4426950408889634))
        r = (x - k * number(x, _LN2_HI)) - k * number(x, _LN2_LO)
        p = r + r * r * _exp_rest(r)  # e^r - 1
        power = scaled(number(x, 1.0), k)
        return power * p + (power - number(x, 1.0))  # 2^k (e^r - 1) + (2^k - 1)

    return of_float


def tanh(x: Any) -> Any:
    """tanh x = m / (m + 2) with m = e^(2 |x|) - 1, and the sign of x."""
    return math.tanh(x)


@overload(tanh, jit_options=OPTIONS)
def _(x: Any) -> Any:
    high = 20.0 if x == types.float32 else 44.0  # of 2 |x|: beyond, the quotient is 1

    def of_float(x: Any) -> Any:
        m = expm1(_not_above(abs(x) * number(x, 2.0), number(x, high)))
        return with_sign(m / (m + number(x, 2.0)), x)

    return of_float


def log1p(x: Any) -> Any:
    """log(1 + x) for x in [0, 1]: 2 artanh(x / (2 + x))."""
    return math.log1p(x)


@overload(log1p, jit_options=OPTIONS)
def _(x: Any) -> Any:
    def of_float(x: Any) -> Any:
        f = x / (x + number(x, 2.0))
        f2 = f * f
        twice = f + f
        return twice + twice * (f2 * _artanh_rest(f2))

    return of_float


def sine_and_cosine(x: Any) -> Any:
    """(sin x, cos x) for |x| up to 4,096 in float32, 10^6 in float64; NaN for NaN."""
    return math.sin(x), math.cos(x)


@overload(sine_and_cosine, jit_options=OPTIONS)
def _(x: Any) -> Any:
    high, middle, low = _PI_2[str(x)]

    def of_float(x: Any) -> Any:
        k = nearest(x * number(x, 0.6366197723675814))
        r = ((x - k * number(x, high)) - k * number(x, middle)) - k * number(x, low)
        r2 = r * r
        s, c = r + r * (r2 * _sine_rest(r2)), number(x, 1.0) + r2 * _cosine_rest(r2)
        quarter = k - number(x, 4.0) * nearest(k * number(x, 0.25))  # -2, -1, 0, 1 or 2
        odd = abs(quarter) == number(x, 1.0)
        sine, cosine = (c if odd else s), (s if odd else c)
        negative = abs(quarter) == number(x, 2.0)
        sine = -sine if negative or quarter == number(x, -1.0) else sine
        cosine = -cosine if negative or quarter == number(x, 1.0) else cosine
        return sine, cosine

    return of_float
