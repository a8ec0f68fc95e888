"""The figures of a route: the gradient of one weight twice over, its paths, and the stages on the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from densenet._types import Array
from densenet._validation import positive_int
from densenet.explain.graph import Graph, delta_parts, rows_at_once, trace
from densenet.explain.paths import Factor, Path, Paths
from densenet.explain.subject import Subject

ALL_PATHS = 100_000
"""The most paths that `Route.paths` lists when `k` is not given."""


class Stage(NamedTuple):
    """One stage of the way back from the output.

    Attributes
    ----------
    name : str
        "dE/dy^" at the output, then such as "f'(z(4))", "w(4)", "LayerNorm'(2)" or a container's name.
    kind : {"error", "slopes", "weights", "mixing", "container"}
    rms : float
        Root mean square of the derivative of E after this stage.
    factor : float
        rms over the rms before the stage; 1 for the first, 0 where both are 0.
    """

    name: str
    kind: Literal["error", "slopes", "weights", "mixing", "container"]
    rms: float
    factor: float


@dataclass(frozen=True, eq=False)
class RouteFigures:
    """What is known of the way of the error to one weight; `Route` describes the attributes, and shows them."""

    layer: int
    source: int | str
    target: int
    sample: int | None
    training: bool
    name: str
    element: str
    value: float
    error: float
    gradient: float
    total: float
    training_gradient: float
    dtype: Any
    absolute: float
    n_paths: int
    subject: Subject = field(repr=False)
    _paths: Paths | None = field(repr=False)

    # -- the check ---------------------------------------------------------------------------------------------

    @property
    def discrepancy(self) -> float:
        """|gradient - total| over the sum of absolute contributions; 0 where both are 0."""
        difference = abs(self.gradient - self.total)
        return difference / self.absolute if self.absolute else difference

    @property
    def agrees(self) -> bool:
        """Whether `gradient` and `total` agree to 1e-12 of the sum of absolute contributions."""
        return self.discrepancy <= 1e-12

    # -- paths -------------------------------------------------------------------------------------------------

    @property
    def _one(self) -> Paths:
        if self._paths is None:
            raise ValueError(
                f"Paths and factors need a sample, and this route is of a batch of {len(self.subject.x)}: "
                "route(..., sample=0) explains row 0 of x. The batch has gradient, total and n_paths."
            )
        return self._paths

    def paths(self, k: int | None = None) -> list[Path]:
        """The paths by the size of their contribution, the largest first; equal ones by their neurons.

        Parameters
        ----------
        k : int, optional
            Only the k largest: exactly those, however many paths there are. By default all.

        Raises
        ------
        ValueError
            If all are asked for and there are more than 100,000, or if the route is of a batch.
        """
        finder = self._one
        if k is not None:
            return finder.largest(positive_int(k, "route.paths", "k"))
        if self.n_paths > ALL_PATHS:
            raise ValueError(
                f"This weight has {self.n_paths:,} paths, too many to list: paths(10) gives the ten largest, exactly."
            )
        return finder.largest(self.n_paths)

    def path(self, neurons: Sequence[Any]) -> Path:
        """One path by its neurons.

        Parameters
        ----------
        neurons : sequence
            The source, then one neuron for each dense layer from this one to the last, counted from 1, with
            ``(name, neuron)`` where a layer mixes neurons, as `Path.neurons` has them. A bias begins with "bias".

        Raises
        ------
        ValueError
            If there is no such path, saying what is possible where, or if the route is of a batch.
        """
        return self._one.follow(neurons)

    def output_parts(self, path: Path) -> tuple[tuple[str, float], ...]:
        """What the last factor of a path is made of: dE/dy^ and slopes whose product it is, or p and y, when p - y."""
        finder = self._one
        neuron = path.trail[-1][1] if path.trail else finder.target
        found = []
        for name, values in delta_parts(self.subject, self.graph, finder.graph):
            shown = f"{name}_{neuron + 1}" + (")" if name.startswith("f'") else "")
            found.append((shown, float(values[0, neuron])))
        return tuple(found)

    def weights_passed(self, path: Path) -> list[tuple[str, Factor | None, int]]:
        """The weights along a path, from this one on: name, what enters it, and where its factors begin.

        Raises
        ------
        ValueError
            If the route is of a batch.
        """
        return self._one.weights_passed(path)

    # -- the whole layer ---------------------------------------------------------------------------------------

    @property
    def cancellation(self) -> float:
        """1 - |sum of contributions| / sum of |contributions|.

        0 when no path works against another, 1 when all is lost.

        From one backward pass of absolute values; 0 where every contribution is 0. For a batch, over all paths of all
        samples.
        """
        return max(0.0, 1 - abs(self.total) / self.absolute) if self.absolute else 0.0

    def cancellations(self) -> Array:
        """`cancellation` of all weights of the layer at once, at about the cost of a backward pass.

        Returns
        -------
        ndarray (n_in, n_out), or (n_out,) for a bias
        """
        signed: Any = 0.0
        sizes: Any = 0.0
        for graph in map(Graph.joined, self._graphs()):
            start, end = graph.dense[self.layer]
            enters = graph.columns[start].values if self.source != "bias" else np.ones((len(graph.delta), 1))
            signed = signed + enters.T @ graph.backward()[end]  # sum of contributions = a^T D
            sizes = sizes + np.abs(enters).T @ graph.absolute().backward()[end]
        kept = np.divide(np.abs(signed), sizes, out=np.ones_like(sizes), where=sizes > 0)
        result: Array = np.maximum(0.0, 1 - kept)
        return result if self.source != "bias" else result[0]

    def attenuation(self) -> tuple[Stage, ...]:
        """How much each stage multiplies the size (RMS over neurons) of the derivative of E, from the output back.

        The first entry is dE/dy^; then slopes turn dE/da into dE/dz, and weights turn dE/dz of a layer into dE/da of
        the layer before, down to dE/dz of this layer. For a batch, the RMS is over its samples too.

        Returns
        -------
        tuple of Stage
            Its factors multiply to RMS(dE/dz of this layer) / RMS(dE/dy^).
        """
        squares, counts, rows = self._squares()
        graph = self.graph
        gates = graph.gates(graph.dense[self.layer].end)
        sizes = [float(np.sqrt(squares[g].sum() / (counts[g] * rows))) for g in gates]
        stages = [Stage("dE/dy^", "error", sizes[0], 1.0)]
        for (after, before), (size, smaller) in zip(pairwise(gates), pairwise(sizes), strict=True):
            found = [link for link in graph.links if link.start == before and link.end <= graph.output]
            factor = smaller / size if size else 0.0
            if len(found) > 1 or found[0].end != after:
                stages.append(Stage(found[0].symbol, "container", smaller, factor))
            elif found[0].kind != "passing":
                name = found[0].symbol + (")" if found[0].symbol.startswith("f'") else "")
                stages.append(Stage(name, found[0].kind, smaller, factor))
        return tuple(stages)

    def neuron_rms(self) -> dict[int, Array]:
        """RMS of dE/dz over **all** rows of x, for every dense layer by number: one number a neuron (n_out,).

        E is the batch's error here, whatever the route's sample: this is what the heat map shows.
        """
        subject = self.subject
        if self.sample is None:
            squares, _, rows = self._squares()
        else:
            squares, _, rows = _squares(_batch_graphs(subject, slice(0, len(subject.x))))
        return {number: np.sqrt(squares[link.end] / rows) for number, link in self.graph.dense.items()}

    @cached_property
    def graph(self) -> Graph:
        """The graph of the sample, or of the first row of a batch, with every stage of its own."""
        return next(iter(self._graphs()))

    def _graphs(self) -> Iterator[Graph]:
        return _batch_graphs(self.subject, self.subject.rows)

    def _squares(self) -> tuple[list[Array], list[int], int]:
        return _squares(self._graphs())


def graphs(subject: Subject, rows: slice, delta: Array) -> Iterator[Graph]:
    """Graphs of these rows, as many rows at a time as fit into memory; `delta` belongs to the first of them on."""
    step = rows_at_once(subject)
    for start in range(rows.start, rows.stop, step):
        part = slice(start, min(rows.stop, start + step))
        yield trace(subject, part, delta[part.start - rows.start : part.stop - rows.start])


def _batch_graphs(subject: Subject, rows: slice) -> Iterator[Graph]:
    _, delta = subject.forward_backward(subject.model, rows)
    yield from graphs(subject, rows, delta)


def _squares(graphs: Iterable[Graph]) -> tuple[list[Array], list[int], int]:
    """Sums over rows of the squared derivative of E by every column, the columns' widths, and the number of rows."""
    sums: list[Array] = []
    widths: list[int] = []
    rows = 0
    for graph in graphs:
        parts = [np.square(delta).sum(axis=0) for delta in graph.backward()]
        sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
        widths = [column.width for column in graph.columns]
        rows += len(graph.delta)
    return sums, widths, rows
