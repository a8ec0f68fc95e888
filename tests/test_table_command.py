"""``densenet train`` on a table: the recipe, its members, other models beside it, importance, pictures."""

from __future__ import annotations

import csv
import importlib.util
import multiprocessing
import os
import signal
import sys

import numpy as np
import pytest

import densenet as dn
from densenet.cli import main
from densenet.cli.answer import importance
from densenet.layers import Embedding
from densenet.tables import Table, TablePreparation
from densenet.tabular import Choices, front, layout_of, members, training
from densenet.tabular.beside import beside_each_other
from densenet.tabular.training import untrained

RNG = np.random.default_rng(0)


@pytest.fixture
def table(tmp_path):
    """Two classes and a number that follow a and city; b is noise."""
    rng = np.random.default_rng(1)
    a, b, city = rng.normal(size=120), rng.normal(size=120), rng.integers(0, 3, 120)
    path = tmp_path / "table.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "city", "yes", "price"])
        for i in range(120):
            price = 100 + 20 * a[i] + 5 * city[i] + rng.normal()
            rows.writerow([f"{a[i]:.3f}", f"{b[i]:.3f}", "XYZ"[city[i]], "ny"[int(price > 105)], f"{price:.2f}"])
    return path


def train(table, target, *more):
    drop = "price" if target == "yes" else "yes"
    out = table.parent / "run"
    arguments = ["train", table, "--target", target, "--drop", drop, "--output", out, *more]
    assert main([str(a) for a in arguments]) == 0
    return dn.load(out / "model.npz"), out


def test_members_in_processes_have_the_bits_of_members_in_a_row(monkeypatch, table):
    rows = dn.datasets.read_csv(table, "yes", drop="price")
    preparation = TablePreparation().fit(rows)
    x, y = preparation.transform(rows), preparation.transform_target(rows)
    answers = []
    for workers in (1, 2):
        monkeypatch.setattr(training, "LONG", 1)
        monkeypatch.setattr(training, "workers_for", lambda jobs, workers=workers: workers)
        model, _, made = members(preparation, x, y, Choices(epochs=3), 2, seed=0)
        answers.append((model.predict(x), [member.history["val_loss"] for member in made]))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    assert answers[0][1] == answers[1][1]


def killed():
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="members train in processes on Linux alone")
def test_the_work_of_a_killed_process_is_done_here():
    assert beside_each_other([killed, killed], 2) == [os.getpid()] * 2


