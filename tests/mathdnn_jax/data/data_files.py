"""Helpers of the data-set tests: small IDX files, and separate Python processes."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

IMAGES = "t10k-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"


def images_of(count: int, size: int = 28) -> npt.NDArray[np.uint8]:
    return np.arange(count * size * size).reshape(count, size, size).astype(np.uint8)


def labels_of(count: int) -> npt.NDArray[np.uint8]:
    return (np.arange(count) % 10).astype(np.uint8)


def idx_bytes(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_split(root: Path, count: int = 3, name: str = "MNIST") -> tuple[Path, Path]:
    """Write a whole test split; return its two files."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    (raw / IMAGES).write_bytes(idx_bytes(images_of(count)))
    (raw / LABELS).write_bytes(idx_bytes(labels_of(count)))
    return raw / IMAGES, raw / LABELS


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with what changes when it is written."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in (folder, *folder.rglob("*"))
    }


@contextlib.contextmanager
def without_modules(*packages: str) -> Iterator[None]:
    """Hide imports of these packages inside the context, and forget those made there afterwards."""

    def of_them() -> dict[str, ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}

    before = of_them()
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in of_them():
            del sys.modules[name]
        sys.modules.update(before)


def run_python(code: str, *arguments: str, path: Path | None = None) -> str:
    """Run code in a separate process, where no test has imported anything; return its output."""
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), environment.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()
