"""Mistakes times networks: what plain loops give with a mistake in them is named, with its layer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from backward_by_loops import backward, too_early

import densenet as dn

LAYERS = {"sigmoid": dn.Sigmoid, "tanh": dn.Tanh, "relu": dn.ReLU}
FORGOTTEN = {
    "slope forgotten " + s for s in "everywhere/at the output only/in the hidden layers/in one layer".split("/")
}
FORGOTTEN.add("slope forgotten in several layers")
FORMULA = {"slope by a wrong formula"}
OTHER = {"slope of another activation"}

TOP, HIDDEN, EVERY, ONE = "top", "hidden", "every", "one"

TABLE = {
    # mistake: (where, which outputs, the names it may be given)
    "no slope": ((TOP, HIDDEN, EVERY, ONE), "half", FORGOTTEN),
    "a>=0": ((HIDDEN, ONE), "half", FORGOTTEN),
    "slope at a": ((HIDDEN, EVERY, ONE), "half softmax binary", {"slope taken at a instead of z"}),
    "undifferentiated": ((HIDDEN,), "half", {"error passed on without its slope"}),
    "1-a": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "a": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "z(1-z)": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "-a^2": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "1+a^2": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "1-z^2": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "a(1-a)": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "1-a^2": ((HIDDEN, EVERY, ONE), "half", FORMULA),
    "relu's": ((HIDDEN, ONE), "half", OTHER),
    "tanh's": ((HIDDEN, ONE), "half", OTHER),
    "sigmoid's": ((HIDDEN, ONE), "half", OTHER),
    "slope twice": ((HIDDEN, EVERY, TOP), "half binary", {"slope taken twice", "sigmoid's derivative applied twice"}),
    "slope of the layer before": ((ONE,), "half", {"slope of another layer"}),
    "f'(a(l-1))": ((ONE,), "half", {"slope of another layer"}),
    "relu of delta": ((HIDDEN, ONE), "half", {"slope by the delta's sign"}),
    "swapped": ((TOP,), "half softmax binary", {"sign or prediction and target swapped"}),
    "sum": ((TOP,), "half softmax binary", {"sum in place of mean"}),
    "four": ((TOP,), "half softmax", {"a constant factor"}),
    "odd factor": ((TOP,), "half softmax", {"a constant factor"}),
    "double dW": ((ONE, EVERY), "half softmax", {"2/n beside 1/n"}),
    "odd array": ((ONE,), "half softmax", {"a constant factor"}),
    "1/n a layer": ((HIDDEN,), "half softmax", {"1/n twice"}),
    "softmax twice": ((TOP,), "softmax", {"softmax's derivative applied twice"}),
    "diagonal": ((TOP,), "softmax", {"softmax's derivative applied twice"}),
    "p alone": ((TOP,), "softmax", {"p - y incomplete"}),
    "true class": ((TOP,), "softmax", {"p - y incomplete"}),
    "-y/p": ((TOP,), "softmax", {"dE/dp taken as dE/dz"}),
    "dE/dp": ((TOP,), "binary", {"dE/dp taken as dE/dz"} | FORGOTTEN),
    "shifted labels": ((TOP,), "softmax", {"labels shifted by one"}),
    "label column": ((TOP,), "softmax", {"class numbers in place of one-hot rows"}),
    "wrong axis": ((TOP,), "softmax", {"softmax over the wrong axis"}),
    "second term": ((TOP,), "binary", {"binary cross-entropy's second term"}),
    "second sign": ((TOP,), "binary", {"binary cross-entropy's second term"}),
    "no weights": ((HIDDEN,), "half softmax", {"weights left out on the way back"}),
    "W for W^T": ((HIDDEN,), "half softmax", {"transposed weights in the backward pass"}),
    "own a": ((ONE,), "half softmax", {"a of the wrong layer"}),
    "z entering": ((ONE,), "half", {"a of the wrong layer"}),
    "last row": ((EVERY, ONE), "half softmax", {"only one row counts"}),
    "db from dW": ((EVERY, ONE), "half softmax", {"db made from dW"}),
    "one number": ((EVERY, ONE), "half softmax", {"one number for every bias"}),
    "db unsummed": ((EVERY, ONE), "half softmax", {"db not summed"}),
    "db mean": ((EVERY, ONE), "half softmax", {"db not summed"}),
    "db first": ((EVERY, ONE), "half softmax", {"db not summed", "only one row counts"}),
    "dW transposed": ((ONE,), "half softmax", {"dW transposed"}),
}
PASSED_ON = {"undifferentiated", "no weights", "W for W^T"}  # made in a layer, seen from the layer below on


def network(rng, count, kind, loss, n):
    """A drawn network as arrays and as a model, its data, and its layers' functions."""
    square = rng.random() < 0.5
    widths = (
        [int(rng.choice([3, 5, 6, 7]))] * (count + 1)
        if square
        else [int(w) for w in rng.choice([3, 5, 6, 7], count + 1)]
    )
    kinds = [kind] * (count - 1) + [{"half": kind, "softmax": "softmax", "binary": "sigmoid"}[loss]]
    W = [rng.normal(size=shape) / np.sqrt(shape[0]) for shape in itertools.pairwise(widths)]
    b = [rng.normal(size=width) * 0.5 for width in widths[1:]]
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        layers.append(dn.Dense(n_in, n_out))
        if kinds[i] in LAYERS and not (loss == "binary" and i == count - 1 and rng.random() < 0.5):
            layers.append(LAYERS[kinds[i]]())
    model = dn.Sequential(layers, dtype="float64")
    for layer, w, v in zip(model.dense_layers, W, b, strict=True):
        layer.W, layer.b = w, v
    x = rng.normal(size=(n, widths[0]))
    if loss == "half":
        y, error = rng.normal(size=(n, widths[-1])), dn.HalfSquaredError()
    elif loss == "softmax":
        y, error = np.eye(widths[-1])[rng.integers(0, widths[-1], n)], dn.SoftmaxCrossEntropy()
    else:
        y = rng.integers(0, 2, (n, widths[-1])).astype(float)
        error = dn.BinaryCrossEntropy() if isinstance(layers[-1], dn.Sigmoid) else dn.SigmoidCrossEntropy()
    return (W, b, x, y, kinds, loss), (model, error, x, y)


