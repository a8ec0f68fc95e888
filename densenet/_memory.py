"""Working arrays that are kept between calls: memory is taken when a shape grows, not at every step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from densenet._types import Array


class Buffers:
    """Working arrays by name. Fewer rows take a prefix of the same memory, so the last, smaller batch costs nothing."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        size = math.prod(shape)
        memory = self._kept.get(name)
        if memory is None or memory.size < size or memory.dtype != dtype:
            memory = self._kept[name] = np.empty(size, dtype)
        return memory[:size].reshape(shape)


def without_caches(values: dict[str, Any], keep: frozenset[str] = frozenset()) -> dict[str, Any]:
    """An object's attributes without its working arrays (their names begin with an underscore), for copies."""
    return {k: v for k, v in values.items() if not k.startswith("_") or k in keep}
