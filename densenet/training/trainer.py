"""The trainer: arguments in, results out.

`Trainer.step` is one mini-batch: forward pass, error, backward pass, update. `fit` repeats it over shuffled
mini-batches and returns the record; `training.loop` is what it runs.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, cast

import numpy as np

from densenet import losses, optimizers
from densenet import metrics as metrics_module
from densenet._blas import one_pool
from densenet._types import Array
from densenet._validation import (
    as_generator,
    as_matrix,
    as_weights,
    fraction,
    nonnegative_int,
    positive,
    positive_int,
    same_rows,
)
from densenet.losses.base import Loss
from densenet.metrics import Metric
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.sequential import Sequential
from densenet.training.callbacks import EarlyStopping
from densenet.training.data import (
    ArrayBatches,
    FitData,
    StreamBatches,
    as_data,
    as_targets,
    fit_data,
    plain_class_weight,
)
from densenet.training.evaluate import evaluate
from densenet.training.full_batch import FullBatchSolver
from densenet.training.history import History
from densenet.training.hooks import Callback, Hooks, as_callbacks
from densenet.training.loop import train
from densenet.training.progress import progress_bar
from densenet.training.ranks import Ranks, check_communicator, facts
from densenet.training.run import Run
from densenet.training.slices import Choice, Slices, one_step, slices
from densenet.training.step import REMEDY, DivergenceError, Step

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from densenet.compiled.plan import Plan
    from densenet.persistence.checkpoints import Checkpoint

    Method = TypeVar("Method", bound=Optimizer | FullBatchSolver, default=Optimizer)
else:
    from typing import TypeVar

    Method = TypeVar("Method")


class Trainer(Generic[Method]):
    """Gradient descent on the error of a model: w_new = w_old - alpha dE/dw.

    Parameters
    ----------
    model : Sequential
    loss : Loss or str
        For example ``dn.SoftmaxCrossEntropy()`` or ``"mse"``.
    optimizer : Optimizer, FullBatchSolver or str
        For example ``dn.SGD(0.1)``, ``"adam"`` or ``dn.LevenbergMarquardt()``.
    metrics : sequence of Metric or str, default ()
        Figures beside the error.
    clip_norm : float, optional
        A gradient that is longer is scaled to this length, as in PyTorch's ``clip_grad_norm_``.
    clip_value : float, optional
        Entries of the gradient are cut at plus and minus this.
    accumulate : int, default 1
        `fit` updates after this many mini-batches, with the gradient of all of them as if they were one.
    communicator : mpi4py.MPI.Intracomm, optional
        The processes (ranks) that train the model together, such as ``MPI.COMM_WORLD`` under ``mpiexec -n 4`` (extra
        ``[mpi]``). Each holds the whole model and calls `fit` and `step` alike; see below.
    compiled : {"auto", True, False}, default "auto"
        Whether kernels make the steps (extra ``[fast]``), with the same results up to rounding. "auto" takes them for
        a `fit` that saves some seconds by them, as its steps, widths and batch size say, and where model, loss,
        optimizer, data and callbacks have what they need; a resumed fit goes on as it began. True takes them always,
        in `step` too, and raises where it cannot.

    **Several ranks.** A script becomes a run on many machines by one argument::

        from mpi4py import MPI                                     # mpiexec -n 4 python -m mpi4py train.py

        trainer = dn.Trainer(model, loss, optimizer, communicator=MPI.COMM_WORLD)
        history = trainer.fit(x, y, epochs=30, batch_size=256, seed=0)

    `fit` begins with the weights of rank 0. `batch_size` is the global mini-batch: every rank passes the same arrays
    (or memory maps, of which it reads its rows alone) and takes its rows of every mini-batch of one shuffle. An
    iterable is a rank's own shard: one batch of each rank together are a mini-batch. For every update one all-reduce
    sums w dE/dw, the weights w and the errors, and all ranks make the same step. So N ranks give, up to rounding, the
    run of one; dropout and other noise, too. `BatchNorm` normalises by its rank's own rows, and its running statistics
    are means over the ranks. A stop that a callback asks for after a mini-batch holds after the next update.

    `evaluate` and `predict` are local. `step` is collective: each rank passes rows of its own, with the same weights
    before it. Callbacks that only observe (`Callback.observes`: progress, CSV, ...) run on rank 0, all others on every
    rank; rank 0 writes checkpoints, from which any number of ranks can go on. What differs between ranks is an error on
    all of them before the first step; an exception that only one of them has ends all. BLAS takes the node's cores over
    the node's ranks.

    Attributes
    ----------
    compiled_reason : str or None
        Why the NumPy lines made the last `fit`; None where kernels made it, and before the first.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or range, naming it.

    Warns
    -----
    UserWarning
        If the last layer does not give what the loss expects (probabilities where it takes logits, or the reverse).

    References
    ----------
    .. [1] Robbins and Monro, "A stochastic approximation method" (1951).

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> model = dn.mlp([64, 32, 10], seed=0)
    >>> trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.SGD(learning_rate=0.1), metrics=[dn.Accuracy()])
    >>> history = trainer.fit(x, y, epochs=10, batch_size=32, validation_split=0.2, seed=0)
    >>> history["val_accuracy"][-1] > 0.9
    True
    """

    _busy: object
    _fit: tuple[Run, Hooks, Step] | None = None  # while it goes on
    compiled: Choice = "auto"
    communicator: Any = None
    compiled_reason: str | None = None
    _by_kernels = False  # whether kernels make or made the fit
    _plan: Plan | None = None  # the kernels' last one, for the next fit or step

    def __init__(
        self,
        model: Sequential,
        loss: Loss | str,
        optimizer: Method | str,
        *,
        metrics: Sequence[Metric | str] = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        communicator: Any = None,
        compiled: Choice = "auto",
    ) -> None:
        if not isinstance(model, Sequential):
            raise TypeError(f"Trainer expects a Sequential as its model, got {model!r}.")
        self.model = model
        self.loss: Loss = copy.deepcopy(losses.get(loss))  # another trainer may be given the same
        self.optimizer: Method = cast(
            "Method", optimizer if isinstance(optimizer, FullBatchSolver) else optimizers.get(optimizer)
        )
        if isinstance(metrics, (str, Metric)):
            metrics = [metrics]
        self.metrics: list[Metric] = [copy.deepcopy(metrics_module.get(metric)) for metric in metrics]
        for metric in self.metrics:
            metric.task = self.loss.task  # several 0/1 columns and rows of one class look alike
        self.clip_norm = None if clip_norm is None else positive(clip_norm, "Trainer", "clip_norm")
        self.clip_value = None if clip_value is None else positive(clip_value, "Trainer", "clip_value")
        if clip_norm is not None and clip_value is not None:
            raise ValueError("Trainer expects clip_norm or clip_value, got both.")
        self.accumulate = positive_int(accumulate, "Trainer", "accumulate")
        if isinstance(optimizer, FullBatchSolver) and (clip_norm or clip_value or self.accumulate > 1):
            raise ValueError(f"Trainer: {optimizer!r} makes its own steps: clipping and accumulate are for optimizers.")
        if not isinstance(compiled, bool) and compiled != "auto":
            raise ValueError(f'Trainer expects compiled to be "auto", True or False, got {compiled!r}.')
        self.compiled, self.communicator = compiled, communicator
        if communicator is not None:
            self._check_communicator(communicator)
        self._position: dict[str, Any] | None = None  # where the last fit ended
        _warn_of_wrong_output(model, self.loss)

    def _check_communicator(self, communicator: Any) -> None:
        check_communicator(communicator)
        if isinstance(self.optimizer, FullBatchSolver):
            raise ValueError(
                f"Trainer: {self.optimizer!r} works on all the data in one process: a communicator is for optimizers."
            )
        if self.compiled is True and communicator.Get_size() > 1:
            raise ValueError('Trainer: kernels do not share mini-batches with other ranks: use compiled="auto".')
        for metric in self.metrics:
            if type(metric).merge is Metric.merge:
                raise TypeError(
                    f"Trainer: a communicator needs metrics with merge(other), which {metric!r} has not: it takes in "
                    "what another one has gathered."
                )

    # -- one mini-batch ----------------------------------------------------------------------------------------

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """One mini-batch: forward pass, error, backward pass, update.

        With a communicator every rank calls it, each with rows of its own, and gets the error of all. An exception that
        only one rank has ends all.

        Parameters
        ----------
        x : array_like (n, n_in)
        y : array_like
            Targets as the loss takes them.
        sample_weight : array_like (n,), optional

        Returns
        -------
        float
            The error before the update.

        Raises
        ------
        ValueError, TypeError
            If shapes or values do not fit.
        DivergenceError
            If the error is NaN or infinite; no update is made.
        """
        if isinstance(self.optimizer, FullBatchSolver):
            raise TypeError(f"step is for optimizers; {self.optimizer!r} works on all the data, in fit.")
        ranks = Ranks(self.communicator)
        with ranks.guard():
            x = as_matrix(x, self.model.n_in, self.model.dtype, "step")
            y = as_targets(y, x.shape[1], self.model, self.loss)
            same_rows(x, y, "step")
            weight = as_weights(sample_weight, len(x), self.model.dtype, "step")
            self.optimizer.attach(self.model)
            error = self._one_step(self._step(ranks), x, y, weight)
        if self._position is not None and self._fit is None:  # a checkpoint tells of this step, too
            self._position |= {"step": self._position["step"] + 1, "arrays": None, "gradients": True}
        return error

    def _one_step(self, step: Step, x: Array, y: Array, weight: Array | None) -> float:
        if self.compiled is True:
            error, self._plan = one_step(step, x, y, weight, self._plan)
        else:
            error = step.shared_gradient(x, y, weight)
        if not error < math.inf:
            raise DivergenceError(f"step: the error is {error}{step.first_not_finite(x)}; no update was made. {REMEDY}")
        if self.compiled is not True:
            step.update()
        return error

    def _step(self, ranks: Ranks, accumulate: int = 1) -> Step:
        return Step(
            self.model,
            self.loss,
            self.optimizer,
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            accumulate=accumulate,
            ranks=ranks,
        )

    # -- many epochs -------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        batch_size: int = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | str | None = None,
        shuffle: bool = True,
        seed: Any = None,
        callbacks: Sequence[Callback] | Callback = (),
        progress: bool | None = None,
        resume: str | os.PathLike[str] | None = None,
        changed_data: bool = False,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like (n, n_in), or an iterable of (x, y) or (x, y, sample_weight) batches
            A memory map is read batch by batch; so are Parquet files by `datasets.ParquetBatches`.
        y : array_like
            Targets as the loss takes them; None with an iterable.
        epochs : int
            With a `FullBatchSolver` its iterations at most, each on all the data.
        batch_size : int, default 32
            Rows of a mini-batch, of all ranks together; more than n is one batch of n. An iterable brings its own, and
            a `FullBatchSolver` ignores it and takes all rows.
        validation_data : (x, y), (x, y, sample_weight) or an iterable of batches, optional
        validation_split : float in [0, 1), default 0.0
            Share of rows, drawn at random from `seed` (in the classes' proportions), that is held out for validation.
        sample_weight : array_like (n,), optional
        class_weight : dict of class number to weight, or "balanced", optional
            Multiplies the sample weights; "balanced" is n / (classes * count). A class that is not named weighs 1.
        shuffle : bool, default True
            Whether rows are drawn in a new order every epoch.
        seed : int, numpy.random.Generator or None, default None
            Sets the split and the shuffle.
        callbacks : sequence of Callback, or one, default ()
        progress : bool, optional
            Whether to show a progress bar; by default on a terminal and in a notebook.
        resume : path-like, optional
            A checkpoint of this fit (`ModelCheckpoint`, `save_checkpoint`) to go on from, in the middle of an epoch,
            too. It gives bit for bit the result of an uninterrupted run; data, arguments, callbacks and trainer must be
            the same; `epochs` counts the whole run. `seed` and the model's own weights do not matter then. An
            iterable of batches is read again from the start of its epoch; `datasets.ParquetBatches` go on where they
            were.
        changed_data : bool, default False
            Whether `resume` may go on with other arrays of the same shapes. Without it x, y, weights and validation
            data are compared with the checkpoint's fingerprints, taken in the model's dtype (of all rows up to 64 MB,
            else of 4,096 rows spread over all). Iterables of batches have none, but for `datasets.ParquetBatches`.

        Returns
        -------
        History
            One number an epoch for every figure. Training figures are means over the samples, each taken before its
            update; of a `FullBatchSolver`, taken after it.

        Raises
        ------
        ValueError, TypeError
            If an argument is of the wrong kind, shape or range, or another than in the run to resume, or kernels are
            asked for and impossible, with the reason; nothing is trained then. With a communicator every rank raises:
            also if ranks differ in anything, or one has no rows.
        DivergenceError
            If the error turns NaN or infinite; weights, optimizer state and statistics return to the epoch's start.
        CheckpointError
            If `resume` is damaged or no checkpoint.
        OSError
            If it cannot be read.

        Warns
        -----
        UserWarning
            If the checkpoint was written with another BLAS or number of threads: last bits may differ then. If it has
            no fingerprints, as those of version 0.1. If the optimizer was given another learning rate: the checkpoint's
            holds. If ranks have drifted apart in last bits: all take rank 0's weights at the end of the epoch.
        """
        with (
            Ranks(self.communicator) as ranks,
            self._alone(),
            np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        ):
            seed = ranks.seed(seed)
            with ranks.together():
                epochs = nonnegative_int(epochs, "fit", "epochs")
                batch_size = positive_int(batch_size, "fit", "batch_size")
                share = fraction(validation_split, "fit", "validation_split")
                callbacks, bar = as_callbacks(callbacks), progress_bar(progress)
                rng, shuffle = as_generator(seed, "fit"), shuffle and not isinstance(self.optimizer, FullBatchSolver)
                checkpoint, history = self._begin(resume)
                data = fit_data(
                    self.model, self.loss, x, y, sample_weight, class_weight, validation_data, share, rng, history.drawn
                )
                history.train_indices, history.validation_indices = data.train_rows, data.validation_rows
                self._check_fit(data, epochs, batch_size, ranks)
            fingerprints = {} if isinstance(self.optimizer, FullBatchSolver) else ranks.fingerprints(data)
            with ranks.together():
                hooks, step = self._hooks(callbacks, bar, data, ranks.rank), self._step(ranks, self.accumulate)
                weights = plain_class_weight(class_weight)
                plan = {"validation_split": share, "batch_size": batch_size, "class_weight": weights}
                run = self._run(data, history, epochs, rng if shuffle else None, plan, fingerprints, ranks)
                if checkpoint is not None:
                    checkpoint.resume(run, hooks, step, bool(changed_data))
                compiled = self._choose(step, run, hooks, data, batch_size, checkpoint)
            if ranks.size > 1:
                self._meet(step, run, hooks, data)
            self._train(step, run, hooks, data, batch_size, compiled)
        history.stopped = run.stopped or "finished"
        return history

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One fit at a time in one trainer."""
        mark = object()
        if self.__dict__.setdefault("_busy", mark) is not mark:  # one call, so that threads agree
            raise RuntimeError(
                "fit: this trainer is in a fit already, in a callback or another thread: make a second Trainer for "
                "what runs beside it."
            )
        try:
            with one_pool():
                yield
        finally:
            del self._busy

    def _begin(self, resume: str | os.PathLike[str] | None) -> tuple[Checkpoint | None, History]:
        """The checkpoint to go on from, and the history so far."""
        checkpoint, history = None if resume is None else self._checkpoint(resume), History()
        if checkpoint is not None:
            history.load_state_dict(checkpoint.progress["history"])
        return checkpoint, history

    def _hooks(self, callbacks: list[Callback], bar: Callback | None, data: FitData, rank: int) -> Hooks:
        if isinstance(self.optimizer, FullBatchSolver):
            callbacks = [*callbacks, *_stop_on_validation(self.optimizer, data)]
        else:
            self.optimizer.attach(self.model)
        return Hooks([*callbacks, bar] if bar else callbacks, rank)

    def _checkpoint(self, path: str | os.PathLike[str]) -> Checkpoint:
        from densenet.persistence.checkpoints import read_checkpoint

        if isinstance(self.optimizer, FullBatchSolver):
            raise ValueError(f"fit cannot resume with {self.optimizer!r}: checkpoints are for optimizers.")
        return read_checkpoint(path, self.model, self.loss, self.optimizer)

    def _check_fit(self, data: FitData, epochs: int, batch_size: int, ranks: Ranks) -> None:
        """Check the arguments against the data."""
        train = data.train
        if isinstance(train, ArrayBatches) and (rows := min(batch_size, len(train))) < ranks.size:
            raise ValueError(
                f"fit expects a row for every rank in a mini-batch of all {ranks.size}, got {rows} "
                f"(batch_size {batch_size}, {len(train)} rows)."
            )
        if isinstance(train, StreamBatches) and epochs > 1 and train.once:
            raise ValueError(
                f"fit expects an iterable that can be read {epochs} times, got an iterator that is used up after one "
                "epoch: pass a list, or an object whose __iter__ starts anew."
            )
        if isinstance(self.optimizer, FullBatchSolver) and isinstance(train, StreamBatches):
            raise ValueError(f"fit: {self.optimizer!r} takes all the data at once: pass arrays.")

    def _run(
        self,
        data: FitData,
        history: History,
        epochs: int,
        generator: np.random.Generator | None,
        plan: dict[str, Any],
        fingerprints: dict[str, str | None],
        ranks: Ranks,
    ) -> Run:
        rows = len(data.train) if isinstance(data.train, ArrayBatches) else None
        rate = getattr(self.optimizer, "learning_rate", None)
        plan = {
            "rows": rows,
            "validation": data.validation is not None,
            **plan,
            "shuffle": generator is not None,
            "accumulate": self.accumulate,
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "metrics": repr(self.metrics),
            "learning_rate": None if isinstance(rate, Schedule) else rate,  # before callbacks reduce it
        }
        order = None if generator is None or rows is None else np.arange(rows)
        return Run(
            self,
            history,
            epochs,
            self.metrics,
            plan,
            generator,
            order,
            fingerprints,
            rank=ranks.rank,
            agreed=ranks.size == 1,
            data=data.train,
        )

    def _meet(self, step: Step, run: Run, hooks: Hooks, data: FitData) -> None:
        """Before the first step: the ranks must have the same plan, and get the same weights."""
        step.ranks.compare(facts(step.model, step.loss, step.optimizer, run, hooks, data))
        step.ranks.broadcast(self.model)
        if step.reducer is not None and run.inside:
            step.reducer.take_up(run)

    def _choose(
        self, step: Step, run: Run, hooks: Hooks, data: FitData, batch_size: int, checkpoint: Checkpoint | None
    ) -> Slices | None:
        """Kernels for this fit, or None for the NumPy lines; a resumed fit goes on as it began."""
        before = None if checkpoint is None else checkpoint.compiled
        compiled, self.compiled_reason = slices(
            self.compiled, step, run, hooks, data.train, batch_size, before, self._plan
        )
        self._by_kernels = run.history.compiled = compiled is not None
        if checkpoint is not None:
            checkpoint.warn_of_other_place(self._by_kernels)
        return compiled

    def _train(
        self, step: Step, run: Run, hooks: Hooks, data: FitData, batch_size: int, compiled: Slices | None
    ) -> None:
        """Run the loop, keep what a later checkpoint needs, call the end hooks."""
        self._fit, self._position = (run, hooks, step), None
        try:
            with step.ranks.guard():
                train(step, run, hooks, data.train, step.ranks.share(data.validation), batch_size, compiled)
            if compiled is not None:
                self.compiled_reason, self._plan = compiled.reason, compiled.plan
                compiled.plan.release()
        finally:
            del self._fit
            if step.reducer is not None:
                step.reducer.leave()
            try:
                self._position = position = _position(run, hooks, step)
                if hooks["on_fit_end"]:  # it may change the weights
                    position["arrays"] = [array.copy() for array in self.model.state_arrays()]
            finally:
                try:
                    hooks.end(run)
                finally:
                    if self._position is not None and all(
                        map(np.array_equal, self._position["arrays"] or (), self.model.state_arrays())
                    ):
                        self._position["arrays"] = None

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: ``fit(..., resume=path)`` goes on from it, and `densenet.load` gives its model.

        It holds the model, the optimizer's state, the position in the run with the shuffle's and the noise layers'
        generators, the history, and the callbacks' states. Inside a fit it can be called from a callback's
        `on_batch_end`, `on_epoch_end` and `on_fit_end`; `ModelCheckpoint` does so regularly. After a fit its model is
        the one that the callbacks have left (with the best or the averaged weights), and a resumed fit goes on from the
        weights that were there before. With a communicator rank 0 writes; inside an epoch every rank must call it, at
        the same step.

        Parameters
        ----------
        path : path-like
            Ends in ``.npz`` or, with the extra ``[io]``, in ``.safetensors``.

        Raises
        ------
        RuntimeError
            In the middle of a step.
        ValueError, TypeError
            If the name ends in anything else, or a class is not registered (`densenet.register`).
        OSError
            If the file cannot be written; an old one is as it was.

        Examples
        --------
        >>> import densenet as dn
        >>> x, y = dn.datasets.load_digits()
        >>> def new_trainer():
        ...     return dn.Trainer(dn.mlp([64, 16, 10], dropout=0.2, seed=0), "softmax_cross_entropy", "adam")
        >>> path = getfixture("tmp_path") / "checkpoint.npz"
        >>> first = new_trainer()
        >>> _ = first.fit(x, y, epochs=1, seed=0)
        >>> first.save_checkpoint(path)
        >>> second = new_trainer()
        >>> history = second.fit(x, y, epochs=2, resume=path)
        >>> uninterrupted = new_trainer()
        >>> history["loss"] == uninterrupted.fit(x, y, epochs=2, seed=0)["loss"]
        True
        """
        from densenet.persistence.checkpoints import write_checkpoint

        if isinstance(self.optimizer, FullBatchSolver):
            raise TypeError(f"save_checkpoint is for runs with an optimizer, got {self.optimizer!r}: save the model.")
        position = self._position
        if self._fit is not None:
            run, hooks, step = self._fit
            if not (run.ended or hooks.settled):
                raise RuntimeError(
                    "save_checkpoint works at a step boundary: call it in a callback's on_batch_end, on_epoch_end or "
                    "on_fit_end, or after fit."
                )
            if step.reducer is not None and run.inside:
                step.reducer.collect(run)
            position = _position(run, hooks, step)
        if Ranks(self.communicator).rank:
            return
        write_checkpoint(path, self.model, self.loss, self.optimizer, position, compiled=self._by_kernels)

    # -- evaluation and prediction -------------------------------------------------------------------------------

    def evaluate(
        self, x: Any, y: Any = None, *, sample_weight: Any = None, batch_size: int | None = None
    ) -> dict[str, float]:
        """Error and metrics of the model, with running statistics and without noise; nothing changes.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`; an iterable of batches too.
        batch_size : int, optional
            Rows at a time.

        Returns
        -------
        dict
            ``{"loss": ..., metric name: ...}``

        Raises
        ------
        ValueError, TypeError
            As `fit` does.
        """
        data = as_data(x, y, sample_weight, model=self.model, loss=self.loss, who="evaluate")
        rows = None if batch_size is None else positive_int(batch_size, "evaluate", "batch_size")
        return evaluate(self.model, self.loss, self.metrics, data, rows)

    def predict(self, x: Any, *, batch_size: int | None = None) -> Array:
        """The raw outputs of the model's last layer (n, n_out); see `Sequential.predict`."""
        return self.model.predict(x, batch_size=batch_size)

    def predict_proba(self, x: Any) -> Array:
        """Probabilities through the loss's link: a fresh array (n, k).

        Raises
        ------
        TypeError
            If the loss has no link to probabilities.
        """
        return self.loss.probabilities(self.model.predict(x))

    def predict_classes(self, x: Any) -> Array:
        """The most probable class of every row (n,); for independent 0/1 outputs (n, k) whether each is above 1/2.

        Raises
        ------
        TypeError
            If the loss is not one for classes.
        """
        return self.loss.classes(self.model.predict(x))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but a running fit, its data, and the other ranks: a copy trains alone."""
        left = ("_fit", "_busy", "_plan", "communicator")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"_position": state.get("_progress")} | state)  # its name in version 0.1
        for name in ("_loop", "_progress"):
            self.__dict__.pop(name, None)

    def __repr__(self) -> str:
        compiled = "" if self.compiled == "auto" else f", compiled={self.compiled}"
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r}{compiled})"


def _warn_of_wrong_output(model: Sequential, loss: Loss) -> None:
    """Warn where the last layer does not give what the loss expects."""
    last, name, gives = type(model.layers[-1]).__name__, type(loss).__name__, model.layers[-1].gives
    if loss.expects == "logits" and gives == "probabilities":
        warnings.warn(
            f"{name} expects logits, but the last layer is {last}: leave it out, {name} applies it itself.",
            stacklevel=3,
        )
    elif loss.expects == "probabilities" and gives != "probabilities":
        better = "SigmoidCrossEntropy" if loss.task == "binary" else "SoftmaxCrossEntropy"
        warnings.warn(
            f"{name} expects probabilities, but the last layer is {last}: use {better}, which takes logits.",
            stacklevel=3,
        )
    elif loss.expects == "log-probabilities" and gives != "log-probabilities":
        warnings.warn(
            f"{name} expects log-probabilities, but the last layer is {last}: end with LogSoftmax.", stacklevel=3
        )


def _stop_on_validation(solver: FullBatchSolver, data: FitData) -> list[Callback]:
    if data.validation is None or solver.max_fail is None:
        return []
    return [EarlyStopping("val_loss", patience=solver.max_fail, restore_best_weights=True)]


def _position(run: Run, hooks: Hooks, step: Step) -> dict[str, Any]:
    return run.state_dict(hooks.state_dict(), None if step.gathered is None else step.gathered.state_dict())
