"""Periodic, Embedding, Columns, Blend and Clip: their equations in plain loops, and their derivatives."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import densenet as dn
from densenet import second_order as so
from densenet.layers import Average, Blend, Clip, Columns, Embedding, Mixture, Periodic, RobustScale

RNG = np.random.default_rng(3)


def alone(layer, dtype="float64"):
    return dn.Sequential([layer], seed=0, dtype=dtype)


def checked(model, x, n_out, training=True):
    report = dn.gradcheck(model, "mse", x, RNG.normal(size=(len(x), n_out)), training=training, tolerance=1e-7)
    assert report, str(report)


def test_periodic_is_its_equation_number_by_number():
    layer = Periodic(3, frequencies=5, width=4, sigma=0.7)
    model, x = alone(layer), RNG.normal(size=(6, 3))
    y = model.forward(x)
    for r in range(6):
        for i in range(3):
            u = [math.cos(2 * math.pi * x[r, i] * layer.f[i, k] + layer.c[i, k]) for k in range(5)]
            for j in range(3):
                wanted = sum(u[k] * layer.W[i, k, j] for k in range(5)) + layer.b[i, j]
                assert y[r, 4 * i + j] == pytest.approx(wanted, rel=1e-12)
            assert y[r, 4 * i + 3] == x[r, i]
    assert np.array_equal(model.predict(x), y)


def test_periodic_has_the_derivatives_it_says():
    checked(alone(Periodic(3, frequencies=4, width=3)), RNG.normal(size=(5, 3)), 9)
    checked(dn.Sequential([dn.Dense(2, 3), Periodic(3), dn.Dense(12, 2)], seed=1), RNG.normal(size=(5, 2)), 2)


def test_periodic_starts_as_the_paper_says():
    layer = Periodic(400, sigma=0.1)
    alone(layer)
    assert np.std(layer.f) == pytest.approx(0.1, rel=0.05)
    assert np.abs(layer.c).max() <= math.pi
    assert 0.24 < np.abs(layer.W).max() <= 0.25
    assert layer.W.shape == (400, 16, 3)


def test_embedding_takes_the_vector_of_every_category():
    layer = Embedding([3, 4], width=2)
    model = alone(layer)
    assert not layer.E[0].any()
    assert not layer.E[3].any()
    x = np.array([[1.0, 3.0], [2.0, 0.0], [1.0, 1.0]])
    y = model.forward(x)
    assert np.array_equal(y[0], [*layer.E[1], *layer.E[6]])
    assert np.array_equal(y[1], [*layer.E[2], 0, 0])
    delta = RNG.normal(size=(3, 4))
    assert not model.backward(delta).any()
    assert layer.dE[1] == pytest.approx(delta[0, :2] + delta[2, :2])
    assert layer.dE[6] == pytest.approx(delta[0, 2:])
    assert not layer.dE[5].any()
    assert np.array_equal(model.predict(x), y)
    checked(dn.Sequential([Embedding([3, 4]), dn.Dense(16, 2)], seed=1), x, 2)


def test_a_category_that_was_never_numbered_counts_as_unknown():
    model = alone(Embedding([3], width=2))
    assert np.array_equal(model.predict([[7.0], [-1.0], [0.0]]), np.zeros((3, 2)))


def test_columns_are_the_chains_on_their_own_columns():
    layers = [[dn.Dense(2, 3), dn.Tanh()], [], [Embedding([4], width=2)]]
    model = alone(Columns([2, 1, 1], layers))
    x = np.column_stack([RNG.normal(size=(5, 3)), [0.0, 1.0, 2.0, 3.0, 1.0]])
    y = model.forward(x)
    dense, bag = layers[0][0], layers[2][0]
    wanted = np.column_stack([np.tanh(x[:, :2] @ dense.W + dense.b), x[:, 2], bag.E[x[:, 3].astype(int)]])
    assert y == pytest.approx(wanted, rel=1e-12)
    assert model.predict(x) == pytest.approx(wanted, rel=1e-12)
    checked(model, x, 6)


def test_columns_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="chain for each of its widths, got 2 widths and 1 chains"):
        Columns([1, 2], [[]])
    with pytest.raises(ValueError, match="chain 0, takes 3 columns, but its width is 2"):
        Columns([2], [[dn.Dense(3, 1)]])


@pytest.mark.parametrize("function", ["selu", "mish", "tanh"])
def test_blend_goes_from_the_line_to_the_function(function):
    layer = Blend(4, function)
    model, x = alone(layer), RNG.normal(size=(6, 4))
    f = dn.layers.activation(function).infer(x)
    assert model.forward(x) == pytest.approx(f, rel=1e-12)
    layer.a = [0.0, 0.5, 1.0, 2.0]
    assert model.forward(x) == pytest.approx(x + (f - x) * layer.a, rel=1e-12)
    assert model.predict(x) == pytest.approx(x + (f - x) * layer.a, rel=1e-12)
    checked(model, x, 4)
    checked(dn.Sequential([dn.Dense(4, 3), Blend(3, function), dn.Dense(3, 2)], seed=0), x, 2)


def test_blend_wants_a_function_of_one_number():
    with pytest.raises(TypeError, match="Blend expects a function of one number"):
        Blend(3, "softmax")


def test_clip_leaves_training_alone_and_keeps_predictions_in_range():
    model, x = alone(Clip([0.0, -1.0], [1.0, 1.0])), np.array([[-2.0, 0.5], [0.5, 3.0]])
    assert np.array_equal(model.forward(x), x)
    assert np.array_equal(model.backward(np.ones((2, 2))), np.ones((2, 2)))
    assert np.array_equal(model.predict(x), [[0.0, 0.5], [0.5, 1.0]])
    assert np.array_equal(model.forward(x, training=False), model.predict(x))
    assert np.array_equal(model.backward(np.ones((2, 2))), [[0.0, 1.0], [1.0, 0.0]])
    checked(dn.Sequential([dn.Dense(2, 2), Clip([-9, -9], [9, 9])], seed=0), x, 2, training=False)
    with pytest.raises(ValueError, match="Clip expects a range for each column"):
        Clip([1.0], [0.0])


def test_they_travel_in_files_and_copies(tmp_path):
    layers = [
        Columns([2, 1, 1], [[Periodic(2)], [], [Embedding([5])]]),
        dn.Scale(17).set_rate(6.0).set_decay(6.0),
        dn.Dense(17, 4).set_decay(4.0, "W"),
        Blend(4, "mish"),
        dn.Dense(4, 1),
        Clip([-1.0], [1.0]),
    ]
    model = dn.Sequential(layers, seed=0)
    x = np.column_stack([RNG.normal(size=(9, 3)), np.arange(9) % 5])
    model.save(tmp_path / "model.npz")
    again = dn.load(tmp_path / "model.npz")
    assert np.array_equal(again.predict(x), model.predict(x))
    assert np.array_equal(again.marks.decay, model.marks.decay)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.predict(x), model.predict(x))
        other.forward(x)
        other.backward(np.ones((9, 1)))


def test_a_factor_of_decay_multiplies_it():
    model = dn.Sequential([dn.Dense(2, 1).set_decay(3.0, "W")], seed=0, dtype="float64")
    before = model[0].W.copy()
    dn.AdamW(0.1, weight_decay=0.5).step(model.params, np.zeros(3), model.marks)
    np.testing.assert_allclose(model[0].W, before * (1 - 0.1 * 0.5 * 3), rtol=1e-12)
    with pytest.raises(ValueError, match="set_decay expects a finite factor of at least 0, got -1"):
        model[0].set_decay(-1.0)


def test_a_robust_scale_is_its_equation_and_has_its_derivative():
    layer = RobustScale(3)
    model, x = alone(layer), RNG.normal(size=(9, 3)) * [1.0, 50.0, 0.0] + [0.0, 7.0, 4.0]
    layer.learn(x)
    y = model.forward(x)
    for j in range(2):
        low, middle, high = np.quantile(x[:, j], [0.25, 0.5, 0.75])
        for r in range(9):
            z = (x[r, j] - middle) / (high - low)
            assert y[r, j] == pytest.approx(z / math.sqrt(1 + (z / 3) ** 2), rel=1e-12)
    assert not y[:, 2].any()
    assert np.array_equal(model.predict(x), y)
    checked(dn.Sequential([dn.Dense(2, 3), RobustScale(3), dn.Dense(3, 2)], seed=1), RNG.normal(size=(5, 2)), 2)
    step, delta = 1e-6, RNG.normal(size=y.shape)
    slope = (delta * (model.predict(x + step) - model.predict(x - step))).sum(axis=1) / (2 * step)
    model.forward(x)
    np.testing.assert_allclose(model.backward(delta).sum(axis=1), slope, rtol=1e-6)


def test_a_robust_scale_takes_the_largest_numbers():
    model = alone(RobustScale(1), "float32")
    assert model.predict([[3e38], [-3e38]]).ravel() == pytest.approx([3, -3])


def test_an_average_is_the_mean_of_its_chains():
    chains = [[dn.Dense(3, 4), dn.Tanh(), dn.Dense(4, 2)], [dn.Dense(3, 2), dn.Sigmoid()], [dn.Dense(3, 2)]]
    model, x = alone(Average(chains)), RNG.normal(size=(5, 3))
    single = [dn.Sequential(copy.deepcopy(chain), dtype="float64").predict(x) for chain in chains]
    np.testing.assert_allclose(model.forward(x), np.mean(single, axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.predict(x), np.mean(single, axis=0), rtol=1e-12)
    checked(model, x, 2)
    checked(dn.Sequential([dn.Dense(2, 3), Average([[dn.ReLU()], [dn.Tanh()], []])], seed=0), x[:, :2], 3)
    with pytest.raises(ValueError, match="take as many columns, got no chain"):
        Average([])
    with pytest.raises(ValueError, match=r"take as many columns, got \[2, 3\]"):
        Average([[dn.Dense(2, 1)], [dn.Dense(3, 1)]])
    with pytest.raises(ValueError, match=r"give as many columns, got \['1', '2'\]"):
        Average([[dn.Dense(2, 1)], [dn.Dense(2, 2)]])


def test_their_onnx_graphs_answer_alike(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    layers = [
        Columns([2, 1, 2], [[RobustScale(2), Periodic(2)], [], [Embedding([5, 3])]]),
        dn.Dense(25, 4),
        Blend(4, "mish"),
        dn.Dense(4, 1),
        Clip([-0.1], [0.1]),
    ]
    other = [dn.Dense(5, 1), RobustScale(1)]
    model = dn.Sequential([Average([layers, other])], seed=0)
    model[0].branches[0][0].branches[0][0].learn(RNG.normal(size=(40, 2)) + 3)
    dn.to_onnx(model, tmp_path / "model.onnx")
    x = np.column_stack([RNG.normal(size=(9, 3)), np.arange(9) % 6, np.arange(9) % 4]).astype(np.float32)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], model.predict(x), rtol=1e-5, atol=1e-6)


WITH_SECOND_DERIVATIVES = {
    "RobustScale": lambda: [RobustScale(4), dn.Dense(4, 2)],
    "Periodic": lambda: [Periodic(4, frequencies=3, width=3), dn.Dense(12, 2)],
    "Columns": lambda: [Columns([1, 3], [[dn.Dense(1, 2), dn.Tanh()], [dn.LayerNorm(3)]]), dn.Dense(5, 2)],
    "Average": lambda: [Average([[dn.Dense(4, 2), dn.Tanh()], [dn.Dense(4, 2), dn.Sigmoid()]])],
    "Mixture": lambda: [Mixture([[dn.Dense(4, 2)], [dn.Dense(4, 3), dn.Tanh(), dn.Dense(3, 2)]], link="softmax")],
    "Blend": lambda: [Blend(4, "mish"), dn.Dense(4, 2)],
    "Blend of a bent line": lambda: [Blend(4, "selu"), dn.Dense(4, 2)],
    "Clip": lambda: [dn.Dense(4, 2), Clip([-0.6, -0.6], [0.6, 0.6])],
}


@pytest.mark.parametrize("kind", [*WITH_SECOND_DERIVATIVES, "Embedding"])
def test_second_derivatives_are_differences_of_first(kind):
    rng = np.random.default_rng(3)
    if kind == "Embedding":
        made, x = [Embedding([3, 4], width=2), dn.Dense(4, 3), dn.Tanh(), dn.Dense(3, 2)], rng.integers(0, 3, (6, 2))
    else:
        made, x = [dn.Dense(3, 4), dn.Tanh(), *WITH_SECOND_DERIVATIVES[kind]()], rng.normal(size=(6, 3))
    model, y = dn.Sequential(made, dtype="float64", seed=1), rng.normal(size=(6, 2))
    model.params = rng.normal(0.1, 0.7, model.params.shape)
    if kind == "RobustScale":
        model[2].center[...], model[2].factor[...] = rng.normal(size=4), rng.uniform(1, 3, 4)
    start, v, h = model.params.copy(), rng.normal(size=model.params.size), 1e-5

    def moved(t):
        model.params = start + t * v
        loss = dn.MeanSquaredError()
        outputs = model.forward(x.astype(float), training=False)
        loss.forward(outputs, y)
        model.backward(loss.backward())
        return outputs, model.grads.copy()

    above, below = moved(h), moved(-h)
    model.params = start
    expected, gradient = ((a - b) / (2 * h) for a, b in zip(above, below, strict=True))
    np.testing.assert_allclose(so.jacobian_product(model, x, v), expected, atol=1e-7)
    np.testing.assert_allclose(so.hessian_product(model, "mse", x, y, v), gradient, atol=1e-7)
