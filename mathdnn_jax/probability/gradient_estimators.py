"""Two unbiased estimators of ∇_φ E_{X~q_φ}[h_φ(X)] and their standard errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability.running_moments import check_finite, moments_of

Params = Any
Draw = Any
LogProb = Callable[[Params, Draw], jax.Array]
Sample = Callable[[Params, jax.Array, tuple[int, ...]], Draw]


class GradientEstimate(NamedTuple):
    """A Monte Carlo estimate of E_q[h] and of its gradient.

    - `gradient`: the mean of the draws' gradients, a tree like the parameters;
    - `standard_error`: the standard deviation of a draw's gradient divided by √(number of draws), a tree like the
      parameters. The true gradient is within ± 1.96 standard errors about 95 % of the time;
    - `value`, `value_standard_error`: the same for E_q[h] itself.

    A pair of antithetic draws counts as one draw, so that the standard errors account for the correlation.
    """

    gradient: Params
    standard_error: Params
    value: jax.Array
    value_standard_error: jax.Array


def score_function_surrogate(value: jax.Array, log_prob: jax.Array, baseline: jax.Array | float = 0.0) -> jax.Array:
    """Attach the score-function gradient, ∇h + (h − b) ∇ log q, to a value.

    `value` is h(x) and `log_prob` is log q(x), both at draws x that do not depend on the parameters (stop their
    gradient). Use the result inside a larger objective that is differentiated. The baseline b must not depend on the
    draw.

    Returns:
        A quantity that equals `value` and has this gradient.

    Source: course 003, P1 (the log-derivative identity).
    """
    weight = jax.lax.stop_gradient(value - baseline)
    return value + weight * (log_prob - jax.lax.stop_gradient(log_prob))


def score_function_gradient(
    h: Callable[[Params, Draw], jax.Array],
    log_prob: LogProb,
    sample: Sample,
    params: Params,
    key: jax.Array,
    num_samples: int,
    *,
    baseline: Literal["none", "leave_one_out"] = "none",
    antithetic: Callable[[Params, Draw], Draw] | None = None,
    chunk_size: int | None = None,
) -> GradientEstimate:
    """Estimate ∇_φ E_q[h_φ(X)] by the mean of ∇_φ h_φ(X) + (h_φ(X) − b) ∇_φ log q_φ(X).

    Neither h nor the sampler needs to be differentiable in x. The functions are called with a single draw:
    `sample(params, key, ()) -> x`, and `log_prob(params, x)` and `h(params, x)` return scalars; x and `params` may be
    any trees. The `log_prob` and `sample` of a flow can be passed unchanged.

    If h depends on the parameters, its own gradient is the first term, and the estimate is unbiased for the whole
    derivative. For h = log(g/q) this term is −∇ log q, which has mean zero. The form in course 003, P1,
    E[∇ log q · log(g/q)], omits it, and so does an h that stops the gradient of its parameters.

    With `baseline="leave_one_out"`, b is the mean of h over the other draws (with antithetic draws, over the other
    pairs); the estimate remains unbiased and is rarely worse. The terms then share their baselines, so the standard
    error is reliable for many draws rather than for a few. `antithetic(params, x)` is a map that preserves q, such as
    x ↦ 2μ − x; half of the `num_samples` draws are then the images of the others. `chunk_size` limits the number of
    draws whose gradients are in memory at the same time; it must divide the number of draws, or of pairs.

    Returns:
        The estimates of the gradient and of E_q[h] with their standard errors.

    Raises:
        ConfigurationError: There are fewer than two draws (or pairs), an odd number of antithetic draws, a chunk size
            that does not divide their number, or an unknown baseline.
        NonFiniteError: The estimate is concrete, and NaN or infinite.

    Source: course 003, P1, P6(a); course 000, Q6(b); Williams, Machine Learning 8 (1992), 229–256.
    """
    if baseline not in ("none", "leave_one_out"):
        raise ConfigurationError(f'the baseline must be "none" or "leave_one_out", given {baseline!r}')
    units, chunk = _units(num_samples, antithetic is not None, chunk_size)
    keys = jax.random.split(key, units)

    def draws(parameters: Params, unit_key: jax.Array) -> list[Draw]:
        return jax.lax.stop_gradient(_draws(sample, antithetic, parameters, unit_key))

    def unit_value(unit_key: jax.Array) -> jax.Array:
        return _mean([h(params, x) for x in draws(params, unit_key)])

    if baseline == "leave_one_out":
        values = jax.lax.map(unit_value, keys, batch_size=chunk)
        baselines = (values.sum() - values) / (units - 1)
    else:
        baselines = jnp.zeros(units, jax.eval_shape(unit_value, keys[0]).dtype)

    def surrogate(parameters: Params, unit_key: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        xs = draws(parameters, unit_key)
        hs = [h(parameters, x) for x in xs]
        terms = [score_function_surrogate(value, log_prob(parameters, x), b) for value, x in zip(hs, xs, strict=True)]
        return _mean(terms), _mean(hs)

    def unit_estimate(unit: tuple[jax.Array, jax.Array]) -> tuple[Params, jax.Array]:
        gradient, value = jax.grad(surrogate, has_aux=True)(params, *unit)
        return gradient, value

    return _estimate(unit_estimate, (keys, baselines), units, chunk)


def reparameterized_gradient(
    h: Callable[[Params, Draw], jax.Array],
    sample: Sample,
    params: Params,
    key: jax.Array,
    num_samples: int,
    *,
    antithetic: Callable[[Params, Draw], Draw] | None = None,
    chunk_size: int | None = None,
) -> GradientEstimate:
    """Estimate ∇_φ E_q[h_φ(X)] by the mean of ∇_φ h_φ(X_φ(ε)), which differentiates through the draw.

    `sample(params, key, ()) -> x` must be differentiable in the parameters for a fixed key, as μ + σ ε is. A sampler
    that is not (for a discrete distribution, or by rejection) gives a wrong answer, not an error. No density is needed,
    and if h depends on the parameters, its own gradient is included. Everything else is as in
    `score_function_gradient`, except that there is no baseline, because none would help.

    Returns:
        The estimates of the gradient and of E_q[h] with their standard errors.

    Raises:
        ConfigurationError, NonFiniteError: As in `score_function_gradient`.

    Source: course 003, P6(b); course 000, Q6(c); Kingma and Welling, "Auto-Encoding Variational Bayes" (2014).

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> def sample(mean, key, shape):
        ...     return mean + jax.random.normal(key, shape)
        >>> estimate = mj.probability.reparameterized_gradient(
        ...     lambda mean, x: x**2, sample, jnp.float32(3.0), jax.random.key(0), 1000
        ... )
        >>> bool(abs(estimate.gradient - 6) < 4 * estimate.standard_error)  # ∇E[X²] = 2 · mean
        True
    """
    units, chunk = _units(num_samples, antithetic is not None, chunk_size)

    def unit_value(parameters: Params, unit_key: jax.Array) -> jax.Array:
        return _mean([h(parameters, x) for x in _draws(sample, antithetic, parameters, unit_key)])

    def unit_estimate(unit_key: jax.Array) -> tuple[Params, jax.Array]:
        value, gradient = jax.value_and_grad(unit_value)(params, unit_key)
        return gradient, value

    return _estimate(unit_estimate, jax.random.split(key, units), units, chunk)


def _units(num_samples: int, paired: bool, chunk_size: int | None) -> tuple[int, int]:
    if paired and num_samples % 2:
        raise ConfigurationError(f"antithetic draws come in pairs: num_samples must be even, given {num_samples}")
    units = num_samples // 2 if paired else num_samples
    if units < 2:
        raise ConfigurationError(
            f"a standard error needs at least two {'pairs' if paired else 'draws'}; num_samples is {num_samples}"
        )
    chunk = units if chunk_size is None else chunk_size
    if chunk < 1 or units % chunk:
        raise ConfigurationError(
            f"chunk_size must divide the {units} {'pairs' if paired else 'draws'}, given {chunk_size}"
        )
    return units, chunk


def _draws(
    sample: Sample, antithetic: Callable[[Params, Draw], Draw] | None, params: Params, key: jax.Array
) -> list[Draw]:
    x = sample(params, key, ())
    return [x] if antithetic is None else [x, antithetic(params, x)]


def _mean(terms: list[jax.Array]) -> jax.Array:
    return sum(terms[1:], terms[0]) / len(terms)


def _estimate(
    unit_estimate: Callable[..., tuple[Params, jax.Array]], units: Any, count: int, chunk: int
) -> GradientEstimate:
    (gradient, value), (error, value_error) = moments_of(unit_estimate, units, count, chunk)
    estimate = GradientEstimate(gradient, error, value, value_error)
    check_finite(estimate)
    return estimate
