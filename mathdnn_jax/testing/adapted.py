"""What the adapters return, and what they share."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Adapted(NamedTuple):
    """A map of another library as two plain functions: `check_bijector(*from_distrax(bijector), event_shape=...)`.

    - `forward(x) -> (z, log_det)` and `inverse(z) -> (x, log_det)`, leading axes being batch axes; where the adapter
      was given a function params → bijector, `forward(params, x)` and `inverse(params, z)`.
    """

    forward: Callable[..., Any]
    inverse: Callable[..., Any] | None


def makes_bijectors(given: object) -> bool:
    """Whether an adapter was given a function and not a bijector; bijectors of some libraries can be called too."""
    return isinstance(given, types.FunctionType | types.MethodType | functools.partial)


def adapted(given: Any, apply: Callable[..., Any]) -> Adapted:
    """The two directions of `apply(bijector, direction, x, *context)`, under the promotion that libraries expect.

    A bijector that is given as an object has its float arrays cast to the dtype of x, where it is a pytree, so that
    one object serves float32 and float64.
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
    """Sum over so many trailing axes."""
    return log_det.sum(tuple(range(-axes, 0))) if axes else log_det


def _cast(bijector: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        is_array = hasattr(leaf, "dtype") and hasattr(leaf, "shape")
        return jnp.asarray(leaf, dtype) if is_array and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, bijector)
