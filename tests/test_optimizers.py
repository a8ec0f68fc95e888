from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn
from densenet.optimizers.base import CHUNK_BYTES, Marks
from densenet.training.step import Step

CHUNK = CHUNK_BYTES // 4

TORCH = np.load(Path(__file__).parent / "data" / "torch_reference.npz")
NAMES = {"lr": "learning_rate", "eps": "eps"}

EVERY = {
    "sgd": lambda lr=1e-2: dn.SGD(lr),
    "momentum": lambda lr=1e-2: dn.SGD(lr, momentum=0.9),
    "nesterov": lambda lr=1e-2: dn.SGD(lr, momentum=0.9, nesterov=True),
    "rmsprop": lambda lr=1e-2: dn.RMSprop(lr),
    "rmsprop all": lambda lr=1e-2: dn.RMSprop(lr, momentum=0.9, centered=True),
    "adagrad": lambda lr=0.1: dn.Adagrad(lr),
    "adadelta": lambda lr=1.0: dn.Adadelta(lr),
    "adam": lambda lr=1e-2: dn.Adam(lr),
    "amsgrad": lambda lr=1e-2: dn.Adam(lr, amsgrad=True),
    "adamw": lambda lr=1e-2: dn.AdamW(lr),
    "adamax": lambda lr=1e-2: dn.Adamax(lr),
    "nadam": lambda lr=1e-2: dn.NAdam(lr),
    "radam": lambda lr=1e-2: dn.RAdam(lr),
    "lion": lambda lr=1e-3: dn.Lion(lr),
    "rprop": lambda lr=1e-2: dn.Rprop(lr),
}


def torch_gradient(p, t):
    A, c = TORCH["optimizer/problem/A"], TORCH["optimizer/problem/c"]
    wave = TORCH["optimizer/problem/amplitude"] * np.sin(TORCH["optimizer/problem/frequency"] * t + np.arange(len(p)))
    return A @ p - c + wave


@pytest.mark.parametrize("case", sorted({k.split("/")[1] for k in TORCH.files if k.endswith("step100")}))
def test_a_hundred_steps_equal_pytorchs(case):
    settings = json.loads(str(TORCH[f"optimizer/{case}/settings"]))
    make = getattr(dn, settings.pop("class"))
    optimizer = make(**{NAMES.get(k, k): v for k, v in settings.items()})
    p = TORCH["optimizer/problem/p0"].copy()
    for t in range(1, 101):
        optimizer.step(p, torch_gradient(p, t))
        if (key := f"optimizer/{case}/step{t}") in TORCH.files:
            expected = TORCH[key]
            assert_allclose(p, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_lion_equals_the_papers_algorithm():
    rng = np.random.default_rng(0)
    p, gradients = rng.normal(size=8), rng.normal(size=(20, 8))
    w, optimizer = p.copy(), dn.Lion(0.01, weight_decay=0.1)
    for g in gradients:
        optimizer.step(w, g)
    assert_allclose(w, reference.lion_reference(p, gradients, 0.01, weight_decay=0.1), rtol=1e-12)


def rosenbrock(p):
    x, y = p
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2, np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])


def parabola(p):
    d = p - np.array([1.0, -2.0])
    return float(d @ d), 2 * d


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("problem", [parabola, rosenbrock])
@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer_goes_downhill(name, problem, dtype):
    rates = {"sgd": 1e-3, "momentum": 2e-4, "nesterov": 2e-4} if problem is rosenbrock else {}
    optimizer = EVERY[name](rates[name]) if name in rates else EVERY[name]()
    p = np.zeros(2, dtype)
    start, _ = problem(p.astype(float))
    for _ in range(3000):
        optimizer.step(p, problem(p.astype(float))[1].astype(dtype))
    assert p.dtype == dtype
    share = 0.05 if problem is parabola else 0.9 if name == "adadelta" else 0.5  # Adadelta creeps along the valley
    assert problem(p.astype(float))[0] < share * start


