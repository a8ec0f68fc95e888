"""Levenberg-Marquardt on certified problems, and all solvers inside the Trainer."""

from __future__ import annotations

import signal
import tracemalloc
import warnings

import nist
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize

import densenet as dn
from densenet.second_order.least_squares import Bowl, MeanSquares


def curve(n=40, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, n)[:, None]
    return x, np.sin(3 * x) + noise * rng.normal(size=x.shape)


def small(widths=(1, 6, 1), seed=0, dtype="float64"):
    return dn.mlp(list(widths), activation="tanh", seed=seed, dtype=dtype)


# -- certified problems ----------------------------------------------------------------------------------------------

ONE_SETTING = {"scaling": "marquardt", "acceleration": True, "min_grad": 0.0, "mu_max": 1e30}


@pytest.fixture(scope="module")
def fitted():
    models = {}
    for name in nist.FORMULAS:
        for start in (1, 2):
            model, x, y = nist.problem(name, start)
            trainer = dn.Trainer(model, "mse", dn.LevenbergMarquardt(**ONE_SETTING))
            trainer.fit(x, y, epochs=5000)
            models[name, start] = model, x, y
    return models


@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("name", nist.FORMULAS)
def test_every_certified_problem_has_more_than_four_digits(fitted, name, start):
    assert nist.digits(name, fitted[name, start][0].params) > 4


def test_the_mean_has_at_least_nine_digits(fitted):
    digits = [nist.digits(name, model.params) for (name, _), (model, _, _) in fitted.items()]
    assert len(digits) == 54
    assert np.mean(digits) >= 9.1


@pytest.mark.parametrize("name", nist.FORMULAS)
def test_standard_errors_are_the_certified_ones(fitted, name):
    facts = nist.PROBLEMS[name]
    model, x, y = fitted[name, 2]
    bars = dn.uncertainty(model, "mse", x, y)
    loose = 1e-3 if name == "Lanczos1" else 1e-5  # its residuals are at the last digits of the data
    assert_allclose(bars.standard_errors, facts["standard_errors"], rtol=loose)
    assert_allclose(bars.noise, facts["residual_standard_deviation"], rtol=loose)


# -- the step ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(30, 4), (4, 4), (3, 8), (1, 1)])
@pytest.mark.parametrize("damping", [1e-6, 1.0, 1e4])
def test_the_step_solves_the_damped_equations(rows, columns, damping):
    rng = np.random.default_rng(0)
    J, r, u = rng.normal(size=(rows, columns)), rng.normal(size=rows), rng.normal(size=rows)
    d = damping * rng.uniform(0.5, 2, columns)
    bowl = Bowl(r, J, J.T @ r)
    stacked = np.vstack([J, np.diag(np.sqrt(d))])
    expected = np.linalg.lstsq(stacked, -np.concatenate([r, np.zeros(columns)]))[0]
    assert_allclose(bowl.step(d), expected, rtol=1e-7, atol=1e-9 * abs(expected).max())
    correction = np.linalg.lstsq(stacked, -np.concatenate([u, np.zeros(columns)]))[0]
    assert_allclose(bowl.correction(u), correction, rtol=1e-7, atol=1e-9 * abs(correction).max())
    change = np.square(r + J @ expected).sum() - r @ r
    assert_allclose(bowl.change(expected), change, rtol=1e-9, atol=1e-12)


def test_where_the_normal_equations_fail_the_factorisation_does_not():
    x = np.linspace(0, 1, 40)
    J = np.vander(x, 12)  # condition 4e8: its square is at the end of float64
    p = np.ones(12)
    r = -J @ p
    bowl = Bowl(r, J, J.T @ r)
    d = np.full(12, 1e-30)
    assert bowl._normal_step(d) is None
    assert np.abs(bowl.step(d) - p).max() < 1e-7


def test_a_singular_bowl_without_its_jacobian_has_no_step():
    J = np.ones((5, 3))
    bowl = Bowl(np.ones(5), None, J.T @ np.ones(5), J.T @ J)
    assert bowl.step(np.zeros(3)) is None
    assert bowl.step(np.full(3, 1e-3)) is not None


