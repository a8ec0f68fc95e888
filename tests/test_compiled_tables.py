"""Kernels of the tables' recipe beside the NumPy lines, and callbacks that set something for every mini-batch."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from test_compiled import near, per_array, run_kernel

import densenet as dn
from densenet.layers import Blend, Clip, Columns, Embedding, Mixture, Periodic, RobustScale
from densenet.tabular.network import Body, network
from densenet.tabular.preparation import Block
from densenet.tabular.recipe import RECIPES, FlatCosine
from densenet.tabular.training import rule, schedules

numba = pytest.importorskip("numba", reason="kernels need the extra [fast]")

from densenet.compiled.functions import expm1, sine_and_cosine  # noqa: E402
from densenet.compiled.offer import refusal  # noqa: E402

WHOLE = (Block("numbers", 3), Block("scaled", 4), Block("categories", 2, (12, 15)), Block("one-hot", 10))


def table(layout, rows, dtype):
    """Rows of a layout, with categories that are missing, unknown or no whole numbers."""
    rng, parts = np.random.default_rng(0), []
    for block in layout:
        if block.kind == "categories":
            parts.append(np.stack([rng.integers(-1, size + 2, rows) for size in block.sizes], axis=1) + 0.25)
        elif block.kind == "one-hot":
            parts.append(np.eye(block.width)[rng.integers(0, block.width, rows)])
        else:
            parts.append(rng.normal(size=(rows, block.width)))
    return np.hstack(parts).astype(dtype)


def fitted(make, x, y, loss, optimizer, callbacks=(), **arguments):
    """A model fitted by the NumPy lines, and by kernels; with their histories and callbacks' own records."""
    ends = []
    for compiled in (False, True):
        trainer = dn.Trainer(make(), loss, copy.deepcopy(optimizer), compiled=compiled)
        history = trainer.fit(x, y, seed=0, callbacks=[call() for call in callbacks], **arguments)
        assert history.compiled is compiled
        ends.append((trainer.model, history))
    return ends


def the_same(ends, dtype):
    (lines, expected), (kernels, got) = ends
    for mine, its in zip(per_array(kernels, kernels.params), per_array(lines, lines.params), strict=True):
        near(mine, its, dtype, scale=max(1.0, np.abs(its).max(initial=0)))
    near(kernels.grads, lines.grads, dtype, scale=max(1.0, np.abs(lines.grads).max()))
    near(got["loss"], expected["loss"], dtype)


# -- layer by layer ------------------------------------------------------------------------------------------------

CHAINS = {
    "selu": lambda: [dn.Dense(5, 6), dn.SELU(), dn.Dense(6, 2)],
    "mish": lambda: [dn.Dense(5, 6), dn.Mish(), dn.Dense(6, 2)],
    "scale": lambda: [dn.Scale(5), dn.Dense(5, 6), dn.Scale(6), dn.Dense(6, 2)],
    "frozen scale": lambda: [dn.Dense(5, 2), dn.Scale(2).freeze()],
    "robust scale": lambda: [dn.Dense(5, 6), RobustScale(6), dn.Dense(6, 2)],
    "clip": lambda: [dn.Dense(5, 2), Clip([-0.1, 0.0], [0.1, 0.0])],
    "periodic": lambda: [dn.Dense(5, 3), Periodic(3, 5, 3), dn.Dense(9, 2)],
    "embedding": lambda: [Columns([2, 3], [[Embedding([3, 4], 3)], []]), dn.Dense(9, 2)],
    "embedding behind a layer": lambda: [dn.Dense(5, 2), Embedding([3, 4], 3), dn.Dense(6, 2)],
    "columns": lambda: [dn.Dense(5, 5), Columns([2, 3], [[dn.Tanh()], [dn.Dense(3, 2), dn.ReLU()]]), dn.Dense(4, 2)],
    "mixture": lambda: [dn.Dense(5, 4), Mixture([[dn.Dense(4, 2)], [dn.Dense(4, 3), dn.Tanh(), dn.Dense(3, 2)]])],
    "mixture of columns": lambda: [
        Mixture([[Columns([2, 3], [[dn.Dense(2, 2)], []]), dn.Dropout(0.4), dn.Dense(5, 2)] for _ in range(3)])
    ],
} | {
    f"blend of {name}": lambda name=name: [dn.Dense(5, 6), Blend(6, name), dn.Dense(6, 2)]
    for name in ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "silu", "selu", "mish")
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_layers_of_tables_give_the_gradients_of_the_lines(chain, dtype, shuffle):
    rng = np.random.default_rng(1)
    x, y = (2 * rng.normal(size=(23, 5))).astype(dtype), rng.normal(size=(23, 2)).astype(dtype)

    def make():
        model = dn.Sequential(CHAINS[chain](), seed=0, dtype=dtype)
        for layer in model.every_layer:
            if isinstance(layer, (Blend, dn.Scale)):
                setattr(layer, "a" if isinstance(layer, Blend) else "s", np.linspace(0.3, 1.5, layer.n))
        return model

    the_same(fitted(make, x, y, "mse", dn.SGD(0.01, weight_decay=0.1), epochs=2, batch_size=7, shuffle=shuffle), dtype)


