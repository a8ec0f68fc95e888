"""Comparison of a model with its form in another library, before either is returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.sequential import Sequential

_ROWS = 64
_TOLERANCES = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def random_rows(model: Sequential) -> Array:
    """The rows to compare on: standard normal, (64, n_in), float64, always the same; 8 columns if n_in is open."""
    return np.random.default_rng(0).standard_normal((_ROWS, model.n_in or 8))


def check_same_answers(model: Sequential, theirs: Callable[[Array], Array], who: str, what: str) -> None:
    """Raise ArithmeticError unless a converted model gives the answers of the original.

    The largest difference may be 1e-5 (float32) or 1e-12 (float64) of the largest output. The rows are standard normal,
    and ten times that where the foreign answers are finite then.

    Parameters
    ----------
    model : Sequential
    theirs : callable
        Takes rows (n, n_in) in the model's dtype, which it may write to; gives (n, n_out).
    who, what : str
        The function and the foreign object, for the message.
    """
    for scale in (1, 10):
        x = (scale * random_rows(model)).astype(model.dtype)
        with np.errstate(all="ignore"):
            expected, found = np.asarray(theirs(x.copy())), model.predict(x)
        finite = expected.dtype.kind == "f" and bool(np.isfinite(expected).all())
        if scale > 1 and not finite:
            return
        if expected.shape != found.shape or not finite:
            told = f"shape {expected.shape} for {found.shape}" if finite else "numbers that are not finite"
            raise ArithmeticError(f"{who}: {what} answers random rows with {told}: no model does that.")
        largest = float(np.abs(expected).max())
        off = float(np.abs(found - expected.astype(np.float64)).max())
        if not off <= _TOLERANCES[model.dtype] * largest:
            raise ArithmeticError(
                f"{who}: the model's answers differ from those of {what} by {off:.3g} on random rows, the "
                f"largest is {largest:.3g}. It does more than its weights and settings say"
                + (", or rounds much: convert it in float64." if model.dtype == np.float32 else ".")
            )


def replaced_methods(given: Any) -> list[str]:
    """Names of the methods that an object has replaced by attributes of its own."""
    return sorted(name for name in vars(given) if callable(getattr(type(given), name, None)))
