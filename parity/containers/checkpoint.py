"""Reading an untrusted checkpoint file into NumPy arrays without executing any of it."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import ml_dtypes
import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from parity.containers import (
    Inside,
    MappedState,
    Selection,
    TensorMap,
    file_size,
    holds_safetensors,
    is_archive,
    is_safetensors,
    read_archive,
    read_legacy,
    read_safetensors,
)
from parity.containers.budget import Budget, ExhaustedError
from parity.containers.kinds import AGAIN, HEAD_BYTES, other_kind
from parity.containers.objects import BadPickleError, RefusedError
from parity.containers.sharded import check_shards, find_in_folder, is_index, read_index, what_it_is
from parity.display import short, slashed
from parity.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotAStateDictError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    UnsupportedCheckpointError,
    WrappedCheckpointWarning,
)

T = TypeVar("T")

State = dict[str, np.ndarray]
"""A state dict, with the names, layouts and dtypes of the checkpoint."""


class Checkpoint(NamedTuple):
    """The content of a file: its arrays, the metadata of safetensors files, and which dictionary was selected."""

    state: Mapping[str, np.ndarray]
    metadata: dict[str, str]
    selection: Selection = Selection()


def load(path: str | os.PathLike[str], *, inside: Inside | None = None) -> State:
    """Read a checkpoint into memory, from PyTorch's zip or legacy container (with any suffix) or from safetensors.

    A checkpoint in several files is read by its index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`),
    or by the name of its folder.

    The file is treated as hostile. Its pickle is interpreted by a machine that knows only tensors and plain containers
    and can neither import nor call anything (`parity.containers.pickles`), so no code in the file runs and PyTorch is
    not needed. Nothing is unpacked to disk, and every claim of a header is compared with the size of the file before
    memory is allocated. All work is paid from a budget in proportion to the file, so a small file cannot take long or
    much memory. The checksums of a zip archive are verified, which PyTorch itself does not do, so a single
    flipped bit is an error and not a different weight; legacy and safetensors files have no checksums. dtypes are
    preserved (bfloat16 as `ml_dtypes.bfloat16`).

    Training scripts often save a state inside other dictionaries, beside an epoch and an optimiser's state. Such a
    state is found if only one dictionary can be meant, because nothing beside it, at any depth, has floating-point
    arrays with axes but what an optimiser keeps for each parameter; a `WrappedCheckpointWarning` names it and lists
    what was left out, which takes no memory. `inside` names the dictionary explicitly, without a warning; then whatever
    is beside it, such as the namespace of a Lightning file, is skipped, and never run. Keys keep their prefixes. An
    entry `…_extra_state` that is None is left out.

    Args:
        path: The file, its index, or a folder with one checkpoint.
        inside: The dictionary to read: "model_state", "checkpoint/model" for a nested one, or a sequence of keys.

    Returns:
        The arrays by name, in the checkpoint's own layouts and dtypes.

    Raises:
        CheckpointNotFoundError: There is no such file.
        MissingShardError: The index names a file that is not there, or a folder has parts without their index.
        CorruptCheckpointError: The file is truncated, altered, or not a checkpoint.
        UnsupportedCheckpointError: It is a file of another kind (NumPy's, HDF5, compressed, …), or asks for far more
            work than a file of its size should.
        UnreadableCheckpointError: The operating system fails to read it, or the arrays do not fit into memory.
        UnsafeCheckpointError: It asks for anything but tensors in plain containers.
        AmbiguousCheckpointError: Several dictionaries or lists of tensors may be meant; the message lists them.
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
    state, _, selection = _open(path, inside)
    announce(path, selection, inside)
    _check_memory(path, state.nbytes)
    return {name: state.read(name) for name in state}


def announce(path: object, selection: Selection, inside: Inside | None) -> None:
    """Warn about a state that was found inside other dictionaries without being chosen explicitly."""
    if selection.path and inside is None:
        message = f"{path}: {selection}; inside={slashed(selection.path)} chooses it without this warning"
        warnings.warn(message, WrappedCheckpointWarning, stacklevel=3)


def read(path: str | os.PathLike[str], *, inside: Inside | None = None) -> Checkpoint:
    """Read a checkpoint and its metadata like `load`, but leave the arrays in the file.

    The result's `selection` says which dictionary of a wrapped state was read; there is no warning. The state is a
    `parity.containers.MappedState`: each look-up maps one array into memory, and the file must not change while the
    state is in use.
    """
    return Checkpoint(*_open(find(path), inside))


def find(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path` to a file that can be opened; of a folder, to the checkpoint in it.

    Raises:
        CheckpointNotFoundError: There is no such file, or it cannot be read.
        MissingShardError: It is a folder with parts of a checkpoint, without their index.
        AmbiguousCheckpointError: It is a folder with several checkpoints.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = find_in_folder(path)
        if not path.is_file():
            raise CheckpointNotFoundError(
                f"checkpoint {path} {what_it_is(path)} (looked for {path.absolute()}); name a .pt, .pth or "
                f".safetensors file"
            )
        path.open("rb").close()
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointNotFoundError(f"checkpoint {str(path)!r} cannot be read: {error}") from error
    return path


