"""Carrying weights over, strictly and to the bit, in both directions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from parity.checkpoint import State, to_numpy
from parity.containers import MappedState
from parity.errors import NonFiniteWeightsError, UnexpectedKeysError, UnsupportedDtypeError
from parity.models import find_model, target_shapes
from parity.rules import Expected, Rule, check_arrays, check_table
from parity.tree import flatten, unflatten


def convert(
    state: Mapping[str, Any],
    model: str = "nice",
    *,
    ignore: Collection[str] = (),
    dtype: DTypeLike | None = None,
) -> Params:
    """PyTorch state dict → JAX parameters, every entry the same bits in the place that the rule table names.

    Args:
        state: names to arrays, as `load` returns them or `module.state_dict()` does.
        model: a name in `parity.MODELS`.
        ignore: source keys that are left out on purpose; every other key must be used.
        dtype: None carries float32 (and float64, where JAX has it enabled) over unchanged; a floating dtype
            converts all weights to it, which is the only way to take another floating type.

    Returns:
        A nested dict of JAX arrays, which `mathdnn_jax`'s constructor of the model takes as its parameters.

    Raises:
        UnknownModelError, WrongModelError: the name, or the state, is not that of the model.
        MissingKeysError, UnexpectedKeysError, DoublyUsedKeysError, ShapeMismatchError, UnsupportedDtypeError,
        NonFiniteWeightsError: all problems are listed; the class is that of the first.
    """
    specification = find_model(model)
    if isinstance(ignore, str):
        raise ConfigurationError(f"ignore is a collection of keys, given the one string {ignore!r}; write [{ignore!r}]")
    ignore = tuple(ignore)
    arrays = _arrays(state)
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


def export(params: Params, model: str = "nice") -> State:
    """JAX parameters → PyTorch state dict: the inverse of `convert`, to the bit, and as strict.

    Raises:
        UnknownModelError, WrongModelError, MissingKeysError, UnexpectedKeysError, ShapeMismatchError,
        UnsupportedDtypeError, NonFiniteWeightsError: as for `convert`.
    """
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
