"""The explorer's gallery: `python site/gallery.py [FOLDER]` writes it, by default to build/site/gallery.

Each page is one file of `dn.explore`: the notes' network, XOR that gets stuck and XOR that does not, two spirals, a
tower in which the gradient vanishes, handwritten digits.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import densenet as dn
from densenet.explore import Explorer


@dataclass(frozen=True)
class Exhibit:
    """A page of the gallery: its file, its title, what to try in it, and what makes it."""

    file: str
    title: str
    text: str
    make: Callable[[str], Explorer]


def notes(title: str) -> Explorer:
    """The network of the notes, with the weight of their example chosen."""
    return dn.explore(*dn.datasets.notes_network(), select=(1, 1, 3), title=title)


def xor(title: str, seed: int) -> Explorer:
    """Two hidden neurons on XOR; the seed decides whether gradient descent gets stuck."""
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
    model = dn.mlp([2, 2, 1], activation="tanh", seed=seed, dtype="float64")
    recorder = dn.Recorder(snapshots=100)
    trainer = dn.Trainer(model, dn.SigmoidCrossEntropy(), dn.SGD(0.5))
    trainer.fit(x, y, epochs=1500, batch_size=4, seed=0, callbacks=[recorder])
    return dn.explore(model, trainer.loss, x, y, recorder=recorder, title=title)


def spirals(title: str) -> Explorer:
    """Two spirals, after a training that separates them."""
    x, y = dn.datasets.two_spirals(160, turns=1.0, seed=0)
    model = dn.mlp([2, 12, 8, 1], activation="tanh", seed=1, dtype="float64")
    recorder = dn.Recorder(snapshots=60)
    trainer = dn.Trainer(model, dn.SigmoidCrossEntropy(), dn.Adam(0.02))
    trainer.fit(x, y, epochs=400, batch_size=32, seed=0, callbacks=[recorder])
    return dn.explore(model, trainer.loss, x, y, recorder=recorder, title=title)


def tower(title: str) -> Explorer:
    """Eight sigmoid layers on two moons, untrained: each layer lets a fraction of the error through."""
    x, y = dn.datasets.moons(80, seed=0)
    model = dn.mlp([2, *[4] * 8, 1], activation="sigmoid", seed=0, dtype="float64")
    return dn.explore(model, dn.SigmoidCrossEntropy(), x, y, title=title)


def digits(title: str) -> Explorer:
    """Handwritten digits of 8 x 8 pixels, after a short training."""
    x, y = dn.datasets.load_digits()
    model = dn.mlp([64, 32, 10], activation="relu", seed=0)
    recorder = dn.Recorder(snapshots=20)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.Adam(0.005))
    trainer.fit(x, y, epochs=8, batch_size=32, seed=0, callbacks=[recorder])
    return dn.explore(model, trainer.loss, x[:300], y[:300], recorder=recorder, image=(8, 8), title=title)


EXHIBITS = (
    Exhibit(
        "notes.html",
        "The network of the notes",
        "2-3-2-2-1 neurons and one sample. Four routes lead from the chosen weight to the error. Drag the weight and "
        "watch them; then step through one backward pass.",
        notes,
    ),
    Exhibit(
        "xor-stuck.html",
        "XOR that gets stuck",
        "Two hidden neurons, trained to a standstill: E stays near 0.35, the gradient is almost 0, and two of the four "
        "samples are answered with a coin's toss. Look at how the samples pull against each other.",
        lambda title: xor(title, 4),
    ),
    Exhibit(
        "xor.html",
        "XOR that does not get stuck",
        "The same network from other first weights. Move through the recorded training and see the two hidden neurons "
        "divide the plane between them.",
        lambda title: xor(title, 0),
    ),
    Exhibit(
        "spirals.html",
        "Two spirals",
        "Each neuron shows where in the plane it answers: lines in the first layer, bends in the second, a spiral at "
        "the end.",
        spirals,
    ),
    Exhibit(
        "vanishing.html",
        "A tower in which the gradient vanishes",
        "Eight layers of sigmoids. The chart of how the error fades shows what is left of it after each layer. Switch "
        "the activation to ReLU or Tanh and compare.",
        tower,
    ),
    Exhibit(
        "digits.html",
        "Handwritten digits",
        "64 pixels, 32 neurons, ten classes. Choose a row to see its picture, and a neuron of layer 1 to see the "
        "weights that lead into it, as a picture too.",
        digits,
    ),
)  # fmt: skip


def write_gallery(folder: Path) -> tuple[Exhibit, ...]:
    """Write the gallery's pages and their list, `index.html`, into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for exhibit in EXHIBITS:
        exhibit.make(exhibit.title).save(folder / exhibit.file)
    items = "\n".join(
        f'<dt><a href="{exhibit.file}">{html.escape(exhibit.title)}</a></dt>\n<dd>{html.escape(exhibit.text)}</dd>'
        for exhibit in EXHIBITS
    )
    (folder / "index.html").write_text(INDEX.replace("{{items}}", items), encoding="utf-8")
    return EXHIBITS


INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Gallery - densenet explorer</title>
<style>
body { font: 17px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
dt { font-weight: 600; margin-top: 1rem; }
dd { margin: 0; }
</style>
</head>
<body>
<main>
<h1>Networks to touch</h1>
<p>Each page computes for itself and needs no network. Click a line, then drag the weight.</p>
<dl>
{{items}}
</dl>
</main>
</body>
</html>
"""


def main(arguments: list[str]) -> None:
    """Write the gallery into the folder named on the command line."""
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "build" / "site" / "gallery"
    for exhibit in write_gallery(folder):
        print(folder / exhibit.file)


if __name__ == "__main__":
    main(sys.argv[1:])
