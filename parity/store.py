"""Writing converted weights atomically, and reading the library's own parameter files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import MissingDependencyError, OutputError
from mathdnn_jax.files import replace_file
from parity.containers import Inside, MappedState
from parity.containers.checkpoint import Checkpoint, announce, read
from parity.conversion import convert, export, exported
from parity.models import Config, find_model
from parity.rules.conversion import outline
from parity.rules.prefixes import expand, without_prefix
from parity.rules.tree import flatten, unflatten

PARAMS_OF = "mathdnn_jax params"
"""Metadata key under which `save_params` stores the model. There is one entry, as the order of several is not fixed."""


class Restored(NamedTuple):
    """A model ready for use, and the PyTorch state dict with the same weights.

    `model` is a `Flow`, or a Flax module for a network. `params` are the first argument of its functions: for a
    network, the variables with their collections. `state` stays in the checkpoint's file, which must not change while
    the state is in use: each look-up maps one array into memory.
    """

    model: Any
    params: Params
    state: Mapping[str, np.ndarray]
    config: Config

    @property
    def parameters(self) -> int:
        """Number of learned parameters, without running statistics."""
        leaves = flatten(self.params).items()
        return sum(leaf.size for path, leaf in leaves if not path.startswith("batch_stats/"))


def restore(
    path: str | os.PathLike[str], model: str = "nice", *, ignore: Collection[str] = (), inside: Inside | None = None
) -> Restored:
    """Read a PyTorch checkpoint, or a file written by `save_params`, and build its JAX model.

    Args:
        path: The file.
        model: The name of a model in `parity.MODELS`.
        ignore: Keys of a PyTorch checkpoint to leave out deliberately, as in `convert`.
        inside: The dictionary of the checkpoint that is the state, as in `load`.

    Returns:
        A named tuple of the model, its params, the PyTorch state and the config inferred from it.

    Raises:
        CheckpointError, ConversionError: As in `load`, `convert` and `export`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import jax, mathdnn_jax as mj, parity
        >>> params = mj.nice(dim=4, width=8).init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "nice.safetensors"
        ...     parity.save_params(path, params)
        ...     restored = parity.restore(path)
        ...     sample = restored.model.sample(restored.params, jax.random.key(1), (3,))
        >>> sample.shape
        (3, 4)
    """
    checkpoint = read(path, inside=inside)
    announce(path, checkpoint.selection, inside)
    return rebuild(checkpoint, model, ignore=ignore)


def rebuild(checkpoint: Checkpoint, model: str = "nice", *, ignore: Collection[str] = ()) -> Restored:
    """Like `restore`, from the result of `parity.containers.checkpoint.read`."""
    specification = find_model(model)
    state = without_prefix(checkpoint.state)
    if holds_params(checkpoint):
        # By way of the PyTorch state, since its conversion checks everything, including dtypes.
        unflatten(dict.fromkeys(state))
        state = exported(state, model)
    params = convert(state, model, ignore=ignore)
    state = _without(state, expand(ignore, state))
    config = specification.infer_config(outline(state))
    return Restored(specification.build(**config), params, state, config)


def _without(state: Mapping[str, np.ndarray], names: Collection[str]) -> Mapping[str, np.ndarray]:
    if not names:
        return state
    if isinstance(state, MappedState):
        return state.without(names)
    return {name: array for name, array in state.items() if name not in names}


def holds_params(checkpoint: Checkpoint) -> bool:
    """Whether the file was written by `save_params`, with JAX parameters by their tree paths."""
    return PARAMS_OF in checkpoint.metadata


def save_params(path: str | os.PathLike[str], params: Params, model: str = "nice") -> None:
    """Write the JAX parameters of a model as safetensors; names are tree paths, and the metadata names the model.

    Args:
        path: A file with the suffix .safetensors. Either the whole file is written or none of it.
        params: The parameters of the model.
        model: The name of a model in `parity.MODELS`.

    Returns:
        None. `restore` reads the file.

    Raises:
        OutputError: The file cannot be written, or its name does not end in .safetensors.
        ConversionError: The parameters are not those of the model.
    """
    export(params, model)
    flat = {name: np.asarray(leaf, order="C") for name, leaf in flatten(params).items()}
    _save_safetensors(Path(path), flat, {PARAMS_OF: model})


def save_tree(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write the arrays of any tree as safetensors by their tree paths, for models without a PyTorch counterpart here.

    Raises:
        OutputError: The file cannot be written, or its name does not end in .safetensors.
        MissingDependencyError: safetensors is not installed.
    """
    _save_safetensors(Path(path), {name: np.asarray(leaf, order="C") for name, leaf in flatten(tree).items()}, {})


def save_state(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write a PyTorch state dict: .pt or .pth with `torch.save`, .safetensors in PyTorch's layout.

    Args:
        path: A file with the suffix .pt, .pth or .safetensors. Either the whole file is written or none of it.
        state: The arrays by their PyTorch names.

    Returns:
        None. `load`, and PyTorch itself, read the file.

    Raises:
        OutputError: The file cannot be written, or its name has another suffix.
        MissingDependencyError: torch or safetensors is needed and not installed.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        _save_safetensors(path, dict(state), {"format": "pt"})
        return
    if path.suffix not in {".pt", ".pth"}:
        raise OutputError(f"cannot write {path}: the suffix of a PyTorch state must be .pt, .pth or .safetensors")
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f'PyTorch is needed to write {path.suffix} files: pip install "mathdnn_jax[parity]"; '
            f"a .safetensors file does not need it"
        ) from error
    with replace_file(path) as temporary:
        torch.save({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, temporary)


def _save_safetensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    if path.suffix != ".safetensors":
        raise OutputError(f"cannot write {path}: the suffix of these weights must be .safetensors")
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise MissingDependencyError(
            'safetensors is needed to write such files: pip install "mathdnn_jax[parity]"'
        ) from error
    with replace_file(path) as temporary:
        save_file(arrays, temporary, metadata)
