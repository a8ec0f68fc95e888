"""Whole processes from nothing to 0.97 on the digits, imports alone, and peak memory.

Kernels: from nothing to one step, with machine code out of the cache, and on a machine that has none yet.

Every run is a fresh interpreter: start, import, read the 1,797 digits, train a 64-128-10 network with Adam (rate 1e-3,
mini-batches of 32, each library's own initial weights, another seed in every round) until it is right on 97 % of every
fifth row, which it never trains on, measured after every epoch. The clock and the memory (the largest resident set) are
those that the system reports for the whole process. Files are in the system's cache, and compiled bytecode is there.
PyTorch reads the digits from a NumPy file; the others ship them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import densenet as dn

TARGET, MOST_EPOCHS = 0.97, 100

SPLIT = """
held_out = np.arange(len(x)) % 5 == 0
x_train, y_train, x_test, y_test = x[~held_out], y[~held_out], x[held_out], y[held_out]
"""

DENSENET = f"""
import json, sys
import numpy as np
import densenet as dn
x, y = dn.datasets.load_digits()
{SPLIT}
model = dn.mlp([64, 128, 10], activation="relu", seed=int(sys.argv[1]))
trainer = dn.Trainer(model, "softmax_cross_entropy", dn.Adam(1e-3), metrics=["accuracy"])
history = trainer.fit(x_train, y_train, epochs={MOST_EPOCHS}, batch_size=32, validation_data=(x_test, y_test),
                      seed=int(sys.argv[1]), callbacks=[dn.StopAt("val_accuracy", {TARGET})], progress=False)
print(json.dumps([history["val_accuracy"][-1], len(history["loss"])]))
"""

SCIKIT_LEARN = f"""
import json, sys
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
{SPLIT}
model = MLPClassifier((128,), learning_rate_init=1e-3, batch_size=32, alpha=0.0, random_state=int(sys.argv[1]))
for epoch in range(1, {MOST_EPOCHS + 1}):
    model.partial_fit(x_train, y_train, classes=np.arange(10))
    accuracy = model.score(x_test, y_test)
    if accuracy >= {TARGET}:
        break
print(json.dumps([accuracy, epoch]))
"""

TORCH = f"""
import json, sys
import numpy as np
import torch
torch.manual_seed(int(sys.argv[1]))
with np.load(sys.argv[2]) as file:
    x, y = file["x"], file["y"]
{SPLIT}
x_train, y_train, x_test, y_test = map(torch.from_numpy, (x_train, y_train, x_test, y_test))
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
error_of = torch.nn.CrossEntropyLoss()
for epoch in range(1, {MOST_EPOCHS + 1}):
    for rows in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        error_of(model(x_train[rows]), y_train[rows]).backward()
        optimizer.step()
    with torch.inference_mode():
        accuracy = (model(x_test).argmax(1) == y_test).double().mean().item()
    if accuracy >= {TARGET}:
        break
print(json.dumps([accuracy, epoch]))
"""

RUNS = {"densenet": DENSENET, "scikit-learn": SCIKIT_LEARN, "torch": TORCH}
IMPORTS = {
    "nothing": "pass",
    "numpy, scipy.linalg": "import numpy, scipy.linalg",
    "densenet": "import densenet",
    "sklearn.neural_network": "import sklearn.neural_network",
    "torch": "import torch",
    "jax": "import jax",
}
STEP = """
import densenet as dn
x, y = dn.datasets.load_digits()
trainer = dn.Trainer(dn.mlp([64, 128, 10], dropout=0.1, seed=0), "softmax_cross_entropy", "adam", compiled={compiled})
trainer.step(x[:32], y[:32])
"""
FIRST_STEP = {
    "densenet": STEP.format(compiled=False),
    "densenet, kernels": STEP.format(compiled=True),
    "densenet, kernels, first use": f"""
import os, tempfile
with tempfile.TemporaryDirectory() as folder:
    os.environ["NUMBA_CACHE_DIR"] = folder
    {STEP.format(compiled=True).strip().replace(chr(10), chr(10) + "    ")}
""",
}
"""To one step of training: by the NumPy lines, by kernels out of the cache, and by kernels that are compiled first."""
BESIDE = {
    "train": (("scikit-learn", "seconds", 2.0), ("torch", "seconds", 4.0), ("torch", "MiB", 3.0)),
    "import": (("numpy, scipy.linalg", "seconds", 1 / 1.5),),
}
"""Beside whom, in what, and the aim: theirs over ours."""


LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
memory = None
if hasattr(os, "wait4"):
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    memory = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
else:
    process.wait()
seconds = time.perf_counter() - began
print(json.dumps({"status": process.returncode, "seconds": seconds, "MiB": memory}))
"""
"""Between this process and the measured one: a process starts with the peak memory of the one that started it."""


