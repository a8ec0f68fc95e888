"""The network of an estimator: its layers, its first weights, and what may not change when it goes on."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import fraction
from densenet.estimators.parameters import Settings
from densenet.layers import Clip, Concatenate, Layer, LogSoftmax, Sigmoid, Softmax
from densenet.losses.base import Loss
from densenet.sequential import Sequential
from densenet.tabular.network import Body, link_of
from densenet.tabular.preparation import Preparation
from densenet.tabular.trend import network_for

_STRUCTURAL = ("preset", "activation", "dropout", "batch_norm", "layer_norm")
"""Parameters, beside the widths, that a model is built from."""


def structure_of(settings: Settings) -> dict[str, str]:
    """What a model is built from, by parameter."""
    widths = {"hidden_layer_sizes": repr(settings.widths)}
    return widths | {name: repr(getattr(settings, name)) for name in _STRUCTURAL}


def check_structure(before: dict[str, str], settings: Settings) -> None:
    """Complain where a model that goes on would have to be another one."""
    for name, now in structure_of(settings).items():
        if now != before[name]:
            raise ValueError(
                f"{name} of a model that goes on must stay {before[name]}, got {now}: with warm_start=False, fit "
                "begins a new one."
            )


def output_layers(loss: Loss) -> Sequence[Layer]:
    """What stands behind the last dense layer, so that the loss gets what it expects."""
    if loss.expects == "probabilities":
        return [Sigmoid() if loss.task == "binary" else Softmax()]
    return [LogSoftmax()] if loss.expects == "log-probabilities" else []


def outputs_of(loss: Loss, n_outputs: int) -> tuple[Any, ...]:
    """The output activation that a loss expects."""
    return n_outputs, [type(layer).__name__ for layer in output_layers(loss)]


def body_of(settings: Settings, n_outputs: int, loss: Loss, who: str) -> Body:
    """The hidden layers and the last, as parameters say."""
    rates = [fraction(rate, who, "dropout") for rate in settings.each("dropout")]
    activations = [copy.deepcopy(kind) for kind in settings.each("activation")]  # each layer has its own
    return Body(settings.widths, n_outputs, activations, rates, settings.batch_norm, settings.layer_norm, link_of(loss))


def plain_model(body: Body, loss: Loss, n_in: int, dtype: Any, random_state: Any) -> Sequential:
    """Dense layers with scikit-learn's first weights, uniform within sqrt(6 / (n_in + n_out)), 2 for "logistic"."""
    layers = [*body.layers(n_in), *output_layers(loss)]
    draws = any(layer.draws for layer in layers)
    seed = random_state.randint(2**31 - 1) if draws else 0  # only then: without noise all draws are scikit-learn's
    model = Sequential(layers, seed=seed, dtype=dtype)
    for i, layer in enumerate(model.dense_layers):
        follows = body.activations[min(i, len(body.activations) - 1)] if body.activations else "identity"
        factor = 2.0 if follows == "logistic" else 6.0
        bound = math.sqrt(factor / (layer.n_in + layer.n_out))  # Glorot and Bengio (2010), equation 16
        layer.W = random_state.uniform(-bound, bound, (layer.n_in, layer.n_out))
        layer.b = random_state.uniform(-bound, bound, layer.n_out)
    return model


def preset_model(
    settings: Settings, body: Body, loss: Loss, preparation: Preparation, x: Array, target: Array, random_state: Any
) -> Sequential:
    """The recipe's network, with numbers clipped to their range, and a linear skip of elapsed time.

    Parameters
    ----------
    settings : Settings
    body : Body
    loss : Loss
    preparation : Preparation
    x : ndarray (n, n_in)
    target : ndarray (n, ...)
        As the loss has prepared it.
    random_state : RandomState
    """
    assert settings.recipe is not None
    return network_for(
        preparation.layout,
        body,
        settings.recipe,
        x,
        target,
        elapsed=preparation.elapsed,
        numbers=loss.task == "regression" and target.shape[1:] == (body.n_out,),
        behind=output_layers(loss),
        seed=random_state.randint(2**31 - 1),
        alone=settings.alone,
    )


def widen_range(model: Sequential, x: Array, target: Array) -> None:
    """Let the outputs of `preset_model` reach the targets of rows that it goes on with, where it clips them.

    Parameters
    ----------
    model : Sequential
    x : ndarray (n, n_in)
    target : ndarray (n, n_out)
        As the loss has prepared it.
    """
    first, clip, left = model.layers[0], model.layers[-1], target
    if isinstance(first, Concatenate) and isinstance(first.branches[0][-1], Clip):  # beside a skip
        (*_, clip), (skip,) = first.branches
        left = target - skip.infer(x)
    if isinstance(clip, Clip):
        clip.low = np.minimum(clip.low, left.min(axis=0)).tolist()
        clip.high = np.maximum(clip.high, left.max(axis=0)).tolist()