# -- Levenberg-Marquardt inside the Trainer ---------------------------------------------------------------------------


def test_a_linear_model_is_solved_in_one_step():
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(30, 4)), rng.normal(size=(30, 2)), rng.uniform(0, 2, 30)
    model = dn.Sequential([dn.Dense(4, 2)], dtype="float64", seed=1)
    solver = dn.LevenbergMarquardt(mu=1e-12)
    history = dn.Trainer(model, "mse", solver).fit(x, y, epochs=5, sample_weight=weight)
    root = np.sqrt(weight)[:, None]
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(30)]) * root, y * root)[0]
    assert history.stopped == "gradient below min_grad"
    assert len(history) == 1
    assert_allclose(model.layers[0].W, expected[:4], atol=1e-9)
    assert_allclose(model.layers[0].b, expected[4], atol=1e-9)


def test_it_ends_where_scipy_ends():
    x, y = curve()
    model = small((1, 2, 1))
    start = model.params.copy()
    problem = MeanSquares(model, dn.MeanSquaredError(), x, y, None, 1e9, "")
    solver = dn.LevenbergMarquardt(mu_dec=0.3, mu_inc=3, min_grad=1e-11)
    history = dn.Trainer(model, "mse", solver).fit(x, y, epochs=1000)
    other = optimize.least_squares(problem.residuals, start, method="lm", xtol=1e-14, ftol=1e-14, max_nfev=100_000)
    assert_allclose(history["loss"][-1], 2 * other.cost, rtol=1e-5)


def test_figures_are_those_after_the_step_and_grads_are_true():
    x, y = curve()
    model = small()
    trainer = dn.Trainer(model, dn.HalfSquaredError(), dn.LevenbergMarquardt(max_fail=None), metrics=["rmse"])
    history = trainer.fit(x, y, epochs=7, validation_data=(x[::2], y[::2]))
    assert history.keys() == ["loss", "mu", "gradient_norm", "rmse", "val_loss", "val_rmse", "seconds"]
    assert len(history) == 7
    assert history.stopped == "finished"
    assert_allclose(history["loss"][-1], trainer.evaluate(x, y)["loss"])
    assert_allclose(history["rmse"][-1] ** 2, 2 * history["loss"][-1])
    assert (np.diff(history["loss"]) < 0).all()
    assert_allclose(2 * np.abs(model.grads).max(), history["gradient_norm"][-1])  # of twice the loss
    assert_allclose(model.grads, dn.per_sample_gradients(model, dn.HalfSquaredError(), x, y).mean(axis=0), atol=1e-12)
    assert np.shares_memory(model.params, model.layers[0].W)


def test_weights_and_outputs_count_as_in_the_loss():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 3))
    repeated = np.repeat(np.arange(20), rng.integers(0, 3, 20))
    weight = np.bincount(repeated, minlength=20).astype(float)
    one, other = small((2, 4, 3)), small((2, 4, 3))
    first = dn.Trainer(one, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=4, sample_weight=weight)
    second = dn.Trainer(other, "mse", dn.LevenbergMarquardt()).fit(x[repeated], y[repeated], epochs=4)
    assert_allclose(first["loss"], second["loss"], rtol=1e-9)
    assert_allclose(one.params, other.params, rtol=1e-6)


@pytest.mark.parametrize("rows", [40, 200])
def test_parts_of_the_rows_give_what_all_give(rows):
    x, y = curve(rows)
    whole, parts = small(), small()
    one = dn.Trainer(whole, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=6)
    need = 8 * whole.params.size * (5 * whole.params.size + 7)  # three rows at a time
    solver = dn.LevenbergMarquardt(max_memory=need)
    assert not MeanSquares(parts, dn.MeanSquaredError(), x, y, None, need, "").dense
    other = dn.Trainer(parts, "mse", solver).fit(x, y, epochs=6)
    assert_allclose(one["loss"], other["loss"], rtol=1e-6)


