"""The plan of a run on a GPU: its steps and their order, and the existence of everything that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.case import Case, Settings  # noqa: E402
from benchmarks.errors import PlanError  # noqa: E402
from benchmarks.frameworks import on_torch  # noqa: E402
from benchmarks.frameworks.cuda import MODES  # noqa: E402
from benchmarks.gpu.page import targets_of  # noqa: E402
from benchmarks.gpu.plan import PLAN, Step, chosen, rehearsed  # noqa: E402
from benchmarks.workloads import density_1d, inpainting, load_workload  # noqa: E402
from benchmarks.workloads.gpu_targets import TARGETS, aims  # noqa: E402


def test_steps_have_unique_names_and_workloads_that_exist() -> None:
    assert len({step.id for step in PLAN}) == len(PLAN)
    for step in PLAN:
        assert (step.kind == "rows") == bool(step.workload)
        assert set(step.modes) <= set(MODES)
        assert 0 < step.least_s <= step.most_s
        if step.workload:
            assert step.precision in load_workload(step.workload).precisions


def test_ceilings_and_parity_come_first_then_targets_then_causes() -> None:
    order = [step.id for step in PLAN]
    assert order[:3] == ["ceilings", "certificates", "identities"]
    aimed_at = {target.workload for target in TARGETS}
    last = max(k for k, step in enumerate(PLAN[: order.index("profiles")]) if step.workload in aimed_at)
    # All steps until then have a target, in float32, and all workloads with targets are among them.
    assert {step.workload for step in PLAN[3 : last + 1]} == aimed_at
    assert {step.precision for step in PLAN[3 : last + 1]} == {"f32"}
    assert all(k > last for k, step in enumerate(PLAN) if step.environment)
    # Their guaranteed times add up to four of the eight minutes of a run.
    assert sum(step.least_s for step in PLAN[: last + 1]) < 240


def _labels(step: Step, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The cases that a step's workload has on a GPU, where sizes and epochs differ from those on a CPU."""
    monkeypatch.setattr(inpainting, "on_cpu", lambda: False)
    monkeypatch.setattr(density_1d, "EPOCHS", density_1d.FEW_EPOCHS)
    settings = Settings(step.batches, modes=(), checkpoint=None)
    for case in load_workload(step.workload).cases(settings):
        assert isinstance(case, Case)
        yield case.label


@pytest.mark.parametrize("name", ["nice-epoch-128", "flow-1d", "inpainting", "inpainting-long", "small-net-folded"])
def test_the_cases_named_by_the_plan_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = chosen([name])
    labels = list(_labels(step, monkeypatch))
    assert set(step.cases) <= set(labels)
    aimed_at = {target.case for target in TARGETS if target.workload == step.workload}
    assert aimed_at <= set(labels) or name == "inpainting-long"


def test_the_targets_are_in_float32_and_in_the_plan() -> None:
    assert aims("nice-log-prob", "batch 8192", "f32") == {"limit": 0.7, "compiled, max-autotune": 1.0}
    assert aims("nice-log-prob", "batch 8192", "tf32") == {}
    for target in TARGETS:
        steps = [step for step in PLAN if step.workload == target.workload and step.precision == "f32"]
        # A contender that is never compiled would never be compared with.
        mode = {"compiled": "default", "compiled, max-autotune": "max-autotune"}.get(target.against)
        assert any(mode is None or mode in step.modes for step in steps)


def test_profiles_are_made_without_graphs_that_hide_the_kernels() -> None:
    (step,) = chosen(["profiles"])
    assert step.environment["XLA_FLAGS"] == "--xla_gpu_enable_command_buffer="


def test_steps_are_chosen_in_the_order_of_the_plan() -> None:
    assert [step.id for step in chosen(["claims", "ceilings"])] == ["ceilings", "claims"]
    assert chosen() == PLAN
    with pytest.raises(PlanError, match="there is no step nice; choose from ceilings, certificates"):
        chosen(["nice"])


def test_a_dry_run_has_every_step_and_no_flag_that_a_cpu_lacks() -> None:
    steps = [rehearsed(step) for step in PLAN]
    assert [step.id for step in steps] == [step.id for step in PLAN]
    assert not [step for step in steps if "gpu" in step.environment.get("XLA_FLAGS", "")]
    assert {step.modes for step in steps} == {step.modes for step in PLAN}


def test_modes_with_graphs_need_a_stand_in_on_a_cpu() -> None:
    every = Settings(modes=MODES)
    assert on_torch.compile_modes(every) == {"compiled": "default"}
    assert [*on_torch.compile_modes(every._replace(stand_in=True))] == [
        "compiled", "compiled, reduce-overhead", "compiled, max-autotune"
    ]  # fmt: skip


def test_the_page_lists_the_targets() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "gpu.md").read_text(encoding="utf-8")
    for target in TARGETS:
        work, against, aim, _, _ = targets_of(target, None)
        assert f"| {work} | {against} | {aim} |" in page
