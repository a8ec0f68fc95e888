"""``densenet compile``: fill the cache of compiled kernels, so that no fit has to wait for them."""

from __future__ import annotations

import argparse
from typing import Any

_DESCRIPTION = """Compile every kernel for this machine and keep the machine code in the user's cache, so that the first
fit that uses kernels need not wait. It takes some seconds a dtype, and the extra [fast]."""


def add_compile_command(commands: Any) -> None:
    """Add ``compile`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser("compile", help="compile the kernels beforehand", description=_DESCRIPTION)
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=("float32", "float64"),
        default=("float32", "float64"),
        help="for models of these dtypes (default: both)",
    )
    parser.set_defaults(run=run_compile)


def run_compile(args: argparse.Namespace) -> None:
    """Compile what is not in the cache, and say where that is."""
    from densenet.compiled import machine

    if reason := machine.missing():
        raise ImportError(reason)
    for dtype in dict.fromkeys(args.dtype):
        before = len(machine.compiled)
        try:
            kernels = machine.addresses(machine.every_kernel(), dtype)
        except machine.CompilationError as error:
            raise ValueError(str(error)) from None
        print(f"{dtype}: {len(kernels)} kernels, {len(machine.compiled) - before} of them compiled now")
    print(f"They are in {machine.folder()}")
