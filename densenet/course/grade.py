"""Grading a backward pass that a student wrote: drawn networks, points by part, a named mistake."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import positive_int
from densenet.course.answer import GradedPart, difference
from densenet.course.child import as_pairs, stopped_with
from densenet.course.exercise import Exercise, exercise
from densenet.explain.diagnose import Diagnosis, diagnose_gradients
from densenet.gradient import error_and_gradient


@dataclass(frozen=True, eq=False)
class Grade:
    """What `grade` found. True when everything is right.

    Attributes
    ----------
    kind : str
    parts : tuple of GradedPart
        Each counts the same.
    diagnosis : Diagnosis or None
        For the first network with a wrong array.
    problem : str
        Why the function gave nothing to compare; empty where it did.
    flags : tuple of str
        What a teacher should look at, such as a submission that imports densenet.
    """

    kind: str
    parts: tuple[GradedPart, ...]
    diagnosis: Diagnosis | None = None
    problem: str = ""
    flags: tuple[str, ...] = ()

    @property
    def correct(self) -> bool:
        """Whether every part is right."""
        return all(part.right for part in self.parts)

    @property
    def fraction(self) -> float:
        """Share of the parts that are right."""
        return sum(part.right for part in self.parts) / len(self.parts)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Names of the mistakes that explain the wrong arrays."""
        return () if self.diagnosis is None else tuple(mistake.name for mistake in self.diagnosis.found)

    def points(self, maximum: float = 1.0) -> float:
        """The points out of a maximum, as a float: the last line of a graded cell in nbgrader."""
        return float(maximum) * self.fraction

    def __bool__(self) -> bool:
        return self.correct

    def to_dict(self, maximum: float = 1.0) -> dict[str, Any]:
        """Everything as JSON takes it."""
        return {
            "exercise": self.kind,
            "correct": self.correct,
            "points": self.points(maximum),
            "maximum": float(maximum),
            "problem": self.problem,
            "mistakes": list(self.mistakes),
            "flags": list(self.flags),
            "parts": [{"name": part.name, "right": part.right, "remark": part.remark} for part in self.parts],
        }

    def __str__(self) -> str:
        lines = [f"{sum(part.right for part in self.parts)} of {len(self.parts)} parts are right."]
        if self.problem:
            lines.append(self.problem)
        lines += [str(part) for part in self.parts if part.remark]
        if self.diagnosis is not None:
            for mistake in self.diagnosis.found:
                detail = f" ({mistake.detail})" if mistake.detail else ""
                lines.append(f"{mistake.name}{detail}. {mistake.explanation}")
        return "\n".join([*lines, *(f"flagged: {flag}" for flag in self.flags)])

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Answer:
    """What a student's function gave for one exercise.

    Attributes
    ----------
    arrays : list of (dW, db)
        None where nothing was written yet.
    problem : str
        Why there are no arrays.
    written : bool
        Whether an input was changed.
    """

    arrays: list[tuple[Array | None, Array | None]]
    problem: str = ""
    written: bool = False


def grade(backward: Callable[..., Any], exercise: str | Exercise, *, networks: int = 5, seed: Any = 0) -> Grade:
    """Run ``backward(W, b, x, y) -> [(dW, db), ...]`` on drawn networks and say what is right, and what is wrong.

    Every array counts the same and is right where it is right on every network. So does leaving the inputs as they are,
    where some array is right. What the function prints or warns about is swallowed, so that nothing reaches stderr. The
    function runs in this process.

    Parameters
    ----------
    backward : callable
        Takes lists W and b of a network's arrays, x (n, n_in) and y (n, n_out); gives (dW, db) by layer. An Ellipsis
        or None stands for an array not written yet.
    exercise : str or Exercise
        A kind of `exercise`, or one that was drawn.
    networks : int, default 5
        Networks drawn of a kind.
    seed : int or Generator, default 0

    Returns
    -------
    Grade

    Raises
    ------
    TypeError, ValueError
        If `backward` cannot be called, or the kind or the seed is unknown.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> def backward(W, b, x, y):
    ...     a = np.tanh(x @ W[0] + b[0])
    ...     out = 1 / (1 + np.exp(-(a @ W[1] + b[1])))
    ...     d2 = (out - y) * out * (1 - out)
    ...     d1 = d2 @ W[1].T  # the slope 1 - a^2 is missing
    ...     return [(x.T @ d1, d1.sum(axis=0)), (a.T @ d2, d2.sum(axis=0))]
    >>> result = dn.grade(backward, "layers")
    >>> result.points(10)
    6.0
    >>> result.mistakes
    ('slope forgotten in the hidden layers',)
    """
    if not callable(backward):
        raise TypeError(f"grade expects a function backward(W, b, x, y), got {backward!r}.")
    drawn = drawn_exercises(exercise, networks, seed)
    return judged(drawn, [answered(backward, one) for one in drawn])


