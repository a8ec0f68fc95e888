"""Shipped data beside scikit-learn's, generators beside their formulas, readers beside files written by hand."""

from __future__ import annotations

import csv
import gzip
import math
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densenet import datasets
from densenet.tables import Table, TableError
from densenet.tables.numbers import nearly_numbers

# -- data that ships ------------------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the copy to compare with").load_digits()
    x, y = datasets.load_digits()
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(x * 16, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def test_digits_have_the_published_counts():
    x, y = datasets.load_digits()
    assert x.shape == (1797, 64)
    assert (x.min(), x.max()) == (0, 1)
    # Classes 0 to 9 of the test part, as the set's own description counts them.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_iris_is_that_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the copy to compare with").load_iris()
    x, y = datasets.load_iris()
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(x, theirs.data.astype(np.float32))
    np.testing.assert_array_equal(y, theirs.target)
    assert list(datasets.IRIS_CLASSES) == theirs.target_names.tolist()
    assert [name.replace("_", " ") + " (cm)" for name in datasets.IRIS_FEATURES] == theirs.feature_names


def test_iris_holds_fishers_values_where_other_copies_err():
    x, _ = datasets.load_iris()
    np.testing.assert_array_equal(x[34], np.float32([4.9, 3.1, 1.5, 0.2]))
    np.testing.assert_array_equal(x[37], np.float32([4.9, 3.6, 1.4, 0.1]))
    # Fisher's table II: means of the three species.
    means = [[5.006, 3.428, 1.462, 0.246], [5.936, 2.770, 4.260, 1.326], [6.588, 2.974, 5.552, 2.026]]
    np.testing.assert_allclose(x.astype(float).reshape(3, 50, 4).mean(axis=1), means, atol=5e-7)


def test_shipped_arrays_are_fresh():
    for load in (datasets.load_digits, datasets.load_iris):
        x, y = load()
        x[:] = 7
        y[:] = 7
        assert load()[0].max() != load()[0].min()
        assert load()[1][0] == 0


def test_the_data_say_where_they_come_from():
    text = (Path(datasets.__file__).parent / "data" / "README.md").read_text(encoding="utf-8")
    for fact in ("10.24432/C50P49", "10.24432/C56C76", "CC BY 4.0", "Alpaydin", "Kaynak", "Fisher", "Changed:"):
        assert fact in text


# -- generators -----------------------------------------------------------------------------------------------------

CLASSES = [datasets.xor, datasets.two_spirals, datasets.moons, datasets.circles]
ALL = [*CLASSES, datasets.noisy_curve]


def names(functions):
    return [function.__name__ for function in functions]


@pytest.mark.parametrize("make", CLASSES, ids=names(CLASSES))
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 101])
def test_two_classes_of_n_points(make, n):
    x, y = make(n, seed=0)
    assert x.shape == (n, 2)
    assert x.dtype == np.float32
    assert y.shape == (n,)
    assert y.dtype == np.int64
    assert x.flags.c_contiguous
    assert np.isfinite(x).all()
    assert set(y.tolist()) <= {0, 1}
    assert abs(2 * y.sum() - n) <= 1


