"""Losses against plain loops, the complex step, finite differences, and PyTorch's stored values."""

from __future__ import annotations

import copy
import math
import pickle
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import densenet as dn
from densenet import losses
from densenet.losses import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    ElementwiseLoss,
    FocalLoss,
    GaussianNLL,
    HalfSquaredError,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonNLL,
    Quantile,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredHinge,
)

TORCH = Path(__file__).parent / "data" / "torch_reference.npz"
NUMBERS = [MeanSquaredError, HalfSquaredError, MeanAbsoluteError, Huber, LogCosh, Quantile]
CLASSES = [getattr(losses, name) for name in losses.__all__ if name not in ("ElementwiseLoss", "Loss", "get")]
SUMS = [HalfSquaredError, KLDivergence, SoftmaxCrossEntropy, CategoricalCrossEntropy, FocalLoss]
SHAPES = [(1, 1), (1, 2), (2, 1), (3, 3), (5, 2), (4, 5), (2, 4)]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sample(kind, n, k, rng):
    """A prediction away from corners, and a target, as the loss takes them."""
    z = 2 * rng.standard_normal((n, k))
    if kind in NUMBERS:
        return z, z + rng.choice([-1, 1], (n, k)) * rng.choice([0.3, 0.7, 1.4, 3.0], (n, k))
    if kind is PoissonNLL:
        return z, rng.integers(0, 6, (n, k)).astype(float)
    if kind is GaussianNLL:
        return np.concatenate([z, rng.standard_normal((n, k))], axis=1), rng.standard_normal((n, k))
    if kind in (Hinge, SquaredHinge):
        return z, rng.choice([-1.0, 1.0], (n, k))
    if kind is SigmoidCrossEntropy:
        return z, rng.integers(0, 2, (n, k)).astype(float)
    if kind is BinaryCrossEntropy:
        return rng.uniform(0.05, 0.95, (n, k)), rng.integers(0, 2, (n, k)).astype(float)
    target = softmax(rng.standard_normal((n, k)))
    if kind is CategoricalCrossEntropy:
        return 0.9 * softmax(z) + 0.1 / k, target
    return (np.log(softmax(z)) if kind is KLDivergence else z), target


def variants(kind, n, k, rng):
    """(loss, prediction, target, options of the reference)."""
    p, t = sample(kind, n, k, rng)
    yield kind(), p, t, {}
    if kind is Huber:
        yield Huber(delta=0.5), p, t, {"delta": 0.5}
    if kind is Quantile:
        q = rng.uniform(0.05, 0.95, k).tolist()
        yield Quantile(q), p, t, {"q": q}
        if k > 1:
            yield Quantile(q), p + 0.05, t[:, :1], {"q": q}
    if kind in (SoftmaxCrossEntropy, CategoricalCrossEntropy, FocalLoss):
        yield kind(), p, rng.integers(0, k, n), {}
    if kind is SoftmaxCrossEntropy:
        yield kind(label_smoothing=0.2), p, t, {"label_smoothing": 0.2}
        yield kind(label_smoothing=0.2), p, rng.integers(0, k, n), {"label_smoothing": 0.2}
    if kind is FocalLoss:
        yield from ((FocalLoss(gamma), p, t, {"gamma": gamma}) for gamma in (0.0, 0.5, 1.0, 3.0))


def by_loops(function, kind, p, t, w, options):
    """The reference, which takes a single column of a class loss as class numbers, and q as a list."""
    k = p.shape[1]
    if kind().task == "classification" and t.ndim == 2 and k == 1:
        t = np.zeros(len(t))
    if kind is KLDivergence and k == 1:
        t = np.ones((len(t), 1))
    if kind is Quantile and not options:
        options = {"q": [0.5] * k}
    return function(p, t, w, **options)


def close(a, b, tolerance):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * max(np.abs(b).max(), 1e-300)


def delta(loss, p, t, w=None):
    loss.forward(p, t, w)
    return loss.backward()


# -- values and derivatives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_error_equals_plain_loops(kind, weighted):
    rng = np.random.default_rng(0)
    for n, k in SHAPES:
        for loss, p, t, options in variants(kind, n, k, rng):
            w = rng.uniform(0.1, 3, n) if weighted else None
            expected = by_loops(reference.LOSSES[kind.__name__], kind, p, t, w, options)
            size = max(abs(expected), np.abs(loss.per_sample(p, t)).max())
            assert abs(loss.forward(p, t, w) - expected) <= 1e-12 * size, (loss, n, k)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_delta_equals_complex_step(kind, weighted):
    rng = np.random.default_rng(1)
    for n, k in SHAPES:
        for loss, p, t, options in variants(kind, n, k, rng):
            w = rng.uniform(0.1, 3, n) if weighted else None
            expected = by_loops(partial(reference.loss_delta, kind.__name__), kind, p, t, w, options)
            # with one class the focal loss and its derivative are 0 but for rounding
            tolerance = 1e-12 * max(np.abs(expected).max(), 1e-3)
            assert np.abs(delta(loss, p, t, w) - expected).max() <= tolerance, (loss, n, k)


