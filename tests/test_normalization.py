from __future__ import annotations

import copy
import math
import pickle
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from densenet import layers

TORCH = np.load(Path(__file__).parent / "data" / "torch_reference.npz")
KINDS = ["BatchNorm", "LayerNorm", "RMSNorm", "Scale"]
SHAPES = [(1, 1), (1, 5), (7, 1), (2, 2), (3, 4), (7, 5)]

every = pytest.mark.parametrize("name", KINDS)
shapes = pytest.mark.parametrize("shape", SHAPES)


def make(name, n, dtype=np.float64, seed=0, **arguments):
    """A layer with random parameters; None leaves them as they start."""
    layer = getattr(layers, name)(n, **arguments)
    params = np.zeros(layer.n_params, dtype)
    layer.bind(params, np.zeros_like(params))
    layer.initialize(np.random.default_rng(0))
    layer.reset_state(dtype)
    if seed is not None:
        params[...] = np.random.default_rng(seed).normal(1, 0.5, params.shape)
    return layer


def numbers(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * rng.uniform(0.5, 3, shape[1]) + rng.normal(size=shape[1])


def plain(layer, training=True):
    """The layer's function of x and its parameters, from the reference."""
    if isinstance(layer, layers.BatchNorm):
        if training:
            return lambda x, gamma, beta: reference.batch_norm(x, gamma, beta, layer.eps)
        mean, var = layer.running_mean.copy(), layer.running_var.copy()
        return lambda x, gamma, beta: reference.batch_norm_running(x, gamma, beta, mean, var, layer.eps)
    if isinstance(layer, layers.LayerNorm):
        return lambda x, gamma, beta: reference.layer_norm(x, gamma, beta, layer.eps)
    if isinstance(layer, layers.RMSNorm):
        return lambda x, gamma: reference.rms_norm(x, gamma, layer.eps)
    return reference.scale


def parameters(layer):
    return [getattr(layer, name).copy() for name in layer.parameter_shapes()]


def gradients(layer):
    return [getattr(layer, "d" + name).copy() for name in layer.parameter_shapes()]


def close(actual, desired, tolerance=1e-12):
    assert actual.shape == desired.shape
    assert_allclose(actual, desired, rtol=0, atol=tolerance * max(1.0, abs(desired).max()))


def moved(layer, n, batches=3):
    """The layer after a few training passes, so that running statistics are something."""
    for seed in range(10, 10 + batches):
        layer.forward(numbers((6, n), seed).astype(layer.running_mean.dtype))
    return layer


# -- values and derivatives ----------------------------------------------------------------------------------------


@every
@shapes
@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients_are_those_of_the_equations(name, shape, training):
    layer, x, delta = make(name, shape[1]), numbers(shape), numbers(shape, seed=1)
    if name == "BatchNorm" and not training:
        moved(layer, shape[1])
    f, values = plain(layer, training), parameters(layer)
    close(layer.forward(x, training), f(x, *values))
    dx = layer.backward(delta.copy())
    largest = (
        1 / math.sqrt(layer.eps or 1e-16) if shape[0 if name == "BatchNorm" else 1] == 1 and name != "Scale" else 1
    )
    close(dx, reference.complex_step_gradient(lambda x: (delta * f(x, *values)).sum(), x), 1e-13 * largest)
    for i, gradient in enumerate(gradients(layer)):
        expected = reference.complex_step_gradient(
            lambda p, i=i: (delta * f(x, *values[:i], p, *values[i + 1 :])).sum(), values[i]
        )
        close(gradient, expected)


@every
@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (7, 5)])
def test_backward_is_the_derivative_of_forward(name, shape):
    layer, x, delta = make(name, shape[1]), numbers(shape), numbers(shape, seed=1)
    numeric = reference.central_difference(lambda x: (delta * layer.forward(x)).sum(), x, h=1e-5)
    layer.forward(x)
    close(layer.backward(delta.copy()), numeric, 1e-7)


