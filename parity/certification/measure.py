"""Measures how far two float32 computations are from the truth and from each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

LEAST_FEATURES = 64
"""A layer with fewer features than this is narrow, see `verdict.RULE`."""
FAR = 2.0**20
"""Values so many times greater than the others are judged apart from them."""


class Worst(NamedTuple):
    """The greatest difference of one kind, where it is, and the two numbers there."""

    value: float
    place: tuple[int, ...]
    jax: float
    torch: float


class Rest(NamedTuple):
    """The greatest errors among the values of a layer that are not far greater than the others, and their number."""

    size: int
    jax_max: float
    torch_max: float
    float64_max: float
    truth_max: float


class Whole(NamedTuple):
    """Of whole numbers and truth values: how many differ from PyTorch's float64 run; none if the layer has no such."""

    jax32: int = 0
    torch32: int = 0
    jax64: int = 0


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
    rest: Rest
    whole: Whole = Whole()


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count the float32 numbers from a to b, as int64; the distance of equal numbers, such as +0 and −0, is 0."""

    def rank(x: np.ndarray) -> np.ndarray:
        bits = np.asarray(x, dtype=np.float32).view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)

    distance: np.ndarray = np.abs(rank(a) - rank(b))
    return distance


def float32_ulp(value: float) -> float:
    """Return the distance of a number from the next greater one in float32; that of 10³⁸ beyond."""
    return float(np.spacing(np.float32(min(abs(value), 1e38))))


def measure(truth: np.ndarray, torch32: np.ndarray, jax32: np.ndarray, jax64: np.ndarray, first_event: int) -> Evidence:
    """Compare the four values of a layer on one batch, whose first event has the index `first_event`."""
    shape = truth.shape
    for name, array in {"torch float32": torch32, "JAX float32": jax32, "JAX float64": jax64}.items():
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape} where PyTorch's float64 has {shape}")
    whole = Whole()
    if all(array.dtype.kind in "biu" for array in (truth, torch32, jax32, jax64)):
        whole = Whole(*(int((array != truth).sum()) for array in (jax32, torch32, jax64)))
    truth, torch32, jax32, jax64 = (_floating(array) for array in (truth, torch32, jax32, jax64))
    finite = np.isfinite(truth) & np.isfinite(torch32) & np.isfinite(jax32) & np.isfinite(jax64)
    infinite = np.isinf(truth) & (torch32 == truth) & (jax32 == truth) & (jax64 == truth)
    non_finite = int((~finite & ~infinite).sum()) if finite.any() else truth.size
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
        non_finite=non_finite,
        jax_squares=_squares(jax_error),
        torch_squares=_squares(torch_error),
        jax_max=float(jax_error.max()),
        torch_max=float(torch_error.max()),
        ulp_at_jax_max=float32_ulp(float(at_max)),
        float64_max=float(np.abs(jax64 - truth).max()),
        truth_max=float(np.abs(truth).max()),
        truth_squares=_squares(truth),
        features=_features(truth),
        absolute=worst(difference),
        relative=worst(relative),
        ulp=worst(ulp_distance(jax32, torch32)),
        rest=_rest(truth, torch_error, jax_error, np.abs(jax64 - truth)),
        whole=whole,
    )


def ordinary(truth: np.ndarray) -> np.ndarray:
    """Return which values are at most `FAR` times one that is small among them: the smallest tenth ends there.

    That tenth is one of all values but zeros and the greatest, since a mask may give this one to most entries.
    """
    magnitude = np.abs(truth)
    others = magnitude[(magnitude > 0) & (magnitude < magnitude.max(initial=0.0))]
    if not others.size:
        return np.ones(truth.shape, bool)
    return np.asarray(magnitude <= FAR * np.quantile(others, 0.1))


def _rest(truth: np.ndarray, torch_error: np.ndarray, jax_error: np.ndarray, float64_error: np.ndarray) -> Rest:
    kept = ordinary(truth)
    greatest = (float(a[kept].max(initial=0.0)) for a in (jax_error, torch_error, float64_error, np.abs(truth)))
    return Rest(int(np.count_nonzero(truth[kept])), *greatest)


def _floating(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def _squares(errors: np.ndarray) -> float:
    """Return the sum of squares, which must not overflow: an error of 10¹⁵⁰ is large enough."""
    return float(np.square(np.clip(errors, -1e150, 1e150)).sum())


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
        rest=Rest(a.rest.size + b.rest.size, *map(max, a.rest[1:], b.rest[1:])),
        whole=Whole(*(mine + other for mine, other in zip(a.whole, b.whole, strict=True))),
    )


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
