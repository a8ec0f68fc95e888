"""A checkpoint is input: what it says of files and weights is checked, and nothing in it becomes a path."""

from __future__ import annotations

import numpy as np
import pytest

import densenet as dn
from densenet.persistence.codec import Decoder, Encoder
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


def forged_state(generator, change):
    """A model file's text for a generator whose state has been changed, and its arrays."""
    encoder = Encoder()
    state = generator.state
    change(state)
    return {"generator": encoder.encode(state, "state")}, encoder.arrays


POSITIONS = [("MT19937", at) for at in (-1, 625, 2_000_000_000)] + [("Philox", at) for at in (-1, 5, -2_000_000_000)]


@pytest.mark.parametrize(("kind", "at"), POSITIONS)
def test_a_generator_never_reads_outside_its_block(kind, at):
    def change(state):
        if kind == "MT19937":
            state["state"]["pos"] = at
        else:
            state["buffer_pos"] = at

    node, arrays = forged_state(getattr(np.random, kind)(0), change)
    with pytest.raises(dn.CheckpointError, match="whole number from 0 to"):
        Decoder(arrays).decode(node)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_comes_back_and_goes_on(kind):
    generator = np.random.Generator(getattr(np.random, kind)(3))
    generator.integers(0, 9, 7, dtype=np.uint32)
    encoder = Encoder()
    node = encoder.encode(generator, "generator")
    again = Decoder(encoder.arrays).decode(node)
    assert np.array_equal(again.random(700), generator.random(700))


HUGE = 10**400


@pytest.mark.parametrize("name", ["seconds", "batch_error", "learning_rate", "value", "best"])
@pytest.mark.parametrize("value", [HUGE, -HUGE])
def test_whole_numbers_beyond_every_float_are_refused(tmp_path, checkpoint, name, value):
    forge(checkpoint, lambda arrays, tree: assign(tree, name, value))
    refused_unchanged(tmp_path, checkpoint)


def refused_unchanged(tmp_path, checkpoint, **more):
    trainer = new_trainer()
    before = trainer.model.params.copy()
    with pytest.raises(dn.CheckpointError):
        trainer.fit(
            X, Y, epochs=4, validation_split=0.25, seed=0, resume=checkpoint, callbacks=callbacks(tmp_path), **more
        )
    assert np.array_equal(trainer.model.params, before)


def test_keys_that_no_dict_takes_are_refused(tmp_path, checkpoint):
    forge(checkpoint, lambda arrays, tree: assign(tree, "plan", {"dict": [[{"tuple": [[1]]}, 1]]}))
    refused_unchanged(tmp_path, checkpoint)


def test_a_hook_that_the_position_cannot_be_in_is_refused(tmp_path, checkpoint):
    def change(arrays, tree):
        assign(tree, "hook", "on_batch_end")  # the checkpoint is one of an epoch's end
        assign(tree, "waiting", True)

    forge(checkpoint, change)
    refused_unchanged(tmp_path, checkpoint)


@pytest.mark.parametrize("name", ["epoch", "step", "another"])
def test_a_history_without_a_figure_of_every_epoch_is_refused(tmp_path, checkpoint, name):
    def change(arrays, tree):
        for group in pairs(tree):
            for pair in group:
                pair[0] = name if pair[0] == "val_loss" else pair[0]

    forge(checkpoint, change)
    refused_unchanged(tmp_path, checkpoint)


def test_a_figure_called_epoch_does_not_take_the_epochs_place_in_a_path(tmp_path):
    def add(run):
        run.figures["epoch"] = 77.0

    saver = dn.ModelCheckpoint(tmp_path / "run-{epoch}.npz")
    new_trainer().fit(X, Y, epochs=1, callbacks=[dn.LambdaCallback(on_epoch_end=add), saver])
    assert [path.name for path in tmp_path.iterdir()] == ["run-1.npz"]


def test_a_warning_never_sends_a_terminals_commands(tmp_path, checkpoint):
    forge(checkpoint, lambda arrays, tree: assign(tree, "architecture", "\x1b[2J"))
    with pytest.warns(UserWarning, match="the checkpoint was written with") as caught:
        new_trainer().fit(
            X, Y, epochs=2, validation_split=0.25, seed=0, resume=checkpoint, callbacks=callbacks(tmp_path)
        )
    assert all("\x1b" not in str(warning.message) for warning in caught)


def logged(tmp_path, epochs, **more):
    saver, log = dn.ModelCheckpoint(tmp_path / "run.npz"), dn.CSVLogger(tmp_path / "log.csv", append=True)
    new_trainer().fit(X, Y, epochs=epochs, seed=0, callbacks=[saver, log], **more)


def test_a_forged_start_never_removes_rows_of_an_earlier_run(tmp_path):
    logged(tmp_path, 3)
    logged(tmp_path, 2)
    before = (tmp_path / "log.csv").read_bytes()
    forge(tmp_path / "run.npz", lambda arrays, tree: assign(tree, "start", 0))
    with pytest.raises(dn.CheckpointError, match="resuming would remove them"):
        logged(tmp_path, 4, resume=tmp_path / "run.npz")
    assert (tmp_path / "log.csv").read_bytes() == before


def test_a_log_that_went_on_after_the_checkpoint_is_taken_back_to_it(tmp_path):
    logged(tmp_path, 3)
    earlier = (tmp_path / "log.csv").read_text().splitlines()
    logged(tmp_path, 2)
    kept = (tmp_path / "run.npz").read_bytes()
    logged(tmp_path, 4, resume=tmp_path / "run.npz")
    (tmp_path / "run.npz").write_bytes(kept)
    logged(tmp_path, 3, resume=tmp_path / "run.npz")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[:4] == earlier
    assert [line.partition(",")[0] for line in lines[4:]] == ["1", "2", "3"]


def test_a_log_behind_the_checkpoint_callback_has_each_epoch_once_after_a_resume(tmp_path):
    logged(tmp_path, 2)
    logged(tmp_path, 4, resume=tmp_path / "run.npz")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch", "1", "2", "3", "4"]
