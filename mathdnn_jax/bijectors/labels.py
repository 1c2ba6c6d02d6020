"""Class labels as the context of a map."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.errors import ConfigurationError


def with_labels(bijector: Bijector, classes: int) -> Bijector:
    """Give a map class labels, integers from 0 to `classes` − 1, as its context.

    The map itself receives e_y, the y-th unit vector, and must therefore be built with `context_shape=(classes,)`.
    Parameters and parts stay the same.

    Returns:
        The map whose context is an array of labels, broadcast against the batch shape.

    Raises:
        ConfigurationError: fewer than 2 classes; or (when applied) no labels, labels that are not integers, or labels
            that are out of range. Under jit their values cannot be read, and a label out of range makes every output
            of its event NaN.
    """
    if classes < 2:
        raise ConfigurationError(f"labels need at least 2 classes, given classes={classes}")

    def encode(labels: jax.Array | None, like: jax.Array) -> jax.Array:
        if labels is None:
            raise ConfigurationError(f"this map is conditioned on a label from 0 to {classes - 1}, given none")
        labels = jnp.asarray(labels)
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise ConfigurationError(f"labels must be integers from 0 to {classes - 1}, given {labels.dtype}")
        known = (labels >= 0) & (labels < classes)
        if not isinstance(known, jax.core.Tracer) and not known.all():
            raise ConfigurationError(f"labels must be from 0 to {classes - 1}, given {int(labels[~known][0])}")
        one_hot = jax.nn.one_hot(labels, classes, dtype=like.dtype)
        return jnp.where(known[..., None], one_hot, jnp.nan)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        return bijector.forward(params, x, encode(context, x))

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        return bijector.inverse(params, z, encode(context, z))

    from_data = bijector.init_from_data
    if from_data is None:
        return bijector._replace(forward=forward, inverse=inverse)

    def init_from_data(params: Params, x: jax.Array, context: jax.Array | None = None) -> Params:
        return from_data(params, x, encode(context, x))

    return bijector._replace(forward=forward, inverse=inverse, init_from_data=init_from_data)
