"""The one door for data frames: pandas, polars and pyarrow by way of narwhals (extra `dataframe`)."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from densenet.tables.messages import listed


def is_frame(data: Any) -> bool:
    """Whether something looks like a data frame."""
    return hasattr(data, "columns") and any(hasattr(data, name) for name in ("to_numpy", "to_pydict", "collect"))


def frame_columns(data: Any) -> dict[str, Any] | None:
    """A data frame's columns as lists and arrays, missing values as None or NaN; None if it is no data frame.

    Raises
    ------
    ImportError
        Without narwhals.
    TypeError
        If it is lazy, or a column holds what is neither numbers, text nor dates.
    ValueError
        If two columns have one name.
    """
    if not is_frame(data):
        return None
    names = [str(name) for name in (data.column_names if hasattr(data, "column_names") else data.columns)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Table expects every column to have a name of its own, got twice: {listed(twice)}.")
    try:
        import narwhals as nw
    except ImportError:
        raise ImportError("data frames need the narwhals library: pip install '.[dataframe]'") from None
    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"Table expects a frame that holds its rows, got a lazy {type(data).__name__}: collect() it.")
    if not isinstance(frame, nw.DataFrame):
        return None
    return {name: _values(name, series) for name, series in zip(names, frame.iter_columns(), strict=True)}


def as_word(value: Any) -> str:
    """A value as people write it: 3 for 3.0."""
    kinds: Any = (Real, Decimal)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return str(value)
    return str(int(value)) if float(value).is_integer() else str(float(value))


def _values(name: str, series: Any) -> Any:
    import narwhals as nw

    kind = series.dtype
    if kind.is_numeric() and kind != nw.Decimal and not series.is_null().any():
        return series.cast(nw.Float64).to_numpy()
    numbers = kind.is_numeric()
    if kind == nw.Unknown:  # to narwhals: such as a sparse column, or one that is null everywhere
        numbers = series.is_null().all() or np.asarray(series.to_native()).dtype.kind in "biuf"
    known = (nw.Datetime, nw.Date, nw.Boolean, nw.String, nw.Categorical, nw.Enum, nw.Object)
    if not numbers and kind not in known:
        native = series.to_native()
        dtype = native.dtype if hasattr(native, "dtype") else native.type
        raise TypeError(f"Table expects column {name!r} to be numbers, text or dates, got dtype {dtype}.")
    absent = series.is_null().to_list()
    values = [None if gap else value for value, gap in zip(series.to_list(), absent, strict=True)]
    if kind in (nw.Categorical, nw.Enum):  # categories are words, whatever they are called
        values = [None if value is None else as_word(value) for value in values]
    if numbers:
        return np.array([np.nan if value is None else float(value) for value in values], np.float64)
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects
