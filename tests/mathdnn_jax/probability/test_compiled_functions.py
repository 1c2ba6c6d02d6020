"""Every deterministic function computes the same values compiled and uncompiled, and in a batch as on single events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized

from mathdnn_jax import probability

RNG = np.random.default_rng(0)
EVENTS, DIM = 5, 3


def floats(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def law(*shape: int) -> jax.Array:
    return jax.nn.softmax(floats(*shape))


def covariances() -> jax.Array:
    factor = floats(EVENTS, DIM, DIM) + 2 * jnp.eye(DIM)
    return factor @ factor.mT


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[jax.Array, ...]]] = {
    "gaussian_log_prob": (probability.gaussian_log_prob, (floats(EVENTS, DIM), floats(EVENTS, DIM), covariances())),
    "gaussian_kl": (
        probability.gaussian_kl,
        (floats(EVENTS, DIM), covariances(), floats(EVENTS, DIM), covariances()),
    ),
    "diagonal_gaussian_log_prob": (
        probability.diagonal_gaussian_log_prob,
        (floats(EVENTS, DIM), floats(EVENTS, DIM), floats(EVENTS, DIM)),
    ),
    "diagonal_gaussian_kl": (probability.diagonal_gaussian_kl, tuple(floats(EVENTS, DIM) for _ in range(4))),
    "kl_divergence": (probability.kl_divergence, (law(EVENTS, DIM), law(EVENTS, DIM))),
    "f_divergence": (
        lambda p, q: probability.f_divergence(0.5).divergence(p, q, 1.0, axis=-1),
        (law(EVENTS, DIM), law(EVENTS, DIM)),
    ),
    "optimal_discriminator": (
        lambda p, q: probability.optimal_discriminator(p, q, 0.5),
        (law(EVENTS, DIM), law(EVENTS, DIM)),
    ),
    "discriminator_value": (
        lambda d, p, q: probability.discriminator_value(d, p, q, 0.5, 1.0, axis=-1),
        (law(EVENTS, DIM), law(EVENTS, DIM), law(EVENTS, DIM)),
    ),
    "importance_estimate": (probability.importance_estimate, (floats(EVENTS, DIM), floats(EVENTS, DIM))),
    "logistic_log_density": (probability.logistic_log_density, (floats(EVENTS, DIM),)),
    "logistic": (probability.logistic((DIM,)).log_prob, (floats(EVENTS, DIM),)),
    "normal": (probability.normal((DIM,)).log_prob, (floats(EVENTS, DIM),)),
    "smooth_max": (lambda x: probability.smooth_max(x, 3.0), (floats(EVENTS, DIM),)),
    "smooth_max_gradient": (lambda x: probability.smooth_max_gradient(x, 3.0), (floats(EVENTS, DIM),)),
}


class CompiledFunctions(chex.TestCase):  # type: ignore[misc]
    """Checks of values are skipped while JAX traces; what is computed must not depend on that."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True)  # type: ignore[untyped-decorator]
    @parameterized.named_parameters((name, name) for name in FUNCTIONS)  # type: ignore[untyped-decorator, no-untyped-call]
    def test_the_variants_agree(self, name: str) -> None:
        function, arguments = FUNCTIONS[name]
        batched = self.variant(function)(*arguments)
        one_by_one = [function(*(argument[k] for argument in arguments)) for k in range(EVENTS)]
        mapped = self.variant(jax.vmap(function))(*arguments)
        expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
        chex.assert_tree_all_finite(expected)
        chex.assert_trees_all_equal_shapes_and_dtypes(batched, mapped, expected)
        chex.assert_trees_all_close(batched, expected, rtol=2e-5, atol=2e-6)
        chex.assert_trees_all_close(mapped, expected, rtol=2e-5, atol=2e-6)
