"""Elapsed time beside the recipe's network: a line that goes on beyond the training rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import densenet as dn
from densenet.tabular.trend import elapsed_slopes, with_skip

DAYS = np.arange(300)
A = np.random.default_rng(0).normal(size=300)
WHEN = np.datetime64("2024-01-01") + DAYS
ROWS = {"a": A, "when": WHEN}
FEW = {"preset": "tabular", "hidden_layer_sizes": (16,), "max_iter": 30, "random_state": 0}


def rows(at):
    return {name: column[at] for name, column in ROWS.items()}


def least_squares(x, y, ridge=0.0):
    """Slopes of a linear model with an intercept, by the normal equations."""
    ones = np.column_stack([x, np.ones(len(x))])
    penalty = np.diag([ridge] * x.shape[1] + [0.0])
    return np.linalg.solve(ones.T @ ones + penalty, ones.T @ y)[:-1]


def test_slopes_are_the_linear_model_s_where_time_elapses():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 3))
    y = np.column_stack([x @ [1.0, 2.0, 3.0], x @ [0.0, -4.0, 1.0]])
    W = elapsed_slopes([1], x, y, 2)
    expected = np.zeros((3, 2))
    expected[1] = least_squares(x, y)[1]
    np.testing.assert_allclose(W, expected, atol=1e-4)
    assert elapsed_slopes([], x, y, 2) is None


def test_slopes_of_classes_make_the_gradient_of_the_logistic_error_vanish():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 2))
    classes = (x[:, 0] + rng.normal(size=60) > 0).astype(int)
    W = elapsed_slopes([0, 1], x, classes, 2, "softmax")
    logits = x @ W
    shift = min(
        np.linspace(-3, 3, 6001), key=lambda b: np.logaddexp(0, -(2 * classes - 1) * (logits @ [-1, 1] + b)).sum()
    )
    p = 1 / (1 + np.exp(-(logits @ [-1, 1] + shift)))
    np.testing.assert_allclose(x.T @ (p - classes) + W[:, 1], 0, atol=5e-3)
    np.testing.assert_allclose(elapsed_slopes([0, 1], x, classes[:, None], 1, "sigmoid")[:, 0], W @ [-1, 1], atol=1e-6)


def test_slopes_have_a_column_for_a_class_without_rows():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 1))
    W = elapsed_slopes([0], x, (x[:, 0] > 0).astype(int), 3, "softmax")
    assert W.shape == (1, 3)
    assert abs(W[0, 2]) < 0.5 < W[0, 1]


def test_slopes_of_many_rows_are_those_of_ten_thousand():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30_001, 1))
    W = elapsed_slopes([0], x, 2 * x[:, 0], 1)
    np.testing.assert_allclose(W, [[2.0]], rtol=1e-4)


def test_a_model_with_a_skip_stays_at_the_ends_of_the_training_rows_and_the_line_goes_on():
    f, W = dn.mlp([2, 5, 2], seed=0, dtype="float64"), np.array([[0.0, 0.0], [2.0, -1.0]])
    x = np.array([[0.3, -1.0], [0.7, 1.0]])
    model = with_skip(f, W, x)
    new = np.array([[9.0, 0.5], [0.1, 7.0], [0.1, -7.0]])
    inside = np.array([[9.0, 0.5], [0.1, 1.0], [0.1, -1.0]])
    np.testing.assert_allclose(model.predict(new), f.predict(inside) + new @ W, rtol=1e-12)
    before = [layer.W.copy() for layer in model.dense_layers[-2:]]
    dn.Trainer(model, "mse", "adam").fit(x, [[1.0, 0.0], [0.0, 1.0]], epochs=2)
    for layer, was in zip(model.dense_layers[-2:], before, strict=True):
        np.testing.assert_array_equal(layer.W, was)


@pytest.mark.parametrize("options", [{}, {"n_members": 2}, {"preset": "tabular-small"}])
def test_a_regressor_follows_a_trend_beyond_its_training_rows(options):
    rng = np.random.default_rng(1)
    y = 100 + 0.2 * DAYS + 3 * A + rng.normal(size=300)
    model = dn.DenseRegressor(**FEW | options).fit(rows(slice(240)), y[:240])
    assert model.score(rows(slice(240, None)), y[240:]) > 0.7  # 0 is the later rows' own mean
    rise = np.diff(model.predict({"a": A[[0, 0]], "when": WHEN[[240, 299]] + 2000}))
    assert rise == pytest.approx(0.2 * 59, rel=0.1)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(rows(slice(240, None))), model.predict(rows(slice(240, None))))


def test_two_targets_have_a_line_each():
    y = np.column_stack([0.2 * DAYS + A, 50 - 0.1 * DAYS])
    model = dn.DenseRegressor(**FEW).fit(rows(slice(240)), y[:240])
    rise = np.diff(model.predict({"a": A[[0, 0]], "when": WHEN[[240, 299]] + 2000}), axis=0)[0]
    np.testing.assert_allclose(rise, [0.2 * 59, -0.1 * 59], rtol=0.1)


@pytest.mark.parametrize("kind", ["two", "three", "labels"])
def test_a_classifier_s_log_odds_go_on_along_the_line(kind):
    rng = np.random.default_rng(1)
    late = 1 / (1 + np.exp(-0.03 * (DAYS - 150))) > rng.uniform(size=300)
    y = {
        "two": np.where(late, "late", "early"),
        "three": np.where(A > 1, "other", np.where(late, "late", "early")),
        "labels": np.column_stack([late, ~late, A > 0]).astype(int),
    }[kind]
    model = dn.DenseClassifier(**FEW).fit(rows(slice(240)), y[:240])
    week = np.array(["2030-01-07", "2030-01-14"], "datetime64[D]")  # of one month and weekday
    x = model.preparation_.transform({"a": A[[0, 0]], "when": week})
    net = model.model_
    W = net.layers[0].branches[1][0].W @ net.layers[1].W[: net.n_out]  # with the temperature
    raw = net.predict(x)
    np.testing.assert_allclose(raw[1] - raw[0], (x[1] - x[0]) @ W, atol=1e-4)
    late_column = {"two": 1, "three": 1, "labels": 0}[kind]
    assert W[model.preparation_.elapsed[0], late_column] > 0


def test_a_skip_is_explained_and_exported(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    y = 100 + 0.2 * DAYS + 3 * A
    model = dn.DenseRegressor(**FEW).fit(rows(slice(240)), y[:240])
    x = model.preparation_.transform(ROWS)
    dn.to_onnx(model.model_, tmp_path / "trend.onnx")
    session = runtime.InferenceSession(tmp_path / "trend.onnx")
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], model.model_.predict(x), rtol=1e-4, atol=1e-5)
