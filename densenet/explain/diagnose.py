"""Where is the mistake in a backward pass written by hand?

A wrong gradient is seldom wrong at random: nearly always it is one of the usual mistakes, or two of them. Each is made
here on purpose, and the one that gives exactly the given numbers is named, with the layer where it starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from densenet._display import html_table, text_table
from densenet._types import Array
from densenet._validation import as_matrix, check_finite, positive
from densenet.explain.chain import Chain, Gradients
from densenet.explain.diagnose_search import Known, Part, Search, State
from densenet.explain.given import Given
from densenet.explain.mistakes import (
    AGAIN,
    BACKWARD,
    BIASES,
    EXPLAINED,
    FACTOR,
    FORGOTTEN,
    LOSSES,
    PASSES,
    RATES,
    SIGN,
    SLOPES,
    STEP,
    SUM,
    TWO,
    WEIGHTS,
    ZERO,
    Mistake,
)
from densenet.explain.notation import html_text, whose_error
from densenet.explain.subject import Subject
from densenet.layers.noise import Dropout
from densenet.layers.normalization import BatchNorm
from densenet.losses.base import Loss
from densenet.sequential import Sequential

_WHO = "diagnose_gradients"
_PHASES = ((1, False, False), (2, False, False), (1, True, False), (2, False, True), (2, True, False))
"""How many kinds of mistakes are looked for; by factors that are no known number; with wrong deltas in wrong arrays."""


@dataclass(frozen=True)
class Precision:
    """How exact numbers are: relative tolerance for right ones and for mistakes, and whether float32 rounds beside."""

    right: float
    mistakes: float
    rounded: bool = False


EXACT, SINGLE = Precision(1e-6, 1e-6), Precision(1e-4, 1e-4, rounded=True)
MIXED = Precision(1e-6, 1e-5, rounded=True)
"""Float64 numbers that were computed from float32 ones."""
SHARP = Precision(1e-9, 1e-9)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose_gradients` found. True when the gradients are right.

    Attributes
    ----------
    correct : bool
    found : tuple of Mistake
        What gives exactly these numbers: one mistake, or two together; none where the gradients are right, or wrong in
        no usual way. Where several explanations give the same numbers it is the narrowest, in the fewest layers.
    also : tuple of Mistake
        Other names that give the same numbers on this network.
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
    wrong : tuple of str
        Names of the arrays that are not right.
    penalty : bool or None
        Whether the given dW hold the derivatives of the layers' penalties; None for a model without any.
    rows : int
        Rows of x: E is their error.
    """

    correct: bool
    found: tuple[Mistake, ...]
    also: tuple[Mistake, ...]
    layer: int | None
    max_error: float
    layout: str
    learning_rate: float | None
    errors: tuple[tuple[str, float], ...]
    wrong: tuple[str, ...]
    penalty: bool | None
    rows: int

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The names of `found` and `also`, each once."""
        return tuple(dict.fromkeys(mistake.name for mistake in (*self.found, *self.also)))

    @property
    def together(self) -> bool:
        """Whether it takes two mistakes at once."""
        return len(self.found) > 1

    def __bool__(self) -> bool:
        return self.correct

    def _lines(self) -> list[str]:
        layout = (
            " Your dW are laid out (out, in), the transpose of (in, out); that is accepted."
            if "out, in" in self.layout
            else ""
        )
        held = {
            True: " The penalties' derivatives are in them.",
            False: " They are without the penalties' derivatives.",
        }
        penalty = "" if self.penalty is None else held[self.penalty]
        whose = "E is the error of " + whose_error(0 if self.rows == 1 else None, self.rows, row="x[:1], y[:1]")
        if self.correct:
            return [f"correct: {whose}. Every gradient within {self.max_error:.1e} of the right one.{layout}{penalty}"]
        lines = [
            f"wrong: {whose}. The largest error is {self.max_error:.1e} of its array; going backward it starts in "
            f"dense layer {self.layer} (layers count from 1).{layout}"
        ]
        if len(self.wrong) == 1 < len(self.errors):
            lines.append(f"Only {self.wrong[0]} is wrong; every other array is right.")
        if not self.found:
            lines.append("none of these: no usual mistake gives exactly these numbers, nor do two of them.")
            lines.append("Tried: " + "; ".join(EXPLAINED) + ".")
        elif self.together:
            lines.append("Two mistakes at once give exactly your numbers:")
        lines += [_told(mistake) for mistake in self.found]
        if self.also:
            lines.append("On this network the same numbers come from:")
            lines += [_told(mistake) for mistake in self.also]
        return lines

    def __str__(self) -> str:
        table = text_table([(f"  {name}", error) for name, error in self._table()], "<<")
        return "\n".join([*self._lines(), "error of every array, relative to its largest entry:", table])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html_text(line)}</p>" for line in self._lines())
        return lines + html_table(("array", "relative error"), self._table(), "<>", cell=html_text)

    def _table(self) -> list[tuple[str, str]]:
        return [(name, f"{error:.1e}") for name, error in self.errors]


def _told(mistake: Mistake) -> str:
    detail = f" ({mistake.detail})" if mistake.detail else ""
    return f"{mistake.name}{detail}. {mistake.explanation}"


def diagnose_gradients(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    gradients: Any,
    *,
    tolerance: float | None = None,
    penalty: bool | Literal["either"] = "either",
    masks: Sequence[Any] = (),
    learning_rate: float | None = None,
) -> Diagnosis:
    """Compare the gradients of a backward pass written by hand with the right ones, and name the mistake.

    Usual mistakes are made on purpose, alone and in pairs, and those that give exactly the given numbers are named. The
    model behaves as in prediction (running statistics, no noise), batch normalization also as in training. The model
    does not change.

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
        Allowed error relative to an array's largest entry. By default 1e-6, or 1e-4 for numbers that are all float32,
        and what float32 rounds off where terms cancel: float64 numbers may come from float32 ones.
    penalty : {"either", True, False}, default "either"
        Whether dW is to hold the derivatives of the layers' penalties (`kernel_l1`, `kernel_l2`).
    masks : sequence of array_like (n, columns), optional
        For every Dropout the mask that was drawn, of 0 and 1, or of 0 and 1 / (1 - rate). Without masks,
        dropout does nothing.
    learning_rate : float, optional
        Named where the step was given in place of the gradient.

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
    subject = _subject(model, loss, x, y)
    given = Given(subject.model, gradients)
    if tolerance is None:
        precisions = [SINGLE] if given.single else [EXACT, MIXED]
    else:
        relative = positive(tolerance, _WHO, "tolerance")
        precisions = [Precision(relative, relative)]
    if penalty not in (True, False, "either"):
        raise ValueError(f'{_WHO} expects penalty to be True, False or "either", got {penalty!r}.')
    rate = None if learning_rate is None else positive(learning_rate, _WHO, "learning_rate")
    batch = [False, True] if any(isinstance(layer, BatchNorm) for layer in subject.model.every_layer) else [False]
    chains = [Chain(subject, masks=_masks(subject, masks), batch=b) for b in batch]
    penalised = any(layer.penalised for layer in subject.model.dense_layers)
    penalties = (float(penalty is not False),) if penalty != "either" or not penalised else (1.0, 0.0)
    with np.errstate(all="ignore"):  # what is wrong on purpose may overflow
        readings = [
            _Reading(chain, g, layout, precisions[0], penalties, rate)
            for chain in chains
            for layout, g in (("(in, out)", given.as_is), ("(out, in)", given.transposed))
        ]
        return _diagnosis(readings, precisions[1:])


