from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import densenet as dn

PROMISED = """
Dense Identity ReLU LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Sigmoid Tanh HardTanh HardSigmoid
HardSwish Exp Sine Gaussian Softmax LogSoftmax BatchNorm LayerNorm RMSNorm Scale Dropout AlphaDropout GaussianNoise
Residual Concatenate mlp MeanSquaredError HalfSquaredError MeanAbsoluteError Huber LogCosh Quantile PoissonNLL
GaussianNLL KLDivergence Hinge SquaredHinge SigmoidCrossEntropy SoftmaxCrossEntropy BinaryCrossEntropy
CategoricalCrossEntropy FocalLoss SGD RMSprop Adagrad Adadelta Adam AdamW Adamax NAdam RAdam Lion Rprop StepDecay
ExponentialDecay PolynomialDecay InverseTimeDecay CosineDecay CosineRestarts Warmup OneCycle Trainer EarlyStopping
ReduceLROnPlateau CSVLogger StopAt TimeLimit WeightAverage LambdaCallback Sequential gradcheck threads datasets
Accuracy load route explain_step sensitivity diagnose_gradients jacobian
""".split()


def test_all_is_sorted_and_complete():
    assert list(dn.__all__) == sorted(dn.__all__)
    public = {name for name, value in vars(dn).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public - {"annotations"} <= set(dn.__all__)
    for name in dn.__all__:
        assert getattr(dn, name) is not None


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_there(name):
    assert name in dn.__all__
    assert hasattr(dn, name)


@pytest.mark.parametrize("name", [n for n in dn.__all__ if callable(getattr(dn, n)) and n != "__version__"])
def test_every_public_name_is_documented(name):
    text = inspect.getdoc(getattr(dn, name)) or ""
    assert len(text) > 40, f"{name} has no docstring"
    if inspect.isclass(getattr(dn, name)) and issubclass(getattr(dn, name), Exception):
        return
    assert ">>>" in text or "::" in text, f"{name} shows no example"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Dnse'"):
        _ = dn.Dnse


def test_the_project_speaks_of_itself_alone():
    root = Path(__file__).resolve().parent.parent
    paths = [
        p
        for p in root.rglob("*")
        if p.suffix in {".py", ".md", ".toml"}
        and not any(part.startswith((".venv", "venv", "build", "dist", "node_modules")) for part in p.parts)
    ]
    pattern = re.compile(r"/" + r"work/|/" + r"root/|pypi\." + "org|files\\.python" + "hosted")
    for path in paths:
        assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_everything_can_be_imported_without_scikit_learn():
    hide = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'sklearn':\n"
        "            raise ModuleNotFoundError(\"No module named 'sklearn'\", name='sklearn')\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'sklearn' else found(name, *a)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from densenet import *\n"
        "import densenet\n"
        "try:\n"
        "    densenet.DenseClassifier\n"
        "except ImportError as error:\n"
        "    print(Dense.__name__, error)\n"
    )
    result = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "Dense densenet.DenseClassifier needs scikit-learn: pip install '.[sklearn]'"
