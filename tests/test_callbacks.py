from __future__ import annotations

import csv

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn

X = np.random.default_rng(0).normal(size=(40, 3))
T = np.sin(X).sum(axis=1)


def trainer(optimizer=None, **options):
    return dn.Trainer(
        dn.mlp([3, 6, 1], activation="tanh", seed=0, dtype="float64"), "mse", optimizer or dn.SGD(0.05), **options
    )


class Script(dn.Callback):
    """Puts prescribed figures in place of the epoch's."""

    def __init__(self, **figures):
        self.scripted = figures

    def on_epoch_end(self, run):
        for name, values in self.scripted.items():
            run.figures[name] = values[run.epoch - 1]


def test_hooks_come_in_order():
    calls = []
    names = [
        "on_fit_begin",
        "on_epoch_begin",
        "on_batch_begin",
        "on_gradients",
        "on_batch_end",
        "on_epoch_end",
        "on_fit_end",
    ]
    spy = dn.LambdaCallback(**{name: (lambda run, name=name: calls.append(name)) for name in names})
    trainer().fit(X, T, epochs=2, batch_size=20, callbacks=[spy])
    batch = ["on_batch_begin", "on_gradients", "on_batch_end"]
    epoch = ["on_epoch_begin", *batch, *batch, "on_epoch_end"]
    assert calls == ["on_fit_begin", *epoch, *epoch, "on_fit_end"]


def test_on_gradients_may_change_them():
    a, b = trainer(), trainer()

    def halve(run):
        run.model.grads *= 0.5

    a.fit(X, T, epochs=2, shuffle=False, callbacks=[dn.LambdaCallback(on_gradients=halve)])
    b.optimizer.learning_rate = 0.025
    b.fit(X, T, epochs=2, shuffle=False)
    assert_allclose(a.model.params, b.model.params, rtol=1e-12)


def test_on_gradients_comes_once_an_update_with_accumulation():
    seen = []
    trainer(accumulate=2).fit(
        X, T, epochs=1, batch_size=10, callbacks=[dn.LambdaCallback(on_gradients=lambda run: seen.append(run.step))]
    )
    assert seen == [0, 1]


def ask_for_outputs(run):
    run.keeps_outputs = True


@pytest.mark.parametrize("optimizer", [dn.SGD(0.05), dn.LevenbergMarquardt()])
def test_outputs_of_the_validation_rows_are_the_epoch_s_own(optimizer):
    validation, seen = np.random.default_rng(1).normal(size=(9000, 3)), []  # more than one block of rows

    def compare(run):
        seen.append(np.array_equal(run.outputs, run.model.predict(validation)))

    asked = dn.LambdaCallback(on_fit_begin=ask_for_outputs, on_epoch_end=compare)
    fit = {"epochs": 2, "validation_data": (validation, np.sin(validation).sum(axis=1))}
    trainer(optimizer).fit(X, T, **fit, callbacks=[asked])
    assert seen == [True, True]
    unasked = dn.LambdaCallback(on_epoch_end=lambda run: seen.append(run.outputs))
    trainer(optimizer).fit(X, T, **fit, callbacks=[unasked])
    assert seen[2:] == [None, None]


def test_early_stopping_counts_and_restores():
    weights = []
    keep = dn.LambdaCallback(on_epoch_end=lambda run: weights.append(run.model.params.copy()))
    stop = dn.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    fitted = trainer()
    history = fitted.fit(X, T, epochs=9, callbacks=[Script(val_loss=[5, 4, 4.5, 4, 3, 2, 1, 0, 0]), keep, stop])
    assert len(history) == 4
    assert (stop.best, stop.best_epoch) == (4, 2)
    assert history.stopped == "early stopping: val_loss has not improved for 2 epochs"
    assert_array_equal(fitted.model.params, weights[1])


def test_early_stopping_restores_statistics_too():
    model = dn.mlp([3, 6, 1], batch_norm=True, seed=0)
    means = []
    keep = dn.LambdaCallback(on_epoch_end=lambda run: means.append(run.model.layers[1].running_mean.copy()))
    stop = dn.EarlyStopping("loss", patience=3, restore_best_weights=True)
    dn.Trainer(model, "mse", "sgd").fit(X, T, epochs=6, callbacks=[Script(loss=[1, 2, 3, 4, 5, 6]), keep, stop])
    assert_array_equal(model.layers[1].running_mean, means[0])


def test_early_stopping_knows_where_more_is_better():
    fitted = trainer(metrics=["r2"])
    stop = dn.EarlyStopping("r2", patience=2)
    history = fitted.fit(X, T, epochs=9, callbacks=[Script(r2=[0.1, 0.5, 0.4, 0.3, 0.2, 0, 0, 0, 0]), stop])
    assert len(history) == 4
    assert stop.best == 0.5


def test_min_delta_sets_what_counts():
    stop = dn.EarlyStopping("loss", patience=2, min_delta=0.5)
    history = trainer().fit(X, T, epochs=9, callbacks=[Script(loss=[5, 4.9, 4.8, 0, 0, 0, 0, 0, 0]), stop])
    assert len(history) == 3


