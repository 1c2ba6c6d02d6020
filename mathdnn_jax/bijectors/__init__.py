"""Invertible maps with their log-determinants, one idea per file."""

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.chain import chain, invert
from mathdnn_jax.bijectors.coupling import additive_coupling, affine_coupling
from mathdnn_jax.bijectors.linear import scaling

__all__ = ["Bijector", "Params", "additive_coupling", "affine_coupling", "chain", "invert", "scaling"]