@pytest.mark.parametrize("make", ALL, ids=names(ALL))
def test_seeds_repeat_and_noise_is_noise(make):
    x, y = make(4000, noise=0.3, seed=5)
    again, same = make(4000, noise=0.3, seed=np.random.default_rng(5))
    other, _ = make(4000, noise=0.3, seed=6)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, same)
    clean_x, clean_y = make(4000, noise=0)
    if make is datasets.noisy_curve:
        noise = y - clean_y
        np.testing.assert_array_equal(x, clean_x)
    else:
        assert (x != other).any()
        noise = x - clean_x
        np.testing.assert_array_equal(y, clean_y)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 0.3) < 0.01


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (it is the global one that is looked at)
    for make in ALL:
        make(10, noise=0.1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_xor_has_the_four_corners_in_turn():
    x, y = datasets.xor(4)
    assert dict(zip(map(tuple, x.tolist()), y.tolist(), strict=True)) == {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 0}
    many, labels = datasets.xor(9)
    np.testing.assert_array_equal(many, np.vstack([x, x, x[:1]]))
    np.testing.assert_array_equal(labels, [0, 1, 1, 0, 0, 1, 1, 0, 0])


def test_two_spirals_are_those_of_lang_and_witbrock():
    x, y = datasets.two_spirals(194, turns=3)
    for i in range(97):
        phi, r = i * math.pi / 16, 6.5 * (104 - i) / 104
        expected = np.array([r * math.sin(phi), r * math.cos(phi)]) / 6.5
        np.testing.assert_allclose(x[2 * i], expected, atol=1e-6)
        np.testing.assert_allclose(x[2 * i + 1], -expected, atol=1e-6)
        assert (y[2 * i], y[2 * i + 1]) == (0, 1)


@pytest.mark.parametrize(
    ("make", "theirs", "options", "their_options"),
    [
        (datasets.moons, "make_moons", {}, {}),
        (datasets.circles, "make_circles", {}, {"factor": 0.5}),
        (datasets.circles, "make_circles", {"factor": 0.2}, {"factor": 0.2}),
    ],
    ids=["moons", "circles", "circles-factor"],
)
def test_shapes_are_those_of_scikit_learn(make, theirs, options, their_options):
    library = pytest.importorskip("sklearn.datasets", reason="scikit-learn draws the shapes to compare with")
    x, y = make(100, noise=0, **options)
    their_x, their_y = getattr(library, theirs)(100, shuffle=False, noise=None, **their_options)
    for label in (0, 1):
        np.testing.assert_allclose(x[y == label], their_x[their_y == label], atol=1e-6)


def test_noisy_curve_is_a_sine():
    x, y = datasets.noisy_curve(33, noise=0, periods=2)
    assert x.shape == (33, 1)
    assert y.shape == (33,)
    assert x.dtype == y.dtype == np.float32
    for value, height in zip(np.linspace(-1, 1, 33), y, strict=True):
        assert abs(height - math.sin(2 * math.pi * value)) < 1e-6


@pytest.mark.parametrize("make", ALL, ids=names(ALL))
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "expects n to be a whole number of at least 1, got 0"),
        ({"n": 2.5}, "expects n to be a whole number of at least 1, got 2.5"),
        ({"noise": -0.1}, "expects noise to be a finite number of at least 0, got -0.1"),
        ({"noise": math.nan}, "expects noise to be a finite number of at least 0, got nan"),
    ],
)
def test_bad_arguments(make, options, message):
    with pytest.raises(ValueError, match=f"^{make.__name__} {message}"):
        make(**options)


def test_bad_arguments_of_one_generator():
    with pytest.raises(ValueError, match=r"^two_spirals expects turns to be a finite number above 0, got 0"):
        datasets.two_spirals(turns=0)
    with pytest.raises(ValueError, match=r"^circles expects factor in \[0, 1\), got 1"):
        datasets.circles(factor=1)
    with pytest.raises(ValueError, match=r"^noisy_curve expects periods to be a finite number above 0, got -1"):
        datasets.noisy_curve(periods=-1)


# -- CSV ------------------------------------------------------------------------------------------------------------


def contents(table):
    """Columns as lists, NaN as None."""
    return {name: [None if v != v else v for v in column.tolist()] for name, column in table.columns.items()}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("last", [True, False], ids=["newline-at-end", "no-newline-at-end"])
def test_every_common_dialect_reads_the_same(write, delimiter, ending, mark, last):
    lines = ["area,city,rent", "50,Köln,600.5", "-1e3, Bonn ,0", ' 7 ,"Trier",.5']
    text = ending.join(line.replace(",", delimiter) for line in lines) + (ending if last else "")
    table = datasets.read_csv(write(mark + text.encode()), target="rent")
    assert isinstance(table, Table)
    assert table.target == "rent"
    assert contents(table) == {
        "area": [50.0, -1000.0, 7.0],
        "city": ["Köln", "Bonn", "Trier"],
        "rent": [600.5, 0.0, 0.5],
    }
    assert table["area"].dtype == np.float64
    assert table["city"].dtype == object


def test_quotes_hold_delimiters_quotes_and_line_ends(write):
    path = write('a,"b, c"\n"1, 2","say ""hi"""\n"two\nlines",x\n')
    assert contents(datasets.read_csv(path)) == {"a": ["1, 2", "two\nlines"], "b, c": ['say "hi"', "x"]}


@pytest.mark.parametrize("word", ["", "  ", '""', r"\N", "#N/A", "<NA>", "NaN", "nan", "null", "NULL"])
def test_missing_values(write, word):
    table = datasets.read_csv(write(f"x,t\n1,a\n{word},{word}\n3,b\n"))
    assert contents(table) == {"x": [1.0, None, 3.0], "t": ["a", None, "b"]}


@pytest.mark.parametrize("word", ["NA", "N/A", "n/a", "None", "?", "-", "."])
def test_words_that_are_missing_among_numbers_alone(write, word):
    table = datasets.read_csv(write(f"x,t\n1,a\n{word},{word}\n3,b\n"))
    assert contents(table) == {"x": [1.0, None, 3.0], "t": ["a", word, "b"]}
    assert table.said == [f"1 cell {word!r} read as missing ('x')"]


def test_a_column_without_values_is_all_missing(write):
    assert contents(datasets.read_csv(write("x,t\n?,a\n,b\n"))) == {"x": [None, None], "t": ["a", "b"]}


