"""Every writer keeps the old file until the new one is whole, and names the file that it cannot write."""

from __future__ import annotations

import ast
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

import densenet as dn
from densenet._files import append, replacing, replacing_text
from densenet.cli import main

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X[:, :1]
needs_rights = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may read and write everything"
)


def fit(*callbacks):
    trainer = dn.Trainer(dn.mlp([3, 4, 1], seed=0), "mse", "sgd")
    return trainer, trainer.fit(X, Y, epochs=3, seed=0, callbacks=callbacks)


@pytest.fixture
def full_after(monkeypatch):
    """A disk that is full after so many bytes written through `os.write`."""

    def limit(count):
        room, write = [count], os.write

        def limited(descriptor, data):
            if room[0] <= 0:
                raise OSError(28, "No space left on device")
            done = write(descriptor, bytes(data)[: room[0]])
            room[0] -= done
            return done

        monkeypatch.setattr(os, "write", limited)

    return limit


@pytest.mark.parametrize("room", range(0, 30, 3))
def test_a_row_is_appended_whole_or_not_at_all(tmp_path, full_after, room):
    path = tmp_path / "log.csv"
    append(path, "epoch,loss\n")
    full_after(room)
    with pytest.raises(OSError, match=r"log\.csv") as caught:
        append(path, "1," + "3" * 40 + "\n")
    assert caught.value.errno == 28
    assert path.read_text() == "epoch,loss\n"


def test_a_first_row_that_does_not_fit_leaves_no_file(tmp_path, full_after):
    full_after(5)
    with pytest.raises(OSError, match=r"new\.csv"):
        append(tmp_path / "new.csv", "epoch,loss\n1,2\n")
    assert list(tmp_path.iterdir()) == []


def test_a_logger_on_a_full_disk_keeps_whole_rows_and_names_the_file(tmp_path, full_after):
    path = tmp_path / "log.csv"
    _, _ = fit(dn.CSVLogger(path))
    before = path.read_bytes()
    full_after(70)
    with pytest.raises(OSError, match=r"log\.csv"):
        fit(dn.CSVLogger(path, append=True))
    now = path.read_bytes()
    assert now.startswith(before)
    assert now.endswith(b"\n")


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), ValueError("no"), KeyboardInterrupt()])
def test_text_that_fails_half_way_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write():
        with replacing_text(path) as file:
            file.write("new" * 10_000)
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_text_is_written_as_it_is(tmp_path):
    path = tmp_path / "table.csv"
    with replacing_text(path) as file:
        file.write("\u00e4,b\r\n1,2\n")
    assert path.read_bytes() == b"\xc3\xa4,b\r\n1,2\n"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: fit()[1].to_csv(path),
        lambda path: fit(dn.CSVLogger(path)),
        lambda path: fit()[0].model.save(path.with_suffix(".npz")),
        lambda path: fit()[0].save_checkpoint(path.with_suffix(".npz")),
        lambda path: fit(dn.ModelCheckpoint(path.with_suffix(".npz"))),
    ],
)
def test_errors_name_the_file(tmp_path, write):
    with pytest.raises(FileNotFoundError, match="missing"):
        write(tmp_path / "missing" / "file.csv")


@pytest.mark.parametrize("options", [["--html", "page.html"], ["--plot", "net.png"]])
def test_the_command_names_the_file_and_keeps_the_old_one(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / options[1]
    place.mkdir()
    assert main(["route", *options]) == 2
    assert options[1] in capsys.readouterr().err
    assert place.is_dir()
    place.rmdir()
    place.write_text("old")
    place.chmod(stat.S_IRUSR)
    assert main(["route", *options]) == 2
    assert place.read_text() == "old"


def test_predictions_replace_the_old_file_at_once(tmp_path, monkeypatch, capsys):
    dn.mlp([2, 1], seed=0).save(tmp_path / "model.npz")
    data, out = tmp_path / "data.csv", tmp_path / "out.csv"
    data.write_text("a,b\n1,2\n3,4\n")
    out.write_text("old")
    monkeypatch.setattr("densenet.cli.predict._write_csv", lambda file, *rest: file.write("half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["predict", str(tmp_path / "model.npz"), str(data), "--output", str(out)])
    assert out.read_text() == "old"


@pytest.mark.parametrize("place", ["run.npz", "run-1.npz", "run-2.npz"])
def test_a_folder_in_a_checkpoints_place_is_refused_and_stays(tmp_path, place):
    path = tmp_path / "run.npz"
    (tmp_path / place).mkdir()
    (tmp_path / place / "kept.txt").write_text("mine")
    with pytest.raises(IsADirectoryError, match=place):
        fit(dn.ModelCheckpoint(path, keep=3))
    assert (tmp_path / place / "kept.txt").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == [place]


@needs_rights
def test_a_folder_that_can_be_written_and_not_read(tmp_path):
    folder = tmp_path / "drop"
    folder.mkdir()
    folder.chmod(0o300)
    try:
        with replacing(folder / "model.npz") as file:
            file.write(b"whole")
        trainer, history = fit()
        trainer.model.save(folder / "other.npz")
        history.to_csv(folder / "history.csv")
    finally:
        folder.chmod(0o700)
    assert (folder / "model.npz").read_bytes() == b"whole"
    dn.load(folder / "other.npz")


def test_memory_that_runs_out_is_one_line(tmp_path, monkeypatch, capsys):
    def fails(path):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("densenet.persistence.load", fails)
    assert main(["predict", "model.npz", "data.csv"]) == 2
    assert capsys.readouterr().err == "densenet predict: not enough memory. Unable to allocate 9 TiB\n"


WRITING = {"write_text", "write_bytes", "savetxt", "tofile"}
OWN = {
    "_files.py": "the writers themselves",
    "compiled/cache.py": "code for one user, checked when it is loaded",
    "course/child.py": "the process of a submission, which imports nothing of the package",
}


def test_every_module_writes_through_the_same_writers():
    found = []
    package = Path(dn.__file__).parent
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if name not in OWN else ():
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = [a.value for a in [*node.args, *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
            opens = called in ("open", "fdopen") and any(
                isinstance(mode, str) and set(mode) & set("wax+") and set(mode) <= set("rwaxbt+") for mode in modes
            )
            if called in WRITING or opens:
                found.append((name, node.lineno))
    truncating = [place for place in found if place[0] == "training/callbacks/csv_logger.py"]
    assert found == truncating
    assert len(truncating) <= 1  # CSVLogger cuts a log back to where the fit began
