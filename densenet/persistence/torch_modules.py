"""Conversion from and to PyTorch, for the layers that both libraries have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np

from densenet import layers
from densenet._types import Array
from densenet.layers.base import Layer
from densenet.persistence.answers import check_same_answers, replaced_methods
from densenet.sequential import Sequential


def _torch(who: str) -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError(f"{who} needs PyTorch: pip install torch") from None
    return torch


def from_torch(module: Any) -> Sequential:
    """A model that computes what a PyTorch module does: weights, running statistics and settings are copied.

    The module counts as it is in evaluation mode. Only layers that are understood exactly are converted: of the types
    below, without hooks or parametrizations, with plain parameters of their own. Then the model's
    answers to random rows are compared with the module's; they agree within 1e-5 (float32) or 1e-12 (float64) of the
    largest. Modes, gradients and PyTorch's random state stay as they are.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Sequential``, nested ones too, or a single layer. It may hold ``Linear``, the activations that densenet has,
        ``BatchNorm1d``, ``LayerNorm``, ``RMSNorm``, ``Dropout``, ``AlphaDropout``, ``Identity`` and ``Flatten``.
        Parameters without ``requires_grad`` are frozen.

    Returns
    -------
    Sequential
        In the module's dtype, float32 or float64.

    Raises
    ------
    TypeError
        If a layer, or a setting of it, has no counterpart; if it has hooks, parametrizations, replaced methods, or
        weights that are no ``Parameter``.
    ValueError
        If a layer or a parameter stands twice; if dtypes, devices or modes are mixed; if weights are not finite or of
        other shapes than the layer's settings say.
    ArithmeticError
        If the answers differ all the same.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> import densenet as dn
    >>> from torch import nn  # doctest: +SKIP
    >>> dn.from_torch(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))  # doctest: +SKIP
    Sequential([Dense(4, 8), ReLU(), Dense(8, 3)], dtype='float32')
    """
    torch = _torch("from_torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch expects a torch.nn.Module, got {module!r}.")
    _check_global_hooks(torch)
    leaves = _leaves(torch, module)
    readers = _readers(torch.nn)
    made = [(leaf, layer) for leaf in leaves if (layer := readers[type(leaf)](leaf)) is not None]
    device, dtype = _check_tensors(torch, made)
    chain = [layer for _, layer in made] or [layers.Identity()]
    model = Sequential(chain, seed=0, dtype=dtype)
    for leaf, layer in made:
        _check_softplus(leaf, layer, dtype)
        _copy_in(leaf, layer)

    def answers(x: Array) -> Array:
        with _evaluating(module), torch.no_grad(), torch.autocast(device.type, enabled=False):
            return np.asarray(module(torch.from_numpy(x).to(device)).cpu().numpy())

    with torch.random.fork_rng(devices=[]):
        check_same_answers(model, answers, "from_torch", "the module")
    return model


def to_torch(model: Sequential) -> Any:
    """A PyTorch module that computes what the model does, in evaluation mode.

    Parameters
    ----------
    model : Sequential
        Of layers that PyTorch has, too. Penalties and `max_norm`, which act in training only, do not travel.

    Returns
    -------
    torch.nn.Sequential
        In the model's dtype, with copies of the weights and statistics. Frozen parameters have no ``requires_grad``.

    Raises
    ------
    TypeError
        If PyTorch has no such layer.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> import densenet as dn
    >>> dn.to_torch(dn.mlp([2, 3, 1]))  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    """
    torch = _torch("to_torch")
    if not isinstance(model, Sequential):
        raise TypeError(f"to_torch expects a Sequential, got {model!r}.")
    writers = _writers(torch.nn)
    chain = []
    with torch.random.fork_rng(devices=[]):  # PyTorch draws initial weights: the global state stays
        for layer in model.layers:
            writer = writers.get(type(layer))
            if writer is None:
                raise TypeError(f"to_torch knows no counterpart of {layer!r}.")
            leaf = writer(layer).to(getattr(torch, model.dtype.name))
            _copy_out(torch, layer, leaf)
            chain.append(leaf)
    return torch.nn.Sequential(*chain).eval()


# -- what is understood exactly ------------------------------------------------------------------------------------


def _leaves(torch: Any, module: Any) -> list[Any]:
    """The layers of a module in order, each of a known type and without additions to it.

    Raises
    ------
    TypeError
        Naming the layer that is not understood.
    ValueError
        If one stands twice, or is in another mode than the module.
    """
    known = {*_readers(torch.nn), torch.nn.Sequential}
    moody = (torch.nn.BatchNorm1d, torch.nn.Dropout, torch.nn.AlphaDropout)
    found: list[Any] = []
    seen: set[int] = set()

    def walk(part: Any) -> None:
        if id(part) in seen:
            raise ValueError(
                f"from_torch expects every layer to stand in one place, got one that stands twice, a "
                f"{type(part).__name__}."
            )
        seen.add(id(part))
        if type(part) not in known and not hasattr(part, "parametrizations"):
            raise TypeError(f"from_torch knows no counterpart of {part!r}.")
        _check_plain(torch, part)
        if type(part) is torch.nn.Sequential:
            _check_holds(part, [])
            for child in part:
                walk(child)
        elif isinstance(part, moody) and part.training != module.training:
            modes = ("evaluation", "training")
            raise ValueError(
                f"from_torch expects a module whose layers are all in its mode, got {part!r} in "
                f"{modes[part.training]} mode, the module in {modes[module.training]} mode: call eval() or train()."
            )
        else:
            found.append(part)

    walk(module)
    return found


def _check_global_hooks(torch: Any) -> None:
    """Raise TypeError if hooks are registered for all modules; PyTorch has no public way to ask."""
    for name, hooks in vars(torch.nn.modules.module).items():
        if name.startswith("_global_") and name.endswith("_hooks") and "registration" not in name and hooks:
            raise TypeError(f"from_torch expects no hooks for all modules, got some in {name}: remove them first.")


def _check_plain(torch: Any, part: Any) -> None:
    """Raise TypeError if a module does more than its type, settings and parameters say."""
    hooks = [
        name for name, value in vars(part).items() if name.endswith("_hooks") and "state_dict" not in name and value
    ]
    parametrize = torch.nn.utils.parametrize
    if parametrize.is_parametrized(part):
        names = ", ".join(part.parametrizations)
        what = (
            f"with a parametrization of {names}: torch.nn.utils.parametrize.remove_parametrizations makes it a plain "
            "parameter"
        )
    elif hooks:
        what = (
            f"with {', '.join(name.strip('_') for name in hooks)}: remove them (torch.nn.utils.remove_weight_norm, "
            "remove_spectral_norm and prune.remove take back theirs)"
        )
    elif replaced := replaced_methods(part):
        what = f"with methods of its own: {', '.join(replaced)}"
    elif vars(part).get("_compiled_call_impl") is not None:
        what = "compiled in place: pass copy.deepcopy(module), which is not"
    else:
        return
    raise TypeError(f"from_torch expects layers that do what their type says, got {part!r} {what}.")


def _check_tensors(torch: Any, made: list[tuple[Any, Layer]]) -> tuple[Any, str]:
    """The device and dtype of all layers' tensors; raises if they are shared or no plain numbers."""
    tensors = []
    for leaf, layer in made:
        names = list(_NAMES.get(type(layer), {}).values())
        _check_holds(leaf, [*names, "bias", "num_batches_tracked"] if names else [])
        for name in names:
            tensor = getattr(leaf, name)
            if tensor is None:
                continue
            kind = torch.Tensor if name.startswith("running") else torch.nn.Parameter
            if type(tensor) is not kind:
                raise TypeError(
                    f"from_torch expects {name} of {leaf!r} to be a {kind.__name__}, got a {type(tensor).__name__}: "
                    "what it was computed from would be lost."
                )
            hooked = any(getattr(tensor, hooks, None) for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"))
            if hooked or tensor.layout != torch.strided or tensor.device.type == "meta":
                what = "hooks on its gradient" if hooked else f"{tensor.layout} on {tensor.device}"
                raise TypeError(f"from_torch expects {name} of {leaf!r} to be plain numbers, got {what}.")
            tensors.append(tensor)
    dtypes, devices = {tensor.dtype for tensor in tensors}, {tensor.device for tensor in tensors}
    if len(dtypes) > 1 or dtypes - {torch.float32, torch.float64}:
        raise ValueError(
            f"from_torch expects parameters of one dtype, float32 or float64, got {sorted(map(str, dtypes))}."
        )
    if len(devices) > 1:
        raise ValueError(f"from_torch expects parameters on one device, got {sorted(map(str, devices))}.")
    views = [tensor.numpy(force=True) for tensor in tensors if tensor.device.type == "cpu"]
    if any(np.shares_memory(one, other) for one, other in combinations(views, 2)):
        raise ValueError("from_torch expects every parameter to stand in one place, got two that share memory.")
    return devices.pop() if devices else torch.device("cpu"), "float64" if torch.float64 in dtypes else "float32"


def _check_holds(part: Any, names: list[str]) -> None:
    """Raise TypeError if a module holds further tensors, which its type does not use."""
    held = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
    extra = [name for name, _ in held if name not in names]
    if extra:
        raise TypeError(f"from_torch knows no counterpart of {part!r} that holds {', '.join(extra)}, too.")


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """The module in evaluation mode; afterwards each part is back in its own mode."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training


# -- weights -------------------------------------------------------------------------------------------------------

# names of a layer's arrays, and of the same in PyTorch
_NAMES = {
    layers.Dense: {"W": "weight", "b": "bias"},
    layers.PReLU: {"a": "weight"},
    layers.BatchNorm: {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"},
    layers.LayerNorm: {"gamma": "weight", "beta": "bias"},
    layers.RMSNorm: {"gamma": "weight"},
}


def _check_softplus(leaf: Any, layer: Layer, dtype: str) -> None:
    """Raise TypeError if PyTorch replaces log(1 + e^x) by x above a threshold where they still differ."""
    if not isinstance(layer, layers.Softplus):
        return
    threshold = np.dtype(dtype).type(leaf.threshold)
    if np.logaddexp(np.zeros_like(threshold), threshold) != threshold:
        raise TypeError(
            f"from_torch knows no counterpart of {leaf!r} in {dtype}: densenet's Softplus is exact everywhere; set its "
            "threshold to 40."
        )


def _copy_in(leaf: Any, layer: Layer) -> None:
    for ours, theirs in _NAMES.get(type(layer), {}).items():
        if ours not in layer.parameter_shapes() and ours not in layer.state_names:
            continue
        given = getattr(leaf, theirs)
        if given is None and ours in layer.state_names:
            raise TypeError(f"from_torch knows no counterpart of {leaf!r} without {theirs}.")
        if given is None:  # without a learned scale or shift: they stay 1 and 0
            layer.freeze(ours)
            continue
        values, target = given.numpy(force=True), getattr(layer, ours)
        values = values.T if ours == "W" else values
        if values.shape != target.shape or not np.isfinite(values).all():
            what = f"shape {values.shape}" if values.shape != target.shape else "NaN or infinity"
            raise ValueError(
                f"from_torch expects {theirs} of {leaf!r} to be finite numbers of shape {target.shape}, got {what}."
            )
        target[...] = values
        if ours in layer.parameter_shapes() and not given.requires_grad:
            layer.freeze(ours)


def _copy_out(torch: Any, layer: Layer, leaf: Any) -> None:
    for ours, theirs in _NAMES.get(type(layer), {}).items():
        if ours not in layer.parameter_shapes() and ours not in layer.state_names:
            continue
        values, target = getattr(layer, ours), getattr(leaf, theirs)
        with torch.no_grad():
            target.copy_(torch.from_numpy(np.array(values.T if ours == "W" else values)))
        if ours in layer.parameter_shapes():
            target.requires_grad_(layer.marks[ours].trainable)


def _readers(nn: Any) -> dict[type, Callable[[Any], Layer | None]]:
    """The converter of each PyTorch layer; None if the layer leaves rows of numbers as they are."""

    def plain(kind: type[Layer]) -> Callable[[Any], Layer]:
        return lambda leaf: kind()

    def checked(leaf: Any, layer: Layer, **expected: Any) -> Layer:
        for name, value in expected.items():
            given = getattr(leaf, name)
            if given not in (value if isinstance(value, tuple) else (value,)):
                raise TypeError(
                    f"from_torch knows no counterpart of {leaf!r} with {name}={given!r}: densenet has {value!r}."
                )
        return layer

    def flatten(leaf: Any) -> None:
        checked(leaf, layers.Identity(), start_dim=1, end_dim=(1, -1))

    def width(leaf: Any) -> int:
        shape = tuple(leaf.normalized_shape)
        if len(shape) != 1:
            raise TypeError(f"from_torch knows no counterpart of {leaf!r}: densenet normalizes rows of one dimension.")
        return int(shape[0])

    def batch_norm(leaf: Any) -> Layer:
        if leaf.momentum is None:
            raise TypeError(
                f"from_torch knows no counterpart of {leaf!r}: densenet's running statistics need a momentum."
            )
        layer = layers.BatchNorm(leaf.num_features, momentum=leaf.momentum, eps=leaf.eps)
        return checked(leaf, layer, track_running_stats=True)

    return {
        nn.Linear: lambda leaf: layers.Dense(leaf.in_features, leaf.out_features, use_bias=leaf.bias is not None),
        nn.Identity: plain(layers.Identity),
        nn.Flatten: flatten,
        nn.ReLU: plain(layers.ReLU),
        nn.LeakyReLU: lambda leaf: layers.LeakyReLU(leaf.negative_slope),
        nn.PReLU: lambda leaf: checked(leaf, layers.PReLU(), num_parameters=1),
        nn.ELU: lambda leaf: layers.ELU(leaf.alpha),
        nn.SELU: plain(layers.SELU),
        nn.CELU: lambda leaf: layers.CELU(leaf.alpha),
        nn.GELU: lambda leaf: checked(leaf, layers.GELU(), approximate="none"),
        nn.SiLU: plain(layers.SiLU),
        nn.Mish: plain(layers.Mish),
        nn.Softplus: lambda leaf: checked(leaf, layers.Softplus(), beta=(1, 1.0)),
        nn.Softsign: plain(layers.Softsign),
        nn.Sigmoid: plain(layers.Sigmoid),
        nn.Tanh: plain(layers.Tanh),
        nn.Hardtanh: lambda leaf: checked(leaf, layers.HardTanh(), min_val=-1.0, max_val=1.0),
        nn.Hardsigmoid: plain(layers.HardSigmoid),
        nn.Hardswish: plain(layers.HardSwish),
        nn.Softmax: lambda leaf: checked(leaf, layers.Softmax(), dim=(1, -1)),
        nn.LogSoftmax: lambda leaf: checked(leaf, layers.LogSoftmax(), dim=(1, -1)),
        nn.BatchNorm1d: batch_norm,
        nn.LayerNorm: lambda leaf: layers.LayerNorm(width(leaf), eps=leaf.eps),
        nn.RMSNorm: lambda leaf: layers.RMSNorm(width(leaf), eps=leaf.eps),
        nn.Dropout: lambda leaf: layers.Dropout(leaf.p),
        nn.AlphaDropout: lambda leaf: layers.AlphaDropout(leaf.p),
    }


def _writers(nn: Any) -> dict[type[Layer], Callable[[Any], Any]]:
    """The converter of each layer to PyTorch."""

    def plain(kind: Any) -> Callable[[Any], Any]:
        return lambda layer: kind()

    return {
        layers.Dense: lambda layer: nn.Linear(layer.n_in, layer.n_out, bias=layer.use_bias),
        layers.Identity: plain(nn.Identity),
        layers.ReLU: plain(nn.ReLU),
        layers.LeakyReLU: lambda layer: nn.LeakyReLU(layer.negative_slope),
        layers.PReLU: plain(nn.PReLU),
        layers.ELU: lambda layer: nn.ELU(layer.alpha),
        layers.SELU: plain(nn.SELU),
        layers.CELU: lambda layer: nn.CELU(layer.alpha),
        layers.GELU: plain(nn.GELU),
        layers.SiLU: plain(nn.SiLU),
        layers.Mish: plain(nn.Mish),
        layers.Softplus: lambda layer: nn.Softplus(threshold=40),  # above it log(1 + e^x) is x in every float
        layers.Softsign: plain(nn.Softsign),
        layers.Sigmoid: plain(nn.Sigmoid),
        layers.Tanh: plain(nn.Tanh),
        layers.HardTanh: plain(nn.Hardtanh),
        layers.HardSigmoid: plain(nn.Hardsigmoid),
        layers.HardSwish: plain(nn.Hardswish),
        layers.Softmax: lambda layer: nn.Softmax(dim=1),
        layers.LogSoftmax: lambda layer: nn.LogSoftmax(dim=1),
        layers.BatchNorm: lambda layer: nn.BatchNorm1d(layer.n, eps=layer.eps, momentum=layer.momentum),
        layers.LayerNorm: lambda layer: nn.LayerNorm(layer.n, eps=layer.eps),
        layers.RMSNorm: lambda layer: nn.RMSNorm(layer.n, eps=layer.eps),
        layers.Dropout: lambda layer: nn.Dropout(layer.rate),
        layers.AlphaDropout: lambda layer: nn.AlphaDropout(layer.rate),
    }
