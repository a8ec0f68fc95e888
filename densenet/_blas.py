"""Products in place, and one pool of BLAS threads to compute them.

NumPy and SciPy wheels each carry a BLAS of their own with its own thread pool, and two pools that work at once fight
for the cores. Every product of this package is therefore made by one of them, SciPy's, whose routines write into the
array they are given. All arrays here are C-ordered; BLAS thinks in Fortran order, so each routine is handed the
transposes, which are views: Z = A B is computed as Z^T = B^T A^T.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, cast

import numpy as np
import scipy

from densenet._types import Array

ONCE = 1.0
"""The factor of a product."""
ANEW, ADDED = 0.0, 1.0
"""The factor of what stands in the array that is written: a product replaces it, or is added to it."""
AS_IS, TRANSPOSED = 0, 1
"""How BLAS takes a matrix."""
IN_PLACE = 1
"""BLAS writes into the array it is given."""


def _routines() -> ModuleType:
    """SciPy's BLAS routines, loaded without the rest of `scipy.linalg`, which takes twice as long to import as NumPy.

    A SciPy that keeps them elsewhere is imported whole.
    """
    name = "scipy.linalg._fblas"
    if name not in sys.modules:
        spec = PathFinder.find_spec(name, [os.path.join(folder, "linalg") for folder in scipy.__path__])
        if spec is None or spec.loader is None:
            from scipy.linalg import blas

            return cast("ModuleType", blas)
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class Products(NamedTuple):
    """The in-place products of one dtype; every array is C-ordered, `out` is written, `beta` times it is kept."""

    nn: Callable[[Array, Array, Array, float], None]
    """nn(a, b, out, beta): out = a b + beta out"""
    tn: Callable[[Array, Array, Array, float], None]
    """tn(a, b, out, beta): out = a^T b + beta out"""
    nt: Callable[[Array, Array, Array, float], None]
    """nt(a, b, out, beta): out = a b^T + beta out"""
    column_sums: Callable[[Array, Array, Array], None]
    """column_sums(a, ones, out): out = a^T 1"""
    row_sums: Callable[[Array, Array, Array], None]
    """row_sums(a, ones, out): out = a 1"""
    add_scaled: Callable[[Array, Array, float], None]
    """add_scaled(a, out, c): out = out + c a, for vectors"""
    mix: Callable[[Array, Array, float, float], None]
    """mix(a, out, c, beta): out = beta out + c a, for vectors, in one call"""
    dot: Callable[[Array, Array], float]
    """dot(a, b): a^T b, for vectors"""
    gemm: Any
    """gemm(ONCE, a, b, beta, c, trans_a, trans_b, IN_PLACE): SciPy's routine, for callers that keep the transposes"""
    gemv: Any
    """gemv(ONCE, a, x, beta, y, 0, 1, 0, 1, trans_a, IN_PLACE), with start and step of x and of y, for a vector x"""
    axpy: Any
    """axpy(a, out, None, c): what `add_scaled` calls, for the one place where every step of a tiny network passes"""


def _products(gemm: Any, gemv: Any, axpy: Any, dot: Any, dtype: Any) -> Products:
    one = np.ones(1, dtype)

    def writable(out: Array) -> Array:
        """`out`, unless BLAS would write to a copy of it: a column slice, a transpose, another dtype."""
        if not out.flags.c_contiguous or out.dtype != dtype:
            raise ValueError(
                f"products write in place to a C-contiguous array of {np.dtype(dtype)}, got {out.dtype} "
                f"{out.shape} with strides {out.strides}: copy the result of a contiguous array there."
            )
        return out

    def nn(a: Array, b: Array, out: Array, beta: float) -> None:
        gemm(ONCE, b.T, a.T, beta, writable(out).T, AS_IS, AS_IS, IN_PLACE)

    def tn(a: Array, b: Array, out: Array, beta: float) -> None:
        gemm(ONCE, b.T, a.T, beta, writable(out).T, AS_IS, TRANSPOSED, IN_PLACE)

    def nt(a: Array, b: Array, out: Array, beta: float) -> None:
        gemm(ONCE, b.T, a.T, beta, writable(out).T, TRANSPOSED, AS_IS, IN_PLACE)

    def column_sums(a: Array, ones: Array, out: Array) -> None:
        gemv(ONCE, a.T, ones, ANEW, writable(out), 0, 1, 0, 1, AS_IS, IN_PLACE)

    def row_sums(a: Array, ones: Array, out: Array) -> None:
        gemv(ONCE, a.T, ones, ANEW, writable(out), 0, 1, 0, 1, TRANSPOSED, IN_PLACE)

    def add_scaled(a: Array, out: Array, c: float) -> None:
        axpy(a, out, None, c)

    def mix(a: Array, out: Array, c: float, beta: float) -> None:
        gemv(c, a[:, None], one, beta, out, 0, 1, 0, 1, AS_IS, IN_PLACE)  # a matrix of one column, times 1

    return Products(nn, tn, nt, column_sums, row_sums, add_scaled, mix, dot, gemm, gemv, axpy)


