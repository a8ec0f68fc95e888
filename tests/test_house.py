"""Faults in the walls of training that were found by use: each kind stays mended."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import densenet as dn
from densenet._blas import _pools, one_pool

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), RNG.integers(0, 2, 40)


def new_trainer(loss="softmax_cross_entropy", optimizer="sgd", outputs=2, **more):
    return dn.Trainer(dn.mlp([3, 4, outputs], seed=0), loss, optimizer, **more)


def test_losses_and_metrics_are_the_trainers_own():
    loss, metric = dn.SoftmaxCrossEntropy(), dn.Accuracy()
    one, two = (new_trainer(loss, metrics=[metric]) for _ in range(2))
    assert len({id(loss), id(one.loss), id(two.loss)}) == len({id(metric), id(one.metrics[0]), id(two.metrics[0])}) == 3
    assert metric.task is None


def test_one_loss_in_many_threads_gives_the_serial_weights():
    loss = dn.SoftmaxCrossEntropy()
    serial = new_trainer(loss)
    serial.fit(X, Y, epochs=20, batch_size=4, seed=0)
    trainers = [new_trainer(loss) for _ in range(4)]
    threads = [
        threading.Thread(target=t.fit, args=(X, Y), kwargs={"epochs": 20, "batch_size": 4, "seed": 0}) for t in trainers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trainer in trainers:
        np.testing.assert_array_equal(trainer.model.params, serial.model.params)


def test_an_optimizer_of_another_living_model_is_refused():
    optimizer = dn.Adam()
    first = new_trainer(optimizer=optimizer)
    first.fit(X, Y, epochs=1)
    second = new_trainer(optimizer=optimizer)
    with pytest.raises(ValueError, match=r"steps of another model.*deepcopy.*reset\(\)"):
        second.fit(X, Y, epochs=1)
    with pytest.raises(ValueError, match="steps of another model"):
        second.step(X, Y)
    optimizer.reset()
    second.fit(X, Y, epochs=1, seed=0)
    third = new_trainer(optimizer=dn.Adam())
    third.fit(X, Y, epochs=1, seed=0)
    np.testing.assert_array_equal(second.model.params, third.model.params)


def test_cells_that_are_run_again_start_anew():
    optimizer, ends = dn.Adam(), []
    for _ in range(2):
        trainer = new_trainer(optimizer=optimizer)
        trainer.fit(X, Y, epochs=2, seed=0)
        ends.append(trainer.model.params.copy())
    np.testing.assert_array_equal(*ends)


def test_a_fit_inside_a_fit_of_the_same_trainer_is_refused():
    trainer = new_trainer()
    nested = dn.LambdaCallback(on_epoch_end=lambda run: trainer.fit(X, Y, epochs=1))
    with pytest.raises(RuntimeError, match="in a fit already"):
        trainer.fit(X, Y, epochs=2, callbacks=[nested])
    assert len(trainer.fit(X, Y, epochs=1)) == 1


def test_a_copy_inside_a_fit_carries_no_data():
    x, sizes = np.zeros((20_000, 3)), []
    trainer = new_trainer()
    size = dn.LambdaCallback(on_epoch_end=lambda run: sizes.append(len(pickle.dumps(copy.deepcopy(run.trainer)))))
    trainer.fit(x, np.zeros(20_000, int), epochs=1, batch_size=5000, callbacks=[size])
    assert sizes[0] < 20_000


def test_a_checkpoint_after_steps_by_hand_counts_them(tmp_path):
    trainer = new_trainer()
    trainer.fit(X, Y, epochs=1, batch_size=20, seed=0)
    for _ in range(50):
        trainer.step(X, Y)
    trainer.save_checkpoint(tmp_path / "run.npz")
    steps = []
    again = new_trainer()
    again.fit(
        X,
        Y,
        epochs=2,
        batch_size=20,
        resume=tmp_path / "run.npz",
        callbacks=[dn.LambdaCallback(on_batch_end=lambda run: steps.append(run.step))],
    )
    assert steps == [53, 54]


@pytest.mark.parametrize("name", ["on_epoch_ends", "on_train_begin"])
def test_hooks_that_do_not_exist_are_refused(name):
    callback = type("Mine", (dn.Callback,), {name: lambda self, run: None})()
    with pytest.raises(TypeError, match=f"Mine has a hook {name}, which is never called.*Did you mean on_"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[callback])


def test_hooks_with_other_arguments_are_refused():
    class Keras(dn.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    with pytest.raises(TypeError, match=r"Keras.on_epoch_end\(epoch, logs\).*run.figures"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[Keras()])


def test_a_batch_of_zero_weight_calls_on_gradients_and_makes_no_step():
    seen, trainer = [], new_trainer()
    weight = np.r_[np.zeros(20), np.ones(20)]
    callback = dn.LambdaCallback(on_gradients=lambda run: seen.append(float(abs(run.model.grads).max())))
    trainer.fit(X, Y, epochs=1, batch_size=20, sample_weight=weight, shuffle=False, callbacks=[callback])
    first, second = seen
    assert first == 0 < second
    assert trainer.optimizer.steps == 1


def test_statistics_that_overflow_are_a_divergence():
    model = dn.Sequential([dn.BatchNorm(3), dn.Dense(3, 2)], seed=0)
    before = [array.copy() for array in model.state_arrays()]
    trainer = dn.Trainer(model, "softmax_cross_entropy", dn.SGD(1e-3))
    with pytest.raises(dn.DivergenceError, match="running"):
        trainer.fit(X * 1e19, Y, epochs=1)
    for array, kept in zip(model.state_arrays(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_pools_are_put_back_by_the_last_user():
    others = _pools()[1]
    counts = [pool.num_threads for pool in others]
    outer, inner = one_pool(), one_pool()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert [pool.num_threads for pool in others] == [1] * len(others)
    inner.__exit__(None, None, None)
    assert [pool.num_threads for pool in others] == counts


def test_class_weights():
    trainer = new_trainer()
    with pytest.raises(ValueError, match="class numbers from 0 to 1, got 2"):
        trainer.fit(X, Y, epochs=1, class_weight={1: 1, 2: 10})
    with pytest.raises(ValueError, match="for 2 classes, got 3"):
        trainer.fit(X, Y, epochs=1, class_weight=[1, 2, 3])
    with pytest.raises(TypeError, match="a dict, a list"):
        trainer.fit(X, Y, epochs=1, class_weight=3.0)
    a, b = new_trainer(), new_trainer()
    a.fit(X, Y, epochs=2, seed=0, class_weight=[1.0, 3.0])
    b.fit(X, Y, epochs=2, seed=0, class_weight={1: 3.0})
    np.testing.assert_array_equal(a.model.params, b.model.params)


def test_validation_rows_that_all_weigh_zero_are_found_before_training():
    trainer = new_trainer()
    start = trainer.model.params.copy()
    held_out = trainer.fit(X, Y, epochs=0, validation_split=0.2, seed=0).validation_indices
    weight = np.ones(40)
    weight[held_out] = 0
    with pytest.raises(ValueError, match="zero for every validation row"):
        trainer.fit(X, Y, epochs=1, validation_split=0.2, seed=0, sample_weight=weight)
    np.testing.assert_array_equal(trainer.model.params, start)


def test_numbers_too_large_for_the_dtype_are_named():
    x = X.copy()
    x[3, 1] = 1e39
    with pytest.raises(ValueError, match=r"1e\+39, too large for float32, at row 3, column 1"):
        new_trainer().fit(x, Y, epochs=1)
    with pytest.raises(ValueError, match=r"1e\+39, too large for float32, at row 3, column 1"):
        new_trainer().model.predict(x)


@pytest.mark.parametrize("value", [1e38, 1e-44])
def test_weights_out_of_the_dtypes_range(value):
    with pytest.raises(ValueError, match="only their ratios count"):
        new_trainer().fit(X, Y, epochs=1, sample_weight=np.full(40, value))


def test_validation_data_as_a_list():
    a = new_trainer().fit(X, Y, epochs=1, seed=0, validation_data=[X, Y])
    b = new_trainer().fit(X, Y, epochs=1, seed=0, validation_data=(X, Y))
    assert a["val_loss"] == b["val_loss"]


def test_targets_from_frames():
    pandas = pytest.importorskip("pandas", reason="pandas, of the extra [dataframe], is not installed")
    plain = new_trainer().fit(X, Y, epochs=1, seed=0)
    for y in (pandas.DataFrame({"y": Y}), pandas.Series(Y, dtype=object)):
        assert new_trainer().fit(X, y, epochs=1, seed=0)["loss"] == plain["loss"]


def test_kl_divergence_where_both_are_zero():
    loss = dn.KLDivergence()
    with np.errstate(divide="ignore"):
        assert loss.forward(np.log([[1.0, 0.0]]), [[1.0, 0.0]]) == 0


@pytest.mark.parametrize("loss", [dn.Hinge(), dn.SquaredHinge()])
def test_metrics_of_classes_with_a_hinge(loss):
    trainer = new_trainer(loss, outputs=1, metrics=["accuracy", "precision", "recall", "f1", "roc_auc"])
    trainer.fit(X, Y, epochs=3, seed=0)
    figures, classes = trainer.evaluate(X, Y), trainer.predict_classes(X)
    right = (classes == 1) & (Y == 1)
    assert figures["accuracy"] == pytest.approx((classes == Y).mean())
    assert figures["recall"] == pytest.approx(right.sum() / (Y == 1).sum())


# -- types and ergonomics --------------------------------------------------------------------------------------------


def test_a_history_is_a_dict_of_figures():
    history = new_trainer(metrics=["accuracy"]).fit(X, Y, epochs=3, seed=0)
    assert (len(history), history.keys(), list(history)) == (3, list(history.to_dict()), list(history.to_dict()))
    assert dict(history) == history.to_dict()
    assert "loss" in history
    with pytest.raises(KeyError, match="no figure 'accurcy' in the history; there are loss, accuracy"):
        history["accurcy"]
    for again in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert (dict(again), len(again), again.stopped) == (dict(history), 3, "finished")


def test_a_history_as_a_data_frame():
    pandas = pytest.importorskip("pandas", reason="pandas, of the extra [dataframe], is not installed")
    history = new_trainer().fit(X, Y, epochs=3, seed=0)
    plain, numbered = pandas.DataFrame(history), history.to_frame()
    assert plain.shape == numbered.shape == (3, len(history.keys()))
    assert plain["loss"].tolist() == numbered["loss"].tolist() == history["loss"]
    assert numbered.index.tolist() == [1, 2, 3]
    assert history.to_frame().index.name == "epoch"


@pytest.mark.parametrize(
    ("monitor", "held_out", "metrics", "hint"),
    [
        ("val_loss", 0.0, [], "Give fit validation_data or validation_split"),
        ("val_acc", 0.2, ["acc"], "Did you mean 'val_accuracy'?"),
        ("acc", 0.2, ["acc"], "Did you mean 'accuracy'?"),
        ("val_auc", 0.2, ["roc_auc"], "Did you mean 'val_roc_auc'?"),
        ("val_f1", 0.2, ["acc"], r"Give the Trainer metrics=\['f1'\]"),
        ("val_los", 0.2, [], "Did you mean 'val_loss'?"),
    ],
)
def test_a_figure_that_is_not_there_is_named_with_what_helps(monitor, held_out, metrics, hint):
    for callback in (dn.EarlyStopping(monitor), dn.StopAt(monitor, 0.1), dn.ReduceLROnPlateau(monitor)):
        with pytest.raises(ValueError, match=f"monitors '{monitor}'.*{hint}"):
            new_trainer(metrics=metrics).fit(X, Y, epochs=1, seed=0, validation_split=held_out, callbacks=callback)


def test_callbacks_say_what_they_are():
    class Mine(dn.Callback):
        def __init__(self, first, second=2):
            self.first = first  # the second is not kept

    assert repr(dn.EarlyStopping("loss", patience=3)) == "EarlyStopping(monitor='loss', patience=3)"
    assert repr(dn.ModelCheckpoint("run.npz", every_steps=5)) == "ModelCheckpoint(path='run.npz', every_steps=5)"
    assert repr(dn.WeightAverage(0.9)) == "WeightAverage(decay=0.9)"
    assert repr(dn.LambdaCallback(on_epoch_end=print)) == "LambdaCallback(on_epoch_end=<built-in function print>)"
    assert repr(Mine(1)) == "Mine(first=1)"
    with dn.threads(1) as limit:  # and put back
        assert repr(limit).startswith("threads(1")


def test_one_callback_needs_no_list_and_a_trainer_predicts():
    trainer = new_trainer()
    history = trainer.fit(X, Y, epochs=9, seed=0, callbacks=dn.StopAt("loss", 1e9))
    assert len(history) == 1
    np.testing.assert_array_equal(trainer.predict(X), trainer.model.predict(X))
    with pytest.raises(TypeError, match="unexpected keyword argument 'on_epoch_ends'"):
        dn.LambdaCallback(on_epoch_ends=print)


def test_the_package_lists_its_modules_and_no_helpers():
    rooms = {"layers", "explain", "tables", "health", "training", "persistence", "second_order", "checks", "plots"}
    assert rooms <= set(dn.__all__) <= set(dir(dn))
    assert not {"annotations", "sys", "typing", "importlib"} & set(dir(dn))
    assert "Start here" in dn.__doc__
