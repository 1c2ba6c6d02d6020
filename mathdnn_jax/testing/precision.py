"""Programs with 64-bit types enabled and disabled in one process, although both may close over the same NumPy arrays.

JAX canonicalises a NumPy array that a program closes over once, and keeps the result as long as the array lives. So a
program that is traced in float32 after another one was traced in float64 gets a float64 constant, which its operations
do not take; and a float64 program gets constants that were rounded to float32. Only forgetting JAX's caches helps.
"""

from __future__ import annotations

import contextlib
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
    jax.clear_caches()
    try:
        return call()
    finally:
        jax.clear_caches()


def forget_float32_constants(function: Callable[..., Any], *arguments: Any) -> None:
    """Clear JAX's caches if a float64 program has NumPy constants of float32, which may be rounded float64 arrays."""
    try:
        constants = jax.make_jaxpr(function)(*arguments).consts
    except Exception:  # whatever the function raises is reported by the check that calls it next
        return
    if any(isinstance(constant, np.ndarray) and constant.dtype == np.float32 for constant in constants):
        jax.clear_caches()
