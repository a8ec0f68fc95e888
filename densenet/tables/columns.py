"""Rows of cells as a table: what kind every column is, decided for the whole file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from densenet.tables.cells import Column, Decimal, Problem, read_column, written
from densenet.tables.files import Cells
from densenet.tables.messages import TableError, listed, shown_cell
from densenet.tables.table import Reading, Table

_MOST_PROBLEMS = 10


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
    goal = _find_target(cells, target)
    texts, numbers, dropped = (named_columns(cells, names) for names in (text, numeric, drop))
    twice = [name for name in texts if name in numbers]
    if twice:
        raise TableError(f"read_csv expects a column to be text or numeric, got both for {listed(twice)}")
    if goal in dropped:
        raise TableError(f"the target {shown_cell(goal)} cannot be dropped, too")
    like = like or Reading()
    read: dict[str, Column] = {}
    for name, column in zip(cells.names, cells.columns, strict=True):
        if name in dropped:
            continue
        how = like.columns.get(name, {})
        kind: Literal["number", "text"] | None = None
        if name in texts or (name not in numbers and how.get("kind") == "text"):
            kind = "text"
        elif name in numbers or how.get("forced"):
            kind = "number"
        order = how.get("dayfirst") if dayfirst is None else dayfirst
        sign = decimal or how.get("decimal") or (like.decimal if kind == "number" else None)
        read[name] = read_column(column, kind=kind, decimal=sign, mark=how.get("mark"), dayfirst=order)
        if read[name].problem is not None and sign != decimal:  # this file's decimal sign is not the model's
            again = read_column(column, kind=kind, dayfirst=order)
            read[name] = read[name] if again.problem is not None else again
    if not read:
        raise TableError("read_csv finds no column left")
    found = decimal or _settle_by_others(read, cells, like.decimal, numbers)
    _check_wanted_kinds(read, cells, like, texts)
    problems = {name: column.problem for name, column in read.items() if column.problem is not None}
    if problems:
        raise _error(problems, read, cells)
    table = Table({name: column.values for name, column in read.items()}, goal)
    table.reading = Reading(
        {name: {"kind": column.kind} | column.how for name, column in read.items() if column.how}, found, cells.header
    )
    table.said = cells.said + _said(read, like)
    return table


def named_columns(cells: Cells, names: str | Iterable[str]) -> list[str]:
    """The columns that are named, each alone or several with commas between them (quoted as in CSV).

    Raises
    ------
    TableError
        If there is no such column.
    """
    found: list[str] = []
    for entry in [names] if isinstance(names, str) else list(names):
        parts = [entry] if entry in cells.names else next(csv.reader(io.StringIO(entry), skipinitialspace=True), [])
        for name in parts:
            if name not in cells.names:
                raise TableError(
                    f"read_csv finds no column {shown_cell(name)} in {cells.path}; its columns are "
                    f"{listed(cells.names)}"
                )
            found.append(name)
    return found


def _find_target(cells: Cells, target: str | int | None) -> str | None:
    names = cells.names
    if target is None or (isinstance(target, str) and target in names):
        return target
    if isinstance(target, int) and not isinstance(target, bool) and -len(names) <= target < len(names):
        return names[target]
    reason = f"read_csv finds no target column {target!r} in {cells.path}; its columns are {listed(names)}"
    if any("--no-header" in line for line in cells.said):
        raise TableError(f"{reason}: are these the first row", {"header": False, "target": f"x{len(names)}"})
    raise TableError(reason)


def _settle_by_others(
    read: dict[str, Column], cells: Cells, usual: Decimal | None, forced: Collection[str]
) -> Decimal | None:
    """Decide "1,234" by what other columns of the file show of its decimal sign, else by the usual one; return it."""
    shown: set[Decimal] = {column.how["decimal"] for column in read.values() if "decimal" in column.how}
    unclear = [name for name, column in read.items() if column.problem and "decimal" in column.problem.remedy]
    plain = [name for name, column in read.items() if column.kind == "number" and not column.how]
    if (unclear or "," in shown) and "." not in shown and any(_has_points(cells.column(name)) for name in plain):
        shown.add(".")
    if not shown and usual:
        shown.add(usual)
    if len(shown) != 1:
        return None
    (sign,) = shown
    for name in unclear:
        read[name] = read_column(cells.column(name), kind="number" if name in forced else None, decimal=sign)
    if sign == ",":  # "1.234" of such a file is a thousand
        for name in plain:
            if any("." in cell for cell in cells.column(name)):
                read[name] = read_column(cells.column(name), decimal=",")
    return sign


def _has_points(column: Sequence[str]) -> bool:
    """Whether a cell can only have a decimal point."""
    pointed = (written(cell) for cell in column if "." in cell)
    return any(number.values["."] is not None and number.values[","] is None for number in pointed if number)


def _check_wanted_kinds(read: dict[str, Column], cells: Cells, like: Reading, texts: Collection[str]) -> None:
    """A column that a model knows as numbers is not words all of a sudden."""
    for name, column in read.items():
        wanted = like.columns.get(name, {}).get("kind")
        if wanted in ("number", "date") and column.kind == "text" and not column.problem and name not in texts:
            rows = [row for row, value in enumerate(column.values) if value is not None]
            if rows:
                cell = cells.column(name)[rows[0]]
                remedy = {"numeric": True} if wanted == "number" else {}
                column.problem = Problem(rows[0], cell, f"is no {wanted}, as the model expects", remedy)


def _error(problems: Mapping[str, Problem], read: Mapping[str, Column], cells: Cells) -> TableError:
    """One error for all columns without one reading, and the options that settle them."""
    remedy: dict[str, Any] = {}
    lines = []
    for name, problem in problems.items():
        lines.append(f"{shown_cell(name)} line {cells.lines[problem.row]} {shown_cell(problem.cell)} {problem.reason}")
        for option in problem.remedy:
            if option in ("numeric", "text"):
                remedy.setdefault(option, []).append(name)
    if any("decimal" in problem.remedy for problem in problems.values()):
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
    more = len(lines) - 2 * _MOST_PROBLEMS
    shown = lines[: 2 * _MOST_PROBLEMS] + ([f"{more} more columns"] if more > 0 else [])
    count = f"{len(problems)} column{'s' if len(problems) > 1 else ''} of {cells.path} can't be read in one way only"
    kept = "numeric makes such cells missing" if "numeric" in remedy else ""
    return TableError(f"read_csv: {count}: {'; '.join([*shown, *filter(None, [kept])])}", remedy)


def _said(read: Mapping[str, Column], like: Reading) -> list[str]:
    lines = [f"{shown_cell(name)}: {line}" for name, column in read.items() for line in column.said]
    words: Counter[str] = Counter()
    where: dict[str, list[str]] = {}
    for name, column in read.items():
        for word, count in column.words.items():
            words[word] += count
            where.setdefault(word, []).append(name)
    lines += [
        f"{count:,} {'cells' if count > 1 else 'cell'} {shown_cell(word)} read as missing ({listed(where[word])})"
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
