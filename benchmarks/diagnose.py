"""Right gradients that get a name, and how long naming a mistake takes.

Networks of 1 to 4 layers are drawn, and their gradients computed in NumPy from the equations, in float64 and float32.
None may be called wrong. Then, on batch 32 and 10,306 parameters, the time of a diagnosis by kind of mistake: the
median of seven.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import _common as common
import numpy as np

import densenet as dn

Pairs = list[tuple[Any, Any]]


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
    delta = (factor * (p - y) / len(x)).astype(x.dtype)
    found = []
    for i in range(len(W) - 1, -1, -1):
        found.append((a[i].T @ delta, delta.sum(axis=0)))
        if i:
            delta = (delta @ W[i].T) * (1 - a[i] ** 2 if slope is None else slope(a[i]))
    return found[::-1]


def drawn(rng: np.random.Generator, widths: list[int], n: int) -> tuple[dn.Sequential, Any, Any]:
    model = dn.mlp(widths, activation="tanh", seed=int(rng.integers(1 << 30)), dtype="float64")
    return model, rng.normal(size=(n, widths[0])), rng.integers(0, widths[-1], n)


def right(count: int, seed: int) -> int:
    """How many of as many right gradients are called wrong, or get a name."""
    rng, loss, bad = np.random.default_rng(seed), dn.SoftmaxCrossEntropy(), 0
    for number in range(count):
        widths = [int(w) for w in rng.integers(1, 9, int(rng.integers(2, 6)))]
        widths[-1] = max(2, widths[-1])
        model, x, labels = drawn(rng, widths, int(rng.choice([1, 3, 32])))
        dtype = (np.float64, np.float32)[number % 2]
        arrays = [[getattr(layer, name).astype(dtype) for layer in model.dense_layers] for name in ("W", "b")]
        given = gradients(*arrays, x.astype(dtype), np.eye(widths[-1], dtype=dtype)[labels])
        found = dn.diagnose_gradients(model, loss, x, labels, given)
        bad += not found.correct or bool(found.mistakes)
    return bad


def timed(repeats: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    model, x, labels = drawn(rng, [64, 80, 56, 10], 32)
    W, b = ([getattr(layer, name) for layer in model.dense_layers] for name in ("W", "b"))
    y = np.eye(10)[labels]
    right_ones = gradients(W, b, x, y)
    cases = {
        "right": right_ones,
        "slope forgotten": gradients(W, b, x, y, np.ones_like),
        "slope 1 + a^2": gradients(W, b, x, y, lambda a: 1 + a**2),
        "4 times": gradients(W, b, x, y, factor=4),
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
    args = parser.parse_args()
    times = list(timed(1 if args.smoke else 7))
    count = 40 if args.smoke else args.count
    bad = right(count, 0)
    results = {"right gradients": count, "of them named or called wrong": bad, "times": times}
    rows = [(row["case"], f"{row['milliseconds']:.1f}", row["found"] or "-") for row in times]
    common.save(args.out, "diagnose", results, ["case", "milliseconds", "found"], rows)
    print(f"{bad} of {count} right gradients got a name")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
