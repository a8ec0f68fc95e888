"""Kernels beside the NumPy lines that they stand for: the same numbers from the same state, and the same faults."""

from __future__ import annotations

import copy
import ctypes
import itertools
import math
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import densenet as dn

numba = pytest.importorskip("numba", reason="kernels need the extra [fast]")

from densenet.compiled import instructions, machine, slots  # noqa: E402
from densenet.compiled.functions import exp, log1p, tanh  # noqa: E402

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
RULES = {
    "sgd": lambda: dn.SGD(0.05),
    "decay": lambda: dn.SGD(0.05, weight_decay=0.01),
    "momentum": lambda: dn.SGD(0.02, momentum=0.9),
    "nesterov": lambda: dn.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda: dn.Adam(0.01),
    "adam, decay": lambda: dn.Adam(0.01, weight_decay=0.1, eps=1e-3),
    "adamw": lambda: dn.AdamW(0.01, beta_1=0.0, weight_decay=0.2),
    "rmsprop": lambda: dn.RMSprop(0.01),
    "rmsprop, all": lambda: dn.RMSprop(0.01, rho=0.9, momentum=0.8, centered=True, weight_decay=0.01),
    "schedule": lambda: dn.Adam(dn.StepDecay(0.1, every=3, factor=0.5), beta_2=0.9),
}
ACTIVATIONS = [dn.Identity, dn.ReLU, dn.LeakyReLU, dn.Tanh, dn.Sigmoid, dn.SiLU, dn.SELU, dn.Mish, dn.Softmax]


