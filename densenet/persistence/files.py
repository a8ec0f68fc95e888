"""The two containers of model files and checkpoints: `.npz`, always available, and `.safetensors`.

Both hold the same: a configuration in JSON, which lists every array with its dtype and shape, the arrays, and one
SHA-256 over the configuration and every array. An `.npz` here is laid out in one fixed way, so that the configuration
settles every other byte of the file but the numbers: the reader knows the exact size of the file before it takes memory
for an array, and anything that is not as the writer lays it out is refused. `np.load` reads these files, too.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from typing import Any, BinaryIO

import numpy as np

from densenet._files import CheckpointError, replacing, too_sparse
from densenet._types import Array

FORMAT_VERSION = 1
"""Version of the layout; files of every older version keep loading."""

_CONFIG, _SHA = "densenet", "sha256"
_MOST_CONFIG = 4 << 20
_MOST_NODES = 200_000
_MOST_DIMENSIONS = 32
_DTYPES = ("float32", "float64", "float16", "bool", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


@dataclass
class Content:
    """The content of a file: its kind ("model" or "checkpoint"), a tree of plain values, arrays by name."""

    kind: str
    tree: dict[str, Any]
    arrays: dict[str, Array]


def write_file(path: str | os.PathLike[str], content: Content) -> None:
    """Write the content to a file whose name ends in .npz or .safetensors, all of it or nothing.

    Raises
    ------
    ValueError
        If the name ends in anything else, or the configuration is too long.
    ImportError
        For .safetensors without the library.
    OSError
        If the file cannot be written; the old one is as it was.
    """
    write = _writer(os.fspath(path))
    arrays = {name: _plain(array, name) for name, array in content.arrays.items()}
    config = _pack_config(content.kind, content.tree, arrays)
    with replacing(path) as file:
        write(file, config, arrays)


def check_content(content: Content) -> None:
    """Raise what `write_file` would raise for this content.

    Raises
    ------
    ValueError, TypeError
        As `write_file` does.
    """
    _pack_config(content.kind, content.tree, {name: _plain(array, name) for name, array in content.arrays.items()})


def read_file(path: str | os.PathLike[str]) -> Content:
    """Read a file of either container.

    Raises
    ------
    CheckpointError
        If it is not exactly what `write_file` has written.
    ImportError
        For .safetensors without the library.
    OSError
        If it cannot be opened or read.
    """
    path = os.fspath(path)
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):  # a folder gets the error of `open`
        raise CheckpointError(f"{path} is no ordinary file.")
    while True:
        with open(path, "rb") as file:
            try:
                return _read(path, file)
            except CheckpointError as error:
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):  # else a writer has just replaced it
                    raise CheckpointError(f"{path} is no whole file of densenet: {error}") from None


def _read(path: str, file: BufferedReader) -> Content:
    size = os.fstat(file.fileno()).st_size
    if too_sparse(file):
        raise CheckpointError("it is nearly all holes: densenet writes none.")
    start = file.read(4)
    file.seek(0)
    if start == _LOCAL[:4]:
        return _read_npz(file, size)
    if path.lower().endswith(".safetensors"):
        return _read_safetensors(path, file, size)
    raise CheckpointError("it is neither an .npz nor a .safetensors file.")


# -- what both containers share ------------------------------------------------------------------------------------


def _writer(path: str) -> Callable[[BinaryIO, bytes, dict[str, Array]], None]:
    ending = os.path.splitext(path)[1].lower()
    if ending == ".npz":
        return _write_npz
    if ending == ".safetensors":
        _safetensors()
        return _write_safetensors
    raise ValueError(f"a model file's name ends in .npz or .safetensors, got {path!r}.")


def _plain(array: Array, name: str) -> Array:
    """The array in C order and little-endian: the safetensors library silently stores any other order wrongly."""
    made = np.asarray(array)
    if made.dtype.name not in _DTYPES:
        raise TypeError(f"{name} is of dtype {made.dtype}, which a file cannot hold.")
    return np.require(made, made.dtype.newbyteorder("<"), ["C", "A"]).reshape(made.shape)


def _pack_config(kind: str, tree: dict[str, Any], arrays: Mapping[str, Array]) -> bytes:
    table = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    top = {"format": "densenet", "version": FORMAT_VERSION, "kind": kind, "arrays": table, "content": tree}
    config = json.dumps(top, allow_nan=False, separators=(",", ":")).encode("ascii")
    if len(config) > _MOST_CONFIG or _nodes(config) > _MOST_NODES:
        raise ValueError(
            f"a model file holds a configuration of at most {_MOST_CONFIG >> 20} MiB and {_MOST_NODES:,} entries, got "
            f"{len(config):,} bytes and {_nodes(config):,} entries: keep large tables in arrays."
        )
    return config


def _unpack_config(config: bytes) -> tuple[str, dict[str, Any], dict[str, tuple[np.dtype[Any], tuple[int, ...]]]]:
    """Kind, tree and table of the arrays (dtype and shape by name)."""
    top = _parse_json(config)
    if not isinstance(top, dict) or top.get("format") != "densenet" or not isinstance(top.get("version"), int):
        raise CheckpointError("its configuration is not one of densenet.")
    if top["version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"it has format version {top['version']}, and this densenet reads versions up to {FORMAT_VERSION}: "
            "use a newer one."
        )
    if set(top) != {"format", "version", "kind", "arrays", "content"} or top["version"] < 1:
        raise CheckpointError("its configuration is not as densenet writes it.")
    kind, tree, listed = top["kind"], top["content"], top["arrays"]
    if kind not in ("model", "checkpoint") or not isinstance(tree, dict) or not isinstance(listed, dict):
        raise CheckpointError("its configuration is not as densenet writes it.")
    return kind, tree, {name: _declared(name, entry) for name, entry in listed.items()}


def _declared(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    match entry:
        case [str(dtype), list(shape)] if (
            dtype in _DTYPES
            and len(shape) <= _MOST_DIMENSIONS
            and all(type(length) is int and length >= 0 for length in shape)
            and math.prod(max(1, length) for length in shape) < 2**56
            and name.isprintable()
            and len(name) < 1000
            and name not in (_CONFIG, _SHA)
        ):
            return np.dtype(dtype).newbyteorder("<"), tuple(shape)
    raise CheckpointError(f"it declares array {name[:100]!r} in a way that densenet does not.")


def _nodes(text: bytes) -> int:
    """At least as many as the values in a JSON text."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _parse_json(text: bytes, times: int = 1) -> Any:
    """Plain values from JSON without duplicate keys, at most `times` as long as a configuration may be."""
    if len(text) > times * _MOST_CONFIG or _nodes(text) > times * _MOST_NODES:
        raise CheckpointError("its configuration is too long.")
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its configuration cannot be read ({error}).") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _sha256(config: bytes, arrays: Iterable[Array]) -> bytes:
    """SHA-256 of the configuration's length and text and every array's bytes, in the order in which it lists them."""
    sha = hashlib.sha256(struct.pack("<Q", len(config)) + config)
    for array in arrays:
        sha.update(_bytes(array))
    return sha.digest()


