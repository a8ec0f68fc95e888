"""Grading a file that a student handed in, in a process of its own with limits on time and memory.

The process is no sandbox: a submission can read, write and send what the account that runs it can. Grade the work of
people you trust, or inside a container or a virtual machine.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import positive, positive_int
from densenet.course.exercise import Exercise
from densenet.course.grade import Answer, Grade, drawn_exercises, judged

_CHILD = Path(__file__).with_name("child.py")
_MOST_BYTES = 64 << 20
_IMPORTS = re.compile(r"^\s*(?:import|from)\s+densenet\b|import_module\(.densenet|__import__\(.densenet", re.MULTILINE)


def grade_file(
    path: str | os.PathLike[str],
    exercise: str | Exercise,
    *,
    networks: int = 5,
    seed: Any = 0,
    seconds: float = 20.0,
    megabytes: int = 2048,
) -> Grade:
    """Grade the function ``backward(W, b, x, y)`` of a script or notebook, in a process of its own.

    Where the file defines a function named for the exercise, such as ``backward_softmax``, that one counts: one file
    may answer every step of the ladder.

    The process is given arrays and gives arrays back; they are compared here. Its time is limited everywhere, its
    memory where the system has such limits (not on Windows). It is no sandbox: a submission can do whatever your
    account can.

    Parameters
    ----------
    path : str or path
        A ``.py`` or ``.ipynb`` file. Of a notebook all code cells run, in order; those that fail are passed over.
    exercise : str or Exercise
        As for `grade`.
    networks : int, default 5
    seed : int or Generator, default 0
    seconds : float, default 20.0
        The process's time.
    megabytes : int, default 2048
        The process's memory.

    Returns
    -------
    Grade
        Its `flags` say so where the submission imports densenet.

    Raises
    ------
    ValueError, OSError
        If an argument is out of range, or the file is not there.

    Examples
    --------
    >>> from densenet.course import grade_file
    >>> path = getfixture("tmp_path") / "solution.py"
    >>> _ = path.write_text("def backward(W, b, x, y):\\n    return [(0 * W[0], 0 * b[0])]\\n")
    >>> grade_file(path, "neuron").mistakes
    ('left at zero',)
    """
    path = Path(path)
    if path.suffix not in (".py", ".ipynb"):
        raise ValueError(f"grade_file expects a .py or .ipynb file, got {str(path)!r}.")
    if not os.path.lexists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the process says so
        text = ""
    positive(seconds, "grade_file", "seconds")
    positive_int(megabytes, "grade_file", "megabytes")
    exercises = drawn_exercises(exercise, networks, seed)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "given.npz"), Path(folder, "answer.npz")
        np.savez(source, allow_pickle=False, **_given(exercises))
        problem = _run([str(path.absolute()), str(source), str(target)], folder, seconds, megabytes)
        answers, imported = _read(target, exercises, problem)
    lines = text.replace('"', "\n") if path.suffix == ".ipynb" else text
    flags = ("imports densenet",) if imported or _IMPORTS.search(lines) else ()
    return judged(exercises, answers, flags)


def _given(exercises: list[Exercise]) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "kind": np.array(exercises[0].kind),
        "count": np.array(len(exercises)),
        "layers": np.array(len(exercises[0].W)),
    }
    for case, one in enumerate(exercises):
        arrays |= {f"{case}.W{i}": W for i, W in enumerate(one.W)} | {f"{case}.b{i}": b for i, b in enumerate(one.b)}
        arrays |= {f"{case}.x": one.x, f"{case}.y": one.y}
    return arrays


def _run(files: list[str], folder: str, seconds: float, megabytes: int) -> str:
    """Run the child; why it gave nothing, where it did not end well."""
    command = [sys.executable, "-P", str(_CHILD), *files, str(megabytes), str(math.ceil(seconds))]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | threads | {"MPLBACKEND": "Agg"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"The submission took more than {seconds:g} seconds and was stopped."
    finally:
        _stop(process)
    if code and -code == getattr(signal, "SIGXCPU", 0):
        return f"The submission took more than {seconds:g} seconds and was stopped."
    if code < 0:
        return f"The submission's process was ended by {signal.Signals(-code).name}, perhaps for want of memory."
    return f"The submission's process ended with exit code {code}." if code else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except AttributeError:  # on Windows
        process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _read(target: Path, exercises: list[Exercise], problem: str) -> tuple[list[Answer], bool]:
    """The answers from the child's file, which is input like any other."""
    try:
        if problem:
            raise ValueError(problem)
        with zipfile.ZipFile(target) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise ValueError("The submission's arrays are far larger than the network's.")
        with np.load(target, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        status = json.loads(arrays.pop("status").tobytes())
        found = [_answer(arrays, status["cases"][case], case, len(one.W)) for case, one in enumerate(exercises)]
        return found, bool(status["densenet"])
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        AttributeError,
    ) as error:
        return [Answer([], problem or f"The submission gave no answer: {error}")] * len(exercises), False


def _answer(arrays: dict[str, Array], status: dict[str, Any], case: int, layers: int) -> Answer:
    if status.get("problem"):
        text = "".join(letter if letter.isprintable() else " " for letter in str(status["problem"])[:1000])
        return Answer([], " ".join(text.split()))  # one line, and nothing that a terminal obeys
    if any(array.dtype.kind not in "biuf" for array in arrays.values()):
        return Answer([], "Gradients must be arrays of numbers.")
    pairs = [(arrays.get(f"{case}.dW{i}"), arrays.get(f"{case}.db{i}")) for i in range(layers)]
    return Answer(pairs, written=bool(status.get("written")))
