"""A plain network of ``densenet train --preset none``, on digits or on a table."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from densenet import losses, persistence
from densenet.cli.answer import beside_others
from densenet.cli.options import named_optimizer
from densenet.cli.results import Part, results, write_results
from densenet.cli.rows import split_by_time
from densenet.metrics import RMSE, Accuracy, Metric
from densenet.perceptron import mlp
from densenet.tables import Table, TablePreparation
from densenet.training.callbacks import EarlyStopping
from densenet.training.history import History
from densenet.training.ranks import Ranks
from densenet.training.trainer import Trainer

DEFAULTS = {"hidden": [128], "activation": "relu", "dropout": 0.3, "optimizer": "adam"}
DEFAULTS |= {"epochs": 100, "batch_size": 32, "patience": 20}
"""What options that are not given are."""


def train_plain(
    args: argparse.Namespace,
    table: Table | None,
    preparation: TablePreparation | None,
    data: tuple[Any, Any],
    training: Any,
    held_out: Any,
    rng: np.random.Generator,
    ranks: Ranks,
) -> None:
    """Train on rows of x and y, print the figures, and write the files; of several processes the first does."""
    x, y = data
    n_outputs = 10 if preparation is None else len(preparation.classes or [0])
    trainer = new_trainer(args, x.shape[1], n_outputs, preparation, ranks.communicator)
    fitted, validation = training, None
    if table is not None and args.time is not None:
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
    parts = [Part("training", len(training), x[training], y[training])]
    parts.append(Part("held out", len(held_out), x[held_out], y[held_out]))
    print(f"{duration(history)}\n{results(trainer, preparation, parts)}")
    if preparation is not None:
        print(beside_linear(trainer, preparation, (x, y), training, held_out))
    if ranks.rank == 0:
        write_results(args.output, trainer.model, trainer.loss, preparation, [history])


def new_trainer(
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
    trainer = Trainer(model, loss, named_optimizer(args), metrics=metrics, communicator=communicator)
    persistence.check_savable(model, loss=loss, preparation=preparation)
    args.output.mkdir(parents=True, exist_ok=True)
    return trainer


def duration(history: History) -> str:
    """Epochs, seconds, and why training ended."""
    return f"{len(history)} epochs in {history['seconds'][-1] if len(history) else 0:.2f} s ({history.stopped})"


def beside_linear(
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
