"""Exercises that are drawn; backward passes that are graded here, in a process of their own, and by the command."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from backward_by_loops import Network
from backward_by_loops import backward as by_loops

import densenet as dn
from densenet.cli import main
from densenet.course import KINDS, grade_file

RIGHT = """
import numpy as np

def backward(W, b, x, y):
    a = np.tanh(x @ W[0] + b[0])
    out = 1 / (1 + np.exp(-(a @ W[1] + b[1])))
    d2 = (out - y) * out * (1 - out) / len(x)
    d1 = (d2 @ W[1].T) * (1 - a**2)
    return [(x.T @ d1, d1.sum(axis=0)), (a.T @ d2, d2.sum(axis=0))]
"""
WRONG = RIGHT.replace(" * (1 - a**2)", "")


def defined(source):
    names = {}
    exec(source, names)
    return names["backward"]


def loops(kind):
    """The plain loops as a student's function."""

    def backward(W, b, x, y):
        kinds = ["tanh"] * (len(W) - 1) + ["softmax" if kind == "softmax" else "sigmoid"]
        return by_loops(Network(W, b, x, y, kinds, "softmax" if kind == "softmax" else "half"))

    return backward


@pytest.mark.parametrize("kind", KINDS)
def test_exercises_have_friendly_numbers_and_live_units(kind):
    one, same, other = (dn.exercise(kind, seed=seed) for seed in (3, 3, 4))
    assert one.to_text() == same.to_text()
    assert one.to_text() != other.to_text()
    for array in (*one.W, *one.b, one.x, one.y):
        np.testing.assert_array_equal(array, array.round(2))
    h = one.x
    for W, b in zip(one.W, one.b, strict=True):
        z = h @ W + b
        assert np.abs(z).max() < 2
        assert np.abs(z).min() > 0.05
        h = np.tanh(z)
    assert "Solution" in one.to_text()
    assert "Solution" not in one.to_text(answers=False)
    assert len(one.to_latex()) > len(one.to_latex(answers=False)) > 200
    assert len(one.to_html()) > len(one.to_html(answers=False)) > 200
    assert one.to_html(answers=False).count("<p>") == one.to_text(answers=False).count("\n") + 1


@pytest.mark.parametrize("kind", KINDS)
def test_plain_loops_get_all_points(kind):
    result = dn.grade(loops(kind), kind, networks=2)
    assert result.correct
    assert result.points(7) == 7.0
    assert isinstance(result.points(7), float)
    assert result.mistakes == ()
    one = dn.exercise(kind, seed=9)
    assert dn.grade(loops(kind), one)


def test_points_by_part_and_a_named_mistake():
    result = dn.grade(defined(WRONG), "batch", seed=1)
    assert not result
    assert [part.right for part in result.parts] == [True, True, False, False, True]
    assert result.points(10) == pytest.approx(6)
    assert result.mistakes == ("slope forgotten in the hidden layers",)
    assert "dW(1): [0, 0] is " in str(result)
    assert ", right is " in str(result)
    assert json.loads(json.dumps(result.to_dict(10)))["points"] == pytest.approx(6)


@pytest.mark.parametrize(
    ("source", "said", "fraction"),
    [
        ("def backward(W, b, x, y): return 3", "it returned int", 0),
        ("def backward(W, b, x, y): return [(1, 2), 3]", "entry 2 is int, not a pair", 0),
        (
            "def backward(W, b, x, y): return W[0], b[0], W[1], b[1]",
            "list of 2 pairs (dW, db), one a layer; it returned 4",
            0,
        ),
        ("def backward(W, b, x, y): return W, b", "all dW, then all db: list(zip(dW, db)) pairs them", 0),
        ("def backward(W, b, x, y): return [('a', 'b'), (1, 2)]", "dW(1) must be an array of numbers, got str", 0),
        ("def backward(W, b, x, y): return 1 / 0", "stops with ZeroDivisionError", 0),
        ("def backward(W, b, x, y): return [(..., ...), (..., ...)]", "not written yet", 0),
        (RIGHT.replace("(x.T @ d1, d1.sum(axis=0))", "(..., None)"), "not written yet", 0.6),
        (
            RIGHT.replace(
                "    a =", "    W[0] *= 1.0\n    x += 1\n    x -= 2\n    x += 1\n    b[0] += 1\n    a ="
            ).replace("+ b[0]", "+ b[0] - 1"),
            "was written to",
            0.8,
        ),
        (RIGHT.replace("x.T @ d1", "d1.T @ x[:, :2]"), "shape (3, 2), expected (3, 3)", 0.8),
        (RIGHT.replace("d1.sum(axis=0)", "d1.sum(axis=0) * np.nan"), "is nan, right is", 0.8),
    ],
)
def test_what_students_return(source, said, fraction):
    result = dn.grade(defined(source), "layers")
    assert said in str(result)
    assert result.fraction == pytest.approx(fraction)


