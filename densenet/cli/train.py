"""``densenet train``: the shipped digits or a CSV table, to a model file, its history and a picture."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from densenet import datasets, losses, optimizers, persistence
from densenet._display import text_table
from densenet._files import replacing
from densenet.cli.answer import beside_others, importance, picture
from densenet.cli.large import column_names, exceeds_memory, read_large, sample
from densenet.cli.reading import (
    add_dropping_option,
    add_reading_options,
    chosen,
    file_path,
    quoted,
    read_table,
)
from densenet.cli.recipe import PRESETS, duration, option_errors, train_recipe
from densenet.layers import activation
from densenet.metrics import MAE, R2, RMSE, Accuracy, Metric
from densenet.perceptron import mlp
from densenet.sequential import Sequential
from densenet.tables import Table, TableError, TablePreparation, listed, shown_cell
from densenet.tables.suspicions import leaks, names_of_rows
from densenet.tables.table import is_absent, is_date, is_numeric
from densenet.training.callbacks import EarlyStopping
from densenet.training.data import split
from densenet.training.history import History
from densenet.training.ranks import Ranks, world
from densenet.training.trainer import Trainer

_MOST_MEMBERS = 64


def add_train_command(commands: Any) -> None:
    """Add ``train`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "train",
        help="train on the shipped digits, or on a CSV table",
        description="Train a dense network and write the model, its history and a picture of the learning curves. "
        "Without DATA: the shipped handwritten digits.",
    )

    add = data_options(parser)
    add(
        "--preset",
        "the recipe: RealMLP-TD, its small form, ridge or logistic regression, or a plain network (default: tabular "
        "for a table, none for the digits and for what memory does not hold); options from --hidden to --patience that "
        "are not given are the recipe's own, and those in brackets of a plain network",
        choices=PRESETS,
    )
    add("--hidden", "widths of the hidden layers, such as 128 or 64,32 (128)", type=hidden_widths, metavar="WIDTHS")
    add("--activation", "activation of the hidden layers (relu)")
    add("--dropout", "share of hidden activations dropped in training (0.3)", type=float)
    add("--optimizer", "first-order optimizer, such as sgd or adam (adam)")
    add("--learning-rate", "the optimizer's rate", type=float)
    add("--epochs", "most passes over the training rows (100)", type=int)
    add("--batch-size", "rows of a mini-batch (32)", type=int)
    add("--patience", "epochs without a better validation loss before it stops (20; a recipe: all)", type=int)
    add("--members", "networks that answer as one (default: 4 to 1, fewer for more rows)", type=_members)
    parser.add_argument("--balance", action="store_true", help="let every class weigh the same")
    parser.add_argument("--refit", action="store_true", help="train the model that is written on all rows, in the end")
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
                quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
                quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
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
    large = args.data is not None and exceeds_memory(args.data)
    if args.preset is None:
        args.preset = "none" if large or args.mpi or args.data is None else "tabular"
    _check(args, large)
    if large:
        if ranks.communicator is not None:
            raise ValueError("--mpi is not for Parquet files that memory does not hold")
        _train_on_large(args)
        return
    rng = np.random.default_rng(args.seed)
    if args.data is None:
        x, y = datasets.load_digits()
        preparation, n_outputs = None, 10
        print(f"training on the shipped handwritten digits: {len(x):,} rows of {x.shape[1]} pixels, 10 classes")
        training, held_out = split(len(x), args.held_out, y, rng)
    else:
        table, said = _table(args)
        preparation, training, held_out = _prepared(args, table, rng)
        x, y = preparation.transform(table), preparation.transform_target(table)
        n_outputs = len(preparation.classes or [0])
        print("; ".join([f"training on {args.data}: {preparation.describe()}", *said]), flush=True)
        warn(args, [f"a leak? {leak}" for leak in leaks(table, preparation, training, held_out)])
        if args.preset != "none":
            _train_recipe(args, table, preparation, (x, y), training, held_out)
            return
    trainer = _new_trainer(args, x.shape[1], n_outputs, preparation, ranks.communicator)
    fitted, validation = training, None
    if args.time is not None:
        earlier, later = split_by_time(table.take(training), args.time, 0.1)
        fitted, validation = training[earlier], (x[training[later]], y[training[later]])
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
    parts = [_Part("training", len(training), x[training], y[training])]
    parts.append(_Part("held out", len(held_out), x[held_out], y[held_out]))
    print(f"{_duration(history)}\n{_results(trainer, preparation, parts)}")
    if preparation is not None:
        print(_beside_linear(trainer, preparation, (x, y), training, held_out))
    if ranks.rank == 0:
        _write(args.output, trainer.model, trainer.loss, preparation, [history])


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
    parts = [_Part("training", len(training), x[training], y[training])]
    parts.append(_Part("held out", len(held_out), x[held_out], y[held_out]))
    print(f"{duration(trained)}\n{_results(judge, preparation, parts)}\n")
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
    _write(args.output, trained.model, trained.loss, preparation, trained.histories, figures)


def _check(args: argparse.Namespace, large: bool) -> None:
    """Complain of options before anything is read, and fill in those of a plain network."""
    if (large or args.data is None) and args.preset != "none":
        raise ValueError(f"--preset {args.preset} needs a table that memory holds")
    if args.mpi and args.preset != "none":
        raise ValueError(f"--mpi trains a plain network: --preset none, not {args.preset}")
    if unused := option_errors(args):
        raise ValueError(f"--preset {args.preset} does not take {', '.join(unused)}")
    if args.preset == "none":
        plain = {"hidden": [128], "activation": "relu", "dropout": 0.3, "optimizer": "adam"}
        plain |= {"epochs": 100, "batch_size": 32, "patience": 20}
        for name, value in plain.items():
            if getattr(args, name) is None:
                setattr(args, name, value)
    if args.data is None:
        if args.target is not None or args.task != "auto" or args.time is not None:
            raise ValueError("--target and --task need a CSV file: densenet train data.csv --target COLUMN")
    elif args.target is None:
        raise no_target(args)
    if args.optimizer is not None:
        _optimizer(args)
    if args.activation is not None:
        activation(args.activation)


def _optimizer(args: argparse.Namespace) -> optimizers.Optimizer:
    optimizer = optimizers.get(args.optimizer)
    if args.learning_rate is not None:
        optimizer.learning_rate = args.learning_rate
    return optimizer


def _prepared(args: argparse.Namespace, table: Table, rng: np.random.Generator) -> tuple[TablePreparation, Any, Any]:
    """A preparation learned from the training rows; row numbers of these and of those held out."""
    whole = TablePreparation().fit(table, args.target, task=args.task)
    labels = whole.transform_target(table) if whole.task == "classification" else None
    if args.time is None:
        training, held_out = split(len(table), args.held_out, labels, rng)
    else:
        training, held_out = split_by_time(table, args.time, args.held_out)
    return TablePreparation().fit(table, args.target, task=whole.task, rows=training), training, held_out


def _new_trainer(
    args: argparse.Namespace,
    n_inputs: int,
    n_outputs: int,
    preparation: TablePreparation | None,
    communicator: Any = None,
) -> Trainer:
    """The network that the command line asks for, and what trains it; the folder for the results is made."""
    classification = preparation is None or preparation.task == "classification"
    loss = losses.SoftmaxCrossEntropy() if classification else losses.MeanSquaredError()
    metrics: list[Metric] = [Accuracy()] if classification else [RMSE()]
    widths = [n_inputs, *args.hidden, n_outputs]
    model = mlp(widths, activation=args.activation, dropout=args.dropout, seed=args.seed)
    trainer = Trainer(model, loss, _optimizer(args), metrics=metrics, communicator=communicator)
    persistence.check_savable(model, loss=loss, preparation=preparation)
    args.output.mkdir(parents=True, exist_ok=True)
    return trainer


def _train_on_large(args: argparse.Namespace) -> None:
    """Train on a Parquet file whose table memory does not hold."""
    large = read_large(args)
    preparation = large.preparation
    print("; ".join([f"training on {args.data}: {preparation.describe()}", *large.said]))
    warn(args, large.warnings)
    n_outputs = len(preparation.classes or [0])
    trainer = _new_trainer(args, len(preparation.feature_names), n_outputs, preparation)
    history = trainer.fit(
        large.training,
        epochs=args.epochs,
        validation_data=large.validation,
        callbacks=[EarlyStopping(patience=args.patience, restore_best_weights=True)],
    )
    named = (("training", large.training), ("held out", large.held_out))
    parts = [_Part(name, data.rows, data) for name, data in named]
    print(f"{_duration(history)}\n{_results(trainer, preparation, parts)}")
    (x, y), (x_out, y_out) = (sample(data) for _, data in named)
    n, count = len(y), len(y) + len(y_out)
    print(f"of {n:,} training rows and {count - n:,} rows held out:")
    both = np.concatenate([x, x_out]), np.concatenate([y, y_out])
    print(_beside_linear(trainer, preparation, both, np.arange(n), np.arange(n, count)))
    _write(args.output, trainer.model, trainer.loss, preparation, [history])


def _duration(history: History) -> str:
    return f"{len(history)} epochs in {history['seconds'][-1] if len(history) else 0:.2f} s ({history.stopped})"


def _beside_linear(
    trainer: Trainer, preparation: TablePreparation, data: tuple[Any, Any], training: Any, held_out: Any
) -> str:
    """The network's held-out figure beside the linear model's."""
    x, y = data
    output = trainer.model.predict(x[held_out])
    if preparation.classes is not None:
        answers = trainer.loss.probabilities(output)
        return beside_others(x, y, training, held_out, answers, len(preparation.classes))
    truth, answers = preparation.inverse_target(y), preparation.inverse_target(output)
    return beside_others(x, truth, training, held_out, answers, 0)


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


def no_target(args: argparse.Namespace) -> TableError:
    """What a command says without --target: the columns, and the command for the last of them."""
    names = column_names(args.data) if exceeds_memory(args.data) else list(read_table(args).columns)
    reason = f"--target is needed: which column of {args.data} is to be predicted? Its columns are {listed(names)}"
    return TableError(reason + ", for the last", {"target": names[-1]})


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
        raise argparse.ArgumentTypeError(f"expects whole numbers with commas between them, got {text!r}") from None


def _members(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_MEMBERS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MOST_MEMBERS}, got {text!r}")
    return int(text)


class _Part(NamedTuple):
    """Rows to take figures of: x and y, or batches of them and no y."""

    name: str
    rows: int
    x: Any
    y: Any = None

    def batches(self) -> Iterable[tuple[Any, Any]]:
        return self.x if self.y is None else [(self.x, self.y)]


def _results(trainer: Trainer, preparation: TablePreparation | None, parts: list[_Part]) -> str:
    """The table of results, in the user's units, beside a baseline that knows the first part's targets only."""
    rows: list[tuple[str, ...]]
    if preparation is None or preparation.task == "classification":
        rows = [("", "rows", "accuracy", "loss", "majority baseline")]
        counted = [_counts(part, trainer.model.n_out) for part in parts]
        majority = counted[0].argmax()
        for part, counts in zip(parts, counted, strict=True):
            figures = trainer.evaluate(part.x, part.y)
            shares = (figures["accuracy"], figures["loss"], counts[majority] / part.rows)
            rows.append((part.name, f"{part.rows:,}", *(f"{share:.4f}" for share in shares)))
    else:
        rows = [("", "rows", "RMSE", "MAE", "R2", "RMSE of the mean")]
        for part in parts:
            meters = rmse, mae, r2, rmse_of_mean = RMSE(), MAE(), R2(), RMSE()
            for x, t in part.batches():
                y, predicted = preparation.inverse_target(t), preparation.inverse_target(trainer.model.predict(x))
                for meter in meters[:3]:
                    meter.update(predicted[:, None], y[:, None])
                mean = preparation.inverse_target(np.zeros(len(y)))
                rmse_of_mean.update(mean[:, None], y[:, None])
            wide = (f"{meter.result():.6g}" for meter in (rmse, mae))
            rows.append((part.name, f"{part.rows:,}", *wide, f"{r2.result():.4f}", f"{rmse_of_mean.result():.6g}"))
    return text_table(rows, "<" + ">" * (len(rows[0]) - 1))


def _counts(part: _Part, classes: Any) -> Any:
    """Rows of every class."""
    return sum(np.bincount(y, minlength=classes) for _, y in part.batches())


def _write(
    folder: Path,
    model: Sequential,
    loss: losses.Loss,
    preparation: TablePreparation | None,
    histories: list[History],
    figures: dict[str, Any] | None = None,
) -> None:
    """The model, a history of each member, and the pictures."""
    persistence.save_model(model, folder / "model.npz", loss=loss, preparation=preparation)
    written, figures = ["model.npz"], dict(figures or {})
    for i, history in enumerate(histories, 1):
        name = "history.csv" if len(histories) == 1 else f"history_{i}.csv"
        history.to_csv(folder / name)
        written.append(name)
    if histories and len(histories[0]):
        from matplotlib.figure import Figure

        from densenet.plots import learning_curves

        figure = figures["learning_curves.png"] = Figure(figsize=(8, 3.2), layout="constrained")
        learning_curves(histories[0], ax=figure.subplots())
    for name, figure in figures.items():
        with replacing(folder / name) as file:
            figure.savefig(file, format="png", dpi=150)
        written.append(name)
    print(f"written to {folder}: {', '.join(written)}")
