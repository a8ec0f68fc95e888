"""Which rows and columns ``densenet train`` learns from, and which rows it holds out."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import numpy as np

from densenet.cli.large import exceeds_memory
from densenet.cli.reading import chosen, column_names, quoted, read_table, warn
from densenet.tables import Table, TableError, TablePreparation, counted, listed, shown_cell
from densenet.tables.suspicions import names_of_rows
from densenet.tables.table import is_absent, is_date, is_numeric
from densenet.training.data import split


def read_rows(args: argparse.Namespace) -> tuple[Table, list[str]]:
    """The rows and columns to learn from, and notes for the first line that is printed."""
    table = read_table(args, args.target)
    said = table.said
    if is_date(table[args.target]):
        reason = f"the target {args.target!r} holds dates: elapsed days are numbers to predict; as classes"
        raise TableError(reason, {"text": [*chosen(table, args.text, "text"), args.target]})
    if args.time == args.target:
        raise TableError(f"--time {args.time!r} is the target; with rows held out at random", {"time": None})
    absent = is_absent(table[args.target])
    if absent.all():
        raise ValueError(f"the target {args.target!r} has no value in any row of {args.data}")
    if absent.any():
        table = table.take(~absent)
        said.append(f"{counted(int(absent.sum()), 'row')} without a target left out")
    values = table[args.target]
    if len(known := set(values.tolist())) == 1:
        where = f"all {len(table):,} rows of {args.data} that have one" if absent.any() else f"every row of {args.data}"
        raise ValueError(f"the target {args.target!r} is {known.pop()!r} in {where}: nothing to learn")
    keep = chosen(table, args.keep, "keep")
    if args.time is not None:
        keep += chosen(table, [quoted([args.time])], "time")
    elif any(is_date(column) for column in table.columns.values()):
        dated = next(name for name, column in table.columns.items() if is_date(column))
        warn(args, [f"rows have dates: a random split flatters; --time {shlex.quote(dated)} holds out the latest rows"])
    left_out = names_of_rows(table, keep)
    if left_out:
        reasons = ", ".join(f"{shown_cell(name)} {reason}" for name, reason in left_out.items())
        said.append(f"left out: {reasons} (--keep {shlex.quote(quoted(list(left_out)))} to use)")
    return table.without(left_out), said


def prepare(args: argparse.Namespace, table: Table, rng: np.random.Generator) -> tuple[TablePreparation, Any, Any]:
    """A preparation learned from the training rows; row numbers of these and of those held out."""
    if round(len(table) * args.held_out) >= len(table):
        raise ValueError(f"--held-out {args.held_out} leaves no row to train on of {len(table):,}")
    whole = TablePreparation().fit(table, args.target, task=args.task)
    labels = whole.transform_target(table) if whole.task == "classification" else None
    if args.time is None:
        training, held_out = split(len(table), args.held_out, labels, rng)
    else:
        training, held_out = split_by_time(table, args.time, args.held_out)
    if len(known := set(table[args.target][training].tolist())) == 1:
        reason = f"the target {args.target!r} is {known.pop()!r} in {counted(len(training), 'row')} to train on"
        if args.time is None:
            raise ValueError(f"{reason}: nothing to learn")
        raise TableError(f"{reason}; with rows held out at random", {"time": None})
    return TablePreparation().fit(table, args.target, task=whole.task, rows=training), training, held_out


def split_by_time(table: Table, column: str, share: float) -> tuple[Any, Any]:
    """Row numbers of the earlier rows and of the latest `share` of them, each in file order.

    Rows of one time stay together: the border between two times that is nearest to the share is taken.
    """
    values = table[table.require(column, "--time")]
    absent, count = is_absent(values), max(1, round(len(values) * share))
    reason = None
    if not (is_numeric(values) or is_date(values)):
        reason = f"expects a column of dates or numbers, got text in {column!r}, such as {shown_cell(values[0])}"
    elif absent.any():
        reason = f"expects a time in every row, got none in {counted(int(absent.sum()), 'row')} of {column!r}"
    elif count >= len(values):
        reason = f"leaves no row to train on of {len(values)}"
    elif not (values[1:] != values[0]).any():
        reason = f"expects several times, got one in all rows of {column!r}"
    if reason is not None:
        raise TableError(f"--time {reason}; with rows held out at random", {"time": None})
    order = np.argsort(values, kind="stable")
    borders = 1 + np.flatnonzero(np.diff(values[order]))
    border = borders[np.argmin(np.abs(borders - (len(values) - count)))]
    return np.sort(order[:border]), np.sort(order[border:])


def missing_target(args: argparse.Namespace) -> TableError:
    """The refusal of a table without --target; the command names its last column."""
    names = column_names(args.data) if exceeds_memory(args.data) else list(read_table(args).columns)
    reason = f"--target is needed: which column of {args.data} is to be predicted? Its columns are {listed(names)}"
    return TableError(reason + ", for the last", {"target": names[-1]})
