"""Many networks at once: on joblib's back ends the bits of one after another; small pickles; threads put back."""

from __future__ import annotations

import os
import pickle
import threading
import warnings

import numpy as np
import pytest

import densenet as dn
from densenet._blas import _pools, blas_description, one_thread

pytest.importorskip("sklearn", reason="scikit-learn, of the extra [sklearn], is not installed")
import joblib
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5)).astype(np.float32)
LABELS = (X[:, 0] + 0.3 * RNG.standard_normal(120) > 0).astype(int)
NUMBERS = X @ np.array([1.0, -1.0, 0.5, 0.0, 2.0], np.float32)
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "early_stopping": True, "random_state": 0}
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # forking beside threads, and the back ends' own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of two processes that talk over TCP."""
    distributed = pytest.importorskip("distributed", reason="distributed, of the extra [dask], is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, protocol="tcp", dashboard_address=None
        )
        with made as running, distributed.Client(running) as client:
            yield client


@pytest.fixture
def two_threads():
    """Two BLAS threads, where the environment allows them."""
    with dn.threads(2):
        if blas_description()["threads"] != 2:
            pytest.skip("the environment allows BLAS one thread")
        yield


@pytest.fixture(params=["threading", "loky", "dask"])
def backend(request):
    if request.param == "dask":
        request.getfixturevalue("cluster")
    return request.param


def test_the_cluster_is_of_processes_that_talk_over_tcp(cluster):
    processes = set(cluster.run(os.getpid).values())
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert all(address.startswith("tcp://") for address in cluster.scheduler_info()["workers"])


@pytest.mark.parametrize("kind", [dn.DenseClassifier, dn.DenseRegressor])
def test_members_have_the_same_bits_wherever_they_are_fitted(backend, kind):
    y = LABELS if kind is dn.DenseClassifier else NUMBERS
    serial = kind(n_members=3, **SMALL).fit(X, y)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        made = clone(serial).fit(X, y)
    for one, other in zip(made.members_, serial.members_, strict=True):
        np.testing.assert_array_equal(one.model_.params, other.model_.params)
        assert one.loss_curve_ == other.loss_curve_
    np.testing.assert_array_equal(made.out_of_fold_, serial.out_of_fold_)
    np.testing.assert_array_equal(made.predict(X), serial.predict(X))


def test_scores_and_searches(backend):
    made, grid = dn.DenseClassifier(**SMALL), {"hidden_layer_sizes": [(4,), (8,)], "alpha": [0.0, 0.1]}
    scores = cross_val_score(made, X, LABELS, cv=3)
    search = GridSearchCV(made, grid, cv=2).fit(X, LABELS)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(made, X, LABELS, cv=3), scores)
        again = GridSearchCV(made, grid, cv=2).fit(X, LABELS)
    np.testing.assert_array_equal(again.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])
    assert again.best_params_ == search.best_params_
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


class Count(dn.Callback):
    """Complain unless the fit computes at one BLAS thread."""

    def on_epoch_end(self, run):
        assert blas_description()["threads"] == 1


@pytest.mark.usefixtures("two_threads")
def test_members_compute_at_one_blas_thread_which_is_put_back(backend):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        dn.DenseClassifier(n_members=3, callbacks=[Count()], **SMALL).fit(X, LABELS)
    assert blas_description()["threads"] == 2


@pytest.mark.usefixtures("two_threads")
def test_one_thread_is_held_until_the_last_caller_has_left():
    ours, entered, leave = _pools()[0], threading.Event(), threading.Event()

    def other():
        with one_thread():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        entered.wait()
    assert {pool.num_threads for pool in ours} == {1}
    leave.set()
    thread.join()
    assert {pool.num_threads for pool in ours} == {2}


@pytest.mark.usefixtures("two_threads")
def test_threads_are_set_from_any_thread():
    seen = []

    def count(n):
        with dn.threads(n):
            seen.append(blas_description()["threads"])

    for n in (1, 2):
        thread = threading.Thread(target=count, args=(n,))
        thread.start()
        thread.join()
    assert seen == [1, 2]
    assert blas_description()["threads"] == 2


SETTINGS = [
    {},
    {"solver": "sgd"},
    {"solver": "lbfgs"},
    {"early_stopping": True},
    {"batch_norm": True, "dropout": 0.1},
    {"n_members": 3},
    {"n_members": 3, "solver": dn.AdamW()},
    {"preset": "tabular-small"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", [dn.DenseClassifier, dn.DenseRegressor])
def test_a_pickle_is_the_parameters_and_a_few_kilobytes(kind, settings):
    y = LABELS if kind is dn.DenseClassifier else NUMBERS
    made = kind(hidden_layer_sizes=(128, 128), max_iter=2, random_state=0, **settings).fit(X, y)
    networks = getattr(made, "members_", [made])
    size = sum(each.model_.params.nbytes for each in networks)
    pickled = pickle.dumps(made)
    assert size > 60_000 * len(networks)
    assert len(pickled) < size + 8_000 * (1 + len(networks))
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.predict(X), made.predict(X))
    if "n_members" in settings:
        np.testing.assert_array_equal(again.ensemble_.predict(X), made.ensemble_.predict(X))
    else:
        assert again.trainer_.model is again.model_
        assert repr(again.trainer_) == repr(made.trainer_)


@pytest.mark.parametrize("more", [{"warm_start": True}, {}])
def test_a_pickle_of_a_training_that_goes_on_goes_on(more):
    made = dn.DenseClassifier(8, max_iter=2, random_state=0, shuffle=False, **more)
    made = made.fit(X, LABELS) if more else made.partial_fit(X, LABELS, classes=[0, 1])
    copied = pickle.loads(pickle.dumps(made))
    for each in (made, copied):
        each.partial_fit(X, LABELS)
    np.testing.assert_array_equal(copied.model_.params, made.model_.params)
