"""What holds for all tests: no window for pictures, and Ctrl-C as in a terminal."""

from __future__ import annotations

import signal

import matplotlib

matplotlib.use("Agg")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run that a shell put into the background ignores it

collect_ignore = ["make_torch_reference.py"]
