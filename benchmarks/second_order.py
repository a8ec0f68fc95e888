"""Levenberg-Marquardt beside SciPy's least squares, L-BFGS and Adam; its scaling; the coverage of its error bars.

1. The same network, start and exact Jacobian for `scipy.optimize.least_squares`: it runs for a number of residual
   evaluations, then `LevenbergMarquardt` runs until it has an error as small. Evaluations and seconds of both.
2. Error against time for Levenberg-Marquardt, L-BFGS and Adam from one start.
3. Seconds an iteration by samples and by parameters.
4. Certified problems of nonlinear regression (NIST StRD), one setting for all: correct digits.
5. How often 95 % prediction and confidence intervals hold the truth on simulated data.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from scipy.optimize import least_squares

import densenet as dn
from densenet.second_order.least_squares import MeanSquares

NETS = ([1, 8, 1], [2, 15, 1], [4, 15, 10, 2], [5, 40, 1], [8, 20, 20, 1])


def problem(widths: list[int], samples: int, seed: int) -> tuple[Any, Any, dn.Sequential]:
    """Noisy data of another network, and a start."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (samples, widths[0]))
    truth = dn.mlp([widths[0], 8, 8, widths[-1]], activation="tanh", seed=100 + seed, dtype="float64")
    truth.params *= 2
    y = truth.predict(x) + 0.05 * rng.normal(size=(samples, widths[-1]))
    return x, y, dn.mlp(widths, activation="tanh", seed=seed, dtype="float64")


class Counted:
    """A problem's residuals, counted."""

    def __init__(self, problem: MeanSquares) -> None:
        self.problem, self.count = problem, 0

    def __call__(self, w: Any) -> Any:
        self.count += 1
        return self.problem.residuals(w)

    def jacobian(self, w: Any) -> Any:
        return self.problem.bowl(self.problem.residuals(w)).J


def beside_scipy(widths: list[int], seed: int, evaluations: int, samples: int) -> list[dict[str, Any]]:
    """What each method of SciPy reaches in so many evaluations, and what we need for the same."""
    x, y, start = problem(widths, samples, seed)
    made = []
    for method, scale in (("lm", 1.0), ("trf", 1.0)):
        theirs = Counted(MeanSquares(start, dn.MeanSquaredError(), x, y, None, 1e9, ""))
        began = time.perf_counter()
        found = least_squares(
            theirs, start.params.copy(), theirs.jacobian, method=method, x_scale=scale, max_nfev=evaluations
        )
        seconds = time.perf_counter() - began
        goal = 2 * found.cost
        ours, original = start.astype("float64"), MeanSquares.residuals
        count = 0

        def counting(self: MeanSquares, w: Any, original: Any = original) -> Any:
            nonlocal count
            count += 1
            return original(self, w)

        MeanSquares.residuals = counting  # type: ignore[method-assign]
        try:
            trainer = dn.Trainer(ours, "mse", dn.LevenbergMarquardt(goal=goal, min_grad=0.0))
            began = time.perf_counter()
            history = trainer.fit(x, y, epochs=10 * evaluations, progress=False)
            our_seconds = time.perf_counter() - began
        finally:
            MeanSquares.residuals = original  # type: ignore[method-assign]
        made.append(
            {
                "net": "-".join(map(str, widths)),
                "parameters": start.params.size,
                "method": method,
                "seed": seed,
                "error": goal,
                "reached": history.stopped == "goal reached",
                "evaluations": found.nfev,
                "our_evaluations": count,
                "seconds": seconds,
                "our_seconds": our_seconds,
            }
        )
    return made