def places(where, count, rng):
    return {
        TOP: [count],
        HIDDEN: list(range(1, count)),
        EVERY: list(range(1, count + 1)),
        ONE: [int(rng.integers(1, count + 1))],
    }[where]


def differs(given, right):
    """Whether some array is wrong by more than 1 %."""
    pairs = [(a, b) for g, r in zip(given, right, strict=True) for a, b in zip(g, r, strict=True)]
    return any(np.shape(a) != b.shape or np.abs(a - b).max() > 0.01 * np.abs(b).max() for a, b in pairs)


def first_wrong(given, right):
    return max(i for i, (g, r) in enumerate(zip(given, right, strict=True), 1) if differs([g], [r]) or unequal(g, r))


def unequal(given, right):
    return any(
        np.shape(a) != b.shape or np.abs(a - b).max() > 1e-6 * np.abs(b).max()
        for a, b in zip(given, right, strict=True)
    )


def case(rng, mistake, where, loss, kind, count, n):
    """Arrays with the mistake, and the right ones."""
    by_hand, arguments = network(rng, count, kind, loss, n)
    layers = places(where, count, rng)
    if mistake in PASSED_ON:
        layers = [layer + 1 for layer in layers]
    if mistake in ("slope of the layer before", "z entering"):
        layers = [max(2, layer) for layer in layers]
    return by_hand, arguments, [(mistake, layers)]


def fits(by_hand, mistakes):
    """Whether the mistake can be made on this network without an error."""
    W = by_hand[0]
    for name, layers in mistakes:
        for layer in layers:
            if layer > len(W):
                return False
            if (
                name in ("own a", "dW transposed", "W for W^T", "f'(a(l-1))")
                and W[layer - 1].shape[0] != W[layer - 1].shape[1]
            ):
                return False
            if name == "slope of the layer before" and len(by_hand[1][layer - 2]) != len(by_hand[1][layer - 1]):
                return False
            if name == "z entering" and layer < 2:
                return False
            if name == "dW transposed" and len(W) == 1:  # that is the other layout, which is accepted
                return False
            if name == "db unsummed" and len(by_hand[2]) == 1:  # (1, k) is db with its dimension kept
                return False
            fused = by_hand[5] != "half" and layer == len(W)
            if fused and name in ("slope at a", "f'(a(l-1))", "slope of the layer before"):
                return False
            if fused and by_hand[5] == "softmax" and name == "slope twice":
                return False
    return bool(mistakes) and all(layers for _, layers in mistakes)


def judged(seed, rounds, pair=False):
    """Cases judged, and those that got another name or layer."""
    rng = np.random.default_rng(seed)
    total, missed = 0, []
    every = [
        (mistake, where, loss)
        for mistake, (wheres, losses, _) in TABLE.items()
        for where in wheres
        for loss in losses.split()
    ]
    for _ in range(rounds):
        for mistake, where, loss in every:
            count, n = int(rng.integers(1, 5)), int(rng.choice([1, 3, 5]))
            kind = "relu" if mistake in ("relu of delta", "a>=0") else str(rng.choice(list(LAYERS)))
            by_hand, arguments, mistakes = case(rng, mistake, where, loss, kind, count, n)
            names = [TABLE[mistake][2]]
            if pair:
                second = str(rng.choice(["swapped", "sum", "db mean", "last row", "1-a", "double dW", "no slope"]))
                if second == mistake:
                    continue
                made = places(str(rng.choice(TABLE[second][0])), count, rng)
                lower = [layer for layer in made if layer not in mistakes[0][1]]
                mistakes = [*mistakes, (second, made if second in ("swapped", "sum") else lower)]
                names.append(TABLE[second][2])
            if not fits(by_hand, mistakes):
                continue
            right = backward(*by_hand)
            given = backward(*by_hand, mistakes)
            if not differs(given, right) or any(not differs(given, backward(*by_hand, [m])) for m in mistakes if pair):
                continue
            total += 1
            try:
                found = dn.diagnose_gradients(*arguments, given)
            except ValueError as error:  # arrays of other shapes that no mistake explains
                missed.append((mistakes, loss, kind, [w.shape for w in by_hand[0]], n, str(error)))
                continue
            named = all(set(found.mistakes) & wanted for wanted in names)
            if len(found.found) == 1:  # one mistake that gives the numbers of both, such as sum in dW alone
                named = any(set(found.mistakes) & {*wanted, "a constant factor"} for wanted in names)
            if not named or found.layer != first_wrong(given, right):
                missed.append((mistakes, loss, kind, [w.shape for w in by_hand[0]], n, found.found, found.also))
    return total, missed


