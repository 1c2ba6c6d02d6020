"""`python -m benchmarks train`, on a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the benchmark runs PyTorch beside JAX")

from benchmarks import train
from benchmarks.cli import main
from benchmarks.errors import OutputsDifferError

FEW = ["train", "--workload", "autoencoder", "--batch", "4", "--steps", "3", "--repeat", "1"]


@pytest.mark.long
def test_one_command_reports_rates_compilation_memory_and_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "training.json"
    assert main([*FEW, "--devices", "1", "2", "-o", str(results)]) == 0
    (figures,) = json.loads(results.read_text())
    assert set(figures["steps_per_s"]) == {"fit", "loop", "torch"}
    assert figures["compile_s"]["fit"] > 0
    weights = 4 * 2 * (784 * 256 + 256 * 128 + 128 * 32)
    for alone in figures["alone"].values():
        assert len(alone["seconds"]) == 1
        # At least the weights and Adam's two averages; a wrong unit would be off by a factor of 1,000.
        assert 3 * weights < alone["memory_bytes"] < 2**31
    table = capsys.readouterr().out
    assert "MiB" in table
    assert "2 of the processor's virtual devices" in table


def test_a_batch_that_devices_cannot_share_is_named_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FEW, "--devices", "1", "3"]) == 2
    assert (
        "ConfigurationError: given (batch, devices) [(4, 3)], but a batch is divided evenly" in capsys.readouterr().err
    )


def test_contenders_that_do_not_agree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = train.TRAININGS["autoencoder"]()
    wrong = sound._replace(loss=lambda params, rows, key: 1.01 * sound.loss(params, rows, key))
    monkeypatch.setitem(train.TRAININGS, "autoencoder", lambda: wrong)
    with pytest.raises(OutputsDifferError, match="eager does not compute the same as JAX"):
        train.training_figures("autoencoder", batch=4, steps=3, repeat=1)
