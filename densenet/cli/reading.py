"""What the commands share: options that settle how a file is read, and the command to copy where it is refused."""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from densenet import datasets
from densenet.tables import (
    Cells,
    Table,
    TableError,
    TablePreparation,
    bare_name,
    is_parquet,
    listed,
    named_columns,
    nearest,
    read_cells,
    read_columns,
    shown_cell,
)
from densenet.tables.numbers import written

READING_OPTIONS = ("text", "numeric", "delimiter", "decimal", "encoding", "dayfirst", "no_header", "skip")
"""What `add_reading_options` adds, by the names in the parsed arguments."""
_MOST_SKIPPED = 100_000


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that settle how a file is read, as a group of their own."""
    add = parser.add_argument_group(
        "reading the file",
        "What is unclear in a file is refused with the options that settle it. COLUMNS are names with commas between "
        'them, such as age,rent or "a, b",c.',
    ).add_argument
    add("--text", action="append", default=[], metavar="COLUMNS", help="words, though they look like numbers")
    add("--numeric", action="append", default=[], metavar="COLUMNS", help="numbers: cells that are none are missing")
    add("--delimiter", metavar="SIGN", help='what stands between cells, " " for blanks (default: recognised)')
    add(
        "--decimal",
        choices=[".", ","],
        metavar="SIGN",
        help="the decimal sign, . or , (default: what the columns show)",
    )
    add("--encoding", metavar="NAME", help="such as utf-8, latin-1, utf-16 (default: recognised)")
    add(
        "--dayfirst",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether 03/04/2020 is the third of April (default: a number above 12 decides)",
    )
    add("--no-header", action="store_true", help="the first line is a row: columns are x1, x2, and so on")
    add(
        "--skip",
        action="extend",
        default=[],
        type=line_numbers,
        metavar="LINES",
        help='lines of the file to leave out, such as 1,4-6, or "ragged": rows of another width than the header\'s',
    )


def add_use_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which column of a file is which of a model's."""
    parser.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="take COLUMN of DATA for the model's column NAME; with nothing behind = it has no values",
    )


def add_dropping_option(parser: Any) -> None:
    """Add the option that leaves columns out."""
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMNS", help="columns to leave out")


def column_names(path: str) -> list[str]:
    """The columns of a Parquet file."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError("Parquet files need the pyarrow library: pip install '.[dataframe]'") from None
    try:
        names: list[str] = parquet.read_schema(path).names
    except (ValueError, OSError) as error:
        raise TableError(f"{path} cannot be read: {str(error).rstrip('.')}") from None
    return names


def parquet_columns(path: str, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a Parquet file as they stand, whole numbers whole."""
    from pyarrow import parquet

    return {name: parquet.read_table(path, columns=[name])[name].to_pylist() for name in names}


def line_numbers(text: str) -> list[int | str]:
    """Lines such as 1,4-6, and the word ragged."""
    found: list[int | str] = []
    for part in text.split(","):
        first, sign, last = part.strip().partition("-")
        if part.strip() == "ragged":
            found.append("ragged")
            continue
        if not (first.isdecimal() and (last.isdecimal() or not sign)):
            raise argparse.ArgumentTypeError(f"expected lines such as 1,4-6, or ragged, got {text!r}")
        lines = range(int(first), int(last or first) + 1)
        if len(lines) + len(found) > _MOST_SKIPPED:
            reason = f"expected at most {_MOST_SKIPPED:,} lines, got {text!r}"
            raise argparse.ArgumentTypeError(f"{reason}; to leave them out: sed '{first},{last or first}d' DATA")
        found += lines
    return found


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
        return datasets.read_csv(args.data, target, text=args.text, numeric=args.numeric, drop=args.drop)
    return read_columns(
        _cells(args, header=not args.no_header),
        target,
        decimal=args.decimal,
        dayfirst=args.dayfirst,
        text=args.text,
        numeric=args.numeric,
        drop=args.drop,
    )


def read_like(
    args: argparse.Namespace, preparation: TablePreparation, more: Sequence[str] = (), keep: Sequence[str] = ()
) -> tuple[Table, dict[str, Any]]:
    """The columns that a model wants (and `more`), read as its training rows were; and those to keep, as they stand.

    Raises
    ------
    TableError, OSError, ImportError
    """
    wanted = list(dict.fromkeys([*preparation.input_columns, *more]))
    if is_parquet(args.data):
        names = column_names(args.data)
        sources, said = _sources(args, wanted, names)
        kept = named_columns(Cells(args.data, names, [], []), keep, "keep")
        as_they_stand = parquet_columns(args.data, kept)
        needed = set(sources.values())
        table = datasets.read_csv(args.data, drop=[quoted([name]) for name in names if name not in needed])
        empty = np.full(len(table), None)
        made = Table({name: table[source] if source else empty for name, source in sources.items()})
        made.said = said
        return made, as_they_stand
    like = preparation.reading
    cells = _cells(args, header=like.header and not args.no_header)
    sources, said = _sources(args, wanted, cells.names)
    columns = {name: cells.column(source) if source else [""] * len(cells.lines) for name, source in sources.items()}
    taken = replace(cells, names=list(columns), columns=list(columns.values()), said=cells.said + said)
    every = replace(cells, names=list(dict.fromkeys([*columns, *cells.names])))
    options: dict[str, Any] = {"decimal": args.decimal, "dayfirst": args.dayfirst}
    for option in ("text", "numeric"):  # they may name columns that the model does not use
        named = named_columns(every, getattr(args, option), option)
        options[option] = [quoted([name]) for name in named if name in columns]
    kept = named_columns(cells, keep, "keep")
    return read_columns(taken, like=like, **options), {name: cells.column(name) for name in kept}


