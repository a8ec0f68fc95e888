"""The log of a run: a CSV file with one row an epoch."""

from __future__ import annotations

import csv
import io
import os
from typing import Any, ClassVar

from densenet._files import CheckpointError, append, naming, replacing
from densenet._schema import record, whole
from densenet.training.history import History
from densenet.training.hooks import Callback, state_of
from densenet.training.run import Run


class CSVLogger(Callback):
    """Write the epoch's figures to a CSV file as they come, one row an epoch.

    Parameters
    ----------
    path : path-like
    append : bool, default False
        Whether an existing file is continued.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import densenet as dn
    >>> log = dn.CSVLogger("training.csv")
    """

    observes: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        self.path, self.append = os.fspath(path), bool(append)
        self.start = self._written = 0
        self._history = History()

    def on_fit_begin(self, run: Run) -> None:
        self._history, self._written = run.history, 0
        self.start = os.path.getsize(self.path) if self.append and os.path.exists(self.path) else 0
        if not run.resumed:
            self._cut()

    def _cut(self) -> None:
        """Cut the file back to its content before the fit."""
        with naming(self.path), open(self.path, "ab") as file:
            file.truncate(self.start)

    def on_epoch_end(self, run: Run) -> None:
        append(self.path, _csv_rows({run.epoch: run.figures}, header=not self._size()))
        self._written = run.epoch

    def _size(self) -> int:
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def _rows(self, history: History, epochs: int, start: int) -> bytes:
        """The file's content from `start` on, as it was after so many epochs."""
        columns = history.to_dict()
        rows = {i + 1: {name: column[i] for name, column in columns.items()} for i in range(epochs)}
        return _csv_rows(rows, header=not start).encode("utf-8") if rows else b""

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "epochs": self._written}  # a checkpoint may be written before the epoch's row

    def check_state(self, state: Any, run: Run) -> None:
        record({"start": whole(), "epochs": whole(0, len(run.history))})(state, state_of(self))
        start, epochs = min(state["start"], self._size()), state["epochs"]
        if self.append and os.path.exists(self.path):
            with open(self.path, "rb") as file:
                file.seek(start)
                tail = file.read()
            if not _continues(tail, self._rows(run.history, epochs, start), epochs):
                raise CheckpointError(
                    f"{state_of(self)} begins at byte {start} of {self.path}, where other rows stand than this run's: "
                    "resuming would remove them. Move the file away, or give CSVLogger another path."
                )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the file as of the checkpoint: its content before the fit, and the epochs so far."""
        self.start, self._written = min(state["start"], self._size()), state["epochs"]
        before = b""
        if self.start:
            with open(self.path, "rb") as old:
                before = old.read(self.start)
        with replacing(self.path) as file:
            file.write(before + self._rows(self._history, state["epochs"], self.start))


def _csv_rows(rows: dict[int, dict[str, float]], *, header: bool) -> str:
    """The lines of a log for figures by epoch."""
    lines = io.StringIO(newline="")
    table = csv.writer(lines)
    for epoch, figures in rows.items():
        if header:
            table.writerow(["epoch", *figures])
            header = False
        table.writerow([epoch, *(repr(float(value)) for value in figures.values())])
    return lines.getvalue()


def _continues(tail: bytes, own: bytes, epochs: int) -> bool:
    """Whether a log's end is its own rows of so many epochs, or part of them, and then those of the next epochs."""
    if not tail.startswith(own):
        return own.startswith(tail)
    lines = tail[len(own) :].splitlines()
    if not own and lines and lines[0].startswith(b"epoch,"):
        del lines[0]
    places = [line.partition(b",")[0] for line in lines]
    return all(place == str(epochs + i).encode() for i, place in enumerate(places, start=1))
