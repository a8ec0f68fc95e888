from __future__ import annotations

import copy
import itertools
import multiprocessing
import os
import pickle
import signal
import tracemalloc
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (X.sum(axis=1) > 0).astype(int)
T = np.sin(X).sum(axis=1)


def classifier(seed=0, dtype="float64", optimizer=None, **options):
    model = dn.mlp([3, 8, 2], activation="tanh", seed=seed, dtype=dtype)
    return dn.Trainer(model, dn.SoftmaxCrossEntropy(), optimizer or dn.SGD(0.1), **options)


def regressor(seed=0, optimizer=None, **options):
    model = dn.mlp([3, 8, 1], activation="tanh", seed=seed, dtype="float64")
    return dn.Trainer(model, dn.MeanSquaredError(), optimizer or dn.SGD(0.05), **options)


# -- the step ------------------------------------------------------------------------------------------------------


def test_a_step_is_w_minus_alpha_times_the_gradient():
    trainer = regressor()
    model, before = trainer.model, trainer.model.params.copy()
    out = model.forward(X)
    error = trainer.loss.forward(out, T)
    model.backward(trainer.loss.backward())
    expected = before - 0.05 * model.grads
    assert trainer.step(X, T) == error
    assert_allclose(model.params, expected, rtol=1e-14)


def test_fit_equals_steps_by_hand_bit_for_bit():
    a, b = regressor(), regressor()
    a.fit(X, T, epochs=3, batch_size=16, seed=5)
    rng = np.random.default_rng(5)
    for _ in range(3):
        order = np.arange(40)
        rng.shuffle(order)
        for start in range(0, 40, 16):
            rows = order[start : start + 16]
            b.step(X[rows], T[rows])
    assert_array_equal(a.model.params, b.model.params)
    assert_array_equal(a.model.grads, b.model.grads)


def test_the_same_seeds_give_the_same_weights():
    def run(seed):
        trainer = classifier(dtype="float32", optimizer=dn.Adam(0.01))
        trainer.fit(X, Y, epochs=4, batch_size=7, seed=seed, validation_split=0.2)
        return trainer.model.params

    assert_array_equal(run(1), run(1))
    assert (run(1) != run(2)).any()


def test_views_stay_views_after_fit():
    trainer = classifier()
    views = [array for layer in trainer.model.dense_layers for array in (layer.W, layer.b)]
    trainer.fit(X, Y, epochs=2, callbacks=[dn.EarlyStopping("loss", restore_best_weights=True), dn.WeightAverage()])
    assert all(np.shares_memory(view, trainer.model.params) for view in views)
    assert trainer.model.dense_layers[0].W is views[0]


def test_without_shuffle_rows_come_as_they_stand():
    seen = []

    class Spy(dn.Activation):
        def value(self, x, out, work):
            seen.append(x.copy())
            out[...] = x

        def slope(self, x, y, out, work):
            out.fill(1)

    model = dn.Sequential([Spy(), dn.Dense(3, 1)], dtype="float64")
    dn.Trainer(model, "mse", "sgd").fit(X, T, epochs=1, batch_size=15, shuffle=False)
    assert [len(part) for part in seen] == [15, 15, 10]
    assert_array_equal(np.concatenate(seen), X)


def test_every_row_is_seen_once_an_epoch():
    seen = []
    stream = dn.LambdaCallback(on_batch_end=lambda run: seen.append(run.trainer.loss._target.copy()))
    regressor().fit(X, np.arange(40.0), epochs=2, batch_size=16, callbacks=[stream], seed=0)
    first, second = np.concatenate(seen[:3]).ravel(), np.concatenate(seen[3:]).ravel()
    assert sorted(first) == list(range(40))
    assert sorted(second) == list(range(40))
    assert (first != second).any()


def test_batch_size_beyond_n_is_one_batch():
    a, b = regressor(), regressor()
    a.fit(X, T, epochs=1, batch_size=1000, shuffle=False)
    b.step(X, T)
    assert_array_equal(a.model.params, b.model.params)


# -- figures -------------------------------------------------------------------------------------------------------


