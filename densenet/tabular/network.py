"""The recipe's network: what stands before the dense layers, those layers, and first weights that training rows set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.initializers import Normal
from densenet.layers import (
    Activation,
    BatchNorm,
    Blend,
    Columns,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Mixture,
    Periodic,
    RobustScale,
    Scale,
    activation,
)
from densenet.layers.base import chain_width
from densenet.losses.base import Loss
from densenet.sequential import Sequential
from densenet.tabular.preparation import Block, Layout
from densenet.tabular.recipe import Recipe

_MOST_ROWS = 10_000
_PATHS, _FEWEST_ROWS_OF_A_PATH, _FEW_ROWS = 8, 8, 2_500
_VECTOR = 8
"""Length of a category's vector."""


@dataclass(frozen=True)
class Body:
    """The hidden layers of a network, and its last.

    Attributes
    ----------
    widths : sequence of int
        Neurons of each hidden layer.
    n_out : int
    activations : sequence of str, Layer or callable giving a Layer
        One for each hidden layer.
    rates : sequence of float
        Of the dropout behind each hidden layer; 0 is none.
    batch_norm, layer_norm : bool
        Whether `BatchNorm` or `LayerNorm` stands before each activation.
    link : {None, "softmax", "sigmoid"}
        What makes probabilities of outputs: paths answer with the mean of these (`link_of`).
    """

    widths: Sequence[int]
    n_out: int
    activations: Sequence[Any]
    rates: Sequence[float]
    batch_norm: bool = False
    layer_norm: bool = False
    link: str | None = None

    def behind(self, n_in: int, paths: int) -> list[Layer]:
        """The layers behind n_in columns, whose activations learn how much they bend, with their rates and decays.

        Several paths are chains of half the widths side by side, a `Mixture`. A factor for its logits stands behind it,
        which is not trained: what `calibrate` finds goes there.
        """
        if paths == 1:
            return mark(self.layers(n_in, bends=True))
        narrow = replace(self, widths=[-(-width // 2) for width in self.widths])
        mixture = Mixture([mark(narrow.layers(n_in, bends=True)) for _ in range(paths)], self.link)
        return [mixture] if self.link is None else [mixture, Scale(self.n_out).freeze()]

    def layers(self, n_in: int, bends: bool = False) -> list[Layer]:
        """The layers behind n_in columns; with `bends`, activations learn how much they bend."""
        made: list[Layer] = []
        for width, function, rate in zip(self.widths, self.activations, self.rates, strict=True):
            bent = activation(function)
            made.append(Dense(n_in, width))
            made += [BatchNorm(width)] if self.batch_norm else []
            made += [LayerNorm(width)] if self.layer_norm else []
            made.append(Blend(width, bent) if bends and isinstance(bent, Activation) else bent)
            made += [Dropout(rate)] if rate else []
            n_in = width
        return [*made, Dense(n_in, self.n_out)]


def paths_for(rows: int) -> int:
    """Paths of a network alone: 8 up to 2,500 training rows, fewer below 64, where each would get less than 8; else 1.

    A single path of few rows is too sure of itself, and its best epoch is a matter of luck. On tables of at most 1,000
    rows the mean of 8 paths has less log-loss and squared error, for the time of one (`benchmarks/tabular.py`). Members
    of an ensemble are averaged already, and better with one path each.

    Examples
    --------
    >>> from densenet.tabular.network import paths_for
    >>> [paths_for(rows) for rows in (10, 40, 1_000, 10_000)]
    [1, 5, 8, 1]
    """
    return 1 if rows > _FEW_ROWS else max(1, min(_PATHS, rows // _FEWEST_ROWS_OF_A_PATH))


def link_of(loss: Loss) -> str | None:
    """What makes probabilities of the outputs that a loss takes: "softmax", "sigmoid" or nothing."""
    if loss.task == "regression" or loss.expects == "values":
        return None
    return "sigmoid" if loss.task == "binary" else "softmax"


def front(layout: Layout) -> list[Layer]:
    """What stands before the first dense layer: robust scales, embeddings where the layout has them, trained scales.

    A category has a vector of 8 numbers: `Embedding` looks it up by the category's number; of one-hot columns a dense
    layer without a bias picks it.
    """
    width = sum(block.width for block in layout)
    if all(block.kind == "scaled" for block in layout):
        return [RobustScale(width), Scale(width).set_rate(6.0).set_decay(6.0)]
    columns = Columns([block.width for block in layout], [_chain(block) for block in layout])
    return [columns, Scale(columns.n_out).set_rate(6.0).set_decay(6.0)]


def _chain(block: Block) -> list[Layer]:
    if block.kind == "categories":
        return [Embedding(block.sizes, _VECTOR)]
    if block.kind == "one-hot":
        return [Dense(block.width, _VECTOR, use_bias=False, kernel_initializer=Normal(stddev=1.0))]
    scale = RobustScale(block.width)
    if block.kind == "scaled":
        return [scale]
    return [scale, Periodic(block.width).set_rate(0.1).set_decay(0.1)]


def network(
    layout: Layout, body: Body, recipe: Recipe, x: Array, *, ends: Sequence[Layer] = (), seed: int, alone: bool
) -> Sequential:
    """The recipe's network with its first weights, which training rows set.

    Parameters
    ----------
    layout : tuple of Block
        What the columns of x are.
    body : Body
    recipe : Recipe
    x : ndarray (n, n_in)
        Training rows; the model is of their dtype.
    ends : sequence of Layer, default ()
        What stands behind the last dense layer.
    seed : int
    alone : bool
        Whether it is no member of an ensemble: alone, it has several paths where rows are few.
    """
    before = front(layout)
    n_in = chain_width(before, x.shape[1], "network") or x.shape[1]
    layers = body.behind(n_in, paths_for(len(x)) if alone else 1) if recipe.whole else mark(body.layers(n_in))
    model = Sequential([*before, *layers, *ends], seed=seed, dtype=x.dtype.name)
    learn_scales(model, x)
    rng = np.random.default_rng([seed, 1])
    if recipe.whole:
        fit_to_data(model.layers, x, rng)
    else:
        draw(model, rng)
    return model


def learn_scales(model: Sequential, x: Array) -> None:
    """Medians and quartiles of the training rows, for the robust scales that `front` put at the model's start."""
    first = model[0]
    if isinstance(first, RobustScale):
        first.learn(x)
    elif isinstance(first, Columns):
        ends = np.cumsum(first.widths).tolist()
        for branch, width, end in zip(first.branches, first.widths, ends, strict=True):
            if isinstance(scale := branch[0], RobustScale):
                scale.learn(x[:, end - width : end])


def mark(layers: list[Layer]) -> list[Layer]:
    """Set rate and decay factors: 1 / sqrt(n_in) and sqrt(n_in) for W, 0.1 and 0 for b, 0.1 and 0.1 for activations."""
    for layer in layers:
        if isinstance(layer, Dense):
            root = math.sqrt(layer.n_in)
            layer.set_rate(1 / root, "W").set_decay(root, "W").set_rate(0.1, "b")
        elif isinstance(layer, Blend):
            layer.set_rate(0.1).set_decay(0.1)
    return layers


def draw(model: Sequential, rng: np.random.Generator) -> None:
    """First weights of "tabular-small": W from N(0, 1/n_in), b from N(0, 1); the last layer starts at 0."""
    dense = [layer for layer in model if isinstance(layer, Dense)]
    for layer in dense[:-1]:
        layer.W = rng.normal(size=layer.W.shape) / math.sqrt(layer.n_in)
        layer.b = rng.normal(size=layer.n_out)
    dense[-1].W[...] = 0
    dense[-1].b[...] = 0


def fit_to_data(layers: Sequence[Layer], x: Array, rng: np.random.Generator) -> None:
    """First weights of "tabular", layer after layer, so that on the training rows every neuron has unit variance::

        W_j = V_j / std(X V_j)        b_j = -sum_i u_i (X W_j)_(r_i)        V from N(0, 1)

    The bias is minus a random point among five rows r_i of the neuron's own values (u from the simplex), which puts the
    bend of the activation where the data are. Of more than 10,000 rows, so many are drawn.

    Parameters
    ----------
    layers : sequence of Layer
        Of a model, or of a chain in it.
    x : ndarray (n, n_in)
    rng : Generator

    References
    ----------
    .. [1] Steinwart, "A sober look at neural network initializations" (2019), arXiv:1903.11482 (he+5).
    """
    if len(x) > _MOST_ROWS:
        x = x[rng.choice(len(x), _MOST_ROWS, replace=False)]
    for layer in layers:
        if isinstance(layer, Mixture):
            for branch in layer.branches:
                fit_to_data(branch, x, rng)
        if isinstance(layer, Dense):
            V = rng.normal(size=layer.W.shape)
            z = x @ V.astype(x.dtype)
            deviation = z.std(axis=0)
            deviation[~(deviation > 1e-6)] = math.sqrt(layer.n_in)  # inputs that do not vary
            layer.W = V / deviation
            z /= deviation
            rows = rng.integers(0, len(x), size=(5, layer.n_out))
            u = rng.exponential(size=rows.shape)
            u /= u.sum(axis=0)
            layer.b = -(np.take_along_axis(z, rows, axis=0) * u).sum(axis=0)
        x = layer.infer(x)
