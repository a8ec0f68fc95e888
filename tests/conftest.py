"""What holds for all tests: no window for pictures, Ctrl-C as in a terminal; and a file to read."""

from __future__ import annotations

import signal

import matplotlib
import pytest

matplotlib.use("Agg")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run that a shell put into the background ignores it

collect_ignore = ["make_torch_reference.py"]


@pytest.fixture
def write(tmp_path):
    """Writes a file into the test's folder; returns its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
