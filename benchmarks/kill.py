"""kill -9 at random moments of a run that writes a checkpoint at every step: what is on disk always loads and goes on.

The run keeps three checkpoints, the best weights, an average of the weights, and a log of its epochs.

A run in a child process is killed, what it left is loaded and compared with the run that nobody killed, and the next
child resumes from it, until the run is complete; then it all begins anew. Counted as faults are a file that does not
load, a state that is not exactly that of its step (a mixture), a step whose checkpoint had been written and is gone,
an end or a log that is not that of an uninterrupted run bit for bit, an older checkpoint that does not load, and
temporary files that stay.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import random
import signal
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn
from densenet.persistence.files import read_file

EPOCHS, BATCH = 6, 16


def trainer() -> dn.Trainer:
    layers = [dn.Dense(20, 256), dn.BatchNorm(256), dn.ReLU(), dn.Dropout(0.2), dn.Dense(256, 3)]
    return dn.Trainer(dn.Sequential(layers, seed=0), "softmax_cross_entropy", dn.Adam(1e-3), metrics=["accuracy"])


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((250, 20), dtype=np.float32), rng.integers(0, 3, 250)


def fit(teacher: dn.Trainer, callbacks: list[dn.Callback], resume: Path | None = None) -> dn.History:
    x, y = data()
    return teacher.fit(
        x, y, epochs=EPOCHS, batch_size=BATCH, validation_split=0.2, seed=1, callbacks=callbacks, resume=resume
    )


def digest(model: dn.Sequential) -> str:
    """Of everything that training changes in a model."""
    sha = hashlib.sha256(model.params.tobytes())
    for layer in model.layers:
        for array in layer.state.values():
            sha.update(array.tobytes())
    return sha.hexdigest()


def callbacks(path: Path) -> list[dn.Callback]:
    return [
        dn.ModelCheckpoint(path, every_steps=1, keep=3),
        dn.EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True),
        dn.CSVLogger(path.with_suffix(".csv")),
        dn.WeightAverage(0.9),
    ]


def log(path: Path) -> list[list[str]]:
    """The rows of the log, without the time that an epoch took."""
    with open(path.with_suffix(".csv"), newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return [head, *[row[: head.index("seconds")] for row in rows]]


def unbroken(path: Path) -> tuple[dict[int, str], dn.Trainer, dn.History]:
    """The state after every step of the run that nobody kills, and its end."""
    states: dict[int, str] = {}
    teacher = trainer()
    record = dn.LambdaCallback(on_batch_end=lambda run: states.__setitem__(run.step, digest(run.model)))
    history = fit(teacher, [record, *callbacks(path)])
    return states, teacher, history


def child(path: Path, pipe: int) -> None:
    """The run, or what is left of it; tells every step whose checkpoint is written."""
    tell = dn.LambdaCallback(on_batch_end=lambda run: os.write(pipe, struct.pack("<I", run.step)))
    fit(trainer(), [*callbacks(path), tell], path if path.exists() else None)


@contextlib.contextmanager
def forked(path: Path) -> Iterator[tuple[int, int]]:
    """A child that runs, and the end of the pipe that it tells its steps through."""
    out, into = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            os.close(out)
            child(path, into)
            code = 0
        finally:
            os._exit(code)
    os.close(into)
    try:
        yield process, out
    finally:
        os.close(out)


def told(pipe: int) -> int:
    """The last step that came through the pipe; 0 for none."""
    last = b""
    while part := os.read(pipe, 1 << 16):
        last = (last + part)[-8:]
    whole = len(last) - len(last) % 4
    return struct.unpack("<I", last[whole - 4 : whole])[0] if whole else 0


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def torture(kills: int, ending: str, folder: Path, seed: int) -> Counter[str]:
    """Kill so many runs that write files with this ending."""
    counts: Counter[str] = Counter(kills=0, completed=0)
    draw = random.Random(seed)
    path = folder / f"run{ending}"
    began = time.perf_counter()
    states, reference, history = unbroken(path)
    whole_run = time.perf_counter() - began
    rows = log(path)
    clear(folder)
    reached = 0
    while counts["kills"] < kills:
        common.progress(f"{ending}: {dict(counts)}")
        with forked(path) as (process, pipe):
            time.sleep(draw.uniform(0, 0.4 * whole_run))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            last = told(pipe)
        if os.WIFSIGNALED(status):
            counts["kills"] += 1
            counts["kills with an unfinished file"] += any(folder.glob(".densenet-*.tmp"))
        elif os.WEXITSTATUS(status):
            counts["FAULT: the run failed"] += 1
        if not path.exists():
            counts["FAULT: lost"] += max(last, reached) > 0
            continue
        try:
            model = dn.load(path)
            progress = read_file(path).tree["progress"]
        except Exception as error:
            counts[f"FAULT: does not load: {error!r}"] += 1
            clear(folder)
            reached = 0
            continue
        for older in folder.glob(f"run-*{ending}"):
            try:
                dn.load(older)
            except Exception as error:
                counts[f"FAULT: an older one does not load: {error!r}"] += 1
        step = dict(progress["dict"])["step"]
        counts["loaded"] += 1
        counts["FAULT: mixture"] += digest(model) != states[step]
        counts["FAULT: lost"] += step < max(last, reached)
        reached = step
        if not os.WIFSIGNALED(status) or step == max(states):
            resumed = trainer()
            again = fit(resumed, callbacks(path), path)
            same = digest(resumed.model) == digest(reference.model) and again["loss"] == history["loss"]
            same = same and again["val_accuracy"] == history["val_accuracy"]
            counts["FAULT: another end"] += not same
            counts["FAULT: another log"] += log(path) != rows
            counts["completed"] += 1
            trainer().model.save(folder / f"other{ending}")  # the next writer cleans up
            counts["FAULT: leftovers"] += any(folder.glob(".densenet-*.tmp"))
            clear(folder)
            reached = 0
    common.progress("")
    return Counter({name: count for name, count in counts.items() if count or not name.startswith("FAULT")})


def main() -> int:
    options = common.parser(__doc__)
    options.add_argument("--kills", type=int, help="kills for each kind of file (default: 1000, with --smoke 15)")
    options.add_argument("--seed", type=int, default=0, help="sets the moments (default: %(default)s)")
    args = options.parse_args()
    dn.threads(1)
    kills = args.kills or (15 if args.smoke else 1000)
    rows, results = [], {}
    for ending in (".npz", ".safetensors"):
        with tempfile.TemporaryDirectory(prefix="kill-") as folder:
            counts = torture(kills, ending, Path(folder), args.seed)
        results[ending] = dict(counts)
        rows += [[ending, name, count] for name, count in counts.items()]
    common.save(args.out, "kill", results, ["file", "what", "count"], rows)
    return int(any(name.startswith("FAULT") for counts in results.values() for name in counts))


if __name__ == "__main__":
    raise SystemExit(main())
