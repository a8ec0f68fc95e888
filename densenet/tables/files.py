"""A file's bytes as rows of cells: compression, encoding, delimiter, header. What the cells mean is not asked here."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import lzma
import os
import re
import shlex
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, BinaryIO, TypeAlias

from densenet.tables.cells import TEXT_MISSING, is_missing, parse_numbers
from densenet.tables.messages import TableError, listed, shown_cell

PathLike: TypeAlias = str | os.PathLike[str]

DELIMITERS = (",", ";", "\t", "|", " ")
"""Tried in this order; a blank stands for any run of blanks and tabs."""

_SAMPLE = 1 << 16
_SAMPLE_ROWS = 50
_CHUNK = 1 << 20
_LONGEST_CELL = 1 << 26
_MOST_UNPACKED = 200
_ALWAYS_UNPACKED = 1 << 24
_MOST_MEMORY = 1 << 28


@dataclass
class Cells:
    """The rows of a file, before anything is known of their meaning.

    Attributes
    ----------
    path : str
        As messages name it.
    names : list of str
    columns : list of list of str
        The stripped cells of every column.
    lines : list of int
        The line of the file that each row begins at, from 1.
    said : list of str
        What was settled on the way: encoding, names, rows left out.
    header : bool
        Whether the names were in the file.
    delimiter : str
        What stood between the cells.
    """

    path: str
    names: list[str]
    columns: list[list[str]]
    lines: list[int]
    said: list[str] = field(default_factory=list)
    header: bool = True
    delimiter: str = ","

    def column(self, name: str) -> list[str]:
        """The cells of a column as the file has them."""
        if name not in self.names:
            raise TableError(
                f"there is no column {shown_cell(name)} in {self.path}; its columns are {listed(self.names)}"
            )
        return self.columns[self.names.index(name)]


def is_parquet(path: PathLike) -> bool:
    """Whether a file begins as Parquet files do."""
    if os.fspath(path) == "-" or not os.path.isfile(path):  # what is read from a pipe is gone
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"


def read_cells(
    path: PathLike, *, delimiter: str | None = None, encoding: str | None = None, header: bool = True
) -> Cells:
    """The cells of a text table: plain or in .gz, .zip or .xz; "-" is standard input.

    Parameters
    ----------
    path : str or path-like
    delimiter : str, optional
        One character; by default the one of `DELIMITERS` that splits the first lines evenly. A blank is any run of
        blanks and tabs.
    encoding : str, optional
        By default what the byte order mark says, else UTF-8, UTF-16 or, where it is none of these, Windows-1252.
    header : bool, default True
        Whether the first line holds the names; without one they are x1, x2, and so on.

    Raises
    ------
    TableError, OSError

    Examples
    --------
    >>> from densenet.tables import read_cells
    >>> path = getfixture("tmp_path") / "flats.txt"
    >>> _ = path.write_text("area  rent\\n 50   600\\n 70   700\\n")
    >>> cells = read_cells(path)
    >>> cells.names, cells.columns, cells.lines
    (['area', 'rent'], [['50', '70'], ['600', '700']], [2, 3])
    """
    name = os.fspath(path)
    shown = "standard input" if name == "-" else name
    data = _unpacked(_bytes(path), shown)
    code, said = _find_encoding(data, encoding, shown)
    sample = _text(data, code).read(_SAMPLE)
    first = re.match(r"sep=(.)\r?\n", sample)
    if first:
        delimiter = delimiter or first[1]  # a line of its own that Excel reads and writes
    chosen = delimiter or _find_delimiter(sample[first.end() if first else 0 :])
    records = _records(_text(data, code), chosen, shown)
    if first:
        next(records)
    rows, lines = [], []
    for line, record in records:
        if len(record) > 1 or record[0]:
            rows.append(record)
            lines.append(line)
    if not rows:
        raise TableError(f"read_csv expects a header line, but {shown} is empty")
    blank = 0
    while len(rows) > header + 1 and not any(rows[-1]):
        rows.pop()
        lines.pop()
        blank += 1
    if blank:
        said.append(f"{blank:,} {'rows' if blank > 1 else 'row'} of delimiters only at the end left out")
    names = rows.pop(0) if header else []
    start = lines.pop(0) if header else lines[0]
    if header and parse_numbers(names) is not None and any(names):
        raise TableError(
            f"read_csv expects a header line with names, but the first line of {shown} holds numbers only",
            {"header": False},
        )
    if not rows:
        raise TableError(f"read_csv expects rows below the header, but {shown} has none")
    names, shifted = _fit_header(names, rows, header, chosen)
    width = len(names)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            where = "as in the header" if header else f"as in line {start}"
            raise TableError(
                f"read_csv expects {width} values in every line, {where}, got {len(row)} in {shown}, line {line}"
            )
    columns = [list(column) for column in zip(*rows, strict=True)]
    kept = [k for k, column in enumerate(columns) if names[k] or any(column)]  # nameless and empty: a last delimiter
    named, more = _own_names([(k, names[k]) for k in kept])
    more += shifted
    if header and sum(parse_numbers([n]) is not None for n in names if n) * 2 > len(names):
        more.append("most column names are numbers: if the first line is a row, add --no-header")
    return Cells(shown, named, [columns[k] for k in kept], lines, said + more, header, chosen)


# -- bytes ----------------------------------------------------------------------------------------------------------


def _bytes(path: PathLike) -> bytes:
    if os.fspath(path) == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()


def _unpacked(data: bytes, path: str) -> bytes:
    """The content of .gz, .xz and .zip, known by their first bytes, in pieces up to a bound."""
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                return _bounded(file, len(data), path)  # type: ignore[arg-type]
        if data[:6] == b"\xfd7zXZ\0":
            return _unpacked_xz(data, path)
        if data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_only_member(archive, path)) as member:
                return _bounded(member, len(data), path)  # type: ignore[arg-type]
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise TableError(f"read_csv cannot unpack {path}: {error}") from None
    except (RuntimeError, NotImplementedError) as error:  # an encrypted member, or a method that zipfile lacks
        raise TableError(f"read_csv cannot unpack {path}: {error}") from None
    return data


def _bounded(file: BinaryIO, packed: int, path: str) -> bytes:
    most = _most(packed)
    content = bytearray()
    while chunk := file.read(_CHUNK):
        content += chunk
        if len(content) > most:
            raise _bomb(packed, path)
    return bytes(content)


def _most(packed: int) -> int:
    return max(_ALWAYS_UNPACKED, _MOST_UNPACKED * packed)


def _bomb(packed: int, path: str) -> TableError:
    return TableError(
        f"read_csv stops unpacking {path}: its {packed:,} bytes hold more than {_most(packed):,}; unpack it yourself "
        "if you trust it"
    )


def _unpacked_xz(data: bytes, path: str) -> bytes:
    content, rest = bytearray(), data
    while rest:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
        piece = rest
        while not unpacker.eof:
            found = unpacker.decompress(piece, _CHUNK)
            content += found
            piece = b""
            if len(content) > _most(len(data)):
                raise _bomb(len(data), path)
            if not found and unpacker.needs_input:
                raise EOFError("it is cut short")
        rest = unpacker.unused_data.lstrip(b"\0")  # streams may be padded
    return bytes(content)


def _only_member(archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    names = archive.namelist()
    if "xl/workbook.xml" in names or "content.xml" in names:
        raise TableError(f"{path} is a workbook of a spreadsheet: save the sheet as CSV there")
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX")
        and not info.filename.split("/")[-1].startswith(".")
    ]
    if len(members) != 1:
        inside = listed(info.filename for info in members) or "nothing"
        first = members[0].filename if members else "FILE"
        way = f"unzip -p {shlex.quote(path)} {shlex.quote(first)} > {shlex.quote(os.path.basename(first))}"
        raise TableError(f"read_csv expects one file in {path}, got {inside}; take out the one to read: {way}")
    return members[0]


# -- encoding -------------------------------------------------------------------------------------------------------

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _find_encoding(data: bytes, encoding: str | None, path: str) -> tuple[str, list[str]]:
    """The encoding that all of the bytes are valid in, and what is to be said of it."""
    if encoding is not None:
        try:
            name = codecs.lookup(encoding).name
        except LookupError:
            raise TableError(f"read_csv knows no encoding {encoding!r}", _recognised(data, path)) from None
        name = "utf-8-sig" if name == "utf-8" else name  # a byte order mark is none of the text
        if (error := _invalid(data, name)) is not None:
            raise TableError(f"{path} is not {encoding} ({error})", _recognised(data, path))
        return name, []
    found = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if found is None and b"\0" in data[:_SAMPLE]:
        start = data[: _SAMPLE & ~1]
        even, odd = start[::2].count(0), start[1::2].count(0)
        if max(even, odd) < 0.3 * len(start) / 2 or min(even, odd) > 0.1 * len(start) / 2:
            raise TableError(f"{path} is no text: it holds zero bytes")
        found = "utf-16-be" if even > odd else "utf-16-le"
    error = _invalid(data, found or "utf-8")
    if error is None:
        return found or "utf-8", [] if found in (None, "utf-8-sig") else [f"read as {found}"]
    if found is not None:
        raise TableError(f"{path} begins as {found} and is not ({error})")
    # One letter of every few is above 127 in a Western text; in others they stand side by side.
    high = [byte > 127 for byte in data[:_SAMPLE]]
    beside = sum(a and b for a, b in pairwise(high))
    if 4 * beside > sum(high) + 4 or _invalid(data, "cp1252") is not None:
        raise TableError(f"{path} is not UTF-8, nor clearly Windows-1252: name its encoding", {"encoding": "latin-1"})
    return "cp1252", ["read as Windows-1252 (Latin-1), since it is not UTF-8"]


def _recognised(data: bytes, path: str) -> dict[str, Any]:
    """The option that names the encoding that the bytes show."""
    try:
        return {"encoding": _find_encoding(data, None, path)[0].removesuffix("-sig")}
    except TableError as error:
        return error.remedy


def _invalid(data: bytes, encoding: str) -> str | None:
    """Why the bytes are not in this encoding, looked at in pieces; None if they are."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        for start in range(0, len(data), _CHUNK):
            decoder.decode(data[start : start + _CHUNK])
        decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        return error.reason
    except (UnicodeError, LookupError, TypeError) as error:  # an encoding that is none of text
        return str(error)[:100]
    return None


