"""Claims about the variational lower bound: V1, V2, V4."""

from __future__ import annotations

import functools
from typing import Any, Literal

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.claims.chance import BOUND, check_unbiased, mean_and_error
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.linear_gaussian import (
    DIM,
    LATENT,
    divergence_to_posterior,
    exact_bound,
    exact_covariance,
    exact_log_marginal,
    exact_posterior,
    linear_vae,
    random_vae_params,
    with_constant_encoder,
    with_exact_posterior,
)
from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk, vae
from mathdnn_jax.probability import diagonal_gaussian_kl, diagonal_gaussian_log_prob

DRAWS = 20_000


def _event(seed: int) -> jax.Array:
    return jnp.asarray(2 * np.random.default_rng((seed, 1)).normal(size=DIM))


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
    params, x = random_vae_params(seed), _event(seed)
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
    params, x = with_exact_posterior(random_vae_params(seed, orthogonal=True)), _event(seed)
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


def _check_gradients(estimator: Literal["reparameterized", "score_function"], kl: Any, baseline: bool = False) -> None:
    params, x = random_vae_params(3), _event(3)

    def estimate(key: jax.Array) -> Any:
        def bound(params: Params) -> jax.Array:
            return linear_vae().elbo(
                params, x, key, samples=3 if baseline else 1, estimator=estimator, kl=kl, baseline=baseline
            )

        return jax.value_and_grad(bound)(params)

    value, draws = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(0), DRAWS))
    expected, gradient = jax.value_and_grad(exact_bound)(params, x)
    said = f"{estimator}, {kl} KL{', baseline' if baseline else ''}"
    check_unbiased(f"{said}: the bound", *mean_and_error(value), expected)
    for (path, leaf), truth in zip(jax.tree.leaves_with_path(draws), jax.tree.leaves(gradient), strict=True):
        check_unbiased(f"{said}: ∂/∂{jax.tree_util.keystr(path)}", *mean_and_error(leaf), truth)


@claim(
    "V2.reparameterized",
    "E[∇(log p(x, z) − log q(z | x))] = ∇VLB with respect to θ, φ and λ, if the gradient goes through z = μ + σ ε",
    source="course 000, Q6(c)",
)
def reparameterized_gradients_are_unbiased() -> None:
    """Take 20,000 draws, with the KL in closed form and from the draws; the truth is a quadrature: 62 statistics."""
    _check_gradients("reparameterized", "analytic")
    _check_gradients("reparameterized", "monte_carlo")


@claim(
    "V2.score_function",
    "E[∇_θ,λ log p(x, z) + ∇_φ log q(z | x) · (log p(x, z) − log q(z | x) − b)] = ∇VLB, with b = 0 or the mean over "
    "the other draws",
    source="course 000, Q6(b)",
)
def score_function_gradients_are_unbiased() -> None:
    """Take 20,000 draws, with the KL in closed form, from the draws, and with a baseline: 93 statistics."""
    _check_gradients("score_function", "analytic")
    _check_gradients("score_function", "monte_carlo")
    _check_gradients("score_function", "monte_carlo", baseline=True)


@claim(
    "V2.importance_weighted",
    "E[log (1/K) Σ_k p(x, z_k) / q(z_k | x)] is the VLB for K = 1, and increases towards log p(x) with K",
    source="course 000, Q6; Burda, Grosse and Salakhutdinov, 2015",
)
def importance_weighted_bound() -> None:
    """Take 2,000 means for K = 1 and for K = 16: one statistic, one difference and an upper bound."""
    params, x = random_vae_params(3), _event(3)
    log_p, found = float(exact_log_marginal(params, x)), []
    for count in (1, 16):

        def bound(key: jax.Array, count: int = count) -> jax.Array:
            return linear_vae().log_marginal(params, x, key, samples=count)

        draws = jax.jit(jax.vmap(bound))(jax.random.split(jax.random.key(count), 2000))
        found.append(tuple(float(part) for part in mean_and_error(draws)))
    check_unbiased("K = 1", found[0][0], found[0][1], exact_bound(params, x))
    for (less, error), (more, more_error) in zip(found, [*found[1:], (log_p, 0.0)], strict=True):
        if not less < more + BOUND * np.hypot(error, more_error):
            raise AssertionError(f"the bounds {[mean for mean, _ in found]} do not rise to log p = {log_p:.9g}")
    if not found[-1][0] > found[0][0] + (log_p - found[0][0]) / 2:
        raise AssertionError(f"16 draws only raise {found[0][0]:.9g} to {found[-1][0]:.9g}; log p = {log_p:.9g}")


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
    params, x = random_vae_params(seed, orthogonal=orthogonal), _event(seed)
    start = jnp.asarray(np.random.default_rng((seed, 2)).normal(size=2 * LATENT))
    found, slope = _best_bound(params, x, start)
    log_p, precision = exact_log_marginal(params, x), np.asarray(exact_posterior(params, x)[1])
    shortfall = (np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
    rounding = _rounding(params, log_p, 50.0) * np.linalg.cond(precision)
    check_equal("gradient at the supremum", slope, 0.0, 1e3 * rounding)
    check_equal("supremum against log p minus the shortfall", found, log_p - shortfall, rounding)
    if orthogonal:
        check_equal("shortfall", shortfall, 0.0, 16 * EPS * np.linalg.cond(precision))
