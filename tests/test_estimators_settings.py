"""Settings of the estimators: what a fit that goes on may change, weights of classes, scores, nested parameters."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import densenet as dn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
PAIR = np.where(X[:, 0] + 0.5 * X[:, 1] > 0.6, "yes", "no")
TAGS = (X @ RNG.normal(size=(4, 3)) > 0.3).astype(int)
NUMBERS = np.sin(X[:, 0]) + X[:, 1]


# -- a model that goes on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("activation", "tanh"),
        ("dropout", 0.5),
        ("batch_norm", True),
        ("layer_norm", True),
        ("hidden_layer_sizes", (7,)),
    ],
)
def test_what_a_model_is_built_from_cannot_change_when_it_goes_on(changed, value):
    made = dn.DenseClassifier((5,), max_iter=2, warm_start=True, random_state=0).fit(X, PAIR)
    before = made.model_.params.copy()
    made.set_params(**{changed: value})
    with pytest.raises(ValueError, match=f"{changed} of a model that goes on must stay"):
        made.fit(X, PAIR)
    assert np.array_equal(made.model_.params, before)
    with pytest.raises(ValueError, match=f"{changed} of a model that goes on must stay"):
        made.partial_fit(X, PAIR)
    made.set_params(warm_start=False).fit(X, PAIR)


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_a_loss_that_needs_another_output_layer_is_refused(how):
    made = dn.DenseClassifier((5,), max_iter=2, warm_start=True, random_state=0).fit(X, PAIR)
    made.loss = "softmax_cross_entropy"
    with pytest.raises(ValueError, match="loss='softmax_cross_entropy' needs another output layer"):
        getattr(made, how)(X, PAIR)
    made.loss = "hinge"
    getattr(made, how)(X, PAIR)
    assert isinstance(made.trainer_.loss, dn.Hinge)


def test_a_fitted_estimator_predicts_as_it_was_fitted():
    made = dn.DenseClassifier((5,), max_iter=2, random_state=0).fit(X, PAIR)
    said = made.predict_proba(X)
    assert np.array_equal(made.set_params(preset="tabular").predict_proba(X), said)
    made.fit(X, PAIR)
    said = made.predict_proba(X)
    assert np.array_equal(made.set_params(preset=None).predict_proba(X), said)
    assert not hasattr(made.fit(X, PAIR), "preparation_")


def test_a_target_that_needs_other_outputs_is_refused():
    made = dn.DenseRegressor(hidden_layer_sizes=(5,), max_iter=2, warm_start=True).fit(X, NUMBERS)
    with pytest.raises(ValueError, match=r"y \(2 outputs\) needs another output layer than .* \(1 outputs\)"):
        made.fit(X, np.column_stack([NUMBERS, NUMBERS]))


def test_partial_fit_applies_a_changed_loss_solver_and_rate():
    made = dn.DenseRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, NUMBERS)
    first = made.trainer_
    made.partial_fit(X, NUMBERS)
    assert made.trainer_ is first
    made.set_params(learning_rate_init=0.25).partial_fit(X, NUMBERS)
    assert made.trainer_ is first
    assert made.trainer_.optimizer.rate == 0.25
    made.set_params(loss="huber").partial_fit(X, NUMBERS)
    assert isinstance(made.trainer_.loss, dn.Huber)
    made.set_params(solver=dn.SGD(0.5)).partial_fit(X, NUMBERS)
    assert isinstance(made.trainer_.optimizer, dn.SGD)
    assert made.trainer_.optimizer.rate == 0.5
    made.set_params(solver__learning_rate=0.125).partial_fit(X, NUMBERS)
    assert made.trainer_.optimizer.rate == 0.125


# -- weights of classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, "3", 10**400])
def test_a_class_weight_is_finite_and_at_least_0(weight):
    with pytest.raises((ValueError, TypeError), match=r"class_weight\['yes'\]"):
        dn.DenseClassifier(class_weight={"yes": weight}).fit(X, PAIR)


def test_a_class_weight_names_a_class():
    with pytest.raises(ValueError, match="class_weight for 'maybe', which is none of the classes"):
        dn.DenseClassifier(class_weight={"maybe": 2.0}).fit(X, PAIR)
    with pytest.raises(ValueError, match="a dict or \"balanced\", got 'even'"):
        dn.DenseClassifier(class_weight="even").fit(X, PAIR)


def test_a_batch_may_lack_a_class_that_has_a_weight():
    made = dn.DenseClassifier((5,), class_weight={"yes": 3.0}, random_state=0)
    only = PAIR == "no"
    made.partial_fit(X[only], PAIR[only], classes=["no", "yes"]).partial_fit(X, PAIR)
    plain = dn.DenseClassifier((5,), random_state=0)
    plain.partial_fit(X[only], PAIR[only], classes=["no", "yes"])
    plain.partial_fit(X, PAIR, sample_weight=np.where(PAIR == "yes", 3.0, 1.0))
    assert np.array_equal(made.model_.params, plain.model_.params)


def test_several_labels_take_a_list_of_weights_that_multiply():
    weights = [{1: 2.0}, {0: 0.5, 1: 3.0}, {}]
    made = dn.DenseClassifier((5,), class_weight=weights, max_iter=3, random_state=0).fit(X, TAGS)
    each = np.where(TAGS[:, 0] == 1, 2.0, 1.0) * np.where(TAGS[:, 1] == 1, 3.0, 0.5)
    plain = dn.DenseClassifier((5,), max_iter=3, random_state=0).fit(X, TAGS, sample_weight=each)
    np.testing.assert_allclose(made.model_.params, plain.model_.params, rtol=1e-12)
    with pytest.raises(ValueError, match="class_weight for 3 labels to be a list of 3 dicts"):
        dn.DenseClassifier(class_weight=weights[:2]).fit(X, TAGS)
    with pytest.raises(ValueError, match=r"class_weight\[1\] to weigh 0 and 1, got 2"):
        dn.DenseClassifier(class_weight=[{}, {2: 1.0}, {}]).fit(X, TAGS)


def test_one_class_has_probability_1():
    members, early = {"n_members": 2}, {"early_stopping": True}
    for settings in ({}, {"loss": "softmax_cross_entropy"}, members, early, {"preset": "tabular"}, {"solver": "lbfgs"}):
        made = dn.DenseClassifier((5,), max_iter=2, **settings).fit(X, ["only"] * len(X))
        assert np.array_equal(made.predict_proba(X[:3]), np.ones((3, 1)))
        assert made.predict(X[:2]).tolist() == ["only", "only"]


# -- scores and rows that are held out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scoring", "score"),
    [
        ("roc_auc", lambda made: roc_auc_score(PAIR[60:], made.predict_proba(X[60:])[:, 1])),
        ("f1_macro", lambda made: f1_score(PAIR[60:], made.predict(X[60:]), average="macro")),
        (lambda made, rows, y: -abs(made.predict_proba(rows)[0, 0] - 0.5), None),
    ],
)
def test_scoring_says_which_epoch_is_best(scoring, score):
    made = dn.DenseClassifier(
        (5,), early_stopping=True, scoring=scoring, random_state=1, max_iter=20, learning_rate_init=0.05
    )
    made.fit(X[:60], PAIR[:60], X_val=X[60:], y_val=PAIR[60:])
    assert made.best_validation_score_ == max(made.validation_scores_)
    if score is not None:
        assert made.best_validation_score_ == pytest.approx(score(made), abs=1e-12)


def test_scoring_goes_through_a_presets_preparation():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "up", "down")})
    made = dn.DenseClassifier(preset="tabular", scoring="roc_auc", random_state=0, max_iter=4)
    made.fit(frame[:60], PAIR[:60], validation_data=(frame[60:], PAIR[60:]))
    auc = roc_auc_score(PAIR[60:], made.predict_proba(frame[60:])[:, 1])
    assert made.best_validation_score_ == pytest.approx(auc, abs=1e-12)


def test_scoring_of_numbers_and_what_it_needs():
    made = dn.DenseRegressor(
        hidden_layer_sizes=(5,), early_stopping=True, scoring="neg_mean_absolute_error", random_state=1, max_iter=5
    ).fit(X, NUMBERS)
    assert made.best_validation_score_ < 0
    with pytest.raises(ValueError, match="scoring says which epoch is best: it needs early_stopping=True"):
        dn.DenseRegressor(scoring="r2").fit(X, NUMBERS)
    with pytest.raises(ValueError, match="scoring"):
        dn.DenseRegressor(scoring="no such score", early_stopping=True).fit(X, NUMBERS)


def test_held_out_rows_go_through_a_pipeline():
    weight = np.linspace(1, 2, 30)
    with sklearn.config_context(enable_metadata_routing=True):
        dense = dn.DenseRegressor(hidden_layer_sizes=(5,), early_stopping=True, random_state=0, max_iter=8)
        dense.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipe = Pipeline([("scale", StandardScaler()), ("dense", dense)], transform_input=["X_val"])
        pipe.fit(X[:60] * 9, NUMBERS[:60], X_val=X[60:] * 9, y_val=NUMBERS[60:], sample_weight_val=weight)
    scale = StandardScaler().fit(X[:60] * 9)
    by_hand = clone(dense).fit(
        scale.transform(X[:60] * 9),
        NUMBERS[:60],
        validation_data=(scale.transform(X[60:] * 9), NUMBERS[60:], weight),
    )
    assert np.array_equal(pipe[-1].model_.params, by_hand.model_.params)
    assert pipe[-1].validation_scores_ == by_hand.validation_scores_


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"validation_data": (X, NUMBERS), "X_val": X, "y_val": NUMBERS},
            "validation_data or X_val and y_val",
        ),
        ({"X_val": X}, "X_val and y_val together"),
        ({"sample_weight_val": np.ones(90)}, "X_val and y_val together"),
    ],
)
def test_held_out_rows_are_given_in_one_way(given, message):
    with pytest.raises(ValueError, match=message):
        dn.DenseRegressor().fit(X, NUMBERS, **given)


# -- parameters inside parameters, callbacks ---------------------------------------------------------------------------


def test_parameters_of_solver_loss_and_schedule_are_nested():
    schedule = dn.StepDecay(0.5, every=3)
    made = dn.DenseClassifier(solver=dn.SGD(schedule, momentum=0.5), loss=dn.SoftmaxCrossEntropy())
    assert made.get_params()["solver__momentum"] == 0.5
    assert made.get_params()["solver__learning_rate__initial"] == 0.5
    assert "solver__momentum" not in made.get_params(deep=False)
    other = clone(made).set_params(solver__momentum=0.75, loss__label_smoothing=0.25, solver__learning_rate__every=9)
    assert (other.solver.momentum, other.loss.label_smoothing, other.solver.learning_rate.every) == (0.75, 0.25, 9)
    assert (made.solver.momentum, made.loss.label_smoothing, schedule.every) == (0.5, 0.0, 3)
    second = dn.DenseRegressor(solver=dn.LevenbergMarquardt(scaling="marquardt")).set_params(solver__max_fail=3)
    assert (second.solver.max_fail, second.solver.scaling) == (3, "marquardt")
    with pytest.raises(ValueError, match="there is no parameter 'solver__pace'"):
        made.set_params(solver__pace=1)
    with pytest.raises(ValueError, match="no parameter 'engine'"):
        made.set_params(engine__pace=1)
    with pytest.raises(ValueError, match="there is no parameter 'activation__slope'"):
        made.set_params(activation__slope=1)


def test_a_search_goes_over_a_solvers_rate():
    dense = dn.DenseRegressor(hidden_layer_sizes=(5,), solver=dn.SGD(1e-6), max_iter=15, random_state=0)
    search = GridSearchCV(dense, {"solver__learning_rate": [1e-6, 0.1]}, cv=2).fit(X, NUMBERS)
    assert search.best_params_ == {"solver__learning_rate": 0.1}


CHECKPOINTS = {
    "classes": (dn.DenseClassifier, PAIR, {}),
    "labels": (dn.DenseClassifier, TAGS, {"solver": "sgd"}),
    "numbers": (dn.DenseRegressor, NUMBERS, {"solver": "sgd", "learning_rate": "adaptive"}),
    "counts": (dn.DenseRegressor, np.abs(NUMBERS), {"loss": "poisson"}),
    "preset": (dn.DenseClassifier, PAIR, {"preset": "tabular"}),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_model_checkpoint_works_in_an_estimator(case, tmp_path):
    kind, y, settings = CHECKPOINTS[case]
    path = tmp_path / "epoch {epoch}.npz"
    keep = dn.ModelCheckpoint(path)
    made = kind(hidden_layer_sizes=(5,), max_iter=3, callbacks=[keep], random_state=0, **settings).fit(X, y)
    assert "ModelCheckpoint(" in repr(made)
    last = tmp_path / "epoch 3.npz"
    again = dn.load(last)
    assert np.array_equal(again.params, made.model_.params) or case == "preset"
    code = f"import densenet as dn; print(dn.load({str(last)!r}).params.sum())"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert fresh.returncode == 0, fresh.stderr
    assert float(fresh.stdout) == pytest.approx(float(again.params.sum()), rel=1e-5)
    pickle.loads(pickle.dumps(made))


@pytest.mark.parametrize("kind", [dn.DenseClassifier, dn.DenseRegressor])
def test_a_weight_is_a_number_of_copies_with_early_stopping(kind):
    """scikit-learn's own check goes by `cv`, where there are members: this is one network that watches rows."""
    rng = np.random.default_rng(0)
    x, count = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    y = x[:, 0] + rng.normal(size=40)
    y = (y > 0).astype(int) if kind is dn.DenseClassifier else y
    own, watched = slice(0, 25), slice(25, 40)

    def fit(part, held_out, *weights):
        n = len(part[0])
        made = kind(
            hidden_layer_sizes=(8,),
            batch_size=n,
            shuffle=False,
            early_stopping=True,
            max_iter=60,
            tol=0,
            random_state=0,
        )
        return made.fit(*part, *weights[:1], validation_data=(*held_out, *weights[1:]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weighted = fit((x[own], y[own]), (x[watched], y[watched]), count[own], count[watched])
        copies = [(np.repeat(x[rows], count[rows], axis=0), np.repeat(y[rows], count[rows])) for rows in (own, watched)]
        repeated = fit(*copies)
    np.testing.assert_allclose(weighted.validation_scores_, repeated.validation_scores_, atol=1e-9)
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), atol=1e-9)
    assert 1 < weighted.n_iter_ == repeated.n_iter_


