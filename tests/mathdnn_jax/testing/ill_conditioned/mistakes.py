"""Mistakes that can be made in any right map, and the check that must find each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .pieces import Map, Result

Change = Callable[[jax.Array, jax.Array], Result]
"""A function from (value, log_det) to what the map returns instead."""


class Mistake(NamedTuple):
    """A function that puts a mistake into a map, and the check and direction that must fail."""

    make: Callable[[Map], Map]
    check: str
    direction: str


def _changed(function: Any, change: Change) -> Any:
    return lambda *arguments: change(*function(*arguments))


def _forward(change: Change) -> Callable[[Map], Map]:
    return lambda one: one._replace(forward=_changed(one.forward, change))


def _inverse(change: Change) -> Callable[[Map], Map]:
    return lambda one: one._replace(inverse=_changed(one.inverse, change))


def _without_inverse(make: Callable[[Map], Map]) -> Callable[[Map], Map]:
    def made(one: Map) -> Map:
        options = {name: option for name, option in one.options.items() if name != "latent_support"}
        return make(one)._replace(inverse=None, options=options)

    return made


def _centred(one: Map) -> Map:
    """The mean of the event is subtracted before it is mapped."""

    def forward(*arguments: Any) -> Result:
        *params, x = arguments
        return one.forward(*params, x - x.mean(-1, keepdims=True))

    return one._replace(forward=forward)


def _repeated(value: jax.Array, log_det: jax.Array) -> Result:
    """The last entry of the value is replaced by the first."""
    return jnp.concatenate([value[..., :-1], value[..., :1]], -1), log_det


def _summed(value: jax.Array, log_det: jax.Array) -> Result:
    """All entries of the value become multiples of their sum, which is a matrix of rank one."""
    return value.sum(-1, keepdims=True) * jnp.linspace(0.3, 1.7, value.shape[-1], dtype=value.dtype), log_det


MISTAKES: dict[str, Mistake] = {
    "the sign is flipped": Mistake(_forward(lambda z, log_det: (z, -log_det)), "log_det", "forward"),
    "a factor is missing": Mistake(_forward(lambda z, log_det: (z, log_det * 2 / 3)), "log_det", "forward"),
    "an entry is missing": Mistake(_forward(lambda z, log_det: (z, log_det - 0.3)), "log_det", "forward"),
    "the inverse's sign is flipped": Mistake(_inverse(lambda x, log_det: (x, -log_det)), "log_det", "inverse"),
    "the inverse is too large": Mistake(
        _inverse(lambda x, log_det: (1.1 * x, log_det + x.shape[-1] * np.log(1.1))), "round_trip", "forward"
    ),
    "the inverse forgets a shift": Mistake(_inverse(lambda x, log_det: (x + 0.2, log_det)), "round_trip", "forward"),
    "an entry is repeated": Mistake(_without_inverse(_forward(_repeated)), "singular", "forward"),
    "the event is centred": Mistake(_without_inverse(_centred), "singular", "forward"),
    "rank one": Mistake(_without_inverse(_forward(_summed)), "singular", "forward"),
}
