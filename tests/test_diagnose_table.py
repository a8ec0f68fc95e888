"""Mistakes times networks: what plain loops give with a mistake in them is named, with its layer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from backward_by_loops import MISTAKES, Made, Network, backward, drawn
from judge_diagnoses import as_model, diagnosed, pair, single

import densenet as dn

SECONDS = ("everything times -1", "everything times n", "no slope", "db's mean", "last row", "dW times 2")


def judged(rng, draw, count, tries=40):
    """The first verdicts of a draw that makes a difference."""
    made = (draw(at) for at in range(tries * count))
    return list(itertools.islice((verdict for verdict in made if verdict is not None), count))


def misses(verdicts):
    return [str(verdict) for verdict in verdicts if not verdict.good]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_layer(name):
    rng, where = np.random.default_rng(len(name)), MISTAKES[name].where
    verdicts = judged(rng, lambda at: single(name, where[at % len(where)], rng), 3)
    assert len(verdicts) == 3
    assert not misses(verdicts)


def test_mistakes_in_float32_are_named():
    rng = np.random.default_rng(0)
    verdicts = [single(name, mistake.where[0], rng, np.float32) for name, mistake in MISTAKES.items()]
    verdicts = [verdict for verdict in verdicts if verdict is not None]
    assert len(verdicts) > 0.4 * len(MISTAKES)
    assert len(misses(verdicts)) <= 0.02 * len(verdicts), misses(verdicts)


def test_pairs_are_named():
    rng = np.random.default_rng(1)
    verdicts = [
        verdict
        for at, name in enumerate([*MISTAKES][::2])
        for verdict in judged(rng, lambda n, name=name, at=at: pair(name, SECONDS[(n + at) % len(SECONDS)], rng), 1)
    ]
    assert len(verdicts) > 0.4 * len(MISTAKES)
    assert len(misses(verdicts)) <= 0.02 * len(verdicts), misses(verdicts)


def network(rng, count, kind, loss, n):
    """A network of one kind of function, as arrays and as a model."""
    widths = [int(w) for w in rng.choice([3, 5, 6, 7], count + 1)]
    y = np.eye(widths[-1])[rng.integers(0, widths[-1], n)] if loss == "softmax" else rng.normal(size=(n, widths[-1]))
    net = Network(
        [rng.normal(size=shape) / np.sqrt(shape[0]) for shape in itertools.pairwise(widths)],
        [rng.normal(size=width) * 0.5 for width in widths[1:]],
        rng.normal(size=(n, widths[0])),
        y,
        [kind] * (count - 1) + ["softmax" if loss == "softmax" else kind],
        loss,
    )
    return net, (*as_model(net, rng), net.x, net.y)


@pytest.mark.parametrize("undifferentiated", [False, True])
@pytest.mark.parametrize("n", [1, 5])
def test_the_rate_of_weights_updated_too_early_is_found(n, undifferentiated):
    net, arguments = network(np.random.default_rng(n), 3, "sigmoid", "half", n)
    made = Made("undifferentiated, updated" if undifferentiated else "updated", (2, 3), 0.3)
    found = dn.diagnose_gradients(*arguments, backward(net, (made,)))
    name = "error passed on without its slope, through updated weights"
    assert found.found[0].name == (name if undifferentiated else "weights updated before the delta passed on")
    assert found.learning_rate == pytest.approx(0.3, rel=1e-6)
    assert found.layer == 2


def test_right_gradients_are_never_given_a_name():
    rng = np.random.default_rng(2)
    for name in MISTAKES:
        net = drawn(rng, name)
        right = backward(net)
        for dtype in (np.float64, np.float32):
            found = diagnosed(net, right, (), rng, dtype)
            assert found.correct
            assert found.mistakes == ()


@pytest.mark.parametrize("targets", [np.float32, np.float64])
def test_float32_arithmetic_is_right_and_its_mistakes_are_named(targets):
    """Float64 targets make float64 numbers of what was computed in float32."""
    rng = np.random.default_rng(3)
    net, arguments = network(rng, 3, "tanh", "softmax", 5)
    W, b, x = [w.astype(np.float32) for w in net.W], [v.astype(np.float32) for v in net.b], net.x.astype(np.float32)

    def by_hand(slope):
        a = [x]
        for w, v in zip(W[:-1], b[:-1], strict=True):
            a.append(np.tanh(a[-1] @ w + v))
        e = np.exp(a[-1] @ W[-1] + b[-1])
        D = (e / e.sum(axis=1, keepdims=True) - net.y.astype(targets)) / np.float32(5)
        found = []
        for i in (2, 1, 0):
            found.append((a[i].T @ D, D.sum(axis=0)))
            D = (D @ W[i].T) * slope(a[i])
        assert found[0][0].dtype == targets
        return found[::-1]

    assert dn.diagnose_gradients(*arguments, by_hand(lambda a: 1 - a**2)).correct
    assert dn.diagnose_gradients(*arguments, by_hand(lambda a: 1 + a**2)).mistakes == ("slope by a wrong formula",)
    assert not dn.diagnose_gradients(*arguments, by_hand(lambda a: (1 - a**2) * 1.001)).correct


def test_random_wrong_gradients_get_no_name():
    rng = np.random.default_rng(3)
    for count, n in itertools.product((1, 2, 3), (1, 5)):
        net, arguments = network(rng, count, "tanh", "half", n)
        noise = [(rng.normal(size=dW.shape), rng.normal(size=db.shape)) for dW, db in backward(net)]
        found = dn.diagnose_gradients(*arguments, noise)
        assert not found.correct
        assert found.mistakes == ()
        assert "none of these" in str(found)


def test_the_step_without_the_rate_is_a_factor():
    net, arguments = network(np.random.default_rng(0), 2, "tanh", "softmax", 5)
    steps = [(0.07 * dW, 0.07 * db) for dW, db in backward(net)]
    found = dn.diagnose_gradients(*arguments, steps, learning_rate=0.07)
    assert found.mistakes == ("the step in place of the gradient",)
    assert "learning rate 0.07" in found.found[0].detail
    assert dn.diagnose_gradients(*arguments, steps).mistakes == ("a constant factor",)


def test_one_wrong_array_is_named_alone():
    net, arguments = network(np.random.default_rng(1), 3, "tanh", "half", 5)
    given = backward(net)
    given[1] = (given[1][0], given[1][1] / 5)
    found = dn.diagnose_gradients(*arguments, given)
    assert found.wrong == ("db(2)",)
    assert found.layer == 2
    assert "db(2): the mean over rows was taken" in {m.detail for m in (*found.found, *found.also)}
    assert "Only db(2) is wrong; every other array is right." in str(found)


def penalised(lam=0.3):
    net, (_, loss, x, y) = network(np.random.default_rng(4), 2, "tanh", "half", 5)
    model, _ = as_model(replace(net, decay=lam), np.random.default_rng(0))
    return (model, loss, x, y), net.W, net.b, backward(net), lam


def test_penalties():
    arguments, W, b, plain, lam = penalised()
    full = [(dW + 2 * lam * w, db) for (dW, db), w in zip(plain, W, strict=True)]
    for given, held in ((plain, False), (full, True)):
        found = dn.diagnose_gradients(*arguments, given)
        assert found.correct
        assert found.penalty is held
        assert ("without the penalties'" in str(found)) is not held
        assert dn.diagnose_gradients(*arguments, given, penalty=held).correct
        wrong = dn.diagnose_gradients(*arguments, given, penalty=not held)
        assert wrong.mistakes == ("the penalty's derivative",)
        assert ("left out" if not held else "added") in wrong.found[0].detail
    half = [(dW + lam * w, db) for (dW, db), w in zip(plain, W, strict=True)]
    assert "without its 2" in dn.diagnose_gradients(*arguments, half).found[0].detail
    on_biases = [(dW, db + 2 * lam * v) for (dW, db), v in zip(full, b, strict=True)]
    assert dn.diagnose_gradients(*arguments, on_biases).mistakes == ("penalty on the biases",)
    with pytest.raises(ValueError, match="expects penalty to be True, False"):
        dn.diagnose_gradients(*arguments, full, penalty="no")


def test_dropout_with_given_masks():
    rng = np.random.default_rng(5)
    model = dn.Sequential([dn.Dense(3, 6), dn.Tanh(), dn.Dropout(0.5), dn.Dense(6, 3)], seed=0, dtype="float64")
    (V, c), (W, b) = [(layer.W, layer.b) for layer in model.dense_layers]
    x, y, mask = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), (rng.random((5, 6)) < 0.5).astype(float)
    a = np.tanh(x @ V + c)
    h = a * mask * 2
    D = (h @ W + b - y) / 5

    def given(factor):
        d = D @ W.T * factor * (1 - a**2)
        return [(x.T @ d, d.sum(axis=0)), (h.T @ D, D.sum(axis=0))]

    def diagnosed(factor, **more):
        return dn.diagnose_gradients(model, dn.HalfSquaredError(), x, y, given(factor), **more)

    assert diagnosed(mask * 2, masks=[mask]).correct
    assert diagnosed(mask * 2, masks=[2 * mask]).correct
    for factor, detail in (
        (2, "the mask left out"),
        (mask, "its 1 / (1 - rate) left out"),
        (1, "mask and scale left out"),
    ):
        found = diagnosed(factor, masks=[mask])
        assert "dropout in the backward pass" in found.mistakes
        assert detail in " ".join(m.detail for m in (*found.found, *found.also))
    with pytest.raises(ValueError, match="expects one mask for every Dropout, 1, got 2"):
        diagnosed(mask, masks=[mask, mask])


@pytest.mark.parametrize("left_out", ["", "mean", "variance", "both"])
def test_batch_normalization_in_training(left_out):
    rng = np.random.default_rng(6)
    model = dn.Sequential([dn.Dense(3, 5), dn.BatchNorm(5), dn.Tanh(), dn.Dense(5, 3)], seed=0, dtype="float64")
    (V, c), (W, b) = [(layer.W, layer.b) for layer in model.dense_layers]
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    z = x @ V + c
    root = np.sqrt(z.var(axis=0) + 1e-5)
    u = (z - z.mean(axis=0)) / root
    a = np.tanh(u)
    D = (a @ W + b - y) / 7
    d = D @ W.T * (1 - a**2)
    mean = 0 if left_out in ("mean", "both") else d.mean(axis=0)
    variance = 0 if left_out in ("variance", "both") else u * (d * u).mean(axis=0)
    d = (d - mean - variance) / root
    found = dn.diagnose_gradients(
        model, dn.HalfSquaredError(), x, y, [(x.T @ d, d.sum(axis=0)), (a.T @ D, D.sum(axis=0))]
    )
    assert found.correct is not bool(left_out)
    assert found.mistakes == (("batch normalization's own statistics",) if left_out else ())


def test_labels_of_one_dimension_broadcast_against_a_column():
    rng = np.random.default_rng(7)
    model = dn.Sequential([dn.Dense(3, 1), dn.Sigmoid()], seed=0, dtype="float64")
    x, y = rng.normal(size=(5, 3)), rng.normal(size=5)
    a = 1 / (1 + np.exp(-(x @ model.layers[0].W + model.layers[0].b)))
    D = (a - y) / 5 * a * (1 - a)
    assert D.shape == (5, 5)
    found = dn.diagnose_gradients(model, dn.HalfSquaredError(), x, y, [(x.T @ D, D.sum(axis=0))])
    assert found.mistakes == ("(n, 1) against (n,) broadcast to (n, n)",)


def test_float32_where_terms_cancel_is_right():
    rng = np.random.default_rng(8)
    model = dn.mlp([20, 30, 3], activation="tanh", seed=0)
    x, labels = rng.normal(size=(200, 20)).astype(np.float32), rng.integers(0, 3, 200)
    loss = dn.SoftmaxCrossEntropy()
    dn.Trainer(model, loss, dn.Adam(learning_rate=0.02)).fit(x, labels, epochs=200, batch_size=200, seed=0)
    loss.forward(model.forward(x), labels)
    model.backward(loss.backward())
    pairs = [(layer.dW.copy(), layer.db.copy()) for layer in model.dense_layers]
    assert dn.diagnose_gradients(model, loss, x, labels, pairs).correct
    assert dn.diagnose_gradients(
        model, loss, x, labels, [(dW.astype(float), db.astype(float)) for dW, db in pairs]
    ).correct
    wrong = [(pairs[0][0] * np.float32(1.01), pairs[0][1]), pairs[1]]
    assert not dn.diagnose_gradients(model, loss, x, labels, wrong).correct


def test_target_minus_prediction_with_weights_updated_on_the_way():
    """The loop of many books: errors of the other sign, added, and the error passed on through the new weights."""
    net, arguments = network(np.random.default_rng(9), 3, "sigmoid", "half", 5)
    made = (Made("undifferentiated, updated", (2, 3), 0.2), Made("everything times", (1, 2, 3), -1.0))
    found = dn.diagnose_gradients(*arguments, backward(net, made))
    assert set(found.mistakes) >= {
        "error passed on without its slope, through updated weights",
        "sign or prediction and target swapped",
    }
    assert found.learning_rate == pytest.approx(0.2, rel=1e-6)
