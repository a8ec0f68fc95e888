"""What the studies share: fair comparisons of ways to train, for each of several seeds.

The rules, the same for all contenders:

* Data are split at random into training (60 %), validation (20 %) and test part. For one seed all contenders have the
  same split and the same initial weights; the final runs begin from other weights than the trials.
* The rate is searched, for every contender and seed, with the same number of trials evenly spread on a logarithmic
  axis. The trial counts best whose validation error, averaged over all its checks, is lowest: it asks for both a quick
  descent and a low end. How often the best rate was the smallest or largest that was tried is reported.
* Searches look at no clock: they run in threads, with one BLAS thread each, by kernels where these save time. The final
  runs are by the NumPy lines, one after another.
* All runs see the same number of samples. Errors are checked after every epoch, when all have seen the same rows, and
  the clock stands still meanwhile.
* The test error is taken once, at the end of the final run.
* A run that diverges has an infinite error, one that misses the goal an infinite time. Both stay in all figures;
  medians can bear them, and they are counted.

The error is the share of wrong answers for classes, else the root of the mean squared deviation in standard deviations
of the target. Beside a median over the seeds stand the two order statistics that hold the true median with at least
95 % probability (6 seeds or more; with fewer they are the smallest and the largest), whatever the distribution.
Comparisons are paired: the ratio, or the difference, to the reference is taken seed by seed. Where both missed, or both
diverged, the two count as equal.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import _common as common
import numpy as np
from step import products_alone, steps_for

import densenet as dn
from densenet.compiled.offer import refusal
from densenet.tables import TablePreparation
from densenet.training.data import split

Part: TypeAlias = tuple[Any, Any]

OPTIMIZERS: dict[str, tuple[Callable[[Any], dn.Optimizer], float]] = {
    "SGD": (lambda rate: dn.SGD(rate), 0.2),
    "momentum": (lambda rate: dn.SGD(rate, momentum=0.9), 0.03),
    "Nesterov": (lambda rate: dn.SGD(rate, momentum=0.9, nesterov=True), 0.03),
    "Adagrad": (lambda rate: dn.Adagrad(rate), 0.03),
    "Adadelta": (lambda rate: dn.Adadelta(rate), 3.0),
    "RMSprop": (lambda rate: dn.RMSprop(rate), 2e-3),
    "Adam": (lambda rate: dn.Adam(rate), 3e-3),
    "AdamW": (lambda rate: dn.AdamW(rate), 3e-3),
    "Adamax": (lambda rate: dn.Adamax(rate), 5e-3),
    "NAdam": (lambda rate: dn.NAdam(rate), 3e-3),
    "RAdam": (lambda rate: dn.RAdam(rate), 1e-2),
    "Lion": (lambda rate: dn.Lion(rate), 2e-3),
}
"""Optimizers by name, each with the middle of the rates that are tried. Rprop is for full batches and stays out."""

SPAN = 10**1.75
"""The rates tried reach from the middle over this to the middle times this."""


# -- data -------------------------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """Data, the network to learn them, and the error to reach."""

    name: str
    widths: tuple[int, ...]
    task: str
    goal: float | None  # None: 1.2 times what the best contender's trials end with
    parts: Callable[[int], tuple[Part, Part, Part]]  # training, validation and test part of a seed

    @property
    def unit(self) -> str:
        return "share of wrong answers" if self.task == "classification" else "rms error / sd of target"

    @property
    def loss(self) -> dn.Loss:
        return dn.SoftmaxCrossEntropy() if self.task == "classification" else dn.MeanSquaredError()


def rows_of(n: int, labels: Any, seed: int) -> tuple[Any, Any, Any]:
    """Numbers of the training, validation and test rows; classes in their proportions."""
    rng = np.random.default_rng([seed, 0])
    rest, test = split(n, 0.2, labels, rng)
    train, validation = split(len(rest), 0.25, None if labels is None else labels[rest], rng)
    return rest[train], rest[validation], test


def classes(name: str, x: Any, y: Any, hidden: Sequence[int], goal: float | None) -> Problem:
    def parts(seed: int) -> tuple[Part, Part, Part]:
        first, second, third = ((x[rows], y[rows]) for rows in rows_of(len(x), y, seed))
        return first, second, third

    return Problem(name, (x.shape[1], *hidden, int(y.max()) + 1), "classification", goal, parts)


def friedman(n: int, hidden: Sequence[int], goal: float | None) -> Problem:
    """y = 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + noise on ten columns (Friedman 1991, equation 61)."""
    rng = np.random.default_rng(0)
    x = rng.random((n, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y += rng.standard_normal(n)

    def parts(seed: int) -> tuple[Part, Part, Part]:
        numbers = rows_of(n, None, seed)
        train = numbers[0]
        z = ((x - x[train].mean(0)) / x[train].std(0)).astype("f")
        t = ((y - y[train].mean()) / y[train].std()).astype("f")
        first, second, third = ((z[rows], t[rows]) for rows in numbers)
        return first, second, third

    return Problem("regression", (10, *hidden, 1), "regression", goal, parts)


def from_idx(images: Path, labels: Path, hidden: Sequence[int], goal: float | None) -> Problem:
    x, y = dn.datasets.read_idx(images), dn.datasets.read_idx(labels)
    x = x.reshape(len(x), -1).astype("f") / (255 if x.dtype == np.uint8 else 1)
    return classes(images.name.split(".")[0], x, y.astype(np.int64), hidden, goal)


def from_csv(path: Path, target: str | None, hidden: Sequence[int], goal: float | None) -> Problem:
    table = dn.datasets.read_csv(path, -1 if target is None else target)
    whole = TablePreparation().fit(table)
    labels = whole.transform_target(table) if whole.task == "classification" else None

    def parts(seed: int) -> tuple[Part, Part, Part]:
        numbers = rows_of(len(table), labels, seed)
        own = TablePreparation().fit(table, task=whole.task, rows=numbers[0])
        x, y = own.transform(table), own.transform_target(table)
        first, second, third = ((x[rows], y[rows]) for rows in numbers)
        return first, second, third

    outputs = 1 if whole.classes is None else len(whole.classes)
    return Problem(path.stem, (len(whole.feature_names), *hidden, outputs), whole.task, goal, parts)


# -- options ----------------------------------------------------------------------------------------------------------


def parser(description: str | None, epochs: int, trials: int) -> argparse.ArgumentParser:
    """The options that all studies take."""
    made = common.parser(description)
    add = made.add_argument
    add("--data", nargs="*", choices=("digits", "regression"), help="the data that ship and are made (default: both)")
    add("--idx", nargs=2, type=Path, metavar=("IMAGES", "LABELS"), help="also images and labels in IDX files")
    add("--csv", type=Path, metavar="FILE", help="also a table in a CSV file")
    add("--target", metavar="COLUMN", help="the CSV file's column to be predicted (default: the last)")
    add("--hidden", nargs="*", type=int, metavar="WIDTH", help="widths of the hidden layers (default: 128, or 64 64)")
    add("--goal", type=float, metavar="ERROR", help="the error to reach (default: one for each data set)")
    add("--epochs", type=int, default=epochs, help="epochs of every run (default: %(default)s)")
    add("--trials", type=int, default=trials, help="rates tried, for each contender and seed (default: %(default)s)")
    add("--speed", action="store_true", help="measure speed alone: the runs are those in the results' file")
    add("--seeds", type=int, default=6, help="seeds, each a split with its searches and runs (default: %(default)s)")
    add("--jobs", type=int, default=2, help="seeds that are searched at once, in threads (default: %(default)s)")
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse, and check what argparse does not."""
    args = made.parse_args()
    for name, least in (("epochs", 1), ("trials", 2), ("seeds", 1), ("jobs", 1)):
        if getattr(args, name) < least:
            made.error(f"--{name} expects a number of at least {least}, got {getattr(args, name)}")
    if args.goal is not None and not args.goal > 0:
        made.error(f"--goal expects an error above 0, got {args.goal}")
    if args.target is not None and args.csv is None:
        made.error("--target names a column of the table that --csv gives")
    if args.smoke:
        args.epochs, args.trials, args.seeds = 2, 2, 2
    args.rounds = args.rounds or (2 if args.smoke else 11)
    return args


