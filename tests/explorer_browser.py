"""A headless Chromium for the tests of the explorer's page, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def executable() -> str | None:
    """Debian's Chromium, or the one that DENSENET_CHROMIUM names."""
    return os.environ.get("DENSENET_CHROMIUM") or shutil.which("chromium")


def reason() -> str | None:
    """Why pages cannot be opened here; None where they can, and where DENSENET_BROWSER=required lets nothing skip."""
    if os.environ.get("DENSENET_BROWSER") == "required":
        return None
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "needs playwright: pip install '.[browser]'"
    return None if executable() else "needs a browser: apt-get install chromium, or DENSENET_CHROMIUM"


AXE = Path(__file__).resolve().parent / "javascript" / "node_modules" / "axe-core" / "axe.min.js"


def axe() -> str | None:
    """The text of axe-core, or None where npm has not installed it."""
    if AXE.exists() or os.environ.get("DENSENET_BROWSER") == "required":
        return AXE.read_text(encoding="utf-8")
    return None
