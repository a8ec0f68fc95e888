"""How the recipe's network is trained: its optimizer and schedules, the epoch that is kept, members and their folds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from densenet._types import Array
from densenet.ensemble import Ensemble
from densenet.losses import MeanSquaredError, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.optimizers import Adam, AdamW, Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.sequential import Sequential
from densenet.tables import TablePreparation
from densenet.tabular.beside import beside_each_other, workers_for
from densenet.tabular.calibration import calibration_of, share_temperature
from densenet.tabular.folds import Fold, splits
from densenet.tabular.network import Body
from densenet.tabular.preparation import layout_of
from densenet.tabular.recipe import RECIPES, CosineLog4, FlatCosine, Recipe
from densenet.tabular.trend import network_for
from densenet.training.history import History
from densenet.training.hooks import Callback
from densenet.training.run import Run
from densenet.training.trainer import Trainer

WIDTHS = (256, 256, 256)
EPOCHS, BATCH = 256, 256
MOST_STEPS = 9_000
"""Of a member, from which on epochs become fewer."""
FEW_STEPS, MOST_MEMBERS = 10_000, 4
"""Of all members together by default."""
LONG, MOST_COPIED = 100, 1 << 26
"""Steps of a member from which on, and bytes of inputs up to which, members train in processes of their own."""


# -- how much ----------------------------------------------------------------------------------------------------------


def batch_for(rows: int) -> int:
    """Rows of a mini-batch: about 256, so that all mini-batches of an epoch are of one size, give or take.

    A last mini-batch of a few rows would make a step as long as any other, on far less evidence.

    Examples
    --------
    >>> from densenet.tabular.training import batch_for
    >>> [batch_for(rows) for rows in (100, 257, 600, 1000)]
    [100, 257, 300, 250]
    """
    return -(-rows // max(1, round(rows / BATCH)))


def steps_of(rows: int, batch_size: int) -> int:
    """Mini-batches of an epoch."""
    return -(-rows // batch_size)


def epochs_for(rows: int, batch_size: int | None = None) -> int:
    """256 epochs, and fewer where they would be more than 9,000 steps; at least 32.

    So many steps of 10 columns take a minute or two, whatever the number of rows.

    Parameters
    ----------
    rows : int
        To train on.
    batch_size : int, optional
        `batch_for` by default.

    Examples
    --------
    >>> from densenet.tabular.training import epochs_for
    >>> [epochs_for(rows) for rows in (300, 10_000, 50_000, 1_000_000)]
    [256, 230, 46, 32]
    """
    return max(32, min(EPOCHS, MOST_STEPS // steps_of(rows, batch_size or batch_for(rows))))


def members_for(rows: int, columns: int) -> int:
    """Members by default: 4, and fewer where together they would take more than 10,000 steps of 50 columns.

    Examples
    --------
    >>> from densenet.tabular.training import members_for
    >>> [members_for(rows, 10) for rows in (300, 2_000, 5_000, 50_000)]
    [4, 4, 2, 1]
    """
    work = EPOCHS * steps_of(max(1, rows * 4 // 5), BATCH) * max(1.0, columns / 50)
    return int(min(MOST_MEMBERS, max(1, FEW_STEPS // work)))


# -- one network -------------------------------------------------------------------------------------------------------


def rule(
    recipe: Recipe,
    steps: int,
    rate: float | Schedule | None = None,
    *,
    betas: tuple[float, float] = (0.9, 0.95),
    epsilon: float = 1e-8,
) -> Optimizer:
    """The recipe's optimizer for so many steps: Adam, or AdamW where weights decay.

    Parameters
    ----------
    recipe : Recipe
    steps : int
    rate : float or Schedule, optional
        The largest rate of `CosineLog4`, by default the recipe's; or another schedule.
    betas, epsilon
        Of Adam.
    """
    scheduled = rate if isinstance(rate, Schedule) else CosineLog4(rate or recipe.learning_rate, max(1, steps))
    if not recipe.weight_decay:
        return Adam(scheduled, *betas, epsilon)
    return AdamW(scheduled, *betas, epsilon, weight_decay=recipe.weight_decay)


def schedules(recipe: Recipe, steps: int) -> list[Callback]:
    """What changes dropout and decay in the course of so many steps."""
    return [FlatCosine(max(1, steps))] if recipe.whole else []


class BestWeights:
    """The weights and statistics of the best epoch so far.

    Parameters
    ----------
    model : Sequential
        As it is, it is the best until there is a better.
    figure : float, default -inf
        What has to be exceeded.
    last : bool, default False
        Whether of equal epochs the last is the best.

    Attributes
    ----------
    epoch : int
        From 1; 0 before the first.
    """

    def __init__(self, model: Sequential, figure: float = -math.inf, last: bool = False) -> None:
        self.figure, self.last, self.epoch = figure, last, 0
        self._arrays = [array.copy() for array in model.state_arrays()]

    def offer(self, model: Sequential, figure: float, epoch: int) -> bool:
        """Keep the model as it is if its figure is larger than the best so far; returns whether it is."""
        if not (figure > self.figure or (self.last and figure == self.figure)):
            return False
        self.figure, self.epoch = figure, epoch
        self._arrays = [array.copy() for array in model.state_arrays()]
        return True

    def restore(self, model: Sequential) -> None:
        """Give a model the best weights and statistics."""
        model.load_state_arrays(self._arrays)


class KeepBest(Callback):
    """Keeps the epoch whose held-out error is least once its outputs are divided by the temperature that suits them.

    Where outputs are no logits, the error is the loss, and there is no temperature.

    Parameters
    ----------
    y : ndarray
        Targets of the validation rows, as the loss takes them.
    weight : ndarray, optional

    Attributes
    ----------
    epoch : int
        The one that is kept, from 1; 0 before the first.
    """

    def __init__(self, y: Array, weight: Array | None = None) -> None:
        self.y, self.weight = y, weight

    @property
    def epoch(self) -> int:
        return self._best.epoch

    def on_fit_begin(self, run: Run) -> None:
        self._best, self._calibration = BestWeights(run.model), calibration_of(run.trainer.loss)
        run.keeps_outputs |= self._calibration is not None

    def on_epoch_end(self, run: Run) -> None:
        error = run.figures["val_loss"]
        if self._calibration is not None and run.outputs is not None and np.isfinite(run.outputs).all():
            error = self._calibration(run.outputs, self.y, self.weight).error
        self._best.offer(run.model, -error, run.epoch)

    def on_fit_end(self, run: Run) -> None:
        self._best.restore(run.model)


# -- members -----------------------------------------------------------------------------------------------------------


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
        With another than the recipe's, its own rate stays as it is.
    learning_rate : float
    batch_size, epochs : int
    balance : bool
        Whether every class weighs the same, in training and where rows judge.
    callbacks : callable
        Makes the callbacks of a member. It can be pickled.
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


class Member(NamedTuple):
    """A trained network, what it was trained with, its record, and the epoch that was kept."""

    model: Sequential
    loss: Loss
    history: History
    epoch: int


def untrained(
    preparation: TablePreparation, x: Array, y: Array, choices: Choices, seed: int, alone: bool
) -> Sequential:
    """The network of a table that is prepared, with its first weights, which the training rows x and y set."""
    recipe = RECIPES[choices.preset, preparation.task]
    widths = WIDTHS if choices.hidden is None else choices.hidden
    activations = [choices.activation or recipe.activation] * len(widths)
    rates = [recipe.dropout if choices.dropout is None else choices.dropout] * len(widths)
    link = "softmax" if preparation.task == "classification" else None
    body = Body(widths, len(preparation.classes or [0]), activations, rates, link=link)
    return network_for(
        layout_of(preparation, recipe.whole),
        body,
        recipe,
        x,
        y,
        elapsed=preparation.elapsed_features,
        numbers=link is None,
        seed=seed,
        alone=alone,
    )


def weights_of(preparation: TablePreparation, y: Array, choices: Choices) -> Array | None:
    """What rows weigh: with `balance` n / (k n_c), where n_c of n rows are of their class, one of k; else None."""
    if not choices.balance or preparation.task == "regression":
        return None
    counts = np.bincount(y)
    weights: Array = (len(y) / ((counts > 0).sum() * counts[y])).astype(np.float32)
    return weights


def train(
    preparation: TablePreparation,
    x: Array,
    y: Array,
    fold: Fold,
    choices: Choices,
    seed: int,
    alone: bool,
    progress: bool | None = None,
) -> Member:
    """One member, or a network alone: trained on the fold's first rows, at the epoch that is best on the others."""
    rows, later = fold
    weight = weights_of(preparation, y, choices)
    own, watched = (None, None) if weight is None else (weight[rows], weight[later])
    recipe, classes = RECIPES[choices.preset, preparation.task], preparation.task == "classification"
    model = untrained(preparation, x[rows], y[rows], choices, seed, alone)
    loss: Loss = SoftmaxCrossEntropy(label_smoothing=recipe.label_smoothing) if classes else MeanSquaredError()
    batch = min(choices.batch_size or batch_for(len(rows)), len(rows))
    epochs = epochs_for(len(rows), batch) if choices.epochs is None else choices.epochs
    steps = epochs * steps_of(len(rows), batch)
    optimizer = copy.deepcopy(choices.optimizer) or rule(recipe, steps, choices.learning_rate)
    trainer, best = Trainer(model, loss, optimizer), KeepBest(y[later], watched)
    history = trainer.fit(
        x[rows],
        y[rows],
        epochs=epochs,
        batch_size=batch,
        sample_weight=own,
        validation_data=(x[later], y[later]) if watched is None else (x[later], y[later], watched),
        seed=seed,
        callbacks=[best, *schedules(recipe, steps), *choices.callbacks()],
        progress=progress,
    )
    return Member(model, trainer.loss, history, best.epoch)


