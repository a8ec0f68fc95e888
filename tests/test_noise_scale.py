"""Both noise scales beside plain loops for every layer, their intervals in simulation, and what they refuse."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import reference
from test_layers_tabular import WITH_SECOND_DERIVATIVES as TABULAR
from test_second_order_products import KINDS, around, data, plain

import densenet as dn

UNCOUPLED = [kind for kind in KINDS if kind != "BatchNorm"]
LOSSES = {
    "MeanSquaredError": dn.MeanSquaredError(),
    "HalfSquaredError": dn.HalfSquaredError(),
    "LogCosh": dn.LogCosh(),
    "SoftmaxCrossEntropy": dn.SoftmaxCrossEntropy(),
}


def plain_gradients(model, loss, x, y):
    """dl_i/dw of every sample by the complex step on plain loops."""

    def gradient(params, i):
        def error(w):
            return reference.network_error(plain(model, w), loss, x[i : i + 1], y[i : i + 1], None)

        return reference.complex_step_gradient(error, params)

    return np.array([gradient(model.params, i) for i in range(len(x))]), gradient


def plain_scales(model, loss, x, y, population):
    """The two noise scales by sums written as loops; H v by a quotient of the sixth order."""
    g, gradient = plain_gradients(model, loss, x, y)
    n = len(g)

    def product(v):
        length = math.sqrt(sum(v * v)) or 1.0

        def mean(t):
            return sum(gradient(model.params + t * v / length, i) for i in range(n)) / n

        h = 6e-4
        one, two, three = ((mean(i * h) - mean(-i * h)) / (2 * i * h) for i in (1, 2, 3))
        return (1.5 * one - 0.6 * two + 0.1 * three) * length

    G = sum(g) / n
    trace = curved = 0.0
    for row in g:
        c = row - G
        trace += float(sum(c * c))
        curved += float(sum(c * product(c)))
    square, curved_square = float(sum(G * G)), float(sum(G * product(G)))
    if not population:
        return trace / n, square, curved / n, curved_square
    trace, curved = trace / (n - 1), curved / (n - 1)
    return trace, square - trace / n, curved, curved_square - curved / n


def relative(actual, desired, scale=None):
    return abs(actual - desired) / abs(desired if scale is None else scale)


@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("kind", UNCOUPLED)
def test_both_scales_are_those_of_plain_loops(kind, population):
    model, (x, y, _) = around(kind), data()
    trace, square, curved, curved_square = plain_scales(model, "MeanSquaredError", x, y, population)
    found = dn.noise_scale(model, "mse", x, y, population=population)
    assert relative(found.trace, trace) <= 1e-10
    assert relative(found.square, square, max(abs(square), trace / len(x))) <= 1e-10
    assert relative(found.curved_trace, curved) <= 1e-10
    assert relative(found.curved_square, curved_square, max(abs(curved_square), abs(curved) / len(x))) <= 1e-10
    if square > 0:
        assert relative(found.b_simple, trace / square) <= 1e-10 * max(1.0, trace / len(x) / square)
    else:
        assert math.isinf(found.b_simple)
    if curved_square > 0:
        assert relative(found.b_noise, curved / curved_square) <= 1e-10 * max(1.0, abs(curved / len(x) / curved_square))
    else:
        assert math.isnan(found.b_noise)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_take_their_mean_once(loss):
    model, (x, y, _) = around("Tanh"), data()
    if loss == "SoftmaxCrossEntropy":
        y = np.array([0, 1, 1, 0, 1])
    trace, square, curved, curved_square = plain_scales(model, loss, x, y, False)
    found = dn.noise_scale(model, LOSSES[loss], x, y, population=False)
    assert relative(found.b_simple, trace / square) <= 1e-10
    assert relative(found.b_noise, curved / curved_square) <= 1e-9
    twice = dn.noise_scale(model, LOSSES[loss], np.tile(x, (2, 1)), np.concatenate([y, y]), population=False)
    assert relative(twice.b_simple, found.b_simple) <= 1e-12  # the same rows twice are the same distribution
    assert relative(twice.b_noise, found.b_noise) <= 1e-12


@pytest.mark.parametrize("population", [False, True])
def test_gauss_newton_beside_the_matrix(population):
    model, (x, y, _) = around("Tanh"), data()
    J, n = dn.jacobian(model, x), len(x)
    A = np.einsum("skp,skq->pq", J, J) / n  # the mean over 2 outputs of (p - t)^2 bends by 1
    g = np.einsum("sk,skp->sp", model.predict(x) - y, J)
    G = g.mean(axis=0)
    c = g - G
    top, bottom = np.einsum("sp,pq,sq->", c, A, c) / (n - population), G @ A @ G
    if population:
        bottom -= top / n
    found = dn.noise_scale(model, "mse", x, y, population=population, curvature="gauss_newton")
    assert relative(found.curved_trace, top) <= 1e-10
    assert relative(found.curved_square, bottom) <= 1e-10
    assert found.b_noise == (pytest.approx(top / bottom, rel=1e-9) if bottom > 0 else math.inf)


def loops_over_rows(model, x, y):
    """The four moments of the rows: a backward pass for every row, H v by a quotient of the sixth order of them."""
    n, w = len(x), model.params.copy()

    def gradient(params, i):
        model.params[...] = params
        loss = dn.MeanSquaredError()
        loss.forward(model.forward(x[i : i + 1], training=False), y[i : i + 1])
        model.backward(loss.backward())
        return model.grads.copy()

    def product(v):
        length = math.sqrt(sum(v * v))

        def mean(t):
            return sum(gradient(w + t * v / length, i) for i in range(n)) / n

        one, two, three = ((mean(i * 6e-4) - mean(-i * 6e-4)) / (2 * i * 6e-4) for i in (1, 2, 3))
        return (1.5 * one - 0.6 * two + 0.1 * three) * length

    g = [gradient(w, i) for i in range(n)]
    G = sum(g) / n
    trace = sum(float((row - G) @ (row - G)) for row in g) / n
    curved = sum(float((row - G) @ product(row - G)) for row in g) / n
    curved_square = float(G @ product(G))
    model.params[...] = w
    return trace, float(G @ G), curved, curved_square


@pytest.mark.parametrize("kind", [*TABULAR, "Embedding"])
def test_layers_for_tables_have_the_scales_of_loops_over_rows(kind):
    rng = np.random.default_rng(3)
    if kind == "Embedding":
        made = [dn.layers.Embedding([3, 4], width=2), dn.Dense(4, 3), dn.Tanh(), dn.Dense(3, 2)]
        x = rng.integers(0, 3, (6, 2)).astype(float)
    else:
        made, x = [dn.Dense(3, 4), dn.Tanh(), *TABULAR[kind]()], rng.normal(size=(6, 3))
    model, y = dn.Sequential(made, dtype="float64", seed=1), rng.normal(size=(6, 2))
    model.params = rng.normal(0.1, 0.7, model.params.shape)
    trace, square, curved, curved_square = loops_over_rows(model, x, y)
    found = dn.noise_scale(model, "mse", x, y, population=False)
    assert relative(found.trace, trace) <= 1e-10
    assert relative(found.square, square) <= 1e-10
    assert relative(found.curved_trace, curved) <= 1e-10
    assert relative(found.curved_square, curved_square, max(abs(curved_square), abs(curved) / len(x))) <= 1e-10


def test_every_layer_of_the_package_is_listed_and_tried():
    """What the docstring lists is what exists, less what couples samples; and each is compared with plain loops."""
    bases = {"Layer", "Activation", "Parameter", "activation"}
    exist = set(dn.layers.__all__) - bases
    tried = {kind.split()[0] for kind in [*UNCOUPLED, *TABULAR]} | {"Embedding"}
    assert exist - tried == {"BatchNorm"}
    listed = dn.noise_scale.__doc__.split("Exact for")[1].split("In float64")[0]
    assert [name for name in exist - set(reference.ACTIVATIONS) - {"LogSoftmax"} if f"`{name}`" not in listed] == [
        "BatchNorm"
    ]


def test_frozen_parameters_have_no_noise():
    model, (x, y, _) = around("Tanh"), data()
    model.layers[0].freeze("W")
    model.layers[-1].freeze("b")
    g = dn.per_sample_gradients(model, "mse", x, y)
    free = model.marks.rate != 0
    assert 0 < free.sum() < free.size
    g = g[:, free]
    H = np.stack([dn.hessian_product(model, "mse", x, y, e)[free] for e in np.eye(free.size)[free]])
    G = g.mean(axis=0)
    c = g - G
    found = dn.noise_scale(model, "mse", x, y, population=False)
    assert relative(found.b_simple, (c * c).sum() / len(x) / (G @ G)) <= 1e-10
    assert relative(found.b_noise, np.einsum("sp,pq,sq->", c, H, c) / len(x) / (G @ H @ G)) <= 1e-10


def linear(n, seed, columns=4, noise=1.0, shift=0.3):
    """Rows of a linear problem whose population's moments can be had from many rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    return x, x @ np.full(columns, shift) + noise * rng.normal(size=n)


