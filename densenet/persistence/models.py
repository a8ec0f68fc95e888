"""Models as files: layers, parameters, statistics, and the preparation and loss that belong to them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet import losses
from densenet._files import CheckpointError
from densenet._types import Array
from densenet._validation import positive_int
from densenet.layers.base import Layer, chain_input, every_layer
from densenet.losses.base import Loss
from densenet.persistence.codec import Decoder, Encoder
from densenet.persistence.files import Content, check_content, read_file, write_file
from densenet.sequential import Sequential
from densenet.tables import TablePreparation

_LONGEST_STATE = 1 << 18


def save_model(
    model: Sequential,
    path: str | os.PathLike[str],
    *,
    loss: Loss | str | None = None,
    preparation: TablePreparation | None = None,
) -> None:
    """Write a model to a file: layers, weights, running statistics, marks, noise generators, dtype.

    The old file, if there is one, is replaced at once, or stays as it was if anything fails.

    Parameters
    ----------
    model : Sequential
    path : path-like
        Ends in ``.npz`` or, with the extra ``[io]``, in ``.safetensors``.
    loss : Loss or str, optional
        The loss it was trained with, which turns outputs into probabilities; by default ``model.loss``.
    preparation : TablePreparation, optional
        Turns a table into its inputs; by default ``model.preparation``.

    Raises
    ------
    ValueError
        If the name ends in anything else.
    TypeError
        If a layer is of a class that is not registered (`densenet.register`).
    OSError
        If the file cannot be written.
    ImportError
        If the library for the format is missing.

    Examples
    --------
    >>> import densenet as dn
    >>> path = getfixture("tmp_path") / "model.npz"
    >>> dn.mlp([2, 3, 1], seed=0).save(path)
    >>> dn.load(path)
    Sequential([Dense(2, 3), ReLU(), Dense(3, 1)], dtype='float32')
    """
    encoder = Encoder()
    tree = encode_model(model, encoder, loss=loss, preparation=preparation)
    write_file(path, Content("model", tree, encoder.arrays))


def check_savable(model: Sequential, *, loss: Loss | None = None, preparation: TablePreparation | None = None) -> None:
    """Raise what `save_model` would raise for this model: a check before a long training.

    Raises
    ------
    ValueError, TypeError
        As `save_model` does.
    """
    encoder = Encoder()
    check_content(Content("model", encode_model(model, encoder, loss=loss, preparation=preparation), encoder.arrays))


_MAX_WIDTH = 1 << 20


def load(path: str | os.PathLike[str], *, max_width: int = _MAX_WIDTH) -> Sequential:
    """The model of a model file or of a checkpoint.

    Parameters
    ----------
    path : path-like
    max_width : int, default 1,048,576
        Most output columns of a layer without parameters: a file of a few bytes could otherwise make `predict`
        allocate any amount of memory. A file with more parameters than that may declare as many columns.

    Returns
    -------
    Sequential
        With ``.preparation``, the `TablePreparation` that was saved with it, and ``.loss``; each None where there is
        none.

    Raises
    ------
    CheckpointError
        If the file is damaged, altered, not one of densenet or of a newer version, or needs a class that is not
        registered. Nothing in a file is ever imported or executed.
    OSError
        If there is no such file or it cannot be read.
    ImportError
        If the library for the format is missing.

    Examples
    --------
    >>> import densenet as dn
    >>> path = getfixture("tmp_path") / "model.npz"
    >>> model = dn.mlp([2, 3, 1], seed=0)
    >>> model.save(path)
    >>> (dn.load(path).predict([[1, 2]]) == model.predict([[1, 2]])).all()
    np.True_
    """
    max_width = positive_int(max_width, "load", "max_width")
    content = read_file(path)
    try:
        tree = content.tree if content.kind == "model" else content.tree.get("model")
        decoder = Decoder(content.arrays)
        model = decode_model(tree, decoder, max_width)
        if content.kind == "model" and decoder.arrays:
            raise CheckpointError(f"array {next(iter(decoder.arrays))!r} belongs to nothing.")
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)} cannot be loaded: {error}") from None
    return model


def encode_model(
    model: Sequential, encoder: Encoder, *, loss: Loss | str | None = None, preparation: TablePreparation | None = None
) -> dict[str, Any]:
    """The plain form of a model; the encoder gets its arrays as ``layers.0.W``, numbered depth-first."""
    loss = model.loss if loss is None else losses.get(loss)
    preparation = model.preparation if preparation is None else preparation
    tree = {
        "dtype": model.dtype.name,
        "layers": [encoder.encode(layer, f"layers.{i}.config") for i, layer in enumerate(model.layers)],
        "loss": encoder.encode(loss, "loss"),
        "preparation": None if preparation is None else encoder.encode(_kept(preparation), "preparation"),
    }
    every = list(enumerate(model.every_layer))
    for i, layer in every:
        for name in layer.parameter_shapes():
            encoder.put(getattr(layer, name), f"layers.{i}.{name}")
    for i, layer in every:
        for name, array in layer.state.items():
            encoder.put(array, f"layers.{i}.{name}")
    return tree


def decode_model(tree: Any, decoder: Decoder, max_width: int = _MAX_WIDTH) -> Sequential:
    """The model that has this plain form.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    match tree:
        case {
            "dtype": "float32" | "float64" as dtype,
            "layers": [*_] as listed,
            "loss": kept_loss,
            "preparation": kept,
            **rest,
        } if not rest and listed:
            pass
        case _:
            raise CheckpointError("its configuration is not one of a model.")
    try:
        layers = [decoder.decode(entry) for entry in listed]
        loss, state = decoder.decode(kept_loss), decoder.decode(kept)
        if not all(isinstance(layer, Layer) for layer in layers) or not isinstance(loss, (Loss, type(None))):
            raise CheckpointError("its configuration is not one of a model.")
        model = _assemble(layers, np.dtype(dtype), decoder, max_width)
        model.loss = loss
        model.preparation = None if state is None else TablePreparation.from_state(_opened(state))
    except CheckpointError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(f"its parts do not fit together: {error}") from None
    return model


