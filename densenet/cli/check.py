"""``densenet check``: what a table holds, before anything is trained."""

from __future__ import annotations

import argparse
import math
import shlex
from collections import Counter
from datetime import date
from itertools import islice
from typing import Any

import numpy as np

from densenet._display import text_table
from densenet._types import Array
from densenet.cli.reading import add_dropping_option, add_reading_options, file_path, quoted, read_table
from densenet.tables import Table, TablePreparation, counted, shown_cell
from densenet.tables.suspicions import leaks, names_of_rows
from densenet.tables.table import is_absent, is_date, is_numeric, kind_of
from densenet.training.data import split

_WIDEST = 44
_FEWEST_DIFFERENT = 10
_MOST_DAYS = 1000
_MOST_SHOWN = 100
_CODES = ("zip", "postcode", "zipcode", "code", "_id", "plz", "phone")


def add_check_command(commands: Any) -> None:
    """Add ``check`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "check",
        help="what a table holds: kinds of columns, words for missing, suspicions",
        description="Read a table as `densenet train` would and report what its columns are taken for, which words are "
        "read as missing and which columns are suspicious. Nothing is trained, nothing is written.",
    )
    add = parser.add_argument
    add("data", metavar="DATA", type=file_path, help='a table as CSV or Parquet; "-" is standard input')
    add("--target", metavar="COLUMN", help="the column to predict: tells the task, looks for leaks")
    add_dropping_option(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> None:
    """Report on a table as the command line asks."""
    table = read_table(args, args.target)
    print(f"{args.data}: {len(table):,} rows, {len(table.columns):,} columns")
    rows: list[tuple[str, ...]] = [("column", "kind", "missing", "different", "values")]
    for name, values in islice(table.columns.items(), _MOST_SHOWN):
        absent = is_absent(values)
        present = values[~absent]
        different = f"{len(set(present.tolist())):,}"
        rows.append((_short(name), kind_of(values), f"{absent.sum():,}", different, _short(_summary(present))))
    print(text_table(rows, "<<>><"))
    if more := Counter(kind_of(values) for values in islice(table.columns.values(), _MOST_SHOWN, None)):
        print(f"and {more.total():,} more: {', '.join(f'{count:,} {kind}' for kind, count in more.items())}")
    for line in table.said:
        print(f"read: {line}")
    left_out = names_of_rows(table)
    for name, reason in left_out.items():
        print(
            f"names rows: {shown_cell(name)} {reason}; train leaves it out without --keep {shlex.quote(quoted([name]))}"
        )
    for line in _codes(table, left_out):
        print(f"a code? {line}")
    for line in _stand_ins(table):
        print(f"missing? {line}")
    for line in _written_dates(table):
        print(f"dates? {line}")
    for name, values in table.columns.items():
        if is_date(values) and name != args.target:
            print(f"dates: {shown_cell(name)}; train --time {shlex.quote(name)} holds out the latest rows")
    if args.target is not None:
        _report_target(args.target, table.without(left_out))


def _report_target(target: str, table: Table) -> None:
    absent = is_absent(table[target])
    if absent.any():
        print(f"target: {counted(int(absent.sum()), 'row')} without a value of {target!r}; train leaves them out")
        table = table.take(~absent)
    if len(set(table[target].tolist())) < 2:
        print(f"target: {target!r} has one value only: nothing to learn")
        return
    if is_date(table[target]):
        print(f"target: {target!r} holds dates; train --text {shlex.quote(quoted([target]))} takes them for classes")
        return
    rng = np.random.default_rng(0)
    whole = TablePreparation().fit(table, target)
    labels = whole.transform_target(table) if whole.task == "classification" else None
    training, held_out = split(len(table), 0.2, labels, rng)
    preparation = TablePreparation().fit(table, target, task=whole.task, rows=training)
    print(f"train would take {preparation.describe()}")
    for leak in leaks(table, preparation, training, held_out):
        print(f"a leak? {leak}")


def _summary(present: Array) -> str:
    if not len(present):
        return ""
    if is_numeric(present):
        low, high = float(present.min()), float(present.max())
        return (
            f"always {low:.6g}"
            if low == high
            else f"{low:.6g} to {high:.6g}, mean {math.fsum(present) / len(present):.6g}"
        )
    if is_date(present):
        low_day, high_day = (str(day.astype("datetime64[D]")) for day in (present.min(), present.max()))
        return f"{low_day} to {high_day}"
    return ", ".join(f"{word} ({count:,})" for word, count in Counter(present.tolist()).most_common(3))


def _codes(table: Table, left_out: dict[str, str]) -> list[str]:
    """Numbers whose column's name says that they name things."""
    found = []
    for name, values in table.columns.items():
        if is_numeric(values) and name not in left_out and name != table.target and name.lower().endswith(_CODES):
            found.append(f"{shown_cell(name)} is read as numbers; --text {shlex.quote(quoted([name]))} makes it words")
    return found


def _stand_ins(table: Table) -> list[str]:
    """Numbers that come again and are farther from all others than these are from each other, as -999 often is."""
    found = []
    for name, values in table.columns.items():
        if not is_numeric(values):
            continue
        numbers, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        if len(numbers) < _FEWEST_DIFFERENT:
            continue
        for end, gap, width in (
            (0, numbers[1] - numbers[0], np.ptp(numbers[1:])),
            (-1, numbers[-1] - numbers[-2], np.ptp(numbers[:-1])),
        ):
            if counts[end] > 1 and gap > width:
                where = f"{shown_cell(name)} is {numbers[end]:.12g} in {counts[end]:,} rows, far from all others"
                found.append(f"{where}: where that means missing, empty these cells")
    return found


def _written_dates(table: Table) -> list[str]:
    """Whole numbers that are days of the calendar, such as 20240131."""
    found = []
    for name, values in table.columns.items():
        days = values[~is_absent(values)] if is_numeric(values) else values[:0]
        whole = bool(len(days)) and ((days == np.floor(days)) & (days > 1800e4) & (days < 2200e4)).all()
        if whole and all(_is_day(int(day)) for day in np.unique(days)[:_MOST_DAYS]):
            found.append(
                f"{shown_cell(name)} is read as numbers such as {int(days[0])}: days are dates if written as 2024-01-31"
            )
    return found


def _is_day(number: int) -> bool:
    try:
        return bool(date(number // 10_000, number // 100 % 100, number % 100))
    except ValueError:
        return False


def _short(text: str) -> str:
    flat = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return flat if len(flat) <= _WIDEST else flat[: _WIDEST - 3] + "..."
