"""Where is the mistake in a backward pass that someone wrote themselves?

A wrong gradient is seldom wrong at random: nearly always it is one of a dozen usual mistakes. Each of them is run here
on purpose, and the one that gives exactly the user's numbers is named, with the layer where it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._display import html_table, text_table
from densenet._types import Array
from densenet._validation import as_numbers, check_finite, positive
from densenet.explain.graph import trace
from densenet.explain.mistakes import EXPLAINED, Gradients, Mistake, WrongBackward
from densenet.explain.notation import html_text
from densenet.explain.subject import Subject
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.losses.base import Loss
from densenet.sequential import Sequential


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose_gradients` found. True when the gradients are right.

    Attributes
    ----------
    correct : bool
    mistakes : tuple of str
        Names of the mistakes that give exactly these numbers: several where they coincide on this network; none where
        the gradients are right, or wrong in no usual way.
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
            f"wrong: the largest error is {self.max_error:.1e} of its array; going backward it starts in dense layer "
            f"{self.layer} (layers count from 1).{layout}"
        ]
        if not self.found:
            lines.append("none of these: no usual mistake gives exactly these numbers.")
            lines.append("Tried: " + "; ".join(EXPLAINED) + ".")
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
        table = text_table([(f"  {name}", error) for name, error in self._table()], "<<")
        return "\n".join([*self._lines(), "error of every array, relative to its largest entry:", table])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html_text(line)}</p>" for line in self._lines())
        return lines + html_table(("array", "relative error"), self._table(), "<>", cell=html_text)

    def _table(self) -> list[tuple[str, str]]:
        return [(name, f"{error:.1e}") for name, error in self.errors]


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
    backward = WrongBackward(subject, trace(subject, subject.rows, delta))
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
            f"{who} expects a list of {len(dense)} pairs (dW, db), one a dense layer, or the flat vector; got {got}."
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
                f"{who} expects {expects} for layer {number}, got {'none' if db is None else f'shape {db.shape}'}."
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
            f"diagnose_gradients expects a flat vector of {model.params.size} entries, like params, got {flat.size}."
        )
    check_finite(flat, "diagnose_gradients", "gradients")
    every: Sequence[Layer] = model.every_layer
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


def _judge(backward: WrongBackward, right: Gradients, given: Gradients, tolerance: float) -> _Judgement:
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
    backward: WrongBackward, right: Gradients, given: Gradients, tolerance: float
) -> tuple[list[Mistake], float | None]:
    """The mistakes that alone give these numbers, and the rate where weights were updated too early."""
    factors = [*backward.factors(), *backward.partial_factors()]
    found = [mistake for mistake, *scales in factors if _same(given, _scaled(right, *scales), tolerance)]
    found += [mistake for mistake, wrong in backward.wrong() if _same(given, wrong, tolerance)]
    found += _activations(backward, right, given, tolerance)
    found += _biases(backward, right, given, tolerance)
    alpha, early = backward.updated_too_early(given)
    rate = alpha if early is not None and _same(given, early, tolerance) else None
    if rate is not None:
        found.append(Mistake("weights updated before the delta passed on", f"learning rate {rate:.6g}"))
    once = {mistake.name: mistake for mistake in reversed(found)}
    return [once[name] for name in EXPLAINED if name in once], rate


def _activations(backward: WrongBackward, right: Gradients, given: Gradients, tolerance: float) -> list[Mistake]:
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


def _biases(backward: WrongBackward, right: Gradients, given: Gradients, tolerance: float) -> list[Mistake]:
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
