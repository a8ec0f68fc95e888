"""Stores what PyTorch computes, so that the tests can compare with it where PyTorch is not installed.

``python tests/make_torch_reference.py`` writes ``tests/data/torch_reference.npz``: inputs and outputs of PyTorch in
float64, from fixed seeds. The version that made them is stored under ``torch_version``. Keys read like paths:

``activation/x``
    A grid of z, for all activations; ``activation/<class>/value`` and ``.../derivative`` are f(z) and f'(z). PyTorch's
    Softplus is made with threshold 709, so that the exact function is stored, not its approximation above 20.
    The derivative of its Hardsigmoid is 1/6 rounded to float32, also in float64: 3e-8 too large.
    Softmax and LogSoftmax have ``x``, ``delta``, ``value`` and ``dx`` of a matrix instead; PReLU has ``a``, ``delta``
    and ``da`` as well.
``layer/<class>/...``
    ``x``, ``gamma``, ``beta``, ``delta``, ``value``, ``dx``, ``dgamma``, ``dbeta``. BatchNorm sees three batches
    ``x1 x2 x3`` in training (``value1`` ..., running statistics after each ``mean1 variance1`` ...; ``dx`` ... belong
    to the third), then ``eval/x`` with its own ``value``, ``dx``, ``dgamma``, ``dbeta``.
``loss/<class>/<case>/...``
    ``prediction``, ``target``, ``value``, ``gradient`` = dE/dprediction; ``weight`` where samples are weighted.
``optimizer/<name>/...``
    ``settings`` (JSON: PyTorch's class and arguments, all others are its defaults) and the parameters after steps 1, 2,
    10, 100: ``step1`` ... Step t = 1, 2, ... uses the gradient
    g_i = sum_j A_ij p_j - c_i + amplitude sin(frequency t + i), i = 0, 1, ..., at the parameters before the step;
    ``optimizer/problem/`` holds A, c, p0, amplitude and frequency.
``schedule/<name>/...``
    ``settings`` (JSON) and ``rate``: the learning rate after 0, 1, 2, ... steps.
``clip_grad_norm/<case>/...``
    ``gradient``, ``max_norm``, ``norm`` and ``clipped``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

PATH = Path(__file__).parent / "data" / "torch_reference.npz"

Values = dict[str, Any]


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers of three decimals, which are easy to read and compress well."""
    return torch.round(torch.randn(*shape, generator=generator), decimals=3)


def with_gradient(values: Tensor) -> Tensor:
    """A leaf with the same values that collects its gradient."""
    return values.detach().clone().requires_grad_()


# -- activations -------------------------------------------------------------------------------------------------


def grid() -> Tensor:
    """0, tiny, moderate, kinks at 1 and 3, large; both signs."""
    tiny = [1e-30, 1e-16, 1e-8, 1e-4, 1e-2]
    moderate = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 2.9, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0]
    large = [15.0, 19.9, 20.1, 25.0, 30.0, 37.0, 50.0, 100.0, 700.0]
    positive = torch.tensor(tiny + moderate + large)
    return torch.cat([-positive.flip(0), torch.zeros(1), positive])


