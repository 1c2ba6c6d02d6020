"""A VAE for which every quantity is known: z ~ N(λ₁, diag λ₂), x = W z + c + σ ε, with an affine encoder."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.claims.quadrature import grid, normal_rule
from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk, vae
from mathdnn_jax.probability import diagonal_gaussian_log_prob, gaussian_kl, gaussian_log_prob

DIM, LATENT = 3, 2


@functools.cache
def linear_vae() -> VAE:
    """The model, in which σ² is a parameter."""
    return vae(
        (DIM,),
        LATENT,
        trunk=dense_trunk(()),
        decoder=dense_decoder(DIM, ()),
        likelihood="gaussian",
        train_variance=True,
    )


def random_vae_params(seed: int, *, orthogonal: bool = False) -> Params:
    """Random float64 parameters; if the columns of W are orthogonal, the posterior's covariance is diagonal."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(DIM, LATENT))
    if orthogonal:
        weight = np.linalg.qr(weight)[0] * rng.uniform(0.5, 2, LATENT)

    def dense(inputs: int, outputs: int, scale: float) -> Params:
        return {"kernel": scale * rng.normal(size=(inputs, outputs)), "bias": scale * rng.normal(size=outputs)}

    params = {
        "encoder": {"trunk": {}, "mean": dense(DIM, LATENT, 0.5), "log_variance": dense(DIM, LATENT, 0.2)},
        "decoder": {"dense_0": {"kernel": weight.T, "bias": rng.normal(size=DIM)}},
        "prior": {"mean": rng.normal(size=LATENT), "log_variance": 0.7 * rng.normal(size=LATENT)},
        "likelihood": {"log_variance": rng.uniform(-1.5, 0.5)},
    }
    return jax.tree.map(jnp.asarray, params)


def random_vae_event(seed: int) -> jax.Array:
    """A random x, independent of the parameters drawn with the same seed."""
    return jnp.asarray(2 * np.random.default_rng((seed, 1)).normal(size=DIM))


def _parts(params: Params) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """W (DIM, LATENT), c, λ₁, λ₂ and σ²."""
    decoder, prior = params["decoder"]["dense_0"], params["prior"]
    noise = jnp.exp(params["likelihood"]["log_variance"])
    return decoder["kernel"].T, decoder["bias"], prior["mean"], jnp.exp(prior["log_variance"]), noise


def exact_covariance(params: Params) -> jax.Array:
    """The covariance of x, W diag λ₂ Wᵀ + σ² I."""
    weight, _, _, variance, noise = _parts(params)
    return weight * variance @ weight.T + noise * jnp.eye(DIM, dtype=weight.dtype)


@jax.jit
def exact_log_marginal(params: Params, x: jax.Array) -> jax.Array:
    """log p(x) = log N(x; W λ₁ + c, W diag λ₂ Wᵀ + σ² I), in nats."""
    weight, shift, mean, _, _ = _parts(params)
    return gaussian_log_prob(x, weight @ mean + shift, exact_covariance(params))


def exact_posterior(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and precision matrix of p(z | x)."""
    weight, shift, mean, variance, noise = _parts(params)
    precision = jnp.diag(1 / variance) + weight.T @ weight / noise
    return jnp.linalg.solve(precision, mean / variance + weight.T @ (x - shift) / noise), precision


@jax.jit
def exact_bound(params: Params, x: jax.Array) -> jax.Array:
    """VLB(x) = E_q[log p(x, z) − log q(z | x)] by quadrature, which is exact because the integrand is quadratic."""
    nodes, masses = normal_rule(3)
    mean, log_scale = linear_vae().encode(params, x)
    z = mean + jnp.exp(log_scale) * grid(nodes, LATENT)
    log_ratio = linear_vae().log_joint(params, x, z) - diagonal_gaussian_log_prob(z, mean, log_scale)
    return jnp.asarray(grid(masses, LATENT).prod(-1)) @ log_ratio


@jax.jit
def divergence_to_posterior(params: Params, x: jax.Array) -> jax.Array:
    """KL(q(z | x) ‖ p(z | x)), where q is the encoder."""
    mean, log_scale = linear_vae().encode(params, x)
    posterior_mean, precision = exact_posterior(params, x)
    covariance = jnp.linalg.inv(precision)
    return gaussian_kl(mean, jnp.diag(jnp.exp(2 * log_scale)), posterior_mean, (covariance + covariance.T) / 2)


def with_exact_posterior(params: Params) -> Params:
    """The same model, with its posterior as the encoder; W must have orthogonal columns."""
    weight, shift, mean, variance, noise = _parts(params)
    precision = 1 / variance + jnp.square(weight).sum(0) / noise
    encoder = {
        "trunk": {},
        "mean": {
            "kernel": weight / precision / noise,
            "bias": (mean / variance - weight.T @ shift / noise) / precision,
        },
        "log_variance": {"kernel": jnp.zeros_like(weight), "bias": -jnp.log(precision)},
    }
    return {**params, "encoder": encoder}


def with_constant_encoder(params: Params, mean: jax.Array, log_variance: jax.Array) -> Params:
    """The same model, with an encoder that returns this mean and log-variance for every x."""
    zero = jnp.zeros((DIM, LATENT), mean.dtype)
    encoder = {
        "trunk": {},
        "mean": {"kernel": zero, "bias": mean},
        "log_variance": {"kernel": zero, "bias": log_variance},
    }
    return {**params, "encoder": encoder}