@pytest.mark.parametrize("kind", CLASSES)
def test_delta_equals_central_differences(kind):
    rng = np.random.default_rng(2)
    for loss, p, t, _ in variants(kind, 4, 3, rng):
        w = rng.uniform(0.1, 3, 4)
        numeric = reference.central_difference(lambda z, t=t, w=w, loss=loss: loss.forward(z, t, w), p)
        close(delta(loss, p, t, w), numeric, 1e-7)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_delta_wrong_by_a_thousandth_is_noticed(kind):
    p, t = sample(kind, 4, 3, np.random.default_rng(3))
    loss = kind()
    numeric = reference.central_difference(lambda z: loss.forward(z, t), p)
    with pytest.raises(AssertionError):
        close(1.001 * delta(loss, p, t), numeric, 1e-7)


def torch_cases():
    with np.load(TORCH) as stored:
        keys = [key for key in stored.files if key.startswith("loss/")]
        values = {key: stored[key] for key in keys}
    cases = {}
    for key, value in values.items():
        _, name, case, field = key.split("/")
        cases.setdefault((name, case), {})[field] = value
    return cases


def test_equals_stored_pytorch():
    cases = torch_cases()
    assert len(cases) > 20
    assert {name for name, _ in cases} >= {kind.__name__ for kind in CLASSES} - {
        "LogCosh",
        "Quantile",
        "Hinge",
        "SquaredHinge",
    }
    for (name, case), stored in cases.items():
        loss = getattr(losses, name)(**({"label_smoothing": 0.1} if "smoothed" in case else {}))
        error = loss.forward(stored["prediction"], stored["target"], stored.get("weight"))
        close(error, stored["value"], 1e-12)
        close(loss.backward(), stored["gradient"], 1e-12)


@pytest.mark.parametrize("kind", CLASSES)
def test_float32_stays_float32_and_equals_float64(kind):
    rng = np.random.default_rng(4)
    for loss, p, t, _ in variants(kind, 6, 3, rng):
        w = rng.uniform(0.1, 3, 6)
        single, double = (delta(loss, p.astype(dtype), t, w) for dtype in (np.float32, np.float64))
        assert single.dtype == np.float32
        assert double.dtype == np.float64
        close(single, double, 2e-5)
        assert loss.forward(p.astype(np.float32), t, w) == pytest.approx(loss.forward(p, t, w), rel=1e-5)


# -- means, sums and weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
def test_error_is_the_weighted_mean_of_samples(kind):
    rng = np.random.default_rng(5)
    p, t = sample(kind, 5, 3, rng)
    w = np.array([0.5, 0.0, 2.0, 1.0, 3.0])
    loss = kind()
    each = loss.per_sample(p, t)
    assert each.shape == (5,)
    assert loss.forward(p, t) == pytest.approx(each.mean(), rel=1e-13)
    assert loss.forward(p, t, w) == pytest.approx((w * each).sum() / 6.5, rel=1e-13)
    assert loss.total_weight == 6.5
    alone = [kind().forward(p[i : i + 1], t[i : i + 1]) for i in range(5)]
    close(each, alone, 1e-13)


@pytest.mark.parametrize("kind", CLASSES)
def test_equal_weights_are_no_weights_and_zero_weights_leave_rows_out(kind):
    rng = np.random.default_rng(6)
    p, t = sample(kind, 5, 2, rng)
    loss = kind()
    error, d = loss.forward(p, t), loss.backward()
    assert loss.forward(p, t, np.full(5, 0.7)) == pytest.approx(error, rel=1e-13)
    close(loss.backward(), d, 1e-13)
    w = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    kept = w > 0
    assert loss.forward(p, t, w) == pytest.approx(kind().forward(p[kept], t[kept]), rel=1e-13)
    d = delta(loss, p, t, w)
    close(d[kept], delta(kind(), p[kept], t[kept]), 1e-13)
    assert not d[~kept].any()


@pytest.mark.parametrize("kind", CLASSES)
def test_a_batch_of_zero_weights_has_no_error_and_no_delta(kind):
    p, t = sample(kind, 3, 2, np.random.default_rng(7))
    loss = kind()
    assert loss.error(p, loss.prepare(t, p.shape[1], p.dtype), np.zeros(3)) == 0
    assert loss.total_weight == 0
    assert not loss.delta().any()


@pytest.mark.parametrize("kind", [k for k in CLASSES if k not in SUMS and k is not GaussianNLL] + [HalfSquaredError])
def test_means_over_outputs_and_the_half_sum(kind):
    p, t = sample(kind, 4, 2, np.random.default_rng(8))
    once, twice = kind().forward(p, t), kind().forward(np.tile(p, 2), np.tile(t, 2))
    assert twice == pytest.approx(once * (2 if kind is HalfSquaredError else 1), rel=1e-13)
    assert kind().forward(np.tile(p, (3, 1)), np.tile(t, (3, 1))) == pytest.approx(once, rel=1e-13)


