"""What the explorer is made of, without a browser: the policy, the data, refusals, the recorder, the command."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import densenet as dn
from densenet.cli import main


@pytest.fixture
def notes():
    return dn.datasets.notes_network()


def data_of(page):
    return data_in(page.html)


def data_in(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def array_of(packed):
    kind = {"f4": "<f4", "f8": "<f8"}[packed["kind"]]
    return np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(packed["shape"])


def test_the_policy_names_style_and_script_by_their_hashes(notes):
    page = dn.explore(*notes).html
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]

    def digest(text):
        return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    script = re.search(r"<script>(.*?)</script>", page, re.S)[1]
    assert policy == (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    assert page.count("<script") == 2
    assert not re.search(r"<[^>]*\s(style|on\w+|src|href)=", page.replace(script, "").replace(style, ""))


def test_the_page_is_small_beside_its_data(notes):
    assert len(dn.explore(*notes).html.encode()) < 300_000


def test_the_data_are_the_model_and_the_rows():
    model = dn.mlp([3, 4, 2], seed=0)
    x, y = np.arange(12.0).reshape(4, 3) / 7, np.array([0, 1, 1, 0])
    data = data_of(dn.explore(model, "softmax_cross_entropy", x, y))
    for entry, layer in zip(data["layers"], model.dense_layers, strict=True):
        np.testing.assert_array_equal(array_of(entry["W"]), layer.W)
        np.testing.assert_array_equal(array_of(entry["b"]).ravel(), layer.b)
    np.testing.assert_array_equal(array_of(data["x"]), x)
    np.testing.assert_array_equal(array_of(data["targets"]), np.eye(2)[y])


def test_of_many_rows_2000_are_drawn_and_said():
    model = dn.mlp([3, 1], seed=0)
    x = np.random.default_rng(0).normal(size=(5000, 3))
    data = data_of(dn.explore(model, "mse", x, x[:, :1]))
    assert (data["n"], data["total"]) == (2000, 5000)
    np.testing.assert_array_equal(array_of(data["x"]), x[data["rows"]])
    wide = np.random.default_rng(0).normal(size=(300, 4000))
    text = dn.explore(dn.mlp([4000, 1], seed=0), "mse", wide, wide[:, :1])
    assert len(data_of(text)["x"]["data"]) <= 2_000_000
    large = dn.explore(dn.mlp([3, 500, 500, 1], seed=0), "mse", x[:200], x[:200, :1])
    assert data_of(large)["n"] == 20_000_000 // (3 * 500 + 500 * 500 + 500)


def test_sums_over_all_rows_are_in_the_page_where_it_has_some_of_them():
    model, loss = dn.mlp([3, 4, 1], activation="prelu", seed=0, dtype="float64"), dn.MeanSquaredError()
    x = np.random.default_rng(0).normal(size=(5000, 3))
    every = data_of(dn.explore(model, loss, x, x[:, :1]))["whole"]
    assert every["E"] == pytest.approx(loss.forward(model.forward(x), x[:, :1]), rel=1e-12)
    model.backward(loss.backward())
    np.testing.assert_allclose(array_of(every["gradients"]), model.grads, rtol=1e-6)
    assert data_of(dn.explore(model, loss, x[:9], x[:9, :1]))["whole"] is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(notes, value):
    notes[0].dense_layers[1].W[2, 0] = value
    with pytest.raises(ValueError, match=r"explore expects finite numbers, but W of Dense\(3, 2\) holds .* row 2"):
        dn.explore(*notes)


def test_an_error_that_overflows_is_refused():
    model = dn.mlp([2, 3, 1], activation="relu", seed=0, dtype="float64")
    model.params = np.full(model.params.size, 1e200)
    with pytest.raises(ValueError, match="explore: the error is inf here"):
        dn.explore(model, "mse", [[1.0, 2.0]], [[1.0]])


def test_markup_in_names_cannot_leave_the_data(notes):
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install '.[dataframe]'")
    evil = "</script><img src=x onerror=alert(1)>"
    frame = pandas.DataFrame([[1.0, 2.0]], columns=[evil, "<!--"])
    page = dn.explore(notes[0], notes[1], frame, [[1.0]], title=evil)
    assert data_of(page)["inputs"] == [evil, "<!--"]
    assert "<img" not in page.html
    assert "<!--" not in page.html


@pytest.mark.parametrize(
    ("layers", "loss", "message"),
    [
        ([dn.Dense(2, 3), dn.BatchNorm(3), dn.Dense(3, 1)], "mse", r"BatchNorm\(3\)"),
        ([dn.Residual([dn.Dense(2, 2)]), dn.Dense(2, 1)], "mse", "Residual"),
        ([dn.Dense(2, 1)], "huber", "cannot compute Huber"),
        ([dn.ReLU()], "mse", "the model has none"),
    ],
)
def test_what_the_page_cannot_compute_is_named(layers, loss, message):
    with pytest.raises(ValueError, match=message):
        dn.explore(dn.Sequential(layers, seed=0), loss, [[1.0, 2.0]], [[1.0]])


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ((5, 1, 1), "names dense layer 5; there are dense layers 1 to 4"),
        ((1, 3, 1), 'source 3 of dense layer 1; it has 1 to 2, or "bias"'),
        ((1, 1, 4), "neuron 4 of dense layer 1, which has 1 to 3"),
        ((1, 1), r"\(layer, source, target\), got \(1, 1\)"),
        ((1.0, 1, 1), "names dense layer 1.0"),
        ((1, None, 1), "source None of dense layer 1"),
        ((1, 1, True), "neuron True of dense layer 1"),
    ],
)
def test_a_weight_that_does_not_exist(notes, select, message):
    with pytest.raises(ValueError, match=message):
        dn.explore(*notes, select=select)


def test_a_weight_may_be_named_by_numbers_of_numpy(notes):
    assert data_of(dn.explore(*notes, select=np.array([2, 1, 1])))["select"] == [1, 0, 0]


def test_nothing_of_the_model_changes(notes):
    model, loss, x, y = notes
    before = model.params.copy(), model.grads.copy()
    dn.explore(model, loss, x, y)
    np.testing.assert_array_equal(before, (model.params, model.grads))


def test_in_a_notebook_it_is_a_frame_without_an_origin(notes):
    shown = dn.explore(*notes)._repr_html_()
    assert 'sandbox="allow-scripts"' in shown
    assert "allow-same-origin" not in shown
    assert ".save(" in shown


# -- the recorder --------------------------------------------------------------------------------------------------


def trained(recorder, epochs=40):
    model, loss, x, y = dn.datasets.notes_network()
    dn.Trainer(model, loss, dn.SGD(0.5)).fit(x, y, epochs=epochs, callbacks=[recorder])
    return model, loss, x, y


def test_the_recorder_keeps_the_weights_of_its_steps():
    recorder = dn.Recorder()
    model, loss, x, y = dn.datasets.notes_network()
    recorder_of_all = [model.params.copy()]
    trainer = dn.Trainer(model, loss, dn.SGD(0.5))
    copy = dn.LambdaCallback(on_batch_end=lambda run: recorder_of_all.append(run.model.params.copy()))
    trainer.fit(x, y, epochs=12, callbacks=[recorder, copy])
    assert recorder.steps == list(range(13))
    np.testing.assert_array_equal(recorder.params, recorder_of_all)


def test_the_recorder_is_bounded_and_even():
    recorder = dn.Recorder(snapshots=8)
    model, *_ = trained(recorder, epochs=101)
    assert len(recorder.params) <= 8
    assert recorder.steps[0] == 0
    assert recorder.steps[-1] == 101
    assert len(set(np.diff(recorder.steps[:-1]))) == 1
    np.testing.assert_array_equal(recorder.params[-1], model.params)


def test_the_recorded_steps_go_into_the_page():
    recorder = dn.Recorder(snapshots=8)
    case = trained(recorder)
    recorded = data_of(dn.explore(*case, recorder=recorder))["recorded"]
    assert recorded["steps"] == recorder.steps
    np.testing.assert_array_equal(array_of(recorded["params"]), recorder.params)


def test_a_recorder_of_another_model_or_none(notes):
    recorder = dn.Recorder()
    with pytest.raises(ValueError, match="has recorded nothing"):
        dn.explore(*notes, recorder=recorder)
    with pytest.raises(TypeError, match="to be a Recorder, got 3"):
        dn.explore(*notes, recorder=3)
    trained(recorder, 2)
    with pytest.raises(ValueError, match="recorded another model"):
        dn.explore(dn.mlp([2, 1], seed=0), *notes[1:], recorder=recorder)
    with pytest.raises(ValueError, match="at least 2 snapshots"):
        dn.Recorder(snapshots=1)


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page_of_the_notes(tmp_path, capsys):
    assert not main(["explore", "--output", str(tmp_path / "page.html")])
    assert "page written to" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The network of the notes" in page
    assert 'select":[0,0,2]' in page


def test_the_command_takes_a_saved_model(tmp_path, capsys):
    dn.persistence.save_model(dn.mlp([2, 3, 1], seed=0), tmp_path / "model.npz", loss=dn.MeanSquaredError())
    (tmp_path / "rows.csv").write_text("a,b,y\n1,2,3\n4,5,6\n", encoding="utf-8")
    main(["explore", str(tmp_path / "model.npz"), str(tmp_path / "rows.csv"), "--output", str(tmp_path / "p.html")])
    assert '"n":2' in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_one_error(notes, tmp_path):
    with pytest.raises(OSError, match="missing"):
        dn.explore(*notes).save(tmp_path / "missing" / "page.html")


def test_a_loss_with_arguments_that_the_page_does_not_know_is_refused():
    model = dn.mlp([2, 1], seed=0)
    with pytest.raises(ValueError, match="without pos_weight"):
        dn.explore(model, dn.SigmoidCrossEntropy(pos_weight=2.0), [[1.0, 2.0]], [1.0])
    dn.explore(model, dn.SigmoidCrossEntropy(label_smoothing=0.2), [[1.0, 2.0]], [1.0])


def test_an_image_has_a_pixel_for_each_column():
    model, x, y = dn.mlp([6, 2], seed=0), np.zeros((3, 6)), [0, 1, 0]
    assert data_of(dn.explore(model, "softmax_cross_entropy", x, y, image=(2, 3)))["image"] == [2, 3]
    for image, message in (((2, 2), "2 x 2 pixels is not a row of 6 inputs"), (6, "got 6"), ((2.0, 3), r"\(2.0, 3\)")):
        with pytest.raises(ValueError, match=message):
            dn.explore(model, "softmax_cross_entropy", x, y, image=image)


def test_the_gallery_is_written_by_one_call(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "site"))
    gallery = importlib.import_module("gallery")
    exhibits = gallery.write_gallery(tmp_path / "gallery")
    index = (tmp_path / "gallery" / "index.html").read_text(encoding="utf-8")
    files = [exhibit.file for exhibit in exhibits]
    assert re.findall(r'href="([^"]+)"', index) == files
    assert sorted(path.name for path in (tmp_path / "gallery").iterdir()) == sorted([*files, "index.html"])
    stuck, free = (
        data_in((tmp_path / "gallery" / name).read_text(encoding="utf-8")) for name in ("xor-stuck.html", "xor.html")
    )
    assert len(stuck["recorded"]["steps"]) > 50
    assert array_of(stuck["x"]).tolist() == array_of(free["x"]).tolist()