def test_members_answer_as_one_file_beside_other_models(table, capsys):
    model, out = train(table, "yes", "--members", 2, "--epochs", 3)
    shown = capsys.readouterr().out
    assert len(dn.Ensemble(model)) == 2
    assert "2 members of 3 epochs" in shown
    assert {"history_1.csv", "history_2.csv", "held_out.png", "learning_curves.png"} <= {f.name for f in out.iterdir()}
    assert (out / "held_out.png").read_bytes().startswith(b"\x89PNG")
    (head,) = [line for line in shown.splitlines() if "log-loss (90 % interval)" in line]
    assert "accuracy (90 % interval)" in head
    assert head.endswith("AUC")
    names = ["network", "linear model"] + ["boosted trees"] * (importlib.util.find_spec("sklearn") is not None)
    for name in names:
        (line,) = [line for line in shown.splitlines() if line.startswith(name + "  ")]
        assert 0 <= float(line.split()[-1]) <= 1
    assert main(["predict", str(out / "model.npz"), str(table), "--proba"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    shares = np.array([[float(row["p(n)"]), float(row["p(y)"])] for row in rows])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_importance_names_the_columns_that_count(table, capsys):
    train(table, "price", "--members", 1, "--epochs", 40)
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("column"))
    assert [line.split()[0] for line in lines[start + 1 : start + 4]] == ["a", "city", "b"]


def test_importance_is_the_rise_of_the_error():
    rows = Table({"a": RNG.normal(size=200), "b": RNG.normal(size=200), "y": RNG.normal(size=200)}, target="y")
    preparation = TablePreparation().fit(rows)
    x = preparation.transform(rows)
    text = importance(lambda inputs: 3.0 * inputs[:, 0], preparation, x, 3.0 * x[:, 0], 0)
    (a, b) = (line.split() for line in text.splitlines()[1:])
    assert a[0] == "a"
    assert float(a[1]) == pytest.approx(3 * np.sqrt(2), rel=0.15)  # RMSE of 3 (x' - x), both of variance 1
    assert (b[0], float(b[1])) == ("b", 0)


def test_the_linear_preset_is_the_linear_model(table, capsys):
    model, _ = train(table, "price", "--preset", "linear")
    assert len(model) == 1
    assert "linear model" in capsys.readouterr().out
    data = dn.datasets.read_csv(table, target="price")
    predicted = model.preparation.inverse_target(model.predict(model.preparation.transform(data)))
    assert np.corrcoef(predicted, data["price"])[0, 1] > 0.99


def test_refit_trains_on_all_rows_and_says_so(table, capsys):
    model, _ = train(table, "price", "--members", 1, "--epochs", 2, "--refit")
    assert "trained on all rows (--refit): the figures are its predecessor's" in capsys.readouterr().out
    data = dn.datasets.read_csv(table, target="price")
    whole = TablePreparation().fit(data.without(["yes"]), "price")
    assert model.preparation.state() == whole.state()


def test_time_lets_the_latest_rows_judge_all_members(table):
    _, out = train(table, "price", "--time", "a", "--members", 2, "--epochs", 2)
    first, second = ((out / f"history_{i}.csv").read_text(encoding="utf-8").splitlines() for i in (1, 2))
    assert len(first) == len(second) == 3
    assert first != second


def test_a_trend_goes_on_beyond_the_training_rows(tmp_path):
    rng = np.random.default_rng(0)
    days, a = np.arange(240), rng.normal(size=240)
    y = 100 + 0.2 * days + 3 * a + rng.normal(size=240)
    when = np.datetime64("2024-01-01") + days
    path, out = tmp_path / "trend.csv", tmp_path / "run"
    path.write_text("when,a,y\n" + "".join(f"{d},{u:.4f},{v:.4f}\n" for d, u, v in zip(when, a, y, strict=True)))
    arguments = ["train", path, "--target", "y", "--time", "when", "--preset", "tabular-small", "--output", out]
    assert main([str(word) for word in [*arguments, "--epochs", 40, "--members", 2]]) == 0
    model = dn.load(out / "model.npz")
    assert len(dn.Ensemble(model)) == 2
    later = slice(192, 240)  # the fifth that was held out, up to a quarter beyond the training rows
    x = model.preparation.transform({"when": when[later], "a": a[later]})
    predicted = model.preparation.inverse_target(model.predict(x))
    assert abs((predicted - y[later]).mean()) < 1.5  # a prediction that stays where training ended is 4.9 too low
    far = model.preparation.transform({"when": when[[0, 239]] + 2000, "a": a[[0, 0]]})
    rise = np.diff(model.preparation.inverse_target(model.predict(far)))
    assert rise == pytest.approx(0.2 * 239, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "price", "--drop", "yes", "--balance", "--epochs", "1"], "--balance is for classes"),
        (["--target", "price", "--preset", "linear", "--epochs", "3"], "--preset linear does not take --epochs"),
        (["--target", "price", "--preset", "none", "--members", "3"], "--preset none does not take --members"),
        (["--target", "price", "--members", "0"], "a whole number from 1 to 64, got '0'"),
        (["--target", "price", "--preset", "best"], "invalid choice: 'best'"),
        (["--target", "price", "--dropout", "2"], "rate"),
    ],
)
def test_options_that_do_not_fit_get_one_line(table, arguments, message, capsys):
    try:
        code = main(["train", str(table), *arguments, "--output", str(table.parent / "run")])
    except SystemExit as stopped:
        code = stopped.code
    shown = capsys.readouterr().err.strip()
    assert code == 2
    assert message in shown


def test_every_member_has_an_optimizer_of_its_own(table):
    model, _ = train(table, "price", "--optimizer", "adam", "--members", 2, "--epochs", 1, "--refit")
    assert len(dn.Ensemble(model)) == 2


def test_what_cannot_be_saved_is_refused_before_training(table, monkeypatch, capsys):
    def refuse(*_, **__):
        raise ValueError("too large for a file")

    monkeypatch.setattr("densenet.persistence.check_savable", refuse)
    monkeypatch.setattr("densenet.cli.recipe.members", lambda *_, **__: pytest.fail("trained before the check"))
    assert main(["train", str(table), "--target", "price", "--output", str(table.parent / "run")]) == 2
    assert "too large for a file" in capsys.readouterr().err


