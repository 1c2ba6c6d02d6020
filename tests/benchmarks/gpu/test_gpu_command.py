"""`python -m benchmarks gpu --dry-run`: every step on a CPU, and runs that are cut, killed and resumed."""

from __future__ import annotations

import collections
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="a benchmark runs PyTorch beside JAX")

from benchmarks.cli import main
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import PLAN, chosen
from benchmarks.gpu.worker import Process
from benchmarks.harness.results import read_results, write_results

REPOSITORY = Path(__file__).resolve().parents[3]
CAPTURED = "CUDA graphs, fused Adam"


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """The results of a whole dry run, and the seconds that it took."""
    target = tmp_path_factory.mktemp("gpu") / "gpu.json"
    began = time.monotonic()
    assert main(["gpu", "--dry-run", "-o", str(target)]) == 0
    return read_results(target), time.monotonic() - began


@pytest.mark.long
def test_every_step_is_done_in_less_than_two_minutes(dry: tuple[dict[str, Any], float]) -> None:
    results, seconds = dry
    assert {name: step["status"] for name, step in results["gpu"]["steps"].items()} == {
        step.id: "done" for step in PLAN
    }
    assert seconds < 120


@pytest.mark.long
def test_every_row_compares_both_frameworks_including_what_only_a_gpu_has(dry: tuple[dict[str, Any], float]) -> None:
    rows = dry[0]["rows"]
    assert {row["workload"] for row in rows} == {step.workload for step in PLAN if step.workload}
    for row in rows:
        assert "error" not in row
        alone = "XLA_FLAGS" in row["case"] or row["workload"] == "flow-peers"
        assert alone or row["best"] is not None
        assert all("not installed" in reason for reason in row["unable"].values())
    trained = {row["workload"]: row["contenders"] for row in rows if CAPTURED in row["contenders"]}
    assert trained.keys() >= {"nice-epoch", "autoencoder-epoch", "vae-step", "gan-step", "flow-1d", "small-net-step"}
    assert trained.keys() >= {"real-nvp-step", "glow-step"}
    modes = {name for row in rows for name in row["contenders"] if name.startswith("compiled")}
    assert {"compiled", "compiled, reduce-overhead", "compiled, max-autotune"} <= modes
    assert {row["precision"] for row in rows} == {"f32", "tf32", "bf16"}


@pytest.mark.long
def test_what_was_compared_is_counted(dry: tuple[dict[str, Any], float]) -> None:
    gpu = dry[0]["gpu"]
    assert [entry["passed"] for entry in gpu["certificates"]] == [True, True]
    assert all(entry["values"] > 0 for entry in gpu["certificates"])
    assert {entry["precision"] for entry in gpu["identities"]} == {"f32", "tf32", "bf16"}
    assert all(entry["passed"] and entry["values"] > 0 for entry in gpu["identities"])
    assert gpu["count_of_claims"]["decided"] == len(gpu["claims"]) > 0
    assert dry[0]["limits"].keys() == {"f32", "tf32", "bf16"}
    assert dry[0]["machine"]["backend"] == "cpu"
    assert all(row["floor_s"] is not None for row in dry[0]["rows"] if row["flops"] is not None)


def _steps(target: Path) -> dict[str, str]:
    return {name: step["status"] for name, step in read_results(target)["gpu"]["steps"].items()}


def test_a_run_that_is_cut_keeps_its_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "gpu.json"
    assert main(["gpu", "--dry-run", "--minutes", "0.15", "-o", str(target)]) == 0
    statuses = _steps(target)
    assert statuses.keys() == {step.id for step in PLAN}
    assert set(statuses.values()) <= {"done", "stopped", "not begun"}
    assert list(statuses.values())[-1] == "not begun"
    assert main(["report", str(target)]) == 0
    assert "not begun" in capsys.readouterr().out


