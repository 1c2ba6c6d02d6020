"""Claims about the variational lower bound: V1, V4."""

from __future__ import annotations

import functools
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.linear_gaussian import (
    LATENT,
    divergence_to_posterior,
    exact_bound,
    exact_covariance,
    exact_log_marginal,
    exact_posterior,
    linear_vae,
    random_vae_event,
    random_vae_params,
    with_constant_encoder,
    with_exact_posterior,
)
from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk, vae
from mathdnn_jax.probability import diagonal_gaussian_kl, diagonal_gaussian_log_prob


def _rounding(params: Params, *values: Any) -> float:
    """The rounding error of a log-density or a bound, whose quadratic forms may cancel up to the condition."""
    condition = float(np.linalg.cond(exact_covariance(params)))
    return 256 * EPS * condition * (1 + float(sum(np.abs(value).sum() for value in values)))


@claim(
    "V1.bound",
    "VLB(x) = E_q[log(p_θ(x | z) r_λ(z) / q_φ(z | x))] = log p(x) − KL(q_φ(z | x) ‖ p(z | x)) ≤ log p(x)",
    source="course 000, Q6(a)",
    seed=seeds,
)
def bound_and_log_marginal(seed: int) -> None:
    """Compare the three for a linear-Gaussian model, for which each can be computed independently."""
    params, x = random_vae_params(seed), random_vae_event(seed)
    log_p, bound, gap = exact_log_marginal(params, x), exact_bound(params, x), divergence_to_posterior(params, x)
    check_equal("log p − VLB against KL(q ‖ p(z | x))", log_p - bound, gap, _rounding(params, log_p, bound, gap))
    if not bound <= log_p:
        raise AssertionError(f"the bound is {float(bound):.12g}, above log p = {float(log_p):.12g}")


@functools.cache
def _drawn(name: str) -> Any:
    """One draw of an estimate that bounds log p(x), compiled once."""
    model = linear_vae()
    if name == "importance":
        return jax.jit(lambda params, x, key: model.log_marginal(params, x, key, samples=3))
    estimator: Any = name
    return jax.jit(lambda params, x, key: model.elbo(params, x, key, samples=3, kl="monte_carlo", estimator=estimator))


@claim(
    "V1.equality",
    "if q_φ(z | x) is the posterior, then VLB(x) = log p(x), and so is every draw of log p(x, z) − log q(z | x)",
    source="course 000, Q6(a)",
    seed=seeds,
)
def equality_at_the_posterior(seed: int) -> None:
    """Give a linear-Gaussian model its posterior as the encoder."""
    params, x = with_exact_posterior(random_vae_params(seed, orthogonal=True)), random_vae_event(seed)
    log_p, key = exact_log_marginal(params, x), jax.random.key(seed)
    # Each draw is a difference of two log-densities, at a z whose square may be tens.
    bound = _rounding(params, log_p, 50.0)
    check_equal("VLB against log p", exact_bound(params, x), log_p, bound)
    for name in ("reparameterized", "score_function", "importance"):
        check_equal(f"a draw of the bound ({name}) against log p", _drawn(name)(params, x, key), log_p, bound)


