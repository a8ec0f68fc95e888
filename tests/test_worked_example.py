"""A 2-2-2 sigmoid network with every intermediate number written out.

The numbers are those of a worked example that circulates widely: M. Mazur, "A Step by Step Backpropagation Example"
(2015), with weights that are stored here as (n_in, n_out).
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import densenet as dn

W1 = [[0.15, 0.25], [0.20, 0.30]]
W2 = [[0.40, 0.50], [0.45, 0.55]]
X, Y = [[0.05, 0.10]], [[0.01, 0.99]]


@pytest.fixture
def trainer() -> dn.Trainer:
    model = dn.Sequential([dn.Dense(2, 2), dn.Sigmoid(), dn.Dense(2, 2), dn.Sigmoid()], dtype="float64")
    first, second = model.dense_layers
    first.W, first.b = W1, [0.35, 0.35]
    second.W, second.b = W2, [0.60, 0.60]
    first.freeze("b")
    second.freeze("b")
    return dn.Trainer(model, dn.HalfSquaredError(), dn.SGD(learning_rate=0.5))


def test_forward_pass_gives_every_activation(trainer):
    z1, h, z2, out = trainer.model.activations(X)
    assert_allclose(z1, [[0.3775, 0.3925]], rtol=1e-12)
    assert_allclose(h, [[0.593269992, 0.596884378]], rtol=1e-8)
    assert_allclose(z2, [[1.105905967, 1.224921404]], rtol=1e-8)
    assert_allclose(out, [[0.75136507, 0.772928465]], rtol=1e-8)


def test_one_step_gives_error_gradients_and_new_weights(trainer):
    error = trainer.step(X, Y)
    assert_allclose(error, 0.298371109, rtol=1e-8)
    first, second = trainer.model.dense_layers
    assert_allclose(second.dW[0, 0], 0.082167041, rtol=1e-8)
    assert_allclose(first.dW[0, 0], 0.000438568, rtol=1e-6)
    assert_allclose(second.W, [[0.35891648, 0.511301270], [0.408666186, 0.561370121]], rtol=1e-8)
    assert_allclose(first.W, [[0.149780716, 0.24975114], [0.19956143, 0.29950229]], rtol=1e-7)
    assert first.b.tolist() == [0.35, 0.35]
    assert second.b.tolist() == [0.60, 0.60]


def test_ten_thousand_steps_reach_the_published_error(trainer):
    for _ in range(10_000):
        trainer.step(X, Y)
    out = trainer.model.predict(X)
    assert_allclose(trainer.loss.forward(out, Y), 0.0000351085, rtol=1e-2)
    assert_allclose(out, [[0.015912196, 0.984065734]], rtol=1e-3)


def test_gradients_equal_the_chain_rule_by_hand(trainer):
    trainer.step(X, Y)
    h = 1 / (1 + np.exp(-np.array([0.3775, 0.3925])))
    out = 1 / (1 + np.exp(-(h @ np.array(W2) + 0.6)))
    delta = (out - np.array(Y[0])) * out * (1 - out)
    dW2 = [[h[i] * delta[j] for j in range(2)] for i in range(2)]
    dW1 = [
        [X[0][i] * h[j] * (1 - h[j]) * sum(delta[k] * W2[j][k] for k in range(2)) for j in range(2)] for i in range(2)
    ]
    assert_allclose(trainer.model.dense_layers[1].dW, dW2, rtol=1e-14)
    assert_allclose(trainer.model.dense_layers[0].dW, dW1, rtol=1e-14)
    assert_allclose(trainer.model.dense_layers[1].db, delta, rtol=1e-14)
