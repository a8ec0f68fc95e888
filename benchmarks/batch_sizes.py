"""Batch sizes compared: time of a step, samples a second, time and epochs to an error, and the error in the end.

Every batch size sees the same samples from the same initial weights, seed by seed, at a rate of its own that is
searched with the same number of trials on validation data. `_study.py` has the rules in full.

With `--rate fixed`, `linear` or `sqrt` only the reference's rate is searched (or given as `--base-rate`); the others'
are that rate, or that rate times B / B_reference or its square root (Goyal et al. 2017; Krizhevsky 2014).

A second study counts steps and samples to one error over ten batch sizes, fits S = S_min + E_min / B, and compares what
the gradient noise scale predicts and what `find_batch_size` chooses; `_target.py` has its rules in full. `--part` runs
one of the two, or the second without a clock (steps) and then its clock alone (time), which is written problem by
problem; with `--data` and `--names` it takes some of the problems, and leaves the others as they were.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import _study as study
import _target as target
import numpy as np
from _study import Contender, Search

from densenet.plots._style import COLOURS, quiet

SCALES: dict[str, Callable[[float], float]] = {"fixed": lambda k: 1.0, "linear": lambda k: k, "sqrt": math.sqrt}


def options() -> argparse.Namespace:
    made = study.parser(__doc__, epochs=40, trials=8)
    add = made.add_argument
    add(
        "--batch-sizes",
        nargs="+",
        type=int,
        default=[1, 4, 16, 64, 256, 1024],
        metavar="B",
        help="(default: %(default)s)",
    )
    add("--reference", type=int, metavar="B", help="the batch size compared with (default: the one nearest to 16)")
    add("--optimizer", choices=study.OPTIMIZERS, default="SGD", help="(default: %(default)s)")
    add("--rate", choices=("search", *SCALES), default="search", help="(default: %(default)s)")
    add("--base-rate", type=float, metavar="R", help="the reference's rate, which is otherwise searched")
    add("--rates", nargs=2, type=float, metavar=("LOW", "HIGH"), help="rates to search (default: the optimizer's)")
    add("--part", choices=("all", "epochs", "target", "steps", "time"), default="all", help="(default: %(default)s)")
    add("--quick", action="store_true", help="the second study alone, smaller: about a minute")
    add("--tables", type=Path, metavar="FOLDER", help="second study: also tables of a folder with a tables.toml")
    add("--names", nargs="+", default=list(target.TABLES), metavar="TABLE", help="(default: %(default)s)")
    args = study.parse(made)
    args.sizes, args.rates_tried = list(target.SIZES), args.trials
    if args.quick:
        args.part = "target" if args.part == "all" else args.part
        args.epochs, args.seeds, args.rates_tried, args.rounds = 20, 5, 5, 3
    if args.smoke:
        args.sizes, args.data = [8, 32, 128], ["regression"]
    args.batch_sizes = sorted({1, 32} if args.smoke else set(args.batch_sizes))
    if args.batch_sizes[0] < 1:
        made.error(f"--batch-sizes expects numbers of at least 1, got {args.batch_sizes[0]}")
    if args.reference is None:
        args.reference = min(args.batch_sizes, key=lambda size: abs(math.log(size / 16)))
    if args.reference not in args.batch_sizes:
        made.error(f"--reference expects one of --batch-sizes, got {args.reference}")
    if args.base_rate is not None and args.rate == "search":
        made.error("--base-rate needs --rate fixed, linear or sqrt")
    if args.base_rate is not None and not args.base_rate > 0:
        made.error(f"--base-rate expects a number above 0, got {args.base_rate}")
    if args.rates is not None and not 0 < args.rates[0] < args.rates[1] < math.inf:
        made.error(f"--rates expects 0 < LOW < HIGH, got {args.rates[0]} and {args.rates[1]}")
    for problem in study.problems(args):
        rows = len(problem.parts(0)[0][0])
        if args.batch_sizes[-1] > rows:
            made.error(f"--batch-sizes: {args.batch_sizes[-1]} is more than the {rows} training rows of {problem.name}")
    return args


def scaled(args: argparse.Namespace) -> study.Choose:
    """Rates that follow from the reference's."""

    def choose(contenders: Sequence[Contender], search: Search) -> dict[str, tuple[float, list[dict[str, Any]]]]:
        reference = next(c for c in contenders if c.batch_size == args.reference)
        rate, trials = (args.base_rate, []) if args.base_rate is not None else search(reference)
        scale = SCALES[args.rate]
        return {
            c.name: (rate * scale(c.batch_size / args.reference), trials if c is reference else []) for c in contenders
        }

    return choose


