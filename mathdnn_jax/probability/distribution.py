"""The shape of a distribution without parameters, as a flow's prior is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax


class Distribution(NamedTuple):
    """A density on events of a fixed shape.

    - `log_prob(x) -> log p(x)` in nats: x has the event as its trailing axes, the result has the batch shape;
    - `sample(key, shape, dtype) -> x` of shape `shape + event_shape`;
    - `event_shape`.
    """

    log_prob: Callable[[jax.Array], jax.Array]
    sample: Callable[[jax.Array, tuple[int, ...], jax.typing.DTypeLike], jax.Array]
    event_shape: tuple[int, ...]