def test_epoch_figures_are_means_over_samples_before_their_updates():
    trainer = regressor(metrics=[dn.MAE()])
    errors, absolutes = [], []
    model = regressor().model
    loss, optimizer = dn.MeanSquaredError(), dn.SGD(0.05)
    for start in range(0, 40, 16):
        x, t = X[start : start + 16], T[start : start + 16, None]
        out = model.forward(x)
        errors += list(((out - t) ** 2).ravel())
        absolutes += list(np.abs(out - t).ravel())
        loss.forward(out, t)
        model.backward(loss.backward())
        optimizer.step(model.params, model.grads)
    history = trainer.fit(X, T, epochs=1, batch_size=16, shuffle=False)
    assert_allclose(history["loss"], [np.mean(errors)], rtol=1e-12)
    assert_allclose(history["mae"], [np.mean(absolutes)], rtol=1e-12)


def test_history_has_the_promised_keys():
    trainer = classifier(metrics=[dn.Accuracy()])
    history = trainer.fit(X, Y, epochs=3, validation_split=0.25, seed=0)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    assert all(len(history[name]) == 3 for name in history)
    assert history["seconds"] == sorted(history["seconds"])
    assert history.stopped == "finished"
    with pytest.raises(KeyError, match="no figure 'acc' in the history; there are loss, accuracy"):
        history["acc"]


def test_a_second_fit_goes_on_and_returns_a_new_history():
    a, b = classifier(optimizer=dn.Adam(0.01)), classifier(optimizer=dn.Adam(0.01))
    first = a.fit(X, Y, epochs=2, shuffle=False)
    second = a.fit(X, Y, epochs=3, shuffle=False)
    whole = b.fit(X, Y, epochs=5, shuffle=False)
    assert first["loss"] + second["loss"] == whole["loss"]
    assert_array_equal(a.model.params, b.model.params)


def test_zero_epochs_train_nothing():
    trainer = classifier()
    before = trainer.model.params.copy()
    history = trainer.fit(X, Y, epochs=0)
    assert len(history) == 0
    assert_array_equal(trainer.model.params, before)


