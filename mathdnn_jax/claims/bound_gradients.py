"""Claims about stochastic gradients of the variational lower bound, and about their variances: V2."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.claims.chance import BOUND, Effect, check_unbiased, mean_and_error
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.linear_gaussian import (
    LATENT,
    exact_bound,
    exact_covariance,
    exact_log_marginal,
    linear_vae,
    random_vae_event,
    random_vae_params,
    with_exact_posterior,
)
from mathdnn_jax.claims.quadrature import grid, normal_rule
from mathdnn_jax.probability import diagonal_gaussian_log_prob

CHUNKS, CHUNK = 60, 10_000
DRAWS = CHUNKS * CHUNK
NODES, MASSES = (grid(part, LATENT) for part in normal_rule(9))
"""The rule is exact for polynomials of degree 17 in each latent variable; the fourth power of a draw has degree 16."""


class Kind(NamedTuple):
    """One way to estimate the bound."""

    estimator: Literal["reparameterized", "score_function"]
    kl: Literal["analytic", "monte_carlo"] = "monte_carlo"
    baseline: bool = False

    @property
    def draws(self) -> int:
        """The number of draws of the estimate; with a baseline each is a mean of three."""
        return DRAWS // 3 if self.baseline else DRAWS

    @property
    def said(self) -> str:
        """The kind in words."""
        return f"{self.estimator}, {self.kl} KL{', baseline' if self.baseline else ''}"


def _log_ratio(params: Params, x: jax.Array, z: jax.Array, at: Params) -> jax.Array:
    """log p(x, z) − log q(z | x), where q has the parameters `at`."""
    return linear_vae().log_joint(params, x, z) - diagonal_gaussian_log_prob(z, *linear_vae().encode(at, x))


def _draw(params: Params, x: jax.Array, noise: jax.Array) -> jax.Array:
    """z = μ + σ ε."""
    mean, log_scale = linear_vae().encode(params, x)
    return mean + jnp.exp(log_scale) * noise


def _score_draw(params: Params, x: jax.Array, noise: jax.Array, b: jax.Array) -> Params:
    """∇_θ,λ log p(x, z) + ∇_φ log q(z | x) · (log p(x, z) − log q(z | x) − b), as it is printed."""
    z = _draw(params, x, noise)
    weight = _log_ratio(params, x, z, params) - b
    log_joint = jax.grad(lambda params: linear_vae().log_joint(params, x, z))(params)
    log_q = jax.grad(lambda params: diagonal_gaussian_log_prob(z, *linear_vae().encode(params, x)))(params)
    gradient: Params = jax.tree.map(lambda of_p, of_q: of_p + weight * of_q, log_joint, log_q)
    return gradient


def _reparameterized_draw(params: Params, x: jax.Array, noise: jax.Array, b: jax.Array) -> Params:
    """∇(log p(x, z) − log q(z | x)) through z = μ + σ ε, as it is printed."""
    del b
    gradient: Params = jax.grad(lambda params: _log_ratio(params, x, _draw(params, x, noise), params))(params)
    return gradient


@functools.cache
def _printed(estimator: str) -> Callable[..., Any]:
    """The compiled integrals of a printed estimator: its mean, its variance and its fourth central moment."""
    of_noise = _score_draw if estimator == "score_function" else _reparameterized_draw

    def moments(params: Params, x: jax.Array, b: jax.Array) -> tuple[Params, Params, Params]:
        values = jax.vmap(of_noise, (None, None, 0, None))(params, x, jnp.asarray(NODES), b)
        weights = jnp.asarray(MASSES.prod(-1))
        mean = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), values)
        central = [
            jax.tree.map(lambda leaf, m, p=p: jnp.tensordot(weights, (leaf - m) ** p, 1), values, mean) for p in (2, 4)
        ]
        return mean, central[0], central[1]

    return jax.jit(moments)


@functools.cache
def _sampled(kind: Kind) -> Callable[..., Any]:
    """The compiled function (parameters, x, key, truth) → means of values and gradients less the truth.

    Their squares' means follow.
    """

    def one(params: Params, x: jax.Array, key: jax.Array) -> tuple[jax.Array, Params]:
        def bound(params: Params) -> jax.Array:
            return linear_vae().elbo(params, x, key, samples=3 if kind.baseline else 1, **kind._asdict())

        return jax.value_and_grad(bound)(params)

    def means(params: Params, x: jax.Array, key: jax.Array, truth: Any) -> tuple[Any, Any]:
        def add(total: Any, chunk_key: jax.Array) -> tuple[Any, None]:
            draws = jax.vmap(one, (None, None, 0))(params, x, jax.random.split(chunk_key, CHUNK))
            rests = jax.tree.map(jnp.subtract, draws, truth)
            sums = [jax.tree.map(lambda leaf, p=p: (leaf**p).sum(0) / kind.draws, rests) for p in (1, 2)]
            return jax.tree.map(jnp.add, total, sums), None

        zero = jax.tree.map(jnp.zeros_like, [truth, truth])
        (first, second), _ = jax.lax.scan(add, zero, jax.random.split(key, kind.draws // CHUNK))
        return first, second

    return jax.jit(means)


_exact = jax.jit(jax.value_and_grad(exact_bound))


def _case(seed: int) -> tuple[Params, jax.Array]:
    return random_vae_params(seed), random_vae_event(seed)


def _check_printed(estimator: str, seed: int) -> None:
    """Check that the printed estimator's mean is the bound's gradient, by quadrature."""
    params, x = _case(seed)
    value, gradient = _exact(params, x)
    baseline = jnp.asarray(np.random.default_rng((seed, 5)).normal())
    mean, _, _ = _printed(estimator)(params, x, baseline)
    condition = float(np.linalg.cond(exact_covariance(params)))
    size = condition * (1 + abs(float(value)) + max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)))
    for (path, leaf), truth in zip(jax.tree.leaves_with_path(mean), jax.tree.leaves(gradient), strict=True):
        said = f"mean of the formula by quadrature: ∂/∂{jax.tree_util.keystr(path)}"
        check_equal(said, np.asarray(leaf), np.asarray(truth), 1e4 * EPS * size)


def _check_gradients(kind: Kind, seed: int) -> list[Effect]:
    """Check that the library's estimates of the bound and of its gradient have the right means."""
    params, x = _case(seed)
    truth = _exact(params, x)
    first, second = _sampled(kind)(params, x, jax.random.key(seed), truth)
    effects = []
    paths = [path for path, _ in jax.tree.leaves_with_path(truth)]
    leaves = zip(*(map(np.asarray, jax.tree.leaves(tree)) for tree in (first, second, truth)), strict=True)
    for path, (rest, square, expected) in zip(paths, leaves, strict=True):
        error = np.sqrt(np.maximum(square - rest**2, 0) / (kind.draws - 1))
        said = "the bound" if path[0].idx == 0 else f"∂/∂{jax.tree_util.keystr(path[1:])}"
        effects.append(check_unbiased(f"{kind.said}: {said}", expected + rest, error, expected))
    return effects


