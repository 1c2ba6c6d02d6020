"""The gambler's ruin and the two stochastic gradients beside their PyTorch twins, on the same draws."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.probability import (
    gamblers_ruin,
    gamblers_ruin_exact,
    reparameterized_gradient,
    score_function_gradient,
    sine_integrand,
    sine_log_prob,
    sine_penalty,
    sine_sample,
)

torch = pytest.importorskip("torch", reason="compares with PyTorch")

# Many small programs, each run a few times.
pytestmark = pytest.mark.usefixtures("quick_compilation")

DRAWS = 64


def test_both_play_the_same_games() -> None:
    from parity.reference.gamblers_ruin import gamblers_ruin as torch_ruin

    count, plays, key = 400, 60, jax.random.key(3)
    proposal = round(0.55 * 2**16) / 2**16
    settings = {"start": 4, "goal": 10}
    estimate = gamblers_ruin(key, count, max_plays=plays, proposal_probability=0.55, **settings)
    # JAX decides two plays by each random word, the first by its upper half.
    words = np.asarray(jax.random.bits(jax.random.split(key, 1)[0], (plays // 2, count), jnp.uint32))
    lots = np.stack([words >> 16, words & 0xFFFF], 1).reshape(plays, count)
    wins = torch.from_numpy((lots < proposal * 2**16).T.copy())
    mean, error = torch_ruin(wins, 18 / 37, proposal, **settings)
    assert float(estimate.mean) == pytest.approx(float(mean), rel=1e-5)
    assert float(estimate.standard_error) == pytest.approx(float(error), rel=1e-5)


def test_the_twins_estimate_is_the_exact_probability() -> None:
    from parity.reference.gamblers_ruin import gamblers_ruin as torch_ruin

    wins = torch.rand((4000, 600), generator=torch.Generator().manual_seed(1)) < 0.55
    mean, error = torch_ruin(wins, 18 / 37, 0.55)
    assert abs(float(mean) - gamblers_ruin_exact()) < 5 * float(error)
    assert float(error) < 0.1 * gamblers_ruin_exact()


@pytest.mark.parametrize("reparameterized", [False, True])
@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, 0.0), (0.4423, -0.5), (1.3, 0.6)])
def test_both_estimate_the_same_gradient(reparameterized: bool, mean: float, log_scale: float) -> None:
    from parity.reference import sine_problem

    with jax.enable_x64(True):
        params, key = {"mean": jnp.asarray(mean), "log_scale": jnp.asarray(log_scale)}, jax.random.key(2)
        noise = np.asarray(jax.vmap(lambda k: jax.random.normal(k, (), jnp.float64))(jax.random.split(key, DRAWS)))
        if reparameterized:
            estimate = reparameterized_gradient(sine_integrand, sine_sample, params, key, DRAWS)
        else:
            estimate = score_function_gradient(sine_integrand, sine_log_prob, sine_sample, params, key, DRAWS)
        penalty = jax.grad(sine_penalty)(params)
        found = [float(estimate.gradient[name] + penalty[name]) for name in ("mean", "log_scale")]
    other: Any = sine_problem.reparameterized_gradient if reparameterized else sine_problem.score_function_gradient
    given = (torch.tensor(mean, dtype=torch.float64), torch.tensor(log_scale, dtype=torch.float64), torch.tensor(noise))
    expected = [float(part) for part in other(*given)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("reparameterized", [False, True])
def test_the_twin_descends_as_the_expected_step_does(reparameterized: bool) -> None:
    from parity.reference.sine_problem import sine_descent

    # With very many draws for each of few, large steps, chance hardly matters.
    noise = torch.randn((50, 20_000), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, scale = sine_descent(noise, reparameterized=reparameterized, step_size=1e-2)

    def step(mean: float, scale: float) -> tuple[float, float]:
        decay = math.exp(-(scale**2) / 2)
        by_mean = decay * (math.sin(mean) + mean * math.cos(mean) - scale**2 * math.sin(mean)) + mean - 1
        value = decay * (mean * math.sin(mean) + scale**2 * math.cos(mean))
        by_scale = 2 * scale * decay * math.cos(mean) - scale * value
        return mean - 1e-2 * by_mean, scale * math.exp(-1e-2 * (scale * by_scale + scale - 1))

    expected = (0.0, 1.0)
    for _ in range(50):
        expected = step(*expected)
    assert float(mean) == pytest.approx(expected[0], abs=2e-3)
    assert float(scale) == pytest.approx(expected[1], abs=2e-3)
