"""A network for given samples as columns of neurons with links between them: what the chain rule runs along.

A column holds one number a neuron: the weighted sums z of a dense layer, or the values after a further layer. A link
says how a column depends on an earlier one: through weights (every neuron on every neuron), through slopes (each
neuron on its own), through the matrix of derivatives of a layer that mixes neurons, or by passing values on
(shortcuts and branches). The derivative of E is then the same few sums in either direction::

    backward    D_start += D_end J^T        forward    T_end += T_start J

and with |J| for J they are sums of absolute contributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from densenet._types import Array
from densenet.explain.subject import Subject, layer_place
from densenet.layers.base import Layer
from densenet.layers.containers import Concatenate, Residual
from densenet.layers.dense import Dense
from densenet.layers.elementwise import Activation
from densenet.layers.mixture import Mixture
from densenet.layers.softmax import LogSoftmax, Softmax
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.crossentropy import CategoricalCrossEntropy, KLDivergence, SoftmaxCrossEntropy

Kind = Literal["weights", "slopes", "mixing", "passing"]


@dataclass(frozen=True)
class Column:
    """One number a neuron: `values` (n, width). `name` is "z(1)" after dense layer 1, "a(1)" further on."""

    name: str
    values: Array

    @property
    def width(self) -> int:
        """Neurons."""
        return int(self.values.shape[1])

    @property
    def number(self) -> int:
        """The dense layer it belongs to; 0 before the first."""
        return int(self.name[2:-1])


@dataclass(frozen=True)
class Link:
    """How column `end` depends on column `start`.

    Attributes
    ----------
    start, end : int
    kind : {"weights", "slopes", "mixing", "passing"}
    symbol : str
        Such as "w(2)", "f'(z(1)", "LayerNorm'(1)"; the container's name where values are passed on.
    values : ndarray or None
        weights (i, j), mixing (n, i, j), slopes (n, k); None passes values on.
    offset : int
        Where the start's neurons begin in the end, for passing.
    way : str
        Which way through a container this is, where there is a choice.
    """

    start: int
    end: int
    kind: Kind
    symbol: str
    values: Array | None = None
    offset: int = 0
    way: str = ""

    def forward(self, tangents: Array, ends: Array) -> None:
        """T_end += T_start J, row by row."""
        if self.values is None:
            ends[:, self.offset : self.offset + tangents.shape[1]] += tangents
        elif self.kind == "weights":
            ends += tangents @ self.values
        elif self.kind == "slopes":
            ends += tangents * self.values
        else:
            ends += (tangents[:, None, :] @ self.values)[:, 0]

    def backward(self, deltas: Array, starts: Array) -> None:
        """D_start += D_end J^T, row by row."""
        if self.values is None:
            starts += deltas[:, self.offset : self.offset + starts.shape[1]]
        elif self.kind == "weights":
            starts += deltas @ self.values.T
        elif self.kind == "slopes":
            starts += deltas * self.values
        else:
            starts += (self.values @ deltas[:, :, None])[:, :, 0]

    @property
    def matrix(self) -> Array:
        """For weights and mixing: the factor from every neuron i to every neuron j, for the first sample."""
        if self.values is None or self.kind == "slopes":
            raise TypeError(f"{self.kind} are no matrix")
        matrix: Array = self.values if self.kind == "weights" else self.values[0]
        return matrix

    def factor(self, i: int, j: int) -> tuple[str, float] | None:
        """Name and value of the factor from neuron i to neuron j (from 0), for the first sample; None for passing."""
        if self.values is None:
            return None
        if self.kind == "slopes":
            return self.slope_name(j), float(self.values[0, j])
        return f"{self.symbol}_{{{i + 1},{j + 1}}}", float(self.matrix[i, j])

    def slope_name(self, j: int) -> str:
        """The slope's name for neuron j (from 0)."""
        return f"{self.symbol}_{j + 1}" + (")" if self.symbol.startswith("f'") else "")


class DenseLink(NamedTuple):
    """Where a dense layer stands in the graph: the column that enters and the column of its sums."""

    start: int
    end: int