def near(got, wanted, dtype, scale=None):
    """Within the tolerance of the largest entry."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    largest = np.abs(wanted).max(initial=0) if scale is None else scale
    assert np.abs(got - wanted).max(initial=0) <= TOLERANCE[dtype] * max(largest, 1e-30), (got, wanted)


def per_array(model, vector):
    """The parts of a flat vector, parameter array by parameter array."""
    sizes = [math.prod(shape) for layer in model.every_layer for shape in layer.parameter_shapes().values()]
    return np.split(vector, np.cumsum(sizes)[:-1])


def targets(loss, rng, n, k, dtype):
    if isinstance(loss, dn.SoftmaxCrossEntropy):
        if loss.label_smoothing:  # a matrix of probabilities there, class numbers elsewhere
            t = rng.uniform(size=(n, k))
            return (t / t.sum(axis=1, keepdims=True)).astype(dtype)
        return rng.integers(0, k, n)
    return rng.uniform(size=(n, k)).astype(dtype)


LOSSES = [
    dn.SoftmaxCrossEntropy(),
    dn.SoftmaxCrossEntropy(label_smoothing=0.1),
    dn.SigmoidCrossEntropy(),
    dn.SigmoidCrossEntropy(label_smoothing=0.2),
    dn.MeanSquaredError(),
    dn.HalfSquaredError(),
    dn.MeanAbsoluteError(),
    dn.Huber(0.3),
]


def chain(widths, kinds, dtype, seed=0):
    """Dense layers with something between; before BatchNorm without the bias, whose gradient is rounding alone."""
    layers = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        kind = None if last else kinds[i % len(kinds)]
        layers.append(dn.Dense(a, b, use_bias=kind is not dn.BatchNorm))
        if kind is dn.BatchNorm:
            layers += [dn.BatchNorm(b), dn.ReLU()]
        elif kind is dn.Dropout:
            layers += [dn.Tanh(), dn.Dropout(0.3)]
        elif kind is not None:
            layers.append(kind())
    return dn.Sequential(layers, seed=seed, dtype=dtype)


def copy_state(source, goal):
    """Give another trainer of the same kind all that the next step depends on."""
    goal.model.load_state_arrays(source.model.state_arrays())
    goal.optimizer.load_state_dict(source.optimizer.state_dict())
    for mine, its in zip(source.model.every_layer, goal.model.every_layer, strict=True):
        if mine.generator is not None:
            its.generator.bit_generator.state = mine.generator.bit_generator.state


def at_a_kink(model, x):
    """Whether an entry before ReLU or LeakyReLU is 0 up to rounding."""
    outputs = [x, *model.activations(x)]
    bends = [before for layer, before in zip(model.layers, outputs, strict=False) if "ReLU" in type(layer).__name__]
    return any((np.abs(z) < 1e-5 * np.abs(z).max()).any() for z in bends)


# -- (a) from the same state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_a_step_from_each_of_100_states_is_that_of_the_lines(rule, dtype):
    rng = np.random.default_rng(3)
    kinds = [dn.BatchNorm, dn.Dropout, dn.SiLU]
    made = {
        compiled: dn.Trainer(
            chain([5, 7, 6, 5, 3], kinds, dtype), dn.SoftmaxCrossEntropy(), RULES[rule](), compiled=compiled
        )
        for compiled in (False, True)
    }
    lines, kernels = made[False], made[True]
    compared = 0
    for _ in range(100):
        n = int(rng.integers(5, 12))  # of two rows BatchNorm makes 1 and -1, and the gradient is what rounding leaves
        x, y = rng.normal(size=(n, 5)).astype(dtype), rng.integers(0, 3, n)
        weight = rng.uniform(size=n) if rng.uniform() < 0.5 else None
        copy_state(lines, kernels)
        kink = at_a_kink(lines.model, x)
        wanted, got = lines.step(x, y, weight), kernels.step(x, y, weight)
        if kink:
            continue
        compared += 1
        near(got, wanted, dtype)
        for mine, its in zip(*(per_array(t.model, t.model.grads) for t in (kernels, lines)), strict=True):
            near(mine, its, dtype)
        for mine, its in zip(kernels.model.state_arrays(), lines.model.state_arrays(), strict=True):
            near(mine, its, dtype)
        kept, expected = kernels.optimizer.state_dict(), lines.optimizer.state_dict()
        assert kept["steps"] == expected["steps"]
        for name in lines.optimizer.slots:
            near(kept[name], expected[name], dtype)
    assert compared > 80


@settings(max_examples=60, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    kinds=st.lists(st.sampled_from([*ACTIVATIONS, dn.BatchNorm, dn.Dropout]), min_size=1, max_size=4),
    loss=st.sampled_from(LOSSES),
    weighted=st.booleans(),
    rows=st.integers(1, 40),
    batch=st.integers(1, 17),
    shuffle=st.booleans(),
    extra=st.sampled_from([{}, {"clip_norm": 0.1}, {"clip_value": 0.01}, {"accumulate": 2}, {"accumulate": 3}]),
    seed=st.integers(0, 99),
)
def test_an_epoch_of_any_chain_is_that_of_the_lines(widths, kinds, loss, weighted, rows, batch, shuffle, extra, seed):
    dtype, rng = "float64", np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, widths[0])), targets(loss, rng, rows, widths[-1], dtype)
    weight = rng.integers(0, 3, rows).astype(float) if weighted else None
    if weighted:
        weight[0] = 1.0
    ends = []
    for compiled in (False, True):
        model = chain(widths, kinds, dtype, seed)
        optimizer = dn.SGD(0.01, momentum=0.5)
        metrics = ["mae"] if loss.task == "regression" else []
        trainer = dn.Trainer(model, loss, optimizer, metrics=metrics, compiled=compiled, **extra)
        history = trainer.fit(x, y, epochs=1, batch_size=batch, sample_weight=weight, shuffle=shuffle, seed=seed)
        assert history.compiled is compiled
        ends.append((model, history, optimizer))
    (lines, expected, _), (kernels, got, _) = ends
    for mine, its in zip(kernels.state_arrays(), lines.state_arrays(), strict=True):
        near(mine, its, dtype, scale=max(1.0, np.abs(its).max(initial=0)))
    near(kernels.grads, lines.grads, dtype, scale=max(1.0, np.abs(lines.grads).max()))
    for name in set(expected.keys()) - {"seconds"}:
        near(got[name], expected[name], dtype)
    assert ends[0][2].steps == ends[1][2].steps


# -- (b) the same gradients for 100 steps --------------------------------------------------------------------------


@pytest.mark.parametrize("marks", ["plain", "marked"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_100_updates_with_the_same_gradients_are_those_of_the_lines(rule, dtype, marks):
    """Of the absolute error far from the targets the gradient is x times a sign, whatever the weights are."""
    rng, k = np.random.default_rng(0), 9
    x = (rng.normal(size=(100, 30)) * 10 ** rng.uniform(-4, 1, (100, 30))).astype(dtype)
    y = np.where(rng.uniform(size=(100, k)) < 0.5, -1e6, 1e6).astype(dtype)
    ends = []
    for compiled in (False, True):
        model = dn.Sequential([dn.Dense(30, k)], seed=1, dtype=dtype)
        if marks == "marked":
            model.layers[0].set_rate(0.5, "W").freeze("b")
        trainer = dn.Trainer(model, dn.MeanAbsoluteError(), RULES[rule](), compiled=compiled)
        trainer.fit(x, y, epochs=1, batch_size=1, shuffle=False)
        ends.append((model.params.copy(), trainer.optimizer.state_dict()))
    (wanted, expected), (got, kept) = ends
    near(got, wanted, dtype)
    for name, array in expected.items():
        if isinstance(array, np.ndarray):
            near(kept[name], array, dtype)


# -- (c) whole runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
def test_a_run_of_100_steps_ends_where_that_of_the_lines_ends(rule, dtype):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 6)).astype(dtype)
    y = (x @ rng.normal(size=(6, 4))).argmax(axis=1)
    ends = []
    for compiled in (False, True):
        model = dn.Sequential(
            [dn.Dense(6, 8, use_bias=False), dn.BatchNorm(8), dn.Tanh(), dn.Dropout(0.2), dn.Dense(8, 4)],
            seed=0,
            dtype=dtype,
        )
        trainer = dn.Trainer(model, dn.SoftmaxCrossEntropy(), RULES[rule](), metrics=["accuracy"], compiled=compiled)
        history = trainer.fit(x, y, epochs=10, batch_size=20, seed=0, validation_split=0.0)
        ends.append((model, history))
    (lines, expected), (kernels, got) = ends
    for mine, its in zip(kernels.state_arrays(), lines.state_arrays(), strict=True):
        near(mine, its, dtype)
    for mine, its in zip(*(per_array(m, m.grads) for m in (kernels, lines)), strict=True):
        near(mine, its, dtype)
    near(got["loss"], expected["loss"], dtype)
    assert got["accuracy"] == expected["accuracy"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trainer_step_with_kernels_leaves_the_gradient_it_used(dtype):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(6, 4)).astype(dtype), rng.normal(size=(6, 2)).astype(dtype)
    lines, kernels = (
        dn.Trainer(dn.mlp([4, 5, 2], activation="tanh", seed=0, dtype=dtype), "mse", "sgd", clip_norm=0.01, compiled=c)
        for c in (False, True)
    )
    for _ in range(3):
        near(kernels.step(x, y), lines.step(x, y), dtype)
        near(kernels.model.grads, lines.model.grads, dtype)
    assert abs(np.linalg.norm(kernels.model.grads) - 0.01) < 1e-6
    kernels.optimizer.learning_rate = lines.optimizer.learning_rate = 0.5
    kernels.model.layers[0].freeze()
    lines.model.layers[0].freeze()
    kernels.step(x, y)
    lines.step(x, y)
    near(kernels.model.params, lines.model.params, dtype)


# -- functions -----------------------------------------------------------------------------------------------------


def run_kernel(name, dtype, rows, *words, constants=()):
    """Call a kernel on arrays and numbers, for a mini-batch of so many rows."""
    a, s = np.zeros(14, np.int64), np.zeros(32, np.int64)
    a[: len(words)] = [word.ctypes.data if isinstance(word, np.ndarray) else word for word in words]
    s[slots.ROWS] = rows
    unused, arrays = np.zeros(2, np.int64), (a, np.array([*constants, *[0.0] * 8], dtype), s, np.zeros(16))
    call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 6)(machine.addresses([name], dtype)[name])
    call(unused.ctypes.data, unused.ctypes.data + 8, *(array.ctypes.data for array in arrays))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_products_are_the_sums_that_they_say(dtype):
    rng = np.random.default_rng(0)
    for (n, k), m in itertools.product([(1, 1), (3, 5), (4, 8), (9, 2), (17, 33)], range(1, 40)):
        x, d = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal((n, m)).astype(dtype)
        w, b = rng.standard_normal((k, m)).astype(dtype), rng.standard_normal(m).astype(dtype)
        guarded = np.full(n * m + 8, 7.0, dtype)  # what stands behind the result is not written
        run_kernel("layers.dense", dtype, n, 0, x, w, b, guarded, k, m)
        near(guarded[: n * m].reshape(n, m), [sum(x[i, q] * w[q] for q in range(k)) + b for i in range(n)], dtype)
        assert (guarded[n * m :] == 7).all()
        dw, db, dx = np.empty((k, m), dtype), np.empty(m, dtype), np.empty((n, k), dtype)
        run_kernel("layers.dense_gradients", dtype, n, 0, x, d, dw, db, k, m)
        near(dw, [sum(x[i, q] * d[i] for i in range(n)) for q in range(k)], dtype)
        near(db, sum(d), dtype)
        run_kernel("layers.dense_delta", dtype, n, 0, w, d, dx, k, m, np.empty((m, k), dtype))
        near(dx, [sum(d[i, j] * w[:, j] for j in range(m)) for i in range(n)], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("small", [0, 1 << 18])
def test_products_by_loops_and_by_blas_are_those_of_the_lines(small, dtype, monkeypatch):
    monkeypatch.setattr(instructions, "SMALL", small)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((37, 5)).astype(dtype), rng.integers(0, 3, 37)
    models = []
    for compiled in (False, True):
        layers = [
            dn.Dense(5, 7),
            dn.Tanh(),
            dn.Dense(7, 40, use_bias=False),
            dn.ReLU(),
            dn.Dense(40, 19),
            dn.Dense(19, 3),
        ]
        models.append(dn.Sequential(layers, dtype=dtype, seed=0))
        trainer = dn.Trainer(models[-1], "softmax_cross_entropy", dn.SGD(0.1), compiled=compiled)
        trainer.fit(x, y, epochs=1, batch_size=16, seed=0, progress=False)
    lines, kernels = models
    for mine, its in zip(per_array(kernels, kernels.grads), per_array(lines, lines.grads), strict=True):
        near(mine, its, dtype)
    near(kernels.params, lines.params, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "low", "high"), [("exp", -80.0, 80.0), ("tanh", -12.0, 12.0), ("log1p", 0.0, 1.0)])
def test_functions_are_right_to_two_units_in_the_last_place(name, low, high, dtype):
    ours = {"exp": exp, "tanh": tanh, "log1p": log1p}[name]

    @numba.njit(error_model="numpy")
    def fill(x, out):
        for i in range(len(x)):
            out[i] = ours(x[i])

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(low, high, 50_000), rng.choice([-1, 1], 9999) * 10 ** rng.uniform(-30, 0, 9999)])
    x = (np.abs(x) if low == 0 else x).astype(dtype)
    out = np.empty_like(x)
    fill(x, out)
    exact = getattr(np, name)(x.astype(np.longdouble))
    assert (np.abs(out - exact) <= 2 * np.spacing(np.abs(exact).astype(dtype))).all()
    edges = np.array([np.nan, np.inf, -np.inf, 0.0, 1e4, -1e4] if low else [np.nan, 0.0, 1.0], dtype)
    out = np.empty_like(edges)
    fill(edges, out)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(out, getattr(np, name)(edges), rtol=1e-6 if dtype == np.float32 else 1e-15)


@pytest.mark.parametrize("change", ["nothing", "batch_size", "clip_norm", "rate", "frozen", "metrics", "weights"])
def test_a_second_fit_with_the_plan_of_the_first_gives_what_a_new_trainer_gives(change):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)).astype("f"), rng.integers(0, 2, 60)

    def fitted(fresh):
        trainer = dn.Trainer(dn.mlp([3, 5, 2], seed=1), "softmax_cross_entropy", dn.SGD(0.1), compiled=True)
        trainer.fit(x, y, epochs=2, batch_size=8, seed=0)
        if fresh:
            model, optimizer = copy.deepcopy((trainer.model, trainer.optimizer))
            trainer = dn.Trainer(model, "softmax_cross_entropy", optimizer, compiled=True)
        arguments = {"batch_size": 8}
        if change == "batch_size":
            arguments["batch_size"] = 7
        if change == "clip_norm":
            trainer.clip_norm = 1e-3
        if change == "rate":
            trainer.optimizer.learning_rate = 0.2
        if change == "frozen":
            trainer.model.layers[0].freeze("W")
        if change == "metrics":
            trainer.metrics.append(dn.Accuracy())
        if change == "weights":
            arguments["sample_weight"] = np.arange(60.0)
        plan = trainer._plan
        history = trainer.fit(x, y, epochs=2, seed=1, **arguments)
        return trainer, history, plan

    (first, history, plan), (second, expected, _) = fitted(fresh=False), fitted(fresh=True)
    np.testing.assert_array_equal(first.model.params, second.model.params)
    assert history["loss"] == expected["loss"]
    assert (first._plan is plan) == (change in ("nothing", "rate"))  # every slice reads the rate anew


def test_after_a_fit_its_plan_lets_go_of_the_data():
    x, y = np.ones((20, 3), "f"), np.zeros(20, np.int64)
    trainer = dn.Trainer(dn.mlp([3, 5, 2], seed=1), "softmax_cross_entropy", "sgd", compiled=True)
    trainer.fit(x, y, epochs=1)
    gone = weakref.ref(x)
    del x
    assert gone() is None
