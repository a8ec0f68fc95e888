"""Checkpoints that a run writes as it goes."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from string import Formatter
from typing import Any, ClassVar

from densenet._files import check_place, replacing
from densenet._schema import many, real, record, row, text, whole
from densenet._validation import positive_int
from densenet.training.callbacks.monitors import Best
from densenet.training.history import History
from densenet.training.hooks import Callback, state_of
from densenet.training.run import Run


class ModelCheckpoint(Callback):
    """Write checkpoints while training, so that a crash loses nothing that was written.

    The file is replaced at once: at any moment the old or the new one is there, whole. ``fit(..., resume=path)`` goes
    on from it, and `densenet.load` gives its model. Of several ranks, rank 0 writes.

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
    collective: ClassVar[bool] = True

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
        every_epochs = 1 if every_epochs is None and every_steps is None else every_epochs
        self.every_epochs = None if every_epochs is None else positive_int(every_epochs, who, "every_epochs")
        self.monitor = monitor
        self._best = None if monitor is None else Best(who, monitor)
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
        self._places: list[tuple[int, int]] = []  # epoch and step of each; a file holds these, never a path
        self._history = History()

    def plan(self) -> dict[str, Any]:
        """The figure that it monitors: the best so far is a value of it."""
        return {"monitor": self.monitor}

    def on_fit_begin(self, run: Run) -> None:
        self.best, self.written, self._places = float("nan"), [], []
        self._history = run.history
        if self._best is not None:
            self._best.begin(run)

    def rest(self, run: Run) -> float:
        return math.inf if self.every_steps is None else self.every_steps - run.step % self.every_steps

    def on_batch_end(self, run: Run) -> None:
        if self.every_steps is not None and run.stepped and run.step % self.every_steps == 0:
            self._write(run)

    def on_epoch_end(self, run: Run) -> None:
        if self.every_epochs is None or run.epoch % self.every_epochs:
            return
        if self._best is not None:
            if not self._best.improves(run):
                return
            self.best = run.figures[self._best.monitor]
        self._write(run)

    def _write(self, run: Run) -> None:
        if not self._numbered:
            if run.rank == 0:
                self._put_aside()
            run.trainer.save_checkpoint(self.path)
            return
        try:
            path = self._fill_in(run.epoch, run.step, run.figures)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(["epoch", "step", *run.figures])
            raise ValueError(f"ModelCheckpoint cannot fill in {self.path!r}: {error!r}; it knows {known}.") from None
        before = self.written, self._places
        files = dict(zip(*before, strict=True))
        files.pop(path, None)
        files[path] = run.epoch, run.step
        surplus = [] if self.keep is None else list(files)[: -self.keep]
        kept = {name: place for name, place in files.items() if name not in surplus}
        self.written, self._places = list(kept), list(kept.values())
        try:
            run.trainer.save_checkpoint(path)
        except BaseException:
            self.written, self._places = before
            raise
        for old in surplus if run.rank == 0 else ():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)

    def _fill_in(self, epoch: int, step: int, figures: dict[str, float]) -> str:
        """The path of a checkpoint; a figure that is called epoch or step does not count."""
        return self.path.format_map({**figures, "epoch": epoch, "step": step})

    def _put_aside(self) -> None:
        """Keep the newest file as ``name-1``, too, and move older ones one place on; the newest never goes missing."""
        stem, ending = os.path.splitext(self.path)
        aside = [f"{stem}-{age}{ending}" for age in range(1, self.keep or 1)]
        for place in (self.path, *aside):
            check_place(place)
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
        return {"best": self.best, "written": list(self._places)}

    def check_state(self, state: Any, run: Run) -> None:
        before = text()  # the paths of version 0.1
        place = row(whole(), whole())  # epoch and step
        written = many(lambda entry, where: (before if isinstance(entry, str) else place)(entry, where))
        record({"best": real(finite=False), "written": written})(state, state_of(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values of `state_dict`; names of files come from this callback's path, never from a checkpoint.

        The paths that files of version 0.1 hold are passed over: those checkpoints stay.
        """
        places = [place for place in state["written"] if not isinstance(place, str)]
        columns = self._history.to_dict()
        files = {}
        for epoch, step in places:
            figures = {name: column[epoch - 1] for name, column in columns.items() if 1 <= epoch <= len(column)}
            with contextlib.suppress(KeyError, IndexError, ValueError):
                files[self._fill_in(epoch, step, figures)] = epoch, step
        self.written, self._places = list(files), list(files.values())
        self.best = float(state["best"])
        if self._best is not None and not math.isnan(self.best):
            self._best.value = self._best.sign * self.best