# -- extreme predictions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize(
    "loss",
    [
        SigmoidCrossEntropy(),
        SigmoidCrossEntropy(label_smoothing=0.1),
        SoftmaxCrossEntropy(),
        SoftmaxCrossEntropy(label_smoothing=0.1),
        FocalLoss(),
        FocalLoss(0.5),
        Hinge(),
        KLDivergence(),
        MeanAbsoluteError(),
        LogCosh(),
        Huber(),
        Quantile(0.1),
        PoissonNLL(),
    ],
    ids=repr,
)
def test_extreme_predictions_are_finite(loss, size, dtype):
    p = np.array([[size, -size, 0], [-size, -size, -size], [size, size, size], [0, size, -size]], dtype)
    if loss.task == "classification":
        targets = [[0, 1, 2, 0], [1, 0, 1, 2], np.full((4, 3), 1 / 3)]
    else:
        targets = [np.zeros((4, 3)), np.ones((4, 3)), np.tile([1.0, 0.0, 1.0], (4, 1))]
    for t in targets:
        assert math.isfinite(loss.forward(p, t))
        assert np.isfinite(loss.backward()).all()
        assert np.isfinite(loss.forward(p, t, [1.0, 0.0, 2.0, 0.5]))
        if loss.expects == "logits":
            probabilities = loss.probabilities(p)
            assert np.isfinite(probabilities).all()
            close(loss.last_probabilities(), probabilities, 1e-6)


