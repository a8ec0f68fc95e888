"""What `LivePlot` costs: the same training in a notebook's kernel, with and without it.

Both train in one kernel, turn about. The time is that of `fit`, with every picture, the last one too; a first picture,
which imports matplotlib, is drawn before the clock runs, and said apart. In a short training the last picture, which is
always drawn, weighs more than the share that the pictures before it may take.
"""

from __future__ import annotations

import json
from typing import Any

import _common as common

NET = (64, 128, 10)
EPOCHS = (40, 200, 1000)

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
seconds, pictures = {{"without": [], "with": []}}, []
for i in range({rounds}):
    for way in ("without", "with")[:: -1 if i % 2 else 1]:
        plots = [dn.LivePlot()] if way == "with" else []
        seconds[way].append(fit({epochs}, *plots))
        pictures += [plot.pictures for plot in plots]
print(json.dumps({{"seconds": seconds, "pictures": pictures, "first": first}}))
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
    rounds = args.rounds or (1 if args.smoke else 7)
    rows, results = [], []
    for epochs in (3,) if args.smoke else EPOCHS:
        common.progress(f"{epochs} epochs")
        found = in_a_kernel(CELL.format(net=list(NET), rounds=rounds, epochs=epochs))
        low, middle, high = common.spread(common.ratios(found["seconds"], "with", "without"))
        seconds = common.spread(found["seconds"]["without"])[1]
        pictures = common.spread(found["pictures"])[1]
        rows.append((epochs, round(seconds, 3), pictures, round(middle, 4), round(low, 4), round(high, 4)))
        results.append({"epochs": epochs, "rounds": rounds, **found, "ratio": middle, "lower": low, "upper": high})
    common.progress("")
    head = ("epochs", "seconds without", "pictures", "with / without", "lower quartile", "upper quartile")
    common.save(args.out, "live_plot", results, head, rows)


if __name__ == "__main__":
    main()
