"""The pictures of a route: what is drawn, beside the numbers that it shows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

import densenet as dn
from densenet.datasets.notes import notes_network
from densenet.explain import route
from densenet.plots.route import _LIT, _LIT_AGAINST, _LIT_DEAD, _NEGATIVE, _POSITIVE


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def notes():
    return route(*notes_network(), layer=1, source=1, target=3)


def segments(ax, colour, label=None):
    return [
        segment
        for collection in ax.collections
        if isinstance(collection, LineCollection)
        and to_hex(collection.get_color()[0]) == colour
        and (label is None or collection.get_label() == label)
        for segment in collection.get_segments()
    ]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def circles(ax):
    """(face colour, x, y) of every neuron."""
    found = []
    for collection in ax.collections:
        if isinstance(collection, PathCollection) and len(collection.get_edgecolor()):
            colours = np.broadcast_to(collection.get_facecolor(), (len(collection.get_offsets()), 4))
            size = collection.get_sizes()[0]
            if size > 10:
                found += [(to_hex(c), *xy) for c, xy in zip(colours, collection.get_offsets(), strict=True)]
    return found


def test_every_connection_is_drawn_once_and_coloured_by_its_sign(notes):
    ax = notes.plot()
    weights = np.concatenate([layer.W.ravel() for layer in notes_network()[0].dense_layers])
    assert len(segments(ax, _POSITIVE)) == (weights > 0).sum()
    assert len(segments(ax, _NEGATIVE)) == (weights < 0).sum()
    widths = [
        w for c in ax.collections if isinstance(c, LineCollection) and len(c.get_segments()) for w in c.get_linewidth()
    ]
    largest = {float(np.abs(layer.W).max()) for layer in notes_network()[0].dense_layers}
    assert sum(width == pytest.approx(3.0) for width in widths) == len(largest)


def test_the_strongest_routes_are_lit(notes):
    ax = notes.plot(k=1)
    lit = [(x, y) for colour, x, y in circles(ax) if colour == _LIT]
    assert [x for x, _ in lit] == [0, 1, 2, 3, 4]
    assert len(segments(ax, _POSITIVE, "lit")) == 4
    band = next(line for line in ax.lines if line.get_color() == _LIT and len(line.get_xdata()) > 2)
    corners = list(dict.fromkeys(zip(band.get_xdata(), band.get_ydata(), strict=True)))
    assert_allclose(corners, lit)
    chosen = next(line for line in ax.lines if line.get_label() == "chosen weight")
    assert_allclose(chosen.get_xydata(), lit[:2])
    assert {"0.8", "0.92", "0.85", "0.96"} <= set(texts(ax))
    four = notes.plot(k=4)
    assert sum(colour == _LIT for colour, *_ in circles(four)) == 7
    assert "all its 4 paths, 100 % of the sum of sizes" in four.get_title()


def test_one_chosen_path(notes):
    ax = notes.plot(path=(1, 3, 1, 1, 1))
    assert "lit: the path 1-3-1-1-1, 11.6 % of the sum of sizes" in ax.get_title()
    assert {"0.38", "-0.49", "-0.74"} <= set(texts(ax))


def test_titles_say_where_counting_starts(notes):
    for kind in ("network", "waterfall"):
        title = notes.plot(kind).get_title(loc="left") + notes.plot(kind).get_title()
        assert "model.layers[0].W[0, 2]: layers and neurons count from 1, arrays from 0" in title
    assert "counted from 1" in notes.plot("heatmap").get_xlabel()


def test_large_layers_are_folded_and_the_picture_says_so():
    model = dn.mlp([20, 300, 300, 10], activation="tanh", seed=0)
    x = np.random.default_rng(0).normal(size=(60, 20))
    found = route(model, "softmax_cross_entropy", x, np.arange(60) % 10, layer=1, source=3, target=250)
    ax = found.plot(k=2)
    assert texts(ax).count("300 neurons,\n8 shown") == 2
    assert "20 neurons,\n8 shown" in texts(ax)
    assert len(circles(ax)) == 8 + 8 + 8 + 10
    shown = set(texts(ax))
    for path in found.paths(2):
        assert {str(neuron) for neuron in path.neurons} <= shown
    heat = found.plot("heatmap")
    image = heat.images[0].get_array()
    assert image.shape == (38, 3)
    assert heat.get_ylabel() == "neuron, counted from 1; 8 neurons a cell"
    rms = found.neuron_rms()
    output = np.sqrt(np.mean(rms[3] ** 2))
    assert image[0, 0] == pytest.approx(np.log10(np.sqrt(np.mean(rms[1][:8] ** 2)) / output))
    assert image.mask[2:, 2].all()
    assert "E is the error of the whole batch of 60 rows" in heat.get_title()
    assert [tick.get_text() for tick in heat.get_xticklabels()] == ["1\n(300)", "2\n(300)", "3\n(10)"]


def overlaps(ax, kinds=None):
    """Pairs of texts whose boxes overlap, as rendered."""
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    shown = [t for t in [*ax.texts, ax.title, *ax.get_xticklabels()] if t.get_text() and t.get_visible()]
    boxes = [(t.get_text(), t.get_window_extent(renderer).shrunk(0.9, 0.8)) for t in shown]
    return [(a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[i + 1 :] if box.overlaps(other)]


def test_no_text_overlaps_another(notes):
    assert overlaps(notes.plot()) == []
    assert overlaps(notes.plot("waterfall")) == []
    assert overlaps(notes.plot("heatmap")) == []
    big = dn.mlp([3, 12, 300, 12, 2], activation="tanh", seed=0)
    found = route(big, "mse", np.ones((2, 3)), np.zeros((2, 2)), layer=1, source=1, target=2)
    assert overlaps(found.plot(k=1)) == []
    assert overlaps(found.plot("waterfall")) == []


def test_everything_lies_inside_the_figure(notes):
    for kind in ("network", "waterfall", "heatmap"):
        ax = notes.plot(kind)
        ax.figure.canvas.draw()
        renderer = ax.figure.canvas.get_renderer()
        for text in [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]:
            if text.get_text():
                box = text.get_window_extent(renderer)
                assert box.x0 >= 0
                assert box.y0 >= 0
                assert box.x1 <= ax.figure.bbox.x1
                assert box.y1 <= ax.figure.bbox.y1


def test_shortcuts_and_branches_have_lanes_of_their_own():
    layers = [
        dn.Dense(2, 3),
        dn.Residual([dn.Dense(3, 3), dn.Tanh()]),
        dn.Concatenate([[dn.Dense(3, 2)], []]),
        dn.Dense(5, 2),
    ]
    model = dn.Sequential(layers, seed=0, dtype="float64")
    found = route(model, "mse", [[1.0, 2.0]], [[0.0, 1.0]], layer=1, source=1, target=2)
    path = found.path((1, 2, ("Residual", "shortcut"), ("Concatenate", "branch 2"), 1))
    ax = found.plot(path=path)
    assert {"input", "layer 1", "layer 2", "Residual", "layer 3", "Concatenate", "layer 4"} <= set(texts(ax))
    places = {(round(x, 3), round(y, 3)) for _, x, y in circles(ax)}
    assert len(places) == len(circles(ax)) == 2 + 3 + 3 + 3 + 2 + 5 + 2
    shade = _LIT if path.contribution > 0 else _LIT_AGAINST
    band = next(line for line in ax.lines if line.get_color() == shade and len(line.get_xdata()) > 4)
    through = [(round(x, 3), round(y, 3)) for x, y in band.get_xydata() if x != round(x)]
    assert through
    for x, y in through:
        assert all(abs(y - other) > 0.5 for place, other in places if place == round(x))


def test_the_waterfall_adds_the_logarithms_up(notes):
    ax = notes.plot("waterfall", path=(1, 3, 2, 1, 1))
    path = notes.path((1, 3, 2, 1, 1))
    bars = ax.patches
    assert len(bars) == len(path.factors) + 1
    logs = np.log10([abs(factor.value) for factor in path.factors])
    assert_allclose([bar.get_height() for bar in bars[:-1]], logs, atol=1e-12)
    assert_allclose([bar.get_y() for bar in bars[:-1]], np.cumsum([0, *logs[:-1]]), atol=1e-12)
    assert bars[-1].get_height() == pytest.approx(np.log10(abs(path.contribution)))
    assert f"{path.contribution:.3g}" in texts(ax)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        "activation",
        "slope",
        "weight",
        "output",
        "product",
    }


def test_a_factor_of_0_ends_the_waterfall():
    model = dn.mlp([1, 1, 1], activation="relu", dtype="float64")
    model.layers[0].b = [-9.0]
    found = route(model, "mse", [[1.0]], [[1.0]], layer=1, source=1, target=1)
    ax = found.plot("waterfall")
    assert len(ax.patches) == 2
    assert "a factor is 0: nothing passes" in texts(ax)
    assert "every contribution is 0" in found.plot().get_title()
    heat = found.plot("heatmap")
    assert "x: exactly 0" in heat.get_title()
    assert_allclose(heat.lines[0].get_xydata(), [[0, 0]])


def test_a_bias_is_lit_from_a_box_with_a_1():
    found = route(*notes_network(), layer=2, source="bias", target=1)
    ax = found.plot(k=1)
    assert "1" in texts(ax)
    chosen = next(line for line in ax.lines if line.get_label() == "chosen weight")
    assert chosen.get_xdata()[-1] == 2


def keys(ax):
    return [text.get_text() for text in ax.get_legend().get_texts() if text.get_text().strip()]


def test_neurons_carry_their_values_and_the_key_the_signs_and_sizes(notes):
    ax = notes.plot(k=4)
    shown = set(texts(ax))
    for values in notes_network()[0].activations(notes_network()[2])[1::2]:
        assert {f"{value:.3g}" for value in values[0]} <= shown
    assert {"0.9", "0.4"} <= shown
    named = [f"{path}: {path.contribution:+.3g}" for path in notes.paths()]
    assert sorted(keys(ax)) == sorted(["positive weight", "negative weight", *named])
    bands = {line.get_color() for line in ax.lines if len(line.get_xdata()) > 2}
    assert bands == {_LIT, _LIT_AGAINST}


def test_paths_that_add_nothing_are_grey_and_no_zero_has_a_sign():
    model = dn.Sequential([dn.Dense(1, 2), dn.ReLU(), dn.Dense(2, 1)], dtype="float64")
    model.layers[0].W, model.layers[0].b, model.layers[2].W = [[1.0, 1.0]], [-9.0, 1.0], [[-1.0], [1.0]]
    found = route(model, "mse", [[1.0]], [[1.0]], layer=1, source=1, target=1)
    ax = found.plot()
    assert "1-1-1: 0" in keys(ax)
    assert not any("-0" in text for text in [*keys(ax), *texts(ax)])
    assert {colour for colour, *_ in circles(ax)} == {to_hex(_LIT_DEAD), to_hex("white")}


def test_given_axes_are_drawn_into(notes):
    _, axes = plt.subplots(1, 3)
    for ax, kind in zip(axes, ("network", "waterfall", "heatmap"), strict=True):
        assert notes.plot(kind, ax=ax) is ax


def test_what_cannot_be_drawn_says_so(notes):
    with pytest.raises(ValueError, match="knows the kinds 'network', 'waterfall', 'heatmap', got 'tree'"):
        notes.plot("tree")
    with pytest.raises(ValueError, match="k to be a whole number of at least 1, got 0"):
        notes.plot(k=0)
    with pytest.raises(ValueError, match="the paths of this weight begin"):
        notes.plot(path=(2, 3, 2, 2, 1))
    batch = route(*notes_network(), layer=1, source=1, target=1, sample=None)
    with pytest.raises(ValueError, match="Paths and factors need a sample"):
        batch.plot()
    assert batch.plot("heatmap").images
