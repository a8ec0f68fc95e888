"""The recipe's network for a prepared table, its members and their training, in NumPy alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from densenet._types import Array
from densenet.ensemble import Ensemble
from densenet.layers import Activation, Blend, Clip, Columns, Dense, Dropout, Layer, Periodic, RobustScale, Scale
from densenet.layers import activation as activation_of
from densenet.losses import MeanSquaredError, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.optimizers import AdamW, Optimizer
from densenet.sequential import Sequential
from densenet.tables import TablePreparation
from densenet.tabular import recipe as recipes
from densenet.tabular.calibration import calibrate
from densenet.tabular.folds import FEWEST_ROWS, Fold, folds, random_fifths, too_rare
from densenet.tabular.preparation import MOST_ONE_HOT
from densenet.training.history import History
from densenet.training.hooks import Callback
from densenet.training.run import Run
from densenet.training.trainer import Trainer

WIDTHS = (256, 256, 256)
EPOCHS, BATCH = 256, 256
MOST_STEPS = 16_000
"""Of a member, from which on epochs become fewer."""
FEW_STEPS, MOST_MEMBERS = 10_000, 4
"""Of all members together by default."""


@dataclass
class Choices:
    """What a caller sets of the recipe; None is the recipe's own.

    Attributes
    ----------
    preset : {"tabular", "tabular-small"}
    hidden : sequence of int
    activation : str
    dropout : float
    optimizer : Optimizer
        With another than the recipe's AdamW, its own rate stays as it is.
    learning_rate : float
    batch_size, epochs : int
    balance : bool
        Whether every class weighs the same.
    callbacks : callable
        Makes the callbacks of a member.
    """

    preset: str = "tabular"
    hidden: Sequence[int] | None = None
    activation: str | None = None
    dropout: float | None = None
    optimizer: Optimizer | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    balance: bool = False
    callbacks: Callable[[], list[Callback]] = field(default=list)


class Refined(Callback):
    """Keeps the epoch whose held-out error is least once its outputs are divided by the temperature that suits them.

    Where outputs are numbers, the error is the squared one and there is no temperature.

    Parameters
    ----------
    x, y : ndarray
        Rows that are held out.
    classes : bool

    Attributes
    ----------
    epoch : int
        The one that is kept, from 1; 0 before the first.
    """

    def __init__(self, x: Array, y: Array, classes: bool) -> None:
        self.x, self.y, self.classes = x, y, classes

    def on_fit_begin(self, run: Run) -> None:
        self.epoch, self._least = 0, np.inf
        self._kept = [array.copy() for array in run.model.state_arrays()]

    def on_epoch_end(self, run: Run) -> None:
        error = run.figures["val_loss"]
        if self.classes and np.isfinite(z := run.model.predict(self.x)).all():
            error = calibrate(z, self.y).error
        if error < self._least:
            self.epoch, self._least = run.epoch, error
            self._kept = [array.copy() for array in run.model.state_arrays()]

    def on_fit_end(self, run: Run) -> None:
        run.model.load_state_arrays(self._kept)


class Member(NamedTuple):
    """A trained network, what it was trained with, its record, and the epoch that was kept."""

    model: Sequential
    loss: Loss
    history: History
    epoch: int


def steps_of(rows: int, batch_size: int) -> int:
    """Mini-batches of an epoch."""
    return -(-rows // batch_size)


def epochs_for(rows: int, batch_size: int = BATCH) -> int:
    """256 epochs, and fewer where they would be more than 16,000 steps; at least 32.

    Examples
    --------
    >>> from densenet.tabular.network import epochs_for
    >>> [epochs_for(rows) for rows in (300, 10_000, 50_000, 1_000_000)]
    [256, 256, 81, 32]
    """
    return max(32, min(EPOCHS, MOST_STEPS // steps_of(rows, batch_size)))


def members_for(rows: int, columns: int) -> int:
    """Members by default: 4, and fewer where together they would take more than 10,000 steps of 50 columns.

    Examples
    --------
    >>> from densenet.tabular.network import members_for
    >>> [members_for(rows, 10) for rows in (300, 2_000, 5_000, 50_000)]
    [4, 4, 2, 1]
    """
    work = EPOCHS * steps_of(max(1, rows * 4 // 5), BATCH) * max(1.0, columns / 50)
    return int(min(MOST_MEMBERS, max(1, FEW_STEPS // work)))


def front(preparation: TablePreparation, embeds: bool) -> list[Layer]:
    """What stands before the first dense layer, for the columns as `TablePreparation` lays them out.

    Numbers are scaled by their quartiles and embedded, flags are scaled. A column of more than 9 categories has a
    vector for each of them: its one-hot columns times a matrix, without a bias.
    """
    runs: list[tuple[str, int]] = []
    for kind, width in _blocks(preparation, embeds):
        if runs and runs[-1][0] == kind != "category":
            runs[-1] = kind, runs[-1][1] + width
        else:
            runs.append((kind, width))
    chains: list[list[Layer]] = []
    for kind, width in runs:
        scaled: list[Layer] = [RobustScale(width)]
        if kind == "number" and embeds:
            scaled.append(Periodic(width).set_rate(0.1).set_decay(0.1))
        chains.append([Dense(width, 8, use_bias=False)] if kind == "category" else scaled)
    columns = Columns([width for _, width in runs], chains)
    return [columns, Scale(columns.n_out).set_rate(6.0).set_decay(6.0)]


def _blocks(preparation: TablePreparation, embeds: bool) -> list[tuple[str, int]]:
    """The kind of every feature, or of a column's features, from left to right."""
    blocks = []
    for name, features in preparation.features_by_column.items():
        categories = preparation.categories.get(name)
        if categories is None:
            blocks += [("number", 1), *[("flag", 1)] * (len(features) - 1)]
        elif embeds and len(categories) + 1 > MOST_ONE_HOT:
            blocks.append(("category", len(features)))
        else:
            blocks.append(("flag", len(features)))
    return blocks