def against_time(smoke: bool) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds and errors of three solvers from one start."""
    x, y, start = problem([4, 15, 10, 2], 1000, 0)
    runs = {
        "Levenberg-Marquardt": (dn.LevenbergMarquardt(min_grad=0.0), 10 if smoke else 150, 32),
        "L-BFGS": (dn.LBFGS(), 20 if smoke else 3000, 32),
        "Adam, 32 a batch": (dn.Adam(3e-3), 3 if smoke else 200, 32),
        "Adam, all at once": (dn.Adam(1e-2), 20 if smoke else 4000, 1000),
    }
    curves = {}
    for name, (solver, epochs, batch) in runs.items():
        common.progress(name)
        history = dn.Trainer(start.astype("float64"), "mse", solver).fit(
            x, y, epochs=epochs, batch_size=batch, seed=0, progress=False
        )
        curves[name] = history["seconds"], history["loss"]
    return curves


def scaling(smoke: bool) -> list[dict[str, float]]:
    """Seconds an iteration, by samples for one network and by parameters for one number of samples."""
    grid = [(samples, 20) for samples in (100, 1000, 10_000)] + [(1000, hidden) for hidden in (5, 50, 150)]
    made = []
    for samples, hidden in grid[:2] if smoke else grid:
        common.progress(f"{samples} samples, {hidden} hidden")
        x, y, model = problem([5, hidden, 1], samples, 0)
        history = dn.Trainer(model, "mse", dn.LevenbergMarquardt(min_grad=0.0)).fit(x, y, epochs=8, progress=False)
        each = float(np.median(np.diff([0.0, *history["seconds"]])))
        made.append({"samples": samples, "parameters": model.params.size, "seconds": each})
    return made


def coverage(experiments: int) -> dict[str, float]:
    """Shares of experiments in which a new target, and its mean, lie within the 95 % intervals."""
    rng = np.random.default_rng(0)
    x, new = np.linspace(-1, 1, 60)[:, None], np.linspace(-0.9, 0.9, 7)[:, None]
    truth = dn.mlp([1, 2, 1], activation="tanh", seed=0, dtype="float64")
    truth.params = [3.0, -1.5, 0.5, 1.0, 2.0, -1.0, 0.3]
    mean, held, held_mean = truth.predict(new), 0.0, 0.0
    for i in range(experiments):
        common.progress(f"experiment {i + 1}/{experiments}")
        y = truth.predict(x) + 0.1 * rng.normal(size=x.shape)
        model = truth.astype("float64")
        dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=200, progress=False)
        bars = dn.uncertainty(model, "mse", x, y)
        low, high = bars.interval(new)
        target = mean + 0.1 * rng.normal(size=mean.shape)
        held += float(((low <= target) & (target <= high)).mean()) / experiments
        low, high = bars.interval(new, kind="confidence")
        held_mean += float(((low <= mean) & (mean <= high)).mean()) / experiments
    return {"prediction": held, "confidence": held_mean}


def certified(smoke: bool) -> list[tuple[str, int, float, float]]:
    """The NIST StRD problems from both starts: how many with more than 4 digits, mean digits, mean evaluations."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import nist

    counts: dict[str, list[int]] = {}
    digits: dict[str, list[float]] = {}
    original = MeanSquares.residuals
    for name in list(nist.FORMULAS)[: 2 if smoke else None]:
        for start in (1, 2):
            for accelerated in (True, False):
                model, x, y = nist.problem(name, start)
                calls = [0]

                def counting(self: MeanSquares, w: Any, calls: list[int] = calls) -> Any:
                    calls[0] += 1
                    return original(self, w)

                MeanSquares.residuals = counting  # type: ignore[method-assign]
                solver = dn.LevenbergMarquardt(scaling="marquardt", acceleration=accelerated, min_grad=0.0, mu_max=1e30)
                dn.Trainer(model, "mse", solver).fit(x, y, epochs=5000, progress=False)
                MeanSquares.residuals = original  # type: ignore[method-assign]
                who = "densenet, with acceleration" if accelerated else "densenet, without"
                digits.setdefault(who, []).append(nist.digits(name, model.params))
                counts.setdefault(who, []).append(calls[0])
            model, x, y = nist.problem(name, start)
            at = MeanSquares(model, dn.MeanSquaredError(), x, y.reshape(len(x), 1), None, 1e9, "")
            theirs = Counted(at)
            with np.errstate(all="ignore"):
                found = least_squares(
                    theirs, at.w, theirs.jacobian, method="lm", x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15,
                    max_nfev=5000,
                )  # fmt: skip
            digits.setdefault("SciPy, lm", []).append(nist.digits(name, found.x))
            counts.setdefault("SciPy, lm", []).append(found.nfev)
    return [
        (who, int(sum(d > 4 for d in got)), float(np.mean(got)), float(np.median(counts[who])))
        for who, got in digits.items()
    ]


