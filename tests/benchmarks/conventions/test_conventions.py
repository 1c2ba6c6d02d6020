"""The command that certifies wrong conventions: a few of them, the page, and all of them where time allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="wrong conventions are those of a JAX network beside a PyTorch network")

from benchmarks.cli import main
from benchmarks.conventions.planted import PLANTED, Planted
from benchmarks.conventions.right import IN_BFLOAT16, RIGHT
from benchmarks.conventions.run import Row, row_of, run
from benchmarks.conventions.table import conventions_page, is_wrong

# Many small programs, each run once.
pytestmark = pytest.mark.usefixtures("quick_compilation")

QUICK = ("CNN: padding SAME with stride 2", "transformer: q and k exchanged")
SEVERAL = ("U-Net: nearest for linear",)
"""Those that are the same function as another mistake, on these inputs."""


@pytest.mark.parametrize(
    "planted",
    [pytest.param(one, marks=() if one.name in QUICK else pytest.mark.long, id=one.name) for one in PLANTED],
)
def test_the_place_and_the_cause_are_right(planted: Planted) -> None:
    row = row_of(planted)
    assert row.place_said == planted.place
    assert row.cause_right == ("one of several" if planted.name in SEVERAL else "yes"), row.text


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one == "transformer" else pytest.mark.long) for one in RIGHT]
)
def test_a_right_port_raises_no_alarm(name: str) -> None:
    (row, *more) = run((), {name: RIGHT[name]}, [name] if name in IN_BFLOAT16 else [])
    assert len(more) == (name in IN_BFLOAT16)
    assert all(one.place_right == "yes" and not is_wrong(one) for one in (row, *more))


def test_there_are_enough_and_each_is_a_mistake() -> None:
    assert len({one.name for one in PLANTED}) == len(PLANTED) >= 40
    assert len(RIGHT) >= 20
    assert len(IN_BFLOAT16) >= 5
    assert set(IN_BFLOAT16) <= set(RIGHT)
    assert all(one.torch != one.jax for one in PLANTED)
    assert {one.name.partition(":")[0] for one in PLANTED} == {"CNN", "U-Net", "transformer"}


GOOD = Row("CNN: ε", "bn1", "bn1", "yes", "eps", "eps", "yes", "JAX takes eps 0.001", 1.25)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 0),
        ({"cause_right": "one of several"}, 0),
        ({"said": "", "cause_right": "none"}, 0),
        ({"said": "gelu", "cause_right": "NO"}, 1),
        ({"place_said": "", "place_right": "none"}, 1),
        ({"place": "", "place_said": "bn1", "place_right": "NO"}, 1),
    ],
)
def test_the_page_and_the_status(
    change: dict[str, Any],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = GOOD._replace(**change)

    def stand_in(say: Callable[[str], object]) -> list[Row]:
        say(row.name)
        return [row]

    monkeypatch.setattr("benchmarks.conventions.run.run", stand_in)
    page = tmp_path / "conventions.md"
    assert main(["conventions", "-o", str(page)]) == status
    assert page.read_text() in capsys.readouterr().out
    assert row.name in page.read_text()


def test_the_page_counts_what_was_said() -> None:
    rows = [GOOD, GOOD._replace(cause_right="none"), GOOD._replace(place="", place_right="NO")]
    machine = {"versions": {"jax": "1"}, "cpu": "a", "cores": 2, "backend": "cpu", "measured": "today"}
    page = conventions_page(rows, machine)
    assert "Of 2 planted mistakes, the place: 2 yes; the cause: 1 yes, 1 none." in page
    assert "Of 1 right ports, 1 raised a false alarm." in page
    assert "| CNN: ε | bn1 | bn1 | yes | eps | eps | yes | JAX takes eps 0.001 | 1.2 |" in page
