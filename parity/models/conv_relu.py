"""A convolution with a ReLU and, after it, a batch norm or a sign and a bias."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mathdnn_jax.nets import Conv, Relu, Sequential, SignBias
from mathdnn_jax.nets import conv_relu_bn as jax_conv_relu_bn
from parity.models.family import Events
from parity.models.layers import Line, batch_norm, convolution
from parity.models.model import Config, Model
from parity.models.sequential import network
from parity.models.sizes import Read, read_sizes
from parity.rules.table import Rule

if TYPE_CHECKING:
    from parity.reference import ConvReLUBN, ConvReLUSignBias

FULL_SIZE = {"in_chan": 3, "out_chan": 4, "f": 3}
SIZES = (
    Read("in_chan", [("conv.weight", 1)]),
    Read("out_chan", [("conv.weight", 0), ("conv.bias", 0)]),
    Read("f", [("conv.weight", 2), ("conv.weight", 3)]),
)


def events(config: Config) -> Events:
    """Return images of any size that the kernel fits into."""
    f, channels = config["f"], config["in_chan"]
    return Events((None, None, channels), (f, f, channels), (f + 6, f + 7, channels))


def build_batch_norm(out_chan: int, f: int, **_: int) -> Sequential:
    """Build the JAX network."""
    return jax_conv_relu_bn(out_chan, f)


def build_sign_bias(out_chan: int, f: int, **_: int) -> Sequential:
    """Build the JAX network."""
    return Sequential(conv=Conv(out_chan, f), activation=Relu(), bn=SignBias())


def twin_batch_norm(**config: int) -> ConvReLUBN:
    """Build the PyTorch module."""
    from parity.reference import ConvReLUBN

    return ConvReLUBN(**config)


def twin_sign_bias(**config: int) -> ConvReLUSignBias:
    """Build the PyTorch module."""
    from parity.reference import ConvReLUSignBias

    return ConvReLUSignBias(**config)


def _model(name: str, lines: list[Line], build: Callable[..., Sequential], twin: Callable[..., Any]) -> Model:
    return network(
        lambda _: lines,
        partial(read_sizes, name, SIZES),
        full_size=FULL_SIZE,
        build=build,
        events=events,
        twin=twin,
    )


# The ReLU is a function in PyTorch, not a submodule; S and B belong to the whole module.
BATCH_NORM = _model("conv-relu-bn", [convolution("conv"), batch_norm("bn")], build_batch_norm, twin_batch_norm)
SIGN_AND_BIAS = Line("", (Rule(("S",), "params/{}/sign", "same"), Rule(("B",), "params/{}/bias", "same")), layer="bn")
SIGN_BIAS = _model("conv-relu-sign-bias", [convolution("conv"), SIGN_AND_BIAS], build_sign_bias, twin_sign_bias)
