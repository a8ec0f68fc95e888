"""The paths from one weight to the error, by the size of their contributions.

A path's contribution is a product, so the largest are found exactly without looking at all of them: for every neuron
the largest product of sizes from there to the output is known after one pass backward, and a search that always
follows the best completion meets the paths in the order of their size.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from densenet._types import Array
from densenet.explain.graph import Graph, Link

Trail = tuple[tuple[int, int], ...]
"""A way through the graph: the number of each link and the neuron it leads to, from 0."""


class Factor(NamedTuple):
    """One factor of the chain rule: its name in the notes' notation, and its number."""

    name: str
    value: float


class _Way(NamedTuple):
    """One way on: the size of its best completion, the link and the neuron it leads to, the size of its factor."""

    size: float
    step: tuple[int, int]
    factor: float


class Passage(NamedTuple):
    """How a path passes a layer that mixes neurons: the neuron it leaves at, from 1, or the way through a container."""

    layer: str
    way: int | str

    def __str__(self) -> str:
        return f"{self.layer} {self.way}"


Neurons = tuple[int | str | Passage, ...]


@dataclass(frozen=True)
class Path:
    """One path from a weight to the error.

    Attributes
    ----------
    neurons : tuple
        The source, then one neuron for each dense layer passed, counted from 1, with a named `Passage` wherever a
        layer mixes neurons. A bias begins with "bias".
    contribution : float
        The product of the factors: this path's part of dE/dw.
    share : float
        The contribution over the sum of absolute contributions of all paths; 0 where that sum is 0.
    factors : tuple of Factor
        Names and numbers.
    """

    neurons: Neurons
    contribution: float
    share: float
    factors: tuple[Factor, ...]
    trail: Trail = field(repr=False)

    def __str__(self) -> str:
        return "-".join(map(str, self.neurons))


