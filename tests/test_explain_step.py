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


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_every_equation_comes_true_when_calculated(name, rows):
    """The numbers on each line, put into Python, give the value at its end."""
    model, loss = CASES[name]()
    rng = np.random.default_rng(2)
    y = (
        rng.integers(0, 3, rows)
        if loss.task == "classification"
        else rng.integers(0, 2, (rows, model.n_out)).astype(float)
    )
    text = explain_step(model, loss, rng.normal(size=(rows, 2)), y).to_text()
    checked = 0
    for line in text.splitlines():
        sides = re.split(r" +(?:= )", line.strip())
        numbers = [side for side in sides[1:] if re.fullmatch(r"[-+x*/().\de^ ]+", side.split("   ")[0])]
        if len(numbers) >= 2:
            left, right = (
                side.split("   ")[0].replace(" x ", " * ").replace("^", "**").replace("/2 (", "/2 * (")
                for side in numbers[-2:]
            )
            left = re.sub(r"(\d) \(", r"\1 * (", left)
            assert eval(left) == pytest.approx(float(right), rel=2e-4, abs=2e-5), line
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
    assert "exp(y^_2) / (exp(y^_1) + exp(y^_2) + exp(y^_3)) = exp(" in row
    assert f"{p[1]:.6g}" in row
    error = next(line for line in lines if line.strip().startswith("E "))
    assert f"-log(p_2) = -log({p[1]:.6g}) = {-np.log(p[1]):.6g}" in error
    assert "y^ are logits here" in text


def test_sigmoid_and_its_error_are_written_out():
    model = dn.mlp([2, 1], seed=0, dtype="float64")
    x = np.array([[1.0, 2.0], [0.5, -1]])
    text = explain_step(model, dn.SigmoidCrossEntropy(), x, [1, 0]).to_text()
    p = 1 / (1 + np.exp(-model.predict(x)[:, 0]))
    assert f"-log(p_1) = -log({p[0]:.6g}) = {-np.log(p[0]):.6g}" in text
    assert f"-log(1 - p_1) = -log({1 - p[1]:.6g}) = {-np.log(1 - p[1]):.6g}" in text


def test_the_slope_is_a_formula_with_numbers():
    step = explain_step(*notes_network())
    a = float(step.a[0][0, 2])
    line = f"f'(z(1)_3)     = a(1)_3 x (1 - a(1)_3) = {a:.6g} x {1 - a:.6g} = {a * (1 - a):.6g}"
    assert line in step.to_text()


@pytest.mark.parametrize(
    "name", "Sigmoid Tanh ReLU LeakyReLU ELU HardTanh HardSigmoid Softsign Softplus Sine Gaussian Exp".split()
)
@pytest.mark.parametrize("z", [-1.3, 0.4])
def test_written_slopes_are_the_layers(name, z):
    from densenet.explain.slopes import slope

    layer = getattr(dn, name)()
    model = dn.Sequential([layer], dtype="float64")
    a = float(model.forward(np.array([[z]]))[0, 0])
    formula, numbers = slope(layer, "z", "a", z, a)
    shown = (numbers or formula.split(",")[0]).replace(" x ", " * ").replace("^", "**")
    value = eval(shown, {"exp": np.exp, "cos": np.cos, "a": a})
    assert value == pytest.approx(float(layer.slopes()[0, 0]), rel=1e-5)
