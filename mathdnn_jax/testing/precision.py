"""Programs with 64-bit types enabled and disabled in one process, although both may close over the same NumPy arrays.

JAX canonicalises a NumPy array that a program closes over once, and keeps the result as long as the array lives. So a
program that is traced in float32 after another one was traced in float64 gets a float64 constant, which its operations
do not take; and a float64 program gets constants that were rounded to float32. Only clearing JAX's caches helps.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.programs import as_arrays

MIXED = ("Cannot lower jaxpr", "same dtypes", "equal types", "incompatible dtypes")
"""What JAX says of programs whose constants have another precision than their arguments."""


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Disable 64-bit types. That float64 arrays of the map become float32 is intended, and no reason for a warning."""
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Explicitly requested dtype", category=UserWarning)
        yield


def called_in_float32(program: Callable[..., Any], params: Tree, context: Tree, x: np.ndarray) -> Any:
    """Return program(params, context, x) in float32, with 64-bit types disabled, as users run it."""

    def call() -> Any:
        with in_float32():
            floats = as_arrays(params, np.float32), as_arrays(context, np.float32)
            return program(*floats, jnp.asarray(x, jnp.float32))

    try:
        return call()
    except (TypeError, ValueError) as error:
        if not any(words in str(error) for words in MIXED):
            raise
    _forget()
    try:
        return call()
    finally:
        _forget()


@contextlib.contextmanager
def apart_from_other_programs(function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Forget JAX's caches before and after, if the function closes over NumPy arrays; see the module's docstring.

    So the arrays are not those that a program of another precision has rounded, and the next one finds them as they
    are.
    """
    shared = _has_numpy_constants(function, *arguments)
    if shared:
        _forget()
    try:
        yield
    finally:
        if shared:
            _forget()


def _forget() -> None:
    """Clear JAX's caches, and collect the programs that they held: a constant is forgotten with its last program."""
    jax.clear_caches()
    gc.collect()


def _has_numpy_constants(function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        program = jax.make_jaxpr(function)(*arguments)
    except Exception:  # whatever the function raises is reported by the check that calls it
        return False
    return any(isinstance(one, np.ndarray) and one.dtype in (np.float32, np.float64) for one in _constants(program))


def _constants(program: Any) -> Iterator[Any]:
    """Yield the constants of a traced program and of the programs in it, such as compiled functions that it calls."""
    yield from program.consts
    for equation in program.jaxpr.eqns:
        for value in equation.params.values():
            if hasattr(value, "jaxpr") and hasattr(value, "consts"):
                yield from _constants(value)
