"""What `LivePlot` costs: the same training in a notebook's kernel, with and without it.

Both train in one kernel, turn about. The time is that of `fit` with every picture. "While training" leaves out the last
one, which is drawn when training is over, and which in a short run is the only one. A first picture, which imports
matplotlib, is drawn before the clock runs, and said apart.
"""

from __future__ import annotations

import json
from typing import Any

import _common as common

NET = (64, 128, 10)
EPOCHS = (200, 1000, 5000)

CELL = """
import json, time
import densenet as dn

x, y = dn.datasets.load_digits()

def fit(epochs, *callbacks):
    trainer = dn.Trainer(dn.mlp({net}, seed=0), "softmax_cross_entropy", dn.SGD(0.01), metrics=["accuracy"])
    began = time.perf_counter()
    trainer.fit(x, y, epochs=epochs, validation_split=0.2, seed=0, callbacks=callbacks, progress=False)
    return time.perf_counter() - began

alone = fit(1)
first = fit(1, dn.LivePlot()) - alone
seconds, pictures, last = {{"without": [], "with": []}}, [], []
for i in range({rounds}):
    for way in ("without", "with")[:: -1 if i % 2 else 1]:
        plots = [dn.LivePlot()] if way == "with" else []
        seconds[way].append(fit({epochs}, *plots))
        pictures += [plot.pictures for plot in plots]
        last += [plot._next for plot in plots]
print(json.dumps({{"seconds": seconds, "pictures": pictures, "last": last, "first": first}}))
"""


def in_a_kernel(code: str) -> dict[str, Any]:
    """What the code prints last, run as a cell."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    printed = "".join(o.text for o in notebook.cells[0].outputs if o.output_type == "stream" and o.name == "stdout")
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def main() -> None:
    args = common.parser(__doc__).parse_args()
    rounds = args.rounds or (1 if args.smoke else 5)
    rows, results = [], []
    for epochs in (2,) if args.smoke else EPOCHS:
        common.progress(f"{epochs} epochs")
        found = in_a_kernel(CELL.format(net=list(NET), rounds=rounds, epochs=epochs))
        low, middle, high = common.spread(common.ratios(found["seconds"], "with", "without"))
        training = [s - t for s, t in zip(found["seconds"]["with"], found["last"], strict=True)]
        during = common.spread(common.ratios(found["seconds"] | {"with": training}, "with", "without"))[1]
        seconds = common.spread(found["seconds"]["without"])[1]
        pictures = common.spread(found["pictures"])[1]
        rows.append((epochs, round(seconds, 3), pictures, *(round(r, 4) for r in (during, middle, low, high))))
        ratios = {"while training": during, "ratio": middle, "lower quartile": low, "upper quartile": high}
        results.append({"epochs": epochs, "rounds": rounds, **found, **ratios})
    common.progress("")
    head = ("epochs", "seconds", "pictures", "while training", "with / without", "lower quartile", "upper quartile")
    common.save(args.out, "live_plot", results, head, rows)


if __name__ == "__main__":
    main()
