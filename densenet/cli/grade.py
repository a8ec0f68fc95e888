"""``densenet grade``: grade a backward pass, or a folder of them."""

from __future__ import annotations

import argparse
import csv
import errno
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from densenet._display import text_table
from densenet._files import replacing_text
from densenet._validation import positive
from densenet.course.exercise import KINDS
from densenet.course.grade import Grade
from densenet.course.submission import grade_file

_DESCRIPTION = """Grade the function backward(W, b, x, y) -> [(dW, db), ...] of a script or notebook on drawn networks:
points by array, and the mistake by its name. A function named for the exercise, such as backward_softmax, comes first.
Each file runs in a process of its own with limits on time and memory.
That is no sandbox: a submission can do whatever your account can. Grade strangers' work in a container. Exit code 0:
all correct, 1: something is wrong, 2: it could not be graded."""


def add_grade_command(commands: Any) -> None:
    """Add ``grade`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser("grade", help="grade backward passes that students wrote", description=_DESCRIPTION)
    add = parser.add_argument
    add("path", type=Path, metavar="PATH", help="a .py or .ipynb file, or a folder of them")
    add("--exercise", default="layers", choices=list(KINDS), help="what was asked (default: layers)")
    add("--seed", type=int, default=0, help="draws the networks (default: 0)")
    add("--networks", type=int, default=5, help="networks drawn (default: 5)")
    add("--points", type=float, default=1.0, metavar="MAX", help="points for all parts (default: 1)")
    add("--seconds", type=float, default=20.0, help="time for a submission (default: 20)")
    add("--megabytes", type=int, default=2048, help="memory for a submission, not on Windows (default: 2048)")
    add("--json", type=Path, metavar="FILE", help="write all details")
    add("--csv", type=Path, metavar="FILE", help="write one line a student, for a learning platform")
    parser.set_defaults(run=run_grade)


def run_grade(args: argparse.Namespace) -> int:
    """Grade as the command line asks, print, and return the exit code."""
    from tqdm import tqdm

    positive(args.points, "grade", "--points")
    for file in (args.json, args.csv):  # before the work, not after it
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file.parent))
    found = {
        name: grade_file(
            path,
            args.exercise,
            networks=args.networks,
            seed=args.seed,
            seconds=args.seconds,
            megabytes=args.megabytes,
        )
        for name, path in tqdm(submissions(args.path).items(), unit="file", leave=False, disable=None)
    }
    if args.path.is_dir():
        rows = [(name, f"{g.points(args.points):.2f}", _said(g)) for name, g in found.items()]
        print(text_table([("student", "points", ""), *rows], "<><"))
    else:
        for one in found.values():
            print(f"{one.points(args.points):g} of {args.points:g} points")
            print(one)
    if args.json is not None:
        details = {name: one.to_dict(args.points) for name, one in found.items()}
        with replacing_text(args.json) as file:
            file.write(json.dumps(details, indent=1) + "\n")
    if args.csv is not None:
        _write_csv(args.csv, found, args.points)
    return 0 if all(found.values()) else 1


def submissions(path: Path) -> dict[str, Path]:
    """Files by student: a file's own name, or its folder's where that holds one submission."""
    if not path.is_dir():
        return {path.stem: path}
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix in (".py", ".ipynb")
        and not file.is_dir()
        and not any(part.startswith((".", "__")) for part in file.relative_to(path).parts)
    )
    if not files:
        raise ValueError(f"{path} holds no .py or .ipynb file")
    alone = Counter(file.parent for file in files)
    found: dict[str, Path] = {}
    for file in files:
        by_folder = file.parent != path and alone[file.parent] == 1
        name = (file.parent if by_folder else file.with_suffix("")).relative_to(path).as_posix()
        found[name if name not in found else file.relative_to(path).as_posix()] = file
    return found


def _said(one: Grade) -> str:
    if one.correct:
        words = ["correct"]
    elif one.problem:
        words = [one.problem]
    else:
        remarks = [str(part) for part in one.parts if part.remark]
        words = ["; ".join(one.mistakes) or f"wrong, by no usual mistake: {remarks[0]}"]
        words += remarks[-1:] if one.parts[-1].remark and len(remarks) > 1 else []
    return ", ".join([*words, *one.flags])


def _write_csv(path: Path, found: dict[str, Grade], maximum: float) -> None:
    with replacing_text(path) as file:
        writer = csv.writer(file)
        writer.writerow(["student", "points", "maximum", "correct", "feedback"])
        for name, one in found.items():
            cells = [name, _said(one)]
            safe = [
                "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell for cell in cells
            ]  # no formulas
            writer.writerow([safe[0], f"{one.points(maximum):g}", f"{maximum:g}", int(one.correct), safe[1]])
