"""Mistakes made by hand, in a backward pass that shares nothing with the package, and the names they are given."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import densenet as dn
from densenet.datasets.notes import notes_network
from densenet.explain import diagnose_gradients

TANH = (np.tanh, lambda z: 1 - np.tanh(z) ** 2)
SIGMOID = (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2)
LINEAR = (lambda z: z, np.ones_like)


def by_hand(model, x, y, functions, *, output="squared", mistake="", at=None, rate=0.0):
    """(dW, db) by dense layer, as a student writes it, with one mistake. `at` is a dense layer from 1."""
    W = [layer.W.astype(float) for layer in model.dense_layers]
    b = [layer.b.astype(float) for layer in model.dense_layers]
    n, count = len(x), len(W)
    a, z = [x], []
    for i in range(count):
        z.append(a[-1] @ W[i] + b[i])
        a.append(functions[i][0](z[-1]))
    if output == "softmax":
        p = np.exp(a[-1]) / np.exp(a[-1]).sum(axis=1, keepdims=True)
        delta = (p - y) / n
        if mistake == "softmax twice":
            delta = np.stack([(np.diag(q) - np.outer(q, q)) @ d for q, d in zip(p, delta, strict=True)])
        if mistake == "p (1 - p)":
            delta = delta * p * (1 - p)
    elif output == "binary":
        p = 1 / (1 + np.exp(-a[-1]))
        delta = (p - y) / n / y.shape[1]
        if mistake == "sigmoid twice":
            delta = delta * p * (1 - p)
    else:
        delta = 2 * (a[-1] - y) / n / y.shape[1]
    found = []
    for i in range(count - 1, -1, -1):
        f = functions[i][1]
        forgotten = mistake == "no slope" and (at is None or i + 1 in at)
        wrong_place = mistake == "slope at a" and (at is None or i + 1 in at)
        delta = delta * (1 if forgotten else f(a[i + 1]) if wrong_place else f(z[i]))
        enters = {"own a": a[i + 1], "z before": z[i - 1]}.get(mistake, a[i]) if at and i + 1 in at else a[i]
        dW, db = enters.T @ delta, delta.sum(axis=0)
        found.append((dW, delta if mistake == "db unsummed" else delta.mean(axis=0) if mistake == "db mean" else db))
        if mistake == "transposed" and W[i].shape[0] == W[i].shape[1] and (at is None or i + 1 in at):
            delta = delta @ W[i]
        else:
            delta = delta @ (W[i] - rate * dW).T
    return found[::-1]


def scaled(gradients, factor):
    return [(dW * factor, db * factor) for dW, db in gradients]


@pytest.fixture
def squared():
    """4-3-3-2 with tanh, tanh, sigmoid; mean squared error; five rows."""
    model = dn.Sequential(
        [dn.Dense(4, 3), dn.Tanh(), dn.Dense(3, 3), dn.Tanh(), dn.Dense(3, 2), dn.Sigmoid()], seed=1, dtype="float64"
    )
    rng = np.random.default_rng(0)
    for layer in model.dense_layers:
        layer.b = rng.normal(size=layer.b.shape)
    return model, dn.MeanSquaredError(), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))


def hand(squared, **mistake):
    model, _, x, y = squared
    return by_hand(model, x, y, [TANH, TANH, SIGMOID], **mistake)


def test_right_ones_are_correct(squared):
    found = diagnose_gradients(*squared, hand(squared))
    assert found.correct is True
    assert bool(found)
    assert found.mistakes == ()
    assert found.layer is None
    assert found.max_error < 1e-12
    assert found.layout == "(in, out)"
    assert str(found).startswith("correct: E is the error of the whole batch of 5 rows (for row 0 of x alone: ")


WRONG = [
    ({"mistake": "no slope"}, "slope forgotten everywhere", 3),
    ({"mistake": "no slope", "at": [3]}, "slope forgotten at the output only", 3),
    ({"mistake": "no slope", "at": [1, 2]}, "slope forgotten in the hidden layers", 2),
    ({"mistake": "no slope", "at": [1]}, "slope forgotten in one layer", 1),
    ({"mistake": "slope at a"}, "slope taken at a instead of z", 3),
    ({"mistake": "slope at a", "at": [1, 2]}, "slope taken at a instead of z", 2),
    ({"mistake": "slope at a", "at": [2]}, "slope taken at a instead of z", 2),
    ({"mistake": "own a", "at": [2]}, "a of the wrong layer", 2),
    ({"mistake": "z before", "at": [2, 3]}, "a of the wrong layer", 3),
    ({"mistake": "db unsummed"}, "db not summed", 3),
    ({"mistake": "db mean"}, "db not summed", 3),
    ({"mistake": "transposed"}, "transposed weights in the backward pass", 1),
    ({"rate": 0.3}, "weights updated before the delta passed on", 2),
    ({"rate": 7.0}, "weights updated before the delta passed on", 2),
]


@pytest.mark.parametrize(("mistake", "name", "layer"), WRONG)
def test_a_mistake_is_named_with_the_layer_where_it_starts(squared, mistake, name, layer):
    found = diagnose_gradients(*squared, hand(squared, **mistake))
    assert name in found.mistakes
    assert found.found[0].name == name or mistake["mistake"] == "db mean"
    assert found.layer == layer
    assert not found
    assert name in str(found)
    assert name in found._repr_html_()
    if "rate" in mistake:
        assert found.learning_rate == pytest.approx(mistake["rate"], rel=1e-8)
        assert f"learning rate {mistake['rate']:g}" in str(found)
    else:
        assert found.learning_rate is None


@pytest.mark.parametrize(
    ("factor", "name"),
    [
        (-1, "sign or prediction and target swapped"),
        (2, "2/n beside 1/n"),
        (0.5, "2/n beside 1/n"),
        (5, "sum in place of mean"),
        (10, "sum in place of mean"),
        (0.2, "1/n twice"),
    ],
)
def test_factors(squared, factor, name):
    found = diagnose_gradients(*squared, scaled(hand(squared), factor))
    assert name in found.mistakes
    assert found.layer == 3


def test_factors_of_weights_or_biases_alone(squared):
    right = hand(squared)
    assert diagnose_gradients(*squared, [(5 * dW, db) for dW, db in right]).mistakes == ("sum in place of mean",)
    assert diagnose_gradients(*squared, [(dW, 5 * db) for dW, db in right]).mistakes == ("sum in place of mean",)
    assert diagnose_gradients(*squared, [(dW / 5, db) for dW, db in right]).mistakes == ("1/n twice",)


def test_all_that_coincide_are_named(squared):
    model, loss, x, y = squared
    two = (model, loss, x[:2], y[:2])
    found = diagnose_gradients(*two, scaled(hand(two), 2))
    assert found.mistakes == ("2/n beside 1/n", "sum in place of mean")
    assert [m.name for m in found.found] == ["2/n beside 1/n"]
    assert {m.detail for m in found.also} == {"over the 2 samples", "over the 2 outputs"}
    one = (model, loss, x[:1], y[:1])
    assert diagnose_gradients(*one, scaled(hand(one), 1 / 1)).correct
    linear = dn.Sequential([dn.Dense(2, 2), dn.Sigmoid(), dn.Dense(2, 1)], seed=0, dtype="float64")
    data = linear, loss, x[:, :2], y[:, :1]
    given = by_hand(linear, data[2], data[3], [SIGMOID, LINEAR], mistake="no slope")
    found = diagnose_gradients(*data, given)
    assert found.mistakes == ("slope forgotten in the hidden layers", "slope forgotten everywhere")
    assert found.layer == 1
    assert "On this network the same numbers come from:" in str(found)


def test_two_at_once_when_one_is_a_factor(squared):
    found = diagnose_gradients(*squared, scaled(hand(squared, mistake="no slope"), 2))
    assert [m.name for m in found.found] == ["2/n beside 1/n", "slope forgotten everywhere"]
    assert [m.detail for m in found.also] == ["over the 2 outputs"]
    assert found.together
    assert "Two mistakes at once" in str(found)
    assert not diagnose_gradients(*squared, hand(squared, mistake="no slope")).together


@pytest.mark.parametrize("mistake", ["softmax twice", "p (1 - p)"])
@pytest.mark.parametrize("layer", [False, True])
def test_softmax_twice(mistake, layer):
    rng = np.random.default_rng(0)
    model = dn.mlp(
        [3, 4, 3], activation="tanh", output_activation="softmax" if layer else None, seed=0, dtype="float64"
    )
    loss = dn.CategoricalCrossEntropy() if layer else dn.SoftmaxCrossEntropy()
    x, labels = rng.normal(size=(4, 3)), rng.integers(0, 3, 4)
    functions = [TANH, LINEAR]
    right = by_hand(model, x, np.eye(3)[labels], functions, output="softmax")
    assert diagnose_gradients(model, loss, x, labels, right).correct
    wrong = by_hand(model, x, np.eye(3)[labels], functions, output="softmax", mistake=mistake)
    found = diagnose_gradients(model, loss, x, labels, wrong)
    assert found.mistakes == ("softmax's derivative applied twice",)
    assert found.layer == 2


def test_sigmoid_twice():
    rng = np.random.default_rng(0)
    model = dn.mlp([3, 4, 2], activation="tanh", seed=0, dtype="float64")
    x, y = rng.normal(size=(4, 3)), rng.integers(0, 2, (4, 2))
    wrong = by_hand(model, x, y, [TANH, LINEAR], output="binary", mistake="sigmoid twice")
    found = diagnose_gradients(model, dn.SigmoidCrossEntropy(), x, y, wrong)
    assert found.mistakes == ("sigmoid's derivative applied twice",)


def test_transposed_in_one_of_several_square_layers():
    rng = np.random.default_rng(0)
    model = dn.mlp([3, 3, 3, 3], activation="tanh", seed=0, dtype="float64")
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    wrong = by_hand(model, x, y, [TANH, TANH, LINEAR], mistake="transposed", at=[3])
    found = diagnose_gradients(model, "mse", x, y, wrong)
    assert found.mistakes == ("transposed weights in the backward pass",)
    assert found.layer == 2
    assert "w(3)" in found.found[0].detail


def test_none_of_these(squared):
    rng = np.random.default_rng(3)
    wrong = [(dW + 0.01 * rng.normal(size=dW.shape), db) for dW, db in hand(squared)]
    found = diagnose_gradients(*squared, wrong)
    assert not found.correct
    assert found.mistakes == ()
    assert found.layer == 3
    assert "none of these" in str(found)
    assert 0 < found.max_error < 10
    only_first = hand(squared)
    only_first[0] = (only_first[0][0] * 1.001, only_first[0][1])
    found = diagnose_gradients(*squared, only_first)
    assert found.mistakes == ("a constant factor",)
    assert found.found[0].detail == "1.001 times the right one; in dW(1)"
    assert found.layer == 1
    assert found.max_error == pytest.approx(0.001, rel=1e-6)


def test_the_other_layout_is_accepted_and_named(squared):
    right = hand(squared)
    found = diagnose_gradients(*squared, [(dW.T, db[:, None]) for dW, db in right])
    assert found.correct
    assert found.layout == "(out, in)"
    assert "laid out (out, in)" in str(found)
    wrong = hand(squared, mistake="no slope")
    assert diagnose_gradients(*squared, [(dW.T, db) for dW, db in wrong]).mistakes == ("slope forgotten everywhere",)
    flat = np.concatenate([part.ravel() for dW, db in right for part in (dW.T, db)])
    assert diagnose_gradients(*squared, flat).layout == "(out, in)"
    assert diagnose_gradients(*squared, flat).correct


def test_flat_vectors_and_kept_dimensions(squared):
    model, loss, x, y = squared
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    assert diagnose_gradients(*squared, model.grads).correct
    assert diagnose_gradients(*squared, -model.grads).mistakes == ("sign or prediction and target swapped",)
    assert diagnose_gradients(*squared, [(dW.tolist(), db[None, :]) for dW, db in hand(squared)]).correct


def test_layers_without_bias_and_with_parameters_of_their_own():
    rng = np.random.default_rng(0)
    layers = [dn.Dense(3, 3, use_bias=False), dn.BatchNorm(3), dn.PReLU(), dn.Dropout(0.5), dn.Dense(3, 1)]
    model = dn.Sequential(layers, seed=0, dtype="float64")
    loss, x, y = dn.HalfSquaredError(), rng.normal(size=(4, 3)), rng.normal(size=(4, 1))
    loss.forward(model.forward(x, training=False), y)
    model.backward(loss.backward())
    first, last = model.dense_layers
    assert diagnose_gradients(model, loss, x, y, model.grads).correct
    assert diagnose_gradients(model, loss, x, y, [(first.dW, None), (last.dW, last.db)]).correct
    assert diagnose_gradients(model, loss, x, y, [first.dW, (last.dW, last.db)]).correct
    dense_only = np.concatenate([first.dW.ravel(), last.dW.ravel(), last.db])
    assert diagnose_gradients(model, loss, x, y, dense_only).correct


def test_float32_gradients_are_measured_with_their_own_tolerance():
    rng = np.random.default_rng(0)
    model = dn.mlp([5, 6, 3], seed=0)
    x, y, loss = rng.normal(size=(8, 5)).astype(np.float32), rng.integers(0, 3, 8), dn.SoftmaxCrossEntropy()
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    assert diagnose_gradients(model, loss, x, y, model.grads).correct
    assert not diagnose_gradients(model, loss, x, y, model.grads, tolerance=1e-12).correct
    assert diagnose_gradients(model, loss, x, y, 2 * model.grads).mistakes == ("2/n beside 1/n",)
    assert not diagnose_gradients(model, loss, x, y, model.grads.astype(float) * (1 + 3e-5)).correct


def test_on_the_notes_network():
    model, loss, x, y = notes_network()
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    grads = model.grads.copy()
    found = diagnose_gradients(model, loss, x, y, grads)
    assert found.correct
    assert_array_equal(model.grads, grads)
    assert found.errors[0] == ("dW(1)", 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda g: g[:2],
            r"expects a list of 3 pairs \(dW, db\), one a dense layer, or the flat vector; got 2 entries",
        ),
        (lambda g: 3.0, "got float"),
        (lambda g: [(g[0][0][:2], g[0][1]), *g[1:]], r"expects dW of layer 1 of shape \(4, 3\), got \(2, 3\)"),
        (lambda g: [*g[:2], (g[2][0], g[2][1][:1])], r"expects db of layer 3 of shape \(2,\), got \(1,\)"),
        (lambda g: [(g[0][0].ravel(), g[0][1]), *g[1:]], r"expects dW of layer 1 of shape \(4, 3\), got shape \(12,\)"),
        (lambda g: [(g[0][0], None), *g[1:]], r"expects db of shape \(3,\) for layer 1, got none"),
        (lambda g: [(g[0][0] * np.nan, g[0][1]), *g[1:]], "dW of layer 1 holds NaN at row 0, column 0"),
        (lambda g: np.ones(7), "expects a flat vector of 35 entries, like params, got 7"),
        (lambda g: np.full(35, np.inf), "gradients holds inf at row 0"),
    ],
)
def test_gradients_that_are_none(squared, change, message):
    with pytest.raises(ValueError, match=message):
        diagnose_gradients(*squared, change(hand(squared)))


@pytest.mark.parametrize(
    ("nested", "remedy"),
    [
        (lambda g: [array for pair in g for array in pair], r"dW and db in turn: list\(zip\(g\[::2\], g\[1::2\]\)\)"),
        (lambda g: list(zip(*g, strict=True)), r"all dW, then all db: list\(zip\(\*g\)\)"),
        (lambda g: {"dW1": g[0][0], "db1": g[0][1]}, "got dict. Pair its arrays by layer"),
        (lambda g: [(db, dW) for dW, db in g], "got shape .*. In a pair dW stands before db."),
        (lambda g: [g], "got 1 entries"),
        (lambda g: [dW for dW, _ in g], r"expects db of shape \(3,\) for layer 1, got none"),
        (lambda g: [[dW, db, db] for dW, db in g], "layer 1"),
    ],
)
def test_arrays_in_another_nesting_get_the_remedy(squared, nested, remedy):
    with pytest.raises((TypeError, ValueError), match=remedy):
        diagnose_gradients(*squared, nested(hand(squared)))


@pytest.mark.parametrize("widths", [[3, 2], [3, 3, 3], [4, 5, 1], [2, 1, 1], [4, 3, 2, 2]])
def test_the_remedies_lead_to_pairs(widths):
    model = dn.mlp(widths, activation="tanh", seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, widths[0])), rng.normal(size=(5, widths[-1]))
    pairs = by_hand(model, x, y, [TANH] * (len(widths) - 2) + [LINEAR])
    assert diagnose_gradients(model, "mse", x, y, pairs).correct
    in_turn = [array for pair in pairs for array in pair]
    by_kind = list(zip(*pairs, strict=True))
    for wrong in (in_turn, by_kind):
        with pytest.raises(ValueError, match="pairs them"):
            diagnose_gradients(model, "mse", x, y, wrong)


def test_models_it_does_not_know():
    model = dn.Sequential([dn.Dense(2, 2), dn.Residual([dn.Tanh()])], seed=0)
    with pytest.raises(ValueError, match=r"plain chains of layers, and Residual\(.*\) is a container"):
        diagnose_gradients(model, "mse", [[1.0, 2.0]], [[0.0, 0.0]], model.grads)
    with pytest.raises(ValueError, match="the model has none"):
        diagnose_gradients(dn.Sequential([dn.Tanh()]), "mse", [[1.0]], [[0.0]], [])
    with pytest.raises(TypeError, match="real numbers"):
        diagnose_gradients(*notes_network(), [("a", "b")] * 4)


def test_an_activation_of_another_width_is_recognised_by_its_shape(squared):
    wrong = hand(squared)
    wrong[1] = (squared[2].T @ wrong[1][1][None, :].repeat(5, axis=0), wrong[1][1])
    with pytest.raises(ValueError, match=r"expects dW of layer 2 of shape \(3, 3\), got \(4, 3\)"):
        diagnose_gradients(*squared, wrong)
    delta = hand(squared, mistake="db unsummed")[1][1]
    wrong[1] = (squared[2].T @ delta, delta.sum(axis=0))
    found = diagnose_gradients(*squared, wrong)
    assert found.mistakes == ("a of the wrong layer",)
    assert "the input" in found.found[0].detail
    assert found.layer == 2
