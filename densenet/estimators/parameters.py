"""The parameters of the estimators: what each may be, those inside solvers and losses, and what holds for a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from types import MethodType
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from densenet.layers import Layer
from densenet.losses import MeanSquaredError, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.second_order import FullBatchSolver
from densenet.tabular.recipe import RECIPES, Recipe
from densenet.tabular.training import WIDTHS, batch_for, epochs_for, steps_of
from densenet.training.hooks import Callback, as_callbacks

CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [str, list, tuple, Layer, callable],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"}), Optimizer],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left"), None],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "batch_norm": ["boolean"],
    "layer_norm": ["boolean"],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple, None],
    "callbacks": [list, tuple, Callback],
    "progress": ["boolean", None],
    "preset": [StrOptions({"tabular", "tabular-small"}), None],
    "scoring": [str, callable, None],
    "n_members": [Interval(Integral, 1, None, closed="left")],
    "cv": ["cv_object"],
}
"""What scikit-learn's validation lets every parameter be."""
_WITHOUT_PRESET = {"dropout": 0.0, "validation_fraction": 0.1}
"""What parameters that are None stand for, where no preset has a value of its own."""


# -- what holds for a fit ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """The parameters that hold for a fit: the estimator's own, the preset's where one is at its default.

    Attributes
    ----------
    batch_size, max_iter : None
        A preset's, where they follow from the number of rows.
    recipe : Recipe or None
        The preset's.
    by_loss : bool
        Whether the loss of held-out rows says which epoch is best, not their score.
    """

    loss: str | Loss
    hidden_layer_sizes: Any
    activation: Any
    solver: str | Optimizer | FullBatchSolver
    alpha: float
    batch_size: int | str | None
    learning_rate: str | Schedule
    learning_rate_init: float
    power_t: float
    max_iter: int | None
    shuffle: bool
    tol: float
    verbose: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: float | Sequence[float]
    batch_norm: bool
    layer_norm: bool
    callbacks: Callback | Sequence[Callback]
    progress: bool | None
    preset: str | None
    recipe: Recipe | None
    by_loss: bool
    alone: bool

    @property
    def widths(self) -> list[int]:
        """Neurons of each hidden layer."""
        sizes = self.hidden_layer_sizes
        widths = [int(size) for size in (sizes if hasattr(sizes, "__iter__") else [sizes])]
        if any(width <= 0 for width in widths):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {widths}.")
        return widths

    def each(self, name: str) -> list[Any]:
        """One value of a parameter for each hidden layer."""
        value, hidden = getattr(self, name), len(self.widths)
        if not isinstance(value, (list, tuple)):
            return [value] * hidden
        if len(value) != hidden:
            raise ValueError(f"{name} expects one entry for each of {hidden} hidden layers, got {len(value)}.")
        return list(value)

    def rows_of_a_batch(self, n: int) -> int:
        """Rows of a mini-batch, of n rows."""
        if self.batch_size is None:
            return batch_for(n)
        return min(200 if isinstance(self.batch_size, str) else self.batch_size, n)

    def epochs(self, n: int) -> int:
        """Epochs, on n rows."""
        return epochs_for(n, self.rows_of_a_batch(n)) if self.max_iter is None else self.max_iter

    def steps(self, n: int) -> int:
        """Mini-batches of all epochs, on n rows."""
        return self.epochs(n) * steps_of(n, self.rows_of_a_batch(n))

    @property
    def callback_list(self) -> list[Callback]:
        """The callbacks as a list."""
        return as_callbacks(self.callbacks)


def settings_of(values: Mapping[str, Any], defaults: Mapping[str, Any], task: str) -> Settings:
    """The settings that an estimator's parameters make.

    Parameters
    ----------
    values, defaults : mapping
        The parameters, and what they are by default.
    task : {"classification", "regression"}

    Raises
    ------
    ValueError
        If the preset does not go with the solver.
    """
    preset = values["preset"]
    recipe = None if preset is None else RECIPES[preset, task]
    made = {field.name: values[field.name] for field in fields(Settings) if field.name in values}
    made |= {name: value for name, value in _WITHOUT_PRESET.items() if made[name] is None}
    for name, value in ({} if recipe is None else _instead_of_defaults(recipe, task)).items():
        if isinstance(values[name], type(defaults[name])) and values[name] == defaults[name]:
            made[name] = value
    if recipe is not None and takes_all_rows(made["solver"]):
        raise ValueError(f"preset={preset!r} is a recipe for Adam: it does not go with solver={made['solver']!r}.")
    by_loss = values.get("class_weight") is not None or (recipe is not None and recipe.by_loss)
    alone = values["n_members"] == 1 and values["cv"] is None
    return Settings(**made, recipe=recipe, by_loss=by_loss and values["scoring"] is None, alone=alone)


def _instead_of_defaults(recipe: Recipe, task: str) -> dict[str, Any]:
    """What a recipe puts in the place of parameters that are at their defaults."""
    smoothing = recipe.label_smoothing
    return {
        "activation": recipe.activation,
        "alpha": 0.0,
        "batch_size": None,
        "beta_2": 0.95,
        "dropout": recipe.dropout,
        "early_stopping": True,
        "hidden_layer_sizes": WIDTHS,
        "learning_rate_init": recipe.learning_rate,
        "loss": SoftmaxCrossEntropy(label_smoothing=smoothing) if task == "classification" else MeanSquaredError(),
        "max_iter": None,
        "n_iter_no_change": math.inf,
        "validation_fraction": 0.2,
    }


def takes_all_rows(solver: Any) -> bool:
    """Whether a solver works on the full batch."""
    return isinstance(solver, FullBatchSolver) or (isinstance(solver, str) and solver in ("lbfgs", "lm", "br"))


# -- parameters inside parameters --------------------------------------------------------------------------------------


def parts_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of solvers, losses and schedules among these, as ``solver__learning_rate``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, _WITH_PARTS):
            inner = value.config()
            found |= {f"{name}__{part}": entry for part, entry in (inner | parts_of(inner)).items()}
    return found


def with_part(whole: Any, part: str, value: Any, name: str) -> Any:
    """A new solver, loss or schedule like `whole`, with one of its parameters changed."""
    own, _, inner = part.partition("__")
    config = whole.config() if isinstance(whole, _WITH_PARTS) else {}
    if own not in config:
        raise ValueError(f"there is no parameter {name!r}: {whole!r} has {', '.join(config) or 'none'}.")
    return type(whole)(**config | {own: with_part(config[own], inner, value, name) if inner else value})


_WITH_PARTS = (Optimizer, Loss, Schedule, FullBatchSolver)


# -- partial_fit -------------------------------------------------------------------------------------------------------


class NoPartialFitError(AttributeError, ValueError):
    """There is no `partial_fit` with these parameters."""


class partial_fit_if_stochastic:
    """A method that exists only where single batches make sense: not with L-BFGS, nor with early stopping."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, estimator: Any, owner: type) -> Any:
        if estimator is None:
            return self.function
        if takes_all_rows(estimator.solver):
            raise NoPartialFitError(
                f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
            )
        if estimator.early_stopping:
            raise NoPartialFitError("partial_fit does not support early_stopping=True")
        if estimator.n_members > 1 or estimator.cv is not None:
            raise NoPartialFitError("partial_fit does not go with members, which hold different rows out: use fit.")
        if estimator.preset is not None:
            raise NoPartialFitError(
                "partial_fit does not go with a preset, whose schedule has a fixed length: use fit."
            )
        return MethodType(self.function, estimator)
