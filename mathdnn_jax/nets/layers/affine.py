"""What surgery leaves in place of a batch norm: a scale and shift, a sign and bias, a padding with values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.layers.layer import Layer, Shape, Slot, Values, check_spatial, ones, per_channel, sizes, zeros


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
        """The affine map, in the scale's dtype."""
        del train, key
        scale, bias = values["params"]["scale"], values["params"]["bias"]
        return x.astype(scale.dtype) * scale + bias, {}


@dataclass(frozen=True)
class SignBias(Layer):
    """y_c = S_c x_c + B_c for every channel c, the last axis, with S_c ∈ {−1, +1}.

    Parameters: `sign` S, which is passed no gradient and so stays what it is, and `bias` B, both (C,).

    Source: seed 000 Q1(b).
    """

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The signs and the bias."""
        shape = (per_channel(input_shape, self.kind),)
        return {"params": {"sign": Slot(shape, ones), "bias": Slot(shape, zeros)}}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The affine map, in the bias's dtype."""
        del train, key
        sign, bias = jax.lax.stop_gradient(values["params"]["sign"]), values["params"]["bias"]
        return x.astype(bias.dtype) * sign + bias, {}


@dataclass(frozen=True)
class Pad(Layer):
    """Pads every channel c with a value v_c of its own. Parameters: `value` v (C,).

    Attributes:
        padding: a pair (low, high) for each spatial axis.

    Raises:
        ConfigurationError: the padding is no list of pairs.
        EventShapeError: (when applied) the wrong number of spatial axes.
    """

    padding: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.padding, Iterable):
            raise ConfigurationError(f"Pad takes a pair (low, high) for each spatial axis, given {self.padding!r}")
        pairs = [sizes(pair, 2, "an axis's padding", least=0) for pair in self.padding]
        object.__setattr__(self, "padding", tuple(pairs))

    @property
    def event_ndims(self) -> int:
        """The spatial axes and the channels."""
        return len(self.padding) + 1

    def output_shape(self, input_shape: Shape) -> Shape:
        """(n_1 + low + high, …, C)."""
        spatial = check_spatial(input_shape, len(self.padding), self.kind)
        return (*(n + low + high for n, (low, high) in zip(spatial, self.padding, strict=True)), input_shape[-1])

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The value of each channel."""
        return {"params": {"value": Slot((per_channel(input_shape, self.kind),), zeros)}}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The padded events, in the values' dtype."""
        del train, key
        value = values["params"]["value"]
        # Padding the difference with zeros and adding the values back would round.
        inside = jnp.pad(jnp.ones(x.shape[1:-1], bool), self.padding)
        padded = jnp.pad(x.astype(value.dtype), ((0, 0), *self.padding, (0, 0)))
        return jnp.where(inside[..., None], padded, value), {}
