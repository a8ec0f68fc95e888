"""``densenet train``: the shipped digits or a CSV table, to a model file, its history and a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from densenet import datasets, losses, optimizers, persistence
from densenet._display import text_table
from densenet.cli.answer import beside_linear
from densenet.layers import activation
from densenet.metrics import MAE, R2, RMSE, Accuracy, Metric
from densenet.sequential import Sequential, mlp
from densenet.tables import TablePreparation
from densenet.training.callbacks import EarlyStopping
from densenet.training.data import split
from densenet.training.trainer import Trainer


def add_train_command(commands: Any) -> None:
    """Add ``train`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "train",
        help="train on the shipped digits, or on a CSV table",
        description="Train a dense network and write the model, its history and a picture of the learning curves. "
        "Without DATA: the shipped handwritten digits.",
    )

    def add(name: str, text: str, **settings: Any) -> None:
        shown = text if settings.get("default") is None else f"{text} (default: %(default)s)"
        parser.add_argument(name, help=shown, **settings)

    parser.add_argument("data", nargs="?", metavar="DATA", help="a CSV file with a header line (with --target)")
    add("--target", "the column of DATA to predict")
    add("--task", "what the target is", choices=["auto", "classification", "regression"], default="auto")
    add("--hidden", "widths of the hidden layers, such as 128 or 64,32", default="128", metavar="WIDTHS")
    add("--activation", "activation of the hidden layers", default="relu")
    add("--dropout", "share of hidden activations dropped in training", type=float, default=0.3)
    add("--optimizer", "first-order optimizer, such as sgd or adam", default="adam")
    add("--learning-rate", "the optimizer's rate (default: the optimizer's own)", type=float)
    add("--epochs", "most passes over the training rows", type=int, default=100)
    add("--batch-size", "rows of a mini-batch", type=int, default=32)
    add("--patience", "epochs without a better validation loss before it stops", type=int, default=20)
    add("--held-out", "share of rows kept for the final figures", type=_share, default=0.2, metavar="SHARE")
    add("--seed", "sets the weights, the split and the order of rows", type=_seed, default=0)
    add("--output", "where results go", type=Path, default=Path("densenet-run"), metavar="FOLDER")
    parser.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> None:
    """Train as the command line asks, print the results and write the files."""
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
    if preparation is not None:
        output = model.predict(x[held_out])
        answers = loss.probabilities(output) if classification else preparation.inverse_target(output)
        truth = y if classification else preparation.inverse_target(y)
        print(beside_linear(x, truth, training, held_out, answers, n_outputs if classification else 0))
    _write(args.output, model, loss, preparation, history)


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
        figure.savefig(folder / "learning_curves.png", dpi=150)
        written.append("learning_curves.png")
    print(f"written to {folder}: {', '.join(written)}")