def problems(args: argparse.Namespace) -> list[Problem]:
    """The data sets asked for."""
    names = ("digits", "regression") if args.data is None else args.data
    found = []
    if "digits" in names:
        found.append(classes("digits", *dn.datasets.load_digits(), args.hidden or (128,), args.goal or 0.04))
    if "regression" in names:
        found.append(friedman(2000, args.hidden or (64, 64), args.goal or 0.3))
    if args.idx:
        found.append(from_idx(*args.idx, args.hidden or (128,), args.goal))
    if args.csv:
        found.append(from_csv(args.csv, args.target, args.hidden or (64, 64), args.goal))
    return found


# -- runs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """A way to train: a batch size, and an optimizer made from a rate and the number of steps of the run."""

    name: str
    batch_size: int
    optimizer: Callable[[float, int], dn.Optimizer]
    rates: tuple[float, float]  # smallest and largest that are tried
    reference: str  # name of the contender that it is compared with
    group: str = ""


class Watch(dn.Callback):
    """The validation error after every epoch, and the seconds spent in training until then."""

    def __init__(self, error: Callable[[], float]) -> None:
        self.error = error
        self.errors: list[float] = []
        self.seconds: list[float] = []

    def on_epoch_end(self, run: dn.Run) -> None:
        self.errors.append(self.error())
        self.seconds.append(run.figures["seconds"])


