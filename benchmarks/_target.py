"""Steps and samples to one error over many batch sizes, and what can be said of them beforehand.

* The error is the loss on validation rows. It is checked forty times an epoch at first, or after every step where there
  are fewer, and later after every 2 % more steps. The goal of a split leaves a twentieth of the way from the first
  error to the lowest that batch 32 reaches with the best of three rates.
* The rate is searched for every batch size and seed among the same rates. The rate counts best that needs the fewest
  steps; the run that is reported begins from other weights. A trial stops when another rate has been faster.
* A run that misses the goal is censored: all that is known of it is that it takes more steps than it made.
* The fit S = S_min + E_min / B takes the runs with B <= n/4 (`densenet.batch_size.fit_tradeoff`).
* The predicted critical batch size is the mean of B_noise over the steps of the run to the goal with the largest batch
  size up to n/4, for the training rows, with the Gauss-Newton matrix: E_min is its sum over the steps. Its interval is
  Student's over the seeds, on log. Beside it stands the geometric mean, which single steps with hardly any gradient
  weigh less in.
* Networks are fitted by kernels in threads, where the extra [fast] is installed; without, by the NumPy lines.
* Seconds to the goal are the steps, times the seconds of a step that are measured by themselves, with one BLAS thread,
  by kernels and by the NumPy lines: another process on the machine must not decide.
* Regret is the time to the goal of the batch size that `find_batch_size` calls fastest, over the shortest time of all.
  A choice between or beyond the batch sizes that were run counts as the nearest of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import _common as common
import _study as study
import numpy as np
from _study import Part, Problem
from scipy import stats

import densenet as dn
from densenet.batch_size import fit_tradeoff
from densenet.compiled.machine import missing
from densenet.plots._style import COLOURS, quiet
from densenet.plots.batches import regimes, ticks
from densenet.tables import TablePreparation

SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RATES = (0.01, 3.2)
TABLES = ("abalone", "phoneme", "diamonds")
LEAST_STEPS = 600
CHECKS = 40
FINENESS = 50
LEFT = 0.05
TIMED_ROWS = 60_000
WAYS = {"NumPy lines": False, **({"kernels": True} if missing() is None else {})}
LOOKS = 12
Parts = tuple[Part, Part, Part]


def from_table(folder: Path, name: str, hidden: Sequence[int]) -> Problem:
    """A table of a folder, with the target and the task that its tables.toml names."""
    about = tomllib.loads((folder / "tables.toml").read_text(encoding="utf-8"))[name]
    table = dn.datasets.read_csv(folder / f"{name}.csv")
    whole = TablePreparation().fit(table, about["target"], task=about["task"])
    labels = whole.transform_target(table) if whole.task == "classification" else None

    def parts(seed: int) -> Parts:
        numbers = study.rows_of(len(table), labels, seed)
        own = TablePreparation().fit(table, about["target"], task=whole.task, rows=numbers[0])
        x, y = own.transform(table), own.transform_target(table)
        first, second, third = ((x[rows], y[rows]) for rows in numbers)
        return first, second, third

    outputs = 1 if whole.classes is None else len(whole.classes)
    width = whole.transform(table).shape[1]
    return Problem(name, (width, *hidden, outputs), whole.task, None, parts)


def problems(args: argparse.Namespace) -> list[Problem]:
    found = study.problems(args)
    if args.tables is not None:
        found += [from_table(args.tables, name, args.hidden or (64, 64)) for name in args.names]
    return found


class ToGoal(dn.Callback):
    """Stop at the goal; what was seen on the way."""

    observes = True

    def __init__(self, validation: Part, goal: float, every: int, most: int, keep: bool = False) -> None:
        self.validation, self.goal, self.every, self.most, self.keep = validation, goal, every, most, keep
        self.errors: list[float] = []
        self.kept: list[tuple[int, Any]] = []
        self.steps, self.next, self.reached = 0, every, False

    def rest(self, run: dn.Run) -> float:
        return min(self.next, self.most) - run.step

    def on_batch_end(self, run: dn.Run) -> None:
        self.steps = run.step
        if run.step >= self.next:
            self.next = run.step + max(self.every, run.step // FINENESS)
            error = run.trainer.evaluate(*self.validation)["loss"]
            self.errors.append(error)
            if self.keep:
                self.kept.append((run.step, run.model.params.copy()))
            if error <= self.goal:
                self.reached = True
                run.stop("goal")
        if run.step >= self.most:
            run.stop("late")


def run_to_goal(
    problem: Problem,
    parts: Parts,
    size: int,
    rate: float,
    stream: list[int],
    goal: float,
    most: int,
    keep: bool = False,
) -> tuple[ToGoal, dn.Trainer]:
    """One run: weights and shuffles come from `stream` alone."""
    (x, y), validation, _ = parts
    model = dn.mlp((x.shape[1], *problem.widths[1:]), seed=np.random.default_rng([*stream, 0]))
    trainer = dn.Trainer(model, problem.loss, dn.SGD(rate), compiled=missing() is None)
    watch = ToGoal(validation, goal, max(1, len(x) // (CHECKS * size)), most, keep)
    if keep:
        watch.kept.append((0, model.params.copy()))
    try:
        trainer.fit(
            x, y, epochs=10**6, batch_size=size, seed=np.random.default_rng([*stream, 1]), callbacks=[watch],
            progress=False,
        )  # fmt: skip
    except dn.DivergenceError:
        watch.reached, watch.steps = False, most
    return watch, trainer


def goal_of(problem: Problem, parts: Parts, seed: int, epochs: int) -> float:
    """The error that leaves a share `LEFT` of the way from the first to the lowest that batch 32 reaches."""
    (x, _), validation, _ = parts
    model = dn.mlp((x.shape[1], *problem.widths[1:]), seed=np.random.default_rng([seed, 3, 0]))
    first = dn.Trainer(model, problem.loss, "sgd").evaluate(*validation)["loss"]
    lowest = first
    for rate in (0.05, 0.15, 0.45):
        steps = min(epochs, 30) * math.ceil(len(x) / 32)
        watch, _ = run_to_goal(problem, parts, 32, rate, [seed, 3], -math.inf, steps)
        lowest = min([lowest, *(error for error in watch.errors if math.isfinite(error))])
    return float(f"{lowest + LEFT * (first - lowest):.3g}")


def one_seed(problem: Problem, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """All batch sizes of a problem and seed: search, run, and the noise on the way."""
    parts = problem.parts(seed)
    n = len(parts[0][0])
    goal = args.goal or goal_of(problem, parts, seed, args.epochs)
    rates = np.geomspace(*RATES, args.rates_tried).tolist()
    largest = max(size for size in args.sizes if size <= n // 4)
    guess, runs, noise = rates[1], {}, []
    for size in args.sizes:
        limit = max(math.ceil(args.epochs * n / size), LEAST_STEPS)
        best, chosen = limit, None
        for rate in sorted(rates, key=lambda r: abs(math.log(r / guess))):
            watch, _ = run_to_goal(problem, parts, size, rate, [seed, 1], goal, best)
            if watch.reached and (watch.steps < best or chosen is None):
                best, chosen = watch.steps, rate
        guess = chosen or guess
        watch, trainer = run_to_goal(problem, parts, size, guess, [seed, 2], goal, limit, keep=size == largest)
        runs[str(size)] = {
            "rate": guess,
            "at_edge": guess in (rates[0], rates[-1]),
            "steps": watch.steps,
            "missed": not watch.reached,
        }
        if size == largest:
            noise = noise_on_the_way(problem, parts[0], trainer, watch, LOOKS // 2 if args.quick else LOOKS)
    return {"seed": seed, "goal": goal, "rows": n, "largest": largest, "runs": runs, "noise": noise}


def noise_on_the_way(
    problem: Problem, rows: Part, trainer: dn.Trainer, watch: ToGoal, looks: int
) -> list[dict[str, float]]:
    """Both noise scales at so many places, evenly over the steps of a run."""
    wanted = (np.arange(looks) + 0.5) / looks * watch.steps
    at = sorted({int(np.abs([step - want for step, _ in watch.kept]).argmin()) for want in wanted})
    found = []
    for i in at:
        step, params = watch.kept[i]
        trainer.model.params = params
        scale = dn.noise_scale(
            trainer.model, problem.loss, *rows, population=False, curvature="gauss_newton", probes=16
        )
        found.append({"step": step, "of": watch.steps, "b_simple": scale.b_simple, "b_noise": scale.b_noise})
    return found


def count_steps(args: argparse.Namespace) -> dict[str, Any]:
    """The part that no clock is needed for."""
    found: dict[str, Any] = {}
    with dn.threads(1), ThreadPoolExecutor(args.jobs) as pool:
        waiting = []
        for problem in problems(args):
            tasks = [pool.submit(one_seed, problem, seed, args) for seed in range(args.seeds)]
            waiting.append((problem, tasks))
        for problem, tasks in waiting:
            seeds = []
            for task in tasks:
                common.progress(f"{problem.name}: {len(seeds)}/{len(tasks)} seeds")
                seeds.append(task.result())
            found[problem.name] = {
                "net": "-".join(map(str, problem.widths)), "task": problem.task,
                "goal": statistics.median(one["goal"] for one in seeds),
                "rows": seeds[0]["rows"], "seeds": seeds,
            }  # fmt: skip
            found[problem.name] |= fitted_and_predicted(found[problem.name])
    common.progress("")
    return found


def fitted_and_predicted(found: Mapping[str, Any]) -> dict[str, Any]:
    """The curve through the runs, and the critical batch size that the noise predicts."""
    sizes, steps, missed = [], [], []
    for one in found["seeds"]:
        for size, run in one["runs"].items():
            if int(size) <= one["rows"] // 4:
                sizes.append(int(size))
                steps.append(run["steps"])
                missed.append(run["missed"])
    fit = fit_tradeoff(sizes, steps, missed=missed)
    looks = [[look["b_noise"] for look in one["noise"] if 0 < look["b_noise"] < math.inf] for one in found["seeds"]]
    logs = [math.log(statistics.fmean(one)) for one in looks]
    mean, width = statistics.fmean(logs), 0.0
    if len(logs) > 1:
        width = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    predicted = math.exp(mean)
    return {
        "fit": {
            "least_steps": fit.least_steps, "least_samples": fit.least_samples, "critical": fit.critical,
            "interval": [study.finite(end) for end in fit.critical_interval], "spread": fit.spread,
            "runs": fit.runs, "censored": fit.censored,
        },
        "predicted": {"critical": predicted, "interval": [math.exp(mean - width), math.exp(mean + width)],
                      "geometric": statistics.geometric_mean(map(statistics.geometric_mean, looks))},
        "factor": study.finite(max(predicted / fit.critical, fit.critical / predicted)),
        "median_steps": {
            size: study.finite(statistics.median(
                math.inf if one["runs"][size]["missed"] else one["runs"][size]["steps"] for one in found["seeds"]
            ))
            for size in found["seeds"][0]["runs"]
        },
    }  # fmt: skip


def take_times(problem: Problem, mine: dict[str, Any], args: argparse.Namespace) -> None:
    """Seconds of a step, the batch size that `find_batch_size` chooses, and its regret; by each way to train."""
    mine["ways"] = {way: {"step_seconds": took} for way, took in step_seconds(problem, args).items()}
    chosen = choices(problem, mine, args)
    for way, one in mine["ways"].items():
        seconds = {size: study.number(mine["median_steps"][size]) * took for size, took in one["step_seconds"].items()}
        best = min(seconds, key=lambda size: seconds[size])
        largest = statistics.median(run["runs"][str(max(args.sizes))]["steps"] for run in mine["seeds"])
        others = {  # a run that missed the goal counts with the steps that it made
            "find_batch_size": statistics.median(seconds[str(size)] for size in chosen[way]),
            "always 32": seconds["32"],
            "largest": largest * one["step_seconds"][str(max(args.sizes))],
        }
        one |= {
            "seconds": {size: study.finite(value) for size, value in seconds.items()},
            "fastest": int(best),
            "chosen": chosen[way],
            "regret": {name: study.finite(value / seconds[best]) for name, value in others.items()},
        }


def step_seconds(problem: Problem, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of a step for every batch size, by the clock of `fit`, which leaves out what it does before and after.

    Rows are repeated to eight steps an epoch at least, all of them full. Rounds go over all batch sizes and ways.
    """
    x, y = problem.parts(0)[0]
    fits: dict[tuple[str, int], tuple[Callable[[], dn.History], int]] = {}
    for way, compiled in WAYS.items():
        for size in args.sizes:
            an_epoch = max(len(x) // size, 8)
            epochs = 1 if args.smoke else max(1, math.ceil(min(400, TIMED_ROWS / size) / an_epoch))
            rows = np.arange(an_epoch * size) % len(x)
            model = dn.mlp((x.shape[1], *problem.widths[1:]), seed=0)
            trainer = dn.Trainer(model, problem.loss, dn.SGD(1e-6), compiled=compiled)
            call = partial(trainer.fit, x[rows], y[rows], epochs=epochs, batch_size=size, seed=0, progress=False)
            fits[way, size] = call, epochs * an_epoch
    times: dict[tuple[str, int], list[float]] = {key: [] for key in fits}
    for _ in range(args.rounds + 1):  # the first to warm up
        for key, (call, steps) in fits.items():
            times[key].append(call()["seconds"][-1] / steps)
    return {way: {str(size): statistics.median(times[way, size][1:]) for size in args.sizes} for way in WAYS}


def choices(problem: Problem, found: Mapping[str, Any], args: argparse.Namespace) -> dict[str, list[int]]:
    """What `find_batch_size` calls fastest on the way to the goal, by seed, as the nearest batch size that was run."""
    chosen: dict[str, list[int]] = {way: [] for way in WAYS}
    for one in found["seeds"]:
        x, y = problem.parts(one["seed"])[0]
        model = dn.mlp((x.shape[1], *problem.widths[1:]), seed=one["seed"])
        trainer = dn.Trainer(model, problem.loss, dn.SGD(one["runs"]["32"]["rate"]))
        said = dn.find_batch_size(trainer, x, y, reach=one["goal"], seed=one["seed"])
        for way, compiled in WAYS.items():
            took = said.compiled_step_seconds if compiled else said.step_seconds
            fastest = said.sizes[int(np.nanargmin(np.array(said.steps) * np.array(took)))]
            chosen[way].append(min(args.sizes, key=lambda size: abs(math.log(size / fastest))))
    return chosen


def callback_cost(args: argparse.Namespace) -> dict[str, Any]:
    """What `NoiseScale` adds to a fit of 64-128-10 with batch 64, as a share of the time without it."""
    x, y = dn.datasets.load_digits()
    epochs = 2 if args.smoke else 60 if args.quick else 200

    def fit(compiled: bool, *callbacks: dn.Callback) -> None:
        trainer = dn.Trainer(dn.mlp([64, 128, 10], seed=0), "softmax_cross_entropy", dn.SGD(0.01), compiled=compiled)
        trainer.fit(x, y, epochs=epochs, batch_size=64, seed=0, callbacks=callbacks, progress=False)

    found = {}
    for way, compiled in WAYS.items():
        calls = {"without": partial(fit, compiled), "with": partial(fit, compiled, dn.NoiseScale())}
        times = common.interleave(calls, args.rounds, say=f"NoiseScale, {way}:")
        low, middle, high = common.spread(common.ratios(times, "with", "without"))
        found[way] = {"net": "64-128-10", "batch_size": 64, "steps": epochs * math.ceil(len(x) / 64),
                      "share": middle - 1, "quartiles": [low - 1, high - 1]}  # fmt: skip
    return found


HEAD = (
    "problem", "rows", "goal", "fitted critical", "from", "to", "predicted", "from", "to", "factor", "geometric",
    "missed", *(f"{what}, {way}" for way in WAYS for what in ("fastest", "chosen", "regret", "always 32", "largest")),
)  # fmt: skip


def table_rows(found: Mapping[str, Any]) -> list[list[Any]]:
    rows = []
    for name, one in found.items():
        fit, said = one["fit"], one["predicted"]
        low, high = ("inf" if end is None else end for end in fit["interval"])
        timed: list[Any] = []
        for way in WAYS:
            mine = one.get("ways", {}).get(way)
            regrets = [] if mine is None else ["inf" if r is None else r for r in mine["regret"].values()]
            timed += [""] * 5 if mine is None else [mine["fastest"], "/".join(map(str, mine["chosen"])), *regrets]
        rows.append(
            [
                name, one["rows"], one["goal"], fit["critical"], low, high, said["critical"], *said["interval"],
                study.number(one["factor"]), said["geometric"], f"{fit['censored']}/{fit['runs']}", *timed,
            ]
        )  # fmt: skip
    return rows


def verdict(found: Mapping[str, Any]) -> list[str]:
    """The aims that were missed, and the regrets beside two rules of thumb."""
    lines = [
        f"miss: {name}: predicted and fitted differ by a factor of {study.number(one['factor']):.2g}"
        for name, one in found.items()
        if study.number(one["factor"]) > 3
    ]
    for way in WAYS:
        timed = {name: one["ways"][way]["regret"] for name, one in found.items() if "ways" in one}
        for name, regrets in timed.items():
            if study.number(regrets["find_batch_size"]) > 1.3:
                lines.append(f"miss: {name}, {way}: a regret of {study.number(regrets['find_batch_size']):.3g}")
        if timed:
            means = {
                rule: statistics.fmean(study.number(regrets[rule]) for regrets in timed.values())
                for rule in next(iter(timed.values()))
            }
            lines.append(f"mean regret, {way}: " + ", ".join(f"{rule} {mean:.3g}" for rule, mean in means.items()))
    return lines


def picture(found: Mapping[str, Any]) -> Any:
    """A row a problem: steps, samples against steps, seconds, the noise scale on the way."""
    figure, grid = panels(len(found), 4, (17, 3.5 * len(found)))
    for axes, (name, one) in zip(grid, found.items(), strict=True):
        steps_panel(axes[0], name, one)
        samples_panel(axes[1], one)
        seconds_panel(axes[2], one)
        noise_panel(axes[3], one)
        for ax in axes:
            quiet(ax)
    name_regimes(figure, grid)
    return figure


def overview(found: Mapping[str, Any]) -> Any:
    """A column a problem: steps and, where they were timed, seconds over the batch size."""
    rows = 2 if all("ways" in one for one in found.values()) else 1
    figure, grid = panels(rows, len(found), (3.6 * len(found), 3.3 * rows))
    for axes, (name, one) in zip(grid.T, found.items(), strict=True):
        steps_panel(axes[0], name, one)
        if rows > 1:
            seconds_panel(axes[1], one)
        for ax in axes:
            quiet(ax)
    name_regimes(figure, grid)
    return figure


def name_regimes(figure: Any, grid: Any) -> None:
    """One legend for the shades of all panels."""
    names = {patch.get_label(): patch for ax in grid.flat for patch in ax.patches}
    figure.legend(names.values(), names.keys(), loc="outside upper center", ncols=3, frameon=False, fontsize="small")


def panels(rows: int, columns: int, size: tuple[float, float]) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def fitted_steps(one: Mapping[str, Any]) -> tuple[Any, Any]:
    """Batch sizes, and the steps of the curve through the runs."""
    sizes = [int(size) for size in one["median_steps"]]
    fine = np.geomspace(sizes[0], sizes[-1], 200)
    return fine, one["fit"]["least_steps"] + one["fit"]["least_samples"] / fine


def steps_panel(ax: Any, name: str, one: Mapping[str, Any]) -> None:
    """Measured beside fitted and predicted steps, with the regimes; dotted: a quarter of the rows."""
    fit, said = one["fit"], one["predicted"]["critical"]
    fine, fitted = fitted_steps(one)
    anchor = statistics.median(run["runs"]["32"]["steps"] for run in one["seeds"])
    ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="steps to the goal")
    ax.set_title(f"{name}, {one['net']}, n = {one['rows']:,}", fontsize="medium")
    regimes(ax, fit["critical"], (fine[0], fine[-1]))
    for missed, marker, face in ((False, "o", COLOURS[0]), (True, "^", "none")):
        points = [
            (int(k), run["steps"]) for s in one["seeds"] for k, run in s["runs"].items() if run["missed"] == missed
        ]
        if points:
            label = "missed (took more)" if missed else "measured, a seed"
            ax.plot(*zip(*points, strict=True), marker, markerfacecolor=face, markeredgecolor=COLOURS[0],
                    markersize=4, alpha=0.7, label=label, linestyle="none")  # fmt: skip
    ax.plot(fine, fitted, color=COLOURS[0], label=f"fitted: critical {fit['critical']:.0f}")
    ax.plot(
        fine,
        anchor * (1 + said / fine) / (1 + said / 32),
        "--",
        color=COLOURS[1],
        label=f"predicted: critical {said:.0f}",
    )
    ax.axvline(one["rows"] / 4, color="0.4", linestyle=":", linewidth=1)
    ax.legend(handles=[h for h in ax.get_lines() if not h.get_label().startswith("_")],
              frameon=False, fontsize="x-small")  # fmt: skip
    ticks(ax, [int(size) for size in one["median_steps"]])


