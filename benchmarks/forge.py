"""Forged values with a right hash: every field of a checkpoint gets values that no run writes, one or two at a time.

Whoever writes a file can write its SHA-256, too. Each forged file is resumed in a copy of the run's folder. Counted as
faults are: an error other than CheckpointError (DivergenceError is one of training: it counts as resumed), a model that
has changed although the file was refused, a file in the folder that is not the callbacks' own and is gone, new or
altered, and memory beyond twice the arrays that the file declares and 64 MiB.
"""

from __future__ import annotations

import copy
import hashlib
import random
import tempfile
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn
from densenet.persistence.files import Content, read_file, write_file

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 3), dtype=np.float32), RNG.integers(0, 2, 60)

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**53 + 1, -(2**63), 10**30, 10**400, 0.5, -0.5, 1e308, -1e308, 1e-320,
    {"float": "nan"}, {"float": "inf"}, {"float": "-inf"}, {"float": "x"}, "", "text", "../victim.txt", "/etc/hostname",
    "on_epoch_end", "x" * 10_000, [], [0], [[0, 0]], ["../victim.txt"], [1, 2, 3], {}, {"tuple": []},
    {"tuple": [1, 1, 1]}, {"dict": []}, {"dict": [["a", 1]]},
    {"dict": [[{"tuple": [[1]]}, 1]]}, {"dict": [["start", -1]]}, {"array": "none"},
    {"scalar": "none"}, {"layer": "Dense", "config": {"n_in": 10**9, "n_out": 10**9}},
    {"layer": "Identity", "config": {}},
    {"optimizer": "SGD", "config": {}}, {"generator": {"dict": []}}, {"loss": "Huber", "config": {"delta": 1.0}},
]  # fmt: skip


def trainer() -> dn.Trainer:
    layers = [dn.Dense(3, 5), dn.BatchNorm(5), dn.ReLU(), dn.Dropout(0.2), dn.Dense(5, 2)]
    return dn.Trainer(
        dn.Sequential(layers, seed=0), "softmax_cross_entropy", dn.Adam(0.01), metrics=["accuracy", "roc_auc"],
        accumulate=2,
    )  # fmt: skip


def callbacks(folder: Path) -> list[dn.Callback]:
    return [
        dn.ModelCheckpoint(folder / "run-{epoch}-{step}.npz", keep=1),
        dn.EarlyStopping("loss", restore_best_weights=True),
        dn.ReduceLROnPlateau("loss", patience=1),
        dn.CSVLogger(folder / "log.csv"),
        dn.WeightAverage(0.9),
    ]


def fit(folder: Path, resume: Path | None, epochs: int, teacher: dn.Trainer, more: list[dn.Callback]) -> None:
    teacher.fit(
        X, Y, epochs=epochs, batch_size=8, validation_split=0.2, seed=0, resume=resume,
        callbacks=[*callbacks(folder), *more],
    )  # fmt: skip


