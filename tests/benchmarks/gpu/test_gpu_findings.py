"""The growing results: rows that are measured again, rows that fall short, resumed runs, and the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main
from benchmarks.errors import ResultsError
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.page import short_table, summary, tables
from benchmarks.gpu.plan import PLAN, chosen
from benchmarks.harness.results import read_results, write_results
from benchmarks.reports.markdown import insert
from benchmarks.workloads.gpu_targets import TARGETS, aims

RATES = {"matmul": 4e13, "convolution": 3e13, "memory": 3e12}
ABOUT = {
    "machine": {
        "cpu": "A Processor", "cores": 16, "os": "Linux", "backend": "gpu", "device": "A Card",
        "versions": {"jax": "1.2"}, "environment": {}, "measured": "2026-01-02T03:04:05+00:00",
    },
    "card": {"name": "A Card", "driver_version": "580"},
    "torch": {"device": "A Card"},
    "threads": {"jax": 16, "torch": 16},
    "precisions": {"f32": {"dtype": "float32", "jax_matmul": "highest", "torch_matmul": "highest"}},
    "agreement": "they agree",
}  # fmt: skip


def contender(kind: str, seconds: float, ratio: float | None = None, first: float = 9.0) -> dict[str, Any]:
    figures = {"kind": kind, "median_s": seconds, "items_per_s": 8 / seconds, "first_call_s": first, "error": 0.0}
    return figures if ratio is None else {**figures, "ratio": {"median": ratio, "least": ratio, "greatest": ratio}}


def row(workload: str, case: str, precision: str = "f32", **others: float) -> dict[str, Any]:
    contenders = {"jax": contender("jax", 2.0)}
    contenders |= {
        name.replace("_tuned", ", max-autotune"): contender("torch", 2 * ratio, ratio) for name, ratio in others.items()
    }
    torch = [name for name in contenders if name != "jax"]
    return {
        "workload": workload,
        "case": case,
        "backend": "gpu",
        "precision": precision,
        "unit": "images",
        "contenders": contenders,
        "best": min(torch, key=lambda name: contenders[name]["median_s"], default=None),
        "unable": {},
        "flops": 4e13,
        "least_bytes": None,
        "limit": "matmul",
        "why": "",
        "disturbed": False,
        "aims": aims(workload, case, precision),
    }


@pytest.fixture
def findings() -> Findings:
    """A run that measured some rows, certified one network and compared two identities."""
    found = Findings("python -m benchmarks gpu", PLAN)
    found.about(ABOUT)
    found.add("limits", {"f32": {"jax": RATES, "torch": RATES, "sizes": {}}})
    found.add("row", row("nice-log-prob", "batch 8192", eager=2.0, compiled=1.5))
    found.add("row", row("vae-step", "batch 128", eager=20.0))
    found.add("row", {**row("gan-step", "batch 128"), "error": "ValueError: no\nmore", "contenders": {}})
    found.add("certificate", {"model": "nice", "passed": True, "strict": True, "layers": 32, "values": 1000})
    found.add("certificate", {"model": "small-net", "passed": True, "strict": False, "layers": 8, "values": 500})
    found.add("left out", {"workload": "flow-1d", "case": "10 epochs, shuffled", "reason": "3 s were left"})
    found.add("claim", {"id": "F5.log_det", "passed": True})
    found.add("claims", {"there_are": 91, "asked": 91, "decided": 1})
    about = {"precision": "f32", "values": 64, "bound": 1e-5}
    found.add("identity", {"of": "nice", "identity": "z = f(x)", "passed": True, "rms_error": 1e-6, **about})
    found.add("identity", {"of": "glow", "identity": "z = f(x)", "passed": False, "rms_error": 2e-5, **about})
    for step in PLAN[:3]:
        found.ended(step, "done", None, seconds=1.0)
    found.ended(PLAN[3], "crashed", "its process ended by signal SIGABRT\nlast line", seconds=1.0)
    return found


def test_shares_refer_to_the_measured_ceiling(findings: Findings) -> None:
    first = findings.results["rows"][0]
    assert first["contenders"]["jax"]["share"] == 0.5
    assert first["targets"]["limit"] == {"aim": 0.7, "reached": 0.5, "met": False}
    assert first["targets"]["compiled, max-autotune"]["met"] is None
    without = Findings("the command", [])
    without.add("row", row("nice-log-prob", "batch 8192", eager=2.0))
    assert without.results["rows"][0]["contenders"]["jax"]["share"] is None


def test_a_row_that_is_measured_again_has_the_contenders_of_both_and_its_first_compilation(findings: Findings) -> None:
    again = row("nice-log-prob", "batch 8192", compiled_tuned=1.1, eager=2.5)
    for figures in again["contenders"].values():
        figures["first_call_s"] = 0.5
    findings.add("row", again)
    assert len(findings.results["rows"]) == 3
    first = findings.results["rows"][0]
    assert first["contenders"].keys() == {"jax", "eager", "compiled", "compiled, max-autotune"}
    assert first["contenders"]["eager"]["ratio"]["median"] == 2.5
    assert first["contenders"]["jax"]["first_call_s"] == 9.0
    assert first["contenders"]["compiled, max-autotune"]["first_call_s"] == 0.5
    assert first["targets"]["compiled, max-autotune"] == {"aim": 1.0, "reached": 1.1, "met": True}
    # The best is taken over all contenders: 1.1 times JAX's time, after 1.5 in the earlier row.
    assert first["best"] == "compiled, max-autotune"
    slower = row("nice-log-prob", "batch 8192", eager=2.5)
    findings.add("row", {**slower, "unable": {"compiled": "not begun: 3 s were left", "other": "no"}})
    first = findings.results["rows"][0]
    assert (first["best"], first["unable"]) == ("compiled, max-autotune", {"other": "no"})
    # A later failure does not remove what was measured.
    findings.add("row", {**again, "error": "RuntimeError: no memory"})
    assert "error" not in findings.results["rows"][0]
    findings.add("row", row("gan-step", "batch 128", eager=12.0))
    assert "error" not in findings.results["rows"][2]


def test_rows_that_fall_short_are_profiled_and_failures_reported(findings: Findings) -> None:
    assert findings.short() == [["nice-log-prob", "batch 8192", "f32"]]
    assert [line.splitlines()[0] for line in findings.failures()] == [
        f"step {PLAN[3].id}: its process ended by signal SIGABRT",
        "gan-step batch 128: ValueError: no",
        "identities: glow did not pass",
    ]


def test_a_resumed_run_keeps_earlier_results_and_reports_another_card(findings: Findings, tmp_path: Path) -> None:
    write_results(tmp_path / "a.json", findings.results)
    later = Findings("again", PLAN[4:6], before=read_results(tmp_path / "a.json"))
    later.about(ABOUT)
    assert "continued_on" not in later.results["gpu"]
    later.about({**ABOUT, "card": {"name": "Another"}})
    assert later.results["gpu"]["continued_on"][0]["card"] == {"name": "Another"}
    assert later.results["card"] == {"name": "A Card", "driver_version": "580"}
    assert later.results["gpu"]["steps"][PLAN[0].id]["status"] == "done"
    assert len(later.results["rows"]) == 3


def test_the_page_shows_which_targets_are_met_missed_and_not_measured(findings: Findings) -> None:
    page = tables(findings.results)
    for expected in (
        "## A Card, 2026-01-02",
        "| f32 | 40 \\| 40 | 30 \\| 30 | 3,000 \\| 3,000 |",
        "| NICE log p, batch 8192 | the measured ceiling | 70% | 50% | missed |",
        "| NICE log p, batch 8192 | compiled, max-autotune | 1 × | not measured |  |",
        "| an epoch of the VAE | eager | 10 × | 20 × | met |",
        "| gan-step | batch 128 | f32 |  |  |  |  |  | FAILED: ValueError: no |",
        "- certificates: 2 of 2 networks pass, in 40 layers and 1,500 numbers; 1 of them by the rule for sums",
        "- identities in f32: 1 of 2 hold, on 128 numbers; the closest is at 200% of its bound",
        "- left out for lack of time: flow-1d 10 epochs, shuffled",
        "- DOES NOT HOLD: glow in f32: z = f(x)",
        "- claims: 1 of 1 hold as stated (there are 91)",
        f"| {PLAN[3].id} | crashed | its process ended by signal SIGABRT |",
        f"| {PLAN[-1].id} | not begun | the run ended before this step |",
        "card       name A Card, driver_version 580",
    ):
        assert expected in page
    assert summary(findings.results).startswith("A Card, 2026-01-02: 3 steps done, 1 steps crashed")
    assert "| NICE log p, batch 8192 | 4 images/s | eager 2; compiled 1.5 | 50% |" in short_table(findings.results)


def test_the_results_of_a_run_that_was_killed_at_once_can_be_shown() -> None:
    nothing = Findings("python -m benchmarks gpu", chosen(["claims"])).results
    assert "an unknown device" in tables(nothing)
    assert tables(nothing).count("not measured") == len(TARGETS)
    assert "1 steps not begun" in summary(nothing)


def test_tables_are_inserted_into_their_places(
    findings: Findings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, page = tmp_path / "gpu.json", tmp_path / "page.md"
    write_results(results, findings.results)
    page.write_text("# A\n\n<!-- begin gpu summary -->\nold\n<!-- end gpu summary -->\n\nafter\n")
    assert main(["report", str(results), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# A\n\n<!-- begin gpu summary -->\nA Card, 2026-01-02, float32:\n")
    assert text.endswith("|\n<!-- end gpu summary -->\n\nafter\n")
    assert "old" not in text
    # Inserting again does not change the page.
    assert main(["report", str(results), "--into", str(page)]) == 0
    assert page.read_text() == text
    page.write_text("# A\n")
    assert main(["report", str(results), "--into", str(page)]) == 2
    assert "has no line <!-- begin NAME --> for any NAME of gpu tables, gpu summary" in capsys.readouterr().err
    page.write_text("<!-- begin gpu tables -->\n")
    with pytest.raises(ResultsError, match="no line <!-- end gpu tables --> after"):
        insert(page, {"gpu tables": "x"})
    assert page.read_text() == "<!-- begin gpu tables -->\n"
    assert json.loads(results.read_text())["format"] == 1
