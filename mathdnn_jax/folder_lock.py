"""A lock on a folder that one process at a time may write to; it dies with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mathdnn_jax.errors import FolderInUseError, MathdnnWarning, OutputError

LOCK = ".lock"
"""The name of the locked file. A killed process leaves the file, which means nothing without the lock on it."""
_FAR = 1 << 20  # Windows forbids reading a locked byte, so the lock is beyond the text.


@contextmanager
def locked_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock on an existing folder; its file is removed in the end.

    On Unix this is `flock`, and on Windows a locked byte. On NFS the server keeps the lock, also between machines. A
    file system without locks is used without one, with a warning. A forked child keeps the lock as long as it lives.

    Raises:
        FolderInUseError: Another process, or another thread of this one, holds it. The message names the process.
        OutputError: The folder cannot be written to.
    """
    path = Path(folder) / LOCK
    try:
        descriptor = _open_locked(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write in {folder}: {error}") from error
    try:
        yield
    finally:
        # On Windows an open file cannot be removed. Elsewhere, once it is closed, it may be another's.
        with contextlib.suppress(OSError):
            if sys.platform != "win32":
                path.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                path.unlink()


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor, path):
                holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                raise FolderInUseError(
                    f"{path.parent} is in use by {holder!r}: wait until it has ended, or choose another folder"
                )
            # Its last holder may have removed the file after it was opened here.
            if _same(path, descriptor):
                _sign(descriptor, path)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sign(descriptor: int, path: Path) -> None:
    """Write into the locked file who locked it."""
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError:  # the disk is full, say
        path.unlink(missing_ok=True)
        raise


def _same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path) -> bool:
    """Whether the lock is held now; also True, with a warning, where there are no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        warnings.warn(
            f"the file system of {path.parent} has no locks ({error}): two runs in this folder would not notice each "
            "other",
            MathdnnWarning,
            stacklevel=4,
        )
    return True
