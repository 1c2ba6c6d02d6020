"""`mathdnn train` by two processes of two devices each, beside one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mathdnn_jax
import parity
from mathdnn_jax.cli import main

for package in ("orbax.checkpoint", "safetensors", "matplotlib"):
    pytest.importorskip(package, reason="runs of training need it")

REPOSITORY = Path(mathdnn_jax.__file__).parents[1]
RUN = ["train", "mixture-cdf", "--set", "numbers=256", "--set", "test_numbers=30", "--batch-size", "64"]
WHOLE = [*RUN, "--epochs", "2", "--set", "checkpoint_epochs=1"]


@pytest.mark.long
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    together, alone = tmp_path / "together", tmp_path / "alone"
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "mathdnn_jax", *WHOLE, "-o", str(together), "--devices", "4",
             "--coordinator", address, "--processes", "2", "--process-id", str(k)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for k in range(2)
    ]  # fmt: skip
    assert main([*WHOLE, "-o", str(alone)]) == 0
    for process in started:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert (together / "losses.png").exists()
    expected, found = (parity.load(folder / "weights.safetensors") for folder in (alone, together))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
    assert len((together / "metrics.jsonl").read_text().splitlines()) == 2
