"""Generative models and convolutional networks in JAX, as pure functions with their mathematics checked."""

from mathdnn_jax.bijectors import Bijector, additive_coupling, affine_coupling, chain, invert, scaling
from mathdnn_jax.flows import Flow, flow, nice
from mathdnn_jax.nets import MLP, Conv1dLayer, conv1d_backprop, conv1d_forward, torch_default, torch_default_variance
from mathdnn_jax.probability import Distribution, logistic, normal

__all__ = [
    "MLP",
    "Bijector",
    "Conv1dLayer",
    "Distribution",
    "Flow",
    "additive_coupling",
    "affine_coupling",
    "chain",
    "conv1d_backprop",
    "conv1d_forward",
    "flow",
    "invert",
    "logistic",
    "nice",
    "normal",
    "scaling",
    "torch_default",
    "torch_default_variance",
]
__version__ = "0.1.0"