def test_evaluate_agrees_with_the_loss_by_hand():
    trainer = classifier(metrics=["accuracy"])
    figures = trainer.evaluate(X, Y, batch_size=7)
    assert_allclose(figures["loss"], dn.SoftmaxCrossEntropy().forward(trainer.model.predict(X), Y), rtol=1e-12)
    assert figures["accuracy"] == np.mean(trainer.predict_classes(X) == Y)
    assert_allclose(trainer.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    w = np.linspace(0, 1, 40)
    assert_allclose(
        trainer.evaluate(X, Y, sample_weight=w, batch_size=7)["loss"],
        dn.SoftmaxCrossEntropy().forward(trainer.model.predict(X), Y, w),
        rtol=1e-12,
    )


def test_penalties_are_reported_apart_and_take_part_in_the_gradient():
    model = dn.Sequential([dn.Dense(3, 1, kernel_l2=0.1)], seed=0, dtype="float64")
    trainer = dn.Trainer(model, "mse", dn.SGD(0.01))
    before = model.params.copy()
    out = model.forward(X)
    loss = dn.MeanSquaredError()
    error = loss.forward(out, T)
    model.backward(loss.backward())
    gradient = model.grads.copy()
    gradient[:3] += 0.2 * before[:3]
    history = trainer.fit(X, T, epochs=1, batch_size=40, shuffle=False)
    assert_allclose(history["loss"], [error], rtol=1e-12)
    assert_allclose(history["penalty"], [0.1 * (before[:3] ** 2).sum()], rtol=1e-12)
    assert_allclose(model.params, before - 0.01 * gradient, rtol=1e-12)
    assert_allclose(model.grads, gradient, rtol=1e-12)


# -- weights -------------------------------------------------------------------------------------------------------


def test_whole_weights_count_as_repeated_rows():
    w = np.random.default_rng(3).integers(0, 3, 40)
    a, b = regressor(), regressor()
    a.fit(X, T, epochs=3, batch_size=40, sample_weight=w, shuffle=False)
    b.fit(np.repeat(X, w, axis=0), np.repeat(T, w), epochs=3, batch_size=200, shuffle=False)
    assert_allclose(a.model.params, b.model.params, rtol=1e-10)


def test_class_weights_multiply_sample_weights():
    w = np.random.default_rng(3).random(40)
    a, b = classifier(), classifier()
    a.fit(X, Y, epochs=2, sample_weight=w, class_weight={0: 2.0, 1: 0.5}, shuffle=False)
    b.fit(X, Y, epochs=2, sample_weight=w * np.where(Y == 0, 2.0, 0.5), shuffle=False)
    assert_allclose(a.model.params, b.model.params, rtol=1e-12)


def test_balanced_class_weights_equal_the_formula():
    counts = np.bincount(Y)
    a, b = classifier(), classifier()
    a.fit(X, Y, epochs=2, class_weight="balanced", shuffle=False)
    b.fit(X, Y, epochs=2, class_weight=dict(enumerate(40 / (2 * counts))), shuffle=False)
    assert_allclose(a.model.params, b.model.params, rtol=1e-12)


def test_a_batch_of_zero_weights_makes_no_step():
    w = np.ones(40)
    w[:20] = 0
    trainer = regressor(optimizer=dn.Adam(0.01, weight_decay=0.1))
    trainer.fit(X, T, epochs=1, batch_size=20, sample_weight=w, shuffle=False)
    assert trainer.optimizer.steps == 1


def test_accumulated_batches_equal_one_large_one():
    w = np.random.default_rng(3).random(40)
    a, b = regressor(accumulate=3, clip_norm=0.5), regressor(clip_norm=0.5)
    a.fit(X, T, epochs=2, batch_size=5, sample_weight=w, shuffle=False)
    for _ in range(2):
        for start in range(0, 40, 15):  # three batches of five, and what is left over
            b.step(X[start : start + 15], T[start : start + 15], w[start : start + 15])
    assert_allclose(a.model.params, b.model.params, rtol=1e-12)
    assert a.optimizer.steps == 6


# -- clipping ------------------------------------------------------------------------------------------------------


def test_clipping_shows_in_grads():
    trainer = regressor(clip_norm=0.01)
    trainer.step(X, T)
    assert_allclose(np.linalg.norm(trainer.model.grads), 0.01, rtol=1e-3)
    trainer = regressor(clip_value=0.002)
    trainer.step(X, T)
    assert np.abs(trainer.model.grads).max() == 0.002


def test_frozen_parameters_do_not_count_in_the_norm():
    free, frozen = regressor(), regressor(clip_norm=1e-3)
    frozen.model.dense_layers[0].freeze()
    before = frozen.model.params.copy()
    frozen.step(X, T)
    free.step(X, T)
    moved = frozen.model.params - before
    assert (moved[:32] == 0).all()
    assert_allclose(np.linalg.norm(moved[32:]), 0.05 * 1e-3, rtol=1e-2)


# -- validation ----------------------------------------------------------------------------------------------------


def test_the_split_is_random_stratified_and_told():
    y = np.repeat([0, 1], [32, 8])
    trainer = classifier(metrics=["accuracy"])
    history = trainer.fit(X, y, epochs=1, validation_split=0.25, seed=3)
    held, kept = history.validation_indices, history.train_indices
    assert len(held) == 10
    assert sorted([*held, *kept]) == list(range(40))
    assert (y[held] == 1).sum() == 2
    assert set(held) != set(range(30, 40))
    figures = trainer.evaluate(X[held], y[held])
    assert figures["loss"] == history["val_loss"][-1]


def test_validation_data_is_not_trained_on():
    a, b = classifier(), classifier()
    a.fit(X, Y, epochs=2, seed=0, validation_data=(X[::-1], Y[::-1]))
    b.fit(X, Y, epochs=2, seed=0)
    assert_array_equal(a.model.params, b.model.params)


def test_validation_leaves_batch_statistics_and_noise_alone():
    def run(**options):
        model = dn.mlp([3, 8, 2], dropout=0.3, batch_norm=True, seed=0)
        dn.Trainer(model, dn.SoftmaxCrossEntropy(), "adam").fit(X, Y, epochs=3, seed=0, **options)
        return model

    a, b = run(validation_data=(X, Y)), run()
    assert_array_equal(a.params, b.params)
    assert_array_equal(a.layers[1].running_var, b.layers[1].running_var)


# -- where data comes from -----------------------------------------------------------------------------------------


def test_a_stream_of_batches_equals_arrays():
    batches = [(X[i : i + 8], T[i : i + 8]) for i in range(0, 40, 8)]
    a, b = regressor(), regressor()
    one = a.fit(batches, epochs=3, validation_data=batches)
    two = b.fit(X, T, epochs=3, batch_size=8, shuffle=False, validation_data=(X, T))
    assert_array_equal(a.model.params, b.model.params)
    assert_allclose(one["val_loss"], two["val_loss"], rtol=1e-12)
    assert_allclose(a.evaluate(batches)["loss"], a.evaluate(X, T)["loss"], rtol=1e-12)


def test_a_generator_is_good_for_one_epoch():
    regressor().fit(((X, T) for _ in range(3)), epochs=1)
    with pytest.raises(ValueError, match="used up after one epoch: pass a list"):
        regressor().fit(((X, T) for _ in range(3)), epochs=2)


def test_a_bad_batch_of_a_stream_is_named():
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"batch 1 of the stream, expects finite numbers, but x holds NaN at row 3"):
        regressor().fit([(X, T), (bad, T)], epochs=1)
    with pytest.raises(ValueError, match=r"batch 0 of the stream, .*expects y of shape \(n, 1\)"):
        regressor().fit([(X, np.zeros((40, 2)))], epochs=1)
    with pytest.raises(ValueError, match=r"expects \(x, y\) or \(x, y, sample_weight\), got ndarray"):
        regressor().fit([X], epochs=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_memory_map_equals_the_array(tmp_path, dtype):
    raw = np.memmap(tmp_path / "x.bin", dtype=dtype, mode="w+", shape=(40, 3))
    raw[...] = np.random.default_rng(0).integers(0, 9, raw.shape)
    frozen = np.memmap(tmp_path / "x.bin", dtype=dtype, mode="r", shape=(40, 3))
    a, b = regressor(), regressor()
    a.fit(frozen, T, epochs=2, batch_size=7, seed=0)
    b.fit(np.array(frozen, float), T, epochs=2, batch_size=7, seed=0)
    assert_array_equal(a.model.params, b.model.params)


def test_data_frames_and_lists():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    a, b, c = regressor(), regressor(), regressor()
    a.fit(X, T, epochs=2, seed=0)
    b.fit(pd.DataFrame(X, columns=["p", "q", "r"]), pd.Series(T), epochs=2, seed=0)
    c.fit(X.tolist(), T.tolist(), epochs=2, seed=0)
    assert_array_equal(a.model.params, b.model.params)
    assert_array_equal(a.model.params, c.model.params)
    frame = pd.DataFrame({"p": [1.0], "q": ["a"], "r": [2]})
    with pytest.raises(TypeError, match="columns q are not"):
        a.fit(frame, [1.0], epochs=1)


# -- bad input -----------------------------------------------------------------------------------------------------


def poke(array, at, value):
    made = np.array(array, float)
    made[at] = value
    return made


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (poke(X, (5, 2), np.nan), T, {}, ValueError, "fit expects finite numbers, but x holds NaN at row 5, column 2"),
        (X, poke(T, 7, np.inf), {}, ValueError, "y holds inf at row 7"),
        (X[:, 0], T, {}, ValueError, r"expects x of shape \(n, 3\), got \(40,\)"),
        (X[None], T, {}, ValueError, r"got \(1, 40, 3\)"),
        (X, T[:-1], {}, ValueError, r"as many targets as rows, got x \(40, 3\) and y \(39, 1\)"),
        (X[:0], T[:0], {}, ValueError, "at least one row"),
        (X[:, :2], T, {}, ValueError, r"expects x of shape \(n, 3\), got \(40, 2\)"),
        (X.astype(str), T, {}, TypeError, "expects x to be real numbers"),
        (X, T + 0j, {}, TypeError, "expects y to be real numbers"),
        (np.ma.masked_array(X), T, {}, ValueError, "masked array"),
        (X, None, {}, ValueError, "y is None"),
        (X, T, {"batch_size": 0}, ValueError, "batch_size to be a whole number of at least 1, got 0"),
        (X, T, {"batch_size": -1}, ValueError, "batch_size"),
        (X, T, {"batch_size": 2.5}, ValueError, r"batch_size to be a whole number of at least 1, got 2\.5"),
        (X, T, {"epochs": -1}, ValueError, "epochs to be a whole number of at least 0, got -1"),
        (X, T, {"epochs": 1.5}, ValueError, "epochs"),
        (X, T, {"validation_split": 1.0}, ValueError, r"validation_split in \[0, 1\), got 1\.0"),
        (X[:1], T[:1], {"validation_split": 0.5}, ValueError, "leave rows to train on"),
        (X, T, {"validation_split": 0.5, "validation_data": (X, T)}, ValueError, "got both"),
        (X, T, {"validation_data": (X,)}, ValueError, r"validation_data as \(x, y\)"),
        (X, T, {"sample_weight": -np.ones(40)}, ValueError, r"weights of at least 0, got sample_weight\[0\] = -1"),
        (X, T, {"sample_weight": np.full(40, np.nan)}, ValueError, "sample_weight"),
        (X, T, {"sample_weight": np.zeros(40)}, ValueError, "zeros only"),
        (X, T, {"sample_weight": np.ones(39)}, ValueError, r"sample_weight of shape \(40,\), got \(39,\)"),
        (X, T, {"class_weight": {0: 1}}, ValueError, "needs a loss for classes"),
        (X, T, {"seed": "x"}, ValueError, "seed"),
        (X, T, {"callbacks": [3]}, TypeError, "callbacks to be Callback objects, got 3"),
        (X, T, {"progress": "yes"}, TypeError, "progress to be True, False or None"),
    ],
)
def test_bad_input_trains_nothing(x, y, options, error, message):
    trainer = regressor()
    before = trainer.model.params.copy()
    with pytest.raises(error, match=message):
        trainer.fit(x, y, **{"epochs": 1} | options)
    assert_array_equal(trainer.model.params, before)