def test_nothing_reaches_stderr(capsys):
    def backward(W, b, x, y):
        print("working")
        print("careful", file=sys.stderr)
        warnings.warn("old", stacklevel=1)
        np.log(np.zeros(1))
        return loops("layers")(W, b, x, y)

    assert dn.grade(backward, "layers").points(4) == 4.0
    assert capsys.readouterr() == ("", "")


def test_bad_arguments():
    with pytest.raises(TypeError, match="expects a function"):
        dn.grade(3, "layers")
    with pytest.raises(ValueError, match="one of neuron, layer, layers, batch, softmax"):
        dn.exercise("convolution")
    with pytest.raises(ValueError, match="networks"):
        dn.grade(loops("layers"), "layers", networks=0)


def notebook(*sources):
    cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["text"]}, *cells]})


def test_files_run_in_a_process_of_their_own(tmp_path):
    script, book = tmp_path / "a.py", tmp_path / "b.ipynb"
    script.write_text(RIGHT)
    book.write_text(notebook("%matplotlib inline\n!ls", "1 / 0", WRONG))
    assert grade_file(script, "layers").correct
    assert grade_file(book, "batch").mistakes == ("slope forgotten in the hidden layers",)
    assert grade_file(script, "layers").flags == ()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import time\ntime.sleep(60)", "more than 4 seconds"),
        ("import os\nos._exit(7)", "exit code 7"),
        ("raise SystemExit(3)", "stops with SystemExit: 3"),
        ("x = 1", "defines no function backward"),
        ("def backward(:", "stops with SyntaxError"),
        ("def backward(W, b, x, y): return W", "list of 2 pairs"),
        (r"def backward(W, b, x, y): raise ValueError('one\n\x1b[2Jtwo')", "stops with ValueError: one [2Jtwo."),
    ],
)
def test_submissions_that_fail(tmp_path, source, said):
    path = tmp_path / "s.py"
    path.write_text(source)
    result = grade_file(path, "layers", seconds=4 if "sleep" in source else 60)
    assert said in result.problem
    assert result.points(10) == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_memory_is_limited(tmp_path):
    path = tmp_path / "s.py"
    path.write_text("import numpy as np\ndef backward(W, b, x, y): return np.ones((1 << 30,))")
    assert "MemoryError" in grade_file(path, "layers", megabytes=1024).problem


def test_an_import_of_densenet_is_flagged(tmp_path):
    path = tmp_path / "s.py"
    path.write_text("import densenet as dn\n" + RIGHT)
    assert grade_file(path, "layers").flags == ("imports densenet",)


def test_the_command_grades_one_file_and_a_folder(tmp_path, capsys):
    (tmp_path / "work" / "carol").mkdir(parents=True)
    (tmp_path / "work" / "alice.py").write_text(RIGHT)
    (tmp_path / "work" / "bob.ipynb").write_text(notebook(WRONG))
    (tmp_path / "work" / "carol" / "solution.py").write_text("oops")
    assert main(["grade", str(tmp_path / "work" / "alice.py"), "--points", "10"]) == 0
    assert capsys.readouterr().out.startswith("10 of 10 points\n5 of 5 parts are right.\n")
    outputs = [f"--{kind}={tmp_path / f'grades.{kind}'}" for kind in ("json", "csv")]
    assert main(["grade", str(tmp_path / "work"), "--points", "10", *outputs]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["alice", "10.00"],
        ["bob", "6.00"],
        ["carol", "0.00"],
    ]
    assert json.loads((tmp_path / "grades.json").read_text())["bob"]["mistakes"] == [
        "slope forgotten in the hidden layers"
    ]
    with (tmp_path / "grades.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["student", "points", "maximum", "correct", "feedback"]
    assert rows[1] == ["alice", "10", "10", "1", "correct"]
    assert "NameError" in rows[3][4]
    assert main(["grade", str(tmp_path / "nowhere.py")]) == 2


def test_the_child_imports_nothing_of_the_package():
    from densenet.course import submission

    run = f"runpy.run_path({str(submission._CHILD)!r}, run_name='child')"
    code = f"import runpy, sys; {run}; print('densenet' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_points_are_what_nbgrader_reads():
    """nbgrader takes the last line's value as the score where it is a number, and no output on stderr."""
    utils = pytest.importorskip("nbgrader.utils", reason="nbgrader is not installed")
    from nbformat.v4 import new_code_cell, new_output

    data = {"text/plain": repr(dn.grade(defined(WRONG), "layers").points(5))}
    cell = new_code_cell(outputs=[new_output("execute_result", data=data)])
    cell.metadata["nbgrader"] = {"grade": True, "points": 5, "grade_id": "backward", "solution": False}
    assert utils.determine_grade(cell) == (3.0, 5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1.0, 2.0], "sum: right"),
        ([[1.0, 2.0]], "sum: right"),
        (np.float32([1, 2]), "sum: right"),
        (..., "sum: not written yet"),
        (None, "sum: not written yet"),
        ([1.0, 2.5], "sum: [1] is 2.5, right is 2. Add."),
        ([1.0, np.nan], "sum: [1] is nan, right is 2. Add."),
        ([1.0], "sum: shape (1,), expected (2,). Add."),
        ("two", "sum: expected numbers, got str of <U3. Add."),
        ([[1.0], [1.0, 2.0]], "sum: expected numbers: setting an array element with a sequence."),
    ],
)
def test_a_blank_is_checked(given, said):
    result = dn.course.check_answer("sum", given, [1.0, 2.0], hint="Add.")
    assert repr(result).startswith(said)
    assert bool(result) == result.right == said.endswith("right")


