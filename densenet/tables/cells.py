"""What a cell of text means: missing, a number, a date, or words.

The rules are tables: `NUMERIC_MISSING` and `TEXT_MISSING` (words), `numbers.MARKS` (what may stand around a number),
`dates.DATES` (forms of a date). A column has a meaning only if all its cells share one reading.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from densenet._types import Array
from densenet.tables.dates import date_parts, moment_of
from densenet.tables.messages import counted, listed, shown_cell
from densenet.tables.numbers import GROUPS, Decimal, Written, parse_numbers, written

# -- words for missing ----------------------------------------------------------------------------------------------

TEXT_MISSING = frozenset({"", r"\n", "#n/a", "<na>", "nan", "null"})
"""Missing in a column of text, in any case: nothing else, since "NA" and "None" may be categories there."""

NUMERIC_MISSING = TEXT_MISSING | {"na", "n/a", "none", "-", ".", "?"}
"""Missing in a column of numbers or of dates, in any case."""

_LONGEST_MISSING = max(map(len, NUMERIC_MISSING))

_PAIRS = (
    "true false,yes no,y n,t f,on off,wahr falsch,ja nein,vrai faux,oui non,verdadero falso,sí no,vero falso,sim não"
)
BOOLEAN_WORDS = tuple(frozenset(pair.split()) for pair in _PAIRS.split(","))
"""Pairs of words that are two values in any case."""


def is_missing(cell: str, words: frozenset[str]) -> bool:
    """Whether a cell is one of the words for missing."""
    return len(cell) <= _LONGEST_MISSING and cell.lower() in words


_SAMPLE = 2000
_MOST_UNITS = 3  # addresses begin with numbers, too
_FEW_WORDS = 10
_MAGNITUDES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}  # units of one column beside each other
_EXACT = 2.0**53  # float64 has every whole number up to here
_POINT_CURRENCIES = ("$", "US$", "USD", "£", "GBP")  # written with a decimal point wherever they are money
_GROUPED = re.compile(rf"\d[{GROUPS}]\d{{3}}(?!\d)")
_BEGINS_WITH_NUMBER = re.compile(r"[^\w\s]{0,2}\d")
_NUMBERED = re.compile(r"(\d{1,3})\s?[.):=\u2013-]\s*([^\W\d_].*)")
_DIGIT = re.compile(r"^[^#]*\d")  # #DIV/0! is a word
_POWER = re.compile(r"\d+[eE]\d+")


# -- one column -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Why a column has no one reading: a row, its cell, the reason, the option that settles it, and all such rows."""

    row: int
    cell: str
    reason: str
    remedy: dict[str, Any]
    rows: tuple[int, ...] = ()


