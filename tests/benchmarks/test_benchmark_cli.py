from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks.cli import main


@pytest.fixture(params=["tiny.pt", "tiny.safetensors"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny network, as PyTorch's file and as the library's own; the limit is measured by a tiny product."""
    pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")
    from benchmarks.nice import measure

    from benchmarks.on_torch import draw_state
    from parity import convert, save_params, save_state
    from parity.reference import NICE

    monkeypatch.setattr("benchmarks.nice.measure", partial(measure, matmul_size=16))
    path = tmp_path / str(request.param)
    state = draw_state(lambda: NICE(dim=6, width=8, depth=2, couplings=2), 0)
    if path.suffix == ".pt":
        save_state(path, state)
    else:
        save_params(path, convert(state))
    return path


def test_json_on_the_output_and_the_same_in_a_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    arguments = ["--checkpoint", str(checkpoint), "--images", "12", "--batch", "4", "12", "--repeat", "2"]
    assert main(["nice", *arguments, "--json", "-o", str(target)]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    assert figures == json.loads(target.read_text())
    assert figures["weights"] == checkpoint.name
    assert figures["config"] == {"dim": 6, "width": 8, "depth": 2, "couplings": 2}
    assert figures["images"] == 12
    assert figures["repeat"] == 2
    assert [result["batch"] for result in figures["batches"]] == [4, 12]
    assert "benchmarks: batches of 4" in printed.err


def test_a_table_without_json(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nice", "--checkpoint", str(checkpoint), "--images", "4", "--repeat", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("NICE log p of 4 images")
    # The usual batch is larger than that, and all the images are taken at once.
    assert "batches of 4:" in printed.err


def test_bad_arguments_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")
    assert main(["nice", "--images", "0"]) == 2
    assert capsys.readouterr().err.startswith("benchmarks: ConfigurationError: at least one image")
    assert main(["nice", "--checkpoint", str(tmp_path / "none.pt")]) == 2
    assert "benchmarks: CheckpointNotFoundError:" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nice", "-o", str(tmp_path / "none" / "figures.json")]) == 2
    assert capsys.readouterr().err.startswith("benchmarks: OutputError:")


def test_a_failed_run_writes_nothing(tmp_path: Path) -> None:
    assert main(["nice", "--images", "0", "-o", str(tmp_path / "figures.json")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_to_install_where_there_is_no_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("nice", "nice_work", "on_torch"):
        monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    assert main(["nice"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("benchmarks: MissingDependencyError:")
    assert "pip install" in message
