"""Mini-batches from Parquet files: every row once, in the order that the seed gives, to the same bits after a kill."""

from __future__ import annotations

import copy
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import densenet as dn
from densenet.datasets import ParquetBatches
from densenet.tables import Table, TableError, TablePreparation

pa = pytest.importorskip("pyarrow", reason="pyarrow, of the extra [arrow], is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow, of the extra [arrow], is not installed")

N = 230
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5]).astype(np.float32)
LABEL = np.arange(N) % 4


def columns(rows=slice(None)):
    x = {name: X[rows, j] for j, name in enumerate("abc")}
    return x | {"y": Y[rows], "label": LABEL[rows], "number": np.arange(N)[rows]}


@pytest.fixture
def path(tmp_path):
    """One file: 12 row groups of 20 rows, the last of 10."""
    pq.write_table(pa.table(columns()), tmp_path / "rows.parquet", row_group_size=20)
    return tmp_path / "rows.parquet"


def numbers(data, epoch=1, start=0):
    """The numbers of the rows in the order in which they come, and the sizes of the batches."""
    made = list(data.numbered_epoch(epoch, start))
    return np.concatenate([y for _, y in made]), [len(y) for _, y in made]


def no_reader_is_left():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("densenet-parquet")]


# -- what comes, and in which order ----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 25, 60, 1000])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 500])
def test_every_epoch_has_every_row_once_in_an_order_of_its_own(path, window, batch_size):
    data = ParquetBatches(path, ["a", "b", "c"], "number", batch_size, window=window, seed=3)
    orders = []
    for epoch in (1, 2):
        order, sizes = numbers(data, epoch)
        assert sorted(order) == list(range(N))
        assert sizes == [min(batch_size, N - start) for start in range(0, N, batch_size)]
        assert len(sizes) == len(data)
        orders.append(order.tolist())
    assert orders[0] != orders[1]
    assert orders[0] != list(range(N))
    again = ParquetBatches(path, ["a", "b", "c"], "number", batch_size, window=window, seed=3)
    assert numbers(again, 2)[0].tolist() == orders[1]
    assert numbers(ParquetBatches(path, None, "number", batch_size, window=window, seed=4), 1)[0].tolist() != orders[0]


def test_rows_mix_within_windows_of_whole_row_groups(path):
    pq.write_table(pa.table(columns(slice(0, 200))), path, row_group_size=20)
    groups = [set(batch // 20) for _, batch in ParquetBatches(path, ["a"], "number", 40, window=21)]
    assert [len(two) for two in groups] == [2] * 5
    assert set.union(*groups) == set(range(10))
    in_file_order = ParquetBatches(path, ["a"], "number", 64, shuffle=False)
    assert numbers(in_file_order)[0].tolist() == numbers(in_file_order, 2)[0].tolist() == list(range(200))


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5, 15, 32, 33])
def test_an_epoch_goes_on_anywhere(path, start):
    data = ParquetBatches(path, ["a"], "number", 7, window=25, seed=1)
    np.testing.assert_array_equal(
        np.r_[numbers(data, 5)[0][7 * start :], -1], np.r_[numbers(data, 5, start)[0] if start < 33 else [], -1]
    )


def test_values_types_and_weights(path):
    data = ParquetBatches(path, ["c", "a"], "label", N, sample_weight="number", shuffle=False)
    [(x, y, weight)] = data
    np.testing.assert_array_equal(x, X[:, [2, 0]])
    np.testing.assert_array_equal(y, LABEL)
    np.testing.assert_array_equal(weight, np.arange(N))
    assert (x.dtype, y.dtype, weight.dtype) == (np.float32, np.int64, np.float32)
    [(x, y)] = ParquetBatches(path, None, ["y", "a"], N, shuffle=False, dtype="float64")
    np.testing.assert_array_equal(x, np.column_stack([X[:, 1:], LABEL, np.arange(N)]).astype(np.float64))
    np.testing.assert_array_equal(y, np.column_stack([Y, X[:, 0]]).astype(np.float64))


