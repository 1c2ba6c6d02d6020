"""A bijector and a prior make a density that can be evaluated and sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Bijector, Params
from mathdnn_jax.bijectors.bijector import Map
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability import Distribution


class Flow(NamedTuple):
    """A normalizing flow as pure functions, each ready for jit, vmap and grad; parameters first.

    - `init(key) -> params`;
    - `init_from_data(params, x, context=None) -> params`: those set from a first batch, for flows with such maps
      (Glow's actnorm), and as they are for others;
    - `forward(params, x, context=None) -> (z, log_det)` and `inverse(params, z, context=None) -> (x, log_det)`, the
      bijector's own;
    - `log_prob(params, x, context=None) -> log p(x)` in nats, of the batch shape;
    - `sample(params, key, shape, context=None, temperature=1.0) -> x` of shape `shape + event_shape`, f⁻¹(T z) with z
      from the prior and T the temperature;
    - `sample_and_log_prob`, likewise, `-> (x, log p(x))` at the cost of the sample alone; log p is the flow's own
      density, whatever the temperature;
    - `bijector` and `prior`, what it was made of.

    In a conditional flow every density is that given the context, whose leading axes are the batch axes, or broadcast
    to them.
    """

    init: Callable[[jax.Array], Params]
    init_from_data: Callable[..., Params]
    forward: Map
    inverse: Map
    log_prob: Callable[..., jax.Array]
    sample: Callable[..., jax.Array]
    sample_and_log_prob: Callable[..., tuple[jax.Array, jax.Array]]
    bijector: Bijector
    prior: Distribution


def flow(bijector: Bijector, prior: Distribution) -> Flow:
    """Log p(x) = log p_Z(f(x)) + log|det ∂f/∂x| for x → z = f(x) and the prior p_Z; a sample is f⁻¹(T z), z ~ p_Z.

    Arguments have the dtype of the parameters, and so have samples.

    Raises:
        ConfigurationError: the bijector's latent events and the prior's have different ranks.
    """
    if bijector.latent_ndims != len(prior.event_shape):
        raise ConfigurationError(
            f"a flow's prior is on what its bijector returns, events of {bijector.latent_ndims} axes; "
            f"given a prior on events of shape {prior.event_shape}"
        )

    def init_from_data(params: Params, x: jax.Array, context: jax.Array | None = None) -> Params:
        return params if bijector.init_from_data is None else bijector.init_from_data(params, x, context)

    def log_prob(params: Params, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        z, log_det = bijector.forward(params, x, context)
        return prior.log_prob(z) + log_det

    def draw(
        params: Params, key: jax.Array, shape: tuple[int, ...], context: jax.Array | None, temperature: float
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        leaves = jax.tree.leaves(params)
        z = prior.sample(key, tuple(shape), jnp.result_type(*leaves) if leaves else float)
        z = jnp.asarray(temperature, z.dtype) * z
        return z, *bijector.inverse(params, z, context)

    def sample(
        params: Params,
        key: jax.Array,
        shape: tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: float = 1.0,
    ) -> jax.Array:
        return draw(params, key, shape, context, temperature)[1]

    def sample_and_log_prob(
        params: Params,
        key: jax.Array,
        shape: tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: float = 1.0,
    ) -> tuple[jax.Array, jax.Array]:
        z, x, log_det = draw(params, key, shape, context, temperature)
        return x, prior.log_prob(z) - log_det

    return Flow(
        init=bijector.init,
        init_from_data=init_from_data,
        forward=bijector.forward,
        inverse=bijector.inverse,
        log_prob=log_prob,
        sample=sample,
        sample_and_log_prob=sample_and_log_prob,
        bijector=bijector,
        prior=prior,
    )
