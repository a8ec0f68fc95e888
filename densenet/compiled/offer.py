"""Whether a model, a loss and an optimizer have kernels, and the reason if not."""

from __future__ import annotations

from densenet.compiled import machine
from densenet.compiled.blas import BlasError, address
from densenet.compiled.instructions import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS
from densenet.layers.base import Layer
from densenet.layers.mixture import Mixture
from densenet.layers.noise import Dropout
from densenet.layers.normalization import BatchNorm
from densenet.layers.tabular import Blend
from densenet.losses.base import Loss
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.optimizers.adam import Adam, AdamW
from densenet.sequential import Sequential


def refusal(model: Sequential, loss: Loss, optimizer: object) -> str | None:
    """Why these must run in the NumPy lines; None if kernels can run them.

    Examples
    --------
    >>> import densenet as dn
    >>> from densenet.compiled.offer import refusal
    >>> refusal(dn.mlp([2, 3, 1], activation="gelu"), dn.MeanSquaredError(), dn.SGD())
    'GELU() has no kernel'
    """
    if reason := next(filter(None, map(_no_kernel, model.every_layer)), None):
        return reason
    if not model.params.size:
        return "the model has no parameters"
    if type(loss) not in LOSSES:
        return f"{loss!r} has no kernel"
    if isinstance(loss, SigmoidCrossEntropy) and loss.pos_weight is not None:
        return f"{loss!r} weighs its classes, and the kernel does not"
    if type(optimizer) not in OPTIMIZERS:
        return f"{optimizer!r} has no kernel"
    if isinstance(optimizer, (Adam, AdamW)) and optimizer.amsgrad:
        return f"{type(optimizer).__name__} with amsgrad has no kernel"
    if reason := machine.missing():
        return reason
    try:
        for routine in ("gemm", "gemv", "axpy"):
            address(routine, model.dtype)
    except BlasError as error:
        return str(error)
    return None


def _no_kernel(layer: Layer) -> str | None:
    if type(layer) not in LAYERS:
        return f"{layer!r} has no kernel"
    if layer.penalised or layer.constrained:
        return f"{layer!r} has a penalty or a largest norm"
    if isinstance(layer, Dropout) and layer.held:
        return f"{layer!r} holds what it has drawn"
    if isinstance(layer, Blend) and type(layer.function) not in ACTIVATIONS:
        return f"{layer!r} has no kernel, since {layer.function!r} has none"
    if isinstance(layer, Mixture):
        inside = (inner for inner in layer.walk() if inner is not layer and isinstance(inner, (BatchNorm, Mixture)))
        if (inner := next(inside, None)) is not None:
            return f"{inner!r} has no kernel inside a Mixture"
    return None