def test_one_column_and_empty_lines(write):
    table = datasets.read_csv(write("\nx\n\n1\n2\n\n"))
    assert contents(table) == {"x": [1.0, 2.0]}


def test_nameless_columns_go_by_their_place(write):
    assert list(datasets.read_csv(write(",a,\n0,1,2\n")).columns) == ["column 1", "a", "column 3"]


@pytest.mark.parametrize("value", ["1_000", "abc", "0x10", "1 2", "--1", "nan1"])
def test_half_a_column_of_numbers_is_refused(write, value):
    path = write(f'x,y\n1,2\n"{value}",3\n')
    with pytest.raises(TableError, match=f"'x' line 3 '{value}' is no number: read_csv.*text=.'x'.") as caught:
        datasets.read_csv(path)
    assert contents(datasets.read_csv(path, **caught.value.remedy)) == {"x": ["1", value], "y": [2.0, 3.0]}


def test_decimal_commas(write):
    path = write("a;b\n1,5;x\n-2;y\n;z\n")
    assert contents(datasets.read_csv(path, decimal=","))["a"] == [1.5, -2.0, None]
    assert contents(datasets.read_csv(path))["a"] == [1.5, -2.0, None]
    mixed = write("a;b\n1,5;x\n1.5;y\n")
    for decimal in (None, ","):
        with pytest.raises(TableError, match="another decimal sign than the others"):
            datasets.read_csv(mixed, decimal=decimal)


def test_text_columns_stay_text(write):
    path = write("zip,n\n01067,1\n53111,2\n")
    assert contents(datasets.read_csv(path, text=["zip"])) == {"zip": ["01067", "53111"], "n": [1.0, 2.0]}
    assert contents(datasets.read_csv(path, text="zip"))["zip"] == ["01067", "53111"]
    with pytest.raises(
        ValueError, match=r"read_csv finds no column 'zap' in .*; its columns are 'zip', 'n': .*text=None"
    ):
        datasets.read_csv(path, text=["zap"])


def test_a_delimiter_of_ones_own(write):
    assert contents(datasets.read_csv(write("a|b\n1|2\n"), delimiter="|")) == {"a": [1.0], "b": [2.0]}
    with pytest.raises(ValueError, match=r"read_csv expects delimiter to be one character, got '::'"):
        datasets.read_csv(write("a|b\n1|2\n"), delimiter="::")
    with pytest.raises(ValueError, match=r"read_csv expects decimal to be '.' or ',', got '·'"):
        datasets.read_csv(write("a|b\n1|2\n"), decimal="·")


def test_the_delimiter_is_found_where_text_is_full_of_others(write):
    path = write("id;note;price, EUR\n" + "1;a, b, c, d;2\n2;x;3\n" * 20000)  # longer than what is looked at
    table = datasets.read_csv(path)
    assert list(table.columns) == ["id", "note", "price, EUR"]
    assert len(table) == 40000


@pytest.mark.parametrize(("target", "name"), [("b", "b"), (0, "a"), (2, "c"), (-1, "c"), (-3, "a"), (None, None)])
def test_targets_by_name_or_place(write, target, name):
    assert datasets.read_csv(write("a,b,c\n1,2,3\n"), target).target == name


