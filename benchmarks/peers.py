"""Whole training runs of five epochs beside PyTorch, JAX, scikit-learn and Keras, whichever of them is installed.

An epoch is shuffle, gather, forward, softmax cross-entropy, backward, update, and the epoch's mean error read out.
All start from the same weights on the same data with the same optimizer. Every contender lives in a process of its own
with two threads, waits stopped while it is not its turn (idle threads that spin would take time from the next one),
and trains five epochs in every round, in an order drawn anew. Whoever has a call for all of them (`fit`) makes one, as
in use. Ratios are taken within a round: peer's time over ours.

Before the clock runs, all of them train without shuffling, and the error on all the data afterwards has to be the same:
it may differ from ours by 1 % of what it has fallen. scikit-learn's Adam adds epsilon before the bias of the second
moment is taken out, the others after; at 1e-8 that moves only weights whose gradient is next to nothing, and one
tolerance serves all. Two classes are trained as two softmax outputs everywhere, so that the networks are the same.

PyTorch runs its fused optimizers; compiled means forward pass and loss through `torch.compile`. JAX keeps data and
weights on its device and gives up its old buffers; "step" is one jitted call a step, "epoch" the epoch in `lax.scan`.
densenet is the plain installation, NumPy and SciPy alone. "densenet [fast]", where numba is installed, makes its steps
with compiled kernels (``compiled=True``); its kernels are compiled before the clock runs, as the peers' are. Ratios are
taken to both. The products alone, by SciPy's BLAS and by PyTorch's, are the limit: cells where they take less than half
of a plain step of gradient descent are those where calls dominate.

With ``--cells`` some networks are measured at a time: they take the place of the same ones in the results' file, and
the tables and the picture are made of all that are there.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import _common as common
import numpy as np

EPOCHS = 5
"""In a round."""
UNTUNED: tuple[tuple[tuple[int, ...], int], ...] = (
    ((3, 5, 3), 5),
    ((33, 77, 51, 6), 48),
    ((300, 100, 100, 100, 100, 20), 250),
    ((1000, 1500, 7), 77),
)
"""Networks and batch sizes that nobody tuned to."""

RATES = {"SGD": 0.01, "Adam": 1e-3}
TOLERANCE = 0.01
MEANS = {"JAX step": 1.5, "JAX epoch": None}
"""Geometric means to reach where they are not 3."""
FAST = "densenet [fast]"
OURS = ("densenet", FAST)
LIMITS = ("products", "products, torch")
"""No peers: the matrix products of a step, and nothing else."""
AIMS = {"JAX epoch": (1.2, 3.0), "JAX step": (2.0, 5.0), "torch eager": (1.0, 10.0)}
"""Worst ratio and geometric mean to reach over [fast] where calls dominate."""
ELSEWHERE = {"JAX epoch": 0.9, "torch eager": 1.0}
"""Worst ratio over [fast] to reach where products do, and PyTorch's are not the faster ones."""
ONE_ROW, MANY_ROWS = 1, 100_000
PREDICT = (64, 128, 10)


def least(peer: str, widths: Sequence[int], batch: int) -> float:
    """The ratio that every cell has to reach."""
    if peer == "JAX step":
        return 0.95
    if peer == "JAX epoch":  # one call an epoch is ahead of many where calls dominate
        return 0.9 if batch * sum(a * b for a, b in pairwise(widths)) > 1e7 else 0.4
    return 1.0


