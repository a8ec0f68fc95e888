"""Tables and their preparation beside numbers worked out by hand and beside scikit-learn's transformers."""

from __future__ import annotations

import copy
import datetime
import json
import math
import pickle
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densenet.tables import Table, TablePreparation

ROWS = {
    "area": [50, None, 80, 65],
    "city": ["Trier", "Bonn", None, "Bonn"],
    "floor": [1, 2, 3, 3],
    "rent": [600.5, 700, 1100, 650],
}


# -- Table ----------------------------------------------------------------------------------------------------------


def test_columns_are_numbers_or_text():
    table = Table(ROWS, target="rent")
    assert len(table) == 4
    assert list(table.columns) == ["area", "city", "floor", "rent"]
    assert [table[name].dtype for name in table.columns] == [np.float64, object, np.float64, np.float64]
    np.testing.assert_array_equal(table["area"], [50, np.nan, 80, 65])
    assert table["city"].tolist() == ["Trier", "Bonn", None, "Bonn"]
    assert repr(table) == "Table(4 rows: area numeric, city text, floor numeric, rent numeric; target 'rent')"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1, 2], np.int8), [1.0, 2.0]),
        (np.array([1, 2], np.uint64), [1.0, 2.0]),
        (np.array([1.5, 2], np.float16), [1.5, 2.0]),
        (np.array([1.5, 2], np.longdouble), [1.5, 2.0]),
        (np.array([1.5, 2], ">f8"), [1.5, 2.0]),
        (np.array([1.0, 9.0, 2.0, 9.0])[::2], [1.0, 2.0]),
        ([Decimal("1.5"), 2], [1.5, 2.0]),
        ((np.float32(0.5), np.int16(2)), [0.5, 2.0]),
        (range(1, 3), [1.0, 2.0]),
        (np.array([True, False]), ["True", "False"]),
        ([True, None], ["True", None]),
        ([np.True_, "x"], ["True", "x"]),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (["a", math.nan], ["a", None]),
        (["a", np.float32("nan")], ["a", None]),
        (["a", 1], ["a", "1"]),
        (["a", 2.0], ["a", "2"]),
        (["a", 2.5], ["a", "2.5"]),
        (["NA", ""], ["NA", ""]),
        (["1", "2"], ["1", "2"]),
    ],
)
def test_what_a_column_may_be(values, expected):
    assert Table({"x": values})["x"].tolist() == expected


def test_a_column_without_values_is_numeric():
    assert np.isnan(Table({"x": [None, None, math.nan]})["x"]).all()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1, math.inf], ValueError, r"Table expects finite numbers, got inf in row 1 of 'x'\."),
        (np.array([-np.inf]), ValueError, r"Table expects finite numbers, got -inf in row 0 of 'x'\."),
        ([1, 10**400], ValueError, r"Table expects finite numbers, got an integer beyond float64 in 'x'\."),
        (["a", 10**400], ValueError, r"Table expects finite numbers, got an integer beyond float64 in 'x'\."),
        ([1, 2j], TypeError, r"Table expects column 'x' to be numbers or text, got a complex in row 1\."),
        (np.array([1j]), TypeError, r"Table expects column 'x' to be numbers or text, got dtype complex128\."),
        (np.array([1], "m8[D]"), TypeError, r"numbers or text, got dtype timedelta64\[D\]\."),
        ([datetime.time(1)], TypeError, r"numbers or text, got a time in row 0\."),
        ([b"a"], TypeError, r"numbers or text, got a bytes in row 0\."),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), ValueError, r"Table got a masked array for column 'x'"),
        (np.ones((2, 1)), ValueError, r"column 'x' to be one-dimensional, got shape \(2, 1\)\."),
        ([[1], [2]], ValueError, r"column 'x' to be one-dimensional, got shape \(2, 1\)\."),
        ("abc", ValueError, r"column 'x' to be one-dimensional, got shape \(\)\."),
        (5, ValueError, r"column 'x' to be one-dimensional, got shape \(\)\."),
        ([], ValueError, r"Table expects at least one row, got none\."),
    ],
)
def test_what_a_column_may_not_be(values, error, message):
    with pytest.raises(error, match=message):
        Table({"x": values})


