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

from densenet.tables.encodings import UTF_16_OR_32
from densenet.tables.messages import TableError, listed

STDIN = "standard input"
"""What messages call it."""
_KEPT = "standard_input"
"""The file that keeps it, in commands to copy."""

_TABLES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".csv.gz")
_PROGRAMS = ((b"\x1f\x8b", "gzip -dc"), (b"BZh", "bzip2 -dc"), (b"\xfd7zXZ\0", "xz -dc"), (b"PK", "unzip -p"))
"""What unpacks a file to standard output, by its first bytes."""
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
    return _remedied(reason, path, f"unpacked/{_stem(path)}", f"{program} {{path}} > {{made}}")


def _remedied(reason: str, path: str, made: str, command: str, **names: str) -> TableError:
    """The refusal of a file of which a shell command with {path} and {made} makes another; a pipe is kept first."""
    kept, first = (_KEPT, f"cat > {_KEPT} && ") if path == STDIN else (path, "")
    names = {name: shlex.quote(text) for name, text in {"path": kept, "made": made, **names}.items()}
    return TableError(
        reason, {"path": made}, f"{first}mkdir -p {shlex.quote(os.path.dirname(made))} && {command.format(**names)}"
    )


def _stem(path: str) -> str:
    """The name of a file without its last ending."""
    return os.path.splitext(os.path.basename(_KEPT if path == STDIN else path))[0]


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


def _workbook(path: str, is_excel: bool = False) -> TableError:
    reason = f"{path} is a workbook of a spreadsheet; its first sheet as CSV"
    made = f"converted/{_stem(path)}.csv"
    if is_excel:
        command = _PANDAS.format(read="pandas.read_excel(sys.argv[1])")
        return _remedied(f"{reason} (with pandas and openpyxl)", path, made, command)
    return _remedied(reason, path, made, "libreoffice --headless --convert-to csv --outdir converted {path}")


