"""The explorer's speed: from an input event on the weight's slider to the painted frame, and to the first content.

A network of 10,000 weights, of which the page draws 1,600, in a headless Chromium. Each drag is one input event. Its
time ends when the frame after it has been painted (a task queued from that frame's callback); drags follow each other
at the screen's pace. The first content is the browser's own `first-contentful-paint`, the median of warm loads from
disk.
Needs the extra `browser` and Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn

NET = (50, 100, 48, 4)
ROWS = (1, 256)
GOALS = {1: 16.0, 256: 33.0}
FIRST_PAINT = 300.0
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

DRAG = """async (count) => {
  const slider = document.getElementById("slider");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => done(performance.now());
    port2.postMessage(0);
  }));
  const times = [];
  for (let i = 0; i < count; i++) {
    await frame();
    await new Promise((done) => setTimeout(done, 2));  // an event comes in between two frames
    slider.value = String(500 + Math.round(400 * Math.sin(i / 9)));
    const began = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    times.push(await painted() - began);
  }
  return times;
}"""
WORK = """async (count) => {
  const slider = document.getElementById("slider");
  const times = [];
  for (let i = 0; i < count; i++) {
    slider.value = String(500 + Math.round(400 * Math.sin(i / 9)));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const began = performance.now();
    draw();
    document.getElementById("picture").getBoundingClientRect();
    times.push(performance.now() - began);
    await new Promise((done) => requestAnimationFrame(done));
  }
  return times;
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def page_of(folder: Path, rows: int) -> Path:
    """The explorer's page of a network of 10,000 weights on some rows."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, NET[0])), rng.integers(0, NET[-1], rows)
    model = dn.mlp(NET, activation="tanh", seed=0, dtype="float64")
    return dn.explore(model, "softmax_cross_entropy", x, y).save(folder / f"{rows}.html")


def first_paint(browser: Any, path: Path, loads: int) -> list[float]:
    """Milliseconds to the first content in warm loads; the first load is not counted."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    times = []
    for _ in range(loads + 1):
        page.goto(path.as_uri())
        page.wait_for_function(f"() => ({PAINT}) !== null")
        times.append(page.evaluate(PAINT))
    page.close()
    return [float(time) for time in times[1:]]


def drags(browser: Any, path: Path, count: int) -> dict[str, Any]:
    """Milliseconds from each input event to its painted frame, and of the page's own work in it."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    page.evaluate(DRAG, 20)
    found = {"painted": page.evaluate(DRAG, count), "work": page.evaluate(WORK, count)}
    found["drawn"] = page.evaluate("picture.drawn.length")
    page.close()
    return found


def main() -> None:
    """Measure, print, save."""
    args = common.parser(__doc__).parse_args()
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("explorer.py needs playwright: pip install '.[browser]'")
    if chromium is None:
        sys.exit("explorer.py needs Chromium: apt-get install chromium")
    count, loads = (10, 1) if args.smoke else (300, 5)
    results, rows = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for n in ROWS:
            path = page_of(Path(folder), n)
            found = drags(browser, path, count)
            painted, work = (np.array(found[name]) for name in ("painted", "work"))
            paints = first_paint(browser, path, loads)
            p95 = round(float(np.percentile(painted, 95)), 2)
            row = (n, found["drawn"], round(float(np.median(painted)), 2), p95, GOALS[n])
            row += (round(float(np.percentile(work, 95)), 2), round(float(np.median(paints)), 1))
            rows.append(row)
            results.append({"rows": n, "network": NET, "goal": GOALS[n], "p95": p95, "paints": paints} | found)
        version = browser.version
        browser.close()
    results = {"chromium": version, "first_paint_goal": FIRST_PAINT, "cases": results}
    head = ("rows", "lines drawn", "median ms", "95 % ms", "goal", "work 95 % ms", "first paint ms")
    common.save(args.out, "explorer", results, head, rows)


if __name__ == "__main__":
    main()
