"""Training that is asked to stop, and two runs in one folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mathdnn_jax.errors import ConfigurationError, FolderInUseError, TrainingStoppedError
from mathdnn_jax.training import stop_on_signals

from .lines import assert_same
from .saved_runs import EPOCHS, names, run

pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")


@pytest.mark.parametrize("every_epochs", [1, 3])
def test_a_signal_stops_training_with_everything_saved(tmp_path: Path, every_epochs: int) -> None:
    def callback(report: Any) -> None:
        if report.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with stop_on_signals() as stop, pytest.raises(TrainingStoppedError, match="2 of 4 epochs are complete") as raised:
        run(tmp_path, stop=stop, callback=callback, every_epochs=every_epochs)
    error = raised.value
    assert (error.step, error.epoch, error.checkpoint) == (10, 2, tmp_path / "10")
    assert error.result.step == 10
    assert "10" in names(tmp_path)
    assert ".lock" not in names(tmp_path)
    resumed, whole = run(tmp_path, resume=True), run()
    assert_same(resumed.params, whole.params)
    assert_same(resumed.history.loss, whole.history.loss)


def test_without_checkpoints_the_results_are_in_the_error() -> None:
    with pytest.raises(TrainingStoppedError, match="no checkpoint was asked for") as raised:
        run(stop=lambda: True)
    assert raised.value.checkpoint is None
    assert_same(raised.value.result.params, run(epochs=1).params)


def test_a_request_after_the_last_step_comes_too_late() -> None:
    assert not run(epochs=1, stop=lambda: True).stopped


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    refused = []

    def callback(report: Any) -> None:
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
            run(tmp_path, resume=True)
        refused.append(report.epoch)

    run(tmp_path, callback=callback)
    assert refused == list(range(1, EPOCHS + 1))
    with pytest.raises(ConfigurationError, match="already has checkpoints"):
        run(tmp_path)
    run(tmp_path, resume=True)


def test_more_steps_than_int32_can_number() -> None:
    with pytest.raises(ConfigurationError, match="at most 2147483647 steps"):
        run(epochs=10**9)
