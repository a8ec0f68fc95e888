"""Models from PyTorch and for PyTorch, as far as both have the same layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from densenet import layers
from densenet.layers.base import Layer
from densenet.sequential import Sequential


def _torch(who: str) -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError(f"{who} needs PyTorch: pip install torch") from None
    return torch


def from_torch(module: Any) -> Sequential:
    """The model that computes what a PyTorch module does: weights, running statistics and settings are copied.

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
        If a layer, or a setting of it, has no counterpart.
    ValueError
        If a layer stands twice, or dtypes are mixed.
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
    readers = _readers(torch.nn)
    made: list[tuple[Any, Layer]] = []
    leaves = list(_leaves(module, torch.nn.Sequential))
    if len(set(map(id, leaves))) < len(leaves):
        raise ValueError("from_torch expects every layer to stand in one place, got one that stands twice.")
    dtypes = {parameter.dtype for parameter in module.parameters()}
    if len(dtypes) > 1 or dtypes - {torch.float32, torch.float64}:
        raise ValueError(
            f"from_torch expects parameters of one dtype, float32 or float64, got {sorted(map(str, dtypes))}."
        )
    for leaf in leaves:
        reader = readers.get(type(leaf))
        if reader is None:
            raise TypeError(f"from_torch knows no counterpart of {leaf!r}.")
        layer = reader(leaf)
        if layer is not None:
            made.append((leaf, layer))
    chain = [layer for _, layer in made] or [layers.Identity()]
    model = Sequential(chain, seed=0, dtype="float64" if torch.float64 in dtypes else "float32")
    for leaf, layer in made:
        _copy_in(leaf, layer)
    return model


def to_torch(model: Sequential) -> Any:
    """The PyTorch module that computes what the model does, in evaluation mode.

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
    with torch.random.fork_rng(devices=[]):  # PyTorch draws initial weights; nobody's draws are to change by that
        for layer in model.layers:
            writer = writers.get(type(layer))
            if writer is None:
                raise TypeError(f"to_torch knows no counterpart of {layer!r}.")
            leaf = writer(layer).to(getattr(torch, model.dtype.name))
            _copy_out(torch, layer, leaf)
            chain.append(leaf)
    return torch.nn.Sequential(*chain).eval()


def _leaves(module: Any, container: Any) -> Iterator[Any]:
    if type(module) is container:
        for child in module:
            yield from _leaves(child, container)
    else:
        yield module


# names of a layer's arrays, and of the same in PyTorch
_NAMES = {
    layers.Dense: {"W": "weight", "b": "bias"},
    layers.PReLU: {"a": "weight"},
    layers.BatchNorm: {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"},
    layers.LayerNorm: {"gamma": "weight", "beta": "bias"},
    layers.RMSNorm: {"gamma": "weight"},
}


def _copy_in(leaf: Any, layer: Layer) -> None:
    for ours, theirs in _NAMES.get(type(layer), {}).items():
        if ours not in layer.parameter_shapes() and ours not in layer.state_names:
            continue
        given = getattr(leaf, theirs)
        if given is None:  # without a learned scale or shift: they stay 1 and 0
            layer.freeze(ours)
            continue
        values = given.detach().cpu().numpy()
        getattr(layer, ours)[...] = values.T if ours == "W" else values
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
    """What makes a layer of each PyTorch layer; None where it is nothing to rows of numbers."""

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

    def width(leaf: Any) -> int:
        shape = tuple(leaf.normalized_shape)
        if len(shape) != 1:
            raise TypeError(f"from_torch knows no counterpart of {leaf!r}: densenet normalizes rows of one dimension.")
        return int(shape[0])

    def softplus(leaf: Any) -> Layer:
        if leaf.threshold < 20:
            raise TypeError(f"from_torch knows no counterpart of {leaf!r}: densenet's Softplus is exact everywhere.")
        return checked(leaf, layers.Softplus(), beta=(1, 1.0))

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
        nn.Flatten: lambda leaf: None,
        nn.ReLU: plain(layers.ReLU),
        nn.LeakyReLU: lambda leaf: layers.LeakyReLU(leaf.negative_slope),
        nn.PReLU: lambda leaf: checked(leaf, layers.PReLU(), num_parameters=1),
        nn.ELU: lambda leaf: layers.ELU(leaf.alpha),
        nn.SELU: plain(layers.SELU),
        nn.CELU: lambda leaf: layers.CELU(leaf.alpha),
        nn.GELU: lambda leaf: checked(leaf, layers.GELU(), approximate="none"),
        nn.SiLU: plain(layers.SiLU),
        nn.Mish: plain(layers.Mish),
        nn.Softplus: softplus,
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
    """What makes a PyTorch layer of each layer."""

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