@claim(
    "V2.reparameterized",
    "E[∇(log p(x, z) − log q(z | x))] = ∇VLB with respect to θ, φ and λ, if the gradient goes through z = μ + σ ε",
    source="course 000, Q6(c)",
    sampled=True,
)
def reparameterized_gradients_are_unbiased(seed: int) -> list[Effect]:
    """Integrate the formula by quadrature; take 600,000 draws, with the KL in closed form and not: 62 statistics."""
    _check_printed("reparameterized", seed)
    kinds = (Kind("reparameterized", "analytic"), Kind("reparameterized"))
    return [effect for kind in kinds for effect in _check_gradients(kind, seed)]


@claim(
    "V2.score_function",
    "E[∇_θ,λ log p(x, z) + ∇_φ log q(z | x) · (log p(x, z) − log q(z | x) − b)] = ∇VLB, with b = 0 or the mean over "
    "the other draws",
    source="course 000, Q6(b)",
    sampled=True,
)
def score_function_gradients_are_unbiased(seed: int) -> list[Effect]:
    """Integrate the formula by quadrature; take 600,000 draws in 3 ways, one with a baseline: 93 statistics."""
    _check_printed("score_function", seed)
    kinds = (Kind("score_function", "analytic"), Kind("score_function"), Kind("score_function", baseline=True))
    return [effect for kind in kinds for effect in _check_gradients(kind, seed)]


