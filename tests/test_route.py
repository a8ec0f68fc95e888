"""The route: every path, its factors and their sum, beside brute force on the plain-loop reference."""

from __future__ import annotations

import copy
import html.parser
import itertools
import math
import re
import tracemalloc
from pathlib import Path as File

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
import densenet.cli.route
from densenet.cli import main
from densenet.datasets.notes import B1, B2, B3, B4, W1, W2, W3, W4, notes_network
from densenet.explain import Passage, Path, route

SMOOTH = [
    "Identity",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "SiLU",
    "Mish",
    "Softplus",
    "Softsign",
    "Sigmoid",
    "Tanh",
    "Exp",
    "Sine",
]
KINKED = ["ReLU", "LeakyReLU", "PReLU", "HardTanh", "HardSigmoid", "HardSwish", "Gaussian"]


def as_chain(layers, moved=None):
    """A model's layers as the reference takes them; `moved`, (dense layer, array, index), gets an imaginary step."""
    chain = []
    for layer in layers:
        kind, values = type(layer).__name__, {}
        if isinstance(layer, dn.Dense):
            values = {"W": layer.W.astype(complex), "b": layer.b.astype(complex) if layer.use_bias else None}
            if moved is not None and layer is moved[0]:
                values[moved[1]][moved[2]] += complex(0, reference.STEP)
        elif isinstance(layer, dn.Residual):
            values = {"layers": as_chain(layer.layers, moved)}
        elif isinstance(layer, dn.Concatenate):
            values = {"branches": [as_chain(branch, moved) for branch in layer.branches]}
        elif isinstance(layer, dn.BatchNorm):
            values = {
                "gamma": layer.gamma,
                "beta": layer.beta,
                "mean": layer.running_mean,
                "variance": layer.running_var,
            }
        elif isinstance(layer, dn.LayerNorm):
            values = {"gamma": layer.gamma, "beta": layer.beta}
        elif isinstance(layer, dn.RMSNorm):
            values = {"gamma": layer.gamma}
        elif isinstance(layer, dn.Scale):
            values = {"gamma": layer.s}
        elif isinstance(layer, dn.PReLU):
            values = {"a": float(layer.a[0])}
        elif isinstance(layer, dn.Dropout):
            continue
        chain.append((kind, values))
    return chain


def complex_gradient(model, loss, x, y, layer, array, index):
    """dE/dw by the complex step on the reference."""
    moved = (model.dense_layers[layer - 1], array, index)
    error = reference.network_error(as_chain(model.layers, moved), type(loss).__name__, x, y)
    return complex(error).imag / reference.STEP


def brute_force(model, loss, x, y, layer, source, target, delta=None):
    """{neurons: contribution} of a plain chain of Dense and elementwise layers, each path multiplied out."""
    chain = as_chain(model.layers)
    places = [i for i, (kind, _) in enumerate(chain) if kind == "Dense"] + [len(chain)]
    enters = reference.forward(chain[: places[layer - 1]], x).real[0]
    weights, slopes = [], []
    for n in range(layer, len(places)):
        z = reference.forward(chain[: places[n - 1] + 1], x).real[0]
        slope = np.ones(len(z))
        for i in range(places[n - 1] + 1, places[n]):
            a = reference.forward(chain[:i], x).real[0]
            kind, options = chain[i]
            slope *= [reference.slope(kind, v, **options) for v in a]
        weights.append(chain[places[n - 1]][1]["W"].real)
        slopes.append(slope)
    out = reference.forward(chain, x).real
    if delta is None:
        delta = reference.loss_delta(type(loss).__name__, out, y)[0]
    found = {}
    for rest in itertools.product(*(range(W.shape[1]) for W in weights[1:])):
        neurons = (target - 1, *rest)
        value = enters[source - 1]
        for n, j in enumerate(neurons):
            value *= slopes[n][j]
            if n + 1 < len(neurons):
                value *= weights[n + 1][j, neurons[n + 1]]
        found[(source, *(j + 1 for j in neurons))] = value * delta[neurons[-1]]
    return found


