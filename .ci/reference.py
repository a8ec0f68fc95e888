"""Build the API reference from the docstrings: `python .ci/reference.py [FOLDER]` writes pages, by default to site/.

A warning is an error: a docstring that the tool cannot read is a defect.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import densenet

warnings.simplefilter("error")
for name in densenet.__all__:
    getattr(densenet, name)  # what is loaded when it is asked for

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
pdoc.render.configure(docformat="numpy", search=True, footer_text=f"densenet {densenet.__version__}")
pdoc.pdoc("densenet", output_directory=folder)
pages = list(folder.rglob("*.html"))
print(f"{len(pages)} pages written to {folder}")
