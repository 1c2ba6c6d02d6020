"""Carrying weights over, strictly and to the bit, in both directions."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, overload

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from parity.containers import MappedState
from parity.containers.checkpoint import State, to_numpy
from parity.errors import NonFiniteWeightsError, UnexpectedKeysError, UnsupportedDtypeError
from parity.models import find_model, target_shapes
from parity.rules.checks import Expected, Rule, check_arrays, check_table
from parity.rules.conversion import convert_by_table, export_by_table
from parity.rules.table import RuleTable
from parity.rules.tree import flatten, unflatten
from parity.rules.wrappers import without_prefix


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
    """PyTorch state dict → JAX parameters, every entry the same bits in the place that the rule table names.

    `convert(state, model="nice")` is for the models of `parity.MODELS`, whose rules are known. `convert(state,
    variables, rules)` is for any tree: Linen variables, NNX state, nested dicts, of arrays or of shapes alone. Every
    leaf is filled once, every key used once; what the table ignores or ties has to be there, and tied arrays equal.

    Args:
        state: names to arrays, as `load` returns them or `module.state_dict()` does; with a table that names them,
            inside wrapper dictionaries. Of a prefix that all keys have ("module.", "_orig_mod.", "model.") a model of
            `parity.MODELS` knows nothing: it is left out.
        model: a name in `parity.MODELS`; or the variables.
        rules: the rule table, of `infer_rules` or a TOML file's path; for variables alone.
        ignore: source keys, without that prefix, that are left out on purpose; every other key must be used.
        dtype: None carries float32 (and float64, where JAX has it enabled) over unchanged, with a table half precision
            too; a floating dtype converts all weights to it, which is the only way to take another floating type.

    Returns:
        A nested dict of JAX arrays, which `mathdnn_jax`'s constructor of the model takes as its parameters; or a tree
        like `variables`.

    Raises:
        UnknownModelError, WrongModelError: the name, or the state, is not that of the model.
        RuleTableError: the table is no table, or not one for these variables.
        MissingKeysError, UnexpectedKeysError, DoublyUsedKeysError, ShapeMismatchError, UnsupportedDtypeError,
        NonFiniteWeightsError: all problems are listed; the class is that of the first.
    """
    if not isinstance(model, str):
        if rules is None:
            raise ConfigurationError(
                "convert(state, variables, rules) needs the rule table: propose one with parity.infer_rules(state, "
                "variables); convert(state, 'lenet') is for the models of parity.MODELS"
            )
        _check_collection(ignore)
        return convert_by_table(state, model, rules, ignore=ignore, dtype=dtype)
    if rules is not None:
        raise ConfigurationError(f"the rules of the model {model!r} are known; a table goes with a tree of variables")
    return _convert_model(state, model, ignore, dtype)


def _check_collection(ignore: Collection[str]) -> None:
    if isinstance(ignore, str):
        raise ConfigurationError(f"ignore is a collection of keys, given the one string {ignore!r}; write [{ignore!r}]")


def _convert_model(state: Mapping[str, Any], model: str, ignore: Collection[str], dtype: DTypeLike | None) -> Params:
    specification = find_model(model)
    _check_collection(ignore)
    ignore = tuple(ignore)
    arrays = without_prefix(_arrays(state))
    config = specification.infer_config({name: a for name, a in outline(arrays).items() if name not in ignore})
    targets = target_shapes(specification, config)
    rules = specification.rules(config)
    check_table(rules, targets, ignore)
    floating = _source_dtypes(dtype)
    counter: list[np.dtype] = [np.dtype(np.int64)]
    sources = {
        rule.source: Expected(
            rule.transform.source_shape(targets[rule.target]), counter if rule.transform.counter else floating
        )
        for rule in rules
    }
    check_arrays(arrays, sources, ignore, what="this checkpoint")
    with np.errstate(over="ignore"):  # an overflow is an error below, with the names of the weights
        flat = {
            rule.target: jnp.array(
                rule.transform.to_target(arrays[rule.source]), None if rule.transform.counter else dtype
            )
            for rule in rules
        }
    if dtype is not None:
        spoiled = [path for path, leaf in flat.items() if not bool(jnp.isfinite(leaf).all())]
        if spoiled:
            raise NonFiniteWeightsError(f"weights do not fit into {np.dtype(dtype)}: {', '.join(spoiled)}")
    return unflatten(flat)


def export(params: Any, model: str | RuleTable | os.PathLike[str] = "nice") -> State:
    """JAX parameters → PyTorch state dict: the inverse of `convert`, to the bit, and as strict.

    `export(params, "nice")` is for the models of `parity.MODELS`; with a rule table, or a `pathlib.Path` of one, any
    tree is exported, in the table's wrapper dictionaries. A pair of `weight_norm` comes back as (‖w‖, w), a sum of two
    biases as (b, 0); keys that the table ignores do not come back.

    Raises:
        RuleTableError: the table is no table, or not one for this tree.
        UnknownModelError, WrongModelError, MissingKeysError, UnexpectedKeysError, ShapeMismatchError,
        UnsupportedDtypeError, NonFiniteWeightsError: as for `convert`.
    """
    if not isinstance(model, str):
        return export_by_table(params, model)
    return dict(exported({path: np.asarray(leaf) for path, leaf in flatten(params).items()}, model))


class Exported(Mapping[str, np.ndarray]):
    """A PyTorch state dict that is made, one array at a time, from JAX parameters when it is asked for them."""

    def __init__(self, arrays: Mapping[str, np.ndarray], rules: Sequence[Rule]) -> None:
        self._arrays = arrays
        self._rules = {rule.source: rule for rule in rules}

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def __getitem__(self, name: str) -> np.ndarray:
        rule = self._rules[name]
        return np.array(rule.transform.to_source(self._arrays[rule.target]), order="C")

    def outline(self) -> dict[str, np.ndarray]:
        """As `MappedState.outline`."""
        leaves = outline(self._arrays)
        return {
            name: np.broadcast_to(
                np.zeros((), np.int64 if rule.transform.counter else leaves[rule.target].dtype),
                rule.transform.source_shape(leaves[rule.target].shape),
            )
            for name, rule in self._rules.items()
        }


def exported(arrays: Mapping[str, np.ndarray], model: str) -> Exported:
    """As `export`, from the parameters by their tree paths, and no array is made before it is looked up."""
    specification = find_model(model)
    config = specification.params_config(outline(arrays))
    targets = target_shapes(specification, config)
    rules = specification.rules(config)
    check_table(rules, targets)
    floating: list[np.dtype] = [np.dtype(np.float32), np.dtype(np.float64)]
    counter: list[np.dtype] = [np.dtype(np.int32)]
    expected = {
        rule.target: Expected(targets[rule.target], counter if rule.transform.counter else floating) for rule in rules
    }
    check_arrays(arrays, expected, what="this parameter tree")
    return Exported(arrays, rules)


def outline(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Arrays of which only names, shapes and dtypes matter."""
    return arrays.outline() if isinstance(arrays, MappedState | Exported) else arrays


