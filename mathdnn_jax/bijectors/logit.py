"""The logit, from the unit interval to the real line."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Bijector, Params, no_params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import check_event


def logit(event_shape: tuple[int, ...], alpha: float = 0.05) -> Bijector:
    """z = log(p / (1 − p)) with p = α + (1 − 2α) x,  log|det ∂z/∂x| = Σ_i log(1 − 2α) − log p_i − log(1 − p_i).

    The inverse is x = (σ(z) − α) / (1 − 2α). x lies in [0, 1], or in (0, 1) if α = 0. Neither direction clips: a z
    beyond logit(1 − α) gives an x beyond 1 (by at most α / (1 − 2α)), and an x with p outside [0, 1] gives NaN. There
    are no parameters.

    Args:
        event_shape: the shape of one event, over whose axes the log-determinant is summed.
        alpha: α in [0, ½), which keeps pixels of value 0 and 1 away from the logarithm's pole.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: α is outside [0, ½).
        EventShapeError: (when applied) the trailing axes of x are not the event's.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, section 4.1.
    """
    if not 0 <= alpha < 0.5:
        raise ConfigurationError(f"logit takes alpha in [0, 1/2), given alpha={alpha}")
    axes = tuple(range(-len(event_shape), 0))
    shrink = 1 - 2 * alpha
    log_shrinks = math.prod(event_shape) * math.log(shrink)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        check_event(x, event_shape, "logit")
        # 1 − p is computed from 1 − x, which is exact above ½: near 1 its digits are the ones that matter.
        log_p, log_rest = jnp.log(alpha + shrink * x), jnp.log(alpha + shrink * (1 - x))
        return log_p - log_rest, log_shrinks - (log_p + log_rest).sum(axes)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        check_event(z, event_shape, "logit")
        x = (jax.nn.sigmoid(z) - alpha) / shrink
        return x, (jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)).sum(axes) - log_shrinks

    return Bijector(no_params, forward, inverse, len(event_shape))
