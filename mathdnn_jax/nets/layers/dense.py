"""Dense layers and the flattening that precedes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.initializers import torch_default
from mathdnn_jax.nets.kernels.matmul import matmul_last_axis
from mathdnn_jax.nets.layers.layer import Layer, Slot, Values, per_channel
from mathdnn_jax.nets.shapes import Shape, whole


@dataclass(frozen=True)
class Dense(Layer):
    """y = x W + b on the last axis: events (…, I) → (…, O).

    Parameters: `kernel` (I, O), the transpose of PyTorch's weight, and `bias` (O,), both drawn from `torch_default`.

    Attributes:
        features: O.
        bias: Whether to add b.

    Source: `torch.nn.Linear`.
    """

    features: int
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", whole(self.features, "features"))

    def output_shape(self, input_shape: Shape) -> Shape:
        """(…, O)."""
        per_channel(input_shape, self.kind)
        return (*input_shape[:-1], self.features)

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The kernel (I, O) and the bias (O,)."""
        inputs = per_channel(input_shape, self.kind)
        draw = torch_default(inputs)
        slots = {"kernel": Slot((inputs, self.features), draw)}
        if self.bias:
            slots["bias"] = Slot((self.features,), draw)
        return {"params": slots}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Multiply, in the kernel's dtype."""
        del train, key
        params = values["params"]
        y = matmul_last_axis(x.astype(params["kernel"].dtype), params["kernel"])
        return (y + params["bias"] if self.bias else y), {}


@dataclass(frozen=True)
class Flatten(Layer):
    """Flattening of events (n_1, …, n_r, C) into vectors (n_1 ⋯ n_r C,).

    Attributes:
        channels: "last" keeps the order of the entries in memory, position by position, and copies nothing; "first"
            orders them channel by channel, as PyTorch does with its (C, H, W). A dense kernel that was trained after
            one of the two works after the other once its rows are permuted.

    Source: `torch.flatten(x, 1)`.
    """

    channels: Literal["last", "first"] = "last"

    def __post_init__(self) -> None:
        if self.channels not in ("last", "first"):
            raise ConfigurationError(f"Flatten got channels={self.channels!r}; expected 'last' or 'first'")

    def output_shape(self, input_shape: Shape) -> Shape:
        """(n_1 ⋯ n_r C,)."""
        return (math.prod(input_shape),)

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Flatten, with the entries in the order of `channels`."""
        del values, train, key
        if self.channels == "first" and x.ndim > 2:
            x = jnp.moveaxis(x, -1, 1)
        return x.reshape(len(x), -1), {}