def test_rows_that_early_stopping_draws_keep_their_weights():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = (x[:, 0] > 0).astype(int)
    x, y = np.concatenate([x, x]), np.concatenate([y, 1 - y])
    weight = np.repeat([1.0, 1e-6], 200)
    made = dn.DenseClassifier(early_stopping=True, learning_rate_init=0.01, random_state=0, max_iter=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        made.fit(x, y, weight)
    assert made.best_validation_score_ > 0.9  # without weights half of the rows would be wrong


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weights_that_are_all_zero_are_refused_before_training(solver):
    made = dn.DenseClassifier((5,), solver=solver, class_weight={"no": 0, "yes": 0}, max_iter=2)
    with pytest.raises(ValueError, match="weights of zero for every training row"):
        made.fit(X, PAIR)


def test_held_out_rows_without_weight_mask_or_score_are_refused():
    dense = dn.DenseRegressor(hidden_layer_sizes=(5,), early_stopping=True, max_iter=2)
    with pytest.raises(ValueError, match="zero"):
        dense.fit(X, NUMBERS, X_val=X, y_val=NUMBERS, sample_weight_val=np.zeros(90))
    with pytest.raises(ValueError, match="masked array"):
        dense.fit(X, NUMBERS, X_val=X, y_val=np.ma.masked_array(NUMBERS, mask=NUMBERS > 1))
    dense.scoring = lambda made, rows, y: np.nan
    with pytest.raises(ValueError, match="score of the 9 held-out rows is nan"):
        dense.fit(X, NUMBERS)


def test_what_is_too_large_is_said():
    with pytest.raises(ValueError, match="weights whose sum is too large for float32"):
        dn.DenseClassifier(class_weight={"yes": 1e300}, max_iter=1).fit(X.astype(np.float32), PAIR)
    for size in (1e200, 1e60):
        with pytest.raises(ValueError, match="cannot standardise y: numbers up to"):
            dn.DenseRegressor(preset="tabular", max_iter=1).fit(X, NUMBERS * size)


def test_a_preset_schedules_the_rate_of_sgd_too():
    made = dn.DenseRegressor(preset="tabular-small", solver="sgd", max_iter=2, hidden_layer_sizes=(3,)).fit(X, NUMBERS)
    assert repr(made.trainer_.optimizer.learning_rate) == "CosineLog4(initial=0.07, steps=2)"


def test_members_do_not_write_one_file_after_another(tmp_path):
    for callback in (dn.ModelCheckpoint(tmp_path / "m.npz"), dn.CSVLogger(tmp_path / "m.csv")):
        with pytest.raises(ValueError, match="every member would write the file of"):
            dn.DenseClassifier((5,), n_members=2, callbacks=[callback]).fit(X, PAIR)
    members = dn.DenseClassifier((5,), n_members=2, max_iter=1).fit(X, PAIR)
    with pytest.raises(AttributeError, match=r"has members: ask members_\[0\]"):
        _ = members.coefs_


# -- what comes in -----------------------------------------------------------------------------------------------------


def test_a_parameter_that_is_given_holds_against_a_preset():
    for given in ({"validation_fraction": 0.1}, {"dropout": 0.0}):
        made = clone(dn.DenseClassifier((4,), preset="tabular", max_iter=1, random_state=0, **given))
        made.fit(X, PAIR)
        rates = [layer.rate for layer in made.model_.every_layer if isinstance(layer, dn.Dropout)]
        held_out = len(X) - made.t_
        assert (held_out, bool(rates)) == ((9, True) if "validation_fraction" in given else (18, False))
    plain = dn.DenseClassifier((4,), early_stopping=True, max_iter=1).fit(X, PAIR)
    assert len(X) - plain.t_ == 9


@pytest.mark.parametrize("given", [{"alpha": -3}, {"momentum": 2}, {"shuffle": "no"}])
def test_partial_fit_checks_parameters_that_have_changed(given):
    made = dn.DenseRegressor(hidden_layer_sizes=(4,)).partial_fit(X, NUMBERS)
    before = made.model_.params.copy()
    with pytest.raises(ValueError, match=f"The '{next(iter(given))}' parameter of DenseRegressor must be"):
        made.set_params(**given).partial_fit(X, NUMBERS)
    assert np.array_equal(made.model_.params, before)


def test_labels_of_pandas_stay_what_they_are():
    pandas = pytest.importorskip("pandas", reason="pandas makes the labels")
    ones = (PAIR == "yes").astype(int)
    columns = {
        "Int64": pandas.Series(ones, dtype="Int64"),
        "boolean": pandas.Series(ones, dtype="boolean"),
        "string": pandas.Series(PAIR, dtype="string"),
        "category": pandas.Series(pandas.Categorical(PAIR, categories=["yes", "no", "never"])),
        "category of numbers": pandas.Series(pandas.Categorical(ones)),
        "category of Int64": pandas.Series(ones, dtype="Int64").astype("category"),
    }
    for name, column in columns.items():
        made = dn.DenseClassifier((4,), max_iter=1).fit(X, column, X_val=X, y_val=column)
        assert made.classes_.tolist() == sorted(set(column.tolist())), name
        assert type(made.classes_.tolist()[0]) is type(column.tolist()[0]), name
        assert set(made.predict(X)) <= set(column), name
    for dtype in ("Int64", "boolean", "category"):
        gap = columns[dtype].copy()
        gap[7] = None
        with pytest.raises(ValueError, match="y has no label in 1 of 90 rows, the first in row 7: leave them out"):
            dn.DenseClassifier((4,), max_iter=1).fit(X, gap)
    with pytest.raises(ValueError, match="y has no label in 1 of 90 rows"):
        dn.DenseClassifier((4,), max_iter=1).fit(X, np.where(np.arange(90) == 7, pandas.NA, PAIR.astype(object)))


@pytest.mark.parametrize("preset", [None, "tabular"])
def test_targets_that_are_none_are_refused(preset):
    classifier, regressor = (
        dn.DenseClassifier(preset=preset, max_iter=1),
        dn.DenseRegressor(preset=preset, max_iter=1),
    )
    mixed = PAIR.astype(object)
    mixed[3] = 1
    with pytest.raises(TypeError, match=r"y holds words beside other things \(int, str\)"):
        classifier.fit(X, mixed)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier.fit(X, NUMBERS)
    for made in (classifier, regressor):
        with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
            made.fit(X, None)
    for y in (PAIR, (NUMBERS * 100).astype("timedelta64[s]")):
        with pytest.raises(TypeError, match="DenseRegressor expects y to be numbers, got dtype"):
            regressor.fit(X, y)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([], "cv gives no fold"),
        ([3], "cv expects pairs .* got 3"),
        ([([0, 1],)], "cv expects pairs .* got 1 parts"),
        ([([0, 1], [90])], "row numbers from 0 to 89, got int64 from 90 to 90 of rows to hold out"),
        ([([-1, 0], [2])], "row numbers from 0 to 89, got int64 from -1 to 0 of rows to train on"),
        ([([0.0, 1.5], [2])], "row numbers from 0 to 89, got float64"),
        ([([0, 1], [])], r"got shape \(0,\) of rows to hold out"),
        ([([0, 1, 2], [2, 3])], "cv has 1 rows to train on and to hold out at once, such as row 2"),
    ],
)
def test_folds_that_are_none_are_refused(cv, message):
    with pytest.raises(ValueError, match=message):
        dn.DenseRegressor(hidden_layer_sizes=(4,), max_iter=1, cv=cv).fit(X, NUMBERS)


