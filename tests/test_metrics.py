"""Metrics against scikit-learn and by hand: weights, batches, equal scores, missing classes."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from densenet import metrics
from densenet.metrics import F1, MAE, R2, RMSE, ROCAUC, Accuracy, Metric, Precision, Recall, TopKAccuracy

CLASSES = [Accuracy, TopKAccuracy, Precision, Recall, F1, ROCAUC]
NUMBERS = [R2, MAE, RMSE]


def value(metric, prediction, target, weight=None, *, task=None):
    metric.reset()
    metric.task = task
    metric.update(np.asarray(prediction), np.asarray(target), weight)
    result = metric.result()
    assert type(result) is float
    return result


def probabilities(rng, n, k):
    """Rows of probabilities with many equal entries, and class numbers that go with them."""
    p = rng.integers(1, 6, (n, k)).astype(float)
    y = np.where(rng.random(n) < 0.5, p.argmax(axis=1), rng.integers(0, k, n))
    return p / p.sum(axis=1, keepdims=True), y


def make(kind):
    return kind(2) if kind is TopKAccuracy else kind()


def data_of(kind, rng, n=60):
    if kind in NUMBERS:
        return rng.standard_normal((n, 3)), 5 + rng.standard_normal((n, 3))
    return probabilities(rng, n, 4)


# -- against scikit-learn ------------------------------------------------------------------------------------------


@pytest.fixture
def sk():
    return pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_classes_equal_scikit_learn(sk, k, weighted):
    rng = np.random.default_rng(k)
    for n in (1, 7, 80):
        p, y = probabilities(rng, n, max(k, 2))
        if k == 1:
            p = p[:, 1:]
            predicted = (p[:, 0] > 0.5).astype(int)
            y = y.astype(float)[:, None]
            labels = y[:, 0].astype(int)
        else:
            predicted, labels = p.argmax(axis=1), y
        w = rng.uniform(0.1, 3, n) if weighted else None
        options = {"sample_weight": w, "zero_division": 0, "average": "binary" if k <= 2 else "macro"}
        assert value(Accuracy(), p, y, w) == pytest.approx(sk.accuracy_score(labels, predicted, sample_weight=w))
        assert value(Precision(), p, y, w) == pytest.approx(sk.precision_score(labels, predicted, **options))
        assert value(Recall(), p, y, w) == pytest.approx(sk.recall_score(labels, predicted, **options))
        assert value(F1(), p, y, w) == pytest.approx(sk.f1_score(labels, predicted, **options))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_auc_equals_scikit_learn(sk, k, weighted):
    rng = np.random.default_rng(10 + k)
    p, y = probabilities(rng, 90, max(k, 2))
    w = rng.uniform(0, 3, 90) if weighted else None
    if k <= 2:
        assert len(np.unique(p[:, 1])) < 30  # many equal scores
        expected = sk.roc_auc_score(y, p[:, 1], sample_weight=w)
        assert value(ROCAUC(), p[:, 1:] if k == 1 else p, y, w) == pytest.approx(expected, rel=1e-12)
    else:
        expected = [sk.roc_auc_score(y == j, p[:, j], sample_weight=w) for j in range(k)]
        assert value(ROCAUC(), p, y, w) == pytest.approx(np.mean(expected), rel=1e-12)
        if not weighted:
            whole = sk.roc_auc_score(y, p, multi_class="ovr", average="macro")
            assert value(ROCAUC(), p, y) == pytest.approx(whole, rel=1e-12)
        assert value(ROCAUC(), p, np.eye(k)[y], w) == value(ROCAUC(), p, y, w)


@pytest.mark.parametrize("weighted", [False, True])
def test_yes_or_no_columns_equal_scikit_learn(sk, weighted):
    rng = np.random.default_rng(20)
    p = rng.integers(0, 11, (50, 3)) / 10
    t = (rng.random((50, 3)) < p).astype(float)
    w = rng.uniform(0, 3, 50) if weighted else None
    predicted = p > 0.5
    options = {"sample_weight": w, "zero_division": 0, "average": "macro"}
    assert value(Precision(), p, t, w, task="binary") == pytest.approx(sk.precision_score(t, predicted, **options))
    assert value(Recall(), p, t, w, task="binary") == pytest.approx(sk.recall_score(t, predicted, **options))
    assert value(F1(), p, t, w, task="binary") == pytest.approx(sk.f1_score(t, predicted, **options))
    auc = sk.roc_auc_score(t, p, sample_weight=w, average="macro")
    assert value(ROCAUC(), p, t, w, task="binary") == pytest.approx(auc)
    right = np.average((predicted == t).mean(axis=1), weights=w)
    assert value(Accuracy(), p, t, w, task="binary") == pytest.approx(right)


@pytest.mark.parametrize("weighted", [False, True])
def test_top_k_equals_scikit_learn(sk, weighted):
    rng = np.random.default_rng(21)
    p = rng.random((70, 6))
    y = rng.integers(0, 6, 70)
    w = rng.uniform(0, 3, 70) if weighted else None
    for k in (1, 2, 5):
        expected = sk.top_k_accuracy_score(y, p, k=k, sample_weight=w, labels=range(6))
        assert value(TopKAccuracy(k), p, y, w) == pytest.approx(expected)
    assert value(TopKAccuracy(9), p, y, w) == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_numbers_equal_scikit_learn(sk, k, weighted):
    rng = np.random.default_rng(22)
    t = 1e4 + rng.standard_normal((50, k)) * [1, 10, 0.1][:k]
    p = t + rng.standard_normal((50, k))
    w = rng.uniform(0, 3, 50) if weighted else None
    assert value(R2(), p, t, w) == pytest.approx(sk.r2_score(t, p, sample_weight=w), rel=1e-10)
    assert value(MAE(), p, t, w) == pytest.approx(sk.mean_absolute_error(t, p, sample_weight=w), rel=1e-12)
    squared = sk.mean_squared_error(t, p, sample_weight=w)
    assert value(RMSE(), p, t, w) == pytest.approx(math.sqrt(squared), rel=1e-12)


# -- by hand -------------------------------------------------------------------------------------------------------


def test_by_hand_with_weights():
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.4, 0.35, 0.25]])
    y = np.array([0, 2, 2, 1])  # predicted: 0, 1, 2, 0
    w = np.array([1.0, 2.0, 3.0, 4.0])
    assert value(Accuracy(), p, y) == 0.5
    assert value(Accuracy(), p, y, w) == pytest.approx(4 / 10)
    assert value(TopKAccuracy(2), p, y, w) == pytest.approx(1)
    assert value(Precision(), p, y, w) == pytest.approx((1 / 5 + 0 / 2 + 3 / 3) / 3)
    assert value(Recall(), p, y, w) == pytest.approx((1 / 1 + 0 / 4 + 3 / 5) / 3)
    assert value(F1(), p, y, w) == pytest.approx((2 / 6 + 0 + 6 / 8) / 3)
    t, q = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    assert value(MAE(), q, t, np.array([1.0, 2.0, 1.0])) == pytest.approx(1)
    assert value(RMSE(), q, t, np.array([1.0, 2.0, 1.0])) == pytest.approx(math.sqrt(6 / 4))
    # weighted mean 9/4; scatter 25/16 + 2/16 + 49/16 = 76/16
    assert value(R2(), q, t, np.array([1.0, 2.0, 1.0])) == pytest.approx(1 - 6 / (76 / 16))


def test_auc_by_hand_with_ties_and_weights():
    score, y = np.array([0.2, 0.2, 0.5, 0.7]), np.array([0, 1, 0, 1])
    assert value(ROCAUC(), score, y) == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    w = np.array([1.0, 2.0, 3.0, 4.0])
    pairs = 2 * 1 * 0.5 + 2 * 3 * 0 + 4 * 1 + 4 * 3
    assert value(ROCAUC(), score, y, w) == pytest.approx(pairs / (6 * 4))
    assert value(ROCAUC(), np.full(4, 0.3), y, w) == 0.5


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int64, 12, elements=st.integers(0, 4)),
    arrays(np.bool_, 12),
    arrays(np.int64, 12, elements=st.integers(0, 3)),
)
def test_auc_counts_pairs(score, positive, w):
    area, pairs = 0.0, 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            area += w[i] * w[j] * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
            pairs += w[i] * w[j]
    result = value(ROCAUC(), score / 4, positive.astype(int), w)
    assert math.isnan(result) if pairs == 0 else result == pytest.approx(area / pairs)


def test_ties_take_the_first_class_everywhere():
    p, y = np.full((3, 3), 1 / 3), np.array([0, 1, 2])
    assert value(Accuracy(), p, y) == value(TopKAccuracy(1), p, y) == pytest.approx(1 / 3)
    assert value(TopKAccuracy(2), p, y) == pytest.approx(2 / 3)
    rng = np.random.default_rng(31)
    p, y = rng.integers(0, 4, (50, 60)) / 4, rng.integers(0, 60, 50)
    true = p[np.arange(50), y][:, None]
    before = (p > true) | ((p == true) & (np.arange(60) < y[:, None]))
    for k in (5, 20, 40):
        assert value(TopKAccuracy(k), p, y) == (before.sum(axis=1) < k).mean()
    assert value(Accuracy(), np.array([[0.5]]), np.array([[0.0]])) == 1


def test_targets_of_all_layouts_agree():
    rng = np.random.default_rng(30)
    p, y = probabilities(rng, 40, 3)
    soft = 0.8 * np.eye(3)[y] + 0.2 / 3
    column, zero_one = p[:, :1], (y == 0).astype(float)
    for kind in CLASSES:
        expected = value(make(kind), p, y)
        assert value(make(kind), p, np.eye(3)[y]) == expected
        assert value(make(kind), p, soft) == expected
        if kind is not TopKAccuracy:
            expected = value(kind(), column, zero_one)
            for t in (zero_one[:, None], zero_one.astype(int), 2 * zero_one - 1, 0.1 + 0.8 * zero_one):
                assert value(kind(), column, t) == expected
            assert value(kind(), column[:, 0], zero_one) == expected
            # one column of class 1 is two columns of classes 0 and 1
            assert value(kind(), np.hstack([1 - column, column]), zero_one.astype(int)) == pytest.approx(expected)
    for kind in NUMBERS:
        assert value(kind(), column[:, 0], y) == value(kind(), column, y[:, None])


def test_columns_are_one_class_of_k_unless_the_task_is_binary():
    p, t = np.array([[0.9, 0.8], [0.1, 0.3]]), np.array([[1.0, 1.0], [0.0, 0.0]])
    assert value(Accuracy(), p, t, task="binary") == 1
    assert value(Accuracy(), p, t, task="classification") == 0.5


def test_classes_that_do_not_occur_are_left_out():
    p = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    y = np.array([0, 1, 1])
    assert value(Precision(), p, y) == pytest.approx((1 / 2 + 1 / 1) / 2)
    assert value(Recall(), p, y) == pytest.approx((1 / 1 + 1 / 2) / 2)
    assert value(ROCAUC(), p, y) == pytest.approx((1 + 1) / 2)
    assert math.isnan(value(ROCAUC(), p, np.array([1, 1, 1])))
    assert value(Precision(), np.array([0.1, 0.2]), np.array([1, 0])) == 0
    assert value(Recall(), np.array([0.1, 0.2]), np.array([0, 0])) == 0
    assert value(F1(), np.array([0.1, 0.2]), np.array([0, 0])) == 0


def test_r2_of_a_constant_target():
    t = np.full((6, 1), 0.1)
    assert t.sum(axis=0) / 6 != t[0]  # the mean is rounded, and yet nothing varies
    assert value(R2(), t, t) == 1
    assert value(R2(), t + 0.01, t) == 0
    assert value(R2(), np.full((3, 1), 2.0), t[:3], np.array([1.0, 0.3, 2.0])) == 0
    both = np.hstack([np.arange(6.0)[:, None], t])
    assert value(R2(), both, both) == 1
    assert np.isnan(value(R2(), np.array([[2.0]]), np.array([[2.0]])))  # a single row has no variance to explain


def test_r2_far_from_zero_in_float32_targets():
    t = (10_000 + np.arange(64) % 5).astype(np.float32)[:, None]
    p = t + np.float32(0.5)
    whole = R2()
    for a in range(0, 64, 7):
        whole.update(p[a : a + 7], t[a : a + 7])
    exact = t.astype(float)
    assert whole.result() == pytest.approx(1 - 64 * 0.25 / ((exact - exact.mean()) ** 2).sum(), rel=1e-12)


# -- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", CLASSES + NUMBERS)
def test_batches_equal_the_whole(kind, weighted):
    rng = np.random.default_rng(40)
    p, t = data_of(kind, rng)
    w = rng.uniform(0, 3, 60) if weighted else None
    expected = value(make(kind), p, t, w)
    metric = make(kind)
    buffer = np.empty_like(p)
    for a in range(0, 60, 7):  # the last batch is smaller, and the loop's arrays are used again
        rows = slice(a, min(a + 7, 60))
        working = buffer[: len(p[rows])]
        working[...] = p[rows]
        metric.update(working, t[rows], None if w is None else w[rows])
        working[...] = np.nan
    assert metric.result() == pytest.approx(expected, rel=1e-12)
    assert metric.result() == metric.result()
    metric.reset()
    metric.update(p, t, w)
    assert metric.result() == expected


@pytest.mark.parametrize("kind", CLASSES + NUMBERS)
def test_weights_count_rows(kind):
    rng = np.random.default_rng(41)
    p, t = data_of(kind, rng)
    times = rng.integers(0, 3, 60)
    repeated = value(make(kind), np.repeat(p, times, axis=0), np.repeat(t, times, axis=0))
    assert value(make(kind), p, t, times.astype(float)) == pytest.approx(repeated, rel=1e-12)
    assert value(make(kind), p, t, np.full(60, 0.3)) == pytest.approx(value(make(kind), p, t), rel=1e-12)


@pytest.mark.parametrize("kind", CLASSES + NUMBERS)
def test_nothing_seen_is_nan_and_inputs_are_not_written(kind):
    assert math.isnan(make(kind).result())
    p, t = data_of(kind, np.random.default_rng(42))
    w = np.ones(60)
    for array in (p, t, w):
        array.flags.writeable = False
    assert math.isfinite(value(make(kind), p, t, w))


@pytest.mark.parametrize("kind", [Accuracy, TopKAccuracy, R2, MAE, RMSE])
def test_weights_of_zero_only_are_nothing(kind):
    p, t = data_of(kind, np.random.default_rng(43))
    metric = make(kind)
    metric.update(p, t, np.zeros(60))
    assert math.isnan(metric.result())


# -- names and errors ----------------------------------------------------------------------------------------------


def test_names():
    expected = {
        "accuracy": Accuracy,
        "acc": Accuracy,
        "top_k_accuracy": TopKAccuracy,
        "top_5_accuracy": TopKAccuracy,
        "precision": Precision,
        "recall": Recall,
        "f1": F1,
        "auc": ROCAUC,
        "roc_auc": ROCAUC,
        "r2": R2,
        "mae": MAE,
        "mean_absolute_error": MAE,
        "rmse": RMSE,
        "root_mean_squared_error": RMSE,
    }
    for name, kind in expected.items():
        assert type(metrics.get(name)) is kind
        assert type(metrics.get(kind)) is kind
    for kind in CLASSES + NUMBERS:
        assert type(metrics.get(kind().name)) is kind
        assert kind.wants_probabilities is (kind in CLASSES)
        assert kind.higher_is_better is (kind not in (MAE, RMSE))
    metric = F1()
    assert metrics.get(metric) is metric
    with pytest.raises(ValueError, match=r"metrics\.get knows no metric 'accurracy'; it knows .*accuracy, auc"):
        metrics.get("accurracy")
    with pytest.raises(TypeError, match=r"metrics\.get expects a Metric or its name, got None"):
        metrics.get(None)


def test_repr_and_config():
    assert repr(Accuracy()) == "Accuracy()"
    assert repr(TopKAccuracy()) == "TopKAccuracy()"
    assert repr(TopKAccuracy(3)) == "TopKAccuracy(k=3)"
    assert TopKAccuracy(3).config() == {"k": 3}
    assert TopKAccuracy(3).name == "top_3_accuracy"
    assert R2().config() == {}


@pytest.mark.parametrize("kind", CLASSES + NUMBERS)
def test_copies_keep_what_was_seen(kind):
    p, t = data_of(kind, np.random.default_rng(50))
    metric = make(kind)
    metric.update(p[:30], t[:30])
    others = [copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]
    metric.update(p[30:], t[30:])
    for other in others:
        other.update(p[30:], t[30:])
        assert other.result() == metric.result()


@pytest.mark.parametrize("kind", CLASSES + NUMBERS)
def test_state_goes_on_in_another_metric(kind):
    p, t = data_of(kind, np.random.default_rng(51))
    metric, other = make(kind), make(kind)
    for rows in (slice(0, 20), slice(20, 35)):
        metric.update(p[rows], t[rows])
    other.load_state_dict(copy.deepcopy(metric.state_dict()))
    for one in (metric, other):
        one.update(p[35:], t[35:])
    assert other.result() == metric.result() == pytest.approx(value(make(kind), p, t), rel=1e-12)


@pytest.mark.parametrize("kind", CLASSES + NUMBERS)
def test_a_state_has_the_same_names_before_and_after_the_first_batch(kind):
    metric = make(kind)
    before = set(metric.state_dict())
    metric.update(np.array([[0.2, 0.8], [0.7, 0.3]]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert set(metric.state_dict()) == before  # what resumes a run in the middle of an epoch asks for them


def test_errors():
    p, y = np.full((2, 3), 1 / 3), np.array([0, 1])
    with pytest.raises(ValueError, match=r"Accuracy expects prediction \(n, k\) and target .* got \(2, 3\) and \(1,\)"):
        Accuracy().update(p, y[:1])
    with pytest.raises(ValueError, match=r"F1 expects prediction \(n, k\) .* got \(2, 3\) and \(2, 2\)"):
        F1().update(p, np.eye(2))
    with pytest.raises(ValueError, match=r"R2 expects a target for every output, got prediction \(2, 3\) and target"):
        R2().update(p, y)
    with pytest.raises(ValueError, match=r"TopKAccuracy expects k to be a whole number of at least 1, got 0"):
        TopKAccuracy(0)
    with pytest.raises(ValueError, match=r"TopKAccuracy expects probabilities of several classes"):
        TopKAccuracy().update(p[:, :1], y)


class Bias(Metric):
    name, wants_probabilities, higher_is_better = "bias", False, False

    def reset(self):
        self.sum = self.total = 0.0

    def update(self, prediction, target, weight=None):
        w = np.ones(len(target)) if weight is None else weight
        self.sum += float(w @ (prediction - target).mean(axis=1))
        self.total += float(w.sum())

    def result(self):
        return self.sum / self.total


def test_a_metric_of_ones_own():
    assert value(metrics.get(Bias), np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]])) == -0.5
    assert repr(Bias()) == "Bias()"