def test_extreme_logits_by_hand():
    loss = SigmoidCrossEntropy()
    assert loss.per_sample([[1e4], [-1e4], [1e4], [-1e4]], [0, 0, 1, 1]).tolist() == [1e4, 0, 0, 1e4]
    assert loss.backward().ravel().tolist() == [0.25, 0, 0, -0.25]
    assert loss.forward([[50.0]], [1]) == pytest.approx(math.exp(-50), rel=1e-12)
    assert loss.probabilities(np.array([[-50.0]]))[0, 0] == pytest.approx(math.exp(-50), rel=1e-12)
    loss = SoftmaxCrossEntropy()
    assert loss.forward([[1e30, -1e30]], [1]) == 2e30
    assert loss.backward().tolist() == [[1, -1]]


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 0.9 * math.log(3.4028235e38)), (np.float64, 638.8)])
def test_poisson_rate_is_bounded_far_out_only(dtype, bound):
    inside = np.array([[bound - 1.0]], dtype)
    loss = PoissonNLL()
    assert loss.forward(inside, [2.0]) == pytest.approx(math.exp(inside[0, 0]), rel=1e-5)
    rates = [delta(loss, np.array([[z]], dtype), [2.0])[0, 0] for z in (bound + 1, 1e4, 1e30)]
    assert rates[0] == rates[1] == rates[2] > 0
    assert loss.estimate(np.array([[1e4]], dtype))[0, 0] == pytest.approx(rates[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_with_extreme_variances_is_finite(dtype):
    p = np.array([[1.0, 1e4], [2.0, -1e4], [1e4, -1e4], [1.0, 1e30], [3.0, -1e30]], dtype)
    loss = GaussianNLL()
    assert math.isfinite(loss.forward(p, np.zeros(5)))
    d = loss.backward()
    assert np.isfinite(d).all()
    assert d[1, 1] < 0 < d[0, 1]  # a variance too small for the deviation grows, one too large shrinks
    assert loss.forward(np.array([[0.0, -40.0]], dtype), [0.0]) == -20  # not bounded where nothing overflows


def test_probabilities_of_0_and_1_follow_bceloss():
    loss = BinaryCrossEntropy()
    p = [[0.0], [1.0], [0.0], [1.0]]
    assert loss.per_sample(p, [1, 0, 0, 1]).tolist() == [100, 100, 0, 0]
    close(loss.backward(), np.array([[-1e12], [1e12], [0], [0]]) / 4, 1e-8)
    assert loss.per_sample([[1e-50]], [1]).tolist() == [100]
    assert loss.forward(np.float32([[1e-30]]), [1]) == pytest.approx(-math.log(1e-30), rel=1e-6)
    categorical = CategoricalCrossEntropy()
    assert categorical.per_sample([[0.0, 1.0], [1.0, 0.0]], [0, 0]).tolist() == [100, 0]
    close(categorical.backward(), [[-5e11, 0], [-0.5, 0]], 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_equals_pytorch_at_the_edges(dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch itself at p = 0 and 1")
    p = np.array([[0.0, 1.0, 1e-40, 1e-13, 0.3], [1.0, 0.0, 1 - 1e-7, 1e-7, 0.5]], dtype)
    for t in (np.zeros((2, 5)), np.ones((2, 5)), np.full((2, 5), 0.3)):
        x = torch.tensor(p, requires_grad=True)
        expected = torch.nn.functional.binary_cross_entropy(x, torch.tensor(t.astype(dtype)))
        expected.backward()
        loss = BinaryCrossEntropy()
        tolerance = 1e-6 if dtype == "float32" else 1e-12
        close(loss.forward(p, t), expected.item(), tolerance)
        assert np.allclose(loss.backward(), x.grad.numpy(), rtol=tolerance, atol=0)


def test_focal_of_a_sure_answer_is_finite_for_any_gamma():
    for gamma in (0.0, 0.1, 0.5, 1.0, 2.0, 5.0):
        loss = FocalLoss(gamma)
        assert loss.forward([[800.0, 0.0, -800.0]], [0]) == 0
        assert not loss.backward().any()
        assert loss.forward([[800.0, 0.0]], [1]) == 800


# -- identities ----------------------------------------------------------------------------------------------------

LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-30, 30))
LABELS = arrays(np.int64, 3, elements=st.integers(0, 3))


@settings(max_examples=40, deadline=None)
@given(LOGITS, LABELS, st.floats(-100, 100))
def test_softmax_ignores_a_shift_and_its_delta_sums_to_0(z, y, shift):
    loss = SoftmaxCrossEntropy()
    error, d = loss.forward(z, y), loss.backward()
    assert np.abs(d.sum(axis=1)).max() < 1e-14
    assert loss.forward(z + shift, y) == pytest.approx(error, abs=1e-12)
    assert np.allclose(loss.backward(), d, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(LOGITS, LABELS, st.floats(0, 5))
def test_focal_lies_between_0_and_the_cross_entropy(z, y, gamma):
    focal, plain = FocalLoss(gamma), SoftmaxCrossEntropy()
    assert (focal.per_sample(z, y) <= plain.per_sample(z, y) * (1 + 1e-12)).all()
    assert (focal.per_sample(z, y) >= 0).all()
    assert np.abs(focal.backward().sum(axis=1)).max() < 1e-13


@settings(max_examples=40, deadline=None)
@given(LOGITS, arrays(np.float64, (3, 4), elements=st.floats(0, 1)))
def test_sigmoid_cross_entropy_is_symmetric(z, t):
    loss = SigmoidCrossEntropy()
    assert loss.forward(z, t) == pytest.approx(loss.forward(-z, 1 - t), rel=1e-12, abs=1e-12)


def test_related_losses_agree():
    rng = np.random.default_rng(9)
    z, y = 2 * rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    t = softmax(rng.standard_normal((5, 4)))
    plain = SoftmaxCrossEntropy()
    error, d = plain.forward(z, y), plain.backward()
    assert FocalLoss(gamma=0).forward(z, y) == pytest.approx(error, rel=1e-13)
    close(delta(FocalLoss(gamma=0), z, y), d, 1e-13)
    assert CategoricalCrossEntropy().forward(softmax(z), y) == pytest.approx(error, rel=1e-13)
    assert KLDivergence().forward(np.log(softmax(z)), y) == pytest.approx(error, rel=1e-13)
    entropy = -(t * np.log(t)).sum(axis=1).mean()
    assert KLDivergence().forward(np.log(softmax(z)), t) == pytest.approx(plain.forward(z, t) - entropy, rel=1e-12)
    assert abs(KLDivergence().forward(np.log(t), t)) < 1e-15
    rare = np.array([[1e-9, 1 - 1e-9]])
    assert KLDivergence().forward([[math.log(0.5)] * 2], rare) == pytest.approx(
        math.log(2) - 1e-9 * math.log(1e9 * math.e)
    )
    assert abs(KLDivergence().forward(np.log(rare), rare)) < 1e-15
    two = np.stack([np.zeros(5), z[:, 0]], axis=1)
    assert SigmoidCrossEntropy().forward(z[:, :1], y > 1) == pytest.approx(plain.forward(two, (y > 1).astype(int)))
    sigmoid = 1 / (1 + np.exp(-z))
    assert BinaryCrossEntropy().forward(sigmoid, t) == pytest.approx(SigmoidCrossEntropy().forward(z, t), rel=1e-12)
    assert Quantile(0.5).forward(z, t) == pytest.approx(MeanAbsoluteError().forward(z, t) / 2, rel=1e-13)
    assert Huber(1e6).forward(z, t) == pytest.approx(MeanSquaredError().forward(z, t) / 2, rel=1e-12)


@pytest.mark.parametrize(
    "kind", [SoftmaxCrossEntropy, SigmoidCrossEntropy, BinaryCrossEntropy, CategoricalCrossEntropy]
)
def test_label_smoothing_mixes_the_targets(kind):
    rng = np.random.default_rng(10)
    p, t = sample(kind, 5, 4, rng)
    if kind in (SoftmaxCrossEntropy, CategoricalCrossEntropy):
        t = np.eye(4)[rng.integers(0, 4, 5)]
        mixed = 0.7 * t + 0.3 / 4
        smoothed_labels = kind(label_smoothing=0.3).forward(p, t.argmax(axis=1))
        assert smoothed_labels == pytest.approx(kind().forward(p, mixed), rel=1e-12)
    else:
        mixed = 0.7 * t + 0.15
    smooth = kind(label_smoothing=0.3)
    assert smooth.forward(p, t) == pytest.approx(kind().forward(p, mixed), rel=1e-12)
    close(smooth.backward(), delta(kind(), p, mixed), 1e-12)


def test_quantile_is_least_at_the_quantile():
    t = np.random.default_rng(11).standard_normal(101)
    for q in (0.1, 0.5, 0.83):
        candidates = np.sort(t)
        errors = [Quantile(q).forward(np.full((101, 1), c), t) for c in candidates]
        assert candidates[np.argmin(errors)] == pytest.approx(np.quantile(t, q, method="inverted_cdf"))


def test_corners_have_slope_0():
    p = np.array([[1.0, 2.0]])
    for loss in (MeanAbsoluteError(), Quantile(0.2), Huber(), LogCosh()):
        assert not delta(loss, p, p).any()


# -- classes and probabilities -------------------------------------------------------------------------------------


def test_links_to_probabilities():
    z = np.array([[0.0, math.log(3)], [2.0, 2.0]])
    for loss in (SoftmaxCrossEntropy(), FocalLoss()):
        close(loss.probabilities(z), [[0.25, 0.75], [0.5, 0.5]], 1e-15)
        loss.forward(z, [0, 1])
        close(loss.last_probabilities(), [[0.25, 0.75], [0.5, 0.5]], 1e-15)
    close(SigmoidCrossEntropy().probabilities(z[:1]), [[0.5, 0.75]], 1e-15)
    p = np.array([[0.2, 0.8]])
    for loss in (BinaryCrossEntropy(), CategoricalCrossEntropy()):
        same = loss.probabilities(p)
        assert same.tolist() == p.tolist()
        assert not np.shares_memory(same, p)
        loss.forward(p, [[0, 1]])
        assert loss.last_probabilities().tolist() == p.tolist()
    close(KLDivergence().probabilities(np.log(p)), p, 1e-15)
    for kind in [*NUMBERS, PoissonNLL, GaussianNLL, Hinge, SquaredHinge]:
        with pytest.raises(TypeError, match=f"{kind.__name__} has no link to probabilities"):
            kind().probabilities(z)


def test_classes():
    z = np.array([[0.1, -3.0, 0.2], [5.0, -1.0, 0.0]])
    for loss in (SoftmaxCrossEntropy(), FocalLoss(), KLDivergence(), CategoricalCrossEntropy()):
        assert loss.classes(z).tolist() == [2, 0]
    for loss in (SigmoidCrossEntropy(), Hinge(), SquaredHinge()):
        assert loss.classes(z).tolist() == [[1, 0, 1], [1, 0, 0]]
        assert loss.classes(z[:, :1]).tolist() == [1, 1]
        assert loss.classes(z[:, 1:2]).dtype.kind == "i"
    assert BinaryCrossEntropy().classes(np.array([[0.6], [0.5]])).tolist() == [1, 0]
    with pytest.raises(TypeError, match=r"MeanSquaredError is a loss for numbers"):
        MeanSquaredError().classes(z)


def test_labels():
    soft = SoftmaxCrossEntropy()
    assert soft.labels(soft.prepare([2, 0], 3, np.float32)).tolist() == [2, 0]
    assert soft.labels(soft.prepare(np.eye(3), 3, np.float32)).tolist() == [0, 1, 2]
    for loss in (SigmoidCrossEntropy(label_smoothing=0.9), BinaryCrossEntropy(), Hinge()):
        assert loss.labels(loss.prepare([0, 1, 1], 1, np.float32)).tolist() == [0, 1, 1]
        with pytest.raises(TypeError, match=f"{type(loss).__name__} has no class number for a row of 2 0/1 columns"):
            loss.labels(loss.prepare([[0, 1]], 2, np.float32))
    with pytest.raises(TypeError, match=r"Huber has no class number for a row of 1 numbers"):
        Huber().labels(np.zeros((3, 1)))


def test_estimates_are_in_the_targets_units():
    p = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    assert MeanSquaredError().estimate(p) is p
    close(PoissonNLL().estimate(p), np.exp(p), 1e-15)
    assert GaussianNLL().estimate(p[:, :2]).tolist() == [[0], [3]]
    assert Quantile([0.9, 0.6, 0.1]).estimate(p).tolist() == [[1], [4]]
    assert Quantile(0.9).estimate(p) is p
    loss = GaussianNLL()
    loss.forward(p[:, :2], [1.0, 2.0])
    assert loss.last_prediction().tolist() == [[0], [3]]


def test_target_width():
    assert MeanSquaredError().target_width(3) == 3
    assert GaussianNLL().target_width(6) == 3
    assert Quantile([0.1, 0.9]).target_width(2) == 1
    assert Quantile(0.1).target_width(2) == Quantile([0.1]).target_width(2) == 2


# -- what goes in and comes out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
def test_inputs_are_not_written_and_outputs_are_fresh(kind):
    p, t = sample(kind, 4, 3, np.random.default_rng(12))
    w = np.ones(4)
    kept = p.copy()
    for array in (p, t, w):
        array.flags.writeable = False
    loss = kind()
    loss.forward(p, t, w)
    p = p.copy()
    loss.forward(p, t, w)
    p[...] = 0.5  # the loss has its own copy
    first = loss.backward()
    expected = first.copy()
    first[...] = 7
    assert (loss.backward() == expected).all()  # and backward leaves what it needs
    close(expected, delta(kind(), kept, t), 1e-13)
    each = loss.per_sample(kept, t)
    held = each.copy()
    loss.per_sample(kept + 0.01 if kind is not BinaryCrossEntropy else kept * 0.9, t)
    assert (each == held).all()


@pytest.mark.parametrize("kind", CLASSES)
def test_targets_of_other_kinds_give_the_same(kind):
    p, t = sample(kind, 4, 3, np.random.default_rng(13))
    error = kind().forward(p, t)
    assert kind().forward(np.asfortranarray(p), t[::-1][::-1]) == error
    assert kind().forward(p.tolist(), t.tolist()) == error
    assert kind().forward(p.astype(">f8"), t.astype(">f8")) == error


@pytest.mark.parametrize("kind", CLASSES)
def test_batches_of_changing_size_equal_fresh_losses(kind):
    rng = np.random.default_rng(14)
    loss = kind()
    for n, k, dtype in [(5, 3, "f8"), (2, 3, "f8"), (5, 3, "f4"), (7, 2, "f8"), (5, 3, "f8"), (1, 1, "f4")]:
        p, t = sample(kind, n, k, rng)
        p = p.astype(dtype)
        assert loss.forward(p, t) == kind().forward(p, t)
        assert (loss.backward() == delta(kind(), p, t)).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", CLASSES)
def test_no_working_memory_is_taken_when_the_shape_stays(kind, weighted):
    p, t = sample(kind, 600, 50, np.random.default_rng(15))
    p = p.astype(np.float32)
    loss = kind()
    t = loss.prepare(t, p.shape[1], p.dtype)
    w = np.ones(600, np.float32) if weighted else None
    for _ in range(2):
        loss.error(p, t, w)
        loss.delta()
    tracemalloc.start()
    for _ in range(3):
        loss.error(p, t, w)
        loss.delta()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # NumPy before 2.3 spreads three operands through buffers of 8192 entries; one array of this shape has 120,000 bytes
    assert peak < 3 * 8192 * p.itemsize + 5_000
    if kind in (MeanSquaredError, HalfSquaredError, SoftmaxCrossEntropy):
        assert peak < 5_000


@pytest.mark.parametrize("kind", CLASSES)
def test_copies_and_pickles_carry_the_arguments_alone(kind):
    loss = kind(**({"q": (0.2, 0.7)} if kind is Quantile else {}))
    p, t = sample(kind, 3, 2, np.random.default_rng(16))
    expected = delta(loss, p, t)
    for other in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), kind(**loss.config())):
        assert not [name for name in vars(other) if name.startswith("_")]
        assert other.config() == loss.config()
        assert (delta(other, p, t) == expected).all()
        assert (delta(loss, p, t) == expected).all()


# -- losses of one's own -------------------------------------------------------------------------------------------


class QuarticSum(Loss):
    def values(self, prediction, target, out):
        np.sum((prediction - target) ** 4, axis=1, out=out)

    def slopes(self, prediction, target, out):
        out[...] = 4 * (prediction - target) ** 3


class Quartic(ElementwiseLoss):
    def value(self, prediction, target, out):
        out[...] = (prediction - target) ** 4

    def slope(self, prediction, target, out):
        out[...] = 4 * (prediction - target) ** 3


def test_losses_of_ones_own():
    rng = np.random.default_rng(17)
    p, t, w = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.uniform(0, 1, 4)
    assert QuarticSum().forward(p, t) == pytest.approx(((p - t) ** 4).sum() / 4)
    assert Quartic().forward(p, t) == pytest.approx(((p - t) ** 4).mean())
    for loss in (QuarticSum(), Quartic()):
        numeric = reference.central_difference(lambda z, loss=loss: loss.forward(z, t, w), p)
        close(delta(loss, p, t, w), numeric, 1e-7)
        assert losses.get(loss) is loss
        assert repr(loss) == f"{type(loss).__name__}()"


# -- names ---------------------------------------------------------------------------------------------------------


def test_names():
    assert losses.__all__ == sorted(losses.__all__)
    expected = {
        "mse": MeanSquaredError,
        "mean_squared_error": MeanSquaredError,
        "half_squared_error": HalfSquaredError,
        "mae": MeanAbsoluteError,
        "mean_absolute_error": MeanAbsoluteError,
        "huber": Huber,
        "log_cosh": LogCosh,
        "quantile": Quantile,
        "poisson": PoissonNLL,
        "poisson_nll": PoissonNLL,
        "gaussian_nll": GaussianNLL,
        "kl_divergence": KLDivergence,
        "hinge": Hinge,
        "squared_hinge": SquaredHinge,
        "sigmoid_cross_entropy": SigmoidCrossEntropy,
        "softmax_cross_entropy": SoftmaxCrossEntropy,
        "binary_crossentropy": BinaryCrossEntropy,
        "binary_cross_entropy": BinaryCrossEntropy,
        "categorical_crossentropy": CategoricalCrossEntropy,
        "categorical_cross_entropy": CategoricalCrossEntropy,
        "sparse_categorical_crossentropy": CategoricalCrossEntropy,
        "focal_loss": FocalLoss,
    }
    assert set(expected.values()) == set(CLASSES)
    for name, kind in expected.items():
        assert type(losses.get(name)) is kind
        assert type(losses.get(kind)) is kind
    with pytest.raises(ValueError, match=r"losses\.get knows no loss 'msee'; it knows .*mean_squared_error, mse"):
        losses.get("msee")
    with pytest.raises(TypeError, match=r"losses\.get expects a Loss or its name, got 3"):
        losses.get(3)


def test_repr_and_config():
    assert repr(Huber()) == "Huber()"
    assert repr(Huber(delta=2)) == "Huber(delta=2.0)"
    assert Huber(2).config() == {"delta": 2.0}
    assert repr(Quantile([0.1, 0.9])) == "Quantile(q=(0.1, 0.9))"
    assert repr(FocalLoss(1)) == "FocalLoss(gamma=1.0)"
    assert SoftmaxCrossEntropy(label_smoothing=0.1).config() == {"label_smoothing": 0.1}


# -- bad input -----------------------------------------------------------------------------------------------------

P2 = [[0.5, 0.5], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Huber(0), ValueError, r"Huber expects delta to be a finite number above 0, got 0\."),
        (lambda: Huber(math.nan), ValueError, "Huber expects delta"),
        (lambda: Quantile(1.0), ValueError, r"Quantile expects q in \(0, 1\), or several of them, got 1\.0\."),
        (lambda: Quantile([0.5, 0]), ValueError, r"Quantile expects q in \(0, 1\)"),
        (lambda: Quantile([]), ValueError, r"Quantile expects q in \(0, 1\)"),
        (lambda: Quantile([[0.5]]), ValueError, r"Quantile expects q in \(0, 1\)"),
        (lambda: Quantile(True), ValueError, r"Quantile expects q in \(0, 1\)"),
        (lambda: Quantile(math.nan), ValueError, r"Quantile expects q in \(0, 1\)"),
        (lambda: Quantile("0.5"), TypeError, "Quantile expects q to be real numbers"),
        (lambda: FocalLoss(-1), ValueError, "FocalLoss expects gamma to be a finite number of at least 0, got -1"),
        (lambda: SoftmaxCrossEntropy(label_smoothing=1), ValueError, r"SoftmaxCrossEntropy expects label_smoothing in"),
        (lambda: SigmoidCrossEntropy(label_smoothing=-0.1), ValueError, r"SigmoidCrossEntropy expects label_smoothing"),
        (lambda: BinaryCrossEntropy(label_smoothing=2), ValueError, r"BinaryCrossEntropy expects label_smoothing in"),
        (
            lambda: CategoricalCrossEntropy(label_smoothing=math.nan),
            ValueError,
            r"CategoricalCrossEntropy expects label_smoothing in \[0, 1\), got nan",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "prediction", "target", "error", "message"),
    [
        (
            "mse",
            P2,
            [[1, 2]],
            ValueError,
            "MeanSquaredError.forward expects as many targets as predictions, got 1 and 2",
        ),
        ("mse", P2, [1, 2], ValueError, r"MeanSquaredError expects y of shape \(n, 2\), got \(2,\)"),
        ("mse", [1, 2], [1, 2], ValueError, r"MeanSquaredError.forward expects prediction of shape .* got \(2,\)"),
        (
            "mse",
            P2,
            [[1, 2], [3, math.nan]],
            ValueError,
            "MeanSquaredError expects finite numbers, but y holds NaN at row 1",
        ),
        ("mse", P2, [["a", "b"], ["c", "d"]], TypeError, "MeanSquaredError expects y to be real numbers"),
        ("poisson", P2, [[1, 2], [3, -1]], ValueError, r"PoissonNLL expects counts of at least 0, got y\[1, 1\] = -1"),
        ("gaussian_nll", [[1, 2, 3]], [[1]], ValueError, "GaussianNLL expects an even number of outputs.* got 3"),
        ("gaussian_nll", P2, P2, ValueError, r"GaussianNLL expects y of shape \(n, 1\), got \(2, 2\)"),
        (
            "hinge",
            [[1], [2]],
            [1, 2],
            ValueError,
            r"Hinge expects targets of -1 and 1, or of 0 and 1, got y\[1, 0\] = 2",
        ),
        ("squared_hinge", [[1], [2]], [0, -1], ValueError, r"SquaredHinge expects .* got both -1 and 0"),
        ("sigmoid_cross_entropy", P2, [[0, 1], [2, 0]], ValueError, r"expects targets from 0 to 1, got y\[1, 0\] = 2"),
        ("binary_crossentropy", P2, [[0, 1], [0, -1]], ValueError, r"expects targets from 0 to 1, got y\[1, 1\] = -1"),
        (
            "binary_crossentropy",
            [[0.5], [1.5]],
            [0, 1],
            ValueError,
            r"BinaryCrossEntropy expects probabilities .* prediction\[1, 0\] = 1\.5: for logits there is SigmoidCross",
        ),
        (
            "categorical_crossentropy",
            [[-0.5, 1.5]],
            [0],
            ValueError,
            r"CategoricalCrossEntropy expects probabilities .* prediction\[0, 0\] = -0\.5: for logits there is Soft",
        ),
        ("softmax_cross_entropy", P2, [0, 2], ValueError, r"expects class numbers from 0 to 1, got y\[1\] = 2"),
        ("softmax_cross_entropy", P2, [0, -1], ValueError, r"expects class numbers from 0 to 1, got y\[1\] = -1"),
        ("focal_loss", P2, [0.0, 1.0], ValueError, "FocalLoss expects class numbers of an integer dtype"),
        (
            "kl_divergence",
            P2,
            [[0.5, 0.2], [1, 0]],
            ValueError,
            "KLDivergence expects every row of y to be probabilities",
        ),
        ("softmax_cross_entropy", P2, np.ones((2, 3)), ValueError, r"or a matrix of shape \(n, 2\), got \(2, 3\)"),
    ],
)
def test_bad_targets_and_predictions(loss, prediction, target, error, message):
    with pytest.raises(error, match=message):
        losses.get(loss).forward(prediction, target)


