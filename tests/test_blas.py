from __future__ import annotations

import importlib
import itertools
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from threadpoolctl import ThreadpoolController

import densenet as dn
from densenet import _blas
from densenet._blas import _pools, blas_description, one_pool, products

SHAPES = list(itertools.product((1, 2, 5, 33), repeat=3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_in_place_equal_einsum(dtype):
    rng = np.random.default_rng(0)
    make = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    blas = products(dtype)
    for n, k, m in SHAPES:
        a, b, out = make(n, k), make(k, m), make(n, m)
        kept = out.copy()
        exact = np.einsum("nk,km->nm", a.astype(float), b.astype(float))
        blas.nn(a, b, out, 0.5)
        assert_allclose(out, exact + 0.5 * kept, rtol=0, atol=4e-7 * 40 if dtype == np.float32 else 1e-13 * 40)
        out = make(n, m)
        blas.tn(np.ascontiguousarray(a.T), b, out, 0.0)
        assert_allclose(out, exact, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)
        out = make(n, m)
        blas.nt(a, np.ascontiguousarray(b.T), out, 0.0)
        assert_allclose(out, exact, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)
        sums = make(k)
        blas.column_sums(a, np.ones(n, dtype), sums)
        assert_allclose(sums, a.astype(float).sum(0), rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)
        sums = make(n)
        blas.row_sums(a, np.ones(k, dtype), sums)
        assert_allclose(sums, a.astype(float).sum(1), rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)


def test_prefixes_of_buffers_are_written_in_place():
    memory = np.zeros(100, "f")
    out = memory[:6].reshape(2, 3)
    products("float32").nn(np.ones((2, 4), "f"), np.ones((4, 3), "f"), out, 0.0)
    assert (memory[:6] == 4).all()
    assert (memory[6:] == 0).all()


@pytest.fixture
def two_threads():
    """More than the one thread at which workers run, so that it can be seen what is put back."""
    with dn.threads(2):
        yield


def counts():
    return {c.filepath: c.num_threads for c in ThreadpoolController().lib_controllers if c.user_api == "blas"}


@pytest.mark.usefixtures("two_threads")
def test_threads_sets_our_pool_and_puts_it_back():
    before = counts()
    with dn.threads(1):
        assert blas_description()["threads"] == 1
    assert counts() == before
    with pytest.raises(RuntimeError), dn.threads(1):
        raise RuntimeError
    assert counts() == before
    for bad in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="threads expects a whole number of at least 1"):
            dn.threads(bad)


@pytest.mark.usefixtures("two_threads")
def test_fit_keeps_other_pools_at_one_thread_and_puts_them_back():
    _, others = _pools()
    before = counts()
    during = []
    look = dn.LambdaCallback(on_batch_end=lambda run: during.append([pool.num_threads for pool in others]))
    trainer = dn.Trainer(dn.mlp([2, 1], seed=0), "mse", "sgd")
    trainer.fit(np.zeros((4, 2)), np.zeros(4), epochs=1, callbacks=[look])
    assert during == [[1] * len(others)]
    assert counts() == before

    def fail(run):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        trainer.fit(np.zeros((4, 2)), np.zeros(4), epochs=1, callbacks=[dn.LambdaCallback(on_batch_end=fail)])
    assert counts() == before


def test_numpys_and_scipys_pools_are_told_apart():
    ours, others = _pools()
    assert ours
    assert not {c.filepath for c in ours} & {c.filepath for c in others}
    with one_pool():
        assert all(pool.num_threads == 1 for pool in others)


@pytest.mark.parametrize("found", [True, False])
def test_the_routines_are_those_of_scipys_public_module(found, monkeypatch):
    public = importlib.import_module("scipy.linalg.blas")
    if not found:  # a SciPy that keeps them elsewhere
        monkeypatch.delitem(sys.modules, "scipy.linalg._fblas")
        monkeypatch.setattr(_blas.PathFinder, "find_spec", lambda *_: None)
    for name in "sgemm dgemm sgemv dgemv saxpy daxpy sdot ddot".split():
        assert getattr(_blas._routines(), name) is getattr(public, name)