# -- marks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_marks_equal_separate_vectors(name, factor):
    rng = np.random.default_rng(0)
    p = rng.normal(size=12)
    cuts = {"frozen": slice(0, 3), "plain": slice(3, 6), "undecayed": slice(6, 9), "slow": slice(9, 12)}
    whole, parts = p.copy(), {key: p[cut].copy() for key, cut in cuts.items()}
    rate, decay = np.ones(12), np.ones(12)
    rate[cuts["frozen"]], rate[cuts["slow"]], decay[cuts["undecayed"]] = 0, factor, 0
    combined, alone = EVERY[name](), {key: EVERY[name]() for key in cuts}
    for key, optimizer in [("all", combined), *alone.items()]:
        optimizer.weight_decay = 0.0 if key == "undecayed" or name == "rprop" else 0.1
    if name != "rprop":  # its steps come from `etas`, and its rate is but the first of them
        alone["slow"].learning_rate *= factor
    for _ in range(5):
        g = rng.normal(size=12)
        if name == "rprop":
            before = parts["slow"].copy()
        for key, cut in cuts.items():
            if key != "frozen":
                alone[key].step(parts[key], g[cut])
        if name == "rprop":
            parts["slow"] = before + factor * (parts["slow"] - before)
        combined.step(whole, g, Marks(rate, decay))
    for key, cut in cuts.items():
        assert_allclose(whole[cut], parts[key], rtol=1e-13, err_msg=key)
    assert combined.steps == 5


@pytest.mark.parametrize("name", EVERY)
def test_frozen_parameters_and_what_is_kept_for_them_keep_their_bits(name):
    p = np.array([-0.0, 1.0, np.inf, 2.0, 3.0, -0.0], "f")
    g = np.array([np.nan, 0.5, np.inf, -0.5, 0.25, np.nan], "f")
    rate = np.array([0, 1, 0, 0.5, 1, 0], "f")
    w, optimizer = p.copy(), EVERY[name]()
    optimizer.weight_decay = 0.0 if name == "rprop" else 0.1
    for _ in range(3):
        optimizer.step(w, g, Marks(rate=rate))
    frozen = rate == 0
    assert_array_equal(w.view(np.int32)[frozen], p.view(np.int32)[frozen])
    assert (w[~frozen] != p[~frozen]).all()
    fresh = EVERY[name]()
    fresh.step(np.ones(6, "f"), np.zeros(6, "f"), Marks(rate=np.zeros(6, "f")))
    for slot in optimizer.slots:
        assert_array_equal(optimizer.state_dict()[slot][frozen], fresh.state_dict()[slot][frozen])


def test_marks_may_change_between_steps_on_the_same_vectors():
    p, g, optimizer = np.zeros(2), np.ones(2), dn.SGD(0.5)
    for marks in (None, Marks(rate=np.array([0.0, 1.0])), Marks(rate=np.array([1.0, 0.0])), None):
        optimizer.step(p, g, marks)
    assert_array_equal(p, [-1.5, -1.5])
    optimizer.step(p, g, Marks(rate=np.array([0.0, 0.5])))
    assert_array_equal(p, [-1.5, -1.75])


def test_new_marks_between_steps_change_no_state():
    rng = np.random.default_rng(0)
    a, b, gradients = rng.normal(size=6), None, rng.normal(size=(6, 6))
    b = a.copy()
    steady, changing = dn.Adam(0.1), dn.Adam(0.1)
    for t, g in enumerate(gradients):
        steady.step(a, g)
        changing.step(b, g.copy(), [None, Marks(), Marks(rate=np.ones(6)), Marks(decay=np.zeros(6))][t % 4])
    assert_array_equal(a, b)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"rprop"}))
def test_decay_joins_the_gradient_unless_it_is_decoupled(name):
    rng = np.random.default_rng(0)
    p, gradients = rng.normal(size=4), rng.normal(size=(4, 4))
    w, v = p.copy(), p.copy()
    decayed, plain = EVERY[name](), EVERY[name]()
    decayed.weight_decay, plain.weight_decay = 0.1, 0.0
    for g in gradients:
        decayed.step(w, g)
        if name in ("adamw", "lion"):
            v *= 1 - plain.rate * 0.1
            plain.step(v, g)
        else:
            plain.step(v, g + 0.1 * v)
    assert_allclose(w, v, rtol=1e-13)


