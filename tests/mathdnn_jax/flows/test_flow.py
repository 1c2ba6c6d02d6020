from __future__ import annotations

from typing import Any

import chex
import jax
import numpy as np
import pytest

from mathdnn_jax import Flow, chain, flow, glow, mixture_cdf_flow, nice, real_nvp
from mathdnn_jax.bijectors import scaling
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability import logistic

from ...drawn import drawn

FLOWS: dict[str, Flow] = {
    "nice": nice(dim=4, width=3, depth=1, couplings=2),
    "real_nvp": real_nvp((3,), couplings=2, width=3, depth=1),
    "glow": glow((2, 2, 1), levels=1, steps=1, width=3, depth=1),
    "mixture_cdf_flow": mixture_cdf_flow(2),
    "normalised mixture_cdf_flow": mixture_cdf_flow(2, normalised=True),
}


def test_a_prior_on_events_of_another_rank_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"events of 1 axes; given a prior on events of shape \(2, 4\)"):
        flow(scaling(4), logistic((2, 4)))


def test_a_flow_knows_its_bijector_and_its_prior() -> None:
    bijector, prior = chain(first=scaling(3), second=scaling(3)), logistic((3,))
    made = flow(bijector, prior)
    assert made.bijector is bijector
    assert made.prior is prior
    assert made.sample(made.init(jax.random.key(0)), jax.random.key(1), (5,)).shape == (5, 3)


class TestEveryFlow(chex.TestCase):  # type: ignore[misc]
    """What all flows promise of their samples, with and without jit."""

    @chex.variants(with_jit=True, without_jit=True)  # type: ignore[untyped-decorator]
    def test_a_sample_and_its_density_belong_together(self) -> None:
        for name, made in FLOWS.items():
            with self.subTest(name), jax.enable_x64(True):
                key, noise = jax.random.key(1), drawn(made.init, scale=0.1, dtype=np.float64)
                params = jax.tree.map(lambda first, change: first.astype(float) + change, made.init(key), noise)
                x, log_p = self.variant(made.sample_and_log_prob, static_argnums=2)(params, key, (3,))
                chex.assert_shape(log_p, (3,))
                chex.assert_tree_all_finite((x, log_p))
                chex.assert_trees_all_close(x, made.sample(params, key, (3,)), rtol=1e-9)
                chex.assert_trees_all_close(log_p, self.variant(made.log_prob)(params, x), rtol=1e-7)

    @chex.variants(with_jit=True)  # type: ignore[untyped-decorator]
    def test_at_a_temperature_too(self) -> None:
        for name, made in FLOWS.items():
            with self.subTest(name), jax.enable_x64(True):
                key, noise = jax.random.key(1), drawn(made.init, scale=0.1, dtype=np.float64)
                params = jax.tree.map(lambda first, change: first.astype(float) + change, made.init(key), noise)

                def both(temperature: float, made: Flow = made, params: Any = params, key: Any = key) -> Any:
                    x, log_p = made.sample_and_log_prob(params, key, (3,), temperature=temperature)
                    return x, log_p, made.log_prob(params, x), made.sample(params, key, (3,), temperature=temperature)

                (x, log_p, density, sample), (hot, *_) = self.variant(both)(0.5), self.variant(both)(1.0)
                chex.assert_trees_all_close(x, sample, rtol=1e-9)
                # The density is the flow's own, not that of the tempered prior.
                chex.assert_trees_all_close(log_p, density, rtol=1e-7)
                assert np.abs(np.asarray(x) - hot).max() > 1e-3