def samples_panel(ax: Any, one: Mapping[str, Any]) -> None:
    """Samples against steps to the goal; numbers are batch sizes."""
    fine, fitted = fitted_steps(one)
    there = {int(size): steps for size, steps in one["median_steps"].items() if steps is not None}
    ax.set(xscale="log", yscale="log", xlabel="steps to the goal", ylabel="samples to the goal")
    ax.plot(fitted, fitted * fine, color=COLOURS[0], label="fitted")
    samples = [size * steps for size, steps in there.items()]
    ax.plot(list(there.values()), samples, "o", color=COLOURS[0], markersize=5, label="medians")
    for size in list(there)[:: 2 if len(there) > 6 else 1]:
        at = (there[size], there[size] * size)
        ax.annotate(str(size), at, (4, 4), textcoords="offset points", fontsize=7)
    ax.legend(frameon=False, fontsize="x-small")
    study.logarithmic(ax.xaxis)
    study.logarithmic(ax.yaxis)


def seconds_panel(ax: Any, one: Mapping[str, Any]) -> None:
    """Seconds to the goal by each way, what is within 20 % of the fastest, and what `find_batch_size` chose."""
    ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="seconds to the goal")
    for (way, timed), colour in zip(one.get("ways", {}).items(), COLOURS, strict=False):
        sizes = np.array([int(size) for size in timed["seconds"]])
        seconds = np.array([study.number(value) for value in timed["seconds"].values()])
        seconds[np.isinf(seconds)] = np.nan
        good = np.where(seconds <= 1.2 * np.nanmin(seconds), seconds, np.nan)
        ax.plot(sizes, seconds, "o-", color=colour, markersize=4, label=way)
        ax.plot(sizes, good, "o-", color=colour, markersize=9, markeredgewidth=0, linewidth=7, alpha=0.3)
        chosen = statistics.median_low(timed["chosen"])
        ax.plot(chosen, seconds[list(sizes).index(chosen)], "*", color=colour, markeredgecolor="black", markersize=13,
                label=f"find_batch_size: {chosen}")  # fmt: skip
    if "ways" in one:
        ax.plot([], [], color="0.5", linewidth=7, alpha=0.3, label="within 20 % of the fastest")
        ax.legend(frameon=False, fontsize="x-small")
    else:
        ax.annotate("not timed", (0.5, 0.5), xycoords="axes fraction", ha="center")
    ticks(ax, [int(size) for size in one["median_steps"]])


