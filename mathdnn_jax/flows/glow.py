"""Glow: actnorm, an invertible mixing of the channels and an affine coupling, on several scales."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mathdnn_jax.bijectors import (
    Bijector,
    actnorm,
    affine_coupling,
    chain,
    conditional_plu_coupling,
    conv1x1,
    logit,
    permutation,
    reshape,
    split,
    squeeze,
    with_labels,
)
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.flows.multiscale import channel_half, check_halvings, check_sizes, latent_prior
from mathdnn_jax.nets import ConvNet, PooledConvNet

Mixing = Literal["plu", "conditional_plu"]


def glow(
    event_shape: tuple[int, ...] = (28, 28, 1),
    *,
    levels: int = 2,
    steps: int = 4,
    width: int = 64,
    depth: int = 2,
    mixing: Mixing = "plu",
    log_scale_bound: float | None = 2.0,
    alpha: float = 0.05,
    classes: int | None = None,
    prior: str = "normal",
) -> Flow:
    """log p(x) = log p_Z(f(x)) + log|det ∂f/∂x| in nats, where f consists of Glow's steps of flow.

    Images (H, W, C) have values in [0, 1] (see `dequantize` for bytes) and pass through logit(α + (1 − 2α) x) first.
    Each of the `levels` squeezes (H, W, C) to (H/2, W/2, 4C), applies `steps` steps, and factors out half of the
    channels under a Gaussian prior whose mean and scale are computed from the other half by a 3 × 3 convolution. The
    last level flattens instead of factoring out. A step consists of

    - actnorm, whose initial parameters `init_from_data` sets from a first batch;
    - a mixing of the channels: for "plu" an invertible 1 × 1 convolution A = P L (U + diag s); for "conditional_plu"
      a reversal of the channels, followed by the coupling that mixes the second half of them by
      P L(X₁) (U(X₁) + diag s(X₁)), a matrix that is computed for each image from its first half;
    - an affine coupling that keeps the first half of the channels. Its network is a `ConvNet` with `depth` hidden
      layers of `width` channels.

    Both networks are zero at initialisation and P reverses the channels, so a new Glow consists of actnorms and
    permutations.

    Args:
        event_shape: (H, W, C).
        levels: the number of squeezes; H and W must be multiples of 2^levels.
        steps: the number of steps on each level.
        width: the number of channels in the conditioners' hidden layers.
        depth: the number of hidden layers in each conditioner.
        mixing: how the channels are mixed, "plu" or "conditional_plu".
        log_scale_bound: the bound on the couplings' log-scales, see `affine_coupling`.
        alpha: α of `logit`.
        classes: the number of classes of a conditional density log p(x | y), whose context is an array of labels from
            0 to `classes` − 1; None for an unconditional density.
        prior: p_Z, "normal" or "logistic", with independent entries.

    Raises:
        ConfigurationError: a size is too small, the sides cannot be halved that often, or the mixing or the prior is
            unknown.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> flow = mj.glow((4, 4, 1), levels=2, steps=1, width=4, depth=1)
        >>> params = flow.init(jax.random.key(0))
        >>> images = jax.random.uniform(jax.random.key(1), (3, 4, 4, 1))
        >>> params = flow.init_from_data(params, images)
        >>> flow.log_prob(params, images).shape
        (3,)

    Source: Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1×1 Convolutions", 2018; course 000, Q4;
    course 003, P4.
    """
    check_sizes("glow", levels=levels, steps=steps, width=width, depth=depth)
    check_halvings("glow", event_shape, levels)
    if mixing not in ("plu", "conditional_plu"):
        raise ConfigurationError(f"the mixing of glow is 'plu' or 'conditional_plu', given {mixing!r}")
    event_shape = tuple(event_shape)
    z_prior = latent_prior(prior, event_shape)
    context_shape = None if classes is None else (classes,)
    settings = _Settings(steps, (width,) * depth, mixing, log_scale_bound, context_shape)
    bijector = chain(logit=logit(event_shape, alpha), level_0=_level(event_shape, 0, levels - 1, settings))
    bijector = bijector if classes is None else with_labels(bijector, classes)
    return flow(bijector, z_prior, name="glow", event_shape=event_shape)


class _Settings(NamedTuple):
    steps: int
    hidden: tuple[int, ...]
    mixing: Mixing
    log_scale_bound: float | None
    context_shape: tuple[int, ...] | None


def _level(event_shape: tuple[int, ...], level: int, last: int, settings: _Settings) -> Bijector:
    """The steps of one level and everything after it, from an image to one vector."""
    height, width, channels = event_shape[0] // 2, event_shape[1] // 2, 4 * event_shape[2]
    squeezed = (height, width, channels)
    parts = {"squeeze": squeeze(event_shape)}
    for i in range(settings.steps):
        parts[f"step_{i}"] = _step(squeezed, settings)
    if level == last:
        return chain(**parts, flatten=reshape(squeezed, (height * width * channels,)))
    following = _level((height, width, channels // 2), level + 1, last, settings)
    return chain(
        **parts,
        split=split(
            following,
            squeezed,
            ConvNet((channels,)),
            log_scale_bound=settings.log_scale_bound,
            context_shape=settings.context_shape,
        ),
    )


def _step(event_shape: tuple[int, ...], settings: _Settings) -> Bijector:
    channels = event_shape[-1]
    reversal = np.arange(channels)[::-1]
    parts = {"actnorm": actnorm(channels)}
    if settings.mixing == "plu":
        parts["conv1x1"] = conv1x1(channels, reversal)
    else:
        half = channels // 2
        parts["permutation"] = permutation(reversal, event_ndims=3)
        parts["conditional_plu"] = conditional_plu_coupling(
            PooledConvNet(half * half, settings.hidden[0]),
            half,
            log_scale_bound=settings.log_scale_bound,
            context_shape=settings.context_shape,
        )
    kept = channel_half(event_shape, 0)
    parts["coupling"] = affine_coupling(
        ConvNet((*settings.hidden, 2 * (channels - channels // 2))),
        kept,
        log_scale_bound=settings.log_scale_bound,
        context_shape=settings.context_shape,
    )
    return chain(**parts)