def _subject(model: Sequential, loss: Loss | str, x: Any, y: Any) -> Subject:
    subject = Subject(_WHO, model, loss, x, y)
    if not subject.model.dense_layers:
        raise ValueError(f"{_WHO} compares the gradients of dense layers, and the model has none.")
    for layer in subject.model.layers:
        if layer.children:
            raise ValueError(f"{_WHO} knows the mistakes of plain chains of layers, and {layer!r} is a container.")
    subject.gradients()  # an error that is not finite has no derivative
    return subject


def _masks(subject: Subject, masks: Sequence[Any]) -> list[Array]:
    """The masks, one for every Dropout, checked."""
    layers = [layer for layer in subject.model.layers if isinstance(layer, Dropout)]
    if not len(masks):
        return []
    if len(masks) != len(layers):
        raise ValueError(f"{_WHO} expects one mask for every Dropout, {len(layers)}, got {len(masks)}.")
    found = []
    widths = []
    width = subject.x.shape[1]
    for layer in subject.model.layers:
        if isinstance(layer, Dropout):
            widths.append(width)
        width = layer.n_out or width
    for number, (mask, width) in enumerate(zip(masks, widths, strict=True)):
        array = as_matrix(mask, width, np.float64, f"{_WHO}: mask {number}", copy=True)
        check_finite(array, _WHO, f"mask {number}")
        if len(array) != len(subject.x):
            raise ValueError(f"{_WHO} expects mask {number} of {len(subject.x)} rows, got {len(array)}.")
        found.append(array)
    return found


