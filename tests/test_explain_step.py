"""One step written out: its numbers beside the Trainer's and the published ones, its words in the notes' order."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet.datasets.notes import notes_network
from densenet.explain import explain_step


def mazur():
    model = dn.Sequential([dn.Dense(2, 2), dn.Sigmoid(), dn.Dense(2, 2), dn.Sigmoid()], dtype="float64")
    first, second = model.dense_layers
    first.W, first.b = [[0.15, 0.25], [0.20, 0.30]], [0.35, 0.35]
    second.W, second.b = [[0.40, 0.50], [0.45, 0.55]], [0.60, 0.60]
    first.freeze("b")
    second.freeze("b")
    return model, dn.HalfSquaredError(), [[0.05, 0.10]], [[0.01, 0.99]]


def test_the_published_example():
    step = explain_step(*mazur(), learning_rate=0.5)
    assert step.error == pytest.approx(0.298371109, rel=1e-8)
    assert_allclose(step.z[0], [[0.3775, 0.3925]], rtol=1e-12)
    assert_allclose(step.a[1], [[0.75136507, 0.772928465]], rtol=1e-8)
    assert_allclose(step.dE_da[1], [[0.74136507, -0.217071535]], rtol=1e-8)
    assert_allclose(step.dE_dz[1], [[0.138498562, -0.0380982366]], rtol=1e-8)
    assert_allclose(step.dE_da[0], [[0.036350306, 0.041370323]], rtol=1e-7)
    assert_allclose(step.dE_dW[1][0, 0], 0.082167041, rtol=1e-8)
    assert_allclose(step.dE_dW[0][0, 0], 0.000438568, rtol=1e-6)
    assert_allclose(step.W_new[1], [[0.35891648, 0.511301270], [0.408666186, 0.561370121]], rtol=1e-8)
    assert_allclose(step.W_new[0], [[0.149780716, 0.24975114], [0.19956143, 0.29950229]], rtol=1e-7)
    assert [b.tolist() for b in step.b_new] == [[0.35, 0.35], [0.60, 0.60]]


CASES = {
    "notes": lambda: notes_network()[:2],
    "softmax cross-entropy": lambda: (
        dn.mlp([2, 3, 3], activation="tanh", seed=0, dtype="float64"),
        dn.SoftmaxCrossEntropy(),
    ),
    "softmax layer": lambda: (
        dn.mlp([2, 3, 3], activation="sigmoid", output_activation="softmax", seed=0, dtype="float64"),
        dn.CategoricalCrossEntropy(),
    ),
    "softmax inside": lambda: (
        dn.Sequential([dn.Dense(2, 3), dn.Softmax(), dn.Dense(3, 2, use_bias=False)], seed=0, dtype="float64"),
        dn.MeanSquaredError(),
    ),
    "two in a row": lambda: (
        dn.Sequential([dn.Dense(2, 3), dn.Tanh(), dn.Sine(), dn.Dropout(0.5), dn.Dense(3, 2)], seed=0, dtype="float64"),
        dn.LogCosh(),
    ),
    "binary": lambda: (dn.mlp([2, 3, 1], activation="relu", seed=0, dtype="float64"), dn.SigmoidCrossEntropy()),
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_every_number_is_the_trainers(name, rows):
    model, loss = CASES[name]()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 2))
    y = (
        rng.integers(0, 3, rows)
        if loss.task == "classification"
        else rng.integers(0, 2, (rows, model.n_out)).astype(float)
    )
    step = explain_step(model, loss, x, y, learning_rate=0.3)
    assert step.error == pytest.approx(loss.forward(model.predict(x), y), rel=1e-14)
    outputs = model.activations(x)
    dense = [i for i, layer in enumerate(model.layers) if isinstance(layer, dn.Dense)]
    assert_allclose(step.z[0], reference.dense(x, model.layers[0].W, model.layers[0].b), rtol=1e-13)
    for number, place in enumerate(dense):
        assert_array_equal(step.z[number], outputs[place])
        after = dense[number + 1] - 1 if number + 1 < len(dense) else len(outputs) - 1
        assert_array_equal(step.a[number], outputs[after])
    loss.forward(model.forward(x, training=False), y)
    model.backward(loss.backward())
    for number, layer in enumerate(model.dense_layers):
        assert_allclose(step.dE_dW[number], layer.dW, rtol=1e-12, atol=1e-16)
        assert_allclose(
            step.dE_dz[number].sum(axis=0),
            layer.db if layer.use_bias else step.dE_dz[number].sum(axis=0),
            rtol=1e-11,
            atol=1e-16,
        )
        before = x if number == 0 else step.a[number - 1]
        assert_allclose(before.T @ step.dE_dz[number], layer.dW, rtol=1e-11, atol=1e-16)
        assert_allclose(step.W_new[number], layer.W - 0.3 * layer.dW, rtol=1e-14)
        if number + 1 < len(dense):
            assert_allclose(
                step.dE_da[number], step.dE_dz[number + 1] @ model.dense_layers[number + 1].W.T, rtol=1e-11, atol=1e-16
            )
    if not any(isinstance(layer, dn.Dropout) for layer in model.layers):
        dn.Trainer(model, loss, dn.SGD(0.3)).step(x, y)
        for layer, W, b in zip(model.dense_layers, step.W_new, step.b_new, strict=True):
            assert_allclose(W, layer.W, rtol=1e-14)
            assert (b is None) == (not layer.use_bias)


@pytest.mark.parametrize("name", CASES)
def test_every_equation_comes_true_when_calculated(name):
    """The numbers on each line, put into Python, give the value at its end."""
    model, loss = CASES[name]()
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 1) if loss.task == "classification" else rng.integers(0, 2, (1, model.n_out)).astype(float)
    text = explain_step(model, loss, rng.normal(size=(1, 2)), y).to_text()
    checked = 0
    for line in text.splitlines():
        sides = re.split(r" +(?:= )", line.strip())
        names = r"exp|log"
        numbers = [s for s in sides[1:] if re.fullmatch(r"[-+x*/().\de^ ]+", re.sub(names, "", s.split("   ")[0]))]
        if len(numbers) >= 2:
            left, right = (
                side.split("   ")[0].replace(" x ", " * ").replace("^", "**").replace("/2 (", "/2 * (")
                for side in numbers[-2:]
            )
            left = re.sub(r"(\d) \(", r"\1 * (", left)
            value = eval(left, {"exp": np.exp, "log": np.log})
            assert value == pytest.approx(float(right), rel=2e-4, abs=2e-5), line
            checked += 1
    assert checked > 10


def test_the_words_come_in_the_notes_order():
    text = explain_step(*notes_network(), learning_rate=0.5).to_text()
    order = [
        "Dense layers and neurons count from 1",
        "Forward pass: dense layer 1",
        "Forward pass: dense layer 4 (the output layer)",
        "The error",
        "Backward pass: dense layer 4, the output layer",
        "Backward pass: dense layer 3, the last hidden layer",
        "Backward pass: dense layer 2, a hidden layer",
        "Backward pass: dense layer 1, a hidden layer, which the input enters",
        "Update: w_new = w_old - alpha dE/dw",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    model = notes_network()[0]
    for number, layer in enumerate(model.dense_layers, start=1):
        for i, j in np.ndindex(layer.W.shape):
            assert text.count(f"  dE/dw({number})_{{{i + 1},{j + 1}}} ") == 1
            assert text.count(f"  new w({number})_{{{i + 1},{j + 1}}} ") == 1
        for j in range(layer.n_out):
            assert text.count(f"  new b({number})_{j + 1} ") == 1
            assert text.count(f"  z({number})_{j + 1} ") == 1
    assert "dE/dz(4)_1     = dE/dy^_1 x f'(z(4)_1) = 0.323829 x 0.249432 = 0.0807734" in text


def test_latex_and_html():
    step = explain_step(*notes_network())
    latex = step.to_latex()
    assert r"z^{(1)}_{1} = w^{(1)}_{1,1} \cdot a^{(0)}_{1} + w^{(1)}_{2,1} \cdot a^{(0)}_{2} + b^{(1)}_{1}" in latex
    assert (
        r"w^{(4),\,\mathrm{new}}_{2,1} = w^{(4)}_{2,1} - \alpha \cdot \frac{\partial E}{\partial w^{(4)}_{2,1}}"
        in latex
    )
    assert step._repr_latex_() == f"$$\n{latex}\n$$"
    page = step._repr_html_()
    assert "<script" not in page
    assert "&part;<i>E</i>/&part;<i>w</i><sup>(4)</sup><sub>2,1</sub>" in page
    assert "0.0807734" in page
    assert "4 dense layers" in repr(step)


def test_softmax_and_cross_entropy_are_written_as_p_minus_y():
    model = dn.mlp([2, 3], seed=0)
    text = explain_step(model, "softmax_cross_entropy", [[1.0, 2.0]], [1]).to_text()
    assert "dE/dz(1)_2     = p_2 - y_2 = " in text.replace("(p_2 - y_2)", "p_2 - y_2")
    assert "class 1" in text
    assert "classes count from 0: output 2" in text


def test_nothing_of_the_model_changes():
    model, loss, x, y = notes_network()
    loss.forward(model.forward(x), y)
    model.backward(loss.backward())
    params, grads = model.params.copy(), model.grads.copy()
    explain_step(model, loss, np.array(x) * 2, y, learning_rate=9.0)
    assert_array_equal(model.params, params)
    assert_array_equal(model.grads, grads)
    model.backward(loss.backward())
    assert_array_equal(model.grads, grads)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([dn.Dense(2, 2), dn.Residual([dn.Tanh()]), dn.Dense(2, 1)], r"Residual\(.*\) is neither"),
        ([dn.Dense(2, 2), dn.PReLU(), dn.Dense(2, 1)], r"PReLU\(\) is neither"),
        ([dn.Dense(2, 1, kernel_l2=0.1)], "has a penalty or a max_norm"),
        (
            [dn.Dense(2, 500), dn.Tanh(), dn.Dense(500, 20), dn.Tanh(), dn.Dense(20, 1)],
            "11,541 weights times 1 rows is more than 5,000",
        ),
        ([dn.Tanh()], "needs a dense layer"),
        (
            [dn.Dense(2, 1), dn.Softmax(), dn.Tanh()],
            "one layer that mixes neurons after dense layer 1, not Softmax, Tanh",
        ),
    ],
)
def test_what_it_does_not_write_out(layers, message):
    model = dn.Sequential(layers, seed=0)
    with pytest.raises(ValueError, match=message):
        explain_step(model, "mse", [[1.0, 2.0]], np.zeros((1, model.n_out or 2)))


@pytest.mark.parametrize("rate", [0, -1, float("nan"), "fast"])
def test_a_rate_above_0(rate):
    with pytest.raises(ValueError, match="explain_step expects learning_rate to be a finite number above 0"):
        explain_step(*notes_network(), learning_rate=rate)


def test_softmax_and_its_error_are_written_out():
    model = dn.mlp([2, 3], seed=0, dtype="float64")
    x = np.array([[1.0, 2.0]])
    text = explain_step(model, dn.SoftmaxCrossEntropy(), x, [1]).to_text()
    logits = model.predict(x)[0]
    p = np.exp(logits) / np.exp(logits).sum()
    lines = text.splitlines()
    row = next(line for line in lines if line.strip().startswith("p_2 "))
    assert "exp(z(1)_2) / (exp(z(1)_1) + exp(z(1)_2) + exp(z(1)_3)) = exp(" in row
    assert f"{p[1]:.6g}" in row
    error = next(line for line in lines if line.strip().startswith("E "))
    assert f"-log(p_2) = -log({p[1]:.6g}) = {-np.log(p[1]):.6g}" in error
    assert "y^" not in text
    assert "softmax makes probabilities of the last sums z(1), the logits" in text


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("inside", [False, True])
def test_sigmoid_and_its_error_are_written_out(label, inside):
    layers = [dn.Dense(2, 1), dn.Sigmoid()] if inside else [dn.Dense(2, 1)]
    model = dn.Sequential(layers, seed=0, dtype="float64")
    loss = dn.BinaryCrossEntropy() if inside else dn.SigmoidCrossEntropy()
    text = explain_step(model, loss, np.array([[1.0, 2.0]]), [label]).to_text()
    z = (np.array([1.0, 2.0]) @ model.layers[0].W)[0]
    p, name = 1 / (1 + np.exp(-z)), "y^" if inside else "p"
    of, value = (f"{name}_1", p) if label else (f"1 - {name}_1", 1 - p)
    assert f"-log({of}) = -log({value:.6g}) = {-np.log(value):.6g}" in text
    slope = f"(y^_1 - y_1) / (y^_1 x (1 - y^_1)) = ({p:.6g} - {label}) / ({p:.6g} x {1 - p:.6g})"
    assert (slope in text) is inside


def test_softmax_layer_and_categorical_cross_entropy_are_written_out():
    model = dn.mlp([2, 3], output_activation="softmax", seed=0, dtype="float64")
    x = np.array([[1.0, 2.0]])
    text = explain_step(model, dn.CategoricalCrossEntropy(), x, [1]).to_text()
    p = model.predict(x)[0]
    assert "y^_2   = exp(z(1)_2) / (exp(z(1)_1) + exp(z(1)_2) + exp(z(1)_3)) = exp(" in text
    assert f"-log(y^_2) = -log({p[1]:.6g}) = {-np.log(p[1]):.6g}" in text
    assert f"dE/dz(1)_2     = y^_2 - y_2 = {p[1]:.6g} - 1 = {p[1] - 1:.6g}" in text


# -- a batch as matrices -------------------------------------------------------------------------------------------


def matrices(text):
    """Every matrix of a derivation by its name, with its formula."""
    found, lines = {}, text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"  [^ ]", line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        rows = [re.sub(r"^ *(?:row|from) \d+ ", "", line).split() for line in lines[start + 1 : end]]
        rows = [row for row in rows if row and all(re.fullmatch(r"-?\d+(\.\d+)?(e[-+]\d+)?", value) for value in row)]
        if rows:
            name, _, formula = lines[start].strip().partition(" = ")
            found[name.split("   ")[0]] = (formula, np.array(rows, float))
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_matrix_comes_true_when_calculated(name):
    """The matrices that are printed, put into the printed equations by NumPy."""
    model, loss = CASES[name]()
    rng = np.random.default_rng(3)
    n = 4
    x = rng.normal(size=(n, 2))
    classes = loss.task == "classification"
    y = rng.integers(0, 3, n) if classes else rng.integers(0, 2, (n, model.n_out)).astype(float)
    text = explain_step(model, loss, x, y, learning_rate=0.3).to_text()
    of = {key: values for key, (_, values) in matrices(text).items()}
    near = {"rtol": 1e-4, "atol": 1e-5}
    assert_allclose(of["a(0)"], x, **near)
    assert_allclose(of["y"], y[:, None] if classes else y, **near)
    count = len(model.dense_layers)
    for number, layer in enumerate(model.dense_layers, start=1):
        W, D = of[f"W({number})"], of[f"dE/dz({number})"]
        bias = of[f"b({number})"] if layer.use_bias else 0
        assert_allclose(of[f"z({number})"], of[f"a({number - 1})"] @ W + bias, **near)
        assert_allclose(of[f"dE/dW({number})"], of[f"a({number - 1})"].T @ D, **near)
        assert_allclose(of[f"new W({number})"], W - 0.3 * of[f"dE/dW({number})"], **near)
        if layer.use_bias:
            assert_allclose(of[f"dE/db({number})"][0], D.sum(axis=0), **near)
        if number < count:
            assert_allclose(of[f"dE/da({number})"], of[f"dE/dz({number + 1})"] @ of[f"W({number + 1})"].T, **near)
        slopes = [values for key, values in of.items() if "'(" in key and f"({number})" in key]
        if slopes:
            error = of["dE/dy^" if number == count else f"dE/da({number})"]
            assert_allclose(D, error * np.prod(slopes, axis=0), **near)
    outputs = model.predict(x)
    assert_allclose(of["E of each row"][:, 0].mean(), loss.forward(outputs, y), **near)
    if "p" in of:
        assert_allclose(of["p"], loss.probabilities(outputs), **near)
        assert_allclose(of[f"dE/dz({count})"], (of["p"] - (np.eye(3)[y] if classes else y)) / n, **near)


def test_a_batch_is_printed_once_an_array_and_not_once_a_neuron():
    model = dn.mlp([3, 4, 3, 2], activation="gelu", seed=0)
    x = np.random.default_rng(0).normal(size=(4, 3))
    step = explain_step(model, dn.SoftmaxCrossEntropy(), x, [0, 1, 0, 1])
    lines = step.to_text().splitlines()
    assert max(map(len, lines)) <= 130
    found = matrices(step.to_text())
    assert found["z(2)"][0] == "a(1) W(2) + b(2)"
    assert found["f'(z(1))"][0] == "Phi(z(1)) + z(1) x phi(z(1))"
    page = step.to_html()
    assert page.count("<details>") == page.count("<summary>") == len(found)
    assert r"W^{(2)\,\top}" in step.to_latex()
    many = explain_step(model, dn.SoftmaxCrossEntropy(), np.repeat(x, 20, axis=0), [0, 1, 0, 1] * 20).to_text()
    assert "... 72 more rows" in many
    assert len(many.splitlines()) < 280


def test_the_first_line_says_whose_error_it_is():
    model, loss = CASES["binary"]()
    x, y = np.ones((3, 2)), [0, 1, 1]
    first = str(explain_step(model, loss, x, y)).splitlines()[0]
    assert "the whole batch of 3 rows (for row 0 of x alone: x[:1], y[:1])" in first
    assert "row 0 of x, the only one" in str(explain_step(model, loss, x[:1], y[:1])).splitlines()[0]


def test_the_slope_is_a_formula_with_numbers():
    step = explain_step(*notes_network())
    a = float(step.a[0][0, 2])
    line = f"f'(z(1)_3)     = a(1)_3 x (1 - a(1)_3) = {a:.6g} x {1 - a:.6g} = {a * (1 - a):.6g}"
    assert line in step.to_text()


ACTIVATIONS = [
    layer
    for layer in vars(dn).values()
    if isinstance(layer, type) and issubclass(layer, dn.Activation) and layer not in (dn.Activation, dn.PReLU)
]


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("z", [-3.7, -1.3, 0.4, 3.2])
def test_written_slopes_are_the_layers(kind, z):
    from densenet.explain.slopes import slope

    layer = kind()
    model = dn.Sequential([layer], dtype="float64")
    a = float(model.forward(np.array([[z]]))[0, 0])
    formula, numbers = slope(layer, "z", "a", z, a)
    assert formula
    shown = (numbers or formula.split(",")[0]).replace(" x ", " * ").replace("^", "**")
    value = eval(shown, {"exp": np.exp, "cos": np.cos, "a": a})
    assert value == pytest.approx(float(layer.slopes()[0, 0]), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_every_activation_is_written_out_for_a_row_and_for_a_batch(kind):
    model = dn.Sequential([dn.Dense(2, 3), kind(), dn.Dense(3, 1)], seed=0, dtype="float64")
    x = np.array([[0.5, -1.0], [0.3, 2.0]])
    one = explain_step(model, "mse", x[:1], [[1.0]]).to_text()
    assert f"f is {kind.__name__}: f(z) = " in one
    assert re.search(r"f'\(z\(1\)_2\) +=.*(=|as) ", one)
    assert matrices(explain_step(model, "mse", x, [[1.0], [0.0]]).to_text())["f'(z(1))"][0]
