"""A folder has one writer at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mathdnn_jax
from mathdnn_jax.errors import FolderInUseError, MathdnnWarning, OutputError
from mathdnn_jax.folder_lock import locked_folder

HOLD = """
import sys
from mathdnn_jax.folder_lock import locked_folder
with locked_folder(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(mathdnn_jax.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(FolderInUseError, match=f"process {holder.pid} "), locked_folder(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    assert len(list(tmp_path.iterdir())) == 1
    for _ in range(2):
        with locked_folder(tmp_path), pytest.raises(FolderInUseError), locked_folder(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"), locked_folder(tmp_path / "absent"):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl", reason="Windows locks in another way")

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(MathdnnWarning, match="No locks available"), locked_folder(tmp_path):
        pass
