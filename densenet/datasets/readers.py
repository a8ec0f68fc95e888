"""Reading one's own files: tables as CSV, images and labels in the IDX format of the MNIST files.

Both say what is wrong and where. Files are not trusted: a header that promises gigabytes is no reason to allocate them.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from densenet._files import too_sparse
from densenet.tables import Table, listed, parse_numbers

PathLike: TypeAlias = str | os.PathLike[str]

_MISSING = frozenset({"", "na", "nan", "null", "none", "?", "n/a"})
_LONGEST_MISSING = max(map(len, _MISSING))
_DELIMITERS = (",", ";", "\t")
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 20

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


# -- CSV ------------------------------------------------------------------------------------------------------------


def read_csv(
    path: PathLike,
    target: str | int | None = None,
    *,
    delimiter: str | None = None,
    decimal: Literal[".", ","] = ".",
    text: str | Collection[str] = (),
) -> Table:
    """A table from a CSV file with a header line.

    A column is numeric if every value in it is a number, else text. Values are stripped of blanks around them; an empty
    one, NA, N/A, NaN, null, None and ? (in any case) are missing. A column without a name is called by its place, such
    as ``column 1``; empty lines are skipped.

    Parameters
    ----------
    path : str or path-like
        UTF-8, with or without a byte order mark.
    target : str or int, optional
        The column to be predicted, by name or by place (0 is the first, -1 the last).
    delimiter : str, optional
        One character; by default comma, semicolon or tab, whichever splits the first lines evenly.
    decimal : {".", ","}, default "."
        The decimal sign.
    text : str or collection of str, default ()
        Columns to keep as text although they look like numbers: postal codes, numbers that name things.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, not UTF-8, has no header or no rows, two columns of one name, a line with more or fewer
        values than the header, a quote that does not end, or an infinite number; if there is no column `target` or no
        column of `text`. File, line and column are named.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from densenet import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "flats.csv")
    ...     _ = path.write_text("area;city;rent\\n50;Bonn;600\\n?;Trier;700\\n", encoding="utf-8")
    ...     table = datasets.read_csv(path, target="rent")
    >>> table
    Table(2 rows: area numeric, city text, rent numeric; target 'rent')
    >>> table["area"].tolist()
    [50.0, nan]
    """
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"read_csv expects delimiter to be one character, got {delimiter!r}.")
    if decimal not in (".", ","):
        raise ValueError(f"read_csv expects decimal to be '.' or ',', got {decimal!r}.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            sample = file.read(_SAMPLE)
            file.seek(0)
            names, rows, lines = _read_rows(file, delimiter or _find_delimiter(sample), path)
    except UnicodeDecodeError as error:
        raise ValueError(f"read_csv expects UTF-8, but {path} is not ({error.reason}): save it as UTF-8.") from None
    target = _find_target(names, target, path)
    kept = {text} if isinstance(text, str) else set(text)
    for name in kept:
        if name not in names:
            raise ValueError(f"read_csv finds no column {name!r} in {path}; its columns are {listed(names)}.")
    columns: dict[str, Any] = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        cells = [None if len(value) <= _LONGEST_MISSING and value.lower() in _MISSING else value for value in values]
        numbers = None if name in kept else parse_numbers(_with_points(cells) if decimal == "," else cells)
        if numbers is not None and np.isinf(numbers).any():
            row = int(np.flatnonzero(np.isinf(numbers))[0])
            raise ValueError(
                f"read_csv expects finite numbers, got {cells[row]} in {path}, line {lines[row]}, column {name!r}."
            )
        columns[name] = cells if numbers is None else numbers
    return Table(columns, target)


def _read_rows(file: Any, delimiter: str, path: PathLike) -> tuple[list[str], list[list[str]], list[int]]:
    """Column names, the rows below, and the line that each row begins at."""
    records = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        for record in records:
            values = list(map(str.strip, record))
            if not any(values) and len(values) < 2:
                pass
            elif not names:
                names = _column_names(values, path)
            elif len(values) != len(names):
                raise ValueError(
                    f"read_csv expects {len(names)} values in every line, as in the header, got {len(values)} in "
                    f"{path}, line {line}."
                )
            else:
                rows.append(values)
                lines.append(line)
            line = records.line_num + 1
    except csv.Error as error:
        raise ValueError(f"read_csv cannot read {path}, line {line}: {error}.") from None
    if not names:
        raise ValueError(f"read_csv expects a header line, but {path} is empty.")
    if not rows:
        raise ValueError(f"read_csv expects rows below the header, but {path} has none.")
    return names, rows, lines


def _column_names(values: list[str], path: PathLike) -> list[str]:
    names = [value or f"column {place}" for place, value in enumerate(values, start=1)]
    if parse_numbers(values) is not None:
        raise ValueError(f"read_csv expects a header line with names, but the first line of {path} holds numbers only.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"read_csv expects every column to have a name of its own, but {path} has {listed(twice)} twice."
        )
    return names


def _find_target(names: list[str], target: str | int | None, path: PathLike) -> str | None:
    if target is None or (isinstance(target, str) and target in names):
        return target
    if isinstance(target, int) and not isinstance(target, bool) and -len(names) <= target < len(names):
        return names[target]
    raise ValueError(f"read_csv finds no target column {target!r} in {path}; its columns are {listed(names)}.")


def _find_delimiter(sample: str) -> str:
    """The delimiter that splits the first records into equally many values, and into most."""

    def evenness(delimiter: str) -> tuple[bool, int]:
        records = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True)
        widths = [len(record) for record in islice(_untroubled(records), _SAMPLE_ROWS) if record]
        if len(sample) == _SAMPLE and len(widths) > 1:
            widths.pop()  # the sample may end in the middle of this record
        return len(set(widths)) == 1 and widths[0] > 1, widths[0] if widths else 0

    return max(_DELIMITERS, key=evenness)


def _untroubled(records: Iterator[list[str]]) -> Iterator[list[str]]:
    """Records up to the first that breaks the rules of the format: reading the file itself will report it."""
    while True:
        try:
            yield next(records)
        except (StopIteration, csv.Error):
            return


def _with_points(cells: list[str | None]) -> list[str | None]:
    """Numbers with a decimal comma as Python writes them; a point in them makes them no numbers."""
    return [None if cell is None else "not a number" if "." in cell else cell.replace(",", ".") for cell in cells]


# -- IDX ------------------------------------------------------------------------------------------------------------


def read_idx(path: PathLike) -> NDArray[Any]:
    """An array from an IDX file, the format of the MNIST files, plain or compressed by gzip.

    The file is 00 00, a type code, the number of axes, a big-endian uint32 for each axis' length, and the values, all
    big-endian, the last axis running fastest. Type codes: 08 uint8, 09 int8, 0b int16, 0c int32, 0d float32, 0e
    float64.

    Parameters
    ----------
    path : str or path-like
        Whether it is compressed is seen in its first bytes.

    Returns
    -------
    ndarray
        Of the declared shape and type in native byte order, such as (60000, 28, 28) uint8.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it does not begin like an IDX file, an axis has length 0, it holds fewer or more bytes than its header
        declares, or the compression is damaged. A header alone never makes it allocate memory: a compressed file that
        would unpack to more than 64 times its size and 64 MiB is refused, as is one that is nearly all holes.

    References
    ----------
    .. [1] LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998), section on file formats.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from densenet import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels.idx")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     datasets.read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
        size = os.fstat(plain.fileno()).st_size
        plain.seek(0)
        if too_sparse(plain):
            raise ValueError(f"read_idx expects a file with data, but {path} is nearly all holes.")
        if not compressed:
            return _read_idx(plain, path, size)
        try:
            with gzip.GzipFile(fileobj=plain) as unpacked:
                return _read_idx(cast("BinaryIO", unpacked), path, None, (64 << 20) + 64 * size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"read_idx cannot unpack {path}: {error}") from None


