from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import densenet as dn

TORCH = np.load(Path(__file__).parent / "data" / "torch_reference.npz")

EQUIVALENT = {
    "StepLR": lambda lr, step_size, gamma: dn.StepDecay(lr, step_size, gamma),
    "ExponentialLR": lambda lr, gamma: dn.ExponentialDecay(lr, gamma),
    "PolynomialLR": lambda lr, total_iters, power: dn.PolynomialDecay(lr, total_iters, power=power),
    "CosineAnnealingLR": lambda lr, T_max, eta_min=0.0: dn.CosineDecay(lr, T_max, eta_min),
    "CosineAnnealingWarmRestarts": lambda lr, T_0, T_mult, eta_min=0.0: dn.CosineRestarts(lr, T_0, T_mult, eta_min),
    "OneCycleLR": lambda lr, max_lr, total_steps, pct_start: dn.OneCycle(max_lr, total_steps, pct_start),
}

EVERY = [
    dn.StepDecay(0.1, 10),
    dn.ExponentialDecay(0.1, 0.9),
    dn.PolynomialDecay(0.1, 20),
    dn.InverseTimeDecay(0.1, 0.1),
    dn.CosineDecay(0.1, 20),
    dn.CosineRestarts(0.1, 5, 2),
    dn.Warmup(dn.CosineDecay(0.1, 20), 5),
    dn.OneCycle(0.1, 20),
]


@pytest.mark.parametrize("case", sorted({k.split("/")[1] for k in TORCH.files if k.startswith("schedule/")}))
def test_rates_equal_pytorchs(case):
    settings = json.loads(str(TORCH[f"schedule/{case}/settings"]))
    schedule = EQUIVALENT[settings.pop("class")](**settings)
    rates = TORCH[f"schedule/{case}/rate"]
    count = min(len(rates), getattr(schedule, "steps", len(rates))) if isinstance(schedule, dn.OneCycle) else len(rates)
    if isinstance(schedule, dn.CosineDecay):
        count = min(count, schedule.steps + 1)  # ours stays at the end, PyTorch's rises again
    assert_allclose([schedule(t) for t in range(count)], rates[:count], rtol=0, atol=1e-12 * rates.max())


def test_inverse_time_and_warmup_by_hand():
    assert_allclose([dn.InverseTimeDecay(1.0, 0.5)(t) for t in range(3)], [1, 1 / 1.5, 1 / 2])
    assert_allclose([dn.Warmup(dn.ExponentialDecay(1.0, 0.5), 3)(t) for t in range(6)], [0.25, 0.5, 0.75, 1, 0.5, 0.25])


@pytest.mark.parametrize("schedule", [dn.CosineDecay(0.1, 4, 0.01), dn.PolynomialDecay(0.1, 4, 0.01, power=2.0)])
def test_the_final_rate_is_reached_and_stays(schedule):
    rates = [schedule(t) for t in range(8)]
    assert rates[0] == 0.1
    assert np.all(np.diff(rates[:5]) < 0)
    assert rates[4:] == [0.01] * 4


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_rates_are_numbers_of_at_least_0_for_ever(schedule):
    for t in [*range(60), 10**6]:
        assert 0 <= schedule(t) <= 0.1


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_copies_and_reprs(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert eval(repr(schedule), vars(dn)) == schedule
    assert schedule != dn.StepDecay(0.2, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dn.StepDecay(0, 10), "StepDecay expects initial to be a finite number above 0, got 0"),
        (lambda: dn.StepDecay(0.1, 0), "every to be a whole number of at least 1"),
        (lambda: dn.CosineDecay(0.1, 2.5), "steps to be a whole number"),
        (lambda: dn.CosineDecay(0.1, 10, -1), "final"),
        (lambda: dn.OneCycle(0.1, 10, rise=1.0), r"rise in \[0, 1\)"),
        (lambda: dn.Warmup(-1, 10), "after"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_of_ones_own_trains():
    class Sawtooth(dn.Schedule):
        def __call__(self, step):
            return 0.0 if step % 2 else 0.1

    model = dn.mlp([1, 1], seed=0)
    trainer = dn.Trainer(model, "mse", dn.SGD(Sawtooth()))
    trainer.step([[1.0]], [[2.0]])
    before = model.params.copy()
    trainer.step([[1.0]], [[2.0]])
    assert (model.params == before).all()
