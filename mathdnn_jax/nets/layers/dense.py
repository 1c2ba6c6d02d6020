"""Dense layers, and the flattening that comes before them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.initializers import torch_default
from mathdnn_jax.nets.kernels.matmul import rowwise
from mathdnn_jax.nets.layers.layer import Layer, Shape, Slot, Values, per_channel, whole


@dataclass(frozen=True)
class Dense(Layer):
    """y = x W + b on the last axis: events (…, I) → (…, O).

    Parameters: `kernel` (I, O), the transpose of PyTorch's weight, and `bias` (O,), both drawn from `torch_default`.

    Attributes:
        features: O.
        bias: whether there is b.

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
        """The product, in the kernel's dtype."""
        del train, key
        params = values["params"]
        y = rowwise(x.astype(params["kernel"].dtype), params["kernel"])
        return (y + params["bias"] if self.bias else y), {}


@dataclass(frozen=True)
class Flatten(Layer):
    """Events (n_1, …, n_r, C) → vectors (n_1 ⋯ n_r C,).

    Attributes:
        channels: "last" takes the entries as they lie in memory, position after position, which costs nothing;
            "first" takes channel after channel, as PyTorch does with its (C, H, W). A dense kernel that was trained
            behind the one works behind the other once its rows are permuted.

    Source: `torch.flatten(x, 1)`.
    """

    channels: Literal["last", "first"] = "last"

    def __post_init__(self) -> None:
        if self.channels not in ("last", "first"):
            raise ConfigurationError(f"Flatten takes channels='last' or 'first', given {self.channels!r}")

    def output_shape(self, input_shape: Shape) -> Shape:
        """(n_1 ⋯ n_r C,)."""
        return (math.prod(input_shape),)

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The entries in the order that `channels` says."""
        del values, train, key
        if self.channels == "first" and x.ndim > 2:
            x = jnp.moveaxis(x, -1, 1)
        return x.reshape(len(x), -1), {}
