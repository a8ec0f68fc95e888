from __future__ import annotations

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

import densenet as dn
from densenet.cli import main


@pytest.fixture
def houses(tmp_path):
    """A table with numbers, categories and gaps; the price is known but for a little noise."""
    rng = np.random.default_rng(0)
    path = tmp_path / "houses.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["area", "city", "rooms", "price"])
        for _ in range(300):
            area, rooms, city = rng.uniform(30, 150), rng.integers(1, 6), rng.choice(["Bonn", "Trier", "Kiel"])
            price = 2000 * area + 10_000 * rooms + {"Bonn": 50_000, "Trier": 0, "Kiel": -20_000}[city]
            table.writerow(
                ["" if rng.random() < 0.05 else f"{area:.1f}", city, rooms, f"{price + rng.normal(0, 3000):.0f}"]
            )
    return path


@pytest.fixture
def flowers(tmp_path):
    x, y = dn.datasets.load_iris()
    path = tmp_path / "iris.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*dn.datasets.IRIS_FEATURES, "species"])
        for row, label in zip(x, y, strict=True):
            table.writerow([*(f"{v:.1f}" for v in row), dn.datasets.IRIS_CLASSES[label]])
    return path


def run(*arguments):
    return main([str(a) for a in arguments])


def test_train_with_nothing_else_reaches_097_on_the_digits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("train") == 0
    shown = capsys.readouterr().out
    held_out = next(line.split() for line in shown.splitlines() if line.startswith("held out"))
    assert float(held_out[3]) >= 0.97
    assert held_out[2] == "359"
    model = dn.load(tmp_path / "densenet-run" / "model.npz")
    x, y = dn.datasets.load_digits()
    assert (model.predict(x).argmax(axis=1) == y).mean() > 0.97
    with open(tmp_path / "densenet-run" / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} <= rows[0].keys()
    assert (tmp_path / "densenet-run" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_with_a_numeric_target(tmp_path, houses, capsys):
    out = tmp_path / "run"
    assert run("train", houses, "--target", "price", "--output", out, "--epochs", 60, "--members", 1) == 0
    shown = capsys.readouterr().out
    held_out = next(line.split() for line in shown.splitlines() if line.startswith("held out"))
    rmse, r2, baseline = float(held_out[3]), float(held_out[5]), float(held_out[6])
    assert rmse < 0.4 * baseline
    assert r2 > 0.8
    assert 50_000 < baseline < 120_000  # in the user's units
    predictions = tmp_path / "predictions.csv"
    assert run("predict", out / "model.npz", houses, "--output", predictions) == 0
    with open(predictions, encoding="utf-8") as file:
        predicted = np.array([float(row["price"]) for row in csv.DictReader(file)])
    with open(houses, encoding="utf-8") as file:
        actual = np.array([float(row["price"]) for row in csv.DictReader(file)])
    assert len(predicted) == 300
    assert np.corrcoef(predicted, actual)[0, 1] > 0.9


def test_a_table_with_classes(tmp_path, flowers, capsys):
    out = tmp_path / "run"
    assert (
        run("train", flowers, "--target", "species", "--output", out, "--hidden", "16,8", "--seed", 1, "--epochs", 64)
        == 0
    )
    shown = capsys.readouterr().out
    held_out = next(line.split() for line in shown.splitlines() if line.startswith("held out"))
    assert float(held_out[3]) > 0.85
    assert float(held_out[5]) == pytest.approx(1 / 3, abs=0.05)
    capsys.readouterr()
    assert run("predict", out / "model.npz", flowers, "--proba") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["species"] for row in rows} <= set(dn.datasets.IRIS_CLASSES)
    shares = np.array([[float(row[f"p({name})"]) for name in dn.datasets.IRIS_CLASSES] for row in rows])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert rows[0]["species"] == dn.datasets.IRIS_CLASSES[int(shares[0].argmax())]