def picture(curves: dict[str, tuple[list[float], list[float]]], sizes: list[dict[str, float]]) -> Any:
    """Error against time, and seconds an iteration."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, (seconds, losses) in curves.items():
        left.plot(seconds, losses, label=name)
    left.set(xscale="log", yscale="log", xlabel="seconds", ylabel="mean squared error", title="4-15-10-2, 1000 samples")
    left.legend(frameon=False)
    for size in sizes:
        right.plot(size["parameters"] ** 2 * size["samples"], size["seconds"], "o", color="C0")
    right.set(xscale="log", yscale="log", xlabel="samples x parameters^2", ylabel="seconds an iteration")
    return figure


def main() -> None:
    """Measure everything, print the tables and draw the picture."""
    args = common.parser(__doc__).parse_args()
    seeds = args.rounds or (1 if args.smoke else 5)
    evaluations, samples = (15, 100) if args.smoke else (60, 800)
    found: list[dict[str, Any]] = []
    rows = []
    for widths in NETS[:2] if args.smoke else NETS:
        of_net: list[dict[str, Any]] = []
        for seed in range(seeds):
            common.progress(f"{widths}, start {seed + 1}/{seeds}")
            of_net += beside_scipy(widths, seed, evaluations, samples)
        found += of_net
        for method in ("lm", "trf"):
            runs = [run for run in of_net if run["method"] == method]
            calls = common.geometric_mean([run["our_evaluations"] / run["evaluations"] for run in runs])
            faster = common.geometric_mean([run["seconds"] / run["our_seconds"] for run in runs])
            reached = f"{sum(run['reached'] for run in runs)} of {len(runs)}"
            rows.append((runs[0]["net"], runs[0]["parameters"], method, reached, round(calls, 2), round(faster, 1)))
    common.progress("")
    curves, sizes = against_time(args.smoke), scaling(args.smoke)
    solved = certified(args.smoke)
    covered = coverage(5 if args.smoke else 300)
    common.progress("")
    head = ("net", "parameters", "SciPy's method", "error reached", "our evaluations / its", "its seconds / ours")
    results = {
        "beside_scipy": found,
        "against_time": {
            name: {"seconds": s[:: len(s) // 200 + 1], "loss": e[:: len(e) // 200 + 1]}
            for name, (s, e) in curves.items()
        },
        "scaling": sizes,
        "certified": solved,
        "coverage": covered,
    }
    common.save(args.out, "second_order", results, head, rows, picture(curves, sizes))
    print("\nseconds an iteration")
    print(common.table(("samples", "parameters", "seconds"), [tuple(size.values()) for size in sizes]))
    best = [(name, len(losses), seconds[-1], losses[-1]) for name, (seconds, losses) in curves.items()]
    print("\nerror against time: where each ends")
    print(common.table(("solver", "epochs", "seconds", "error"), best))
    print("\nNIST StRD, 27 problems from 2 starts")
    print(common.table(("solver", "of 54 above 4 digits", "mean digits", "median evaluations"), solved))
    print(f"\n95 % intervals hold {covered['prediction']:.1%} of new targets and {covered['confidence']:.1%} of means")


if __name__ == "__main__":
    main()
