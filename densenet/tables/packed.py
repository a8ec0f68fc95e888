"""What a file is packed in: compressions and archives are unpacked, workbooks and other formats are refused."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import shlex
import zipfile
import zlib
from typing import BinaryIO

from densenet.tables.messages import TableError, listed

STDIN = "standard input"
"""What messages call it."""

_TABLES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".csv.gz")
_SAMPLE = 1 << 16
_CHUNK = 1 << 20
_MOST_UNPACKED = 200
_ALWAYS_UNPACKED = 1 << 24
_MOST_MEMORY = 1 << 28


def unpacked(data: bytes, path: str) -> bytes:
    """The content of .gz, .bz2, .xz and .zip, known by their first bytes, in pieces up to a bound."""
    if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise _workbook(path)
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                return _bounded(file, len(data), path, "gzip -dc")  # type: ignore[arg-type]
        if data[:3] == b"BZh":
            with bz2.BZ2File(io.BytesIO(data)) as plain:
                return _bounded(plain, len(data), path, "bzip2 -dc")  # type: ignore[arg-type]
        if data[:6] == b"\xfd7zXZ\0":
            return _unpacked_xz(data, path)
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_only_member(archive, path)) as member:
                return _bounded(member, len(data), path, "unzip -p")  # type: ignore[arg-type]
    except (EOFError, OSError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise TableError(f"read_csv cannot unpack {path}: {error}") from None
    except (RuntimeError, NotImplementedError) as error:  # an encrypted member, or a method that zipfile lacks
        raise TableError(f"read_csv cannot unpack {path}: {error}") from None
    return data


def _bounded(file: BinaryIO, packed: int, path: str, program: str) -> bytes:
    most = _most(packed)
    content = bytearray()
    while chunk := file.read(_CHUNK):
        content += chunk
        if len(content) > most:
            raise _bomb(packed, path, program)
    return bytes(content)


def _most(packed: int) -> int:
    return max(_ALWAYS_UNPACKED, _MOST_UNPACKED * packed)


def _bomb(packed: int, path: str, program: str) -> TableError:
    reason = f"read_csv stops unpacking {path}: its {packed:,} bytes hold more than {_most(packed):,}; if you trust it"
    if path == STDIN:
        return TableError(reason + ", unpack it first")
    made = f"unpacked/{os.path.splitext(os.path.basename(path))[0]}"
    return TableError(
        reason, {"path": made}, f"mkdir -p unpacked && {program} {shlex.quote(path)} > {shlex.quote(made)}"
    )


def _unpacked_xz(data: bytes, path: str) -> bytes:
    content, rest = bytearray(), data
    while rest:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
        piece = rest
        while not unpacker.eof:
            found = unpacker.decompress(piece, _CHUNK)
            content += found
            piece = b""
            if len(content) > _most(len(data)):
                raise _bomb(len(data), path, "xz -dc")
            if not found and unpacker.needs_input:
                raise EOFError("it is cut short")
        rest = unpacker.unused_data.lstrip(b"\0")  # streams may be padded
    return bytes(content)


def _workbook(path: str) -> TableError:
    reason = f"{path} is a workbook of a spreadsheet; its first sheet as CSV"
    made = f"converted/{os.path.splitext(os.path.basename(path))[0]}.csv"
    if path == STDIN:
        return TableError(reason)
    command = f"libreoffice --headless --convert-to csv --outdir converted {shlex.quote(path)}"
    return TableError(reason, {"path": made}, command)


def _only_member(archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    names = archive.namelist()
    if "xl/workbook.xml" in names or "content.xml" in names:
        raise _workbook(path)
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX")
        and not info.filename.split("/")[-1].startswith(".")
    ]
    if len(members) != 1:
        inside = listed(info.filename for info in members) or "nothing"
        reason = f"read_csv expects one file in {path}, got {inside}"
        if not members or path == STDIN:
            raise TableError(reason)
        likely = [info.filename for info in members if info.filename.lower().endswith(_TABLES)]
        chosen = (likely or [members[0].filename])[0]
        raise TableError(
            f"{reason}; the first table",
            {"path": f"unpacked/{chosen}"},
            f"unzip -d unpacked {shlex.quote(path)} {shlex.quote(chosen)}",
        )
    return members[0]


# -- other formats -----------------------------------------------------------------------------------------------------

_PANDAS = "python -c 'import pandas; {read}.to_csv(\"{made}\", index=False)'"
_FORMATS = (
    (rb"\x28\xb5\x2f\xfd", "Zstandard", "zstd -qd {path} -o {made}"),
    (rb"7z\xbc\xaf|Rar!", "an archive", "7z e -so {path} > {made}"),
    (rb"(?s).{257}ustar", "an archive", "tar -xOf {path} > {made}"),
    (rb"ARROW1", "Feather", _PANDAS.replace("{read}", 'pandas.read_feather("{path}")')),
    (rb"\s*\{[^\n]*\}\s*\n\s*\{", "JSON lines", _PANDAS.replace("{read}", 'pandas.read_json("{path}", lines=True)')),
    (rb"\s*(\[\s*\{|\{\s*\")", "JSON", _PANDAS.replace("{read}", 'pandas.read_json("{path}")')),
    (rb"(?i)\s*<(!doctype|html|table)", "HTML", _PANDAS.replace("{read}", 'pandas.read_html("{path}")[0]')),
)
"""How a file of another format begins, what it is, and the command that makes a table of text of it."""

_FEW_CONTROLS = 16
_CONTROLS = bytes({*range(2, 9), *range(14, 27), *range(28, 31)})
_UTF_16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def check_format(data: bytes, path: str) -> None:
    """Refuse what begins as a known format that is no table of text, and what is no text at all."""
    start = data[:_SAMPLE]
    for pattern, kind, command in _FORMATS:
        if re.match(pattern, start):
            reason = f"{path} is {kind}, no table of text"
            if path == STDIN or not re.fullmatch(r"[\w./ -]+", path):
                raise TableError(reason)
            made = f"converted/{os.path.basename(path).split('.')[0]}.csv"
            names = {"path": path, "made": made}
            if "python" not in command:
                names = {name: shlex.quote(text) for name, text in names.items()}
            raise TableError(f"{reason}; as one", {"path": made}, f"mkdir -p converted && {command.format(**names)}")
    marked = start.startswith(_UTF_16_OR_32)
    zeros, odd = start.count(0), len(start) - len(start.translate(None, _CONTROLS))
    even, uneven = start[::2].count(0), start[1::2].count(0)
    sides = max(even, uneven) > 0.6 * (len(start) // 2) and min(even, uneven) < 0.2 * (len(start) // 2)
    if not marked and (odd > max(_FEW_CONTROLS, len(start) // 100) or (10 * zeros > len(start) and not sides)):
        raise TableError(f"{path} is no text: it holds {'zero' if zeros else 'control'} bytes")
