"""The rules for a GPU, where those for a CPU would be too strict, and what they still refuse."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case  # noqa: E402
from benchmarks.errors import OutputsDifferError  # noqa: E402
from benchmarks.frameworks import on_torch  # noqa: E402
from benchmarks.gpu.certificates import DEVICE_FACTOR, _summary  # noqa: E402
from benchmarks.gpu.identities import ORDER, REHEARSED, SPARE, Comparison, identities, outcome  # noqa: E402
from benchmarks.gpu.process import as_line  # noqa: E402
from benchmarks.harness.measure import measure  # noqa: E402


def _certificate(rms: float = 6.5, **layer: Any) -> dict[str, Any]:
    about = {
        "layer": "fc1_0",
        "passed": False,
        "failures": [f"JAX's rms error {rms:g} exceeds 1.5 × PyTorch's 1"],
        "values": 64,
        "jax_float32_error": {"rms": rms, "max": rms},
        "torch_float32_error": {"rms": 1.0, "max": 1.0},
    }
    layers = [about | {"layer": "conv1_0", "passed": True, "failures": []}, about | layer]
    return {"passed": False, "round_trip_bit_exact": True, "checkpoint": {"parameters": 9}, "layers": layers}


def test_on_a_gpu_only_sums_in_another_order_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a CPU the rule of the certificates applies.
    assert not _summary(_certificate())["passed"]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = _summary(_certificate())
    assert (found["passed"], found["strict"], found["departing"]) == (True, False, ["fc1_0"])
    assert found["rms_over_torch"] == {"conv1_0": 6.5, "fc1_0": 6.5}
    assert _summary(_certificate(DEVICE_FACTOR))["passed"]
    wrong = [
        _certificate(1.01 * DEVICE_FACTOR),
        _certificate(failures=["in float64 the networks differ by 1e-3, allowed 1e-12"]),
        _certificate(failures=["3 values are NaN or infinite"]),
        _certificate() | {"round_trip_bit_exact": False},
    ]
    assert [_summary(certificate)["passed"] for certificate in wrong] == [False] * 4


def _case(**more: Any) -> Case:
    truth = np.ones(3)
    ours, theirs = (np.float32(1 + k * 2.0**-20) * np.ones(3, np.float32) for k in (10, 1))
    return Case("x", 3, "numbers", lambda: ours, {"eager": lambda: theirs}, truth=lambda: truth)._replace(**more)


def test_on_a_gpu_the_errors_of_correct_kernels_may_differ_by_a_larger_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OutputsDifferError, match="off by"):
        measure(_case(), 2, "f32", quick=True)
    monkeypatch.setattr(on_torch, "device", lambda: torch.device("cuda"))
    for name in ("forget_peak", "peak_bytes", "device_seconds"):
        monkeypatch.setattr(on_torch, name, lambda *_: None)
    assert measure(_case(), 2, "f32", quick=True)["contenders"]["jax"]["error"] == pytest.approx(10 * 2.0**-20)
    with pytest.raises(OutputsDifferError, match="off by"):
        measure(_case(jax=lambda: np.float32(1 + 50 * 2.0**-20) * np.ones(3, np.float32)), 2, "f32", quick=True)


def test_a_failing_count_does_not_cost_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> Any:
        raise RuntimeError("INTERNAL: not on this device")

    monkeypatch.setattr(on_torch, "device_seconds", refuses)
    exact = np.ones(3, np.float32)
    found = measure(_case(jax=lambda: exact, torch={"eager": lambda: exact}, lowered=refuses), 2, "f32", quick=True)
    assert found["contenders"].keys() == {"jax", "eager"}
    assert (found["xla"], found["contenders"]["eager"]["device_s"]) == (None, None)
    assert found["unable"] == {
        "eager, CUDA events": "RuntimeError: INTERNAL: not on this device",
        "XLA's count": "RuntimeError: INTERNAL: not on this device",
    }


def _holds(precision: str) -> Iterator[Comparison]:
    del precision
    yield Comparison("z = f(x)", np.ones(3), np.ones(3), 0.1)


def _raises(precision: str) -> Iterator[Comparison]:
    yield from _holds(precision)
    raise ValueError("no such solve on this device")


def test_a_model_that_raises_does_not_pass_and_the_others_are_compared() -> None:
    subjects = {"nice": _raises, "small_net": _holds, "glow": _holds, "real_nvp": _holds}
    found = [value for _, value in identities(rehearsal=True, left=lambda: 100.0, subjects=subjects)]
    assert [(entry["of"], entry["precision"]) for entry in found if entry["passed"]] == [*ORDER[:REHEARSED]]
    failed = [entry for entry in found if not entry["passed"]]
    assert [(entry["of"], entry["identity"], entry["values"]) for entry in failed] == [("nice", "raised", 0)] * 3
    assert failed[0]["error"] == "ValueError: no such solve on this device"
    left = iter([SPARE, SPARE, SPARE - 1])
    found = [value for _, value in identities(rehearsal=True, left=lambda: next(left), subjects=subjects)]
    assert {entry["of"] for entry in found} == {"nice", "small_net"}


@pytest.mark.parametrize(("expected", "bound"), [([np.nan], 0.1), ([np.inf], 0.1), ([1.0], np.nan), ([1.0], np.inf)])
def test_a_truth_or_a_bound_that_is_not_finite_never_passes(expected: list[float], bound: float) -> None:
    found = outcome(Comparison("x", np.ones(1), np.asarray(expected), bound))
    assert (found["passed"], found["rms_error"]) == (False, None)
    json.dumps(found, allow_nan=False)


def test_every_kind_of_finding_can_be_written() -> None:
    found = {"a": np.float32(0.5), "b": [math.nan, (np.int64(3), True)], 4: None, "c": {"d": np.inf}, "e": object}
    before = copy.copy(found)
    assert json.loads(as_line(found)) == {
        "a": 0.5, "b": [None, [3, True]], "4": None, "c": {"d": None}, "e": "<class 'object'>"
    }  # fmt: skip
    assert as_line(found).endswith("\n")
    assert found == before
