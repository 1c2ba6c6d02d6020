"""`mathdnn train` stopped by signals at random moments, from its imports to its pictures, ends with the same bits."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mathdnn_jax
from mathdnn_jax.signals import STATUS

for package in ("orbax.checkpoint", "safetensors", "matplotlib"):
    pytest.importorskip(package, reason="runs of training need it")

REPOSITORY = Path(mathdnn_jax.__file__).parents[1]
SIGNALS = int(os.environ.get("MATHDNN_KILLS", "4"))
RUN = ["--set", "numbers=2000", "--set", "test_numbers=90", "--batch-size", "64", "--set", "checkpoint_epochs=4"]
STARTED = 0.15
"""The seconds after which Python has certainly begun to run the program; before that, it ends by its own handlers."""


def begin(folder: Path) -> subprocess.Popen[str]:
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "mathdnn_jax", "train", "mixture-cdf", *RUN, "--epochs", "60", "-o", folder, "--resume"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
@pytest.mark.usefixtures("heeded_interrupts")
def test_signals_at_random_moments(tmp_path: Path) -> None:
    began = time.monotonic()
    process = begin(tmp_path / "whole")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    whole, moments = time.monotonic() - began, random.Random(0)
    runs = signals = 0
    while signals < SIGNALS or runs == 0:
        process = begin(tmp_path / str(runs))
        number = moments.choice(list(STATUS))
        if signals < SIGNALS:
            time.sleep(moments.uniform(STARTED, whole))
            process.send_signal(number)
        said, _ = process.communicate(timeout=600)
        assert "Traceback" not in said
        # While Python shuts down, a complete run ends by the signal itself, with the same status in a shell.
        if process.returncode in (0, -number) and "weights.safetensors, losses.png" in said:
            name = "weights.safetensors"
            assert (tmp_path / str(runs) / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
            runs += 1
        else:
            assert process.returncode == STATUS[signal.Signals(number)], said
            # In the last epoch nothing is left to say after the signal was noted.
            assert re.match(r"mathdnn: (stopped |SIG(INT|TERM): stopping )", said.rstrip().splitlines()[-1]), said
            signals += 1
