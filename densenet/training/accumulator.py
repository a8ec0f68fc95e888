"""Gradients of several mini-batches as one."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._blas import products
from densenet._types import Array
from densenet.sequential import Sequential


class Accumulator:
    """Gradients of several mini-batches as one: sum(w_i g_i) / sum(w_i), w_i the weight of batch i.

    Parameters
    ----------
    model : Sequential
    count : int
        Mini-batches of an update.
    out : ndarray (n_params,), optional
        Where the sum is kept; an array of its own by default.
    """

    def __init__(self, model: Sequential, count: int, out: Array | None = None) -> None:
        self.model, self.count = model, count
        self.sum = np.zeros_like(model.grads) if out is None else out
        self.add_scaled = products(self.sum.dtype).add_scaled
        self.seen, self.weight = 0, 0.0

    def gather(self, weight: float) -> bool:
        """Add the model's gradient; True when it is time to step."""
        if self.count == 1:
            np.multiply(self.model.grads, weight, out=self.sum)
        else:
            self.add_scaled(self.model.grads, self.sum, weight)
        self.seen += 1
        self.weight += weight
        return self.seen == self.count

    def add(self, weight: float) -> bool:
        """Add the model's gradient; True when it is time to step, with the mean in the model's `grads`."""
        return self.gather(weight) and self.finish()

    def finish(self) -> bool:
        """Put the mean into the model's `grads`; False when nothing was added."""
        if not self.seen:
            return False
        np.multiply(self.sum, 1 / self.weight, out=self.model.grads)
        self.reset()
        return True

    def reset(self) -> None:
        """Start again from zero."""
        if self.count > 1:
            self.sum.fill(0)
        self.seen, self.weight = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"seen": self.seen, "weight": self.weight, "sum": self.sum.copy() if self.seen else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""
        self.seen, self.weight = state["seen"], state["weight"]
        self.sum[...] = 0 if state["sum"] is None else state["sum"]
