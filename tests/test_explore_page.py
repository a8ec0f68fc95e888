"""The explorer's page in a real browser: its numbers beside Python's, and every hand that a person can lay on it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from explorer_browser import ARGUMENTS, executable, reason

import densenet as dn
from densenet.explain.route import route
from densenet.explore import Recorder, explore
from densenet.explore.data import ELEMENTWISE

pytestmark = pytest.mark.skipif(reason() is not None, reason=str(reason()))

ACTIVATIONS = [kind.__name__ for kind in ELEMENTWISE]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens an explorer's page; at the end nothing may stand in the console."""
    contexts, complaints = [], []

    def open_page(explorer, *, width=1400, height=900, **settings):
        path = explorer.save(tmp_path / "page.html")
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
        )
        page.goto(path.as_uri())
        page.wait_for_function("window.explorer !== undefined")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def notes(opened):
    return opened(explore(*dn.datasets.notes_network(), select=(1, 1, 3)))


def xor(seed=1, hidden=3, activation="tanh"):
    model = dn.mlp([2, hidden, 1], activation=activation, seed=seed, dtype="float64")
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    return model, dn.SigmoidCrossEntropy(), x, np.array([0.0, 1, 1, 0])


def close(got, expected, tolerance=1e-12):
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0) <= tolerance * np.abs(expected).max(initial=0)


def same_as_python(state, model, loss, x, y, rows=slice(None)):
    step = dn.explain_step(model, loss, x[rows], y[rows], learning_rate=0.5)
    for name in ("z", "a", "dE_da", "dE_dz", "dE_dW", "dE_db"):
        for got, expected in zip(state[name], getattr(step, name), strict=True):
            if expected is None:
                assert got is None
            else:
                close(got, expected)
    return step


