"""The header of a file: names for its columns, and rows that do not fit them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from densenet.tables.cells import TEXT_MISSING, is_missing
from densenet.tables.messages import TableError, counted, listed, shown_cell
from densenet.tables.numbers import written
from densenet.tables.records import Record

_MOST_TITLES = 10
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


def is_title(names: list[str], records: list[Record]) -> bool:
    """Whether one cell stands above words in every column, and these above numbers."""
    filled = [row for _, row in records[: _MOST_TITLES + 2] if any(row)]
    if sum(map(bool, names)) > 1 or len(filled) < 2 or len(filled[0]) < 3 or not all(filled[0]):
        return False
    return all(written(cell) is None for cell in filled[0]) and any(written(cell) is not None for cell in filled[1])


def ragged(
    records: list[Record],
    head: tuple[int, list[str]],
    odd: list[int],
    path: str,
    skip: list[int | str],
    header: bool,
) -> TableError:
    """The refusal of lines with more or fewer cells than the header; titles above the header are told from rows."""
    start, names = head
    got = next(len(row) for line, row in records if line == odd[0])
    where = "as in the header" if header else f"as in line {start}"
    more = f", and {counted(len(odd) - 1, 'more line')} of another number" if len(odd) > 1 else ""
    reason = f"read_csv expects {len(names)} values in every line, {where}, got {got} in {path}, line {odd[0]}{more}"
    usual = Counter(len(row) for _, row in records).most_common(1)[0][0]
    title = next((k for k, (_, row) in enumerate(records) if len(row) == usual), 0)
    table = [row for _, row in records[title : title + _MOST_TITLES * 10]]
    if header and len(names) < usual and len(table) > 1 and _names_columns(table):
        titles = range(start, records[title][0])
        return TableError(f"{reason}; the header may begin in line {titles.stop}", {"skip": [*skip, *titles]})
    if usual != len(names):  # a header of another width than all rows
        remedy = {"header": False, "skip": [*skip, start], "target": f"x{usual}"}
        return TableError(f"{reason}; without the header's names", remedy)
    return TableError(reason, {"skip": [*skip, "ragged"]})


def _names_columns(table: list[list[str]]) -> bool:
    """Whether the first row holds words that do not come again below them."""
    words = [(k, cell) for k, cell in enumerate(table[0]) if cell and written(cell) is None]
    return bool(words) and not any(row[k] == cell for k, cell in words for row in table[1:] if k < len(row))


def fit_header(names: list[str], rows: list[list[str]], header: bool, delimiter: str) -> tuple[list[str], list[str]]:
    """Names for all columns of the rows, where a program wrote a delimiter too many or left a name out; and notes."""
    widths = {len(row) for row in rows}
    if not header:
        return [f"x{place}" for place in range(1, len(rows[0]) + 1)], []
    if len(widths) == 1:
        (width,) = widths
        if width < len(names) and not any(names[width:]):
            return names[:width], []  # the header ends in a delimiter
        if width == len(names) + 1:
            if not any(row[-1] for row in rows):
                return [*names, ""], []  # the rows end in a delimiter
            runs = [row[0] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
            different = delimiter in " \t" and _all_different(row[0] for row in rows)
            if len(names) > 1 and len(rows) > 1 and (runs or different):
                # R writes the names of rows without a name for their column.
                return ["row", *names], [
                    "the header has one name fewer than the rows: the first column is called 'row'"
                ]
    return names, []


def _all_different(cells: Iterator[str]) -> bool:
    seen: set[str] = set()
    for cell in cells:
        if cell in seen or is_missing(cell, TEXT_MISSING):
            return False
        seen.add(cell)
    return True


def own_names(names: list[tuple[int, str]]) -> tuple[list[str], list[str]]:
    """A unique name of one line for every column, and notes on names that were not unique."""
    names = [(place, _CONTROLS.sub(" ", name).strip()) for place, name in names]
    taken = {name for _, name in names}
    made: list[str] = []
    twice: dict[str, list[str]] = {}
    seen: set[str] = set()
    for place, name in names:
        own = name or f"column {place + 1}"
        if own in seen:
            count = 2
            while (own := f"{name} ({count})") in taken or own in seen:
                count += 1
            twice.setdefault(name, []).append(own)
        seen.add(own)
        made.append(own)
    return made, [
        f"{len(more) + 1} columns are named {shown_cell(n)}: called {listed([n, *more])}" for n, more in twice.items()
    ]
