"""`mathdnn train`, `evaluate` and `sample` of models that are not flows."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax import data
from mathdnn_jax.cli import main
from mathdnn_jax.tasks import detect_by_error, reconstruction_errors

from .trained_runs import check_samples, train_and_evaluate

pytestmark = pytest.mark.usefixtures("quick_compilation")
for package in ("sklearn", "PIL", "orbax.checkpoint", "safetensors", "matplotlib"):
    pytest.importorskip(package, reason="runs of training need it")


def test_vae(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    found = train_and_evaluate("vae", run, capsys)
    assert found["elbo_nats"] < found["importance_weighted_bound_nats"] < 0
    assert found["importance_samples"] == 5
    assert (run / "reconstructions.png").exists()
    _, params, _, config = parity.restore(run / "weights.safetensors", "vae")
    assert (config["dim"], config["hidden"], config["latent_dim"], config["prior"]) == (64, 16, 2, "trainable")
    check_samples(run, (5, 8, 8))
    assert float(jnp.abs(params["prior"]["mean"]).max()) > 0


def test_gan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    found = train_and_evaluate("gan", run, capsys)
    assert 0 <= found["told_apart"] <= 1
    for part in ("generator", "discriminator"):
        _, params, _, config = parity.restore(run / f"{part}.pytorch.safetensors", f"gan-{part}")
        assert config["size"] == 64
        stored = parity.load(run / "weights.safetensors")
        kernel = np.asarray(params["params"]["dense_0"]["kernel"])
        np.testing.assert_array_equal(kernel, stored[f"{part}/params/dense_0/kernel"])
    assert np.abs(stored["generator/batch_stats/norm_0/mean"]).max() > 0
    check_samples(run, (5, 8, 8))


def test_autoencoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    found = train_and_evaluate("autoencoder", run, capsys)
    model, params, _, _ = parity.restore(run / "weights.safetensors", "autoencoder")
    training = data.load("digits", "train").images
    # As documented: a sixth, drawn by NumPy's generator with the seed.
    held = np.random.default_rng(0).permutation(1200)[:200]
    sides = (training[held], data.load("digits").images, data.load("photographs").images)
    expected = detect_by_error(*(reconstruction_errors(model, params, side) for side in sides))
    assert found["threshold"] == pytest.approx(expected.threshold, rel=1e-6)
    for name in ("type_1_errors", "type_1_total", "type_2_errors", "type_2_total"):
        assert found[name] == getattr(expected, name)
    assert found["type_2_rate"] == expected.type_2_errors / 1000
    assert main(["sample", str(run), "-o", str(tmp_path / "x.npy")]) == 2
    assert "cannot draw samples" in capsys.readouterr().err


def test_small_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In bfloat16, with float32 master weights and statistics."""
    run = tmp_path / "run"
    found = train_and_evaluate("small-net", run, capsys)
    model, variables, _, config = parity.restore(run / "weights.safetensors", "small-net")
    assert config["image"] == 8
    test = data.load("digits")
    outputs = jax.jit(model.apply)(variables, data.unit_interval(test.images)[..., None])
    right = int((np.asarray(outputs).argmax(-1) == test.labels).sum())
    assert round(found["accuracy"] * 597) == right
    assert right > 597 / 10