@functools.cache
def _bernoulli() -> tuple[VAE, Any]:
    """A model of two pixels with one latent variable, and its log p and bound by the trapezoidal rule."""
    model = vae((2,), 1, trunk=dense_trunk(()), decoder=dense_decoder(2, ()), likelihood="bernoulli")
    step = 0.1
    grid = np.arange(-12, 12 + step / 2, step)[:, None]

    def both(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        prior = params["prior"]["mean"], params["prior"]["log_variance"] / 2
        z = prior[0] + jnp.exp(prior[1]) * grid
        log_p = jax.nn.logsumexp(model.log_joint(params, x, z)) + jnp.log(step) + prior[1].sum()
        posterior = model.encode(params, x)
        z = posterior[0] + jnp.exp(posterior[1]) * grid
        log_likelihood = model.log_joint(params, x, z) - diagonal_gaussian_log_prob(z, *prior)
        mean = (jnp.exp(-jnp.square(grid[:, 0]) / 2) @ log_likelihood) * step / np.sqrt(2 * np.pi)
        return log_p, mean - diagonal_gaussian_kl(*posterior, *prior)

    return model, jax.jit(jax.vmap(both, (None, 0)))


@claim(
    "V1.bernoulli",
    "with a Bernoulli likelihood, Σ_x p(x) = 1 and E_q[log p(x | z)] − KL(q ‖ r_λ) ≤ log p(x)",
    source="course 000, Q6(a)",
    seed=seeds,
)
def bernoulli_bound(seed: int) -> None:
    """Integrate over the latent variable for all four images of two pixels."""
    model, both = _bernoulli()
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    log_p, bound = both(params, jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    # For logits with slope s per deviation the rule is off by exp(−2π · π/(h s)), which is below 1e-9 for s ≤ 9.
    check_equal("Σ p(x)", jnp.exp(log_p).sum(), 1.0, 1e-8)
    if not (bound <= log_p + 1e-8).all():
        raise AssertionError(f"the bounds are {np.asarray(bound).tolist()} for log p = {np.asarray(log_p).tolist()}")


@claim(
    "V4.argmax",
    "if h ≥ 0 and min_φ h(θ, φ) = 0 for every θ, then argmax_θ f is the θ-part of argmax_θ,φ (f − h)",
    source="course 002, P6",
    rows=st.lists(
        st.tuples(st.integers(-3, 3), st.lists(st.integers(0, 5), min_size=3, max_size=3)), min_size=1, max_size=5
    ),
)
def joint_maximum(rows: list[tuple[int, list[int]]]) -> None:
    """Compare the two sets of maximisers in whole numbers; the least value of each row is subtracted from h."""
    f = np.array([value for value, _ in rows])
    h = np.array([row for _, row in rows])
    difference = f[:, None] - (h - h.min(1, keepdims=True))
    joint = set(np.argwhere(difference == difference.max())[:, 0].tolist())
    marginal = set(np.flatnonzero(f == f.max()).tolist())
    if joint != marginal:
        raise AssertionError(f"f has its maximum at {sorted(marginal)}, f − h at {sorted(joint)}")


@jax.jit
def _best_bound(params: Params, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The supremum of the bound over q and the slope there, by Newton's method in the means and log-variances of q.

    The bound is concave in them.
    """

    def bound(point: jax.Array) -> jax.Array:
        value: jax.Array = exact_bound(with_constant_encoder(params, point[:LATENT], point[LATENT:]), x)
        return value

    def step(_: int, point: jax.Array) -> jax.Array:
        change: jax.Array = jnp.linalg.solve(jax.hessian(bound)(point), jax.grad(bound)(point))
        # For a small variance the bound is far from the quadratic of Newton's method.
        limited: jax.Array = jnp.concatenate([change[:LATENT], jnp.clip(change[LATENT:], -1, 1)])
        return point - limited

    best: jax.Array = jax.lax.fori_loop(0, 40, step, start)
    slope: jax.Array = jax.grad(bound)(best)
    return bound(best), slope


@claim(
    "V4.supremum",
    "sup_φ VLB(x) = log p(x) if q is rich enough for the posterior; a diagonal q falls short by "
    "½ (Σ_i log Λ_ii − log det Λ), where Λ is the posterior's precision",
    source="course 002, P6; course 000, Q6",
    orthogonal=st.booleans(),
    seed=seeds,
)
def supremum_of_the_bound(orthogonal: bool, seed: int) -> None:
    """Maximise the bound of a linear-Gaussian model; if the columns of W are orthogonal, the posterior is diagonal."""
    params, x = random_vae_params(seed, orthogonal=orthogonal), random_vae_event(seed)
    start = jnp.asarray(np.random.default_rng((seed, 2)).normal(size=2 * LATENT))
    found, slope = _best_bound(params, x, start)
    log_p, precision = exact_log_marginal(params, x), np.asarray(exact_posterior(params, x)[1])
    shortfall = (np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
    rounding = _rounding(params, log_p, 50.0) * np.linalg.cond(precision)
    check_equal("gradient at the supremum", slope, 0.0, 1e3 * rounding)
    check_equal("supremum against log p minus the shortfall", found, log_p - shortfall, rounding)
    if orthogonal:
        check_equal("shortfall", shortfall, 0.0, 16 * EPS * np.linalg.cond(precision))
