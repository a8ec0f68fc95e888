"""Standard output whose reader may leave before the end, as ``| head`` does."""

from __future__ import annotations

import io
import os
from typing import TextIO


class Lasting(io.TextIOBase):
    """A stream whose reader may leave: what is said then goes nowhere, and the work goes on.

    Parameters
    ----------
    stream : text stream or None
        Standard output or error; None is closed from the start.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self._call("write", text)
        return len(text)

    def flush(self) -> None:
        self._call("flush")

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a progress bar asks whether it may draw blocks
        return "ascii" if self.stream is None else self.stream.encoding

    def _call(self, name: str, *arguments: str) -> None:
        if self.stream is None:
            return
        try:
            getattr(self.stream, name)(*arguments)
        except BrokenPipeError:
            silence(self.stream)


def silence(stream: TextIO) -> None:
    """Let a stream lead nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
