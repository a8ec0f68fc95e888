from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import densenet as dn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))

ACTIVATIONS = """
Identity ReLU LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish Softplus Softsign Sigmoid Tanh HardTanh HardSigmoid
HardSwish Exp Sine Gaussian Softmax LogSoftmax
""".split()
LOSSES = {
    dn.MeanSquaredError(): RNG.normal(size=(4, 2)),
    dn.HalfSquaredError(): RNG.normal(size=(4, 2)),
    dn.MeanAbsoluteError(): RNG.normal(size=(4, 2)),
    dn.Huber(): 3 * RNG.normal(size=(4, 2)),
    dn.LogCosh(): RNG.normal(size=(4, 2)),
    dn.Quantile([0.1, 0.9]): RNG.normal(size=(4, 1)),
    dn.PoissonNLL(): RNG.poisson(2, size=(4, 2)),
    dn.GaussianNLL(): RNG.normal(size=(4, 1)),
    dn.Hinge(): RNG.integers(0, 2, size=(4, 2)),
    dn.SquaredHinge(): RNG.integers(0, 2, size=(4, 2)),
    dn.SigmoidCrossEntropy(): RNG.integers(0, 2, size=(4, 2)),
    dn.SoftmaxCrossEntropy(): RNG.integers(0, 2, size=4),
    dn.SoftmaxCrossEntropy(label_smoothing=0.1): RNG.integers(0, 2, size=4),
    dn.FocalLoss(): RNG.integers(0, 2, size=4),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name):
    model = dn.Sequential([dn.Dense(3, 5), getattr(dn, name)(), dn.Dense(5, 2)], seed=1)
    report = dn.gradcheck(model, "mse", X, RNG.normal(size=(4, 2)), tolerance=1e-7)
    assert report, str(report)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss(loss, weighted):
    model = dn.Sequential([dn.Dense(3, 4), dn.Tanh(), dn.Dense(4, 2)], seed=1)
    weight = [0.5, 0.0, 2.0, 1.0] if weighted else None
    report = dn.gradcheck(model, loss, X, LOSSES[loss], sample_weight=weight, tolerance=1e-7)
    assert report, str(report)


@pytest.mark.parametrize(
    ("last", "loss", "y"),
    [
        ("Sigmoid", dn.BinaryCrossEntropy(), RNG.integers(0, 2, size=(4, 2))),
        ("Softmax", dn.CategoricalCrossEntropy(), RNG.integers(0, 2, size=4)),
        ("LogSoftmax", dn.KLDivergence(), RNG.dirichlet([1, 1], size=4)),
    ],
)
def test_losses_of_probabilities(last, loss, y):
    model = dn.Sequential([dn.Dense(3, 2), getattr(dn, last)()], seed=1)
    assert dn.gradcheck(model, loss, X, y, tolerance=1e-7)


@pytest.mark.parametrize("training", [True, False])
def test_every_other_layer(training):
    model = dn.Sequential(
        [
            dn.Dense(3, 6, kernel_l1=0.01, kernel_l2=0.02),
            dn.BatchNorm(6),
            dn.Tanh(),
            dn.Residual([dn.Dense(6, 6), dn.LayerNorm(6), dn.PReLU()]),
            dn.Dropout(0.3),
            dn.AlphaDropout(0.2),
            dn.Concatenate([[], [dn.Dense(6, 3), dn.GELU()], [dn.RMSNorm(6), dn.Scale(6)]]),
            dn.GaussianNoise(0.1),
            dn.Dense(15, 2),
        ],
        seed=0,
    )
    model.forward(X)
    report = dn.gradcheck(model, "mse", X, RNG.normal(size=(4, 2)), training=training, tolerance=1e-7)
    assert report, str(report)


def wrong(layer_class, factor):
    class Wrong(layer_class):
        def backward_parameters(self, delta):
            layer_class.backward_parameters(self, delta)
            self.dW[...] *= factor

    Wrong.__name__ = layer_class.__name__
    return Wrong


