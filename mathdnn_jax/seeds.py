"""Seeds that every generator in use takes."""

from __future__ import annotations

from mathdnn_jax.errors import ConfigurationError

GREATEST_SEED = 2**32 - 1
"""The greatest seed that JAX, NumPy and PyTorch all take."""


def check_seed(seed: int) -> int:
    """Return `seed`.

    Raises:
        ConfigurationError: it is not a whole number from 0 to 2³² − 1.
    """
    if not 0 <= seed <= GREATEST_SEED:
        raise ConfigurationError(f"a seed is a whole number from 0 to {GREATEST_SEED}, given {seed}")
    return seed
