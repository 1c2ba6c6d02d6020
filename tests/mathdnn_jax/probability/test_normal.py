from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.probability import normal


def test_the_density_is_that_of_scipy() -> None:
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    with jax.enable_x64(True):
        ours = normal((2, 3)).log_prob(jnp.asarray(x))
    np.testing.assert_allclose(ours, scipy.stats.norm.logpdf(x).sum((1, 2)), rtol=1e-13)


def test_samples_follow_the_law() -> None:
    x = np.asarray(normal((4,)).sample(jax.random.key(0), (5000,), jnp.float32))
    assert x.shape == (5000, 4)
    # The chance of a p-value below 1e-6 is one in a million.
    assert scipy.stats.kstest(x.ravel(), scipy.stats.norm.cdf).pvalue > 1e-6


def test_other_events_are_refused() -> None:
    with pytest.raises(EventShapeError, match=r"shape \(2,\), given an array of shape \(3,\)"):
        normal((2,)).log_prob(jnp.zeros(3))
