"""The estimators: the same numbers as scikit-learn's MLP, the same place in a pipeline, and what its users miss."""

from __future__ import annotations

import inspect
import math
import pickle
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import pandas as pd
import sklearn
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import densenet as dn
from densenet.tabular import calibrate

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = np.array(["ash", "elm", "oak"])[
    np.argmax(X @ RNG.normal(size=(4, 3)) + 0.3 * RNG.normal(size=(90, 3)), axis=1)
]
PAIR = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "yes", "no")
TAGS = (X @ RNG.normal(size=(4, 3)) > 0.3).astype(int)
NUMBERS = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] * X[:, 3]])
COUNTS = RNG.poisson(np.exp(0.5 * X[:, 0]))
WEIGHTS = RNG.random(90) + 0.1


def distance(a, b):
    return max(np.abs(p - q).max() / max(np.abs(q).max(), 1e-300) for p, q in zip(a, b, strict=True))


# -- scikit-learn's numbers ------------------------------------------------------------------------------------------

RULES = {
    "sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "sgd, no shuffle, no penalty": {"solver": "sgd", "momentum": 0.0, "shuffle": False, "alpha": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.05},
    "momentum 1": {"solver": "sgd", "momentum": 1.0, "nesterovs_momentum": False, "max_iter": 5},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 0.02,
        "n_iter_no_change": 1,
        "learning_rate_init": 0.1,
    },
    "adam": {"learning_rate_init": 0.01, "alpha": 0.1},
    "adam, large epsilon": {"learning_rate_init": 0.01, "epsilon": 0.1},
    "adam, early stopping": {
        "learning_rate_init": 0.05,
        "early_stopping": True,
        "n_iter_no_change": 3,
        "validation_fraction": 0.2,
    },
    "logistic": {"activation": "logistic", "learning_rate_init": 0.05},
    "lbfgs": {"solver": "lbfgs", "max_iter": 15},
}
TASKS = {
    "classes": (dn.DenseClassifier, MLPClassifier, LABELS, None),
    "classes, weighted": (dn.DenseClassifier, MLPClassifier, LABELS, WEIGHTS),
    "two classes": (dn.DenseClassifier, MLPClassifier, PAIR, None),
    "several labels": (dn.DenseClassifier, MLPClassifier, TAGS, None),
    "numbers": (dn.DenseRegressor, MLPRegressor, NUMBERS[:, 0], WEIGHTS),
    "two numbers": (dn.DenseRegressor, MLPRegressor, NUMBERS, None),
}


def needs_early_stopping_on_words():
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9):
        pytest.skip("the MLP of scikit-learn before 1.9 cannot score labels that are words while it stops early")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("rule", RULES)
def test_every_loss_and_weight_is_scikit_learns(rule, task):
    ours, theirs, y, weight = TASKS[task]
    if rule == "adam, early stopping" and np.asarray(y).dtype.kind == "U":
        needs_early_stopping_on_words()
    settings = {"hidden_layer_sizes": (6, 5), "activation": "tanh", "batch_size": 32, "max_iter": 20, "random_state": 3}
    a = ours(**settings | RULES[rule]).fit(X, y, weight)
    b = theirs(**settings | RULES[rule]).fit(X, y, weight)
    assert distance(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_) < 1e-10
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-10)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(a, name) == getattr(b, name), name
    assert hasattr(a, "loss_curve_") == hasattr(b, "loss_curve_")
    if hasattr(b, "loss_curve_"):
        assert len(a.loss_curve_) == len(b.loss_curve_)
        np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-10)
        for name in ("best_loss_", "validation_scores_", "best_validation_score_"):
            mine, yours = getattr(a, name), getattr(b, name)
            assert (mine is None) == (yours is None)
            assert yours is None or mine == pytest.approx(yours, rel=1e-10)
    np.testing.assert_allclose(a.score(X, y), b.score(X, y), rtol=1e-10)
    if hasattr(b, "predict_proba"):
        assert distance([a.predict_proba(X)], [b.predict_proba(X)]) < 1e-10
        np.testing.assert_array_equal(a.predict(X), b.predict(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_poisson_is_scikit_learns(solver):
    settings = {"loss": "poisson", "solver": solver, "hidden_layer_sizes": 4, "max_iter": 20, "random_state": 0}
    a, b = dn.DenseRegressor(**settings).fit(X, COUNTS), MLPRegressor(**settings).fit(X, COUNTS)
    assert distance(a.coefs_, b.coefs_) < 1e-10
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-10)
    assert a.out_activation_ == b.out_activation_ == "exp"
    assert distance([a.predict(X)], [b.predict(X)]) < 1e-10


def test_partial_fit_and_warm_start_are_scikit_learns():
    for settings in ({"solver": "sgd", "learning_rate": "invscaling"}, {}):
        pair = [E(random_state=1, hidden_layer_sizes=5, **settings) for E in (dn.DenseClassifier, MLPClassifier)]
        for _ in range(4):
            for estimator in pair:
                estimator.partial_fit(X, LABELS, classes=np.unique(LABELS))
        assert distance(pair[0].coefs_, pair[1].coefs_) < 1e-10
        np.testing.assert_allclose(pair[0].loss_curve_, pair[1].loss_curve_, rtol=1e-10)
        for estimator in pair:
            estimator.set_params(warm_start=True, max_iter=3).fit(X, LABELS)
        assert distance(pair[0].coefs_, pair[1].coefs_) < 1e-10
        assert len(pair[0].loss_curve_) == len(pair[1].loss_curve_) == 7


def test_it_computes_in_the_dtype_of_x():
    for dtype in (np.float32, np.float64):
        classifier = dn.DenseClassifier(5, max_iter=2).fit(X.astype(dtype), LABELS)
        assert classifier.model_.dtype == dtype
        assert all(a.dtype == dtype for a in classifier.coefs_ + classifier.intercepts_)
        assert classifier.predict_proba(X.astype(dtype)).dtype == dtype
        assert (
            dn.DenseRegressor(hidden_layer_sizes=5, max_iter=2).fit(X.astype(dtype), COUNTS).predict(X).dtype == dtype
        )


def test_parameters_and_signature_are_scikit_learns():
    for ours, theirs in ((dn.DenseClassifier, MLPClassifier), (dn.DenseRegressor, MLPRegressor)):
        mine, yours = ours().get_params(), theirs().get_params()
        assert {name: mine.get(name) for name in yours} == yours | {"validation_fraction": None}  # 0.1 but for presets
        order = list(inspect.signature(theirs).parameters)
        assert [name for name in inspect.signature(ours).parameters if name in order] == order
    assert dn.DenseClassifier((5,), "tanh").activation == "tanh"
    assert dn.DenseRegressor("poisson", (5,), "tanh").hidden_layer_sizes == (5,)


def test_verbose_prints_scikit_learns_lines(capsys):
    needs_early_stopping_on_words()
    outputs = []
    for E in (dn.DenseClassifier, MLPClassifier):
        E(3, max_iter=40, tol=0.1, n_iter_no_change=2, verbose=True, random_state=0, early_stopping=True).fit(X, LABELS)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "Stopping." in outputs[0]


# -- sparse input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize(
    "settings", [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"solver": "sgd", "batch_size": 32}]
)
def test_sparse_rows_give_what_dense_rows_give(container, settings):
    x = X * (RNG.random(X.shape) < 0.5)
    for dtype in (np.float32, np.float64):
        dense, thin = (dn.DenseClassifier(5, max_iter=8, random_state=0, **settings) for _ in range(2))
        dense.fit(x.astype(dtype), LABELS)
        thin.fit(container(x.astype(dtype)), LABELS)
        tolerance = 1e-4 if dtype == np.float32 else 1e-10
        assert distance(dense.coefs_, thin.coefs_) < tolerance
        assert distance([dense.predict_proba(x)], [thin.predict_proba(container(x))]) < tolerance
        np.testing.assert_array_equal(thin.predict(x), thin.predict(container(x)))


