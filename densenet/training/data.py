"""Mini-batches: rows of the data, shuffled and gathered into arrays that are used again for every batch.

Arrays in the model's dtype are gathered directly. Memory maps larger than memory are read batch by batch and never
copied whole. A stream is any iterable of `(x, y)` or `(x, y, sample_weight)` batches, checked as it comes. `as_data`
takes whatever a caller passes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from densenet._files import CheckpointError
from densenet._types import Array, IntArray
from densenet._validation import (
    as_matrix,
    as_numbers,
    as_weights,
    cast,
    check_finite,
    check_matrix,
    check_weights,
    nonnegative,
    same_rows,
)
from densenet.losses.base import Loss
from densenet.sequential import Sequential

Batch: TypeAlias = tuple[Array, Array, Array | None]
ClassWeight: TypeAlias = Mapping[int, float] | Sequence[float] | str

_WHOLE, _SAMPLE, _BLOCK, _LINE = 64 << 20, 4096, 1 << 20, 1024


def is_mapped(array: Any) -> bool:
    """Whether an array's memory is a memory map."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


class ArrayBatches:
    """Batches of arrays.

    Parameters
    ----------
    x : ndarray (n, n_in)
        Of the model's dtype and C-ordered, or a memory map of any real dtype.
    y : ndarray (n, ...)
        Targets as the loss has prepared them.
    weight : ndarray (n,) or None
    dtype : dtype
        The model's.
    rows : ndarray of int, optional
        The rows that count, by number; all by default. No row is copied.
    """

    def __init__(self, x: Array, y: Array, weight: Array | None, dtype: Any, rows: IntArray | None = None) -> None:
        self.y, self.weight, self.dtype, self.rows = y, weight, dtype, rows
        self.x = x.view(np.ndarray)
        self.direct = (
            self.x.dtype == dtype and self.x.flags.c_contiguous and self.x.flags.aligned and self.x.dtype.isnative
        )

    def __len__(self) -> int:
        return len(self.x if self.rows is None else self.rows)

    @property
    def weights(self) -> Array | None:
        """The weights of the rows that count; None where all weigh 1."""
        return self.weight if self.weight is None or self.rows is None else self.weight[self.rows]

    def subset(self, rows: IntArray) -> ArrayBatches:
        """The same data with only these rows."""
        return ArrayBatches(self.x, self.y, self.weight, self.dtype, rows)

    def fingerprints(self) -> dict[str, str | None]:
        """Fingerprints of x, y and weights: all rows, in the model's dtype."""
        return {
            "x": fingerprint(self.x, self.dtype),
            "y": fingerprint(self.y, self.y.dtype),
            "sample_weight": None if self.weight is None else fingerprint(self.weight, self.dtype),
        }

    def epoch(self, batch_size: int, order: IntArray | None = None, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of one epoch from row `start` on: copies of the rows in `order`, or views without an order."""
        n = len(self)
        batch_size = min(batch_size, n)
        if self.rows is not None:
            order = self.rows if order is None else self.rows[order]
        if order is None:
            for a in range(start, n, batch_size):
                rows = slice(a, a + batch_size)
                x = self.x[rows] if self.direct else cast(self.x[rows], self.dtype)
                yield x, self.y[rows], None if self.weight is None else self.weight[rows]
            return
        take_x, x = self._gather(self.x, batch_size)
        take_y, y = _gatherer(self.y, batch_size)
        take_w, w = (None, None) if self.weight is None else _gatherer(self.weight, batch_size)
        for a in range(start, n, batch_size):
            drawn = order[a : a + batch_size]
            if len(drawn) < batch_size:
                x, y, w = x[: len(drawn)], y[: len(drawn)], None if w is None else w[: len(drawn)]
            take_x(drawn, 0, x, "clip")  # mode "clip" writes into `out` without a detour
            take_y(drawn, 0, y, "clip")
            if take_w is not None:
                take_w(drawn, 0, w, "clip")
            yield x, y, w

    def _gather(self, source: Array, rows: int) -> tuple[Callable[..., Any], Array]:
        if self.direct:
            return _gatherer(source, rows)

        def take(index: IntArray, axis: int, out: Array, mode: str) -> None:
            np.copyto(out, source[index], casting="unsafe")

        return take, np.empty((rows, source.shape[1]), self.dtype)


def _gatherer(source: Array, rows: int) -> tuple[Callable[..., Any], Array]:
    if not source.flags.c_contiguous:
        source = np.ascontiguousarray(source)
    return source.take, np.empty((rows, *source.shape[1:]), source.dtype)


class StreamBatches:
    """Batches from an iterable, each converted and checked when it arrives.

    Parameters
    ----------
    batches : iterable of (x, y) or (x, y, sample_weight)
    prepare : callable or None
        Turns a batch's y, and the number of columns of its x, into prepared targets. None says that the batches are
        ready: (x, y, weight or None), checked and in the model's dtype; x may be sparse rows where the first layer is
        dense.

    An iterable may have the methods ``numbered_epoch(number, start)``, the batches of an epoch from batch `start` on,
    and ``fingerprints()``, as `datasets.ParquetBatches` has: then a fit is resumed in the middle of an epoch, too.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        columns: int | None,
        prepare: Callable[[Any, int], Array] | None,
        dtype: Any,
        who: str,
    ) -> None:
        if not hasattr(batches, "__iter__"):
            raise TypeError(f"{who} expects x and y, or an iterable of (x, y) batches, got {type(batches).__name__}.")
        self.batches: Any = batches
        self.columns, self.prepare, self.dtype, self.who = columns, prepare, dtype, who

    @property
    def once(self) -> bool:
        """Whether the iterable can be read only once."""
        return iter(self.batches) is self.batches

    @property
    def numbered(self) -> bool:
        """Whether its epochs have numbers, and can begin at any batch: `numbered_epoch(number, start)` gives them."""
        return hasattr(self.batches, "numbered_epoch")

    def fingerprints(self) -> dict[str, str | None]:
        """Fingerprints of the batches, if the iterable has any."""
        return self.batches.fingerprints() if self.numbered else {}

    def epoch(
        self, batch_size: int = 0, order: IntArray | None = None, start: int = 0, number: int = 1
    ) -> Generator[Batch, None, None]:
        """The batches of one pass, whatever their sizes; of a numbered one from batch `start` on."""
        batches = self.batches.numbered_epoch(number, start) if self.numbered else self.batches
        if self.prepare is None:
            yield from batches
            return
        for number, batch in enumerate(batches, start if self.numbered else 0):
            where = f"{self.who.rstrip(',')}, batch {number} of the stream,"
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise ValueError(f"{where} expects (x, y) or (x, y, sample_weight), got {type(batch).__name__}.")
            x = as_matrix(batch[0], self.columns, self.dtype, where)
            check_finite(x, where, "x", source=batch[0])
            try:
                y = self.prepare(batch[1], x.shape[1])
            except (ValueError, TypeError) as error:
                raise type(error)(f"{where} {error}") from None
            same_rows(x, y, where)
            weight = as_weights(batch[2], len(x), self.dtype, where) if len(batch) == 3 else None
            yield x, y, weight


