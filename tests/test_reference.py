"""The plain loops themselves: beside PyTorch's stored values, finite differences, and numbers worked out by hand.

Everything else is compared with `reference`, so it is compared with what it does not share a line with.
"""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
import reference
from sklearn import metrics

HERE = Path(__file__).parent
with np.load(HERE / "data" / "torch_reference.npz", allow_pickle=False) as file:
    TORCH = dict(file)

RNG = np.random.default_rng(0)
Z = TORCH["activation/x"]


def children(prefix):
    """The names right below `prefix`, in order."""
    names = (key[len(prefix) :].split("/")[0] for key in TORCH if key.startswith(prefix))
    return list(dict.fromkeys(names))


def stored(prefix):
    """The arrays right below `prefix`, by name."""
    return {
        key[len(prefix) :]: value
        for key, value in TORCH.items()
        if key.startswith(prefix) and "/" not in key[len(prefix) :]
    }


def assert_close(actual, desired, tolerance=1e-12):
    """Equal but for `tolerance` times the largest entry; zeros must be zeros."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    np.testing.assert_allclose(actual, desired, rtol=0, atol=tolerance * np.abs(desired).max(initial=0))


# -- the files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reference.py", "make_torch_reference.py"])
def test_the_reference_shares_nothing_with_the_package(name):
    imported = set()
    for node in ast.walk(ast.parse((HERE / name).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "densenet").split(".")[0])
    assert "numpy" in imported
    assert "densenet" not in imported


def test_stored_values_are_small_float64_and_say_their_version():
    assert (HERE / "data" / "torch_reference.npz").stat().st_size < 200_000
    assert str(TORCH["torch_version"]).split(".")[0].isdigit()
    assert {array.dtype.kind for array in TORCH.values()} == {"f", "i", "U"}
    assert all(array.dtype == np.float64 for array in TORCH.values() if array.dtype.kind == "f")


# -- functions of one number -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "points"),
    [
        (reference.exp, [-700.0, -1.0, 0.0, 1e-9, 3.0]),
        (reference.expm1, [-700.0, -1.0, 0.0, 1e-9, 3.0]),
        (reference.log, [1e-12, 0.5, 1.0, 1e4]),
        (reference.log1p, [-0.5, 0.0, 1e-20, 1e-9, 3.0]),
        (reference.sqrt, [1e-12, 0.5, 1e4]),
        (reference.sin, [-30.0, 0.0, 1e-9, 2.0]),
        (reference.sinh, [-30.0, 0.0, 1e-9, 2.0]),
        (reference.tanh, [-700.0, 0.0, 1e-9, 2.0]),
        (reference.erfc, [-30.0, 0.0, 1e-9, 2.0, 20.0]),
        (reference.absolute, [-2.0, 0.0, 2.0]),
    ],
)
def test_complex_form_agrees_with_the_real_one(f, points):
    for x in points:
        assert f(complex(x, reference.STEP)).real == pytest.approx(f(x), rel=1e-13, abs=1e-59)  # h^2 is 1e-60


def test_complex_functions_agree_with_their_definitions_off_the_axis():
    for z in (0.3 + 0.4j, -0.2 - 1.5j, 0.9j):
        assert reference.expm1(z) == pytest.approx(reference.exp(z) - 1, rel=1e-14)
        assert reference.log1p(z) == pytest.approx(reference.log(1 + z), rel=1e-14)


# -- activations -------------------------------------------------------------------------------------------------

STORED_ACTIVATIONS = [name for name in children("activation/") if f"activation/{name}/derivative" in TORCH]


def test_every_activation_is_there():
    untold = {"Identity", "Exp", "Sine", "Gaussian"}  # PyTorch has no class for these, or nothing to compare
    assert set(STORED_ACTIVATIONS) | untold == set(reference.ACTIVATIONS)
    assert set(reference.ROW_ACTIVATIONS) == {"Softmax", "LogSoftmax"}


@pytest.mark.parametrize("largest", [1e-3, 10, 1000])
@pytest.mark.parametrize("name", STORED_ACTIVATIONS)
def test_activation_is_pytorchs(name, largest):
    chosen = np.abs(Z) < largest
    value = [reference.ACTIVATIONS[name](z) for z in Z[chosen].tolist()]
    derivative = [reference.slope(name, z) for z in Z[chosen].tolist()]
    assert_close(value, TORCH[f"activation/{name}/value"][chosen])
    tolerance = 1e-7 if name == "HardSigmoid" else 1e-12  # PyTorch's slope is 1/6 rounded to float32
    assert_close(derivative, TORCH[f"activation/{name}/derivative"][chosen], tolerance)


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_slope_is_the_difference_quotient(name):
    h = 1e-5
    for z in (-4.2, -2.0, -0.6, 0.3, 0.8, 1.7, 3.6):
        f = reference.ACTIVATIONS[name]
        assert reference.slope(name, z) == pytest.approx((f(z + h) - f(z - h)) / (2 * h), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "z", "value", "slope"),
    [
        ("Identity", {}, -2.5, -2.5, 1.0),
        ("Exp", {}, 1.0, math.e, math.e),
        ("Sine", {}, math.pi / 6, 0.5, math.sqrt(3) / 2),
        ("Gaussian", {}, -2.0, math.exp(-4), 4 * math.exp(-4)),
        ("LeakyReLU", {"slope": 0.2}, -2.0, -0.4, 0.2),
        ("PReLU", {"a": 0.5}, -2.0, -1.0, 0.5),
        ("ELU", {"alpha": 2.0}, -1.0, 2 / math.e - 2, 2 / math.e),
        ("CELU", {"alpha": 2.0}, -2.0, 2 / math.e - 2, 1 / math.e),
    ],
)
def test_activation_by_hand(name, options, z, value, slope):
    assert reference.ACTIVATIONS[name](z, **options) == pytest.approx(value, rel=1e-14)
    assert reference.slope(name, z, **options) == pytest.approx(slope, rel=1e-14)


def test_prelu_slope_gradient_is_pytorchs():
    a, delta, da = (TORCH[f"activation/PReLU/{key}"] for key in ("a", "delta", "da"))
    _, gradients, _ = reference.backprop_dense([("PReLU", {"a": float(a[0])})], Z, lambda _: delta)
    assert_close(gradients[0]["a"], da[0])
    whole = reference.complex_step_gradient(
        lambda a: sum(d * reference.prelu(z, complex(a[0])) for z, d in zip(Z.tolist(), delta.tolist(), strict=True)), a
    )
    assert_close(whole, da)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_row_activation_is_pytorchs(name):
    s = stored(f"activation/{name}/")
    for row in range(len(s["x"])):
        x, delta = s["x"][row : row + 1], s["delta"][row]
        assert_close(reference.activation(x, name)[0], s["value"][row])
        dx = reference.complex_step_gradient(lambda x, d=delta: (d * reference.activation(x, name)).sum(), x)
        np.testing.assert_allclose(dx[0], s["dx"][row], rtol=0, atol=1e-12 * np.abs(delta).max())


# -- layers ------------------------------------------------------------------------------------------------------


def layer_gradients(f, delta, **arguments):
    """dE/d(argument) of E = sum(delta f(...)) by the complex step, for every argument."""
    return {
        name: reference.complex_step_gradient(lambda v, name=name: (delta * f(**arguments | {name: v})).sum(), value)
        for name, value in arguments.items()
    }


def test_batch_norm_in_training_is_pytorchs():
    s = stored("layer/BatchNorm/")
    mean, variance = np.zeros(5), np.ones(5)
    for batch in "123":
        x = s["x" + batch]
        assert_close(reference.batch_norm(x, s["gamma"], s["beta"]), s["value" + batch])
        mean, variance = reference.running_statistics(x, mean, variance)
        assert_close(mean, s["mean" + batch])
        assert_close(variance, s["variance" + batch])
    gradients = layer_gradients(reference.batch_norm, s["delta"], x=s["x3"], gamma=s["gamma"], beta=s["beta"])
    for name, gradient in gradients.items():
        assert_close(gradient, s["d" + name])


def test_batch_norm_with_running_statistics_is_pytorchs():
    s, e = stored("layer/BatchNorm/"), stored("layer/BatchNorm/eval/")

    def f(x, gamma, beta):
        return reference.batch_norm_running(x, gamma, beta, s["mean3"], s["variance3"])

    arguments = {"x": e["x"], "gamma": s["gamma"], "beta": s["beta"]}
    assert_close(f(**arguments), e["value"])
    for name, gradient in layer_gradients(f, e["delta"], **arguments).items():
        assert_close(gradient, e["d" + name])


def test_one_row_leaves_the_running_variance_alone():
    mean, variance = reference.running_statistics([[3.0, 4.0]], [1.0, 0.0], [2.0, 5.0], momentum=0.5)
    assert mean.tolist() == [2.0, 2.0]
    assert variance.tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("name", "f"), [("LayerNorm", reference.layer_norm), ("RMSNorm", reference.rms_norm)], ids=["LayerNorm", "RMSNorm"]
)
def test_row_normalization_is_pytorchs(name, f):
    s = stored(f"layer/{name}/")
    arguments = {key: s[key] for key in ("x", "gamma", "beta") if key in s}
    assert_close(f(**arguments), s["value"])
    for key, gradient in layer_gradients(f, s["delta"], **arguments).items():
        assert_close(gradient, s["d" + key])


def test_rms_norm_takes_eps():
    assert reference.rms_norm([[3.0, 4.0]], [1.0, 2.0], eps=3.5).tolist() == [[0.75, 2.0]]  # 12.5 + 3.5 = 4^2


def test_dense_scale_residual_concatenate_by_hand():
    x, W, b = [[1, 2], [0, -1]], [[1, 0, 2], [3, 1, -1]], [10, 20, 30]
    assert reference.dense(x, W, b).tolist() == [[17, 22, 30], [7, 19, 31]]
    assert reference.dense(x, W).tolist() == [[7, 2, 0], [-3, -1, 1]]
    assert reference.scale(x, [2, 3]).tolist() == [[2, 6], [0, -3]]
    assert reference.scale(x, [2, 3], [1, -1]).tolist() == [[3, 5], [1, -4]]
    assert reference.residual(x, lambda x: reference.scale(x, [2, 3])).tolist() == [[3, 8], [0, -4]]
    branches = [lambda x: x, lambda x: reference.dense(x, [[1], [1]])]
    assert reference.concatenate(x, branches).tolist() == [[1, 2, 3], [0, -1, -1]]


# -- losses ------------------------------------------------------------------------------------------------------

LOSS_CASES = [f"{name}/{case}" for name in children("loss/") for case in children(f"loss/{name}/")]


@pytest.mark.parametrize("case", LOSS_CASES)
def test_loss_is_pytorchs(case):
    name, variant = case.split("/")
    s = stored(f"loss/{case}/")
    options = {"label_smoothing": 0.1} if "smoothed" in variant else {}
    arguments = (s["prediction"], s["target"], s.get("weight"))
    assert_close(reference.LOSSES[name](*arguments, **options), s["value"])
    assert_close(reference.loss_delta(name, *arguments, **options), s["gradient"])


LOSS_EXAMPLES = {
    "MeanSquaredError": (RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), {}),
    "HalfSquaredError": (RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), {}),
    "MeanAbsoluteError": (RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), {}),
    "Huber": (2 * RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), {"delta": 0.7}),
    "LogCosh": (3 * RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), {}),
    "Quantile": (RNG.normal(size=(3, 2)), RNG.normal(size=3), {"q": [0.1, 0.7]}),
    "PoissonNLL": (RNG.normal(size=(3, 4)), RNG.integers(0, 5, (3, 4)), {}),
    "GaussianNLL": (RNG.normal(size=(3, 4)), RNG.normal(size=(3, 2)), {}),
    "KLDivergence": (
        np.log(RNG.dirichlet(np.ones(4), 3)),
        np.vstack([np.eye(4)[:1], RNG.dirichlet(np.ones(4), 2)]),
        {},
    ),
    "Hinge": (2 * RNG.normal(size=(3, 4)), RNG.integers(0, 2, (3, 4)), {}),
    "SquaredHinge": (2 * RNG.normal(size=(3, 4)), RNG.integers(0, 2, (3, 4)), {}),
    "SigmoidCrossEntropy": (2 * RNG.normal(size=(3, 4)), RNG.random((3, 4)), {}),
    "SoftmaxCrossEntropy": (2 * RNG.normal(size=(3, 4)), np.array([3, 0, 1]), {"label_smoothing": 0.2}),
    "BinaryCrossEntropy": (RNG.uniform(0.1, 0.9, (3, 4)), RNG.random((3, 4)), {}),
    "CategoricalCrossEntropy": (RNG.dirichlet(5 * np.ones(4), 3), np.array([3, 0, 1]), {"label_smoothing": 0.2}),
    "FocalLoss": (2 * RNG.normal(size=(3, 4)), np.array([3, 0, 1]), {"gamma": 1.5}),
}


def test_every_loss_has_an_example():
    assert list(LOSS_EXAMPLES) == list(reference.LOSSES)
    assert set(children("loss/")) <= set(reference.LOSSES)


@pytest.mark.parametrize("name", reference.LOSSES)
def test_loss_delta_is_the_difference_quotient(name):
    prediction, target, options = LOSS_EXAMPLES[name]
    weight = [0.5, 2.0, 1.0]
    delta = reference.loss_delta(name, prediction, target, weight, **options)
    error = reference.LOSSES[name]
    numeric = reference.central_difference(lambda p: error(p, target, weight, **options), prediction)
    assert_close(delta, numeric, 1e-7)
    assert np.abs(delta * 1.001 - numeric).max() > 1e-7 * np.abs(numeric).max()


@pytest.mark.parametrize("name", reference.LOSSES)
def test_weights_repeat_samples(name):
    prediction, target, options = LOSS_EXAMPLES[name]
    error = reference.LOSSES[name]
    rows = [0, 0, 0, 2]
    repeated = error(prediction[rows], target[rows], **options)
    assert error(prediction, target, [3, 0, 1], **options) == pytest.approx(repeated, rel=1e-14)


def test_losses_by_hand():
    error = reference.LOSSES
    p, t = [[1.0, -3.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 4.0]]  # differences 1, -4, 0, -2
    assert error["MeanSquaredError"](p, t) == 21 / 4
    assert error["HalfSquaredError"](p, t) == 21 / 4  # 1/2 of the sum over two outputs: the same here
    assert error["HalfSquaredError"]([[3.0]], [1.0]) == 2
    assert error["MeanAbsoluteError"](p, t) == 7 / 4
    assert error["Huber"](p, t) == (0.5 + 3.5 + 0 + 1.5) / 4
    assert error["Huber"](p, t, delta=3) == (0.5 + 7.5 + 0 + 2) / 4
    logcosh = np.log(np.cosh([1, -4, 0, -2])).mean()
    assert error["LogCosh"](p, t) == pytest.approx(logcosh, rel=1e-14)
    assert error["LogCosh"]([[1e-9]], [0.0]) == pytest.approx(0.5e-18, rel=1e-14, abs=0)
    assert error["LogCosh"]([[1e4]], [0.0]) == 1e4 - math.log(2)
    assert error["Quantile"]([[1.0, 5.0]], [3.0], q=[0.25, 0.75]) == (0.25 * 2 + 0.25 * 2) / 2
    assert error["Quantile"]([[1.0, 5.0]], [[3.0, 4.0]], q=0.25) == (0.25 * 2 + 0.75 * 1) / 2
    assert error["Hinge"]([[0.5, 2.0], [-1.0, 0.25]], [[1, 1], [0, 0]]) == (0.5 + 0 + 0 + 1.25) / 4
    assert error["Hinge"]([[0.5, 2.0], [-1.0, 0.25]], [[1, 1], [-1, -1]]) == (0.5 + 0 + 0 + 1.25) / 4
    assert error["SquaredHinge"]([[0.5, 2.0], [-1.0, 0.25]], [[1, 1], [0, 0]]) == (0.25 + 0 + 0 + 1.5625) / 4
    assert error["PoissonNLL"]([[0.0, 1.0]], [[2.0, 3.0]]) == (1 + math.e - 3) / 2
    assert error["GaussianNLL"]([[1.0, math.log(4)]], [3.0]) == pytest.approx(0.5 * (math.log(4) + 1), rel=1e-15)
    assert error["KLDivergence"](np.log([[0.25, 0.75]]), [[0.0, 1.0]]) == pytest.approx(math.log(4 / 3), rel=1e-15)
    for target in ([1], [[0.0, 1.0, 0.0]]):
        assert error["CategoricalCrossEntropy"]([[0.5, 0.25, 0.25]], target) == math.log(4)
        logits = np.log([[0.5, 0.25, 0.25]])
        assert error["SoftmaxCrossEntropy"](logits, target) == pytest.approx(math.log(4), rel=1e-15)
        assert error["FocalLoss"](logits, target) == pytest.approx(0.75**2 * math.log(4), rel=1e-15)
        assert error["FocalLoss"](logits, target, gamma=0) == pytest.approx(math.log(4), rel=1e-15)


def test_losses_of_certainty_are_finite():
    error = reference.LOSSES
    assert error["BinaryCrossEntropy"]([[0.0, 1.0]], [[0, 1]]) == 0
    assert error["BinaryCrossEntropy"]([[0.0, 1.0]], [[1, 0]]) == 100
    assert error["CategoricalCrossEntropy"]([[0.0, 1.0]], [0]) == 100
    assert error["CategoricalCrossEntropy"]([[1e-42, 1.0]], [0]) == -math.log(1e-42)  # 96.7: not bounded yet
    assert error["SigmoidCrossEntropy"]([[1e4, -1e4]], [[1, 0]]) == 0
    assert error["SigmoidCrossEntropy"]([[1e4, -1e4]], [[0, 1]]) == 1e4
    assert error["FocalLoss"]([[1e4, -1e4]], [0]) == 0
    assert error["FocalLoss"]([[1e4, -1e4]], [1]) == 2e4


@pytest.mark.parametrize(
    ("name", "prediction", "target"),
    [("MeanAbsoluteError", 2.0, 2.0), ("Quantile", 2.0, 2.0), ("Hinge", -1.0, 0), ("SquaredHinge", -1.0, 0)],
)
def test_slope_at_a_kink_is_zero(name, prediction, target):
    assert reference.loss_delta(name, [[prediction]], [target]).tolist() == [[0.0]]


def test_losses_are_scikit_learns():
    error = reference.LOSSES
    margin, sign = RNG.normal(size=9), RNG.integers(0, 2, 9)
    assert error["Hinge"](margin, sign) == pytest.approx(metrics.hinge_loss(sign, margin), rel=1e-14)
    for q in (0.2, 0.5):
        expected = metrics.mean_pinball_loss(sign, margin, alpha=q)
        assert error["Quantile"](margin, sign, q=q) == pytest.approx(expected, rel=1e-14)
    p = RNG.dirichlet(np.ones(4), 9)
    classes, weight = RNG.integers(0, 4, 9), RNG.random(9)
    expected = metrics.log_loss(classes, p, sample_weight=weight, labels=range(4))
    assert error["CategoricalCrossEntropy"](p, classes, weight) == pytest.approx(expected, rel=1e-14)
    assert error["SoftmaxCrossEntropy"](np.log(p), classes, weight) == pytest.approx(expected, rel=1e-14)


# -- the chain ---------------------------------------------------------------------------------------------------


def chain(params):
    """A chain of every kind that has parameters; `params` (44,) real or complex."""
    sizes = {"W": (3, 4), "b": (4,), "gamma": (4,), "beta": (4,), "R": (4, 4), "s": (4,)}
    arrays, at = {}, 0
    for name, shape in sizes.items():
        arrays[name] = params[at : at + math.prod(shape)].reshape(shape)
        at += math.prod(shape)
    assert at == len(params)
    return [
        ("Dense", {"W": arrays["W"], "b": arrays["b"]}),
        ("BatchNorm", {"gamma": arrays["gamma"], "beta": arrays["beta"]}),
        ("Tanh", {}),
        ("Residual", {"layers": [("Dense", {"W": arrays["R"]}), ("GELU", {})]}),
        ("LayerNorm", {"gamma": arrays["gamma"], "beta": arrays["beta"]}),
        ("Concatenate", {"branches": [[], [("Scale", {"gamma": arrays["s"]}), ("ELU", {"alpha": 0.5})]]}),
        ("RMSNorm", {"gamma": np.linspace(0.5, 2, 8)}),
        ("BatchNorm", {"gamma": np.ones(8), "beta": np.ones(8), "mean": np.arange(8), "variance": np.arange(1, 9)}),
    ]


def test_complex_step_through_every_kind_of_layer():
    params, x, y = RNG.normal(size=44), RNG.normal(size=(5, 3)), RNG.integers(0, 8, 5)
    weight = RNG.random(5)

    def error(p):
        return reference.network_error(chain(p), "SoftmaxCrossEntropy", x, y, weight, label_smoothing=0.1)

    step, numeric = reference.complex_step_gradient(error, params), reference.central_difference(error, params)
    assert_close(step, numeric, 1e-7)
    spoilt = step.copy()
    spoilt[np.abs(step).argmax()] *= 1.001
    assert np.abs(spoilt - numeric).max() > 1e-7 * np.abs(numeric).max()


def test_gradients_by_hand():
    def f(p):
        return p[0, 0] ** 3 * p[0, 1] + p[1, 0] / p[1, 1]

    at, expected = [[2.0, 5.0], [3.0, 4.0]], [[60.0, 8.0], [0.25, -0.1875]]
    assert_close(reference.complex_step_gradient(f, at), expected, 1e-15)
    assert_close(reference.central_difference(f, at), expected, 1e-9)
    assert_close(reference.central_difference(f, at, h=0.1), [[60.05, 8.0], [0.25, -0.1875]], 1e-4)  # + h^2 p_01


def test_backprop_by_hand():
    layers = [("Dense", {"W": [[1.0, -1.0]], "b": [0.5, 0.0]}), ("ReLU", {}), ("Dense", {"W": [[2.0], [3.0]]})]
    # x = 2: z = (2.5, -2), a = (2.5, 0), y = 5; x = -1: z = (-0.5, 1), a = (0, 1), y = 3
    output, gradients, dx = reference.backprop_dense(layers, [[2.0], [-1.0]], lambda y: y)
    assert output.tolist() == [[5.0], [3.0]]
    assert gradients[2]["W"].tolist() == [[12.5], [3.0]]  # a^T y
    assert list(gradients[2]) == ["W"]
    assert gradients[1] == {}
    assert gradients[0]["W"].tolist() == [[20.0, -9.0]]  # x^T (y W^T where z > 0): rows (10, 0) and (0, 9)
    assert gradients[0]["b"].tolist() == [10.0, 9.0]
    assert dx.tolist() == [[10.0], [-9.0]]


@pytest.mark.parametrize("loss", ["MeanSquaredError", "SoftmaxCrossEntropy", "SigmoidCrossEntropy"])
@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_backprop_is_the_complex_step(name, loss):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(4, 3)), np.eye(2)[rng.integers(0, 2, 4)]
    weight = rng.random(4)
    flat = rng.normal(size=3 * 3 + 3 + 3 * 2 + 2)

    def layers(p):
        return [
            ("Dense", {"W": p[:9].reshape(3, 3), "b": p[9:12]}),
            (name, {}),
            ("Dense", {"W": p[12:18].reshape(3, 2), "b": p[18:]}),
        ]

    output, gradients, dx = reference.backprop_dense(
        layers(flat), x, lambda p: reference.loss_delta(loss, p, y, weight)
    )
    whole = np.concatenate([gradients[i][key].ravel() for i in (0, 2) for key in ("W", "b")])
    assert_close(output, reference.forward(layers(flat), x), 1e-15)
    expected = reference.complex_step_gradient(lambda p: reference.network_error(layers(p), loss, x, y, weight), flat)
    assert_close(whole, expected)
    expected = reference.complex_step_gradient(lambda x: reference.network_error(layers(flat), loss, x, y, weight), x)
    assert_close(dx, expected)


# -- optimizers --------------------------------------------------------------------------------------------------


def test_lion_by_hand():
    # c = 0.5 m + 0.5 g, m <- 0.75 m + 0.25 g, p <- p - 0.1 (sign c + 0.5 p)
    grads = [[4.0, -4.0, 0.0], [-2.0, -4.0, 0.0], [-0.5, 12.0, 0.0]]
    # weight 0: c = 2, m = 1; c = -0.5, m = 0.25; c = -0.125
    # weight 1: c = -2, m = -1; c = -2.5, m = -1.75; c = 5.125
    expected = np.array([1.0, 1.0, 1.0])
    for signs in ([1, -1, 0], [-1, -1, 0], [-1, 1, 0]):
        expected = expected - 0.1 * (np.array(signs) + 0.5 * expected)
    result = reference.lion_reference([1.0, 1.0, 1.0], grads, learning_rate=0.1, betas=(0.5, 0.75), weight_decay=0.5)
    np.testing.assert_allclose(result, expected, rtol=1e-15)


def replay(update, n_steps=100):
    """The parameters after every step of the stored problem."""
    A, c, p = (TORCH[f"optimizer/problem/{key}"] for key in ("A", "c", "p0"))
    amplitude, frequency = (float(TORCH[f"optimizer/problem/{key}"]) for key in ("amplitude", "frequency"))
    path = {}
    for t in range(1, n_steps + 1):
        g = [
            sum(A[i, j] * p[j] for j in range(len(p))) - c[i] + amplitude * math.sin(frequency * t + i)
            for i in range(len(p))
        ]
        p = update(t, p, np.array(g))
        path[t] = p
    return path


@pytest.mark.parametrize("name", ["sgd", "adam_decay"])
def test_stored_optimizer_paths_can_be_replayed(name):
    settings = json.loads(str(TORCH[f"optimizer/{name}/settings"]))
    lr = settings["lr"]
    moments = {"m": 0.0, "v": 0.0}

    def sgd(t, p, g):
        return p - lr * g

    def adam(t, p, g):
        g = g + settings["weight_decay"] * p
        moments["m"] = 0.9 * moments["m"] + 0.1 * g
        moments["v"] = 0.999 * moments["v"] + 0.001 * g * g
        return p - lr * (moments["m"] / (1 - 0.9**t)) / (np.sqrt(moments["v"] / (1 - 0.999**t)) + 1e-8)

    path = replay({"SGD": sgd, "Adam": adam}[settings["class"]])
    for t in (1, 2, 10, 100):
        assert_close(path[t], TORCH[f"optimizer/{name}/step{t}"])


def test_every_optimizer_moves_in_its_own_way():
    names = [name for name in children("optimizer/") if name != "problem"]
    assert len(names) == 20
    ends = [TORCH[f"optimizer/{name}/step100"] for name in names]
    for i, end in enumerate(ends):
        assert all(np.abs(end - other).max() > 1e-5 for other in ends[:i]), names[i]


def test_stored_schedules_by_hand():
    rates = {name: TORCH[f"schedule/{name}/rate"] for name in children("schedule/")}
    t = np.arange(61)
    expected = {
        "step": 0.1 * 0.5 ** (t // 10),
        "exponential": 0.1 * 0.95**t,
        "polynomial_linear": 0.1 * np.maximum(1 - t / 50, 0),
        "polynomial_square": 0.1 * np.maximum(1 - t / 50, 0) ** 2,
        "cosine": 0.05 * (1 + np.cos(np.pi * t / 60)),
        "cosine_floor": 0.01 + 0.045 * (1 + np.cos(np.pi * t / 60)),
        "cosine_restarts": 0.05 * (1 + np.cos(np.pi * (t % 20) / 20)),
        "cosine_restarts_doubling": np.concatenate(
            [0.01 + 0.045 * (1 + np.cos(np.pi * np.arange(n) / n)) for n in (8, 16, 32, 64)]
        )[:61],
    }
    for name, rate in expected.items():
        assert_close(rates[name], rate)
    for name, peak in {"one_cycle": 0.3 * 60 - 1, "one_cycle_early": 0.1 * 60 - 1}.items():
        assert len(rates[name]) == 60
        assert rates[name].argmax() == peak
        assert_close(rates[name][[0, int(peak), -1]], [0.1 / 25, 0.1, 0.1 / 25 / 1e4])


@pytest.mark.parametrize("case", ["above", "below"])
def test_stored_clipping_by_hand(case):
    s = stored(f"clip_grad_norm/{case}/")
    norm = math.sqrt(sum(g * g for g in s["gradient"].tolist()))
    assert_close(norm, s["norm"])
    assert (norm > s["max_norm"]) == (case == "above")
    assert_close(s["clipped"], s["gradient"] * min(1, s["max_norm"] / (norm + 1e-6)))
