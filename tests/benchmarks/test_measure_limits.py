"""Measuring a case when time is short, or when a contender does only part of the work, and the comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case, Portion  # noqa: E402
from benchmarks.errors import OutputsDifferError  # noqa: E402 (they need torch)
from benchmarks.harness.measure import BEGINNING, COMPILING, TimeAllowed, measure  # noqa: E402
from benchmarks.harness.timing import turn  # noqa: E402


def _case(**more: Any) -> Case:
    made = Case("c", 8, "images", lambda: np.ones(3), {"eager": lambda: torch.ones(3)}, tolerance=0.0)
    return made._replace(**more)


def test_a_contender_without_enough_time_is_reported_and_not_begun() -> None:
    def never() -> Any:
        raise AssertionError("it was begun")

    case = _case(torch={"eager": lambda: torch.ones(3), "compiled": never})
    row = measure(case, 1, "f32", quick=True, allowed=TimeAllowed(left=lambda: COMPILING - 1))
    assert row["unable"] == {"compiled": f"not begun: {COMPILING - 1:.0f} s were left"}
    assert row["best"] == "eager"
    row = measure(_case(), 1, "f32", quick=True, allowed=TimeAllowed(left=lambda: BEGINNING - 1))
    assert (row["best"], [*row["contenders"]], [*row["unable"]]) == (None, ["jax"], ["eager"])


def test_a_portion_is_compared_with_its_part_and_its_time_scaled_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"jax": (1.0,), "eager": (2.0,), "one by one": (5.0,)}
    monkeypatch.setattr(
        "benchmarks.harness.measure.interleaved", lambda turns, repeat: {name: times[name] for name in turns}
    )
    portions = {"one by one": Portion(4, lambda results: (results[0][:2],))}
    case = _case(jax=lambda: np.arange(8.0), torch={"eager": lambda: torch.arange(8.0)}, portions=portions)
    row = measure(case._replace(others={"one by one": lambda: torch.arange(2.0)}), 1, "f32")
    alone = row["contenders"]["one by one"]
    assert (alone["median_s"], alone["ratio"]["median"], alone["portion"]) == (20.0, 20.0, 4)
    assert "portion" not in row["contenders"]["eager"]
    with pytest.raises(OutputsDifferError):
        measure(case._replace(others={"one by one": lambda: torch.arange(1.0, 3.0)}), 1, "f32")


def test_every_result_is_compared_with_the_truth() -> None:
    both = (np.ones(3), np.zeros(3))
    case = _case(jax=lambda: both, torch={"eager": lambda: both}, tolerance=None)
    assert measure(case._replace(truth=lambda: both), 1, "f32", quick=True)["contenders"]["jax"]["error"] == 0.0
    with pytest.raises(OutputsDifferError, match="jax computed 2 arrays, PyTorch in float64 1"):
        measure(case._replace(truth=lambda: np.ones(3)), 1, "f32", quick=True)


def test_slow_work_is_sampled_as_often_as_its_budget_allows() -> None:
    assert turn(print, 1.0, 7, budget=4.0)[1:] == (1, 4)
    assert turn(print, 5.0, 7, budget=4.0)[1:] == (1, 1)
    assert turn(print, 0.1, 7, budget=4.0)[1:] == (1, 7)


def test_samples_take_no_more_than_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = []

    def watched(work: Any, seconds: float, repeat: int, quick: bool, budget: float) -> Any:
        budgets.append(budget)
        return turn(work, seconds, repeat, quick, budget)

    monkeypatch.setattr("benchmarks.harness.measure.turn", watched)
    measure(_case(), 1, "f32", quick=True, allowed=TimeAllowed(budget=4.0, left=lambda: 100.0))
    measure(_case(), 1, "f32", quick=True, allowed=TimeAllowed(budget=4.0, left=lambda: 10.0))
    # Two contenders may take four seconds each; then together six of the ten that are left.
    assert budgets == [4.0, 4.0, 3.0, 3.0]
