"""Importance sampling with weights in log space, and estimates that keep their digits when printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mathdnn_jax.errors import ConfigurationError, DomainError, EventShapeError, SupportError
from mathdnn_jax.probability.checks import check_no_nan, concrete_values


class ImportanceEstimate(NamedTuple):
    """An estimate of E_p[f(X)] from draws X_1, …, X_N of a proposal q, with weights w_i = p(X_i)/q(X_i).

    - `mean`: N⁻¹ Σ w_i f(X_i), or Σ w_i f(X_i) / Σ w_i if self-normalised;
    - `standard_error`: the standard deviation of its terms divided by √N (of the linearised ratio if self-normalised);
    - `effective_sample_size`: (Σ w_i)² / Σ w_i², between 1 and N, the equivalent number of draws from p;
    - `log_mean_weight`: log N⁻¹ Σ w_i, an estimate of log ∫ p over the support of q. It is 0 for normalised densities;
      a value well below 0 reveals a proposal that misses mass of the target.

    Its text is always in scientific notation: `2.386e-06 ± 1.2e-07`.
    """

    mean: jax.Array
    standard_error: jax.Array
    effective_sample_size: jax.Array
    log_mean_weight: jax.Array

    def __str__(self) -> str:
        return format(self, ".6e")

    def __format__(self, specification: str) -> str:
        """`f"{estimate:.3e}"` has three digits after the point; fixed notation would lose a small estimate's digits.

        Raises:
            ConfigurationError: The format is not in scientific notation.
        """
        specification = specification or ".6e"
        if not specification.endswith("e"):
            raise ConfigurationError(
                f"an estimate is printed in scientific notation, such as '.3e'; given {specification!r}, "
                "which can print a small estimate as zero"
            )
        mean, error = np.asarray(self.mean), np.asarray(self.standard_error)
        pairs = [
            f"{m:{specification}} ± {e:.2e}" for m, e in zip(mean.ravel().tolist(), error.ravel().tolist(), strict=True)
        ]
        return pairs[0] if mean.ndim == 0 else f"[{', '.join(pairs)}]"


def importance_estimate(
    values: ArrayLike, log_weights: ArrayLike, *, self_normalized: bool = False
) -> ImportanceEstimate:
    """Estimate E_p[f] from f(X_i) and log w_i = log p(X_i) − log q(X_i) along the last axis, with X_i drawn from q.

    Sums are computed relative to the greatest weight, so that densities known up to a factor, or far from 1, neither
    overflow nor underflow. With `self_normalized`, p and q may be unnormalised, at the price of a bias of order 1/N;
    otherwise the estimate is unbiased. Leading axes are batch axes. A log weight of −∞ (the target has no mass) is a
    weight of 0, whatever the value there.

    Returns:
        The estimate, with the batch shape.

    Raises:
        EventShapeError: There are fewer than two draws, or the shapes differ.
        SupportError: A concrete log weight is +∞ (the proposal has no mass where the target has some), or all of them
            are −∞ with `self_normalized`.
        DomainError: Concrete values or log weights contain NaN, or an infinite value has a positive weight.

    Source: course 003, P5; Owen, "Monte Carlo theory, methods and examples" (2013), chapter 9.
    """
    values, log_weights = jnp.asarray(values), jnp.asarray(log_weights)
    if values.shape != log_weights.shape or values.ndim == 0 or values.shape[-1] < 2:
        raise EventShapeError(
            f"values and log weights must have the same shape, with at least two draws along the last axis; given "
            f"{values.shape} and {log_weights.shape}"
        )
    _check_weights(values, log_weights, self_normalized)
    count = values.shape[-1]
    log_sum = jax.nn.logsumexp(log_weights, -1)
    effective = jnp.exp(2 * log_sum - jax.nn.logsumexp(2 * log_weights, -1))
    log_mean_weight = log_sum - np.log(count)
    # Relative weights are the w_i divided by their mean; if the mean is 0, they are all 0.
    positive = log_sum > -jnp.inf
    relative = jnp.exp(log_weights - jnp.where(positive, log_mean_weight, 0)[..., None])
    terms = jnp.where(relative > 0, relative * values, 0)
    if self_normalized:
        mean = terms.mean(-1)
        residuals = jnp.where(relative > 0, relative * (values - mean[..., None]), 0)
        error = jnp.sqrt(jnp.square(residuals).sum(-1)) / count
        mean, error = (jnp.where(positive, x, jnp.nan) for x in (mean, error))
    else:
        mean = jnp.exp(log_mean_weight) * terms.mean(-1)
        error = jnp.exp(log_mean_weight) * terms.std(-1, ddof=1) / np.sqrt(count)
    return ImportanceEstimate(mean, error, jnp.where(positive, effective, 0), log_mean_weight)


def importance_sampling(
    function: Callable[[Any], jax.Array],
    log_target: Callable[[Any], jax.Array],
    log_proposal: Callable[[Any], jax.Array],
    sample: Callable[[jax.Array, tuple[int, ...]], Any],
    key: jax.Array,
    num_samples: int,
    *,
    self_normalized: bool = False,
) -> ImportanceEstimate:
    """Estimate E_p[f(X)] from `num_samples` draws of a proposal q, each weighted by p/q; see `importance_estimate`.

    `sample(key, (num_samples,))` draws from q; the other three functions map the draws to f, log p and log q, one
    number for each draw. p may be unnormalised with `self_normalized=True`. A proposal that misses a part of the target
    is noticed only if a draw lands there, or by its `log_mean_weight`: choose one with heavier tails than the target.

    Raises:
        EventShapeError, SupportError, DomainError: As in `importance_estimate`.

    Source: course 003, P5.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> normal, wide = mj.probability.normal(()), mj.probability.logistic(())
        >>> estimate = mj.probability.importance_sampling(
        ...     lambda x: x**2, normal.log_prob, wide.log_prob, wide.sample, jax.random.key(0), 10_000
        ... )
        >>> bool(abs(estimate.mean - 1) < 4 * estimate.standard_error)  # the variance of N(0, 1)
        True
    """
    x = sample(key, (num_samples,))
    target, proposal = log_target(x), log_proposal(x)
    # A draw with log q = −∞ cannot come from q, but it is harmless if it has no mass under p either.
    log_weights = jnp.where(target == -jnp.inf, -jnp.inf, target - proposal)
    return importance_estimate(function(x), log_weights, self_normalized=self_normalized)


def _check_weights(values: jax.Array, log_weights: jax.Array, self_normalized: bool) -> None:
    check_no_nan(values=values, log_weights=log_weights)
    weights = concrete_values(log_weights)
    if weights is None:
        return
    if np.isposinf(weights).any():
        raise SupportError(
            f"{np.isposinf(weights).sum()} of {weights.size} weights are infinite: the proposal has no mass where the "
            "target has some; use a wider proposal"
        )
    if self_normalized and np.isneginf(weights).all(-1).any():
        raise SupportError("all weights are zero: no draw of the proposal lies where the target has mass")
    f = concrete_values(values)
    if f is not None and (np.isinf(f) & (weights > -np.inf)).any():
        raise DomainError("an infinite value has a positive weight; the expectation is not finite")
