from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main
from benchmarks.errors import ResultsError
from benchmarks.harness.results import read_results, write_results
from benchmarks.reports.pictures import throughput, throughput_figures
from benchmarks.reports.regression import changes, different_circumstances
from benchmarks.reports.table import results_table

RATES = {"matmul": 2e11, "convolution": 1e11, "memory": 3e10}


def contender(kind: str, seconds: float, ratio: float | None) -> dict[str, Any]:
    figures = {
        "kind": kind,
        "seconds": [seconds] * 3,
        "median_s": seconds,
        "least_s": seconds * 0.9,
        "greatest_s": seconds * 1.1,
        "items_per_s": 8 / seconds,
        "first_call_s": 1.25,
        "error": 1e-6,
        "share": 0.5 / seconds,
    }
    return figures if ratio is None else {**figures, "ratio": {"median": ratio, "least": ratio, "greatest": ratio}}


def row(case: str, seconds: float = 1.0, ratio: float = 2.0) -> dict[str, Any]:
    return {
        "workload": "nice-log-prob",
        "case": case,
        "backend": "cpu",
        "precision": "f32",
        "items": 8,
        "unit": "images",
        "contenders": {
            "jax": contender("jax", seconds, None),
            "eager": contender("torch", seconds * 3, 3.0),
            "compiled": contender("torch", seconds * ratio, ratio),
            "peer|library": contender("other", seconds * 5, 5.0),
        },
        "best": "compiled",
        "unable": {"zuko": "not installed"},
        "targets": {"best": {"aim": 1.8, "reached": ratio, "met": ratio >= 1.8}},
        "why": "the processor",
        "disturbed": False,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    machine = {"cpu": "A Processor", "cores": 2, "os": "Linux", "backend": "cpu", "device": "cpu"}
    machine |= {"versions": {"jax": "1.2"}, "environment": {}, "measured": "2026-01-02T03:04:05+00:00"}
    failure = {"workload": "plu", "case": "C = 3", "backend": "cpu", "precision": "f32", "error": "ValueError: bad"}
    return {
        "format": 1,
        "command": "python -m benchmarks run",
        "machine": machine,
        "torch": {"device": "cpu"},
        "threads": {"jax": 2, "torch": 2},
        "imports_s": {"jax": 0.5, "torch": None},
        "repeat": 3,
        "precisions": {"f32": {"dtype": "float32", "jax_matmul": "highest", "torch_matmul": "highest"}},
        "agreement": "they agree",
        "limits": {"f32": {"jax": RATES, "torch": RATES}},
        "rows": [row("batch 128"), row("batch 2", ratio=0.5), row("latents given, batch 8"), failure],
    }


def test_the_table_has_every_contender_and_the_circumstances(results: dict[str, Any]) -> None:
    table = results_table(results)
    for expected in ("2 [2 - 2] PyTorch compiled *", "3 [3 - 3] PyTorch eager\n", "peer|library", "zuko did not run"):
        assert expected in table
    for expected in ("FAILED: ValueError: bad", "matmul JAX 200, PyTorch 200 GFLOP/s", "A Processor", "jax 1.2", "50%"):
        assert expected in table
    # Only the row that misses its target says so, and gives the reason.
    assert table.count("target missed against PyTorch's best: 0.50 of 1.8") == 1
    assert table.count("slower than PyTorch compiled") == 1
    assert table.count("why: the processor") == 1
    assert "DISTURBED" not in table
    results["rows"][0]["disturbed"] = True
    assert "DISTURBED" in results_table(results)


@pytest.mark.parametrize(("seconds", "rate"), [(1e-6, "8,000,000"), (0.01, "800"), (3.0, "2.67")])
def test_columns_do_not_run_together(results: dict[str, Any], seconds: float, rate: str) -> None:
    results["rows"] = [row("fit, 1 against 2 virtual devices", seconds)]
    line = results_table(results).splitlines()[1]
    assert f"virtual devices  cpu f32   {seconds:>10.3g} {rate:>10} images " in line


def test_the_command_writes_a_page_and_pictures(results: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the pictures are drawn by it")
    source = tmp_path / "results.json"
    write_results(source, results)
    assert main(["report", str(source), "-o", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.md").read_text()
    picture = tmp_path / "out" / "nice-log-prob-cpu-f32.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"]({picture.name})" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 1 + 4
    assert {line.replace("\\|", "").count("|") for line in rows} == {10}
    assert "**PyTorch compiled 2 [2 - 2]**" in page
    assert main(["report", str(source), "-o", str(tmp_path / "only.png")]) == 0
    assert (tmp_path / "only.png").exists()
    assert main(["report", str(source), str(source), "-o", str(tmp_path / "both.md")]) == 0
    assert (tmp_path / "both.md").read_text().count("## A Processor, 2026-01-02") == 2


def test_pictures_show_only_cases_that_are_a_batch_size(results: dict[str, Any]) -> None:
    ((key, (unit, curves)),) = throughput(results).items()
    assert key == ("nice-log-prob", "cpu", "f32")
    assert unit == "images"
    assert curves["JAX"] == [(2, 8.0), (128, 8.0)]
    assert curves.keys() == {"JAX", "PyTorch eager", "PyTorch compiled"}
    results["rows"] = results["rows"][:1]
    assert throughput(results) == {}
    assert throughput_figures([results]) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}'])
def test_other_files_are_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=r"other\.json"):
        read_results(path)
    assert main(["report", str(path)]) == 2
    assert capsys.readouterr().err.startswith("benchmarks: ResultsError")
    assert main(["compare", str(tmp_path / "none.json"), str(path)]) == 2


@pytest.mark.parametrize(("factor", "verdict"), [(1.21, "same"), (1.23, "slower"), (0.83, "same"), (0.81, "faster")])
def test_slower_means_by_more_than_both_spreads(results: dict[str, Any], factor: float, verdict: str) -> None:
    new = copy.deepcopy(results)
    new["rows"][0]["contenders"]["jax"] = contender("jax", factor, None)
    assert [change.verdict for change in changes(results, new)] == [verdict, "same", "same", "still fails"]


def test_a_row_that_fails_now_is_worse_and_a_missing_row_is_not(
    results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    write_results(old, results)
    assert main(["compare", str(old), str(old)]) == 0
    assert "0 of 4 rows got worse" in capsys.readouterr().out
    later = copy.deepcopy(results)
    later["rows"][1] = {**later["rows"][3], "workload": "nice-log-prob", "case": "batch 2"}
    del later["rows"][2]
    later["rows"][2] = {**later["rows"][0], "workload": "plu", "case": "C = 3"}
    later["machine"]["cpu"] = "Another"
    write_results(new, later)
    assert different_circumstances(results, {**results, "memory_kept": False}) == []
    assert different_circumstances(results, {**results, "memory_kept": True}) == [
        "freed memory kept: False before, True now"
    ]
    assert [change.verdict for change in changes(results, later)] == ["same", "fails", "gone", "new"]
    assert main(["compare", str(old), str(new)]) == 1
    assert "the runs differ in cpu: A Processor before, Another now" in capsys.readouterr().out
    # A workload that cannot be prepared loses all its rows.
    later["rows"] = [{**results["rows"][3], "workload": "nice-log-prob", "case": None}]
    assert [change.verdict for change in changes(results, later)] == ["fails"] * 3 + ["gone", "fails"]


def test_results_are_written_completely_or_not_at_all(results: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, results)
    with pytest.raises(ValueError):
        write_results(path, {**results, "rows": [float("nan")]})
    assert json.loads(path.read_text()) == results
    assert list(tmp_path.iterdir()) == [path]