def test_single_mistakes_are_named_in_98_of_100():
    total, missed = judged(0, 4)
    assert total > 250
    assert len(missed) <= 0.02 * total, missed


def test_pairs_are_named():
    total, missed = judged(1, 2, pair=True)
    assert total > 80
    assert len(missed) <= 0.02 * total, missed


@pytest.mark.parametrize("undifferentiated", [False, True])
@pytest.mark.parametrize("n", [1, 5])
def test_weights_updated_too_early(n, undifferentiated):
    (W, b, x, y, kinds, _), arguments = network(np.random.default_rng(n), 3, "sigmoid", "half", n)
    found = dn.diagnose_gradients(*arguments, too_early(W, b, x, y, kinds, 0.3, undifferentiated=undifferentiated))
    name = "error passed on without its slope, through updated weights"
    assert found.found[0].name == (name if undifferentiated else "weights updated before the delta passed on")
    assert found.learning_rate == pytest.approx(0.3, rel=1e-6)
    assert found.layer == 2


def test_right_gradients_are_never_given_a_name():
    rng = np.random.default_rng(2)
    for _ in range(60):
        by_hand, arguments = network(
            rng,
            int(rng.integers(1, 5)),
            str(rng.choice(list(LAYERS))),
            str(rng.choice(["half", "softmax", "binary"])),
            int(rng.choice([1, 3, 5])),
        )
        right = backward(*by_hand)
        found = dn.diagnose_gradients(*arguments, right)
        assert found.correct
        assert found.mistakes == ()
        rounded = [(dW.astype(np.float32), db.astype(np.float32)) for dW, db in right]
        assert dn.diagnose_gradients(*arguments, rounded).correct


def test_random_wrong_gradients_get_no_name():
    rng = np.random.default_rng(3)
    for count, n in itertools.product((1, 2, 3), (1, 5)):
        by_hand, arguments = network(rng, count, "tanh", "half", n)
        noise = [(rng.normal(size=dW.shape), rng.normal(size=db.shape)) for dW, db in backward(*by_hand)]
        found = dn.diagnose_gradients(*arguments, noise)
        assert not found.correct
        assert found.mistakes == ()
        assert "none of these" in str(found)


def test_the_list_in_backward_order():
    by_hand, arguments = network(np.random.default_rng(0), 3, "tanh", "half", 5)
    found = dn.diagnose_gradients(*arguments, backward(*by_hand)[::-1])
    assert found.mistakes == ("the list in backward order",)


def test_the_step_in_place_of_the_gradient():
    by_hand, arguments = network(np.random.default_rng(0), 2, "tanh", "softmax", 5)
    steps = [(0.07 * dW, 0.07 * db) for dW, db in backward(*by_hand)]
    found = dn.diagnose_gradients(*arguments, steps, learning_rate=0.07)
    assert found.mistakes == ("the step in place of the gradient",)
    assert "learning rate 0.07" in found.found[0].detail
    assert dn.diagnose_gradients(*arguments, steps).mistakes == ("a constant factor",)


def test_one_wrong_array_is_named_alone():
    by_hand, arguments = network(np.random.default_rng(1), 3, "tanh", "half", 5)
    given = backward(*by_hand)
    given[1] = (given[1][0], given[1][1] / 5)
    found = dn.diagnose_gradients(*arguments, given)
    assert found.wrong == ("db(2)",)
    assert found.layer == 2
    assert "db(2): the mean over rows was taken" in {m.detail for m in (*found.found, *found.also)}
    assert "Only db(2) is wrong; every other array is right." in str(found)


def penalised(lam=0.3):
    (W, b, x, y, kinds, _), (model, loss, *_) = network(np.random.default_rng(4), 2, "tanh", "half", 5)
    layers = [
        layer for dense in model.dense_layers for layer in (dn.Dense(dense.n_in, dense.n_out, kernel_l2=lam), dn.Tanh())
    ]
    model = dn.Sequential(layers, dtype="float64")
    for layer, w, v in zip(model.dense_layers, W, b, strict=True):
        layer.W, layer.b = w, v
    right = backward(W, b, x, y, kinds, "half")
    return (model, loss, x, y), W, b, right, lam


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
