"""Build the API reference from the docstrings: `python .ci/reference.py [FOLDER]` writes pages, by default to site/.

A warning is an error: a docstring that the tool cannot read is a defect.
"""

from __future__ import annotations

import contextlib
import sys
import typing
import warnings
from pathlib import Path

import pdoc

import densenet

warnings.simplefilter("error")
for name in densenet.__all__:
    getattr(densenet, name)  # what is loaded when it is asked for

for name, module in list(sys.modules.items()):  # the builder cannot resolve what dataclasses and named tuples generate
    for kind in vars(module).values() if name.startswith("densenet") else ():
        if isinstance(kind, type) and kind.__module__ == name:
            for made in (kind.__init__, kind.__new__):
                with contextlib.suppress(AttributeError, TypeError, NameError):
                    made.__annotations__ = typing.get_type_hints(made, vars(module))

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "site").resolve()
pdoc.render.configure(docformat="numpy", search=True, footer_text=f"densenet {densenet.__version__}")
with contextlib.chdir(
    Path(__file__).parent
):  # beside a folder of the same name the builder does not know which to take
    pdoc.pdoc("densenet", "!densenet.compiled", output_directory=folder)  # kernels need an extra to be imported
pages = list(folder.rglob("*.html"))
print(f"{len(pages)} pages written to {folder}")
