"""The weights of a training at chosen steps, in bounded memory."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet._validation import positive, positive_int
from densenet.training.hooks import Callback
from densenet.training.run import Run


class Recorder(Callback):
    """Keeps the parameters at evenly spaced steps of a training: what `explore` lets a person scrub over.

    It begins with every step. When its memory is full it drops every second snapshot and from then on records half as
    often, so that snapshots stay evenly spaced whatever the length of the training. The last step is always kept.

    Parameters
    ----------
    snapshots : int, default 200
        As many are kept at most; at least 2.
    megabytes : float, default 64.0
        And as many megabytes, whichever is less.

    Attributes
    ----------
    steps : list of int
        Optimizer steps done before each snapshot; 0 is the start.
    errors : list of float
        E of the mini-batch before each snapshot; NaN at the start.
    params : list of ndarray (n_params,)
        The model's flat vector at those steps, in its own dtype.

    Raises
    ------
    ValueError
        If an argument is out of range, or the model is too large for two snapshots.

    Examples
    --------
    >>> import densenet as dn
    >>> model, loss, x, y = dn.datasets.notes_network()
    >>> recorder = dn.Recorder(snapshots=5)
    >>> history = dn.Trainer(model, loss, dn.SGD(0.5)).fit(x, y, epochs=20, callbacks=[recorder])
    >>> recorder.steps
    [0, 8, 16, 20]
    """

    observes: ClassVar[bool] = True

    def __init__(self, snapshots: int = 200, *, megabytes: float = 64.0) -> None:
        self.snapshots = positive_int(snapshots, "Recorder", "snapshots")
        if self.snapshots < 2:
            raise ValueError(f"Recorder expects at least 2 snapshots, got {snapshots!r}.")
        self.megabytes = positive(megabytes, "Recorder", "megabytes")
        self.steps: list[int] = []
        self.errors: list[float] = []
        self.params: list[Array] = []
        self._every, self._most, self._base = 1, self.snapshots, 0

    def on_fit_begin(self, run: Run) -> None:
        """Start anew; a later fit of the same model goes on where the last one ended."""
        params = run.model.params
        self._most = min(self.snapshots, int(self.megabytes * 1e6 / max(1, params.nbytes)))
        if self._most < 2:
            raise ValueError(
                f"Recorder: one snapshot of {params.size:,} parameters takes {params.nbytes / 1e6:.1f} MB, and two "
                f"must fit into megabytes={self.megabytes:g}: give it more."
            )
        if self.params and np.array_equal(self.params[-1], params):
            self._base = self.steps[-1]
            return
        self.steps, self.errors, self.params = [], [], []
        self._every, self._base = 1, 0
        self._keep(0, np.nan, params)

    def on_batch_end(self, run: Run) -> None:
        """Keep the parameters where this step is one of the chosen."""
        step = self._base + run.step
        if not run.stepped or step % self._every:
            return
        self._keep(step, run.batch_error, run.model.params)
        if len(self.params) >= self._most:  # room is left for the last step
            self._every *= 2
            chosen = [at for at, s in enumerate(self.steps) if s % self._every == 0]
            self.steps = [self.steps[at] for at in chosen]
            self.errors = [self.errors[at] for at in chosen]
            self.params = [self.params[at] for at in chosen]

    def on_fit_end(self, run: Run) -> None:
        """Keep the last step."""
        step = self._base + run.step
        if self.steps and step > self.steps[-1]:
            self._keep(step, run.batch_error, run.model.params)

    def _keep(self, step: int, error: float, params: Array) -> None:
        self.steps.append(step)
        self.errors.append(float(error))
        self.params.append(params.copy())

    def __repr__(self) -> str:
        span = f" from step {self.steps[0]} to {self.steps[-1]}" if self.steps else ""
        return f"<Recorder of {len(self.steps)} snapshots{span}>"
