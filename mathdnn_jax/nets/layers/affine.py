"""The layers that surgery puts in place of a batch norm: scale and shift, sign and bias, padding with values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.layers.layer import Layer, Slot, Values, ones, per_channel, zeros
from mathdnn_jax.nets.layers.spatial import Spatial
from mathdnn_jax.nets.shapes import Shape, sizes


@dataclass(frozen=True)
class ScaleShift(Layer):
    """y_c = s_c x_c + t_c for every channel c, the last axis. Parameters: `scale` s and `bias` t, both (C,)."""

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The scale and the bias."""
        shape = (per_channel(input_shape, self.kind),)
        return {"params": {"scale": Slot(shape, ones), "bias": Slot(shape, zeros)}}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Scale and shift, in the scale's dtype."""
        del train, key
        scale, bias = values["params"]["scale"], values["params"]["bias"]
        return x.astype(scale.dtype) * scale + bias, {}


@dataclass(frozen=True)
class SignBias(Layer):
    """y_c = S_c x_c + B_c for every channel c, the last axis, with S_c ∈ {−1, +1}.

    Parameters: `sign` S, which receives no gradient and so keeps its values, and `bias` B, both (C,).

    Source: course 000, Q1(b).
    """

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The signs and the bias."""
        shape = (per_channel(input_shape, self.kind),)
        return {"params": {"sign": Slot(shape, ones), "bias": Slot(shape, zeros)}}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Apply the signs and add the bias, in the bias's dtype."""
        del train, key
        sign, bias = jax.lax.stop_gradient(values["params"]["sign"]), values["params"]["bias"]
        return x.astype(bias.dtype) * sign + bias, {}


@dataclass(frozen=True)
class Pad(Spatial):
    """Padding of every channel c with its own value v_c. Parameters: `value` v (C,).

    Attributes:
        padding: A pair (low, high) for each spatial axis.

    Raises:
        ConfigurationError: The padding is not a list of pairs.
        EventShapeError: (when applied) The number of spatial axes is wrong.
    """

    padding: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.padding, Iterable):
            raise ConfigurationError(
                f"Pad got padding={self.padding!r}; expected a pair (low, high) for each spatial axis"
            )
        pairs = [sizes(pair, 2, "padding", least=0) for pair in self.padding]
        object.__setattr__(self, "padding", tuple(pairs))

    @property
    def spatial_ndims(self) -> int:
        """The number of pairs."""
        return len(self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(n_1 + low + high, …, C)."""
        spatial = self.spatial_shape(input_shape)
        return (*(n + low + high for n, (low, high) in zip(spatial, self.padding, strict=True)), input_shape[-1])

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The value of each channel."""
        return {"params": {"value": Slot((per_channel(input_shape, self.kind),), zeros)}}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Pad, in the values' dtype."""
        del train, key
        value = values["params"]["value"]
        # Subtracting the values, padding with zeros and adding the values back would round.
        inside = jnp.pad(jnp.ones(x.shape[1:-1], bool), self.padding)
        padded = jnp.pad(x.astype(value.dtype), ((0, 0), *self.padding, (0, 0)))
        return jnp.where(inside[..., None], padded, value), {}
