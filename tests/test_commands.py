"""Every command that the README, a docstring or a script's head names runs, on whatever densenet is installed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import densenet
from densenet.cli import main

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
OF_PACKAGE = [command for command in SAID if command.startswith("densenet ") or " -m densenet" in command]
OF_SCRIPTS = [shlex.split(command)[1:] for command in SAID if command not in OF_PACKAGE]
PARSE = """
import argparse, json, runpy, sys
parse = argparse.ArgumentParser.parse_args
def stop(self, *given):
    parse(self, *given)
    raise SystemExit(0)
argparse.ArgumentParser.parse_args = stop
for script, *words in json.loads(sys.argv[1]):
    sys.argv = [script, *words]
    sys.path[0] = script.rpartition("/")[0]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        print(script, end.code)
"""
"""Runs each script as far as its arguments are read."""


def test_commands_are_found():
    assert {"densenet train", "python benchmarks/peers.py", "python site/build.py"} <= set(SAID)


def test_scripts_take_the_arguments_that_are_named():
    """What scripts do then is tested elsewhere: benchmarks in test_benchmarks, notebooks in test_notebooks."""
    for script, *_ in OF_SCRIPTS:
        assert (ROOT / script).is_file()
    reading = [
        [str(ROOT / script), *words] for script, *words in OF_SCRIPTS if "argparse" in (ROOT / script).read_text()
    ]
    assert len(reading) > 5
    environment = os.environ | ({"PYTHONPATH": str(ROOT)} if HERE else {})
    done = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(reading)], env=environment, capture_output=True, text=True, check=False
    )
    ended = [line for line in done.stdout.splitlines() if line.startswith(str(ROOT))]
    assert ended == [f"{script} 0" for script, *_ in reading], done.stderr


@pytest.mark.parametrize("command", OF_PACKAGE)
def test_a_command_runs(command, tmp_path):
    words = shlex.split(command)
    words = words[1 if words[0] == "densenet" else 3 :]
    environment = os.environ | ({"PYTHONPATH": str(ROOT)} if HERE else {})
    rows = "".join(f"{i % 7},{i % 5},{i * 3 % 11}\n" for i in range(60))
    for name in ("data.csv", "new.csv", "houses.csv", "DATA"):
        (tmp_path / name).write_text("size,rooms,price\n" + rows)
    if len(words) > 1 and words[0] == "predict":
        made = ["train", str(tmp_path / "data.csv"), "--target", "price", "--epochs", "2"]
        assert main([*made, "--output", str(tmp_path / "densenet-run")]) == 0
    if words in ([], ["check"], ["compile"], ["grade"], ["predict"], ["route"]):
        words.append("--help")
    if words[:2] == ["train", "data.csv"]:
        words += ["--epochs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "densenet", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}, named in {SAID[command]}: {done.stderr}{done.stdout}"
