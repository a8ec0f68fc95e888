"""One mini-batch: its gradient, and the update w_new = w_old - alpha dE/dw.

Between the two, gradients of several mini-batches are accumulated, penalties are added, callbacks see the gradient,
and it is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet.gradient import error_and_gradient
from densenet.losses.base import Loss
from densenet.sequential import Sequential
from densenet.training.accumulator import Accumulator
from densenet.training.data import ArrayBatches, Batch, StreamBatches
from densenet.training.ranks import Ranks
from densenet.training.reducer import Reducer
from densenet.training.run import Run


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
    ranks : Ranks, optional
        The processes that share each mini-batch.

    Attributes
    ----------
    reducer : Reducer or None
        Combines their gradients, if there are several ranks.
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
        ranks: Ranks | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.clip_norm, self.clip_value, self.accumulate = clip_norm, clip_value, accumulate
        self.ranks = ranks or Ranks()
        self.reducer = Reducer(self.ranks, model, accumulate) if self.ranks.size > 1 else None
        self.gathered: Accumulator | None = None
        if accumulate > 1:
            self.gathered = Accumulator(model, accumulate) if self.reducer is None else self.reducer.own

    def gradient(self, x: Array, y: Array, weight: Array | None) -> float:
        """The error E of a mini-batch, with dE/dw in the model's `grads`."""
        return error_and_gradient(self.model, self.loss, x, y, weight)

    def shared_gradient(self, x: Array, y: Array, weight: Array | None) -> float:
        """The error of one mini-batch outside of a fit, with dE/dw in `grads`; of what all ranks pass, together."""
        if self.reducer is None:
            return self.gradient(x, y, weight)
        self.reducer.meet((x, y, weight))
        error = self.gradient(x, y, weight)
        self.reducer.leave()
        return self.reducer.mean_of(error, self.loss.total_weight)

    def is_due(self, run: Run, weight: float) -> bool:
        """Whether an update follows: after each mini-batch of nonzero weight, or after `accumulate` of them.

        With several ranks, `grads` and ``run.batch_error`` then are those of all.

        Raises
        ------
        DivergenceError
            If the error of all ranks is not finite, on each of them.
        """
        if self.reducer is not None:
            return self._checked(self.reducer.add(run, weight), run)
        return weight > 0 and (self.gathered is None or self.gathered.add(weight))

    def is_left(self, run: Run) -> bool:
        """Whether an update of what is left over follows at the epoch's end."""
        if self.reducer is not None:
            return self._checked(self.reducer.finish(run), run)
        return self.gathered is not None and self.gathered.finish()

    def _checked(self, due: bool, run: Run) -> bool:
        if due and not run.batch_error < math.inf:
            raise self.diverged(f"the error is {run.batch_error}", run, run.batch[0] if run.batch else None)
        return due

    def batches(self, data: ArrayBatches | StreamBatches, run: Run, batch_size: int) -> Generator[Batch, None, None]:
        """The remaining mini-batches of an epoch; of several ranks, this one's rows of them."""
        if self.reducer is not None:
            return self.reducer.batches(data, run, batch_size)
        if isinstance(data, StreamBatches):
            return data.epoch(start=run.batches, number=run.epoch)
        return data.epoch(batch_size, run.order, run.batches * min(batch_size, len(data)))

    def diverged(self, what: str, run: Run, x: Array | None = None) -> DivergenceError:
        """The exception of a fit that diverged, in the mini-batch x or in the weights; all ranks raise the same."""
        text = (
            f"fit: {what} in epoch {run.epoch}, step {run.step + 1}{self.first_not_finite(x)}, at learning rate "
            f"{self.optimizer.rate:g}. The model is back at the start of the epoch"
            f"{' (or where it was resumed)' if run.resumed else ''}. {REMEDY}"
        )
        return DivergenceError(text if self.reducer is None else self.reducer.cause(text))

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
