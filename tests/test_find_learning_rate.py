from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet.health.rates import LearningRates, _suggest

X, Y = dn.datasets.load_digits()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def trainer(optimizer="sgd", **options):
    return dn.Trainer(dn.mlp([64, 32, 10], seed=0, **options), "softmax_cross_entropy", optimizer)


def test_the_suggestion_trains_and_ten_times_the_edge_does_not():
    found = dn.find_learning_rate(trainer(), X, Y)
    assert found.suggestion < found.edge

    def last_loss(rate):
        return trainer(dn.SGD(rate)).fit(X, Y, epochs=3, seed=0)["loss"][-1]

    assert last_loss(found.suggestion) < 0.3
    assert last_loss(found.suggestion) < last_loss(found.suggestion / 30)
    assert last_loss(10 * found.edge) > 1.0


def test_each_step_is_a_trainers_own_step_at_a_growing_rate():
    found = dn.find_learning_rate(trainer(), X[:40], Y[:40], lowest=1e-3, highest=1e-1, steps=11, batch_size=40)
    assert_allclose(found.rates, 1e-3 * 100 ** (np.arange(11) / 10))
    twin = trainer()
    for rate, error in zip(found.rates, found.errors, strict=True):  # all rows in each batch: order does not matter
        twin.optimizer.learning_rate = float(rate)
        twin.step(X[:40], Y[:40])
        assert error == pytest.approx(twin.evaluate(X[:40], Y[:40])["loss"], rel=1e-4)


def test_nothing_of_the_trainer_changes():
    first, twin = trainer("adam", dropout=0.3), trainer("adam", dropout=0.3)
    first.fit(X[:200], Y[:200], epochs=1, seed=0)
    twin.fit(X[:200], Y[:200], epochs=1, seed=0)
    state = first.optimizer.state_dict()
    dn.find_learning_rate(first, X, Y)
    assert_array_equal(first.model.params, twin.model.params)
    for name, value in state.items():
        assert_array_equal(first.optimizer.state_dict()[name], value)
    assert first.fit(X, Y, epochs=2, seed=1)["loss"] == twin.fit(X, Y, epochs=2, seed=1)["loss"]


def test_a_schedule_does_not_matter():
    plain, scheduled = trainer(dn.SGD(0.5)), trainer(dn.SGD(dn.CosineDecay(0.1, steps=100)))
    assert_array_equal(dn.find_learning_rate(plain, X, Y).errors, dn.find_learning_rate(scheduled, X, Y).errors)
    assert isinstance(scheduled.optimizer.learning_rate, dn.CosineDecay)


def test_the_test_ends_where_the_error_blows_up():
    x = np.random.default_rng(0).normal(size=(200, 3))
    regression = dn.Trainer(dn.mlp([3, 16, 1], seed=0), "mse", "sgd")
    found = dn.find_learning_rate(regression, x, x.sum(axis=1), highest=1e6, steps=200)
    assert len(found.rates) < 200
    assert np.isfinite(found.errors).all()
    assert 1e-4 < found.suggestion < 1


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_few_rows_and_other_batch_sizes(rows):
    found = dn.find_learning_rate(trainer(), X[:rows], Y[:rows], batch_size=10, steps=30)
    assert len(found.rates) == len(found.errors) <= 30


def test_the_suggestion_is_the_steepest_place_before_the_lowest():
    rates = 10.0 ** np.linspace(-5, 1, 121)
    errors = 2 - 1 / (1 + np.exp(-6 * (np.log10(rates) + 2))) + np.where(rates > 0.3, 5 * np.log10(rates / 0.3), 0)
    suggestion, edge = _suggest(rates, errors)
    assert suggestion == pytest.approx(1e-2, rel=0.15)
    assert edge == pytest.approx(0.3, rel=0.3)
    never, _ = _suggest(rates, np.linspace(1, 2, 121))
    assert np.isnan(never)


def test_the_picture_shows_errors_suggestion_and_edge():
    found = dn.find_learning_rate(trainer(), X, Y)
    ax = found.plot()
    ax.figure.canvas.draw()
    drawn = {line.get_label(): line for line in ax.get_lines()}
    assert_array_equal(drawn["_error"].get_xdata(), found.rates)
    assert_array_equal(drawn["_error"].get_ydata(), found.errors)
    at = np.flatnonzero(found.rates == found.suggestion)[0]
    mark = drawn[f"falls fastest (suggestion): {found.suggestion:.2g}"]
    assert_allclose(mark.get_xydata(), [[found.suggestion, found.errors[at]]])
    assert f"lowest: {found.edge:.2g}" in drawn
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[0] < found.errors.min()


def test_an_error_that_never_falls_is_drawn_without_marks():
    found = LearningRates(np.geomspace(1e-3, 1, 9), np.linspace(1, 2, 9), np.nan, 1e-3)
    ax = found.plot()
    assert len(ax.get_lines()) == 1
    assert repr(found) == "<LearningRates: the error never falls from 0.001 to 1>"


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="find_learning_rate expects a Trainer, got 3"):
        dn.find_learning_rate(3, X, Y)
    with pytest.raises(ValueError, match=r"lowest below highest, got 1 and 0\.1"):
        dn.find_learning_rate(trainer(), X, Y, lowest=1.0, highest=0.1)
    with pytest.raises(ValueError, match="at least 10 steps to see a slope, got 3"):
        dn.find_learning_rate(trainer(), X, Y, steps=3)
    with pytest.raises(ValueError, match="as many targets as rows"):
        dn.find_learning_rate(trainer(), X, Y[:3])
    with pytest.raises(ValueError, match="batch_size to be a whole number of at least 1, got 0"):
        dn.find_learning_rate(trainer(), X, Y, batch_size=0)
    with pytest.raises(ValueError, match="choose a smaller lowest"):
        dn.find_learning_rate(dn.Trainer(dn.mlp([64, 1], seed=0), "mse", "sgd"), X, Y, lowest=1e3, highest=1e4)
    with pytest.raises(TypeError, match="what find_learning_rate returns, got list"):
        dn.plots.learning_rates([1.0])
