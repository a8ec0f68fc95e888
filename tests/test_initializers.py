from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet import initializers

SHAPE = (300, 200)


def fill(initializer, shape=SHAPE, seed=0, dtype=np.float64):
    W = np.full(shape, np.nan, dtype)
    initializers.get(initializer)(W, np.random.default_rng(seed))
    return W


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 500),
        ("glorot_normal", 2 / 500),
        ("he_uniform", 2 / 300),
        ("he_normal", 2 / 300),
        ("lecun_uniform", 1 / 300),
        ("lecun_normal", 1 / 300),
        ("uniform", 0.05**2 / 3),
        ("normal", 0.05**2),
    ],
)
def test_mean_and_variance(name, variance):
    W = fill(name)
    assert abs(W.mean()) < 4 * np.sqrt(variance / W.size)
    assert_allclose(W.var(), variance, rtol=0.03)
    if "uniform" in name:
        assert np.abs(W).max() <= np.sqrt(3 * variance)
        assert np.abs(W).max() > 0.999 * np.sqrt(3 * variance)
    else:
        assert np.abs(W).max() > 3 * np.sqrt(variance)


def test_constants():
    assert (fill("zeros") == 0).all()
    assert (fill("ones") == 1).all()
    assert (fill(initializers.Constant(0.25)) == 0.25).all()


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1)])
def test_orthogonal(shape):
    W = fill(initializers.Orthogonal(2.0), shape)
    gram = W.T @ W if shape[0] >= shape[1] else W @ W.T
    assert_allclose(gram, 4 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_matrices_are_uniform_in_sign():
    diagonals = np.array([np.diagonal(fill("orthogonal", (2, 2), seed)) for seed in range(400)])
    assert_allclose((diagonals > 0).mean(axis=0), 0.5, atol=0.1)  # of each entry: a bare QR fixes their signs


def test_nguyen_widrow_lengths_and_spread():
    W = fill("nguyen_widrow", (3, 20))
    assert_allclose(np.linalg.norm(W, axis=0), 0.7 * 20 ** (1 / 3), rtol=1e-12)
    b = fill(initializers.NguyenWidrow(fan_in=3), (20,))
    beta = 0.7 * 20 ** (1 / 3)
    assert_allclose(np.sort(b), np.linspace(-beta, beta, 20), rtol=1e-12)


@pytest.mark.parametrize("name", sorted(initializers.NAMES.classes))
def test_seeds_and_dtypes(name):
    assert_array_equal(fill(name, seed=3), fill(name, seed=3))
    assert_array_equal(fill(name, dtype=np.float32), fill(name).astype(np.float32))
    assert np.isfinite(fill(name, (5,))).all()


def test_equality_names_and_errors():
    assert initializers.get("he_normal") == initializers.HeNormal()
    assert initializers.get(initializers.Ones) == initializers.Ones()
    assert initializers.Constant(1) != initializers.Constant(2)
    with pytest.raises(ValueError, match="knows no initializer 'he'; it knows constant, glorot_normal"):
        initializers.get("he")
    with pytest.raises(TypeError, match="expects a Initializer or its name, got 3"):
        initializers.get(3)
    with pytest.raises(ValueError, match="low < high"):
        initializers.Uniform(1, 0)
    with pytest.raises(ValueError, match="stddev"):
        initializers.Normal(stddev=-1)
    with pytest.raises(ValueError, match="gain"):
        initializers.Orthogonal(0)


def test_an_initializer_of_ones_own():
    class Half(dn.Initializer):
        def __call__(self, W, rng):
            W[...] = 0.5

    assert dn.Sequential([dn.Dense(1, 1, kernel_initializer=Half())]).params[0] == 0.5
