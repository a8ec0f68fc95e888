"""The explorer's page in a real browser: its numbers beside Python's, and every hand that a person can lay on it."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from explorer_browser import ARGUMENTS, axe, executable, reason

import densenet as dn
from densenet.explain.route import route
from densenet.explore import Recorder, explore
from densenet.explore.data import ELEMENTWISE, page_data

if reason() is not None:
    pytest.skip(str(reason()), allow_module_level=True)

ACTIVATIONS = [kind.__name__ for kind in ELEMENTWISE]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def the_page(browser):
    """One page for all tests, and what it complains of or asks the network for."""
    page, complaints = browser.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
    )
    return page, complaints


@pytest.fixture
def opened(the_page, tmp_path):
    """Opens an explorer's page in place of the last one; at the end nothing may stand in the console."""
    page, complaints = the_page

    def open_page(explorer, *, width=1400, height=900, **media):
        path = explorer.save(tmp_path / "page.html")
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(**({"media": "screen", "color_scheme": "light"} | media))
        page.goto(path.as_uri())
        page.wait_for_function("() => window.explorer !== undefined")
        return page

    yield open_page
    assert complaints == []
    complaints.clear()


@pytest.fixture
def notes(opened):
    return opened(explore(*dn.datasets.notes_network(), select=(1, 1, 3)))


def xor(seed=1, hidden=3, activation="tanh"):
    model = dn.mlp([2, hidden, 1], activation=activation, seed=seed, dtype="float64")
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    return model, dn.SigmoidCrossEntropy(), x, np.array([0.0, 1, 1, 0])


def close(got, expected, tolerance=1e-12):
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0) <= tolerance * np.abs(expected).max(initial=0)


def same_as_python(state, model, loss, x, y, rows=slice(None)):
    step = dn.explain_step(model, loss, x[rows], y[rows], learning_rate=0.5)
    for name in ("z", "a", "dE_da", "dE_dz", "dE_dW", "dE_db"):
        for got, expected in zip(state[name], getattr(step, name), strict=True):
            if expected is None:
                assert got is None
            else:
                close(got, expected)
    return step


