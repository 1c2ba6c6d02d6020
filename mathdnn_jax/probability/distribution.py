"""The interface of a distribution without parameters, such as the prior of a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from mathdnn_jax.events import Shape


class Distribution(NamedTuple):
    """A probability density on events of a fixed shape.

    - `log_prob(x) -> log p(x)` in nats: the trailing axes of x are the event, and the result has the batch shape;
    - `sample(key, shape, dtype) -> x` of shape `shape + event_shape`, where a number n stands for (n,);
    - `event_shape`: the shape of an event.
    """

    log_prob: Callable[[jax.Array], jax.Array]
    sample: Callable[[jax.Array, Shape, jax.typing.DTypeLike], jax.Array]
    event_shape: tuple[int, ...]