def test_frozen_parameters_stay_and_the_rest_is_solved():
    x, y = curve()
    model = small()
    model.layers[0].freeze("W")
    model.layers[2].freeze("b")
    kept = model.layers[0].W.copy(), model.layers[2].b.copy()
    history = dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=30)
    assert_array_equal(model.layers[0].W, kept[0])
    assert_array_equal(model.layers[2].b, kept[1])
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_a_float32_model_is_solved_in_float64():
    x, y = curve()
    exact, rounded = small(), small(dtype="float32")
    exact.params = rounded.params
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    one = dn.Trainer(exact, "mse", dn.LevenbergMarquardt()).fit(x32, y32, epochs=10)
    other = dn.Trainer(rounded, "mse", dn.LevenbergMarquardt()).fit(x32, y32, epochs=10)
    assert one["loss"] == other["loss"]
    assert rounded.params.dtype == np.float32
    assert_array_equal(rounded.params, exact.params.astype(np.float32))


def test_columns_of_zeros_and_copies_are_damped():
    x, y = curve()
    x = np.column_stack([x, x, np.zeros_like(x)])
    for scaling in (None, "marquardt"):
        model = small((3, 5, 1))
        before = model.layers[0].W[2].copy()
        history = dn.Trainer(model, "mse", dn.LevenbergMarquardt(scaling=scaling)).fit(x, y, epochs=60)
        assert history["loss"][-1] < 0.02
        assert_array_equal(model.layers[0].W[2], before)  # nothing depends on them


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"goal": 0.05}, "goal reached"),
        ({"min_grad": 0.01}, "gradient below min_grad"),
        ({"mu": 1e-9, "mu_max": 2e-9, "mu_dec": 0.9}, "mu above mu_max"),
    ],
)
def test_it_says_why_it_ends(options, reason):
    x, y = curve()
    history = dn.Trainer(small(seed=2), "mse", dn.LevenbergMarquardt(**options)).fit(x, y, epochs=500)
    assert history.stopped == reason
    assert len(history) < 500
    if "goal" in options:
        assert history["loss"][-1] <= 0.05 < history["loss"][-2]
    if "min_grad" in options:
        assert history["gradient_norm"][-1] <= 0.01 < history["gradient_norm"][-2]


def test_exact_data_end_in_rounding():
    x, _ = curve()
    truth, model = small((1, 2, 1)), small((1, 2, 1))
    truth.params = [3.0, -1.0, 0.5, 1.0, 2.0, -1.0, 0.3]
    model.params = truth.params * 1.05 - 0.02
    solver = dn.LevenbergMarquardt(min_grad=0.0, scaling="marquardt", mu_max=1e30)
    history = dn.Trainer(model, "mse", solver).fit(x, truth.predict(x), epochs=300)
    assert history.stopped == "rounding: the error cannot get smaller"
    assert_allclose(model.params, truth.params, rtol=1e-10)


def test_at_the_bottom_there_is_no_iteration():
    x, y = curve()
    model = small()
    events = []
    watch = dn.LambdaCallback(on_epoch_end=lambda run: events.append(run.epoch))
    history = dn.Trainer(model, "mse", dn.LevenbergMarquardt(goal=100.0)).fit(x, y, epochs=5, callbacks=[watch])
    assert history.stopped == "goal reached"
    assert len(history) == 0
    assert events == []


def test_validation_ends_it_with_the_best_weights():
    x, y = curve(16, noise=0.5)
    held_out = curve(40, noise=0.5, seed=9)
    model = small((1, 12, 1))
    trainer = dn.Trainer(model, "mse", dn.LevenbergMarquardt(max_fail=4))
    history = trainer.fit(x, y, epochs=300, validation_data=held_out)
    assert history.stopped == "early stopping: val_loss has not improved for 4 epochs"
    assert int(np.argmin(history["val_loss"])) == len(history) - 5
    assert_allclose(trainer.evaluate(*held_out)["loss"], min(history["val_loss"]))


