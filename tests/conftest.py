"""What holds for all tests: no window for pictures, Ctrl-C as in a terminal; a file to read; how workers share them."""

from __future__ import annotations

import os
import signal

import matplotlib
import pytest

import densenet as dn

matplotlib.use("Agg")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run that a shell put into the background ignores it

collect_ignore = ["make_torch_reference.py"]

APART = {"test_benchmarks.py", "test_commands.py", "test_explore_page.py", "test_notebooks.py"}
"""Files of long tests that share nothing: workers take these one by one, and whole files of all others."""

WORKER = "PYTEST_XDIST_WORKER" in os.environ

if WORKER:  # the other workers take the other cores
    dn.threads(1)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of child processes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if WORKER and item.path.name not in APART:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_make_parametrize_id(val):
    """Bytes and long texts stand in no test's name: compressed ones are others in every process."""
    return type(val).__name__ if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 80) else None


@pytest.fixture
def write(tmp_path):
    """Writes a file into the test's folder; returns its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
