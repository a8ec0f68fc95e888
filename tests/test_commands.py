"""Every command that the README, a docstring or a script's head names runs, on whatever densenet is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import densenet

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(densenet.__file__).parent.parent == ROOT
"""Whether densenet is this checkout; else it is installed, and commands find it by themselves."""
COMMAND = re.compile(r"(?:^\s*\$ |`|^ {4})((?:python |densenet )[^`#\n\"]*)", re.M)


def said() -> dict[str, str]:
    """Each command with one file that names it."""
    found: dict[str, str] = {}
    files = [ROOT / "README.md", *ROOT.glob("densenet/**/*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("site/*.py")]
    for path in [*files, *ROOT.glob("notebooks/*.py"), *ROOT.glob("tests/*.py")]:
        for command in COMMAND.findall(path.read_text(encoding="utf-8")):
            if path.name != Path(__file__).name:
                found.setdefault(re.sub(r" ?\[[A-Z]+\]", "", command).strip(), str(path.relative_to(ROOT)))
    return found


SAID = said()
NEEDS = {"notebooks/execute.py": "nbclient", "tests/make_torch_reference.py": "torch"}
LONG = {
    "notebooks/execute.py": "every notebook is run by test_notebooks",
    "site/build.py": ".ci/run builds the site, test_site tests its parts",
    "tests/make_torch_reference.py": "it would write the reference anew",
}


def test_commands_are_found():
    assert {"densenet train", "python benchmarks/peers.py", "python site/build.py"} <= set(SAID)


@pytest.mark.parametrize("command", SAID)
def test_a_command_runs(command, tmp_path):
    words = shlex.split(command)
    environment = os.environ | ({"PYTHONPATH": str(ROOT)} if HERE else {})
    if words[0] == "densenet" or words[1:3] == ["-m", "densenet"]:
        words = [sys.executable, "-m", "densenet", *words[1 if words[0] == "densenet" else 3 :]]
        rows = "".join(f"{i % 7},{i % 5},{i * 3 % 11}\n" for i in range(60))
        for name in ("data.csv", "new.csv", "houses.csv", "DATA"):
            (tmp_path / name).write_text("size,rooms,price\n" + rows)
        if "predict" in words or "route" in words:
            folder = tmp_path / "densenet-run"
            made = [sys.executable, "-m", "densenet", "train", "data.csv", "--target", "price", "--epochs", "2"]
            subprocess.run(
                [*made, "--output", str(folder)], cwd=tmp_path, env=environment, check=True, capture_output=True
            )
        if words[3:] in ([], ["check"], ["grade"], ["predict"], ["route"]):
            words.append("--help")
    else:
        script = words[1]
        assert (ROOT / script).is_file(), f"{SAID[command]} names {script}, which is not there"
        if importlib.util.find_spec(NEEDS.get(script, "sys")) is None:
            pytest.skip(f"{script} needs {NEEDS[script]}")
        if script in LONG:
            pytest.skip(LONG[script])
        rest = words[2:]
        if script.startswith("benchmarks/") and "--help" not in rest:
            rest += ["--smoke", "--out", str(tmp_path), *(["--peers", "scikit-learn"] if "peers" in script else [])]
        words = [sys.executable, str(ROOT / script), *rest]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}, named in {SAID[command]}: {done.stderr}{done.stdout}"