def main() -> None:
    """Compare, and draw."""
    args = options()
    if args.part in ("all", "epochs"):
        epochs(args)
    if args.part != "epochs":
        target.study_targets(args)


def epochs(args: argparse.Namespace) -> None:
    """All batch sizes over the same number of epochs."""
    make, middle = study.OPTIMIZERS[args.optimizer]
    rates = tuple(args.rates or (middle / study.SPAN, middle * study.SPAN))
    contenders = [
        Contender(str(size), size, lambda rate, steps: make(rate), rates, str(args.reference))
        for size in args.batch_sizes
    ]
    choose = study.search_each if args.rate == "search" else scaled(args)
    given = {key: getattr(args, key) for key in ("batch_sizes", "reference", "optimizer", "rate", "base_rate")}
    study.run("batch_sizes", args, contenders, picture, choose, **given)


def picture(results: Mapping[str, Any], contenders: Sequence[Contender]) -> Any:
    """One row of panels a problem: samples a second, error against samples and seconds, time to the goal, end error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import colormaps
    from matplotlib import pyplot as plt

    problems = results["problems"]
    settings = results["settings"]
    figure = plt.figure(figsize=(19, 3.9 * len(problems) + 0.4), layout="constrained")
    bands = figure.subfigures(len(problems), 1, squeeze=False)[:, 0]
    colours = [colormaps["viridis"](i / max(len(contenders) - 1, 1) * 0.92) for i in range(len(contenders))]
    for band, (name, found) in zip(bands, problems.items(), strict=True):
        axes = band.subplots(1, 5)
        band.suptitle(
            f"{name}, net {found['net']}, {settings['optimizer']}, rate: {settings['rate']}, {settings['epochs']} "
            f"epochs, medians of {settings['seeds']} seeds",
            fontsize=11,
        )
        throughput(axes[0], found["speed"], contenders)
        styles = {c.name: {"color": colour, "label": c.name} for c, colour in zip(contenders, colours, strict=True)}
        study.curves(axes[1:3], found, styles)
        axes[1].legend(title="batch size", fontsize=8, title_fontsize=8, frameon=False)
        by_seed(axes[3], found, contenders, colours, "seconds_to_goal", "missed")
        axes[3].set_ylabel(f"seconds to an error of {found['goal']:.3g}")
        by_seed(axes[4], found, contenders, colours, "test_error", "diverged")
        axes[4].set_ylabel(f"test {found['unit']}")
        for ax in axes:
            quiet(ax)
    return figure


def throughput(ax: Any, speed: Mapping[str, Any], contenders: Sequence[Contender]) -> None:
    sizes = [c.batch_size for c in contenders]
    lines = (
        ("products", "bare products", "#777777", "--"),
        ("step", "training", COLOURS[0], "-"),
        ("compiled", "training, [fast]", COLOURS[1], "-"),
    )
    for key, label, colour, style in lines:
        if any(key not in speed[c.name] for c in contenders):
            continue
        low, middle, high = np.array([[c.batch_size / t for t in speed[c.name][key][::-1]] for c in contenders]).T
        ax.plot(sizes, middle, color=colour, linestyle=style, marker="o", markersize=4, label=label)
        ax.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)  # quartiles
    ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="samples a second")
    ticks(ax, sizes)
    ax.legend(fontsize=8, frameon=False)


def by_seed(
    ax: Any, found: Mapping[str, Any], contenders: Sequence[Contender], colours: Sequence[Any], key: str, without: str
) -> None:
    """A dot a seed and the medians; above the frame how many have no figure."""
    sizes = [c.batch_size for c in contenders]
    for c, colour in zip(contenders, colours, strict=True):
        values = [run[key] for run in found["runs"][c.name]]
        there = [value for value in values if value is not None]
        ax.plot([c.batch_size] * len(there), there, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
        if len(there) < len(values):
            text = f"{len(values) - len(there)}/{len(values)}\n{without}"
            place = (c.batch_size, 1)
            ax.annotate(text, place, xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=7)
    medians = [found["summary"][c.name][key][1] for c in contenders]
    ax.plot(sizes, [math.nan if m is None else m for m in medians], color="black", linewidth=1, label="median")
    ax.set(xscale="log", xlabel="batch size")
    ticks(ax, sizes)
    study.logarithmic(ax.yaxis)
    ax.legend(fontsize=8, frameon=False)


def ticks(ax: Any, sizes: Sequence[int]) -> None:
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)


if __name__ == "__main__":
    main()