blas = _routines()
_BY_DTYPE = {
    np.dtype(np.float32): _products(blas.sgemm, blas.sgemv, blas.saxpy, blas.sdot, np.float32),
    np.dtype(np.float64): _products(blas.dgemm, blas.dgemv, blas.daxpy, blas.ddot, np.float64),
}


def products(dtype: Any) -> Products:
    """The in-place products for float32 or float64."""
    return _BY_DTYPE[np.dtype(dtype)]


_scan: tuple[int, list[Any], list[Any]] = (-1, [], [])


def _pools() -> tuple[list[Any], list[Any]]:
    """The BLAS pools that this package uses, and all others in the process.

    Where NumPy and SciPy share one BLAS (as in most distributions other than the wheels) that one is ours.
    """
    global _scan
    if _scan[0] != len(sys.modules):  # a library may have brought another BLAS
        from threadpoolctl import ThreadpoolController

        pools = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]
        ours = [c for c in pools if "scipy" in c.filepath.replace("scipy_openblas", "")]
        if not ours:
            others = [c for c in pools if "numpy" in c.filepath or "torch" in c.filepath]
            ours = [c for c in pools if c not in others] or pools
        _scan = (len(sys.modules), ours, [c for c in pools if c not in ours])
    return _scan[1], _scan[2]


def blas_description() -> dict[str, str | int]:
    """Name, version, architecture and thread count of the BLAS in use: what bitwise results depend on."""
    ours, _ = _pools()
    if not ours:
        return {"blas": "unknown", "version": "", "architecture": "", "threads": 0}
    pool = ours[0]
    return {
        "blas": str(pool.internal_api),
        "version": str(pool.version or ""),
        "architecture": str(getattr(pool, "architecture", "") or ""),
        "threads": int(pool.num_threads),
    }


_pool_lock = threading.Lock()


def _limit(pool: Any, count: int) -> None:
    """Set a pool's number of threads from any thread: threadpoolctl 3.8 lets the first that asks alone set it."""
    free = getattr(pool, "clear_controlling_thread", lambda force: None)
    free(force=True)
    pool.set_num_threads(count)
    free(force=True)


class _AtOne:
    """BLAS pools at one thread, from the first caller on until the last one has left; then the former number is back.

    Parameters
    ----------
    which : {0, 1}
        The pools this package uses, or all others.
    """

    def __init__(self, which: int) -> None:
        self.which, self.users = which, 0
        self.held: list[tuple[Any, int]] = []

    @contextmanager
    def hold(self) -> Iterator[None]:
        with _pool_lock:
            self.users += 1
            held = [pool for pool, _ in self.held]
            for pool in _pools()[self.which]:
                if pool not in held and (count := pool.num_threads) != 1:
                    self.held.append((pool, count))
                    _limit(pool, 1)
        try:
            yield
        finally:
            with _pool_lock:
                self.users -= 1
                if not self.users:
                    self.release()

    def release(self) -> None:
        """Put the former numbers back."""
        self.users = 0
        while self.held:
            pool, count = self.held.pop()
            _limit(pool, count)


_ours, _others = _AtOne(0), _AtOne(1)


def one_pool() -> AbstractContextManager[None]:
    """Keep every BLAS but this package's at one thread until the last caller has left."""
    return _others.hold()


def one_thread() -> AbstractContextManager[None]:
    """Keep this package's BLAS at one thread until the last caller has left: for fits that run beside each other."""
    return _ours.hold()


def _start_anew() -> None:
    """In a forked child, forget the parent's threads and locks."""
    global _pool_lock
    _pool_lock = threading.Lock()
    for pools in (_ours, _others):
        pools.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


class threads:
    """Set the number of BLAS threads that densenet computes with; limits are per process.

    As a call it holds until the next one; as a context manager it puts back what it found. Results are bit for
    bit the same at one setting, and may differ in the last bits between two.

    Parameters
    ----------
    n : int
        Number of threads, at least 1.

    Raises
    ------
    ValueError
        If `n` is not a whole number of at least 1.

    Examples
    --------
    >>> import densenet as dn
    >>> with dn.threads(1):
    ...     pass
    """

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"threads expects a whole number of at least 1, got {n!r}.")
        self.n = int(n)
        self._before = [(pool, pool.num_threads) for pool in _pools()[0]]
        for pool, _ in self._before:
            _limit(pool, self.n)

    def __enter__(self) -> threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool, count in self._before:
            _limit(pool, count)

    def __repr__(self) -> str:
        return f"threads({self.n})"
