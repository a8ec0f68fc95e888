"""`find_batch_size` and the callback `NoiseScale`: they say what their equations say, and they leave no trace."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from matplotlib import pyplot as plt

import densenet as dn
from densenet.health import batches

X, Y = dn.datasets.load_digits()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def trainer(optimizer=None, layers=None, compiled="auto"):
    model = dn.mlp([64, 32, 10], seed=0) if layers is None else dn.Sequential(layers, seed=0)
    rule = optimizer or dn.SGD(0.2)
    return dn.Trainer(model, "softmax_cross_entropy", rule, metrics=["accuracy"], compiled=compiled)


@pytest.fixture(scope="module")
def found():
    return dn.find_batch_size(trainer(compiled=False), X, Y, reach=0.3)


def test_steps_samples_and_seconds_follow_the_equation(found):
    n, b = len(X), found.critical
    at = found.sizes.index(32)
    for i, size in enumerate(found.sizes):
        if size > n // 4:
            assert math.isnan(found.steps[i])
            assert found.regime(size) == "not measurable"
            continue
        ratio = (1 + b * (1 / size - 1 / n)) / (1 + b * (1 / 32 - 1 / n))
        assert found.steps[i] == pytest.approx(found.steps[at] * ratio, rel=1e-9)
        assert found.samples[i] == pytest.approx(size * found.steps[i], rel=1e-12)
        assert found.seconds[i] == pytest.approx(found.step_seconds[i] * found.steps[i], rel=1e-12)
        assert not found.compiled
        assert found.rates[i] == pytest.approx(0.2 * (1 + b / 32) / (1 + b / size), rel=1e-12)
    best = min(s for s in found.seconds if not math.isnan(s))
    assert found.seconds[found.sizes.index(found.fastest)] == best
    assert all(found.seconds[found.sizes.index(size)] <= 1.2 * best for size in found.good)


def test_the_run_reaches_what_it_says(found):
    """The same steps by hand end at the error that was asked for."""
    steps = round(found.steps[found.sizes.index(32)])
    twin, rng = trainer(), np.random.default_rng(0)
    fixed = rng.permutation(len(X))[:2048]
    source = batches._batches(len(X), 32, rng)
    errors = []
    for _ in range(steps):
        rows = next(source)
        twin.step(X[rows], Y[rows])
        errors.append(twin.evaluate(X[fixed], Y[fixed])["loss"])
    assert errors[-1] <= 0.3
    assert errors[-1 - 57 // 4] > 0.3  # at the check before


def test_the_critical_size_is_the_mean_noise_scale_of_the_run(found):
    n, top, bottom = len(X), 0.0, 0.0
    for _, b in found.moments:
        worth = 1 / (1 + b * (1 / 32 - 1 / n))
        top, bottom = top + worth * b, bottom + worth
    assert found.critical == pytest.approx(top / bottom, rel=1e-12)
    steps = found.steps[found.sizes.index(32)]
    assert len(found.moments) == 4
    assert 0 <= found.moments[0][0] < found.moments[-1][0] <= steps
    at, value = found.moments[0]
    twin, rng = trainer(), np.random.default_rng(0)
    rng.permutation(len(X))
    source = batches._batches(len(X), 32, rng)
    for _ in range(at):
        rows = next(source)
        twin.step(X[rows], Y[rows])
    exact = dn.noise_scale(
        twin.model, "softmax_cross_entropy", X, Y, population=False, curvature="gauss_newton", probes=99
    )
    assert value == pytest.approx(exact.b_noise, rel=0.5)


def test_the_mean_over_steps_of_batch_32_is_that_over_steps_of_all_rows():
    """Noise that grows along the way: as many moments of either run as it makes steps."""
    share = 1 / 32 - 1 / 1000
    noise, of_all = 5 + 3 * np.arange(60.0), []
    for b in noise:
        of_all += [b] * round(100 * (1 + b * share))  # batch 32 takes so many steps where all rows take 100
    assert batches._mean_noise(np.array(of_all), share) == pytest.approx(noise.mean(), rel=1e-3)
    assert batches._mean_noise(np.array([math.inf, math.inf]), share) == math.inf
    assert batches._mean_noise(np.array([math.inf, 0.0]), share) == pytest.approx(1 / share)
    assert batches._mean_noise(np.array([math.nan, 7.0]), share) == pytest.approx(7.0)


def test_kernels_are_timed_where_there_are_any():
    pytest.importorskip("numba")
    both = dn.find_batch_size(trainer(), X, Y)
    assert both.compiled
    at = both.sizes.index(32)
    for i, size in enumerate(both.sizes):
        if size <= len(X) // 4:
            took = both.steps[i] * both.compiled_step_seconds[i] / both.compiled_step_seconds[at]
            assert both.seconds[i] == pytest.approx(took, rel=1e-12)
    slow = np.array(both.steps) * both.step_seconds
    assert f"By the NumPy lines, {both.sizes[np.nanargmin(slow)]} is." in both.sentence
    assert "by kernels" in both.sentence
    assert "compiled" in str(both).splitlines()[0]
    without = dn.find_batch_size(trainer(layers=[dn.Dense(64, 8), dn.GELU(), dn.Dense(8, 10)]), X[:99], Y[:99])
    assert (without.compiled, without.compiled_step_seconds) == (False, None)
    with pytest.raises(ValueError, match=r"GELU.*has no kernel"):
        dn.find_batch_size(trainer(layers=[dn.Dense(64, 8), dn.GELU(), dn.Dense(8, 10)], compiled=True), X, Y)


def test_no_more_than_twenty_steps_are_timed_at_each_size_and_way(monkeypatch):
    made = []
    fit = dn.Trainer.fit

    def counted(self, x, y, **given):
        before = self.optimizer.steps
        history = fit(self, x, y, **given)
        made.append((history.compiled, given["batch_size"], self.optimizer.steps - before))
        return history

    monkeypatch.setattr(dn.Trainer, "fit", counted)
    dn.find_batch_size(trainer(), X[:99], Y[:99])
    for key in {entry[:2] for entry in made}:
        assert 10 < sum(steps for *which, steps in made if tuple(which) == key) <= 20


def test_the_call_of_kernels_is_taken_off():
    timer = batches._StepTimer()
    timer.shortest = {1: 7.0, 4: 13.0}  # a call takes 5, a step 2
    assert timer.call == pytest.approx(5.0)
    assert timer.a_step(5.0) == pytest.approx(2.0)
    timer.shortest = {1: 3.0}
    assert timer.call is None
    assert timer.a_step(0.0) == 3.0


def test_without_a_target_batch_32_is_the_unit():
    relative = dn.find_batch_size(trainer(), X, Y)
    at = relative.sizes.index(32)
    assert (relative.steps[at], relative.samples[at], relative.seconds[at]) == (1.0, 1.0, 1.0)
    assert "of the time of batch 32" in str(relative)
    assert "within 20 %" in relative.sentence


@pytest.mark.parametrize("make", [lambda: dn.SGD(0.1, momentum=0.9), lambda: dn.Adam(1e-3)])
def test_it_leaves_no_trace(make):
    mine = trainer(make(), [dn.Dense(64, 16), dn.ReLU(), dn.Dropout(0.2), dn.Dense(16, 10)])
    mine.fit(X, Y, epochs=1, seed=0)
    twin, grads, x, y = copy.deepcopy(mine), mine.model.grads.copy(), X.copy(), Y.copy()
    found = dn.find_batch_size(mine, x, y)
    assert found.rates is None
    assert "searched" in str(found)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(mine.model.grads, grads)
    assert mine.optimizer.learning_rate == twin.optimizer.learning_rate
    for one in (mine, twin):
        one.fit(X, Y, epochs=1, seed=1)
    np.testing.assert_array_equal(mine.model.params, twin.model.params)


def test_table_page_and_picture(found):
    lines = str(found).splitlines()
    assert len(lines) == len(found.sizes) + 2
    assert f"{found.fastest}*" in lines[1 + found.sizes.index(found.fastest)]
    assert lines[-1] == found.sentence
    assert found._repr_html_().count("<tr>") == len(found.sizes) + 1
    axes = found.plot()
    single = {line.get_xdata()[0] for line in axes[2].get_lines() if len(line.get_xdata()) == 1}
    assert single == {found.fastest}  # its mark, and what is within 20 % of it where nothing else is
    known = sum(not math.isnan(s) for s in found.steps)
    assert len(axes[0].get_lines()[-1].get_xdata()) == known
    with pytest.raises(TypeError, match="three axes, got 1"):
        found.plot(axes=plt.figure().subplots())
    with pytest.raises(TypeError, match="what find_batch_size returns"):
        dn.plots.batch_sizes(3)


def test_regimes():
    made = batches.BatchSizes(
        (1,), (1.0,), (1.0,), (1.0,), (1.0,), None, False, None, 40.0, (), 1000, 32, None, 1, (1, 1)
    )
    names = [made.regime(size) for size in (1, 8, 16, 128, 160, 250, 256)]
    assert names == ["perfect scaling"] * 2 + ["diminishing returns"] * 2 + ["no more gain"] * 2 + ["not measurable"]
    assert made.measurable
    assert "no other size" in made.sentence
    few = batches.BatchSizes(
        (1,), (1.0,), (1.0,), (1.0,), (1.0,), None, False, None, 400.0, (), 1000, 32, None, 1, (1, 1)
    )
    assert "not measurable with 1000 rows: it is above 250" in few.sentence


def test_what_it_refuses():
    with pytest.raises(TypeError, match="expects a Trainer"):
        dn.find_batch_size(dn.mlp([64, 10]), X, Y)
    with pytest.raises(TypeError, match="takes all rows at every step"):
        dn.find_batch_size(dn.Trainer(dn.mlp([64, 10]), "mse", dn.LBFGS()), X, Y)
    with pytest.raises(ValueError, match=r"at least 8 rows.*got 7"):
        dn.find_batch_size(trainer(), X[:7], Y[:7])
    with pytest.raises(ValueError, match=r"BatchNorm.*LayerNorm or RMSNorm"):
        dn.find_batch_size(trainer(layers=[dn.Dense(64, 8), dn.BatchNorm(8), dn.Dense(8, 10)]), X, Y)
    with pytest.raises(ValueError, match="as many targets as rows"):
        dn.find_batch_size(trainer(), X, Y[:-1])
    with pytest.raises(
        ValueError, match=r"does not reach an error of -1 in .* the lowest is .*Choose a reach above it"
    ):
        dn.find_batch_size(trainer(dn.SGD(1.0)), X[:40], Y[:40], reach=-1.0)
    with pytest.raises(dn.DivergenceError):
        dn.find_batch_size(trainer(dn.SGD(1e30)), X, Y)
    done = dn.Trainer(dn.Sequential([dn.Dense(64, 1, kernel_initializer="zeros")]), "mse", "sgd")
    with pytest.raises(ValueError, match=r"every sample's gradient is 0.*at a minimum"):
        dn.find_batch_size(done, X[:40], np.zeros(40))


def test_few_rows():
    small = dn.find_batch_size(trainer(), X[:9], Y[:9])
    assert small.sizes == (1, 2, 4, 8)
    assert small.reference == 2
    assert [math.isnan(s) for s in small.steps] == [False, False, True, True]


# -- the callback -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [64, 5000])
def test_a_look_is_the_moments_of_rows_of_its_own(rows):
    models = []

    def keep(run):
        if run.step in (0, 40):
            models.append(copy.deepcopy(run.model))

    watch = dn.LambdaCallback(on_fit_begin=keep, on_batch_end=keep)
    noise = dn.NoiseScale(every=40, rows=rows, smoothing=0.5)
    trainer().fit(X, Y, epochs=2, batch_size=64, seed=0, callbacks=[watch, noise])
    assert noise.steps == [0, 40]
    assert noise.epochs == pytest.approx([0.0, 40 / 29])
    drawn = np.random.default_rng(0).choice(len(X), min(rows, len(X)), replace=False)
    moments = []
    for i, model in enumerate(models):
        if rows < len(X) and i:
            break  # the probes have drawn from the same generator
        exact = dn.noise_scale(model, "softmax_cross_entropy", X[drawn], Y[drawn], curvature="gauss_newton")
        moments.append((exact.trace, exact.square))
        assert (noise.trace[i], noise.square[i]) == pytest.approx(moments[-1], rel=1e-9)
        assert noise.curved_trace[i] == pytest.approx(exact.curved_trace, rel=1.0)
    if rows > len(X):
        (t0, s0), (t1, s1) = moments
        smooth = (t0 / 3 + 2 * t1 / 3) / (s0 / 3 + 2 * s1 / 3)
        assert noise.b_simple == pytest.approx([t0 / s0, smooth], rel=1e-9)


def test_of_a_stream_it_takes_rows_that_have_passed():
    batches = [(X[a : a + 4], Y[a : a + 4]) for a in range(0, 400, 4)]
    models = []

    def keep(run):
        if run.step == 30:
            models.append(copy.deepcopy(run.model))

    noise = dn.NoiseScale(every=30, rows=30)
    watch = dn.LambdaCallback(on_batch_end=keep)
    trainer().fit(batches, epochs=1, callbacks=[watch, noise])
    assert noise.steps == [30, 60, 90]
    exact = dn.noise_scale(models[0], "softmax_cross_entropy", X[:30], Y[:30])
    assert (noise.trace[0], noise.square[0]) == pytest.approx((exact.trace, exact.square), rel=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_training_goes_on_as_without(compiled):
    if compiled:
        pytest.importorskip("numba")
    noise = dn.NoiseScale(every=100, rows=30)
    one, two = trainer(compiled=compiled), trainer(compiled=compiled)
    made = one.fit(X, Y, epochs=1, batch_size=4, seed=0, callbacks=[noise])
    two.fit(X, Y, epochs=1, batch_size=4, seed=0)
    assert made.compiled == compiled
    assert noise.steps == [0, 100, 200, 300, 400]
    np.testing.assert_array_equal(one.model.params, two.model.params)
    one.fit(X, Y, epochs=1, batch_size=4, seed=0, callbacks=[noise])
    assert len(noise.steps) == 5  # a new fit begins anew


def test_the_noise_scale_grows_while_the_network_learns_and_is_drawn():
    noise = dn.NoiseScale(every=20)
    trainer().fit(X, Y, epochs=10, batch_size=64, seed=0, callbacks=[noise])
    assert noise.b_simple[-1] > 3 * noise.b_simple[0] > 0
    ax = noise.plot()
    assert [line.get_label() for line in ax.get_lines()] == ["B_simple", "B_noise"]
    assert len(ax.get_lines()[0].get_xdata()) == len(noise.steps) > 10


def test_what_the_callback_refuses():
    with pytest.raises(ValueError, match=r"at least 2 rows.*got 1"):
        dn.NoiseScale(rows=1)
    with pytest.raises(ValueError, match="curvature to be"):
        dn.NoiseScale(curvature="fisher")
    with pytest.raises(ValueError, match="looked at least once"):
        dn.NoiseScale().plot()
    with pytest.raises(TypeError, match="the callback NoiseScale"):
        dn.plots.noise_scales(3)
    made = trainer(layers=[dn.Dense(64, 8), dn.BatchNorm(8), dn.Dense(8, 10)])
    with pytest.raises(ValueError, match=r"NoiseScale needs samples.*BatchNorm"):
        made.fit(X, Y, epochs=1, callbacks=[dn.NoiseScale()])
