"""Encoding of layers, losses, schedules and states as plain values and arrays, and decoding.

A class is written by its name and its constructor's arguments, and found again in a fixed registry: no file
can import or execute anything. Classes of your own are registered in code (`register`).
"""

from __future__ import annotations

import inspect
import math
from typing import Any, TypeVar

import numpy as np

from densenet import initializers, layers, losses, metrics, optimizers
from densenet._files import CheckpointError
from densenet._schema import array, record, text, whole
from densenet._types import Array
from densenet.initializers import Initializer
from densenet.layers.base import Layer, Mark
from densenet.losses.base import Loss
from densenet.metrics import Metric
from densenet.optimizers import schedules
from densenet.optimizers.base import Optimizer
from densenet.optimizers.schedules import Schedule

_KINDS: dict[str, type] = {
    "layer": Layer,
    "loss": Loss,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "initializer": Initializer,
    "metric": Metric,
}
_NAMES = {
    "layer": layers.activations.NAMES,
    "loss": losses.NAMES,
    "optimizer": optimizers.NAMES,
    "initializer": initializers.NAMES,
    "metric": metrics.NAMES,
}
_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
_WORD = whole(0, 2**128 - 1)
_HALF = {"has_uint32": whole(0, 1), "uinteger": whole(0, 2**32 - 1)}  # the half of a 64-bit draw that is left over
_PERMUTED = record({"bit_generator": text(), "state": record({"state": _WORD, "inc": _WORD}), **_HALF})
# NumPy takes any position, and reads outside its memory for one beyond the block of numbers
_GENERATOR_STATES = {
    "PCG64": _PERMUTED,
    "PCG64DXSM": _PERMUTED,
    "MT19937": record(
        {"bit_generator": text(), "state": record({"key": array((624,), np.uint32), "pos": whole(0, 624)})}
    ),
    "Philox": record(
        {
            "bit_generator": text(),
            "state": record({"counter": array((4,), np.uint64), "key": array((2,), np.uint64)}),
            "buffer": array((4,), np.uint64),
            "buffer_pos": whole(0, 4),
            **_HALF,
        }
    ),
    "SFC64": record({"bit_generator": text(), "state": record({"state": array((4,), np.uint64)}), **_HALF}),
}
_registry: dict[tuple[str, str], type] = {}
_Class = TypeVar("_Class", bound=type)


def _kind(cls: type) -> str | None:
    return next((kind for kind, base in _KINDS.items() if issubclass(cls, base)), None)


for _module in (layers, losses, optimizers, schedules, initializers, metrics):
    for _value in vars(_module).values():
        if isinstance(_value, type) and not inspect.isabstract(_value) and (_found := _kind(_value)) is not None:
            _registry[_found, _value.__name__] = _value
_BUILT_IN = frozenset(_registry.values())


