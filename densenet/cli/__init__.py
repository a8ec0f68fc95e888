"""The command: check your own table, train on it or on shipped digits, predict, explain a weight, grade.

`densenet train` with nothing else trains on the handwritten digits; `densenet train data.csv --target price` on a
table. Bad arguments and bad files end with one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from densenet.cli.output import silence
from densenet.cli.reading import command_to_copy
from densenet.tables import TableError

_COMMANDS = "train check predict route grade compile explore batch-size".split()


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
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser(given).parse_args(given)
    try:
        code = args.run(args)
    except BrokenPipeError:  # whoever read the output has seen enough
        silence(sys.stdout)
        return 1
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        if isinstance(error, TableError) and error.remedy:
            text = f"{' '.join(error.reason.split())}: {command_to_copy(given, args, error)}"
            print(f"densenet {args.command}: {text}", file=sys.stderr)
            return 2
        text = " ".join(str(error).split())
        if isinstance(error, MemoryError):
            text = f"not enough memory. {text}".strip()
        print(f"densenet {args.command}: {text}", file=sys.stderr)
        return 2
    return int(code or 0)


def _parser(arguments: Sequence[str]) -> _Parser:
    """The parser of the commands that the arguments name, so that no other is loaded; of all where they name none."""
    parser = _Parser(prog="densenet", description="Dense neural networks in NumPy, from the command line.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for command in [name for name in _COMMANDS if name in arguments] or _COMMANDS:
        name = command.replace("-", "_")
        getattr(importlib.import_module(f"densenet.cli.{name}"), f"add_{name}_command")(commands)
    return parser


def _version() -> str:
    import densenet

    return f"densenet {densenet.__version__}"
