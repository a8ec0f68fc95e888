"""The explorer's speed: from an input event on the weight's slider to the painted frame, and to the first content.

A network of 10,000 weights, of which the page draws 1,600, in a headless Chromium, on one row and on 256. The weight is
dragged twice over:

- By the mouse: playwright presses it on the slider's thumb and moves it in small steps, and the browser itself makes
  the `input` events, as it does for a person: right before a frame's callbacks. Three times in milliseconds end when
  that frame is painted, `arrival` from the first line of code that can see the `input` event, `stamp` from the event's
  own time stamp, `pointer` from the time stamp of the mouse's move, which then waits for its frame. The goal is set
  against `arrival`.
- By a script, `scripted`: an `input` event is dispatched 2 ms after the start of a frame, and the time ends when the
  next frame is painted. At 60 frames a second, 14.7 ms of it are that wait, whatever the page does. It is the time that
  this file gave alone before it drove a mouse.

`work` is the page's own part without any wait: the event's handlers, drawing, style and layout, one after the other.
A frame is painted when a task that is queued from one of its callbacks is run: painting is recorded and handed over by
then, and not yet on a screen.

The first content is the browser's own `first-contentful-paint` in a browser that has loaded both pages before: the
median of warm loads from disk, which take turns between the pages.

Needs the extra `browser` and Chromium.
"""

from __future__ import annotations

import math
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
TIMES = ("arrival", "stamp", "pointer", "work", "scripted")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

WATCH = """() => {
  window.drags = { arrival: [], stamp: [], pointer: [] };
  let pointer = NaN;
  addEventListener("pointermove", (event) => (pointer = event.timeStamp), true);
  addEventListener("input", (event) => {
    const began = { arrival: performance.now(), stamp: event.timeStamp, pointer };
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        const painted = performance.now();
        for (const name in began) window.drags[name].push(painted - began[name]);
      };
      port2.postMessage(0);
    });
  }, true);
}"""
SCRIPTED = """async (count) => {
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
    const began = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    draw();
    document.body.getBoundingClientRect();
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


def opened(browser: Any, path: Path) -> Any:
    """The page, drawn and at rest."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    page.evaluate("explorer.state()")
    page.wait_for_timeout(500)
    return page


def first_paints(browser: Any, paths: list[Path], loads: int) -> list[list[float]]:
    """Milliseconds to the first content of each page, by turns; the first load of each is not counted."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    times: list[list[float]] = [[] for _ in paths]
    for _ in range(loads + 1):
        for path, found in zip(paths, times, strict=True):
            page.goto(path.as_uri())
            page.wait_for_function(f"() => ({PAINT}) !== null")
            found.append(round(float(page.evaluate(PAINT)), 1))
    page.close()
    return [found[1:] for found in times]


def drags(browser: Any, path: Path, count: int) -> dict[str, Any]:
    """Milliseconds of each drag, by where the time begins."""
    page = opened(browser, path)
    box = page.locator("#slider").bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle, height)
    page.mouse.down()
    for i in range(count + 20):
        if i == 20:
            page.evaluate(WATCH)
        page.mouse.move(middle + 0.4 * box["width"] * math.sin(i / 9), height)
    page.mouse.up()
    found: dict[str, list[float]] = page.evaluate("drags")
    page.close()
    page = opened(browser, path)
    page.evaluate(SCRIPTED, 20)
    found |= {"scripted": page.evaluate(SCRIPTED, count), "work": page.evaluate(WORK, count)}
    drawn = page.evaluate("picture.drawn.length")
    page.close()
    return {name: [round(float(time), 2) for time in times] for name, times in found.items()} | {"drawn": drawn}


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
        paths = [page_of(Path(folder), n) for n in ROWS]
        paints = first_paints(browser, paths, loads)
        for n, path, paint in zip(ROWS, paths, paints, strict=True):
            found = drags(browser, path, count)
            p95 = {name: round(float(np.percentile(found[name], 95)), 2) for name in TIMES}
            row = (n, found["drawn"], GOALS[n], round(float(np.median(found["arrival"])), 2), *p95.values())
            rows.append((*row, round(float(np.median(paint)), 1)))
            results.append({"rows": n, "network": NET, "goal": GOALS[n], "p95": p95, "first_paints": paint} | found)
        version = browser.version
        browser.close()
    results = {"chromium": version, "first_paint_goal": FIRST_PAINT, "cases": results}
    head = ("rows", "lines drawn", "goal ms", "arrival median", *(f"{name} 95 %" for name in TIMES), "first paint ms")
    common.save(args.out, "explorer", results, head, rows)


if __name__ == "__main__":
    main()
