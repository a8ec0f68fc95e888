"""Optimizers and schedules compared: time of a step, time and epochs to an error, and the error in the end.

Every contender sees the same samples from the same initial weights, seed by seed, at a rate of its own that is
searched with the same number of trials on validation data. `_study.py` has the rules in full. A schedule's length is
that of the run, and the rate searched is its highest; schedules are compared with the same optimizer at a constant
rate. What else an optimizer can be given stays at its default.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import _study as study
import numpy as np
from _study import Contender

import densenet as dn
from densenet.plots._style import COLOURS, quiet

SCHEDULES: dict[str, Callable[[float, int], dn.Schedule]] = {
    "StepDecay": lambda rate, steps: dn.StepDecay(rate, every=math.ceil(steps / 3)),
    "ExponentialDecay": lambda rate, steps: dn.ExponentialDecay(rate, factor=0.01 ** (1 / steps)),
    "InverseTimeDecay": lambda rate, steps: dn.InverseTimeDecay(rate, decay=9 / steps),
    "PolynomialDecay": lambda rate, steps: dn.PolynomialDecay(rate, steps),
    "CosineDecay": lambda rate, steps: dn.CosineDecay(rate, steps),
    "CosineRestarts": lambda rate, steps: dn.CosineRestarts(rate, math.ceil(steps / 4)),
    "Warmup, CosineDecay": lambda rate, steps: dn.Warmup(
        dn.CosineDecay(rate, max(steps - math.ceil(steps / 20), 1)), math.ceil(steps / 20)
    ),
    "OneCycle": lambda rate, steps: dn.OneCycle(rate, steps),
}
"""From the highest rate and the steps of the run: to a hundredth by powers of 10, to a tenth by 1/t, to zero else."""


def options() -> argparse.Namespace:
    made = study.parser(__doc__, epochs=40, trials=8)
    add = made.add_argument
    names = ", ".join(study.OPTIMIZERS)
    add("--optimizers", nargs="+", choices=study.OPTIMIZERS, metavar="NAME", help=f"(default: all of {names})")
    names = ", ".join(f'"{name}"' for name in SCHEDULES)
    add("--schedules", nargs="*", choices=SCHEDULES, metavar="NAME", help=f"(default: all of {names})")
    add(
        "--scheduled",
        choices=study.OPTIMIZERS,
        default="momentum",
        help="the schedules' optimizer (default: %(default)s)",
    )
    add("--batch-size", type=int, default=32, metavar="B", help="(default: %(default)s)")
    args = study.parse(made)
    if args.batch_size < 1:
        made.error(f"--batch-size expects a number of at least 1, got {args.batch_size}")
    args.optimizers = args.optimizers or (["SGD", "Adam"] if args.smoke else list(study.OPTIMIZERS))
    if args.schedules is None:
        args.schedules = ["CosineDecay"] if args.smoke else list(SCHEDULES)
    if args.schedules and args.scheduled not in args.optimizers:
        args.optimizers.append(args.scheduled)  # what the schedules are compared with
    return args


def constant(name: str, batch: int, reference: str) -> Contender:
    make, middle = study.OPTIMIZERS[name]
    rates = (middle / study.SPAN, middle * study.SPAN)
    return Contender(name, batch, lambda rate, steps: make(rate), rates, reference, "optimizers")


def scheduled(name: str, optimizer: str, batch: int) -> Contender:
    make, middle = study.OPTIMIZERS[optimizer]
    rates = (middle / study.SPAN, middle * study.SPAN)
    shape = SCHEDULES[name]
    return Contender(
        name, batch, lambda rate, steps: make(shape(rate, steps)), rates, optimizer, f"schedules of {optimizer}"
    )


def main() -> None:
    """Compare, and draw."""
    args = options()
    contenders = [constant(name, args.batch_size, args.optimizers[0]) for name in args.optimizers]
    contenders += [scheduled(name, args.scheduled, args.batch_size) for name in args.schedules]
    given = {key: getattr(args, key) for key in ("optimizers", "schedules", "scheduled", "batch_size")}
    study.run("optimizers", args, contenders, picture, **given)


def picture(results: Mapping[str, Any], contenders: Sequence[Contender]) -> Any:
    """Two rows a problem: samples a second, time to the goal and end error; curves of optimizers and of schedules."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    problems, settings = results["problems"], results["settings"]
    upper = 1.2 + 0.22 * len(contenders)
    figure = plt.figure(figsize=(19, (upper + 5) * len(problems)), layout="constrained")
    bands = figure.subfigures(2 * len(problems), 1, height_ratios=[upper, 5] * len(problems))
    groups = dict.fromkeys(c.group for c in contenders)
    for i, (name, found) in enumerate(problems.items()):
        bands[2 * i].suptitle(
            f"{name}, net {found['net']}, batches of {settings['batch_size']}, {settings['epochs']} epochs, "
            f"{settings['seeds']} seeds (dots) and their median (bar)",
            fontsize=11,
        )
        across(bands[2 * i].subplots(1, 3, sharey=True), found, contenders)
        panels = bands[2 * i + 1].subplots(1, 2 * len(groups), squeeze=False)[0]
        for j, group in enumerate(groups):
            styles = styles_of([c for c in contenders if c.group == group], settings["scheduled"] if j else None)
            study.curves(panels[2 * j : 2 * j + 2], found, styles)
            panels[2 * j].set_title(group, fontsize=10, loc="left")
            panels[2 * j + 1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        for ax in panels:
            quiet(ax)
    return figure


def styles_of(group: Sequence[Contender], beside: str | None) -> dict[str, dict[str, Any]]:
    """Seven colours, then the same dashed; the constant rate beside the schedules in black."""
    n = len(COLOURS)
    styles = {
        c.name: {"color": COLOURS[i % n], "linestyle": ("-", "--")[i // n % 2], "linewidth": 1.2, "label": c.name}
        for i, c in enumerate(group)
    }
    if beside is not None:
        styles[beside] = {"color": "black", "linewidth": 1.2, "label": f"{beside}, constant"}
    return styles


def across(axes: Sequence[Any], found: Mapping[str, Any], contenders: Sequence[Contender]) -> None:
    """Contenders from top to bottom: samples a second, time to the goal, error in the end."""
    places = range(len(contenders))
    names = [c.name if c.group == "optimizers" else f"{c.reference}, {c.name}" for c in contenders]
    speed = found["speed"]
    low, middle, high = np.array([[c.batch_size / t / 1000 for t in speed[c.name]["step"][::-1]] for c in contenders]).T
    whiskers = {"xerr": (middle - low, high - middle), "ecolor": "black", "error_kw": {"linewidth": 1}}
    axes[0].barh(places, middle, color=COLOURS[0], **whiskers)
    axes[0].axvline(speed[contenders[0].name]["samples_a_second_products"] / 1000, color="#777777", linestyle="--")
    label = "thousand samples a second, with quartiles (dashed: bare products)"
    axes[0].set(yticks=list(places), yticklabels=names, xlabel=label)
    axes[0].invert_yaxis()
    for ax, key, without in ((axes[1], "seconds_to_goal", "missed"), (axes[2], "test_error", "diverged")):
        for place, c in zip(places, contenders, strict=True):
            values = [run[key] for run in found["runs"][c.name]]
            there = [value for value in values if value is not None]
            ax.plot(there, [place] * len(there), "o", color=COLOURS[0], markersize=4, alpha=0.5, markeredgewidth=0)
            if len(there) < len(values):
                text = f" {len(values) - len(there)}/{len(values)} {without}"
                ax.annotate(text, (1, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
            median = found["summary"][c.name][key][1]
            if median is not None:
                ax.plot([median] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.5)
        study.logarithmic(ax.xaxis)
    axes[1].set_xlabel(f"seconds to an error of {found['goal']:.3g}")
    axes[2].set_xlabel(f"test {found['unit']}")
    for ax in axes:
        quiet(ax)


if __name__ == "__main__":
    main()
