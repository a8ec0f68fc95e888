"""Which encoding the bytes of a text are valid in."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence
from typing import Any

from densenet.tables.messages import TableError, counted, shown_cell
from densenet.tables.scripts import SCRIPTS, Likely, likely_encodings

_SAMPLE = 1 << 16
_CHUNK = 1 << 20
_LIKELY, _SURE, _CLOSE = 0.5, 0.8, 0.05
"""The shares of words from which on an encoding is likely, or sure; by how little shares may differ by chance."""
_MOST_NAMED, _MOST_ODD = 3, 100
_WESTERN = ("iso8859-1", "iso8859-15")
"""What is Windows-1252 in all letters."""
_INVISIBLE = tuple(sign.encode() for sign in "\u200b\u200e\u200f\u2060\ufeff")
UTF_16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def find_encoding(data: bytes, encoding: str | None, path: str, skip: Sequence[Any] = ()) -> tuple[str, list[str]]:
    """The encoding in which all bytes but those of lines to skip are valid, and notes on it for the user."""
    if encoding is not None:
        try:
            name = codecs.lookup(encoding).name
            "a".encode(encoding)  # hex and its like are no encodings of text
        except LookupError:
            raise TableError(f"read_csv knows no encoding {encoding!r}", _recognised(data, path)) from None
        name = "utf-8-sig" if name == "utf-8" else name  # a byte order mark is no part of the text
        if (error := _invalid(data, name)) is not None:
            raise TableError(f"{path} is not {encoding} ({error})", _recognised(data, path))
        return name, [] if name.startswith("utf") or data.isascii() else _doubts(data, name, encoding)
    found = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if found is None and b"\0" in data[:_SAMPLE]:
        start = data[: _SAMPLE & ~1]
        found = "utf-16-be" if start[::2].count(0) > start[1::2].count(0) else "utf-16-le"
    error = _invalid(data, found or "utf-8")
    if error is None:
        return found or "utf-8", [] if found in (None, "utf-8-sig") else [f"read as {found}"]
    if found not in (None, "utf-8-sig"):
        raise TableError(f"{path} begins as {found} and is not ({error})")
    likely = likely_encodings(data)
    doubtful = not likely or likely[0].share < _SURE
    if odd := _lines_beside_utf8(data, 1 if doubtful else 10):
        more = f" and {counted(len(odd) - 1, 'more line')}" if len(odd) > 1 else ""
        raise TableError(f"{path} is UTF-8 but for line {odd[0]}{more}; without", {"skip": [*skip, *odd]})
    return _older_encoding(data, likely, path)


def _doubts(data: bytes, name: str, given: str) -> list[str]:
    """A note where the bytes read better in another encoding than in the one that was given."""
    if _invalid(data, "utf-8") is None:
        return [f"read as {given}, though it is valid UTF-8, too"]
    likely = likely_encodings(data)
    own = "cp1252" if name in _WESTERN else name
    same = [script.encoding for script in SCRIPTS if codecs.lookup(script.encoding).name == own]
    share = next((each.share for each in likely if each.encoding in same), 0.0)
    if not same or not likely or likely[0].share < max(_SURE, share + _CLOSE):
        return []
    better = likely[0]
    read = better.word.encode(better.encoding).decode(name, "replace")
    return [f"read as {given}, though {shown_cell(read)} would be {shown_cell(better.word)} in {better.encoding}"]


def _older_encoding(data: bytes, likely: Sequence[Likely], path: str) -> tuple[str, list[str]]:
    """Windows-1252 where it explains the bytes as well as any other encoding.

    Raises
    ------
    TableError
        Naming the encodings that explain them better, with a word of the file as each of them has it.
    """
    western = next((each.share for each in likely if each.encoding == "cp1252"), 0.0)
    if likely and western >= max(_LIKELY, likely[0].share - _CLOSE) and _invalid(data, "cp1252") is None:
        return "cp1252", ["read as Windows-1252 (Latin-1), since it is not UTF-8"]
    better = [each for each in likely if _invalid(data, each.encoding) is None][:_MOST_NAMED]
    words = ", ".join(f"{shown_cell(each.word)} if it is {each.encoding}" for each in better)
    reason = f"{path} is not UTF-8, nor clearly Windows-1252: it holds {words or 'bytes above 127'}; name its encoding"
    raise TableError(reason, {"encoding": better[0].encoding if better else "latin-1"})


def _lines_beside_utf8(data: bytes, times: int) -> list[int]:
    """The lines that are not UTF-8 where so many times more lines with bytes above 127 are; else none."""
    odd, valid = [], 0
    for number, line in enumerate(data.splitlines(), 1):
        if not line.isascii():
            try:
                line.decode("utf-8")
                valid += 1
            except UnicodeDecodeError:
                odd.append(number)
    return odd if len(odd) < _MOST_ODD and times * len(odd) <= valid else []


def without_lines(data: bytes, lines: Collection[int]) -> bytes:
    """A text, of any encoding that has line ends as ASCII does, with these lines empty."""
    if not lines or b"\0" in data[:_SAMPLE]:  # UTF-16 or UTF-32
        return data
    kept = (b"\n" if number in lines else line for number, line in enumerate(data.splitlines(keepends=True), 1))
    return b"".join(kept)


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


def without_invisible_signs(data: bytes) -> tuple[bytes, list[str]]:
    """A UTF-8 text without signs of no width, which make two words of one, and how many they were.

    A byte order mark at the beginning stays.
    """
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    if not any(data.find(sign, start) >= 0 for sign in _INVISIBLE) or _invalid(data, "utf-8") is not None:
        return data, []
    text, count = data[start:], 0
    for sign in _INVISIBLE:
        count += text.count(sign)
        text = text.replace(sign, b"")
    return data[:start] + text, [f"{counted(count, 'invisible sign')} left out"]


def without_zero_bytes(data: bytes) -> tuple[bytes, list[str]]:
    """A text without the few zero bytes that a broken program wrote, and how many they were."""
    zeros = 0 if data.startswith(UTF_16_OR_32) else data.count(0)
    if not zeros or 10 * zeros > len(data):
        return data, []
    return data.replace(b"\0", b""), [f"{counted(zeros, 'zero byte')} left out"]
