"""What a cell of text means: missing, a number, a date, or words.

The rules are tables: `NUMERIC_MISSING` and `TEXT_MISSING` (words), `MARKS` (what may stand around a number), `DATES`
(forms of a date). A new one is one line. A column has a meaning only if all its cells share one reading.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from densenet._types import Array
from densenet.tables.messages import listed, shown_cell

# -- words for missing ----------------------------------------------------------------------------------------------

TEXT_MISSING = frozenset({"", r"\n", "#n/a", "<na>", "nan", "null"})
"""Missing in a column of text, in any case: nothing else, since "NA" and "None" may be categories there."""

NUMERIC_MISSING = TEXT_MISSING | {"na", "n/a", "none", "-", ".", "?"}
"""Missing in a column of numbers or of dates, in any case."""

_LONGEST_MISSING = max(map(len, NUMERIC_MISSING))

BOOLEAN_WORDS = tuple(map(frozenset, (("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"))))
"""Pairs of words that are two values in any case."""


def is_missing(cell: str, words: frozenset[str]) -> bool:
    """Whether a cell is one of the words for missing."""
    return len(cell) <= _LONGEST_MISSING and cell.lower() in words


# -- numbers --------------------------------------------------------------------------------------------------------


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
_UNIT = r"°[CF]?|(?!(?:st|nd|rd|th)$)[^\W\d_]{1,8}[23²³]?(?:/[^\W\d_]{1,8}[23²³]?)?"

MARKS = (
    Mark(r"\((?P<n>[^()]+)\)", "numbers in brackets are negative", sign=-1, everywhere=False),
    Mark(r"(?P<n>[^-]*\d)-", "numbers with a minus behind them are negative", sign=-1, everywhere=False),
    Mark(rf"-\s*(?P<mark>{_CURRENCY})\s*(?P<n>.+)", "amounts of money", sign=-1),
    Mark(rf"(?P<mark>{_CURRENCY})\s*(?P<n>.+)", "amounts of money"),
    Mark(rf"(?P<n>.+?)\s*(?P<mark>{_CURRENCY})", "amounts of money"),
    Mark(r"(?P<n>.+?)\s*(?P<mark>[%‰])", "percentages"),
    Mark(r"(?P<n>.+?)\s*(?P<mark>\+)", "lower bounds", exact=False),
    Mark(r"(?P<mark>[<>≤≥~≈]=?)\s*(?P<n>.+)", "bounds", exact=False),
    Mark(rf"(?P<n>.*\d\.?)\s*(?P<mark>{_UNIT})", "numbers with a unit"),
)
"""In this order; the first that fits counts, and what stands in its `n` may carry another."""

_MARK_PATTERNS = [(mark, re.compile(mark.pattern)) for mark in MARKS]
_MOST_UNITS = 3  # addresses begin with numbers, too
_SAMPLE = 2000
_POINT_CURRENCIES = ("$", "US$", "USD", "£", "GBP")  # written with a decimal point wherever they are money

Decimal = Literal[".", ","]


def _number_pattern(decimal: str) -> re.Pattern[str]:
    other = "," if decimal == "." else "."
    groups = rf"[1-9]\d{{0,2}}(?P<g>[{other}'\u2019 \u00a0\u2009\u202f])\d{{3}}(?:(?P=g)\d{{3}})*"
    return re.compile(rf"[+-]?(?=[{decimal}]?\d)(?:{groups}|\d*)(?:[{decimal}]\d*)?(?:[eE][+-]?\d+)?", re.ASCII)


_NUMBER: dict[str, re.Pattern[str]] = {decimal: _number_pattern(decimal) for decimal in ".,"}
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
    for mark, pattern in _MARK_PATTERNS if depth else ():
        found = pattern.fullmatch(cell)
        inner = _written(found["n"].strip(), depth - 1) if found else None
        if found is None or inner is None:
            continue
        signed = {decimal: None if v is None else mark.sign * v for decimal, v in inner.values.items()}
        named = (found["mark"],) if "mark" in pattern.groupindex else ()
        return Written(signed, named + inner.marks, (mark.said, *inner.said), mark.exact and inner.exact)
    return None


def _value(cell: str, decimal: str) -> float | None:
    found = _NUMBER[decimal].fullmatch(cell)
    if found is None:
        return None
    plain = cell.replace(found["g"], "") if found["g"] else cell
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


# -- dates ----------------------------------------------------------------------------------------------------------

_TIME = (
    r"(?:[T ]\s*(?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<s>\d\d)(?:[.,]\d+)?)?\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
_MONTHS = {name: k for k, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)}

DATES = (
    r"(?P<y>\d{4})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})",
    r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d\d)",
    r"(?P<d>\d{1,2})[-/. ]+(?P<name>[A-Za-z]{3})[a-z]*[-/., ]+(?P<y>\d{4})",
    r"(?P<name>[A-Za-z]{3})[a-z]*[-/. ]+(?P<d>\d{1,2})[-/., ]+(?P<y>\d{4})",
)
"""Forms of a date, each with or without a time of day; of `a` and `b` one is the day and one the month."""

_DATE_PATTERNS = [re.compile(date + _TIME) for date in DATES]


def _date_parts(cell: str) -> dict[str, str] | None:
    if not 6 <= len(cell) <= 40:
        return None
    found = next((match for pattern in _DATE_PATTERNS if (match := pattern.fullmatch(cell))), None)
    parts = None if found is None else {key: value for key, value in found.groupdict().items() if value}
    if parts is None or ("name" in parts and parts["name"].lower() not in _MONTHS):
        return None
    if "a" in parts and not all(0 < int(parts[key]) <= 31 for key in "ab"):
        return None  # "18.00.00" is a time
    return parts


def _moment(parts: Mapping[str, str], dayfirst: bool) -> datetime | None:
    """The moment (UTC where a zone is named); None where there is no such day."""
    if "name" in parts:
        day, month = parts["d"], str(_MONTHS[parts["name"].lower()])
    elif "a" in parts:
        day, month = (parts["a"], parts["b"]) if dayfirst else (parts["b"], parts["a"])
    else:
        day, month = parts["d"], parts["m"]
    year = int(parts["y"])
    if len(parts["y"]) == 2:
        year += 1900 if year >= 69 else 2000  # POSIX: 69 to 99 are of the twentieth century
    hour = int(parts.get("h", 0))
    if "half" in parts:
        hour = hour % 12 + 12 * (parts["half"].lower() == "pm")
    try:
        moment = datetime(year, int(month), int(day), hour, int(parts.get("min", 0)), int(parts.get("s", 0)))
        zone = parts.get("zone", "Z")
        if zone != "Z":
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            moment -= offset if zone[0] == "+" else -offset
    except (ValueError, OverflowError):
        return None
    return moment


# -- one column -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Why a column has no one reading: a row, its cell, the reason, and the option that settles it."""

    row: int
    cell: str
    reason: str
    remedy: dict[str, Any]