def random_case(seed):
    """A network, a loss and data: of all kinds that a page knows."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 6, rng.integers(2, 6)).tolist()
    loss = [
        dn.HalfSquaredError(),
        dn.MeanSquaredError(),
        dn.SoftmaxCrossEntropy(label_smoothing=[0.0, 0.1][seed % 2]),
        dn.CategoricalCrossEntropy(),
        dn.SigmoidCrossEntropy(label_smoothing=[0.0, 0.2][seed % 2]),
        dn.BinaryCrossEntropy(),
    ][seed % 6]
    n = int(rng.integers(1, 8))
    layers = []
    for at, (n_in, n_out) in enumerate(pairwise(widths)):
        layers.append(dn.Dense(n_in, n_out, use_bias=bool(rng.integers(5)), kernel_initializer="normal"))
        if at < len(widths) - 2:
            layers.append(getattr(dn, ACTIVATIONS[(seed + at) % len(ACTIVATIONS)])())
            if rng.integers(6) == 0:
                layers.append(dn.Dropout(0.3))
            if rng.integers(8) == 0:
                layers.append(dn.Tanh())
    k = widths[-1]
    if isinstance(loss, dn.CategoricalCrossEntropy):
        layers.append(dn.Softmax())
    elif isinstance(loss, dn.BinaryCrossEntropy):
        layers.append(dn.Sigmoid())
    elif isinstance(loss, (dn.HalfSquaredError, dn.MeanSquaredError)) and rng.integers(2):
        layers.append([dn.Softmax(), dn.Sigmoid(), dn.Tanh()][rng.integers(3)])
    model = dn.Sequential(layers, seed=seed, dtype=["float32", "float64"][seed // 6 % 2])
    model.params = rng.normal(size=model.params.size) * 0.7
    x = rng.normal(size=(n, widths[0]))
    if loss.task == "classification":
        y = rng.integers(0, k, n) if rng.integers(2) else rng.dirichlet(np.ones(k), n)
    elif loss.task == "binary":
        y = rng.integers(0, 2, (n, k)).astype(float)
    else:
        y = rng.normal(size=(n, k))
    return model, loss, x, y


# -- numbers -------------------------------------------------------------------------------------------------------


def test_numbers_equal_pythons_on_200_random_networks(notes):
    cases = [random_case(seed) for seed in range(200)]
    specs = [page_data(*case, None) for case in cases]
    states = notes.evaluate(
        """specs => specs.map((spec) => {
            const pass = new Pass(networkOf(spec), unpacked(spec.x), unpacked(spec.targets), spec.n);
            pass.forward();
            pass.backward();
            return arraysOf(pass);
        })""",
        specs,
    )
    for (model, loss, x, y), state in zip(cases, states, strict=True):
        subject = dn.Sequential.astype(model, "float64") if model.dtype != np.float64 else model
        close(state["E"], loss.forward(subject.predict(x), y))
        if any(isinstance(layer, dn.PReLU) for layer in model.layers):
            subject.forward(x, training=False)
            subject.backward(loss.backward())
            for got, layer in zip(state["dE_dW"], subject.dense_layers, strict=True):
                close(got, layer.dW)
        else:
            step = same_as_python(state, model, loss, x, y)
            close(state["E"], step.error)
        if loss.task != "regression":
            close(state["p"], loss.probabilities(subject.predict(x)))


def test_routes_equal_pythons(opened):
    for seed in (0, 1, 4, 13, 16):
        model, loss, x, y = random_case(seed)
        page = opened(explore(model, loss, x, y))
        page.evaluate("explorer.sample(0)")
        for layer, dense in enumerate(model.dense_layers, start=1):
            page.evaluate(f"explorer.select({layer}, 1, {dense.n_out})")
            state = page.evaluate("explorer.state()")
            found = route(model, loss, x, y, layer=layer, source=1, target=dense.n_out, sample=0)
            assert abs(state["gradient"] - found.gradient) <= 1e-12 * found.absolute
            if isinstance(model.layers[-1], dn.Softmax):
                continue  # there Python's paths pass through the softmax one by one
            expected = found.paths(8)
            close([path["contribution"] for path in state["paths"]], [path.contribution for path in expected])
            assert [tuple(p["neurons"]) for p in state["paths"]] == [p.neurons for p in expected] or any(
                np.isclose(a.contribution, b.contribution) for a, b in pairwise(expected)
            )
            close([p["share"] for p in state["paths"]], [p.share for p in expected], 1e-11)


def test_bias_routes_and_batch_paths_are_sums_over_rows(opened):
    model, loss, x, y = xor()
    page = opened(explore(model, loss, x, y))
    page.evaluate("explorer.select(1, 'bias', 2)")
    state = page.evaluate("explorer.state()")
    close(state["gradient"], state["dE_db"][0][1])
    singles = [route(model, loss, x, y, layer=1, source="bias", target=2, sample=s).gradient for s in range(4)]
    close(sum(path["contribution"] for path in state["paths"]), np.mean(singles))


def test_gelu_by_codys_erf_is_exact_to_the_last_digits(notes):
    from scipy.special import ndtr

    z = np.concatenate([np.linspace(-38, 9, 4001), [-0.0, 1e-300, 1e-8, -1e-8]])
    got = notes.evaluate("z => z.map(normalDistribution)", z.tolist())
    expected = ndtr(z)
    assert np.abs(got - expected).max() < 1e-15
    near = z > -6
    assert (np.abs(got - expected)[near] / expected[near]).max() < 4e-15


def test_activations_and_slopes_equal_pythons_far_out(notes):
    z = np.array([[-750.0, -41, -3, -1, -0.3, -1e-9, 0, 1e-9, 0.3, 1, 2.9999, 3, 5, 39, 45, 700]])
    script = (
        "([z, settings]) => Object.entries(settings).map(([name, c]) => z.map(v => {"
        "const a = ACTIVATIONS[name].value(v, c); return [a, ACTIVATIONS[name].slope(v, a, c)] }))"
    )
    layers = {name: getattr(dn, name)() for name in ACTIVATIONS}
    models = [dn.Sequential([layer], dtype="float64") for layer in layers.values()]
    settings = {name: layer.config() for name, layer in layers.items()}
    settings["PReLU"] |= {"a": layers["PReLU"].a.tolist()}
    found = notes.evaluate(script, [z[0].tolist(), settings])
    for (name, layer), model, got in zip(layers.items(), models, found, strict=True):
        value, slope = np.array(got, float).T
        y = model.forward(z)
        np.testing.assert_allclose(value, y[0], rtol=1e-14, atol=0 if name == "Exp" else 1e-15, err_msg=name)
        np.testing.assert_allclose(slope, layer.slopes()[0], rtol=1e-13, atol=1e-15, err_msg=name)


# -- hands ---------------------------------------------------------------------------------------------------------


def test_set_weight_sample_and_update_equal_python(opened):
    model, loss, x, y = xor()
    page = opened(explore(model, loss, x, y))
    page.evaluate("explorer.setWeight(1, 2, 3, 0.75); explorer.setWeight(2, 'bias', 1, -0.25)")
    model.dense_layers[0].W[1, 2], model.dense_layers[1].b[0] = 0.75, -0.25
    state = page.evaluate("explorer.state()")
    step = same_as_python(state, model, loss, x, y)
    close(state["E"], step.error)
    page.evaluate("explorer.sample(2)")
    one = page.evaluate("explorer.state()")
    same_as_python(one, model, loss, x, y, slice(2, 3))
    close(one["E"], step.error)
    drop = page.evaluate("(explorer.sample(null), explorer.update(0.5))")
    for got, expected in zip(page.evaluate("explorer.state().W"), step.W_new, strict=True):
        close(got, expected)
    close(drop["found"], step.error - page.evaluate("explorer.state().E"), 1e-9)
    squares = sum((dW**2).sum() + (db**2).sum() for dW, db in zip(step.dE_dW, step.dE_db, strict=True))
    close(drop["promised"], 0.5 * squares)


def test_scripts_are_told_what_exists(opened):
    page = opened(explore(*xor()))
    for call, message in (
        ("select(3, 1, 1)", "layer is a whole number from 1 to 2"),
        ("select(1, 3, 1)", "source"),
        ("setWeight(1, 1, 1, NaN)", "a weight is a finite number"),
        ("sample(4)", "row, or null, is a whole number from 0 to 3"),
        ("update(0)", "alpha is a number above 0"),
    ):
        said = page.evaluate(f"(() => {{ try {{ explorer.{call} }} catch (error) {{ return error.message }} }})()")
        assert message in said


def test_a_click_on_a_line_chooses_its_weight(notes):
    box = notes.locator("#picture").bounding_box()
    found = notes.evaluate(
        "(() => { const a = picture.places.get('1,2'), b = picture.places.get('2,0');"
        "return [a.x + 0.3 * (b.x - a.x), a.y + 0.3 * (b.y - a.y), picture.width, picture.height] })()"
    )
    notes.mouse.click(box["x"] + found[0] * box["width"] / found[2], box["y"] + found[1] * box["height"] / found[3])
    chosen = notes.evaluate("explorer.state().selection")
    assert chosen == {"layer": 2, "source": 3, "target": 1}


def test_dragging_and_typing_move_the_weight_and_undo_takes_it_back(notes):
    start = notes.evaluate("explorer.state()")
    notes.locator("#slider").focus()
    notes.keyboard.press("ArrowRight")
    assert notes.evaluate("explorer.state().W[0][0][2]") > start["W"][0][0][2]
    notes.fill("#value", "-1.5")
    notes.keyboard.press("Enter")
    assert notes.evaluate("explorer.state().W[0][0][2]") == -1.5
    model, loss, x, y = dn.datasets.notes_network()
    model.dense_layers[0].W[0, 2] = -1.5
    close(notes.evaluate("explorer.state().E"), loss.forward(model.predict(x), y))
    notes.click("#undo")
    notes.click("#undo")
    assert notes.evaluate("explorer.state().W") == start["W"]


def test_what_if_a_factor_were_another(notes):
    notes.click('[data-factor="0"][data-value="0"]')
    state = notes.evaluate("explorer.state()")
    said = notes.locator("#what-if").inner_text().replace("\u2212", "-")
    assert "If factor 1 were 0, this path would add 0 in place of" in said
    rest = state["gradient"] - state["paths"][0]["contribution"]
    assert float(re.search(r"dE/dw would be (\S+) in place", said)[1]) == pytest.approx(rest, rel=1e-4)


def test_hovering_over_a_factor_lights_it_in_the_picture(notes):
    notes.locator("#factors .factor").nth(1).hover()
    assert notes.locator("#picture .ring").count() == 1


def test_steps_go_forth_and_back_and_have_their_lines(notes):
    titles = []
    for _ in range(25):
        notes.click("#next")
        titles.append(notes.locator("#step-title").inner_text())
    assert titles[0] == "Forward: neuron 1 of dense layer 1"
    assert titles[8:10] == ["The error", "Backward: neuron 1 of dense layer 4, the output"]
    assert titles[-1].startswith("Update")
    assert notes.locator("#next").is_disabled()
    notes.click("#back")
    assert notes.locator("#step-title").inner_text() == titles[-2]
    notes.check("#by-layer")
    notes.click("#next")
    assert notes.locator("#step-title").inner_text() == "Forward: dense layer 1"


def test_a_wrong_prediction_is_answered_with_the_mistakes_name(notes):
    notes.check("#predict")
    for _ in range(10):
        notes.click("#next")
    state = notes.evaluate("explorer.state()")
    delta, da = state["dE_dz"][3][0][0], state["dE_da"][3][0][0]
    for typed, said in (
        (f"{da:.5f}", "slope forgotten"),
        (f"{-delta:.5f}", "sign"),
        ("77.7", "Not this."),
        ("0.1", "three digits"),
    ):
        notes.fill("#typed", typed)
        notes.click("#answer button[type=submit]")
        assert said in notes.locator("#verdict").inner_text()
    notes.fill("#typed", f"{delta:.5f}")
    notes.click("#answer button[type=submit]")
    assert notes.locator("#verdict").inner_text().startswith("Right")


def test_a_bar_chooses_its_row(opened):
    page = opened(explore(*xor()))
    box = page.locator("#pulls").bounding_box()
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + box["height"] / 2)
    assert page.evaluate("explorer.state().sample") == 3
    page.click("#batch")
    assert page.evaluate("explorer.state().sample") is None


def test_training_on_lowers_the_error_and_reset_takes_it_back(opened):
    page = opened(explore(*xor()))
    start = page.evaluate("explorer.state()")
    page.click("#train")
    page.wait_for_function("() => errorsByEpoch.length > 20")
    page.click("#train")
    assert page.evaluate("explorer.state().E") < start["E"]
    page.click("#train")
    page.select_option("#activation", "PReLU")  # another change pauses: this one has parameters of its own
    assert page.locator("#train").inner_text() == "Train on"
    page.click("#reset")
    assert page.evaluate("explorer.state().W") == start["W"]


def test_scrubbing_shows_the_recorded_weights(opened):
    model, loss, x, y = xor()
    recorder = Recorder(snapshots=10)
    dn.Trainer(model, loss, dn.SGD(0.5)).fit(x, y, epochs=30, callbacks=[recorder])
    page = opened(explore(model, loss, x, y, recorder=recorder))
    page.locator("#recorded").focus()
    page.keyboard.press("Home")
    got = page.evaluate("explorer.state().W[0]")
    close(got, recorder.params[0][:6].reshape(2, 3))


def test_a_link_restores_the_state(opened):
    page = opened(explore(*xor()))
    page.select_option("#activation", "PReLU")  # it has parameters that the model as given has not
    page.evaluate("explorer.select(2, 1, 1); explorer.setWeight(2, 1, 1, 0.125); explorer.sample(1)")
    page.click("#link")
    before = page.evaluate("explorer.state()")
    page.click("#reset")
    page.fill("#state", page.evaluate("location.hash"))
    page.click("#restore")
    assert page.evaluate("explorer.state()") == before
    text = page.evaluate("stateText()")
    other = page.evaluate(
        "(() => { firstWeights[0] += 1; const text = stateText(); firstWeights[0] -= 1; return text })()"
    )
    for wrong in ("nonsense", text[:-1], text.replace("M", "N", 1), other):  # the last of a model with another weight
        page.fill("#state", wrong)
        page.click("#restore")
        assert page.locator("#link-about").inner_text() == "This text is no state of this page."
        assert page.evaluate("explorer.state()") == before


@pytest.mark.parametrize(
    "change",
    [
        {"i": [9999], "w": "AAAAAAAA8D8="},  # no such weight
        {"i": [0.5], "w": "AAAAAAAA8D8="},
        {"i": [0], "w": "AAAAAAAA8H8="},  # inf
        {"i": [0], "w": "////////7/8="},  # -1.8e308, finite, and E is not
        {"i": [0, 1], "w": "AAAAAAAA8D8="},
        {"s": [0, 0.5, 0]},
        {"s": [9, 0, 0]},
        {"s": None},
        {"r": 4},
        {"r": "1"},
        {"a": -1},
        {"a": None},
        {"f": "<b>"},
        {"l": "Huber"},
    ],
)
def test_a_link_that_was_altered_changes_nothing(opened, change):
    page = opened(explore(*xor(activation="relu")))
    before = page.evaluate("explorer.state()")
    text = page.evaluate(
        "change => sealed(JSON.stringify({...JSON.parse(atob(stateText().split('.')[0])), ...change}))", change
    )
    page.fill("#state", text)
    page.click("#restore")
    assert page.locator("#link-about").inner_text() == "This text is no state of this page."
    assert page.evaluate("explorer.state()") == before


def test_what_would_make_e_infinite_is_taken_back(opened):
    page = opened(explore(*xor(activation="relu")))
    before = page.evaluate("explorer.state()")
    for typed, said in (("1e308", "too large"), ("", "A weight is a number."), ("-1e301", "too large")):
        page.fill("#value", typed)
        page.keyboard.press("Enter")
        assert said in page.locator("#trouble").inner_text()
        assert page.evaluate("explorer.state()") == before
    said = page.evaluate("(() => { try { explorer.setWeight(1, 1, 1, 1e308) } catch (e) { return e.message } })()")
    assert "E is too large a number" in said
    assert page.locator("#undo").is_disabled()
    page.evaluate("explorer.setWeight(1, 1, 1, 1e200); explorer.setWeight(2, 1, 1, 1e108); explorer.select(2, 1, 1)")
    page.locator("#slider").focus()
    page.keyboard.press("End")
    assert "too large" in page.locator("#trouble").inner_text()
    assert page.evaluate("explorer.state().W[1][0][0]") == 1e108
    page.click("#reset")
    page.evaluate("explorer.select(2, 1, 1); explorer.sample(0)")
    page.evaluate("for (let i = 0; i < 120; i++) explorer.update(1e6)")
    assert page.evaluate("Number.isFinite(explorer.state().E_shown)")


def test_undo_goes_back_over_reset_and_over_switches(opened):
    page = opened(explore(*xor()))
    page.evaluate("explorer.setWeight(1, 1, 1, 0.75)")
    page.select_option("#activation", "ReLU")
    changed = page.evaluate("explorer.state()")
    page.click("#reset")
    assert page.locator("#activation").input_value() == "as given"
    page.click("#undo")
    assert page.locator("#activation").input_value() == "ReLU"
    assert page.evaluate("explorer.state()") == changed
    page.click("#undo")
    assert page.locator("#activation").input_value() == "as given"
    page.click("#undo")
    assert page.evaluate("explorer.state().W[0][0][0]") != 0.75
    assert page.locator("#undo").is_disabled()


def test_switching_the_activation_computes_with_the_other(opened):
    model, loss, x, y = xor()
    page = opened(explore(model, loss, x, y))
    page.select_option("#activation", "ReLU")
    other = dn.mlp([2, 3, 1], activation="relu", dtype="float64")
    other.params = model.params
    close(page.evaluate("explorer.state().E"), loss.forward(other.predict(x), y))


def test_the_teachers_view_hides_numbers_and_keeps_names(notes):
    notes.click("#next")
    notes.click("#quiet")
    for hidden in ("#figures .number", "#factors mrow.number", "#lines mrow.number", "#paths .number"):
        assert not notes.locator(hidden).first.is_visible()
    assert notes.locator("#weight-name mn").first.is_visible()
    shown = notes.evaluate(
        "[...document.querySelectorAll('#factors mn, #lines mn')]"
        ".filter((n) => n.checkVisibility({visibilityProperty: true})).map((n) => n.textContent)"
    )
    assert shown
    assert not any("." in text for text in shown)
    notes.click("#quiet")
    assert notes.locator("#figures .number").first.is_visible()


def test_names_with_markup_show_as_text(opened):
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install '.[dataframe]'")
    model, loss, x, y = xor()
    evil = "<img src=x onerror=alert(1)>"
    page = opened(explore(model, loss, pandas.DataFrame(x, columns=[evil, "</svg>"]), y, title=evil))
    assert page.locator("#title").inner_text() == evil
    assert page.locator("img").count() == 0


def test_a_telephone_needs_no_scrolling_sideways(opened):
    page = opened(explore(*xor()), width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.skipif(axe() is None, reason="needs axe-core: npm install --prefix tests/javascript")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(opened, scheme):
    model, loss, x, y = xor()
    recorder = Recorder(snapshots=4)
    dn.Trainer(model, loss, dn.SGD(0.5)).fit(x, y, epochs=4, callbacks=[recorder])
    page = opened(explore(model, loss, x, y, recorder=recorder), color_scheme=scheme)
    page.click("#update")
    page.check("#predict")
    page.click("#next")
    page.evaluate(axe())
    found = page.evaluate("axe.run().then(({violations}) => violations)")
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []


def test_hovering_over_a_path_lights_it_alone(notes):
    notes.locator('[data-path="1"]').hover()
    assert notes.locator("#lit.single .one").count() == 5
    notes.locator("#title").hover()
    assert notes.locator("#lit .one").count() == 0


def test_hovering_over_the_picture_says_what_is_there(notes):
    x, y = notes.evaluate("(() => { const p = picture.places.get('1,0'); return [p.x, p.y] })()")
    notes.locator("#picture").hover(position={"x": x, "y": y})
    z = notes.evaluate("explorer.state().z[0][0][0]")
    assert f"{z:.4f}"[:5] in notes.locator("#readout").inner_text().replace("\u2212", "-")
    notes.check("#by-layer")
    notes.click("#next")
    assert notes.locator("#lines .hot").count() == 0
    notes.locator("#picture").hover(position={"x": x, "y": y + 1})
    assert notes.locator("#lines .hot").count() > 0


def test_playing_goes_on_by_itself(notes):
    notes.click("#play")
    notes.wait_for_function("() => stepAt >= 1")
    notes.click("#play")
    assert notes.locator("#play").inner_text() == "Play"


def test_a_point_of_the_data_chooses_its_row_and_regions_are_drawn(opened):
    page = opened(explore(*xor()))
    assert page.locator("#base image").count() == 4  # three hidden neurons and the output
    page.uncheck("#regions")
    assert page.locator("#base image").count() == 0
    box = page.locator("#scatter").bounding_box()
    at = page.evaluate("[...document.querySelectorAll('#scatter .dot')].map(d => d.getAttribute('d'))")
    x, y = map(float, re.search(r"M(\S+) (\S+?)a", at[1]).groups())
    scale = box["width"] / page.evaluate("CHART.width")
    page.locator("#scatter").click(position={"x": (x + 4) * scale, "y": y * scale})
    row = page.evaluate("explorer.state().sample")
    assert xor()[3][row] == 0  # the second path holds the rings, of the smaller target


def test_alpha_loss_and_first_weights_are_changed_by_hand(opened):
    model, loss, x, y = xor()
    page = opened(explore(model, loss, x, y))
    page.locator("#alpha").focus()
    page.keyboard.press("End")
    assert float(page.locator("#alpha-value").inner_text()) == pytest.approx(10**1.5, rel=0.01)
    page.select_option("#loss", "HalfSquaredError")
    close(page.evaluate("explorer.state().E"), dn.HalfSquaredError().forward(model.predict(x), y[:, None]))
    page.click("#undo")
    close(page.evaluate("explorer.state().E"), loss.forward(model.predict(x), y))
    page.select_option("#initial", "zeros")
    page.click("#draw")
    assert not np.any(page.evaluate("explorer.state().W[0]"))
    page.select_option("#initial", "he")
    page.fill("#seed", "3")
    page.click("#draw")
    first = page.evaluate("explorer.state().W")
    assert np.abs(first[0]).max() <= np.sqrt(6 / 2)
    page.click("#draw")
    assert page.evaluate("explorer.state().W") == first


def test_a_pixel_chooses_the_weight_from_it(opened):
    model = dn.mlp([6, 4, 2], seed=0)
    page = opened(explore(model, "softmax_cross_entropy", np.eye(6), [0, 1] * 3, image=(2, 3)))
    box = page.locator("#pixels").bounding_box()
    scale = box["width"] / page.evaluate("CHART.width")
    page.locator("#pixels").click(position={"x": (8 + 140) * scale, "y": (20 + 140) * scale})
    chosen = page.evaluate("explorer.state().selection")
    assert (chosen["layer"], chosen["source"]) == (1, 6)


def test_of_a_large_network_the_strongest_are_drawn_and_sums_are_exact(opened):
    model = dn.mlp([50, 100, 48, 4], activation="tanh", seed=0, dtype="float64")
    x, y = np.random.default_rng(0).normal(size=(3, 50)), np.array([0, 1, 2])
    page = opened(explore(model, "softmax_cross_entropy", x, y))
    assert page.locator("#base .edge").count() == 1600
    assert "40 strongest neurons" in page.locator("#fewer").inner_text()
    page.evaluate("explorer.select(1, 7, 99)")
    state = page.evaluate("explorer.state()")
    loss = dn.SoftmaxCrossEntropy()
    close(state["E"], loss.forward(model.forward(x), y))
    model.backward(loss.backward())
    for got, layer in zip(state["dE_dW"], model.dense_layers, strict=True):
        close(got, layer.dW)
    close(state["gradient"], state["dE_dW"][0][6][98])


def test_dragging_rounds_no_more_than_a_whole_pass(opened):
    model, loss, x, y = xor()
    page = opened(explore(model, loss, x, y))
    away = page.evaluate(
        """(() => {
            const slider = byId('slider');
            let most = 0;
            for (let i = 0; i < 300; i++) {
                slider.value = 3 * i;
                slider.dispatchEvent(new Event('input', { bubbles: true }));
                draw();
                const whole = new Pass(net, X, T, rowsInAll);
                whole.forward();
                whole.backward();
                const gradient = new Routes(whole, selection).gradient;
                most = Math.max(most, Math.abs(view.E / whole.E - 1), Math.abs(routes.gradient - gradient));
            }
            slider.dispatchEvent(new Event('change'));
            return most;
        })()"""
    )
    assert away < 1e-14  # what a drag computes in part, beside whole passes
    state = page.evaluate("explorer.state()")
    for layer, W, b in zip(model.dense_layers, state["W"], state["b"], strict=True):
        layer.W, layer.b = W, b
    step = same_as_python(state, model, loss, x, y)
    close(state["E"], step.error)
    page.wait_for_function("() => curve.length === 81")
    at = state["selection"]
    for point in page.evaluate("curve")[::20]:
        model.dense_layers[0].W[at["source"] - 1, at["target"] - 1] = point["at"]
        close(point["E"], loss.forward(model.predict(x), y), 1e-13)


def test_the_mouse_drags_the_slider(opened):
    page = opened(explore(*xor()))
    before = page.evaluate("explorer.state()")
    box = page.locator("#slider").bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle, height)
    page.mouse.down()
    page.mouse.move(middle + 0.2 * box["width"], height, steps=8)
    page.mouse.up()
    page.wait_for_function("() => !drawing")
    weight = page.evaluate("weightOf(selection)")
    assert weight > page.evaluate("firstWeights[placeOf(selection)]") + 0.5
    assert float(page.input_value("#value")) == pytest.approx(weight, rel=1e-5)
    page.click("#undo")  # one drag is one thing to take back
    assert page.evaluate("explorer.state()") == before


def test_neurons_that_are_off_and_what_runs_through_them_are_grey(opened):
    model = dn.mlp([2, 3, 2], activation="relu", seed=1, dtype="float64")
    model.dense_layers[0].b = [-9, 0.5, 0.5]
    page = opened(explore(model, "mse", [[0.5, 0.25]], [[0.0, 1.0]], select=(1, 1, 1)))
    assert page.locator("#base .node.dead").count() == 1
    assert page.locator("#lit .flow").count() == 0
    assert page.locator("#lit .nothing").count() == 5  # the weight itself, two lines below it, two to E
    assert "the gradient is 0" in page.locator("#sentence").inner_text()


def test_a_page_with_some_of_the_rows_shows_the_sums_over_all(opened):
    model, loss = dn.mlp([2, 3, 1], activation="tanh", seed=0, dtype="float64"), dn.MeanSquaredError()
    x = np.random.default_rng(0).normal(size=(2500, 2))
    page = opened(explore(model, loss, x, x[:, :1], select=(2, "bias", 1)))
    E = loss.forward(model.forward(x), x[:, :1])
    model.backward(loss.backward())
    shown = page.locator("#figures").inner_text().replace("\u2212", "-")
    assert "over all 2,500 rows" in shown
    for value in (E, model.dense_layers[1].db[0]):
        assert f"{value:.5g}" in shown


def test_in_a_notebooks_frame_it_has_no_origin_and_gives_a_text_for_a_link(the_page, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><title>n</title>{explore(*xor())._repr_html_()}", encoding="utf-8")
    page, _ = the_page
    page.goto(path.as_uri())
    frame = page.frames[1]
    frame.wait_for_function("() => window.explorer !== undefined")
    assert frame.evaluate("window.origin") == "null"
    frame.evaluate("explorer.setWeight(1, 1, 1, 0.5)")
    frame.click("#link")
    text = frame.input_value("#state")
    frame.click("#reset")
    frame.fill("#state", text)
    frame.click("#restore")
    assert frame.evaluate("explorer.state().W[0][0][0]") == 0.5


def test_everything_can_be_reached_by_keyboard(notes):
    reached = []
    for _ in range(60):
        notes.keyboard.press("Tab")
        reached.append(notes.evaluate("document.activeElement.id || document.activeElement.dataset.path || ''"))
    wanted = "reset quiet print 0 by-layer next play pick-layer pick-source slider value batch row alpha update train"
    assert [name for name in wanted.split() if name not in reached] == []


def test_printed_it_is_black_on_white_without_buttons(opened):
    page = opened(explore(*xor()), media="print", color_scheme="dark")
    assert not page.locator("#update").is_visible()
    colours = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
