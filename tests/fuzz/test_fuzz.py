"""A fixed slice of the fuzzing run in this process. The whole run is `python -m tests.fuzz.fuzz`."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the files to spoil are written by PyTorch")
pytest.importorskip("safetensors", reason="the files to spoil are written by safetensors")

from .amplification import CONTAINERS, KINDS, amplified
from .corpus import MADE, SoundFile, corpus
from .judge import Verdict, Watch, judge
from .mutations import INDEX, LEGACY, SAFETENSORS, ZIP, SpoiltFile, make, rezip
from .pickles import CANARY, PROTO, hostile, mapping, tensor, text

COUNT = 400


@pytest.fixture(scope="module")
def sound_files() -> list[SoundFile]:
    # The real files are left to the whole run, so that the slice is the same on every machine.
    return corpus()[:MADE]


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


def test_sound_files_are_read_to_the_bit(sound_files: list[SoundFile], watch: Watch, tmp_path: Path) -> None:
    for sound in sound_files:
        verdict = judge(SpoiltFile("sound", sound.content, sound.suffix, sound, False), tmp_path, watch, rebuilt=True)
        assert (verdict.outcome, verdict.broken) == ("identical", ())


def test_spoilt_files_give_the_same_weights_or_a_named_error(
    sound_files: list[SoundFile], watch: Watch, tmp_path: Path
) -> None:
    verdicts: dict[int, Verdict] = {}
    for index in range(COUNT):
        verdicts[index] = judge(make(sound_files, 1, index), tmp_path, watch, rebuilt=index % 40 == 0)
    assert {index: verdict.broken for index, verdict in verdicts.items() if verdict.broken} == {}
    outcomes = Counter(verdict.outcome for verdict in verdicts.values())
    # All three kinds of outcome occur in the slice.
    assert outcomes["identical"] >= 10
    assert outcomes["CorruptCheckpointError"] >= 200
    assert outcomes["UnsafeCheckpointError"] >= 10


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "index"])
def test_each_way_to_forge_a_file(sound_files: list[SoundFile], watch: Watch, tmp_path: Path, kind: str) -> None:
    sound = next(sound for sound in sound_files if sound.kind == kind)
    ways = {"zip": ZIP, "legacy": LEGACY, "safetensors": SAFETENSORS, "index": INDEX}[kind]
    for number, (how, forge) in enumerate(ways.items()):
        content = forge(np.random.default_rng(number), sound.content)
        verdict = judge(SpoiltFile(how, content, sound.suffix, sound, True), tmp_path, watch, rebuilt=False)
        assert verdict.broken == (), how


def test_hostile_pickles_run_nothing(sound_files: list[SoundFile], watch: Watch, tmp_path: Path) -> None:
    refused = 0
    for number in range(150):
        content = hostile(np.random.default_rng((2, number)))
        verdict = judge(SpoiltFile("pickle", content, ".pt", sound_files[0], True), tmp_path, watch, rebuilt=False)
        assert verdict.broken == (), number
        refused += verdict.outcome == "UnsafeCheckpointError"
    assert refused >= 50


def test_work_is_in_proportion_to_the_file(watch: Watch, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(2 * len([*KINDS, *CONTAINERS])):
        spoilt = amplified(3, number, most=2000)
        verdict = judge(spoilt, tmp_path, watch, rebuilt=False)
        assert verdict.broken == (), spoilt.how
        outcomes[verdict.outcome] += 1
    # What asks for little is read, or refused for other reasons.
    assert outcomes["UnsupportedCheckpointError"] >= 5
    assert outcomes["read"] + outcomes["NotAStateDictError"] >= 20


def test_a_reader_whose_work_grows_faster_than_the_file_is_caught(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = amplified(3, [*KINDS].index("a size of a list"), most=800)
    assert judge(spoilt, tmp_path, watch, rebuilt=False).broken == ()
    monkeypatch.setattr("parity.containers.budget.ALLOWANCE", 10**12)
    assert "MiB for a file of" in "; ".join(judge(spoilt, tmp_path, watch, rebuilt=False).broken)


def test_a_reader_that_runs_pickles_is_caught(
    sound_files: list[SoundFile], watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = PROTO + f"c{CANARY}\nsing\n(".encode() + text("hello") + b"tR."
    spoilt = SpoiltFile("pickle", content, ".pt", sound_files[0], True)
    assert judge(spoilt, tmp_path, watch, rebuilt=False).broken == ()
    monkeypatch.setattr("parity.load", lambda path, **_: pickle.loads(path.read_bytes()))
    assert "a payload ran" in judge(spoilt, tmp_path, watch, rebuilt=False).broken


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((25,), (1,), 0), ((24,), (1,), 1), ((4, 6), (7, 1), 0), ((2,), (24,), 0)]
)
def test_tensors_beyond_their_storage(
    sound_files: list[SoundFile],
    watch: Watch,
    tmp_path: Path,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
) -> None:
    pickled = mapping([("x", tensor("0", shape, strides, 24, offset))])
    content = rezip([("a/data.pkl", pickled), ("a/data/0", bytes(96)), ("a/data/1", bytes(4096))])
    verdict = judge(SpoiltFile("beyond", content, ".pt", sound_files[0], True), tmp_path, watch, rebuilt=False)
    assert (verdict.outcome, verdict.broken) == ("CorruptCheckpointError", ())


@pytest.mark.long
def test_ten_thousand_files() -> None:
    command = [sys.executable, "-m", "tests.fuzz.fuzz", "--count", "10000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
