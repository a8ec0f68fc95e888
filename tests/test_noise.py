from __future__ import annotations

import copy
import math
import pickle
import tracemalloc

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from densenet import layers

CASES = [("Dropout", 0.4), ("AlphaDropout", 0.3), ("GaussianNoise", 0.7)]
every = pytest.mark.parametrize(("name", "amount"), CASES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def make(name, amount, seed=0):
    layer = getattr(layers, name)(amount)
    layer.generator = np.random.default_rng(seed)
    return layer


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# -- what is drawn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
@dtypes
def test_dropout_drops_the_share_it_says_and_keeps_the_mean(rate, dtype):
    n = 400 * 500
    y = make("Dropout", rate).forward(np.ones((400, 500), dtype))
    assert y.dtype == dtype
    assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-6)
    spread = math.sqrt(rate * (1 - rate) / n)
    assert abs((y == 0).mean() - rate) < 5 * spread
    assert abs(y.mean() - 1) < 5 * spread / (1 - rate)
    assert abs((y == 0).mean(axis=0) - rate).max() < 6 * math.sqrt(rate * (1 - rate) / 400)
    assert abs((y == 0).mean(axis=1) - rate).max() < 6 * math.sqrt(rate * (1 - rate) / 500)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_0_and_variance_1(rate):
    x = numbers((1000, 1000))
    y = make("AlphaDropout", rate).forward(x)
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.01
    kept = np.isin(y, np.unique(y)[np.unique(y, return_counts=True)[1] > 1000], invert=True)
    assert abs(kept.mean() - (1 - rate)) < 0.005


def test_alpha_dropout_is_the_papers():
    """a (x d + alpha' (1 - d)) + b with a = (q + alpha'^2 q (1 - q))^(-1/2), b = -a (1 - q) alpha', q = 1 - rate."""
    rate, low = 0.3, -1.0507009873554805 * 1.6732632423543772
    q, x = 1 - rate, numbers((50, 40))
    a = (q + low**2 * q * (1 - q)) ** -0.5
    b = -a * (1 - q) * low
    y = make("AlphaDropout", rate).forward(x)
    kept = abs(y - (a * x + b)) < 1e-12
    dropped = abs(y - (a * low + b)) < 1e-12
    assert (kept ^ dropped).all()
    assert 0.2 < dropped.mean() < 0.4


@dtypes
def test_gaussian_noise_has_the_deviation_it_says(dtype):
    x = np.full((300, 400), 3, dtype)
    noise = make("GaussianNoise", 0.5).forward(x) - x
    assert noise.dtype == dtype
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 0.5) < 0.01
    assert abs((noise < 0.5).mean() - 0.8413) < 0.01
    assert len(np.unique(noise)) > 50_000


@every
def test_every_training_pass_draws_anew_and_the_generator_decides(name, amount):
    layer, twin, other, x = make(name, amount), make(name, amount), make(name, amount, seed=1), numbers((20, 10))
    first, second = layer.forward(x).copy(), layer.forward(x).copy()
    assert (first != second).any()
    assert_array_equal(twin.forward(x), first)
    assert_array_equal(twin.forward(x), second)
    assert (other.forward(x) != first).any()


@every
def test_a_layer_alone_draws_from_a_generator_of_its_own(name, amount):
    state = np.random.get_state()[1].copy()  # noqa: NPY002  the global generator is not to be touched
    one, two, x = getattr(layers, name)(amount), getattr(layers, name)(amount), numbers((20, 10))
    assert (one.forward(x) != two.forward(x)).any()
    assert (one.forward(x).copy() != one.forward(x)).any()
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert one.draws


# -- the function that was drawn -----------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 1), (7, 5)])
def test_backward_is_the_derivative_of_the_drawn_function(name, amount, shape):
    layer, x, delta = make(name, amount), numbers(shape), numbers(shape, seed=1)
    layer.forward(x)
    numeric = reference.central_difference(lambda x: (delta * layer.replay(x)).sum(), x)
    dx = layer.backward(delta.copy())
    assert_allclose(dx, numeric, rtol=0, atol=1e-7 * max(1, abs(numeric).max()))
    assert_array_equal(layer.backward(delta.copy()), dx)


@every
@dtypes
def test_replay_is_the_last_training_pass(name, amount, dtype):
    layer, x = make(name, amount), numbers((7, 5)).astype(dtype)
    y = layer.forward(x).copy()
    state = copy.deepcopy(layer.generator.bit_generator.state)
    layer.forward(x[:3], training=False)
    layer.infer(2 * x)
    again = layer.replay(x)
    assert_array_equal(again, y)
    assert again.dtype == dtype
    assert not np.shares_memory(again, layer.replay(x))
    assert layer.generator.bit_generator.state == state
    y = layer.forward(x[:4]).copy()
    assert_array_equal(layer.replay(x[:4]), y)