def test_chains_of_a_mixture_that_get_no_rows_have_no_gradient():
    """The last mini-batch has two rows for five chains."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 70)), rng.normal(size=(12, 80))

    def make():
        chains = [[dn.Dense(70, 90), dn.Dropout(0.2), dn.Dense(90, 80)] for _ in range(5)]
        return dn.Sequential([Mixture(chains)], seed=0, dtype="float64")

    ends = fitted(make, x, y, "mse", dn.SGD(0.1), epochs=3, batch_size=10, shuffle=False)
    the_same(ends, "float64")
    for model, _ in ends:
        assert [any(layer.dW.any() for layer in branch if isinstance(layer, dn.Dense)) for branch in
                model.layers[0].branches] == [True, True, False, False, False]  # fmt: skip


def test_many_chains_read_rows_where_they_stand():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))

    def make():
        layers = [dn.Identity(), Mixture([[dn.Dense(3, 2)] for _ in range(14)])]
        return dn.Sequential(layers, seed=0, dtype="float64")

    the_same(fitted(make, x, y, "mse", dn.SGD(0.1), epochs=2, batch_size=6, shuffle=False), "float64")


# -- whole networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alone", [False, True], ids=["one path", "eight paths"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("preset", ["tabular", "tabular-small"])
def test_a_fit_by_the_recipe_is_that_of_the_lines(preset, task, alone, dtype):
    """All of its first mini-batches, until rounding that AdamW's quotients magnify leaves the tolerance."""
    recipe, rows, classes = RECIPES[preset, task], 83, task == "classification"
    layout = WHOLE if recipe.whole else (Block("scaled", 9),)
    x, rng = table(layout, rows, dtype), np.random.default_rng(1)
    y = rng.integers(0, 4, rows) if classes else (x[:, :1] + rng.normal(size=(rows, 1))).astype(dtype)
    body = Body(
        [12, 10],
        4 if classes else 1,
        [recipe.activation] * 2,
        [recipe.dropout] * 2,
        link="softmax" if classes else None,
    )

    def make():
        ends = [] if classes else [Clip([-1.0], [1.0])]
        return network(layout, body, recipe, x, ends=ends, seed=0, alone=alone)

    loss = dn.SoftmaxCrossEntropy(label_smoothing=recipe.label_smoothing) if classes else dn.MeanSquaredError()
    optimizer = rule(recipe, 8, betas=(0.9, 0.95), epsilon=1e-3)
    calls = [lambda call=call: copy.deepcopy(call) for call in schedules(recipe, 8)]
    ends = fitted(make, x, y, loss, optimizer, calls, epochs=4, batch_size=42)
    the_same(ends, dtype)
    for a, b in zip(*(model.every_layer for model, _ in ends), strict=True):
        if a.generator is not None:
            assert a.generator.bit_generator.state == b.generator.bit_generator.state


# -- callbacks that set something for every mini-batch --------------------------------------------------------------


class WarmUp(dn.Callback):
    """Sets dropout, decay and rate from 0 up, before or after each mini-batch."""

    def __init__(self, hook, to=None):
        self.to = to
        setattr(self, hook, self.set)

    def rest(self, run):
        return 1

    def set(self, run):
        for layer in run.model.every_layer:
            if isinstance(layer, dn.Dropout):
                layer.rate = min(0.1 * run.step, 0.5)
        run.trainer.optimizer.weight_decay = 0.05 * run.step
        run.trainer.optimizer.learning_rate = 0.01 * (run.step + 1)
        if self.to == "stop" and run.step == 3:
            run.stop("enough")
        if self.to == "penalty" and run.step == 3:
            run.model.layers[0].kernel_l2 = 0.01


def warm(hook, to=None, optimizer=None):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))

    def make():
        return dn.Sequential([dn.Dense(3, 4), dn.Tanh(), dn.Dropout(0.0), dn.Dense(4, 2)], seed=0, dtype="float64")

    return fitted(make, x, y, "mse", optimizer or dn.SGD(0.1), [lambda: WarmUp(hook, to)], epochs=2, batch_size=8)


@pytest.mark.parametrize("hook", ["on_batch_begin", "on_batch_end"])
@pytest.mark.parametrize("optimizer", [dn.SGD(0.1, momentum=0.5), dn.AdamW(0.1), dn.RMSprop(0.1)], ids=repr)
def test_what_a_callback_sets_for_every_mini_batch_counts_at_once(hook, optimizer):
    the_same(warm(hook, optimizer=optimizer), "float64")


@pytest.mark.parametrize("hook", ["on_batch_begin", "on_batch_end"])
def test_the_numpy_lines_take_over_where_a_callback_sets_what_has_no_kernel(hook):
    the_same(warm(hook, "penalty"), "float64")