def test_quantiles_need_an_output_each():
    loss = Quantile([0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match="Quantile expects one output for each of its 3 quantiles, got 2 outputs"):
        loss.forward(P2, [1, 2])
    with pytest.raises(ValueError, match=r"Quantile expects y of shape \(n, 1\), got \(1, 2\)"):
        loss.forward([[1, 2, 3]], [[1, 2]])


@pytest.mark.parametrize(("loss", "t"), [(BinaryCrossEntropy(), np.eye(2)), (CategoricalCrossEntropy(), np.eye(2))])
def test_logits_where_probabilities_belong_are_named_in_the_loop_too(loss, t):
    with pytest.raises(ValueError, match=r"expects probabilities from 0 to 1, got prediction\[0, 1\] = -1"):
        loss.error(np.array([[0.5, -1.0], [0.1, 0.2]]), t)
    assert math.isnan(loss.error(np.array([[0.5, np.nan], [0.1, 0.2]]), t))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, -1], r"MeanSquaredError.forward expects finite weights of at least 0, got sample_weight\[1\] = -1"),
        ([1, math.nan], r"got sample_weight\[1\] = nan"),
        ([0, 0], "got a sample_weight of zeros only"),
        ([1, 1, 1], r"expects sample_weight of shape \(2,\), got \(3,\)"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        MeanSquaredError().forward(P2, P2, weight)


def test_backward_needs_forward():
    for kind in CLASSES:
        with pytest.raises(RuntimeError, match=rf"{kind.__name__}.backward needs forward\(prediction, target\) before"):
            kind().backward()


@pytest.mark.parametrize("weights", [2.5, (0.5, 4.0, 1.0), 0.0])
@pytest.mark.parametrize("soft", [False, True])
def test_pos_weight_is_pytorchs(weights, soft):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    z, t = 4 * rng.normal(size=(7, 3)), rng.random((7, 3))
    t = t if soft else (t > 0.5).astype(float)
    loss = dn.SigmoidCrossEntropy(pos_weight=weights)
    leaf = torch.tensor(z, requires_grad=True)
    error = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(np.broadcast_to(weights, 3).astype(float)))(
        leaf, torch.tensor(t)
    )
    error.backward()
    assert loss.forward(z, t) == pytest.approx(error.item(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), leaf.grad.numpy(), rtol=1e-11, atol=1e-15)


