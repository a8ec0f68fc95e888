"""Mistakes drawn by `backward_by_loops`, and whether `diagnose_gradients` names them with their layer."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from backward_by_loops import MISTAKES, Made, Network, backward, drawn, key, places

import densenet as dn

LAYERS = {
    "sigmoid": dn.Sigmoid,
    "tanh": dn.Tanh,
    "relu": dn.ReLU,
    "leaky": dn.LeakyReLU,
    "identity": dn.Identity,
    "softmax": dn.Softmax,
}


def as_model(net: Network, rng: np.random.Generator) -> tuple[dn.Sequential, dn.losses.Loss]:
    """The network as a model; a cross-entropy's softmax or sigmoid as a layer or in the loss."""
    layers: list[dn.layers.Layer] = []
    logits = bool(rng.random() < 0.5)
    for i, (W, kind) in enumerate(zip(net.W, net.kinds, strict=True), start=1):
        layers.append(dn.Dense(*W.shape, kernel_l2=net.decay))
        if i in net.norms:
            layers.append(dn.BatchNorm(W.shape[1]))
        if not (i == len(net) and net.fused and logits) and kind != "identity":
            layers.append(LAYERS[kind]())
        if i in net.masks:
            layers.append(dn.Dropout(net.rate))
    model = dn.Sequential(layers, dtype="float64")
    for layer, W, b in zip(model.dense_layers, net.W, net.b, strict=True):
        layer.W, layer.b = W, b
    fused = {
        "softmax": (dn.CategoricalCrossEntropy(), dn.SoftmaxCrossEntropy()),
        "binary": (dn.BinaryCrossEntropy(), dn.SigmoidCrossEntropy()),
    }
    plain = {"half": dn.HalfSquaredError, "mean": dn.MeanSquaredError}
    return model, fused[net.loss][logits] if net.fused else plain[net.loss]()


def unequal(a: Any, b: Any, room: float) -> bool:
    return bool(np.shape(a) != np.shape(b) or np.abs(a - b).max() > room)


def differs(given: Any, right: Any, tolerance: float = 0.01) -> bool:
    """Whether some array is wrong by more than 1 % of its largest entry; an array of rounding errors is 0."""
    least = 1e-9 * max(float(np.abs(b).max()) for r in right for b in r)
    return any(
        unequal(a, b, tolerance * max(float(np.abs(b).max()), least))
        for g, r in zip(given, right, strict=True)
        for a, b in zip(g, r, strict=True)
    )


def first_wrong(given: Any, right: Any) -> int:
    """The highest layer with a wrong array."""
    pairs = list(zip(given, right, strict=True))
    return max(i for i in range(1, len(pairs) + 1) if differs([*right[: i - 1], given[i - 1], *right[i:]], right, 1e-6))


@dataclass(frozen=True)
class Verdict:
    """One drawn case: whether it was named with its layer, and what it was."""

    good: bool
    net: Network
    made: tuple[Made, ...]
    found: Any

    def __str__(self) -> str:
        net = self.net
        shape = [net.W[0].shape[0], *(W.shape[1] for W in net.W)]
        told = (
            [(m.name, m.detail) for m in (*self.found.found, *self.found.also)]
            if hasattr(self.found, "found")
            else self.found
        )
        layer = getattr(self.found, "layer", None)
        return f"{self.made} {shape} n={len(net.x)} {net.kinds} {net.loss}: {told}, layer {layer}"


def diagnosed(net: Network, given: Any, made: tuple[Made, ...], rng: np.random.Generator, dtype: Any = None) -> Any:
    """The diagnosis, or the error's text."""
    model, loss = as_model(net, rng)
    if dtype is not None:
        given = [(np.asarray(dW, dtype), np.asarray(db, dtype)) for dW, db in given]
    more: dict[str, Any] = {}
    if net.masks:
        more["masks"] = [net.masks[i] for i in sorted(net.masks)]
    if net.decay:
        more["penalty"] = True
    if any(one.name == "the step" for one in made):
        more["learning_rate"] = next(one.value for one in made if one.name == "the step")
    labels = net.loss == "softmax" and rng.random() < 0.5
    try:
        return dn.diagnose_gradients(model, loss, net.x, net.y.argmax(axis=1) if labels else net.y, given, **more)
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def names_of(name: str, net: Network, value: float) -> frozenset[str]:
    """What a mistake may be called on this network: a factor by any number that it is equal to."""
    if not any(start in name for start in ("dW times", "db times", "delta times", "everything times", "1/n a layer")):
        fused = (
            {"weights updated before the delta passed on"} if name == "undifferentiated, updated" and net.fused else ()
        )
        return MISTAKES[name].names | frozenset(fused)
    n, k = net.y.shape
    called = {
        "2/n beside 1/n": {2.0, 0.5},
        "sum in place of mean": {float(n), float(k), float(n * k)},
        "1/n twice": {1 / n, 1 / k, 1 / (n * k)},
        "sign or prediction and target swapped": {-1.0},
    }
    found = {called_so for called_so, values in called.items() if any(abs(value / v - 1) < 1e-9 for v in values)}
    return frozenset(found or {"a constant factor"})