def _trained(
    preparation: TablePreparation, x: Array, y: Array, choices: Choices, parts: Sequence[Fold], seeds: Sequence[int]
) -> list[Member]:
    """The members, beside each other where they take long enough for processes to pay."""
    if len(parts) == 1:
        return [train(preparation, x, y, parts[0], choices, seeds[0], True)]
    rows = len(parts[0][0])
    batch = min(choices.batch_size or batch_for(rows), rows)
    steps = (epochs_for(rows, batch) if choices.epochs is None else choices.epochs) * steps_of(rows, batch)
    workers = workers_for(len(parts)) if steps >= LONG and x.nbytes <= MOST_COPIED else 1
    progress = False if workers > 1 else None
    jobs = [
        partial(train, preparation, x, y, fold, choices, seed, False, progress)
        for fold, seed in zip(parts, seeds, strict=True)
    ]
    return beside_each_other(jobs, workers)


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
    parts = splits(len(x), count, rng, labels) if validation is None else [validation] * count
    seeds = rng.integers(2**31 - 1, size=count).tolist()
    made = _trained(preparation, x, y, choices, parts, seeds)
    weight = weights_of(preparation, y, choices)
    held_out = [(x[later], y[later], None if weight is None else weight[later]) for _, later in parts]
    share_temperature([member.model for member in made], held_out, made[0].loss)
    model, loss = made[0].model, made[0].loss
    if count > 1:
        model = Ensemble([member.model for member in made], loss=loss).model
    return model, model.loss or loss, made