def test_sparse_rows_are_never_made_dense():
    n, columns = 1000, 20_000  # dense, x alone would be 160 MB
    rows = sparse.random(n, columns, density=1e-4, format="csr", random_state=0)
    y = np.arange(n) % 2
    tracemalloc.start()
    dn.DenseClassifier(2, max_iter=1, random_state=0, batch_size=500).fit(rows, y).predict(rows)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


# -- what its users ask for ------------------------------------------------------------------------------------------


def test_activations_dropout_and_normalization_go_into_the_model():
    made = dn.DenseClassifier(
        (8, 6), ["tanh", dn.LeakyReLU(0.2)], dropout=[0.0, 0.3], batch_norm=True, layer_norm=True, max_iter=3
    ).fit(X, LABELS)
    kinds = [type(layer).__name__ for layer in made.model_.layers]
    assert kinds == [
        "Dense", "BatchNorm", "LayerNorm", "Tanh", "Dense", "BatchNorm", "LayerNorm", "LeakyReLU", "Dropout", "Dense",
    ]  # fmt: skip
    assert made.model_.layers[7].negative_slope == 0.2
    assert made.model_.layers[8].rate == 0.3
    assert made.n_layers_ == 4
    assert made.activation[1] is not made.model_.layers[7]
    both = dn.DenseClassifier((8, 6), dn.LeakyReLU(0.2), max_iter=3).fit(X, LABELS).model_
    assert [layer.negative_slope for layer in both if isinstance(layer, dn.LeakyReLU)] == [0.2, 0.2]


def test_no_hidden_layer_is_the_linear_model():
    made = dn.DenseClassifier((), solver="lbfgs", alpha=1.0, max_iter=2000, tol=1e-8, random_state=0).fit(X, LABELS)
    linear = LogisticRegression(C=1.0, max_iter=2000, tol=1e-8).fit(X, LABELS)
    np.testing.assert_allclose(made.predict_proba(X), linear.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(made.coefs_[0].T, linear.coef_, atol=1e-3)


def test_labels_that_are_missing_are_refused():
    y = np.array(["a", None, "b", "a"], object)
    with pytest.raises(ValueError, match="y has no label in 1 of 4 rows, the first in row 1: leave them out"):
        dn.DenseClassifier().fit(np.eye(4), y)


def test_sparse_labels_come_back_sparse():
    made = dn.DenseClassifier(5, max_iter=3, random_state=0).fit(X, sparse.csr_matrix(TAGS))
    assert sparse.issparse(made.predict(X))


def test_the_same_random_state_gives_the_same_dropout():
    first, second = (dn.DenseClassifier(8, dropout=0.5, max_iter=5, random_state=0).fit(X, LABELS) for _ in range(2))
    np.testing.assert_array_equal(first.model_.params, second.model_.params)
    without = dn.DenseClassifier(8, max_iter=5, random_state=0).fit(X, LABELS)
    assert not np.array_equal(first.coefs_[0], without.coefs_[0])


def test_class_weights_are_sample_weights():
    table = {"ash": 2.0, "elm": 0.5, "oak": 1.0}
    each = np.array([table[label] for label in LABELS])
    a = dn.DenseClassifier(5, max_iter=5, random_state=0, class_weight=table).fit(X, LABELS, WEIGHTS)
    b = dn.DenseClassifier(5, max_iter=5, random_state=0).fit(X, LABELS, WEIGHTS * each)
    np.testing.assert_allclose(a.coefs_[0], b.coefs_[0], rtol=1e-12)
    rare = np.where(np.arange(90) < 6, "rare", "common")
    settings = {"max_iter": 30, "learning_rate_init": 0.02, "random_state": 0}
    balanced = dn.DenseClassifier(5, class_weight="balanced", **settings).fit(X, rare)
    plain = dn.DenseClassifier(5, **settings).fit(X, rare)
    assert balanced.predict_proba(X)[:, 1].mean() > 2 * plain.predict_proba(X)[:, 1].mean()
    with pytest.raises(ValueError, match="'balanced' does not go with partial_fit"):
        dn.DenseClassifier(class_weight="balanced").partial_fit(X, LABELS, classes=np.unique(LABELS))


@pytest.mark.parametrize(
    ("loss", "y", "outputs"),
    [
        (dn.SoftmaxCrossEntropy(label_smoothing=0.1), PAIR, 2),
        (dn.FocalLoss(), LABELS, 3),
        (dn.CategoricalCrossEntropy(), LABELS, 3),
        (dn.KLDivergence(), LABELS, 3),
        ("sigmoid_cross_entropy", LABELS, 3),
        (dn.BinaryCrossEntropy(), PAIR, 1),
        (dn.SigmoidCrossEntropy(label_smoothing=0.1), TAGS, 3),
    ],
    ids=str,
)
def test_any_loss_for_classes(loss, y, outputs):
    made = dn.DenseClassifier(8, loss=loss, max_iter=150, learning_rate_init=0.02, random_state=0).fit(X, y)
    assert made.score(X, y) > 0.85
    assert made.n_outputs_ == outputs
    p = made.predict_proba(X)
    assert ((p > 0) & (p <= 1)).all()
    if y.ndim == 1:
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(made.classes_[p.argmax(axis=1)], made.predict(X))


def test_hinge_separates_without_probabilities():
    for y in (PAIR, LABELS):
        made = dn.DenseClassifier(8, loss=dn.Hinge(), max_iter=100, learning_rate_init=0.02, random_state=0).fit(X, y)
        assert made.score(X, y) > 0.9
        with pytest.raises(TypeError, match="has no link to probabilities"):
            made.predict_proba(X)


def test_any_loss_for_numbers():
    y = NUMBERS[:, 0]
    for loss in (dn.Huber(), "mae", dn.MeanSquaredError(), dn.GaussianNLL()):
        made = dn.DenseRegressor(loss, 16, max_iter=150, learning_rate_init=0.02, random_state=0).fit(X, y)
        assert made.score(X, y) > 0.9, loss
        assert made.predict(X).shape == (90,)
    with pytest.raises(ValueError, match="DenseRegressor expects a loss for numbers, got Hinge"):
        dn.DenseRegressor(dn.Hinge()).fit(X, y)
    with pytest.raises(ValueError, match="DenseClassifier expects a loss for classes, got Huber"):
        dn.DenseClassifier(loss=dn.Huber()).fit(X, LABELS)


def test_quantile_regression_covers_what_it_says():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (2000, 1))
    y = x[:, 0] + (0.2 + 0.2 * x[:, 0]) * rng.normal(size=2000)
    settings = {"max_iter": 60, "learning_rate": dn.CosineDecay(0.01, steps=600), "tol": 0.0, "random_state": 0}
    made = dn.DenseRegressor(dn.Quantile([0.1, 0.5, 0.9]), 32, **settings).fit(x, y)
    low, middle, high = made.predict(x).T
    assert abs((y < low).mean() - 0.1) < 0.03
    assert abs((y < high).mean() - 0.9) < 0.03
    assert abs((y < middle).mean() - 0.5) < 0.05
    assert made.score(x, y) > 0.7
    single = dn.DenseRegressor(dn.Quantile(0.9), 32, **settings).fit(x, y)
    assert abs((y < single.predict(x)).mean() - 0.9) < 0.03