def error_of(trainer: dn.Trainer, task: str, x: Any, y: Any) -> float:
    """Share of wrong answers, or root of the mean squared deviation; infinite where it is no number."""
    if task == "classification":
        return float(np.mean(trainer.predict_classes(x) != y))
    with np.errstate(all="ignore"):
        error = float(np.sqrt(np.mean((trainer.model.predict(x).ravel() - y.ravel()) ** 2)))
    return error if error < math.inf else math.inf


def train(
    problem: Problem,
    parts: tuple[Part, Part, Part],
    contender: Contender,
    rate: float,
    stream: list[int],
    epochs: int,
    compiled: bool | Literal["auto"] = False,
) -> tuple[Watch, bool, dn.Trainer]:
    """One run: what was seen on the way, whether it diverged, and the trainer as it ended.

    Weights and shuffles come from `stream` alone, so that they are the same for all contenders.
    """
    (x, y), validation, _ = parts
    widths = (x.shape[1], *problem.widths[1:])  # a table's categories may differ between splits
    model = dn.mlp(widths, seed=np.random.default_rng([*stream, 0]))
    steps = epochs * math.ceil(len(x) / contender.batch_size)
    trainer = dn.Trainer(model, problem.loss, contender.optimizer(rate, steps), compiled=compiled)
    watch = Watch(lambda: error_of(trainer, problem.task, *validation))
    diverged = False
    try:
        trainer.fit(
            x,
            y,
            epochs=epochs,
            batch_size=contender.batch_size,
            seed=np.random.default_rng([*stream, 1]),
            callbacks=[watch],
            progress=False,
        )
    except dn.DivergenceError:
        diverged = True
    return watch, diverged, trainer


