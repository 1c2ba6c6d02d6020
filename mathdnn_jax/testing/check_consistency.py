"""The checks that a map is consistent: with and without jit, alone, in a batch and under vmap, float32 and float64."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.condition import Slack, consistency_scale, float32_bounds, tolerance_of
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.precision import called_in_float32
from mathdnn_jax.testing.programs import BATCH_SHAPES, Analysis, Direction, as_arrays, flat

OVERFLOW = 1e30


def check_jit(
    direction: Direction, analysis: Analysis, params: Tree, context: Tree, tolerance: float, slack: Slack
) -> Failure | None:
    """Check that the function returns the same without jit as under jit."""
    x = jnp.asarray(analysis.x.reshape(direction.shape))
    plain = direction.call(as_arrays(params), as_arrays(context), x)
    return _differ("jit", "without jit", "under jit", direction, analysis, plain, tolerance, slack)


def check_batch(
    direction: Direction,
    analysis: Analysis,
    params: Tree,
    contexts: Tree,
    xs: np.ndarray,
    tolerance: float,
    slack: Slack,
) -> Failure | None:
    """Check the first event of each batch and of a vmap against the event alone, and the others against the vmap."""
    batches, vmapped = direction.batch(as_arrays(params), as_arrays(contexts), jnp.asarray(xs))
    first = tuple(result[0] for result in vmapped)
    failure = _differ("vmap", "under vmap", "alone", direction, analysis, first, tolerance, slack)
    if failure is not None:
        return failure
    # The others lie near the first one, and are assumed to be at most ten times as sensitive.
    pairs = ((analysis.value, analysis.moved_value), (analysis.log_det[None], analysis.moved_log_det[:, None]))
    scale = 10 * max(float(consistency_scale(*pair).max(initial=1)) for pair in pairs)
    more = 10 * max(slack.value.max(initial=0), slack.log_det)
    for shape in BATCH_SHAPES if batches else ():
        batched = batches[shape]
        where = "in a batch" if shape == BATCH_SHAPES[0] else f"in a batch of shape {shape}"
        first = tuple(result[0] for result in batched)
        failure = _differ("batch", where, "alone", direction, analysis, first, tolerance, slack)
        if failure is not None:
            hints = _diagnose_batch(np.asarray(batched[1]), np.asarray(vmapped[1]))
            return failure._replace(hints=(*failure.hints, *hints))
        for k in range(1, math.prod(shape)):
            for name, batch, one in zip(("value", "log_det"), batched, vmapped, strict=True):
                ours, theirs = np.asarray(batch[k], np.float64), np.asarray(one[k], np.float64)
                allowed = tolerance_of(np.dtype(batch.dtype), tolerance) * (scale + np.abs(theirs).max(initial=0))
                allowed += more
                # If a move leaves the domain, this is not finite, and there is nothing to compare with.
                if np.isfinite(allowed) and not np.allclose(ours, theirs, rtol=0, atol=allowed, equal_nan=True):
                    numbers = (
                        (f"{name} {where}", ours),
                        (f"{name} under vmap", theirs),
                        ("index in the batch", tuple(int(i) for i in np.unravel_index(k, shape))),
                    )
                    return Failure("batch", direction.name, "a batch must be mapped event by event", numbers, xs[k])
    return None


def check_float32(
    direction: Direction, analysis: Analysis, params: Tree, context: Tree, slack: Slack
) -> Failure | None:
    """Check float32 (with 64-bit types disabled, as users run) against float64, within `float32_bounds`."""
    value_bound, log_det_bound = float32_bounds(analysis)
    value, log_det = called_in_float32(direction.single, params, context, analysis.x.reshape(direction.shape))
    computed = {"value": flat(value), "log_det": flat(log_det)}
    exact = {
        "value": (analysis.value, value_bound + slack.value),
        "log_det": (flat(analysis.log_det), flat(log_det_bound + slack.log_det)),
    }
    for name, (truth, bound) in exact.items():
        off = np.abs(computed[name] - truth)
        wrong = ~(off <= bound) & np.isfinite(bound) & (np.abs(truth) < OVERFLOW)
        if wrong.any():
            i = _worst(off, bound, wrong)
            numbers: tuple[tuple[str, object], ...] = (
                (f"{name} in float32", computed[name][i]),
                (f"{name} in float64", truth[i]),
                ("difference", computed[name][i] - truth[i]),
                ("allowed", bound[i]),
            )
            if name == "value":
                numbers += (("entry", tuple(int(k) for k in np.unravel_index(i, direction.value_shape))),)
            claim = f"{direction.name} in float32 must agree with {direction.name} in float64 up to rounding"
            hints = ("a formula cancels, overflows or underflows; log1p, expm1, softplus or logsumexp may help",)
            return Failure("float32", direction.name, claim, numbers, analysis.x.reshape(direction.shape), hints)
    return None


def _differ(
    check: str,
    here: str,
    there: str,
    direction: Direction,
    analysis: Analysis,
    results: Any,
    tolerance: float,
    slack: Slack,
) -> Failure | None:
    pairs = (
        ("value", results[0], analysis.value, analysis.moved_value, slack.value),
        ("log_det", results[1], analysis.log_det, analysis.moved_log_det, slack.log_det),
    )
    for name, result, truth, moved, more in pairs:
        ours, theirs = np.asarray(result, np.float64).reshape(-1), truth.reshape(-1)
        scale = consistency_scale(theirs, moved.reshape(len(moved), -1))
        allowed = tolerance_of(np.dtype(result.dtype), tolerance) * scale + more
        bad = ~(np.abs(ours - theirs) <= allowed) & (allowed != np.inf)
        if bad.any():
            i = int(bad.argmax())
            numbers: tuple[tuple[str, object], ...] = ((f"{name} {here}", ours[i]), (f"{name} {there}", theirs[i]))
            if name == "value":
                numbers += (("entry", tuple(int(k) for k in np.unravel_index(i, direction.value_shape))),)
            claim = f"{direction.name} must return the same {here} as {there}"
            return Failure(check, direction.name, claim, numbers, analysis.x.reshape(direction.shape))
    return None


def _worst(off: np.ndarray, bound: np.ndarray, wrong: np.ndarray) -> int:
    return int(np.where(wrong, np.nan_to_num(off / bound, nan=np.inf), -1).argmax())


def _diagnose_batch(batched: np.ndarray, single: np.ndarray) -> list[str]:
    # These are hints beside a failure that stands without them, so a rough comparison will do.
    for name, value in (("the sum", single.sum()), ("the mean", single.mean())):
        if np.allclose(batched, value, rtol=1e-6, atol=1e-9):
            return [f"in a batch, log_det is {name} of the log_dets of all events"]
    return ["something is reduced over the batch axes, such as a mean or a sum"] if np.ptp(single) > 0 else []
