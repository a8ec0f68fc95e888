"""A number as a cell writes it: plain, grouped, with a unit or a sign around it, as a time.

`MARKS` is the table of what may stand around a number; a new one is one line.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mark:
    """What may stand around a number: groups `n`, the number, and `mark`, the sign that names its unit.

    Where `everywhere`, all cells of a column must carry the same mark; else it only changes the sign. A mark that is
    not `exact` makes of the number a bound.
    """

    pattern: str
    said: str
    sign: int = 1
    everywhere: bool = True
    exact: bool = True


_CURRENCY = r"US\$|R\$|[$€£¥₹₽₩]|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|BRL|ZAR|Rs\.?|kr\.?"
_FRACTIONS = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_LETTER = rf"[^\W\d_{_FRACTIONS}¹²³\u2070-\u2089\u2460-\u2473]"
_WORD = rf"{_LETTER}{{1,8}}[23²³]?"
_UNIT = rf"°[CF]?|(?!(?:st|nd|rd|th)$){_WORD}(?:/{_WORD})?"

MARKS = (
    Mark(r"\((?P<n>[^()]+)\)", "numbers in brackets are negative", sign=-1, everywhere=False),
    Mark(r"(?P<n>[^-]*\d)-", "numbers with a minus behind them are negative", sign=-1, everywhere=False),
    Mark(rf"-\s*(?P<mark>{_CURRENCY})\s*(?P<n>.+)", "amounts of money", sign=-1),
    Mark(rf"(?P<mark>{_CURRENCY})\s*(?P<n>.+)", "amounts of money"),
    Mark(rf"(?P<n>.+?)\s*(?P<mark>{_CURRENCY})", "amounts of money"),
    Mark(r"(?P<n>.+?)\s*(?P<mark>[%‰])", "percentages"),
    Mark(r"(?P<n>.+?)\s*(?P<mark>\+)", "lower bounds", exact=False),
    Mark(r"(?P<mark>[<>≤≥~≈]=?)\s*(?P<n>.+)", "bounds", exact=False),
    Mark(rf"(?P<n>.*[\d{_FRACTIONS}]\.?)\s*(?P<mark>{_UNIT})", "numbers with a unit"),
)
"""In this order; the first that fits counts, and what stands in its `n` may carry another."""

_MARK_PATTERNS = [(mark, re.compile(mark.pattern)) for mark in MARKS]

Decimal = Literal[".", ","]


GROUPS = "'\u2019 \u00a0\u2009\u202f"
"""What may stand between thousands beside a comma or a point."""


def _number_pattern(decimal: str) -> re.Pattern[str]:
    other = "," if decimal == "." else "."
    groups = rf"[1-9]\d{{0,2}}(?P<g>[{other}{GROUPS}])\d{{3}}(?:(?P=g)\d{{3}})*"
    indian = r"|[1-9]\d?(?P<i>,)\d\d,(?:\d\d,)*\d{3}" if decimal == "." else ""
    return re.compile(rf"[+-]?(?=[{decimal}]?\d)(?:{groups}{indian}|\d*)(?:[{decimal}]\d*)?(?:[eE][+-]?\d+)?", re.ASCII)


_NUMBER: dict[str, re.Pattern[str]] = {decimal: _number_pattern(decimal) for decimal in ".,"}
_CLOCK = re.compile(
    r"(?:(?P<d>\d+) days?,? )?(?P<h>\d{1,4}):(?P<min>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d+)?))?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_FRACTION = re.compile(rf"(?P<sign>[+-]?)(?P<whole>\d*)\s?(?P<part>[{_FRACTIONS}])", re.ASCII)
_MINUS = str.maketrans("\u2212\u2013", "--")  # minus sign and en dash


@dataclass(frozen=True)
class Written:
    """A number as a cell writes it: its value under either decimal sign (None: not one), and what stands around it."""

    values: Mapping[str, float | None]
    marks: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    exact: bool = True


@lru_cache(maxsize=4096)
def written(cell: str) -> Written | None:
    """The number that a cell writes, marks and all; None if it writes none.

    Examples
    --------
    >>> from densenet.tables.cells import written
    >>> written("1,234").values
    {'.': 1234.0, ',': 1.234}
    >>> written("(12.5 %)")
    Written(values={'.': -12.5, ',': None}, marks=('%',), said=('numbers in brackets are negative', 'percentages'),
            exact=True)
    >>> written("twelve") is None
    True
    """
    return _written(cell.strip().translate(_MINUS), 3) if len(cell) <= 40 else None


def _written(cell: str, depth: int) -> Written | None:
    values = {decimal: _value(cell, decimal) for decimal in ".,"}
    if any(value is not None for value in values.values()):
        return Written(values)
    if ":" in cell and (time := _time(cell)) is not None:
        return time
    if (found := _FRACTION.fullmatch(cell)) is not None:
        value = float(f"{found['sign']}1") * (int(found["whole"] or 0) + unicodedata.numeric(found["part"]))
        return Written({".": value, ",": value}, said=("fractions",))
    for mark, pattern in _MARK_PATTERNS if depth else ():
        found = pattern.fullmatch(cell)
        inner = _written(found["n"].strip(), depth - 1) if found else None
        if found is None or inner is None:
            continue
        signed = {decimal: None if v is None else mark.sign * v for decimal, v in inner.values.items()}
        named = (found["mark"],) if "mark" in pattern.groupindex else ()
        return Written(signed, named + inner.marks, (mark.said, *inner.said), mark.exact and inner.exact)
    return None


def _time(cell: str) -> Written | None:
    """A time of day or a duration, h + min / 60 + s / 3600."""
    found = _CLOCK.fullmatch(cell)
    if found is None or (found["half"] and not 1 <= int(found["h"]) <= 12):
        return None
    hours = int(found["h"]) + int(found["min"]) / 60 + float(found["s"] or 0) / 3600 + 24 * int(found["d"] or 0)
    form = "h:mm:ss" if found["s"] else "h:mm"
    if found["half"]:
        hours, form = hours % 12 + 12 * (found["half"] in "pP"), f"{form} am/pm"
    return Written({".": hours, ",": hours}, (form,), ("times",))


def _value(cell: str, decimal: str) -> float | None:
    found = _NUMBER[decimal].fullmatch(cell)
    if found is None:
        return None
    groups = found.groupdict()
    plain = cell.replace(groups["g"] or groups.get("i") or "\0", "")
    try:
        value = float(plain.replace(decimal, "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_numbers(texts: Sequence[str | None]) -> NDArray[np.float64] | None:
    """The numbers that the texts write, NaN for None; None if one of them is no number."""
    try:
        numbers = np.array([math.nan if text is None else float(text) for text in texts], np.float64)
    except ValueError:
        return None
    # "nan" and "1_000" are numbers to Python, but to nobody else.
    if "_" in "".join(filter(None, texts)) or any(compress(texts, np.isnan(numbers))):
        return None
    return numbers


def nearly_numbers(cells: Iterable[str]) -> bool:
    """Whether at least half of the cells write numbers, of whatever form."""
    every = list(cells)
    return bool(every) and 2 * sum(written(cell) is not None for cell in every) >= len(every)
