"""The processes that train one model together, by MPI, and their communication outside of the steps.

A rank is one of the processes of a communicator. Each holds the whole model, and takes its rows of every mini-batch;
`training/reducer.py` makes their gradients one. Whatever ends a fit is agreed upon here, so that no rank waits for one
that has left.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import sys
import time
import traceback
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from densenet._blas import blas_description, threads
from densenet._types import Array
from densenet.losses.base import Loss
from densenet.metrics import Metric
from densenet.optimizers.base import Optimizer
from densenet.sequential import Sequential
from densenet.training.data import ArrayBatches, FitData, StreamBatches
from densenet.training.hooks import Hooks
from densenet.training.run import Run

GRACE = 1.0
"""Seconds that a rank with an error waits for the news that all others have one, too."""
_THREADS_SET_BY = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_SHOWN = 200
_VALIDATION = "validation "  # how names of fingerprints of validation data begin


def world() -> Any:
    """The communicator of all processes that a launcher has started.

    Raises
    ------
    ImportError
        Without mpi4py or an MPI library, naming the extra.
    """
    return _mpi().COMM_WORLD


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter where there is no MPI library
        reason = " ".join(str(error).split())
        raise ImportError(
            f"several processes need mpi4py and an MPI library: pip install '.[mpi]' ({reason})."
        ) from None
    return MPI


def check_communicator(communicator: Any) -> None:
    """Complain unless ranks can meet through it.

    Raises
    ------
    ImportError
        Without mpi4py or an MPI library, naming the extra.
    TypeError, ValueError
        If it is no communicator, or a null one.
    """
    MPI = _mpi()
    if isinstance(communicator, MPI.Comm) and communicator == MPI.COMM_NULL:
        raise ValueError("Trainer expects a communicator that this process belongs to, got MPI.COMM_NULL.")
    if not isinstance(communicator, MPI.Intracomm):
        raise TypeError(
            "Trainer expects communicator to be an MPI communicator, such as MPI.COMM_WORLD of mpi4py, "
            f"got {communicator!r}."
        )


def part(rows: int, rank: int, size: int) -> tuple[int, int]:
    """First row, and the one after the last, of a rank's share of so many rows: shares differ by one row at most."""
    each, more = divmod(rows, size)
    first = rank * each + min(rank, more)
    return first, first + each + (rank < more)


