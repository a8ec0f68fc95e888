"""The usual mistakes of a backward pass, made on purpose.

Each is a small change of the right one: a factor left out or taken twice, a slope or an activation from the wrong
place. What they give is what people's gradients are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from densenet._types import Array
from densenet.explain.graph import Graph, Link, jacobians
from densenet.explain.subject import Subject
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.elementwise import Activation
from densenet.layers.softmax import LogSoftmax, Softmax
from densenet.losses.base import ElementwiseLoss
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.crossentropy import SoftmaxCrossEntropy
from densenet.losses.regression import MeanSquaredError

Gradients = list[tuple[Array, Array | None]]
"""(dW, db) by dense layer."""

EXPLAINED = {
    "slope forgotten everywhere": "dE/dz = dE/da f'(z): no layer multiplied by f'(z).",
    "slope forgotten at the output only": "At the output, dE/dz = dE/dy^ f'(z): the factor f'(z) is missing there.",
    "slope forgotten in the hidden layers": "Below the output, dE/dz = dE/da f'(z): the factor f'(z) is missing there.",
    "slope forgotten in one layer": "dE/dz = dE/da f'(z): the factor f'(z) is missing in this layer.",
    "slope taken at a instead of z": "The slope is f' at the weighted sum z; it was taken at the activation a = f(z).",
    "sign or prediction and target swapped": "The sign is wrong: y - y^ in place of y^ - y, or the step's minus.",
    "2/n beside 1/n": "A factor of 2 too much or too little: the 2 of a square's derivative, or the 1/2 before it.",
    "sum in place of mean": "E is a mean, and the gradient of the sum was taken: divide by the number it is a mean of.",
    "1/n twice": "The mean's 1/n was taken twice, in the loss and in the layers: it belongs into the loss, once.",
    "a of the wrong layer": "dE/dw(l) takes the activation that enters layer l: a(l-1), transposed, times dE/dz(l).",
    "db not summed": "dE/db is the sum of dE/dz over the rows: every sample adds its part.",
    "transposed weights in the backward pass": "dE/da of the layer before is dE/dz W^T, with W (in, out); W was taken.",
    "softmax's derivative applied twice": "p - y is dE/dz already: softmax's derivative is in it.",
    "sigmoid's derivative applied twice": "p - y is dE/dz already: the sigmoid's derivative is in it.",
    "weights updated before the delta passed on": "The delta has to pass through the old weights: update afterwards.",
}


@dataclass(frozen=True)
class Mistake:
    """A mistake that gives exactly the user's numbers: its name, what it is, and details for this network."""

    name: str
    detail: str = ""

    @property
    def explanation(self) -> str:
        """What the mistake is, and what would be right."""
        return EXPLAINED[self.name]