def test_callbacks_and_hooks():
    x, y = curve()
    seen = []
    watch = dn.LambdaCallback(
        on_fit_begin=lambda run: seen.append("fit"),
        on_epoch_begin=lambda run: seen.append(f"begin {run.epoch}"),
        on_batch_end=lambda run: seen.append(f"step {run.step}"),
        on_epoch_end=lambda run: seen.append(f"end {run.epoch}"),
        on_fit_end=lambda run: seen.append("done"),
    )
    trainer = dn.Trainer(small(), "mse", dn.LevenbergMarquardt())
    trainer.fit(x, y, epochs=2, callbacks=[watch])
    assert seen == ["fit", "begin 1", "step 1", "end 1", "begin 2", "step 2", "end 2", "done"]
    again = dn.Trainer(small(), "mse", dn.LevenbergMarquardt())
    history = again.fit(x, y, epochs=50, callbacks=[dn.StopAt("loss", 0.01)])
    assert history["loss"][-1] <= 0.01 < history["loss"][-2]
    assert len(history) < 50


def test_ctrl_c_ends_it_after_the_iteration():
    x, y = curve()

    def press(run):
        if run.epoch == 3:
            signal.raise_signal(signal.SIGINT)

    trainer = dn.Trainer(small(), "mse", dn.LevenbergMarquardt())
    history = trainer.fit(x, y, epochs=50, callbacks=[dn.LambdaCallback(on_epoch_begin=press)])
    assert history.stopped == "interrupted"
    assert len(history) == 3
    assert len(trainer.fit(x, y, epochs=2)) == 2


@pytest.mark.parametrize(
    ("layers", "loss", "message"),
    [
        ([dn.Dense(1, 1)], "mae", r"expects a loss that is a sum of squares .* got MeanAbsoluteError\(\)"),
        ([dn.Dense(1, 2), dn.BatchNorm(2), dn.Dense(2, 1)], "mse", r"BatchNorm\(2\) takes statistics over the batch"),
        ([dn.Dense(1, 2), dn.Dropout(0.1), dn.Dense(2, 1)], "mse", r"Dropout\(0.1\) draws noise: leave it out."),
        ([dn.Dense(1, 1, kernel_l2=0.1)], "mse", "adds a penalty: leave it out"),
        ([dn.Dense(1, 1, max_norm=1.0)], "mse", r"cannot keep Dense\(1, 1, max_norm=1.0\) within its max_norm"),
        ([dn.Dense(1, 1).freeze()], "mse", "without free parameters"),
    ],
)
def test_what_it_cannot_solve_is_said(layers, loss, message):
    x, y = curve()
    trainer = dn.Trainer(dn.Sequential(layers, seed=0), loss, dn.LevenbergMarquardt())
    before = trainer.model.params.copy()
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, y, epochs=3)
    assert_array_equal(trainer.model.params, before)


def test_memory_is_kept():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 1))
    dn.Trainer(small((2, 40, 1)), "mse", dn.LevenbergMarquardt()).fit(x[:9], y[:9], epochs=1)  # imports come once
    for bound in (1.5e6, 5e6, 3e7):  # the Jacobian alone takes 6.4 MB
        trainer = dn.Trainer(small((2, 40, 1)), "mse", dn.LevenbergMarquardt(max_memory=bound, acceleration=True))
        tracemalloc.start()
        trainer.fit(x, y, epochs=3)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < bound + 5000 * 8 * 200  # activations, deltas and data
    assert peak > 6.4e6


def test_too_little_memory_is_said():
    x, y = curve()
    trainer = dn.Trainer(small((1, 50, 1)), "mse", dn.LevenbergMarquardt(max_memory=1e4))
    with pytest.raises(ValueError, match=r"needs 0.9 MB for 151 parameters, and may take 0.0 MB: raise max_memory"):
        trainer.fit(x, y, epochs=1)


