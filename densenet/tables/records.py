"""A text as records of cells: the delimiter, quotation marks, and the lines at which records begin."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeAlias

from densenet.tables.messages import TableError, counted
from densenet.tables.numbers import written

Skip: TypeAlias = int | str | Collection[int | str]
Record: TypeAlias = tuple[int, list[str]]
"""The line that it begins at, and its stripped cells."""

DELIMITERS = (",", ";", "\t", "|", " ")
"""Tried in this order; a blank stands for any run of blanks and tabs, and is taken where no other splits the lines."""

_RARE_DELIMITERS = ("^", "~", ":", "\x01", "\x1f")
_NUMBERS = re.compile(r"(?<![^\s])[+-]?\d+\.?\d* +[+-]?\d+\.?\d* +[+-]?\d+\.?\d*(?!\S)")
_IN_SINGLE_QUOTES = re.compile(r"'[^'\n]*'([,;\t|]'[^'\n]*')+\r?\n")
_ESCAPED = re.compile(r"\\([\"\\])")
_NAMES_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 50
_LONGEST_CELL = 1 << 26


def read_records(
    data: bytes, encoding: str, delimiter: str | None, path: str, skip: list[int | str]
) -> tuple[list[Record], str, list[str]]:
    """The records of a file without empty lines and lines to skip; the delimiter; notes for the user.

    Raises
    ------
    TableError
        For a delimiter that is not one character or does not occur, and for quotation marks that do not pair.
    """
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        reason = f"read_csv expects delimiter to be one character, got {delimiter!r}; by default it is recognised"
        raise TableError(reason, {"delimiter": None})
    skipped = {line for line in skip if isinstance(line, int)}
    sample, quoted = _sample(_lines(data, encoding, skipped)), []
    if _IN_SINGLE_QUOTES.match(sample) and b'"' not in data and not encoding.startswith(("utf-16", "utf-32")):
        data, quoted = data.replace(b"'", b'"'), ["cells stand in single quotation marks"]
        sample = _sample(_lines(data, encoding, skipped))
    first = _NAMES_DELIMITER.match(sample)  # a line of its own that Excel reads and writes
    sample = sample[first.end() if first else 0 :]
    remarks = 0 if first else _remarks(sample)
    if remarks:
        skipped |= set(range(1, remarks + 1))
        sample = "".join(sample.splitlines(keepends=True)[remarks:])
    if delimiter is not None and delimiter not in sample and _find_delimiter(sample) in sample:
        reason = f"read_csv finds no delimiter {delimiter!r} in {path}; by default it is recognised"
        raise TableError(reason, {"delimiter": None})
    chosen = delimiter or (first[1] if first else None) or _find_delimiter(sample)
    records, said = _parsed(lambda: _lines(data, encoding, skipped), chosen, path, skip)
    said += quoted
    if remarks:
        said.append(f"{counted(remarks, 'line')} of remarks (#) at the beginning left out")
    return records[1:] if first else records, chosen, said


def _remarks(sample: str) -> int:
    """How many lines at the beginning are remarks, "# such as this", above a header of words."""
    lines = sample.splitlines()
    count = next((k for k, line in enumerate(lines) if line.strip('" ')[:1] != "#"), 0)
    rest = "\n".join(lines[count : count + _SAMPLE_ROWS])
    if not count or count > _SAMPLE_ROWS or not rest:
        return 0
    last, head = (next(iter(_reader([line], _find_delimiter(rest)))) for line in lines[count - 1 : count + 1])
    named = len(last) == len(head) and not last[0].startswith(("# ", "##"))  # "#x,y" may be the header
    return count if all(written(cell) is None for cell in head) and not named else 0


def _lines(data: bytes, encoding: str, skipped: Collection[int]) -> Iterable[str]:
    """The lines of a file, decoded as they are read and ended as in the file; empty where they are left out."""
    text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    return ("\n" if number in skipped else line for number, line in enumerate(text, 1)) if skipped else text


def _sample(lines: Iterable[str]) -> str:
    """The beginning of a text."""
    if isinstance(lines, io.TextIOWrapper):
        return lines.read(_SAMPLE)
    sample = ""
    for line in lines:
        sample += line
        if len(sample) >= _SAMPLE:
            break
    return sample[:_SAMPLE]


def _parsed(
    text: Callable[[], Iterable[str]], delimiter: str, path: str, skip: list[int | str]
) -> tuple[list[Record], list[str]]:
    """The records of a file but for empty lines. Quotation marks that do not pair are characters where that fits."""
    try:
        records = list(_records(_reader(text(), delimiter, strict=True)))
    except _BrokenRecord as error:
        escaped = _unescaped(text, delimiter)
        if escaped is not None:
            return escaped, ["a quotation mark behind a backslash is read as part of its cell"]
        line, why = error.args
        plain = [record for record in _records(_reader(text(), delimiter, quoting=csv.QUOTE_NONE)) if any(record[1])]
        paired = any(cell[:1] == cell[-1:] == '"' and len(cell) > 1 for _, row in plain for cell in row)
        if len(plain) > 1 and not paired and len({len(row) for _, row in plain}) == 1 and len(plain[0][1]) > 1:
            return plain, [f"quotation marks that do not pair (line {line}) are read as they stand"]
        reason = f"read_csv cannot read {path}, line {line}: {why}; without that line"
        raise TableError(reason, {"skip": [*skip, line]}) from None
    return [record for record in records if len(record[1]) > 1 or record[1][0]], []


def _unescaped(text: Callable[[], Iterable[str]], delimiter: str) -> list[Record] | None:
    """The records of a file that writes a quotation mark in a cell as MySQL does, None where that does not fit."""
    lines = (_ESCAPED.sub(lambda found: '""' if found[1] == '"' else found[1], line) for line in text())
    try:
        records = [record for record in _records(_reader(lines, delimiter, strict=True)) if any(record[1])]
    except _BrokenRecord:
        return None
    return records if len({len(row) for _, row in records}) == 1 and len(records[0][1]) > 1 else None


class _BrokenRecord(Exception):
    """A record breaks the rules of quotation marks: the line at which it begins, and the reason."""


def _records(reader: Any) -> Iterator[Record]:
    """Stripped records and the line at which each begins."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    line = 1
    try:
        for record in reader:
            yield line, list(map(str.strip, record)) or [""]
            line = reader.line_num + 1
    except csv.Error as error:
        raise _BrokenRecord(line, str(error)) from None
    finally:
        csv.field_size_limit(limit)