@every
@shapes
def test_the_gradients_alone_are_the_same(name, shape):
    layer, x, delta = make(name, shape[1]), numbers(shape), numbers(shape, seed=1)
    layer.forward(x)
    layer.backward(delta.copy())
    expected = gradients(layer)
    for d_name in layer.parameter_shapes():
        setattr(layer, "d" + d_name, np.full(shape[1], 7.0))
    layer.backward_parameters(delta)
    for gradient, before in zip(gradients(layer), expected, strict=True):
        assert_array_equal(gradient, before)


def test_batch_norm_is_pytorchs():
    stored = {key.removeprefix("layer/BatchNorm/"): TORCH[key] for key in TORCH if key.startswith("layer/BatchNorm/")}
    layer = make("BatchNorm", 5)
    layer.gamma, layer.beta = stored["gamma"], stored["beta"]
    for batch in "123":
        close(layer.forward(stored["x" + batch]), stored["value" + batch])
        close(layer.running_mean, stored["mean" + batch])
        close(layer.running_var, stored["variance" + batch])
    close(layer.backward(stored["delta"].copy()), stored["dx"])
    close(layer.dgamma, stored["dgamma"])
    close(layer.dbeta, stored["dbeta"])
    close(layer.forward(stored["eval/x"], training=False), stored["eval/value"])
    close(layer.running_mean, stored["mean3"])
    close(layer.backward(stored["eval/delta"].copy()), stored["eval/dx"])
    close(layer.dgamma, stored["eval/dgamma"])
    close(layer.dbeta, stored["eval/dbeta"])


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_normalizations_of_rows_are_pytorchs(name):
    layer = make(name, 6)
    for parameter in layer.parameter_shapes():
        setattr(layer, parameter, TORCH[f"layer/{name}/{parameter}"])
    close(layer.forward(TORCH[f"layer/{name}/x"]), TORCH[f"layer/{name}/value"])
    close(layer.backward(TORCH[f"layer/{name}/delta"].copy()), TORCH[f"layer/{name}/dx"])
    for parameter in layer.parameter_shapes():
        close(getattr(layer, "d" + parameter), TORCH[f"layer/{name}/d{parameter}"])


@every
def test_float32_equals_float64_to_its_own_precision(name):
    x, delta = numbers((32, 6)).astype(np.float32), numbers((32, 6), seed=1).astype(np.float32)
    narrow, wide = make(name, 6, np.float32), make(name, 6)
    for parameter in wide.parameter_shapes():
        setattr(wide, parameter, getattr(narrow, parameter).astype(np.float64))
    y, z = narrow.forward(x), wide.forward(x.astype(np.float64))
    assert y.dtype == np.float32
    close(y, z, 2e-6)
    dx = narrow.backward(delta.copy())
    assert dx.dtype == np.float32
    close(dx, wide.backward(delta.astype(np.float64)), 2e-6)
    for a, b in zip(gradients(narrow), gradients(wide), strict=True):
        close(a, b, 2e-6)


# -- running statistics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 4])
def test_running_statistics_are_those_of_the_equations(momentum, n):
    layer, mean, var = make("BatchNorm", n, momentum=momentum), np.zeros(n), np.ones(n)
    assert_array_equal(layer.running_mean, mean)
    assert_array_equal(layer.running_var, var)
    for rows in (6, 2, 1, 7):
        x = numbers((rows, n), seed=rows)
        mean, var = reference.running_statistics(x, mean, var, momentum)
        layer.forward(x)
        close(layer.running_mean, mean)
        close(layer.running_var, var)


def test_only_training_moves_running_statistics():
    layer = moved(make("BatchNorm", 3), 3)
    before = {name: array.copy() for name, array in layer.state.items()}
    x = numbers((5, 3))
    layer.forward(x, training=False)
    layer.backward(x.copy())
    layer.infer(x)
    assert list(before) == ["running_mean", "running_var"]
    for name, array in layer.state.items():
        assert_array_equal(array, before[name])
    layer.reset_state(np.float32)
    assert_array_equal(layer.running_mean, np.zeros(3, np.float32))
    assert layer.running_var.dtype == np.float32