@dataclass(frozen=True)
class Graph:
    """Columns and links from the input to the output, and dE/d(output).

    Attributes
    ----------
    columns : tuple of Column
        In an order in which every link goes forward.
    links : tuple of Link
    dense : dict of int to DenseLink
        By the dense layers' numbers.
    output : int
        The column that `delta` belongs to.
    delta : ndarray (n, k)
        dE/d(that column).
    entropy : bool
        Whether the last layer is the softmax that meets cross-entropy.
    taken : tuple of Link
        Links after `output` that delta has taken in, from the output back.
    """

    columns: tuple[Column, ...]
    links: tuple[Link, ...]
    dense: dict[int, DenseLink]
    output: int
    delta: Array
    entropy: bool
    taken: tuple[Link, ...] = ()

    @cached_property
    def outgoing(self) -> list[list[int]]:
        """Numbers of the links that leave each column."""
        out: list[list[int]] = [[] for _ in self.columns]
        for number, link in enumerate(self.links):
            if link.end <= self.output:
                out[link.start].append(number)
        return out

    @cached_property
    def _incoming(self) -> list[list[int]]:
        into: list[list[int]] = [[] for _ in self.columns]
        for number, link in enumerate(self.links):
            into[link.end].append(number)
        return into

    def backward(self) -> list[Array]:
        """dE/d(column) of every column, (n, width)."""
        deltas = [np.zeros(column.values.shape) for column in self.columns[: self.output + 1]]
        deltas[self.output] += self.delta
        for column in range(self.output, -1, -1):
            for number in self._incoming[column]:
                link = self.links[number]
                link.backward(deltas[column], deltas[link.start])
        return deltas

    def forward(self, start: int, tangent: Array) -> Array:
        """dE of every sample (n,) when the numbers of column `start` move by `tangent` (n, width)."""
        tangents = [np.zeros(column.values.shape) for column in self.columns[: self.output + 1]]
        tangents[start] += tangent
        for column in range(start, self.output):
            for number in self.outgoing[column]:
                link = self.links[number]
                link.forward(tangents[column], tangents[link.end])
        total: Array = (tangents[self.output] * self.delta).sum(axis=1)
        return total

    def absolute(self) -> Graph:
        """The same with the size of every factor: its sums are sums of absolute contributions."""
        links = tuple(replace(link, values=None if link.values is None else np.abs(link.values)) for link in self.links)
        return replace(self, links=links, delta=np.abs(self.delta))

    def counts(self) -> list[list[int]]:
        """Number of paths from every neuron of every column to the output, exact."""
        counts = [[0] * column.width for column in self.columns[: self.output + 1]]
        counts[self.output] = [1] * self.columns[self.output].width
        for column in range(self.output - 1, -1, -1):
            here = counts[column]
            for number in self.outgoing[column]:
                link = self.links[number]
                there = counts[link.end]
                if link.kind in ("weights", "mixing"):
                    total = sum(there)
                    here = [count + total for count in here]
                else:
                    part = there[link.offset : link.offset + len(here)]
                    here = [count + more for count, more in zip(here, part, strict=True)]
            counts[column] = here
        return counts

    def gates(self, start: int) -> list[int]:
        """Columns that every way from column `start` to the output passes, from the output back to `start`."""
        after = [0] * (self.output + 1)
        after[self.output] = 1
        for column in range(self.output - 1, -1, -1):
            after[column] = sum(after[self.links[number].end] for number in self.outgoing[column])
        before = [0] * (self.output + 1)
        before[start] = 1
        for column in range(start, self.output):
            for number in self.outgoing[column]:
                before[self.links[number].end] += before[column]
        return [c for c in range(self.output, start - 1, -1) if before[c] * after[c] == after[start] != 0]

    def joined(self) -> Graph:
        """The same with the slopes after the last dense layer taken into delta: dE/dz = dE/dy^ f'(z) is one factor."""
        output, delta, taken = self.output, self.delta, self.taken
        while self.columns[output].name[0] != "z":
            into = self._incoming[output]
            link = self.links[into[0]] if len(into) == 1 else None
            if link is None or len(self.outgoing[link.start]) > 1:
                return self
            if link.kind != "slopes" and not (link.kind == "mixing" and self.entropy and not taken):
                return self
            before = np.zeros(self.columns[link.start].values.shape)
            link.backward(delta, before)
            output, delta, taken = link.start, before, (*taken, link)
        return replace(self, output=output, delta=delta, taken=taken)


