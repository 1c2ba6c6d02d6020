"""Profiles of a GPU: each kernel is counted once, and rows that fall short are profiled in their own size."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case, Settings, Workload  # noqa: E402
from benchmarks.errors import ProfileError  # noqa: E402 (they need torch)
from benchmarks.frameworks.costs import Cost, Profile  # noqa: E402
from benchmarks.frameworks.profile_jax import _instructions  # noqa: E402
from benchmarks.frameworks.profile_torch import _kernels  # noqa: E402
from benchmarks.gpu.profiles import profiles  # noqa: E402

QUICK = Settings(quick=True, modes=(), stand_in=True)


def _cases(settings: Settings) -> Iterator[Case]:
    for batch in settings.batches or (2,):
        yield Case(f"batch {batch}", 2, "images", lambda: np.ones(3), {"eager": lambda: np.ones(3)})


@pytest.fixture(autouse=True)
def _pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = Profile(1.5, (Cost("dot", 1.0, 2),))

    def of_jax(case: Case) -> Profile:
        if case.label == "batch 3":
            raise ProfileError("it saw no GPU")
        return profile

    def of_torch(case: Case) -> Iterator[tuple[str, Profile]]:
        del case
        yield "PyTorch eager", profile

    workload = Workload("made", "made for this test", _cases)
    monkeypatch.setattr("benchmarks.gpu.profiles.load_workload", lambda _: workload)
    monkeypatch.setattr("benchmarks.gpu.profiles.profile_jax", of_jax)
    monkeypatch.setattr("benchmarks.gpu.profiles.profile_torch", of_torch)


@pytest.mark.long
def test_rows_that_fall_short_are_profiled_in_their_size_by_one_profiler_after_the_other() -> None:
    short = [["made", "batch 64", "f32"], ["made", "9 images", "f32"], ["made", "batch 3", "f32"]]
    found = [value for _, value in profiles(short, QUICK, lambda: 100.0)]
    assert [(entry["case"], entry.get("of"), entry.get("error")) for entry in found] == [
        ("batch 64", "JAX", None),
        ("9 images", None, "PlanError: made has no case 9 images here"),
        ("batch 3", None, "ProfileError: it saw no GPU"),
        ("batch 64", "PyTorch eager", None),
        ("9 images", None, "PlanError: made has no case 9 images here"),
        ("batch 3", "PyTorch eager", None),
    ]
    assert found[0]["costs"] == [{"operation": "dot", "seconds": 1.0, "times": 2}]
    assert "Traceback" in found[2]["traceback"]
    assert list(profiles(short, QUICK, lambda: 1.0)) == []


def _event(name: str, nanoseconds: float, **stats: str) -> Any:
    return SimpleNamespace(name=name, duration_ns=nanoseconds, stats=stats.items())


def test_kernels_of_the_streams_of_a_gpu_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gemm = _event("sm90_gemm", 50.0, hlo_op="dot.3", hlo_module="jit_step")
    graph = _event("a kernel of a graph", 7.0)
    streams = [SimpleNamespace(name="Stream #13(Compute)", events=[gemm, graph])]
    again = [SimpleNamespace(name=name, events=[gemm]) for name in ("XLA Ops", "XLA Modules")]
    host = SimpleNamespace(name="/host:CPU", lines=[SimpleNamespace(name="python", events=[gemm])])
    device = SimpleNamespace(name="/device:GPU:0", lines=[*again, *streams])
    found = list(_instructions(SimpleNamespace(planes=[host, device])))
    assert found == [("jit_step", "dot.3", 50.0), ("", "a kernel of a graph", 7.0)]
    assert list(_instructions(SimpleNamespace(planes=[host]))) == [("jit_step", "dot.3", 50.0)]
    # The operations of the CPU are not those of the GPU.
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ProfileError, match="saw no GPU, only /host:CPU"):
        list(_instructions(SimpleNamespace(planes=[host])))


def test_kernels_of_pytorch_are_counted_but_not_the_annotations_around_them() -> None:
    def event(key: str, device: str, annotation: bool) -> Any:
        return SimpleNamespace(
            key=key,
            device_type=SimpleNamespace(name=device),
            is_user_annotation=annotation,
            self_device_time_total=2e6,
            count=3,
        )

    averages = [event("gemm", "CUDA", False), event("Adam.step", "CUDA", True), event("aten::mm", "CPU", False)]
    assert list(_kernels(averages)) == [Cost("gemm", 2.0, 3)]
