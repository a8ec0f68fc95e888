"""What is drawn: the data of the artists, not only that something is."""

from __future__ import annotations

import sys
import types
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet import plots
from densenet.health.signals import LayerSignals, SignalRecord
from densenet.plots import live

X, Y = dn.datasets.load_digits()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def history(**columns):
    made = dn.History()
    for i in range(max(map(len, columns.values()))):
        made.append({name: column[i] for name, column in columns.items()})
    return made


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def rendered(ax):
    """Draws everything, so that a fault in a label or a transform shows."""
    ax.figure.canvas.draw()
    return ax


DRAWN = {
    "learning_curves": lambda ax: plots.learning_curves(history(loss=[1.0, 0.5]), ax=ax),
    "decision_regions": lambda ax: plots.decision_regions(lambda p: (p[:, 0] > 0).astype(int), X[:9, 2:4], ax=ax),
    "confusion_matrix": lambda ax: plots.confusion_matrix([0, 1], [1, 1], ax=ax),
    "predicted_against_true": lambda ax: plots.predicted_against_true([0.0, 1.0], [1.0, 1.0], ax=ax),
    "residual_histogram": lambda ax: plots.residual_histogram([0.0, 1.0], [1.0, 1.0], ax=ax),
    "network_diagram": lambda ax: plots.network_diagram(dn.mlp([2, 2], seed=0), ax=ax),
    "weight_histograms": lambda ax: plots.weight_histograms(dn.mlp([2, 2], seed=0), ax=ax),
    "schedule": lambda ax: plots.schedule(dn.StepDecay(0.1, 5), 9, ax=ax),
    "loss_along": lambda ax: plots.loss_along(dn.mlp([1, 1], seed=0), "mse", [[1.0]], [3.0], ax=ax),
    "features": lambda ax: plots.features(dn.mlp([4, 2], seed=0), ax=ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_go_in_and_come_out(name):
    _, ax = plt.subplots()
    assert rendered(DRAWN[name](ax)) is ax
    made = rendered(DRAWN[name](None))
    assert made is not ax
    assert made.figure.get_figwidth() <= 8


@pytest.mark.parametrize("name", DRAWN)
def test_anything_but_axes_is_refused(name):
    _, several = plt.subplots(1, 2)
    with pytest.raises(TypeError, match="one matplotlib Axes, got an array of 2"):
        DRAWN[name](several)


# -- learning curves -------------------------------------------------------------------------------------------------


def test_learning_curves_show_both_curves_and_the_best_epoch():
    h = history(loss=[1.0, 0.6, 0.4], val_loss=[0.9, 0.5, 0.7])
    ax = plots.learning_curves(h)
    drawn = lines(ax)
    assert_array_equal(drawn["training"].get_xydata(), [[1, 1.0], [2, 0.6], [3, 0.4]])
    assert_array_equal(drawn["validation"].get_xydata(), [[1, 0.9], [2, 0.5], [3, 0.7]])
    assert_array_equal(drawn["best: 0.5 in epoch 2"].get_xydata(), [[2, 0.5]])
    assert ax.get_yscale() == "linear"


def test_the_best_accuracy_is_the_largest():
    h = history(accuracy=[0.5, 0.9, 0.8], val_accuracy=[0.4, 0.6, 0.5])
    assert_array_equal(
        lines(plots.learning_curves(h, figure="accuracy"))["best: 0.6 in epoch 2"].get_xydata(), [[2, 0.6]]
    )


def test_the_axis_is_logarithmic_where_it_helps():
    assert plots.learning_curves(history(loss=[1.0, 0.01])).get_yscale() == "log"
    assert plots.learning_curves(history(loss=[1.0, -0.01])).get_yscale() == "linear"


def test_one_epoch_is_a_point_that_can_be_seen():
    drawn = lines(rendered(plots.learning_curves(history(loss=[1.0], val_loss=[2.0]))))
    assert drawn["training"].get_marker() == "o"
    assert list(drawn) == ["training", "validation"]


def test_history_plot_is_the_same():
    h = history(loss=[1.0, 0.6], accuracy=[0.1, 0.2])
    assert_array_equal(lines(h.plot("accuracy"))["training"].get_ydata(), [0.1, 0.2])
    assert h.plot().get_ylabel() == "loss"


def test_learning_curves_refuse_nothing_and_unknown_figures():
    with pytest.raises(ValueError, match="at least one epoch, got an empty one"):
        dn.History().plot()
    with pytest.raises(ValueError, match="one of loss, got 'accuracy'"):
        history(loss=[1.0]).plot("accuracy")
    with pytest.raises(TypeError, match="History that fit returns, got dict"):
        plots.learning_curves({"loss": [1.0]})


# -- decision regions ------------------------------------------------------------------------------------------------


def half_plane(points):
    return (points[:, 0] > 1.0).astype(int)


def test_decision_regions_lie_where_the_classes_do():
    x, y = np.array([[0.0, 0.0], [0.5, 1.0], [1.5, 0.0], [2.0, 1.0]]), np.array([0, 1, 1, 1])
    ax = rendered(plots.decision_regions(half_plane, x, y))
    drawn = lines(ax)
    assert_array_equal(drawn["class 0"].get_xydata(), x[:1])
    assert_array_equal(drawn["class 1"].get_xydata(), x[1:])
    assert_array_equal(drawn["1 wrong"].get_xydata(), x[1:2])
    boundary = np.concatenate([p.vertices for c in ax.collections[1:] for p in c.get_paths()])
    assert_allclose(boundary[:, 0], 1.0, atol=0.01)
    regions = ax.collections[0]
    left, right = (path.get_extents() for path in regions.get_paths())
    assert left.x1 == pytest.approx(1.0, abs=0.01)
    assert right.x0 == pytest.approx(1.0, abs=0.01)


def test_decision_regions_take_a_trainer_and_an_estimator():
    x, y = dn.datasets.moons(60, seed=0)
    trainer = dn.Trainer(dn.mlp([2, 8, 1], seed=0), dn.SigmoidCrossEntropy(), "adam")
    wrong = int((trainer.predict_classes(x) != y).sum())
    assert f"{wrong} wrong" in lines(plots.decision_regions(trainer, x, y))
    estimator = types.SimpleNamespace(predict=half_plane)
    assert "class 0" in lines(plots.decision_regions(estimator, x, y))


def test_decision_regions_of_one_class_and_one_sample():
    ax = rendered(plots.decision_regions(lambda p: np.zeros(len(p), int), [[1.0, 2.0]], [0]))
    assert "class 0" in lines(ax)


def test_decision_regions_take_names_of_classes():
    ax = plots.decision_regions(
        lambda p: np.where(p[:, 0] > 0, "far", "near"), [[-1.0, 0.0], [1.0, 0.0]], ["near", "farther"]
    )
    assert {"class near", "class far", "class farther", "1 wrong"} <= set(lines(ax))


@pytest.mark.parametrize("shape", [(4, 3), (4,), (2, 2, 2), (0, 2)])
def test_decision_regions_need_a_plane(shape):
    with pytest.raises(ValueError, match=r"expects x of shape \(n, 2\), got \("):
        plots.decision_regions(half_plane, np.zeros(shape))


def test_decision_regions_refuse_what_gives_no_classes():
    x = np.zeros((3, 2))
    with pytest.raises(TypeError, match="pass the Trainer"):
        plots.decision_regions(dn.mlp([2, 2]), x)
    with pytest.raises(TypeError, match="a Trainer, an estimator or a function, got 3"):
        plots.decision_regions(3, x)
    with pytest.raises(ValueError, match="one class a point"):
        plots.decision_regions(lambda p: p, x)
    with pytest.raises(ValueError, match="a class for every row"):
        plots.decision_regions(half_plane, x, [1])
    with pytest.raises(ValueError, match="up to 7 classes, got 8"):
        plots.decision_regions(half_plane, np.zeros((8, 2)), np.arange(8))


# -- confusion matrix and regression ---------------------------------------------------------------------------------


def test_confusion_matrix_counts_like_scikit_learn():
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    expected = confusion_matrix(true, predicted)
    ax = rendered(plots.confusion_matrix(true, predicted))
    written = np.zeros((4, 4), int)
    for text in ax.texts:
        column, row = text.get_position()
        written[int(row), int(column)] = int(text.get_text())
    assert_array_equal(written, expected)
    assert_allclose(ax.images[0].get_array(), expected / expected.sum(axis=1, keepdims=True))
    assert ax.get_title().startswith(f"{np.trace(expected)} of 60 right")


def test_confusion_matrix_writes_the_labels():
    ax = plots.confusion_matrix(["b", "a", "b"], ["b", "b", "b"], labels=["first", "second"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first", "second"]


def test_confusion_matrix_refuses_bad_input():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        plots.confusion_matrix([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match=r"got \(0,\) and \(0,\)"):
        plots.confusion_matrix([], [])
    with pytest.raises(ValueError, match="one label for each of 2 classes, got 1"):
        plots.confusion_matrix([0, 1], [0, 1], labels=["a"])


def test_predicted_against_true_draws_points_diagonal_and_fit():
    t = np.array([1.0, 2.0, 3.0, 4.0])
    p = np.array([1.5, 1.9, 3.2, 3.4])
    ax = rendered(plots.predicted_against_true(t, p[:, None]))
    drawn = lines(ax)
    assert_array_equal(drawn["_samples"].get_xydata(), np.column_stack([t, p]))
    diagonal = drawn["predicted = true"].get_xydata()
    assert_array_equal(diagonal[:, 0], diagonal[:, 1])
    slope, intercept = np.polyfit(t, p, 1)
    fit = next(line for label, line in drawn.items() if label.startswith("fit"))
    assert_allclose(fit.get_ydata(), intercept + slope * fit.get_xdata(), rtol=1e-12)
    r2 = 1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum()
    assert ax.get_title() == f"R2 = {r2:.3f}, n = 4"


def test_predicted_against_one_true_value_has_no_fit():
    drawn = lines(rendered(plots.predicted_against_true([2.0, 2.0], [1.0, 3.0])))
    assert not any(label.startswith("fit") for label in drawn)


def test_residual_histogram_counts():
    t, p = np.array([0.0, 0.0, 1.0, 5.0]), np.array([0.5, 0.6, 0.0, 1.0])
    ax = plots.residual_histogram(t, p, bins=4)
    counts, edges = np.histogram(t - p, 4)
    assert_array_equal([patch.get_height() for patch in ax.patches], counts)
    assert_allclose([patch.get_x() for patch in ax.patches], edges[:-1])
    assert ax.get_lines()[1].get_xdata()[0] == pytest.approx((t - p).mean())


@pytest.mark.parametrize("draw", [plots.predicted_against_true, plots.residual_histogram])
def test_regression_pictures_refuse_bad_input(draw):
    with pytest.raises(ValueError, match="as many predicted as true values, got 1 and 2"):
        draw([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"true of shape \(n,\) with at least one entry, got \(0,\)"):
        draw([], [])
    with pytest.raises(ValueError, match="predicted holds NaN at row 1"):
        draw([1.0, 2.0], [1.0, np.nan])


# -- the model -------------------------------------------------------------------------------------------------------


def test_network_diagram_draws_every_weight():
    model = dn.Sequential([dn.Dense(2, 3), dn.Tanh(), dn.Dense(3, 1)], seed=0)
    model.layers[0].W = [[0.5, -1.0, 0.25], [2.0, 0.0, -0.5]]
    ax = rendered(model.plot())
    first = ax.collections[0]
    segments = np.array(first.get_segments())
    assert segments.shape == (6, 2, 2)
    assert_array_equal(segments[:, :, 0], [[0, 1]] * 6)
    assert_array_equal(segments[:3, 0, 1], [0.5] * 3)  # those of input 1 leave one place
    assert len(set(segments[:3, 1, 1])) == 3
    size = np.abs(model.layers[0].W).ravel() / 2
    assert_allclose(first.get_linewidths(), 0.3 + 2.7 * size, rtol=1e-6)
    solid = [dashes[1] is None for dashes in first.get_linestyles()]
    assert solid == [True, False, True, True, True, False]
    texts = [t.get_text() for t in ax.texts]
    assert {"0.50", "-1.00", "2.00", "2 inputs", "3\nTanh", "1 output"} <= set(texts)
    assert texts.count("b 0.00") == 4


def test_network_diagram_leaves_neurons_out_and_says_so():
    ax = rendered(plots.network_diagram(dn.mlp([64, 12, 3], seed=0), max_neurons=5))
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [5, 5, 3]
    texts = [t.get_text() for t in ax.texts]
    assert texts.count("⋮") == 2
    assert "64 inputs" in texts
    assert len(ax.collections[0].get_segments()) == 25
    texts = [t.get_text() for t in plots.network_diagram(dn.mlp([2, 3, 1], seed=0), max_neurons=2).texts]
    assert texts.count("b 0.00") == 3


def test_network_diagram_shows_containers_as_boxes():
    inside = dn.Residual([dn.Dense(4, 4)])
    model = dn.Sequential([dn.BatchNorm(3), dn.Dense(3, 4), inside, dn.BatchNorm(4), dn.Dense(4, 1)], seed=0)
    ax = rendered(model.plot())
    texts = [t.get_text() for t in ax.texts]
    assert "3 inputs\nBatchNorm" in texts
    assert "Residual" in texts
    assert "4\nBatchNorm" in texts
    assert len(ax.collections) == 2


def test_network_diagram_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="fix the number of inputs"):
        dn.Sequential([dn.ReLU()]).plot()
    with pytest.raises(ValueError, match="max_neurons to be a whole number of at least 1, got 0"):
        dn.mlp([1, 1]).plot(max_neurons=0)
    with pytest.raises(TypeError, match="expects a Sequential, got Dense"):
        plots.network_diagram(dn.Dense(1, 1))


def test_weight_histograms_count_every_weight():
    model = dn.mlp([20, 30, 5], seed=0)
    ax = rendered(plots.weight_histograms(model, bins=10))
    reach = float(max(np.abs(layer.W).max() for layer in model.dense_layers))
    for i, (patch, layer) in enumerate(zip(ax.patches, model.dense_layers, strict=True)):
        values, edges, baseline = patch.get_data()
        expected_edges = np.linspace(-reach, reach, 11)
        counts = [((a <= layer.W) & (b > layer.W)).sum() for a, b in pairwise(expected_edges)]
        counts = np.array(counts) + np.append(np.zeros(9), (reach == layer.W).sum())  # the last interval has both ends
        assert_allclose(edges, expected_edges)
        assert baseline == i
        assert_allclose((values - i) / 0.85, counts / counts.max())


def test_gradient_histograms_show_the_last_gradient():
    model = dn.mlp([3, 4, 1], seed=0)
    with pytest.raises(ValueError, match=r"call trainer\.step\(x, y\)"):
        plots.gradient_histograms(model)
    dn.Trainer(model, "mse", "sgd").step(np.eye(3), [1.0, 2.0, 3.0])
    ax = plots.gradient_histograms(model, bins=6)
    reach = float(max(np.abs(layer.dW).max() for layer in model.dense_layers))
    counts, _ = np.histogram(model.layers[0].dW, np.linspace(-reach, reach, 7))
    assert_allclose(ax.patches[0].get_data().values / 0.85, counts / counts.max())


def test_histograms_refuse_models_without_weights_and_infinity():
    with pytest.raises(ValueError, match="a model with dense layers"):
        plots.weight_histograms(dn.Sequential([dn.BatchNorm(2)]))
    model = dn.mlp([2, 1], seed=0)
    model.params = [np.inf, 0, 0]
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        plots.weight_histograms(model)
    model.params = np.zeros(3)
    rendered(plots.weight_histograms(model))


def test_features_are_the_weights_as_images_longest_first():
    model = dn.Sequential([dn.Dense(6, 3)], seed=0)
    W = np.arange(18.0).reshape(6, 3) - 8
    model.layers[0].W = W
    ax = rendered(plots.features(model, (2, 3)))
    sheet = ax.images[0].get_array()
    longest = int(np.argmax(np.linalg.norm(W, axis=0)))
    expected = W[:, longest].reshape(2, 3)
    assert_allclose(sheet[1:3, 1:4], expected / np.abs(expected).max(), rtol=1e-6)
    assert np.ma.getmaskarray(sheet)[0].all()
    assert "all 3 neurons" in ax.get_title()
    assert "2 of 3" in plots.features(model, (2, 3), count=2).get_title()


def test_features_need_a_shape_that_fits():
    with pytest.raises(ValueError, match="as 6 inputs make no square"):
        plots.features(dn.mlp([6, 2]))
    with pytest.raises(ValueError, match=r"a shape of 6 pixels.*got \(2, 2\)"):
        plots.features(dn.mlp([6, 2]), (2, 2))
    with pytest.raises(ValueError, match="a model with dense layers"):
        plots.features(dn.Sequential([dn.ReLU()]))


# -- the loss and the rate -------------------------------------------------------------------------------------------


def test_loss_along_is_the_loss_and_its_tangent():
    model = dn.mlp([3, 4, 1], activation="tanh", dtype="float64", seed=0)
    x, y = np.random.default_rng(0).normal(size=(5, 3)), np.arange(5.0)
    before = model.params.copy()
    ax = rendered(plots.loss_along(model, "mse", x, y, reach=0.1, points=5))
    assert_array_equal(model.params, before)
    curve, _, tangent = ax.get_lines()
    loss, other = dn.MeanSquaredError(), dn.mlp([3, 4, 1], activation="tanh", dtype="float64", seed=0)
    here = loss.forward(other.forward(x), y)
    other.backward(loss.backward())
    g = other.grads.copy()
    expected = []
    for t in np.linspace(-0.1, 0.1, 5):
        other.params = before - t * g
        expected.append(loss.forward(other.predict(x), y))
    assert_allclose(curve.get_ydata(), expected, rtol=1e-12)
    assert_allclose(tangent.get_ydata(), here - np.linspace(-0.1, 0.1, 5) * (g @ g), rtol=1e-10)


def test_loss_along_a_given_direction():
    model = dn.Sequential([dn.Dense(1, 1, use_bias=False)], dtype="float64")
    model.params = [2.0]
    ax = plots.loss_along(model, "mse", [[1.0]], [0.0], [1.0], points=3)
    assert_allclose(ax.get_lines()[0].get_ydata(), [1.0, 4.0, 9.0])
    assert "slope 4" in ax.get_lines()[2].get_label()


def test_loss_along_refuses_bad_directions():
    model = dn.Sequential([dn.Dense(1, 1)], seed=0)
    with pytest.raises(ValueError, match=r"direction of shape \(2,\), the parameters', got \(3,\)"):
        plots.loss_along(model, "mse", [[1.0]], [0.0], [1.0, 2.0, 3.0])
    model.params = [0.0, 0.0]
    with pytest.raises(ValueError, match="the gradient is 0 here: pass a direction"):
        plots.loss_along(model, "mse", [[1.0]], [0.0])
    with pytest.raises(ValueError, match="as many targets as rows"):
        plots.loss_along(model, "mse", [[1.0]], [0.0, 1.0])


def test_schedule_draws_its_rates():
    schedule = dn.CosineDecay(0.1, steps=10)
    line = plots.schedule(schedule, 12).get_lines()[0]
    assert_array_equal(line.get_xdata(), range(12))
    assert_allclose(line.get_ydata(), [schedule(t) for t in range(12)])
    with pytest.raises(TypeError, match=r"expects a Schedule such as .*, got 0\.1"):
        plots.schedule(0.1, 5)


# -- signals over training -------------------------------------------------------------------------------------------


def record():
    made = SignalRecord()
    for step in (10, 20, 30):
        dense = LayerSignals("dense 1", 0.1 * step, 1.0, np.nan, np.nan, 1.0 / step)
        relu = LayerSignals("ReLU 1", 0.0, 0.5, step / 100, np.nan, 100.0)
        made.add(step, [dense, relu])
        made.add_update(step, ["dense 1", "ReLU 1"], [step * 1e-4])
    return made


def test_signals_draw_every_layer_over_the_steps():
    drawn = lines(rendered(plots.signals(record(), "mean")))
    assert_allclose(drawn["dense 1"].get_xydata(), [[10, 1.0], [20, 2.0], [30, 3.0]])
    assert_allclose(drawn["ReLU 1"].get_ydata(), 0)
    ax = plots.signals(record(), "gradient")
    assert ax.get_yscale() == "log"


def test_shares_are_drawn_for_the_layers_that_have_them():
    ax = rendered(plots.signals(record(), "dead"))
    assert list(lines(ax)) == ["ReLU 1"]
    assert_allclose(lines(ax)["ReLU 1"].get_ydata(), [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="no layer of this model has share of saturated outputs"):
        plots.signals(record(), "saturated")


def test_update_ratios_are_drawn_on_a_log_axis_with_the_usual_band():
    ax = rendered(plots.update_ratios(record()))
    assert_allclose(lines(ax)["dense 1"].get_xydata(), [[10, 1e-3], [20, 2e-3], [30, 3e-3]])
    assert ax.get_yscale() == "log"
    band = ax.patches[0]
    assert_allclose([band.get_y(), band.get_height()], [1e-3, 9e-3])


@pytest.mark.parametrize("draw", [plots.signals, plots.update_ratios])
def test_empty_records_are_refused(draw):
    with pytest.raises(ValueError, match=r"expects a record .*got (an empty one|none)"):
        draw(SignalRecord())
    with pytest.raises(TypeError, match="the record of a GradientDoctor"):
        draw(dn.History())


def test_signals_know_their_figures():
    with pytest.raises(ValueError, match="a figure of mean, spread, dead, saturated, gradient, got 'size'"):
        plots.signals(record(), "size")


# -- live ------------------------------------------------------------------------------------------------------------


class Shown:
    """Stands in for IPython.display, and keeps what it is given."""

    def __init__(self):
        self.images = []

    def Image(self, data, format):
        assert format == "png"
        return data

    def display(self, image, display_id):
        assert display_id is True
        self.images.append(image)
        return types.SimpleNamespace(update=self.images.append)


@pytest.fixture
def notebook(monkeypatch):
    shown = Shown()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=shown))
    monkeypatch.setattr(live, "in_notebook", lambda: True)
    return shown


def train(plot, epochs=4):
    trainer = dn.Trainer(dn.mlp([64, 8, 10], seed=0), "softmax_cross_entropy", "adam", metrics=["accuracy"])
    return trainer.fit(X[:200], Y[:200], epochs=epochs, seed=0, progress=False, callbacks=[plot])


def test_live_plot_draws_what_the_time_allows_and_once_at_the_end(notebook, monkeypatch):
    now = [0.0]

    def drawn(history, figures):
        now[0] += 1.0  # a picture takes a second
        return f"{len(history)} {figures}".encode()

    monkeypatch.setattr(live, "picture", drawn)
    monkeypatch.setattr(live, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    plot = dn.LivePlot(share=0.1)

    class Slow(dn.Callback):
        def on_epoch_begin(self, run):
            now[0] += 3.0

    trainer = dn.Trainer(dn.mlp([64, 8, 10], seed=0), "softmax_cross_entropy", "adam", metrics=["accuracy"])
    trainer.fit(X[:64], Y[:64], epochs=41, seed=0, progress=False, callbacks=[Slow(), plot])
    # the first guess of 0.2 s fits at once; then the k-th second of drawing has to wait for 10 k seconds to pass
    expected = [1, *range(7, 41, 3), 41]
    assert [int(image.split()[0]) for image in notebook.images] == expected
    assert plot.pictures == len(expected)
    assert b"('loss', 'accuracy')" in notebook.images[0]


def test_live_plot_gives_real_pictures(notebook):
    train(dn.LivePlot("accuracy"), epochs=2)
    assert notebook.images[-1].startswith(b"\x89PNG")
    assert not plt.get_fignums()


def test_live_plot_is_quiet_outside_notebooks_and_changes_nothing():
    plot = dn.LivePlot()
    with_plot, without = train(plot), train(dn.Callback())
    assert plot.pictures == 0
    assert with_plot["loss"] == without["loss"]


def test_live_plot_refuses_bad_arguments(notebook):
    with pytest.raises(TypeError, match="names of figures"):
        dn.LivePlot(3)
    with pytest.raises(ValueError, match=r"share in \[0, 1\)"):
        dn.LivePlot(share=1.5)
    with pytest.raises(ValueError, match="LivePlot monitors 'auc'"):
        train(dn.LivePlot("auc"))
