"""``densenet predict``: a saved model, applied to the rows of a CSV table."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from densenet import datasets, persistence
from densenet._files import replacing_text
from densenet.tables import Table


def add_predict_command(commands: Any) -> None:
    """Add ``predict`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a CSV table with a saved model",
        description="Apply a model that `densenet train` has saved, with its preparation, to a CSV table.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file, such as densenet-run/model.npz")
    add("data", metavar="DATA", help="a CSV file with the columns the model was trained on")
    add("--output", type=Path, metavar="FILE", help="CSV file to write (default: standard output)")
    add("--proba", action="store_true", help="write the probability of every class, too")
    parser.set_defaults(run=run_predict)


def run_predict(args: argparse.Namespace) -> None:
    """Predict as the command line asks, and write the predictions as CSV."""
    model = persistence.load(args.model)
    loss = model.loss
    preparation = model.preparation
    text = preparation.text_columns if preparation is not None else ()
    table: Table = datasets.read_csv(args.data, text=text)
    x = preparation.transform(table) if preparation is not None else table.numbers()
    output = model.predict(x)
    columns: dict[str, Any] = {}
    if preparation is not None:
        columns[preparation.target] = preparation.inverse_target(output)
    elif loss is not None and loss.task != "regression":
        columns["class"] = loss.classes(output)
    else:
        columns |= {f"output{j}": output[:, j] for j in range(output.shape[1])}
    if args.proba:
        if loss is None or loss.task == "regression":
            raise ValueError("--proba needs a model for classes")
        names = (preparation.classes if preparation is not None else None) or range(output.shape[1])
        columns |= {f"p({name})": column for name, column in zip(names, loss.probabilities(output).T, strict=True)}
    if args.output is None:
        _write_csv(sys.stdout, columns)
        return
    with replacing_text(args.output) as file:
        _write_csv(file, columns)
    print(f"{len(x):,} predictions written to {args.output}")


def _write_csv(file: TextIO, columns: dict[str, Any]) -> None:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True))
