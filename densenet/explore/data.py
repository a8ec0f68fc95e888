"""What the page is given: the model, the rows and the recorded steps as plain data, and what it refuses."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.explain.subject import Subject
from densenet.explore.recorder import Recorder
from densenet.layers.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    Exp,
    Gaussian,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Identity,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from densenet.layers.base import Layer
from densenet.layers.dense import Dense
from densenet.layers.noise import Noise
from densenet.losses import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    HalfSquaredError,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from densenet.sequential import Sequential

MOST_ROWS = 2_000
MOST_BYTES = 2_000_000
"""As many rows, and as many bytes of them, are written into a page."""
MOST_PRODUCTS = 20_000_000
"""Rows times weights: what a page computes while a weight is dragged."""
MOST_RECORDED = 4_000_000
"""Bytes of recorded weights."""

ELEMENTWISE: tuple[type[Layer], ...] = (
    Identity, Sigmoid, Tanh, Softsign, HardTanh, HardSigmoid, HardSwish, ReLU, LeakyReLU, PReLU, ELU, SELU, CELU, GELU,
    SiLU, Mish, Softplus, Exp, Sine, Gaussian,
)  # fmt: skip
LOSSES: tuple[type[Loss], ...] = (
    HalfSquaredError, MeanSquaredError, SoftmaxCrossEntropy, CategoricalCrossEntropy, SigmoidCrossEntropy,
    BinaryCrossEntropy,
)  # fmt: skip


def page_data(model: Any, loss: Any, x: Any, y: Any, recorder: Recorder | None) -> dict[str, Any]:
    """The page's data as what JSON can hold; arrays as base64 of little-endian floats."""
    _refuse(model, loss)
    subject = Subject("explore", model, loss, x, y)
    _refuse(subject.model, subject.loss)
    error, _ = subject.gradients()  # a ValueError where E is no number
    rows = _rows(subject)
    target = _targets(subject)
    inputs = _entering(subject)
    names, classes = _names(model, x, inputs.shape[1])
    return {
        "layers": _layers(subject.model),
        "loss": {"kind": type(subject.loss).__name__},
        "x": packed(inputs[rows]),
        "targets": packed(target[rows]),
        "n": len(rows),
        "rows": rows.tolist() if len(rows) < len(subject.x) else None,
        "total": len(subject.x),
        "whole": _whole(subject.model, error) if len(rows) < len(subject.x) else None,
        "dtype": str(model.dtype),
        "inputs": names,
        "outputs": classes,
        "notes": _notes(model),
        "recorded": _recorded(subject.model, recorder),
    }


def packed(array: Array) -> dict[str, Any]:
    """An array as text: float32 where that holds the same values, else float64."""
    single = array.astype(np.float32)
    small = bool(np.array_equal(single.astype(np.float64), array))
    values = np.ascontiguousarray(single.astype("<f4") if small else array.astype("<f8"))
    return {
        "kind": "f4" if small else "f8",
        "shape": list(array.shape),
        "data": base64.b64encode(values.tobytes()).decode(),
    }


# -- what a page can compute ---------------------------------------------------------------------------------------


def _refuse(model: Any, loss: Any) -> None:
    """TypeError or ValueError naming what a page cannot compute."""
    if isinstance(loss, Loss) and type(loss) not in LOSSES:
        known = ", ".join(kind.__name__ for kind in LOSSES)
        raise ValueError(f"explore: the page cannot compute {loss!r}; it knows {known}.")
    if isinstance(loss, SigmoidCrossEntropy) and loss.pos_weight is not None:
        raise ValueError(f"explore: the page cannot compute {loss!r}; it knows this loss without pos_weight.")
    if not isinstance(model, Sequential):
        return
    if not model.dense_layers:
        raise ValueError("explore shows the weights of dense layers, and the model has none.")
    seen = 0
    for at, layer in enumerate(model.layers):
        if type(layer) is Dense:
            seen += 1
        elif type(layer) is Softmax:
            if seen < len(model.dense_layers):
                raise ValueError(
                    f"explore: the page draws routes from neuron to neuron, and model.layers[{at}], {layer!r}, mixes "
                    "the neurons of a hidden layer; Softmax may stand after the last dense layer."
                )
        elif isinstance(layer, PReLU) and not seen:
            raise ValueError(f"explore: model.layers[{at}], {layer!r}, learns before the first dense layer.")
        elif type(layer) not in ELEMENTWISE and not isinstance(layer, Noise):
            known = ", ".join(kind.__name__ for kind in ELEMENTWISE)
            raise ValueError(
                f"explore: the page cannot compute model.layers[{at}], {layer!r}; it knows Dense, Softmax at the end, "
                f"noise layers, which are off, and the activations {known}."
            )