def originals(folder: Path) -> list[Content]:
    """A checkpoint in the middle of an epoch, and one at an epoch's end."""
    made = []
    for at in ({"every_steps": 5}, {"every_epochs": 2}):
        path = folder / "original.npz"
        fit(folder, None, 2, trainer(), [dn.ModelCheckpoint(path, **at)])
        made.append(read_file(path))
    return made


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value of a tree of plain values stands."""
    if at:
        yield at
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(child, (*at, key))


def forge_tree(tree: Any, at: tuple[Any, ...], rng: random.Random) -> None:
    for key in at[:-1]:
        tree = tree[key]
    if rng.random() < 0.1:
        del tree[at[-1]]
    else:
        tree[at[-1]] = copy.deepcopy(rng.choice(VALUES))


def forge_array(arrays: dict[str, Any], name: str, rng: random.Random) -> None:
    array = arrays[name]
    kinds = [
        lambda: array[:0], lambda: array.reshape(-1)[:1].reshape(()), lambda: array[None],
        lambda: np.full(1, np.nan, array.dtype if array.dtype.kind == "f" else float),
        lambda: array.astype("float64" if array.dtype == np.float32 else "float32"), lambda: array.astype("int8"),
        lambda: np.full_like(array, np.nan if array.dtype.kind == "f" else -1),
        lambda: np.full_like(array, np.inf if array.dtype.kind == "f" else 10**6),
        lambda: -array if array.dtype.kind in "fi" else ~array, lambda: np.concatenate([array.reshape(-1)] * 2),
        lambda: array + array.dtype.type(1), lambda: np.zeros(array.shape, bool), lambda: np.zeros(1 << 16, np.uint8),
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        if rng.random() < 0.1:
            del arrays[name]
        else:
            arrays[name] = np.array(rng.choice(kinds)())


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def trial(content: Content, folder: Path) -> str:
    """Resume from a forged file: what became of it."""
    path = folder / "forged.npz"
    try:
        write_file(path, content)
    except (ValueError, TypeError):
        return "cannot be written"
    before, teacher = digest(folder), trainer()
    start = teacher.model.params.copy()
    declared = sum(array.nbytes for array in content.arrays.values())
    tracemalloc.start()
    said = "resumed"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            fit(folder, path, 3, teacher, [])
    except dn.CheckpointError:
        said = "refused"
    except dn.DivergenceError:
        said = "resumed"
    except Exception as error:
        said = f"FAULT: {type(error).__name__}: {str(error)[:120]}"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    after = digest(folder)
    own = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    if said == "refused" and (own or not np.array_equal(teacher.model.params, start)):
        return f"FAULT: refused, and changed {own or 'the model'}"
    if strange := [name for name in own if not (name == "log.csv" or name.startswith("run-"))]:
        return f"FAULT: changed {strange}"
    if peak > 2 * declared + (64 << 20):
        return f"FAULT: {peak:,} bytes for {declared:,}"
    return said


def torture(count: int, seed: int) -> tuple[Counter[str], int, int]:
    """Forge until every place has had its turn and there are `count`: the outcomes, the places, those forged."""
    rng, counts, seen = random.Random(seed), Counter[str](), set()
    with tempfile.TemporaryDirectory() as made:
        contents = originals(Path(made))
        every = [
            (i, kind, at)
            for i, content in enumerate(contents)
            for kind, found in (("tree", places(content.tree)), ("array", content.arrays))
            for at in found
        ]
        for content in contents:  # else "refused" would mean nothing
            with tempfile.TemporaryDirectory() as used:
                if (said := trial(content, Path(used))) != "resumed":
                    raise SystemExit(f"the unforged checkpoint is {said}")
        for n in range(count):
            common.progress(f"{n:,} of {count:,}")
            i, kind, at = every[n % len(every)] if n < len(every) else rng.choice(every)
            seen.add((i, kind, at))
            content = copy.deepcopy(contents[i])
            for again in range(1 + (rng.random() < 0.2)):
                if again:
                    kind, at = rng.choice([(k, a) for j, k, a in every if j == i])
                try:
                    if kind == "tree":
                        forge_tree(content.tree, at, rng)
                    else:
                        forge_array(content.arrays, at, rng)
                except (KeyError, IndexError, TypeError):
                    pass  # the first value took the second one's place away
            with tempfile.TemporaryDirectory() as used:
                folder = Path(used, "inside")
                folder.mkdir()
                for victim in (folder, folder.parent):
                    (victim / "victim.txt").write_text("precious")
                said = trial(content, folder)
                if (folder.parent / "victim.txt").read_text() != "precious":
                    said = "FAULT: a file outside the folder"
                counts[said if not said.startswith("FAULT") else f"{said} [{kind} {at}]"] += 1
    common.progress("")
    return counts, len(every), len(seen)


def main() -> int:
    options = common.parser(__doc__)
    options.add_argument("--files", type=int, help="forged files (default: 10,000, with --smoke 40)")
    options.add_argument("--seed", type=int, default=0, help="sets what is forged (default: %(default)s)")
    args = options.parse_args()
    dn.threads(1)
    counts, there, seen = torture(args.files or (40 if args.smoke else 10_000), args.seed)
    rows = [[what, count] for what, count in sorted(counts.items())]
    rows += [["places in the files", there], ["of them forged", seen]]
    common.save(args.out, "forge", dict(rows), ["what", "count"], rows)
    return int(any(what.startswith("FAULT") for what in counts))


if __name__ == "__main__":
    raise SystemExit(main())
