"""A loss that cannot be called is refused before anything is compiled, with the call that `fit` makes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training import fit


def never(*_: Any) -> Any:
    raise AssertionError("the loss was called")


def fitted(loss: Any, **changes: Any) -> None:
    optimizer: Any = optax.sgd(0.1)
    if isinstance(loss, dict):
        optimizer = dict.fromkeys(loss, optimizer)
    arguments: dict[str, Any] = {"epochs": 1, "batch_size": 2, "key": jax.random.key(0)} | changes
    fit(loss, {"player": jnp.zeros(())}, jnp.zeros(3 if "remainder" in changes else 2), optimizer, **arguments)


STATE = {"state": {"count": jnp.zeros(())}}


@pytest.mark.parametrize(
    ("loss", "changes", "words"),
    [
        (lambda params, batch: never(), {}, r"given loss\(params, batch\): fit calls loss\(params, batch, key\) here"),
        (lambda params, state, batch, key: never(), {}, r"fit calls loss\(params, batch, key\)"),
        (lambda params, batch, key: never(), STATE, r"fit calls loss\(params, state, batch, key\)"),
        (lambda params, batch, key: never(), {"remainder": "pad"}, r"fit calls loss\(params, batch, key, mask=mask\)"),
        (lambda params, batch, key, *, scale: never(), {}, "missing a required argument: 'scale'|'scale'"),
        ({"player": lambda params, key: never()}, {}, r"given player\(params, key\): fit calls player\("),
        (3, {}, r"given 3 as loss: fit needs a function, called as loss\(params, batch, key\)"),
    ],
)
def test_a_wrong_signature_is_named(loss: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        fitted(loss, **changes)


def right(params: Any, batch: Any, key: Any, mask: Any = None) -> jax.Array:
    value: jax.Array = params["player"] ** 2 + 0 * batch.sum()
    return value


class Method:
    def loss(self, params: Any, batch: Any, key: Any) -> jax.Array:
        return right(params, batch, key)


def scaled(scale: float, params: Any, batch: Any, key: Any) -> jax.Array:
    return scale * right(params, batch, key)


@pytest.mark.parametrize(
    "loss", [jax.jit(right), Method().loss, functools.partial(scaled, 2.0), lambda *arguments: right(*arguments)]
)
def test_other_callables_are_taken(loss: Callable[..., Any]) -> None:
    fitted(loss)