def random_chain(seed, depth, kinds, widths=4):
    """A random chain with the weight to be explained: (model, x, layer, source, target)."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, widths + 1, depth + 1)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers.append(dn.Dense(int(n_in), int(n_out), bias_initializer="uniform"))
        kind = kinds[rng.integers(len(kinds))]
        if kind is not None:
            layers.append(getattr(dn, kind)())
    model = dn.Sequential(layers, seed=rng, dtype="float64")
    layer = int(rng.integers(1, depth + 1))
    dense = model.dense_layers[layer - 1]
    return (
        model,
        rng.normal(size=(1, sizes[0])),
        layer,
        int(rng.integers(1, dense.n_in + 1)),
        int(rng.integers(1, dense.n_out + 1)),
        rng,
    )


# -- the notes -----------------------------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


@pytest.fixture
def notes():
    return notes_network()


def test_the_notes_route_in_eight_factors(notes):
    found = route(*notes, layer=1, source=1, target=3)
    a = [[0.9, 0.4]]
    for W, b in ((W1, B1), (W2, B2), (W3, B3), (W4, B4)):
        a.append([sigmoid(sum(x * W[i][j] for i, x in enumerate(a[-1])) + b[j]) for j in range(len(b))])
    slope = [[v * (1 - v) for v in row] for row in a]
    names = ["a(0)_1", "f'(z(1)_3)", "w(2)_{3,2}", "f'(z(2)_2)", "w(3)_{2,2}", "f'(z(3)_2)", "w(4)_{2,1}", "dE/dz(4)_1"]
    values = [0.9, slope[1][2], 0.92, slope[2][1], 0.85, slope[3][1], 0.96, (a[4][0] - 0.2) * slope[4][0]]
    path = found.path((1, 3, 2, 2, 1))
    assert [factor.name for factor in path.factors] == names
    assert_allclose([factor.value for factor in path.factors], values, rtol=1e-14)
    assert path.contribution == pytest.approx(math.prod(values), rel=1e-14)
    assert path.share == pytest.approx(path.contribution / found.absolute, rel=1e-14)
    assert found.paths()[0] == path
    assert str(path) == "1-3-2-2-1"


def test_the_four_paths_of_the_notes_add_up(notes):
    found = route(*notes, layer=1, source=1, target=3)
    assert found.n_paths == 4
    assert {path.neurons for path in found.paths()} == {(1, 3, j, k, 1) for j in (1, 2) for k in (1, 2)}
    assert sum(path.contribution for path in found.paths()) == pytest.approx(found.gradient, rel=1e-12)
    assert sum(abs(path.share) for path in found.paths()) == pytest.approx(1, rel=1e-12)
    assert found.agrees
    assert found.discrepancy <= 1e-12
    assert found.element == "model.layers[0].W[0, 2]"
    assert found.name == "w(1)_{1,3}"
    assert found.value == 0.80


def test_the_notes_four_factors_telescope(notes):
    found = route(*notes, layer=1, source=1, target=3)
    path = found.path((1, 3, 2, 2, 1))
    text = found.to_text(path=path)
    line = "dE/dw(4)_{2,1} x dw(4)_{2,1}/dw(3)_{2,2} x dw(3)_{2,2}/dw(2)_{3,2} x dw(2)_{3,2}/dw(1)_{1,3}"
    assert "dE/dw(1)_{1,3} = " + line in " ".join(text.split())
    assert "dw(4)_{2,1}/dw(3)_{2,2} = a(2)_2 x f'(z(3)_2) x w(4)_{2,1} / a(3)_2" in text
    quotients = [row for row in text.splitlines() if row.startswith(("  dE/dw(4)_", "  dw("))]
    values = [float(row.rsplit("=", 1)[1]) for row in quotients]
    assert len(values) == 4
    assert math.prod(values) == pytest.approx(path.contribution, rel=1e-5)
    order = [
        text.index(part)
        for part in ("in four factors", "in eight exact factors", "the sum over all 4 paths", "They agree")
    ]
    assert order == sorted(order)


# -- agreement with brute force and the complex step ---------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 5))
def test_paths_equal_brute_force(seed, depth):
    model, x, layer, source, target, rng = random_chain(seed, depth, [None, *SMOOTH, *KINKED])
    y = rng.normal(size=(1, model.n_out))
    loss = dn.HalfSquaredError()
    wanted = brute_force(model, loss, x, y, layer, source, target)
    found = route(model, loss, x, y, layer=layer, source=source, target=target)
    absolute = sum(map(abs, wanted.values()))
    tolerance = 1e-12 * absolute + 1e-300
    paths = found.paths()
    assert found.n_paths == len(wanted) == len(paths)
    assert {path.neurons: pytest.approx(path.contribution, abs=tolerance) for path in paths} == wanted
    sizes = [abs(path.contribution) for path in paths]
    assert sizes == sorted(sizes, reverse=True)
    assert found.absolute == pytest.approx(absolute, rel=1e-11)
    assert found.agrees
    assert found.gradient == pytest.approx(sum(wanted.values()), abs=tolerance)
    left = abs(sum(wanted.values())) / absolute if absolute else 1.0
    assert found.cancellation == pytest.approx(1 - left, abs=1e-11)
    for path in paths:
        assert math.prod(factor.value for factor in path.factors) == path.contribution
        assert found.path(path.neurons) == path


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 30))
def test_the_k_largest_are_exactly_those_also_where_sizes_tie_and_vanish(seed, k):
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(2, 5))
    model = dn.mlp(rng.integers(1, 5, depth + 1).tolist(), activation="relu", dtype="float64")
    for layer in model.dense_layers:
        layer.W = rng.integers(-2, 3, layer.W.shape)
        layer.b = rng.integers(-1, 2, layer.b.shape) + 0.5
    x, y = rng.integers(1, 3, (1, model.n_in)).astype(float), np.zeros((1, model.n_out))
    loss = dn.HalfSquaredError()
    wanted = brute_force(model, loss, x, y, 1, 1, 1, delta=model.predict(x)[0])  # all numbers here are exact
    order = sorted(wanted, key=lambda neurons: (-abs(wanted[neurons]), neurons))
    paths = route(model, loss, x, y, layer=1, source=1, target=1).paths(k)
    assert [path.neurons for path in paths] == order[:k]
    assert [path.contribution for path in paths] == [wanted[neurons] for neurons in order[:k]]


MIXED = {
    "layer norm": lambda: [dn.Dense(3, 4), dn.LayerNorm(4), dn.Tanh(), dn.Dense(4, 2)],
    "rms norm": lambda: [dn.Dense(3, 4), dn.Tanh(), dn.RMSNorm(4), dn.Dense(4, 2), dn.Sigmoid()],
    "softmax inside": lambda: [dn.Dense(3, 4), dn.Softmax(), dn.Dense(4, 3), dn.LogSoftmax(), dn.Dense(3, 2)],
    "batch norm": lambda: [dn.Dense(3, 4), dn.BatchNorm(4), dn.ReLU(), dn.Scale(4), dn.Dense(4, 2)],
    "residual": lambda: [dn.Dense(3, 4), dn.Residual([dn.Dense(4, 4), dn.Tanh(), dn.Dense(4, 4)]), dn.Dense(4, 2)],
    "residual without dense": lambda: [
        dn.Dense(3, 4),
        dn.Residual([dn.Sine()]),
        dn.Dense(4, 2),
        dn.Residual([dn.Tanh()]),
    ],
    "concatenate": lambda: [
        dn.Dense(3, 4),
        dn.Concatenate([[dn.Dense(4, 2), dn.Tanh()], [], [dn.LayerNorm(4), dn.Dense(4, 3)]]),
        dn.Dense(9, 2),
    ],
    "nested": lambda: [
        dn.LayerNorm(3),
        dn.Residual(
            [dn.Concatenate([[dn.Dense(3, 2)], [dn.Residual([dn.Dense(3, 3), dn.Sigmoid()])]]), dn.Dense(5, 3)]
        ),
        dn.Softplus(),
        dn.Dense(3, 2),
    ],
    "ends mixing": lambda: [dn.Dense(3, 3), dn.Tanh(), dn.Dense(3, 2), dn.LayerNorm(2), dn.Sigmoid()],
}


@pytest.mark.parametrize("name", MIXED)
def test_every_layer_kind_agrees_with_the_complex_step(name):
    model = dn.Sequential(MIXED[name](), seed=3, dtype="float64")
    rng = np.random.default_rng(5)
    for layer in (inner for top in model.layers for inner in top.walk()):
        for parameter in ("gamma", "beta", "b"):
            if parameter in layer.parameter_shapes():
                setattr(layer, parameter, rng.uniform(0.5, 1.5, getattr(layer, parameter).shape))
    x, y, loss = rng.normal(size=(3, 3)), rng.normal(size=(3, 2)), dn.MeanSquaredError()
    for number, dense in enumerate(model.dense_layers, start=1):
        i, j = int(rng.integers(dense.n_in)), int(rng.integers(dense.n_out))
        found = route(model, loss, x, y, layer=number, source=i + 1, target=j + 1, sample=1)
        wanted = complex_gradient(model, loss, x[1:2], y[1:2], number, "W", (i, j))
        assert found.gradient == pytest.approx(wanted, abs=1e-12 * found.absolute)
        assert found.agrees, found.discrepancy
        paths = found.paths()
        assert len(paths) == found.n_paths == len({path.neurons for path in paths})
        assert sum(path.contribution for path in paths) == pytest.approx(wanted, abs=1e-12 * found.absolute)
        assert sum(abs(path.contribution) for path in paths) == pytest.approx(found.absolute, rel=1e-12)
        assert [found.path(path.neurons) for path in paths] == paths
        assert found.paths(3) == paths[:3]
        batch = route(model, loss, x, y, layer=number, source="bias", target=j + 1, sample=None)
        assert batch.gradient == pytest.approx(complex_gradient(model, loss, x, y, number, "b", (j,)), rel=1e-11)
        assert batch.agrees


def test_paths_through_a_mixing_layer_equal_brute_force():
    model = dn.Sequential([dn.Dense(2, 3), dn.LayerNorm(3), dn.Tanh(), dn.Dense(3, 2)], seed=1, dtype="float64")
    x, y = np.array([[0.3, -1.2]]), np.array([[0.5, 0.1]])
    first, norm, _, last = model.layers
    z = reference.dense(x, first.W, first.b)
    jacobian = np.empty((3, 3))
    for i in range(3):
        moved = z.astype(complex)
        moved[0, i] += complex(0, reference.STEP)
        jacobian[i] = reference.layer_norm(moved, norm.gamma, norm.beta)[0].imag / reference.STEP
    u = reference.layer_norm(z, norm.gamma, norm.beta)[0]
    out = reference.forward(as_chain(model.layers), x).real
    found = route(model, "half_squared_error", x, y, layer=1, source=2, target=3)
    assert found.n_paths == 6
    for k, o in itertools.product(range(3), range(2)):
        path = found.path((2, 3, ("LayerNorm", k + 1), o + 1))
        assert path.neurons[2] == Passage("LayerNorm", k + 1)
        wanted = x[0, 1] * jacobian[2, k] * (1 - math.tanh(u[k]) ** 2) * last.W[k, o] * (out[0, o] - y[0, o])
        assert path.contribution == pytest.approx(wanted, rel=1e-12)


def test_neurons_name_the_way_through_containers():
    layers = [
        dn.Dense(2, 2),
        dn.Residual([dn.Dense(2, 2), dn.Tanh()]),
        dn.Concatenate([[], [dn.Dense(2, 1)]]),
        dn.Dense(3, 1),
    ]
    model = dn.Sequential(layers, seed=0, dtype="float64")
    found = route(model, "mse", [[1.0, 2.0]], [[0.0]], layer=1, source=1, target=2)
    assert found.n_paths == (1 + 2) * (1 + 1)
    short = found.path((1, 2, ("Residual", "shortcut"), ("Concatenate", "branch 1"), 1))
    assert [factor.name for factor in short.factors] == ["a(0)_1", "w(4)_{2,1}", "dE/dz(4)_1"]
    long = found.path((1, 2, ("Residual", "branch"), 1, ("Concatenate", "branch 2"), 1, 1))
    names = ["a(0)_1", "w(2)_{2,1}", "f'(z(2)_1)", "w(3)_{1,1}", "w(4)_{3,1}", "dE/dz(4)_1"]
    assert [factor.name for factor in long.factors] == names
    inside = route(model, "mse", [[1.0, 2.0]], [[0.0]], layer=2, source=1, target=2)
    assert inside.element == "model.layers[1].layers[0].W[0, 1]"
    assert (
        route(model, "mse", [[1.0, 2.0]], [[0.0]], layer=3, source="bias", target=1).element
        == "model.layers[2].branches[1][0].b[0]"
    )


LOSSES = [
    ("MeanSquaredError", [[0.3, 0.8, -0.2]]),
    ("MeanAbsoluteError", [[0.3, 0.8, -0.2]]),
    ("LogCosh", [[0.3, 0.8, -0.2]]),
    ("PoissonNLL", [[1.0, 0.0, 3.0]]),
    ("SigmoidCrossEntropy", [[1.0, 0.0, 1.0]]),
    ("SoftmaxCrossEntropy", [2]),
    ("FocalLoss", [1]),
]


@pytest.mark.parametrize(("name", "y"), LOSSES)
def test_losses(name, y):
    model = dn.mlp([3, 4, 3], activation="gelu", seed=2, dtype="float64")
    loss, x = getattr(dn, name)(), [[0.2, -0.7, 1.1]]
    found = route(model, loss, x, y, layer=1, source=2, target=4)
    wanted = complex_gradient(model, loss, x, y, 1, "W", (1, 3))
    assert found.gradient == pytest.approx(wanted, rel=1e-11)
    assert sum(path.contribution for path in found.paths()) == pytest.approx(wanted, rel=1e-11)
    assert found.agrees


# -- the factor at the output --------------------------------------------------------------------------------------


def test_softmax_meets_cross_entropy_as_p_minus_y():
    x, z = [[0.5, -1.0]], dn.mlp([2, 3, 3], seed=0, activation="tanh", dtype="float64")
    logits = z.predict(x)
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    joined = dn.mlp([2, 3, 3], seed=0, activation="tanh", output_activation="softmax", dtype="float64")
    for model, loss in ((z, dn.SoftmaxCrossEntropy()), (joined, dn.CategoricalCrossEntropy())):
        found = route(model, loss, x, [1], layer=1, source=1, target=2)
        assert found.n_paths == 3
        for k, y in enumerate((0, 1, 0)):
            path = found.path((1, 2, k + 1))
            assert path.factors[-1].name == f"dE/dz(2)_{k + 1}"
            assert path.factors[-1].value == pytest.approx(p[k] - y, rel=1e-12)
            (p_name, p_value), (y_name, y_value) = found.output_parts(path)
            assert (p_name, y_name, y_value) == (f"p_{k + 1}", f"y_{k + 1}", y)
            assert p_value == pytest.approx(p[k], rel=1e-12)
        assert found.agrees
        assert "p_1 - y_1" in found.to_text() or "p_2 - y_2" in found.to_text() or "p_3 - y_3" in found.to_text()


def test_label_smoothing_and_log_probabilities_are_p_minus_y_too():
    model = dn.mlp([2, 3], output_activation="log_softmax", seed=0, dtype="float64")
    y = [[0.2, 0.3, 0.5]]
    found = route(model, dn.KLDivergence(), [[1.0, 2.0]], y, layer=1, source=1, target=2)
    assert found.n_paths == 1
    parts = dict(found.output_parts(found.paths()[0]))
    assert parts["y_2"] == 0.3
    assert found.paths()[0].factors[-1].value == pytest.approx(parts["p_2"] - 0.3, rel=1e-12)
    plain = dn.mlp([2, 3], seed=0, dtype="float64")
    smooth = route(plain, dn.SoftmaxCrossEntropy(label_smoothing=0.3), [[1.0, 2.0]], [1], layer=1, source=1, target=2)
    assert dict(smooth.output_parts(smooth.paths()[0]))["y_2"] == pytest.approx(0.8)


def test_an_elementwise_output_gives_the_loss_times_the_slope(notes):
    found = route(*notes, layer=4, source=2, target=1)
    (path,) = found.paths()
    parts = found.output_parts(path)
    assert [name for name, _ in parts] == ["dE/dy^_1", "f'(z(4)_1)"]
    assert math.prod(value for _, value in parts) == pytest.approx(path.factors[-1].value, rel=1e-14)
    assert [factor.name for factor in path.factors] == ["a(3)_2", "dE/dz(4)_1"]


# -- what E is: sample, batch, bias, dtype, noise ------------------------------------------------------------------


def test_a_sample_is_a_batch_of_its_own_and_none_is_the_whole_batch():
    rng = np.random.default_rng(0)
    model = dn.mlp([3, 4, 2], activation="tanh", seed=0, dtype="float64")
    x, y, loss = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), dn.MeanSquaredError()
    each = [route(model, loss, x, y, layer=1, source=2, target=3, sample=s) for s in range(5)]
    for s, found in enumerate(each):
        loss.forward(model.forward(x[s : s + 1]), y[s : s + 1])
        model.backward(loss.backward())
        assert found.gradient == model.layers[0].dW[1, 2]
        assert found.error == pytest.approx(loss.forward(model.predict(x[s : s + 1]), y[s : s + 1]), rel=1e-15)
    batch = route(model, loss, x, y, layer=1, source=2, target=3, sample=None)
    assert batch.gradient == pytest.approx(np.mean([found.gradient for found in each]), rel=1e-13)
    assert batch.absolute == pytest.approx(np.mean([found.absolute for found in each]), rel=1e-13)
    assert batch.n_paths == 2
    assert batch.agrees
    with pytest.raises(
        ValueError,
        match=r"Paths and factors need a sample, and this route is of a batch of 5: route\(\.\.\., sample=0\)",
    ):
        batch.paths()
    with pytest.raises(ValueError, match="need a sample"):
        batch.path((2, 3, 1))
    assert "Paths and their factors need one row: sample=0" in " ".join(batch.to_text().split())


def test_batches_with_mixing_layers_go_through_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    model = dn.Sequential([dn.Dense(3, 4), dn.LayerNorm(4), dn.Tanh(), dn.Dense(4, 2)], seed=0, dtype="float64")
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    whole = route(model, "mse", x, y, layer=1, source=1, target=1, sample=None)
    monkeypatch.setattr("densenet.explain.route_figures.rows_at_once", lambda subject: 3)
    parts = route(model, "mse", x, y, layer=1, source=1, target=1, sample=None)
    assert parts.total == pytest.approx(whole.total, rel=1e-13)
    assert parts.absolute == pytest.approx(whole.absolute, rel=1e-13)
    assert_allclose(parts.cancellations(), whole.cancellations(), rtol=1e-12)
    assert_allclose(parts.neuron_rms()[1], whole.neuron_rms()[1], rtol=1e-12)


def test_a_bias_has_the_paths_of_its_neuron(notes):
    found = route(*notes, layer=1, source="bias", target=3)
    weight = route(*notes, layer=1, source=1, target=3)
    assert found.element == "model.layers[0].b[2]"
    assert found.name == "b(1)_3"
    assert found.gradient == pytest.approx(weight.gradient / 0.9, rel=1e-13)
    path = found.paths()[0]
    assert path.neurons == ("bias", 3, 2, 2, 1)
    assert path.factors[0].name == "f'(z(1)_3)"
    assert found.path(("bias", 3, 2, 2, 1)) == path
    assert found.agrees
    assert "is the bias of neuron 3 of dense layer 1" in " ".join(found.to_text().split())


def test_a_float32_model_is_explained_in_float64_beside_its_own_value():
    rng = np.random.default_rng(0)
    model = dn.mlp([6, 8, 3], seed=0)
    x, y, loss = rng.normal(size=(4, 6)).astype(np.float32), [0, 2, 1, 1], dn.SoftmaxCrossEntropy()
    found = route(model, loss, x, y, layer=2, source=3, target=1, sample=None)
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    assert found.training_gradient == model.layers[2].dW[2, 0]
    assert found.dtype == np.float32
    assert found.gradient != found.training_gradient
    assert found.gradient == pytest.approx(found.training_gradient, rel=1e-4)
    assert found.agrees
    assert "training's own" in found.to_text()
    double = route(model.astype("float64"), loss, x, y, layer=2, source=3, target=1, sample=None)
    assert double.gradient == double.training_gradient == found.gradient


@pytest.mark.parametrize(
    "noise", [lambda: dn.Dropout(0.5), lambda: dn.AlphaDropout(0.3), lambda: dn.GaussianNoise(0.2)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_repeats_the_last_masks(noise, dtype):
    rng = np.random.default_rng(0)
    layers = [dn.Dense(3, 6), noise(), dn.Tanh(), dn.Dense(6, 5), noise(), dn.Dense(5, 2)]
    model = dn.Sequential(layers, seed=0, dtype=dtype)
    x, y, loss = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(4, 2)), dn.MeanSquaredError()
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    batch = route(model, loss, x, y, layer=1, source=2, target=3, sample=None, training=True)
    assert batch.training_gradient == model.layers[0].dW[1, 2]
    assert batch.agrees
    calm = route(model, loss, x, y, layer=1, source=2, target=3, sample=None)
    assert calm.gradient != batch.gradient
    each = [route(model, loss, x, y, layer=1, source=2, target=3, sample=s, training=True) for s in range(4)]
    assert np.mean([found.gradient for found in each]) == pytest.approx(batch.gradient, rel=1e-12)
    for found in each:
        total = sum(path.contribution for path in found.paths())
        assert total == pytest.approx(found.gradient, abs=1e-12 * found.absolute)


# -- size ----------------------------------------------------------------------------------------------------------


def test_a_network_of_a_million_weights_in_little_memory():
    model = dn.mlp([20, 512, 512, 512, 512, 10], activation="tanh", seed=0)
    x = np.random.default_rng(0).normal(size=(1, 20))
    tracemalloc.start()
    found = route(model, dn.SoftmaxCrossEntropy(), x, [3], layer=1, source=4, target=7)
    paths = found.paths(10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.n_paths == 512**3 * 10
    assert 0 < found.cancellation < 1
    assert len({path.neurons for path in paths}) == 10
    assert peak < 12 * 8 * model.params.size
    with pytest.raises(ValueError, match=r"1,342,177,280 paths, too many to list: paths\(10\) gives the ten largest"):
        found.paths()


def test_the_largest_of_many_equal_a_slower_exact_search():
    model = dn.mlp([3, 60, 60, 5], activation="tanh", seed=1, dtype="float64")
    x, y = np.array([[0.4, -1.0, 0.3]]), np.zeros((1, 5))
    found = route(model, "half_squared_error", x, y, layer=1, source=1, target=9)
    (_, S1, _, S2, out) = [np.asarray(a[0]) for a in model.activations(x)]
    W2, W3 = model.layers[2].W, model.layers[4].W
    slopes = 1 - S1[8] ** 2, 1 - S2**2
    every = 0.4 * slopes[0] * W2[8][:, None] * slopes[1][:, None] * W3 * out[None, :]
    order = np.argsort(-np.abs(every), axis=None)[:25]
    paths = found.paths(25)
    assert [path.neurons[2:] for path in paths] == [(int(i) // 5 + 1, int(i) % 5 + 1) for i in order]
    assert_allclose([path.contribution for path in paths], every.ravel()[order], rtol=1e-12)
    assert found.n_paths == 300


def test_counts_stay_exact_beyond_any_machine_integer():
    model = dn.mlp([2, *[90] * 12, 3], activation="tanh", seed=0)
    found = route(model, "mse", [[1.0, 2.0]], [[0.0, 0.0, 0.0]], layer=1, source=1, target=1)
    assert found.n_paths == 90**11 * 3
    assert len(found.paths(2)) == 2


# -- cancellation and attenuation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [1, None])
def test_cancellations_of_a_layer_are_those_of_each_weight(sample):
    rng = np.random.default_rng(0)
    model = dn.Sequential(
        [dn.Dense(3, 4), dn.ReLU(), dn.Dense(4, 3), dn.LayerNorm(3), dn.Dense(3, 2)], seed=0, dtype="float64"
    )
    x, y = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    for layer, dense in enumerate(model.dense_layers, start=1):
        arguments = {"layer": layer, "sample": sample}
        every = route(model, "mse", x, y, source=1, target=1, **arguments).cancellations()
        assert every.shape == dense.W.shape
        for i, j in np.ndindex(every.shape):
            one = route(model, "mse", x, y, source=i + 1, target=j + 1, **arguments)
            assert every[i, j] == pytest.approx(one.cancellation, abs=1e-12)
        biases = route(model, "mse", x, y, source="bias", target=1, **arguments).cancellations()
        one = route(model, "mse", x, y, source="bias", target=2, **arguments)
        assert biases.shape == dense.b.shape
        assert biases[1] == pytest.approx(one.cancellation, abs=1e-12)


def test_cancellation_of_all_weights_of_a_large_layer():
    model = dn.mlp([300, 400, 400, 400, 10], seed=0, dtype="float64")
    x = np.random.default_rng(0).normal(size=(1, 300))
    found = route(model, dn.SoftmaxCrossEntropy(), x, [1], layer=1, source=1, target=1)
    every = found.cancellations()
    assert every.shape == (300, 400)
    for i, j in ((0, 0), (17, 390), (299, 399)):
        one = route(model, dn.SoftmaxCrossEntropy(), x, [1], layer=1, source=i + 1, target=j + 1)
        assert every[i, j] == pytest.approx(one.cancellation, abs=1e-12)


def test_attenuation_follows_the_size_of_the_derivative(notes):
    model, _, x, y = notes
    stages = route(*notes, layer=1, source=1, target=3).attenuation()
    names = ["dE/dy^", "f'(z(4))", "w(4)", "f'(z(3))", "w(3)", "f'(z(2))", "w(2)", "f'(z(1))"]
    assert [stage.name for stage in stages] == names
    assert [stage.kind for stage in stages] == ["error", *["slopes", "weights"] * 3, "slopes"]
    outputs = [x, *model.activations(x)]
    delta = outputs[-1] - y
    wanted = [delta]
    for layer, a in zip(reversed(model.layers[1:]), reversed(outputs[2:]), strict=True):
        delta = delta * a * (1 - a) if isinstance(layer, dn.Sigmoid) else delta @ layer.W.T
        wanted.append(delta)
    sizes = [math.sqrt(np.mean(d**2)) for d in wanted]
    assert_allclose([stage.rms for stage in stages], sizes, rtol=1e-12)
    assert math.prod(stage.factor for stage in stages) == pytest.approx(sizes[-1] / sizes[0], rel=1e-12)
    assert stages[1].factor == pytest.approx(sizes[1] / sizes[0], rel=1e-12)
    last = route(*notes, layer=3, source=1, target=1).attenuation()
    assert [stage.name for stage in last] == names[:4]


def test_attenuation_of_a_batch_passes_containers_as_one_stage():
    rng = np.random.default_rng(0)
    layers = [dn.Dense(3, 4), dn.LayerNorm(4), dn.Residual([dn.Dense(4, 4), dn.Tanh()]), dn.Dense(4, 2)]
    model = dn.Sequential(layers, seed=0, dtype="float64")
    x, y, loss = rng.normal(size=(6, 3)), rng.normal(size=(6, 2)), dn.MeanSquaredError()
    stages = route(model, loss, x, y, layer=1, source=1, target=1, sample=None).attenuation()
    assert [(stage.name, stage.kind) for stage in stages] == [
        ("dE/dy^", "error"),
        ("w(3)", "weights"),
        ("Residual", "container"),
        ("LayerNorm'(1)", "mixing"),
    ]
    loss.forward(model.forward(x), y)
    delta = loss.backward()
    sizes = [np.sqrt(np.mean(delta**2))]
    for layer in reversed(model.layers[1:]):
        delta = layer.backward(delta.copy()).copy()
        sizes.append(np.sqrt(np.mean(delta**2)))
    assert_allclose([stage.rms for stage in stages], sizes, rtol=1e-12)


def test_neuron_rms_is_over_the_batch_whatever_the_sample(notes):
    model, loss, _, _ = notes
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 1))
    sizes = route(model, loss, x, y, layer=1, source=1, target=1, sample=2).neuron_rms()
    loss.forward(model.forward(x), y)
    delta = loss.backward()
    for number in (4, 3, 2, 1):
        delta = model.layers[2 * number - 1].backward(delta.copy()).copy()
        assert_allclose(sizes[number], np.sqrt(np.mean(delta**2, axis=0)), rtol=1e-12)
        delta = model.layers[2 * number - 2].backward(delta).copy()


def test_where_nothing_passes_everything_is_zero_and_said_so():
    model = dn.mlp([2, 2, 1], activation="relu", dtype="float64")
    model.layers[0].W, model.layers[0].b = [[1.0, 1.0], [1.0, 1.0]], [-9.0, 1.0]
    model.layers[2].W = [[1.0], [1.0]]
    found = route(model, "mse", [[1.0, 1.0]], [[0.0]], layer=1, source=1, target=1)
    assert (found.gradient, found.total, found.absolute, found.cancellation) == (0, 0, 0, 0)
    assert found.n_paths == 1
    assert found.paths()[0].share == 0
    assert found.agrees
    assert "has no value: a(1)_1 is 0" in found.to_text()
    assert found.cancellations().shape == (2, 2)


# -- explaining changes nothing ------------------------------------------------------------------------------------


def busy_model():
    layers = [
        dn.Dense(4, 6),
        dn.BatchNorm(6),
        dn.PReLU(),
        dn.Dropout(0.3),
        dn.Residual([dn.Dense(6, 6), dn.Tanh()]),
        dn.Dense(6, 3),
    ]
    return dn.Sequential(layers, seed=0)


def test_explaining_changes_nothing_and_training_goes_on_bit_for_bit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 4)).astype(np.float32), rng.integers(0, 3, 32)
    results = []
    for explained in (False, True):
        trainer = dn.Trainer(busy_model(), dn.SoftmaxCrossEntropy(), dn.Adam(0.01))
        for step in range(6):
            trainer.step(x, y)
            if explained:
                found = route(trainer.model, trainer.loss, x, y, layer=step % 3 + 1, source=1, target=2)
                found.paths(3), found.attenuation(), found.cancellations(), found.neuron_rms(), found.to_text()
        model = trainer.model
        prediction = model.forward(x)
        trainer.loss.forward(prediction, y)
        if explained:
            route(model, trainer.loss, x[:5], y[:5], layer=1, source=1, target=1, sample=None)
        model.backward(trainer.loss.backward())
        state = [a.copy() for top in model.layers for layer in top.walk() for a in layer.state.values()]
        random = [layer.generator.bit_generator.state for layer in model.layers if layer.generator is not None]
        results.append((model.params.copy(), model.grads.copy(), state, random))
    for plain, other in zip(results[0][:2], results[1][:2], strict=True):
        assert_array_equal(plain, other)
    for plain, other in zip(results[0][2], results[1][2], strict=True):
        assert_array_equal(plain, other)
    assert results[0][3] == results[1][3]


def test_the_route_stays_as_it_was_when_the_model_trains_on(notes):
    model, loss, x, y = notes
    found = route(model, loss, x, y, layer=1, source=1, target=3)
    before = found.to_text()
    dn.Trainer(model, loss, dn.SGD(0.5)).step(x, y)
    assert found.to_text() == before
    x[...] = 0
    assert found.to_text() == before


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 0}, r"has 4, numbered 1 to 4 \(layers count from 1, and only dense ones\), got layer=0"),
        ({"layer": 5}, r"this model has 4, numbered 1 to 4 .* got layer=5"),
        ({"layer": True}, "got layer=True"),
        ({"layer": 1.0}, r"got layer=1\.0"),
        ({"source": 0}, "dense layer 1 has 2 inputs, and there is no source 0: neurons count from 1 to 2"),
        ({"source": 3}, "dense layer 1 has 2 inputs, and there is no source 3"),
        ({"source": "2"}, "no source '2': it is a whole number from 1 to 2 or \"bias\""),
        ({"target": 0}, "dense layer 1 has 3 outputs, and there is no target 0: neurons count from 1 to 3"),
        ({"target": 4}, "no target 4: neurons count from 1 to 3"),
        ({"target": "bias"}, "no target 'bias': it is a whole number from 1 to 3"),
        ({"sample": 1}, "expects sample to be a row of x, 0, the only one, or None for the batch, got 1"),
        ({"sample": -1}, "got -1"),
        ({"sample": 0.5}, r"got 0\.5"),
        ({"x": [[np.nan, 1.0]]}, "route expects finite numbers, but x holds NaN at row 0, column 0"),
        ({"y": [[np.inf]]}, "inf at row 0"),
        ({"x": [[1.0, 2.0, 3.0]]}, r"route expects x of shape \(n, 2\), got \(1, 3\)"),
        ({"x": [1.0, 2.0]}, r"One row is x\[None, :\]"),
        ({"y": [[1.0], [2.0]]}, "route expects as many targets as rows, got x"),
        ({"y": [[1.0, 2.0]]}, r"expects y of shape \(n, 1\), got \(1, 2\)"),
    ],
)
def test_bad_input_says_what_exists(notes, arguments, message):
    model, loss, x, y = notes
    given = {"layer": 1, "source": 1, "target": 3, "x": x, "y": y} | arguments
    with pytest.raises(ValueError, match=message):
        route(model, loss, given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize(
    ("neurons", "message"),
    [
        ((1, 2, 2, 2, 1), r"the paths of this weight begin \(1, 3, \.\.\.\), got \(1, 2, 2, 2, 1\)"),
        ((1, 3, 2, 3, 1), "expects entry 4 to be a neuron of dense layer 3, from 1 to 2; got 3 in"),
        ((1, 3, 0, 2, 1), "expects entry 3 to be a neuron of dense layer 2, from 1 to 2; got 0 in"),
        ((1, 3, 2), "expects entry 4 to be a neuron of dense layer 3, from 1 to 2; got nothing"),
        ((1, 3, 2, 2, 1, 1), r"the path \(1, 3, 2, 2, 1\) is at the output already"),
    ],
)
def test_a_path_that_does_not_exist(notes, neurons, message):
    with pytest.raises(ValueError, match=message):
        route(*notes, layer=1, source=1, target=3).path(neurons)


def test_a_path_needs_the_name_where_a_layer_mixes():
    model = dn.Sequential([dn.Dense(2, 2), dn.LayerNorm(2), dn.Residual([dn.Tanh()]), dn.Dense(2, 1)], seed=0)
    found = route(model, "mse", [[1.0, 2.0]], [[0.0]], layer=1, source=1, target=1)
    with pytest.raises(ValueError, match=r"entry 3 to be \('LayerNorm', neuron\), neurons from 1 to 2; got 2"):
        found.path((1, 1, 2, 1))
    with pytest.raises(ValueError, match=r"entry 4 to be \('Residual', 'shortcut'\) or \('Residual', 'branch'\)"):
        found.path((1, 1, ("LayerNorm", 2), 1))


def test_wrong_kinds_of_things(notes):
    model, loss, x, y = notes
    with pytest.raises(TypeError, match="route expects a Sequential as its model"):
        route(model.layers, loss, x, y, layer=1, source=1, target=1)
    with pytest.raises(ValueError, match="knows no loss"):
        route(model, "msee", x, y, layer=1, source=1, target=1)
    with pytest.raises(ValueError, match="k to be a whole number of at least 1, got 0"):
        route(model, loss, x, y, layer=1, source=1, target=1).paths(0)
    with pytest.raises(ValueError, match="the model has none"):
        route(dn.Sequential([dn.Tanh()]), loss, x, x, layer=1, source=1, target=1)
    with pytest.raises(ValueError, match=r"dense layer 1, Dense\(2, 1, use_bias=False\), has no bias"):
        route(dn.Sequential([dn.Dense(2, 1, use_bias=False)]), loss, x, y, layer=1, source="bias", target=1)
    model.layers[2].W[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"W of Dense\(3, 2\) holds NaN at row 1, column 0"):
        route(model, loss, x, y, layer=1, source=1, target=1)


def test_batch_statistics_couple_samples():
    model = dn.Sequential([dn.Dense(2, 3), dn.BatchNorm(3), dn.Dense(3, 1)], seed=0)
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    with pytest.raises(ValueError, match=r"BatchNorm\(3\) takes its statistics from the batch .* leave training=False"):
        route(model, "mse", x, y, layer=1, source=1, target=1, training=True)
    assert route(model, "mse", x, y, layer=1, source=1, target=1).agrees


def test_there_have_to_be_masks_to_repeat():
    model = dn.Sequential([dn.Dense(2, 3), dn.Dropout(0.5), dn.Dense(3, 1)], seed=0)
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    with pytest.raises(
        ValueError, match=r"repeats the last training pass of Dropout\(0\.5\), which was never made; x has 4"
    ):
        route(model, "mse", x, y, layer=1, source=1, target=1, training=True)
    model.forward(x[:3])
    with pytest.raises(ValueError, match=r"which had 3 rows; x has 4\. Call model\.forward\(x\) first, with this x"):
        route(model, "mse", x, y, layer=1, source=1, target=1, training=True)


class Reverse(dn.Layer):
    mixes = True

    def forward(self, x, training=True):
        return x[:, ::-1].copy()

    def infer(self, x, out=None):
        return x[:, ::-1].copy()

    def backward(self, delta):
        return delta[:, ::-1].copy()


def test_layers_of_ones_own_are_passed_by_their_own_backward():
    model = dn.Sequential([dn.Dense(2, 3), Reverse(), dn.Dense(3, 1)], seed=0, dtype="float64")
    found = route(model, "mse", [[1.0, 2.0]], [[0.0]], layer=1, source=1, target=1)
    assert found.n_paths == 3
    assert found.agrees
    assert found.paths(1)[0].neurons == (1, 1, Passage("Reverse", 3), 1)


# -- showing it ----------------------------------------------------------------------------------------------------


class Balanced(html.parser.HTMLParser):
    """Complains about scripts and about tags that do not match."""

    def __init__(self, text):
        html.parser.HTMLParser.__init__(self)
        self.open, self.seen = [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert tag != "script"
        assert not any(name.startswith("on") or str(value).startswith("http") for name, value in attrs)
        if tag not in {"img", "meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["notes", *MIXED])
@pytest.mark.parametrize("sample", [0, None])
def test_every_display_says_where_counting_starts(notes, name, sample):
    model, loss, x, y = notes
    if name != "notes":
        rng = np.random.default_rng(0)
        model, loss, x, y = (
            dn.Sequential(MIXED[name](), seed=0),
            "mse",
            rng.normal(size=(2, 3)),
            rng.normal(size=(2, 2)),
        )
    found = route(model, loss, x, y, layer=1, source=1, target=2, sample=sample)
    text, latex, page = found.to_text(), found.to_latex(), found._repr_html_()
    for shown in (text, latex, page):
        flat = " ".join(shown.replace("\\\\\n&\\quad \\textbf{", "").replace("} ", " ").split())
        assert "count from 1" in flat
        assert f"{found.element.rsplit('[', 1)[0]}"[:12] in flat.replace("\\_", "_")
    assert f"{found.gradient:.6g}" in text
    assert found.element in repr(found)
    Balanced(page)
    depth = 0
    for mark in latex.replace("\\{", "").replace("\\}", ""):
        depth += (mark == "{") - (mark == "}")
        assert depth >= 0
    assert depth == 0
    assert latex.startswith("\\begin{aligned}")
    assert found._repr_latex_().startswith("$$")


def test_latex_can_be_set(notes):
    parser = MathTextParser("path")
    rng = np.random.default_rng(0)
    shown = [route(*notes, layer=1, source=1, target=3).to_latex(), dn.explain_step(*notes).to_latex()]
    for make in MIXED.values():
        data = dn.Sequential(make(), seed=0), "mse", rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
        shown += [route(*data, layer=1, source=1, target=2, sample=sample).to_latex() for sample in (0, None)]
    forms = set()
    for latex in shown:
        rows = latex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}").split(" \\\\\n")
        assert len(rows) > 10
        assert all(row.startswith("&") for row in rows)
        forms |= {re.sub(r"\d+(\.\d+)?", "2", row[1:]) for row in rows}
    for form in forms:
        parser.parse(f"${form}$".replace("textbf", "text"))


def test_latex_is_in_the_notes_notation(notes):
    latex = route(*notes, layer=1, source=1, target=3).to_latex()
    assert r"\frac{\partial E}{\partial w^{(1)}_{1,3}} = \frac{\partial E}{\partial w^{(4)}_{2,1}} \cdot" in latex
    assert r"f'(z^{(1)}_{3}) = 0.198962" in latex
    assert r"\frac{\partial E}{\partial \hat{y}_{1}} \cdot f'(z^{(4)}_{1})" in latex


def test_a_chosen_path_is_the_one_written_out(notes):
    found = route(*notes, layer=1, source=1, target=3)
    assert "The path 1-3-1-2-1 in four factors" in found.to_text(path=(1, 3, 1, 2, 1))
    assert "2 smaller" in found.to_text(k=2)
    assert isinstance(found.path((1, 3, 1, 2, 1)), Path)


def test_copies_of_a_route_are_the_same(notes):
    found = route(*notes, layer=1, source=1, target=3)
    assert copy.deepcopy(found).to_text() == found.to_text()


# -- the command ---------------------------------------------------------------------------------------------------


def run(*arguments):
    import argparse

    from densenet.cli.route import add_route_command

    parser = argparse.ArgumentParser()
    add_route_command(parser.add_subparsers())
    args = parser.parse_args(["route", *map(str, arguments)])
    args.run(args)


def test_the_command_shows_the_notes_route(capsys, tmp_path):
    run("--html", tmp_path / "route.html", "--plot", tmp_path / "route.png")
    shown = capsys.readouterr().out
    assert "The path 1-3-2-2-1 in four factors" in shown
    assert "model.layers[0].W[0, 2]" in shown
    page = (tmp_path / "route.html").read_text(encoding="utf-8")
    Balanced(page.removeprefix("<!DOCTYPE html>"))
    assert page.count("data:image/svg+xml;base64,") == 3
    assert (tmp_path / "route.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_takes_another_weight_and_path(capsys):
    run("--layer", 2, "--source", "bias", "--target", 2, "--path", "bias-2-1-1", "--paths", 1)
    shown = capsys.readouterr().out
    assert "b(2)_2" in shown
    assert "The path bias-2-1-1" in shown
    assert "1 smaller" in shown


def test_the_command_explains_a_saved_model(capsys, tmp_path):
    model = dn.Sequential([dn.Dense(2, 3), dn.LayerNorm(3), dn.Dense(3, 1)], seed=0)
    dn.persistence.save_model(model, tmp_path / "model.npz", loss=dn.MeanSquaredError())
    data = tmp_path / "rows.csv"
    data.write_text("a,b,y\n1,2,3\n4,5,6\n", encoding="utf-8")
    run(tmp_path / "model.npz", data, "--sample", 1, "--path", "1-1-LayerNorm 2-1")
    assert "row 1 of x alone" in capsys.readouterr().out
    run(tmp_path / "model.npz", data, "--sample", "batch")
    assert "the whole batch of 2 rows" in capsys.readouterr().out
    with pytest.raises(ValueError, match="DATA is needed"):
        run(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="--sample expects a whole number or \"batch\", got 'x'"):
        run("--sample", "x")
    data.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"has 2 columns; .* needs 2 inputs, then the targets"):
        run(tmp_path / "model.npz", data)
    model.save(tmp_path / "bare.npz")
    with pytest.raises(ValueError, match="saved without its loss: name it with --loss"):
        run(File(tmp_path / "bare.npz"), data)


def test_the_command_explains_a_model_of_the_shipped_digits(capsys, tmp_path):
    dn.persistence.save_model(dn.mlp([64, 8, 10], seed=0), tmp_path / "m.npz", loss=dn.SoftmaxCrossEntropy())
    run(tmp_path / "m.npz", "--source", 20, "--target", 2)
    assert "model.layers[0].W[19, 1]" in capsys.readouterr().out


def test_the_command_draws_a_batch_too(capsys, tmp_path):
    dn.persistence.save_model(dn.mlp([2, 3, 1], seed=0), tmp_path / "model.npz", loss=dn.MeanSquaredError())
    data = tmp_path / "rows.csv"
    data.write_text("a,b,y\n1,2,3\n4,5,6\n", encoding="utf-8")
    run(tmp_path / "model.npz", data, "--sample", "batch", "--plot", tmp_path / "batch.png")
    assert "picture written to" in capsys.readouterr().out
    assert (tmp_path / "batch.png").read_bytes().startswith(b"\x89PNG")


def test_the_first_line_says_whose_error_it_is_and_how_to_get_the_others():
    model, x, y = dn.mlp([2, 3, 1], seed=0), np.array([[1.0, 2], [3, 4]]), np.array([1.0, 2])
    weight = {"layer": 1, "source": 1, "target": 2}
    one = "E is the error of row 0 of x alone (for the whole batch of 2 rows: "
    whole = "E is the error of the whole batch of 2 rows (for row 0 of x alone: "
    for explain in (route, dn.sensitivity):
        row, batch = (explain(model, "mse", x, y, **weight, sample=sample) for sample in (0, None))
        for found, first in ((row, f"{one}sample=None)"), (batch, f"{whole}sample=0)")):
            assert first in str(found).splitlines()[0]
            assert first in found._repr_html_().splitlines()[0 if explain is dn.sensitivity else 1]
    gradients = [(layer.dW, layer.db) for layer in model.dense_layers]
    for found in (dn.explain_step(model, "mse", x, y), dn.diagnose_gradients(model, "mse", x, y, gradients)):
        assert f"{whole}x[:1], y[:1])" in str(found).splitlines()[0]
    for found in (dn.explain_step(model, "mse", x[:1], y[:1]), route(model, "mse", x[:1], y[:1], **weight)):
        assert "E is the error of row 0 of x, the only one" in str(found).splitlines()[0]


OPTIONS = {
    "sample": [[], ["--sample", "batch"], ["--sample", "7"]],
    "path": [[], ["--path", "1-3-2-2-1"], ["--path", "1-9"]],
    "paths": [[], ["--paths", "0"]],
    "plot": [[], ["--plot", "p.png"], ["--plot", "p.xyz"], ["--plot", "missing/p.svg"]],
    "html": [[], ["--html", "r.html"], ["--html", "missing/r.html"], ["--html", "p.png"]],
    "loss": [[], ["--loss", "mse"]],
}


def drawn_once(draw):
    kept = {}

    def again(found, *rest):
        if repr(rest) not in kept:
            kept[repr(rest)] = draw(found, *rest)
        return kept[repr(rest)]

    return again


def test_the_command_works_or_refuses_before_it_prints(tmp_path, monkeypatch, capsys):
    """Every pair of options, and whatever else follows from the first that is wrong; each picture is drawn once."""
    monkeypatch.chdir(tmp_path)
    for name in ("_picture", "_page"):
        monkeypatch.setattr(f"densenet.cli.route.{name}", drawn_once(getattr(densenet.cli.route, name)))
    combinations = {tuple(map(tuple, c)) for c in itertools.product(*OPTIONS.values()) if sum(map(bool, c)) <= 2}
    worked = 0
    for combination in sorted(combinations):
        words = [word for option in combination for word in option]
        try:
            code = main(["route", *words])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert bool(out) == (code == 0) == (not err), words
        made = {path.name for path in tmp_path.iterdir()}
        assert made == ({word for word in words if "." in word} if code == 0 else set()), words
        for path in tmp_path.iterdir():
            path.unlink()
        worked += code == 0
    assert worked >= 10


def test_the_command_names_its_own_options(capsys):
    main(["route", "--sample", "batch"])
    assert "row 0 of x, the only one" in capsys.readouterr().out.splitlines()[0]


def test_products_are_set_and_the_x_of_a_sentence_is_not(notes):
    from densenet.explain.notation import html_text

    assert html_text("the error of row 0 of x alone") == "the error of row 0 of x alone"
    assert html_text("2 x 3 x (-1) x a(1)_1 x f'(z(1)_1)").count("&middot;") == 4


def test_no_zero_carries_a_sign():
    from densenet.explain.notation import digits

    assert digits(-0.0) == "0"
