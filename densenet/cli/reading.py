"""What the commands share: options that settle how a file is read, and the command to copy where it is refused."""

from __future__ import annotations

import argparse
import csv
import difflib
import io
import os
import shlex
from collections.abc import Sequence
from typing import Any

from densenet import datasets
from densenet.tables import (
    Cells,
    Table,
    TableError,
    TablePreparation,
    is_parquet,
    listed,
    named_columns,
    read_cells,
    read_columns,
)

_FLAGS: dict[str, Any] = {"dayfirst": "--dayfirst", "header": "--no-header"}


READING_OPTIONS = ("text", "numeric", "delimiter", "decimal", "encoding", "dayfirst", "no_header")
"""What `add_reading_options` adds, by the names in the parsed arguments."""


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that settle how a file is read."""
    add = parser.add_argument
    add(
        "--text", action="append", default=[], metavar="COLUMNS", help="columns of words, though they look like numbers"
    )
    add("--numeric", action="append", default=[], metavar="COLUMNS", help="columns in which other cells are missing")
    add("--delimiter", metavar="SIGN", help='what stands between cells, " " for blanks (default: recognised)')
    add("--decimal", choices=[".", ","], help="the decimal sign (default: what the columns show)")
    add("--encoding", metavar="NAME", help="such as utf-8, latin-1, utf-16 (default: recognised)")
    add(
        "--dayfirst",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="03/04/2020 is the third of April, or not (default: a number above 12 decides)",
    )
    add("--no-header", action="store_true", help="the first line is a row: columns are x1, x2, and so on")


def add_dropping_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves columns out."""
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMNS", help="columns to leave out")


def file_path(text: str) -> str:
    """A path with ``~`` expanded."""
    return os.path.expanduser(text)


def read_table(args: argparse.Namespace, target: str | None = None) -> Table:
    """The table that the command line names.

    Raises
    ------
    TableError, OSError, ImportError
    """
    if is_parquet(args.data):
        return datasets.read_csv(args.data, target, drop=args.drop)
    cells = _cells(args, header=not args.no_header)
    if target is not None and target not in cells.names:
        near = _nearest(target, cells.names)
        if near and not any("--no-header" in line for line in cells.said):
            reason = f"there is no column {target!r} in {args.data}; its columns are {listed(cells.names)}"
            raise TableError(reason, {"target": near[0]})
    return read_columns(
        cells,
        target,
        decimal=args.decimal,
        dayfirst=args.dayfirst,
        text=args.text,
        numeric=args.numeric,
        drop=args.drop,
    )


def read_like(
    args: argparse.Namespace, preparation: TablePreparation, more: Sequence[str] = ()
) -> tuple[Table, Cells | None]:
    """The columns that a model wants (and `more`), read as its training rows were; and all cells of the file.

    Raises
    ------
    TableError, OSError, ImportError
    """
    if is_parquet(args.data):
        return datasets.read_csv(args.data), None
    like = preparation.reading
    cells = _cells(args, header=like.header and not args.no_header)
    wanted = {*preparation.input_columns, *more}
    there = set(cells.names)
    absent = sorted(name for name in wanted if name not in there)
    if absent:
        reason = f"{cells.path} lacks {listed(absent)}, which the model wants; its columns are {listed(cells.names)}"
        near = {name: _nearest(name, cells.names) for name in absent}
        hints = [f"{found[0]!r} for {name!r}" for name, found in near.items() if found]
        raise TableError(reason + (f" (rename {', '.join(hints)}?)" if hints else ""))
    options = {"decimal": args.decimal, "dayfirst": args.dayfirst, "text": args.text, "numeric": args.numeric}
    unwanted = [quoted([name]) for name in cells.names if name not in wanted]
    return read_columns(cells, drop=unwanted, like=like, **options), cells


def _nearest(name: str, names: Sequence[str]) -> list[str]:
    """The name that is nearest, if one is near."""
    same = [other for other in names if other.casefold() == name.casefold()]
    return same or difflib.get_close_matches(name, names, 1, 0.7)


def _cells(args: argparse.Namespace, header: bool) -> Cells:
    delimiter = args.delimiter
    if delimiter is not None:
        delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise TableError(f"--delimiter expects one character (tab: '\\t'), got {args.delimiter!r}")
    return read_cells(args.data, delimiter=delimiter, encoding=args.encoding, header=header)


def chosen(cells_or_table: Cells | Table, names: Sequence[str]) -> list[str]:
    """The columns that an option names, of a file's cells or of a table."""
    if isinstance(cells_or_table, Table):
        cells_or_table = Cells("the table", list(cells_or_table.columns), [], [])
    return named_columns(cells_or_table, names)


def quoted(names: Sequence[str]) -> str:
    """Columns with commas between them, quoted as in CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def command_to_copy(arguments: Sequence[str], error: TableError) -> str:
    """The command that was called, with what settles the error."""
    words = ["densenet", *arguments]
    for option, value in error.remedy.items():
        if option in _FLAGS:
            words.append(_FLAGS[option])
            continue
        if not isinstance(value, list):
            words = _without(words, f"--{option}")
        text = quoted(value) if isinstance(value, list) else str(value)
        words += [f"--{option}={text}"] if text.startswith("-") else [f"--{option}", text]
    return shlex.join(words)


def _without(words: list[str], option: str) -> list[str]:
    """The words without an option and its value."""
    if option in words[:-1]:
        place = words.index(option)
        return words[:place] + words[place + 2 :]
    return [word for word in words if not word.startswith(f"{option}=")]
