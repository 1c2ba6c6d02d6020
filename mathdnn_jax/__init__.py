"""Generative models and convolutional networks in JAX, as pure functions with their mathematics checked."""

from mathdnn_jax.bijectors import (
    Bijector,
    additive_coupling,
    affine_coupling,
    chain,
    dequantize,
    invert,
    logit,
    mixture_cdf,
    monotone_inverse,
    quantize,
    rational_quadratic_coupling,
    scaling,
)
from mathdnn_jax.flows import Flow, bits_per_dim, flow, mixture_cdf_flow, mixture_cdf_mass, nice
from mathdnn_jax.nets import MLP, torch_default
from mathdnn_jax.probability import Distribution, logistic, normal

__all__ = [
    "MLP",
    "Bijector",
    "Distribution",
    "Flow",
    "additive_coupling",
    "affine_coupling",
    "bits_per_dim",
    "chain",
    "dequantize",
    "flow",
    "invert",
    "logistic",
    "logit",
    "mixture_cdf",
    "mixture_cdf_flow",
    "mixture_cdf_mass",
    "monotone_inverse",
    "nice",
    "normal",
    "quantize",
    "rational_quadratic_coupling",
    "scaling",
    "torch_default",
]
__version__ = "0.1.0"
