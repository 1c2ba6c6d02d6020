"""The pinned and the oldest versions agree with pyproject.toml."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CONSTRAINTS = REPOSITORY / "constraints"
# Extras that no test needs: other libraries, on whose newest versions the checker is tried, and JAX for GPUs.
UNTESTED = ("peers", "cuda12", "cuda13")


@pytest.fixture(scope="module")
def pins() -> ModuleType:
    """The program that writes and compares pins."""
    specification = importlib.util.spec_from_file_location("pins", REPOSITORY / ".ci" / "pins.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _requirements() -> Iterator[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    yield from project["project"]["dependencies"]
    for name, extra in project["project"]["optional-dependencies"].items():
        if name not in UNTESTED:
            yield from extra
    yield from project["build-system"]["requires"]


def _release(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def test_the_oldest_versions_are_those_that_are_named(pins: ModuleType) -> None:
    oldest = pins.pinned(CONSTRAINTS / "oldest.txt")
    named: dict[str, str] = {}
    for requirement in _requirements():
        if bound := re.match(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", requirement):
            named.setdefault(pins.normal(bound[1]), bound[2])
            # One bound for a package, wherever it is named.
            assert _release(named[pins.normal(bound[1])]) == _release(bound[2]), requirement
    assert named.keys() <= oldest.keys()
    for name, version in named.items():
        assert _release(oldest[name]) == _release(version), name


@pytest.mark.parametrize("path", sorted(CONSTRAINTS.glob("python*.txt")), ids=lambda path: path.stem)
def test_what_is_installed_by_make_is_pinned(path: Path, pins: ModuleType) -> None:
    versions = pins.pinned(path)
    for requirement in _requirements():
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        if name[0] != "mathdnn_jax":
            assert pins.normal(name[0]) in versions, requirement


def test_there_are_pins_for_the_pythons_that_ci_runs() -> None:
    assert {path.stem for path in CONSTRAINTS.glob("python*.txt")} >= {"python3.11", "python3.12"}


def test_pins_are_written_and_compared(
    pins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {"jax": "0.10.2", "torch": "2.13.0"}
    monkeypatch.setattr(pins, "installed", lambda: here)
    report, file = tmp_path / "report.json", tmp_path / "pins.txt"
    others = [("Torch", "2.13.0+cpu"), ("typing_extensions", "4.1"), ("mathdnn_jax", "0.1.0"), ("jax", "0.10.2")]
    report.write_text(json.dumps({"install": [{"metadata": {"name": n, "version": v}} for n, v in others]}))
    assert pins.main("write", str(file), str(report)) == 0
    # One spelling of a name; neither what a build adds to a version nor this project.
    assert pins.pinned(file) == {"jax": "0.10.2", "torch": "2.13.0", "typing-extensions": "4.1"}
    assert pins.main("same", str(file)) == 0
    here |= {"jax": "0.10.3", "new": "1.0"}
    assert pins.main("same", str(file)) == 1
    assert capsys.readouterr().out.splitlines() == ["jax 0.10.3, pinned is 0.10.2", "new 1.0, pinned is nothing"]


def test_this_environment_is_read(pins: ModuleType) -> None:
    found = pins.installed()
    assert "jax" in found
    assert not found.keys() & {"pip", "mathdnn-jax"}
    assert not [version for version in found.values() if "+" in version]
