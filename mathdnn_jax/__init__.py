"""Generative models and convolutional networks in JAX, as pure functions with their mathematics checked."""

from mathdnn_jax.bijectors import (
    Bijector,
    actnorm,
    additive_coupling,
    affine_coupling,
    chain,
    conv1x1,
    invert,
    permutation,
    plu,
    plu_matrix,
    reshape,
    scaling,
    split,
    squeeze,
)
from mathdnn_jax.flows import Flow, flow, nice
from mathdnn_jax.nets import MLP, torch_default
from mathdnn_jax.probability import Distribution, logistic, normal

__all__ = [
    "MLP",
    "Bijector",
    "Distribution",
    "Flow",
    "actnorm",
    "additive_coupling",
    "affine_coupling",
    "chain",
    "conv1x1",
    "flow",
    "invert",
    "logistic",
    "nice",
    "normal",
    "permutation",
    "plu",
    "plu_matrix",
    "reshape",
    "scaling",
    "split",
    "squeeze",
    "torch_default",
]
__version__ = "0.1.0"
