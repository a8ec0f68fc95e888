"""Checkpoints: everything that a run goes on from, bit for bit, after a crash at any moment."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import warnings
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy

from densenet._blas import blas_description
from densenet._types import Array
from densenet._validation import positive_int
from densenet.callbacks import Callback, Run, direction, state_arrays
from densenet.layers.base import Layer
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.persistence.atomic import replacing
from densenet.persistence.codec import Decoder, Encoder
from densenet.persistence.files import CheckpointError, Content, read_file, write_file
from densenet.persistence.models import decode_model, encode_model
from densenet.sequential import Sequential

if TYPE_CHECKING:
    from densenet.trainer import Trainer


def write_checkpoint(trainer: Trainer, path: str | os.PathLike[str], progress: dict[str, Any] | None) -> None:
    """Write the trainer's model and optimizer and the position in its run (None before any fit)."""
    encoder = Encoder()
    tree = {
        "model": encode_model(trainer.model, encoder, loss=trainer.loss),
        "optimizer": encoder.encode(trainer.optimizer, "optimizer.config"),
        "optimizer_state": encoder.encode(trainer.optimizer.state_dict(), "optimizer"),
        "progress": encoder.encode(progress, "progress"),
        "gradients": encoder.encode(trainer.model.grads if progress and progress["gradients"] else None, "gradients"),
        "environment": encoder.encode(_environment(trainer), "environment"),
    }
    write_file(path, Content("checkpoint", tree, encoder.arrays))


@dataclass
class Checkpoint:
    """What a checkpoint holds beside the file's form."""

    model: Sequential
    optimizer_state: dict[str, Any]
    progress: dict[str, Any]
    gradients: Array | None

    def restore(self, trainer: Trainer) -> None:
        """Give the trainer's model and optimizer what the checkpoint has."""
        model = trainer.model
        try:
            trainer.optimizer.load_state_dict(self.optimizer_state)
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"the checkpoint's optimizer state does not fit: {error}") from None
        arrays: list[Array] = self.progress["arrays"] or state_arrays(self.model)
        for array, kept in zip(state_arrays(model), arrays, strict=True):
            array[...] = kept
        for layer, kept_layer in zip(_every(model), _every(self.model), strict=True):
            layer.marks.update(kept_layer.marks)
            layer._rng = kept_layer._rng
        model._forget_marks()
        if self.gradients is not None:
            model.grads = self.gradients


def read_checkpoint(path: str | os.PathLike[str], trainer: Trainer) -> Checkpoint:
    """Read the checkpoint of a run of such a trainer; the trainer stays as it is.

    Raises
    ------
    CheckpointError
        If the file is damaged or no checkpoint of a run.
    ValueError
        If model, loss or optimizer are not those of the trainer.
    OSError
        If it cannot be read.
    """
    shown = os.fspath(path)
    content = read_file(path)
    if content.kind != "checkpoint":
        raise CheckpointError(f"{shown} is a model file, not a checkpoint: densenet.load it and start a new fit.")
    decoder = Decoder(content.arrays)
    try:
        match content.tree:
            case {"model": tree, **parts} if set(parts) == _PARTS:
                model = decode_model(tree, decoder)
                made = {name: decoder.decode(part) for name, part in parts.items()}
            case _:
                raise CheckpointError("its configuration is not one of a checkpoint.")
        optimizer, state, progress = made["optimizer"], made["optimizer_state"], made["progress"]
        if progress is None:
            raise CheckpointError("it was written before any fit: there is no run to resume. densenet.load it.")
        whole = isinstance(optimizer, Optimizer) and isinstance(state, dict) and _is_progress(progress, model)
        if decoder.arrays or not whole or not _is_vector(made["gradients"], model):
            raise CheckpointError("its configuration is not one of a checkpoint.")
    except (CheckpointError, RecursionError) as error:
        raise CheckpointError(f"{shown} cannot be resumed: {error}") from None
    _check_same("model", repr(model), repr(trainer.model))
    _check_same("loss", repr(model.loss), repr(trainer.loss))
    _check_same("optimizer", *_comparable(optimizer, trainer.optimizer))
    _warn_of_other_place(made["environment"], trainer)
    return Checkpoint(model, state, progress, made["gradients"])


_PARTS = {"optimizer", "optimizer_state", "progress", "gradients", "environment"}
_HISTORY = {"figures": dict, "train_indices": np.ndarray | None, "validation_indices": np.ndarray | None}
_CALLBACK = {"class": str, "state": dict, "observes": bool, "waiting": bool}
_GATHERED = {"seen": int, "weight": float, "sum": np.ndarray | None}
_PROGRESS = {
    "plan": dict,
    "epoch": int,
    "inside": bool,
    "batch": int,
    "sums": tuple,
    "step": int,
    "stepped": bool,
    "batch_error": float,
    "stopped": str | None,
    "seconds": float,
    "metrics": list,
    "gathered": dict | None,
    "generator": np.random.Generator | None,
    "gradients": bool,
    "arrays": list | None,
    "history": dict,
    "hook": str,
    "callbacks": list,
}


