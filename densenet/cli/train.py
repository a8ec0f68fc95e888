"""``densenet train``: the shipped digits or a table, to a model file, its history and pictures."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from densenet import datasets
from densenet.cli.answer import beside_others, importance, picture
from densenet.cli.large import exceeds_memory
from densenet.cli.large_training import train_large
from densenet.cli.options import (
    add_data_options,
    adder,
    folder,
    hidden_widths,
    member_count,
    named_optimizer,
    seed_number,
    share,
)
from densenet.cli.output import Lasting
from densenet.cli.plain import DEFAULTS, train_plain
from densenet.cli.reading import add_dropping_option, add_reading_options, warn
from densenet.cli.recipe import PRESETS, duration, option_errors, train_recipe
from densenet.cli.results import Part, results, write_results
from densenet.cli.rows import missing_target, prepare, read_rows, split_by_time
from densenet.layers import activation
from densenet.metrics import Accuracy
from densenet.tables import Table, TablePreparation
from densenet.tables.suspicions import leaks
from densenet.training.data import split
from densenet.training.ranks import Ranks, world
from densenet.training.trainer import Trainer


def add_train_command(commands: Any) -> None:
    """Add ``train`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "train",
        usage="densenet train [DATA --target COLUMN] [options]",
        help="train on the shipped digits, or on a table",
        description="Train a dense network and write the model, its history and pictures. Without DATA: the shipped "
        "handwritten digits. For most tables DATA and --target are enough.",
    )
    first = parser.add_argument_group("what most people need")
    add_data_options(first)
    add_dropping_option(first)
    add = adder(first)
    add("--time", "a column of dates or numbers: the latest rows are held out", metavar="COLUMN")
    add(
        "--members",
        "networks whose answers are averaged (default: 4 to 1, fewer for more rows)",
        type=member_count,
        metavar="N",
    )
    add_reading_options(parser)
    _add_network_options(parser)
    _add_training_options(parser)
    output = parser.add_argument_group("output")
    adder(output)("--output", "where results go", type=folder, default=Path("densenet-run"), metavar="FOLDER")
    output.add_argument(
        "--refit", action="store_true", help="after the figures, train the model that is written on all rows"
    )
    parser.set_defaults(run=run_train)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "network", "Options that are not given are the preset's own; those in brackets are of --preset none."
    )
    add = adder(group)
    add(
        "--preset",
        "RealMLP-TD, its small form, ridge or logistic regression, or a plain network (default: tabular for a table, "
        "none for the digits and for what memory does not hold)",
        choices=PRESETS,
    )
    add("--hidden", "widths of the hidden layers, such as 128 or 64,32 (128)", type=hidden_widths, metavar="WIDTHS")
    add("--activation", "activation of the hidden layers (relu)", metavar="NAME")
    add("--dropout", "share of hidden activations dropped in training (0.3)", type=float, metavar="RATE")


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    add = adder(group)
    add("--held-out", "share of rows kept for the final figures", type=share, default=0.2, metavar="SHARE")
    group.add_argument(
        "--keep", action="append", default=[], metavar="COLUMNS", help="columns to use although they seem to name rows"
    )
    group.add_argument("--balance", action="store_true", help="let every class weigh the same")
    add("--optimizer", "first-order optimizer, such as sgd or adam (adam)", metavar="NAME")
    add("--learning-rate", "the optimizer's rate", type=float, metavar="RATE")
    add("--epochs", "most passes over the training rows (100)", type=int, metavar="N")
    add("--batch-size", "rows of a mini-batch (32)", type=int, metavar="N")
    add(
        "--patience",
        "epochs without a better validation loss before it stops (20; a recipe: all)",
        type=int,
        metavar="N",
    )
    add("--seed", "sets the weights, the split and the order of rows", type=seed_number, default=0, metavar="N")
    group.add_argument(
        "--mpi", action="store_true", help="train on all processes of a launcher, as mpiexec -n 4 starts (extra [mpi])"
    )


def run_train(args: argparse.Namespace) -> None:
    """Train as the command line asks, print the results and write the files; of several processes one does."""
    ranks = Ranks(_communicator(args))
    try:
        out, err = (io.StringIO(), io.StringIO()) if ranks.rank else (Lasting(sys.stdout), Lasting(sys.stderr))
        with ranks.guard(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _train(args, ranks)
            out.flush()
    except Exception:
        if ranks.rank:
            raise SystemExit(2) from None  # the first process says why
        raise


def _communicator(args: argparse.Namespace) -> Any:
    """All processes of the launcher, with --mpi; else None.

    Raises
    ------
    ValueError
        If there are several without --mpi: each would train a model of its own, to the same files.
    """
    if not args.mpi:
        started = max(int(count) for name in _LAUNCHED if (count := os.environ.get(name, "1")).isdecimal())
        if started > 1:
            raise ValueError(f"a launcher has started {started} processes: --mpi lets them train one model together")
        return None
    if str(args.data) == "-":
        raise ValueError("--mpi needs a file: standard input reaches one process only")
    return world()


_LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
"""Where launchers tell how many processes there are."""


def _train(args: argparse.Namespace, ranks: Ranks) -> None:
    large = args.data is not None and exceeds_memory(args.data)
    if args.preset is None:
        args.preset = "none" if large or args.mpi or args.data is None else "tabular"
    _check(args, large)
    if large:
        train_large(args)
        return
    rng = np.random.default_rng(args.seed)
    if args.data is None:
        x, y = datasets.load_digits()
        print(f"training on the shipped handwritten digits: {len(x):,} rows of {x.shape[1]} pixels, 10 classes")
        training, held_out = split(len(x), args.held_out, y, rng)
        train_plain(args, None, None, (x, y), training, held_out, rng, ranks)
        return
    table, said = read_rows(args)
    preparation, training, held_out = prepare(args, table, rng)
    x, y = preparation.transform(table), preparation.transform_target(table)
    print("; ".join([f"training on {args.data}: {preparation.describe()}", *said]), flush=True)
    warn(args, [f"a leak? {leak}" for leak in leaks(table, preparation, training, held_out)])
    if args.preset == "none":
        train_plain(args, table, preparation, (x, y), training, held_out, rng, ranks)
    else:
        _train_recipe(args, table, preparation, (x, y), training, held_out)


def _train_recipe(
    args: argparse.Namespace,
    table: Table,
    preparation: TablePreparation,
    data: tuple[Any, Any],
    training: Any,
    held_out: Any,
) -> None:
    """Train the recipe's network on a table, print its figures beside other models', and write the files."""
    x, y = data
    args.output.mkdir(parents=True, exist_ok=True)
    by_time = split_by_time(table.take(training), args.time, 0.2) if args.time is not None else None
    trained = train_recipe(args, preparation, x[training], y[training], by_time)
    judge = Trainer(trained.model, trained.loss, "sgd", metrics=[Accuracy()] if preparation.classes else [])
    classes = len(preparation.classes or ())
    truth = y if classes else preparation.inverse_target(y)
    answers = trained.answers(x[held_out], preparation)
    parts = [Part("training", len(training), x[training], y[training])]
    parts.append(Part("held out", len(held_out), x[held_out], y[held_out]))
    print(f"{duration(trained)}\n{results(judge, preparation, parts)}\n")
    who = "linear model" if args.preset == "linear" else "network"
    print(beside_others(x, truth, training, held_out, answers, classes, who), flush=True)
    predict = partial(trained.answers, preparation=preparation)
    print("\n" + importance(predict, preparation, x[held_out], truth[held_out], args.seed))
    figures = {"held_out.png": picture(preparation, truth[held_out], answers)}
    if args.refit:
        preparation = TablePreparation().fit(table, args.target, task=preparation.task)
        x, y = preparation.transform(table), preparation.transform_target(table)
        by_time = split_by_time(table, args.time, 0.2) if args.time is not None else None
        trained = train_recipe(args, preparation, x, y, by_time)
        print("the model that is written was trained on all rows (--refit): the figures are its predecessor's")
    write_results(args.output, trained.model, trained.loss, preparation, trained.histories, figures)


def _check(args: argparse.Namespace, large: bool) -> None:
    """Refuse options that do not fit, before anything is read, and fill in the defaults of a plain network."""
    if large and args.mpi:
        raise ValueError("--mpi is not for Parquet files that memory does not hold")
    if (large or args.data is None) and args.preset != "none":
        raise ValueError(f"--preset {args.preset} needs a table that memory holds")
    if args.mpi and args.preset != "none":
        raise ValueError(f"--mpi trains a plain network: --preset none, not {args.preset}")
    if unused := option_errors(args):
        raise ValueError(f"--preset {args.preset} does not take {', '.join(unused)}")
    if args.preset == "none":
        for name, value in DEFAULTS.items():
            if getattr(args, name) is None:
                setattr(args, name, value)
    if args.data is None:
        if args.target is not None or args.task != "auto" or args.time is not None:
            raise ValueError("--target and --task need a CSV file: densenet train data.csv --target COLUMN")
    elif args.target is None:
        raise missing_target(args)
    if args.optimizer is not None:
        named_optimizer(args)
    if args.activation is not None:
        activation(args.activation)