@dataclass
class Column:
    """What a column's cells mean.

    Attributes
    ----------
    kind : {"number", "date", "text"}
    values : ndarray (n,)
        float64 with NaN, datetime64[s] with NaT, or object with None.
    how : dict
        What reads a later file alike: ``decimal``, ``mark``, ``magnitudes``, ``forced``, ``dayfirst``; empty for plain
        columns.
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
    kind: Literal["number", "date", "text"] | None = None,
    decimal: Decimal | None = None,
    mark: str | None = None,
    magnitudes: bool = False,
    dayfirst: bool | None = None,
) -> Column:
    """The meaning of a column's cells.

    Parameters
    ----------
    cells : sequence of str
        Stripped.
    kind : {"number", "date", "text"}, optional
        Settles it. Cells that are no number, or no date, are missing, and counted; "number" stands for dates where at
        least half of the cells are. As "text" all cells are words.
    decimal : {".", ","}, optional
        Settles "1,234".
    mark : str, optional
        What stood at every number of the file that a model has learned from; with `kind` "number", cells with it count.
    magnitudes : bool, default False
        Whether a k, M or B behind a number multiplies it, as it did there.
    dayfirst : bool, optional
        Settles "03/04/2020".

    Examples
    --------
    >>> from densenet.tables.cells import read_column
    >>> column = read_column(["1,5", "?", "2"])
    >>> column.values, column.said, column.words
    (array([1.5, nan, 2. ]), ["decimal commas: '1,5' is 1.5"], Counter({'?': 1}))
    >>> read_column(["1", "2", "3", "85+"]).problem
    Problem(row=3, cell='85+', reason='is a bound, not a number', remedy={'numeric': True}, rows=(3,))
    """
    if kind == "text":
        return _as_text(cells)
    quick = _plain(cells, decimal)
    if kind != "date" and quick is not None and (quick.problem is None or kind is None):
        return quick
    counts = Counter(cells)
    filled = {cell: count for cell, count in counts.items() if not is_missing(cell, NUMERIC_MISSING)}
    if kind is not None:
        if kind == "date" or 2 * _date_rows(filled) >= sum(filled.values()) > 0:
            return _dates(cells, filled, dayfirst, forced=True)
        return _forced(cells, filled, decimal, mark, magnitudes)
    sample = list(filled)[:: max(1, len(filled) // _SAMPLE)]
    numbers = _share(sample, written) >= 0.25 and not _are_numbered_words(filled)
    if numbers and (found := _numbers(cells, filled, decimal, mark, magnitudes)) is not None:
        return found
    if _share(sample, date_parts) >= 0.25 and 2 * _date_rows(filled) >= sum(filled.values()):
        return _dates(cells, filled, dayfirst)
    words = _as_text(cells)
    numbered = [cell for cell in filled if _BEGINS_WITH_NUMBER.match(cell)]
    if 2 * len(numbered) > len(filled):
        words.said.append(f"words, though they begin with numbers, such as {shown_cell(numbered[0])}")
    return words


def _are_numbered_words(filled: Collection[str]) -> bool:
    """Whether the cells are labels such as "1. never", "2. often", each number with a word of its own."""
    found = [_NUMBERED.fullmatch(cell) for cell in filled]
    labels = {match[1]: match[2] for match in found if match is not None}
    return len(labels) == len(filled) > 1 and len(set(labels.values())) > 1


def _date_rows(filled: Mapping[str, int]) -> int:
    return sum(count for cell, count in filled.items() if date_parts(cell) is not None)


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
    found.said += _altered(cells, numbers)
    return found


def _altered(cells: Sequence[str], numbers: Array) -> list[str]:
    """What numbers do not keep of their cells: leading zeros, powers of ten, and digits beyond those of float64."""
    said = []
    coded = next((cell for cell in cells if cell[:1] == "0" and cell[1:2].isdigit()), None)
    if coded is not None:
        value = float(coded.replace(",", "."))
        said.append(f"leading zeros: {shown_cell(coded)} is {value:.12g} (--text keeps them)")
    if (power := next((cell for cell in cells if _POWER.fullmatch(cell)), None)) is not None:
        said.append(f"powers of ten: {shown_cell(power)} is {float(power):.12g} (--text keeps them)")
    far = np.flatnonzero(np.abs(numbers) >= _EXACT)
    if len(far) and cells[far[0]].isdecimal():
        said.append(f"whole numbers of more than 15 digits are rounded: {shown_cell(cells[far[0]])}")
    return said


def _missing(cells: Sequence[str], words: frozenset[str]) -> Counter[str]:
    return Counter(cell for cell in cells if cell and is_missing(cell, words))


def _made(cells: Sequence[str], meaning: Mapping[str, float]) -> Array:
    return np.array([meaning.get(cell, math.nan) for cell in cells], np.float64)


def _refused(cells: Sequence[str], wanted: Collection[str], reason: str, **remedy: bool) -> Column:
    """A column of words whose first cell of those wanted is the problem."""
    rows = tuple(row for row, cell in enumerate(cells) if cell in wanted)
    problem = Problem(rows[0], cells[rows[0]], reason, remedy, rows)
    return Column("text", _as_text(cells).values, words=_missing(cells, NUMERIC_MISSING), problem=problem)


def _of_one_number(found: dict[str, Written], mark: str | None) -> dict[str, Written]:
    """The units of "1 day" and "2 days" are one, also where only `mark` has the plural."""
    plurals = {" ".join(number.marks) for number in found.values()} | {mark or ""}
    made = dict(found)
    for cell, number in found.items():
        if number.marks and f"{' '.join(number.marks)}s" in plurals:
            made[cell] = replace(number, marks=(*number.marks[:-1], f"{number.marks[-1]}s"))
    return made


def _magnified(found: dict[str, Written], magnitudes: bool) -> tuple[dict[str, Written], bool]:
    """Numbers with k, M and B multiplied out, where `magnitudes` says so or a column has two of them; whether so."""
    last = {cell: number.marks[-1] for cell, number in found.items() if number.marks}
    units = {cell: unit for cell, unit in last.items() if unit in _MAGNITUDES}
    if not magnitudes and len({_MAGNITUDES[unit] for unit in units.values()}) < 2:
        return found, False
    made = dict(found)
    for cell, unit in units.items():
        number = found[cell]
        values = {sign: None if v is None else v * _MAGNITUDES[unit] for sign, v in number.values.items()}
        made[cell] = Written(values, number.marks[:-1], (*number.said[:-1], _MAGNIFIED), number.exact)
    return made, True


_MAGNIFIED = "k, M and B are thousands, millions and billions"


def _forced(
    cells: Sequence[str], filled: Mapping[str, int], decimal: Decimal | None, mark: str | None, magnitudes: bool
) -> Column:
    """Numbers of the commonest form; other cells are missing."""
    found = {cell: number for cell in filled if (number := written(cell)) is not None and number.exact}
    found, magnified = _magnified(_of_one_number(found, mark), magnitudes)
    rows: Counter[tuple[str, ...]] = Counter()
    for cell, number in found.items():
        rows[number.marks] += filled[cell]
    marks = mark or next((" ".join(marks) for marks, _ in rows.most_common(1)), "")
    found = {cell: number for cell, number in found.items() if " ".join(number.marks) == marks}
    signs = [decimal] if decimal else [*".,"]
    share = {sign: sum(filled[c] for c, number in found.items() if number.values[sign] is not None) for sign in signs}
    unclear = {cell for cell, number in found.items() if number.values["."] != number.values[","]}
    if len(signs) == 2 and unclear and share["."] == share[","]:
        return _refused(cells, unclear, "has two readings", decimal=True)
    sign = max(signs, key=share.__getitem__)
    meaning = {cell: value for cell, number in found.items() if (value := number.values[sign]) is not None}
    lost = {cell: count for cell, count in filled.items() if cell not in meaning}
    how: dict[str, Any] = {"forced": True} | ({"mark": marks} if marks else {})
    how |= {"magnitudes": True} if magnified else {}
    if decimal or any("," in cell or "." in cell for cell in meaning):
        how["decimal"] = sign
    said = ["decimal commas"] if sign == "," and any("," in cell for cell in meaning) else []
    if lost:
        said.append(_lost(next(iter(lost)), sum(lost.values())))
    return Column("number", _made(cells, meaning), how, said, _missing(cells, NUMERIC_MISSING))


def _numbers(
    cells: Sequence[str], filled: Mapping[str, int], decimal: Decimal | None, mark: str | None, magnitudes: bool
) -> Column | None:
    """The numbers of a column that is not plain; None for a column of something else."""
    found = {cell: number for cell in filled if (number := written(cell)) is not None}
    found, magnified = _magnified(_of_one_number(found, mark), magnitudes)
    if len(found) <= _FEW_WORDS and not any(number.exact for number in found.values()):
        return None  # "<=50K" and ">50K" are words
    marks = dict.fromkeys(number.marks for number in found.values())
    if 2 * sum(filled[cell] for cell in found) < sum(filled.values()) or (() not in marks and len(marks) > _MOST_UNITS):
        return None
    signs = [s for s in ([decimal] if decimal else ".,") if all(n.values[s] is not None for n in found.values())]
    mixed = _mixture(cells, filled, found, signs, decimal)
    if mixed is not None:
        return mixed
    unclear = {cell for cell, number in found.items() if number.values["."] != number.values[","]}
    if len(signs) == 2 and unclear:
        if not any(mark in _POINT_CURRENCIES for mark in next(iter(marks))):
            return _refused(cells, unclear, "has two readings", decimal=True)
        signs = ["."]
    sign = signs[0]
    how: dict[str, Any] = {"magnitudes": True} if magnified else {}
    if unit := " ".join(next(iter(marks))):
        how["mark"] = unit
    if len(signs) == 1 and any("," in cell or "." in cell for cell in found):
        how["decimal"] = sign
    meaning = {cell: number.values[sign] or 0.0 for cell, number in found.items()}
    grouped = [] if decimal else [cell for cell in found if _grouped(cell, sign)]
    said = [*dict.fromkeys(line for number in found.values() for line in number.said)]
    if unit and (measured := [k for k, line in enumerate(said) if "unit" in line or "money" in line]):
        said[measured[-1]] += f" ({unit})"
    said += ["decimal commas"] * (how.get("decimal") == ",") + ["thousands are grouped"] * bool(grouped)
    shaped = [cell for cell, number in found.items() if number.said or "," in cell or _grouped(cell, sign)]
    example = max(shaped or found, key=lambda cell: meaning[cell] != 0)
    said = [f"{', '.join(said)}: {shown_cell(example)} is {meaning[example]:.12g}"] if said else []
    return Column("number", _made(cells, meaning), how, said, _missing(cells, NUMERIC_MISSING))


def _mixture(
    cells: Sequence[str],
    filled: Mapping[str, int],
    found: Mapping[str, Written],
    signs: Sequence[str],
    decimal: Decimal | None,
) -> Column | None:
    """The refusal of numbers beside words, bounds, several units or several decimal signs."""
    rows = sum(filled.values())
    forms = Counter[tuple[str, ...]]()  # of which --numeric keeps the commonest
    for cell, number in found.items():
        forms[number.marks] += filled[cell] * (number.exact and number.values["."] is not None)
    odd = filled.keys() - found.keys()
    beside_words = len(found) > _FEW_WORDS and bool(odd) and not any(map(_DIGIT.match, odd))
    settle = "numeric" if 4 * max(forms.values()) >= 3 * rows or beside_words else "text"
    if odd:
        return _refused(cells, odd, "is no number", **{settle: True})
    bounds = {cell for cell, number in found.items() if not number.exact}
    if bounds:
        return _refused(cells, bounds, "is a bound, not a number", **{settle: True})
    marks = Counter[tuple[str, ...]]()
    for cell, number in found.items():
        marks[number.marks] += filled[cell]
    if len(marks) > 1:
        rare = min(marks, key=marks.__getitem__)
        few = {cell for cell, number in found.items() if number.marks == rare}
        return _refused(cells, few, "has another unit than the others", **{settle: True})
    if not signs:
        other = {cell for cell, number in found.items() if number.values[decimal or "."] is None}
        return _refused(cells, other, "is written with another decimal sign than the others", **{settle: True})
    return None


def _grouped(cell: str, decimal: str) -> bool:
    return ("," if decimal == "." else ".") in cell or _GROUPED.search(cell) is not None


def _dates(cells: Sequence[str], filled: Mapping[str, int], dayfirst: bool | None, forced: bool = False) -> Column:
    """The dates of a column; cells that are none are missing where it is `forced`, else refused."""
    found = {cell: parts for cell in filled if (parts := date_parts(cell)) is not None}
    if len(found) < len(filled) and not forced:
        return _not_dates(cells, filled, filled.keys() - found.keys(), "is no date")
    open_ones = {cell: parts for cell, parts in found.items() if "a" in parts}
    how: dict[str, Any] = {"forced": True} if forced else {}
    if open_ones:
        first = any(int(parts["a"]) > 12 for parts in open_ones.values())
        second = {cell for cell, parts in open_ones.items() if int(parts["b"]) > 12}
        if first and second:
            return _refused(cells, second, "has day and month in another order than other cells", text=True)
        if not first and not second and dayfirst is None:
            return _refused(cells, open_ones, "may have the day or the month first", dayfirst=True)
        dayfirst = how["dayfirst"] = first or (not second and bool(dayfirst))
    moments = {cell: moment_of(parts, bool(dayfirst)) for cell, parts in found.items()}
    never = {cell for cell, moment in moments.items() if moment is None}
    if never and not forced:
        return _not_dates(cells, filled, never, "is no day of the calendar")
    said = ["dates" + (f", {'day' if dayfirst else 'month'} first" if open_ones else "")]
    lost = [cell for cell in cells if cell in filled and moments.get(cell) is None]
    said += [_lost(lost[0], len(lost))] if lost else []
    values = np.array([moments.get(cell) for cell in cells], "datetime64[s]")
    return Column("date", values, how, said, _missing(cells, NUMERIC_MISSING))


def _not_dates(cells: Sequence[str], filled: Mapping[str, int], odd: Collection[str], reason: str) -> Column:
    """The refusal of cells among dates: few are to be made missing, many make words of the column."""
    few = 4 * sum(filled[cell] for cell in odd) <= sum(filled.values())
    return _refused(cells, odd, reason, **{"numeric" if few else "text": True})


def _lost(cell: str, count: int) -> str:
    return f"{counted(count, 'cell')} such as {shown_cell(cell)} made missing"


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