def test_sparse_input_is_named():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"pass x\.toarray\(\)"):
        regressor().fit(sparse.csr_array(X), T, epochs=1)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 2], r"class numbers from 0 to 1, got y\[2\] = 2"),
        ([0, 1, -1], r"got y\[2\] = -1"),
        ([0.0, 0.5, 1.0], r"got y\[1\] = 0\.5 of dtype float64"),
        (np.zeros((3, 3)), r"shape \(n, 2\), got \(3, 3\)"),
        ([[0.5, 0.6], [1, 0], [0, 1]], "sum to 1, got row 0"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(X[:3], y, epochs=1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: dn.Trainer("model", "mse", "sgd"), TypeError, "expects a Sequential as its model"),
        (lambda m: dn.Trainer(m, "msee", "sgd"), ValueError, "knows no loss 'msee'"),
        (lambda m: dn.Trainer(m, "mse", "sdg"), ValueError, "knows no optimizer 'sdg'"),
        (lambda m: dn.Trainer(m, 3, "sgd"), TypeError, "expects a Loss"),
        (lambda m: dn.Trainer(m, "mse", "sgd", metrics=["acc."]), ValueError, "knows no metric"),
        (lambda m: dn.Trainer(m, "mse", "sgd", clip_norm=0), ValueError, "clip_norm to be a finite number above 0"),
        (lambda m: dn.Trainer(m, "mse", "sgd", clip_norm=1, clip_value=1), ValueError, "got both"),
        (lambda m: dn.Trainer(m, "mse", "sgd", accumulate=0), ValueError, "accumulate"),
    ],
)
def test_bad_trainers(make, error, message):
    with pytest.raises(error, match=message):
        make(dn.mlp([2, 1]))