class Paths:
    """The paths of w(layer)_{source,target} for one sample; their number and absolute sum for several.

    Parameters
    ----------
    graph : Graph
        Joined.
    layer : int
        From 1.
    source : int or None
        From 0; None for the bias.
    target : int
        From 0.
    """

    def __init__(self, graph: Graph, layer: int, source: int | None, target: int) -> None:
        self.graph, self.layer, self.source, self.target = graph, layer, source, target
        self._sizes = graph.absolute()
        self.start_column, self.start = graph.dense[layer]
        self.name = f"b({layer})_{target + 1}" if source is None else f"w({layer})_{{{source + 1},{target + 1}}}"
        self.enters = (
            np.ones(len(graph.delta)) if source is None else graph.columns[self.start_column].values[:, source]
        )
        self.entering = float(self.enters[0])

    @cached_property
    def count(self) -> int:
        """Number of paths, exact."""
        return self.graph.counts()[self.start][self.target]

    @cached_property
    def absolute(self) -> float:
        """The sum of |contribution| over all paths of all samples, from one backward pass of sizes."""
        return float(np.abs(self.enters) @ self._sizes.backward()[self.start][:, self.target])

    @cached_property
    def _best(self) -> list[Array]:
        """The largest |product| from each neuron of each column to the error: max over j of |J_ij| best_j."""
        best = [np.zeros(column.width) for column in self.graph.columns[: self.graph.output + 1]]
        best[self.graph.output] = self._sizes.delta[0].copy()
        for column in range(self.graph.output - 1, self.start - 1, -1):
            for number in self.graph.outgoing[column]:
                np.maximum(best[column], self._completions(number, best), out=best[column])
        return best

    def _completions(self, number: int, best: list[Array]) -> Array:
        link = self._sizes.links[number]
        there = best[link.end]
        if link.kind in ("weights", "mixing"):
            largest: Array = (link.matrix * there).max(axis=1)
            return largest
        part = there[link.offset : link.offset + len(best[link.start])]
        return part if link.values is None else part * link.values[0]

    def largest(self, k: int) -> list[Path]:
        """The k paths of largest |contribution|, exactly; fewer where there are fewer. Ties go by neurons."""
        trails = [trail for trail, _ in zip(self._search(k), range(k), strict=False)]
        paths = [self.path(trail) for trail in trails]
        return [path for _, _, path in sorted((-abs(p.contribution), p.trail, p) for p in paths)]

    def _search(self, k: int) -> Iterator[Trail]:
        """Trails in the order of the size of their products.

        An entry of the heap stands for the best completion of its trail. What is popped makes room for two: its own
        best continuation, and its next best sibling.
        """
        scale = abs(self.entering)
        kept: dict[tuple[int, int, bool], list[_Way]] = {}

        def ways(column: int, neuron: int, before: float) -> list[_Way]:
            key = column, neuron, before == 0
            if key not in kept:
                kept[key] = self._ways(column, neuron, k, dead=before == 0)
            return kept[key]

        if self.start == self.graph.output:
            yield ()
            return
        best = ways(self.start, self.target, scale)[0]
        heap: list[tuple[float, Trail, tuple[int, int], int, float]]
        heap = [(-scale * best.size, (best.step,), (self.start, self.target), 0, scale)]
        while heap:
            size, trail, node, rank, before = heapq.heappop(heap)
            siblings = ways(*node, before)
            if rank + 1 < len(siblings):
                after = siblings[rank + 1]
                heapq.heappush(heap, (-before * after.size, (*trail[:-1], after.step), node, rank + 1, before))
            way = siblings[rank]
            here = self.graph.links[way.step[0]].end, way.step[1]
            if here[0] == self.graph.output:
                yield trail
                continue
            behind = before * way.factor
            best = ways(*here, behind)[0]
            heapq.heappush(heap, (size, (*trail, best.step), here, 0, behind))

    def _ways(self, column: int, neuron: int, k: int, dead: bool) -> list[_Way]:
        """The k best ways on from a neuron; where the product is 0 already, all are equally good."""
        found: list[_Way] = []
        for number in self.graph.outgoing[column]:
            link = self._sizes.links[number]
            there = self._best[link.end]
            if link.kind in ("weights", "mixing"):
                factors = link.matrix[neuron]
                products = np.zeros_like(there) if dead else factors * there
                order = np.argsort(-products, kind="stable")[:k].tolist()
                found += [_Way(float(products[j]), (number, j), float(factors[j])) for j in order]
            else:
                j = neuron + link.offset
                factor = 1.0 if link.values is None else float(link.values[0, neuron])
                found.append(_Way(0.0 if dead else factor * float(there[j]), (number, j), factor))
        found.sort(key=lambda way: (-way.size, way.step))
        return found[:k]

    def follow(self, neurons: Sequence[Any]) -> Path:
        """The path of these neurons.

        Raises
        ------
        ValueError
            If there is none, saying what is possible where.
        """
        begins: list[Any] = ["bias" if self.source is None else self.source + 1, self.target + 1]
        given = list(neurons)
        if given[:2] != begins:
            shown = ", ".join(map(repr, begins))
            raise ValueError(f"route.path: the paths of this weight begin ({shown}, ...), got {tuple(given)!r}.")
        column, neuron, at, trail = self.start, self.target, 2, []
        while column != self.graph.output:
            ways = self.graph.outgoing[column]
            link = self.graph.links[ways[0]]
            if len(ways) == 1 and link.kind in ("slopes", "passing") and not link.way:
                number, neuron = ways[0], neuron + link.offset
            else:
                number, neuron = self._chosen(ways, neuron, given, at)
                at += 1
            trail.append((number, neuron))
            column = self.graph.links[number].end
        if at != len(given):
            raise ValueError(
                f"route.path: the path {tuple(given[:at])!r} is at the output already, got {tuple(given)!r}."
            )
        return self.path(tuple(trail))

    def _chosen(self, ways: list[int], neuron: int, given: list[Any], at: int) -> tuple[int, int]:
        link = self.graph.links[ways[0]]
        width = self.graph.columns[link.end].width
        entry = given[at] if at < len(given) else None
        if link.kind == "weights":
            if isinstance(entry, (int, np.integer)) and not isinstance(entry, bool) and 1 <= entry <= width:
                return ways[0], int(entry) - 1
            expected = f"a neuron of dense layer {link.symbol[2:-1]}, from 1 to {width}"
        elif link.kind == "mixing":
            name = self.mixing_name(link)
            for j in range(width):
                if entry == (name, j + 1):
                    return ways[0], j
            expected = f"({name!r}, neuron), neurons from 1 to {width}"
        else:
            for number in ways:
                if entry == (link.symbol, self.graph.links[number].way):
                    return number, neuron
            expected = " or ".join(repr((link.symbol, self.graph.links[number].way)) for number in ways)
        raise ValueError(
            f"route.path expects entry {at + 1} to be {expected}; "
            f"got {'nothing' if entry is None else repr(entry)} in {tuple(given)!r}."
        )

    @staticmethod
    def mixing_name(link: Link) -> str:
        """The name that a path's entry has where it passes this mixing layer."""
        return link.symbol.split("'")[0]

    def path(self, trail: Trail) -> Path:
        """The path along a trail, with its factors."""
        neurons: list[int | str | Passage] = ["bias" if self.source is None else self.source + 1, self.target + 1]
        factors = (
            [] if self.source is None else [Factor(self.entry_name(self.start_column, self.source), self.entering)]
        )
        neuron = self.target
        for number, there in trail:
            link = self.graph.links[number]
            if link.kind == "weights":
                neurons.append(there + 1)
            elif link.kind == "mixing":
                neurons.append(Passage(self.mixing_name(link), there + 1))
            elif link.way:
                neurons.append(Passage(link.symbol, link.way))
            factor = link.factor(neuron, there)
            if factor is not None:
                factors.append(Factor(*factor))
            neuron = there
        factors.append(Factor(f"{self.graph_end}_{neuron + 1}", float(self.graph.delta[0, neuron])))
        contribution = math.prod(factor.value for factor in factors)
        return Path(
            tuple(neurons), contribution, contribution / self.absolute if self.absolute else 0.0, tuple(factors), trail
        )

    @property
    def graph_end(self) -> str:
        """What the last factor is called: dE/dz(L) where delta belongs to a dense layer's sums, else dE/dy^."""
        name = self.graph.columns[self.graph.output].name
        return f"dE/d{name}" if name[0] == "z" else "dE/dy^"

    def entry_name(self, column: int, neuron: int) -> str:
        """What enters a weight from that neuron (from 0): "a(2)_1"."""
        return f"a({self.graph.columns[column].number})_{neuron + 1}"

    def weights_passed(self, path: Path) -> list[tuple[str, Factor | None, int]]:
        """Every weight of a path from the one explained to the output, as the notes' formula names them.

        For each: its name, what enters it (None for a bias), and how many of the path's factors come before what
        follows its neuron's sum: the product of the factors from there on is the derivative of E by that sum along
        the path.
        """
        first = path.factors[0] if self.source is not None else None
        found = [(self.name, first, int(first is not None))]
        at, neuron = found[0][2], self.target
        for number, there in path.trail:
            link = self.graph.links[number]
            at += link.values is not None
            if link.kind == "weights":
                enters = Factor(
                    self.entry_name(link.start, neuron), float(self.graph.columns[link.start].values[0, neuron])
                )
                found.append((f"{link.symbol}_{{{neuron + 1},{there + 1}}}", enters, at))
            neuron = there
        return found
