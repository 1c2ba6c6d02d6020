"""Deliberately wrong maps whose mistake is about entries, pixels or the batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.checker.entry import Entry

Result = tuple[jax.Array, jax.Array]
MATRIX = {"matrix": jnp.asarray([[1.5, 0.2, 0.0], [0.1, 0.8, 0.3], [0.0, -0.4, 1.2]], jnp.float32)}
WEIGHTS = {
    "scale": jnp.asarray([[0.3, -0.2], [0.1, 0.4]], jnp.float32),
    "shift": jnp.asarray([[0.5, 0.1], [-0.3, 0.2]], jnp.float32),
}


def _coupling(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    kept, moved = x[..., :2], x[..., 2:]
    return kept, moved, jnp.tanh(kept @ params["scale"]), kept @ params["shift"]


def coupling_back(params: Any, z: jax.Array) -> Result:
    """The affine coupling backwards, rightly."""
    kept, moved, s, t = _coupling(params, z)
    return jnp.concatenate([kept, (moved - t) * jnp.exp(-s)], -1), -s.sum(-1)


def _forward(params: Any, x: jax.Array) -> Result:
    kept, moved, s, t = _coupling(params, x)
    return jnp.concatenate([kept, moved * jnp.exp(s) + t], -1), s.sum(-1)


def one_entry_missing(params: Any, x: jax.Array) -> Result:
    """The last log-scale is not counted."""
    kept, moved, s, t = _coupling(params, x)
    return jnp.concatenate([kept, moved * jnp.exp(s) + t], -1), s[..., :-1].sum(-1)


def shift_counted(params: Any, x: jax.Array) -> Result:
    """The shift is summed in place of the log-scale."""
    value, _ = _forward(params, x)
    return value, _coupling(params, x)[3].sum(-1)


def inverse_reported(params: Any, x: jax.Array) -> Result:
    """The log-det that the inverse has at the same numbers, not at the same point."""
    value, _ = _forward(params, x)
    swapped = jnp.concatenate([value[..., 2:], value[..., :2]], -1)
    return value, -_coupling(params, swapped)[2].sum(-1)


def batch_summed(params: Any, x: jax.Array) -> Result:
    """log_det is summed over the batch too."""
    value, log_det = _forward(params, x)
    return value, log_det.sum()


def batch_summed_and_spread(params: Any, x: jax.Array) -> Result:
    """Summed over the batch, and given the right shape afterwards."""
    value, log_det = _forward(params, x)
    return value, jnp.broadcast_to(log_det.sum(), log_det.shape)


def batch_mean(x: jax.Array) -> Result:
    """The batch's mean is mixed into the shift, as in a normalisation that was left in training mode."""
    mean = x.reshape(-1, x.shape[-1]).mean(0) if x.ndim > 1 else jnp.zeros_like(x)
    return x - mean, jnp.zeros(x.shape[:-1], x.dtype)


def transposed(params: Any, x: jax.Array) -> Result:
    """log_det has the batch axes in reverse order."""
    value, log_det = _forward(params, x)
    return value, log_det.T


def keepdims(params: Any, x: jax.Array) -> Result:
    """log_det keeps an axis of length one."""
    value, log_det = _forward(params, x)
    return value, log_det[..., None]


def per_entry(x: jax.Array) -> Result:
    """log_det is not summed over the event."""
    return 2 * x, jnp.full(x.shape, jnp.log(2.0), x.dtype)


def pixels_missing(params: Any, x: jax.Array) -> Result:
    """A 1 × 1 convolution whose log-det is that of one pixel."""
    value = x @ params["matrix"]
    return value, jnp.broadcast_to(jnp.linalg.slogdet(params["matrix"])[1], x.shape[:-3])


def diagonal_only(params: Any, x: jax.Array) -> Result:
    """A full matrix taken for a triangular one: Σ log|a_ii|."""
    value = x @ params["matrix"]
    return value, jnp.broadcast_to(jnp.log(jnp.abs(jnp.diagonal(params["matrix"]))).sum(), x.shape[:-1])


