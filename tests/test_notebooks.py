"""The committed notebooks run from a fresh kernel and give what they show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))

pytest.importorskip("nbclient", reason="nbclient, of the extra [notebook], is not installed")
pytest.importorskip("ipykernel", reason="ipykernel, of the extra [notebook], is not installed")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_as_committed(name):
    result = subprocess.run(
        [sys.executable, str(FOLDER / "execute.py"), "--check", name], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    assert "as committed" in result.stdout


@pytest.fixture(scope="module")
def execute():
    """The script that runs the notebooks."""
    sys.path.insert(0, str(FOLDER))
    try:
        import execute
    finally:
        sys.path.remove(str(FOLDER))
    return execute


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if (FOLDER / "solutions" / f"{name[:-6]}.py").exists()])
def test_a_notebook_with_solutions_says_its_goals_and_has_blanks(name, execute):
    import nbformat

    cells = nbformat.read(FOLDER / name, as_version=4).cells
    for word in ("Goals", "Time", "Before it", "Notation"):
        assert f"**{word}.**" in cells[0].source
    assert sum(bool(execute.blanks(cell)) for cell in cells) >= 3


def test_the_check_can_fail(tmp_path, execute):
    import nbformat

    complaints, same = execute.complaints, execute.same
    assert same("loss 0.12345 of 3", "loss 0.12349 of 3")
    assert not same("loss 0.123 of 3", "loss 0.124 of 3")
    assert not same("loss 0.123", "lost 0.123")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1 + 1)", execution_count=1)])
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    path = tmp_path / "stale.ipynb"
    nbformat.write(notebook, path)
    assert "cell 0 is stale" in complaints(path)[0]


def test_blanks_are_tried(tmp_path, execute):
    """A wrong solution, a missing one, one without a blank, and a checker that takes an empty blank are found."""
    import nbformat

    sources = [
        "def check(x, right):\n    print('x: right' if x == right else f'x: not {right}')",
        "a = ...\ncheck(a, 2)",
        "b = ...\ncheck(b, 2)",
        "c = ...\ncheck(c, 2)",
        "d = ...\ncheck(2, 2)",
        "x = [1, 2]\nx[...] if False else None",
        "def e():\n    y = ...\n    return y\n\n\ncheck(e(), 3)",
    ]
    cells = [nbformat.v4.new_code_cell(source, execution_count=1) for source in sources]
    path = tmp_path / "blanks.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "solutions").mkdir()
    answers = "a = 1 + 1\nb = 3\nd = 2\nf = 1\n\n\ndef e():\n    y = 3\n    return y\n"
    (tmp_path / "solutions" / "blanks.py").write_text(answers)
    found: list[str] = []
    execute.execute(path, found)
    assert found == [
        "cell 2: the solution is judged 'x: not 2'",
        "cell 3: there is no solution for c",
        "cell 4: an empty blank is judged 'x: right'",
        "has no blank for the solutions f",
    ]