def test_folds_may_be_masks():
    part = np.arange(90) < 30
    by_mask, by_number = (
        dn.DenseRegressor(hidden_layer_sizes=(4,), max_iter=1, cv=[pair, pair[::-1]], random_state=0)
        .fit(X, NUMBERS)
        .predict(X)
        for pair in ((part, ~part), (np.arange(30), np.arange(30, 90)))
    )
    assert np.array_equal(by_mask, by_number)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (np.where(X[:, 0] > 0, np.nan, 1), ValueError, r"groups has no value in \d+ of 90 rows"),
        (np.array(["a", None, "b"] * 30), ValueError, "groups has no value in 30 of 90 rows, the first in row 1"),
        (np.array(["a", 1, "b"] * 30, object), TypeError, "groups holds words beside other things"),
        (X[:, :2], ValueError, r"groups expects one entry for each row, got shape \(90, 2\)"),
    ],
)
def test_groups_that_are_none_are_refused(groups, error, message):
    with pytest.raises(error, match=message):
        dn.DenseRegressor(hidden_layer_sizes=(4,), max_iter=1, n_members=3).fit(X, NUMBERS, groups=groups)


def test_a_single_row_has_no_members():
    with pytest.raises(ValueError, match="at least 2 rows, one to train on and one to hold out, got 1"):
        dn.DenseRegressor(hidden_layer_sizes=(4,), max_iter=1, n_members=3).fit(X[:1], NUMBERS[:1])


