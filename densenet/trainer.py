"""The training loop: forward pass, error, backward pass, update, over mini-batches.

`Trainer.step` is one turn of it. `fit` repeats it over shuffled mini-batches, keeps the record, and makes sure that
whatever happens the model is left in a state that makes sense.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densenet import losses, optimizers
from densenet import metrics as metrics_module
from densenet._blas import one_pool, products
from densenet._memory import Buffers
from densenet._types import Array
from densenet._validation import (
    as_generator,
    as_matrix,
    as_weights,
    fraction,
    nonnegative,
    nonnegative_int,
    positive,
    positive_int,
)
from densenet.batches import ArrayBatches, StreamBatches, rows_of, split
from densenet.callbacks import Callback, EarlyStopping, Hooks, Run
from densenet.history import History
from densenet.loop import REMEDY, DivergenceError, Loop, measure
from densenet.losses.base import Loss
from densenet.metrics import Metric
from densenet.optimizers.base import Optimizer
from densenet.progress import progress_bar
from densenet.second_order.base import FullBatchSolver
from densenet.sequential import Sequential


class Trainer:
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

    def __init__(
        self,
        model: Sequential,
        loss: Loss | str,
        optimizer: Optimizer | FullBatchSolver | str,
        *,
        metrics: Sequence[Metric | str] = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
    ) -> None:
        if not isinstance(model, Sequential):
            raise TypeError(f"Trainer expects a Sequential as its model, got {model!r}.")
        self.model = model
        self.loss = losses.get(loss)
        self.optimizer: Any = optimizer if isinstance(optimizer, FullBatchSolver) else optimizers.get(optimizer)
        if isinstance(metrics, (str, Metric)):
            metrics = [metrics]
        self.metrics = [metrics_module.get(metric) for metric in metrics]
        for metric in self.metrics:
            metric.task = self.loss.task  # several 0/1 columns and rows of one class look alike
        self.clip_norm = None if clip_norm is None else positive(clip_norm, "Trainer", "clip_norm")
        self.clip_value = None if clip_value is None else positive(clip_value, "Trainer", "clip_value")
        if clip_norm is not None and clip_value is not None:
            raise ValueError("Trainer expects clip_norm or clip_value, got both.")
        self.accumulate = positive_int(accumulate, "Trainer", "accumulate")
        if isinstance(optimizer, FullBatchSolver) and (clip_norm or clip_value or self.accumulate > 1):
            raise ValueError(f"Trainer: {optimizer!r} makes its own steps: clipping and accumulate are for optimizers.")
        self._loop: Loop | None = None
        self._progress: dict[str, Any] | None = None
        _warn_of_wrong_output(model, self.loss)

    # -- one mini-batch ----------------------------------------------------------------------------------------

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """One mini-batch: forward pass, error, backward pass, update.

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
        x = as_matrix(x, self.model.n_in, self.model.dtype, "step")
        y = self._targets(y, x.shape[1])
        if len(y) != len(x):
            raise ValueError(f"step expects as many targets as rows, got x {x.shape} and y {np.shape(y)}.")
        weight = as_weights(sample_weight, len(x), self.model.dtype, "step")
        error = self._error_and_gradients(x, y, weight)
        if not error < math.inf:
            raise DivergenceError(f"step: the error is {error}{self._where(x)}; no update was made. {REMEDY}")
        self.model.add_penalty_gradients()
        self._update()
        return error

    def _error_and_gradients(self, x: Array, y: Array, weight: Array | None) -> float:
        prediction = self.model.run_forward(x)  # 1. forward pass: y' from x
        error = self.loss.error(prediction, y, weight)  # 2. the error E(y', y)
        self.model.run_backward(self.loss.delta())  # 3. backward pass: dE/dw of every weight
        return error

    def _update(self) -> None:
        model = self.model
        if self.clip_norm is not None or self.clip_value is not None:
            self._clip()
        self.optimizer.step(model.params, model.grads, model.marks)  # 4. w_new = w_old - alpha dE/dw
        if model._constrained:
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
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like (n, n_in), or an iterable of (x, y) or (x, y, sample_weight) batches
            A memory map is read batch by batch.
        y : array_like
            Targets as the loss takes them; None with an iterable.
        epochs : int
            With a `FullBatchSolver` its iterations at most, each on all the data.
        batch_size : int, default 32
            Rows of a mini-batch; more than n is one batch of n. An iterable brings its own.
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
        callbacks : sequence of Callback, default ()
        progress : bool, optional
            Whether to show a progress bar; by default on a terminal and in a notebook.
        resume : path-like, optional
            A checkpoint of this fit (`ModelCheckpoint`, `save_checkpoint`) to go on from, in the middle of an epoch,
            too: the run ends bit for bit where it would have ended unbroken. Data, arguments, callbacks and trainer are
            to be the same; `epochs` counts the whole run. `seed` and the model's own weights do not matter then. An
            iterable of batches is read again from the start of its epoch.

        Returns
        -------
        History
            One number an epoch for every figure. Training figures are means over the samples, each taken before its
            update; of a `FullBatchSolver`, taken after it.

        Raises
        ------
        ValueError, TypeError
            If an argument is of the wrong kind, shape or range; nothing is trained then.
        DivergenceError
            If the error turns NaN or infinite; weights, optimizer state and statistics return to the epoch's start.
        CheckpointError
            If `resume` is damaged or no checkpoint.
        OSError
            If it cannot be read.

        Warns
        -----
        UserWarning
            If the checkpoint was written with another BLAS or number of threads: last bits may differ then.
        """
        epochs = nonnegative_int(epochs, "fit", "epochs")
        batch_size = positive_int(batch_size, "fit", "batch_size")
        validation_split = fraction(validation_split, "fit", "validation_split")
        for callback in (callbacks := [callbacks] if isinstance(callbacks, Callback) else list(callbacks)):
            if not isinstance(callback, Callback):
                raise TypeError(f"fit expects callbacks to be Callback objects, got {callback!r}.")
        rng = as_generator(seed, "fit")
        history = History()
        checkpoint = None
        if resume is not None:
            from densenet.persistence.checkpoints import read_checkpoint

            checkpoint = read_checkpoint(resume, self)
            history.load_state_dict(checkpoint.progress["history"])
        source, validation = self._sources(
            x, y, sample_weight, class_weight, validation_data, validation_split, rng, history
        )
        if isinstance(source, StreamBatches) and epochs > 1 and source.once:
            raise ValueError(
                f"fit expects an iterable that can be read {epochs} times, got an iterator that is used up after one "
                "epoch: pass a list, or an object whose __iter__ starts anew."
            )
        if isinstance(self.optimizer, FullBatchSolver):
            if isinstance(source, StreamBatches) or 32 != batch_size < len(source):
                raise ValueError(
                    f"fit: {self.optimizer!r} takes all the data at once: pass arrays, and leave batch_size out."
                )
            if resume is not None:
                raise ValueError(f"fit cannot resume with {self.optimizer!r}: checkpoints are for optimizers.")
            shuffle = False
            if validation is not None and self.optimizer.max_fail is not None:
                patience = self.optimizer.max_fail
                callbacks = [*callbacks, EarlyStopping("val_loss", patience=patience, restore_best_weights=True)]
        bar = progress_bar(progress)
        hooks = Hooks([*callbacks, bar] if bar else callbacks)
        run = Run(self, history, epochs)
        loop = Loop(self, run, hooks, source, validation, batch_size, rng if shuffle else None)
        if checkpoint is not None:
            loop.load_state_dict(checkpoint.progress)
            checkpoint.restore(self)
        with one_pool(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loop.run()
        history.stopped = run.stopped or "finished"
        return history

    def _sources(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Mapping[int, float] | str | None,
        validation_data: Any,
        validation_split: float,
        rng: np.random.Generator,
        history: History,
    ) -> tuple[ArrayBatches | StreamBatches, ArrayBatches | StreamBatches | None]:
        """What to train on and what to validate on, checked and converted."""
        if validation_data is not None and validation_split:
            raise ValueError("fit expects validation_data or validation_split, got both.")
        validation: ArrayBatches | StreamBatches | None = None
        if validation_data is not None:
            if isinstance(validation_data, tuple):
                if len(validation_data) not in (2, 3):
                    raise ValueError(
                        "fit expects validation_data as (x, y) or (x, y, sample_weight), got "
                        f"{len(validation_data)} entries."
                    )
                validation = self._source(*validation_data, who="fit, validation_data,")
            else:
                validation = self._source(validation_data, None, who="fit, validation_data,")
        source = self._source(x, y, sample_weight, who="fit")
        if isinstance(source, StreamBatches):
            if validation_split or class_weight is not None:
                raise ValueError(
                    "fit cannot take validation_split or class_weight with an iterable of batches: pass arrays, or "
                    "weigh the batches."
                )
            return source, validation
        if class_weight is not None:
            source.weight = self._class_weighted(source, class_weight)
        if validation_split:
            labels = (
                None if self.loss.task == "regression" or self._multilabel(source.y) else self.loss.labels(source.y)
            )
            if history.train_indices is None or history.validation_indices is None:
                history.train_indices, history.validation_indices = split(len(source), validation_split, labels, rng)
            train, held_out = history.train_indices, history.validation_indices
            if len(train) + len(held_out) != len(source):
                raise ValueError(
                    f"fit, to resume, expects the {len(train) + len(held_out)} rows of the checkpoint's run, "
                    f"got {len(source)}."
                )
            validation = source.subset(held_out)
            source = source.subset(train)
        if (
            source.weight is not None
            and not (source.weight if source.rows is None else source.weight[source.rows]).any()
        ):
            raise ValueError("fit got weights of zero for every training row: there is nothing to learn from.")
        return source, validation

    def _multilabel(self, y: Array) -> bool:
        return self.loss.task == "binary" and y.ndim == 2 and y.shape[1] > 1

    def _source(self, x: Any, y: Any, sample_weight: Any = None, *, who: str) -> ArrayBatches | StreamBatches:
        dtype = self.model.dtype
        if isinstance(x, StreamBatches):
            return x
        if y is None:
            if isinstance(x, np.ndarray) or hasattr(x, "to_numpy"):
                raise ValueError(f"{who} expects targets: y is None.")
            if sample_weight is not None:
                raise ValueError(f"{who} expects an iterable to bring its weights as (x, y, sample_weight) batches.")
            return StreamBatches(x, self.model.n_in, lambda t: self._targets(t, None), dtype, who)
        rows = rows_of(x, self.model.n_in, dtype, who)
        targets = self._targets(y, rows.shape[1])
        if len(targets) != len(rows):
            raise ValueError(
                f"{who} expects as many targets as rows, got x {np.shape(rows)} and y {np.shape(targets)}."
            )
        return ArrayBatches(rows, targets, as_weights(sample_weight, len(rows), dtype, who), dtype)

    def _targets(self, y: Any, columns: int | None) -> Array:
        width = self.model.n_out or self.model.output_width(columns or 1)
        return self.loss.prepare(y, width, self.model.dtype)

    def _class_weighted(self, source: ArrayBatches, class_weight: Mapping[int, float] | str) -> Array:
        if self.loss.task == "regression" or self._multilabel(source.y):
            raise ValueError(f"fit: class_weight needs a loss for classes, got {self.loss!r}.")
        labels = self.loss.labels(source.y)
        if isinstance(class_weight, str):
            if class_weight != "balanced":
                raise ValueError(f'fit expects class_weight to be a dict or "balanced", got {class_weight!r}.')
            counts = np.bincount(labels)
            table = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        else:
            table = np.ones(max(int(labels.max()) + 1, 1))
            for label, value in class_weight.items():
                if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or label < 0:
                    raise ValueError(f"fit expects class_weight to name class numbers, got {label!r}.")
                if label < len(table):
                    table[label] = nonnegative(value, "fit", f"class_weight[{label}]")
        weight = table[labels].astype(self.model.dtype)
        return weight if source.weight is None else weight * source.weight

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: ``fit(..., resume=path)`` goes on from it, and `densenet.load` gives its model.

        It holds the model, the optimizer's state, the position in the run with the shuffle's and the noise layers'
        generators, the history, and the callbacks' states. Inside a fit it can be called from a callback's
        `on_batch_end`, `on_epoch_end` and `on_fit_end`; `ModelCheckpoint` does so regularly. After a fit its model is
        the one that the callbacks have left (with the best or the averaged weights), and a resumed fit goes on from the
        weights that were there before.

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
        >>> unbroken = new_trainer()
        >>> history["loss"] == unbroken.fit(x, y, epochs=2, seed=0)["loss"]
        True
        """
        from densenet.persistence.checkpoints import write_checkpoint

        if isinstance(self.optimizer, FullBatchSolver):
            raise TypeError(f"save_checkpoint is for runs with an optimizer, got {self.optimizer!r}: save the model.")
        write_checkpoint(self, path, self._progress if self._loop is None else self._loop.state_dict())

    # -- what the model is worth -------------------------------------------------------------------------------

    def evaluate(
        self, x: Any, y: Any = None, *, sample_weight: Any = None, batch_size: int | None = None
    ) -> dict[str, float]:
        """Error and metrics of the model as it is: running statistics, no noise, nothing written.

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
        source = self._source(x, y, sample_weight, who="evaluate")
        rows = None if batch_size is None else positive_int(batch_size, "evaluate", "batch_size")
        return self._evaluate(source, rows)

    def _evaluate(self, source: ArrayBatches | StreamBatches, rows: int | None = None) -> dict[str, float]:
        loss, work = copy.copy(self.loss), Buffers()
        meters = copy.deepcopy(self.metrics)
        for metric in meters:
            metric.reset()
        total = weights = 0.0
        with one_pool():
            for x, y, weight in source.epoch(rows or self.model.predict_rows):
                prediction = self.model.run_infer(x, work)
                total += loss.error(prediction, y, weight) * loss.total_weight
                weights += loss.total_weight
                measure(meters, loss, prediction, y, weight)
        if not weights:
            raise ValueError("evaluate got no rows, or weights of zero only.")
        return {"loss": total / weights} | {metric.name: metric.result() for metric in meters}

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

    def _where(self, x: Array) -> str:
        """The layer whose output, or whose weights, first are not finite."""
        for i, layer in enumerate(self.model.layers):
            for inner in layer.walk():
                for name in inner.parameter_shapes():
                    if not np.isfinite(getattr(inner, name)).all():
                        return f", first seen in {name} of layer {i}, {inner!r}"
            with np.errstate(all="ignore"):
                x = layer.infer(x)
            if not np.isfinite(x).all():
                return f", first seen in the output of layer {i}, {layer!r}"
        return f", first seen in {type(self.loss).__name__}"

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r})"


def _warn_of_wrong_output(model: Sequential, loss: Loss) -> None:
    """Warn where the last layer does not give what the loss expects."""
    last, name = model.layers[-1], type(loss).__name__
    kind = type(last).__name__
    if loss.expects == "logits" and kind in ("Softmax", "Sigmoid"):
        warnings.warn(
            f"{name} expects logits, but the last layer is {kind}: leave it out, {name} applies it itself.",
            stacklevel=3,
        )
    elif loss.expects == "probabilities" and kind not in ("Softmax", "Sigmoid", "HardSigmoid", "Gaussian"):
        better = "SigmoidCrossEntropy" if loss.task == "binary" else "SoftmaxCrossEntropy"
        warnings.warn(
            f"{name} expects probabilities, but the last layer is {kind}: use {better}, which takes logits.",
            stacklevel=3,
        )
    elif loss.expects == "log-probabilities" and kind != "LogSoftmax":
        warnings.warn(
            f"{name} expects log-probabilities, but the last layer is {kind}: end with LogSoftmax.", stacklevel=3
        )
