"""The process in which a submission runs: arrays in, arrays out. It imports NumPy and nothing of this package.

Run as a script with the arguments ``SUBMISSION INPUT.npz OUTPUT.npz MEGABYTES SECONDS``. It is no sandbox: the
submission can do what the account that runs it can do.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tokenize
import traceback
from pathlib import Path
from typing import Any

import numpy as np


def limit(megabytes: int, seconds: int) -> None:
    """Limits of memory and processor time, where the system has them."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    size = megabytes << 20
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def cells(path: Path) -> list[str]:
    """The code of a script, or of a notebook's cells without lines for the notebook alone."""
    if path.suffix != ".ipynb":
        with tokenize.open(path) as file:  # by its coding line, as Python reads it
            return [file.read()]
    stored = json.loads(path.read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in stored["cells"] if cell["cell_type"] == "code"]
    return ["\n".join("" if line.startswith(("%", "!")) else line for line in cell.split("\n")) for cell in code]


def load(path: Path, kind: str) -> tuple[Any, str]:
    """The function of a submission, and why there is none. Cells that fail are passed over."""
    names: dict[str, Any] = {"__name__": "__submission__", "__file__": str(path)}
    sys.path.append(str(path.parent))  # its own modules, after all others: a file named random.py hides nothing
    problem = ""
    try:
        sources = cells(path)
    except (ValueError, KeyError, TypeError, OSError, SyntaxError) as error:
        return None, f"The file cannot be read: {shown(error)}"
    for source in sources:
        try:
            exec(compile(source, str(path), "exec"), names)
        except BaseException as error:
            problem = problem or f"The file stops with {shown(error)}"
    for name in (f"backward_{kind}", "backward"):
        if callable(names.get(name)):
            return names[name], ""
    return None, problem or f"The file defines no function backward(W, b, x, y), and no backward_{kind}."


def stopped_with(error: BaseException) -> str:
    """Why a function gave nothing, and which blanks it still has."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    blanks = [name for frame in frames for name, value in frame.f_locals.items() if value is ...]
    rest = f" Not filled in yet: {', '.join(dict.fromkeys(blanks))}." if blanks else ""
    return f"The function stops with {shown(error)}.{rest}"


def shown(error: BaseException) -> str:
    """An exception's class and text, where it has one."""
    return f"{type(error).__name__}: {error}".rstrip(": .")


def as_pairs(result: Any, count: int) -> list[tuple[Any, Any]]:
    """(dW, db) by layer from what a function returned, in float64; None where nothing was written yet."""
    expects = f"The function must return a list of {count} pair{'s'[: count > 1]} (dW, db), one a layer"
    if isinstance(result, (list, tuple)) and len(result) == 2 and _all_of_a_kind(result):
        raise ValueError(f"{expects}; it returned all dW, then all db: list(zip(dW, db)) pairs them.")
    if not isinstance(result, (list, tuple)) or len(result) != count:
        got = f"{len(result)} entries" if isinstance(result, (list, tuple)) else type(result).__name__
        raise ValueError(f"{expects}; it returned {got}.")
    found = []
    for number, pair in enumerate(result, start=1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"{expects}; entry {number} is {type(pair).__name__}, not a pair.")
        found.append((as_numbers(pair[0], f"dW({number})"), as_numbers(pair[1], f"db({number})")))
    return found


def _all_of_a_kind(result: Any) -> bool:
    """Whether these are a list of matrices and a list of vectors."""
    try:
        dims = [{np.ndim(array) for array in part} if isinstance(part, (list, tuple)) else set() for part in result]
    except ValueError:  # rows of different lengths
        return False
    return dims == [{2}, {1}]


def as_numbers(value: Any, name: str = "") -> Any:
    """A student's array in float64; None where nothing was written yet."""
    if value is None or value is ...:
        return None
    said = f"{name} must be an array of numbers" if name else "expected numbers"
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{said}: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{said}, got {type(value).__name__} of {array.dtype}.")
    return array.astype(np.float64)


def called(backward: Any, given: Any, case: int, layers: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and status of one call."""
    W = [given[f"{case}.W{i}"].copy() for i in range(layers)]
    b = [given[f"{case}.b{i}"].copy() for i in range(layers)]
    x, y = given[f"{case}.x"].copy(), given[f"{case}.y"].copy()
    try:
        result = backward(W, b, x, y)
    except BaseException as error:
        return {}, {"problem": stopped_with(error)}
    try:
        pairs = as_pairs(result, layers)
    except (TypeError, ValueError) as error:
        return {}, {"problem": str(error)}
    named = {f"{case}.{name}{i}": a for i, pair in enumerate(pairs) for name, a in zip(("dW", "db"), pair, strict=True)}
    arrays = {name: array for name, array in named.items() if array is not None}
    olds = [(w, f"{case}.W{i}") for i, w in enumerate(W)] + [(v, f"{case}.b{i}") for i, v in enumerate(b)]
    olds += [(x, f"{case}.x"), (y, f"{case}.y")]
    return arrays, {"written": not all(np.array_equal(now, given[name]) for now, name in olds)}


def main(submission: str, source: str, target: str, megabytes: str, seconds: str) -> None:
    """Run a submission on every case of the input."""
    with np.load(source, allow_pickle=False) as stored:
        given = {name: stored[name] for name in stored.files}
    limit(int(megabytes), int(seconds))
    count, layers = int(given["count"]), int(given["layers"])
    backward, problem = load(Path(submission), str(given["kind"]))
    arrays: dict[str, Any] = {}
    status: list[dict[str, Any]] = []
    for case in range(count):
        found, state = ({}, {"problem": problem}) if problem else called(backward, given, case, layers)
        arrays |= found
        status.append(state)
    text = json.dumps({"cases": status, "densenet": any(name.split(".")[0] == "densenet" for name in sys.modules)})
    np.savez(target, status=np.frombuffer(text.encode(), np.uint8), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # threads that the submission left running are not waited for