def test_small_and_degenerate_data_trains_and_stays_finite():
    for x, y in ((X[:1], Y[:1]), (X, np.zeros(40, int)), (np.ones((10, 3)), Y[:10])):
        model = dn.mlp([3, 4, 2], batch_norm=True, dropout=0.2, seed=0)
        dn.Trainer(model, "softmax_cross_entropy", "adam").fit(x, y, epochs=3)
        assert np.isfinite(model.params).all()
        assert np.isfinite(model.predict(x)).all()


@pytest.mark.parametrize(
    ("last", "loss", "message"),
    [
        (dn.Softmax(), dn.SoftmaxCrossEntropy(), "SoftmaxCrossEntropy expects logits, but the last layer is Softmax"),
        (dn.Sigmoid(), dn.SigmoidCrossEntropy(), "SigmoidCrossEntropy expects logits, but the last layer is Sigmoid"),
        (dn.Identity(), dn.BinaryCrossEntropy(), "BinaryCrossEntropy expects probabilities, but the last layer is Id"),
        (dn.ReLU(), dn.CategoricalCrossEntropy(), "CategoricalCrossEntropy expects probabilities"),
        (dn.Softmax(), dn.KLDivergence(), "KLDivergence expects log-probabilities, but the last layer is Softmax"),
    ],
)
def test_a_last_layer_that_the_loss_does_not_expect_is_warned_of(last, loss, message):
    with pytest.warns(UserWarning, match=message):
        dn.Trainer(dn.Sequential([dn.Dense(2, 2), copy.deepcopy(last)]), loss, "sgd")


