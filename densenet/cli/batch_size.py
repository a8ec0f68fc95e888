"""``densenet batch-size``: which batch size is fastest for a network, its data and this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from densenet import datasets, losses, optimizers
from densenet._files import replacing
from densenet.cli.options import add_data_options, adder, hidden_widths, seed_number
from densenet.cli.reading import add_dropping_option, add_reading_options, read_table
from densenet.cli.rows import missing_target
from densenet.perceptron import mlp
from densenet.tables import TablePreparation
from densenet.training.trainer import Trainer


def add_batch_size_command(commands: Any) -> None:
    """Add ``batch-size`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "batch-size",
        help="predict the fastest batch size for a network, its data and this machine",
        description="Time a step of every batch size, measure how much gradients differ, and predict steps, samples "
        "and seconds to the same error. Without DATA: the shipped handwritten digits.",
    )

    add_data_options(parser)
    add = adder(parser)
    add("--reach", "a loss to reach: makes steps and seconds absolute", type=float, metavar="E")
    add(
        "--hidden",
        "widths of the hidden layers, such as 128 or 64,32",
        default="128",
        type=hidden_widths,
        metavar="WIDTHS",
    )
    add("--activation", "activation of the hidden layers", default="relu")
    add("--optimizer", "first-order optimizer, such as sgd or adam", default="sgd")
    add("--learning-rate", "the rate for batch 32 (default: what a range test suggests)", type=float)
    add("--seed", "sets the weights and the order of rows", type=seed_number, default=0)
    add("--picture", "also draw steps, samples and seconds into this file", type=Path, metavar="FILE")
    add_dropping_option(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run_batch_size)


def run_batch_size(args: argparse.Namespace) -> None:
    """Print the table and the sentence, and draw the picture where one is asked for."""
    from densenet.health.batches import find_batch_size  # the other commands start without it
    from densenet.health.rates import find_learning_rate

    if args.data is None:
        if args.target is not None or args.task != "auto":
            raise ValueError("--target and --task need a CSV file: densenet batch-size data.csv --target COLUMN")
        x, y = datasets.load_digits()
        classes: int | None = 10
        print(f"the shipped handwritten digits: {len(x):,} rows of {x.shape[1]} pixels, 10 classes")
    else:
        if args.target is None:
            raise missing_target(args)
        table = read_table(args, args.target)
        preparation = TablePreparation().fit(table, args.target, task=args.task)
        x, y = preparation.transform(table), preparation.transform_target(table)
        classes = len(preparation.classes or [0]) if preparation.task == "classification" else None
        print(f"{args.data}: {preparation.describe()}")
    loss = losses.MeanSquaredError() if classes is None else losses.SoftmaxCrossEntropy()
    widths = [x.shape[1], *args.hidden, classes or 1]
    model = mlp(widths, activation=args.activation, seed=args.seed)
    optimizer = optimizers.get(args.optimizer)
    trainer = Trainer(model, loss, optimizer)
    if args.learning_rate is None:
        optimizer.learning_rate = find_learning_rate(trainer, x, y, seed=args.seed).suggestion
    else:
        optimizer.learning_rate = args.learning_rate
    found = find_batch_size(trainer, x, y, reach=args.reach, seed=args.seed)
    print(f"network {'-'.join(map(str, widths))}, {optimizer!r}")
    print(found)
    if args.picture is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 3.6), layout="constrained")
        found.plot(axes=figure.subplots(1, 3))
        with replacing(args.picture) as file:
            figure.savefig(file, format=args.picture.suffix[1:].lower() or "png", dpi=150)
        print(f"drawn into {args.picture}")