def zero_model(columns=4):
    model = dn.Sequential([dn.Dense(columns, 1, use_bias=False)], dtype="float64", seed=0)
    model.params[...] = 0
    return model


def moments(x, y):
    """tr(Sigma), |G|^2, tr(H Sigma), G^T H G of a linear model at w = 0 with the squared error."""
    g = -2 * y[:, None] * x
    G, H = g.mean(axis=0), 2 * x.T @ x / len(x)
    c = g - G
    return (c * c).sum() / len(x), G @ G, np.einsum("sp,pq,sq->", c, H, c) / len(x), G @ H @ G


def test_probes_above_512_rows_average_to_the_sum():
    x, y = linear(700, 3)
    trace, square, curved, curved_square = moments(x, y)
    found = dn.noise_scale(zero_model(), "mse", x, y, population=False, probes=600)
    assert found.b_simple == pytest.approx(trace / square, rel=1e-12)
    assert found.curved_square == pytest.approx(curved_square, rel=1e-12)
    assert 0 < found.curved_trace_error < 0.1 * curved
    assert abs(found.curved_trace - curved) < 4 * found.curved_trace_error
    few = dn.noise_scale(zero_model(), "mse", x, y, population=False, probes=10)
    assert few.curved_trace_error > 3 * found.curved_trace_error
    assert few.b_noise_interval[0] < few.b_noise < few.b_noise_interval[1]


