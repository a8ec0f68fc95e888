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
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from densenet import layers

TORCH = np.load(Path(__file__).parent / "data" / "torch_reference.npz")

# name, constructor's arguments, the reference's options
CASES = [
    ("Identity", {}, {}),
    ("ReLU", {}, {}),
    ("LeakyReLU", {}, {}),
    ("LeakyReLU", {"negative_slope": 0.0}, {"slope": 0.0}),
    ("LeakyReLU", {"negative_slope": 0.3}, {"slope": 0.3}),
    ("LeakyReLU", {"negative_slope": 1.5}, {"slope": 1.5}),
    ("LeakyReLU", {"negative_slope": -0.5}, {"slope": -0.5}),
    ("PReLU", {}, {}),
    ("ELU", {}, {}),
    ("ELU", {"alpha": 0.5}, {"alpha": 0.5}),
    ("ELU", {"alpha": 2.5}, {"alpha": 2.5}),
    ("SELU", {}, {}),
    ("CELU", {}, {}),
    ("CELU", {"alpha": 0.5}, {"alpha": 0.5}),
    ("CELU", {"alpha": 2.5}, {"alpha": 2.5}),
    ("GELU", {}, {}),
    ("SiLU", {}, {}),
    ("Mish", {}, {}),
    ("Softplus", {}, {}),
    ("Softsign", {}, {}),
    ("Sigmoid", {}, {}),
    ("Tanh", {}, {}),
    ("HardTanh", {}, {}),
    ("HardSigmoid", {}, {}),
    ("HardSwish", {}, {}),
    ("Exp", {}, {}),
    ("Sine", {}, {}),
    ("Gaussian", {}, {}),
]
IDS = ["-".join([name, *map(str, given_.values())]) for name, given_, _ in CASES]
ELEMENTWISE = list(dict.fromkeys(name for name, _, _ in CASES))
ROWWISE = ["Softmax", "LogSoftmax"]
SHAPES = [(1, 1), (1, 5), (7, 1), (3, 4), (7, 5)]

elementwise = pytest.mark.parametrize(("name", "arguments", "options"), CASES, ids=IDS)
every = pytest.mark.parametrize("name", ELEMENTWISE + ROWWISE)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def make(name, dtype=np.float64, **arguments):
    layer = getattr(layers, name)(**arguments)
    params = np.zeros(layer.n_params, dtype)
    layer.bind(params, np.zeros_like(params))
    layer.initialize(np.random.default_rng(0))
    return layer


def numbers(shape, seed=0, scale=2.0):
    """Random numbers that stay away from the corners at -3, -1, 0, 1 and 3, so that differences can be taken."""
    x = np.random.default_rng(seed).normal(scale=scale, size=shape)
    for corner in (-3, -1, 0, 1, 3):
        x[abs(x - corner) < 0.01] += 0.03
    return x


def close(actual, desired, tolerance=1e-12):
    assert actual.shape == desired.shape
    assert_allclose(actual, desired, rtol=0, atol=tolerance * max(1.0, abs(desired).max()))


# -- values and slopes ---------------------------------------------------------------------------------------------

GRID = np.concatenate([np.linspace(-12, 12, 49), [-3, -1, -1e-3, 0, 1e-3, 1, 3], [-36.0, 36.0, -25.5, 25.5]])[:, None]


@elementwise
def test_values_and_slopes_are_those_of_the_equations(name, arguments, options):
    layer = make(name, **arguments)
    close(layer.forward(GRID), reference.activation(GRID, name, **options), 1e-13)
    slopes = np.array([[reference.slope(name, float(z), **options) for z in row] for row in GRID])
    close(layer.slopes(), slopes, 1e-13)


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if f"activation/{name}/value" in TORCH])
def test_values_and_slopes_are_pytorchs(name):
    layer, x = make(name), TORCH["activation/x"][:, None]
    close(layer.forward(x)[:, 0], TORCH[f"activation/{name}/value"])
    tolerance = 1e-8 if name == "HardSigmoid" else 1e-12  # PyTorch multiplies by a 1/6 of float32
    close(layer.slopes()[:, 0], TORCH[f"activation/{name}/derivative"], tolerance)


