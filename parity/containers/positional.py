"""A file that several threads read at once: every read says where, because threads share an open file's position."""

from __future__ import annotations

import io
import mmap
import os
import threading
from pathlib import Path
from typing import BinaryIO

from parity.errors import CorruptCheckpointError, UnreadableCheckpointError


class PositionalFile:
    """An open file, which stays open for as long as this object is used, and is checked for changes."""

    def __init__(self, path: Path, file: BinaryIO | io.FileIO) -> None:
        self.path = path
        self._seen = _signature(file)
        # Unbuffered, because duplicates of a file descriptor share its position, which a buffer would not notice.
        self._file: io.FileIO = io.FileIO(os.dup(file.fileno()), "rb")
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def check(self) -> None:
        """Check that the file is as it was when it was opened.

        Raises:
            CorruptCheckpointError: It was overwritten.
        """
        if _signature(self._file) != self._seen:
            raise CorruptCheckpointError(f"{self.path} was overwritten while it was in use; read it again")

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer with the bytes from `offset` on.

        Raises:
            CorruptCheckpointError: The file ends before.
            UnreadableCheckpointError: The operating system fails to read it.
        """
        try:
            while buffer:
                count = self._some(buffer, offset)
                if not count:
                    raise CorruptCheckpointError(f"{self.path} was truncated while it was in use; read it again")
                buffer, offset = buffer[count:], offset + count
        except OSError as error:
            raise UnreadableCheckpointError(f"{self.path} cannot be read: {error}") from error

    def _some(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(buffer)

    def map(self, offset: int, length: int) -> mmap.mmap | None:
        """Map bytes into memory privately, from a multiple of `mmap.ALLOCATIONGRANULARITY` on; None if that fails."""
        try:
            return mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_COPY, offset=offset)
        except OSError:
            # Each mapping takes one of a process's file descriptors, about a thousand by default.
            return None


def _signature(file: BinaryIO | io.FileIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
