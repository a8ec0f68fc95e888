"""A straight line in elapsed time beside a network, which is clipped to what it has seen."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from densenet._types import Array
from densenet.layers import Clip, Concatenate, Dense, Layer
from densenet.sequential import Sequential
from densenet.tabular.linear import LinearBaseline
from densenet.tabular.network import Body, network
from densenet.tabular.preparation import Layout
from densenet.tabular.recipe import Recipe

_MOST_ROWS = 10_000


def elapsed_slopes(elapsed: Sequence[int], x: Array, target: Array, k: int, link: str | None = None) -> Array | None:
    """The slopes W of outputs by elapsed time, from the linear model of all inputs (`LinearBaseline`).

    ::

        Y = X W + 1 b^T         link None
        p = softmax(X W + b)    link "softmax"
        p = sigmoid(X W + b)    link "sigmoid", every column by itself

    Parameters
    ----------
    elapsed : sequence of int
        Which inputs are elapsed time.
    x : ndarray (n, n_in)
        Training rows.
    target : ndarray (n,) or (n, k)
        Numbers; class numbers or shares of 1; zeros and ones.
    k : int
        Outputs.
    link : {None, "softmax", "sigmoid"}, default None
        What makes probabilities of outputs.

    Returns
    -------
    ndarray (n_in, k) or None
        0 but for `elapsed`; None where there is none.

    Notes
    -----
    Of more than 10,000 rows so many decide, evenly spaced.

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.tabular.trend import elapsed_slopes
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> elapsed_slopes([1], x, x @ [5.0, 3.0], 1).round(3).tolist()
    [[0.0], [3.0]]
    """
    if not elapsed:
        return None
    if len(x) > _MOST_ROWS:
        rows = np.linspace(0, len(x) - 1, _MOST_ROWS).astype(np.intp)
        x, target = x[rows], target[rows]
    if link == "softmax":
        classes = target if target.ndim == 1 else target.argmax(axis=1)
        slopes = LinearBaseline(x, classes, k).W
    elif link == "sigmoid":
        both = [LinearBaseline(x, column, 2).W for column in target.reshape(len(target), -1).T]
        slopes = np.column_stack([W[:, 1] - W[:, 0] for W in both])
    else:
        slopes = np.hstack([LinearBaseline(x, column).W for column in target.reshape(len(target), -1).T])
    W: Array = np.zeros_like(slopes)
    W[elapsed] = slopes[elapsed]
    return W


def with_skip(model: Sequential, W: Array, x: Array, ends: Sequence[Layer] = (), seed: int | None = None) -> Sequential:
    """A model f with a linear skip of its inputs, which training leaves as it is::

        Y = f(min(max(X, low), high)) + X W

    What the skip takes, f sees within its range in the training rows: beyond, f stays where it is, and the line goes
    on.

    Parameters
    ----------
    model : Sequential
        It is copied.
    W : ndarray (n_in, k)
    x : ndarray (n, n_in)
        Training rows, whose range is [low, high] where W is not 0.
    ends : sequence of Layer, default ()
        What stands behind the sum.
    seed : int, optional
        Of the layers that draw.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> from densenet.tabular.trend import with_skip
    >>> model = dn.mlp([2, 4, 1], seed=0)
    >>> x = np.array([[1.0, 2.0], [0.0, 1.0]])
    >>> whole = with_skip(model, np.array([[0.0], [3.0]]), x)
    >>> (whole.predict(x) - model.predict(x)).round(4).tolist()
    [[6.0], [3.0]]
    >>> (whole.predict([[1.0, 9.0]]) - whole.predict([[1.0, 2.0]])).round(4).tolist()
    [[21.0]]
    """
    n_in, k = W.shape
    skipped, most = W.any(axis=1), float(np.finfo(model.dtype).max)
    low = np.where(skipped, x.min(axis=0), -most).tolist()
    high = np.where(skipped, x.max(axis=0), most).tolist()
    skip, total = Dense(n_in, k, use_bias=False), Dense(2 * k, k, use_bias=False)
    both = Concatenate([[Clip(low, high), *copy.deepcopy(model.layers)], [skip]])
    made = Sequential([both, total, *ends], seed=seed, dtype=model.dtype.name)
    skip.W, total.W = W, np.vstack([np.eye(k), np.eye(k)])
    skip.freeze()
    total.freeze()
    return made


def network_for(
    layout: Layout,
    body: Body,
    recipe: Recipe,
    x: Array,
    target: Array,
    *,
    elapsed: Sequence[int],
    numbers: bool,
    behind: Sequence[Layer] = (),
    seed: int,
    alone: bool,
) -> Sequential:
    """The recipe's network with its first weights, beside a line where time elapses; numbers keep to their range.

    Parameters
    ----------
    layout, body, recipe, seed, alone
        As `network` takes them.
    x : ndarray (n, n_in)
        Training rows.
    target : ndarray (n, ...)
        As the loss takes it.
    elapsed : sequence of int
        Which inputs are elapsed time.
    numbers : bool
        Whether outputs are estimates of the target's columns.
    behind : sequence of Layer, default ()
        What makes of the outputs what the loss expects.
    """
    W = elapsed_slopes(elapsed, x, target, body.n_out, body.link) if numbers or body.link is not None else None
    clips: list[Layer] = []
    if numbers and recipe.whole:
        left = target.reshape(len(x), -1) - (0 if W is None else x @ W)  # what the line leaves
        clips = [Clip(left.min(axis=0).tolist(), left.max(axis=0).tolist())]
    ends = [*behind, *clips] if W is None else clips
    model = network(layout, body, recipe, x, ends=ends, seed=seed, alone=alone)
    return model if W is None else with_skip(model, W, x, behind, seed)