@pytest.mark.parametrize(
    ("name", "x", "slope"),
    [
        ("ReLU", 0, 0),
        ("ReLU", -0.0, 0),
        ("LeakyReLU", 0, 0.01),
        ("PReLU", 0, 0.25),
        ("ELU", 0, 1),
        ("SELU", 0, 1.0507009873554804 * 1.6732632423543772),
        ("CELU", 0, 1),
        ("HardTanh", -1, 0),
        ("HardTanh", 1, 0),
        ("HardSigmoid", -3, 0),
        ("HardSigmoid", 3, 0),
        ("HardSwish", -3, 0),
        ("HardSwish", 3, 1),
        ("Softsign", 0, 1),
    ],
)
@dtypes
def test_slopes_at_corners(name, x, slope, dtype):
    layer = make(name, dtype)
    layer.forward(np.array([[x]], dtype))
    assert_allclose(layer.slopes(), [[slope]], rtol=2 * np.finfo(dtype).eps)


@elementwise
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_is_the_derivative(name, arguments, options, shape):
    layer, x, delta = make(name, **arguments), numbers(shape), numbers(shape, seed=1)
    layer.forward(x)
    numeric = reference.central_difference(lambda x: (delta * layer.infer(x)).sum(), x)
    close(layer.backward(delta.copy()), numeric, 1e-7)


@elementwise
def test_float32_equals_float64_to_its_own_precision(name, arguments, options):
    x = GRID.astype(np.float32)
    narrow, wide = make(name, np.float32, **arguments), make(name, **arguments)
    y, z = narrow.forward(x), wide.forward(x.astype(np.float64))
    assert y.dtype == narrow.slopes().dtype == np.float32
    assert_allclose(y, z, rtol=1e-6, atol=1e-6 * (abs(z).max() if name in ("Exp", "Sine") else 1e-2))
    assert_allclose(narrow.slopes(), wide.slopes(), rtol=1e-6, atol=1e-6 * max(1, abs(wide.slopes()).max()))


@pytest.mark.parametrize("name", ["Sigmoid", "Softplus", "SiLU", "Mish", "Exp"])
@dtypes
def test_small_values_keep_their_digits(name, dtype):
    """Far out on the left e^x is what remains, down to the smallest floats, not a rounded 1 - 1."""
    x = np.array([[-10, -20, -40, -80]], dtype)
    assert_allclose(make(name, dtype).infer(x), reference.activation(x, name), rtol=10 * np.finfo(dtype).eps)


# -- extreme values ------------------------------------------------------------------------------------------------


@pytest.fixture
def strict():
    with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
        warnings.simplefilter("error")
        yield


SLOPE_SELU = 1.0507009873554804
FAR = {  # f(-1e30), f(1e30), f'(-1e30), f'(1e30)
    "Identity": (-1e30, 1e30, 1, 1),
    "ReLU": (0, 1e30, 0, 1),
    "LeakyReLU": (-1e28, 1e30, 0.01, 1),
    "PReLU": (-2.5e29, 1e30, 0.25, 1),
    "ELU": (-1, 1e30, 0, 1),
    "SELU": (-SLOPE_SELU * 1.6732632423543772, SLOPE_SELU * 1e30, 0, SLOPE_SELU),
    "CELU": (-1, 1e30, 0, 1),
    "GELU": (0, 1e30, 0, 1),
    "SiLU": (0, 1e30, 0, 1),
    "Mish": (0, 1e30, 0, 1),
    "Softplus": (0, 1e30, 0, 1),
    "Softsign": (-1, 1, 0, 0),
    "Sigmoid": (0, 1, 0, 0),
    "Tanh": (-1, 1, 0, 0),
    "HardTanh": (-1, 1, 0, 0),
    "HardSigmoid": (0, 1, 0, 0),
    "HardSwish": (0, 1e30, 0, 1),
    "Gaussian": (0, 0, 0, 0),
}


@pytest.mark.parametrize("name", FAR)
@dtypes
def test_values_and_slopes_far_out(name, dtype, strict):
    layer = make(name, dtype)
    y = layer.forward(np.array([[-1e30, 1e30]], dtype))[0]
    assert_allclose([*y, *layer.slopes()[0]], FAR[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, arguments) for name, arguments, _ in CASES if arguments.get("negative_slope", 0) <= 1],
)
@dtypes
def test_extreme_values_stay_finite(name, arguments, dtype, strict):
    info = np.finfo(dtype)
    positive = np.array(
        [
            info.max,
            info.max / 2,
            1e30,
            1e10,
            1e4,
            710,
            709,
            700,
            100,
            89,
            88,
            40,
            20,
            info.tiny,
            info.smallest_subnormal,
        ]
    )
    x = np.concatenate([-positive, [0.0, -0.0], positive]).astype(dtype)[None, :]
    layer = make(name, dtype, **arguments)
    assert np.isfinite(layer.forward(x)).all()
    assert np.isfinite(layer.slopes()).all()
    assert np.isfinite(layer.backward(np.ones_like(x))).all()


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    wide=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
    narrow=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_any_float_gives_a_finite_value(name, wide, narrow):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (np.array([wide]), np.array([[narrow]], np.float32)):
            layer = make(name, x.dtype)
            assert np.isfinite(layer.forward(x)).all()
            assert np.isfinite(layer.slopes()).all()