def test_types_that_are_numbers(tmp_path):
    from decimal import Decimal

    table = pa.table(
        {
            "flag": [True, False],
            "money": pa.array([Decimal("1.50"), Decimal("-2.25")]),
            "half": pa.array(np.array([1.5, 2.5], np.float16)),
            "large": pa.array([2**63, 1], pa.uint64()),
            "y": pa.array([1, 2], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    [(x, y)] = ParquetBatches(tmp_path / "t.parquet", None, "y", shuffle=False, dtype="float64")
    np.testing.assert_array_equal(x, [[1, 1.5, 1.5, 2.0**63], [0, -2.25, 2.5, 1]])
    assert y.tolist() == [1, 2]
    [(_, y)] = ParquetBatches(tmp_path / "t.parquet", ["flag"], "large", shuffle=False, dtype="float64")
    assert y.tolist() == [2.0**63, 1]


def test_many_files_and_empty_row_groups(tmp_path):
    for k, rows in enumerate([slice(0, 90), slice(0, 0), slice(90, N)]):
        pq.write_table(pa.table(columns(rows)), tmp_path / f"part-{k}.parquet", row_group_size=50)
    data = ParquetBatches(tmp_path / "part-*.parquet", ["a"], "number", 32, window=70)
    assert sorted(numbers(data)[0]) == list(range(N))
    assert [Path(file).name for file in data.files] == ["part-0.parquet", "part-1.parquet", "part-2.parquet"]
    assert repr(data) == "ParquetBatches(3 files, 5 row groups, 230 rows: 1 feature, target 'number', batch_size=32)"
    both = ParquetBatches([tmp_path / "part-2.parquet", str(tmp_path / "part-0.parquet")], ["a"], "number", 300)
    assert both.rows == N
    with pytest.raises(TableError, match=r"finds no row in .*part-1\.parquet"):
        ParquetBatches(tmp_path / "part-1.parquet", ["a"], "number")


def test_split_holds_row_groups_out(path):
    data = ParquetBatches(path, ["a"], "number", 16)
    train, held_out = data.split(0.25)
    a, b = numbers(train)[0], numbers(held_out)[0]
    assert sorted([*a, *b]) == list(range(N))
    assert set(a // 20).isdisjoint(b // 20)
    assert (len(set(b // 20)), b.tolist()) == (3, sorted(b))
    assert numbers(data.split(0.25)[1])[0].tolist() == b.tolist()
    assert numbers(ParquetBatches(path, ["a"], "number", seed=1).split(0.25)[1])[0].tolist() != b.tolist()
    assert data.rows == train.rows + held_out.rows == N
    for share in (0.0, 0.99):
        with pytest.raises(TableError, match=f"some but not all, got share {share:g} of 12: write smaller ones"):
            data.split(share)
    one = ParquetBatches(path, ["a"], "number").split(0.9)[0]
    with pytest.raises(TableError, match=r"got share 0.2 of 1: write smaller ones .*row_group_size"):
        one.split(0.2)


def test_copies_and_pickles_give_the_same(path):
    data = ParquetBatches(path, ["a"], "number", 16, seed=2)
    for other in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert numbers(other)[0].tolist() == numbers(data)[0].tolist()


# -- training --------------------------------------------------------------------------------------------------------


def new_trainer():
    model = dn.mlp([3, 8, 1], dropout=0.2, seed=0)
    return dn.Trainer(model, "mse", dn.Adam(0.01), metrics=["r2"])


def test_a_fit_equals_steps_on_the_same_batches(path):
    data = ParquetBatches(path, ["a", "b", "c"], "y", 32, window=60)
    trainer, by_hand = new_trainer(), new_trainer()
    history = trainer.fit(data, epochs=3, validation_data=data)
    errors = []
    for epoch in (1, 2, 3):
        steps = [(by_hand.step(x, y), len(y)) for x, y in data.numbered_epoch(epoch)]
        errors.append(sum(error * n for error, n in steps) / N)
    np.testing.assert_array_equal(trainer.model.params, by_hand.model.params)
    np.testing.assert_allclose(history["loss"], errors, rtol=1e-12)
    assert history["val_loss"][-1] == pytest.approx(trainer.evaluate(X, Y)["loss"], rel=1e-6)
    assert no_reader_is_left()


@pytest.mark.parametrize("steps", [8, 5, 11])  # at an epoch's end, within its first epoch, within its second
def test_a_run_resumes_bit_for_bit(path, tmp_path, steps):
    def data():
        return ParquetBatches(path, ["a", "b", "c"], "y", 32, window=60)

    whole = new_trainer()
    expected = whole.fit(data(), epochs=4, validation_data=data())
    broken = new_trainer()
    broken.fit(data(), epochs=4, validation_data=data(), callbacks=Save(tmp_path / "run.npz", steps))
    resumed = new_trainer()
    history = resumed.fit(data(), epochs=4, validation_data=data(), resume=tmp_path / "run.npz")
    np.testing.assert_array_equal(resumed.model.params, whole.model.params)
    for name in ("loss", "r2", "val_loss", "val_r2"):
        assert history[name] == expected[name]


class Save(dn.Callback):
    """Save a checkpoint after so many steps, and end."""

    def __init__(self, path, steps):
        self.path, self.steps = path, steps

    def on_batch_end(self, run):
        if run.step == self.steps and self.steps % 8:
            self.save(run)

    def on_epoch_end(self, run):
        if run.step == self.steps and not self.steps % 8:
            self.save(run)

    def save(self, run):
        run.trainer.save_checkpoint(self.path)
        run.stop("saved", lasting=False)


def test_other_rows_and_another_order_are_refused(path, tmp_path):
    def data(seed=0, features=("a", "b", "c")):
        return ParquetBatches(path, features, "y", 32, seed=seed)

    new_trainer().fit(data(), epochs=1, callbacks=Save(tmp_path / "run.npz", 3))
    with pytest.raises(dn.CheckpointError, match=r"got another order of rows.*changed_data=True"):
        new_trainer().fit(data(1), epochs=2, resume=tmp_path / "run.npz")
    with pytest.raises(dn.CheckpointError, match="got another set of rows"):
        new_trainer().fit(data(features=("b", "a", "c")), epochs=2, resume=tmp_path / "run.npz")
    history = new_trainer().fit(data(1), epochs=2, resume=tmp_path / "run.npz", changed_data=True)
    assert len(history) == 2


KILLED = """
import sys
import densenet as dn
path, checkpoint = sys.argv[1:]
dn.threads(1)
data = dn.datasets.ParquetBatches(path, ["a", "b", "c"], "y", 4, window=60)
class Slow(dn.Callback):
    def on_batch_end(self, run):
        if run.step == 100:
            print("here", flush=True)
            sys.stdin.read()
trainer = dn.Trainer(dn.mlp([3, 8, 1], dropout=0.2, seed=0), "mse", dn.Adam(0.01), metrics=["r2"])
trainer.fit(data, epochs=3, callbacks=[dn.ModelCheckpoint(checkpoint, every_steps=7), Slow()])
"""


def test_a_killed_process_resumes_bit_for_bit(path, tmp_path):
    checkpoint = tmp_path / "run.npz"
    command = [sys.executable, "-c", KILLED, str(path), str(checkpoint)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    data = ParquetBatches(path, ["a", "b", "c"], "y", 4, window=60)
    whole, resumed = new_trainer(), new_trainer()
    with dn.threads(1):
        whole.fit(data, epochs=3)
        resumed.fit(data, epochs=3, resume=checkpoint)
    np.testing.assert_array_equal(resumed.model.params, whole.model.params)


# -- faults ----------------------------------------------------------------------------------------------------------


def test_no_thread_is_left_whatever_ends_an_epoch(path):
    data = ParquetBatches(path, ["a", "b", "c"], "y", 8, window=20)
    for _ in data:
        break
    assert no_reader_is_left()

    def fail(run):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:  # whose traceback holds the frames of the fit
        new_trainer().fit(data, epochs=1, callbacks=dn.LambdaCallback(on_batch_end=fail))
    assert caught.traceback
    assert no_reader_is_left()
    new_trainer().fit(data, epochs=1, callbacks=dn.LambdaCallback(on_batch_end=lambda run: run.stop("enough")))
    assert no_reader_is_left()


def test_a_file_that_changes_between_epochs(path):
    data = ParquetBatches(path, ["a", "b", "c"], "y", 32)

    def change(run):
        pq.write_table(pa.table(columns(slice(0, 100))), path)

    with pytest.raises(TableError, match=r"rows\.parquet has changed since these ParquetBatches were made"):
        new_trainer().fit(data, epochs=2, callbacks=dn.LambdaCallback(on_epoch_end=change))
    assert no_reader_is_left()


def test_a_file_that_vanishes_or_is_damaged(path):
    data = ParquetBatches(path, ["a"], "y", 32)
    content, stamp = path.read_bytes(), path.stat()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"rows\.parquet"):
        list(data)
    path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(TableError, match=r"rows\.parquet, row group \d+ cannot be read"):
        list(data)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(TableError, match=r"ParquetBatches cannot read .*rows\.parquet"):
        ParquetBatches(path, ["a"], "y")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([None, 1.0, 2.0], "row group 0: column 'a' has 1 missing values: fit a TablePreparation and use .prepared"),
        ([1.0, float("nan"), 2.0], "row group 0: column 'a' has the value nan: fit a TablePreparation"),
        ([1.0, 1e39, 2.0], r"row group 0: column 'a' has the value 1e\+39, too large for float32"),
        (["1", "2", "x"], "column 'a' holds string, and a network takes numbers: fit a TablePreparation and use"),
    ],
)
def test_columns_that_are_no_numbers(tmp_path, bad, message):
    pq.write_table(pa.table({"a": bad, "y": [0.5, 1.5, 2.5]}), tmp_path / "bad.parquet")
    model = dn.mlp([1, 1], seed=0)
    before = model.params.copy()
    with pytest.raises(TableError, match=rf"bad\.parquet.*{message}"):
        dn.Trainer(model, "mse", "sgd").fit(ParquetBatches(tmp_path / "bad.parquet", ["a"], "y"), epochs=1)
    np.testing.assert_array_equal(model.params, before)
    assert no_reader_is_left()
    swapped = ParquetBatches(tmp_path / "bad.parquet", ["y"], "a")
    with pytest.raises(TableError, match=r"column 'a'.*leave (these rows|it) out"):
        list(swapped)


def test_bad_arguments(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file matches '.*none-\*\.parquet'"):
        ParquetBatches(tmp_path / "none-*.parquet", ["a"], "y")
    with pytest.raises(FileNotFoundError, match=r"no such file: '.*none\.parquet'"):
        ParquetBatches(tmp_path / "none.parquet", ["a"], "y")
    with pytest.raises(TableError, match=r"expects files, got a folder: .*\*\.parquet"):
        ParquetBatches(tmp_path, ["a"], "y")
    with pytest.raises(
        TableError, match=r"finds no column 'lable' in .* \(did you mean 'label'\?\); its columns are 'a'"
    ):
        ParquetBatches(path, ["a"], "lable")
    with pytest.raises(ValueError, match="a column once, as feature, target or weight, got 'a'"):
        ParquetBatches(path, ["a", "b"], "a")
    with pytest.raises(ValueError, match=r"expects features and a target, got \[\]"):
        ParquetBatches(path, [], "y")
    for argument, value in {"batch_size": 0, "window": 0, "seed": -1, "dtype": "int8"}.items():
        with pytest.raises(ValueError, match=argument):
            ParquetBatches(path, ["a"], "y", **{argument: value})
    other = tmp_path / "z.parquet"
    pq.write_table(pa.table({"a": [1.0], "y": [2.0]}), other)
    with pytest.raises(TableError, match=r"finds no column 'b' in .*z\.parquet"):
        ParquetBatches([path, other], ["a", "b"], "y")
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match=r"cannot read .*text\.parquet"):
        ParquetBatches(tmp_path / "text.parquet", ["a"], "y")
    with pytest.raises(ValueError, match="cannot take validation_split or class_weight with an iterable"):
        new_trainer().fit(ParquetBatches(path, None, "y"), epochs=1, validation_split=0.1)


# -- preparation -----------------------------------------------------------------------------------------------------


def flats(n=500):
    rng = np.random.default_rng(1)
    area = rng.normal(70, 20, n)
    city = rng.choice(["Bonn", "Trier", "Köln"], n)
    built = np.datetime64("1950-01-01") + rng.integers(0, 20000, n)
    table = {
        "area": [None if i % 7 == 0 else v for i, v in enumerate(area)],
        "city": [None if i % 50 == 3 else v for i, v in enumerate(city)],
        "balcony": [bool(i % 3) for i in range(n)],
        "built": pa.array(built.astype("datetime64[D]")),
        "empty": pa.array([None] * n, pa.string()),
        "key": [f"flat {i}" for i in range(n)],
        "tiny": np.where(np.arange(n) < 60, 1e-200, 3e-200),
        "rent": area * 10 + 1e6,
        "kind": np.where(area > 70, "large", "small"),
        "grade": rng.integers(1, 5, n),
    }
    return pa.table(table)


@pytest.mark.parametrize("target", ["rent", "kind", "grade"])
def test_a_preparation_learns_in_one_pass_what_it_learns_of_the_whole_table(tmp_path, target):
    table = flats()
    pq.write_table(table, tmp_path / "flats.parquet", row_group_size=60)
    data = ParquetBatches(tmp_path / "flats.parquet", None, target, 500, shuffle=False)
    of_parts, of_whole = TablePreparation().fit(data), TablePreparation().fit(Table(table), target)
    one, other = of_parts.state(), of_whole.state()
    assert one["dropped"] == other["dropped"]
    assert set(one["dropped"]) == {"empty", "key"}
    for a, b in zip([*one["columns"], one["target"]], [*other["columns"], other["target"]], strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            expected = pytest.approx(b[name], rel=1e-13, abs=0) if name in ("mean", "scale") else b[name]
            assert value == expected, (a["name"], name)
    [(x, y)] = data.prepared(of_parts)
    np.testing.assert_allclose(x, of_whole.transform(Table(table)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y, of_whole.transform_target(Table(table)), rtol=1e-6, atol=1e-6)
    assert data.prepared(of_parts).feature_names == of_whole.feature_names


def test_a_preparation_learns_from_the_training_row_groups_and_knows_all_classes(tmp_path):
    kinds = ["rare"] * 10 + ["common", "usual"] * 45
    pq.write_table(pa.table({"x": np.arange(100.0), "y": kinds}), tmp_path / "t.parquet", row_group_size=10)
    data = ParquetBatches(tmp_path / "t.parquet", ["x"], "y", shuffle=False)
    for seed in range(20):
        train, held_out = ParquetBatches(tmp_path / "t.parquet", ["x"], "y", 1000, seed=seed).split(0.2)
        if "rare" in [part["y"][0] for _, part, own in held_out.parts() if own]:
            break
    preparation = TablePreparation().fit(train)
    assert preparation.classes == ["common", "rare", "usual"]
    own = np.concatenate([part["x"] for _, part, is_own in train.parts() if is_own])
    [column] = preparation.state()["columns"]
    assert column["mean"] == pytest.approx(own.mean(), rel=1e-14)
    assert column["low"] == own.min() > 9
    [(_, y)] = held_out.prepared(preparation)
    assert 1 in y
    with pytest.raises(ValueError, match="target that the parts were opened with, 'y', got 'x'"):
        TablePreparation().fit(data, "x")
    with pytest.raises(ValueError, match=r"prepared expects a preparation of the features 'x'.*'y', got one of 'y'"):
        data.prepared(TablePreparation().fit({"y": ["a", "b"], "x": [1, 2]}, "x"))


def test_faults_of_a_preparation_name_the_row_group(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": [1.0, 2.0, 3.0], "y": ["a", "b", None]}), path, row_group_size=2)
    with pytest.raises(ValueError, match=r"fit, .*t\.parquet, row group 1, expects a value of the target 'y' in every"):
        TablePreparation().fit(ParquetBatches(path, ["x"], "y"))
    pq.write_table(pa.table({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "c"]}), path, row_group_size=2)
    known = TablePreparation().fit({"x": [1.0, 2.0], "y": ["a", "b"]}, "y")
    with pytest.raises(TableError, match=r"t\.parquet, row group 1: .*knows the classes 'a', 'b' of 'y', got 'c'"):
        list(ParquetBatches(path, ["x"], "y", shuffle=False).prepared(known))
    assert no_reader_is_left()


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def flats_file(tmp_path, monkeypatch):
    """A file of 500 flats in row groups of 25, in a folder of its own, that counts as too large for memory."""
    from densenet.cli import large

    monkeypatch.setattr(large, "_SHARE", 0.0)
    monkeypatch.chdir(tmp_path)
    table = flats().append_column("id", pa.array(np.arange(500)))
    pq.write_table(table, "flats.parquet", row_group_size=25)
    return "flats.parquet"


@pytest.mark.parametrize("target", ["rent", "kind"])
def test_densenet_train_streams_what_memory_does_not_hold(flats_file, capsys, target):
    from densenet.cli import main

    others = {"rent": "kind", "kind": "rent"}[target]
    arguments = [
        "train",
        flats_file,
        "--target",
        target,
        "--drop",
        others,
        "--epochs",
        "30",
        "--dropout",
        "0",
        "--batch-size",
        "8",
    ]
    assert main([*arguments, "--output", "run"]) == 0
    said = capsys.readouterr()
    assert "its 500 rows do not fit in memory: read by row group; left out: " in said.out
    assert "'id' runs by 1 from row to row, in the first 25 (--keep key,id to use)" in said.out
    assert "of 350 training rows and 100 rows held out:\nheld out " in said.out
    assert "network" in said.out
    assert said.err == ""
    words = [line.split() for line in said.out.splitlines()]
    assert ["training", "350"] in [line[:2] for line in words]
    held_out = next(line for line in words if line[:3] == ["held", "out", "100"])
    figure, baseline = float(held_out[3]), float(held_out[-1])
    model = dn.load("run/model.npz")
    answers = model.predict(model.preparation.transform(Table(flats())))
    actual = flats()[target].to_pylist()
    predicted = model.preparation.inverse_target(answers)
    if target == "kind":
        assert min(figure, np.mean(predicted == np.array(actual, object))) > baseline + 0.2
    else:
        assert max(figure, np.sqrt(np.mean((predicted - actual) ** 2))) < 0.7 * baseline


def test_what_densenet_train_cannot_do_with_a_large_file(flats_file, capsys):
    from densenet.cli import main

    for more, message in {
        (): "--target is needed: which column of flats.parquet.*densenet train flats.parquet --target id",
        ("--target", "rend"): "finds no column 'rend' in flats.parquet .did you mean 'rent'",
        ("--target", "rent", "--time", "built"): "--time, --text and --numeric are not for Parquet files that memory",
        ("--target", "rent", "--held-out", "0.99"): "holds out whole row groups.*write smaller ones",
    }.items():
        assert main(["train", flats_file, *more]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert re.search(message, error)