def _allocate(table: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> dict[str, Array]:
    """Memory for the arrays; those of a model lie in one block, which can so become its vector of parameters."""
    made: dict[str, Array] = {}
    for (dtype, _), run in groupby(table.items(), lambda item: (item[1][0], item[0].partition(".")[0])):
        shapes = {name: shape for name, (_, shape) in run}
        block = np.empty(sum(map(math.prod, shapes.values())), dtype)
        start = 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            made[name] = block[start:end].reshape(shape)
            start = end
    return made


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


# -- .npz ----------------------------------------------------------------------------------------------------------

# A zip file of stored entries, each with the 64-bit sizes of "ZIP64". Field by field as in PKWARE's APPNOTE, 4.3.7 ff.
# It is read by hand because zipfile with numpy.lib.format takes 3.6 times as long (0.37 s for 0.10 s with 104 MB) and
# cannot fill one block of memory, which becomes the model's vector of parameters.
_LOCAL = b"PK\x03\x04" + struct.pack("<HHHHH", 45, 0x800, 0, 0, 0x21)  # version, UTF-8 names, stored, 1980-01-01 0:00
_CENTRAL = b"PK\x01\x02" + struct.pack("<HHHHHH", 45, 45, 0x800, 0, 0, 0x21)
_OPEN = 0xFFFFFFFF  # "see the 64-bit field"


@dataclass
class _Entry:
    """One `.npy` file in the zip file."""

    name: str
    size: int
    crc: int
    offset: int = 0

    def local(self) -> bytes:
        name = self.name.encode() + b".npy"
        fixed = _LOCAL + struct.pack("<IIIHH", self.crc, _OPEN, _OPEN, len(name), 20)
        return fixed + name + struct.pack("<HHQQ", 1, 16, self.size, self.size)

    def central(self) -> bytes:
        name = self.name.encode() + b".npy"
        fixed = _CENTRAL + struct.pack("<IIIHHHHHII", self.crc, _OPEN, _OPEN, len(name), 28, 0, 0, 0, 0, _OPEN)
        return fixed + name + struct.pack("<HHQQQ", 1, 24, self.size, self.size, self.offset)


def _directory(entries: list[_Entry], start: int) -> bytes:
    """The end of a zip file: the list of entries, and where it begins."""
    table = b"".join(entry.central() for entry in entries)
    count, end = len(entries), start + len(table)
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(table), start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    return table + record + locator + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, _OPEN, _OPEN, 0)


def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The start of a `.npy` file, version 1.0."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii")


def _bytes_array(data: bytes) -> Array:
    return np.frombuffer(data, np.uint8)


def _write_npz(file: BinaryIO, config: bytes, arrays: dict[str, Array]) -> None:
    everything = {_CONFIG: _bytes_array(config)} | arrays | {_SHA: _bytes_array(_sha256(config, arrays.values()))}
    entries: list[_Entry] = []
    offset = 0
    for name, array in everything.items():
        header = _npy_header(array.dtype, array.shape)
        data = _bytes(array)
        entry = _Entry(name, len(header) + len(data), zlib.crc32(data, zlib.crc32(header)), offset)
        local = entry.local()
        file.write(local + header)
        file.write(data)
        offset += len(local) + entry.size
        entries.append(entry)
    file.write(_directory(entries, offset))


