"""Options that several commands share, and what parses their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from densenet import optimizers
from densenet.cli.reading import file_path

_MOST_MEMBERS = 64


def adder(parser: Any) -> Callable[..., None]:
    """What adds an option to a parser or to a group of its options, with the default in the help."""

    def add(name: str, text: str, **settings: Any) -> None:
        shown = text if settings.get("default") is None else f"{text} (default: %(default)s)"
        parser.add_argument(name, help=shown, **settings)

    return add


def add_data_options(parser: Any) -> None:
    """Add DATA, --target and --task."""
    parser.add_argument(
        "data",
        nargs="?",
        type=file_path,
        metavar="DATA",
        help='a table as CSV (also .gz, .bz2, .zip, .xz) or Parquet, with --target; "-" is standard input',
    )
    add = adder(parser)
    add("--target", "the column of DATA to predict", metavar="COLUMN")
    add("--task", "what the target is", choices=["auto", "classification", "regression"], default="auto")


def named_optimizer(args: argparse.Namespace) -> optimizers.Optimizer:
    """The optimizer that --optimizer names, at --learning-rate where that is given."""
    optimizer = optimizers.get(args.optimizer)
    if args.learning_rate is not None:
        optimizer.learning_rate = args.learning_rate
    return optimizer


def folder(text: str) -> Path:
    """A folder, with ``~`` expanded."""
    return Path(file_path(text))


def seed_number(text: str) -> int:
    """A seed from the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A share between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, got {text!r}")
    return value


def hidden_widths(text: str) -> list[int]:
    """Widths such as 64,32."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expects whole numbers with commas between them, got {text!r}") from None


def member_count(text: str) -> int:
    """How many networks answer as one."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_MEMBERS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MOST_MEMBERS}, got {text!r}")
    return int(text)