def _only_member(archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    names = archive.namelist()
    if "xl/workbook.xml" in names or "content.xml" in names:
        raise _workbook(path, "xl/workbook.xml" in names)
    if names and all(name.endswith(".npy") for name in names):
        raise TableError(f"{path} holds arrays of NumPy, as model files do, and no table of text")
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
        if not members:
            raise TableError(reason)
        likely = [info.filename for info in members if info.filename.lower().endswith(_TABLES)]
        chosen = (likely or [members[0].filename])[0]
        command = "unzip -o -d unpacked {path} {chosen}"
        raise _remedied(f"{reason}; the first table", path, f"unpacked/{chosen}", command, chosen=chosen)
    return members[0]


# -- other formats -----------------------------------------------------------------------------------------------------

_PANDAS = "python -c 'import pandas, sys; {read}.to_csv(sys.argv[2], index=False)' {{path}} {{made}}"
_READ_ARFF = (
    "python -c 'import re, sys; from pathlib import Path; "
    r'head, rows = re.split(r"(?im)^@data.*\n", Path(sys.argv[1]).read_text(), maxsplit=1); '
    r'names = re.findall(r"(?im)^@attribute\s+([\x22\x27].*?[\x22\x27]|\S+)", head); '
    r'header = ",".join(name.strip("\x22\x27") for name in names); Path(sys.argv[2]).write_text(header + "\n" + rows)'
    "' {path} {made}"
)
_READ_LIBSVM = (
    "python -c 'import numpy, sys; from sklearn.datasets import load_svmlight_file as load; x, y = load(sys.argv[1]); "
    'numpy.savetxt(sys.argv[2], numpy.c_[y, x.toarray()], "%.9g", ",")\' {path} {made}'
)
_FORMATS = (
    (rb"\x28\xb5\x2f\xfd", "Zstandard", "zstd -qdf {path} -o {made}"),
    (rb"7z\xbc\xaf|Rar!", "an archive", "7z e -so {path} > {made}"),
    (rb"(?s).{257}ustar", "an archive", "tar -xOf {path} > {made}"),
    (rb"PAR1", "Parquet", " {path} > {made}"),
    (rb"ARROW1", "Feather", _PANDAS.format(read="pandas.read_feather(sys.argv[1])")),
    (rb"\s*\{[^\n]*\}\s*\n\s*\{", "JSON lines", _PANDAS.format(read="pandas.read_json(sys.argv[1], lines=True)")),
    (rb"\s*(\[\s*\{|\{\s*\")", "JSON", _PANDAS.format(read="pandas.read_json(sys.argv[1])")),
    (
        rb"(?is)\s*(<\?xml.{,200})?<(!doctype html|html|table)",
        "HTML",
        _PANDAS.format(read="pandas.read_html(sys.argv[1])[0]"),
    ),
    (rb"\s*<\?xml", "XML", _PANDAS.format(read="pandas.read_xml(sys.argv[1])")),
    (rb"(?i)(\s*%.*\n)*\s*@relation", "ARFF", _READ_ARFF),
    (rb"([+-]?\d[\d.]*( +\d+:[-+.\deE]+)+ *\r?\n){2}", "a file of LIBSVM", _READ_LIBSVM),
)
"""How a file of another format begins, what it is, and the command that makes a table of text of it."""

_NEEDS = {"HTML": "pandas and lxml", "XML": "pandas and lxml", "Feather": "pandas and pyarrow"} | dict.fromkeys(
    ("JSON", "JSON lines"), "pandas"
)
"""The Python packages of these commands."""

_FEW_CONTROLS = 16
_CONTROLS = bytes({*range(2, 9), *range(14, 27), *range(28, 31)})


def check_format(data: bytes, path: str, raw: bytes) -> None:
    """Refuse what begins as a known format that is no table of text, and what is no text at all; `raw` is as packed."""
    start = data[:_SAMPLE]
    for pattern, kind, command in _FORMATS:
        if re.match(pattern, start):
            if kind == "Parquet":  # from a pipe, or packed
                command = next((program for start, program in _PROGRAMS if raw.startswith(start)), "cat") + command
            made = f"converted/{_stem(path).split('.')[0]}.csv"
            needed = f" (with {_NEEDS[kind]})" if kind in _NEEDS else ""
            error = _remedied(f"{path} is {kind}, no table of text; as one{needed}", path, made, command)
            if command == _READ_LIBSVM:
                error.remedy |= {"header": False, "target": "x1"}
            raise error
    if start.startswith(b"version https://git-lfs"):
        raise TableError(
            f"{path} only points at a file that Git LFS keeps; to fetch it", {"path": path}, "git lfs pull"
        )
    marked = start.startswith(UTF_16_OR_32)
    zeros, odd = start.count(0), len(start) - len(start.translate(None, _CONTROLS))
    even, uneven = start[::2].count(0), start[1::2].count(0)
    sides = max(even, uneven) > 0.6 * (len(start) // 2) and min(even, uneven) < 0.2 * (len(start) // 2)
    most = len(start) // 100 if zeros or _is_broken(start) else len(start) // 10  # 0x1A often stands for a lost letter
    if not marked and (odd > max(_FEW_CONTROLS, most) or (10 * zeros > len(start) and not sides)):
        raise TableError(f"{path} is no text: it holds {'zero' if zeros else 'control'} bytes")


def _is_broken(start: bytes) -> bool:
    """Whether the beginning of a file is no UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return True
    return False


def parted_decimals(path: str) -> TableError:
    """The refusal of a table whose decimal commas stand between cells, too."""
    command = "sed -E '2,$s/([+-]?[0-9]+),([0-9]+)/\\1.\\2/g' {path} > {made}"
    reason = f"{path} has two whole numbers for each name: commas seem to be decimal signs, too; with points"
    return _remedied(reason, path, f"converted/{_stem(path).split('.')[0]}.csv", command)


def fixed_width(path: str) -> TableError:
    """The refusal of a table whose columns have places instead of delimiters."""
    command = _PANDAS.format(read="pandas.read_fwf(sys.argv[1])")
    reason = f"{path} seems to have columns of fixed width, with nothing between them; as CSV"
    return _remedied(reason, path, f"converted/{_stem(path).split('.')[0]}.csv", command)
