"""Checkpoints in several files, and folders of them, as Hugging Face's libraries write both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from parity import errors
from parity.containers.budget import ALLOWANCE
from parity.containers.checkpoint import files, read, sha256

from ..fuzz.pickles import mapping, tensor
from .twins import small_state

pytest.importorskip("torch", reason="spoilt files are made from PyTorch's")
from ..fuzz.mutations import rezip

safetensors = pytest.importorskip("safetensors.numpy", reason="the parts are written by safetensors")

STATE = small_state()
NAMES = list(STATE)
PARTS = {"1-of-2": NAMES[: len(NAMES) // 2], "2-of-2": NAMES[len(NAMES) // 2 :]}


def write(folder: Path, suffix: str = "safetensors", stem: str = "model") -> Path:
    """A state in two files and its index."""
    parts = {f"{stem}-0000{part}.{suffix}": names for part, names in PARTS.items()}
    for file, names in parts.items():
        part = {name: STATE[name] for name in names}
        if suffix == "safetensors":
            safetensors.save_file(part, folder / file)
        else:
            torch = pytest.importorskip("torch", reason="such parts are written by PyTorch")
            torch.save({name: torch.from_numpy(array.copy()) for name, array in part.items()}, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    path = folder / f"{stem}.{suffix}.index.json"
    path.write_text(json.dumps(index))
    return path


def same(state: Any) -> bool:
    return list(state) == NAMES and all(
        state[name].dtype == array.dtype and state[name].tobytes() == array.tobytes() for name, array in STATE.items()
    )


@pytest.mark.parametrize(("suffix", "stem"), [("safetensors", "model"), ("bin", "pytorch_model")])
def test_an_index_is_read_as_one_state(tmp_path: Path, suffix: str, stem: str) -> None:
    index = write(tmp_path, suffix, stem)
    assert same(parity.load(index))
    assert same(parity.load(tmp_path))
    restored = parity.restore(tmp_path)
    assert same(restored.state)
    assert parity.export(restored.params)["scaling.scale"].tobytes() == STATE["scaling.scale"].tobytes()
    assert same(read(index).state.without([]))  # type: ignore[attr-defined]


def test_the_digest_of_an_index_covers_all_of_its_files(tmp_path: Path) -> None:
    index = write(tmp_path)
    parts = sorted(tmp_path.glob("*.safetensors"))
    assert files(index) == files(tmp_path) == [index, *parts]
    whole = b"".join(path.read_bytes() for path in [index, *parts])
    assert sha256(index) == sha256(tmp_path) == hashlib.sha256(whole).hexdigest()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    index = write(tmp_path)
    (tmp_path / "model-00002-of-2.safetensors").unlink()
    with pytest.raises(errors.MissingShardError, match=r"names 2 files, and 1 of them .* 'model-00002-of-2"):
        parity.load(index)
    assert issubclass(errors.MissingShardError, FileNotFoundError)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.bin", "..", ".", "", "a\\b", "nul\0"])
def test_an_index_names_only_files_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    index = write(tmp_path / "inner")
    safetensors.save_file(STATE, tmp_path / "model.safetensors")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(NAMES, name)}))
    with pytest.raises(errors.UnsafeCheckpointError, match=r"not beside it: '.*none of them was opened"):
        parity.load(index)


def test_an_index_of_itself_ends(tmp_path: Path) -> None:
    index = write(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": index.name}}))
    with pytest.raises(errors.UnsupportedCheckpointError, match="is JSON text"):
        parity.load(index)


def test_files_of_another_checkpoint_are_noticed(tmp_path: Path) -> None:
    index = write(tmp_path)
    content = json.loads(index.read_text())
    first, second = content["weight_map"][NAMES[0]], content["weight_map"][NAMES[-1]]
    for change, words in (
        ({NAMES[0]: second}, f"00001-of-2.safetensors' do not .* lacks nothing, and has '{NAMES[0]}' too many"),
        ({"new": first}, "lacks 'new', and has nothing"),
    ):
        index.write_text(json.dumps({"weight_map": content["weight_map"] | change}))
        with pytest.raises(errors.NotAStateDictError, match=words):
            parity.load(index)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", errors.CorruptCheckpointError, "not JSON"),
        ("[" * 100_000, errors.CorruptCheckpointError, "not JSON"),
        (b"\x00[\x00]", errors.CorruptCheckpointError, "not JSON"),
        ("[]", errors.NotAStateDictError, "not the index of a checkpoint"),
        ('{"weight_map": {}}', errors.NotAStateDictError, "not the index"),
        ('{"weight_map": {"a": 1}}', errors.NotAStateDictError, "not the index"),
        ('{"weight_map": [' + "[]," * 800_000 + "1]}", errors.UnsupportedCheckpointError, "more steps or memory"),
    ],
)
def test_what_is_no_index_is_said(tmp_path: Path, text: str | bytes, error: type[Exception], words: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(error, match=words):
        parity.load(tmp_path)


def test_an_index_has_no_dictionaries_inside(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="such parts are written by PyTorch")
    index = write(tmp_path, "bin", "pytorch_model")
    with pytest.raises(errors.NotAStateDictError, match="omit inside="):
        parity.load(index, inside="model")
    torch.save({"model": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "a.bin")
    index.write_text(json.dumps({"weight_map": {"a": "a.bin"}}))
    with pytest.raises(errors.NotAStateDictError, match=r"'a.bin', named by .*, is not flat: the state is its 'model'"):
        parity.load(index)


FOLDERS: list[tuple[list[str], str]] = [
    (["model.safetensors", "pytorch_model.bin", "optimizer.pt", "config.json"], "model.safetensors"),
    (["pytorch_model.bin", "training_args.bin"], "pytorch_model.bin"),
    (["diffusion_pytorch_model.safetensors", "other.safetensors"], "diffusion_pytorch_model.safetensors"),
    (["weights.pth", "README.md", ".hidden.pth"], "weights.pth"),
    (["a.bin.index.json", "a-1.bin", "a-2.bin"], "a.bin.index.json"),
    (["model-00001-of-00001.safetensors"], "model-00001-of-00001.safetensors"),
]


@pytest.mark.parametrize(("names", "expected"), FOLDERS)
def test_a_folder_stands_for_the_checkpoint_in_it(tmp_path: Path, names: list[str], expected: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert files_of(tmp_path) == tmp_path / expected


def files_of(folder: Path) -> Path:
    from parity.containers.checkpoint import find

    return find(folder)


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        *(
            (parts, errors.MissingShardError, f"only parts of a checkpoint, and not the index .*: '{parts[0]}'")
            for parts in (
                ["model-00001-of-00002.safetensors"],
                ["model-00002-of-00002.fp16.safetensors"],
                ["pytorch_model-00001-of-00003.bin", "pytorch_model-00003-of-00003.bin"],
            )
        ),
        ([], errors.CheckpointNotFoundError, "is a folder, and has no file that ends in"),
        (["a.pt", "b.pt"], errors.AmbiguousCheckpointError, "several checkpoints, name one: 'a.pt', 'b.pt'"),
        (
            ["model.safetensors", "model.safetensors.index.json"],
            errors.AmbiguousCheckpointError,
            "both model.safetensors and model.safetensors.index.json",
        ),
    ],
)
def test_a_folder_without_one_checkpoint_is_said(
    tmp_path: Path, names: list[str], error: type[Exception], words: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(error, match=words):
        parity.load(tmp_path)


def test_a_part_alone_is_read_if_it_is_named(tmp_path: Path) -> None:
    write(tmp_path).unlink()
    (tmp_path / "model-00002-of-2.safetensors").unlink()
    with pytest.raises(errors.MissingShardError, match="or name the one file that you want"):
        parity.load(tmp_path)
    assert parity.load(tmp_path / "model-00001-of-2.safetensors").keys() == set(PARTS["1-of-2"])


@pytest.mark.long
def test_a_certificate_of_a_folder_is_about_all_of_its_files(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="a certificate runs the PyTorch network")
    (tmp_path / "run").mkdir()
    write(tmp_path / "run")
    certificate = parity.certify(tmp_path / "run", output=tmp_path / "c.json", events=2)
    checkpoint = certificate["checkpoint"]
    assert certificate["passed"]
    assert checkpoint["sha256"] == sha256(tmp_path / "run")
    assert checkpoint["bytes"] == sum(path.stat().st_size for path in (tmp_path / "run").iterdir())


def test_parts_share_no_state(tmp_path: Path) -> None:
    lazy = read(write(tmp_path)).state
    lazy["scaling.scale"][:] = np.nan
    assert same(lazy)


def test_one_budget_pays_for_all_files(tmp_path: Path) -> None:
    # Each file asks for about a fifth of what one may ask for, by a list of 2,000 numbers that is passed on and on.
    passed = b"h\x01h\x00\x85R0" * (ALLOWANCE // 5 // 4000)
    work = b"\x80\x02](" + b"K\x01" * 2000 + b"eq\x00ctorch\nSize\nq\x01" + passed
    for count in (4, 7):
        for part in range(count):
            content = work + mapping([(str(part), tensor("0", (1,), (1,), 1))])[2:]
            (tmp_path / f"{part}.bin").write_bytes(rezip([("x/data.pkl", content), ("x/data/0", bytes(4))]))
        names = {str(part): f"{part}.bin" for part in range(count)}
        (tmp_path / "x.bin.index.json").write_text(json.dumps({"weight_map": names}))
        if count == 4:
            assert parity.load(tmp_path / "x.bin.index.json").keys() == names.keys()
    with pytest.raises(errors.UnsupportedCheckpointError, match="more steps or memory"):
        parity.load(tmp_path / "x.bin.index.json")
