"""The house's rules about imports: ranks are kept, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "densenet"

RANKS = {
    "_types": 0,
    "_memory": 0,
    "_blas": 0,
    "_validation": 0,
    "initializers": 1,
    "losses": 1,
    "optimizers": 1,
    "metrics": 1,
    "batches": 1,
    "datasets": 1,
    "tables": 1,
    "layers": 2,
    "sequential": 3,
    "gradient": 3,
    "history": 4,
    "callbacks": 4,
    "progress": 4,
    "loop": 4,
    "trainer": 4,
    "persistence": 4,
    "second_order": 4,
    "explain": 5,
    "plots": 5,
    "estimators": 5,
    "cli": 6,
    "__main__": 6,
    "": 7,
}

DELEGATES_UPWARD = {
    ("sequential", "persistence"),
    ("sequential", "plots"),
    ("trainer", "persistence"),
    ("history", "plots"),
    ("datasets", "sequential"),
    ("datasets", "layers"),
    ("cli", ""),
    ("callbacks", "sequential"),
    ("callbacks", "trainer"),
}
"""Imports upward, each inside a function or for type checking only."""

HEAVY = (
    "matplotlib",
    "sklearn",
    "tqdm",
    "pandas",
    "onnx",
    "onnxruntime",
    "torch",
    "safetensors",
    "IPython",
    "threadpoolctl",
    "numba",
    "scipy.special",
)


def unit(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(p for p in parts if p != "__init__"), ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST):
    """The modules of this package that a statement imports; a name imported from a package may be a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "densenet"]
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "densenet":
        full = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in NAMES or node.module == "densenet" else node.module for name in full]
    return []


def at_import_time(tree: ast.Module):
    """Nodes that run when the module is imported: not inside functions, not under TYPE_CHECKING."""
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        stack.extend(ast.iter_child_nodes(node))


MODULES = list(modules())
NAMES = {name for name, _ in MODULES}


@pytest.mark.parametrize(("name", "tree"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_go_to_lower_or_equal_ranks(name, tree):
    here = unit(name)
    assert here in RANKS, f"{here} has no rank yet"
    for node in at_import_time(tree):
        for target in imported(node):
            there = unit(target)
            assert RANKS.get(there, -1) <= RANKS[here], f"{name} imports {target}"
    for node in ast.walk(tree):
        for target in imported(node):
            there = unit(target)
            if there in RANKS and RANKS[there] > RANKS[here]:
                assert (here, there) in DELEGATES_UPWARD, f"{name} delegates upward to {target}"


def test_no_import_goes_in_a_circle():
    graph = {
        name: {t for node in at_import_time(tree) for t in imported(node) if t in NAMES} - {name}
        for name, tree in MODULES
        if name != "densenet"
    }
    done: set[str] = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize(("name", "tree"), MODULES, ids=[name for name, _ in MODULES])
def test_heavy_libraries_are_imported_inside_functions(name, tree):
    for node in at_import_time(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        heavy = [n for n in names if n.split(".")[0] in HEAVY]
        assert not heavy or unit(name) == "estimators", f"{name} imports {heavy}"


def test_importing_the_package_brings_none_of_them():
    code = f"import sys, densenet; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_super_chains():
    for name, tree in MODULES:
        calls = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "super"
        ]
        assert not calls or unit(name) == "estimators", name