def test_what_the_trainer_does_not_do_with_a_solver():
    x, y = curve(64)
    trainer = dn.Trainer(small(), "mse", dn.LevenbergMarquardt())
    with pytest.raises(
        TypeError, match=r"step is for optimizers; LevenbergMarquardt\(\) works on all the data, in fit"
    ):
        trainer.step(x, y)
    for rows in (16, 32, 64):  # a solver takes all rows, whatever batch_size says
        assert len(trainer.fit(x, y, epochs=1, batch_size=rows)) == 1
    with pytest.raises(ValueError, match="takes all the data at once"):
        trainer.fit([(x, y)], epochs=1)
    with pytest.raises(TypeError, match="save_checkpoint is for runs with an optimizer"):
        trainer.save_checkpoint("model.npz")
    with pytest.raises(ValueError, match=r"needs an optimizer with a learning rate, got LevenbergMarquardt\(\)"):
        trainer.fit(x, y, epochs=1, callbacks=[dn.ReduceLROnPlateau("loss")])
    with pytest.raises(ValueError, match="clipping and accumulate are for optimizers"):
        dn.Trainer(small(), "mse", dn.LevenbergMarquardt(), clip_norm=1.0)
    assert len(trainer.fit(x, y, epochs=0)) == 0
    assert len(trainer.fit(x, y, epochs=2, batch_size=1000)) == 2


def test_a_start_that_is_not_finite_is_said():
    x, y = curve()
    model = small()
    model.params[0] = np.inf
    model.layers[-1].W[...] = np.inf
    with pytest.raises(
        dn.DivergenceError, match=r"fit: the mean squared error is (nan|inf) at the start, first seen in W"
    ):
        dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=1)


def test_steps_into_infinity_are_not_taken():
    x = np.linspace(0, 5, 20)[:, None]
    model = dn.Sequential([dn.Dense(1, 1), Power(), dn.Dense(1, 1)], dtype="float64", seed=0)
    history = dn.Trainer(model, "mse", dn.LevenbergMarquardt(mu=1e-9)).fit(x, np.exp(2 * x), epochs=50)
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(model.params).all()


class Power(dn.Activation):
    """e^x without a bound: it overflows."""

    def value(self, x, out, work):
        np.exp(x, out=out)

    def slope(self, x, y, out, work):
        out[...] = y


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": 0}, "LevenbergMarquardt expects mu to be a finite number above 0, got 0"),
        ({"mu_dec": 2.0}, "expects mu_dec < 1 < mu_inc, got 2.0 and 10.0"),
        ({"min_grad": -1.0}, "expects min_grad to be a finite number of at least 0"),
        ({"scaling": "more"}, "expects scaling to be None or \"marquardt\", got 'more'"),
        ({"max_fail": 0}, "expects max_fail to be a whole number of at least 1"),
        ({"max_memory": np.inf}, "expects max_memory to be a finite number above 0"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        dn.LevenbergMarquardt(**options)


def test_repr_shows_what_differs():
    assert repr(dn.LevenbergMarquardt(0.1, scaling="marquardt")) == "LevenbergMarquardt(mu=0.1, scaling='marquardt')"
    assert repr(dn.LBFGS(memory=5)) == "LBFGS(memory=5)"


# -- L-BFGS and conjugate gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [dn.LBFGS, dn.ConjugateGradient])
def test_they_find_the_penalised_optimum(solver):
    x, y = dn.datasets.load_iris()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = dn.Sequential([dn.Dense(4, 3, kernel_l2=0.01)], dtype="float64", seed=0)
    trainer = dn.Trainer(model, "softmax_cross_entropy", solver(), metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=2000)
    assert history.stopped == "gradient below min_grad"
    assert history.keys() == ["loss", "penalty", "gradient_norm", "accuracy", "seconds"]
    from sklearn.linear_model import LogisticRegression

    other = LogisticRegression(C=1 / (2 * 0.01 * len(x)), tol=1e-10, max_iter=10_000).fit(x.astype(float), y)
    W = model.layers[0].W
    assert_allclose(W - W.mean(axis=1, keepdims=True), other.coef_.T, atol=1e-5)
    assert_allclose(history["loss"][-1], trainer.evaluate(x, y)["loss"], rtol=1e-6)
    assert np.abs(model.grads).max() <= 1.01e-7
    assert history["gradient_norm"][-1] <= 1e-7


@pytest.mark.parametrize("solver", [dn.LBFGS, dn.ConjugateGradient])
def test_they_stop_when_told(solver):
    x, y = curve()
    trainer = dn.Trainer(small(dtype="float32"), "huber", solver())
    began = []
    watch = dn.LambdaCallback(on_epoch_begin=lambda run: began.append(run.epoch))
    history = trainer.fit(x, y, epochs=5, callbacks=[watch])
    assert (len(history), history.stopped, began) == (5, "finished", [1, 2, 3, 4, 5])
    history = trainer.fit(x, y, epochs=500, callbacks=[dn.StopAt("loss", 0.02)])
    assert history["loss"][-1] <= 0.02
    assert len(history) < 500


def test_lbfgs_ends_with_the_best_weights():
    x, y = curve(16, noise=0.5)
    held_out = curve(40, noise=0.5, seed=9)
    trainer = dn.Trainer(small((1, 12, 1)), "mse", dn.LBFGS(max_fail=20))
    history = trainer.fit(x, y, epochs=2000, validation_data=held_out)
    assert "early stopping" in history.stopped
    assert_allclose(trainer.evaluate(*held_out)["loss"], min(history["val_loss"]))


def test_they_cannot_either():
    x, y = curve()
    model = dn.Sequential([dn.Dense(1, 2), dn.GaussianNoise(0.1), dn.Dense(2, 1)], seed=0)
    with pytest.raises(
        ValueError, match=r"LBFGS needs the same error at the same weights, but GaussianNoise\(0.1\) draws"
    ):
        dn.Trainer(model, "mse", dn.LBFGS()).fit(x, y, epochs=1)


# -- Bayesian regularization ------------------------------------------------------------------------------------------


def test_on_a_linear_model_it_is_the_evidence_framework():
    from sklearn.linear_model import BayesianRidge

    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6))
    y = x @ np.array([1.0, -2.0, 0.5, 0.0, 0.0, 0.1]) + 0.5 * rng.normal(size=50)
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    other = BayesianRidge(fit_intercept=False, max_iter=5000, tol=1e-12, **flat).fit(x, y)
    model = dn.Sequential([dn.Dense(6, 1, use_bias=False)], dtype="float64", seed=0)
    history = dn.Trainer(model, "mse", dn.BayesianRegularization()).fit(x, y, epochs=300)
    assert history.stopped == "gradient below min_grad"
    assert_allclose(model.params, other.coef_, rtol=1e-5, atol=1e-6)
    assert_allclose(2 * history["beta"][-1], other.alpha_, rtol=1e-5)
    assert_allclose(2 * history["alpha"][-1], other.lambda_, rtol=1e-5)


