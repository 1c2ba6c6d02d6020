"""Checks, priors and masks shared by NICE, RealNVP and Glow."""

from __future__ import annotations

import math

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability import Distribution, logistic, normal

PRIORS = {"normal": normal, "logistic": logistic}


def check_sizes(name: str, **sizes: int) -> None:
    """Check that these arguments of a flow are at least 1.

    Raises:
        ConfigurationError: one of them is less than 1.
    """
    wrong = [f"{size}={value} (at least 1)" for size, value in sizes.items() if value < 1]
    if wrong:
        raise ConfigurationError(f"{name} cannot be built with {', '.join(wrong)}")


def check_halvings(name: str, event_shape: tuple[int, ...], halvings: int) -> None:
    """Check that the height and width of an image (H, W, C) can be halved this many times.

    Raises:
        ConfigurationError: the event is not an image, or a side becomes odd.
    """
    if len(event_shape) != 3 or min(event_shape) < 1:
        raise ConfigurationError(f"{name} acts on images (H, W, C), given events of shape {event_shape}")
    if any(side % 2**halvings for side in event_shape[:2]):
        raise ConfigurationError(
            f"{name} halves height and width {halvings} times, so both must be multiples of {2**halvings}; "
            f"given events of shape {event_shape}"
        )


def latent_prior(name: str, event_shape: tuple[int, ...]) -> Distribution:
    """The prior "normal" or "logistic" on events of this shape, flattened to one vector.

    Raises:
        ConfigurationError: the name is unknown.
    """
    if name not in PRIORS:
        raise ConfigurationError(f"the prior of a flow is one of {', '.join(PRIORS)}, given {name!r}")
    return PRIORS[name]((math.prod(event_shape),))


def interleaved_half(dim: int, coupling: int) -> np.ndarray:
    """The mask of a vector that the coupling of this index keeps: the odd entries first, then odd and even in turn."""
    kept: np.ndarray = np.arange(dim) % 2 == (coupling + 1) % 2
    return kept


def checkerboard(event_shape: tuple[int, ...], parity: int) -> np.ndarray:
    """The mask that keeps the pixels (i, j) with i + j ≡ parity (mod 2), in all channels."""
    rows, columns = np.indices(event_shape[:2])
    return np.broadcast_to(((rows + columns) % 2 == parity)[..., None], event_shape)


def channel_half(event_shape: tuple[int, ...], half: int) -> np.ndarray:
    """The mask that keeps the first ⌊C/2⌋ channels (half 0) or the others (half 1)."""
    first = np.arange(event_shape[-1]) < event_shape[-1] // 2
    return np.broadcast_to(first if half == 0 else ~first, event_shape)
