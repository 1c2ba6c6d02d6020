"""Deliberately wrong maps that act on each entry, or scale a whole event."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.checker.entry import Entry

Result = tuple[jax.Array, jax.Array]
SCALE = {"s": jnp.ones(3, jnp.float32)}
LOG_SCALE = {"log_s": jnp.zeros(3, jnp.float32)}


def _event(value: jax.Array, log_det: jax.Array) -> Result:
    """Value, and one log_det for each event of one axis."""
    return value, jnp.broadcast_to(log_det, value.shape[:-1])


def _exp(params: Any, x: jax.Array) -> Result:
    return _event(x * jnp.exp(params["log_s"]), params["log_s"].sum())


def _exp_back(params: Any, z: jax.Array) -> Result:
    return _event(z * jnp.exp(-params["log_s"]), -params["log_s"].sum())


def sign_flipped(params: Any, x: jax.Array) -> Result:
    """The inverse's log-det; the inverse reports the forward's, so that the two cancel."""
    value, log_det = _exp(params, x)
    return value, -log_det


def sign_flipped_back(params: Any, z: jax.Array) -> Result:
    """The other half of `sign_flipped`."""
    value, log_det = _exp_back(params, z)
    return value, -log_det


def doubled(params: Any, x: jax.Array) -> Result:
    """Twice the log-det, in both directions: antisymmetric, and wrong."""
    value, log_det = _exp(params, x)
    return value, 2 * log_det


def doubled_back(params: Any, z: jax.Array) -> Result:
    """The other half of `doubled`."""
    value, log_det = _exp_back(params, z)
    return value, 2 * log_det


def zero_params_only(params: Any, x: jax.Array) -> Result:
    """log(1 + s) ≈ s taken for s: right where the parameters are zero."""
    return _event(x * jnp.exp(params["log_s"]), jnp.log1p(params["log_s"] ** 2).sum())


def positive_only(params: Any, x: jax.Array) -> Result:
    """Log s in place of log|s|: NaN for s < 0."""
    return _event(x * params["s"], jnp.log(params["s"]).sum())


def clamped(params: Any, x: jax.Array) -> Result:
    """Log max(s, 10⁻³): finite for s < 0, and wrong there."""
    return _event(x * params["s"], jnp.log(jnp.maximum(params["s"], 1e-3)).sum())


def squared_only(params: Any, x: jax.Array) -> Result:
    """Log s² in place of log|s|: right for |s| = 1 alone."""
    return _event(x * params["s"], jnp.log(params["s"] ** 2).sum())


def determinant(params: Any, x: jax.Array) -> Result:
    """The determinant itself, without the logarithm."""
    return _event(x * jnp.exp(params["log_s"]), jnp.exp(params["log_s"].sum()))


def mean_of_scales(params: Any, x: jax.Array) -> Result:
    """The mean of the log-scales in place of their sum."""
    return _event(x * jnp.exp(params["log_s"]), params["log_s"].mean())


def centred_inverse(z: jax.Array) -> Result:
    """Newton's method for x + sin(x) / 2 = z, one step only where |z| > 2.5: right at the centre alone."""
    x = z - jnp.sin(z) / 2 / (1 + jnp.cos(z) / 2)
    for _ in range(8):
        x = jnp.where(jnp.abs(z) < 2.5, x - (x + jnp.sin(x) / 2 - z) / (1 + jnp.cos(x) / 2), x)
    return x, -jnp.log1p(jnp.cos(x) / 2).sum(-1)


def sine(x: jax.Array) -> Result:
    """X + sin(x) / 2, rightly."""
    return x + jnp.sin(x) / 2, jnp.log1p(jnp.cos(x) / 2).sum(-1)


def softsign_back(z: jax.Array) -> Result:
    """Z / (1 − |z|) with the log-det of the forward map at x: a sign too many."""
    x = z / (1 - jnp.abs(z))
    return x, -2 * jnp.log1p(jnp.abs(x)).sum(-1)


def softsign(x: jax.Array) -> Result:
    """X / (1 + |x|), rightly."""
    return x / (1 + jnp.abs(x)), -2 * jnp.log1p(jnp.abs(x)).sum(-1)


def cancelling(x: jax.Array) -> Result:
    """Tanh with log(1 − tanh² x), right in exact arithmetic: float32 has no digits left of it at x = 8."""
    return jnp.tanh(x), jnp.log(1 - jnp.tanh(x) ** 2).sum(-1)


def cancelling_value(x: jax.Array) -> Result:
    """A shift by 10⁴ there and back: float32 loses four digits."""
    return (x + 1e4) * 2 - 2e4, jnp.full(x.shape[:-1], x.shape[-1] * jnp.log(2.0), x.dtype)


def gradient_trap(x: jax.Array) -> Result:
    """sinh(x) with log cosh x by √(sinh² x), selected by a where after the root: 0 · ∞ in the gradient at 0."""
    root = jnp.where(x == 0, 0.0, jnp.sqrt(jnp.sinh(x) ** 2))
    return jnp.sinh(x), jnp.log(jnp.hypot(1.0, root)).sum(-1)


def only_under_jit(x: jax.Array) -> Result:
    """A log-det that is complete under jit alone."""
    complete = isinstance(x, jax.core.Tracer)
    return 2 * x, jnp.full(x.shape[:-1], (x.shape[-1] if complete else 1) * jnp.log(2.0), x.dtype)


def stopped(x: jax.Array) -> Result:
    """X · (1 + σ(x)) with the slope of σ stopped: log-det and autodiff agree, and both are wrong."""
    scale = 1 + jax.lax.stop_gradient(jax.nn.sigmoid(x))
    return x * scale, jnp.log(scale).sum(-1)


def rounded(x: jax.Array) -> Result:
    """Rounding with a straight-through gradient: the identity for autodiff, no bijector at all."""
    return x + jax.lax.stop_gradient(jnp.round(x * 8) / 8 - x), jnp.zeros(x.shape[:-1], x.dtype)


def _entry(name: str, forward: Any, inverse: Any, *catch: str, **options: Any) -> Entry:
    return Entry(name, lambda: (forward, inverse), {"event_shape": (3,), **options}, catch)


ENTRIES = (
    _entry("sign flipped in both directions", sign_flipped, sign_flipped_back, "log_det", params=LOG_SCALE),
    _entry("antisymmetric, twice too large", doubled, doubled_back, "log_det", params=LOG_SCALE),
    _entry("right at zero parameters only", zero_params_only, _exp_back, "log_det", params=LOG_SCALE),
    _entry("log s, not log|s|", positive_only, None, "finite", params=SCALE),
    _entry("log max(s, 0.001), not log|s|", clamped, None, "log_det", params=SCALE),
    _entry("log s², not log|s|", squared_only, None, "log_det", params=SCALE),
    _entry("the determinant, not its logarithm", determinant, _exp_back, "log_det", params=LOG_SCALE),
    _entry("the mean of the log-scales, not the sum", mean_of_scales, _exp_back, "log_det", params=LOG_SCALE),
    _entry("inverse wrong off-centre", sine, centred_inverse, "round_trip"),
    _entry("inverse reports the forward's log-det", softsign, softsign_back, "log_det"),
    _entry("log_det cancels in float32", cancelling, None, "float32"),
    _entry("value cancels in float32", cancelling_value, None, "float32"),
    _entry("gradient NaN at zero", gradient_trap, None, "gradient"),
    _entry("complete under jit only", only_under_jit, None, "jit"),
    _entry("stop_gradient on what depends on x", stopped, None, "derivative"),
    _entry("rounding with a straight-through gradient", rounded, None, "derivative"),
)
