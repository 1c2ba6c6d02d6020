from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mathdnn_jax.errors import DataSetError, OutputError
from mathdnn_jax.files import check_writable, replace_file


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("before")
    with replace_file(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
        assert temporary.suffix == ".json"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    with replace_file(tmp_path / "out"):
        pass
    (tmp_path / "other").touch()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.parametrize("error", [ValueError("half way"), KeyboardInterrupt(), DataSetError("named")])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out"
    path.write_text("before")

    def fail_half_way() -> None:
        with replace_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail_half_way()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_failures_of_the_file_system_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), replace_file(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300, "nul\0"])
def test_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot write"), replace_file(tmp_path / name):
        pass


def test_impossible_places_are_refused_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        check_writable(tmp_path / "no" / "out")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission"):
        check_writable(tmp_path / "out")
