"""kill -9 of one of two ranks at a random step: no process stays, and the last checkpoint goes on to the same bits.

Two ranks train one model and write a checkpoint after every step. One of them is killed at a random moment. Counted as
faults are a process that is still there after ten seconds, a checkpoint that does not load, and a run resumed from it,
again on two ranks, whose weights and history are not bit for bit those of the run that nobody killed.

    python benchmarks/mpi_kill.py                 # 50 kills
    python benchmarks/mpi_kill.py --minutes 10    # at most so long; called again, it goes on with what --out holds
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn

RANKS, EPOCHS, BATCH, PATIENCE = 2, 8, 16, 10.0
LONGEST = "longest until all had ended, s"


def rank(folder: Path, name: str) -> None:
    """One rank of a run that begins or goes on with the checkpoint `name`; says that it lives, and how it ended."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((250, 20), dtype=np.float32), rng.integers(0, 3, 250)
    layers = [dn.Dense(20, 64), dn.BatchNorm(64), dn.ReLU(), dn.Dropout(0.2), dn.Dense(64, 3)]
    model = dn.Sequential(layers, seed=0)
    trainer = dn.Trainer(
        model, "softmax_cross_entropy", dn.Adam(1e-3), metrics=["accuracy", "roc_auc"], communicator=world
    )
    path = folder / name
    steps = open(folder / f"steps-{world.rank}", "w", encoding="ascii")  # noqa: SIM115 (as long as the process lives)

    def tell(run: Any) -> None:
        steps.seek(0)
        steps.write(f"{os.getpid()} {run.step:6d}")
        steps.flush()

    history = trainer.fit(
        x,
        y,
        epochs=EPOCHS,
        batch_size=BATCH,
        validation_split=0.2,
        seed=1,
        callbacks=[dn.ModelCheckpoint(path, every_steps=1), dn.LambdaCallback(on_batch_end=tell)],
        resume=path if path.exists() else None,
    )
    figures = {name: values for name, values in history.items() if name != "seconds"}
    state = hashlib.sha256(b"".join(array.tobytes() for array in model.state_arrays())).hexdigest()
    if world.rank == 0:
        (folder / f"{name}.json").write_text(json.dumps([state, figures]), encoding="utf-8")


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Both ranks, in a session of their own."""
    paths = [str(Path(dn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert mpiexec, "mpiexec, of the extra [mpi] or the system, is missing"
    return subprocess.Popen(
        [mpiexec, "-n", str(RANKS), sys.executable, __file__, "--rank", str(folder), name],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def told(folder: Path) -> list[tuple[int, int]]:
    """Process and step of every rank that has made one."""
    said = []
    for number in range(RANKS):
        path = folder / f"steps-{number}"
        words = path.read_text(encoding="ascii").split() if path.exists() else []
        if len(words) == 2:
            said.append((int(words[0]), int(words[1])))
    return said


def alive(processes: set[int]) -> set[int]:
    """Those that still run; one that has ended and waits for its parent does not."""
    living = set()
    for process in processes:
        try:
            state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            living.add(process)
    return living


def session(leader: int) -> set[int]:
    """All processes of a session: launcher, its helpers and the ranks."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.add(int(path.parent.name))
    return found


def drill(folder: Path, draw: random.Random, last: int, end: str, counts: Counter[str]) -> float:
    """One kill and what comes after it; returns the seconds until every process was gone."""
    for path in folder.iterdir():
        path.unlink()
    goal, victim = draw.randrange(1, last), draw.randrange(RANKS)
    launcher = start(folder, "run.npz")
    while len(ranks := told(folder)) < RANKS or ranks[victim][1] < goal:
        if launcher.poll() is not None:
            counts["FAULT: the run ended by itself"] += 1
            return 0.0
        time.sleep(0.001)
    everybody = session(launcher.pid) | {process for process, _ in ranks}
    os.kill(ranks[victim][0], signal.SIGKILL)
    counts["kills"] += 1
    began = time.monotonic()
    while left := alive(everybody):
        launcher.poll()
        if time.monotonic() - began > PATIENCE:
            counts["FAULT: processes stay"] += 1
            for process in left:
                os.kill(process, signal.SIGKILL)
        time.sleep(0.005)
    gone = time.monotonic() - began
    try:
        dn.load(folder / "run.npz")
        counts["loaded"] += 1
    except Exception as error:
        counts[f"FAULT: does not load: {error!r}"] += 1
        return gone
    resumed = start(folder, "run.npz")
    resumed.wait(120)
    result = folder / "run.npz.json"
    counts["FAULT: another end"] += not result.exists() or result.read_text(encoding="utf-8") != end
    counts["resumed to the same bits"] += result.exists() and result.read_text(encoding="utf-8") == end
    return gone


def main() -> int:
    options = common.parser(__doc__)
    options.add_argument("--kills", type=int, help="how many in all (default: 50, with --smoke 2)")
    options.add_argument("--minutes", type=float, help="stop after so long, and go on when called again")
    options.add_argument("--seed", type=int, default=0, help="sets the moments (default: %(default)s)")
    options.add_argument("--rank", nargs=2, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.rank:
        rank(Path(args.rank[0]), args.rank[1])
        return 0
    kills, began = args.kills or (2 if args.smoke else 50), time.monotonic()
    counts, longest = counted(args.out / "mpi_kill.json", args.seed, kills) if args.minutes else (Counter(), 0.0)
    with tempfile.TemporaryDirectory(prefix="mpi-kill-") as name:
        folder = Path(name)
        start(folder, "whole.npz").wait(120)
        end, last = (folder / "whole.npz.json").read_text(encoding="utf-8"), told(folder)[0][1]
        for i in range(counts["drills"], kills):
            common.progress(f"kill {i + 1}/{kills}: {dict(counts)}")
            longest = max(longest, drill(folder, random.Random(f"{args.seed} {i}"), last, end, counts))
            counts["drills"] += 1
            found: dict[str, Any] = {"ranks": RANKS, "steps of a run": last, "seed": args.seed}
            found |= {what: count for what, count in counts.items() if count} | {LONGEST: round(longest, 3)}
            common.save(args.out, "mpi_kill", found, ["what", "count"], list(found.items()), show="")
            if args.minutes and time.monotonic() - began > 60 * args.minutes:
                break
    common.progress("")
    print(common.table(["what", "count"], list(found.items())))
    return int(any(what.startswith("FAULT") for what in counts if counts[what]))


def counted(path: Path, seed: int, kills: int) -> tuple[Counter[str], float]:
    """What a call before has counted, where it had the same seed and left kills to do."""
    found = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else {}
    if found.get("seed") != seed or found["drills"] >= kills:
        return Counter(), 0.0
    about = ("ranks", "steps of a run", "seed", LONGEST)
    return Counter({what: count for what, count in found.items() if what not in about}), found[LONGEST]


if __name__ == "__main__":
    raise SystemExit(main())