def test_pos_weight_smoothing_and_sample_weights_have_the_derivative_they_say():
    rng = np.random.default_rng(5)
    model = dn.Sequential([dn.Dense(4, 2)], seed=0, dtype="float64")
    loss = dn.SigmoidCrossEntropy(label_smoothing=0.2, pos_weight=[3.0, 0.5])
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 2, size=(6, 2))
    assert dn.gradcheck(model, loss, x, y, sample_weight=rng.random(6) + 0.1)


def test_pos_weight_keeps_to_its_range_and_extreme_logits(tmp_path):
    for wrong in (-1.0, np.nan, np.inf, [1.0, -2.0]):
        with pytest.raises(ValueError, match="SigmoidCrossEntropy expects pos_weight"):
            dn.SigmoidCrossEntropy(pos_weight=wrong)
    with pytest.raises(ValueError, match="pos_weight for each of 3 outputs, got 2"):
        dn.SigmoidCrossEntropy(pos_weight=[1.0, 2.0]).forward(np.zeros((1, 3)), np.zeros((1, 3)))
    loss = dn.SigmoidCrossEntropy(pos_weight=2.0)
    assert loss.forward([[-1e4], [1e4]], [1, 0]) == pytest.approx((2e4 + 1e4) / 2)
    assert loss.backward() == pytest.approx(np.array([[-1.0], [0.5]]))
    model = dn.Sequential([dn.Dense(2, 2)], seed=0)
    model.loss = dn.SigmoidCrossEntropy(pos_weight=[1.0, 2.0])
    model.save(tmp_path / "model.npz")
    assert dn.load(tmp_path / "model.npz").loss.pos_weight == (1.0, 2.0)