def data(widths: Sequence[int], rows: int) -> tuple[Any, Any]:
    """Normal x, and classes that a random linear map gives."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, widths[0]), dtype=np.float32)
    y = (x @ rng.standard_normal((widths[0], widths[-1]), dtype=np.float32)).argmax(axis=1)
    y[: widths[-1]] = np.arange(widths[-1])[:rows]  # every class is there
    return x, y


def initial(widths: Sequence[int]) -> list[tuple[Any, Any]]:
    """(W, b) of every layer, Glorot."""
    rng = np.random.default_rng(2)
    weights = []
    for a, b in pairwise(widths):
        bound = np.sqrt(6 / (a + b))
        weights.append((rng.uniform(-bound, bound, (a, b)).astype("f"), np.zeros(b, "f")))
    return weights


def mean_error(weights: Sequence[tuple[Any, Any]], x: Any, y: Any) -> float:
    """Softmax cross-entropy of the network on all the data, by NumPy in float64."""
    z = x[:4096].astype("d")
    for i, (W, b) in enumerate(weights):
        z = (np.maximum(z, 0) if i else z) @ np.asarray(W, "d") + np.asarray(b, "d")
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(z)), y[: len(z)]].mean())


class Contender(ABC):
    """One library, training one network on one set of data."""

    def __init__(self, widths: Sequence[int], batch: int, optimizer: str, rows: int) -> None:
        self.widths, self.batch, self.optimizer = tuple(widths), batch, optimizer
        self.x, self.y = data(widths, rows)
        self.rate, self.steps = RATES[optimizer], rows // batch
        self.begin(initial(widths))

    @abstractmethod
    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        """Make the network with these weights, and the optimizer."""

    @abstractmethod
    def epoch(self, shuffle: bool) -> float:
        """Train for one epoch; the mean error."""

    def train(self, epochs: int) -> None:
        """Train for some epochs, each in an order of its own."""
        for _ in range(epochs):
            self.epoch(True)

    @abstractmethod
    def weights(self) -> list[tuple[Any, Any]]:
        """(W, b) of every layer as they are now."""

    @abstractmethod
    def predict(self, x: Any) -> Any:
        """Classes of the rows of a NumPy array, as a NumPy array."""


class Densenet(Contender):
    compiled = False

    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        import densenet as dn

        model = dn.mlp(self.widths, activation="relu", seed=0)
        for layer, (W, b) in zip(model.dense_layers, weights, strict=True):
            layer.W, layer.b = W, b
        optimizer = dn.SGD(self.rate) if self.optimizer == "SGD" else dn.Adam(self.rate)
        self.trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), optimizer, compiled=self.compiled)
        self.seed = 0

    def epoch(self, shuffle: bool) -> float:
        return self._fit(1, shuffle)

    def train(self, epochs: int) -> None:
        self._fit(epochs, True)

    def _fit(self, epochs: int, shuffle: bool) -> float:
        self.seed += 1
        history = self.trainer.fit(
            self.x, self.y, epochs=epochs, batch_size=self.batch, shuffle=shuffle, seed=self.seed, progress=False
        )
        return float(history["loss"][-1])

    def weights(self) -> list[tuple[Any, Any]]:
        return [(layer.W, layer.b) for layer in self.trainer.model.dense_layers]

    def predict(self, x: Any) -> Any:
        return self.trainer.predict_classes(x)


class DensenetFast(Densenet):
    compiled = True


class Products(Contender):
    """The products of an epoch: forward, dE/dW, and dE/dX of all layers but the first."""

    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        from step import products_alone

        self.run = products_alone(self.widths, self.batch, self.steps)

    def epoch(self, shuffle: bool) -> float:
        self.run()
        return 0.0

    def weights(self) -> list[tuple[Any, Any]]:
        return initial(self.widths)

    def predict(self, x: Any) -> Any:
        raise NotImplementedError("products predict nothing")


class TorchProducts(Products):
    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        rng = torch.Generator().manual_seed(0)
        a, d = ([torch.randn(self.batch, w, generator=rng) for w in self.widths] for _ in range(2))
        W = [torch.from_numpy(w) for w, _ in weights]
        dW, last, mm = [torch.empty_like(w) for w in W], len(W), torch.mm

        def run() -> None:
            with torch.inference_mode():
                for _ in range(self.steps):
                    for i in range(last):
                        mm(a[i], W[i], out=a[i + 1])
                    for i in range(last - 1, -1, -1):
                        mm(a[i].T, d[i + 1], out=dW[i])
                        if i:
                            mm(d[i + 1], W[i].T, out=d[i])

        self.run = run


class Torch(Contender):
    compiled = False

    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        layers: list[Any] = []
        for a, b in pairwise(self.widths):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.model = model = torch.nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for linear, (W, b) in zip(self._linears(), weights, strict=True):
                linear.weight.copy_(torch.from_numpy(W.T))
                linear.bias.copy_(torch.from_numpy(b))
        self.xt, self.yt = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.moves = getattr(torch.optim, self.optimizer)(model.parameters(), lr=self.rate, fused=True)
        cross_entropy = torch.nn.functional.cross_entropy

        def error(x: Any, y: Any) -> Any:
            return cross_entropy(model(x), y)

        self.error: Callable[[Any, Any], Any] = error
        if self.compiled:
            torch._dynamo.reset()  # else the ninth network would run uncompiled
            self.error = torch.compile(error, dynamic=False, fullgraph=True)

    def _linears(self) -> list[Any]:
        return list(self.model)[::2]

    def epoch(self, shuffle: bool) -> float:
        torch, x, y, error, moves = self.torch, self.xt, self.yt, self.error, self.moves
        order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
        total = 0.0
        for rows in order.split(self.batch):
            moves.zero_grad(set_to_none=True)
            e = error(x.index_select(0, rows), y.index_select(0, rows))
            e.backward()
            moves.step()
            total += e.item()
        return total / self.steps

    def weights(self) -> list[tuple[Any, Any]]:
        return [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in self._linears()]

    def predict(self, x: Any) -> Any:
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(x)).argmax(1).numpy()


class TorchCompiled(Torch):
    compiled = True


class JaxStep(Contender):
    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        import jax
        import jax.numpy as jnp

        self.jax = jax
        rate, adam, steps = self.rate, self.optimizer == "Adam", self.steps

        def outputs(params: Any, x: Any) -> Any:
            for W, b in params[:-1]:
                x = jnp.maximum(x @ W + b, 0)
            W, b = params[-1]
            return x @ W + b

        def error(params: Any, x: Any, y: Any) -> Any:
            log_p = jax.nn.log_softmax(outputs(params, x))
            return -jnp.take_along_axis(log_p, y[:, None], 1).mean()

        def step(state: Any, x: Any, y: Any, rows: Any) -> Any:
            params, m, v, t, total = state
            e, g = jax.value_and_grad(error)(params, x[rows], y[rows])
            t = t + 1
            each = jax.tree_util.tree_map
            if adam:
                m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
                v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
                a, c = 1 - 0.9**t, 1 - 0.999**t
                params = each(lambda w, m, v: w - rate * (m / a) / (jnp.sqrt(v / c) + 1e-8), params, m, v)
            else:
                params = each(lambda w, g: w - rate * g, params, g)
            return params, m, v, t, total + e

        def one_step(state: Any, x: Any, y: Any, order: Any) -> Any:
            return step(state, x, y, order[state[3] % steps])

        def whole_epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
            return jax.lax.scan(lambda state, rows: (step(state, x, y, rows), None), state, order)[0]

        params = [(jnp.array(W), jnp.array(b)) for W, b in weights]
        zeros = jax.tree_util.tree_map(jnp.zeros_like, params)
        moments = (zeros, jax.tree_util.tree_map(jnp.zeros_like, params)) if adam else ((), ())
        self.state = (params, *moments, jnp.zeros((), "int32"), jnp.zeros((), "float32"))
        self.xj, self.yj = jnp.array(self.x), jnp.array(self.y.astype("int32"))
        self.step = jax.jit(one_step, donate_argnums=0)
        self.scan = jax.jit(whole_epoch, donate_argnums=0)
        self.classes = jax.jit(lambda params, x: outputs(params, x).argmax(1))
        self.rng = np.random.default_rng(0)

    def order(self, shuffle: bool) -> Any:
        n = len(self.x)
        order = self.rng.permutation(n) if shuffle else np.arange(n)
        return self.jax.numpy.array(order.reshape(self.steps, self.batch).astype("int32"))

    def epoch(self, shuffle: bool) -> float:
        order, state, step, x, y = self.order(shuffle), self.state, self.step, self.xj, self.yj
        before = float(state[4])
        for _ in range(self.steps):
            state = step(state, x, y, order)
        self.state = state
        self.jax.block_until_ready(state)
        return (float(state[4]) - before) / self.steps

    def weights(self) -> list[tuple[Any, Any]]:
        return [(np.asarray(W), np.asarray(b)) for W, b in self.state[0]]

    def predict(self, x: Any) -> Any:
        return np.asarray(self.classes(self.state[0], x))


class JaxEpoch(JaxStep):
    def epoch(self, shuffle: bool) -> float:
        before = float(self.state[4])
        self.state = self.jax.block_until_ready(self.scan(self.state, self.xj, self.yj, self.order(shuffle)))
        return (float(self.state[4]) - before) / self.steps


class ScikitLearn(Contender):
    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        from sklearn.neural_network import MLPClassifier

        k = self.widths[-1]
        self.model = model = MLPClassifier(
            self.widths[1:-1],
            activation="relu",
            solver=self.optimizer.lower(),
            alpha=0.0,
            batch_size=self.batch,
            learning_rate_init=self.rate,
            momentum=0.0,
            nesterovs_momentum=False,
            random_state=0,
        )
        # two classes would become one logistic output: columns of 0 and 1 keep two, which then get their softmax
        self.target = np.eye(2, dtype=int)[self.y] if k == 2 else self.y
        model.partial_fit(self.x[: self.batch * 2], self.target[: self.batch * 2], classes=np.arange(k))
        model.out_activation_ = "softmax"
        for W, b, (W0, b0) in zip(model.coefs_, model.intercepts_, weights, strict=True):
            W[...], b[...] = W0, b0
        del model._optimizer  # its moments are those of the step that built the arrays

    def epoch(self, shuffle: bool) -> float:
        self.model.shuffle = shuffle
        self.model.partial_fit(self.x, self.target)
        return float(self.model.loss_)

    def weights(self) -> list[tuple[Any, Any]]:
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))

    def predict(self, x: Any) -> Any:
        return self.model.predict(x)


class Keras(Contender):
    def begin(self, weights: list[tuple[Any, Any]]) -> None:
        import keras

        layers: list[Any] = [keras.layers.Input((self.widths[0],))]
        for i, width in enumerate(self.widths[1:]):
            last = i == len(self.widths) - 2
            layers.append(keras.layers.Dense(width, activation=None if last else "relu"))
        self.model = keras.Sequential(layers)
        self.model.set_weights([array for pair in weights for array in pair])
        optimizers = keras.optimizers
        self.model.compile(
            optimizers.SGD(self.rate) if self.optimizer == "SGD" else optimizers.Adam(self.rate, epsilon=1e-8),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def epoch(self, shuffle: bool) -> float:
        return self._fit(1, shuffle)

    def train(self, epochs: int) -> None:
        self._fit(epochs, True)

    def _fit(self, epochs: int, shuffle: bool) -> float:
        history = self.model.fit(self.x, self.y, batch_size=self.batch, epochs=epochs, shuffle=shuffle, verbose=0)
        return float(history.history["loss"][-1])

    def weights(self) -> list[tuple[Any, Any]]:
        arrays = self.model.get_weights()
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def predict(self, x: Any) -> Any:
        return self.model.predict(x, verbose=0).argmax(1)


CONTENDERS: dict[str, tuple[str, type[Contender]]] = {
    "densenet": ("densenet", Densenet),
    FAST: ("numba", DensenetFast),
    "products": ("densenet", Products),
    "products, torch": ("torch", TorchProducts),
    "torch eager": ("torch", Torch),
    "torch compiled": ("torch", TorchCompiled),
    "JAX step": ("jax", JaxStep),
    "JAX epoch": ("jax", JaxEpoch),
    "scikit-learn": ("sklearn", ScikitLearn),
    "Keras": ("keras", Keras),
}
"""Name: the module it needs, and its class."""


# -- a contender's own process ---------------------------------------------------------------------------------


def serve(name: str, cores: str) -> None:
    """Answer the parent's commands, one JSON object a line, until it closes the pipe."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, json.loads(cores))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    warnings.simplefilter("ignore")
    contender: Any = None
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer, contender = act(name, task, contender)
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def act(name: str, task: dict[str, Any], contender: Any) -> tuple[dict[str, Any], Any]:
    module, kind = CONTENDERS[name]
    if task["do"] == "import":
        __import__(module)
        return {}, None
    if task["do"] == "cell":
        made = kind(task["widths"], task["batch"], task["optimizer"], task["rows"])
        before = mean_error(initial(made.widths), made.x, made.y)
        for _ in range(task["epochs"]):
            made.epoch(False)
        return {"before": before, "after": mean_error(made.weights(), made.x, made.y)}, made
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    answer: dict[str, Any] = {}
    if task["do"] == "train":
        contender.train(task["epochs"])
    else:
        x = contender.x[: task["rows"]]
        for _ in range(task["calls"]):
            contender.predict(x)
    answer["seconds"] = time.perf_counter() - began
    gc.enable()
    return answer, contender


