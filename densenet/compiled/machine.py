"""From a kernel's name to the address of its machine code, which is loaded from a file or compiled by numba.

numba types a kernel and makes it a module of LLVM's language; LLVM makes that an object file, which is all that is kept
and loaded. A process that finds every kernel in the cache imports llvmlite alone.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import platform
import re
import sys
import threading
from pathlib import Path
from typing import Any

from densenet.compiled import cache

_lock = threading.RLock()
_engine: Any = None
_place: Path | None = None
_addresses: dict[tuple[str, str], int] = {}
compiled: list[tuple[str, str]] = []
"""The kernels that this process has compiled, with their dtypes."""


class CompilationError(Exception):
    """A kernel cannot be compiled on this machine."""


def missing() -> str | None:
    """Why this process cannot compile kernels; None if it can."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set"
    for name in ("numba", "llvmlite"):
        if sys.modules.get(name, name) is None or not _is_installed(name):
            return "numba is not installed: pip install '.[fast]'"
    if sys.maxsize < 2**62:
        return "the machine's addresses have 32 bits"
    return None


@functools.cache
def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def every_kernel() -> list[str]:
    """The names of all kernels: the functions of (a, c, s, r) of three modules."""
    names = []
    for module in ("layers", "losses", "updates"):
        room = importlib.import_module(f"densenet.compiled.{module}")
        for name, function in vars(room).items():
            own = inspect.isfunction(function) and function.__module__ == room.__name__
            if own and [*inspect.signature(function).parameters] == ["a", "c", "s", "r"]:
                names.append(f"{module}.{name}")
    return names


def addresses(kernels: list[str], dtype: str) -> dict[str, int]:
    """Addresses of kernels such as ``"layers.dense"`` for "float32" or "float64"; missing ones are compiled.

    Raises
    ------
    CompilationError
        If numba or LLVM fails.
    """
    with _lock:
        place = folder()
        wanted = [name for name in dict.fromkeys(kernels) if (name, dtype) not in _addresses]
        absent = []
        for name in wanted:
            code = cache.load(place, f"{name}.{dtype}")
            if code is None:
                absent.append(name)
            else:
                _load(name, dtype, code)
        if len(absent) > 2:
            print(
                f"densenet: compiling {len(absent)} {dtype} kernels with numba, once on this machine: it takes some "
                "seconds.",
                file=sys.stderr,
                flush=True,
            )
        for name in absent:
            code = _compile(name, dtype)
            _load(name, dtype, code)
            cache.store(place, f"{name}.{dtype}", code)
        return {name: _addresses[name, dtype] for name in kernels}


def _llvm() -> Any:
    """LLVM's own interface, ready for this processor."""
    global _engine
    binding: Any = importlib.import_module("llvmlite.binding")
    if _engine is None:
        if not hasattr(binding, "newpassmanagers") and hasattr(binding, "initialize"):
            binding.initialize()
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        _engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target(binding))
    return binding


def _target(binding: Any) -> Any:
    reloc = "static" if platform.machine().lower() in ("x86_64", "amd64") else "default"
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc=reloc,
        codemodel="jitdefault",
        jit=True,
    )


def folder() -> Path:
    """The cache's folder for this room's texts, these versions and this processor."""
    global _place
    if _place is None:
        binding = _llvm()
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numba", "llvmlite", "numpy", "scipy")]
        parts = [*versions, sys.version, sys.platform, binding.get_default_triple(), binding.get_host_cpu_name()]
        key = hashlib.sha256(cache.texts())
        key.update("\n".join([*parts, binding.get_host_cpu_features().flatten()]).encode())
        _place = cache.folder(key.hexdigest()[:24])
    return _place


def _symbol(name: str, dtype: str) -> str:
    return f"densenet.{name}.{dtype}"


def _load(name: str, dtype: str, code: bytes) -> None:
    binding = _llvm()
    _engine.add_object_file(binding.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    address = _engine.get_function_address(_symbol(name, dtype))
    if not address:
        raise CompilationError(f"LLVM does not find the kernel {name}")
    _addresses[name, dtype] = address


def _compile(name: str, dtype: str) -> bytes:
    """An object file with the kernel in it, for this processor."""
    binding = _llvm()
    try:
        numba: Any = importlib.import_module("numba")
        options = importlib.import_module("densenet.compiled.primitives").OPTIONS
        module, _, function = name.partition(".")
        kernel = getattr(importlib.import_module(f"densenet.compiled.{module}"), function)
        pointer, integer, double = numba.types.CPointer, numba.types.int64, numba.types.float64
        signature = numba.types.void(
            pointer(integer), pointer(getattr(numba.types, dtype)), pointer(integer), pointer(double)
        )
        made = numba.njit(signature, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(kernel)
        (result,) = made.overloads.values()
        (text,) = made.inspect_llvm().values()
        parsed = binding.parse_assembly(_alone(text, result.fndesc.llvm_func_name, _symbol(name, dtype)))
        for outside in parsed.functions:
            if (
                outside.is_declaration
                and not outside.name.startswith("llvm.")
                and not binding.address_of_symbol(outside.name)
            ):
                raise CompilationError(f"the kernel {name} needs {outside.name}, which is not there")
        compiled.append((name, dtype))
        code: bytes = _target(binding).emit_object(parsed)
        return code
    except CompilationError:
        raise
    except Exception as error:
        raise CompilationError(f"the kernel {name} does not compile: {type(error).__name__}: {error}") from error


def _alone(text: str, mangled: str, symbol: str) -> str:
    """The text of the module with the kernel under its plain name as the only external symbol.

    numba counts references to arrays; those of a kernel are made from addresses and count nothing.
    """
    text = text.replace(f'@"{mangled}"', f"@{mangled}").replace(f"@{mangled}(", f'@"{symbol}"(')
    text = re.sub(
        r"declare void @NRT_MemInfo_call_dtor\(([^\s)]*)[^)]*\).*",
        r"define internal void @NRT_MemInfo_call_dtor(\1 %0) {\n  ret void\n}",
        text,
    )
    text = text.replace("define linkonce_odr ", "define internal ")
    return re.sub(r"= common (.*?global)", r"= internal \1", text)
