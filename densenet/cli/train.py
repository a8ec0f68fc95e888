"""``densenet train``: the shipped digits or a CSV table, to a model file, its history and a picture."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from densenet import datasets, losses, optimizers, persistence
from densenet._display import text_table
from densenet._files import replacing
from densenet.cli.answer import beside_linear
from densenet.cli.reading import (
    add_dropping_option,
    add_reading_options,
    chosen,
    file_path,
    quoted,
    read_table,
)
from densenet.layers import activation
from densenet.metrics import MAE, R2, RMSE, Accuracy, Metric
from densenet.sequential import Sequential, mlp
from densenet.tables import Table, TableError, TablePreparation, listed, shown_cell
from densenet.tables.suspicions import leaks, names_of_rows
from densenet.tables.table import is_absent, is_date, is_numeric
from densenet.training.callbacks import EarlyStopping
from densenet.training.data import split
from densenet.training.ranks import Ranks, world
from densenet.training.trainer import Trainer


def add_train_command(commands: Any) -> None:
    """Add ``train`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "train",
        help="train on the shipped digits, or on a CSV table",
        description="Train a dense network and write the model, its history and a picture of the learning curves. "
        "Without DATA: the shipped handwritten digits.",
    )

    add = data_options(parser)
    add("--hidden", "widths of the hidden layers, such as 128 or 64,32", default="128", metavar="WIDTHS")
    add("--activation", "activation of the hidden layers", default="relu")
    add("--dropout", "share of hidden activations dropped in training", type=float, default=0.3)
    add("--optimizer", "first-order optimizer, such as sgd or adam", default="adam")
    add("--learning-rate", "the optimizer's rate (default: the optimizer's own)", type=float)
    add("--epochs", "most passes over the training rows", type=int, default=100)
    add("--batch-size", "rows of a mini-batch", type=int, default=32)
    add("--patience", "epochs without a better validation loss before it stops", type=int, default=20)
    add("--held-out", "share of rows kept for the final figures", type=_share, default=0.2, metavar="SHARE")
    add("--seed", "sets the weights, the split and the order of rows", type=seed_number, default=0)
    add("--output", "where results go", type=_folder, default=Path("densenet-run"), metavar="FOLDER")
    add("--time", "a column of dates or numbers: the latest rows are held out", metavar="COLUMN")
    add_dropping_option(parser)
    parser.add_argument(
        "--keep", action="append", default=[], metavar="COLUMNS", help="columns to use although they seem to name rows"
    )
    add_reading_options(parser)
    parser.add_argument(
        "--mpi", action="store_true", help="train on all processes of a launcher, as mpiexec -n 4 starts (extra [mpi])"
    )
    parser.set_defaults(run=run_train)


def data_options(parser: argparse.ArgumentParser) -> Callable[..., None]:
    """Add DATA, --target and --task; returns what adds further options, with their defaults in the help."""

    def add(name: str, text: str, **settings: Any) -> None:
        shown = text if settings.get("default") is None else f"{text} (default: %(default)s)"
        parser.add_argument(name, help=shown, **settings)

    parser.add_argument(
        "data",
        nargs="?",
        type=file_path,
        metavar="DATA",
        help='a table as CSV (also .gz, .zip, .xz) or Parquet, with --target; "-" is standard input',
    )
    add("--target", "the column of DATA to predict")
    add("--task", "what the target is", choices=["auto", "classification", "regression"], default="auto")
    return add


def run_train(args: argparse.Namespace) -> None:
    """Train as the command line asks, print the results and write the files; of several processes one does."""
    ranks = Ranks(_communicator(args))
    try:
        with ranks.guard(), contextlib.ExitStack() as quiet:
            if ranks.rank:
                nowhere = quiet.enter_context(open(os.devnull, "w", encoding="utf-8"))
                quiet.enter_context(contextlib.redirect_stdout(nowhere))
                quiet.enter_context(contextlib.redirect_stderr(nowhere))
            _train(args, ranks)
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
    hidden = hidden_widths(args.hidden)
    if args.data is None:
        if args.target is not None or args.task != "auto" or args.time is not None:
            raise ValueError("--target and --task need a CSV file: densenet train data.csv --target COLUMN")
        x, y = datasets.load_digits()
        preparation, classification, n_outputs = None, True, 10
        print(f"training on the shipped handwritten digits: {len(x):,} rows of {x.shape[1]} pixels, 10 classes")
    else:
        if args.target is None:
            raise _no_target(args)
        table, said = _table(args)
    optimizer = optimizers.get(args.optimizer)
    if args.learning_rate is not None:
        optimizer.learning_rate = args.learning_rate
    activation(args.activation)

    rng = np.random.default_rng(args.seed)
    if args.data is not None:
        whole = TablePreparation().fit(table, args.target, task=args.task)
        labels = whole.transform_target(table) if whole.task == "classification" else None
        if args.time is None:
            training, held_out = split(len(table), args.held_out, labels, rng)
        else:
            training, held_out = split_by_time(table, args.time, args.held_out)
        preparation = TablePreparation().fit(table, args.target, task=whole.task, rows=training)
        classification = preparation.task == "classification"
        x, y = preparation.transform(table), preparation.transform_target(table)
        n_outputs = len(preparation.classes or [0])
        print("; ".join([f"training on {args.data}: {preparation.describe()}", *said]))
        warn(args, [f"a leak? {leak}" for leak in leaks(table, preparation, training, held_out)])
    else:
        training, held_out = split(len(x), args.held_out, y, rng)
    loss = losses.SoftmaxCrossEntropy() if classification else losses.MeanSquaredError()
    metrics: list[Metric] = [Accuracy()] if classification else [RMSE()]
    model = mlp([x.shape[1], *hidden, n_outputs], activation=args.activation, dropout=args.dropout, seed=args.seed)
    trainer = Trainer(model, loss, optimizer, metrics=metrics, communicator=ranks.communicator)
    persistence.check_savable(model, loss=loss, preparation=preparation)
    args.output.mkdir(parents=True, exist_ok=True)
    fitted, validation = training, None
    if args.time is not None:
        fitted, later = split_by_time(table.take(training), args.time, 0.1)
        fitted, later = training[fitted], training[later]
        validation = (x[later], y[later])
    history = trainer.fit(
        x[fitted],
        y[fitted],
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=validation,
        validation_split=0.0 if validation else 0.1,
        seed=rng,
        callbacks=[EarlyStopping(patience=args.patience, restore_best_weights=True)],
    )
    print(f"{len(history)} epochs in {history['seconds'][-1] if len(history) else 0:.2f} s ({history.stopped})")
    print(_results(trainer, preparation, x, y, training, held_out))
    if preparation is not None:
        output = model.predict(x[held_out])
        answers = loss.probabilities(output) if classification else preparation.inverse_target(output)
        truth = y if classification else preparation.inverse_target(y)
        print(beside_linear(x, truth, training, held_out, answers, n_outputs if classification else 0))
    if ranks.rank == 0:
        _write(args.output, model, loss, preparation, history)


def _table(args: argparse.Namespace) -> tuple[Table, list[str]]:
    """The rows and columns to learn from, and what is to be said of them."""
    table = read_table(args, args.target)
    said = table.said
    absent = is_absent(table[args.target])
    if absent.all():
        raise ValueError(f"the target {args.target!r} has no value in any row of {args.data}")
    if absent.any():
        table = table.take(~absent)
        said.append(f"{absent.sum():,} {'rows' if absent.sum() > 1 else 'row'} without a target left out")
    values = table[args.target]
    if len(known := set(values.tolist())) == 1:
        raise ValueError(f"the target {args.target!r} is {known.pop()!r} in every row of {args.data}: nothing to learn")
    keep = chosen(table, args.keep)
    if args.time is not None:
        keep.append(table.require(args.time, "--time"))
    elif any(is_date(column) for column in table.columns.values()):
        dated = next(name for name, column in table.columns.items() if is_date(column))
        warn(args, [f"rows have dates: a random split flatters; --time {shlex.quote(dated)} holds out the latest rows"])
    left_out = names_of_rows(table, keep)
    if left_out:
        reasons = ", ".join(f"{shown_cell(name)} {reason}" for name, reason in left_out.items())
        said.append(f"left out: {reasons} (--keep {shlex.quote(quoted(list(left_out)))} to use)")
    return table.without(left_out), said


def _no_target(args: argparse.Namespace) -> TableError:
    table = read_table(args)
    reason = (
        f"--target is needed: which column of {args.data} is to be predicted? Its columns are {listed(table.columns)}"
    )
    return TableError(reason + ", for the last", {"target": list(table.columns)[-1]})


def split_by_time(table: Table, column: str, share: float) -> tuple[Any, Any]:
    """Row numbers of the earlier rows and of the latest `share` of them, each in file order."""
    values = table[table.require(column, "--time")]
    if not (is_numeric(values) or is_date(values)):
        raise ValueError(f"--time expects a column of dates or numbers, got text in {column!r}, such as {values[0]!r}")
    absent = is_absent(values)
    if absent.any():
        raise ValueError(f"--time expects a time in every row, got none in {absent.sum():,} rows of {column!r}")
    count = max(1, round(len(values) * share))
    if count >= len(values):
        raise ValueError(f"--time leaves no row to train on of {len(values)}")
    order = np.argsort(values, kind="stable")
    return np.sort(order[:-count]), np.sort(order[-count:])


def warn(args: argparse.Namespace, lines: list[str]) -> None:
    """Lines for people who look at standard error."""
    for line in lines:
        print(f"densenet {args.command}: {line}", file=sys.stderr)


def _folder(text: str) -> Path:
    return Path(file_path(text))


def seed_number(text: str) -> int:
    """A seed from the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, got {text!r}")
    return share


def hidden_widths(text: str) -> list[int]:
    """Widths such as 64,32."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError(f"--hidden expects whole numbers with commas between them, got {text!r}") from None


def _results(
    trainer: Trainer, preparation: TablePreparation | None, x: Any, y: Any, training: Any, held_out: Any
) -> str:
    """The table of results, in the user's units, beside a baseline that knows the training targets only."""
    rows: list[tuple[str, ...]]
    if preparation is None or preparation.task == "classification":
        counts = np.bincount(y[training])
        majority = int(counts.argmax())
        rows = [("", "rows", "accuracy", "loss", "majority baseline")]
        for name, part in (("training", training), ("held out", held_out)):
            figures = trainer.evaluate(x[part], y[part])
            baseline = float(np.mean(y[part] == majority))
            rows.append(
                (name, f"{len(part):,}", f"{figures['accuracy']:.4f}", f"{figures['loss']:.4f}", f"{baseline:.4f}")
            )
    else:
        actual = preparation.inverse_target(y)
        rows = [("", "rows", "RMSE", "MAE", "R2", "RMSE of the mean")]
        for name, part in (("training", training), ("held out", held_out)):
            predicted = preparation.inverse_target(trainer.model.predict(x[part]))
            figures = {}
            for meter in (RMSE(), MAE(), R2()):
                meter.update(predicted[:, None], actual[part][:, None])
                figures[meter.name] = meter.result()
            mean = float(np.sqrt(np.mean((actual[part] - actual[training].mean()) ** 2)))
            rows.append(
                (
                    name,
                    f"{len(part):,}",
                    f"{figures['rmse']:.6g}",
                    f"{figures['mae']:.6g}",
                    f"{figures['r2']:.4f}",
                    f"{mean:.6g}",
                )
            )
    return text_table(rows, "<" + ">" * (len(rows[0]) - 1))


def _write(folder: Path, model: Sequential, loss: Any, preparation: TablePreparation | None, history: Any) -> None:
    persistence.save_model(model, folder / "model.npz", loss=loss, preparation=preparation)
    history.to_csv(folder / "history.csv")
    written = ["model.npz", "history.csv"]
    if len(history):
        from matplotlib.figure import Figure

        from densenet.plots import learning_curves

        figure = Figure(figsize=(8, 3.2), layout="constrained")
        learning_curves(history, ax=figure.subplots())
        with replacing(folder / "learning_curves.png") as file:
            figure.savefig(file, format="png", dpi=150)
        written.append("learning_curves.png")
    print(f"written to {folder}: {', '.join(written)}")