@dtypes
def test_exp_stops_at_the_largest_float(dtype):
    y = layers.Exp().infer(np.array([[1e4, 100 if dtype == np.float32 else 720]], dtype))
    assert np.isfinite(y).all()
    assert (y > 0.99 * np.finfo(dtype).max).all()


# -- the contract of a layer ---------------------------------------------------------------------------------------


@every
@dtypes
def test_infer_equals_forward_and_leaves_no_trace(name, dtype):
    layer, x = make(name, dtype), numbers((7, 5)).astype(dtype)
    before = dict(layer.__dict__)
    y = layer.infer(x)
    assert layer.__dict__ == before
    assert y.dtype == dtype
    assert not np.shares_memory(x, y)
    out = np.full_like(x, np.nan)
    assert layer.infer(x, out) is out
    assert_array_equal(out, y)
    assert_array_equal(layer.forward(x, training=False), y)
    assert_array_equal(layer.forward(x), y)
    delta = layer.backward(numbers((7, 5), seed=1).astype(dtype)).copy()
    layer.forward(x)
    layer.infer(2 * x[:3])
    assert_array_equal(layer.backward(numbers((7, 5), seed=1).astype(dtype)), delta)


@every
def test_backward_may_be_called_again_and_writes_to_delta_alone(name):
    layer, x, delta = make(name), numbers((7, 5)), numbers((7, 5), seed=1)
    kept = x.copy()
    y = layer.forward(x)
    value = y.copy()
    first = layer.backward(delta.copy()).copy()
    assert_array_equal(layer.backward(delta.copy()), first)
    assert_array_equal(x, kept)
    assert_array_equal(y, value)


@every
def test_batches_of_another_size_and_dtype(name):
    layer, x, delta = make(name), numbers((7, 5)), numbers((7, 5), seed=1)
    for rows, dtype in [(7, np.float64), (3, np.float64), (5, np.float64), (7, np.float64), (7, np.float32)]:
        fresh, part = make(name, dtype), x[:rows].astype(dtype)
        layer.bind(np.full(layer.n_params, 0.25, dtype), np.zeros(layer.n_params, dtype))
        assert_array_equal(layer.forward(part), fresh.forward(part))
        assert layer.forward(part).dtype == dtype
        d = delta[:rows].astype(dtype)
        assert_array_equal(layer.backward(d.copy()), fresh.backward(d.copy()))


@every
def test_memory_does_not_grow(name):
    layer, x, delta = make(name), numbers((256, 256)), np.empty((256, 256))

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
def test_copies_and_pickles_leave_caches_behind(name):
    layer, x = make(name), numbers((50, 40))
    y = layer.forward(x).copy()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert len(pickle.dumps(twin)) < 500
        assert repr(twin) == repr(layer)
        twin.bind(np.full(twin.n_params, 0.25), np.zeros(twin.n_params))
        with pytest.raises(RuntimeError, match=f"{name}.backward needs a forward pass first"):
            twin.backward(x)
        assert_array_equal(twin.forward(x), y)


@every
def test_what_does_not_fit_is_refused(name):
    layer = make(name)
    with pytest.raises(RuntimeError, match=rf"{name}.backward needs a forward pass first: call forward\(x\)"):
        layer.backward(np.ones((2, 3)))
    for call in (layer.forward, layer.infer):
        with pytest.raises(ValueError, match=rf"{name} expects x of shape \(n, columns\), got \(3,\)"):
            call(np.ones(3))
    layer.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=rf"{name}.backward expects delta of shape \(2, 3\).*got \(3, 2\)"):
        layer.backward(np.ones((3, 2)))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes_need_a_forward_pass_and_are_fresh(name):
    layer = make(name)
    with pytest.raises(RuntimeError, match=rf"{name}.slopes needs a forward pass first: call forward\(x\)"):
        layer.slopes()
    layer.forward(GRID)
    first = layer.slopes()
    assert not np.shares_memory(first, layer.slopes())
    assert_array_equal(layer.backward(np.ones_like(GRID)), first)


