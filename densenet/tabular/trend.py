"""A straight line in elapsed time, beside a network that is clipped to what it has seen."""

from __future__ import annotations

import copy

import numpy as np

from densenet._types import Array
from densenet.layers import Concatenate, Dense
from densenet.sequential import Sequential
from densenet.tables import TablePreparation
from densenet.tabular.linear import LinearBaseline


def elapsed_slopes(preparation: TablePreparation, x: Array, y: Array) -> Array | None:
    """The slopes w of a target by elapsed time, from ridge regression on all inputs; None without dates or numbers.

    Parameters
    ----------
    preparation : TablePreparation
    x : ndarray (n, n_in)
    y : ndarray (n,)
        Standardised values of training rows.

    Returns
    -------
    ndarray (n_in,) or None
        0 but for `TablePreparation.elapsed_features`.
    """
    elapsed = preparation.elapsed_features
    if not elapsed or preparation.task == "classification":
        return None
    w = np.zeros(x.shape[1])
    w[elapsed] = LinearBaseline(x, y).W[elapsed, 0]
    return w


def with_skip(model: Sequential, w: Array) -> Sequential:
    """A model f that was trained on y - x w, with a linear skip of its inputs::

        y = f(x) + x w

    The skip is not clipped: elapsed time goes on beyond the training rows, and the line with it.

    Parameters
    ----------
    model : Sequential
        Of one output; it is copied.
    w : ndarray (n_in,)

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> from densenet.tabular.trend import with_skip
    >>> model = dn.mlp([2, 4, 1], seed=0)
    >>> x = np.array([[1.0, 2.0]])
    >>> (with_skip(model, np.array([0.0, 3.0])).predict(x) - model.predict(x)).round(4).tolist()
    [[6.0]]
    """
    skip, joined = Dense(len(w), 1, use_bias=False), Dense(2, 1, use_bias=False)
    made = Sequential([Concatenate([[*copy.deepcopy(model.layers)], [skip]]), joined], dtype=model.dtype.name)
    skip.W, joined.W = w[:, None], np.ones((2, 1))
    return made
