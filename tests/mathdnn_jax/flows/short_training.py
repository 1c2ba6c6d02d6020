"""A short training run of an image flow on dequantised bytes, for tests."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathdnn_jax import Flow
from mathdnn_jax.bijectors import dequantize
from mathdnn_jax.flows import bits_per_dim


def train(flow: Flow, images: np.ndarray, *, steps: int, batch_size: int, rate: float) -> tuple[Any, np.ndarray]:
    """Return the parameters after `steps` of Adam on images (N, H, W, C), and every loss in bits per dimension."""
    x, _ = dequantize(jax.random.key(0), jnp.asarray(images))
    params = flow.init_from_data(flow.init(jax.random.key(1)), x[:256])
    optimizer = optax.adam(rate)

    def loss(params: Any, batch: jax.Array) -> jax.Array:
        return bits_per_dim(flow.log_prob(params, batch), batch.shape[1:]).mean()

    @jax.jit
    def run(params: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        def step(carry: Any, k: jax.Array) -> tuple[Any, jax.Array]:
            params, state = carry
            batch = jax.lax.dynamic_slice_in_dim(x, k * batch_size % (len(x) - batch_size), batch_size)
            value, gradient = jax.value_and_grad(loss)(params, batch)
            # Adam raises a float to the power of an integer.
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))
        return params, losses

    params, losses = run(params, x)
    return params, np.asarray(losses)
