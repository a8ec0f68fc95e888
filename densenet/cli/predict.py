"""``densenet predict``: a saved model, applied to the rows of a table."""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
from typing import Any, TextIO

from densenet import persistence
from densenet._files import replacing_text
from densenet._types import Array
from densenet.cli.reading import add_reading_options, add_use_option, chosen, file_path, read_like, read_table

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_RUNS = ("=", "+", "-", "@", "\t", "\r")


def add_predict_command(commands: Any) -> None:
    """Add ``predict`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a table with a saved model",
        description="Apply a model that `densenet train` has saved, with its preparation, to a table. What training "
        "never saw is counted on standard error.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", type=file_path, help="a model file, such as densenet-run/model.npz")
    add(
        "data",
        metavar="DATA",
        type=file_path,
        help='a table as CSV or Parquet with the columns the model was trained on; "-" is standard input',
    )
    add("--output", type=file_path, metavar="FILE", help="CSV file to write (default: standard output)")
    add("--proba", action="store_true", help="write the probability of every class, too")
    add("--keep", action="append", default=[], metavar="COLUMNS", help="columns of DATA to write, too, such as an id")
    add("--spreadsheet", action="store_true", help="put ' before texts that a spreadsheet would run as a formula")
    add_use_option(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run_predict, drop=[])


def run_predict(args: argparse.Namespace) -> None:
    """Predict as the command line asks, and write the predictions as CSV."""
    if args.output is not None and os.path.exists(args.output):
        read = [
            path for path in (args.model, args.data) if os.path.exists(path) and os.path.samefile(path, args.output)
        ]
        if read:
            raise ValueError(f"--output {args.output} is {read[0]}, which is read: name another file")
    model = persistence.load(args.model)
    loss = model.loss
    preparation = model.preparation
    columns: dict[str, Any]
    x: Array
    if preparation is not None:
        table, columns = read_like(args, preparation, keep=args.keep)
        x = preparation.transform(table)
        notes = table.said + preparation.unseen(table)
    else:
        table = read_table(args)
        x, notes = table.numbers(), table.said
        columns = {name: table[name] for name in chosen(table, args.keep, "keep")}
    output = model.predict(x)
    if preparation is not None:
        name = preparation.target
        columns[name if name not in columns else f"{name} (predicted)"] = preparation.inverse_target(output)
    elif loss is not None and loss.task != "regression":
        columns["class"] = loss.classes(output)
    else:
        columns |= {f"output{j}": output[:, j] for j in range(output.shape[1])}
    if args.proba:
        if loss is None or loss.task == "regression":
            raise ValueError("--proba needs a model for classes")
        names = (preparation.classes if preparation is not None else None) or range(output.shape[1])
        columns |= {f"p({name})": column for name, column in zip(names, loss.probabilities(output).T, strict=True)}
    for note in notes:
        print(f"densenet predict: {note}", file=sys.stderr)
    if args.output is None:
        _write_csv(sys.stdout, columns, args.spreadsheet)
        return
    with replacing_text(args.output) as file:
        _write_csv(file, columns, args.spreadsheet)
    print(f"{len(x):,} predictions written to {args.output}")


def _write_csv(file: TextIO, columns: dict[str, Any], spreadsheet: bool) -> None:
    lists = {name: column if isinstance(column, list) else column.tolist() for name, column in columns.items()}
    if spreadsheet:
        lists = {_harmless(name): [_harmless(value) for value in values] for name, values in lists.items()}
    table = csv.writer(file, lineterminator="\n")
    table.writerow(lists)
    table.writerows(zip(*lists.values(), strict=True))


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would run, as text; numbers and others as they are."""
    runs = isinstance(value, str) and value.startswith(_RUNS) and not _NUMBER.fullmatch(value)
    return f"'{value}" if runs else value