def kept_half_changes(params: Any, x: jax.Array) -> Result:
    """An additive coupling that also adds to the half that it says it keeps."""
    kept, moved = x[..., :2], x[..., 2:]
    changed = kept + jnp.tanh(moved @ params["scale"]) / 2
    return jnp.concatenate([changed, moved + jnp.tanh(kept @ params["shift"])], -1), jnp.zeros(x.shape[:-1], x.dtype)


def diagonal_blocks_only(params: Any, x: jax.Array) -> Result:
    """Both halves are conditioned on the other's input, and the log-det is that of the diagonal blocks."""
    first, second = x[..., :2], x[..., 2:]
    s, t = jnp.tanh(second @ params["scale"]), jnp.tanh(first @ params["shift"])
    return jnp.concatenate([first * jnp.exp(s), second * jnp.exp(t)], -1), s.sum(-1) + t.sum(-1)


def kept_half_scaled(params: Any, x: jax.Array) -> Result:
    """An additive coupling that scales the kept half on the way: the log-det of the scale is forgotten."""
    kept, moved = x[..., :2], x[..., 2:]
    return jnp.concatenate([kept * 1.5, moved + kept @ params["shift"]], -1), jnp.zeros(x.shape[:-1], x.dtype)


def projection(x: jax.Array) -> Result:
    """(x₁ + x₂, x₁ + x₂, x₃): singular everywhere."""
    total = x[..., 0] + x[..., 1]
    return jnp.stack([total, total, x[..., 2]], -1), jnp.zeros(x.shape[:-1], x.dtype)


def inverse_without_shift(params: Any, z: jax.Array) -> Result:
    """An inverse that forgets the shift: log_det is right, x is not."""
    kept, moved, s, _ = _coupling(params, z)
    return jnp.concatenate([kept, moved * jnp.exp(-s)], -1), -s.sum(-1)


def half_precision(x: jax.Array) -> Result:
    """A log_det of float16, whatever the input."""
    return 2 * x, jnp.full(x.shape[:-1], x.shape[-1] * jnp.log(2.0), jnp.float16)


def _entry(name: str, forward: Any, inverse: Any, *catch: str, **options: Any) -> Entry:
    return Entry(name, lambda: (forward, inverse), {"event_shape": (4,), **options}, catch)


ENTRIES = (
    _entry("one entry's log-scale missing", one_entry_missing, coupling_back, "log_det", params=WEIGHTS),
    _entry("shift in place of log-scale", shift_counted, coupling_back, "log_det", params=WEIGHTS),
    _entry("the inverse's log-det, at another point", inverse_reported, coupling_back, "log_det", params=WEIGHTS),
    _entry("summed over the batch", batch_summed, None, "log_det_shape", params=WEIGHTS),
    _entry("summed over the batch, shape restored", batch_summed_and_spread, None, "batch", params=WEIGHTS),
    _entry("mean over the batch mixed in", batch_mean, None, "batch"),
    _entry("log_det transposed", transposed, None, "log_det_shape", params=WEIGHTS),
    _entry("log_det with an axis too many", keepdims, None, "log_det_shape", params=WEIGHTS),
    _entry("log_det not summed over the event", per_entry, None, "log_det_shape"),
    _entry("pixel count m n missing", pixels_missing, None, "log_det", params=MATRIX, event_shape=(2, 3, 3)),
    _entry("full matrix taken for triangular", diagonal_only, None, "log_det", params=MATRIX, event_shape=(3,)),
    _entry("kept half changes too", kept_half_changes, None, "log_det", params=WEIGHTS),
    _entry("off-diagonal block that matters ignored", diagonal_blocks_only, None, "log_det", params=WEIGHTS),
    _entry("kept half scaled", kept_half_scaled, None, "log_det", params=WEIGHTS),
    _entry("not invertible: a projection", projection, None, "singular", event_shape=(3,)),
    _entry("inverse forgets the shift", _forward, inverse_without_shift, "round_trip", params=WEIGHTS),
    _entry("log_det in half precision", half_precision, None, "dtype"),
)
