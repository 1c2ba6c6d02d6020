"""Training a GAN: one step of the discriminator, one of the generator, as one pure function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mathdnn_jax.bijectors import Params
from mathdnn_jax.generative.gan import GAN


class GANState(NamedTuple):
    """All that changes in training: the networks' parameters and state, and both optimisers' states."""

    params: Params
    state: Any
    generator_optimizer: Any
    discriminator_optimizer: Any


class GANLosses(NamedTuple):
    """Both losses in nats, each before its own network's update."""

    generator: jax.Array
    discriminator: jax.Array


class GANTraining(NamedTuple):
    """Alternating training as pure functions, ready for jit and `lax.scan`.

    - `init(key) -> GANState`;
    - `step(state, key, x) -> (GANState, GANLosses)`: x is a batch (N, *event_shape).
    """

    init: Callable[[jax.Array], GANState]
    step: Callable[[GANState, jax.Array, jax.Array], tuple[GANState, GANLosses]]


def gan_training(
    gan: GAN,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
) -> GANTraining:
    """One step: the discriminator's optimiser on data and fresh noise, then the generator's on fresh noise again.

    The generator meets the discriminator as it is after its own update. As many noises are drawn as there are data.
    Usual is `optax.adam(2e-4, b1=0.5)` for both.

    Source: Goodfellow et al., 2014, algorithm 1 with one step of the discriminator; Radford, Metz, Chintala, 2015.
    """

    def init(key: jax.Array) -> GANState:
        params, state = gan.init(key)
        return GANState(
            params,
            state,
            generator_optimizer.init(params["generator"]),
            discriminator_optimizer.init(params["discriminator"]),
        )

    def update(
        name: str,
        optimizer: optax.GradientTransformation,
        moments: Any,
        params: Params,
        loss: Callable[[Params], tuple[jax.Array, Any]],
    ) -> tuple[Params, Any, Any, jax.Array]:
        def of_one(part: Params) -> tuple[jax.Array, Any]:
            return loss({**params, name: part})

        (value, state), gradient = jax.value_and_grad(of_one, has_aux=True)(params[name])
        change, moments = optimizer.update(gradient, moments, params[name])
        return {**params, name: optax.apply_updates(params[name], change)}, state, moments, value

    def step(now: GANState, key: jax.Array, x: jax.Array) -> tuple[GANState, GANLosses]:
        dtype = jnp.result_type(*jax.tree.leaves(now.params))
        noise, more_noise = (gan.sample_latent(part, x.shape[:1], dtype) for part in jax.random.split(key))
        params, state, moments, discriminator_loss = update(
            "discriminator",
            discriminator_optimizer,
            now.discriminator_optimizer,
            now.params,
            lambda params: gan.discriminator_loss(params, now.state, x, noise),
        )
        after = state
        params, state, generator_moments, generator_loss = update(
            "generator",
            generator_optimizer,
            now.generator_optimizer,
            params,
            lambda params: gan.generator_loss(params, after, more_noise),
        )
        return GANState(params, state, generator_moments, moments), GANLosses(generator_loss, discriminator_loss)

    return GANTraining(init, step)
