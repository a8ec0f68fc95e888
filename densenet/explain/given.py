"""Given gradients: read, checked, and laid out in both ways that they may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import as_numbers, check_finite
from densenet.explain.chain import Chain, Gradients
from densenet.layers.dense import Dense
from densenet.sequential import Sequential

_WHO = "diagnose_gradients"


class Given:
    """Given gradients in float64.

    Attributes
    ----------
    as_is, transposed : list of (dW, db)
        By dense layer, the dW taken as (in, out) and as (out, in).
    single : bool
        Whether every number is a float32 number: then float32's rounding is allowed.
    """

    def __init__(self, model: Sequential, gradients: Any) -> None:
        if isinstance(gradients, np.ndarray) and gradients.ndim == 1 and gradients.dtype.kind in "fiu":
            self.as_is, self.transposed = _split(model, gradients)
        else:
            self.as_is = _listed(model, gradients)
            self.transposed = [(dW.T, db) for dW, db in self.as_is]
        arrays = [array for pair in self.as_is for array in pair if array is not None]
        with np.errstate(over="ignore"):
            self.single = all(np.array_equal(array, array.astype(np.float32)) for array in arrays)

    @staticmethod
    def misfit(chain: Chain, gradients: Gradients) -> str:
        """What is wrong with the first array of another shape than the model's; empty where all fit."""
        pairs = zip(chain.weights, chain.biases, gradients, strict=True)
        for number, (W, b, (dW, db)) in enumerate(pairs, start=1):
            for name, array, like in (("dW", dW, W), ("db", db, b)):
                if array is not None and like is not None and array.shape != like.shape:
                    return f"{_WHO} expects {name} of layer {number} of shape {like.shape}, got {array.shape}."
        return ""


def _listed(model: Sequential, gradients: Any) -> Gradients:
    dense = model.dense_layers
    remedy = _remedy(dense, gradients)
    if remedy or not isinstance(gradients, (list, tuple)) or len(gradients) != len(dense):
        got = f"{len(gradients)} entries" if isinstance(gradients, (list, tuple)) else f"{type(gradients).__name__}"
        expects = f"a list of {len(dense)} pairs (dW, db), one a dense layer, or the flat vector"
        raise ValueError(f"{_WHO} expects {expects}; got {got}.{remedy}")
    return [_pair(layer, number, entry) for number, (layer, entry) in enumerate(zip(dense, gradients, strict=True), 1)]


def _remedy(dense: Sequence[Dense], gradients: Any) -> str:
    """How to nest arrays that are all there and nested in another way; empty where no such way is seen."""
    if isinstance(gradients, np.ndarray):
        return " As a list it is g.tolist()." if gradients.dtype == object else ""
    if isinstance(gradients, dict):
        return " Pair its arrays by layer, as in [(g['dW1'], g['db1']), ...]."
    weights, biases = [layer.W.size for layer in dense], [layer.b.size if layer.use_bias else 0 for layer in dense]
    in_a_row = [size for pair in zip(weights, biases, strict=True) for size in pair]
    if not isinstance(gradients, (list, tuple)) or not all(biases):
        return ""
    if len(gradients) == 2 * len(dense) and _sizes(gradients) == in_a_row and np.ndim(gradients[0]) == 2:
        return " These are dW and db in turn: list(zip(g[::2], g[1::2])) pairs them."
    if len(gradients) == 2 and [_sizes(part) for part in gradients] == [weights, biases]:
        by_kind = np.ndim(gradients[0][-1]) == 2 and np.ndim(gradients[1][0]) != 2  # the sizes may fit both ways
        return " These are all dW, then all db: list(zip(*g)) pairs them." if by_kind else ""
    return ""


def _sizes(arrays: Any) -> list[int]:
    """How many numbers every entry holds."""
    try:
        return [np.size(array) for array in arrays]
    except (TypeError, ValueError):
        return []


def _pair(layer: Dense, number: int, entry: Any) -> tuple[Array, Array | None]:
    """One layer's dW and db; db None where the layer has no bias."""
    has_two = isinstance(entry, (list, tuple)) and len(entry) == 2
    dW, db = (
        None if value is None else _array(value, f"{name} of layer {number}")
        for name, value in zip(("dW", "db"), entry if has_two else (entry, None), strict=True)
    )
    if dW is None or dW.ndim != 2:
        got = "none" if dW is None else f"shape {dW.shape}"
        turned = " In a pair dW stands before db." if dW is not None and db is not None and db.ndim == 2 else ""
        raise ValueError(
            f"{_WHO} expects dW of layer {number} of shape {(layer.n_in, layer.n_out)}, got {got}.{turned}"
        )
    if layer.use_bias != (db is not None):
        expects = f"db of shape ({layer.n_out},)" if layer.use_bias else "no db, as the layer has no bias,"
        got = "none" if db is None else f"shape {db.shape}"
        raise ValueError(f"{_WHO} expects {expects} for layer {number}, got {got}.")
    if db is not None and (db.shape in ((1, layer.n_out), (layer.n_out, 1)) or layer.n_out == db.size == 1):
        db = db.reshape(layer.n_out)
    return dW, db


def _array(value: Any, name: str) -> Array:
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        value = np.asarray(value)
    try:
        array = (
            np.asarray(value) if isinstance(value, np.ndarray) and value.ndim == 0 else as_numbers(value, _WHO, name)
        )
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"{_WHO} expects {name} as one array, got rows of different lengths.") from None
        raise
    check_finite(np.atleast_1d(array), _WHO, name)
    return array.astype(np.float64)


def _split(model: Sequential, flat: Array) -> tuple[Gradients, Gradients]:
    """A flat vector of all parameters, or of the dense layers' alone."""
    sizes = sum(layer.n_params for layer in model.dense_layers)
    if flat.size not in (sizes, model.params.size):
        raise ValueError(f"{_WHO} expects a flat vector of {model.params.size} entries, like params, got {flat.size}.")
    check_finite(flat, _WHO, "gradients")
    as_is: Gradients = []
    transposed: Gradients = []
    at = 0
    for layer in model.dense_layers if flat.size == sizes else model.every_layer:
        if isinstance(layer, Dense):
            split = at + layer.n_in * layer.n_out
            W = flat[at:split].astype(np.float64)
            db = flat[split : split + layer.n_out].astype(np.float64) if layer.use_bias else None
            as_is.append((W.reshape(layer.n_in, layer.n_out), db))
            transposed.append((W.reshape(layer.n_out, layer.n_in).T, db))
        at += layer.n_params
    return as_is, transposed