def test_a_single_number_is_checked():
    assert repr(dn.course.check_answer("rate", 3, 4.0)) == "rate: is 3, right is 4"
    assert dn.course.check_answer("rate", 4, 4.0)


def test_a_blank_that_a_later_line_uses_is_named():
    def backward(W, b, x, y):
        dE_dz = ...
        return [(x.T @ dE_dz, dE_dz)]

    assert "Not filled in yet: dE_dz." in str(dn.grade(backward, "neuron"))


def test_a_function_that_leaves_python_is_graded():
    assert "stops with SystemExit: 3" in str(
        dn.grade(defined("def backward(W, b, x, y): raise SystemExit(3)"), "layer")
    )


def test_one_file_answers_several_steps(tmp_path):
    path = tmp_path / "ladder.py"
    path.write_text(WRONG + RIGHT.replace("def backward", "def backward_batch"))
    assert grade_file(path, "batch").correct
    assert not grade_file(path, "layers").correct


def test_the_teachers_page_explains_every_name():
    from densenet.explain import mistakes

    tables = [value for value in vars(mistakes).values() if isinstance(value, tuple)]
    entries = {entry.name for table in tables for entry in table if isinstance(entry, mistakes.Entry)}
    names = {
        "slope forgotten" if name.startswith("slope forgotten") else name for name in entries | {*mistakes.EXPLAINED}
    }
    page = (Path(__file__).resolve().parent.parent / "notebooks" / "for_teachers.md").read_text(encoding="utf-8")
    told = {name.split(" (at ")[0] for name in re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)} - {"name", "---"}
    assert told == names


THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
STOP = "class Stop(BaseException): pass\ndef backward(W, b, x, y): raise Stop('no')\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such links and signals")
def test_no_submission_stops_the_grading_of_a_folder(tmp_path, capsys):
    """Whatever a file is or does, the others get their points and it gets a line."""
    folder = tmp_path / "work"
    (folder / "folder.py").mkdir(parents=True)  # no submission
    files = {
        "random": RIGHT,  # the name of a module that NumPy takes
        "helped": "from helper import backward\n",
        "helper": RIGHT,
        "thread": THREAD + RIGHT,
        "leaves": RIGHT + "\nexit()\n",
        "stops": STOP,
        "crashes": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n",
        "=sum": RIGHT,
        "nan": RIGHT.replace("x.T @ d1", "x.T @ d1 * np.nan"),
    }
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source)
    latin = RIGHT.replace("import numpy", "# é\nimport numpy").encode("latin-1")
    (folder / "latin.py").write_bytes(latin)
    (folder / "declared.py").write_bytes(b"# coding: latin-1\n" + latin)
    (folder / "gone.py").symlink_to(tmp_path / "nowhere")
    (folder / "torn.ipynb").write_text("{")
    assert main(["grade", str(folder), "--exercise", "batch", "--networks", "1", f"--csv={tmp_path / 'g.csv'}"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    with (tmp_path / "g.csv").open(newline="") as file:
        said = {row["student"]: row for row in csv.DictReader(file)}
    right = {"random", "helped", "helper", "thread", "leaves", "declared", "'=sum"}
    assert {name for name, row in said.items() if row["correct"] == "1"} == right
    assert {name: row["feedback"].split(":")[0] for name, row in said.items() if name not in right} == {
        "stops": "The function stops with Stop",
        "crashes": "The submission's process was ended by SIGTERM, perhaps for want of memory.",
        "latin": "The file cannot be read",
        "gone": "The file cannot be read",
        "torn": "The file cannot be read",
        "nan": "wrong, by no usual mistake",
    }
    assert len(out.splitlines()) == 1 + len(said)


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_a_file_that_cannot_be_written_is_refused_before_grading(tmp_path, capsys, option):
    (tmp_path / "s.py").write_text("import time\ntime.sleep(600)\n")
    assert main(["grade", str(tmp_path), f"{option}={tmp_path / 'missing' / 'file'}", "--seconds", "600"]) == 2
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize("points", ["0", "-1", "nan", "inf"])
def test_a_maximum_is_a_number_above_0(tmp_path, capsys, points):
    (tmp_path / "s.py").write_text(RIGHT)
    assert main(["grade", str(tmp_path), f"--points={points}"]) == 2
    assert "--points to be a finite number above 0" in capsys.readouterr().err