def test_one_row_has_a_mean_and_no_variance():
    layer = moved(make("BatchNorm", 3), 3)
    mean, var, x = layer.running_mean.copy(), layer.running_var.copy(), numbers((1, 3))
    assert_array_equal(layer.forward(x), layer.beta[None, :])
    assert_array_equal(layer.running_var, var)
    assert_allclose(layer.running_mean, 0.9 * mean + 0.1 * x[0], rtol=1e-14)
    assert_array_equal(layer.backward(np.ones((1, 3))), np.zeros((1, 3)))
    assert_array_equal(layer.dgamma, np.zeros(3))


@every
@pytest.mark.parametrize("value", [0.0, 3.0, -1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_numbers_stay_finite(name, value, dtype):
    layer, x = make(name, 4, dtype), np.full((8, 4), value, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = layer.forward(x)
        dx = layer.backward(numbers((8, 4)).astype(dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    if name in ("BatchNorm", "LayerNorm"):
        assert_array_equal(y, np.broadcast_to(layer.beta, y.shape))


def test_normalized_numbers_have_mean_0_and_variance_1():
    x = numbers((200, 50))
    columns, rows, squares = (make(name, 50, seed=None).forward(x) for name in KINDS[:3])
    assert_allclose(columns.mean(axis=0), 0, atol=1e-12)
    assert_allclose(columns.var(axis=0), 1, rtol=1e-4)
    assert_allclose(rows.mean(axis=1), 0, atol=1e-12)
    assert_allclose(rows.var(axis=1), 1, rtol=1e-4)
    assert_allclose((squares**2).mean(axis=1), 1, rtol=1e-12)


# -- the contract of a layer ---------------------------------------------------------------------------------------


@every
@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infer_equals_forward_without_training_and_leaves_no_trace(name, shape, dtype):
    layer, x = make(name, shape[1], dtype), numbers(shape).astype(dtype)
    if name == "BatchNorm":
        moved(layer, shape[1])
    before = dict(layer.__dict__)
    kept = {key: value.copy() for key, value in before.items() if isinstance(value, np.ndarray)}
    y = layer.infer(x)
    assert layer.__dict__.keys() == before.keys()
    assert all(layer.__dict__[key] is before[key] for key in before)
    for key, value in kept.items():
        assert_array_equal(layer.__dict__[key], value)
    assert y.dtype == dtype
    out = np.full_like(x, np.nan)
    assert layer.infer(x, out) is out
    assert_array_equal(out, y)
    assert_array_equal(layer.forward(x, training=False), y)


@every
@pytest.mark.parametrize("training", [True, False])
def test_backward_may_be_called_again_and_writes_to_delta_alone(name, training):
    layer, x, delta = make(name, 5), numbers((7, 5)), numbers((7, 5), seed=1)
    kept = x.copy()
    y = layer.forward(x, training)
    value = y.copy()
    first = layer.backward(delta.copy()).copy()
    expected = gradients(layer)
    assert_array_equal(layer.backward(delta.copy()), first)
    for gradient, before in zip(gradients(layer), expected, strict=True):
        assert_array_equal(gradient, before)
    assert_array_equal(x, kept)
    assert_array_equal(y, value)


@every
def test_batches_of_another_size(name):
    layer, x, delta = make(name, 5), numbers((9, 5)), numbers((9, 5), seed=1)
    for rows in (7, 3, 1, 7, 9):
        fresh = make(name, 5)
        assert_array_equal(layer.forward(x[:rows]), fresh.forward(x[:rows]))
        assert_array_equal(layer.backward(delta[:rows].copy()), fresh.backward(delta[:rows].copy()))
        for a, b in zip(gradients(layer), gradients(fresh), strict=True):
            assert_array_equal(a, b)


@every
def test_memory_does_not_grow(name):
    layer, x, delta = make(name, 256), numbers((256, 256)), np.empty((256, 256))

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
def test_copies_and_pickles_carry_statistics_and_no_caches(name):
    layer, x = make(name, 5), numbers((60, 5))
    layer.forward(x)
    y = layer.infer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert len(pickle.dumps(twin)) < 800
        assert repr(twin) == repr(layer)
        with pytest.raises(RuntimeError, match="Put the layer into Sequential"):
            twin.infer(x)
        twin.bind(np.concatenate(parameters(layer)), np.zeros(layer.n_params))
        assert_array_equal(twin.infer(x), y)
        with pytest.raises(RuntimeError, match=f"{name}.backward needs a forward pass first"):
            twin.backward(x)


@every
def test_many_threads_may_infer_at_once(name):
    layer, batches = make(name, 30), [numbers((50, 30), seed=i) for i in range(8)]
    serial = [layer.infer(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for answer, expected in zip(pool.map(layer.infer, batches * 5), serial * 5, strict=True):
            assert_array_equal(answer, expected)


@every
def test_parameters_start_neutral_and_undecayed(name):
    layer = make(name, 3, seed=None)
    start = {"gamma": 1.0, "beta": 0.0, "s": 1.0}
    for parameter, shape in layer.parameter_shapes().items():
        assert shape == (3,)
        assert_array_equal(getattr(layer, parameter), np.full(3, start[parameter]))
        assert not layer.marks[parameter].decayed
        assert layer.marks[parameter].trainable


def test_layers_say_what_they_couple():
    assert [name for name in layers.__all__ if getattr(getattr(layers, name), "couples_samples", False)] == [
        "BatchNorm"
    ]
    mixing = {name for name in layers.__all__ if getattr(getattr(layers, name), "mixes", False)}
    rows = {"LayerNorm", "RMSNorm", "Softmax", "LogSoftmax"}
    assert mixing == rows | {"Residual", "Concatenate", "Columns", "Average", "Mixture", "Periodic", "Embedding"}


@every
def test_what_does_not_fit_is_refused(name):
    layer = make(name, 3)
    with pytest.raises(RuntimeError, match=rf"{name}.backward needs a forward pass first: call forward\(x\)"):
        layer.backward(np.ones((2, 3)))
    for x in (np.ones(3), np.ones((2, 4))):
        for call in (layer.forward, layer.infer):
            with pytest.raises(ValueError, match=rf"{name} expects x of shape \(n, 3\), got \(.*\)"):
                call(x)
    layer.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=rf"{name}.backward expects delta of shape \(2, 3\).*got \(3, 2\)"):
        layer.backward(np.ones((3, 2)))
    with pytest.raises(ValueError, match=f"{name} expects n to be a whole number of at least 1, got 0"):
        getattr(layers, name)(0)


@pytest.mark.parametrize("name", KINDS[:3])
@pytest.mark.parametrize("eps", [0, -1e-5, math.inf, "small"])
def test_eps_is_checked(name, eps):
    with pytest.raises(ValueError, match=f"{name} expects eps to be a finite number above 0, got {eps!r}"):
        getattr(layers, name)(3, eps=eps)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan, None])
def test_momentum_is_checked(momentum):
    with pytest.raises(ValueError, match=rf"BatchNorm expects momentum in \[0, 1\], got {momentum!r}"):
        layers.BatchNorm(3, momentum=momentum)


@pytest.mark.parametrize(
    "text",
    [
        "BatchNorm(3)",
        "BatchNorm(3, momentum=0.5)",
        "LayerNorm(3, eps=0.1)",
        "RMSNorm(3)",
        "RMSNorm(3, eps=0.1)",
        "Scale(3)",
    ],
)
def test_repr_and_config_make_the_layer_again(text):
    layer = eval(text, vars(layers))
    assert repr(layer) == text
    assert repr(type(layer)(**layer.config())) == text
    assert layer.n_in == layer.n_out == 3


def test_rms_norm_takes_the_epsilon_of_its_dtype():
    for dtype in (np.float32, np.float64):
        layer, x = make("RMSNorm", 2, dtype, seed=None), np.full((1, 2), 1e-4, dtype)
        expected = 1e-4 / math.sqrt(1e-8 + float(np.finfo(dtype).eps))
        assert_allclose(layer.forward(x), [[expected] * 2], rtol=1e-6)
