"""The linear baseline beside scikit-learn's, intervals of figures, and what the command says of them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from densenet.cli.answer import beside_others
from densenet.tabular import LinearBaseline, with_interval

TREES = ["boosted trees"] if importlib.util.find_spec("sklearn") else []
RNG = np.random.default_rng(2)
X = RNG.normal(size=(150, 5))


def test_numbers_are_ridge_regression_with_the_penalty_of_least_gcv():
    linear = pytest.importorskip("sklearn.linear_model")
    y = X @ [1.0, -2.0, 0.0, 0.5, 0.0] + RNG.normal(size=150) + 40
    made = LinearBaseline(X, y)
    square = np.linalg.svd(X - X.mean(axis=0))[1] ** 2
    best = np.inf, None
    for ridge in np.logspace(-6, 6, 25) * square.mean():
        theirs = linear.Ridge(alpha=ridge).fit(X, y)
        error = ((theirs.predict(X) - y) ** 2).sum()
        best = min(best, (error / (150 - 1 - (square / (square + ridge)).sum()) ** 2, ridge))
    theirs = linear.Ridge(alpha=best[1]).fit(X, y)
    np.testing.assert_allclose(made.W[:, 0], theirs.coef_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(made.predict(X)[:, 0], theirs.predict(X), rtol=1e-9)


def test_classes_are_logistic_regression():
    linear = pytest.importorskip("sklearn.linear_model")
    y = np.argmax(X @ RNG.normal(size=(5, 3)) + RNG.normal(size=(150, 3)), axis=1)
    theirs = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(LinearBaseline(X, y, 3).predict(X), theirs.predict_proba(X), atol=1e-4)


def test_more_columns_than_rows_and_columns_that_do_not_vary():
    x = np.column_stack([RNG.normal(size=(6, 20)), np.ones(6)])
    assert np.isfinite(LinearBaseline(x, np.arange(6.0)).predict(x)).all()
    assert np.isfinite(LinearBaseline(x, np.arange(6) % 2, 2).predict(x)).all()
    assert LinearBaseline(np.ones((6, 1)), np.full(6, 3.0)).predict([[9.0]])[0, 0] == pytest.approx(3)


def test_an_interval_of_a_mean_has_the_width_of_its_standard_error():
    each = RNG.normal(size=400)
    mean, low, high = with_interval(each)
    assert mean == pytest.approx(each.mean())
    assert high - low == pytest.approx(2 * 1.645 * each.std() / 20, rel=0.15)


def test_the_command_says_which_is_ahead():
    y = X @ [1.0, -2.0, 0.0, 0.5, 0.0]
    training, held_out = np.arange(100), np.arange(100, 150)
    poor = beside_others(X, y, training, held_out, np.zeros(50), 0)
    assert "it is simpler and answers better here; --preset linear trains and writes it" in poor
    curved = beside_others(X, y**2, training, held_out, y[held_out] ** 2, 0)
    assert [line.split("  ")[0] for line in curved.splitlines()] == ["held out", "network", "linear model", *TREES]
    labels = (y > 0).astype(int)
    even = LinearBaseline(X[training], labels[training], 2).predict(X[held_out])
    same = beside_others(X, labels, training, held_out, even, 2)
    assert same.splitlines()[-1] == "network and linear model cannot be told apart on these rows"
    assert same.startswith("held out ")
    assert "log-loss" in same