@dataclass
class Column:
    """What a column's cells mean.

    Attributes
    ----------
    kind : {"number", "date", "text"}
    values : ndarray (n,)
        float64 with NaN, datetime64[s] with NaT, or object with None.
    how : dict
        What reads a later file alike: ``decimal``, ``mark``, ``forced``, ``dayfirst``; empty for plain columns.
    said : list of str
        How the cells were read, where that is not plain.
    words : Counter
        Words for missing, and how many cells hold them; the empty cell is not counted.
    problem : Problem or None
    """

    kind: Literal["number", "date", "text"]
    values: Array
    how: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)
    problem: Problem | None = None


def read_column(
    cells: Sequence[str],
    *,
    kind: Literal["number", "text"] | None = None,
    decimal: Decimal | None = None,
    mark: str | None = None,
    dayfirst: bool | None = None,
) -> Column:
    """The meaning of a column's cells.

    Parameters
    ----------
    cells : sequence of str
        Stripped.
    kind : {"number", "text"}, optional
        Settles it: cells that are no numbers are missing (and counted), or all cells are words.
    decimal : {".", ","}, optional
        Settles "1,234".
    mark : str, optional
        What stood at every number of the file that a model has learned from; with `kind` "number", cells with it count.
    dayfirst : bool, optional
        Settles "03/04/2020".

    Examples
    --------
    >>> from densenet.tables.cells import read_column
    >>> column = read_column(["1,5", "?", "2"])
    >>> column.values, column.said, column.words
    (array([1.5, nan, 2. ]), ["decimal commas: '1,5' is 1.5"], Counter({'?': 1}))
    >>> read_column(["1", "2", "3", "85+"]).problem
    Problem(row=3, cell='85+', reason='is a bound, not a number', remedy={'numeric': True})
    """
    if kind == "text":
        return _as_text(cells)
    quick = _plain(cells, decimal)
    if quick is not None and (quick.problem is None or kind is None):
        return quick
    counts = Counter(cells)
    filled = {cell: count for cell, count in counts.items() if not is_missing(cell, NUMERIC_MISSING)}
    if kind == "number":
        return _forced(cells, filled, decimal, mark)
    sample = list(filled)[:: max(1, len(filled) // _SAMPLE)]
    if _share(sample, written) >= 0.25:
        found = _numbers(cells, filled, decimal)
        if found is not None:
            return found
    if _share(sample, _date_parts) >= 0.25:
        found = _dates(cells, filled, dayfirst)
        if found is not None:
            return found
    return _as_text(cells)


def _share(cells: Sequence[str], is_one: Any) -> float:
    return sum(is_one(cell) is not None for cell in cells) / max(1, len(cells))


def _plain(cells: Sequence[str], decimal: Decimal | None) -> Column | None:
    """Numbers as Python writes them; with a decimal comma, where no point is among them."""
    if decimal == "," and any("." in cell and cell != "." for cell in cells):
        return None
    present = [None if is_missing(cell, NUMERIC_MISSING) else cell for cell in cells]
    comma = decimal == "," and any("," in cell for cell in cells)
    numbers = parse_numbers([cell and cell.replace(",", ".") for cell in present] if comma else present)
    if numbers is None:
        return None
    infinite = np.flatnonzero(np.isinf(numbers))
    found = Column("number", numbers, {"decimal": ","} if comma else {}, words=_missing(cells, NUMERIC_MISSING))
    if len(infinite):
        row = int(infinite[0])
        found.problem = Problem(row, cells[row], "is not a finite number", {"numeric": True})
    return found


def _missing(cells: Sequence[str], words: frozenset[str]) -> Counter[str]:
    return Counter(cell for cell in cells if cell and is_missing(cell, words))


def _made(cells: Sequence[str], meaning: Mapping[str, float]) -> Array:
    return np.array([meaning.get(cell, math.nan) for cell in cells], np.float64)


def _refused(cells: Sequence[str], wanted: Collection[str], reason: str, **remedy: bool) -> Column:
    """A column of words whose first cell of those wanted is the problem."""
    row = next(row for row, cell in enumerate(cells) if cell in wanted)
    words = _missing(cells, NUMERIC_MISSING)
    return Column("text", _as_text(cells).values, words=words, problem=Problem(row, cells[row], reason, remedy))


def _forced(cells: Sequence[str], filled: Mapping[str, int], decimal: Decimal | None, mark: str | None) -> Column:
    """Numbers of the commonest form; other cells are missing."""
    found = {cell: number for cell in filled if (number := written(cell)) is not None and number.exact}
    rows: Counter[tuple[str, ...]] = Counter()
    for cell, number in found.items():
        rows[number.marks] += filled[cell]
    marks = (mark,) if mark else next((marks for marks, _ in rows.most_common(1)), ())
    found = {cell: number for cell, number in found.items() if number.marks == marks}
    signs = [decimal] if decimal else [*".,"]
    share = {sign: sum(filled[c] for c, number in found.items() if number.values[sign] is not None) for sign in signs}
    unclear = {cell for cell, number in found.items() if number.values["."] != number.values[","]}
    if len(signs) == 2 and unclear and share["."] == share[","]:
        return _refused(cells, unclear, "has two readings", decimal=True)
    sign = max(signs, key=share.__getitem__)
    meaning = {cell: value for cell, number in found.items() if (value := number.values[sign]) is not None}
    lost = {cell: count for cell, count in filled.items() if cell not in meaning}
    how: dict[str, Any] = {"forced": True} | ({"mark": marks[0]} if marks else {})
    if decimal or any("," in cell or "." in cell for cell in meaning):
        how["decimal"] = sign
    said = ["decimal commas"] if how.get("decimal") == "," else []
    if lost:
        total = sum(lost.values())
        said.append(f"{total:,} {'cells' if total > 1 else 'cell'} such as {shown_cell(next(iter(lost)))} made missing")
    return Column("number", _made(cells, meaning), how, said, _missing(cells, NUMERIC_MISSING))


def _numbers(cells: Sequence[str], filled: Mapping[str, int], decimal: Decimal | None) -> Column | None:
    """The numbers of a column that is not plain; None if it is none of numbers."""
    found = {cell: number for cell in filled if (number := written(cell)) is not None}
    rows = sum(filled.values())
    number_rows = sum(filled[cell] for cell in found)
    bare = any(not number.marks for number in found.values())
    marks = {number.marks for number in found.values()}
    if 2 * number_rows < rows or (not bare and len(marks) > _MOST_UNITS):
        return None
    plain_rows = sum(
        filled[cell] for cell, number in found.items() if not number.marks and number.values["."] is not None
    )
    settle = "numeric" if 4 * (rows - plain_rows) <= rows else "text"
    if len(found) < len(filled):
        return _refused(cells, filled.keys() - found.keys(), "is no number", **{settle: True})
    bounds = {cell for cell, number in found.items() if not number.exact}
    if bounds:
        return _refused(cells, bounds, "is a bound, not a number", **{settle: True})
    if len(marks) > 1:
        odd = min(marks, key=lambda m: sum(filled[cell] for cell, number in found.items() if number.marks == m))
        few = {cell for cell, number in found.items() if number.marks == odd}
        return _refused(cells, few, "has another unit than the others", **{settle: True})
    signs = [s for s in ([decimal] if decimal else ".,") if all(n.values[s] is not None for n in found.values())]
    if not signs:
        other = {cell for cell, number in found.items() if number.values[decimal or "."] is None}
        return _refused(cells, other, "is written with another decimal sign than the others", **{settle: True})
    unclear = {cell for cell, number in found.items() if number.values["."] != number.values[","]}
    if len(signs) == 2 and unclear:
        if not any(mark in _POINT_CURRENCIES for mark in next(iter(marks))):
            return _refused(cells, unclear, "has two readings", decimal=True)
        signs = ["."]
    meaning = {cell: number.values[signs[0]] or 0.0 for cell, number in found.items()}
    said = [*dict.fromkeys(line for number in found.values() for line in number.said)]
    how: dict[str, Any] = {}
    mark = next(iter(marks))
    if mark:
        how["mark"] = mark[0]
        said = [f"{line} ({mark[0]})" if "unit" in line or "money" in line else line for line in said]
    if len(signs) == 1 and any("," in cell or "." in cell for cell in found):
        how["decimal"] = signs[0]
        if signs[0] == ",":
            said.append("decimal commas")
    if not decimal and any(_grouped(cell, signs[0]) for cell in found):
        said.append("thousands are grouped")
    shaped = [cell for cell, number in found.items() if number.said or "," in cell or "'" in cell or " " in cell]
    example = max(shaped or found, key=lambda cell: meaning[cell] != 0)
    said = [f"{', '.join(said)}: {shown_cell(example)} is {meaning[example]:.12g}"] if said else []
    return Column("number", _made(cells, meaning), how, said, _missing(cells, NUMERIC_MISSING))


def _grouped(cell: str, decimal: str) -> bool:
    return ("," if decimal == "." else ".") in cell or "'" in cell


def _dates(cells: Sequence[str], filled: Mapping[str, int], dayfirst: bool | None) -> Column | None:
    found = {cell: parts for cell in filled if (parts := _date_parts(cell)) is not None}
    if 2 * sum(filled[cell] for cell in found) < sum(filled.values()):
        return None
    if len(found) < len(filled):
        return _refused(cells, filled.keys() - found.keys(), "is no date", text=True)
    open_ones = {cell: parts for cell, parts in found.items() if "a" in parts}
    how: dict[str, Any] = {}
    if open_ones:
        first = any(int(parts["a"]) > 12 for parts in open_ones.values())
        second = any(int(parts["b"]) > 12 for parts in open_ones.values())
        if first and second:
            other = {cell for cell, parts in open_ones.items() if int(parts["b"]) > 12}
            return _refused(cells, other, "has day and month in another order than other cells", text=True)
        if first or second:
            dayfirst = first
        elif dayfirst is None:
            return _refused(cells, open_ones, "may have the day or the month first", dayfirst=True)
        how["dayfirst"] = dayfirst
    moments = {cell: _moment(parts, bool(dayfirst)) for cell, parts in found.items()}
    never = {cell for cell, moment in moments.items() if moment is None}
    if never:
        return _refused(cells, never, "is no day of the calendar", text=True)
    said = ["dates" + (f", {'day' if dayfirst else 'month'} first" if open_ones else "")]
    missing = np.datetime64("NaT", "s")
    values = np.array([np.datetime64(moments[c], "s") if c in moments else missing for c in cells], "datetime64[s]")
    return Column("date", values, how, said, _missing(cells, NUMERIC_MISSING))


def _as_text(cells: Sequence[str]) -> Column:
    values = np.empty(len(cells), object)
    values[:] = [None if is_missing(cell, TEXT_MISSING) else cell for cell in cells]
    found = Column("text", values, words=_missing(cells, TEXT_MISSING))
    spellings = Counter(cell for cell in values if cell is not None) if len(set(cells[:50])) < 20 else Counter()
    if spellings and is_boolean(spellings):
        common: dict[str, str] = {}
        for word, _ in spellings.most_common():
            common.setdefault(word.lower(), word)
        if len(common) < len(spellings):
            found.values[:] = [cell and common[cell.lower()] for cell in values]
            found.said.append(f"{listed(sorted(spellings))} are {len(common)} values")
    return found


def is_boolean(words: Iterable[str]) -> bool:
    """Whether the words are one of the pairs for true and false, in any case."""
    lowered = {word.lower() for word in words}
    return any(lowered <= pair for pair in BOOLEAN_WORDS)