def test_bad_tables():
    with pytest.raises(ValueError, match=r"Table expects at least one column, got none\."):
        Table({})
    with pytest.raises(TypeError, match=r"Table expects a mapping of columns or a data frame, got ndarray\."):
        Table(np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"columns of equal length, got 2 rows in 'a' and 3 in 'c'\."):
        Table({"a": [1, 2], "b": [1, 2], "c": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"name of its own, got twice: '1'\."):
        Table({1: [0], "1": [0]})
    with pytest.raises(ValueError, match=r"Table finds no column 'y'; the columns are 'x'\."):
        Table({"x": [1]}, target="y")
    with pytest.raises(ValueError, match=r"Table finds no column 'y'; the columns are 'x'\."):
        Table({"x": [1]})["y"]


def test_take_and_numbers():
    table = Table(ROWS, target="rent")
    part = table.take(np.array([3, 0]))
    assert part.target == "rent"
    assert part["city"].tolist() == ["Bonn", "Trier"]
    assert part["floor"].tolist() == [3, 1]
    assert table.take(np.array([False, True, False, False]))["floor"].tolist() == [2]
    np.testing.assert_array_equal(Table({"a": [1, 2], "b": [3, 4]}).numbers(), [[1, 3], [2, 4]])
    with pytest.raises(ValueError, match=r"Table.numbers expects a number everywhere, got none in row 1 of 'area'\."):
        table.numbers()
    with pytest.raises(ValueError, match=r"Table.numbers expects numeric columns, but 'city' holds text\."):
        table.take([0]).numbers()


def test_a_sparse_column_is_numbers():
    pd = pytest.importorskip("pandas", reason="makes the data frame")
    pytest.importorskip("narwhals", reason="narwhals is the door for data frames")
    table = Table(pd.DataFrame({"s": pd.arrays.SparseArray([0.0, 2.5, 0.0])}))
    assert table["s"].tolist() == [0.0, 2.5, 0.0]


@pytest.mark.parametrize("dtype", ["timedelta64[ns]", "period[M]", "complex128"])
def test_a_column_of_another_dtype_is_refused_by_its_name(dtype):
    pd = pytest.importorskip("pandas", reason="makes the data frame")
    pytest.importorskip("narwhals", reason="narwhals is the door for data frames")
    column = {
        "timedelta64[ns]": pd.to_timedelta([1, 2], "h").astype("timedelta64[ns]"),
        "period[M]": pd.period_range("2024-01", periods=2, freq="M"),
        "complex128": [1j, 2j],
    }[dtype]
    with pytest.raises(TypeError, match=f"column 'z' to be numbers, text or dates, got dtype {re.escape(dtype)}"):
        Table(pd.DataFrame({"z": column}))


def test_categories_of_a_frame_are_words_whatever_they_are():
    pandas = pytest.importorskip("pandas", reason="pandas makes the data frames to read")
    days = pandas.to_datetime(["2024-01-01", "2024-01-02"])
    read = {
        (1, 2): ["1", "2"],
        (1.5, 2.0): ["1.5", "2"],
        (False, True): ["False", "True"],
        ("u", "v"): ["u", "v"],
        tuple(days): ["2024-01-01 00:00:00", "2024-01-02 00:00:00"],
        tuple(pandas.interval_range(0, 2, 2)): ["(0, 1]", "(1, 2]"],
    }
    for categories, words in read.items():
        frame = pandas.DataFrame({"c": pandas.Categorical([*categories, None], categories=[*categories[::-1], 9])})
        assert Table(frame)["c"].tolist() == [*words, None]
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow makes dictionary columns")
    assert Table(pyarrow.table({"c": pyarrow.array([1, 2, 1]).dictionary_encode()}))["c"].tolist() == ["1", "2", "1"]
    learnt = TablePreparation().fit({"c": pandas.Categorical([3, 4, 3]), "y": [0.5, 1.5, 2.5]}, "y")
    np.testing.assert_array_equal(learnt.transform({"c": [3, 4.0, 5]}), [[1, 0], [0, 1], [0, 0]])


def test_a_series_in_a_mapping_reads_as_in_a_frame():
    pandas = pytest.importorskip("pandas", reason="pandas makes the columns to read")
    for column in (
        pandas.Series([1, None], dtype="Int64"),
        pandas.Series([True, None], dtype="boolean"),
        pandas.Series(["a", None], dtype="string"),
        pandas.Series([1, pandas.NA], dtype=object),
        pandas.Series(pandas.Categorical([1, None])),
        pandas.Series(pandas.to_datetime(["2020-01-01", None])).dt.tz_localize("Europe/Berlin"),
    ):
        np.testing.assert_array_equal(Table({"c": column})["c"], Table(pandas.DataFrame({"c": column}))["c"])


def test_data_frames():
    pandas = pytest.importorskip("pandas", reason="pandas makes the data frames to read")
    frame = pandas.DataFrame(
        {
            "int": pandas.array([1, None, 3], dtype="Int64"),
            "float": [0.5, np.nan, 2],
            "plain": np.array([1, 2, 3], np.int32),
            "text": ["a", None, "b"],
            "string": pandas.array(["a", None, "b"], dtype="string"),
            "category": pandas.Categorical(["u", None, "v"]),
            "bool": [True, False, True],
            "boolean": pandas.array([True, None, False], dtype="boolean"),
            "object": np.array([1, pandas.NA, 2.5], dtype=object),
            7: [1.0, 2.0, 3.0],
        },
        index=[9, 9, 4],
    )
    before = frame.copy()
    table = Table(frame, target="7")
    shown = {name: [None if v != v else v for v in column.tolist()] for name, column in table.columns.items()}
    assert shown == {
        "int": [1.0, None, 3.0],
        "float": [0.5, None, 2.0],
        "plain": [1.0, 2.0, 3.0],
        "text": ["a", None, "b"],
        "string": ["a", None, "b"],
        "category": ["u", None, "v"],
        "bool": ["True", "False", "True"],
        "boolean": ["True", None, "False"],
        "object": [1.0, None, 2.5],
        "7": [1.0, 2.0, 3.0],
    }
    pandas.testing.assert_frame_equal(frame, before)
    dated = pandas.DataFrame({"when": pandas.to_datetime(["2020-01-01", None])})
    assert Table(dated)["when"].astype(str).tolist() == ["2020-01-01T00:00:00", "NaT"]
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"Table expects every column to have a name of its own, got twice: 'a'\."):
        Table(twice)


