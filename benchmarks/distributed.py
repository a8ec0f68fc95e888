"""An epoch on one and on two ranks, beside a model of it and beside PyTorch's DistributedDataParallel with gloo.

Every rank has one BLAS thread. Every round starts the contenders again, in another order. Each trains the
same networks on the same rows, and tells the median of its epochs: shuffle, gather, forward, softmax cross-entropy,
backward, all-reduce, gradient descent. The mini-batch is shared by all ranks. The efficiency is the time of one
rank over twice the time of two.

Two ranks of one machine do not compute as if each were alone: cores share caches, memory, power, and some are two
threads of one core. So the bare products of half the mini-batch are timed in one process, and in two at once; their
quotient is how much processes slow each other. The model of a step on two ranks is::

    slowdown * products + rest + latency + floats / bandwidth

where the rest is what else a step on half the rows takes while the other process does the same, without communication,
and latency and bandwidth are fitted to all-reduces of several sizes. Where the all-reduce takes less than 5 % of the
one-rank step, the aim is an efficiency of 0.85; elsewhere it is a step within 10 % of the model's.

The prediction for up to 64 machines takes the measured step of one rank on its share of the rows, and for the
all-reduce of n floats of 4 bytes by recursive halving and doubling, with latency a and seconds for a byte b::

    2 log2(N) a + 2 (N - 1) / N 4 n b

(Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", 2005, section 5; the
additions are left out). Networks between machines have published figures: InfiniBand HDR 0.6 us and 200 Gb/s (NVIDIA,
ConnectX-6 user manual); virtual machines on 10 Gb/s Ethernet 48 us, half of a round trip of 96, and 95 % of the rate
(Scalable Logic, "Enhanced Networking in the AWS Cloud, part 2", 2014). No such machine was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

NETS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((64, 128, 10), 32),
    ((64, 128, 10), 1024),
    ((784, 128, 10), 128),
    ((784, 512, 256, 10), 128),
    ((784, 512, 256, 10), 1024),
    ((300, 1000, 1000, 20), 1024),
)
BUFFERS = (1, 1000, 10_000, 100_000, 300_000, 1_000_000)
"""Floats."""
LINKS = {"InfiniBand HDR": (0.6e-6, 1 / 25e9), "10 Gb/s Ethernet": (48e-6, 1 / (0.95 * 1.25e9))}
"""Seconds of latency and seconds for a byte, as published."""
MACHINES = (1, 2, 4, 8, 16, 32, 64)
LIMIT, EFFICIENCY, WITHIN = 0.05, 0.85, 0.10
OURS, TWO, TORCH, DDP = "densenet", "densenet, 2 ranks", "torch", "torch DDP, 2 ranks"
CONTENDERS = (OURS, TWO, TORCH, DDP)


def name_of(net: tuple[tuple[int, ...], int]) -> str:
    return common.net_name(*net)


def parameters(widths: tuple[int, ...]) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


def steps_for(net: tuple[tuple[int, ...], int], smoke: bool) -> int:
    """Mini-batches of an epoch of some 0.15 s."""
    widths, batch = net
    return 2 if smoke else int(np.clip(6e9 / (6 * batch * parameters(widths)), 3, 1000))


def data(net: tuple[tuple[int, ...], int], steps: int) -> tuple[Any, Any]:
    widths, batch = net
    rng = np.random.default_rng(0)
    return rng.standard_normal((steps * batch, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], steps * batch)


# -- contenders: each in processes of its own --------------------------------------------------------------------------


def seconds_a_step(net: tuple[tuple[int, ...], int], steps: int, epochs: int, batch: int, communicator: Any) -> float:
    """The median epoch of a fit, per step; the first one does not count."""
    import densenet as dn

    x, y = data(net, steps)
    x, y = x[: steps * batch], y[: steps * batch]
    model = dn.mlp(net[0], activation="relu", seed=0)
    trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), dn.SGD(0.01), compiled=False, communicator=communicator)
    history = trainer.fit(x, y, epochs=epochs + 1, batch_size=batch, seed=0, progress=False)
    return statistics.median(np.diff(history["seconds"])) / steps


def seconds_of_products(net: tuple[tuple[int, ...], int], steps: int, epochs: int) -> float:
    """The median over epochs of the bare products of a step on half the rows; the first does not count."""
    from step import products_alone  # PyTorch's processes do without

    call, times = products_alone(net[0], net[1] // 2, steps), []
    for _ in range(epochs + 1):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) / steps


def densenet_contender(smoke: bool, epochs: int) -> dict[str, Any]:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    communicator = world if world.size > 1 else None
    made: dict[str, Any] = {"step": {}, "half": {}, "products": {}, "share": {}}
    for net in nets(smoke):
        world.Barrier()
        made["step"][name_of(net)] = seconds_a_step(net, steps_for(net, smoke), epochs, net[1], communicator)
        if world.size > 1:  # no communication, both processes at work
            world.Barrier()
            made["half"][name_of(net)] = seconds_a_step(net, steps_for(net, smoke), epochs, net[1] // 2, None)
        world.Barrier()
        made["products"][name_of(net)] = seconds_of_products(net, steps_for(net, smoke), epochs)
        if world.size == 1:
            for machines in MACHINES if net[1] >= 1024 else ():
                rows = max(1, net[1] // machines)
                steps = max(2, steps_for(net, smoke))
                made["share"].setdefault(name_of(net), {})[machines] = seconds_a_step(net, steps, epochs, rows, None)
    if world.size > 1:
        made["all-reduce"] = {count: all_reduce(world, count, smoke) for count in sizes(smoke)}
    return made


def all_reduce(world: Any, count: int, smoke: bool) -> float:
    """Seconds of one all-reduce of so many floats."""
    from mpi4py import MPI

    buffer, times = np.zeros(count, np.float32), []
    repeats = 3 if smoke else int(np.clip(2e6 / count, 20, 1000))
    for _ in range(5):
        world.Barrier()
        began = time.perf_counter()
        for _ in range(repeats):
            world.Allreduce(MPI.IN_PLACE, buffer)
        times.append((time.perf_counter() - began) / repeats)
    return statistics.median(times)


def torch_contender(smoke: bool, epochs: int) -> dict[str, Any]:
    import torch
    from torch import distributed, nn

    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD"])
    if size > 1:
        distributed.init_process_group("gloo", init_method=os.environ["MEET"], rank=rank, world_size=size)
    made: dict[str, Any] = {"step": {}}
    for net in nets(smoke):
        torch.manual_seed(0)
        layers: list[Any] = []
        for a, b in pairwise(net[0]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        model: Any = nn.Sequential(*layers[:-1])
        model = nn.parallel.DistributedDataParallel(model) if size > 1 else model
        optimizer, loss = torch.optim.SGD(model.parameters(), 0.01), nn.CrossEntropyLoss()
        steps, batch = steps_for(net, smoke), net[1]
        x, y = map(torch.from_numpy, data(net, steps))
        shuffler, times = torch.Generator().manual_seed(0), []
        mine = slice(rank * batch // size, (rank + 1) * batch // size)
        for _ in range(epochs + 1):
            if size > 1:
                distributed.barrier()
            began = time.perf_counter()
            order, total = torch.randperm(len(x), generator=shuffler), 0.0
            for start in range(0, len(x), batch):
                rows = order[start : start + batch][mine]
                optimizer.zero_grad()
                error = loss(model(x[rows]), y[rows])
                error.backward()
                optimizer.step()
                total += error.item()
            times.append(time.perf_counter() - began)
        made["step"][name_of(net)] = statistics.median(times[1:]) / steps
    return made


def nets(smoke: bool) -> tuple[tuple[tuple[int, ...], int], ...]:
    return NETS[:2] if smoke else NETS


def sizes(smoke: bool) -> list[int]:
    """Sizes of the buffers that are reduced: some from small to large, and the networks'."""
    of_nets = {parameters(widths) + 4 for widths, _ in nets(smoke)}
    return sorted({*(BUFFERS[:3] if smoke else BUFFERS), *of_nets})