class WrongBackward:
    """The backward pass of a plain chain, right and wrong in the usual ways."""

    def __init__(self, subject: Subject, graph: Graph) -> None:
        self.subject, self.graph = subject, graph
        dense = [graph.dense[number] for number in sorted(graph.dense)]
        columns = graph.columns
        self.into = [columns[link.start].values for link in dense]
        self.weights = [layer.W.copy() for layer in subject.model.dense_layers]
        self.use_bias = [layer.use_bias for layer in subject.model.dense_layers]
        ends = [*(link.start for link in dense[1:]), graph.output]
        self.links = [
            [link for link in graph.links if d.end <= link.start < end] for d, end in zip(dense, ends, strict=True)
        ]
        self.layers = self._layers_between()
        deltas = graph.backward()
        self.deltas = [deltas[link.end] for link in dense]
        self.activations: dict[str, Array] = {}
        for number, (link, z) in enumerate(zip(dense, (columns[link.end].values for link in dense), strict=True)):
            self.activations[f"a({number})" if number else "the input"] = columns[link.start].values
            self.activations[f"z({number + 1})"] = z
        self.activations[f"a({len(dense)})"] = columns[graph.output].values

    def _layers_between(self) -> list[list[Layer]]:
        found: list[list[Layer]] = []
        for layer in self.subject.model.layers:
            if isinstance(layer, Dense):
                found.append([])
            elif found:
                found[-1].append(layer)
        return found

    # -- a backward pass with one thing wrong ------------------------------------------------------------------

    def run(
        self,
        *,
        links: Sequence[Sequence[Link]] | None = None,
        back: Callable[[int, Array], Array] | None = None,
        last: Array | None = None,
    ) -> Gradients:
        """The gradients with other slopes (`links`), other weights on the way back (`back`), or another last delta."""
        links = self.links if links is None else links
        count = len(self.weights)
        delta = self.graph.delta
        made: list[tuple[Array, Array | None]] = []
        for place in range(count - 1, -1, -1):
            delta = last if place == count - 1 and last is not None else self._through(links[place], delta)
            made.append(self._gradients(place, delta))
            if place:
                delta = delta @ self.weights[place].T if back is None else back(place, delta)
        return made[::-1]

    def _through(self, links: Sequence[Link], delta: Array) -> Array:
        for link in reversed(links):
            before = np.zeros(self.graph.columns[link.start].values.shape)
            link.backward(delta, before)
            delta = before
        return delta

    def _gradients(self, place: int, delta: Array) -> tuple[Array, Array | None]:
        db = delta.sum(axis=0) if self.use_bias[place] else None
        return self.into[place].T @ delta, db  # dE/dW = X^T D, dE/db = D^T 1

    def factors(self) -> Iterator[tuple[Mistake, float, float]]:
        """Mistakes that multiply the whole gradient: the factors of dW and of db."""
        n, k, loss = len(self.deltas[0]), self.graph.delta.shape[1], self.subject.loss
        every: list[tuple[str, str, float]] = [
            ("sign or prediction and target swapped", "", -1.0),
            ("2/n beside 1/n", "twice the right gradient", 2.0),
            ("2/n beside 1/n", "half the right gradient", 0.5),
        ]
        if n > 1:
            every.append(("sum in place of mean", f"over the {n} samples", float(n)))
            every.append(("1/n twice", f"n = {n} samples", 1 / n))
        averages = isinstance(loss, MeanSquaredError) or (isinstance(loss, ElementwiseLoss) and not loss.sums_outputs)
        if k > 1 and averages:
            every.append(("sum in place of mean", f"over the {k} outputs", float(k)))
            if n > 1:
                every.append(("sum in place of mean", f"over {n} samples and {k} outputs", float(n * k)))
        for name, detail, factor in every:
            yield Mistake(name, detail), factor, factor

    def partial_factors(self) -> Iterator[tuple[Mistake, float, float]]:
        """Mistakes that multiply dW alone or db alone."""
        n = len(self.deltas[0])
        if n > 1:
            yield Mistake("sum in place of mean", "in dW alone"), float(n), 1.0
            yield Mistake("sum in place of mean", "in db alone"), 1.0, float(n)
            yield Mistake("1/n twice", "in dW alone"), 1 / n, 1.0
            yield Mistake("1/n twice", "in db alone"), 1.0, 1 / n

    def wrong(self) -> Iterator[tuple[Mistake, Gradients]]:
        """Mistakes on the way back, with the gradients they give."""
        yield from self._slopes()
        yield from self._transposed()
        yield from self._twice()

    def _slopes(self) -> Iterator[tuple[Mistake, Gradients]]:
        count = len(self.weights)
        forgotten = [self._without_slopes(place) for place in range(count)]
        at_a = [self._at_activation(place) for place in range(count)]
        hidden = set(range(count - 1))
        yield Mistake("slope forgotten everywhere"), self.run(links=forgotten)
        yield Mistake("slope forgotten at the output only"), self.run(links=self._replaced(forgotten, {count - 1}))
        yield Mistake("slope taken at a instead of z", "in every layer"), self.run(links=at_a)
        if hidden:
            yield Mistake("slope forgotten in the hidden layers"), self.run(links=self._replaced(forgotten, hidden))
            at_hidden = self.run(links=self._replaced(at_a, hidden))
            yield Mistake("slope taken at a instead of z", "in the hidden layers"), at_hidden
        for place in range(count):
            detail = f"in dense layer {place + 1}"
            if place in hidden and len(hidden) > 1:
                one = self.run(links=self._replaced(forgotten, {place}))
                yield Mistake("slope forgotten in one layer", detail), one
            yield Mistake("slope taken at a instead of z", detail), self.run(links=self._replaced(at_a, {place}))

    def _replaced(self, links: list[list[Link]], places: set[int]) -> list[list[Link]]:
        return [links[p] if p in places else self.links[p] for p in range(len(self.links))]

    def _without_slopes(self, place: int) -> list[Link]:
        pairs = zip(self.layers[place], self.links[place], strict=True)
        return [link for layer, link in pairs if not isinstance(layer, (Activation, Softmax, LogSoftmax))]

    def _at_activation(self, place: int) -> list[Link]:
        """The links after a dense layer, activations' derivatives taken at what they give, not at what they take."""
        made = []
        for layer, link in zip(self.layers[place], self.links[place], strict=True):
            y = self.graph.columns[link.end].values
            if isinstance(layer, Activation):
                values = layer.backward(np.ones_like(layer.forward(y, False))).copy()
            elif isinstance(layer, (Softmax, LogSoftmax)):
                values = jacobians(layer, y, y.shape[1], False)
            else:
                made.append(link)
                continue
            made.append(replace(link, values=values))
        return made

    def _transposed(self) -> Iterator[tuple[Mistake, Gradients]]:
        square = {place for place, W in enumerate(self.weights) if place and W.shape[0] == W.shape[1]}
        for places in (square, *({place} for place in square if len(square) > 1)):
            if places:

                def back(place: int, delta: Array, places: set[int] = places) -> Array:
                    W = self.weights[place]
                    return delta @ W if place in places else delta @ W.T

                numbers = ", ".join(f"w({place + 1})" for place in sorted(places))
                yield Mistake("transposed weights in the backward pass", numbers), self.run(back=back)

    def _twice(self) -> Iterator[tuple[Mistake, Gradients]]:
        loss, last = self.subject.loss, self.deltas[-1]
        out = self.graph.columns[self.graph.output].values
        if isinstance(loss, SigmoidCrossEntropy):
            p = loss.probabilities(out)
            yield Mistake("sigmoid's derivative applied twice"), self.run(last=last * p * (1 - p))
            return
        softmax = self.links[-1][-1].symbol.startswith("Softmax'") if self.links[-1] else False
        if not isinstance(loss, SoftmaxCrossEntropy) and not softmax:
            return
        p = out if softmax else loss.probabilities(out)
        again = p * (last - (last * p).sum(axis=1, keepdims=True))  # dE/dx_j = p_j (d_j - sum_k d_k p_k)
        name = "softmax's derivative applied twice"
        if last.shape == p.shape:
            yield Mistake(name, "the whole matrix"), self.run(last=again)
            yield Mistake(name, "p (1 - p) alone"), self.run(last=last * p * (1 - p))

    def updated_too_early(self, given: Gradients) -> tuple[float, Gradients | None]:
        """The gradients when each layer's weights are updated before its delta passes on, with the rate that fits best.

        The layer before the last is linear in the rate alpha: D (W - alpha dW)^T f' = D W^T f' - alpha D dW^T f'.
        """
        count = len(self.weights)
        if count < 2:
            return 0.0, None
        dW = self.into[-1].T @ self.deltas[-1]
        right, lost = (
            self._gradients(count - 2, self._through(self.links[count - 2], self.deltas[-1] @ W.T))
            for W in (self.weights[-1], dW)
        )
        wrong = given[count - 2]
        if any(a is not None and b is not None and a.shape != b.shape for a, b in zip(right, wrong, strict=True)):
            return 0.0, None
        short = np.concatenate(
            [(r - g).ravel() for r, g in zip(right, wrong, strict=True) if r is not None and g is not None]
        )
        slope = np.concatenate([a.ravel() for a in lost if a is not None])  # -d(gradient)/d(alpha)
        alpha = float(slope @ short) / float(slope @ slope) if slope.any() else 0.0  # least squares
        if not 0 < alpha < np.inf:
            return 0.0, None

        def back(place: int, delta: Array) -> Array:
            return delta @ (self.weights[place] - alpha * (self.into[place].T @ delta)).T

        return alpha, self.run(back=back)
