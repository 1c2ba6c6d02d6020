from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from mathdnn_jax.errors import ConfigurationError, OutputError, ResumeError, UnsavedError
from mathdnn_jax.training import EpochReport, FitResult
from mathdnn_jax.training.checkpoints import outdated

from . import trainers
from .lines import BATCH, Tree, assert_same, loss
from .saved_runs import Killed, names, run

pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")


@pytest.fixture(scope="module")
def whole() -> FitResult:
    return run()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run(folder, config={"name": "lines"})
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_checkpoints_change_nothing_and_the_last_few_stay(finished: Path, whole: FitResult) -> None:
    assert names(finished) == ["10", "15", "20"]
    assert_same(run(finished, resume=True)._asdict(), whole._asdict())


@pytest.mark.parametrize("settings", [{}, {"every_steps": 2}, {"every_epochs": 2}])
def test_a_resumed_run_ends_like_one_that_was_never_killed(
    settings: dict[str, Any], tmp_path: Path, whole: FitResult
) -> None:
    folder = tmp_path / "made" / "on the way"
    with pytest.raises(Killed):
        run(folder, until=3, **settings)
    assert names(folder)
    resumed = run(folder, resume=True, **settings)
    assert_same(resumed._asdict(), whole._asdict())
    assert names(folder)[-1] == "20"


def test_resuming_without_checkpoints_starts_a_first_run(tmp_path: Path, whole: FitResult) -> None:
    assert_same(run(tmp_path / "new", resume=True).params, whole.params)


def test_a_finished_run_goes_on_to_more_epochs(copied: Path) -> None:
    longer = run(copied, resume=True, epochs=6)
    assert_same(longer._asdict(), run(epochs=6)._asdict())
    with pytest.raises(ConfigurationError, match=r"completed 30 steps, more than the 20 of 4 epochs"):
        run(copied, resume=True)


def test_a_run_that_was_stopped_stays_stopped(tmp_path: Path) -> None:
    stopped = run(tmp_path / "run", callback=lambda report: report.epoch == 2, every_epochs=9)
    assert names(tmp_path / "run") == ["10"]
    again = run(tmp_path / "run", resume=True, every_epochs=9)
    assert again.stopped
    assert_same(again._asdict(), stopped._asdict())


def test_the_best_stays_beside_the_last(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0, 5.0])
    run(tmp_path, evaluate=lambda *_: {"score": next(values)}, best="score", keep=1)
    assert names(tmp_path) == ["10", "20"]
    # Also when the run that had written it is another process: the values are read from the folder.
    values = iter([4.0, 9.0])
    run(tmp_path, evaluate=lambda *_: {"score": next(values)}, best="score", keep=1, resume=True, epochs=6)
    assert names(tmp_path) == ["10", "30"]


def test_outdated_checkpoints() -> None:
    assert outdated([1, 2, 3, 4], {}, keep=2) == [1, 2]
    assert outdated([1, 2, 3, 4], {1: 0.5, 2: 0.1, 3: 0.1}, keep=1) == [1, 3]
    assert outdated([4, 1], {}, keep=5) == []


def test_a_checkpoint_describes_its_run(finished: Path) -> None:
    meta = json.loads((finished / "20" / "meta" / "metadata").read_text())
    assert meta["config"] == {"name": "lines"}
    assert meta["run"]["batch_size"] == BATCH
    assert {"jax", "optax", "orbax-checkpoint", "mathdnn_jax"} <= meta["versions"].keys()
    assert meta["leaves"]["params.w"] == "float32[3]"


def test_an_older_checkpoint_can_be_asked_for_and_nothing_is_lost(copied: Path, whole: FitResult) -> None:
    assert_same(run(copied, resume=10)._asdict(), whole._asdict())
    assert {name.split("-")[0] for name in names(copied / "set-aside")} == {"15", "20"}
    with pytest.raises(ResumeError, match=r"there is no checkpoint .*/7; .*resume=STEP, there are 20, 15, 10"):
        run(copied, resume=7)


