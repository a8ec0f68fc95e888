"""Which links of a folder of pages lead nowhere, or fetch something from outside."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Document(HTMLParser):
    """What a page holds: its text, the places that can be linked to, its links."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.places: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []  # those that the browser follows by itself
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep ids, links and sources."""
        self._silent += tag in ("script", "style")
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.places.add(value)
            if value and name in ("href", "src"):
                self.links.append(value)
                if name == "src" or tag == "link":
                    self.fetched.append(value)

    def handle_endtag(self, tag: str) -> None:
        """Text goes on after a script or a style, and ends with a block."""
        self._silent -= tag in ("script", "style")
        if tag not in ("a", "b", "code", "em", "i", "span", "strong"):
            self.text.append(" ")  # what stands in a line of its own is no part of its neighbour's word

    def handle_data(self, data: str) -> None:
        """Keep text that a reader sees."""
        if not self._silent:
            self.text.append(data)


def dead_links(folder: Path) -> list[str]:
    """Links of a folder's pages to files or places that are not in it, and what they fetch from outside."""
    documents = {}
    for path in sorted(folder.rglob("*.html")):
        documents[path] = Document()
        documents[path].feed(path.read_text(encoding="utf-8"))
    return [
        f"{path.relative_to(folder)}: {link}"
        for path, document in documents.items()
        for link in document.links
        if _is_dead(link, path, folder, documents)
    ]


def _is_dead(link: str, path: Path, folder: Path, documents: dict[Path, Document]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme != "data" and link in documents[path].fetched
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(folder.resolve()) or not target.is_file():
        return True
    place = unquote(parts.fragment)
    return bool(place) and target.suffix == ".html" and place not in documents[target].places
