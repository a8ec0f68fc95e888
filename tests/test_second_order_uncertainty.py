"""Error bars beside the formulas of linear regression, resampled data and the Bayesian posterior."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import densenet as dn
from densenet import plots


def line(n=12, seed=0, outputs=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return x, x @ rng.normal(size=(2, outputs)) + 0.7 + 0.3 * rng.normal(size=(n, outputs))


def fitted(x, y, layers=None, **options):
    model = dn.Sequential(layers or [dn.Dense(x.shape[1], y.shape[1])], dtype="float64", seed=0)
    dn.Trainer(model, "mse", dn.LevenbergMarquardt(mu=1e-9, min_grad=1e-12)).fit(x, y, epochs=300, **options)
    return model


def test_one_output_is_linear_regression():
    x, y = line()
    model = fitted(x, y)
    bars = dn.uncertainty(model, "mse", x, y)
    X = np.column_stack([x, np.ones(12)])
    coefficients, (total,), _, _ = np.linalg.lstsq(X, y)
    covariance = total / 9 * np.linalg.inv(X.T @ X)
    assert_allclose(bars.covariance, covariance, rtol=1e-9)
    assert_allclose(bars.estimates, coefficients[:, 0], rtol=1e-9)
    assert_allclose(bars.standard_errors, np.sqrt(np.diag(covariance)), rtol=1e-9)
    assert (bars.degrees_of_freedom, bars.gamma) == (9, 3)
    new = np.array([[0.5, -2.0], [3.0, 1.0]])
    N = np.column_stack([new, np.ones(2)])
    of_mean = np.einsum("ij,jk,ik->i", N, covariance, N)
    assert_allclose(bars.std(new, kind="confidence")[:, 0], np.sqrt(of_mean), rtol=1e-9)
    assert_allclose(bars.std(new)[:, 0], np.sqrt(of_mean + total / 9), rtol=1e-9)
    low, high = bars.interval(new, level=0.9)
    reach = stats.t.ppf(0.95, 9) * np.sqrt(of_mean + total / 9)
    assert_allclose(low[:, 0], (N @ coefficients)[:, 0] - reach, rtol=1e-9)
    assert_allclose(high[:, 0], (N @ coefficients)[:, 0] + reach, rtol=1e-9)


def test_several_outputs_share_one_variance():
    x, y = line(outputs=2)
    bars = dn.uncertainty(fitted(x, y), dn.HalfSquaredError(), x, y)
    X = np.column_stack([x, np.ones(12)])
    total = np.linalg.lstsq(X, y)[1].sum()
    single = total / (24 - 6) * np.linalg.inv(X.T @ X)
    assert_allclose(bars.standard_errors[:4].reshape(2, 2)[:, 1], np.sqrt(np.diag(single))[:2], rtol=1e-9)
    assert bars.std(x).shape == (12, 2)


def test_weights_are_inverse_variances():
    x, y = line()
    weight = np.random.default_rng(1).uniform(0.2, 3, 12)
    weight[3] = 0
    bars = dn.uncertainty(fitted(x, y, sample_weight=weight), "mse", x, y, sample_weight=weight)
    X = np.column_stack([x, np.ones(12)]) * np.sqrt(weight)[:, None]
    _, (total,), _, _ = np.linalg.lstsq(X, y * np.sqrt(weight)[:, None])
    assert_allclose(bars.covariance, total / (11 - 3) * np.linalg.inv(X.T @ X), rtol=1e-9)


def test_frozen_parameters_are_known():
    x, y = line()
    layer = dn.Dense(2, 1).freeze("b")
    bars = dn.uncertainty(fitted(x, y, [layer]), "mse", x, y)
    assert bars.names == ["0.W[0, 0]", "0.W[1, 0]"]
    total = np.linalg.lstsq(x, y)[1][0]
    assert_allclose(bars.covariance, total / 10 * np.linalg.inv(x.T @ x), rtol=1e-9)


def test_parts_of_the_rows_give_what_all_give():
    x, y = line(200)
    model = fitted(x, y)
    whole, parts = dn.uncertainty(model, "mse", x, y), dn.uncertainty(model, "mse", x, y, max_memory=500)
    assert_allclose(parts.covariance, whole.covariance, rtol=1e-9)


def test_a_ridge_is_the_posterior():
    x, y = line()
    model = dn.Sequential([dn.Dense(2, 1)], dtype="float64", seed=0)
    history = dn.Trainer(model, "mse", dn.BayesianRegularization()).fit(x, y, epochs=200)
    alpha, beta = history["alpha"][-1], history["beta"][-1]
    bars = dn.uncertainty(model, "mse", x, y, ridge=alpha / beta)
    X = np.column_stack([x, np.ones(12)])
    assert_allclose(bars.covariance, np.linalg.inv(2 * beta * X.T @ X + 2 * alpha * np.eye(3)), rtol=1e-5)
    assert_allclose(bars.gamma, history["gamma"][-1], rtol=1e-5)
    assert_allclose(bars.noise**2, 1 / (2 * beta), rtol=1e-5)


def test_a_network_with_a_ridge_has_bars_where_data_are_missing():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1, -0.3, 40), rng.uniform(0.3, 1, 40)])[:, None]
    y = np.sin(3 * x) + 0.1 * rng.normal(size=x.shape)
    model = dn.mlp([1, 10, 1], activation="tanh", seed=0, dtype="float64")
    history = dn.Trainer(model, "mse", dn.BayesianRegularization()).fit(x, y, epochs=200)
    with pytest.raises(ValueError, match=r"the data determine \d+ of 31 parameters.* pass ridge=alpha / beta"):
        dn.uncertainty(model, "mse", np.repeat(x[:20], 3, axis=0), np.repeat(y[:20], 3, axis=0))
    bars = dn.uncertainty(model, "mse", x, y, ridge=history["alpha"][-1] / history["beta"][-1])
    at_data, in_the_gap, outside = bars.std([[-0.6], [0.0], [3.0]], kind="confidence")[:, 0]
    assert at_data < in_the_gap < outside
    assert_allclose(bars.noise, 0.1, rtol=0.15)


def test_bars_are_those_of_repeated_experiments():
    class Decay(dn.Layer):
        """y = a e^(-b x)."""

        a, da = dn.Parameter(), dn.Parameter()
        b, db = dn.Parameter(), dn.Parameter()
        n_in = n_out = 1

        def parameter_shapes(self):
            return {"a": (1,), "b": (1,)}

        def initialize(self, rng):
            self.a[...], self.b[...] = 1.5, 1.0

        def forward(self, x, training=True):
            self._x = x
            return self.infer(x)

        def infer(self, x, out=None):
            return np.multiply(self.a, np.exp(-self.b * x), out=out)

        def backward(self, delta):
            e = np.exp(-self.b * self._x)
            self.da[...], self.db[...] = (delta * e).sum(), -(delta * self.a * self._x * e).sum()
            return -delta * self.a * self.b * e

        def backward_samples(self, delta, out):
            e = np.exp(-self.b * self._x)
            out[:, :1], out[:, 1:] = delta * e, -delta * self.a * self._x * e
            return -delta * self.a * self.b * e

    x, new = np.linspace(0, 3, 15)[:, None], np.array([[0.7]])
    truth, rng = 2 * np.exp(-0.8 * x), np.random.default_rng(0)
    estimates, errors, covered = [], [], 0
    for _ in range(400):
        y = truth + 0.1 * rng.normal(size=x.shape)
        model = dn.Sequential([Decay()], dtype="float64")
        dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=30)
        bars = dn.uncertainty(model, "mse", x, y)
        estimates.append(model.params.copy())
        errors.append(bars.standard_errors)
        low, high = bars.interval(new)
        covered += int(low[0, 0] <= 2 * np.exp(-0.8 * 0.7) + 0.1 * rng.normal() <= high[0, 0])
    assert_allclose(np.mean(errors, axis=0), np.std(estimates, axis=0), rtol=0.1)
    assert 0.92 <= covered / 400 <= 0.98


def test_the_table_prints_and_shows():
    x, y = line()
    bars = dn.uncertainty(fitted(x, y), "mse", x, y)
    lines = str(bars).splitlines()
    assert lines[0].split() == ["parameter", "estimate", "standard", "error", "t", "p", "95", "%", "interval"]
    assert len(lines) == 5
    assert lines[-1] == f"residual standard deviation {bars.noise:.4g} with 9 degrees of freedom"
    t = bars.estimates[0] / bars.standard_errors[0]
    assert f"{2 * stats.t.sf(abs(t), 9):.4g}" in lines[1]
    assert bars._repr_html_().count("<tr>") == 4
    assert repr(bars).startswith("<Uncertainty of 3 parameters: residual standard deviation")


bars = dn.uncertainty


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x, y: bars(m, "mae", x, y), ValueError, "uncertainty expects a loss that is a sum of squares"),
        (lambda m, x, y: bars(m, "mse", x[:2], y[:2]), ValueError, "the data determine 2 of 3 parameters"),
        (lambda m, x, y: bars(m, "mse", x[:3], y[:3]), ValueError, "more data than parameters, got 3 numbers for 3"),
        (lambda m, x, y: bars(m, "mse", x, y[:5]), ValueError, "expects as many targets as rows"),
        (lambda m, x, y: bars(m, "mse", x, y, ridge=-1), ValueError, "expects ridge to be a finite number of at"),
        (lambda m, x, y: bars("m", "mse", x, y), TypeError, "expects a Sequential as its model, got 'm'"),
        (lambda m, x, y: bars(m, "mse", x, y).std(x, kind="x"), ValueError, 'kind to be "confidence" or'),
        (lambda m, x, y: bars(m, "mse", x, y).interval(x, level=95), ValueError, r"expects level in \(0, 1\), got 95"),
        (lambda m, x, y: plots.prediction_band(bars(m, "mse", x, y), x), ValueError, r"x of shape \(n, 1\)"),
    ],
)
def test_what_does_not_fit_is_said(call, error, message):
    x, y = line()
    with pytest.raises(error, match=message):
        call(fitted(x, y), x, y)


def test_the_band_is_the_interval():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (20, 1))
    y = 2 * x + 0.1 * rng.normal(size=x.shape)
    bars = dn.uncertainty(fitted(x, y), "mse", x, y)
    ax = plots.prediction_band(bars, x, y, level=0.8, points=5)
    wide, narrow = (band.get_paths()[0].vertices for band in ax.collections)
    at = np.linspace(x.min(), x.max(), 5)[:, None]
    for vertices, kind in ((wide, "prediction"), (narrow, "confidence")):
        low, high = bars.interval(at, level=0.8, kind=kind)
        assert_allclose([vertices[:, 1].min(), vertices[:, 1].max()], [low.min(), high.max()])
    curve, points = ax.lines
    assert_allclose(curve.get_ydata(), bars.predict(at)[:, 0])
    assert len(points.get_xdata()) == 20
    assert ax.get_legend().get_texts()[0].get_text() == "80 % of new targets"
