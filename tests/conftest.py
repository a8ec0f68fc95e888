"""What many tests use: networks of every layer kind, and small data for every loss."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

collect_ignore = ["make_torch_reference.py"]