def random_case(seed):
    """A network, a loss and data: of all kinds that a page knows."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 6, rng.integers(2, 6)).tolist()
    loss = [
        dn.HalfSquaredError(),
        dn.MeanSquaredError(),
        dn.SoftmaxCrossEntropy(label_smoothing=[0.0, 0.1][seed % 2]),
        dn.CategoricalCrossEntropy(),
        dn.SigmoidCrossEntropy(label_smoothing=[0.0, 0.2][seed % 2]),
        dn.BinaryCrossEntropy(),
    ][seed % 6]
    n = int(rng.integers(1, 8))
    layers = []
    for at, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        layers.append(dn.Dense(n_in, n_out, use_bias=bool(rng.integers(5)), kernel_initializer="normal"))
        if at < len(widths) - 2:
            layers.append(getattr(dn, ACTIVATIONS[(seed + at) % len(ACTIVATIONS)])())
            if rng.integers(6) == 0:
                layers.append(dn.Dropout(0.3))
            if rng.integers(8) == 0:
                layers.append(dn.Tanh())
    k = widths[-1]
    if isinstance(loss, dn.CategoricalCrossEntropy):
        layers.append(dn.Softmax())
    elif isinstance(loss, dn.BinaryCrossEntropy):
        layers.append(dn.Sigmoid())
    elif isinstance(loss, (dn.HalfSquaredError, dn.MeanSquaredError)) and rng.integers(2):
        layers.append([dn.Softmax(), dn.Sigmoid(), dn.Tanh()][rng.integers(3)])
    model = dn.Sequential(layers, seed=seed, dtype=["float32", "float64"][seed // 6 % 2])
    model.params = rng.normal(size=model.params.size) * 0.7
    x = rng.normal(size=(n, widths[0]))
    if loss.task == "classification":
        y = rng.integers(0, k, n) if rng.integers(2) else rng.dirichlet(np.ones(k), n)
    elif loss.task == "binary":
        y = rng.integers(0, 2, (n, k)).astype(float)
    else:
        y = rng.normal(size=(n, k))
    return model, loss, x, y


# -- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(10))
def test_numbers_equal_pythons_on_200_random_networks(opened, block):
    for seed in range(20 * block, 20 * block + 20):
        model, loss, x, y = random_case(seed)
        page = opened(explore(model, loss, x, y))
        state = page.evaluate("explorer.state()")
        subject = dn.Sequential.astype(model, "float64") if model.dtype != np.float64 else model
        close(state["E"], loss.forward(subject.predict(x), y))
        if any(isinstance(layer, dn.PReLU) for layer in model.layers):
            subject.forward(x, training=False)
            subject.backward(loss.backward())
            for got, layer in zip(state["dE_dW"], subject.dense_layers, strict=True):
                close(got, layer.dW)
        else:
            step = same_as_python(state, model, loss, x, y)
            close(state["E"], step.error)
        if loss.task != "regression":
            close(state["p"], loss.probabilities(subject.predict(x)))
        page.context.close()


def test_routes_equal_pythons(opened):
    for seed in (0, 1, 4, 13, 16):
        model, loss, x, y = random_case(seed)
        page = opened(explore(model, loss, x, y))
        page.evaluate("explorer.sample(0)")
        for layer, dense in enumerate(model.dense_layers, start=1):
            page.evaluate(f"explorer.select({layer}, 1, {dense.n_out})")
            state = page.evaluate("explorer.state()")
            found = route(model, loss, x, y, layer=layer, source=1, target=dense.n_out, sample=0)
            assert abs(state["gradient"] - found.gradient) <= 1e-12 * found.absolute
            if isinstance(model.layers[-1], dn.Softmax):
                continue  # there Python's paths pass through the softmax one by one
            expected = found.paths(8)
            close([path["contribution"] for path in state["paths"]], [path.contribution for path in expected])
            assert [tuple(p["neurons"]) for p in state["paths"]] == [p.neurons for p in expected] or any(
                np.isclose(a.contribution, b.contribution) for a, b in zip(expected, expected[1:], strict=False)
            )
            close([p["share"] for p in state["paths"]], [p.share for p in expected], 1e-11)
        page.context.close()


def test_bias_routes_and_batch_paths_are_sums_over_rows(opened):
    model, loss, x, y = xor()
    page = opened(explore(model, loss, x, y))
    page.evaluate("explorer.select(1, 'bias', 2)")
    state = page.evaluate("explorer.state()")
    close(state["gradient"], state["dE_db"][0][1])
    singles = [route(model, loss, x, y, layer=1, source="bias", target=2, sample=s).gradient for s in range(4)]
    close(sum(path["contribution"] for path in state["paths"]), np.mean(singles))


def test_gelu_by_codys_erf_is_exact_to_the_last_digits(notes):
    from scipy.special import ndtr

    z = np.concatenate([np.linspace(-38, 9, 4001), [-0.0, 1e-300, 1e-8, -1e-8]])
    got = notes.evaluate("z => z.map(normalDistribution)", z.tolist())
    expected = ndtr(z)
    assert np.abs(got - expected).max() < 1e-15
    near = z > -6
    assert (np.abs(got - expected)[near] / expected[near]).max() < 4e-15


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_slopes_equal_pythons_far_out(notes, name):
    layer = getattr(dn, name)()
    model = dn.Sequential([layer], dtype="float64")
    z = np.array([[-750.0, -41, -3, -1, -0.3, -1e-9, 0, 1e-9, 0.3, 1, 2.9999, 3, 5, 39, 45, 700]])
    y = model.forward(z)
    settings = json.dumps(layer.config() | ({"a": layer.a.tolist()} if name == "PReLU" else {}))
    script = f"z => z.map(v => {{ const c = {settings}; const a = ACTIVATIONS.{name}.value(v, c); return [a, ACTIVATIONS.{name}.slope(v, a, c)] }})"
    value, slope = np.array(notes.evaluate(script, z[0].tolist()), float).T
    np.testing.assert_allclose(value, y[0], rtol=1e-14, atol=0 if name == "Exp" else 1e-15)
    np.testing.assert_allclose(slope, layer.slopes()[0], rtol=1e-13, atol=1e-15)
