"""States that stay in their files: read by several threads at once, and with arrays of any strides."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import parity
from parity import errors
from parity.containers.checkpoint import read
from parity.containers.mapped import WINDOW, Located, MappedState
from parity.containers.positional import PositionalFile
from parity.containers.tensor_map import StoredArray, check_claim

from ..fuzz.pickles import mapping, tensor
from .twins import save, small_state


@pytest.mark.parametrize("positional", [True, False])
def test_threads_read_the_right_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, positional: bool) -> None:
    if not positional:
        monkeypatch.delattr(os, "preadv", raising=False)
    state = small_state()
    path = tmp_path / "nice.safetensors"
    parity.save_state(path, {f"module.{name}": array for name, array in state.items()})
    whole = read(path).state
    assert isinstance(whole, MappedState)
    shared = [whole.without_prefix("module."), whole.without_prefix("module.").without(["scaling.scale"])]
    looked, wrong = [], []

    def look(number: int) -> None:
        for _ in range(25):
            for name, array in shared[number % 2].items():
                looked.append(name)
                if array.tobytes() != state[name].tobytes():
                    wrong.append(name)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looked) == 4 * 25 * (len(state) + len(state) - 1)
    assert wrong == []


def stored(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, order: str = "<") -> StoredArray:
    """An array of float32, with strides in entries."""
    return StoredArray(np.dtype(f"{order}f4"), shape, tuple(4 * step for step in strides), 4 * offset)


STRIDED = {
    "as it is": stored((3, 4, 5), (20, 5, 1), 7),
    "transposed": stored((1100, 900), (1, 1100)),
    "a column": stored((1000,), (1000,), 3),
    "far apart": stored((3, 2), (400_000, 1)),
    "every other": stored((5, 300, 300), (180_000, 600, 2)),
    "two long axes, the inner one transposed": stored((2, 700, 700), (490_000, 1, 700)),
    "repeated": stored((4, 1000, 3), (0, 1000, 1)),
    "axes of one": stored((1, 1000, 1), (7, 1, 123)),
    "overlapping": stored((600, 600), (700, 700)),
    "sliding": stored((1000, 1000), (1, 1)),
    "empty": stored((0, 3), (5, 1)),
    "a number": stored((), (), 5),
    "the other byte order": stored((30, 40), (40, 1), 2, ">"),
    "the other byte order, transposed": stored((900, 1100), (1, 900), 2, ">"),
}


@pytest.mark.parametrize("name", STRIDED)
def test_arrays_of_any_strides(tmp_path: Path, name: str) -> None:
    array = STRIDED[name]
    content = np.random.default_rng(0).normal(size=1_000_000).astype(array.dtype)
    path = tmp_path / "x"
    content.tofile(path)
    start = content.ravel()[array.offset // 4 :]
    expected = np.lib.stride_tricks.as_strided(start, array.shape, array.strides).astype(np.float32)
    with path.open("rb") as file:
        state = MappedState.of(path, file, {"x": array})
    for found in (state["x"], state.read("x")):
        assert found.shape == array.shape
        assert found.dtype == np.dtype(np.float32)
        assert found.flags.c_contiguous
        assert found.flags.writeable
        np.testing.assert_array_equal(found, expected)
    assert state.nbytes == expected.nbytes


def test_a_strided_array_is_read_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = STRIDED["two long axes, the inner one transposed"]
    np.zeros(1_000_000, np.float32).tofile(tmp_path / "x")
    asked: list[int] = []
    whole = PositionalFile.read_into

    def noted(file: PositionalFile, buffer: memoryview, offset: int) -> None:
        asked.append(len(buffer))
        whole(file, buffer, offset)

    monkeypatch.setattr(PositionalFile, "read_into", noted)
    with (tmp_path / "x").open("rb") as file:
        MappedState({"x": Located(PositionalFile(tmp_path / "x", file), array)}).read("x")
    assert max(asked) <= WINDOW
    assert sum(asked) < 2 * array.extent
    assert len(asked) < 2 * array.extent / WINDOW + 2


@pytest.mark.parametrize(
    ("name", "compact", "nested"),
    [
        ("as it is", True, True),
        ("axes of one", True, True),
        ("transposed", False, True),
        ("repeated", False, True),
        ("overlapping", False, False),
        ("sliding", False, False),
    ],
)
def test_how_arrays_lie_in_a_file(name: str, compact: bool, nested: bool) -> None:
    assert (STRIDED[name].compact, STRIDED[name].nested) == (compact, nested)


def test_overlapping_arrays_count_with_all_that_is_read_for_them() -> None:
    # Of 400 MB, read by way of 800 MB.
    arrays = {"x": stored((10_000, 10_000), (10_000, 10_000))}
    check_claim("x.pt", arrays, 600_000_000)
    with pytest.raises(errors.NotAStateDictError, match="1 tensors claim 1,199,9"):
        check_claim("x.pt", arrays, 590_000_000)


@pytest.mark.parametrize("axes", [((2,), (499_999,), 2500), ((300, 300), (800, 800), 1)])
def test_views_that_take_far_longer_to_read_than_the_file(
    tmp_path: Path, axes: tuple[tuple[int, ...], tuple[int, ...], int]
) -> None:
    shape, strides, count = axes
    pickled = mapping([(f"x{k}", tensor("0", shape, strides, 500_000)) for k in range(count)])
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/data/0", bytes(2_000_000))
    if count == 1:
        # Overlapping steps need the extent beside the result: that is within the limit here.
        assert parity.load(tmp_path / "x.pt")["x0"].shape == shape
        return
    with pytest.raises(errors.NotAStateDictError, match=r"spread so widely .* more than 1,000 times"):
        parity.load(tmp_path / "x.pt")


def test_memory_that_is_not_there_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = read(save(small_state(), tmp_path / "nice.pt")).state

    def none(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("parity.containers.mapped.np.empty", none)
    with pytest.raises(errors.UnreadableCheckpointError, match=r"no memory for 'scaling\.scale', .* of 24 bytes"):
        state["scaling.scale"]


def test_a_failing_disk_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nice.safetensors"
    parity.save_state(path, small_state())
    state = read(path).state

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail, raising=False)
    with pytest.raises(errors.UnreadableCheckpointError, match=r"cannot be read: .*Input/output error"):
        state["scaling.scale"]
