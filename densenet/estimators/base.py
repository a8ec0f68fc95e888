"""What classifier and regressor share: checks of what comes in, one network's training, members, and what they say."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

from densenet._memory import Buffers
from densenet._types import Array
from densenet._validation import cast, check_weights, is_number
from densenet.ensemble import Ensemble
from densenet.estimators import rules
from densenet.estimators.data import (
    HeldOut,
    Rows,
    SklearnBatches,
    check_rows,
    columns_of,
    refuse_masks,
    split,
    weighted,
)
from densenet.estimators.follow import Follow, Record
from densenet.estimators.members import answers, check_weights_of, held_out_by_members, out_of_fold, trained
from densenet.estimators.model import (
    body_of,
    check_structure,
    outputs_of,
    plain_model,
    preset_model,
    structure_of,
    widen_range,
)
from densenet.estimators.parameters import (
    CONSTRAINTS,
    Settings,
    parts_of,
    settings_of,
    takes_all_rows,
    with_part,
)
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.optimizers.sgd import SGD
from densenet.second_order import BayesianRegularization, FullBatchSolver, LevenbergMarquardt
from densenet.sequential import Sequential
from densenet.tabular import Preparation
from densenet.tabular.calibration import calibration_of, share_temperature
from densenet.tabular.folds import Fold
from densenet.tabular.training import schedules
from densenet.training.callbacks import CSVLogger, ModelCheckpoint
from densenet.training.step import DivergenceError
from densenet.training.trainer import Trainer

_TOO_LARGE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
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
_OF_MEMBERS = ("members_", "ensemble_", "out_of_fold_", "temperature_", "_residuals")
_OF_ONE_NETWORK = ("model_", "trainer_", "history_", "loss_curve_")


class DenseEstimator(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn is untyped
    """What classifier and regressor share."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    _task: ClassVar[str]

    best_loss_: float | None
    trainer_: Trainer[Any]

    # -- what the two define -----------------------------------------------------------------------------------

    @abstractmethod
    def _checked_data(self, X: Any, y: Any, incremental: bool, first: bool) -> tuple[Any, Array]:
        """X as numbers (dense or sparse), y as the estimator keeps it."""

    @abstractmethod
    def _known(self, y: Any) -> Array:
        """Targets of a fitted estimator, checked."""

    @abstractmethod
    def _problem(self, y: Array, settings: Settings) -> tuple[Loss, int, str]:
        """The loss, the number of outputs and the name of the output's activation."""

    @abstractmethod
    def _encode(self, y: Array, loss: Loss, n_outputs: int, dtype: Any) -> tuple[Array, Array]:
        """Targets as the loss has prepared them, and as `_score_raw` compares them."""

    @abstractmethod
    def _decode(self, truth: Array) -> Array:
        """Targets as `fit` was given them, from those that `_score_raw` compares."""

    @abstractmethod
    def _score_raw(self, raw: Array, truth: Array, weight: Array | None) -> float:
        """Accuracy or R^2 of the model's outputs."""

    @abstractmethod
    def _held_out_classes(self, truth: Array) -> Array | None:
        """The labels whose proportions a split keeps."""

    @abstractmethod
    def _labels(self, y: Array) -> Array | None:
        """The number of every row's class, which folds spread evenly."""

    @abstractmethod
    def _answers(self, raw: Array) -> Array:
        """The model's answers, in the form in which members are averaged."""

    def _class_weights(self, y: Array) -> Array | None:
        """The class weight of every row."""
        return None

    def _errors(self, said: Array, y: Array) -> Array:
        """The size of the errors, (n, k); none for classes."""
        return np.zeros((0, 1))

    def _whole_is_fitted(self, rows: Rows) -> None:
        """What a regressor adds after a second-order solver: error bars."""

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
        if self.scoring is not None:
            if not self.early_stopping and self.preset is None:
                raise ValueError("scoring says which epoch is best: it needs early_stopping=True or a preset.")
            check_scoring(self, scoring=self.scoring)
        self._checked_parameters = self.get_params(deep=False)

    def _changed_parameters(self) -> bool:
        """Whether parameters are other than those that were checked last: a check of all takes as long as a step."""
        now, before = self.get_params(deep=False), self.__dict__.get("_checked_parameters", {})
        return any(value is not before.get(name, self) for name, value in now.items())

    def _settings(self) -> Settings:
        defaults = {name: parameter.default for name, parameter in inspect.signature(type(self)).parameters.items()}
        return settings_of(self.get_params(deep=False), defaults, self._task)

    # -- what comes in -----------------------------------------------------------------------------------------

    def _validate_X_y(self, X: Any, y: Any, first: bool, y_numeric: bool) -> tuple[Any, Array]:
        if self.preset is None:
            self.__dict__.pop("preparation_", None)
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
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        _, y = check_X_y(np.zeros((len(y), 1)), y, multi_output=True, y_numeric=y_numeric)
        columns = self._named(X, first)
        check_consistent_length(next(iter(columns.values())), y)
        if first:
            recipe = self._settings().recipe
            self.preparation_ = Preparation(embeds=recipe is not None and recipe.whole).fit(columns)
        return self.preparation_.transform(columns), y

    def _named(self, X: Any, first: bool) -> dict[str, Any]:
        """The columns of X, named and counted as scikit-learn does; it knows no mapping of columns."""
        columns = columns_of(X)
        if not isinstance(X, Mapping):
            validate_data(self, X, skip_check_array=True, reset=first)
        elif first:
            self.n_features_in_, self.feature_names_in_ = len(X), np.array(list(X), object)
        return columns

    def _new_data(self, X: Any) -> Any:
        """X of a fitted estimator as the model takes it."""
        if self.__dict__.get("_rows_are_ready"):
            return X
        return self._ready(self._checked_new(X))

    def _checked_new(self, X: Any) -> Any:
        check_is_fitted(self)
        refuse_masks(X)
        if "preparation_" not in self.__dict__:
            return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self.preparation_.transform(self._named(X, first=False))

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

    # -- the model ---------------------------------------------------------------------------------------------

    def _initialize(self, X: Any, y: Array, settings: Settings, random_state: Any) -> None:
        """A new model with its initial weights, and an empty record."""
        loss, n_outputs, self.out_activation_ = self._problem(y, settings)
        body = body_of(settings, n_outputs, loss, type(self).__name__)
        if settings.recipe is None:
            self.model_ = plain_model(body, loss, X.shape[1], X.dtype, random_state)
        else:
            target, _ = self._encode(y, loss, n_outputs, X.dtype)
            self.model_ = preset_model(settings, body, loss, self.preparation_, X, target, random_state)
        self._structure, self._outputs = structure_of(settings), outputs_of(loss, n_outputs)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_, self.n_layers_ = n_outputs, len(body.widths) + 2
        for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_", "trainer_", "history_", "_record"):
            self.__dict__.pop(name, None)

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
            who = f"this {type(self).__name__}"
            has_members = "members_" in self.__dict__
            raise AttributeError(f"{who} has members: ask members_[0]" if has_members else f"{who} is not fitted yet")
        model: Sequential = self.model_
        return model

    # -- fitting -----------------------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool, groups: Any = None
    ) -> Any:
        first = "model_" not in self.__dict__ or not (self.warm_start or incremental)
        if not incremental or self._changed_parameters():
            self._check_parameters()
        settings = self._settings()
        refuse_masks(X, y, sample_weight)
        if not first:
            check_structure(self._structure, settings)
        if takes_all_rows(settings.solver):
            self._check_whole(settings, X, validation_data)
        members = self.n_members > 1 or self.cv is not None
        if not members and groups is not None:
            raise ValueError("groups say which rows a member holds out together: they need n_members above 1 or cv.")
        if members:
            self._check_members(settings, validation_data, groups)
        X, y = self._checked_data(X, y, incremental, first)
        weight = self._weights(sample_weight, X, y)
        for name in _OF_MEMBERS + (_OF_ONE_NETWORK if members else ()):
            self.__dict__.pop(name, None)
        if members:
            return self._fit_members(X, y, weight, validation_data, settings, groups)
        return self._train(X, y, weight, validation_data, settings, first, incremental)

    def _train(
        self,
        X: Any,
        y: Array,
        weight: Array | None,
        validation_data: Any,
        settings: Settings,
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
        goes_on = incremental and "trainer_" in self.__dict__ and self._goes_on(settings)
        loss = self.trainer_.loss if goes_on else self._new_loss(y, settings)
        rows = self._rows(X, y, weight, loss)
        if not first:
            widen_range(self.model_, rows.x, rows.target)
        held_out = None if validation_data is None else self._given(validation_data, loss)
        if fold is not None:
            watches = settings.early_stopping or not takes_all_rows(settings.solver)
            rows, held_out = rows.take(fold[0]), rows.take(fold[1]) if watches else None
        elif held_out is None and settings.early_stopping and settings.solver != "lbfgs":
            classes = self._held_out_classes(rows.truth)
            train, test = split(len(rows), settings.validation_fraction, classes, random_state)
            rows, held_out = rows.take(train), rows.take(test)
        check_rows(rows, held_out)
        if not goes_on:
            self.trainer_ = self._new_trainer(loss, settings, len(rows))
        scale = 1 / self.n_outputs_ if settings.loss == "squared_error" else 1.0
        if settings.solver == "lbfgs":
            self.loss_, self.n_iter_ = rules.minimise(self.model_, self.trainer_.loss, settings, rows, scale)
        elif takes_all_rows(settings.solver):
            self._fit_whole(rows, held_out, settings)
        else:
            self._fit_stochastic(rows, held_out, settings, scale, random_state)
            if held_out is not None and fold is None:
                self._calibrate([self], [held_out])
        if not np.isfinite(self.model_.params).all():
            raise ValueError(_TOO_LARGE)
        return self

    def _rows(self, X: Any, y: Array, weight: Array | None, loss: Loss) -> Rows:
        """Rows of checked data in the model's dtype."""
        X, dtype = self._ready(X), self.model_.dtype
        target, truth = self._encode(y, loss, self.n_outputs_, dtype)
        if weight is not None:
            given, weight = weight, cast(weight, dtype)
            check_weights(weight, given, "fit", "weights")
        return Rows(X, target, truth, weight)

    def _given(self, validation_data: Any, loss: Loss) -> Rows:
        """What `fit` was given as `validation_data`."""
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError("fit expects validation_data as (X, y) or (X, y, sample_weight).")
        refuse_masks(*validation_data)
        X, y, *rest = validation_data
        X, y = self._checked_new(X), self._known(y)
        check_consistent_length(X, y)
        weight = _check_sample_weight(rest[0], X, dtype=X.dtype, ensure_non_negative=True) if rest else None
        return self._rows(X, y, weight, loss)

    def _new_loss(self, y: Array, settings: Settings) -> Loss:
        """The loss that the settings say, if the model's outputs serve it."""
        loss, n_outputs, self.out_activation_ = self._problem(y, settings)
        if outputs_of(loss, n_outputs) != self._outputs:
            same = self.__dict__.get("_training", {}).get("loss") == repr(settings.loss)
            what = f"y ({n_outputs} outputs) needs" if same else f"loss={settings.loss!r} needs"
            raise ValueError(
                f"{what} another output layer than the model that goes on has ({self.n_outputs_} outputs): with "
                "warm_start=False, fit begins a new one."
            )
        return loss

    def _new_trainer(self, loss: Loss, settings: Settings, n: int) -> Trainer[Any]:
        """The trainer of the model on n rows."""
        solver = settings.solver
        patience = settings.n_iter_no_change
        optimizer: Any
        if solver == "lbfgs":
            optimizer = SGD()  # never used here: `trainer_` can be, by hand
        elif solver == "lm":
            optimizer = LevenbergMarquardt(max_fail=int(patience) if math.isfinite(patience) else None)
        elif solver == "br":
            optimizer = BayesianRegularization()
        elif isinstance(solver, (Optimizer, FullBatchSolver)):
            optimizer = copy.deepcopy(solver)
        else:
            optimizer = rules.optimizer_of(settings, settings.steps(n))
        self._training = {name: repr(getattr(settings, name)) for name in _OF_TRAINING}
        return Trainer(self.model_, loss, optimizer)

    def _goes_on(self, settings: Settings) -> bool:
        """Whether the trainer serves the settings, its rate changed where that is all that has changed."""
        changed = [name for name, before in self._training.items() if repr(getattr(settings, name)) != before]
        rates = ("learning_rate", "learning_rate_init")
        if not changed:
            return True
        if any(name not in rates for name in changed) or not isinstance(settings.solver, str):
            return False
        self.trainer_.optimizer.learning_rate = rules.optimizer_of(settings, 1).learning_rate
        self._training |= {name: repr(getattr(settings, name)) for name in rates}
        return True

    def _fit_stochastic(
        self, rows: Rows, held_out: Rows | None, settings: Settings, scale: float, random_state: Any
    ) -> None:
        n, requested = len(rows), settings.batch_size
        if settings.recipe is None and isinstance(requested, int) and requested > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
            )
        batches = SklearnBatches(rows, settings.rows_of_a_batch(n), random_state if settings.shuffle else None)
        watched = None if held_out is None else SklearnBatches(held_out, self.model_.predict_rows).stream()
        deciding = None if held_out is None or not settings.early_stopping else self._judge(held_out)
        scheduled = [] if settings.recipe is None else schedules(settings.recipe, settings.steps(n))
        record = self._begin_record(held_out is not None, deciding is not None)
        if held_out is not None and deciding is not None and record.best_score not in (None, -math.inf):
            outputs = self._raw(held_out.x)  # of a model that goes on: other rows may be held out now
            error = self.trainer_.loss.forward(outputs, held_out.target, held_out.weight)
            record.start_from(*deciding.judge(outputs, error), settings.by_loss)
        follow = Follow(settings, record, scale, deciding)
        try:
            self.history_ = self.trainer_.fit(
                batches.stream(),
                epochs=1 if self._incremental else settings.epochs(n),
                validation_data=watched,
                shuffle=False,
                seed=0,
                callbacks=[follow, *scheduled, *settings.callback_list],
                progress=settings.progress,
            )
        except DivergenceError as error:
            if deciding is None:
                raise DivergenceError(f"{_TOO_LARGE} {error}") from None
            follow.note_divergence()
            warnings.warn(f"Training diverged; the best epoch is kept. {error}", ConvergenceWarning, stacklevel=4)
        else:
            self._warn_of_the_end(settings)
        finally:
            self._tell(record)

    def _warn_of_the_end(self, settings: Settings) -> None:
        stopped = self.history_.stopped
        if stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif stopped == "finished" and not self._incremental and settings.recipe is None:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _begin_record(self, held_out: bool, deciding: bool) -> Record:
        """The record of a fit; one that goes on continues the last one's."""
        if "_record" not in self.__dict__:
            self._record = Record(samples=self.t_)
        self._record.begin(held_out, deciding)
        return self._record

    def _tell(self, record: Record) -> None:
        """The record as scikit-learn's attributes."""
        self.loss_, self.loss_curve_, self.best_loss_ = record.loss, record.losses, record.best_loss
        self.validation_loss_curve_, self.validation_scores_ = record.held_out_losses, record.scores
        self.best_validation_score_ = record.best_score
        self.n_iter_, self.t_ = record.epochs, record.samples

    # -- all rows at once --------------------------------------------------------------------------------------

    def _check_whole(self, settings: Settings, X: Any, validation_data: Any) -> None:
        """Complain about parameters that a solver on all rows does not take."""
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

    def _fit_whole(self, rows: Rows, held_out: Rows | None, settings: Settings) -> None:
        """The second-order solvers: `max_iter` iterations on all rows."""
        validation = None
        if held_out is not None:
            validation = (held_out.x, held_out.target, held_out.weight)[: 2 if held_out.weight is None else 3]
        epochs = settings.epochs(len(rows))
        history = self.history_ = self.trainer_.fit(
            rows.x,
            rows.target,
            epochs=epochs,
            sample_weight=rows.weight,
            validation_data=validation,
            callbacks=settings.callback_list,
            progress=settings.progress,
        )
        self.__dict__.pop("_record", None)
        record = self._begin_record(held_out is not None, deciding=False)
        record.losses += history["loss"]
        record.loss, record.best_loss, record.epochs = record.losses[-1], min(record.losses), len(history)
        if record.held_out_losses is not None:
            record.held_out_losses += history["val_loss"]
        record.samples += record.epochs * len(rows)
        self._tell(record)
        if history.stopped == "finished":
            warnings.warn(
                f"{settings.solver} stopped at the limit of {epochs} iterations (max_iter).",
                ConvergenceWarning,
                stacklevel=4,
            )
        self._whole_is_fitted(rows)

    # -- rows that are held out --------------------------------------------------------------------------------

    def _judge(self, rows: Rows) -> HeldOut:
        """Rows that decide which epoch is best."""
        calibration = None if self.preset is None else calibration_of(self.trainer_.loss)
        return HeldOut(rows, self._scorer(rows), calibration)

    def _scorer(self, rows: Rows) -> Callable[[Array], float]:
        if self.scoring in (None, "accuracy" if self._task == "classification" else "r2"):
            return lambda raw: self._score_raw(raw, rows.truth, rows.weight)
        view = copy.copy(self)  # of the same model, for rows that are prepared
        view.__dict__["_rows_are_ready"] = True
        score, y = weighted(check_scoring(self, scoring=self.scoring), rows.weight), self._decode(rows.truth)
        return lambda raw: score(view, rows.x, y)

    def _calibrate(self, members: list[Any], held_out: list[Rows]) -> None:
        """With a preset: divide the outputs of all members by one T, which suits the rows that they held out."""
        if self.preset is None:
            return
        models = [member.model_ for member in members]
        given = [(rows.x, rows.target, rows.weight) for rows in held_out]
        temperature = share_temperature(models, given, members[0].trainer_.loss)
        for member in members if temperature is not None else ():
            member.temperature_ = temperature

    # -- members -----------------------------------------------------------------------------------------------

    def _check_members(self, settings: Settings, validation_data: Any, groups: Any) -> None:
        if self.warm_start:
            raise ValueError("warm_start does not go with members, which hold different rows out.")
        if validation_data is not None and (self.cv is not None or groups is not None):
            raise ValueError("with validation_data all members train on all rows: cv and groups do not go with it.")
        for callback in settings.callback_list:
            if isinstance(callback, (ModelCheckpoint, CSVLogger)):
                raise ValueError(
                    f"every member would write the file of {callback!r} again: fit without it, and save the members' "
                    "models, or all of them with ensemble_.save(path)."
                )

    def _fit_members(
        self, X: Any, y: Array, weight: Array | None, validation_data: Any, settings: Settings, groups: Any
    ) -> Any:
        """Members that differ by seed and by the rows they hold out, each at its own best epoch."""
        random_state = check_random_state(self.random_state)
        parts: list[Fold] = []
        if validation_data is None:
            rng = np.random.default_rng(random_state.randint(2**31 - 1))
            parts = held_out_by_members(self.cv, self.n_members, y, self._labels(y), groups, rng)
            check_weights_of(parts, weight)
        count = self.n_members if self.n_members > 1 else len(parts)
        folds: list[Fold | None] = [parts[i % len(parts)] if parts else None for i in range(count)]
        jobs = []
        for fold, seed in zip(folds, random_state.randint(2**31 - 1, size=count), strict=True):
            member = copy.copy(self)
            member.n_members, member.cv, member.random_state = 1, None, int(seed)
            own = copy.deepcopy(settings)  # callbacks and solvers of its own
            jobs.append((member, X, y, weight, validation_data, own, True, False, fold))
        members = self.members_ = Parallel()(delayed(trained)(*job) for job in jobs)
        first = members[0]
        self.n_outputs_, self.n_layers_, self.out_activation_ = first.n_outputs_, first.n_layers_, first.out_activation_
        self.n_iter_, self.t_ = max(member.n_iter_ for member in members), sum(member.t_ for member in members)
        self.loss_ = float(np.mean([member.loss_ for member in members]))
        if parts and self.preset is not None:
            rows = Rows(X, *self._encode(y, first.trainer_.loss, first.n_outputs_, first.model_.dtype), weight)
            self._calibrate(members, [rows.take(fold[1]) for fold in folds if fold is not None])
        self._join_members()
        if parts:
            said = [answers(members[j :: len(parts)], X[test]).mean(axis=0) for j, (_, test) in enumerate(parts)]
            self._residuals = [self._errors(answer, y[test]) for answer, (_, test) in zip(said, parts, strict=True)]
            self.out_of_fold_ = out_of_fold(parts, said, X.shape[0])
        return self

    def _join_members(self) -> None:
        self.ensemble_ = Ensemble([member.model_ for member in self.members_], loss=self.members_[0].trainer_.loss)

    def _said(self, X: Any) -> Array:
        """The answers of one member to prepared rows."""
        return self._answers(self._raw(self._ready(X)))

    def _all_say(self, X: Any) -> Array:
        """The answers of every member, (members, n, k), to rows as a caller gives them."""
        return answers(self.members_, self._checked_new(X))

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
        state.pop("_checked_parameters", None)
        if "members_" in state:
            state.pop("ensemble_", None)
        return state

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if "members_" in self.__dict__ and "ensemble_" not in self.__dict__:
            self._join_members()
        if "_no_improvement_count" in self.__dict__:  # pickled by densenet 0.1
            self._take_old_record()

    def _take_old_record(self) -> None:
        waited, best = self.__dict__.pop("_no_improvement_count"), self.__dict__.pop("_best_figure", -math.inf)
        if "loss_curve_" in self.__dict__:
            losses = self.__dict__.get("validation_loss_curve_")
            record = Record(self.loss_, self.loss_curve_, losses, self.validation_scores_, self.best_loss_)
            record.best_score, record.epochs, record.samples = self.best_validation_score_, self.n_iter_, self.t_
            record.waited, record.best_figure = waited, best
            self._record = record

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.preset is None
        tags.input_tags.string = tags.input_tags.allow_nan = self.preset is not None
        return tags


def _at_rest(trainer: Trainer[Any]) -> Trainer[Any]:
    """A trainer of the same model by the same rule that has made no step yet."""
    optimizer: Any = copy.copy(trainer.optimizer)
    if isinstance(optimizer, Optimizer):
        optimizer.reset()
    return Trainer(trainer.model, trainer.loss, optimizer, metrics=trainer.metrics)
