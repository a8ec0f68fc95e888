"""Every refusal of a table ends with one command to copy, and the command settles it."""

from __future__ import annotations

import io
import shlex
import sys
import zipfile

import numpy as np
import pytest

import densenet as dn
from densenet.cli import main
from densenet.tables import Table, TableError, TablePreparation
from densenet.tables.messages import nearest

HEAD = "area,city,rent\n"
ROWS = [f"{20 + 7 * i % 23},{'Bonn' if i % 3 else 'Trier'},{400 + 9 * i}" for i in range(20)]
PLAIN = HEAD + "\n".join(ROWS) + "\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into the current folder; its name, as it is typed."""
    monkeypatch.chdir(tmp_path)

    def write(content, name="flats.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def refused(capsys, *arguments):
    """The command that the refusal of these arguments ends with, as words, and the whole line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert f"densenet {arguments[0]}: " in shown.err
    return shlex.split(shown.err.rstrip("\n").rsplit(": ", 1)[1]), shown.err


def replaced(row, by):
    return HEAD + "\n".join([*ROWS[:row], by, *ROWS[row + 1 :]]) + "\n"


@pytest.mark.parametrize(
    ("content", "given", "settled"),
    [
        (PLAIN, ["--drop", "area,rent"], ["--drop", "area"]),
        (PLAIN, ["--drop=rent"], []),
        (PLAIN, ["--dro", "city", "--drop", "rent"], ["--drop", "city"]),
        (PLAIN, ["--text", "area", "--numeric", "area"], ["--text", "area"]),
        (PLAIN, ["--drop", "City"], ["--drop", "city"]),
        (PLAIN, ["--text", "street,city"], ["--text", "city"]),
        (PLAIN, ["--delimiter", ";"], []),
        (PLAIN, ["--delimiter", "::"], []),
        (PLAIN.replace(",4", ",4."), ["--decimal", ","], []),
        (PLAIN, ["--time", "when"], []),
        (PLAIN, ["--time=city"], []),
        (PLAIN, ["--encoding", "hex"], ["--encoding", "utf-8"]),
        (replaced(4, "24,Bonn,Nord,436"), [], ["--skip", "ragged"]),
        (replaced(4, "24"), ["--skip", "3"], ["--skip", "3,ragged"]),
        (replaced(4, '24,"Bonn",436').replace("Trier", '"Trier', 1), [], ["--skip", "2"]),
        ("Rents of 2024\n" + PLAIN, [], ["--skip", "1"]),
        ("Rents of 2024,,\n" + PLAIN, [], ["--skip", "1"]),
        (
            "Rents offered in 2024\narea;city;rent\n" + "50,5 m²;Bonn;1.104,43 €\n3 m²;Trier;9 €\n" * 9,
            [],
            ["--skip", "1"],
        ),
        ("Rents offered,,\n,,\n" + PLAIN, [], ["--skip", "1-2"]),
        (
            '"Source","WDI",\n"Land","A","2000","rent",\n' + '"a","x","1","2",\n"b","y","3","4",\n' * 5,
            [],
            ["--skip", "1"],
        ),
        (PLAIN.replace(HEAD, HEAD + "[m2],,[EUR]\n"), [], ["--skip", "2"]),
        (PLAIN.replace(HEAD, HEAD + "m2,,EUR\n"), [], ["--skip", "2"]),
        (replaced(4, HEAD.strip()), [], ["--skip", "6"]),
        (PLAIN + "Total,,9999\n", [], ["--skip", "22"]),
        (PLAIN + "Source: the town,,\n", [], ["--skip", "22"]),
        (PLAIN.replace("area,", "area,of,rooms,"), [], ["--no-header", "--skip", "1", "--target", "x3"]),
        (PLAIN.removeprefix(HEAD).replace("Bonn", "1").replace("Trier", "2"), [], ["--no-header", "--target", "x3"]),
        (replaced(4, "24,Bonn,n.a."), [], ["--numeric", "rent"]),
        (replaced(4, "~24,Bonn,n.a."), ["--numeric", "rent"], ["--numeric", "rent,area"]),
    ],
)
def test_the_command_of_a_refusal_settles_it(write, capsys, content, given, settled):
    command = ["check", write(content)]
    if any(word.startswith("--time") for word in given):
        command = ["train", *command[1:], "--epochs=0", "--members=1", "--output=run"]
    target = [] if "--target" in settled else ["--target", "rent"]
    words, _ = refused(capsys, *command, "--target", "rent", *given)
    assert words == ["densenet", *command, *target, *settled]
    assert main(words[1:]) == 0


def test_what_stands_in_the_command_stays(write, capsys):
    path = write(PLAIN.replace("24,Bonn", "about 24,Bonn"))
    given = ["train", path, "--target", "rent", "--epochs", "0", "--members", "1", "--output", "a b"]
    words, line = refused(capsys, *given)
    assert words == ["densenet", *given, "--numeric", "area"]
    assert "'a b'" in line  # quoted for a shell


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "before"),
    [
        (zipped(read_me="", b_csv=PLAIN), "two.zip", "unzip -o -d unpacked two.zip b.csv"),
        (zipped(xl="") + b"", "one.zip", None),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64), "a.xls", "libreoffice --headless --convert-to csv"),
        (zipped(**{"content_xml": ""}), "a.ods", "libreoffice --headless --convert-to csv --outdir converted a.ods"),
        ('[{"a": 1}, {"a": 2}]', "a.json", "python -c"),
        ('{"a": 1}\n{"a": 2}\n', "a.jsonl", "python -c"),
        (b"\x28\xb5\x2f\xfd" + bytes(64), "a.csv.zst", "zstd -qdf a.csv.zst -o converted/a.csv"),
        (b"7z\xbc\xaf" + bytes(64), "a b.7z", "7z e -so 'a b.7z' > 'converted/a b.csv'"),
        (zipped(**{"xl/workbook_xml": ""}), "a.xlsx", "(with pandas and openpyxl): mkdir -p converted && python -c"),
        ("<!DOCTYPE html>\n<table>", "a.html", "(with pandas and lxml): mkdir -p converted && python -c"),
        ('<?xml version="1.0"?>\n<rows/>', "a.xml", "(with pandas and lxml): mkdir -p converted && python -c"),
        ("area,rent\n" + "50,5,600,25\n70,0,812,5\n", "a.csv", "sed -E '2,$s/([+-]?[0-9]+),([0-9]+)/\\1.\\2/g' a.csv"),
        ("city    area\nNew York  12\nBonn      7\n", "a.txt", "columns of fixed width"),
    ],
)
def test_what_is_no_table_is_made_one_by_the_command(write, capsys, content, name, before):
    assert main(["check", write(content, name), "--target", "rent"]) == 2
    line = capsys.readouterr().err
    if before is None:
        assert "expects" in line
        return
    first, _, second = line.partition(" && densenet ")
    assert before in first
    words = shlex.split(second)
    assert words[0] == "check"
    assert words[1].startswith(("converted/", "unpacked/"))
    assert words[2:] == ["--target", "rent"]


@pytest.mark.parametrize(
    ("content", "name", "needed"),
    [
        ('[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]', "a.json", "pandas"),
        ("% flats\n@RELATION r\n@attribute 'a' numeric\n@attribute b {x,y}\n@data\n1,x\n2,y\n", "a.arff", None),
        ("+1 1:0.5 3:1\n-1 2:0.25\n", "a.svm", "sklearn"),
        ("a        b\n1    New x\n2        y\n", "a.txt", "pandas"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>x</td></tr></table>", "a.html", "lxml"),
    ],
)
def test_another_format_becomes_a_table_as_the_command_says(
    write, tmp_path, capsys, monkeypatch, content, name, needed
):
    if needed:
        pytest.importorskip(needed, reason=f"the command that makes a table of {name} uses {needed}")
    assert main(["check", write(content, name), "--target=b"]) == 2
    code = shlex.split(capsys.readouterr().err)
    (tmp_path / "converted").mkdir()
    at = code.index("-c")
    monkeypatch.setattr(sys, "argv", ["-c", *code[at + 2 : at + 4]])
    exec(code[at + 1], {})
    assert main(code[code.index("densenet", at) + 1 :]) == 0
    shown = capsys.readouterr().out
    assert ("x1 " in shown and "target 'x1'" in shown) if name == "a.svm" else "b  " in shown


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 4, b"\x89PNG\r\n\x1a\n" + bytes(range(200)) * 9, b"%PDF" + bytes(99)]
)
def test_pictures_and_programs_are_no_text(write, capsys, content):
    assert main(["check", write(content)]) == 2
    assert "is no text" in capsys.readouterr().err


def test_a_pointer_of_git_lfs_is_fetched(write, capsys):
    words, line = refused(capsys, "check", write("version https://git-lfs.github.com/spec/v1\noid x\n"))
    assert "only points at a file that Git LFS keeps" in line
    assert words == ["git", "lfs", "pull", "&&", "densenet", "check", "flats.csv"]


def test_a_text_of_lost_letters_is_a_text(write, capsys):
    assert main(["check", write(PLAIN.replace("Trier", "Tri\x1a\x1a\x1aer"))]) == 0
    assert main(["check", write("a,b\n" + "1,the car of a staff member\x1a\x1as wife\n" * 30)]) == 0


def test_zero_bytes_and_quotation_marks_that_do_not_pair_are_said(write, capsys):
    assert main(["check", write(PLAIN.replace("Trier", "Tri\0er", 1))]) == 0
    assert "read: 1 zero byte left out" in capsys.readouterr().out
    assert main(["check", write(PLAIN.replace("Trier", '"Trier', 1))]) == 0
    shown = capsys.readouterr().out
    assert "read: quotation marks that do not pair (line 2) are read as they stand" in shown
    assert '"Trier (1)' in shown


def test_rows_of_other_widths_are_left_out_and_counted(write, capsys):
    path = write(replaced(4, "24,Bonn,Nord,436"))
    assert main(["check", path, "--skip", "ragged,2-3"]) == 0
    shown = capsys.readouterr().out
    assert "17 rows, 3 columns" in shown
    assert "read: 1 row of other than 3 cells left out, such as line 6" in shown
    with pytest.raises(SystemExit):
        main(["check", path, "--skip", "two"])
    assert "expected lines such as 1,4-6, or ragged, got 'two'" in capsys.readouterr().err


# -- columns that a model wants --------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    """A model of area and city, in model.npz."""
    table = Table({"area": np.arange(20.0), "city": ["Bonn", "Trier"] * 10, "rent": np.arange(20.0) * 9}, "rent")
    preparation = TablePreparation().fit(table)
    made = dn.Sequential([dn.Dense(3, 1)], seed=0)
    made.save(tmp_path / "model.npz", loss="mse", preparation=preparation)
    return "model.npz"


def test_a_column_whose_name_differs_by_case_and_blanks_is_read_and_said(write, model, capsys):
    assert main(["predict", model, write("City ;AREA\nBonn;3\n")]) == 0
    alike = capsys.readouterr()
    assert main(["predict", model, write("city;area\nBonn;3\n")]) == 0
    assert capsys.readouterr().out == alike.out
    assert "the model's 'area' is read from 'AREA'" in alike.err


def test_columns_that_are_not_there(write, model, capsys):
    path = write("town,aera\nBonn,3\n")
    words, line = refused(capsys, "predict", model, path)
    assert words == ["densenet", "predict", model, path, "--use", "area=aera,city="]
    assert "lacks 'area', 'city', which the model wants; its columns are 'town', 'aera'" in line
    assert main(words[1:]) == 0
    assert "'city': empty, no value in 1 row" in capsys.readouterr().err
    assert main(["predict", model, path, "--use", "area=aera", "--use", "city=town"]) == 0
    there = capsys.readouterr().out
    assert main(["predict", model, write("city,area\nBonn,3\n")]) == 0
    assert capsys.readouterr().out == there
    write("town,aera\nBonn,3\n")
    words, line = refused(capsys, "predict", model, path, "--use", "city=town", "--use", "size=aera")
    assert words == ["densenet", "predict", model, path, "--use", "city=town"]
    assert "--use expects NAME=COLUMN, a column of the model ('area', 'city')" in line
    assert main(["predict", model, write("city,area,note\nBonn,3,1\n"), "--text", "note"]) == 0


def test_a_file_without_names_is_read_in_the_order_of_the_model(write, model, capsys):
    path = write("20,Bonn\n24,Trier\n")
    for given in ([], ["--no-header"]):
        words, line = refused(capsys, "predict", model, path, *given)
        assert "has no names of columns" in line
        assert "--no-header" in words
        assert main(words[1:]) == 0


def test_numbers_where_the_model_expects_dates(write, tmp_path, capsys):
    rows = "".join(f"2024-01-{1 + k:02d},{k % 3},{k % 7}\n" for k in range(20))
    options = ["--target", "y", "--preset=none", "--epochs=0", "--output", str(tmp_path / "run")]
    assert main(["train", write("when,x,y\n" + rows), *options]) == 0
    words, line = refused(capsys, "predict", str(tmp_path / "run" / "model.npz"), write("when,x\n7,1\n8,2\n"))
    assert "'when' line 2 '7' is no date, as the model expects; numeric makes such cells missing:" in line
    assert main(words[1:]) == 0


def test_parquet_keeps_whole_numbers_whole(tmp_path, write, model, capsys):
    frame = pytest.importorskip("pandas", reason="the file is written with pandas").read_csv(write(PLAIN))
    frame["key"] = 2**60 + frame.index
    frame.to_parquet(tmp_path / "later.parquet")
    assert main(["predict", model, str(tmp_path / "later.parquet"), "--keep", "key"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith(f"{2**60 + 1},")


def test_parquet_lacks_a_column_as_any_file_does(tmp_path, write, model, capsys):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow writes the Parquet file to read")
    from pyarrow import parquet

    write("")
    parquet.write_table(pyarrow.table({"AREA": [3.0], "town": ["Bonn"]}), "rows.parquet")
    words, _ = refused(capsys, "predict", model, "rows.parquet")
    assert words[-2:] == ["--use", "area=AREA,city="]
    assert main(["predict", model, "rows.parquet", "--use", "city=town"]) == 0
    words, _ = refused(capsys, "check", "rows.parquet", "--target", "Town")
    assert words == ["densenet", "check", "rows.parquet", "--target", "town"]
    words, _ = refused(capsys, "check", "rows.parquet", "--text", "town", "--numeric=AREA")
    assert words == ["densenet", "check", "rows.parquet"]


def test_words_where_the_model_expects_numbers_or_dates(write, tmp_path, capsys):
    days = np.array(["2024-01-01", "2024-02-01", "2024-03-01"] * 4, "datetime64[s]")
    preparation = TablePreparation().fit(Table({"when": days, "n": np.arange(12.0), "y": np.arange(12.0)}, "y"))
    path = write("when,n\nsoon,many\n")
    dn.Sequential([dn.Dense(6, 1)], seed=0).save(tmp_path / "m.npz", loss="mse", preparation=preparation)
    words, line = refused(capsys, "predict", "m.npz", path)
    assert words == ["densenet", "predict", "m.npz", path, "--numeric", "when,n"]
    assert "'soon' is no date, as the model expects" in line
    assert main(words[1:]) == 0
    shown = capsys.readouterr()
    assert "'when': empty" in shown.err
    assert shown.out.count("\n") == 2


def test_nearest_names():
    assert nearest("Body-Mass", ["mass", "body_mass"]) == "body_mass"
    assert nearest("x", ["abc"]) is None
    error = TableError("no", {"path": "a.csv", "drop": None}, "make a.csv")
    assert str(error) == "no: make a.csv, then read_csv('a.csv', drop=None)"