def test_a_bigger_network_has_no_more_effective_parameters():
    x, y = curve(60, noise=0.2)
    gammas, losses = [], []
    for hidden in (8, 30):
        trainer = dn.Trainer(small((1, hidden, 1)), "mse", dn.BayesianRegularization())
        history = trainer.fit(x, y, epochs=300, validation_data=curve(200, noise=0.0, seed=3))
        gammas.append(history["gamma"][-1])
        losses.append(history["val_loss"][-1])
    assert gammas[1] < gammas[0] + 2 < 12
    assert max(losses) < 0.2**2 / 3  # of the curve itself: far below the noise, so not overfitted


def test_the_noise_is_found():
    x, y = curve(400, noise=0.3)
    history = dn.Trainer(small((1, 10, 1)), "mse", dn.BayesianRegularization()).fit(x, y, epochs=200)
    assert_allclose(np.sqrt(1 / (2 * history["beta"][-1])), 0.3, rtol=0.1)


def test_more_parameters_than_data_is_all_right():
    x, y = curve(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = dn.Trainer(small((1, 20, 1)), "mse", dn.BayesianRegularization()).fit(x, y, epochs=100)
    assert np.isfinite(list(history.last.values())).all()
    assert history["gamma"][-1] <= 8


def test_its_errors():
    x, y = curve()
    with pytest.raises(ValueError, match="BayesianRegularization expects a loss that is a sum of squares"):
        dn.Trainer(small(), "mae", dn.BayesianRegularization()).fit(x, y, epochs=1)
    with pytest.raises(ValueError, match="BayesianRegularization expects mu_dec < 1 < mu_inc"):
        dn.BayesianRegularization(mu_inc=0.5)
