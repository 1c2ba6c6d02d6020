from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from mathdnn_jax.errors import DomainError
from mathdnn_jax.probability import FDivergence, discriminator_value, f_divergence, optimal_discriminator

WEIGHTS = [1e-3, 0.1, 1.0, 7.0, 1e3]
weights = st.floats(-3, 3).map(lambda power: 10.0**power)
ratios = st.floats(-12, 12).map(lambda power: 10.0**power)

# Two densities and the cells of a grid on which they integrate to 1 within rounding.
GRID = np.arange(-16, 16, 0.01)
P = 0.5 * stats.norm.pdf(GRID, -2, 0.7) + 0.5 * stats.norm.pdf(GRID, 1.5, 1.0)
Q = stats.norm.pdf(GRID, 0.3, 1.8)
CELL = 0.01


@functools.cache
def compiled(weight: float, name: str) -> Callable[..., jax.Array]:
    return jax.jit(getattr(f_divergence(weight), name))


def formula(u: float, weight: float) -> float:
    """The formula as in the course, with fifty digits because it cancels."""
    with localcontext(prec=50):
        x, w = Decimal(u), Decimal(weight)
        return float(
            x * (x / (x + w)).ln() + w * (w / (w + x)).ln() + (1 + w) * (1 + w).ln() - w * w.ln(),
        )


@pytest.mark.parametrize("weight", WEIGHTS)
def test_it_is_the_formula(weight: float) -> None:
    u = np.append(np.logspace(-12, 12, 97), 1 + np.array([-0.49, -1e-3, -1e-9, 1e-12, 1e-6, 0.2, 0.51]))
    with jax.enable_x64(True):
        ours = np.asarray(compiled(weight, "function")(u))
        slopes = np.asarray(jax.jit(jax.vmap(jax.grad(f_divergence(weight).function)))(u))
    expected = np.array([formula(point, weight) for point in u])
    # The terms' size, near 1 in proportion to the distance from 1.
    size = (1 + weight * np.log1p(u / weight) + u * np.log1p(weight / u)) * np.minimum(1, np.abs(u - 1) * 4)
    size = size + f_divergence(weight).constant * (np.abs(u - 1) >= 0.5)
    assert (np.abs(ours - expected) <= 1e-14 * size + 1e-40).all()
    np.testing.assert_allclose(slopes, -np.log1p(weight / u), rtol=1e-14)


@given(weight=weights, a=ratios, b=ratios, share=st.floats(0, 1))
def test_it_is_convex_and_zero_at_one(weight: float, a: float, b: float, share: float) -> None:
    with jax.enable_x64(True):
        points = jnp.array([a, b, share * a + (1 - share) * b, 1.0])
        at_a, at_b, between, at_one = f_divergence(weight).function(points).tolist()
    size = f_divergence(weight).constant + weight * math.log1p(max(a, b) / weight) + 1
    assert between <= share * at_a + (1 - share) * at_b + 1e-14 * size
    assert at_one == 0
    # The tangent at 1 lies below: f(u) ≥ f′(1) (u − 1).
    assert at_a >= -math.log1p(weight) * (a - 1) - 1e-14 * (size + math.log1p(weight) * a)


def test_ends_of_the_domain() -> None:
    for weight in WEIGHTS:
        f = f_divergence(weight)
        assert float(f.function(0.0)) == pytest.approx(f.constant, rel=1e-6)
        assert float(f.function(-1e-30)) == np.inf
        assert float(f.derivative(0.0)) == -np.inf
        assert bool(jnp.isnan(f.function(jnp.nan)))
        assert float(f.conjugate(0.0)) == float(f.conjugate(1.0)) == np.inf
        assert float(f.conjugate(-jnp.inf)) == pytest.approx(-f.constant, rel=1e-6)
        assert bool(jnp.isnan(f.conjugate(jnp.nan)))
        assert np.isfinite(float(f.function(jnp.finfo(jnp.float32).max)))