# -- rounds ------------------------------------------------------------------------------------------------------------


def measure(contender: str, smoke: bool, epochs: int) -> dict[str, Any]:
    """Start a contender's processes; what the first of them has found."""
    arguments = ["--contender", contender, *(["--smoke"] if smoke else []), "--epochs", str(epochs)]
    command = [sys.executable, __file__, *arguments]
    import densenet

    paths = [str(Path(densenet.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    ranks = 2 if "2 ranks" in contender else 1
    if contender in (OURS, TWO):
        mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        assert mpiexec, "mpiexec, of the extra [mpi] or the system, is missing"
        done = subprocess.run(
            [mpiexec, "-n", str(ranks), *command], env=variables, check=True, stdout=subprocess.PIPE, text=True
        )
        return dict(json.loads(done.stdout))
    with tempfile.TemporaryDirectory() as folder:
        variables |= {"WORLD": str(ranks), "MEET": f"file://{folder}/meet"}
        started = [
            subprocess.Popen(command, env=variables | {"RANK": str(i)}, stdout=subprocess.PIPE, text=True)
            for i in range(ranks)
        ]
        said = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            raise RuntimeError(f"{contender} has failed")
        return dict(json.loads(said[0]))


def run_contender(contender: str, smoke: bool, epochs: int) -> None:
    if contender in (OURS, TWO):
        from mpi4py import MPI

        made, rank = densenet_contender(smoke, epochs), MPI.COMM_WORLD.rank
    else:
        made, rank = torch_contender(smoke, epochs), int(os.environ["RANK"])
    if rank == 0:
        print(json.dumps(made))


def middle(rounds: list[dict[str, Any]], *keys: str) -> float:
    """The median over the rounds."""
    values = []
    for one in rounds:
        value: Any = one
        for key in keys:
            value = value[key]
        values.append(value)
    return statistics.median(values)


def line(rounds: list[dict[str, Any]], smoke: bool) -> tuple[float, float]:
    """Latency and floats a second of the all-reduce, by least squares of relative deviations."""
    counts = np.array(sizes(smoke), float)
    times = np.array([middle(rounds, "all-reduce", str(count)) for count in sizes(smoke)])
    slope, latency = np.polyfit(counts, times, 1, w=1 / times)
    return max(latency, 0.0), 1 / max(slope, 1e-15)


def predicted(rows: dict[str, float], count: int, link: tuple[float, float]) -> dict[int, float]:
    """Seconds of a step on so many machines."""
    latency, byte = link
    return {
        n: rows[str(n)] + (2 * math.log2(n) * latency + 2 * (n - 1) / n * 4 * count * byte if n > 1 else 0.0)
        for n in MACHINES
    }


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options.add_argument("--epochs", type=int, default=0, help="timed epochs a round (default: 3, with --smoke 1)")
    args = options.parse_args()
    epochs = args.epochs or (1 if args.smoke else 3)
    if args.contender:
        run_contender(args.contender, args.smoke, epochs)
        return
    contenders = list(CONTENDERS if _has_torch() else CONTENDERS[:2])
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    shuffler, count = random.Random(0), args.rounds or (1 if args.smoke else 5)
    for i in range(count):
        shuffler.shuffle(contenders)
        for contender in contenders:
            common.progress(f"round {i + 1}/{count}, {contender}")
            rounds[contender].append(measure(contender, args.smoke, epochs))
        with contextlib.redirect_stdout(io.StringIO()):
            write(args, rounds)  # what a run that is cut short has measured
    common.progress("")
    write(args, rounds)


def write(args: argparse.Namespace, rounds: dict[str, list[dict[str, Any]]]) -> None:
    """Put the rounds so far together, and write and print them."""
    latency, floats = line(rounds[TWO], args.smoke)
    rows, results = [], []
    for net in nets(args.smoke):
        row = compared(net, rounds, latency, floats)
        results.append(row)
        rows.append([_short(value) for name, value in row.items() if name != "rounds"])
    predictions = {
        name_of(net): {
            link: predicted(share_of(rounds[OURS], net), parameters(net[0]), figures) for link, figures in LINKS.items()
        }
        for net in nets(args.smoke)
        if net[1] >= 1024
    }
    head = [name for name in results[0] if name != "rounds"]
    found = {
        "steps": results,
        "all-reduce": {"latency_us": 1e6 * latency, "floats_per_second": floats}
        | {"us": {size: 1e6 * middle(rounds[TWO], "all-reduce", str(size)) for size in sizes(args.smoke)}},
        "prediction, not measured: seconds a step by machines": predictions,
        "links, as published: latency s, s a byte": LINKS,
    }
    print(tabulated(predictions), end="\n\n")
    common.save(args.out, "distributed", found, head, rows, picture(results, predictions))


def share_of(rounds: list[dict[str, Any]], net: tuple[tuple[int, ...], int]) -> dict[str, float]:
    return {str(n): middle(rounds, "share", name_of(net), str(n)) for n in MACHINES}


def compared(
    net: tuple[tuple[int, ...], int], rounds: dict[str, list[dict[str, Any]]], latency: float, floats: float
) -> dict[str, Any]:
    """A network's row of the table; times in microseconds a step."""
    name, size = name_of(net), parameters(net[0]) + 4
    one, two = middle(rounds[OURS], "step", name), middle(rounds[TWO], "step", name)
    half, reduce = middle(rounds[TWO], "half", name), middle(rounds[TWO], "all-reduce", str(size))
    products = middle(rounds[OURS], "products", name)
    slowdown = middle(rounds[TWO], "products", name) / products
    rest = half - slowdown * products
    model = slowdown * products + rest + latency + size / floats
    row = {
        "net, batch": name,
        "1 rank, us": 1e6 * one,
        "2 ranks, us": 1e6 * two,
        "efficiency": one / (2 * two),
        "products, us": 1e6 * products,
        "slowdown": slowdown,
        "rest, us": 1e6 * rest,
        "all-reduce, us": 1e6 * reduce,
        "all-reduce / step": reduce / one,
        "model, us": 1e6 * model,
        "measured / model": two / model,
    }
    aim = one / (2 * two) >= EFFICIENCY if reduce / one < LIMIT else abs(two / model - 1) <= WITHIN
    row["aim"] = f"{'efficiency' if reduce / one < LIMIT else 'model'} {'met' if aim else 'missed'}"
    if DDP in rounds:
        alone, ddp = middle(rounds[TORCH], "step", name), middle(rounds[DDP], "step", name)
        row |= {"torch, us": 1e6 * alone, "DDP, us": 1e6 * ddp, "DDP / ours": ddp / two}
    return row | {"rounds": len(rounds[OURS])}


def _short(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _has_torch() -> bool:
    with contextlib.suppress(ImportError):
        import torch.distributed

        return bool(torch.distributed.is_available())
    return False


def tabulated(predictions: dict[str, dict[str, dict[int, float]]]) -> str:
    """How many times as fast as one machine, for every network and link."""
    rows = [
        [net, link, *(times[1] / times[n] for n in MACHINES[1:])]
        for net, links in predictions.items()
        for link, times in links.items()
    ]
    head = ["PREDICTED speed-up", "between machines", *(str(n) for n in MACHINES[1:])]
    return common.table(head, rows)


def picture(results: list[dict[str, Any]], predictions: dict[str, dict[str, dict[int, float]]]) -> Any:
    """Left, steps on one and two ranks, the model and DDP; right, the predicted speed-up."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    names = [row["net, batch"] for row in results]
    shown = {
        "1 rank, us": ("densenet, 1 rank", "#4477aa", "o"),
        "2 ranks, us": ("densenet, 2 ranks", "#ee6677", "o"),
        "model, us": ("model of 2 ranks", "black", "|"),
        "torch, us": ("PyTorch, 1 process", "#bbbbbb", "s"),
        "DDP, us": ("PyTorch DDP, 2 processes", "#ccbb44", "s"),
    }
    for key, (label, color, marker) in shown.items():
        if key in results[0]:
            values = [row[key] for row in results]
            left.plot(
                values, range(len(names)), marker, color=color, label=label, markersize=14 if marker == "|" else 7
            )
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xscale("log")
    left.xaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("microseconds a step (measured, one thread each)")
    left.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=3)
    right.plot(MACHINES, MACHINES, ":", color="#bbbbbb")
    colors = dict(zip(predictions, ("#4477aa", "#ee6677", "#228833", "#aa3377"), strict=False))
    for net, links in predictions.items():
        for style, (link, times) in zip(("-", "--"), links.items(), strict=True):
            speed = [times[1] / times[n] for n in MACHINES]
            right.plot(MACHINES, speed, style, color=colors[net], marker=".", label=f"{net}; {link}")
    right.set_xscale("log", base=2)
    right.set_yscale("log", base=2)
    right.set_xticks(MACHINES, [str(n) for n in MACHINES])
    right.set_yticks(MACHINES, [str(n) for n in MACHINES])
    right.set_title("PREDICTION from published latencies, not measured", fontsize=10)
    right.set_xlabel("machines of one rank each")
    right.set_ylabel("times as fast as one")
    right.legend(frameon=False, fontsize=7)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
