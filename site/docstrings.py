"""The API reference from the docstrings. A warning is an error: a docstring that cannot be read is a defect."""

from __future__ import annotations

import contextlib
import inspect
import sys
import typing
import warnings
from pathlib import Path

import pdoc
from pygments.formatters import HtmlFormatter

import densenet


def write_reference(folder: Path, templates: Path) -> None:
    """Write the reference's pages into a folder."""
    for name in densenet.__all__:
        getattr(densenet, name)  # what is loaded when it is asked for
    for name, module in list(sys.modules.items()):  # pdoc cannot resolve what dataclasses and named tuples generate
        for kind in list(vars(module).values()) if name.startswith("densenet") else ():
            if isinstance(kind, type) and kind.__module__ == name:
                for made in (kind.__init__, kind.__new__):
                    with contextlib.suppress(AttributeError, TypeError, NameError):
                        made.__annotations__ = typing.get_type_hints(made, vars(module))
    text = f"densenet {densenet.__version__}"
    dark = HtmlFormatter(style="github-dark").get_style_defs(".pdoc-code")
    pdoc.render.configure(docformat="numpy", search=True, footer_text=text, template_directory=templates)
    beside = contextlib.chdir(Path(__file__).parent)  # where densenet/ is, pdoc takes the name for a file's
    with warnings.catch_warnings(), beside:
        warnings.simplefilter("error")
        pdoc.pdoc("densenet", "!densenet.compiled", output_directory=folder)  # kernels need an extra to be imported
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        style = f"<style>@media (prefers-color-scheme: dark) {{\n{dark}\n}}</style></head>"
        page.write_text(text.replace("</head>", style, 1), encoding="utf-8")


def public_docs() -> list[tuple[str, str]]:
    """Each public name with its docstring, for the search."""
    found = ((name, getattr(densenet, name)) for name in densenet.__all__)
    return [(name, " ".join((inspect.getdoc(value) or "").split())) for name, value in found if callable(value)]
