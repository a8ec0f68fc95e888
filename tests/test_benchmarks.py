"""Every script in benchmarks/ runs, writes what it promises, and goes on without the libraries that are not there."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from explorer_browser import reason

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
PNG = b"\x89PNG\r\n\x1a\n"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are not beside the tests")

QUICKER = {
    "batch_sizes": ["--part", "epochs"],  # the other part has a test of its own
    "peers": ["--peers", "scikit-learn", "Keras"],
    "fuzz": ["--examples", "4"],
    "kill": ["--kills", "5"],
    "mpi_kill": ["--kills", "1"],
}
"""Options that make a smoke run smaller still."""
PICTURES = set("batch_sizes optimizers peers limits cold_start scaling step tabular distributed".split())
NEEDS = {
    "fuzz": "hypothesis",
    "model_files": "safetensors",
    "tabular": "sklearn",
    "live_plot": "nbclient",
    "threads": "numba",
    "parquet": "pyarrow",
    "distributed": "mpi4py",
    "mpi_kill": "mpi4py",
    "explorer": "playwright",
}
"""What a script is about: without it there is nothing to measure."""


def environment(without: Path | None = None) -> dict[str, str]:
    paths = [str(path) for path in (without, ROOT) if path is not None]
    if before := os.environ.get("PYTHONPATH"):
        paths.append(before)
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "error::RuntimeWarning"}


def run(script: str, out: Path, without: Path | None = None) -> tuple[dict[str, Any], str]:
    """The JSON that a smoke run writes, and what it prints."""
    command = [sys.executable, str(FOLDER / f"{script}.py"), "--smoke", "--out", str(out), *QUICKER.get(script, ())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(without), cwd=out, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    written = json.loads((out / f"{script}.json").read_text(encoding="utf-8"))
    return written, done.stdout


@pytest.fixture
def without(tmp_path: Path) -> Path:
    """A folder whose torch, jax and keras cannot be imported."""
    folder = tmp_path / "missing"
    for name in ("torch", "jax", "keras"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ModuleNotFoundError(\"No module named '{name}'\")\n")
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_smoke_run_writes_json_csv_and_picture(script: str, tmp_path: Path, without: Path) -> None:
    if script in NEEDS:
        pytest.importorskip(NEEDS[script])
    if script == "explorer" and reason():
        pytest.skip(str(reason()))
    out = tmp_path / "out"
    out.mkdir()
    written, printed = run(script, out, without)

    machine = written["machine"]
    assert machine["versions"]["numpy"]
    assert machine["blas"]["threads"] >= 1
    assert f"{script}.py --smoke" in machine["command"]
    assert written["results"]
    with open(out / f"{script}.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert rows
    assert all(len(row) == len(head) for row in rows)
    assert len(printed.splitlines()) >= 2  # the table's head, and its lines
    if script in PICTURES:
        assert (out / f"{script}.png").read_bytes().startswith(PNG)
    if script in CHECKS:
        CHECKS[script](written["results"], printed)


HELP = """
import runpy, sys
folder, *scripts = sys.argv[1:]
sys.path.insert(0, folder)
for script in scripts:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(f"{folder}/{script}.py", run_name="__main__")
    except SystemExit as end:
        print("exit", script, end.code or 0)
"""


def test_help_says_what_each_script_takes(tmp_path: Path) -> None:
    for module in NEEDS.values():
        pytest.importorskip(module)
    command = [sys.executable, "-c", HELP, str(FOLDER), *SCRIPTS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=True)
    texts = done.stdout.split("exit ")
    for script, text, after in zip(SCRIPTS, texts, texts[1:], strict=False):
        assert after.startswith(f"{script} 0\n")
        assert "--smoke" in text
        assert "--out" in text


def check_peers(results: dict[str, Any], printed: str) -> None:
    """The missing are named; those that are there reached densenet's error, and every cell has its ratios."""
    assert "Keras" in results["left_out"]
    assert "Keras: left out, ModuleNotFoundError" in printed
    assert results["faults"] == []
    measured = {cell["contender"] for cell in results["cells"]}
    if "scikit-learn" not in results["left_out"]:
        assert measured == {"densenet", "scikit-learn"}
        assert {entry["peer"] for entry in results["summary"]} == {"scikit-learn"}
    for cell in results["cells"]:
        assert cell["microseconds"] > 0
        assert 0 < cell["lower quartile"] <= cell["ratio"] <= cell["upper quartile"]
        assert cell["contender"] != "densenet" or cell["ratio"] == 1
    assert {entry["rows"] for entry in results["predict"]} == {1, 2000}


def check_limits(results: dict[str, Any], printed: str) -> None:
    assert results["products by torch"] == []
    for entry in results["steps"]:
        assert sum(entry["parts"].values()) == pytest.approx(entry["microseconds"]["fit"], abs=0.1)
        for key in ("over products", "whole backward over forward", "backward in training over forward"):
            low, middle, high = entry[key]
            assert 0 < low <= middle <= high


def check_cold_start(results: dict[str, Any], printed: str) -> None:
    assert "train torch" in results["left_out"]
    assert "import jax" in results["left_out"]
    assert "left out, ModuleNotFoundError" in printed
    for trained in results["measured"]["train"].values():
        for each in trained:
            accuracy, epochs = json.loads(each["printed"])
            assert accuracy >= results["target"]
            assert 1 <= epochs <= 100
            assert each["seconds"] > 0
    imports = results["measured"]["import"]
    assert imports["nothing"][0]["seconds"] < imports["densenet"][0]["seconds"]
    if imports["nothing"][0]["MiB"] is not None:
        assert imports["nothing"][0]["MiB"] < imports["densenet"][0]["MiB"] < 200
    assert "densenet" in results["measured"]["first step"]


