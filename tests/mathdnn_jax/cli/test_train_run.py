"""A run of `mathdnn train` as a folder: resumed, refused, diverged; the one-dimensional flow serves as the model."""

from __future__ import annotations

import json
import math
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

import parity
from mathdnn_jax.cli import main
from mathdnn_jax.cli.run_folder import holds_run

from .trained_runs import check_samples

pytestmark = pytest.mark.usefixtures("quick_compilation")
for package in ("orbax.checkpoint", "safetensors", "matplotlib"):
    pytest.importorskip(package, reason="runs of training need it")

SMALL = ["--set", "numbers=400", "--set", "test_numbers=90", "--batch-size", "64", "--set", "checkpoint_epochs=1"]
LONG = ["--epochs", "4"]


def train(folder: Path, *more: str) -> int:
    return main(["train", "mixture-cdf", "-o", str(folder), *SMALL, *more])


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(quick_compilation: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four epochs without interruption; never changed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train(folder, *LONG) == 0
    return folder


def test_the_folder(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {path.name for path in whole.iterdir()} - {"tensorboard"}
    pictures = {"losses.png", "samples.png", "density.png"}
    assert names == pictures | {"config.toml", "metrics.jsonl", "evaluation.json", "weights.safetensors", "checkpoints"}
    config = tomllib.loads((whole / "config.toml").read_text())
    assert (config["model"], config["epochs"], config["components"]) == ("mixture-cdf", 4, 5)
    assert config["versions"]["jax"]
    assert [line["epoch"] for line in lines(whole)] == [1, 2, 3, 4]
    assert [line["step"] for line in lines(whole)] == [7, 14, 21, 28]  # the last batch of 16 counts
    tested = [line["test_loss"] for line in lines(whole)]
    assert tested[-1] == pytest.approx(-json.loads((whole / "evaluation.json").read_text())["log_likelihood_nats"])
    assert len(set(tested)) == 4

    assert main(["evaluate", str(whole), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((whole / "evaluation.json").read_text())
    assert found["bits_per_dim"] == pytest.approx(-found["log_likelihood_nats"] / math.log(2))
    weights = parity.load(whole / "weights.safetensors")
    mass = math.erf(float(np.exp(weights["weight_logits"].astype(np.float64)).sum()) / math.sqrt(8))
    assert found["mass"] == pytest.approx(mass, rel=1e-5)
    gap = found["log_likelihood_nats_divided_by_mass"] - found["log_likelihood_nats"]
    assert gap == pytest.approx(-math.log(mass), rel=1e-3)
    assert main(["evaluate", str(whole)]) == 0
    assert "log likelihood nats" in capsys.readouterr().out


def test_a_resumed_run_is_the_uninterrupted_one(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    # By the other's config, with fewer epochs; there is nothing to resume yet, so it begins.
    config = ["--config", str(whole / "config.toml")]
    assert main(["train", "mixture-cdf", "-o", str(run), *config, "--epochs", "2", "--resume"]) == 0
    with (run / "metrics.jsonl").open("a") as file:
        # What a run that is killed in its third epoch may leave.
        file.write('{"epoch": 3, "step": 21, "loss": 9}\n{"epoch": 4, "st')
    (run / "weights.safetensors").unlink()
    assert main(["evaluate", str(run)]) == 2
    assert "has not finished" in capsys.readouterr().err
    assert train(run, *LONG, "--resume") == 0
    assert (run / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    for name in ("loss", "step", "epoch"):
        assert [line[name] for line in lines(run)] == [line[name] for line in lines(whole)]
    assert tomllib.loads((run / "config.toml").read_text())["epochs"] == 4


def test_a_run_is_not_mixed_with_another(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (whole / "config.toml").read_bytes()
    assert train(whole, *LONG) == 2
    assert "--resume" in capsys.readouterr().err
    assert train(whole, *LONG, "--resume", "--learning-rate", "0.5", "--seed", "3") == 2
    said = capsys.readouterr().err
    assert "learning_rate=0.5 instead of 0.05" in said
    assert "seed=3" in said
    assert main(["train", "nice", "-o", str(whole), "--resume"]) == 2
    assert "'mixture-cdf', not of 'nice'" in capsys.readouterr().err
    assert train(whole, "--resume", "9") == 2
    assert "there are 28, 21, 14" in capsys.readouterr().err
    assert (whole / "config.toml").read_bytes() == before


def test_samples_lie_where_the_numbers_do(whole: Path, tmp_path: Path) -> None:
    drawn = check_samples(whole, (500,))
    assert -1 < drawn.mean() < 1.5
    assert main(["sample", str(whole), "-n", "500", "-o", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").stat().st_size > 3000


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--set", "widht=3"], "no setting 'widht'; its settings are b1, b2,"),
        (["--set", "components"], "key=value"),
        (["--config", "absent.toml"], "absent.toml"),
        (["--data", "mnist"], "three-gaussians"),
        (["--precision", "float16"], "float32"),
        (["--learning-rate", "0"], "positive"),
        (["--devices", "4096"], "4096"),
        (["--coordinator", "localhost:1"], "MATHDNN_PROCESSES"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    more: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(run, *more) == 2
    assert expected in capsys.readouterr().err
    assert not run.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert train(tmp_path / "file" / "run") == 2
    assert "OutputError" in capsys.readouterr().err
    if os.geteuid() != 0:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o555)
        assert train(locked) == 2
        assert "OutputError" in capsys.readouterr().err


def test_a_diverged_run_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(run, "--learning-rate", "1e30") == 1
    said = capsys.readouterr().err
    assert "DivergedError" in said
    assert "step 1" in said
    assert not (run / "weights.safetensors").exists()
    assert not holds_run(run)  # it got nowhere: the same folder can be used again


def test_weights_of_another_model(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("checkpoints"))
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("components = 5", "components = 4"))
    assert main(["evaluate", str(run)]) == 2
    assert "ParameterStructureError" in capsys.readouterr().err
    (run / "weights.safetensors").write_bytes(b"no")
    (run / "config.toml").write_text(config)
    assert main(["sample", str(run), "-o", str(tmp_path / "x.npy")]) == 2
    assert "CorruptCheckpointError" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "has no `mathdnn train` run" in capsys.readouterr().err


def test_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="event files are written by it")
    run = tmp_path / "run"
    assert train(run, "--epochs", "1") == 0
    (events,) = (run / "tensorboard").iterdir()
    assert b"examples_per_second" in events.read_bytes()
