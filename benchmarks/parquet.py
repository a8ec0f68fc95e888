"""One epoch on Parquet files that no memory should hold, beside arrays in memory: rows a second, and peak memory.

The set is drawn: 100 columns of standard normal float32 and a target, in files of 20 row groups of 50,000 rows each,
snappy-compressed, which random numbers do not yield to. A 100-128-64-1 network (ReLU, mean squared error, gradient
descent, mini-batches of 256, the NumPy lines) passes over all rows by `datasets.ParquetBatches`, and over the same rows
as arrays in memory, shuffled: once, or three times with --quick. The clock is the epoch's. Every run is a fresh
process; the memory is its largest resident set (VmHWM), as Linux reports it. The files are written just before, so that
as much as fits is in the system's cache.

    python benchmarks/parquet.py                          # 10 GB in a temporary folder, removed afterwards
    python benchmarks/parquet.py --quick                  # 0.5 GB
    python benchmarks/parquet.py --folder set --write     # only write the set; without --write a later call uses it
    python benchmarks/parquet.py --folder set --only parquet 1    # one run, added to those that the folder remembers
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

WIDTH, GROUP, FILE = 100, 50_000, 1_000_000
SIZES = {"full": 25_000_000, "quick": 1_250_000, "smoke": 8_000}
"""Rows."""

TRAIN = f"""
import json, re, sys, time
import numpy as np
import densenet as dn
how, folder, threads, passes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
names = [f"x{{j}}" for j in range({WIDTH})]
data = dn.datasets.ParquetBatches(f"{{folder}}/*.parquet", names, "y", batch_size=256)
dn.threads(threads)
trainer = dn.Trainer(dn.mlp([{WIDTH}, 128, 64, 1], seed=0), "mse", dn.SGD(0.01), compiled=False)
arguments = (data,)
if how == "arrays":
    x, y, count = np.empty((data.rows, len(names)), np.float32), np.empty(data.rows, np.float32), 0
    for some, targets in data:
        x[count : count + len(targets)], y[count : count + len(targets)] = some, targets
        count += len(targets)
    arguments = (x, y)
history = trainer.fit(*arguments, epochs=passes, batch_size=256, seed=0, progress=False)
seconds = history["seconds"][-1]
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
print(json.dumps([data.rows * passes / seconds, peak, history["loss"][-1], seconds]))
"""


def write(folder: Path, rows: int) -> None:
    """The set: y is tanh of a sum of the first ten columns, and noise."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, FILE)):
        path = folder / f"part-{number:03}.parquet"
        n = min(FILE, rows - start)
        if path.exists():
            continue
        rng = np.random.default_rng([0, number])
        x = rng.standard_normal((WIDTH, n), dtype=np.float32)
        y = np.tanh(x[:10].sum(axis=0)) + 0.1 * rng.standard_normal(n, dtype=np.float32)
        table = pyarrow.table({f"x{j}": x[j] for j in range(WIDTH)} | {"y": y})
        common.progress(f"writing {path.name}")
        parquet.write_table(table, path, row_group_size=min(GROUP, max(1, rows // 10)), use_dictionary=False)
    common.progress("")


@contextmanager
def stored(args: argparse.Namespace, rows: int) -> Any:
    """The folder of the set; a temporary one is removed."""
    folder = args.folder or Path(tempfile.mkdtemp(prefix="densenet-parquet-"))
    try:
        write(folder, rows)
        yield folder
    finally:
        if args.folder is None:
            shutil.rmtree(folder)


def run(how: str, folder: Path, threads: int, passes: int) -> dict[str, float]:
    """One fresh process that trains."""
    command = [sys.executable, "-c", TRAIN, how, str(folder), str(threads), str(passes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(zip(("rows a second", "peak bytes", "loss", "seconds"), json.loads(done.stdout), strict=True))


def main() -> None:
    """Write, train, compare."""
    parser = common.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="0.5 GB instead of 10")
    parser.add_argument("--folder", type=Path, help="keep the set here, and use what is there (default: temporary)")
    parser.add_argument("--write", action="store_true", help="only write the set into --folder")
    parser.add_argument(
        "--only", nargs=2, metavar=("DATA", "THREADS"), help="one run, kept in --folder with its others"
    )
    args = parser.parse_args()
    rows = SIZES["smoke" if args.smoke else "quick" if args.quick else "full"]
    rounds = args.rounds or (1 if args.smoke else 2)
    cores = int(common.machine()["cores"])
    jobs = [(how, n) for how in ("arrays", "parquet") for n in ([cores] if args.smoke else sorted({1, cores}))] * rounds
    random.Random(0).shuffle(jobs)
    if args.only:
        jobs = [(args.only[0], int(args.only[1]))]
    with stored(args, rows) as folder:
        if args.write:
            return
        size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
        kept = folder / "runs.json"
        runs = json.loads(kept.read_text(encoding="utf-8")) if args.only and kept.exists() else []
        for how, threads in jobs:
            common.progress(f"{how}, {threads} threads")
            runs.append([how, threads, run(how, folder, threads, 3 if args.quick else 1)])
        if args.only:
            kept.write_text(json.dumps(runs), encoding="utf-8")
    common.progress("")
    if {how for how, _, _ in runs} == {"arrays", "parquet"}:
        report(args.out, sorted(runs, key=lambda made: made[:2]), rows, size)


def report(out: Path, runs: list[Any], rows: int, size: int) -> None:
    """Medians over the runs, and the speed over the speed of arrays with as many threads."""
    by_job: dict[tuple[str, int], list[dict[str, float]]] = {}
    for how, threads, made in runs:
        by_job.setdefault((how, threads), []).append(made)
    speed = {job: statistics.median(r["rows a second"] for r in made) for job, made in by_job.items()}
    head = ["data", "BLAS threads", "rows a second", "of arrays", "peak MB", "loss"]
    lines = []
    for (how, threads), made in by_job.items():
        peak = max(r["peak bytes"] for r in made)
        share = speed[how, threads] / speed.get(("arrays", threads), math.nan)
        lines.append([how, threads, round(speed[how, threads]), share, round(peak / 1e6), made[-1]["loss"]])
    results = {
        "rows": rows,
        "bytes": size,
        "pyarrow": metadata.version("pyarrow"),
        "runs": [{"data": how, "threads": n, **made} for how, n, made in runs],
        "summary": [dict(zip(head, line, strict=True)) for line in lines],
    }
    shown = f"{rows:,} rows, {size / 1e9:.2f} GB\n{common.table(head, lines)}"
    common.save(out, "parquet", results, head, lines, show=shown)


if __name__ == "__main__":
    main()
