"""``densenet explore``: a page in which you touch a weight of a model and see why it changes."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from densenet.cli.reading import add_reading_options, add_use_option
from densenet.cli.route import model_and_data
from densenet.explore import explore

_DESCRIPTION = """Write a page, one file without network, in which you touch a weight and see by which routes the
error reaches it. Without MODEL: the notes' network 2-3-2-2-1."""


def add_explore_command(commands: Any) -> None:
    """Add ``explore`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "explore", help="a page in which you touch a weight and see why it changes", description=_DESCRIPTION
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL", help="a model file, such as densenet-run/model.npz")
    add(
        "data",
        nargs="?",
        metavar="DATA",
        help="a CSV file with rows to explain: the columns the model was trained on, target included; or, for a model "
        "without a preparation, its inputs and then its targets (default: the shipped digits for a model of theirs)",
    )
    add("--member", type=int, metavar="I", help="the member of an ensemble to show, from 1")
    add("--loss", metavar="NAME", help='loss of a model that was saved without one, such as "mse"')
    add("--output", type=Path, default=Path("explore.html"), metavar="FILE", help="where (default: explore.html)")
    add("--open", action="store_true", help="open it in the browser")
    add_use_option(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run_explore, drop=[])


def run_explore(args: argparse.Namespace) -> None:
    """Write the page, say where, and open it where that is asked for."""
    model, loss, x, y = model_and_data(args)
    notes = args.model is None
    title = "The network of the notes" if notes else args.model.rsplit("/", 1)[-1]
    page = explore(model, loss, x, y, select=(1, 1, 3) if notes else None, title=title)
    path = page.save(args.output)
    print(f"page written to {path}: open it in a browser, it needs no network")
    if args.open:
        webbrowser.open(path.resolve().as_uri())
