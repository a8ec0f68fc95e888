"""The command: train on shipped digits or on a table of one's own, predict with a saved model, explain a weight.

`densenet train` with nothing else trains on the handwritten digits; `densenet train data.csv --target price` on a
table. Bad arguments and bad files end with one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np

from densenet import datasets, losses, optimizers, persistence
from densenet.batches import split
from densenet.callbacks import EarlyStopping
from densenet.explain.command import add_route_command
from densenet.layers import activation
from densenet.metrics import MAE, R2, RMSE, Accuracy, Metric
from densenet.sequential import Sequential, mlp
from densenet.tables import Table, TablePreparation
from densenet.trainer import Trainer


class _Parser(argparse.ArgumentParser):
    """Arguments with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults that there are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None:
            return action.help
        return argparse.ArgumentDefaultsHelpFormatter._get_help_string(self, action)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (``sys.argv`` by default); returns the exit code.

    Examples
    --------
    >>> import densenet.cli
    >>> densenet.cli.main(["train", "--epochs", "1", "--output", str(getfixture("tmp_path"))])  # doctest: +ELLIPSIS
    training on the shipped handwritten digits: ...
    0
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, OSError, ImportError) as error:
        text = " ".join(str(error).split())
        print(f"densenet {args.command}: {text}", file=sys.stderr)
        return 2
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="densenet", description="Dense neural networks in NumPy, from the command line.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    train = commands.add_parser(
        "train",
        help="train on the shipped digits, or on a CSV table",
        description="Train a dense network and write the model, its history and a picture of the learning curves. "
        "Without DATA: the shipped handwritten digits.",
        formatter_class=_Help,
    )
    train.add_argument("data", nargs="?", metavar="DATA", help="a CSV file with a header line (with --target)")
    train.add_argument("--target", help="the column of DATA to predict")
    train.add_argument(
        "--task", choices=["auto", "classification", "regression"], default="auto", help="what the target is"
    )
    train.add_argument(
        "--hidden", default="128", metavar="WIDTHS", help="widths of the hidden layers, such as 128 or 64,32"
    )
    train.add_argument("--activation", default="relu", help="activation of the hidden layers")
    train.add_argument("--dropout", type=float, default=0.3, help="share of hidden activations dropped in training")
    train.add_argument("--optimizer", default="adam", help="first-order optimizer, such as sgd or adam")
    train.add_argument("--learning-rate", type=float, help="the optimizer's rate (default: the optimizer's own)")
    train.add_argument("--epochs", type=int, default=100, help="most passes over the training rows")
    train.add_argument("--batch-size", type=int, default=32, help="rows of a mini-batch")
    train.add_argument(
        "--patience", type=int, default=20, help="epochs without a better validation loss before it stops"
    )
    train.add_argument(
        "--held-out", type=_share, default=0.2, metavar="SHARE", help="share of rows kept for the final figures"
    )
    train.add_argument("--seed", type=_seed, default=0, help="sets the weights, the split and the order of rows")
    train.add_argument("--output", type=Path, default=Path("densenet-run"), metavar="FOLDER", help="where results go")
    train.set_defaults(run=_train)

    predict = commands.add_parser(
        "predict",
        help="predict the rows of a CSV table with a saved model",
        description="Apply a model that `densenet train` has saved, with its preparation, to a CSV table.",
    )
    predict.add_argument("model", metavar="MODEL", help="a model file, such as densenet-run/model.npz")
    predict.add_argument("data", metavar="DATA", help="a CSV file with the columns the model was trained on")
    predict.add_argument("--output", type=Path, metavar="FILE", help="CSV file to write (default: standard output)")
    predict.add_argument("--proba", action="store_true", help="write the probability of every class, too")
    predict.set_defaults(run=_predict)

    add_route_command(commands)

    return parser


def _seed(text: str) -> int:
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


def _version() -> str:
    import densenet

    return f"densenet {densenet.__version__}"


# -- train ---------------------------------------------------------------------------------------------------------


def _train(args: argparse.Namespace) -> None:
    hidden = _widths(args.hidden)
    if args.data is None:
        if args.target is not None or args.task != "auto":
            raise ValueError("--target and --task need a CSV file: densenet train data.csv --target COLUMN")
        x, y = datasets.load_digits()
        preparation, classification, n_outputs = None, True, 10
        print(f"training on the shipped handwritten digits: {len(x):,} rows of {x.shape[1]} pixels, 10 classes")
    else:
        if args.target is None:
            raise ValueError(f"--target is needed: which column of {args.data} is to be predicted?")
        table = datasets.read_csv(args.data)
    optimizer = optimizers.get(args.optimizer)
    if args.learning_rate is not None:
        optimizer.learning_rate = args.learning_rate
    activation(args.activation)

    rng = np.random.default_rng(args.seed)
    if args.data is not None:
        whole = TablePreparation().fit(table, args.target, task=args.task)
        labels = whole.transform_target(table) if whole.task == "classification" else None
        training, held_out = split(len(table), args.held_out, labels, rng)
        preparation = TablePreparation().fit(table, args.target, task=whole.task, rows=training)
        classification = preparation.task == "classification"
        x, y = preparation.transform(table), preparation.transform_target(table)
        n_outputs = len(preparation.classes or [0])
        print(f"training on {args.data}: {preparation.describe()}")
    else:
        training, held_out = split(len(x), args.held_out, y, rng)
    loss = losses.SoftmaxCrossEntropy() if classification else losses.MeanSquaredError()
    metrics: list[Metric] = [Accuracy()] if classification else [RMSE()]
    model = mlp([x.shape[1], *hidden, n_outputs], activation=args.activation, dropout=args.dropout, seed=args.seed)
    trainer = Trainer(model, loss, optimizer, metrics=metrics)
    args.output.mkdir(parents=True, exist_ok=True)
    history = trainer.fit(
        x[training],
        y[training],
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_split=0.1,
        seed=rng,
        callbacks=[EarlyStopping(patience=args.patience, restore_best_weights=True)],
    )
    print(f"{len(history)} epochs in {history['seconds'][-1] if len(history) else 0:.2f} s ({history.stopped})")
    print(_results(trainer, preparation, x, y, training, held_out))
    _write(args.output, model, loss, preparation, history)


def _widths(text: str) -> list[int]:
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
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _write(folder: Path, model: Sequential, loss: Any, preparation: TablePreparation | None, history: Any) -> None:
    persistence.save_model(model, folder / "model.npz", loss=loss, preparation=preparation)
    history.to_csv(folder / "history.csv")
    written = ["model.npz", "history.csv"]
    if len(history):
        from matplotlib.figure import Figure

        from densenet.plots import learning_curves

        figure = Figure(figsize=(8, 3.2), layout="constrained")
        learning_curves(history, ax=figure.subplots())
        figure.savefig(folder / "learning_curves.png", dpi=150)
        written.append("learning_curves.png")
    print(f"written to {folder}: {', '.join(written)}")


# -- predict -------------------------------------------------------------------------------------------------------


def _predict(args: argparse.Namespace) -> None:
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
    with open(args.output, "w", newline="", encoding="utf-8") as file:
        _write_csv(file, columns)
    print(f"{len(x):,} predictions written to {args.output}")


def _write_csv(file: TextIO, columns: dict[str, Any]) -> None:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True))