def test_optimizers_and_schedules():
    optimizer = dn.RMSprop(learning_rate=0.01)
    made = dn.DenseClassifier(8, solver=optimizer, max_iter=50, random_state=0).fit(X, LABELS)
    assert made.score(X, LABELS) > 0.9
    assert optimizer.steps == 0
    assert made.trainer_.optimizer.steps == 50
    schedule = dn.CosineDecay(0.05, steps=60)
    made = dn.DenseClassifier(8, learning_rate=schedule, batch_size=45, max_iter=30, random_state=0).fit(X, LABELS)
    assert made.trainer_.optimizer.rate == pytest.approx(0)
    assert made.score(X, LABELS) > 0.9


def test_validation_data_is_watched_and_decides():
    a, b, c, d = train_test_split(X, LABELS, random_state=0)
    seen = []
    watch = dn.LambdaCallback(on_epoch_end=lambda run: seen.append(run.figures["val_loss"]))
    made = dn.DenseClassifier(8, max_iter=6, random_state=0, callbacks=watch).fit(a, c, validation_data=(b, d))
    assert made.validation_loss_curve_ == seen
    assert len(seen) == 6
    p = made.predict_proba(b)[np.arange(len(d)), np.searchsorted(made.classes_, d)]
    assert made.validation_loss_curve_[-1] == pytest.approx(-np.log(p).mean(), rel=1e-9)
    assert made.validation_scores_ is None
    made.set_params(early_stopping=True, max_iter=300, n_iter_no_change=5, learning_rate_init=0.05, callbacks=())
    made.fit(a, c, validation_data=(b, d))
    assert made.t_ == made.n_iter_ * len(a)
    assert made.best_validation_score_ == max(made.validation_scores_) == made.score(b, d)
    assert dn.DenseClassifier(5, max_iter=2).fit(X, LABELS).validation_loss_curve_ is None
    with pytest.raises(ValueError, match=r"validation_data as \(X, y\) or"):
        made.fit(a, c, validation_data=b)
    with pytest.raises(ValueError, match="has classes not in"):
        made.fit(a, c, validation_data=(b, np.full(len(b), "fir")))


def test_callbacks_and_progress(capsys):
    stop = dn.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    made = dn.DenseRegressor(
        hidden_layer_sizes=64, learning_rate_init=0.05, max_iter=500, callbacks=[stop], progress=True, random_state=0
    )
    made.fit(X[:40], NUMBERS[:40], validation_data=(X[40:], NUMBERS[40:]))
    assert stop.best_epoch < made.n_iter_ < 500
    loss = made.trainer_.evaluate(X[40:], NUMBERS[40:])["loss"]
    assert loss == pytest.approx(min(made.validation_loss_curve_), rel=1e-9)
    assert "epoch" in capsys.readouterr().err


def test_the_model_inside_can_be_explained():
    for made, y in (
        (dn.DenseClassifier(4, "tanh", max_iter=3).fit(X, LABELS), np.searchsorted(np.unique(LABELS), LABELS)),
        (dn.DenseClassifier(4, "tanh", max_iter=3).fit(X, TAGS), TAGS),
        (dn.DenseRegressor(hidden_layer_sizes=4, activation="tanh", max_iter=3).fit(X, NUMBERS), NUMBERS),
        (dn.DenseRegressor("poisson", 4, "tanh", max_iter=3).fit(X, COUNTS), COUNTS),
    ):
        assert dn.gradcheck(made.model_, made.trainer_.loss, X[:10], y[:10]).ok
        assert made.coefs_[0] is not None
        assert np.shares_memory(made.coefs_[0], made.model_.params)
        assert made.trainer_.model is made.model_
        route = dn.route(made.model_, made.trainer_.loss, X[:10], y[:10], layer=1, source=2, target=3, sample=None)
        made.trainer_.loss.forward(made.model_.forward(X[:10]), y[:10])
        made.model_.backward(made.trainer_.loss.backward())
        assert route.total == pytest.approx(made.model_.layers[0].dW[1, 2], rel=1e-9)


