from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import parity
from mathdnn_jax.errors import OutputError
from parity import errors
from parity.store import PARAMS_OF

from .twins import save, small_state


def test_parameters_come_back_to_the_bit(tmp_path: Path) -> None:
    state = small_state()
    path = tmp_path / "nice.safetensors"
    parity.save_params(path, parity.convert(state))
    flow, params, back, config = parity.restore(path)
    assert config == {"dim": 6, "width": 5, "depth": 3, "couplings": 4}
    assert all(back[name].tobytes() == array.tobytes() for name, array in state.items())
    assert flow.log_prob(params, jax.random.uniform(jax.random.key(0), (2, 6))).shape == (2,)


@pytest.mark.parametrize("name", ["back.pt", "back.pth", "back.safetensors"])
def test_states_come_back_to_the_bit(tmp_path: Path, name: str) -> None:
    if not name.endswith("safetensors"):
        pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")
    state = small_state()
    parity.save_state(tmp_path / name, state)
    back = parity.load(tmp_path / name)
    assert back.keys() == state.keys()
    assert all(back[key].tobytes() == array.tobytes() for key, array in state.items())


def test_pytorch_loads_an_export_strictly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    from parity.reference import NICE

    state = small_state()
    parity.save_state(tmp_path / "out.pt", parity.export(parity.convert(state)))
    twin = NICE(6, 5, 3, 4)
    twin.load_state_dict(torch.load(tmp_path / "out.pt", weights_only=True), strict=True)
    assert all(tensor.numpy().tobytes() == state[name].tobytes() for name, tensor in twin.state_dict().items())


def test_a_spoiled_parameter_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nice.safetensors"
    parity.save_params(path, parity.convert(small_state()))
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    with pytest.raises(errors.NonFiniteWeightsError):
        parity.restore(path)
    path.write_bytes(content[:-10])
    with pytest.raises(errors.CorruptCheckpointError):
        parity.restore(path)


def test_float64_is_not_silently_rounded(tmp_path: Path) -> None:
    state = small_state(dtype=np.float64)
    path = tmp_path / "double.safetensors"
    with jax.enable_x64(True):
        parity.save_params(path, parity.convert(state))
        back = parity.restore(path).state
    assert all(back[name].tobytes() == array.tobytes() for name, array in state.items())
    with pytest.raises(errors.UnsupportedDtypeError, match="JAX_ENABLE_X64=1"):
        parity.restore(path)


def test_the_same_parameters_make_the_same_file(tmp_path: Path) -> None:
    params = parity.convert(small_state())
    contents = set()
    for k in range(8):
        parity.save_params(tmp_path / f"{k}.safetensors", params)
        contents.add((tmp_path / f"{k}.safetensors").read_bytes())
    assert len(contents) == 1


def test_names_that_are_leaf_and_group_are_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "odd.safetensors"
    for names in (("a", "a/b"), ("a/b", "a")):
        safetensors.save_file({name: np.zeros(1, np.float32) for name in names}, path, {PARAMS_OF: "nice"})
        with pytest.raises(errors.UnexpectedKeysError, match="both an array and a group"):
            parity.restore(path)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")
    path = save(small_state(), tmp_path / "nice.pt")
    before = path.read_bytes()

    def fail(content: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr("torch.save", fail)
    with pytest.raises(OutputError, match="No space left"):
        parity.save_state(path, small_state(1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weights.npz", ".pt, .pth or .safetensors"),
        ("no/such/folder.pt", "does not exist"),
        ("folder.pt", "it is a folder"),
    ],
)
def test_impossible_outputs(tmp_path: Path, name: str, words: str) -> None:
    pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(OutputError, match=words):
        parity.save_state(tmp_path / name, small_state())
    with pytest.raises(OutputError):
        parity.save_params(tmp_path / name, parity.convert(small_state()))