def drawn_exercises(kind: str | Exercise, networks: int, seed: Any) -> list[Exercise]:
    """The networks that a function is run on."""
    if isinstance(kind, Exercise):
        return [kind]
    rng = np.random.default_rng(seed)
    return [exercise(kind, seed=rng) for _ in range(positive_int(networks, "grade", "networks"))]


def answered(backward: Callable[..., Any], one: Exercise) -> Answer:
    """One call, with copies of the inputs, in silence."""
    W, b, x, y = [w.copy() for w in one.W], [v.copy() for v in one.b], one.x.copy(), one.y.copy()
    given = [*W, *b, x, y]
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            result = backward(W, b, x, y)
    except (Exception, SystemExit) as error:
        return Answer([], stopped_with(error))
    same = all(np.array_equal(a, o) for a, o in zip(given, [*one.W, *one.b, one.x, one.y], strict=True))
    try:
        return Answer(as_pairs(result, len(one.W)), written=not same)
    except (TypeError, ValueError) as error:
        return Answer([], str(error), written=not same)


# -- comparing -----------------------------------------------------------------------------------------------------


def judged(exercises: Sequence[Exercise], answers: Sequence[Answer], flags: tuple[str, ...] = ()) -> Grade:
    """Compare what a function gave for every exercise with the right gradients."""
    count = len(exercises[0].W)
    names = [f"{name}({number})" for number in range(count, 0, -1) for name in ("dW", "db")]
    remarks: dict[str, str] = {}
    diagnosis = None
    problem = next((answer.problem for answer in answers if answer.problem), "")
    for one, answer in zip(exercises, answers, strict=True):
        if answer.problem:
            remarks |= {name: "" for name in names if name not in remarks}
            continue
        right = _right(one)
        wrong = {
            f"{name}({number})": remark
            for number, (mine, wanted) in enumerate(zip(answer.arrays, right, strict=True), start=1)
            for name, a, b in zip(("dW", "db"), mine, wanted, strict=True)
            if (remark := difference(a, b))
        }
        for name, remark in wrong.items():
            remarks[name] = remarks.get(name) or remark
        if wrong and diagnosis is None:
            diagnosis = _diagnosed(one, answer, right)
    parts = [GradedPart(name, name not in remarks, remarks.get(name, "")) for name in names]
    written = any(answer.written for answer in answers)
    untouched = not written and not problem and any(part.right for part in parts)
    parts.append(GradedPart("inputs unchanged", untouched, "W, b, x or y was written to" if written else ""))
    return Grade(exercises[0].kind, tuple(parts), diagnosis, problem, flags)


def _right(one: Exercise) -> list[tuple[Array, Array]]:
    error_and_gradient(one.model, one.loss, one.x, one.loss.prepare(one.y, one.y.shape[1], np.float64), training=False)
    return [(layer.dW.copy(), layer.db.copy()) for layer in one.model.dense_layers]


def _diagnosed(one: Exercise, answer: Answer, right: list[tuple[Array, Array]]) -> Diagnosis | None:
    """The named mistake; what is not written yet counts as right."""
    filled = [
        tuple(w if a is None else a for a, w in zip(mine, wanted, strict=True))
        for mine, wanted in zip(answer.arrays, right, strict=True)
    ]
    try:
        found = diagnose_gradients(one.model, one.loss, one.x, one.y, filled)
    except (TypeError, ValueError):  # arrays of shapes that no mistake explains, or NaN: the remarks say so
        return None
    return None if found.correct else found
