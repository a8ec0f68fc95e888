"""What one pass over a column learns of it: counts, extremes, mean and deviation, the different values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from densenet.tables.messages import shown_cell

MOST_DIFFERENT = 1000
"""Beyond so many, different numbers, and different texts of a column that comes in parts, are no longer counted."""


@dataclass(frozen=True)
class Summary:
    """What one pass over a column learns of it. Summaries of parts merge to the summary of the whole::

        n = n_a + n_b        d = m_b - m_a        m = m_a + d n_b / n
        s^2 = (n_a s_a^2 + n_b s_b^2 + d^2 n_a n_b / n) / n

    Counts and extremes are exact, mean and deviation up to rounding.

    Attributes
    ----------
    kind : {"number", "date", "text"} or None
        None where no row has a value.
    rows, present : int
        All rows, and those with a value.
    low, high, mean, scale : float
        Of numbers, and of dates in days; the scale is the standard deviation (division by n), 0 for equal values.
    different : frozenset or None
        The different texts or, where they were asked for, numbers; None where they are too many, or were not asked for.

    References
    ----------
    .. [1] Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979),
       equations 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.tables.summary import Summary
    >>> a, b = (Summary.of_numbers(np.array(values)) for values in ([1.0, 3.0], [5.0, np.nan, 7.0]))
    >>> both = a.merged(b, "area")
    >>> both.rows, both.present, both.mean, round(both.scale, 6)
    (5, 4, 4.0, 2.236068)
    """

    kind: Literal["number", "date", "text"] | None = None
    rows: int = 0
    present: int = 0
    low: float = math.nan
    high: float = math.nan
    mean: float = math.nan
    scale: float = math.nan
    different: frozenset[Any] | None = frozenset()

    @staticmethod
    def of_numbers(
        values: NDArray[np.float64], kind: Literal["number", "date"] = "number", *, distinct: bool = False
    ) -> Summary:
        """The summary of numbers, NaN where there is none; `distinct` asks for the different ones."""
        known = values[~np.isnan(values)]
        if not len(known):
            return Summary(rows=len(values))
        kinds = np.unique(known) if distinct else None
        different = None if kinds is None or len(kinds) > MOST_DIFFERENT else frozenset(kinds.tolist())
        low, high = float(known.min()), float(known.max())
        return Summary(kind, len(values), len(known), low, high, *_mean_and_scale(known, low, high), different)

    @staticmethod
    def of_texts(values: Iterable[str | None]) -> Summary:
        """The summary of texts, None where there is none."""
        every = list(values)
        known = [text for text in every if text is not None]
        return Summary("text" if known else None, len(every), len(known), different=frozenset(known))

    def merged(self, other: Summary, name: str) -> Summary:
        """The summary of both parts of the column of this name.

        Raises
        ------
        ValueError
            If one part holds text and the other numbers or dates.
        """
        rows, n = self.rows + other.rows, self.present + other.present
        if not self.present or not other.present:
            kept = self if self.present else other
            return Summary(kept.kind, rows, n, kept.low, kept.high, kept.mean, kept.scale, kept.different)
        if self.kind != other.kind:
            raise ValueError(f"column {shown_cell(name)} holds {self.kind}s in one part and {other.kind}s in another.")
        different = None
        if self.different is not None and other.different is not None:
            together = self.different | other.different
            different = together if len(together) <= MOST_DIFFERENT else None
        a, b, d = self.present / n, other.present / n, other.mean - self.mean
        mean = self.mean + d * b
        scale = math.hypot(math.sqrt(a) * self.scale, math.sqrt(b) * other.scale, math.sqrt(a * b) * d)
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Summary(self.kind, rows, n, low, high, mean, scale, different)


def _mean_and_scale(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation (division by n) of numbers between these."""
    if low == high:
        # The mean of equal numbers may be off by a rounding, which a scale of 1e-17 would turn into large numbers.
        return low, 0.0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        mean, scale = float(values.mean()), float(values.std())
        if not scale:  # the squares are too small for float64
            width = high - low
            scale = width * float(((values - low) / width).std())
    return mean, scale
