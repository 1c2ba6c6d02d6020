"""The public property checks, for anybody's maps.

Not imported by `mathdnn_jax` itself; say `from mathdnn_jax.testing import check_bijector`.
"""

from mathdnn_jax.errors import BijectorCheckError
from mathdnn_jax.testing.check import check_bijector

__all__ = ["BijectorCheckError", "check_bijector"]
