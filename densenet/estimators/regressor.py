"""The regressor: scikit-learn's `MLPRegressor` and what it lacks."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from densenet import losses
from densenet._types import Array
from densenet.estimators.base import DenseEstimator
from densenet.estimators.data import Rows, validation_of
from densenet.estimators.parameters import CONSTRAINTS, Settings, partial_fit_if_stochastic
from densenet.losses import GaussianNLL, HalfSquaredError, MeanSquaredError, PoissonNLL, Quantile
from densenet.losses.base import Loss
from densenet.losses.summed import HalfPoissonDeviance
from densenet.optimizers.base import Optimizer
from densenet.second_order import BayesianRegularization, FullBatchSolver, LevenbergMarquardt, uncertainty
from densenet.tabular.folds import intervals

_SQUARES = (LevenbergMarquardt, BayesianRegularization)


class DenseRegressor(RegressorMixin, DenseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A multilayer perceptron for numbers: scikit-learn's `MLPRegressor`, and what it lacks.

    It minimises, over mini-batches of weights w, half the squared error (or any other loss) and a penalty on every
    dense layer's W::

        E = sum(w l) / sum(w) + alpha / 2 sum W^2 / sum(w)        l = 1/2 sum_j (p_j - t_j)^2

    As in scikit-learn, `loss_` has the mean over several outputs, while the weights follow the sum. Parameters,
    attributes, warnings and errors of `MLPRegressor` mean what they mean there, and from one `random_state` the weights
    are the same to rounding.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, Loss or the name of one, default "squared_error"
        "poisson" has a log link. Quantile regression is ``loss=dn.Quantile(0.9)``; with
        ``dn.Quantile([0.1, 0.5, 0.9])`` `predict` gives a column for each.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, batch_norm, layer_norm, callbacks, progress, preset
    scoring, n_members, cv
        As in `DenseClassifier`. With a preset the target is standardised inside, by the mean and deviation of all
        rows also where members hold some out. Beside its solvers there are "lm" (Levenberg-Marquardt) and "br"
        (Bayesian regularization), or an instance of theirs, for squared errors of small networks: `max_iter` counts
        iterations on all rows, `alpha` plays no part, the target is standardised inside, and `predict` gives error
        bars.

    Attributes
    ----------
    model_, trainer_, history_, coefs_, intercepts_, loss_, loss_curve_, validation_loss_curve_, best_loss_
    validation_scores_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, n_features_in_, feature_names_in_
    out_activation_, preparation_
        As in `DenseClassifier`; scores are R^2.

    Raises
    ------
    ValueError
        If a parameter or the data is not as it should be; a number as `learning_rate` is sent to `learning_rate_init`.
    DivergenceError
        A ValueError: if the error turns NaN or infinite; the weights are those of the epoch's start.

    See Also
    --------
    DenseClassifier

    References
    ----------
    .. [1] Koenker and Bassett, "Regression Quantiles" (1978), equation 1.4 (``dn.Quantile``).

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> x = np.linspace(-1, 1, 200)[:, None]
    >>> regressor = dn.DenseRegressor(hidden_layer_sizes=(20,), activation="tanh", solver="lbfgs", random_state=0)
    >>> regressor.fit(x, np.sin(3 * x[:, 0])).score(x, np.sin(3 * x[:, 0])) > 0.999
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS | {
        "loss": [str, Loss],
        "solver": [StrOptions({"lbfgs", "sgd", "adam", "lm", "br"}), Optimizer, FullBatchSolver],
    }
    _task: ClassVar[str] = "regression"

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = None,
        batch_norm: bool = False,
        layer_norm: bool = False,
        callbacks: Any = (),
        progress: bool | None = False,
        preset: str | None = None,
        scoring: Any = None,
        n_members: int = 1,
        cv: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.layer_norm = layer_norm
        self.callbacks = callbacks
        self.progress = progress
        self.preset = preset
        self.scoring = scoring
        self.n_members = n_members
        self.cv = cv

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        groups: Any = None,
    ) -> DenseRegressor:
        """Train on X and y.

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)
        y : array_like (n,) or (n, n_outputs)
        sample_weight : array_like (n,), optional
        validation_data : (X, y) or (X, y, sample_weight), optional
            Held-out rows: their loss goes into `validation_loss_curve_`, and with `early_stopping` their score decides.
        X_val, y_val, sample_weight_val : array_like, optional
            The same one by one, so that ``Pipeline(transform_input=["X_val"])`` can transform X_val.
        groups : array_like (n,), optional
            Rows of one group are held out by the same member.

        Returns
        -------
        DenseRegressor
            Itself.
        """
        held_out = validation_of(validation_data, X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight, held_out, incremental=False, groups=groups)
        return self

    @partial_fit_if_stochastic
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> DenseRegressor:
        """Go through the rows once, on from where things are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        """
        self._fit(X, y, sample_weight, None, incremental=True)
        return self

    def _checked_data(self, X: Any, y: Any, incremental: bool, first: bool) -> tuple[Any, Array]:
        X, y = self._validate_X_y(X, y, first, y_numeric=True)
        y = self._columns(y, warn=True)
        if first:
            k = y.shape[1]
            self._mean, self._scale = np.zeros(k), np.ones(k)
            if self._standardises():
                largest = np.abs(y).max(axis=0)
                with np.errstate(over="ignore"):
                    deviation = y.std(axis=0)
                    fits = np.isfinite([deviation, largest.astype(X.dtype)]).all()
                if not fits:
                    raise ValueError(
                        f"DenseRegressor cannot standardise y: numbers up to {largest.max():.3g} are too large for "
                        f"{X.dtype}."
                    )
                self._mean, self._scale = y.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
        return X, y

    def _known(self, y: Any) -> Array:
        return self._columns(check_array(y, ensure_2d=False, dtype="numeric", input_name="y"))

    @staticmethod
    def _columns(y: Array, warn: bool = False) -> Array:
        """y as (n, k)."""
        if y.dtype.kind not in "biuf":
            raise TypeError(f"DenseRegressor expects y to be numbers, got dtype {y.dtype}.")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=warn)
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _problem(self, y: Array, settings: Settings) -> tuple[Loss, int, str]:
        k = y.shape[1]
        if isinstance(settings.loss, str) and settings.loss == "squared_error":
            return HalfSquaredError(), k, "identity"
        if isinstance(settings.loss, str) and settings.loss == "poisson":
            return HalfPoissonDeviance(), k, "exp"
        loss = losses.get(settings.loss)
        if loss.task != "regression":
            raise ValueError(f"DenseRegressor expects a loss for numbers, got {loss!r}.")
        if isinstance(loss, Quantile) and isinstance(loss.q, tuple):
            if k > 1:
                raise ValueError(f"DenseRegressor expects one target column for several quantiles, got {k}.")
            n_outputs = len(loss.q)
        else:
            n_outputs = 2 * k if isinstance(loss, GaussianNLL) else k
        if self.preset is not None and isinstance(loss, PoissonNLL):
            raise ValueError("a preset standardises the target: it does not go with counts.")
        return copy.deepcopy(loss), n_outputs, "exp" if isinstance(loss, PoissonNLL) else "identity"

    def _encode(self, y: Array, loss: Loss, n_outputs: int, dtype: Any) -> tuple[Array, Array]:
        standard = (y - self._mean) / self._scale if self._standardises() else y
        return loss.prepare(standard, n_outputs, dtype), y

    def _standardises(self) -> bool:
        """Whether targets are standardised inside: a recipe, a prior and first steps suit unit size."""
        return self.preset is not None or isinstance(self.solver, _SQUARES) or self.solver in ("lm", "br")

    def _whole_is_fitted(self, rows: Rows) -> None:
        self.uncertainty_, self._no_uncertainty = None, "it needs a squared error and solver='lm' or 'br'"
        loss, history = self.trainer_.loss, self.history_
        if not isinstance(loss, (HalfSquaredError, MeanSquaredError)):
            return
        ridge = history["alpha"][-1] / history["beta"][-1] if "alpha" in history else 0.0
        try:
            self.uncertainty_ = uncertainty(
                self.model_, loss, rows.x, rows.target, sample_weight=rows.weight, ridge=ridge
            )
        except ValueError as error:
            self._no_uncertainty = str(error)

    def _decode(self, truth: Array) -> Array:
        return truth[:, 0] if truth.shape[1] == 1 else truth

    def _labels(self, y: Array) -> Array | None:
        return None

    def _held_out_classes(self, truth: Array) -> Array | None:
        return None

    def _estimates(self, raw: Array) -> Array:
        """What the outputs say the target is, in its units (n, k)."""
        made: Array = self.trainer_.loss.estimate(raw) * self._scale.astype(raw.dtype) + self._mean.astype(raw.dtype)
        return made

    def _answers(self, raw: Array) -> Array:
        if isinstance(self.trainer_.loss, Quantile):
            made: Array = raw * self._scale.astype(raw.dtype) + self._mean.astype(raw.dtype)
            return made
        return self._estimates(raw)

    def _errors(self, said: Array, y: Array) -> Array:
        made: Array = np.abs(said - y) if said.shape == y.shape else np.zeros((0, 1))
        return made

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[Array, Array]:
        """An interval for a new target of every row, from the errors of members on rows they held out (CV+).

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)
        coverage : float in (0, 1), default 0.9
            The share of new rows whose target should lie inside; at least 2 coverage - 1 is certain where new rows come
            from where the training rows came from.

        Returns
        -------
        low, high : ndarray (n,) or (n, n_outputs)

        Raises
        ------
        ValueError
            If the estimator has no members, or they held fewer than 50 rows out.

        References
        ----------
        .. [1] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+" (2021), Annals of
           Statistics 49(1), section 3.
        """
        check_is_fitted(self)
        residuals = self.__dict__.get("_residuals", [])
        if not any(len(part) for part in residuals):
            raise ValueError(
                "DenseRegressor.predict_interval needs errors on rows that members held out: "
                + ("several quantiles have none." if residuals else "set n_members=5 and give no validation_data.")
            )
        said, k = self._all_say(X), len(residuals)
        by_fold = np.array([said[j::k].mean(axis=0) for j in range(k)])
        columns = range(by_fold.shape[2])
        found = [intervals(by_fold[:, :, c], [part[:, c] for part in residuals], coverage) for c in columns]
        low, high = (np.column_stack(side) for side in zip(*found, strict=True))
        return (low[:, 0], high[:, 0]) if low.shape[1] == 1 else (low, high)

    def _score_raw(self, raw: Array, truth: Array, weight: Array | None) -> float:
        if not np.isfinite(raw).all():
            return float("nan")
        return float(r2_score(truth, self._estimates(raw), sample_weight=weight))

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The target's estimate for every row (n,) or (n, n_outputs); of several quantiles a column for each.

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)
        return_std : bool, default False
            Whether to give (estimate, standard deviation of a new target) as `GaussianProcessRegressor` does; after a
            fit with "lm" or "br". `uncertainty_` has the rest. With members it is their spread, how far they differ;
            `predict_interval` says how far they err.

        Raises
        ------
        ValueError
            If there are no error bars, saying why.
        """
        if "members_" in self.__dict__:
            said = self._all_say(X)
            both = said.mean(axis=0), said.std(axis=0)
            mean, spread = both if both[0].shape[1] > 1 else (both[0][:, 0], both[1][:, 0])
            return (mean, spread) if return_std else mean
        ready = self._new_data(X)
        raw = self._raw(ready)
        if return_std:
            bars = self.__dict__.get("uncertainty_")
            if bars is None:
                why = self.__dict__.get("_no_uncertainty", "it needs n_members above 1, or solver='lm' or 'br'")
                raise ValueError(f"DenseRegressor.predict has no standard deviations: {why}")
            std = bars.std(ready) * self._scale
            mean = self._estimates(raw)
            return (mean[:, 0], std[:, 0]) if mean.shape[1] == 1 else (mean, std)
        answers = self._answers(raw)
        return answers[:, 0] if answers.shape[1] == 1 else answers

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the predictions; of several quantiles, the one nearest to the median is scored.

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)
        y : array_like (n,) or (n, n_outputs)
        sample_weight : array_like (n,), optional
        """
        if "members_" in self.__dict__:
            said, loss = self._all_say(X).mean(axis=0), self.members_[0].trainer_.loss
            said = loss.estimate(said) if isinstance(loss, Quantile) else said
            return float(r2_score(y, said, sample_weight=sample_weight))
        raw = self._raw(self._new_data(X))
        return float(r2_score(y, self._estimates(raw), sample_weight=sample_weight))
