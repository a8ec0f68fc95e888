"""What the README says of the code is so: its equations stand in the lines it links, and what it links is there."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EQUATIONS = re.findall(r"\| `([^`]+)` \| \[[^\]]+\]\(([^)#]+)\)", README)


def comment(line: str) -> str:
    """The equation beside a statement, without the number of a step."""
    return re.sub(r"^\d+\. ", "", line.rpartition("  # ")[2].strip())


def test_there_are_equations():
    assert len(EQUATIONS) >= 8


@pytest.mark.parametrize(("equation", "path"), EQUATIONS)
def test_an_equation_stands_beside_a_line_of_the_file_that_is_linked(equation, path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert equation in [comment(line) for line in lines if "  # " in line]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README))))
def test_what_is_linked_is_there(target):
    assert (ROOT / target).exists()


def test_the_speed_table_shows_what_was_measured():
    """Every ratio of the table, and the geometric means, beside the results that are kept."""
    cells = json.loads((ROOT / "benchmarks/results/peers.json").read_text(encoding="utf-8"))["results"]["cells"]
    ratios = {(c["net"], c["contender"], c["optimizer"]): c["ratio"] for c in cells}
    head, *rows = re.findall(r"^\| (network, batch|[\d-]+, \d+|geometric mean) \|(.*)\|$", README, re.M)
    peers = [name.strip() for name in head[1].split("|")]
    nets = [net for net, _ in rows if net != "geometric mean"]
    assert set(nets) == {net for net, _, _ in ratios}
    for net, entries in rows:
        for peer, entry in zip(peers, entries.split("|"), strict=True):
            for optimizer, shown in zip(("SGD", "Adam"), entry.split("/"), strict=True):
                those = [ratios[n, peer, optimizer] for n in (nets if net == "geometric mean" else [net])]
                assert float(shown) == pytest.approx(statistics.geometric_mean(those), rel=0.02), (net, peer, optimizer)
