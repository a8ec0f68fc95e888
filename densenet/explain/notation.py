r"""The notes' notation in plain text, LaTeX and HTML.

Names are written once, as plain text: ``w(1)_{1,3}`` joins neuron 1 to neuron 3 of dense layer 1, ``f'(z(2)_1)`` is a
slope, ``dE/dz(4)_1`` a derivative, ``y^_1`` an output. A derivation is a list of sections; the same sections become
text, LaTeX and HTML.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from densenet._display import html_table, text_table
from densenet._types import Array

_NAME = r"(?:new )?[A-Za-z][A-Za-z0-9]*'?\(\d+\)(?:_(?:\{[\d,]+\}|\d+)|\^T)?"
_OUTPUT = r"y\^(?:_\d+)?"
_TOKEN = re.compile(
    rf"d(?:E|{_NAME})/d(?:{_NAME}|{_OUTPUT})|{_NAME}|{_OUTPUT}|(?<![A-Za-z])[py]_\d+|\balpha\b|[A-Z]\w+(?=\([az]\()"
)
_PARTS = re.compile(
    r"(?P<new>new )?(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<prime>'?)\((?P<layer>\d+)\)"
    r"(?:_\{?(?P<below>[\d,]+)\}?|\^(?P<turned>T))?"
)
_TIMES = re.compile(r"(?:(?<=[\d)}])|^) x (?=[-(\d]|f'|exp\(|$)")
"""A product: a cross between numbers, brackets and names, not the x of a sentence."""
_POWER = re.compile(r"(?<=\d)e([+-]\d+)")
_WORDS = re.compile(r" ?(?<![\\A-Za-z])[A-Za-z]{2,}(?: [A-Za-z]{2,})* ?")
_PATH = re.compile(r"(?:\d+|bias)(?:-(?:\d+|\w+ [\w ]+))+|\d[\d,]* smaller")
_LATEX_SPECIAL = re.compile(r"([&%$#_{}])")


def digits(value: Any) -> str:
    """A number as it is shown everywhere: six digits, and 0 without a sign."""
    return f"{float(value) + 0.0:.6g}"


def signed(value: Any) -> str:
    """A number inside a product or sum: in brackets where it is negative."""
    return f"({digits(value)})" if value < 0 else digits(value)


def number_word(n: int) -> str:
    """A small number as a word."""
    words = "no one two three four five six seven eight nine ten eleven twelve".split()
    return words[n] if n < len(words) else f"{n:,}"


@dataclass(frozen=True)
class Line:
    """One equation: left = formula = numbers = value, and a remark; what is empty is left out."""

    left: str
    formula: str = ""
    numbers: str = ""
    value: float | None = None
    remark: str = ""

    @property
    def sides(self) -> list[str]:
        """What stands between the equal signs."""
        value = "" if self.value is None else digits(self.value)
        shown = [self.left, self.formula, self.numbers, value]
        return [side for i, side in enumerate(shown) if side and side not in shown[:i]]


MOST_ROWS = 8
"""The most rows of a batch that a `Grid` shows."""
_COLUMNS = 8
"""The most columns beside one another."""


@dataclass(frozen=True, eq=False)
class Grid:
    """An equation between whole arrays, with its numbers as a matrix.

    Attributes
    ----------
    equation : Line
        Left side, formula and remark.
    values : ndarray (rows, columns)
    rows : str
        What the row labels begin with, such as "row"; they count from `first`.
    columns : str
        What the column labels begin with; they count from 1, and are left out where it is empty.
    first : int
    """

    equation: Line
    values: Array
    rows: str = "row"
    columns: str = "neuron"
    first: int = 0

    @property
    def hidden(self) -> int:
        """Rows that are not shown."""
        return max(0, len(self.values) - MOST_ROWS) if self.rows == "row" else 0

    def tables(self) -> list[list[list[str]]]:
        """The numbers with their labels, as many columns at a time as fit beside one another."""
        shown = self.values[: len(self.values) - self.hidden]
        found = []
        for start in range(0, shown.shape[1], _COLUMNS):
            part = shown[:, start : start + _COLUMNS]
            head = [f"{self.columns} {start + j + 1}".strip() for j in range(part.shape[1])] if self.columns else []
            labels = [f"{self.rows} {self.first + i}" if self.rows else "" for i in range(len(part))]
            rows = [[label, *map(digits, row)] for label, row in zip(labels, part, strict=True)]
            found.append([["", *head], *rows] if head else rows)
        return found


@dataclass(frozen=True)
class Section:
    """A heading, sentences, matrices and lines of equations; `loud` is a sentence that nobody may miss."""

    title: str
    sentences: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    loud: str = ""
    grids: tuple[Grid, ...] = ()


def whose_error(sample: int | None, rows: int, batch: str = "sample=None", row: str = "sample=0") -> str:
    """Whose error E is, and how to get the other's: what the first line of every output says.

    Parameters
    ----------
    sample : int or None
        Row of x, from 0; None for the batch.
    rows : int
        Rows of x.
    batch, row : str
        What a caller passes to get the whole batch, and row 0 alone.

    Examples
    --------
    >>> whose_error(0, 4)
    'row 0 of x alone (for the whole batch of 4 rows: sample=None)'
    >>> whose_error(None, 4)
    'the whole batch of 4 rows (for row 0 of x alone: sample=0)'
    """
    if rows == 1:
        return "row 0 of x, the only one"
    if sample is None:
        return f"the whole batch of {rows} rows (for row 0 of x alone: {row})"
    return f"row {sample} of x alone (for the whole batch of {rows} rows: {batch})"


# -- text ----------------------------------------------------------------------------------------------------------


def to_text(sections: Sequence[Section]) -> str:
    """The sections as plain text."""
    out: list[str] = []
    for section in sections:
        out += ["", section.title]
        for sentence in (section.loud, *section.sentences):
            out += textwrap.wrap(sentence, 110, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
        for grid in section.grids:
            out += _grid_text(grid)
        width = max((len(line.left) for line in section.lines if len(line.left) <= 40), default=0)
        sides = [" = ".join([line.left.ljust(width), *line.sides[1:]]) for line in section.lines]
        remarks = max((len(side) for side in sides if len(side) <= 80), default=0)
        for side, line in zip(sides, section.lines, strict=True):
            out.append(f"  {side.ljust(remarks)}   {line.remark}".rstrip())
    return "\n".join(out[1:])


def _grid_text(grid: Grid) -> list[str]:
    remark = f"   {grid.equation.remark}" if grid.equation.remark else ""
    out = [f"  {' = '.join(grid.equation.sides)}{remark}"]
    for table in grid.tables():
        out += textwrap.indent(text_table(table, "<" + ">" * (len(table[0]) - 1)), "    ").splitlines()
    return [*out, *([f"    {_hidden(grid)}"] if grid.hidden else [])]


def _hidden(grid: Grid) -> str:
    return f"... {grid.hidden:,} more rows"


# -- LaTeX ---------------------------------------------------------------------------------------------------------


def latex(text: str) -> str:
    r"""Names, products and numbers in LaTeX, for use in mathematics.

    Examples
    --------
    >>> latex("w(1)_{1,3}"), latex("f'(z(2)_1)")
    ('w^{(1)}_{1,3}', "f'(z^{(2)}_{1})")
    >>> latex("dE/dw(4)_{2,1} x 2e-05") == r"\frac{\partial E}{\partial w^{(4)}_{2,1}} \cdot 2\cdot 10^{-5}"
    True
    """
    if _PATH.fullmatch(text):
        return _latex_words(text, "text")
    out, at = [], 0
    for match in _TOKEN.finditer(text):
        out += [_latex_between(text[at : match.start()]), _latex_token(match[0])]
        at = match.end()
    return "".join([*out, _latex_between(text[at:])])


def _latex_between(text: str) -> str:
    text = _POWER.sub(lambda m: rf"\cdot 10^{{{int(m[1])}}}", text).replace("%", r"\%")
    return _WORDS.sub(lambda m: rf"\text{{{m[0]}}}", text).replace(" x ", r" \cdot ")


def _latex_token(token: str) -> str:
    above, slash, below = token.partition("/d")
    if slash:
        sign = r"\partial " if above == "dE" else "d"
        return rf"\frac{{{sign}{_latex_token(above[1:])}}}{{{sign}{_latex_token(below)}}}"
    if token == "alpha":
        return r"\alpha"
    if token.startswith("y^"):
        return r"\hat{y}" + (f"_{{{token[3:]}}}" if token[2:] else "")
    m = _PARTS.fullmatch(token)
    if m is None:
        name, _, below = token.partition("_")
        return f"{name}_{{{below}}}" if below else (name if name == "E" else rf"\mathrm{{{name}}}")
    name = m["name"] if len(m["name"]) == 1 else rf"\mathrm{{{m['name']}}}"
    new = (r",\,\mathrm{new}" if m["new"] else "") + (r"\,\top" if m["turned"] else "")
    return f"{name}{m['prime']}^{{({m['layer']}){new}}}" + (f"_{{{m['below']}}}" if m["below"] else "")


def _latex_sentence(text: str, style: str = "text") -> str:
    out, at = [], 0
    for match in _TOKEN.finditer(text):
        out += [_latex_words(text[at : match.start()], style), _latex_token(match[0])]
        at = match.end()
    return "".join([*out, _latex_words(text[at:], style)])


def _latex_words(text: str, style: str) -> str:
    escaped = _LATEX_SPECIAL.sub(r"\\\1", text)
    return rf"\{style}{{{escaped}}}" if text else ""


def to_latex(sections: Sequence[Section]) -> str:
    """The sections as one aligned block, for use inside display mathematics."""
    rows: list[str] = []
    for section in sections:
        rows.append("&" + _latex_sentence(section.title, "textbf"))
        rows += [r"&\quad " + _latex_sentence(part, "textbf") for part in textwrap.wrap(section.loud, 110)]
        for sentence in section.sentences:
            rows += [r"&\quad " + _latex_sentence(part) for part in textwrap.wrap(sentence, 110)]
        rows += [rf"&\quad {_grid_latex(grid)}" for grid in section.grids]
        for line in section.lines:
            first, *rest = (latex(side) for side in line.sides)
            remark = rf" \qquad {_latex_sentence(line.remark)}" if line.remark else ""
            rows.append(rf"&\quad {' = '.join([first, *rest])}{remark}")
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def _grid_latex(grid: Grid) -> str:
    shown = grid.values[: len(grid.values) - grid.hidden]
    body = [" & ".join(latex(digits(value)) for value in row) for row in shown]
    if grid.hidden:
        body.append(r"\vdots")
    columns, rows = "r" * shown.shape[1], r" \\ ".join(body)
    array = rf"\left[\begin{{array}}{{{columns}}} {rows} \end{{array}}\right]"
    remark = rf" \qquad {_latex_sentence(grid.equation.remark)}" if grid.equation.remark else ""
    return " = ".join([*(latex(side) for side in grid.equation.sides), array]) + remark


# -- HTML ----------------------------------------------------------------------------------------------------------


def html_text(text: str) -> str:
    """Names, products and numbers in HTML; everything else escaped.

    Examples
    --------
    >>> html_text("w(1)_{1,3}")
    '<i>w</i><sup>(1)</sup><sub>1,3</sub>'
    >>> html_text("dE/dz(4)_1 < 1")
    '&part;<i>E</i>/&part;<i>z</i><sup>(4)</sup><sub>1</sub> &lt; 1'
    """
    out, at = [], 0
    for match in _TOKEN.finditer(text):
        out += [_html_words(text[at : match.start()]), _html_token(match[0])]
        at = match.end()
    return "".join([*out, _html_words(text[at:])])


def _html_words(text: str) -> str:
    escaped = html.escape(_TIMES.sub(" \u00b7 ", text), quote=False).replace("\u00b7", "&middot;")
    return _POWER.sub(lambda m: f"&middot;10<sup>{int(m[1])}</sup>", escaped)


def _html_token(token: str) -> str:
    above, slash, below = token.partition("/d")
    if slash:
        sign = "&part;" if above == "dE" else "d"
        return f"{sign}{_html_token(above[1:])}/{sign}{_html_token(below)}"
    if token == "alpha":
        return "<i>&alpha;</i>"
    if token.startswith("y^"):
        return "<i>&#375;</i>" + (f"<sub>{token[3:]}</sub>" if token[2:] else "")
    m = _PARTS.fullmatch(token)
    if m is None:
        name, _, below = token.partition("_")
        return f"<i>{name}</i><sub>{below}</sub>" if below else (f"<i>{name}</i>" if name == "E" else name)
    name = f"<i>{m['name']}</i>" if len(m["name"]) == 1 else m["name"]
    prime = html.escape(m["prime"], quote=False)
    new = (" new" if m["new"] else "") + (" T" if m["turned"] else "")
    return f"{name}{prime}<sup>({m['layer']}){new}</sup>" + (f"<sub>{m['below']}</sub>" if m["below"] else "")


def to_html(sections: Sequence[Section]) -> str:
    """The sections as a self-contained block of HTML without scripts; matrices are folded under their equations."""
    out = ['<div style="line-height:1.5;max-width:60em">']
    for section in sections:
        out.append(f"<h4>{html_text(section.title)}</h4>")
        if section.loud:
            out.append(f"<p><strong>{html_text(section.loud)}</strong></p>")
        out += [f"<p>{html_text(sentence)}</p>" for sentence in section.sentences]
        out += [_grid_html(grid) for grid in section.grids]
        if section.lines:
            out.append(f"<table><tbody>{''.join(map(_html_row, section.lines))}</tbody></table>")
    return "\n".join([*out, "</div>"])


def _html_row(line: Line) -> str:
    """A line as a row of a table: the equation breaks where the page ends."""
    first, *rest = line.sides
    cells = (html_text(first), "".join(f" = {html_text(side)}" for side in rest), html_text(line.remark))
    style = "text-align:left;vertical-align:baseline;padding:1px 8px;white-space:"
    wraps = ("nowrap", "normal", "normal")
    return "<tr>" + "".join(f'<td style="{style}{w}">{c}</td>' for w, c in zip(wraps, cells, strict=True)) + "</tr>"


def _grid_html(grid: Grid) -> str:
    remark = f" &nbsp; {html_text(grid.equation.remark)}" if grid.equation.remark else ""
    summary = f"<summary>{' = '.join(map(html_text, grid.equation.sides))}{remark}</summary>"
    tables = []
    for table in grid.tables():
        head, rows = (table[0], table[1:]) if grid.columns else (None, table)
        tables.append(html_table(head, rows, "<" + ">" * (len(table[0]) - 1), cell=html_text))
    more = f"<p>{_hidden(grid)}</p>" if grid.hidden else ""
    return f'<details>{summary}<div style="overflow-x:auto">{"".join(tables)}</div>{more}</details>'