def child(code: str, *arguments: str) -> dict[str, Any]:
    """Seconds and peak memory of a fresh interpreter that runs the code, and what it printed."""
    command = [sys.executable, "-S", "-c", LAUNCHER, code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *printed, last = done.stdout.splitlines()
    run: dict[str, Any] = json.loads(last)
    if status := run.pop("status"):
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {status}"])[-1]}
    return run | {"printed": "\n".join(printed)}


def measure(
    programs: dict[str, str], rounds: int, say: str, arguments: tuple[str, ...], left_out: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Rounds of all programs in an order drawn anew; a first run, to fill the caches, counts only where it is the only.

    A program that cannot run is named in `left_out`.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, code in programs.items():
        common.progress(f"{say}: {name}, first run")
        first = child(code, "0", *arguments)
        if "failed" in first:
            left_out[f"{say} {name}"] = first["failed"]
        else:
            runs[name] = [first] if rounds == 1 else []
    order, shuffler = list(runs), random.Random(0)
    for i in range(rounds if rounds > 1 else 0):
        shuffler.shuffle(order)
        for name in order:
            common.progress(f"{say}: round {i + 1}/{rounds}, {name}")
            runs[name].append(child(programs[name], str(i), *arguments))
    for name in [name for name, each in runs.items() if any("failed" in run for run in each)]:
        left_out[f"{say} {name}"] = next(run["failed"] for run in runs.pop(name) if "failed" in run)
    return runs


def main() -> None:
    args = common.parser(__doc__).parse_args()
    rounds = args.rounds or (1 if args.smoke else 7)
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        x, y = dn.datasets.load_digits()
        np.savez(path, x=x, y=y)
        measured = {
            "train": measure(RUNS, rounds, "train", (str(path),), left_out),
            "import": measure(IMPORTS, rounds if args.smoke else 2 * rounds + 1, "import", (), left_out),
            "first step": measure(
                dict([*FIRST_STEP.items()][:2] if args.smoke else FIRST_STEP), rounds, "first step", (), left_out
            ),
        }
    common.progress("")
    if not all("densenet" in runs for runs in measured.values()):
        raise SystemExit(f"densenet failed: {left_out}")
    head = ("what", "who", "seconds", "lower", "upper", "over ours", "MiB", "MiB over ours", "epochs", "accuracy")
    rows = []
    for what, runs in measured.items():
        for name, each in runs.items():
            rows.append((what, name, *figures(each, runs["densenet"])))
    aims = compared(measured)
    results = {"measured": measured, "aims": aims, "target": TARGET, "rounds": rounds, "left_out": left_out}
    common.save(args.out, "cold_start", results, head, rows, picture(measured))
    print("\n" + common.table(list(aims[0]), [list(aim.values()) for aim in aims]) if aims else "")
    for name, why in left_out.items():
        print(f"{name}: left out, {why}")


def figures(each: list[dict[str, Any]], ours: list[dict[str, Any]]) -> tuple[Any, ...]:
    """The table's columns for one program."""
    low, middle, high = common.spread([run["seconds"] for run in each])
    over = common.spread([run["seconds"] / own["seconds"] for run, own in zip(each, ours, strict=True)])[1]
    memory: Any = ""
    more: Any = ""
    if each[0]["MiB"] is not None:
        memory = round(common.spread([run["MiB"] for run in each])[1], 1)
        more = round(common.spread([run["MiB"] / own["MiB"] for run, own in zip(each, ours, strict=True)])[1], 2)
    accuracy: Any = ""
    epochs: Any = ""
    if each[0]["printed"]:
        reached = [json.loads(run["printed"]) for run in each]
        accuracy, epochs = round(min(a for a, _ in reached), 4), common.spread([e for _, e in reached])[1]
    return round(middle, 3), round(low, 3), round(high, 3), round(over, 2), memory, more, epochs, accuracy


def compared(measured: dict[str, dict[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Theirs over ours beside the aims."""
    aims = []
    for what, goals in BESIDE.items():
        runs = measured[what]
        for name, unit, aim in goals:
            if name in runs and runs[name][0][unit] is not None:
                ratios = [a[unit] / b[unit] for a, b in zip(runs[name], runs["densenet"], strict=True)]
                low, middle, high = (round(v, 2) for v in common.spread(ratios))
                aims.append(
                    {
                        "what": what,
                        "beside": name,
                        "of": unit,
                        "theirs / ours": middle,
                        "lower": low,
                        "upper": high,
                        "aim": round(aim, 2),
                        "reached": middle >= aim,
                    }
                )
    return aims


def picture(measured: dict[str, dict[str, list[dict[str, Any]]]]) -> Any:
    """Bars of seconds and of memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        len(measured), 2, figsize=(10, 6), height_ratios=[len(runs) for runs in measured.values()], layout="constrained"
    )
    titles = (f"to {TARGET} on the digits", "import alone", "one step")
    for line, runs, title in zip(axes, measured.values(), titles, strict=True):
        names = list(runs)[::-1]
        colors = ["#4477aa" if name == "densenet" else "#bbbbbb" for name in names]
        for ax, unit, label in zip(line, ("seconds", "MiB"), ("seconds", "peak memory, MiB"), strict=True):
            values = [common.spread([run[unit] or 0.0 for run in runs[name]])[1] for name in names]
            ax.barh(names, values, color=colors)
            for i, value in enumerate(values):
                ax.text(value, i, f" {value:.2f}" if unit == "seconds" else f" {value:.0f}", va="center", fontsize=9)
            ax.set_xlim(0, 1.15 * max(values) or 1)
            ax.set_title(f"{title}: {label}", fontsize=10, loc="left")
            ax.spines[["top", "right"]].set_visible(False)
        line[1].set_yticklabels([])
    return figure


if __name__ == "__main__":
    main()
