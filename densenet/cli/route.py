"""``densenet route``: why one weight changes, on the terminal, as a page, as a picture."""

from __future__ import annotations

import argparse
import base64
import html
import io
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from densenet import datasets, losses, persistence
from densenet._files import replacing, replacing_text
from densenet._types import Array
from densenet.cli.reading import READING_OPTIONS, add_reading_options, add_use_option, file_path, read_like, read_table
from densenet.datasets.notes import notes_network
from densenet.ensemble import Ensemble
from densenet.explain.notation import to_html, to_text
from densenet.explain.route import Route, route
from densenet.explain.route_text import sections
from densenet.layers import Average
from densenet.losses.base import Loss
from densenet.sequential import Sequential

_DESCRIPTION = """By which routes the error reaches one weight: the factors of the chain rule with their numbers, each
path's share, their sum, checked against the gradient that training uses. Dense layers and the neurons in each count
from 1. Without MODEL: the notes' network 2-3-2-2-1 and its route 1-3-2-2-1."""


def add_route_command(commands: Any) -> None:
    """Add ``route`` to the subcommands of an argument parser; ``args.run(args)`` runs it."""
    parser = commands.add_parser(
        "route", help="why one weight changes: the routes by which the error reaches it", description=_DESCRIPTION
    )
    add = parser.add_argument
    add("model", nargs="?", type=file_path, metavar="MODEL", help="a model file, such as densenet-run/model.npz")
    add(
        "data",
        nargs="?",
        type=file_path,
        metavar="DATA",
        help="a CSV file with rows to explain: the columns the model was trained on, target included; or, for a model "
        "without a preparation, its inputs and then its targets (default: the shipped digits for a model of theirs)",
    )
    add("--member", type=int, metavar="I", help="the member of an ensemble to explain, from 1")
    add("--layer", type=int, default=1, metavar="L", help="dense layer, from 1 (default: 1)")
    add("--source", default="1", metavar="I", help='neuron the weight comes from, from 1, or "bias" (default: 1)')
    add("--target", type=int, metavar="J", help="neuron it leads to, from 1 (default: 1; 3 on the notes' network)")
    add("--sample", default="0", metavar="ROW", help='row of the data, from 0, or "batch" for all of them (default: 0)')
    add("--path", metavar="NEURONS", help="the path written out, such as 1-3-2-2-1 (default: the largest)")
    add("--paths", type=int, default=5, metavar="K", help="paths listed (default: 5)")
    add("--loss", metavar="NAME", help='loss of a model that was saved without one, such as "mse"')
    add("--html", type=Path, metavar="FILE", help="write a page with the derivation and its pictures")
    add(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the network with the route lit; of a batch, what is left of the error (png, svg or pdf)",
    )
    add_use_option(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run_route, drop=[])


def run_route(args: argparse.Namespace) -> None:
    """Explain a weight as the command line asks, and print it."""
    _check_together(args)
    model, loss, x, y = model_and_data(args)
    source = args.source if args.source == "bias" else _whole(args.source, "--source")
    target = args.target if args.target is not None else 3 if args.model is None and args.layer == 1 else 1
    sample = None if args.sample == "batch" else _whole(args.sample, "--sample")
    found = route(model, loss, x, y, layer=args.layer, source=source, target=target, sample=sample)
    path = None if args.path is None else found.path(_neurons(args.path))
    parts = sections(found, args.paths, path, batch="--sample batch", row="--sample 0")
    shown = [to_text(parts)]
    with ExitStack() as files:  # both files or none; and nothing is printed before they are written
        if args.plot is not None:
            kind = "heatmap" if sample is None else "network"  # a batch has no single path to light
            picture = _picture(found, args.plot.suffix[1:].lower() or "png", kind, path)
            files.enter_context(replacing(args.plot)).write(picture)
            shown.append(f"picture written to {args.plot}")
        if args.html is not None:
            page = _page(found, to_html(parts), path)
            files.enter_context(replacing_text(args.html)).write(page)
            shown.append(f"page written to {args.html}")
    print("\n\n".join(shown))