def test_a_function_as_scoring_takes_weights_and_gives_a_number():
    def without(estimator, x, y):
        return 1.0

    def heavy(estimator, x, y, sample_weight):
        return sample_weight.max()

    weights = np.arange(1.0, 91.0)
    made = dn.DenseRegressor(hidden_layer_sizes=(4,), early_stopping=True, max_iter=1, random_state=0)
    scores = made.set_params(scoring=heavy).fit(X, NUMBERS, sample_weight=weights).validation_scores_
    assert scores[0] in weights
    assert made.set_params(scoring=without).fit(X, NUMBERS).validation_scores_ == [1.0]
    with pytest.raises(ValueError, match="the rows have weights: scoring expects a function that takes sample_weight"):
        made.fit(X, NUMBERS, sample_weight=weights)
    with pytest.raises(ValueError, match="scoring expects a function that gives a number, got None"):
        made.set_params(scoring=lambda estimator, x, y: None).fit(X, NUMBERS)


def test_a_preset_that_goes_on_reaches_new_targets():
    dates = np.datetime64("2020-01-01") + np.arange(90) * 10
    for x in (X, {"a": X[:, 0], "b": X[:, 1], "when": dates}):
        made = dn.DenseRegressor(
            hidden_layer_sizes=(8,), preset="tabular", max_iter=60, warm_start=True, random_state=0
        ).fit(x, NUMBERS)
        high = NUMBERS.max()
        assert made.predict(x).max() <= high + 1e-5 or "when" in x
        made.fit(x, NUMBERS + 3)
        assert made.predict(x).max() > high + 1
        assert made.score(x, NUMBERS + 3) > 0.7


def test_a_model_that_goes_on_is_judged_by_the_rows_held_out_now():
    made = dn.DenseRegressor(hidden_layer_sizes=(8,), early_stopping=True, max_iter=40, warm_start=True, random_state=0)
    made.set_params(learning_rate_init=0.05).fit(X, NUMBERS, validation_data=(X, NUMBERS))
    start, epochs = made.score(X, -NUMBERS), len(made.validation_scores_)
    made.fit(X, -NUMBERS, validation_data=(X, -NUMBERS))
    assert made.best_validation_score_ == max(start, *made.validation_scores_[epochs:])
    assert made.score(X, -NUMBERS) == made.best_validation_score_
