"""A checkpoint is input: what it says of files and weights is checked, and nothing in it becomes a path."""

from __future__ import annotations

import numpy as np
import pytest

import densenet as dn
from densenet.persistence.files import Content, read_file, write_file

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), RNG.integers(0, 2, 40)


def new_trainer():
    return dn.Trainer(dn.mlp([3, 4, 2], seed=0), "softmax_cross_entropy", "sgd")


def callbacks(tmp_path):
    saver = dn.ModelCheckpoint(tmp_path / "run-{epoch}-{val_loss:.3f}.npz", keep=1)
    return [saver, dn.EarlyStopping(restore_best_weights=True)]


@pytest.fixture
def checkpoint(tmp_path):
    trainer = new_trainer()
    trainer.fit(X, Y, epochs=2, validation_split=0.25, seed=0, callbacks=callbacks(tmp_path))
    (path,) = tmp_path.glob("run-2-*.npz")
    return path


def forge(path, change):
    """The same file, with a right hash, after `change` has been at its arrays and its tree."""
    content = read_file(path)
    change(content.arrays, content.tree)
    write_file(path, Content(content.kind, content.tree, content.arrays))


def pairs(node):
    """Every dict of a tree, as its list of [key, value] pairs."""
    if isinstance(node, dict):
        if isinstance(node.get("dict"), list):
            yield node["dict"]
        node = list(node.values())
    for child in node if isinstance(node, list) else []:
        yield from pairs(child)


def assign(tree, name, value):
    found = [pair for group in pairs(tree) for pair in group if pair[0] == name]
    assert found, name
    for pair in found:
        pair[1] = value


@pytest.mark.parametrize("relative", [True, False])
def test_no_path_from_a_file_is_removed(tmp_path, checkpoint, relative, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    name = "../victim.txt" if relative else str(victim)
    forge(checkpoint, lambda arrays, tree: assign(tree, "written", [name]))
    new_trainer().fit(X, Y, epochs=4, validation_split=0.25, seed=0, resume=checkpoint, callbacks=callbacks(tmp_path))
    assert victim.read_text() == "precious"


def test_the_callbacks_own_files_are_still_removed_after_a_resume(tmp_path, checkpoint):
    new_trainer().fit(X, Y, epochs=4, validation_split=0.25, seed=0, resume=checkpoint, callbacks=callbacks(tmp_path))
    assert [path.name[:5] for path in tmp_path.glob("run-*.npz")] == ["run-4"]


def test_kept_weights_of_another_shape_are_refused(tmp_path, checkpoint):
    def change(arrays, tree):
        (name,) = (name for name in arrays if name.endswith("kept0"))
        arrays[name] = np.full(1, np.nan, np.float32)

    forge(checkpoint, change)
    with pytest.raises(ValueError, match=r"EarlyStopping\.kept0 must be an array of float32"):
        new_trainer().fit(
            X, Y, epochs=4, validation_split=0.25, seed=0, resume=checkpoint, callbacks=callbacks(tmp_path)
        )


def test_rows_beyond_the_data_are_refused(tmp_path, checkpoint):
    def change(arrays, tree):
        (name,) = (name for name in arrays if name.endswith("train_indices"))
        arrays[name] = arrays[name] + 1000

    forge(checkpoint, change)
    trainer = new_trainer()
    start = trainer.model.params.copy()
    with pytest.raises(ValueError, match="each row once"):
        trainer.fit(X, Y, epochs=4, validation_split=0.25, seed=0, resume=checkpoint, callbacks=callbacks(tmp_path))
    np.testing.assert_array_equal(trainer.model.params, start)
