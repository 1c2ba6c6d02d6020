from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.cli import main


def test_an_output_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-o", str(tmp_path / "none" / "figures.json")]) == 2
    assert capsys.readouterr().err.startswith("benchmarks: OutputError:")


def test_a_run_that_cannot_begin_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")
    assert main(["run", "--repeat", "0", "-o", str(tmp_path / "figures.json")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_list_names_every_workload(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")
    from benchmarks.workloads import MODULES

    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODULES)
    assert "NICE" in lines[0]


def test_without_torch_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("benchmarks.") and "cli" not in name]:
        if name not in ("benchmarks.commands", "benchmarks.harness.results", "benchmarks.errors"):
            monkeypatch.delitem(sys.modules, name)
    assert main(["run"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("benchmarks: MissingDependencyError:")
    assert "pip install" in message
