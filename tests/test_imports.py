"""The house's rules: a room uses what stands below it, no object's private names are taken, imports stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "densenet"

RANKS = {
    "_types": 0,
    "_files": 0,
    "_schema": 0,
    "_names": 0,
    "_memory": 0,
    "_blas": 0,
    "_validation": 0,
    "_config": 0,
    "_display": 0,
    "initializers": 1,
    "losses": 1,
    "optimizers": 1,
    "metrics": 1,
    "tables": 1,
    "layers": 2,
    "summary": 2,
    "sequential": 3,
    "perceptron": 3,
    "gradient": 3,
    "ensemble": 4,
    "compiled": 3,
    "datasets": 3,
    "training": 4,
    "tabular": 5,
    "checks": 5,
    "persistence": 5,
    "second_order": 5,
    "explain": 6,
    "batch_size": 6,
    "health": 6,
    "course": 6,
    "estimators": 6,
    "explore": 7,
    "plots": 7,
    "cli": 8,
    "__main__": 8,
    "": 9,
}
"""A module uses what stands below it, wherever its import is: at its head, in a function, for types only."""

TRAINING = """
    data history run hooks callbacks progress ranks accumulator reducer step evaluate full_batch slices loop trainer
""".split()
"""The order inside `training`: each imports only what stands before it."""

DELEGATIONS = {
    ("sequential", "persistence"): "Sequential.save writes a file",
    ("sequential", "plots"): "Sequential.plot draws the network",
    ("training.history", "plots"): "History.plot draws the curves",
    ("training.trainer", "persistence.checkpoints"): "Trainer.save_checkpoint writes one, fit(resume=) reads one",
    ("explain.route", "plots.route"): "Route.plot draws the route",
    ("explain.sensitivity", "plots.route"): "Sensitivity.plot draws the curve",
    ("health.rates", "plots.rates"): "LearningRates.plot draws the errors",
    ("batch_size.callback", "plots.batches"): "NoiseScale.plot draws both scales",
    ("health.batches", "plots.batches"): "BatchSizes.plot draws steps, samples and seconds",
    ("cli", ""): "--version asks the package",
}
"""Imports upward, each inside a function, by module and what it imports."""

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
    "llvmlite",
    "scipy.linalg",
    "scipy.special",
)

LOADED_WHEN_USED = """
    batch_size checks compiled course datasets explain health persistence plots second_order tables
""".split()


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
IDS = [name for name, _ in MODULES]


def rank(name: str) -> float:
    """The rank of a module's room, and inside `training` of the module itself."""
    parts = name.split(".")[1:]
    here = RANKS[unit(name)]
    return here + TRAINING.index(parts[1]) / len(TRAINING) if parts[:1] == ["training"] and parts[1:] else here


def used(name: str, tree: ast.Module) -> set[str]:
    """The modules that a module imports anywhere in its text, but for its delegations."""
    found = {target for node in ast.walk(tree) for target in imported(node)}
    return {target for target in found if (short(name), short(target)) not in DELEGATIONS} - {name}


def short(name: str) -> str:
    return name.removeprefix("densenet").removeprefix(".")


@pytest.mark.parametrize(("name", "tree"), MODULES, ids=IDS)
def test_a_module_uses_only_lower_or_equal_ranks(name, tree):
    assert unit(name) in RANKS, f"{name} has no rank yet"
    for target in used(name, tree):
        assert rank(target) <= rank(name), f"{name} uses {target}"


def test_delegations_are_inside_functions_and_all_in_use():
    inside = set()
    for name, tree in MODULES:
        head = {target for node in at_import_time(tree) for target in imported(node)}
        inside |= {(short(name), short(t)) for node in ast.walk(tree) for t in imported(node) if t not in head}
    missing = {pair for pair in DELEGATIONS if f"densenet.{pair[0]}" in NAMES} - inside
    assert not missing


def test_no_use_goes_in_a_circle():
    graph = {name: used(name, tree) & NAMES - {"densenet"} for name, tree in MODULES if name != "densenet"}
    done: set[str] = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize(("name", "tree"), MODULES, ids=IDS)
def test_heavy_libraries_are_imported_inside_functions(name, tree):
    for node in at_import_time(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        heavy = [n for n in names if n.split(".")[0] in HEAVY]
        assert not heavy or unit(name) in ("estimators", "compiled"), f"{name} imports {heavy}"


def test_importing_the_package_brings_none_of_them():
    rooms = tuple(f"densenet.{room}" for room in LOADED_WHEN_USED)
    code = f"import sys, densenet; print([m for m in {HEAVY + rooms!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_command_loads_no_other_and_a_picture_no_second_derivatives():
    rooms = ("cli.explore", "cli.route", "batch_size", "explain", "health", "second_order")
    code = (
        "import sys, densenet.cli, densenet.plots\n"
        "try: densenet.cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {tuple(f'densenet.{room}' for room in rooms)!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_no_super_chains():
    for name, tree in MODULES:
        calls = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "super"
        ]
        assert not calls or unit(name) == "estimators", name


REACHES = {
    (
        "tables.preparation",
        "TablePreparation()._take",
    ): "from_state makes a preparation of its own class from parts it has checked",
    ("course.child", "os._exit"): "the documented way to end a process whatever threads it left",
    ("estimators.members", "member._said"): "members are copies of the estimator itself",
    ("estimators.members", "member._train"): "members are copies of the estimator itself",
}
"""Where a module takes the `_name` of another object than `self` or `cls`, and why it may."""


def test_no_module_takes_private_names_of_other_objects_but_those_listed():
    found = [
        (short(name), ast.unparse(node))
        for name, tree in MODULES
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    assert sorted(found) == sorted(REACHES)
    assert len(found) < 12
