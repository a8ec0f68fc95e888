"""Each problem is made on purpose and has to be found; healthy networks have to pass."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet.health.signals import signals, update_ratios

X, Y = dn.datasets.load_digits()
CROSS_ENTROPY = "softmax_cross_entropy"


def problems(report):
    return [finding.problem for finding in report.findings]


def only(report):
    assert len(report.findings) == 1, report
    return report.findings[0]


def fit(model, optimizer, epochs=3, doctor=None, x=X, y=Y, loss=CROSS_ENTROPY, **options):
    doctor = doctor or dn.GradientDoctor()
    dn.Trainer(model, loss, optimizer).fit(x, y, epochs=epochs, seed=0, callbacks=[doctor], **options)
    return doctor


# -- the measurements ------------------------------------------------------------------------------------------------


def test_signals_are_those_of_plain_loops():
    model = dn.Sequential([dn.Dense(3, 4), dn.Tanh(), dn.Dense(4, 2)], dtype="float64", seed=0)
    x, y = np.random.default_rng(0).normal(size=(6, 3)), np.random.default_rng(1).normal(size=(6, 2))
    found = signals(model, dn.MeanSquaredError(), x, y)
    z1 = x @ model.layers[0].W + model.layers[0].b
    a1 = np.tanh(z1)
    z2 = a1 @ model.layers[2].W + model.layers[2].b
    d2 = np.array([2 * (z2[s] - y[s]) / 2 for s in range(6)])  # the mean over 2 outputs, one sample at a time
    da = np.array([model.layers[2].W @ d2[s] for s in range(6)])
    d1 = np.array([[da[s, j] * (1 - a1[s, j] ** 2) for j in range(4)] for s in range(6)])
    assert [layer.name for layer in found] == ["dense 1", "Tanh 1", "dense 2"]
    for layer, out, delta in zip(found, (z1, a1, z2), (d1, da, d2), strict=True):
        assert layer.mean == pytest.approx(out.mean())
        assert layer.spread == pytest.approx(out.std())
        assert layer.gradient == pytest.approx(np.sqrt((delta**2).sum(axis=1).mean()))
    assert found[1].saturated == pytest.approx((1 - a1**2 < 0.05).mean())
    assert np.isnan(found[0].dead)
    assert np.isnan(found[0].saturated)


def test_layers_inside_containers_are_heard_and_the_model_is_left_alone():
    model = dn.Sequential(
        [dn.Dense(3, 4), dn.BatchNorm(4), dn.Residual([dn.Dense(4, 4), dn.ReLU(), dn.Dropout(0.5)]), dn.Dense(4, 1)],
        seed=0,
    )
    x, y = np.random.default_rng(0).normal(size=(8, 3)).astype("float32"), np.zeros((8, 1), "float32")
    twin = copy.deepcopy(model)
    found = signals(model, dn.MeanSquaredError(), x, y)
    assert [layer.name for layer in found] == ["dense 1", "BatchNorm 1", "dense 2", "ReLU 2", "Dropout 2", "dense 3"]
    assert all(layer.gradient > 0 for layer in found)
    assert_array_equal(model.forward(x), twin.forward(x))  # the same mask, the same statistics
    assert_array_equal(model.layers[1].state["running_mean"], twin.layers[1].state["running_mean"])
    assert not model.grads.any()


def test_update_ratios_are_lengths_of_steps_by_those_of_weights():
    model = dn.mlp([2, 3, 1], dtype="float64", seed=0)
    before = model.params.copy()
    old = [layer.W.copy() for layer in model.dense_layers]
    model.dense_layers[0].W = old[0] * 1.5
    model.dense_layers[1].W = old[1] * 0.9
    assert_allclose(update_ratios(model, before), [0.5, 0.1])
    model.dense_layers[0].freeze("W")
    assert np.isnan(update_ratios(model, before)[0])


# -- healthy ---------------------------------------------------------------------------------------------------------


HEALTHY = {
    "relu": dn.mlp([64, 64, 10], seed=0),
    "deep relu": dn.mlp([64, *[48] * 6, 10], kernel_initializer="he_normal", seed=0),
    "tanh": dn.mlp([64, 32, 32, 10], activation="tanh", seed=0),
    "one hidden sigmoid": dn.mlp([64, 32, 10], activation="sigmoid", seed=0),
    "batch norm": dn.mlp([64, 32, 32, 10], batch_norm=True, dropout=0.2, seed=0),
    "no hidden layer": dn.mlp([64, 10], seed=0),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_networks_pass(name):
    report = dn.examine(HEALTHY[name], CROSS_ENTROPY, X, Y, optimizer=dn.SGD(0.1))
    assert report.ok, report
    assert bool(report)
    assert str(report).endswith("healthy: nothing found")
    assert "healthy" in report._repr_html_()


@pytest.mark.parametrize("optimizer", [dn.SGD(0.1), dn.SGD(0.05, momentum=0.9), dn.Adam(1e-3)], ids=repr)
def test_healthy_training_passes(optimizer):
    doctor = fit(dn.mlp([64, 32, 10], seed=0), optimizer, epochs=2)
    assert doctor.report.ok, doctor.report


def test_healthy_regression_passes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = np.sin(x).sum(axis=1) + rng.normal(size=400) * 0.3
    model = dn.mlp([3, 32, 1], activation="tanh", seed=0)
    assert fit(model, dn.Adam(0.01), epochs=30, x=x, y=y, loss="mse").report.ok
    report = dn.examine(model, "mse", x, y)
    assert report.ok, report


# -- the problems ---------------------------------------------------------------------------------------------------


def test_dead_units():
    model = dn.mlp([64, 20, 10], seed=0)
    model.layers[0].b = np.where(np.arange(20) < 8, -100.0, 10.0)
    finding = only(dn.examine(model, CROSS_ENTROPY, X, Y))
    assert (finding.problem, finding.where) == ("dead units", "ReLU 1")
    assert "40% of its units" in finding.evidence
    assert "LeakyReLU" in finding.remedy


def test_layers_with_the_same_problem_share_a_finding():
    model = dn.mlp([64, 20, 20, 10], seed=0)
    for layer, dead in ((model.layers[0], 8), (model.layers[2], 10)):
        layer.W *= 0.1
        layer.b = np.where(np.arange(20) < dead, -100.0, 10.0)
    finding = only(dn.examine(model, CROSS_ENTROPY, X, Y))
    assert (finding.problem, finding.where) == ("dead units", "ReLU 1, ReLU 2")
    assert "Of their units, 40% in ReLU 1, 50% in ReLU 2 have slope 0" in finding.evidence


def test_saturation():
    model = dn.mlp([64, 32, 10], activation="tanh", seed=0)
    model.layers[0].W *= 30
    report = dn.examine(model, CROSS_ENTROPY, X, Y)
    finding = only(report)
    assert (finding.problem, finding.where) == ("saturation", "Tanh 1")
    slopes = 1 - np.tanh(model.layers[0].infer(X)) ** 2
    assert f"{(slopes < 0.05).mean():.0%} of its outputs" in finding.evidence


def test_a_sure_output_is_no_saturation():
    model = dn.Sequential([dn.Dense(1, 1), dn.Sigmoid()], seed=0)
    model.layers[0].W = [[50.0]]
    assert dn.examine(model, "binary_crossentropy", [[-1.0], [1.0]], [0, 1]).ok


def test_vanishing_gradients():
    model = dn.mlp([64, *[32] * 7, 10], activation="sigmoid", seed=0)
    finding = only(dn.examine(model, CROSS_ENTROPY, X, Y))
    assert (finding.problem, finding.where) == ("vanishing gradients", "dense 1 to dense 8")
    assert "Residual" in finding.remedy


def test_exploding_gradients():
    model = dn.mlp([64, *[32] * 7, 10], seed=0)
    for layer in model.dense_layers:
        layer.W *= 4
    found = dn.examine(model, CROSS_ENTROPY, X, Y)
    assert "exploding gradients" in problems(found)
    assert "vanishing gradients" not in problems(found)
    assert "clip_norm" in next(f.remedy for f in found.findings if f.problem == "exploding gradients")


def test_rate_too_high_and_too_low():
    for rate, problem in ((20.0, "rate too high"), (1e-5, "rate too low")):
        model, optimizer = dn.mlp([64, 32, 10], seed=0), dn.SGD(rate)
        before = model.params.copy()
        report = dn.examine(model, CROSS_ENTROPY, X, Y, optimizer=optimizer)
        assert only(report).problem == problem
        assert_array_equal(model.params, before)
        assert optimizer.steps == 0
        twin = dn.Trainer(copy.deepcopy(model), CROSS_ENTROPY, dn.SGD(rate))
        twin.step(X, Y)
        expected = np.linalg.norm(twin.model.layers[2].W - model.layers[2].W) / np.linalg.norm(model.layers[2].W)
        assert report.update_ratios["dense 2"] == pytest.approx(expected, rel=0.1)


def test_rate_too_high_is_seen_in_training():
    doctor = fit(dn.mlp([64, 32, 10], seed=0), dn.SGD(5.0))
    assert "rate too high" in problems(doctor.report)


def test_rate_too_low_is_seen_in_training():
    assert problems(fit(dn.mlp([64, 32, 10], seed=0), dn.SGD(1e-5)).report) == ["rate too low"]


def test_the_doctor_reports_after_a_divergence_too():
    doctor = dn.GradientDoctor()
    with pytest.raises(dn.DivergenceError):
        fit(dn.mlp([64, 32, 1], seed=0), dn.SGD(1e4), doctor=doctor, y=Y.astype(float), loss="mse")
    assert "rate too high" in problems(doctor.report)


def test_unscaled_columns_are_named_worst_first():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    x[:, 1] = 1990 + 10 * x[:, 1]
    x[:, 3] *= 1e5
    x[:, 4] *= 1e-5
    report = dn.examine(dn.mlp([5, 8, 1], activation="tanh", seed=0), "mse", x, x[:, 0])
    finding = next(f for f in report.findings if f.problem == "unscaled inputs")
    assert finding.indices == (3, 4, 1)
    assert finding.where == "3 of 5 columns of x"
    assert f"column 1: mean {x[:, 1].mean():.3g}" in finding.evidence
    model = dn.Sequential([dn.BatchNorm(5), dn.Dense(5, 8), dn.Tanh(), dn.Dense(8, 1)], seed=0)
    assert "unscaled inputs" not in problems(dn.examine(model, "mse", x, x[:, 0]))


def test_constant_columns_are_no_problem():
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[:, 1] = 1.0
    assert dn.examine(dn.mlp([2, 8, 1], activation="tanh", seed=0), "mse", x, x[:, 0]).ok


def test_wrong_labels_are_found_by_row():
    wrong = Y.copy()
    swapped = np.random.default_rng(1).choice(len(Y), 12, replace=False)
    wrong[swapped] = (Y[swapped] + 5) % 10
    model = dn.mlp([64, 32, 10], seed=0)
    dn.Trainer(model, CROSS_ENTROPY, dn.Adam(0.005)).fit(X, Y, epochs=12, seed=0)
    report = dn.examine(model, CROSS_ENTROPY, X, wrong)
    finding = only(report)
    assert finding.problem == "suspicious labels"
    assert len(set(swapped) & set(finding.indices)) >= 11
    assert len(finding.indices) <= 16
    norms = np.linalg.norm(dn.per_sample_gradients(model, CROSS_ENTROPY, X, wrong), axis=1)
    assert_array_equal(finding.indices, sorted(finding.indices, key=lambda row: -norms[row]))
    assert f"{finding.indices[0]} ({norms.max():.2g})" in finding.evidence


def test_wrong_binary_labels_and_wrong_numbers_are_found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = (x.sum(axis=1) > 0).astype(int)
    row = int(np.argmax(x.sum(axis=1)))
    model = dn.mlp([2, 1], seed=0)
    dn.Trainer(model, "sigmoid_cross_entropy", dn.Adam(0.1)).fit(x, y, epochs=60, seed=0)
    y[row] = 0
    assert only(dn.examine(model, "sigmoid_cross_entropy", x, y)).indices == (row,)
    t = x.sum(axis=1) + 0.1 * rng.normal(size=300)
    model = dn.mlp([2, 1], seed=0)
    dn.Trainer(model, "mse", dn.Adam(0.1)).fit(x, t, epochs=30, seed=0)
    t[7] += 10
    assert only(dn.examine(model, "mse", x, t)).indices == (7,)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_wrong_labels_are_found_without_probabilities(loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    side = x.sum(axis=1)
    x[:, 0] += np.where(side > 0, 1.0, -1.0)  # a gap between the classes
    y = (side > 0).astype(int)
    row = int(np.argmax(side))
    model = dn.mlp([2, 1], seed=0)
    dn.Trainer(model, loss, dn.Adam(0.05)).fit(x, y, epochs=60, seed=0)
    assert "suspicious labels" not in problems(dn.examine(model, loss, x, y))
    y[row] = 0
    found = [f for f in dn.examine(model, loss, x, y).findings if f.problem == "suspicious labels"]
    assert found[0].indices == (row,)


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        ("huber", 1, Y % 3 * 1.0),
        ("poisson_nll", 1, Y),
        ("gaussian_nll", 2, Y * 1.0),
        ("focal", 10, Y),
        (dn.SigmoidCrossEntropy(), 10, np.eye(10)[Y]),
        (dn.Quantile([0.1, 0.9]), 2, np.column_stack([Y, Y])),
    ],
    ids=str,
)
def test_every_kind_of_loss_can_be_examined(loss, outputs, target):
    model = dn.mlp([64, 16, outputs], seed=0)
    report = dn.examine(model, loss, X, target, optimizer="adam")
    assert not {"vanishing gradients", "exploding gradients", "saturation", "rate too low"} & set(problems(report))
    assert len(report.layers) == 3


def test_the_callback_tells_of_wrong_labels_without_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    t = x.sum(axis=1)
    t[7] += 50
    doctor = fit(dn.mlp([2, 1], seed=0), dn.Adam(0.05), epochs=30, x=x, y=t, loss="huber")
    finding = only(doctor.report)
    assert (finding.problem, finding.where, finding.indices) == ("suspicious labels", "1 of 300 rows looked at", ())
    assert "examine(model, loss, x, y)" in finding.remedy


def test_numbers_that_are_not_finite():
    model = dn.mlp([2, 3, 1], seed=0)
    model.layers[2].W = np.full((3, 1), np.inf)
    model.layers[0].b = [1.0, 1.0, 1.0]
    finding = only(dn.examine(model, "mse", [[0.1, 0.2]], [1.0]))
    assert (finding.problem, finding.where) == ("numbers that are not finite", "dense 2")


# -- the callback ----------------------------------------------------------------------------------------------------


def test_the_doctor_changes_nothing_of_the_training():
    def run(callbacks):
        model = dn.mlp([64, 16, 10], dropout=0.3, batch_norm=True, seed=0)
        trainer = dn.Trainer(model, CROSS_ENTROPY, "adam")
        history = trainer.fit(X[:300], Y[:300], epochs=3, seed=0, callbacks=callbacks)
        return model.params.copy(), history["loss"]

    watched, alone = run([dn.GradientDoctor(every=2)]), run([])
    assert_array_equal(watched[0], alone[0])
    assert watched[1] == alone[1]


def test_the_record_has_a_moment_an_epoch_or_every_so_many_steps():
    doctor = fit(dn.mlp([64, 16, 10], seed=0), dn.SGD(0.1), x=X[:320], y=Y[:320], batch_size=32)
    assert doctor.record.steps == [10, 20, 30]
    assert doctor.record.update_steps == [1, 11, 21]
    doctor = fit(
        dn.mlp([64, 16, 10], seed=0),
        dn.SGD(0.1),
        doctor=dn.GradientDoctor(every=4),
        x=X[:320],
        y=Y[:320],
        batch_size=32,
    )
    assert doctor.record.steps == doctor.record.update_steps == [4, 8, 12, 16, 20, 24, 28]
    assert doctor.record["gradient"].shape == (7, 3)
    with pytest.raises(KeyError, match="no figure 'size' in the record"):
        doctor.record["size"]


def test_the_recorded_update_is_that_of_the_step():
    model, seen = dn.mlp([64, 16, 10], seed=0), []

    class Watch(dn.Callback):
        def on_gradients(self, run):
            self.old = run.model.layers[0].W.copy()

        def on_batch_end(self, run):
            seen.append(np.linalg.norm(run.model.layers[0].W - self.old) / np.linalg.norm(self.old))

    doctor = dn.GradientDoctor(every=1)
    dn.Trainer(model, CROSS_ENTROPY, "adam").fit(X[:128], Y[:128], epochs=1, seed=0, callbacks=[Watch(), doctor])
    assert_allclose(doctor.record.update_ratios[:, 0], seen, rtol=1e-6)


def test_the_doctor_takes_streams_and_accumulated_batches():
    batches = [(X[i : i + 50], Y[i : i + 50]) for i in range(0, 300, 50)]
    doctor = dn.GradientDoctor()
    trainer = dn.Trainer(dn.mlp([64, 16, 10], seed=0), CROSS_ENTROPY, dn.SGD(0.1), accumulate=4)
    trainer.fit(batches, epochs=2, callbacks=[doctor])
    assert doctor.record.steps == [2, 4]
    assert doctor.record.update_steps == [1, 3]
    assert doctor.report.ok


def test_without_a_fit_there_is_no_report():
    doctor = dn.GradientDoctor()
    assert doctor.report is None
    assert str(doctor) == "GradientDoctor: no fit yet"
    dn.Trainer(dn.mlp([64, 10], seed=0), CROSS_ENTROPY, "sgd").fit(X, Y, epochs=0, callbacks=[doctor])
    assert doctor.report is None


def test_reports_in_text_and_html():
    model = dn.mlp([64, *[32] * 7, 10], activation="sigmoid", seed=0)
    report = dn.examine(model, CROSS_ENTROPY, X, Y)
    text, page = str(report), report._repr_html_()
    assert text.splitlines()[0].split() == [
        "layer",
        "mean",
        "spread",
        "dead",
        "saturated",
        "|dE/dy|",
        "update",
        "/",
        "weight",
    ]
    for part in ("1. vanishing gradients (dense 1 to dense 8)", "evidence:", "cause:", "to do:"):
        assert part in text
    assert page.count("<tr>") == 16
    assert "<b>vanishing gradients</b>" in page
    assert "<script" not in page


def test_bad_arguments_are_refused():
    model = dn.mlp([64, 10], seed=0)
    with pytest.raises(TypeError, match="examine expects a Sequential as its model, got 3"):
        dn.examine(3, CROSS_ENTROPY, X, Y)
    with pytest.raises(ValueError, match="examine expects as many targets as rows"):
        dn.examine(model, CROSS_ENTROPY, X, Y[:5])
    with pytest.raises(ValueError, match=r"examine expects x of shape \(n, 64\), got \(3, 2\)"):
        dn.examine(model, CROSS_ENTROPY, np.zeros((3, 2)), [0, 1, 2])
    with pytest.raises(ValueError, match="x holds NaN at row 0, column 0"):
        dn.examine(model, CROSS_ENTROPY, np.full((3, 64), np.nan), [0, 1, 2])
    with pytest.raises(ValueError, match="every to be a whole number of at least 1, got 0"):
        dn.GradientDoctor(every=0)
