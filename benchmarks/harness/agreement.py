"""Checks that all contenders compute the same result, before any of them is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.errors import OutputsDifferError

FACTOR = 4.0
GPU_FACTOR = 32.0
"""Two correct kernels of a GPU may sum thousands of products in different orders, one by one or in many parts: for
16384 terms, their greatest errors differed by up to 9 times. Errors of TF32 are thousands of times larger."""
ULPS = 2.0
MOST = 0.1
"""The greatest relative difference that is ever allowed, however coarse the precision."""
RULE = (
    f"the greatest error of any contender against PyTorch in float64 is at most {FACTOR:g} x the least of the others' "
    f"({GPU_FACTOR:g} x on a GPU, where kernels sum in different orders) plus {ULPS:g} ulps (of the stated precision) "
    "of the greatest output; without a float64 result, results differ by at most the case's tolerance, relative to the "
    "greatest entry"
)
F32 = 2.0**-23


def check_agreement(
    truth: np.ndarray, outputs: Mapping[str, np.ndarray], epsilon: float = F32, factor: float = FACTOR
) -> dict[str, float]:
    """Compare outputs of any shape with the float64 truth of the same shape, by `RULE`.

    Two correct programs have rounding errors of similar size, and one that multiplies in TF32 breaks the rule for
    float32 by far. The rule is symmetric, since either framework might be faster because it computes less exactly. It
    scales with the rounding errors of the computation itself, so that sums with cancellation need no special bound. It
    cannot see differences below rounding: only `parity.certify` shows that weights are equal to the last bit.

    Args:
        truth: the values in float64.
        outputs: the output of each contender.
        epsilon: the relative spacing of numbers in the precision of the outputs.
        factor: the greatest error allowed, as a multiple of the least error.

    Returns:
        The greatest absolute error of each contender, in the unit of the outputs.

    Raises:
        OutputsDifferError: the outputs break the rule, or their shape is not that of the truth.
    """
    errors = {}
    for name, values in outputs.items():
        if values.shape != truth.shape:
            raise OutputsDifferError(f"{name} computed an array of shape {values.shape}, expected {truth.shape}")
        errors[name] = np.abs(values.astype(np.float64) - truth)
        if not np.isfinite(errors[name]).all():
            place = _first(~np.isfinite(errors[name]))
            raise OutputsDifferError(
                f"outputs that are NaN or infinite cannot be compared: at {_at(place)}, {name} computed "
                f"{values[place]}, and PyTorch in float64 {truth[place]}"
            )
    greatest = {name: float(error.max()) for name, error in errors.items()}
    floor = ULPS * float(np.spacing(np.abs(truth).max().astype(np.float32))) * (epsilon / F32)
    worst = max(greatest, key=lambda name: greatest[name])
    bound = factor * min(greatest.values()) + floor
    if greatest[worst] > bound:
        place = _first(errors[worst] == greatest[worst])
        computed = ", ".join(f"{name} {values[place]:.9g}" for name, values in outputs.items())
        raise OutputsDifferError(
            f"the contenders do not compute the same, so none was timed: {worst} is off by {greatest[worst]:.3g}, "
            f"allowed {bound:.3g}; at {_at(place)}: {computed}, truth {truth[place]:.9g}. The rule: {RULE}"
        )
    return greatest


def check_close(
    reference: Sequence[np.ndarray], given: Sequence[np.ndarray], name: str, tolerance: float | None, epsilon: float
) -> float | None:
    """Compare a contender's arrays with JAX's, each relative to its greatest entry; without a tolerance, only shapes.

    Returns:
        The greatest relative difference; None if only shapes were compared.

    Raises:
        OutputsDifferError: the arrays differ in shape, or by more than the tolerance, which is scaled up by as much as
            the precision is coarser than float32.
    """
    shapes = [array.shape for array in given], [array.shape for array in reference]
    if shapes[0] != shapes[1]:
        raise OutputsDifferError(f"{name} computed arrays of shapes {shapes[0]}, expected {shapes[1]} as JAX")
    if tolerance is None:
        return None
    allowed = max(tolerance, min(MOST, tolerance * epsilon / F32))
    worst = 0.0
    for expected, values in zip(reference, given, strict=True):
        size = float(np.abs(expected).max(initial=0.0)) or 1.0
        difference = float(np.abs(values - expected).max(initial=0.0)) / size
        if not difference <= allowed:
            raise OutputsDifferError(
                f"{name} does not compute the same as JAX, so nothing was timed: they differ by {difference:.3g} of "
                f"the greatest entry, allowed {allowed:.3g}"
            )
        worst = max(worst, difference)
    return worst


def _first(where: np.ndarray) -> tuple[int, ...]:
    return tuple(int(index) for index in np.argwhere(where)[0])


def _at(place: tuple[int, ...]) -> str:
    return f"event {place[0]}" if len(place) == 1 else f"entry {place}"
