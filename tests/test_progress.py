"""The progress line where somebody looks on: updated in place in a notebook, without widgets."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import nbformat
from nbclient import NotebookClient

code = '''
import densenet as dn
trainer = dn.Trainer(dn.mlp([2, 1], seed=0), "mse", "sgd", metrics=["mae"])
history = trainer.fit([[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0], epochs=3)
'''
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps([output for output in notebook.cells[0].outputs]))
"""


def test_a_notebook_shows_one_display_that_is_updated():
    pytest.importorskip("nbclient", reason="nbclient, of the extra [notebook], is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel, of the extra [notebook], is not installed")
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    import json

    outputs = json.loads(result.stdout)
    assert [output["output_type"] for output in outputs] == ["display_data"]
    shown = outputs[0]["data"]["text/html"]
    for part in ("epoch 3/3", "loss ", "mae ", "learning_rate "):
        assert part in shown
    assert "<script" not in shown
    assert not any("widget" in kind for kind in outputs[0]["data"])
