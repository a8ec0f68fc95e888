"""Parquet files whose table memory does not hold: rows to train on, to stop by and to hold out, as they come."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np

from densenet import datasets
from densenet._types import Array
from densenet.cli.reading import chosen, quoted
from densenet.tables import Table, TableError, TablePreparation, is_parquet, shown_cell
from densenet.tables.suspicions import leaks, names_of_rows
from densenet.training.data import split

_SHARE, _CELL = 0.25, 32  # of memory; bytes a cell takes while a table is read and made numbers
_SEEN = 20_000  # rows in which columns that name rows and leaks are looked for


class Large(NamedTuple):
    """Prepared rows of a large file; notes for the first line that is printed, and warnings."""

    training: datasets.ParquetBatches
    validation: datasets.ParquetBatches
    held_out: datasets.ParquetBatches
    preparation: TablePreparation
    said: list[str]
    warnings: list[str]


def exceeds_memory(path: str) -> bool:
    """Whether a file is Parquet whose table would take more than a quarter of memory."""
    if not is_parquet(path):
        return False
    try:
        from pyarrow import parquet

        found = parquet.read_metadata(path)
    except (ImportError, OSError, ValueError):
        return False  # reading it will say what is wrong
    return bool(found.num_rows * found.num_columns * _CELL > _SHARE * _memory())


def _memory() -> float:
    """Bytes of memory that this process may use; infinite where the system does not tell."""
    if not hasattr(os, "sysconf"):
        return float("inf")
    physical = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        return min(physical, float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # there is no limit
        return physical


def read_large(args: argparse.Namespace) -> Large:
    """The rows that the command line names, by row group, prepared from those to train on.

    Raises
    ------
    TableError, ValueError, OSError, ImportError
    """
    if args.time is not None or args.text or args.numeric:
        reason = "--time, --text and --numeric are not for Parquet files that memory does not hold"
        raise TableError(reason, {"time": None, "text": None, "numeric": None})

    def rows(features: list[str] | None) -> datasets.ParquetBatches:
        return datasets.ParquetBatches(args.data, features, args.target, args.batch_size, seed=args.seed)

    every = rows(None)
    _, first, _ = next(every.parts())
    first = Table(first.columns, args.target).take(slice(0, _SEEN))
    dropped, left_out = set(chosen(first, args.drop, "drop")), names_of_rows(first, chosen(first, args.keep, "keep"))
    wanted = [name for name in every.features if name not in dropped and name not in left_out]
    known, held_out = rows(wanted).split(args.held_out)
    training, validation = known.split(0.1)
    preparation = TablePreparation().fit(training, task=args.task)
    if preparation.classes is not None and len(preparation.classes) == 1:
        raise ValueError(f"the target {args.target!r} is {preparation.classes[0]!r} in every row: nothing to learn")
    said = [f"its {every.rows:,} rows do not fit in memory: read by row group"]
    if left_out:
        reasons = ", ".join(f"{shown_cell(name)} {reason}" for name, reason in left_out.items())
        names = shlex.quote(quoted(list(left_out)))
        said.append(f"left out: {reasons}, in the first {len(first):,} (--keep {names} to use)")
    seen, tested = split(len(first), 0.2, None, np.random.default_rng(args.seed))
    found = leaks(first.without([*dropped, *left_out]), preparation, seen, tested)
    training, validation, held_out = (part.prepared(preparation) for part in (training, validation, held_out))
    warnings = [f"a leak in the first {len(first):,} rows? {leak}" for leak in found]
    return Large(training, validation, held_out, preparation, said, warnings)


def sample(data: datasets.ParquetBatches) -> tuple[Array, Array]:
    """x and y of some of the rows: those that come first."""
    drawn, count = [], 0
    for batch in data:
        drawn.append(batch)
        count += len(batch[1])
        if count >= _SEEN:
            break
    x, y = (np.concatenate(part) for part in zip(*drawn, strict=True))
    return x, y