def activations() -> Values:
    """f and f' of what PyTorch has."""
    modules: dict[str, Any] = {
        "ReLU": nn.ReLU(),
        "LeakyReLU": nn.LeakyReLU(),
        "PReLU": nn.PReLU(),
        "ELU": nn.ELU(),
        "SELU": nn.SELU(),
        "CELU": nn.CELU(),
        "GELU": nn.GELU(),
        "SiLU": nn.SiLU(),
        "Mish": nn.Mish(),
        "Softplus": nn.Softplus(threshold=709),
        "Softsign": nn.Softsign(),
        "Sigmoid": nn.Sigmoid(),
        "Tanh": nn.Tanh(),
        "HardTanh": nn.Hardtanh(),
        "HardSigmoid": nn.Hardsigmoid(),
        "HardSwish": nn.Hardswish(),
    }
    values: Values = {"activation/x": grid()}
    for name, module in modules.items():
        x = with_gradient(grid())
        y = module(x)
        (derivative,) = torch.autograd.grad(y.sum(), x)
        values[f"activation/{name}/value"] = y
        values[f"activation/{name}/derivative"] = derivative
    generator = torch.Generator().manual_seed(1)
    prelu = nn.PReLU(init=0.25)
    delta = normal(generator, len(grid()))
    (da,) = torch.autograd.grad(prelu(grid()), prelu.weight, delta)
    values |= {"activation/PReLU/a": prelu.weight, "activation/PReLU/delta": delta, "activation/PReLU/da": da}
    rows = torch.cat([3 * normal(generator, 5, 6), 1e4 * torch.sign(normal(generator, 2, 6)), torch.zeros(1, 6)])
    for name, module in {"Softmax": nn.Softmax(dim=1), "LogSoftmax": nn.LogSoftmax(dim=1)}.items():
        x, delta = with_gradient(rows), normal(generator, *rows.shape)
        y = module(x)
        (dx,) = torch.autograd.grad(y, x, delta)
        for key, value in {"x": x, "delta": delta, "value": y, "dx": dx}.items():
            values[f"activation/{name}/{key}"] = value
    return values


# -- layers ------------------------------------------------------------------------------------------------------


def through(module: Any, x: Tensor, delta: Tensor) -> Values:
    """Output and gradients of a normalization."""
    inputs = {"dx": with_gradient(x), "dgamma": module.weight}
    if getattr(module, "bias", None) is not None:
        inputs["dbeta"] = module.bias
    y = module(inputs["dx"])
    gradients = torch.autograd.grad(y, list(inputs.values()), delta)
    return {"x": x, "delta": delta, "value": y} | dict(zip(inputs, gradients, strict=True))


def layers() -> Values:
    """Normalizations with their gradients, and BatchNorm's running statistics."""
    generator = torch.Generator().manual_seed(2)
    values: Values = {}

    n_rows, n = 8, 5
    batch_norm: Any = nn.BatchNorm1d(n)
    gamma, beta = 1 + 0.3 * normal(generator, n), normal(generator, n)
    with torch.no_grad():
        batch_norm.weight.copy_(gamma)
        batch_norm.bias.copy_(beta)
    values |= {"layer/BatchNorm/gamma": gamma, "layer/BatchNorm/beta": beta}
    spread, offset = torch.tensor([1.0, 3.0, 0.1, 10.0, 1.0]), torch.tensor([0.0, 5.0, -1.0, 100.0, 0.5])
    for batch, rows in enumerate((n_rows, n_rows, n_rows - 3), start=1):
        result = through(batch_norm, normal(generator, rows, n) * spread + offset, normal(generator, rows, n))
        values |= {
            f"layer/BatchNorm/x{batch}": result["x"],
            f"layer/BatchNorm/value{batch}": result["value"],
            f"layer/BatchNorm/mean{batch}": batch_norm.running_mean.clone(),
            f"layer/BatchNorm/variance{batch}": batch_norm.running_var.clone(),
        }
    values |= {f"layer/BatchNorm/{key}": result[key] for key in ("delta", "dx", "dgamma", "dbeta")}
    batch_norm.eval()
    result = through(batch_norm, normal(generator, 4, n) * spread + offset, normal(generator, 4, n))
    values |= {f"layer/BatchNorm/eval/{key}": value for key, value in result.items()}

    row_norms: dict[str, Any] = {"LayerNorm": nn.LayerNorm(6), "RMSNorm": nn.RMSNorm(6)}
    for name, module in row_norms.items():
        gamma = 1 + 0.3 * normal(generator, 6)
        with torch.no_grad():
            module.weight.copy_(gamma)
        values[f"layer/{name}/gamma"] = gamma
        if name == "LayerNorm":
            beta = normal(generator, 6)
            with torch.no_grad():
                module.bias.copy_(beta)
            values[f"layer/{name}/beta"] = beta
        result = through(module, 2 * normal(generator, 4, 6) + 1, normal(generator, 4, 6))
        values |= {f"layer/{name}/{key}": value for key, value in result.items()}
    return values


