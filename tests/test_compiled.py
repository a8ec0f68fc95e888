"""The compiled kernel beside the NumPy lines that it stands for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import densenet as dn
from densenet.optimizers import adam, compiled
from densenet.optimizers.base import Marks

pytest.importorskip("numba", reason="the kernel needs the extra [fast]")

N = compiled.LONG + 1001
RULES = {
    "adam": lambda: dn.Adam(0.01),
    "coupled decay": lambda: dn.Adam(0.01, weight_decay=0.1, eps=1e-3),
    "adamw": lambda: dn.AdamW(0.01, beta_1=0.0),
    "schedule": lambda: dn.Adam(dn.StepDecay(0.1, every=3, factor=0.5), beta_2=0.9),
}


def steps(optimizer, dtype, marks=None, count=20):
    """Where a vector ends, and the optimizer's state."""
    rng = np.random.default_rng(0)
    p = rng.normal(size=N).astype(dtype)
    for _ in range(count):
        optimizer.step(p, (rng.normal(size=N) * 10 ** rng.uniform(-6, 2, N)).astype(dtype), marks)
    return p, optimizer.state_dict()


def in_numpy(monkeypatch):
    monkeypatch.setattr(adam, "LONG", sys.maxsize)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
def test_the_kernel_gives_what_the_lines_give(rule, dtype, monkeypatch):
    fast = RULES[rule]()
    p, state = steps(fast, dtype)
    assert fast._kernel is not None
    in_numpy(monkeypatch)
    plain = RULES[rule]()
    q, expected = steps(plain, dtype)
    assert plain._kernel is None
    tolerance = 8 * np.finfo(dtype).eps
    for got, wanted in ((p, q), (state["m"], expected["m"]), (state["v"], expected["v"])):
        assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()


def test_frozen_parameters_keep_their_bits_and_rate_factors_count(monkeypatch):
    rate = np.ones(N)
    rate[100:300] = 0.0
    rate[-50:] = 0.5
    p, _ = steps(dn.Adam(0.01), np.float64, Marks(rate=rate))
    start = np.random.default_rng(0).normal(size=N)
    assert_array_equal(p[100:300], start[100:300])
    in_numpy(monkeypatch)
    q, _ = steps(dn.Adam(0.01), np.float64, Marks(rate=rate))
    assert np.abs(p - q).max() < 1e-13


def test_what_the_kernel_is_not_for():
    for optimizer in (dn.Adam(amsgrad=True), dn.NAdam(), dn.RAdam()):
        optimizer.step(np.zeros(N), np.ones(N))
        assert optimizer._kernel is None
    short = dn.Adam()
    short.step(np.zeros(compiled.LONG - 1), np.ones(compiled.LONG - 1))
    assert short._kernel is None


def test_gradients_that_are_read_only_or_strided_are_taken():
    g = np.random.default_rng(0).normal(size=2 * N)
    frozen = g[::2].copy()
    frozen.flags.writeable = False
    ends = []
    for grads in (g[::2].copy(), frozen, g[::2]):
        p = np.zeros(N)
        dn.Adam(0.01).step(p, grads)
        ends.append(p)
    assert np.abs(ends[0] - ends[1]).max() < 1e-15
    assert np.abs(ends[0] - ends[2]).max() < 1e-15


def test_without_numba_the_lines_do_it(monkeypatch):
    compiled.adam_kernel.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    optimizer = dn.Adam(0.01)
    optimizer.step(np.zeros(N), np.ones(N))
    assert optimizer._kernel is None
    compiled.adam_kernel.cache_clear()


def test_a_state_goes_from_one_to_the_other(monkeypatch):
    first, rng = dn.Adam(0.01), np.random.default_rng(1)
    p, g = np.zeros(N), rng.normal(size=N)
    first.step(p, g)
    q = p.copy()
    first.step(p, g)
    in_numpy(monkeypatch)
    second = dn.Adam(0.01)
    second.step(np.zeros(N), g)
    second.step(q, g)
    assert np.abs(p - q).max() < 1e-15
