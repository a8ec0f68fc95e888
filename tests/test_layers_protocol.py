"""What people write themselves, and what they do to a model's layers: the contract, copies, names, arrays."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import densenet as dn
from densenet._blas import products

X = np.random.default_rng(0).normal(size=(6, 3))


def trained(dtype="float64"):
    model = dn.Sequential(
        [
            dn.Dense(3, 4),
            dn.BatchNorm(4),
            dn.Residual([dn.Dense(4, 4), dn.Dropout(0.1)]),
            dn.Concatenate([[dn.Dense(4, 2)], [dn.Tanh()]]),
            dn.Dense(6, 2),
        ],
        seed=0,
        dtype=dtype,
    )
    model.layers[0].freeze("W")
    dn.Trainer(model, "mse", "adam").fit(X, X[:, :2], epochs=2, seed=0)
    return model


# -- layers stay -----------------------------------------------------------------------------------------------------


def test_layers_are_a_tuple_and_cannot_be_exchanged_in_place():
    model = trained()
    before = model.predict(X)
    with pytest.raises(TypeError):
        model.layers[1] = dn.Tanh()
    with pytest.raises(AttributeError, match=r"deepcopy\(model\.layers"):
        model.layers = [dn.Dense(3, 1)]
    with pytest.raises(TypeError):
        model.layers[2].layers[0] = dn.Tanh()
    with pytest.raises(AttributeError, match=r"Residual\.layers cannot be replaced"):
        model.layers[2].layers = ()
    with pytest.raises(AttributeError, match=r"Concatenate\.branches cannot be replaced"):
        model.layers[3].branches = ()
    assert isinstance(model.layers[3].branches, tuple)
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(model.forward(X, training=False), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layers: pickle.loads(pickle.dumps(layers))])
def test_copied_layers_keep_weights_statistics_and_marks(copied):
    model = trained()
    made = dn.Sequential([*copied(model.layers[:-1]), dn.Dense(6, 5)], seed=7, dtype="float64")
    for a, b in zip(made.every_layer[:-1], model.every_layer[:-1], strict=True):
        assert a is not b
        for name in b.parameter_shapes():
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert np.shares_memory(getattr(a, name), made.params)
        for name, array in b.state.items():
            np.testing.assert_array_equal(a.state[name], array)
        assert a.marks == b.marks
    head = dn.Sequential([dn.Dense(6, 5)], seed=7, dtype="float64")
    np.testing.assert_array_equal(made.layers[-1].W, head.layers[0].W)  # new ones are drawn as ever
    np.testing.assert_array_equal(made.activations(X)[-2], model.activations(X)[-2])
    dn.Trainer(made, "mse", "sgd").fit(X, X[:, :1] @ np.ones((1, 5)), epochs=1, seed=0)
    np.testing.assert_array_equal(made.layers[0].W, model.layers[0].W)  # frozen
    assert not np.array_equal(made.layers[2].layers[0].W, model.layers[2].layers[0].W)


def test_copied_layers_change_their_dtype_with_the_model():
    model = trained("float64")
    made = dn.Sequential(copy.deepcopy(model.layers), dtype="float32")
    np.testing.assert_allclose(made.predict(X), model.predict(X), atol=1e-5)
    assert {array.dtype for layer in made.every_layer for array in layer.state.values()} == {np.dtype("float32")}


def test_a_copy_reads_its_weights_before_it_joins_a_model():
    model = trained()
    layer = copy.deepcopy(model.layers[0])
    np.testing.assert_array_equal(layer.W, model.layers[0].W)
    layer.W[...] = 0
    assert model.layers[0].W.any()
    again = dn.Sequential([copy.deepcopy(layer)])
    assert not again.layers[0].W.any()


def test_layers_of_another_model_are_refused_with_the_remedy():
    model = trained()
    with pytest.raises(ValueError, match=r"pass copy\.deepcopy\(layer\), which keeps its weights"):
        dn.Sequential([*model.layers[:-1], dn.Dense(6, 3)])


def test_new_layers_that_are_copied_are_drawn_as_if_they_were_not():
    layers = [dn.Dense(3, 4), dn.Tanh(), dn.Dense(4, 1)]
    copied = copy.deepcopy(layers)
    np.testing.assert_array_equal(dn.Sequential(layers, seed=1).params, dn.Sequential(copied, seed=1).params)


def test_copies_of_a_model_are_of_its_size():
    model = dn.mlp([100, 200, 10], seed=0)
    assert len(pickle.dumps(model)) < 1.01 * model.params.nbytes + 4000
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.params, model.params)
    assert all(np.shares_memory(layer.W, again.params) for layer in again.dense_layers)


# -- a layer without a bias ------------------------------------------------------------------------------------------


def test_a_parameter_that_a_layer_was_made_without_is_none():
    for layer in (dn.Dense(2, 3, use_bias=False), dn.Sequential([dn.Dense(2, 3, use_bias=False)]).layers[0]):
        assert layer.b is None
        assert layer.db is None
        assert hasattr(layer, "b")
        with pytest.raises(AttributeError, match="has no b: it was made without"):
            layer.b = [1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match="has no b yet"):
        _ = dn.Dense(2, 3).b


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_refuse_to_write_to_a_copy(dtype):
    blas, a = products(dtype), np.ones((3, 3), dtype)
    wide = np.zeros((3, 6), dtype)
    for product in (blas.nn, blas.tn, blas.nt):
        for out in (wide[:, ::2], wide[:, :3], np.zeros((3, 3), dtype).T):
            with pytest.raises(ValueError, match="C-contiguous"):
                product(a, a, out, 0.0)
        with pytest.raises(ValueError, match="C-contiguous"):
            product(a, a, np.zeros((3, 3), "float16"), 0.0)
    for sums in (blas.column_sums, blas.row_sums):
        with pytest.raises(ValueError, match="C-contiguous"):
            sums(a, a[0], wide[0, ::2])
    assert not wide.any()
    blas.nn(a, a, out := np.zeros((3, 3), dtype), 0.0)
    np.testing.assert_array_equal(out, 3)


# -- a layer of one's own --------------------------------------------------------------------------------------------


class Doubled(dn.Layer):
    def forward(self, x, training=True):
        return 2 * x

    def infer(self, x, out=None):
        return np.multiply(x, 2, out=out)

    def backward(self, delta):
        return 2 * delta


class IgnoresOut(Doubled):
    def infer(self, x, out=None):
        return 2 * x


class NoOut(Doubled):
    def infer(self, x):
        return 2 * x


class OtherInfer(Doubled):
    def infer(self, x, out=None):
        return np.multiply(x, 3, out=out)


class WritesX(Doubled):
    def forward(self, x, training=True):
        x *= 2
        return x


class InferWritesX(Doubled):
    def infer(self, x, out=None):
        x *= 2
        return np.multiply(x, 1, out=out)


class NarrowDelta(Doubled):
    def backward(self, delta):
        return 2 * delta[:, :1]


class NoDelta(Doubled):
    def backward(self, delta):
        return None


class Counts(Doubled):
    state_names = ("seen",)

    def reset_state(self, dtype):
        self.seen = np.zeros(1, dtype)

    def infer(self, x, out=None):
        self.seen += len(x)
        return np.multiply(x, 2, out=out)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (IgnoresOut, "does not write its result to out"),
        (NoOut, r"infer\(x, out\) fails"),
        (OtherInfer, "differs from forward"),
        (WritesX, "forward writes to x"),
        (InferWritesX, "infer writes to x"),
        (Counts, "infer changes the layer's statistics"),
    ],
)
def test_gradcheck_names_a_broken_contract(kind, said, inside):
    layer = dn.Residual([kind()]) if inside else kind()
    model = dn.Sequential([dn.Dense(3, 2), layer], seed=0)
    report = dn.gradcheck(model, "mse", X, X[:, :2])
    assert not report
    assert [kind.__name__ in sentence for sentence in report.broken].count(True) >= 1
    with pytest.raises(AssertionError, match=said):
        assert not report.broken, str(report)


@pytest.mark.parametrize(("kind", "said"), [(NarrowDelta, r"shape \(6, 1\)"), (NoDelta, "returns None")])
def test_gradcheck_names_a_delta_of_the_wrong_shape(kind, said):
    model = dn.Sequential([dn.Dense(3, 2), kind()], seed=0)
    with pytest.raises(AssertionError, match=said):
        assert dn.gradcheck(model, "mse", X, X[:, :2])


def test_every_layer_of_the_project_keeps_the_contract():
    for layer in (Doubled(), dn.Dropout(0.3), dn.GaussianNoise(0.1), dn.LayerNorm(4), dn.PReLU(), dn.LogSoftmax()):
        model = dn.Sequential([dn.Dense(3, 4), layer, dn.Concatenate([[], [dn.BatchNorm(4)]])], seed=0)
        assert not dn.gradcheck(model, "mse", X, np.ones((6, 8))).broken


def test_predict_takes_the_result_of_an_infer_that_ignores_out():
    model = dn.Sequential([dn.Dense(3, 2), IgnoresOut()], seed=0, dtype="float64")
    np.testing.assert_array_equal(model.predict(X), model.forward(X, training=False))


def test_arrays_without_a_name_are_warned_of():
    class Kept(Doubled):
        def __init__(self):
            self.scale = np.ones(3)

    class Given(Doubled):
        def __init__(self, scale):
            self.scale = np.asarray(scale, float)

    with pytest.warns(UserWarning, match=r"Kept\(\) holds scale but names no parameters"):
        dn.Sequential([Kept()])
    with pytest.warns(UserWarning, match="holds scale"):
        dn.Sequential([dn.Residual([Kept()])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dn.Sequential([Given([1.0, 2.0, 3.0])])
        dn.Sequential([dn.mlp([3, 2], batch_norm=True).layers[0].__class__(3, 2), dn.Dropout(0.1), Counts()])


# -- names -----------------------------------------------------------------------------------------------------------


def test_a_registered_class_goes_by_its_name():
    @dn.register
    class SoftTwice(dn.Activation):
        def value(self, x, out, work):
            np.multiply(x, 2, out=out)

        def slope(self, x, y, out, work):
            out[...] = 2

    @dn.register
    class HalfError(dn.ElementwiseLoss):
        def value(self, p, t):
            return (p - t) ** 2

        def slope(self, p, t):
            return 2 * (p - t)

    assert isinstance(dn.mlp([2, 3, 1], activation="soft_twice").layers[1], SoftTwice)
    assert isinstance(dn.losses.get("half_error"), HalfError)
    with pytest.raises(ValueError, match="soft_twice"):
        dn.mlp([2, 3, 1], activation="soft_thrice")

    class Swish(Doubled):
        pass

    with pytest.raises(ValueError, match="'Swish' already names SiLU"):
        dn.register(Swish)


def test_a_class_that_the_package_exports_goes_by_its_name():
    spoken = {
        dn.losses: [*"mse mae huber poisson hinge logcosh binary_crossentropy kl_divergence".split()],
        dn.optimizers: "sgd adam adamw rmsprop nadam lion Adam".split(),
        dn.metrics: "acc accuracy auc roc_auc f1 top_k_accuracy".split(),
        dn.initializers: "he_normal zeros glorot_uniform lecun_normal nguyen_widrow".split(),
    }
    for module, names in spoken.items():
        for name in names:
            assert type(module.get(name)).__name__ in module.__dict__
    for module, base in ((dn.losses, dn.Loss), (dn.optimizers, dn.Optimizer), (dn.initializers, dn.Initializer)):
        for name in module.__all__:
            cls = getattr(module, name)
            if isinstance(cls, type) and issubclass(cls, base) and cls.__init__ is not object.__init__:
                assert module.NAMES.known(name) in (cls, None)