def test_a_second_trainer_goes_on_from_the_model():
    made = dn.DenseClassifier(8, max_iter=5, random_state=0).fit(X, LABELS)
    before = made.score(X, LABELS)
    labels = np.searchsorted(made.classes_, LABELS)
    dn.Trainer(made.model_, "softmax_cross_entropy", "adam").fit(X, labels, epochs=200, seed=0, progress=False)
    assert made.score(X, LABELS) > max(before, 0.85)


# -- errors and warnings ---------------------------------------------------------------------------------------------


def test_a_number_as_learning_rate_is_sent_to_learning_rate_init():
    with pytest.raises(ValueError, match=r"Got 0\.1 instead: a number goes into learning_rate_init"):
        dn.DenseClassifier(learning_rate=0.1).fit(X, LABELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1}, "The 'alpha' parameter of DenseClassifier must be a float in the range"),
        ({"solver": "newton"}, "The 'solver' parameter of DenseClassifier must be"),
        ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes must be > 0, got \[5, 0\]"),
        ({"activation": "rleu"}, "knows no layer 'rleu'"),
        (
            {"activation": ["relu"], "hidden_layer_sizes": (5, 5)},
            "activation expects one entry for each of 2 hidden layers, got 1",
        ),
        ({"dropout": [1.5]}, r"DenseClassifier expects dropout in \[0, 1\), got 1\.5"),
        ({"loss": "hnige"}, "knows no loss 'hnige'"),
        ({"preset": "table"}, "The 'preset' parameter of DenseClassifier must be"),
        ({"solver": "lbfgs", "dropout": 0.5}, "no mini-batches: dropout needs 'sgd'"),
        ({"solver": "lbfgs", "preset": "tabular"}, "does not go with solver='lbfgs'"),
    ],
    ids=str,
)
def test_parameters_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        dn.DenseClassifier(**settings).fit(X, LABELS)


def test_data_is_checked():
    made = dn.DenseClassifier(5, max_iter=2).fit(X, LABELS)
    with pytest.raises(ValueError, match="X has 3 features, but DenseClassifier is expecting 4 features"):
        made.predict(X[:, :3])
    for bad in (np.nan, np.inf):
        broken = X.copy()
        broken[3, 1] = bad
        with pytest.raises(ValueError, match="Input X contains"):
            dn.DenseClassifier().fit(broken, LABELS)
        with pytest.raises(ValueError, match="Input X contains"):
            made.predict(broken)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        dn.DenseClassifier().fit(X, LABELS, -WEIGHTS)
    with pytest.raises(ValueError, match=r"(?i)zero"):
        dn.DenseClassifier().fit(X, LABELS, np.zeros(90))
    with pytest.raises(ValueError, match="masked array"):
        made.predict(np.ma.masked_array(X, X > 1))
    with pytest.raises(ValueError, match=r"of a model that goes on must stay \[5\], got \[6\]"):
        clone(made).fit(X, LABELS).set_params(warm_start=True, hidden_layer_sizes=6).fit(X, LABELS)
    with pytest.raises(NotFittedError):
        dn.DenseClassifier().predict(X)
    assert not hasattr(dn.DenseClassifier(), "coefs_")
    with pytest.raises(ValueError, match="has classes not in"):
        made.partial_fit(X, np.full(90, "fir"))
    with pytest.raises(ValueError, match="The validation set is too small"):
        dn.DenseRegressor(early_stopping=True).fit(X[:2], NUMBERS[:2])


def test_partial_fit_is_there_only_where_it_makes_sense():
    assert hasattr(dn.DenseClassifier(), "partial_fit")
    for settings, message in (
        ({"solver": "lbfgs"}, "only available for stochastic optimizers. lbfgs is not stochastic"),
        ({"early_stopping": True}, "partial_fit does not support early_stopping=True"),
        ({"preset": "tabular"}, "does not go with a preset"),
    ):
        estimator = dn.DenseRegressor(**settings)
        assert not hasattr(estimator, "partial_fit")
        with pytest.raises(ValueError, match=message):
            estimator.partial_fit(X, COUNTS)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        dn.DenseClassifier().partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        dn.DenseClassifier().partial_fit(X, PAIR, classes=["no", "yes"]).partial_fit(X, PAIR, classes=["no", "so"])


def test_warnings_are_scikit_learns():
    with pytest.warns(ConvergenceWarning, match=r"Stochastic Optimizer: Maximum iterations \(2\) reached"):
        dn.DenseClassifier(max_iter=2).fit(X, LABELS)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 2 iteration\(s\) \(status=1\)"):
        dn.DenseClassifier(max_iter=2, solver="lbfgs").fit(X, LABELS)
    with pytest.warns(UserWarning, match="larger than sample size. It is going to be clipped"):
        dn.DenseClassifier(max_iter=2, batch_size=1000).fit(X, LABELS)


def test_divergence_is_an_error_unless_held_out_rows_decide():
    settings = {"solver": "sgd", "learning_rate_init": 1e3, "activation": "identity", "random_state": 0}
    with pytest.raises(dn.DivergenceError, match=r"Solver produced non-finite parameter weights.*fit: the error is"):
        dn.DenseRegressor(**settings).fit(X, COUNTS)
    with pytest.warns(ConvergenceWarning, match="diverged; the best epoch is kept"):
        made = dn.DenseRegressor(early_stopping=True, **settings).fit(X, COUNTS)
    assert np.isfinite(made.model_.params).all()
    assert np.isnan(made.validation_scores_[-1])
    assert made.n_iter_ == len(made.loss_curve_) == len(made.validation_scores_)


