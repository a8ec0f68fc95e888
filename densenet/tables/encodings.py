"""Which encoding the bytes of a text are valid in."""

from __future__ import annotations

import codecs
from itertools import pairwise
from typing import Any

from densenet.tables.messages import TableError, counted

_SAMPLE = 1 << 16
_CHUNK = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def find_encoding(data: bytes, encoding: str | None, path: str) -> tuple[str, list[str]]:
    """The encoding in which all bytes are valid, and notes on it for the user."""
    if encoding is not None:
        try:
            name = codecs.lookup(encoding).name
            "a".encode(encoding)  # hex and its like are no encodings of text
        except LookupError:
            raise TableError(f"read_csv knows no encoding {encoding!r}", _recognised(data, path)) from None
        name = "utf-8-sig" if name == "utf-8" else name  # a byte order mark is no part of the text
        if (error := _invalid(data, name)) is not None:
            raise TableError(f"{path} is not {encoding} ({error})", _recognised(data, path))
        doubt = not name.startswith("utf") and not data.isascii() and _invalid(data, "utf-8") is None
        return name, [f"read as {encoding}, though it is valid UTF-8, too"] if doubt else []
    found = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if found is None and b"\0" in data[:_SAMPLE]:
        start = data[: _SAMPLE & ~1]
        found = "utf-16-be" if start[::2].count(0) > start[1::2].count(0) else "utf-16-le"
    error = _invalid(data, found or "utf-8")
    if error is None:
        return found or "utf-8", [] if found in (None, "utf-8-sig") else [f"read as {found}"]
    if found is not None:
        raise TableError(f"{path} begins as {found} and is not ({error})")
    # One letter of every few is above 127 in a Western text; in others they stand side by side.
    high = [byte > 127 for byte in data[:_SAMPLE]]
    beside = sum(a and b for a, b in pairwise(high))
    if 4 * beside > sum(high) + 4 or _invalid(data, "cp1252") is not None:
        raise TableError(f"{path} is not UTF-8, nor clearly Windows-1252: name its encoding", {"encoding": "latin-1"})
    return "cp1252", ["read as Windows-1252 (Latin-1), since it is not UTF-8"]


def _recognised(data: bytes, path: str) -> dict[str, Any]:
    """The option that names the encoding that the bytes show."""
    try:
        return {"encoding": find_encoding(data, None, path)[0].removesuffix("-sig")}
    except TableError as error:
        return error.remedy


def _invalid(data: bytes, encoding: str) -> str | None:
    """Why the bytes are not in this encoding, looked at in pieces; None if they are."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        for start in range(0, len(data), _CHUNK):
            decoder.decode(data[start : start + _CHUNK])
        decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        return error.reason
    except (UnicodeError, LookupError) as error:
        return str(error)[:100]
    return None


def without_zero_bytes(data: bytes) -> tuple[bytes, list[str]]:
    """A text without the few zero bytes that a broken program wrote, and how many they were."""
    zeros = 0 if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else data.count(0)
    if not zeros or 10 * zeros > len(data):
        return data, []
    return data.replace(b"\0", b""), [f"{counted(zeros, 'zero byte')} left out"]
