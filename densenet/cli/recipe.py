"""How ``densenet train`` answers a table that memory holds: the recipe's network, its members, or a linear model."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from densenet import persistence
from densenet._types import Array
from densenet.cli.options import named_optimizer
from densenet.ensemble import Ensemble
from densenet.layers import Dense
from densenet.losses import MeanSquaredError, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.sequential import Sequential
from densenet.tables import TablePreparation
from densenet.tabular.folds import Fold
from densenet.tabular.linear import LinearBaseline
from densenet.tabular.training import Choices, Member, members, members_for, untrained
from densenet.training.callbacks import EarlyStopping
from densenet.training.history import History
from densenet.training.hooks import Callback

PRESETS = ("tabular", "tabular-small", "linear", "none")


class Trained(NamedTuple):
    """A model, what reads its outputs, and its members."""

    model: Sequential
    loss: Loss
    members: list[Member]

    @property
    def histories(self) -> list[History]:
        """Of each member."""
        return [member.history for member in self.members]

    def answers(self, x: Array, preparation: TablePreparation) -> Array:
        """Probabilities (n, classes), or predictions in the user's units (n,)."""
        output = self.model.predict(x)
        if preparation.task == "classification":
            return self.loss.probabilities(output)
        said: Array = preparation.inverse_target(output)
        return said


def train_recipe(
    args: argparse.Namespace, preparation: TablePreparation, x: Array, y: Array, validation: Fold | None
) -> Trained:
    """Train on rows x, y as the command line asks.

    Parameters
    ----------
    args : Namespace
    preparation : TablePreparation
    x, y : ndarray
        The training rows.
    validation : Fold, optional
        What every member trains on and is judged by, where rows have a time.
    """
    if args.preset == "linear":
        return _linear(preparation, x, y)
    if args.balance and preparation.task == "regression":
        raise ValueError("--balance is for classes, and the target is a number")
    choices = Choices(
        args.preset,
        args.hidden,
        args.activation,
        args.dropout,
        None if args.optimizer is None else named_optimizer(args),
        args.learning_rate,
        args.batch_size,
        args.epochs,
        args.balance,
        list if args.patience is None else partial(_stopping, args.patience),
    )
    count = args.members or members_for(len(x), x.shape[1])
    one = untrained(preparation, x, y, choices, args.seed, count == 1)
    persistence.check_savable(Ensemble([one] * count).model if count > 1 else one, preparation=preparation)
    return Trained(*members(preparation, x, y, choices, count, args.seed, validation=validation))


def _stopping(patience: int) -> list[Callback]:
    return [EarlyStopping("val_loss", patience=patience)]


def _linear(preparation: TablePreparation, x: Array, y: Array) -> Trained:
    """Ridge or multinomial logistic regression, as a network of one layer."""
    classes = len(preparation.classes or ())
    baseline = LinearBaseline(x, y.reshape(-1), classes)
    model = Sequential([Dense(x.shape[1], max(1, classes))])
    model.dense_layers[0].W, model.dense_layers[0].b = baseline.W, baseline.b
    loss: Loss = SoftmaxCrossEntropy() if classes else MeanSquaredError()
    return Trained(model, loss, [])


def duration(trained: Trained) -> str:
    """How long training took, and how many epochs each member took and kept."""
    if not trained.histories:
        return "solved at once"
    each = [history["seconds"][-1] if len(history) else 0.0 for history in trained.histories]
    epochs = len(trained.histories[0])
    best = ", ".join(str(member.epoch) for member in trained.members)
    if len(each) == 1:
        return f"{epochs} epochs in {each[0]:.2f} s, the best is {best}"
    return f"{len(each)} members of {epochs} epochs in {np.mean(each):.2f} s each, the best are {best}"


def option_errors(args: argparse.Namespace) -> list[str]:
    """Options that the preset has no use for."""
    unused: dict[str, Any] = {}
    if args.preset == "linear":
        names = "hidden activation dropout optimizer learning_rate epochs batch_size patience members".split()
        unused = {name: getattr(args, name) for name in names}
    elif args.preset == "none":
        unused = {"members": args.members, "balance": args.balance or None, "refit": args.refit or None}
    return [f"--{name.replace('_', '-')}" for name, value in unused.items() if value is not None]
