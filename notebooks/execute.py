"""Run the notebooks in this folder from fresh kernels: write their outputs, or check that the committed ones hold.

    python notebooks/execute.py                    # run all, write the outputs into the files
    python notebooks/execute.py 02*.ipynb          # only these
    python notebooks/execute.py --check            # run all, compare, write nothing; exit code 1 where one is stale

Texts must be equal, and numbers within them equal to three digits, so that another BLAS's last bits do no harm. Cells
tagged `timing` may print what they like. Pictures must be there; what they show is tested elsewhere.

A blank is an assignment of ``...``. `solutions/` has a file a notebook, whose statements take the blanks' places: the
check runs a cell with blanks as it stands, then filled in, and its checkers must say "right" then and only then.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NUMBER = re.compile(r"[-+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
RIGHT = re.compile(r".*: right|(\d+) of \1 parts are right\.")
LARGEST = 1_000_000  # bytes


def execute(path: Path, found: list[str] | None = None) -> Any:
    """The notebook, run from a fresh kernel in its own folder; `found` gets what is wrong with its blanks."""
    import nbformat
    from nbclient import NotebookClient

    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # whatever the surroundings prefer
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # members of a table's network then train in the kernel anywhere
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "error"  # a busy machine's workers are slow to end, and say so
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where)
    answers = solutions(path)
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            names = blanks(cell)
            if found is not None and names:
                found += [f"cell {index}: {problem}" for problem in trial(client, cell, index, answers)]
                notebook.cells[index] = cell
            for name in names:
                answers.pop(name, None)
    if found is not None and answers:
        found.append(f"has no blank for the solutions {', '.join(answers)}")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


def trial(client: Any, cell: Any, index: int, answers: dict[str, str]) -> list[str]:
    """Run a cell with its blanks filled in, then as it stands; what its checkers say wrongly."""
    missing = [name for name in blanks(cell) if name not in answers]
    if missing:
        return [f"there is no solution for {', '.join(missing)}"]
    done = copy.deepcopy(cell)
    done.source = filled(cell.source, answers)
    client.execute_cell(done, index, store_history=False)
    client.execute_cell(copy.deepcopy(cell), index, store_history=False)
    before, after = ["".join(texts(one)).removeprefix("stdout: ").splitlines() for one in (cell, done)]
    found = [f"the solution is judged {line!r}" for line in after or ["by nothing"] if not RIGHT.fullmatch(line)]
    return found + [f"an empty blank is judged {line!r}" for line in before if RIGHT.fullmatch(line)]


def blanks(cell: Any) -> list[str]:
    """Names of a cell's top-level statements that hold a blank."""
    if cell.cell_type != "code" or "..." not in cell.source:
        return []
    return [name for node in ast.parse(cell.source).body if is_blank(node) for name in bound(node)]


def is_blank(node: ast.stmt) -> bool:
    """Whether an assignment of ``...`` is in a statement."""
    values = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Assign)]
    return any(isinstance(value, ast.Constant) and value.value is ... for value in values)


def bound(node: ast.stmt) -> list[str]:
    """The name that a statement binds: a function's, a class's, or an assignment's target."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(node.targets[0])]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []


def filled(source: str, answers: dict[str, str]) -> str:
    """A cell's code with every blank statement replaced by the solution that binds the same name."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if is_blank(node):
            lines[node.lineno - 1 : node.end_lineno] = [answers[name] for name in bound(node)]
    return "\n".join(lines)


def solutions(path: Path) -> dict[str, str]:
    """Statements by the name they bind, from the file of a notebook's solutions."""
    file = path.parent / "solutions" / f"{path.stem}.py"
    if not file.exists():
        return {}
    source = file.read_text(encoding="utf-8")
    return {name: ast.get_source_segment(source, node) or "" for node in ast.parse(source).body for name in bound(node)}


def texts(cell: Any) -> list[str]:
    """What a cell printed or returned, as text; pictures by their kind."""
    streams: dict[str, str] = {}  # a busy kernel sends one stream in several pieces
    shown = []
    for output in cell.outputs:
        if output.output_type == "stream":
            streams[output.name] = streams.get(output.name, "") + output.text
        elif "data" in output:
            kinds = sorted(kind for kind in output.data if kind.startswith("image/"))
            shown.append(", ".join(kinds) or output.data.get("text/plain", ""))
    return [*(f"{name}: {text}" for name, text in sorted(streams.items())), *shown]


def same(one: str, other: str) -> bool:
    """Equal texts, numbers to three digits; columns may stand further apart, as 66.000 and 65.9999 are not as long."""
    if re.sub(" +", " ", NUMBER.sub("#", one)) != re.sub(" +", " ", NUMBER.sub("#", other)):
        return False
    for a, b in zip(NUMBER.findall(one), NUMBER.findall(other), strict=True):
        x, y = float(re.sub("[,_]", "", a)), float(re.sub("[,_]", "", b))
        if abs(x - y) > 1e-3 * max(abs(x), abs(y)) + 1e-9:
            return False
    return True


def complaints(path: Path) -> list[str]:
    """Why a committed notebook is not as it should be."""
    import nbformat

    committed = nbformat.read(path, as_version=4)
    found: list[str] = []
    if path.stat().st_size > LARGEST:
        found.append(f"is {path.stat().st_size:,} bytes, more than {LARGEST:,}")
    for number, (old, new) in enumerate(zip(committed.cells, execute(path, found).cells, strict=True)):
        if new.cell_type != "code":
            continue
        if old.execution_count is None:
            found.append(f"cell {number} has not been run")
        if any(text.startswith("stderr") for text in texts(new)):
            found.append(f"cell {number} writes to stderr: {texts(new)}")
        if "timing" in new.metadata.get("tags", []):
            continue
        before, after = texts(old), texts(new)
        if len(before) != len(after) or not all(map(same, before, after)):
            found.append(f"cell {number} is stale:\n--- committed\n{before}\n--- now\n{after}")
    return found


def main() -> int:
    """Run or check the notebooks named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="*", help="patterns in this folder (default: all)")
    parser.add_argument("--check", action="store_true", help="compare with the committed outputs and write nothing")
    args = parser.parse_args()
    paths = sorted({path for pattern in args.notebooks or ["*.ipynb"] for path in FOLDER.glob(Path(pattern).name)})
    failed = 0
    for path in paths:
        start = time.perf_counter()
        if args.check:
            found = complaints(path)
            failed += bool(found)
            said = "; ".join(found) or "as committed"
        else:
            import nbformat

            nbformat.write(execute(path), path)
            said = "written"
        print(f"{path.name}: {said} ({time.perf_counter() - start:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