def trace(subject: Subject, rows: slice, delta: Array) -> Graph:
    """The graph of the model for these rows, after a forward pass of its own.

    Parameters
    ----------
    subject : Subject
    rows : slice
    delta : ndarray (rows, k)
        dE/d(output).
    """
    subject.hold_noise(subject.model, rows)
    tracer = _Tracer(subject)
    output = tracer.chain(subject.model.layers, tracer.column("a(0)", subject.x[rows]))
    last, loss = subject.model.layers[-1], subject.loss
    entropy = (isinstance(last, Softmax) and isinstance(loss, CategoricalCrossEntropy)) or (
        isinstance(last, LogSoftmax) and isinstance(loss, KLDivergence)
    )
    return Graph(tuple(tracer.columns), tuple(tracer.links), tracer.dense, output, delta, entropy)


def delta_parts(subject: Subject, graph: Graph, joined: Graph) -> tuple[tuple[str, Array], ...]:
    """What the delta of a joined graph is made of: dE/dy^ and slopes, or p and y where it is p - y of one sample."""
    last = graph.columns[graph.output]
    logits = isinstance(subject.loss, (SoftmaxCrossEntropy, SigmoidCrossEntropy)) and joined.output == graph.output
    if graph.entropy or logits:
        p = np.exp(last.values) if isinstance(subject.loss, KLDivergence) else subject.loss.probabilities(last.values)
        y = _probabilities_wanted(subject, p.shape[1])
        if joined.delta.shape == p.shape and np.allclose(joined.delta * len(p), p - y, rtol=1e-9, atol=1e-12):
            return (("p", p), ("y", y))
    slopes = [(link.symbol, link.values) for link in joined.taken if link.values is not None and link.kind == "slopes"]
    return (("dE/dy^", graph.delta), *slopes) if len(slopes) == len(joined.taken) else ()


def _probabilities_wanted(subject: Subject, k: int) -> Array:
    target = subject.target[subject.rows]
    wanted: Array = np.eye(k)[target] if target.ndim == 1 else target
    smoothing = getattr(subject.loss, "label_smoothing", 0.0)
    return (1 - smoothing) * wanted + smoothing / max(k, 2)


