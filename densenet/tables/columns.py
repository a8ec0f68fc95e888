"""Rows of cells as a table: what kind every column is, decided for the whole file."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from densenet.tables.cells import Column, Problem, read_column
from densenet.tables.files import Cells
from densenet.tables.messages import TableError, counted, listed, nearest, shown_cell
from densenet.tables.numbers import Decimal, written
from densenet.tables.table import Reading, Table

_MOST_PROBLEMS = 10


def _are_coded(cells: Sequence[str], column: Column) -> bool:
    """Whether whole numbers are written with leading zeros, as labels are."""
    whole = [cell for cell in cells if cell.isdecimal()]
    coded = any(len(cell) > 1 and cell[0] == "0" for cell in whole)
    return column.kind == "number" and not column.how and coded and len(whole) == sum(column.values == column.values)


def read_columns(
    cells: Cells,
    target: str | int | None = None,
    *,
    decimal: Decimal | None = None,
    dayfirst: bool | None = None,
    text: str | Collection[str] = (),
    numeric: str | Collection[str] = (),
    drop: str | Collection[str] = (),
    like: Reading | None = None,
) -> Table:
    """The table that the cells of a file make.

    Parameters
    ----------
    cells : Cells
    target : str or int, optional
    decimal, dayfirst, text, numeric, drop
        As in `densenet.datasets.read_csv`.
    like : Reading, optional
        How the file was read that a model has learned from; what is passed above goes before it.

    Raises
    ------
    TableError
        For all columns at once that have no one reading.
    """
    goal = named_target(cells, target)
    given = {"text": text, "numeric": numeric, "drop": drop}
    texts, numbers, dropped = (named_columns(cells, names, option) for option, names in given.items())
    twice = [name for name in texts if name in numbers]
    if twice:
        reason = f"read_csv expects a column to be text or numeric, got both for {listed(twice)}"
        raise TableError(reason, {"numeric": [name for name in numbers if name not in twice] or None})
    if goal is not None and goal in dropped:
        raise dropped_target(goal, dropped)
    like = like or Reading()
    read: dict[str, Column] = {}
    otherwise: dict[str, Problem] = {}
    for name, column in zip(cells.names, cells.columns, strict=True):
        if name in dropped:
            continue
        how = like.columns.get(name, {})
        kind: Literal["number", "date", "text"] | None = None
        if name in texts or (name not in numbers and how.get("kind") == "text"):
            kind = "text"
        elif name in numbers or how.get("forced"):
            kind = "date" if how.get("kind") == "date" else "number"
        order = how.get("dayfirst") if dayfirst is None else dayfirst
        known: dict[str, Any] = {"mark": how.get("mark"), "magnitudes": how.get("magnitudes", False), "dayfirst": order}
        sign = decimal or how.get("decimal") or (like.decimal if kind == "number" else None)
        read[name] = read_column(column, kind=kind, decimal=sign, **known)
        if name == goal and kind is None and _are_coded(column, read[name]):
            read[name] = read_column(column, kind="text")
            read[name].said.append("labels with leading zeros are words (--numeric makes numbers of them)")
        if (problem := read[name].problem) is not None and sign is not None:
            again = read_column(column, kind=kind, **known)
            if again.problem is None:  # it has one reading, whatever the others have
                read[name] = again
                if sign == decimal:
                    again.said.append(f"written with another decimal sign than {decimal!r}")
                    otherwise[name] = replace(problem, remedy={"decimal": None})
    if not read:
        raise TableError(f"read_csv finds no column left in {cells.path}", {"drop": None})
    if otherwise and not any(column.how.get("decimal") == decimal for column in read.values()):
        for name, problem in otherwise.items():
            read[name].problem = problem
    found = decimal or _settle_by_others(read, cells, like.decimal, numbers)
    _check_wanted_kinds(read, cells, like, texts)
    problems = {name: column.problem for name, column in read.items() if column.problem is not None}
    if problems:
        raise _error(problems, read, cells, {"numeric": numbers, "text": texts}, like)
    table = Table({name: column.values for name, column in read.items()}, goal)
    table.reading = Reading(
        {name: {"kind": column.kind} | column.how for name, column in read.items() if column.how}, found, cells.header
    )
    table.said = cells.said + _said(read, like) + _totals(read, cells)
    return table


def named_columns(cells: Cells, names: str | Iterable[str], option: str) -> list[str]:
    """The columns that an option names, each alone or several with commas between them (quoted as in CSV).

    Raises
    ------
    TableError
        If there is no such column; the remedy is the nearest that there is, or to name the others only.
    """
    found: list[str] = []
    for entry in [names] if isinstance(names, str) else list(names):
        parts = [entry] if entry in cells.names else next(csv.reader(io.StringIO(entry), skipinitialspace=True), [])
        found += parts
    unknown = [name for name in found if name not in cells.names]
    if unknown:
        reason = f"read_csv finds no column {listed(unknown)} in {cells.path}; its columns are {listed(cells.names)}"
        meant = [name if name in cells.names else nearest(name, cells.names) for name in found]
        raise TableError(reason, {option: list(dict.fromkeys(filter(None, meant))) or None})
    return found


def dropped_target(target: str, dropped: Iterable[str]) -> TableError:
    """The refusal of a target among the columns to leave out; the remedy leaves out the others."""
    reason = f"the target {shown_cell(target)} cannot be dropped, too"
    return TableError(reason, {"drop": [name for name in dropped if name != target] or None})


def named_target(cells: Cells, target: str | int | None) -> str | None:
    """The name of the target, which may be given by its place.

    Raises
    ------
    TableError
        If there is no such column; the remedy is the nearest name that there is, or the last.
    """
    names = cells.names
    if target is None or (isinstance(target, str) and target in names):
        return target
    if isinstance(target, int) and not isinstance(target, bool) and -len(names) <= target < len(names):
        return names[target]
    reason = f"read_csv finds no target column {target!r} in {cells.path}; its columns are {listed(names)}"
    if any("--no-header" in line for line in cells.said):
        raise TableError(f"{reason}: are these the first row", {"header": False, "target": f"x{len(names)}"})
    near = nearest(target, names) if isinstance(target, str) else None
    raise TableError(f"{reason}{'' if near else '; the last of them is'}", {"target": near or names[-1]})


def _settle_by_others(
    read: dict[str, Column], cells: Cells, usual: Decimal | None, forced: Collection[str]
) -> Decimal | None:
    """Decide "1,234" by what other columns of the file show of its decimal sign, else by the usual one; return it."""
    shown: set[Decimal] = {column.how["decimal"] for column in read.values() if "decimal" in column.how}
    unclear = [name for name, column in read.items() if column.problem and "decimal" in column.problem.remedy]
    plain = [name for name, column in read.items() if column.kind == "number" and not column.how]
    doubtful = {name: first for name in plain if (first := _pointed_thousand(cells.column(name))) is not None}
    if any(_has_points(cells.column(name)) for name in plain if name not in doubtful):
        shown.add(".")
    if not shown and usual:
        shown.add(usual)
    if not shown and cells.delimiter == ";":  # where commas are decimal, as often as not
        for name, (row, cell) in doubtful.items():
            read[name].problem = Problem(row, cell, "has two readings", {"decimal": True})
    if len(shown) != 1:
        return None
    (sign,) = shown
    for name in unclear:
        read[name] = read_column(cells.column(name), kind="number" if name in forced else None, decimal=sign)
    if sign == ",":  # "1.234" of such a file is a thousand
        for name in doubtful:
            read[name] = read_column(cells.column(name), decimal=",")
    return sign


def _pointed_thousand(column: Sequence[str]) -> tuple[int, str] | None:
    """The first cell such as "1.234" of a plain column whose points may all be those of thousands, and its row."""
    first = None
    for row, cell in enumerate(column):
        if "." in cell and cell != ".":
            number = written(cell)
            if number is None or number.values[","] is None:
                return None
            first = first or (row, cell)
    return first


def _has_points(column: Sequence[str]) -> bool:
    """Whether a cell can only have a decimal point."""
    pointed = (written(cell) for cell in column if "." in cell)
    return any(number.values["."] is not None and number.values[","] is None for number in pointed if number)


def _check_wanted_kinds(read: dict[str, Column], cells: Cells, like: Reading, texts: Collection[str]) -> None:
    """Mark as problems columns of words that a model knows as numbers or dates, and what makes words of them."""
    for name, column in read.items():
        wanted = like.columns.get(name, {}).get("kind")
        if wanted in ("number", "date") and column.problem is not None and "text" in column.problem.remedy:
            column.problem = replace(column.problem, remedy={"numeric": True})
        if wanted in ("number", "date") and column.kind == "text" and not column.problem and name not in texts:
            rows = [row for row, value in enumerate(column.values) if value is not None]
            if rows:
                cell = cells.column(name)[rows[0]]
                column.problem = Problem(rows[0], cell, f"is no {wanted}, as the model expects", {"numeric": True})
        if wanted == "date" and column.kind == "number" and not column.problem and not column.how.get("forced"):
            rows = [row for row, value in enumerate(column.values) if value == value]
            if rows:
                cell = cells.column(name)[rows[0]]
                column.problem = Problem(rows[0], cell, "is no date, as the model expects", {"numeric": True})


def _error(
    problems: Mapping[str, Problem],
    read: Mapping[str, Column],
    cells: Cells,
    given: Mapping[str, list[str]],
    like: Reading,
) -> TableError:
    """One error for all columns without one reading, and the options that settle them."""
    remedy: dict[str, Any] = {}
    lines = []
    for name, problem in problems.items():
        lines.append(f"{shown_cell(name)} line {cells.lines[problem.row]} {shown_cell(problem.cell)} {problem.reason}")
        for option in problem.remedy:
            if option in ("numeric", "text"):
                remedy.setdefault(option, given[option].copy()).append(name)
    wanted = [problem.remedy["decimal"] for problem in problems.values() if "decimal" in problem.remedy]
    if wanted and not any(wanted):
        remedy["decimal"] = None
        lines.append("by default the columns show their decimal sign")
    elif wanted:
        commas = Counter(column.how.get("decimal") for column in read.values())
        remedy["decimal"] = "," if commas[","] or cells.delimiter == ";" else "."
        example = next(p.cell for p in problems.values() if "decimal" in p.remedy)
        number = written(example)
        if number is not None:
            lines.append(
                f"{example!r} is {number.values['.']:.12g} with decimal '.', {number.values[',']:.12g} with ','"
            )
    if any("dayfirst" in problem.remedy for problem in problems.values()):
        remedy["dayfirst"] = True
        lines.append("the day first, or not (dayfirst=False, --no-dayfirst)")
    strange = _strange_lines(problems, cells)
    if strange:
        remedy = {option: value for option, value in remedy.items() if option not in ("numeric", "text")}
        remedy["skip"] = [*cells.skip, *strange]
    more = len(lines) - 2 * _MOST_PROBLEMS
    shown = lines[: 2 * _MOST_PROBLEMS] + ([f"{more} more columns"] if more > 0 else [])
    count = f"{len(problems)} column{'s' if len(problems) > 1 else ''} of {cells.path} can't be read in one way only"
    if strange:
        shown.append(f"without line{'s' if len(strange) > 1 else ''} {', '.join(map(str, strange))}")
    elif any(name not in given["numeric"] for name in remedy.get("numeric") or ()):
        shown.append("numeric makes such cells missing" + ("" if like.columns else ", text keeps them as words"))
    return TableError(f"read_csv: {count}: {'; '.join(shown)}", remedy)


_AT_ENDS = 3
_DIGIT = re.compile(r"\d(?!$)|^\d")
_TOTALS = re.compile(
    r"(?i)(grand |sub)?totals?|sums?|averages?|means?|gesamt|summe|mittelwert|total général|moyenne|totale"
)
_NOTES = re.compile(rf"(?i)({_TOTALS.pattern[4:]}|notes?|sources?|quelle|copyright|last updated)\b.*")


def _strange_lines(problems: Mapping[str, Problem], cells: Cells) -> list[int]:
    """The lines whose cells alone spoil columns of numbers: the header again, units below it, notes and totals at the
    end; none where other lines do, too.
    """
    spoilt = {name: p.rows for name, p in problems.items() if "numeric" in p.remedy or "text" in p.remedy}
    rows = {row for name in spoilt for row in spoilt[name]}
    if not all(spoilt.values()) or len(rows) > _MOST_PROBLEMS:
        return []
    odd = {row: {name: cells.column(name)[row] for name in spoilt if row in spoilt[name]} for row in rows}
    first = [cell for row in rows if row < _AT_ENDS for cell in odd[row].values()]
    units = len(first) > 1 or all(cell[:1] in "[(" and cell[-1:] in "])" for cell in first)
    for row, found in odd.items():
        again = all(cell == name for name, cell in found.items())
        at_end = row >= len(cells.lines) - _AT_ENDS and any(_NOTES.fullmatch(cell) for cell in found.values())
        below_header = (
            row < _AT_ENDS and units and not any(_DIGIT.search(cell.strip("[]()")) for cell in found.values())
        )
        if not (again or below_header or at_end):
            return []
    return sorted(cells.lines[row] for row in rows)


def _totals(read: Mapping[str, Column], cells: Cells) -> list[str]:
    """A note on a last row that is named a total of the others."""
    for name, column in read.items():
        cell = cells.column(name)[-1]
        if column.kind == "text" and _TOTALS.fullmatch(cell) and cells.column(name).count(cell) == 1:
            return [
                f"line {cells.lines[-1]} may be no row but {shown_cell(cell)} of the others (--skip {cells.lines[-1]})"
            ]
    return []


def _said(read: Mapping[str, Column], like: Reading) -> list[str]:
    lines = [f"{shown_cell(name)}: {line}" for name, column in read.items() for line in column.said]
    words: Counter[str] = Counter()
    where: dict[str, list[str]] = {}
    for name, column in read.items():
        for word, count in column.words.items():
            words[word] += count
            where.setdefault(word, []).append(name)
    lines += [
        f"{counted(count, 'cell')} {shown_cell(word)} read as missing ({listed(where[word])})"
        for word, count in words.items()
    ]
    for name, how in like.columns.items():
        if name not in read:
            continue
        column = read[name]
        if column.kind == "number" and how.get("mark") != column.how.get("mark") and not how.get("forced"):
            was, now = how.get("mark"), column.how.get("mark")
            lines.append(f"{shown_cell(name)}: the model's numbers had {was or 'no unit'}, these have {now or 'none'}")
    return lines