def _sources(
    args: argparse.Namespace, wanted: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, str | None], list[str]]:
    """The column of the file that each wanted column is read from, None for one without values; notes for the user.

    A name that is not there is read from the one column whose name differs by case and blanks alone.
    """
    sources, said = _named_sources(args, wanted, names), []
    there, alike_by_name = set(names), dict[str, list[str]]()
    for other in there.difference(wanted):
        alike_by_name.setdefault(bare_name(other), []).append(other)
    for name in wanted:
        alike = alike_by_name.get(bare_name(name), [])
        if name in there:
            sources.setdefault(name, name)
        elif name not in sources and len(alike) == 1 and alike[0] not in sources.values():
            sources[name] = alike[0]
            said.append(f"the model's {shown_cell(name)} is read from {shown_cell(alike[0])}")
    absent = [name for name in wanted if name not in sources]
    if absent:
        taken = set(sources.values())
        free = [name for name in names if name not in taken]
        if not taken and len(names) == len(wanted) and (args.no_header or any(written(name) for name in names)):
            use = [f"{name}=x{place}" for place, name in enumerate(wanted, 1)]
            reason = f"{args.data} has no names of columns; in the model's order they are"
            raise TableError(reason, {"header": False, "use": use})
        use = [f"{name}={source or ''}" for name, source in sources.items() if name != source]
        for name in absent:
            near = nearest(name, free)
            free = [other for other in free if other != near]
            use.append(f"{name}={near or ''}")
        reason = f"{args.data} lacks {listed(absent)}, which the model wants; its columns are {listed(names)}"
        raise TableError(f"{reason}; what has nothing behind = is read as missing", {"use": use})
    return {name: sources[name] for name in wanted}, said


def _named_sources(args: argparse.Namespace, wanted: Sequence[str], names: Sequence[str]) -> dict[str, str | None]:
    """What --use says."""
    sources: dict[str, str | None] = {}
    for entry in args.use:
        for part in [entry] if _used(entry, wanted, names) else next(csv.reader([entry]), []):
            if (found := _used(part, wanted, names)) is None:
                raise TableError(
                    f"--use expects NAME=COLUMN, a column of the model ({listed(wanted)}) and one of {args.data} "
                    f"({listed(names)}), got {part!r}; without it",
                    {"use": [f"{name}={source or ''}" for name, source in sources.items()] or None},
                )
            sources[found[0]] = found[1] or None
    return sources


def _used(text: str, wanted: Sequence[str], names: Sequence[str]) -> tuple[str, str] | None:
    pairs = ((text[:at], text[at + 1 :]) for at, sign in enumerate(text) if sign == "=")
    return next((pair for pair in pairs if pair[0] in wanted and pair[1] in ("", *names)), None)


def _cells(args: argparse.Namespace, header: bool) -> Cells:
    delimiter = {"\\t": "\t", "tab": "\t"}.get(args.delimiter, args.delimiter)
    return read_cells(args.data, delimiter=delimiter, encoding=args.encoding, header=header, skip=args.skip)


def chosen(cells_or_table: Cells | Table, names: Sequence[str], option: str) -> list[str]:
    """The columns that an option names, of a file's cells or of a table."""
    if isinstance(cells_or_table, Table):
        cells_or_table = Cells("the table", list(cells_or_table.columns), [], [])
    return named_columns(cells_or_table, names, option)


def quoted(names: Sequence[Any]) -> str:
    """Columns with commas between them, quoted as in CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def command_to_copy(arguments: Sequence[str], args: argparse.Namespace, error: TableError) -> str:
    """The command that was called, with what settles the error in place of what was given.

    Parameters
    ----------
    arguments : sequence of str
        The words of the command line behind ``densenet``.
    args : Namespace
        What they were parsed to.
    error : TableError
        With a remedy; what the command has no option for is left out of it.
    """
    words = ["densenet", *arguments]
    numbered = "header" in error.remedy and re.fullmatch(r"x\d+", getattr(args, "target", None) or "")
    for name, value in error.remedy.items():
        if name == "target" and numbered:  # as columns without a header are called
            continue
        if name == "path":
            words = [str(value) if file_path(word) == args.data else word for word in words]
        elif name == "header":
            words += ["--no-header"] if hasattr(args, "no_header") and not args.no_header else []
        elif name == "dayfirst":
            words = [word for word in words if word not in ("--dayfirst", "--no-dayfirst")]
            words.append("--dayfirst" if value else "--no-dayfirst")
        elif hasattr(args, name) and not (name == "target" and args.target is None and args.command != "train"):
            words = _without(words, f"--{name}")
            text = quoted(value) if isinstance(value, list) else str(value)
            text = _ranges(value) if name == "skip" and value else text
            if value is not None:
                words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    first = f"{error.before} && " if error.before else ""
    return first + shlex.join(words)


def _ranges(lines: Sequence[int | str]) -> str:
    """Lines as `line_numbers` reads them, runs of them as 1-3."""
    numbers = sorted({line for line in lines if isinstance(line, int)})
    runs = [[start, start] for start in numbers if start - 1 not in numbers]
    for run in runs:
        while run[1] + 1 in numbers:
            run[1] += 1
    named = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ",".join(named + ["ragged"] * ("ragged" in lines))


def _without(words: list[str], option: str) -> list[str]:
    """The words without an option, however it is abbreviated, and its values."""
    kept: list[str] = []
    is_value = False
    for word in words:
        name, sign, _ = word.partition("=")
        if is_value:
            is_value = False
        elif len(name) > 2 and option.startswith(name):
            is_value = not sign
        else:
            kept.append(word)
    return kept


def warn(args: argparse.Namespace, lines: list[str]) -> None:
    """Print lines to standard error, each with the name of the command."""
    for line in lines:
        print(f"densenet {args.command}: {line}", file=sys.stderr)