def test_a_monitored_figure_that_does_not_exist_is_named():
    for callback in (dn.EarlyStopping(), dn.StopAt("val_loss", 1), dn.ReduceLROnPlateau()):
        with pytest.raises(ValueError, match=r"monitors 'val_loss', but the epoch has only loss.*Give fit validation"):
            trainer().fit(X, T, epochs=1, callbacks=[callback])


def test_reduce_on_plateau_follows_pytorchs_counting():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    values = [5, 4, 4, 4, 4, 3.99999, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.05)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=1e-4, threshold_mode="abs", cooldown=1, min_lr=0.01
    )
    expected = []
    for value in values:
        optimizer.step()
        schedule.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    rates = []
    callback = dn.ReduceLROnPlateau("loss", factor=0.5, patience=2, cooldown=1, min_lr=0.01)
    record = dn.LambdaCallback(on_epoch_end=lambda run: rates.append(run.trainer.optimizer.rate))
    trainer().fit(X, T, epochs=len(values), callbacks=[Script(loss=values), callback, record])
    assert_allclose(rates, expected, rtol=1e-12)


def test_reduce_on_plateau_by_hand():
    rates = []
    record = dn.LambdaCallback(on_epoch_end=lambda run: rates.append(run.trainer.optimizer.rate))
    callback = dn.ReduceLROnPlateau("loss", factor=0.1, patience=1)
    trainer().fit(X, T, epochs=6, callbacks=[Script(loss=[3, 3, 3, 3, 3, 1]), callback, record])
    assert_allclose(rates, [0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005], rtol=1e-12)


def test_reduce_on_plateau_and_a_schedule_are_two_masters():
    fitted = trainer(dn.SGD(dn.ExponentialDecay(0.1, 0.9)))
    with pytest.raises(ValueError, match="two masters of one rate"):
        fitted.fit(X, T, epochs=1, callbacks=[dn.ReduceLROnPlateau("loss")])


def test_stop_at_repeats_until_the_error_is_small():
    history = trainer().fit(X, T, epochs=500, callbacks=[dn.StopAt("loss", 0.5)], seed=0)
    assert 1 < len(history) < 500
    assert history["loss"][-1] <= 0.5 < history["loss"][-2]
    assert history.stopped == "loss has reached 0.5"


def test_time_limit_stops_at_a_step(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("densenet.training.callbacks.monitors.time.perf_counter", lambda: float(next(clock)))
    fitted = trainer()
    history = fitted.fit(X, T, epochs=100, batch_size=10, callbacks=[dn.TimeLimit(6)])
    assert history.stopped == "time limit of 6 s"
    assert fitted.optimizer.steps < 20
    assert len(history) >= 1


def test_csv_logger_writes_every_epoch(tmp_path):
    path = tmp_path / "log.csv"
    history = trainer().fit(X, T, epochs=3, callbacks=[dn.CSVLogger(path)])
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["loss"]) for row in rows] == history["loss"]
    trainer().fit(X, T, epochs=2, callbacks=[dn.CSVLogger(path, append=True)])
    with open(path, encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 5
    with pytest.raises(OSError, match="nowhere"):
        trainer().fit(X, T, epochs=1, callbacks=[dn.CSVLogger(tmp_path / "nowhere" / "log.csv")])


@pytest.mark.parametrize("decay", [None, 0.9])
def test_weight_average(decay):
    weights = []
    record = dn.LambdaCallback(on_batch_end=lambda run: weights.append(run.model.params.copy()))
    fitted = trainer()
    fitted.fit(X, T, epochs=3, batch_size=10, callbacks=[record, dn.WeightAverage(decay, start_epoch=2)], seed=0)
    counted = weights[4:]
    if decay is None:
        expected = np.mean(counted, axis=0)
    else:
        expected = counted[0]
        for w in counted[1:]:
            expected = decay * expected + (1 - decay) * w
    assert_allclose(fitted.model.params, expected, rtol=1e-12)


def test_lambda_callback_refuses_what_is_no_hook():
    with pytest.raises(TypeError, match="unexpected keyword argument 'on_batch'"):
        dn.LambdaCallback(on_batch=print)
    with pytest.raises(TypeError, match="on_fit_end to be callable, got 3"):
        dn.LambdaCallback(on_fit_end=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dn.EarlyStopping(patience=-1), "patience"),
        (lambda: dn.EarlyStopping(mode="best"), 'mode "min", "max" or "auto", got \'best\''),
        (lambda: dn.EarlyStopping(min_delta=-1), "min_delta"),
        (lambda: dn.ReduceLROnPlateau(factor=1.0), r"factor in \(0, 1\)"),
        (lambda: dn.StopAt("loss", float("nan")), "value"),
        (lambda: dn.TimeLimit(0), "seconds to be a finite number above 0"),
        (lambda: dn.WeightAverage(1.0), r"decay in \[0, 1\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_progress_on_a_terminal_shows_figures(capsys):
    trainer(metrics=["mae"]).fit(X, T, epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    for part in ("loss=", "mae=", "learning_rate="):
        assert part in shown


def test_progress_is_quiet_elsewhere(capsys):
    trainer().fit(X, T, epochs=2)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == ""
