"""The classifier: scikit-learn's `MLPClassifier` and what it lacks."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from densenet import losses
from densenet._types import Array
from densenet._validation import nonnegative
from densenet.estimators.base import DenseEstimator
from densenet.estimators.data import labels_of, refuse_gaps, validation_of
from densenet.estimators.parameters import CONSTRAINTS, Settings, partial_fit_if_stochastic
from densenet.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from densenet.losses.base import Loss
from densenet.losses.summed import SummedSigmoidCrossEntropy


class DenseClassifier(ClassifierMixin, DenseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A multilayer perceptron for classes: scikit-learn's `MLPClassifier`, and what it lacks.

    It minimises, over mini-batches of weights w, the cross-entropy and a penalty on every dense layer's W::

        E = sum(w l) / sum(w) + alpha / 2 sum W^2 / sum(w)        l = -sum_j t_j log p_j

    Parameters, attributes, warnings and errors of `MLPClassifier` mean what they mean there, and from one
    `random_state` the weights are the same to rounding. It computes in the dtype of X; float32 is faster.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Neurons of each hidden layer.
    activation : str, Layer, callable giving a Layer, or a list with one for each hidden layer; default "relu"
        "identity", "logistic", "tanh", "relu" and all other names of `densenet.layers.activation`.
    solver : {"adam", "sgd", "lbfgs"} or Optimizer, default "adam"
        The strings follow scikit-learn's formulas; an optimizer of the project (copied for each fit) brings its own
        rate.
    alpha : float, default 1e-4
        Strength of the L2 penalty, not the learning rate.
    batch_size : int or "auto", default "auto"
        "auto" is min(200, n).
    learning_rate : {"constant", "invscaling", "adaptive"} or Schedule, default "constant"
        How the rate changes from `learning_rate_init` on; "invscaling" and "adaptive" are for ``solver="sgd"``. A
        `Schedule` gives the rate of every step.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
        Exponent of "invscaling".
    max_iter : int, default 200
        Epochs; iterations of L-BFGS.
    shuffle : bool, default True
    random_state : int, RandomState or None, default None
        Draws initial weights, dropout, split and batches.
    tol : float, default 1e-4
        Improvement that counts; for L-BFGS the gradient's largest entry at which it ends.
    verbose : bool, default False
    warm_start : bool, default False
        Whether `fit` goes on from the present weights.
    momentum : float, default 0.9
    nesterovs_momentum : bool, default True
        Both for ``solver="sgd"``.
    early_stopping : bool, default False
        Whether the score on held-out rows, not the loss, decides when to stop, and which weights are kept.
    validation_fraction : float in [0, 1) or None, default None
        Share of the rows that is held out then, unless `fit` is given `validation_data`; None is 0.1, with a preset
        0.2.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        For ``solver="adam"``.
    n_iter_no_change : int or inf, default 10
        Epochs without improvement after which it stops.
    max_fun : int, default 15000
        Calls of the function that L-BFGS may make.
    loss : "log_loss", Loss or the name of one, default "log_loss"
        Any loss for classes. With a loss for yes-or-no outputs, more than two classes have one output each.
    dropout : float in [0, 1), a list with one for each hidden layer, or None; default None
        None is 0, with a preset the recipe's.
    batch_norm, layer_norm : bool, default False
        Whether `BatchNorm` or `LayerNorm` stands before every hidden activation.
    class_weight : dict of label to weight, list of dicts, "balanced" or None, default None
        Multiplies the sample weights; a class that is not named weighs 1. With several labels, a list has a dict of the
        weights of 0 and 1 for each label, and a row's weights multiply.
    callbacks : Callback or list of Callback, default ()
        Called as in `Trainer.fit`; "val_loss" is among the figures where rows are held out.
    progress : bool or None, default False
        Whether to show a progress bar; None shows it on a terminal and in a notebook.
    preset : {"tabular", "tabular-small"} or None, default None
        The recipe RealMLP-TD or RealMLP-TD-S [3]_: X may be a data frame with words and missing values, and parameters
        at their defaults take the recipe's values, such as mini-batches of about 256 rows and 256 epochs (fewer above
        9,000 rows). "tabular" embeds its inputs and has no label smoothing; the loss on held-out rows, each epoch at
        its best temperature, decides which epoch is kept [4]_. Up to 2,500 rows a network that is no member has 8
        paths of half of `hidden_layer_sizes`, which answer together (`densenet.layers.Mixture`). "tabular-small" is
        quicker to train; accuracy decides. The temperature of the rows that were held out goes into the last layer. A
        date becomes elapsed days and the circles of week and year. A straight line in elapsed days, with the linear
        model's slopes, stands beside the network and goes on beyond the training rows; later fits leave it as it is.
    scoring : str, callable or None, default None
        The score that decides which epoch is best, with `early_stopping` or a preset: a name of scikit-learn's such as
        "roc_auc" or "f1", or a function (estimator, X, y) of which a larger value is better; it gets X as the network
        takes it. None is the accuracy; with the preset "tabular" or class weights, the loss.
    n_members : int, default 1
        Networks whose answers are averaged. Each holds one fold of the rows out, which its early stopping watches:
        stratified for classes, shuffled for numbers, by `groups` where `fit` is given them. Below 60 rows, or 2 of a
        class, each holds a random fifth out. With `validation_data` all train on all rows and differ by seed. A
        preset's scales are each member's own; the categories of columns, and a number's mean and standard deviation,
        are those of all training rows.
        They are fitted one after another, or, inside ``joblib.parallel_config(n_jobs=4)``, side by side in processes
        or on machines (backends "loky", "dask"), each at one BLAS thread: to the same bits.
    cv : int, splitter, iterable of (train, held out) or None, default None
        The folds, where they are not to be `n_members`; with more members than folds, several share one.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
    model_ : Sequential
        The network.
    trainer_ : Trainer
        Its loss and optimizer; ``trainer_.evaluate`` and `densenet.gradcheck` take class numbers as targets.
    history_ : History
        Figures of the last fit by epoch; none with L-BFGS.
    coefs_, intercepts_ : list of ndarray
        W (n_in, n_out) and b (n_out,) of each dense layer: views of the model's.
    loss_ : float
        The last epoch's error with penalty.
    loss_curve_, validation_loss_curve_ : list of float
        One an epoch; the second is None without held-out rows.
    best_loss_, best_validation_score_ : float or None
    validation_scores_ : list of float or None
        Accuracy on the held-out rows after each epoch, with early stopping.
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_ : int
        Epochs of the last fit, samples seen, layers with input and output, outputs, columns of X.
    feature_names_in_ : ndarray of str
        Where X had names.
    out_activation_ : str
    members_ : list of DenseClassifier
        With `n_members`: the fitted members; they have what concerns one network (`model_`, `history_`, ...).
    ensemble_ : Ensemble
        Their networks as one, for prepared rows.
    out_of_fold_ : ndarray (n, n_classes)
        Probabilities by members that did not train on a row; NaN for rows that none held out. They chose the epochs,
        and flatter a little: no substitute for rows that are held out from all.
    preparation_ : object
        With a preset: what makes numbers of X.
    temperature_ : float
        With a preset: what the logits were divided by, so that probabilities fit rows that were held out. Members that
        hold out folds share one, of all their rows.

    Raises
    ------
    ValueError
        If a parameter or the data is not as it should be; a number as `learning_rate` is sent to `learning_rate_init`.
    DivergenceError
        A ValueError: if the error turns NaN or infinite; the weights are those of the epoch's start.

    See Also
    --------
    DenseRegressor

    References
    ----------
    .. [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010),
       equation 16 (initial weights).
    .. [2] Kingma and Ba, "Adam: a method for stochastic optimization" (2015), end of section 2.
    .. [3] Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular
       data" (2024), arXiv:2407.04491.
    .. [4] Berta, Holzmueller, Jordan and Bach, "Rethinking early stopping: refine, then calibrate" (2025),
       arXiv:2501.19195.

    Examples
    --------
    >>> import densenet as dn
    >>> from sklearn.model_selection import train_test_split
    >>> x, y = dn.datasets.load_digits()
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    >>> classifier = dn.DenseClassifier((64,), dropout=0.1, early_stopping=True, random_state=0)
    >>> classifier.fit(x_train, y_train).score(x_test, y_test) > 0.9
    True
    >>> classifier.model_
    Sequential([Dense(64, 64), ReLU(), Dropout(0.1), Dense(64, 10)], dtype='float32')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS | {
        "loss": [str, Loss],
        "class_weight": [dict, list, str, None],
    }
    _task: ClassVar[str] = "classification"

    def __init__(
        self,
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
        loss: Any = "log_loss",
        dropout: Any = None,
        batch_norm: bool = False,
        layer_norm: bool = False,
        class_weight: Any = None,
        callbacks: Any = (),
        progress: bool | None = False,
        preset: str | None = None,
        scoring: Any = None,
        n_members: int = 1,
        cv: Any = None,
    ) -> None:
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
        self.loss = loss
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.layer_norm = layer_norm
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.progress = progress
        self.preset = preset
        self.scoring = scoring
        self.n_members = n_members
        self.cv = cv

    # -- fitting -----------------------------------------------------------------------------------------------

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
    ) -> DenseClassifier:
        """Train on X and y.

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)
        y : array_like (n,), or 0/1 (n, n_classes) for several labels at once
        sample_weight : array_like (n,), optional
        validation_data : (X, y) or (X, y, sample_weight), optional
            Held-out rows: their loss goes into `validation_loss_curve_`, and with `early_stopping` their score decides.
        X_val, y_val, sample_weight_val : array_like, optional
            The same one by one, so that ``Pipeline(transform_input=["X_val"])`` can transform X_val.
        groups : array_like (n,), optional
            Rows of one group are held out by the same member.

        Returns
        -------
        DenseClassifier
            Itself.
        """
        held_out = validation_of(validation_data, X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight, held_out, incremental=False, groups=groups)
        return self

    @partial_fit_if_stochastic
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> DenseClassifier:
        """Go through the rows once, on from where things are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array_like (n_classes,), optional
            All classes there will be; needed at the first call.
        """
        known = getattr(self, "classes_", None)
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if known is not None and classes is not None and not np.array_equal(known, unique_labels(classes)):
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}")
        if isinstance(self.class_weight, str):
            raise ValueError("class_weight='balanced' does not go with partial_fit, which sees a part: pass a dict.")
        if known is None:
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else classes)
        self._fit(X, y, sample_weight, None, incremental=True)
        return self

    def _learn_classes(self, y: Any) -> None:
        check_classification_targets(y)
        self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_

    def _checked_data(self, X: Any, y: Any, incremental: bool, first: bool) -> tuple[Any, Array]:
        X, y = self._validate_X_y(X, labels_of(y), first, y_numeric=False)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        refuse_gaps(y)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._learn_classes(y)
            return X, y
        if incremental:
            return X, self._known(y)
        classes = unique_labels(y)
        if set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {classes}"
            )
        return X, y

    def _known(self, y: Any) -> Array:
        y = labels_of(y)
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return y if hasattr(y, "tocsr") else np.asarray(y)

    def _problem(self, y: Array, settings: Settings) -> tuple[Loss, int, str]:
        kind, k = self._label_binarizer.y_type_, len(self.classes_)
        multilabel = kind.startswith("multilabel")
        if isinstance(settings.loss, str) and settings.loss == "log_loss":
            if kind == "multiclass":
                return SoftmaxCrossEntropy(), k, "softmax"
            if multilabel:
                return SummedSigmoidCrossEntropy(), k, "logistic"
            return SigmoidCrossEntropy(), 1, "logistic"
        loss = losses.get(settings.loss)
        if self.preset is not None and multilabel and isinstance(loss, SoftmaxCrossEntropy):
            loss = SigmoidCrossEntropy(label_smoothing=loss.label_smoothing)  # what the recipe is for several labels
        if loss.task == "regression" or (multilabel and loss.task != "binary"):
            raise ValueError(
                f"DenseClassifier expects a loss for {'several labels' if multilabel else 'classes'}, got {loss!r}."
            )
        made: Loss = copy.deepcopy(loss)
        if loss.task == "classification":
            return made, max(2, k), "softmax"
        return made, k if multilabel or k > 2 else 1, "identity" if loss.expects == "values" else "logistic"

    def _class_weights(self, y: Array) -> Array | None:
        weight, who = self.class_weight, type(self).__name__
        if weight is None:
            return None
        if isinstance(weight, str):
            if weight != "balanced":
                raise ValueError(f'{who} expects class_weight to be a dict or "balanced", got {weight!r}.')
            each: Array = compute_sample_weight(weight, y)
            return each
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_weights(np.asarray(self._label_binarizer.transform(y)), weight)
        if not isinstance(weight, dict):
            raise ValueError(f"{who} expects a list of class weights for several labels alone, got {weight!r}.")
        known = self.classes_.tolist()
        table = np.ones(len(known))
        for label, value in weight.items():
            if label not in known:
                raise ValueError(f"{who} got class_weight for {label!r}, which is none of the classes {known}.")
            table[known.index(label)] = nonnegative(value, who, f"class_weight[{label!r}]")
        each = table[np.searchsorted(self.classes_, y)]
        return each

    def _label_weights(self, truth: Array, weights: Any) -> Array:
        """Of several labels, the product over the labels of the weight of 0 or 1 there."""
        who, k = type(self).__name__, truth.shape[1]
        if not isinstance(weights, list) or len(weights) != k or not all(isinstance(w, dict) for w in weights):
            raise ValueError(f"{who} expects class_weight for {k} labels to be a list of {k} dicts, got {weights!r}.")
        each = np.ones(len(truth))
        for j, weight in enumerate(weights):
            if unknown := [label for label in weight if label not in (0, 1)]:
                raise ValueError(f"{who} expects class_weight[{j}] to weigh 0 and 1, got {unknown[0]!r}.")
            pair = [nonnegative(weight.get(value, 1.0), who, f"class_weight[{j}][{value}]") for value in (0, 1)]
            each *= np.where(truth[:, j] == 1, pair[1], pair[0])
        return each

    def _encode(self, y: Array, loss: Loss, n_outputs: int, dtype: Any) -> tuple[Array, Array]:
        if self._label_binarizer.y_type_.startswith("multilabel"):
            truth = np.asarray(self._label_binarizer.transform(y))
            return loss.prepare(truth, n_outputs, dtype), truth
        truth = np.searchsorted(self.classes_, y)
        if loss.task == "binary" and n_outputs > 1:
            return loss.prepare(np.eye(n_outputs, dtype=dtype)[truth], n_outputs, dtype), truth
        return loss.prepare(truth, n_outputs, dtype), truth

    def _decode(self, truth: Array) -> Array:
        return truth if truth.ndim > 1 else self.classes_[truth]

    def _labels(self, y: Array) -> Array | None:
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return None
        made: Array = np.searchsorted(self.classes_, y)
        return made

    def _held_out_classes(self, truth: Array) -> Array | None:
        if truth.ndim > 1:
            return None
        if self.n_outputs_ == 1:
            return truth.astype(bool)[:, None]  # as scikit-learn, whose error names a class of one member "True"
        weighted = self.preset is not None or self.class_weight is not None
        return truth if weighted and np.bincount(truth).min() > 1 else None

    # -- predicting --------------------------------------------------------------------------------------------

    def _numbers(self, raw: Array) -> Array:
        """Class numbers (n,), or 0/1 (n, n_classes) of several labels."""
        if self.n_outputs_ > 1 and not self._label_binarizer.y_type_.startswith("multilabel"):
            numbers: Array = raw.argmax(axis=1)
        else:
            numbers = self.trainer_.loss.classes(raw)
        return numbers

    def _score_raw(self, raw: Array, truth: Array, weight: Array | None) -> float:
        if not np.isfinite(raw).all():
            return float("nan")
        right = self._numbers(raw) == truth
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=weight))

    def predict(self, X: Any) -> Array:
        """The most probable class of every row (n,), or 0/1 (n, n_classes) of several labels.

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)
        """
        labels: Array
        if "members_" in self.__dict__:
            p = self._all_say(X).mean(axis=0)
            several = self._label_binarizer.y_type_.startswith("multilabel")
            numbers = (p > 0.5).astype(int) if several else p.argmax(axis=1)
        else:
            numbers = self._numbers(self._raw(self._new_data(X)))
        if numbers.ndim == 2:
            labels = self._label_binarizer.inverse_transform(numbers)
            return labels
        labels = self.classes_[np.minimum(numbers, len(self.classes_) - 1)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, n_classes), in the order of `classes_`.

        Parameters
        ----------
        X : array_like, sparse matrix or data frame (n, n_features)

        Raises
        ------
        TypeError
            With a loss that has no link to probabilities.
        """
        if "members_" in self.__dict__:
            made: Array = self._all_say(X).mean(axis=0)
            return made
        return self._answers(self._raw(self._new_data(X)))

    def _answers(self, raw: Array) -> Array:
        if len(self.classes_) == 1:
            return np.ones((len(raw), 1), raw.dtype)
        loss: Loss = self.trainer_.loss
        p = loss.probabilities(raw)
        info = np.finfo(p.dtype)
        np.clip(p, info.tiny, 1 - info.epsneg if loss.task == "binary" else 1, out=p)  # rounding aside never 0, nor 1
        if self.n_outputs_ == 1:
            return np.hstack([1 - p, p])
        if loss.task == "binary" and not self._label_binarizer.y_type_.startswith("multilabel"):
            p /= p.sum(axis=1, keepdims=True)
        return p

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of `predict_proba`."""
        p = self.predict_proba(X)
        return np.log(p, out=p)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