def test_rows_pass_in_blocks(monkeypatch):
    module = importlib.import_module("densenet.batch_size.gradient_noise")
    x, y = linear(300, 4)
    whole = dn.noise_scale(zero_model(), "mse", x, y)
    monkeypatch.setattr(module, "_BLOCK", 64)
    monkeypatch.setattr(module, "_CHUNK", 8 * 4 * 50)
    parts = dn.noise_scale(zero_model(), "mse", x, y)
    for name in ("b_simple", "b_noise"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-11)
        assert getattr(parts, name + "_interval") == pytest.approx(getattr(whole, name + "_interval"), rel=1e-6)


def test_the_population_is_estimated_without_the_plain_estimates_bias():
    _, square, _, _ = moments(*linear(400_000, 0))
    plain, corrected = [], []
    for seed in range(100):
        x, y = linear(40, 1000 + seed)
        plain.append(dn.noise_scale(zero_model(), "mse", x, y, population=False).square)
        corrected.append(dn.noise_scale(zero_model(), "mse", x, y).square)
    error = np.std(corrected) / math.sqrt(len(corrected))
    assert abs(np.mean(corrected) - square) < 3 * error
    assert np.mean(plain) - square > 3 * error


def coverage(n, repeats, *, seed=0, **problem):
    """How often the 95 % intervals hold the population's noise scales."""
    trace, square, curved, curved_square = moments(*linear(2_000_000, 99, **problem))
    simple = noise = 0
    model = zero_model(problem.get("columns", 4))
    for repeat in range(repeats):
        x, y = linear(n, [seed, repeat], **problem)
        found = dn.noise_scale(model, "mse", x, y)
        simple += found.b_simple_interval[0] <= trace / square <= found.b_simple_interval[1]
        low, high = found.b_noise_interval
        noise += math.isnan(low) or low <= curved / curved_square <= high
    return simple / repeats, noise / repeats


