"""Generative models and convolutional networks in JAX, as pure functions with their mathematics checked."""

from mathdnn_jax.bijectors import (
    Bijector,
    actnorm,
    additive_coupling,
    affine_coupling,
    chain,
    conditional_plu_coupling,
    conv1x1,
    conv1x1_from_matrix,
    invert,
    permutation,
    plu,
    plu_from_matrix,
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
    "conditional_plu_coupling",
    "conv1x1",
    "conv1x1_from_matrix",
    "flow",
    "invert",
    "logistic",
    "nice",
    "normal",
    "permutation",
    "plu",
    "plu_from_matrix",
    "plu_matrix",
    "reshape",
    "scaling",
    "split",
    "squeeze",
    "torch_default",
]
__version__ = "0.1.0"