class Ranks:
    """The processes of a communicator; without one, or with one process, this process alone.

    As a context manager it lasts for one fit. An exception that only some ranks have ends all of them, with one line
    that names the rank and the cause: the others would wait for ever.

    Parameters
    ----------
    communicator : mpi4py.MPI.Intracomm, optional

    Attributes
    ----------
    size, rank : int
        How many there are, and the number of this one, from 0.
    common : bool
        Whether the exception on its way is raised by every rank.
    """

    def __init__(self, communicator: Any = None) -> None:
        self.size = 1 if communicator is None else int(communicator.Get_size())
        self.rank = 0 if communicator is None else int(communicator.Get_rank())
        self.communicator = communicator
        self.common = False
        self._limit: threads | None = None

    def __enter__(self) -> Ranks:
        if self.size > 1:
            self.communicator = self.communicator.Dup()  # nobody else's messages
            self._limit = self._share_cores()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limit is not None:
            self._limit.__exit__(None, None, None)
        if self.size > 1:
            if error is not None:
                self.fail(error)
            self.communicator.Free()

    # -- messages ----------------------------------------------------------------------------------------------

    def exchange(self, value: Any) -> list[Any]:
        """The value of every rank, in order; every rank calls it."""
        return [value] if self.size == 1 else list(self.communicator.allgather(value))

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over the ranks, added in their order."""
        return [sum(column) for column in zip(*self.exchange(list(values)), strict=True)]

    def seed(self, seed: Any) -> Any:
        """The seed; for None, one that rank 0 has drawn."""
        if self.size == 1:
            return seed
        drawn = self.communicator.bcast(np.random.SeedSequence().entropy)
        return drawn if seed is None else seed

    def merge(self, metrics: Sequence[Metric]) -> None:
        """Merge each metric over all ranks."""
        if self.size == 1 or not metrics:
            return
        first, *others = self.exchange([metric.state_dict() for metric in metrics])
        for i, metric in enumerate(metrics):
            metric.load_state_dict(first[i])
            for states in others:
                other = copy.copy(metric)
                other.load_state_dict(states[i])
                metric.merge(other)

    def agree(self, run: Run) -> None:
        """Give a run the reason to end that any rank has: a lasting one first, of equals the lowest rank's."""
        if self.size == 1:
            return
        asked = [said for said in self.exchange((run.stopped, run.lasting)) if said[0] is not None]
        if asked:
            run.stopped, run.lasting = min(asked, key=lambda said: not said[1])
        run.agreed = bool(asked)

    # -- before the first step ---------------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """What one rank's checks find is raised by all of them; the block holds no other exchange."""
        if self.size == 1:
            yield
            return
        found: Exception | None = None
        try:
            yield
        except Exception as error:
            found = error
        said = self.exchange(None if found is None else (_kind(found), str(found)))
        if not any(said):
            return
        self.common = True
        if found is not None:
            raise found
        rank = next(i for i, problem in enumerate(said) if problem is not None)
        kind, text = said[rank]
        raise kind(f"rank {rank} of {self.size}: {text}")

    def compare(self, facts: Mapping[str, str], remedy: str = "") -> None:
        """Complain on every rank unless all ranks have the same facts.

        Raises
        ------
        ValueError
            Naming the first difference.
        """
        first, *others = self.exchange(dict(facts))
        for rank, other in enumerate(others, start=1):
            for name in {**first, **other}:
                if first.get(name) != other.get(name):
                    self.common = True
                    raise ValueError(
                        f"fit expects the same {name} on every rank, got {_shown(first.get(name))} on rank 0 and "
                        f"{_shown(other.get(name))} on rank {rank}.{remedy}"
                    )

    def fingerprints(self, data: FitData) -> dict[str, str | None]:
        """Fingerprints of the data of all ranks, by name.

        Raises
        ------
        ValueError
            If ranks pass other arrays, to train or to validate on, or the same batches to train on: what an iterable
            brings is a rank's own.
        """
        own = data.fingerprints()
        if self.size == 1:
            return own
        train, held_out = data.train, data.validation
        kinds = {"kind of data": train, "kind of validation data": held_out}
        facts: dict[str, Any] = {name: type(rows).__name__ for name, rows in kinds.items()}
        if isinstance(train, ArrayBatches):
            facts |= {"columns of x": train.x.shape[1], "rows of x": len(train)}
        of_arrays = {
            name: value
            for name, value in own.items()
            if isinstance(held_out if name.startswith(_VALIDATION) else train, ArrayBatches)
        }
        self.compare(
            {name: str(value) for name, value in (facts | of_arrays).items()},
            " An iterable of batches gives each rank rows of its own.",
        )
        every = self.exchange({name: value for name, value in own.items() if name not in of_arrays})
        parts = [named for kept in every if (named := _of_training(kept))]
        if len(set(parts)) < len(parts):
            self.common = True
            raise ValueError(
                "fit expects batches from an iterable to be each rank's own, got the same ones on several ranks: give "
                "each its part, such as ParquetBatches(files[rank::size], ...)."
            )
        return of_arrays | {
            name: hashlib.sha256(repr([kept.get(name) for kept in every]).encode()).hexdigest()
            for name in sorted({name for kept in every for name in kept})
        }

    def broadcast(self, model: Sequential) -> None:
        """Give every rank the weights, running statistics and noise generators of rank 0's model."""
        if self.size == 1:
            return
        for array in model.state_arrays():
            self.communicator.Bcast(array)
        drawing = [layer for layer in model.every_layer if layer.generator is not None]
        for layer, generator in zip(drawing, self.communicator.bcast([d.generator for d in drawing]), strict=True):
            layer.generator = generator

    def share(self, data: ArrayBatches | StreamBatches | None) -> ArrayBatches | StreamBatches | None:
        """This rank's part of the rows to evaluate; batches from an iterable are a rank's own."""
        if self.size == 1 or not isinstance(data, ArrayBatches):
            return data
        first, end = part(len(data), self.rank, self.size)
        if first == end:
            return StreamBatches((), None, None, data.dtype, "fit")
        if data.rows is not None:
            return data.subset(data.rows[first:end])
        weight = None if data.weight is None else data.weight[first:end]
        return ArrayBatches(data.x[first:end], data.y[first:end], weight, data.dtype)

    def _share_cores(self) -> threads | None:
        """Limit this rank's BLAS threads to the cores over the ranks that may use them, unless the environment says."""
        from mpi4py import MPI

        node = self.communicator.Split_type(MPI.COMM_TYPE_SHARED)
        own = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        share = max(1, len(own) // node.allgather(own).count(own))
        node.Free()
        if any(name in os.environ for name in _THREADS_SET_BY) or int(blas_description()["threads"]) <= share:
            return None
        return threads(share)

    # -- failures ----------------------------------------------------------------------------------------------

    @contextmanager
    def guard(self) -> Iterator[None]:
        """End all ranks where only some leave the block by an exception."""
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise

    def fail(self, error: BaseException) -> None:
        """Return if every rank has an exception; else say which rank has which, and end all of them."""
        if self.size == 1 or self.common:
            return
        if self._all_fail():
            self.common = True
            return
        cause = "".join(traceback.format_exception(error)).rstrip()
        print(
            f"{cause}\ndensenet: rank {self.rank} of {self.size} failed alone, so that all ranks end: "
            f"{type(error).__name__}: {error}",
            file=sys.__stderr__,
            flush=True,
        )
        self.communicator.Abort(1)

    def _all_fail(self) -> bool:
        """Whether every other rank says within the time of grace that it fails, too."""
        others = {rank for rank in range(self.size) if rank != self.rank}
        sent = [self.communicator.isend(None, rank) for rank in others]
        end = time.monotonic() + GRACE
        while others and time.monotonic() < end:
            for rank in tuple(others):
                if self.communicator.iprobe(rank):
                    self.communicator.recv(source=rank)
                    others.remove(rank)
            time.sleep(0.001)
        if not others:
            for request in sent:
                request.wait()
        return not others


def facts(model: Sequential, loss: Loss, optimizer: Any, run: Run, hooks: Hooks, data: FitData) -> dict[str, str]:
    """What has to be the same on every rank, by name."""
    state = optimizer.state_dict() if isinstance(optimizer, Optimizer) else {}
    vectors = [value for value in state.values() if isinstance(value, np.ndarray)]
    numbers = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
    found: dict[str, Any] = {
        "number of layers": len(model),
        **{f"layer {i}": layer for i, layer in enumerate(model)},
        "dtype": model.dtype,
        "marks of the parameters": [layer.marks for layer in model.every_layer],
        "loss": loss,
        "optimizer": optimizer,
        "state of the optimizer": (numbers, digest(vectors)),
        "epochs": run.epochs,
        **run.plan,
        "seed": None if run.generator is None else run.generator.bit_generator.state,
        "rows of the split": digest([rows for rows in (data.train_rows, data.validation_rows) if rows is not None]),
        "callbacks": [(type(c).__name__, c.plan()) for c in hooks.callbacks if c.collective or not c.observes],
        "place in the run to resume": (run.epoch, run.batches, run.step),
    }
    return {name: re.sub(" at 0x[0-9a-f]+", "", repr(value)) for name, value in found.items()}


def digest(arrays: Sequence[Array]) -> int:
    """A checksum (CRC-32) of arrays."""
    value = 0
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, value)
    return value


def _kind(error: Exception) -> type[Exception]:
    """The class by which other ranks raise an error: its own where one text makes it, as of those that checks raise."""
    kinds = (ValueError, TypeError, ImportError, MemoryError, OSError)
    known = type(error).__module__.partition(".")[0] in ("builtins", __name__.partition(".")[0])
    return type(error) if known and isinstance(error, kinds) and not isinstance(error, UnicodeError) else RuntimeError


def _of_training(fingerprints: Mapping[str, str | None]) -> tuple[tuple[str, str | None], ...]:
    return tuple((name, value) for name, value in fingerprints.items() if not name.startswith(_VALIDATION))


def _shown(fact: str | None) -> str:
    text = "none" if fact is None else fact
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
