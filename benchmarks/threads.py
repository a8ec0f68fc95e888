"""Networks fitted side by side in threads of one process: what two cores gain over one network after another.

Each network has one BLAS thread (``densenet.threads(1)``). The NumPy lines hold Python's lock between their calls, so
that threads wait for each other; kernels release it for a whole slice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import _common as common
import numpy as np

import densenet as dn

NETS: tuple[tuple[tuple[int, ...], int], ...] = (((8, 8, 8, 2), 4), ((30, 64, 5), 16), ((64, 128, 10), 32))
FITS = 2


def fits(widths: Sequence[int], batch: int, compiled: bool, epochs: int) -> list[Callable[[], None]]:
    """As many fits as there are to run."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000 * batch, widths[0]), dtype=np.float32)
    y = rng.integers(0, widths[-1], len(x))

    def made(seed: int) -> Callable[[], None]:
        model = dn.mlp(widths, activation="relu", seed=seed)
        trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.SGD(0.01), compiled=compiled)
        return lambda: trainer.fit(x, y, epochs=epochs, batch_size=batch, seed=seed, progress=False) and None

    return [made(seed) for seed in range(FITS)]


def one_after_another(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


def side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Measure, and print what running side by side gains."""
    args = common.parser(__doc__).parse_args()
    rounds = args.rounds or (2 if args.smoke else 7)
    rows: list[tuple[Any, ...]] = []
    results = []
    for widths, batch in NETS[:1] if args.smoke else NETS:
        for how, compiled, epochs in (
            ("NumPy lines", False, 1 if args.smoke else 3),
            ("kernels", True, 1 if args.smoke else 40),
        ):
            calls = fits(widths, batch, compiled, 1 if args.smoke else epochs)
            with dn.threads(1):
                times = common.interleave(
                    {
                        "one after another": partial(one_after_another, calls),
                        "side by side": partial(side_by_side, calls),
                    },
                    rounds,
                    say=f"{common.net_name(widths, batch)}, {how}:",
                )
            gain = common.spread(common.ratios(times, "one after another", "side by side"))
            seconds = {name: common.spread(found)[1] for name, found in times.items()}
            results.append({"net": common.net_name(widths, batch), "by": how, "seconds": seconds, "gain": gain})
            rows.append((common.net_name(widths, batch), how, *(1e3 * s for s in seconds.values()), gain[1]))
    head = ("net, batch", "by", "ms one after another", "ms side by side", "gain")
    print(f"{FITS} networks, one BLAS thread each; medians of {rounds} rounds; gain: the first over the second.")
    common.save(args.out, "threads", {"rounds": rounds, "fits": FITS, "cells": results}, head, rows)


if __name__ == "__main__":
    main()
