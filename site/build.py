"""Build the site: `python site/build.py [FOLDER]` writes it, by default to build/site (extra `site`).

Front page, notebooks with their outputs, the explorer, the benchmarks with tables and pictures, the API reference, and
a search over all of it. Nothing is fetched: pages work from a disk. A link that leads nowhere is an error.
"""

from __future__ import annotations

import ast
import csv
import html
import json
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from docstrings import public_docs, write_reference
from gallery import write_gallery
from links import Document, dead_links
from pygments.formatters import HtmlFormatter
from text import notebook_html, to_html

SITE = Path(__file__).resolve().parent
ROOT = SITE.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(SITE), autoescape=True, trim_blocks=True)
LINK = re.compile(r'(?P<name>href|src)="(?P<to>[^"#:]+)(?P<at>#[^"]*)?"')


@dataclass(frozen=True)
class Page:
    """A page to be written: where, what stands in the browser's tab, and its content as HTML."""

    url: str
    title: str
    body: str


class Site:
    """A folder that pages and files are written to, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages: list[Page] = []
        self.sources: set[str] = set()

    def add(self, url: str, title: str, body: str, source: Path) -> None:
        """Write a page; its links to files of the project, relative to `source`, lead to their pages."""
        body = LINK.sub(lambda link: self._link(link, source, url), body)
        page = Page(url, title, body)
        root = "../" * url.count("/")
        target = self.folder / url
        target.parent.mkdir(parents=True, exist_ok=True)
        text = TEMPLATES.get_template("page.html").render(page=page, root=root, section=url.split("/")[0])
        target.write_text(text, encoding="utf-8")
        self.pages.append(page)

    def _link(self, link: re.Match[str], source: Path, url: str) -> str:
        path = (source.parent / link["to"]).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return link[0]  # a page of the site, or dead, which the check of links will say
        to = self.url_of(path.relative_to(ROOT))
        return f'{link["name"]}="{"../" * url.count("/")}{to}{link["at"] or ""}"'

    def url_of(self, path: Path) -> str:
        """The page of a file of the project; its copy where it has no page."""
        name = path.as_posix()
        if path.suffix == ".ipynb":
            return f"notebooks/{path.stem}.html"
        if path.suffix == ".md":
            return "index.html" if name == "README.md" else f"{path.with_suffix('').as_posix().lower()}.html"
        if path.parent.as_posix() == "benchmarks" and (ROOT / "benchmarks" / "results" / f"{path.stem}.json").exists():
            return f"benchmarks/{path.stem}.html"
        if path.suffix == ".py":
            return self.source_of(path)
        target = self.folder / "files" / path
        if (ROOT / path).is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)
        return f"files/{name}"

    def source_of(self, path: Path) -> str:
        """The page of a file of Python."""
        url = f"source/{path.with_suffix('.html').as_posix()}"
        if url not in self.sources:
            self.sources.add(url)
            code = f"# {path.as_posix()}\n\n````python\n{(ROOT / path).read_text(encoding='utf-8')}\n````\n"
            self.add(url, path.as_posix(), to_html(code), ROOT)
        return url


def build(folder: Path, *, reference: bool = True) -> list[str]:
    """Write all pages into a folder; the links that lead nowhere."""
    shutil.rmtree(folder, ignore_errors=True)
    site = Site(folder)
    for name, title in (("README.md", "densenet"), ("CHANGELOG.md", "Changes"), ("SECURITY.md", "Security")):
        site.add(site.url_of(Path(name)), title, to_html((ROOT / name).read_text(encoding="utf-8")), ROOT / name)
    add_notebooks(site)
    add_explorer(site)
    add_benchmarks(site)
    index = [entry(page) for page in site.pages]
    if reference:
        write_reference(folder / "api", SITE / "api")
        index += [
            {"title": f"dn.{name}", "url": f"api/densenet.html#{name}", "text": text} for name, text in public_docs()
        ]
    write_assets(folder, index)
    return dead_links(folder)


def add_notebooks(site: Site) -> None:
    """Notebooks as committed, the pages beside them, and their list with goals and time."""
    rows = []
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        first = notebook.cells[0].source
        title = first.splitlines()[0].lstrip("# ")
        goals, minutes = (re.search(rf"\*\*{word}\.\*\* (.*?)(?:\n|\. \*\*|$)", first) for word in ("Goals", "Time"))
        rows.append(f"| [{title}]({path.name}) | {goals[1] if goals else ''} | {minutes[1] if minutes else ''} |")
        site.add(site.url_of(path.relative_to(ROOT)), title, notebook_html(notebook), path)
    for path in sorted((ROOT / "notebooks").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        site.add(site.url_of(path.relative_to(ROOT)), text.splitlines()[0].lstrip("# "), to_html(text), path)
    text = "\n".join(["# Notebooks", "", "| notebook | what you can do after it | time |", "|---|---|---|", *rows])
    text += "\n\n[Notation](glossary.md) · [For teachers](for_teachers.md)\n"
    site.add("notebooks/index.html", "Notebooks", to_html(text), ROOT / "notebooks" / "index.md")


def add_explorer(site: Site) -> None:
    """The gallery: pages in which a reader touches a network, and their list."""
    rows = [f"| [{one.title}]({one.file}) | {one.text} |" for one in write_gallery(site.folder / "explorer")]
    text = "\n".join(["# Explorer", "", "| network | what to try |", "|---|---|", *rows])
    text += '\n\nFor a network of your own: `dn.explore(model, loss, x, y).save("page.html")`.\n'
    site.add("explorer/index.html", "Explorer", to_html(text), site.folder / "explorer" / "index.html")


def add_benchmarks(site: Site) -> None:
    """A page for each stored result: what was measured, on what machine, table and picture."""
    rows = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        script = script_of(path.stem)
        said = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        first, _, rest = said.partition("\n")
        title, _, more = first.rstrip(".").partition(": ")
        machine = json.loads(path.read_text(encoding="utf-8")).get("machine", {})
        picture = path.with_suffix(".png")
        body = TEMPLATES.get_template("benchmark.html").render(
            title=title,
            text=to_html(f"{more[:1].upper()}{more[1:]}.\n{rest}" if more else rest),
            picture=f"results/{picture.name}" if picture.exists() else "",
            table=table_of(path.with_suffix(".csv")),
            machine=machine,
            files=[f"results/{path.name}", f"results/{path.stem}.csv"],
            script=site.source_of(script.relative_to(ROOT)),
        )
        site.add(f"benchmarks/{path.stem}.html", title, body, ROOT / "benchmarks" / "index.md")
        rows.append(f"| [{path.stem}]({path.stem}.html) | {first} |")
    text = "\n".join(["# Benchmarks", "", "| results | what was measured |", "|---|---|", *rows])
    site.add("benchmarks/index.html", "Benchmarks", to_html(text), ROOT / "benchmarks" / "index.md")


def script_of(stem: str) -> Path:
    """The script that wrote a result: the one of the longest name that the result's name starts with."""
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if stem.startswith(path.stem)]
    return max(scripts, key=lambda path: len(path.stem))


