"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mathdnn_jax.errors import MathdnnError, OutputError

_temporaries: set[Path] = set()


def check_writable(path: str | os.PathLike[str], source: str | os.PathLike[str] | None = None) -> Path:
    """Return `path` as a `Path` if a file can be written there, so that long work does not end in a failed write.

    Raises:
        OutputError: the folder does not exist or cannot be written, or `path` is a folder, an impossible name, or the
            file `source` that the work reads.
    """
    target = Path(path)
    folder = target.parent
    try:
        if target.is_dir():
            raise OutputError(f"cannot write {target}: it is a folder; give the name of a file")
        if not folder.is_dir():
            raise OutputError(f"cannot write {target}: the folder {folder} does not exist; create it first")
        if not os.access(folder, os.W_OK):
            raise OutputError(f"cannot write {target}: no permission to write in {folder}")
        if source is not None and target.exists() and Path(source).exists() and target.samefile(source):
            raise OutputError(f"cannot write {target}: it is the source itself; give the name of another file")
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {str(target)!r}: {error}") from error
    return target


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which becomes `path` on success and is removed on any failure.

    The temporary name keeps the suffix of `path`, because writers choose their format by it. The move by `os.replace`
    is atomic within one file system, so a reader sees the old file or the new one, never a part of it.

    Raises:
        OutputError: the file cannot be written.
    """
    target = check_writable(path)
    temporary = target.with_name(f".{target.stem}-{uuid.uuid4().hex[:12]}{target.suffix}")
    _temporaries.add(temporary)
    try:
        try:
            temporary.touch(0o600, exist_ok=False)
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot write {str(target)!r}: {error}") from error
        yield temporary
        # The temporary file is private, but the result should have the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if isinstance(error, MathdnnError):
            raise
        raise OutputError(f"cannot write {target}: {error}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):  # an impossible name, say
            temporary.unlink()
        _temporaries.discard(temporary)


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is removed in the end, also where a signal ends the process."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        folder = Path(name)
        _temporaries.add(folder)
        try:
            yield folder
        finally:
            _temporaries.discard(folder)


def discard_temporaries() -> None:
    """Remove the temporary files and folders of this process, which is about to end without unwinding its stack."""
    for path in list(_temporaries):
        with contextlib.suppress(OSError, ValueError):
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