# -- losses ------------------------------------------------------------------------------------------------------


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """-(1 - p_t)^2 log p_t, composed of PyTorch's functions."""
    log_p = functional.log_softmax(logits, dim=1).gather(1, target[:, None])[:, 0]
    return -((1 - log_p.exp()) ** 2) * log_p


def gaussian(prediction: Tensor, target: Tensor) -> Tensor:
    """PyTorch's GaussianNLLLoss of k means and k log-variances."""
    k = target.shape[1]
    return functional.gaussian_nll_loss(prediction[:, :k], target, prediction[:, k:].exp(), reduction="none").mean(1)


def losses() -> Values:
    """Value and gradient; each function gives one number a sample."""
    generator = torch.Generator().manual_seed(3)
    n, k = 6, 4
    real, other, wide = (2 * normal(generator, n, columns) for columns in (k, k, 2 * k))
    logits = 3 * normal(generator, n, k)
    extreme = 1e4 * torch.sign(normal(generator, n, k))
    zero_one = (normal(generator, n, k) > 0).double()
    counts = torch.floor(2 * normal(generator, n, k).abs())
    soft = torch.softmax(normal(generator, n, k), dim=1)
    gappy = torch.where(zero_one.bool(), soft, 0.0)
    gappy[gappy.sum(1) == 0, 0] = 1.0
    gappy = gappy / gappy.sum(1, keepdim=True)
    classes = torch.tensor([0, 3, 1, 2, 2, 0])
    class_weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    probability = torch.sigmoid(normal(generator, n, k))
    near_edge = torch.where(normal(generator, n, k) > 0, 1e-9, 1 - 1e-9)
    distribution = torch.softmax(logits, dim=1)
    log_distribution = torch.log_softmax(logits, dim=1)
    weight = torch.tensor([1.0, 0.0, 2.5, 0.25, 1.0, 3.0])

    def mean(f: Callable[..., Tensor], **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda p, t: f(p, t, reduction="none", **options).mean(1)

    def cross_entropy(**options: Any) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda p, t: functional.cross_entropy(p, t, reduction="none", **options)

    binary, plain = mean(functional.binary_cross_entropy_with_logits), cross_entropy()
    smooth = cross_entropy(label_smoothing=0.1)
    cases: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]] = [
        ("MeanSquaredError", "random", mean(functional.mse_loss), real, other),
        (
            "HalfSquaredError",
            "random",
            lambda p, t: functional.mse_loss(p, t, reduction="none").sum(1) / 2,
            real,
            other,
        ),
        ("MeanAbsoluteError", "random", mean(functional.l1_loss), real, other),
        ("Huber", "random", mean(functional.huber_loss), real, other),
        ("PoissonNLL", "random", mean(functional.poisson_nll_loss, log_input=True), real, counts),
        ("GaussianNLL", "random", gaussian, wide, other),
        (
            "KLDivergence",
            "random",
            lambda p, t: functional.kl_div(p, t, reduction="none").sum(1),
            log_distribution,
            gappy,
        ),
        ("SigmoidCrossEntropy", "random", binary, logits, zero_one),
        ("SigmoidCrossEntropy", "soft", binary, logits, soft),
        ("SigmoidCrossEntropy", "extreme", binary, extreme, zero_one),
        ("SoftmaxCrossEntropy", "random", plain, logits, classes),
        ("SoftmaxCrossEntropy", "soft", plain, logits, soft),
        ("SoftmaxCrossEntropy", "smoothed", smooth, logits, classes),
        ("SoftmaxCrossEntropy", "smoothed_soft", smooth, logits, soft),
        ("SoftmaxCrossEntropy", "extreme", plain, extreme, classes),
        ("SoftmaxCrossEntropy", "extreme_soft", plain, extreme, soft),
        ("SoftmaxCrossEntropy", "extreme_smoothed", smooth, extreme, classes),
        ("BinaryCrossEntropy", "random", mean(functional.binary_cross_entropy), probability, zero_one),
        ("BinaryCrossEntropy", "soft", mean(functional.binary_cross_entropy), probability, soft),
        ("BinaryCrossEntropy", "near_edge", mean(functional.binary_cross_entropy), near_edge, zero_one),
        (
            "CategoricalCrossEntropy",
            "random",
            lambda p, t: functional.nll_loss(p.log(), t, reduction="none"),
            distribution,
            classes,
        ),
        ("FocalLoss", "random", focal, logits, classes),
    ]
    values: Values = {}

    def store(name: str, f: Callable[[Tensor, Tensor], Tensor], p: Tensor, t: Tensor, w: Tensor | None) -> None:
        prediction = with_gradient(p)
        per_sample = f(prediction, t)
        error = per_sample.mean() if w is None else (w * per_sample).sum() / w.sum()
        (gradient,) = torch.autograd.grad(error, prediction)
        result = {"prediction": p, "target": t, "value": error, "gradient": gradient}
        if w is not None:
            result["weight"] = w
        values.update({f"loss/{name}/{key}": value for key, value in result.items()})

    for name, case, f, p, t in cases:
        store(f"{name}/{case}", f, p, t, None)
        if case == "random":
            store(f"{name}/weighted", f, p, t, weight)

    prediction = with_gradient(logits)
    error = functional.cross_entropy(prediction, classes, weight=class_weights)  # PyTorch's own sum(w l) / sum(w)
    (gradient,) = torch.autograd.grad(error, prediction)
    key = "loss/SoftmaxCrossEntropy/class_weighted/"
    values |= {
        key + "prediction": logits,
        key + "target": classes,
        key + "class_weight": class_weights,
        key + "weight": class_weights[classes],
        key + "value": error,
        key + "gradient": gradient,
    }
    return values


