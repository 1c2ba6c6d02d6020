from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compare import Contender, compare
from benchmarks.errors import OutputsDifferError

TRUTH = np.array([1.0, 2.0])


def contender(name: str, calls: list[str], output: np.ndarray) -> Contender:
    def out() -> np.ndarray:
        calls.append(f"{name} output")
        return output

    return Contender(lambda: calls.append(f"{name} first"), lambda: calls.append(f"{name} work"), out)


def test_outputs_are_compared_before_anything_is_repeated() -> None:
    calls: list[str] = []
    right, wrong = np.array([1.0, 2.0], np.float32), np.array([1.0, 2.1], np.float32)
    with pytest.raises(OutputsDifferError):
        compare(contender("jax", calls, right), contender("torch", calls, wrong), TRUTH, 3)
    assert calls == ["jax first", "torch first", "jax output", "torch output"]

    calls.clear()
    figures = compare(contender("jax", calls, right), contender("torch", calls, right), TRUTH, 3)
    assert calls[4:] == ["jax work", "torch work"] * 3
    assert figures.keys() == {"jax", "torch", "torch_over_jax", "disturbed"}


@pytest.mark.parametrize(
    ("jax", "torch", "disturbed"),
    [((1.0, 1.3), (2.0, 2.5), False), ((1.0, 1.31), (2.0, 2.0), True), ((1.0, 1.0), (2.0, 2.7), True)],
)
def test_a_disturbed_run_says_so(
    monkeypatch: pytest.MonkeyPatch, jax: tuple[float, ...], torch: tuple[float, ...], disturbed: bool
) -> None:
    monkeypatch.setattr("benchmarks.compare.interleaved", lambda *_: {"jax": jax, "torch": torch})
    output = TRUTH.astype(np.float32)
    assert compare(contender("jax", [], output), contender("torch", [], output), TRUTH, 2)["disturbed"] == disturbed


def test_figures_from_known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"jax": (1.0, 2.0, 4.0), "torch": (3.0, 4.0, 20.0)}
    monkeypatch.setattr("benchmarks.compare.interleaved", lambda *_: times)
    output = TRUTH.astype(np.float32)
    figures = compare(contender("jax", [], output), contender("torch", [], output), TRUTH, 3)
    assert figures["torch_over_jax"] == {"median": 3.0, "least": 2.0, "greatest": 5.0}
    jax = figures["jax"]
    assert jax["seconds"] == [1.0, 2.0, 4.0]
    assert (jax["median_s"], jax["least_s"], jax["greatest_s"]) == (2.0, 1.0, 4.0)
    assert jax["items_per_s"] == 1.0
    assert figures["torch"]["items_per_s"] == 0.5
    assert jax["greatest_error"] == 0.0
    assert jax["first_call_s"] > 0
