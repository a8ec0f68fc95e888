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
    means = {"geometric mean": "over [fast]", "the same over the NumPy lines": "ratio"}
    names = {"NumPy lines": "densenet", "bare products": "products"}
    head, *rows = re.findall(rf"^\| (network, batch|[\d-]+, \d+|{'|'.join(means)}) \|(.*)\|$", README, re.M)
    peers = [names.get(name.strip(), name.strip()) for name in head[1].split("|")]
    nets = [net for net, _ in rows if net not in means]
    assert set(nets) == {cell["net"] for cell in cells}
    for net, entries in rows:
        kind = means.get(net, "over [fast]")
        ratios = {(c["net"], c["contender"], c["optimizer"]): c[kind] if kind == "ratio" else c[kind][1] for c in cells}
        for peer, entry in zip(peers, entries.split("|"), strict=True):
            for optimizer, shown in zip(("SGD", "Adam"), entry.split("/"), strict=False):
                if not shown.strip():
                    assert (net, peer) == ("the same over the NumPy lines", "densenet")
                    continue
                those = [ratios[n, peer, optimizer] for n in (nets if net in means else [net])]
                assert float(shown) == pytest.approx(statistics.geometric_mean(those), rel=0.02), (net, peer, optimizer)


def test_the_table_of_ranks_shows_what_was_measured():
    ranks = json.loads((ROOT / "benchmarks/results/tabular.json").read_text(encoding="utf-8"))["results"]["ranks"]
    section = README.partition("## Tables")[2].partition("## ")[0]
    rows = re.findall(r"^\| ([\w -]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.M)
    assert {name for name, *_ in rows} == {"ours"} | ranks["network"]["log-loss or RMSE"].keys() - {"network"}
    for name, *shown in rows:
        for (one, by), figure in zip([(o, b) for o in ("network", "ensemble") for b in ranks[o]], shown, strict=True):
            assert float(figure) == pytest.approx(
                ranks[one][by][one if name == "ours" else name]["mean rank"], abs=0.051
            )


def python_blocks() -> str:
    """What a reader types into a session, as one script."""
    lines = [line for block in re.findall(r"```python\n(.*?)```", README, re.S) for line in block.splitlines()]
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))


def checked(code: str, folder: Path) -> str:
    """What mypy says of a user's script."""
    api = pytest.importorskip("mypy.api")
    (folder / "script.py").write_text(code, encoding="utf-8")
    (folder / "mypy.ini").write_text(
        "[mypy]\ncheck_untyped_defs = True\nfollow_imports = silent\nignore_missing_imports = True\n", encoding="utf-8"
    )
    arguments = [str(folder / "script.py"), "--config-file", str(folder / "mypy.ini"), "--no-error-summary"]
    said, broken, _ = api.run([*arguments, "--cache-dir", str(ROOT / ".mypy_cache" / "readme")])
    assert not broken, broken
    return said


def test_a_type_checker_passes_the_readmes_code(tmp_path):
    code = python_blocks()
    assert "model.layers[0].dW" in code
    assert not checked(code, tmp_path)


def test_a_type_checker_knows_the_public_names(tmp_path):
    code = """
    import densenet as dn
    model = dn.Sequential([dn.Dense(2, 3), dn.Tanh(), dn.Dense(3, 1)])
    trainer = dn.Trainer(model, "mse", dn.SGD(0.1))
    trainer.fit([[1.0, 2.0]], [1.0], epochs=1, callbacks=dn.EarlyStopping("loss"))
    reveal_type(trainer.optimizer)
    reveal_type(dn.Trainer(model, "mse", "adam").optimizer)
    reveal_type(dn.Trainer(model, "mse", dn.LevenbergMarquardt()).optimizer)
    reveal_type(dn.DenseClassifier)
    reveal_type(dn.route)
    dn.Dnse(2, 3)
    dn.LambdaCallback(on_epoch_ends=print)
    model.layerz
    """
    said = checked("\n".join(line[4:] for line in code.splitlines()), tmp_path)
    assert 'Module has no attribute "Dnse"' in said
    assert 'Unexpected keyword argument "on_epoch_ends"' in said
    assert '"Sequential" has no attribute "layerz"' in said
    assert "densenet.optimizers.sgd.SGD" in said
    assert "densenet.optimizers.base.Optimizer" in said
    assert "LevenbergMarquardt" in said
    assert "densenet.estimators.classifier.DenseClassifier" in said
    assert "densenet.explain.route.Route" in said
    assert said.count("error:") == 3