@given(weight=weights, u=ratios, t=st.floats(-20, -1e-9, allow_subnormal=False))
def test_the_conjugate(weight: float, u: float, t: float) -> None:
    with jax.enable_x64(True):
        f = f_divergence(weight)
        # Fenchel and Young: f(u) + f*(t) ≥ t u, with equality at t = f′(u).
        value, conjugate = float(f.function(u)), float(f.conjugate(t))
        slope = float(f.derivative(u))
        touching = float(f.conjugate(slope))
    size = 1 + f.constant + weight * (math.log1p(u / weight) + abs(math.log(-math.expm1(t)))) + abs(t * u)
    assert value + conjugate >= t * u - 1e-13 * size
    # Near t = 0 the conjugate is steep: f*′(t) = λ e^t/(1 − e^t) = u, and t carries an error of ε |t|.
    np.testing.assert_allclose(value + touching, slope * u, atol=1e-14 * (size + abs(slope * u)), rtol=0)


@given(weight=weights, t=st.floats(-10, -1e-3))
def test_the_conjugate_is_the_supremum(weight: float, t: float) -> None:
    best = weight * math.exp(t) / -math.expm1(t)
    u = np.append(best * np.logspace(-3, 3, 101), best)
    with jax.enable_x64(True):
        f = f_divergence(weight)
        lines = t * u - np.asarray(f.function(u))
        conjugate = float(f.conjugate(t))
    assert lines.argmax() in (50, 101)
    assert conjugate == pytest.approx(lines.max(), rel=1e-9, abs=1e-11 * (1 + weight))


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_value_of_the_game_is_the_divergence_less_the_constant(weight: float) -> None:
    f = f_divergence(weight)
    with jax.enable_x64(True):
        best = np.asarray(optimal_discriminator(P, Q, weight))
        value = float(discriminator_value(best, P, Q, weight, CELL))
        divergence = float(f.divergence(P, Q, CELL))
        direct = float((Q * np.asarray(f.function(P / Q))).sum() * CELL)
        bound = float(((P * np.log(best)) - Q * np.asarray(f.conjugate(np.log(best)))).sum() * CELL)
    np.testing.assert_allclose(best, P / (P + weight * Q), rtol=1e-14)
    # The quadrature is exact to rounding; terms are of size λ.
    assert value == pytest.approx(divergence - f.constant, abs=1e-12 * (1 + weight))
    assert direct == pytest.approx(divergence, abs=1e-12 * (1 + weight))
    assert bound == pytest.approx(divergence, abs=1e-12 * (1 + weight))
    assert divergence > 1e-4


@given(weight=weights, seed=st.integers(0, 1000), size=st.floats(0.01, 1))
def test_no_discriminator_does_better(weight: float, seed: int, size: float) -> None:
    with jax.enable_x64(True):
        best = np.asarray(optimal_discriminator(P, Q, weight))
        moved = best + size * np.random.default_rng(seed).uniform(-1, 1, P.shape) * np.minimum(best, 1 - best)
        values = [float(discriminator_value(d, P, Q, weight, CELL)) for d in (best, moved)]
    assert values[1] < values[0]


def test_a_discriminator_trained_on_the_grid_reaches_the_optimum() -> None:
    # Newton's method on the logit of each cell, where the objective is strictly concave, from D = ½.
    cells = slice(1100, 2000, 50)
    p, q = P[cells], Q[cells]
    for weight in (0.1, 1.0, 7.0):

        def objective(logits: jax.Array, weight: float = weight) -> jax.Array:
            return discriminator_value(jax.nn.sigmoid(logits), p, q, weight, CELL)

        with jax.enable_x64(True):
            logits = jnp.zeros(p.shape)
            slope = jax.jit(jax.grad(objective))
            curvature = jax.jit(jax.jacfwd(jax.grad(objective)))
            for _ in range(60):
                logits = logits - jnp.clip(slope(logits) / jnp.diagonal(curvature(logits)), -1, 1)
            trained, best = np.asarray(jax.nn.sigmoid(logits)), np.asarray(optimal_discriminator(p, q, weight))
        np.testing.assert_allclose(trained, best, rtol=1e-6)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_divergence_is_zero_only_between_equals(weight: float) -> None:
    f = f_divergence(weight)
    with jax.enable_x64(True):
        assert float(f.divergence(P, P, CELL)) == pytest.approx(0, abs=1e-13 * (1 + weight))
        assert float(f.divergence(P, Q, CELL)) > 1e-4
        if weight == 1:
            middle = (P + Q) / 2
            shannon = sum(0.5 * (a * np.log(a / middle)).sum() * CELL for a in (P, Q))
            assert float(f.divergence(P, Q, CELL)) == pytest.approx(2 * shannon, rel=1e-11)