# -- optimizers --------------------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd_momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd_nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "sgd_decay": ("SGD", {"lr": 0.05, "weight_decay": 0.01}),
    "sgd_momentum_decay": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    "rmsprop_centered": ("RMSprop", {"lr": 0.01, "centered": True}),
    "adagrad": ("Adagrad", {"lr": 0.01}),
    "adagrad_decay": ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.1}),
    "adadelta": ("Adadelta", {"lr": 1.0}),
    "adam": ("Adam", {"lr": 0.02}),
    "adam_decay": ("Adam", {"lr": 0.02, "weight_decay": 0.01}),
    "adam_amsgrad": ("Adam", {"lr": 0.02, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.02}),
    "adamw_amsgrad": ("AdamW", {"lr": 0.02, "amsgrad": True}),
    "adamax": ("Adamax", {"lr": 0.02}),
    "nadam": ("NAdam", {"lr": 0.02}),
    "radam": ("RAdam", {"lr": 0.02}),
    "rprop": ("Rprop", {"lr": 0.01}),
}


def optimizers() -> Values:
    """Parameters on the way down a quadratic bowl that is shaken a little."""
    generator = torch.Generator().manual_seed(4)
    n, amplitude, frequency = 30, 0.1, 0.7
    square = normal(generator, n, n)
    A = torch.round((square @ square.T) / n + 0.1 * torch.eye(n), decimals=3)
    c, p0 = normal(generator, n), normal(generator, n)
    values: Values = {
        "optimizer/problem/A": A,
        "optimizer/problem/c": c,
        "optimizer/problem/p0": p0,
        "optimizer/problem/amplitude": amplitude,
        "optimizer/problem/frequency": frequency,
    }
    for name, (kind, settings) in OPTIMIZERS.items():
        p = with_gradient(p0)
        optimizer = getattr(torch.optim, kind)([p], **settings)
        values[f"optimizer/{name}/settings"] = json.dumps({"class": kind, **settings})
        for t in range(1, 101):
            with torch.no_grad():
                p.grad = A @ p - c + amplitude * torch.sin(frequency * t + torch.arange(n))
            optimizer.step()
            if t in (1, 2, 10, 100):
                values[f"optimizer/{name}/step{t}"] = p.detach().clone()
    return values


