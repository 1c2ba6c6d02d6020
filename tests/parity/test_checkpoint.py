from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from parity import errors
from parity.containers.checkpoint import sha256

from .twins import save, small_state

torch = pytest.importorskip("torch", reason="PyTorch checkpoints are written and read by PyTorch")


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return list(a) == list(b) and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["nice.pt", "nice.pth", "nice"])
def test_torch_containers_are_read_to_the_bit(tmp_path: Path, name: str, legacy: bool) -> None:
    state = small_state()
    assert same(parity.load(save(state, tmp_path / name, legacy=legacy)), state)


def test_every_dtype_is_kept(tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3)
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool):
        path = tmp_path / "one.pt"
        torch.save({"x": torch.from_numpy(values).to(dtype)}, path)
        loaded = parity.load(path)["x"]
        assert str(loaded.dtype) == str(dtype).removeprefix("torch.")
        np.testing.assert_array_equal(
            loaded.astype(np.int64), torch.from_numpy(values).to(dtype).to(torch.int64).numpy()
        )


def test_views_are_read_as_they_look(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"transposed": whole.T, "part": whole[:, 1]}, tmp_path / "views.pt")
    loaded = parity.load(tmp_path / "views.pt")
    np.testing.assert_array_equal(loaded["transposed"], whole.numpy().T)
    np.testing.assert_array_equal(loaded["part"], [1, 5, 9])


def test_safetensors_are_read_by_suffix_and_by_content(tmp_path: Path) -> None:
    state = small_state()
    path = tmp_path / "nice.safetensors"
    parity.save_state(path, state)
    # The format orders its arrays by itself.
    assert same(dict(sorted(parity.load(path).items())), dict(sorted(state.items())))
    assert parity.load(path.rename(tmp_path / "nice.pt")).keys() == state.keys()


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(errors.CheckpointNotFoundError, match=r"nowhere.pt does not exist"):
        parity.load(tmp_path / "nowhere.pt")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        parity.load(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 10, 100, 0.5, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, legacy: bool, kept: float) -> None:
    whole = save(small_state(), tmp_path / "whole.pt", legacy=legacy).read_bytes()
    path = tmp_path / "part.pt"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(errors.CorruptCheckpointError, match=r"part.pt"):
        parity.load(path)


def test_one_flipped_bit_of_a_weight(tmp_path: Path) -> None:
    # PyTorch reads this file without a word, and gives another weight.
    path = save(small_state(), tmp_path / "nice.pt")
    content = bytearray(path.read_bytes())
    at = content.index(small_state()["scaling.scale"].tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["scaling.scale"].shape == (1, 6)
    with pytest.raises(errors.CorruptCheckpointError, match=r"altered since it was written.*data/\d+"):
        parity.load(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 1000, b"{}", b"PK\x03\x04 not a zip", b"\x80\x02}q\x00."])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    for name in ("other.pt", "other.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(errors.CheckpointError, match="other"):
            parity.load(path)


class Payload:
    """Unpickled by Python itself, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("container", ["zip", "legacy", *(f"plain pickle {k}" for k in range(6))])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, container: str) -> None:
    proof, path = tmp_path / "it-ran", tmp_path / "evil.pt"
    content = {"scaling.scale": torch.zeros(1, 6), "x": Payload(proof)}
    if container.startswith("plain"):
        path.write_bytes(pickle.dumps(Payload(proof), protocol=int(container[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(errors.UnsafeCheckpointError, match=r"none of it was run.*mkdir") as caught:
        parity.load(path)
    assert "weights_only" not in str(caught.value)
    assert not proof.exists()
    # The payload is a live one: Python's own unpickler runs it.
    if container.startswith("plain"):
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert proof.exists()


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", b"\x1f\x8b\x08"]
)
def test_no_message_recommends_to_run_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.pt").write_bytes(content)
    with pytest.raises(errors.CorruptCheckpointError, match="obtain it again") as caught:
        parity.load(tmp_path / "page.pt")
    assert "weights_only" not in str(caught.value)


def test_tensors_that_numpy_cannot_hold_are_named(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "eight.pt")
    with pytest.raises(errors.NotAStateDictError, match=r"'a' is a tensor of torch\.float8_e4m3fn"):
        parity.load(tmp_path / "eight.pt")


def test_impossible_paths_are_named(tmp_path: Path) -> None:
    for name in ("x" * 300, "nul\0"):
        with pytest.raises(errors.CheckpointNotFoundError):
            parity.load(tmp_path / name)


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(errors.UnsafeCheckpointError, match=r"torch.nn.modules.linear.Linear.*state_dict"):
        parity.load(tmp_path / "module.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(2), "holds a Tensor"),
        ({"model_state": {"a": torch.zeros(1), "b": 2}, "epoch": 3}, "'model_state' is a dict; 'epoch' is a int"),
        ({1: torch.zeros(1)}, "key 1 is not a string"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "not a dense"),
        ({"a": torch.zeros(1).expand(10**9)}, "claims 1,000,000,000 entries"),
    ],
)
def test_what_is_no_flat_state_dict_is_named(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(errors.NotAStateDictError, match=words):
        parity.load(tmp_path / "other.pt")


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x00" * 50_000_000)
    with pytest.raises(errors.CorruptCheckpointError, match="unpack to more bytes"):
        parity.load(path)


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
