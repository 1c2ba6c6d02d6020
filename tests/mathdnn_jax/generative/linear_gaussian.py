"""A VAE with closed forms for all quantities: z ~ N(λ₁, diag λ₂), x = W z + c + σ ε, with an affine encoder."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax import vae
from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk
from mathdnn_jax.probability import diagonal_gaussian_kl, gaussian_log_prob

DIM, LATENT, VARIANCE = 4, 2, 0.3


def linear_vae(dim: int = DIM, latent_dim: int = LATENT, *, train_variance: bool = False) -> VAE:
    """The model, with σ² = VARIANCE."""
    return vae(
        (dim,),
        latent_dim,
        trunk=dense_trunk(()),
        decoder=dense_decoder(dim, ()),
        likelihood="gaussian",
        variance=VARIANCE,
        train_variance=train_variance,
    )


def random_params(seed: int, *, orthogonal: bool = False) -> Any:
    """All parameters random, in float64; with orthogonal columns of W the posterior's covariance is diagonal."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(DIM, LATENT))
    if orthogonal:
        weight = np.linalg.qr(weight)[0] * rng.uniform(0.5, 2, LATENT)

    def dense(inputs: int, outputs: int, scale: float) -> dict[str, np.ndarray]:
        return {"kernel": scale * rng.normal(size=(inputs, outputs)), "bias": scale * rng.normal(size=outputs)}

    return {
        "encoder": {"trunk": {}, "mean": dense(DIM, LATENT, 0.5), "log_variance": dense(DIM, LATENT, 0.2)},
        "decoder": {"dense_0": {"kernel": weight.T, "bias": rng.normal(size=DIM)}},
        "prior": {"mean": rng.normal(size=LATENT), "log_variance": rng.normal(size=LATENT)},
        "likelihood": {},
    }


def _model(params: Any) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    decoder, prior = params["decoder"]["dense_0"], params["prior"]
    log_v = params["likelihood"].get("log_variance", jnp.log(VARIANCE))
    variance = jnp.exp(log_v) * jnp.ones((), decoder["bias"].dtype)
    return decoder["kernel"].T, decoder["bias"], prior["mean"], jnp.exp(prior["log_variance"]), variance


@jax.jit
def log_marginal(params: Any, x: jax.Array) -> jax.Array:
    """log p(x) = log N(x; W λ₁ + c, W diag λ₂ Wᵀ + σ² I)."""
    weight, shift, mean, variance, noise = _model(params)
    covariance = weight * variance @ weight.T + noise * jnp.eye(len(shift), dtype=shift.dtype)
    return gaussian_log_prob(x, weight @ mean + shift, covariance)


@jax.jit
def exact_bound(params: Any, x: jax.Array) -> jax.Array:
    """The ELBO of the affine encoder in closed form."""
    weight, shift, prior_mean, prior_variance, noise = _model(params)
    encoder = params["encoder"]
    mean = x @ encoder["mean"]["kernel"] + encoder["mean"]["bias"]
    log_variance = x @ encoder["log_variance"]["kernel"] + encoder["log_variance"]["bias"]
    squares = jnp.square(x - mean @ weight.T - shift).sum(-1)
    spread = (jnp.exp(log_variance) * jnp.square(weight).sum(0)).sum(-1)
    likelihood = -0.5 * ((squares + spread) / noise + len(shift) * jnp.log(2 * jnp.pi * noise))
    return likelihood - diagonal_gaussian_kl(mean, log_variance / 2, prior_mean, jnp.log(prior_variance) / 2)


def with_exact_posterior(params: Any) -> Any:
    """The same model with the encoder that equals its posterior; W must have orthogonal columns, or a single one."""
    weight, shift, mean, variance, noise = (np.asarray(part) for part in _model(params))
    precision = 1 / variance + np.square(weight).sum(0) / noise
    encoder = {
        "trunk": {},
        "mean": {
            "kernel": weight / precision / noise,
            "bias": (mean / variance - weight.T @ shift / noise) / precision,
        },
        "log_variance": {"kernel": np.zeros_like(weight), "bias": -np.log(precision)},
    }
    return {**params, "encoder": encoder}


def on_device(params: Any) -> Any:
    """Convert to JAX arrays of the current precision."""
    return jax.tree.map(jnp.asarray, params)
