"""Networks, their layers, and initialisers that match PyTorch's."""

from mathdnn_jax.nets.conditioners import ConvNet, PooledConvNet
from mathdnn_jax.nets.conv1d_backprop import Conv1dLayer, conv1d_backprop, conv1d_forward
from mathdnn_jax.nets.initializers import torch_default, torch_default_variance
from mathdnn_jax.nets.layers.activations import Activation, Dropout, Gelu, LeakyRelu, Relu, Sigmoid, Tanh
from mathdnn_jax.nets.layers.affine import Pad, ScaleShift, SignBias
from mathdnn_jax.nets.layers.batch_norm import BatchNorm
from mathdnn_jax.nets.layers.conv_transpose import ConvTranspose
from mathdnn_jax.nets.layers.convolution import Conv
from mathdnn_jax.nets.layers.dense import Dense, Flatten
from mathdnn_jax.nets.layers.frequency_conv import FrequencyConv
from mathdnn_jax.nets.layers.layer import Layer
from mathdnn_jax.nets.layers.pooling import AvgPool, MaxPool, Upsample
from mathdnn_jax.nets.mlp import MLP
from mathdnn_jax.nets.models import alexnet, conv_relu_bn, net1, net2, small_net
from mathdnn_jax.nets.sequential import Sequential

__all__ = [
    "MLP",
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Conv1dLayer",
    "ConvNet",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "FrequencyConv",
    "Gelu",
    "Layer",
    "LeakyRelu",
    "MaxPool",
    "Pad",
    "PooledConvNet",
    "Relu",
    "ScaleShift",
    "Sequential",
    "Sigmoid",
    "SignBias",
    "Tanh",
    "Upsample",
    "alexnet",
    "conv1d_backprop",
    "conv1d_forward",
    "conv_relu_bn",
    "net1",
    "net2",
    "small_net",
    "torch_default",
    "torch_default_variance",
]