def test_a_rate_factor_multiplies_the_whole_update():
    p, g = np.array([1.0, 2.0]), np.array([0.5, 0.5])
    w = p.copy()
    dn.AdamW(0.1, weight_decay=0.5).step(w, g)
    half = p.copy()
    dn.AdamW(0.1, weight_decay=0.5).step(half, g, Marks(rate=np.array([0.5, 0.5])))
    # decay first, then the step, as the update is written: both shrink with the factor
    full_step = w - p * (1 - 0.05)
    assert_allclose(half, p * (1 - 0.025) + 0.5 * full_step, rtol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_long_vectors_are_worked_in_parts(name):
    n = 2 * CHUNK + 1000
    rng = np.random.default_rng(0)
    p, g = rng.normal(size=n), rng.normal(size=n)
    whole, pieces = p.copy(), p.copy()
    optimizer = EVERY[name]()
    others = [EVERY[name]() for _ in range(3)]
    cuts = [slice(0, 1000), slice(1000, CHUNK), slice(CHUNK, n)]
    for t in range(3):
        optimizer.step(whole, g * (t + 1))
        for other, cut in zip(others, cuts, strict=True):
            other.step(pieces[cut], (g * (t + 1))[cut])
    assert_allclose(whole, pieces, rtol=1e-13)


FADING = {
    "adam": lambda: dn.Adam(0.01),
    "adamax": lambda: dn.Adamax(0.01),
    "momentum": lambda: dn.SGD(0.01, momentum=0.9),
    "rmsprop": lambda: dn.RMSprop(0.01, centered=True, momentum=0.9),
    "adadelta": lambda: dn.Adadelta(0.01),
    "lion": lambda: dn.Lion(0.01, beta_2=0.9),
}


@pytest.mark.parametrize("rule", FADING)
def test_what_has_faded_does_not_stay_below_the_smallest_normal_number(rule):
    optimizer, plain = FADING[rule](), FADING[rule]()
    plain.fading = ()
    ends, states = [], []
    for each in (optimizer, plain):
        rng = np.random.default_rng(0)
        p = rng.normal(size=64).astype(np.float32)
        for step in range(1500):
            g = rng.normal(size=64).astype(np.float32)
            g[::4] *= step < 5  # dead from then on
            each.step(p, g)
        ends.append(p)
        states.append(each.state_dict())
    tiny = np.finfo(np.float32).tiny
    for name in set(optimizer.fading) & set(states[0]):
        sizes = np.abs(states[0][name])
        assert not ((sizes > 0) & (sizes < tiny)).any(), name
        if rule == "lion":
            assert_array_equal(np.sign(states[0][name]), np.sign(states[1][name]))
    assert any((((s := np.abs(states[1][name])) > 0) & (s < tiny)).any() for name in plain.slots)  # it would have
    assert_allclose(ends[0], ends[1], rtol=1e-6)


# -- state ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)), None])
@pytest.mark.parametrize("name", EVERY)
def test_state_goes_on_bit_for_bit(name, turn):
    rng = np.random.default_rng(0)
    p, gradients = rng.normal(size=50), rng.normal(size=(10, 50))
    a, w = EVERY[name](), p.copy()
    for g in gradients[:5]:
        a.step(w, g)
    if turn is None:
        b = EVERY[name](0.5)
        b.load_state_dict(a.state_dict())
    else:
        b = turn(a)
    v = w.copy()
    for g in gradients[5:]:
        a.step(w, g)
        b.step(v, g)
    assert_array_equal(v, w)
    assert a.steps == b.steps == 10


def test_state_is_a_copy_and_is_checked():
    a, p = dn.Adam(), np.zeros(3)
    a.step(p, np.ones(3))
    state = a.state_dict()
    kept = state["m"].copy()
    a.step(p, np.ones(3))
    assert_array_equal(state["m"], kept)
    with pytest.raises(
        ValueError, match=r"SGD expects a state with \['learning_rate', 'steps'\], got \['learning_rate', 'm'"
    ):
        dn.SGD().load_state_dict(state)
    with pytest.raises(ValueError, match="Adam expects m in the state to be a vector like"):
        a.load_state_dict(state | {"m": np.zeros(4)})
    with pytest.raises(ValueError, match=r"Adam has kept m of 3 parameters, float64, got 4, .*make a new optimizer"):
        a.step(np.zeros(4), np.zeros(4))


def test_a_state_that_does_not_fit_changes_nothing():
    a, p = dn.NAdam(0.1), np.zeros(3)
    for _ in range(2):
        a.step(p, np.ones(3))
    state = a.state_dict()
    for change, message in (
        ({"steps": -1}, "steps in the state to be a whole number of at least 0, got -1"),
        ({"mu_product": "1"}, "mu_product in the state to be a finite number, got '1'"),
        ({"learning_rate": float("nan")}, "learning_rate to be a finite number above 0 or a Schedule, got nan"),
        ({"v": np.zeros((3, 1))}, r"expects v in the state to be a vector like \(3,\) float64, got \(3, 1\)"),
        ({"v": np.zeros(3, int)}, "expects v in the state"),
    ):
        with pytest.raises(ValueError, match=message):
            a.load_state_dict({key: 7 * value for key, value in state.items()} | change)
        after = a.state_dict()
        assert list(after) == list(state)
        assert all(np.array_equal(after[key], state[key]) for key in state)


def test_the_state_carries_rate_and_schedule():
    a, b = dn.Adam(0.1), dn.Adam(0.2)
    a.learning_rate = 0.025
    b.load_state_dict(a.state_dict())
    assert b.rate == 0.025
    a.learning_rate = dn.Warmup(dn.CosineDecay(0.1, 10), 2)
    b.load_state_dict(a.state_dict())
    assert b.learning_rate == dn.Warmup(dn.CosineDecay(0.1, 10), 2)
    unused = dn.Adam().state_dict()
    b.step(np.zeros(3), np.ones(3))
    b.load_state_dict(unused)
    b.step(np.zeros(5), np.ones(5))  # it starts anew
    assert b.steps == 1


def test_a_loaded_state_is_not_shared():
    a, b, p = dn.SGD(0.1, momentum=0.9), dn.SGD(0.1, momentum=0.9), np.zeros(2)
    a.step(p, np.ones(2))
    state = a.state_dict()
    b.load_state_dict(state)
    b.step(p, np.ones(2))
    assert_array_equal(state["v"], np.ones(2))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [100, CHUNK + 10])
