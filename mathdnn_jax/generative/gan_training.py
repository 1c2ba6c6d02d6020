"""Training of a GAN: one step of the discriminator, then one of the generator, as one pure function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mathdnn_jax.bijectors import Params
from mathdnn_jax.generative.gan import GAN
from mathdnn_jax.training.update import alternating_update


class GANState(NamedTuple):
    """Everything that changes during training: parameters and state of the networks, and state of both optimisers."""

    params: Params
    state: Any
    generator_optimizer: Any
    discriminator_optimizer: Any


class GANLosses(NamedTuple):
    """Both losses in nats, each before the update of its own network."""

    generator: jax.Array
    discriminator: jax.Array


class GANTraining(NamedTuple):
    """Alternating training as pure functions, ready for jit and `lax.scan`.

    - `init(key) -> GANState`;
    - `step(state, key, x) -> (GANState, GANLosses)`, where x is a batch (N, *event_shape).
    """

    init: Callable[[jax.Array], GANState]
    step: Callable[[GANState, jax.Array, jax.Array], tuple[GANState, GANLosses]]


def gan_training(
    gan: GAN,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
) -> GANTraining:
    """Alternate two optimisers: the discriminator's on data and fresh noise, then the generator's on new noise.

    The generator plays against the discriminator as it is after its update. Each draws as many noises as there are
    data. `optax.adam(2e-4, b1=0.5)` is a common choice for both.

    Returns:
        The pure functions `init` and `step`.

    Source: Goodfellow et al., 2014, algorithm 1 with one step of the discriminator; Radford, Metz, Chintala, 2015.
    """

    def discriminator_loss(params: Params, state: Any, batch: dict[str, jax.Array], _: jax.Array) -> Any:
        loss, state = gan.discriminator_loss(params, state, batch["data"], batch["discriminator_noise"])
        return loss, (state, {})

    def generator_loss(params: Params, state: Any, batch: dict[str, jax.Array], _: jax.Array) -> Any:
        loss, state = gan.generator_loss(params, state, batch["generator_noise"])
        return loss, (state, {})

    players = (
        ("discriminator", discriminator_loss, discriminator_optimizer),
        ("generator", generator_loss, generator_optimizer),
    )
    alternate = alternating_update(players, has_state=True)

    def init(key: jax.Array) -> GANState:
        params, state = gan.init(key)
        optimizers = alternate.init(params)
        return GANState(params, state, optimizers["generator"], optimizers["discriminator"])

    def step(now: GANState, key: jax.Array, x: jax.Array) -> tuple[GANState, GANLosses]:
        dtype = jnp.result_type(*jax.tree.leaves(now.params))
        first, second = (gan.sample_latent(part, x.shape[:1], dtype) for part in jax.random.split(key))
        batch = {"data": x, "discriminator_noise": first, "generator_noise": second}
        optimizers = {"generator": now.generator_optimizer, "discriminator": now.discriminator_optimizer}
        then = alternate.step(now.params, optimizers, now.state, batch, key, None)
        moments, losses = then.optimizer_state, then.metrics
        return (
            GANState(then.params, then.state, moments["generator"], moments["discriminator"]),
            GANLosses(losses["generator_loss"], losses["discriminator_loss"]),
        )

    return GANTraining(init, step)
