"""One gradient from the mini-batches of several ranks: one all-reduce of one buffer for every update.

The buffer holds, summed over the ranks by MPI::

    sum of w g    w    w E    ranks that brought rows    ranks that want to stop    running statistics

so that every rank gets g = sum(w g) / sum(w), E = sum(w E) / sum(w) and the mean of the statistics, and then makes the
same update. All ranks read from the same sums whether the error diverged and whether the run stops.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator
from contextlib import closing
from itertools import chain, repeat
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.layers.noise import Noise
from densenet.sequential import Sequential
from densenet.training.accumulator import Accumulator
from densenet.training.data import ArrayBatches, Batch, StreamBatches
from densenet.training.ranks import Ranks, digest, part
from densenet.training.run import Run


class Reducer:
    """The mini-batches of all ranks as one; a rank adds up `count` of its own first.

    A rank takes its rows of each mini-batch of arrays; of an iterable it takes its own batches. Where it has no row and
    others have, it goes through one of weight 0. Noise layers draw for the rows of all ranks, and keep this rank's.

    Parameters
    ----------
    ranks : Ranks
        Of at least two processes.
    model : Sequential
    count : int, default 1
        Mini-batches of an update.

    Raises
    ------
    TypeError
        If a layer of another kind than `densenet.layers.noise.Noise` draws: it cannot draw for other ranks' rows.

    References
    ----------
    .. [1] Chan, Heimlich, Purkayastha and van de Geijn, "Collective communication: theory, practice, and experience"
       (2007), section 3, for what an all-reduce costs.
    """

    def __init__(self, ranks: Ranks, model: Sequential, count: int = 1) -> None:
        self.ranks, self.model = ranks, model
        self._statistics = model.state_arrays()[1:]
        n = model.params.size
        self._buffer = np.zeros(n + 4 + sum(array.size for array in self._statistics), model.dtype)
        self._sums, self._moved = self._buffer[n : n + 4], self._buffer[n + 4 :]
        self.own = Accumulator(model, count, self._buffer[:n])
        self._noise = [layer for layer in model.every_layer if isinstance(layer, Noise)]
        for layer in model.every_layer:
            if layer.by_place:
                raise TypeError(
                    f"a communicator splits mini-batches, and {type(layer).__name__} goes by the places of rows: "
                    "train it without, or train models and join them with dn.Ensemble."
                )
            if layer.draws and not isinstance(layer, Noise):
                raise TypeError(
                    f"a communicator needs noise layers that draw for all ranks: derive {type(layer).__name__} from "
                    "densenet.layers.noise.Noise."
                )
        self._error, self._weighs = 0.0, True
        self._brought = False  # rows of its own since the last update
        self._open = False  # mini-batches of any rank since then
        self.here = True

    # -- the gradient ------------------------------------------------------------------------------------------

    def add(self, run: Run, weight: float) -> bool:
        """Add the model's gradient; True when it is time to step, with the mean over all ranks in the model's `grads`.

        ``run.batch_error``, the error of this rank's rows, then is the mean over all ranks, too.
        """
        self._error += run.batch_error * weight
        return self._weighs and self.own.gather(weight) and self.finish(run)

    def finish(self, run: Run) -> bool:
        """Put the mean over all ranks into the model's `grads`; False when nothing was added, or it weighs 0."""
        if not self._open:
            return False
        run.batch_error, weight, stop = self.mean(run.stopped is not None)
        if stop:
            self.ranks.agree(run)
        return weight > 0

    def mean(self, stop: bool = False) -> tuple[float, float, bool]:
        """Make the mean of what was added on all ranks.

        Returns
        -------
        float, float, bool
            Its error and weight, and whether any rank wants to stop.
        """
        from mpi4py import MPI

        sums, statistics = self._sums, self._statistics
        self.here = not math.isfinite(self._error)
        sums[:] = self.own.weight, self._error, self._brought, stop
        if statistics:
            if self._brought:
                np.concatenate([array.ravel() for array in statistics], out=self._moved)
            else:
                self._moved.fill(0)
        self.ranks.communicator.Allreduce(MPI.IN_PLACE, self._buffer)
        weight, error, brought, stops = sums.tolist()
        np.multiply(self.own.sum, 1 / weight if weight else 0.0, out=self.model.grads)  # g = sum(w g) / sum(w)
        if statistics:
            self._moved /= brought  # every rank's mean of the running statistics
            self._spread()
        self.own.reset()
        self._error, self._brought, self._open = 0.0, False, False
        return error / weight if weight else error, weight, stops > 0

    def mean_of(self, error: float, weight: float) -> float:
        """The mean error of all ranks; the mean of their gradients goes into the model's `grads`."""
        self._error += error * weight
        self.own.gather(weight)
        return self.mean()[0]

    def _spread(self) -> None:
        offset = 0
        for array in self._statistics:
            array[...] = self._moved[offset : offset + array.size].reshape(array.shape)
            offset += array.size

    def cause(self, text: str) -> str:
        """The message of a divergence on all ranks: from the first rank whose own rows show it."""
        said = self.ranks.exchange((self.here, text))
        self.ranks.common = True
        return str(next((own for here, own in said if here), said[0][1]))

    # -- the rows ----------------------------------------------------------------------------------------------

    def batches(self, data: ArrayBatches | StreamBatches, run: Run, batch_size: int) -> Generator[Batch, None, None]:
        """This rank's mini-batches for the rest of an epoch, as many as the other ranks have.

        Raises
        ------
        ValueError
            On every rank, if an iterable brings one of them no batch at all.
        """
        if isinstance(data, StreamBatches):
            yield from self._streamed(data, run)
            return
        rank, size = self.ranks.rank, self.ranks.size
        n, batch = len(data), min(batch_size, len(data))
        order = np.arange(n) if run.order is None else run.order
        first, end = part(batch, rank, size)
        whole = n - n % batch
        first_left, end_left = part(n - whole, rank, size)
        own = [order[:whole].reshape(-1, batch)[:, first:end].ravel(), order[whole + first_left : whole + end_left]]
        mine = data.subset(np.concatenate(own) if data.rows is None else data.rows[np.concatenate(own)])
        batches = mine.epoch(end - first, None, run.batches * (end - first))
        idle = _of_no_weight(next(mine.epoch(1)))
        for start in range(run.batches * batch, n, batch):
            drawn = order[start : start + batch]
            self._weighs = self.own.count == 1 or data.weight is None or _weighs(data, drawn)
            first, end = part(len(drawn), rank, size)
            yield self._placed(next(batches) if first < end else None, idle, first, len(drawn))

    def _streamed(self, data: StreamBatches, run: Run) -> Generator[Batch, None, None]:
        rank, idle = self.ranks.rank, None
        with closing(data.epoch(start=run.batches, number=run.epoch)) as own:
            for batch in chain(own, repeat(None)):
                if idle is None:
                    idle = _first_row(batch, data, run.epoch)
                said = self.ranks.exchange(
                    (0, False, idle is None) if batch is None else (batch[0].shape[0], _has_weight(batch[2]), False)
                )
                rows, weigh, without = (list(column) for column in zip(*said, strict=True))
                if any(without):
                    self.ranks.common = True
                    raise ValueError(f"fit expects a batch from every rank, got none from rank {without.index(True)}.")
                if not any(rows):
                    return
                assert idle is not None
                self._weighs = self.own.count == 1 or any(weigh)
                yield self._placed(batch, idle, sum(rows[:rank]), sum(rows))

    def _placed(self, batch: Batch | None, idle: Batch, first: int, total: int) -> Batch:
        """The mini-batch, or the idle one; noise layers draw for `total` rows, of which its own begin at `first`."""
        self._open, self._brought = True, self._brought or batch is not None
        rows = slice(0, 1) if batch is None else slice(first, first + batch[0].shape[0])
        for layer in self._noise:
            layer.take_part(rows, total)
        return idle if batch is None else batch

    def meet(self, batch: Batch) -> None:
        """Prepare for a mini-batch of which this rank has these rows."""
        said = self.ranks.exchange(batch[0].shape[0])
        self._placed(batch, batch, sum(said[: self.ranks.rank]), sum(said))

    def leave(self) -> None:
        """Let noise layers draw for the rows they are given, as before the fit."""
        for layer in self._noise:
            layer.take_part(None)

    # -- the epoch ---------------------------------------------------------------------------------------------

    def end_epoch(self, run: Run, optimizer: Any) -> None:
        """Give every rank the sums and metrics of all, and rank 0's weights where others have drifted.

        Warns
        -----
        UserWarning
            If a rank's weights had other bits, which processors of different kinds may give them.
        """
        run.stop_clock()
        said = self.ranks.exchange(
            (run.total, run.weights, run.penalties, run.seconds, digest(self.model.state_arrays()))
        )
        *sums, seconds, digests = zip(*said, strict=True)
        run.total, run.weights, run.penalties = map(sum, sums)
        run.seconds_before = seconds[0]
        self.ranks.merge(run.metrics)
        if len(set(digests)) > 1:
            self.ranks.broadcast(self.model)
            optimizer.load_state_dict(self.ranks.communicator.bcast(optimizer.state_dict()))
            if self.ranks.rank == 0:
                other = next(rank for rank, value in enumerate(digests) if value != digests[0])
                warnings.warn(
                    f"after epoch {run.epoch} the weights of rank {other} are not bit for bit those of rank 0, as "
                    "happens where processors differ: all ranks go on with those of rank 0.",
                    stacklevel=6,
                )

    def collect(self, run: Run) -> None:
        """Bring the sums of an epoch that goes on to rank 0, as a checkpoint holds them; the others begin at 0."""
        from mpi4py import MPI

        run.total, run.weights, run.penalties = self.ranks.sum([run.total, run.weights, run.penalties])
        self.ranks.merge(run.metrics)
        if self._open:  # in the middle of an update
            self.ranks.communicator.Allreduce(MPI.IN_PLACE, self.own.sum)
            self.own.weight, self._error = self.ranks.sum([self.own.weight, self._error])
            for array in self._statistics:
                self.ranks.communicator.Allreduce(MPI.IN_PLACE, array)
                array /= self.ranks.size
        self.take_up(run)

    def take_up(self, run: Run) -> None:
        """Keep the sums of an epoch that goes on at rank 0 alone."""
        if self.own.seen:  # an update is due, although no mini-batch need follow
            self._open = self._brought = True
        if self.ranks.rank == 0:
            return
        run.total = run.weights = run.penalties = 0.0
        for metric in run.metrics:
            metric.reset()
        self.own.sum.fill(0)
        self.own.weight = self._error = 0.0


def _first_row(batch: Batch | None, data: StreamBatches, epoch: int) -> Batch | None:
    """The first row of a rank's batch, or of its epoch, with weight 0; None where it has none."""
    if batch is None:
        with closing(data.epoch(number=epoch)) as again:
            batch = next(again, None)
    return None if batch is None else _of_no_weight((batch[0][:1].copy(), batch[1][:1].copy(), None))


def _of_no_weight(batch: Any) -> Batch:
    x, y, _ = batch
    return x, y, np.zeros(1, x.dtype)


def _has_weight(weight: Array | None) -> bool:
    return weight is None or bool(weight.any())


def _weighs(data: ArrayBatches, drawn: Array) -> bool:
    assert data.weight is not None
    return bool(data.weight[drawn if data.rows is None else data.rows[drawn]].any())