# -- inputs ---------------------------------------------------------------------------------------------------------


def test_a_table_worked_out_by_hand():
    preparation = TablePreparation().fit(Table(ROWS), "rent")
    assert preparation.target == "rent"
    assert preparation.task == "regression"
    assert preparation.classes is None
    assert preparation.input_columns == ["area", "city", "floor"]
    assert preparation.text_columns == ["city"]
    assert preparation.dropped == {}
    assert preparation.feature_names == [
        "area", "area is missing", "city=Bonn", "city=Trier", "city is missing", "floor",
    ]  # fmt: skip
    # area 50, 80, 65: mean 65, variance (225 + 225 + 0) / 3 = 150; floor 1, 2, 3, 3: mean 9/4, variance 11/16.
    a, f = math.sqrt(150), math.sqrt(11 / 16)
    x = preparation.transform(Table(ROWS))
    assert x.dtype == np.float32
    expected = [
        [-15 / a, 0, 0, 1, 0, -1.25 / f],
        [0, 1, 1, 0, 0, -0.25 / f],
        [15 / a, 0, 0, 0, 1, 0.75 / f],
        [0, 0, 1, 0, 0, 0.75 / f],
    ]
    np.testing.assert_allclose(x, expected, atol=1e-6)
    assert preparation.describe() == "3 columns as 6 inputs, target 'rent' (regression)"
    assert repr(preparation) == "TablePreparation(regression of 'rent', 6 features)"


def test_numbers_are_those_of_scikit_learn():
    module = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn standardises and encodes beside it")
    rng = np.random.default_rng(0)
    numbers = rng.normal([3, -1e4, 1e-3], [2, 50, 1e-5], (200, 3))
    numbers[rng.random((200, 3)) < 0.1] = np.nan
    words = rng.choice(["red", "green", "blue", "Ä", "a b"], (200, 2)).astype(object)
    target = rng.normal(1e6, 1e3, 200)
    rows = {f"n{j}": numbers[:, j] for j in range(3)} | {f"w{j}": words[:, j] for j in range(2)} | {"y": target}
    preparation = TablePreparation().fit(rows, "y")
    x = preparation.transform(rows)

    standard = np.nan_to_num(module.StandardScaler().fit_transform(numbers))
    encoder = module.OneHotEncoder(sparse_output=False).fit(words)
    expected = np.empty((200, 6 + 10))
    expected[:, 0:6:2] = standard
    expected[:, 1:6:2] = np.isnan(numbers)
    expected[:, 6:] = encoder.transform(words)
    np.testing.assert_allclose(x, expected, atol=1e-6 * np.abs(expected).max())
    named = [f"w{j}={c}" for j in range(2) for c in encoder.categories_[j]]
    assert preparation.feature_names[6:] == named
    t = preparation.transform_target(rows)
    np.testing.assert_allclose(
        t, module.StandardScaler().fit_transform(target[:, None])[:, 0], atol=1e-6 * abs(t).max()
    )


def test_new_rows_take_the_training_rows_statistics():
    preparation = TablePreparation().fit(ROWS, "rent")
    later = {"unused": [0], "floor": [None], "city": ["Aachen"], "area": [110]}  # another order, no target
    a = math.sqrt(150)
    np.testing.assert_allclose(preparation.transform(later), [[45 / a, 0, 0, 0, 0, 0]], atol=1e-6)