def _reader(lines: Iterable[str], delimiter: str, **how: Any) -> Any:
    if delimiter == " ":
        lines = (line.replace("\t", " ").rstrip() + "\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, **how)


def _find_delimiter(sample: str) -> str:
    """The delimiter that splits most of the first records as it splits the header, and into most."""
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):  # the second where quotation marks do not pair
        even = {sign: _evenness(sample, sign, quoting) for sign in (*DELIMITERS, *_RARE_DELIMITERS)}
        usual = [sign for sign in DELIMITERS[:-1] if even[sign][0]]
        other = [sign for sign in even if even[sign][0] == _AS_HEADER]
        if usual or other or '"' not in sample:
            break
    else:
        even = {sign: _evenness(sample, sign, csv.QUOTE_MINIMAL) for sign in DELIMITERS}
    best = max(usual or other[:1] or DELIMITERS, key=lambda sign: even[sign])
    return " " if best == "\t" and even[" "] > (_AS_HEADER, 0.9, 2) and _has_blanks_between_numbers(sample) else best


def _has_blanks_between_numbers(sample: str) -> bool:
    """Whether each of the first lines has three numbers in a row with blanks between them and no tab."""
    lines = [line for line in sample.splitlines()[:_SAMPLE_ROWS] if line.strip()]
    return all(_NUMBERS.search(line) for line in lines[:-1] or lines)


_AS_HEADER, _BELOW_TITLES = 2, 1


def _evenness(sample: str, delimiter: str, quoting: int) -> tuple[int, float, int]:
    """Whether a delimiter splits the first records as it splits the header, or a header below titles; how many tenths
    of them; and into how many cells.
    """
    reader = _reader(io.StringIO(sample, newline=""), delimiter, quoting=quoting)
    records = [
        record
        for record in islice(_untroubled(reader), _SAMPLE_ROWS)
        if record and (len(record) > 1 or record[0].strip())
    ]
    if len(sample) >= _SAMPLE and len(records) > 1:
        records.pop()  # the sample may end in the middle of this record
    if not records:
        return 0, 0.0, 0
    widths = [_width(record) for record in records]
    full = [len(record) for record in records]
    usual = Counter(full[1:] or full).most_common(1)[0][0]
    below = list(zip(widths, full, strict=True))[1:]
    fits = sum(w <= usual <= f for w, f in below) / len(below) if below else 1.0
    head = usual == full[0] or widths[0] == usual or (full[0] > 1 and usual == full[0] + 1)
    if usual > 1 and head and fits > 0.8:
        return _AS_HEADER, round(fits, 1), usual
    if usual > 1 and fits > 0.8 and delimiter != " ":
        below_titles = records[next(k for k, width in enumerate(full) if width == usual)]
        words = full[0] < usual and all(written(cell) is None for cell in below_titles)
        return _BELOW_TITLES if words else 0, round(fits, 1), usual
    alike = 2 * full.count(full[0]) > len(full) and delimiter != " "
    return 0, 0.0, full[0] if alike else 0  # reading the file itself will report the lines that differ


def _width(record: list[str]) -> int:
    """Cells up to the last that is not empty."""
    return max((k for k, cell in enumerate(record, start=1) if cell.strip()), default=0)


def _untroubled(records: Iterator[list[str]]) -> Iterator[list[str]]:
    """Records up to the first that breaks the rules of the format: reading the file itself will report it."""
    while True:
        try:
            yield next(records)
        except (StopIteration, csv.Error):
            return