def _layers(model: Sequential) -> list[dict[str, Any]]:
    """Dense layers with what stands between them; noise layers, off in prediction, are left out."""
    found: list[dict[str, Any]] = []
    for layer in model.layers:
        if isinstance(layer, Dense):
            marks = layer.marks
            found.append(
                {
                    "W": packed(layer.W),
                    "b": packed(layer.b) if layer.use_bias else None,
                    "rateW": marks["W"].rate if marks["W"].trainable else 0.0,
                    "rateB": marks["b"].rate if layer.use_bias and marks["b"].trainable else 0.0,
                    "between": [],
                }
            )
        elif found and not isinstance(layer, (Noise, Identity)):
            entry: dict[str, Any] = {"kind": type(layer).__name__, **layer.config()}
            if isinstance(layer, PReLU):
                mark = layer.marks["a"]
                entry |= {"a": layer.a.tolist(), "rate": mark.rate if mark.trainable else 0.0}
            found[-1]["between"].append(entry)
    return found


def _entering(subject: Subject) -> Array:
    """What enters the first dense layer: x, through the functions before it."""
    x = subject.x
    for layer in subject.model.layers:
        if isinstance(layer, Dense):
            break
        x = layer.infer(x)
    return x


def _targets(subject: Subject) -> Array:
    """Targets as rows (n, k), classes one-hot, smoothed as the loss does."""
    target, k = subject.target, subject.model.dense_layers[-1].n_out
    one_hot: Array = np.eye(k)[target] if target.ndim == 1 else target
    smoothing = float(getattr(subject.loss, "label_smoothing", 0.0))
    share = 1 / k if subject.loss.task == "classification" else 0.5
    return (1 - smoothing) * one_hot + smoothing * share if smoothing else one_hot


def _rows(subject: Subject) -> Array:
    """The rows that are written: all, or as many as fit and compute at once, drawn at random with a seed of 0."""
    n = len(subject.x)
    width = subject.x.shape[1] + subject.model.dense_layers[-1].n_out
    weights = sum(layer.W.size for layer in subject.model.dense_layers)
    most = max(1, min(MOST_ROWS, MOST_BYTES // (11 * width), MOST_PRODUCTS // weights))  # 8 bytes in base64
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def _whole(model: Sequential, error: float) -> dict[str, Any]:
    """E and its gradient over all rows, for the weights as they are: the page has some of the rows."""
    return {"E": error, "gradients": packed(model.grads.astype(np.float32))}


def _names(model: Sequential, x: Any, width: int) -> tuple[list[str] | None, list[str] | None]:
    """Names of columns and classes, where the data or the saved preparation has them."""
    columns = getattr(x, "columns", None)
    names = None if columns is None else [str(name) for name in columns]
    preparation = model.preparation
    if names is None and preparation is not None:
        names = [str(name) for name in preparation.feature_names]
    classes = getattr(preparation, "classes", None)
    return (
        names if names is not None and len(names) == width else None,
        [str(name) for name in classes] if classes is not None else None,
    )


def _notes(model: Sequential) -> list[str]:
    """What the page leaves out, and says so."""
    notes = []
    if model.dtype != np.float64:
        notes.append(f"The model trains in {model.dtype}; this page computes in float64.")
    if any(isinstance(layer, Noise) for layer in model.layers):
        notes.append("Dropout and other noise are off, as in prediction.")
    if any(layer.penalised for layer in model.layers):
        notes.append("E is the error without the penalties on weights.")
    if any(layer.constrained for layer in model.layers):
        notes.append("The bound max_norm on weights does not act here.")
    return notes


def _recorded(model: Sequential, recorder: Any) -> dict[str, Any] | None:
    if recorder is None:
        return None
    if not isinstance(recorder, Recorder):
        raise TypeError(f"explore expects recorder to be a Recorder, got {recorder!r}.")
    if not recorder.params:
        raise ValueError("explore: this Recorder has recorded nothing: give it to fit(callbacks=[recorder]) first.")
    size = recorder.params[0].size
    if size != model.params.size:
        raise ValueError(
            f"explore: the Recorder holds {size:,} parameters, and the model has {model.params.size:,}: "
            "it recorded another model."
        )
    most = max(2, MOST_RECORDED // (size * recorder.params[0].itemsize))
    good = [at for at, params in enumerate(recorder.params) if np.isfinite(params).all()]
    places = np.unique(np.linspace(0, len(good) - 1, min(most, len(good))).round().astype(int))
    chosen = [good[place] for place in places]
    if not chosen:
        raise ValueError("explore: the Recorder holds no weights that are finite numbers.")
    return {
        "steps": [recorder.steps[at] for at in chosen],
        "params": packed(np.stack([recorder.params[at] for at in chosen]).astype(np.float64)),
    }
