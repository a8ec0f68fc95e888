"""Where is the mistake in a backward pass that someone wrote themselves?

A wrong gradient is seldom wrong at random: nearly always it is one of a dozen usual mistakes. Each of them is run here
on purpose, and the one that gives exactly the user's numbers is named, with the layer where it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import as_numbers, check_finite, positive
from densenet.explain.graph import Graph, Link, jacobians, trace
from densenet.explain.notation import html_text
from densenet.explain.subject import Subject
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.elementwise import Activation
from densenet.layers.softmax import LogSoftmax, Softmax
from densenet.losses.base import ElementwiseLoss, Loss
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.crossentropy import SoftmaxCrossEntropy
from densenet.losses.regression import MeanSquaredError
from densenet.sequential import Sequential

Gradients = list[tuple[Array, Array | None]]
"""(dW, db) by dense layer."""

_EXPLAINED = {
    "slope forgotten everywhere": "dE/dz = dE/da f'(z): no layer multiplied by f'(z).",
    "slope forgotten at the output only": "At the output, dE/dz = dE/dy^ f'(z): the factor f'(z) is missing there.",
    "slope forgotten in the hidden layers": "Below the output, dE/dz = dE/da f'(z): the factor f'(z) is missing there.",
    "slope forgotten in one layer": "dE/dz = dE/da f'(z): the factor f'(z) is missing in this layer.",
    "slope taken at a instead of z": "The slope is f' at the weighted sum z; it was taken at the activation a = f(z).",
    "sign or prediction and target swapped": "The gradient has the wrong sign: y - y^ in place of y^ - y, or the step's minus in it.",
    "2/n beside 1/n": "A factor of 2 too much or too little: the 2 of the square's derivative, or the 1/2 of half the square.",
    "sum in place of mean": "E is a mean, and the gradient of the sum was taken: divide by the number it is a mean of.",
    "1/n twice": "The mean's 1/n was taken twice, in the loss and in the layers: it belongs into the loss, once.",
    "a of the wrong layer": "dE/dw(l) takes the activation that enters layer l: a(l-1), transposed, times dE/dz(l).",
    "db not summed": "dE/db is the sum of dE/dz over the rows: every sample adds its part.",
    "transposed weights in the backward pass": "With W of shape (in, out), dE/da of the layer before is dE/dz W^T, and W was taken.",
    "softmax's derivative applied twice": "p - y is dE/dz already: softmax's derivative is in it.",
    "sigmoid's derivative applied twice": "p - y is dE/dz already: the sigmoid's derivative is in it.",
    "weights updated before the delta passed on": "The delta has to pass through the old weights: update after the backward pass.",
}


@dataclass(frozen=True)
class Mistake:
    """A mistake that gives exactly the user's numbers: its name, what it is, and details for this network."""

    name: str
    detail: str = ""

    @property
    def explanation(self) -> str:
        """What the mistake is, and what would be right."""
        return _EXPLAINED[self.name]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose_gradients` found. True when the gradients are right.

    Attributes
    ----------
    correct : bool
    mistakes : tuple of str
        Names of the mistakes that give exactly these numbers: several where they coincide on this network; none where the
        gradients are right, or wrong in no usual way.
    found : tuple of Mistake
        The same with details.
    layer : int or None
        The dense layer, from 1, where it starts: the wrong one nearest the output. None where all is right.
    max_error : float
        Largest |given - right| relative to the array's largest entry.
    layout : {"(in, out)", "(out, in)"}
        How the given dW are laid out.
    learning_rate : float or None
        For weights updated before the delta passed on: the rate, by least squares.
    errors : tuple of (str, float)
        Name and relative error of every array.
    together : bool
        Whether it takes two mistakes at once: the first of `mistakes`, which is a factor, and one of the others.
    """

    correct: bool
    found: tuple[Mistake, ...]
    layer: int | None
    max_error: float
    layout: str
    learning_rate: float | None
    errors: tuple[tuple[str, float], ...]
    together: bool

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The names of the mistakes found."""
        return tuple(mistake.name for mistake in self.found)

    def __bool__(self) -> bool:
        return self.correct

    def _lines(self) -> list[str]:
        layout = (
            " Your dW are laid out (out, in), the transpose of (in, out); that is accepted."
            if "out, in" in self.layout
            else ""
        )
        if self.correct:
            return [f"correct: every gradient within {self.max_error:.1e} of the right one.{layout}"]
        lines = [
            f"wrong: the largest error is {self.max_error:.1e} of its array, and going backward it starts in dense layer {self.layer} "
            f"(layers count from 1).{layout}"
        ]
        if not self.found:
            lines.append("none of these: no usual mistake gives exactly these numbers.")
            lines.append("Tried: " + "; ".join(_EXPLAINED) + ".")
        elif self.together:
            others = "one of the others" if len(self.found) > 2 else "the second"
            lines.append(f"Two mistakes at once give exactly your numbers, the first and {others}:")
        elif len(self.found) > 1:
            lines.append("Each of these gives exactly your numbers on this network:")
        for mistake in self.found:
            detail = f" ({mistake.detail})" if mistake.detail else ""
            lines.append(f"{mistake.name}{detail}. {mistake.explanation}")
        return lines

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.errors)
        table = [f"  {name.ljust(width)}  {error:.1e}" for name, error in self.errors]
        return "\n".join([*self._lines(), "error of every array, relative to its largest entry:", *table])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html_text(name)}</td><td>{error:.1e}</td></tr>" for name, error in self.errors)
        lines = "".join(f"<p>{html_text(line)}</p>" for line in self._lines())
        return f"{lines}<table><tr><th>array</th><th>relative error</th></tr>{rows}</table>"


def diagnose_gradients(
    model: Sequential, loss: Loss | str, x: Any, y: Any, gradients: Any, *, tolerance: float | None = None
) -> Diagnosis:
    """Compare gradients from someone's own backward pass with the right ones, and name the mistake.

    Usual mistakes are run on purpose, and those that give exactly the user's numbers are named. The model behaves as in
    prediction (running statistics, no noise); nothing of it changes.

    Parameters
    ----------
    model : Sequential
        Dense layers in a chain, with layers without dense ones inside between them.
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    gradients : list of (dW, db), or ndarray (n_params,)
        By dense layer, the first entry belonging to layer 1; db is None or left out for layers without a bias. Or the
        flat vector in the order of ``model.params``. dW may be laid out (out, in) in all layers; that is named.
    tolerance : float, optional
        Allowed error relative to an array's largest entry: by default 1e-6, and 1e-4 for float32 gradients.

    Returns
    -------
    Diagnosis
        True for correct gradients.

    Raises
    ------
    ValueError, TypeError
        If the gradients do not have the shapes of the model's, hold NaN, or x or y do not fit.

    Examples
    --------
    >>> import densenet as dn
    >>> model, loss, x, y = dn.datasets.notes_network()
    >>> _ = loss.forward(model.forward(x), y)
    >>> _ = model.backward(loss.backward())
    >>> bool(dn.diagnose_gradients(model, loss, x, y, model.grads))
    True
    >>> dn.diagnose_gradients(model, loss, x, y, -model.grads).mistakes
    ('sign or prediction and target swapped',)
    """
    subject = Subject("diagnose_gradients", model, loss, x, y)
    if not subject.model.dense_layers:
        raise ValueError("diagnose_gradients compares the gradients of dense layers, and the model has none.")
    for layer in subject.model.layers:
        if layer.children:
            raise ValueError(
                f"diagnose_gradients knows the mistakes of plain chains of layers, and {layer!r} is a container."
            )
    candidates, single = _read(subject.model, gradients)
    tolerance = (
        (1e-4 if single else 1e-6) if tolerance is None else positive(tolerance, "diagnose_gradients", "tolerance")
    )
    _, delta = subject.gradients()
    right = _right(subject.model)
    backward = _Backward(subject, trace(subject, subject.rows, delta))
    with np.errstate(over="ignore", invalid="ignore"):  # what is wrong on purpose may overflow
        judged = [_judge(backward, right, given, tolerance) for given in candidates]
    # the layout that is right, else the one that a mistake explains, else the one that has the right shapes
    chosen = min(range(2), key=lambda c: (not judged[c].correct, not judged[c].found, bool(judged[c].misfit), c))
    best = judged[chosen]
    if best.misfit and not best.found:
        raise ValueError(judged[0].misfit)
    errors = _errors(candidates[chosen], right)
    wrong = [number for number, (name, error) in _numbered(errors) if not error <= tolerance]
    return Diagnosis(
        best.correct,
        tuple(best.found),
        max(wrong) if wrong else None,
        max(error for _, error in errors),
        ("(in, out)", "(out, in)")[chosen],
        best.learning_rate,
        tuple(errors),
        best.together,
    )


# -- reading and comparing -----------------------------------------------------------------------------------------


def _read(model: Sequential, gradients: Any) -> tuple[tuple[Gradients, Gradients], bool]:
    """The user's arrays in float64, taken as (in, out) and as (out, in); and whether they are float32."""
    dense = model.dense_layers
    who = "diagnose_gradients"
    if isinstance(gradients, np.ndarray) and gradients.ndim == 1 and gradients.dtype.kind in "fiu":
        return _split(model, gradients), gradients.dtype == np.float32
    if not isinstance(gradients, (list, tuple)) or len(gradients) != len(dense):
        got = f"{len(gradients)} entries" if isinstance(gradients, (list, tuple)) else f"{type(gradients).__name__}"
        raise ValueError(
            f"{who} expects a list of {len(dense)} pairs (dW, db), one for each dense layer, or the flat vector; got {got}."
        )
    read: Gradients = []
    single = False
    for number, (layer, entry) in enumerate(zip(dense, gradients, strict=True), start=1):
        pair = entry if isinstance(entry, (list, tuple)) and len(entry) == 2 else (entry, None)
        arrays = []
        for name, value in zip(("dW", "db"), pair, strict=True):
            array = None if value is None else as_numbers(value, who, f"{name} of layer {number}")
            if array is not None:
                check_finite(array, who, f"{name} of layer {number}")
                single = single or array.dtype == np.float32
                array = array.astype(np.float64)
            arrays.append(array)
        dW, db = arrays
        if dW is None or dW.ndim != 2:
            got = "none" if dW is None else f"shape {dW.shape}"
            raise ValueError(f"{who} expects dW of layer {number} of shape {(layer.n_in, layer.n_out)}, got {got}.")
        if layer.use_bias != (db is not None):
            expects = f"db of shape ({layer.n_out},)" if layer.use_bias else "no db, as the layer has no bias,"
            raise ValueError(
                f"{who} expects {expects} for dense layer {number}, got {'none' if db is None else f'shape {db.shape}'}."
            )
        if db is not None and db.shape in ((1, layer.n_out), (layer.n_out, 1)):
            db = db.reshape(layer.n_out)
        read.append((dW, db))
    return (read, [(dW.T, db) for dW, db in read]), single


def _split(model: Sequential, flat: Array) -> tuple[Gradients, Gradients]:
    dense = model.dense_layers
    sizes = sum(layer.n_params for layer in dense)
    if flat.size not in (sizes, model.params.size):
        raise ValueError(
            f"diagnose_gradients expects a flat vector of {model.params.size} entries, as model.params has, got {flat.size}."
        )
    check_finite(flat, "diagnose_gradients", "gradients")
    every: Sequence[Layer] = [inner for top in model.layers for inner in top.walk()]
    as_is: Gradients = []
    transposed: Gradients = []
    at = 0
    for layer in dense if flat.size == sizes else every:
        if isinstance(layer, Dense):
            split = at + layer.n_in * layer.n_out
            W = flat[at:split].astype(np.float64)
            db = flat[split : split + layer.n_out].astype(np.float64) if layer.use_bias else None
            as_is.append((W.reshape(layer.n_in, layer.n_out), db))
            transposed.append((W.reshape(layer.n_out, layer.n_in).T, db))
        at += layer.n_params
    return as_is, transposed


def _right(model: Sequential) -> Gradients:
    return [(layer.dW.copy(), layer.db.copy() if layer.use_bias else None) for layer in model.dense_layers]


def _errors(given: Gradients, right: Gradients) -> list[tuple[str, float]]:
    """Largest difference of every array, relative to the right one's largest entry; infinite for another shape."""
    largest = max(float(np.abs(a).max()) for pair in right for a in pair if a is not None)
    found = []
    for number, (mine, wanted) in enumerate(zip(given, right, strict=True), start=1):
        for name, a, b in zip((f"dW({number})", f"db({number})"), mine, wanted, strict=True):
            if a is None or b is None:
                continue
            error = np.inf
            if a.shape == b.shape:
                scale = max(float(np.abs(b).max()), 1e-9 * largest) or 1.0
                error = float(np.abs(a - b).max()) / scale
            found.append((name, error))
    return found


def _numbered(errors: list[tuple[str, float]]) -> list[tuple[int, tuple[str, float]]]:
    return [(int(name[3:-1]), (name, error)) for name, error in errors]


def _same(given: Gradients, wanted: Gradients, tolerance: float) -> bool:
    return all(error <= tolerance for _, error in _errors(given, wanted))


# -- the mistakes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Judgement:
    correct: bool
    found: list[Mistake]
    misfit: str
    learning_rate: float | None = None
    together: bool = False


def _judge(backward: _Backward, right: Gradients, given: Gradients, tolerance: float) -> _Judgement:
    misfit = ""
    for number, (mine, wanted) in enumerate(zip(given, right, strict=True), start=1):
        for name, a, b in zip(("dW", "db"), mine, wanted, strict=True):
            if a is not None and b is not None and a.shape != b.shape and not misfit:
                misfit = f"diagnose_gradients expects {name} of layer {number} of shape {b.shape}, got {a.shape}."
    if _same(given, right, tolerance):
        return _Judgement(True, [], misfit)
    found, rate = _single(backward, right, given, tolerance)
    if found:
        return _Judgement(False, found, misfit, rate)
    for factor, scale, _ in backward.factors():
        more, rate = _single(backward, right, _scaled(given, 1 / scale, 1 / scale), tolerance)
        if more:
            return _Judgement(False, [factor, *more], misfit, rate, together=True)
    return _Judgement(False, [], misfit)


def _scaled(gradients: Gradients, weights: float, biases: float) -> Gradients:
    return [(dW * weights, None if db is None else db * biases) for dW, db in gradients]


def _single(
    backward: _Backward, right: Gradients, given: Gradients, tolerance: float
) -> tuple[list[Mistake], float | None]:
    """The mistakes that alone give these numbers, and the rate where weights were updated too early."""
    factors = [*backward.factors(), *backward.partial_factors()]
    found = [mistake for mistake, *scales in factors if _same(given, _scaled(right, *scales), tolerance)]
    found += [mistake for mistake, wrong in backward.wrong() if _same(given, wrong, tolerance)]
    found += _activations(backward, right, given, tolerance)
    found += _biases(backward, right, given, tolerance)
    rate, early = backward.updated_too_early(given)
    if early is None or not _same(given, early, tolerance):
        rate = None
    else:
        found.append(Mistake("weights updated before the delta passed on", f"learning rate {rate:.6g}"))
    once = {mistake.name: mistake for mistake in reversed(found)}
    return [once[name] for name in _EXPLAINED if name in once], rate


def _activations(backward: _Backward, right: Gradients, given: Gradients, tolerance: float) -> list[Mistake]:
    """a of the wrong layer: every dW is right, or made with another activation; every db is right."""
    taken = []
    for number, ((dW, db), (right_dW, right_db)) in enumerate(zip(given, right, strict=True), start=1):
        if not _same([(right_dW, db)], [(right_dW, right_db)], tolerance):
            return []
        if _same([(dW, None)], [(right_dW, None)], tolerance):
            continue
        names = [
            name
            for name, values in backward.activations.items()
            if _same([(dW, None)], [(values.T @ backward.deltas[number - 1], None)], tolerance)
        ]
        if not names:
            return []
        taken.append(f"dW({number}) was made with {' or '.join(names)}")
    return [Mistake("a of the wrong layer", "; ".join(taken))] if taken else []


def _biases(backward: _Backward, right: Gradients, given: Gradients, tolerance: float) -> list[Mistake]:
    """db not summed: every dW is right, and every db is right or one sample's, or the samples' mean, or all of them."""
    n = len(backward.deltas[0])
    if any(
        not _same([(dW, None)], [(wanted, None)], tolerance) for (dW, _), (wanted, _) in zip(given, right, strict=True)
    ):
        return []
    details = []
    for number, ((_, db), (_, wanted)) in enumerate(zip(given, right, strict=True), start=1):
        dz = backward.deltas[number - 1]
        if db is None or wanted is None or _bias_same(db, wanted, tolerance):
            continue
        ways = {"the mean over rows was taken": wanted / n, "dE/dz itself, unsummed": dz}
        ways |= {"only the first row counts": dz[0], "only the last row counts": dz[-1]}
        way = next((name for name, values in ways.items() if _bias_same(db, values, tolerance)), None)
        if way is None:
            return []
        details.append(f"db({number}): {way}")
    return [Mistake("db not summed", "; ".join(details))] if details else []


def _bias_same(given: Array, wanted: Array, tolerance: float) -> bool:
    return _same([(given, None)], [(wanted, None)], tolerance)


class _Backward:
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
        """The links after a dense layer, the activations' derivatives taken at what they give, not at what they take."""
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