# -- one way in which the numbers may be meant ---------------------------------------------------------------------


class _Reading:
    """Given arrays in one layout, beside the right ones of one chain."""

    def __init__(
        self,
        chain: Chain,
        given: Gradients,
        layout: str,
        precision: Precision,
        penalties: tuple[float, ...],
        rate: float | None,
    ) -> None:
        self.chain, self.given, self.layout, self.precision = chain, given, layout, precision
        self.penalties, self.rate = penalties, rate
        self.search = Search(chain, given, precision.mistakes, penalties, rate, precision.rounded)
        ways = {penalty: self.compared(given, penalty) for penalty in penalties}
        self.penalty = min(ways, key=lambda p: (sum(not ok for _, _, ok in ways[p]), max(e for _, e, _ in ways[p])))
        self.errors = ways[self.penalty]
        self.correct = all(ok for _, _, ok in self.errors)
        self.misfit = Given.misfit(chain, given)

    def at(self, precision: Precision) -> _Reading:
        """The same at another precision."""
        return _Reading(self.chain, self.given, self.layout, precision, self.penalties, self.rate)

    def compared(self, given: Gradients, penalty: float) -> list[tuple[str, float, bool]]:
        """Name, relative error and whether it is right, of every array; the error is infinite for another shape."""
        right = self.chain.gradients(bool(penalty))
        largest = max(float(np.abs(a).max(initial=0.0)) for pair in right for a in pair if a is not None)
        found = []
        for number, (mine, wanted) in enumerate(zip(given, right, strict=True), start=1):
            names = (f"dW({number})", f"db({number})")
            for name, a, b, room in zip(names, mine, wanted, self.search.rounding[number - 1], strict=True):
                if a is None or b is None:
                    continue
                if a.shape != b.shape:
                    found.append((name, np.inf, False))
                    continue
                scale = max(float(np.abs(b).max(initial=0.0)), 1e-9 * largest) or 1.0
                error = float(np.abs(a - b).max(initial=0.0)) / scale
                found.append((name, error, bool((np.abs(a - b) <= self.precision.right * scale + room).all())))
        return found

    @property
    def misfits(self) -> int:
        """Arrays of another shape."""
        return sum(error == np.inf for _, error, _ in self.errors)

    def backward(self) -> bool:
        """Whether the list turned round is right."""
        turned = self.given[::-1]
        if len(turned) < 2 or any((a[1] is None) != (b[1] is None) for a, b in zip(self.given, turned, strict=True)):
            return False
        return all(ok for _, _, ok in self.compared(turned, self.penalty))


def _diagnosis(exact: list[_Reading], others: list[Precision]) -> Diagnosis:
    """From the readings at the first precision, and, where they leave something open, at the others."""
    for reading in exact:
        if reading.correct:
            return _made(reading, (), (), None)
    rounded = [[reading.at(precision) for reading in exact] for precision in others]
    for reading in itertools.chain(exact, *rounded):
        if reading.backward():
            layers = tuple(range(1, len(reading.chain) + 1))
            return _made(reading, (Mistake(BACKWARD, "", layers),), (), None)
    near = [reading for every in rounded for reading in every if reading.correct]
    found = _searched([[reading.at(SHARP) for reading in exact]] if near else [exact, *rounded])
    if found is not None:
        return found
    best = near[0] if near else min(exact, key=lambda reading: reading.misfits)
    if best.misfit:
        raise ValueError(exact[0].misfit)
    return _made(best, (), (), None)


