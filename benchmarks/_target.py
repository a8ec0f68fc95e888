"""Steps and samples to one error over many batch sizes, and what can be said of them beforehand.

* The error is the loss on validation rows. It is checked forty times an epoch, or after every step where there are
  fewer, outside the clock. The goal of a split leaves a twentieth of the way from the first error to the lowest that
  batch 32 reaches with the best of three rates.
* The rate is searched for every batch size and seed among the same rates. The rate counts best that needs the fewest
  steps; the run that is reported begins from other weights. A trial stops when another rate has been faster.
* A run that misses the goal is censored: all that is known of it is that it takes more steps than it made.
* The fit S = S_min + E_min / B takes the runs with B <= n/4 (`densenet.batch_size.fit_tradeoff`).
* The predicted critical batch size is the geometric mean of B_noise over the steps of the run to the goal with the
  largest batch size up to n/4, for the training rows, with the Gauss-Newton matrix. Its interval is Student's over the
  seeds, on log. The arithmetic mean, which single steps with hardly any gradient rule, is written down beside it.
* Seconds to the goal are the steps, times the seconds of a step that are measured by themselves, with one BLAS thread:
  another process on the machine must not decide.
* Regret is the time to the goal of the batch size that `find_batch_size` calls fastest, over the shortest time of all.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import _common as common
import _study as study
import numpy as np
from _study import Part, Problem
from scipy import stats

import densenet as dn
from densenet.batch_size import fit_tradeoff
from densenet.plots._style import COLOURS, quiet
from densenet.plots.batches import regimes, ticks
from densenet.tables import TablePreparation

SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RATES = (0.01, 3.2)
TABLES = ("abalone", "phoneme", "diamonds")
LEAST_STEPS = 600
CHECKS = 40
LEFT = 0.05
LOOKS = 6
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
        self.steps, self.reached = 0, False

    def on_batch_end(self, run: dn.Run) -> None:
        self.steps = run.step
        if run.step % self.every == 0:
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
    trainer = dn.Trainer(model, problem.loss, dn.SGD(rate))
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


def one_seed(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """All batch sizes of a problem and seed: search, run, and the noise on the way."""
    problem = next(p for p in problems(args) if p.name == name)
    with dn.threads(1):
        return _one_seed(problem, seed, args)


def _one_seed(problem: Problem, seed: int, args: argparse.Namespace) -> dict[str, Any]:
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
            noise = noise_on_the_way(problem, parts[0], trainer, watch)
    return {"seed": seed, "goal": goal, "rows": n, "largest": largest, "runs": runs, "noise": noise}


def noise_on_the_way(problem: Problem, rows: Part, trainer: dn.Trainer, watch: ToGoal) -> list[dict[str, float]]:
    """Both noise scales at some places, evenly over the steps of a run."""
    wanted = (np.arange(LOOKS) + 0.5) / LOOKS * watch.steps
    at = sorted({int(np.abs([step - want for step, _ in watch.kept]).argmin()) for want in wanted})
    found = []
    for i in at:
        step, params = watch.kept[i]
        trainer.model.params = params
        scale = dn.noise_scale(
            trainer.model, problem.loss, *rows, population=False, curvature="gauss_newton", probes=24
        )
        found.append({"step": step, "of": watch.steps, "b_simple": scale.b_simple, "b_noise": scale.b_noise})
    return found


def count_steps(args: argparse.Namespace) -> dict[str, Any]:
    """The part that no clock is needed for."""
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(args.jobs) as pool:
        waiting = []
        for problem in problems(args):
            tasks = [pool.submit(one_seed, problem.name, seed, args) for seed in range(args.seeds)]
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
    logs = [statistics.fmean(map(math.log, one)) for one in looks]
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
                      "arithmetic": statistics.geometric_mean(map(statistics.fmean, looks))},
        "factor": study.finite(max(predicted / fit.critical, fit.critical / predicted)),
        "median_steps": {
            size: study.finite(statistics.median(
                math.inf if one["runs"][size]["missed"] else one["runs"][size]["steps"] for one in found["seeds"]
            ))
            for size in found["seeds"][0]["runs"]
        },
    }  # fmt: skip


def take_times(found: dict[str, Any], args: argparse.Namespace) -> None:
    """Seconds of a step, the batch size that `find_batch_size` chooses, and its regret."""
    for problem in problems(args):
        mine = found[problem.name]
        parts = problem.parts(0)
        x, y = parts[0]
        widths = (x.shape[1], *problem.widths[1:])
        calls: dict[str, Any] = {}
        for size in args.sizes:
            an_epoch = max(len(x) // size, 8)
            rows = np.arange(an_epoch * size) % len(x)
            trainer = dn.Trainer(dn.mlp(widths, seed=0), problem.loss, dn.SGD(1e-6))
            most = 60 if args.smoke else 400
            take = rows[: min(len(rows), most * size)]
            calls[str(size)] = (
                lambda t=trainer, a=x[take], b=y[take], s=size: t.fit(a, b, epochs=1, batch_size=s, progress=False),
                math.ceil(len(take) / size),
            )
        times = common.interleave({k: call for k, (call, _) in calls.items()}, args.rounds, say=problem.name)
        mine["step_seconds"] = {k: statistics.median(times[k]) / calls[k][1] for k in calls}
        seconds = {k: study.number(mine["median_steps"][k]) * mine["step_seconds"][k] for k in calls}
        mine["seconds"] = {k: study.finite(value) for k, value in seconds.items()}
        best = min(seconds, key=lambda k: seconds[k])
        chosen = []
        for one in mine["seeds"]:
            a, b = problem.parts(one["seed"])[0]
            model = dn.mlp((a.shape[1], *problem.widths[1:]), seed=one["seed"])
            rate = dn.SGD(one["runs"]["32"]["rate"])
            found_size = dn.find_batch_size(dn.Trainer(model, problem.loss, rate), a, b, reach=None, seed=one["seed"])
            chosen.append(min(args.sizes, key=lambda size: abs(math.log(size / found_size.fastest))))
        regrets = {
            "find_batch_size": statistics.median(seconds[str(size)] for size in chosen) / seconds[best],
            "always 32": seconds["32"] / seconds[best],
            "largest": at_least(mine, str(max(args.sizes))) / seconds[best],
        }
        mine |= {"fastest": int(best), "chosen": chosen, "regret": regrets}


def at_least(found: Mapping[str, Any], size: str) -> float:
    """Median seconds to the goal, where a run that missed it counts with the steps that it made."""
    steps = statistics.median(one["runs"][size]["steps"] for one in found["seeds"])
    return float(steps * found["step_seconds"][size])


HEAD = (
    "problem", "rows", "goal", "fitted critical", "from", "to", "predicted", "from", "to", "factor", "missed",
    "fastest", "chosen", "regret", "always 32", "largest",
)  # fmt: skip


def table_rows(found: Mapping[str, Any]) -> list[list[Any]]:
    rows = []
    for name, one in found.items():
        fit, said = one["fit"], one["predicted"]
        low, high = ("inf" if end is None else end for end in fit["interval"])
        timed = one.get("regret")
        rows.append(
            [
                name, one["rows"], one["goal"], fit["critical"], low, high, said["critical"], *said["interval"],
                one["factor"], f"{fit['censored']}/{fit['runs']}",
                *((one["fastest"], "/".join(map(str, one["chosen"])), *timed.values()) if timed else [""] * 5),
            ]
        )  # fmt: skip
    return rows


def picture(found: Mapping[str, Any]) -> Any:
    """A row a problem: steps, samples against steps, seconds, the noise scale on the way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(len(found), 4, figsize=(17, 3.5 * len(found)), layout="constrained", squeeze=False)
    for axes, (name, one) in zip(grid, found.items(), strict=True):
        _row(axes, name, one)
    return figure


