"""Damage to a checkpoint is always detected, and an older checkpoint is offered."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mathdnn_jax.errors import ResumeError
from mathdnn_jax.training import FitResult

from .lines import assert_same
from .saved_runs import names, run

pytest.importorskip("orbax.checkpoint", reason="checkpoints are written by orbax")


@pytest.fixture(scope="module")
def whole() -> FitResult:
    return run()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def told(folder: Path) -> tuple[str, tuple[int, ...]]:
    try:
        run(folder, resume=True)
    except ResumeError as error:
        return str(error), error.older
    return "", ()


# Orbax abandons what it was reading besides.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flip", "truncate", "delete"])
def test_no_damage_goes_unseen(
    damage: Callable[[Path], None], finished: Path, tmp_path: Path, whole: FitResult
) -> None:
    seen = 0
    for k, path in enumerate(files(finished / "20")):
        folder = Path(shutil.copytree(finished, tmp_path / str(k)))
        damage(folder / path.relative_to(finished))
        said, older = told(folder)
        if not said:
            # A file without which everything can be read, such as a marker: then everything was read.
            assert_same(run(folder, resume=True)._asdict(), whole._asdict())
            continue
        seen += 1
        assert f"{folder / '20'} is damaged" in said
        assert "choose another one with resume=STEP, there are 15, 10" in said
        assert older == (15, 10)
        assert names(folder) == ["10", "15", "20"]
    assert seen >= 3
    gc.collect()


@pytest.mark.parametrize(("part", "words"), [("arrays", "the bits of "), ("history", "step loss")])
def test_parts_of_two_checkpoints_are_not_one(part: str, words: str, copied: Path) -> None:
    shutil.rmtree(copied / "20" / part)
    shutil.copytree(copied / "15" / part, copied / "20" / part)
    said, older = told(copied)
    assert f"{copied / '20'} is damaged" in said
    assert words in said
    assert older == (15, 10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_after_damage_the_older_checkpoint_leads_to_the_same_end(copied: Path, whole: FitResult) -> None:
    for path in files(copied / "20"):
        truncate(path)
    _, older = told(copied)
    gc.collect()
    assert_same(run(copied, resume=older[0])._asdict(), whole._asdict())
    assert names(copied) == ["10", "15", "20", "set-aside"]
