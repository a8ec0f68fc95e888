"""One mini-batch: its gradient, and the update w_new = w_old - alpha dE/dw.

Between the two stand what may be done with a gradient: several of them are gathered into one, penalties are added,
callbacks see it, it is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet.gradient import error_and_gradient
from densenet.losses.base import Loss
from densenet.sequential import Sequential


class DivergenceError(FloatingPointError, ValueError):
    """The error turned NaN or infinite while training; the model is back at the start of the epoch.

    Examples
    --------
    >>> import densenet as dn
    >>> trainer = dn.Trainer(dn.mlp([1, 1], seed=0), "mse", dn.SGD(learning_rate=1e30))
    >>> try:
    ...     history = trainer.fit([[1.0], [2.0]], [2.0, 4.0], epochs=9)
    ... except dn.DivergenceError as error:
    ...     print(str(error)[:20])
    fit: the error is in
    """


REMEDY = "A smaller learning rate is the usual remedy; clip_norm and scaled inputs help too."


class Step:
    """One mini-batch: the gradient, then the update.

    Parameters
    ----------
    model : Sequential
    loss : Loss
    optimizer : Optimizer
        A `FullBatchSolver` makes its own updates; the gradient is the same.
    clip_norm, clip_value : float, optional
    accumulate : int, default 1
        Mini-batches of an update.
    """

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        optimizer: Any,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.gathered = Accumulator(model, accumulate) if accumulate > 1 else None

    def gradient(self, x: Array, y: Array, weight: Array | None) -> float:
        """The error E of a mini-batch, with dE/dw in the model's `grads`."""
        return error_and_gradient(self.model, self.loss, x, y, weight)

    def is_due(self, weight: float) -> bool:
        """Whether an update follows: after each mini-batch of nonzero weight, or after `accumulate` of them."""
        return weight > 0 and (self.gathered is None or self.gathered.add(weight))

    def update(self, on_gradients: Callable[[], None] | None = None) -> None:
        """w_new = w_old - alpha dE/dw, with the gradient in `grads`."""
        model = self.model
        model.add_penalty_gradients()  # dE/dw + d(penalty)/dw
        if on_gradients is not None:
            on_gradients()
        if self.clip_norm is not None or self.clip_value is not None:
            self._clip()
        self.optimizer.step(model.params, model.grads, model.marks)  # 4. w_new = w_old - alpha dE/dw
        model.constrain()

    def _clip(self) -> None:
        grads, marks = self.model.grads, self.model.marks
        if self.clip_value is not None:
            np.clip(grads, -self.clip_value, self.clip_value, out=grads)
        if self.clip_norm is not None:
            moving = grads if marks.rate is None else grads * (marks.rate > 0)
            norm = math.sqrt(products(grads.dtype).dot(moving, moving))
            if norm > self.clip_norm:
                np.multiply(grads, self.clip_norm / (norm + 1e-6), out=grads)  # g <- g c / |g|

    def first_not_finite(self, x: Array | None = None) -> str:
        """The first values that are not finite: a layer's weights or statistics, its output for x, or the loss."""
        model = self.model
        if x is None:
            x = np.zeros((1, model.n_in or 1), model.dtype)
        for i, layer in enumerate(model.layers):
            for inner in layer.walk():
                for name in (*inner.parameter_shapes(), *inner.state_names):
                    if not np.isfinite(getattr(inner, name)).all():
                        return f", first seen in {name} of layer {i}, {inner!r}"
            with np.errstate(all="ignore"):
                x = layer.infer(x)
            if not np.isfinite(x).all():
                return f", first seen in the output of layer {i}, {layer!r}"
        return f", first seen in {type(self.loss).__name__}"

    def snapshot(self) -> tuple[list[Array], dict[str, Any], list[tuple[np.random.Generator, Any]]]:
        """Copies of all that a step changes: weights, statistics, the optimizer's state, the noise generators."""
        draws = [layer.generator for layer in self.model.every_layer if layer.generator is not None]
        return (
            [array.copy() for array in self.model.state_arrays()],
            self.optimizer.state_dict(),
            [(generator, generator.bit_generator.state) for generator in draws],
        )

    def restore(self, kept: tuple[list[Array], dict[str, Any], list[tuple[np.random.Generator, Any]]]) -> None:
        """Go back to a `snapshot`."""
        arrays, optimizer, draws = kept
        self.model.load_state_arrays(arrays)
        self.optimizer.load_state_dict(optimizer)
        for generator, state in draws:
            generator.bit_generator.state = state


class Accumulator:
    """Gradients of several mini-batches as one: sum(w_i g_i) / sum(w_i), w_i the weight of batch i."""

    def __init__(self, model: Sequential, count: int) -> None:
        self.model, self.count = model, count
        self.sum = np.zeros_like(model.grads)
        self.add_scaled = products(self.sum.dtype).add_scaled
        self.seen, self.weight = 0, 0.0

    def add(self, weight: float) -> bool:
        """Add the model's gradient; True when it is time to step, with the mean in the model's `grads`."""
        self.add_scaled(self.model.grads, self.sum, weight)
        self.seen += 1
        self.weight += weight
        return self.seen == self.count and self.finish()

    def finish(self) -> bool:
        """Put the mean into the model's `grads`; False when nothing was added."""
        if not self.seen:
            return False
        np.multiply(self.sum, 1 / self.weight, out=self.model.grads)
        self.reset()
        return True

    def reset(self) -> None:
        """Start again from zero."""
        self.sum.fill(0)
        self.seen, self.weight = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"seen": self.seen, "weight": self.weight, "sum": self.sum.copy() if self.seen else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""
        self.seen, self.weight = state["seen"], state["weight"]
        self.sum[...] = 0 if state["sum"] is None else state["sum"]