class _NpzReader:
    """Entries of a zip file one after the other, each compared with what the writer would have written."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self.file, self.size, self.offset = file, size, 0
        self.entries: list[_Entry] = []

    def take(self, count: int) -> bytes:
        if count > self.size - self.offset:
            raise CheckpointError("it is cut short.")
        data = self.file.read(count)
        if len(data) != count:
            raise CheckpointError("it is cut short.")
        self.offset += count
        return data

    def begin(self, name: str) -> int:
        """Read the next entry's head; returns its size."""
        entry = _Entry(name, 0, 0, self.offset)
        data = self.take(len(entry.local()))
        (entry.crc,) = struct.unpack_from("<I", data, 14)
        (entry.size,) = struct.unpack_from("<Q", data, len(data) - 8)
        if data != entry.local():
            raise CheckpointError(f"entry {name[:100]!r} is not as densenet writes it.")
        self.entries.append(entry)
        return entry.size

    def array(self, name: str, out: Array) -> None:
        header = _npy_header(out.dtype, out.shape)
        if self.begin(name) != len(header) + out.nbytes or self.take(len(header)) != header:
            raise CheckpointError(f"array {name[:100]!r} is not as the configuration has it.")
        if out.size and self.file.readinto(_bytes(out)) != out.nbytes:
            raise CheckpointError("it is cut short.")
        self.offset += out.nbytes

    def end(self) -> None:
        expected = _directory(self.entries, self.offset)
        if self.size - self.offset != len(expected) or self.take(len(expected)) != expected:
            raise CheckpointError("its directory is not as densenet writes it.")


def _read_npz(file: BufferedReader, size: int) -> Content:
    reader = _NpzReader(file, size)
    header_length = len(_npy_header(np.dtype(np.uint8), (1,)))
    length = reader.begin(_CONFIG) - header_length
    if not 0 < length <= _MOST_CONFIG:
        raise CheckpointError("its configuration is too long or empty.")
    if reader.take(header_length) != _npy_header(np.dtype(np.uint8), (length,)):
        raise CheckpointError("its configuration is not as densenet writes it.")
    config = reader.take(length)
    kind, tree, table = _unpack_config(config)
    everything = table | {_SHA: (np.dtype(np.uint8), (32,))}
    expected = reader.offset + len(_directory([_Entry(name, 0, 0) for name in (_CONFIG, *everything)], 0))
    for name, (dtype, shape) in everything.items():
        expected += len(_Entry(name, 0, 0).local()) + len(_npy_header(dtype, shape)) + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise CheckpointError(f"it has {size:,} bytes, and what it declares takes {expected:,}.")
    arrays = _allocate(everything)
    for name, array in arrays.items():
        reader.array(name, array)
    reader.end()
    if arrays.pop(_SHA).tobytes() != _sha256(config, arrays.values()):
        raise CheckpointError("its SHA-256 is not that of its content: it has been altered.")
    return Content(kind, tree, arrays)


# -- .safetensors --------------------------------------------------------------------------------------------------


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(".safetensors files need the safetensors library: pip install '.[io]'") from None
    return safetensors


def _write_safetensors(file: BinaryIO, config: bytes, arrays: dict[str, Array]) -> None:
    metadata = {"densenet": config.decode("ascii") + _sha256(config, arrays.values()).hex()}
    file.write(_safetensors().numpy.save(arrays, metadata))


def _read_safetensors(path: str, file: BufferedReader, size: int) -> Content:
    library = _safetensors()
    (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
    if length > size - 8 or length > 3 * _MOST_CONFIG:
        raise CheckpointError("its header is longer than the file, or too long.")
    header = _parse_json(file.read(length), 3)  # the library would take the last of two equal keys
    if not isinstance(header, dict):
        raise CheckpointError("its header is not one of densenet.")
    try:
        with library.safe_open(path, framework="np") as opened:
            text = opened.metadata()["densenet"]
            config, sha = text[:-64].encode("ascii"), text[-64:]
            kind, tree, table = _unpack_config(config)
            if set(header) != {"__metadata__", *table} or set(header["__metadata__"]) != {"densenet"}:
                raise CheckpointError("it does not hold the arrays that its configuration lists.")
            if sum(math.prod(shape) * dtype.itemsize for dtype, shape in table.values()) != size - 8 - length:
                raise CheckpointError("its size is not that of what it declares.")
            arrays = {name: opened.get_tensor(name) for name in table}
            for name, declared in table.items():
                if (arrays[name].dtype, arrays[name].shape) != declared:
                    raise CheckpointError(f"array {name[:100]!r} is not as the configuration has it.")
    except CheckpointError:
        raise
    except (library.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"the safetensors library says: {error}") from None
    if sha != _sha256(config, arrays.values()).hex():
        raise CheckpointError("its SHA-256 is not that of its content: it has been altered.")
    return Content(kind, tree, arrays)
