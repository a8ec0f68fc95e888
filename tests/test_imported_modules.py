"""What a foreign model really does: it becomes a model with the same answers, or it is refused."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import densenet as dn

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.utils.prune")
nn = torch.nn
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}
REFUSALS = (TypeError, ValueError, ArithmeticError)


def around(layer, width=6):
    """A chain with the layer in its middle."""
    return nn.Sequential(nn.Linear(5, 6), layer, nn.Linear(width, 3))


def linear(change):
    """A chain whose second layer is a Linear that `change` has been applied to."""
    layer = nn.Linear(6, 6)
    made = change(layer)
    return around(made if isinstance(made, nn.Module) else layer)


def lasso(layer, name):
    return nn.utils.parametrizations.weight_norm(layer, name)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * nn.Linear.forward(self, x)


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


def pruned_and_made_plain(layer):
    nn.utils.prune.l1_unstructured(layer, "weight", 0.5)
    nn.utils.prune.remove(layer, "weight")


def spectral_and_made_plain(layer):
    nn.utils.parametrizations.spectral_norm(layer)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")


def old_norm_and_made_plain(layer):
    nn.utils.weight_norm(layer)
    nn.utils.remove_weight_norm(layer)


def own_parametrization(layer):
    nn.utils.parametrize.register_parametrization(layer, "weight", Twice())


def plain_tensor(layer):
    weight = layer.weight.detach() * 2
    del layer.weight
    layer.weight = weight


def shadowed(layer):
    vars(layer)["weight"] = layer.weight.detach() * 2


def extra(layer):
    layer.register_parameter("scale", nn.Parameter(torch.ones(6)))


def one_row(layer):
    layer.weight = nn.Parameter(torch.ones(1, 6))


def one_bias(layer):
    layer.bias = nn.Parameter(torch.ones(1))


def own_forward(layer):
    layer.forward = lambda x: 2 * x


def views_of_a_vector():
    chain = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    vector = torch.linspace(-1, 1, sum(p.numel() for p in chain.parameters()))
    nn.utils.vector_to_parameters(vector, chain.parameters())
    return chain


def tied(by_memory):
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = nn.Parameter(first.weight.data) if by_memory else first.weight
    return nn.Sequential(nn.Linear(5, 6), first, nn.Tanh(), second)


def used_twice():
    shared = nn.Linear(5, 5)
    return nn.Sequential(shared, nn.Tanh(), shared)


def in_itself():
    chain = nn.Sequential(nn.Linear(5, 5))
    return chain.append(chain)


def trained(layer):
    """A layer with running statistics that are not those it started with."""
    layer.train()
    for _ in range(3):
        layer(3 * torch.randn(40, 6) + 1)
    return around(layer.eval())


def bad_statistics():
    layer = nn.BatchNorm1d(6)
    layer.running_var = None
    return around(layer)


def negative_variance():
    layer = nn.BatchNorm1d(6)
    layer.running_var.fill_(-1.0)
    return around(layer)


def settings_as_tensor():
    layer = nn.LeakyReLU()
    layer.negative_slope = torch.tensor([0.1, 0.2])
    return around(layer)


TAKEN = {
    "Linear": lambda: nn.Linear(5, 3),
    "Linear without bias": lambda: around(nn.Linear(6, 6, bias=False)),
    "Identity": lambda: around(nn.Identity()),
    "Flatten": lambda: around(nn.Flatten()),
    "nested Sequential": lambda: around(nn.Sequential(nn.Sequential(nn.Tanh(), nn.Linear(6, 6)), nn.ReLU())),
    "empty Sequential": lambda: nn.Sequential(),
    "ReLU": lambda: around(nn.ReLU()),
    "ReLU in place": lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)),
    "LeakyReLU": lambda: around(nn.LeakyReLU(0.3)),
    "PReLU": lambda: around(nn.PReLU()),
    "ELU": lambda: around(nn.ELU(2.0)),
    "SELU": lambda: around(nn.SELU()),
    "CELU": lambda: around(nn.CELU(0.5)),
    "GELU": lambda: around(nn.GELU()),
    "SiLU": lambda: around(nn.SiLU()),
    "Mish": lambda: around(nn.Mish()),
    "Softplus": lambda: around(nn.Softplus(threshold=40)),
    "Softsign": lambda: around(nn.Softsign()),
    "Sigmoid": lambda: around(nn.Sigmoid()),
    "Tanh": lambda: around(nn.Tanh()),
    "Hardtanh": lambda: around(nn.Hardtanh()),
    "Hardsigmoid": lambda: around(nn.Hardsigmoid()),
    "Hardswish": lambda: around(nn.Hardswish()),
    "Softmax": lambda: around(nn.Softmax(dim=-1)),
    "LogSoftmax": lambda: around(nn.LogSoftmax(dim=1)),
    "BatchNorm1d": lambda: trained(nn.BatchNorm1d(6, eps=1e-3, momentum=0.3)),
    "BatchNorm1d without scale": lambda: trained(nn.BatchNorm1d(6, affine=False)),
    "LayerNorm": lambda: around(nn.LayerNorm(6, eps=1e-3)),
    "LayerNorm without scale": lambda: around(nn.LayerNorm(6, elementwise_affine=False)),
    "RMSNorm": lambda: around(nn.RMSNorm(6)),
    "RMSNorm with eps": lambda: around(nn.RMSNorm(6, eps=0.1)),
    "Dropout": lambda: around(nn.Dropout(0.4)),
    "AlphaDropout": lambda: around(nn.AlphaDropout(0.4)),
    "pruned and made plain": lambda: linear(pruned_and_made_plain),
    "spectral norm made plain": lambda: linear(spectral_and_made_plain),
    "old weight norm made plain": lambda: linear(old_norm_and_made_plain),
    "views of one vector": views_of_a_vector,
    "weights set by nn.init": lambda: linear(lambda layer: nn.init.orthogonal_(layer.weight)),
    "state_dict hook": lambda: linear(lambda layer: layer.register_state_dict_pre_hook(lambda *_: None)),
}
REFUSED = {
    # nn.utils.parametrizations, nn.utils.parametrize
    "weight_norm": (lambda: linear(nn.utils.parametrizations.weight_norm), "a parametrization of weight"),
    "weight_norm of the bias": (lambda: linear(lambda m: lasso(m, "bias")), "a parametrization of bias"),
    "spectral_norm": (lambda: linear(nn.utils.parametrizations.spectral_norm), "remove_parametrizations makes it"),
    "orthogonal": (lambda: linear(nn.utils.parametrizations.orthogonal), "a parametrization of weight"),
    "own parametrization": (lambda: linear(own_parametrization), "a parametrization of weight"),
    "parametrized BatchNorm1d": (lambda: around(lasso(nn.BatchNorm1d(6), "weight")), "a parametrization of weight"),
    # nn.utils, nn.utils.prune
    "old weight_norm": (lambda: linear(nn.utils.weight_norm), "with forward_pre_hooks"),
    "old spectral_norm": (lambda: linear(nn.utils.spectral_norm), "with forward_pre_hooks"),
    "l1_unstructured": (lambda: linear(lambda m: nn.utils.prune.l1_unstructured(m, "weight", 0.5)), "prune.remove"),
    "random_unstructured": (lambda: linear(lambda m: nn.utils.prune.random_unstructured(m, "bias", 2)), "hooks"),
    "ln_structured": (lambda: linear(lambda m: nn.utils.prune.ln_structured(m, "weight", 0.5, 2, 0)), "hooks"),
    "random_structured": (lambda: linear(lambda m: nn.utils.prune.random_structured(m, "weight", 2, 1)), "hooks"),
    "pruned by nothing": (lambda: linear(lambda m: nn.utils.prune.identity(m, "weight")), "hooks"),
    # hooks by hand
    "forward hook": (lambda: linear(lambda m: m.register_forward_hook(lambda *a: 2 * a[2])), "forward_hooks"),
    "forward pre-hook": (
        lambda: linear(lambda m: m.register_forward_pre_hook(lambda m, x: (2 * x[0],))),
        "with forward_pre_hooks",
    ),
    "hook that only looks": (lambda: linear(lambda m: m.register_forward_hook(lambda *a: None)), "hooks"),
    "backward hook": (
        lambda: linear(lambda m: m.register_full_backward_hook(lambda *a: None)),
        "with backward_hooks",
    ),
    "backward pre-hook": (
        lambda: linear(lambda m: m.register_full_backward_pre_hook(lambda *a: None)),
        "with backward_pre_hooks",
    ),
    "hook on a chain": (
        lambda: (lambda m: m.register_forward_hook(lambda *a: 2 * a[2]) and m)(around(nn.ReLU())),
        "with forward_hooks",
    ),
    "hook on a gradient": (
        lambda: linear(lambda m: m.weight.register_hook(lambda g: 2 * g)),
        "hooks on its gradient",
    ),
    "hook after a gradient": (
        lambda: linear(lambda m: m.weight.register_post_accumulate_grad_hook(lambda p: None)),
        "hooks on its gradient",
    ),
    # weights that are something else
    "plain tensor": (lambda: linear(plain_tensor), "expects weight of Linear.* to be a Parameter, got a Tensor"),
    "shadowed weight": (lambda: linear(shadowed), "to be a Parameter, got a Tensor"),
    "another parameter": (lambda: linear(extra), "that holds scale, too"),
    "one row for all": (lambda: linear(one_row), r"finite numbers of shape \(6, 6\), got shape \(6, 1\)"),
    "one bias for all": (lambda: linear(one_bias), r"finite numbers of shape \(6,\), got shape \(1,\)"),
    "tied weights": (lambda: tied(False), "two that share memory"),
    "tied memory": (lambda: tied(True), "two that share memory"),
    "a layer twice": (used_twice, "stands twice"),
    "a chain in itself": (in_itself, "stands twice"),
    "half": (lambda: nn.Linear(5, 3).half(), "of one dtype"),
    "bfloat16": (lambda: nn.Linear(5, 3).bfloat16(), "of one dtype"),
    "mixed dtypes": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 3).double()), "of one dtype"),
    "mixed statistics": (lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, affine=False).double()), "one dtype"),
    "meta": (lambda: nn.Linear(5, 3, device="meta"), "plain numbers, got torch.strided on meta"),
    "sparse": (
        lambda: linear(lambda m: setattr(m, "weight", nn.Parameter(m.weight.detach().to_sparse()))),
        "plain numbers, got torch.sparse_coo",
    ),
    "NaN": (lambda: linear(lambda m: nn.init.constant_(m.weight, float("nan"))), "got NaN or infinity"),
    "overflow": (
        lambda: nn.Sequential(*(nn.Linear(5, 5) for _ in range(3))).apply(
            lambda m: isinstance(m, nn.Linear) and nn.init.constant_(m.weight, 1e30)
        ),
        "not finite|differ",
    ),
    "statistics missing": (bad_statistics, "without running_var"),
    "negative variance": (negative_variance, "answers random rows with numbers that are not finite"),
    # methods, types and settings
    "own forward": (lambda: linear(own_forward), "with methods of its own: forward"),
    "subclass": (lambda: around(Doubled(6, 6)), "no counterpart of Doubled"),
    "own module": (lambda: around(Twice()), "no counterpart of Twice"),
    "own Sequential": (lambda: type("Own", (nn.Sequential,), {})(nn.Linear(5, 3)), "no counterpart of Own"),
    "LazyLinear": (lambda: nn.LazyLinear(3), "no counterpart of LazyLinear"),
    "Bilinear": (lambda: nn.Bilinear(5, 5, 3), "no counterpart of Bilinear"),
    "RReLU": (lambda: around(nn.RReLU()), "no counterpart of RReLU"),
    "ReLU6": (lambda: around(nn.ReLU6()), "no counterpart of ReLU6"),
    "Threshold": (lambda: around(nn.Threshold(0.1, 0.0)), "no counterpart of Threshold"),
    "LogSigmoid": (lambda: around(nn.LogSigmoid()), "no counterpart of LogSigmoid"),
    "Softmin": (lambda: around(nn.Softmin(dim=1)), "no counterpart of Softmin"),
    "GLU": (lambda: around(nn.GLU(), width=3), "no counterpart of GLU"),
    "ConstantPad1d": (lambda: around(nn.ConstantPad1d(1, 0.0), width=8), "no counterpart of ConstantPad1d"),
    "Dropout1d": (lambda: around(nn.Dropout1d()), "no counterpart of Dropout1d"),
    "FeatureAlphaDropout": (lambda: around(nn.FeatureAlphaDropout()), "no counterpart of FeatureAlphaDropout"),
    "InstanceNorm1d": (lambda: around(nn.InstanceNorm1d(6)), "no counterpart of InstanceNorm1d"),
    "GroupNorm": (lambda: around(nn.GroupNorm(2, 6)), "no counterpart of GroupNorm"),
    "SyncBatchNorm": (lambda: around(nn.SyncBatchNorm(6)), "no counterpart of SyncBatchNorm"),
    "Flatten from the rows on": (lambda: nn.Sequential(nn.Flatten(0)), "with start_dim=0"),
    "BatchNorm1d of the batch": (lambda: around(nn.BatchNorm1d(6, track_running_stats=False)), "track_running_stats"),
    "GELU by tanh": (lambda: around(nn.GELU("tanh")), "approximate='tanh'"),
    "settings as tensor": (settings_as_tensor, "LeakyReLU expects negative_slope"),
    "DataParallel": (lambda: nn.DataParallel(nn.Linear(5, 3)), "no counterpart of DataParallel"),
    "traced": (lambda: torch.jit.trace(nn.Linear(5, 3), torch.ones(2, 5)), "no counterpart of|methods of its own"),
    "a hole": (lambda: nn.Sequential(nn.Linear(5, 3), None), "no counterpart of None"),
}  # fmt: skip


def as_made(make, dtype=None):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of what it would rather not have
        module = make()
        return module if dtype is None else module.to(dtype)


def test_sixty_kinds_are_tried():
    assert len(TAKEN) + len(REFUSED) > 60


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", TAKEN)
def test_a_module_that_is_taken_gives_the_modules_own_answers(name, dtype):
    module = as_made(TAKEN[name], dtype)
    if name == "empty Sequential":
        dtype = torch.float32  # it has none
    module.train()
    before = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    drawn = torch.random.get_rng_state()
    model = dn.from_torch(module)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in module.parameters())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name]), name
    module.eval()
    for scale in (1e-2, 1.0, 5.0):
        x = scale * torch.randn(50, 5, dtype=dtype)
        with torch.no_grad():
            expected = module(x.clone()).numpy()
        found = model.predict(x.numpy())
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.abs(found - expected).max() <= TOLERANCES[dtype] * np.abs(expected).max()


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_that_does_more_is_refused(name):
    make, match = REFUSED[name]
    module = as_made(make)
    drawn, modes = torch.random.get_rng_state(), [part.training for part in module.modules()]
    with pytest.raises(REFUSALS, match=match):
        dn.from_torch(module)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert [part.training for part in module.modules()] == modes


@pytest.mark.parametrize("register", [
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
])  # fmt: skip
def test_hooks_for_all_modules_are_refused(register):
    handle = getattr(nn.modules.module, register)(lambda *args: None)
    try:
        with pytest.raises(TypeError, match="expects no hooks for all modules, got some in _global_"):
            dn.from_torch(nn.Linear(5, 3))
    finally:
        handle.remove()
    assert dn.from_torch(nn.Linear(5, 3)).n_out == 3


def test_a_type_that_was_changed_under_ones_hands_is_found_by_its_answers(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x.clamp(0, 6))  # seen by large rows only
    module = as_made(lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU()))
    with pytest.raises(ArithmeticError, match=r"answers differ from those of the module by .* on random rows"):
        dn.from_torch(module)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x[:, :2])
    with pytest.raises(ArithmeticError, match=r"answers random rows with shape \(64, 2\) for \(64, 6\)"):
        dn.from_torch(module)


def test_a_layer_in_another_mode_than_the_module_is_refused():
    module = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5)).eval()
    module[1].train()  # its answers are drawn at random
    with pytest.raises(ValueError, match=r"got Dropout\(.*\) in training mode, the module in evaluation mode"):
        dn.from_torch(module)
    assert module[1].training
    frozen = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)).train()
    frozen[1].eval()
    with pytest.raises(ValueError, match=r"got BatchNorm1d\(.*\) in evaluation mode, the module in training mode"):
        dn.from_torch(frozen)
    frozen[1].train()
    frozen[0].eval()  # a mode that does nothing
    assert dn.from_torch(frozen).n_out == 6
    assert [part.training for part in frozen.modules()] == [True, False, True]


def test_softplus_is_taken_where_its_threshold_makes_no_difference():
    assert dn.from_torch(nn.Softplus()).dtype == np.float32
    with pytest.raises(TypeError, match=r"no counterpart of Softplus\(.*\) in float64: .* threshold to 40"):
        dn.from_torch(nn.Sequential(nn.Linear(5, 3), nn.Softplus()).double())


def test_autocast_and_a_default_dtype_change_nothing():
    module = as_made(lambda: around(nn.Tanh()))
    expected = dn.from_torch(module).params
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(dn.from_torch(module).params, expected)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(dn.from_torch(module).params, expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_module_compiled_in_place_is_refused():
    module = as_made(lambda: around(nn.Tanh()))
    expected = dn.from_torch(module).params
    vars(module)["_compiled_call_impl"] = module._call_impl  # as module.compile() does, without a compiler
    with pytest.raises(TypeError, match=r"compiled in place: pass copy\.deepcopy\(module\)"):
        dn.from_torch(module)
    np.testing.assert_array_equal(dn.from_torch(copy.deepcopy(module)).params, expected)


# -- scikit-learn --------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((60, 5))
Y = np.array(["b", "c", "a"])[np.arange(60) % 3]


def fitted(kind=MLPClassifier, y=Y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        return kind(**{"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0} | options).fit(X, y)


class Calibrated(MLPClassifier):
    def predict_proba(self, X):
        return MLPClassifier.predict_proba(self, X) ** 2


def tampered(change, **options):
    estimator = fitted(**options)
    change(estimator)
    return estimator


def cut(estimator):
    estimator.coefs_[1] = estimator.coefs_[1][:2]


def set_at(index, value):
    def change(estimator):
        estimator.coefs_[index] = value(estimator.coefs_[index])

    return change


def one_intercept(estimator):
    estimator.intercepts_[0] = estimator.intercepts_[0][:1]


def another_dtype(estimator):
    estimator.intercepts_[1] = estimator.intercepts_[1].astype(np.float32)


def own_method(estimator):
    estimator.predict_proba = lambda x: np.zeros((len(x), 3))


def other_classes(estimator):
    estimator.classes_ = estimator.classes_[::-1]


def other_activation(estimator):
    estimator.out_activation_ = "sine"


def fewer_layers(estimator):
    estimator.n_layers_ = 2


NOT_UNDERSTOOD = {
    "a pipeline": (lambda: make_pipeline(StandardScaler(), MLPClassifier()), "Of a pipeline give the last step"),
    "a search": (lambda: GridSearchCV(MLPClassifier(), {}), "of a search its best_estimator_"),
    "a subclass": (lambda: fitted(Calibrated), "expects a fitted MLPClassifier or MLPRegressor, got Calibrated"),
    "own method": (lambda: tampered(own_method), "without methods of its own, got predict_proba"),
    "cut weights": (lambda: tampered(cut), r"of 2 layers from 5 to 3 columns, got the shapes \[\(5, 4\), \(2, 3\)"),
    "a list": (lambda: tampered(set_at(0, np.ndarray.tolist)), r"arrays of one dtype, .* 'list'"),
    "a masked array": (lambda: tampered(set_at(0, np.ma.masked_array)), "arrays of one dtype"),
    "NaN": (lambda: tampered(set_at(1, lambda w: w * np.nan)), "NaN or infinity among them"),
    "a layer less": (lambda: tampered(lambda e: e.coefs_.pop()), "expects coefs_ and intercepts_ of 2 layers"),
    "n_layers_": (lambda: tampered(fewer_layers), "of 1 layers from 5 to 3 columns"),
    "one intercept for all": (lambda: tampered(one_intercept), r"\(1,\)"),
    "another dtype": (lambda: tampered(another_dtype), r"\['float32', 'float64'\]"),
    "half precision": (lambda: tampered(lambda e: [set_at(i, np.float16)(e) for i in (0, 1)]), "one dtype"),
    "other classes": (lambda: tampered(other_classes), "predict and predict_proba tell of different classes"),
    "another output": (lambda: tampered(other_activation), "knows the activations .* got 'sine'"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_an_estimator_that_is_not_understood_is_refused(name):
    make, match = NOT_UNDERSTOOD[name]
    with pytest.raises(REFUSALS, match=match):
        dn.from_sklearn(make())


def test_what_scikit_learn_itself_says_is_compared(monkeypatch):
    import sklearn.neural_network._multilayer_perceptron as module

    estimator = fitted(MLPRegressor, X[:, 0])
    monkeypatch.setitem(module.ACTIVATIONS, "relu", lambda x: np.clip(x, 0, 1, out=x))
    with pytest.raises(ArithmeticError, match="answers differ from those of the estimator"):
        dn.from_sklearn(estimator)


@pytest.mark.parametrize("options", [
    {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": (7, 3), "activation": "logistic"},
    {"y": Y == "a"},
    {"y": np.ones(60, int)},
    {"kind": MLPRegressor, "y": X[:, :1]},
    {"kind": MLPRegressor, "y": X[:, :2], "activation": "identity"},
], ids=str)  # fmt: skip
def test_an_estimator_that_is_taken_gives_its_own_answers(options):
    estimator = fitted(**options)
    model = dn.from_sklearn(estimator)
    if hasattr(estimator, "classes_"):
        expected = estimator.predict_proba(X)[:, -model.n_out :]
    else:
        expected = estimator.predict(X).reshape(60, -1)
    assert np.abs(model.predict(X) - expected).max() <= 1e-12 * np.abs(expected).max()


def test_an_estimator_fitted_on_a_data_frame_is_taken_without_a_warning():
    pandas = pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = MLPRegressor(max_iter=3).fit(pandas.DataFrame(X, columns=list("abcde")), X[:, 0])
    assert dn.from_sklearn(estimator).n_in == 5
