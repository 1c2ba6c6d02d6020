"""Importance sampling with weights in log space, and an estimate that keeps its digits when printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mathdnn_jax.errors import ConfigurationError, DomainError, EventShapeError, SupportError
from mathdnn_jax.probability.checks import check_no_nan, concrete


class ImportanceEstimate(NamedTuple):
    """An estimate of E_p[f(X)] from draws X_1, …, X_N of a proposal q, with w_i = p(X_i)/q(X_i).

    - `mean`: N⁻¹ Σ w_i f(X_i), or Σ w_i f(X_i) / Σ w_i when self-normalised;
    - `standard_error`: the standard deviation of its terms over √N (of the linearised ratio when self-normalised);
    - `effective_sample_size`: (Σ w_i)² / Σ w_i², between 1 and N: how many draws of p these are worth;
    - `log_mean_weight`: log N⁻¹ Σ w_i, an estimate of log ∫ p over q's support: 0 for normalised densities, so that a
      value well below 0 betrays a proposal that misses mass of the target.

    As text, and in any format, it is in scientific notation: `2.386e-06 ± 1.2e-07`.
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
            ConfigurationError: another notation is asked for.
        """
        specification = specification or ".6e"
        if not specification.endswith("e"):
            raise ConfigurationError(
                f"an estimate is printed in scientific notation, such as '.3e'; given {specification!r}, "
                "which can print a small one as zero"
            )
        mean, error = np.asarray(self.mean), np.asarray(self.standard_error)
        pairs = [
            f"{m:{specification}} ± {e:.2e}" for m, e in zip(mean.ravel().tolist(), error.ravel().tolist(), strict=True)
        ]
        return pairs[0] if mean.ndim == 0 else f"[{', '.join(pairs)}]"


def importance_estimate(
    values: ArrayLike, log_weights: ArrayLike, *, self_normalized: bool = False
) -> ImportanceEstimate:
    """E_p[f] from f(X_i) and log w_i = log p(X_i) − log q(X_i) along the last axis, X_i drawn from q.

    Sums are taken relative to the greatest weight, so that densities known up to a factor, or far from 1, neither
    overflow nor vanish on the way. Self-normalised, p and q may be unnormalised, at the price of a bias of order 1/N;
    otherwise the estimate is unbiased. Leading axes are batch axes. A log weight of −∞ (the target has no mass) is a
    weight of 0, whatever the value there.

    Raises:
        EventShapeError: fewer than two draws, or shapes that differ.
        SupportError: a log weight is +∞ (the proposal has no mass where the target has some), or all weights are 0
            and self-normalised; where values are concrete.
        DomainError: NaN among concrete values or log weights, or an infinite value with a positive weight.

    Source: seed 003 P5; Owen, "Monte Carlo theory, methods and examples" (2013), chapter 9.
    """
    values, log_weights = jnp.asarray(values), jnp.asarray(log_weights)
    if values.shape != log_weights.shape or values.ndim == 0 or values.shape[-1] < 2:
        raise EventShapeError(
            f"values and log weights have one shape, with at least two draws along the last axis; given "
            f"{values.shape} and {log_weights.shape}"
        )
    _check_weights(values, log_weights, self_normalized)
    count = values.shape[-1]
    log_sum = jax.nn.logsumexp(log_weights, -1)
    effective = jnp.exp(2 * log_sum - jax.nn.logsumexp(2 * log_weights, -1))
    log_mean_weight = log_sum - np.log(count)
    # Relative weights are w_i over their mean; a mean weight of 0 leaves them all 0.
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
    """E_p[f(X)] by `num_samples` draws of a proposal q, each weighted by p/q; see `importance_estimate`.

    `sample(key, (num_samples,))` draws from q; the other three map the draws to one number each, f, log p and log q.
    p may be unnormalised where `self_normalized` is set. A proposal that has no mass somewhere can only be caught by
    drawing there or by `log_mean_weight`: choose one with heavier tails than the target.

    Raises:
        EventShapeError, SupportError, DomainError: as `importance_estimate`.

    Source: seed 003 P5.
    """
    x = sample(key, (num_samples,))
    target, proposal = log_target(x), log_proposal(x)
    # A draw with log q = −∞ did not come from q, but one with no mass under p either is harmless.
    log_weights = jnp.where(target == -jnp.inf, -jnp.inf, target - proposal)
    return importance_estimate(function(x), log_weights, self_normalized=self_normalized)


def _check_weights(values: jax.Array, log_weights: jax.Array, self_normalized: bool) -> None:
    check_no_nan(values=values, log_weights=log_weights)
    weights = concrete(log_weights)
    if weights is None:
        return
    if np.isposinf(weights).any():
        raise SupportError(
            f"{np.isposinf(weights).sum()} of {weights.size} weights are infinite: the proposal has no mass where the "
            "target has some; widen the proposal"
        )
    if self_normalized and np.isneginf(weights).all(-1).any():
        raise SupportError("all weights are zero: no draw of the proposal lies where the target has mass")
    f = concrete(values)
    if f is not None and (np.isinf(f) & (weights > -np.inf)).any():
        raise DomainError("a value of infinity has a positive weight; its expectation is not a number")
