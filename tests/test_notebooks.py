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


def test_the_check_can_fail(tmp_path):
    import nbformat

    sys.path.insert(0, str(FOLDER))
    try:
        from execute import complaints, same
    finally:
        sys.path.remove(str(FOLDER))
    assert same("loss 0.12345 of 3", "loss 0.12349 of 3")
    assert not same("loss 0.123 of 3", "loss 0.124 of 3")
    assert not same("loss 0.123", "lost 0.123")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1 + 1)", execution_count=1)])
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    path = tmp_path / "stale.ipynb"
    nbformat.write(notebook, path)
    assert "cell 0 is stale" in complaints(path)[0]