def test_missing_where_training_had_none_has_no_column_of_its_own():
    preparation = TablePreparation().fit({"n": [1, 3], "w": ["a", "b"], "y": [0.5, 1.5]}, "y")
    assert preparation.feature_names == ["n", "w=a", "w=b"]
    np.testing.assert_array_equal(preparation.transform({"n": [None], "w": [None]}), [[0, 0, 0]])


@pytest.mark.parametrize("value", [0.1, 1e-300, 1e300, -7.0, 0.0])
def test_columns_that_do_not_vary_stay_finite(value):
    rows = {"c": [value] * 10, "x": range(10), "y": [value] * 10}
    preparation = TablePreparation().fit(rows, "y", task="regression")
    np.testing.assert_array_equal(preparation.transform(rows)[:, 0], 0)
    np.testing.assert_array_equal(preparation.transform_target(rows), 0)
    np.testing.assert_array_equal(preparation.inverse_target(np.zeros(3, np.float32)), [value] * 3)


@pytest.mark.parametrize("values", [[1e-320, 2e-320, 0], [1e150, -1e150, 0], [1e16, 1e16 + 2, 1e16]])
def test_extreme_numbers_are_standardised(values):
    x = TablePreparation().fit({"v": values, "y": [0, 1, 2]}, "y").transform({"v": values})
    assert np.isfinite(x).all()


def test_numbers_beyond_float():
    with pytest.raises(
        ValueError, match=r"TablePreparation.fit cannot standardise column 'v': numbers up to 1e\+300 are too large\."
    ):
        TablePreparation().fit({"v": [1e300, -1e300], "y": [0.5, 1]}, "y")
    preparation = TablePreparation().fit({"v": [0.0, 1.0], "y": [0.5, 1]}, "y")
    with pytest.raises(ValueError, match=r"cannot standardise 1e\+300 in row 1 of column 'v': it is beyond float32"):
        preparation.transform({"v": [0, 1e300]})


def test_text_that_names_rows_is_left_out():
    n = 120
    rows = {
        "name": [f"flat {i}" for i in range(n)],
        "half": [f"street {i % 60}" for i in range(n)],
        "gap": [None] * n,
        "x": range(n),
        "y": [0.5] * n,
    }
    preparation = TablePreparation().fit(rows, "y")
    assert preparation.dropped == {"name": "has 120 different texts in 120 rows", "gap": "has no values"}
    assert preparation.input_columns == ["half", "x"]
    assert len(preparation.feature_names) == 61
    assert preparation.describe() == (
        "2 columns as 61 inputs, target 'y' (regression); left out: 'name' has 120 different texts in 120 rows, "
        "'gap' has no values"
    )
    assert preparation.transform({"half": ["street 3"], "x": [1]}).shape == (1, 61)


@pytest.mark.parametrize(
    ("different", "rows", "kept"),
    [(50, 50, True), (51, 102, True), (51, 101, False), (1000, 3000, True), (1001, 3000, False)],
)
def test_the_rule_for_too_many_texts(different, rows, kept):
    data = {"t": [f"{i % different}!" for i in range(rows)], "x": range(rows), "y": np.arange(rows) / 3}
    preparation = TablePreparation().fit(data, "y")
    assert ("t" in preparation.input_columns) == kept
    assert ("t" in preparation.dropped) != kept


def test_nothing_left_to_learn_from():
    with pytest.raises(ValueError, match=r"finds no input column beside the target 'y'\."):
        TablePreparation().fit({"y": [0.5, 1]}, "y")
    with pytest.raises(ValueError, match=r"beside the target 'y'; left out: 'gap' has no values\."):
        TablePreparation().fit({"gap": [None, None], "y": [0.5, 1]}, "y")


def test_missing_columns_are_named():
    preparation = TablePreparation().fit(ROWS, "rent")
    with pytest.raises(ValueError, match=r"but there is no 'area', 'city'; the columns are 'floor', 'x'\."):
        preparation.transform({"floor": [1], "x": [2]})
    with pytest.raises(ValueError, match=r"TablePreparation finds no column 'rent'; the columns are 'floor'\."):
        preparation.transform_target({"floor": [1]})


def test_text_where_numbers_belong():
    preparation = TablePreparation().fit({"n": [1, 3], "y": [0.5, 1.5]}, "y")
    np.testing.assert_array_equal(preparation.transform({"n": ["1", None, " 3 "]}), [[-1], [0], [1]])
    for word in ("three", "inf", "1_0", "nan"):
        with pytest.raises(
            ValueError, match=rf"TablePreparation expects numbers in column 'n', got '{word}' in row 1\."
        ):
            preparation.transform({"n": ["1", word, "x"]})