def _is_progress(progress: Any, model: Sequential) -> bool:
    """Whether it is what a run's `state_dict` gives; a file may say anything."""
    if not _has(progress, _PROGRESS) or not _has(progress["history"], _HISTORY):
        return False
    gathered, figures = progress["gathered"], progress["history"]["figures"]
    arrays, wanted = progress["arrays"], [(array.shape, array.dtype) for array in state_arrays(model)]
    return (
        all(_has(callback, _CALLBACK) for callback in progress["callbacks"])
        and all(isinstance(metric, dict) for metric in progress["metrics"])
        and (gathered is None or (_has(gathered, _GATHERED) and _is_vector(gathered["sum"], model)))
        and all(isinstance(column, np.ndarray) and column.ndim == 1 for column in figures.values())
        and len({len(column) for column in figures.values()}) < 2
        and (arrays is None or [(getattr(a, "shape", None), getattr(a, "dtype", None)) for a in arrays] == wanted)
        and len(progress["sums"]) == 3
        and min(progress["epoch"], progress["batch"], progress["step"]) >= 0
        and progress["hook"] in ("", "on_batch_end", "on_epoch_end")
    )


def _is_vector(value: Any, model: Sequential) -> bool:
    """Whether it is None, or a vector like the model's parameters."""
    kind = (getattr(value, "shape", None), getattr(value, "dtype", None))
    return value is None or kind == (model.params.shape, model.dtype)


def _has(value: Any, types: dict[str, Any]) -> bool:
    if not isinstance(value, dict) or set(value) != set(types):
        return False
    return all(isinstance(value[name], kind) for name, kind in types.items())


def _every(model: Sequential) -> list[Layer]:
    return [layer for top in model.layers for layer in top.walk()]


def _check_same(what: str, kept: str, given: str) -> None:
    if kept != given:
        raise ValueError(f"fit, to resume, expects the checkpoint's {what}, {kept}, got {given}.")


def _comparable(kept: Optimizer, given: Any) -> tuple[str, str]:
    """Both optimizers as text, less a plain rate: it may have been reduced on the way, and is in the state."""
    if not isinstance(given, Optimizer):
        return repr(kept), repr(given)
    plain = not isinstance(kept.learning_rate, Schedule) and not isinstance(given.learning_rate, Schedule)

    def text(optimizer: Optimizer) -> str:
        config = {name: value for name, value in optimizer.config().items() if not (plain and name == "learning_rate")}
        return f"{type(optimizer).__name__}({', '.join(f'{name}={value!r}' for name, value in config.items())})"

    return text(kept), text(given)


def _environment(trainer: Trainer) -> dict[str, Any]:
    """What the last bits of a result depend on."""
    package = sys.modules[__name__.partition(".")[0]]
    versions = {"densenet": package.__version__, "python": sys.version.split()[0], "numpy": np.__version__}
    return versions | {"scipy": scipy.__version__, "blas": blas_description(), "compiled": _is_compiled(trainer)}


def _is_compiled(trainer: Trainer) -> bool:
    """Whether the optimizer's update is a compiled kernel."""
    params = trainer.model.params
    return trainer.optimizer.kernel(params.size, params.dtype) is not None


def _warn_of_other_place(kept: Any, trainer: Trainer) -> None:
    kept = kept if isinstance(kept, dict) else {}
    there = _shown(kept.get("blas"), kept.get("compiled", False))
    here = _shown(blas_description(), _is_compiled(trainer))
    if there != here:
        warnings.warn(
            f"the checkpoint was written with {there}; this process has {here}: the last bits may differ from those of "
            "an unbroken run. densenet.threads(n) sets the number of threads, the extra [fast] brings the kernel.",
            stacklevel=4,
        )


def _shown(blas: Any, compiled: bool) -> str:
    if not isinstance(blas, dict):
        return "an unknown BLAS"
    name = f"{blas.get('blas')} {blas.get('version')} ({blas.get('architecture')}), {blas.get('threads')} threads"
    return name + (", a compiled update" if compiled else "")