def test_gradients_are_not_written_and_nothing_is_allocated(name, size):
    p, g = np.ones(size, "f"), np.full(size, 0.5, "f")
    optimizer = EVERY[name]()
    optimizer.weight_decay = 0.0 if name == "rprop" else 0.01
    kept = g.copy()
    for _ in range(3):
        optimizer.step(p, g)
    tracemalloc.start()
    try:
        optimizer.step(p, g)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            optimizer.step(p, g)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_array_equal(g, kept)
    assert after - before < 4_000


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "0.1", True])
def test_bad_rates(name, rate):
    with pytest.raises(ValueError, match="learning_rate to be a finite number above 0 or a Schedule"):
        EVERY[name](rate)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dn.SGD(momentum=1.0), r"SGD expects momentum in \[0, 1\), got 1\.0"),
        (lambda: dn.SGD(nesterov=True), "momentum above 0 with nesterov=True"),
        (lambda: dn.SGD(weight_decay=-1), "weight_decay to be a finite number of at least 0"),
        (lambda: dn.Adam(beta_1=1.0), r"Adam expects beta_1 in \[0, 1\)"),
        (lambda: dn.AdamW(beta_2=-0.1), r"AdamW expects beta_2 in \[0, 1\)"),
        (lambda: dn.Adam(eps=-1e-8), "Adam expects eps"),
        (lambda: dn.RMSprop(rho=1.5), r"RMSprop expects rho in \[0, 1\)"),
        (lambda: dn.Rprop(etas=(1.2, 0.5)), "0 < eta_minus < 1 < eta_plus"),
        (lambda: dn.Rprop(step_sizes=(1.0, 0.1)), "0 < smallest <= largest"),
        (lambda: dn.Adagrad(lr_decay=-1), "lr_decay"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_vectors_that_do_not_fit():
    for p, g, message in (
        (np.zeros(3), np.zeros(4), r"expects grads like params, \(3,\) float64, got \(4,\) float64"),
        (np.zeros(3), np.zeros(3, "f"), "expects grads like params"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "expects a contiguous, writeable vector"),
        (np.zeros(6)[::2], np.zeros(3), "not contiguous"),
        (np.zeros(3, int), np.zeros(3), "float32 or float64"),
    ):
        with pytest.raises(ValueError, match=message):
            dn.SGD().step(p, g)
    for marks in (Marks(rate=np.ones(2)), Marks(decay=np.ones(3, "f"))):
        with pytest.raises(ValueError, match=r"SGD.step expects marks.(rate|decay) like params, \(3,\) float64"):
            dn.SGD().step(np.zeros(3), np.zeros(3), marks)
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="contiguous, read-only"):
        dn.SGD().step(fixed, np.zeros(3))
    optimizer = dn.Adam()
    optimizer.step(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="3 parameters, float64, got 3, float32"):
        optimizer.step(np.zeros(3, "f"), np.zeros(3, "f"))
    with pytest.raises(TypeError, match="expects params to be a NumPy array, got list"):
        dn.SGD().step([1.0], np.zeros(1))


