"""The generative adversarial network with different weights for the two kinds of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import Shape, batch_shape_of
from mathdnn_jax.generative.layers import dense_discriminator, dense_generator, entries
from mathdnn_jax.generative.network import network

Loss = tuple[jax.Array, Any]


class GAN(NamedTuple):
    """A generator and a discriminator as pure functions that take parameters and state first and any batch axes.

    `params` and `state` are {"generator": …, "discriminator": …}. The state holds the running statistics of batch
    norms; without batch norms its entries are empty dicts. The losses are in nats, run the networks in training mode,
    and return the updated state.

    - `init(key) -> (params, state)`;
    - `sample_latent(key, shape, dtype=float32) -> z` of shape `shape + (latent_dim,)`, standard normal; a number n
      stands for the shape (n,);
    - `generate(params, state, z) -> x` (..., *event_shape), in evaluation mode;
    - `discriminate(params, state, x) -> logits` of the batch shape, in evaluation mode; D(x) = sigmoid(logits);
    - `generator_loss(params, state, z) -> (loss, state)`, to be minimised over the generator's parameters;
    - `discriminator_loss(params, state, x, z) -> (loss, state)` for data x and noise z, to be minimised over the
      discriminator's parameters.
    """

    init: Callable[[jax.Array], tuple[Params, Any]]
    sample_latent: Callable[..., jax.Array]
    generate: Callable[[Params, Any, jax.Array], jax.Array]
    discriminate: Callable[[Params, Any, jax.Array], jax.Array]
    generator_loss: Callable[[Params, Any, jax.Array], Loss]
    discriminator_loss: Callable[[Params, Any, jax.Array, jax.Array], Loss]
    event_shape: tuple[int, ...]
    latent_dim: int


def gan(
    event_shape: tuple[int, ...] = (784,),
    latent_dim: int = 64,
    *,
    generator: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    weight: float = 1.0,
    saturating: bool = False,
) -> GAN:
    """min_G max_D E log D(X) + λ E log(1 − D(G(Z))), where Z is standard normal and λ weights errors of type II.

    With D = sigmoid(ℓ), where ℓ are the discriminator's logits, the losses have the following forms, which never take
    the logarithm of zero:

    - discriminator: E softplus(−ℓ(X)) + λ E softplus(ℓ(G(Z))), the negative objective;
    - generator, saturating: −λ E softplus(ℓ(G(Z))), its part of the objective, which is flat where D is certain;
    - generator, non-saturating: λ E softplus(−ℓ(G(Z))) = −λ E log D(G(Z)), which has the same fixed points and a
      gradient where D is certain.

    For densities p of X and q of G(Z), the best discriminator is D = p/(p + λ q), that is, ℓ = log p − log q − log λ.

    Args:
        event_shape: the shape of x: (D,), or (28, 28, 1) for the DCGAN networks.
        latent_dim: the dimension of z.
        generator: from z to as many numbers as x has; by default `dense_generator`, with pixels in (0, 1).
            `dcgan_generator()` has pixels in (−1, 1).
        discriminator: from x to one logit; by default `dense_discriminator()`.
        weight: λ > 0.
        saturating: whether the generator has the saturating loss.

    Raises:
        ConfigurationError: latent_dim < 1, λ is not a positive number, or a network does not fit.
        EventShapeError: (when applied) the trailing axes of x or z are wrong.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> model = mj.gan(event_shape=(6,), latent_dim=2)
        >>> params, state = model.init(jax.random.key(0))
        >>> z = model.sample_latent(jax.random.key(1), (3,))
        >>> x = model.generate(params, state, z)
        >>> x.shape, model.discriminate(params, state, x).shape
        ((3, 6), (3,))

    Source: course 000, Q5; Goodfellow et al., "Generative adversarial nets", 2014.
    """
    if latent_dim < 1:
        raise ConfigurationError(f"a GAN needs at least one latent variable, given latent_dim={latent_dim}")
    if not 0 < weight < float("inf"):
        raise ConfigurationError(f"the weight of type II errors must be a positive number, given {weight}")
    generator = dense_generator(entries(event_shape)) if generator is None else generator
    discriminator = dense_discriminator() if discriminator is None else discriminator
    maker = network(generator, (latent_dim,), event_shape, "the generator", stateful=True)
    judge = network(discriminator, event_shape, (), "the discriminator", stateful=True)

    def init(key: jax.Array) -> tuple[Params, Any]:
        first, second = jax.random.split(key)
        generator_params, generator_state = maker.init(first)
        discriminator_params, discriminator_state = judge.init(second)
        return (
            {"generator": generator_params, "discriminator": discriminator_params},
            {"generator": generator_state, "discriminator": discriminator_state},
        )

    def sample_latent(key: jax.Array, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.normal(key, (*batch_shape_of(shape), latent_dim), dtype)

    def generate(params: Params, state: Any, z: jax.Array) -> jax.Array:
        return maker.apply(params["generator"], state["generator"], z)[0]

    def discriminate(params: Params, state: Any, x: jax.Array) -> jax.Array:
        return judge.apply(params["discriminator"], state["discriminator"], x)[0]

    def fake(params: Params, state: Any, z: jax.Array) -> tuple[jax.Array, Any]:
        x, updated = maker.apply(params["generator"], state["generator"], z, train=True)
        return x, {**state, "generator": updated}

    def logits(params: Params, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        values, updated = judge.apply(params["discriminator"], state["discriminator"], x, train=True)
        return values, {**state, "discriminator": updated}

    def generator_loss(params: Params, state: Any, z: jax.Array) -> Loss:
        x, state = fake(params, state, z)
        values, state = logits(params, state, x)
        terms = -jax.nn.softplus(values) if saturating else jax.nn.softplus(-values)
        return weight * terms.mean(), state

    def discriminator_loss(params: Params, state: Any, x: jax.Array, z: jax.Array) -> Loss:
        made, state = fake(params, state, z)
        # Two batches, so that a batch norm computes statistics for each, as is usual: the statistics of one joint batch
        # would reveal which is which.
        real, state = logits(params, state, x)
        false, state = logits(params, state, jax.lax.stop_gradient(made))
        return jax.nn.softplus(-real).mean() + weight * jax.nn.softplus(false).mean(), state

    return GAN(
        init,
        sample_latent,
        generate,
        discriminate,
        generator_loss,
        discriminator_loss,
        tuple(event_shape),
        latent_dim,
    )
