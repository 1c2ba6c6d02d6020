"""Likelihoods p(x | z) given a decoder's output: Bernoulli and Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability.normal import LOG_TWO_PI


class Likelihood(NamedTuple):
    """p(x | z) given the decoder's output for z, where x and the output have the event's shape.

    - `init() -> params`, the likelihood's own parameters, often none;
    - `log_prob(params, x, output) -> log p(x | z)` in nats, of the batch shape;
    - `mean(output) -> E[x | z]`;
    - `sample(params, key, output) -> x`.
    """

    init: Callable[[], Params]
    log_prob: Callable[[Params, jax.Array, jax.Array], jax.Array]
    mean: Callable[[jax.Array], jax.Array]
    sample: Callable[[Params, jax.Array, jax.Array], jax.Array]


def bernoulli(event_ndims: int) -> Likelihood:
    """Independent x_i ∈ {0, 1}: log p(x | z) = Σ_i x_i ℓ_i − log(1 + e^ℓ_i), where the decoder's output ℓ are logits.

    This form never takes the logarithm of zero, however certain the decoder is. For grey values x_i ∈ [0, 1], where it
    is often used, it is not a density (its integral is not 1) but the mean log-probability of black-and-white images
    that are drawn with the grey values as probabilities. A bound on it is a bound on E[log p(b)], b ~ Bernoulli(x).
    It can be compared with other models of the binarised images, but not with densities of grey images.

    Source: Kingma, Welling, "Auto-encoding variational Bayes", 2013, appendix C.1.
    """
    axes = tuple(range(-event_ndims, 0))

    def log_prob(params: Params, x: jax.Array, output: jax.Array) -> jax.Array:
        del params
        return _log_bernoulli(jnp.asarray(x, output.dtype), output).sum(axes)

    def sample(params: Params, key: jax.Array, output: jax.Array) -> jax.Array:
        del params
        return jax.random.bernoulli(key, jax.nn.sigmoid(output)).astype(output.dtype)

    return Likelihood(dict, log_prob, jax.nn.sigmoid, sample)


@jax.custom_jvp
def _log_bernoulli(x: jax.Array, logits: jax.Array) -> jax.Array:
    """x ℓ − log(1 + e^ℓ), which takes one logarithm where x log σ(ℓ) + (1 − x) log σ(−ℓ) takes two.

    log(1 + e^ℓ) = max(ℓ, 0) + log(1 + e^−|ℓ|); for black and white pixels the first difference is exact.
    """
    return x * logits - jnp.maximum(logits, 0) - jnp.log1p(jnp.exp(-jnp.abs(logits)))


@_log_bernoulli.defjvp
def _(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    # Written out, since max and abs have no derivatives at zero.
    (x, logits), (dx, dlogits) = primals, tangents
    return _log_bernoulli(x, logits), dx * logits + dlogits * (x - jax.nn.sigmoid(logits))


def gaussian(event_ndims: int, variance: float, train_variance: bool) -> Likelihood:
    """N(f(z), σ² I): log p(x | z) = −Σ_i (x_i − f_i(z))²/(2σ²) − (d/2) log 2πσ², where f(z) is the decoder's output.

    σ² is either fixed, or learnt starting from `variance`, as one number in `params["log_variance"]`.

    Raises:
        ConfigurationError: the variance is not a positive number.

    Source: course 000, Q6(c).
    """
    if not 0 < variance < math.inf:
        raise ConfigurationError(f"the variance of a Gaussian likelihood must be positive, given {variance}")
    axes = tuple(range(-event_ndims, 0))

    def init() -> Params:
        return {"log_variance": jnp.float32(math.log(variance))} if train_variance else {}

    def log_variance(params: Params, like: jax.Array) -> jax.Array:
        return params["log_variance"] if train_variance else jnp.asarray(math.log(variance), like.dtype)

    def log_prob(params: Params, x: jax.Array, output: jax.Array) -> jax.Array:
        log_v = log_variance(params, output)
        squares = jnp.square(x - output) * jnp.exp(-log_v)
        return -0.5 * (squares + log_v + LOG_TWO_PI).sum(axes)

    def sample(params: Params, key: jax.Array, output: jax.Array) -> jax.Array:
        scale = jnp.exp(log_variance(params, output) / 2)
        return output + scale * jax.random.normal(key, output.shape, output.dtype)

    return Likelihood(init, log_prob, lambda output: output, sample)