def test_numbers_where_text_belongs_are_read_as_written():
    preparation = TablePreparation().fit({"house": ["12", "12a", "2.5"], "y": [0.5, 1.5, 2]}, "y")
    assert preparation.feature_names == ["house=12", "house=12a", "house=2.5"]
    np.testing.assert_array_equal(
        preparation.transform({"house": [12, 2.5, 7, math.nan]}), [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    )


def test_only_the_training_rows_are_learned_from():
    rows = {"n": [0, 2, 100, None], "w": ["a", "b", "c", None], "y": ["u", "v", "u", "w"]}
    preparation = TablePreparation().fit(rows, "y", rows=[0, 1])
    assert preparation.feature_names == ["n", "w=a", "w=b"]
    assert preparation.classes == ["u", "v", "w"]  # a class may be missing among the training rows
    np.testing.assert_array_equal(preparation.transform(rows), [[-1, 1, 0], [1, 0, 1], [99, 0, 0], [0, 0, 0]])
    values = {"n": [0, 2, 4], "y": [1.5, 3.5, 77]}
    regression = TablePreparation().fit(values, "y", rows=np.array([True, True, False]))
    np.testing.assert_allclose(regression.transform_target(values), [-1, 1, 74.5])


# -- targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["no", "yes", "no"], "classification", ["no", "yes"]),
        ([True, False, True], "classification", ["False", "True"]),
        (["only"] * 3, "classification", ["only"]),
        ([0, 1, 1, 0], "classification", [0, 1]),
        ([1.0, -1.0, 1.0, 1.0], "classification", [-1, 1]),
        ([3, 7, 7, 3], "classification", [3, 7]),
        ([0, 1, 2] * 2, "classification", [0, 1, 2]),
        ([1, 2, 3] * 2, "classification", [1, 2, 3]),
        (list(range(20)) * 2, "classification", list(range(20))),
        (list(range(1, 22)) * 2, "regression", None),  # more than 20
        ([0, 1, 2, 0, 1], "regression", None),  # fewer rows than twice the values
        ([3, 4, 5] * 5, "regression", None),  # a run, but neither from 0 nor from 1
        ([0, 2, 4] * 5, "regression", None),  # no run
        ([0, 0.5, 1] * 5, "regression", None),
        ([0.5, 1.5] * 5, "regression", None),
        ([1] * 9, "regression", None),
        ([100, 250.5, 80], "regression", None),
    ],
)
def test_the_task_is_seen_in_the_target(values, task, classes):
    preparation = TablePreparation().fit({"x": range(len(values)), "y": values}, "y")
    assert preparation.task == task
    assert preparation.classes == classes


def test_the_task_may_be_told():
    rows = {"x": [0, 1, 2, 3], "y": [0, 1, 1, 0]}
    regression = TablePreparation().fit(rows, "y", task="regression")
    np.testing.assert_allclose(regression.transform_target(rows), [-1, 1, 1, -1])
    wine = {"x": range(4), "y": [3, 8, 5, 5]}
    classification = TablePreparation().fit(wine, "y", task="classification")
    assert classification.classes == [3, 5, 8]
    assert classification.transform_target(wine).tolist() == [0, 2, 1, 1]
    text = TablePreparation().fit({"x": [0, 1], "y": ["1", "3"]}, "y", task="regression")
    np.testing.assert_array_equal(text.inverse_target([0.0, 1.0]), [2, 3])


def test_classes_there_and_back():
    rows = {"x": [0, 1, 2], "y": ["b", "a", "c"]}
    preparation = TablePreparation().fit(Table(rows, target="y"))
    t = preparation.transform_target(rows)
    assert t.dtype == np.int64
    assert t.tolist() == [1, 0, 2]
    assert preparation.inverse_target(t).tolist() == ["b", "a", "c"]
    assert preparation.inverse_target(t).dtype == object
    assert preparation.inverse_target(t[:, None]).tolist() == ["b", "a", "c"]
    assert preparation.inverse_target([[0.1, 2, -1], [0, 0, 3]]).tolist() == ["b", "c"]
    numbered = TablePreparation().fit({"x": [0, 1, 2, 3], "y": [1, -1, 1, -1]}, "y")
    back = numbered.inverse_target(np.array([0, 1], np.uint8))
    assert back.dtype == np.int64
    assert back.tolist() == [-1, 1]


