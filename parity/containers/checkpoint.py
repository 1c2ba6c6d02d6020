"""Reading an untrusted checkpoint file into numpy arrays, and nothing else."""

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
    TensorMap,
    MappedState,
    Selection,
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
"""A state dict: names as the checkpoint has them, arrays in its own layout and dtype."""


class Checkpoint(NamedTuple):
    """What a file holds: its arrays, the texts that safetensors files may carry beside them, and what was left."""

    state: Mapping[str, np.ndarray]
    metadata: dict[str, str]
    selection: Selection = Selection()


def load(path: str | os.PathLike[str], *, inside: Inside | None = None) -> State:
    """Read a checkpoint into memory: PyTorch's zip and legacy containers (any suffix), or safetensors.

    The file is selection as hostile. Its pickle is read by a machine that knows tensors and plain containers and can
    import and call nothing (`parity.containers.pickles`), so that no code in the file runs and PyTorch is not needed;
    nothing is unpacked to disk; what a header claims is held against the file's size before memory is selection. A zip's
    checksums are verified, which PyTorch itself does not do, so that one flipped bit is an error and not another
    weight; legacy and safetensors files have none. dtypes are kept (bfloat16 as `ml_dtypes.bfloat16`).

    A state inside other dictionaries, as training scripts save it beside an epoch and an optimiser's state, is found
    where one dictionary alone can be meant; a `WrappedCheckpointWarning` says which, and what was left. What is left
    takes no memory. `inside` names it, and there is no warning; keys keep their prefixes.

    Args:
        path: the file.
        inside: the dictionary to take, "model_state", or "checkpoint/model" for one in another, or their sequence.

    Raises:
        CheckpointNotFoundError: there is no such file.
        CorruptCheckpointError: it is truncated, altered, or not a checkpoint.
        UnsafeCheckpointError: it asks for anything but tensors in plain containers.
        AmbiguousCheckpointError: several dictionaries of tensors may be meant; the message lists them.
        NotAStateDictError: it does not hold a mapping from names to dense tensors, none that is called `inside`, or
            they claim together more than twice the file.
        MissingDependencyError: safetensors is needed and not installed.
    """
    path = find(path)
    with path.open("rb") as file:
        layout = _layout(path, file, inside)
        state = MappedState(path, file, layout.arrays)
    announce(path, layout.selection, inside)
    return {name: state.read(name) for name in state}


def announce(path: object, selection: Selection, inside: Inside | None) -> None:
    """Warn of a state that was found inside other dictionaries and not chosen there."""
    if selection.path and inside is None:
        message = f"{path}: {selection}; inside={'/'.join(selection.path)!r} chooses it without this warning"
        warnings.warn(message, WrappedCheckpointWarning, stacklevel=3)


def read(path: str | os.PathLike[str], *, inside: Inside | None = None) -> Checkpoint:
    """Read a checkpoint with its metadata, as `load` otherwise, but leave the arrays in the file.

    What was selection of wrapped ones is the result's `selection`, and there is no warning.

    The state is a `parity.containers.MappedState`: each look-up maps one array into memory, and the file has to stay
    as it is while the state is in use.
    """
    path = find(path)
    with path.open("rb") as file:
        layout = _layout(path, file, inside)
        return Checkpoint(MappedState(path, file, layout.arrays), layout.metadata, layout.selection)


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


def _layout(path: Path, file: BinaryIO, inside: Inside | None) -> TensorMap:
    if is_safetensors(path, file):
        if inside is not None:
            raise NotAStateDictError(
                f"{path} is a safetensors file, which has no dictionaries inside: leave inside= out"
            )
        return read_safetensors(path, file)
    try:
        return read_archive(path, file, inside) if is_archive(file) else read_legacy(path, file, inside)
    except RefusedError as error:
        raise UnsafeCheckpointError(
            f"{path} asks for more than tensors and was refused; nothing of it was run. It asks for: {error} — save "
            f"the weights alone with torch.save(model.state_dict(), path) where the model was made"
        ) from error
    except BadPickleError as error:
        raise CorruptCheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({error}); it is truncated, damaged, or another kind of "
            f"file: obtain it again"
        ) from error