class Worker:
    """A contender's process, seen from the parent: stopped but for the time of a question."""

    def __init__(self, name: str, cores: list[int], patience: float) -> None:
        self.name, self.patience = name, patience
        count = str(len(cores))
        pools = {f"{pool}_NUM_THREADS": count for pool in ("OMP", "OPENBLAS", "MKL")}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name, "--cores", json.dumps(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | pools | {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"},
        )

    def ask(self, **task: Any) -> dict[str, Any]:
        """The answer; with "failed" where there is none."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if hasattr(signal, "SIGCONT"):
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()
            line = self._line(self.process.stdout)
        except BrokenPipeError:
            line = ""
        if not line:
            return {"failed": f"no answer within {self.patience:g} s, or the process died"}
        if hasattr(signal, "SIGSTOP"):
            self.process.send_signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _line(self, stream: Any) -> str:
        if os.name != "nt":
            with selectors.DefaultSelector() as selector:
                selector.register(stream, selectors.EVENT_READ)
                if not selector.select(self.patience):
                    return ""
        return str(stream.readline())

    def end(self) -> None:
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()
        self.errors.close()


# -- the parent ------------------------------------------------------------------------------------------------


def steps_for(widths: Sequence[int], batch: int, smoke: bool) -> int:
    """Steps an epoch: in a round about 150 ms of the products, and at most 1,000: a second of the slow ones."""
    products = 6 * batch * sum(a * b for a, b in pairwise(widths)) / 1e11
    return 4 if smoke else int(np.clip(0.15 / (products + 2e-5), 20, 5000)) // EPOCHS


def measure(workers: dict[str, Worker], rounds: int, seed: int, say: str, **task: Any) -> dict[str, list[float]]:
    """Seconds of every worker in every round; one that fails is left out from then on."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    order, shuffler = list(workers), random.Random(seed)
    for i in range(rounds):
        common.progress(f"{say}: round {i + 1}/{rounds}")
        shuffler.shuffle(order)
        for name in list(order):
            answer = workers[name].ask(**task)
            if "failed" in answer:
                order.remove(name)
                del times[name]
                print(f"{say}: {name} is left out here: {answer['failed']}", file=sys.stderr)
            else:
                times[name].append(answer["seconds"])
    return times


def main() -> int:
    options = common.parser(__doc__)
    options.add_argument("--peers", nargs="*", metavar="PEER", help=f"of {', '.join(list(CONTENDERS)[1:])} (all)")
    options.add_argument("--cells", nargs=2, type=int, metavar=("FROM", "TO"), help="networks by number (all)")
    options.add_argument("--patience", type=float, default=120.0, help="seconds that one answer may take (%(default)s)")
    options.add_argument("--threads", type=int, default=2, help="cores that each may use (default: %(default)s)")
    args = options.parse_args()
    if unknown := set(args.peers or ()) - set(CONTENDERS):
        options.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(CONTENDERS)}")
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(args.threads))
    cores = available[: args.threads]
    rounds = args.rounds or (2 if args.smoke else 9)
    names = list(CONTENDERS) if args.peers is None else ["densenet", *[p for p in args.peers if p != "densenet"]]
    left_out: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing stopped is left behind
    try:
        for name in names:
            workers[name] = Worker(name, cores, args.patience)
            common.progress(f"starting {name}")
            if why := workers[name].ask(do="import").get("failed"):
                workers.pop(name).end()
                left_out[name] = why
        if "densenet" not in workers:
            raise SystemExit(f"densenet does not start: {left_out['densenet']}")
        return run(args, workers, left_out, rounds, len(cores))
    finally:
        for worker in workers.values():
            worker.end()


