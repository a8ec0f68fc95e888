"""Reading one's own files: tables as CSV or Parquet, images and labels in the IDX format of the MNIST files.

Both say what is wrong and where. Files are not trusted: a header that promises gigabytes is no reason to allocate them.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Collection
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from densenet._files import too_sparse
from densenet.tables import (
    Cells,
    Reading,
    Skip,
    Table,
    TableError,
    dropped_target,
    is_parquet,
    named_columns,
    named_target,
    read_cells,
    read_columns,
)

PathLike: TypeAlias = str | os.PathLike[str]

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


# -- tables ---------------------------------------------------------------------------------------------------------


def read_csv(
    path: PathLike,
    target: str | int | None = None,
    *,
    delimiter: str | None = None,
    decimal: Literal[".", ","] | None = None,
    encoding: str | None = None,
    header: bool = True,
    skip: Skip = (),
    dayfirst: bool | None = None,
    text: str | Collection[str] = (),
    numeric: str | Collection[str] = (),
    drop: str | Collection[str] = (),
    like: Reading | None = None,
) -> Table:
    """A table from a text file with a header line, or from a Parquet file.

    A column is numeric if all its filled cells are numbers that have one reading: plain, with decimal commas or grouped
    thousands, with one unit, currency or percent sign in every cell, in brackets where negative. It holds dates if all
    are dates in one order of day, month and year. Times and durations are numbers of hours. Other columns are text.
    Where at least half of the cells are numbers or dates and no one reading fits all, an error lists all such columns
    with a line, a cell and the arguments that settle them. `Table.said` tells how the cells were read where that is not
    plain.

    Missing are, in any case: in all columns empty cells, ``\\N``, #N/A, <NA>, NaN and NULL; in columns of numbers and
    dates also NA, N/A, None, "-", "." and "?".

    Parameters
    ----------
    path : str or path-like
        UTF-8, UTF-16 or Windows-1252 (Latin-1), plain or in .gz, .bz2, .xz or a .zip of one file; "-" is standard
        input. Parquet files need the extra ``[dataframe]``.
    target : str or int, optional
        The column to be predicted, by name or by place (0 is the first, -1 the last).
    delimiter : str, optional
        One character; by default comma, semicolon, tab, bar or blanks, whichever splits the first lines evenly. A first
        line ``sep=;`` names it, too. " " stands for any run of blanks and tabs.
    decimal : {".", ","}, optional
        The decimal sign; by default what the columns show.
    encoding : str, optional
        By default recognised.
    header : bool, default True
        Whether the first line names the columns; without one they are x1, x2, and so on.
    skip : int, "ragged", or collection of them, default ()
        Lines of the file to leave out, from 1; "ragged" are all rows with more or fewer cells than the header.
    dayfirst : bool, optional
        Settles "03/04/2020"; by default an ISO date or a component above 12 does.
    text : str or collection of str, default ()
        Columns to keep as text although they look like numbers: postal codes, numbers that name things.
    numeric : str or collection of str, default ()
        Columns in which cells that are no numbers (no dates, where those are more) are missing.
    drop : str or collection of str, default ()
        Columns to leave out.
    like : Reading, optional
        The columns are read as the file was that a model learned from: `TablePreparation.reading`.

    Returns
    -------
    Table
        Columns without a name are called by their place, such as ``column 1``; the second of one name "a" is "a (2)".

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TableError
        A ValueError: if columns have no one reading, the file has no header or no rows, a line with more or fewer
        values than the header, or a quote that does not end; if it cannot be decoded or unpacked; if there is no column
        of such a name. File, line, column and remedy are named.
    ImportError
        For Parquet without the extra.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from densenet import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "flats.csv")
    ...     _ = path.write_text("area;city;rent\\n50,5;Bonn;600\\n?;Trier;700\\n", encoding="utf-8")
    ...     table = datasets.read_csv(path, target="rent")
    >>> table
    Table(2 rows: area numeric, city text, rent numeric; target 'rent')
    >>> table["area"].tolist()
    [50.5, nan]
    >>> table.said
    ["'area': decimal commas: '50,5' is 50.5", "1 cell '?' read as missing ('area')"]
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"read_csv expects decimal to be '.' or ',', got {decimal!r}.")
    if is_parquet(path):
        return _read_parquet(path, target, text, numeric, drop)
    known_header = header if like is None else like.header
    cells = read_cells(path, delimiter=delimiter, encoding=encoding, header=header and known_header, skip=skip)
    return read_columns(
        cells, target, decimal=decimal, dayfirst=dayfirst, text=text, numeric=numeric, drop=drop, like=like
    )


def _read_parquet(path: PathLike, target: Any, text: Any, numeric: Any, drop: Any) -> Table:
    """A table from a Parquet file, whose columns have kinds of their own."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError("Parquet files need the pyarrow library: pip install '.[dataframe]'") from None
    try:
        frame = parquet.read_table(path)
    except (ValueError, OSError) as error:
        raise TableError(f"read_csv cannot read {os.fspath(path)}: {str(error).rstrip('.')}") from None
    if text or numeric:
        reason = "read_csv finds the kinds of columns in a Parquet file: text and numeric are for text files"
        raise TableError(reason, {"text": None, "numeric": None})
    names = Cells(os.fspath(path), list(frame.column_names), [], [])
    goal, dropped = named_target(names, target), named_columns(names, drop, "drop")
    if goal is not None and goal in dropped:
        raise dropped_target(goal, dropped)
    frame = frame.drop_columns(dropped)
    try:
        return Table(frame, goal)
    except (TypeError, ValueError) as error:
        odd = [name for name in frame.column_names if not _is_readable(frame.select([name]))]
        raise TableError(f"{names.path}: {str(error).rstrip('.')}", {"drop": [*dropped, *odd]} if odd else {}) from None


def _is_readable(frame: Any) -> bool:
    """Whether a table can be made of a frame."""
    try:
        Table(frame)
    except (TypeError, ValueError):
        return False
    return True


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
