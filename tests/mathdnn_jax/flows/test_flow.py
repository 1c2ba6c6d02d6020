from __future__ import annotations

import jax
import pytest

from mathdnn_jax import chain, flow
from mathdnn_jax.bijectors import scaling
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability import logistic


def test_a_prior_on_events_of_another_rank_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"events of 1 axes; given a prior on events of shape \(2, 4\)"):
        flow(scaling(4), logistic((2, 4)))


def test_a_flow_says_what_it_is_made_of() -> None:
    bijector, prior = chain(first=scaling(3), second=scaling(3)), logistic((3,))
    made = flow(bijector, prior)
    assert made.bijector is bijector
    assert made.prior is prior
    assert made.sample(made.init(jax.random.key(0)), jax.random.key(1), (5,)).shape == (5, 3)
