"""How many wrong gradients are named with their layer, how many right ones get a name, and how long it takes.

Networks of 1 to 4 layers are drawn, and a backward pass in plain loops makes every mistake of the table on as many of
them as asked for, where some array is then wrong by more than 1 %: alone (in one layer, in the hidden ones, in every
one), and two at once. A case counts as named where the diagnosis gives its name, or another that makes the same
numbers, and the layer where it starts. Then right gradients, in float64, in float32 and mixed: none may be called
wrong. Then gradients with random numbers in one array: none of the names is right. Last, on batch 32 and 10,306
parameters, the time of a diagnosis by kind of mistake: the median of seven.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

Pairs = list[tuple[Any, Any]]
SECONDS = (
    "everything times -1",
    "everything times n",
    "no slope",
    "slope twice",
    "db's mean",
    "last row",
    "dW times 2",
)
"""What is added to every mistake for pairs."""


def gradients(
    W: list[Any], b: list[Any], x: Any, y: Any, slope: Callable[[Any], Any] | None = None, factor: float = 1.0
) -> Pairs:
    """(dW, db) of a tanh network with softmax and cross-entropy; another slope of a = tanh z, another factor."""
    a = [x]
    for i, (w, v) in enumerate(zip(W, b, strict=True)):
        z = a[-1] @ w + v
        a.append(np.tanh(z) if i + 1 < len(W) else z)
    p = np.exp(a[-1] - a[-1].max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    delta = factor * (p - y) / len(x)
    found = []
    for i in range(len(W) - 1, -1, -1):
        found.append((a[i].T @ delta, delta.sum(axis=0)))
        if i:
            delta = (delta @ W[i].T) * (1 - a[i] ** 2 if slope is None else slope(a[i]))
    return found[::-1]


def drawn(rng: np.random.Generator, widths: list[int], n: int) -> tuple[dn.Sequential, Any, Any]:
    model = dn.mlp(widths, activation="tanh", seed=int(rng.integers(1 << 30)), dtype="float64")
    return model, rng.normal(size=(n, widths[0])), rng.integers(0, widths[-1], n)


def named(draws: int, every: int = 1) -> Iterator[dict[str, Any]]:
    """By mistake: how many were drawn alone and in pairs, and how many of them were named with their layer."""
    from backward_by_loops import MISTAKES
    from judge_diagnoses import pair, single

    for number, (name, mistake) in enumerate(list(MISTAKES.items())[::every]):
        common.progress(f"{number + 1}/{len(MISTAKES)} {name}")
        rng = np.random.default_rng(number)
        row: dict[str, Any] = {"mistake": name, "line": mistake.line}
        for kind in ("alone", "pairs"):
            verdicts: list[Any] = []
            for at in range(60 * draws):
                if len(verdicts) == draws:
                    break
                if kind == "alone":
                    verdict = single(name, mistake.where[at % len(mistake.where)], rng)
                else:
                    verdict = pair(name, SECONDS[at % len(SECONDS)], rng)
                verdicts += [verdict] if verdict is not None else []
            row |= {kind: len(verdicts), f"{kind} named": sum(verdict.good for verdict in verdicts)}
            row[f"{kind} missed"] = [str(verdict) for verdict in verdicts if not verdict.good]
        yield row
    common.progress("")


def right(count: int, seed: int) -> int:
    """How many of as many right gradients are called wrong, or get a name."""
    rng, loss, bad = np.random.default_rng(seed), dn.SoftmaxCrossEntropy(), 0
    for number in range(count):
        widths = [int(w) for w in rng.integers(1, 9, int(rng.integers(2, 6)))]
        widths[-1] = max(2, widths[-1])
        model, x, labels = drawn(rng, widths, int(rng.choice([1, 3, 32])))
        dtype, targets = ((np.float64, np.float64), (np.float32, np.float32), (np.float32, np.float64))[number % 3]
        arrays = [[getattr(layer, name).astype(dtype) for layer in model.dense_layers] for name in ("W", "b")]
        given = gradients(*arrays, x.astype(dtype), np.eye(widths[-1], dtype=targets)[labels])
        found = dn.diagnose_gradients(model, loss, x, labels, given)
        bad += not found.correct or bool(found.mistakes)
    return bad


def by_loops(count: int, seed: int) -> tuple[int, int]:
    """The same for networks of all kinds by plain loops; and how many with one random array get a name."""
    from backward_by_loops import MISTAKES, backward
    from backward_by_loops import drawn as network
    from judge_diagnoses import diagnosed

    rng, bad, lucky = np.random.default_rng(seed), 0, 0
    names = list(MISTAKES)
    for number in range(count):
        net = network(rng, names[number % len(names)])
        pairs = backward(net)
        found = diagnosed(net, pairs, (), rng, (np.float64, np.float32)[number % 2])
        bad += isinstance(found, str) or not found.correct or bool(found.mistakes)
        layer = int(rng.integers(len(pairs)))
        dW, db = pairs[layer]
        pairs[layer] = (rng.normal(size=dW.shape), db)
        found = diagnosed(net, pairs, (), rng)
        lucky += dW.size > 2 and (isinstance(found, str) or bool(found.mistakes))
    return bad, lucky


def timed(repeats: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    model, x, labels = drawn(rng, [64, 80, 56, 10], 32)
    W, b = ([getattr(layer, name) for layer in model.dense_layers] for name in ("W", "b"))
    y = np.eye(10)[labels]
    right_ones = gradients(W, b, x, y)
    single = [[array.astype(np.float32) for array in arrays] for arrays in (W, b)]
    cases = {
        "right": right_ones,
        "right, float32 with float64 targets": gradients(*single, x.astype(np.float32), y),
        "slope forgotten": gradients(W, b, x, y, np.ones_like),
        "slope 1 + a^2": gradients(W, b, x, y, lambda a: 1 + a**2),
        "slope 1 + a^2, float32": gradients(
            *single, x.astype(np.float32), y.astype(np.float32), lambda a: 1 + a**2, np.float32(1)
        ),
        "slope 1 + a^2, float32 with float64 targets": gradients(*single, x.astype(np.float32), y, lambda a: 1 + a**2),
        "4 times": gradients(W, b, x, y, factor=4),
        "0.0371 times": gradients(W, b, x, y, factor=0.0371),
        "db(1) of one row": [(right_ones[0][0], right_ones[0][1] / 32), *right_ones[1:]],
        "pair: slope and n": gradients(W, b, x, y, np.ones_like, 32),
        "pair: slope and 0.0371": gradients(W, b, x, y, lambda a: a, 0.0371),
        "random": [(dW + rng.normal(size=dW.shape), db) for dW, db in right_ones],
        "random in dW(1)": [(right_ones[0][0] + rng.normal(size=W[0].shape), right_ones[0][1]), *right_ones[1:]],
    }
    loss = dn.SoftmaxCrossEntropy()
    for name, given in cases.items():
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            found = dn.diagnose_gradients(model, loss, x, labels, given)
            seconds.append(time.perf_counter() - start)
        yield {"case": name, "milliseconds": 1e3 * statistics.median(seconds), "found": "; ".join(found.mistakes)}


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="right gradients (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=100, help="networks for every mistake (default: %(default)s)")
    args = parser.parse_args()
    times = list(timed(1 if args.smoke else 7))
    count, draws = (40, 1) if args.smoke else (args.count, args.draws)
    table = list(named(draws, 20 if args.smoke else 1))
    half = count // 2
    bad, lucky = by_loops(half, 1)
    bad += right(count - half, 0)
    results = {
        "mistakes": table,
        "alone": sum(row["alone"] for row in table),
        "alone named": sum(row["alone named"] for row in table),
        "pairs": sum(row["pairs"] for row in table),
        "pairs named": sum(row["pairs named"] for row in table),
        "right gradients": count,
        "of them named or called wrong": bad,
        "random arrays": half,
        "of them named": lucky,
        "times": times,
    }
    rows = [
        (row["mistake"], f"{row['alone named']} of {row['alone']}", f"{row['pairs named']} of {row['pairs']}")
        for row in table
    ]
    rows += [(f"time: {row['case']}", f"{row['milliseconds']:.1f} ms", row["found"] or "-") for row in times]
    common.save(args.out, "diagnose", results, ["mistake", "alone", "in pairs"], rows)
    print(f"{results['alone named']} of {results['alone']} single mistakes were named with their layer,")
    print(f"{results['pairs named']} of {results['pairs']} pairs")
    print(f"{bad} of {count} right gradients, and {lucky} of {half} with a random array, got a name")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
