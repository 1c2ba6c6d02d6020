"""Bijectors: invertible maps with their log-determinants, as pure functions."""

from mathdnn_jax.bijectors.actnorm import actnorm
from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.chain import chain, invert
from mathdnn_jax.bijectors.conditional_plu import conditional_plu_coupling
from mathdnn_jax.bijectors.conv1x1 import conv1x1
from mathdnn_jax.bijectors.coupling import additive_coupling, affine_coupling
from mathdnn_jax.bijectors.dequantize import dequantize, quantize
from mathdnn_jax.bijectors.labels import with_labels
from mathdnn_jax.bijectors.linear import scaling
from mathdnn_jax.bijectors.logit import logit
from mathdnn_jax.bijectors.mixture_cdf import mixture_cdf
from mathdnn_jax.bijectors.monotone import monotone_inverse
from mathdnn_jax.bijectors.permutation import permutation
from mathdnn_jax.bijectors.plu import plu, plu_matrix
from mathdnn_jax.bijectors.plu_from_matrix import conv1x1_from_matrix, plu_from_matrix
from mathdnn_jax.bijectors.rational_quadratic_coupling import rational_quadratic_coupling
from mathdnn_jax.bijectors.reshape import reshape, squeeze
from mathdnn_jax.bijectors.split import split

__all__ = [
    "Bijector",
    "Params",
    "actnorm",
    "additive_coupling",
    "affine_coupling",
    "chain",
    "conditional_plu_coupling",
    "conv1x1",
    "conv1x1_from_matrix",
    "dequantize",
    "invert",
    "logit",
    "mixture_cdf",
    "monotone_inverse",
    "permutation",
    "plu",
    "plu_from_matrix",
    "plu_matrix",
    "quantize",
    "rational_quadratic_coupling",
    "reshape",
    "scaling",
    "split",
    "squeeze",
    "with_labels",
]
