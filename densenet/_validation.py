"""Turning what people pass into arrays, or a clear error: who expects what, what it got, where, and the remedy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array

_CHUNK = 1 << 20
_FEW = 1 << 12  # entries that are looked at one by one: a sum that may overflow has to be guarded, which takes longer


# -- numbers -------------------------------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Whether `value` is a real number (bool is none)."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a number is finite as a float: a whole number may be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def positive_int(value: Any, who: str, name: str) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{who} expects {name} to be a whole number of at least 1, got {value!r}.")
    return int(value)


def nonnegative_int(value: Any, who: str, name: str) -> int:
    """A whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{who} expects {name} to be a whole number of at least 0, got {value!r}.")
    return int(value)


def positive(value: Any, who: str, name: str) -> float:
    """A finite number above 0."""
    if not is_number(value) or not is_finite(value) or value <= 0:
        raise ValueError(f"{who} expects {name} to be a finite number above 0, got {value!r}.")
    return float(value)


def nonnegative(value: Any, who: str, name: str) -> float:
    """A finite number of at least 0."""
    if not is_number(value) or not is_finite(value) or value < 0:
        raise ValueError(f"{who} expects {name} to be a finite number of at least 0, got {value!r}.")
    return float(value)


def finite(value: Any, who: str, name: str) -> float:
    """A finite number."""
    if not is_number(value) or not is_finite(value):
        raise ValueError(f"{who} expects {name} to be a finite number, got {value!r}.")
    return float(value)


def fraction(value: Any, who: str, name: str) -> float:
    """A number in [0, 1)."""
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{who} expects {name} in [0, 1), got {value!r}.")
    return float(value)


