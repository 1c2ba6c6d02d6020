"""Elementwise maps without an inverse must reach all of the latent support that they claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.testing import BijectorCheckError, check_bijector

INF = np.inf
Result = tuple[jax.Array, jax.Array]


def elementwise(function: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[jax.Array], Result]:
    """The map of vectors with this function of each entry, and the logarithm of its slope."""
    return lambda x: (function(x), jnp.log(jnp.abs(slope(x))).sum(-1))


tanh = elementwise(jnp.tanh, lambda x: 1 / jnp.square(jnp.cosh(x)))
arcsinh = elementwise(jnp.arcsinh, lambda x: 1 / jnp.sqrt(1 + jnp.square(x)))
exp = elementwise(jnp.exp, jnp.exp)
log = elementwise(jnp.log, lambda x: 1 / x)
falling = elementwise(lambda x: -jnp.arctan(x), lambda x: 1 / (1 + jnp.square(x)))
nearly = elementwise(lambda x: jnp.tanh(x) + 1e-3 * x, lambda x: 1 / jnp.square(jnp.cosh(x)) + 1e-3)


def half_reversed(x: jax.Array) -> Result:
    return x[..., ::-1] / 2, jnp.full(x.shape[:-1], -2 * np.log(2), x.dtype)


logit = elementwise(lambda x: jnp.log(x) - jnp.log1p(-x), lambda x: 1 / (x * (1 - x)))


@pytest.mark.parametrize(
    ("function", "support", "latent_support"),
    [
        (arcsinh, (-8, 8), (-np.arcsinh(8), np.arcsinh(8))),
        (arcsinh, None, (-INF, INF)),
        (exp, (-9, 9), (np.exp(-9), np.exp(9))),
        (exp, (-INF, 9), (0, np.exp(9))),
        (log, (0, INF), (-INF, INF)),
        (logit, (0, 1), (-INF, INF)),
        (falling, (-INF, INF), (-np.pi / 2, np.pi / 2)),
        (nearly, None, (-INF, INF)),
        (lambda x: (x[..., ::-1], jnp.zeros(x.shape[:-1], x.dtype)), (-1, 1), (-1, 1)),
    ],
)
def test_maps_onto_their_latents_pass(function: Any, support: Any, latent_support: Any) -> None:
    check_bijector(function, event_shape=(2,), support=support, latent_support=latent_support, examples=1)


@pytest.mark.parametrize(
    ("function", "support", "latent_support", "limit", "end"),
    [
        (tanh, None, (-INF, INF), "-1.", "-inf"),
        (exp, None, (-INF, INF), "0.", "-inf"),
        (exp, None, (-1, INF), "0.", "-1."),
        (falling, None, (-INF, INF), "1.57", "inf"),
        (falling, None, (-2, np.pi / 2), "-1.57", "-2."),
        (arcsinh, (-8, 8), (-INF, INF), "-2.77", "-inf"),
        (half_reversed, (-1, 1), (-1, 1), "-0.5", "-1."),
    ],
)
def test_maps_that_end_before_their_latents_do_are_found(
    function: Any, support: Any, latent_support: Any, limit: str, end: str
) -> None:
    with pytest.raises(BijectorCheckError, match="must reach every latent") as caught:
        check_bijector(function, event_shape=(2,), support=support, latent_support=latent_support, examples=1)
    assert (caught.value.check, caught.value.direction) == ("onto", "forward")
    lines = {line.split("  ")[1]: line.split()[-1] for line in str(caught.value).splitlines() if line.startswith("  ")}
    assert next(v for k, v in lines.items() if k.startswith("limit")).startswith(limit.rstrip("."))
    assert lines["end of latent_support"].startswith(end.rstrip("."))


def test_growth_that_rounding_swallows_is_not_an_end() -> None:
    """(10³⁰ + arcsinh x) − 10³⁰ is 0 in float64, for every x, but the formula reaches everything."""

    def swallowed(x: jax.Array) -> Result:
        value, log_det = arcsinh(x)
        great = 1e30 + 0 * value  # not a constant, which XLA would cancel
        return (great + value) - great, log_det

    check_bijector(swallowed, event_shape=(1,), latent_support=(-INF, INF), examples=1)


def test_maps_that_mix_entries_are_not_examined() -> None:
    def mixed(x: jax.Array) -> Result:
        turned = jnp.stack([x[..., 0] + x[..., 1], x[..., 0] - x[..., 1]], -1)
        value, log_det = tanh(turned / 2)
        return value, log_det + np.log(0.5)

    check_bijector(mixed, event_shape=(2,), latent_support=(-INF, INF), examples=1)
