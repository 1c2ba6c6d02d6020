"""Reading an untrusted checkpoint file into NumPy arrays without executing any of it."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from parity.containers import (
    Inside,
    MappedState,
    Selection,
    TensorMap,
    is_archive,
    is_safetensors,
    read_archive,
    read_legacy,
    read_safetensors,
)
from parity.containers.objects import BadPickleError, RefusedError
from parity.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotAStateDictError,
    UnsafeCheckpointError,
    WrappedCheckpointWarning,
)

State = dict[str, np.ndarray]
"""A state dict, with the names, layouts and dtypes of the checkpoint."""


class Checkpoint(NamedTuple):
    """The content of a file: its arrays, the metadata of safetensors files, and which dictionary was selected."""

    state: Mapping[str, np.ndarray]
    metadata: dict[str, str]
    selection: Selection = Selection()


def load(path: str | os.PathLike[str], *, inside: Inside | None = None) -> State:
    """Read a checkpoint into memory, from PyTorch's zip or legacy container (with any suffix) or from safetensors.

    The file is treated as hostile. Its pickle is interpreted by a machine that knows only tensors and plain containers
    and can neither import nor call anything (`parity.containers.pickles`), so no code in the file runs and PyTorch is
    not needed. Nothing is unpacked to disk, and every claim of a header is compared with the size of the file before
    memory is allocated. The checksums of a zip archive are verified, which PyTorch itself does not do, so a single
    flipped bit is an error and not a different weight; legacy and safetensors files have no checksums. dtypes are
    preserved (bfloat16 as `ml_dtypes.bfloat16`).

    Training scripts often save a state inside other dictionaries, beside an epoch and an optimiser's state. Such a
    state is found if only one dictionary can be meant; a `WrappedCheckpointWarning` names it and lists what was left
    out, which takes no memory. `inside` names the dictionary explicitly, without a warning. Keys keep their prefixes.

    Args:
        path: The file.
        inside: The dictionary to read: "model_state", "checkpoint/model" for a nested one, or a sequence of keys.

    Returns:
        The arrays by name, in the checkpoint's own layouts and dtypes.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CorruptCheckpointError: The file is truncated, altered, or not a checkpoint.
        UnsafeCheckpointError: It asks for anything but tensors in plain containers.
        AmbiguousCheckpointError: Several dictionaries of tensors may be meant; the message lists them.
        NotAStateDictError: It does not hold a mapping from names to dense tensors, has no dictionary called `inside`,
            or its tensors claim more than twice the size of the file.
        MissingDependencyError: safetensors is needed and not installed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np, parity
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "layer.safetensors"
        ...     parity.save_state(path, {"weight": np.ones((2, 3)), "bias": np.zeros(2)})
        ...     state = parity.load(path)
        >>> {name: array.shape for name, array in sorted(state.items())}
        {'bias': (2,), 'weight': (2, 3)}
    """
    path = find(path)
    with path.open("rb") as file:
        tensors = _locate(path, file, inside)
        state = MappedState(path, file, tensors.arrays)
    announce(path, tensors.selection, inside)
    return {name: state.read(name) for name in state}


def announce(path: object, selection: Selection, inside: Inside | None) -> None:
    """Warn about a state that was found inside other dictionaries without being chosen explicitly."""
    if selection.path and inside is None:
        message = f"{path}: {selection}; inside={'/'.join(selection.path)!r} chooses it without this warning"
        warnings.warn(message, WrappedCheckpointWarning, stacklevel=3)


def read(path: str | os.PathLike[str], *, inside: Inside | None = None) -> Checkpoint:
    """Read a checkpoint and its metadata like `load`, but leave the arrays in the file.

    The result's `selection` says which dictionary of a wrapped state was read; there is no warning. The state is a
    `parity.containers.MappedState`: each look-up maps one array into memory, and the file must not change while the
    state is in use.
    """
    path = find(path)
    with path.open("rb") as file:
        tensors = _locate(path, file, inside)
        return Checkpoint(MappedState(path, file, tensors.arrays), tensors.metadata, tensors.selection)


def find(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path` to a file that can be opened.

    Raises:
        CheckpointNotFoundError: There is no such file, or it cannot be read.
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
    """Convert an array or a dense PyTorch tensor to a NumPy array; bfloat16 becomes `ml_dtypes.bfloat16`."""
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


def _locate(path: Path, file: BinaryIO, inside: Inside | None) -> TensorMap:
    if is_safetensors(path, file):
        if inside is not None:
            raise NotAStateDictError(f"{path} is a safetensors file, which has no dictionaries inside: omit inside=")
        return read_safetensors(path, file)
    try:
        return read_archive(path, file, inside) if is_archive(file) else read_legacy(path, file, inside)
    except RefusedError as error:
        raise UnsafeCheckpointError(
            f"{path} asks for more than tensors and was refused; none of it was run. It asks for: {error} — save "
            f"only the weights with torch.save(model.state_dict(), path) where the model was created"
        ) from error
    except BadPickleError as error:
        raise CorruptCheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({error}); it is truncated, damaged, or another kind of "
            f"file: obtain it again"
        ) from error
