"""Whether programs compute the same, which is asked before any is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.errors import OutputsDifferError

FACTOR = 4.0
GPU_FACTOR = 32.0
"""On a GPU two correct kernels sum thousands of products in orders of their own, some one by one, some in many parts:
their greatest errors were up to 9 times one another's in 16384 terms. Products in TF32 err thousands of times more."""
ULPS = 2.0
MOST = 0.1
"""The greatest relative difference that a coarser precision may stretch a tolerance to."""
RULE = (
    f"the greatest error of any contender against PyTorch in float64 is at most {FACTOR:g} x the least of the others' "
    f"({GPU_FACTOR:g} x on a GPU, whose kernels sum in orders of their own) plus {ULPS:g} ulps (of the stated "
    "precision) of the greatest output; where there is no float64 result, "
    "results differ by at most the case's tolerance, relative to the greatest entry"
)
F32 = 2.0**-23


def check_agreement(
    truth: np.ndarray, outputs: Mapping[str, np.ndarray], epsilon: float = F32, factor: float = FACTOR
) -> dict[str, float]:
    """Compare outputs of any shape with the float64 truth of that shape by `RULE`.

    Two correct programs round alike, and one that multiplies in TF32 is far beyond the rule for float32. The rule is
    symmetric, since a framework may be the faster for computing less exactly, whichever it is; and it scales with the
    rounding of the very computation, so that sums of cancelling terms need no bound of their own. What is below
    rounding it cannot see: that weights are the same to the bit is for `parity.certify` to show.

    Args:
        truth: the float64 values.
        outputs: each contender's.
        epsilon: of the precision that they compute in.
        factor: how many times the least error the greatest may be.

    Returns:
        The greatest absolute error of each, in the unit of the outputs.

    Raises:
        OutputsDifferError: the outputs break the rule, or have another shape than the truth.
    """
    errors = {}
    for name, values in outputs.items():
        if values.shape != truth.shape:
            raise OutputsDifferError(f"{name} computed an array of shape {values.shape}, expected {truth.shape}")
        errors[name] = np.abs(values.astype(np.float64) - truth)
        if not np.isfinite(errors[name]).all():
            place = _first(~np.isfinite(errors[name]))
            raise OutputsDifferError(
                f"outputs that are NaN or infinite cannot be compared: at {_at(place)} {name} computed "
                f"{values[place]}, PyTorch in float64 {truth[place]}"
            )
    greatest = {name: float(error.max()) for name, error in errors.items()}
    floor = ULPS * float(np.spacing(np.abs(truth).max().astype(np.float32))) * (epsilon / F32)
    worst = max(greatest, key=lambda name: greatest[name])
    bound = factor * min(greatest.values()) + floor
    if greatest[worst] > bound:
        place = _first(errors[worst] == greatest[worst])
        computed = ", ".join(f"{name} {values[place]:.9g}" for name, values in outputs.items())
        raise OutputsDifferError(
            f"the frameworks do not compute the same, so nothing was timed: {worst} is off by {greatest[worst]:.3g}, "
            f"allowed {bound:.3g}; at {_at(place)}: {computed}, truth {truth[place]:.9g}. The rule: {RULE}"
        )
    return greatest


def check_close(
    reference: Sequence[np.ndarray], given: Sequence[np.ndarray], name: str, tolerance: float | None, epsilon: float
) -> float | None:
    """Compare a contender's arrays with JAX's, each relative to its greatest entry; None compares shapes alone.

    Returns:
        The greatest relative difference, None where only shapes were compared.

    Raises:
        OutputsDifferError: they differ by more than the tolerance, stretched as the precision is coarser than float32,
            or in shape.
    """
    shapes = [array.shape for array in given], [array.shape for array in reference]
    if shapes[0] != shapes[1]:
        raise OutputsDifferError(f"{name} computed arrays of shapes {shapes[0]}, JAX {shapes[1]}")
    if tolerance is None:
        return None
    allowed = max(tolerance, min(MOST, tolerance * epsilon / F32))
    worst = 0.0
    for expected, values in zip(reference, given, strict=True):
        size = float(np.abs(expected).max(initial=0.0)) or 1.0
        difference = float(np.abs(values - expected).max(initial=0.0)) / size
        if not difference <= allowed:
            raise OutputsDifferError(
                f"{name} does not compute what JAX does, so nothing was timed: they differ by {difference:.3g} of the "
                f"greatest entry, allowed {allowed:.3g}"
            )
        worst = max(worst, difference)
    return worst


def _first(where: np.ndarray) -> tuple[int, ...]:
    return tuple(int(index) for index in np.argwhere(where)[0])


def _at(place: tuple[int, ...]) -> str:
    return f"event {place[0]}" if len(place) == 1 else f"entry {place}"
