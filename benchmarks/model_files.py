"""Saving and loading 100 MB of weights beside the bare library: safetensors with one SHA-256 and one fsync.

The bar is twice the library's time. What densenet does beyond it: checksums that zip readers want, a strict reading of
every byte, the flush of the folder, and a model that is ready to predict.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
import safetensors.numpy

import densenet as dn


def hash_of(arrays: dict[str, Any]) -> bytes:
    sha = hashlib.sha256()
    for array in arrays.values():
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.digest()


def main() -> None:
    options = common.parser(__doc__)
    args = options.parse_args()
    rounds = args.rounds or (2 if args.smoke else 15)
    widths = (500, 400, 125) if args.smoke else (5000, 4000, 1250)
    layers = [dn.Dense(a, b, kernel_initializer="zeros") for a, b in itertools.pairwise(widths)]
    model = dn.Sequential(layers)
    model.params = np.random.default_rng(0).standard_normal(model.params.size, dtype=np.float32)
    arrays = {f"{i}.{name}": getattr(layer, name).copy() for i, layer in enumerate(layers) for name in "Wb"}
    results: dict[str, Any] = {"bytes": model.params.nbytes}
    rows = []
    with tempfile.TemporaryDirectory(prefix="model-files-") as folder:
        bare, npz, tensors = (Path(folder, name) for name in ("bare.safetensors", "model.npz", "model.safetensors"))

        def save_bare() -> None:
            safetensors.numpy.save_file(arrays, bare, {"sha256": hash_of(arrays).hex()})
            file = os.open(bare, os.O_RDONLY)
            os.fsync(file)
            os.close(file)

        def load_bare() -> None:
            hash_of(safetensors.numpy.load_file(bare))

        save = {"library": save_bare, ".npz": lambda: model.save(npz), ".safetensors": lambda: model.save(tensors)}
        load = {"library": load_bare, ".npz": lambda: dn.load(npz), ".safetensors": lambda: dn.load(tensors)}
        for what, contenders in (("save", save), ("load", load)):
            times = common.interleave(contenders, rounds, say=what)
            for name, seconds in times.items():
                low, middle, high = common.spread(common.ratios(times, name, "library"))
                results[f"{what} {name}"] = {"seconds": seconds, "ratio": [low, middle, high]}
                rows.append([what, name, 1000 * common.spread(seconds)[1], low, middle, high])
    head = ["", "file", "ms", "times the library: lower quartile", "median", "upper quartile"]
    common.save(args.out, "model_files", results, head, rows)


if __name__ == "__main__":
    main()
