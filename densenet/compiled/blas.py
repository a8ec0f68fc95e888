"""Addresses of SciPy's BLAS routines, which kernels call as C code does; `densenet._blas` calls the same library."""

from __future__ import annotations

import ctypes
import functools
import importlib
import re

import numpy as np

_ARGUMENTS = {
    "gemm": "char char int int int real real int real int real real int",
    "gemv": "char int int real real int real int real real int",
    "axpy": "int real real int real int",
}
_TYPES = {"char": "char", "int": "int"}
_REAL = {"s": r"(?:float|\w*_s|s)", "d": r"(?:double|\w*_d|d)"}


class BlasError(Exception):
    """Kernels cannot call SciPy's BLAS."""


@functools.cache
def address(routine: str, dtype: np.dtype[np.floating]) -> int:
    """Address of ``sgemm`` and its like, for `routine` in ``{"gemm", "gemv", "axpy"}``.

    Raises
    ------
    BlasError
        If SciPy does not offer it, or its integers or numbers are not of the expected sizes.
    """
    letter = "s" if dtype == np.float32 else "d"
    name = letter + routine
    try:
        capsule = importlib.import_module("scipy.linalg.cython_blas").__pyx_capi__[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise BlasError(f"SciPy offers no {name} to compiled code ({error!r})") from None
    get_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    signature = get_name(capsule)
    check_signature(name, signature.decode())
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return int(get_pointer(capsule, signature))


def check_signature(name: str, signature: str) -> None:
    """Check that a routine takes 32-bit integers and floats of its precision, all by address.

    Raises
    ------
    BlasError
        If it does not, naming what it takes.

    Examples
    --------
    >>> from densenet.compiled.blas import check_signature
    >>> check_signature("sgemv", "void (char *, int *, int *, s *, s *, int *, s *, int *, s *, s *, int *)")
    """
    types = _TYPES | {"real": _REAL[name[0]]}
    wanted = ", ".join(rf"{types[kind]} \*" for kind in _ARGUMENTS[name[1:]].split())
    if not re.fullmatch(rf"void \({wanted}\)", signature):
        raise BlasError(f"SciPy's {name} takes other arguments than 32-bit integers and plain numbers: {signature}")
