"""Checkpoints: the whole state of a run, which continues from it bit for bit after a crash."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from densenet._blas import blas_description
from densenet._files import CheckpointError
from densenet._schema import Check, anything, array, maybe, real, record, table, whole
from densenet._types import Array
from densenet.losses.base import Loss
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule
from densenet.persistence.codec import Decoder, Encoder
from densenet.persistence.files import Content, read_file, write_file
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
    """The content of a checkpoint file."""

    path: str
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
        """Warn if the run continues with another BLAS, or changes between kernels and NumPy lines."""
        there = _shown(self.environment.get("blas"), self.compiled)
        here = _shown(blas_description(), compiled)
        if there != here:
            warnings.warn(
                f"the checkpoint was written with {there}; this process has {here}: the last bits may differ from "
                "those of an uninterrupted run. densenet.threads(n) sets the number of threads, the extra [fast] "
                "brings the kernels.",
                stacklevel=4,
            )

    def resume(self, run: Run, hooks: Hooks, step: Step, changed_data: bool) -> None:
        """Restore the position of the run and the states of the callbacks, the model and the optimizer.

        Raises
        ------
        CheckpointError
            If a state does not fit or belongs to another fit; then nothing has changed.
        """
        try:
            run.check_state(self.progress, hooks.check_state, changed_data)
            if self.progress["inside"] and (step.gathered is None) != (self.progress["gathered"] is None):
                raise CheckpointError("its gathered gradients do not suit `accumulate`.")
            hooks.load_state_dict(self.progress["hook"], self.progress["callbacks"], run)
            step.optimizer.load_state_dict(self.optimizer_state)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointError(f"{self.path} cannot be resumed: {error}") from None
        _warn_of_other_rate(self.progress["plan"], self.optimizer_state, run.plan["learning_rate"])
        run.load_state_dict(self.progress)
        if run.inside and step.gathered is not None:
            step.gathered.load_state_dict(self.progress["gathered"])
        model = step.model
        model.load_state_arrays(self.progress["arrays"] or self.model.state_arrays())
        for layer, kept_layer in zip(model.every_layer, self.model.every_layer, strict=True):
            layer.marks.update(kept_layer.marks)
            layer.generator = kept_layer.generator
        model.forget_marks()
        if self.gradients is not None:
            model.grads = self.gradients


def read_checkpoint(path: str | os.PathLike[str], model: Sequential, loss: Loss, optimizer: Optimizer) -> Checkpoint:
    """Read the checkpoint of a run with this model, loss and optimizer, which stay as they are.

    Raises
    ------
    CheckpointError
        If the file is damaged, is no checkpoint of a run, or belongs to another model, loss or optimizer.
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
        _upgrade(progress)
        if decoder.arrays or not isinstance(rule, Optimizer):
            raise CheckpointError("its configuration is not one of a checkpoint.")
        vector = array(kept.params.shape, kept.dtype)
        maybe(array(kept.params.shape, kept.dtype, finite=False))(made["gradients"], "its gradient")
        _optimizer_state(rule, vector)(state, "its optimizer's state")
        _HISTORY(progress.get("history") if isinstance(progress, dict) else None, "its history")
    except (CheckpointError, RecursionError) as error:
        raise CheckpointError(f"{shown} cannot be resumed: {error}") from None
    _check_same("model", repr(kept), repr(model))
    _check_same("loss", repr(kept.loss), repr(loss))
    _check_same("optimizer", *_comparable(rule, optimizer))
    environment = made["environment"] if isinstance(made["environment"], dict) else {}
    return Checkpoint(shown, kept, state, progress, made["gradients"], environment)


_INDICES = maybe(array((None,), np.intp))
_HISTORY = record(
    {"figures": table(array((None,), finite=False)), "train_indices": _INDICES, "validation_indices": _INDICES}
)
_PARTS = {"optimizer", "optimizer_state", "progress", "gradients", "environment"}


def _upgrade(progress: Any) -> None:
    """Add what version 0.1 did not keep: fingerprints of the data, and the callbacks' arguments."""
    if isinstance(progress, dict):
        progress.setdefault("fingerprints", None)
        callbacks = progress.get("callbacks")
        for callback in callbacks if isinstance(callbacks, list) else []:
            if isinstance(callback, dict):
                callback.setdefault("plan", None)


def _optimizer_state(rule: Optimizer, vector: Check) -> Check:
    """The schema of such an optimizer's state."""
    rate = anything if isinstance(rule.learning_rate, Schedule) else real(0)
    fields: dict[str, Check] = {"steps": whole(), "learning_rate": rate, **{name: real() for name in rule.numbers}}
    return record(fields, dict.fromkeys(rule.slots, vector))


def _check_same(what: str, kept: str, given: str) -> None:
    if kept != given:
        raise CheckpointError(f"fit, to resume, expects the checkpoint's {what}, {kept}, got {given}.")


def _comparable(kept: Optimizer, given: Any) -> tuple[str, str]:
    """Both optimizers as text, without a plain learning rate: it may have changed since, and is in the state."""
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


def _warn_of_other_rate(plan: dict[str, Any], state: dict[str, Any], given: float | None) -> None:
    """Warn if a plain rate is neither the first nor the last rate of the run."""
    kept = state.get("learning_rate")
    if isinstance(kept, float) and "learning_rate" in plan and given not in (plan["learning_rate"], kept):
        warnings.warn(
            f"fit goes on at the checkpoint's learning rate, {kept:g}, not at {given:g}: it belongs to the optimizer's "
            "state. A callback's on_fit_begin is too early to set it; its on_epoch_begin is not.",
            stacklevel=4,
        )


def _shown(blas: Any, compiled: bool) -> str:
    if not isinstance(blas, dict):
        return "an unknown BLAS"
    name = f"{blas.get('blas')} {blas.get('version')} ({blas.get('architecture')}), {blas.get('threads')} threads"
    name = "".join(sign if sign.isprintable() else "?" for sign in name[:200])  # a file may hold a terminal's commands
    return name + (", compiled kernels" if compiled else "")
