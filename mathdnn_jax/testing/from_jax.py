"""Bijectors of distrax, flowjax and TensorFlow Probability's JAX substrate as plain functions.

None of these libraries is imported, because the adapters only call methods of the given object.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from mathdnn_jax.testing.adapted import Adapted, adapted, sum_event


def from_distrax(bijector: Any, event_ndims: int | None = None) -> Adapted:
    """Adapt a `distrax.Bijector` for `check_bijector`, by `forward_and_log_det` and `inverse_and_log_det`.

    Args:
        bijector: the bijector, or a function params → bijector.
        event_ndims: the number of trailing axes of one event. The default is the bijector's own `event_ndims_in`, which
            is also the minimum. The log-dets of further axes are summed, as `distrax.Block` does.

    Returns:
        The forward and the inverse map as plain functions, of (params, x) if a function params → bijector was given.

    Source: the methods are those of distrax 0.1.
    """

    def apply(bijector: Any, direction: str, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = bijector.event_ndims_in if direction == "forward" else bijector.event_ndims_out
        value, log_det = getattr(bijector, f"{direction}_and_log_det")(x)
        return value, sum_event(log_det, 0 if event_ndims is None else event_ndims - own)

    return adapted(bijector, apply)


def from_flowjax(bijection: Any) -> Adapted:
    """Adapt a flowjax bijection for `check_bijector`, by `transform_and_log_det` and `inverse_and_log_det`.

    Flowjax maps one event of shape `bijection.shape`, so leading axes are mapped over. A context is flowjax's
    `condition`. Wrapped parameters (constrained, frozen) are unwrapped, as flowjax's distributions do.

    Args:
        bijection: the bijection, or a function params → bijection.

    Returns:
        The forward and the inverse map as plain functions, of (params, x) if a function params → bijection was given.

    Source: the methods are those of flowjax 19.
    """

    def apply(bijection: Any, direction: str, x: jax.Array, *context: Any) -> tuple[jax.Array, jax.Array]:
        from paramax import unwrap

        bijection = unwrap(bijection)
        method = bijection.transform_and_log_det if direction == "forward" else bijection.inverse_and_log_det
        if not context and bijection.cond_shape is not None:
            raise TypeError(f"given no context for a conditional bijection; pass one of shape {bijection.cond_shape}")
        batch_shape = x.shape[: x.ndim - len(bijection.shape)]
        if not batch_shape:
            result: tuple[jax.Array, jax.Array] = method(x, *context)
            return result
        events = (x, *context)
        rows = [event.reshape(math.prod(batch_shape), *event.shape[len(batch_shape) :]) for event in events]
        value, log_det = jax.vmap(method)(*rows)
        return value.reshape(*batch_shape, *value.shape[1:]), log_det.reshape(batch_shape)

    return adapted(bijection, apply)


def from_tfp(bijector: Any, event_ndims: int | None = None) -> Adapted:
    """Adapt a bijector of `tensorflow_probability.substrates.jax` (`tfp-nightly`) for `check_bijector`.

    TFP computes value and log-det by two methods. Its log-dets have any shape that broadcasts to the batch shape, such
    as () for a map whose Jacobian is constant. Here they are broadcast.

    Args:
        bijector: the bijector, or a function params → bijector. TFP fixes the dtype when a bijector is built. To be
            checked in both float32 and float64, it must be built without one, or by a function of the parameters.
        event_ndims: the number of trailing axes of one event. The default is the bijector's own minimum.

    Returns:
        The forward and the inverse map as plain functions, of (params, x) if a function params → bijector was given.

    Source: the methods are those of tfp-nightly 0.26.
    """

    def apply(bijector: Any, direction: str, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        least = getattr(bijector, f"{direction}_min_event_ndims")
        axes = least if event_ndims is None else event_ndims
        value = getattr(bijector, direction)(x)
        log_det = getattr(bijector, f"{direction}_log_det_jacobian")(x, event_ndims=axes)
        return value, jnp.broadcast_to(log_det, x.shape[: x.ndim - axes])

    return adapted(bijector, apply)
