"""A file as rows of cells: read, unpacked, decoded, split, headed. What the cells mean is not asked here."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from densenet.tables.encodings import find_encoding, without_invisible_signs, without_lines, without_zero_bytes
from densenet.tables.header import fit_header, is_title, own_names, ragged
from densenet.tables.messages import TableError, counted, listed, shown_cell
from densenet.tables.numbers import parse_numbers
from densenet.tables.packed import STDIN, check_format, fixed_width, parted_decimals, unpacked
from densenet.tables.records import Record, Skip, read_records

_WHOLE = re.compile(r"[+-]?\d+")

PathLike: TypeAlias = str | os.PathLike[str]


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
    skip : list of int and str
        The lines that were left out, as asked for.
    """

    path: str
    names: list[str]
    columns: list[list[str]]
    lines: list[int]
    said: list[str] = field(default_factory=list)
    header: bool = True
    delimiter: str = ","
    skip: list[int | str] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """The cells of a column as the file has them."""
        if name not in self._places:
            raise TableError(
                f"there is no column {shown_cell(name)} in {self.path}; its columns are {listed(self.names)}"
            )
        return self.columns[self._places[name]]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def is_parquet(path: PathLike) -> bool:
    """Whether a file begins as Parquet files do."""
    if os.fspath(path) == "-" or not os.path.isfile(path):  # what is read from a pipe is gone
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"


def read_cells(
    path: PathLike,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool = True,
    skip: Skip = (),
) -> Cells:
    """The cells of a text table: plain or in .gz, .bz2, .zip or .xz; "-" is standard input.

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
    skip : int, "ragged", or collection of them, default ()
        Lines of the file to leave out, from 1; "ragged" are all rows with more or fewer cells than the header.

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
    shown = STDIN if name == "-" else name
    raw = _bytes(path)
    data = unpacked(raw, shown)
    check_format(data, shown, raw)
    data, said = without_zero_bytes(data)
    data, invisible = without_invisible_signs(data)
    said += invisible
    every = [skip] if isinstance(skip, (int, str)) else list(skip)
    data = without_lines(data, {line for line in every if isinstance(line, int)})
    code, recognised = find_encoding(data, encoding, shown, every)
    said += recognised
    records, chosen, unquoted = read_records(data, code, delimiter, shown, every)
    if not records:
        raise TableError(f"read_csv expects a header line, but {shown} is empty")
    said += unquoted + _without_blank_end(records, header)
    start, names = records.pop(0) if header else (records[0][0], [])
    if header and parse_numbers(names) is not None and any(names):
        raise TableError(
            f"read_csv expects a header line with names, but the first line of {shown} holds numbers only",
            {"header": False, "target": f"x{len(names)}"},
        )
    if not records:
        raise TableError(f"read_csv expects rows below the header, but {shown} has none")
    if header and is_title(names, records):
        reason = f"{shown} has a title in line {start}, {listed(filter(None, names))}, and its header below; without it"
        below = next(line for line, row in records if any(row))
        raise TableError(reason, {"skip": [*every, *range(start, below)]})
    if len(names) == 1 and delimiter is None and len(re.split(r"\s{2,}|\t", names[0])) > 1:
        raise fixed_width(shown)
    names, shifted = fit_header(names, [row for _, row in records], header, chosen)
    odd = [line for line, row in records if len(row) != len(names)]
    if odd and "ragged" not in every:
        if chosen == "," and all(len(row) == 2 * len(names) and all(map(_WHOLE.fullmatch, row)) for _, row in records):
            raise parted_decimals(shown)
        raise ragged(records, (start, names), odd, shown, every, header)
    if odd:
        records = [record for record in records if len(record[1]) == len(names)]
        said.append(f"{counted(len(odd), 'row')} of other than {len(names)} cells left out, such as line {odd[0]}")
        if not records:
            raise TableError(f"read_csv expects rows as wide as the header, but {shown} has none", {"skip": None})
    lines = [line for line, _ in records]
    columns = [list(column) for column in zip(*(row for _, row in records), strict=True)]
    kept = [k for k, column in enumerate(columns) if names[k] or any(column)]  # nameless and empty: a last delimiter
    named, more = own_names([(k, names[k]) for k in kept])
    more += shifted
    if header and sum(parse_numbers([n]) is not None for n in names if n) * 2 > len(names):
        more.append("most column names are numbers: if the first line is a row, add --no-header")
    return Cells(shown, named, [columns[k] for k in kept], lines, said + more, header, chosen, every)


def _without_blank_end(records: list[Record], header: bool) -> list[str]:
    """Take away rows of nothing but delimiters at the end, and say so."""
    blank = 0
    while len(records) > header + 1 and not any(records[-1][1]):
        records.pop()
        blank += 1
    return [f"{counted(blank, 'row')} of delimiters only at the end left out"] if blank else []


def _bytes(path: PathLike) -> bytes:
    if os.fspath(path) == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()