def check_scaling(results: dict[str, Any], printed: str) -> None:
    assert {p["axis"] for p in results["points"]} == {"samples", "width", "depth", "threads"}
    for p in results["points"]:
        assert 0 < p["lower"] <= p["seconds"] <= p["upper"]
    assert {"samples, 20-64-5", "width, step", "depth, products"} <= set(results["exponents"])


def check_tabular(results: dict[str, Any], printed: str) -> None:
    """Three contenders share the ranks 1 to 3, and every fit has the figures of its task."""
    for of in results["ranks"]["network"].values():
        assert sum(entry["mean rank"] for entry in of.values()) == pytest.approx(6)
    figures = {"prices": {"R2", "RMSE"}, "dear": {"accuracy", "log-loss", "AUC", "Brier"}}
    for fit in results["fits"]:
        assert figures[fit["table"]] <= fit.keys()
    assert "mean rank, network among the others" in printed


def check_kill(results: dict[str, Any], printed: str) -> None:
    """The script's exit code says that nothing was lost."""
    assert set(results) == {".npz", ".safetensors"}
    assert all(counts["kills"] == 5 for counts in results.values())


CHECKS = {
    "kill": check_kill,
    "peers": check_peers,
    "limits": check_limits,
    "cold_start": check_cold_start,
    "scaling": check_scaling,
    "tabular": check_tabular,
}


def test_tabular_goes_on_widens_intervals_and_smooths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(FOLDER))
    import _tables
    import numpy as np
    import tabular

    d = tabular.difference({0: 0.5, 1: 0.7, 2: 0.6}, {0: 0.4, 1: 0.4, 2: 0.4, 3: 0.9})
    assert d["mean"] == pytest.approx(0.2)
    assert d["half"] == pytest.approx(4.302653 * (0.01 * (1 / 3 + 1 / 3)) ** 0.5, rel=1e-6)
    figures = _tables.of_probabilities(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), 3)
    assert figures["log-loss"] == pytest.approx(-(np.log(3.5 / 4) + np.log(0.5 / 4)) / 2)
    assert figures["accuracy"] == 0.5
    path = tmp_path / "tabular.json"
    fits = [{"contender": "linear", "split": 0}, {"contender": "network", "split": 0}]
    path.write_text(json.dumps({"results": {"settings": {"most rows": 9}, "fits": fits}}))
    assert tabular.kept(path, {"most rows": 9}, ["network"]) == fits[:1]
    with pytest.raises(SystemExit, match="choose another --out"):
        tabular.kept(path, {"most rows": 8}, [])


def test_peers_notices_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import peers

    ours, other = {"before": 2.0, "after": 1.0}, {"before": 2.0, "after": 1.011}
    assert peers.differences("cell", {"densenet": ours, "near": ours | {"after": 1.009}}) == []
    found = peers.differences("cell", {"densenet": ours, "other": other})
    assert found == ["cell: other reached 1.011, densenet 1, from 2"]
    assert peers.differences("cell", {"densenet": ours, "other": ours | {"after": float("nan")}}) != []
    assert peers.differences("cell", {"densenet": {"before": 1.0, "after": 2.0}}) == ["cell: densenet went from 1 to 2"]


def test_a_cell_of_peers_is_trained_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """densenet beside scikit-learn with two classes, where scikit-learn would take one logistic output by itself."""
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(FOLDER))
    import peers

    for optimizer in peers.RATES:
        made = [kind((4, 6, 2), 8, optimizer, 80) for kind in (peers.Densenet, peers.ScikitLearn)]
        recorded = [[contender.epoch(False) for _ in range(3)] for contender in made]
        assert recorded[0] == pytest.approx(recorded[1], rel=1e-4)
        for ours, theirs in zip(made[0].weights(), made[1].weights(), strict=True):
            assert ours[0] == pytest.approx(theirs[0], abs=2e-4)
            assert ours[1] == pytest.approx(theirs[1], abs=2e-4)


def test_batch_sizes_to_a_goal(tmp_path: Path) -> None:
    """Counted first, timed afterwards: the same counts; seconds are steps times the time of a step."""
    command = [sys.executable, str(FOLDER / "batch_sizes.py"), "--smoke", "--out", str(tmp_path), "--part"]
    written = []
    for part in ("steps", "time"):
        done = subprocess.run(
            [*command, part], capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        text = (tmp_path / "batch_sizes_target.json").read_text(encoding="utf-8")
        written.append(json.loads(text)["results"]["problems"]["regression"])
    assert "fitted critical" in done.stdout
    counted, timed = written
    assert "ways" not in counted
    assert timed["seeds"] == counted["seeds"]
    assert len(counted["seeds"]) == 2
    for seed in counted["seeds"]:
        assert set(seed["runs"]) == {"8", "32", "128"}
        assert seed["largest"] == 128
        assert all(0 <= look["step"] <= look["of"] for look in seed["noise"])
    looks = [[look["b_noise"] for look in seed["noise"]] for seed in counted["seeds"]]
    means = [sum(one) / len(one) for one in looks]
    assert timed["predicted"]["critical"] == pytest.approx(math.sqrt(means[0] * means[1]), rel=1e-9)
    for one in timed["ways"].values():
        for size, steps in timed["median_steps"].items():
            if steps is not None:
                assert one["seconds"][size] == pytest.approx(steps * one["step_seconds"][size], rel=1e-4)
        assert min(value for value in one["seconds"].values() if value) == one["seconds"][str(one["fastest"])]
        assert one["regret"]["find_batch_size"] >= 1
    assert (tmp_path / "batch_sizes_overview.png").read_bytes().startswith(PNG)
    assert (tmp_path / "batch_sizes_target.png").read_bytes().startswith(PNG)
