"""The activations and their slopes f'(z) as formulas, and the same with their numbers.

A slope is written in what is already there: the activation a = f(z) where that is enough, else z. Where a formula needs
a further name (s, t, Phi, phi), the formula of f says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from densenet.explain.notation import digits, signed
from densenet.layers.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    Exp,
    Gaussian,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Identity,
    LeakyReLU,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Softsign,
    Tanh,
)
from densenet.layers.base import Layer
from densenet.layers.rectifiers import SELU_ALPHA, SELU_SCALE


class _Written(NamedTuple):
    """One activation in writing.

    Attributes
    ----------
    function : callable
        From the layer: f(z).
    slope : callable
        From the layer, the names of z and a, and their numbers: f'(z) and the same with numbers, which may be empty.
    cases : callable or None
        From the layer and the names of z and a: f'(z) of a whole array, where `slope` names the case of one number.
    """

    function: Callable[[Any], str]
    slope: Callable[[Any, str, str, float, float], tuple[str, str]]
    cases: Callable[[Any, str, str], str] | None = None


def function(layer: Layer) -> str:
    """f(z) of an activation; empty where none is known.

    Examples
    --------
    >>> import densenet as dn
    >>> function(dn.Sigmoid())
    '1 / (1 + exp(-z))'
    """
    written = _WRITTEN.get(type(layer))
    return "" if written is None else written.function(layer)


def slope(layer: Layer, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    """f'(z) of one neuron as (formula, the formula with numbers); both empty where none is known.

    Examples
    --------
    >>> import densenet as dn
    >>> slope(dn.Sigmoid(), "z(1)_3", "a(1)_3", 0.974, 0.7259)
    ('a(1)_3 x (1 - a(1)_3)', '0.7259 x 0.2741')
    >>> slope(dn.ReLU(), "z(1)_1", "a(1)_1", -2.0, 0.0)
    ('0, as z(1)_1 <= 0', '')
    """
    written = _WRITTEN.get(type(layer))
    return ("", "") if written is None else written.slope(layer, z_name, a_name, z, a)


def slope_of_all(layer: Layer, z_name: str, a_name: str) -> str:
    """f'(z) of a whole array, entry by entry, with its cases; empty where none is known.

    Examples
    --------
    >>> import densenet as dn
    >>> slope_of_all(dn.Tanh(), "z(1)", "a(1)"), slope_of_all(dn.ReLU(), "z(1)", "a(1)")
    ('1 - a(1) x a(1)', '1 where z(1) > 0, else 0')
    """
    written = _WRITTEN.get(type(layer))
    if written is None:
        return ""
    return written.cases(layer, z_name, a_name) if written.cases else written.slope(layer, z_name, a_name, 1.0, 1.0)[0]


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _above_0(
    below: Callable[[Any, str, str], str], numbers: Callable[[Any, float, float], str], above: str = "1"
) -> Any:
    """The slope of a function with a corner at 0, and its cases: `above` is its slope where z > 0."""

    def slope(layer: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
        if z > 0:
            return f"{above}, as {z_name} > 0", ""
        shown = numbers(layer, z, a)
        return (
            (below(layer, z_name, a_name), shown)
            if shown
            else (f"{below(layer, z_name, a_name)}, as {z_name} <= 0", "")
        )

    def cases(layer: Any, z_name: str, a_name: str) -> str:
        return f"{above} where {z_name} > 0, else {below(layer, z_name, a_name)}"

    return slope, cases


def _inside(limit: str, within: str) -> Any:
    """The slope of a function that is flat beyond a limit, and its cases."""

    def slope(layer: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
        inside = abs(z) < float(limit)
        return (f"{within}, as |{z_name}| < {limit}" if inside else f"0, as |{z_name}| >= {limit}"), ""

    return slope, lambda layer, z_name, a_name: f"{within} where |{z_name}| < {limit}, else 0"


def _gelu(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    Phi, phi = (1 + math.erf(z / math.sqrt(2))) / 2, math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return f"Phi({z_name}) + {z_name} x phi({z_name})", f"{digits(Phi)} + {signed(z)} x {digits(phi)}"


def _silu(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    s = _sigmoid(z)
    return f"s + {a_name} x (1 - s)", f"{digits(s)} + {signed(a)} x {digits(1 - s)}"


def _mish(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    s, t = _sigmoid(z), math.tanh(max(z, 0.0) + math.log1p(math.exp(-abs(z))))
    return f"t + {z_name} x s x (1 - t x t)", f"{digits(t)} + {signed(z)} x {digits(s)} x {digits(1 - t * t)}"


def _hard_swish(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    if abs(z) < 3:
        return f"{z_name} / 3 + 1/2", f"{signed(z)} / 3 + 1/2"
    return (f"1, as {z_name} >= 3" if z > 0 else f"0, as {z_name} <= -3"), ""


def _same(formula: str, numbers: str) -> Callable[[Any, str, str, float, float], tuple[str, str]]:
    """A slope with one formula everywhere: `z`, `a` and `rest` = 1 - a are the numbers, brackets where negative."""

    def slope(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
        shown = numbers.format(
            z=digits(z),
            sz=signed(z),
            minus_z=digits(-z),
            a=digits(a),
            sa=signed(a),
            rest=signed(1 - a),
            room=digits(1 + abs(z)),
        )
        return formula.format(z=z_name, a=a_name), shown

    return slope


_SELU_LEFT = SELU_SCALE * SELU_ALPHA
_NORMAL = "Phi(z) = (1 + erf(z / sqrt(2))) / 2, phi(z) = exp(-z^2 / 2) / sqrt(2 pi)"
_WRITTEN: dict[type[Layer], _Written] = {
    Identity: _Written(lambda _: "z", _same("1", "")),
    Sigmoid: _Written(lambda _: "1 / (1 + exp(-z))", _same("{a} x (1 - {a})", "{a} x {rest}")),
    Tanh: _Written(lambda _: "tanh(z)", _same("1 - {a} x {a}", "1 - {sa} x {sa}")),
    Softsign: _Written(lambda _: "z / (1 + |z|)", _same("1 / (1 + |{z}|)^2", "1 / {room}^2")),
    Softplus: _Written(lambda _: "log(1 + exp(z))", _same("1 / (1 + exp(-{z}))", "1 / (1 + exp({minus_z}))")),
    Exp: _Written(lambda _: "exp(z)", _same("{a}", "")),
    Sine: _Written(lambda _: "sin(z)", _same("cos({z})", "cos({z})")),
    Gaussian: _Written(lambda _: "exp(-z^2)", _same("-2 x {z} x {a}", "-2 x {sz} x {sa}")),
    GELU: _Written(lambda _: f"z Phi(z), {_NORMAL}", _gelu),
    SiLU: _Written(lambda _: "z s, s = 1 / (1 + exp(-z))", _silu),
    Mish: _Written(lambda _: "z t, t = tanh(log(1 + exp(z))), s = 1 / (1 + exp(-z))", _mish),
    HardTanh: _Written(lambda _: "z between -1 and 1, cut off there", *_inside("1", "1")),
    HardSigmoid: _Written(lambda _: "z / 6 + 1/2 between 0 and 1, cut off there", *_inside("3", "1/6")),
    HardSwish: _Written(
        lambda _: "z times (z / 6 + 1/2, cut off at 0 and 1)",
        _hard_swish,
        lambda _, z, a: f"{z} / 3 + 1/2 where |{z}| < 3, 1 above, 0 below",
    ),
    ReLU: _Written(lambda _: "z where z > 0, else 0", *_above_0(lambda *_: "0", lambda *_: "")),
    LeakyReLU: _Written(
        lambda f: f"z where z > 0, else {digits(f.negative_slope)} z",
        *_above_0(lambda f, z, a: digits(f.negative_slope), lambda *_: ""),
    ),
    ELU: _Written(
        lambda f: f"z where z > 0, else {digits(f.alpha)} (exp(z) - 1)",
        *_above_0(lambda f, z, a: f"{a} + {digits(f.alpha)}", lambda f, z, a: f"{signed(a)} + {digits(f.alpha)}"),
    ),
    CELU: _Written(
        lambda f: f"z where z > 0, else {digits(f.alpha)} (exp(z / {digits(f.alpha)}) - 1)",
        *_above_0(
            lambda f, z, a: f"1 + {a} / {digits(f.alpha)}", lambda f, z, a: f"1 + {signed(a)} / {digits(f.alpha)}"
        ),
    ),
    SELU: _Written(
        lambda _: f"{digits(SELU_SCALE)} z where z > 0, else {digits(_SELU_LEFT)} (exp(z) - 1)",
        *_above_0(
            lambda _, z, a: f"{a} + {digits(_SELU_LEFT)}",
            lambda _, z, a: f"{signed(a)} + {digits(_SELU_LEFT)}",
            digits(SELU_SCALE),
        ),
    ),
}
