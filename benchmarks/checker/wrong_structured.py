"""Deliberately wrong maps whose mistake concerns entries, pixels or the batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.checker.entry import Entry, wrong

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
    """The inverse of the affine coupling, without a mistake."""
    kept, moved, s, t = _coupling(params, z)
    return jnp.concatenate([kept, (moved - t) * jnp.exp(-s)], -1), -s.sum(-1)


def _forward(params: Any, x: jax.Array) -> Result:
    kept, moved, s, t = _coupling(params, x)
    return jnp.concatenate([kept, moved * jnp.exp(s) + t], -1), s.sum(-1)


def one_entry_missing(params: Any, x: jax.Array) -> Result:
    """Leaves out the last log-scale."""
    kept, moved, s, t = _coupling(params, x)
    return jnp.concatenate([kept, moved * jnp.exp(s) + t], -1), s[..., :-1].sum(-1)


def shift_counted(params: Any, x: jax.Array) -> Result:
    """Sums the shift instead of the log-scale."""
    value, _ = _forward(params, x)
    return value, _coupling(params, x)[3].sum(-1)


def inverse_reported(params: Any, x: jax.Array) -> Result:
    """Reports the log-det of the inverse at the same numbers, which are another point."""
    value, _ = _forward(params, x)
    swapped = jnp.concatenate([value[..., 2:], value[..., :2]], -1)
    return value, -_coupling(params, swapped)[2].sum(-1)


def batch_summed(params: Any, x: jax.Array) -> Result:
    """Sums log_det over the batch too."""
    value, log_det = _forward(params, x)
    return value, log_det.sum()


def batch_summed_and_spread(params: Any, x: jax.Array) -> Result:
    """Sums log_det over the batch, and broadcasts it to the right shape afterwards."""
    value, log_det = _forward(params, x)
    return value, jnp.broadcast_to(log_det.sum(), log_det.shape)


def batch_mean(x: jax.Array) -> Result:
    """Subtracts the mean over the batch, like a normalisation that was left in training mode."""
    mean = x.reshape(-1, x.shape[-1]).mean(0) if x.ndim > 1 else jnp.zeros_like(x)
    return x - mean, jnp.zeros(x.shape[:-1], x.dtype)


def transposed(params: Any, x: jax.Array) -> Result:
    """Returns log_det with the batch axes in reverse order."""
    value, log_det = _forward(params, x)
    return value, log_det.T


def keepdims(params: Any, x: jax.Array) -> Result:
    """Returns log_det with an additional axis of length one."""
    value, log_det = _forward(params, x)
    return value, log_det[..., None]


def per_entry(x: jax.Array) -> Result:
    """Does not sum log_det over the event."""
    return 2 * x, jnp.full(x.shape, jnp.log(2.0), x.dtype)


def pixels_missing(params: Any, x: jax.Array) -> Result:
    """A 1 × 1 convolution with the log-det of a single pixel."""
    value = x @ params["matrix"]
    return value, jnp.broadcast_to(jnp.linalg.slogdet(params["matrix"])[1], x.shape[:-3])


def diagonal_only(params: Any, x: jax.Array) -> Result:
    """Takes a full matrix for a triangular one, and reports Σ log|a_ii|."""
    value = x @ params["matrix"]
    return value, jnp.broadcast_to(jnp.log(jnp.abs(jnp.diagonal(params["matrix"]))).sum(), x.shape[:-1])


def kept_half_changes(params: Any, x: jax.Array) -> Result:
    """An additive coupling that also adds to the half that it should keep."""
    kept, moved = x[..., :2], x[..., 2:]
    changed = kept + jnp.tanh(moved @ params["scale"]) / 2
    return jnp.concatenate([changed, moved + jnp.tanh(kept @ params["shift"])], -1), jnp.zeros(x.shape[:-1], x.dtype)


def diagonal_blocks_only(params: Any, x: jax.Array) -> Result:
    """Conditions each half on the input of the other, and reports the log-det of the diagonal blocks."""
    first, second = x[..., :2], x[..., 2:]
    s, t = jnp.tanh(second @ params["scale"]), jnp.tanh(first @ params["shift"])
    return jnp.concatenate([first * jnp.exp(s), second * jnp.exp(t)], -1), s.sum(-1) + t.sum(-1)


def kept_half_scaled(params: Any, x: jax.Array) -> Result:
    """An additive coupling that also scales the kept half, without the log-det of the scale."""
    kept, moved = x[..., :2], x[..., 2:]
    return jnp.concatenate([kept * 1.5, moved + kept @ params["shift"]], -1), jnp.zeros(x.shape[:-1], x.dtype)


def projection(x: jax.Array) -> Result:
    """(x₁ + x₂, x₁ + x₂, x₃), which is singular everywhere."""
    total = x[..., 0] + x[..., 1]
    return jnp.stack([total, total, x[..., 2]], -1), jnp.zeros(x.shape[:-1], x.dtype)


def inverse_without_shift(params: Any, z: jax.Array) -> Result:
    """An inverse that omits the shift: log_det is right, and x is wrong."""
    kept, moved, s, _ = _coupling(params, z)
    return jnp.concatenate([kept, moved * jnp.exp(-s)], -1), -s.sum(-1)


def half_precision(x: jax.Array) -> Result:
    """Returns log_det in float16, whatever the dtype of the input."""
    return 2 * x, jnp.full(x.shape[:-1], x.shape[-1] * jnp.log(2.0), jnp.float16)


def _of_four(name: str, forward: Any, inverse: Any, *catch: str, **options: Any) -> Entry:
    """Return the entry of a map of four entries, such as a coupling that keeps two of them."""
    return wrong(name, forward, inverse, *catch, event_shape=(4,), **options)


ENTRIES = (
    _of_four("one entry's log-scale missing", one_entry_missing, coupling_back, "log_det", params=WEIGHTS),
    _of_four("shift in place of log-scale", shift_counted, coupling_back, "log_det", params=WEIGHTS),
    _of_four("the inverse's log-det, at another point", inverse_reported, coupling_back, "log_det", params=WEIGHTS),
    _of_four("summed over the batch", batch_summed, None, "log_det_shape", params=WEIGHTS),
    _of_four("summed over the batch, shape restored", batch_summed_and_spread, None, "batch", params=WEIGHTS),
    _of_four("mean over the batch mixed in", batch_mean, None, "batch"),
    _of_four("log_det transposed", transposed, None, "log_det_shape", params=WEIGHTS),
    _of_four("log_det with an axis too many", keepdims, None, "log_det_shape", params=WEIGHTS),
    _of_four("log_det not summed over the event", per_entry, None, "log_det_shape"),
    wrong("pixel count m n missing", pixels_missing, None, "log_det", params=MATRIX, event_shape=(2, 3, 3)),
    wrong("full matrix taken for triangular", diagonal_only, None, "log_det", params=MATRIX, event_shape=(3,)),
    _of_four("kept half changes too", kept_half_changes, None, "log_det", params=WEIGHTS),
    _of_four("off-diagonal block that matters ignored", diagonal_blocks_only, None, "log_det", params=WEIGHTS),
    _of_four("kept half scaled", kept_half_scaled, None, "log_det", params=WEIGHTS),
    wrong("not invertible: a projection", projection, None, "singular", event_shape=(3,)),
    _of_four("inverse forgets the shift", _forward, inverse_without_shift, "round_trip", params=WEIGHTS),
    _of_four("log_det in half precision", half_precision, None, "dtype"),
)