def _read_idx(file: BinaryIO, path: PathLike, size: int | None, most: int | None = None) -> NDArray[Any]:
    """The array in an open file; `size` is what the file holds in bytes, None where only reading tells.

    Of a compressed file no more than `most` bytes are read.
    """
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES or not 1 <= start[3] <= 32:
        raise ValueError(
            f"read_idx expects a file that begins with 00 00, a type code (08, 09, 0b to 0e) and 1 to 32 axes, but "
            f"{path} begins with {start.hex(' ') or 'nothing'}."
        )
    lengths = file.read(4 * start[3])
    if len(lengths) < 4 * start[3]:
        raise ValueError(f"read_idx expects {start[3]} axis lengths in {path}, but the file ends among them.")
    dtype = np.dtype(_IDX_TYPES[start[2]])
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    if 0 in shape:
        raise ValueError(f"read_idx expects at least one value, but {path} declares the shape {shape}.")
    declared = math.prod(shape) * dtype.itemsize
    header = len(start) + len(lengths)
    content = bytearray()
    if size is None or size - header == declared:
        while len(content) <= declared and (chunk := file.read(min(_CHUNK, declared + 1 - len(content)))):
            content += chunk
            if most is not None and len(content) > most:
                raise ValueError(
                    f"read_idx unpacks at most 64 times a compressed file's size and 64 MiB, and {path} holds more: "
                    "if you trust it, unpack it with gunzip first."
                )
    held = len(content) if size is None else size - header
    if held != declared:
        more = "at least " if size is None and held > declared else ""
        raise ValueError(
            f"read_idx expects {declared} bytes of values for the shape {shape} in {path}, but it holds {more}{held}."
        )
    values: NDArray[Any] = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)
