"""Invertible maps with their log-determinants, one idea per file."""

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.chain import chain, invert
from mathdnn_jax.bijectors.coupling import additive_coupling, affine_coupling
from mathdnn_jax.bijectors.dequantize import dequantize, quantize
from mathdnn_jax.bijectors.linear import scaling
from mathdnn_jax.bijectors.logit import logit
from mathdnn_jax.bijectors.mixture_cdf import mixture_cdf
from mathdnn_jax.bijectors.monotone import monotone_inverse
from mathdnn_jax.bijectors.rational_quadratic_coupling import rational_quadratic_coupling

__all__ = [
    "Bijector",
    "Params",
    "additive_coupling",
    "affine_coupling",
    "chain",
    "dequantize",
    "invert",
    "logit",
    "mixture_cdf",
    "monotone_inverse",
    "quantize",
    "rational_quadratic_coupling",
    "scaling",
]
