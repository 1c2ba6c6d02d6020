"""Batch normalisation with PyTorch's running statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, DataSetError
from mathdnn_jax.nets.layers.layer import Layer, Slot, Values, ones, per_channel, zeros
from mathdnn_jax.nets.shapes import Shape


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y_c = γ_c (x_c − μ_c)/√(σ²_c + ε) + β_c for every channel c, the last axis.

    In eval mode μ and σ² are the running statistics. In train mode they are the mean and the *biased* variance of the
    batch over all other axes, that is over n numbers for each channel. The running statistics then become
    (1 − momentum) · running + momentum · batch, where the batch's variance is the *unbiased* one, σ² n/(n − 1). (Flax's
    own module uses the biased variance there.)

    Parameters: `scale` γ (C,), initially 1, and `bias` β (C,), initially 0. `batch_stats`: `mean` (C,), initially 0,
    `var` (C,), initially 1, and `num_batches_tracked` (), int32, which is PyTorch's count of the batches seen; nothing
    depends on it and it may be absent. Statistics are computed in their own dtype or in that of the input, whichever is
    wider.

    Attributes:
        epsilon: ε ≥ 0.
        momentum: The weight of the batch in the running statistics, between 0 and 1.
        affine: Whether the layer has γ and β.

    Raises:
        ConfigurationError: ε or the momentum is out of range.
        DataSetError: (in train mode) The batch has a single number for each channel, which has no variance.

    Source: course 001, P1; Ioffe, Szegedy, 2015; `torch.nn.BatchNorm1d` and `BatchNorm2d`.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < math.inf:
            raise ConfigurationError(f"BatchNorm got epsilon={self.epsilon!r}; expected a finite number of at least 0")
        if not 0 <= self.momentum <= 1:
            raise ConfigurationError(f"BatchNorm got momentum={self.momentum!r}; expected a number between 0 and 1")

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The running mean and variance (C,), the count of batches () and, if `affine`, the scale and bias (C,)."""
        shape = (per_channel(input_shape, self.kind),)
        slots = {
            "batch_stats": {
                "mean": Slot(shape, zeros),
                "var": Slot(shape, ones),
                "num_batches_tracked": Slot((), no_batches, optional=True),
            }
        }
        if self.affine:
            slots["params"] = {"scale": Slot(shape, ones), "bias": Slot(shape, zeros)}
        return slots

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Normalise; in train mode with the batch's statistics, returning the updated running statistics."""
        del key
        running = values["batch_stats"]
        # NumPy's promotion rule, because JAX's own raises an error under strict dtype promotion.
        wide = x.astype(np.promote_types(x.dtype, running["mean"].dtype))
        update: dict[str, jax.Array] = {}
        mean, variance = running["mean"].astype(wide.dtype), running["var"].astype(wide.dtype)
        if train:
            mean, variance, update = self._batch_statistics(running, wide)
        y = (wide - mean) * self._scale(values, variance)
        if self.affine:
            y = y + values["params"]["bias"].astype(wide.dtype)
        return y.astype(x.dtype), update

    def _scale(self, values: Values, variance: jax.Array) -> jax.Array:
        inverse = 1 / jnp.sqrt(variance + self.epsilon)
        return inverse * values["params"]["scale"].astype(variance.dtype) if self.affine else inverse

    def _batch_statistics(
        self, running: Mapping[str, jax.Array], x: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        axes = tuple(range(x.ndim - 1))
        count = x.size // x.shape[-1]
        if count < 2:
            raise DataSetError(
                f"got a batch with {count} entries per channel; train mode divides by their standard deviation, which "
                f"needs at least 2: use a larger batch, or train=False"
            )
        mean = x.mean(axes)
        # The mean of the squared deviations; E x² − (E x)² would lose digits where the mean is large.
        variance = jnp.square(x - mean).mean(axes)
        batch = {"mean": mean, "var": variance * (count / (count - 1))}
        update = {
            name: (1 - self.momentum) * running[name] + self.momentum * value.astype(running[name].dtype)
            for name, value in jax.lax.stop_gradient(batch).items()
        }
        if "num_batches_tracked" in running:
            update["num_batches_tracked"] = running["num_batches_tracked"] + 1
        return mean, variance, update


def no_batches(key: Any, shape: Shape, dtype: Any = jnp.int32) -> jax.Array:
    """An initialiser of the count of batches, zero; it ignores its key."""
    del key
    return jnp.zeros(shape, dtype)