class Search:
    """The rates tried for the contenders of one problem and seed."""

    def __init__(self, problem: Problem, parts: tuple[Part, Part, Part], seed: int, args: argparse.Namespace) -> None:
        self.problem, self.parts, self.seed, self.args = problem, parts, seed, args

    def __call__(self, contender: Contender) -> tuple[float, list[dict[str, Any]]]:
        """The best rate, and all trials."""
        trials: list[dict[str, Any]] = []
        scores = []
        for i, rate in enumerate(np.geomspace(*contender.rates, self.args.trials).tolist()):
            common.progress(
                f"{self.problem.name}, seed {self.seed + 1}/{self.args.seeds}, {contender.name}: "
                f"rate {i + 1}/{self.args.trials}"
            )
            watch, diverged, _ = train(
                self.problem, self.parts, contender, rate, [self.seed, 1], self.args.epochs, compiled="auto"
            )
            mean = math.inf if diverged else statistics.fmean(watch.errors)
            last = math.inf if diverged else watch.errors[-1]
            scores.append((mean, i))
            trials.append({"rate": rate, "mean_error": finite(mean), "last_error": finite(last)})
        return trials[min(scores)[1]]["rate"], trials


Choose: TypeAlias = Callable[[Sequence[Contender], Search], dict[str, tuple[float, list[dict[str, Any]]]]]


def search_each(contenders: Sequence[Contender], search: Search) -> dict[str, tuple[float, list[dict[str, Any]]]]:
    """Every contender's own best rate."""
    return {contender.name: search(contender) for contender in contenders}


def finite(value: float) -> float | None:
    """The value to six digits; None, as JSON has no infinity, for a run that diverged or missed."""
    return float(f"{value:.6g}") if value < math.inf else None


def study(
    problem: Problem, contenders: Sequence[Contender], args: argparse.Namespace, choose: Choose
) -> dict[str, Any]:
    """All searches, then all final runs of one problem, as they go into the JSON file."""
    parts = [problem.parts(seed) for seed in range(args.seeds)]
    searches = [Search(problem, parts[seed], seed, args) for seed in range(args.seeds)]
    with dn.threads(1), ThreadPoolExecutor(args.jobs) as pool:
        chosen = list(pool.map(partial(choose, contenders), searches))
    goal = problem.goal if problem.goal is not None else 1.2 * best_end(chosen)
    runs: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    shuffler = random.Random(0)
    for seed in range(args.seeds):
        for contender in shuffler.sample(list(contenders), len(contenders)):
            common.progress(f"{problem.name}, seed {seed + 1}/{args.seeds}: final run of {contender.name}")
            rate, trials = chosen[seed][contender.name]
            watch, diverged, trainer = train(problem, parts[seed], contender, rate, [seed, 2], args.epochs)
            reached = next((i for i, error in enumerate(watch.errors) if error <= goal), None)
            runs[contender.name].append(
                {
                    "seed": seed,
                    "rate": rate,
                    "rate_at_edge": len(trials) > 1 and rate in (trials[0]["rate"], trials[-1]["rate"]),
                    "trials": trials,
                    "diverged": diverged,
                    "epochs_to_goal": None if reached is None else reached + 1,
                    "seconds_to_goal": None if reached is None else finite(watch.seconds[reached]),
                    "test_error": None if diverged else finite(error_of(trainer, problem.task, *parts[seed][2])),
                    "errors": [finite(error) for error in watch.errors],
                    "seconds": [finite(value) for value in watch.seconds],
                }
            )
    common.progress("")
    return {
        "net": "-".join(map(str, problem.widths)),
        "task": problem.task,
        "unit": problem.unit,
        "goal": goal,
        "rows": {name: len(part[0]) for name, part in zip(("training", "validation", "test"), parts[0], strict=True)},
        "runs": runs,
    }


def best_end(chosen: Sequence[Mapping[str, tuple[float, list[dict[str, Any]]]]]) -> float:
    """The lowest error that a contender's trials end with, in the median over the seeds."""
    ends: dict[str, list[float]] = {}
    for found in chosen:
        for name, (_, trials) in found.items():
            ends.setdefault(name, []).append(min((number(trial["last_error"]) for trial in trials), default=math.inf))
    best = min(map(statistics.median, ends.values()))
    if best == math.inf:
        raise SystemExit("No rate was searched, or none led anywhere: give the error to reach as --goal.")
    return best