def test_densities_that_do_not_overlap() -> None:
    p, q = jnp.asarray([1.0, 0.0, 0.0]), jnp.asarray([0.0, 1.0, 0.0])
    f = f_divergence(2.0)
    assert float(f.divergence(p, q, 1.0)) == pytest.approx(f.constant, rel=1e-6)
    best = optimal_discriminator(p, q, 2.0)
    np.testing.assert_allclose(best, [1, 0, 1 / 3], rtol=1e-6)
    assert float(discriminator_value(best, p, q, 2.0, 1.0)) == 0
    tiny, huge = jnp.finfo(jnp.float32).tiny, jnp.finfo(jnp.float32).max
    np.testing.assert_allclose(optimal_discriminator(jnp.asarray([tiny, huge]), jnp.asarray([tiny, huge]), 3.0), 0.25)


def test_axes_and_dtype() -> None:
    # Of total 2, where q has 1, so that the two cannot be confused.
    p = 2 * np.random.default_rng(0).dirichlet(np.ones(6), size=4).astype(np.float32)
    q = np.full(6, 1 / 6, np.float32)
    ours = jax.jit(functools.partial(f_divergence(0.5).divergence, axis=-1))(p, q, 1.0)
    assert ours.shape == (4,)
    assert ours.dtype == jax.eval_shape(lambda: optimal_discriminator(p, q, 0.5)).dtype == jnp.float32
    expected = np.array(
        [sum(b * formula(a / b, 0.5) for a, b in zip(row, q.tolist(), strict=True)) for row in p.tolist()]
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def calls(weight: float) -> list[Callable[[], FDivergence | jax.Array]]:
    one = jnp.ones(1)
    return [
        functools.partial(f_divergence, weight),
        functools.partial(optimal_discriminator, one, one, weight),
        functools.partial(discriminator_value, one / 2, one, one, weight, 1.0),
    ]


@pytest.mark.parametrize(
    ("weight", "message"),
    [(0.0, "greater than 0, given 0"), (-1.0, "given -1"), (math.nan, "1 NaN"), (math.inf, "must be finite")],
)
def test_weights_that_are_not_positive_are_refused(weight: float, message: str) -> None:
    for call in calls(weight):
        with pytest.raises(DomainError, match=message):
            call()


@pytest.mark.parametrize(("bad", "message"), [(-1.0, "ranges from -1"), (jnp.nan, "1 NaN"), (jnp.inf, "to inf")])
def test_invalid_densities_are_refused(bad: float, message: str) -> None:
    good, wrong = jnp.asarray([0.5, 0.5]), jnp.asarray([bad, 0.5])
    for p, q in ((good, wrong), (wrong, good)):
        with pytest.raises(DomainError, match=message):
            f_divergence(1.0).divergence(p, q, 1.0)
        with pytest.raises(DomainError, match=message):
            optimal_discriminator(p, q, 1.0)
        with pytest.raises(DomainError, match=message):
            discriminator_value(good, p, q, 1.0, 1.0)
    if not jnp.isinf(bad):
        with pytest.raises(DomainError, match=message if jnp.isnan(bad) else "are probabilities; given -1 to 0.5"):
            discriminator_value(wrong, good, good, 1.0, 1.0)
    if jnp.isnan(bad):
        assert bool(jnp.isnan(jax.jit(f_divergence(1.0).divergence)(wrong, good, 1.0)))
        assert bool(jnp.isnan(jax.jit(f_divergence(1.0).divergence)(good, wrong, 1.0)))
