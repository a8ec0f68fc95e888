"""A training step beside its own bare products, and where the rest of its time goes.

`fit` trains some epochs; the products alone are SciPy's gemm calls on arrays of the same shapes. The parts of the rest
are the trainer's own calls, on its own arrays, each repeated by itself: gathering the mini-batch, the dense layers'
bias, its gradient and their calls (forward and backward passes less activations and products), the activations both
ways, the loss and its delta, the update. By itself each finds its arrays in the cache, which in a step it may not; what
`fit` takes beyond all of them is shown as "loop and caches": the loop's own lines, shuffling, and that difference.
Noise can make a small part negative: the numbers say so, and its bar is left out, so that the others then reach beyond
100 %.

Forward and backward passes are timed by themselves too. Each dense layer has one product forward and two backward,
dE/dW and dE/dX, so that the whole backward pass costs about two forward passes; training leaves the first layer's
dE/dX out, which makes it cheaper still.

Where PyTorch is installed, the same products are timed by it as well, last of all: the part of a peer's lead that is
its BLAS and not its framework.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import numpy as np
from step import EPOCHS, products_alone, steps_for

import densenet as dn
from densenet._blas import blas_description, one_pool
from densenet.training.data import ArrayBatches
from densenet.training.step import Step

PARTS = ("products", "gather", "dense calls", "activations", "loss", "update", "loop and caches")
COLORS = ("#bbbbbb", "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377")


def parts_of_a_step(widths: tuple[int, ...], batch: int, optimizer: str, steps: int) -> dict[str, Callable[[], None]]:
    """Whole epochs, and each part as often as an epoch has steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps * batch, widths[0]), dtype=np.float32)
    y = rng.integers(0, widths[-1], len(x))
    model = dn.mlp(widths, activation="relu", seed=0)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.SGD(0.01) if optimizer == "SGD" else dn.Adam(1e-3))
    trainer.fit(x, y, epochs=1, batch_size=batch, seed=0, progress=False)
    drift = copy.deepcopy(trainer)  # updated over and over with one gradient, its weights leave every sensible range
    drift.model.grads = model.grads
    drifting = Step(drift.model, drift.loss, drift.optimizer)
    source, order = ArrayBatches(x, y, None, model.dtype), rng.permutation(len(x))
    x_batch, y_batch = x[:batch].copy(), y[:batch].copy()
    loss, layers = trainer.loss, model.layers
    activations = [layer for layer in layers if not isinstance(layer, dn.Dense)]
    arrays = [rng.standard_normal((batch, layer_width), dtype=np.float32) for layer_width in widths[1:-1]]
    prediction = model.run_forward(x_batch).copy()
    loss.error(prediction, y_batch)
    delta = loss.delta().copy()

    def fit() -> None:
        trainer.fit(x, y, epochs=EPOCHS, batch_size=batch, seed=0, progress=False)

    def gather() -> None:
        for _ in source.epoch(batch, order):
            pass

    def forward() -> None:
        for _ in range(steps):
            model.run_forward(x_batch)

    def backward() -> None:
        for _ in range(steps):
            model.run_backward(delta)

    def whole_backward() -> None:
        for _ in range(steps):
            d = delta
            for layer in reversed(layers):
                d = layer.backward(d)

    def activate() -> None:
        for _ in range(steps):
            for layer, array in zip(activations, arrays, strict=True):
                layer.forward(array, True)
                layer.backward(array)

    def lose() -> None:
        for _ in range(steps):
            loss.error(prediction, y_batch)
            loss.delta()

    def update() -> None:
        for _ in range(steps):
            drifting.update()

    calls = {
        "fit": fit,
        "products": products_alone(widths, batch, steps),
        "gather": gather,
        "forward": forward,
        "backward": backward,
        "whole backward": whole_backward,
        "activations": activate,
        "loss": lose,
        "update": update,
    }
    return {name: in_one_pool(call) for name, call in calls.items()}


TORCH = """
import json, sys, time
import torch

widths, batch, steps, rounds, threads = json.loads(sys.argv[1])
torch.set_num_threads(threads)
a, d = ([torch.randn(batch, width) for width in widths] for _ in range(2))
W = [torch.randn(m, n) for m, n in zip(widths, widths[1:])]
dW = [torch.empty_like(w) for w in W]

def step():
    for i, w in enumerate(W):
        torch.mm(a[i], w, out=a[i + 1])
    for i in range(len(W) - 1, -1, -1):
        torch.mm(a[i].T, d[i + 1], out=dW[i])
        if i:
            torch.mm(d[i + 1], W[i].T, out=d[i])

seconds = []
with torch.inference_mode():
    for _ in range(rounds + 1):
        began = time.perf_counter()
        for _ in range(steps):
            step()
        seconds.append(time.perf_counter() - began)
print(json.dumps(seconds[1:]))
"""
"""The products of a step by PyTorch, in a process of its own: two pools of threads in one would wait for each other."""