def noise_panel(ax: Any, one: Mapping[str, Any]) -> None:
    """Both noise scales on the way to the goal, a line a seed, and the fitted critical batch size."""
    for s in one["seeds"]:
        share = [look["step"] / look["of"] for look in s["noise"]]
        ax.plot(share, [look["b_noise"] for look in s["noise"]], "-s", color=COLOURS[1], markersize=3, linewidth=1)
        ax.plot(share, [look["b_simple"] for look in s["noise"]], "--o", color=COLOURS[0], markersize=3, linewidth=1)
    critical = one["fit"]["critical"]
    ax.axhline(critical, color="0.3", linewidth=1, linestyle=":")
    ax.annotate("fitted", (1, critical), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    ax.legend(ax.get_lines()[:2], ["B_noise", "B_simple"], framealpha=0.8, edgecolor="none", fontsize="x-small")
    ax.set(yscale="log", xlabel="share of the steps to the goal", ylabel="noise scale, in samples")


def study_targets(args: argparse.Namespace) -> None:
    """Count, time where that is asked for, write and draw; what is done so far is written on the way."""
    if args.part == "time":
        kept = counted(args)
    else:
        rates = np.geomspace(*RATES, args.rates_tried).tolist()
        settings = {"sizes": args.sizes, "seeds": args.seeds, "rates": rates, "epochs": args.epochs}
        kept = {"settings": settings, "problems": count_steps(args), "callback": {}}
    if args.part != "steps":
        kept["settings"]["rounds"] = args.rounds
        with dn.threads(1):
            for problem in problems(args):
                write(kept, args.out)
                take_times(problem, kept["problems"][problem.name], args)
            kept["callback"] = callback_cost(args)
    write(kept, args.out)
    found = kept["problems"]
    said = [
        f"NoiseScale takes {c['share']:.1%} of a fit of 64-128-10, 64, {way}" for way, c in kept["callback"].items()
    ]
    print("\n".join([common.table(HEAD, table_rows(found)), *verdict(found), *said]))
    picture(found).savefig(args.out / "batch_sizes_target.png", dpi=90)
    overview(found).savefig(args.out / "batch_sizes_overview.png", dpi=90)


def counted(args: argparse.Namespace) -> dict[str, Any]:
    """What `--part steps` has written, which must have the problems that are to be timed."""
    path = args.out / "batch_sizes_target.json"
    if not path.is_file():
        raise SystemExit(f"--part time goes on from {path}, which is not there: run --part steps first.")
    said = json.loads(path.read_text(encoding="utf-8"))
    kept: dict[str, Any] = said["results"]
    kept["settings"].setdefault("command that counted", said["machine"]["command"])
    for one in kept["problems"].values():
        one |= fitted_and_predicted(one)
    missing = [problem.name for problem in problems(args) if problem.name not in kept["problems"]]
    if missing:
        raise SystemExit(f"--part time expects the problems of {path}, which lacks {', '.join(missing)}.")
    return kept


def write(kept: dict[str, Any], folder: Path) -> None:
    common.save(folder, "batch_sizes_target", kept, HEAD, table_rows(kept["problems"]), show="")