def _searched(readings: list[list[_Reading]]) -> Diagnosis | None:
    """The first explanation: few mistakes before many, exact numbers before rounded ones.

    A fitted learning rate that does no more than a factor would is the last resort.
    """
    fewest = min(reading.misfits for reading in readings[0])
    resort: tuple[_Reading, list[State]] | None = None
    for budget, free, thorough in _PHASES:
        for every in readings:
            likely = [reading for reading in every if reading.misfits == fewest]
            likely += [reading for reading in every if reading.layout == "(in, out)" and reading not in likely]
            for reading in likely:
                states = reading.search.run(budget, free=free, thorough=thorough)
                proven = [state for state in states if state.proven]
                if proven:
                    return _explained(reading, proven)
                resort = resort or ((reading, states) if states else None)
        if resort and free:
            break
    return _explained(*resort) if resort else None


def _explained(reading: _Reading, states: list[State]) -> Diagnosis:
    return _made(reading, *_named(reading.chain, reading.search.known, states, reading.search.near))


def _made(reading: _Reading, found: tuple[Mistake, ...], also: tuple[Mistake, ...], rate: float | None) -> Diagnosis:
    wrong = tuple(name for name, _, ok in reading.errors if not ok)
    layers = [int(name[3:-1]) for name in wrong]
    penalised = any(P is not None for P in reading.chain.penalties)
    return Diagnosis(
        reading.correct,
        found,
        also,
        max(layers, default=None),
        max(error for _, error, _ in reading.errors),
        reading.layout,
        rate,
        tuple((name, error) for name, error, _ in reading.errors),
        wrong,
        bool(reading.penalty) if penalised else None,
        reading.chain.rows,
    )


# -- names ---------------------------------------------------------------------------------------------------------

_TABLES = (LOSSES, SLOPES, PASSES, RATES, BIASES, WEIGHTS)
_ORDER = {entry.name: (table, order) for table, entries in enumerate(_TABLES) for order, entry in enumerate(entries)}


def _named(
    chain: Chain, known: Known, states: list[State], near: float
) -> tuple[tuple[Mistake, ...], tuple[Mistake, ...], float | None]:
    """What the narrowest explanation is called, what else gives the same numbers, and a fitted rate."""

    def rank(state: State) -> tuple[Any, ...]:
        layers = {part.place for part in state.parts}
        factors = sum(part.name == "factor" and part.array != "delta" for part in state.parts)
        order = sorted(_ORDER.get(part.name, (-1, 0)) for part in state.parts)
        filled = any(part.name != ZERO for part in state.parts)  # of arrays of zeros that is the first thing to say
        return filled, len(layers), len(state.parts), factors, order

    states = sorted(states, key=rank)
    found: list[Mistake] = []
    also: list[Mistake] = []
    for number, state in enumerate(states):
        parts = sorted(state.parts, key=lambda part: part.kind)
        for _, group in itertools.groupby(parts, key=lambda part: part.kind):
            names = _names(chain, known, list(group), near, state.rate)
            if number == 0:
                found.append(names[0])
                also += names[1:]
            else:
                also += names
    taken = {(mistake.name, mistake.detail) for mistake in found}
    others = {(m.name, m.detail): m for m in also if (m.name, m.detail) not in taken}
    found.sort(key=lambda mistake: mistake.name not in (SIGN, TWO, SUM, AGAIN, FACTOR, STEP))
    rate = states[0].rate
    return tuple(found), tuple(others.values()), None if rate is None else abs(rate)


def _names(chain: Chain, known: Known, parts: list[Part], near: float, rate: float | None) -> list[Mistake]:
    """One kind of mistake as it is called, the narrowest name first."""
    part, layers = parts[0], tuple(sorted({part.place + 1 for part in parts}))
    count = len(chain)
    where = _where(layers, count)
    if part.name == "factor":
        return _factor_names(known, part, layers, near, chain)
    if part.name == FORGOTTEN.name:
        return _forgotten_names(chain, layers, where)
    absolute = {_absolute(chain, p.way, p.place + 1) for p in parts}
    way = "; ".join(sorted(absolute))
    if part.array:
        arrays = ", ".join(sorted({f"{p.array}({p.place + 1})" for p in parts}))
        return [Mistake(part.name, f"{arrays}: {way}" if way else arrays, layers)]
    if part.name.startswith("transposed weights"):
        return [Mistake(part.name, ", ".join(f"w({layer + 1})" for layer in layers), layers)]
    if rate is not None and part.way in ("delta", "error"):
        return [Mistake(part.name, f"learning rate {abs(rate):.6g}", layers)]
    return [Mistake(part.name, f"{way}, {where}" if way else where, layers)]


