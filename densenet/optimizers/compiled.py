"""Adam in one pass over the vectors, compiled: for long vectors, where NumPy's passes wait for memory.

The extra ``[fast]`` brings numba, and `Adam` and `AdamW` then take this kernel for vectors of `LONG` parameters and
more; without it, and for shorter ones, they take the lines in `adam.py`, which say the same. Every operation here is
rounded as it is there, with a fused multiply-add where most BLAS have one: the results agree to the last bits.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

LONG = 1 << 16
"""From this many parameters on the kernel saves, in some thousand steps, the second that it takes to compile."""


@functools.cache
def adam_kernel(dtype: np.dtype[Any]) -> Callable[..., None] | None:
    """The kernel for vectors of that dtype; None without numba.

    Returns
    -------
    callable or None
        kernel(p, g, m, v, c, beta_1, 1 - beta_1, beta_2, 1 - beta_2, eps): moves m, v and p in place.
    """
    try:
        numba: Any = importlib.import_module("numba")
        extending: Any = importlib.import_module("numba.extending")
    except ImportError:
        return None

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def fma(context: Any, a: Any, b: Any, c: Any) -> Any:  # a b + c, rounded once
        return a(a, a, a), lambda context, builder, signature, values: builder.fma(*values)

    def adam(
        p: Any, g: Any, m: Any, v: Any, c: Any, beta_1: Any, rest_1: Any, beta_2: Any, rest_2: Any, eps: Any
    ) -> None:
        for i in range(p.size):
            m[i] = fma(rest_1, g[i], beta_1 * m[i])  # m <- beta_1 m + (1 - beta_1) g
            v[i] = fma(rest_2, g[i] * g[i], beta_2 * v[i])  # v <- beta_2 v + (1 - beta_2) g^2
            p[i] = fma(-c, m[i] / (np.sqrt(v[i]) + eps), p[i])  # w <- w - c m / (sqrt(v) + eps)

    number = numba.float32 if dtype == np.float32 else numba.float64
    vector = number[::1]
    kernel: Callable[..., None] = numba.njit(
        numba.void(vector, vector, vector, vector, *[number] * 6), nogil=True, error_model="numpy"
    )(adam)
    return kernel
