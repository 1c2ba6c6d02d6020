"""A bijector and a prior make a density that can be evaluated and sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Bijector, Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability import Distribution


class Flow(NamedTuple):
    """A normalizing flow as pure functions, each ready for jit, vmap and grad; parameters first.

    - `init(key) -> params`;
    - `forward(params, x) -> (z, log_det)` and `inverse(params, z) -> (x, log_det)`, the bijector's own;
    - `log_prob(params, x) -> log p(x)` in nats, of the batch shape;
    - `sample(params, key, shape) -> x` of shape `shape + event_shape`;
    - `sample_and_log_prob(params, key, shape) -> (x, log p(x))` at the cost of the sample alone;
    - `bijector` and `prior`, what it was made of.
    """

    init: Callable[[jax.Array], Params]
    forward: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    inverse: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    log_prob: Callable[[Params, jax.Array], jax.Array]
    sample: Callable[..., jax.Array]
    sample_and_log_prob: Callable[..., tuple[jax.Array, jax.Array]]
    bijector: Bijector
    prior: Distribution


def flow(bijector: Bijector, prior: Distribution) -> Flow:
    """Log p(x) = log p_Z(f(x)) + log|det ∂f/∂x| for x → z = f(x) and the prior p_Z; samples are f⁻¹(z), z ~ p_Z.

    Arguments have the dtype of the parameters, and so have samples.

    Raises:
        ConfigurationError: the bijector's events and the prior's have different ranks.
    """
    if bijector.event_ndims != len(prior.event_shape):
        raise ConfigurationError(
            f"a flow's prior is on the events of its bijector, which have {bijector.event_ndims} axes; "
            f"given a prior on events of shape {prior.event_shape}"
        )

    def log_prob(params: Params, x: jax.Array) -> jax.Array:
        z, log_det = bijector.forward(params, x)
        return prior.log_prob(z) + log_det

    def draw(params: Params, key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array, jax.Array]:
        leaves = jax.tree.leaves(params)
        z = prior.sample(key, tuple(shape), jnp.result_type(*leaves) if leaves else float)
        return z, *bijector.inverse(params, z)

    def sample(params: Params, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        return draw(params, key, shape)[1]

    def sample_and_log_prob(params: Params, key: jax.Array, shape: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
        z, x, log_det = draw(params, key, shape)
        return x, prior.log_prob(z) - log_det

    return Flow(
        init=bijector.init,
        forward=bijector.forward,
        inverse=bijector.inverse,
        log_prob=log_prob,
        sample=sample,
        sample_and_log_prob=sample_and_log_prob,
        bijector=bijector,
        prior=prior,
    )