@pytest.mark.parametrize("target", ["B", 3, -4, True, "0"])
def test_unknown_targets_list_the_columns(write, target):
    listed = rf"read_csv finds no target column {target!r} in .*data.csv; .* are 'a', 'b', 'c'.*target='[bc]'"
    with pytest.raises(ValueError, match=listed):
        datasets.read_csv(write("a,b,c\n1,2,3\n"), target)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,b\n1,2\n3\n",
            r"expects 2 values in every line, as in the header, got 1 in .*data.csv, line 3: .*skip=\['ragged'\]",
        ),
        (
            "a,b\n1,2,3\n",
            r"expects 2 values in every line, as in the header, got 3 in .*data.csv, line 2; .*skip=\[1\]",
        ),
        ('a,b\n"x\ny",2\n\n3\n', r"got 1 in .*data.csv, line 5: .*skip=\['ragged'\]"),
        ("a;b\n1;2\n3\n", r"expects 2 values in every line, as in the header, got 1 in .*data.csv, line 3: .*ragged"),
        ("", r"expects a header line, but .*data.csv is empty\."),
        ("\n \n", r"expects a header line, but .*data.csv is empty\."),
        ("a,b\n", r"expects rows below the header, but .*data.csv has none\."),
        ("1,2\n3,4\n", r"expects a header line with names, .* of .*data.csv holds numbers only: .*header=False"),
        ("a,b\n1,2\n3,inf\n", r".*data.csv .*'b' line 3 'inf' is not a finite number; .*numeric=\['b'\]"),
        ("a,b\n\n1,-Infinity\n", r".*data.csv .*'b' line 3 '-Infinity' is not a finite number"),
        ("a,b\n1e999,0\n", r".*data.csv .*'a' line 2 '1e999' is not a finite number"),
        (
            'a,b\n1,2\n3,"4\n',
            r"'b' line 3 '\"4' is no number",
        ),
        (b"a,b\n1,\x81\x8d\xe4\xe4\n", r".*data.csv is not UTF-8, nor clearly Windows-1252: .*encoding='\w+'"),
        ("a,b\n" + "1,2\n" * 100000 + "1,\n2\n", r"got 1 in .*data.csv, line 100003: .*ragged"),
    ],
)
def test_bad_files(write, content, message):
    with pytest.raises(ValueError, match=f"{message}") as caught:
        datasets.read_csv(write(content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        datasets.read_csv(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError):
        datasets.read_idx(tmp_path / "none.idx")


in_a_row = {"", "nan", "null", r"\n", "#n/a", "<na>"}
words = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
    .map(str.strip)
    .filter(lambda word: word.lower() not in in_a_row and "\r" not in word)
)


def looks_like_numbers(column):
    return nearly_numbers([cell for cell in column if cell not in (None, "na", "NA", "None", "?", "-", ".")])


numeric = st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=3, max_size=3)
textual = st.lists(st.one_of(st.none(), words), min_size=2, max_size=2).map(lambda column: ["a word", *column])
textual = textual.filter(lambda column: not looks_like_numbers(column))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(numeric, textual), min_size=2, max_size=4), st.sampled_from([",", ";", "\t"]))
def test_what_the_csv_module_writes_is_read_back(columns, delimiter):
    columns = [*columns, ["a", "b", "c"]]  # rows of delimiters only at the end are left out
    named = {f"c{i}": column for i, column in enumerate(columns)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(named)
            writer.writerows(zip(*columns, strict=True))
        assert contents(datasets.read_csv(path, delimiter=delimiter)) == named


# -- IDX ------------------------------------------------------------------------------------------------------------

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(array, code):
    """The file's bytes, written by `struct` alone."""
    kind = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}[code]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + struct.pack(f">{array.size}{kind}", *array.ravel().tolist())


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 4), (2, 3, 4), (1, 2, 1, 2)])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_idx_files_of_every_type(write, code, shape, packed):
    array = np.random.default_rng(code).integers(0, 100, shape).astype(TYPES[code])
    if code != 0x08:
        array.flat[0] = -3
    content = idx(array, code)
    read = datasets.read_idx(write(gzip.compress(content) if packed else content, "any-name"))
    assert read.dtype == np.dtype(TYPES[code]).newbyteorder("=")
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


LABELS = idx(np.arange(10), 0x08)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"begins with nothing\."),
        (b"\0\0\x08", r"begins with 00 00 08\."),
        (b"PK\x03\x04rest", r"expects a file that begins with 00 00, a type code .* begins with 50 4b 03 04\."),
        (b"\0\0\x0a\x01\0\0\0\x01\0", r"begins with 00 00 0a 01\."),
        (b"\0\0\x08\0\0", r"begins with 00 00 08 00\."),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", r"begins with 00 00 08 ff\."),
        (b"\0\0\x08\x03\0\0\0\x01\0\0", r"expects 3 axis lengths in .*, but the file ends among them\."),
        (b"\0\0\x08\x02\0\0\0\0\xff\xff\xff\xff", r"but .* declares the shape \(0, 4294967295\)\."),
        (LABELS[:-1], r"expects 10 bytes of values for the shape \(10,\) in .*, but it holds 9\."),
        (LABELS[:8], r"expects 10 bytes of values for the shape \(10,\) in .*, but it holds 0\."),
        (LABELS + b"\0", r"expects 10 bytes of values for the shape \(10,\) in .*, but it holds (at least )?11\."),
    ],
)
def test_bad_idx_files(write, content, message, packed):
    with pytest.raises(ValueError, match=f"^read_idx .*{message}"):
        datasets.read_idx(write(gzip.compress(content) if packed else content))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_header_alone_allocates_nothing(write, packed):
    content = struct.pack(">BBBB3I", 0, 0, 0x0E, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(100)
    path = write(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"but it holds 100\."):
            datasets.read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-12],
        lambda packed: packed[:5],
        lambda packed: packed[:-8] + bytes(8),
        lambda packed: packed[:10] + b"\xff" * 8 + packed[18:],
    ],
    ids=["cut", "header-only", "checksum", "data"],
)
def test_damaged_compression(write, damage):
    path = write(damage(gzip.compress(LABELS)))
    with pytest.raises(ValueError, match=r"^read_idx cannot unpack .*data.csv: "):
        datasets.read_idx(path)