def _check_together(args: argparse.Namespace) -> None:
    """Refuse options that need another one, or its absence."""
    if args.paths < 1:
        raise ValueError(f"--paths expects a whole number of at least 1, got {args.paths}")
    if args.path is not None and args.sample == "batch":
        raise ValueError("--path is a path of one row: leave --sample batch out, or name a row, such as --sample 0")
    if args.member is not None and args.model is None:
        raise ValueError("--member is a member of MODEL, and there is none")
    if args.loss is not None and args.model is None:
        raise ValueError("--loss is the loss of MODEL, and there is none: the notes' network has its own")
    if args.plot is not None and args.html is not None and args.plot.absolute() == args.html.absolute():
        raise ValueError(f"--plot and --html write to the same file, {args.plot}: name two")
    reading = [name for name in READING_OPTIONS if getattr(args, name) not in (None, False, [])]
    if reading and args.data is None:
        raise ValueError(f"--{reading[0].replace('_', '-')} says how to read DATA, and there is none")


def model_and_data(args: argparse.Namespace) -> tuple[Sequential, Loss, Any, Any]:
    """The model, loss and rows that MODEL, DATA and --loss name; the notes' network without them."""
    if args.model is None:
        return notes_network()
    model = _member(args, persistence.load(args.model))
    loss = losses.get(args.loss) if args.loss else model.loss
    if loss is None:
        raise ValueError(f"{args.model} was saved without its loss: name it with --loss, such as --loss mse")
    width = model.output_width(model.n_in or 1)
    if args.data is None:
        if model.preparation is not None or (model.n_in, width) != (64, 10):
            raise ValueError(f"DATA is needed: a CSV file with rows for {args.model}, target included")
        return model, loss, *datasets.load_digits()
    if model.preparation is not None:
        table, _ = read_like(args, model.preparation, [model.preparation.target])
        return model, loss, model.preparation.transform(table), model.preparation.transform_target(table)
    numbers: Array = read_table(args).numbers()
    if model.n_in is None or numbers.shape[1] <= model.n_in:
        raise ValueError(
            f"{args.data} has {numbers.shape[1]} columns; {args.model} needs {model.n_in} inputs, then the targets"
        )
    x, y = numbers[:, : model.n_in], numbers[:, model.n_in :]
    return model, loss, x, y[:, 0].astype(int) if loss.task == "classification" and y.shape[1] == 1 else y


def _member(args: argparse.Namespace, model: Sequential) -> Sequential:
    """The member of an ensemble that is asked for, or a model that is none."""
    if not isinstance(model[0], Average):
        if args.member is not None:
            raise ValueError(f"--member is for ensembles, and {args.model} holds one network")
        return model
    count = len(model[0].branches)
    if args.member is None or not 1 <= args.member <= count:
        given = "" if args.member is None else f", got {args.member}"
        raise ValueError(f"{args.model} holds {count} networks: choose one by --member, 1 to {count}{given}")
    member: Sequential = Ensemble(model).members[args.member - 1]
    member.loss, member.preparation = model.loss, model.preparation
    return member


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        word = "bias" if name == "--source" else "batch"
        raise ValueError(f'{name} expects a whole number or "{word}", got {text!r}') from None


def _neurons(text: str) -> tuple[Any, ...]:
    """The neurons of a path as `Path` shows them: "1-3-2", "bias-3-2", "1-LayerNorm 2-Residual shortcut-1"."""
    found: list[Any] = []
    for part in text.split("-"):
        name, _, way = part.strip().partition(" ")
        if way:
            found.append((name, int(way) if way.isdecimal() else way))
        else:
            found.append(int(name) if name.isdecimal() else name)
    return tuple(found)


def _picture(found: Route, kind_of_file: str, kind: Any, path: Any) -> bytes:
    from matplotlib import pyplot as plt

    figure: Any = found.plot(kind, path=path).figure
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=kind_of_file, dpi=150)
    finally:
        plt.close(figure)
    return buffer.getvalue()


def _page(found: Route, derivation: str, path: Any) -> str:
    kinds = ["heatmap"] if found.sample is None else ["network", "waterfall", "heatmap"]
    images = []
    for kind in kinds:
        data = base64.b64encode(_picture(found, "svg", kind, path)).decode("ascii")
        images.append(f'<p><img alt="{kind}" style="max-width:100%" src="data:image/svg+xml;base64,{data}"></p>')
    title = html.escape(f"Route of {found.name} ({found.element})")
    style = "body{font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{style}</style>'
    body = "\n".join([images[0], derivation, *images[1:]])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
