"""Property checks for bijectors written by anyone, and adapters for the bijectors of other libraries."""

from mathdnn_jax.errors import BijectorCheckError
from mathdnn_jax.testing.adapted import Adapted
from mathdnn_jax.testing.check import check_bijector
from mathdnn_jax.testing.from_jax import from_distrax, from_flowjax, from_tfp
from mathdnn_jax.testing.from_torch import from_torch

__all__ = [
    "Adapted",
    "BijectorCheckError",
    "check_bijector",
    "from_distrax",
    "from_flowjax",
    "from_tfp",
    "from_torch",
]
