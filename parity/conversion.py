"""The doors `convert` and `export`: weights from PyTorch to JAX and back, strictly and bit for bit."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, overload

import numpy as np
from jax.typing import DTypeLike

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from parity.containers import MappedState
from parity.containers.checkpoint import State
from parity.models import find_model, target_shapes
from parity.rules.conversion import (
    Exported,
    check_rule_table,
    convert_arrays,
    convert_by_table,
    export_arrays,
    export_by_table,
    outline,
)
from parity.rules.prefixes import expand, find_prefix, without_prefix
from parity.rules.table import RuleTable
from parity.rules.tree import flatten, unflatten
from parity.rules.wrappers import check_keys, dense_arrays


@overload
def convert(
    state: Mapping[str, Any],
    model: str = ...,
    *,
    ignore: Collection[str] = ...,
    dtype: DTypeLike | None = ...,
) -> Params: ...


@overload
def convert(
    state: Mapping[str, Any],
    model: Any,
    rules: RuleTable | str | os.PathLike[str],
    *,
    ignore: Collection[str] = ...,
    dtype: DTypeLike | None = ...,
) -> Any: ...


def convert(
    state: Mapping[str, Any],
    model: Any = "nice",
    rules: RuleTable | str | os.PathLike[str] | None = None,
    *,
    ignore: Collection[str] = (),
    dtype: DTypeLike | None = None,
) -> Any:
    """Convert a PyTorch state dict to JAX parameters; every entry keeps its bits and goes where the rule table says.

    `convert(state, "nice")` is for the models of `parity.MODELS`, whose rule tables are built in. `convert(state,
    variables, rules)` is for any tree: Linen variables, NNX state or nested dicts, of arrays or of shapes. Every leaf
    is filled exactly once and every key is used exactly once. Keys that the table ignores must be present. Of tied keys
    one is enough, as safetensors files have it, and the arrays of those that are there must be equal.

    Args:
        state: names to arrays, as `load` or `module.state_dict()` returns them; if the table names wrapper
            dictionaries, the arrays may be inside them. For a model of `parity.MODELS`, a prefix shared by all keys
            ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "model.") is left out, and so is the count `n_averaged`
            of an `AveragedModel`.
        model: a name in `parity.MODELS`; or the variables.
        rules: the rule table, from `infer_rules`, or the path of a TOML file; only together with variables.
        ignore: source keys to leave out on purpose, or patterns of them as in `fnmatch` ("*.running_*"), without that
            prefix; every other key must be used.
        dtype: None keeps float32 (and float64, where JAX has it enabled) and, with a table, half precision. A
            floating-point dtype converts all weights to it, which is the only way to take any other such type.

    Returns:
        A nested dict of JAX arrays, which is what `mathdnn_jax`'s model takes as its parameters; or a tree like
        `variables`.

    Raises:
        UnknownModelError, WrongModelError: there is no model of this name, or the state is not that of the model.
        RuleTableError: the table is not a rule table, or not one for these variables.
        MissingKeysError, UnexpectedKeysError, DoublyUsedKeysError, ShapeMismatchError, UnsupportedDtypeError,
        NonFiniteWeightsError: the message lists all problems; the class is that of the first.

    Example:
        >>> import numpy as np, parity
        >>> state = {"fc1.weight": np.ones((3, 4), np.float32), "fc1.bias": np.zeros(3, np.float32)}
        >>> variables = {"params": {"fc1": {"kernel": np.empty((4, 3)), "bias": np.empty(3)}}}
        >>> rules = parity.infer_rules(state, variables)
        >>> parity.convert(state, variables, rules)["params"]["fc1"]["kernel"].shape
        (4, 3)
    """
    if not isinstance(model, str):
        if rules is None:
            raise ConfigurationError(
                "convert(state, variables, rules) needs the rule table: infer one with parity.infer_rules(state, "
                "variables); convert(state, 'lenet') is for the models of parity.MODELS"
            )
        _check_collection(ignore)
        return convert_by_table(state, model, rules, ignore=ignore, dtype=dtype)
    if rules is not None:
        raise ConfigurationError(f"the rules of the model {model!r} are built in: leave rules out, or give variables")
    return _convert_model(state, model, ignore, dtype)


def export(params: Any, model: str | RuleTable | os.PathLike[str] = "nice") -> State:
    """Convert JAX parameters to a PyTorch state dict: the inverse of `convert`, bit for bit, and as strict.

    `export(params, "nice")` is for the models of `parity.MODELS`. With a rule table, or the `pathlib.Path` of one, any
    tree is exported, inside the wrapper dictionaries that the table names. A `weight_norm` comes back as the pair
    (‖w‖, w), a `spectral_norm` as (w, u/σ, v) with the singular vectors u, v of the largest singular value σ, a sum of
    two biases as (b, 0); keys that the table ignores do not come back.

    Returns:
        Names to arrays, in PyTorch's order, for `module.load_state_dict` or `save_state`.

    Raises:
        RuleTableError: the table is not a rule table, or not one for this tree.
        UnknownModelError, WrongModelError, MissingKeysError, UnexpectedKeysError, ShapeMismatchError,
        UnsupportedDtypeError, NonFiniteWeightsError: as for `convert`.

    Example:
        >>> import jax, mathdnn_jax as mj, parity
        >>> params = mj.nice(dim=4, width=8, depth=1, couplings=1).init(jax.random.key(0))
        >>> for name, array in parity.export(params, "nice").items():
        ...     print(name, array.shape)
        coupling.0.in_block.0.weight (8, 2)
        coupling.0.in_block.0.bias (8,)
        coupling.0.out_block.weight (2, 8)
        coupling.0.out_block.bias (2,)
        scaling.scale (1, 4)
    """
    if not isinstance(model, str):
        return export_by_table(params, model)
    return dict(exported({path: np.asarray(leaf) for path, leaf in flatten(params).items()}, model))


def exported(arrays: Mapping[str, np.ndarray], model: str) -> Exported:
    """Export a named model from {path: leaf}; an array is made when it is looked up, not before."""
    specification = find_model(model)
    config = specification.params_config(outline(arrays))
    return export_arrays(arrays, target_shapes(specification, config), specification.table(config))


def _convert_model(state: Mapping[str, Any], model: str, ignore: Collection[str], dtype: DTypeLike | None) -> Params:
    specification = find_model(model)
    _check_collection(ignore)
    if not isinstance(state, MappedState | Exported):
        check_keys(state)
        state = dense_arrays(state)
    arrays = without_prefix(state)
    ignore = expand(ignore, arrays, find_prefix(list(state)))
    config = specification.infer_config({name: a for name, a in outline(arrays).items() if name not in ignore})
    targets, table = target_shapes(specification, config), specification.table(config)
    check_rule_table(table, targets, ignore)
    return unflatten(convert_arrays(arrays, targets, table, ignore=ignore, dtype=dtype))


def _check_collection(ignore: Collection[str]) -> None:
    if isinstance(ignore, str):
        raise ConfigurationError(
            f"ignore is a collection of keys, got the single string {ignore!r}; write [{ignore!r}]"
        )
