"""Activations and dropout: layers without parameters that act entry by entry."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.layers.layer import Layer, Values


class Activation(Layer):
    """A layer that applies a function σ to every entry."""

    @property
    def homogeneous(self) -> bool:
        """Whether σ(a x) = a σ(x) for every a > 0, so that a scale can pass through the layer."""
        return False

    def function(self, x: jax.Array) -> jax.Array:
        """σ(x)."""
        raise NotImplementedError

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Apply σ to every entry."""
        del values, train, key
        return self.function(x), {}


@dataclass(frozen=True)
class Relu(Activation):
    """max(x, 0), with derivative 0 at 0."""

    @property
    def homogeneous(self) -> bool:
        """True."""
        return True

    def function(self, x: jax.Array) -> jax.Array:
        """max(x, 0)."""
        return jax.nn.relu(x)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x for x > 0, slope · x otherwise.

    Attributes:
        slope: The slope for x < 0, by default 0.01 as in `torch.nn.LeakyReLU`.
    """

    slope: float = 0.01

    @property
    def homogeneous(self) -> bool:
        """True, for any slope."""
        return True

    def function(self, x: jax.Array) -> jax.Array:
        """x for x > 0, slope · x otherwise."""
        return jnp.where(x > 0, x, self.slope * x)


@dataclass(frozen=True)
class Tanh(Activation):
    """tanh x."""

    def function(self, x: jax.Array) -> jax.Array:
        """tanh x."""
        return jnp.tanh(x)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1/(1 + exp(−x))."""

    def function(self, x: jax.Array) -> jax.Array:
        """1/(1 + exp(−x))."""
        return jax.nn.sigmoid(x)


@dataclass(frozen=True)
class Gelu(Activation):
    """x Φ(x), where Φ is the standard normal distribution function.

    Attributes:
        approximate: Whether to approximate Φ by tanh. The default, as in PyTorch, is the exact function.
    """

    approximate: bool = False

    def function(self, x: jax.Array) -> jax.Array:
        """x Φ(x)."""
        return jax.nn.gelu(x, approximate=self.approximate)


@dataclass(frozen=True)
class Dropout(Layer):
    """In train mode every entry becomes 0 with probability `rate`, and is divided by 1 − rate otherwise.

    In eval mode the layer is the identity.

    Attributes:
        rate: At least 0 and less than 1. The random key is passed as `rngs={"dropout": key}` to the network's `apply`.

    Raises:
        ConfigurationError: The rate is out of range; or (when applied) there is no key in train mode.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ConfigurationError(f"Dropout got rate={self.rate!r}; expected at least 0 and less than 1")

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Drop entries in train mode."""
        del values
        if not train or self.rate == 0:
            return x, {}
        if key is None:
            raise ConfigurationError(
                "Dropout got no key, which it needs in train mode; pass rngs={'dropout': key} to the network's apply"
            )
        kept = jax.random.bernoulli(key, 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), jnp.zeros_like(x)), {}
