"""A run that is killed again and again ends with the same bits as an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from . import trainers

pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")

KILLS = int(os.environ.get("MATHDNN_KILLS", "2"))
EPOCHS = 6 * KILLS


def test_killed_at_random_moments_the_end_is_the_same(tmp_path: Path) -> None:
    expected = tmp_path / "expected.npz"
    trainers.write(trainers.train(epochs=EPOCHS), expected)
    folder, moments = tmp_path / "run", random.Random(0)
    kills = starts = 0
    while not folder.with_suffix(".npz").exists():
        starts += 1
        assert starts <= 3 * KILLS + 3, "the run does not get on"
        process = trainers.begin("killable", folder, EPOCHS)
        assert process.stdout is not None
        if kills < KILLS:
            assert process.stdout.readline() == "training\n"
            known = set(folder.glob("[0-9]*"))
            # Mostly once there is a new checkpoint, while more are written all the time; else wherever it may be.
            began, anywhere = time.monotonic(), moments.random() < 0.2
            while not anywhere and process.poll() is None and time.monotonic() < began + 120:
                time.sleep(0.002)
                anywhere = set(folder.glob("[0-9]*")) != known
            time.sleep(moments.random() * moments.choice([0.01, 0.3]))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            process.stdout.close()
        else:
            trainers.end(process)
    assert kills == KILLS
    with np.load(expected) as one, np.load(folder.with_suffix(".npz")) as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
