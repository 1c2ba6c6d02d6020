"""RealNVP: affine couplings on alternating masks, on several scales for images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.bijectors import Bijector, affine_coupling, chain, logit, reshape, split, squeeze, with_labels
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.flows.multiscale import (
    channel_half,
    check_halvings,
    check_sizes,
    checkerboard,
    interleaved_half,
    latent_prior,
)
from mathdnn_jax.nets import MLP, ConvNet


def real_nvp(
    event_shape: tuple[int, ...] = (28, 28, 1),
    *,
    scales: int = 2,
    couplings: int = 3,
    width: int = 64,
    depth: int = 2,
    log_scale_bound: float | None = 2.0,
    alpha: float = 0.05,
    classes: int | None = None,
    prior: str = "normal",
) -> Flow:
    """log p(x) = log p_Z(f(x)) + log|det ∂f/∂x| in nats, where f consists of affine couplings.

    **Images** (H, W, C) have values in [0, 1] (see `dequantize` for bytes) and pass through logit(α + (1 − 2α) x)
    first. Each of the `scales` applies `couplings` couplings on alternating checkerboards, squeezes (H, W, C) to
    (H/2, W/2, 4C), applies `couplings` couplings on alternating halves of the channels, and factors out half of the
    channels. The last scale consists of `couplings` + 1 checkerboards only. The network of a coupling is a `ConvNet`
    with `depth` hidden layers of `width` channels, which is zero at initialisation.

    **Vectors** (D,) may have any real values. They pass through `couplings` couplings that keep the odd entries
    (counted from 0) and the even entries in turn, each with an MLP of `depth` hidden layers of width `width`. `scales`
    and `alpha` have no effect.

    Args:
        event_shape: (H, W, C) or (D,).
        scales: the number of resolutions; H and W must be multiples of 2^(scales − 1).
        couplings: the number of couplings on each mask pattern of each scale.
        width: the width of the conditioners' hidden layers.
        depth: the number of hidden layers in each conditioner.
        log_scale_bound: the bound on the couplings' log-scales, see `affine_coupling`.
        alpha: α of `logit`.
        classes: the number of classes of a conditional density log p(x | y), whose context is an array of labels from
            0 to `classes` − 1; None for an unconditional density.
        prior: p_Z, "normal" or "logistic", with independent entries.

    Raises:
        ConfigurationError: a size is too small, the sides cannot be halved that often, or the prior is unknown.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> flow = mj.real_nvp((4, 4, 1), couplings=1, width=4, depth=1)
        >>> params = flow.init(jax.random.key(0))
        >>> images = flow.sample(params, jax.random.key(1), (3,))
        >>> images.shape, flow.log_prob(params, images).shape
        ((3, 4, 4, 1), (3,))

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016; course 002, P3, for the coupling.
    """
    check_sizes("real_nvp", scales=scales, couplings=couplings, width=width, depth=depth)
    event_shape = tuple(event_shape)
    z_prior = latent_prior(prior, event_shape)
    settings = _Settings(couplings, (width,) * depth, log_scale_bound, None if classes is None else (classes,))
    if len(event_shape) == 1:
        bijector = _vector(event_shape[0], settings)
    else:
        check_halvings("real_nvp", event_shape, scales - 1)
        bijector = chain(logit=logit(event_shape, alpha), scale_0=_scale(event_shape, 0, scales - 1, settings))
    bijector = bijector if classes is None else with_labels(bijector, classes)
    return flow(bijector, z_prior, name="real_nvp", event_shape=event_shape)


class _Settings(NamedTuple):
    couplings: int
    hidden: tuple[int, ...]
    log_scale_bound: float | None
    context_shape: tuple[int, ...] | None

    def coupling(self, mask: np.ndarray) -> Bijector:
        """An affine coupling on images; under a checkerboard its network receives the whole masked image."""
        by_channel = bool((mask == mask[0, 0]).all())
        outputs = 2 * (int((~mask[0, 0]).sum()) if by_channel else mask.shape[-1])
        return affine_coupling(
            ConvNet((*self.hidden, outputs)),
            mask,
            log_scale_bound=self.log_scale_bound,
            layout="kept" if by_channel else "masked",
            context_shape=self.context_shape,
        )


def _vector(dim: int, settings: _Settings) -> Bijector:
    if dim < 2:
        raise ConfigurationError(f"real_nvp couples at least 2 entries, given events of shape {(dim,)}")
    parts = {}
    for i in range(settings.couplings):
        kept = interleaved_half(dim, i)
        parts[f"coupling_{i}"] = affine_coupling(
            MLP((*settings.hidden, 2 * int((~kept).sum()))),
            kept,
            log_scale_bound=settings.log_scale_bound,
            context_shape=settings.context_shape,
        )
    return chain(**parts)


def _scale(event_shape: tuple[int, ...], level: int, last: int, settings: _Settings) -> Bijector:
    """The couplings of one scale and everything after it, from an image to one vector."""
    height, width, channels = event_shape
    if height * width == 1:
        raise ConfigurationError(
            f"real_nvp needs a checkerboard of more than one pixel on every scale, given one pixel on scale {level}; "
            f"use fewer scales"
        )
    boards = settings.couplings + (1 if level == last else 0)
    parts = {f"checkerboard_{i}": settings.coupling(checkerboard(event_shape, i % 2)) for i in range(boards)}
    if level == last:
        return chain(**parts, flatten=reshape(event_shape, (height * width * channels,)))
    squeezed = (height // 2, width // 2, 4 * channels)
    parts["squeeze"] = squeeze(event_shape)
    for i in range(settings.couplings):
        parts[f"channel_{i}"] = settings.coupling(channel_half(squeezed, i % 2))
    following = _scale((*squeezed[:2], 2 * channels), level + 1, last, settings)
    return chain(**parts, split=split(following, squeezed, context_shape=settings.context_shape))
