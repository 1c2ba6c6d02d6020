"""Networks as Flax modules, and the initialisers of the models they came from."""

from mathdnn_jax.nets.conv1d_backprop import Conv1dLayer, conv1d_backprop, conv1d_forward
from mathdnn_jax.nets.initializers import torch_default, torch_default_variance
from mathdnn_jax.nets.mlp import MLP

__all__ = ["MLP", "Conv1dLayer", "conv1d_backprop", "conv1d_forward", "torch_default", "torch_default_variance"]
