"""What classifier and regressor share: parameters, validation of what comes in, and the way through the `Trainer`."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import MethodType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

import densenet.estimators.rules as rules
import densenet.estimators.tabular as tabular
import densenet.tabular.recipe as recipe
from densenet._blas import one_thread
from densenet._memory import Buffers
from densenet._types import Array
from densenet._validation import cast, fraction, is_number
from densenet.ensemble import Ensemble
from densenet.layers import (
    Activation,
    BatchNorm,
    Blend,
    Clip,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    LogSoftmax,
    Sigmoid,
    Softmax,
    activation,
)
from densenet.layers.base import chain_width
from densenet.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.optimizers.sgd import SGD
from densenet.second_order import BayesianRegularization, FullBatchSolver, LevenbergMarquardt
from densenet.sequential import Sequential
from densenet.tabular import Calibration, Preparation, calibrate
from densenet.tabular.folds import FEWEST_ROWS, Fold, folds, random_fifths, too_rare
from densenet.training.hooks import Callback
from densenet.training.step import DivergenceError
from densenet.training.trainer import Trainer

_TOO_LARGE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class NoPartialFitError(AttributeError, ValueError):
    """There is no `partial_fit` with these parameters."""


def takes_all_rows(solver: Any) -> bool:
    """Whether a solver works on the full batch."""
    return isinstance(solver, FullBatchSolver) or (isinstance(solver, str) and solver in ("lbfgs", "lm", "br"))


class partial_fit_if_stochastic:
    """A method that is there only where batches one by one make sense: not with L-BFGS, nor with early stopping."""

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


class DenseEstimator(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn is untyped
    """What classifier and regressor share."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
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
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "batch_norm": ["boolean"],
        "layer_norm": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "callbacks": [list, tuple, Callback],
        "progress": ["boolean", None],
        "preset": [StrOptions({"tabular", "tabular-small"}), None],
        "scoring": [str, callable, None],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
    }

    _task: ClassVar[str]

    best_loss_: float | None

    # -- what the two define -----------------------------------------------------------------------------------

    @abstractmethod
    def _checked_data(self, X: Any, y: Any, incremental: bool, first: bool) -> tuple[Any, Array]:
        """X as numbers (dense or sparse), y as the estimator keeps it."""

    @abstractmethod
    def _problem(self, y: Array, settings: Any) -> tuple[Loss, int, str]:
        """The loss, the number of outputs and the name of the output's activation."""

    @abstractmethod
    def _encode(self, y: Array, loss: Loss, n_outputs: int, dtype: Any) -> tuple[Array, Array]:
        """Targets as the loss has prepared them, and as `_score_raw` compares them."""

    @abstractmethod
    def _score_raw(self, raw: Array, truth: Array, weight: Array | None) -> float:
        """Accuracy or R^2 of the model's outputs."""

    @abstractmethod
    def _held_out_classes(self, truth: Array) -> Array | None:
        """What a split keeps the proportions of."""

    @abstractmethod
    def _answers(self, raw: Array) -> Array:
        """What the model's outputs say, in the form that members are averaged in."""

    # -- parameters --------------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name; deep, those of solver, loss and schedule as well (``solver__learning_rate``).

        Parameters
        ----------
        deep : bool, default True
        """
        made: dict[str, Any] = super().get_params(deep=False)
        return made | (parts_of(made) if deep else {})

    def set_params(self, **params: Any) -> Any:
        """Set parameters by name; ``solver__learning_rate=0.1`` makes a new solver that differs in its rate.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        super().set_params(**{name: value for name, value in params.items() if "__" not in name})
        for name, value in params.items():
            own, _, inner = name.partition("__")
            if inner:
                if own not in self.get_params(deep=False):
                    raise ValueError(f"{type(self).__name__} has no parameter {own!r}, got {name!r}.")
                setattr(self, own, with_part(getattr(self, own), inner, value, name))
        return self

    def _check_parameters(self) -> None:
        if is_number(self.learning_rate):
            raise ValueError(
                f"The 'learning_rate' parameter of {type(self).__name__} must be 'constant', 'invscaling', 'adaptive' "
                f"or a Schedule. Got {self.learning_rate!r} instead: a number goes into learning_rate_init."
            )
        self._validate_params()
        self._check_scoring()

    def _check_scoring(self) -> None:
        if self.scoring is not None:
            if not self.early_stopping and self.preset is None:
                raise ValueError("scoring says which epoch is best: it needs early_stopping=True or a preset.")
            check_scoring(self, scoring=self.scoring)

    def _settings(self) -> SimpleNamespace:
        """The parameters that hold: the preset's where a parameter is at its default."""
        values = {name: value for name, value in vars(self).items() if not (name.startswith("_") or name.endswith("_"))}
        by_loss = values.get("class_weight") is not None
        if self.preset is None:
            return SimpleNamespace(**values, by_loss=by_loss and self.scoring is None, last_best=False, recipe=None)
        defaults = inspect.signature(type(self)).parameters
        for name, value in tabular.parameters(self.preset, self._task).items():
            if isinstance(values[name], type(defaults[name].default)) and values[name] == defaults[name].default:
                values[name] = copy.deepcopy(value)
        if takes_all_rows(values["solver"]):
            raise ValueError(
                f"preset={self.preset!r} is a recipe for Adam: it does not go with solver={self.solver!r}."
            )
        chosen = recipe.RECIPES[self.preset, self._task]
        by_loss = (by_loss or chosen.by_loss) and self.scoring is None
        return SimpleNamespace(**values, by_loss=by_loss, last_best=True, recipe=chosen)

    # -- what comes in -----------------------------------------------------------------------------------------

    def _validate_X_y(self, X: Any, y: Any, first: bool, y_numeric: bool) -> tuple[Any, Array]:
        if self.preset is None:
            made: tuple[Any, Array] = validate_data(
                self,
                X,
                y,
                accept_sparse=["csr", "csc"],
                multi_output=True,
                y_numeric=y_numeric,
                dtype=(np.float64, np.float32),
                reset=first,
            )
            return made
        _, y = check_X_y(np.zeros((len(y), 1)), y, multi_output=True, y_numeric=y_numeric)
        validate_data(self, X, skip_check_array=True, reset=first)
        check_consistent_length(X, y)
        if first:
            self.preparation_ = Preparation(embeds=self._settings().recipe.whole).fit(tabular.columns_of(X))
        return self.preparation_.transform(tabular.columns_of(X)), y

    def _new_data(self, X: Any) -> Any:
        """X of a fitted estimator as the model takes it."""
        if self.__dict__.get("_rows_are_ready"):
            return X
        return self._ready(self._checked_new(X))

    def _checked_new(self, X: Any) -> Any:
        check_is_fitted(self)
        _refuse_masks(X)
        if self.preset is None:
            return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        validate_data(self, X, skip_check_array=True, reset=False)
        return self.preparation_.transform(tabular.columns_of(X))

    def _ready(self, X: Any) -> Any:
        """Rows that can be sliced, in the model's dtype."""
        dtype = self.model_.dtype
        return X.tocsr().astype(dtype, copy=False) if sparse.issparse(X) else cast(X, dtype)

    def _weights(self, sample_weight: Any, X: Any, y: Array) -> Array | None:
        """Sample weights times the weights of the classes."""
        if sample_weight is None:
            return self._class_weights(y)
        made: Array = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        by_class = self._class_weights(y)
        return made if by_class is None else by_class * made

    def _class_weights(self, y: Array) -> Array | None:
        """What the class of every row weighs."""
        return None

    # -- the model ---------------------------------------------------------------------------------------------

    def _initialize(self, X: Any, y: Array, settings: Any, random_state: Any) -> None:
        """A new model with scikit-learn's initial weights, and an empty record."""
        widths = _widths(settings)
        loss, n_outputs, self.out_activation_ = self._problem(y, settings)
        n_in, hidden = X.shape[1], len(widths)
        kinds = _each(settings.activation, hidden, "activation")
        before: list[Layer] = []
        if settings.recipe is not None:
            before = recipe.front(self.preparation_.layout, settings.recipe.whole)
            n_in = chain_width(before, n_in, "preset") or n_in
        layers = self._layers((n_in, *widths, n_outputs), kinds, settings)
        if settings.recipe is not None:
            recipe.mark(layers)
            layers = [*before, *layers]
        layers += _output_layers(loss)
        span = self._output_range(y, n_outputs) if settings.recipe is not None and settings.recipe.whole else None
        if span is not None:
            layers.append(Clip(*span))
        draws = any(layer.draws for layer in layers)
        seed = random_state.randint(2**31 - 1) if draws else 0  # only then: without noise all draws are scikit-learn's
        self.model_ = Sequential(layers, seed=seed, dtype=X.dtype)
        dense = self.model_.dense_layers
        if settings.recipe is not None:
            recipe.learn_scales(self.model_, X)
        if settings.recipe is not None and settings.recipe.whole:
            recipe.fit_to_data(self.model_, X, random_state)
        elif settings.recipe is not None:
            recipe.draw(dense, random_state)
        else:
            for i, layer in enumerate(dense):
                last = kinds[min(i, hidden - 1)] if kinds else "identity"
                factor = 2.0 if last == "logistic" else 6.0
                bound = math.sqrt(factor / (layer.n_in + layer.n_out))  # Glorot and Bengio (2010), equation 16
                layer.W = random_state.uniform(-bound, bound, (layer.n_in, layer.n_out))
                layer.b = random_state.uniform(-bound, bound, layer.n_out)
        self._structure = {name: repr(getattr(settings, name)) for name in _STRUCTURAL}
        self._outputs = _outputs(loss, n_outputs)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_, self.n_layers_ = n_outputs, len(dense) + 1
        for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_", "trainer_", "history_"):
            self.__dict__.pop(name, None)

    def _output_range(self, y: Array, n_outputs: int) -> tuple[list[float], list[float]] | None:
        """The range that a recipe keeps the outputs in."""
        return None

    def _layers(self, widths: tuple[int, ...], kinds: list[Any], settings: Any) -> list[Layer]:
        hidden = len(widths) - 2
        rates = [fraction(rate, type(self).__name__, "dropout") for rate in _each(settings.dropout, hidden, "dropout")]
        layers: list[Layer] = []
        for i in range(hidden):
            width = widths[i + 1]
            layers.append(Dense(widths[i], width))
            if settings.batch_norm:
                layers.append(BatchNorm(width))
            if settings.layer_norm:
                layers.append(LayerNorm(width))
            function = activation(copy.deepcopy(kinds[i]))
            bends = settings.recipe is not None and settings.recipe.whole and isinstance(function, Activation)
            layers.append(Blend(width, function) if bends else function)
            if rates[i]:
                layers.append(Dropout(rates[i]))
        return [*layers, Dense(widths[-2], widths[-1])]

    @property
    def coefs_(self) -> list[Array]:
        """The dense layers' W: views, to be read or written in place."""
        return [layer.W for layer in self._fitted_model.dense_layers]

    @property
    def intercepts_(self) -> list[Array]:
        """The dense layers' b: views, to be read or written in place."""
        return [layer.b for layer in self._fitted_model.dense_layers]

    @property
    def _fitted_model(self) -> Sequential:
        if "model_" not in self.__dict__:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        model: Sequential = self.model_
        return model

    # -- fitting -----------------------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool, groups: Any = None
    ) -> Any:
        first = "model_" not in self.__dict__ or not (self.warm_start or incremental)
        if first or not incremental:
            self._check_parameters()
        settings = self._settings()
        _refuse_masks(X, y, sample_weight)
        if not first and (hidden := [layer.n_out for layer in self.model_.dense_layers[:-1]]) != _widths(settings):
            raise ValueError(f"hidden_layer_sizes of a model that goes on must stay {hidden}, got {_widths(settings)}.")
        if not first:
            self._check_structure(settings)
        if takes_all_rows(settings.solver):
            self._check_whole(settings, X, validation_data)
        members = self.n_members > 1 or self.cv is not None
        if not members and groups is not None:
            raise ValueError("groups say which rows a member holds out together: they need n_members above 1 or cv.")
        if members:
            self._check_members(validation_data, groups)
        X, y = self._checked_data(X, y, incremental, first)
        weight = self._weights(sample_weight, X, y)
        for name in ("members_", "ensemble_", "out_of_fold_", "temperature_", "_residuals", "_no_residuals"):
            self.__dict__.pop(name, None)
        if members:
            for name in ("model_", "trainer_", "history_", "loss_curve_"):
                self.__dict__.pop(name, None)
            return self._fit_members(X, y, weight, validation_data, settings, groups)
        return self._train(X, y, weight, validation_data, settings, first, incremental)

    def _train(
        self,
        X: Any,
        y: Array,
        weight: Array | None,
        validation_data: Any,
        settings: Any,
        first: bool,
        incremental: bool,
        fold: Fold | None = None,
    ) -> Any:
        """Train on rows that are checked; of a fold, the model knows only the rows to train on."""
        random_state = check_random_state(self.random_state)
        self._incremental = incremental
        if first:
            known = slice(None) if fold is None else fold[0]
            self._initialize(X[known], y[known], settings, random_state)
        X, dtype = self._ready(X), self.model_.dtype
        weight = None if weight is None else weight.astype(dtype, copy=False)
        if not (incremental and "trainer_" in self.__dict__ and self._goes_on(settings)):
            self.trainer_ = self._new_trainer(y, settings)
            self._training = {name: repr(getattr(settings, name)) for name in _OF_TRAINING}
        loss = self.trainer_.loss
        target, truth = self._encode(y, loss, self.n_outputs_, dtype)
        scale = 1 / self.n_outputs_ if settings.loss == "squared_error" else 1.0
        if fold is not None and takes_all_rows(settings.solver):
            X, target, truth = X[fold[0]], target[fold[0]], truth[fold[0]]
            weight = None if weight is None else weight[fold[0]]
        if settings.solver == "lbfgs":
            rules.minimise(self, settings, X, target, weight, scale)
        elif takes_all_rows(settings.solver):
            self._fit_whole(X, target, truth, weight, settings, random_state)
        else:
            rows, held_out = self._rows(X, target, truth, weight, validation_data, settings, random_state, fold)
            self._fit_stochastic(rows, held_out, settings, scale, incremental)
            if held_out is not None and held_out.calibration is not None and fold is None:
                divide_logits(self, held_out.calibration(held_out.outputs()).temperature)
        if not np.isfinite(self.model_.params).all():
            raise ValueError(_TOO_LARGE)
        return self

    def _check_structure(self, settings: Any) -> None:
        """What a model that goes on is made of cannot change."""
        for name, before in self._structure.items():
            if (now := repr(getattr(settings, name))) != before:
                raise ValueError(
                    f"{name} of a model that goes on must stay {before}, got {now}: with warm_start=False, fit begins "
                    "a new one."
                )

    def _goes_on(self, settings: Any) -> bool:
        """Whether the trainer serves the settings, its rate changed where that is all that has changed."""
        changed = [name for name, before in self._training.items() if repr(getattr(settings, name)) != before]
        rates = ("learning_rate", "learning_rate_init")
        if not changed:
            return True
        if any(name not in rates for name in changed) or not isinstance(settings.solver, str):
            return False
        self.trainer_.optimizer.learning_rate = rules.optimizer_of(settings).learning_rate
        self._training |= {name: repr(getattr(settings, name)) for name in rates}
        return True

    # -- members -----------------------------------------------------------------------------------------------

    def _check_members(self, validation_data: Any, groups: Any) -> None:
        if self.warm_start:
            raise ValueError("warm_start does not go with members, which hold different rows out.")
        if validation_data is not None and (self.cv is not None or groups is not None):
            raise ValueError("with validation_data all members train on all rows: cv and groups do not go with it.")

    def _fit_members(
        self, X: Any, y: Array, weight: Array | None, validation_data: Any, settings: Any, groups: Any
    ) -> Any:
        """Members that differ by seed and by the rows they hold out, each at its own best epoch."""
        random_state = check_random_state(self.random_state)
        parts: list[Any] = [None]
        if validation_data is None:
            parts = list(self._folds(X, y, groups, np.random.default_rng(random_state.randint(2**31 - 1))))
        count = self.n_members if self.n_members > 1 else len(parts)
        if count < len(parts):
            raise ValueError(f"n_members={count} leaves some of the {len(parts)} folds of cv without a member.")
        for fold in parts:
            if fold is not None and weight is not None and not all(weight[rows].any() for rows in fold):
                raise ValueError("the rows of a fold all weigh 0: use fewer members, or leave those rows out.")
        jobs = []
        for i, seed in enumerate(random_state.randint(2**31 - 1, size=count)):
            member = copy.copy(self)
            member.n_members, member.cv, member.random_state = 1, None, int(seed)
            own = copy.deepcopy(settings)  # callbacks and solvers of its own
            jobs.append((member, X, y, weight, validation_data, own, True, False, parts[i % len(parts)]))
        members = self.members_ = Parallel()(delayed(_trained)(*job) for job in jobs)
        first = members[0]
        self.n_outputs_, self.n_layers_, self.out_activation_ = first.n_outputs_, first.n_layers_, first.out_activation_
        self.n_iter_, self.t_ = max(member.n_iter_ for member in members), sum(member.t_ for member in members)
        self.loss_ = float(np.mean([member.loss_ for member in members]))
        if validation_data is None:
            self._calibrate_members(X, y, weight, parts)
        self._join_members()
        if validation_data is None:
            self._collect_out_of_fold(X, y, parts)
        return self

    def _join_members(self) -> None:
        self.ensemble_ = Ensemble([member.model_ for member in self.members_], loss=self.members_[0].trainer_.loss)

    def _folds(self, X: Any, y: Array, groups: Any, rng: np.random.Generator) -> list[Fold]:
        """What the members hold out: folds; of few rows, random fifths."""
        n = X.shape[0]
        if groups is not None:
            groups = np.asarray(groups)
            check_consistent_length(X, groups)
        if self.cv is not None and not isinstance(self.cv, Integral):
            splits = self.cv.split(np.zeros(n), y, groups) if hasattr(self.cv, "split") else self.cv
            return [(np.asarray(train), np.asarray(test)) for train, test in splits]
        k, labels = int(self.cv or self.n_members), self._labels(y)
        if groups is None and (n < FEWEST_ROWS or (labels is not None and too_rare(labels, k))):
            return random_fifths(n, k, rng, labels)
        return folds(n, k, rng, labels, groups)

    @abstractmethod
    def _labels(self, y: Array) -> Array | None:
        """The number of every row's class, which folds spread evenly."""

    def _collect_out_of_fold(self, X: Any, y: Array, parts: Sequence[Any]) -> None:
        """What members say of rows that they held out, the mean where there are several."""
        total, count = np.zeros(1), np.zeros(X.shape[0])
        self._residuals: list[Array] = []
        for j, (_, test) in enumerate(parts):
            own = self.members_[j :: len(parts)]
            said = self._say(own, X[test]).mean(axis=0)
            if j == 0:
                total = np.zeros((X.shape[0], said.shape[1]))
            total[test] += said
            count[test] += 1
            self._residuals.append(self._errors(said, y[test]))
        with np.errstate(invalid="ignore"):
            self.out_of_fold_ = total / count[:, None]  # NaN where no member held the row out

    def _said(self, X: Any) -> Array:
        """The answers of one member to prepared rows."""
        return self._answers(self._raw(self._ready(X)))

    def _all_say(self, X: Any) -> Array:
        """The answers of every member, (members, n, k), to rows as a caller gives them."""
        return self._say(self.members_, self._checked_new(X))

    @staticmethod
    def _say(members: Sequence[Any], X: Any) -> Array:
        return np.array([member._said(X) for member in members])

    def _errors(self, said: Array, y: Array) -> Array:
        """The size of the errors, (n, k); none for classes."""
        return np.zeros((0, 1))

    def _check_whole(self, settings: Any, X: Any, validation_data: Any) -> None:
        """Solvers that take all rows at once: what does not go with them."""
        names = ["dropout", "batch_norm"] if settings.solver != "lbfgs" else ["dropout", "callbacks", "batch_norm"]
        given = [name for name in names if getattr(settings, name)]
        given += ["validation_data"] if validation_data is not None else []
        if given:
            raise ValueError(
                f"solver={settings.solver!r} has no mini-batches: {', '.join(given)} needs 'sgd', 'adam' or an "
                "optimizer."
            )
        if settings.solver != "lbfgs" and sparse.issparse(X):
            raise ValueError(f"solver={settings.solver!r} needs dense rows: pass X.toarray().")

    def _fit_whole(
        self, X: Any, target: Array, truth: Array, weight: Array | None, settings: Any, random_state: Any
    ) -> None:
        """The second-order solvers: `max_iter` iterations on all rows; with early stopping, some are held out."""
        held_out = None
        if settings.early_stopping:
            train, test = self._split(truth, settings, random_state)
            held_out = (X[test], target[test]) if weight is None else (X[test], target[test], weight[test])
            X, target, weight = X[train], target[train], None if weight is None else weight[train]
        callbacks = [settings.callbacks] if isinstance(settings.callbacks, Callback) else settings.callbacks
        history = self.history_ = self.trainer_.fit(
            X,
            target,
            epochs=settings.max_iter,
            sample_weight=weight,
            validation_data=held_out,
            callbacks=callbacks,
            progress=settings.progress,
        )
        for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_"):
            self.__dict__.pop(name, None)
        self._start_record(held_out is not None, deciding=False)
        self.loss_curve_ += history["loss"]
        self.loss_, self.best_loss_ = self.loss_curve_[-1], min(self.loss_curve_)
        if self.validation_loss_curve_ is not None:
            self.validation_loss_curve_ += history["val_loss"]
        self.n_iter_ = len(history)
        self.t_ += self.n_iter_ * X.shape[0]
        if history.stopped == "finished":
            warnings.warn(
                f"{settings.solver} stopped at the limit of {settings.max_iter} iterations (max_iter).",
                ConvergenceWarning,
                stacklevel=4,
            )
        self._whole_is_fitted(X, target, weight)

    def _whole_is_fitted(self, X: Any, target: Array, weight: Array | None) -> None:
        """What a regressor adds: error bars."""

    def _new_trainer(self, y: Array, settings: Any) -> Trainer:
        solver = settings.solver
        loss, n_outputs, self.out_activation_ = self._problem(y, settings)
        if _outputs(loss, n_outputs) != self._outputs:
            raise ValueError(
                f"loss={settings.loss!r} needs another output layer than the model that goes on has: with "
                "warm_start=False, fit begins a new one."
            )
        patience = settings.n_iter_no_change
        max_fail = int(patience) if math.isfinite(patience) else None
        if solver == "lbfgs":
            optimizer: Any = SGD()  # for whoever trains on by hand
        elif solver == "lm":
            optimizer = LevenbergMarquardt(max_fail=max_fail)
        elif solver == "br":
            optimizer = BayesianRegularization()
        elif isinstance(solver, (Optimizer, FullBatchSolver)):
            optimizer = copy.deepcopy(solver)
        else:
            optimizer = rules.optimizer_of(settings)
        return Trainer(self.model_, loss, optimizer)

    def _rows(
        self,
        X: Any,
        target: Array,
        truth: Array,
        weight: Array | None,
        validation_data: Any,
        settings: Any,
        random_state: Any,
        fold: Fold | None,
    ) -> tuple[rules.Rows, rules.HeldOut | None]:
        """Training rows in scikit-learn's order, and what is held out."""
        held_out = None
        if validation_data is not None:
            held_out = self._given(validation_data)
        elif settings.early_stopping or fold is not None:
            train, test = self._split(truth, settings, random_state) if fold is None else fold
            held = rules.Rows(X[test], target[test], None if weight is None else weight[test], self.model_.predict_rows)
            held_out = self._held_out(held, truth[test])
            X, target, weight = X[train], target[train], None if weight is None else weight[train]
        n = X.shape[0]
        if settings.batch_size == "auto":
            batch_size = min(200, n)
        else:
            if settings.batch_size > n and settings.preset is None:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
                )
            batch_size = min(settings.batch_size, n)
        order = random_state if settings.shuffle else None
        return rules.Rows(X, target, weight, batch_size, order, drop_last=settings.preset is not None), held_out

    def _split(self, truth: Array, settings: Any, random_state: Any) -> tuple[Array, Array]:
        """Row numbers to train on and to hold out: at least 2 of these, and one for each class kept in proportion."""
        n, classes = len(truth), self._held_out_classes(truth)
        least = 2 if classes is None else max(2, len(np.unique(classes)))
        count = max(math.ceil(settings.validation_fraction * n), least)
        if n - count < least - 1:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset "
                f"(n_samples={n})."
            )
        train, test = train_test_split(np.arange(n), random_state=random_state, test_size=count, stratify=classes)
        return train, test

    def _given(self, validation_data: Any) -> rules.HeldOut:
        """What `fit` was given as `validation_data`."""
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError("fit expects validation_data as (X, y) or (X, y, sample_weight).")
        X, y, *rest = validation_data
        X = self._new_data(X)
        target, truth = self._encode(self._known(y), self.trainer_.loss, self.n_outputs_, self.model_.dtype)
        check_consistent_length(X, target)
        weight = _check_sample_weight(rest[0], X, dtype=X.dtype, ensure_non_negative=True) if rest else None
        return self._held_out(rules.Rows(X, target, weight, self.model_.predict_rows), truth)

    def _held_out(self, rows: rules.Rows, truth: Array) -> rules.HeldOut:
        """Rows that are held out, whose score compares the model's outputs with `truth`."""
        calibration = self._calibration_of(self.trainer_.loss)
        of_raw = None
        if calibration is not None:
            of_raw = functools.partial(calibration, target=rows.y, weight=rows.weight)
        return rules.HeldOut(rows, lambda: self._raw(rows.x), self._scorer(rows, truth), of_raw)

    def _scorer(self, rows: rules.Rows, truth: Array) -> Callable[[Array], float]:
        if (self.scoring in (None, "accuracy") and self._task == "classification") or self.scoring in (None, "r2"):
            return lambda raw: self._score_raw(raw, truth, rows.weight)
        view = copy.copy(self)  # of the same model, for rows that are prepared
        view.__dict__["_rows_are_ready"] = True
        scorer, y = check_scoring(self, scoring=self.scoring), self._decode(truth)
        weighted = {} if rows.weight is None else {"sample_weight": rows.weight}
        return lambda raw: float(scorer(view, rows.x, y, **weighted))

    # -- calibration -------------------------------------------------------------------------------------------

    def _calibration_of(self, loss: Loss) -> Callable[..., Calibration] | None:
        """What fits a temperature to logits, targets and weights: to a preset's cross-entropy that favours no class."""
        cross_entropy = isinstance(loss, (SoftmaxCrossEntropy, SigmoidCrossEntropy))
        if self.preset is None or not cross_entropy or getattr(loss, "pos_weight", None) is not None:
            return None
        return functools.partial(calibrate, separate=loss.task == "binary")

    def _calibrate_members(self, X: Any, y: Array, weight: Array | None, parts: Sequence[Fold]) -> None:
        """Divide the outputs of all members by one T, that of the rows they held out."""
        first = self.members_[0]
        loss, n_outputs, dtype = first.trainer_.loss, first.n_outputs_, first.model_.dtype
        calibration = self._calibration_of(loss)
        if calibration is None:
            return
        said, told, weights = [], [], []
        for j, member in enumerate(self.members_):
            rows = parts[j % len(parts)][1]
            said.append(member.model_.predict(X[rows]))
            told.append(self._encode(y[rows], loss, n_outputs, dtype)[0])
            weights.append(np.ones(len(rows)) if weight is None else weight[rows])
        T = calibration(np.concatenate(said), np.concatenate(told), np.concatenate(weights)).temperature
        for member in self.members_:
            divide_logits(member, T)

    @abstractmethod
    def _decode(self, truth: Array) -> Array:
        """Targets as `fit` was given them, from those that `_score_raw` compares."""

    @abstractmethod
    def _known(self, y: Any) -> Array:
        """Targets of a fitted estimator, checked."""

    def _fit_stochastic(
        self, rows: rules.Rows, held_out: rules.HeldOut | None, settings: Any, scale: float, incremental: bool
    ) -> None:
        scheduled: list[Callback] = []
        if settings.preset is not None:
            steps = settings.max_iter * max(1, rows.end // rows.batch_size)
            if isinstance(settings.solver, str) and not isinstance(settings.learning_rate, Schedule):
                self.trainer_.optimizer.learning_rate = recipe.CosineLog4(settings.learning_rate_init, steps)
            scheduled = [recipe.FlatCosine(steps)] if settings.recipe.whole else []
        deciding = held_out if settings.early_stopping else None
        self._start_record(held_out is not None, deciding is not None)
        follow = rules.Follow(self, settings, rows, scale, deciding, self._patience)
        callbacks = [settings.callbacks] if isinstance(settings.callbacks, Callback) else settings.callbacks
        self.n_iter_ = 0
        try:
            self.history_ = self.trainer_.fit(
                rows.stream(),
                epochs=1 if incremental else settings.max_iter,
                validation_data=None if held_out is None else held_out.rows.stream(),
                shuffle=False,
                seed=0,
                callbacks=[follow, *scheduled, *callbacks],
                progress=settings.progress,
            )
        except DivergenceError as error:
            if deciding is None:
                raise DivergenceError(f"{_TOO_LARGE} {error}") from None
            self.n_iter_ += 1
            follow.record(math.nan, math.nan)
            follow.judge_score(math.nan, math.nan, None)
            warnings.warn(f"Training diverged; the best epoch is kept. {error}", ConvergenceWarning, stacklevel=4)
            return
        stopped = self.history_.stopped
        if stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif stopped == "finished" and not incremental and settings.preset is None:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _start_record(self, held_out: bool, deciding: bool) -> None:
        """The record's attributes, where they are not there from an earlier fit that this one goes on from."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_: list[float] = []
            self.best_loss_ = None
            self.validation_scores_: list[float] | None = None
            self.validation_loss_curve_: list[float] | None = None
            self.best_validation_score_: float | None = None
            self._patience = rules.Patience()
        if "_no_improvement_count" in self.__dict__:  # pickled by densenet 0.1
            self._patience = rules.Patience(
                self.__dict__.pop("_no_improvement_count"), self.__dict__.pop("_best_figure", -math.inf)
            )
        if held_out and self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        if deciding and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_, self.best_loss_ = [], -math.inf, None
            self._patience.best = -math.inf
        elif not deciding and self.best_loss_ is None:
            self.validation_scores_, self.best_validation_score_, self.best_loss_ = None, None, math.inf

    # -- what the model says -----------------------------------------------------------------------------------

    def _raw(self, X: Any) -> Array:
        """The model's outputs for rows that are ready."""
        model, n = self.model_, X.shape[0]
        rows, work = model.predict_rows, Buffers()
        out = np.empty((n, model.n_out or self.n_outputs_), model.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n, rows):
                model.run_infer(X[start : start + rows], work, out[start : start + rows])
        return out

    # -- copies ------------------------------------------------------------------------------------------------

    def __getstate__(self) -> Any:
        """Everything but what the members make up, and what only a training that goes on needs."""
        state = dict(super().__getstate__())
        if "trainer_" in state and not (self.warm_start or self.__dict__.get("_incremental")):
            state["trainer_"] = _at_rest(self.trainer_)
        if "members_" in state:
            state.pop("ensemble_", None)
        return state

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if "members_" in self.__dict__ and "ensemble_" not in self.__dict__:
            self._join_members()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.preset is None
        tags.input_tags.string = tags.input_tags.allow_nan = self.preset is not None
        return tags


def _trained(member: Any, *arguments: Any) -> Any:
    """A member that has trained, at one BLAS thread wherever it runs, so that its bits are the same everywhere."""
    with one_thread():
        return member._train(*arguments)


def _at_rest(trainer: Trainer) -> Trainer:
    """A trainer of the same model by the same rule that has made no step yet."""
    optimizer: Any = copy.copy(trainer.optimizer)
    if isinstance(optimizer, Optimizer):
        optimizer.reset()
    return Trainer(trainer.model, trainer.loss, optimizer, metrics=trainer.metrics)


_STRUCTURAL = ("activation", "dropout", "batch_norm", "layer_norm", "preset")
"""Parameters, beside the widths, that a model is built from."""
_OF_TRAINING = (
    "loss",
    "solver",
    "learning_rate",
    "learning_rate_init",
    "power_t",
    "momentum",
    "nesterovs_momentum",
    "beta_1",
    "beta_2",
    "epsilon",
)
"""Parameters that a trainer is built from."""


def _outputs(loss: Loss, n_outputs: int) -> tuple[Any, ...]:
    """What a loss wants at the model's end."""
    return n_outputs, [type(layer).__name__ for layer in _output_layers(loss)]


def held_out_of(validation_data: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> Any:
    """`validation_data`, or the same that was given one by one.

    Raises
    ------
    ValueError
        If both are given, or a part is missing.
    """
    given = [X_val is not None, y_val is not None]
    if validation_data is not None and (any(given) or sample_weight_val is not None):
        raise ValueError("fit expects validation_data or X_val and y_val, got both.")
    if any(given) != all(given) or (sample_weight_val is not None and not any(given)):
        raise ValueError("fit expects X_val and y_val together.")
    if not all(given):
        return validation_data
    return (X_val, y_val) if sample_weight_val is None else (X_val, y_val, sample_weight_val)


def divide_logits(estimator: Any, temperature: float) -> None:
    """Divide the outputs of an estimator's network by T, in the last layer's weights."""
    estimator.temperature_ = temperature
    last = estimator.model_.dense_layers[-1]
    last.W /= temperature
    last.b /= temperature


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


_WITH_PARTS = (Optimizer, Loss, Schedule)


def _widths(settings: Any) -> list[int]:
    """Neurons of each hidden layer."""
    sizes = settings.hidden_layer_sizes
    widths = [int(size) for size in (sizes if hasattr(sizes, "__iter__") else [sizes])]
    if any(width <= 0 for width in widths):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {widths}.")
    return widths


def _refuse_masks(*arrays: Any) -> None:
    """ValueError for masked arrays, whose mask would be ignored."""
    if any(isinstance(array, np.ma.MaskedArray) for array in arrays):
        raise ValueError("got a masked array: the mask would be ignored. Fill or drop those rows.")


def _each(value: Any, hidden: int, name: str) -> list[Any]:
    """One value for each hidden layer."""
    if not isinstance(value, (list, tuple)):
        return [value] * hidden
    if len(value) != hidden:
        raise ValueError(f"{name} expects one entry for each of {hidden} hidden layers, got {len(value)}.")
    return list(value)


def _output_layers(loss: Loss) -> Sequence[Layer]:
    """What stands behind the last dense layer, so that the loss gets what it expects."""
    if loss.expects == "probabilities":
        return [Sigmoid() if loss.task == "binary" else Softmax()]
    return [LogSoftmax()] if loss.expects == "log-probabilities" else []
