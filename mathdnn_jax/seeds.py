"""Seeds that are valid for every random generator in use."""

from __future__ import annotations

from mathdnn_jax.errors import ConfigurationError

GREATEST_SEED = 2**32 - 1
"""The largest seed that JAX, NumPy and PyTorch all accept."""


def check_seed(seed: int) -> int:
    """Return `seed` if it is valid.

    Raises:
        ConfigurationError: `seed` is not a whole number from 0 to 2³² − 1.
    """
    if not 0 <= seed <= GREATEST_SEED:
        raise ConfigurationError(f"a seed is a whole number from 0 to {GREATEST_SEED}, given {seed}")
    return seed