def test_an_interrupted_fit_keeps_what_it_has():
    def interrupt(run):
        if run.epoch == 3:
            raise KeyboardInterrupt

    made = dn.DenseClassifier(5, callbacks=dn.LambdaCallback(on_batch_begin=interrupt), random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        made.fit(X, LABELS)
    assert made.n_iter_ == 2
    assert made.predict(X).shape == (90,)


def test_without_scikit_learn_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import densenet as dn\n"
        "try: dn.DenseClassifier\n"
        "except ImportError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "densenet.DenseClassifier needs scikit-learn: pip install '.[sklearn]'"


# -- the pipeline around it ------------------------------------------------------------------------------------------


def frame():
    rng = np.random.default_rng(0)
    made = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    made["tree"] = np.where(rng.random(90) < 0.5, "fir", "yew")
    return made


def test_column_names_are_kept_and_checked():
    table = frame().drop(columns="tree")
    made = dn.DenseClassifier(5, max_iter=2).fit(table, LABELS)
    assert list(made.feature_names_in_) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        made.predict(table.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        made.predict(X)


def test_pipelines_search_and_set_output():
    columns = make_column_transformer(
        (StandardScaler(), ["a", "b", "c", "d"]), (OneHotEncoder(sparse_output=False), ["tree"])
    ).set_output(transform="pandas")
    pipe = make_pipeline(columns, dn.DenseClassifier(8, max_iter=60, learning_rate_init=0.02, random_state=0))
    pipe.fit(frame(), LABELS)
    assert pipe.score(frame(), LABELS) > 0.9
    assert "onehotencoder__tree_fir" in pipe[-1].feature_names_in_
    grid = {"denseclassifier__activation": ["relu", "tanh"], "denseclassifier__dropout": [0.0, 0.2]}
    search = GridSearchCV(pipe, grid, cv=2).fit(frame(), LABELS)
    assert search.best_score_ > 0.6
    assert set(search.best_params_) == set(grid)


def test_jobs_in_other_processes_give_the_same_scores():
    made = dn.DenseClassifier(
        (5, 4), ["tanh", dn.LeakyReLU(0.1)], loss=dn.FocalLoss(), solver=dn.AdamW(0.02), max_iter=10, random_state=0
    )
    serial = cross_val_score(made, X, LABELS, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking beside threads
        np.testing.assert_allclose(cross_val_score(made, X, LABELS, cv=2, n_jobs=2), serial)


def test_copies():
    made = dn.DenseClassifier((5, 4), dropout=0.2, early_stopping=True, max_iter=5, random_state=0).fit(X, LABELS)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.predict_proba(X), made.predict_proba(X))
    assert again.trainer_.model is again.model_
    assert np.shares_memory(again.coefs_[0], again.model_.params)
    fresh = clone(made)
    assert not hasattr(fresh, "model_")
    np.testing.assert_array_equal(fresh.fit(X, LABELS).model_.params, made.model_.params)
    partly = dn.DenseClassifier(5, random_state=0).partial_fit(X, LABELS, classes=np.unique(LABELS))
    copied = pickle.loads(pickle.dumps(partly))
    for estimator in (partly, copied):
        estimator.partial_fit(X, LABELS)
    np.testing.assert_array_equal(copied.model_.params, partly.model_.params)


def test_metadata_routing():
    class Asserting(dn.DenseClassifier):
        def fit(self, X, y, sample_weight=None, *, validation_data=None):
            assert sample_weight is not None
            assert validation_data is not None
            return super().fit(X, y, sample_weight, validation_data=validation_data)

    with sklearn.config_context(enable_metadata_routing=True):
        last = dn.DenseClassifier(5, max_iter=2).set_fit_request(sample_weight=True, validation_data=True)
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), last)
        pipe.fit(X, LABELS, sample_weight=WEIGHTS, validation_data=(X, LABELS))
        assert len(pipe[-1].validation_loss_curve_) == 2
        asked = (
            dn.DenseClassifier(5, max_iter=2).set_score_request(sample_weight=True).set_fit_request(sample_weight=True)
        )
        scores = cross_val_score(asked, X, LABELS, cv=2, params={"sample_weight": WEIGHTS})
        assert scores.shape == (2,)


def test_inside_other_estimators():
    base = dn.DenseClassifier(8, max_iter=40, learning_rate_init=0.02, random_state=0)
    for wrapped in (
        BaggingClassifier(base, n_estimators=3, random_state=0),
        AdaBoostClassifier(base, n_estimators=3, random_state=0),
        CalibratedClassifierCV(base, cv=2),
    ):
        assert wrapped.fit(X, LABELS).score(X, LABELS) > 0.85, wrapped
    x = X * [1, 1, 0, 0]
    importance = permutation_importance(base.fit(x, PAIR), x, PAIR, n_repeats=3, random_state=0).importances_mean
    assert importance[0] > importance[1] > 0
    assert (importance[2:] == 0).all()


def test_split_conformal_intervals_cover():
    rng = np.random.default_rng(2)
    x = rng.uniform(-2, 2, (1500, 1))
    y = np.sin(x[:, 0]) + 0.2 * rng.normal(size=1500)
    fit, calibrate, test = slice(0, 500), slice(500, 1000), slice(1000, 1500)
    made = dn.DenseRegressor(hidden_layer_sizes=32, max_iter=40, learning_rate_init=0.01, random_state=0).fit(
        x[fit], y[fit]
    )
    width = np.quantile(np.abs(y[calibrate] - made.predict(x[calibrate])), 0.9 * (1 + 1 / 500))
    assert abs((np.abs(y[test] - made.predict(x[test])) <= width).mean() - 0.9) < 0.04


# -- the recipe for tables -------------------------------------------------------------------------------------------


def mixed(n=200, seed=0):
    rng = np.random.default_rng(seed)
    area, city = rng.lognormal(3, 1, n), rng.choice(["Bonn", "Trier", "Ulm"], n)
    lift = rng.choice(["yes", "no"], n)
    table = pd.DataFrame({"area": area, "city": city, "lift": lift, "year": rng.integers(1900, 2020, n).astype(float)})
    price = np.log(area) + 0.7 * (city == "Bonn") + 0.5 * (lift == "yes") + 0.1 * rng.normal(size=n)
    table.loc[rng.random(n) < 0.1, "year"] = np.nan
    table.loc[rng.random(n) < 0.1, "city"] = None
    return table, price