def beside_torch(cells: Sequence[tuple[tuple[int, ...], int]], rounds: int, smoke: bool) -> list[dict[str, Any]]:
    """PyTorch's products over ours, as a quotient of medians; nothing where it is not installed."""
    records: list[dict[str, Any]] = []
    for widths, batch in cells:
        steps, net = max(steps_for(widths, batch, smoke) // 2, 4), common.net_name(widths, batch)
        common.progress(f"{net}: products by torch")
        task = json.dumps([widths, batch, steps, rounds, blas_description()["threads"]])
        child = subprocess.run([sys.executable, "-c", TORCH, task], capture_output=True, text=True, check=False)
        if child.returncode:
            return records
        theirs = common.spread(json.loads(child.stdout))[1]
        ours = common.spread(common.interleave({"ours": products_alone(widths, batch, steps)}, rounds)["ours"])[1]
        micro = {"torch": 1e6 * theirs / steps, "ours": 1e6 * ours / steps}
        records.append({"net": net, "torch over ours": theirs / ours, "microseconds": micro})
    return records


def in_one_pool(call: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with one_pool():
            call()

    return run


def divided(micro: dict[str, float]) -> dict[str, float]:
    """The parts that a step is made of, in microseconds."""
    parts = {name: micro[name] for name in ("products", "gather", "activations", "loss", "update")}
    parts["dense calls"] = micro["forward"] + micro["backward"] - micro["activations"] - micro["products"]
    parts["loop and caches"] = micro["fit"] - sum(parts.values())
    return {name: round(parts[name], 2) for name in PARTS}


def main() -> None:
    args = common.parser(__doc__).parse_args()
    rounds = args.rounds or (2 if args.smoke else 7)
    results, rows, shown = [], [], []
    cells = common.CELLS[1:3] if args.smoke else common.CELLS
    for widths, batch in cells:
        steps = max(steps_for(widths, batch, args.smoke) // 2, 4)
        for optimizer in ("SGD", "Adam"):
            net = common.net_name(widths, batch)
            calls = parts_of_a_step(widths, batch, optimizer, steps)
            times = common.interleave(calls, rounds, say=f"{net} {optimizer}")
            times["fit"] = [seconds / EPOCHS for seconds in times["fit"]]
            micro = {name: 1e6 * common.spread(seconds)[1] / steps for name, seconds in times.items()}
            over = common.spread(common.ratios(times, "fit", "products"))
            passes = common.spread(common.ratios(times, "whole backward", "forward"))
            trained = common.spread(common.ratios(times, "backward", "forward"))
            parts = divided(micro)
            results.append(
                {
                    "net": net,
                    "optimizer": optimizer,
                    "steps": steps,
                    "rounds": rounds,
                    "microseconds": micro,
                    "parts": parts,
                    "over products": over,
                    "whole backward over forward": passes,
                    "backward in training over forward": trained,
                }
            )
            ratios = [round(over[1], 3), round(passes[1], 2), round(trained[1], 2)]
            rows.append((net, optimizer, round(micro["fit"], 2), *ratios, *parts.values()))
            shown.append((net, optimizer, *(f"{v:.4g}" for v in (micro["fit"], *ratios, *parts.values()))))
    head = ("net, batch", "optimizer", "us/step", "over products", "backward/forward", "in training", *PARTS)
    by_torch = beside_torch(cells, rounds, args.smoke)
    found = {"steps": results, "products by torch": by_torch}
    common.save(args.out, "limits", found, head, rows, picture(results), show=common.table(head, shown))
    if by_torch:
        print("\n" + common.table(("products", "torch's time over ours"), [tuple(r.values())[:2] for r in by_torch]))


def picture(results: list[dict[str, Any]]) -> Any:
    """Stacked bars: a step in its parts, over its products."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    results = results[::-1]
    names = [f"{entry['net']}  {entry['optimizer']}" for entry in results]
    figure, (ax, right) = plt.subplots(
        1, 2, figsize=(11, 1.6 + 0.36 * len(names)), sharey=True, width_ratios=(3, 1), layout="constrained"
    )
    left = np.zeros(len(names))
    for part, color in zip(PARTS, COLORS, strict=True):
        share = np.array([max(entry["parts"][part], 0) / entry["microseconds"]["fit"] for entry in results])
        ax.barh(names, share, left=left, color=color, label=part)
        left += share
    for i, entry in enumerate(results):
        step, over = entry["microseconds"]["fit"], entry["over products"][1]
        ax.text(max(left[i], 1) + 0.02, i, f"{step:,.0f} us, {over:.2f} x products", va="center", fontsize=8)
    ax.set_xlim(0, 1.45)
    ax.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    ax.set_xlabel("share of a training step")
    figure.legend(loc="outside upper center", ncols=len(PARTS), frameon=False, fontsize=9)
    for key, marker, label in (
        ("whole backward over forward", "o", "whole"),
        ("backward in training over forward", "x", "in training"),
    ):
        right.plot([entry[key][1] for entry in results], names, marker, color="#4477aa", label=label)
    right.axvline(2, color="black", linewidth=1)
    right.set_xlim(0, max(2.5, *right.get_xlim()))
    right.set_xlabel("backward pass over forward pass")
    right.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    for axes in (ax, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
