"""Half precision for functions whose arithmetic needs float32: computed in float32, returned in the dtype given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Params


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run `function(params, x, …)` in float32 if the parameters have half precision, and round what it returns.

    Other dtypes pass unchanged. x may be a key instead, for samplers.
    """

    @functools.wraps(function)
    def run(params: Params, x: jax.Array, *rest: Any, **named: Any) -> Any:
        leaves = jax.tree.leaves(params)
        dtype = jnp.result_type(*leaves) if leaves else jnp.dtype(jnp.float32)
        if not _is_half(dtype):
            return function(params, x, *rest, **named)
        returned = function(*jax.tree.map(_widened, (params, x)), *rest, **named)
        return jax.tree.map(lambda leaf: leaf.astype(dtype), returned)

    return run


def _widened(leaf: jax.Array) -> jax.Array:
    return leaf.astype(jnp.float32) if _is_half(leaf.dtype) else leaf


def _is_half(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32)
