"""Deliberately wrong maps that act on each entry, or scale a whole event."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.checker.entry import wrong

Result = tuple[jax.Array, jax.Array]
SCALE = {"s": jnp.ones(3, jnp.float32)}
LOG_SCALE = {"log_s": jnp.zeros(3, jnp.float32)}


def _event(value: jax.Array, log_det: jax.Array) -> Result:
    """Return the value, and the log_det broadcast to one number per event."""
    return value, jnp.broadcast_to(log_det, value.shape[:-1])


def _exp(params: Any, x: jax.Array) -> Result:
    return _event(x * jnp.exp(params["log_s"]), params["log_s"].sum())


def _exp_back(params: Any, z: jax.Array) -> Result:
    return _event(z * jnp.exp(-params["log_s"]), -params["log_s"].sum())


def sign_flipped(params: Any, x: jax.Array) -> Result:
    """Reports the log-det of the inverse; the inverse reports that of the forward map, so that the two cancel."""
    value, log_det = _exp(params, x)
    return value, -log_det


def sign_flipped_back(params: Any, z: jax.Array) -> Result:
    """The other half of `sign_flipped`."""
    value, log_det = _exp_back(params, z)
    return value, -log_det


def doubled(params: Any, x: jax.Array) -> Result:
    """Reports twice the log-det in both directions, which is antisymmetric, and wrong."""
    value, log_det = _exp(params, x)
    return value, 2 * log_det


def doubled_back(params: Any, z: jax.Array) -> Result:
    """The other half of `doubled`."""
    value, log_det = _exp_back(params, z)
    return value, 2 * log_det


def zero_params_only(params: Any, x: jax.Array) -> Result:
    """Takes log(1 + s²) for s, which is right only for zero parameters."""
    return _event(x * jnp.exp(params["log_s"]), jnp.log1p(params["log_s"] ** 2).sum())


def positive_only(params: Any, x: jax.Array) -> Result:
    """Reports log s instead of log|s|, which is NaN for s < 0."""
    return _event(x * params["s"], jnp.log(params["s"]).sum())


def clamped(params: Any, x: jax.Array) -> Result:
    """Reports log max(s, 10⁻³), which is finite for s < 0, and wrong there."""
    return _event(x * params["s"], jnp.log(jnp.maximum(params["s"], 1e-3)).sum())


def squared_only(params: Any, x: jax.Array) -> Result:
    """Reports log s² instead of log|s|, which is right only for |s| = 1."""
    return _event(x * params["s"], jnp.log(params["s"] ** 2).sum())


def determinant(params: Any, x: jax.Array) -> Result:
    """Reports the determinant itself, without the logarithm."""
    return _event(x * jnp.exp(params["log_s"]), jnp.exp(params["log_s"].sum()))


def mean_of_scales(params: Any, x: jax.Array) -> Result:
    """Reports the mean of the log-scales instead of their sum."""
    return _event(x * jnp.exp(params["log_s"]), params["log_s"].mean())


def centred_inverse(z: jax.Array) -> Result:
    """Solves x + sin(x) / 2 = z by Newton's method, but takes only one step for |z| > 2.5."""
    x = z - jnp.sin(z) / 2 / (1 + jnp.cos(z) / 2)
    for _ in range(8):
        x = jnp.where(jnp.abs(z) < 2.5, x - (x + jnp.sin(x) / 2 - z) / (1 + jnp.cos(x) / 2), x)
    return x, -jnp.log1p(jnp.cos(x) / 2).sum(-1)


def sine(x: jax.Array) -> Result:
    """x + sin(x) / 2, without a mistake."""
    return x + jnp.sin(x) / 2, jnp.log1p(jnp.cos(x) / 2).sum(-1)


def softsign_back(z: jax.Array) -> Result:
    """z / (1 − |z|) with the log-det of the forward map at x, so that the sign is wrong."""
    x = z / (1 - jnp.abs(z))
    return x, -2 * jnp.log1p(jnp.abs(x)).sum(-1)


def softsign(x: jax.Array) -> Result:
    """x / (1 + |x|), without a mistake."""
    return x / (1 + jnp.abs(x)), -2 * jnp.log1p(jnp.abs(x)).sum(-1)


def cancelling(x: jax.Array) -> Result:
    """tanh with log(1 − tanh² x), right in exact arithmetic; float32 has no correct digit of it at x = 8."""
    return jnp.tanh(x), jnp.log(1 - jnp.tanh(x) ** 2).sum(-1)


def cancelling_value(x: jax.Array) -> Result:
    """Shifts by 10⁴ and back, which costs float32 four digits."""
    return (x + 1e4) * 2 - 2e4, jnp.full(x.shape[:-1], x.shape[-1] * jnp.log(2.0), x.dtype)


def gradient_trap(x: jax.Array) -> Result:
    """sinh(x) with log cosh x from √(sinh² x); a `where` after the root leaves 0 · ∞ in the gradient at 0."""
    root = jnp.where(x == 0, 0.0, jnp.sqrt(jnp.sinh(x) ** 2))
    return jnp.sinh(x), jnp.log(jnp.hypot(1.0, root)).sum(-1)


def only_under_jit(x: jax.Array) -> Result:
    """Reports a log-det that is complete only under jit."""
    complete = isinstance(x, jax.core.Tracer)
    return 2 * x, jnp.full(x.shape[:-1], (x.shape[-1] if complete else 1) * jnp.log(2.0), x.dtype)


def stopped(x: jax.Array) -> Result:
    """x · (1 + σ(x)) with the gradient of σ stopped: log-det and autodiff agree, and both are wrong."""
    scale = 1 + jax.lax.stop_gradient(jax.nn.sigmoid(x))
    return x * scale, jnp.log(scale).sum(-1)


def rounded(x: jax.Array) -> Result:
    """Rounds with a straight-through gradient: the identity for autodiff, but not a bijector."""
    return x + jax.lax.stop_gradient(jnp.round(x * 8) / 8 - x), jnp.zeros(x.shape[:-1], x.dtype)


ENTRIES = (
    wrong("sign flipped in both directions", sign_flipped, sign_flipped_back, "log_det", params=LOG_SCALE),
    wrong("antisymmetric, twice too large", doubled, doubled_back, "log_det", params=LOG_SCALE),
    wrong("right at zero parameters only", zero_params_only, _exp_back, "log_det", params=LOG_SCALE),
    wrong("log s, not log|s|", positive_only, None, "finite", params=SCALE),
    wrong("log max(s, 0.001), not log|s|", clamped, None, "log_det", params=SCALE),
    wrong("log s², not log|s|", squared_only, None, "log_det", params=SCALE),
    wrong("the determinant, not its logarithm", determinant, _exp_back, "log_det", params=LOG_SCALE),
    wrong("the mean of the log-scales, not the sum", mean_of_scales, _exp_back, "log_det", params=LOG_SCALE),
    wrong("inverse wrong off-centre", sine, centred_inverse, "round_trip"),
    wrong("inverse reports the forward's log-det", softsign, softsign_back, "log_det"),
    wrong("log_det cancels in float32", cancelling, None, "float32"),
    wrong("value cancels in float32", cancelling_value, None, "float32"),
    wrong("gradient NaN at zero", gradient_trap, None, "gradient"),
    wrong("complete under jit only", only_under_jit, None, "jit"),
    wrong("stop_gradient on what depends on x", stopped, None, "derivative", "gradient"),
    wrong("rounding with a straight-through gradient", rounded, None, "derivative"),
)
