"""The diagonal linear map, whose log-determinant is the sum of its log-scales."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.pairwise_sum import pairwise_sum
from mathdnn_jax.errors import ConfigurationError, ParameterStructureError
from mathdnn_jax.events import check_event


def scaling(dim: int) -> Bijector:
    """z = exp(s) ⊙ x,  log|det ∂z/∂x| = Σ_i s_i,  with inverse x = exp(−s) ⊙ z.

    Acts on vectors of length `dim`. The parameters are {"log_scale": s (dim,)}, initialised with zeros.

    Raises:
        ConfigurationError: dim < 1.
        EventShapeError: (when applied) the last axis of x does not have length `dim`.
        ParameterStructureError: (when applied) log_scale does not have shape (dim,).

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> params = {"log_scale": jnp.log(jnp.array([2.0, 4.0]))}
        >>> z, log_det = mj.bijectors.scaling(2).forward(params, jnp.array([1.0, 0.5]))
        >>> z.round(3).tolist(), round(float(log_det), 3)
        ([2.0, 2.0], 2.079)

    Source: Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014, section 3.3.
    """
    if dim < 1:
        raise ConfigurationError(f"scaling acts on vectors with at least one entry, given dim={dim}")

    def init(key: jax.Array) -> Params:
        del key
        return {"log_scale": jnp.zeros(dim, jnp.float32)}

    def checked(params: Params) -> jax.Array:
        log_scale: jax.Array = params["log_scale"]
        if log_scale.shape != (dim,):
            raise ParameterStructureError(f"scaling expects log_scale of shape {(dim,)}, given {log_scale.shape}")
        return log_scale

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        batch_shape = check_event(x, (dim,), "scaling")
        log_scale = checked(params)
        return x * jnp.exp(log_scale), jnp.broadcast_to(pairwise_sum(log_scale), batch_shape)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        batch_shape = check_event(z, (dim,), "scaling")
        log_scale = checked(params)
        return z * jnp.exp(-log_scale), jnp.broadcast_to(-pairwise_sum(log_scale), batch_shape)

    return Bijector(init, forward, inverse, event_ndims=1)
