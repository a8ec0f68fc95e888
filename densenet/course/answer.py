"""One answer beside the right one: what `grade` counts, and the checker of a blank in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.course.child import as_numbers

NOT_WRITTEN = "not written yet"


@dataclass(frozen=True)
class GradedPart:
    """One thing that counts: an array, or that the inputs stay as they are. True where it is right.

    Attributes
    ----------
    name : str
    right : bool
    remark : str
        What is wrong, with the first number that differs beside the right one.
    """

    name: str
    right: bool
    remark: str = ""

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return f"{self.name}: {self.remark or ('right' if self.right else 'wrong')}"

    __repr__ = __str__


def check_answer(name: str, given: Any, right: Any, *, hint: str = "") -> GradedPart:
    """Compare what a reader filled in with the right numbers: the checker below a blank of a notebook.

    Numbers are right within 1e-5 of the largest right one, so a finite difference may be the judge. An answer of the
    wrong kind or shape is a wrong answer and no error, so the notebook goes on.

    Parameters
    ----------
    name : str
        What was asked for.
    given : number, array or Ellipsis
        The answer. ``...`` or None stands for a blank not filled in yet.
    right : number or array
    hint : str, optional
        Shown with a wrong answer.

    Returns
    -------
    GradedPart
        In a notebook its text is the cell's output. ``2.0 * check_answer(...).right`` is worth two points in nbgrader.

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.course import check_answer
    >>> D = np.array([[0.5, -1.0], [0.25, 2.0]])
    >>> check_answer("dE/db", ..., D.sum(axis=0))
    dE/db: not written yet
    >>> check_answer("dE/db", D[0], D.sum(axis=0), hint="Every sample counts.")
    dE/db: [0] is 0.5, right is 0.75. Every sample counts.
    >>> check_answer("dE/db", D.sum(axis=0), D.sum(axis=0))
    dE/db: right
    """
    try:
        remark = difference(as_numbers(given), np.asarray(right, dtype=np.float64))
    except (TypeError, ValueError) as error:
        remark = str(error).removesuffix(".")
    if remark and hint and remark != NOT_WRITTEN:
        remark = f"{remark}. {hint}"
    return GradedPart(name, not remark, remark)


def difference(given: Array | None, right: Array) -> str:
    """The first number that differs beside the right one; empty where none does."""
    if given is None:
        return NOT_WRITTEN
    if given.shape != right.shape and given.shape in ((1, *right.shape), (*right.shape, 1)) and right.ndim == 1:
        given = given.reshape(right.shape)
    if given.shape != right.shape:
        return f"shape {given.shape}, expected {right.shape}"
    near = 1e-5 * float(np.abs(right).max())
    at = np.argwhere(~(np.abs(given - right) <= near))
    if not len(at):
        return ""
    place = tuple(int(i) for i in at[0])
    where = f"[{', '.join(map(str, place))}] " if place else ""
    return f"{where}is {given[place]:.6g}, right is {right[place]:.6g}"
