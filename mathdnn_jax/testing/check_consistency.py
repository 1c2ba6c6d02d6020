"""The checks that one map is one map: with and without jit, one event or a batch or vmap, float32 or float64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.condition import Slack, float32_bounds, sameness_scale, tolerance_of
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.programs import Analysis, Direction, as_arrays, flat

OVERFLOW = 1e30


def check_jit(
    direction: Direction, analysis: Analysis, params: Tree, context: Tree, tolerance: float, slack: Slack
) -> Finding | None:
    """The function called plainly returns what it returns under jit."""
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
) -> Finding | None:
    """The first event of a batch and of a vmap is mapped as it is alone; and so are the others, batch against vmap."""
    batched, vmapped = direction.batch(as_arrays(params), as_arrays(contexts), jnp.asarray(xs))
    first = tuple(result[0] for result in vmapped)
    finding = _differ("vmap", "under vmap", "alone", direction, analysis, first, tolerance, slack)
    if finding is not None or batched is None:
        return finding
    first = tuple(result[0] for result in batched)
    finding = _differ("batch", "first of a batch", "alone", direction, analysis, first, tolerance, slack)
    if finding is not None:
        hints = _batch_guesses(np.asarray(batched[1]), np.asarray(vmapped[1]))
        return finding._replace(hints=(*finding.hints, *hints))
    # The others lie near the first, and are taken to be no more than ten times as sensitive.
    pairs = ((analysis.value, analysis.moved_value), (analysis.log_det[None], analysis.moved_log_det[:, None]))
    scale = 10 * max(float(sameness_scale(*pair).max(initial=1)) for pair in pairs)
    more = 10 * max(slack.value.max(initial=0), slack.log_det)
    for k in range(1, len(xs)):
        for name, batch, one in zip(("value", "log_det"), batched, vmapped, strict=True):
            ours, theirs = np.asarray(batch[k], np.float64), np.asarray(one[k], np.float64)
            allowed = tolerance_of(np.dtype(batch.dtype), tolerance) * (scale + np.abs(theirs).max(initial=0)) + more
            # Not finite where a move leaves the domain: there is nothing to compare with.
            if np.isfinite(allowed) and not np.allclose(ours, theirs, rtol=0, atol=allowed, equal_nan=True):
                numbers = (
                    (f"{name} in the batch", ours),
                    (f"{name} under vmap", theirs),
                    ("place in the batch", k),
                )
                return Finding("batch", direction.name, "a batch must be its events one by one", numbers, xs[k])
    return None


def check_float32(
    direction: Direction, analysis: Analysis, params: Tree, context: Tree, slack: Slack
) -> Finding | None:
    """In float32 (without 64-bit types, as users run) the map is what it is in float64, within `float32_bounds`."""
    value_bound, log_det_bound = float32_bounds(analysis)
    with jax.enable_x64(False):
        x = jnp.asarray(analysis.x.reshape(direction.shape), jnp.float32)
        value, log_det = direction.single(as_arrays(params, np.float32), as_arrays(context, np.float32), x)
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
            claim = f"{direction.name} in float32 must be {direction.name} in float64 up to rounding"
            hints = ("a formula cancels, overflows or underflows: log1p, expm1, softplus or logsumexp may help",)
            return Finding("float32", direction.name, claim, numbers, analysis.x.reshape(direction.shape), hints)
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
) -> Finding | None:
    pairs = (
        ("value", results[0], analysis.value, analysis.moved_value, slack.value),
        ("log_det", results[1], analysis.log_det, analysis.moved_log_det, slack.log_det),
    )
    for name, result, truth, moved, more in pairs:
        ours, theirs = np.asarray(result, np.float64).reshape(-1), truth.reshape(-1)
        scale = sameness_scale(theirs, moved.reshape(len(moved), -1))
        allowed = tolerance_of(np.dtype(result.dtype), tolerance) * scale + more
        bad = ~(np.abs(ours - theirs) <= allowed) & (allowed != np.inf)
        if bad.any():
            i = int(bad.argmax())
            numbers: tuple[tuple[str, object], ...] = ((f"{name} {here}", ours[i]), (f"{name} {there}", theirs[i]))
            if name == "value":
                numbers += (("entry", tuple(int(k) for k in np.unravel_index(i, direction.value_shape))),)
            claim = f"{direction.name} must return the same {here} as {there}"
            return Finding(check, direction.name, claim, numbers, analysis.x.reshape(direction.shape))
    return None


def _worst(off: np.ndarray, bound: np.ndarray, wrong: np.ndarray) -> int:
    with np.errstate(over="ignore", invalid="ignore"):
        return int(np.where(wrong, np.nan_to_num(off / bound, nan=np.inf), -1).argmax())


def _batch_guesses(batched: np.ndarray, single: np.ndarray) -> list[str]:
    # Words beside a finding, which stands without them: near enough to guess by is enough.
    for name, value in (("the sum", single.sum()), ("the mean", single.mean())):
        if np.allclose(batched, value, rtol=1e-6, atol=1e-9):
            return [f"log_det in the batch is {name} of the events' log_dets over the batch"]
    return ["something is computed over the batch axes, a mean or a sum"] if np.ptp(single) > 0 else []
