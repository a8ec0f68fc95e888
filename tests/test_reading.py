"""Files of every kind, cells that are nearly numbers, and the one command that each refusal ends with."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import lzma
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

import densenet as dn
from densenet import datasets
from densenet.cli import main
from densenet.cli.rows import split_by_time
from densenet.tables import Table, TableError, TablePreparation
from densenet.tables.dates import DATES
from densenet.tables.numbers import MARKS, written
from densenet.tables.suspicions import leaks, names_of_rows


def contents(table):
    """Columns as lists, NaN as None."""
    return {name: [None if v != v else v for v in column.tolist()] for name, column in table.columns.items()}


def column(cells, name="v", **options):
    """A column of cells beside one of letters, as a file with semicolons."""
    return io_table(cells, name, **options)[name].tolist()


def io_table(cells, name="v", **options):
    rows = "".join(f'"{cell}";{chr(97 + i % 26)}\n' for i, cell in enumerate(cells))
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(f"{name};w\n{rows}".encode()))
    try:
        return datasets.read_csv("-", delimiter=";", **options)
    finally:
        sys.stdin = stdin


# -- nearly numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "values", "said"),
    [
        (["1,5", "2", "0,25"], [1.5, 2, 0.25], "decimal commas: '1,5' is 1.5"),
        (["12 %", "7%", "0.5 %"], [12, 7, 0.5], "'12 %' is 12"),
        (["$8,912", "$1,000", "$17"], [8912, 1000, 17], "amounts of money ($), thousands are grouped"),
        (["1.234,50 €", "7,00 €"], [1234.5, 7], "amounts of money (€), decimal commas, thousands are grouped"),
        (["52 m2", "80 m2"], [52, 80], "numbers with a unit (m2): '52 m2' is 52"),
        (["(432.1)", "17", "0.5"], [-432.1, 17, 0.5], "numbers in brackets are negative: '(432.1)' is -432.1"),
        (["$5.00", "($7.50)", "-$2"], [5, -7.5, -2], "amounts of money ($)"),
        (["1,234,567", "12"], [1234567, 12], "thousands are grouped"),
        (["1,234.5", "1,234"], [1234.5, 1234], "thousands are grouped"),
        (["1'234.5", "7"], [1234.5, 7], "thousands are grouped"),
        (["12.5-", "3"], [-12.5, 3], "a minus behind them are negative"),
        (["\u22125", "3"], [-5, 3], ""),
        (["1 234,5", "7"], [1234.5, 7], "decimal commas"),
        (["1,234", "1,5"], [1.234, 1.5], "decimal commas"),
        (["1\u2009234", "5"], [1234, 5], "thousands are grouped: '1\\u2009234' is 1234"),
        (["1\u202f234", "5"], [1234, 5], "thousands are grouped"),
        (["1\u2019234", "5"], [1234, 5], "thousands are grouped"),
        (["12,34,567", "5"], [1234567, 5], "thousands are grouped: '12,34,567' is 1234567"),
        (["\u20b91,00,000", "\u20b95"], [100000, 5], "amounts of money (\u20b9), thousands are grouped"),
        (["01067", "53111"], [1067, 53111], "leading zeros: '01067' is 1067 (--text keeps them)"),
        (["9007199254740993", "5"], [2**53, 5], "more than 15 digits are rounded: '9007199254740993'"),
        (["12:30", "0:45"], [12.5, 0.75], "times: '12:30' is 12.5"),
        (["1:30:36", "0:45:00"], [1.51, 0.75], "times: '1:30:36' is 1.51"),
        (["1 day, 1:00:00", "0 days 0:30:00"], [25, 0.5], "times"),
        (["1:30 pm", "12:15 AM"], [13.5, 0.25], "times: '1:30 pm' is 13.5"),
        (["$1.2M", "$300K"], [1.2e6, 3e5], "amounts of money ($), k, M and B are thousands, millions and billions"),
        (["$1.2M", "$3M"], [1.2, 3], "amounts of money, numbers with a unit ($ M): '$1.2M' is 1.2"),
        (["1e5", "2E-3"], [1e5, 2e-3], "powers of ten: '1e5' is 100000 (--text keeps them)"),
        (["2\u00bd", "3"], [2.5, 3], "fractions: '2\u00bd' is 2.5"),
        (["1 day", "2 days", "0 days"], [1, 2, 0], "numbers with a unit (days): '1 day' is 1"),
        (["1blank", "2blanks"], [1, 2], "numbers with a unit (blanks)"),
    ],
)
def test_what_has_one_reading_is_read_and_said(cells, values, said):
    table = io_table(cells)
    assert table["v"].tolist() == values
    assert said in "; ".join(table.said)


@pytest.mark.parametrize(
    ("cells", "reason", "remedy"),
    [
        (["1", "2", "3", "85+"], "'85+' is a bound, not a number", {"numeric": ["v"]}),
        (["1", "2", "3", "<5"], "'<5' is a bound, not a number", {"numeric": ["v"]}),
        (["50"] * 299 + ["52 m2"], "line 301 '52 m2' has another unit", {"numeric": ["v"]}),
        (["1", "2", "12 %"], "'12 %' has another unit", {"text": ["v"]}),
        (["7 kg", "9 kg", "8 kg", "<5"], "'<5' is a bound, not a number", {"numeric": ["v"]}),
        (["1,234", "5,678"], "'1,234' has two readings; '1,234' is 1234 with decimal '.', 1.234", {"decimal": ","}),
        (["1,5", "2.5"], "another decimal sign", {"text": ["v"]}),
        (["1", "2", "3", "three"], "'three' is no number", {"numeric": ["v"]}),
        (["1", "a", "2", "b"], "'a' is no number", {"text": ["v"]}),
        (["8GB", "1TB", "2TB"], "has another unit", {"text": ["v"]}),
        (["1", "2", "3", "inf"], "is not a finite number", {"numeric": ["v"]}),
        (["$5", "\u20ac6", "$7"], "'\u20ac6' has another unit than the others", {"text": ["v"]}),
        (["1:02:03", "59:59"], "has another unit than the others", {"text": ["v"]}),
        (["0x1F", "0x2A"], "is no number", {"text": ["v"]}),
        (["true", "1", "0"], "'true' is no number", {"text": ["v"]}),
        (["2024-01-05"] * 5 + ["0000-00-00"], "is no day of the calendar", {"numeric": ["v"]}),
        (["2024-01-05"] * 5 + ["soon"], "'soon' is no date", {"numeric": ["v"]}),
        ([*map(str, range(12)), *["unknown", "#DIV/0!"] * 5], "'unknown' is no number", {"numeric": ["v"]}),
        (["10\u00b2", "7"], "'10\u00b2' is no number", {"text": ["v"]}),
        (["1 and 2", "1", "2", "2"], "numeric makes such cells missing, text keeps them as words", {"numeric": ["v"]}),
    ],
)
def test_what_has_no_one_reading_is_refused_with_its_remedy(cells, reason, remedy):
    with pytest.raises(TableError) as caught:
        io_table(cells)
    assert reason in str(caught.value)
    assert caught.value.remedy == remedy
    io_table(cells, **remedy)  # and the remedy settles it


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["$8,912", "$1,000.5", "n.a."], [8912, 1000.5, None]),
        (["1,5", "2,5", "x"], [1.5, 2.5, None]),
        (["50", "52 m2", "70"], [50, None, 70]),
        (["a", "b", "1"], [None, None, 1]),
        (["2M", "5 k", "n.a."], [2e6, 5e3, None]),
        (["12:30", "late"], [12.5, None]),
    ],
)
def test_numeric_takes_the_commonest_form(cells, values):
    assert contents(io_table(cells, numeric="v"))["v"] == values


@pytest.mark.parametrize(
    "cells",
    [
        ["40-49", "50-59"],
        ["1st", "2nd", "3rd"],
        ["A11", "A12"],
        ["12 Main", "7 High", "9 Oak", "1 Elm"],
        ["1.2.3", "2.0.1"],
        ["18.00.00", "00.00.00"],
        ["1. never", "2. often", "3. always"],
        ["1) low", "2) high"],
        ["<=50K", ">50K"],
        ["10\u00b2", "10\u00b3"],
    ],
)
def test_words_with_digits_stay_words(cells):
    assert column(cells) == cells


def test_a_model_that_knows_k_and_m_multiplies_them_in_later_files(write):
    table = datasets.read_csv(write("size;y\n2M;1\n300k;2\n1.5M;3\n"), "y")
    reading = TablePreparation.from_state(TablePreparation().fit(table).state()).reading
    assert contents(datasets.read_csv(write("size\n5k\n7k\n"), like=reading))["size"] == [5e3, 7e3]
    plain = datasets.read_csv(write("size;y\n2M;1\n3M;2\n1.5M;3\n"), "y")
    reading = TablePreparation().fit(plain).reading
    later = datasets.read_csv(write("size\n5k\n7k\n"), like=reading)
    assert "'size': the model's numbers had M, these have k" in later.said


def test_dates_are_forced_as_numbers_are(write):
    table = io_table(["2024-01-05", "soon", "0000-00-00", "2024-01-07"], numeric="v")
    assert [str(day) for day in table["v"]] == ["2024-01-05T00:00:00", "NaT", "NaT", "2024-01-07T00:00:00"]
    assert "2 cells such as 'soon' made missing" in "; ".join(table.said)


def test_words_that_begin_with_numbers_are_said():
    cells = [f"{feet}'{inches}" for feet in (5, 6) for inches in range(6)]
    assert 'words, though they begin with numbers, such as "5\'0"' in "; ".join(io_table(cells).said)
    assert "words, though they begin with numbers, such as '3/8'" in "; ".join(io_table(["3/8", "5/8"] * 9).said)


def test_one_error_names_all_columns_and_the_command_settles_them(write, capsys, tmp_path):
    cells = [("85+" if i == 3 else i, f"{1 + i % 9},{100 + i}", "5a" if i % 3 else i, i % 7) for i in range(40)]
    rows = "".join(";".join(map(str, row)) + "\n" for row in cells)
    path = write("age;money;flat;y\n" + rows)
    arguments = ["train", str(path), "--target", "y", "--epochs", "1", "--output", str(tmp_path / "run")]
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    for part in ("'age' line 5 '85+'", "'money' line 2 '1,100' has two readings", "'flat' line 2 '0' has another unit"):
        assert part in shown
    command = shlex.split(shown[shown.index(": densenet train") + 2 :])
    assert command == ["densenet", *arguments, "--numeric", "age", "--text", "flat", "--decimal", ","]
    assert main(command[1:]) == 0
    shown = capsys.readouterr().out
    assert "'age': 1 cell such as '85+' made missing" in shown


def test_other_columns_decide_the_decimal_sign(write):
    assert contents(datasets.read_csv(write("a;b\n1,234;0,5\n2,345;1\n")))["a"] == [1.234, 2.345]
    assert contents(datasets.read_csv(write("a;b\n1,234;0.5\n2,345;1\n")))["a"] == [1234, 2345]
    assert contents(datasets.read_csv(write("a;b\n1.234;0,5\n2.345;1\n")))["a"] == [1234, 2345]


def test_a_model_reads_later_files_as_it_was_taught(write):
    table = datasets.read_csv(write("p;q;age;y\n1,5;12 %;85+;1\n2;7 %;30;2\n2,25;9 %;40;3\n"), "y", numeric="age")
    state = TablePreparation().fit(table).state()
    preparation = TablePreparation.from_state(state)
    assert preparation.state() == state
    later = datasets.read_csv(write("p;q;age;y\n1,234;3 %;90+;4\n"), like=preparation.reading)
    assert contents(later) == {"p": [1.234], "q": [3], "age": [None], "y": [4]}
    assert "'age': 1 cell such as '90+' made missing" in later.said
    bare = datasets.read_csv(write("p;q;age;y\n1,5;3;30;4\n"), like=preparation.reading)
    assert "'q': the model's numbers had %, these have none" in bare.said


def test_labels_with_leading_zeros_are_words(write):
    path = write("x,y\n" + "1,007\n2,008\n3,019\n" * 9)
    table = datasets.read_csv(path, "y")
    assert set(table["y"]) == {"007", "008", "019"}
    assert "'y': labels with leading zeros are words (--numeric makes numbers of them)" in table.said
    assert set(datasets.read_csv(path, "y", numeric="y")["y"]) == {7, 8, 19}


def test_a_model_of_numbers_gets_no_words(write):
    reading = TablePreparation().fit(datasets.read_csv(write("x,y\n1 day,2\n2 days,5\n3 days,9\n"), "y")).reading
    with pytest.raises(TableError, match=r"'soon' is no number") as caught:
        datasets.read_csv(write("x\n1 day\nsoon\n2 days\n"), like=reading)
    assert caught.value.remedy == {"numeric": ["x"]}
    assert datasets.read_csv(write("x\n1 day\n1 day\n"), like=reading).said == [
        "'x': numbers with a unit (days): '1 day' is 1"
    ]


def test_numeric_looking_targets_never_become_as_many_classes_as_rows(write):
    rows = "".join(f'{i},"${i + 1},{i:03}"\n' for i in range(32))
    table = datasets.read_csv(write("x,price\n" + rows), "price")
    assert TablePreparation().fit(table).task == "regression"
    with pytest.raises(ValueError, match="finds 32 classes of 'price' in 32 rows"):
        TablePreparation().fit({"x": range(32), "price": [f"{i},{i}" for i in range(32)]}, "price")


def test_every_rule_of_a_mark_and_of_a_date_is_used():
    assert len(MARKS) == 9
    assert len(DATES) == 6
    assert written("($1,234.50)").values["."] == -1234.5


# -- files ----------------------------------------------------------------------------------------------------------

PLAIN = "area,city,rent\n50,Bonn,600\n70,Trier,700\n"
READ = {"area": [50.0, 70.0], "city": ["Bonn", "Trier"], "rent": [600.0, 700.0]}


def packed(content, name="data.csv", **more):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        for other, text in more.items():
            archive.writestr(other, text)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"SEP=;"\r\n' + PLAIN.replace(",", ";"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n", 1),
        PLAIN.replace(",", "^"),
        PLAIN.replace(",", "::"),
        bz2.compress(PLAIN.encode()),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", "   "),
        "  area city \t rent  \n 50  Bonn   600\n70 Trier\t700\n",
        PLAIN.replace(",", "\t\t"),
        PLAIN.replace("rent\n", "rent,\n"),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace(",", ";").replace("\n", ";;\n") + ";;;;\n" * 3,
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        gzip.compress(PLAIN.encode()),
        lzma.compress(PLAIN.encode()),
        lzma.compress(PLAIN.encode()[:20]) + lzma.compress(PLAIN.encode()[20:]),
        packed(PLAIN),
        packed(PLAIN, **{"__MACOSX/._data.csv": "x"}),
        packed(PLAIN.encode("utf-16")),
    ],
)
def test_files_of_every_kind_read_the_same(write, content):
    assert contents(datasets.read_csv(write(content))) == READ


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        (
            "# by hand\n# two, lines\nx,y\n" + "1,2\n3,4\n" * 9,
            ["x", "y"],
            "2 lines of remarks (#) at the beginning left out",
        ),
        ("#x,y\n" + "1,2\n3,4\n" * 9, ["#x", "y"], ""),
        (
            "x,y\n" + "".join(f"{k},{k % 3},{k % 4}\n" for k in range(1, 20)),
            ["row", "x", "y"],
            "the first column is called 'row'",
        ),
        ("name,y\n" + '"so \\"called\\"",1\n' * 9, ["name", "y"], "a quotation mark behind a backslash"),
        ('18.0   8   307.0  4  70\t"buick skylark"\n' * 9, None, ""),
        (
            "name,x\nA,3\nB,4\nA,5\nTotal,12\n",
            ["name", "x"],
            "line 5 may be no row but 'Total' of the others (--skip 5)",
        ),
        ("x,y\n1,\u200b7\n2,8\n", ["x", "y"], "1 invisible sign left out"),
        ("'x, so','y'\n" + "'1','it''s'\n" * 9, ["x, so", "y"], "cells stand in single quotation marks"),
    ],
)
def test_files_of_other_programs(write, content, columns, said):
    table = datasets.read_csv(write(content), header=columns is not None)
    assert list(table.columns) == (columns or ["x1", "x2", "x3", "x4", "x5", "x6"])
    assert said in "; ".join(table.said)
    assert said or not table.said
    if columns is None:
        assert table["x6"][0] == "buick skylark"
    if said.startswith("a quotation"):
        assert table["name"][0] == 'so "called"'


def test_remarks_stay_out_where_other_lines_are_skipped(write):
    path = write("# by hand\nx,y\n1,2\n3,4\nTotal,6\n5,6\n")
    assert datasets.read_csv(path, skip=5)["x"].tolist() == [1, 3, 5]


def test_a_given_encoding_whose_letters_look_otherwise_is_doubted(write):
    path = write("x,t\n1,Москва\n2,Киев\n".encode("cp1251"))
    (said,) = datasets.read_csv(path, encoding="latin-1").said
    assert said == "read as latin-1, though 'Ìîñêâà' would be 'Москва' in cp1251"
    assert datasets.read_csv(path, encoding="cp1251").said == []


def test_latin_1_is_recognised_and_said(write):
    table = datasets.read_csv(write("x,t\n1,Köln\n2,Trier\n".encode("latin-1")))
    assert table["t"].tolist() == ["Köln", "Trier"]
    assert table.said == ["read as Windows-1252 (Latin-1), since it is not UTF-8"]
    assert datasets.read_csv(write("x,t\n1,ж\n".encode("cp1251")), encoding="cp1251")["t"].tolist() == ["ж"]
    garbled = datasets.read_csv(write("x,t\n1,Köln\n"), encoding="latin-1")
    assert garbled.said == ["read as latin-1, though it is valid UTF-8, too"]
    with pytest.raises(TableError, match=r"name its encoding.*encoding=.cp1251"):
        datasets.read_csv(write("x,t\n1,Привет мир\n".encode("cp1251")))


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", ["élève", "Straße", "l\u2019été", "don\u2019t"]),
        ("cp1252", ["Müller", "García", "Sørensen", "João"]),
        ("cp1252", ["20 °C", "£5", "“so”", "3 m²", "1\u20132"]),
        ("cp1252", ["Reykjavík", "Ísafjörður", "Þór"]),
        ("mac_roman", ["Köln", "Málaga", "Besançon"]),
        ("cp850", ["Köln", "Málaga", "Besançon"]),
        ("cp1250", ["Łódź", "Kraków", "Gdańsk"]),
        ("cp1250", ["Dvořák", "Plzeň"]),
        ("cp1251", ["Москва", "да", "\u041d\u0415\u0422"]),
        ("koi8-r", ["Москва", "да", "\u041d\u0415\u0422"]),
        ("cp866", ["Москва", "да", "\u041d\u0415\u0422"]),
        ("cp1253", ["Αθήνα", "Πάτρα"]),
        ("cp1254", ["İstanbul", "Muğla", "Beşiktaş"]),
        ("cp1255", ["ירושלים", "חיפה"]),
        ("cp1256", ["القاهرة", "نعم"]),
        ("cp874", ["กรุงเทพ", "ชาย"]),
        ("cp932", ["東京", "はい", "カナダ"]),
        ("euc_jp", ["東京", "はい", "カナダ"]),
        ("gb18030", ["男", "女"]),
        ("gb18030", ["北京", "上海", "广州"]),
        ("big5", ["臺北", "高雄", "是"]),
        ("cp949", ["서울", "부산"]),
    ],
)
def test_no_encoding_is_taken_for_another_in_silence(write, capsys, encoding, words):
    text = "v,t\n" + "".join(f"{k},{word}\n" for k, word in enumerate(words * 3))
    path = write(text.encode(encoding))
    if encoding == "cp1252":
        assert set(datasets.read_csv(path, text="t")["t"]) == set(words)
        return
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{words[0]!r} if it is {encoding}" in said
    assert said.endswith(f": densenet check {path} --encoding {encoding}\n")
    assert main(shlex.split(said.rsplit(": densenet ", 1)[1])) == 0


def test_a_few_lines_that_are_no_utf_8_are_named(write, capsys):
    path = write("x,t\n1,Köln\n".encode() + "2,Málaga\n".encode("latin-1") + "3,Åre\n4,Ayr\n".encode())
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"is UTF-8 but for line 3; without: densenet check {path} --skip 3\n")
    assert main(shlex.split(said.rsplit(": densenet ", 1)[1])) == 0
    assert datasets.read_csv(path, skip=3)["t"].tolist() == ["Köln", "Åre", "Ayr"]


@pytest.mark.parametrize(
    ("text", "v"),
    [
        ("v;w\n1.234;a\n12.500;b\n", None),  # nothing decides
        ("v;w\n1.234;a\n950;b\n", None),
        ("v;w\n1.234;1,5\n12.500;2\n", [1234, 12500]),
        ("v;w\n1.234;1.5\n12.500;2\n", [1.234, 12.5]),
        ("v;w\n1.234;a\n0.500;b\n", [1.234, 0.5]),
        ("v;w\n1.234;a\n12.5;b\n", [1.234, 12.5]),
        ("v;w\n12.345;0.1\n1.250;0.2\n", [12.345, 1.25]),
        ("v;w\n1.234.567;a\n1.000;b\n", [1234567, 1000]),
        ("v,w\n1.234,a\n12.500,b\n", [1.234, 12.5]),
        ("v\tw\n1.234\ta\n12.500\tb\n", [1.234, 12.5]),
    ],
)
def test_three_digits_behind_a_point_are_thousands_where_commas_are_decimal(write, capsys, text, v):
    path = write(text)
    if v is not None:
        assert datasets.read_csv(path)["v"].tolist() == v
        return
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert "'1.234' is 1.234 with decimal '.', 1234 with ','" in said
    assert said.endswith(f": densenet check {path} --decimal ,\n")
    assert main(shlex.split(said.rsplit(": densenet ", 1)[1])) == 0
    assert datasets.read_csv(path, decimal=".")["v"][0] == 1.234


def test_decimal_settles_what_is_open_and_leaves_what_is_not(write):
    path = write("a;b;c\n0,5;0.5;1,234\n1,5;0.25;5,678\n")
    with pytest.raises(TableError, match=r"decimal=','"):
        datasets.read_csv(path)
    table = datasets.read_csv(path, decimal=",")
    assert contents(table) == {"a": [0.5, 1.5], "b": [0.5, 0.25], "c": [1.234, 5.678]}
    assert "'b': written with another decimal sign than ','" in table.said


def test_lines_to_skip_are_bounded(write, capsys):
    with pytest.raises(SystemExit):
        main(["check", str(write(PLAIN)), "--skip", "2-9999999"])
    assert "at most 100,000 lines, got '2-9999999'; to leave them out: sed '2,9999999d' DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "content", "recognised"),
    [
        ("utf8x", PLAIN.encode(), "utf-8"),
        ("ascii", PLAIN.replace("Bonn", "Köln").encode("utf-8-sig"), "utf-8"),
        ("utf-8", PLAIN.replace("Bonn", "Köln").encode("cp1252"), "cp1252"),
        ("utf-8", PLAIN.encode("utf-16"), "utf-16"),
        ("utf-8", "x,t\n1,Привет мир\n".encode("cp1251"), "cp1251"),
    ],
)
def test_a_wrong_encoding_is_refused_with_the_recognised_one(write, capsys, named, content, recognised):
    path = write(content)
    assert main(["check", str(path), "--encoding", named]) == 2
    said = capsys.readouterr().err
    assert repr(named) in said or f"is not {named}" in said
    assert said.endswith(f": densenet check {path} --encoding {recognised}\n")
    assert main(shlex.split(said.rsplit(": densenet ", 1)[1])) == 0


def test_a_target_in_another_case_is_named(write, capsys):
    path = write(PLAIN)
    assert main(["check", str(path), "--target", "Rent"]) == 2
    assert capsys.readouterr().err.endswith(f": densenet check {path} --target rent\n")


def test_no_header_and_names_that_are_numbers(write, capsys):
    assert contents(datasets.read_csv(write("1,a\n2,b\n"), header=False)) == {"x1": [1, 2], "x2": ["a", "b"]}
    path = write("5.1,3.5,0.2,setosa\n4.9,3.0,0.2,setosa\n6.2,3.1,1.9,virginica\n")
    assert main(["check", str(path), "--target", "species"]) == 2
    assert capsys.readouterr().err.endswith("--no-header --target x4\n")
    assert main(["check", str(path), "--no-header", "--target", "x4"]) == 0


def test_names_that_come_twice(write):
    table = datasets.read_csv(write("a,b,a\n1,2,3\n"))
    assert contents(table) == {"a": [1], "b": [2], "a (2)": [3]}
    assert table.said == ["2 columns are named 'a': called 'a', 'a (2)'"]


def test_names_are_of_one_line(write, capsys):
    path = write('"area\nin m2",b\x1b[31m\n1,x\x1b[31m\n')
    assert list(datasets.read_csv(path).columns) == ["area in m2", "b [31m"]
    assert main(["check", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_rows_of_delimiters_are_rows_but_at_the_end(write):
    table = datasets.read_csv(write("a,b\n1,x\n,\n2,y\n,\n,\n"))
    assert contents(table) == {"a": [1, None, 2], "b": ["x", None, "y"]}
    assert table.said == ["2 rows of delimiters only at the end left out"]


def test_names_of_rows_as_r_writes_them(write):
    table = datasets.read_csv(write('"a" "b"\n"1" 5 "x y"\n"2" 6 "z"\n'))
    assert contents(table) == {"row": [1, 2], "a": [5, 6], "b": ["x y", "z"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"0" * (1 << 25)), "stops unpacking"),
        (lzma.compress(b"0" * (1 << 25)), "stops unpacking"),
        (packed("0" * (1 << 25)), r"stops unpacking .*unzip -p .* > unpacked/data, then read_csv\('unpacked/data'\)"),
        (bz2.compress(b"0" * (1 << 25)), "stops unpacking"),
        (gzip.compress(PLAIN.encode())[:-9], "cannot unpack"),
        (lzma.compress(PLAIN.encode())[:-9], "cannot unpack"),
        (packed(PLAIN, **{"b.csv": PLAIN}), "expects one file in .*, got 'data.csv', 'b.csv'"),
        (packed("x", "xl/workbook.xml"), "is a workbook of a spreadsheet"),
        (bytes(range(256)) * 4, "is no text"),
        (PLAIN + "x" * 200_000 + "\n", r"expects 3 values .* got 1 in .* line 4"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_short_line(write, content, message):
    with pytest.raises(TableError, match=message) as caught:
        datasets.read_csv(write(content))
    assert len(str(caught.value)) < 500


def test_long_cells_make_no_long_errors(write):
    rows = "".join(f"{i}\n" for i in range(9))
    with pytest.raises(TableError, match=r"'v' line 11 'zzz.*'\.\.\. \(100,000 characters\) is no number") as caught:
        datasets.read_csv(write("v\n" + rows + "z" * 100_000 + "\n"))
    assert len(str(caught.value)) < 500


def test_lines_count_as_the_file_does(write):
    with pytest.raises(TableError, match="line 6"):
        datasets.read_csv(write('sep=,\na,b\n"x\ny",1\n\n2\n'))


def test_standard_input_in_a_pipe(tmp_path):
    command = [sys.executable, "-m", "densenet", "check", "-"]
    result = subprocess.run(command, input=gzip.compress(PLAIN.encode()), capture_output=True, check=True)
    assert "2 rows, 3 columns" in result.stdout.decode()


def tar(name, content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["tar", "zip of two"])
def test_what_a_pipe_cannot_read_is_kept_by_the_command_to_copy(monkeypatch, tmp_path, capsys, kind):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("flats in Bonn.csv", PLAIN)
        archive.writestr("notes.md", "none")
    content = tar("a.csv", PLAIN.encode()) if kind == "tar" else zipped.getvalue()
    if kind == "zip of two" and shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["check", "-"]) == 2
    command, _, again = capsys.readouterr().err.strip().rsplit(": ", 1)[1].rpartition(" && densenet ")
    subprocess.run(command, shell=True, input=content, check=True, capture_output=True)
    assert main(shlex.split(again)) == 0


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow writes the Parquet file to read")
    from pyarrow import parquet

    path = tmp_path / "data.parquet"
    parquet.write_table(pyarrow.table({**READ, "gap": [None, 1]}), path)
    table = datasets.read_csv(path, "rent", drop="gap")
    assert contents(table) == READ
    assert table.target == "rent"


def test_a_text_in_every_row_is_no_target(write, capsys):
    path = write("x,y\n" + "".join(f"{k * 7 % 5},name{k}\n" for k in range(20)))
    assert main(["train", str(path), "--target", "y"]) == 2
    assert "20 classes of 'y' in 20 rows" in capsys.readouterr().err


# -- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["2020-03-01", "2020-03-02"], "2020-03-01T00:00:00"),
        (["2020-03-01T12:30:00Z", "2020-03-02 01:00"], "2020-03-01T12:30:00"),
        (["2020-03-01T00:30+01:00", "2020-03-02"], "2020-02-29T23:30:00"),
        (["03/04/2020", "13/04/2020"], "2020-04-03T00:00:00"),
        (["03/04/2020", "04/13/2020"], "2020-03-04T00:00:00"),
        (["3.4.2020 18:00", "30.4.2020 19:00"], "2020-04-03T18:00:00"),
        (["1 Mar 2020", "2-Apr-2020"], "2020-03-01T00:00:00"),
        (["13-Mar-20", "02APR2020"], "2020-03-13T00:00:00"),
        (["2020-03-01 00:30:00+01", "2020-03-02 12:00:00-0330"], "2020-02-29T23:30:00"),
        (["2020/03/01 1:14:59 PM GMT+1"], "2020-03-01T12:14:59"),
        (["March 1, 2020", "Apr 2, 2020"], "2020-03-01T00:00:00"),
        (["1/31/99 11:00 PM", "NA"], "1999-01-31T23:00:00"),
        (["Sun, 31 Jan 1999 11:00:00 GMT", "Monday 1 Feb 1999"], "1999-01-31T11:00:00"),
        (["2024-02", "2024-11"], "2024-02-01T00:00:00"),
        (["Feb 2024", "November 2024"], "2024-02-01T00:00:00"),
    ],
)
def test_dates(cells, first):
    assert str(io_table(cells)["v"][0]) == first


def test_dates_that_may_be_either_are_refused(write, capsys):
    path = write("when,y\n" + "".join(f"0{1 + i % 9}/0{1 + i % 7}/2020,{i}\n" for i in range(30)))
    assert main(["check", str(path)]) == 2
    assert capsys.readouterr().err.endswith(f"densenet check {path} --dayfirst\n")
    assert str(datasets.read_csv(path, dayfirst=True)["when"][1]) == "2020-02-02T00:00:00"
    assert str(datasets.read_csv(path, dayfirst=False)["when"][7]) == "2020-08-01T00:00:00"
    with pytest.raises(TableError, match="is no day of the calendar"):
        io_table(["2020-02-30", "2020-03-01"])


def test_dates_become_elapsed_days_and_circles():
    days = np.array(["2024-01-01", "2024-07-01", "NaT"], "datetime64[s]")  # two Mondays
    preparation = TablePreparation().fit({"when": days, "y": [0.5, 1, 2]}, "y")
    assert preparation.feature_names == [
        "when", "when weekday sin", "when weekday cos", "when month sin", "when month cos", "when is missing",
    ]  # fmt: skip
    x = preparation.transform({"when": days})
    np.testing.assert_allclose(x, [[-1, 0, 1, 0, 1, 0], [1, 0, 1, 0, -1, 0], [0, 0, 0, 0, 0, 1]], atol=1e-6)
    assert preparation.elapsed_features == [0]
    later = preparation.transform({"when": np.array(["2034-01-01"], "datetime64[D]")})
    assert later[0, 0] > 30  # not clipped
    again = TablePreparation.from_state(preparation.state())
    np.testing.assert_array_equal(again.transform({"when": days}), x)


def test_boolean_words_in_any_case_are_two_values():
    table = io_table(["True", "TRUE", "false", "False"] * 3)
    assert set(table["v"]) == {"True", "false"} or len(set(table["v"])) == 2
    assert any("are 2 values" in line for line in table.said)
    assert len(set(io_table(["WAHR", "Falsch", "wahr"])["v"])) == 2
    preparation = TablePreparation().fit({"v": ["yes", "no"], "y": [0.5, 1]}, "y")
    np.testing.assert_array_equal(preparation.transform({"v": ["YES", "No"]}), [[0, 1], [1, 0]])
    assert preparation.unseen({"v": ["YES", "No"]}) == []


def test_columns_that_name_rows():
    n = 20
    rows = {
        "running": np.arange(5, n + 5),
        "user_id": np.random.default_rng(0).permutation(n),
        "RowIndex": np.arange(n)[::-1],
        "text": [f"t{i}" for i in range(n)],
        "float": np.arange(n) + 0.5,
        "plain": np.arange(n)[::-1] * 2,
        "y": np.arange(n),
    }
    found = names_of_rows(Table(rows, target="y"))
    assert list(found) == ["running", "user_id", "RowIndex", "text"]
    assert "user_id" not in names_of_rows(Table(rows, target="y"), keep=["user_id"])


def test_a_leak_is_found_and_a_good_column_is_not():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    rows = {"noise": rng.normal(size=400), "answer": np.where(y == 1, "paid", "lost"), "y": y}
    part = np.arange(400)
    preparation = TablePreparation().fit(rows, "y", rows=part[:300])
    (leak,) = leaks(Table(rows), preparation, part[:300], part[300:])
    assert leak.column == "answer"
    assert leak.score == 1
    assert leak.rest < 0.7
    assert "if it is not known before the target is, drop it" in str(leak)
    easy = rows | {"twice": 2.0 * y}
    fitted = TablePreparation().fit(easy | {"thrice": y + rng.normal(0, 0.01, 400)}, "y", rows=part[:300])
    both = leaks(Table(easy | {"thrice": rows["noise"]}), fitted, part[:300], part[300:])
    assert {found.column for found in both} == {"answer", "twice"}


# -- data frames ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_data_frames_of_three_libraries(kind):
    module = pytest.importorskip(kind, reason=f"{kind} makes the data frame to read")
    pytest.importorskip("narwhals", reason="narwhals is the door for data frames")
    columns = {
        "n": [1, None, 3],
        "f": [0.5, 1.5, None],
        "t": ["a", None, "b"],
        "b": [True, False, None],
        "d": [datetime.datetime(2020, 1, 2, 3), None, datetime.datetime(2021, 1, 1)],
    }
    frame = module.table(columns) if kind == "pyarrow" else module.DataFrame(columns)
    table = Table(frame, target="n")
    read = contents(table)
    assert [str(v) for v in table["d"]] == ["2020-01-02T03:00:00", "NaT", "2021-01-01T00:00:00"]
    del read["d"]
    assert read == {"n": [1, None, 3], "f": [0.5, 1.5, None], "t": ["a", None, "b"], "b": ["True", "False", None]}


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_an_estimator_takes_a_frame_of_mixed_columns(kind):
    module = pytest.importorskip(kind, reason=f"{kind} makes the data frame to fit")
    pytest.importorskip("sklearn", reason="the estimators are scikit-learn's")
    n = 60
    columns = {
        "number": [None if i % 9 == 0 else i / 7 for i in range(n)],
        "word": [["a", "b", None][i % 3] for i in range(n)],
        "flag": [i % 2 == 0 for i in range(n)],
        "day": [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=i) for i in range(n)],
    }
    frame = module.table(columns) if kind == "pyarrow" else module.DataFrame(columns)
    classifier = dn.DenseClassifier(preset="tabular", max_iter=2, random_state=0)
    shares = classifier.fit(frame, ["odd" if i % 2 else "even" for i in range(n)]).predict_proba(frame)
    assert shares.shape == (n, 2)
    assert classifier.feature_names_in_.tolist() == list(columns)


# -- many columns ---------------------------------------------------------------------------------------------------


def test_thirteen_thousand_columns_are_saved_and_loaded(tmp_path):
    rng = np.random.default_rng(0)
    rows = {f"gene number {k}": rng.normal(size=6) for k in range(13_000)} | {"y": [0, 1, 0, 1, 0, 1]}
    preparation = TablePreparation().fit(rows, "y")
    model = dn.mlp([13_000, 2, 2], seed=0)
    dn.persistence.check_savable(model, preparation=preparation)
    dn.persistence.save_model(model, tmp_path / "wide.npz", preparation=preparation)
    loaded = dn.load(tmp_path / "wide.npz")
    assert loaded.preparation.state() == preparation.state()
    np.testing.assert_array_equal(loaded.preparation.transform(rows), preparation.transform(rows))


@pytest.mark.parametrize(
    "text", [b"[1", b"\xff", b"[]", b'{"columns": [], "dropped": {}, "target": {}}', b"[" * 100_000]
)
def test_a_hostile_preparation_in_an_array_is_refused(tmp_path, text):
    from densenet.persistence.codec import Encoder
    from densenet.persistence.files import Content, write_file
    from densenet.persistence.models import encode_model

    encoder = Encoder()
    tree = encode_model(dn.mlp([1, 1], seed=0), encoder)
    tree["preparation"] = encoder.encode(np.frombuffer(text, np.uint8), "preparation")
    write_file(tmp_path / "model.npz", Content("model", tree, encoder.arrays))
    with pytest.raises(dn.CheckpointError, match="its parts do not fit together"):
        dn.load(tmp_path / "model.npz")


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, write):
    """A model of a table with an id, words and a date, and the folder it is in."""
    rng = np.random.default_rng(0)
    lines = ["id,sex,age,when,ok"]
    for i in range(60):
        day = np.datetime64("2020-01-01") + i
        lines.append(
            f"{i + 100},{'male' if i % 3 else 'female'},{rng.integers(20, 60)},{day},{'=1+1' if i % 2 else 'no'}"
        )
    lines.append("160,male,30,2020-03-02,")
    path = write("\n".join(lines) + "\n", "people.csv")
    return path, tmp_path / "run"


def train(path, out, *more):
    return main(["train", str(path), "--target", "ok", "--epochs", "1", "--output", str(out), *more])


def test_train_says_what_it_read_and_left_out(trained, capsys):
    path, out = trained
    assert train(path, out) == 0
    shown = capsys.readouterr()
    (line,) = [line for line in shown.out.splitlines() if line.startswith("training on")]
    assert "'when': dates" in line
    assert "1 row without a target left out" in line
    assert "left out: 'id' runs by 1 from row to row (--keep id to use)" in line
    assert "--time when holds out the latest rows" in shown.err
    assert "id" not in dn.load(out / "model.npz").preparation.input_columns
    assert train(path, out, "--keep", "id", "--time", "when", "--drop", "age") == 0
    preparation = dn.load(out / "model.npz").preparation
    assert preparation.input_columns == ["id", "sex", "when"]


def test_time_holds_out_the_latest_rows(tmp_path, write, capsys):
    rows = "".join(f"{(i * 7) % 50},{i % 4},{((i * 7) % 50) * 2 + 0.5}\n" for i in range(50))
    path = write("t,x,y\n" + rows)
    assert (
        main(["train", str(path), "--target", "y", "--time", "t", "--epochs", "0", "--output", str(tmp_path / "r")])
        == 0
    )
    target = dn.load(tmp_path / "r" / "model.npz").preparation.state()["target"]
    assert target["mean"] == pytest.approx(np.mean([2 * t + 0.5 for t in range(40)]))  # of the 40 earlier rows


def test_rows_of_one_time_stay_together():
    table = Table({"t": [2, 2, 1, 1, 1, 3, 3, 2], "y": range(8)}, "y")
    training, held_out = split_by_time(table, "t", 0.4)
    assert training.tolist() == [0, 1, 2, 3, 4, 7]
    assert held_out.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        ("t,x,y\n" + "5,1,2\n5,2,3\n" * 9, ["--time", "t"], "expects several times, got one in all rows of 't'"),
        ("t,x,y\n" + "5,1,2\n6,2,3\n" * 9, ["--time", "y"], "--time 'y' is the target"),
        (
            "t,x,y\n" + "".join(f"{k},{k % 3},{'ab'[k > 25]}\n" for k in range(30)),
            ["--time", "t"],
            "the target 'y' is 'a' in 24 rows to train on; with rows held out at random",
        ),
        ("t,x,y\n" + "5,1,2\n6,2,3\n" * 9, ["--held-out", ".99"], "--held-out 0.99 leaves no row to train on of 18"),
        ("t,x,y\n" + "5,1,nan\n6,2,b\n" * 9, [], "is 'b' in all 9 rows of data.csv that have one: nothing to learn"),
        ("t,x,y\n" + "5,1,2020-01-01\n6,2,2020-01-02\n" * 9, [], "the target 'y' holds dates"),
    ],
)
def test_splits_that_leave_nothing_to_learn(write, tmp_path, monkeypatch, capsys, content, given, message):
    monkeypatch.chdir(write(content).parent)
    command = [
        "train",
        "data.csv",
        "--target",
        "y",
        "--preset=none",
        "--epochs=0",
        "--output",
        str(tmp_path / "r"),
        *given,
    ]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert message in said
    if ": densenet " in said:
        assert main(shlex.split(said.rstrip("\n").rsplit(": densenet ", 1)[1])) == 0


def test_predictions_never_replace_what_is_read(trained, capsys):
    path, out = trained
    assert train(path, out, "--preset=none") == 0
    for name in (path, out / "model.npz"):
        assert main(["predict", str(out / "model.npz"), str(path), "--output", str(name)]) == 2
        assert "which is read: name another file" in capsys.readouterr().err


def test_predict_says_what_it_has_never_seen(trained, write, capsys):
    path, out = trained
    assert train(path, out) == 0
    later = write("id,sex,age,when\n007,Male,,2020-01-05\n-08,Female,,2020-01-06\n", "later.csv")
    capsys.readouterr()
    assert main(["predict", str(out / "model.npz"), str(later), "--keep", "id"]) == 0
    shown = capsys.readouterr()
    assert "'sex': 2 of 2 values were not in training, such as 'Male'" in shown.err
    assert "'age': empty, no value in 2 rows" in shown.err
    assert [row["id"] for row in csv.DictReader(shown.out.splitlines())] == ["007", "-08"]
    far = write("sex,age,when\nmale,4000,2020-01-05\n", "far.csv")
    assert main(["predict", str(out / "model.npz"), str(far)]) == 0
    assert "'age': 1 of 1 values are far outside of training's" in capsys.readouterr().err


def test_a_spreadsheet_runs_nothing(trained, write, capsys):
    path, out = trained
    assert train(path, out) == 0
    later = write("id,sex,age,when\n@x,male,30,2020-01-05\n-8,male,31,2020-01-06\n+a,male,31,2020-01-06\n", "later.csv")
    for more, ids, mark in ((["--spreadsheet"], ["'@x", "-8", "'+a"], "'=1+1"), ([], ["@x", "-8", "+a"], "=1+1")):
        capsys.readouterr()
        assert main(["predict", str(out / "model.npz"), str(later), "--keep", "id", *more]) == 0
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert [row["id"] for row in rows] == ids
        assert {row["ok"] for row in rows} <= {mark, "no"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,y\n" + "".join(f"{i % 7},5\n" for i in range(20)), "the target 'y' is 5.0 in every row"),
        ("x,y\n" + "".join(f"{i % 7},yes\n" for i in range(20)), "the target 'y' is 'yes' in every row"),
        ("x,y\n" + "".join(f"{i % 7},\n" for i in range(20)), "the target 'y' has no value in any row"),
        ("x,Y\n" + "".join(f"{i % 7},{i}\n" for i in range(20)), "read_csv finds no target column 'y'"),
    ],
)
def test_targets_that_cannot_be_learned(write, tmp_path, capsys, content, message):
    assert main(["train", str(write(content)), "--target", "y", "--output", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_check_reports_and_trains_nothing(trained, tmp_path, capsys):
    path, _ = trained
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["check", str(path), "--target", "ok"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "61 rows, 5 columns",
        "sex     text ",
        "when    date ",
        "names rows: 'id' runs by 1 from row to row; train leaves it out without --keep id",
        "target: 1 row without a value of 'ok'",
        "--time when",
    ):
        assert part in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_check_suspects_numbers_that_stand_for_something_else(write, capsys):
    rows = "".join(f"{-999 if i % 9 == 4 else i % 12},{20240101 + i},{i * i}\n" for i in range(30))
    assert main(["check", str(write("level,day,y\n" + rows))]) == 0
    shown = capsys.readouterr().out
    assert "missing? 'level' is -999 in 3 rows, far from all others" in shown
    assert "dates? 'day' is read as numbers such as 20240101: days are dates if written as 2024-01-31" in shown
    assert shown.count("missing? ") == shown.count("dates? ") == 1


def test_check_shows_a_hundred_columns_and_counts_the_others(write, capsys):
    names, row = [f"n{i}" for i in range(120)] + ["city"], ["1.5"] * 120 + ["Bonn"]
    assert main(["check", str(write("\n".join(map(",".join, (names, row, row)))))]) == 0
    shown = capsys.readouterr().out
    assert "n99 " in shown
    assert "n100 " not in shown
    assert "and 21 more: 20 numeric, 1 text" in shown


def test_home_is_expanded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data.csv").write_text(PLAIN)
    assert main(["check", "~/data.csv"]) == 0