def case(name: str, where: str, rng: np.random.Generator) -> tuple[Network, Made] | None:
    """A network with a mistake; None where it cannot be made on this one."""
    net = drawn(rng, name)
    layers = places(net, name, where, rng)
    return (net, Made(key(name), layers, MISTAKES[name].values(rng, net))) if layers else None


def single(name: str, where: str, rng: np.random.Generator, dtype: Any = None) -> Verdict | None:
    """One drawn case of a mistake judged; None where it makes no difference on this network."""
    if (one := case(name, where, rng)) is None:
        return None
    net, made = one
    return judged(net, (made,), [names_of(name, net, made.value)], rng, dtype)


def pair(first: str, second: str, rng: np.random.Generator, dtype: Any = None) -> Verdict | None:
    """Two mistakes in different layers, or one of them a factor of everything below the output."""
    if (one := case(first, str(rng.choice(MISTAKES[first].where)), rng)) is None:
        return None
    net, made = one
    layers = places(net, second, str(rng.choice(MISTAKES[second].where)), rng)
    value = MISTAKES[second].values(rng, net)
    if key(second) not in ("everything times", "swapped", "delta times"):
        layers = tuple(layer for layer in layers if layer not in made.layers)
    if not layers or names_of(first, net, made.value) & names_of(second, net, value):
        return None  # two of one name are one mistake
    other = Made(key(second), layers, value)
    right = backward(net)
    if not all(differs(backward(net, (one,)), backward(net, (made, other))) for one in (made, other)):
        return None
    return judged(
        net, (made, other), [names_of(first, net, made.value), names_of(second, net, value)], rng, dtype, right
    )


def coinciding(net: Network, given: Any, made: tuple[Made, ...], rng: np.random.Generator) -> set[str]:
    """The names of other mistakes that give the same numbers on this network."""
    found: set[str] = set()
    layers = {made[0].layers, tuple(range(1, len(net) + 1)), tuple(range(1, len(net))), tuple(range(2, len(net) + 1))}
    for name, mistake in MISTAKES.items():
        if not places(net, name, "every", rng):
            continue
        for chosen, value in itertools.product(layers, (made[0].value, mistake.values(rng, net))):
            with np.errstate(all="ignore"), contextlib.suppress(IndexError, ValueError, OverflowError):
                other = Made(key(name), chosen, value)
                if not differs(backward(net, (other,)), given, 1e-9):
                    found |= names_of(name, net, other.value)
    return found


def judged(
    net: Network,
    made: tuple[Made, ...],
    names: list[frozenset[str]],
    rng: np.random.Generator,
    dtype: Any,
    right: Any = None,
) -> Verdict | None:
    right = backward(net) if right is None else right
    with np.errstate(all="ignore"):
        given = backward(net, made)
    if made[0].name != "backward order" and not differs(given, right):
        return None
    if not all(np.isfinite(a).all() for p in given for a in p):
        return None
    found = diagnosed(net, given, made, rng, dtype)
    if isinstance(found, str):
        return Verdict(False, net, made, found)
    told = set(found.mistakes)
    good = all(told & wanted for wanted in names)
    if not good and len(found.found) == 1 and len(names) > 1:  # one that gives the numbers of both
        good = bool(told & {"a constant factor"}) or any(told & wanted for wanted in names)
    good = good or bool(told & coinciding(net, given, made, rng))
    if made[0].name != "backward order":
        good = good and found.layer == first_wrong(given, right)
    return Verdict(good, net, made, found)
