"""Generative models and convolutional networks in JAX, as pure functions with their mathematics checked."""

from mathdnn_jax.bijectors import Bijector, additive_coupling, affine_coupling, chain, invert, scaling
from mathdnn_jax.flows import Flow, flow, nice
from mathdnn_jax.nets import MLP, torch_default
from mathdnn_jax.probability import Distribution, logistic, normal

__all__ = [
    "MLP",
    "Bijector",
    "Distribution",
    "Flow",
    "additive_coupling",
    "affine_coupling",
    "chain",
    "flow",
    "invert",
    "logistic",
    "nice",
    "normal",
    "scaling",
    "torch_default",
]
__version__ = "0.1.0"
