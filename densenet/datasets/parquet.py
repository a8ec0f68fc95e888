"""Mini-batches from Parquet files that no memory holds.

Every epoch draws an order of the row groups, cuts it into windows of some row groups, and shuffles the rows of each
window. One window is in memory, and the next is read in a thread meanwhile.
"""

from __future__ import annotations

import copy
import difflib
import glob
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from densenet._types import Array, IntArray
from densenet._validation import fraction, nonnegative_int, positive_int
from densenet.tables import Table, TableError, TablePreparation, listed

PathLike: TypeAlias = str | os.PathLike[str]
Batch: TypeAlias = tuple[Array, ...]

_WINDOW, _PART = 64 << 20, 16 << 20  # bytes of x in a window, and of columns that are decoded at a time
_BLOCK = 2048  # rows whose columns are put side by side at a time: they stay in the cache
_SHUFFLE, _SPLIT = 0, 1  # what a generator is for


@dataclass(frozen=True, eq=False)
class _File:
    """A Parquet file as it was when it was opened."""

    path: str
    stamp: tuple[int, int]  # size in bytes, time of the last change in ns
    metadata: Any
    schema: Any


class _Group(NamedTuple):
    """A row group with rows in it: its file's number, its number there, its rows."""

    file: int
    number: int
    rows: int


