"""Networks as Flax modules, and the initialisers of the models they came from."""

from mathdnn_jax.nets.conv_net import ConvNet, PooledConvNet
from mathdnn_jax.nets.initializers import torch_default
from mathdnn_jax.nets.mlp import MLP

__all__ = ["MLP", "ConvNet", "PooledConvNet", "torch_default"]
