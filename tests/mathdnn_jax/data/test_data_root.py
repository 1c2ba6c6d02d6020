"""The folder of the data sets."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from mathdnn_jax.data import data_root


def test_the_argument_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATHDNN_DATA", "/of/the/environment")
    assert data_root("/of/the/argument") == Path("/of/the/argument")
    assert data_root(Path("/of/the/argument")) == Path("/of/the/argument")


def test_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATHDNN_DATA", "/of/the/environment")
    assert data_root() == Path("/of/the/environment")


@pytest.mark.parametrize("value", [None, ""])
def test_then_the_cache_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("MATHDNN_DATA", raising=False)
    else:
        monkeypatch.setenv("MATHDNN_DATA", value)
    assert data_root() == platformdirs.user_cache_path("mathdnn_jax")


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATHDNN_DATA", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    assert data_root("~/elsewhere") == Path.home() / "elsewhere"


def test_no_folder_is_made(tmp_path: Path) -> None:
    assert not data_root(tmp_path / "new").exists()