def test_the_same_seed_gives_the_same_model(tmp_path, flowers):
    for name in ("a", "b"):
        run("train", flowers, "--target", "species", "--epochs", 3, "--output", tmp_path / name, "--seed", 7)
    a, b = dn.load(tmp_path / "a" / "model.npz"), dn.load(tmp_path / "b" / "model.npz")
    np.testing.assert_array_equal(a.params, b.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.csv", "--target", "price"], "nowhere.csv"),
        (["train", "{houses}"], "--target is needed"),
        (["train", "{houses}", "--target", "prize"], "'prize'"),
        (["train", "--target", "price"], "need a CSV file"),
        (["train", "--hidden", "12,x"], "expects whole numbers with commas"),
        (["train", "--hidden", "0"], "at least 1, got 0"),
        (["train", "--activation", "rulu"], "'rulu'"),
        (["train", "--optimizer", "adm"], "knows no optimizer 'adm'"),
        (["train", "--learning-rate", "-1"], "learning_rate to be a finite number above 0"),
        (["train", "--dropout", "1"], r"rate"),
        (["train", "--batch-size", "0"], "batch_size"),
        (["train", "--epochs", "-1"], "epochs"),
        (["train", "--seed", "x"], "at least 0"),
        (["train", "--held-out", "1.5"], "held-out"),
        (["train", "--learning-rate", "1e30", "--optimizer", "sgd"], "smaller learning rate"),
        (["predict", "nowhere.npz", "{houses}"], "nowhere.npz"),
        (["predict", "{houses}", "{houses}"], "houses.csv"),
    ],
)
def test_bad_arguments_and_files_get_one_line_and_exit_code_2(
    tmp_path, monkeypatch, houses, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    try:
        code = run(*(a.format(houses=houses) for a in arguments))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    assert message in captured.err
    assert not list(tmp_path.glob("densenet-run/*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--epochs", "many"], "invalid int value: 'many'"),
        (["train", "--frobnicate"], "unrecognized arguments"),
        (["predict"], "required: MODEL, DATA"),
    ],
)
def test_bad_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert len(shown.strip().splitlines()) == 1
    assert message in shown
    assert "--help" in shown


def test_a_table_that_lacks_a_column(tmp_path, houses, capsys):
    run("train", houses, "--target", "price", "--epochs", 1, "--output", tmp_path / "run")
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("area,rooms\n50,2\n", encoding="utf-8")
    capsys.readouterr()
    assert run("predict", tmp_path / "run" / "model.npz", lacking) == 2
    shown = capsys.readouterr()
    assert "city" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_help_as_a_module(arguments):
    result = subprocess.run([sys.executable, "-m", "densenet", *arguments], capture_output=True, text=True, check=True)
    assert "densenet" in result.stdout
    assert result.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="a reader that leaves breaks the pipe on POSIX systems")
def test_training_goes_on_where_nobody_reads_its_output_any_more(tmp_path):
    run = "from densenet.cli import main; import sys; sys.exit(main())"
    command = [sys.executable, "-c", run, "train", "--epochs", "1", "--output", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        process.stdout.close()  # as `| true` does
        assert process.wait(timeout=120) == 0
    assert (tmp_path / "run" / "model.npz").is_file()
    assert subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], timeout=120).returncode == 0  # closed at the start


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path, flowers):
    run("train", flowers, "--target", "species", "--epochs", 1, "--output", tmp_path / "run")
    with open(flowers, encoding="utf-8") as file:
        head, *rows = file.read().splitlines()
    long = tmp_path / "long.csv"
    long.write_text("\n".join([head, *rows * 200]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "densenet", "predict", str(tmp_path / "run" / "model.npz"), str(long)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "species\n"
        process.stdout.close()
        assert process.stderr.read() == ""


def test_batch_size_on_digits_prints_the_table_and_draws(tmp_path, capsys):
    picture = tmp_path / "sizes.png"
    assert main(["batch-size", "--hidden", "16", "--reach", "0.5", "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "1,797 rows" in printed
    assert "Batch size" in printed
    assert "s to an error of 0.5" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_batch_size_on_a_table_and_its_errors(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = "\n".join(f"{a},{b},{a - 2 * b}" for a, b in rng.normal(size=(200, 2)))
    path = tmp_path / "data.csv"
    path.write_text(f"a,b,c\n{rows}\n", encoding="utf-8")
    assert main(["batch-size", str(path), "--target", "c", "--hidden", "8", "--optimizer", "adam"]) == 0
    printed = capsys.readouterr().out
    assert "searched" in printed
    assert "of the time of batch 32" in printed
    for arguments, said in (
        ([str(path)], "Its columns are 'a', 'b', 'c', for the last: densenet batch-size"),
        (["--target", "c"], "need a CSV file"),
        ([str(path), "--target", "c", "--hidden", "8", "--learning-rate", "0.001", "--reach", "-1"], "does not reach"),
    ):
        assert main(["batch-size", *arguments]) == 2
        assert said in capsys.readouterr().err