def test_the_recipes_preparation_by_hand():
    from densenet.tabular import Preparation, front, learn_scales

    table = pd.DataFrame(
        {"v": [0.0, 1.0, 2.0, 3.0, 100.0], "w": [7.0] * 5, "two": list("abbab"), "three": list("xyzxx")}
    )
    preparation = Preparation().fit(table)
    plain = preparation.transform(table)
    model = dn.Sequential(front(preparation.layout), seed=0)
    learn_scales(model, plain)
    made = model[0].infer(plain)
    z = (np.array([0.0, 1.0, 2.0, 3.0, 100.0]) - 2) / 2  # median 2, quartiles 1 and 3
    np.testing.assert_allclose(made[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5)
    assert np.abs(made[:, 0]).max() < 3
    np.testing.assert_array_equal(made[:, 1], 0)
    sign = np.array([1.0, -1.0, -1.0, 1.0, -1.0])  # a - b; median -1, quartiles -1 and 1
    z = (sign + 1) / 2
    np.testing.assert_allclose(made[:, 2], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5)
    assert made.shape == (5, 6)
    z = np.array([0.0, 1.0, 0.0, 0.0, 0.0]) * 2  # y, once in five: quartiles equal, half the range is 1/2
    np.testing.assert_allclose(made[:, 4], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5)
    unseen = Preparation().fit(table).transform(table.assign(two="c", three=None, v=np.nan))
    assert np.isfinite(unseen).all()


def test_many_categories_take_no_memory_for_each():
    from densenet.tabular import Preparation

    rows, kinds = 60_000, 900
    columns = {"code": np.array([f"k{i % kinds}" for i in range(rows)], object), "size": np.arange(rows) % 7.0}
    preparation = Preparation(embeds=True).fit(columns)
    tracemalloc.start()
    x = preparation.transform(columns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6  # 60,000 rows of 900 columns would be 216 MB in float32
    order = np.array(sorted(f"k{i}" for i in range(kinds)), object)
    assert np.array_equal(order[x[:, 1].astype(int) - 1], columns["code"])


def test_the_recipes_schedule():
    from densenet.tabular import CosineLog4

    rate = CosineLog4(0.04, 1500)
    peaks = [(2 ** (k + 0.5) - 1) * 100 for k in range(4)]  # log2(1 + 15 t) = k + 1/2
    np.testing.assert_allclose([rate(round(t)) for t in peaks], 0.04, rtol=1e-3)
    np.testing.assert_allclose([rate(0), rate(100), rate(300), rate(700), rate(1500)], 0, atol=1e-12)


def test_the_recipe_is_the_papers():
    table, _ = mixed()
    y = np.where(table["lift"] == "yes", 1, 0)
    made = dn.DenseClassifier(preset="tabular-small", random_state=0, max_iter=2).fit(table, y)
    names = [type(layer).__name__ for layer in made.model_.layers]
    assert names == ["RobustScale", "Scale", "Dense", "SELU", "Dense", "SELU", "Dense", "SELU", "Dense"]
    assert [layer.n_out for layer in made.model_.dense_layers] == [256, 256, 256, 2]
    assert made.model_.layers[1].marks["s"].rate == 6
    first = made.model_.dense_layers[0]
    assert first.marks["W"].rate == pytest.approx(first.n_in**-0.5)
    assert first.marks["b"].rate == 0.1
    assert made.trainer_.loss.label_smoothing == 0.1
    optimizer = made.trainer_.optimizer
    assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.95)
    assert repr(optimizer.learning_rate) == "CosineLog4(initial=0.04, steps=2)"
    assert made.n_iter_ == 2
    regressor = dn.DenseRegressor(preset="tabular-small", random_state=0, max_iter=1).fit(table, y)
    assert [type(layer).__name__ for layer in regressor.model_.layers][3] == "Mish"
    assert regressor.trainer_.optimizer.learning_rate.initial == 0.07
    assert not hasattr(dn.DenseRegressor(max_iter=1).fit(X, COUNTS), "preparation_")


def test_the_whole_recipe_is_the_papers():
    table, price = mixed()
    table["street"] = [f"street {i % 12}" for i in range(len(table))]
    y = np.where(table["lift"] == "yes", 1, 0)
    made = dn.DenseClassifier(preset="tabular", random_state=0, max_iter=2).fit(table, y)
    names = [type(layer).__name__ for layer in made.model_]
    assert names == ["Columns", "Scale", "Mixture", "Scale"]
    mixture, factor = made.model_[2:]
    assert [len(mixture.branches), mixture.link, factor.marks["s"].trainable] == [8, "softmax", False]
    for branch in mixture.branches:
        assert [type(layer).__name__ for layer in branch] == [*["Dense", "Blend", "Dropout"] * 3, "Dense"]
        assert [layer.n_out for layer in branch[::3]] == [128, 128, 128, 2]
    numbers, flags, categories = made.model_[0].branches
    assert (numbers[1].frequencies, numbers[1].width, numbers[1].sigma) == (16, 4, 0.1)
    assert [type(layer).__name__ for layer in (numbers[0], *flags)] == ["RobustScale", "RobustScale"]
    assert (categories[0].sizes, categories[0].width) == ([13], 8)
    assert (numbers[1].marks["f"].rate, numbers[1].marks["b"].decayed) == (0.1, 0.1)
    assert (made.model_[1].marks["s"].rate, made.model_[1].marks["s"].decayed) == (6, 6)
    first = made.model_.dense_layers[0]
    assert first.marks["W"].rate * first.marks["W"].decayed == pytest.approx(1)
    assert (first.marks["b"].rate, first.marks["b"].decayed) == (0.1, False)
    assert made.trainer_.loss.label_smoothing == 0
    optimizer = made.trainer_.optimizer
    assert (type(optimizer), optimizer.weight_decay, optimizer.beta_2) == (dn.AdamW, 0.02, 0.95)
    assert [layer.rate for layer in made.model_.every_layer if isinstance(layer, dn.Dropout)] == [0.15] * 24
    regressor = dn.DenseRegressor(preset="tabular", random_state=0, max_iter=1).fit(table, price)
    assert repr(regressor.model_[2].branches[0][1].function) == "Mish()"
    assert regressor.trainer_.optimizer.learning_rate.initial == 0.2
    far = table.assign(area=1e9, city="Bonn", lift="yes")
    assert price.min() - 1e-5 <= regressor.predict(far).min() <= regressor.predict(far).max() <= price.max() + 1e-5


def refined(logits, truth):
    """The least cross-entropy of logits over T, with its prior, by SciPy; and T."""

    def error(log_t):
        z = logits / math.exp(log_t)
        return float((logsumexp(z, axis=1) - z[np.arange(len(z)), truth]).sum() + 2 * log_t**2) / len(z)

    found = minimize_scalar(error, bounds=(-2.3, 2.3), method="bounded", options={"xatol": 1e-9})
    return found.fun, math.exp(found.x)


def test_the_whole_recipe_keeps_the_epoch_of_least_loss_at_its_best_temperature():
    table, price = mixed()
    noisy = price + np.random.default_rng(0).normal(size=len(price))
    y = np.where(noisy > np.quantile(noisy, 0.7), 2, noisy > np.quantile(noisy, 0.3))
    train, test = np.arange(len(y)) % 3 > 0, np.arange(len(y)) % 3 == 0
    seen, made = [], dn.DenseClassifier(preset="tabular", random_state=0, max_iter=60)
    made.callbacks = dn.LambdaCallback(
        on_epoch_end=lambda run: seen.append(run.model.predict(made.preparation_.transform(table[test])))
    )
    made.fit(table[train], y[train], validation_data=(table[test], y[test]))
    errors, temperatures = zip(*[refined(logits.astype(float), y[test]) for logits in seen], strict=True)
    best = int(np.argmin(errors))
    assert best != int(np.argmin(made.validation_loss_curve_))
    assert made.best_validation_score_ == made.validation_scores_[best]
    assert made.temperature_ == pytest.approx(temperatures[best], rel=1e-4)
    expected = softmax(seen[best] / temperatures[best], axis=1)
    np.testing.assert_allclose(made.predict_proba(table[test]), expected, atol=2e-4)


def test_members_share_the_temperature_of_the_rows_they_held_out():
    table, price = mixed()
    y = (price > np.median(price)).astype(int)
    made = dn.DenseClassifier(preset="tabular", random_state=0, max_iter=8, n_members=3).fit(table, y)
    (T,) = {member.temperature_ for member in made.members_}
    p = made.out_of_fold_.astype(float)
    assert refined(T * np.log(p), y)[1] == pytest.approx(T, rel=1e-3)


@pytest.mark.parametrize("kind", ["classes", "shares", "yes or no", "several labels"])
def test_a_temperature_minimises_the_weighted_loss(kind):
    rng = np.random.default_rng(0)
    k = {"yes or no": 1, "several labels": 3}.get(kind, 4)
    z, w = 3 * rng.normal(size=(60, k)), rng.uniform(0, 2, 60)
    t = {
        "classes": lambda: rng.integers(0, k, 60),
        "shares": lambda: rng.dirichlet(np.ones(k), 60),
        "yes or no": lambda: rng.integers(0, 2, (60, 1)),
        "several labels": lambda: rng.integers(0, 2, (60, k)),
    }[kind]()
    loss, outputs = (dn.SoftmaxCrossEntropy(), 1) if k == 4 else (dn.SigmoidCrossEntropy(), k)

    def error(log_t):
        return loss.forward(z / math.exp(log_t), t, w) + 2 * log_t**2 / (60 * outputs)

    found = minimize_scalar(error, bounds=(-2.3, 2.3), method="bounded", options={"xatol": 1e-9})
    made = calibrate(z, t, w, separate=k == 3)
    assert made.temperature == pytest.approx(math.exp(found.x), rel=1e-5)
    assert made.error == pytest.approx(found.fun, rel=1e-6)


def test_dropout_and_decay_are_flat_and_then_follow_a_cosine():
    seen = []

    def look(run):
        seen.append((run.model[2].branches[0][2].rate, run.trainer.optimizer.weight_decay))

    table, price = mixed()
    watch = dn.LambdaCallback(on_batch_begin=look)
    dn.DenseRegressor(preset="tabular", random_state=0, max_iter=8, callbacks=[watch]).fit(table, price)
    shares = np.arange(8) / 8
    factor = np.where(shares <= 0.5, 1, 0.5 + 0.5 * np.cos(np.pi * (2 * shares - 1)))
    np.testing.assert_allclose(seen, np.column_stack([0.15 * factor, 0.02 * factor]), rtol=1e-12)


def test_first_weights_give_every_neuron_unit_variance_on_the_training_rows():
    from densenet.tabular import fit_to_data

    x = np.random.default_rng(0).normal(size=(300, 5)) * [1, 10, 0.1, 3, 0]
    layers = [dn.Dense(5, 40), dn.Tanh(), dn.Dense(40, 7)]
    model = dn.Sequential(layers, dtype="float64")
    fit_to_data(model, x, np.random.default_rng(0))
    for layer, values in ((layers[0], x), (layers[2], layers[1].infer(layers[0].infer(x)))):
        z = values @ layer.W
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)
        assert ((-layer.b > z.min(axis=0)) & (-layer.b < z.max(axis=0))).all()