def network(preparation: TablePreparation, x: Array, y: Array, choices: Choices, seed: int) -> Sequential:
    """The recipe's network with its first weights, which the training rows x and y set."""
    task, found = preparation.task, recipes.RECIPES[choices.preset, preparation.task]
    n_out = len(preparation.classes or [0])
    widths = WIDTHS if choices.hidden is None else choices.hidden
    function = choices.activation or found.activation
    rate = found.dropout if choices.dropout is None else choices.dropout
    before = front(preparation, found.whole)
    width = before[-1].output_width(None) or 0
    layers: list[Layer] = []
    for n in widths:
        made = activation_of(function)
        layers += [Dense(width, n), Blend(n, made) if found.whole and isinstance(made, Activation) else made]
        layers += [Dropout(rate)] if rate else []
        width = n
    layers.append(Dense(width, n_out))
    recipes.mark(layers)
    if found.whole and task == "regression":
        layers.append(Clip([float(y.min())], [float(y.max())]))
    model = Sequential([*before, *layers], seed=seed)
    for layer in model[0].branches if isinstance(model[0], Columns) else ():
        if isinstance(layer[0], Dense):
            layer[0].W = np.random.default_rng(seed).standard_normal(layer[0].W.shape)
    recipes.learn_scales(model, x)
    random_state = np.random.RandomState(seed)
    if found.whole:
        recipes.fit_to_data(model, x, random_state)
    else:
        recipes.draw([layer for layer in model if isinstance(layer, Dense)], random_state)
    return model


def train(preparation: TablePreparation, x: Array, y: Array, fold: Fold, choices: Choices, seed: int) -> Member:
    """One member: trained on the fold's first rows, at the epoch that is best on the others."""
    rows, later = fold
    found, classes = recipes.RECIPES[choices.preset, preparation.task], preparation.task == "classification"
    model = network(preparation, x[rows], y[rows], choices, seed)
    loss: Loss = SoftmaxCrossEntropy(label_smoothing=found.label_smoothing) if classes else MeanSquaredError()
    batch = min(choices.batch_size or BATCH, len(rows))
    epochs = choices.epochs if choices.epochs is not None else epochs_for(len(rows), batch)
    steps = epochs * steps_of(len(rows), batch)
    optimizer, callbacks = copy.deepcopy(choices.optimizer), choices.callbacks()  # each member has its own
    if optimizer is None:
        rate = choices.learning_rate or found.learning_rate
        optimizer = AdamW(recipes.CosineLog4(rate, max(1, steps)), beta_2=0.95, weight_decay=found.weight_decay)
        callbacks += [recipes.FlatCosine(max(1, steps))] if found.whole else []
    trainer, best = Trainer(model, loss, optimizer), Refined(x[later], y[later], classes)
    history = trainer.fit(
        x[rows],
        y[rows],
        epochs=epochs,
        batch_size=batch,
        validation_data=(x[later], y[later]),
        class_weight="balanced" if choices.balance and classes else None,
        seed=seed,
        callbacks=[best, *callbacks],
    )
    return Member(model, trainer.loss, history, best.epoch)


def members(
    preparation: TablePreparation,
    x: Array,
    y: Array,
    choices: Choices,
    count: int,
    seed: int,
    *,
    validation: Fold | None = None,
) -> tuple[Sequential, Loss, list[Member]]:
    """`count` networks that differ by seed and by the rows they hold out; one model that answers with their mean.

    Parameters
    ----------
    preparation : TablePreparation
    x, y : ndarray
        As it makes them of the training rows.
    choices : Choices
    count : int
        1 holds out a fifth; of few rows every member does, else each holds out a fold.
    seed : int
    validation : Fold, optional
        What every member trains on and holds out.

    Returns
    -------
    model : Sequential
    loss : Loss
        What its outputs are read by.
    members : list of Member
    """
    rng = np.random.default_rng(seed)
    labels = y if preparation.task == "classification" else None
    few = len(x) < FEWEST_ROWS or (labels is not None and too_rare(labels, count))
    if validation is not None:
        parts = [validation] * count
    elif count == 1 or few:
        parts = random_fifths(len(x), count, rng, labels)
    else:
        parts = folds(len(x), count, rng, labels)
    made = [
        train(preparation, x, y, parts[i], choices, int(number))
        for i, number in enumerate(rng.integers(2**31 - 1, size=count))
    ]
    if labels is not None:
        _calibrate_together(made, parts, x, y)
    model, loss = made[0].model, made[0].loss
    if count > 1:
        model = Ensemble([member.model for member in made], loss=loss).model
    return model, model.loss or loss, made


def _calibrate_together(made: Sequence[Member], parts: Sequence[Fold], x: Array, y: Array) -> None:
    """Divide the logits of all members by one temperature, which suits all that they held out."""
    pairs = list(zip(made, (later for _, later in parts), strict=False))
    logits = np.concatenate([member.model.predict(x[later]) for member, later in pairs])
    if np.isfinite(logits).all():
        T = calibrate(logits, np.concatenate([y[later] for _, later in pairs])).temperature
        for member in made:
            last = member.model.dense_layers[-1]
            last.W, last.b = last.W / T, last.b / T  # z / T = a (W / T) + b / T
