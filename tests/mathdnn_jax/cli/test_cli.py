"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax import data
from mathdnn_jax.cli import main
from mathdnn_jax.cli.anomaly import shared_images

from .conftest import Refused

pytest.importorskip("torch", reason="the commands read PyTorch checkpoints")
pytest.importorskip("sklearn", reason="the commands are tried on scikit-learn's digits")

KEYS = [
    "threshold",
    "type_1_errors",
    "type_1_total",
    "type_2_errors",
    "type_2_total",
    "auroc",
    "images_per_second",
]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow on 8 × 8 images, trained a little."""
    from parity.reference.train import train_nice

    images = data.unit_interval(data.load("digits", "train").images)
    module = train_nice(images, levels=17, width=16, depth=1, couplings=2, epochs=20)
    path = tmp_path_factory.mktemp("checkpoint") / "digits.pt"
    parity.save_state(path, {name: tensor.numpy() for name, tensor in module.state_dict().items()})
    return path


def anomaly(checkpoint: Path, *more: str) -> int:
    return main(["anomaly", "--checkpoint", str(checkpoint), "--inlier", "digits", "--outlier", "photographs", *more])


def test_anomaly_prints_one_json_object(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert anomaly(checkpoint, "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert list(found) == KEYS
    assert (found["type_1_total"], found["type_2_total"]) == (299, 1000)
    assert 0.5 < found["auroc"] <= 1
    assert found["images_per_second"] > 0
    assert "log-likelihoods: 1,597 of 1,597" in captured.err


def test_anomaly_is_what_the_library_says(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert anomaly(checkpoint, "--json", "--split", "random", "--seed", "5", "--batch-size", "64") == 0
    found = json.loads(capsys.readouterr().out)
    flow, params, _, config = parity.restore(checkpoint)
    assert config == {"dim": 64, "width": 16, "depth": 1, "couplings": 2}
    images = data.unit_interval(data.load("digits").images).reshape(-1, 64)
    log_prob = np.asarray(flow.log_prob(params, jnp.asarray(images)), np.float64)
    half = np.random.default_rng(5).permutation(597)[:298]
    threshold = log_prob[half].mean() - 3 * log_prob[half].std(ddof=1)
    assert found["threshold"] == pytest.approx(threshold, abs=1e-3)
    assert found["type_1_errors"] == int((np.delete(log_prob, half) < found["threshold"]).sum())


def test_anomaly_prints_readable_text(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert anomaly(checkpoint) == 0
    out = capsys.readouterr().out
    for word in ("threshold", "type I errors", "type II errors", "AUROC", "images/s"):
        assert word in out


def test_anomalies_that_are_the_inliers_are_remarked(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["anomaly", "--checkpoint", str(checkpoint), "--inlier", "digits", "--outlier", "digits", "--json"]) == 0
    )
    captured = capsys.readouterr()
    assert "the inliers and the outliers are the same 597 images" in captured.err
    assert list(json.loads(captured.out)) == KEYS
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    assert shared_images(images[:4], images[4:]) == []
    assert shared_images(images[:4], images[3:])[0].startswith("1 of 3 outliers are among the inliers")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots(checkpoint: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    path = tmp_path / f"plot.{suffix}"
    assert anomaly(checkpoint, "--plot", str(path)) == 0
    assert path.stat().st_size > 5000
    assert list(tmp_path.iterdir()) == [path]


def test_convert_there_and_back(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back = tmp_path / "digits.safetensors", tmp_path / "back.pt"
    assert main(["convert", str(checkpoint), str(there)]) == 0
    assert "PyTorch to JAX" in capsys.readouterr().out
    assert main(["convert", str(there), str(back)]) == 0
    assert "JAX to PyTorch" in capsys.readouterr().out
    before, after = parity.load(checkpoint), parity.load(back)
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert anomaly(there, "--json") == 0


def test_certify_prints_a_table_and_writes_the_certificate(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "c.json"
    assert main(["certify", str(checkpoint), "--inputs", "digits", "--events", "300", "-o", str(output)]) == 0
    out = capsys.readouterr().out
    certificate = json.loads(output.read_text())
    assert certificate["inputs"]["events"] == 300
    assert certificate["checkpoint"]["sha256"] in out
    for layer in certificate["layers"]:
        assert layer["layer"] in out
    assert main(["certify", str(checkpoint), "--events", "8", "--json", "-o", str(output)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(output.read_text())


def test_a_failed_certificate_is_exit_code_one(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = parity.load(checkpoint)
    state["scaling.scale"] = -state["scaling.scale"]
    monkeypatch.setattr("parity.store.convert", lambda _, model, **__: parity.convert(state, model))
    assert main(["certify", str(checkpoint), "--events", "8", "-o", str(tmp_path / "c.json")]) == 1
    assert "CertificationError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["anomaly", "--checkpoint", "nowhere.pt"], "CheckpointNotFoundError: checkpoint nowhere.pt does not exist"),
        (["anomaly", "--checkpoint", "{}", "--inlier", "letters"], "unknown data set 'letters'"),
        (["anomaly", "--checkpoint", "{}", "--model", "glow"], "UnknownModelError"),
        (["anomaly", "--checkpoint", "{}", "--plot", "no/where.png"], "OutputError"),
        (["anomaly", "--checkpoint", "{}", "--plot", "x.pgf"], "suffix of a picture must be one of .png"),
        (["anomaly", "--checkpoint", "{}", "--ignore", "step"], "listed as ignored, but not there: step"),
        (["convert", "{}", "{}"], "is the source itself"),
        (["certify", "{}", "-o", "{}"], "is the source itself"),
        (["convert", "{}", "weights.npz"], "OutputError"),
        (["certify", "{}", "--inputs", "letters"], "unknown data set"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_two(
    checkpoint: Path, refused: Refused, arguments: list[str], words: str
) -> None:
    refused([argument.format(checkpoint) for argument in arguments], words)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (["anomaly", "--checkpoint=x", "--batch-size=0"], "--batch-size: 0 is less than 1"),
        (["anomaly", "--checkpoint=x", "--seed=-1"], "--seed: a seed is a whole number from 0 to 4294967295, given -1"),
        (["anomaly", "--checkpoint=x", "--split=thirds"], "--split: invalid choice"),
        (["certify", "x", "--events=-3"], "--events: -3 is less than 1"),
        (["certify", "x", "--seed=4294967296"], "given 4294967296"),
        (["demo", "--seed=one"], "'one' is not a whole number"),
        (["anomaly"], "--checkpoint"),
        ([], "COMMAND"),
    ],
)
def test_impossible_arguments_are_refused_at_once(
    capsys: pytest.CaptureFixture[str], argument: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argument)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_images_of_another_size_and_offline_data(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["anomaly", "--checkpoint", str(checkpoint), "--data-dir", str(tmp_path), "--outlier", "digits"]) == 2
    error = capsys.readouterr().err
    assert "t10k-images-idx3-ubyte" in error
    assert "--data-dir" in error
    wide = data.Dataset(np.zeros((10, 28, 28), np.uint8), np.zeros(10, np.int64))
    monkeypatch.setattr("mathdnn_jax.data.load", lambda *_: wide)
    assert anomaly(checkpoint) == 2
    assert "images of shape (28, 28), 784 pixels" in capsys.readouterr().err


def test_the_demo_does_not_replace_somebodys_checkpoint(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "nice.pt"
    own.write_bytes(checkpoint.read_bytes())
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert own.read_bytes() == checkpoint.read_bytes()
    assert list(tmp_path.iterdir()) == [own]


def test_sigterm_leaves_no_temporary_file(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from mathdnn_jax.cli import main, convert
from mathdnn_jax.files import replace_file
def run(options):
    with replace_file({str(tmp_path / "out")!r}) as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)
convert.run = run
main(["convert", "a", "b"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 143, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mathdnn_jax", "--version"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("mathdnn_jax 0.")
