from __future__ import annotations

import pytest

from benchmarks.limit import Limit, best, matmul_rates
from benchmarks.timing import interleaved, ratios, spread, timed


class Clock:
    """A clock that only the work moves."""

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
    assert order == ["a", "b", "a", "b", "a", "b"]
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


def test_ratios_are_of_neighbours() -> None:
    # A machine that is ten times slower in the second round must not show in the ratio.
    assert ratios((2.0, 20.0), (1.0, 10.0)) == (2.0, 2.0)
    with pytest.raises(ValueError, match="zip"):
        ratios((1.0, 2.0), (1.0,))


def test_matmul_rate_is_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"jax": (0.5, 0.25), "torch": (1.0, 2.0)}
    monkeypatch.setattr("benchmarks.limit.interleaved", lambda *_: times)
    rates = matmul_rates(Limit(10, {}), 2)
    assert rates == {"jax": 2 * 1000 / 0.25, "torch": 2 * 1000 / 1.0}
    assert best(rates, {"jax": 1.0, "torch": 1e9}) == {"jax": 8000.0, "torch": 1e9}