@pytest.mark.parametrize(("n", "columns", "shift"), [(60, 6, 0.3), (40, 4, 0.1)])
def test_intervals_cover_in_simulation(n, columns, shift):
    """60 repetitions: the share is within 2 percent of 0.95 and 2 standard deviations of the simulation.

    In the second problem hardly any gradient can be told from 0: most intervals have no upper end.
    """
    for share in coverage(n, 60, columns=columns, shift=shift):
        assert abs(share - 0.95) <= 0.02 + 2 * math.sqrt(0.95 * 0.05 / 60)


def test_a_gradient_lost_in_noise_is_said_to_be_above():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    x, y = np.concatenate([x, x]), np.concatenate([y, -y])  # samples cancel: G = 0
    found = dn.noise_scale(zero_model(), "mse", x, y)
    assert math.isinf(found.b_simple)
    assert found.b_simple_interval[0] > 10
    assert math.isinf(found.b_simple_interval[1])
    assert "above" in str(found)
    assert "cannot be told from 0" in str(found)
    assert math.isinf(dn.noise_scale(zero_model(), "mse", x, y, population=False).b_simple)


def test_a_perfect_fit_has_none():
    found = dn.noise_scale(zero_model(), "mse", np.ones((5, 4)), np.zeros(5))
    assert math.isnan(found.b_simple)
    assert math.isnan(found.b_noise)
    assert "every sample's gradient is 0" in str(found)


def test_negative_curvature_is_said():
    model = dn.Sequential([dn.Dense(1, 1, use_bias=False), dn.Gaussian()], dtype="float64", seed=0)
    model.params[...] = 0.1  # exp(-x^2) towards 0: uphill it bends down
    found = dn.noise_scale(model, "mse", [[1.0], [1.1]], [0.0, 0.0], population=False)
    assert found.curved_square < 0
    assert math.isnan(found.b_noise)
    assert "not positive" in str(found)
    assert (
        dn.noise_scale(model, "mse", [[1.0], [1.1]], [0.0, 0.0], population=False, curvature="gauss_newton").b_noise > 0
    )


def test_batch_statistics_are_refused_with_the_remedy():
    model = dn.Sequential([dn.Residual([dn.BatchNorm(2)]), dn.Dense(2, 1)], seed=0)
    with pytest.raises(ValueError, match=r"BatchNorm.*statistics over the batch.*LayerNorm or RMSNorm"):
        dn.noise_scale(model, "mse", np.ones((4, 2)), np.ones(4))


def test_one_row():
    with pytest.raises(ValueError, match=r"at least 2 rows.*got 1.*population=False"):
        dn.noise_scale(zero_model(), "mse", np.ones((1, 4)), [1.0])
    found = dn.noise_scale(zero_model(), "mse", np.ones((1, 4)), [1.0], population=False)
    assert (found.trace, found.b_simple, found.b_noise) == (0.0, 0.0, 0.0)
    found = dn.noise_scale(zero_model(), "mse", np.eye(4)[:2], [1.0, 1.0])
    assert found.b_simple_interval == (0.0, math.inf)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"curvature": "fisher"}, "curvature to be"),
        ({"probes": 1}, "at least 2 probes"),
        ({"probes": 2.5}, "probes to be a whole number"),
        ({"level": 95}, "level in"),
        ({"y": [1.0, 2.0]}, "as many targets as rows"),
        ({"x": np.full((3, 4), np.nan)}, "holds NaN"),
    ],
)
def test_bad_arguments(given, message):
    arguments = {"x": np.ones((3, 4)), "y": np.ones(3)} | given
    with pytest.raises(ValueError, match=message):
        dn.noise_scale(zero_model(), "mse", arguments.pop("x"), arguments.pop("y"), **arguments)


def test_the_model_is_left_as_it_was_and_float32_is_measured_in_float64():
    x, y = dn.datasets.load_digits()
    model = dn.Sequential([dn.Dense(64, 8), dn.Dropout(0.5), dn.ReLU(), dn.Dense(8, 10)], seed=0)
    before, grads = model.params.copy(), model.grads.copy()
    state = model.layers[1].generator.bit_generator.state
    found = dn.noise_scale(model, "softmax_cross_entropy", x[:50], y[:50])
    assert np.array_equal(model.params, before)
    assert np.array_equal(model.grads, grads)
    assert model.layers[1].generator.bit_generator.state == state
    double = dn.noise_scale(model.astype("float64"), "softmax_cross_entropy", x[:50].astype(float), y[:50])
    assert found == double
