"""A model's table: its layers with their shapes and parameter counts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from densenet._display import html_table, text_table
from densenet._types import Array
from densenet.layers.base import Layer
from densenet.layers.dense import Dense


@dataclass(frozen=True)
class Summary:
    """A model's table: its rows (layer, dense number, output shape, parameters) and the line of totals."""

    rows: tuple[tuple[str, str, str, str], ...]
    total: str

    _HEAD = ("layer", "dense", "output", "params")
    _ALIGN = "<><>"

    def __str__(self) -> str:
        return f"{text_table([self._HEAD, *self.rows], self._ALIGN)}\n{self.total}"

    __repr__ = __str__

    def to_html(self) -> str:
        """The table and the line of totals as HTML."""
        return f"{html_table(self._HEAD, self.rows, self._ALIGN)}<p>{html.escape(self.total)}</p>"

    _repr_html_ = to_html


def summarize(layers: Sequence[Layer], n_in: int | None, params: Array, trainable: int) -> Summary:
    """The table of a chain of layers that takes `n_in` columns and has these parameters, so many of them trainable."""
    rows: list[tuple[str, str, str, str]] = []
    dense = 0

    def visit(layer: Layer, depth: int, width: int | None) -> int | None:
        nonlocal dense
        dense += isinstance(layer, Dense)
        number = str(dense) if isinstance(layer, Dense) else ""
        given = layer.output_width(width)
        name = repr(layer) if not layer.children else f"{type(layer).__name__}:"
        shape = f"(n, {'?' if given is None else given})"
        rows.append(("  " * depth + name, number, shape, f"{layer.n_params:,}"))
        for branch in getattr(layer, "branches", None) or (layer.children,):
            inner = width
            for child in branch:
                inner = visit(child, depth + 1, inner)
        return given

    width = n_in
    for layer in layers:
        width = visit(layer, 0, width)
    total = f"{params.size:,} parameters, {trainable:,} trainable, {params.dtype} ({params.nbytes / 1000:,.1f} kB)"
    return Summary(tuple(rows), total)
