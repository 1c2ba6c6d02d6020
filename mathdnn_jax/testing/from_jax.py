"""Bijectors of distrax, flowjax and TensorFlow Probability's JAX substrate as plain functions.

None of these libraries is imported: the adapters call methods of what they are given.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from mathdnn_jax.testing.adapted import Adapted, adapted, sum_event


def from_distrax(bijector: Any, event_ndims: int | None = None) -> Adapted:
    """Adapt a `distrax.Bijector`, or a function params → one, by `forward_and_log_det` and `inverse_and_log_det`.

    Args:
        bijector: the map, or the function.
        event_ndims: how many trailing axes make one event, at least the bijector's own `event_ndims_in`, which is the
            default; the log-dets of further axes are summed, as `distrax.Block` does.

    Source: the methods are those of distrax 0.1.
    """

    def apply(bijector: Any, direction: str, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = bijector.event_ndims_in if direction == "forward" else bijector.event_ndims_out
        value, log_det = getattr(bijector, f"{direction}_and_log_det")(x)
        return value, sum_event(log_det, 0 if event_ndims is None else event_ndims - own)

    return adapted(bijector, apply)


def from_flowjax(bijection: Any) -> Adapted:
    """Adapt a flowjax bijection, or a function params → one, by `transform_and_log_det` and `inverse_and_log_det`.

    Flowjax maps one event of shape `bijection.shape`; leading axes are mapped over. A context is its `condition`.
    Parameters that are wrapped (constrained, frozen) are unwrapped, as flowjax's distributions do.

    Source: the methods are those of flowjax 19.
    """

    def apply(bijection: Any, direction: str, x: jax.Array, *context: Any) -> tuple[jax.Array, jax.Array]:
        from paramax import unwrap

        bijection = unwrap(bijection)
        method = bijection.transform_and_log_det if direction == "forward" else bijection.inverse_and_log_det
        if not context and bijection.cond_shape is not None:
            raise TypeError(f"this bijection is conditional: give a context of shape {bijection.cond_shape}")
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
    """Adapt a bijector of `tensorflow_probability.substrates.jax` (`tfp-nightly`), or a function params → one.

    TFP computes value and log-det by two methods, and its log-dets are of any shape that broadcasts to the batch shape
    (one number for a map whose Jacobian is constant); here they are broadcast.

    Args:
        bijector: the map, or the function. TFP fixes its dtype when it is built: to be checked in float32 and float64
            it must have been built without one, or come from a function of the parameters.
        event_ndims: how many trailing axes make one event; by default the bijector's own minimum.

    Source: the methods are those of tfp-nightly 0.26.
    """

    def apply(bijector: Any, direction: str, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        least = getattr(bijector, f"{direction}_min_event_ndims")
        axes = least if event_ndims is None else event_ndims
        value = getattr(bijector, direction)(x)
        log_det = getattr(bijector, f"{direction}_log_det_jacobian")(x, event_ndims=axes)
        return value, jnp.broadcast_to(log_det, x.shape[: x.ndim - axes])

    return adapted(bijector, apply)