def rows_at_once(subject: Subject) -> int:
    """Samples whose derivatives of mixing layers fit into a few megabytes."""
    layers = subject.model.every_layer
    widest = max(subject.x.shape[1], *(max(layer.n_in or 1, layer.n_out or 1) for layer in layers))
    mixing = any(layer.mixes and not layer.children for layer in layers)
    return max(1, (1 << 21) // int(widest * widest if mixing else 64 * widest))


class _Tracer:
    """Runs the layers one after the other and writes down columns and links."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.columns: list[Column] = []
        self.links: list[Link] = []
        self.dense: dict[int, DenseLink] = {}
        self.numbers = {id(layer): i for i, layer in enumerate(subject.model.dense_layers, start=1)}
        self.used: dict[str, int] = {}

    def column(self, name: str, values: Array) -> int:
        self.columns.append(Column(name, values))
        return len(self.columns) - 1

    def link(
        self, start: int, end: int, kind: Kind, symbol: str, values: Array | None = None, **more: int | str
    ) -> None:
        self.links.append(Link(start, end, kind, symbol, values, **more))  # type: ignore[arg-type]

    def chain(self, layers: Sequence[Layer], start: int) -> int:
        for layer in layers:
            start = self.layer(layer, start)
        return start

    def layer(self, layer: Layer, start: int) -> int:
        x, training = self.columns[start].values, self.subject.training
        if isinstance(layer, Residual):
            return self.branches(layer, [("shortcut", []), ("branch", layer.layers)], start)
        if isinstance(layer, Concatenate):
            ways = [(f"branch {b}", branch) for b, branch in enumerate(layer.branches, start=1)]
            return self.branches(layer, ways, start)
        if isinstance(layer, Mixture):
            return self.mixture(layer, start)
        if isinstance(layer, Dense):
            number = self.numbers[id(layer)]
            end = self.column(f"z({number})", layer.forward(x, training).copy())
            self.link(start, end, "weights", f"w({number})", layer.W)
            self.dense[number] = DenseLink(start, end)
            return end
        if any(isinstance(inner, Dense) for inner in layer.walk()):
            place = layer_place(self.subject.model, layer)
            raise ValueError(
                f"{self.subject.who} knows no ways through {layer!r} at {place}, only through Residual, Concatenate "
                "and Mixture."
            )
        y = layer.forward(x, training).copy()
        mixes = layer.mixes or y.shape != x.shape
        symbol = self.symbol(layer, start)
        end = self.column(f"a({self.columns[start].number})", y)
        if mixes:
            self.link(start, end, "mixing", symbol, jacobians(layer, x, y.shape[1], training))
        else:
            self.link(start, end, "slopes", symbol, layer.backward(np.ones_like(y)).copy())
        return end

    def branches(self, layer: Layer, ways: Sequence[tuple[str, Sequence[Layer]]], start: int) -> int:
        name, ends, x = type(layer).__name__, [], self.columns[start]
        for way, layers in ways:
            fork = self.column(x.name.replace("z", "a"), x.values)
            self.link(start, fork, "passing", name, way=way)
            ends.append(self.chain(layers, fork))
        number = max(self.columns[end].number for end in ends)
        if isinstance(layer, Residual):
            joined = self.column(f"a({number})", self.columns[ends[0]].values + self.columns[ends[1]].values)
            offsets = [0, 0]
        else:
            joined = self.column(f"a({number})", np.concatenate([self.columns[end].values for end in ends], axis=1))
            offsets = [sum(self.columns[end].width for end in ends[:b]) for b in range(len(ends))]
        for end, offset in zip(ends, offsets, strict=True):
            self.link(end, joined, "passing", name, offset=offset)
        return joined

    def mixture(self, layer: Mixture, start: int) -> int:
        """Every chain is a branch; dy/dz of what it says is a matrix."""
        x, ends = self.columns[start], []
        y = layer.forward(x.values, False).copy()
        n, k = y.shape
        layer.forward(np.repeat(x.values, k, axis=0), False)
        rows = layer.deltas(np.tile(np.eye(k), (n, 1)))  # row (s, j) of chain i is dy_j/dz_i of sample s
        slopes = np.ascontiguousarray(rows.reshape(-1, n, k, k).transpose(0, 1, 3, 2))
        for b, branch in enumerate(layer.branches, start=1):
            fork = self.column(x.name.replace("z", "a"), x.values)
            self.link(start, fork, "passing", "Mixture", way=f"branch {b}")
            ends.append(self.chain(branch, fork))
        symbol = self.symbol(layer, ends[-1])
        joined = self.column(f"a({max(self.columns[end].number for end in ends)})", y)
        for end, values in zip(ends, slopes, strict=True):
            self.link(end, joined, "mixing", symbol, values)
        return joined

    def symbol(self, layer: Layer, start: int) -> str:
        column = self.columns[start]
        if column.name[0] == "z" and isinstance(layer, Activation):
            return f"f'({column.name}"
        name = type(layer).__name__
        key = f"{name}({column.number})"
        self.used[key] = self.used.get(key, 0) + 1
        again = str(self.used[key]) if self.used[key] > 1 else ""
        return f"{name}{again}'({column.number})"


def jacobians(layer: Layer, x: Array, width: int, training: bool) -> Array:
    """dy_j/dx_i of a layer that treats samples apart: (n, i, j), from its own backward pass of unit vectors."""
    n = len(x)
    layer.forward(np.repeat(x, width, axis=0), training)
    rows = layer.backward(np.tile(np.eye(width), (n, 1)))  # row (s, j) is dy_j/dx of sample s
    return np.ascontiguousarray(rows.reshape(n, width, x.shape[1]).transpose(0, 2, 1))
