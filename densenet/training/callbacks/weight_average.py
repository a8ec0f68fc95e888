"""The mean of the weights over many steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from densenet._files import CheckpointError
from densenet._schema import array, record, whole
from densenet._types import Array
from densenet._validation import fraction, positive_int
from densenet.training.hooks import Callback, state_of
from densenet.training.run import Run


class WeightAverage(Callback):
    """Average the weights over the steps, and give the model the average when the fit ends.

    With `decay` the exponential moving average, else the plain mean of the weights after every step::

        a <- decay a + (1 - decay) w          a <- a + (w - a) / t

    Running statistics of normalization layers are not averaged: they stay as after the last step.

    Parameters
    ----------
    decay : float in [0, 1), optional
        None, the default, is the plain mean.
    start_epoch : int, default 1
        First epoch whose steps count.

    Attributes
    ----------
    average : ndarray (n_params,)
        The average so far.

    References
    ----------
    .. [1] Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    .. [2] Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018).

    Examples
    --------
    >>> import densenet as dn
    >>> average = dn.WeightAverage(0.99)
    """

    def __init__(self, decay: float | None = None, *, start_epoch: int = 1) -> None:
        self.decay = None if decay is None else fraction(decay, "WeightAverage", "decay")
        self.start_epoch = positive_int(start_epoch, "WeightAverage", "start_epoch")
        self.average: Array | None = None
        self.count = 0

    def on_fit_begin(self, run: Run) -> None:
        self.average, self.count = None, 0

    def on_batch_end(self, run: Run) -> None:
        if run.epoch < self.start_epoch or not run.stepped:
            return
        w = run.model.params
        self.count += 1
        if self.average is None:
            self.average = w.copy()
            self._change = np.empty_like(w)
            return
        part = 1 / self.count if self.decay is None else 1 - self.decay
        np.subtract(w, self.average, out=self._change)
        np.multiply(self._change, part, out=self._change)
        np.add(self.average, self._change, out=self.average)  # a <- a + (w - a) / t, or a + (1 - decay) (w - a)

    def on_fit_end(self, run: Run) -> None:
        if self.average is not None:
            run.model.params = self.average

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count} | ({} if self.average is None else {"average": self.average})

    def check_state(self, state: Any, run: Run) -> None:
        average = array(run.model.params.shape, run.model.dtype)
        record({"count": whole()}, {"average": average})(state, state_of(self))
        if bool(state["count"]) != ("average" in state):
            raise CheckpointError(f"{state_of(self)} must hold an average once it counts steps, and only then.")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = int(state["count"])
        if "average" in state:
            self.average = np.array(state["average"])
            self._change = np.empty_like(self.average)