# -- schedules and clipping --------------------------------------------------------------------------------------

SCHEDULES: dict[str, tuple[str, float, int, dict[str, Any]]] = {
    "step": ("StepLR", 0.1, 61, {"step_size": 10, "gamma": 0.5}),
    "exponential": ("ExponentialLR", 0.1, 61, {"gamma": 0.95}),
    "polynomial_linear": ("PolynomialLR", 0.1, 61, {"total_iters": 50, "power": 1.0}),
    "polynomial_square": ("PolynomialLR", 0.1, 61, {"total_iters": 50, "power": 2.0}),
    "cosine": ("CosineAnnealingLR", 0.1, 61, {"T_max": 60}),
    "cosine_floor": ("CosineAnnealingLR", 0.1, 61, {"T_max": 60, "eta_min": 0.01}),
    "cosine_restarts": ("CosineAnnealingWarmRestarts", 0.1, 61, {"T_0": 20, "T_mult": 1}),
    "cosine_restarts_doubling": ("CosineAnnealingWarmRestarts", 0.1, 61, {"T_0": 8, "T_mult": 2, "eta_min": 0.01}),
    "one_cycle": ("OneCycleLR", 0.1, 60, {"max_lr": 0.1, "total_steps": 60, "pct_start": 0.3}),
    "one_cycle_early": ("OneCycleLR", 0.1, 60, {"max_lr": 0.1, "total_steps": 60, "pct_start": 0.1}),
}
"""PyTorch's class, the optimizer's rate, the number of rates to store, the schedule's arguments."""


def schedules() -> Values:
    """The rate after 0, 1, 2, ... steps."""
    values: Values = {}
    for name, (kind, base, n_rates, settings) in SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
        momentum = {"cycle_momentum": False} if kind == "OneCycleLR" else {}
        schedule = getattr(torch.optim.lr_scheduler, kind)(optimizer, **settings, **momentum)
        rates = [optimizer.param_groups[0]["lr"]]
        while len(rates) < n_rates:
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        values[f"schedule/{name}/settings"] = json.dumps({"class": kind, "lr": base, **settings})
        values[f"schedule/{name}/rate"] = np.array(rates, dtype=np.float64)
    return values


def clipping() -> Values:
    """clip_grad_norm_ of two parameters' gradients: one that is too long, one that is not."""
    generator = torch.Generator().manual_seed(5)
    gradient = normal(generator, 20)
    values: Values = {}
    for case, max_norm in {"above": 1.5, "below": 50.0}.items():
        parts = [torch.zeros(3, 4, requires_grad=True), torch.zeros(8, requires_grad=True)]
        parts[0].grad, parts[1].grad = gradient[:12].clone().reshape(3, 4), gradient[12:].clone()
        norm = nn.utils.clip_grad_norm_(parts, max_norm)
        result = {
            "gradient": gradient,
            "max_norm": max_norm,
            "norm": norm,
            "clipped": torch.cat([part.grad.flatten() for part in parts if part.grad is not None]),
        }
        values |= {f"clip_grad_norm/{case}/{key}": value for key, value in result.items()}
    return values


def main() -> None:
    """Compute everything and write the file."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    values: Values = {"torch_version": torch.__version__}
    for part in (activations, layers, losses, optimizers, schedules, clipping):
        values |= part()
    arrays = {key: v.detach().numpy() if isinstance(v, Tensor) else np.array(v) for key, v in values.items()}
    for key, array in arrays.items():
        if array.dtype.kind not in "fiU" or (array.dtype.kind == "f" and array.dtype != np.float64):
            raise TypeError(f"{key} is expected in float64, got {array.dtype}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{key} has entries that are not finite.")
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, allow_pickle=False, **arrays)
    print(f"{PATH}: {len(arrays)} arrays, {PATH.stat().st_size / 1000:.0f} kB, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
