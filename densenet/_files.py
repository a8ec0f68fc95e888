"""How every file of the package is written: at any moment the old one or the new one is there, whole.

The new content goes to a temporary file in the same folder, is flushed to the disk, and takes the old one's place by a
rename, which the file system does at once; then the folder is flushed too. A writer holds a lock on its temporary file:
one without a lock is the leftover of a writer that was killed, and the next writer removes it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO, TextIO

try:
    import fcntl
except ImportError:  # Windows: no such locks, but an open file cannot be removed there
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".densenet-", ".tmp"


class CheckpointError(ValueError):
    """A file is not a whole and unaltered one of densenet, or needs something that is not there.

    Examples
    --------
    >>> import densenet as dn
    >>> path = getfixture("tmp_path") / "model.npz"
    >>> dn.mlp([2, 1]).save(path)
    >>> _ = path.write_bytes(path.read_bytes()[:-1])
    >>> dn.load(path)
    Traceback (most recent call last):
        ...
    densenet._files.CheckpointError: ...model.npz is no whole file of densenet: it has...
    """


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of `path` when the block ends without an exception.

    A symbolic link is followed. The file keeps the permissions of the one that it replaces.

    Raises
    ------
    OSError
        If the folder is missing, something cannot be written, or `path` is read-only or no ordinary file; it names
        `path`, and what stood there is as it was.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with replacing(folder / "note.txt") as file:
    ...     _ = file.write(b"whole")
    >>> (folder / "note.txt").read_bytes()
    b'whole'
    """
    shown = os.fspath(path)
    with naming(shown):
        target = os.path.realpath(shown)
        mode = _mode_of_old(target)
        folder = os.path.dirname(target)
        with contextlib.suppress(OSError):  # a folder may be written and not read
            _remove_leftovers(folder)
        temporary, file = _new_file(folder)
    try:
        with naming(shown), file:
            yield file
            if mode is not None:
                os.chmod(temporary, mode)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()
            os.replace(temporary, target)  # under the lock, so that nobody takes the new file for a leftover
        _flush_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def replacing_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """As `replacing`, for text: UTF-8, line ends as they are written."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        yield text
        text.flush()
        text.detach()


def append(path: str | os.PathLike[str], text: str) -> None:
    """Append text to a file in one piece; after a failure the file is as it was.

    Raises
    ------
    OSError
        If it cannot be written; it names `path`.
    """
    shown, data = os.fspath(path), text.encode("utf-8")
    with naming(shown):
        new = not os.path.lexists(shown)
        descriptor = os.open(shown, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(descriptor).st_size
            while data:
                data = data[os.write(descriptor, data) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
                if new:
                    os.unlink(shown)
            raise
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an OSError that the block raises name this path, the one that the caller knows."""
    try:
        yield
    except OSError as error:  # the subclass follows from the number
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from None


def check_place(path: str | os.PathLike[str]) -> None:
    """Complain unless an ordinary file, or nothing, stands at `path`.

    Raises
    ------
    OSError
        Naming `path`.
    """
    with naming(path):
        _mode_of_old(os.path.realpath(path))


def too_sparse(file: BinaryIO) -> bool:
    """Whether a file is nearly all holes. They read as zeros, and take memory without being on the disk.

    The file's position stays. A file may have 64 MiB of holes, and 15 bytes of them to each byte that is there.
    """
    if not hasattr(os, "SEEK_DATA"):
        return False
    descriptor = file.fileno()
    size, before = os.fstat(descriptor).st_size, os.lseek(descriptor, 0, os.SEEK_CUR)
    stored = at = 0
    try:
        while at < size:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
            end = os.lseek(descriptor, at, os.SEEK_HOLE)
            stored, at = stored + end - at, end
    except OSError as error:
        if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole to the end; else the file system knows no holes
            stored = size
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)
    return size > (64 << 20) + 16 * stored


def _mode_of_old(target: str) -> int | None:
    """Permissions of the file that stands at `target`; None where there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, "not an ordinary file", target)
    # a rename needs no right to write the old file, and root may write anything: the mark is what counts
    if not mode & 0o222 or not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only", target)
    return stat.S_IMODE(mode)


def _new_file(folder: str) -> tuple[str, BinaryIO]:
    """A new, locked, empty file under a name of its own."""
    while True:
        path = os.path.join(folder, _PREFIX + secrets.token_hex(8) + _SUFFIX)
        file = open(path, "xb")  # noqa: SIM115
        if fcntl is None:
            return path, file
        with contextlib.suppress(OSError):  # some network file systems know no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
                return path, file
        file.close()  # it was cleaned up between its making and its lock


def _remove_leftovers(folder: str) -> None:
    """Remove temporary files whose writers are dead."""
    with os.scandir(folder) as entries:
        leftovers = [entry.path for entry in entries if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)]
    for path in leftovers:
        with contextlib.suppress(OSError):
            if fcntl is not None:
                with open(path, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
            else:
                os.unlink(path)


def _flush_folder(folder: str) -> None:
    """Make the rename survive a power failure, where the system can flush a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
