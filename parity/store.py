"""Writing converted weights, whole or not at all, and reading the library's own parameter files."""

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
from parity.rules.tree import flatten, unflatten
from parity.rules.wrappers import without_prefix

PARAMS_OF = "mathdnn_jax params"
"""Metadata of a file of `save_params`: the model. One entry, since the format writes several in no fixed order."""


class Restored(NamedTuple):
    """A model ready for use, and the PyTorch state dict that it is equal to.

    `model` is a `Flow`, or a Flax module for a network; its `params` are what its functions take first: for a network
    the variables, with their collections. `state` stays in the checkpoint's file, which has to stay as it is while
    the state is in use: each look-up maps one array into memory.
    """

    model: Any
    params: Params
    state: Mapping[str, np.ndarray]
    config: Config

    @property
    def parameters(self) -> int:
        """How many numbers the model has learnt; running statistics are not counted."""
        leaves = flatten(self.params).items()
        return sum(leaf.size for path, leaf in leaves if not path.startswith("batch_stats/"))


def restore(
    path: str | os.PathLike[str], model: str = "nice", *, ignore: Collection[str] = (), inside: Inside | None = None
) -> Restored:
    """Read a PyTorch checkpoint, or a file of `save_params`, and build the JAX model that it is for.

    `ignore` are keys of a PyTorch checkpoint that are left out on purpose, as `convert` takes them; `inside` is the
    dictionary of it that is the state, as `load` takes it.

    Raises:
        CheckpointError, ConversionError: as `load`, `convert` and `export` do.
    """
    checkpoint = read(path, inside=inside)
    announce(path, checkpoint.taken, inside)
    return rebuild(checkpoint, model, ignore=ignore)


def rebuild(checkpoint: Checkpoint, model: str = "nice", *, ignore: Collection[str] = ()) -> Restored:
    """As `restore`, from what `parity.containers.checkpoint.read` has read."""
    specification = find_model(model)
    state = without_prefix(checkpoint.state)
    if holds_params(checkpoint):
        # By way of the PyTorch state, whose conversion checks everything, dtypes too.
        unflatten(dict.fromkeys(state))
        state = exported(state, model)
    params = convert(state, model, ignore=ignore)
    state = _without(state, ignore)
    config = specification.infer_config(outline(state))
    return Restored(specification.build(**config), params, state, config)


def _without(state: Mapping[str, np.ndarray], names: Collection[str]) -> Mapping[str, np.ndarray]:
    if not names:
        return state
    if isinstance(state, MappedState):
        return state.without(names)
    return {name: array for name, array in state.items() if name not in names}


def holds_params(checkpoint: Checkpoint) -> bool:
    """Whether `save_params` wrote it: JAX parameters, by their tree paths."""
    return PARAMS_OF in checkpoint.metadata


def save_params(path: str | os.PathLike[str], params: Params, model: str = "nice") -> None:
    """Write JAX parameters as safetensors: names are tree paths, the metadata says the layout and the model.

    Raises:
        OutputError: the file cannot be written, or its name does not end in .safetensors.
        ConversionError: the parameters are not the model's.
    """
    export(params, model)
    flat = {name: np.asarray(leaf, order="C") for name, leaf in flatten(params).items()}
    _save_safetensors(Path(path), flat, {PARAMS_OF: model})


def save_tree(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write arrays of any tree as safetensors, by their tree paths: for models that have no PyTorch counterpart here.

    Raises:
        OutputError: the file cannot be written, or its name does not end in .safetensors.
        MissingDependencyError: safetensors is not installed.
    """
    _save_safetensors(Path(path), {name: np.asarray(leaf, order="C") for name, leaf in flatten(tree).items()}, {})


def save_state(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write a PyTorch state dict: .pt or .pth by `torch.save`, .safetensors in PyTorch's layout.

    Raises:
        OutputError: the file cannot be written, or its name has another suffix.
        MissingDependencyError: torch or safetensors is needed and not installed.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        _save_safetensors(path, dict(state), {"format": "pt"})
        return
    if path.suffix not in {".pt", ".pth"}:
        raise OutputError(f"cannot write {path}: a PyTorch state is written to a .pt, .pth or .safetensors file")
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f'PyTorch is needed to write {path.suffix} files: pip install "mathdnn_jax[parity]"; '
            f"a .safetensors file needs none"
        ) from error
    with replace_file(path) as temporary:
        torch.save({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, temporary)


def _save_safetensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    if path.suffix != ".safetensors":
        raise OutputError(f"cannot write {path}: these weights are written to a .safetensors file")
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise MissingDependencyError(
            'safetensors is needed to write such files: pip install "mathdnn_jax[parity]"'
        ) from error
    with replace_file(path) as temporary:
        save_file(arrays, temporary, metadata)
