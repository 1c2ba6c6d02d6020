"""The result of the adapters, and the code that they share."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Adapted(NamedTuple):
    """Another library's map as two plain functions: `check_bijector(*from_distrax(bijector), event_shape=...)`.

    - `forward(x) -> (z, log_det)` and `inverse(z) -> (x, log_det)`. Leading axes are batch axes. If the adapter was
      given a function params → bijector, these are `forward(params, x)` and `inverse(params, z)`.
    """

    forward: Callable[..., Any]
    inverse: Callable[..., Any] | None


def makes_bijectors(given: object) -> bool:
    """Return whether an adapter was given a function rather than a bijector, which may be callable too."""
    return isinstance(given, types.FunctionType | types.MethodType | functools.partial)


def adapted(given: Any, apply: Callable[..., Any]) -> Adapted:
    """Return the two directions of `apply(bijector, direction, x, *context)`, with the promotion that libraries expect.

    If a bijector is given as an object that is a pytree, its float arrays are cast to the dtype of x, so that one
    object serves both float32 and float64.
    """

    def direction(name: str) -> Callable[..., Any]:
        if makes_bijectors(given):

            def of_params(params: Any, x: jax.Array, *context: Any) -> Any:
                with jax.numpy_dtype_promotion("standard"):
                    return apply(given(params), name, x, *context)

            return of_params

        def of_event(x: jax.Array, *context: Any) -> Any:
            with jax.numpy_dtype_promotion("standard"):
                return apply(_cast(given, x.dtype), name, x, *context)

        return of_event

    return Adapted(direction("forward"), direction("inverse"))


def sum_event(log_det: jax.Array, axes: int) -> jax.Array:
    """Sum over this many trailing axes."""
    return log_det.sum(tuple(range(-axes, 0))) if axes else log_det


def _cast(bijector: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        is_array = hasattr(leaf, "dtype") and hasattr(leaf, "shape")
        return jnp.asarray(leaf, dtype) if is_array and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, bijector)
