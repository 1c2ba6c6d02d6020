"""Tiny runs of `mathdnn train` on scikit-learn's digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from mathdnn_jax.cli import main
from mathdnn_jax.cli.run_folder import read_run

TINY = {
    "nice": ["width=16", "depth=1", "couplings=2", "learning_rate=0.01"],
    "real-nvp": ["width=4", "depth=1", "scales=1", "couplings=1", "ema_decay=0.5"],
    "glow": ["width=4", "depth=1", "scales=1", "steps=1"],
    "vae": ["hidden=16", "latent_dim=2", "importance_samples=5"],
    "gan": ["hidden=[8, 16]", "latent_dim=4"],
    "autoencoder": ["widths=[16, 4]"],
    "small-net": ["channels=2", "hidden=8", "precision=bfloat16"],
}


def command(model: str, folder: Path, *more: str) -> list[str]:
    settings = [part for setting in TINY[model] for part in ("--set", setting)]
    return ["train", model, "--data", "digits", "-o", str(folder), "--batch-size", "64", *settings, *more]


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a command prints with --json."""
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def train_and_evaluate(model: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Train for two epochs, and check that the final evaluation equals the output of `evaluate`."""
    found = figures(capsys, *command(model, folder, "--epochs", "2"))
    assert figures(capsys, "evaluate", str(folder)) == found
    assert json.loads((folder / "evaluation.json").read_text()) == found
    epochs = metrics(folder)
    assert [line["epoch"] for line in epochs] == [1, 2]
    if model != "gan":
        assert epochs[1]["loss"] < epochs[0]["loss"]
        assert epochs[1]["validation_loss"] < epochs[0]["validation_loss"]
    for picture in folder.glob("*.png"):
        assert picture.stat().st_size > 3000
    return found


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_samples(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Samples of a trained model at temperature 0.5, which depend on the key and the temperature."""
    found = read_run(folder)
    draw = found.task.sample
    assert draw is not None
    cold, again, warm, other = (
        draw(found.params, found.state, jax.random.key(seed), shape[0], temperature)
        for seed, temperature in ((3, 0.5), (3, 0.5), (3, 1.0), (4, 0.5))
    )
    assert cold.shape == shape
    assert np.isfinite(cold).all()
    np.testing.assert_array_equal(cold, again)
    assert (cold != warm).any()
    assert (cold != other).any()
    return cold
