"""Generative models and convolutional networks in JAX, as pure functions with their mathematics checked."""

from mathdnn_jax.bijectors import Bijector, additive_coupling, affine_coupling, chain, invert, scaling
from mathdnn_jax.flows import Flow, flow, nice
from mathdnn_jax.nets import MLP, torch_default
from mathdnn_jax.probability import (
    Distribution,
    GradientEstimate,
    diagonal_gaussian_kl,
    diagonal_gaussian_log_prob,
    diagonal_gaussian_sample,
    gaussian_kl,
    gaussian_log_prob,
    gaussian_sample,
    kl_divergence,
    logistic,
    normal,
    reparameterized_gradient,
    score_function_gradient,
    score_function_surrogate,
)

__all__ = [
    "MLP",
    "Bijector",
    "Distribution",
    "Flow",
    "GradientEstimate",
    "additive_coupling",
    "affine_coupling",
    "chain",
    "diagonal_gaussian_kl",
    "diagonal_gaussian_log_prob",
    "diagonal_gaussian_sample",
    "flow",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample",
    "invert",
    "kl_divergence",
    "logistic",
    "nice",
    "normal",
    "reparameterized_gradient",
    "scaling",
    "score_function_gradient",
    "score_function_surrogate",
    "torch_default",
]
__version__ = "0.1.0"