class ModelCheckpoint(Callback):
    """Write checkpoints while training, so that nothing is lost whatever happens.

    The file is replaced at once: at any moment the old or the new one is there, whole. ``fit(..., resume=path)`` goes
    on from it, and `densenet.load` gives its model.

    Parameters
    ----------
    path : path-like
        Ends in ``.npz`` or ``.safetensors``. It may hold ``{epoch}``, ``{step}`` and the names of the epoch's figures,
        as in ``"run-{epoch:03d}-{val_loss:.3f}.npz"``; then every checkpoint is a file of its own.
    every_steps : int, optional
        Write after every so many updates.
    every_epochs : int, optional
        Write after every so many epochs; 1 unless `every_steps` is given.
    monitor : str, optional
        A figure such as "val_loss": write only when it is better than ever before in this run.
    keep : int, optional
        How many checkpoints stay, the newest of them. With a plain path (the default is 1) the newest is there, the one
        before beside it as ``name-1.npz``, and so on; else older files are removed (by default none).

    Attributes
    ----------
    best : float
        The monitored figure of the last checkpoint.

    Raises
    ------
    ValueError
        If an argument is out of range, both intervals are given, or `monitor` comes with `every_steps`.
    OSError
        From `fit`, if a file cannot be written; model, trainer and the files so far are unharmed.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 16, 10], seed=0), "softmax_cross_entropy", "adam")
    >>> path = getfixture("tmp_path") / "run.npz"
    >>> history = trainer.fit(x, y, epochs=2, seed=0, callbacks=[dn.ModelCheckpoint(path, every_steps=50)])
    >>> history = trainer.fit(x, y, epochs=3, resume=path, callbacks=[dn.ModelCheckpoint(path, every_steps=50)])
    >>> len(history)
    3
    """

    observes: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        every_epochs: int | None = None,
        monitor: str | None = None,
        keep: int | None = None,
    ) -> None:
        who = "ModelCheckpoint"
        self.path = os.fspath(path)
        if every_steps is not None and every_epochs is not None:
            raise ValueError(f"{who} expects every_steps or every_epochs, got both.")
        if every_steps is not None and monitor is not None:
            raise ValueError(f"{who} can monitor a figure at an epoch's end only: give every_epochs, not every_steps.")
        self.every_steps = None if every_steps is None else positive_int(every_steps, who, "every_steps")
        self.every_epochs = positive_int(1 if every_epochs is None else every_epochs, who, "every_epochs")
        self.monitor = monitor
        self.keep = None if keep is None else positive_int(keep, who, "keep")
        if os.path.splitext(self.path)[1].lower() not in (".npz", ".safetensors"):
            raise ValueError(f"{who} expects a path that ends in .npz or .safetensors, got {self.path!r}.")
        try:
            fields = {field for _, field, _, _ in Formatter().parse(self.path) if field is not None}
        except ValueError as error:
            raise ValueError(f"{who} cannot read the braces in {self.path!r}: {error}.") from None
        self._numbered = bool(fields)
        self.best = float("nan")
        self.written: list[str] = []

    def on_fit_begin(self, run: Run) -> None:
        self.best, self.written = float("nan"), []

    def on_batch_end(self, run: Run) -> None:
        if self.every_steps is not None and run.stepped and run.step % self.every_steps == 0:
            self._write(run)

    def on_epoch_end(self, run: Run) -> None:
        if self.every_steps is not None or run.epoch % self.every_epochs:
            return
        if self.monitor is not None:
            figure = run.figure(self.monitor, "ModelCheckpoint")
            sign = -1 if direction(run, self.monitor, "auto") == "max" else 1
            if not (sign * figure < sign * self.best or (self.best != self.best and figure == figure)):
                return
            self.best = figure
        self._write(run)

    def _write(self, run: Run) -> None:
        if not self._numbered:
            self._put_aside()
            run.trainer.save_checkpoint(self.path)
            return
        try:
            path = self.path.format(epoch=run.epoch, step=run.step, **run.figures)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(["epoch", "step", *run.figures])
            raise ValueError(f"ModelCheckpoint cannot fill in {self.path!r}: {error!r}; it knows {known}.") from None
        before, self.written = self.written, [*(old for old in self.written if old != path), path]
        surplus = [] if self.keep is None else self.written[: -self.keep]
        self.written = [old for old in self.written if old not in surplus]
        try:
            run.trainer.save_checkpoint(path)
        except BaseException:
            self.written = before
            raise
        for old in surplus:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)

    def _put_aside(self) -> None:
        """Let the newest file stand at ``name-1``, too, and older ones one place further; it never goes missing."""
        stem, ending = os.path.splitext(self.path)
        aside = [f"{stem}-{age}{ending}" for age in range(1, self.keep or 1)]
        for newer, older in zip(aside[-2::-1], aside[:0:-1], strict=True):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
        if not aside or not os.path.exists(self.path):
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside[0])
            os.link(self.path, aside[0])
        except OSError:  # a file system without links
            with open(self.path, "rb") as old, replacing(aside[0]) as file:
                shutil.copyfileobj(old, file)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "written": list(self.written)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.written = float(state["best"]), list(state["written"])