def test_numbered_and_textual_classes_of_a_later_table():
    numbered = TablePreparation().fit({"x": range(4), "y": [1, 2, 1, 2]}, "y")
    assert numbered.transform_target({"y": ["2", "1"]}).tolist() == [1, 0]
    textual = TablePreparation().fit({"x": range(3), "y": ["1", "2", "2a"]}, "y")
    assert textual.transform_target({"y": [2, 1]}).tolist() == [1, 0]


def test_regression_there_and_back():
    y = np.random.default_rng(0).normal(1000, 3, 50)
    rows = {"x": range(50), "y": y}
    preparation = TablePreparation().fit(rows, "y")
    t = preparation.transform_target(rows)
    assert t.dtype == np.float32
    assert t.shape == (50,)
    np.testing.assert_allclose(t, (y - y.mean()) / y.std(), atol=1e-6 * abs(t).max())
    for prediction in (t, t[:, None], t.tolist()):
        back = preparation.inverse_target(prediction)
        assert back.dtype == np.float64
        np.testing.assert_allclose(back, y, rtol=1e-6)
    quantiles = preparation.inverse_target(np.column_stack([t - 1, t, t + 1]))
    np.testing.assert_allclose(quantiles - y[:, None], np.tile([-y.std(), 0, y.std()], (50, 1)), atol=1e-4)


def test_bad_targets():
    fit = TablePreparation().fit
    with pytest.raises(
        ValueError, match=r"fit expects a value of the target 'y' in every row, got none in row 1: fill"
    ):
        fit({"x": [1, 2, 3], "y": [1, None, None]}, "y")
    with pytest.raises(
        ValueError, match=r"fit expects a value of the target 'y' in every row, got none in row 2: fill"
    ):
        fit({"x": [1, 2, 3], "y": ["a", "b", None]}, "y")
    with pytest.raises(ValueError, match=r"fit finds no column 'z'; the columns are 'x', 'y'\."):
        fit({"x": [1], "y": [1]}, "z")
    with pytest.raises(ValueError, match=r"fit expects the name of the target column, and the table does not name one"):
        fit({"x": [1], "y": [1]})
    with pytest.raises(ValueError, match=r"fit expects task to be 'auto', .* got 'regress'\."):
        fit({"x": [1], "y": [1]}, "y", task="regress")
    with pytest.raises(ValueError, match=r"expects numbers in column 'y', got 'b' in row 1\."):
        fit({"x": [1, 2], "y": ["1", "b"]}, "y", task="regression")
    with pytest.raises(
        ValueError, match=r"classes to be text or whole numbers, got 1.5 in row 1 of 'y': use task='regression'"
    ):
        fit({"x": [1, 2], "y": [1, 1.5]}, "y", task="classification")
    prices = [f"${i},000" for i in range(60)]
    with pytest.raises(
        ValueError, match=r"fit finds 60 classes of 'y' in 60 rows, the first '\$0,000': classes should"
    ):
        fit({"x": range(60), "y": prices}, "y")


def test_a_failed_fit_leaves_what_was_learned():
    preparation = TablePreparation().fit(ROWS, "rent")
    before = preparation.state()
    with pytest.raises(ValueError, match="finds no input column"):
        preparation.fit({"y": [1, 2]}, "y")
    assert preparation.state() == before


def test_bad_targets_later():
    textual = TablePreparation().fit({"x": [0, 1], "y": ["a", "b"]}, "y")
    with pytest.raises(ValueError, match=r"knows the classes 'a', 'b' of 'y', got 'c' in row 1\."):
        textual.transform_target({"y": ["a", "c"]})
    with pytest.raises(ValueError, match=r"expects a value of the target 'y' in every row, got none in row 0: fill"):
        textual.transform_target({"y": [None, "a"]})
    numbered = TablePreparation().fit({"x": range(4), "y": [0, 1, 0, 1]}, "y")
    with pytest.raises(ValueError, match=r"knows the classes 0, 1 of 'y', got np.float64\(0.5\) in row 0\."):
        numbered.transform_target({"y": [0.5]})
    with pytest.raises(ValueError, match=r"expects class numbers from 0 to 1, got y\[1\] = 2\."):
        textual.inverse_target([0, 2])
    with pytest.raises(ValueError, match=r"expects class numbers of an integer dtype, got y\[0\] = 0.5"):
        textual.inverse_target([0.5, 1])
    with pytest.raises(
        ValueError, match=r"class numbers of shape \(n,\) or a matrix of shape \(n, 2\), got \(1, 3\)\."
    ):
        textual.inverse_target([[1, 2, 3]])
    with pytest.raises(ValueError, match=r"inverse_target expects finite numbers, but prediction holds NaN at row 0"):
        textual.inverse_target([[math.nan, 1.0]])
    regression = TablePreparation().fit(ROWS, "rent")
    with pytest.raises(ValueError, match=r"inverse_target expects shape \(n,\), \(n, 1\) or \(n, k\), got \(\)\."):
        regression.inverse_target(1.0)
    with pytest.raises(ValueError, match=r"inverse_target expects finite numbers, but prediction holds inf at row 1"):
        regression.inverse_target([0.0, math.inf])
    with pytest.raises(ValueError, match=r"expects numbers in column 'rent', got 'dear' in row 0\."):
        regression.transform_target({"rent": ["dear"]})


