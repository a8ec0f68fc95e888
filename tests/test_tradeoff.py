"""The fit of S = S_min + E_min / B recovers known constants, with noise and with runs that missed the target."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

import densenet as dn
from densenet.batch_size import fit_tradeoff

SIZES = np.repeat([1, 2, 4, 8, 16, 32, 64, 128, 256, 512], 5)


def curve(S_min=30.0, critical=90.0, noise=0.0, seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    return S_min * (1 + critical / sizes) * np.exp(noise * rng.normal(size=len(sizes)))


def test_an_exact_curve_gives_its_constants():
    found = fit_tradeoff(SIZES, curve())
    assert found.least_steps == pytest.approx(30, rel=1e-4)
    assert found.least_samples == pytest.approx(2700, rel=1e-4)
    assert found.critical == pytest.approx(90, rel=1e-4)
    S = found.steps(SIZES)
    assert (S / found.least_steps - 1) * (S * SIZES / found.least_samples - 1) == pytest.approx(np.ones(50))


def test_without_missed_runs_it_is_least_squares_on_log_steps():
    steps = curve(noise=0.3, seed=4)

    def residuals(p):
        return np.log(steps) - np.log(np.exp(p[0]) + np.exp(p[1]) / SIZES)

    other = optimize.least_squares(residuals, [math.log(20), math.log(2000)], xtol=1e-14)
    found = fit_tradeoff(SIZES, steps)
    assert [found.least_steps, found.least_samples] == pytest.approx(np.exp(other.x), rel=1e-4)
    assert found.spread == pytest.approx(math.sqrt(np.mean(other.fun**2)), rel=1e-6)


@pytest.mark.parametrize("limit", [math.inf, 400.0])
def test_constants_are_recovered_and_intervals_cover(limit):
    """Runs stop at `limit` steps: a third of the small batches' runs are missed."""
    covered, logs, repeats = 0, [], 30
    for seed in range(repeats):
        steps = curve(noise=0.25, seed=seed)
        missed = steps > limit
        found = fit_tradeoff(SIZES, np.minimum(steps, limit), missed=missed)
        covered += found.critical_interval[0] <= 90 <= found.critical_interval[1]
        logs.append(math.log(found.critical / 90))
    if limit < math.inf:
        assert 0.15 < missed.mean() < 0.5
    assert abs(np.mean(logs)) < 3 * np.std(logs) / math.sqrt(repeats) + 0.03
    assert abs(covered / repeats - 0.95) <= 0.02 + 2 * math.sqrt(0.95 * 0.05 / repeats)


def test_to_leave_missed_runs_out_would_be_wrong():
    steps = np.concatenate([curve(noise=0.4, seed=seed) for seed in range(20)])
    sizes = np.tile(SIZES, 20)
    missed = steps > 300
    whole = fit_tradeoff(sizes, np.minimum(steps, 300), missed=missed)
    naive = fit_tradeoff(sizes[~missed], steps[~missed])
    assert whole.censored == missed.sum() > 100
    assert abs(math.log(whole.critical / 90)) < 0.15 < abs(math.log(naive.critical / 90))


def test_a_line_without_a_bend_sets_no_limit():
    steps = curve(critical=1e7, S_min=1e-3, noise=0.1, seed=1)
    assert fit_tradeoff(SIZES, steps).critical_interval[1] == math.inf
    flat = curve(critical=1e-4, noise=0.1, seed=1)
    assert fit_tradeoff(SIZES, flat).critical_interval[0] == 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1, 2], [3.0]), "as many steps"),
        (([1, 0], [3.0, 4.0]), "batch_sizes above 0, got 0"),
        (([1, 2], [3.0, -4.0]), "steps above 0, got -4"),
        (([2, 2], [3.0, 4.0]), "two batch sizes or more, got 1"),
    ],
)
def test_bad_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        fit_tradeoff(*given)
    with pytest.raises(ValueError, match=r"two batch sizes or more, got 0.*easier"):
        fit_tradeoff([1, 2], [3.0, 4.0], missed=[True, True])
    with pytest.raises(ValueError, match="level in"):
        fit_tradeoff([1, 2], [3.0, 4.0], level=95)
    assert dn.batch_size.Tradeoff is type(fit_tradeoff([1, 2], [3.0, 2.0]))
