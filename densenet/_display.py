"""Tables as text and as HTML: what objects show when they are printed, and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence


def text_table(rows: Sequence[Sequence[str]], align: str) -> str:
    """Rows with their columns below one another, two blanks between them.

    Parameters
    ----------
    rows : sequence of sequences of str
        The heads among them, where there are any.
    align : str
        "<" or ">" for each column: left or right.

    Examples
    --------
    >>> print(text_table([("array", "error"), ("dW", "0.25"), ("db", "1e-09")], "<>"))
    array  error
    dW      0.25
    db     1e-09
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    forms = [f"{{:{side}{width}}}" for side, width in zip(align, widths, strict=True)]
    return "\n".join("  ".join(map(str.format, forms, row)).rstrip() for row in rows)


def html_table(
    head: Sequence[str] | None, rows: Sequence[Sequence[str]], align: str, *, cell: Callable[[str], str] = html.escape
) -> str:
    """Rows as an HTML table.

    Parameters
    ----------
    head : sequence of str or None
    rows : sequence of sequences of str
    align : str
        "<" or ">" for each column: left or right.
    cell : callable, default `html.escape`
        Turns a cell's text into HTML.

    Examples
    --------
    >>> html_table(None, [("1 < 2",)], ">")
    '<table><tbody><tr><td style="padding:1px 8px;text-align:right">1 &lt; 2</td></tr></tbody></table>'
    """
    sides = {"<": "text-align:left;white-space:pre", ">": "text-align:right"}
    styles = [f"padding:1px 8px;{sides[side]}" for side in align]

    def line(row: Sequence[str], tag: str) -> str:
        cells = (f'<{tag} style="{style}">{cell(text)}</{tag}>' for style, text in zip(styles, row, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    top = "" if head is None else f"<thead>{line(head, 'th')}</thead>"
    return f"<table>{top}<tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
