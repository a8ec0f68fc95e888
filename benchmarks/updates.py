"""What an update costs: Adam beside gradient descent, and dead neurons with and without the sweep.

In training: whole epochs of `fit` with plain gradient descent and with Adam, by the NumPy lines and by the kernels that
the extra ``[fast]`` brings; what Adam takes beyond gradient descent is the update, with caches as a step leaves them.

Dead neurons: steps of an optimizer alone, after thousands of steps in which every sixteenth column of a matrix had no
gradient. Its running means have faded to numbers below the smallest normal float by then, unless they are swept to 0.

A million parameters: Adam's kernel alone beside the NumPy lines and, where it is installed, PyTorch's fused Adam with
two threads, each on vectors of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

import _common as common
import numpy as np
from step import steps_for

import densenet as dn
from densenet._blas import one_pool
from densenet.compiled import slots
from densenet.compiled.machine import addresses, missing

CELLS = (*common.CELLS[2:6], ((1000, 1500, 7), 128))
FADED = 2000
"""Steps after which what has no gradient has faded."""


def ways() -> dict[str, tuple[Callable[[], Any], bool]]:
    """SGD and Adam by the NumPy lines and, where they can be compiled here, by kernels."""
    found: dict[str, tuple[Callable[[], Any], bool]] = {}
    for how, compiled in (("NumPy", False), *((("kernels", True),) if missing() is None else ())):
        found[f"SGD, {how}"] = (lambda: dn.SGD(0.01)), compiled
        found[f"Adam, {how}"] = (lambda: dn.Adam(1e-3)), compiled
    return found


def epochs(widths: tuple[int, ...], batch: int, optimizer: Any, compiled: bool, steps: int) -> Callable[[], None]:
    """An epoch of `fit`."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps * batch, widths[0]), dtype=np.float32)
    y = rng.integers(0, widths[-1], len(x))
    model = dn.mlp(widths, activation="relu", seed=0)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), optimizer, compiled=compiled)
    return lambda: trainer.fit(x, y, epochs=1, batch_size=batch, seed=0, progress=False) and None


def dead_neurons(optimizer: Any, swept: bool, steps: int, faded: int) -> Callable[[], None]:
    """Steps of an optimizer whose every sixteenth column has had no gradient for long."""
    if not swept:
        optimizer.fading = ()
    rng = np.random.default_rng(0)
    p, g = rng.standard_normal((2, 784 * 128), dtype=np.float32)
    optimizer.step(p, g)
    g.reshape(784, 128)[:, ::16] = 0
    for _ in range(faded):
        optimizer.step(p, g)

    def run() -> None:
        with one_pool():
            for _ in range(steps):
                optimizer.step(p, g)

    return run


def million(size: int, steps: int) -> dict[str, Callable[[], None]]:
    """Steps of Adam on so many parameters: NumPy lines, kernel, PyTorch."""
    rng = np.random.default_rng(0)
    p, g = rng.standard_normal((2, size), dtype=np.float32)
    optimizer = dn.Adam(1e-3)
    optimizer.step(p, g)

    def lines() -> None:
        with one_pool():
            for _ in range(steps):
                optimizer.step(p, g)

    calls: dict[str, Callable[[], None]] = {"Adam, NumPy": lines}
    if missing() is None:
        calls["Adam, kernel"] = kernel(p.copy(), g, steps)
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(2)
        parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
        parameter.grad = torch.from_numpy(g)
        fused = torch.optim.Adam([parameter], lr=1e-3, fused=True)
        calls["Adam, PyTorch fused"] = lambda: [fused.step() for _ in range(steps)] and None
    return calls


def kernel(p: Any, g: Any, steps: int) -> Callable[[], None]:
    """Steps of Adam's kernel, called as the driver calls it."""
    m, v = np.zeros((2, p.size), np.float32)
    constants = np.array([0.9, 0.1, 0.999, 0.001, 0, 0, 0, 0], np.float32)
    words, integers, floats, unused = (
        np.zeros(14, np.int64),
        np.zeros(32, np.int64),
        np.zeros(16),
        np.zeros(2, np.int64),
    )
    words[:6] = p.ctypes.data, g.ctypes.data, p.size, 0, m.ctypes.data, v.ctypes.data
    floats[slots.FACTOR], floats[slots.EPSILON] = 1e-3, 1e-8
    held = (unused, words, constants, integers, floats, p, g, m, v)
    handed = (unused.ctypes.data, unused.ctypes.data + 8, *(array.ctypes.data for array in held[1:5]))
    adam = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 6)(
        addresses(["updates.adam"], "float32")["updates.adam"]
    )

    def run(held: Any = held) -> None:  # what the words are addresses of
        for _ in range(steps):
            adam(*handed)

    return run


def main() -> None:
    """Measure, and print ratios."""
    args = common.parser(__doc__).parse_args()
    rounds = args.rounds or (2 if args.smoke else 9)
    rows: list[tuple[Any, ...]] = []
    results: list[dict[str, Any]] = []

    def record(what: str, slow: str, fast: str, times: dict[str, list[float]], count: int) -> None:
        micro = {name: 1e6 * common.spread(seconds)[1] / count for name, seconds in times.items()}
        low, middle, high = common.spread(common.ratios(times, slow, fast))
        rows.append((what, slow, fast, *(round(micro[n], 1) for n in (slow, fast)), round(middle, 3)))
        results.append(
            {
                "what": what,
                "slower": slow,
                "faster": fast,
                "microseconds": micro,
                "ratio": middle,
                "lower quartile": low,
                "upper quartile": high,
                "rounds": rounds,
            }
        )

    for widths, batch in CELLS[:1] if args.smoke else CELLS:
        steps, net = steps_for(widths, batch, args.smoke), common.net_name(widths, batch)
        calls = {name: epochs(widths, batch, make(), how, steps) for name, (make, how) in ways().items()}
        times = common.interleave(calls, rounds, say=net)
        for how in ("NumPy", "kernels"):
            if f"SGD, {how}" in times:
                record(f"a step of {net}", f"Adam, {how}", f"SGD, {how}", times, steps)
        if "SGD, kernels" in times:
            record(f"a step of {net}", "Adam, NumPy", "Adam, kernels", times, steps)
    count, faded = (2, 10) if args.smoke else (100, FADED)
    for name, make in (
        ("SGD, momentum", lambda: dn.SGD(0.01, momentum=0.9)),
        ("Adam", lambda: dn.Adam(1e-3)),
    ):
        calls = {way: dead_neurons(make(), way == "swept", count, faded) for way in ("swept", "unswept")}
        times = common.interleave(calls, rounds, say=name)
        record(f"{name}, dead neurons", "unswept", "swept", times, count)
    size = 1000 if args.smoke else 10**6
    times = common.interleave(million(size, count), rounds, say="a million")
    for slow in ("Adam, NumPy", "Adam, PyTorch fused"):
        if {slow, "Adam, kernel"} <= times.keys():
            record(f"Adam on {size:,} parameters", slow, "Adam, kernel", times, count)
    head = ("what", "slower", "faster", "us slower", "us faster", "ratio")
    common.save(args.out, "updates", results, head, rows)


if __name__ == "__main__":
    main()
