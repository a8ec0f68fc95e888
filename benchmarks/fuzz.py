"""Damaged and hostile files: every truncation, every flipped byte, random damage, and lies with a right checksum.

Damage is done to small files of every kind, by hand to each byte and by hypothesis at random (bytes changed, cut out,
put in, blocks moved, two files spliced). A damaged file has to be refused with `CheckpointError`, or, where the byte
carries nothing, give the very same model. Lies are files that a malicious writer would make: a configuration or arrays
changed at random and the checksum computed anew. They have to be refused or to give a model that predicts; resuming
from one has to be refused with `CheckpointError` or `ValueError`, or to go on. Anything else is a fault: another
exception, another model, more than a second of the processor's time, or memory beyond the file's size and 64 MiB.
"""

from __future__ import annotations

import copy
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import densenet as dn
from densenet.persistence.files import Content, read_file, write_file

X = np.random.default_rng(0).standard_normal((12, 3), dtype=np.float32)
Y = np.arange(12) % 2


def trainer() -> dn.Trainer:
    layers = [
        dn.Dense(3, 4),
        dn.BatchNorm(4),
        dn.PReLU(),
        dn.Dropout(0.1),
        dn.Residual([dn.Dense(4, 4)]),
        dn.Dense(4, 2),
    ]
    return dn.Trainer(dn.Sequential(layers, seed=0), "softmax_cross_entropy", "adam", metrics=["accuracy"])


def originals(folder: Path) -> dict[str, Path]:
    """A small file of every kind."""
    teacher = trainer()
    teacher.fit(X, Y, epochs=2, batch_size=5, seed=0, callbacks=[dn.EarlyStopping("loss", restore_best_weights=True)])
    paths = {}
    for ending in (".npz", ".safetensors"):
        paths[f"model{ending}"] = folder / f"model{ending}"
        teacher.model.save(paths[f"model{ending}"])
        paths[f"checkpoint{ending}"] = folder / f"checkpoint{ending}"
        teacher.save_checkpoint(paths[f"checkpoint{ending}"])
    return paths


class Judge:
    """Opens files, and counts what becomes of them."""

    def __init__(self, folder: Path, original: Path) -> None:
        self.path, self.expected = folder / "victim", dn.load(original).predict(X)
        self.whole = original.read_bytes()
        self.counts: Counter[str] = Counter()
        self.slowest = self.largest = 0.0

    def damaged(self, ending: str, data: bytes) -> None:
        if data == self.whole:  # an accident that did nothing
            return
        self.counts["files"] += 1
        path = self.path.with_suffix(ending)
        path.write_bytes(data)
        model = self._guarded(lambda: dn.load(path), len(data))
        if model is not None and not np.array_equal(model.predict(X), self.expected):
            self.counts["FAULT: another model"] += 1

    def lying(self, ending: str, content: Content) -> None:
        path = self.path.with_suffix(ending)
        try:
            write_file(path, content)
        except (ValueError, TypeError, UnicodeEncodeError):
            return  # the writer itself would not
        self.counts["files"] += 1
        size = path.stat().st_size
        model = self._guarded(lambda: dn.load(path), size)
        if model is not None:
            x = np.zeros((2, model.n_in or 3), model.dtype)
            self._guarded(lambda: model.predict(x), size, (ValueError,))
        if content.kind == "checkpoint":
            teacher = trainer()
            self._guarded(
                lambda: teacher.fit(X, Y, epochs=2, batch_size=5, resume=path, callbacks=[dn.EarlyStopping("loss")]),
                size + teacher.model.params.nbytes,
                (ValueError, ArithmeticError),
            )

    def _guarded(self, call: Callable[[], Any], size: int, allowed: tuple[type[Exception], ...] = ()) -> Any:
        made, began = None, time.process_time()
        tracemalloc.start()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = call()
            self.counts["loaded"] += 1
        except dn.CheckpointError:
            self.counts["refused"] += 1
        except allowed:
            self.counts["refused later"] += 1
        except Exception as error:
            self.counts[f"FAULT: {type(error).__name__}: {error}"[:150]] += 1
        seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, (peak - size) / 2**20)
        self.counts["FAULT: more than a second"] += seconds > 1
        self.counts["FAULT: more memory than the file and 64 MiB"] += peak - size > 64 << 20
        return made


def every_byte(judge: Judge, ending: str, data: bytes) -> None:
    """Cut the file at every length and change every byte, in all bits, in the lowest, and in the one of upper case."""
    for length in range(len(data)):
        judge.damaged(ending, data[:length])
    for at in range(len(data)):
        for bits in (0xFF, 0x01, 0x20):
            judge.damaged(ending, data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :])


