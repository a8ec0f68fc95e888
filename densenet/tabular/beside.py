"""Fits that run beside each other, each in a process of its own with one BLAS thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from densenet._blas import blas_description, one_thread

Made = TypeVar("Made")


def workers_for(jobs: int) -> int:
    """How many processes: one for every core that BLAS may use; 1 where processes cannot be forked safely."""
    if not sys.platform.startswith("linux") or multiprocessing.current_process().daemon:
        return 1
    return max(1, min(jobs, len(os.sched_getaffinity(0)), int(blas_description()["threads"])))


def beside_each_other(jobs: Sequence[Callable[[], Made]], workers: int) -> list[Made]:
    """What the jobs give, in their order; the same bits with any number of workers, since each has one BLAS thread.

    Ctrl-C reaches the workers, whose fits end at a step; where a worker is killed, the jobs run in this process.

    Parameters
    ----------
    jobs : sequence of callable
        They and what they give can be pickled.
    workers : int
        1 runs the jobs one after another in this process.

    Examples
    --------
    >>> from functools import partial
    >>> from densenet.tabular.beside import beside_each_other
    >>> beside_each_other([partial(pow, 2, k) for k in range(4)], 2)
    [1, 2, 4, 8]
    """
    if workers > 1:
        try:
            return _in_processes(jobs, workers)
        except BrokenProcessPool:
            pass
    return [_alone(job) for job in jobs]


def _alone(job: Callable[[], Made]) -> Made:
    with one_thread():
        return job()


def _in_processes(jobs: Sequence[Callable[[], Made]], workers: int) -> list[Made]:
    from tqdm import tqdm

    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context) as pool, warnings.catch_warnings():
        # A child takes over no thread, and Python 3.12 warns of it; BLAS starts its threads anew.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
        waiting = [pool.submit(_alone, job) for job in jobs]
        with _left_to_workers(), tqdm(total=len(jobs), unit="member", disable=not sys.stderr.isatty()) as bar:
            for each in waiting:
                each.add_done_callback(lambda _: bar.update())
            return [each.result() for each in waiting]


@contextmanager
def _left_to_workers() -> Iterator[None]:
    """Ctrl-C is for the workers, which a terminal sends it to as well."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
