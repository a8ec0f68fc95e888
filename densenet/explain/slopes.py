"""The slopes f'(z) of the usual activations as formulas, and the same with their numbers.

Each is written in what is already there: the activation a = f(z) where that is enough, else z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densenet.explain.notation import digits, signed
from densenet.layers.activations import (
    ELU,
    Exp,
    Gaussian,
    HardSigmoid,
    HardTanh,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Softsign,
    Tanh,
)
from densenet.layers.base import Layer

_Written = Callable[[Any, str, str, float, float], tuple[str, str]]


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
    written = _SLOPES.get(type(layer))
    return ("", "") if written is None else written(layer, z_name, a_name, z, a)


def _sigmoid(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return f"{a_name} x (1 - {a_name})", f"{digits(a)} x {digits(1 - a)}"  # f' = a (1 - a)


def _tanh(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return f"1 - {a_name} x {a_name}", f"1 - {signed(a)} x {signed(a)}"  # f' = 1 - a^2


def _relu(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return (f"1, as {z_name} > 0" if z > 0 else f"0, as {z_name} <= 0"), ""


def _leaky(layer: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    below = f"{digits(layer.negative_slope)}, as {z_name} <= 0"
    return (f"1, as {z_name} > 0" if z > 0 else below), ""


def _elu(layer: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    if z > 0:
        return f"1, as {z_name} > 0", ""
    return f"{a_name} + {digits(layer.alpha)}", f"{signed(a)} + {digits(layer.alpha)}"  # f' = a + alpha


def _hard_tanh(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return (f"1, as |{z_name}| < 1" if abs(z) < 1 else f"0, as |{z_name}| >= 1"), ""


def _hard_sigmoid(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return (f"1/6, as |{z_name}| < 3" if abs(z) < 3 else f"0, as |{z_name}| >= 3"), ""


def _softsign(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return f"1 / (1 + |{z_name}|)^2", f"1 / {digits(1 + abs(z))}^2"


def _softplus(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return f"1 / (1 + exp(-{z_name}))", f"1 / (1 + exp({digits(-z)}))"


def _silu(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    share = f"1 / (1 + exp(-{z_name}))"
    return f"s + {a_name} x (1 - s), s = {share}", ""


def _exp(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return a_name, ""


def _sine(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return f"cos({z_name})", f"cos({digits(z)})"


def _gaussian(_: Any, z_name: str, a_name: str, z: float, a: float) -> tuple[str, str]:
    return f"-2 x {z_name} x {a_name}", f"-2 x {signed(z)} x {signed(a)}"


_SLOPES: dict[type[Layer], _Written] = {
    Sigmoid: _sigmoid,
    Tanh: _tanh,
    ReLU: _relu,
    LeakyReLU: _leaky,
    ELU: _elu,
    HardTanh: _hard_tanh,
    HardSigmoid: _hard_sigmoid,
    Softsign: _softsign,
    Softplus: _softplus,
    SiLU: _silu,
    Exp: _exp,
    Sine: _sine,
    Gaussian: _gaussian,
}
