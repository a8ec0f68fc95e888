"""Mixture: whose rows train which chain, what the chains answer together, and the derivatives of both."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

import densenet as dn
from densenet import second_order as so
from densenet.layers import Blend, Mixture

RNG = np.random.default_rng(5)
LINKS = {None: ("mse", 2), "softmax": ("softmax_cross_entropy", 3), "sigmoid": ("sigmoid_cross_entropy", 2)}
every_link = pytest.mark.parametrize("link", LINKS)


def chains(n_in, n_out, m=3):
    return [[dn.Dense(n_in, 4), dn.Tanh(), dn.Dense(4, n_out)] for _ in range(m)]


def mixed(link, m=3, dtype="float64"):
    """A mixture behind a dense layer, with weights of some size."""
    model = dn.Sequential([dn.Dense(2, 3), dn.Tanh(), Mixture(chains(3, LINKS[link][1], m), link)], seed=0, dtype=dtype)
    model.params = RNG.normal(size=model.params.size)
    return model


def targets(link, n):
    if link == "softmax":
        return RNG.integers(0, 3, n)
    return RNG.integers(0, 2, (n, 2)).astype(float) if link == "sigmoid" else RNG.normal(size=(n, 2))


def alone(model, i):
    """The model with chain i in the place of the mixture."""
    front, chain = copy.deepcopy(model.layers[:2]), copy.deepcopy(model[2].branches[i])
    return dn.Sequential([*front, *chain], dtype=model.dtype.name)


@every_link
def test_every_chain_trains_on_rows_of_its_own(link):
    model, x = mixed(link), RNG.normal(size=(7, 2))
    y = model.forward(x)
    for r in range(7):
        np.testing.assert_allclose(y[r : r + 1], alone(model, r % 3).predict(x[r : r + 1]), rtol=1e-12)


@every_link
def test_chains_answer_with_the_mean_of_what_they_say(link):
    model, x = mixed(link), RNG.normal(size=(7, 2))
    z = np.array([alone(model, i).predict(x) for i in range(3)])
    expected = {
        None: lambda: z.mean(axis=0),
        "softmax": lambda: np.log(softmax(z, axis=-1).mean(axis=0)),
        "sigmoid": lambda: logit(expit(z).mean(axis=0)),
    }[link]()
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(model.forward(x, training=False), model.predict(x))
    probabilities = dn.losses.get(LINKS[link][0])
    if link == "softmax":
        np.testing.assert_allclose(probabilities.probabilities(model.predict(x)).sum(axis=1), 1, rtol=1e-12)


@every_link
@pytest.mark.parametrize("training", [True, False])
def test_its_derivatives(link, training):
    x = RNG.normal(size=(8, 2))
    report = dn.gradcheck(mixed(link), LINKS[link][0], x, targets(link, 8), training=training, tolerance=1e-7)
    assert report, str(report)


@every_link
def test_the_gradient_is_the_mean_of_the_chains_own(link):
    """Of m copies of every row, each chain sees one: the loss is the mean of the chains' losses."""
    model, x, y = mixed(link), RNG.normal(size=(5, 2)), targets(link, 5)
    loss = dn.losses.get(LINKS[link][0])
    error = dn.Trainer(model, loss, dn.SGD(1e-3)).step(np.repeat(x, 3, axis=0), np.repeat(y, 3, axis=0))
    fresh = mixed(link)
    fresh.params = model.params + 1e-3 * model.grads  # before the step
    assert error == pytest.approx(np.mean([loss.forward(alone(fresh, i).predict(x), y) for i in range(3)]), rel=1e-9)


def test_fewer_rows_than_chains_leave_the_others_as_they_are():
    model = dn.Sequential([Mixture([[dn.Dense(2, 3), Blend(3), dn.Dropout(0.1), dn.Dense(3, 1)] for _ in range(4)])])
    model.forward(RNG.normal(size=(4, 2)))
    model.backward(np.ones((4, 1)))
    y = model.forward(RNG.normal(size=(2, 2)))
    model.backward(np.ones((2, 1)))
    assert y.shape == (2, 1)
    touched = [any(getattr(layer, "dW").any() for layer in (c[0], c[3])) for c in model[0].branches]  # noqa: B009
    assert touched == [True, True, False, False]


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_logits_of_any_size_are_finite(link):
    model = dn.Sequential([Mixture([[dn.Scale(3)], [dn.Scale(3)]], link)], dtype="float32")
    model[0].branches[1][0].s = [-1, 1, 1]
    x = np.array([[1e4, -1e4, 0], [0, 0, 0]], np.float32)
    y = model.forward(x, training=False)
    assert np.isfinite(y).all()
    assert np.isfinite(model.backward(np.ones_like(y))).all()
    if link == "softmax":
        assert y[0] == pytest.approx([np.log(0.5), -1e4 + np.log(0.5), np.log(0.5)])


