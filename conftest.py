"""Kernels are written in numba, which is an extra: without it their modules cannot be imported to look for examples."""

from __future__ import annotations

from importlib.util import find_spec

KERNELS = "functions layers losses primitives updates".split()
collect_ignore = [] if find_spec("numba") else [f"densenet/compiled/{name}.py" for name in KERNELS]
