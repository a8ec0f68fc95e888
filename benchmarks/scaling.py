"""How the cost of training grows with samples, width, depth and threads.

Samples: whole calls of `fit` for one epoch, so that what a call does once shows at the left end. Width and depth: a
step, beside the step's own bare products. Threads: a step of a small, a middle and a large network with 1, 2, ... BLAS
threads. The points of an axis take turns in every round. The exponent is the slope between the last two points on
logarithmic axes: 1 where the cost grows in proportion, 2 where it grows with the square.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import _common as common
import numpy as np
from step import products_alone

import densenet as dn
from densenet._blas import blas_description

BATCH = 64
SAMPLES = (100, 1_000, 10_000, 100_000)
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
DEPTHS = (1, 2, 4, 8, 16, 32)
THREADED = ((64, 128, 10), (784, 128, 10), (784, 512, 256, 10))
NET, DEEP = (20, 64, 5), 64
KEYS = ("seconds", "lower", "upper")
WORK = 1.5e9
"""Multiplications and additions of an epoch, about."""


def training(widths: tuple[int, ...], batch: int, rows: int, threads: int | None = None) -> Callable[[], None]:
    """One epoch of `fit` with plain gradient descent."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], rows)
    trainer = dn.Trainer(dn.mlp(widths, activation="relu", seed=0), dn.SoftmaxCrossEntropy(), dn.SGD(0.01))

    def run() -> None:
        trainer.fit(x, y, epochs=1, batch_size=batch, seed=0, progress=False)

    def run_with_threads() -> None:
        assert threads is not None
        with dn.threads(threads):
            run()

    return run if threads is None else run_with_threads


def steps_for(widths: tuple[int, ...], smoke: bool) -> int:
    work = 6 * BATCH * sum(a * b for a, b in pairwise(widths))
    return 3 if smoke else int(np.clip(WORK / work, 10, 500))


def exponent(points: list[dict[str, Any]]) -> float:
    """The slope between the last two points on logarithmic axes."""
    a, b = points[-2:]
    return math.log(b["seconds"] / a["seconds"]) / math.log(b["at"] / a["at"])


def samples(smoke: bool, rounds: int) -> list[dict[str, Any]]:
    """Seconds of a call of `fit` against rows."""
    sizes = SAMPLES[:2] if smoke else SAMPLES
    times = common.interleave({str(n): training(NET, BATCH, n) for n in sizes}, rounds, say="samples")
    return [point("samples", "-".join(map(str, NET)), n, times[str(n)], 1) for n in sizes]


def grown(axis: str, nets: dict[int, tuple[int, ...]], smoke: bool, rounds: int) -> list[dict[str, Any]]:
    """Seconds of a step against width or depth, with and without all that is not a product."""
    steps = {size: steps_for(widths, smoke) for size, widths in nets.items()}
    contenders = {}
    for size, widths in nets.items():
        contenders[f"step {size}"] = training(widths, BATCH, steps[size] * BATCH)
        contenders[f"products {size}"] = products_alone(widths, BATCH, steps[size])
    times = common.interleave(contenders, rounds, say=axis)
    return [
        point(axis, series, size, times[f"{series} {size}"], steps[size])
        for series in ("step", "products")
        for size in nets
    ]


def threaded(smoke: bool, rounds: int, most: int) -> list[dict[str, Any]]:
    """Seconds of a step against BLAS threads."""
    counts = sorted({min(2**i, most) for i in range(most.bit_length() + 1)})
    points = []
    for widths in THREADED[:1] if smoke else THREADED:
        steps = steps_for(widths, smoke)
        calls = {str(n): training(widths, BATCH, steps * BATCH, n) for n in counts}
        times = common.interleave(calls, rounds, say=f"threads, {widths}")
        points += [point("threads", "-".join(map(str, widths)), n, times[str(n)], steps) for n in counts]
    return points


def point(axis: str, series: str, at: int, seconds: list[float], steps: int) -> dict[str, Any]:
    low, middle, high = (value / steps for value in common.spread(seconds))
    return {"axis": axis, "series": series, "at": at, "seconds": middle, "lower": low, "upper": high}


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--threads", type=int, help="most BLAS threads tried (default: the cores)")
    args = options.parse_args()
    rounds = args.rounds or (2 if args.smoke else 7)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    widths = {w: (w, w, w, 10) for w in (WIDTHS[:2] if args.smoke else WIDTHS)}
    depths = {d: (DEEP,) * (d + 1) + (10,) for d in (DEPTHS[:2] if args.smoke else DEPTHS)}
    points = [
        *samples(args.smoke, rounds),
        *grown("width", widths, args.smoke, rounds),
        *grown("depth", depths, args.smoke, rounds),
        *threaded(args.smoke, rounds, args.threads or cores),
    ]
    exponents = {}
    for axis in ("samples", "width", "depth"):
        for series in dict.fromkeys(p["series"] for p in points if p["axis"] == axis):
            line = [p for p in points if (p["axis"], p["series"]) == (axis, series)]
            exponents[f"{axis}, {series}"] = round(exponent(line), 2)
    results = {"points": points, "exponents": exponents, "batch": BATCH, "rounds": rounds, "blas": blas_description()}
    head = ("axis", "series", "at", "us", "lower", "upper")
    rows = [(p["axis"], p["series"], p["at"], *(round(1e6 * p[k], 2) for k in KEYS)) for p in points]
    shown = [(*row[:3], *(f"{v:,.1f}" for v in row[3:])) for row in rows]
    common.save(args.out, "scaling", results, head, rows, picture(points), show=common.table(head, shown))
    print("\n" + "\n".join(f"exponent of {name}: {value}" for name, value in exponents.items()))


def picture(points: list[dict[str, Any]]) -> Any:
    """A panel for each axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    labels = {
        "samples": ("rows of x", "one epoch, ms"),
        "width": ("width of two hidden layers", "a step, us"),
        "depth": (f"layers of {DEEP}", "a step, us"),
        "threads": ("BLAS threads", "a step, over one thread's"),
    }
    colors = {"step": "#4477aa", "products": "0.5"}
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
    for ax, (axis, (below, beside)) in zip(axes, labels.items(), strict=True):
        here = [p for p in points if p["axis"] == axis]
        for series in dict.fromkeys(p["series"] for p in here):
            line = [p for p in here if p["series"] == series]
            unit = {"threads": line[0]["seconds"], "samples": 1e-3}.get(axis, 1e-6)
            middle, low, high = ([p[key] / unit for p in line] for key in KEYS)
            at = [p["at"] for p in line]
            color = colors.get(series)
            drawn = ax.plot(at, middle, "o-", markersize=4, color=color, label=series)[0]
            ax.fill_between(at, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
        ax.set_xscale("log", base=10 if axis == "samples" else 2)
        if axis != "samples":
            ticks = sorted({p["at"] for p in here})
            ax.set_xticks(ticks, [str(tick) for tick in ticks])
        if axis == "threads":
            ax.set_ylim(bottom=0)
        else:
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if axis != "samples":
            ax.legend(fontsize=8, frameon=False)
        ax.set_xlabel(below)
        ax.set_ylabel(beside)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