class ParquetBatches:
    """Mini-batches of the rows of Parquet files, in another order every epoch, with little memory.

    An epoch shuffles the row groups of all files, cuts them into windows of at least `window` rows, and shuffles the
    rows of each window. The order follows from `seed` and the epoch's number alone: ``fit(..., resume=path)`` gives bit
    for bit the result of an uninterrupted run, from the middle of an epoch, too. `Trainer.fit` and `Trainer.evaluate`
    take it in place of x and y; ``fit(seed=)`` has no say in its order.

    At most two windows are in memory, one to train on and one that a thread reads meanwhile. A window holds whole row
    groups: files with row groups of 10,000 to 100,000 rows mix best.

    Parameters
    ----------
    path : str, path-like, or sequence of them
        Parquet files, or patterns such as ``"rows/*.parquet"``, whose files come in sorted order.
    features : sequence of str or None
        Columns of x, in this order; None takes all but the target and the weights.
    target : str or sequence of str
        The column of y (n,), or the columns of y (n, k). Whole numbers and booleans become int64, others `dtype`.
    batch_size : int, default 32
        Rows of a mini-batch; the last of an epoch may have fewer.
    sample_weight : str, optional
        A column of weights.
    window : int, optional
        Rows that are shuffled together, at least; by default what takes 64 MiB.
    shuffle : bool, default True
        Whether the rows come in another order in every epoch; else in file order.
    seed : int, default 0
        Sets the order of the rows and what `split` holds out.
    dtype : {"float32", "float64"}, default "float32"
        Of x. Rows that a preparation has made are float32.

    Attributes
    ----------
    files : list of str
    rows : int
        Rows of an epoch; ``len(batches)`` counts mini-batches.
    feature_names : list of str
        Columns of x.

    Raises
    ------
    ImportError
        Without the extra ``[arrow]``.
    FileNotFoundError
        If there is no such file, or no file matches a pattern.
    TableError
        A ValueError: if a file is no Parquet file, lacks a column, or none has any row; while reading, if a column
        holds other than numbers, or a missing or infinite one, or a file has changed. File, row group, column and
        remedy are named.

    Examples
    --------
    >>> import densenet as dn, numpy as np, pyarrow as pa, pyarrow.parquet as pq
    >>> path = getfixture("tmp_path") / "rows.parquet"
    >>> x = np.linspace(0, 1, 1000)
    >>> pq.write_table(pa.table({"x": x, "y": 2 * x + 1}), path, row_group_size=100)
    >>> data = dn.datasets.ParquetBatches(path, ["x"], "y", batch_size=50)
    >>> data
    ParquetBatches(1 file, 10 row groups, 1,000 rows: 1 feature, target 'y', batch_size=50)
    >>> train, held_out = data.split(0.2)
    >>> trainer = dn.Trainer(dn.mlp([1, 1], seed=0), "mse", dn.SGD(0.1))
    >>> history = trainer.fit(train, validation_data=held_out, epochs=30)
    >>> history["val_loss"][-1] < 1e-3
    True
    """

    def __init__(
        self,
        path: PathLike | Sequence[PathLike],
        features: Sequence[str] | None,
        target: str | Sequence[str],
        batch_size: int = 32,
        *,
        sample_weight: str | None = None,
        window: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        who = "ParquetBatches"
        self.batch_size = positive_int(batch_size, who, "batch_size")
        self.seed, self.shuffle = nonnegative_int(seed, who, "seed"), bool(shuffle)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"{who} expects dtype 'float32' or 'float64', got {dtype!r}.")
        self._files = [_opened(name) for name in _paths(path)]
        self._preparation: TablePreparation | None = None
        self.target, self.sample_weight = target if isinstance(target, str) else list(target), sample_weight
        self._targets = [target] if isinstance(target, str) else list(target)
        others = [*self._targets, *([] if sample_weight is None else [sample_weight])]
        if features is None:
            features = [name for name in self._files[0].schema.names if name not in others]
        self.features = [features] if isinstance(features, str) else list(features)
        self._check_columns(others)
        width = len(self.features) * self.dtype.itemsize
        self.window = max(1, _WINDOW // width) if window is None else positive_int(window, who, "window")
        every = [(i, k) for i, file in enumerate(self._files) for k in range(file.metadata.num_row_groups)]
        sized = [_Group(i, k, self._files[i].metadata.row_group(k).num_rows) for i, k in every]
        self._every = self._groups = tuple(group for group in sized if group.rows)
        if not self._groups:
            more = f" and {len(self.files) - 1} more files" if len(self.files) > 1 else ""
            raise TableError(f"{who} finds no row in {self.files[0]}{more}")

    def _check_columns(self, others: list[str]) -> None:
        wanted = [*self.features, *others]
        twice = sorted({name for name in wanted if wanted.count(name) > 1})
        if twice:
            raise ValueError(
                f"ParquetBatches expects a column once, as feature, target or weight, got {listed(twice)}."
            )
        if not self.features or not self._targets:
            raise ValueError(f"ParquetBatches expects features and a target, got {self.features} and {self._targets}.")
        for file in self._files:
            absent = [name for name in wanted if name not in file.schema.names]
            if absent:
                near = difflib.get_close_matches(absent[0], file.schema.names, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise TableError(
                    f"ParquetBatches finds no column {listed(absent)} in {file.path}{hint}; its columns are "
                    f"{listed(file.schema.names)}"
                )

    def __len__(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    def __repr__(self) -> str:
        files, groups, features = len(self._files), len(self._groups), len(self.feature_names)
        return (
            f"ParquetBatches({files} file{'s' * (files > 1)}, {groups} row group{'s' * (groups > 1)}, "
            f"{self.rows:,} rows: {features} feature{'s' * (features > 1)}, target {self.target!r}, "
            f"batch_size={self.batch_size})"
        )

    @property
    def files(self) -> list[str]:
        """Paths of the files."""
        return [file.path for file in self._files]

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return sum(group.rows for group in self._groups)

    @property
    def feature_names(self) -> list[str]:
        """One name for each column of x."""
        return self.features.copy() if self._preparation is None else self._preparation.feature_names

    # -- parts of it ---------------------------------------------------------------------------------------------------

    def split(self, share: float) -> tuple[ParquetBatches, ParquetBatches]:
        """The rows to train on, and the rows to hold out: whole row groups, drawn from `seed`.

        Parameters
        ----------
        share : float in (0, 1)
            Share of the row groups that is held out, at least one of them. They come in file order.

        Raises
        ------
        TableError
            If no row group would be left to train on.
        """
        n, count = len(self._groups), 0
        if share := fraction(share, "ParquetBatches.split", "share"):
            count = max(1, round(n * share))
        if not 0 < count < n:
            raise TableError(
                f"ParquetBatches.split holds out whole row groups, some but not all, got share {share:g} of {n}: write "
                "smaller ones (pyarrow.parquet.write_table(..., row_group_size=10_000)), or hold another file out"
            )
        held_out = set(self._generator(_SPLIT, n).permutation(n)[:count].tolist())
        train = tuple(group for k, group in enumerate(self._groups) if k not in held_out)
        rest = tuple(group for k, group in enumerate(self._groups) if k in held_out)
        return self._with(_groups=train), self._with(_groups=rest, shuffle=False)

    def prepared(self, preparation: TablePreparation) -> ParquetBatches:
        """The same rows with x and y as a preparation makes them: words, dates and gaps become numbers.

        Parameters
        ----------
        preparation : TablePreparation
            Fitted on these columns, such as ``TablePreparation().fit(train)``, which reads them once.

        Raises
        ------
        ValueError
            If it wants other columns.
        """
        absent = [name for name in preparation.input_columns if name not in self.features]
        if absent or preparation.target != self.target:
            raise ValueError(
                f"ParquetBatches.prepared expects a preparation of the features {listed(self.features)} and the target "
                f"{self.target!r}, got one of {listed(preparation.input_columns)} and {preparation.target!r}."
            )
        return self._with(_preparation=preparation)

    def _with(self, **changes: Any) -> ParquetBatches:
        made = copy.copy(self)
        made.__dict__.update(changes)
        return made

    def parts(self) -> Iterator[tuple[str, Table, bool]]:
        """Tables of all row groups of the files in order: where each stands, the table, and whether its rows are these.

        Of row groups that `split` has left out the table has only the target.
        """
        own = set(self._groups)
        for group in self._every:
            columns = [*(self.features if group in own else []), *self._targets]
            for part in self._decoded(group, columns):
                yield self._where(group), self._table(part, group), group in own

    def fingerprints(self) -> dict[str, str]:
        """What tells these rows from others, and their order: a checkpoint keeps it.

        The rows are known by the files' footers, which hold the number, size and extremes of every column's values.
        """
        rows = hashlib.sha256()
        for file in self._files:
            rows.update(_footer(file.path))
        state = None if self._preparation is None else self._preparation.state()
        rows.update(json.dumps([self.features, self._targets, self.sample_weight, self.dtype.str, state]).encode())
        order = json.dumps([self.seed, self.window, self.batch_size, self.shuffle, self._groups])
        return {"set of rows": rows.hexdigest(), "order of rows": hashlib.sha256(order.encode()).hexdigest()}

    # -- epochs --------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Batch]:
        return self.numbered_epoch()

    def numbered_epoch(self, number: int = 1, start: int = 0) -> Iterator[Batch]:
        """The mini-batches of an epoch, (x, y) or (x, y, sample_weight), of which the first `start` are left out.

        Parameters
        ----------
        number : int, default 1
            Another number is another order of the rows.
        start : int, default 0
            What is left out is not read.
        """
        self._check_types()
        windows, size = self._windows(number), self.batch_size
        ends = np.cumsum([0, *(sum(group.rows for group in groups) for groups in windows)])
        first = int(np.searchsorted(ends[1:], start * size, side="right"))
        row = start * size - int(ends[first])
        batch: Batch = ()
        for w, arrays in self._read_ahead(windows, first):
            n = sum(group.rows for group in windows[w])
            order = self._generator(_SHUFFLE, number, w).permutation(n) if self.shuffle else None
            while row < n:
                stop = min(n, row + size - (len(batch[0]) if batch else 0))
                drawn = _rows(arrays, order, row, stop)
                batch = tuple(map(np.concatenate, zip(batch, drawn, strict=True))) if batch else drawn
                row = stop
                if len(batch[0]) == size:
                    yield batch
                    batch = ()
            row = 0
        if batch:
            yield batch

    def _generator(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *what])

    def _windows(self, number: int) -> list[list[_Group]]:
        """The row groups of an epoch in their order, cut where at least `window` rows are together."""
        groups = list(self._groups)
        if self.shuffle:
            groups = [groups[k] for k in self._generator(_SHUFFLE, number).permutation(len(groups))]
        windows: list[list[_Group]] = [[]]
        rows = 0
        for group in groups:
            if rows >= self.window:
                windows.append([])
                rows = 0
            windows[-1].append(group)
            rows += group.rows
        return windows

    def _read_ahead(self, windows: list[list[_Group]], first: int) -> Iterator[tuple[int, list[Array]]]:
        """The windows from number `first` on, each read in a thread while the one before is in use.

        Their arrays are used again for the window after the next.
        """
        left = range(first, len(windows))
        most = max((sum(group.rows for group in windows[w]) for w in left), default=0)
        spare = [self._empty(most) for _ in left[:2]]
        with ThreadPoolExecutor(1, "densenet-parquet") as pool:
            coming = [pool.submit(self._read, windows[w], spare.pop()) for w in left[:1]]
            for w, after in pairwise([*left, None]):
                arrays = coming.pop().result()
                if after is not None:
                    coming = [pool.submit(self._read, windows[after], spare.pop())]
                yield w, arrays
                spare.append(arrays)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _empty(self, rows: int) -> list[Array]:
        """Arrays for x, y and the weights, if there are any, of so many rows."""
        if self._preparation is None:
            shape = (rows,) if isinstance(self.target, str) else (rows, len(self._targets))
            made = [np.empty((rows, len(self.features)), self.dtype), np.empty(shape, self._target_dtype)]
        else:
            kind = np.float32 if self._preparation.classes is None else np.int64
            made = [np.empty((rows, len(self.feature_names)), np.float32), np.empty(rows, kind)]
        return made if self.sample_weight is None else [*made, np.empty(rows, self.dtype)]

    def _read(self, groups: list[_Group], into: list[Array]) -> list[Array]:
        """The arrays, filled with the rows of some row groups."""
        columns = [*self.features, *self._targets, *([] if self.sample_weight is None else [self.sample_weight])]
        at = 0
        for group in groups:
            for part in self._decoded(group, columns):
                self._fill([array[at : at + part.num_rows] for array in into], part, group)
                at += part.num_rows
        return into

    def _decoded(self, group: _Group, columns: list[str]) -> Iterator[Any]:
        """A row group's columns, some rows at a time."""
        from pyarrow import parquet

        file, rows = self._files[group.file], max(1, _PART // (4 * len(columns)))
        if _stamp(file.path) != file.stamp:
            raise TableError(f"{file.path} has changed since these ParquetBatches were made: make new ones")
        try:
            with parquet.ParquetFile(
                file.path, metadata=file.metadata, pre_buffer=False, buffer_size=1 << 16
            ) as opened:
                yield from opened.iter_batches(rows, row_groups=[group.number], columns=columns, use_threads=False)
        except (OSError, ValueError) as error:
            raise TableError(f"{self._where(group)} cannot be read: {error}") from None

    def _where(self, group: _Group) -> str:
        return f"{self._files[group.file].path}, row group {group.number}"

    def _table(self, part: Any, group: _Group) -> Table:
        import pyarrow

        try:
            return Table(pyarrow.Table.from_batches([part]))
        except (ValueError, TypeError) as error:
            raise TableError(f"{self._where(group)}: {error}".rstrip(".")) from None

    def _fill(self, into: list[Array], part: Any, group: _Group) -> None:
        """Write x, y and the weights of some rows of a row group."""
        x, y, *weight = into
        if self._preparation is None:
            self._fill_matrix(x, part, self.features, group)
            self._fill_matrix(y.reshape(len(y), -1), part, self._targets, group)
        else:
            table = self._table(part, group)
            try:
                x[...], y[...] = self._preparation.transform(table), self._preparation.transform_target(table)
            except ValueError as error:
                raise TableError(f"{self._where(group)}: {error}".rstrip(".")) from None
        for w in weight:
            self._fill_matrix(w[:, None], part, [str(self.sample_weight)], group)

    def _fill_matrix(self, out: Array, part: Any, names: list[str], group: _Group) -> None:
        """Write columns side by side, (rows, columns), all finite."""
        columns = [part.column(name) for name in names]
        for name, column in zip(names, columns, strict=True):
            if column.null_count:
                raise self._unfit(group, name, f"has {column.null_count:,} missing values")
        arrays = [_as_array(column)[:, None] for column in columns]
        for start in range(0, len(out), _BLOCK):
            rows = slice(start, start + _BLOCK)
            with np.errstate(over="ignore", invalid="ignore"):
                np.concatenate([array[rows] for array in arrays], axis=1, out=out[rows], casting="unsafe")
                if out.dtype.kind != "f" or math.isfinite(out[rows].sum()):  # NaN and infinity stay in a sum
                    continue
            for row, j in np.argwhere(~np.isfinite(out[rows])):
                value = columns[j][start + int(row)].as_py()
                beyond = f", too large for {out.dtype}" if math.isfinite(value) else ""
                raise self._unfit(group, names[j], f"has the value {value}{beyond}")

    def _unfit(self, group: _Group, name: str, what: str) -> TableError:
        remedy = "fit a TablePreparation and use .prepared(preparation), which fills gaps, or leave these rows out"
        if name in self._targets:
            remedy = "leave these rows out"
        return TableError(f"{self._where(group)}: column {name!r} {what}: {remedy}")

    @property
    def _target_dtype(self) -> Any:
        """int64 where all targets are whole numbers in all files."""
        from pyarrow import types

        kinds = [file.schema.field(name).type for file in self._files for name in self._targets]
        whole = [types.is_boolean(kind) or (types.is_integer(kind) and not types.is_uint64(kind)) for kind in kinds]
        return np.int64 if all(whole) else self.dtype

    def _check_types(self) -> None:
        """Complain of columns that are no numbers, before anything is read."""
        from pyarrow import types

        names = [] if self._preparation is not None else [*self.features, *self._targets]
        names += [] if self.sample_weight is None else [self.sample_weight]
        numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
        for file in self._files:
            for name in names:
                kind = file.schema.field(name).type
                if not any(is_kind(kind) for is_kind in numeric):
                    raise TableError(
                        f"{file.path}: column {name!r} holds {kind}, and a network takes numbers: fit a "
                        "TablePreparation and use .prepared(preparation), or leave it out"
                    )


# -- files ------------------------------------------------------------------------------------------------------------


def _paths(path: PathLike | Sequence[PathLike]) -> list[str]:
    """The files that paths and patterns name."""
    names = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found: list[str] = []
    for each in names:
        name = os.fspath(each)
        if os.path.isdir(name):
            raise TableError(
                f"ParquetBatches expects files, got a folder: {os.path.join(name, '*.parquet')} names its files"
            )
        matching = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        if not matching:
            what = f"file matches {name!r}" if glob.has_magic(name) else f"such file: {name!r}"
            raise FileNotFoundError(f"ParquetBatches: no {what}")
        found += matching
    if not found:
        raise ValueError("ParquetBatches expects at least one file, got none.")
    return found


def _opened(path: str) -> _File:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError("ParquetBatches needs the pyarrow library: pip install '.[arrow]'") from None
    stamp = _stamp(path)
    try:
        metadata = parquet.read_metadata(path)
        return _File(path, stamp, metadata, metadata.schema.to_arrow_schema())
    except (OSError, ValueError) as error:
        raise TableError(f"ParquetBatches cannot read {path}: {error}") from None


def _stamp(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def _footer(path: str) -> bytes:
    """The end of a Parquet file: its metadata, four bytes for their length, PAR1."""
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return file.read()


def _as_array(column: Any) -> Array:
    """An Arrow column without gaps as numbers."""
    from pyarrow import types

    if types.is_decimal(column.type):
        column = column.cast("float64")
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def _rows(arrays: list[Array], order: IntArray | None, start: int, stop: int) -> Batch:
    """Copies of some rows, in an order."""
    if order is None:
        return tuple(array[start:stop].copy() for array in arrays)
    return tuple(array.take(order[start:stop], axis=0) for array in arrays)
