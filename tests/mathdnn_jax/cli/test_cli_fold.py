"""`mathdnn fold` and `mathdnn count`, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mathdnn_jax
import parity
from mathdnn_jax.cli import main
from mathdnn_jax.surgery import remove_batch_norm

pytest.importorskip("safetensors", reason="folded weights are written as safetensors")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A smallNet for 4 × 4 images with random weights and statistics, in PyTorch's names."""
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in {"conv1": (3, 2, 3, 3), "conv2": (3, 3, 3, 3), "fc1": (5, 48), "fc2": (4, 5)}.items():
        state[f"{name}.0.weight"] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        state[f"{name}.0.bias"] = rng.normal(size=shape[0])
        if name != "fc2":
            for key in ("weight", "bias", "running_mean"):
                state[f"{name}.1.{key}"] = rng.normal(size=shape[0])
            state[f"{name}.1.running_var"] = rng.uniform(0.5, 2, shape[0])
    path = tmp_path / "small.safetensors"
    arrays = {name: array.astype(np.float32) for name, array in state.items()}
    counts = {f"{name}.1.num_batches_tracked": np.array(7) for name in ("conv1", "conv2", "fc1")}
    parity.save_state(path, {**arrays, **counts})
    return path


def test_fold_says_what_it_did_and_writes_a_network_without_batch_norms(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "folded.safetensors"
    assert main(["fold", str(checkpoint), "-o", str(output), "--events", "150"]) == 0
    said = capsys.readouterr().out
    assert "conv1_1  BatchNorm     removed   folded into conv1_0" in said
    assert "same class                                 150 of 150 events" in said
    assert "the folded network agrees within" in said
    before = parity.restore(checkpoint, "small-net")
    after = parity.restore(output, "small-net-folded")
    assert "batch_stats" not in after.params
    x = np.random.default_rng(1).random((6, 4, 4, 2), dtype=np.float32)
    old, new = (np.asarray(model.model.apply(model.params, x)) for model in (before, after))
    np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)


def test_fold_writes_pytorch_files_too(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "folded.pt"
    assert main(["fold", str(checkpoint), "-o", str(output), "--events", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left"] == []
    assert found["model"] == "small-net-folded"
    assert found["difference"]["events"] == 3
    assert 0 <= found["difference"]["greatest"] <= found["difference"]["tolerance"] < 1e-4
    assert found["difference"]["agrees"]
    state = parity.load(output)
    source = parity.load(checkpoint)
    scale = source["conv1.1.weight"] / np.sqrt(source["conv1.1.running_var"].astype(np.float64) + 1e-5)
    expected = source["conv1.0.weight"] * scale[:, None, None, None]
    np.testing.assert_allclose(state["conv1.0.weight"], expected, rtol=1e-6)


@pytest.mark.parametrize("shift", [1e-4, np.nan])
def test_a_folded_network_that_does_not_agree_is_not_written(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    shift: float,
) -> None:
    def wrong(network: Any, variables: Any) -> Any:
        folded, new, report = remove_batch_norm(network, variables)
        new["params"]["fc2_0"]["bias"] = new["params"]["fc2_0"]["bias"] + np.float32(shift)
        return folded, new, report

    monkeypatch.setattr("mathdnn_jax.surgery.remove_batch_norm", wrong)
    output = tmp_path / "folded.safetensors"
    assert main(["fold", str(checkpoint), "-o", str(output), "--events", "3"]) == 1
    said = capsys.readouterr().out
    assert "the folded network does not agree within" in said
    assert f"not written: {output}" in said
    assert not output.exists()
    assert main(["fold", str(checkpoint), "-o", str(output), "--events", "3", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["difference"]["agrees"]
    assert found["output"] is None


def test_fold_names_what_is_wrong(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "x.safetensors")
    for arguments, said in [
        ([str(checkpoint), "-o", str(checkpoint)], "source itself"),
        ([str(checkpoint), "-o", output, "--model", "net1"], "no batch norms"),
        ([str(checkpoint), "-o", output, "--model", "small-net-9"], "UnknownModelError"),
        ([str(checkpoint), "-o", str(tmp_path / "x.txt")], "OutputError"),
    ]:
        assert main(["fold", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()


def test_count_prints_the_published_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "alexnet"]) == 0
    said = capsys.readouterr().out
    assert "1,311,133,056" in said
    assert "117,243,904" in said
    assert main(["count", "net2", "--input", "36", "38", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"network": "net2", **mathdnn_jax.count_operations(mathdnn_jax.net2(), (36, 38, 3)).as_dict()}
    assert main(["count", "net1", "--input", "9", "9", "3"]) == 2
    assert "ImageError: layer 'features_4'" in capsys.readouterr().err