@pytest.mark.parametrize("use", ["transform", "transform_target", "inverse_target"])
def test_nothing_works_before_fit(use):
    with pytest.raises(RuntimeError, match=r"has learned nothing yet: call fit\(table, target\) first\."):
        getattr(TablePreparation(), use)({"x": [1]})
    for name in ("state", "describe"):
        with pytest.raises(RuntimeError, match="has learned nothing yet"):
            getattr(TablePreparation(), name)()
    for name in ("target", "task", "classes", "input_columns", "text_columns", "feature_names", "dropped"):
        with pytest.raises(RuntimeError, match="has learned nothing yet"):
            getattr(TablePreparation(), name)
    assert repr(TablePreparation()) == "TablePreparation()"


def test_inputs_are_never_written():
    rows = {"n": np.array([1.0, np.nan, 3.0]), "w": np.array(["a", None, "b"], object), "y": np.array([0.5, 1, 2])}
    for column in rows.values():
        column.flags.writeable = False
    before = copy.deepcopy(rows)
    preparation = TablePreparation().fit(rows, "y")
    preparation.transform(rows)
    preparation.inverse_target(preparation.transform_target(rows))
    for name, column in rows.items():
        np.testing.assert_array_equal(column, before[name])


# -- plain data -----------------------------------------------------------------------------------------------------


