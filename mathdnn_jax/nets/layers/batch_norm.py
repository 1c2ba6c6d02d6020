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
from mathdnn_jax.nets.layers.layer import Layer, Shape, Slot, Values, ones, per_channel, zeros


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y_c = γ_c (x_c − μ_c)/√(σ²_c + ε) + β_c for every channel c, the last axis.

    In eval mode μ and σ² are the running statistics. In train mode they are the mean and the *biased* variance of the
    batch over all other axes, n numbers for each channel, and the running ones become (1 − momentum) · running +
    momentum · batch, for which the variance is the *unbiased* one, σ² n/(n − 1). Flax's own module keeps the biased
    one there.

    Parameters: `scale` γ (C,), 1 at first, and `bias` β (C,), 0 at first. `batch_stats`: `mean` (C,), 0 at first, `var`
    (C,), 1 at first, and `num_batches_tracked` (), int32, which nothing depends on and which may be absent: PyTorch's
    count of the batches seen. Statistics are computed in their own dtype, or the input's where that is wider.

    Attributes:
        epsilon: ε ≥ 0.
        momentum: the weight of the batch in the running statistics, between 0 and 1.
        affine: whether there are γ and β.

    Raises:
        ConfigurationError: ε or the momentum is out of range.
        DataSetError: (in train mode) one number for each channel, which has no variance.

    Source: seed 001 P1; Ioffe, Szegedy, 2015; `torch.nn.BatchNorm1d` and `BatchNorm2d`.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < math.inf:
            raise ConfigurationError(f"BatchNorm needs a finite epsilon of at least 0, given {self.epsilon!r}")
        if not 0 <= self.momentum <= 1:
            raise ConfigurationError(f"BatchNorm's momentum lies between 0 and 1, given {self.momentum!r}")

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The scale and bias, where there are, the running mean and variance, all (C,), and the count of batches ()."""
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
        """Normalise, with the batch's statistics and their update in train mode."""
        del key
        running = values["batch_stats"]
        # NumPy's rule for the wider of the two: JAX's own refuses the pair where promotion is strict.
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
                f"train mode normalises by the variance of at least 2 numbers for each channel, given {count}: "
                f"take a larger batch, or train=False"
            )
        mean = x.mean(axes)
        # The deviations are squared, not the numbers, which would lose digits where the mean is large.
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
    """An initialiser that needs no key."""
    del key
    return jnp.zeros(shape, dtype)