def _where(layers: tuple[int, ...], count: int) -> str:
    if len(layers) == 1:
        return f"in dense layer {layers[0]}"
    if len(layers) == count:
        return "in every layer"
    if layers == tuple(range(1, count)):
        return "in the hidden layers"
    return f"in dense layers {', '.join(map(str, layers))}"


def _absolute(chain: Chain, way: str, layer: int) -> str:
    """Layers written relative to l, as numbers; a(0) is the input."""
    for by in range(-len(chain), len(chain) + 1):
        way = way.replace(f"(l{by:+d})", f"({layer + by})").replace(f" l{by:+d}", f" {layer + by}")
    return way.replace("(l)", f"({layer})").replace("a(0)", "the input")


def _forgotten_names(chain: Chain, layers: tuple[int, ...], where: str) -> list[Mistake]:
    count = len(chain)
    bare = {
        number + 1
        for number in range(count)
        if all(
            stage.slope is not None and np.ptp(stage.slope) == 0 and stage.slope.flat[0] == 1
            for stage in chain.stages[number]
        )
    }
    reach, hidden = bare | set(layers), set(range(1, count))
    names = []
    if layers == (count,):
        names.append("slope forgotten at the output only")
    elif len(layers) == 1 and len(hidden) > 1:
        names.append("slope forgotten in one layer")
    if hidden and hidden <= reach and count not in layers:
        names.append("slope forgotten in the hidden layers")
    if reach == set(range(1, count + 1)):
        names.append("slope forgotten everywhere")
    if not names:
        names.append("slope forgotten in several layers")
    return [Mistake(name, where if "layer" in name and "hidden" not in name else "", layers) for name in names]


def _factor_names(known: Known, part: Part, layers: tuple[int, ...], near: float, chain: Chain) -> list[Mistake]:
    """A factor by what it is a product of."""
    n, k, c = known.rows, known.outputs, part.factor
    alone = {"delta": "", "both": "", "dW": "in dW alone", "db": "in db alone"}[part.array]
    if part.array == "delta" and layers != (len(chain),):
        alone = f"from dense layer {max(layers)} down" if max(layers) > 1 else "in dense layer 1"
    elif layers != tuple(range(1, len(chain) + 1)) and part.array != "delta":
        arrays = {"both": "dW({0}) and db({0})", "dW": "dW({0})", "db": "db({0})"}[part.array]
        alone = "in " + ", ".join(arrays.format(layer) for layer in layers)
    plain = {
        "-1": (SIGN, ""),
        "2^1": (TWO, "twice the right gradient"),
        "2^-1": (TWO, "half the right gradient"),
        "n^1": (SUM, f"over the {n} samples"),
        "k^1": (SUM, f"over the {k} outputs"),
        "n^1*k^1": (SUM, f"over {n} samples and {k} outputs"),
        "n^-1": (AGAIN, f"n = {n} samples"),
        "k^-1": (AGAIN, f"over the {k} outputs"),
        "n^-1*k^-1": (AGAIN, f"over {n} samples and {k} outputs"),
    }
    found = []
    for name in known.names(c, near) or [""]:
        if "alpha" in name:
            entry, detail = STEP, f"{c:.6g} times the right gradient, learning rate {known.rate:g}"
        elif name in plain:
            entry, detail = plain[name]
        else:
            values = {"n": f"n = {n}", "k": f"k = {k}", "2": "2"}
            bases = [factor.partition("^")[0] for factor in name.split("*") if factor not in ("", "-1")]
            made = f", made of {', '.join(['-1'] * ('-1' in name.split('*')) + [values[base] for base in bases])}"
            entry, detail = FACTOR, f"{c:.6g} times the right one{made if name else ''}"
        found.append(
            Mistake(entry, "; ".join(filter(None, (detail if not (alone and entry == SIGN) else "", alone))), layers)
        )
    return found