def _kept(preparation: TablePreparation) -> Any:
    """The preparation's plain data; if large, as JSON in an array, whose size is not limited."""
    state = preparation.state()
    text = json.dumps(state, allow_nan=False).encode("ascii")
    return state if len(text) < _LONGEST_STATE else np.frombuffer(text, np.uint8)


def _opened(kept: Any) -> Any:
    if not isinstance(kept, np.ndarray):
        return kept
    if kept.dtype != np.uint8 or kept.ndim != 1:
        raise CheckpointError("its preparation is no text.")
    return json.loads(kept.tobytes().decode("ascii"))


def _assemble(layers: list[Layer], dtype: np.dtype[Any], decoder: Decoder, max_width: int) -> Sequential:
    """Build a model of layers and their arrays; no more memory is allocated than the file has data."""
    every = every_layer(layers)
    wanted = [
        (f"layers.{i}.{name}", shape)
        for i, layer in enumerate(every)
        for name, shape in layer.parameter_shapes().items()
    ]
    for name, shape in wanted:
        _check_fit(decoder.arrays.get(name), name, dtype, shape)
    for i, layer in enumerate(every):
        held = sum(decoder.arrays[f"layers.{i}.{name}"].size for name in layer.state_names)
        if layer.state_names and max(layer.n_in or 0, layer.n_out or 0) > held + 2**20:
            raise CheckpointError(f"layer {i}, {layer!r}, is larger than what the file holds of it.")
        if layer.draws and layer.generator is None:
            raise CheckpointError(f"the generator of layer {i}, {layer!r}, is missing.")
    held_in_all = sum(array.size for array in decoder.arrays.values())
    _check_widths(layers, chain_input(layers) or 1, max(max_width, held_in_all))
    params = _joined([decoder.take(name) for name, _ in wanted], dtype)
    model = Sequential.__new__(Sequential)
    model.__setstate__({"layers": layers, "dtype": dtype, "params": params})
    for i, layer in enumerate(every):
        layer.reset_state(dtype)
        for name, fresh in layer.state.items():
            array = decoder.take(f"layers.{i}.{name}")
            _check_fit(array, f"layers.{i}.{name}", fresh.dtype, fresh.shape)
            setattr(layer, name, array)
    return model


def _check_widths(layers: Sequence[Layer], width: int | None, most: int) -> None:
    """Raise CheckpointError if a layer, at any depth, takes or gives more columns than `most`."""
    for layer in layers:
        for branch in getattr(layer, "branches", None) or (layer.children,):
            _check_widths(branch, width, most)
        width = layer.output_width(width)
        widest = max(width or 0, layer.n_in or 0)
        if widest > most:
            raise CheckpointError(
                f"it declares {type(layer).__name__} with {widest:,} columns, more than {most:,}: "
                f"if you trust the file, load(path, max_width={widest}) reads it."
            )


def _joined(parts: list[Array], dtype: np.dtype[Any]) -> Array:
    """The parts as one vector; without a copy if they are adjacent in one block of memory."""
    size = sum(part.size for part in parts)
    block = parts[0].base if parts else None
    if isinstance(block, np.ndarray) and block.ndim == 1 and all(part.base is block for part in parts):
        starts = [part.__array_interface__["data"][0] for part in parts]
        ends = [start + part.nbytes for start, part in zip(starts, parts, strict=True)]
        if starts[0] == block.__array_interface__["data"][0] and starts[1:] == ends[:-1]:
            return block[:size]
    return np.concatenate([part.reshape(-1) for part in parts]) if parts else np.zeros(0, dtype)


def _check_fit(array: Array | None, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if array is None:
        raise CheckpointError(f"there is no array {name!r}.")
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(f"array {name!r} is {array.dtype} {array.shape}, and the model wants {dtype} {shape}.")