@claim(
    "V2.variances",
    "the variance of one draw g of ∂VLB/∂φ is E‖g‖² − ‖E g‖², side by side for g = ∇_φ log q · (log p(x, z) − "
    "log q(z | x)) and for g = ∇_φ(log p(x, z) − log q(z | x)) through z = μ + σ ε",
    source="course 000, Q6(b) and (c)",
    sampled=True,
)
def variances_side_by_side(seed: int) -> list[Effect]:
    """Compare the sample variances of 600,000 draws with the integrals, by derivatives with respect to μ's bias.

    The sample variance has the standard error √((μ₄ − σ⁴)/N): 4 statistics.
    """
    params, x = _case(seed)
    effects, totals = [], {}
    for estimator in ("score_function", "reparameterized"):
        kind = Kind(estimator)
        truth = _exact(params, x)
        (_, first), (_, second) = _sampled(kind)(params, x, jax.random.key(seed), truth)
        _, variance, fourth = _printed(estimator)(params, x, jnp.zeros(()))
        rest, square, exact, moment = (
            np.asarray(tree["encoder"]["mean"]["bias"]) for tree in (first, second, variance, fourth)
        )
        found = (square - rest**2) * DRAWS / (DRAWS - 1)
        error = np.sqrt((moment - exact**2) / DRAWS)
        totals[estimator] = exact.sum()
        effects.append(check_unbiased(f"variance, {kind.said}", found, error, exact))
    beside = ", ".join(f"{totals[name]:.4g} {name}" for name in totals)
    return [effect._replace(what=f"{effect.what}; in all {beside}") for effect in effects]


@jax.jit
def _at_the_posterior(params: Params, unit: jax.Array) -> tuple[Params, jax.Array]:
    """The model in other units, with its posterior as the encoder, and the most probable x."""
    decoder = jax.tree.map(lambda leaf: unit * leaf, params["decoder"])
    noise = {"log_variance": params["likelihood"]["log_variance"] + 2 * jnp.log(unit)}
    params = with_exact_posterior({**params, "decoder": decoder, "likelihood": noise})
    return params, params["prior"]["mean"] @ decoder["dense_0"]["kernel"] + decoder["dense_0"]["bias"]


@claim(
    "V2.smaller_variance",
    "a draw of ∂VLB/∂φ always has the smaller variance if it is reparameterised",
    source="course 000, Q6(b) and (c)",
    verdict="refuted",
    seed=seeds,
    power=st.integers(0, 4),
)
def reparameterized_is_always_better(seed: int, power: int) -> None:
    """Integrate both variances where q is the posterior, and x its most probable value, in units of 2^power.

    There log p(x, z) − log q(z | x) = log p(x) whatever z is, so that the two draws are log p(x) ∇ log q and −∇ log q;
    and log p(x) is any number in suitable units.
    """
    params, x = _at_the_posterior(random_vae_params(seed, orthogonal=True), 2.0**-power)
    log_p = float(exact_log_marginal(params, x))
    variances = []
    for estimator in ("score_function", "reparameterized"):
        _, variance, _ = _printed(estimator)(params, x, jnp.zeros(()))
        variances.append(float(variance["encoder"]["mean"]["bias"].sum()))
    if variances[0] < 0.99 * variances[1]:
        raise AssertionError(
            f"the variance of the score-function draw is {variances[0]:.6g}, that of the reparameterised one "
            f"{variances[1]:.6g}; the quotient is (log p(x))² = {log_p**2:.6g}"
        )


@functools.cache
def _log_marginal(count: int) -> Callable[..., jax.Array]:
    model = linear_vae()
    one = jax.vmap(lambda params, x, key: model.log_marginal(params, x, key, samples=count), (None, None, 0))
    return jax.jit(one)


WEIGHTED = (1, 16, 256)
BOUNDS = 4000


@claim(
    "V2.importance_weighted",
    "E[log (1/K) Σ_k p(x, z_k) / q(z_k | x)] is the VLB for K = 1, and increases towards log p(x) with K",
    source="course 000, Q6; Burda, Grosse and Salakhutdinov, 2015",
    sampled=True,
)
def importance_weighted_bound(seed: int) -> list[Effect]:
    """Take 4,000 means for K = 1, 16 and 256: one statistic, two differences and an upper bound."""
    params, x = _case(seed)
    log_p, bounds, errors = float(exact_log_marginal(params, x)), [], []
    for count in WEIGHTED:
        keys = jax.random.split(jax.random.key((seed + count) % 2**32), BOUNDS)
        mean, error = (float(part) for part in mean_and_error(_log_marginal(count)(params, x, keys)))
        bounds.append(mean)
        errors.append(error)
    effect = check_unbiased("K = 1", bounds[0], errors[0], exact_bound(params, x))
    said = f"the bounds for K = {', '.join(map(str, WEIGHTED))} are {bounds}, log p(x) is {log_p:.9g}"
    for k in range(2):
        if not bounds[k + 1] > bounds[k] - BOUND * np.hypot(errors[k], errors[k + 1]):
            raise AssertionError(f"{said}: they do not increase")
    if not bounds[-1] <= log_p + BOUND * errors[-1]:
        raise AssertionError(f"{said}: the last is above it")
    if not log_p - bounds[-1] < (log_p - bounds[0]) / 2 + BOUND * errors[-1]:
        raise AssertionError(f"{said}: they do not come near it")
    return [effect]
