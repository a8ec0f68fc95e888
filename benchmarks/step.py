"""A training step beside its own bare products, and beside the shortest training loop one would write by hand.

Both contenders train whole epochs: shuffle, gather, forward, softmax cross-entropy read out at every step, backward,
update. The products alone are SciPy's gemm calls on arrays of the same shapes: one a layer forward, two a layer
backward less the first layer's dE/dx. The loop by hand is the plainest code that keeps its buffers: classes with
`forward` and `backward`, one flat vector of parameters, nothing checked.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import _common as common
import numpy as np
from scipy.linalg.blas import saxpy, sgemm

import densenet as dn
from densenet._blas import one_pool

TRIAL = {"SGD": (15, 27, 37, 148, 433, 1940, 14400), "Adam": (22, None, 50, 300, None, 3300, None)}
"""Microseconds a step of an earlier loop by hand on another machine, whose bare products took PRODUCTS."""
PRODUCTS = (1.8, 5.7, 15, 107, 325, 1740, 13300)
EPOCHS = 5
"""In one fit, as in use: what `fit` does once, such as looking for NaN in the data, is shared by them."""


class HandDense:
    def __init__(self, n_in: int, n_out: int, params: Any, grads: Any, batch: int) -> None:
        cut = n_in * n_out
        self.W, self.b = params[:cut].reshape(n_in, n_out), params[cut:]
        self.dW, self.db = grads[:cut].reshape(n_in, n_out), grads[cut:]
        self.z, self.dx = np.empty((batch, n_out), "f"), np.empty((batch, n_in), "f")
        self.ones = np.ones(batch, "f")

    def forward(self, x: Any) -> Any:
        self.x = x
        self.z[...] = self.b
        sgemm(1.0, self.W.T, x.T, 1.0, self.z.T, 0, 0, 1)
        return self.z

    def backward(self, d: Any, first: bool) -> Any:
        sgemm(1.0, d.T, self.x.T, 0.0, self.dW.T, 0, 1, 1)
        self.ones.dot(d, self.db)
        if not first:
            sgemm(1.0, self.W.T, d.T, 0.0, self.dx.T, 1, 0, 1)
        return self.dx


class HandReLU:
    def __init__(self, width: int, batch: int) -> None:
        self.y, self.zeros = np.empty((batch, width), "f"), np.zeros((batch, width), "f")
        self.mask = np.empty((batch, width), bool)

    def forward(self, x: Any) -> Any:
        return np.maximum(x, self.zeros, out=self.y)

    def backward(self, d: Any, first: bool) -> Any:
        np.greater(self.y, self.zeros, out=self.mask)
        return np.multiply(d, self.mask, out=d)


def by_hand(widths: tuple[int, ...], batch: int, x: Any, y: Any, optimizer: str) -> Callable[[], None]:
    """An epoch of the plainest loop."""
    sizes = [a * b + b for a, b in pairwise(widths)]
    params, grads = np.zeros(sum(sizes), "f"), np.zeros(sum(sizes), "f")
    layers: list[Any] = []
    ends = np.cumsum(sizes)
    rng = np.random.default_rng(0)
    for i, (a, b) in enumerate(pairwise(widths)):
        part = slice(int(ends[i] - sizes[i]), int(ends[i]))
        layers.append(HandDense(a, b, params[part], grads[part], batch))
        layers[-1].W[...] = rng.normal(0, np.sqrt(2 / (a + b)), (a, b))
        if i < len(widths) - 2:
            layers.append(HandReLU(b, batch))
    k = widths[-1]
    xb, yb = np.empty((batch, widths[0]), "f"), np.empty(batch, np.intp)
    top, p, starts = np.empty((batch, 1), "f"), np.empty((batch, k), "f"), np.arange(batch)
    m, v, s = np.zeros_like(params), np.zeros_like(params), np.empty_like(params)
    t = 0

    def epoch() -> None:
        nonlocal t
        order = rng.permutation(len(x))
        for a in range(0, len(x), batch):
            rows = order[a : a + batch]
            x.take(rows, 0, xb, "clip")
            y.take(rows, 0, yb, "clip")
            z = xb
            for layer in layers:
                z = layer.forward(z)
            np.maximum.reduce(z, axis=1, keepdims=True, out=top)
            np.subtract(z, top, out=p)
            np.exp(p, out=p)
            np.divide(p, p.sum(1, keepdims=True), out=p)
            picked = p[starts, yb]
            losses.append(-float(np.log(picked).mean()))
            p[starts, yb] -= 1
            np.multiply(p, 1 / batch, out=p)
            d = p
            for layer in reversed(layers):
                d = layer.backward(d, layer is layers[0])
            if optimizer == "SGD":
                saxpy(grads, params, None, -0.01)
                continue
            t += 1
            np.multiply(m, 0.9, out=m)
            saxpy(grads, m, None, 0.1)
            np.multiply(grads, grads, out=s)
            np.multiply(v, 0.999, out=v)
            saxpy(s, v, None, 0.001)
            np.sqrt(v, out=s)
            np.multiply(s, 1 / np.sqrt(1 - 0.999**t), out=s)
            np.add(s, 1e-8, out=s)
            np.divide(m, s, out=s)
            saxpy(s, params, None, -1e-3 / (1 - 0.9**t))

    losses: list[float] = []

    def run() -> None:
        losses.clear()
        with one_pool():
            for _ in range(EPOCHS):
                epoch()

    return run


def products_alone(widths: tuple[int, ...], batch: int, steps: int) -> Callable[[], None]:
    """The gemm calls of `steps` steps, and nothing else."""
    rng = np.random.default_rng(0)
    a = [rng.normal(size=(batch, w)).astype("f") for w in widths]
    d = [rng.normal(size=(batch, w)).astype("f") for w in widths]
    W = [rng.normal(size=(m, n)).astype("f") for m, n in pairwise(widths)]
    dW = [np.empty_like(w) for w in W]
    aT, dT, WT, dWT = ([m.T for m in group] for group in (a, d, W, dW))
    last = len(W)

    def run() -> None:
        with one_pool():
            for _ in range(steps):
                for i in range(last):
                    sgemm(1.0, WT[i], aT[i], 0.0, aT[i + 1], 0, 0, 1)
                for i in range(last - 1, -1, -1):
                    sgemm(1.0, dT[i + 1], aT[i], 0.0, dWT[i], 0, 1, 1)
                    if i:
                        sgemm(1.0, WT[i], dT[i + 1], 0.0, dT[i], 1, 0, 1)

    return run


def ours(widths: tuple[int, ...], batch: int, x: Any, y: Any, optimizer: str) -> Callable[[], None]:
    """An epoch of `Trainer.fit`."""
    model = dn.mlp(widths, activation="relu", seed=0)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.SGD(0.01) if optimizer == "SGD" else dn.Adam(1e-3))

    def run() -> None:
        trainer.fit(x, y, epochs=EPOCHS, batch_size=batch, seed=0, progress=False)

    return run


def steps_for(widths: tuple[int, ...], batch: int, smoke: bool) -> int:
    """Steps an epoch: enough that what `fit` does once does not show."""
    work = 6 * batch * sum(a * b for a, b in pairwise(widths))
    return 4 if smoke else int(np.clip(2e9 / max(work, 1), 10, 2000))


def main() -> None:
    """Measure every cell and print ratios."""
    args = common.parser(__doc__).parse_args()
    rounds = args.rounds or (2 if args.smoke else 11)
    rows, results = [], []
    cells = common.CELLS[:2] if args.smoke else common.CELLS
    for number, (widths, batch) in enumerate(cells):
        steps = steps_for(widths, batch, args.smoke)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(steps * batch, widths[0])).astype("f")
        y = rng.integers(0, widths[-1], len(x))
        for optimizer in ("SGD", "Adam"):
            contenders = {
                "densenet": ours(widths, batch, x, y, optimizer),
                "by hand": by_hand(widths, batch, x, y, optimizer),
                "products": products_alone(widths, batch, EPOCHS * steps),
            }
            times = common.interleave(contenders, rounds, say=f"{common.net_name(widths, batch)} {optimizer}")
            over = common.spread(common.ratios(times, "densenet", "products"))
            hand = common.spread(common.ratios(times, "by hand", "densenet"))
            micro = {name: 1e6 * common.spread(t)[1] / (EPOCHS * steps) for name, t in times.items()}
            trial = TRIAL[optimizer][number]
            name = common.net_name(widths, batch)
            trial_ratio = "" if trial is None else f"{trial / PRODUCTS[number]:.2f}"
            rows.append(
                (
                    name,
                    optimizer,
                    *(round(micro[c], 2) for c in contenders),
                    round(over[1], 2),
                    trial_ratio,
                    round(hand[1], 2),
                )
            )
            results.append(
                {
                    "net": name,
                    "optimizer": optimizer,
                    "steps": steps,
                    "microseconds": micro,
                    "over_products": over,
                    "by_hand_over_ours": hand,
                    "rounds": rounds,
                }
            )
    head = (
        "net, batch",
        "optimizer",
        "us/step",
        "us by hand",
        "us products",
        "over products",
        "earlier loop",
        "by hand / ours",
    )
    common.save(args.out, "step", results, head, rows, picture(rows))


def picture(rows: list[tuple[Any, ...]]) -> Any:
    """Bars of a step over its products."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 0.5 + 0.35 * len(rows)))
    names = [f"{row[0]}  {row[1]}" for row in rows][::-1]
    values = [row[5] for row in rows][::-1]
    ax.barh(names, values, color=["#4477aa" if "SGD" in name else "#ccbb44" for name in names])
    ax.axvline(1, color="black", linewidth=1)
    for i, value in enumerate(values):
        ax.text(value, i, f" {value:.2f}", va="center", fontsize=8)
    ax.set_xlabel("time of a step over its bare products")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