def run(args: Any, workers: dict[str, Worker], left_out: dict[str, str], rounds: int, threads: int) -> int:
    nets = (*common.CELLS, *UNTUNED)[slice(*args.cells)] if args.cells else (*common.CELLS, *UNTUNED)
    cells = [(w, b, o) for w, b in nets for o in RATES]
    if args.smoke:
        cells = [(*UNTUNED[0], "SGD"), (*common.CELLS[1], "Adam")]
    records: list[dict[str, Any]] = []
    faults: list[str] = []
    for number, (widths, batch, optimizer) in enumerate(cells):
        net = common.net_name(widths, batch)
        say, steps = f"{net} {optimizer}", steps_for(widths, batch, args.smoke)
        checked = start(workers, say, left_out, widths=widths, batch=batch, optimizer=optimizer, rows=steps * batch)
        faults += differences(say, checked)
        times = measure({name: workers[name] for name in checked}, rounds, number, say, do="train", epochs=EPOCHS)
        for name, seconds in times.items():
            low, middle, high = common.spread(common.ratios(times, name, "densenet"))
            over = common.spread(common.ratios(times, name, FAST)) if FAST in times else None
            records.append(
                {
                    "net": net,
                    "untuned": (widths, batch) in UNTUNED,
                    "optimizer": optimizer,
                    "contender": name,
                    "microseconds": round(1e6 * common.spread(seconds)[1] / (EPOCHS * steps), 2),
                    "ratio": round(middle, 3),
                    "lower quartile": round(low, 3),
                    "upper quartile": round(high, 3),
                    "over [fast]": None if over is None else [round(ratio, 3) for ratio in over],
                    "least": least(name, widths, batch),
                    "error": checked[name]["after"],
                    "steps": steps,
                }
            )
    records = joined(args.out / "peers.json", records) if args.cells else records
    for name in LIMITS:
        if name in workers:
            workers.pop(name).end()
    many = 2000 if args.smoke else MANY_ROWS
    start(workers, "predict", left_out, widths=PREDICT, batch=100, optimizer="SGD", rows=many, epochs=0)
    predicted = predictions(workers, rounds, many, 20 if args.smoke else 300)
    common.progress("")
    report(args, workers, records, predicted, left_out, faults, rounds, threads)
    return 1 if faults else 0


