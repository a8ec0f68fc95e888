"""Markdown and notebooks as HTML: formulas become MathML, which browsers draw themselves."""

from __future__ import annotations

import html
import re
from typing import Any

import jinja2
from latex2mathml.converter import convert
from mistune import HTMLRenderer
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath


class Renderer(IPythonRenderer):
    """nbconvert's Markdown with formulas as MathML and headings that can be linked to."""

    def block_math(self, body: str) -> str:
        """A formula on a line of its own."""
        return convert(body.strip(), display="block")

    def inline_math(self, body: str) -> str:
        """A formula in the text."""
        return convert(body.strip())

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        """A heading whose id is its text, as GitHub writes it."""
        name = re.sub(r"[^\w\- ]", "", html.unescape(re.sub("<[^>]*>", "", text))).strip().lower().replace(" ", "-")
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def block_code(self, code: str, info: str | None = None) -> str:
        """Python is coloured, prompts and all; other code is as it is."""
        if info == "python" and code.startswith(">>>"):
            info = "pycon"
        return super().block_code(code, info) if info else HTMLRenderer.block_code(self, code)

    def table(self, text: str) -> str:
        """A table that scrolls by itself where the screen is narrow."""
        return f'<div class="wide"><table>{text}</table></div>\n'


def to_html(markdown: str) -> str:
    """Markdown as HTML."""
    renderer = Renderer(escape=False)
    found = MarkdownWithMath(renderer=renderer)
    found.renderer.register("table", lambda _, text: renderer.table(text))
    return str(found.render(markdown))


class Exporter(HTMLExporter):
    """nbconvert's bare HTML of cells and outputs, with `to_html` for the text."""

    @jinja2.pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """The text of a cell."""
        return to_html(source)


def notebook_html(notebook: Any) -> str:
    """A notebook with the outputs that are stored in it."""
    exporter = Exporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(notebook)
    return str(body)
