"""A headless Chromium for the tests of the explorer's page, or the reason why there is none."""

from __future__ import annotations

import os
import shutil

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def executable() -> str | None:
    """Debian's Chromium, or the one that DENSENET_CHROMIUM names."""
    return os.environ.get("DENSENET_CHROMIUM") or shutil.which("chromium")


def reason() -> str | None:
    """Why pages cannot be opened here; None where they can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "needs playwright: pip install playwright"
    return None if executable() else "needs a browser: apt-get install chromium, or DENSENET_CHROMIUM"
