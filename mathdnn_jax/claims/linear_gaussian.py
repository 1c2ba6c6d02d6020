"""A VAE whose every quantity is known: z ~ N(λ₁, diag λ₂), x = W z + c + σ ε, with an affine encoder."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk, vae
from mathdnn_jax.probability import diagonal_gaussian_log_prob, gaussian_kl, gaussian_log_prob

DIM, LATENT = 3, 2


@functools.cache
def linear_vae() -> VAE:
    """The model; σ² is a parameter."""
    return vae(
        (DIM,),
        LATENT,
        trunk=dense_trunk(()),
        decoder=dense_decoder(DIM, ()),
        likelihood="gaussian",
        train_variance=True,
    )


def random_vae_params(seed: int, *, orthogonal: bool = False) -> Params:
    """All parameters random, in float64; with orthogonal columns of W the posterior's covariance is diagonal."""
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


def _parts(params: Params) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """W (DIM, LATENT), c, λ₁, λ₂ and σ²."""
    decoder, prior = params["decoder"]["dense_0"], params["prior"]
    noise = jnp.exp(params["likelihood"]["log_variance"])
    return decoder["kernel"].T, decoder["bias"], prior["mean"], jnp.exp(prior["log_variance"]), noise


def exact_covariance(params: Params) -> jax.Array:
    """Of x: W diag λ₂ Wᵀ + σ² I."""
    weight, _, _, variance, noise = _parts(params)
    return weight * variance @ weight.T + noise * jnp.eye(DIM, dtype=weight.dtype)


@jax.jit
def exact_log_marginal(params: Params, x: jax.Array) -> jax.Array:
    """Log p(x) = log N(x; W λ₁ + c, W diag λ₂ Wᵀ + σ² I), in nats."""
    weight, shift, mean, _, _ = _parts(params)
    return gaussian_log_prob(x, weight @ mean + shift, exact_covariance(params))


def exact_posterior(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and precision matrix of p(z | x)."""
    weight, shift, mean, variance, noise = _parts(params)
    precision = jnp.diag(1 / variance) + weight.T @ weight / noise
    return jnp.linalg.solve(precision, mean / variance + weight.T @ (x - shift) / noise), precision


@jax.jit
def exact_bound(params: Params, x: jax.Array) -> jax.Array:
    """VLB(x) = E_q[log p(x, z) − log q(z | x)] by Gauss–Hermite quadrature, exact since the integrand is quadratic."""
    # Three nodes a coordinate serve polynomials up to the fifth degree.
    node, mass = np.array([-np.sqrt(3), 0, np.sqrt(3)]), np.array([1, 4, 1]) / 6
    nodes = np.stack(np.meshgrid(*[node] * LATENT, indexing="ij"), -1).reshape(-1, LATENT)
    masses = np.prod(np.stack(np.meshgrid(*[mass] * LATENT, indexing="ij"), -1), -1).reshape(-1)
    mean, log_scale = linear_vae().encode(params, x)
    z = mean + jnp.exp(log_scale) * nodes
    log_ratio = linear_vae().log_joint(params, x, z) - diagonal_gaussian_log_prob(z, mean, log_scale)
    return jnp.asarray(masses) @ log_ratio


@jax.jit
def divergence_to_posterior(params: Params, x: jax.Array) -> jax.Array:
    """KL(q(z | x) ‖ p(z | x)) of the encoder."""
    mean, log_scale = linear_vae().encode(params, x)
    posterior_mean, precision = exact_posterior(params, x)
    covariance = jnp.linalg.inv(precision)
    return gaussian_kl(mean, jnp.diag(jnp.exp(2 * log_scale)), posterior_mean, (covariance + covariance.T) / 2)


def with_exact_posterior(params: Params) -> Params:
    """The same model with the encoder that is its posterior; W must have orthogonal columns."""
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
    """The same model with an encoder that returns these two for every x."""
    zero = jnp.zeros((DIM, LATENT), mean.dtype)
    encoder = {
        "trunk": {},
        "mean": {"kernel": zero, "bias": mean},
        "log_variance": {"kernel": zero, "bias": log_variance},
    }
    return {**params, "encoder": encoder}