def test_a_gradient_wrong_by_a_tenth_of_a_percent_is_caught_and_named():
    model = dn.Sequential([dn.Dense(3, 4), dn.Tanh(), wrong(dn.Dense, 1.001)(4, 4), dn.Tanh(), dn.Dense(4, 2)], seed=0)
    report = dn.gradcheck(model, "mse", X, RNG.normal(size=(4, 2)))
    assert not report
    assert (report.first_wrong.layer, report.first_wrong.parameter) == (2, "W")
    assert 5e-4 < report.first_wrong.error < 2e-3
    assert "WRONG: dE/dW of layer 2, Dense(4, 4)," in str(report)
    assert "WRONG" in report._repr_html_()


def test_a_wrong_slope_is_blamed_on_what_follows_it_backwards():
    class Bent(dn.Activation):
        def value(self, x, out, work):
            np.tanh(x, out=out)

        def slope(self, x, y, out, work):
            out[...] = 1.001 * (1 - y * y)

    model = dn.Sequential([dn.Dense(3, 4), Bent(), dn.Dense(4, 2)], seed=0)
    report = dn.gradcheck(model, "mse", X, RNG.normal(size=(4, 2)))
    assert not report
    assert report.first_wrong.layer == 0
    assert [row.error <= report.tolerance for row in report.rows if row.layer == 2] == [True, True]


def test_one_wrong_entry_is_found():
    class Typo(dn.Dense):
        def backward_parameters(self, delta):
            dn.Dense.backward_parameters(self, delta)
            self.dW[2, 1] = -self.dW[2, 1]

    model = dn.Sequential([Typo(3, 2)], seed=0)
    report = dn.gradcheck(model, "mse", X, RNG.normal(size=(4, 2)))
    assert report.first_wrong.worst == (2, 1)
    assert report.first_wrong.analytic == pytest.approx(-report.first_wrong.numeric, rel=1e-6)


def test_kinks_are_recognised_and_do_not_hide_mistakes():
    model = dn.Sequential([dn.Dense(2, 2), dn.ReLU(), dn.Dense(2, 1)], seed=0)
    model.dense_layers[0].W = [[1.0, -1.0], [1.0, 1.0]]
    model.dense_layers[0].b = [0.0, 0.0]
    x = [[0.5, -0.5]]  # the first neuron's z is exactly 0
    report = dn.gradcheck(model, "mse", x, [[3.0]])
    assert report, str(report)
    assert sum(row.kinks for row in report.rows) > 0


def test_kinks_nearby_are_not_taken_for_mistakes():
    model = dn.Sequential([dn.Dense(1, 40), dn.ReLU(), dn.Dense(40, 1)], seed=3)
    model.dense_layers[0].b = np.linspace(-1e-3, 1e-3, 40)
    assert dn.gradcheck(model, "mse", [[1e-5]], [[1.0]])


def test_nothing_of_the_model_changes():
    model = dn.Sequential([dn.Dense(3, 4), dn.BatchNorm(4), dn.Dropout(0.5), dn.Dense(4, 2)], seed=0)
    twin = model.astype("float32")
    model.forward(X)
    twin.forward(X)
    params, grads, mean = model.params.copy(), model.grads.copy(), model.layers[1].running_mean.copy()
    dn.gradcheck(model, "mse", X, np.zeros((4, 2)))
    assert_array_equal(model.params, params)
    assert_array_equal(model.grads, grads)
    assert_array_equal(model.layers[1].running_mean, mean)
    assert_array_equal(model.forward(X), twin.forward(X))


def test_bad_input():
    model = dn.mlp([3, 2])
    with pytest.raises(ValueError, match=r"gradcheck expects x of shape \(n, 3\), got \(4, 2\)"):
        dn.gradcheck(model, "mse", X[:, :2], np.zeros((4, 2)))
    with pytest.raises(ValueError, match="as many targets as rows, got x"):
        dn.gradcheck(model, "mse", X, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="tolerance"):
        dn.gradcheck(model, "mse", X, np.zeros((4, 2)), tolerance=0)
    with pytest.raises(ValueError, match="x holds NaN at row 0"):
        dn.gradcheck(model, "mse", X * np.nan, np.zeros((4, 2)))
