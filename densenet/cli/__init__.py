"""The command: train on shipped digits or on your own table, predict with a saved model, explain a weight.

`densenet train` with nothing else trains on the handwritten digits; `densenet train data.csv --target price` on a
table. Bad arguments and bad files end with one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from densenet.cli.batch_size import add_batch_size_command
from densenet.cli.predict import add_predict_command
from densenet.cli.route import add_route_command
from densenet.cli.train import add_train_command


class _Parser(argparse.ArgumentParser):
    """Arguments with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (``sys.argv`` by default); returns the exit code.

    Examples
    --------
    >>> import densenet.cli
    >>> densenet.cli.main(["train", "--epochs", "1", "--output", str(getfixture("tmp_path"))])  # doctest: +ELLIPSIS
    training on the shipped handwritten digits: ...
    0
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, OSError, ImportError) as error:
        text = " ".join(str(error).split())
        print(f"densenet {args.command}: {text}", file=sys.stderr)
        return 2
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="densenet", description="Dense neural networks in NumPy, from the command line.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    add_train_command(commands)
    add_predict_command(commands)
    add_route_command(commands)
    add_batch_size_command(commands)
    return parser


def _version() -> str:
    import densenet

    return f"densenet {densenet.__version__}"