def test_a_folder_with_checkpoints_is_not_written_over(copied: Path) -> None:
    before = names(copied)
    with pytest.raises(ConfigurationError, match=r"already has checkpoints \(steps 10, 15, 20\): pass resume=True"):
        run(copied)
    assert names(copied) == before


def test_what_a_killed_run_left_is_cleared_away(copied: Path) -> None:
    (copied / "25.orbax-checkpoint-tmp" / "arrays").mkdir(parents=True)
    (copied / ".discarded-5-0" / "arrays").mkdir(parents=True)
    run(copied, resume=True)
    assert names(copied) == ["10", "15", "20"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 4}, "belongs to another run: batch_size 8 there, 4 here"),
        ({"key": jax.random.key(9)}, r"belongs to another run: key \[0, 3\] there, \[0, 9\] here"),
        ({"ema_decay": None}, "belongs to another run: ema_decay 0.9 there, None here"),
        (
            {"state": None, "loss": loss},
            "written with another model, optimiser or setting: state.mean does not occur in this run",
        ),
        ({"params": {"w": jnp.zeros(4), "b": jnp.zeros(())}}, r"params.w is float32\[3\] there and float32\[4\] here"),
    ],
)
def test_another_run_does_not_go_on_from_it(changes: dict[str, Any], words: str, finished: Path) -> None:
    with pytest.raises(ResumeError, match=words):
        run(finished, resume=True, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keep": 0}, "keep=0"),
        ({"every_epochs": 0, "every_steps": -1}, "every_epochs=0, every_steps=-1"),
        ({"config": {"x": {1, 2}}}, "serialisable as JSON"),
        ({"best": "accuracy"}, r"best='accuracy' is not a value of an epoch: \['loss'\]"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run(tmp_path, **changes)


def test_a_folder_that_cannot_be_made_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="checkpoints cannot be written in"):
        run(tmp_path / "file" / "run")


def test_a_folder_that_cannot_be_written_is_a_named_error(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    # Permissions would not stop a test that runs as root.
    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(OutputError, match=r"checkpoints cannot be written in .*Read-only file system"):
        run(copied, resume=True, epochs=6)
    assert names(copied) == ["10", "15", "20"]


def test_a_failed_write_loses_nothing(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import orbax.checkpoint as orbax

    full: list[int] = []
    wait = orbax.AsyncCheckpointer.wait_until_finished

    def wait_until_full(self: Any) -> None:
        wait(self)
        if full:
            full.clear()
            raise ValueError("No space left on device")

    def callback(report: EpochReport) -> None:
        # When this epoch is over, the checkpoint of the epoch before should be on the disk.
        if report.epoch == 7:
            full.append(1)

    monkeypatch.setattr(orbax.AsyncCheckpointer, "wait_until_finished", wait_until_full)
    words = r"checkpoint .*/30 could not be written \(ValueError: No space left.*the last good one is .*/25"
    with pytest.raises(UnsavedError, match=words) as caught:
        run(copied, resume=True, epochs=9, callback=callback)
    assert caught.value.checkpoint == copied / "25"
    assert_same(caught.value.result.params, run(epochs=7).params)


def test_a_disk_that_fills_up_during_a_run(tmp_path: Path) -> None:
    said = trainers.end(trainers.begin("full", tmp_path / "run"))
    assert "File too large" in said
    assert "Traceback" not in said
    assert "ERROR" not in said
    assert f"the last good one is {tmp_path / 'run' / '12'}" in said
    assert "left over: []; the same in the end: True" in said


def test_keys_in_the_state_are_kept(tmp_path: Path) -> None:
    def keyed(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> Any:
        return loss(params, batch, key)[0], ({"key": jax.random.fold_in(state["key"], 1), "none": state["none"]}, {})

    state = {"key": jax.random.key(5), "none": jnp.zeros((0, 2))}
    first = run(tmp_path, loss=keyed, state=state, epochs=2)
    again = run(tmp_path, loss=keyed, state=state, epochs=2, resume=True)
    assert jnp.issubdtype(again.state["key"].dtype, jax.dtypes.prng_key)
    assert_same(jax.random.key_data(again.state["key"]), jax.random.key_data(first.state["key"]))
    assert again.state["none"].shape == (0, 2)