@every
def test_replay_needs_a_training_pass_of_that_shape(name, amount):
    layer = make(name, amount)
    layer.forward(np.ones((2, 3)), training=False)
    with pytest.raises(
        RuntimeError, match=rf"{name}.replay needs a training pass first: call forward\(x, training=True\)"
    ):
        layer.replay(np.ones((2, 3)))
    layer.forward(np.ones((2, 3)))
    with pytest.raises(
        ValueError, match=rf"{name}.replay expects x of shape \(2, 3\), the last training.*got \(3, 2\)"
    ):
        layer.replay(np.ones((3, 2)))


# -- the identity otherwise ----------------------------------------------------------------------------------------


@every
def test_without_training_nothing_happens(name, amount):
    layer, x, delta = make(name, amount), numbers((7, 5)), numbers((7, 5), seed=1)
    layer.forward(x)
    state = copy.deepcopy(layer.generator.bit_generator.state)
    assert_array_equal(layer.forward(x, training=False), x)
    assert_array_equal(layer.backward(delta.copy()), delta)
    assert layer.generator.bit_generator.state == state


@every
def test_infer_copies_and_leaves_no_trace(name, amount):
    layer, x, delta = make(name, amount), numbers((7, 5)), numbers((7, 5), seed=1)
    layer.forward(x)
    dx = layer.backward(delta.copy()).copy()
    before = dict(layer.__dict__)
    y = layer.infer(3 * x)
    out = np.empty_like(x)
    assert layer.infer(x, out) is out
    assert_array_equal(y, 3 * x)
    assert_array_equal(out, x)
    assert not np.shares_memory(layer.infer(x), x)
    assert all(layer.__dict__[key] is before[key] for key in layer.__dict__)
    assert_array_equal(layer.backward(delta.copy()), dx)


@pytest.mark.parametrize("name", [name for name, _ in CASES])
def test_an_amount_of_0_is_the_identity(name):
    layer, x = make(name, 0), numbers((7, 5))
    state = copy.deepcopy(layer.generator.bit_generator.state)
    assert_array_equal(layer.forward(x), x)
    assert_array_equal(layer.backward(2 * x), 2 * x)
    assert_array_equal(layer.replay(x), x)
    assert not np.shares_memory(layer.replay(x), x)
    assert layer.generator.bit_generator.state == state


# -- the contract of a layer ---------------------------------------------------------------------------------------


@every
def test_inputs_are_not_written(name, amount):
    layer, x = make(name, amount), numbers((7, 5))
    kept = x.copy()
    y = layer.forward(x)
    value = y.copy()
    layer.backward(np.ones((7, 5)))
    layer.replay(x)
    assert_array_equal(x, kept)
    assert_array_equal(y, value)


@every
def test_batches_of_another_size_and_dtype(name, amount):
    layer = make(name, amount)
    for rows, dtype in [(7, np.float64), (3, np.float64), (7, np.float64), (9, np.float32), (9, np.float64)]:
        x = numbers((rows, 5)).astype(dtype)
        y = layer.forward(x)
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert layer.backward(np.ones_like(x)).shape == x.shape


@every
def test_memory_does_not_grow(name, amount):
    layer, x, delta = make(name, amount), numbers((256, 256)), np.empty((256, 256))

    def steps(n):
        for _ in range(n):
            for rows in (256, 40):
                layer.forward(x[:rows])
                delta[...] = 1
                layer.backward(delta[:rows])

    steps(3)
    y = layer.forward(x)
    tracemalloc.start()
    steps(2)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    steps(50)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now - before < 2000
    assert peak - before < x.nbytes / 3
    assert np.shares_memory(layer.forward(x), y)


@every
def test_generators_travel_with_copies_and_caches_do_not(name, amount):
    layer, x = make(name, amount), numbers((60, 50))
    layer.forward(x)
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    expected = layer.forward(x).copy()
    for twin in twins:
        assert len(pickle.dumps(twin)) < 2000
        assert repr(twin) == repr(layer) == f"{name}({amount})"
        with pytest.raises(RuntimeError, match=f"{name}.replay needs a training pass first"):
            twin.replay(x)
        with pytest.raises(RuntimeError, match=f"{name}.backward needs a forward pass first"):
            twin.backward(x)
        assert_array_equal(twin.forward(x), expected)


@every
def test_what_does_not_fit_is_refused(name, amount):
    layer = make(name, amount)
    for call in (layer.forward, layer.infer):
        with pytest.raises(ValueError, match=rf"{name} expects x of shape \(n, columns\), got \(3,\)"):
            call(np.ones(3))
    layer.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=rf"{name}.backward expects delta of shape \(2, 3\).*got \(3, 2\)"):
        layer.backward(np.ones((3, 2)))


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout"])
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, math.nan, "half", True])
def test_rates_are_in_range(name, rate):
    with pytest.raises(ValueError, match=rf"{name} expects rate in \[0, 1\), got {rate!r}"):
        getattr(layers, name)(rate)


@pytest.mark.parametrize("stddev", [-0.1, math.inf, math.nan, None])
def test_deviations_are_in_range(stddev):
    with pytest.raises(
        ValueError, match=f"GaussianNoise expects stddev to be a finite number of at least 0, got {stddev!r}"
    ):
        layers.GaussianNoise(stddev)
