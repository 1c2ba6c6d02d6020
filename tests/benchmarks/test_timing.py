from __future__ import annotations

import pytest

from benchmarks.harness.rates import best, machine_rates
from benchmarks.harness.timing import Turn, interleaved, ratios, spread, timed, turn


class Clock:
    """A clock that only the work advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_contenders_take_turns_and_get_their_own_seconds() -> None:
    clock, order = Clock(), list[str]()

    def worker(name: str, durations: list[float]) -> None:
        order.append(name)
        clock.now += durations.pop(0)

    durations = {"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0]}
    seconds = interleaved(
        {"a": lambda: worker("a", durations["a"]), "b": lambda: worker("b", durations["b"])}, 3, clock
    )
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": (1.0, 2.0, 3.0), "b": (10.0, 20.0, 30.0)}


def test_timed_returns_the_value_and_the_seconds() -> None:
    clock = Clock()

    def work() -> str:
        clock.now += 2.5
        return "done"

    assert timed(work, clock) == ("done", 2.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], (3.0, 3.0, 3.0)), ([5.0, 1.0, 2.0], (2.0, 1.0, 5.0)), ([4.0, 1.0, 2.0, 100.0], (3.0, 1.0, 100.0))],
)
def test_spread(values: list[float], expected: tuple[float, float, float]) -> None:
    assert spread(values) == expected


def test_ratios_are_taken_between_neighbours() -> None:
    # A machine that is ten times slower in the second round must not show in the ratio.
    assert ratios((2.0, 20.0), (1.0, 10.0)) == (2.0, 2.0)
    with pytest.raises(ValueError, match="zip"):
        ratios((1.0, 2.0), (1.0,))


def test_rates_come_from_the_fastest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="limits are measured in both frameworks")
    from benchmarks.harness.limits import Limit, measure_limits

    monkeypatch.setattr("benchmarks.harness.limits.interleaved", lambda *_: {"jax": (0.5, 0.25), "torch": (1.0, 2.0)})
    rates = measure_limits({"matmul": Limit(10.0, {}), "memory": Limit(3.0, {})}, 2)
    assert rates == {"jax": {"matmul": 40.0, "memory": 12.0}, "torch": {"matmul": 10.0, "memory": 3.0}}
    later = {"jax": {"matmul": 1.0, "memory": 99.0}, "torch": {"matmul": 1e9, "memory": 0.0}}
    assert best(rates, later) == {"jax": {"matmul": 40.0, "memory": 99.0}, "torch": {"matmul": 1e9, "memory": 3.0}}
    assert machine_rates(rates) == {"matmul": 40.0, "memory": 12.0}


def test_quick_work_is_repeated_and_slow_work_sampled_less_often() -> None:
    assert turn(print, 0.001, 7)[1:] == (20, 7)
    assert turn(print, 0.001, 7, quick=True)[1:] == (1, 7)
    assert turn(print, 1.0, 7)[1:] == (1, 7)
    assert turn(print, 5.0, 7)[1:] == (1, 4)
    assert turn(print, 15.0, 7)[1:] == (1, 3)
    assert turn(print, 15.0, 2)[1:] == (1, 2)
    assert turn(print, 100.0, 7)[1:] == (1, 1)


def test_a_turn_has_several_calls_and_takes_part_in_the_first_rounds() -> None:
    clock, order = Clock(), list[str]()

    def worker(name: str) -> None:
        order.append(name)
        clock.now += 1.5

    turns = {"a": Turn(lambda: worker("a"), 1, 2), "b": Turn(lambda: worker("b"), 2, 1)}
    assert interleaved(turns, 2, clock) == {"a": (1.5, 1.5), "b": (1.5,)}
    assert order == ["a", "b", "b", "a"]
