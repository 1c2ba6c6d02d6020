"""Maximum likelihood: the loss, the validation and the sampling that the recipes of densities share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from mathdnn_jax.flows import Flow
from mathdnn_jax.recipes.measure import BATCH, finite_mean, in_batches, masked_mean
from mathdnn_jax.training.update import Tree


class LogLikelihood(NamedTuple):
    """A log-likelihood, or a bound on it, as the functions that a `Task` needs.

    - `loss(params, batch, key, mask=None)`: its negative mean;
    - `mean(params, examples) -> float`: its mean over many examples, in nats, always with the same noise;
    - `validate(params, state, examples) -> metrics`: the loss over many examples, as "validation_loss".
    """

    loss: Callable[..., jax.Array]
    mean: Callable[[Tree, Tree], float]
    validate: Callable[[Tree, Tree, Tree], dict[str, float]]


def log_likelihood(
    log_prob: Callable[[Tree, Tree, jax.Array], jax.Array], name: str, noise: jax.Array, batch_size: int = BATCH
) -> LogLikelihood:
    """Build the functions from `log_prob(params, batch, key)`, (N,) in nats.

    Args:
        log_prob: the function to be maximised; its key is the source of any noise that it adds.
        name: what error messages call it.
        noise: the key for `mean` and `validate`.
        batch_size: the number of examples that `mean` and `validate` evaluate at a time.
    """
    measured = in_batches(lambda params, _, batch, key: log_prob(params, batch, key), batch_size)

    def loss(params: Tree, batch: Tree, key: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return masked_mean(-log_prob(params, batch, key), mask)

    def mean(params: Tree, examples: Tree) -> float:
        return finite_mean(measured(params, None, examples, noise), name)

    def validate(params: Tree, state: Tree, examples: Tree) -> dict[str, float]:
        del state
        return {"validation_loss": -mean(params, examples)}

    return LogLikelihood(loss, mean, validate)


def sampler(flow: Flow, image_shape: tuple[int, ...]) -> Callable[[Tree, Tree, jax.Array, int, float], np.ndarray]:
    """The `sample` of a `Task` whose model is this flow."""
    draw = jax.jit(flow.sample, static_argnums=2)

    def sample(params: Tree, state: Tree, key: jax.Array, count: int, temperature: float) -> np.ndarray:
        del state
        return np.asarray(draw(params, key, (count,), None, temperature)).reshape(count, *image_shape)

    return sample
