"""What a full disk leaves behind: every file that the package writes, cut at every place, and the old one after it.

Each write runs in a process of its own under a limit on the size of files, which stands for the disk that is full: at
every byte up to 4,096, beyond it at every 4,096th byte, where buffered writes end, and at 200 random places. Afterwards
the old file must be whole, nothing else may stand in the folder, and the error must name the file.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn
from densenet import cli
from densenet.persistence import save_model

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

X = np.random.default_rng(0).normal(size=(30, 4))
Y = X[:, :1]
OLD = b"what stood here before"


def trainer() -> dn.Trainer:
    return dn.Trainer(dn.mlp([4, 24, 1], seed=0), "mse", "adam")


def fitted(path: Path) -> dn.History:
    return trainer().fit(X, Y, epochs=40, seed=0)


def prepared(folder: Path) -> None:
    """What the commands read: a table and a model."""
    if not (folder / "data.csv").exists():
        rows = "".join(f"{i % 7},{i % 5},{i * 0.37 % 11:.2f}\n" for i in range(300))
        (folder / "data.csv").write_text("size,rooms,price\n" + rows)
        table = dn.datasets.read_csv(folder / "data.csv")
        preparation = dn.TablePreparation().fit(table, "price")
        save_model(dn.mlp([2, 4, 1], seed=0), folder / "model.npz", preparation=preparation, loss=dn.MeanSquaredError())


def command(*words: str) -> None:
    silent = open(os.devnull, "w")  # noqa: SIM115
    before, sys.stdout = sys.stdout, silent
    said: list[str] = []
    errors, sys.stderr = sys.stderr, type("Said", (), {"write": said.append, "flush": lambda _: None})()
    try:
        code = cli.main(list(words))
    finally:
        sys.stdout, sys.stderr = before, errors
    if code:
        raise OSError("".join(said))


def onnx(path: Path) -> None:
    dn.to_onnx(dn.mlp([4, 24, 1], seed=0), path)


WRITERS: dict[str, tuple[str, Callable[[Path, Path], Any]]] = {
    "model, npz": ("file.npz", lambda path, _: trainer().model.save(path)),
    "model, safetensors": ("file.safetensors", lambda path, _: trainer().model.save(path)),
    "checkpoint, npz": ("file.npz", lambda path, _: trainer().save_checkpoint(path)),
    "checkpoint, safetensors": ("file.safetensors", lambda path, _: trainer().save_checkpoint(path)),
    "ONNX": ("file.onnx", lambda path, _: onnx(path)),
    "History.to_csv": ("file.csv", lambda path, _: fitted(path).to_csv(path)),
    "CSVLogger": (
        "file.csv",
        lambda path, _: trainer().fit(X, Y, epochs=40, seed=0, callbacks=dn.CSVLogger(path, append=True)),
    ),
    "densenet predict": (
        "file.csv",
        lambda path, beside: command(
            "predict", str(beside / "model.npz"), str(beside / "data.csv"), "--output", str(path)
        ),
    ),
    "densenet route --html": ("file.html", lambda path, _: command("route", "--html", str(path))),
    "densenet route --plot": ("file.png", lambda path, _: command("route", "--plot", str(path))),
}


def drawn_once() -> None:
    """Let `densenet route` draw its pictures once for all trials; they are written as ever."""

    def once(draw: Callable[..., Any]) -> Callable[..., Any]:
        kept: dict[Any, Any] = {}

        def again(found: Any, *rest: Any) -> Any:
            if rest not in kept:
                kept[rest] = draw(found, *rest)
            return kept[rest]

        return again

    route: Any = importlib.import_module("densenet.cli.route")
    route._picture, route._page = once(route._picture), once(route._page)
    with tempfile.TemporaryDirectory() as folder:
        command("route", "--html", str(Path(folder, "page.html")), "--plot", str(Path(folder, "net.png")))


def trial(writer: str, limit: int | None, path: Path, beside: Path) -> str:
    """Write under a limit, in a child process: what came of it."""
    reader, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        said = "written"
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            WRITERS[writer][1](path, beside)
        except OSError as error:
            said = f"{'named' if str(path) in str(error) else 'unnamed'}: {error}"
        except BaseException as error:
            said = f"other: {error!r}"
        os.write(pipe, said.encode()[:4000])
        os._exit(0)
    os.close(pipe)
    with open(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


def places(size: int, smoke: bool) -> list[int]:
    rng = random.Random(0)
    near = range(0, min(size, 4096), 997 if smoke else 1)
    far = sorted(rng.sample(range(4096, size), min(2 if smoke else 200, size - 4096))) if size > 4096 else []
    edges = list(range(4096, size, 4096))[: 1 if smoke else None] if size > 4096 else []
    return sorted({*near, *far, *edges, *([size - 1] if size > 1 else [])})


def check(writer: str, smoke: bool) -> dict[str, Any]:
    """All places of one writer."""
    with tempfile.TemporaryDirectory() as beside, tempfile.TemporaryDirectory() as other:
        folder, helpers = Path(beside), Path(other)
        if writer.startswith("densenet"):
            prepared(helpers)
        path = folder / WRITERS[writer][0]
        appends = writer == "CSVLogger"
        if (said := trial(writer, None, path, helpers)) != "written":
            raise SystemExit(f"{writer} fails on a disk with room: {said}")
        size = path.stat().st_size
        counts = {"places": 0, "old file whole": 0, "error names the file": 0, "nothing left beside": 0}
        faults: list[str] = []
        for limit in places(size, smoke):
            common.progress(f"{writer}: {limit:,} of {size:,} bytes")
            path.write_bytes(OLD)
            said = trial(writer, limit, path, helpers)
            counts["places"] += 1
            now = path.read_bytes()
            rows = now[len(OLD) :]
            whole = now == OLD or (appends and now.startswith(OLD) and (not rows or rows.endswith(b"\n")))
            if said == "written" and len(now) <= limit:  # the column of seconds was shorter this time
                counts["places"] -= 1
                continue
            good = (whole, said.startswith("named"), [entry.name for entry in folder.iterdir()] == [path.name])
            counts["old file whole"] += good[0]
            counts["error names the file"] += good[1]
            counts["nothing left beside"] += good[2]
            if not all(good):
                faults.append(f"at {limit}: {said}")
        return {"writer": writer, "bytes": size, **counts, "faults": faults[:5]}


def main() -> int:
    options = common.parser(__doc__)
    options.add_argument("--writers", nargs="*", choices=list(WRITERS), default=list(WRITERS), help="default: all")
    args = options.parse_args()
    if resource is None:
        raise SystemExit("full_disk.py sets limits on the size of files, which this system does not have.")
    dn.threads(1)
    drawn_once()
    missing = {name for name in ("onnx", "safetensors") if importlib.util.find_spec(name) is None}
    needs = {"ONNX": "onnx", "model, safetensors": "safetensors", "checkpoint, safetensors": "safetensors"}
    results = [check(writer, args.smoke) for writer in args.writers if needs.get(writer) not in missing]
    common.progress("")
    for writer in args.writers:
        if needs.get(writer) in missing:
            print(f"{writer}: left out, {needs[writer]} is not installed")
    head = ["writer", "bytes", "places", "old file whole", "error names the file", "nothing left beside"]
    common.save(args.out, "full_disk", results, head, [[result[name] for name in head] for result in results])
    return int(any(result["faults"] for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