def test_the_former_network_is_there(table):
    model, _ = train(table, "price", "--preset", "none", "--epochs", 1)
    assert [type(layer).__name__ for layer in model] == ["Dense", "ReLU", "Dropout", "Dense"]


def test_balance_lets_every_class_weigh_the_same():
    rows = Table({"a": np.r_[RNG.normal(size=90), RNG.normal(1, 1, 10)], "y": ["n"] * 90 + ["y"] * 10}, target="y")
    preparation = TablePreparation().fit(rows)
    x, y = preparation.transform(rows), preparation.transform_target(rows)
    plain, balanced = (
        members(preparation, x, y, Choices(epochs=20, hidden=[16], balance=balance), 1, 0) for balance in (False, True)
    )
    share = [loss.probabilities(model.predict(x))[:, 1].mean() for model, loss, _ in (plain, balanced)]
    assert share[1] > share[0] + 0.1


def test_members_share_a_temperature_that_suits_what_they_held_out():
    a = RNG.normal(size=1000)
    rows = Table({"a": a, "y": ["ny"[int(value + RNG.normal() > 0)] for value in a]}, target="y")
    preparation = TablePreparation().fit(rows)
    x, y = preparation.transform(rows), preparation.transform_target(rows)
    validation = (np.arange(120), np.arange(120, 1000))  # so many that the prior of T plays no part
    _, _, made = members(preparation, x, y, Choices(hidden=[32], epochs=30), 2, 0, validation=validation)
    assert all(1 <= member.epoch <= 30 for member in made)
    logits = np.concatenate([member.model.predict(x[120:]) for member in made])
    errors = {}
    for factor in (0.8, 1.0, 1.25):
        z = factor * logits.astype(float)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        errors[factor] = -np.log(p[np.arange(1760), np.tile(y[120:], 2)]).mean()
    assert errors[1.0] == min(errors.values())


def test_route_explains_one_member(table, capsys):
    _, out = train(table, "price", "--members", 2, "--epochs", 1, "--hidden", 3)
    capsys.readouterr()
    model, more = str(out / "model.npz"), [str(table)]
    assert main(["route", model, *more, "--member", "2", "--layer", "2"]) == 0
    assert "dE/dw" in capsys.readouterr().out
    assert main(["route", model, *more]) == 2
    assert "holds 2 networks: choose one by --member, 1 to 2" in capsys.readouterr().err
    assert main(["route", model, *more, "--member", "3"]) == 2
    assert "1 to 2, got 3" in capsys.readouterr().err
    train(table, "price", "--preset", "linear")
    assert main(["route", model, *more, "--member", "1"]) == 2
    assert "--member is for ensembles" in capsys.readouterr().err
    assert main(["route", "--member", "1"]) == 2


def test_a_column_of_many_categories_has_the_vectors_of_an_embedding():
    words = [f"w{i:02d}" for i in range(12)]
    values = [words[i] for i in [*range(12), *RNG.integers(0, 12, 68)]]
    rows = Table({"a": RNG.normal(size=80), "word": values, "y": RNG.normal(size=80)}, target="y")
    preparation = TablePreparation().fit(rows)
    x, y = preparation.transform(rows), preparation.transform_target(rows)
    model = untrained(preparation, x, y, Choices(), 3, alone=False)
    dense = model[0].branches[1][0]
    assert (dense.n_in, dense.n_out) == (12, 8)
    embedding = dn.Sequential([Embedding([13])])
    embedding[0].E = np.vstack([np.zeros((1, 8)), dense.W])
    numbers = np.array([[words.index(value) + 1] for value in values])
    np.testing.assert_array_equal(x[:, 1:] @ dense.W, embedding.predict(numbers))
    assert [type(layer).__name__ for layer in front(layout_of(preparation, embeds=False))] == ["RobustScale", "Scale"]


def test_first_weights_give_every_neuron_unit_variance():
    rows = Table({"a": RNG.normal(size=300), "b": RNG.normal(size=300), "y": RNG.normal(size=300)}, target="y")
    preparation = TablePreparation().fit(rows)
    x, y = preparation.transform(rows), preparation.transform_target(rows)
    model, z = untrained(preparation, x, y, Choices(), 0, alone=False), x
    for layer in model:
        z = layer.infer(z)
        if isinstance(layer, dn.Dense):
            np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