def test_right_combinations_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dn.Trainer(dn.mlp([2, 2]), dn.SoftmaxCrossEntropy(), "sgd")
        dn.Trainer(dn.mlp([2, 2], output_activation="sigmoid"), dn.BinaryCrossEntropy(), "sgd")
        dn.Trainer(dn.mlp([2, 2], output_activation="log_softmax"), dn.KLDivergence(), "sgd")
        dn.Trainer(dn.mlp([2, 2], output_activation="sigmoid"), dn.MeanSquaredError(), "sgd")


# -- accidents -----------------------------------------------------------------------------------------------------


def test_divergence_returns_to_the_start_of_the_epoch():
    x = X.copy()
    trainer = dn.Trainer(dn.mlp([3, 8, 1], batch_norm=True, seed=0, dtype="float64"), "mse", dn.Adam(1e-3))
    trainer.fit(x, T, epochs=2, batch_size=10, seed=0)
    before = trainer.model.params.copy(), trainer.model.layers[1].running_mean.copy(), trainer.optimizer.state_dict()

    def spoil(run):
        if run.step == 2:
            run.model.dense_layers[1].W[...] = np.nan

    with pytest.raises(dn.DivergenceError) as caught:
        trainer.fit(x, T, epochs=3, batch_size=10, seed=0, callbacks=[dn.LambdaCallback(on_batch_end=spoil)])
    message = str(caught.value)
    for part in (
        "epoch 1, step 3",
        "first seen in W of layer 3, Dense(8, 1)",
        "learning rate 0.001",
        "smaller learning",
    ):
        assert part in message
    assert isinstance(caught.value, FloatingPointError)
    assert isinstance(caught.value, ValueError)
    assert_array_equal(trainer.model.params, before[0])
    assert_array_equal(trainer.model.layers[1].running_mean, before[1])
    state = trainer.optimizer.state_dict()
    assert state["steps"] == before[2]["steps"]
    trainer.fit(x, T, epochs=1)


def test_a_rate_that_is_too_large_diverges_with_a_clear_error():
    trainer = dn.Trainer(dn.mlp([3, 8, 1], activation="relu", seed=0), "mse", dn.SGD(1e4))
    before = trainer.model.params.copy()
    with pytest.raises(dn.DivergenceError, match=r"in epoch \d+, step \d, first seen in .*at learning rate 10000"):
        trainer.fit(X, T, epochs=50, batch_size=40)
    assert np.isfinite(before).all()
    assert np.isfinite(trainer.model.params).all()


def test_step_refuses_to_update_with_a_broken_error():
    trainer = regressor()
    trainer.model.dense_layers[0].W[0, 0] = np.nan
    before = trainer.model.params.copy()
    with pytest.raises(dn.DivergenceError, match="no update was made"):
        trainer.step(X, T)
    assert_array_equal(trainer.model.params, before)


def test_an_interrupt_stops_at_a_step_boundary_and_a_later_fit_goes_on():
    trainer = regressor()

    def interrupt(run):
        if run.epoch == 2 and run.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    history = trainer.fit(
        X, T, epochs=9, batch_size=16, callbacks=[dn.LambdaCallback(on_batch_begin=interrupt)], seed=0
    )
    assert history.stopped == "interrupted"
    assert len(history) == 1
    assert trainer.optimizer.steps == 5  # the step under way was finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trainer.fit(X, T, epochs=2).stopped == "finished"


def test_a_second_interrupt_raises():
    def interrupt(run):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

    ended = []
    callback = dn.LambdaCallback(on_batch_begin=interrupt, on_fit_end=lambda run: ended.append(True))
    with pytest.raises(KeyboardInterrupt):
        regressor().fit(X, T, epochs=2, callbacks=[callback])
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failing_callback_leaves_everything_consistent():
    trainer = regressor()
    ended = []

    class Failing(dn.Callback):
        def on_batch_end(self, run):
            if run.step == 2:
                raise RuntimeError("no")

    other = dn.LambdaCallback(on_fit_end=lambda run: ended.append(run.step))
    with pytest.raises(RuntimeError, match="no"):
        trainer.fit(X, T, epochs=2, batch_size=10, callbacks=[Failing(), other], seed=0)
    assert ended == [2]
    twin = regressor()
    order = np.arange(40)
    np.random.default_rng(0).shuffle(order)
    for i in range(2):
        twin.step(X[order[10 * i : 10 * i + 10]], T[order[10 * i : 10 * i + 10]])
    assert_array_equal(trainer.model.params, twin.model.params)


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "lion"])
def test_training_allocates_nothing_that_grows(optimizer):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 64)).astype("f"), rng.integers(0, 10, 128)
    model = dn.mlp([64, 512, 10], dropout=0.1, batch_norm=True, seed=0)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), optimizer)
    for _ in range(5):
        trainer.step(x, y)
    tracemalloc.start()
    try:
        trainer.step(x, y)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(50):
            trainer.step(x, y)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert peak - before < 100_000


