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
    """Log p(x) = log p_Z(f(x)) + log|det ∂f/∂x| in nats, f made of Glow's steps of flow.

    Images (H, W, C) have values in [0, 1] (`dequantize` makes them of bytes) and go through logit(α + (1 − 2α) x)
    first. Each of the `levels` squeezes (H, W, C) to (H/2, W/2, 4C), applies `steps` steps, and factors half of the
    channels out under a Gaussian prior whose mean and scale a 3 × 3 convolution of the other half gives; the last level
    flattens instead. A step is

    - actnorm, whose first parameters `init_from_data` sets from a first batch;
    - a mixing of the channels: with "plu" an invertible 1 × 1 convolution A = P L (U + diag s); with "conditional_plu"
      the channels in reversed order, then the coupling that mixes the second half of them by
      P L(X₁) (U(X₁) + diag s(X₁)), a matrix for each image that its first half gives;
    - an affine coupling that keeps the first half of the channels, its network a `ConvNet` with `depth` hidden layers
      of `width` channels.

    Both networks start at zero, P reverses the channels, and so a new Glow is actnorms and permutations.

    Args:
        event_shape: (H, W, C).
        levels: how many times the image is squeezed; H and W are multiples of 2^levels.
        steps: of each level.
        width: of the conditioners' hidden layers.
        depth: how many hidden layers they have.
        mixing: of the channels, "plu" or "conditional_plu".
        log_scale_bound: of the couplings' log-scales, see `affine_coupling`.
        alpha: α of `logit`.
        classes: for a density given a class, log p(x | y): labels from 0 to `classes` − 1 are then the context.
        prior: p_Z, "normal" or "logistic", with independent entries.

    Raises:
        ConfigurationError: a size is too small, the sides cannot be halved so often, or the mixing or the prior has
            another name.

    Source: Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1×1 Convolutions", 2018; seeds 000 Q4, 003 P4.
    """
    check_sizes("glow", levels=levels, steps=steps, width=width, depth=depth)
    check_halvings("glow", event_shape, levels)
    if mixing not in ("plu", "conditional_plu"):
        raise ConfigurationError(f"glow's mixing is 'plu' or 'conditional_plu', given {mixing!r}")
    z_prior = latent_prior(prior, event_shape)
    context_shape = None if classes is None else (classes,)
    settings = _Settings(steps, (width,) * depth, mixing, log_scale_bound, context_shape)
    bijector = chain(logit=logit(event_shape, alpha), level_0=_level(event_shape, 0, levels - 1, settings))
    return flow(bijector if classes is None else with_labels(bijector, classes), z_prior)


class _Settings(NamedTuple):
    steps: int
    hidden: tuple[int, ...]
    mixing: Mixing
    log_scale_bound: float | None
    context_shape: tuple[int, ...] | None


def _level(event_shape: tuple[int, ...], level: int, last: int, settings: _Settings) -> Bijector:
    """The steps of one level and all that follows, from an image to one vector."""
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
