"""The page: one file with its own style, scripts and data, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any

from densenet.explore.recorder import Recorder
from densenet.losses.base import Loss
from densenet.sequential import Sequential

SCRIPTS = ("engine.js", "routes.js", "steps.js", "mathml.js", "picture.js", "charts.js", "page.js")
"""In the order in which the page runs them, as one script."""


@dataclass(frozen=True, eq=False)
class Explorer:
    """A page on one model and its data. `explore` makes it; a notebook shows it, `save` writes it.

    Attributes
    ----------
    html : str
        The whole page.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.explore(*dn.datasets.notes_network()).html.startswith("<!DOCTYPE html>")
    True
    """

    html: str = field(repr=False)
    _about: str = ""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, which opens in any browser without a network.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        Path
            Where it stands.

        Raises
        ------
        OSError
            If it cannot be written, naming the path; a file that stood there is as it was.
        """
        from densenet._files import replacing

        with replacing(path) as file:
            file.write(self.html.encode("utf-8"))
        return Path(path)

    def __repr__(self) -> str:
        return f'<Explorer of {self._about}: save("page.html") writes the page>'

    def _repr_html_(self) -> str:
        page = html.escape(self.html, quote=True)
        return (
            f'<iframe sandbox="allow-scripts" width="100%" height="900" title="densenet explorer" srcdoc="{page}">'
            "</iframe>"
            "<p>No page above this line? The notebook is not trusted: trust it, or write the page to a file with "
            '<code>.save("page.html")</code>.</p>'
        )


def explore(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    *,
    recorder: Recorder | None = None,
    select: Sequence[Any] | None = None,
    title: str | None = None,
    image: Sequence[int] | None = None,
) -> Explorer:
    """A page in which a person touches a weight and sees why it changes.

    The page computes for itself, in float64 and in the order of `Sequential`; every number in it is one of::

        forward     z(l) = a(l-1) W(l) + b(l)        a(l) = f(z(l))        E(y^, y)
        routes      dE/dw = sum over paths of a f' w f' ... dE/dz(L)
        update      w_new = w_old - alpha dE/dw

    Nothing of the model changes. E is without penalties, noise layers are off, and gradients of the batch carry the
    loss's 1/n.

    Parameters
    ----------
    model : Sequential
        Dense layers in a chain with elementwise activations between them, Softmax at the end, noise layers.
    loss : Loss or str
        A squared error or a cross-entropy.
    x : array_like (n, n_in)
        A data frame's column names are shown.
    y : array_like
        Targets as the loss takes them. Of x and y at most 2,000 rows or 2 MB go into the page, of models above 10,000
        weights as many as make 20 million products, drawn at random with seed 0. The page says how many, and shows E
        and the chosen weight's gradient over all rows, for the weights as they are given.
    recorder : Recorder, optional
        The weights of a training, to scrub over.
    select : (layer, source, target), optional
        The weight that is chosen at first, counted from 1; source may be "bias". By default the one of layer 1 with
        the largest gradient.
    title : str, optional
    image : (height, width), optional
        The inputs are pixels, row by row: a row of x, and the weights into a neuron of layer 1, are drawn as pictures.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError, TypeError
        If the page cannot compute a layer or the loss (naming it, and what it knows), if weights, x, y or E are no
        finite numbers, if x or y do not fit, if there is no such weight, if image has not one pixel for each column of
        x, or if the recorder belongs to another model.

    References
    ----------
    .. [1] Smilkov et al., "Direct-manipulation visualization of deep networks" (2017): TensorFlow Playground.

    Examples
    --------
    >>> import densenet as dn
    >>> page = dn.explore(*dn.datasets.notes_network())
    >>> page
    <Explorer of 2-3-2-2-1 and 1 row: save("page.html") writes the page>
    >>> page.save(getfixture("tmp_path") / "page.html").exists()
    True
    """
    from densenet.explore.data import page_data

    data = page_data(model, loss, x, y, recorder)
    data["select"] = _selection(data, select)
    data["image"] = _image(data, image)
    widths = [data["layers"][0]["W"]["shape"][0], *(layer["W"]["shape"][1] for layer in data["layers"])]
    about = f"{'-'.join(map(str, widths))} and {data['n']:,} row{'s' if data['n'] > 1 else ''}"
    data["title"] = str(title) if title is not None else f"A network {'-'.join(map(str, widths))}"
    return Explorer(_page(data), about)


def _selection(data: dict[str, Any], select: Sequence[Any] | None) -> list[int] | None:
    """[layer, source, target] from 0, with source -1 for a bias; None lets the page choose."""
    if select is None:
        return None
    try:
        layer, source, target = select
    except (TypeError, ValueError):
        raise ValueError(f"explore expects select to be (layer, source, target), got {select!r}.") from None
    count = len(data["layers"])
    at = _number(layer, count)
    if at is None:
        raise ValueError(f"explore: select names dense layer {layer!r}; there are dense layers 1 to {count}.")
    entry = data["layers"][at]
    n_in, n_out = entry["W"]["shape"]
    to = _number(target, n_out)
    if to is None:
        raise ValueError(f"explore: select names neuron {target!r} of dense layer {at + 1}, which has 1 to {n_out}.")
    if isinstance(source, str) and source == "bias":
        if entry["b"] is None:
            raise ValueError(f"explore: select names a bias, and dense layer {at + 1} has none.")
        return [at, -1, to]
    start = _number(source, n_in)
    if start is None:
        raise ValueError(
            f'explore: select names source {source!r} of dense layer {at + 1}; it has 1 to {n_in}, or "bias".'
        )
    return [at, start, to]


def _number(value: Any, count: int) -> int | None:
    """A whole number from 1 to count as an index from 0, else None."""
    try:
        at = None if isinstance(value, bool) else index(value) - 1
    except TypeError:
        return None
    return at if at is not None and 0 <= at < count else None


def _image(data: dict[str, Any], image: Sequence[int] | None) -> list[int] | None:
    """[height, width] of the picture that a row is."""
    if image is None:
        return None
    count = data["layers"][0]["W"]["shape"][0]
    try:
        height, width = map(index, image)
    except (TypeError, ValueError):
        raise ValueError(f"explore expects image to be (height, width), got {image!r}.") from None
    if height < 1 or width < 1 or height * width != count:
        raise ValueError(f"explore: an image of {height} x {width} pixels is not a row of {count} inputs.")
    return [height, width]


def _page(data: dict[str, Any]) -> str:
    """The page with everything in it; the policy names style and script by the hashes of their text."""
    style = _text("style.css")
    script = "\n".join(map(_text, SCRIPTS))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    # as JSON in a script that is not run, "<" is the only character that could end it or begin markup
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    values = {
        "policy": policy,
        "title": html.escape(str(data["title"])),
        "style": style,
        "data": text,
        "script": script,
    }
    pieces = re.split(r"\{\{(\w+)\}\}", _text("page.html"))
    return "".join(values[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def _text(name: str) -> str:
    from importlib import resources

    return resources.files("densenet.explore").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