def _arrays(state: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    if isinstance(state, MappedState | Exported):
        return state
    strange = [name for name in state if not isinstance(name, str)]
    if strange:
        raise UnexpectedKeysError(f"a state dict's keys are strings, given {strange}")
    arrays, problems = {}, []
    for name, value in state.items():
        try:
            arrays[name] = to_numpy(value)
        except (TypeError, RuntimeError, NotImplementedError) as error:
            problems.append(f"{name}: {str(error).splitlines()[0]}")
    if problems:
        raise UnsupportedDtypeError(f"these are no dense arrays that NumPy can hold: {'; '.join(problems)}")
    return arrays


def _source_dtypes(dtype: DTypeLike | None) -> list[np.dtype]:
    single, double = np.dtype(np.float32), np.dtype(np.float64)
    if dtype is None:
        # Without 64-bit types JAX would round float64 weights to float32 and say nothing.
        return [single, double] if jnp.result_type(float) == double else [single]
    if not jnp.issubdtype(dtype, jnp.floating):
        raise UnsupportedDtypeError(f"weights are converted to a floating type, given {np.dtype(dtype)}")
    if np.dtype(dtype) == double and jnp.result_type(float) != double:
        raise UnsupportedDtypeError("JAX has no float64 here; set JAX_ENABLE_X64=1, or take dtype=jnp.float32")
    return [single, double, np.dtype(np.float16), np.dtype(jnp.bfloat16)]
