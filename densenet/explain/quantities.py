"""What one step of a plain chain consists of, by dense layer: sums, activations, their derivatives, and their names."""

from __future__ import annotations

from itertools import pairwise

from densenet._types import Array
from densenet.explain.graph import Graph, Link, delta_parts
from densenet.explain.notation import Line
from densenet.explain.slopes import function, slope, slope_of_all
from densenet.explain.subject import Subject
from densenet.layers.base import Layer
from densenet.layers.noise import Noise

Pair = tuple[Array, Array | None]
"""A kernel and its biases, or what belongs to them; None for a layer without biases."""


class Quantities:
    """z, a, dE/da and dE/dz by dense layer, from entry 0 for layer 1, for all rows.

    Attributes
    ----------
    a0 : ndarray (n, n_in)
    z, a, da, dz : list of ndarray (n, n_out)
    old, gradients : list of (ndarray (n_in, n_out), ndarray (n_out,) or None)
        Weights before the step, and their gradients.
    logits : bool
        Whether the last sums are logits: then the loss makes the predictions p of them, and there is no y^.
    meets : bool
        Whether softmax or the sigmoid meets cross-entropy: dE/dz(L) = p - y.
    p, y : ndarray (n, k)
        Predicted and wanted probabilities, where `meets`.
    between : list of list of Link
        What lies between the sums of a dense layer and what the next one takes.
    """

    def __init__(self, subject: Subject, graph: Graph, old: list[Pair], gradients: list[Pair]) -> None:
        self.subject, self.old, self.gradients = subject, old, gradients
        self.rows, self.count = len(subject.x), len(graph.dense)
        deltas = graph.backward()
        ends = [graph.dense[number].end for number in sorted(graph.dense)]
        outs = [*(graph.dense[number].start for number in sorted(graph.dense)[1:]), graph.output]
        self.a0 = graph.columns[graph.dense[1].start].values
        self.z, self.a = ([graph.columns[place].values for place in places] for places in (ends, outs))
        self.da, self.dz = ([deltas[place] for place in places] for places in (outs, ends))
        self.between = [
            [link for link in graph.links if end <= link.start < out] for end, out in zip(ends, outs, strict=True)
        ]
        joined = graph.joined()
        parts = delta_parts(subject, graph, joined) if joined.output == ends[-1] else ()
        self.meets = len(parts) == 2 and parts[0][0] == "p"
        self.logits = subject.loss.expects == "logits" and not self.between[-1]
        if self.meets:
            (_, self.p), (_, self.y) = parts
        for number, links in enumerate(self.between, start=1):
            if len(links) > 1 and any(link.kind == "mixing" for link in links):
                names = ", ".join(link.symbol.split("'")[0] for link in links)
                raise ValueError(
                    f"explain_step writes out one layer that mixes neurons after dense layer {number}, not {names}."
                )

    # -- names -------------------------------------------------------------------------------------------------

    def output(self, number: int) -> str:
        """What a dense layer's activations are called: a(l), at the output y^; z(L) where that is logits."""
        if number < self.count:
            return f"a({number})"
        return f"z({number})" if self.logits else "y^"

    @property
    def probability(self) -> str:
        """What the predicted probabilities are called."""
        return "p" if self.logits else "y^"

    def layers(self, number: int) -> list[Layer]:
        """The layers between a dense layer and the next, one for each link."""
        every: tuple[Layer, ...] = self.subject.model.layers
        start = every.index(self.subject.model.dense_layers[number - 1]) + 1
        return list(every[start : start + len(self.between[number - 1])])

    def functions(self, number: int, z_name: str, a_name: str) -> list[str]:
        """Names of the values from z to a: z, what each layer makes of it, and a at last."""
        names = [z_name]
        layers = self.layers(number)
        for layer in layers[:-1]:
            names.append(f"{type(layer).__name__}({names[-1]})")
        return [*names, a_name] if layers else names

    def applied(self, number: int, z_name: str) -> str:
        """a as a function of z."""
        names = self.functions(number, z_name, "")
        layers = self.layers(number)
        if not layers:
            return z_name
        single = len(layers) == 1 and self.between[number - 1][0].symbol.startswith("f'")
        return f"{'f' if single else type(layers[-1]).__name__}({names[-2]})"

    def sentence(self, number: int) -> tuple[str, ...]:
        """Which function f is."""
        found = []
        layers = self.layers(number)
        for layer in layers:
            name = "f" if len(layers) == 1 and self.between[number - 1][0].symbol.startswith("f'") else ""
            formula = function(layer)
            is_of = f": f(z) = {formula}" if formula else ""
            if name:
                found.append(f"f is {type(layer).__name__}{is_of}.")
            elif formula:
                found.append(f"{type(layer).__name__}(z) = {formula}.")
        return tuple(found)

    # -- slopes ------------------------------------------------------------------------------------------------

    def slopes(self, number: int, j: int) -> list[Line]:
        """f' of one neuron (from 0) of the first row, one line for each layer passed."""
        names = self.functions(number, f"z({number})_{j + 1}", f"{self.output(number)}_{j + 1}")
        values = self._values(number, j)
        lines = []
        steps = zip(self.between[number - 1], self.layers(number), pairwise(names), pairwise(values), strict=True)
        for link, layer, (z_name, a_name), (z, a) in steps:
            if link.values is None or link.kind != "slopes":
                continue
            formula, numbers = slope(layer, z_name, a_name, z, a)
            remark = "" if formula else f"the slope of {type(layer).__name__}"
            if isinstance(layer, Noise):
                remark = f"{type(layer).__name__} passes everything in prediction"
            lines.append(Line(link.slope_name(j), formula, numbers, float(link.values[0, j]), remark))
        return lines

    def _values(self, number: int, j: int) -> list[float]:
        """The numbers from z to a of one neuron of the first row."""
        values = self.z[number - 1][:1]
        found = [float(values[0, j])] if self.between[number - 1] else []
        for layer in self.layers(number):
            values = layer.infer(values)
            found.append(float(values[0, j]) if j < values.shape[1] else 0.0)
        return found

    def slope_formulas(self, number: int) -> list[tuple[Link, str]]:
        """Every link of slopes after a dense layer, with f' of the whole array."""
        names = self.functions(number, f"z({number})", self.output(number))
        steps = zip(self.between[number - 1], self.layers(number), pairwise(names), strict=True)
        return [
            (link, slope_of_all(layer, z_name, a_name))
            for link, layer, (z_name, a_name) in steps
            if link.kind == "slopes" and link.values is not None
        ]