def test_a_schedule_is_asked_with_the_steps_done():
    optimizer, p = dn.SGD(dn.StepDecay(1.0, every=2, factor=0.5)), np.zeros(1)
    path = []
    for _ in range(5):
        optimizer.step(p, np.ones(1))
        path.append(-p[0])
    assert path == [1.0, 2.0, 2.5, 3.0, 3.25]
    assert optimizer.rate == 0.25


def test_a_schedule_of_ones_own_and_one_that_gives_no_rate():
    class Sawtooth(dn.Schedule):
        def __call__(self, step):
            return [0.5, 0.0, 0.25, -1.0][step]

    optimizer, p = dn.SGD(Sawtooth()), np.zeros(1)
    for expected in (-0.5, -0.5, -0.75):
        optimizer.step(p, np.ones(1))
        assert p[0] == expected
    with pytest.raises(ValueError, match=r"finite rate of at least 0, but Sawtooth\(\) gives -1.0 after 3 steps"):
        optimizer.step(p, np.ones(1))
    assert optimizer.steps == 3
    assert p[0] == -0.75


def test_arguments_may_change_between_steps():
    a, b, p = dn.SGD(0.1, momentum=0.9), dn.SGD(0.1, momentum=0.9), np.ones(3)
    q, g = p.copy(), np.arange(3.0)
    for _ in range(2):
        a.step(p, g)
        b.step(q, g)
    a.momentum, a.weight_decay, a.learning_rate = 0.5, 0.1, 0.2
    expected = q - 0.2 * (0.5 * b.state_dict()["v"] + g + 0.1 * q)
    a.step(p, g)
    assert_allclose(p, expected, rtol=1e-14)


def test_a_strided_gradient_is_read_right():
    G, p, q = np.arange(8.0).reshape(4, 2), np.zeros(4), np.zeros(4)
    for optimizer, w, g in ((dn.Adam(0.1), p, G[:, 1]), (dn.Adam(0.1), q, G[:, 1].copy())):
        optimizer.step(w, g)
    assert_array_equal(p, q)


def test_names_and_reprs():
    assert repr(dn.optimizers.get("adam")) == "Adam(learning_rate=0.001)"
    assert repr(dn.SGD(0.1, momentum=0.9)) == "SGD(learning_rate=0.1, momentum=0.9)"
    assert isinstance(dn.optimizers.get(dn.Lion), dn.Lion)
    with pytest.raises(ValueError, match="knows no optimizer 'adm'; it knows adadelta, adagrad, adam"):
        dn.optimizers.get("adm")


def test_an_optimizer_of_ones_own():
    class SignSGD(dn.Optimizer):
        def __init__(self, learning_rate):
            self.learning_rate = learning_rate

        def direction(self, g, work, state, alpha):
            return np.sign(g, out=work), alpha

    p = np.array([1.0, 1.0])
    SignSGD(0.1).step(p, np.array([5.0, -0.01]))
    assert_allclose(p, [0.9, 1.1])


@pytest.mark.parametrize("case", ["above", "below"])
def test_clipping_by_norm_equals_pytorchs(case):
    gradient, limit = TORCH[f"clip_grad_norm/{case}/gradient"], float(TORCH[f"clip_grad_norm/{case}/max_norm"])
    size = gradient.size
    model = dn.Sequential([dn.Dense(size, 1, use_bias=False, kernel_initializer="zeros")], dtype="float64")
    model.grads = gradient.ravel()
    Step(model, dn.MeanSquaredError(), dn.SGD(1.0), clip_norm=limit).update()
    assert_allclose(-model.params, TORCH[f"clip_grad_norm/{case}/clipped"].ravel(), rtol=1e-12)