def test_the_recipes_parametrisation_moves_like_the_papers():
    """One step of Adam from x W / sqrt(n) + b is one step from the plain layer with the rate factor 1 / sqrt(n)."""
    rng = np.random.default_rng(0)
    x, W, target = rng.normal(size=(20, 9)), rng.normal(size=(9, 3)), rng.normal(size=(20, 3))
    model = dn.Sequential([dn.Dense(9, 3).set_rate(1 / 3, "W")], dtype="float64")
    model.layers[0].W = W / 3
    trainer = dn.Trainer(model, "half_squared_error", dn.Adam(0.05))
    m, v = np.zeros_like(W), np.zeros_like(W)
    b = np.zeros(3)
    mb, vb = np.zeros(3), np.zeros(3)
    for t in range(1, 4):
        delta = (x @ W / 3 + b - target) / 20
        for p, g, first, second in ((W, x.T @ delta / 3, m, v), (b, delta.sum(axis=0), mb, vb)):
            first += 0.1 * (g - first)
            second += 0.001 * (g * g - second)
            p -= 0.05 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        trainer.step(x, target)
    np.testing.assert_allclose(model.layers[0].W, W / 3, atol=1e-5)  # Adam's epsilon is not scaled along


def test_the_recipe_learns_words_and_gaps():
    table, price = mixed(400)
    new, truth = mixed(200, seed=1)
    made = dn.DenseRegressor(preset="tabular", random_state=0, max_iter=40).fit(table, price * 1000)
    assert made.score(new, truth * 1000) > 0.8
    assert list(made.feature_names_in_) == ["area", "city", "lift", "year"]
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.predict(new), made.predict(new))
    classes = np.where(price > np.median(price), "dear", "cheap")
    classifier = dn.DenseClassifier(preset="tabular", random_state=0, max_iter=25).fit(table, classes)
    assert classifier.score(new, np.where(truth > np.median(price), "dear", "cheap")) > 0.88
    classifier = dn.DenseClassifier(preset="tabular-small", random_state=0, max_iter=25).fit(table, classes)
    assert classifier.best_validation_score_ == max(classifier.validation_scores_)
    tags = np.column_stack([price > 3, price > 4]).astype(int)
    assert dn.DenseClassifier(preset="tabular", random_state=0, max_iter=15).fit(table, tags).predict(new).shape == (
        200,
        2,
    )