def plain(value):
    if isinstance(value, dict):
        return all(type(k) is str and plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return type(value) in (str, int, float, bool)


FITTED = {
    "regression": lambda: TablePreparation().fit(ROWS | {"gap": [None] * 4}, "rent"),
    "text": lambda: TablePreparation().fit({"x": [1, 2, None], "y": ["a", "b", "a"]}, "y"),
    "numbered": lambda: TablePreparation().fit({"x": np.float32([0, 0.1, 0.2, 0.7]), "y": [0, 1, 1, 0]}, "y"),
}


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize(
    "carry",
    [
        lambda p: TablePreparation.from_state(p.state()),
        lambda p: TablePreparation.from_state(json.loads(json.dumps(p.state(), allow_nan=False))),
        lambda p: pickle.loads(pickle.dumps(p)),
        copy.deepcopy,
    ],
    ids=["state", "json", "pickle", "deepcopy"],
)
def test_what_was_learned_travels(name, carry):
    preparation = FITTED[name]()
    state = preparation.state()
    assert plain(state)
    other = carry(preparation)
    assert other.state() == state
    assert repr(other) == repr(preparation)
    assert other.dropped == preparation.dropped
    rows = {"area": [77], "city": ["Bonn"], "floor": [2], "x": [0.3]}
    np.testing.assert_array_equal(other.transform(rows), preparation.transform(rows))
    prediction = [0, 1] if preparation.classes else [0.3, 1 / 3]
    np.testing.assert_array_equal(other.inverse_target(prediction), preparation.inverse_target(prediction))


def test_a_state_is_a_copy():
    preparation = FITTED["regression"]()
    kept = copy.deepcopy(preparation.state())
    state = preparation.state()
    other = TablePreparation.from_state(state)
    state["columns"][1]["categories"].append("Zug")
    state["dropped"]["x"] = "y"
    preparation.dropped["x"] = "y"
    assert preparation.state() == kept
    assert other.state() == kept


def changed(*path, to=None, drop=False):
    """A state of FITTED with one entry changed or taken out."""

    def change(state):
        spot = state
        for key in path[:-1]:
            spot = spot[key]
        if drop:
            del spot[path[-1]]
        else:
            spot[path[-1]] = to
        return state

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("regression", lambda state: None, "the state is not a dict of columns, dropped, target"),
        ("regression", changed("extra", to=1), "the state is not a dict of columns, dropped, target"),
        ("regression", changed("dropped", drop=True), "the state is not a dict of columns, dropped, target"),
        ("regression", changed("columns", to={}), "'columns' of the state is a dict"),
        ("regression", changed("columns", to=[]), "there are no columns"),
        ("regression", changed("columns", 0, to=7), "a column is neither numeric nor categorical"),
        ("regression", changed("columns", 0, "kind", to="binary"), "a column is neither numeric nor categorical"),
        ("regression", changed("columns", 0, "kind", to=["numeric"]), "a column is neither numeric nor categorical"),
        ("regression", changed("columns", 0, "name", to=7), "'name' of a numeric column is a int"),
        ("regression", changed("columns", 0, "name", to="floor"), "a column is named twice"),
        ("regression", changed("columns", 0, "name", to="rent"), "a column is named twice"),
        ("regression", changed("columns", 0, "name", to="gap"), "a column is named twice"),
        ("regression", changed("columns", 0, "mean", to=7), "'mean' of a numeric column is a int"),
        (
            "regression",
            changed("columns", 0, "mean", to=math.nan),
            "column 'area' has no finite mean and positive scale",
        ),
        ("regression", changed("columns", 0, "scale", to=0.0), "column 'area' has no finite mean and positive scale"),
        ("regression", changed("columns", 0, "scale", to=math.inf), "column 'area' has no finite mean and positive"),
        ("regression", changed("columns", 0, "missing", to=1), "'missing' of a numeric column is a int"),
        ("regression", changed("columns", 0, "missing", drop=True), "a numeric column is not a dict of kind, name"),
        ("regression", changed("columns", 1, "mean", to=0.0), "a categorical column is not a dict of kind, name"),
        ("regression", changed("columns", 1, "categories", to=[]), "values of column 'city' are not different, sorted"),
        (
            "regression",
            changed("columns", 1, "categories", to=["b", "a"]),
            "of column 'city' are not different, sorted",
        ),
        (
            "regression",
            changed("columns", 1, "categories", to=["a", "a"]),
            "of column 'city' are not different, sorted",
        ),
        ("regression", changed("columns", 1, "categories", to=["a", 1]), "of column 'city' are not different, sorted"),
        ("regression", changed("columns", 1, "categories", to=[1, 2]), "of column 'city' are not different, sorted"),
        ("regression", changed("dropped", "gap", to=None), "'dropped' is not a dict of str to str"),
        ("regression", changed("dropped", 7, to="why"), "'dropped' is not a dict of str to str"),
        ("regression", changed("target", "scale", to=-1.0), "the target has no finite mean and positive scale"),
        ("regression", changed("target", "task", to="regression"), "the target is not a dict of name, mean, scale"),
        ("regression", changed("target", "name", to=None), "'name' of the target is a NoneType"),
        ("text", changed("target", "mean", to=0.0), "the target is not a dict of name, classes"),
        ("text", changed("target", "classes", to=None), "'classes' of the target is a NoneType"),
        ("text", changed("target", "classes", to=[]), "the values of the target are not different, sorted"),
        ("text", changed("target", "classes", to=["a", 1]), "the values of the target are not different, sorted"),
        ("numbered", changed("target", "classes", to=[False, True]), "the values of the target are not different"),
        ("numbered", changed("target", "classes", to=[0.0, 1.0]), "the values of the target are not different"),
        ("numbered", changed("target", "classes", to=[0, 2**63]), "a class of the target is too large"),
    ],
)
def test_altered_states_are_refused(name, change, message):
    state = FITTED[name]().state()
    with pytest.raises(ValueError, match=f"^TablePreparation state: .*{message}"):
        TablePreparation.from_state(change(state))


# -- any table ------------------------------------------------------------------------------------------------------

numbers = st.one_of(st.none(), st.floats(-1e100, 1e100), st.integers(-(10**6), 10**6))
words = st.one_of(st.none(), st.text(max_size=3))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 8))
def test_any_table_becomes_finite_numbers(data, n):
    def column(values):
        return st.lists(values, min_size=n, max_size=n)

    rows = {"x": list(range(n)), "n": data.draw(column(numbers)), "w": data.draw(column(words))}
    rows["y"] = data.draw(st.one_of(column(numbers.filter(lambda v: v is not None)), column(st.text(max_size=3))))
    preparation = TablePreparation().fit(rows, "y")
    x, t = preparation.transform(rows), preparation.transform_target(rows)
    assert x.shape == (n, len(preparation.feature_names))
    assert np.isfinite(x).all()
    again = TablePreparation.from_state(json.loads(json.dumps(preparation.state())))
    np.testing.assert_array_equal(again.transform(rows), x)
    back = again.inverse_target(t)
    if preparation.task == "classification":
        assert back.tolist() == rows["y"]
    else:
        y = np.array(rows["y"], float)
        np.testing.assert_allclose(back, y, atol=1e-6 * np.abs(y).max())
