from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import MLP, torch_default


def test_the_perceptron_is_its_formula() -> None:
    network = MLP((3, 2))
    x = jax.random.normal(jax.random.key(0), (4, 5))
    params = network.init(jax.random.key(1), x)["params"]
    first, second = params["dense_0"], params["dense_1"]
    hidden = np.maximum(np.asarray(x) @ np.asarray(first["kernel"]) + np.asarray(first["bias"]), 0)
    expected = hidden @ np.asarray(second["kernel"]) + np.asarray(second["bias"])
    np.testing.assert_allclose(np.asarray(network.apply({"params": params}, x)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", ["kernel", "bias"])
def test_weights_and_biases_are_uniform_within_one_over_root_fan_in(layer: str) -> None:
    fan_in = 64
    params = MLP((50_000 // fan_in if layer == "kernel" else 50_000,)).init(jax.random.key(0), jnp.zeros(fan_in))
    values = np.asarray(params["params"]["dense_0"][layer]).ravel()
    bound = fan_in**-0.5
    # If the law holds, the Kolmogorov-Smirnov test fails at this level for one key in a million; the key is fixed.
    assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-6


def test_a_layer_without_inputs_has_no_initialiser() -> None:
    with pytest.raises(ConfigurationError, match="fan_in=0"):
        torch_default(0)


def test_variance_through_linear_layers_follows_the_recursion() -> None:
    # Course 001, P2: Var(y_l) = (Var(y_{l-1}) + 1/n_{l-1}) / 3 over the weights, for a linear network.
    widths = (40, 30, 20)
    network = MLP(widths, activation=lambda x: x)
    x = jax.random.normal(jax.random.key(0), (4000, 50))
    keys = jax.random.split(jax.random.key(1), 4000)
    y = jax.jit(jax.vmap(lambda key, x: network.apply(network.init(key, x), x)))(keys, x)
    variance = 1.0
    for fan_in in (50, *widths[:-1]):
        variance = (variance + 1 / fan_in) / 3
    values = np.asarray(y, np.float64)
    # 80,000 values, of which 4,000 are independent: five standard errors of the mean and of the variance.
    assert abs(values.mean()) < 5 * np.sqrt(variance / 4000)
    assert abs(values.var() / variance - 1) < 5 * np.sqrt(2 / 4000)