def test_a_presets_mini_batches_are_of_one_size():
    rows, sizes = RNG.normal(size=(800, 2)), []
    watch = dn.LambdaCallback(on_batch_end=lambda run: sizes.append(len(run.batch[0])))
    small = {"preset": "tabular-small", "hidden_layer_sizes": (2,), "max_iter": 1, "random_state": 0}
    dn.DenseRegressor(callbacks=watch, **small).fit(rows, rows[:, 0])
    assert sizes == [320, 320]  # of 640 rows that are not held out
    sizes.clear()
    dn.DenseRegressor(callbacks=watch, batch_size=250, **small).fit(rows, rows[:, 0])
    assert sizes == [250, 250, 140]


def test_the_recipe_takes_other_parameters_along():
    table, price = mixed()
    made = dn.DenseRegressor(preset="tabular-small", hidden_layer_sizes=(9,), dropout=0.1, max_iter=1, random_state=0)
    made.fit(table, price)
    assert [type(layer).__name__ for layer in made.model_.layers] == [
        "RobustScale",
        "Scale",
        "Dense",
        "Mish",
        "Dropout",
        "Dense",
    ]
    assert made.model_.dense_layers[-1].marks["W"].rate == pytest.approx(1 / 3)
    assert len(made.history_) == 1
    made.set_params(preset="tabular", solver=dn.Lion(1e-4), dropout=0.5).fit(table, price)
    assert made.trainer_.optimizer.rate == 1e-4  # an optimizer brings its own rate


# -- second order --------------------------------------------------------------------------------------------------

WAVE = np.linspace(-1, 1, 60)[:, None]
TRUTH = 20 + 5 * np.sin(3 * WAVE[:, 0])
NOISY = TRUTH + np.random.default_rng(0).normal(0, 0.5, 60)


@pytest.mark.parametrize("solver", ["lm", "br", dn.LevenbergMarquardt(scaling="marquardt")], ids=str)
def test_second_order_solvers_fit_and_give_error_bars(solver):
    made = dn.DenseRegressor(
        hidden_layer_sizes=(2,), activation="tanh", solver=solver, max_iter=300, random_state=1, n_iter_no_change=np.inf
    )
    made.fit(WAVE, NOISY)
    mean, std = made.predict(WAVE, return_std=True)
    assert mean.shape == std.shape == (60,)
    np.testing.assert_array_equal(mean, made.predict(WAVE))
    assert np.sqrt(np.mean((mean - TRUTH) ** 2)) < 0.3
    assert 0.35 < std.mean() < 0.75  # the noise is 0.5
    assert np.mean(np.abs(NOISY - mean) < 2 * std) > 0.85
    assert made.n_iter_ == len(made.loss_curve_)
    assert made.loss_ == made.loss_curve_[-1]
    again = clone(made).fit(WAVE, NOISY)
    np.testing.assert_array_equal(again.predict(WAVE), mean)


def test_the_solver_lm_is_the_solver_itself():
    made = dn.DenseRegressor(hidden_layer_sizes=(2,), activation="tanh", solver="lm", max_iter=50, random_state=0)
    made.fit(WAVE, NOISY)
    start = dn.DenseRegressor(hidden_layer_sizes=(2,), activation="tanh", solver="lm", max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning, match="lm stopped at the limit of 1 iterations"):
        start.fit(WAVE, NOISY)
    assert start.loss_curve_ == made.loss_curve_[:1]
    assert made.history_["mu"][0] == start.history_["mu"][0]
    standard = (NOISY - NOISY.mean()) / NOISY.std()
    assert made.loss_ == pytest.approx(0.5 * np.mean((made.model_.predict(WAVE)[:, 0] - standard) ** 2), rel=1e-12)


def test_second_order_solvers_say_what_does_not_go_with_them():
    kind = {"hidden_layer_sizes": (2,), "activation": "tanh", "random_state": 0}
    with pytest.raises(ValueError, match="solver='lm' has no mini-batches: dropout needs"):
        dn.DenseRegressor(solver="lm", dropout=0.1, **kind).fit(WAVE, NOISY)
    with pytest.raises(ValueError, match=r"solver='br' needs dense rows: pass X\.toarray\(\)"):
        dn.DenseRegressor(solver="br", **kind).fit(sparse.csr_matrix(WAVE), NOISY)
    with pytest.raises(AttributeError, match="lm is not stochastic"):
        dn.DenseRegressor(solver="lm", **kind).partial_fit(WAVE, NOISY)
    with pytest.raises(ValueError, match="The 'solver' parameter of DenseClassifier"):
        dn.DenseClassifier(solver="lm").fit(WAVE, NOISY > 20)
    adam = dn.DenseRegressor(solver="lbfgs", **kind).fit(WAVE, NOISY)
    with pytest.raises(ValueError, match="no standard deviations: it needs n_members above 1, or solver='lm' or 'br'"):
        adam.predict(WAVE, return_std=True)
    wide = dn.DenseRegressor(hidden_layer_sizes=(40,), activation="tanh", solver="lm", max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning):
        wide.fit(WAVE, NOISY)
    with pytest.raises(ValueError, match="no standard deviations: uncertainty"):
        wide.predict(WAVE, return_std=True)


def test_lm_holds_rows_out_for_early_stopping():
    made = dn.DenseRegressor(
        hidden_layer_sizes=(8,), activation="tanh", solver="lm", early_stopping=True, n_iter_no_change=3, random_state=0
    )
    made.fit(WAVE, NOISY)
    assert len(made.validation_loss_curve_) == made.n_iter_ < 200