def damage(draw: Callable[[Any], Any], data: bytes, other: bytes) -> bytes:
    """The file after one to four accidents."""
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted(draw(st.tuples(st.integers(0, len(data)), st.integers(0, len(data)))))
        b = min(b, a + draw(st.sampled_from([1, 4, 64, 4096])))
        match draw(st.sampled_from(["change", "cut", "put in", "zero", "twice", "splice"])):
            case "change":
                data = data[:a] + draw(st.binary(min_size=b - a, max_size=b - a)) + data[b:]
            case "cut":
                data = data[:a] + data[b:]
            case "put in":
                data = data[:a] + draw(st.binary(max_size=64)) + data[a:]
            case "zero":
                data = data[:a] + bytes(b - a) + data[b:]
            case "twice":
                data = data[:b] + data[a:b] + data[b:]
            case "splice":
                data = data[:a] + other[draw(st.integers(0, len(other))) :]
    return data


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(
            ["Dense", "ReLU", "PCG64", "float64", "layers.0.W", "on_epoch_end", "nan", "__class__", 10**18]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["layer", "loss", "config", "array", "scalar", "tuple", "dict", "generator", "float", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place in a tree of dicts and lists: its holder and its key."""
    found, todo = [], [tree]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])
    return found


def place(draw: Callable[[Any], Any], tree: Any) -> tuple[Any, Any]:
    """One of a tree's places."""
    every = places(tree)
    return every[draw(st.integers(0, len(every) - 1))]


def nearby(draw: Callable[[Any], Any], value: Any) -> Any:
    """Another value of the same type, of the size that such values have."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw(st.integers(-3, 12))
    if isinstance(value, float):
        return draw(st.sampled_from([0.0, -1.0, 0.5, 1e-30, 1e30]))
    if isinstance(value, str):
        return draw(st.sampled_from(["ReLU", "Dense", "float32", "float64", "loss", "W", "on_batch_end", ""]))
    return value


def lie(draw: Callable[[Any], Any], honest: Content) -> Content:
    """The content after one to three lies."""
    made = copy.deepcopy(honest)
    for _ in range(draw(st.integers(1, 3))):
        sorts = ["value", "nearby value", "nearby value", "swap", "remove", "array", "numbers", "drop array", "kind"]
        match draw(st.sampled_from(sorts)):
            case "nearby value":
                holder, key = place(draw, made.tree)
                holder[key] = nearby(draw, holder[key])
            case "numbers" if made.arrays:
                array = made.arrays[draw(st.sampled_from(sorted(made.arrays)))]
                if array.dtype.kind == "f":
                    array[...] = draw(st.sampled_from([0, -1, 1e30, np.nan, np.inf]))
            case "value":
                holder, key = place(draw, made.tree)
                holder[key] = draw(VALUES)
            case "swap":
                (a, i), (b, j) = place(draw, made.tree), place(draw, made.tree)
                a[i], b[j] = copy.deepcopy(b[j]), copy.deepcopy(a[i])
            case "remove":
                holder, key = place(draw, made.tree)
                del holder[key]
            case "array" if made.arrays:
                name = draw(st.sampled_from(sorted(made.arrays)))
                shape = draw(st.sampled_from([(), (0,), (1,), (2, 2), (3, 4), (4,), (0, 5)]))
                dtype = draw(st.sampled_from(["float32", "float64", "int64", "bool", "uint8"]))
                fill = draw(st.sampled_from([0, 1, -1, np.nan, np.inf, 1e30]))
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    made.arrays[name] = np.full(shape, fill).astype(dtype)
            case "drop array" if made.arrays:
                del made.arrays[draw(st.sampled_from(sorted(made.arrays)))]
            case "kind":
                made.kind = draw(st.sampled_from(["model", "checkpoint", "other"]))
        if not isinstance(made.tree, dict) or not made.tree:
            break
    return made


def at_random(examples: int, start: int, call: Callable[[Any], None]) -> None:
    """Let hypothesis draw so many examples for `call`, which gets its draw function."""

    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: Any) -> None:
        call(data.draw)

    run()


def main() -> int:
    options = common.parser(__doc__)
    options.add_argument("--examples", type=int, help="random files of each sort (default: 2000, with --smoke 8)")
    options.add_argument("--seed", type=int, default=0, help="sets the random files (default: %(default)s)")
    args = options.parse_args()
    examples = args.examples or (8 if args.smoke else 2000)
    rows, results = [], {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        paths = originals(folder)
        for what, path in paths.items():
            ending, data, honest = path.suffix, path.read_bytes(), read_file(path)
            other = paths["model.npz" if what != "model.npz" else "checkpoint.npz"].read_bytes()
            sorts: dict[str, Callable[[Judge], None]] = {
                "random damage": lambda judge, e=ending, d=data, o=other: at_random(
                    examples, args.seed, lambda draw: judge.damaged(e, damage(draw, d, o))
                ),
                "lies": lambda judge, e=ending, h=honest: at_random(
                    examples, args.seed, lambda draw: judge.lying(e, lie(draw, h))
                ),
            }
            if not args.smoke:
                sorts = {"every byte": lambda judge, e=ending, d=data: every_byte(judge, e, d)} | sorts
            for sort, go in sorts.items():
                common.progress(f"{what}, {sort}")
                judge = Judge(folder, path)
                go(judge)
                counts = {name: count for name, count in judge.counts.items() if count}
                results[f"{what}, {sort}"] = counts | {"seconds at most": judge.slowest, "MiB at most": judge.largest}
                faults = sum(count for name, count in counts.items() if name.startswith("FAULT"))
                rows.append(
                    [what, sort, judge.counts["files"], judge.counts["refused"], faults, judge.slowest, judge.largest]
                )
    head = ["file", "what", "files", "refused", "faults", "seconds at most", "MiB beyond the file at most"]
    common.progress("")
    common.save(args.out, "fuzz", results, head, rows)
    for where, counts in results.items():
        for name, count in counts.items():
            if name.startswith("FAULT"):
                print(f"{where}: {name} ({count})")
    return int(any(row[4] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
