from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case, Contender
from benchmarks.errors import NoBaselineError, OutputsDifferError
from benchmarks.harness.measure import measure
from benchmarks.harness.targets import evaluate, falls_short, slower_than_best
from mathdnn_jax.errors import ConfigurationError

VALUES = np.array([1.0, 2.0])
RATES = {"jax": {"matmul": 10.0, "memory": 100.0}, "torch": {"matmul": 20.0, "memory": 50.0}}


def gives(name: str, calls: list[str], values: np.ndarray = VALUES) -> Contender:
    def run() -> np.ndarray:
        calls.append(name)
        return values

    return run


def fails() -> Any:
    raise RuntimeError("no compiler\nhere")


def case(calls: list[str], **changes: Any) -> Case:
    torch = {"eager": gives("eager", calls), "compiled": gives("compiled", calls)}
    made = Case("batch 2", 2, "images", gives("jax", calls), torch, tolerance=0.0)
    return made._replace(**changes)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, ...]]:
    """The times that are measured, whatever the work."""
    seconds = {"jax": (1.0, 2.0, 4.0), "eager": (3.0, 4.0, 20.0), "compiled": (1.5, 2.5), "peer": (9.0, 9.0, 9.0)}
    monkeypatch.setattr(
        "benchmarks.harness.measure.interleaved", lambda turns, _: {name: seconds[name] for name in turns}
    )
    return seconds


def test_outputs_are_compared_before_anything_is_repeated() -> None:
    calls: list[str] = []
    with pytest.raises(OutputsDifferError, match="eager"):
        measure(case(calls, torch={"eager": gives("eager", calls, VALUES + 1e-3)}), 3, "f32")
    assert calls == ["jax", "eager"]
    calls.clear()
    with pytest.raises(OutputsDifferError, match="jax is off by"):
        measure(case(calls, jax=gives("jax", calls, VALUES + 1e-3), truth=lambda: VALUES), 3, "f32")
    with pytest.raises(OutputsDifferError):
        measure(case(calls, others={"peer": gives("peer", calls, VALUES[:1])}, tolerance=None), 3, "f32")
    calls.clear()
    measure(case(calls), 3, "f32", quick=True)
    assert calls == ["jax", "eager", "compiled"] + [name for name in ("jax", "eager", "compiled") for _ in "ab"] + [
        "jax", "eager", "compiled", "eager", "compiled", "jax", "compiled", "jax", "eager"
    ]  # fmt: skip


def test_figures_from_known_times(times: dict[str, Any]) -> None:
    row = measure(case([], others={"peer": gives("peer", [])}), 3, "f32")
    jax, compiled = row["contenders"]["jax"], row["contenders"]["compiled"]
    assert [figures["kind"] for figures in row["contenders"].values()] == ["jax", "torch", "torch", "other"]
    assert (jax["median_s"], jax["least_s"], jax["greatest_s"], jax["items_per_s"]) == (2.0, 1.0, 4.0, 1.0)
    assert row["contenders"]["eager"]["ratio"] == {"median": 3.0, "least": 2.0, "greatest": 5.0}
    # With two samples only, the ratios are those of the first two rounds.
    assert compiled["ratio"] == {"median": 1.375, "least": 1.25, "greatest": 1.5}
    assert row["best"] == "compiled"
    assert row["disturbed"]
    times.update(jax=(1.0, 1.3, 1.1), eager=(2.0, 2.5, 2.0), compiled=(2.5, 2.5))
    row = measure(case([]), 3, "f32")
    assert row["best"] == "eager"
    assert not row["disturbed"]


def test_jax_may_be_sampled_less_often_too(times: dict[str, Any]) -> None:
    times["jax"] = (1.0, 2.0)
    contenders = measure(case([]), 3, "f32")["contenders"]
    assert contenders["eager"]["ratio"] == {"median": 2.5, "least": 2.0, "greatest": 3.0}


def test_contenders_that_cannot_run_are_reported_with_the_reason() -> None:
    row = measure(case([], torch={"eager": gives("eager", []), "compiled": fails}, unable={"zuko": "absent"}), 1, "f32")
    assert row["unable"] == {"zuko": "absent", "compiled": "RuntimeError: no compiler"}
    assert row["contenders"].keys() == {"jax", "eager"}
    with pytest.raises(NoBaselineError, match="eager: RuntimeError: no compiler"):
        measure(case([], torch={"eager": fails}), 1, "f32")
    with pytest.raises(RuntimeError):
        measure(case([], jax=fails), 1, "f32")
    with pytest.raises(ConfigurationError, match="share a name"):
        measure(case([], others={"eager": gives("eager", [])}), 1, "f32")


def test_floors_shares_and_targets(times: dict[str, Any]) -> None:
    row = measure(case([], flops=30.0, least_bytes=50.0), 3, "f32")
    found = evaluate(row, RATES, {"best": 1.3, "eager": 3.5, "limit": 0.75, "CUDA graphs": 1.0})
    # The better framework's rate counts: 30 at 20 per second takes longer than 50 bytes at 100.
    assert found["floor_s"] == 1.5
    assert found["contenders"]["jax"]["share"] == 0.75
    assert found["contenders"]["eager"]["share"] == 0.375
    assert {name: target["met"] for name, target in found["targets"].items()} == {
        "best": True, "eager": False, "limit": True, "CUDA graphs": None
    }  # fmt: skip
    assert found["targets"]["eager"]["reached"] == 3.0
    assert falls_short(found)
    assert not slower_than_best(found)
    assert not falls_short(evaluate(row, RATES, {"best": 1.3}))
    assert evaluate({**row, "least_bytes": 500.0}, RATES, {})["floor_s"] == 5.0
    assert evaluate({**row, "limit": "memory"}, RATES, {})["floor_s"] == 0.5
    times["jax"] = (5.0, 5.0, 5.0)
    slow = evaluate(measure(case([]), 3, "f32"), RATES, {})
    assert slow["floor_s"] is None
    assert slower_than_best(slow)
    assert falls_short(slow)