# -- speed ------------------------------------------------------------------------------------------------------------


def speed(problem: Problem, contenders: Sequence[Contender], args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step of every contender, and of the bare matrix products of such a step, interleaved.

    A contender with kernels, where the extra [fast] is installed, is measured with them, too.

    Rows of the training part are repeated to at least eight steps an epoch: what `fit` does once an epoch is in.
    """
    (x, y), _, _ = problem.parts(0)
    calls: dict[str, Callable[[], Any]] = {}
    counts: dict[str, int] = {}
    for contender in contenders:
        batch = contender.batch_size
        an_epoch = max(len(x) // batch, 8)
        epochs = 1 if args.smoke else math.ceil(steps_for(problem.widths, batch, False) / 2 / an_epoch)
        rows = np.arange(an_epoch * batch) % len(x)
        steps = epochs * an_epoch
        calls[contender.name] = epochs_of(problem, contender, x[rows], y[rows], epochs, steps)
        if refusal(dn.mlp(problem.widths), problem.loss, contender.optimizer(1e-6, steps)) is None:
            kernels = f"{contender.name}, compiled"
            calls[kernels] = epochs_of(problem, contender, x[rows], y[rows], epochs, steps, compiled=True)
        limit = f"products, {batch}"
        calls.setdefault(limit, products_alone(problem.widths, batch, steps))
        counts[contender.name] = counts[limit] = steps
    times = common.interleave(calls, args.rounds, say=f"{problem.name}, speed:")
    made = {}
    for contender in contenders:
        steps, limit = counts[contender.name], f"products, {contender.batch_size}"
        a_step = common.spread([seconds / steps for seconds in times[contender.name]])
        bare = common.spread([seconds / steps for seconds in times[limit]])
        made[contender.name] = {
            "batch_size": contender.batch_size,
            "step": a_step,
            "products": bare,
            "samples_a_second": contender.batch_size / a_step[1],
            "samples_a_second_products": contender.batch_size / bare[1],
            "of_limit": common.spread(common.ratios(times, limit, contender.name)),
        }
        if (kernels := f"{contender.name}, compiled") in times:
            compiled = common.spread([seconds / steps for seconds in times[kernels]])
            made[contender.name] |= {
                "compiled": compiled,
                "samples_a_second_compiled": contender.batch_size / compiled[1],
                "of_limit_compiled": common.spread(common.ratios(times, limit, kernels)),
            }
    return made


def epochs_of(
    problem: Problem, contender: Contender, x: Any, y: Any, epochs: int, steps: int, compiled: bool = False
) -> Callable[[], None]:
    model = dn.mlp((x.shape[1], *problem.widths[1:]), seed=0)
    trainer = dn.Trainer(model, problem.loss, contender.optimizer(1e-6, steps), compiled=compiled)

    def run() -> None:
        trainer.fit(x, y, epochs=epochs, batch_size=contender.batch_size, seed=0, progress=False)

    return run


# -- figures ----------------------------------------------------------------------------------------------------------


def number(value: float | None) -> float:
    """What JSON has as None is infinite."""
    return math.inf if value is None else value


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median between the order statistics that hold the true one with 95 % probability, or all that there are.

    The number of values below the true median is binomial with p = 1/2: x_(k+1) to x_(n-k) holds it with probability
    1 - 2 sum_(i <= k) C(n, i) / 2^n.
    """
    n, k = len(values), 0
    while k + 1 < n / 2 and 2 * sum(math.comb(n, i) for i in range(k + 2)) <= 0.05 * 2**n:
        k += 1
    ordered = sorted(values)
    return ordered[k], statistics.median(ordered), ordered[n - 1 - k]


def paired(
    a: Sequence[float], b: Sequence[float], compare: Callable[[float, float], float], same: float
) -> list[float]:
    """compare(a, b) seed by seed; `same` where both are infinite."""
    return [same if u == v == math.inf else compare(u, v) for u, v in zip(a, b, strict=True)]


def summarise(found: Mapping[str, Any], contenders: Sequence[Contender]) -> dict[str, Any]:
    """Medians with their intervals, comparisons and counts of every contender."""
    runs, made = found["runs"], {}
    column = {
        (c.name, key): [number(run[key]) for run in runs[c.name]]
        for c in contenders
        for key in ("rate", "epochs_to_goal", "seconds_to_goal", "test_error")
    }
    for c in contenders:
        mine, other = c.name, c.reference
        over = paired(column[mine, "seconds_to_goal"], column[other, "seconds_to_goal"], lambda u, v: u / v, same=1.0)
        minus = paired(column[mine, "test_error"], column[other, "test_error"], lambda u, v: u - v, same=0.0)
        made[mine] = {
            "runs": len(runs[mine]),
            "reached": sum(run["epochs_to_goal"] is not None for run in runs[mine]),
            "diverged": sum(run["diverged"] for run in runs[mine]),
            "rates_at_edge": sum(run["rate_at_edge"] for run in runs[mine]),
            "reference": other,
            "seconds_over_reference": interval(over),
            "test_error_minus_reference": interval(minus),
            **{key: interval(column[mine, key]) for key in ("rate", "epochs_to_goal", "seconds_to_goal", "test_error")},
        }
    return made


HEAD = [
    "data",
    "contender",
    "rate",
    "us/step",
    "samples/s",
    "of products' speed",
    "runs",
    "reached goal",
    "diverged",
    "rate at edge",
    *(f"{what}{bound}" for what in ("epochs to goal", "seconds to goal") for bound in ("", ", low", ", high")),
    "reference",
    *(f"seconds over reference{bound}" for bound in ("", ", low", ", high")),
    *(f"test error{bound}" for bound in ("", ", low", ", high")),
    *(f"error minus reference{bound}" for bound in ("", ", low", ", high")),
]
"""Columns of the CSV file; on the terminal an interval is one column."""


def row(data: str, name: str, of_speed: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Any]:
    """A line of the CSV file."""

    def three(key: str) -> list[float]:
        low, middle, high = summary[key]
        return [middle, low, high]

    return [
        data,
        name,
        summary["rate"][1],
        1e6 * of_speed["step"][1],
        of_speed["samples_a_second"],
        of_speed["of_limit"][1],
        *(summary[key] for key in ("runs", "reached", "diverged", "rates_at_edge")),
        *three("epochs_to_goal"),
        *three("seconds_to_goal"),
        summary["reference"],
        *three("seconds_over_reference"),
        *three("test_error"),
        *three("test_error_minus_reference"),
    ]


def shown(what: str, rows: Sequence[Sequence[Any]]) -> str:
    """The table for the terminal."""

    def text(value: float) -> str:
        return "missed" if value == math.inf else f"{value:.3g}"

    def three(middle: float, low: float, high: float) -> str:
        return text(middle) if middle == low == high else f"{text(middle)} ({text(low)} to {text(high)})"

    head = ["data", what, "rate", "us/step", "samples/s", "of products", "reached", "diverged", "at edge"]
    head += ["epochs to goal", "seconds to goal", "over reference", "", "test error", "minus reference"]
    lines = []
    for r in rows:
        of_all = [f"{count}/{r[6]}" for count in r[7:10]]
        itself = r[1] == r[16]
        lines.append(
            [
                *r[:2],
                *(f"{value:.3g}" for value in r[2:4]),
                f"{r[4]:,.0f}",
                f"{r[5]:.0%}",
                *of_all,
                three(*r[10:13]),
                three(*r[13:16]),
                "" if itself else three(*r[17:20]),
                "" if itself else r[16],
                three(*r[20:23]).replace("missed", "diverged"),
                "" if itself else three(*r[23:26]).replace("missed", "diverged"),
            ]
        )
    return common.table(head, lines)


def run(
    name: str,
    args: argparse.Namespace,
    contenders: Sequence[Contender],
    picture: Callable[[Mapping[str, Any], Sequence[Contender]], Any],
    choose: Choose = search_each,
    **settings: Any,
) -> None:
    """The whole study: every problem, then table, files and picture."""
    results: dict[str, Any] = {
        "settings": {
            **settings,
            **{key: getattr(args, key) for key in ("epochs", "trials", "seeds", "rounds")},
            "interval": "order statistics that hold the median with 95 % probability; all values with under 6 seeds",
            "search": "lowest validation error, averaged over the checks",
            "checks": "after every epoch, outside the clock",
        },
        "contenders": [
            {"name": c.name, "batch_size": c.batch_size, "rates": c.rates, "reference": c.reference, "group": c.group}
            for c in contenders
        ],
        "problems": {},
    }
    rows = []
    before = json.loads((args.out / f"{name}.json").read_text(encoding="utf-8"))["results"] if args.speed else None
    for problem in problems(args):
        speeds = speed(problem, contenders, args)
        found = before["problems"][problem.name] if before else study(problem, contenders, args, choose)
        summary = summarise(found, contenders)
        results["problems"][problem.name] = found | {
            "speed": speeds,
            "summary": {
                who: {key: [*map(finite, v)] if isinstance(v, tuple) else v for key, v in figures.items()}
                for who, figures in summary.items()
            },
        }
        rows += [row(problem.name, c.name, speeds[c.name], summary[c.name]) for c in contenders]
    if not rows:
        raise SystemExit("There is nothing to learn from: --data without a name, and neither --idx nor --csv.")
    common.save(args.out, name, results, HEAD, rows, show=shown(name.replace("_", " ")[:-1], rows))
    picture(results, contenders).savefig(args.out / f"{name}.png", dpi=120)


# -- pictures ---------------------------------------------------------------------------------------------------------


def curves(axes: Sequence[Any], found: Mapping[str, Any], lines: Mapping[str, Mapping[str, Any]]) -> None:
    """Validation error against samples seen and against seconds: medians over the seeds, one line a contender.

    `lines` gives names with the style of each. A median that is infinite ends the line.
    """
    epochs = max(len(run["errors"]) for runs in found["runs"].values() for run in runs)
    samples = found["rows"]["training"] * np.arange(1, epochs + 1)
    for name, style in lines.items():
        errors, seconds = (
            np.array(
                [
                    statistics.median(number(value) for value in at)
                    for at in itertools.islice(itertools.zip_longest(*(r[key] for r in found["runs"][name])), epochs)
                ]
            )
            for key in ("errors", "seconds")
        )
        errors[~np.isfinite(errors)] = np.nan
        seconds[~np.isfinite(seconds)] = np.nan
        axes[0].plot(samples[: len(errors)], errors, **style)
        axes[1].plot(seconds, errors, **style)
    for ax, label in zip(axes, ("samples seen", "seconds of training"), strict=True):
        ax.set(xlabel=label, ylabel=f"validation {found['unit']}")
        logarithmic(ax.xaxis)
        logarithmic(ax.yaxis)
        ax.axhline(found["goal"], color="black", linewidth=0.8, linestyle=":")
    axes[0].annotate(
        "goal", (1, found["goal"]), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
    )


def logarithmic(axis: Any) -> None:
    """A logarithmic axis, where there is anything on it, with numbers such as 0.05 in place of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    lines = axis.axes.get_lines()
    values = np.concatenate([np.asarray(getattr(line, f"get_{axis.axis_name}data")(), float) for line in lines])
    if not (np.nan_to_num(values) > 0).any():
        axis.set_ticks([])
        return
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log", nonpositive="clip")
    there = values[(values > 0) & np.isfinite(values)]
    decades = math.log10(there.max() / there.min())
    axis.set_major_locator(LogLocator(subs=(1,) if decades > 2 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
