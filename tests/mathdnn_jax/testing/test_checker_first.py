from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from mathdnn_jax import nice
from mathdnn_jax.testing import BijectorCheckError, check_bijector


def doubled(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return 2 * x, jnp.full(x.shape[:-1], x.shape[-1] * jnp.log(2.0), x.dtype)


def halved(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return z / 2, jnp.full(z.shape[:-1], -z.shape[-1] * jnp.log(2.0), z.dtype)


def test_a_right_pair_of_plain_functions_passes() -> None:
    check_bijector(doubled, halved, event_shape=(3,), latent_support=(-float("inf"), float("inf")))


def test_a_flow_of_the_library_passes() -> None:
    bijector = nice(dim=4, width=5, depth=1, couplings=2).bijector
    check_bijector(bijector.forward, bijector.inverse, params=bijector.init, event_shape=(4,))


def test_a_wrong_sign_is_caught() -> None:
    with pytest.raises(BijectorCheckError, match="the sign is flipped"):
        check_bijector(lambda x: (2 * x, halved(x)[1]), event_shape=(2,))
