"""scikit-learn's own checks of its conventions, all of them, for both estimators in four settings."""

from __future__ import annotations

from unittest import SkipTest

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

import densenet as dn

SETTINGS = (
    {},
    {"solver": "lbfgs", "hidden_layer_sizes": (8,)},
    {"solver": "sgd"},
    {"early_stopping": True},
)
SKIPPED = {"check_array_api_input", "check_classifiers_multilabel_output_format_decision_function"}
"""What skips itself, as for scikit-learn's own MLP: it has no decision function, SciPy's array API is switched off."""


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [estimator(**settings) for estimator in (dn.DenseClassifier, dn.DenseRegressor) for settings in SETTINGS],
)
def test_scikit_learn_checks(estimator, check):
    try:
        check(estimator)
    except SkipTest:
        assert check.func.__name__ in SKIPPED
