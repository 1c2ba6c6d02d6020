"""Large files: what stays in the file, what a conversion takes beside its result, and what a claim may not take."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from mathdnn_jax.errors import MathdnnError
from parity import errors
from parity.containers.budget import ALLOWANCE
from parity.containers.checkpoint import read
from parity.containers.mapped import MIN_MAPPED_BYTES
from parity.containers.stack import MAX_TEXT_BYTES
from parity.display import MAX_LISTED

from .twins import save, small_state

torch = pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")

WIDE = {"dim": 784, "width": 2000, "depth": 3, "couplings": 4}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """154 MB in 33 arrays, of which the largest have 16 MB."""
    return save(small_state(config=WIDE), tmp_path_factory.mktemp("large") / "nice.pt")


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux's own account")
@pytest.mark.parametrize("kind", ["checkpoint", "parameters"])
def test_conversion_takes_little_beside_its_result(large: Path, kind: str, tmp_path: Path) -> None:
    if kind == "parameters":
        parity.save_params(tmp_path / "nice.safetensors", parity.restore(large).params)
        large = tmp_path / "nice.safetensors"
    small = save(small_state(), tmp_path / "small.pt")
    code = f"""
import jax, parity
from pathlib import Path
from parity.models import find_model, target_shapes
def field(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
parity.restore({str(small)!r})
target_shapes(find_model("nice"), {WIDE!r})
Path("/proc/self/clear_refs").write_text("5")
before = field("VmRSS")
restored = parity.restore({str(large)!r})
jax.block_until_ready(restored.params)
result = sum(leaf.nbytes for leaf in jax.tree.leaves(restored.params))
print(field("VmHWM") - before, result, max(leaf.nbytes for leaf in jax.tree.leaves(restored.params)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, result, largest = map(int, done.stdout.split())
    # An array is there up to three times for a moment (mapped, as the other side has it, transposed), and the allocator
    # keeps some pages. The whole state in memory would take as much again as the result.
    assert result > 150_000_000
    assert peak < result + 4 * largest + 32_000_000 < 2 * result


def test_a_mapped_state_is_that_of_the_file(large: Path) -> None:
    mapped, loaded = read(large).state, parity.load(large)
    assert list(mapped) == list(loaded)
    assert max(array.nbytes for array in loaded.values()) > MIN_MAPPED_BYTES
    assert all(mapped[name].tobytes() == array.tobytes() for name, array in loaded.items())
    assert "nothing" not in mapped
    with pytest.raises(KeyError):
        mapped["nothing"]


def test_writing_into_an_array_changes_nothing_else(large: Path) -> None:
    before = large.read_bytes()
    state = read(large).state
    name = max(state, key=lambda name: state[name].nbytes)
    array = state[name]
    assert array.nbytes > MIN_MAPPED_BYTES
    array[:] = 0
    assert state[name].any()
    assert large.read_bytes() == before


def test_a_file_that_changes_while_it_is_in_use(tmp_path: Path) -> None:
    path = save(small_state(), tmp_path / "nice.pt")
    kept, lost = read(path).state, read(path).state
    # Replaced, as `save_state` does it: the old file is read on.
    content = path.read_bytes()
    path.rename(tmp_path / "old.pt")
    save(small_state(1), path)
    assert kept["scaling.scale"].tobytes() == small_state()["scaling.scale"].tobytes()
    # Written over, as `torch.save` does it.
    (tmp_path / "old.pt").write_bytes(content[:100])
    with pytest.raises(errors.CorruptCheckpointError, match="overwritten while it was in use"):
        lost["scaling.scale"]


def test_more_arrays_than_a_process_may_open_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of open files are Unix's")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    array = torch.zeros(MIN_MAPPED_BYTES // 4)
    torch.save({str(k): array for k in range(2)} | {"x": torch.ones(40 * MIN_MAPPED_BYTES // 4)}, tmp_path / "x.pt")
    state = read(tmp_path / "x.pt").state
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 1, limits[1]))
        held = [state["0"] for _ in range(30)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert all(not array.any() for array in held)


def test_tensors_that_share_their_bytes(tmp_path: Path) -> None:
    weight = torch.rand(600, 1000)
    torch.save({"encoder": weight, "decoder": weight}, tmp_path / "tied.pt")
    assert all((array == weight.numpy()).all() for array in parity.load(tmp_path / "tied.pt").values())
    torch.save({f"x{k}": weight[k:] for k in range(500)}, tmp_path / "many.pt")
    with pytest.raises(errors.NotAStateDictError, match=r"500 tensors claim .* share the same bytes"):
        parity.load(tmp_path / "many.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"x": torch.zeros(1).expand(10**6, 10**6)},
        {"x": torch.zeros(1).reshape([1] * 40)},
        {f"x{k}": torch.zeros(1).expand(10**6) for k in range(3 * MAX_LISTED)},
    ],
)
def test_claims_beyond_all_files(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(errors.NotAStateDictError, match="claims") as caught:
        parity.load(tmp_path / "x.pt")
    assert len(str(caught.value)) < 3000


def test_empty_arrays_of_any_shape(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(0, 2**40)}, tmp_path / "x.pt")
    assert parity.load(tmp_path / "x.pt")["x"].shape == (0, 2**40)


@pytest.mark.parametrize(
    ("pickled", "error", "words"),
    [
        (b"\x80\x02" + b"]" * ALLOWANCE + b".", errors.UnsupportedCheckpointError, "more steps or memory"),
        (b"\x80\x02N", errors.CorruptCheckpointError, "IndexError"),
        (b"\x80\x02.", errors.CorruptCheckpointError, "IndexError"),
        (b"\x80\x02\x97.", errors.CorruptCheckpointError, "KeyError"),
        (b"\x80\x04\x8d" + b"\xff" * 8 + b".", errors.CorruptCheckpointError, "ends too early"),
        (b"\x80\x02}.", errors.UnsupportedCheckpointError, "a pickle of a dict that torch.save did not write"),
    ],
)
def test_pickles_beyond_the_limits(tmp_path: Path, pickled: bytes, error: type[Exception], words: str) -> None:
    (tmp_path / "x.pt").write_bytes(pickled)
    with pytest.raises(error, match=words):
        parity.load(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (b"X" + (MAX_TEXT_BYTES + 1).to_bytes(4, "little") + b"x" * (MAX_TEXT_BYTES + 1), "str"),
        (b")" + b"q\x00h\x00\x86" * 60, "tuple"),
        (b"\x8a\xff" + b"\x7f" * 255, "int"),
        (b"G" + bytes(8), "float"),
    ],
)
def test_keys_that_take_long_to_hash_or_to_show_are_named_by_their_kind(tmp_path: Path, key: bytes, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}(" + key + b"Nu.")
    with pytest.raises(errors.NotAStateDictError, match=f"key of type {kind} is not a string"):
        parity.load(tmp_path / "x.pt")


def test_a_failed_conversion_leaves_no_file(tmp_path: Path) -> None:
    from mathdnn_jax.cli import main

    (tmp_path / "out").mkdir()
    state = small_state()
    state["coupling.3.out_block.bias"][0] = np.nan
    path = save(state, tmp_path / "nice.pt")
    assert main(["convert", str(path), str(tmp_path / "out" / "nice.safetensors")]) == MathdnnError.exit_code
    assert list((tmp_path / "out").iterdir()) == []
