"""`mathdnn train`, `evaluate` and `sample` of flows on images."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax import data
from mathdnn_jax.bijectors import dequantize
from mathdnn_jax.cli import main

from .trained_runs import check_samples, train_and_evaluate

pytestmark = pytest.mark.usefixtures("quick_compilation")
for package in ("sklearn", "orbax.checkpoint", "safetensors", "matplotlib"):
    pytest.importorskip(package, reason="runs of training need it")


def test_nice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    found = train_and_evaluate("nice", run, capsys)
    nats = found["log_likelihood_nats"]
    assert found["bits_per_dim"] == pytest.approx(-(nats / 64 - math.log(17)) / math.log(2), rel=1e-12)
    assert found["examples"] == 597

    # The same from the file that the other commands read, with other noise: its mean moves by less than a nat.
    flow, params, _, config = parity.restore(run / "weights.safetensors", "nice")
    assert config == {"dim": 64, "width": 16, "depth": 1, "couplings": 2}
    levels = np.rint(data.load("digits").images.reshape(-1, 64) / 255 * 16).astype(np.int32)
    y, _ = dequantize(jax.random.key(5), levels, 17, event_ndims=1)
    assert np.mean(jax.jit(flow.log_prob)(params, y)) == pytest.approx(nats, abs=0.5)

    again = parity.convert(parity.load(run / "weights.pytorch.safetensors"), "nice")
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), params, again))

    cold = check_samples(run, (5, 8, 8))
    target = tmp_path / "drawn.npy"
    assert main(["sample", str(run), "-n", "5", "--seed", "3", "--temperature", "0.5", "-o", str(target)]) == 0
    np.testing.assert_array_equal(np.load(target), cold)
    assert main(["sample", str(run), "--temperature", "0", "-o", str(tmp_path / "cold.npy")]) == 2
    assert "temperature" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["real-nvp", "glow"])
def test_image_flows(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    found = train_and_evaluate(model, run, capsys)
    # Better than the uniform density on [0, 1]⁶⁴, whose log p is 0.
    assert found["log_likelihood_nats"] > 0
    check_samples(run, (5, 8, 8))
