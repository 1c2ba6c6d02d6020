"""Judges how far two float32 computations are from the truth and from each other."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from parity.certification.measure import FAR, LEAST_FEATURES, Evidence, float32_ulp, rms

RMS_FACTOR = 1.5
MAX_FACTOR = 3.0
FLOAT64_FACTOR = 1e-6
LEAST_EVENTS = 64
LEAST_VALUES = 16
COARSE_FACTOR = 100.0
COARSE_PART = 2.0**-10
RULE = (
    f"A layer passes if all of its values are finite, or the same infinity in all four runs; if JAX's float32 "
    f"root-mean-square error relative to the float64 truth is at most {RMS_FACTOR} x PyTorch's own, and its greatest "
    f"error at most {MAX_FACTOR} x PyTorch's plus one ulp; and if the two float64 computations agree to "
    f"{FLOAT64_FACTOR} of PyTorch's greatest float32 error plus 4 float64 ulps, and whole numbers exactly: rounding is "
    f"5e8 times smaller there, a mistake is not. A single number for all events, such as the log_det of NICE, has no "
    f"distribution of errors, and fewer than {LEAST_EVENTS} events show too little of it: a lucky rounding on either "
    f"side would decide, so only the float64 rule is applied, and a coarse one: JAX's greatest float32 error is at "
    f"most {COARSE_FACTOR:g} x PyTorch's plus 8 ulps, or, of fewer than {LEAST_VALUES} values or of one that is the "
    f"same for all events, plus a thousandth of the greatest value. All events and pixels share the weights of a "
    f"feature and their rounding: from the first layer with fewer than {LEAST_FEATURES} features (entries of its last "
    f"axis that are not constant), JAX's root-mean-square error may be greater than that by one ulp of the layer's "
    f"root-mean-square value, since luck would decide there too. Values {FAR:g} times greater than the others, such as "
    f"those of a mask, would hide any mistake in these: the float64 rule and the coarse one hold without them too."
)


def verdicts(evidence: Mapping[str, Evidence]) -> dict[str, tuple[str, ...]]:
    """Return for every layer, in the order of computation, the reasons why it fails `RULE`, none if it passes."""
    reasons, features = {}, LEAST_FEATURES
    for name, layer in evidence.items():
        features = min(features, layer.features)
        reasons[name] = verdict(layer, features)
    return reasons


def verdict(evidence: Evidence, features: int = LEAST_FEATURES) -> tuple[str, ...]:
    """Return why a layer fails; `features` is the smallest number of features of this layer and all before it."""
    reasons = list(departures(evidence))
    if evidence.non_finite:
        return tuple(reasons)
    if evidence.distinct and evidence.events >= LEAST_EVENTS:
        jax_rms, torch_rms = rms(evidence.jax_squares, evidence), rms(evidence.torch_squares, evidence)
        ulp = (
            float(np.finfo(np.float32).eps) * rms(evidence.truth_squares, evidence) if features < LEAST_FEATURES else 0
        )
        if jax_rms > RMS_FACTOR * torch_rms + ulp:
            more = f" plus one ulp ({ulp:.3g})" if ulp else ""
            reasons.append(f"JAX's rms error {jax_rms:.3g} exceeds {RMS_FACTOR} × PyTorch's {torch_rms:.3g}{more}")
        if evidence.jax_max > MAX_FACTOR * evidence.torch_max + evidence.ulp_at_jax_max:
            reasons.append(
                f"JAX's greatest error {evidence.jax_max:.3g} exceeds {MAX_FACTOR} × PyTorch's "
                f"{evidence.torch_max:.3g} plus one ulp ({evidence.ulp_at_jax_max:.3g})"
            )
    elif evidence.whole.jax32 > MAX_FACTOR * evidence.whole.torch32 + 1:
        reasons.append(
            f"{evidence.whole.jax32} whole numbers differ from the truth in JAX's float32 run, and "
            f"{evidence.whole.torch32} in PyTorch's"
        )
    return (*reasons, *_coarse(evidence))


def _coarse(evidence: Evidence) -> tuple[str, ...]:
    """Return why a layer fails by the rule for any number of events; whole numbers are counted instead."""
    rest = evidence.rest
    enough = evidence.distinct and rest.size >= LEAST_VALUES
    ulps = 8 * float32_ulp(rest.truth_max)
    allowed = COARSE_FACTOR * rest.torch_max + (ulps if enough else COARSE_PART * rest.truth_max)
    if rest.jax_max <= allowed or any(evidence.whole):
        return ()
    return (
        f"JAX's greatest error {rest.jax_max:.3g} exceeds {allowed:.3g}: {COARSE_FACTOR:g} × PyTorch's "
        f"{rest.torch_max:.3g}, and rounding",
    )


def departures(evidence: Evidence) -> tuple[str, ...]:
    """Return why a layer fails whatever the rounding: values that are not finite, or another result in float64."""
    if evidence.non_finite:
        return (f"{evidence.non_finite} values are NaN or infinite",)
    if evidence.whole.jax64:
        return (f"in float64 {evidence.whole.jax64} whole numbers differ",)
    for part in (evidence, evidence.rest):
        bound = float64_bound(part.torch_max, part.truth_max)
        if part.float64_max > bound:
            return (f"in float64 the networks differ by {part.float64_max:.3g}, allowed {bound:.3g}",)
    return ()


def float64_bound(torch_max: float, truth_max: float) -> float:
    """Return how far the float64 runs may be apart, where PyTorch's float32 error is up to `torch_max`."""
    return FLOAT64_FACTOR * torch_max + 4 * math.ulp(truth_max)