def joined(path: Any, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The new records and, of networks that were not measured now, those in the file."""
    if not path.exists():
        return records
    kept = json.loads(path.read_text(encoding="utf-8"))["results"]["cells"]
    new = {(record["net"], record["optimizer"]) for record in records}
    order = [common.net_name(widths, batch) for widths, batch in (*common.CELLS, *UNTUNED)]
    both = [record for record in kept if (record["net"], record["optimizer"]) not in new] + records
    return sorted(both, key=lambda record: (order.index(record["net"]), list(RATES).index(record["optimizer"])))


def start(
    workers: dict[str, Worker], say: str, left_out: dict[str, str], epochs: int = 2, **cell: Any
) -> dict[str, dict[str, Any]]:
    """Have every worker make and check the cell; one that cannot is ended, and why is kept."""
    answers = {}
    for name in list(workers):
        common.progress(f"{say}: {name} begins")
        answer = workers[name].ask(do="cell", epochs=epochs, **cell)
        if "failed" in answer:
            if name == "densenet":
                raise SystemExit(f"densenet failed at {say}: {answer['failed']}")
            workers.pop(name).end()
            left_out[name] = f"{say}: {answer['failed']}"
        else:
            answers[name] = answer
    return answers


def differences(say: str, answers: dict[str, dict[str, Any]]) -> list[str]:
    """Who did not reach densenet's error."""
    before, ours = answers["densenet"]["before"], answers["densenet"]["after"]
    faults = [] if ours < before else [f"{say}: densenet went from {before:.6g} to {ours:.6g}"]
    for name, answer in answers.items():
        if name not in LIMITS and not abs(answer["after"] - ours) <= TOLERANCE * abs(before - ours):
            faults.append(f"{say}: {name} reached {answer['after']:.6g}, densenet {ours:.6g}, from {before:.6g}")
    return faults


def predictions(workers: dict[str, Worker], rounds: int, many: int, calls: int) -> list[dict[str, Any]]:
    """Classes of one row, and of many."""
    records = []
    for rows, count in ((ONE_ROW, calls), (many, 1)):
        measure(workers, 1, 0, "predict", do="predict", rows=rows, calls=1)
        times = measure(workers, rounds, rows, f"predict {rows}", do="predict", rows=rows, calls=count)
        for name, seconds in times.items():
            low, middle, high = common.spread(common.ratios(times, name, "densenet"))
            records.append(
                {
                    "rows": rows,
                    "contender": name,
                    "microseconds": round(1e6 * common.spread(seconds)[1] / count, 2),
                    "ratio": round(middle, 3),
                    "lower quartile": round(low, 3),
                    "upper quartile": round(high, 3),
                }
            )
    return records


def report(
    args: Any,
    workers: dict[str, Worker],
    records: list[dict[str, Any]],
    predicted: list[dict[str, Any]],
    left_out: dict[str, str],
    faults: list[str],
    rounds: int,
    threads: int,
) -> None:
    measured = {record["contender"] for record in records}
    peers = [name for name in CONTENDERS if name in measured and name != "densenet"]
    rows = []
    for net, optimizer in dict.fromkeys((r["net"], r["optimizer"]) for r in records):
        here = {r["contender"]: r for r in records if (r["net"], r["optimizer"]) == (net, optimizer)}
        ratios = [here[p]["ratio"] if p in here else "failed" for p in peers]
        rows.append((net, optimizer, readable(here["densenet"]["microseconds"]), *ratios))
    for many in dict.fromkeys(r["rows"] for r in predicted):
        here = {r["contender"]: r for r in predicted if r["rows"] == many}
        ratios = [here[p]["ratio"] if p in here else "" if p in LIMITS else "failed" for p in peers]
        rows.append(
            (f"{'-'.join(map(str, PREDICT))}, {many}", "predict", readable(here["densenet"]["microseconds"]), *ratios)
        )
    summary = []
    for peer in (name for name in peers if name not in (*OURS, *LIMITS)):
        for optimizer in RATES:
            cells = [r for r in records if r["contender"] == peer and r["optimizer"] == optimizer]
            if cells:
                worst = min(cells, key=lambda r: r["ratio"])
                entry = {
                    "peer": peer,
                    "optimizer": optimizer,
                    "geometric mean": round(common.geometric_mean([r["ratio"] for r in cells]), 3),
                    "aim": MEANS.get(peer, 3.0) or "",
                    "worst": worst["ratio"],
                    "in": worst["net"],
                }
                entry["cells below their least"] = "; ".join(r["net"] for r in cells if r["ratio"] < r["least"])
                entry["cells lost"] = "; ".join(r["net"] for r in cells if r["ratio"] < 1)
                summary.append(entry)
    over_fast = with_kernels(records, [name for name in peers if name not in LIMITS])
    results = {
        "rounds": rounds,
        "threads": threads,
        "tolerance": TOLERANCE,
        "cells": records,
        "predict": predicted,
        "summary": summary,
        "over [fast]": over_fast,
        "left_out": left_out,
        "faults": faults,
    }
    head = ("net, batch", "optimizer", "our us", *peers)
    print(f"Peer's time over densenet's, medians of {rounds} rounds, {threads} threads; above 1 densenet is faster.")
    names = list(records[0])
    common.save(
        args.out,
        "peers",
        results,
        names,
        [[record[name] for name in names] for record in records],
        picture(records, peers) if peers else None,
        show=common.table(head, rows),
    )
    if summary:
        print("\n" + common.table(list(summary[0]), [list(entry.values()) for entry in summary]))
    if over_fast:
        print("\nOver densenet [fast], where calls dominate and where products do:\n")
        print(common.table(list(over_fast[0]), [list(entry.values()) for entry in over_fast]))
    for name, why in left_out.items():
        print(f"{name}: left out, {why}")
    print("\n".join(faults) if faults else f"All reached the same error, to {TOLERANCE:.0%} of its fall.")


def with_kernels(records: list[dict[str, Any]], peers: list[str]) -> list[dict[str, Any]]:
    """Peers' times over densenet [fast]: where calls dominate, and where the products do."""
    made: list[dict[str, Any]] = []
    by_cell: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in records:
        by_cell.setdefault((record["net"], record["optimizer"]), {})[record["contender"]] = record
    for where, calls in (("calls", True), ("products", False)):
        for peer in ("densenet", *[name for name in peers if name != FAST]):
            found = {}
            for cell, here in by_cell.items():
                if not {peer, FAST, "products", "densenet"} <= set(here):
                    continue
                plain = by_cell.get((cell[0], "SGD"), here)["densenet"]
                small = here["products"]["microseconds"] < plain["microseconds"] / 2
                theirs = here.get("products, torch", here["products"])["microseconds"]
                faster = peer.startswith("torch") and not small and theirs < here["products"]["microseconds"]
                if small == calls and not faster:
                    found[cell] = here[peer]["over [fast]"][1]
            if found:
                worst = min(found, key=lambda cell: found[cell])
                aim, mean = AIMS.get(peer, ("", "")) if calls else (ELSEWHERE.get(peer, ""), "")
                made.append(
                    {
                        "dominant": where,
                        "peer": peer,
                        "cells": len(found),
                        "geometric mean": round(common.geometric_mean(list(found.values())), 3),
                        "mean to reach": mean,
                        "worst": found[worst],
                        "worst to reach": 0.97 if peer == "densenet" else aim,
                        "in": f"{worst[0]} {worst[1]}",
                    }
                )
    return made


def readable(number: float) -> float:
    return round(number) if number >= 100 else number


def picture(records: list[dict[str, Any]], peers: list[str]) -> Any:
    """Times over those of densenet [fast], or of densenet without it, with quartiles; a panel for each optimizer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    base = FAST if FAST in peers else "densenet"
    shown = [name for name in ("densenet", *peers) if name not in (base, "products, torch")]
    nets = list(dict.fromkeys(r["net"] for r in records))[::-1]
    panels = [o for o in RATES if any(r["optimizer"] == o for r in records)]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1.5 + 5 * len(panels), 1.6 + 0.55 * len(nets)), sharey=True, squeeze=False
    )
    colors = {"densenet": "black", "products": "#888888"}
    other = iter(("#ee6677", "#aa3377", "#4477aa", "#66ccee", "#ccbb44", "#228833"))
    markers = {"densenet": "X", "products": "|"} | dict(
        zip([p for p in shown if p not in colors], "osD^vP", strict=False)
    )
    colors |= {name: next(other) for name in shown if name not in colors}
    for ax, optimizer in zip(axes[0], panels, strict=True):
        for i, name in enumerate(shown):
            here = [r for r in records if r["contender"] == name and r["optimizer"] == optimizer]
            at = [nets.index(r["net"]) + 0.7 * ((len(shown) - 1) / 2 - i) / max(len(shown) - 1, 1) for r in here]
            triples = [
                r["over [fast]"] if base == FAST else (r["lower quartile"], r["ratio"], r["upper quartile"])
                for r in here
            ]
            ends = [[max(m - low, 0) for low, m, _ in triples], [max(high - m, 0) for _, m, high in triples]]
            middle = [m for _, m, _ in triples]
            size = 8 if name == "products" else 4
            ax.errorbar(middle, at, xerr=ends, fmt=markers[name], markersize=size, color=colors[name], label=name)
        ax.axvline(1, color="black", linewidth=1)
        ax.set_xscale("log")
        ticks = [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200]
        low, high = ax.get_xlim()
        ticks = [tick for tick in ticks if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        for edge in range(len(nets) - 1):
            ax.axhline(edge + 0.5, color="0.9", linewidth=0.8, zorder=0)
        ax.set_title(optimizer)
        ax.set_xlabel(f"time of an epoch over that of {base}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(
        range(len(nets)), [n + (" *" if any(r["untuned"] for r in records if r["net"] == n) else "") for n in nets]
    )
    axes[0, 0].set_ylabel("network, batch size  (* not tuned to)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(shown), frameon=False)
    figure.subplots_adjust(top=1 - 0.9 / figure.get_figheight())
    return figure


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve(sys.argv[2], sys.argv[4])
    else:
        sys.exit(main())
