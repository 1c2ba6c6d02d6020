"""The checker's defaults catch every wrong map, and accuse no right map of another library."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.checker.entry import Entry
from benchmarks.checker.run import LIBRARIES, WRONG, Library, Row, check, row_of, run
from benchmarks.cli import main

FOREIGN = [(library, entry) for library in LIBRARIES for entry in library.entries]


@pytest.mark.parametrize("entry", WRONG, ids=lambda entry: entry.name)
def test_a_wrong_map_is_caught_by_a_check_that_is_about_its_mistake(entry: Entry) -> None:
    error = check(entry)
    assert error is not None
    assert error.check in entry.catch


def test_names_are_unique_and_there_are_enough() -> None:
    assert len({entry.name for entry in WRONG}) == len(WRONG) >= 18
    right = [(library.name, entry.name) for library, entry in FOREIGN if entry.known is None]
    assert len(set(right)) == len(right) >= 25


@pytest.mark.parametrize(("library", "entry"), FOREIGN, ids=[f"{one.name} {entry.name}" for one, entry in FOREIGN])
def test_a_map_of_another_library_is_judged_correctly(library: Library, entry: Entry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(library.module, reason=f"{library.name} is not installed: pip install mathdnn_jax[peers]")
    error = check(entry)
    assert (error is None) == (entry.known is None), error


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    missing = Library("nowhere", "no_such_module", "no-such-distribution", WRONG[:2])
    rows = list(run([missing], []))
    assert [row.verdict for row in rows] == ["not run"]
    assert "no_such_module" in rows[0].found

    shape = next(entry for entry in WRONG if entry.catch == ("log_det_shape",))
    checked = [shape]

    def stand_in(say: Callable[[str], object]) -> list[Row]:
        say("one map")
        return [row_of(entry, "here", "1") for entry in checked]

    monkeypatch.setattr("benchmarks.checker.run.run", stand_in)
    page = tmp_path / "checker.md"
    assert main(["checker", "-o", str(page)]) == 0
    assert f"| here | 1 | {shape.name} | caught | log_det_shape (forward) |" in page.read_text()
    assert page.read_text() in capsys.readouterr().out
    checked[:] = [shape._replace(catch=("jit",))]
    assert main(["checker"]) == 1
    assert "| MISSED |" in capsys.readouterr().out