@pytest.mark.parametrize("name", ["ReLU", "Mish", "Softmax", "PReLU"])
def test_many_threads_may_infer_at_once(name):
    layer, batches = make(name), [numbers((50, 30), seed=i) for i in range(8)]
    serial = [layer.infer(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for answer, expected in zip(pool.map(layer.infer, batches * 5), serial * 5, strict=True):
            assert_array_equal(answer, expected)


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"),
    [
        ("LeakyReLU", "negative_slope", math.nan, "LeakyReLU expects negative_slope to be a finite number, got nan"),
        ("LeakyReLU", "negative_slope", "0.1", "LeakyReLU expects negative_slope to be a finite number, got '0.1'"),
        ("ELU", "alpha", 0, "ELU expects alpha to be a finite number above 0, got 0"),
        ("CELU", "alpha", -1.0, "CELU expects alpha to be a finite number above 0, got -1.0"),
    ],
)
def test_arguments_are_checked(name, argument, value, message):
    with pytest.raises(ValueError, match=message):
        getattr(layers, name)(**{argument: value})


@elementwise
def test_repr_and_config_make_the_layer_again(name, arguments, options):
    layer = make(name, **arguments)
    again = eval(repr(layer), vars(layers))
    assert again.config() == layer.config() == type(layer)(**layer.config()).config()
    assert set(arguments) <= set(layer.config())
    assert not layer.mixes


# -- the learned slope ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.25, 0.0, 1.0, 3.0, -0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_prelu_learns_its_slope(a, shape):
    layer, x, delta = make("PReLU"), numbers(shape), numbers(shape, seed=1)
    layer.a = [a]
    close(layer.forward(x), reference.activation(x, "PReLU", a=a))
    dx = layer.backward(delta.copy())
    close(dx, reference.central_difference(lambda x: (delta * layer.infer(x)).sum(), x), 1e-7)
    da = reference.complex_step_gradient(lambda p: (delta * reference.activation(x, "PReLU", a=p[0])).sum(), [a])
    close(layer.da, da)
    layer.da = [0.0]
    layer.backward_parameters(delta)
    close(layer.da, da)


def test_prelu_starts_as_pytorchs_and_has_its_gradient():
    layer = make("PReLU")
    assert_array_equal(layer.a, TORCH["activation/PReLU/a"])
    layer.forward(TORCH["activation/x"][:, None])
    layer.backward(TORCH["activation/PReLU/delta"][:, None].copy())
    close(layer.da, TORCH["activation/PReLU/da"])
    assert layer.parameter_shapes() == {"a": (1,)}
    assert not layer.marks["a"].decayed


def test_prelu_works_in_float32():
    layer, x, delta = make("PReLU", np.float32), numbers((64, 32)), numbers((64, 32), seed=1)
    layer.forward(x.astype(np.float32))
    assert layer.backward(delta.astype(np.float32)).dtype == np.float32
    assert_allclose(layer.da, (delta * np.minimum(x, 0)).sum(), rtol=1e-5)


def test_prelu_without_a_model_says_what_is_missing():
    with pytest.raises(RuntimeError, match=r"PReLU\(\) has no a yet.*Put the layer into Sequential"):
        layers.PReLU().infer(np.ones((1, 1)))


# -- functions of a row --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_those_of_the_equations(name, shape):
    layer, x, delta = make(name), numbers(shape), numbers(shape, seed=1)
    close(layer.forward(x), reference.activation(x, name), 1e-13)
    dx = reference.complex_step_gradient(lambda x: (delta * reference.activation(x, name)).sum(), x)
    close(layer.backward(delta.copy()), dx, 1e-13)
    numeric = reference.central_difference(lambda x: (delta * layer.infer(x)).sum(), x)
    close(layer.backward(delta.copy()), numeric, 1e-7)
    assert layer.mixes


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_are_pytorchs(name):
    layer, stored = make(name), {key: TORCH[f"activation/{name}/{key}"] for key in ("x", "delta", "value", "dx")}
    assert_allclose(layer.forward(stored["x"]), stored["value"], rtol=1e-12, atol=1e-12)
    close(layer.backward(stored["delta"].copy()), stored["dx"])


@pytest.mark.parametrize("name", ROWWISE)
@dtypes
def test_extreme_rows_stay_finite(name, dtype):
    largest = np.finfo(dtype).max
    x = np.array([[1e4, -1e4], [1e30, -1e30], [-1e30, -1e30], [largest, -largest], [-largest, -largest], [0, -largest]])
    layer = make(name, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = layer.forward(x.astype(dtype))
        dx = layer.backward(np.array([[1.0, -1.0]] * 6, dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    p = y if name == "Softmax" else np.exp(y)
    assert_allclose(p, [[1, 0], [1, 0], [0.5, 0.5], [1, 0], [0.5, 0.5], [1, 0]], rtol=1e-6)


@dtypes
def test_logarithms_keep_small_probabilities(dtype):
    y = layers.LogSoftmax().infer(np.array([[0.0, -2000.0]], dtype))
    assert_allclose(y, [[0.0, -2000.0]], atol=1e-12)


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("relu", "ReLU"),
        ("leaky_relu", "LeakyReLU"),
        ("prelu", "PReLU"),
        ("elu", "ELU"),
        ("selu", "SELU"),
        ("celu", "CELU"),
        ("gelu", "GELU"),
        ("silu", "SiLU"),
        ("swish", "SiLU"),
        ("mish", "Mish"),
        ("softplus", "Softplus"),
        ("softsign", "Softsign"),
        ("sigmoid", "Sigmoid"),
        ("logistic", "Sigmoid"),
        ("tanh", "Tanh"),
        ("hard_tanh", "HardTanh"),
        ("hard_sigmoid", "HardSigmoid"),
        ("hard_swish", "HardSwish"),
        ("exp", "Exp"),
        ("exponential", "Exp"),
        ("sine", "Sine"),
        ("gaussian", "Gaussian"),
        ("softmax", "Softmax"),
        ("log_softmax", "LogSoftmax"),
        ("linear", "Identity"),
        ("identity", "Identity"),
    ],
)
def test_activations_have_names(name, kind):
    layer = layers.activation(name)
    assert type(layer) is getattr(layers, kind)
    assert layers.activation(name) is not layer


def test_activations_may_be_classes_layers_and_functions():
    layer = layers.Tanh()
    assert layers.activation(layer) is layer
    assert type(layers.activation(layers.Tanh)) is layers.Tanh
    assert layers.activation(lambda: layers.LeakyReLU(0.2)).negative_slope == 0.2


def test_unknown_activations_are_refused():
    with pytest.raises(ValueError, match=r"activation knows no layer 'rellu'; it knows celu, elu, exp, .*, tanh"):
        layers.activation("rellu")
    with pytest.raises(TypeError, match="activation expects a Layer or its name, got 3"):
        layers.activation(3)
    with pytest.raises(TypeError, match="activation expects a Layer or its name, got None"):
        layers.activation(lambda: None)


def test_names_of_the_package_are_sorted_and_there():
    assert layers.__all__ == sorted(layers.__all__)
    assert all(hasattr(layers, name) for name in layers.__all__)
    assert set(ELEMENTWISE + ROWWISE) <= set(layers.__all__)


# -- one's own -----------------------------------------------------------------------------------------------------


class Cube(layers.Activation):
    def value(self, x, out, work):
        out[...] = x**3

    def slope(self, x, y, out, work):
        out[...] = 3 * x**2


class Counted(layers.Activation):
    """Adds to its working array, which it may because that holds zeros whenever the shape has changed."""

    n_work = 2

    def value(self, x, out, work):
        assert len(work) == 2
        work[1][...] += x
        out[...] = work[1]

    def slope(self, x, y, out, work):
        out[...] = work[1]


def test_two_methods_make_an_activation():
    layer, x, delta = Cube(), numbers((7, 5)), numbers((7, 5), seed=1)
    close(layer.forward(x), x**3)
    close(layer.backward(delta.copy()), 3 * x**2 * delta)
    close(layer.infer(x), x**3)
    close(layer.slopes(), 3 * x**2)


def test_working_arrays_hold_zeros_at_first():
    layer = Counted()
    for rows in (7, 3, 7, 9):
        x = numbers((rows, 5))
        assert_array_equal(layer.forward(x), x)
        assert_array_equal(layer.slopes(), x)
        assert_array_equal(layer.forward(x), 2 * x)
        assert_array_equal(layer.infer(x), x)
