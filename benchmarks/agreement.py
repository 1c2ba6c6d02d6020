"""Whether two float32 programs compute the same, which is asked before either is timed."""

from __future__ import annotations

import numpy as np

from benchmarks.errors import OutputsDifferError

FACTOR = 4.0
ULPS = 2.0
RULE = (
    f"the greatest error of either framework against PyTorch in float64 is at most {FACTOR:g} x the other's "
    f"plus {ULPS:g} float32 ulps of the greatest output"
)


def check_agreement(truth: np.ndarray, outputs: dict[str, np.ndarray]) -> dict[str, float]:
    """Compare float32 outputs (N,) with the float64 truth (N,) by `RULE`.

    Two correct programs round alike, and one that multiplies in TF32 is far beyond the rule. The rule is symmetric,
    since a framework may be the faster for computing less exactly, whichever it is; and it scales with the rounding
    of the very computation, so that sums of cancelling terms need no bound of their own. What is below rounding it
    cannot see: that weights are the same to the bit is for `parity.certify` to show.

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
            event = int(np.flatnonzero(~np.isfinite(errors[name]))[0])
            raise OutputsDifferError(
                f"outputs that are NaN or infinite cannot be compared: for event {event} {name} computed "
                f"{values[event]}, PyTorch in float64 {truth[event]}"
            )
    greatest = {name: float(error.max()) for name, error in errors.items()}
    floor = ULPS * float(np.spacing(np.abs(truth).max().astype(np.float32)))
    worst = max(greatest, key=lambda name: greatest[name])
    bound = FACTOR * min(greatest.values()) + floor
    if greatest[worst] > bound:
        event = int(errors[worst].argmax())
        computed = ", ".join(f"{name} {values[event]:.9g}" for name, values in outputs.items())
        raise OutputsDifferError(
            f"the frameworks do not compute the same, so nothing was timed: {worst} is off by {greatest[worst]:.3g}, "
            f"allowed {bound:.3g}; for event {event}: {computed}, truth {truth[event]:.9g}. The rule: {RULE}"
        )
    return greatest