def files(path: str | os.PathLike[str]) -> list[Path]:
    """The files that a checkpoint consists of: the one at `path`, and if that is an index, those that it names."""
    path = find(path)
    if not is_index(path):
        return [path]
    return [path, *(path.parent / shard for shard in sorted(set(_index(path).values())))]


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a checkpoint's bytes, in hexadecimal; of an index, of its bytes and those of its files by name."""
    digest = hashlib.sha256()
    for part in files(path):
        with part.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


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


def _open(path: Path, inside: Inside | None) -> tuple[MappedState, dict[str, str], Selection]:
    """The state in a file or in those of an index, its metadata, and which dictionary it is."""
    try:
        if not is_index(path):
            return _file(path, Budget(path.stat().st_size), inside)
        if inside is not None:
            raise NotAStateDictError(f"{path} is an index of flat files, without dictionaries: omit inside=")
        return _parts(path, _index(path)), {}, Selection()
    except MemoryError as error:
        raise UnreadableCheckpointError(f"{path} cannot be read: this machine has not enough memory") from error
    except OSError as error:
        if isinstance(error, CheckpointError | MissingDependencyError):
            raise
        raise UnreadableCheckpointError(f"{path} cannot be read: {str(error)[:300]}") from error


def _file(path: Path, budget: Budget, inside: Inside | None) -> tuple[MappedState, dict[str, str], Selection]:
    with path.open("rb") as file:
        tensors = _in_proportion(path, lambda: _located(path, file, budget, inside))
        return MappedState.of(path, file, tensors.arrays), tensors.metadata, tensors.selection


def _index(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return _in_proportion(path, lambda: read_index(path, file, Budget(file_size(file))))


def _parts(path: Path, index: Mapping[str, str]) -> MappedState:
    """The state in all files that an index names, in the order of the index. One budget pays for all of them."""
    shards = {shard: path.parent / shard for shard in sorted(set(index.values()))}
    budget = Budget(sum(shard.stat().st_size for shard in shards.values()))
    parts: dict[str, MappedState] = {}
    for name, shard in shards.items():
        parts[name], _, selection = _file(shard, budget, None)
        if selection.path:
            raise NotAStateDictError(f"{short(name)}, named by {path}, is not flat: {selection}")
    check_shards(path, index, {shard: list(part) for shard, part in parts.items()})
    return MappedState({name: parts[shard].located[name] for name, shard in index.items()})


def _in_proportion(path: Path, read: Callable[[], T]) -> T:
    """Read a file, with an error if that takes more work than its size warrants."""
    try:
        return read()
    except ExhaustedError as error:
        raise UnsupportedCheckpointError(
            f"{path} has {path.stat().st_size:,} bytes, but reading it asks for more steps or memory than a file of "
            f"this size should: it was made to exhaust this machine, or holds far more than weights; {AGAIN}"
        ) from error


def _located(path: Path, file: BinaryIO, budget: Budget, inside: Inside | None) -> TensorMap:
    if not file_size(file):
        # Reading some of the files that the system makes up, which have no size, never ends.
        raise CorruptCheckpointError(f"{path} is empty; obtain it again")
    if not (is_archive(file) or holds_safetensors(file)):
        file.seek(0)
        if other := other_kind(path, file.read(HEAD_BYTES), file_size(file)):
            raise other
    if is_safetensors(path, file):
        if inside is not None:
            raise NotAStateDictError(f"{path} is a safetensors file, which has no dictionaries inside: omit inside=")
        return read_safetensors(path, file, budget)
    try:
        return (read_archive if is_archive(file) else read_legacy)(path, file, budget, inside)
    except RefusedError as error:
        names, *advice = error.args
        raise UnsafeCheckpointError(
            f"{path} asks for more than tensors and was refused; none of it was run. It asks for: {names} — save "
            f"only the weights with torch.save(model.state_dict(), path) where the model was created"
            + "".join(f". {more}" for more in advice if more)
        ) from error
    except BadPickleError as error:
        raise CorruptCheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({error}); it is truncated, damaged, or another kind of "
            f"file: obtain it again"
        ) from error


def _check_memory(path: Path, needed: int) -> None:
    """Refuse to read more than this machine has before it reads anything; the system might end the process."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if needed > installed > 0:
        raise UnreadableCheckpointError(
            f"{path} holds arrays of {needed:,} bytes, and this machine has {installed:,} bytes of memory; "
            f"parity.restore(path).state leaves them in the file"
        )
