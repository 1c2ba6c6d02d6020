"""A fixed slice of the fuzzing run, in this process; `python -m tests.fuzz.fuzz` is the whole."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the files to spoil are written by PyTorch")
pytest.importorskip("safetensors", reason="the files to spoil are written by safetensors")

from .fuzz_corpus import MADE, Seed, corpus
from .fuzz_judge import Verdict, Watch, judge
from .fuzz_mutations import LEGACY, SAFETENSORS, ZIP, Case, make, rezip
from .fuzz_pickles import hostile, mapping, tensor

COUNT = 400


@pytest.fixture(scope="module")
def seeds() -> list[Seed]:
    # The same on every machine: the real files are left to the whole run.
    return corpus()[:MADE]


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


def test_sound_files_are_read_to_the_bit(seeds: list[Seed], watch: Watch, tmp_path: Path) -> None:
    for seed in seeds:
        verdict = judge(Case("sound", seed.content, seed.suffix, seed, False), tmp_path, watch, rebuilt=True)
        assert (verdict.outcome, verdict.broken) == ("identical", ())


def test_spoilt_files_give_the_same_weights_or_a_named_error(seeds: list[Seed], watch: Watch, tmp_path: Path) -> None:
    verdicts: dict[int, Verdict] = {}
    for index in range(COUNT):
        verdicts[index] = judge(make(seeds, 1, index), tmp_path, watch, rebuilt=index % 40 == 0)
    assert {index: verdict.broken for index, verdict in verdicts.items() if verdict.broken} == {}
    outcomes = Counter(verdict.outcome for verdict in verdicts.values())
    # The slice is worth its name: all three happen.
    assert outcomes["identical"] >= 10
    assert outcomes["CorruptCheckpointError"] >= 200
    assert outcomes["UnsafeCheckpointError"] >= 10


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_each_way_to_forge_a_file(seeds: list[Seed], watch: Watch, tmp_path: Path, kind: str) -> None:
    seed = next(seed for seed in seeds if seed.kind == kind)
    for number, (how, forge) in enumerate({"zip": ZIP, "legacy": LEGACY, "safetensors": SAFETENSORS}[kind].items()):
        content = forge(np.random.default_rng(number), seed.content)
        verdict = judge(Case(how, content, seed.suffix, seed, True), tmp_path, watch, rebuilt=False)
        assert verdict.broken == (), how


def test_hostile_pickles_run_nothing(seeds: list[Seed], watch: Watch, tmp_path: Path) -> None:
    refused = 0
    for number in range(150):
        content = hostile(np.random.default_rng((2, number)))
        verdict = judge(Case("pickle", content, ".pt", seeds[0], True), tmp_path, watch, rebuilt=False)
        assert verdict.broken == (), number
        refused += verdict.outcome == "UnsafeCheckpointError"
    assert refused >= 50


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((25,), (1,), 0), ((24,), (1,), 1), ((4, 6), (7, 1), 0), ((2,), (24,), 0)]
)
def test_tensors_beyond_their_storage(
    seeds: list[Seed], watch: Watch, tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    pickled = mapping([("x", tensor("0", shape, strides, 24, offset))])
    content = rezip([("a/data.pkl", pickled), ("a/data/0", bytes(96)), ("a/data/1", bytes(4096))])
    verdict = judge(Case("beyond", content, ".pt", seeds[0], True), tmp_path, watch, rebuilt=False)
    assert (verdict.outcome, verdict.broken) == ("CorruptCheckpointError", ())


@pytest.mark.long
def test_ten_thousand_files() -> None:
    command = [sys.executable, "-m", "tests.fuzz.fuzz", "--count", "10000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
