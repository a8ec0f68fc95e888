"""Checkpoints: everything that a run goes on from, bit for bit, after a crash at any moment."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from densenet._blas import blas_description
from densenet._types import Array
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.persistence.codec import Decoder, Encoder
from densenet.persistence.files import CheckpointError, Content, read_file, write_file
from densenet.persistence.models import decode_model, encode_model
from densenet.sequential import Sequential
from densenet.training.hooks import Hooks
from densenet.training.run import Run
from densenet.training.step import Step


def write_checkpoint(
    path: str | os.PathLike[str],
    model: Sequential,
    loss: Loss,
    optimizer: Optimizer,
    progress: dict[str, Any] | None,
    *,
    compiled: bool = False,
) -> None:
    """Write model, optimizer and the position in a run, as `Run.state_dict` gives it (None before any fit).

    `compiled` says whether kernels made the run so far.
    """
    encoder = Encoder()
    tree = {
        "model": encode_model(model, encoder, loss=loss),
        "optimizer": encoder.encode(optimizer, "optimizer.config"),
        "optimizer_state": encoder.encode(optimizer.state_dict(), "optimizer"),
        "progress": encoder.encode(progress, "progress"),
        "gradients": encoder.encode(model.grads if progress and progress["gradients"] else None, "gradients"),
        "environment": encoder.encode(_environment(compiled), "environment"),
    }
    write_file(path, Content("checkpoint", tree, encoder.arrays))


@dataclass
class Checkpoint:
    """What a checkpoint holds beside the file's form."""

    model: Sequential
    optimizer_state: dict[str, Any]
    progress: dict[str, Any]
    gradients: Array | None
    environment: dict[str, Any]

    @property
    def compiled(self) -> bool:
        """Whether kernels made the run so far."""
        return self.environment.get("compiled") is True

    def warn_of_other_place(self, compiled: bool) -> None:
        """Warn where the run goes on with another BLAS, or with kernels that did not make it so far, or without."""
        there = _shown(self.environment.get("blas"), self.compiled)
        here = _shown(blas_description(), compiled)
        if there != here:
            warnings.warn(
                f"the checkpoint was written with {there}; this process has {here}: the last bits may differ from "
                "those of an unbroken run. densenet.threads(n) sets the number of threads, the extra [fast] brings "
                "the kernels.",
                stacklevel=3,
            )

    def resume(self, run: Run, hooks: Hooks, step: Step) -> None:
        """Give the run its position, the callbacks their states, model and optimizer what the checkpoint has."""
        run.load_state_dict(self.progress)
        hooks.load_state_dict(self.progress["hook"], self.progress["callbacks"])
        if run.inside and step.gathered is not None:
            step.gathered.load_state_dict(self.progress["gathered"])
        try:
            step.optimizer.load_state_dict(self.optimizer_state)
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"the checkpoint's optimizer state does not fit: {error}") from None
        model = step.model
        model.load_state_arrays(self.progress["arrays"] or self.model.state_arrays())
        for layer, kept_layer in zip(model.every_layer, self.model.every_layer, strict=True):
            layer.marks.update(kept_layer.marks)
            layer.generator = kept_layer.generator
        model.forget_marks()
        if self.gradients is not None:
            model.grads = self.gradients


def read_checkpoint(path: str | os.PathLike[str], model: Sequential, loss: Loss, optimizer: Optimizer) -> Checkpoint:
    """Read the checkpoint of a run with such a model, loss and optimizer; they stay as they are.

    Raises
    ------
    CheckpointError
        If the file is damaged or no checkpoint of a run.
    ValueError
        If model, loss or optimizer are others.
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
                kept = decode_model(tree, decoder)
                made = {name: decoder.decode(part) for name, part in parts.items()}
            case _:
                raise CheckpointError("its configuration is not one of a checkpoint.")
        rule, state, progress = made["optimizer"], made["optimizer_state"], made["progress"]
        if progress is None:
            raise CheckpointError("it was written before any fit: there is no run to resume. densenet.load it.")
        whole = isinstance(rule, Optimizer) and isinstance(state, dict) and _is_progress(progress, kept)
        if decoder.arrays or not whole or not _is_vector(made["gradients"], kept):
            raise CheckpointError("its configuration is not one of a checkpoint.")
    except (CheckpointError, RecursionError) as error:
        raise CheckpointError(f"{shown} cannot be resumed: {error}") from None
    _check_same("model", repr(kept), repr(model))
    _check_same("loss", repr(kept.loss), repr(loss))
    _check_same("optimizer", *_comparable(rule, optimizer))
    environment = made["environment"] if isinstance(made["environment"], dict) else {}
    return Checkpoint(kept, state, progress, made["gradients"], environment)


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
    drawn = [progress["history"][name] for name in ("train_indices", "validation_indices")]
    arrays, wanted = progress["arrays"], [(array.shape, array.dtype) for array in model.state_arrays()]
    return (
        all(_has(callback, _CALLBACK) for callback in progress["callbacks"])
        and all(isinstance(metric, dict) for metric in progress["metrics"])
        and (gathered is None or (_has(gathered, _GATHERED) and _is_vector(gathered["sum"], model)))
        and all(isinstance(column, np.ndarray) and column.ndim == 1 for column in figures.values())
        and all(column.dtype == np.float64 for column in figures.values())
        and all(rows is None or (rows.ndim == 1 and rows.dtype.kind == "i") for rows in drawn)
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


def _environment(compiled: bool) -> dict[str, Any]:
    """What the last bits of a result depend on."""
    package = sys.modules[__name__.partition(".")[0]]
    versions = {"densenet": package.__version__, "python": sys.version.split()[0], "numpy": np.__version__}
    return versions | {"scipy": scipy.__version__, "blas": blas_description(), "compiled": compiled}


def _shown(blas: Any, compiled: bool) -> str:
    if not isinstance(blas, dict):
        return "an unknown BLAS"
    name = f"{blas.get('blas')} {blas.get('version')} ({blas.get('architecture')}), {blas.get('threads')} threads"
    return name + (", compiled kernels" if compiled else "")
