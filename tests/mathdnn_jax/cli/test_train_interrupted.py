"""Runs of `mathdnn train` that are stopped, damaged, edited, shared or out of memory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mathdnn_jax.cli import drawing, main, run_folder, run_log
from mathdnn_jax.folder_lock import locked_folder
from mathdnn_jax.recipes import find_recipe, resolve
from mathdnn_jax.signals import STATUS
from mathdnn_jax.training import EpochReport

pytestmark = pytest.mark.usefixtures("quick_compilation")
for package in ("orbax.checkpoint", "safetensors", "matplotlib"):
    pytest.importorskip(package, reason="runs of training need it")

SMALL = ["--set", "numbers=400", "--set", "test_numbers=90", "--batch-size", "64", "--epochs", "3"]


def train(folder: Path, *more: str) -> int:
    return main(["train", "mixture-cdf", "-o", str(folder), *SMALL, *more])


@pytest.fixture(scope="module")
def whole(quick_compilation: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs without interruption; never changed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train(folder) == 0
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.mark.usefixtures("heeded_interrupts")
@pytest.mark.parametrize("number", STATUS)
def test_a_signal_stops_the_run_after_its_epoch(
    number: signal.Signals,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder, as_line = tmp_path / "run", run_log.as_line

    def signalled(report: EpochReport) -> dict[str, Any]:
        if report.epoch == 2:
            os.kill(os.getpid(), number)
        return as_line(report)

    with monkeypatch.context() as patch:
        patch.setattr(run_log, "as_line", signalled)
        # Epoch 2 has no checkpoint of its own.
        assert train(folder, "--set", "checkpoint_epochs=3") == STATUS[number]
    said = capfd.readouterr().err
    assert f"mathdnn: {number.name}: stopping at the end of this epoch" in said
    assert "mathdnn: stopped after epoch 2 of 3; --resume continues" in said
    assert not (folder / ".lock").exists()
    assert not (folder / "weights.safetensors").exists()
    assert train(folder, "--set", "checkpoint_epochs=3", "--resume") == 0
    name = "weights.safetensors"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_folder_that_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked_folder(tmp_path):
        assert train(tmp_path) == 2
        assert "FolderInUseError" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_link_to_a_folder(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert train(tmp_path / "link", "--epochs", "1") == 0
    assert (tmp_path / "there" / "weights.safetensors").exists()


GOOD = [b'{"epoch": 1, "step": 7, "loss": 5}', b'{"epoch":  2, "step": 14, "loss": NaN}']
DAMAGED = [
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"epoch": ' + b"9" * 5000 + b"}",
    b'"text"',
    b"[1, 2]",
    b'{"loss": 3}',
    b'{"epoch": "2"}',
    b'{"epoch": true}',
    b'{"epoch": -1}',
    b'{"epoch": 2, "loss": [1]}',
    b'{"epoch": 2, "st',
]


@pytest.mark.parametrize("place", range(3))
def test_damaged_metrics(place: int, tmp_path: Path) -> None:
    for line in DAMAGED:
        lines = [*GOOD[:place], line, *GOOD[place:]]
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        with pytest.warns(UserWarning, match="1 of 3 lines of .* are damaged") as said:
            run_log.keep_metrics(path, 3)
        assert path.read_bytes() == b"\n".join(GOOD) + b"\n"
        assert any(
            kept.read_bytes() == b"\n".join(lines) + b"\n" for kept in tmp_path.glob("metrics.damaged-*.jsonl")
        ), said
    assert len(list(tmp_path.iterdir())) == len(DAMAGED) + 1


def test_whole_metrics_are_shortened_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(GOOD))
    run_log.keep_metrics(path, 2)
    assert path.read_bytes() == GOOD[0] + b"\n"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("shape = []", "shape = [3]", "shape of 0, 2 or 3 sizes"),
        ("shape = []", "shape = [-3, 3]", "shape of 0, 2 or 3 sizes"),
        ("shape = []", f"shape = [{10**9}, 3]", "shape of 0, 2 or 3 sizes"),
        ('model = "mixture-cdf"', "model = [3]", "a model's name"),
        ('model = "mixture-cdf"', 'model = "resnet"', "no recipe for 'resnet'"),
        ("components = 5", "components = -5", "components"),
        pytest.param("components = 5", "components = " + "[" * 5000, "too deep", id="deep"),
        ("eps = ", "eps = nan # ", "eps must be a positive number"),
        ("seed = 0", "seed = -1", "seed"),
        ("epochs = 3", 'epochs = "three"', "epochs must be an integer"),
        ("epochs = 3", "epoch = 3", "no setting 'epoch'"),
    ],
)
def test_an_edited_configuration_is_refused(
    old: str, new: str, expected: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "config.toml"
    before = path.read_text()
    assert before.count(old) == 1
    path.write_text(before.replace(old, new))
    assert main(["evaluate", str(run)]) == 2
    assert expected in capsys.readouterr().err
    if "shape" not in old:
        assert train(run, "--resume") == 2
        said = capsys.readouterr().err
        assert expected in said or "of [3], not of" in said or "of 'resnet', not of" in said
    assert path.read_text() == before.replace(old, new)


def test_settings_that_json_and_toml_write_in_different_ways(tmp_path: Path) -> None:
    settings = resolve("mixture-cdf", find_recipe("mixture-cdf"), {"data_dir": '/😀/\x7f/\n"\\'})
    run_folder.write_config(tmp_path, "mixture-cdf", settings, ())
    found = tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))
    assert found["data_dir"] == '/😀/\x7f/\n"\\'


def test_samples_beyond_the_memory(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (10**18, 10**12):
        assert main(["sample", str(whole), "-n", str(count), "-o", str(tmp_path / "x.npy")]) == 2
        assert "GiB of memory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(drawing, "available_memory", lambda: 8 * 700)
    assert main(["sample", str(whole), "-n", "701", "-o", str(tmp_path / "x.npy")]) == 2
    assert "draw at most 700 at a time" in capsys.readouterr().err
    assert main(["sample", str(whole), "-n", "700", "-o", str(tmp_path / "x.npy")]) == 0
    drawn = np.load(tmp_path / "x.npy")
    assert drawn.shape == (700,)
    assert len(np.unique(drawn)) > 650
    assert np.isfinite(drawn).all()


def test_metrics_that_were_damaged_do_not_stop_a_resumed_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\n")
    assert train(run, "--resume", "--epochs", "4") == 0
    assert "mathdnn: 1 of 4 lines of" in capsys.readouterr().err
    epochs = [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3, 4]
