"""The recipe's network for a prepared table, its members and their training, in NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
from densenet.tabular.folds import FEWEST_ROWS, Fold, folds, random_fifths
from densenet.tabular.preparation import MOST_ONE_HOT
from densenet.training.callbacks import EarlyStopping
from densenet.training.history import History
from densenet.training.hooks import Callback
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


def train(
    preparation: TablePreparation, x: Array, y: Array, fold: Fold, choices: Choices, seed: int
) -> tuple[Sequential, Loss, History]:
    """One member: trained on the fold's first rows, at the epoch that is best on the others."""
    rows, later = fold
    found, classes = recipes.RECIPES[choices.preset, preparation.task], preparation.task == "classification"
    model = network(preparation, x[rows], y[rows], choices, seed)
    loss: Loss = SoftmaxCrossEntropy(label_smoothing=found.label_smoothing) if classes else MeanSquaredError()
    batch = min(choices.batch_size or BATCH, len(rows))
    epochs = choices.epochs if choices.epochs is not None else epochs_for(len(rows), batch)
    steps = epochs * steps_of(len(rows), batch)
    optimizer, callbacks = choices.optimizer, choices.callbacks()
    if optimizer is None:
        rate = choices.learning_rate or found.learning_rate
        optimizer = AdamW(recipes.CosineLog4(rate, max(1, steps)), beta_2=0.95, weight_decay=found.weight_decay)
        callbacks += [recipes.FlatCosine(max(1, steps))] if found.whole else []
    trainer = Trainer(model, loss, optimizer)
    history = trainer.fit(
        x[rows],
        y[rows],
        epochs=epochs,
        batch_size=batch,
        validation_data=(x[later], y[later]),
        class_weight="balanced" if choices.balance and classes else None,
        seed=seed,
        callbacks=[EarlyStopping("val_loss", patience=max(1, epochs), restore_best_weights=True), *callbacks],
    )
    return model, trainer.loss, history


def members(
    preparation: TablePreparation,
    x: Array,
    y: Array,
    choices: Choices,
    count: int,
    seed: int,
    *,
    validation: Fold | None = None,
) -> tuple[Sequential, Loss, list[History]]:
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
    histories : list of History
    """
    rng = np.random.default_rng(seed)
    labels = y if preparation.task == "classification" else None
    few = len(x) < FEWEST_ROWS or (labels is not None and np.bincount(labels).min() < 2)
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
    (model, loss, _), histories = made[0], [history for _, _, history in made]
    if count == 1:
        return model, loss, histories
    together = Ensemble([model for model, _, _ in made], loss=loss).model
    return together, together.loss or loss, histories
