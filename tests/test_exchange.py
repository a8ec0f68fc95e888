"""Models for other runtimes, and models from other libraries: the answers stay the same."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.datasets import make_multilabel_classification
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

import densenet as dn
from densenet.persistence import onnx_graph

X = (3 * np.random.default_rng(0).standard_normal((40, 6))).astype(np.float32)
NAMES = """Identity ReLU LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Sigmoid Tanh HardTanh
           HardSigmoid HardSwish Exp Sine Gaussian Softmax LogSoftmax""".split()
LAYERS = {name: getattr(dn, name) for name in NAMES} | {
    "steep LeakyReLU": lambda: dn.LeakyReLU(0.3),
    "ELU of 2": lambda: dn.ELU(2.0),
    "CELU of 0.5": lambda: dn.CELU(0.5),
    "Dense": lambda: dn.Dense(6, 3),
    "Dense without bias": lambda: dn.Dense(6, 3, use_bias=False),
    "BatchNorm": lambda: dn.BatchNorm(6, momentum=0.3, eps=1e-3),
    "LayerNorm": lambda: dn.LayerNorm(6, eps=1e-3),
    "RMSNorm": lambda: dn.RMSNorm(6),
    "RMSNorm with eps": lambda: dn.RMSNorm(6, eps=0.1),
    "Scale": lambda: dn.Scale(6),
    "Dropout": lambda: dn.Dropout(0.3),
    "AlphaDropout": lambda: dn.AlphaDropout(0.3),
    "GaussianNoise": lambda: dn.GaussianNoise(0.3),
    "Residual": lambda: dn.Residual([dn.Dense(6, 6), dn.Tanh(), dn.Residual([dn.ReLU()])]),
    "RobustScale": lambda: dn.layers.RobustScale(6),
    "Periodic": lambda: dn.layers.Periodic(6),
    "Embedding": lambda: dn.layers.Embedding([3, 4, 2, 5, 1, 3]),
    "Columns": lambda: dn.layers.Columns([2, 4], [[dn.layers.RobustScale(2), dn.layers.Periodic(2)], []]),
    "Blend": lambda: dn.layers.Blend(6, "mish"),
    "Clip": lambda: dn.layers.Clip([-0.5] * 6, [0.5] * 6),
    "Average": lambda: dn.layers.Average([[dn.Dense(6, 2)], [dn.Dense(6, 2), dn.Tanh()]]),
    "Mixture": lambda: dn.layers.Mixture([[dn.Dense(6, 2)], [dn.Dense(6, 2), dn.Tanh()]], "softmax"),
    "Concatenate": lambda: dn.Concatenate([[], [dn.Dense(6, 2), dn.Tanh()], [dn.Concatenate([[], []])]]),
}
FOR_TABLES = {"RobustScale", "Periodic", "Embedding", "Columns", "Blend", "Clip", "Average", "Mixture"}
NOT_IN_TORCH = {"Exp", "Sine", "Gaussian", "Scale", "GaussianNoise", "Residual", "Concatenate"} | FOR_TABLES


def trained(make, dtype="float32"):
    """A model around the layer whose numbers are not those it started with."""
    model = dn.Sequential([dn.Dense(6, 6), make()], seed=0, dtype=dtype)
    model.params += 0.3 * np.random.default_rng(1).standard_normal(model.params.shape)
    for _ in range(3):
        model.forward(X)
    return model


def same(found, expected, tolerance):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# -- ONNX ----------------------------------------------------------------------------------------------------------


def answers(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.shape for i in session.get_inputs()] == [["n", x.shape[1]]]
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_onnx_gives_every_layers_answers(layer, tmp_path):
    path = tmp_path / "model.onnx"
    for dtype in ("float32", "float64"):
        model = trained(LAYERS[layer], dtype)
        dn.to_onnx(model, path)
        for rows in (1, 7, len(X)):
            same(answers(path, X[:rows]), model.predict(X[:rows]).astype(np.float32), 1e-5)


def test_every_layer_there_is_has_an_onnx_form():
    kinds = {type(layer) for make in LAYERS.values() for top in [make()] for layer in top.walk()}
    public = {v for v in vars(dn).values() if isinstance(v, type) and issubclass(v, dn.Layer)} - {
        dn.Layer,
        dn.Activation,
    }
    public |= {getattr(dn.layers, name) for name in FOR_TABLES}
    assert kinds == public == set(onnx_graph._FORMS)


def test_an_onnx_file_is_plain_and_complete(tmp_path):
    path = tmp_path / "mlp.onnx"
    dn.to_onnx(dn.mlp([6, 5, 2], dropout=0.5, seed=0), path)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    assert [node.op_type for node in made.graph.node] == ["Gemm", "Relu", "Gemm", "Identity"]
    assert {c.data_type for c in made.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert made.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 2
    dn.to_onnx(dn.Sequential([dn.Tanh()]), path)  # any width
    session = onnxruntime.InferenceSession(path)
    same(session.run(None, {"x": X})[0], np.tanh(X), 1e-6)


def test_extreme_values_stay_finite_in_onnx(tmp_path):
    x = np.array([[-1e30, -1e4, -100, 100, 1e4, 1e30]], np.float32)
    for layer in (
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Exp",
        "Gaussian",
        "Softmax",
        "LogSoftmax",
        "HardSwish",
        "GELU",
        "Mish",
    ):
        model = dn.Sequential([LAYERS[layer](), dn.Scale(6)])
        dn.to_onnx(model, tmp_path / "m.onnx")
        same(answers(tmp_path / "m.onnx", x), model.predict(x), 1e-5)


def test_what_has_no_onnx_form_is_named(tmp_path):
    class Cube(dn.Activation):
        def value(self, x, out, work):
            np.power(x, 3, out=out)

        def slope(self, x, y, out, work):
            out[...] = 3 * x**2

    with pytest.raises(TypeError, match=r"to_onnx knows no ONNX form of Cube\(\)\."):
        dn.to_onnx(dn.Sequential([dn.Residual([Cube()])]), tmp_path / "cube.onnx")
    with pytest.raises(TypeError, match="to_onnx expects a Sequential, got 1"):
        dn.to_onnx(1, tmp_path / "one.onnx")
    assert not any(tmp_path.iterdir())


def test_a_graph_that_answers_wrongly_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setitem(onnx_graph._FORMS, dn.Tanh, onnx_graph._operator("Softsign"))
    with pytest.raises(ArithmeticError, match=r"the graph's answers differ from the model's by .* Nothing was written"):
        dn.to_onnx(dn.mlp([6, 5, 2], activation="tanh", seed=0), tmp_path / "wrong.onnx")
    assert not any(tmp_path.iterdir())


def test_onnx_files_are_replaced_whole_or_not_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.m\.onnx"):
        dn.to_onnx(dn.mlp([6, 2]), tmp_path / "none" / "m.onnx")


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_named(library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"to_onnx needs {library}: pip install '\.\[onnx\]'"):
        dn.to_onnx(dn.mlp([6, 2]), tmp_path / "m.onnx")


# -- PyTorch -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("layer", [name for name in LAYERS if name not in NOT_IN_TORCH])
def test_there_and_back_through_torch(layer, dtype, tolerance, torch):
    model = trained(LAYERS[layer], dtype)
    expected = model.predict(X)
    module = dn.to_torch(model)
    assert not module.training
    with torch.no_grad():
        same(module(torch.from_numpy(X.astype(dtype))).numpy(), expected, tolerance)
    back = dn.from_torch(module)
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back.params, model.params)
    np.testing.assert_array_equal(back.predict(X), expected)


@pytest.mark.parametrize("layer", sorted(NOT_IN_TORCH))
def test_what_torch_has_not_is_named(layer, torch):
    with pytest.raises(TypeError, match=rf"to_torch knows no counterpart of {layer}\("):
        dn.to_torch(dn.Sequential([LAYERS[layer]()]))


def test_a_module_of_torch_becomes_a_model(torch):
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, affine=False), nn.Hardtanh()),
        nn.LayerNorm(5, elementwise_affine=False),
        nn.LayerNorm(5, bias=False),
        nn.RMSNorm(5, elementwise_affine=False),
        nn.Linear(5, 2),
        nn.Softmax(dim=-1),
    )
    for _ in range(3):
        module(torch.from_numpy(X))
    module[5].bias.requires_grad_(False)
    model = dn.from_torch(module.eval())
    with torch.no_grad():
        same(model.predict(X), module(torch.from_numpy(X)).numpy(), 1e-5)
    *_, dense, _ = model.layers
    assert not dense.marks["b"].trainable
    assert dense.marks["W"].trainable
    kept = [
        model.layers[1].gamma,
        model.layers[1].beta,
        model.layers[3].gamma,
        model.layers[4].beta,
        model.layers[5].gamma,
    ]
    before = [array.copy() for array in kept]
    dn.Trainer(model, "categorical_crossentropy", "sgd").step(X, np.arange(40) % 2)
    for array, old in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert dn.from_torch(nn.Tanh()).predict([[0.5]]) == pytest.approx(np.tanh(0.5))
    assert not dn.to_torch(model)[6].bias.requires_grad


def test_a_module_and_its_model_share_no_memory_and_torchs_draws_go_on(torch):
    torch.manual_seed(0)
    expected = torch.rand(3)
    model = dn.mlp([6, 2], seed=0)
    torch.manual_seed(0)
    module = dn.to_torch(model)
    assert torch.equal(torch.rand(3), expected)
    back = dn.from_torch(module)
    before = model.params.copy()
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_array_equal(model.params, before)
    np.testing.assert_array_equal(back.params, before)


def test_settings_that_differ_are_refused(torch):
    nn = torch.nn
    for module, match in (
        (nn.Conv1d(1, 1, 1), "knows no counterpart of Conv1d"),
        (nn.GELU(approximate="tanh"), "with approximate='tanh': densenet has 'none'"),
        (nn.Hardtanh(-2, 1), "with min_val=-2"),
        (nn.Softplus(beta=2), "with beta=2"),
        (nn.Softplus(threshold=5), "densenet's Softplus is exact everywhere"),
        (nn.PReLU(3), "with num_parameters=3"),
        (nn.Softmax(dim=0), "with dim=0"),
        (nn.LayerNorm((2, 3)), "normalizes rows of one dimension"),
        (nn.BatchNorm1d(3, track_running_stats=False), "with track_running_stats=False"),
        (nn.BatchNorm1d(3, momentum=None), "need a momentum"),
        (torch.nn.ModuleList([nn.ReLU()]), "knows no counterpart of ModuleList"),
    ):
        with pytest.raises(TypeError, match=match):
            dn.from_torch(nn.Sequential(module))
    shared = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="got one that stands twice"):
        dn.from_torch(nn.Sequential(shared, nn.ReLU(), shared))
    with pytest.raises(ValueError, match=r"of one dtype, float32 or float64, got \['torch.float16'\]"):
        dn.from_torch(nn.Linear(2, 2).half())
    with pytest.raises(TypeError, match=r"from_torch expects a torch\.nn\.Module, got 1"):
        dn.from_torch(1)
    with pytest.raises(TypeError, match="to_torch expects a Sequential, got 1"):
        dn.to_torch(1)


def test_torch_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="to_torch needs PyTorch: pip install torch"):
        dn.to_torch(dn.mlp([1, 1]))
    with pytest.raises(ImportError, match="from_torch needs PyTorch: pip install torch"):
        dn.from_torch(None)


# -- scikit-learn --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_fitted_perceptrons_of_scikit_learn(activation, dtype):
    x = X.astype(dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    options = {"hidden_layer_sizes": (7, 4), "activation": activation, "max_iter": 5, "random_state": 0}
    words = np.array(["b", "c", "a"])[np.arange(40) % 3]
    classifier = MLPClassifier(**options).fit(x, words)
    model = dn.from_sklearn(classifier)
    assert repr(model.layers[-1]) == "Softmax()"
    same(model.predict(x), classifier.predict_proba(x), tolerance)
    assert (classifier.classes_[model.predict(x).argmax(axis=1)] == classifier.predict(x)).all()
    binary = MLPClassifier(**options).fit(x, words == "a")
    same(dn.from_sklearn(binary).predict(x)[:, 0], binary.predict_proba(x)[:, 1], tolerance)
    _, labels = make_multilabel_classification(40, 6, n_classes=3, random_state=0)
    several = MLPClassifier(**options).fit(x, labels)
    same(dn.from_sklearn(several).predict(x), several.predict_proba(x), tolerance)
    for y in (x[:, 0], x[:, :2]):
        regressor = MLPRegressor(**options).fit(x, y)
        same(dn.from_sklearn(regressor).predict(x).reshape(y.shape), regressor.predict(x).reshape(y.shape), tolerance)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_poisson_regressor_of_scikit_learn():
    if "loss" not in MLPRegressor().get_params():
        pytest.skip("scikit-learn has it from version 1.7 on")
    regressor = MLPRegressor(hidden_layer_sizes=(4,), loss="poisson", max_iter=5, random_state=0)
    regressor.fit(X, np.arange(40) % 3)
    model = dn.from_sklearn(regressor)
    assert repr(model.layers[-1]) == "Exp()"
    same(model.predict(X)[:, 0], regressor.predict(X), 1e-5)


def test_other_estimators_are_refused(monkeypatch):
    with pytest.raises(TypeError, match="from_sklearn expects a fitted MLPClassifier or MLPRegressor, got Pipeline"):
        dn.from_sklearn(make_pipeline(MLPClassifier()))
    with pytest.raises(
        ValueError, match=r"from_sklearn expects a fitted estimator, got MLPRegressor\(\): call fit first"
    ):
        dn.from_sklearn(MLPRegressor())
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ImportError, match=r"from_sklearn needs scikit-learn: pip install '\.\[sklearn\]'"):
        dn.from_sklearn(None)
