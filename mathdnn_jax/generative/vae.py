"""The variational autoencoder with a trainable prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import Shape
from mathdnn_jax.generative.layers import dense_decoder, dense_trunk, entries
from mathdnn_jax.generative.likelihood import Likelihood, bernoulli, gaussian
from mathdnn_jax.generative.network import network
from mathdnn_jax.nets import Dense, Sequential
from mathdnn_jax.nets.pure_module import pure_module
from mathdnn_jax.probability import (
    diagonal_gaussian_kl,
    diagonal_gaussian_log_prob,
    diagonal_gaussian_sample,
    score_function_surrogate,
)

Estimator = Literal["reparameterized", "score_function"]
Divergence = Literal["analytic", "monte_carlo"]


class Elbo(Protocol):
    """The signature of `VAE.elbo`."""

    def __call__(
        self,
        params: Params,
        x: jax.Array,
        key: jax.Array,
        *,
        samples: int = 1,
        estimator: Estimator = "reparameterized",
        kl: Divergence = "analytic",
        baseline: bool = False,
    ) -> jax.Array:
        """Return an estimate of the bound, of the batch shape."""


class VAE(NamedTuple):
    """A variational autoencoder as pure functions with explicit keys, for any batch axes; log-probabilities in nats.

    - `init(key) -> params`: {"encoder": {"trunk", "mean", "log_variance"}, "decoder", "prior", "likelihood"}, the last
      two only if they have something to learn;
    - `encode(params, x) -> (mean, log_scale)`, each (..., latent_dim): q_φ(z | x) = N(mean, diag exp(2 log_scale));
    - `decode(params, z) -> E[x | z]` (..., *event_shape);
    - `log_joint(params, x, z) -> log p_θ(x | z) + log r_λ(z)`;
    - `elbo(params, x, key, samples=1, estimator="reparameterized", kl="analytic", baseline=False)`: an unbiased
      estimate of VLB(x) = E_q[log p_θ(x | z)] − KL(q_φ(z | x) ‖ r_λ) ≤ log p(x), the mean over `samples` draws. The KL
      divergence is an expectation under q, the approximate posterior; "analytic" uses its closed form, "monte_carlo"
      the mean of log q − log r at the same draws. Its `jax.grad` is an unbiased estimate of the bound's gradient with
      respect to θ, φ and λ: "reparameterized" differentiates through z = μ + σ ε, "score_function" uses ∇ log q instead
      (the value is the same), optionally with the mean of the other draws as a `baseline`;
    - `log_marginal(params, x, key, samples)`: log (1/K) Σ_k p(x, z_k)/q(z_k | x) with K = samples draws from q, of
      which one at a time is in memory. Its mean is also a lower bound on log p(x); it is the ELBO for K = 1 and grows
      with K;
    - `sample_latent(params, key, shape=()) -> z` draws from the prior r_λ, and `sample(params, key, shape=()) -> x`
      from the model, including the noise of the likelihood; `decode(params, sample_latent(…))` is an image without it.
      As a shape, a number n stands for (n,);
    - `event_shape` of x and `latent_dim` of z.
    """

    init: Callable[[jax.Array], Params]
    encode: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    decode: Callable[[Params, jax.Array], jax.Array]
    log_joint: Callable[[Params, jax.Array, jax.Array], jax.Array]
    elbo: Elbo
    log_marginal: Callable[..., jax.Array]
    sample_latent: Callable[..., jax.Array]
    sample: Callable[..., jax.Array]
    event_shape: tuple[int, ...]
    latent_dim: int


def vae(
    event_shape: tuple[int, ...] = (784,),
    latent_dim: int = 20,
    *,
    trunk: nn.Module | None = None,
    decoder: nn.Module | None = None,
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
    variance: float = 1.0,
    train_variance: bool = False,
    prior: Literal["trainable", "standard"] = "trainable",
) -> VAE:
    """z ~ r_λ = N(λ₁, diag λ₂), x ~ p_θ(x | z), with q_φ(z | x) = N(μ_φ(x), diag Σ_φ(x)) approximating the posterior.

    λ₂ = exp(log_variance) > 0 by construction, and so is Σ. VLB(x) = E_q[log(p_θ(x | z) r_λ(z) / q_φ(z | x))] ≤
    log p(x), with equality where q is the posterior: log p(x) − VLB(x) = KL(q_φ(z | x) ‖ p(z | x)).

    Args:
        event_shape: the shape of x: (D,), or (H, W, C).
        latent_dim: k, the dimension of z.
        trunk: from x to any number of features, from which one dense layer computes μ and another log Σ. The default is
            `dense_trunk()`, with 400 features; use `conv_trunk()` for images.
        decoder: from z to as many numbers as x has, the logits of a Bernoulli or the mean of a Gaussian. The default is
            `dense_decoder` with 400 hidden units; use `conv_decoder()` for images. Neither network may keep state.
        likelihood: "bernoulli" (`mathdnn_jax.generative.likelihood.bernoulli` says what it means for grey images) or
            "gaussian" with variance σ².
        variance: σ² > 0, the initial value if `train_variance`.
        train_variance: whether σ² is learnt.
        prior: "trainable" for a learnt λ that starts at N(0, I), or "standard" for a fixed N(0, I).

    Raises:
        ConfigurationError: latent_dim < 1, an unknown likelihood or prior, variance ≤ 0, or a network that does not
            fit.
        EventShapeError: (when applied) the trailing axes of x or z are wrong.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> model = mj.vae(event_shape=(6,), latent_dim=2)
        >>> params = model.init(jax.random.key(0))
        >>> x = jnp.zeros((3, 6))
        >>> model.elbo(params, x, jax.random.key(1), samples=4).shape
        (3,)
        >>> model.sample(params, jax.random.key(2), (5,)).shape
        (5, 6)

    Source: course 000, Q6; Kingma, Welling, "Auto-encoding variational Bayes", 2013; Burda, Grosse, Salakhutdinov,
    "Importance weighted autoencoders", 2015.
    """
    if latent_dim < 1:
        raise ConfigurationError(f"a VAE needs at least one latent variable, given latent_dim={latent_dim}")
    if prior not in ("trainable", "standard"):
        raise ConfigurationError(f"the prior is 'trainable' or 'standard', given {prior!r}")
    model = _likelihood(likelihood, len(event_shape), variance, train_variance)
    trunk = dense_trunk() if trunk is None else trunk
    decoder = dense_decoder(entries(event_shape)) if decoder is None else decoder
    features = entries(pure_module(trunk, "the trunk").output_shape((1, *event_shape)))
    body = network(trunk, event_shape, (features,), "the trunk")
    mean_head = network(Sequential(mean=Dense(latent_dim)), (features,), (latent_dim,), "the mean")
    variance_layer = Sequential(log_variance=Dense(latent_dim))
    variance_head = network(variance_layer, (features,), (latent_dim,), "the log-variance")
    back = network(decoder, (latent_dim,), event_shape, "the decoder")

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 4)
        zero = jnp.zeros(latent_dim, jnp.float32)
        params: dict[str, Any] = {
            "encoder": {
                "trunk": body.init(keys[0])[0],
                **mean_head.init(keys[1])[0],
                **variance_head.init(keys[2])[0],
            },
            "decoder": back.init(keys[3])[0],
        }
        if prior == "trainable":
            params["prior"] = {"mean": zero, "log_variance": zero}
        if own := model.init():
            params["likelihood"] = own
        return params

    def encode(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        encoder = params["encoder"]
        hidden = body.apply(encoder.get("trunk", {}), {}, x)[0]
        mean = mean_head.apply({"mean": encoder["mean"]}, {}, hidden)[0]
        return mean, variance_head.apply({"log_variance": encoder["log_variance"]}, {}, hidden)[0] / 2

    def output(params: Params, z: jax.Array) -> jax.Array:
        return back.apply(params["decoder"], {}, z)[0]

    def decode(params: Params, z: jax.Array) -> jax.Array:
        return model.mean(output(params, z))

    def prior_of(params: Params, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        if prior == "trainable":
            return params["prior"]["mean"], params["prior"]["log_variance"] / 2
        return jnp.zeros(latent_dim, like.dtype), jnp.zeros(latent_dim, like.dtype)

    def log_likelihood(params: Params, x: jax.Array, z: jax.Array) -> jax.Array:
        return model.log_prob(params.get("likelihood", {}), x, output(params, z))

    def log_joint(params: Params, x: jax.Array, z: jax.Array) -> jax.Array:
        return log_likelihood(params, x, z) + diagonal_gaussian_log_prob(z, *prior_of(params, z))

    def elbo(
        params: Params,
        x: jax.Array,
        key: jax.Array,
        *,
        samples: int = 1,
        estimator: Estimator = "reparameterized",
        kl: Divergence = "analytic",
        baseline: bool = False,
    ) -> jax.Array:
        _check_elbo(samples, estimator, kl, baseline)
        posterior = encode(params, x)
        z = diagonal_gaussian_sample(key, *posterior, shape=(samples,))
        at_z = posterior
        if estimator == "score_function":
            # The draws are then constants, and so is log q where it is part of the average: the mean of ∇ log q is 0.
            z, at_z = jax.lax.stop_gradient((z, posterior))
        if kl == "analytic":
            value = log_likelihood(params, x, z)
        else:
            value = log_joint(params, x, z) - diagonal_gaussian_log_prob(z, *at_z)
        if estimator == "score_function":
            others = (value.sum(0) - value) / (samples - 1) if baseline else jnp.zeros_like(value)
            value = score_function_surrogate(value, diagonal_gaussian_log_prob(z, *posterior), others)
        bound = value.mean(0)
        return bound if kl == "monte_carlo" else bound - diagonal_gaussian_kl(*posterior, *prior_of(params, z))

    def log_marginal(params: Params, x: jax.Array, key: jax.Array, *, samples: int) -> jax.Array:
        if samples < 1:
            raise ConfigurationError(f"an importance-weighted bound needs at least one draw, given samples={samples}")
        bound: jax.Array = importance_weighted(params, x, jax.random.split(key, samples))
        return bound

    # Compiled once for the model: the scan's body is a closure, which would be compiled in every call.
    @jax.jit
    def importance_weighted(params: Params, x: jax.Array, keys: jax.Array) -> jax.Array:
        posterior = encode(params, x)

        def log_weight(key: jax.Array) -> jax.Array:
            z = diagonal_gaussian_sample(key, *posterior)
            return log_joint(params, x, z) - diagonal_gaussian_log_prob(z, *posterior)

        def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            return jnp.logaddexp(total, log_weight(key)), None

        total, _ = jax.lax.scan(add, log_weight(keys[0]), keys[1:])
        return total - jnp.log(jnp.asarray(len(keys), total.dtype))

    def sample_latent(params: Params, key: jax.Array, shape: Shape = ()) -> jax.Array:
        return diagonal_gaussian_sample(key, *prior_of(params, jax.tree.leaves(params)[0]), shape=shape)

    def sample(params: Params, key: jax.Array, shape: Shape = ()) -> jax.Array:
        latent_key, noise_key = jax.random.split(key)
        z = sample_latent(params, latent_key, shape)
        return model.sample(params.get("likelihood", {}), noise_key, output(params, z))

    return VAE(
        init, encode, decode, log_joint, elbo, log_marginal, sample_latent, sample, tuple(event_shape), latent_dim
    )


def _likelihood(name: str, event_ndims: int, variance: float, train_variance: bool) -> Likelihood:
    if name == "bernoulli":
        return bernoulli(event_ndims)
    if name == "gaussian":
        return gaussian(event_ndims, variance, train_variance)
    raise ConfigurationError(f"the likelihood is 'bernoulli' or 'gaussian', given {name!r}")


def _check_elbo(samples: int, estimator: str, kl: str, baseline: bool) -> None:
    if samples < 1:
        raise ConfigurationError(f"the bound is a mean of at least one draw, given samples={samples}")
    if estimator not in ("reparameterized", "score_function"):
        raise ConfigurationError(f"the estimator is 'reparameterized' or 'score_function', given {estimator!r}")
    if kl not in ("analytic", "monte_carlo"):
        raise ConfigurationError(f"the KL is 'analytic' or 'monte_carlo', given {kl!r}")
    if baseline and (estimator != "score_function" or samples < 2):
        raise ConfigurationError(
            f"a baseline is the mean over the other draws of the score-function estimator, so it needs at least two "
            f"draws; given estimator={estimator!r} and samples={samples}"
        )