# -- records --------------------------------------------------------------------------------------------------------


def _text(data: bytes, encoding: str) -> io.TextIOWrapper:
    """The bytes as text, decoded as it is read; lines end as in the file."""
    return io.TextIOWrapper(io.BytesIO(data), encoding, newline="")


def _records(text: Iterable[str], delimiter: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """Stripped records and the line at which each begins."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    reader = _reader(text, delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            yield line, list(map(str.strip, record)) or [""]
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"read_csv cannot read {path}, line {line}: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _reader(lines: Iterable[str], delimiter: str, strict: bool = False) -> Any:
    if delimiter == " ":
        lines = (line.replace("\t", " ").rstrip() + "\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)


def _find_delimiter(sample: str) -> str:
    """The delimiter that splits most of the first records as it splits the header, and into most."""
    whole = len(sample) < _SAMPLE

    def evenness(delimiter: str) -> tuple[bool, float, int]:
        records = [
            record
            for record in islice(_untroubled(_reader(io.StringIO(sample, newline=""), delimiter)), _SAMPLE_ROWS)
            if record and (len(record) > 1 or record[0].strip())
        ]
        if not whole and len(records) > 1:
            records.pop()  # the sample may end in the middle of this record
        if not records:
            return False, 0.0, 0
        widths = [_width(record) for record in records]
        full = [len(record) for record in records]
        usual = Counter(full[1:] or full).most_common(1)[0][0]
        below = list(zip(widths, full, strict=True))[1:]
        fits = sum(w <= usual <= f for w, f in below) / len(below) if below else 1.0
        head = usual == full[0] or widths[0] == usual or (full[0] > 1 and usual == full[0] + 1)
        split = usual > 1 and head and fits > 0.8
        if split:
            return True, round(fits, 1), usual
        alike = 2 * full.count(full[0]) > len(full) and delimiter != " "
        return False, 0.0, full[0] if alike else 0  # reading the file itself will report the lines that differ

    return max(DELIMITERS, key=evenness)


def _width(record: list[str]) -> int:
    """Cells up to the last that is not empty."""
    return max((k for k, cell in enumerate(record, start=1) if cell.strip()), default=0)


def _untroubled(records: Iterator[list[str]]) -> Iterator[list[str]]:
    """Records up to the first that breaks the rules of the format: reading the file itself will report it."""
    while True:
        try:
            yield next(records)
        except (StopIteration, csv.Error):
            return


# -- header ---------------------------------------------------------------------------------------------------------


def _fit_header(names: list[str], rows: list[list[str]], header: bool, delimiter: str) -> tuple[list[str], list[str]]:
    """Names for the width of the rows, where header and rows differ in one of the ways that programs write."""
    widths = {len(row) for row in rows}
    if not header:
        return [f"x{place}" for place in range(1, len(rows[0]) + 1)], []
    if len(widths) == 1:
        (width,) = widths
        if width < len(names) and not any(names[width:]):
            return names[:width], []  # the header ends in a delimiter
        if width == len(names) + 1:
            if not any(row[-1] for row in rows):
                return [*names, ""], []  # the rows end in a delimiter
            if delimiter in " \t" and len(names) > 1 and len(rows) > 1 and _all_different(row[0] for row in rows):
                # R writes the names of rows without a name for their column.
                return ["row", *names], [
                    "the header has one name fewer than the rows: the first column is called 'row'"
                ]
    return names, []


def _all_different(cells: Iterator[str]) -> bool:
    seen: set[str] = set()
    for cell in cells:
        if cell in seen or is_missing(cell, TEXT_MISSING):
            return False
        seen.add(cell)
    return True


def _own_names(names: list[tuple[int, str]]) -> tuple[list[str], list[str]]:
    """A name of its own for every column, and what is to be said of it."""
    taken = {name for _, name in names}
    made: list[str] = []
    twice: dict[str, list[str]] = {}
    seen: set[str] = set()
    for place, name in names:
        own = name or f"column {place + 1}"
        if own in seen:
            count = 2
            while (own := f"{name} ({count})") in taken or own in seen:
                count += 1
            twice.setdefault(name, []).append(own)
        seen.add(own)
        made.append(own)
    return made, [
        f"{len(more) + 1} columns are named {shown_cell(n)}: called {listed([n, *more])}" for n, more in twice.items()
    ]