def test_fit_allocates_nothing_that_grows_over_epochs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(500, 64)).astype("f"), rng.integers(0, 10, 500)
    trainer = dn.Trainer(dn.mlp([64, 256, 10], seed=0), dn.SoftmaxCrossEntropy(), dn.SGD(0.01))
    marks = []

    def look(run):
        if run.epoch > 2:
            marks.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        trainer.fit(x, y, epochs=6, batch_size=64, callbacks=[dn.LambdaCallback(on_epoch_end=look)], progress=False)
    finally:
        tracemalloc.stop()
    assert max(marks) - min(marks) < 20_000


def test_a_pickled_trainer_goes_on_bit_for_bit():
    a = classifier(optimizer=dn.Adam(0.01))
    a.fit(X, Y, epochs=2, seed=0)
    b = pickle.loads(pickle.dumps(a))
    a.fit(X, Y, epochs=2, seed=1)
    b.fit(X, Y, epochs=2, seed=1)
    assert_array_equal(a.model.params, b.model.params)


def test_training_learns_every_task():
    x, y = dn.datasets.xor(n=4, noise=0.0)
    model = dn.mlp([2, 8, 2], activation="tanh", seed=1)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.Adam(0.05))
    trainer.fit(x, y, epochs=300, seed=0)
    assert_array_equal(trainer.predict_classes(x), y)


def test_batches_are_in_every_combination_of_rows_and_batch_size():
    for n, size in itertools.product((1, 2, 5), (1, 2, 3, 7)):
        trainer = regressor()
        history = trainer.fit(X[:n], T[:n], epochs=2, batch_size=size)
        assert trainer.optimizer.steps == 2 * -(-n // size)
        assert len(history) == 2


def test_metrics_know_several_labels_from_one_class():
    y = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    trainer = dn.Trainer(dn.mlp([3, 16, 2], seed=0), dn.SigmoidCrossEntropy(), dn.Adam(0.05), metrics=["accuracy"])
    trainer.fit(X, y, epochs=30, seed=0)
    assert trainer.evaluate(X, y)["accuracy"] == np.mean(trainer.predict_classes(X) == y)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.float16, np.longdouble, ">f8"])
def test_other_number_types_are_converted_and_never_overflow(dtype):
    x = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]], dtype)
    t = np.array([0, 1, 1, 0], dtype) if dtype is bool else np.array([0, 120, 110, 100], dtype)
    a, b = regressor(), regressor()
    one = a.fit(x, t, epochs=2, batch_size=2, shuffle=False)
    two = b.fit(x.astype(float), t.astype(float), epochs=2, batch_size=2, shuffle=False)
    assert one["loss"] == two["loss"]
    assert_array_equal(a.model.params, b.model.params)


@pytest.mark.parametrize(
    "turn", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1].copy()[::-1]]
)
def test_layouts_train_alike_and_inputs_are_not_written(turn):
    x, t = turn(X), turn(T[:, None])
    for array in (x, t):
        array.flags.writeable = False
    a, b = regressor(), regressor()
    a.fit(x, t, epochs=2, seed=0)
    b.fit(X, T, epochs=2, seed=0)
    assert_array_equal(a.model.params, b.model.params)
    assert_array_equal(x, X)


def _predict_in_a_process(model, x, results):
    results.put(model.predict(x))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_models_work_in_other_processes(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    context = multiprocessing.get_context(method)
    trainer = classifier()
    trainer.fit(X, Y, epochs=1)
    results = context.Queue()
    process = context.Process(target=_predict_in_a_process, args=(trainer.model, X, results))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of fork where threads run, as BLAS's do
        process.start()
    answer = results.get(timeout=60)
    process.join()
    with dn.threads(1):
        assert_allclose(answer, trainer.model.predict(X), rtol=1e-12)
