"""Reading an untrusted checkpoint file into numpy arrays, and nothing else."""

from __future__ import annotations

import hashlib
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from parity.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotAStateDictError,
    UnsafeCheckpointError,
)

if TYPE_CHECKING:
    import torch

State = dict[str, np.ndarray]
"""A state dict: names as the checkpoint has them, arrays in its own layout and dtype."""


class Checkpoint(NamedTuple):
    """What a file holds: its arrays, and the texts that safetensors files may carry beside them."""

    state: State
    metadata: dict[str, str]


def load(path: str | os.PathLike[str]) -> State:
    """Read a checkpoint: PyTorch's zip and legacy containers (any suffix), or safetensors.

    The file is taken as hostile. PyTorch's own restricted reader (`weights_only=True`) unpickles it, so that no code
    in it runs; a zip's checksums are verified first, which PyTorch itself does not do, so that one flipped bit is an
    error and not another weight. dtypes are kept (bfloat16 as `ml_dtypes.bfloat16`).

    Raises:
        CheckpointNotFoundError: there is no such file.
        CorruptCheckpointError: it is truncated, altered, or not a checkpoint.
        UnsafeCheckpointError: it asks for anything but tensors in plain containers.
        NotAStateDictError: it does not hold a flat mapping from names to dense tensors.
        MissingDependencyError: torch or safetensors is needed and not installed.
    """
    return read(path).state


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint with its metadata; as `load` otherwise."""
    path = find(path)
    if _is_safetensors(path):
        return _read_safetensors(path)
    return Checkpoint(_read_torch(path), {})


def find(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path` to a file that can be opened.

    Raises:
        CheckpointNotFoundError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise CheckpointNotFoundError(
                f"checkpoint {path} {what} (looked for {path.absolute()}); name a .pt, .pth or .safetensors file"
            )
        path.open("rb").close()
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointNotFoundError):
            raise
        raise CheckpointNotFoundError(f"checkpoint {str(path)!r} cannot be read: {error}") from error
    return path


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_numpy(value: Any) -> np.ndarray:
    """An array or a dense PyTorch tensor as a numpy array of the same dtype; bfloat16 as `ml_dtypes.bfloat16`."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu().contiguous()
    if str(tensor.dtype) == "torch.bfloat16":
        return np.asarray(tensor.view(dtype=_torch().int16).numpy()).view(ml_dtypes.bfloat16)
    return np.asarray(tensor.numpy())


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            'PyTorch is needed to read or write its own checkpoints: pip install "mathdnn_jax[parity]"'
        ) from error
    return torch


def _is_safetensors(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        head = file.read(9)
    # Eight bytes of header length, then a JSON object; neither a zip nor a pickle has a brace there.
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingDependencyError(
            'safetensors is needed to read such files: pip install "mathdnn_jax[parity]"'
        ) from error
    try:
        with safe_open(path, "numpy") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            return Checkpoint(state, dict(file.metadata() or {}))
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError) as error:
        raise CorruptCheckpointError(f"{path} is not a readable safetensors file: {_first_line(error)}") from error


def _read_torch(path: Path) -> State:
    torch = _torch()
    if zipfile.is_zipfile(path):
        _check_zip(path)
    try:
        with warnings.catch_warnings():
            # PyTorch warns of pickle protocols that it may not support; it either reads the file or raises.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except Exception as error:
        # PyTorch's readers raise whatever a damaged file makes them stumble over: KeyError, OSError, EOFError, …
        raise CorruptCheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({type(error).__name__}: {_first_line(error)}); "
            f"it is truncated, damaged, or another kind of file: obtain it again"
        ) from error
    return _state(path, content)


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch stores records uncompressed, so that a record larger than the file is a decompression bomb.
            if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
                raise CorruptCheckpointError(f"{path} claims to unpack to more bytes than it has; refused")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        if isinstance(error, CorruptCheckpointError):
            raise
        raise CorruptCheckpointError(f"{path} is a damaged zip archive: {error}; obtain it again") from error
    if damaged is not None:
        raise CorruptCheckpointError(
            f"{path} was altered since it was written: the checksum of its record {damaged} does not match; "
            f"obtain it again"
        )


def _refusal(path: Path, error: pickle.UnpicklingError) -> UnsafeCheckpointError | CorruptCheckpointError:
    # PyTorch's own message is not passed on: it begins by recommending to read the file with code execution allowed.
    reason = re.search(r"[^\n]*(?:nsupported (?:GLOBAL|global|class)|blocked)[^\n]*", str(error))
    wanted = [reason.group().strip()[:300]] if reason else _imports(path)
    if not wanted:
        return CorruptCheckpointError(
            f"{path} is not a readable PyTorch checkpoint; it is truncated, damaged, or another kind of file: "
            f"obtain it again"
        )
    return UnsafeCheckpointError(
        f"{path} asks for more than tensors, and PyTorch's restricted reader refused it; nothing of it was run. "
        f"It asks for: {', '.join(wanted)} — save the weights alone with torch.save(model.state_dict(), path) "
        f"where the model was made"
    )


def _imports(path: Path, limit: int = 1_000_000) -> list[str]:
    """What a bare pickle would import, read off its first bytes without running any of it."""
    with path.open("rb") as file:
        head = file.read(limit)
    names: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except Exception:
        # The bytes are not a pickle from here on, and genops raises whatever it stumbles over.
        return names
    return names


def _state(path: Path, content: Any) -> State:
    torch = _torch()
    if not isinstance(content, dict):
        raise NotAStateDictError(
            f"{path} holds a {type(content).__name__}, expected a state dict: a mapping from names to tensors, "
            f"as torch.save(model.state_dict(), path) writes it"
        )
    size = path.stat().st_size
    problems, state = [], {}
    for name, value in content.items():
        problem = _tensor_problem(torch, name, value, size)
        if not problem:
            try:
                state[name] = to_numpy(value)
            except (TypeError, RuntimeError) as error:
                problem = f"{name!r} is a tensor of {value.dtype} that NumPy cannot hold ({_first_line(error)})"
        if problem:
            problems.append(problem)
    if problems:
        raise NotAStateDictError(
            f"{path} is not a flat state dict of dense tensors: {'; '.join(problems)}. "
            f"If the weights are one of these entries, save that entry alone"
        )
    return state


def _tensor_problem(torch: Any, name: Any, value: torch.Tensor | Any, file_size: int) -> str | None:
    if not isinstance(name, str):
        return f"key {name!r} is not a string"
    if not isinstance(value, torch.Tensor):
        return f"{name!r} is a {type(value).__name__}"
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        return f"{name!r} is not a dense, unquantised tensor ({value.layout}, {value.dtype}, {value.device})"
    # A tensor of strides 0 can claim any shape over a few stored bytes.
    if value.numel() * value.element_size() > file_size:
        return f"{name!r} claims {value.numel():,} entries, more than the file holds"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no further word"])[0][:300]