def _row(axes: Any, name: str, one: Mapping[str, Any]) -> None:
    sizes = [int(size) for size in one["seeds"][0]["runs"]]
    fit, said = one["fit"], one["predicted"]["critical"]
    fine = np.geomspace(sizes[0], sizes[-1], 200)
    fitted = fit["least_steps"] + fit["least_samples"] / fine
    middle = {int(k): v for k, v in one["median_steps"].items()}
    anchor = statistics.median(run["runs"]["32"]["steps"] for run in one["seeds"])
    predicted = anchor * (1 + said / fine) / (1 + said / 32)
    ax = axes[0]
    ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="steps to the goal")
    ax.set_title(f"{name}, {one['net']}, n = {one['rows']:,}", fontsize="medium")
    regimes(ax, fit["critical"], (sizes[0], sizes[-1]))
    for missed, marker, face in ((False, "o", COLOURS[0]), (True, "^", "none")):
        points = [
            (int(k), run["steps"]) for s in one["seeds"] for k, run in s["runs"].items() if run["missed"] == missed
        ]
        if points:
            label = "missed (took more)" if missed else "measured, a seed"
            ax.plot(*zip(*points, strict=True), marker, markerfacecolor=face, markeredgecolor=COLOURS[0],
                    markersize=4, alpha=0.7, label=label, linestyle="none")  # fmt: skip
    ax.plot(fine, fitted, color=COLOURS[0], label=f"fitted: {fit['critical']:.0f}")
    ax.plot(fine, predicted, "--", color=COLOURS[1], label=f"predicted: {said:.0f}")
    ax.axvline(one["rows"] / 4, color="0.4", linestyle=":", linewidth=1)
    ax.legend(handles=[h for h in ax.get_lines() if not h.get_label().startswith("_")],
              frameon=False, fontsize="x-small")  # fmt: skip
    ticks(ax, sizes)
    ax = axes[1]
    there = [size for size in sizes if middle[size] is not None]
    ax.set(xscale="log", yscale="log", xlabel="steps to the goal", ylabel="samples to the goal")
    ax.plot(fitted, fitted * fine, color=COLOURS[0], label="fitted")
    ax.plot(
        [middle[s] for s in there], [middle[s] * s for s in there], "o", color=COLOURS[0], markersize=5, label="medians"
    )
    for size in there[:: 2 if len(there) > 6 else 1]:
        ax.annotate(str(size), (middle[size], middle[size] * size), (4, 4), textcoords="offset points", fontsize=7)
    ax.legend(frameon=False, fontsize="x-small")
    study.logarithmic(ax.xaxis)
    study.logarithmic(ax.yaxis)
    ax = axes[2]
    ax.set(xscale="log", yscale="log", xlabel="batch size", ylabel="seconds to the goal")
    if "seconds" in one:
        known = [(int(k), v) for k, v in one["seconds"].items() if v is not None]
        best = min(v for _, v in known)
        ax.plot(*zip(*known, strict=True), "o-", color=COLOURS[0], markersize=4)
        good = [pair for pair in known if pair[1] <= 1.2 * best]
        ax.plot(*zip(*good, strict=True), color=COLOURS[2], linewidth=6, alpha=0.4, label="within 20 % of the fastest",
                solid_capstyle="round", marker="o")  # fmt: skip
        chosen = statistics.median_low(one["chosen"])
        if one["seconds"][str(chosen)] is not None:
            ax.plot(chosen, one["seconds"][str(chosen)], "*", color=COLOURS[1], markeredgecolor="black", markersize=13,
                    label=f"find_batch_size: {chosen}")  # fmt: skip
        ax.legend(frameon=False, fontsize="x-small")
    ticks(ax, sizes)
    ax = axes[3]
    for s in one["seeds"]:
        share = [look["step"] / look["of"] for look in s["noise"]]
        ax.plot(share, [look["b_noise"] for look in s["noise"]], "-s", color=COLOURS[1], markersize=3, linewidth=1)
        ax.plot(share, [look["b_simple"] for look in s["noise"]], "--o", color=COLOURS[0], markersize=3, linewidth=1)
    ax.axhline(fit["critical"], color="0.3", linewidth=1, linestyle=":")
    ax.annotate("fitted", (1, fit["critical"]), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    ax.legend(ax.get_lines()[:2], ["B_noise", "B_simple"], frameon=False, fontsize="x-small")
    ax.set(yscale="log", xlabel="share of the steps to the goal", ylabel="noise scale, in samples")
    for ax in axes:
        quiet(ax)


def study_targets(args: argparse.Namespace) -> None:
    """Count, time where that is asked for, write and draw."""
    path = args.out / "batch_sizes_target.json"
    if args.part == "time":
        if not path.is_file():
            raise SystemExit(f"--part time goes on from {path}, which is not there: run --part steps first.")
        found = json.loads(path.read_text(encoding="utf-8"))["results"]["problems"]
        for one in found.values():
            one |= fitted_and_predicted(one)
        missing = {problem.name for problem in problems(args)} ^ set(found)
        if missing:
            raise SystemExit(f"--part time expects the problems of {path}; not in both: {', '.join(sorted(missing))}.")
    else:
        found = count_steps(args)
    if args.part != "steps":
        with dn.threads(1):
            take_times(found, args)
    settings = {"sizes": args.sizes, "seeds": args.seeds, "rates": np.geomspace(*RATES, args.rates_tried).tolist(),
                "epochs": args.epochs, "rounds": args.rounds}  # fmt: skip
    rows = table_rows(found)
    text = common.table(HEAD, rows) + "\n" + "\n".join(
        f"miss: {name}: predicted and fitted differ by a factor of {one['factor']:.2g}"
        for name, one in found.items() if one["factor"] > 3
    )  # fmt: skip
    common.save(args.out, "batch_sizes_target", {"settings": settings, "problems": found}, HEAD, rows, show=text)
    picture(found).savefig(args.out / "batch_sizes_target.png", dpi=110)
