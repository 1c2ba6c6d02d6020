"""Measures how far two float32 computations are from the truth and from each other, and judges the distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

RMS_FACTOR = 1.5
MAX_FACTOR = 3.0
FLOAT64_FACTOR = 1e-6
LEAST_EVENTS = 64
LEAST_FEATURES = 64
RULE = (
    f"A layer passes if all of its values are finite; if JAX's float32 root-mean-square error relative to the float64 "
    f"truth is at most {RMS_FACTOR} x PyTorch's own, and its greatest error at most {MAX_FACTOR} x PyTorch's plus one "
    f"ulp; and if the two float64 computations agree to {FLOAT64_FACTOR} of PyTorch's greatest float32 error plus 4 "
    f"float64 ulps: rounding is 5e8 times smaller there, a mistake is not. A single number for all events, such as the "
    f"log_det of NICE, has no distribution of errors, and fewer than {LEAST_EVENTS} events show too little of it: a "
    f"lucky rounding on either side would decide, so only the float64 rule is applied. All events and pixels share the "
    f"weights of a feature and their rounding: from the first layer with fewer than {LEAST_FEATURES} features (entries "
    f"of its last axis that are not constant), JAX's root-mean-square error may be greater than that by one ulp of the "
    f"layer's root-mean-square value, since luck would decide there too."
)


class Worst(NamedTuple):
    """The greatest difference of one kind, where it is, and the two numbers there."""

    value: float
    place: tuple[int, ...]
    jax: float
    torch: float


class Evidence(NamedTuple):
    """What is known of one layer after any number of batches; float32 errors are relative to PyTorch in float64."""

    events: int
    size: int
    distinct: bool
    non_finite: int
    jax_squares: float
    torch_squares: float
    jax_max: float
    torch_max: float
    ulp_at_jax_max: float
    float64_max: float
    truth_max: float
    truth_squares: float
    features: int
    absolute: Worst
    relative: Worst
    ulp: Worst


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count the float32 numbers from a to b, as int64; the distance of equal numbers, such as +0 and −0, is 0."""

    def rank(x: np.ndarray) -> np.ndarray:
        bits = np.asarray(x, dtype=np.float32).view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)

    distance: np.ndarray = np.abs(rank(a) - rank(b))
    return distance


def measure(truth: np.ndarray, torch32: np.ndarray, jax32: np.ndarray, jax64: np.ndarray, first_event: int) -> Evidence:
    """Compare the four values of a layer on one batch, whose first event has the index `first_event`."""
    shape = truth.shape
    for name, array in {"torch float32": torch32, "JAX float32": jax32, "JAX float64": jax64}.items():
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape} where PyTorch's float64 has {shape}")
    finite = np.isfinite(truth) & np.isfinite(torch32) & np.isfinite(jax32) & np.isfinite(jax64)
    # The layer fails if values are not finite; they are left out here so that the others can be reported.
    truth, torch32, jax32, jax64 = (np.where(finite, a, 0) for a in (truth, torch32, jax32, jax64))
    jax_error, torch_error = np.abs(jax32 - truth), np.abs(torch32 - truth)
    difference = np.abs(jax32.astype(np.float64) - torch32.astype(np.float64))
    scale = np.maximum(np.abs(jax32), np.abs(torch32)).astype(np.float64)
    relative = np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 0)

    def worst(values: np.ndarray) -> Worst:
        at = np.unravel_index(int(values.argmax()), shape)
        event, *entry = (int(i) for i in at)
        return Worst(float(values[at]), (first_event + event, *entry), float(jax32[at]), float(torch32[at]))

    at_max = np.abs(truth.flat[int(jax_error.argmax())])
    return Evidence(
        events=len(truth),
        size=truth.size,
        distinct=bool(np.ptp(truth) > 0),
        non_finite=int(finite.size - finite.sum()),
        jax_squares=float(np.square(jax_error).sum()),
        torch_squares=float(np.square(torch_error).sum()),
        jax_max=float(jax_error.max()),
        torch_max=float(torch_error.max()),
        ulp_at_jax_max=float(np.spacing(np.float32(at_max))),
        float64_max=float(np.abs(jax64 - truth).max()),
        truth_max=float(np.abs(truth).max()),
        truth_squares=float(np.square(truth).sum()),
        features=_features(truth),
        absolute=worst(difference),
        relative=worst(relative),
        ulp=worst(ulp_distance(jax32, torch32)),
    )


def merge(a: Evidence, b: Evidence) -> Evidence:
    """Merge the evidence of two batches."""
    return Evidence(
        events=a.events + b.events,
        size=a.size + b.size,
        distinct=a.distinct or b.distinct,
        non_finite=a.non_finite + b.non_finite,
        jax_squares=a.jax_squares + b.jax_squares,
        torch_squares=a.torch_squares + b.torch_squares,
        jax_max=max(a.jax_max, b.jax_max),
        torch_max=max(a.torch_max, b.torch_max),
        ulp_at_jax_max=a.ulp_at_jax_max if a.jax_max >= b.jax_max else b.ulp_at_jax_max,
        float64_max=max(a.float64_max, b.float64_max),
        truth_max=max(a.truth_max, b.truth_max),
        truth_squares=a.truth_squares + b.truth_squares,
        features=max(a.features, b.features),
        absolute=max(a.absolute, b.absolute, key=lambda worst: worst.value),
        relative=max(a.relative, b.relative, key=lambda worst: worst.value),
        ulp=max(a.ulp, b.ulp, key=lambda worst: worst.value),
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
    return tuple(reasons)


def departures(evidence: Evidence) -> tuple[str, ...]:
    """Return why a layer fails whatever the rounding: values that are not finite, or another result in float64."""
    if evidence.non_finite:
        return (f"{evidence.non_finite} values are NaN or infinite",)
    bound = float64_bound(evidence.torch_max, evidence.truth_max)
    if evidence.float64_max > bound:
        return (f"in float64 the networks differ by {evidence.float64_max:.3g}, allowed {bound:.3g}",)
    return ()


def float64_bound(torch_max: float, truth_max: float) -> float:
    """Return how far the float64 runs may be apart, where PyTorch's float32 error is up to `torch_max`."""
    return FLOAT64_FACTOR * torch_max + 4 * float(np.spacing(truth_max))


def _features(truth: np.ndarray) -> int:
    """Count the entries of the last axis that are not constant; events that are single numbers have enough."""
    if truth.ndim < 2:
        return LEAST_FEATURES
    values = truth.reshape(-1, truth.shape[-1])
    return int((values.min(axis=0) < values.max(axis=0)).sum())


def rms(squares: float, evidence: Evidence) -> float:
    """Return √(squares / size)."""
    return float(np.sqrt(squares / evidence.size))


def summary(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as a certificate states it."""
    return {
        "values": evidence.size,
        "non_finite": evidence.non_finite,
        "greatest_magnitude": evidence.truth_max,
        "jax_float32_error": {"rms": rms(evidence.jax_squares, evidence), "max": evidence.jax_max},
        "torch_float32_error": {"rms": rms(evidence.torch_squares, evidence), "max": evidence.torch_max},
        "jax_to_torch_float64": evidence.float64_max,
        "jax_to_torch_float32": {
            kind: {"greatest": worst.value, "index": list(worst.place), "jax": worst.jax, "torch": worst.torch}
            for kind, worst in [
                ("absolute", evidence.absolute),
                ("relative", evidence.relative),
                ("ulp", evidence.ulp),
            ]
        },
    }