def table_of(path: Path) -> dict[str, Any]:
    """Head and rows of a CSV file, numbers to four digits, and which columns are numbers."""
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    shown = [[rounded(cell) for cell in row] for row in rows]
    numeric = [all(is_number(row[i]) or not row[i] for row in rows) for i in range(len(head))]
    return {"head": head, "rows": shown, "numeric": numeric}


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def rounded(cell: str) -> str:
    """A long number to four digits, anything else as it is."""
    return f"{float(cell):.4g}" if is_number(cell) and len(cell) > 7 else cell


def entry(page: Page) -> dict[str, str]:
    """What the search knows of a page."""
    document = Document()
    document.feed(page.body)
    return {"title": page.title, "url": page.url, "text": " ".join("".join(document.text).split())}


def write_assets(folder: Path, index: list[dict[str, str]]) -> None:
    """Styles, the search and its index, as a script: pages opened from a disk may not fetch data."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    style = (SITE / "style.css").read_text(encoding="utf-8")
    (folder / "style.css").write_text(
        f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{style}", encoding="utf-8"
    )
    shutil.copyfile(SITE / "search.js", folder / "search.js")
    (folder / "index.js").write_text(f"const INDEX = {json.dumps(index)};\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Build into the folder named on the command line, and say what is dead."""
    start = time.perf_counter()
    folder = Path(arguments[0] if arguments else ROOT / "build" / "site").resolve()
    dead = build(folder)
    pages = len(list(folder.rglob("*.html")))
    print(f"{pages} pages written to {folder} in {time.perf_counter() - start:.0f} s")
    for link in dead:
        print(f"dead link: {html.escape(link)}", file=sys.stderr)
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
