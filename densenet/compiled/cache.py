"""A cache of machine code in files, so that a machine compiles it once.

Files here are code that will run, so the folder is the user's own: mode 0700, and refused where others could write to
it. Its name is a hash of everything the code depends on: the texts of this room, the versions of what compiled it, the
processor. Each entry has a hash of its content; a truncated or altered entry counts as missing. If the
cache fails, kernels are compiled in memory, and one warning says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

_MAGIC = b"densenet kernel 1\n"
_warned: set[str] = set()


def folder(key: str) -> Path:
    """The folder for machine code of this key: in ``NUMBA_CACHE_DIR`` where that is set, else in the user's cache."""
    base = os.environ.get("NUMBA_CACHE_DIR")
    if not base and sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif not base and sys.platform == "darwin":
        base = os.path.join(os.path.expanduser("~"), "Library", "Caches")
    elif not base:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base or tempfile.gettempdir()) / "densenet" / key


def texts() -> bytes:
    """A hash of every source file of this room."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.digest()


def load(place: Path, name: str) -> bytes | None:
    """The machine code of a kernel, or None; with a warning if an entry cannot be used."""
    path = place / name
    try:
        if not path.exists():
            return None
        _check(place)
        _check_file(path)
        content = path.read_bytes()
    except OSError as error:
        _warn(f"cannot read {path} ({error})")
        return None
    head, code = content[: len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not code or head != _MAGIC + hashlib.sha256(code).digest():
        _warn(f"{path} is damaged")
        return None
    return code


def store(place: Path, name: str, code: bytes) -> None:
    """Store the machine code of a kernel: a whole file or none, also while other processes write it."""
    part = None
    try:
        for path in (place.parent, place):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check(path)
        handle, part = tempfile.mkstemp(dir=place, prefix=name + "-")  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(code).digest() + code)
        os.replace(part, place / name)
    except OSError as error:
        _warn(f"cannot write to {place} ({error})")
    except BaseException:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)
        raise
    else:
        return
    if part is not None:
        with contextlib.suppress(OSError):
            os.unlink(part)


def _check(path: Path) -> None:
    """Refuse a folder that is a link, belongs to another user, or can be written by others."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{path} is no folder")
    _check_owner(path, found)


def _check_file(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is no plain file")
    _check_owner(path, found)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user")
    if found.st_mode & 0o022:
        raise PermissionError(f"others may write to {path}: it holds code that runs; remove it, or chmod go-w it")


def _warn(why: str) -> None:
    """Warn once in a process: results are the same, the start is slower."""
    if not _warned:
        _warned.add(why)
        warnings.warn(
            f"the cache of compiled kernels is of no use here: {why}. They are compiled in memory.", stacklevel=2
        )
