from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import MLP, torch_default_variance

FALSE_ALARM = 1e-6
"""The probability, over the draw of their keys, that any sampling test of this file fails although the law holds."""

NETWORKS = [(3, 1), (1, 4, 1), (5, 2, 3), (2, 3, 4, 1)]


@given(widths=st.lists(st.integers(1, 5000), min_size=1, max_size=12), variance=st.sampled_from([0.0, 1.0, 7.5]))
def test_the_recursion_has_its_closed_form(widths: list[int], variance: float) -> None:
    variances = torch_default_variance(widths, variance)
    depth = len(widths) - 1
    assert len(variances) == len(widths)
    closed = 3.0**-depth * variance + math.fsum(3.0 ** (k - depth) / widths[k] for k in range(depth))
    assert variances[-1] == pytest.approx(closed, rel=1e-14)
    # The law does not depend on the width of the output.
    assert torch_default_variance([*widths[:-1], 1], variance) == variances


def test_the_figures_of_the_first_layers() -> None:
    assert torch_default_variance((100, 10, 1)) == pytest.approx((1, 1.01 / 3, (1.01 / 3 + 0.1) / 3), rel=1e-15)


def fourth_moment(widths: tuple[int, ...]) -> float:
    """E y⁴ of an entry of the output for inputs uniform on ±√3, exactly.

    Given y, an entry of the next layer is a sum of independent terms w_j y_j and b, E w² = 1/(3n), E w⁴ = 1/(5n²).
    """
    square, fourth, mixed = 1.0, 9 / 5, 1.0  # E y_i², E y_i⁴, E y_i² y_j²
    for n in widths[:-1]:
        second, quartic = 1 / (3 * n), 1 / (5 * n * n)
        total = n * square
        total_squared = n * fourth + n * (n - 1) * mixed  # E (Σ y²)²
        mixed_next = second**2 * (total_squared + 2 * total + 1)
        fourth = quartic * (n * fourth + 1) + 3 * second**2 * (n * (n - 1) * mixed + 2 * total)
        square, mixed = second * (total + 1), mixed_next
    return fourth


@pytest.mark.parametrize("widths", NETWORKS)
def test_the_networks_of_this_library_obey_the_law(widths: tuple[int, ...]) -> None:
    """Bernstein's inequality for the means of y and y², whose bounds and variances are known exactly."""
    draws, tests = 200_000, 2 * len(NETWORKS)
    network = MLP(widths[1:], activation=lambda a: a)

    def draw(key: jax.Array) -> jax.Array:
        weights, inputs = jax.random.split(key)
        x = jax.random.uniform(inputs, (widths[0],), minval=-(3**0.5), maxval=3**0.5)
        return jnp.asarray(network.apply(network.init(weights, x), x))[0]

    y = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), draws)), np.float64)
    bound = 3**0.5
    for n in widths[:-1]:
        bound = (n * bound + 1) / n**0.5
    variance, fourth = torch_default_variance(widths)[-1], fourth_moment(widths)
    for mean, spread, greatest, seen in (
        (0.0, variance, bound, y.mean()),
        (variance, fourth - variance**2, bound**2, np.square(y).mean()),
    ):
        # P(|mean − expectation| > t) ≤ 2 exp(−N t² / (2 spread + 2 greatest t / 3)), solved for t.
        level = math.log(2 * tests / FALSE_ALARM) / draws
        t = level * greatest / 3 + math.sqrt((level * greatest / 3) ** 2 + 2 * level * spread)
        assert abs(seen - mean) <= t
        # The test is sharp enough to reject the law without the bias, and one with twice the variance.
        assert t < 0.08 * (mean or spread**0.5)
    without_bias = 3.0 ** (1 - len(widths))
    assert abs(np.square(y).mean() - without_bias) > t


@pytest.mark.parametrize(("widths", "variance"), [((), 1.0), ((3, 0), 1.0), ((3, 1), -1.0), ((3, 1), float("nan"))])
def test_impossible_networks_have_no_variance(widths: tuple[int, ...], variance: float) -> None:
    with pytest.raises(ConfigurationError, match="expected widths of at least 1"):
        torch_default_variance(widths, variance)
