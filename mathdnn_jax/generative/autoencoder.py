"""The autoencoder, whose reconstruction error detects anomalies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.generative.network import network
from mathdnn_jax.nets import Dense, Layer, Relu, Sequential, Sigmoid


class Autoencoder(NamedTuple):
    """An autoencoder as pure functions that take the parameters first and any batch axes.

    - `init(key) -> params`: {"encoder", "decoder"}, each {"dense_0": {"kernel", "bias"}, …};
    - `encode(params, x) -> code` (..., code size), `decode(params, code) -> x` (..., dim) in (0, 1);
    - `reconstruct(params, x)`, which encodes and then decodes;
    - `reconstruction_error(params, x)`, the mean over an event's entries of (x − reconstruct(x))², of the batch shape;
    - `event_shape`, (dim,).
    """

    init: Callable[[jax.Array], Params]
    encode: Callable[[Params, jax.Array], jax.Array]
    decode: Callable[[Params, jax.Array], jax.Array]
    reconstruct: Callable[[Params, jax.Array], jax.Array]
    reconstruction_error: Callable[[Params, jax.Array], jax.Array]
    event_shape: tuple[int, ...]


def autoencoder(widths: Sequence[int] = (784, 256, 128, 32)) -> Autoencoder:
    """x → code → x̂ through dense layers of these widths and back again, with a ReLU after each, including the code.

    The last layer has a sigmoid instead, since pixels lie in [0, 1]. The training loss is the mean of
    `reconstruction_error`, that is, the mean squared error over all pixels of all images.

    Raises:
        ConfigurationError: fewer than two widths, or one below 1.
        EventShapeError: (when applied) the length of the last axis is not widths[0].

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> model = mj.autoencoder((6, 4, 2))
        >>> params = model.init(jax.random.key(0))
        >>> x = jnp.zeros((3, 6))
        >>> model.encode(params, x).shape, model.reconstruct(params, x).shape
        ((3, 2), (3, 6))
        >>> model.reconstruction_error(params, x).shape
        (3,)

    Source: course 002, P1.
    """
    widths = tuple(widths)
    if len(widths) < 2 or min(widths) < 1:
        raise ConfigurationError(
            f"an autoencoder needs the widths of its input and its code, all widths at least 1, given {widths}"
        )
    outer, inner = (widths[0],), (widths[-1],)
    encoder = network(Sequential(layers=_dense(widths[1:])), outer, inner, "the encoder")
    back = [*_dense(widths[-2::-1])[:-1], ("sigmoid", Sigmoid())]
    decoder = network(Sequential(layers=back), inner, outer, "the decoder")

    def init(key: jax.Array) -> Params:
        first, second = jax.random.split(key)
        return {"encoder": encoder.init(first)[0], "decoder": decoder.init(second)[0]}

    def encode(params: Params, x: jax.Array) -> jax.Array:
        return encoder.apply(params["encoder"], {}, x)[0]

    def decode(params: Params, code: jax.Array) -> jax.Array:
        return decoder.apply(params["decoder"], {}, code)[0]

    def reconstruct(params: Params, x: jax.Array) -> jax.Array:
        return decode(params, encode(params, x))

    def reconstruction_error(params: Params, x: jax.Array) -> jax.Array:
        return jnp.square(x - reconstruct(params, x)).mean(-1)

    return Autoencoder(init, encode, decode, reconstruct, reconstruction_error, outer)


def _dense(widths: Sequence[int]) -> list[tuple[str, Layer]]:
    layers: list[tuple[str, Layer]] = []
    for k, width in enumerate(widths):
        layers += [(f"dense_{k}", Dense(width)), (f"relu_{k}", Relu())]
    return layers
