"""The parts of the site: what text becomes, where links lead, and that dead ones are found. `.ci/run` builds it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

for name in ("nbconvert", "latex2mathml", "pdoc"):
    pytest.importorskip(name, reason=f"{name}, of the extra [site], is not installed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def parts():
    """The modules of the folder `site`, whose name is a module of Python's own."""
    sys.path.insert(0, str(ROOT / "site"))
    try:
        return {name: importlib.import_module(name) for name in ("build", "links", "text")}
    finally:
        sys.path.remove(str(ROOT / "site"))


def test_dead_links_are_found(parts, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text('<h2 id="top"><a name="old">x</a></h2><a href="#top">y</a>')
    (tmp_path / "files").mkdir()
    good = [
        "a/",
        "a/index.html#top",
        "a/index.html#old",
        "#here",
        "https://example.org/x",
        "page.html",
        "a%2Findex.html",
    ]
    dead = ["b.html", "a/index.html#gone", "#nowhere", "files/", "../outside.html"]
    links = "".join(f'<a href="{link}">l</a>' for link in good + dead)
    fetched = '<script src="https://example.org/a.js"></script><img src="data:image/png;base64,AA=="><img src="no.png">'
    (tmp_path / "page.html").write_text(f'<p id="here">{links}{fetched}</p>')
    found = parts["links"].dead_links(tmp_path)
    assert found == [f"page.html: {link}" for link in [*dead, "https://example.org/a.js", "no.png"]]


def test_what_the_search_reads(parts):
    page = parts["build"].Page("a.html", "A", "<p>seen</p><script>hidden()</script><style>p {}</style><b>too</b>")
    assert parts["build"].entry(page) == {"title": "A", "url": "a.html", "text": "seen too"}


def test_formulas_become_mathml_and_code_stays(parts):
    found = parts["text"].to_html("## The $x^2$ part\n\nHere $$\\frac{1}{n}$$ and `$y$`.\n\n```python\nx = 1\n```\n")
    assert found.count("<math") == 2
    assert "<mfrac>" in found
    assert "<code>$y$</code>" in found
    assert 'class="highlight"' in found
    assert '<div class="wide"><table>' in parts["text"].to_html("| a |\n|---|\n| 1 |\n")
    assert 'id="a-title-its-id"' in parts["text"].to_html("# A *title*, its id")


def test_every_formula_of_the_notebooks_can_be_drawn(parts):
    import nbformat

    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                drawn = parts["text"].to_html(cell.source)
                assert "\\" not in drawn, f"{path.name}: a command that is no formula in {drawn}"


def test_links_to_files_lead_to_their_pages(parts, tmp_path):
    site = parts["build"].Site(tmp_path)
    text = (
        "[a](notebooks/02_from_one_sample_to_a_batch.ipynb) [b](CHANGELOG.md) [c](densenet/layers/dense.py) "
        "[d](LICENSE) [e](https://example.org) [f](nowhere.md) ![g](notebooks/route.png) [h](README.md#notebooks)"
    )
    site.add("x/y.html", "Y", parts["text"].to_html(text), ROOT / "README.md")
    document = parts["links"].Document()
    document.feed(site.pages[-1].body)
    assert document.links == [
        "../notebooks/02_from_one_sample_to_a_batch.html",
        "../changelog.html",
        "../source/densenet/layers/dense.html",
        "../files/LICENSE",
        "https://example.org",
        "nowhere.md",
        "../files/notebooks/route.png",
        "../index.html#notebooks",
    ]
    assert (tmp_path / "files" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "class Dense" in parts["build"].entry(site.pages[0])["text"]


def test_results_as_tables(parts, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('net,time,error\n"2-3, 8",0.123456789,\n"4-5, 8",12,0.5\n')
    found = parts["build"].table_of(path)
    assert found["rows"] == [["2-3, 8", "0.1235", ""], ["4-5, 8", "12", "0.5"]]
    assert found["numeric"] == [False, True, True]
    assert parts["build"].script_of("tabular_fit").name == "tabular.py"
    assert parts["build"].script_of("batch_sizes_target").name == "batch_sizes.py"


def test_a_notebook_shows_text_code_and_output(parts):
    import nbformat

    v4 = nbformat.v4
    output = v4.new_output("stream", name="stdout", text="4 < 5\n")
    cells = [v4.new_markdown_cell("# T\n\n$w$"), v4.new_code_cell("print(2 + 2)", outputs=[output])]
    found = parts["text"].notebook_html(v4.new_notebook(cells=cells))
    assert all(part in found for part in ('<h1 id="t">T</h1>', "<math", "print", "4 &lt; 5"))