@every_link
def test_second_derivatives_are_differences_of_first(link):
    model, x, y, h = mixed(link), RNG.normal(size=(6, 2)), targets(link, 6), 1e-5
    start, v = model.params.copy(), RNG.normal(size=model.params.size)

    def moved(t):
        model.params, loss = start + t * v, dn.losses.get(LINKS[link][0])
        outputs = model.forward(x, training=False)
        loss.forward(outputs, y)
        model.backward(loss.backward())
        return outputs, model.grads.copy()

    above, below = moved(h), moved(-h)
    model.params = start
    expected, gradient = ((a - b) / (2 * h) for a, b in zip(above, below, strict=True))
    np.testing.assert_allclose(so.jacobian_product(model, x, v), expected, atol=1e-7)
    np.testing.assert_allclose(so.hessian_product(model, LINKS[link][0], x, y, v), gradient, atol=1e-7)


def test_second_derivatives_in_training():
    layer, h = Mixture(chains(2, 2)), 1e-5
    model, x, delta = dn.Sequential([layer], dtype="float64", seed=2), RNG.normal(size=(5, 2)), RNG.normal(size=(5, 2))
    start, v, x_dot = model.params.copy(), RNG.normal(size=model.params.size), RNG.normal(size=x.shape)

    def moved(t):
        model.params = start + t * v
        return model.forward(x + t * x_dot), model.backward(delta), model.grads.copy()

    expected = [(a - b) / (2 * h) for a, b in zip(moved(h), moved(-h), strict=True)]
    model.params, out = start, np.empty(model.params.size)
    model.forward(x)
    np.testing.assert_allclose(layer.tangent(x_dot, v), expected[0], atol=1e-8)
    _, dx_dot = layer.tangent_backward(delta, np.zeros_like(delta), out)
    np.testing.assert_allclose(dx_dot, expected[1], atol=1e-8)
    np.testing.assert_allclose(out, expected[2], atol=1e-8)


@every_link
def test_files_pickles_and_onnx_answer_alike(link, tmp_path):
    model, x = mixed(link, dtype="float32"), RNG.normal(size=(9, 2)).astype(np.float32)
    model.save(tmp_path / "model.npz")
    for other in (dn.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
    runtime = pytest.importorskip("onnxruntime")
    dn.to_onnx(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], model.predict(x), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="take as many columns, got no chain"):
        Mixture([])
    with pytest.raises(ValueError, match=r"take as many columns, got \[2, 3\]"):
        Mixture([[dn.Dense(2, 1)], [dn.Dense(3, 1)]])
    with pytest.raises(ValueError, match=r"give as many columns, got \['1', '2'\]"):
        Mixture([[dn.Dense(2, 1)], [dn.Dense(2, 2)]])
    with pytest.raises(ValueError, match="link None, 'softmax' or 'sigmoid', got 'tanh'"):
        Mixture([[dn.Dense(2, 1)]], "tanh")
    with pytest.raises(RuntimeError, match=r"Mixture\.backward needs a forward pass first"):
        Mixture([[dn.Tanh()]]).backward(np.ones((2, 3)))


@every_link
def test_a_route_goes_through_every_chain(link):
    model, x, y = mixed(link), RNG.normal(size=(4, 2)), targets(link, 4)
    loss = dn.losses.get(LINKS[link][0])
    loss.forward(model.forward(x, training=False), loss.prepare(y, LINKS[link][1], np.float64))
    model.backward(loss.backward())
    for number, layer in enumerate(model.dense_layers, start=1):
        found = dn.route(model, loss, x, y, layer=number, source=1, target=2, sample=None)
        assert found.gradient == pytest.approx(layer.dW[0, 1], rel=1e-9, abs=1e-15)
        assert found.total == pytest.approx(layer.dW[0, 1], rel=1e-9, abs=1e-15)


def test_what_splits_mini_batches_refuses_it():
    from densenet.explain.subject import Subject
    from densenet.training.reducer import Reducer

    model = mixed(None)
    model.forward(RNG.normal(size=(4, 2)))
    with pytest.raises(ValueError, match="depends on its place in the mini-batch: leave training=False"):
        Subject("test", model, "mse", RNG.normal(size=(4, 2)), targets(None, 4), training=True)
    with pytest.raises(TypeError, match="Mixture goes by the places of rows"):
        Reducer(None, model)


def test_a_network_alone_has_paths_where_rows_are_few_and_a_member_has_none():
    from densenet.tabular.network import paths_for

    assert [paths_for(rows) for rows in (1, 63, 64, 2500, 2501)] == [1, 7, 8, 8, 1]
    x, y = RNG.normal(size=(80, 2)), RNG.normal(size=80)
    alone = dn.DenseRegressor(hidden_layer_sizes=(4,), preset="tabular", max_iter=1, random_state=0)
    kinds = [[type(layer).__name__ for layer in alone.fit(x, y).model_]]
    kinds += [[type(layer).__name__ for layer in m.model_] for m in alone.set_params(n_members=2).fit(x, y).members_]
    member = ["Columns", "Scale", "Dense", "Blend", "Dropout", "Dense", "Clip"]
    assert kinds == [["Columns", "Scale", "Mixture", "Clip"], member, member]