def fingerprint(array: Array, dtype: Any) -> str:
    """The SHA-256 of an array's shape and of sums over its numbers in that dtype.

    The bits of the numbers, read as whole numbers and laid out in lines of 1,024, are summed over each line and each
    column of a block of rows. Any one changed number, any two that change places, and any two lines that do, change a
    sum. It costs a quarter of the SHA-256 of all bytes. Above 64 MB the block is of 4,096 rows, spread over all. Memory
    maps are read in blocks. The machine's byte order and width of integers do not matter.
    """
    dtype = np.dtype(dtype)
    dtype = np.dtype("<i8") if dtype.kind in "iu" else dtype.newbyteorder("<")
    word = np.dtype(f"<u{dtype.itemsize}")
    n, width = len(array), math.prod(array.shape[1:]) * dtype.itemsize
    count = n if n * width <= _WHOLE else min(n, _SAMPLE)
    digest = hashlib.sha256(f"{array.shape} {dtype.str}".encode())
    block = max(1, _BLOCK // max(1, width))
    for start in range(0, count, block):
        stop = min(count, start + block)
        rows = slice(start, stop) if count == n else np.arange(start, stop) * (n - 1) // (count - 1)
        with np.errstate(over="ignore"):
            words = np.ascontiguousarray(array[rows], dtype).reshape(-1).view(word)
        end = len(words) // _LINE * _LINE
        for axis in (0, 1):
            digest.update(np.add.reduce(words[:end].reshape(-1, _LINE), axis, word).data)
        digest.update(words[end:].data)
    return digest.hexdigest()


def rows_of(x: Any, columns: int | None, dtype: Any, who: str) -> Array:
    """x as (n, columns) finite numbers for `ArrayBatches`: converted to the dtype; a memory map stays as it is."""
    array = as_numbers(x, who, "x")
    if is_mapped(array):
        check_matrix(array, columns, who)
        check_finite(array, who, "x")
        return array
    made = as_matrix(array, columns, dtype, who)
    check_finite(made, who, "x", source=array)
    return made


def split(n: int, share: float, labels: Array | None, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Random row numbers for training and for validation; with `labels`, each class keeps its share."""
    count = max(1, round(n * share))
    if count >= n:
        raise ValueError(f"fit expects validation_split to leave rows to train on, got {share} of {n}.")
    order = rng.permutation(n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
        # every n/count-th row of the rows sorted by class: each class gets its share, give or take one
        order = np.concatenate(
            [order[(at := ((np.arange(count) + rng.random()) * n / count).astype(int))], np.delete(order, at)]
        )
    return np.sort(order[count:]), np.sort(order[:count])


# -- what people pass ------------------------------------------------------------------------------------------------


class FitData(NamedTuple):
    """What a fit trains on and validates on, and the rows that `validation_split` drew."""

    train: ArrayBatches | StreamBatches
    validation: ArrayBatches | StreamBatches | None = None
    train_rows: IntArray | None = None
    validation_rows: IntArray | None = None

    def fingerprints(self) -> dict[str, str | None]:
        """Fingerprints by name; most streams have none, and bring other batches in every epoch."""
        held_out = self.validation if self.validation_rows is None else None  # else they are rows of the same arrays
        named = (("", self.train), ("validation ", held_out))
        return {
            prefix + name: value
            for prefix, data in named
            if data is not None
            for name, value in data.fingerprints().items()
        }


def as_data(
    x: Any, y: Any, sample_weight: Any, *, model: Sequential, loss: Loss, who: str
) -> ArrayBatches | StreamBatches:
    """x, y and weights, or an iterable of batches: checked, and converted to the model's dtype.

    Raises
    ------
    ValueError, TypeError
        If shapes, lengths or values do not fit the model and the loss.
    """
    if isinstance(x, StreamBatches):
        return x
    if y is None:
        if isinstance(x, np.ndarray) or hasattr(x, "to_numpy"):
            raise ValueError(f"{who} expects targets: y is None.")
        if sample_weight is not None:
            raise ValueError(f"{who} expects an iterable to bring its weights as (x, y, sample_weight) batches.")
        return StreamBatches(x, model.n_in, lambda t, columns: as_targets(t, columns, model, loss), model.dtype, who)
    rows = rows_of(x, model.n_in, model.dtype, who)
    targets = as_targets(y, rows.shape[1], model, loss)
    same_rows(rows, targets, who)
    return ArrayBatches(rows, targets, as_weights(sample_weight, len(rows), model.dtype, who), model.dtype)


def as_targets(y: Any, columns: int, model: Sequential, loss: Loss) -> Array:
    """Targets as the loss takes them, for a model whose input has `columns` columns."""
    return loss.prepare(y, model.n_out or model.output_width(columns), model.dtype)


def fit_data(
    model: Sequential,
    loss: Loss,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: ClassWeight | None,
    validation_data: Any,
    validation_split: float,
    rng: np.random.Generator,
    drawn: tuple[IntArray, IntArray] | None = None,
) -> FitData:
    """The data to train on and to validate on; `drawn` are the rows of a checkpoint's split.

    Raises
    ------
    ValueError, TypeError
        If an argument is of the wrong kind, shape or range, or two of them exclude each other.
    """
    if validation_data is not None and validation_split:
        raise ValueError("fit expects validation_data or validation_split, got both.")
    validation = None if validation_data is None else _validation(validation_data, model, loss)
    train = as_data(x, y, sample_weight, model=model, loss=loss, who="fit")
    if isinstance(train, StreamBatches):
        if validation_split or class_weight is not None:
            raise ValueError(
                "fit cannot take validation_split or class_weight with an iterable of batches: pass arrays, or "
                "weigh the batches."
            )
        return FitData(train, validation)
    if class_weight is not None:
        train.weight = _class_weighted(train, class_weight, model, loss)
    if validation_split:
        data = _split(train, validation_split, loss, rng, drawn)
    else:
        data = FitData(train, validation)
    for rows, what in (
        (data.train, "training row: there is nothing to learn from"),
        (data.validation, "validation row"),
    ):
        if isinstance(rows, ArrayBatches) and (weights := rows.weights) is not None and not weights.any():
            raise ValueError(f"fit got weights of zero for every {what}.")
    return data


def _validation(data: Any, model: Sequential, loss: Loss) -> ArrayBatches | StreamBatches:
    who = "fit, validation_data,"
    pair = isinstance(data, list) and len(data) in (2, 3) and all(hasattr(part, "__array__") for part in data)
    if not isinstance(data, tuple) and not pair:
        return as_data(data, None, None, model=model, loss=loss, who=who)
    if len(data) not in (2, 3):
        raise ValueError(f"fit expects validation_data as (x, y) or (x, y, sample_weight), got {len(data)} entries.")
    return as_data(data[0], data[1], data[2] if len(data) == 3 else None, model=model, loss=loss, who=who)


def _split(
    data: ArrayBatches, share: float, loss: Loss, rng: np.random.Generator, drawn: tuple[IntArray, IntArray] | None
) -> FitData:
    labels = None if loss.task == "regression" or _is_multilabel(loss, data.y) else loss.labels(data.y)
    train, held_out = drawn or split(len(data), share, labels, rng)
    if len(train) + len(held_out) != len(data):
        raise CheckpointError(
            f"fit, to resume, expects the {len(train) + len(held_out)} rows of the checkpoint's run, got {len(data)}."
        )
    if drawn is not None and not np.array_equal(np.sort(np.concatenate(drawn)), np.arange(len(data))):
        raise CheckpointError(
            "fit, to resume, expects the checkpoint's split to name each row once, to train or to validate."
        )
    return FitData(data.subset(train), data.subset(held_out), train, held_out)


def _is_multilabel(loss: Loss, y: Array) -> bool:
    return loss.task == "binary" and y.ndim == 2 and y.shape[1] > 1


def _class_weighted(data: ArrayBatches, class_weight: ClassWeight, model: Sequential, loss: Loss) -> Array:
    """The weights of the rows times the weights of their classes."""
    if loss.task == "regression" or _is_multilabel(loss, data.y):
        raise ValueError(f"fit: class_weight needs a loss for classes, got {loss!r}.")
    labels = loss.labels(data.y)
    classes = 2 if loss.task == "binary" else model.output_width(data.x.shape[1])
    table = class_table(class_weight, labels, classes, "fit")
    weight = table[labels] if data.weight is None else table[labels] * data.weight.astype(np.float64)
    made = cast(weight, data.dtype)
    check_weights(made, weight, "fit", "class_weight" + ("" if data.weight is None else " times sample_weight"))
    return made


def plain_class_weight(class_weight: ClassWeight | None) -> dict[int, float] | str | None:
    """Class weights in one form, so that equal ones compare equal; `class_table` has checked them."""
    if class_weight is None or isinstance(class_weight, str):
        return class_weight
    pairs = class_weight.items() if isinstance(class_weight, Mapping) else enumerate(class_weight)
    return {int(label): float(weight) for label, weight in sorted(pairs) if weight != 1}


def class_table(class_weight: ClassWeight, labels: IntArray, classes: int, who: str) -> Array:
    """The weight of every class (classes,); "balanced" is n / (classes that occur * count).

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or belongs to a class that cannot exist.
    TypeError
        If it is neither a dict, a sequence with a number for each class, nor "balanced".
    """
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f'{who} expects class_weight to be a dict, a list or "balanced", got {class_weight!r}.')
        counts = np.bincount(labels, minlength=classes)
        return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if isinstance(class_weight, (list, tuple, np.ndarray)):
        if len(class_weight) != classes:
            raise ValueError(f"{who} expects class_weight for {classes} classes, got {len(class_weight)} of them.")
        named: Mapping[Any, Any] = dict(enumerate(class_weight))
    elif isinstance(class_weight, Mapping):
        named = class_weight
    else:
        raise TypeError(f'{who} expects class_weight to be a dict, a list or "balanced", got {class_weight!r}.')
    table = np.ones(classes)
    for label, value in named.items():
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < classes:
            raise ValueError(
                f"{who} expects class_weight to name class numbers from 0 to {classes - 1}, got {label!r}."
            )
        table[label] = nonnegative(value, who, f"class_weight[{label}]")
    return table
