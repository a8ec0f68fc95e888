"""Chains side by side that share the rows in training, and answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet.layers.base import Layer, chain_input, chain_width, check_layers, every_layer
from densenet.layers.containers import Container, chain_spans, chain_tangent, chain_tangent_backward

LINKS = (None, "softmax", "sigmoid")


class Mixture(Container):
    """m chains that each train on every m-th row of a mini-batch, and answer with the mean of what they say.

    In training, with rows r counted from 0::

        Y_r = f_(r mod m)(x_r)

    so that the loss of a shuffled mini-batch estimates the chains' mean loss, at the cost of one chain. Otherwise, with
    Z_i = f_i(X)::

        Y = (Z_1 + ... + Z_m) / m                              link None
        Y = log P              P = (p_1 + ... + p_m) / m       p_i = softmax(Z_i)
        Y = log (P / (1 - P))  P = (p_1 + ... + p_m) / m       p_i = sigmoid(Z_i), every column by itself

    With a link, outputs are logits of the mean probabilities: a loss that takes logits takes them in both cases.

    With D = dE/dY, and the share R_i = p_i / (m P) of every chain in the answer::

        training    dE/dz_i of row r = D_r where r mod m = i
        None        dE/dZ_i = D / m
        "softmax"   dE/dZ_i = R_i * D - p_i * (sum over columns of R_i * D)
        "sigmoid"   dE/dZ_i = "softmax" of the two columns (0, Z_i), of which the second less the first is Y

    Parameters
    ----------
    branches : list of lists of Layer
        The chains f_i.
    link : {None, "softmax", "sigmoid"}, default None
        What makes probabilities of a chain's outputs.

    Raises
    ------
    ValueError
        If there is no chain, they take or give different numbers of columns, or the link is unknown.

    Notes
    -----
    A mini-batch of fewer than m rows trains the first chains alone.

    References
    ----------
    .. [1] Gorishniy, Kotelnikov and Babenko, "TabM: advancing tabular deep learning with parameter-efficient
       ensembling" (2024), arXiv:2410.24210, section 3: chains trained by the mean of their own losses, with the mean
       of their probabilities as the answer. There all chains see all rows and share most weights.

    Examples
    --------
    >>> import densenet as dn
    >>> chains = [[dn.Identity()], [dn.Scale(1)]]
    >>> model = dn.Sequential([dn.layers.Mixture(chains)], dtype="float64")
    >>> model.layers[0].branches[1][0].s = [3.0]
    >>> model.predict([[1.0], [1.0]])
    array([[2.],
           [2.]])
    >>> model.layers[0].forward(model.predict([[0.5], [0.5]]))  # in training
    array([[1.],
           [3.]])
    """

    by_place: ClassVar[bool] = True
    _chains = "branches"

    _alone: bool
    _p: Array | None
    _share: Array | None

    def __init__(self, branches: Sequence[Sequence[Layer]], link: str | None = None) -> None:
        self.branches = tuple(check_layers(branch, "Mixture") for branch in branches)
        if link not in LINKS:
            raise ValueError(f"Mixture expects link None, 'softmax' or 'sigmoid', got {link!r}.")
        self.link = link
        taken = {width for branch in self.branches if (width := chain_input(branch)) is not None}
        if not self.branches or len(taken) > 1:
            raise ValueError(f"Mixture expects chains that take as many columns, got {sorted(taken) or 'no chain'}.")
        self.n_in = taken.pop() if taken else None
        given = {chain_width(branch, self.n_in, f"Mixture, chain {i}") for i, branch in enumerate(self.branches)}
        if len(given) > 1:
            raise ValueError(f"Mixture expects chains that give as many columns, got {sorted(map(str, given))}.")
        self.n_out = given.pop()

    @property
    def children(self) -> Sequence[Layer]:
        return [layer for branch in self.branches for layer in branch]

    # -- in training each chain has rows of its own --------------------------------------------------------------------

    @property
    def _busy(self) -> tuple[tuple[Layer, ...], ...]:
        """The chains that have rows."""
        return self.branches[: self._shape[0]] if self._alone else self.branches

    def _rows(self, i: int) -> slice:
        """The rows of chain i: all, but for training."""
        return slice(i, None, len(self.branches)) if self._alone else slice(None)

    def forward(self, x: Array, training: bool = True) -> Array:
        self._check_input(x)
        self._shape, self._alone = x.shape, training
        said = [
            _forward(branch, np.ascontiguousarray(x[self._rows(i)]), training) for i, branch in enumerate(self._busy)
        ]
        if training:
            y = self._buffer("y", (len(x), said[0].shape[1]), said[0].dtype)
            for i, z in enumerate(said):
                y[self._rows(i)] = z  # Y_r = f_(r mod m)(x_r)
        else:
            z = np.stack(said)
            y = self._together(z)
            self._p, self._share = self._shares(z)
        self._out_shape = y.shape
        return y

    def backward(self, delta: Array) -> Array:
        self._check_delta(delta)
        dx = self._buffer("dx", self._shape, delta.dtype)
        dx.fill(0)
        apart = None if self._alone else self.deltas(delta)
        for i, branch in enumerate(self._busy):
            d = np.ascontiguousarray(delta[self._rows(i)]) if apart is None else apart[i]
            for layer in reversed(branch):
                d = layer.backward(d)
            dx[self._rows(i)] += d  # dE/dX = sum_i (df_i/dX)^T D_i
        for layer in every_layer([layer for branch in self.branches[len(self._busy) :] for layer in branch]):
            for name in layer.parameter_shapes():
                getattr(layer, f"d{name}")[...] = 0
        return dx

    def infer(self, x: Array, out: Array | None = None) -> Array:
        self._check_input(x)
        y = self._together(np.stack([_infer(branch, x) for branch in self.branches]))
        if out is None:
            return y
        out[...] = y
        return out

    # -- otherwise they answer together --------------------------------------------------------------------------------

    def _together(self, z: Array) -> Array:
        """Y of Z (m, n, k)."""
        if self.link is None:
            mean: Array = z.mean(axis=0)
            return mean
        return self._lowered(_mean_of_probabilities(_log_probabilities(self._lifted(z))))

    def _shares(self, z: Array) -> tuple[Array | None, Array | None]:
        """p_i and R_i = p_i / (m P), None without a link."""
        if self.link is None:
            return None, None
        log_p = _log_probabilities(self._lifted(z))
        return np.exp(log_p), np.exp(log_p - _mean_of_probabilities(log_p)) / len(z)

    def _lifted(self, z: Array) -> Array:
        """Logits of classes along the last axis: those of sigmoids are the second of two, the first is 0."""
        return z if self.link == "softmax" else np.stack([np.zeros_like(z), z], axis=-1)

    def _lowered(self, log_P: Array) -> Array:
        """Y of log P: of two classes the difference."""
        y: Array = log_P if self.link == "softmax" else log_P[..., 1] - log_P[..., 0]
        return y

    def _lifted_delta(self, delta: Array) -> Array:
        return delta if self.link == "softmax" else np.stack([-delta, delta], axis=-1)

    def _lowered_delta(self, delta: Array) -> Array:
        return delta if self.link == "softmax" else np.ascontiguousarray(delta[..., 1])

    def deltas(self, delta: Array) -> Array:
        """dE/dZ_i of every chain, from dE/dY, after `forward` that was not training.

        Parameters
        ----------
        delta : ndarray (n, k)

        Returns
        -------
        ndarray (m, n, k)
            Fresh.
        """
        if self._share is None:
            return np.repeat(delta[None] / len(self.branches), len(self.branches), axis=0)
        pulled = self._share * self._lifted_delta(delta)
        pulled -= self._p * pulled.sum(axis=-1, keepdims=True)
        return self._lowered_delta(pulled)  # dE/dZ_i = R_i D - p_i sum(R_i D)

    # -- second derivatives --------------------------------------------------------------------------------------------

    def tangent(self, x_dot: Array, v: Array) -> Array:
        parts = list(zip(self._busy, chain_spans(self._busy), strict=True))
        moved = [
            chain_tangent(branch, np.ascontiguousarray(x_dot[self._rows(i)]), v[span])
            for i, (branch, span) in enumerate(parts)
        ]
        if self._alone:
            y_dot = np.empty(self._out_shape, x_dot.dtype)
            for i, z_dot in enumerate(moved):
                y_dot[self._rows(i)] = z_dot
            return y_dot
        z_dot = np.stack(moved)
        if self._share is None:
            mean: Array = z_dot.mean(axis=0)
            return mean
        lifted = self._lifted(z_dot)
        self._log_p_dot = lifted - (self._p * lifted).sum(axis=-1, keepdims=True)  # (log p_i)' = Z_i' - sum(p_i Z_i')
        self._log_P_dot: Array = (self._share * self._log_p_dot).sum(axis=0)  # (log P)' = sum_i R_i (log p_i)'
        return self._lowered(self._log_P_dot)

    def tangent_backward(self, delta: Array, delta_dot: Array, out: Array) -> tuple[Array, Array]:
        dx, dx_dot = np.zeros((2, *self._shape), delta.dtype)
        out[...] = 0
        apart = None if self._alone else (self.deltas(delta), self._moved_deltas(delta, delta_dot))
        for i, (branch, span) in enumerate(zip(self._busy, chain_spans(self._busy), strict=True)):
            rows = self._rows(i)
            d, d_dot = (delta[rows], delta_dot[rows]) if apart is None else (apart[0][i], apart[1][i])
            of_branch, of_branch_dot = chain_tangent_backward(
                branch, np.ascontiguousarray(d), np.ascontiguousarray(d_dot), out[span]
            )
            dx[rows] += of_branch
            dx_dot[rows] += of_branch_dot
        return dx, dx_dot

    def _moved_deltas(self, delta: Array, delta_dot: Array) -> Array:
        """(dE/dZ_i)', with p_i' = p_i (log p_i)' and R_i' = R_i ((log p_i)' - (log P)')."""
        if self._share is None:
            return self.deltas(delta_dot)
        p, share, D, D_dot = self._p, self._share, self._lifted_delta(delta), self._lifted_delta(delta_dot)
        pulled = share * D
        pulled_dot = share * D_dot + pulled * (self._log_p_dot - self._log_P_dot)
        total, total_dot = pulled.sum(axis=-1, keepdims=True), pulled_dot.sum(axis=-1, keepdims=True)
        return self._lowered_delta(pulled_dot - p * total_dot - p * self._log_p_dot * total)


def _forward(layers: Sequence[Layer], x: Array, training: bool) -> Array:
    for layer in layers:
        x = layer.forward(x, training)
    return x


def _infer(layers: Sequence[Layer], x: Array) -> Array:
    for layer in layers:
        x = layer.infer(x)
    return x


def _log_probabilities(z: Array) -> Array:
    """log softmax along the last axis."""
    shifted = z - z.max(axis=-1, keepdims=True)
    log_p: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p


def _mean_of_probabilities(log_p: Array) -> Array:
    """log ((p_1 + ... + p_m) / m) of log p (m, n, k)."""
    top = log_p.max(axis=0)
    mean: Array = top + np.log(np.exp(log_p - top).mean(axis=0))
    return mean
