"""Jacobians, per-sample gradients and Hessian products beside the complex step on plain loops, for every layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_array_equal

import densenet as dn
from densenet import second_order as so

ELEMENTWISE = [name for name in reference.ACTIVATIONS if name != "PReLU"]
N, N_IN = 5, 3


def around(kind):
    """A small network with the layer in its middle, so that its input is smooth in parameters before it."""
    width = 4
    layers = {
        "Dense": lambda: [dn.Dense(width, width)],
        "Dense without bias": lambda: [dn.Dense(width, width, use_bias=False)],
        "BatchNorm": lambda: [dn.BatchNorm(width)],
        "LayerNorm": lambda: [dn.LayerNorm(width)],
        "RMSNorm": lambda: [dn.RMSNorm(width)],
        "Scale": lambda: [dn.Scale(width)],
        "Dropout": lambda: [dn.Dropout(0.5)],
        "GaussianNoise": lambda: [dn.GaussianNoise(0.5)],
        "AlphaDropout": lambda: [dn.AlphaDropout(0.5)],
        "Residual": lambda: [dn.Residual([dn.Dense(width, width), dn.Tanh(), dn.Scale(width)])],
        "Concatenate": lambda: [
            dn.Concatenate([[], [dn.Dense(width, 2), dn.PReLU()], [dn.LayerNorm(width), dn.Sigmoid()]]),
        ],
        "RobustScale": lambda: [dn.layers.RobustScale(width)],
        "Periodic": lambda: [dn.layers.Periodic(width, frequencies=3, width=3)],
        "Columns": lambda: [dn.layers.Columns([1, 3], [[dn.Dense(1, 2), dn.Tanh()], [dn.Dense(3, 4)]])],
        "Average": lambda: [
            dn.layers.Average([[dn.Dense(width, width), dn.Tanh()], [dn.Dense(width, width), dn.Sigmoid()]])
        ],
        "Blend": lambda: [dn.layers.Blend(width, "selu")],
        "Blend of a smooth function": lambda: [dn.layers.Blend(width, "mish")],
        "Clip": lambda: [dn.layers.Clip([-0.5] * width, [0.5] * width)],
        "nested": lambda: [dn.Residual([dn.Concatenate([[dn.Dense(width, 1)], [dn.Dense(width, 3), dn.RMSNorm(3)]])])],
    }
    middle = layers[kind]() if kind in layers else [getattr(dn, kind)()]
    last = {"Concatenate": width + 2 + width, "Periodic": 3 * width, "Columns": 6}.get(kind, width)
    model = dn.Sequential([dn.Dense(N_IN, width), dn.Tanh(), *middle, dn.Dense(last, 2)], dtype="float64", seed=3)
    rng = np.random.default_rng(5)
    model.params = rng.normal(0.1, 0.8, model.params.shape)
    for layer in model.layers:
        for inner in layer.walk():
            if isinstance(inner, dn.BatchNorm):
                inner.running_mean[...] = rng.normal(size=width)
                inner.running_var[...] = rng.uniform(0.5, 2, width)
    return model


KINDS = [
    "Dense", "Dense without bias", "BatchNorm", "LayerNorm", "RMSNorm", "Scale", "Dropout", "GaussianNoise",
    "AlphaDropout", "Residual", "Concatenate", "nested", "Softmax", "LogSoftmax", *reference.ACTIVATIONS,
]  # fmt: skip
every = pytest.mark.parametrize("kind", KINDS)


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, N_IN)), rng.normal(size=(N, 2)), rng


def chain(layers, take):
    """The layers as the reference takes them, parameters from the flat vector in order."""
    made = []
    for layer in layers:
        kind = type(layer).__name__
        own = {name: take(shape) for name, shape in layer.parameter_shapes().items()}
        if kind == "Residual":
            made.append((kind, {"layers": chain(layer.layers, take)}))
        elif kind == "Concatenate":
            made.append((kind, {"branches": [chain(branch, take) for branch in layer.branches]}))
        elif kind == "BatchNorm":
            made.append((kind, own | {"mean": layer.running_mean, "variance": layer.running_var, "eps": layer.eps}))
        elif kind == "LayerNorm":
            made.append((kind, own | {"eps": layer.eps}))
        elif kind == "Scale":
            made.append((kind, {"gamma": own["s"]}))
        elif kind == "PReLU":
            made.append((kind, {"a": complex(own["a"][0])}))
        elif kind not in ("Dropout", "GaussianNoise", "AlphaDropout"):
            made.append((kind, own))
    return made


def plain(model, params):
    position = 0

    def take(shape):
        nonlocal position
        size = math.prod(shape)
        position += size
        return np.asarray(params)[position - size : position].reshape(shape)

    return chain(model.layers, take)


def plain_jacobian(model, x):
    """J by the complex step, parameter by parameter."""
    columns = []
    for i in range(model.params.size):
        moved = model.params.astype(complex)
        moved[i] += complex(0, reference.STEP)
        columns.append(reference.forward(plain(model, moved), x).imag / reference.STEP)
    return np.stack(columns, axis=-1)


def plain_input_jacobian(model, x):
    chain_ = plain(model, model.params)
    columns = []
    for i in range(x.shape[1]):
        moved = x.astype(complex)
        moved[:, i] += complex(0, reference.STEP)
        columns.append(reference.forward(chain_, moved).imag / reference.STEP)
    return np.stack(columns, axis=-1)


def plain_hessian_product(model, loss, x, y, v, weight=None, **options):
    """dE/dw by the complex step, its change along v by a quotient with an error of the sixth order."""

    def gradient(t):
        def error(params):
            return reference.network_error(plain(model, params), loss, x, y, weight, **options)

        return reference.complex_step_gradient(error, model.params + t * v)

    h = 2e-3
    one, two, three = ((gradient(i * h) - gradient(-i * h)) / (2 * i * h) for i in (1, 2, 3))
    return 1.5 * one - 0.6 * two + 0.1 * three


def close(actual, desired, tolerance=1e-10):
    assert actual.shape == desired.shape
    assert np.abs(actual - desired).max() <= tolerance * np.abs(desired).max()


# -- first derivatives -----------------------------------------------------------------------------------------------


@every
def test_jacobian_is_the_complex_steps(kind):
    model, (x, _, _) = around(kind), data()
    close(dn.jacobian(model, x), plain_jacobian(model, x))
    close(dn.jacobian(model, x, wrt="inputs"), plain_input_jacobian(model, x))


@every
def test_products_are_those_with_the_matrix(kind):
    model, (x, _, rng) = around(kind), data()
    J = plain_jacobian(model, x)
    v, u = rng.normal(size=model.params.size), rng.normal(size=(N, 2))
    close(so.jacobian_product(model, x, v), J @ v)
    close(so.jacobian_transpose_product(model, x, u), np.einsum("skp,sk->p", J, u))


@every
def test_per_sample_gradients_and_their_norms(kind):
    model, (x, y, _) = around(kind), data()
    delta = [
        reference.loss_delta(
            "MeanSquaredError", reference.forward(plain(model, model.params), x)[s : s + 1], y[s : s + 1]
        )[0]
        for s in range(N)
    ]
    expected = np.einsum("skp,sk->sp", plain_jacobian(model, x), delta)
    close(dn.per_sample_gradients(model, "mse", x, y), expected)
    close(so.per_sample_gradient_norms(model, "mse", x, y), np.sqrt((expected**2).sum(axis=1)))


@every
def test_first_derivatives_by_differences(kind):
    model, (x, _, _) = around(kind), data()
    J = dn.jacobian(model, x)
    moved = model.astype("float64")
    for i in np.random.default_rng(1).choice(model.params.size, 4, replace=False):
        h = 1e-6
        moved.params[i] = model.params[i] + h
        above = moved.predict(x)
        moved.params[i] = model.params[i] - h
        difference = (above - moved.predict(x)) / (2 * h)
        moved.params[i] = model.params[i]
        assert np.abs(J[:, :, i] - difference).max() <= 1e-7 * np.abs(J).max()


# -- second derivatives ----------------------------------------------------------------------------------------------


@every
def test_hessian_product_is_the_references(kind):
    model, (x, y, rng) = around(kind), data()
    v = rng.normal(size=model.params.size)
    v /= np.linalg.norm(v)
    close(so.hessian_product(model, "mse", x, y, v), plain_hessian_product(model, "MeanSquaredError", x, y, v))


@every
def test_gauss_newton_product_is_that_with_the_matrix(kind):
    model, (x, y, rng) = around(kind), data()
    v, weight = rng.normal(size=model.params.size), rng.uniform(0, 2, N)
    J = plain_jacobian(model, x)
    expected = np.einsum("skp,sk->p", J, (J @ v) * weight[:, None] / weight.sum())
    close(so.gauss_newton_product(model, dn.HalfSquaredError(), x, y, v, sample_weight=weight), expected)


LOSSES = {
    "MeanSquaredError": ({}, "numbers"),
    "HalfSquaredError": ({}, "numbers"),
    "MeanAbsoluteError": ({}, "numbers"),
    "Huber": ({"delta": 0.7}, "numbers"),
    "LogCosh": ({}, "numbers"),
    "Quantile": ({"q": 0.3}, "numbers"),
    "PoissonNLL": ({}, "counts"),
    "GaussianNLL": ({}, "column"),
    "KLDivergence": ({}, "soft"),
    "Hinge": ({}, "signs"),
    "SquaredHinge": ({}, "signs"),
    "SigmoidCrossEntropy": ({}, "shares"),
    "SoftmaxCrossEntropy": ({"label_smoothing": 0.1}, "classes"),
    "BinaryCrossEntropy": ({}, "shares"),
    "CategoricalCrossEntropy": ({}, "classes"),
    "FocalLoss": ({"gamma": 1.5}, "classes"),
}


def targets(kind, rng):
    if kind == "classes":
        return rng.integers(0, 2, N)
    if kind == "soft":
        t = rng.uniform(0.1, 1, (N, 2))
        return t / t.sum(axis=1, keepdims=True)
    return {
        "numbers": rng.normal(size=(N, 2)),
        "column": rng.normal(size=(N, 1)),
        "counts": rng.integers(0, 4, (N, 2)).astype(float),
        "signs": rng.choice([-1.0, 1.0], (N, 2)),
        "shares": rng.uniform(0.1, 0.9, (N, 2)),
    }[kind]


@pytest.mark.parametrize("name", LOSSES)
def test_hessian_product_of_every_loss(name):
    options, kind = LOSSES[name]
    x, _, rng = data()
    y = targets(kind, rng)
    last = {"probabilities": [dn.Softmax()], "log-probabilities": [dn.LogSoftmax()]}.get(getattr(dn, name).expects, [])
    model = dn.Sequential([dn.Dense(N_IN, 3), dn.Tanh(), dn.Dense(3, 2), *last], dtype="float64", seed=1)
    v, weight = rng.normal(size=model.params.size), rng.uniform(0.5, 2, N)
    v /= np.linalg.norm(v)
    actual = so.hessian_product(model, getattr(dn, name)(**options), x, y, v, sample_weight=weight)
    close(actual, plain_hessian_product(model, name, x, y, v, weight, **options), 1e-9)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_curvature_far_out_is_finite_and_right(name):
    layer = getattr(dn, name)()
    x = np.array([[-1e4, -60.0, -5.0, -0.7, 0.6, 4.0, 60.0, 1e4]])
    y = layer.forward(x)
    out = np.empty_like(x)
    layer.curvature(x, y, out, layer._work)
    assert np.isfinite(out).all()
    h = 1e-4
    middle = slice(2, 6)
    layer.forward(x + h)
    above = layer.slopes()
    layer.forward(x - h)
    difference = ((above - layer.slopes()) / (2 * h))[0, middle]
    assert np.abs(out[0, middle] - difference).max() <= 1e-6 * max(1, np.abs(difference).max())


# -- what users may pass ---------------------------------------------------------------------------------------------


def test_nothing_of_the_caller_is_written():
    model, (x, y, rng) = around("nested"), data()
    model.forward(x)
    model.backward(np.ones((N, 2)))
    params, grads, kept, v = model.params.copy(), model.grads.copy(), x.copy(), rng.normal(size=model.params.size)
    dn.jacobian(model, x)
    so.hessian_product(model, "mse", x, y, v)
    dn.per_sample_gradients(model, "mse", x, y)
    assert_array_equal(model.params, params)
    assert_array_equal(model.grads, grads)
    assert_array_equal(x, kept)


def test_dtype_is_the_models():
    model = dn.mlp([3, 4, 2], activation="tanh", seed=0)
    x, y, rng = data()
    assert dn.jacobian(model, x).dtype == np.float32
    assert dn.per_sample_gradients(model, "mse", x, y).dtype == np.float32
    v = rng.normal(size=model.params.size)
    exact = so.hessian_product(model.astype("float64"), "mse", x, y, v)
    close(so.hessian_product(model, "mse", x, y, v).astype(float), exact, 1e-5)


class Wave(dn.Layer):
    """y = a sin(b x), without a method for single samples."""

    a, da = dn.Parameter(), dn.Parameter()
    b, db = dn.Parameter(), dn.Parameter()

    def parameter_shapes(self):
        return {"a": (1,), "b": (1,)}

    def initialize(self, rng):
        self.a[...], self.b[...] = 2.0, 0.5

    def forward(self, x, training=True):
        self._x = x
        return self.infer(x)

    def infer(self, x, out=None):
        return np.multiply(self.a, np.sin(self.b * x), out=out)

    def backward(self, delta):
        self.da[...] = (delta * np.sin(self.b * self._x)).sum()
        self.db[...] = (delta * self.a * self._x * np.cos(self.b * self._x)).sum()
        return delta * self.a * self.b * np.cos(self.b * self._x)


def test_a_layer_of_ones_own_goes_sample_by_sample():
    model = dn.Sequential([dn.Dense(3, 2), dn.Residual([Wave()]), dn.Dense(2, 1)], dtype="float64", seed=0)
    x, _, rng = data()
    J, moved = dn.jacobian(model, x), model.astype("float64")
    for i in range(model.params.size):
        moved.params = model.params
        moved.params[i] += 1e-6
        above = moved.predict(x)
        moved.params[i] -= 2e-6
        assert np.abs(J[:, :, i] - (above - moved.predict(x)) / 2e-6).max() < 1e-7 * np.abs(J).max()
    y = rng.normal(size=N)
    gradients = dn.per_sample_gradients(model, "mse", x, y)
    close(so.per_sample_gradient_norms(model, "mse", x, y), np.linalg.norm(gradients, axis=1))
    with pytest.raises(TypeError, match=r"Wave has no tangent\(x_dot, v\): products J v and Hessian products need it."):
        so.jacobian_product(model, x, np.zeros(model.params.size))


def test_activations_and_losses_of_ones_own():
    class Cube(dn.Activation):
        def value(self, x, out, work):
            out[...] = x**3

        def slope(self, x, y, out, work):
            out[...] = 3 * x**2

    class Quartic(dn.Loss):
        def values(self, prediction, target, out):
            out[...] = ((prediction - target) ** 4).sum(axis=1)

        def slopes(self, prediction, target, out):
            out[...] = 4 * (prediction - target) ** 3

    x, y, _ = data()
    model = dn.Sequential([dn.Dense(3, 2), Cube()], dtype="float64", seed=0)
    v = np.ones(model.params.size)
    close(so.jacobian_product(model, x, v), dn.jacobian(model, x) @ v)
    with pytest.raises(TypeError, match=r"Cube has no curvature\(x, y, out, work\), f'': Hessian products need it."):
        so.hessian_product(model, "mse", x, y, v)
    with pytest.raises(TypeError, match=r"Quartic has no slopes_along\(prediction, target, direction, out\)"):
        so.gauss_newton_product(model, Quartic(), x, y, v)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x, y: dn.jacobian(m, x[:, :2]), ValueError, r"jacobian expects x of shape \(n, 3\), got \(5, 2\)"),
        (
            lambda m, x, y: dn.jacobian(m, x, wrt="weights"),
            ValueError,
            'wrt to be "params" or "inputs", got \'weights\'',
        ),
        (lambda m, x, y: dn.jacobian(m, x * np.nan), ValueError, "x holds NaN at row 0, column 0"),
        (lambda m, x, y: dn.jacobian("model", x), TypeError, "jacobian expects a Sequential as its model, got 'model'"),
        (
            lambda m, x, y: so.jacobian_product(m, x, [1.0]),
            ValueError,
            r"v of shape \(8,\), the parameters', got \(1,\)",
        ),
        (lambda m, x, y: so.jacobian_transpose_product(m, x, y[:3]), ValueError, r"u of shape \(5, 2\), the output's"),
        (lambda m, x, y: dn.per_sample_gradients(m, "mse", x, y[:3]), ValueError, "as many targets as rows"),
        (lambda m, x, y: so.hessian_product(m, "mse", x, y[:3], m.params), ValueError, "as many targets as rows"),
    ],
)
def test_what_does_not_fit_is_said(call, error, message):
    x, y, _ = data()
    with pytest.raises(error, match=message):
        call(dn.Sequential([dn.Dense(3, 2)], dtype="float64"), x, y)


def test_batch_statistics_have_no_derivative_of_one_sample():
    layer = dn.BatchNorm(2)
    model = dn.Sequential([layer], dtype="float64")
    model.forward(np.ones((3, 2)), training=True)
    with pytest.raises(ValueError, match="couples samples, so that a sample has no derivative of its own"):
        layer.backward_samples(np.ones((3, 2)), np.empty((3, 4)))
