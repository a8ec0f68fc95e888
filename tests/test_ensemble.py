"""Ensembles: one model of many, the rows that members hold out, intervals that hold, members of the estimators."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold

import densenet as dn
from densenet.tabular import folds, intervals, random_fifths, splits

RNG = np.random.default_rng(1)
X = RNG.normal(size=(120, 4)).astype(np.float32)
LABELS = np.array(["ash", "elm", "oak"])[np.argmax(X @ RNG.normal(size=(4, 3)) + RNG.normal(size=(120, 3)), axis=1)]
NUMBERS = np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * RNG.normal(size=120)
TAGS = (X @ RNG.normal(size=(4, 3)) > 0.3).astype(int)


@pytest.mark.parametrize(
    ("loss", "width"),
    [
        (None, 2),
        (dn.MeanSquaredError(), 2),
        (dn.SoftmaxCrossEntropy(), 3),
        (dn.SigmoidCrossEntropy(), 1),
        (dn.KLDivergence(), 3),
        (dn.CategoricalCrossEntropy(), 3),
    ],
)
def test_an_ensemble_is_the_mean_of_its_members_answers(loss, width, tmp_path):
    ends = {"KLDivergence": [dn.LogSoftmax()], "CategoricalCrossEntropy": [dn.Softmax()]}.get(type(loss).__name__, [])
    models = [
        dn.Sequential([dn.Dense(4, 5), dn.Tanh(), dn.Dense(5, width), *copy.deepcopy(ends)], seed=s) for s in range(3)
    ]
    ensemble = dn.Ensemble(models, loss=loss)
    links = loss is not None and loss.task != "regression"
    each = np.array([loss.probabilities(m.predict(X)) if links else m.predict(X) for m in models])
    np.testing.assert_allclose(ensemble.predict(X), each.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ensemble.spread(X), each.std(axis=0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(ensemble.members[2].predict(X), each[2], rtol=1e-5, atol=1e-6)
    assert len(ensemble) == 3
    ensemble.save(tmp_path / "ensemble.npz")
    again = dn.Ensemble(dn.load(tmp_path / "ensemble.npz"))
    assert np.array_equal(again.predict(X), ensemble.predict(X))
    models[0].params[...] = 0
    np.testing.assert_allclose(ensemble.predict(X), each.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_an_ensemble_is_one_onnx_graph(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    ensemble = dn.Ensemble([dn.mlp([4, 6, 3], seed=s) for s in range(3)], loss=dn.SoftmaxCrossEntropy())
    dn.to_onnx(ensemble.model, tmp_path / "ensemble.onnx")
    session = runtime.InferenceSession(tmp_path / "ensemble.onnx")
    np.testing.assert_allclose(session.run(["y"], {"x": X})[0], ensemble.predict(X), rtol=1e-5)


def test_an_ensemble_says_what_it_expects():
    with pytest.raises(ValueError, match="at least one model, got none"):
        dn.Ensemble([])
    with pytest.raises(TypeError, match="expects models, got int as number 1"):
        dn.Ensemble([dn.mlp([2, 1]), 3])
    with pytest.raises(ValueError, match="one dtype, got float32 and float64"):
        dn.Ensemble([dn.mlp([2, 1]), dn.mlp([2, 1], dtype="float64")])
    with pytest.raises(ValueError, match="take and give as many columns, got 2 -> 1 and 3 -> 1"):
        dn.Ensemble([dn.mlp([2, 1]), dn.mlp([3, 1])])
    with pytest.raises(ValueError, match="one that an ensemble has saved"):
        dn.Ensemble(dn.mlp([2, 1]))
    with pytest.raises(ValueError, match="has no link to them"):
        dn.Ensemble([dn.mlp([2, 1])], loss=dn.Hinge())


def test_an_ensemble_takes_models_that_mean_the_same_by_their_columns():
    a, b = dn.mlp([2, 3]), dn.mlp([2, 3])
    a.loss, b.loss = dn.SoftmaxCrossEntropy(), dn.MeanSquaredError()
    with pytest.raises(ValueError, match=r"one kind of loss, or loss=, got MeanSquaredError\(\), SoftmaxCrossEntropy"):
        dn.Ensemble([a, b])
    assert dn.Ensemble([a, b], loss=a.loss).predict([[1.0, 2.0]]).sum() == pytest.approx(1)
    b.loss = dn.SoftmaxCrossEntropy(label_smoothing=0.1)
    for model, shift in ((a, 0.0), (b, 1.0)):
        columns = {"x": [1.0 + shift, 2.0, 3.0], "z": [0.0, 5.0, 1.0], "y": ["u", "v", "w"]}
        model.preparation = dn.TablePreparation().fit(columns, "y")
    with pytest.raises(ValueError, match="prepared alike, and number 1 has other columns, means or scales"):
        dn.Ensemble([a, b])
    b.preparation = a.preparation
    assert dn.Ensemble([a, b]).model.preparation is a.preparation


# -- rows --------------------------------------------------------------------------------------------------------------


def test_every_row_is_held_out_once_and_classes_are_spread():
    labels = np.repeat([0, 1, 2], [31, 17, 3])
    made = folds(51, 4, np.random.default_rng(0), labels)
    held = np.concatenate([test for _, test in made])
    assert sorted(held) == list(range(48))  # class 2 has fewer rows than there are folds
    for train, test in made:
        assert sorted([*train, *test]) == list(range(51))
        assert 7 <= (labels[test] == 0).sum() <= 8
        assert 4 <= (labels[test] == 1).sum() <= 5
        assert set(labels[train]) == {0, 1, 2}
    sizes = [len(test) for _, test in folds(50, 4, np.random.default_rng(0))]
    assert sorted(sizes) == [12, 12, 13, 13]


def test_groups_stay_together():
    groups = RNG.integers(0, 9, size=80)
    made = folds(80, 3, np.random.default_rng(0), groups=groups)
    for train, test in made:
        assert not set(groups[train]) & set(groups[test])
    assert sorted(np.concatenate([test for _, test in made])) == list(range(80))
    with pytest.raises(ValueError, match="at least as many groups as folds, 10, got 9"):
        folds(80, 10, np.random.default_rng(0), groups=groups)


@pytest.mark.parametrize(
    ("n", "k", "labels", "groups", "held_out"),
    [
        (100, 4, None, None, 25),
        (100, 1, None, None, 20),
        (59, 4, None, None, 11),
        (100, 4, [0] * 99 + [1], None, 20),  # a class of one row
        (100, 4, np.arange(100) // 3, None, 20),  # no class has 4 rows
        (40, 4, None, np.arange(40) // 2, 10),
    ],
)
def test_members_hold_out_folds_or_where_those_say_little_random_fifths(n, k, labels, groups, held_out):
    labels = None if labels is None else np.asarray(labels)
    made = splits(n, k, np.random.default_rng(0), labels, groups)
    assert [len(test) for _, test in made] == [held_out] * k
    once = len(np.unique(np.concatenate([test for _, test in made]))) == held_out * k
    assert once == (k == 1 or held_out * k == n)


def test_of_few_rows_random_fifths_are_held_out():
    labels = np.array([0] * 18 + [1, 2])
    for train, test in random_fifths(20, 6, np.random.default_rng(0), labels):
        assert (len(train), len(test)) == (16, 4)
        assert sorted([*train, *test]) == list(range(20))
        assert set(labels[train]) == {0, 1, 2}


def test_intervals_are_the_order_statistics_of_their_definition():
    predictions, residuals = RNG.normal(size=(3, 7)), [RNG.random(20), RNG.random(25), RNG.random(17)]
    low, high = intervals(predictions, residuals, 0.8)
    n = 62
    for x in range(7):
        below = sorted(predictions[k, x] - r for k in range(3) for r in residuals[k])
        above = sorted(predictions[k, x] + r for k in range(3) for r in residuals[k])
        assert low[x] == below[int(np.floor(0.2 * (n + 1))) - 1]
        assert high[x] == above[int(np.ceil(0.8 * (n + 1))) - 1]
    with pytest.raises(ValueError, match="at least 50 residuals, got 49"):
        intervals(np.zeros((1, 1)), [np.zeros(49)])
    with pytest.raises(ValueError, match="coverage between 0 and 1, got 90"):
        intervals(np.zeros((1, 1)), [np.zeros(60)], 90)


# -- estimators --------------------------------------------------------------------------------------------------------

SMALL = {"hidden_layer_sizes": (8,), "early_stopping": True, "max_iter": 12, "random_state": 3}
QUIET = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@QUIET
def test_members_are_the_folds_of_a_cross_validation():
    made = dn.DenseClassifier(n_members=4, **SMALL).fit(X, LABELS)
    assert len(made.members_) == 4
    each = np.array([member.predict_proba(X) for member in made.members_])
    np.testing.assert_allclose(made.predict_proba(X), each.mean(axis=0), rtol=1e-6)
    assert (made.predict(X) == made.classes_[each.mean(axis=0).argmax(axis=1)]).all()
    assert np.isfinite(made.out_of_fold_).all()
    member_of = [np.flatnonzero(np.isclose(made.out_of_fold_, p, rtol=1e-5).all(axis=1)) for p in each]
    assert sorted(np.concatenate(member_of)) == list(range(120))  # each row is one member's
    np.testing.assert_allclose(made.ensemble_.predict(X), made.predict_proba(X), rtol=1e-5)
    again = clone(made).fit(X, LABELS)
    assert np.array_equal(again.predict_proba(X), made.predict_proba(X))
    assert np.array_equal(pickle.loads(pickle.dumps(made)).predict_proba(X), made.predict_proba(X))


@QUIET
def test_a_member_does_not_see_the_rows_it_holds_out():
    changed, fold = NUMBERS.copy(), np.arange(30)
    splits = [(np.setdiff1d(np.arange(120), fold), fold)]
    settings = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, "cv": splits}
    plain = dn.DenseRegressor(**settings).fit(X, NUMBERS)
    changed[fold] = 1e3
    other = dn.DenseRegressor(**settings).fit(X, changed)
    assert np.array_equal(plain.predict(X), other.predict(X))
    assert not np.array_equal(plain.members_[0].validation_loss_curve_, other.members_[0].validation_loss_curve_)
    assert np.isnan(plain.out_of_fold_[30:]).all()


@QUIET
def test_groups_folds_and_validation_data():
    groups = np.arange(120) // 10
    made = dn.DenseRegressor(n_members=6, cv=3, **SMALL).fit(X, NUMBERS, groups=groups)
    assert len(made.members_) == 6
    assert len(made._residuals) == 3
    by_splitter = dn.DenseRegressor(cv=GroupKFold(4), **SMALL).fit(X, NUMBERS, groups=groups)
    assert len(by_splitter.members_) == 4
    given = dn.DenseRegressor(n_members=2, **SMALL).fit(X[:90], NUMBERS[:90], validation_data=(X[90:], NUMBERS[90:]))
    assert not hasattr(given, "out_of_fold_")
    assert not np.array_equal(*(member.predict(X) for member in given.members_))
    with pytest.raises(ValueError, match="needs errors on rows that members held out"):
        given.predict_interval(X)
    with pytest.raises(ValueError, match="cv and groups do not go with it"):
        dn.DenseRegressor(cv=3, **SMALL).fit(X, NUMBERS, validation_data=(X, NUMBERS))
    with pytest.raises(ValueError, match="n_members=2 leaves some of the 3 folds"):
        dn.DenseRegressor(n_members=2, cv=3, **SMALL).fit(X, NUMBERS)
    with pytest.raises(ValueError, match="they need n_members above 1 or cv"):
        dn.DenseRegressor(**SMALL).fit(X, NUMBERS, groups=groups)


@QUIET
def test_members_of_numbers_give_their_spread_and_intervals_that_hold():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1200, 3))
    y = x[:, 0] + np.abs(x[:, 1]) + rng.normal(size=1200)
    made = dn.DenseRegressor(
        hidden_layer_sizes=(16,), n_members=5, max_iter=30, random_state=0, learning_rate_init=0.01
    )
    made.fit(x[:300], y[:300])
    mean, spread = made.predict(x[300:], return_std=True)
    each = np.array([member.predict(x[300:]) for member in made.members_])
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(spread, each.std(axis=0), rtol=1e-6)
    low, high = made.predict_interval(x[300:])
    inside = np.mean((low <= y[300:]) & (y[300:] <= high))
    assert 0.86 <= inside <= 0.95
    assert (mean - low > 0).all()
    pair = dn.DenseRegressor(n_members=3, **SMALL).fit(X, np.column_stack([NUMBERS, -NUMBERS]))
    assert pair.predict_interval(X)[0].shape == (120, 2)


@QUIET
def test_several_labels_few_rows_and_classes_that_are_rare():
    made = dn.DenseClassifier(n_members=3, **SMALL).fit(X, TAGS)
    assert made.predict(X).shape == (120, 3)
    rare = LABELS.copy()
    rare[:2] = "yew"
    assert dn.DenseClassifier(n_members=4, **SMALL).fit(X, rare).predict_proba(X).shape == (120, 4)
    few = dn.DenseRegressor(n_members=3, **SMALL).fit(X[:40], NUMBERS[:40])
    with pytest.raises(ValueError, match="at least 50 residuals"):
        few.predict_interval(X)


@QUIET
def test_members_take_the_recipe_and_words():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"a": X[:, 0], "b": np.where(X[:, 1] > 0, "up", "down"), "c": [f"c{i % 14}" for i in range(120)]}
    )
    made = dn.DenseClassifier(preset="tabular", n_members=3, random_state=0, max_iter=4).fit(frame, LABELS)
    assert made.members_[0].preparation_ is made.preparation_
    centers = [member.model_[0].branches[0][0].center[0] for member in made.members_]
    assert len(set(centers)) == 3
    prepared = made.preparation_.transform(frame)
    np.testing.assert_allclose(made.ensemble_.predict(prepared), made.predict_proba(frame), rtol=1e-4, atol=1e-6)


@QUIET
def test_what_members_do_not_go_with():
    with pytest.raises(ValueError, match="warm_start does not go with members"):
        dn.DenseClassifier(n_members=3, warm_start=True).fit(X, LABELS)
    with pytest.raises(AttributeError, match="partial_fit does not go with members"):
        _ = dn.DenseClassifier(n_members=3).partial_fit
    whole = dn.DenseRegressor(solver="lbfgs", hidden_layer_sizes=(4,), cv=[(np.arange(60), np.arange(60, 120))])
    whole.set_params(random_state=0).fit(X, NUMBERS)
    seed = whole.members_[0].random_state
    alone = dn.DenseRegressor(solver="lbfgs", hidden_layer_sizes=(4,), random_state=seed).fit(X[:60], NUMBERS[:60])
    assert np.array_equal(whole.predict(X), alone.predict(X))
    weight = np.ones(120)
    weight[:60] = 0
    splits = [(np.arange(60), np.arange(60, 120)), (np.arange(60, 120), np.arange(60))]
    with pytest.raises(ValueError, match="rows of a fold all weigh 0"):
        dn.DenseRegressor(cv=splits, **SMALL).fit(X, NUMBERS, sample_weight=weight)
    made = dn.DenseRegressor(n_members=3, **SMALL).fit(X, NUMBERS)
    made.set_params(n_members=1).fit(X, NUMBERS)
    assert not hasattr(made, "members_")
    assert made.predict(X).shape == (120,)


def test_an_ensemble_gives_what_its_members_give():
    members = [dn.mlp([2, 3], seed=seed) for seed in range(2)]
    for loss, gives in ((dn.SoftmaxCrossEntropy(), "probabilities"), (dn.MeanSquaredError(), "values")):
        ensemble = dn.Ensemble(members, loss=loss)
        assert ensemble.model[0].gives == gives
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dn.Trainer(ensemble.model, ensemble.model.loss, "sgd")


def test_where_most_classes_are_rare_members_hold_out_random_fifths():
    rng = np.random.default_rng(0)
    x, y = (
        rng.normal(size=(120, 3)),
        np.arange(120) % 40,
    )  # three rows of each of 40 classes: no fold could hold any out
    made = dn.DenseClassifier((8,), n_members=4, max_iter=3, early_stopping=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        p = made.fit(x, y).predict_proba(x)
    assert p.shape == (120, 40)
    held_out = np.isfinite(made.out_of_fold_).all(axis=1)
    assert 24 <= held_out.sum() < 120