def register(cls: _Class) -> _Class:
    """Let model files and checkpoints hold a class of your own, and strings name it.

    A file names the class; loading looks the name up among densenet's classes and those registered here. The class
    keeps its constructor's arguments under their own names. Where a string will do, its name in snake case stands for
    it: ``dn.mlp([2, 8, 1], activation="halved")``.

    Parameters
    ----------
    cls : type
        A Layer, Loss, Optimizer, Schedule, Initializer or Metric class; `register` stands above its definition or is
        called with it, before the file is written and before it is read.

    Returns
    -------
    type
        The same class.

    Raises
    ------
    TypeError
        If it is no such class.
    ValueError
        If another class goes by its name, in a file or as a string.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> @dn.register
    ... class Halved(dn.Activation):
    ...     def value(self, x, out, work):
    ...         np.multiply(x, 0.5, out=out)
    ...     def slope(self, x, y, out, work):
    ...         out[...] = 0.5
    >>> dn.mlp([2, 8, 1], activation="halved")
    Sequential([Dense(2, 8), Halved(), Dense(8, 1)], dtype='float32')
    >>> path = getfixture("tmp_path") / "halved.npz"
    >>> dn.Sequential([Halved()]).save(path)
    >>> dn.load(path).predict([[8.0]])
    array([[4.]], dtype=float32)
    """
    kind = _kind(cls) if isinstance(cls, type) else None
    if kind is None or inspect.isabstract(cls):
        kinds = ", ".join(base.__name__ for base in _KINDS.values())
        raise TypeError(f"register expects a complete class of one of {kinds}, got {cls!r}.")
    known = _registry.get((kind, cls.__name__), cls)
    same_place = (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
    if known is not cls and (known in _BUILT_IN or not same_place):  # a notebook cell that is run again defines it anew
        raise ValueError(
            f"register: {known!r} goes by the name {cls.__name__!r} already: give your {kind} another name."
        )
    names = _NAMES.get(kind)
    if names is not None:
        if (named := names.known(cls.__name__)) in _BUILT_IN:
            raise ValueError(
                f"register: {cls.__name__!r} already names {named.__name__}: give your {kind} another name."
            )
        names.add(cls)
    _registry[kind, cls.__name__] = cls
    return cls


def _is_plain_tuple(value: Any) -> bool:
    """Whether a value is a tuple that a dict takes as a key."""
    return isinstance(value, tuple) and all(
        isinstance(item, (str, int, float, type(None))) or _is_plain_tuple(item) for item in value
    )


class Encoder:
    """Turns values into plain ones for JSON; arrays are stored separately, by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}

    def put(self, array: Array, name: str) -> str:
        """Store an array; returns its name."""
        self.arrays[name] = array
        return name

    def encode(self, value: Any, name: str) -> Any:
        """The plain form of a value; `name` is where it stands and names the arrays in it.

        Raises
        ------
        TypeError
            If a file cannot hold it.
        """
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.generic):
            return {"scalar": self.put(np.asarray(value), name)}
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, np.ndarray):
            return {"array": self.put(value, name)}
        if isinstance(value, list):
            return [self.encode(item, f"{name}.{i}") for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, f"{name}.{i}") for i, item in enumerate(value)]}
        if isinstance(value, dict):
            items = [[self.encode(k, name), self.encode(v, f"{name}.{k}")] for k, v in value.items()]
            return {"dict": items}
        if isinstance(value, np.random.Generator):
            return self._generator(value, name)
        return self._object(value, name)

    def _generator(self, generator: np.random.Generator, name: str) -> Any:
        kind = type(generator.bit_generator)
        if _BIT_GENERATORS.get(kind.__name__) is not kind:
            known = ", ".join(_BIT_GENERATORS)
            raise TypeError(f"{name}: a file cannot hold the bit generator {kind.__name__}; it can hold {known}.")
        return {"generator": self.encode(generator.bit_generator.state, name)}

    def _object(self, value: Any, name: str) -> Any:
        if not isinstance(value, Layer | Loss | Optimizer | Schedule | Initializer | Metric):
            raise TypeError(f"{name}: a file cannot hold a {type(value).__name__}.")
        kind = str(_kind(type(value)))
        if _registry.get((kind, type(value).__name__)) is not type(value):
            own = type(value).__name__
            raise TypeError(f"{name}: a file cannot hold the {kind} {own} yet: call densenet.register({own}) first.")
        arguments = {k: self.encode(v, f"{name}.{k}") for k, v in value.config().items()}
        made: dict[str, Any] = {kind: type(value).__name__, "config": arguments}
        if isinstance(value, Layer):
            marks = {
                parameter: [mark.trainable, mark.decayed, mark.rate]
                for parameter, mark in ({} if value.children else value.marks).items()
                if mark != Mark(decayed=parameter not in value.undecayed)
            }
            if marks:
                made["marks"] = marks
            if value.generator is not None:
                made["generator"] = self._generator(value.generator, f"{name}.generator")["generator"]
        return made


class Decoder:
    """Turns plain values back. Each array can be taken once, so that no two objects share one."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays

    def take(self, name: Any) -> Array:
        """An array, in native byte order."""
        try:
            array = self.arrays.pop(name)
        except (KeyError, TypeError):
            raise CheckpointError(f"there is no array {name!r} for it.") from None
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def decode(self, value: Any) -> Any:
        """The value of a plain form.

        Raises
        ------
        CheckpointError
            If there is none, or a class is not registered.
        """
        match value:
            case None | bool() | int() | float() | str():
                return value
            case list():
                return [self.decode(item) for item in value]
            case {"float": "nan" | "inf" | "-inf" as text, **rest} if not rest:
                return float(text)
            case {"scalar": name, **rest} if not rest:
                array = self.take(name)
                if array.ndim:
                    raise CheckpointError(f"array {name!r} is no single number.")
                return array[()]
            case {"array": name, **rest} if not rest:
                return self.take(name)
            case {"tuple": list(items), **rest} if not rest:
                return tuple(self.decode(item) for item in items)
            case {"dict": list(pairs), **rest} if not rest:
                return {self._key(pair): self.decode(pair[1]) for pair in pairs}
            case {"generator": state, **rest} if not rest:
                return self._generator(state)
            case dict() if (kind := next((kind for kind in _KINDS if kind in value), None)) is not None:
                return self._object(kind, value)
        raise CheckpointError("its configuration holds a value that densenet does not write.")

    def _key(self, pair: Any) -> Any:
        match pair:
            case [key, _]:
                made = self.decode(key)
                if isinstance(made, (str, int, float, type(None))) or _is_plain_tuple(made):
                    return made
        raise CheckpointError("its configuration holds a value that densenet does not write.")

    def _generator(self, encoded: Any) -> np.random.Generator:
        state = self.decode(encoded)
        kind = _BIT_GENERATORS.get(str(state.get("bit_generator"))) if isinstance(state, dict) else None
        if kind is None:
            raise CheckpointError("it holds a random generator that densenet does not know.")
        made = kind(0)
        try:
            _GENERATOR_STATES[kind.__name__](state, "the state of its random generator")
            made.state = state
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise CheckpointError(f"it holds a random generator in an impossible state ({error}).") from None
        return np.random.Generator(made)

    def _object(self, kind: str, value: dict[str, Any]) -> Any:
        name, config = value[kind], value.get("config")
        cls = _registry.get((kind, name)) if isinstance(name, str) else None
        if cls is None:
            raise CheckpointError(
                f"it needs the {kind} {name!r}, which is not among densenet's: define it and call densenet.register "
                "with the class before loading."
            )
        if not isinstance(config, dict) or set(value) - {kind, "config", "marks", "generator"}:
            raise CheckpointError("its configuration holds a value that densenet does not write.")
        arguments = {argument: self.decode(entry) for argument, entry in config.items()}
        try:
            made = cls(**arguments)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"{name} cannot be made as it says: {error}") from None
        if isinstance(made, Layer):
            self._mark(made, value.get("marks", {}))
            if "generator" in value:
                made.generator = self._generator(value["generator"])
        return made

    def _mark(self, layer: Layer, marks: Any) -> None:
        for name, entry in marks.items() if isinstance(marks, dict) else [(None, None)]:
            match entry:
                case [bool(trainable), bool() | float() as decayed, float(rate)] if (
                    name in layer.marks and 0 <= rate < math.inf and 0 <= decayed < math.inf
                ):
                    layer.marks[name] = Mark(trainable, decayed, rate)
                case _:
                    raise CheckpointError(f"it marks parameters of {layer!r} in a way that densenet does not.")