@pytest.mark.parametrize("hook", ["on_batch_begin", "on_batch_end"])
def test_a_callback_that_stops_ends_both_after_the_same_mini_batch(hook):
    ends = warm(hook, "stop")
    the_same(ends, "float64")


def test_flat_cosine_is_called_before_every_step_that_it_changes():
    for steps in (1, 2, 7, 8):
        callback = FlatCosine(steps)
        run = type("At", (), {})()
        for run.step in range(steps):
            ahead = int(callback.rest(run))
            assert ahead >= 1
            for later in range(run.step + 1, min(run.step + ahead, steps)):
                assert later / steps <= 0.5


# -- what stays in the NumPy lines -----------------------------------------------------------------------------------


class Cube(dn.Activation):
    def value(self, x, out, work):
        out[...] = x**3

    def slope(self, x, y, out, work):
        out[...] = 3 * x**2


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (lambda: [dn.Dense(2, 2), Blend(2, "gelu")], "since GELU() has none"),
        (lambda: [dn.Dense(2, 2), Blend(2, Cube())], "since Cube() has none"),
        (lambda: [Mixture([[dn.Dense(2, 2), dn.BatchNorm(2)]])], "no kernel inside a Mixture"),
        (lambda: [Mixture([[Mixture([[dn.Dense(2, 2)]])]])], "no kernel inside a Mixture"),
        (lambda: [Columns([1, 1], [[dn.Dense(1, 1), dn.GELU()], []])], "GELU() has no kernel"),
    ],
)
def test_layers_without_a_kernel_say_so(layers, reason):
    assert reason in refusal(dn.Sequential(layers(), seed=0), dn.MeanSquaredError(), dn.SGD())


# -- functions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sine_cosine_and_expm1_are_right_in_the_last_places(dtype):
    @numba.njit(error_model="numpy")
    def fill(x, sine, cosine, power):
        for i in range(len(x)):
            sine[i], cosine[i] = sine_and_cosine(x[i])
            power[i] = expm1(-abs(x[i]))

    rng, far = np.random.default_rng(0), 4096.0 if dtype == np.float32 else 1e6
    x = np.concatenate([rng.uniform(-far, far, 50_000), rng.choice([-1, 1], 9999) * 10 ** rng.uniform(-30, 3, 9999)])
    x = x.astype(dtype)
    sine, cosine, power = (np.empty_like(x) for _ in range(3))
    fill(x, sine, cosine, power)
    wide = x.astype(np.longdouble)
    for got, exact in ((sine, np.sin(wide)), (cosine, np.cos(wide)), (power, np.expm1(-np.abs(wide)))):
        assert (np.abs(got - exact) <= 2 * np.spacing(np.abs(exact).astype(dtype)) + np.finfo(dtype).eps / 8).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_are_those_of_the_lines(dtype):
    """Arguments far beyond pi, infinities and NaN."""
    top = float(np.finfo(dtype).max)
    x = np.array([[np.nan], [np.inf], [-np.inf], [top], [-top], [1e30], [-200.0], [-1e-30], [0.0], [1e-30]], dtype)
    for layer in (dn.SELU(), dn.Mish()):
        y, more = np.empty_like(x), [np.empty_like(x) for _ in range(2)]
        with np.errstate(invalid="ignore"):
            lines = layer.infer(x)
        constants = ()
        if isinstance(layer, dn.SELU):
            constants = (
                1.0507009873554805,
                1.0507009873554805 * 1.6732632423543772,
                top / 1.0507009873554805 / 1.000001,
            )
        run_kernel(f"layers.{type(layer).__name__.lower()}", dtype, len(x), x, y, 1, *more, constants=constants)
        np.testing.assert_allclose(y, lines, rtol=1e-6 if dtype == "float32" else 1e-15)
    scale, y, root = dn.Sequential([RobustScale(1)], dtype=dtype).layers[0], np.empty_like(x), np.empty_like(x)
    run_kernel("layers.robust_scale", dtype, len(x), x, y, 1, scale.center, scale.factor, root)
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_allclose(y, scale.infer(x), rtol=1e-6 if dtype == "float32" else 1e-15)
    made = dn.Sequential([Periodic(1, frequencies=2, width=2)], seed=0, dtype=dtype).layers[0]
    x = np.array([[0.1], [1e3], [-1e9]], dtype)
    y, u, s = np.empty((3, 2), dtype), np.empty((1, 3, 2), dtype), np.empty((1, 3, 2), dtype)
    words = (made.f, made.c, made.W, made.b, 2, 2, u, s)
    run_kernel("layers.periodic", dtype, 3, x, y, 1, *words, constants=(10.0,))
    near(y[:, 1:], x, dtype)
    phases = (x * (np.asarray(2 * math.pi, dtype) * made.f))[:2] + made.c
    near(u[0, :2], np.cos(phases), dtype, scale=1e3)
