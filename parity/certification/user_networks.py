"""Loads two networks from the user's own code, named `package.module:function`, with a checkpoint for both."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.containers import Inside
from parity.containers.checkpoint import load
from parity.errors import WrongModelError
from parity.inference import infer_rules
from parity.rules.adapting import own_keys
from parity.rules.conversion import convert_by_table
from parity.rules.table import RuleTable, read_rules
from parity.rules.wrappers import unwrap


class UserNetworks(NamedTuple):
    """The arguments of `parity.certify`: both networks, and the rule table that gave the variables."""

    module: Any
    apply: Callable[..., Any]
    variables: Any
    rules: RuleTable


def load_user_networks(
    torch_name: str,
    flax_name: str,
    checkpoint: str | os.PathLike[str],
    inputs: np.ndarray,
    *,
    rules: str | os.PathLike[str] | None = None,
    ignore: Collection[str] = (),
    inside: Inside | None = None,
) -> UserNetworks:
    """Call both functions, load the checkpoint strictly into the PyTorch module, and convert it for the JAX network.

    The PyTorch function returns a module. The Flax function returns a Linen module or, for NNX and everything else,
    (apply, variables), whose variables may be shapes. Both functions are run, since they are the user's own code;
    code in the checkpoint is not.

    Raises:
        ConfigurationError: a name is not of the form `package.module:function`, or it returns something else.
        WrongModelError: the checkpoint does not fit the PyTorch module.
        CheckpointError, ConversionError: as `load`, `infer_rules` and `convert` do.
    """
    state = load(checkpoint, inside=inside)
    module, built = _call(torch_name), _call(flax_name)
    if not hasattr(module, "load_state_dict"):
        raise ConfigurationError(f"{torch_name} must return a PyTorch module, it returned a {type(module).__name__}")
    if hasattr(built, "init") and hasattr(built, "apply"):
        apply: Callable[..., Any] = built.apply
        variables = jax.eval_shape(built.init, jax.random.key(0), jax.ShapeDtypeStruct(inputs.shape, inputs.dtype))
    elif isinstance(built, tuple) and len(built) == 2 and callable(built[0]):
        apply, variables = built
    else:
        raise ConfigurationError(
            f"{flax_name} must return a Linen module or (apply, variables), it returned a {type(built).__name__}"
        )
    shape = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
    table = read_rules(rules) if rules else infer_rules(state, variables, apply=apply, inputs=shape, ignore=ignore)
    converted = convert_by_table(state, variables, table, ignore=ignore if rules else ())
    _load(module, state, table, torch_name)
    return UserNetworks(module, apply, converted, table)


def _load(module: Any, state: dict[str, np.ndarray], table: RuleTable, name: str) -> None:
    import torch

    own = module.state_dict(keep_vars=True)
    arrays = unwrap(state, table.wrapper, table.prefix, table.ignored)
    # The prefix may be the module's own, as "model." is in a Lightning module: its keys tell.
    names = own_keys(table, arrays, own)
    foreign = {key for key in table.ignored if key not in names}
    tensors = {names.get(k, k): torch.from_numpy(np.array(array)) for k, array in arrays.items() if k not in foreign}
    # Of parameters that share their memory, one is enough.
    shared = {id(own[key]): tensor for key, tensor in tensors.items() if key in own}
    tensors |= {key: shared[id(value)] for key, value in own.items() if key not in tensors and id(value) in shared}
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WrongModelError(f"the checkpoint does not fit {name}: {error}") from error


def _call(name: str) -> Any:
    module, _, function = name.partition(":")
    if not module or not function.isidentifier():
        raise ConfigurationError(f"name a function as package.module:function, got {name!r}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"there is no {name}: {error} (looked in {folder} too)") from error
    return found()