def _wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.long
def test_a_run_that_is_killed_keeps_its_findings_and_leaves_no_process(tmp_path: Path) -> None:
    target = tmp_path / "gpu.json"
    words = ["-m", "benchmarks", "gpu", "--dry-run", "--only", "ceilings", "claims", "-o"]
    command = [sys.executable, *words, str(target)]
    run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait(lambda: target.exists() and _steps(target)["ceilings"] == "done")
    children = [int(word) for word in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    assert children
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert _steps(target)["claims"] in ("begun", "not begun")
    assert read_results(target)["limits"].keys() == {"f32", "tf32", "bf16"}
    # The other process ends by itself, since nobody would read its findings.
    _wait(lambda: not any(map(_alive, children)))


@pytest.mark.long
def test_a_resumed_run_does_what_the_first_could_not(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    steps = chosen(["ceilings", "certificates", "claims"])
    findings = Findings("the first", steps)
    findings.ended(steps[0], "done", None, seconds=1.0)
    findings.ended(steps[1], "stopped", "its time was over", seconds=1.0)
    findings.ended(steps[2], "failed", "RuntimeError: no memory", "Traceback", 1.0)
    write_results(before, findings.results)
    asked = ["gpu", "--dry-run", "--only", *(step.id for step in steps), "--resume", str(before), "-o", str(after)]
    assert main(asked) == 0
    assert _steps(after) == {"ceilings": "done", "certificates": "stopped", "claims": "done"}
    assert read_results(after)["gpu"]["claims"]
    assert read_results(after)["limits"] == {}
    assert _steps(before)["claims"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nice"], "PlanError: there is no step nice; choose from ceilings"),
        (["--minutes", "0"], "given --minutes 0"),
        (["--resume", "nowhere.json"], "cannot read results from nowhere.json"),
        (["-o", "nowhere/gpu.json"], "nowhere"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_started(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert main(["gpu", "--dry-run", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def process() -> Iterator[Process]:
    """A process that rehearses steps."""
    environment = {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    with closing(Process(environment, rehearsal=True)) as found:
        yield found


def test_a_process_answers_and_reports_its_end(process: Process) -> None:
    process.ask("no-such-step", 30.0, [])
    about, ended = process.answer(60.0), process.answer(60.0)
    assert about is not None
    assert (about["event"], about["value"]["machine"]["backend"]) == ("about", "cpu")
    assert ended is not None
    assert ended["error"].startswith("PlanError: there is no step no-such-step")
    assert "Traceback" in ended["traceback"]
    assert process.answer(0.01) is None
    os.killpg(process._process.pid, signal.SIGKILL)
    with pytest.raises(EOFError, match="ended by signal SIGKILL"):
        process.answer(60.0)
    # A request to a process that has ended is accepted; waiting for the answer reports the end.
    process.ask("claims", 1.0, [])


def test_a_process_ends_at_once_when_its_input_is_closed() -> None:
    read, write = os.pipe()
    command = [sys.executable, "-m", "benchmarks.gpu.process", str(write)]
    waiting = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, pass_fds=(write,))
    os.close(write)
    try:
        assert waiting.stdin is not None
        waiting.stdin.close()
        assert waiting.wait(timeout=30) == 0
    finally:
        waiting.kill()
        waiting.wait()
        os.close(read)


def test_a_busy_process_can_be_closed(process: Process) -> None:
    process.ask("identities", 60.0, [])
    assert process.answer(60.0) is not None
    process.close()
    assert not _alive(process._process.pid)


def test_the_death_of_a_process_is_noticed_although_another_holds_its_pipe_open() -> None:
    found = object.__new__(Process)
    found._answers, found._printed = queue.SimpleQueue(), collections.deque(["the last line\n"])
    found._process = SimpleNamespace(poll=lambda: -9, wait=lambda: -9)  # type: ignore[assignment]
    found._answers.put({"event": "found"})
    assert found.answer(60.0) == {"event": "found"}
    with pytest.raises(EOFError, match="ended by signal SIGKILL; its last lines:\nthe last line"):
        found.answer(60.0)


def test_without_a_gpu_the_run_fails_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "gpu.json"
    if main(["gpu", "--only", "ceilings", "--minutes", "1", "-o", str(target)]) == 0:
        pytest.skip("there is a GPU here")
    step = json.loads(target.read_text())["gpu"]["steps"]["ceilings"]
    assert (step["status"], step["reason"].partition(":")[0]) == ("failed", "ConfigurationError")
    assert "FAILED step ceilings: ConfigurationError: JAX co" in capsys.readouterr().out
