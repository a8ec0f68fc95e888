"""E as one weight moves: the curve, its tangent, the finite difference."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet.datasets.notes import notes_network
from densenet.explain import route, sensitivity


@pytest.fixture
def notes():
    return notes_network()


@pytest.mark.parametrize("source", [1, 2, "bias"])
@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_tangent_and_difference_agree(notes, layer, source):
    found = sensitivity(*notes, layer=layer, source=source, target=1)
    assert found.tangent == route(*notes, layer=layer, source=source, target=1).gradient
    assert found.finite_difference == pytest.approx(found.tangent, rel=1e-6, abs=1e-11)


def test_the_curve_is_the_error_of_a_model_with_that_weight(notes):
    model, loss, x, y = notes
    found = sensitivity(*notes, layer=2, source=3, target=2, span=2.0, points=7)
    assert_allclose(found.weights, np.linspace(0.92 - 2, 0.92 + 2, 7))
    for weight, error in zip(found.weights, found.errors, strict=True):
        model.layers[2].W[2, 1] = weight
        assert error == pytest.approx(loss.forward(model.predict(x), y), rel=1e-14)
    assert found.error == pytest.approx(found.errors[3], rel=1e-14)
    assert found.predicted(found.value) == found.error


def test_of_one_row_and_of_the_batch():
    rng = np.random.default_rng(0)
    model = dn.mlp([3, 4, 2], activation="tanh", seed=0)
    x, y = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 2))
    each = [sensitivity(model, "mse", x, y, layer=1, source=1, target=2, sample=s) for s in range(4)]
    batch = sensitivity(model, "mse", x, y, layer=1, source=1, target=2, sample=None)
    assert_allclose(batch.errors, np.mean([found.errors for found in each], axis=0), rtol=1e-13)
    assert batch.finite_difference == pytest.approx(batch.tangent, rel=1e-6)


def test_nothing_of_the_model_changes(notes):
    model, loss, x, y = notes
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    params, grads = model.params.copy(), model.grads.copy()
    sensitivity(*notes, layer=1, source=1, target=1)
    model.backward(loss.backward())
    assert_array_equal(model.params, params)
    assert_array_equal(model.grads, grads)


def test_it_says_what_it_means(notes):
    found = sensitivity(*notes, layer=4, source=2, target=1)
    text = str(found)
    assert "w(4)_{2,1} is model.layers[6].W[1, 0] = 0.96 (layers and neurons count from 1, arrays from 0)" in text
    assert f"dE/dw(4)_{{2,1}} = {found.tangent:.6g}" in text
    assert "<script" not in found._repr_html_()


def test_the_picture_shows_curve_tangent_and_point(notes):
    found = sensitivity(*notes, layer=4, source=2, target=1)
    ax = found.plot()
    curve, tangent, point = ax.lines
    assert_array_equal(curve.get_ydata(), found.errors)
    slope = np.diff(tangent.get_ydata()) / np.diff(tangent.get_xdata())
    assert_allclose(slope, found.tangent, rtol=1e-9)
    assert_array_equal(point.get_xydata(), [[found.value, found.error]])
    given = plt.figure().subplots()
    assert found.plot(ax=given) is given
    plt.close("all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 5}, "sensitivity expects layer to be the number of a dense layer; this model has 4"),
        ({"source": 0}, "sensitivity: dense layer 1 has 2 inputs, and there is no source 0: neurons count from 1 to 2"),
        ({"span": 0}, "sensitivity expects span to be a finite number above 0, got 0"),
        ({"points": 2.5}, "sensitivity expects points to be a whole number"),
        ({"sample": 3}, "sensitivity expects sample to be a row of x"),
    ],
)
def test_bad_input(notes, arguments, message):
    with pytest.raises(ValueError, match=message):
        sensitivity(*notes, **({"layer": 1, "source": 1, "target": 1} | arguments))
