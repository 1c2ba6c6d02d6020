"""`mathdnn inpaint`, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import parity
from mathdnn_jax import data, nice
from mathdnn_jax.cli import main
from mathdnn_jax.cli.inpaint import describe
from mathdnn_jax.tasks import corrupt, inpaint, rectangle

from ...drawn import drawn

pytest.importorskip("safetensors", reason="the parameters are in a safetensors file")
pytest.importorskip("sklearn", reason="the command is tried on scikit-learn's digits")
pytest.importorskip("matplotlib", reason="pictures need matplotlib")

FLOW = nice(dim=64, width=8, depth=1, couplings=2)
PARAMS = drawn(FLOW.init, scale=0.5)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    parity.save_params(tmp_path / "digits.safetensors", PARAMS)
    return ["inpaint", "--checkpoint", str(tmp_path / "digits.safetensors"), "--data", "digits", "--steps", "7"]


def test_it_writes_the_picture_and_what_the_library_says(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.png"
    options = ["--images", "3", "0", "--rows", "2:4", "--columns", "0:8", "--fill", "0.5", "-o", str(output), "--json"]
    assert main([*command, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    mask = rectangle((8, 8), (2, 4), (0, 8))
    images = data.load("digits").images[[3, 0]]
    expected = inpaint(FLOW, PARAMS, corrupt(images, mask, 0.5), mask, steps=7).log_prob
    assert [one["image"] for one in found["images"]] == [3, 0]
    assert [one["log_prob_before"] for one in found["images"]] == pytest.approx(expected[0].tolist())
    assert [one["log_prob_after"] for one in found["images"]] == pytest.approx(expected[-1].tolist())
    assert found["steps"] == 7
    assert output.stat().st_size > 5000


def test_a_mask_from_a_file_and_readable_text(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "mask.npy", rectangle((8, 8), (1, 3), (1, 7)))
    output = ["--images", "5", "-o", str(tmp_path / "out.svg")]
    assert main([*command, "--mask", str(tmp_path / "mask.npy"), *output, "--halvings", "8", "--step-size=0.1"]) == 0
    by_file = capsys.readouterr().out
    assert "0 of 7 steps" in by_file
    # The course's rectangle, rows 5:12 and columns 5:20 of 28, is rows 1:3 and columns 1:6 of 8.
    assert main([*command, *output]) == 0
    by_default = capsys.readouterr().out
    assert main([*command, *output, "--rows", "1:3", "--columns", "1:6"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == by_default.splitlines()[1] != by_file.splitlines()[1]


def test_the_best_image_is_written_and_the_report_says_so(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--images", "3", "0", "-o", str(tmp_path / "out.png"), "--step-size", "3"]
    assert main([*command, *options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = said["images"]
    mask = rectangle((8, 8), (1, 3), (1, 6))
    images = data.load("digits").images[[3, 0]]
    history = inpaint(FLOW, PARAMS, corrupt(images, mask), mask, steps=7, step_size=3.0).log_prob
    assert [one["best_step"] for one in found] == history.argmax(0).tolist()
    assert [one["log_prob_after"] for one in found] == pytest.approx(history.max(0).tolist())
    assert [one["log_prob_of_last_step"] for one in found] == pytest.approx(history[-1].tolist())
    assert (history.argmax(0) < 7).any()
    assert "at which it was best, which was not always the last" in describe(said, tmp_path)
    assert f"{found[0]['best_step']} steps   {found[0]['steps_that_fell']} of 7 steps" in describe(said, tmp_path)
    last = {**said, "images": [{**one, "best_step": 7} for one in found]}
    assert "was best" not in describe(last, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--images", "597"], "there is no image [597]"),
        (["--rows", "3:9"], "rows 3:9 are not within"),
        (["--mask", "nowhere.npy"], "the mask nowhere.npy"),
        (["--mask", "nowhere.npy", "--rows", "1:2"], "not by both"),
        (["--fill", "2"], "value=2.0"),
        (["--step-size", "-1"], "wrong: step_size"),
        (["-o", "out.txt"], "suffix of a picture must be one of"),
        (["--data", "mnist", "--data-dir", "nowhere"], "MNIST"),
    ],
)
def test_bad_input_is_one_message(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["digits.safetensors"]


@pytest.mark.parametrize(
    ("option", "words"), [("--rows=3", "is not a range"), ("--rows=a:b", "whole"), ("--images=-1", "-1")]
)
def test_impossible_arguments_are_refused_at_once(
    command: list[str], capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    with pytest.raises(SystemExit):
        main([*command, option])
    assert words in capsys.readouterr().err
