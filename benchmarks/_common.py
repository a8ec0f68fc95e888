"""What benchmarks share: interleaved timing, the machine's description, results as table, JSON, CSV and picture."""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

CELLS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((2, 16, 2), 8),
    ((10, 32, 32, 2), 32),
    ((64, 128, 10), 32),
    ((784, 128, 10), 32),
    ((784, 128, 10), 128),
    ((784, 512, 256, 10), 128),
    ((784, 512, 256, 10), 1024),
)
"""Networks and batch sizes, from where calls dominate to where products do."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks take."""
    made = argparse.ArgumentParser(description=(description or "").strip().splitlines()[0])
    made.add_argument(
        "--out", type=Path, default=RESULTS, help="folder for JSON, CSV and picture (default: %(default)s)"
    )
    made.add_argument("--rounds", type=int, help="rounds of interleaved timing (default: the script's)")
    made.add_argument("--smoke", action="store_true", help="the smallest run that goes through everything")
    return made


def machine() -> dict[str, Any]:
    """Processor, cores, system, versions and the BLAS in use: without these a figure means nothing."""
    import densenet._blas

    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = "numpy scipy torch jax scikit-learn keras lightgbm catboost mpi4py mpich".split()
    versions = {name: version for name in names if (version := _version(name))}
    return {
        "processor": cpu,
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "densenet": densenet.__version__,
        "versions": versions,
        "blas": densenet._blas.blas_description(),
        "command": " ".join(["python", Path(sys.argv[0]).name, *map(_anonymous, sys.argv[1:])]),
    }


def _anonymous(argument: str) -> str:
    """A path of this machine without its folders."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def interleave(
    contenders: Mapping[str, Callable[[], Any]], rounds: int, *, say: str = "", seed: int = 0
) -> dict[str, list[float]]:
    """Seconds of every contender in every round; each round runs all of them, in an order drawn anew.

    What disturbs the machine for a while then disturbs all contenders alike, and ratios within a round stay fair.
    """
    order, times = list(contenders), {name: [] for name in contenders}
    shuffler = random.Random(seed)
    for call in contenders.values():
        call()
    for i in range(rounds):
        progress(f"{say} round {i + 1}/{rounds}")
        shuffler.shuffle(order)
        for name in order:
            gc.collect()
            gc.disable()
            began = time.perf_counter()
            contenders[name]()
            times[name].append(time.perf_counter() - began)
            gc.enable()
    progress("")
    return times


def ratios(times: Mapping[str, Sequence[float]], over: str, under: str) -> list[float]:
    """times[over] / times[under], round by round."""
    return [a / b for a, b in zip(times[over], times[under], strict=True)]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that suits ratios."""
    return statistics.geometric_mean(values)


def progress(text: str) -> None:
    """One line on a terminal, overwritten by the next; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of text, numbers to the right."""
    cells = [list(head), *[[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    number = [all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, number, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def save(
    folder: Path,
    name: str,
    results: Any,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    figure: Any = None,
    *,
    show: str | None = None,
) -> None:
    """Write NAME.json (with the machine), NAME.csv and NAME.png into the folder, and print the table, or `show`.

    Nothing is printed where `show` is empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(
        json.dumps({"machine": machine(), "results": results}, indent=1) + "\n", encoding="utf-8"
    )
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    if figure is not None:
        figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
    if show != "":
        print(table(head, rows) if show is None else show)


def net_name(widths: Sequence[int], batch: int) -> str:
    """How a network and its batch size are named in tables."""
    return f"{'-'.join(map(str, widths))}, {batch}"