def as_generator(seed: Any, who: str) -> np.random.Generator:
    """A random generator from a seed, or the generator itself."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"{who} expects seed to be a whole number of at least 0, a Generator or None, got {seed!r}."
        ) from None


# -- arrays --------------------------------------------------------------------------------------------------------


def as_numbers(value: Any, who: str, name: str) -> NDArray[Any]:
    """An array of real numbers from an array, list, data frame or series; no copy where none is needed.

    Raises
    ------
    TypeError
        For strings, objects and complex numbers, and for sparse matrices.
    ValueError
        For masked arrays and ragged lists.
    """
    if isinstance(value, np.ndarray):
        array = value
    elif hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(
            f"{who} expects {name} to be dense, got a sparse {type(value).__name__}: pass {name}.toarray()."
        )
    elif hasattr(value, "to_numpy"):
        array = _from_frame(value, who, name)
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{who} expects {name} to be a rectangular array of numbers: {error}") from None
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(f"{who} got a masked array for {name}: the mask would be ignored. Fill or drop those rows.")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{who} expects {name} to be real numbers, got dtype {array.dtype}.")
    return array


def _from_frame(frame: Any, who: str, name: str) -> NDArray[Any]:
    dtypes = frame.dtypes if hasattr(frame, "columns") else None
    if dtypes is not None:
        bad = [str(c) for c, t in zip(frame.columns, dtypes, strict=True) if getattr(t, "kind", "O") not in "biuf"]
        if bad:
            raise TypeError(f"{who} expects {name} to be real numbers, but columns {', '.join(bad)} are not.")
        if all(getattr(t, "kind", "O") in "biu" for t in dtypes) and not bool(np.any(frame.isna())):
            return np.asarray(frame.to_numpy(dtype=np.result_type(*(t.kind + str(t.itemsize) for t in dtypes))))
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    array = np.asarray(frame.to_numpy())
    if array.dtype.kind != "O":
        return array
    plain = np.asarray(array.tolist())  # a column of Python numbers, such as whole ones
    return plain if plain.dtype.kind in "biuf" else np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))


def cast(array: NDArray[Any], dtype: Any, *, copy: bool = False) -> Array:
    """The array C-ordered, aligned, in native byte order and of that dtype."""
    if not copy and array.dtype == dtype and array.dtype.isnative and array.flags.carray:
        return array.view(np.ndarray)
    with np.errstate(over="ignore"):
        made = np.require(array.astype(dtype, copy=copy), requirements=["C", "A"])
    return made.view(np.ndarray)


def check_matrix(array: NDArray[Any], columns: int | None, who: str, name: str = "x") -> None:
    """ValueError unless the array is (n, columns) with at least one row and column."""
    expected = f"(n, {'columns' if columns is None else columns})"
    if array.ndim != 2 or (columns is not None and array.shape[1] != columns):
        hint = f" One row is {name}[None, :], one column is {name}[:, None]." if array.ndim == 1 else ""
        raise ValueError(f"{who} expects {name} of shape {expected}, got {array.shape}.{hint}")
    if 0 in array.shape:
        raise ValueError(
            f"{who} expects {name} of shape {expected} with at least one row and column, got {array.shape}."
        )


def as_matrix(value: Any, columns: int | None, dtype: Any, who: str, *, name: str = "x", copy: bool = False) -> Array:
    """A C-ordered (n, columns) array of that dtype, at least one row; float32 or float64 when dtype is None."""
    array = as_numbers(value, who, name)
    check_matrix(array, columns, who, name)
    if dtype is None:
        dtype = np.float32 if array.dtype == np.float32 else np.float64
    return cast(array, dtype, copy=copy)


def as_target_matrix(value: Any, columns: int, dtype: Any, who: str) -> Array:
    """Targets as (n, columns); a 1-D one is a column where there is one column."""
    array = as_numbers(value, who, "y")
    if array.ndim == 1 and columns == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"{who} expects y of shape (n, {columns}), got {array.shape}.")
    made = cast(array, dtype)
    check_finite(made, who, "y", source=array)
    return made


def as_labels(value: Any, classes: int, who: str) -> NDArray[np.intp] | None:
    """Class numbers 0 .. classes-1 as (n,) intp; None when `value` is a matrix of (n, classes) instead.

    Raises
    ------
    ValueError
        For float labels with a fraction and labels out of range, with the offending value.
    """
    array = as_numbers(value, who, "y")
    if array.ndim == 2 and array.shape[1] == 1 and classes != 1:
        array = array[:, 0]
    if array.ndim != 1:
        if array.ndim != 2 or array.shape[1] != classes:
            raise ValueError(
                f"{who} expects y to be class numbers of shape (n,) or a matrix of shape (n, {classes}), "
                f"got {array.shape}."
            )
        return None
    if array.dtype.kind == "f":
        bad = np.flatnonzero(~(array == np.floor(array)))
        row = int(bad[0]) if len(bad) else 0
        value = array[row] if len(array) else "nothing"
        raise ValueError(
            f"{who} expects class numbers of an integer dtype, got y[{row}] = {value} of dtype {array.dtype}: "
            "write y.astype(int)."
        )
    bad = np.flatnonzero((array < 0) | (array >= classes))
    if len(bad):
        row = int(bad[0])
        raise ValueError(f"{who} expects class numbers from 0 to {classes - 1}, got y[{row}] = {array[row]}.")
    return array.astype(np.intp)


def same_rows(x: Any, targets: Any, who: str) -> None:
    """Complain unless there are as many targets as rows of x."""
    if len(targets) != len(x):
        raise ValueError(f"{who} expects as many targets as rows, got x {np.shape(x)} and y {np.shape(targets)}.")


def as_weights(value: Any, rows: int, dtype: Any, who: str) -> Array | None:
    """Sample weights (rows,), finite, at least 0 and not all 0; None stays None."""
    if value is None:
        return None
    array = as_numbers(value, who, "sample_weight")
    if array.shape != (rows,):
        raise ValueError(f"{who} expects sample_weight of shape ({rows},), got {array.shape}.")
    made = cast(array, dtype, copy=True)
    bad = np.flatnonzero(~(np.isfinite(made) & (made >= 0)))
    if len(bad):
        raise ValueError(f"{who} expects finite weights of at least 0, got sample_weight[{bad[0]}] = {array[bad[0]]}.")
    if not array.any():
        raise ValueError(f"{who} got a sample_weight of zeros only: there is nothing to learn from.")
    check_weights(made, array, who, "sample_weight")
    return made


def check_weights(made: Array, source: NDArray[Any], who: str, name: str) -> None:
    """ValueError unless weights, made from `source`, are of a size that leaves sum(w) and sum(w l) their digits."""
    limits = np.finfo(made.dtype)
    total, most = float(made.sum(dtype=np.longdouble)), float(made.max(initial=0.0))
    least = float(made[made > 0].min(initial=1.0))
    faint = least < limits.smallest_normal or 0 < most < limits.smallest_normal / limits.eps
    if total > 1e-3 * limits.max or faint or bool(((source > 0) & (made == 0)).any()):
        raise ValueError(
            f"{who} got {name} whose sum is too large for {made.dtype}, or an entry of which is too small: only "
            "their ratios count, so divide them by their mean."
        )


def check_finite(array: NDArray[Any], who: str, name: str, first_row: int = 0, source: Any = None) -> None:
    """ValueError naming the first row and column that hold NaN or infinity; memory maps are read in chunks.

    `source` is what the array was made from: a number that is finite there was too large for the array's dtype.
    """
    if array.dtype.kind != "f" or not array.size:
        return
    if array.size <= _FEW and np.isfinite(array).all():
        return
    rows = max(1, _CHUNK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(np.add.reduce(part, axis=None)):  # NaN and infinity stay in a sum, and a sum may overflow
                continue
        bad = np.argwhere(~np.isfinite(part))
        if len(bad):
            at = bad[0]
            value = part[tuple(at)]
            shown = "NaN" if np.isnan(value) else f"{value}"
            if source is not None and np.isinf(value):
                before = as_numbers(source, who, name).reshape(array.shape)[start + int(at[0])][tuple(at[1:])]
                shown = f"{before}, too large for {array.dtype}," if np.isfinite(before) else shown
            where = f"row {first_row + start + int(at[0])}" + (f", column {int(at[1])}" if len(at) > 1 else "")
            raise ValueError(f"{who} expects finite numbers, but {name} holds {shown} at {where}.")
